/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fold/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fold/fold_testing.h"
#include "fold/snapshot.h"

enum { MANY = 100000 };

static void
apply(struct fold *f, const struct operation *ops, size_t count)
{
	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	assert_int_equal(operations_begin(&b), ERR_OK);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(operations_add(&b, &ops[i]), ERR_OK);
	}
	assert_int_equal(fold_apply_session(f, fold_n(f) + 1, buf_bytes(&b)), ERR_OK);
	buf_clear(&b);
}

static struct operation
create_of(const char *name)
{
	struct operation op = {.kind = OPERATION_MAILBOX_CREATE};
	op.create.name = bytes_str(name);
	op.create.uidvalidity = 1;
	return op;
}

static struct operation
append_to(uint32_t mailbox, uint32_t i)
{
	struct operation op = {.kind = OPERATION_APPEND};
	op.append.message = (struct operation_message){.mailbox = mailbox,
						       .size = 3000 + i % 977,
						       .date = 1700000000 + (int64_t)i * 60,
						       .card = BYTES_LIT("c")};
	return op;
}

static struct operation
flags_of(uint32_t mailbox, const struct uid_range *range, enum operation_mode mode,
	 const struct bytes *keyword)
{
	struct operation op = {.kind = OPERATION_FLAGS};
	op.flags.mailbox = mailbox;
	op.flags.uids = (struct uid_set){.ranges = range, .count = 1};
	op.flags.mode = mode;
	op.flags.keywords = (struct keyword_list){.names = keyword, .count = 1};
	return op;
}

static struct fold *
with_mailboxes(void)
{
	struct fold *f = NULL;
	assert_int_equal(fold_create(&f), ERR_OK);
	const struct operation ops[] = {create_of("inbox"), create_of("A")};
	apply(f, ops, 2);
	return f;
}

static void
fill(struct fold *f, uint32_t mailbox, uint32_t count)
{
	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	for (uint32_t i = 0; i < count; i++) {
		buf_reset(&b);
		struct operation op = append_to(mailbox, i);
		assert_int_equal(operations_begin(&b), ERR_OK);
		assert_int_equal(operations_add(&b, &op), ERR_OK);
		assert_int_equal(fold_apply_session(f, fold_n(f) + 1, buf_bytes(&b)), ERR_OK);
	}
	buf_clear(&b);
}

static void
records_come_in_order_and_damaged_ones_change_nothing_else(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	assert_int_equal(fold_apply_session(f, 1, BYTES_LIT("x")), ERR_STATE);
	assert_int_equal(fold_apply_session(f, 3, BYTES_LIT("x")), ERR_STATE);
	assert_int_equal(fold_apply_arrival(f, 3), ERR_STATE);
	assert_int_equal(fold_apply_session(f, 2, BYTES_LIT("\1garbage")), ERR_OK);
	assert_int_equal(fold_apply_damaged(f, 3), ERR_OK);
	assert_int_equal(fold_damaged(f), 2);
	assert_int_equal(fold_n(f), 3);
	assert_int_equal(fold_apply_session(f, 4, BYTES_LIT("\377newer")), ERR_UNSUPPORTED);
	assert_int_equal(fold_n(f), 3);
	/* A good operation before a bad one in the same record: neither is folded. */
	struct buf b = BUF_INIT(1000);
	struct operation op = append_to(1, 0);
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(operations_add(&b, &op), ERR_OK);
	size_t second = b.len;
	assert_int_equal(operations_add(&b, &op), ERR_OK);
	b.ptr[second] = OPERATION_FLAGS;
	assert_int_equal(fold_apply_session(f, 4, buf_bytes(&b)), ERR_OK);
	assert_int_equal(fold_messages(f), 0);
	assert_int_equal(fold_damaged(f), 3);
	buf_clear(&b);
	fold_destroy(&f);
}

static void
uidvalidity_never_repeats_and_runs_out_without_harm(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	uint32_t first = fold_mailbox_by_name(f, bytes_str("A"))->uidvalidity;
	assert_int_equal(first, 2);
	struct operation op = {.kind = OPERATION_MAILBOX_DELETE};
	op.remove.mailbox = 2;
	apply(f, &op, 1);
	op = create_of("A");
	apply(f, &op, 1);
	assert_int_equal(fold_mailbox_by_name(f, bytes_str("A"))->uidvalidity, 3);
	assert_int_equal(fold_mailbox_by_name(f, bytes_str("A"))->id, 3);
	op = create_of("B");
	op.create.uidvalidity = UINT32_MAX;
	apply(f, &op, 1);
	op.create.name = BYTES_LIT("C");
	apply(f, &op, 1);
	assert_null(fold_mailbox_by_name(f, bytes_str("C")));
	assert_int_equal(fold_ignored(f), 1);
	fold_destroy(&f);
}

