/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LOG_MAX = 256 * 1024 };

/*
 * A dialogue's events as text, one a line, so that a whole run can be compared.
 * Pieces of data are joined, since their borders follow the input's.
 */
static void
note(struct buf *log, const struct imap_event *e, bool *in_data)
{
	static const char *const names[] = {"NONE", "COMMAND", "CONTINUE", "APPEND", "DATA",
					    "END",  "LINE",    "BAD",      "BYE",    "MORE"};
	if (e->kind == IMAP_EVENT_DATA) {
		if (!*in_data) {
			assert_int_equal(buf_append_str(log, "DATA "), ERR_OK);
		}
		assert_int_equal(buf_append(log, e->text), ERR_OK);
		*in_data = true;
		return;
	}
	assert_int_equal(buf_append_str(log, *in_data ? "\n" : ""), ERR_OK);
	*in_data = false;
	assert_int_equal(buf_append_str(log, names[e->kind]), ERR_OK);
	assert_int_equal(buf_append_str(log, " "), ERR_OK);
	if (e->kind == IMAP_EVENT_BAD) {
		assert_int_equal(buf_append(log, e->tag), ERR_OK);
	} else {
		assert_int_equal(buf_append(log, e->text), ERR_OK);
	}
	assert_int_equal(buf_append_str(log, e->wait ? " wait\n" : "\n"), ERR_OK);
}

static void
feed(struct imap_reader *r, struct bytes input, bool accept, struct buf *log, bool *in_data)
{
	for (;;) {
		struct imap_event e = imap_reader_next(r, &input);
		if (e.kind == IMAP_EVENT_NONE) {
			assert_int_equal(input.len, 0);
			return;
		}
		note(log, &e, in_data);
		if (e.kind == IMAP_EVENT_APPEND || e.kind == IMAP_EVENT_APPEND_MORE) {
			if (accept) {
				imap_reader_accept(r);
			} else {
				imap_reader_refuse(r);
			}
		}
		if (e.kind == IMAP_EVENT_COMMAND && bytes_ends_with_nocase(e.text, "AUTHENTICATE PLAIN")) {
			imap_reader_expect_line(r, 20);
		}
	}
}

/* The same events come out wherever the input is split in two, and octet by octet. */
static void
expect(struct imap_reader_limits limits, bool accept, const char *text, size_t len, const char *expected)
{
	for (size_t split = 0; split <= len + 1; split++) {
		struct imap_reader r;
		struct buf log = BUF_INIT(LOG_MAX);
		bool in_data = false;
		imap_reader_init(&r, limits);
		struct bytes all = bytes_of(text, len);
		if (split == len + 1) {
			for (size_t i = 0; i < len; i++) {
				feed(&r, bytes_slice(all, i, 1), accept, &log, &in_data);
			}
		} else {
			feed(&r, bytes_slice(all, 0, split), accept, &log, &in_data);
			feed(&r, bytes_from(all, split), accept, &log, &in_data);
		}
		assert_int_equal(buf_append_byte(&log, 0), ERR_OK);
		assert_string_equal((const char *)log.ptr, expected);
		buf_clear(&log);
		imap_reader_clear(&r);
	}
}

#define EXPECT(limits, accept, text, expected)                                                               \
	expect((limits), (accept), (text), sizeof(text) - 1, (expected))

static void
commands_come_out_whole_at_every_split(void **state)
{
	(void)state;
	EXPECT(imap_reader_limits_gate(), true,
	       "a1 NOOP\r\nA2 LOGIN {5}\r\nalice {3+}\r\na\nb\r\n\r\nA3 LOGIN \"a\\\"{5}\" \"{3}\"\nA4 LOGIN "
	       "x y}\r\n",
	       "COMMAND a1 NOOP\nCONTINUE \nCOMMAND A2 LOGIN {5}\r\nalice {3+}\r\na\nb\n"
	       "COMMAND A3 LOGIN \"a\\\"{5}\" \"{3}\"\nCOMMAND A4 LOGIN x y}\n");
}

