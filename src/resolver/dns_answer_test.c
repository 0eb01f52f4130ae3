/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "resolver/dns_answer.h"

/* A message under construction: header, one question, answers. */
static void
begin(struct buf *b, const char *wire_name, size_t len, uint16_t type, uint16_t answers, uint8_t rcode)
{
	struct wire_writer w;
	buf_init(b, 65536);
	wire_writer_init(&w, b);
	wire_put_u16(&w, 7);
	wire_put_u8(&w, 0x81);
	wire_put_u8(&w, (uint8_t)(0x80 | rcode));
	wire_put_u16(&w, 1);
	wire_put_u16(&w, answers);
	wire_put_u32(&w, 0);
	wire_put_fixed(&w, (const uint8_t *)wire_name, len);
	wire_put_u16(&w, type);
	wire_put_u16(&w, 1);
	assert_int_equal(wire_done(&w), ERR_OK);
}

static void
record(struct buf *b, const char *owner, size_t owner_len, uint16_t type, uint32_t ttl, const char *rdata,
       size_t rdata_len)
{
	struct wire_writer w;
	wire_writer_init(&w, b);
	wire_put_fixed(&w, (const uint8_t *)owner, owner_len);
	wire_put_u16(&w, type);
	wire_put_u16(&w, 1);
	wire_put_u32(&w, ttl);
	wire_put_u16(&w, (uint16_t)rdata_len);
	wire_put_fixed(&w, (const uint8_t *)rdata, rdata_len);
	assert_int_equal(wire_done(&w), ERR_OK);
}

#define S(text) text, sizeof(text) - 1
#define QUESTION_AT "\xc0\x0c"

static void
names_in_rdata_come_without_compression(void **state)
{
	(void)state;
	struct buf m;
	struct buf out = BUF_INIT(65536);
	struct dns_answer a;
	begin(&m, S("\3Foo\4test\0"), DNS_TYPE_MX, 2, 0);
	record(&m, S(QUESTION_AT), DNS_TYPE_MX, 300, S("\0\12\2mx" QUESTION_AT));
	record(&m, S(QUESTION_AT), DNS_TYPE_MX, 60, S("\0\24\0"));
	assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("foo.test"), DNS_TYPE_MX, &a, &out),
			 ERR_OK);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.ttl, 60);
	assert_int_equal(a.rcode, 0);
	assert_string_equal(a.canonical, "foo.test");
	assert_true(
	    bytes_equal(buf_bytes(&out), BYTES_LIT("\0\0\0\17\0\12\2mx\3foo\4test\0\0\0\0\3\0\24\0")));
	buf_clear(&m);
	buf_clear(&out);
}

static void
aliases_are_followed_to_the_records_behind_them(void **state)
{
	(void)state;
	struct buf m;
	struct buf out = BUF_INIT(65536);
	struct dns_answer a;
	begin(&m, S("\1a\4test\0"), DNS_TYPE_A, 3, 0);
	/* In an order that no server uses. */
	record(&m, S("\1c\4test\0"), DNS_TYPE_A, 5, S("\300\0\2\1"));
	record(&m, S("\1b\4test\0"), DNS_TYPE_CNAME, 9, S("\1C\4test\0"));
	record(&m, S(QUESTION_AT), DNS_TYPE_CNAME, 9, S("\1b\4test\0"));
	assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("A.test"), DNS_TYPE_A, &a, &out), ERR_OK);
	assert_int_equal(a.count, 1);
	assert_string_equal(a.canonical, "c.test");
	assert_true(bytes_equal(buf_bytes(&out), BYTES_LIT("\0\0\0\4\300\0\2\1")));
	buf_clear(&m);
	buf_clear(&out);
}

static void
an_endless_chain_of_aliases_is_refused(void **state)
{
	(void)state;
	struct buf m;
	struct buf out = BUF_INIT(65536);
	struct dns_answer a;
	begin(&m, S("\1a\4test\0"), DNS_TYPE_A, 2, 0);
	record(&m, S(QUESTION_AT), DNS_TYPE_CNAME, 9, S("\1b\4test\0"));
	record(&m, S("\1b\4test\0"), DNS_TYPE_CNAME, 9, S("\1a\4test\0"));
	assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("a.test"), DNS_TYPE_A, &a, &out),
			 ERR_LIMIT);
	assert_int_equal(out.len, 0);
	buf_clear(&m);
}

