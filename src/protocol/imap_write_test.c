/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "mail/summary.h"
#include "protocol/imap_structure.h"

static struct buf out;
static struct imap_writer w;

static void
begin(bool utf8)
{
	buf_init(&out, 1 << 20);
	imap_writer_init(&w, &out, utf8);
}

static void
end(const char *expected)
{
	assert_int_equal(imap_write_done(&w), ERR_OK);
	assert_int_equal(buf_append_byte(&out, 0), ERR_OK);
	assert_string_equal((const char *)out.ptr, expected);
	buf_clear(&out);
}

static void
strings_take_the_form_that_holds_them(void **state)
{
	(void)state;
	begin(false);
	imap_write_string(&w, bytes_str("a\"b\\c"));
	imap_write_string(&w, bytes_str(""));
	imap_write_string(&w, bytes_str("a\r\nb"));
	imap_write_string(&w, bytes_str("\xc3\xa9"));
	imap_write_string(&w, bytes_of("a\0b", 3));
	imap_write_nstring(&w, BYTES_EMPTY);
	imap_write_nstring(&w, BYTES_LIT(""));
	end("\"a\\\"b\\\\c\"\"\"{4}\r\na\r\nb{2}\r\n\xc3\xa9{3}\r\na?bNIL\"\"");
	begin(true);
	imap_write_string(&w, bytes_str("\xc3\xa9"));
	imap_write_string(&w, bytes_str("\xe9"));
	end("\"\xc3\xa9\"{1}\r\n\xe9");
	begin(false);
	imap_write_astring(&w, bytes_str("INBOX"));
	imap_write_text(&w, " ");
	imap_write_astring(&w, bytes_str("a b"));
	imap_write_text(&w, " ");
	imap_write_astring(&w, bytes_str("nil"));
	imap_write_text(&w, " ");
	imap_write_mailbox(&w, bytes_str("Entw\xc3\xbcrfe/a&b"));
	end("INBOX \"a b\" \"nil\" Entw&APw-rfe/a&-b");
}

