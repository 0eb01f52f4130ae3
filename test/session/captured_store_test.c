/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * A captured store: it reorders, repeats, drops, replays, cuts and flips what it gives back. What a session makes of it is either
 * what was there before, or an honest NO; never something else, and never its end.
 */
#include "session_testing.h"

#define FIRST "Subject: one\r\nMessage-ID: <a@example.net>\r\n\r\nthe first of them\r\n"
#define SECOND "Subject: two\r\nMessage-ID: <b@example.net>\r\n\r\nthe second of them\r\n"

enum lie {
	LIE_NONE,
	LIE_SWAP,      /* two records in each other's place */
	LIE_REPEAT,    /* one comes twice */
	LIE_DROP,      /* one in the midst is missing */
	LIE_CUT,       /* the last ones are missing, the head says so, too: a rollback */
	LIE_SHORT,     /* a body is shorter */
	LIE_FLIP,      /* one bit */
	LIE_FLIP_LAST, /* of the last record */
	LIE_KIND,      /* a session's record is said to be an arrival */
	LIE_RENUMBER,  /* other numbers */
	LIE_EMPTY,     /* there is no log at all */
	LIE_BLOB,      /* another blob's chunk, or a changed one */
	LIE_BLOB_GONE,
	LIE__COUNT
};

struct kept {
	uint64_t n;
	uint8_t before[HEAD_LEN];
	uint8_t kind;
	struct buf body;
};

static const struct storage_driver *honest;
static struct storage_driver lying;
static enum lie lie;
static uint64_t where; /* the record lied about */

enum { KEPT_MAX = 256 };
static struct kept kept[KEPT_MAX];
static size_t kept_count;

static enum err
keep(void *arg, const struct storage_record *r)
{
	(void)arg;
	if (kept_count == KEPT_MAX) {
		return ERR_LIMIT;
	}
	struct kept *k = &kept[kept_count++];
	k->n = r->n;
	k->kind = r->kind;
	memcpy(k->before, r->before, sizeof(k->before));
	buf_init(&k->body, 1 << 20);
	return buf_append(&k->body, r->body);
}

static void
forget(void)
{
	for (size_t i = 0; i < kept_count; i++) {
		buf_clear(&kept[i].body);
	}
	kept_count = 0;
}

static enum err
give(const struct kept *k, uint64_t n, storage_record_fn fn, void *arg)
{
	struct buf body = BUF_INIT(1 << 20);
	struct storage_record r = {.n = n, .kind = k->kind};
	memcpy(r.before, k->before, sizeof(r.before));
	enum err e = buf_append(&body, buf_bytes(&k->body));
	if (e == ERR_OK && lie == LIE_FLIP && k->n == where) {
		body.ptr[body.len / 2] ^= 4;
	}
	if (e == ERR_OK && lie == LIE_FLIP_LAST && k->n == kept[kept_count - 1].n) {
		body.ptr[body.len - 1] ^= 1;
	}
	if (lie == LIE_SHORT && k->n == where) {
		buf_truncate(&body, body.len / 2);
	}
	if (lie == LIE_KIND && k->n == where) {
		r.kind = RECORD_ARRIVAL;
	}
	r.body = buf_bytes(&body);
	e = e == ERR_OK ? fn(arg, &r) : e;
	buf_clear(&body);
	return e;
}

static enum err
lying_log_read(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t from, storage_record_fn fn,
	       void *arg)
{
	forget();
	enum err e = honest->log_read(s, account, 1, keep, NULL);
	for (size_t i = 0; i < kept_count && e == ERR_OK; i++) {
		const struct kept *k = &kept[i];
		uint64_t n = k->n;
		if (n < from || lie == LIE_EMPTY || (lie == LIE_DROP && n == where) ||
		    (lie == LIE_CUT && n >= where)) {
			continue;
		}
		if (lie == LIE_SWAP && n == where && i + 1 < kept_count) {
			k = &kept[i + 1];
		} else if (lie == LIE_SWAP && n == where + 1) {
			k = &kept[i - 1];
		}
		e = give(k, lie == LIE_RENUMBER ? n + 1 : n, fn, arg);
		if (e == ERR_OK && lie == LIE_REPEAT && n == where) {
			e = give(k, n, fn, arg);
		}
	}
	return e;
}

