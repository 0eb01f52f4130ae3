/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORAGE_STORAGE_H
#define COHUE_STORAGE_STORAGE_H

#include "base/bytes.h"

/*
 * The store's driver: one table of functions, so that SQLite (default), an in-memory
 * driver (tests) and later PostgreSQL serve alike. All values are ciphertext or random
 * names; a driver never holds a key. One writer, no threads.
 *
 * All writes happen between begin() and commit(). An operation that returns an error other
 * than ERR_IO, ERR_FULL, ERR_MEMORY, ERR_DAMAGED has changed nothing, and the transaction
 * goes on (each operation checks before its first write). After one of these four, also from
 * commit(), the caller must rollback(). commit() returns ERR_OK only when all of it is on disk.
 * After a commit() that failed, the transaction may yet be there after a power cut (the peer
 * was told a temporary failure and tries again).
 *
 * Deleting or changing what is not there gives ERR_NOT_FOUND (log_delete: not an error), a
 * value above its maximum ERR_LIMIT, a write outside of begin() and commit() ERR_STATE.
 * A callback must not call the driver.
 */

enum {
	ACCOUNT_ID_LEN = 16,
	UNIT_ID_LEN = 16,
	BLOB_NAME_LEN = 16,
	ADDRESS_KEY_LEN = 32,
	HEAD_LEN = 32,
	STORAGE_BLOB_CHUNK_MAX = 65536 + 64, /* bytes of one stored chunk */
	STORAGE_RECORD_MAX = 512 * 1024,     /* bytes of one log record's body */
	STORAGE_VALUE_MAX = 64 * 1024,       /* directory entries, spool states, keys */
	STORAGE_PARTS_MAX = 4096,            /* parts, and accounts, of one unit */
};

/* Kinds of log records, in clear beside each record (also in its associated data). */
enum record_kind {
	RECORD_ARRIVAL = 1, /* sealed box, placed at release */
	RECORD_SESSION = 2, /* operations sealed by a session */
};

/* Name of the meta value, u32, that is there, and grows, where an older copy of the store was put back (`cohue restored`). */
#define STORAGE_META_RESTORED "restored"

struct storage_head {
	uint64_t n; /* of the last record; 0: empty log, head all zero */
	uint8_t head[HEAD_LEN];
	uint64_t used; /* bytes of blobs and records counted against the quota */
	bool known;    /* there is an account of this id */
	bool
	    derived; /* its row was damaged or gone: this is what the log's rows say; the next append writes it */
};

struct storage_record {
	uint64_t n;
	uint8_t before[HEAD_LEN]; /* h(n-1) */
	uint8_t kind;
	struct bytes body; /* lent until the callback returns */
};

/* Called per row; anything but ERR_OK stops the walk and is returned from it. */
typedef enum err (*storage_record_fn)(void *arg, const struct storage_record *record);
typedef enum err (*storage_row_fn)(void *arg, struct bytes key, uint32_t part, struct bytes value);

struct storage; /* a driver's state; each driver embeds what it needs */

struct storage_driver {
	const char *name;

	enum err (*begin)(struct storage *s);
	enum err (*commit)(struct storage *s);
	void (*rollback)(struct storage *s);

