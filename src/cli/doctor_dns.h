/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_DOCTOR_DNS_H
#define COHUE_CLI_DOCTOR_DNS_H

#include <unbound.h>

#include "authentication/client.h"
#include "authentication/text.h"
#include "cli/dns.h"
#include "cli/doctor.h"

/* What the doctor's files about the DNS share. */

enum { TYPE_CNAME = 5, TYPE_SRV = 33, TYPE_TLSA = 52, DOCTOR_RDATA_MAX = 64 * 1024 };

struct doctor_asker {
	struct ub_ctx *ctx;
	struct buf rdata;  /* of the last answer, as authentication_answer lends it */
	unsigned timeouts; /* of questions */
	unsigned questions;
	unsigned unanswered;
	struct ub_result *result;
	bool answered;
};

/* doctor_ask.c: as cohue.conf says, for the doctor's own questions; NULL: no memory. */
struct ub_ctx *doctor_context(const struct config *c);
/* authentication_dns's question; arg: a doctor_asker. */
COHUE_MUST_USE enum err doctor_ask(void *arg, struct bytes name, enum authentication_rr type,
				   struct authentication_answer *ret);

/* doctor_records.c: one record as `cohue dns` would print its value; TXT: its strings, joined. ERR_FORMAT, ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err doctor_show(unsigned type, struct bytes rdata, struct buf *out);
/* All that is published at the names of `cohue dns`, against what it prints. */
void doctor_records(struct doctor *d, struct doctor_asker *a);

#endif
