/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/decode.h"
#include "mail/header.h"
#include "mail/write.h"

/* multipart/report; report-type=delivery-status (RFC 3464, RFC 6522) */

static const struct {
	const char *action; /* RFC 3464 §2.3.3 */
	const char *subject;
	const char *text;
} actions[] = {
    [MAIL_DSN_FAILED] = {"failed", "Your message could not be delivered",
			 "Your message could not be delivered to:\r\n"},
    [MAIL_DSN_DELAYED] = {"delayed", "Your message is delayed",
			  "Your message could not yet be delivered. We keep trying;\r\n"
			  "you need not send it again. Still waiting for:\r\n"},
    [MAIL_DSN_DELIVERED] = {"delivered", "Your message was delivered", "Your message was delivered to:\r\n"},
    [MAIL_DSN_RELAYED] = {"relayed", "Your message was handed on",
			  "Your message was handed on to a server that sends no receipts, for:\r\n"},
    [MAIL_DSN_EXPANDED] = {"expanded", "Your message was sent on to a list",
			   "Your message was sent on to the members of a list:\r\n"},
};

static bool
is_boundary(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++) {
		if (!ascii_is_alnum(b.ptr[i]) && b.ptr[i] != '-' && b.ptr[i] != '_' && b.ptr[i] != '=') {
			return false;
		}
	}
	return b.len > 0 && b.len <= 70;
}

/* Pieces of one field's value, then the field. */
static enum err
put_field(struct buf *out, const char *name, const char *front, struct bytes value)
{
	struct buf whole = BUF_INIT(value.len + 256);
	enum err e = buf_append_str(&whole, front);
	if (e == ERR_OK) {
		e = buf_append(&whole, value);
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, name, buf_bytes(&whole));
	}
	buf_wipe(&whole);
	return e;
}

static enum err
put_date(struct buf *out, const char *name, int64_t seconds)
{
	struct buf text = BUF_INIT(64);
	enum err e = mail_write_date(&text, seconds);
	if (e == ERR_OK) {
		e = mail_write_field(out, name, buf_bytes(&text));
	}
	buf_clear(&text);
	return e;
}

static enum err
put_delimiter(struct buf *out, struct bytes boundary, const char *end)
{
	enum err e = buf_append_str(out, "\r\n--");
	if (e == ERR_OK) {
		e = buf_append(out, boundary);
	}
	return e == ERR_OK ? buf_append_str(out, end) : e;
}

static enum err
put_type(struct buf *out, const struct mail_dsn *dsn)
{
	struct buf value = BUF_INIT(256);
	enum err e = buf_append_str(&value, "multipart/report; report-type=delivery-status; boundary=\"");
	if (e == ERR_OK) {
		e = buf_append(&value, dsn->boundary);
	}
	if (e == ERR_OK) {
		e = buf_append_byte(&value, '"');
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "Content-Type", buf_bytes(&value));
	}
	buf_clear(&value);
	return e;
}

static enum err
put_address(struct buf *out, const char *name, const char *phrase, struct bytes address)
{
	struct buf value = BUF_INIT(address.len + 64);
	enum err e = buf_printf(&value, "%s<", phrase);
	if (e == ERR_OK) {
		e = buf_append(&value, address);
	}
	if (e == ERR_OK) {
		e = buf_append_byte(&value, '>');
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, name, buf_bytes(&value));
	}
	buf_wipe(&value);
	return e;
}

static enum err
put_header(struct buf *out, const struct mail_dsn *dsn)
{
	struct bytes subject =
	    dsn->subject.len > 0 ? dsn->subject : bytes_str(actions[dsn->recipients[0].action].subject);
	enum err e = put_address(out, "From", "Mail Delivery System ", dsn->from);
	if (e == ERR_OK) {
		e = put_address(out, "To", "", dsn->to);
	}
	if (e == ERR_OK) {
		e = mail_write_text_field(out, "Subject", subject);
	}
	if (e == ERR_OK) {
		e = put_date(out, "Date", dsn->date);
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "Message-ID", dsn->message_id);
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "Auto-Submitted", BYTES_LIT("auto-replied")); /* RFC 3834 §5 */
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "MIME-Version", BYTES_LIT("1.0"));
	}
	if (e == ERR_OK && mail_has_8bit(dsn->original)) {
		e = mail_write_field(out, "Content-Transfer-Encoding", BYTES_LIT("8bit"));
	}
	return e == ERR_OK ? put_type(out, dsn) : e;
}

/* Text for people with CRLF line ends and without other control octets. */
static enum err
put_lines(struct buf *out, struct bytes text)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		uint8_t c = text.ptr[i];
		if (c == '\n') {
			e = buf_append_str(out, "\r\n");
		} else if (c != '\r') {
			e = buf_append_byte(out, c < 32 && c != '\t' ? (uint8_t)' ' : c);
		}
	}
	return e;
}

static enum err
put_piece(struct buf *out, const char *front, struct bytes text, const char *end)
{
	enum err e = buf_append_str(out, front);
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		e = buf_append_byte(out, text.ptr[i] < 32 ? (uint8_t)' ' : text.ptr[i]);
	}
	return e == ERR_OK ? buf_append_str(out, end) : e;
}