static enum err
lying_log_read_one(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], uint64_t n, storage_record_fn fn,
		   void *arg)
{
	forget();
	enum err e = honest->log_read(s, account, 1, keep, NULL);
	for (size_t i = 0; i < kept_count && e == ERR_OK; i++) {
		if (kept[i].n == n) {
			if (lie == LIE_DROP && n == where) {
				break;
			}
			const struct kept *k = &kept[i];
			if ((lie == LIE_SWAP || lie == LIE_REPEAT) && n == where && i > 0) {
				k = &kept[i - 1];
			}
			return give(k, lie == LIE_RENUMBER ? n + 1 : n, fn, arg);
		}
	}
	return e == ERR_OK ? ERR_NOT_FOUND : e;
}

static enum err
lying_log_head(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret)
{
	enum err e = honest->log_head(s, account, ret);
	if (e == ERR_OK && lie == LIE_EMPTY) {
		memset(ret, 0, sizeof(*ret));
	} else if (e == ERR_OK && lie == LIE_CUT) {
		forget();
		e = honest->log_read(s, account, 1, keep, NULL);
		for (size_t i = 0; i < kept_count; i++) {
			if (kept[i].n == where) {
				ret->n = where - 1;
				memcpy(ret->head, kept[i].before, sizeof(ret->head));
			}
		}
	}
	return e;
}

static enum err
lying_blob_get(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, struct buf *ret)
{
	if (lie == LIE_BLOB_GONE) {
		return ERR_NOT_FOUND;
	}
	size_t at = ret->len;
	enum err e = honest->blob_get(s, name, chunk, ret);
	if (e == ERR_OK && lie == LIE_BLOB) {
		ret->ptr[at + (ret->len - at) / 3] ^= 16;
	}
	return e;
}

static void
capture(struct testing *t)
{
	struct store *s = t->store->state;
	honest = s->storage->driver;
	lying = *honest;
	lying.log_read = lying_log_read;
	lying.log_read_one = lying_log_read_one;
	lying.log_head = lying_log_head;
	lying.blob_get = lying_blob_get;
	s->driver = &lying;
	lie = LIE_NONE;
}

/* Two messages, some flags, a folder: records 1 to about 6. */
static void
fill(struct testing *t)
{
	testing_open(t, 0, IPC_PROTOCOL_IMAP);
	testing_append(t, 0, "INBOX", FIRST, "OK");
	testing_append(t, 0, "INBOX", SECOND, "OK");
	testing_type(t, 0, "CREATE Secret", "OK");
	testing_type(t, 0, "SELECT INBOX", "OK");
	testing_type(t, 0, "STORE 1 +FLAGS \\Flagged", "OK");
	testing_type(t, 0, "STORE 2 +FLAGS \\Answered", "OK");
}

/* What the next record carries stands for a record: she sees no difference, and writes on. */
static void
one_record_that_is_not_what_it_was_costs_nothing_but_its_messages(void **state)
{
	static const enum lie lies[] = {LIE_DROP, LIE_SHORT, LIE_FLIP, LIE_KIND};
	(void)state;
	struct testing t;
	testing_up(&t);
	capture(&t);
	fill(&t);
	testing_type(&t, 0, "STATUS INBOX (UIDVALIDITY)", "OK");
	char validity[64] = "";
	const char *at = strstr(testing_output(&t, 0), "UIDVALIDITY ");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "%60[A-Z0-9 ]", validity), 1);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		for (where = 1; where <= 5; where++) {
			testing_session_down(&t);
			testing_session_up(&t);
			lie = lies[i];
			testing_open(&t, 0, IPC_PROTOCOL_IMAP);
			testing_type(&t, 0, "SELECT INBOX", "OK");
			assert_true(testing_told(&t, 0, "* 2 EXISTS"));
			testing_type(&t, 0, "FETCH 1:2 FLAGS", "OK");
			assert_true(testing_told(&t, 0, "1 FETCH (FLAGS (\\Flagged"));
			assert_true(testing_told(&t, 0, "2 FETCH (FLAGS (\\Answered"));
			testing_type(&t, 0, "STATUS Secret (MESSAGES)", "OK");
			testing_type(&t, 0, "STATUS INBOX (UIDVALIDITY)", "OK");
			assert_true(testing_told(&t, 0, validity));
			testing_type(&t, 0, "STORE 2 +FLAGS \\Draft", "OK");
			lie = LIE_NONE;
		}
	}
	testing_session_down(&t);
	testing_session_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 2 EXISTS"));
	testing_down(&t);
	forget();
}

