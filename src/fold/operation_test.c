/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fold/operation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "fold/fold_testing.h"

static struct operation
append_of(const char *card)
{
	static struct bytes keywords[2];
	keywords[0] = bytes_str("$Junk");
	keywords[1] = bytes_str("x");
	struct operation op = {.kind = OPERATION_APPEND};
	op.append.has_key = true;
	memset(op.append.key, 7, sizeof(op.append.key));
	op.append.message = (struct operation_message){.mailbox = 3,
						       .flags = FOLD_SEEN | FOLD_DRAFT,
						       .keywords = {.names = keywords, .count = 2},
						       .date = -5,
						       .zone = -210,
						       .saved = 4000000000U,
						       .size = 1234567,
						       .card = bytes_str(card)};
	return op;
}

static void
a_record_is_read_as_it_was_written_and_its_cards_are_found(void **state)
{
	(void)state;
	const struct uid_range ranges[] = {{1, 1}, {5, 9}, {4294967295U, 4294967295U}};
	struct operation copy = {.kind = OPERATION_COPY};
	copy.copy.from = 1;
	copy.copy.to = 2;
	copy.copy.uids = (struct uid_set){.ranges = ranges, .count = 3};
	struct operation first = append_of("first card");
	struct operation filed = {.kind = OPERATION_FILED};
	filed.filed.arrival = 77;
	memset(filed.filed.delivery, 9, sizeof(filed.filed.delivery));
	filed.filed.message = first.append.message;
	filed.filed.message.card = BYTES_LIT("second");

	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	assert_int_equal(operations_add(&b, &copy), ERR_STATE);
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(operations_begin(&b), ERR_STATE);
	assert_int_equal(operations_add(&b, &first), ERR_OK);
	assert_int_equal(operations_add(&b, &copy), ERR_OK);
	assert_int_equal(operations_add(&b, &filed), ERR_OK);

	struct arena a;
	arena_init(&a, 16 << 20);
	const struct operation *ops = NULL;
	size_t count = 0;
	assert_int_equal(operations_decode(&a, buf_bytes(&b), &ops, &count), ERR_OK);
	assert_int_equal(count, 3);
	const struct operation_message *m = &ops[0].append.message;
	assert_true(ops[0].append.has_key && ops[0].append.key[15] == 7);
	assert_int_equal(m->mailbox, 3);
	assert_int_equal(m->flags, FOLD_SEEN | FOLD_DRAFT);
	assert_int_equal(m->keywords.count, 2);
	assert_true(bytes_is(m->keywords.names[0], "$Junk"));
	assert_true(m->date == -5 && m->zone == -210 && m->size == 1234567 && m->saved == 4000000000U);
	assert_true(bytes_is(m->card, "first card"));
	assert_memory_equal(b.ptr + m->card_offset, "first card", 10);
	assert_int_equal(ops[1].copy.uids.count, 3);
	assert_memory_equal(ops[1].copy.uids.ranges, ranges, sizeof(ranges));
	assert_int_equal(ops[2].filed.arrival, 77);
	arena_clear(&a);

	struct bytes card = BYTES_EMPTY;
	assert_int_equal(operations_card(buf_bytes(&b), 0, &card), ERR_OK);
	assert_true(bytes_is(card, "first card"));
	assert_int_equal(operations_card(buf_bytes(&b), 2, &card), ERR_OK);
	assert_true(bytes_is(card, "second"));
	assert_int_equal(operations_card(buf_bytes(&b), 1, &card), ERR_NOT_FOUND);
	assert_int_equal(operations_card(buf_bytes(&b), 3, &card), ERR_NOT_FOUND);

	/* One after the other, and back again. */
	struct operations_place place = {.index = 0, .offset = 0};
	static const struct {
		uint16_t index;
		const char *card; /* NULL: none */
	} steps[] = {{0, "first card"}, {1, NULL},         {2, "second"}, {3, NULL},
		     {2, "second"},     {0, "first card"}, {2, "second"}};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		enum err e = operations_card_from(buf_bytes(&b), &place, steps[i].index, &card);
		assert_int_equal(e, steps[i].card == NULL ? ERR_NOT_FOUND : ERR_OK);
		assert_true(steps[i].card == NULL || bytes_is(card, steps[i].card));
	}
	assert_int_equal(place.index, 3);
	buf_clear(&b);
}

