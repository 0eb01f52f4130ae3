/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/imap_notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "session/member_internal.h"

static struct role_host host;
static struct worker worker = {.host = &host};
static struct conn line;  /* the one that is told; closed: nothing wakes it */
static struct conn other; /* another client of hers */
static struct member member;
static struct imap im;

static void
apply(const struct conn *author, const struct operation *ops, size_t count)
{
	struct buf b = BUF_INIT(OPERATION_RECORD_MAX);
	assert_int_equal(operations_begin(&b), ERR_OK);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(operations_add(&b, &ops[i]), ERR_OK);
	}
	member.author = author;
	assert_int_equal(fold_apply_session(member.fold, fold_n(member.fold) + 1, buf_bytes(&b)), ERR_OK);
	member.author = NULL;
	buf_clear(&b);
}

static void
create(const struct conn *author, const char *name)
{
	const struct operation op = {.kind = OPERATION_MAILBOX_CREATE,
				     .create = {.name = bytes_str(name), .uidvalidity = 1}};
	apply(author, &op, 1);
}

static void
append(const struct conn *author, const char *name)
{
	const struct fold_mailbox *box = fold_mailbox_by_name(member.fold, bytes_str(name));
	const struct operation op = {
	    .kind = OPERATION_APPEND,
	    .append = {.message = {.mailbox = box->id, .size = 10, .card = BYTES_LIT("c")}}};
	apply(author, &op, 1);
}

static int
start(void **state)
{
	(void)state;
	host.config.arrive.kind = LAW_CROWD;
	line = (struct conn){.worker = &worker, .member = &member, .closed = true};
	other = line;
	member = (struct member){.worker = &worker, .loaded = true};
	im = (struct imap){.conn = &line, .member = &member};
	buf_init(&im.out, IMAP_OUT_MAX);
	imap_writer_init(&im.w, &im.out, false);
	assert_int_equal(fold_create(&member.fold), ERR_OK);
	fold_watch(member.fold, views_on_change, &member);
	create(&line, "INBOX");
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	imap_notify_clear(&im);
	assert_null(member.watchers);
	fold_destroy(&member.fold);
	buf_wipe(&im.out);
	return 0;
}

static void
notify(const char *what)
{
	struct arena arena;
	struct imap_command command;
	char text[500];
	(void)snprintf(text, sizeof(text), "a NOTIFY %s", what);
	arena_init(&arena, 1 << 20);
	assert_int_equal(imap_command_parse(&arena, bytes_str(text), 0, &command, NULL), ERR_OK);
	im.command = &command;
	im.arena = &arena;
	imap_do_notify(&im);
	im.command = NULL;
	im.arena = NULL;
	arena_clear(&arena);
}

/* What was told, which is then forgotten. */
static void
assert_told(const char *expected)
{
	assert_int_equal(buf_append_byte(&im.out, 0), ERR_OK);
	assert_string_equal((const char *)im.out.ptr, expected);
	buf_reset(&im.out);
}

static void
what_the_house_brings_waits_for_the_beat(void **state)
{
	(void)state;
	notify("SET (personal (MessageNew MessageExpunge MailboxName))");
	assert_told("a OK What happens is told\r\n");
	append(NULL, "INBOX");
	create(NULL, "New");
	imap_notify_tell(&im, IMAP_NOTIFY_OWN, 0);
	assert_told("");
	imap_notify_tell(&im, IMAP_NOTIFY_BEAT, 511);
	assert_told("* LIST (\\HasNoChildren) \"/\" New\r\n* STATUS INBOX (MESSAGES 1 UIDNEXT 2)\r\n");
	imap_notify_tell(&im, IMAP_NOTIFY_ALL, 0);
	assert_told("");
	/* What her other clients do is told at once, and by no beat. */
	append(&other, "INBOX");
	imap_notify_tell(&im, IMAP_NOTIFY_BEAT, 511);
	assert_told("");
	imap_notify_tell(&im, IMAP_NOTIFY_OWN, 0);
	assert_told("* STATUS INBOX (MESSAGES 2 UIDNEXT 3)\r\n");
	/* What this one did itself, never. */
	append(&line, "INBOX");
	imap_notify_tell(&im, IMAP_NOTIFY_ALL, 0);
	assert_told("");
}

