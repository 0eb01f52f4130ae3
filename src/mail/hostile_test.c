/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "mail/charset.h"
#include "mail/summary.h"

/*
 * Hostile messages of n and of 4n: time may grow by a little more than four,
 * not by the sixteen of a quadratic parser. CPU time, best of three.
 */

enum { MAX_MESSAGE = 96 << 20 };

static void
repeat(struct buf *out, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++) {
		assert_int_equal(buf_append_str(out, text), ERR_OK);
	}
}

static void
many_parts(struct buf *m, size_t n)
{
	repeat(m, "Content-Type: multipart/mixed; boundary=b\r\n\r\n", 1);
	repeat(m, "--b\r\n\r\nx\r\n", n);
}

static void
nested_messages(struct buf *m, size_t n)
{
	repeat(m, "Content-Type: message/rfc822\r\n\r\n", n);
}

static void
nested_multiparts(struct buf *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(
		    buf_printf(m, "Content-Type: multipart/mixed; boundary=b%zu\r\n\r\n--b%zu\r\n", i, i),
		    ERR_OK);
	}
	repeat(m, "--bx\r\n", n);
}

static void
long_line(struct buf *m, size_t n)
{
	repeat(m, "Subject: ", 1);
	repeat(m, "=?a?q?\"(<=?utf-8?q?a", n / 20);
	repeat(m, "\r\n\r\n", 1);
}

static void
open_comments(struct buf *m, size_t n)
{
	repeat(m, "To: ", 1);
	repeat(m, "((\\((\"<@", n / 8);
	repeat(m, "\r\nCc: <", 1);
	repeat(m, " ", n);
	repeat(m, "@@,@", n / 8);
	repeat(m, "\r\n\r\n", 1);
}

static void
addresses(struct buf *m, size_t n)
{
	repeat(m, "To: ", 1);
	repeat(m, "a:;\"x\\\"\"@b,", n / 11);
	repeat(m, "\r\nReferences: ", 1);
	repeat(m, "<a><", n / 4);
	repeat(m, "\r\n\r\n", 1);
}

static void
params(struct buf *m, size_t n)
{
	repeat(m, "Content-Type: text/plain", 1);
	repeat(m, "; a*0*=\"x\\\"", n / 11);
	repeat(m, "; b=", 1);
	repeat(m, "y ", n / 4);
	repeat(m, "\r\n\r\n", 1);
}

static void
folded(struct buf *m, size_t n)
{
	repeat(m, "Subject: a", 1);
	repeat(m, "\r\n \r\n\tb", n / 7);
	repeat(m, "\r\n\r\n", 1);
}

static double
seconds_for(struct bytes message)
{
	double best = 1e9;
	for (int run = 0; run < 3; run++) {
		struct arena arena;
		struct mail_structure s;
		struct mail_structure again;
		struct mail_field field;
		struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
		struct buf text = BUF_INIT(MAX_MESSAGE);
		struct timespec a;
		struct timespec b;
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
		arena_init(&arena, MAIL_PARSE_MEMORY);
		assert_int_equal(mail_parse(&arena, message, &s), ERR_OK);
		assert_true(s.count <= MAIL_MAX_PARTS);
		assert_int_equal(mail_summary_encode(&s, &wire), ERR_OK);
		assert_true(wire.len <= MAIL_SUMMARY_MAX);
		arena_clear(&arena);
		arena_init(&arena, MAIL_SUMMARY_MEMORY);
		assert_int_equal(mail_summary_decode(&arena, buf_bytes(&wire), message.len, &again), ERR_OK);
		arena_clear(&arena);
		if (mail_field_find(message, "Subject", &field)) {
			assert_int_equal(mail_words_decode(field.value, &text), ERR_OK);
		}
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
		double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
		best = took < best ? took : best;
		buf_clear(&wire);
		buf_clear(&text);
	}
	return best;
}