static void
a_log_that_cannot_be_mended_is_refused_when_it_is_loaded(void **state)
{
	static const enum lie lies[] = {LIE_SWAP, LIE_REPEAT, LIE_RENUMBER, LIE_FLIP_LAST};
	(void)state;
	struct testing t;
	testing_up(&t);
	capture(&t);
	fill(&t);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		for (where = 1; where <= 5; where++) {
			testing_session_down(&t);
			testing_session_up(&t);
			lie = lies[i];
			testing_open(&t, 0, IPC_PROTOCOL_IMAP);
			testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
			testing_type(&t, 0, "LIST \"\" *", "NO [CORRUPTION]");
			testing_append(&t, 0, "INBOX", FIRST, "NO [CORRUPTION]");
			lie = LIE_NONE;
		}
	}
	testing_session_down(&t);
	testing_session_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 2 EXISTS"));
	testing_down(&t);
	forget();
}

/* The last change, at the second look; a log of which nothing opens, never. */
static void
what_stays_unreadable_is_left_out_for_good_and_she_is_told(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	capture(&t);
	fill(&t);
	testing_session_down(&t);
	testing_session_up(&t);
	lie = LIE_FLIP_LAST;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
	uint64_t last = kept[kept_count - 1].n;
	struct worker *w = t.session->state;
	struct member *m = member_find(w, t.account);
	m->broken_at -= MEMBER_RETRY_MS;
	testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
	m->broken_at -= MEMBER_RETRY_MS;
	for (size_t b = 0; b < WORKER_BUCKETS; b++) {
		if (w->known[b] != NULL) {
			w->known[b]->doubted_at -= MEMBER_RETRY_MS;
		}
	}
	/* That record alone: others were appended behind it when it is loaded. */
	lie = LIE_FLIP;
	where = last;
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 3 EXISTS"));
	testing_type(&t, 0, "FETCH 1:3 (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "OK");
	assert_true(testing_told(&t, 0, "1 FETCH (FLAGS (\\Flagged"));
	assert_false(testing_told(&t, 0, "\\Answered"));
	assert_true(testing_told(&t, 0, "A change to your mailboxes was lost"));
	/* It can be read again: it stays left out, for every session alike. */
	lie = LIE_NONE;
	testing_session_down(&t);
	testing_session_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 3 EXISTS"));
	testing_type(&t, 0, "FETCH 2 FLAGS", "OK");
	assert_false(testing_told(&t, 0, "\\Answered"));
	testing_down(&t);
	forget();
}

/* As a disk that reads wrongly once, or a backup brought back: nobody has to end anything. */
static void
what_does_not_verify_is_read_again_after_a_while(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	capture(&t);
	fill(&t);
	testing_session_down(&t);
	testing_session_up(&t);
	lie = LIE_FLIP_LAST;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION] Your mailbox cannot be read for now");
	struct member *m = member_find(t.session->state, t.account);
	assert_non_null(m);
	char ref[LOG_REF_LEN + 1];
	memcpy(ref, m->ref, sizeof(ref));
	assert_int_equal(strlen(ref), LOG_REF_LEN);
	assert_true(testing_told(&t, 0, ref));
	lie = LIE_NONE;
	testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
	assert_true(testing_told(&t, 0, ref));
	/* Still wrong when it is read again: another line of the log, and nothing else. */
	m->broken_at -= MEMBER_RETRY_MS;
	lie = LIE_FLIP_LAST;
	testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
	assert_false(testing_told(&t, 0, ref));
	m->broken_at -= MEMBER_RETRY_MS;
	lie = LIE_NONE;
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 2 EXISTS"));
	testing_type(&t, 0, "FETCH 1 BODY.PEEK[]", "OK");
	assert_true(testing_told(&t, 0, "the first of them"));
	testing_down(&t);
	forget();
}