static void
a_beat_says_no_more_than_fits_and_the_next_goes_on(void **state)
{
	(void)state;
	char name[32];
	for (int i = 0; i < 60; i++) {
		(void)snprintf(name, sizeof(name), "Box%d", i);
		create(&line, name);
	}
	notify(
	    "SET (subtree (Box1 Box2) (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))");
	buf_reset(&im.out);
	for (int i = 0; i < 60; i++) {
		(void)snprintf(name, sizeof(name), "Box%d", i);
		append(NULL, name);
	}
	size_t told = 0;
	size_t beats = 0;
	for (; told < 60 && beats < 20; beats++) {
		imap_notify_tell(&im, IMAP_NOTIFY_BEAT, 511);
		assert_int_equal(im.w.error, ERR_OK);
		assert_in_range(im.out.len, 1, 511);
		for (size_t i = 0; i < im.out.len; i++) {
			told += im.out.ptr[i] == '\n' ? 1 : 0;
		}
		buf_reset(&im.out);
	}
	assert_int_equal(told, 60);
	assert_in_range(beats, 4, 8);
	imap_notify_tell(&im, IMAP_NOTIFY_BEAT, 511);
	assert_told("");
}

static void
children_go_with_the_name_above_them(void **state)
{
	(void)state;
	create(&line, "A");
	create(&line, "A/b");
	create(&line, "A/b/c");
	notify("SET (personal (MailboxName SubscriptionChange))");
	buf_reset(&im.out);
	struct operation ops[3];
	static const char *const from[] = {"A", "A/b", "A/b/c"};
	static const char *const to[] = {"Z", "Z/b", "Z/b/c"};
	for (size_t i = 0; i < 3; i++) {
		ops[i] = (struct operation){
		    .kind = OPERATION_MAILBOX_RENAME,
		    .rename = {.mailbox = fold_mailbox_by_name(member.fold, bytes_str(from[i]))->id,
			       .name = bytes_str(to[i])}};
	}
	apply(&other, ops, 3);
	imap_notify_tell(&im, IMAP_NOTIFY_OWN, 0);
	assert_told("* LIST (\\HasChildren) \"/\" Z (\"OLDNAME\" (\"A\"))\r\n");
	const struct operation tree = {.kind = OPERATION_RENAME_TREE,
				       .rename_tree = {.from = BYTES_LIT("Z"), .to = BYTES_LIT("Y")}};
	const struct operation back = {.kind = OPERATION_RENAME_TREE,
				       .rename_tree = {.from = BYTES_LIT("Y"), .to = BYTES_LIT("Z")}};
	apply(&other, &tree, 1);
	imap_notify_tell(&im, IMAP_NOTIFY_OWN, 0);
	assert_told("* LIST (\\HasChildren) \"/\" Y (\"OLDNAME\" (\"Z\"))\r\n");
	apply(&line, &back, 1);
	const struct operation remove = {
	    .kind = OPERATION_MAILBOX_DELETE,
	    .remove = {.mailbox = fold_mailbox_by_name(member.fold, bytes_str("Z/b/c"))->id}};
	apply(&other, &remove, 1);
	imap_notify_tell(&im, IMAP_NOTIFY_OWN, 0);
	assert_told(
	    "* LIST (\\NonExistent \\HasNoChildren) \"/\" Z/b/c\r\n* LIST (\\HasNoChildren) \"/\" Z/b\r\n");
	const struct operation subscribe = {.kind = OPERATION_SUBSCRIBE,
					    .subscribe = {.name = BYTES_LIT("Gone"), .on = true}};
	apply(&other, &subscribe, 1);
	imap_notify_tell(&im, IMAP_NOTIFY_OWN, 0);
	assert_told("* LIST (\\NonExistent \\HasNoChildren \\Subscribed) \"/\" Gone\r\n");
}

static void
too_much_is_given_up_aloud(void **state)
{
	(void)state;
	char name[32];
	notify("SET (personal (MessageNew MessageExpunge))");
	buf_reset(&im.out);
	for (int i = 0; i < 1001; i++) {
		(void)snprintf(name, sizeof(name), "Box%d", i);
		create(&other, name);
		append(&other, name);
	}
	imap_notify_tell(&im, IMAP_NOTIFY_OWN, 0);
	assert_told("* OK [NOTIFICATIONOVERFLOW] Too much has changed: ask, and say NOTIFY again\r\n");
	assert_false(imap_notify_is_on(&im));
	append(&other, "INBOX");
	imap_notify_tell(&im, IMAP_NOTIFY_ALL, 0);
	assert_told("");
	/* A state that was lost, likewise. */
	notify("SET (personal (MessageNew MessageExpunge))");
	buf_reset(&im.out);
	views_lost(&member);
	imap_notify_tell(&im, IMAP_NOTIFY_ALL, 0);
	assert_true(im.out.len > 0 && !imap_notify_is_on(&im));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_the_house_brings_waits_for_the_beat, start, stop),
	    cmocka_unit_test_setup_teardown(a_beat_says_no_more_than_fits_and_the_next_goes_on, start, stop),
	    cmocka_unit_test_setup_teardown(children_go_with_the_name_above_them, start, stop),
	    cmocka_unit_test_setup_teardown(too_much_is_given_up_aloud, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
