/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/imap_resync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;
static struct fold_message messages[1000];
static struct fold_tombstone graves[1000];
static struct fold_mailbox box;

static int
start(void **state)
{
	(void)state;
	arena_init(&arena, (size_t)4 << 20);
	/* UIDs 2, 4, 7, 8, 9, 12; changed at 10 times their number. */
	static const uint32_t uids[] = {2, 4, 7, 8, 9, 12};
	box = (struct fold_mailbox){
	    .uidnext = 15, .messages = messages, .count = 6, .highest_modseq = 200, .tombstones = graves};
	for (uint32_t i = 0; i < 6; i++) {
		messages[i] = (struct fold_message){.uid = uids[i], .modseq = uids[i] * (uint64_t)10};
	}
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	arena_clear(&arena);
	return 0;
}

static struct imap_set
set_of(const char *text)
{
	struct imap_set parsed;
	struct imap_set set;
	assert_int_equal(imap_set_parse(&arena, bytes_str(text), &parsed), ERR_OK);
	assert_int_equal(imap_set_resolve(&arena, &parsed, 0, &set), ERR_OK);
	return set;
}

static void
assert_vanished(uint64_t since, const char *uids, uint32_t above, const char *expected)
{
	struct imap_set within = set_of(uids);
	struct imap_set set;
	struct buf text = BUF_INIT(1000);
	assert_int_equal(resync_vanished(&arena, &box, since, &within, above, &set), ERR_OK);
	assert_int_equal(imap_set_write(&text, &set), ERR_OK);
	assert_int_equal(buf_append_byte(&text, 0), ERR_OK);
	assert_string_equal((const char *)text.ptr, expected);
	buf_clear(&text);
}

static void
what_went_since_is_told_from_what_is_remembered(void **state)
{
	(void)state;
	graves[0] = (struct fold_tombstone){.modseq = 20, .first = 1, .last = 1};
	graves[1] = (struct fold_tombstone){.modseq = 100, .first = 10, .last = 11};
	graves[2] = (struct fold_tombstone){.modseq = 110, .first = 3, .last = 3};
	graves[3] = (struct fold_tombstone){.modseq = 110, .first = 5, .last = 6};
	graves[4] = (struct fold_tombstone){.modseq = 120, .first = 13, .last = 14};
	box.tombstone_count = 5;
	assert_vanished(200, "1:100", 0, "");
	assert_vanished(110, "1:100", 0, "13:14");
	assert_vanished(99, "1:100", 0, "3,5:6,10:11,13:14");
	assert_vanished(1, "1:100", 0, "1,3,5:6,10:11,13:14");
	assert_vanished(1, "4:5,11:13", 0, "5,11,13");
	assert_vanished(1, "2,4,7", 0, "");
}

static void
where_it_is_forgotten_all_that_is_not_there_is_told(void **state)
{
	(void)state;
	graves[0] = (struct fold_tombstone){.modseq = 120, .first = 13, .last = 14};
	box.tombstone_count = 1;
	box.tombstone_floor = 110;
	assert_vanished(110, "1:100", 0, "13:14");
	assert_vanished(109, "1:100", 0, "1,3,5:6,10:11,13:14");
	assert_vanished(109, "1:100", 4, "5:6,10:11,13:14");
	assert_vanished(109, "1:100", 12, "13:14");
	assert_vanished(109, "3:5,14:4294967295", 0, "3,5,14");
	box.count = 0;
	assert_vanished(109, "1:4294967295", 0, "1:14");
}

static void
a_sequence_match_shows_what_still_stands(void **state)
{
	(void)state;
	static const struct {
		const char *numbers;
		const char *uids;
		uint32_t matched;
	} rows[] = {
	    {"1", "2", 2},
	    {"1,3", "2,7", 7},
	    {"1:6", "2,4,7:9,12", 12},
	    {"1,4", "2,7", 2},
	    {"1", "1", 0},
	    {"2:3", "2,4", 0},
	    {"6:9", "12:15", 12},
	    {"7", "13", 0},
	    {"1,5", "2,9", 9},
	    {"1:4294967295", "2:4294967295", 2},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_set numbers = set_of(rows[i].numbers);
		struct imap_set uids = set_of(rows[i].uids);
		assert_int_equal(resync_matched(&box, &numbers, &uids), rows[i].matched);
	}
}

static void
what_was_changed_since_is_found_within_what_is_known(void **state)
{
	(void)state;
	uint32_t *uids = NULL;
	size_t count = 0;
	struct imap_set all = set_of("1:4294967295");
	struct imap_set some = set_of("1:8");
	assert_int_equal(resync_changed(&arena, &box, 69, &all, &uids, &count), ERR_OK);
	assert_int_equal(count, 4);
	assert_int_equal(uids[0], 7);
	assert_int_equal(uids[3], 12);
	assert_int_equal(resync_changed(&arena, &box, 70, &some, &uids, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(uids[0], 8);
	assert_int_equal(resync_changed(&arena, &box, 200, &all, &uids, &count), ERR_OK);
	assert_int_equal(count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_went_since_is_told_from_what_is_remembered, start, stop),
	    cmocka_unit_test_setup_teardown(where_it_is_forgotten_all_that_is_not_there_is_told, start, stop),
	    cmocka_unit_test_setup_teardown(a_sequence_match_shows_what_still_stands, start, stop),
	    cmocka_unit_test_setup_teardown(what_was_changed_since_is_found_within_what_is_known, start,
					    stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