static void
a_duplicate_is_filed_once_and_the_oldest_delivery_ids_are_forgotten(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	struct buf b = BUF_INIT(1000);
	const uint32_t count = FOLD_DELIVERIES_MAX + 1000;
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(fold_apply_arrival(f, fold_n(f) + 1), ERR_OK);
		struct operation op = {.kind = OPERATION_FILED};
		op.filed.arrival = fold_n(f);
		uint32_t mixed = i * 2654435761U;
		memcpy(op.filed.delivery, &mixed, 4);
		op.filed.message = append_to(1, i).append.message;
		buf_reset(&b);
		assert_int_equal(operations_begin(&b), ERR_OK);
		assert_int_equal(operations_add(&b, &op), ERR_OK);
		assert_int_equal(fold_apply_session(f, fold_n(f) + 1, buf_bytes(&b)), ERR_OK);
	}
	assert_int_equal(fold_messages(f), count);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t id[16] = {0};
		uint32_t mixed = i * 2654435761U;
		memcpy(id, &mixed, 4);
		assert_int_equal(fold_delivery_seen(f, id), i >= 1000);
	}
	assert_int_equal(fold_apply_arrival(f, fold_n(f) + 1), ERR_OK);
	struct operation op = {.kind = OPERATION_FILED};
	op.filed.arrival = fold_n(f);
	uint32_t mixed = (count - 1) * 2654435761U;
	memcpy(op.filed.delivery, &mixed, 4);
	op.filed.message = append_to(1, 0).append.message;
	apply(f, &op, 1);
	assert_int_equal(fold_messages(f), count);
	assert_int_equal(fold_pending_count(f), 0);
	/* A snapshot knows the same ones, and which of them goes first. */
	struct fold *g = NULL;
	struct buf kept = BUF_INIT((size_t)64 << 20);
	assert_int_equal(fold_snapshot_write(f, &kept), ERR_OK);
	assert_int_equal(fold_snapshot_read(buf_bytes(&kept), &g), ERR_OK);
	mixed = count * 2654435761U;
	assert_int_equal(fold_apply_arrival(g, fold_n(g) + 1), ERR_OK);
	op.filed.arrival = fold_n(g);
	memcpy(op.filed.delivery, &mixed, 4);
	apply(g, &op, 1);
	for (uint32_t i = 0; i <= count; i++) {
		uint8_t id[16] = {0};
		mixed = i * 2654435761U;
		memcpy(id, &mixed, 4);
		assert_int_equal(fold_delivery_seen(g, id), i >= 1001);
	}
	buf_clear(&kept);
	fold_destroy(&g);
	buf_clear(&b);
	fold_destroy(&f);
}

static void
many_pending_arrivals_are_filed_in_any_order(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(fold_apply_arrival(f, fold_n(f) + 1), ERR_OK);
	}
	for (uint32_t i = 0; i < 1000; i++) {
		struct operation op = {.kind = OPERATION_DROPPED};
		op.dropped.arrival = fold_pending_at(f, (i * 7919U) % fold_pending_count(f));
		op.dropped.reason = OPERATION_DAMAGED;
		apply(f, &op, 1);
		for (size_t k = 1; k < fold_pending_count(f); k++) {
			assert_true(fold_pending_at(f, k - 1) < fold_pending_at(f, k));
		}
	}
	assert_int_equal(fold_pending_count(f), 0);
	assert_int_equal(fold_ignored(f), 0);
	fold_destroy(&f);
}

