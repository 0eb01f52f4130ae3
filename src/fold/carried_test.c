/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fold/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "fold/fold_testing.h"

static void
begin(struct buf *b, const struct operation *ops, size_t count)
{
	buf_init(b, OPERATION_PLAIN_MAX);
	assert_int_equal(operations_begin(b), ERR_OK);
	assert_false(operations_any(b));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(operations_add(b, &ops[i]), ERR_OK);
	}
	assert_true(operations_any(b));
}

/* As it is sealed: with what it carries of the state before it. */
static void
finish(const struct fold *f, uint64_t previous, struct bytes skeleton, const struct operation *ops,
       size_t count, struct buf *ret)
{
	struct buf b;
	struct operations_carried c = {.previous = previous, .skeleton = skeleton};
	begin(&b, ops, count);
	fold_carry_bases(f, &c);
	buf_init(ret, OPERATION_PLAIN_MAX);
	assert_int_equal(operations_carry(buf_bytes(&b), &c, ret), ERR_OK);
	buf_clear(&b);
}

static struct operation
append(uint32_t mailbox, struct bytes card)
{
	return (struct operation){
	    .kind = OPERATION_APPEND,
	    .append = {.message = {.mailbox = mailbox, .size = 10, .date = 5, .card = card}}};
}

static struct operation
create(struct bytes name)
{
	return (struct operation){.kind = OPERATION_MAILBOX_CREATE,
				  .create = {.name = name, .uidvalidity = 7}};
}

static void
a_record_gives_back_what_it_carries(void **state)
{
	(void)state;
	struct buf b;
	struct buf whole = BUF_INIT(OPERATION_PLAIN_MAX);
	struct operations_carried got;
	struct operations_carried c = {.previous = 41,
				       .skeleton = BYTES_LIT("bones"),
				       .next_mailbox = 9,
				       .bases = {{1, 100}, {8, 1}},
				       .base_count = 2};
	const struct operation box = create(BYTES_LIT("INBOX"));
	begin(&b, &box, 1);
	assert_int_equal(operations_carry(buf_bytes(&b), &c, &whole), ERR_OK);
	assert_int_equal(operations_carried(buf_bytes(&whole), &got), ERR_OK);
	assert_int_equal(got.previous, 41);
	assert_true(bytes_is(got.skeleton, "bones"));
	assert_int_equal(got.next_mailbox, 9);
	assert_int_equal(got.base_count, 2);
	assert_int_equal(got.bases[1].mailbox, 8);
	assert_int_equal(got.bases[0].uidnext, 100);
	/* Once is enough, and what was never begun has no place for it. */
	assert_int_equal(operations_carry(buf_bytes(&whole), &c, &b), ERR_FORMAT);
	assert_int_equal(operations_carry(bytes_of(b.ptr, 9), &c, &whole), ERR_FORMAT);
	for (size_t cut = 0; cut < whole.len; cut++) {
		struct fold *f = NULL;
		assert_int_equal(fold_create(&f), ERR_OK);
		assert_int_equal(fold_apply_session(f, 1, bytes_of(whole.ptr, cut)), ERR_OK);
		assert_int_equal(fold_damaged(f), 1);
		fold_destroy(&f);
	}
	/* Out of order, or to no UID: refused. */
	c.bases[1].mailbox = 1;
	buf_reset(&whole);
	assert_int_equal(operations_carry(buf_bytes(&b), &c, &whole), ERR_OK);
	assert_int_equal(operations_carried(buf_bytes(&whole), &got), ERR_FORMAT);
	record_of_version(&b, 4);
	assert_int_equal(operations_carried(buf_bytes(&b), &got), ERR_OK);
	assert_int_equal(got.previous, 0);
	assert_int_equal(got.skeleton.len, 0);
	assert_int_equal(got.base_count, 0);
	buf_clear(&whole);
	buf_clear(&b);
}

