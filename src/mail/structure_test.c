/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/structure.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IS(view, text) assert_true(bytes_is((view), (text)))

static struct arena arena;

static int
begin(void **state)
{
	(void)state;
	arena_init(&arena, MAIL_PARSE_MEMORY);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	arena_clear(&arena);
	return 0;
}

static struct mail_structure
parse(struct bytes m)
{
	struct mail_structure s;
	assert_int_equal(mail_parse(&arena, m, &s), ERR_OK);
	return s;
}

static struct bytes
body(struct bytes m, const struct mail_part *p)
{
	return bytes_slice(m, p->body_at, p->body_len);
}

static const char nested[] =
    "Subject: out\r\nContent-Type: multipart/mixed; boundary=\"o\"\r\n\r\npreamble\r\n"
    "--o\r\n\r\none\r\ntwo\r\n--o \r\nContent-Type: message/rfc822\r\n\r\n"
    "Subject: in\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
    "--i\r\n\r\nA\r\n--i\r\nContent-Type: text/html\r\n\r\nB\r\n\r\n--o\r\n"
    "Content-Type: message/rfc822\r\n\r\nSubject: plain\r\n\r\nC\r\n--o--\r\nepilogue\r\n";

static void
parts_have_exact_offsets_and_lines(void **state)
{
	(void)state;
	struct bytes m = bytes_str(nested);
	struct mail_structure s = parse(m);
	assert_int_equal(s.count, 8);
	assert_false(s.truncated);
	assert_int_equal(s.parts[0].kind, MAIL_PART_MULTIPART);
	assert_int_equal(s.parts[0].child_count, 3);
	IS(s.parts[0].envelope->subject, "out");
	IS(body(m, &s.parts[1]), "one\r\ntwo");
	assert_int_equal(s.parts[1].body_lines, 2);
	assert_int_equal(s.parts[2].kind, MAIL_PART_MESSAGE);
	IS(s.parts[3].envelope->subject, "in");
	assert_int_equal(s.parts[3].header_at, s.parts[2].body_at);
	IS(body(m, &s.parts[4]), "A");
	/* An inner multipart that is never closed ends at the outer delimiter. */
	IS(body(m, &s.parts[5]), "B\r\n");
	assert_int_equal(s.parts[5].body_lines, 1);
	IS(body(m, &s.parts[7]), "C");
	assert_int_equal(s.parts[0].body_at + s.parts[0].body_len, m.len);
}

static uint32_t
find(const struct mail_structure *s, uint32_t a, uint32_t b, uint32_t c)
{
	const uint32_t numbers[3] = {a, b, c};
	uint32_t got = MAIL_NO_PART;
	(void)!mail_part_find(s, numbers, (a > 0 ? 1U : 0U) + (b > 0 ? 1U : 0U) + (c > 0 ? 1U : 0U), &got);
	return got;
}

static void
section_numbers_find_their_parts(void **state)
{
	(void)state;
	struct mail_structure s = parse(bytes_str(nested));
	struct mail_structure plain = parse(BYTES_LIT("A: b\r\n\r\nx"));
	uint32_t root;
	assert_int_equal(find(&s, 0, 0, 0), 0);
	assert_int_equal(find(&s, 1, 0, 0), 1);
	assert_int_equal(find(&s, 2, 0, 0), 2);
	assert_int_equal(find(&s, 2, 1, 0), 4);
	assert_int_equal(find(&s, 2, 2, 0), 5);
	assert_int_equal(find(&s, 2, 3, 0), MAIL_NO_PART);
	assert_int_equal(find(&s, 3, 1, 0), 7);
	assert_int_equal(find(&s, 3, 2, 0), MAIL_NO_PART);
	assert_int_equal(find(&s, 3, 1, 1), MAIL_NO_PART);
	assert_int_equal(find(&s, 4, 0, 0), MAIL_NO_PART);
	assert_int_equal(find(&plain, 1, 0, 0), 0);
	assert_int_equal(find(&plain, 2, 0, 0), MAIL_NO_PART);
	assert_int_equal(find(&plain, 1, 1, 0), MAIL_NO_PART);
	assert_int_equal(mail_part_message(&s, (const uint32_t[]){2}, 1, &root), ERR_OK);
	assert_int_equal(root, 3);
	assert_int_equal(mail_part_message(&s, (const uint32_t[]){1}, 1, &root), ERR_NOT_FOUND);
}

