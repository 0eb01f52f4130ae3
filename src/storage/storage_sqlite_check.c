/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The SQLite driver: what can be verified without any key. */
#include <stdio.h>
#include <string.h>

#include "storage/storage_sqlite.h"

enum { BREAKS_TOLD_MAX = 20 };

struct tally {
	void (*report)(void *arg, const char *what, uint64_t count);
	void *arg;
	bool damaged;
};

static void
damage(struct tally *t, const char *what, uint64_t count)
{
	if (count > 0) {
		t->damaged = true;
		t->report(t->arg, what, count);
	}
}

/* Runs SQL of our own with one number as its answer. */
static enum err
count_rows(struct storage_sqlite *s, const char *sql, uint64_t *ret)
{
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
	if (rc == SQLITE_OK) {
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW) {
			*ret = sq_column_number(q, 0);
		}
	}
	(void)sqlite3_finalize(q);
	return rc == SQLITE_ROW ? ERR_OK : sq_error(s, rc);
}

static enum err
check_pages(struct storage_sqlite *s, struct tally *t)
{
	sqlite3_stmt *q = NULL;
	uint64_t bad = 0;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA integrity_check(1000)", -1, &q, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW && !bytes_is(sq_column(q, 0), "ok")) {
			bad++;
		}
	}
	(void)sqlite3_finalize(q);
	damage(t, "damaged database pages", bad);
	return sq_error(s, rc);
}

/* Where a chain breaks: record n says of the one before it what is not so (n above the last: the head says it). */
static void
tell_break(struct tally *t, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n, unsigned *told)
{
	char what[96];
	if ((*told)++ < BREAKS_TOLD_MAX) {
		(void)snprintf(what, sizeof(what),
			       "damaged record %llu of log %02x%02x%02x%02x, or what follows it",
			       (unsigned long long)n - 1, account[0], account[1], account[2], account[3]);
		t->damaged = true;
		t->report(t->arg, what, 1);
	}
}

/*
 * Every record's chain value must be the next one's `before`; where records between were deleted
 * after a snapshot, only what is adjacent can be seen. The last must give the head.
 */
static enum err
check_chains(struct storage_sqlite *s, struct tally *t)
{
	static const char sql[] = "SELECT l.account,l.n,l.before,l.kind,l.body,h.n,h.head FROM log l"
				  " LEFT JOIN heads h ON h.account=l.account ORDER BY l.account,l.n";
	sqlite3_stmt *q = NULL;
	uint8_t account[ACCOUNT_ID_LEN] = {0};
	uint8_t chain[HEAD_LEN] = {0};
	uint64_t last = 0;
	uint64_t records = 0;
	uint64_t broken = 0;
	uint64_t beyond = 0;
	unsigned told = 0;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(q);
		if (rc != SQLITE_ROW) {
			break;
		}
		struct bytes who = sq_column(q, 0);
		uint64_t n = sq_column_number(q, 1);
		uint8_t before[HEAD_LEN];
		records++;
		if (who.len != ACCOUNT_ID_LEN || sq_column_fixed(q, 2, before, HEAD_LEN) != ERR_OK ||
		    sq_column(q, 6).len != HEAD_LEN) {
			broken++;
			continue;
		}
		if (memcmp(account, who.ptr, ACCOUNT_ID_LEN) != 0) {
			memcpy(account, who.ptr, ACCOUNT_ID_LEN);
			memset(chain, 0, HEAD_LEN);
			last = 0;
		}
		if (n == last + 1 && memcmp(chain, before, HEAD_LEN) != 0) {
			broken++;
			tell_break(t, account, n, &told);
		}
		storage_chain(before, (uint8_t)sq_column_number(q, 3), sq_column(q, 4), chain);
		last = n;
		uint64_t head_n = sq_column_number(q, 5);
		beyond += n > head_n;
		if (n == head_n && memcmp(chain, sq_column(q, 6).ptr, HEAD_LEN) != 0) {
			broken++;
			tell_break(t, account, n + 1, &told);
		}
	}
	(void)sqlite3_finalize(q);
	t->report(t->arg, "records", records);
	damage(t, "damaged chains", broken);
	damage(t, "damaged logs: records beyond their head", beyond);
	return sq_error(s, rc);
}

enum err
sq_check(struct storage *base, void (*report)(void *arg, const char *what, uint64_t count), void *arg)
{
	static const struct {
		const char *what;
		const char *sql;
		bool is_damage;
	} counts[] = {
	    {"accounts", "SELECT count(*) FROM heads", false},
	    {"directory entries", "SELECT count(*) FROM directory", false},
	    {"blobs", "SELECT count(*) FROM blobs WHERE chunk=0", false},
	    {"blobs not yet claimed", "SELECT count(*) FROM blob_pending", false},
	    {"units waiting", "SELECT count(*) FROM spool_units", false},
	    {"parts waiting", "SELECT count(*) FROM spool_parts", false},
	    {"damaged spool: parts without their unit",
	     "SELECT count(*) FROM spool_parts WHERE unit NOT IN (SELECT unit FROM spool_units)", true},
	    {"damaged blobs: chunks missing",
	     "SELECT count(*) FROM blobs b WHERE b.chunk>0 AND NOT EXISTS"
	     " (SELECT 1 FROM blobs a WHERE a.id=b.id-1 AND a.name=b.name AND a.chunk=b.chunk-1)",
	     true},
	    {"damaged blobs: where they are not found",
	     "SELECT count(*) FROM blobs WHERE id IS NOT blob_row(name,chunk)", true},
	    {"damaged blobs: pending without content",
	     "SELECT count(*) FROM blob_pending p WHERE NOT EXISTS"
	     " (SELECT 1 FROM blobs b WHERE b.id=blob_row(p.name,0) AND b.name=p.name AND b.chunk=0)",
	     true},
	    {"damaged snapshots: blob missing",
	     "SELECT count(*) FROM snapshots p WHERE NOT EXISTS"
	     " (SELECT 1 FROM blobs b WHERE b.id=blob_row(p.blob,0) AND b.name=p.blob AND b.chunk=0)",
	     true},
	};
	struct storage_sqlite *s = sq_of(base);
	struct tally t = {.report = report, .arg = arg};
	enum err e = check_pages(s, &t);
	e = e == ERR_OK ? check_chains(s, &t) : e;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]) && e == ERR_OK; i++) {
		uint64_t n = 0;
		e = count_rows(s, counts[i].sql, &n);
		if (e == ERR_OK && counts[i].is_damage) {
			damage(&t, counts[i].what, n);
		} else if (e == ERR_OK) {
			report(arg, counts[i].what, n);
		}
	}
	return e == ERR_OK && t.damaged ? ERR_DAMAGED : e;
}
