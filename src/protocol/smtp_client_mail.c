/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One message of the SMTP client engine: envelope, body, verdicts. */
#include <stdlib.h>
#include <string.h>

#include "protocol/smtp_client_private.h"

enum verdict { VERDICT_OPEN, VERDICT_ACCEPTED, VERDICT_TOLD };

enum body_state { BODY_LINE_START, BODY_TEXT, BODY_CR };

/* The commands of a transaction have places: RSET where needed, MAIL, each RCPT, NOOPs, DATA. */
static size_t
place_of_mail(const struct smtp_client *c)
{
	return c->need_reset ? 1 : 0;
}

static size_t
place_of_fill(const struct smtp_client *c)
{
	return place_of_mail(c) + 1 + c->mail->rcpt_count;
}

static size_t
place_of_data(const struct smtp_client *c)
{
	return place_of_fill(c) + c->mail->fill;
}

static void
tell(struct smtp_client *c, size_t index, const struct smtp_result *result)
{
	if (c->verdicts.ptr[index] != VERDICT_TOLD) {
		c->verdicts.ptr[index] = VERDICT_TOLD;
		c->host->recipient(c->ctx, index, result);
	}
}

static void
tell_all(struct smtp_client *c, const struct smtp_result *result)
{
	for (size_t i = 0; i < c->mail->rcpt_count; i++) {
		tell(c, i, result);
	}
}

static void
forget(struct smtp_client *c)
{
	buf_clear(&c->verdicts);
	free(c->mail_failure);
	c->mail_failure = NULL;
	c->mail = NULL;
	c->chunk = BYTES_EMPTY;
	c->body_waits = false;
}

void
smtp_client_mail_end(struct smtp_client *c, const struct smtp_result *result)
{
	tell_all(c, result);
	forget(c);
	c->host->done(c->ctx);
}

/* The message is decided, and the connection takes another one. */
static void
finish(struct smtp_client *c, const struct smtp_result *result, bool need_reset)
{
	tell_all(c, result);
	c->need_reset = need_reset;
	c->state = SMTP_CLIENT_READY;
	c->deadline = INT64_MAX;
	forget(c);
	c->host->done(c->ctx);
	if (c->state == SMTP_CLIENT_READY) {
		c->host->ready(c->ctx);
	}
}

/* Commands */