static void
keywords_are_limited_to_those_in_use(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	fill(f, 1, 1002);
	char text[16];
	for (uint32_t i = 0; i < 1001; i++) {
		(void)snprintf(text, sizeof(text), "word-%u", i);
		const struct bytes word = bytes_str(text);
		const struct uid_range one = {.first = i + 1, .last = i + 1};
		struct operation op = flags_of(1, &one, OPERATION_SET, &word);
		op.flags.flags = FOLD_SEEN;
		apply(f, &op, 1);
	}
	const struct fold_mailbox *m = fold_mailbox_by_id(f, 1);
	assert_int_equal(fold_keyword_count(f), FOLD_KEYWORDS_MAX);
	assert_int_equal(m->messages[999].flags, FOLD_SEEN);
	assert_int_not_equal(m->messages[999].keyset, 0);
	/* The thousand-and-first: the flag is set, the keyword is not. */
	assert_int_equal(m->messages[1000].flags, FOLD_SEEN);
	assert_int_equal(m->messages[1000].keyset, 0);
	/* One goes out of use, another comes in. */
	const struct bytes old = BYTES_LIT("WORD-5");
	const struct uid_range sixth = {.first = 6, .last = 6};
	struct operation op = flags_of(1, &sixth, OPERATION_REMOVE, &old);
	apply(f, &op, 1);
	assert_int_equal(fold_keyword_count(f), FOLD_KEYWORDS_MAX - 1);
	const struct bytes fresh = BYTES_LIT("Fresh");
	op = flags_of(1, &sixth, OPERATION_ADD, &fresh);
	apply(f, &op, 1);
	m = fold_mailbox_by_id(f, 1);
	assert_true(fold_keyset_has(f, m->messages[5].keyset, bytes_str("fRESH")));
	assert_true(bytes_is(fold_keyset_at(f, m->messages[5].keyset, 0), "Fresh"));
	fold_destroy(&f);
}

static void
the_oldest_tombstones_go_and_it_is_known_how_far_they_reach(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	/* Every second of a lot: no two runs join. */
	const uint32_t count = 2 * (FOLD_TOMBSTONES_MAX + 10);
	fill(f, 1, count);
	struct uid_range ranges[1000];
	uint64_t first = fold_n(f) + 1;
	for (uint32_t i = 0; i < count / 2; i += 1000) {
		uint32_t k = 0;
		for (; k < 1000 && i + k < count / 2; k++) {
			ranges[k] = (struct uid_range){.first = 2 * (i + k) + 1, .last = 2 * (i + k) + 1};
		}
		struct operation op = {.kind = OPERATION_EXPUNGE};
		op.expunge.mailbox = 1;
		op.expunge.uids = (struct uid_set){.ranges = ranges, .count = k};
		apply(f, &op, 1);
	}
	const struct fold_mailbox *m = fold_mailbox_by_id(f, 1);
	size_t at = 0;
	assert_int_equal(m->count, count / 2);
	assert_int_equal(m->tombstone_count, FOLD_TOMBSTONES_MAX);
	assert_int_equal(m->tombstone_floor, first);
	assert_false(fold_tombstones_since(m, first - 1, &at));
	assert_true(fold_tombstones_since(m, first, &at));
	assert_int_equal(at, 990);
	assert_true(fold_tombstones_since(m, fold_n(f), &at));
	assert_int_equal(at, m->tombstone_count);
	fold_destroy(&f);
}

