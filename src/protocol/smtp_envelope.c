/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/smtp_envelope.h"

#include "mail/header.h"

/* xchar of RFC 3461 section 4: printable, neither '+' nor '='. */
static bool
is_xchar(uint8_t c)
{
	return c > ' ' && c < 127 && c != '+' && c != '=';
}

static int
upper_hex(uint8_t c)
{
	if (ascii_is_digit(c)) {
		return c - '0';
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum err
smtp_xtext_decode(struct bytes text, struct buf *ret_plain)
{
	size_t start = ret_plain->len;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		enum err e = ERR_FORMAT;
		if (is_xchar(c)) {
			e = buf_append_byte(ret_plain, c);
		} else if (c == '+' && text.len - i > 2) {
			int high = upper_hex(text.ptr[i + 1]);
			int low = upper_hex(text.ptr[i + 2]);
			if (high >= 0 && low >= 0) {
				e = buf_append_byte(ret_plain, (uint8_t)(high << 4 | low));
				i += 2;
			}
		}
		if (e != ERR_OK) {
			buf_truncate(ret_plain, start);
			return e;
		}
	}
	return ERR_OK;
}

enum err
smtp_xtext_encode(struct bytes plain, struct buf *ret_text)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t start = ret_text->len;
	for (size_t i = 0; i < plain.len; i++) {
		uint8_t c = plain.ptr[i];
		uint8_t coded[3] = {'+', (uint8_t)digits[c >> 4], (uint8_t)digits[c & 15]};
		enum err e =
		    is_xchar(c) ? buf_append_byte(ret_text, c) : buf_append(ret_text, bytes_of(coded, 3));
		if (e != ERR_OK) {
			buf_truncate(ret_text, start);
			return e;
		}
	}
	return ERR_OK;
}

/* What the parameters of one command are read into; one of mail and rcpt is set. */
struct target {
	struct smtp_mail *mail;
	struct smtp_rcpt *rcpt;
	struct buf *scratch;
	bool utf8;
	bool held;
	const struct smtp_offer *offer;
};

/* Decoded and printable, as it will stand in a DSN. */
static enum err
decode_text(struct bytes value, struct buf *scratch, struct bytes *ret_plain)
{
	size_t start = scratch->len;
	enum err e = smtp_xtext_decode(value, scratch);
	if (e != ERR_OK) {
		return e;
	}
	struct bytes plain = bytes_from(buf_bytes(scratch), start);
	for (size_t i = 0; i < plain.len; i++) {
		if (plain.ptr[i] < ' ' || plain.ptr[i] > 126) {
			return ERR_FORMAT;
		}
	}
	*ret_plain = plain;
	return ERR_OK;
}

static enum err
param_size(struct target *t, struct bytes value)
{
	enum err e = bytes_to_u64(value, UINT64_MAX, &t->mail->size);
	if (e == ERR_LIMIT && value.len <= 20) {
		t->mail->size = UINT64_MAX; /* twenty digits are good syntax (RFC 1870), and too much */
		return ERR_OK;
	}
	return e == ERR_OK ? ERR_OK : ERR_FORMAT;
}

static enum err
param_body(struct target *t, struct bytes value)
{
	if (bytes_is_nocase(value, "7BIT")) {
		t->mail->body = SMTP_BODY_7BIT;
	} else if (bytes_is_nocase(value, "8BITMIME")) {
		t->mail->body = SMTP_BODY_8BITMIME;
	} else {
		return ERR_FORMAT;
	}
	return ERR_OK;
}

static enum err
param_utf8(struct target *t, struct bytes value COHUE_UNUSED)
{
	t->mail->utf8 = true;
	return ERR_OK;
}

static enum err
param_require_tls(struct target *t, struct bytes value COHUE_UNUSED)
{
	t->mail->require_tls = true;
	return ERR_OK;
}

static enum err
param_ret(struct target *t, struct bytes value)
{
	if (bytes_is_nocase(value, "FULL")) {
		t->mail->ret = SMTP_RET_FULL;
	} else if (bytes_is_nocase(value, "HDRS")) {
		t->mail->ret = SMTP_RET_HDRS;
	} else {
		return ERR_FORMAT;
	}
	return ERR_OK;
}

static enum err
param_envid(struct target *t, struct bytes value)
{
	enum err e = decode_text(value, t->scratch, &t->mail->envid);
	if (e == ERR_OK && t->mail->envid.len > SMTP_ENVID_MAX) {
		return ERR_FORMAT;
	}
	return e;
}

