/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_PROTECT_H
#define COHUE_COURIER_PROTECT_H

#include "courier/internal.h"
#include "courier/policy.h"

/* What protects a domain's mail, asked for now: its MTA-STS policy, and what the DNS says of a host's keys. In a work's task. */

enum { PROTECT_ASSOCIATIONS_MAX = 128 };

/* One question to the resolver, as RESOLVE says; what *ret lends lives in `reply` until the next one. */
COHUE_MUST_USE enum err protect_resolve(struct courier *c, const char *name, enum route_type type,
					struct buf *reply, struct route_answer *ret);

/* At the start: from now on policies that hold are asked for anew before they expire. */
COHUE_MUST_USE enum err protect_start(struct courier *c);

/* What the domain's policy says of each target, in their order. */
void protect_sts(struct work *w, const struct route *route, enum policy_sts ret[ROUTE_TARGETS_MAX]);

/* What was found of one host; holds what a wish borrows. */
struct protect_dane {
	enum policy_dane state;
	char base[ROUTE_NAME_MAX]; /* whose records they are */
	struct tls_association list[PROTECT_ASSOCIATIONS_MAX];
	size_t count;
	struct buf reply;
};
void protect_dane(struct work *w, const struct route_target *target, struct protect_dane *ret);
void protect_dane_clear(struct protect_dane *d);

#endif
