/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORE_STORE_INTERNAL_H
#define COHUE_STORE_STORE_INTERNAL_H

#include "process/role.h"
#include "storage/storage.h"
#include "store/pending.h"

struct answer;

struct change {
	uint8_t account[ACCOUNT_ID_LEN];
	uint64_t n;
};

struct store {
	struct role_host *host;
	struct storage *storage;
	const struct storage_driver *driver;
	const char *folder;
	uint32_t epoch; /* of the last `cohue restored` */
	bool open;      /* a transaction is */
	bool must_commit;
	bool released;       /* the open transaction holds a release, answered at its commit */
	bool begun_release;  /* in this turn */
	bool must_roll_back; /* a request failed behind its first write */
	struct defer turn_end;
	struct timer lazy;
	struct timer upkeep;
	struct answer *answers;
	struct answer **answers_end;
	struct pending_blobs pending;
	struct change *changed;
	size_t changed_count;
	size_t changed_cap;
	enum err last_failure;
	uint64_t requests;
	uint64_t commits;
	uint64_t failures;
	uint64_t left_out;    /* releases into logs that are damaged */
	uint64_t told_mended; /* heads */
	bool told_left;
	uint64_t upkeep_at;
};

struct request {
	struct channel *ch;
	enum msg_type type;
	uint32_t id;
	struct bytes payload;
	bool held;
};

/* One request: appends the reply's payload. ERR_FORMAT ends the peer; ERR_IO, ERR_FULL, ERR_MEMORY roll back. */
typedef enum err store_handler_fn(struct store *s, const struct request *q, struct buf *ret_reply);

struct store_handler {
	store_handler_fn *fn;
	bool writes;
	bool reads_log;
};

/* NULL for what the store does not serve. */
const struct store_handler *store_handler(enum msg_type type);

/* Opens the turn's transaction if there is none. */
COHUE_MUST_USE enum err store_begin(struct store *s);
/* A log grew by an arrival: workers are told after the commit. */
COHUE_MUST_USE enum err store_note_change(struct store *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n);
void store_answer(struct store *s, const struct request *q, enum err status, struct buf *payload);

/* handlers_log.c, handlers_spool.c, handlers_directory.c */
store_handler_fn store_directory_get, store_directory_write, store_directory_walk, store_account_delete,
    store_meta_get, store_meta_put;
store_handler_fn store_log_head, store_log_read, store_log_read_many, store_log_append, store_log_delete,
    store_blob_names, store_blobs_delete, store_snapshot_put, store_snapshot_get, store_blob_put,
    store_blob_get, store_blob_get_many;
store_handler_fn store_spool_put, store_spool_batch, store_spool_part_get, store_spool_walk, store_spool_keys;

/* ERR_NOT_FOUND: nobody's: never made, or removed. What comes late for her must not bring back a log. */
COHUE_MUST_USE enum err store_check_account(const struct store *s, const uint8_t account[ACCOUNT_ID_LEN]);
/* A small named value, from META_PUT or within a batch. */
enum { META_NAME_MAX = 64 };
COHUE_MUST_USE enum err store_write_meta(struct store *s, struct bytes name, struct bytes value);

/* Claimed names of a list of `count * BLOB_NAME_LEN` bytes: ERR_CONFLICT unless all are complete and pending. */
COHUE_MUST_USE enum err store_check_claims(const struct store *s, struct bytes names);
void store_claimed(struct store *s, struct bytes names);

#endif
