/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOKUP_FORWARD_H
#define COHUE_LOOKUP_FORWARD_H

#include "lookup/lookup.h"
#include "sealed/spool.h"

/*
 * What comes to a member and is to be sent on: where to, as whom, and whether it may. Shared by gate-mx (mail from outside) and
 * session (mail of other members). From a task.
 */

/* The subaddress that forwarded copies are sent from: what comes back to it stays in her mailbox. */
#define FORWARD_WORD "forwarded"

enum {
	FORWARD_HOPS_MAX =
	    25 /* Received fields: more looks like a loop, which ends here before it is refused */
};

struct forward_plan {
	struct buf plain;
	struct buf text;
	struct buf list;                /* where to, as the keeper has signed it */
	struct directory_account entry; /* views into plain */
	struct bytes forwarder;         /* "alice@example.org" */
	struct bytes sender;            /* "alice+forwarded@example.org" */
};

/*
 * Where the account's mail goes. Clear the plan in any case. ERR_NOT_FOUND: nowhere (she does not forward, is suspended, or may not
 * send), or this message must not: it was sent on by her before (Delivered-To), or went over too many hosts. ERR_DAMAGED: that it goes
 * there is not signed by the keeper: she has not said it. Others: temporary.
 */
COHUE_MUST_USE enum err forward_plan_make(struct role_host *h, const struct purpose_keys *keys,
					  const uint8_t account[SEALED_ID_LEN], struct bytes message,
					  struct forward_plan *ret);
void forward_plan_clear(struct forward_plan *p);
/*
 * The courier's part for her i-th address, and its one recipient; all else of *part is the caller's. Views borrow from the plan.
 * With a null sender nobody is told of a failure, as nobody may be (RFC 5321 section 4.5.5).
 */
void forward_plan_part(const struct forward_plan *p, size_t i, bool null_sender, struct courier_part *part,
		       struct courier_recipient *recipient);

/* The spool's present public key, the same for all of a process; asked for anew every few minutes. Not a secret. */
struct spool_key {
	uint32_t epoch;
	uint8_t public_key[BOX_PUBLIC_LEN];
	msec until;
};
/* known: the caller's memory, all zero at first. ERR_TIMEOUT, ERR_CLOSED, ERR_AGAIN. */
COHUE_MUST_USE enum err spool_key_fetch(struct role_host *h, struct spool_key *known);

#endif
