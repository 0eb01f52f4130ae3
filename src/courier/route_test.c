/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Routes, with a scripted DNS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "courier/route.h"

struct entry {
	const char *name;
	enum route_type type;
	enum err error;
	bool no_name;
	struct buf rdata;
};

struct dns {
	struct entry entries[64];
	size_t count;
	size_t asked;
	uint32_t next_random;
	struct route_host host;
};

static enum err
resolve(void *ctx, const char *name, enum route_type type, struct route_answer *ret)
{
	struct dns *d = ctx;
	d->asked++;
	bool known = false;
	for (size_t i = 0; i < d->count; i++) {
		struct entry *e = &d->entries[i];
		if (strcmp(e->name, name) == 0) {
			known = true;
			if (e->type == type) {
				*ret = (struct route_answer){.no_name = e->no_name,
							     .rdata = buf_bytes(&e->rdata)};
				return e->error;
			}
		}
	}
	*ret = (struct route_answer){.no_name = !known, .rdata = BYTES_EMPTY};
	return ERR_OK;
}

static uint32_t
next_random(void *ctx, uint32_t bound)
{
	struct dns *d = ctx;
	return d->next_random % bound;
}

static void
begin(struct dns *d)
{
	memset(d, 0, sizeof(*d));
	d->host = (struct route_host){
	    .resolve = resolve, .random = next_random, .ctx = d, .hostname = "mail.house.test"};
}

static void
end(struct dns *d)
{
	for (size_t i = 0; i < d->count; i++) {
		buf_clear(&d->entries[i].rdata);
	}
}

static struct entry *
entry(struct dns *d, const char *name, enum route_type type)
{
	for (size_t i = 0; i < d->count; i++) {
		if (strcmp(d->entries[i].name, name) == 0 && d->entries[i].type == type) {
			return &d->entries[i];
		}
	}
	struct entry *e = &d->entries[d->count++];
	*e = (struct entry){.name = name, .type = type, .rdata = BUF_INIT(65536)};
	return e;
}

static void
put(struct dns *d, const char *name, enum route_type type, const void *octets, size_t n)
{
	struct wire_writer w;
	wire_writer_init(&w, &entry(d, name, type)->rdata);
	wire_put_bytes(&w, bytes_of(octets, n));
	assert_int_equal(wire_done(&w), ERR_OK);
}

static void
put_mx(struct dns *d, const char *name, unsigned preference, const char *host)
{
	struct buf rdata = BUF_INIT(512);
	const char *label = host;
	assert_int_equal(buf_append_byte(&rdata, (uint8_t)(preference >> 8)), ERR_OK);
	assert_int_equal(buf_append_byte(&rdata, (uint8_t)preference), ERR_OK);
	while (*label != '\0') {
		size_t n = strcspn(label, ".");
		assert_int_equal(buf_append_byte(&rdata, (uint8_t)n), ERR_OK);
		assert_int_equal(buf_append(&rdata, bytes_of(label, n)), ERR_OK);
		label += n + (label[n] == '.' ? 1 : 0);
	}
	assert_int_equal(buf_append_byte(&rdata, 0), ERR_OK);
	put(d, name, ROUTE_MX, rdata.ptr, rdata.len);
	buf_clear(&rdata);
}

static void
put_a(struct dns *d, const char *name, uint8_t first, uint8_t last)
{
	const uint8_t a[4] = {first, 0, 2, last};
	put(d, name, ROUTE_A, a, sizeof(a));
}

static void
put_aaaa(struct dns *d, const char *name, uint8_t last)
{
	uint8_t a[16] = {0x20, 1, 0xd, 0xb8};
	a[15] = last;
	put(d, name, ROUTE_AAAA, a, sizeof(a));
}

static void
fails(struct dns *d, const char *name, enum route_type type, enum err e)
{
	entry(d, name, type)->error = e;
}

/* "mx1/1 mx2/6:2": host and last octet, IPv6 marked. */
static void
expect_targets(struct dns *d, const char *domain, const char *expected)
{
	struct route route;
	struct smtp_result why;
	char text[2048] = "";
	size_t at = 0;
	assert_int_equal(route_find(&d->host, bytes_str(domain), &route, &why), ERR_OK);
	for (size_t i = 0; i < route.count; i++) {
		const struct route_target *t = &route.targets[i];
		bool v6 = t->address[0] != 0;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s/%s%u", i > 0 ? " " : "", t->name,
				       v6 ? "6:" : "", (unsigned)t->address[15]);
	}
	assert_string_equal(text, expected);
}

static void
expect_none(struct dns *d, const char *domain, enum err expected, const char *status)
{
	struct route route;
	struct smtp_result why;
	assert_int_equal(route_find(&d->host, bytes_str(domain), &route, &why), expected);
	assert_string_equal(why.status, status);
	assert_int_equal(why.code / 100, expected == ERR_NOT_FOUND ? 5 : 4);
}

