/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/smtp_server.h"
#include "protocol/sasl_scram.h"

#include <string.h>

#include "base/secret.h"
#include "protocol/smtp_server_private.h"

enum {
	OUT_MAX = 65536,
	/* A peer that pipelines without reading its replies is read no further past this. */
	OUT_HIGH = 16384,
	SKIP_MAX = 65536, /* octets of one refused line before we hang up */
};

void
smtp_server_config_default(struct smtp_server_config *ret_config)
{
	*ret_config = (struct smtp_server_config){
	    .max_message = 50U << 20,
	    .max_header = 256U << 10,
	    /*
	     * RFC 5321 allows 998. Newsletters (whole HTML pages in a line) and log mails with longer lines
	     * are common, and the large providers take them. A line is counted and never held: its length costs
	     * no memory.
	     */
	    .max_line = 65536,
	    .max_recipients = 100,
	    .max_errors = 20,
	    .max_unknown = 5,
	    .max_junk = 100,
	    .max_auth = 3,
	    .command_timeout = 5 * MSEC_MINUTE,
	    .data_timeout = 3 * MSEC_MINUTE,
	    .message_timeout = MSEC_HOUR,
	    .rate_window = 5 * MSEC_MINUTE,
	    .octet_time = 10, /* 100 octets a second */
	    .message_wait = 30 * MSEC_MINUTE,
	    .starttls = true,
	};
}

void
smtp_server_init(struct smtp_server *s, enum smtp_mode mode, bool tls,
		 const struct smtp_server_config *config, const struct smtp_server_host *host, void *ctx)
{
	*s = (struct smtp_server){.config = config, .host = host, .ctx = ctx, .mode = mode, .tls = tls};
	s->in = BUF_INIT(SMTP_UNREAD_MAX);
	s->out = BUF_INIT(OUT_MAX);
	s->user = BUF_INIT(SMTP_AUTH_LINE_MAX);
	s->refusal = BUF_INIT(SMTP_REPLY_TEXT_MAX + 64);
	s->deadline = SMTP_NEVER;
}

void
smtp_server_clear(struct smtp_server *s)
{
	buf_wipe(&s->in);
	buf_wipe(&s->out);
	buf_wipe(&s->user);
	sasl_scram_destroy(&s->scram);
	buf_wipe(&s->refusal);
	s->closing = true;
}

/* Replies */

enum err
smtp_format_reply(struct buf *out, unsigned code, const char *enhanced, struct bytes text)
{
	size_t start = out->len;
	enum err e = buf_append_u64(out, code);
	if (e == ERR_OK && enhanced != NULL) {
		e = buf_append_str(out, " ");
	}
	if (e == ERR_OK && enhanced != NULL) {
		e = buf_append_str(out, enhanced);
	}
	if (e == ERR_OK) {
		e = buf_append_byte(out, ' ');
	}
	text = bytes_slice(text, 0, SMTP_REPLY_TEXT_MAX);
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		uint8_t c = text.ptr[i];
		e = buf_append_byte(out, c < ' ' || c > 126 ? '?' : c);
	}
	if (e == ERR_OK) {
		e = buf_append_str(out, "\r\n");
	}
	if (e != ERR_OK) {
		buf_truncate(out, start);
	}
	return e;
}

void
smtp_put(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text)
{
	if (smtp_format_reply(&s->out, code, enhanced, text) != ERR_OK) {
		s->closing = true; /* no reply, no promise: the peer tries again */
	}
}

void
smtp_put_str(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	smtp_put(s, code, enhanced, bytes_str(text));
}

void
smtp_put_raw(struct smtp_server *s, const char *text)
{
	if (buf_append_str(&s->out, text) != ERR_OK) {
		s->closing = true;
	}
}

void
smtp_reset_transaction(struct smtp_server *s)
{
	if (s->transaction != SMTP_TRANSACTION_NONE) {
		s->transaction = SMTP_TRANSACTION_NONE;
		s->host->reset(s->ctx);
	}
	s->recipients = 0;
	s->utf8 = false;
}

void
smtp_end(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	if (s->closing) {
		return;
	}
	smtp_put_str(s, code, enhanced, text);
	s->closing = true;
	s->question = SMTP_ASKED_NOTHING;
	buf_wipe(&s->user);
	smtp_reset_transaction(s);
}

bool
smtp_count_mistake(struct smtp_server *s)
{
	if (++s->errors < s->config->max_errors) {
		return false;
	}
	smtp_end(s, 421, "4.7.0", "Too many errors, closing");
	return true;
}

bool
smtp_count_junk(struct smtp_server *s)
{
	return ++s->junk > s->config->max_junk && smtp_count_mistake(s);
}