static enum err
gather_text(struct buf *text, const struct mail_dsn *dsn)
{
	enum err e;
	if (dsn->text.len > 0) {
		e = put_lines(text, dsn->text);
	} else {
		e = buf_append_str(text, actions[dsn->recipients[0].action].text);
	}
	for (size_t i = 0; i < dsn->recipient_count && e == ERR_OK && dsn->text.len == 0; i++) {
		const struct mail_dsn_recipient *r = &dsn->recipients[i];
		e = put_piece(text, "\r\n  <", r->final, ">\r\n");
		if (e == ERR_OK && r->diagnostic.len > 0) {
			e = put_piece(text, "    The other side says: ", r->diagnostic, "\r\n");
		}
	}
	if (e == ERR_OK && dsn->reference.len > 0) {
		e = put_piece(text, "\r\nReference: ", dsn->reference, "\r\n");
	}
	return e;
}

static enum err
put_text(struct buf *out, const struct mail_dsn *dsn)
{
	struct buf text = BUF_INIT(out->max);
	enum err e = gather_text(&text, dsn);
	bool ascii = bytes_is_ascii(buf_bytes(&text));
	if (e == ERR_OK) {
		e = buf_append_str(out, ascii ? "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
					      : "Content-Type: text/plain; charset=utf-8\r\n"
						"Content-Transfer-Encoding: base64\r\n\r\n");
	}
	if (e == ERR_OK) {
		e = ascii ? buf_append(out, buf_bytes(&text)) : mail_encode_base64(buf_bytes(&text), out);
	}
	buf_wipe(&text);
	return e;
}

static const char *
address_type(struct bytes address)
{
	return bytes_is_ascii(address) ? "rfc822; " : "utf-8; "; /* RFC 6533 §3 */
}

static enum err
put_recipient(struct buf *out, const struct mail_dsn_recipient *r)
{
	enum err e = buf_append_str(out, "\r\n");
	if (e == ERR_OK && r->original.len > 0) {
		e = mail_write_field(out, "Original-Recipient", r->original);
	}
	if (e == ERR_OK) {
		e = put_field(out, "Final-Recipient", address_type(r->final), r->final);
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "Action", bytes_str(actions[r->action].action));
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "Status", r->status.len > 0 ? r->status : BYTES_LIT("5.0.0"));
	}
	if (e == ERR_OK && r->remote_mta.len > 0) {
		e = put_field(out, "Remote-MTA", "dns; ", r->remote_mta);
	}
	if (e == ERR_OK && r->diagnostic.len > 0) {
		e = put_field(out, "Diagnostic-Code", "smtp; ", r->diagnostic);
	}
	if (e == ERR_OK && r->last_attempt != 0) {
		e = put_date(out, "Last-Attempt-Date", r->last_attempt);
	}
	if (e == ERR_OK && r->will_retry_until != 0 && r->action == MAIL_DSN_DELAYED) {
		e = put_date(out, "Will-Retry-Until", r->will_retry_until);
	}
	return e;
}

static enum err
put_status(struct buf *out, const struct mail_dsn *dsn)
{
	bool ascii = bytes_is_ascii(dsn->to);
	for (size_t i = 0; i < dsn->recipient_count; i++) {
		ascii = ascii && bytes_is_ascii(dsn->recipients[i].final) &&
			bytes_is_ascii(dsn->recipients[i].diagnostic);
	}
	enum err e = buf_append_str(out, ascii ? "Content-Type: message/delivery-status\r\n\r\n"
					       : "Content-Type: message/global-delivery-status\r\n"
						 "Content-Transfer-Encoding: 8bit\r\n\r\n");
	if (e == ERR_OK && dsn->envelope_id.len > 0) {
		e = mail_write_field(out, "Original-Envelope-Id", dsn->envelope_id);
	}
	if (e == ERR_OK) {
		e = put_field(out, "Reporting-MTA", "dns; ", dsn->reporting_mta);
	}
	if (e == ERR_OK && dsn->arrival_date != 0) {
		e = put_date(out, "Arrival-Date", dsn->arrival_date);
	}
	for (size_t i = 0; i < dsn->recipient_count && e == ERR_OK; i++) {
		e = put_recipient(out, &dsn->recipients[i]);
	}
	return e;
}

static enum err
put_original(struct buf *out, const struct mail_dsn *dsn)
{
	struct bytes original = dsn->original;
	const char *type = "Content-Type: message/rfc822\r\n";
	if (!dsn->return_full) {
		original = bytes_slice(original, 0, mail_header_length(original));
		type = "Content-Type: text/rfc822-headers\r\n";
	}
	enum err e = buf_append_str(out, type);
	if (e == ERR_OK && mail_has_8bit(original)) {
		e = buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
	}
	if (e == ERR_OK) {
		e = buf_append_str(out, "\r\n");
	}
	return e == ERR_OK ? buf_append(out, original) : e;
}

enum err
mail_dsn_write(struct buf *out, const struct mail_dsn *dsn)
{
	size_t mark = out->len;
	if (dsn->recipient_count == 0 || !is_boundary(dsn->boundary) ||
	    bytes_search(dsn->original, dsn->boundary) >= 0 || bytes_search(dsn->text, dsn->boundary) >= 0) {
		return ERR_FORMAT;
	}
	enum err e = put_header(out, dsn);
	if (e == ERR_OK) {
		e = put_delimiter(out, dsn->boundary, "\r\n");
	}
	if (e == ERR_OK) {
		e = put_text(out, dsn);
	}
	if (e == ERR_OK) {
		e = put_delimiter(out, dsn->boundary, "\r\n");
	}
	if (e == ERR_OK) {
		e = put_status(out, dsn);
	}
	if (e == ERR_OK && dsn->original.len > 0) {
		e = put_delimiter(out, dsn->boundary, "\r\n");
		if (e == ERR_OK) {
			e = put_original(out, dsn);
		}
	}
	if (e == ERR_OK) {
		e = put_delimiter(out, dsn->boundary, "--\r\n");
	}
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}