static void
a_skeleton_says_nothing_of_a_message_and_nothing_long(void **state)
{
	(void)state;
	static const uint8_t value[1025] = {'v'};
	const struct operation ops[] = {
	    append(1, BYTES_LIT("CARD")),
	    {.kind = OPERATION_NOTE, .note = {.data = BYTES_LIT("CARD")}},
	    {.kind = OPERATION_RENAMED, .renamed = {.original = BYTES_LIT("CARD")}},
	    {.kind = OPERATION_SETTING, .setting = {.name = BYTES_LIT("x"), .value = {value, sizeof(value)}}},
	    {.kind = OPERATION_SETTING, .setting = {.name = BYTES_LIT("y"), .value = {value, 1024}}},
	};
	struct buf b;
	struct buf bones = BUF_INIT(OPERATION_CARRIED_MAX);
	struct arena a;
	const struct operation *left = NULL;
	size_t count = 0;
	arena_init(&a, 1 << 20);
	begin(&b, ops, 5);
	assert_int_equal(operations_skeleton(buf_bytes(&b), &bones), ERR_OK);
	assert_null(memmem(bones.ptr, bones.len, "CARD", 4));
	assert_int_equal(operations_decode(&a, buf_bytes(&bones), &left, &count), ERR_OK);
	assert_int_equal(count, 5);
	assert_int_equal(left[0].append.message.size, 10);
	assert_int_equal(left[3].kind, OPERATION_NOTE);
	assert_int_equal(left[4].setting.value.len, 1024);
	/* Too much of it: none at all. */
	buf_clear(&b);
	begin(&b, &ops[4], 1);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(operations_add(&b, &ops[4]), ERR_OK);
	}
	size_t before = bones.len;
	assert_int_equal(operations_skeleton(buf_bytes(&b), &bones), ERR_LIMIT);
	assert_int_equal(bones.len, before);
	arena_clear(&a);
	buf_clear(&bones);
	buf_clear(&b);
}

static void
behind_a_lost_record_the_numbers_go_on_where_they_did(void **state)
{
	(void)state;
	struct fold *sound = NULL;
	struct fold *mended = NULL;
	struct buf r[5];
	const struct operation boxes[] = {create(BYTES_LIT("INBOX")), create(BYTES_LIT("A"))};
	const struct operation third[] = {append(1, BYTES_LIT("c")), append(2, BYTES_LIT("c")),
					  create(BYTES_LIT("B"))};
	const struct operation add = append(1, BYTES_LIT("c"));
	const struct operation last[] = {add, create(BYTES_LIT("C"))};
	assert_int_equal(fold_create(&sound), ERR_OK);
	assert_int_equal(fold_create(&mended), ERR_OK);
	finish(sound, 0, BYTES_EMPTY, boxes, 2, &r[0]);
	assert_int_equal(fold_apply_session(sound, 1, buf_bytes(&r[0])), ERR_OK);
	finish(sound, 1, BYTES_EMPTY, &add, 1, &r[1]);
	assert_int_equal(fold_apply_session(sound, 2, buf_bytes(&r[1])), ERR_OK);
	finish(sound, 2, BYTES_EMPTY, third, 3, &r[2]);
	assert_int_equal(fold_apply_session(sound, 3, buf_bytes(&r[2])), ERR_OK);
	finish(sound, 3, BYTES_EMPTY, last, 2, &r[3]);
	assert_int_equal(fold_apply_session(sound, 4, buf_bytes(&r[3])), ERR_OK);

	assert_int_equal(fold_apply_session(mended, 1, buf_bytes(&r[0])), ERR_OK);
	assert_int_equal(fold_apply_session(mended, 2, buf_bytes(&r[1])), ERR_OK);
	assert_int_equal(fold_apply_damaged(mended, 3), ERR_OK);
	assert_int_equal(fold_apply_session(mended, 4, buf_bytes(&r[3])), ERR_OK);
	const struct fold_mailbox *m = fold_mailbox_by_id(mended, 1);
	assert_int_equal(m->count, 2);
	assert_int_equal(m->messages[0].uid, 1);
	assert_int_equal(m->messages[1].uid, 3);
	assert_int_equal(m->uidnext, 4);
	assert_int_equal(fold_mailbox_by_id(mended, 2)->uidnext, 2);
	assert_true(fold_mailbox_by_name(mended, BYTES_LIT("B")) == NULL);
	assert_int_equal(fold_mailbox_by_name(mended, BYTES_LIT("C"))->id,
			 fold_mailbox_by_name(sound, BYTES_LIT("C"))->id);

	/* Who says so gives all mailboxes a new UIDVALIDITY. */
	const struct operation lost = {.kind = OPERATION_LOST, .lost = {.n = 3}};
	uint32_t was = m->uidvalidity;
	uint64_t ns[2] = {0};
	finish(mended, 4, BYTES_EMPTY, &lost, 1, &r[4]);
	assert_int_equal(operations_lost(buf_bytes(&r[4]), ns, 2), 1);
	assert_int_equal(ns[0], 3);
	assert_int_equal(operations_lost(buf_bytes(&r[3]), ns, 2), 0);
	assert_int_equal(fold_apply_session(mended, 5, buf_bytes(&r[4])), ERR_OK);
	assert_true(fold_mailbox_by_id(mended, 1)->uidvalidity > was + FOLD_RESTORED_JUMP);
	for (size_t i = 0; i < 5; i++) {
		buf_clear(&r[i]);
	}
	fold_destroy(&sound);
	fold_destroy(&mended);
}

