/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_search.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct imap_set nothing_saved;

static const char message[] = "Date: Tue, 3 Mar 2026 23:30:00 -0500\r\n"
			      "From: =?utf-8?Q?Zo=C3=AB_M=C3=BCller?= <zoe@example.org>\r\n"
			      "To: \"Bob, B.\" <bob@example.net>, Friends: carol@example.com;\r\n"
			      "Subject: =?utf-8?B?w4lsw6lwaGFudA==?= for lunch\r\n"
			      "Message-ID: <1@example.org>\r\n"
			      "X-Note: hidden =?iso-8859-1?Q?caf=E9?=\r\n"
			      "Content-Type: multipart/mixed; boundary=AA\r\n"
			      "\r\n"
			      "--AA\r\n"
			      "Content-Type: text/plain; charset=utf-8\r\n"
			      "Content-Transfer-Encoding: quoted-printable\r\n"
			      "\r\n"
			      "Gr=C3=BC=C3=9Fe aus K=C3=B6ln, a lo=\r\nng line\r\n"
			      "--AA\r\n"
			      "Content-Type: text/html; charset=iso-8859-7\r\n"
			      "Content-Transfer-Encoding: base64\r\n"
			      "\r\n"
			      "x+vp7/I=\r\n"
			      "--AA\r\n"
			      "Content-Type: application/octet-stream\r\n"
			      "\r\n"
			      "binaryneedle\r\n"
			      "--AA\r\n"
			      "Content-Type: message/rfc822\r\n"
			      "\r\n"
			      "Subject: inner topic\r\n"
			      "\r\n"
			      "inner text\r\n"
			      "--AA--\r\n";

enum { INTERNAL = 1772607600 }; /* 4 March 2026, 07:00 UTC */

struct world {
	struct arena arena;
	struct imap_search_message m;
	struct mail_structure structure;
	struct imap_search_text text;
	struct bytes keyword;
};

static int
start(void **state)
{
	static struct world w;
	w = (struct world){.keyword = BYTES_LIT("$Forwarded")};
	arena_init(&w.arena, MAIL_PARSE_MEMORY);
	imap_search_text_init(&w.text);
	assert_int_equal(mail_parse(&w.arena, bytes_str(message), &w.structure), ERR_OK);
	w.m = (struct imap_search_message){.sequence = 5,
					   .uid = 50,
					   .flags = IMAP_FLAG_SEEN | IMAP_FLAG_FLAGGED,
					   .keywords = &w.keyword,
					   .keyword_count = 1,
					   .size = 1000,
					   .modseq = 77,
					   .internal = {.seconds = INTERNAL, .zone = 60}};
	*state = &w;
	return 0;
}

static int
stop(void **state)
{
	struct world *w = *state;
	imap_search_text_clear(&w->text);
	arena_clear(&w->arena);
	return 0;
}

static enum imap_match
ask(struct world *w, const char *keys)
{
	struct buf text = BUF_INIT(10000);
	struct imap_command c;
	enum imap_match match = IMAP_MATCH_NO;
	assert_int_equal(buf_append_str(&text, "a SEARCH "), ERR_OK);
	assert_int_equal(buf_append_str(&text, keys), ERR_OK);
	struct bytes copy = arena_copy(&w->arena, buf_bytes(&text));
	buf_clear(&text);
	assert_int_equal(imap_command_parse(&w->arena, copy, false, &c, NULL), ERR_OK);
	assert_int_equal(imap_search_prepare(&w->arena, c.search.key, 10, 100, &nothing_saved), ERR_OK);
	assert_int_equal(imap_search_match(c.search.key, &w->m, INTERNAL + 3600, &w->text, &match), ERR_OK);
	return match;
}

struct row {
	const char *keys;
	enum imap_match match;
};

static void
check(struct world *w, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum imap_match match = ask(w, rows[i].keys);
		if (match != rows[i].match) {
			fail_msg("%s: %d", rows[i].keys, (int)match);
		}
	}
}

#define CHECK(w, rows) check((w), (rows), sizeof(rows) / sizeof((rows)[0]))

static void
flags_numbers_and_dates_need_nothing_loaded(void **state)
{
	static const struct row rows[] = {
	    {"ALL", IMAP_MATCH_YES},
	    {"SEEN", IMAP_MATCH_YES},
	    {"UNSEEN", IMAP_MATCH_NO},
	    {"NEW", IMAP_MATCH_NO},
	    {"OLD", IMAP_MATCH_YES},
	    {"FLAGGED UNDRAFT", IMAP_MATCH_YES},
	    {"KEYWORD $forwarded", IMAP_MATCH_YES},
	    {"UNKEYWORD $forwarded", IMAP_MATCH_NO},
	    {"KEYWORD x", IMAP_MATCH_NO},
	    {"LARGER 999 SMALLER 1001", IMAP_MATCH_YES},
	    {"LARGER 1000", IMAP_MATCH_NO},
	    {"UID 50", IMAP_MATCH_YES},
	    {"UID *", IMAP_MATCH_NO},
	    {"1:5", IMAP_MATCH_YES},
	    {"6:*", IMAP_MATCH_NO},
	    {"MODSEQ 77", IMAP_MATCH_YES},
	    {"MODSEQ 78", IMAP_MATCH_NO},
	    {"ON 4-Mar-2026", IMAP_MATCH_YES},
	    {"SINCE 4-Mar-2026", IMAP_MATCH_YES},
	    {"SINCE 5-Mar-2026", IMAP_MATCH_NO},
	    {"BEFORE 4-Mar-2026", IMAP_MATCH_NO},
	    {"BEFORE 5-Mar-2026", IMAP_MATCH_YES},
	    {"OLDER 3600", IMAP_MATCH_YES},
	    {"OLDER 3601", IMAP_MATCH_NO},
	    {"YOUNGER 3600", IMAP_MATCH_YES},
	    {"YOUNGER 3599", IMAP_MATCH_NO},
	    {"OR UNSEEN FLAGGED", IMAP_MATCH_YES},
	    {"NOT (SEEN FLAGGED)", IMAP_MATCH_NO},
	};
	CHECK(*state, rows);
}

