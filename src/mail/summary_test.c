/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/summary.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IS(view, text) assert_true(bytes_is((view), (text)))

static struct arena arena;

static int
begin(void **state)
{
	(void)state;
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	arena_clear(&arena);
	return 0;
}

static const char text[] =
    "From: A <a@b.example>\r\nTo: g: c@d;\r\nSubject: =?utf-8?q?x?=\r\nMessage-ID: <m@b>\r\n"
    "Date: Thu, 1 Jan 1970 00:00:01 -0100\r\nReferences: <r@s>\r\nContent-Type: multipart/mixed; "
    "boundary=b\r\n\r\n"
    "--b\r\nContent-Disposition: attachment; filename=f\r\nContent-Language: de, en\r\nContent-ID: "
    "<i@d>\r\n\r\nx\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ny\r\n--b--\r\n";

static void
encode(struct bytes message, struct buf *out)
{
	struct mail_structure s;
	assert_int_equal(mail_parse(&arena, message, &s), ERR_OK);
	assert_int_equal(mail_summary_encode(&s, out), ERR_OK);
}

static void
all_that_was_parsed_comes_back(void **state)
{
	(void)state;
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	struct bytes m = bytes_str(text);
	struct mail_structure a;
	struct mail_structure b;
	struct mail_envelope env;
	encode(m, &wire);
	assert_true(wire.len < 500);
	assert_int_equal(mail_parse(&arena, m, &a), ERR_OK);
	assert_int_equal(mail_summary_decode(&arena, buf_bytes(&wire), m.len, &b), ERR_OK);
	assert_int_equal(a.count, b.count);
	for (size_t i = 0; i < a.count; i++) {
		assert_int_equal(a.parts[i].kind, b.parts[i].kind);
		assert_int_equal(a.parts[i].parent, b.parts[i].parent);
		assert_int_equal(a.parts[i].first_child, b.parts[i].first_child);
		assert_int_equal(a.parts[i].next_sibling, b.parts[i].next_sibling);
		assert_int_equal(a.parts[i].header_at, b.parts[i].header_at);
		assert_int_equal(a.parts[i].body_at, b.parts[i].body_at);
		assert_int_equal(a.parts[i].body_len, b.parts[i].body_len);
		assert_int_equal(a.parts[i].body_lines, b.parts[i].body_lines);
		assert_true(bytes_equal(a.parts[i].subtype, b.parts[i].subtype));
		assert_int_equal(a.parts[i].envelope == NULL, b.parts[i].envelope == NULL);
	}
	IS(b.parts[1].disposition_params.list[0].value, "f");
	IS(b.parts[1].languages[1], "en");
	IS(b.parts[1].id, "<i@d>");
	IS(b.parts[3].envelope->subject, "in");
	assert_int_equal(mail_summary_decode_envelope(&arena, buf_bytes(&wire), &env), ERR_OK);
	IS(env.subject, "=?utf-8?q?x?=");
	IS(env.message_id, "<m@b>");
	IS(env.references.list[0], "<r@s>");
	IS(env.reply_to.list[0].domain, "b.example");
	assert_int_equal(env.to.count, 3);
	assert_int_equal(env.sent.seconds, 3601);
	assert_int_equal(env.sent.offset_minutes, -60);
	assert_null(env.in_reply_to.ptr);
	/* Its front says the same of what it has. */
	struct mail_envelope front;
	assert_int_equal(mail_summary_decode_front(buf_bytes(&wire), &front), ERR_OK);
	assert_true(bytes_equal(front.subject, env.subject) && bytes_equal(front.message_id, env.message_id));
	assert_true(bytes_equal(front.date, env.date));
	assert_null(front.in_reply_to.ptr);
	assert_true(front.has_sent && front.sent.seconds == 3601 && front.sent.offset_minutes == -60);
	assert_int_equal(front.truncated, env.truncated);
	assert_int_equal(front.to.count + front.from.count + front.references.count, 0);
	for (size_t n = 0; n < 20; n++) {
		assert_int_equal(mail_summary_decode_front(bytes_slice(buf_bytes(&wire), 0, n), &front),
				 ERR_FORMAT);
	}
	buf_clear(&wire);
}