static void
hosts_come_by_preference_and_ipv6_before_ipv4(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put_mx(&d, "far.test", 20, "b.far.test");
	put_mx(&d, "far.test", 5, "A.far.test");
	put_a(&d, "a.far.test", 192, 1);
	put_aaaa(&d, "a.far.test", 2);
	put_a(&d, "b.far.test", 192, 3);
	expect_targets(&d, "Far.TEST", "a.far.test/6:2 a.far.test/1 b.far.test/3");
	end(&d);
}

static void
equal_preferences_come_in_random_order(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put_mx(&d, "far.test", 5, "a.test");
	put_mx(&d, "far.test", 5, "b.test");
	put_a(&d, "a.test", 192, 1);
	put_a(&d, "b.test", 192, 2);
	d.next_random = 0;
	expect_targets(&d, "far.test", "b.test/2 a.test/1");
	d.next_random = 1;
	expect_targets(&d, "far.test", "a.test/1 b.test/2");
	end(&d);
}

static void
a_null_mx_takes_no_mail(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put_mx(&d, "silent.test", 0, "");
	put_a(&d, "silent.test", 192, 1);
	expect_none(&d, "silent.test", ERR_NOT_FOUND, "5.1.10");
	/* Beside others it means nothing. */
	put_mx(&d, "silent.test", 10, "a.test");
	put_a(&d, "a.test", 192, 2);
	expect_targets(&d, "silent.test", "a.test/2");
	end(&d);
}

static void
without_mx_the_domain_is_its_own_server(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put_a(&d, "plain.test", 192, 1);
	expect_targets(&d, "plain.test", "plain.test/1");
	end(&d);
}

static void
what_does_not_exist_fails_for_good(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	expect_none(&d, "nowhere.test", ERR_NOT_FOUND, "5.1.2");
	expect_none(&d, "no..name", ERR_NOT_FOUND, "5.1.2");
	expect_none(&d,
		    "b\xc3\xbc"
		    "cher.test",
		    ERR_NOT_FOUND, "5.1.2");
	entry(&d, "empty.test", ROUTE_MX);
	expect_none(&d, "empty.test", ERR_NOT_FOUND, "5.4.4");
	put_mx(&d, "dangling.test", 10, "gone.test");
	expect_none(&d, "dangling.test", ERR_NOT_FOUND, "5.4.4");
	end(&d);
}

static void
names_that_cannot_be_asked_for_never_are(void **state)
{
	(void)state;
	struct dns d;
	char label[80];
	begin(&d);
	memset(label, 'a', sizeof(label));
	(void)snprintf(label + 64, sizeof(label) - 64, ".test");
	expect_none(&d, label, ERR_NOT_FOUND, "5.1.2");
	expect_none(&d, ".test", ERR_NOT_FOUND, "5.1.2");
	expect_none(&d, "test.", ERR_NOT_FOUND, "5.1.2");
	assert_int_equal(d.asked, 0);
	end(&d);
}

static void
what_is_not_answered_is_tried_again(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	fails(&d, "slow.test", ROUTE_MX, ERR_TIMEOUT);
	expect_none(&d, "slow.test", ERR_AGAIN, "4.4.3");
	fails(&d, "forged.test", ROUTE_MX, ERR_AUTH);
	expect_none(&d, "forged.test", ERR_AGAIN, "4.7.5");
	/* An address that is missing is no proof that there is none. */
	put_mx(&d, "half.test", 10, "a.test");
	put_mx(&d, "half.test", 20, "gone.test");
	fails(&d, "a.test", ROUTE_A, ERR_AGAIN);
	expect_none(&d, "half.test", ERR_AGAIN, "4.4.3");
	end(&d);
}

static void
a_host_that_fails_leaves_the_others(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put_mx(&d, "far.test", 10, "a.test");
	put_mx(&d, "far.test", 20, "b.test");
	fails(&d, "a.test", ROUTE_A, ERR_AGAIN);
	fails(&d, "a.test", ROUTE_AAAA, ERR_AGAIN);
	put_a(&d, "b.test", 192, 2);
	expect_targets(&d, "far.test", "b.test/2");
	end(&d);
}

static void
a_list_that_names_us_is_cut_before_us(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put_mx(&d, "back.test", 10, "a.test");
	put_mx(&d, "back.test", 20, "b.test");
	put_mx(&d, "back.test", 20, "MAIL.house.test");
	put_mx(&d, "back.test", 30, "c.test");
	put_a(&d, "a.test", 192, 1);
	put_a(&d, "b.test", 192, 2);
	put_a(&d, "c.test", 192, 3);
	expect_targets(&d, "back.test", "a.test/1");
	put_mx(&d, "loop.test", 20, "mail.house.test");
	expect_none(&d, "loop.test", ERR_NOT_FOUND, "5.4.6");
	put_a(&d, "mail.house.test", 192, 9);
	expect_none(&d, "mail.house.test", ERR_NOT_FOUND, "5.4.6");
	end(&d);
}

