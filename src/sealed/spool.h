/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SEALED_SPOOL_H
#define COHUE_SEALED_SPOOL_H

#include "base/arena.h"
#include "base/clock.h"
#include "sealed/blob.h"
#include "sealed/forward_list.h"

/*
 * What waits. A unit is one message with all its recipients: its state is sealed by the mixer under `spool-state`, bound to
 * the unit id. Its parts are boxes that the mixer cannot open: sealed arrivals (sealed/arrival.h), or courier parts, sealed to
 * the spool's public key of an epoch.
 */

enum {
	SPOOL_PARTS_MAX = 512,
	SPOOL_RECIPIENTS_MAX = 512,
	SPOOL_TEXT_MAX = 1000, /* bytes of an address, orcpt, envid, diagnostic */
	SPOOL_RESULTS_MAX = 4096,
	SPOOL_STATE_MAX = 64 * 1024,
	SPOOL_PART_MAX = 512 * 1024,
};

enum spool_stage {
	SPOOL_LEAVING = 1,
	SPOOL_ARRIVING = 2,
};

enum spool_part_kind {
	SPOOL_PART_COURIER = 1,
	SPOOL_PART_LOCAL = 2,
};

enum spool_sender_kind {
	SPOOL_SENDER_NONE = 0,    /* made by the house: bounces, warnings */
	SPOOL_SENDER_ACCOUNT = 1, /* sender: account id */
	SPOOL_SENDER_HOST = 2,    /* sender: the first 16 bytes of a keyed hash of the host's address */
};

struct spool_part {
	uint32_t number;
	enum spool_part_kind kind;
	uint8_t account[SEALED_ID_LEN]; /* local parts; zero otherwise */
	uint8_t blob[SEALED_ID_LEN];    /* name; deleted with the part where it belongs to a courier part */
	uint64_t bytes;                 /* what the quota of the account was charged */
	uint32_t destinations;          /* deliveries that an observer will see; 0 for local parts */
	uint32_t attempts;
	msec due;       /* age clock: not before; 0: with its unit */
	uint32_t epoch; /* of the spool key it is sealed to; 0 for local parts */
	uint32_t flags; /* the mixer's own */
};

struct spool_state {
	enum spool_stage stage;
	enum spool_sender_kind sender_kind;
	uint8_t sender[SEALED_ID_LEN];
	msec entered;      /* age clock */
	msec wall_entered; /* since 1970 */
	msec due;          /* age clock; 0 or -1: by the gate; once released: when it was */
	uint8_t size_class;
	uint8_t lane;
	uint32_t weight;
	uint32_t attempts;
	uint32_t flags; /* the mixer's own: capped, automatic, retry, … */
	uint32_t epoch; /* the newest spool key in use by a part; 0: none */
	/* Of a leaving unit: who wrote it, for the gate and for her journal. */
	uint32_t since_day;  /* the author's account was made, days since 1970 */
	uint32_t generation; /* of public_key; 0: nobody to tell */
	uint8_t public_key[BOX_PUBLIC_LEN];
	/* Since its release; the same for all its recipients and attempts. */
	msec left;      /* wall clock, 0: waits still */
	bool is_void;   /* the law's promise did not hold */
	uint32_t crowd; /* members with something in its class's batch */
	uint32_t batch; /* deliveries of its class's batch */
	size_t part_count;
	struct spool_part *parts; /* part_count of them, ascending by number */
};

/* Appends the sealed state, in 512-byte steps. ERR_LIMIT, ERR_FORMAT, ERR_MEMORY. */
COHUE_MUST_USE enum err spool_state_seal(const struct spool_state *state,
					 const uint8_t spool_state_key[SEALED_KEY_LEN],
					 const uint8_t unit[SEALED_ID_LEN], struct buf *ret);
/* parts are allocated from the arena. ERR_AUTH, ERR_FORMAT, ERR_UNSUPPORTED, ERR_MEMORY. */
COHUE_MUST_USE enum err spool_state_open(const uint8_t spool_state_key[SEALED_KEY_LEN],
					 const uint8_t unit[SEALED_ID_LEN], struct bytes value,
					 struct arena *arena, struct spool_state *ret);
COHUE_MUST_USE enum err spool_state_decode(struct bytes plain, struct arena *arena, struct spool_state *ret);

/*
 * What the mixer keeps besides units (the law's counters, a decision at hand, the house's numbers): sealed under `spool-state`,
 * bound to the name that it is kept by, in 512-byte steps. ERR_LIMIT, ERR_MEMORY; open: also ERR_AUTH, ERR_FORMAT,
 * ERR_UNSUPPORTED. Both append.
 */
enum { SPOOL_VALUE_MAX = 60 * 1024, SPOOL_NAME_MAX = 63 };
COHUE_MUST_USE enum err spool_value_seal(struct bytes plain, const uint8_t spool_state_key[SEALED_KEY_LEN],
					 const char *name, struct buf *ret);