static void
what_is_no_multipart_becomes_text(void **state)
{
	(void)state;
	struct mail_structure s = parse(BYTES_LIT("Content-Type: multipart/mixed\r\n\r\nx\r\n"));
	assert_int_equal(s.parts[0].kind, MAIL_PART_LEAF);
	IS(s.parts[0].type, "text");
	s = parse(BYTES_LIT("Content-Type: multipart/mixed; boundary=b\r\n\r\n--bb\r\n"));
	assert_int_equal(s.count, 1);
	IS(s.parts[0].subtype, "plain");
	s = parse(
	    BYTES_LIT("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQTog\r\n"));
	assert_int_equal(s.count, 1);
	IS(s.parts[0].type, "application");
	s = parse(BYTES_EMPTY);
	assert_int_equal(s.count, 1);
	assert_non_null(s.parts[0].envelope);
}

static void
parts_of_a_digest_are_messages(void **state)
{
	(void)state;
	struct mail_structure s =
	    parse(BYTES_LIT("Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: "
			    "x\r\n\r\ny\r\n--d\r\n--d--\r\n"));
	assert_int_equal(s.count, 5);
	assert_int_equal(s.parts[1].kind, MAIL_PART_MESSAGE);
	IS(s.parts[2].envelope->subject, "x");
	assert_int_equal(s.parts[3].kind, MAIL_PART_MESSAGE);
	assert_int_equal(s.parts[3].child_count, 1);
}

static void
limits_make_the_structure_coarser_and_lose_no_octet(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(1 << 20);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(buf_append_str(&m, "Content-Type: message/rfc822\r\n\r\n"), ERR_OK);
	}
	struct mail_structure s = parse(buf_bytes(&m));
	assert_int_equal(s.count, MAIL_MAX_DEPTH);
	assert_true(s.truncated);
	assert_int_equal(s.parts[s.count - 1].kind, MAIL_PART_LEAF);
	assert_int_equal(s.parts[s.count - 1].body_at + s.parts[s.count - 1].body_len, m.len);
	buf_reset(&m);
	assert_int_equal(buf_append_str(&m, "Content-Type: multipart/mixed; boundary=b\r\n\r\n"), ERR_OK);
	for (int i = 0; i < 10100; i++) {
		assert_int_equal(buf_append_str(&m, "--b\r\n\r\nx\r\n"), ERR_OK);
	}
	s = parse(buf_bytes(&m));
	assert_int_equal(s.count, MAIL_MAX_PARTS);
	assert_true(s.truncated);
	assert_int_equal(s.parts[s.count - 1].body_at + s.parts[s.count - 1].body_len, m.len);
	buf_clear(&m);
}

static void
envelopes_take_the_first_field_and_default_to_from(void **state)
{
	(void)state;
	struct mail_structure s =
	    parse(BYTES_LIT("From: a@b\r\nTo: c@d\r\nTo: e@f\r\nDate: Thu, 1 Jan 1970 00:00:01 +0000\r\n"
			    "Subject: one\r\n two\r\nReferences: <x@y>\r\n\r\n"));
	const struct mail_envelope *env = s.parts[0].envelope;
	IS(env->sender.list[0].local, "a");
	IS(env->reply_to.list[0].local, "a");
	assert_int_equal(env->to.count, 1);
	IS(env->to.list[0].local, "c");
	IS(env->subject, "one two");
	assert_true(env->has_sent);
	assert_int_equal(env->sent.seconds, 1);
	assert_int_equal(env->references.count, 1);
	assert_null(env->message_id.ptr);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_have_exact_offsets_and_lines),
	    cmocka_unit_test(section_numbers_find_their_parts),
	    cmocka_unit_test(what_is_no_multipart_becomes_text),
	    cmocka_unit_test(parts_of_a_digest_are_messages),
	    cmocka_unit_test(limits_make_the_structure_coarser_and_lose_no_octet),
	    cmocka_unit_test(envelopes_take_the_first_field_and_default_to_from),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