static void
a_rollback_is_found_out_while_the_worker_lives(void **state)
{
	static const enum lie lies[] = {LIE_CUT, LIE_EMPTY};
	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct testing t;
		testing_up(&t);
		capture(&t);
		fill(&t);
		/* She logs out and is forgotten; only the head is remembered. */
		testing_type(&t, 0, "LOGOUT", "OK");
		testing_turns(&t, 10);
		struct worker *w = t.session->state;
		for (size_t b = 0; b < WORKER_BUCKETS; b++) {
			if (w->members[b] != NULL) {
				w->members[b]->keep_after = INT64_MAX; /* and leaves no snapshot */
				w->members[b]->idle_since = -MSEC_HOUR;
			}
		}
		member_upkeep(w);
		assert_int_equal(w->member_count, 0);
		lie = lies[i];
		where = 5;
		testing_open(&t, 1, IPC_PROTOCOL_IMAP);
		testing_type(&t, 1, "SELECT INBOX", "NO");
		lie = LIE_NONE;
		testing_down(&t);
		forget();
	}
}

static void
a_damaged_record_or_blob_costs_one_message(void **state)
{
	static const enum lie lies[] = {LIE_FLIP, LIE_SHORT,     LIE_DROP,    LIE_SWAP,
					LIE_BLOB, LIE_BLOB_GONE, LIE_RENUMBER};
	struct testing t;
	char ref[LOG_REF_LEN + 1] = "";
	(void)state;
	testing_up(&t);
	capture(&t);
	fill(&t);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		lie = lies[i];
		where = 2; /* the record of the first message */
		bool both = lie == LIE_BLOB || lie == LIE_BLOB_GONE || lie == LIE_RENUMBER;
		testing_type(&t, 0, "FETCH 1:2 BODY.PEEK[]", "NO [CORRUPTION]");
		assert_false(testing_told(&t, 0, "the first of them"));
		/* She is told where the log speaks of it: once, whatever is asked for. */
		struct member *m = member_find(t.session->state, t.account);
		assert_int_equal(strlen(m->damage_ref), LOG_REF_LEN);
		assert_true(testing_told(&t, 0, m->damage_ref));
		assert_true(i == 0 || strcmp(ref, m->damage_ref) == 0);
		memcpy(ref, m->damage_ref, sizeof(ref));
		assert_int_equal(testing_told(&t, 0, "the second of them"), !both);
		testing_type(&t, 0, "FETCH 1:2 FLAGS", "OK");
		lie = LIE_NONE;
		testing_type(&t, 0, "FETCH 1:2 BODY.PEEK[]", "OK");
		assert_true(testing_told(&t, 0, "the first of them"));
	}
	/* What a row says it is proves nothing, and costs nothing. */
	lie = LIE_KIND;
	testing_type(&t, 0, "FETCH 1:2 BODY.PEEK[]", "OK");
	assert_true(testing_told(&t, 0, "the first of them"));
	lie = LIE_NONE;
	testing_down(&t);
	forget();
}

/* ---- the slot list ---- */

static void
add_generation(struct testing *t)
{
	uint8_t pub[32];
	uint8_t sec[32];
	box_pair(pub, sec);
	assert_int_equal(member_keys_add(&t->keys, (uint32_t)t->keys.count + 1, pub, sec), ERR_OK);
}

