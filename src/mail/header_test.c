/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/header.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IS(view, text) assert_true(bytes_is((view), (text)))

static struct arena arena;

static int
begin(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	arena_clear(&arena);
	return 0;
}

static void
fields_have_exact_offsets_and_keep_folding(void **state)
{
	(void)state;
	struct bytes m = BYTES_LIT("A: one\r\nB : two\r\n\tthree\r\njunk line\r\nC:\r\n\r\nD: body\r\n");
	struct mail_fields it;
	struct mail_field f;
	assert_int_equal(mail_header_length(m), 42);
	mail_fields_init(&it, m);
	assert_true(mail_fields_next(&it, &f));
	IS(f.name, "A");
	IS(f.value, " one");
	assert_true(mail_fields_next(&it, &f));
	IS(f.name, "B");
	IS(f.value, " two\r\n\tthree");
	assert_int_equal(f.offset, 8);
	IS(f.whole, "B : two\r\n\tthree\r\n");
	assert_true(mail_fields_next(&it, &f));
	IS(f.name, "C");
	IS(f.value, "");
	assert_false(mail_fields_next(&it, &f));
	assert_false(mail_field_find(m, "D", &f));
}

static void
a_body_without_header_is_not_taken_for_one(void **state)
{
	(void)state;
	assert_int_equal(mail_header_length(BYTES_LIT("just text\r\n\r\nmore: text\r\n")), 0);
	assert_int_equal(mail_header_length(BYTES_LIT("\r\nbody: x\r\n")), 2);
	assert_int_equal(mail_header_length(BYTES_LIT("From x Mon\nA: b\n\nbody")), 17);
	assert_int_equal(mail_header_length(BYTES_LIT("A: b")), 4);
	/* A bare CR ends nothing. */
	assert_int_equal(mail_header_length(BYTES_LIT("A: b\r\rC: d\r\n\r\n")), 14);
}

static void
an_mbox_line_is_no_field_and_a_from_field_no_mbox_line(void **state)
{
	(void)state;
	struct mail_field f;
	assert_int_equal(mail_mbox_line_length(BYTES_LIT("From x Mon 10:00:00\r\nA: b\r\n")), 21);
	assert_int_equal(mail_mbox_line_length(BYTES_LIT(">From x\nA: b\n")), 8);
	assert_int_equal(mail_mbox_line_length(BYTES_LIT("From : a@b\r\n\r\n")), 0);
	assert_int_equal(mail_mbox_line_length(BYTES_LIT("From \t : a@b\r\n\r\n")), 0);
	assert_int_equal(mail_mbox_line_length(BYTES_LIT("From: a@b\r\n\r\n")), 0);
	assert_true(mail_field_find(BYTES_LIT("From : a@b\r\nTo: c@d\r\n\r\n"), "From", &f));
	IS(f.value, " a@b");
	assert_int_equal(mail_header_length(BYTES_LIT("From : a@b\r\n\r\nx")), 14);
}

static void
unfolding_drops_line_ends_alone(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(100);
	assert_int_equal(mail_unfold(BYTES_LIT(" a\r\n b\n\tc\r\n"), &out), ERR_OK);
	IS(buf_bytes(&out), "a b\tc");
	buf_clear(&out);
}

static void
expect(const char *text, const char *name, const char *local, const char *domain)
{
	struct mail_addresses got;
	assert_int_equal(mail_addresses_parse(&arena, bytes_str(text), 10, &got), ERR_OK);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.list[0].kind, MAIL_ADDRESS_MAILBOX);
	IS(got.list[0].name, name);
	IS(got.list[0].local, local);
	IS(got.list[0].domain, domain);
}

static void
addresses_are_read_in_all_their_forms(void **state)
{
	(void)state;
	expect("a@b.example", "", "a", "b.example");
	expect("Joe Q. Public <j.q@b>", "Joe Q. Public", "j.q", "b");
	expect("\"Public, \\\"Joe\\\"\" <j@b>", "Public, \"Joe\"", "j", "b");
	expect("Pete(A nice \\) chap) <pete(x)@b(y)>", "Pete", "pete", "b");
	expect("a@b (Joe)", "Joe", "a", "b");
	expect("\"a b\"@c", "", "a b", "c");
	expect("x <@r1,@r2:a@b>", "x", "a", "b");
	expect("a @ [ 127.0.0.1 ]", "", "a", "[ 127.0.0.1 ]");
	expect("j . q @ b . c", "", "j.q", "b.c");
	expect("foo@bar <foo@bar>", "foo@bar", "foo", "bar");
	expect("B\xc3\xbc"
	       "cher <b\xc3\xbc@c>",
	       "B\xc3\xbc"
	       "cher",
	       "b\xc3\xbc", "c");
	expect("=?utf-8?q?x_y?=\r\n <a@b>", "=?utf-8?q?x_y?=", "a", "b");
	expect("\"open <a@b>", "\"open", "a", "b");
	expect("nobody", "", "nobody", "");
}

static void
groups_open_and_always_close(void **state)
{
	(void)state;
	struct mail_addresses got;
	assert_int_equal(
	    mail_addresses_parse(&arena, BYTES_LIT("The G: a@b, C <c@d>;, e@f, undisclosed:;"), 20, &got),
	    ERR_OK);
	assert_int_equal(got.count, 7);
	assert_int_equal(got.list[0].kind, MAIL_ADDRESS_GROUP);
	IS(got.list[0].name, "The G");
	IS(got.list[2].name, "C");
	assert_int_equal(got.list[3].kind, MAIL_ADDRESS_GROUP_END);
	IS(got.list[4].local, "e");
	assert_int_equal(got.list[6].kind, MAIL_ADDRESS_GROUP_END);
	assert_int_equal(mail_addresses_parse(&arena, BYTES_LIT("g: a@b, c@d, e@f"), 3, &got), ERR_OK);
	assert_true(got.truncated);
	assert_int_equal(got.count, 3);
	assert_int_equal(got.list[2].kind, MAIL_ADDRESS_GROUP_END);
}