static void
hostile_literals_are_answered_with_bad_and_the_reader_stays_in_step(void **state)
{
	(void)state;
	EXPECT(imap_reader_limits_gate(), true,
	       "a LOGIN {400000000}\r\nb LOGIN {-1}\r\nc LOGIN {}\r\nd LOGIN {4097+}x\r\ne LOGIN "
	       "{99999999999999999999}\r\nf LOGIN ~{3}\r\ng NOOP\r\n",
	       "BAD a\nBAD b\nBAD c\nCOMMAND d LOGIN {4097+}x\nBAD e\nBAD f\nCOMMAND g NOOP\n");
	/* A value of metadata is any octets (RFC 5464). */
	EXPECT(imap_reader_limits_gate(), true, "a setmetadata x (/y ~{3+}\r\na\r\n)\r\nb NOOP\r\n",
	       "COMMAND a setmetadata x (/y ~{3+}\r\na\r\n)\nCOMMAND b NOOP\n");
	EXPECT(imap_reader_limits_gate(), true, "a LOGIN {400000000+}\r\nb NOOP\r\n",
	       "BYE Literal too large\n");
	/* Not waiting, too large, but little: read and thrown away. */
	struct imap_reader_limits small = {.command_max = 40,
					   .literal_max = 4,
					   .message_max = 0,
					   .line_discard_max = 50,
					   .discard_max = 50,
					   .errors_max = 9};
	EXPECT(small, true, "a LOGIN {7+}\r\nb NOOP\n {2+}\r\n\r\n x\r\nc NOOP\r\n",
	       "BAD a\nCOMMAND c NOOP\n");
	EXPECT(small, true, "a LOGIN {51+}\r\nb NOOP\r\n", "BYE Literal too large\n");
	EXPECT(small, true, "( LOGIN {9+}\r\nb NOOP\r\n\n x\r\nc NOOP\r\n", "BAD \nCOMMAND c NOOP\n");
}

static void
a_long_annotation_is_refused_with_no_and_read_over(void **state)
{
	(void)state;
	struct imap_reader_limits session = imap_reader_limits_session(100000);
	session.errors_max = 2;
	size_t size = 20000;
	char *text = calloc(1, size + 200);
	int head = snprintf(text, 100, "a SETMETADATA x (/private/comment {%zu+}\r\n", size);
	memset(text + head, 'c', size);
	static const char behind[] = " /private/b ~{3+}\r\na\0b)\r\nb NOOP\r\n";
	memcpy(text + (size_t)head + size, behind, sizeof(behind) - 1);
	struct imap_reader r;
	imap_reader_init(&r, session);
	struct bytes input = bytes_of(text, (size_t)head + size + sizeof(behind) - 1);
	struct imap_event e = imap_reader_next(&r, &input);
	assert_int_equal(e.kind, IMAP_EVENT_BAD);
	assert_true(bytes_is(e.tag, "a"));
	assert_string_equal(e.code, "METADATA MAXSIZE 16384");
	assert_true(imap_reader_held(&r) < 1000);
	e = imap_reader_next(&r, &input);
	assert_int_equal(e.kind, IMAP_EVENT_COMMAND);
	assert_true(bytes_is(e.text, "b NOOP"));
	/* A client that waits is told at once, and as often as it likes: this is no error of syntax. */
	for (unsigned i = 0; i < 5; i++) {
		input = bytes_str("c setmetadata x (/private/b {999999}\r\n");
		e = imap_reader_next(&r, &input);
		assert_int_equal(e.kind, IMAP_EVENT_BAD);
		assert_string_equal(e.code, "METADATA MAXSIZE 16384");
	}
	input = bytes_str("d LIST x {999999}\r\n");
	e = imap_reader_next(&r, &input);
	assert_int_equal(e.kind, IMAP_EVENT_BAD);
	assert_null(e.code);
	imap_reader_clear(&r);
	free(text);
}

static void
long_lines_bare_cr_and_nul_are_bad_and_held_in_bounds(void **state)
{
	(void)state;
	struct imap_reader_limits small = {.command_max = 40,
					   .literal_max = 4,
					   .message_max = 0,
					   .line_discard_max = 100,
					   .discard_max = 100,
					   .errors_max = 9};
	EXPECT(small, true, "a 0123456789012345678901234567890123456789\r\nb NOOP\r\n",
	       "BAD a\nCOMMAND b NOOP\n");
	EXPECT(small, true, "a 0123456789012345678901234567890123456789 {5+}\r\n12\r\n5 x\r\nb NOOP\r\n",
	       "BAD a\nCOMMAND b NOOP\n");
	EXPECT(small, true, "a NO\rOP\r\nb NO\0OP\r\nc NOOP\r\r\nd NOOP\r\n",
	       "BAD a\nBAD b\nBAD c\nCOMMAND d NOOP\n");
	EXPECT(small, true, "a LOGIN \"x\r\nb NOOP\r\n", "BAD a\nCOMMAND b NOOP\n");

	char *flood = malloc(1 << 20);
	assert_non_null(flood);
	memset(flood, '(', 1 << 20);
	struct imap_reader r;
	imap_reader_init(&r, imap_reader_limits_gate());
	struct bytes input = bytes_of(flood, 1 << 20);
	struct imap_event e = imap_reader_next(&r, &input);
	assert_int_equal(e.kind, IMAP_EVENT_BYE);
	assert_true((1 << 20) - input.len <= 1 << 20);
	assert_int_equal(imap_reader_held(&r), 0);
	imap_reader_clear(&r);
	free(flood);
}

