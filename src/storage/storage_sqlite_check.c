/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The SQLite driver: what can be verified without any key. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "storage/storage_sqlite.h"

enum { ROWS_TOLD_MAX = 40, WHERE_ROOM = 17, NAMED_VALUES = 7 };

struct tally {
	void (*report)(void *arg, const char *what, uint64_t count);
	void *arg;
	bool damaged;
	uint64_t rows; /* damaged ones; the first are told one by one */
	uint64_t unsummed;
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

/* The first octets of a row's key, which opens nothing and names nobody. */
static void
where_of(struct bytes key, char ret[WHERE_ROOM])
{
	ret[0] = '\0';
	for (size_t i = 0; i < 8 && i < key.len; i++) {
		(void)snprintf(ret + i * 2, 3, "%02x", key.ptr[i]);
	}
}

static void COHUE_PRINTF(2, 3) tell(struct tally *t, const char *format, ...)
{
	char line[160];
	va_list args;
	t->rows++;
	t->damaged = true;
	if (t->rows <= ROWS_TOLD_MAX) {
		va_start(args, format);
		(void)vsnprintf(line, sizeof(line), format, args);
		va_end(args);
		t->report(t->arg, line, 1);
	}
}

/* ---- each row's sum ---- */

/* Records of logs are looked at with their chains. */
static const struct {
	const char *what;
	const char *number; /* what the second column says; NULL: nothing */
	const char *sql;
} summed[] = {
    {"blob", "chunk", "SELECT name,chunk,sum,row_sum(name,chunk,data) FROM blobs"},
    {"head of log", "record", "SELECT account,n,sum,row_sum(account,n,head,used) FROM heads"},
    {"note of a snapshot of log", "record", "SELECT account,n,sum,row_sum(account,n,blob) FROM snapshots"},
    {"directory entry", NULL, "SELECT key,0,sum,row_sum(key,value) FROM directory"},
    {"unit of the waiting room", NULL, "SELECT unit,0,sum,row_sum(unit,state) FROM spool_units"},
    {"unit of the waiting room", "part", "SELECT unit,part,sum,row_sum(unit,part,body) FROM spool_parts"},
    {"key of the waiting room", "epoch", "SELECT x'',epoch,sum,row_sum(epoch,value) FROM spool_keys"},
    [NAMED_VALUES] = {"named value", NULL, "SELECT name,0,sum,row_sum(name,value) FROM meta"},
};

/* A row of before version 3 has no sum. */
static bool
sum_holds(struct tally *t, sqlite3_stmt *q, int at)
{
	if (sqlite3_column_type(q, at) == SQLITE_NULL) {
		t->unsummed++;
		return true;
	}
	return sqlite3_column_int64(q, at) == sqlite3_column_int64(q, at + 1);
}

static void
tell_row(struct tally *t, size_t which, struct bytes key, uint64_t number)
{
	char where[WHERE_ROOM];
	where_of(key, where);
	if (which == NAMED_VALUES) {
		/* The names are the program's own. */
		bool clear = key.len > 0 && key.len <= 32;
		for (size_t i = 0; i < key.len && clear; i++) {
			clear = key.ptr[i] > ' ' && key.ptr[i] < 0x7f;
		}
		tell(t, "damaged %s %.*s", summed[which].what, clear ? (int)key.len : 16,
		     clear ? (const char *)key.ptr : where);
	} else if (summed[which].number == NULL) {
		tell(t, "damaged %s %s", summed[which].what, where);
	} else {
		tell(t, "damaged %s%s%s, %s %llu", summed[which].what, key.len > 0 ? " " : "", where,
		     summed[which].number, (unsigned long long)number);
	}
}

static enum err
check_sums(struct storage_sqlite *s, struct tally *t)
{
	int rc = SQLITE_OK;
	for (size_t i = 0; i < sizeof(summed) / sizeof(summed[0]); i++) {
		sqlite3_stmt *q = NULL;
		rc = sqlite3_prepare_v2(s->db, summed[i].sql, -1, &q, NULL);
		while (rc == SQLITE_OK || rc == SQLITE_ROW) {
			rc = sqlite3_step(q);
			if (rc == SQLITE_ROW && !sum_holds(t, q, 2)) {
				tell_row(t, i, sq_column(q, 0), sq_column_number(q, 1));
			}
		}
		(void)sqlite3_finalize(q);
		if (rc != SQLITE_DONE) {
			break;
		}
	}
	return sq_error(s, rc);
}

/* ---- chains ---- */

/* The log that is being walked. */
struct chain {
	uint8_t account[ACCOUNT_ID_LEN];
	uint8_t value[HEAD_LEN]; /* that the next record must have behind it */
	uint64_t last;           /* record */
	bool known_bad;          /* it was told already */
	uint64_t beyond_first;   /* its records behind its head; 0: none */
	uint64_t beyond_last;
};

/* One line for all of a log, or one lost head would leave no room for other damage. */
static void
tell_beyond(struct tally *t, const struct chain *c)
{
	char where[WHERE_ROOM];
	where_of(bytes_of(c->account, ACCOUNT_ID_LEN), where);
	if (c->beyond_first > 0 && c->beyond_first == c->beyond_last) {
		tell(t, "damaged log %s: its record %llu is beyond its head", where,
		     (unsigned long long)c->beyond_first);
	} else if (c->beyond_first > 0) {
		tell(t, "damaged log %s: its records %llu to %llu are beyond its head", where,
		     (unsigned long long)c->beyond_first, (unsigned long long)c->beyond_last);
	}
}

static void
tell_gap(struct tally *t, struct bytes account, uint64_t first, uint64_t last)
{
	char where[WHERE_ROOM];
	where_of(account, where);
	tell(t, "damaged log %s: its records %llu to %llu are not there", where, (unsigned long long)first,
	     (unsigned long long)last);
}

/*
 * One record: its sum, and its place in the chain: the value of each must be the next one's `before`, that of the last one the
 * head's. Where records were swept, only what is adjacent can be seen; none may be missing that the oldest
 * snapshot does not stand for.
 */
static void
check_record(struct tally *t, sqlite3_stmt *q, struct chain *c)
{
	struct bytes who = sq_column(q, 0);
	uint64_t n = sq_column_number(q, 1);
	uint64_t head_n = sq_column_number(q, 5);
	uint64_t swept = sq_column_number(q, 7);
	struct bytes head = sq_column(q, 6);
	uint8_t before[HEAD_LEN];
	char where[WHERE_ROOM];
	where_of(who, where);
	if (who.len != ACCOUNT_ID_LEN || sq_column_fixed(q, 2, before, HEAD_LEN) != ERR_OK) {
		tell(t, "damaged record %llu of log %s", (unsigned long long)n, where);
		return;
	}
	if (memcmp(c->account, who.ptr, ACCOUNT_ID_LEN) != 0) {
		tell_beyond(t, c);
		*c = (struct chain){.last = 0};
		memcpy(c->account, who.ptr, ACCOUNT_ID_LEN);
	}
	bool bad = !sum_holds(t, q, 8);
	if (bad) {
		tell(t, "damaged record %llu of log %s", (unsigned long long)n, where);
	} else if (n == c->last + 1 && !c->known_bad && memcmp(c->value, before, HEAD_LEN) != 0) {
		tell(t, "damaged record %llu of log %s, or what follows it", (unsigned long long)n - 1,
		     where);
	}
	uint64_t stood_for = c->last > swept ? c->last : swept;
	if (n > stood_for + 1) {
		tell_gap(t, who, stood_for + 1, n - 1);
	}
	storage_chain(before, (uint8_t)sq_column_number(q, 3), sq_column(q, 4), c->value);
	c->last = n;
	c->known_bad = bad;
	if (head.len != HEAD_LEN || n > head_n) {
		c->beyond_first = c->beyond_first == 0 ? n : c->beyond_first;
		c->beyond_last = n;
	} else if (n == head_n && !bad && memcmp(c->value, head.ptr, HEAD_LEN) != 0) {
		tell(t, "damaged record %llu of log %s, or its head", (unsigned long long)n, where);
	}
}

static enum err
check_chains(struct storage_sqlite *s, struct tally *t)
{
	static const char sql[] =
	    "SELECT l.account,l.n,l.before,l.kind,l.body,h.n,h.head,"
	    "(SELECT min(p.n) FROM snapshots p WHERE p.account=l.account),"
	    "l.sum,row_sum(l.account,l.n,l.before,l.kind,l.body)"
	    " FROM log l LEFT JOIN heads h ON h.account=l.account ORDER BY l.account,l.n";
	sqlite3_stmt *q = NULL;
	struct chain c = {.last = 0};
	uint64_t records = 0;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW) {
			records++;
			check_record(t, q, &c);
		}
	}
	tell_beyond(t, &c);
	(void)sqlite3_finalize(q);
	t->report(t->arg, "records", records);
	return sq_error(s, rc);
}