static void
date_is(const char *text, int64_t seconds, int offset)
{
	struct mail_date d;
	assert_int_equal(mail_date_parse(bytes_str(text), &d), ERR_OK);
	assert_int_equal(d.seconds, seconds);
	assert_int_equal(d.offset_minutes, offset);
}

static void
dates_are_read_in_current_and_obsolete_forms(void **state)
{
	(void)state;
	struct mail_date d = {.seconds = 7};
	date_is("Thu, 01 Jan 1970 00:00:00 +0000", 0, 0);
	date_is("Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360);
	date_is("21 Nov 97 09:55 (noon) CST", 880127700, -360);
	date_is("Wed Jul 10 22:40:31 2002", 1026340831, 0);
	date_is("29 Feb 2000 12:00:00 GMT", 951825600, 0);
	date_is("10-Jul-2002 22:40:31 +0100", 1026337231, 60);
	assert_int_equal(mail_date_parse(BYTES_LIT("29 Feb 2001 12:00:00 GMT"), &d), ERR_FORMAT);
	assert_int_equal(mail_date_parse(BYTES_LIT("1 Jan 2001 24:00:00 GMT"), &d), ERR_FORMAT);
	assert_int_equal(mail_date_parse(BYTES_LIT("soon"), &d), ERR_FORMAT);
	assert_int_equal(d.seconds, 7);
}

static void
identifiers_are_found_and_the_last_is_kept(void **state)
{
	(void)state;
	struct mail_ids ids;
	assert_int_equal(mail_ids_parse(&arena, BYTES_LIT("text <a@b> (c)<c\r\n @d><e@f> <g@h>"), 3, &ids),
			 ERR_OK);
	assert_int_equal(ids.count, 3);
	assert_true(ids.truncated);
	IS(ids.list[0], "<a@b>");
	IS(ids.list[1], "<c@d>");
	IS(ids.list[2], "<g@h>");
}

static void
content_types_and_parameters_are_read(void **state)
{
	(void)state;
	struct mail_content c;
	struct bytes v;
	struct bytes text =
	    BYTES_LIT("Text/Plain (x); charset=us-ascii (plain); name=\"a \\\"b\\\" C:\\d\"; x;"
		      " boundary=a=b/c:d ; file=my file.txt");
	assert_int_equal(mail_content_type_parse(&arena, text, &c), ERR_OK);
	IS(c.type, "Text");
	IS(c.subtype, "Plain");
	assert_int_equal(c.params.count, 4);
	assert_true(mail_param_find(&c.params, "CHARSET", &v));
	IS(v, "us-ascii");
	assert_true(mail_param_find(&c.params, "name", &v));
	IS(v, "a \"b\" C:\\d");
	assert_true(mail_param_find(&c.params, "boundary", &v));
	IS(v, "a=b/c:d");
	assert_true(mail_param_find(&c.params, "file", &v));
	IS(v, "my file.txt");
	assert_int_equal(mail_content_type_parse(&arena, BYTES_LIT("text"), &c), ERR_FORMAT);
}

static void
decoded_is(const char *value, const char *want)
{
	struct mail_content c;
	struct buf out = BUF_INIT(1000);
	assert_int_equal(mail_disposition_parse(&arena, bytes_str(value), &c), ERR_OK);
	assert_int_equal(mail_param_decode(&c.params, "filename", &out), ERR_OK);
	IS(buf_bytes(&out), want);
	buf_clear(&out);
}

static void
extended_parameters_are_joined_and_converted(void **state)
{
	(void)state;
	struct mail_params none = {.list = NULL, .count = 0};
	struct buf out = BUF_INIT(10);
	decoded_is("attachment; filename=a.txt", "a.txt");
	decoded_is("attachment; filename=bad; filename*=iso-8859-1'en'%e9%20x", "\xc3\xa9 x");
	decoded_is("attachment; filename*1=\"%41.txt\"; filename*0*=utf-8''%C3; filename*2*=%A9",
		   "\xef\xbf\xbd%41.txt\xef\xbf\xbd");
	decoded_is("attachment; filename*0*=utf-8''%C3; filename*1*=%A9; filename*2=\".c\"", "\xc3\xa9.c");
	decoded_is("attachment; filename=\"=?utf-8?b?w6k=?=\"", "\xc3\xa9");
	assert_int_equal(mail_param_decode(&none, "filename", &out), ERR_NOT_FOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_have_exact_offsets_and_keep_folding),
	    cmocka_unit_test(a_body_without_header_is_not_taken_for_one),
	    cmocka_unit_test(an_mbox_line_is_no_field_and_a_from_field_no_mbox_line),
	    cmocka_unit_test(unfolding_drops_line_ends_alone),
	    cmocka_unit_test(addresses_are_read_in_all_their_forms),
	    cmocka_unit_test(groups_open_and_always_close),
	    cmocka_unit_test(dates_are_read_in_current_and_obsolete_forms),
	    cmocka_unit_test(identifiers_are_found_and_the_last_is_kept),
	    cmocka_unit_test(content_types_and_parameters_are_read),
	    cmocka_unit_test(extended_parameters_are_joined_and_converted),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
