/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_SCORE_H
#define COHUE_GATE_MX_SCORE_H

#include "authentication/client.h"
#include "authentication/results.h"

/*
 * How suspicious a message is by rules that are the same for everybody, in tenths: 50 is unwanted if nothing else speaks for it. Each rule
 * costs an honest small server little; it takes several of them together. Pure.
 */

struct score_input {
	struct bytes message;
	const struct client_verdict *client;
	const struct authentication_results *results;
	bool vouched;      /* by an ARC chain that is trusted: what came before it says nothing */
	size_t recipients; /* here */
	struct bytes sender;
};

/* The table's rows, in its order; docs/junk.md lists them. */
enum score_rule {
	SCORE_REVERSE_NONE,
	SCORE_REVERSE_OTHER,
	SCORE_HELLO_OURS,
	SCORE_HELLO_NUMERIC,
	SCORE_HELLO_LITERAL,
	SCORE_HELLO_SHORT,
	SCORE_HELLO_LOST,
	SCORE_LISTED, /* for each list */
	SCORE_SPF_FAIL,
	SCORE_SPF_SOFTFAIL,
	SCORE_NOBODY_VOUCHES,
	SCORE_DMARC_FAIL,
	SCORE_NO_FROM,
	SCORE_NO_DATE,
	SCORE_NO_MESSAGE_ID,
	SCORE_NAME_IS_ADDRESS,
	SCORE_MANY,
	SCORE_BOUNCE_TO_MANY,
	SCORE__COUNT
};

/* Tenths of one rule. */
uint32_t score_weight(enum score_rule rule);
/* At most JUDGEMENT_SCORE_MAX. */
uint32_t score_message(const struct score_input *in);

#endif