static double
milliseconds(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
a_message_costs_at_most_64_bytes_and_a_snapshot_of_many_is_small_and_quick(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	size_t before = fold_memory(f);
	fill(f, 1, MANY);
	size_t each = (fold_memory(f) - before) / MANY;
	assert_true(each <= 64);

	struct buf b = BUF_INIT(1 << 26);
	assert_int_equal(fold_snapshot_write(f, &b), ERR_OK);
	double start = milliseconds();
	struct fold *g = NULL;
	assert_int_equal(fold_snapshot_read(buf_bytes(&b), &g), ERR_OK);
	double took = milliseconds() - start;
	print_message("%zu bytes a message in memory, %zu of snapshot, read in %.1f ms of CPU\n", each,
		      b.len / MANY, took);
	assert_true(b.len <= (size_t)MANY * 25);
	assert_true(took < 400); /* of CPU; far off, for sanitizers */

	/* COPY of all, MOVE of all, flags of all, expunge of all. */
	const struct uid_range all = {.first = 1, .last = UINT32_MAX};
	const struct bytes word = BYTES_LIT("word");
	struct operation ops[4] = {{.kind = OPERATION_COPY},
				   flags_of(2, &all, OPERATION_ADD, &word),
				   {.kind = OPERATION_MOVE},
				   {.kind = OPERATION_EXPUNGE}};
	ops[0].copy.from = 1;
	ops[0].copy.to = 2;
	ops[0].copy.uids = (struct uid_set){.ranges = &all, .count = 1};
	ops[2].copy.from = 2;
	ops[2].copy.to = 2;
	ops[2].copy.uids = ops[0].copy.uids;
	ops[3].expunge.mailbox = 2;
	ops[3].expunge.uids = ops[0].copy.uids;
	apply(g, ops, 3);
	const struct fold_mailbox *m = fold_mailbox_by_id(g, 2);
	assert_int_equal(m->count, MANY);
	assert_int_equal(m->messages[0].uid, MANY + 1);
	assert_int_equal(fold_card_refs(g, &m->messages[0]), 2);
	apply(g, &ops[3], 1);
	assert_int_equal(fold_released_count(g), 0);
	assert_int_equal(fold_keyword_count(g), 0);
	ops[3].expunge.mailbox = 1;
	apply(g, &ops[3], 1);
	assert_int_equal(fold_released_count(g), MANY);
	assert_int_equal(fold_messages(g), 0);
	assert_int_equal(fold_bytes(g), 0);
	buf_clear(&b);
	fold_destroy(&f);
	fold_destroy(&g);
}

static void
cut_or_changed_snapshots_are_refused_or_are_another_state(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	fill(f, 1, 30);
	const struct uid_range some = {.first = 3, .last = 9};
	const struct bytes word = BYTES_LIT("word");
	struct operation ops[3] = {flags_of(1, &some, OPERATION_ADD, &word),
				   {.kind = OPERATION_SETTING},
				   {.kind = OPERATION_EXPUNGE}};
	ops[1].setting.name = BYTES_LIT("rules");
	ops[1].setting.value = BYTES_LIT("keep");
	ops[2].expunge.mailbox = 1;
	ops[2].expunge.uids = (struct uid_set){.ranges = &(struct uid_range){5, 6}, .count = 1};
	apply(f, ops, 3);
	struct buf b = BUF_INIT(1 << 20);
	struct buf again = BUF_INIT(1 << 20);
	struct fold *g = NULL;
	assert_int_equal(fold_snapshot_write(f, &b), ERR_OK);
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(fold_snapshot_read(bytes_of(b.ptr, i), &g), ERR_DAMAGED);
	}
	for (size_t i = 0; i < b.len * 8; i++) {
		b.ptr[i / 8] ^= (uint8_t)(1U << (i % 8));
		if (fold_snapshot_read(buf_bytes(&b), &g) == ERR_OK) {
			buf_reset(&again);
			assert_int_equal(fold_snapshot_write(g, &again), ERR_OK);
			assert_true(bytes_equal(buf_bytes(&again), buf_bytes(&b)));
			fold_destroy(&g);
		}
		b.ptr[i / 8] ^= (uint8_t)(1U << (i % 8));
	}
	buf_clear(&b);
	buf_clear(&again);
	fold_destroy(&f);
}

/* ---- Two processes ---- */

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x >> 20;
}

/* A million operations from a seed; one of the two goes through a snapshot every so often. */
static uint64_t
digest_of_a_long_log(bool snapshots)
{
	uint64_t x = 88172645463325252ULL;
	struct fold *f = with_mailboxes();
	struct buf b = BUF_INIT(1 << 26);
	for (uint32_t n = 0; n < 10000; n++) {
		buf_reset(&b);
		assert_int_equal(operations_begin(&b), ERR_OK);
		for (uint32_t i = 0; i < 100; i++) {
			char word[3] = {'w', (char)('a' + next_random(&x) % 20), '\0'};
			const struct bytes keyword = bytes_str(word);
			uint32_t box = 1 + (uint32_t)next_random(&x) % 2;
			const struct fold_mailbox *m = fold_mailbox_by_id(f, box);
			uint32_t uid = 1 + (uint32_t)(next_random(&x) % m->uidnext);
			uid = m->count > 2000 ? m->messages[0].uid + uid % 64 : uid;
			const struct uid_range range = {.first = uid, .last = uid + next_random(&x) % 4};
			struct operation op = append_to(box, (uint32_t)next_random(&x) % 1000);
			uint64_t kind = next_random(&x) % 8;
			if (kind < 3) {
				op = flags_of(box, &range, (enum operation_mode)(1 + kind), &keyword);
			} else if (kind == 3) {
				op = (struct operation){.kind = OPERATION_MOVE};
				op.copy.from = box;
				op.copy.to = 3 - box;
				op.copy.uids = (struct uid_set){.ranges = &range, .count = 1};
			} else if (kind == 4 || m->count > 2000) {
				op = (struct operation){.kind = OPERATION_EXPUNGE};
				op.expunge.mailbox = box;
				op.expunge.uids = (struct uid_set){.ranges = &range, .count = 1};
			} else if (kind == 5) {
				op = (struct operation){.kind = OPERATION_COPY};
				op.copy.from = box;
				op.copy.to = 3 - box;
				op.copy.uids = (struct uid_set){.ranges = &range, .count = 1};
			}
			assert_int_equal(operations_add(&b, &op), ERR_OK);
		}
		assert_int_equal(fold_apply_session(f, fold_n(f) + 1, buf_bytes(&b)), ERR_OK);
		if (n % 1000 == 999) {
			buf_reset(&b);
			struct operation op = {.kind = OPERATION_SWEPT};
			op.swept.upto = fold_n(f);
			apply(f, &op, 1);
		}
		if (snapshots && n % 1700 == 0) {
			struct fold *g = NULL;
			buf_reset(&b);
			assert_int_equal(fold_snapshot_write(f, &b), ERR_OK);
			assert_int_equal(fold_snapshot_read(buf_bytes(&b), &g), ERR_OK);
			fold_destroy(&f);
			f = g;
		}
	}
	assert_true(fold_messages(f) > 100);
	buf_reset(&b);
	assert_int_equal(fold_snapshot_write(f, &b), ERR_OK);
	uint64_t h = 14695981039346656037ULL;
	for (size_t i = 0; i < b.len; i++) {
		h = (h ^ b.ptr[i]) * 1099511628211ULL;
	}
	buf_clear(&b);
	fold_destroy(&f);
	return h;
}