COHUE_MUST_USE enum err spool_value_open(const uint8_t spool_state_key[SEALED_KEY_LEN], const char *name,
					 struct bytes value, struct buf *ret_plain);

/* RFC 3461 NOTIFY. */
enum spool_notify {
	SPOOL_NOTIFY_DEFAULT = 0,
	SPOOL_NOTIFY_NEVER = 1 << 0,
	SPOOL_NOTIFY_SUCCESS = 1 << 1,
	SPOOL_NOTIFY_FAILURE = 1 << 2,
	SPOOL_NOTIFY_DELAY = 1 << 3,
	SPOOL_NOTIFY_ALL = (1 << 4) - 1,
};

enum spool_ret {
	SPOOL_RET_DEFAULT = 0,
	SPOOL_RET_FULL = 1,
	SPOOL_RET_HEADERS = 2,
};

enum spool_recipient_status {
	SPOOL_RECIPIENT_OPEN = 0,
	SPOOL_RECIPIENT_DELAYED = 1, /* tried; a warning is due or given (see warned) */
	SPOOL_RECIPIENT_DONE = 2,
	SPOOL_RECIPIENT_FAILED = 3,
};

enum courier_flags {
	COURIER_8BIT = 1 << 0,     /* the message has 8-bit octets */
	COURIER_SMTPUTF8 = 1 << 1, /* addresses or headers need RFC 6531 */
	COURIER_NULL_SENDER = 1 << 2,
	COURIER_REQUIRETLS = 1 << 3,
	COURIER_WARNED = 1 << 4, /* the warning after a day has gone out */
	COURIER_AUTOMATIC = 1 << 5,
	COURIER_TLS_OPTIONAL = 1 << 6, /* the author says that it may go in clear (RFC 8689 section 5) */
	COURIER_FORWARDED = 1 << 7,    /* a copy that a member has sent on: of version 2 */
	COURIER_FLAGS_ALL = (1 << 8) - 1,
};

struct courier_recipient {
	struct bytes address;
	uint8_t notify; /* enum spool_notify */
	enum spool_recipient_status status;
	struct bytes orcpt;      /* "rfc822;…" as given, or empty */
	struct bytes diagnostic; /* the last reply, for a bounce; or empty */
};

/* What the courier needs to deliver one part: one message to the recipients at one domain. */
struct courier_part {
	struct bytes domain; /* A-labels */
	struct bytes sender; /* envelope; empty with COURIER_NULL_SENDER */
	/* Where a bounce goes: the sender's account and key (generation 0: nobody, the house's own mail). */
	uint8_t account[SEALED_ID_LEN];
	uint32_t generation;
	uint8_t public_key[BOX_PUBLIC_LEN];
	uint8_t ret; /* enum spool_ret */
	struct bytes envid;
	struct blob_ref blob;
	uint32_t flags;
	struct bytes message_id; /* that leaves, or empty */
	uint64_t first_release;  /* seconds since 1970, 0: never yet; the Date of all retries */
	uint64_t entered;        /* seconds since 1970 */
	size_t recipient_count;
	struct courier_recipient *recipients;
	/* With COURIER_FORWARDED: who sends it on, and what was found when it came, for the ARC set that it leaves with. */
	struct bytes forwarder; /* her address */
	struct bytes results;   /* payload of our Authentication-Results; empty: nothing is sealed */
	uint8_t arc_result;     /* enum authentication_result, of the chain that it came with */
	uint8_t arc_sets;
	struct bytes forwards; /* her wish, as the keeper signed it for this account: sealed/forward_list.h */
	uint8_t forwards_signature[SIGN_LEN];
};

/* Appends the part sealed to the spool key of an epoch, bound to unit and number; 512-byte steps. */
COHUE_MUST_USE enum err courier_part_seal(const struct courier_part *part, uint32_t epoch,
					  const uint8_t public_key[BOX_PUBLIC_LEN],
					  const uint8_t unit[SEALED_ID_LEN], uint32_t number,
					  struct buf *ret);
/* Which spool key opens it. ERR_FORMAT, ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err courier_part_epoch(struct bytes sealed, uint32_t *ret_epoch);
/* Plain bytes are appended to ret_plain (empty; wipe it afterwards), views borrow from it, recipients from the arena. */
COHUE_MUST_USE enum err courier_part_open(const uint8_t secret[BOX_SECRET_LEN],
					  const uint8_t public_key[BOX_PUBLIC_LEN],
					  const uint8_t unit[SEALED_ID_LEN], uint32_t number,
					  struct bytes sealed, struct buf *ret_plain, struct arena *arena,
					  struct courier_part *ret);
COHUE_MUST_USE enum err courier_part_decode(struct bytes plain, struct arena *arena,
					    struct courier_part *ret);

#endif