/* RFC 4865 section 3: one of HOLDFOR and HOLDUNTIL, not both. */
static enum err
hold(struct target *t, uint64_t seconds)
{
	if (t->held) {
		return ERR_FORMAT;
	}
	t->held = true;
	t->mail->hold = seconds;
	return seconds <= t->offer->hold_max ? ERR_OK : ERR_LIMIT;
}

static enum err
param_holdfor(struct target *t, struct bytes value)
{
	uint64_t seconds = 0;
	if (value.len > 9 || value.ptr[0] == '0' || bytes_to_u64(value, UINT64_MAX, &seconds) != ERR_OK) {
		return ERR_FORMAT;
	}
	return hold(t, seconds);
}

static enum err
param_holduntil(struct target *t, struct bytes value)
{
	int64_t until = 0;
	if (mail_timestamp_parse(value, &until) != ERR_OK) {
		return ERR_FORMAT;
	}
	int64_t seconds = until - t->offer->wall;
	return hold(t, seconds <= 0 ? 0 : seconds == 1 ? 2 : (uint64_t)seconds);
}

static enum err
param_priority(struct target *t, struct bytes value)
{
	bool negative = value.ptr[0] == '-';
	struct bytes digits = bytes_from(value, negative ? 1 : 0);
	if (digits.len != 1 || !ascii_is_digit(digits.ptr[0])) {
		return ERR_FORMAT;
	}
	int n = digits.ptr[0] - '0';
	t->mail->has_priority = true;
	t->mail->priority = (int8_t)(negative ? -n : n);
	return ERR_OK;
}

/* Whose mail it is, said by a peer that we have no reason to believe (RFC 4954 section 5). */
static enum err
param_auth(struct target *t, struct bytes value)
{
	struct bytes ignored = BYTES_EMPTY;
	return decode_text(value, t->scratch, &ignored);
}

static enum err
param_notify(struct target *t, struct bytes value)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {
	    {"NEVER", SMTP_NOTIFY_NEVER},
	    {"SUCCESS", SMTP_NOTIFY_SUCCESS},
	    {"FAILURE", SMTP_NOTIFY_FAILURE},
	    {"DELAY", SMTP_NOTIFY_DELAY},
	};
	unsigned notify = 0;
	for (bool more = true; more;) {
		ptrdiff_t comma = bytes_find(value, ',');
		more = comma >= 0;
		struct bytes word = more ? bytes_slice(value, 0, (size_t)comma) : value;
		unsigned bit = 0;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			bit |= bytes_is_nocase(word, words[i].word) ? words[i].bit : 0;
		}
		if (bit == 0 || (notify & bit) != 0) {
			return ERR_FORMAT;
		}
		notify |= bit;
		value = more ? bytes_from(value, (size_t)comma + 1) : value;
	}
	if ((notify & SMTP_NOTIFY_NEVER) != 0 && notify != SMTP_NOTIFY_NEVER) {
		return ERR_FORMAT;
	}
	t->rcpt->notify = notify;
	return ERR_OK;
}

static enum err
param_orcpt(struct target *t, struct bytes value)
{
	ptrdiff_t semicolon = bytes_find(value, ';');
	if (semicolon <= 0 || value.len > SMTP_ORCPT_MAX) {
		return ERR_FORMAT;
	}
	struct bytes type = bytes_slice(value, 0, (size_t)semicolon);
	struct bytes text = bytes_from(value, (size_t)semicolon + 1);
	for (size_t i = 0; i < type.len; i++) {
		if (!ascii_is_alnum(type.ptr[i]) && type.ptr[i] != '-') {
			return ERR_FORMAT;
		}
	}
	if (text.len == 0) {
		return ERR_FORMAT;
	}
	if (bytes_is_nocase(type, "utf-8")) {
		if (!t->utf8 && !bytes_is_ascii(text)) {
			return ERR_FORMAT;
		}
		t->rcpt->orcpt = text;
	} else {
		enum err e = decode_text(text, t->scratch, &t->rcpt->orcpt);
		if (e != ERR_OK) {
			return e;
		}
	}
	t->rcpt->orcpt_type = type;
	return ERR_OK;
}

enum value { VALUE_REQUIRED, VALUE_NONE };

