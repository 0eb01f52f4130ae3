/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_MTA_STS_H
#define COHUE_COURIER_MTA_STS_H

#include "base/bytes.h"

/* MTA-STS (RFC 8461): its record, its policy, and what is remembered of both. Pure. */

enum {
	STS_ID_MAX = 32,
	STS_DOMAIN_MAX = 253,
	STS_POLICY_MAX = 64 * 1024,      /* octets of a policy's text (section 3.3) */
	STS_AGE_MOST = 31557600,         /* seconds (section 3.2) */
	STS_ENTRIES_MAX = 1024,          /* domains remembered */
	STS_SAVED_MAX = 56 * 1024,       /* octets of what survives a restart */
	STS_REFETCH_SECONDS = 5 * 60,    /* after a failure, not before (section 3.3) */
	STS_LARGE = 4 * 1024,            /* octets of hosts from which on a policy is a large one */
	STS_LARGE_MAX = 2 << 20,         /* octets of hosts of all large ones together */
	STS_WEEK = 7 * 24 * 3600,        /* seconds; how exactly it is kept when a policy was last used */
	STS_UNUSED_WEEKS = 4,            /* after so many without a letter it is not asked for any more */
	STS_REFRESH_MOST = 2 * STS_WEEK, /* seconds; it is asked for after a quarter to a half of that */
	STS_REFRESH_LEAST = 3600,        /* what holds for less is asked for when there is a letter */
};

enum sts_mode { STS_NONE = 0, STS_TESTING = 1, STS_ENFORCE = 2 };

struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age; /* seconds */
	struct buf hosts; /* patterns, lower case, each with a NUL behind it */
};

void sts_policy_init(struct sts_policy *p);
void sts_policy_clear(struct sts_policy *p);
/*
 * The id of a TXT record's text ("v=STSv1; id=…", section 3.1), borrowed from it. ERR_NOT_FOUND: it is no STS record at all;
 * ERR_FORMAT: it is one, and wrong.
 */
COHUE_MUST_USE enum err sts_record_read(struct bytes text, struct bytes *ret_id);
/*
 * The same out of the TXT answer of _mta-sts.DOMAIN, a list of rdata; into `ret`, NUL-terminated. ERR_NOT_FOUND: no record, several
 * (which are as none), or a wrong one.
 */
COHUE_MUST_USE enum err sts_answer_read(struct bytes rdata, char ret[STS_ID_MAX + 1]);
/*
 * A policy's text (section 3.2); p was initialised. More is taken than the grammar has where else an enforced policy would protect nothing: a byte order
 * mark before it, and a dot behind a host. ERR_FORMAT, ERR_LIMIT, ERR_MEMORY: p is empty.
 */
COHUE_MUST_USE enum err sts_policy_read(struct bytes text, struct sts_policy *p);
/* Whether an answer's headers say text/plain (section 3.3). */
bool sts_content_type_fits(struct bytes headers);
/* Whether a host is one that the policy names (section 4.1): a wildcard stands for exactly one label. */
bool sts_policy_names(const struct sts_policy *p, const char *host);

/* ---- what is remembered ---- */

struct sts_entry {
	struct sts_entry *next;
	char domain[STS_DOMAIN_MAX + 1];
	char id[STS_ID_MAX + 1];
	int64_t expires;     /* seconds since 1970; 0: no policy is known */
	int64_t retry_after; /* seconds since 1970: it could not be had, and is not asked for before */
	int64_t refresh;     /* seconds since 1970: when it is asked for without a letter; 0: not decided */
	uint32_t used;       /* week since 1970 in which mail last went there */
	bool fetching;
	struct sts_policy policy;
};

struct sts_cache {
	struct sts_entry *entries; /* last used first */
	size_t count;
};

void sts_cache_init(struct sts_cache *c);
void sts_cache_clear(struct sts_cache *c);
/* The entry, made where there was none; NULL: out of memory. Valid until the next call. Domains are lower case. */
struct sts_entry *sts_cache_get(struct sts_cache *c, const char *domain);

/* The same without making one, and without that counting as use. */
struct sts_entry *sts_cache_find(const struct sts_cache *c, const char *domain);

enum sts_step {
	STS_USE,   /* what is known holds: the entry's policy, or none where expires is not after now */
	STS_FETCH, /* ask for the policy, then sts_took or sts_failed */
};
/*
 * Before each use: nothing stands further ahead than max_age, or the pause after a failure, from now. Else a clock that was ahead for a while
 * would keep a policy for years, or the question after one from being asked.
 */
void sts_settle(struct sts_entry *e, int64_t now);
/* id: what the DNS says now; NULL: nothing, or it could not be asked. */
enum sts_step sts_next(struct sts_entry *e, const char *id, int64_t now);
/* A policy came: it is taken over (p is empty afterwards). */
void sts_took(struct sts_entry *e, const char *id, struct sts_policy *p, int64_t now);
/* None could be had: what holds still, holds; else it is as if there were none. */
void sts_failed(struct sts_entry *e, int64_t now);
/* Mail goes there. True: it had not, this week. */
bool sts_used(struct sts_entry *e, int64_t now);
/*
 * Large policies of others that were used longest ago go, until all are within STS_LARGE_MAX; `keep` stays. Policies have no
 * limit but their size (section 3.2), and a thousand of the largest must not fill the memory.
 */
void sts_cache_trim(struct sts_cache *c, const struct sts_entry *keep);
/*
 * A policy that should be asked for before it expires (section 10.2), without a letter; NULL: none now. Enforced ones alone, of domains that
 * mail went to in the last weeks, each at a random time of its own. Whatever comes of asking, the next call decides anew.
 */
struct sts_entry *sts_refresh_next(struct sts_cache *c, int64_t now, uint64_t (*draw)(void *), void *ctx);

/* Plain form of what has not expired, those that hold longest first where not all go in. ERR_MEMORY. */
COHUE_MUST_USE enum err sts_cache_write(const struct sts_cache *c, int64_t now, struct buf *out);
/* Adds what has not expired to an empty cache. ERR_FORMAT, ERR_UNSUPPORTED, ERR_MEMORY. */
COHUE_MUST_USE enum err sts_cache_read(struct bytes plain, int64_t now, struct sts_cache *c);

#endif