	/* Directory. put replaces; get appends to ret_value; ERR_NOT_FOUND. create: ERR_EXISTS. */
	enum err (*directory_get)(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN],
				  struct buf *ret_value);
	enum err (*directory_put)(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN], struct bytes value);
	enum err (*directory_create)(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN],
				     struct bytes value);
	enum err (*directory_delete)(struct storage *s, const uint8_t key[ADDRESS_KEY_LEN]);
	/* Walks go by key; `after` (empty: from the first) is the last key seen, so that pages cost no more than one walk. */
	enum err (*directory_walk)(struct storage *s, struct bytes after, storage_row_fn fn, void *arg);

	/* Logs. head: ERR_OK with n = 0, and not known, for an unknown account. A head is derived from its log (but for
	 * `used`): where its row does not hold its sum, or is behind the log, or is gone, the log says it. */
	enum err (*log_head)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN],
			     struct storage_head *ret);
	/*
	 * Appends `count` session records after the head `expected` (ERR_CONFLICT if it is another), adds
	 * `used_delta` to the bytes in use (clipped at 0), claims the named pending blobs (ERR_NOT_FOUND if one is neither
	 * pending nor there). Gives the new head.
	 */
	enum err (*log_append)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN],
			       const uint8_t expected[HEAD_LEN], const struct bytes *bodies, size_t count,
			       int64_t used_delta, const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count,
			       struct storage_head *ret);
	/* Records from n on, ascending. What a damaged one cannot be (a value before it of another length, a body above
	 * the maximum, a kind above 255) is given as zero, or empty. */
	enum err (*log_read)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t from,
			     storage_record_fn fn, void *arg);
	/* One record; ERR_NOT_FOUND. */
	enum err (*log_read_one)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n,
				 storage_record_fn fn, void *arg);
	/* Deletes single records (superseded ones, after a snapshot); the head stays. */
	enum err (*log_delete)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], const uint64_t *ns,
			       size_t count);
	/* From then on the account is known, with an empty log; nothing where it is already. */
	enum err (*account_create)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN]);
	/* Everything of a removed account, its snapshots' blobs included, but its other blobs (who can tell whose they
	 * are deletes them by name). It is not known afterwards. */
	enum err (*account_delete)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN]);
	/* account ids as keys, part = 0, value = head (32) */
	enum err (*account_walk)(struct storage *s, storage_row_fn fn, void *arg);

	/*
	 * Snapshots. put: claims the blob, and replaces the older ones (whose blobs are deleted) but the one of
	 * record `keep` (0: none), on which falls back who cannot read the new one. ERR_CONFLICT where one has a
	 * higher n, ERR_NOT_FOUND without the blob. get: the newest of a record below `below` (0: of all);
	 * ERR_NOT_FOUND.
	 */
	enum err (*snapshot_put)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n,
				 const uint8_t blob[BLOB_NAME_LEN], uint64_t keep);
	enum err (*snapshot_get)(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t below,
				 uint64_t *ret_n, uint8_t ret_blob[BLOB_NAME_LEN]);

	/*
	 * Blobs. A new blob is pending until claimed; pending ones are deleted by open(). Chunks come in
	 * order from 0: ERR_STATE where the one before is missing (the store was restarted in between:
	 * begin anew under a new name), ERR_EXISTS for a chunk, or a claimed blob, that is there.
	 */
	enum err (*blob_put)(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk,
			     struct bytes data);
	enum err (*blob_get)(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk,
			     struct buf *ret_data);
	enum err (*blob_delete)(struct storage *s, const uint8_t name[BLOB_NAME_LEN]);
	/* Each chunk's row, without its data; from the first blob behind the one named `after` on. */
	enum err (*blob_walk)(struct storage *s, struct bytes after, storage_row_fn fn, void *arg);

	/*
	 * Spool. put: a new unit with its parts, claims its blobs; `accounts`/`sizes`/`quotas`, count entries: for each account the
	 * bytes that this unit adds; ERR_QUOTA (nothing written) where used + size > quota (quota 0: none).
	 * The bytes count as used from then on.
	 */
	enum err (*spool_put)(struct storage *s, const uint8_t unit[UNIT_ID_LEN], struct bytes state,
			      const struct bytes *parts, size_t part_count,
			      const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count,
			      const uint8_t (*accounts)[ACCOUNT_ID_LEN], const uint64_t *sizes,
			      const uint64_t *quotas, size_t account_count);
	enum err (*spool_state)(struct storage *s, const uint8_t unit[UNIT_ID_LEN], struct bytes state);
	enum err (*spool_part_get)(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
				   struct buf *ret_body);
	/* Replaces the body of a part (a retry with fewer recipients). */
	enum err (*spool_part_put)(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
				   struct bytes body);
	/* Moves a part to the account's log as RECORD_ARRIVAL and deletes it from the spool; gives the new head.
	 * ERR_NOT_FOUND if the part is gone already (a repeated release changes nothing). ERR_DAMAGED, of it alone,
	 * has changed nothing, and the transaction goes on: others wait in it. */
	enum err (*spool_release)(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
				  const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret);
	/* Moves a part, under its number, to another (perhaps new) unit, whose state is given: a local part
	 * that begins its arrivals' wait. ERR_EXISTS where that unit has a part of this number. */
	enum err (*spool_move)(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part,
			       const uint8_t to_unit[UNIT_ID_LEN], struct bytes to_state);
	enum err (*spool_part_delete)(struct storage *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part);
	/* Deletes the unit and what parts it still has (not their blobs). */
	enum err (*spool_delete)(struct storage *s, const uint8_t unit[UNIT_ID_LEN]);
	/* units: value = state */
	enum err (*spool_walk)(struct storage *s, struct bytes after, storage_row_fn fn, void *arg);
	enum err (*spool_part_walk)(struct storage *s, storage_row_fn fn, void *arg); /* value = body */

	enum err (*spool_key_put)(struct storage *s, uint32_t epoch, struct bytes value);
	enum err (*spool_key_delete)(struct storage *s, uint32_t epoch);
	enum err (*spool_key_walk)(struct storage *s, storage_row_fn fn, void *arg); /* part = epoch */

	/* Small named values (format version, the mixer's durable counters, sealed by their owners). */
	enum err (*meta_get)(struct storage *s, const char *name, struct buf *ret_value);
	enum err (*meta_put)(struct storage *s, const char *name, struct bytes value);
	enum err (*meta_walk)(struct storage *s, storage_row_fn fn, void *arg);

	/* Cheap upkeep when idle: WAL checkpoint with truncation, so that deleted pages are gone. */
	enum err (*upkeep)(struct storage *s);
	/*
	 * What can be verified without keys: the database's own integrity, each row's sum, chains, records that are not there
	 * although no snapshot stands for them, orphans. Reports counts
	 * ("accounts", "records", …; what begins with "damaged" is reported only when not 0). ERR_DAMAGED.
	 */
	enum err (*check)(struct storage *s, void (*report)(void *arg, const char *what, uint64_t count),
			  void *arg);
	void (*destroy)(struct storage **s);
};

struct storage {
	const struct storage_driver *driver;
	uint64_t heads_mended; /* written anew from what their logs say, since it was opened */
};

/*
 * Opens (and creates, where `create`) the database in `folder`. Holds an exclusive lock: ERR_EXISTS where
 * another process has it. ERR_UNSUPPORTED: made by a newer program. ERR_STATE: of an older form, which
 * only opening it to write takes over. ERR_DAMAGED: not a database.
 * ERR_NOT_FOUND: nothing there yet (and not `create`).
 * `read_only` for `cohue check` while the service is stopped: it takes the same lock and changes no file
 * but the lock's. Beside a running service, the store's process itself runs check().
 */
COHUE_MUST_USE enum err storage_sqlite_open(const char *folder, bool create, bool read_only,
					    struct storage **ret);
COHUE_MUST_USE enum err storage_memory_create(struct storage **ret);

/* h(n) = BLAKE2b-256(h(n-1) || kind || body), n counted by the caller. */
void storage_chain(const uint8_t before[HEAD_LEN], uint8_t kind, struct bytes body, uint8_t ret[HEAD_LEN]);

#endif