static void
too_many_errors_end_the_connection(void **state)
{
	(void)state;
	struct imap_reader_limits few = imap_reader_limits_gate();
	few.errors_max = 3;
	EXPECT(few, true, "( x\r\n( x\r\n( x\r\na NOOP\r\n", "BAD \nBAD \nBYE Too many errors\n");
}

static void
the_message_of_append_is_streamed_once_the_host_agrees(void **state)
{
	(void)state;
	struct imap_reader_limits session = imap_reader_limits_session(1000);
	EXPECT(session, true, "a APPEND {5+}\r\nINBOX (\\Seen) {10}\r\n0123\r\n6789\r\nb NOOP\r\n",
	       "APPEND a APPEND {5+}\r\nINBOX (\\Seen) {10} wait\nDATA 0123\r\n6789\nEND \nCOMMAND b NOOP\n");
	EXPECT(
	    session, true, "a append x UTF8 (~{3+}\r\nabc)\r\nb append x {0+}\r\n\r\nd NOOP\r\n",
	    "APPEND a append x UTF8 (~{3+}\nDATA abc\nEND )\nAPPEND b append x {0+}\nEND \nCOMMAND d NOOP\n");
}

static void
several_messages_are_streamed_one_after_the_other(void **state)
{
	(void)state;
	struct imap_reader_limits session = imap_reader_limits_session(1000);
	EXPECT(session, true, "a APPEND x {1+}\r\na (\\Seen) {3}\r\n\r\n\n \"{9}\" {2+}\r\n)\n\r\nd NOOP\r\n",
	       "APPEND a APPEND x {1+}\nDATA a\nMORE  (\\Seen) {3} wait\nDATA \r\n\n\nMORE  \"{9}\" "
	       "{2+}\nDATA )\n\nEND \nCOMMAND d NOOP\n");
	EXPECT(session, true, "a uid replace 4 x {1+}\r\na\r\nb REPLACE * {1+}\r\ny {2+}\r\nzz\r\n",
	       "APPEND a uid replace 4 x {1+}\nDATA a\nEND \nAPPEND b REPLACE * {1+}\r\ny {2+}\nDATA zz\nEND "
	       "\n");
	EXPECT(session, true,
	       "a APPEND x {1+}\r\na \"{2+}\r\nb APPEND x {1+}\r\na {2++}\r\nc APPEND x {1+}\r\na\rb "
	       "{2+}\r\nyz\r\nd NOOP\r\n",
	       "APPEND a APPEND x {1+}\nDATA a\nBAD a\nAPPEND b APPEND x {1+}\nDATA a\nBAD b\nAPPEND c "
	       "APPEND x {1+}\nDATA a\nBAD c\nCOMMAND d NOOP\n");
}

static void
a_refused_message_is_not_taken_for_commands(void **state)
{
	(void)state;
	struct imap_reader_limits session = imap_reader_limits_session(1000);
	EXPECT(session, false, "a APPEND x {10}\r\nb NOOP\r\n",
	       "APPEND a APPEND x {10} wait\nCOMMAND b NOOP\n");
	EXPECT(session, false, "a APPEND x {10+}\r\nc DELETE\r\n\r\nb NOOP\r\n",
	       "APPEND a APPEND x {10+}\nCOMMAND b NOOP\n");
	EXPECT(session, false, "a APPEND x {999999999+}\r\nc DELETE\r\n\r\nb NOOP\r\n",
	       "APPEND a APPEND x {999999999+}\nBYE Message too large\n");
}