/* Where the last records of a log are missing, up to all of them. */
static enum err
check_ends(struct storage_sqlite *s, struct tally *t)
{
	static const char sql[] =
	    "SELECT h.account,h.n,max(coalesce((SELECT max(l.n) FROM log l WHERE l.account=h.account),0),"
	    "coalesce((SELECT min(p.n) FROM snapshots p WHERE p.account=h.account),0)) FROM heads h";
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW && sq_column_number(q, 1) > sq_column_number(q, 2)) {
			tell_gap(t, sq_column(q, 0), sq_column_number(q, 2) + 1, sq_column_number(q, 1));
		}
	}
	(void)sqlite3_finalize(q);
	return sq_error(s, rc);
}

/* Where a chunk is there and the one before it is not. The last ones of a blob can be missed only by who has its key. */
static enum err
check_chunks(struct storage_sqlite *s, struct tally *t)
{
	static const char sql[] =
	    "SELECT b.name,b.chunk-1 FROM blobs b WHERE b.chunk>0 AND NOT EXISTS"
	    " (SELECT 1 FROM blobs a WHERE a.id=b.id-1 AND a.name=b.name AND a.chunk=b.chunk-1)";
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW) {
			char where[WHERE_ROOM];
			where_of(sq_column(q, 0), where);
			tell(t, "damaged blob %s: its chunk %llu is not there", where,
			     (unsigned long long)sq_column_number(q, 1));
		}
	}
	(void)sqlite3_finalize(q);
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
	    {"snapshots", "SELECT count(*) FROM snapshots", false},
	    {"blobs not yet claimed", "SELECT count(*) FROM blob_pending", false},
	    {"units waiting", "SELECT count(*) FROM spool_units", false},
	    {"parts waiting", "SELECT count(*) FROM spool_parts", false},
	    {"damaged spool: parts without their unit",
	     "SELECT count(*) FROM spool_parts WHERE unit NOT IN (SELECT unit FROM spool_units)", true},
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
	e = e == ERR_OK ? check_sums(s, &t) : e;
	e = e == ERR_OK ? check_chains(s, &t) : e;
	e = e == ERR_OK ? check_ends(s, &t) : e;
	e = e == ERR_OK ? check_chunks(s, &t) : e;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]) && e == ERR_OK; i++) {
		uint64_t n = 0;
		e = count_rows(s, counts[i].sql, &n);
		if (e == ERR_OK && counts[i].is_damage) {
			damage(&t, counts[i].what, n);
		} else if (e == ERR_OK) {
			report(arg, counts[i].what, n);
		}
	}
	if (t.rows > ROWS_TOLD_MAX) {
		report(arg, "damaged rows that are not told one by one", t.rows - ROWS_TOLD_MAX);
	}
	if (t.unsummed > 0) {
		report(arg, "rows of before there were sums", t.unsummed);
	}
	return e == ERR_OK && t.damaged ? ERR_DAMAGED : e;
}
