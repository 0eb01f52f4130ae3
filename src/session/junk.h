/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_JUNK_H
#define COHUE_SESSION_JUNK_H

#include "base/bytes.h"

/*
 * What a member has taught her mailbox of what she does not want: how often each trait (mail/traits.h) stood in mail that she moved to
 * Junk, and in mail that she moved out of it or kept elsewhere. A naive Bayes classifier over it (Robinson's smoothing, the most telling traits
 * alone). Pure; it is kept sealed in her log.
 */

enum {
	JUNK_TRAITS_MAX = 4096, /* remembered */
	JUNK_TELLING = 30,      /* of a message's traits, those that say most */
	JUNK_LESSONS_MIN = 10,  /* of each kind, before it judges */
	JUNK_COUNT_MAX = 60000, /* then all counts are halved */
	JUNK_ENCODED_MAX = 5 + 8 * JUNK_TRAITS_MAX,
};

struct junk_trait {
	uint32_t hash;
	uint16_t unwanted;
	uint16_t wanted;
};
struct junk_words {
	uint16_t unwanted; /* messages learnt */
	uint16_t wanted;
	size_t count;
	struct junk_trait traits[JUNK_TRAITS_MAX + 1]; /* by hash */
};

/* An empty text gives empty words. ERR_FORMAT. */
COHUE_MUST_USE enum err junk_decode(struct bytes encoded, struct junk_words *ret);
COHUE_MUST_USE enum err junk_encode(const struct junk_words *w, struct buf *out);
/* One message more. Where there is no room, what was seen least is forgotten. */
void junk_learn(struct junk_words *w, const uint32_t *traits, size_t count, bool unwanted);
/* 0 to 1000: how surely it is unwanted; 500 while too little was learnt. */
unsigned junk_judge(const struct junk_words *w, const uint32_t *traits, size_t count);

/*
 * A list of addresses and domains, separated by blanks, commas or line ends: "bob@example.org", "example.org", "@example.org" (both: and
 * what is below it), without case. True where the address is on it.
 */
bool junk_is_listed(struct bytes list, struct bytes local, struct bytes domain);

/* All that is known of an arrival. */
struct junk_case {
	bool set_apart;  /* by its author's own policy (DMARC) */
	bool genuine;    /* From is who it says */
	bool ours;       /* from a member, or made by this house */
	bool allowed;    /* From is on her list of those she wants */
	bool blocked;    /* ... of those she does not */
	unsigned score;  /* of the gate, tenths */
	unsigned learnt; /* junk_judge */
};
/* True: into Junk. */
bool junk_decide(const struct junk_case *c);

#endif