static void
no_changed_octet_gets_a_part_out_of_its_place(void **state)
{
	(void)state;
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	struct bytes m = bytes_str(text);
	encode(m, &wire);
	for (size_t i = 0; i < wire.len; i++) {
		uint8_t was = wire.ptr[i];
		for (unsigned int bit = 0; bit < 8; bit++) {
			struct mail_structure s;
			wire.ptr[i] = (uint8_t)(was ^ 1U << bit);
			if (mail_summary_decode(&arena, buf_bytes(&wire), m.len, &s) == ERR_OK) {
				for (size_t k = 0; k < s.count; k++) {
					const struct mail_part *p = &s.parts[k];
					assert_true(p->body_at + p->body_len <= m.len);
					if (k > 0) {
						const struct mail_part *parent = &s.parts[p->parent];
						assert_true(p->header_at >= parent->body_at);
						assert_true(p->body_at + p->body_len <=
							    parent->body_at + parent->body_len);
					}
				}
			}
		}
		wire.ptr[i] = was;
		struct mail_structure s;
		assert_int_not_equal(
		    mail_summary_decode(&arena, bytes_slice(buf_bytes(&wire), 0, i), m.len, &s), ERR_OK);
	}
	buf_clear(&wire);
}

static void
another_size_version_or_rest_is_refused(void **state)
{
	(void)state;
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	struct bytes m = bytes_str(text);
	struct mail_structure s;
	encode(m, &wire);
	assert_int_equal(mail_summary_decode(&arena, buf_bytes(&wire), m.len - 1, &s), ERR_FORMAT);
	assert_int_equal(buf_append_byte(&wire, 0), ERR_OK);
	assert_int_equal(mail_summary_decode(&arena, buf_bytes(&wire), m.len, &s), ERR_FORMAT);
	buf_truncate(&wire, wire.len - 1);
	wire.ptr[0] = 2;
	assert_int_equal(mail_summary_decode(&arena, buf_bytes(&wire), m.len, &s), ERR_UNSUPPORTED);
	buf_clear(&wire);
}

static void
large_messages_are_cut_to_the_limit_and_say_so(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(8 << 20);
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	struct mail_structure s;
	assert_int_equal(buf_append_str(&m, "Subject: x\001\r\nTo: "), ERR_OK);
	for (int i = 0; i < 15000; i++) {
		assert_int_equal(buf_append_str(&m, "someone@example.org, "), ERR_OK);
	}
	assert_int_equal(
	    buf_append_str(&m, "\r\nFrom: a@b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"), ERR_OK);
	for (int i = 0; i < 9000; i++) {
		assert_int_equal(
		    buf_append_str(&m, "--b\r\nContent-Description: a part with a text\r\n\r\nx\r\n"),
		    ERR_OK);
	}
	encode(buf_bytes(&m), &wire);
	assert_true(wire.len <= MAIL_SUMMARY_MAX);
	assert_true(wire.len > MAIL_SUMMARY_MAX - 1000);
	assert_int_equal(mail_summary_decode(&arena, buf_bytes(&wire), m.len, &s), ERR_OK);
	assert_true(s.truncated);
	assert_true(s.parts[0].envelope->truncated);
	assert_int_equal(s.parts[0].envelope->from.count, 1);
	assert_true(s.parts[0].envelope->to.count > 500);
	assert_true(s.count > 500);
	/* Any smaller limit, too; what is asked for in vain is the least. */
	static const size_t limits[] = {60000, 20000, 12000, MAIL_SUMMARY_LEAST, 0};
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct mail_structure all;
		size_t most = limits[i] < MAIL_SUMMARY_LEAST ? (size_t)MAIL_SUMMARY_LEAST : limits[i];
		arena_clear(&arena);
		arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
		assert_int_equal(mail_parse(&arena, buf_bytes(&m), &all), ERR_OK);
		buf_reset(&wire);
		assert_int_equal(mail_summary_encode_within(&all, limits[i], &wire), ERR_OK);
		assert_true(wire.len <= most && wire.len > most - 1000);
		assert_int_equal(mail_summary_decode(&arena, buf_bytes(&wire), m.len, &s), ERR_OK);
		assert_true(s.truncated && s.parts[0].envelope->truncated && s.count > 10);
		assert_int_equal(s.parts[0].envelope->from.count, 1);
		assert_true(s.parts[0].envelope->to.count > 30);
	}
	buf_clear(&m);
	buf_clear(&wire);
}

static void
texts_carry_neither_line_ends_nor_nul(void **state)
{
	(void)state;
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	struct mail_envelope env;
	encode(BYTES_LIT("Subject: a\rb\0c\r\n d\r\n\r\n"), &wire);
	assert_int_equal(mail_summary_decode_envelope(&arena, buf_bytes(&wire), &env), ERR_OK);
	IS(env.subject, "a b c d");
	buf_clear(&wire);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_that_was_parsed_comes_back),
	    cmocka_unit_test(no_changed_octet_gets_a_part_out_of_its_place),
	    cmocka_unit_test(another_size_version_or_rest_is_refused),
	    cmocka_unit_test(large_messages_are_cut_to_the_limit_and_say_so),
	    cmocka_unit_test(texts_carry_neither_line_ends_nor_nul),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
