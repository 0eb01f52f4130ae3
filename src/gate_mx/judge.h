/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_JUDGE_H
#define COHUE_GATE_MX_JUDGE_H

#include "authentication/results.h"
#include "gate_mx/mx.h"

/* Is a message from whom it says? SPF, DKIM, ARC, DMARC, and what follows from them. From a task. */

struct mx_judgement {
	struct arena arena;
	struct authentication_results results;
	bool made;      /* the checks were made: the results are to be written */
	bool genuine;   /* DMARC passed: From is who it says */
	uint32_t score; /* how suspicious it is by rules for everybody (sealed/judgement.h) */
	bool suspected; /* its domain's policy is to set it apart */
};

/* answer.code 0: accept. Clear the judgement in any case. ERR_MEMORY: a temporary failure. */
COHUE_MUST_USE enum err mx_judge(struct mx_connection *c, struct mx_judgement *ret,
				 struct mx_reply *ret_answer);
void mx_judgement_clear(struct mx_judgement *j);

#endif
