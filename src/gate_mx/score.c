/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/score.h"

#include "base/arena.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "sealed/judgement.h"

enum {
	MANY = 20,                /* recipients of one message in one house */
	FROM_ADDRESSES_MAX = 16,  /* more are looked at by DMARC, and refused */
	FROM_MEMORY = 256 * 1024, /* for parsing From */
	NAME_MAX_OCTETS = 1024,   /* of a display name */
};

/*
 * The worst that an honest house shows at once, and it must stay below 50: a host without a name that introduces itself by a short one, and
 * signs nothing (15 + 8 + 10), with a program that leaves Message-ID out (8); or forwarded mail of a domain with p=none whose
 * signature broke on the way (15 + 10 + 15), from a host whose names do not fit (8).
 */
static const uint8_t weights[SCORE__COUNT] = {
    [SCORE_REVERSE_NONE] = 15,    [SCORE_REVERSE_OTHER] = 8,   [SCORE_HELLO_OURS] = 35,
    [SCORE_HELLO_NUMERIC] = 15,   [SCORE_HELLO_LITERAL] = 5,   [SCORE_HELLO_SHORT] = 8,
    [SCORE_HELLO_LOST] = 8,       [SCORE_LISTED] = 30,         [SCORE_SPF_FAIL] = 15,
    [SCORE_SPF_SOFTFAIL] = 8,     [SCORE_NOBODY_VOUCHES] = 10, [SCORE_DMARC_FAIL] = 15,
    [SCORE_NO_FROM] = 25,         [SCORE_NO_DATE] = 10,        [SCORE_NO_MESSAGE_ID] = 8,
    [SCORE_NAME_IS_ADDRESS] = 15, [SCORE_MANY] = 10,           [SCORE_BOUNCE_TO_MANY] = 15,
};

uint32_t
score_weight(enum score_rule rule)
{
	return weights[rule];
}

static uint32_t
of_client(const struct client_verdict *c)
{
	static const uint8_t reverse[] = {[CLIENT_REVERSE_UNKNOWN] = SCORE__COUNT,
					  [CLIENT_REVERSE_NONE] = SCORE_REVERSE_NONE,
					  [CLIENT_REVERSE_OTHER] = SCORE_REVERSE_OTHER,
					  [CLIENT_REVERSE_CONFIRMED] = SCORE__COUNT};
	static const uint8_t hello[] = {
	    [CLIENT_HELLO_NAME] = SCORE__COUNT,           [CLIENT_HELLO_LOST] = SCORE_HELLO_LOST,
	    [CLIENT_HELLO_SHORT] = SCORE_HELLO_SHORT,     [CLIENT_HELLO_LITERAL] = SCORE_HELLO_LITERAL,
	    [CLIENT_HELLO_NUMERIC] = SCORE_HELLO_NUMERIC, [CLIENT_HELLO_OURS] = SCORE_HELLO_OURS};
	uint32_t sum = weights[SCORE_LISTED] * (uint32_t)c->lists;
	sum += reverse[c->reverse] < SCORE__COUNT ? weights[reverse[c->reverse]] : 0U;
	sum += hello[c->hello] < SCORE__COUNT ? weights[hello[c->hello]] : 0U;
	return sum;
}

static uint32_t
of_results(const struct authentication_results *r)
{
	bool signature = false;
	bool unclear = r->spf.result == AUTHENTICATION_PASS || r->spf.result == AUTHENTICATION_TEMPERROR;
	uint32_t sum = 0;
	for (size_t i = 0; i < r->dkim.count; i++) {
		signature = signature || r->dkim.list[i].result == AUTHENTICATION_PASS ||
			    r->dkim.list[i].result == AUTHENTICATION_TEMPERROR;
	}
	/* A signature survives forwarding, which SPF does not: who signed vouches for what SPF misses. */
	if (r->dmarc.result != AUTHENTICATION_PASS && !signature) {
		sum += r->spf.result == AUTHENTICATION_FAIL ? weights[SCORE_SPF_FAIL] : 0U;
		sum += r->spf.result == AUTHENTICATION_SOFTFAIL ? weights[SCORE_SPF_SOFTFAIL] : 0U;
	}
	sum += !signature && !unclear ? weights[SCORE_NOBODY_VOUCHES] : 0U;
	/* A stricter policy has been applied already. */
	sum += r->dmarc.result == AUTHENTICATION_FAIL && r->dmarc.policy == DMARC_MONITOR
		   ? weights[SCORE_DMARC_FAIL]
		   : 0U;
	return sum;
}

/* "security@bank.example" <eve@elsewhere.example>. Without the quotes it has been refused. */
static bool
is_name_another_address(struct bytes from)
{
	struct arena arena;
	struct mail_addresses list = {NULL, 0, false};
	struct buf name = BUF_INIT(NAME_MAX_OCTETS * 4);
	bool found = false;
	arena_init(&arena, FROM_MEMORY);
	if (mail_addresses_parse(&arena, from, FROM_ADDRESSES_MAX, &list) != ERR_OK) {
		list.count = 0;
	}
	for (size_t i = 0; i < list.count && !found; i++) {
		const struct mail_address *a = &list.list[i];
		buf_reset(&name);
		found = a->kind == MAIL_ADDRESS_MAILBOX && a->domain.len > 0 &&
			mail_words_decode(bytes_slice(a->name, 0, NAME_MAX_OCTETS), &name) == ERR_OK &&
			dmarc_names_another(buf_bytes(&name), a->domain);
	}
	buf_clear(&name);
	arena_clear(&arena);
	return found;
}

static uint32_t
of_header(const struct score_input *in)
{
	struct mail_field f;
	uint32_t sum = 0;
	bool from = mail_field_find(in->message, "From", &f);
	sum += from ? 0U : weights[SCORE_NO_FROM];
	sum += from && is_name_another_address(f.value) ? weights[SCORE_NAME_IS_ADDRESS] : 0U;
	sum += mail_field_find(in->message, "Date", &f) ? 0U : weights[SCORE_NO_DATE];
	sum += mail_field_find(in->message, "Message-ID", &f) ? 0U : weights[SCORE_NO_MESSAGE_ID];
	if (in->sender.len == 0 && in->recipients > 1) {
		sum += weights[SCORE_BOUNCE_TO_MANY]; /* a report is for one (RFC 5321 section 4.5.5) */
	} else if (in->recipients >= MANY && !mail_field_find(in->message, "List-Id", &f)) {
		sum += weights[SCORE_MANY];
	}
	return sum;
}

uint32_t
score_message(const struct score_input *in)
{
	uint32_t sum = of_client(in->client) + of_header(in) + (in->vouched ? 0U : of_results(in->results));
	return sum < JUDGEMENT_SCORE_MAX ? sum : JUDGEMENT_SCORE_MAX;
}