static enum err
put_dsn_of_rcpt(const struct smtp_client_rcpt *r, struct buf *out)
{
	static const char *const words[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
	enum err e = ERR_OK;
	bool first = true;
	for (unsigned i = 0; i < 4 && e == ERR_OK; i++) {
		if ((r->notify & 1U << i) != 0) {
			e = buf_append_str(out, first ? " NOTIFY=" : ",");
			e = e == ERR_OK ? buf_append_str(out, words[i]) : e;
			first = false;
		}
	}
	if (e == ERR_OK && r->orcpt.len > 0) {
		e = buf_append_str(out, " ORCPT=");
		e = e == ERR_OK ? buf_append(out, r->orcpt_type) : e;
		e = e == ERR_OK ? buf_append_byte(out, ';') : e;
		if (e == ERR_OK) {
			e = bytes_is_nocase(r->orcpt_type, "utf-8") ? buf_append(out, r->orcpt)
								    : smtp_xtext_encode(r->orcpt, out);
		}
	}
	return e;
}

static enum err
put_rcpt(unsigned offers, const struct smtp_client_rcpt *r, struct buf *out)
{
	enum err e = buf_append_str(out, "RCPT TO:<");
	e = e == ERR_OK ? buf_append(out, r->mailbox) : e;
	e = e == ERR_OK ? buf_append_byte(out, '>') : e;
	if (e == ERR_OK && (offers & SMTP_OFFER_DSN) != 0) {
		e = put_dsn_of_rcpt(r, out);
	}
	return e == ERR_OK ? buf_append_str(out, "\r\n") : e;
}

static enum err
put_mail(unsigned offers, const struct smtp_client_mail *m, struct buf *out)
{
	enum err e = buf_append_str(out, "MAIL FROM:<");
	e = e == ERR_OK ? buf_append(out, m->sender) : e;
	e = e == ERR_OK ? buf_append_byte(out, '>') : e;
	if (e == ERR_OK && (offers & SMTP_OFFER_SIZE) != 0 && m->size > 0) {
		e = buf_append_str(out, " SIZE=");
		e = e == ERR_OK ? buf_append_u64(out, m->size) : e;
	}
	if (e == ERR_OK && m->needs_8bit) {
		e = buf_append_str(out, " BODY=8BITMIME");
	}
	if (e == ERR_OK && m->needs_utf8) {
		e = buf_append_str(out, " SMTPUTF8");
	}
	if (e == ERR_OK && m->require_tls) {
		e = buf_append_str(out, " REQUIRETLS");
	}
	bool dsn = (offers & SMTP_OFFER_DSN) != 0;
	if (e == ERR_OK && dsn && m->ret != SMTP_RET_UNSAID) {
		e = buf_append_str(out, m->ret == SMTP_RET_FULL ? " RET=FULL" : " RET=HDRS");
	}
	if (e == ERR_OK && dsn && m->envid.len > 0) {
		e = buf_append_str(out, " ENVID=");
		e = e == ERR_OK ? smtp_xtext_encode(m->envid, out) : e;
	}
	return e == ERR_OK ? buf_append_str(out, "\r\n") : e;
}

static enum err
put_command(const struct smtp_client *c, size_t place, struct buf *out)
{
	if (place < place_of_mail(c)) {
		return buf_append_str(out, "RSET\r\n");
	}
	if (place == place_of_mail(c)) {
		return put_mail(c->offers, c->mail, out);
	}
	if (place == place_of_data(c)) {
		return buf_append_str(out, "DATA\r\n");
	}
	if (place >= place_of_fill(c)) {
		return buf_append_str(out, "NOOP\r\n");
	}
	return put_rcpt(c->offers, &c->mail->rcpts[place - place_of_mail(c) - 1], out);
}

enum err
smtp_client_flight(unsigned offers, const struct smtp_client_mail *mail, size_t octets, size_t *ret_count)
{
	static const size_t around = sizeof("RSET\r\nDATA\r\n") - 1;
	struct buf out = BUF_INIT(SMTP_CLIENT_OUT_HIGH);
	size_t count = 0;
	enum err e = put_mail(offers, mail, &out);
	for (bool fits = true; e == ERR_OK && fits && count < mail->rcpt_count;) {
		e = put_rcpt(offers, &mail->rcpts[count], &out);
		fits = e == ERR_OK && out.len + around <= octets;
		count += fits ? 1 : 0;
	}
	/* What is longer than the buffer is longer than any flight. */
	e = e == ERR_LIMIT ? ERR_OK : e;
	if (e == ERR_OK) {
		*ret_count = count;
	}
	buf_wipe(&out);
	return e;
}

/* True when no command is still to be written: all are, or the rest would be in vain. */
static bool
all_written(const struct smtp_client *c)
{
	size_t data = place_of_data(c);
	bool in_vain = c->mail_failure != NULL || (c->answered == data && c->accepted == 0);
	return c->asked > data || in_vain;
}

/* The next answer to come sets the time, not the last command written. */
static void
wait_for_answer(struct smtp_client *c)
{
	bool data = c->answered == place_of_data(c);
	smtp_client_wait(c, data ? c->config->timeouts.data : c->config->timeouts.command);
}

static void
write_envelope(struct smtp_client *c)
{
	bool pipelining = (c->offers & SMTP_OFFER_PIPELINING) != 0;
	while (!all_written(c) && c->out.len < SMTP_CLIENT_OUT_HIGH &&
	       (pipelining || c->asked == c->answered)) {
		if (put_command(c, c->asked, &c->out) != ERR_OK) {
			smtp_client_end_local(c, SMTP_CLOSED_MEMORY, 451, "4.3.0", "Out of memory");
			return;
		}
		c->asked++;
		wait_for_answer(c);
	}
}

/* Body */

/* One octet of the body, seen from the line's state. ERR_FORMAT: a bare CR or LF, or a NUL. */
static enum err
put_octet(struct smtp_client *c, uint8_t octet)
{
	enum err e = ERR_OK;
	if (c->body_state == BODY_CR) {
		c->body_state = BODY_LINE_START;
		return octet == '\n' ? buf_append_str(&c->out, "\r\n") : ERR_FORMAT;
	}
	if (octet == '\n' || octet == '\0') {
		return ERR_FORMAT;
	}
	if (octet == '\r') {
		c->body_state = BODY_CR;
		return ERR_OK;
	}
	if (octet == '.' && c->body_state == BODY_LINE_START) {
		e = buf_append_byte(&c->out, '.');
	}
	c->body_state = BODY_TEXT;
	return e == ERR_OK ? buf_append_byte(&c->out, octet) : e;
}

/* The part of a chunk up to the next CR, LF or NUL, at most `max` octets. */
static struct bytes
plain_run(struct bytes chunk, size_t max)
{
	struct bytes run = bytes_slice(chunk, 0, max);
	static const uint8_t specials[] = {'\n', '\r', '\0'};
	for (size_t i = 0; i < sizeof(specials); i++) {
		ptrdiff_t at = bytes_find(run, specials[i]);
		run = at >= 0 ? bytes_slice(run, 0, (size_t)at) : run;
	}
	return run;
}

static enum err
put_chunk(struct smtp_client *c)
{
	enum err e = ERR_OK;
	while (e == ERR_OK && c->chunk.len > 0 && c->out.len < SMTP_CLIENT_OUT_HIGH) {
		struct bytes run = c->body_state == BODY_TEXT
				       ? plain_run(c->chunk, SMTP_CLIENT_OUT_HIGH - c->out.len)
				       : BYTES_EMPTY;
		if (run.len > 0) {
			e = buf_append(&c->out, run);
			c->chunk = bytes_from(c->chunk, run.len);
		} else {
			e = put_octet(c, c->chunk.ptr[0]);
			c->chunk = bytes_from(c->chunk, 1);
		}
	}
	return e;
}

static enum err
put_end(struct smtp_client *c)
{
	if (c->body_state == BODY_CR) {
		return ERR_FORMAT;
	}
	c->state = SMTP_CLIENT_FINAL;
	return buf_append_str(&c->out, c->body_state == BODY_TEXT ? "\r\n.\r\n" : ".\r\n");
}

uint64_t
smtp_client_body_size(struct bytes body)
{
	bool in_line = body.len > 0 && body.ptr[body.len - 1] != '\n';
	uint64_t size = body.len + (in_line ? 5 : 3);
	for (bool first = true; body.len > 0; first = false) {
		ptrdiff_t lf = first ? -1 : bytes_find(body, '\n');
		if (!first && lf < 0) {
			break;
		}
		body = bytes_from(body, (size_t)(lf + 1));
		size += body.len > 0 && body.ptr[0] == '.' ? 1 : 0;
	}
	return size;
}

static void
write_body(struct smtp_client *c)
{
	enum err e = ERR_OK;
	while (e == ERR_OK && c->state == SMTP_CLIENT_BODY && c->out.len < SMTP_CLIENT_OUT_HIGH) {
		if (c->chunk.len == 0) {
			e = c->host->body(c->ctx, &c->chunk);
			if (e == ERR_AGAIN) {
				c->body_waits = true;
				return;
			}
			if (e == ERR_OK && c->chunk.len == 0) {
				e = put_end(c);
			}
		}
		if (e == ERR_OK) {
			e = put_chunk(c);
		}
	}
	if (e == ERR_MEMORY) {
		smtp_client_end_local(c, SMTP_CLOSED_MEMORY, 451, "4.3.0", "Out of memory");
	} else if (e != ERR_OK) {
		smtp_client_end_local(c, SMTP_CLOSED_BODY, 451, "4.3.0", "The message could not be read");
	}
}

void
smtp_client_mail_write(struct smtp_client *c)
{
	if (c->state == SMTP_CLIENT_ENVELOPE) {
		write_envelope(c);
	} else if (c->state == SMTP_CLIENT_BODY && !c->body_waits) {
		write_body(c);
	}
}

/* Replies */

static void
reply_mail(struct smtp_client *c, const struct smtp_result *result)
{
	if (result->code / 100 == 2) {
		return;
	}
	c->mail_failure = malloc(sizeof(*c->mail_failure));
	if (c->mail_failure == NULL) {
		smtp_client_end_local(c, SMTP_CLOSED_MEMORY, 451, "4.3.0", "Out of memory");
		return;
	}
	*c->mail_failure = *result;
}

static void
reply_rcpt(struct smtp_client *c, size_t index, const struct smtp_result *result)
{
	if (c->mail_failure != NULL) {
		return; /* 503, since there was no MAIL: it says nothing of this recipient */
	}
	if (result->code / 100 == 2) {
		c->verdicts.ptr[index] = VERDICT_ACCEPTED;
		c->accepted++;
	} else {
		tell(c, index, result);
	}
}

static void
reply_data(struct smtp_client *c, const struct smtp_result *result)
{
	if (result->code == 354 && c->mail_failure == NULL && c->accepted > 0) {
		c->state = SMTP_CLIENT_BODY;
		c->body_state = BODY_LINE_START;
		c->chunk = BYTES_EMPTY;
		c->body_waits = false;
		smtp_client_wait(c, c->config->timeouts.block);
		write_body(c);
	} else if (result->code == 354) {
		/* A pipelined DATA that the peer took although no recipient is left (RFC 2920 section 3.1). */
		c->state = SMTP_CLIENT_EMPTY;
		smtp_client_wait(c, c->config->timeouts.final_dot);
		smtp_client_put_str(c, ".\r\n");
	} else {
		finish(c, c->mail_failure != NULL ? c->mail_failure : result, true);
	}
}

static void
reply_envelope(struct smtp_client *c, const struct smtp_result *result)
{
	size_t place = c->answered;
	unsigned class = result->code / 100;
	bool data = place == place_of_data(c);
	if (place >= c->asked || (class == 3) != (data && result->code == 354) || (class == 2 && data)) {
		smtp_client_end_local(c, SMTP_CLOSED_PROTOCOL, 451, "4.5.0", "The server spoke out of turn");
		return;
	}
	c->answered++;
	wait_for_answer(c);
	if (place < place_of_mail(c)) {
		if (class != 2) {
			smtp_client_end(c, SMTP_CLOSED_REFUSED, result);
			return;
		}
	} else if (place == place_of_mail(c)) {
		reply_mail(c, result);
	} else if (data) {
		reply_data(c, result);
		return;
	} else if (place < place_of_fill(c)) {
		reply_rcpt(c, place - place_of_mail(c) - 1, result);
	}
	if (c->state != SMTP_CLIENT_ENVELOPE) {
		return;
	}
	if (c->answered == c->asked && all_written(c)) {
		struct smtp_result verdict = c->mail_failure != NULL ? *c->mail_failure : *result;
		finish(c, &verdict, true);
		return;
	}
	write_envelope(c);
}

void
smtp_client_mail_reply(struct smtp_client *c, const struct smtp_result *result)
{
	if (c->state == SMTP_CLIENT_ENVELOPE) {
		reply_envelope(c, result);
	} else if (c->state == SMTP_CLIENT_EMPTY) {
		struct smtp_result none;
		smtp_result_local(451, "4.5.0", "No recipient was accepted", &none);
		finish(c, c->mail_failure != NULL ? c->mail_failure : &none, true);
	} else if (result->code / 100 == 3 ||
		   (result->code < 400 && (c->state == SMTP_CLIENT_BODY || c->out.len > 0))) {
		smtp_client_end_local(c, SMTP_CLOSED_PROTOCOL, 451, "4.5.0", "The server spoke out of turn");
	} else if (c->state == SMTP_CLIENT_BODY || c->out.len > 0) {
		/* Refused before its end: what is left of it can't be called back. */
		smtp_client_end(c, SMTP_CLOSED_REFUSED, result);
	} else {
		finish(c, result, false);
	}
}

/* Beginning */

static enum err
check_mailbox(struct bytes text, bool utf8)
{
	struct mail_mailbox mailbox;
	if (mail_mailbox_parse(text, &mailbox) != ERR_OK || mailbox.domain.len == 0 ||
	    (mailbox.utf8 && !utf8)) {
		return ERR_FORMAT;
	}
	return ERR_OK;
}

static bool
printable(struct bytes text, bool utf8)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] <= ' ' || text.ptr[i] == 127 || (text.ptr[i] > 127 && !utf8)) {
			return false;
		}
	}
	return true;
}

