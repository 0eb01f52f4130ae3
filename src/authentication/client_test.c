/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/client.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "authentication/play.h"

static struct play dns_records;

static struct client_verdict
check(const char *address, const char *hello)
{
	struct client_verdict v;
	struct client_input in = {.hello = bytes_str(hello),
				  .host = BYTES_LIT("mail.house.example"),
				  .domain = BYTES_LIT("house.example"),
				  .lists = BYTES_LIT("bl.example  two.example")};
	struct authentication_dns dns = play_dns(&dns_records);
	in.address[10] = in.address[11] = 0xff;
	if (inet_pton(AF_INET, address, in.address + 12) != 1) {
		assert_int_equal(inet_pton(AF_INET6, address, in.address), 1);
	}
	client_check(&in, &dns, &v);
	return v;
}

static int
begin(void **state)
{
	static char names[CLIENT_NAMES_MAX + 1][32];
	(void)state;
	play_init(&dns_records);
	struct play *p = &dns_records;
	play_add_rr(p, "10.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, "host.example.com");
	play_add_rr(p, "host.example.com", AUTHENTICATION_A, "192.0.2.10");
	play_add_rr(p, "11.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, "host.example.com");
	play_add_rr(p, "12.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, "wrong.example.com");
	play_add_rr(p, "12.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, "right.example.com");
	play_add_rr(p, "right.example.com", AUTHENTICATION_A, "192.0.2.12");
	play_add_rr(p, "six.example.com", AUTHENTICATION_AAAA, "2001:db8::1");
	play_add_rr(p, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
		    AUTHENTICATION_PTR, "six.example.com");
	play_add_rr(p, "10.2.0.192.bl.example", AUTHENTICATION_A, "127.0.0.2");
	play_add_rr(p, "10.2.0.192.two.example", AUTHENTICATION_A, "127.0.0.4");
	play_add_rr(p, "11.2.0.192.bl.example", AUTHENTICATION_A, "127.255.255.254");
	play_add_rr(p, "11.2.0.192.two.example", AUTHENTICATION_A, "203.0.113.9");
	/* The eleventh name would be right. */
	for (size_t i = 0; i <= CLIENT_NAMES_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "n%zu.example.com", i);
		play_add_rr(p, "13.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, names[i]);
	}
	play_add_rr(p, names[CLIENT_NAMES_MAX], AUTHENTICATION_A, "192.0.2.13");
	return 0;
}

static int
end(void **state)
{
	(void)state;
	play_clear(&dns_records);
	return 0;
}

static void
a_name_counts_if_it_has_the_address(void **state)
{
	(void)state;
	assert_int_equal(check("192.0.2.10", "host.example.com").reverse, CLIENT_REVERSE_CONFIRMED);
	assert_string_equal(check("192.0.2.10", "host.example.com").name, "host.example.com");
	assert_int_equal(check("192.0.2.11", "host.example.com").reverse, CLIENT_REVERSE_OTHER);
	assert_string_equal(check("192.0.2.11", "host.example.com").name, "");
	assert_int_equal(check("192.0.2.12", "host.example.com").reverse, CLIENT_REVERSE_CONFIRMED);
	assert_int_equal(check("192.0.2.99", "host.example.com").reverse, CLIENT_REVERSE_NONE);
	assert_int_equal(check("2001:db8::1", "six.example.com").reverse, CLIENT_REVERSE_CONFIRMED);
	assert_int_equal(check("2001:db8::2", "six.example.com").reverse, CLIENT_REVERSE_NONE);
}

static void
many_names_are_not_all_asked_for(void **state)
{
	(void)state;
	dns_records.questions = 0;
	assert_int_equal(check("192.0.2.13", "host.example.com").reverse, CLIENT_REVERSE_OTHER);
	assert_true(dns_records.questions <= 1 + CLIENT_NAMES_MAX + 1 + 2);
}

static void
without_an_answer_nothing_is_held_against_anybody(void **state)
{
	(void)state;
	dns_records.failure = ERR_TIMEOUT;
	struct client_verdict v = check("192.0.2.99", "nowhere.example.com");
	dns_records.failure = ERR_OK;
	assert_int_equal(v.reverse, CLIENT_REVERSE_UNKNOWN);
	assert_int_equal(v.hello, CLIENT_HELLO_NAME);
	assert_int_equal(v.lists, 0);
}

static void
a_hello_is_judged_by_what_it_says(void **state)
{
	static const struct {
		const char *address, *hello;
		enum client_hello is;
	} table[] = {
	    {"192.0.2.10", "host.example.com", CLIENT_HELLO_NAME},
	    {"192.0.2.10", "host.example.com.", CLIENT_HELLO_NAME},
	    {"192.0.2.10", "six.example.com", CLIENT_HELLO_NAME},
	    {"192.0.2.10", "nowhere.example.com", CLIENT_HELLO_LOST},
	    {"192.0.2.10", "localhost", CLIENT_HELLO_SHORT},
	    {"192.0.2.10", "DESKTOP-7", CLIENT_HELLO_SHORT},
	    {"192.0.2.10", "", CLIENT_HELLO_SHORT},
	    {"192.0.2.10", "a b.example.com", CLIENT_HELLO_SHORT},
	    {"192.0.2.10", "192.0.2.10", CLIENT_HELLO_NUMERIC},
	    {"192.0.2.10", "2001:db8::1", CLIENT_HELLO_NUMERIC},
	    {"192.0.2.10", "[192.0.2.10]", CLIENT_HELLO_LITERAL},
	    {"192.0.2.10", "[192.0.2.11]", CLIENT_HELLO_NUMERIC},
	    {"192.0.2.10", "[192.0.2.010.1]", CLIENT_HELLO_NUMERIC},
	    {"192.0.2.10", "[IPv6:2001:db8::1]", CLIENT_HELLO_NUMERIC},
	    {"2001:db8::1", "[IPv6:2001:db8::1]", CLIENT_HELLO_LITERAL},
	    {"192.0.2.10", "MAIL.house.example", CLIENT_HELLO_OURS},
	    {"192.0.2.10", "house.example", CLIENT_HELLO_OURS},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum client_hello is = check(table[i].address, table[i].hello).hello;
		if (is != table[i].is) {
			print_error("%s from %s: %d\n", table[i].hello, table[i].address, is);
		}
		assert_int_equal(is, table[i].is);
	}
	/* Where the name does not exist at all nothing of another type is asked for. */
	dns_records.questions = 0;
	(void)check("192.0.2.10", "localhost");
	unsigned without = dns_records.questions;
	dns_records.questions = 0;
	(void)check("192.0.2.10", "nowhere.example.com");
	assert_int_equal(dns_records.questions, without + 1);
}

static void
lists_count_and_what_is_no_listing_does_not(void **state)
{
	(void)state;
	assert_int_equal(check("192.0.2.10", "host.example.com").lists, 2);
	assert_int_equal(check("192.0.2.11", "host.example.com").lists, 0);
	assert_int_equal(check("2001:db8::1", "host.example.com").lists, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_counts_if_it_has_the_address),
	    cmocka_unit_test(many_names_are_not_all_asked_for),
	    cmocka_unit_test(without_an_answer_nothing_is_held_against_anybody),
	    cmocka_unit_test(a_hello_is_judged_by_what_it_says),
	    cmocka_unit_test(lists_count_and_what_is_no_listing_does_not),
	};
	return cmocka_run_group_tests_name("the client", tests, begin, end);
}
