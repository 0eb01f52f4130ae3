/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_INTERNAL_H
#define COHUE_COURIER_INTERNAL_H

#include "base/arena.h"
#include "courier/mta_sts.h"
#include "courier/pool.h"
#include "courier/report.h"
#include "crypto/random.h"
#include "delivery/delivery.h"
#include "lookup/lookup.h"
#include "process/role.h"
#include "reports/tally.h"

/*
 * Inside the courier. One work is one part that the mixer handed over: one message to the recipients at one domain. Each work has a
 * task, which opens it (keys.c, work.c), finds the way (route.h), sends it to one host after the
 * other until each recipient is decided (deliver.c), and says what came of it (conclude.c).
 */

enum {
	COURIER_KEYS_MAX = 16,
	COURIER_KEY_MS = 15 * 60 * 1000, /* a spool secret is forgotten when it was not used for so long */
	COURIER_CALL_MS = 60 * 1000,
	COURIER_WORKS_MAX = 512,
	COURIER_MEMORY = 128 << 20, /* bytes of messages held at once, but for a single larger one */
	COURIER_CONNECT_MS = 30 * 1000,
	COURIER_TURN_MS = 10 * 60 * 1000, /* longest wait for a connection */
	COURIER_PARKED_MS = 30 * 60 * 1000,
	COURIER_GATHER_MS = 100, /* a batch is complete when nothing more of it came for so long */
	COURIER_GATHER_MOST_MS = 2000,
	COURIER_SIGNATURES_MAX = 24 * 1024, /* two fields, each naming all that it signs */
};

struct spool_secret {
	uint32_t epoch;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t *secret; /* in the pool; NULL: free place */
	msec used;
};

struct courier {
	struct role_host *host;
	struct connection_settings settings;
	struct pool *pool;
	struct blob_codec *codec;
	struct purpose_keys purpose; /* of them, what names the blobs of reports */
	struct crypto_random random;
	struct spool_secret keys[COURIER_KEYS_MAX];
	struct timer keys_timer;
	uint8_t *password; /* of the smarthost, in the pool */
	struct work *works;
	size_t work_count;
	size_t held; /* bytes */
	uint64_t mixer_generation;
	uint64_t seen_delivered; /* recipients */
	uint64_t seen_deferred;
	uint64_t seen_failed;
	uint64_t seen_reports;
	uint64_t seen_no_encryption;
	uint64_t seen_unpadded;    /* recipients whose copy's size showed: in clear, or under TLS 1.2 */
	uint64_t seen_clear;       /* of them, in clear */
	uint64_t seen_dane;        /* recipients whose server proved itself, by DANE */
	uint64_t seen_sts;         /* by an authority */
	uint64_t seen_unprotected; /* kept back since what the domain asks for was not met */
	uint64_t seen_policies;    /* asked for */
	uint64_t seen_policies_failed;
	uint64_t seen_signed;   /* messages: as often as octets differ */
	uint64_t seen_larger;   /* messages that did not go into the class that they waited in */
	uint64_t seen_reported; /* letters to others */
	uint64_t seen_unasked;  /* parts of gate-mx that no member has sent on: dropped */
	uint64_t sent_payload;  /* bytes of messages and their envelopes */
	uint64_t sent_padding;  /* bytes */
	struct sts_cache sts;
	bool sts_loaded, sts_loading, sts_changed, sts_saving;
	bool sts_stale; /* something that can wait is not saved */
	/* For reports to others. */
	struct tally tally;
	struct timer tally_timer;
	uint8_t tally_key[CRYPTO_KEY_LEN]; /* which bit is whose; never leaves this process */
	struct timer gather;
	msec gather_limit; /* the first of those that are gathered waits no longer */
};

struct work {
	struct courier *courier;
	struct work *next;
	uint8_t unit[IPC_UNIT];
	uint32_t part_number;
	uint32_t epoch;
	uint64_t age;
	uint64_t batch;
	uint64_t left;       /* first release of the message, ms since 1970; 0: unsaid */
	unsigned size_class; /* that it waited in */
	bool gathered;       /* its batch is not complete yet */
	bool warned;
	bool last;
	bool strange;      /* a forwarded copy of what came from outside: never signed as ours */
	bool unasked;      /* strange, and no member's wish: gone without a word */
	bool handed_again; /* the mixer restarted, and gave it once more */
	struct buf body;   /* as it came */
	/* Once opened. */
	struct buf plain;
	struct arena arena;
	struct courier_part part; /* views into plain */
	struct outcome *outcomes; /* one per recipient */
	uint8_t public_key[BOX_PUBLIC_LEN];
	/* Once fetched. */
	struct buf message;
	size_t charged;        /* of courier.held */
	int64_t released_at;   /* seconds since 1970: of this attempt, to all hosts; 0: not yet */
	struct buf signatures; /* DKIM, over the octets of this hash */
	uint8_t signed_hash[CRYPTO_HASH_LEN];
	char reference[16];
	/* Why no host took it, for those still open. */
	bool tried;
	bool final; /* each host tried refused for good */
	struct smtp_result failure;
	char failure_host[ROUTE_NAME_MAX];
};

/* keys.c, in a task: a copy of the secret; wipe it. ERR_NOT_FOUND: the keeper has it no more. */
COHUE_MUST_USE enum err courier_key(struct courier *c, uint32_t epoch, uint8_t ret_public[BOX_PUBLIC_LEN],
				    uint8_t ret_secret[BOX_SECRET_LEN]);
void courier_keys_start(struct courier *c);

/* work.c */
void work_gather_start(struct courier *c);
void work_take(struct courier *c, const struct msg_courier_work *m);
/* In its task: the message, once. ERR_DAMAGED: it does not verify. */
COHUE_MUST_USE enum err work_fetch(struct work *w);
void work_drop_message(struct work *w);

/*
 * sign.c, in its task: the DKIM-Signature fields for these octets (of a forwarded copy of a stranger's, the ARC set), made once for all who get the same; lent until the next
 * call. ERR_LIMIT: it has more fields than can be signed. All else: later.
 */
COHUE_MUST_USE enum err work_sign(struct work *w, struct bytes message, struct bytes *ret_fields);

/* deliver.c, in its task: decides outcomes. */
void work_deliver(struct work *w);

/* conclude.c: a chunk of a blob to the mixer; arg: the courier. As delivery_chunk_fn. */
COHUE_MUST_USE enum err courier_send_chunk(void *arg, const uint8_t blob[SEALED_ID_LEN], uint32_t chunk,
					   struct bytes data);

/* conclude.c, in its task: until the mixer has it on disk, or will hand it over anew. */
void work_conclude(struct work *w);

#endif
