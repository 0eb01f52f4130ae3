/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The three members of rspamd's answer that matter. Others hold what a stranger wrote, in any charset. */
#include <math.h>

#include "base/json.h"
#include "gate_mx/rspamd.h"
#include "sealed/judgement.h"

enum { NUMBER_MAX = 32, MARKED = 50, REFUSED = 80 };

/* A plain decimal number (RFC 8259 section 6, without exponents: rspamd writes none). */
static bool
read_number(struct bytes json, double *ret)
{
	size_t at = 0;
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
	double score = 0;
	double required = 0;
	if (json_check_octets(json) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct bytes action = json_member(json, "action");
	if (json_kind(action) != JSON_STRING || !read_number(json_member(json, "score"), &score)) {
		return ERR_FORMAT;
	}
	/* null where it refuses nothing. */
	(void)read_number(json_member(json, "required_score"), &required);
	*ret_tenths = tenths(score, required, json_written(action));
	return ERR_OK;
}
