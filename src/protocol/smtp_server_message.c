/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* DATA (RFC 5321) and BDAT (RFC 3030) of the SMTP server engine. */
#include "protocol/smtp_server_private.h"

/* A chunk larger than this is not waited for. */
static const uint64_t chunk_max = UINT64_C(1) << 30;

static void
begin_message(struct smtp_server *s, bool dots)
{
	struct smtp_data_limits limits = {.max_size = s->config->max_message,
					  .max_header = s->config->max_header,
					  .max_line = s->config->max_line};
	smtp_data_init(&s->data, dots, &limits);
	s->message_deadline = s->now + s->config->message_timeout;
	smtp_restart_rate(s);
}

static void
refuse_fault(struct smtp_server *s)
{
	/*
	 * Who sends bare CR or LF may see another end of the message than we do: what stands behind ours is taken
	 * for commands by nobody.
	 */
	static const struct {
		unsigned code;
		const char *enhanced;
		const char *text;
		bool closes;
	} replies[] = {
	    [SMTP_FAULT_NONE] = {451, "4.3.0", "Internal error", false},
	    [SMTP_FAULT_BARE_CR] = {550, "5.5.2", "Bare CR in the message; lines end in CRLF; closing", true},
	    [SMTP_FAULT_BARE_LF] = {550, "5.5.2", "Bare LF in the message; lines end in CRLF; closing", true},
	    [SMTP_FAULT_NUL] = {550, "5.6.0", "NUL in the message", false},
	    [SMTP_FAULT_LINE] = {550, "5.6.0", "Line too long in the message", false},
	    [SMTP_FAULT_HEADER] = {552, "5.3.4", "Message header too large", false},
	    [SMTP_FAULT_SIZE] = {552, "5.3.4", "Message too large", false},
	};
	enum smtp_fault fault = s->data.fault;
	if (replies[fault].closes) {
		smtp_end(s, replies[fault].code, replies[fault].enhanced, replies[fault].text);
	} else {
		smtp_mistake(s, replies[fault].code, replies[fault].enhanced, replies[fault].text);
		smtp_reset_transaction(s);
	}
}

static void
end_message(struct smtp_server *s)
{
	s->input = SMTP_INPUT_COMMAND;
	if (s->data.fault != SMTP_FAULT_NONE) {
		refuse_fault(s);
		return;
	}
	s->question = SMTP_ASKED_END;
	s->host->data_end(s->ctx, s->data.size);
}

/* True where a message may begin now; else what to say. */
static bool
may_begin(const struct smtp_server *s, const char **ret_text)
{
	switch ((enum smtp_transaction)s->transaction) {
	case SMTP_TRANSACTION_NONE:
		*ret_text = "MAIL first";
		return false;
	case SMTP_TRANSACTION_MAIL:
		*ret_text = "No valid recipients";
		return false;
	case SMTP_TRANSACTION_RCPT:
		return true;
	case SMTP_TRANSACTION_DATA:
	case SMTP_TRANSACTION_BDAT:
		*ret_text = "BDAT and DATA don't mix";
		return false;
	}
	return false;
}

void
smtp_command_data(struct smtp_server *s, struct bytes args COHUE_UNUSED)
{
	const char *text = "";
	if (!may_begin(s, &text)) {
		smtp_mistake(s, 503, "5.5.1", text);
		return;
	}
	s->question = SMTP_ASKED_DATA;
	s->host->data_begin(s->ctx, false);
}

void
smtp_data_accepted(struct smtp_server *s)
{
	s->transaction = SMTP_TRANSACTION_DATA;
	s->input = SMTP_INPUT_DATA;
	begin_message(s, true);
	smtp_put_raw(s, "354 End data with <CR><LF>.<CR><LF>\r\n");
}

size_t
smtp_read_data(struct smtp_server *s, struct bytes in)
{
	struct bytes run = BYTES_EMPTY;
	size_t used = smtp_data_next(&s->data, in, &run);
	if (run.len > 0) {
		s->host->data(s->ctx, run);
	}
	smtp_earn_time(s, used);
	if (s->data.ended) {
		end_message(s);
	}
	return used;
}