static void
records_of_other_names_and_types_are_skipped(void **state)
{
	(void)state;
	struct buf m;
	struct buf out = BUF_INIT(65536);
	struct dns_answer a;
	begin(&m, S("\1a\4test\0"), DNS_TYPE_A, 2, 3);
	record(&m, S("\1b\4test\0"), DNS_TYPE_A, 5, S("\300\0\2\1"));
	record(&m, S(QUESTION_AT), DNS_TYPE_TXT, 5, S("\300\0\2\1"));
	assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("a.test"), DNS_TYPE_A, &a, &out), ERR_OK);
	assert_int_equal(a.count, 0);
	assert_int_equal(a.rcode, 3);
	buf_clear(&m);
}

static void
an_answer_to_another_question_is_refused(void **state)
{
	(void)state;
	struct buf m;
	struct buf out = BUF_INIT(65536);
	struct dns_answer a;
	begin(&m, S("\1a\4test\0"), DNS_TYPE_A, 0, 0);
	assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("b.test"), DNS_TYPE_A, &a, &out),
			 ERR_FORMAT);
	assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("a.test"), DNS_TYPE_MX, &a, &out),
			 ERR_FORMAT);
	buf_clear(&m);
}

static void
a_pointer_to_itself_or_ahead_is_refused(void **state)
{
	(void)state;
	static const char *const rdata[] = {"\xc0\x2b", "\xc0\x40"};
	for (size_t i = 0; i < 2; i++) {
		struct buf m;
		struct buf out = BUF_INIT(65536);
		struct dns_answer a;
		begin(&m, S("\1a\4test\0"), DNS_TYPE_MX, 1, 0);
		record(&m, S(QUESTION_AT), DNS_TYPE_MX, 5, S("\0\1"));
		/* The record's length is made to cover the name that is appended. */
		m.ptr[m.len - 3] = 4;
		assert_int_equal(buf_append(&m, bytes_of(rdata[i], 2)), ERR_OK);
		assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("a.test"), DNS_TYPE_MX, &a, &out),
				 ERR_FORMAT);
		buf_clear(&m);
	}
}

static void
a_message_cut_anywhere_is_refused(void **state)
{
	(void)state;
	struct buf m;
	struct buf out = BUF_INIT(65536);
	struct dns_answer a;
	begin(&m, S("\1a\4test\0"), DNS_TYPE_MX, 1, 0);
	record(&m, S(QUESTION_AT), DNS_TYPE_MX, 300, S("\0\12\2mx" QUESTION_AT));
	for (size_t n = 0; n < m.len; n++) {
		assert_int_equal(
		    dns_answer_read(bytes_of(m.ptr, n), BYTES_LIT("a.test"), DNS_TYPE_MX, &a, &out),
		    ERR_FORMAT);
	}
	assert_int_equal(out.len, 0);
	buf_clear(&m);
}

static void
more_records_than_the_limit_are_left_out(void **state)
{
	(void)state;
	struct buf m;
	struct buf out = BUF_INIT(65536);
	struct dns_answer a;
	begin(&m, S("\1a\4test\0"), DNS_TYPE_A, 600, 0);
	for (int i = 0; i < 600; i++) {
		record(&m, S(QUESTION_AT), DNS_TYPE_A, 5, S("\300\0\2\1"));
	}
	assert_int_equal(dns_answer_read(buf_bytes(&m), BYTES_LIT("a.test"), DNS_TYPE_A, &a, &out), ERR_OK);
	assert_int_equal(a.count, DNS_ANSWERS_MAX);
	buf_clear(&m);
	buf_clear(&out);
}

static void
only_names_of_hosts_are_sound(void **state)
{
	(void)state;
	static const char *const good[] = {".", "a", "mail.example.org", "_25._tcp.mx",
					   "xn--bcher-kva.example"};
	static const char *const bad[] = {"",
					  "a..b",
					  ".a",
					  "a.",
					  "a b",
					  "a/b",
					  "a\\b",
					  ("b\xc3\xbc"
					   "cher")};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(dns_name_is_sound(bytes_str(good[i])));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(dns_name_is_sound(bytes_str(bad[i])));
	}
	char label[65];
	memset(label, 'a', sizeof(label));
	assert_true(dns_name_is_sound(bytes_of(label, 63)));
	assert_false(dns_name_is_sound(bytes_of(label, 64)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_in_rdata_come_without_compression),
	    cmocka_unit_test(aliases_are_followed_to_the_records_behind_them),
	    cmocka_unit_test(an_endless_chain_of_aliases_is_refused),
	    cmocka_unit_test(records_of_other_names_and_types_are_skipped),
	    cmocka_unit_test(an_answer_to_another_question_is_refused),
	    cmocka_unit_test(a_pointer_to_itself_or_ahead_is_refused),
	    cmocka_unit_test(a_message_cut_anywhere_is_refused),
	    cmocka_unit_test(more_records_than_the_limit_are_left_out),
	    cmocka_unit_test(only_names_of_hosts_are_sound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
