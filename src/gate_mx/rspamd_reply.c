/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The three members of rspamd's answer that matter, found without a tree: strings are skipped as wholes, depth is a number. */
#include <math.h>
#include <string.h>

#include "gate_mx/rspamd.h"
#include "sealed/judgement.h"

enum { DEPTH_MAX = 64, NUMBER_MAX = 32, MARKED = 50, REFUSED = 80 };

/* A string that begins at *at, its escapes left as they are; *at: behind it. */
static bool
read_string(struct bytes json, size_t *at, struct bytes *ret)
{
	size_t start = *at + 1;
	if (*at >= json.len || json.ptr[*at] != '"') {
		return false;
	}
	for (size_t i = start; i < json.len; i++) {
		if (json.ptr[i] == '\\') {
			i++;
		} else if (json.ptr[i] == '"') {
			*ret = bytes_slice(json, start, i - start);
			*at = i + 1;
			return true;
		}
	}
	return false;
}

static size_t
skip_blanks(struct bytes json, size_t at)
{
	while (at < json.len && strchr(" \t\r\n", json.ptr[at]) != NULL && json.ptr[at] != '\0') {
		at++;
	}
	return at;
}

/* A plain decimal number (RFC 8259 section 6, without exponents: rspamd writes none). */
static bool
read_number(struct bytes json, size_t at, double *ret)
{
	double value = 0;
	double place = 0;
	size_t digits = 0;
	bool minus = at < json.len && json.ptr[at] == '-';
	for (at += minus ? 1 : 0; at < json.len && digits < NUMBER_MAX; at++) {
		if (ascii_is_digit(json.ptr[at])) {
			double digit = json.ptr[at] - '0';
			value = place > 0 ? value + digit * place : value * 10 + digit;
			place /= 10;
			digits++;
		} else if (json.ptr[at] == '.' && place <= 0) {
			place = 0.1;
		} else {
			break;
		}
	}
	if (digits == 0 || digits == NUMBER_MAX) {
		return false;
	}
	*ret = minus ? -value : value;
	return true;
}

static uint32_t
tenths(double score, double required, struct bytes action)
{
	double share = required > 0 && score > 0 ? round(score / required * REFUSED) : 0;
	uint32_t t = share > JUDGEMENT_SCORE_MAX ? JUDGEMENT_SCORE_MAX : (uint32_t)share;
	uint32_t least = bytes_is(action, "reject")                                              ? REFUSED
			 : bytes_is(action, "add header") || bytes_is(action, "rewrite subject") ? MARKED
												 : 0;
	return t > least ? t : least;
}

enum err
rspamd_read(struct bytes json, uint32_t *ret_tenths)
{
	size_t depth = 0;
	size_t at = 0;
	double score = 0;
	double required = 0;
	bool scored = false;
	bool ended = false;
	struct bytes action = BYTES_EMPTY;
	struct bytes text;
	while ((at = skip_blanks(json, at)) < json.len && !ended) {
		uint8_t c = json.ptr[at];
		if (c == '"') {
			if (!read_string(json, &at, &text)) {
				return ERR_FORMAT;
			}
			size_t value = skip_blanks(json, at);
			if (depth != 1 || value >= json.len || json.ptr[value] != ':') {
				continue;
			}
			at = skip_blanks(json, value + 1);
			if (bytes_is(text, "score")) {
				scored = read_number(json, at, &score);
			} else if (bytes_is(text, "required_score")) {
				(void)read_number(json, at, &required);
			} else if (bytes_is(text, "action") && !read_string(json, &at, &action)) {
				return ERR_FORMAT;
			}
			continue;
		}
		if (c == '{' || c == '[') {
			if ((depth == 0 && c != '{') || ++depth > DEPTH_MAX) {
				return ERR_FORMAT;
			}
		} else if (depth == 0) {
			return ERR_FORMAT;
		} else if (c == '}' || c == ']') {
			ended = --depth == 0;
		}
		at++;
	}
	if (!ended || !scored || action.len == 0) {
		return ERR_FORMAT;
	}
	*ret_tenths = tenths(score, required, action);
	return ERR_OK;
}