static void
a_lost_change_of_her_keys_brings_no_older_slot_list_back(void **state)
{
	(void)state;
	struct fold *f = NULL;
	struct buf r[2];
	const uint8_t older[OPERATION_SLOTS_HASH_LEN] = {1};
	const uint8_t newer[OPERATION_SLOTS_HASH_LEN] = {2};
	struct operation open = {.kind = OPERATION_OPEN, .open = {.revision = 4, .generation = 1}};
	const struct operation add = append(1, BYTES_LIT("c"));
	memcpy(open.open.slots_hash, older, sizeof(older));
	assert_int_equal(fold_create(&f), ERR_OK);
	finish(f, 0, BYTES_EMPTY, &open, 1, &r[0]);
	assert_int_equal(fold_apply_session(f, 1, buf_bytes(&r[0])), ERR_OK);
	/* Record 2 opened with list 5 and generation 2, and is lost; record 3 was made behind it. */
	struct buf b;
	const struct operations_carried c = {
	    .previous = 2, .next_mailbox = 1, .revision = 5, .generation = 2};
	begin(&b, &add, 1);
	buf_init(&r[1], OPERATION_PLAIN_MAX);
	assert_int_equal(operations_carry(buf_bytes(&b), &c, &r[1]), ERR_OK);
	assert_int_equal(fold_apply_damaged(f, 2), ERR_OK);
	assert_true(fold_slots_may_follow(f, older, 4, 1));
	assert_int_equal(fold_apply_session(f, 3, buf_bytes(&r[1])), ERR_OK);
	assert_false(fold_slots_may_follow(f, older, 4, 1));
	assert_false(fold_slots_may_follow(f, newer, 5, 1));
	assert_true(fold_slots_may_follow(f, newer, 5, 2));
	buf_clear(&b);
	buf_clear(&r[0]);
	buf_clear(&r[1]);
	fold_destroy(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_record_gives_back_what_it_carries),
	    cmocka_unit_test(a_skeleton_says_nothing_of_a_message_and_nothing_long),
	    cmocka_unit_test(a_lost_change_of_her_keys_brings_no_older_slot_list_back),
	    cmocka_unit_test(behind_a_lost_record_the_numbers_go_on_where_they_did),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