/* A restarted worker, which remembers nothing, is given an older list: a password that was dropped. */
static void
an_older_slot_list_is_found_out_by_her_log(void **state)
{
	struct testing t;
	uint8_t token[IPC_TOKEN];
	(void)state;
	testing_up(&t);
	t.slots_revision = 4;
	fill(&t);
	for (int same_generation = 1; same_generation >= 0; same_generation--) {
		/* Her list changes while she is away, and the opener has her log commit to it. */
		struct member_keys old;
		uint32_t old_revision = t.slots_revision;
		uint8_t old_hash[SEALED_HASH_LEN];
		memcpy(old_hash, t.slots_hash, sizeof(old_hash));
		member_keys_init(&old);
		for (size_t i = 0; i < t.keys.count; i++) {
			assert_int_equal(member_keys_add(&old, (uint32_t)i + 1, t.keys.keys[i].public_key,
							 t.keys.keys[i].secret),
					 ERR_OK);
		}
		if (same_generation == 0) {
			add_generation(&t);
		}
		t.slots_revision++;
		crypto_random_bytes(t.slots_hash, sizeof(t.slots_hash));
		testing_session_down(&t);
		testing_session_up(&t);
		testing_say_open(&t, token, true);
		assert_int_equal(t.last_status, ERR_OK);
		/* The worker that has seen the newer one refuses at once. */
		struct member_keys new = t.keys;
		uint8_t new_hash[SEALED_HASH_LEN];
		memcpy(new_hash, t.slots_hash, sizeof(new_hash));
		t.keys = old;
		t.slots_revision = old_revision;
		memcpy(t.slots_hash, old_hash, sizeof(old_hash));
		testing_say_open(&t, token, false);
		assert_int_equal(t.last_status, ERR_CONFLICT);
		testing_session_down(&t);
		testing_session_up(&t);
		testing_say_open(&t, token, true);
		assert_int_equal(t.last_status, ERR_CONFLICT);
		testing_open(&t, 0, IPC_PROTOCOL_IMAP);
		testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
		testing_append(&t, 0, "INBOX", FIRST, "NO [CORRUPTION]");
		testing_open(&t, 1, IPC_PROTOCOL_SUBMISSION);
		testing_send(&t, 1, BYTES_LIT("MAIL FROM:<alice@example.org>\r\n"));
		testing_turns(&t, 20);
		assert_true(testing_told(&t, 1, "451 4.3.0"));
		/* Another list of the same revision is no better. */
		if (same_generation == 1) {
			testing_session_down(&t);
			testing_session_up(&t);
			t.slots_revision = old_revision + 1;
			testing_open(&t, 0, IPC_PROTOCOL_IMAP);
			testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
			testing_session_down(&t);
			testing_session_up(&t);
			t.slots_revision = old_revision;
			testing_open(&t, 0, IPC_PROTOCOL_IMAP);
			testing_type(&t, 0, "SELECT INBOX", "NO [CORRUPTION]");
		}
		/* With the newer one all is well again, in the same worker, and nothing was changed. */
		t.keys = new;
		t.slots_revision = old_revision + 1;
		memcpy(t.slots_hash, new_hash, sizeof(new_hash));
		testing_open(&t, 2, IPC_PROTOCOL_IMAP);
		testing_type(&t, 2, "SELECT INBOX", "OK");
		assert_true(testing_told(&t, 2, "* 2 EXISTS"));
		member_keys_clear(&old);
	}
	testing_down(&t);
}

/* ---- the answers to an append ---- */

static unsigned conflicts;
static unsigned silences;

static enum err
lying_log_append(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], const uint8_t expected[HEAD_LEN],
		 const struct bytes *bodies, size_t count, int64_t used_delta,
		 const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count, struct storage_head *ret)
{
	if (conflicts > 0) {
		conflicts--;
		return ERR_CONFLICT;
	}
	enum err e =
	    honest->log_append(s, account, expected, bodies, count, used_delta, claims, claim_count, ret);
	if (e == ERR_OK && silences > 0) {
		/* It is done, and the answer says that nobody knows. */
		silences--;
		return ERR_TIMEOUT;
	}
	return e;
}

static void
an_append_of_unknown_outcome_is_found_in_the_log(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	capture(&t);
	lying.log_append = lying_log_append;
	fill(&t);
	silences = 1;
	testing_type(&t, 0, "STORE 1 +FLAGS \\Draft", "OK");
	assert_true(testing_told(&t, 0, "\\Draft"));
	silences = 1;
	testing_append(&t, 0, "INBOX", FIRST, "OK [APPENDUID");
	testing_type(&t, 0, "STATUS INBOX (MESSAGES)", "OK");
	assert_true(testing_told(&t, 0, "MESSAGES 3"));
	/* A conflict where nothing came in between: the client is told to try again, and nothing is broken. */
	conflicts = 100;
	testing_type(&t, 0, "STORE 1 -FLAGS \\Draft", "NO [UNAVAILABLE]");
	conflicts = 0;
	testing_type(&t, 0, "STORE 1 -FLAGS \\Draft", "OK");
	testing_down(&t);
	forget();
}

/* An arrival comes in between head and append: the record is built anew behind it. */
static struct testing *interrupted;
static struct testing unsteady;

static enum err
interrupting_append(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN],
		    const uint8_t expected[HEAD_LEN], const struct bytes *bodies, size_t count,
		    int64_t used_delta, const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count,
		    struct storage_head *ret)
{
	if (interrupted != NULL) {
		struct testing *t = interrupted;
		interrupted = NULL;
		testing_arrive_sealed(t, BYTES_LIT("something that is not for you"), NULL);
	}
	return honest->log_append(s, account, expected, bodies, count, used_delta, claims, claim_count, ret);
}

