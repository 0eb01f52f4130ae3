/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/message.h"

#include "mail/address.h"
#include "mail/header.h"
#include "mail/write.h"

enum { TRACE_MAX = 4096 };

bool
message_is_clean(struct bytes message)
{
	for (size_t i = 0; i < message.len; i++) {
		uint8_t c = message.ptr[i];
		if (c == '\r') {
			if (i + 1 >= message.len || message.ptr[i + 1] != '\n') {
				return false;
			}
			i++;
		} else if (c == '\n' || c == '\0') {
			return false;
		}
	}
	return true;
}

/*
 * One honest Received line: mail without any is taken for spam. It names the house alone: no client, no
 * address, no protocol, and the time of release in UTC.
 */
static enum err
write_received(const struct message_trace *trace, struct buf *fields)
{
	struct buf value = BUF_INIT(TRACE_MAX);
	enum err e = buf_printf(&value, "by %s (Cohue) id %s; ", trace->hostname, trace->reference);
	if (e == ERR_OK) {
		e = mail_write_date(&value, trace->now);
	}
	if (e == ERR_OK) {
		e = mail_write_field(fields, "Received", buf_bytes(&value));
	}
	buf_clear(&value);
	return e;
}

enum err
message_release(struct bytes message, const struct message_trace *trace, struct buf *out)
{
	static const char *const date[] = {"Date", NULL};
	struct buf fields = BUF_INIT(TRACE_MAX);
	struct buf undated = BUF_INIT(message.len);
	if (!message_is_clean(message)) {
		return ERR_FORMAT;
	}
	enum err e = write_received(trace, &fields);
	if (e == ERR_OK && mail_privacy_date_is_odd(message, trace->first_release)) {
		e = mail_strip_fields(message, date, &undated);
		message = buf_bytes(&undated);
	}
	if (e == ERR_OK) {
		e = mail_privacy_put_dates(message, trace->date, trace->first_release, &fields);
	}
	if (e == ERR_OK) {
		e = mail_insert_top(message, buf_bytes(&fields), out);
	}
	buf_clear(&fields);
	buf_wipe(&undated);
	return e;
}

struct message_needs
message_needs(struct bytes message)
{
	return (struct message_needs){.eight_bit = mail_has_8bit(message),
				      .utf8 = mail_has_8bit_header(message)};
}

enum err
message_address(struct bytes address, struct buf *out, bool *ret_utf8)
{
	struct mail_mailbox m;
	size_t before = out->len;
	enum err e = mail_mailbox_parse(address, &m);
	if (e != ERR_OK || m.domain.len == 0) {
		return ERR_FORMAT;
	}
	e = buf_append(out, m.local);
	if (e == ERR_OK) {
		e = buf_append_byte(out, '@');
	}
	if (e == ERR_OK) {
		e = m.literal || bytes_is_ascii(m.domain) ? buf_append(out, m.domain)
							  : mail_domain_normalise(m.domain, out);
	}
	if (e != ERR_OK) {
		buf_truncate(out, before);
		return e;
	}
	*ret_utf8 = !bytes_is_ascii(m.local);
	return ERR_OK;
}
