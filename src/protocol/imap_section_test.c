/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_section.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Each part of it can be asked for: 1 text, 2 a message with two parts, 3 an image. */
static const char message[] = "Subject: out\r\n"
			      "To: a@b\r\n"
			      "X-Folded: one\r\n"
			      " two\r\n"
			      "Content-Type: multipart/mixed; boundary=AA\r\n"
			      "\r\n"
			      "preamble\r\n"
			      "--AA\r\n"
			      "X-Part: 1\r\n"
			      "\r\n"
			      "one\r\n"
			      "--AA\r\n"
			      "Content-Type: message/rfc822\r\n"
			      "\r\n"
			      "Subject: in\r\n"
			      "Content-Type: multipart/alternative; boundary=BB\r\n"
			      "\r\n"
			      "--BB\r\n"
			      "\r\n"
			      "in one\r\n"
			      "--BB\r\n"
			      "Content-Type: text/html\r\n"
			      "\r\n"
			      "in two\r\n"
			      "--BB--\r\n"
			      "--AA\r\n"
			      "Content-Type: image/png\r\n"
			      "\r\n"
			      "PNG\r\n"
			      "--AA--\r\n";

static struct arena arena;
static struct mail_structure structure;

/* The octets that an item is answered with; ptr NULL for NIL. */
static struct bytes
fetch(const char *text, const char *name)
{
	struct imap_command c;
	struct buf command = BUF_INIT(1000);
	struct buf filtered = BUF_INIT(100000);
	struct imap_plan plan;
	assert_int_equal(buf_append_str(&command, "a FETCH 1 "), ERR_OK);
	assert_int_equal(buf_append_str(&command, name), ERR_OK);
	struct bytes copy = arena_copy(&arena, buf_bytes(&command));
	buf_clear(&command);
	assert_int_equal(imap_command_parse(&arena, copy, false, &c, NULL), ERR_OK);
	assert_int_equal(mail_parse(&arena, bytes_str(text), &structure), ERR_OK);
	enum err e = imap_section_resolve(&structure, &c.fetch.items[0], &plan);
	if (e == ERR_NOT_FOUND) {
		return BYTES_EMPTY;
	}
	assert_int_equal(e, ERR_OK);
	assert_true(plan.at <= strlen(text) && plan.len <= strlen(text) - plan.at);
	struct bytes octets = bytes_slice(bytes_str(text), plan.at, plan.len);
	if (plan.kind == IMAP_PLAN_FILTER) {
		assert_int_equal(imap_section_filter(&c.fetch.items[0].section, octets, &filtered), ERR_OK);
		octets = arena_copy(&arena, imap_section_partial(&c.fetch.items[0], buf_bytes(&filtered)));
		buf_clear(&filtered);
	}
	return octets;
}