void
smtp_mistake(struct smtp_server *s, unsigned code, const char *enhanced, const char *text)
{
	if (!smtp_count_mistake(s)) {
		smtp_put_str(s, code, enhanced, text);
	}
}

/* Time */

static void
restart_timer(struct smtp_server *s)
{
	bool content = s->input == SMTP_INPUT_DATA || s->input == SMTP_INPUT_CHUNK;
	s->deadline = s->now + (content ? s->config->data_timeout : s->config->command_timeout);
}

static msec
earliest(msec a, msec b)
{
	return a < b ? a : b;
}

void
smtp_restart_rate(struct smtp_server *s)
{
	s->rate_deadline = s->now + s->config->rate_window;
}

void
smtp_earn_time(struct smtp_server *s, size_t octets)
{
	/* No piece is larger than SMTP_UNREAD_MAX: nothing overflows. */
	s->rate_deadline = earliest(s->rate_deadline + (msec)octets * s->config->octet_time,
				    s->now + s->config->rate_window);
}

msec
smtp_server_deadline(const struct smtp_server *s)
{
	if (s->closing || s->logged_in || s->held || s->question != SMTP_ASKED_NOTHING) {
		return SMTP_NEVER;
	}
	if (s->transaction == SMTP_TRANSACTION_DATA || s->transaction == SMTP_TRANSACTION_BDAT) {
		return earliest(s->deadline, earliest(s->message_deadline, s->rate_deadline));
	}
	return earliest(s->deadline, s->wait_deadline);
}

void
smtp_server_tick(struct smtp_server *s, msec now)
{
	s->now = now;
	if (now >= smtp_server_deadline(s)) {
		smtp_end(s, 421, "4.4.2", "Timeout, closing");
		buf_wipe(&s->in);
	}
}

void
smtp_server_shutdown(struct smtp_server *s, msec now)
{
	s->now = now;
	if (s->question != SMTP_ASKED_END) {
		smtp_end(s, 421, "4.3.2", "Service shutting down, closing");
		buf_wipe(&s->in);
	} else {
		s->stopping = true;
	}
}

/* Lines */

/* A line that can't be a command: answered at once, and thrown away up to its real end. */
static void
refuse_line(struct smtp_server *s, const char *enhanced, const char *text)
{
	if (s->input == SMTP_INPUT_AUTH) {
		buf_wipe(&s->user);
		sasl_scram_destroy(&s->scram);
	}
	s->input = SMTP_INPUT_SKIP;
	s->skip_cr = false;
	s->skipped = 0;
	smtp_mistake(s, 500, enhanced, text);
}

static size_t
line_limit(const struct smtp_server *s, struct bytes in)
{
	return s->input == SMTP_INPUT_AUTH || bytes_starts_with_nocase(in, "AUTH ") ? SMTP_AUTH_LINE_MAX
										    : SMTP_COMMAND_MAX;
}

/* One line of `in`, if it is whole. Returns the octets used: 0 when more is needed. */
static size_t
read_line(struct smtp_server *s, struct bytes in)
{
	for (size_t i = s->scanned; i < in.len; i++) {
		uint8_t c = in.ptr[i];
		bool after_cr = i > 0 && in.ptr[i - 1] == '\r';
		if (i >= SMTP_COMMAND_MAX && i >= line_limit(s, in)) {
			bool auth = line_limit(s, in) == SMTP_AUTH_LINE_MAX;
			s->scanned = 0;
			refuse_line(s, auth ? "5.5.6" : "5.5.2", "Line too long");
			s->skip_cr = after_cr;
			return i;
		}
		if (c == '\n' && after_cr) {
			struct bytes line = bytes_slice(in, 0, i - 1);
			s->scanned = 0;
			if (s->input == SMTP_INPUT_AUTH) {
				smtp_auth_line(s, line);
			} else {
				smtp_command(s, line);
			}
			return i + 1;
		}
		if (c == '\n' || c == '\0' || after_cr) {
			s->scanned = 0;
			refuse_line(s, "5.5.2",
				    c == '\n'  ? "Bare LF in a command"
				    : after_cr ? "Bare CR in a command"
					       : "NUL in a command");
			/* What stands behind a bare CR may be the CR of the real end. */
			return after_cr ? i : i + 1;
		}
	}
	s->scanned = (uint32_t)in.len;
	return 0;
}

static size_t
skip_line(struct smtp_server *s, struct bytes in)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '\n' && s->skip_cr) {
			s->input = SMTP_INPUT_COMMAND;
			return i + 1;
		}
		s->skip_cr = in.ptr[i] == '\r';
		if (++s->skipped > SKIP_MAX) {
			smtp_end(s, 421, "4.7.0", "Line without end, closing");
			return in.len;
		}
	}
	return in.len;
}

/* Octets */