/* An extension's parameters are rows here, and nothing else. */
static const struct param {
	const char *keyword;
	bool of_mail;
	bool dsn;
	bool auth;
	bool priority;
	bool future;
	bool tls;
	enum value value;
	enum err (*read)(struct target *t, struct bytes value);
} params[] = {
    {"SIZE", true, false, false, false, false, false, VALUE_REQUIRED, param_size},
    {"BODY", true, false, false, false, false, false, VALUE_REQUIRED, param_body},
    {"SMTPUTF8", true, false, false, false, false, false, VALUE_NONE, param_utf8},
    {"REQUIRETLS", true, false, false, false, false, true, VALUE_NONE, param_require_tls},
    {"RET", true, true, false, false, false, false, VALUE_REQUIRED, param_ret},
    {"ENVID", true, true, false, false, false, false, VALUE_REQUIRED, param_envid},
    {"AUTH", true, false, true, false, false, false, VALUE_REQUIRED, param_auth},
    {"MT-PRIORITY", true, false, false, true, false, false, VALUE_REQUIRED, param_priority},
    {"HOLDFOR", true, false, false, false, true, false, VALUE_REQUIRED, param_holdfor},
    {"HOLDUNTIL", true, false, false, false, true, false, VALUE_REQUIRED, param_holduntil},
    {"NOTIFY", false, true, false, false, false, false, VALUE_REQUIRED, param_notify},
    {"ORCPT", false, true, false, false, false, false, VALUE_REQUIRED, param_orcpt},
};

enum { PARAM_COUNT = sizeof(params) / sizeof(params[0]) };

/* esmtp-keyword and esmtp-value (RFC 5321 section 4.1.2, RFC 6531 section 3.3). */
static bool
keyword_valid(struct bytes keyword)
{
	for (size_t i = 0; i < keyword.len; i++) {
		uint8_t c = keyword.ptr[i];
		if (!ascii_is_alnum(c) && (c != '-' || i == 0)) {
			return false;
		}
	}
	return keyword.len > 0;
}

static bool
value_valid(struct bytes value)
{
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.ptr[i];
		if (c <= ' ' || c == '=' || c == 127) {
			return false;
		}
	}
	return value.len > 0 && bytes_is_utf8(value);
}

static enum err
read_param(struct bytes text, struct smtp_offer offer, struct target *t, unsigned *seen)
{
	ptrdiff_t equals = bytes_find(text, '=');
	struct bytes keyword = equals >= 0 ? bytes_slice(text, 0, (size_t)equals) : text;
	struct bytes value = equals >= 0 ? bytes_from(text, (size_t)equals + 1) : BYTES_EMPTY;
	if (!keyword_valid(keyword) || (equals >= 0 && !value_valid(value))) {
		return ERR_FORMAT;
	}
	for (unsigned i = 0; i < PARAM_COUNT; i++) {
		const struct param *p = &params[i];
		bool offered = (!p->dsn || offer.dsn) && (!p->auth || offer.auth) &&
			       (!p->priority || offer.priority) && (!p->future || offer.hold_max > 0) &&
			       (!p->tls || offer.require_tls);
		if (p->of_mail != (t->mail != NULL) || !offered || !bytes_is_nocase(keyword, p->keyword)) {
			continue;
		}
		if ((*seen & 1U << i) != 0 || (p->value == VALUE_REQUIRED) != (equals >= 0)) {
			return ERR_FORMAT;
		}
		*seen |= 1U << i;
		return p->read(t, value);
	}
	return ERR_UNSUPPORTED;
}

static enum err
read_params(struct bytes text, struct smtp_offer offer, struct target *t)
{
	/* Decoding never lengthens: with this room the buffer does not move under its views. */
	enum err e = buf_reserve(t->scratch, text.len);
	unsigned seen = 0;
	while (e == ERR_OK) {
		while (text.len > 0 && text.ptr[0] == ' ') {
			text = bytes_from(text, 1);
		}
		if (text.len == 0) {
			return ERR_OK;
		}
		ptrdiff_t space = bytes_find(text, ' ');
		size_t len = space >= 0 ? (size_t)space : text.len;
		e = read_param(bytes_slice(text, 0, len), offer, t, &seen);
		text = bytes_from(text, len);
	}
	return e;
}

enum err
smtp_mail_params(struct bytes text, struct smtp_offer offer, struct buf *scratch, struct smtp_mail *ret_mail)
{
	struct smtp_mail mail = {.sender = ret_mail->sender};
	struct target t = {.mail = &mail, .scratch = scratch, .offer = &offer};
	enum err e = read_params(text, offer, &t);
	if (e == ERR_OK) {
		*ret_mail = mail;
	}
	return e;
}

enum err
smtp_rcpt_params(struct bytes text, struct smtp_offer offer, bool utf8, struct buf *scratch,
		 struct smtp_rcpt *ret_rcpt)
{
	struct smtp_rcpt rcpt = {.recipient = ret_rcpt->recipient};
	struct target t = {.rcpt = &rcpt, .scratch = scratch, .utf8 = utf8, .offer = &offer};
	enum err e = read_params(text, offer, &t);
	if (e == ERR_OK) {
		*ret_rcpt = rcpt;
	}
	return e;
}