static enum err
check_rcpt(const struct smtp_client_rcpt *r, bool utf8)
{
	struct bytes type = r->orcpt_type;
	for (size_t i = 0; i < type.len; i++) {
		if (!ascii_is_alnum(type.ptr[i]) && type.ptr[i] != '-') {
			return ERR_FORMAT;
		}
	}
	if (r->orcpt.len > 0 && (type.len == 0 || r->orcpt.len + type.len + 1 > SMTP_ORCPT_MAX)) {
		return ERR_FORMAT;
	}
	if (bytes_is_nocase(type, "utf-8") && !printable(r->orcpt, utf8)) {
		return ERR_FORMAT;
	}
	return check_mailbox(r->mailbox, utf8);
}

static enum err
check_mail(const struct smtp_client *c, const struct smtp_client_mail *m)
{
	if (m->rcpt_count == 0 || m->rcpt_count > c->verdicts.max || m->envid.len > SMTP_ENVID_MAX) {
		return ERR_FORMAT;
	}
	if (m->sender.len > 0 && check_mailbox(m->sender, m->needs_utf8) != ERR_OK) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < m->rcpt_count; i++) {
		enum err e = check_rcpt(&m->rcpts[i], m->needs_utf8);
		if (e != ERR_OK) {
			return e;
		}
	}
	if ((m->needs_8bit && (c->offers & SMTP_OFFER_8BITMIME) == 0) ||
	    (m->needs_utf8 && (c->offers & SMTP_OFFER_SMTPUTF8) == 0)) {
		return ERR_UNSUPPORTED;
	}
	return c->peer_size > 0 && m->size > c->peer_size ? ERR_LIMIT : ERR_OK;
}

enum err
smtp_client_send(struct smtp_client *c, const struct smtp_client_mail *mail, msec now)
{
	if (c->state != SMTP_CLIENT_READY) {
		return ERR_STATE;
	}
	enum err e = check_mail(c, mail);
	if (e == ERR_OK) {
		e = buf_reserve(&c->verdicts, mail->rcpt_count);
	}
	if (e != ERR_OK) {
		return e;
	}
	memset(c->verdicts.ptr, VERDICT_OPEN, mail->rcpt_count);
	c->verdicts.len = mail->rcpt_count;
	c->now = now;
	c->mail = mail;
	c->asked = 0;
	c->answered = 0;
	c->accepted = 0;
	c->state = SMTP_CLIENT_ENVELOPE;
	write_envelope(c);
	return ERR_OK;
}
