/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_JUDGE_H
#define COHUE_GATE_MX_JUDGE_H

#include "authentication/client.h"
#include "authentication/results.h"
#include "gate_mx/mx.h"

/* Is a message from whom it says, and is it likely to be wanted? SPF, DKIM, ARC, DMARC, the score, and what follows from them. From a task. */

struct mx_judgement {
	struct arena arena;
	struct authentication_results results;
	struct client_verdict client; /* made for the score */
	bool made;                    /* the checks were made: the results are to be written */
	bool genuine;                 /* DMARC passed: From is who it says */
	bool vouched;                 /* by an ARC chain that is trusted: as if it had passed */
	uint32_t score;               /* how suspicious it is by rules for everybody (sealed/judgement.h) */
	bool troubled;                /* some question was not asked, or lost, for our own sake */
	bool suspected;               /* its domain's policy is to set it apart */
};

/* answer.code 0: accept. Clear the judgement in any case. ERR_MEMORY: a temporary failure. */
COHUE_MUST_USE enum err mx_judge(struct mx_connection *c, struct mx_judgement *ret,
				 struct mx_reply *ret_answer);
void mx_judgement_clear(struct mx_judgement *j);

/*
 * forward.c, from a task, once the message is on disk for its recipients: copies for those of them who have their mail sent on.
 * whole: as it was stored, our trace first, Return-Path on top. Not of what is set apart or unwanted.
 */
void mx_forward(struct mx_connection *c, const struct mx_judgement *j, struct bytes whole, uint64_t received,
		delivery_chunk_fn send);

#endif