static void
an_expected_line_is_no_command(void **state)
{
	(void)state;
	EXPECT(imap_reader_limits_gate(), true, "a AUTHENTICATE PLAIN\r\nAGEAYg== {3+}\r\nb NOOP\r\n",
	       "COMMAND a AUTHENTICATE PLAIN\nLINE AGEAYg== {3+}\nCOMMAND b NOOP\n");
	EXPECT(imap_reader_limits_gate(), true,
	       "a AUTHENTICATE PLAIN\r\n012345678901234567890 {3+}\r\nb NOOP\r\n",
	       "COMMAND a AUTHENTICATE PLAIN\nBAD \nCOMMAND b NOOP\n");
}

static void
octets_of_a_literal_are_no_literal_marker(void **state)
{
	(void)state;
	struct imap_reader_limits gate = imap_reader_limits_gate();
	struct imap_reader_limits session = imap_reader_limits_session(100);
	/* At a command's end, the octets of each kind. */
	EXPECT(
	    gate, true,
	    "a LOGIN x {3+}\r\nab}\r\nb LOGIN x {3}\r\n{5}\r\nc LOGIN {4+}\r\n{5+} {2}\r\n{}\r\nd NOOP\r\n",
	    "COMMAND a LOGIN x {3+}\r\nab}\nCONTINUE \nCOMMAND b LOGIN x {3}\r\n{5}\n"
	    "CONTINUE \nCOMMAND c LOGIN {4+}\r\n{5+} {2}\r\n{}\nCOMMAND d NOOP\n");
	EXPECT(session, true, "a SEARCH SUBJECT {3+}\r\n{5}\r\ny NOOP\r\nb SELECT {2+}\r\nx}\r\n",
	       "COMMAND a SEARCH SUBJECT {3+}\r\n{5}\nCOMMAND y NOOP\nCOMMAND b SELECT {2+}\r\nx}\n");
	EXPECT(session, true, "a SETMETADATA x (/y ~{4+}\r\n~{2} /z {1+}\r\n}\r\nb NOOP\r\n",
	       "COMMAND a SETMETADATA x (/y ~{4+}\r\n~{2} /z {1+}\r\n}\nCOMMAND b NOOP\n");
	/* What stands partly in the literal, partly behind, is none either; what stands behind it is one. */
	EXPECT(gate, true, "a LOGIN {1+}\r\n{3}\r\nb LOGIN {2+}\r\n{33+}\r\nc LOGIN {3+}\r\n{9}{1+}\r\nx\r\n",
	       "COMMAND a LOGIN {1+}\r\n{3}\nCOMMAND b LOGIN {2+}\r\n{33+}\n"
	       "COMMAND c LOGIN {3+}\r\n{9}{1+}\r\nx\n");
	EXPECT(gate, true,
	       "a LOGIN {0+}\r\n\r\nb LOGIN {3+}\r\n~{1{0+}\r\n}\r\nc LOGIN x {2+}\r\n\r\n\r\nd LOGIN "
	       "{1+}\r\n~{1+}\r\nx\r\n",
	       "COMMAND a LOGIN {0+}\r\n\nCOMMAND b LOGIN {3+}\r\n~{1{0+}\r\n}\n"
	       "COMMAND c LOGIN x {2+}\r\n\r\n\nCOMMAND d LOGIN {1+}\r\n~{1+}\r\nx\n");
	/* An APPEND's name, its messages and what stands behind them. */
	EXPECT(session, true,
	       "a APPEND {4+}\r\n{5}} {3+}\r\n{2} {4}\r\n{2+}\r\nb APPEND x {3}\r\n{9}\r\nc NOOP\r\n",
	       "APPEND a APPEND {4+}\r\n{5}} {3+}\nDATA {2}\nMORE  {4} wait\nDATA {2+}\nEND \n"
	       "APPEND b APPEND x {3} wait\nDATA {9}\nEND \nCOMMAND c NOOP\n");
	EXPECT(session, false, "a APPEND {2+}\r\nx} {4+}\r\n{99} {4+}\r\n{88}\r\nb NOOP\r\n",
	       "APPEND a APPEND {2+}\r\nx} {4+}\nCOMMAND b NOOP\n");
	/* What is thrown away: a NUL or too much behind a literal, a literal too large behind another. */
	EXPECT(gate, true, "a LOGIN {5+}\r\n{999+\0}\r\nb NOOP\r\n", "BAD a\nCOMMAND b NOOP\n");
	EXPECT(gate, true, "a LOGIN {5+}\r\nx{30+\r}\r\nb NOOP\r\nc LOGIN {5+}\r\n{900+\r\rb}\r\nd NOOP\r\n",
	       "BAD a\nCOMMAND b NOOP\nBAD c\nCOMMAND d NOOP\n");
	struct imap_reader_limits small = {.command_max = 40,
					   .literal_max = 6,
					   .message_max = 0,
					   .line_discard_max = 90,
					   .discard_max = 90,
					   .errors_max = 9};
	EXPECT(small, true, "a LOGIN {6+}\r\n{333+} {8+}\r\n {777+} x\r\nb NOOP\r\n",
	       "BAD a\nCOMMAND b NOOP\n");
	EXPECT(
	    small, true,
	    "a LOGIN {8+}\r\n {777+} \r\nb LOGIN {8+}\r\n1234{20+\r\nc LOGIN {7+}\r\n{88888+}\r\nd NOOP\r\n",
	    "BAD a\nBAD b\nBAD c\nCOMMAND d NOOP\n");
}

