/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_CHECK_H
#define COHUE_CLI_CHECK_H

#include "cli/internal.h"
#include "sealed/blob.h"
#include "sealed/slots.h"
#include "storage/storage.h"

/* Inside `cohue check`: what has been looked at, and what was found. */

enum { CHECK_LINES_MAX = 4 * 1024 * 1024, CHECK_SHOWN_MAX = 100, CHECK_IDS_MAX = 64 * 1024 * 1024 };

struct check {
	const struct cli *cli;
	struct config config;
	struct storage *storage;
	uint8_t *keys[PURPOSE__COUNT]; /* in the pool */
	struct buf counts;             /* lines "what count" */
	struct buf damage;             /* lines */
	uint64_t damaged;
	/* What the directory says: ids of accounts, of slot lists, and those that addresses name. */
	struct buf accounts;
	struct buf slots;
	struct buf named;
	struct buf used_blobs; /* names that a waiting unit, or a snapshot's row, gives */
};

void check_count(struct check *k, const char *what, uint64_t n);
/* What is damaged, and where. */
void check_damage(struct check *k, const char *format, ...) COHUE_PRINTF(2, 3);

/* The first octets of a name, for people: 16 hexadecimal digits. */
void check_hex(struct bytes name, char ret[17]);

/* check_spool.c: what waits, with the house key: units, spool keys, and what is sealed to the courier, to the end of each message. */
COHUE_MUST_USE enum err check_spool(struct check *k);

/*
 * check_member.c. Reads a blob to its end; `first` is the number under which its chunk 0 is stored. ERR_NOT_FOUND, ERR_AUTH and the
 * like: it is damaged; ERR_MEMORY, ERR_IO; or what fn said.
 */
COHUE_MUST_USE enum err check_read_blob(const struct check *k, struct blob_codec *codec,
					const struct blob_ref *ref, uint32_t first, blob_chunk_fn fn,
					void *arg);
/* A blob_chunk_fn that wants nothing of them. */
enum err check_ignore_piece(void *arg, uint32_t index, struct bytes piece);
/* Lists of ids, SEALED_ID_LEN octets each; has: of a sorted one. */
void check_sort_ids(struct buf *ids);
bool check_has_id(const struct buf *ids, const uint8_t *id);

/* check_values.c: what stands in the store under names of the program's own, with the house key. */
COHUE_MUST_USE enum err check_values(struct check *k);

/* check_blobs.c: counts what belongs to nobody; after the directory and the waiting room were read. */
COHUE_MUST_USE enum err check_blobs(struct check *k);

/* check_member.c: a member's log, with her secret. ERR_NOT_FOUND, ERR_AUTH: said. */
COHUE_MUST_USE enum err check_member(struct check *k, const char *name, struct bytes secret);

#endif