/* The parsers of values alone, which the budgets of a whole message would otherwise spare the most of the work. */
static double
seconds_for_value(struct bytes value)
{
	double best = 1e9;
	for (int run = 0; run < 3; run++) {
		struct arena arena;
		struct mail_addresses list;
		struct mail_content content;
		struct mail_ids ids;
		struct mail_date date;
		struct bytes token;
		struct buf text = BUF_INIT(MAX_MESSAGE);
		struct timespec a;
		struct timespec b;
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
		arena_init(&arena, (size_t)1 << 30);
		assert_int_equal(mail_addresses_parse(&arena, value, SIZE_MAX, &list), ERR_OK);
		assert_int_equal(mail_ids_parse(&arena, value, SIZE_MAX, &ids), ERR_OK);
		(void)!mail_content_type_parse(&arena, value, &content);
		(void)!mail_disposition_parse(&arena, value, &content);
		(void)!mail_date_parse(value, &date);
		(void)!mail_token_parse(&arena, value, &token);
		assert_int_equal(mail_words_decode(value, &text), ERR_OK);
		(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
		double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
		best = took < best ? took : best;
		arena_clear(&arena);
		buf_clear(&text);
	}
	return best;
}

static void
values_take_linear_time(void **state)
{
	(void)state;
	/* What comes once, and what is repeated behind it. */
	static const char *const shapes[][2] = {
	    {"<", " "},
	    {"<", "@"},
	    {"<        ", " @"},
	    {"\"", "\\\""},
	    {"", "("},
	    {"", "\"(["},
	    {"", "a,"},
	    {"", "a:;"},
	    {"", "<a@b>"},
	    {"", "<a@b> (c) "},
	    {"a", " ."},
	    {"", "=?"},
	    {"=?a?q?", "x"},
	    {"", "=?a?q?"},
	    {"a/b", ";c"},
	    {"a/b", "; c=\"\\\""},
	    {"a/b; c=", "("},
	    {"a/b; c=", " d"},
	    {"1-", "a-"},
	    {"", "<@a,"},
	    {"(", "\\("},
	    {"", "\r\n a"},
	    {"", "=?utf-8?q?=C3?= "},
	};
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct buf small = BUF_INIT(MAX_MESSAGE);
		struct buf large = BUF_INIT(MAX_MESSAGE);
		enum { MANY = 100000 };
		repeat(&small, shapes[i][0], 1);
		repeat(&large, shapes[i][0], 1);
		/* Half are blanks: what is looked at again and again must show. */
		repeat(&small, " ", MANY / 4);
		repeat(&large, " ", MANY);
		repeat(&small, shapes[i][1], MANY / 4);
		repeat(&large, shapes[i][1], MANY);
		double few = seconds_for_value(buf_bytes(&small));
		double many = seconds_for_value(buf_bytes(&large));
		if (many > 9 * few + 0.004) {
			fail_msg("shape %zu: %.4f s grew to %.4f s", i, few, many);
		}
		buf_clear(&small);
		buf_clear(&large);
	}
}

static void
scales(void (*make)(struct buf *, size_t), size_t n)
{
	struct buf small = BUF_INIT(MAX_MESSAGE);
	struct buf large = BUF_INIT(MAX_MESSAGE);
	make(&small, n / 4);
	make(&large, n);
	double few = seconds_for(buf_bytes(&small));
	double many = seconds_for(buf_bytes(&large));
	/* Clocks are coarse: two milliseconds are given. */
	if (many > 9 * few + 0.002) {
		fail_msg("%.4f s grew to %.4f s", few, many);
	}
	buf_clear(&small);
	buf_clear(&large);
}

static void
a_million_parts_take_linear_time(void **state)
{
	(void)state;
	scales(many_parts, 1000000);
}

static void
a_hundred_thousand_nested_messages_take_linear_time(void **state)
{
	(void)state;
	scales(nested_messages, 100000);
	scales(nested_multiparts, 100000);
}

static void
huge_header_lines_take_linear_time(void **state)
{
	(void)state;
	scales(long_line, 10000000);
	scales(open_comments, 10000000);
	scales(addresses, 10000000);
	scales(folded, 10000000);
}

static void
huge_parameters_take_linear_time(void **state)
{
	(void)state;
	scales(params, 10000000);
}

static void
memory_stays_within_the_stated_bound_for_fat_parts(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(MAX_MESSAGE);
	repeat(&m, "Content-Type: multipart/mixed; boundary=b\r\n\r\n", 1);
	for (size_t i = 0; i < 9000; i++) {
		repeat(&m,
		       "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: a\r\n b\r\nTo: "
		       "\"a\\\\\"@b,c@d,e@f\r\n",
		       1);
		repeat(
		    &m,
		    "Content-Language: a,b,c,d,e,f,g,h\r\nContent-ID: <a\r\n b>\r\nContent-Type: text/plain",
		    1);
		repeat(&m, "; a=\"\\\"b\"", 100);
		repeat(&m, "\r\n\r\n\r\n", 1);
	}
	(void)seconds_for(buf_bytes(&m));
	buf_clear(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_million_parts_take_linear_time),
	    cmocka_unit_test(a_hundred_thousand_nested_messages_take_linear_time),
	    cmocka_unit_test(huge_header_lines_take_linear_time),
	    cmocka_unit_test(values_take_linear_time),
	    cmocka_unit_test(huge_parameters_take_linear_time),
	    cmocka_unit_test(memory_stays_within_the_stated_bound_for_fat_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
