/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_WORKER_H
#define COHUE_SESSION_WORKER_H

#include "lookup/lookup.h"
#include "process/role.h"
#include "sealed/blob.h"

/* The worker: this process's state, its table of connections and of members. */

struct conn;
struct member;
struct sending_account;
struct sending_kept;

enum {
	WORKER_BUCKETS = 1024,
	WORKER_TOKENS_MAX = 4096,
	WORKER_TOKEN_MS = 30 * 1000,
	WORKER_CONNECTIONS_PER_MEMBER = 50,
	WORKER_DOUBT_MS = 10 * 1000, /* as MEMBER_RETRY_MS */
	WORKER_DOUBT_KEPT_MS = 60 * 60 * 1000,
	WORKER_MESSAGES_BYTES_MAX = 512 << 20, /* messages being taken in, all connections together */
	WORKER_MEMBER_BYTES = WORKER_MESSAGES_BYTES_MAX / 4, /* ... of one member */
};

struct token {
	struct token *next;
	uint8_t token[IPC_TOKEN];
	msec until;
	struct member *member; /* holds one reference */
};

/* The highest head seen of an account while this worker lives: a rollback is found out. */
struct known_head {
	struct known_head *next;
	uint8_t account[SEALED_ID_LEN];
	uint64_t n;
	uint8_t head[SEALED_HASH_LEN];
	bool doubted; /* something of the log cannot be read, and nothing says what it did */
	msec doubted_at;
	uint32_t revision; /* of the newest slot list that her log is known to have named */
};

struct worker {
	struct role_host *host;
	struct purpose_keys keys;
	struct blob_codec *codec; /* for what is done without suspending in between */
	struct conn *conns[WORKER_BUCKETS];
	struct member *members[WORKER_BUCKETS];
	struct known_head *known[WORKER_BUCKETS];
	struct sending_account *sending[WORKER_BUCKETS]; /* sending.c */
	msec sending_swept;
	struct sending_kept
	    *sending_kept; /* of accounts that have not been met since the start; NULL: not loaded yet */
	msec sending_saved;
	bool sending_saving;
	bool sending_is_kept; /* something stands in the store */
	struct token *tokens;
	size_t token_count;
	size_t conn_count;
	size_t member_count;
	size_t message_bytes; /* taken in at this moment, see WORKER_MESSAGES_BYTES_MAX */
	struct timer upkeep;
	struct timer beat;
	msec progress_ms;     /* a command that runs so long tells how far it is, and again after as long */
	msec stream_ms;       /* a search that runs so long tells what it has found so far */
	msec beat_last;       /* the tick of the arrivals' clock that struck last */
	bool beating;         /* a task is at it */
	unsigned opener_life; /* counts its channels: an answer never reaches its successor */
	uint64_t seen_connections;
	uint64_t seen_commands;
	uint64_t seen_beats; /* records */
	uint64_t seen_filed;
	uint64_t seen_damaged;
	uint64_t seen_put_off;
	uint64_t seen_held;
};

/* The store's channel, NULL while it is away: fetch it anew after each suspension. */
struct channel *worker_store(const struct worker *w);
/* The same, waiting some time for it. From a task. ERR_TIMEOUT. */
COHUE_MUST_USE enum err worker_wait_store(const struct worker *w);
/* A deadline for one call of the store. */
msec worker_deadline(const struct worker *w);
enum { WORKER_CALL_MS = 30 * 1000 };

/* The longest message that members may hand in, in bytes. */
uint64_t worker_message_max(const struct worker *w);

/*
 * Takes or gives back room for messages in memory, for octets that are there: not for what a client has only announced. ERR_AGAIN: too
 * many at once, of all members or of this one, who has WORKER_MEMBER_BYTES, or a message of the largest size if that is more.
 */
COHUE_MUST_USE enum err worker_take_bytes(struct worker *w, struct member *m, size_t n);
void worker_give_bytes(struct worker *w, struct member *m, size_t n);
/* The same for the work on a message that has come whole. However large it is, a member who has none under way may have one. */
COHUE_MUST_USE enum err worker_take_work(struct worker *w, struct member *m, size_t n);
void worker_give_work(struct worker *w, struct member *m, size_t n);
/* Whether worker_take_bytes would give so many at this moment. */
bool worker_has_bytes(const struct worker *w, const struct member *m, size_t n);

/*
 * Remembers the head of an account. ERR_DAMAGED: it is older than one seen before, or another one at the
 * same place. ERR_MEMORY.
 */
COHUE_MUST_USE enum err worker_know_head(struct worker *w, const uint8_t account[SEALED_ID_LEN], uint64_t n,
					 const uint8_t head[SEALED_HASH_LEN]);
/* What is remembered; NULL for nothing. */
/*
 * True where something of this account's log was said to be lost some while ago already (WORKER_DOUBT_MS), so that it is not the disk that
 * read wrongly once. Remembers it. False, too, without memory.
 */
bool worker_doubted(struct worker *w, const uint8_t account[SEALED_ID_LEN]);
/* Her log was loaded: nothing is in doubt any more, and so far her slot lists have come. */
void worker_is_sound(struct worker *w, const uint8_t account[SEALED_ID_LEN], uint32_t revision);
const struct known_head *worker_known_head(const struct worker *w, const uint8_t account[SEALED_ID_LEN]);

#endif