static bool
may_read(const struct smtp_server *s)
{
	return !s->closing && !s->logged_in && !s->held && !s->discard && s->question == SMTP_ASKED_NOTHING &&
	       s->out.len < OUT_HIGH;
}

/* Reads on as long as there is something whole to read. Returns the octets used. */
static size_t
process(struct smtp_server *s, struct bytes in)
{
	size_t at = 0;
	s->running = true;
	while (at < in.len && may_read(s)) {
		struct bytes rest = bytes_from(in, at);
		size_t used = 0;
		switch ((enum smtp_input)s->input) {
		case SMTP_INPUT_COMMAND:
		case SMTP_INPUT_AUTH:
			used = read_line(s, rest);
			break;
		case SMTP_INPUT_SKIP:
			at += skip_line(s, rest);
			continue; /* no command: its timer runs on */
		case SMTP_INPUT_DATA:
			used = smtp_read_data(s, rest);
			break;
		case SMTP_INPUT_CHUNK:
			used = smtp_read_chunk(s, rest);
			break;
		}
		if (used == 0) {
			break;
		}
		at += used;
		restart_timer(s);
	}
	if (s->discard) {
		/* RFC 3207: nothing said in clear behind STARTTLS may be taken for said under TLS. */
		s->discard = false;
		s->errors += at < in.len ? 1 : 0;
		at = in.len;
	}
	s->running = false;
	return s->closing ? in.len : at;
}

/* Goes on with what was kept. */
static void
resume(struct smtp_server *s)
{
	if (s->running || s->in.len == 0) {
		return;
	}
	size_t used = process(s, buf_bytes(&s->in));
	if (used >= s->in.len) {
		buf_wipe(&s->in);
	} else if (used > 0) {
		buf_consume(&s->in, used);
		secret_wipe(s->in.ptr + s->in.len, used); /* it may have been a password */
	}
}

size_t
smtp_server_wants(const struct smtp_server *s)
{
	if (s->closing || s->logged_in || s->question == SMTP_ASKED_TLS) {
		return 0;
	}
	return SMTP_UNREAD_MAX - s->in.len;
}

enum err
smtp_server_feed(struct smtp_server *s, struct bytes in, msec now)
{
	if (s->closing || s->logged_in) {
		return ERR_STATE;
	}
	if (in.len > smtp_server_wants(s)) {
		return ERR_LIMIT;
	}
	s->now = now;
	if (s->in.len == 0) {
		in = bytes_from(in, process(s, in));
	}
	if (in.len > 0) {
		enum err e = buf_append(&s->in, in);
		if (e != ERR_OK) {
			smtp_end(s, 421, "4.3.0", "Out of memory, closing");
			buf_wipe(&s->in);
			return e;
		}
		if (may_read(s)) {
			resume(s);
		}
	}
	return ERR_OK;
}

struct bytes
smtp_server_output(const struct smtp_server *s)
{
	return buf_bytes(&s->out);
}

void
smtp_server_sent(struct smtp_server *s, size_t n, msec now)
{
	s->now = now;
	if (n == s->out.len) {
		buf_clear(&s->out);
	} else {
		buf_consume(&s->out, n);
	}
	resume(s);
}

bool
smtp_server_closing(const struct smtp_server *s)
{
	return s->closing;
}

/* The host's side */

void
smtp_server_start(struct smtp_server *s, enum smtp_hello hello, msec now)
{
	s->now = now;
	s->wait_deadline = now + s->config->message_wait;
	restart_timer(s);
	if (s->mode == SMTP_MODE_SESSION) {
		s->hello = hello;
		return;
	}
	smtp_put_raw(s, "220 ");
	if (buf_append(&s->out, s->config->hostname) != ERR_OK) {
		s->closing = true;
	}
	smtp_put_raw(s, " ESMTP\r\n");
}

void
smtp_server_refuse(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text, msec now)
{
	s->now = now;
	smtp_put(s, code, enhanced, text);
	s->closing = true;
}

bool
smtp_server_asked(const struct smtp_server *s)
{
	return s->question != SMTP_ASKED_NOTHING && s->question != SMTP_ASKED_TLS;
}

void
smtp_server_accept(struct smtp_server *s, msec now)
{
	switch ((enum smtp_question)s->question) {
	case SMTP_ASKED_AUTH:
		smtp_server_reply(s, 235, "2.7.0", BYTES_LIT("Authentication successful"), now);
		break;
	case SMTP_ASKED_MAIL:
		smtp_server_reply(s, 250, "2.1.0", BYTES_LIT("Sender accepted"), now);
		break;
	case SMTP_ASKED_RCPT:
		smtp_server_reply(s, 250, "2.1.5", BYTES_LIT("Recipient accepted"), now);
		break;
	case SMTP_ASKED_DATA:
	case SMTP_ASKED_CHUNK:
	case SMTP_ASKED_END:
		smtp_server_reply(s, 250, "2.0.0", BYTES_LIT("Message accepted"), now);
		break;
	case SMTP_ASKED_NOTHING:
	case SMTP_ASKED_TLS:
		break;
	}
}

