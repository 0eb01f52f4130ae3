/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_REPORTS_TALLY_H
#define COHUE_REPORTS_TALLY_H

#include "base/bytes.h"

/*
 * What this house will report to others, summed up by day in bounded memory: rows of the same day, domain and outcome are one. Pure.
 *
 * How many members a row is about is counted by a set of 64 bits: each member sets the one that a key of the house's gives her. Who
 * shares a bit is counted once, so it never says more members than there were, and nobody without the key can name one.
 */

enum {
	TALLY_DOMAIN_MAX = 253,
	TALLY_ROWS_MAX = 4096, /* what comes beyond is not reported */
	TALLY_COUNT_MAX = 1000000,
	/* A row is told from so many members and so many messages (or sessions) on. */
	TALLY_MEMBERS_LEAST = 5,
	TALLY_COUNT_LEAST = 16,
};

enum tally_kind { TALLY_DMARC = 1, TALLY_TLS = 2 };

/* Of TALLY_DMARC. */
enum tally_disposition { TALLY_DELIVERED = 0, TALLY_QUARANTINED = 1, TALLY_REJECTED = 2 };
enum {
	TALLY_DISPOSITION = 3,    /* mask */
	TALLY_DKIM = 1 << 2,      /* aligned, and passed */
	TALLY_SPF = 1 << 3,       /* the same */
	TALLY_VOUCHED = 1 << 4,   /* by a forwarder that we trust: the policy was not applied */
	TALLY_EXCEPTION = 1 << 5, /* it was not applied, or less of it, for a reason of the house's */
};

/* Of TALLY_TLS: a policy, and what came of a session under it (RFC 8460 section 4.3). */
enum tally_policy { TALLY_NO_POLICY = 0, TALLY_STS = 1, TALLY_DANE = 2, TALLY_POLICIES = 3 };
enum tally_session {
	TALLY_TLS_GOOD = 0,
	TALLY_TLS_NOT_OFFERED, /* starttls-not-supported */
	TALLY_TLS_FAILED,      /* validation-failure */
	TALLY_TLS_DNSSEC,      /* dnssec-invalid */
	TALLY_SESSIONS,
};
#define TALLY_TLS_OUTCOME(policy, session) ((uint8_t)((unsigned)(policy) << 4 | (unsigned)(session)))
enum tally_policy tally_policy_of(uint8_t outcome);
enum tally_session tally_session_of(uint8_t outcome);

struct tally_row {
	uint32_t day; /* number of the day, as the house counts them */
	uint8_t kind; /* enum tally_kind */
	uint8_t outcome;
	uint8_t net[16]; /* IPv6, or mapped IPv4: the network, rest 0; of TALLY_TLS all 0 */
	char domain[TALLY_DOMAIN_MAX + 1];
	uint64_t members; /* the set */
	uint32_t count;
};

struct tally {
	struct tally_row *rows;
	size_t count;
	size_t room;
};

/* Holds no memory yet. */
void tally_init(struct tally *t);
/* Wipes. */
void tally_clear(struct tally *t);
/* The network: /24, /48 (RFC 7489 asks for the address; that could be the one of a member's own machine). */
void tally_net(const uint8_t address[16], uint8_t ret[16]);
/*
 * Adds row->count to the row like it, or makes it. Beyond TALLY_ROWS_MAX, or without memory, nothing is counted. A row with a domain that is
 * none (lower case, A-labels) is not taken.
 */
void tally_add(struct tally *t, const struct tally_row *row);
/* Appends the rows of that day and before, as MSG_REPORT_ROWS has them, until there are no more or `most` octets; drops those. */
COHUE_MUST_USE enum err tally_take(struct tally *t, uint32_t day, size_t most, struct buf *ret);
/* Adds what tally_take wrote, of kind `kind`. ERR_FORMAT: nothing, or a part, was added. */
COHUE_MUST_USE enum err tally_read(struct tally *t, enum tally_kind kind, struct bytes rows);
/*
 * Moves the rows of that day to `ret` (an empty one), as far as they may be told, and drops them and all of days before: each row of
 * TALLY_DMARC stands for itself; those of TALLY_TLS of one domain stand together. What remains is in order of domains. Counts are as they were.
 */
void tally_close(struct tally *t, uint32_t day, struct tally *ret);

/* What is told of a number: the largest power of two that is not above it. */
uint64_t tally_coarse(uint64_t n);

#endif
