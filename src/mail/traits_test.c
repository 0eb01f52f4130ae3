/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/traits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { OCTETS = 256 };

/* What members' tables hold: FNV-1a over the kind and the word in small letters. It may never change. */
static uint32_t
hash(const char *kind_and_word)
{
	uint32_t h = 2166136261U;
	for (const char *c = kind_and_word; *c != '\0'; c++) {
		h = (h ^ (uint8_t)*c) * 16777619U;
	}
	return h;
}

static size_t
traits_of(struct bytes message, uint32_t ret[MAIL_TRAITS_MAX])
{
	struct arena a;
	struct mail_structure s;
	size_t count = 0;
	arena_init(&a, MAIL_PARSE_MEMORY);
	assert_int_equal(mail_parse(&a, message, &s), ERR_OK);
	assert_int_equal(mail_traits(&s, message, ret, &count), ERR_OK);
	arena_clear(&a);
	return count;
}

static void
words_hosts_and_domains_in_their_order(void **state)
{
	uint32_t is[MAIL_TRAITS_MAX];
	static const char *const want[] = {
	    "fother.example", "swin",  "s$100", "sit's", "hwww.shop.example", "wwin", "wit's",
	    "wcaf\xc3\xa9",   "whttp", "wwww",  "wshop", "wexample",          "wend"};
	(void)state;
	size_t n = traits_of(
	    BYTES_LIT("From: A <a@Other.example>\r\nSubject: WIN $100 it's\r\n"
		      "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		      "Win, it's a caf\xc3\xa9 -- http://www.Shop.example/ "
		      "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop win WIN end"),
	    is);
	assert_int_equal(n, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(is[i], hash(want[i]));
	}
}

static void
every_octet_is_part_of_a_word_or_parts_two(void **state)
{
	(void)state;
	for (unsigned c = 1; c < OCTETS; c++) {
		char message[200];
		uint32_t is[MAIL_TRAITS_MAX];
		bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			      c >= 128 || c == '$' || c == '\'';
		int n = snprintf(
		    message, sizeof(message),
		    "Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nabc%cdef", (int)c);
		assert_int_equal(traits_of(bytes_of(message, (size_t)n), is), letter ? 1 : 2);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_hosts_and_domains_in_their_order),
	    cmocka_unit_test(every_octet_is_part_of_a_word_or_parts_two),
	};
	return cmocka_run_group_tests_name("traits", tests, NULL, NULL);
}