static void
answer_good(struct smtp_server *s, enum smtp_question question, unsigned code, const char *enhanced,
	    struct bytes text)
{
	switch (question) {
	case SMTP_ASKED_AUTH:
		s->logged_in = true;
		smtp_put(s, code, enhanced, text);
		break;
	case SMTP_ASKED_MAIL:
		s->transaction = SMTP_TRANSACTION_MAIL;
		s->recipients = 0;
		smtp_put(s, code, enhanced, text);
		break;
	case SMTP_ASKED_RCPT:
		s->transaction = SMTP_TRANSACTION_RCPT;
		s->recipients++;
		smtp_put(s, code, enhanced, text);
		break;
	case SMTP_ASKED_DATA:
		smtp_data_accepted(s);
		break;
	case SMTP_ASKED_CHUNK:
		smtp_chunk_accepted(s);
		break;
	case SMTP_ASKED_END:
		s->transaction = SMTP_TRANSACTION_NONE;
		s->junk = 0;
		s->utf8 = false;
		s->wait_deadline = s->now + s->config->message_wait;
		smtp_put(s, code, enhanced, text);
		break;
	case SMTP_ASKED_NOTHING:
	case SMTP_ASKED_TLS:
		break;
	}
}

static void
answer_bad(struct smtp_server *s, enum smtp_question question, unsigned code, const char *enhanced,
	   struct bytes text)
{
	bool over = question == SMTP_ASKED_DATA || question == SMTP_ASKED_CHUNK || question == SMTP_ASKED_END;
	s->auth_failures += question == SMTP_ASKED_AUTH && code >= 500 ? 1 : 0;
	if (question == SMTP_ASKED_CHUNK && code != 421) {
		smtp_chunk_declined(s, code, enhanced, text);
	} else if (code < 500 ||
		   !(question == SMTP_ASKED_END && s->mode == SMTP_MODE_SESSION ? smtp_count_junk(s)
										: smtp_count_mistake(s))) {
		smtp_put(s, code, enhanced, text);
	}
	if (code == 421) {
		s->closing = true;
	}
	if (question == SMTP_ASKED_MAIL) {
		s->utf8 = false;
	}
	if (over || s->closing) {
		smtp_reset_transaction(s);
	}
}

void
smtp_server_reply(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text, msec now)
{
	enum smtp_question question = (enum smtp_question)s->question;
	if (s->closing || !smtp_server_asked(s)) {
		return;
	}
	if (s->scram != NULL && code / 100 == 2) {
		panic("smtp_server: a proof is answered with smtp_server_prove");
	}
	s->now = now;
	s->question = SMTP_ASKED_NOTHING;
	sasl_scram_destroy(&s->scram);
	if (code / 100 == 2) {
		answer_good(s, question, code, enhanced, text);
	} else {
		answer_bad(s, question, code, enhanced, text);
	}
	restart_timer(s);
	if (s->stopping) {
		smtp_server_shutdown(s, now);
	}
	resume(s);
}

void
smtp_go_on(struct smtp_server *s, msec now)
{
	s->now = now;
	s->question = SMTP_ASKED_NOTHING;
	restart_timer(s);
	if (s->stopping) {
		smtp_server_shutdown(s, now);
	}
	resume(s);
}

void
smtp_server_hold(struct smtp_server *s)
{
	s->held = true;
}

void
smtp_server_release(struct smtp_server *s, msec now)
{
	if (s->held) {
		s->held = false;
		s->now = now;
		restart_timer(s);
		smtp_restart_rate(s);
		resume(s);
	}
}

void
smtp_server_tls_started(struct smtp_server *s, msec now)
{
	if (s->question == SMTP_ASKED_TLS) {
		s->question = SMTP_ASKED_NOTHING;
		s->tls = true;
		s->now = now;
		restart_timer(s);
	}
}

bool
smtp_server_logged_in(const struct smtp_server *s)
{
	return s->logged_in;
}

enum smtp_hello
smtp_server_hello(const struct smtp_server *s)
{
	return s->hello;
}

enum err
smtp_server_take_unread(struct smtp_server *s, struct buf *ret_unread)
{
	if (!s->logged_in) {
		return ERR_STATE;
	}
	enum err e = buf_append(ret_unread, buf_bytes(&s->in));
	if (e == ERR_OK) {
		buf_wipe(&s->in);
	}
	return e;
}

bool
smtp_server_in_transaction(const struct smtp_server *s)
{
	return s->transaction != SMTP_TRANSACTION_NONE;
}
