/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "base/secret.h"
#include "sealed/slots.h"
#include "sealed/value.h"

/*
 * Crockford's base 32: no i, l, o, u. An application password is its number, and 27 symbols: 128 secret bits
 * and 7 of a checksum; a recovery code is 35 symbols: 160 and 15.
 */
static const char symbols[] = "0123456789abcdefghjkmnpqrstvwxyz";

enum {
	APP_SECRET = 16,
	APP_SYMBOLS = 27,
	RECOVERY_SECRET = 20,
	RECOVERY_SYMBOLS = 35,
	SYMBOLS_MAX = RECOVERY_SYMBOLS,
	GROUP = 5,
};

static uint32_t
checksum(const struct slot_code *code)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	struct sealed_ad text;
	bool app = code->kind == SLOT_APP;

	sealed_ad_init(&text, app ? "cohue app password check 1" : "cohue recovery code check 1");
	if (app) {
		sealed_ad_put_u32(&text, code->number);
	}
	sealed_ad_put(&text, code->secret, app ? APP_SECRET : RECOVERY_SECRET);
	crypto_digest(sealed_ad_bytes(&text), hash);
	secret_wipe(&text, sizeof(text));
	uint32_t v = (uint32_t)hash[0] << 8 | hash[1];
	return app ? v >> 9 : v >> 1;
}

/* Bit i (from the front) of secret || checksum. */
static unsigned
bit_of(const struct slot_code *code, uint32_t check, size_t secret_bits, size_t total, size_t i)
{
	if (i < secret_bits) {
		return (unsigned)code->secret[i / 8] >> (7 - i % 8) & 1U;
	}
	return check >> (total - 1 - i) & 1U;
}

void
slot_code_print(const struct slot_code *code, char ret[SLOT_CODE_TEXT_MAX])
{
	bool app = code->kind == SLOT_APP;
	size_t count = app ? APP_SYMBOLS : RECOVERY_SYMBOLS;
	size_t secret_bits = 8 * (size_t)(app ? APP_SECRET : RECOVERY_SECRET);
	uint32_t check = checksum(code);
	size_t n = 0;

	if (app) {
		char digits[12];
		size_t d = 0;
		uint32_t v = code->number;
		do {
			digits[d++] = (char)('0' + v % 10);
			v /= 10;
		} while (v > 0);
		while (d > 0) {
			ret[n++] = digits[--d];
		}
		ret[n++] = '-';
	}
	for (size_t s = 0; s < count; s++) {
		unsigned v = 0;
		for (size_t i = 5 * s; i < 5 * s + 5; i++) {
			v = v << 1 | bit_of(code, check, secret_bits, 5 * count, i);
		}
		if (s > 0 && s % GROUP == 0) {
			ret[n++] = '-';
		}
		ret[n++] = symbols[v];
	}
	ret[n] = '\0';
}

static int
symbol_value(uint8_t c)
{
	c = ascii_lower(c);
	c = c == 'o' ? '0' : c == 'i' || c == 'l' ? '1' : c;
	for (int v = 0; v < 32; v++) {
		if ((uint8_t)symbols[v] == c) {
			return v;
		}
	}
	return -1;
}

static bool
is_separator(uint8_t c)
{
	return c == '-' || c == ' ' || c == '\t';
}

/* Symbols without separators; false where there are other octets or too many. */
static bool
collect(struct bytes text, uint8_t ret[SYMBOLS_MAX], size_t *ret_count)
{
	size_t n = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (is_separator(text.ptr[i])) {
			continue;
		}
		int v = symbol_value(text.ptr[i]);
		if (v < 0 || n == SYMBOLS_MAX) {
			return false;
		}
		ret[n++] = (uint8_t)v;
	}
	*ret_count = n;
	return true;
}

static enum err
decode(const uint8_t *values, size_t count, struct slot_code *code)
{
	size_t secret_bits = 8 * (size_t)(code->kind == SLOT_APP ? APP_SECRET : RECOVERY_SECRET);
	uint32_t check = 0;

	memset(code->secret, 0, sizeof(code->secret));
	for (size_t i = 0; i < 5 * count; i++) {
		unsigned bit = (unsigned)values[i / 5] >> (4 - i % 5) & 1U;
		if (i < secret_bits) {
			code->secret[i / 8] |= (uint8_t)(bit << (7 - i % 8));
		} else {
			check = check << 1 | bit;
		}
	}
	return check == checksum(code) ? ERR_OK : ERR_FORMAT;
}

enum err
slot_code_parse(struct bytes text, struct slot_code *ret)
{
	struct slot_code code = {.kind = SLOT_RECOVERY, .number = 0};
	uint8_t values[SYMBOLS_MAX];
	size_t count = 0;
	enum err e = ERR_FORMAT;

	text = bytes_trim(text);
	if (text.len > SLOT_CODE_TEXT_MAX * 2) {
		return ERR_FORMAT;
	}
	if (collect(text, values, &count) && count == RECOVERY_SYMBOLS) {
		e = decode(values, count, &code);
	}
	/* The number of an application password ends at the first separator. */
	size_t digits = 0;
	while (digits < text.len && digits < 6 && ascii_is_digit(text.ptr[digits])) {
		digits++;
	}
	uint64_t number = 0;
	if (e != ERR_OK && digits < text.len && is_separator(text.ptr[digits]) &&
	    bytes_to_u64(bytes_slice(text, 0, digits), SLOT_NUMBER_MAX, &number) == ERR_OK && number > 0 &&
	    collect(bytes_from(text, digits), values, &count) && count == APP_SYMBOLS) {
		code.kind = SLOT_APP;
		code.number = (uint32_t)number;
		e = decode(values, count, &code);
	}
	if (e == ERR_OK) {
		*ret = code;
	}
	secret_wipe(values, sizeof(values));
	secret_wipe(&code, sizeof(code));
	return e;
}