static enum err
decode(struct bytes record)
{
	struct arena a;
	arena_init(&a, 16 << 20);
	const struct operation *ops = NULL;
	size_t count = 0;
	enum err e = operations_decode(&a, record, &ops, &count);
	arena_clear(&a);
	return e;
}

static void
what_is_cut_longer_newer_or_empty_is_refused(void **state)
{
	(void)state;
	struct operation op = append_of("card");
	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(decode(buf_bytes(&b)), ERR_FORMAT);
	assert_int_equal(operations_add(&b, &op), ERR_OK);
	assert_int_equal(decode(buf_bytes(&b)), ERR_OK);
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(decode(bytes_of(b.ptr, i)), ERR_FORMAT);
	}
	assert_int_equal(buf_append_byte(&b, 0), ERR_OK);
	assert_int_equal(decode(buf_bytes(&b)), ERR_FORMAT);
	buf_truncate(&b, b.len - 1);
	b.ptr[0] = OPERATION_VERSION + 1;
	assert_int_equal(decode(buf_bytes(&b)), ERR_UNSUPPORTED);
	b.ptr[0] = 0;
	assert_int_equal(decode(buf_bytes(&b)), ERR_FORMAT);
	b.ptr[0] = OPERATION_VERSION;
	assert_int_equal(decode(buf_bytes(&b)), ERR_OK);
	b.ptr[OPERATION_HEAD_LEN] = OPERATION__END;
	assert_int_equal(decode(buf_bytes(&b)), ERR_FORMAT);
	buf_clear(&b);
}

static void
test_an_operation_stands_in_no_record_older_than_it(void **state)
{
	const struct operation old = {.kind = OPERATION_GENERATION, .generation = {.number = 1}};
	const struct operation new = {.kind = OPERATION_RENAMED,
				      .renamed = {.key = {1}, .token = {2}, .original = BYTES_LIT("<a@b>")}};
	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	(void)state;
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(operations_add(&b, &old), ERR_OK);
	assert_int_equal(operations_add(&b, &new), ERR_OK);
	assert_int_equal(operations_add(&b, &old), ERR_OK);
	assert_int_equal(b.ptr[0], OPERATION_VERSION);
	assert_int_equal(decode(buf_bytes(&b)), ERR_OK);
	record_of_version(&b, 3);
	assert_int_equal(decode(buf_bytes(&b)), ERR_OK);
	/* An older program would have to stop at it: so it stands in no record that claims to be older. */
	b.ptr[0] = 2;
	assert_int_equal(decode(buf_bytes(&b)), ERR_FORMAT);
	const struct operation newer[] = {
	    {.kind = OPERATION_ANNOTATE, .annotate = {.entry = BYTES_LIT("/private/comment"), .on = true}},
	    {.kind = OPERATION_USE, .use = {.mailbox = 1, .special_use = 4}},
	    {.kind = OPERATION_RESTORED, .restored = {.epoch = 1, .uidvalidity = 1}},
	    {.kind = OPERATION_LOST, .lost = {.n = 1}}};
	for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++) {
		buf_reset(&b);
		assert_int_equal(operations_begin(&b), ERR_OK);
		assert_int_equal(operations_add(&b, &newer[i]), ERR_OK);
		assert_int_equal(decode(buf_bytes(&b)), ERR_OK);
		record_of_version(&b, newer[i].kind == OPERATION_LOST ? 4 : 3);
		assert_int_equal(decode(buf_bytes(&b)), ERR_FORMAT);
	}
	buf_clear(&b);
}

static enum err
add_one(const struct operation *op)
{
	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	assert_int_equal(operations_begin(&b), ERR_OK);
	size_t before = b.len;
	enum err e = operations_add(&b, op);
	assert_true(e == ERR_OK || b.len == before);
	buf_clear(&b);
	return e;
}