static void
addresses_that_are_nobodys_are_not_tried(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put_mx(&d, "sly.test", 10, "a.test");
	put_a(&d, "a.test", 127, 1);
	put_a(&d, "a.test", 0, 0);
	put_a(&d, "a.test", 224, 1);
	expect_none(&d, "sly.test", ERR_NOT_FOUND, "5.4.4");
	expect_none(&d, "[127.0.0.1]", ERR_NOT_FOUND, "5.1.2");
	d.host.allow_loopback = true;
	expect_targets(&d, "sly.test", "a.test/1");
	end(&d);
}

static void
literals_are_connected_to_directly(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	expect_targets(&d, "[192.0.2.7]", "192.0.2.7/7");
	expect_targets(&d, "[IPv6:2001:db8::9]", "2001:db8::9/6:9");
	expect_none(&d, "[2001:db8::9]", ERR_NOT_FOUND, "5.1.2");
	expect_none(&d, "[IPv6:192.0.2.7]", ERR_NOT_FOUND, "5.1.2");
	expect_none(&d, "[192.0.2.7", ERR_NOT_FOUND, "5.1.2");
	assert_int_equal(d.asked, 0);
	end(&d);
}

static void
a_hostile_answer_costs_a_bounded_number_of_questions(void **state)
{
	(void)state;
	static char names[60][16];
	struct dns d;
	struct route route;
	struct smtp_result why;
	begin(&d);
	for (unsigned i = 0; i < 60; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "h%u.test", i);
		put_mx(&d, "many.test", i, names[i]);
	}
	for (uint8_t i = 0; i < 60; i++) {
		put_a(&d, "h0.test", 192, i);
	}
	assert_int_equal(route_find(&d.host, BYTES_LIT("many.test"), &route, &why), ERR_OK);
	assert_int_equal(route.count, ROUTE_TARGETS_MAX);
	assert_true(d.asked <= 1 + 2 * ROUTE_HOSTS_MAX);
	end(&d);
}

static void
malformed_records_are_left_out(void **state)
{
	(void)state;
	struct dns d;
	begin(&d);
	put(&d, "odd.test", ROUTE_MX, "\0\1\3a b\0", 7);
	put(&d, "odd.test", ROUTE_MX, "\0\1\77ab", 5);
	put(&d, "odd.test", ROUTE_MX, "\0", 1);
	expect_none(&d, "odd.test", ERR_NOT_FOUND, "5.4.4");
	put_mx(&d, "odd.test", 1, "a.test");
	put(&d, "a.test", ROUTE_A, "\300\0\2", 3);
	put_a(&d, "a.test", 192, 5);
	expect_targets(&d, "odd.test", "a.test/5");
	end(&d);
}

static void
a_relay_that_cannot_be_found_is_never_final(void **state)
{
	(void)state;
	struct dns d;
	struct route route;
	struct smtp_result why;
	begin(&d);
	assert_int_equal(route_find_host(&d.host, "relay.test", &route, &why), ERR_AGAIN);
	assert_int_equal(why.code, 451);
	assert_int_equal(route_find_host(&d.host, "127.0.0.1", &route, &why), ERR_OK);
	assert_int_equal(route.count, 1);
	put_a(&d, "relay.test", 192, 9);
	/* Its MX, if it has any, does not matter. */
	put_mx(&d, "relay.test", 1, "other.test");
	assert_int_equal(route_find_host(&d.host, "relay.test", &route, &why), ERR_OK);
	assert_int_equal(route.targets[0].address[15], 9);
	end(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts_come_by_preference_and_ipv6_before_ipv4),
	    cmocka_unit_test(equal_preferences_come_in_random_order),
	    cmocka_unit_test(a_null_mx_takes_no_mail),
	    cmocka_unit_test(without_mx_the_domain_is_its_own_server),
	    cmocka_unit_test(what_does_not_exist_fails_for_good),
	    cmocka_unit_test(names_that_cannot_be_asked_for_never_are),
	    cmocka_unit_test(what_is_not_answered_is_tried_again),
	    cmocka_unit_test(a_host_that_fails_leaves_the_others),
	    cmocka_unit_test(a_list_that_names_us_is_cut_before_us),
	    cmocka_unit_test(addresses_that_are_nobodys_are_not_tried),
	    cmocka_unit_test(literals_are_connected_to_directly),
	    cmocka_unit_test(a_hostile_answer_costs_a_bounded_number_of_questions),
	    cmocka_unit_test(malformed_records_are_left_out),
	    cmocka_unit_test(a_relay_that_cannot_be_found_is_never_final),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