static void
sections_name_their_octets(void **state)
{
	(void)state;
	static const char inner[] =
	    "Subject: in\r\nContent-Type: multipart/alternative; boundary=BB\r\n\r\n"
	    "--BB\r\n\r\nin one\r\n--BB\r\nContent-Type: text/html\r\n\r\nin two\r\n--BB--";
	static const struct {
		const char *name;
		const char *octets; /* NULL: NIL */
	} rows[] = {
	    {"BODY[]", message},
	    {"RFC822", message},
	    {"BODY[]<0.7>", "Subject"},
	    {"BODY[]<9.3>", "out"},
	    {"BODY[]<100000.3>", ""},
	    {"BODY[HEADER]", "Subject: out\r\nTo: a@b\r\nX-Folded: one\r\n two\r\nContent-Type: "
			     "multipart/mixed; boundary=AA\r\n\r\n"},
	    {"RFC822.HEADER", "Subject: out\r\nTo: a@b\r\nX-Folded: one\r\n two\r\nContent-Type: "
			      "multipart/mixed; boundary=AA\r\n\r\n"},
	    {"BODY[TEXT]<0.10>", "preamble\r\n"},
	    {"BODY[HEADER.FIELDS (TO x-folded NO)]", "To: a@b\r\nX-Folded: one\r\n two\r\n\r\n"},
	    {"BODY[HEADER.FIELDS (TO)]<3.4>", " a@b"},
	    {"BODY[HEADER.FIELDS (NO)]", "\r\n"},
	    {"BODY[HEADER.FIELDS.NOT (To Content-Type X-Folded)]", "Subject: out\r\n\r\n"},
	    {"BODY[1]", "one"},
	    {"BODY[1.MIME]", "X-Part: 1\r\n\r\n"},
	    {"BODY[1.HEADER]", NULL},
	    {"BODY[1.TEXT]", NULL},
	    {"BODY[1.1]", NULL},
	    {"BODY[2]", inner},
	    {"BODY[2.MIME]", "Content-Type: message/rfc822\r\n\r\n"},
	    {"BODY[2.HEADER]", "Subject: in\r\nContent-Type: multipart/alternative; boundary=BB\r\n\r\n"},
	    {"BODY[2.HEADER.FIELDS (Subject)]", "Subject: in\r\n\r\n"},
	    {"BODY[2.TEXT]<0.6>", "--BB\r\n"},
	    {"BODY[2.1]", "in one"},
	    {"BODY[2.2]", "in two"},
	    {"BODY[2.2.MIME]", "Content-Type: text/html\r\n\r\n"},
	    {"BODY[2.3]", NULL},
	    {"BODY[3]", "PNG"},
	    {"BODY[4]", NULL},
	    {"BODY[4294967295]", NULL},
	};
	arena_init(&arena, MAIL_PARSE_MEMORY);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes octets = fetch(message, rows[i].name);
		if (rows[i].octets == NULL ? octets.ptr != NULL : !bytes_is(octets, rows[i].octets)) {
			fail_msg("%s: %.*s", rows[i].name, (int)octets.len, (const char *)octets.ptr);
		}
	}
	arena_clear(&arena);
}

static void
a_message_of_one_part_has_part_1(void **state)
{
	(void)state;
	static const char plain[] = "Subject: x\r\n\r\nbody\r\n";
	arena_init(&arena, MAIL_PARSE_MEMORY);
	assert_true(bytes_is(fetch(plain, "BODY[1]"), "body\r\n"));
	assert_true(bytes_is(fetch(plain, "BODY[TEXT]"), "body\r\n"));
	assert_true(bytes_is(fetch(plain, "BODY[1.MIME]"), "Subject: x\r\n\r\n"));
	assert_null(fetch(plain, "BODY[2]").ptr);
	/* No empty line at the end: one is put there. */
	assert_true(bytes_is(fetch("Subject: x", "BODY[HEADER.FIELDS (Subject)]"), "Subject: x\r\n\r\n"));
	arena_clear(&arena);
}

static void
only_reading_the_text_marks_it_seen(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool seen;
		bool needs;
	} rows[] = {{"a FETCH 1 BODY[]", true, true},      {"a FETCH 1 BODY.PEEK[]", false, true},
		    {"a FETCH 1 RFC822", true, true},      {"a FETCH 1 RFC822.HEADER", false, true},
		    {"a FETCH 1 RFC822.TEXT", true, true}, {"a FETCH 1 BODY", false, false},
		    {"a FETCH 1 ENVELOPE", false, false},  {"a FETCH 1 RFC822.SIZE", false, false}};
	arena_init(&arena, 100000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_command c;
		assert_int_equal(imap_command_parse(&arena, bytes_str(rows[i].text), false, &c, NULL),
				 ERR_OK);
		assert_true(imap_fetch_sets_seen(&c.fetch.items[0]) == rows[i].seen);
		assert_true(imap_fetch_needs_message(&c.fetch.items[0]) == rows[i].needs);
	}
	arena_clear(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sections_name_their_octets),
	    cmocka_unit_test(a_message_of_one_part_has_part_1),
	    cmocka_unit_test(only_reading_the_text_marks_it_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
