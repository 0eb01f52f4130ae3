/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "session/imap.h"

#define NFC "\xc3\xa9t\xc3\xa9"
#define NFD "e\xcc\x81te\xcc\x81"

static struct member member;
static struct imap im;

static void
create(const char *name)
{
	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	const struct operation op = {.kind = OPERATION_MAILBOX_CREATE,
				     .create = {.name = bytes_str(name), .uidvalidity = 1}};
	assert_int_equal(operations_begin(&b), ERR_OK);
	assert_int_equal(operations_add(&b, &op), ERR_OK);
	assert_int_equal(fold_apply_session(member.fold, fold_n(member.fold) + 1, buf_bytes(&b)), ERR_OK);
	buf_clear(&b);
}

static int
start(void **state)
{
	(void)state;
	member = (struct member){.loaded = true};
	im = (struct imap){.member = &member, .utf8 = true};
	assert_int_equal(fold_create(&member.fold), ERR_OK);
	create("INBOX");
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	fold_destroy(&member.fold);
	return 0;
}

static void
assert_name(const char *wire, const char *name)
{
	struct buf out = BUF_INIT(IMAP_NAME_OUT_MAX);
	assert_int_equal(imap_name_of(&im, bytes_str(wire), true, &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), name));
	buf_clear(&out);
}

static void
both_spellings_are_one_new_name(void **state)
{
	(void)state;
	assert_name(NFD, NFC);
	assert_name(NFC, NFC);
	create(NFC);
	assert_name(NFD, NFC);
	assert_name(NFD "/" NFD "/", NFC "/" NFC);
	im.utf8 = false;
	assert_name("e&AwE-te&AwE-", NFC);
	assert_name("&AOk-t&AOk-", NFC);
	assert_true(imap_name_matches(&im, BYTES_LIT(NFC), BYTES_LIT(NFC)));
}

static void
names_from_before_are_found_in_any_spelling(void **state)
{
	(void)state;
	create(NFD);
	assert_name(NFD, NFD);
	assert_name(NFC, NFD);
	assert_name("e\xcc\x81t\xc3\xa9", NFD);
	/* What is made below it stands in the same tree. */
	assert_name(NFC "/" NFD, NFD "/" NFC);
	assert_name(NFC "s", NFC "s");
	assert_true(imap_name_matches(&im, BYTES_LIT(NFC "*"), BYTES_LIT(NFD "/x")));
	assert_false(imap_name_matches(&im, BYTES_LIT(NFC), BYTES_LIT(NFD "/x")));
}

static void
where_both_spellings_stood_each_keeps_its_own(void **state)
{
	(void)state;
	create(NFD);
	create(NFC);
	assert_name(NFD, NFD);
	assert_name(NFC, NFC);
	assert_name("e\xcc\x81t\xc3\xa9", NFC);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(both_spellings_are_one_new_name, start, stop),
	    cmocka_unit_test_setup_teardown(names_from_before_are_found_in_any_spelling, start, stop),
	    cmocka_unit_test_setup_teardown(where_both_spellings_stood_each_keeps_its_own, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