static void
a_conflict_is_folded_and_tried_again(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	capture(&t);
	lying.log_append = interrupting_append;
	fill(&t);
	interrupted = &t;
	testing_type(&t, 0, "STORE 1 +FLAGS \\Draft", "OK");
	assert_true(testing_told(&t, 0, "* 1 FETCH (FLAGS (\\Flagged \\Draft))"));
	interrupted = &t;
	testing_append(&t, 0, "INBOX", FIRST, "OK [APPENDUID");
	testing_type(&t, 0, "STATUS INBOX (MESSAGES)", "OK");
	assert_true(testing_told(&t, 0, "MESSAGES 3"));
	testing_down(&t);
	forget();
}

static unsigned appends;

/* Of five appends one meets a new arrival, and one is done without an answer that says so. */
static enum err
unsteady_append(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], const uint8_t expected[HEAD_LEN],
		const struct bytes *bodies, size_t count, int64_t used_delta,
		const uint8_t (*claims)[BLOB_NAME_LEN], size_t claim_count, struct storage_head *ret)
{
	appends++;
	if (appends % 5 == 2) {
		interrupted = &unsteady;
	}
	silences = appends % 5 == 4 ? 1 : 0;
	enum err e =
	    interrupting_append(s, account, expected, bodies, count, used_delta, claims, claim_count, ret);
	return e == ERR_OK && silences > 0 ? ERR_TIMEOUT : e;
}

static void
a_long_absence_is_filed_once_and_in_order_whatever_comes_in_between(void **state)
{
	enum { COUNT = 400, AGAIN = 150 };
	struct testing *t = &unsteady;
	uint8_t delivery[SEALED_ID_LEN] = {1};
	(void)state;
	testing_up(t);
	capture(t);
	appends = 0;
	for (unsigned i = 0; i < COUNT; i++) {
		char letter[64];
		(void)snprintf(letter, sizeof(letter), "Subject: <%u>\r\n\r\nhello\r\n", i);
		/* One of the first batch comes again in another one. */
		testing_arrive_silently(t, letter, i == 10 || i == AGAIN ? delivery : NULL);
	}
	lying = *honest;
	lying.log_append = unsteady_append;
	testing_open(t, 0, IPC_PROTOCOL_IMAP);
	testing_type(t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(t, 0, "* 399 EXISTS"));
	assert_true(appends > 8);
	lying.log_append = honest->log_append;
	for (unsigned round = 0; round < 2; round++) {
		testing_type(t, 0, "FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]", "OK");
		struct bytes out = buf_bytes(&t->conns[0].output);
		for (unsigned i = 0; i < COUNT; i++) {
			char subject[32];
			if (i == AGAIN) {
				continue;
			}
			(void)snprintf(subject, sizeof(subject), "Subject: <%u>\r\n", i);
			ptrdiff_t at = bytes_search(bytes_slice(out, 0, 200), bytes_str(subject));
			assert_true(at >= 0);
			out = bytes_from(out, (size_t)at + strlen(subject));
		}
		/* And so it is in the log. */
		testing_session_down(t);
		testing_session_up(t);
		testing_open(t, 0, IPC_PROTOCOL_IMAP);
		testing_type(t, 0, "SELECT INBOX", "OK");
		assert_true(testing_told(t, 0, "* 399 EXISTS"));
	}
	testing_down(t);
	forget();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_record_that_is_not_what_it_was_costs_nothing_but_its_messages),
	    cmocka_unit_test(a_log_that_cannot_be_mended_is_refused_when_it_is_loaded),
	    cmocka_unit_test(what_stays_unreadable_is_left_out_for_good_and_she_is_told),
	    cmocka_unit_test(what_does_not_verify_is_read_again_after_a_while),
	    cmocka_unit_test(a_rollback_is_found_out_while_the_worker_lives),
	    cmocka_unit_test(a_damaged_record_or_blob_costs_one_message),
	    cmocka_unit_test(an_older_slot_list_is_found_out_by_her_log),
	    cmocka_unit_test(an_append_of_unknown_outcome_is_found_in_the_log),
	    cmocka_unit_test(a_conflict_is_folded_and_tried_again),
	    cmocka_unit_test(a_long_absence_is_filed_once_and_in_order_whatever_comes_in_between),
	};
	return cmocka_run_group_tests(tests, testing_setup, NULL);
}