static void
a_line_without_end_ends_the_connection(void **state)
{
	(void)state;
	static const char *const starts[] = {"a SEARCH ", "a APPEND x {3+}\r\nabc", "a LOGIN ~{3+}\r\nabc",
					     "a\rb"};
	static uint8_t piece[16 * 1024];
	memset(piece, 'x', sizeof(piece));
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct imap_reader r;
		imap_reader_init(&r, imap_reader_limits_session((uint64_t)100 << 20));
		struct bytes input = bytes_str(starts[i]);
		size_t sent = 0;
		struct imap_event e = {.kind = IMAP_EVENT_NONE};
		while (e.kind != IMAP_EVENT_BYE && sent < (1 << 20)) {
			e = imap_reader_next(&r, &input);
			if (e.kind == IMAP_EVENT_APPEND) {
				imap_reader_accept(&r);
			} else if (e.kind == IMAP_EVENT_NONE) {
				input = bytes_of(piece, sizeof(piece));
				sent += sizeof(piece);
			}
		}
		assert_int_equal(e.kind, IMAP_EVENT_BYE);
		assert_in_range(sent, IMAP_SESSION_COMMAND_MAX, 4 * IMAP_SESSION_COMMAND_MAX);
		imap_reader_clear(&r);
	}
}

static void
nothing_is_held_between_commands(void **state)
{
	(void)state;
	struct imap_reader r;
	imap_reader_init(&r, imap_reader_limits_gate());
	struct bytes input = bytes_str("a LOGIN b c\r\n");
	assert_int_equal(imap_reader_next(&r, &input).kind, IMAP_EVENT_COMMAND);
	assert_true(imap_reader_held(&r) > 0);
	assert_int_equal(imap_reader_next(&r, &input).kind, IMAP_EVENT_NONE);
	assert_int_equal(imap_reader_held(&r), 0);
	imap_reader_clear(&r);
}

static void
tags_follow_the_grammar(void **state)
{
	(void)state;
	assert_true(imap_tag_valid(bytes_str("A001")));
	assert_true(imap_tag_valid(bytes_str("a.b]c")));
	static const char *const wrong[] = {"",   "+",  "a+",  "*",        "a b", "a(",
					    "a{", "\"", "a\\", "\xc3\xa9", "%"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_false(imap_tag_valid(bytes_str(wrong[i])));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(commands_come_out_whole_at_every_split),
	    cmocka_unit_test(hostile_literals_are_answered_with_bad_and_the_reader_stays_in_step),
	    cmocka_unit_test(a_long_annotation_is_refused_with_no_and_read_over),
	    cmocka_unit_test(long_lines_bare_cr_and_nul_are_bad_and_held_in_bounds),
	    cmocka_unit_test(too_many_errors_end_the_connection),
	    cmocka_unit_test(the_message_of_append_is_streamed_once_the_host_agrees),
	    cmocka_unit_test(several_messages_are_streamed_one_after_the_other),
	    cmocka_unit_test(a_refused_message_is_not_taken_for_commands),
	    cmocka_unit_test(an_expected_line_is_no_command),
	    cmocka_unit_test(octets_of_a_literal_are_no_literal_marker),
	    cmocka_unit_test(a_line_without_end_ends_the_connection),
	    cmocka_unit_test(nothing_is_held_between_commands),
	    cmocka_unit_test(tags_follow_the_grammar),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
