/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/preview.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The preview of a whole message; "(none)" without a text part. */
static void
shows(const char *message, const char *want)
{
	struct arena a;
	struct mail_structure s;
	struct buf out = BUF_INIT(MAIL_PREVIEW_MAX);
	uint32_t at = 0;
	arena_init(&a, MAIL_PARSE_MEMORY);
	assert_int_equal(mail_parse(&a, bytes_str(message), &s), ERR_OK);
	if (mail_preview_part(&s, &at) == ERR_OK) {
		const struct mail_part *p = &s.parts[at];
		assert_int_equal(
		    mail_preview(p, bytes_slice(bytes_str(message), p->body_at, p->body_len), &out), ERR_OK);
	} else {
		assert_int_equal(buf_append_str(&out, "(none)"), ERR_OK);
	}
	if (!bytes_is(buf_bytes(&out), want)) {
		fail_msg("\"%.*s\", not \"%s\"", (int)out.len, (const char *)out.ptr, want);
	}
	buf_clear(&out);
	arena_clear(&a);
}

#define PLAIN "Content-Type: text/plain; charset=utf-8\r\n\r\n"
#define HTML "Content-Type: text/html; charset=utf-8\r\n\r\n"

static void
blanks_collapse_and_quotes_are_left_out(void **state)
{
	(void)state;
	shows(PLAIN "\r\n  Hello,\r\n\r\n> what you said\r\n\tit is  "
		    "so.\xc2\xa0\xe2\x80\x8b\xe2\x80\xae!\r\n\x01\x02",
	      "Hello, it is so. !");
	shows("\r\nno header\r\n", "no header");
	shows(PLAIN, "(none)");
	shows(PLAIN "> all of it\r\n> quoted\r\n", "");
}

static void
transfer_encoding_and_charset_are_undone(void **state)
{
	(void)state;
	shows("Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: "
	      "quoted-printable\r\n\r\n=\r\ncaf=E9 cr=E8me\r\n",
	      "caf\xc3\xa9 cr\xc3\xa8me");
	shows("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
	      "base64\r\n\r\n4oKsIDUgb25seQ==\r\n",
	      "\xe2\x82\xac 5 only");
	shows("Content-Type: text/plain; charset=no-such\r\n\r\nas it is\r\n", "as it is");
}

static void
of_html_remains_what_is_seen(void **state)
{
	(void)state;
	shows(HTML "<!DOCTYPE html><html><head><title>T</title><style>p > a { x: '</p>' "
		   "}</STYLE></head><body><!-- <p>no --><p>One"
		   "<br>two<b>th</b>ree &amp; 5 &lt; 6 &#8364;&#x20AC; &zwnj;&nbsp;&unknown; a<b</p><img "
		   "alt=\"a>b\" src=x><script>y()</script>end",
	      "One two"
	      "three & 5 < 6 \xe2\x82\xac\xe2\x82\xac &unknown; a end");
	shows(HTML "<p title=\"never closed>text", "text");
	shows(HTML "5 < 6 and 7 <", "5 < 6 and 7 <");
	shows(HTML "&#0;&#xD800;&#99999999;&#;&", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd&#;&");
	shows(HTML "<script>never closed", "");
}

static void
the_text_part_is_found(void **state)
{
	(void)state;
	shows("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
	      "text/plain\r\nContent-Disposition: attachment\r\n\r\nlog\r\n"
	      "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n" HTML
	      "<p>html\r\n--c\r\n" PLAIN "plain\r\n--c--\r\n--b--\r\n",
	      "plain");
	shows("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" HTML "<p>only this\r\n--b--\r\n",
	      "only this");
	shows("Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n", "(none)");
}

static void
it_has_at_most_200_characters_and_ends_with_a_whole_one(void **state)
{
	(void)state;
	static char message[100000];
	static char want[2000];
	size_t n = (size_t)snprintf(message, sizeof(message), "%s", PLAIN);
	for (size_t i = 0; i < 30000; i++) {
		memcpy(message + n, "\xe2\x82\xac", 3);
		n += 3;
	}
	message[n] = 0;
	for (size_t i = 0; i < MAIL_PREVIEW_CHARACTERS; i++) {
		memcpy(want + 3 * i, "\xe2\x82\xac", 3);
	}
	shows(message, want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blanks_collapse_and_quotes_are_left_out),
	    cmocka_unit_test(transfer_encoding_and_charset_are_undone),
	    cmocka_unit_test(of_html_remains_what_is_seen),
	    cmocka_unit_test(the_text_part_is_found),
	    cmocka_unit_test(it_has_at_most_200_characters_and_ends_with_a_whole_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