static void
names_of_annotations_are_as_they_are_kept(void **state)
{
	(void)state;
	static const char *const good[] = {"/private/comment", "/shared/vendor/x/y-1.z"};
	static const char *const bad[] = {"",           "/private/",    "/private",         "/other/x",
					  "/shared//x", "/shared/a/",   "/private/Comment", "/private/a*",
					  "/private/%", "/private/a b", "/private/\xc3\xbc"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(operation_entry_valid(bytes_str(good[i])));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct operation op = {.kind = OPERATION_ANNOTATE,
					     .annotate = {.entry = bytes_str(bad[i]), .on = true}};
		assert_int_equal(add_one(&op), ERR_FORMAT);
	}
	const struct operation gone = {
	    .kind = OPERATION_ANNOTATE,
	    .annotate = {.entry = BYTES_LIT("/private/x"), .on = false, .value = BYTES_LIT("v")}};
	assert_int_equal(add_one(&gone), ERR_FORMAT);
}

static void
operations_that_break_a_rule_are_not_written(void **state)
{
	(void)state;
	static const char *const names[] = {"", "/a", "a/", "a//b", "a\nb", "\xff", "a\x7f"};
	struct operation op = {.kind = OPERATION_MAILBOX_CREATE};
	op.create.uidvalidity = 1;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		op.create.name = bytes_str(names[i]);
		assert_int_equal(add_one(&op), ERR_FORMAT);
	}
	op.create.name = BYTES_LIT("a/b c/\xc3\xbc");
	assert_int_equal(add_one(&op), ERR_OK);
	op.create.uidvalidity = 0;
	assert_int_equal(add_one(&op), ERR_FORMAT);

	static const char *const keywords[] = {"", "a b", "a(", "\\Seen", "a]", "\xc3\xbc", "a*"};
	op = append_of("card");
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		struct bytes k = bytes_str(keywords[i]);
		op.append.message.keywords = (struct keyword_list){.names = &k, .count = 1};
		assert_int_equal(add_one(&op), ERR_FORMAT);
	}
	op = append_of("card");
	op.append.message.flags = 32;
	assert_int_equal(add_one(&op), ERR_FORMAT);
	op = append_of("card");
	op.append.message.zone = 1440;
	assert_int_equal(add_one(&op), ERR_FORMAT);

	const struct uid_range bad[][2] = {
	    {{0, 1}, {2, 2}}, {{2, 1}, {3, 3}}, {{1, 3}, {3, 4}}, {{5, 6}, {1, 2}}};
	op = (struct operation){.kind = OPERATION_EXPUNGE};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		op.expunge.uids = (struct uid_set){.ranges = bad[i], .count = 2};
		assert_int_equal(add_one(&op), ERR_FORMAT);
	}
}

static void
a_record_has_a_size_and_a_count_that_it_never_passes(void **state)
{
	(void)state;
	static uint8_t big[OPERATION_NOTE_MAX];
	struct operation op = {.kind = OPERATION_NOTE};
	op.note.data = bytes_of(big, sizeof(big));
	struct buf b = BUF_INIT(1 << 22);
	assert_int_equal(operations_begin(&b), ERR_OK);
	enum err e = ERR_OK;
	while (e == ERR_OK) {
		e = operations_add(&b, &op);
	}
	assert_int_equal(e, ERR_LIMIT);
	assert_true(b.len <= OPERATION_RECORD_MAX);
	assert_int_equal(decode(buf_bytes(&b)), ERR_OK);
	buf_reset(&b);
	op.note.data = BYTES_EMPTY;
	assert_int_equal(operations_begin(&b), ERR_OK);
	for (int i = 0; i < OPERATION_COUNT_MAX; i++) {
		assert_int_equal(operations_add(&b, &op), ERR_OK);
	}
	assert_int_equal(operations_add(&b, &op), ERR_LIMIT);
	assert_int_equal(decode(buf_bytes(&b)), ERR_OK);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_operation_stands_in_no_record_older_than_it),
	    cmocka_unit_test(a_record_is_read_as_it_was_written_and_its_cards_are_found),
	    cmocka_unit_test(what_is_cut_longer_newer_or_empty_is_refused),
	    cmocka_unit_test(names_of_annotations_are_as_they_are_kept),
	    cmocka_unit_test(operations_that_break_a_rule_are_not_written),
	    cmocka_unit_test(a_record_has_a_size_and_a_count_that_it_never_passes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
