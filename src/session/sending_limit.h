/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SENDING_LIMIT_H
#define COHUE_SESSION_SENDING_LIMIT_H

#include "base/bytes.h"
#include "base/clock.h"

/*
 * How much one account sends, so that a stolen one is stopped early. Pure. Numbers alone are kept: whom she writes to stands
 * in it as bits of a set of keyed hashes, under a random key that is thrown away with the set after an hour.
 */

enum {
	SENDING_DOMAIN_BITS = 1 << 13,
	SENDING_DOMAIN_KEY = 32,
	SENDING_DOMAINS_MOST = 1000, /* more than this the set does not tell apart well */
	SENDING_REPORTED_MIN = 20,   /* verdicts of others before their share says something */
	SENDING_PATIENCE = 20,       /* transactions refused within an hour: it is no person who insists */
	SENDING_TIMES_MAX = 1000,    /* of a member's own limits */
	SENDING_TIMES_NONE = 65535,
};

/* 0: no such limit. */
struct sending_limits {
	uint32_t messages; /* an hour */
	uint32_t recipients;
	uint32_t recipients_day;
	uint32_t domains;  /* others' domains, an hour */
	uint32_t failures; /* percent of what others said for good */
	uint32_t times; /* the member's own multiple of the first four; 0: 1; SENDING_TIMES_NONE: no limit */
};

/* A sliding window, estimated from two fixed ones: what the older one had counts by the part of it that is still inside. */
struct sending_window {
	msec begin;
	uint32_t now;
	uint32_t before;
};

struct sending {
	struct sending_window messages;
	struct sending_window recipients;
	struct sending_window recipients_day;
	struct sending_window refused;
	struct sending_window reported; /* verdicts of others' servers, a day */
	struct sending_window failed;   /* of these, refused for good */
	msec domains_until;
	uint32_t domain_count;
	uint8_t key[SENDING_DOMAIN_KEY];
	uint8_t domains[SENDING_DOMAIN_BITS / 8];
};

enum sending_verdict {
	SENDING_FINE = 0,
	SENDING_LATER = 1, /* too much for now: passes by itself */
	SENDING_HOLD = 2,  /* too much to be hers: until somebody looks */
};

/* One more message begins, or one more recipient is named (domain empty: ours). What is refused does not count. now: monotonic. */
enum sending_verdict sending_message(struct sending *s, const struct sending_limits *l, msec now);
enum sending_verdict sending_recipient(struct sending *s, const struct sending_limits *l, struct bytes domain,
				       msec now);
/* A transaction was refused with SENDING_LATER: SENDING_HOLD once it is more than a person would try. */
enum sending_verdict sending_refused(struct sending *s, msec now);
/* Another server took a letter of hers, or refused it for good. */
enum sending_verdict sending_reported(struct sending *s, const struct sending_limits *l, bool failed,
				      msec now);
/* Of each window, as of now. */
struct sending_used {
	uint64_t messages;
	uint64_t recipients;
	uint64_t recipients_day;
	uint64_t refused;
	uint64_t reported;
	uint64_t failed;
};
struct sending_used sending_used(struct sending *s, msec now);
/* After a hold was lifted: counts from 0. */
void sending_reset(struct sending *s);

#endif