static void
two_processes_fold_a_million_operations_to_the_same_state(void **state)
{
	(void)state;
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		uint64_t theirs = digest_of_a_long_log(true);
		_exit(write(ends[1], &theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
	}
	uint64_t ours = digest_of_a_long_log(false);
	uint64_t theirs = 0;
	assert_int_equal(read(ends[0], &theirs, sizeof(theirs)), sizeof(theirs));
	int status = 1;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(ours == theirs);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static struct operation
open_of(uint8_t hash, uint32_t revision, uint32_t generation)
{
	struct operation op = {.kind = OPERATION_OPEN,
			       .open = {.generation = generation, .revision = revision}};
	memset(op.open.slots_hash, hash, sizeof(op.open.slots_hash));
	return op;
}

static void
the_slot_list_never_goes_back(void **state)
{
	(void)state;
	/* Refused after {1, revision 5, generation 3}: whatever is older, and another list of the same age. */
	static const struct {
		uint8_t hash;
		uint32_t revision;
		uint32_t generation;
		bool follows;
	} cases[] = {
	    {1, 4, 3, false}, {1, 5, 2, false}, {2, 6, 2, false}, {2, 5, 3, false}, {2, 5, 4, false},
	    {2, 0, 3, false}, {1, 5, 3, true},  {2, 6, 3, true},  {3, 7, 4, true},  {1, 5, 3, false},
	};
	struct fold *f = with_mailboxes();
	struct fold *back = NULL;
	struct buf b = BUF_INIT(1 << 20);
	uint8_t hash[OPERATION_SLOTS_HASH_LEN];
	/* Logs of old, without revisions: any list follows, of no lower generation. */
	struct operation op = open_of(9, 0, 1);
	apply(f, &op, 1);
	op = open_of(8, 0, 2);
	apply(f, &op, 1);
	assert_true(fold_slots_hash(f, hash));
	assert_int_equal(hash[0], 8);
	op = open_of(9, 0, 1);
	apply(f, &op, 1);
	assert_int_equal(fold_generation(f), 2);
	op = open_of(1, 5, 3);
	apply(f, &op, 1);
	uint64_t ignored = fold_ignored(f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		op = open_of(cases[i].hash, cases[i].revision, cases[i].generation);
		assert_int_equal(
		    fold_slots_may_follow(f, op.open.slots_hash, op.open.revision, op.open.generation),
		    cases[i].follows);
		apply(f, &op, 1);
		ignored += cases[i].follows ? 0 : 1;
		assert_int_equal(fold_ignored(f), ignored);
		assert_true(fold_slots_hash(f, hash));
		assert_int_equal(hash[0] == cases[i].hash && fold_slots_revision(f) == cases[i].revision &&
				     fold_generation(f) == cases[i].generation,
				 cases[i].follows);
		/* A snapshot remembers it. */
		assert_int_equal(fold_snapshot_write(f, &b), ERR_OK);
		assert_int_equal(fold_snapshot_read(buf_bytes(&b), &back), ERR_OK);
		assert_int_equal(fold_slots_revision(back), fold_slots_revision(f));
		fold_destroy(&back);
		buf_reset(&b);
	}
	const struct operation lower = {.kind = OPERATION_GENERATION, .generation = {.number = 1}};
	apply(f, &lower, 1);
	assert_int_equal(fold_generation(f), 4);
	buf_clear(&b);
	fold_destroy(&f);
}

static void
records_and_snapshots_of_version_1_are_read(void **state)
{
	(void)state;
	/* OPEN (hash of sevens, generation 2) as it was: no revision behind it. */
	uint8_t record[3 + 5 + 36] = {1, 0, 1, OPERATION_OPEN, 0, 0, 0, 36};
	uint8_t hash[OPERATION_SLOTS_HASH_LEN];
	struct fold *f = NULL;
	struct fold *back = NULL;
	struct buf b = BUF_INIT(1 << 20);
	memset(record + 8, 7, 32);
	record[8 + 35] = 2;
	assert_int_equal(fold_create(&f), ERR_OK);
	assert_int_equal(fold_apply_session(f, 1, bytes_of(record, sizeof(record))), ERR_OK);
	assert_int_equal(fold_damaged(f), 0);
	assert_int_equal(fold_generation(f), 2);
	assert_int_equal(fold_slots_revision(f), 0);
	assert_true(fold_slots_hash(f, hash));
	assert_int_equal(hash[31], 7);
	assert_int_equal(fold_snapshot_write(f, &b), ERR_OK);
	/* version n ignored damaged generation opened: six octets; the hash; then the revision, which was not there. */
	assert_int_equal(b.ptr[6 + 32], 0);
	/*
	 * Behind it stand numbers alone, all of them 0; version 3 has two less, since it knows no annotations and no epoch, and
	 * version 2 one less again, since it knows nothing of what was renamed.
	 */
	assert_int_equal(b.ptr[b.len - 1], 0);
	buf_truncate(&b, b.len - 2);
	b.ptr[0] = 3;
	assert_int_equal(fold_snapshot_read(buf_bytes(&b), &back), ERR_OK);
	assert_int_equal(fold_annotation_count(back), 0);
	fold_destroy(&back);
	buf_truncate(&b, b.len - 1);
	b.ptr[0] = 2;
	assert_int_equal(fold_snapshot_read(buf_bytes(&b), &back), ERR_OK);
	assert_int_equal(fold_generation(back), 2);
	fold_destroy(&back);
	memmove(b.ptr + 38, b.ptr + 39, b.len - 39);
	buf_truncate(&b, b.len - 1);
	b.ptr[0] = 1;
	assert_int_equal(fold_snapshot_read(buf_bytes(&b), &back), ERR_OK);
	assert_int_equal(fold_generation(back), 2);
	assert_int_equal(fold_uidvalidity(back), 0);
	b.ptr[0] = SNAPSHOT_VERSION + 1;
	struct fold *none = NULL;
	assert_int_equal(fold_snapshot_read(buf_bytes(&b), &none), ERR_UNSUPPORTED);
	fold_destroy(&back);
	buf_clear(&b);
	fold_destroy(&f);
}

/* The record as version 3 had it: without the four octets of the time of saving, which begin at `at` of its one operation's body. */
static void
as_version_3(struct buf *b, size_t at)
{
	record_of_version(b, 3);
	memmove(b->ptr + 8 + at, b->ptr + 8 + at + 4, b->len - 8 - at - 4);
	buf_truncate(b, b->len - 4);
	b->ptr[7] = (uint8_t)(b->len - 8);
}

static void
what_was_stored_before_there_was_a_time_of_saving_is_read_without_one(void **state)
{
	(void)state;
	struct fold *f = with_mailboxes();
	struct fold *back = NULL;
	struct buf b = BUF_INIT(1 << 20);
	struct operation op = append_to(1, 0);
	struct bytes card = BYTES_EMPTY;
	op.append.message.saved = 1760000000;
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(operations_add(&b, &op), ERR_OK);
	assert_int_equal(fold_apply_session(f, 2, buf_bytes(&b)), ERR_OK);
	/* has_key 1, mailbox 4, flags 1, keywords 1, date 8, zone 2, size 8 */
	as_version_3(&b, 25);
	assert_int_equal(fold_apply_session(f, 3, buf_bytes(&b)), ERR_OK);
	assert_int_equal(operations_card(buf_bytes(&b), 0, &card), ERR_OK);
	assert_true(bytes_is(card, "c"));

	const struct uid_range both = {.first = 1, .last = 2};
	op = (struct operation){
	    .kind = OPERATION_COPY,
	    .copy = {.from = 1, .to = 2, .saved = 1770000000, .uids = {.ranges = &both, .count = 1}}};
	buf_reset(&b);
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(operations_add(&b, &op), ERR_OK);
	assert_int_equal(fold_apply_session(f, 4, buf_bytes(&b)), ERR_OK);
	as_version_3(&b, 8); /* from 4, to 4 */
	assert_int_equal(fold_apply_session(f, 5, buf_bytes(&b)), ERR_OK);
	op = (struct operation){
	    .kind = OPERATION_RENAME_INBOX,
	    .rename_inbox = {.name = BYTES_LIT("B"), .uidvalidity = 1, .saved = 1780000000}};
	buf_reset(&b);
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(operations_add(&b, &op), ERR_OK);
	as_version_3(&b, 9); /* name 5, uidvalidity 4 */
	assert_int_equal(fold_apply_session(f, 6, buf_bytes(&b)), ERR_OK);
	assert_int_equal(fold_damaged(f), 0);
	assert_int_equal(fold_ignored(f), 0);

	const struct fold_mailbox *m = fold_mailbox_by_id(f, 2);
	assert_int_equal(m->count, 4);
	assert_int_equal(m->messages[0].saved, 1770000000);
	assert_int_equal(m->messages[1].saved, 1770000000);
	assert_int_equal(m->messages[2].saved, 0);
	assert_int_equal(m->messages[3].saved, 0);
	m = fold_mailbox_by_name(f, BYTES_LIT("B"));
	assert_int_equal(m->messages[0].saved, 0);
	assert_int_equal(m->messages[1].saved, 0);

	/* A snapshot of version 3, of one message, ends with it: its time of saving was not there, nor epoch and annotations. */
	struct fold *g = with_mailboxes();
	op = append_to(2, 0);
	apply(g, &op, 1);
	buf_reset(&b);
	assert_int_equal(fold_snapshot_write(g, &b), ERR_OK);
	buf_truncate(&b, b.len - 3);
	assert_int_equal(fold_snapshot_read(buf_bytes(&b), &back), ERR_DAMAGED);
	b.ptr[0] = 3;
	assert_int_equal(fold_snapshot_read(buf_bytes(&b), &back), ERR_OK);
	assert_int_equal(fold_mailbox_by_id(back, 2)->count, 1);
	assert_int_equal(fold_mailbox_by_id(back, 2)->messages[0].saved, 0);
	fold_destroy(&back);
	fold_destroy(&g);
	buf_clear(&b);
	fold_destroy(&f);
}

static struct operation
note(uint32_t mailbox, const char *entry, size_t len)
{
	static const uint8_t octets[OPERATION_ANNOTATION_MAX];
	return (struct operation){
	    .kind = OPERATION_ANNOTATE,
	    .annotate = {
		.mailbox = mailbox, .entry = bytes_str(entry), .on = true, .value = bytes_of(octets, len)}};
}

static void
annotations_stay_within_their_limits_and_go_with_their_mailbox(void **state)
{
	(void)state;
	struct fold *f = NULL;
	assert_int_equal(fold_create(&f), ERR_OK);
	struct operation op = create_of("A");
	apply(f, &op, 1);
	char entry[64];
	for (unsigned i = 0; i <= FOLD_ANNOTATIONS_EACH_MAX; i++) {
		(void)snprintf(entry, sizeof(entry), "/private/vendor/x/%u", i);
		op = note(1, entry, i % 3);
		apply(f, &op, 1);
	}
	assert_int_equal(fold_annotation_count(f), FOLD_ANNOTATIONS_EACH_MAX);
	assert_int_equal(fold_ignored(f), 1);
	/* What is there may change, also where there is no room for another one; and an empty value is a value. */
	op = note(1, "/private/vendor/x/0", 9);
	apply(f, &op, 1);
	assert_int_equal(fold_annotation(f, 1, BYTES_LIT("/private/vendor/x/0"))->value.len, 9);
	assert_int_equal(fold_annotation(f, 1, BYTES_LIT("/private/vendor/x/3"))->value.len, 0);
	op.annotate.on = false;
	op.annotate.value = BYTES_EMPTY;
	apply(f, &op, 1);
	apply(f, &op, 1);
	assert_null(fold_annotation(f, 1, op.annotate.entry));
	/* The account's own: as many octets as there may be in all, and no more. */
	for (unsigned i = 0; i < 16; i++) {
		(void)snprintf(entry, sizeof(entry), "/shared/vendor/x/%u", i);
		op = note(0, entry, OPERATION_ANNOTATION_MAX);
		apply(f, &op, 1);
	}
	assert_int_equal(fold_ignored(f), 2);
	op = note(7, "/shared/comment", 1);
	apply(f, &op, 1);
	assert_int_equal(fold_ignored(f), 3);
	op = (struct operation){.kind = OPERATION_MAILBOX_RENAME,
				.rename = {.mailbox = 1, .name = BYTES_LIT("B")}};
	apply(f, &op, 1);
	size_t count = 0;
	(void)fold_annotation_first(f, 1, &count);
	assert_int_equal(count, FOLD_ANNOTATIONS_EACH_MAX - 1);
	op = (struct operation){.kind = OPERATION_MAILBOX_DELETE, .remove = {.mailbox = 1}};
	apply(f, &op, 1);
	assert_int_equal(fold_annotation_count(f), 15);
	assert_int_equal(fold_ignored(f), 3);
	fold_destroy(&f);
}

static void
after_a_restore_no_uidvalidity_and_no_id_comes_back(void **state)
{
	(void)state;
	struct fold *f = NULL;
	assert_int_equal(fold_create(&f), ERR_OK);
	struct operation ops[] = {create_of("A"), create_of("B"), create_of("C")};
	apply(f, ops, 3);
	const struct operation restored = {.kind = OPERATION_RESTORED,
					   .restored = {.epoch = 3, .uidvalidity = 1000}};
	apply(f, &restored, 1);
	assert_int_equal(fold_ignored(f), 0);
	assert_int_equal(fold_mailbox_by_id(f, 1)->uidvalidity, 1000 + FOLD_RESTORED_JUMP + 1);
	assert_int_equal(fold_mailbox_by_id(f, 3)->uidvalidity, 1000 + FOLD_RESTORED_JUMP + 3);
	assert_int_equal(fold_next_mailbox(f), 4 + FOLD_RESTORED_JUMP);
	apply(f, &restored, 1);
	assert_int_equal(fold_ignored(f), 1);
	assert_int_equal(fold_epoch(f), 3);
	/* A clock that went back does not bring an old one back. */
	struct operation next = restored;
	next.restored.epoch = 4;
	apply(f, &next, 1);
	assert_int_equal(fold_mailbox_by_id(f, 1)->uidvalidity, 1000 + 2 * FOLD_RESTORED_JUMP + 3 + 1);
	/* Where there is no more room above, it stays as it is rather than to run around. */
	next.restored.epoch = 5;
	next.restored.uidvalidity = UINT32_MAX - FOLD_RESTORED_JUMP;
	apply(f, &next, 1);
	assert_int_equal(fold_epoch(f), 4);
	fold_destroy(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_come_in_order_and_damaged_ones_change_nothing_else),
	    cmocka_unit_test(uidvalidity_never_repeats_and_runs_out_without_harm),
	    cmocka_unit_test(a_duplicate_is_filed_once_and_the_oldest_delivery_ids_are_forgotten),
	    cmocka_unit_test(many_pending_arrivals_are_filed_in_any_order),
	    cmocka_unit_test(keywords_are_limited_to_those_in_use),
	    cmocka_unit_test(the_oldest_tombstones_go_and_it_is_known_how_far_they_reach),
	    cmocka_unit_test(a_message_costs_at_most_64_bytes_and_a_snapshot_of_many_is_small_and_quick),
	    cmocka_unit_test(cut_or_changed_snapshots_are_refused_or_are_another_state),
	    cmocka_unit_test(the_slot_list_never_goes_back),
	    cmocka_unit_test(records_and_snapshots_of_version_1_are_read),
	    cmocka_unit_test(what_was_stored_before_there_was_a_time_of_saving_is_read_without_one),
	    cmocka_unit_test(annotations_stay_within_their_limits_and_go_with_their_mailbox),
	    cmocka_unit_test(after_a_restore_no_uidvalidity_and_no_id_comes_back),
	    cmocka_unit_test(two_processes_fold_a_million_operations_to_the_same_state),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