static void
what_is_missing_is_asked_for_only_where_it_decides(void **state)
{
	static const struct row rows[] = {
	    {"SUBJECT x", IMAP_NEEDS_ENVELOPE},         {"UNSEEN SUBJECT x", IMAP_MATCH_NO},
	    {"OR SEEN BODY x", IMAP_MATCH_YES},         {"OR UNSEEN BODY x", IMAP_NEEDS_MESSAGE},
	    {"BODY x SUBJECT y", IMAP_NEEDS_ENVELOPE}, /* the cheaper first */
	    {"NOT HEADER X-Note x", IMAP_NEEDS_HEADER}, {"TEXT x UNSEEN", IMAP_MATCH_NO},
	    {"SENTON 3-Mar-2026", IMAP_NEEDS_ENVELOPE},
	};
	CHECK(*state, rows);
}

static void
envelope_strings_match_decoded_and_without_case(void **state)
{
	struct world *w = *state;
	w->m.envelope = w->structure.parts[0].envelope;
	static const struct row rows[] = {
	    {"SUBJECT \"\xc3\xa9l\xc3\x89phant FOR\"", IMAP_MATCH_YES},
	    {"SUBJECT elephant", IMAP_MATCH_NO},
	    {"FROM \"zo\xc3\xab m\xc3\x9cller\"", IMAP_MATCH_YES},
	    {"FROM zoe@EXAMPLE.org", IMAP_MATCH_YES},
	    {"TO carol@example.com", IMAP_MATCH_YES},
	    {"TO \"bob, b.\"", IMAP_MATCH_YES},
	    {"TO zoe", IMAP_MATCH_NO},
	    {"CC \"\"", IMAP_MATCH_NO},
	    {"TO \"\"", IMAP_MATCH_YES},
	    {"HEADER Message-Id <1@example.org>", IMAP_MATCH_YES},
	    {"HEADER mESSAGE-ID \"<1@EXAMPLE.org> \"", IMAP_MATCH_NO},
	    {"HEADER From zoe", IMAP_MATCH_YES},
	    {"HEADER Bcc \"\"", IMAP_MATCH_NO},
	    {"HEADER In-Reply-To \"\"", IMAP_MATCH_NO},
	    {"SENTON 3-Mar-2026", IMAP_MATCH_YES}, /* as the author wrote it, though it is the 4th in UTC */
	    {"SENTSINCE 4-Mar-2026", IMAP_MATCH_NO},
	    {"SENTBEFORE 4-Mar-2026", IMAP_MATCH_YES},
	    {"HEADER X-Note caf", IMAP_NEEDS_HEADER},
	};
	CHECK(w, rows);
}

static void
headers_and_bodies_match_decoded(void **state)
{
	struct world *w = *state;
	w->m.message = bytes_str(message);
	w->m.structure = &w->structure;
	static const struct row rows[] = {
	    {"HEADER X-Note \"HIDDEN CAF\xc3\x89\"", IMAP_MATCH_YES},
	    {"HEADER X-None \"\"", IMAP_MATCH_NO},
	    {"HEADER X-Note \"\"", IMAP_MATCH_YES},
	    {"BODY \"GR\xc3\x9c\xc3\x9f"
	     "E AUS K\xc3\x96LN\"",
	     IMAP_MATCH_YES},
	    {"BODY \"long line\"", IMAP_MATCH_YES},
	    /* Greek from ISO 8859-7, with a final sigma asked for as a capital. */
	    {"BODY \"\xce\x97\xce\x9b\xce\x99\xce\x9f\xce\xa3\"", IMAP_MATCH_YES},
	    {"BODY binaryneedle", IMAP_MATCH_NO},
	    {"BODY \"inner topic\"", IMAP_MATCH_YES},
	    {"BODY \"inner text\"", IMAP_MATCH_YES},
	    {"BODY lunch", IMAP_MATCH_NO},
	    {"TEXT lunch", IMAP_MATCH_YES},
	    {"TEXT \"x-note: hidden\"", IMAP_MATCH_YES},
	    {"TEXT \"long line\"", IMAP_MATCH_YES},
	    {"SUBJECT lunch", IMAP_MATCH_YES},
	    {"SENTON 3-Mar-2026", IMAP_MATCH_YES},
	};
	CHECK(w, rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(flags_numbers_and_dates_need_nothing_loaded, start, stop),
	    cmocka_unit_test_setup_teardown(what_is_missing_is_asked_for_only_where_it_decides, start, stop),
	    cmocka_unit_test_setup_teardown(envelope_strings_match_decoded_and_without_case, start, stop),
	    cmocka_unit_test_setup_teardown(headers_and_bodies_match_decoded, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