static void
times_are_written_in_their_zone(void **state)
{
	(void)state;
	static const struct {
		int64_t seconds;
		int16_t zone;
		const char *text;
	} rows[] = {
	    {760686745, -480, "\"07-Feb-1994 21:52:25 -0800\""},
	    {0, 0, "\"01-Jan-1970 00:00:00 +0000\""},
	    {951782400, 0, "\"29-Feb-2000 00:00:00 +0000\""},
	    {-1, 0, "\"31-Dec-1969 23:59:59 +0000\""},
	    {1772323199, 60, "\"01-Mar-2026 00:59:59 +0100\""},
	    {INT64_MAX, 0, "\"31-Dec-9999 00:00:00 +0000\""},
	    {INT64_MIN, -30, "\"01-Jan-0001 00:00:00 -0030\""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(false);
		imap_write_time(&w, (struct imap_time){.seconds = rows[i].seconds, .zone = rows[i].zone});
		end(rows[i].text);
	}
}

static void
responses_have_their_forms(void **state)
{
	(void)state;
	const struct bytes keywords[] = {BYTES_LIT("$Forwarded"), BYTES_LIT("no atom")};
	const struct imap_flags flags = {
	    .system = IMAP_FLAG_SEEN | IMAP_FLAG_DRAFT, .keywords = keywords, .keyword_count = 2};
	const struct imap_range ranges[] = {{2, 4}, {9, 9}};
	const struct imap_set set = {.ranges = ranges, .count = 2};
	const uint32_t numbers[] = {2, 3, 4, 9};
	const uint32_t sorted[] = {9, 2, 3, 8, 7};
	struct imap_esearch all = {
	    .tag = BYTES_LIT("A1"), .uid = true, .returns = 15, .numbers = numbers, .count = 4, .modseq = 5};
	struct imap_esearch none = {.tag = BYTES_LIT("A1"), .returns = IMAP_RETURN_COUNT, .modseq = 5};
	struct imap_esearch order = {.tag = BYTES_LIT("A1"), .numbers = sorted, .count = 5, .returns = 7};
	struct imap_esearch partial = {.tag = BYTES_LIT("A1"),
				       .numbers = sorted,
				       .count = 5,
				       .returns = IMAP_RETURN_PARTIAL,
				       .partial = {.first = 2, .last = 4}};
	begin(false);
	imap_write_flags(&w, &flags);
	imap_write_uses(&w, IMAP_USE_SENT | IMAP_USE_TRASH);
	imap_write_crlf(&w);
	imap_write_status(&w, BYTES_LIT("a"), "NO", "TRYCREATE", "No such mailbox");
	imap_write_status(&w, BYTES_EMPTY, "OK", NULL, "x");
	imap_write_untagged_number(&w, 12, "EXISTS");
	imap_write_esearch(&w, &all);
	imap_write_esearch(&w, &none);
	imap_write_esearch(&w, &order);
	imap_write_esearch(&w, &partial);
	partial.partial.from_end = true;
	imap_write_esearch(&w, &partial);
	partial.partial.last = 400;
	imap_write_esearch(&w, &partial);
	partial.partial.first = 6;
	imap_write_esearch(&w, &partial);
	imap_write_appenduid(&w, BYTES_LIT("a"), 38505, 3955, "done");
	imap_write_copyuid(&w, 1, &set, &set);
	end("(\\Seen \\Draft $Forwarded)\\Sent \\Trash\r\na NO [TRYCREATE] No such mailbox\r\n* OK x\r\n* 12 "
	    "EXISTS\r\n"
	    "* ESEARCH (TAG \"A1\") UID MIN 2 MAX 9 ALL 2:4,9 COUNT 4 MODSEQ 5\r\n"
	    "* ESEARCH (TAG \"A1\") COUNT 0\r\n"
	    "* ESEARCH (TAG \"A1\") MIN 9 MAX 7 ALL 9,2:3,8,7\r\n"
	    "* ESEARCH (TAG \"A1\") PARTIAL (2:4 2:3,8)\r\n"
	    "* ESEARCH (TAG \"A1\") PARTIAL (-2:-4 2:3,8)\r\n"
	    "* ESEARCH (TAG \"A1\") PARTIAL (-2:-400 9,2:3,8)\r\n"
	    "* ESEARCH (TAG \"A1\") PARTIAL (-6:-400 NIL)\r\n"
	    "a OK [APPENDUID 38505 3955] done\r\nCOPYUID 1 2:4,9 2:4,9");
}

static void
a_section_is_answered_under_the_name_it_was_asked_by(void **state)
{
	(void)state;
	static const char *const names[] = {"BODY[]",
					    "BODY[]<7>",
					    "BODY[1.2.HEADER]",
					    "BODY[HEADER.FIELDS (Date \"a b\")]",
					    "BODY[3.HEADER.FIELDS.NOT (X)]<0>",
					    "BODY[TEXT]",
					    "BODY[4.1.MIME]",
					    "BODY[12]",
					    "RFC822",
					    "RFC822.TEXT",
					    "RFC822.HEADER"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct arena arena;
		struct imap_command c;
		struct buf text = BUF_INIT(1000);
		arena_init(&arena, 100000);
		assert_int_equal(buf_append_str(&text, "a FETCH 1 "), ERR_OK);
		assert_int_equal(buf_append_str(&text, names[i]), ERR_OK);
		if (bytes_ends_with_nocase(buf_bytes(&text), ">")) {
			buf_truncate(&text, text.len - 1);
			assert_int_equal(buf_append_str(&text, ".10>"), ERR_OK);
		}
		assert_int_equal(imap_command_parse(&arena, buf_bytes(&text), false, &c, NULL), ERR_OK);
		begin(false);
		imap_write_section_name(&w, &c.fetch.items[0]);
		end(names[i]);
		buf_clear(&text);
		arena_clear(&arena);
	}
}

static void
a_full_buffer_is_told_once_and_can_be_undone(void **state)
{
	(void)state;
	buf_init(&out, 10);
	imap_writer_init(&w, &out, false);
	imap_write_text(&w, "1234");
	size_t mark = imap_write_mark(&w);
	imap_write_text(&w, "56789012345");
	imap_write_text(&w, "x");
	assert_int_equal(imap_write_done(&w), ERR_LIMIT);
	imap_write_undo(&w, mark);
	end("1234");
}

/* Parses a message, and passes it through the summary as the service does. */
static void
structure_of(struct arena *arena, struct bytes message, struct mail_structure *ret)
{
	struct mail_structure parsed;
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	assert_int_equal(mail_parse(arena, message, &parsed), ERR_OK);
	assert_int_equal(mail_summary_encode(&parsed, &wire), ERR_OK);
	struct bytes copy = arena_copy(arena, buf_bytes(&wire));
	assert_non_null(copy.ptr);
	assert_int_equal(mail_summary_decode(arena, copy, message.len, ret), ERR_OK);
	buf_clear(&wire);
}

static void
check_structure(const char *message, bool extended, const char *expected)
{
	struct arena arena;
	struct mail_structure s;
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
	structure_of(&arena, bytes_str(message), &s);
	begin(false);
	imap_write_structure(&w, &s, extended);
	end(expected);
	arena_clear(&arena);
}

/* The message and the answers of RFC 3501 section 8. */
static const char rfc_header[] = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
				 "From: Terry Gray <gray@cac.washington.edu>\r\n"
				 "Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
				 "To: imap@cac.washington.edu\r\n"
				 "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
				 "Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
				 "MIME-Version: 1.0\r\n"
				 "Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n"
				 "\r\n";

static void
the_example_of_the_rfc_is_answered_as_there(void **state)
{
	(void)state;
	struct arena arena;
	struct mail_structure s;
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
	structure_of(&arena, bytes_str(rfc_header), &s);
	begin(false);
	imap_write_envelope(&w, s.parts[0].envelope);
	end("(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" "
	    "\"cac.washington.edu\")) "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" "
	    "\"cac.washington.edu\")) "
	    "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL "
	    "NIL "
	    "\"<B27397-0100000@cac.washington.edu>\")");
	arena_clear(&arena);
	check_structure(rfc_header, false,
			"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7bit\" 0 0)");
}

static void
groups_in_an_envelope_have_their_marks(void **state)
{
	(void)state;
	struct arena arena;
	struct mail_structure s;
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
	structure_of(&arena, bytes_str("To: A Group: x@y.z, <u@v.w>;\r\n\r\n"), &s);
	begin(false);
	imap_write_envelope(&w, s.parts[0].envelope);
	end("(NIL NIL NIL NIL NIL ((NIL NIL \"A Group\" NIL)(NIL NIL \"x\" \"y.z\")(NIL NIL \"u\" "
	    "\"v.w\")(NIL NIL NIL "
	    "NIL)) NIL NIL NIL NIL)");
	arena_clear(&arena);
}

/* RFC 3501 section 4.3.1: octets above 127 only where their charset is told, unless the client enabled UTF-8. */
static void
utf8_in_a_header_is_told_as_such_only_to_who_enabled_it(void **state)
{
	(void)state;
	static const char message[] = "From: Zo\xc3\xab <z@x.y>\r\nSubject: \xc3\xa9t\xc3\xa9\r\n"
				      "Content-Type: text/plain; name=\"\xc3\xa9 1.txt\"\r\n"
				      "Content-Description: =?utf-8?q?a?= \xc3\xa9\r\n\r\n";
	struct arena arena;
	struct mail_structure s;
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
	structure_of(&arena, bytes_str(message), &s);
	begin(false);
	imap_write_envelope(&w, s.parts[0].envelope);
	end("(NIL \"=?UTF-8?B?w6l0w6k=?=\" ((\"=?UTF-8?B?Wm/Dqw==?=\" NIL \"z\" \"x.y\")) "
	    "((\"=?UTF-8?B?Wm/Dqw==?=\" NIL \"z\" \"x.y\")) ((\"=?UTF-8?B?Wm/Dqw==?=\" NIL \"z\" \"x.y\")) "
	    "NIL NIL NIL NIL NIL)");
	begin(true);
	imap_write_envelope(&w, s.parts[0].envelope);
	end("(NIL \"\xc3\xa9t\xc3\xa9\" ((\"Zo\xc3\xab\" NIL \"z\" \"x.y\")) ((\"Zo\xc3\xab\" NIL \"z\" "
	    "\"x.y\")) "
	    "((\"Zo\xc3\xab\" NIL \"z\" \"x.y\")) NIL NIL NIL NIL NIL)");
	arena_clear(&arena);
	/* Beside an encoded word it goes as it came, in a literal; so does what is not UTF-8. */
	check_structure(message, false,
			"(\"text\" \"plain\" (\"name*\" \"utf-8''%C3%A9%201.txt\") NIL {16}\r\n"
			"=?utf-8?q?a?= \xc3\xa9 \"7bit\" 0 0)");
	check_structure("Content-Type: text/plain; name=\"\xe9.txt\"\r\n\r\n", false,
			"(\"text\" \"plain\" (\"name\" {5}\r\n\xe9.txt) NIL NIL \"7bit\" 0 0)");
}

static const char nested[] = "Subject: out\r\n"
			     "Content-Type: multipart/mixed; boundary=AA\r\n"
			     "\r\n"
			     "--AA\r\n"
			     "Content-Type: text/plain; charset=utf-8; format=flowed\r\n"
			     "Content-Language: en, de\r\n"
			     "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n"
			     "\r\n"
			     "one\r\ntwo\r\n"
			     "--AA\r\n"
			     "Content-Type: message/rfc822\r\n"
			     "Content-Disposition: attachment; filename*=utf-8''%C3%A9.eml\r\n"
			     "\r\n"
			     "Subject: in\r\n"
			     "\r\n"
			     "body\r\n"
			     "\r\n"
			     "--AA\r\n"
			     "Content-Type: image/png; name=\"a b.png\"\r\n"
			     "Content-Transfer-Encoding: base64\r\n"
			     "Content-ID: <x@y>\r\n"
			     "Content-Location: http://x/\r\n"
			     "\r\n"
			     "AAAA\r\n"
			     "--AA--\r\n";

static void
a_nested_message_is_described_with_and_without_extensions(void **state)
{
	(void)state;
	check_structure(
	    nested, false,
	    "((\"text\" \"plain\" (\"charset\" \"utf-8\" \"format\" \"flowed\") NIL NIL \"7bit\" 8 2)"
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
	    "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 6 1) 3)"
	    "(\"image\" \"png\" (\"name\" \"a b.png\") \"<x@y>\" NIL \"base64\" 4) \"mixed\")");
	check_structure(
	    nested, true,
	    "((\"text\" \"plain\" (\"charset\" \"utf-8\" \"format\" \"flowed\") NIL NIL \"7bit\" 8 2 "
	    "\"Q2hlY2sgSW50ZWdyaXR5IQ==\" NIL (\"en\" \"de\") NIL)"
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 21 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
	    "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 6 1 NIL NIL NIL NIL) 3 NIL "
	    "(\"attachment\" (\"filename*\" \"utf-8''%C3%A9.eml\")) NIL NIL)"
	    "(\"image\" \"png\" (\"name\" \"a b.png\") \"<x@y>\" NIL \"base64\" 4 NIL NIL NIL \"http://x/\") "
	    "\"mixed\" (\"boundary\" \"AA\") NIL NIL NIL)");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings_take_the_form_that_holds_them),
	    cmocka_unit_test(times_are_written_in_their_zone),
	    cmocka_unit_test(responses_have_their_forms),
	    cmocka_unit_test(a_section_is_answered_under_the_name_it_was_asked_by),
	    cmocka_unit_test(a_full_buffer_is_told_once_and_can_be_undone),
	    cmocka_unit_test(the_example_of_the_rfc_is_answered_as_there),
	    cmocka_unit_test(utf8_in_a_header_is_told_as_such_only_to_who_enabled_it),
	    cmocka_unit_test(groups_in_an_envelope_have_their_marks),
	    cmocka_unit_test(a_nested_message_is_described_with_and_without_extensions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