static void
end_chunk(struct smtp_server *s)
{
	s->input = SMTP_INPUT_COMMAND;
	if (s->chunk_refused) {
		s->chunk_refused = false;
		bool mistake = s->refusal.len > 0 && s->refusal.ptr[0] == '5';
		if ((!mistake || !smtp_count_mistake(s)) &&
		    buf_append(&s->out, buf_bytes(&s->refusal)) != ERR_OK) {
			s->closing = true;
		}
		buf_clear(&s->refusal);
		return;
	}
	if (s->chunk_last) {
		smtp_data_finish(&s->data);
		end_message(s);
	} else if (s->data.fault != SMTP_FAULT_NONE) {
		refuse_fault(s);
	} else {
		smtp_put_str(s, 250, "2.0.0", "Chunk received");
	}
}

static void
begin_chunk(struct smtp_server *s)
{
	s->input = SMTP_INPUT_CHUNK;
	if (s->chunk_left == 0) {
		end_chunk(s);
	}
}

/* chunk-size of RFC 3030, and LAST. */
static enum err
scan_chunk(struct bytes args, uint64_t *ret_size, bool *ret_last)
{
	ptrdiff_t space = bytes_find(args, ' ');
	struct bytes digits = space >= 0 ? bytes_slice(args, 0, (size_t)space) : args;
	struct bytes last = space >= 0 ? bytes_trim(bytes_from(args, (size_t)space)) : BYTES_EMPTY;
	if (last.len > 0 && !bytes_is_nocase(last, "LAST")) {
		return ERR_FORMAT;
	}
	enum err e = bytes_to_u64(digits, chunk_max, ret_size);
	if (e == ERR_OK) {
		*ret_last = last.len > 0;
	}
	return e;
}

/* False when the connection was ended: octets that can't be counted may not be taken for commands. */
static bool
take_chunk_size(struct smtp_server *s, struct bytes args)
{
	enum err e = scan_chunk(args, &s->chunk_left, &s->chunk_last);
	if (e == ERR_LIMIT) {
		smtp_end(s, 552, "5.3.4", "Chunk too large, closing");
	} else if (e != ERR_OK) {
		smtp_end(s, 501, "5.5.4", "Syntax: BDAT size [LAST], closing");
	}
	return e == ERR_OK;
}

static void
decline_chunk(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text)
{
	buf_reset(&s->refusal);
	if (smtp_format_reply(&s->refusal, code, enhanced, text) != ERR_OK) {
		s->closing = true;
	}
	s->chunk_refused = true;
	begin_chunk(s);
}

void
smtp_refuse_chunk(struct smtp_server *s, struct bytes args, unsigned code, const char *enhanced,
		  const char *text)
{
	if (take_chunk_size(s, args)) {
		decline_chunk(s, code, enhanced, bytes_str(text));
	}
}

void
smtp_command_bdat(struct smtp_server *s, struct bytes args)
{
	const char *text = "";
	if (!take_chunk_size(s, args)) {
		return;
	}
	if (s->transaction == SMTP_TRANSACTION_BDAT) {
		begin_chunk(s);
	} else if (!may_begin(s, &text)) {
		decline_chunk(s, 503, "5.5.1", bytes_str(text));
	} else {
		s->question = SMTP_ASKED_CHUNK;
		s->host->data_begin(s->ctx, true);
	}
}

void
smtp_chunk_accepted(struct smtp_server *s)
{
	s->transaction = SMTP_TRANSACTION_BDAT;
	begin_message(s, false);
	begin_chunk(s);
}

void
smtp_chunk_declined(struct smtp_server *s, unsigned code, const char *enhanced, struct bytes text)
{
	decline_chunk(s, code, enhanced, text);
}

size_t
smtp_read_chunk(struct smtp_server *s, struct bytes in)
{
	size_t n = in.len < s->chunk_left ? in.len : (size_t)s->chunk_left;
	if (!s->chunk_refused) {
		struct bytes run = BYTES_EMPTY;
		n = smtp_data_next(&s->data, bytes_slice(in, 0, n), &run);
		if (run.len > 0) {
			s->host->data(s->ctx, run);
		}
	}
	s->chunk_left -= n;
	smtp_earn_time(s, n);
	if (s->chunk_left == 0) {
		end_chunk(s);
	}
	return n;
}
