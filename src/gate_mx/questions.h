/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_QUESTIONS_H
#define COHUE_GATE_MX_QUESTIONS_H

#include "authentication/question.h"
#include "gate_mx/mx.h"

/*
 * The questions of one message to the resolver, from its task. What a stranger names is asked of his own servers, which may take as long as they
 * like: such questions have less time and less room than those after the author's policy, and of either no network may take what the others need.
 */
struct mx_questions {
	struct mx_connection *c;
	struct buf reply; /* of the last answer: what it lends lives here */
	unsigned count;
	enum turns_kind kind;
	msec until;    /* for all questions of this kind together */
	msec each;     /* for each of them; 0: as long as for all */
	bool troubled; /* some question failed for our sake: what is missing is no sign of anything */
};

struct authentication_dns mx_questions_start(struct mx_questions *q, struct mx_connection *c);
/* What is asked from now on, and how long it may take. troubled begins anew. */
void mx_questions_turn_to(struct mx_questions *q, enum turns_kind kind, msec all, msec each);
void mx_questions_clear(struct mx_questions *q);

#endif
