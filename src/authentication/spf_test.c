/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/spf.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "authentication/play.h"
#include "authentication/spf_internal.h"

static enum authentication_result
check_from(struct play *p, const char *address, const char *sender)
{
	struct spf_verdict v;
	struct spf_input in = {.hello = BYTES_LIT("mail.example.com"),
			       .sender = bytes_str(sender),
			       .receiver = BYTES_LIT("mx.example.org"),
			       .allow_local_part = true};
	struct authentication_dns dns = play_dns(p);
	in.address[10] = in.address[11] = 0xff;
	if (inet_pton(AF_INET, address, in.address + 12) != 1) {
		assert_int_equal(inet_pton(AF_INET6, address, in.address), 1);
	}
	spf_check(&in, &dns, &v);
	return v.result;
}

static enum authentication_result
check(const char *record, const char *address)
{
	struct play p;
	play_init(&p);
	play_add(&p, "example.com", bytes_str(record));
	play_add_rr(&p, "example.com", AUTHENTICATION_A, "192.0.2.10");
	play_add_rr(&p, "example.com", AUTHENTICATION_A, "192.0.2.11");
	play_add_rr(&p, "example.com", AUTHENTICATION_MX, "mail-a.example.com");
	play_add_rr(&p, "example.com", AUTHENTICATION_MX, "mail-b.example.com");
	play_add_rr(&p, "mail-a.example.com", AUTHENTICATION_A, "192.0.2.129");
	play_add_rr(&p, "mail-b.example.com", AUTHENTICATION_A, "192.0.2.130");
	play_add_rr(&p, "example.com", AUTHENTICATION_AAAA, "2001:db8::10");
	play_add(&p, "fail.example", BYTES_LIT("v=spf1 -all"));
	play_add(&p, "pass.example", BYTES_LIT("v=spf1 +all"));
	play_add(&p, "soft.example", BYTES_LIT("v=spf1 ~all"));
	play_add(&p, "loop.example", BYTES_LIT("v=spf1 include:loop.example -all"));
	play_add(&p, "twice.example", BYTES_LIT("v=spf1 -all"));
	play_add(&p, "twice.example", BYTES_LIT("v=spf1 +all"));
	play_add_rr(&p, "65.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, "host.example.com");
	play_add_rr(&p, "host.example.com", AUTHENTICATION_A, "192.0.2.65");
	play_add_rr(&p, "66.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, "host.example.com");
	play_add_rr(&p, "192.0.2.65._spf.example.com", AUTHENTICATION_A, "127.0.0.2");
	play_add_rr(&p, "bob.lp._spf.example.com", AUTHENTICATION_A, "127.0.0.2");
	enum authentication_result r = check_from(&p, address, "strong-bad-bob@example.com");
	play_clear(&p);
	return r;
}

struct row {
	const char *record;
	const char *address;
	enum authentication_result result;
};

static void
records_mean_what_rfc_7208_says(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {"v=spf1 +all", "192.0.2.1", AUTHENTICATION_PASS},
	    {"v=spf1 a -all", "192.0.2.10", AUTHENTICATION_PASS},
	    {"v=spf1 a -all", "192.0.2.12", AUTHENTICATION_FAIL},
	    {"v=spf1 a/24 -all", "192.0.2.12", AUTHENTICATION_PASS},
	    {"v=spf1 a//64 -all", "2001:db8::99", AUTHENTICATION_PASS},
	    {"v=spf1 a/24//128 -all", "2001:db8::99", AUTHENTICATION_FAIL},
	    {"v=spf1 a:fail.example -all", "192.0.2.10", AUTHENTICATION_FAIL},
	    {"v=spf1 mx -all", "192.0.2.129", AUTHENTICATION_PASS},
	    {"v=spf1 mx/30 -all", "192.0.2.131", AUTHENTICATION_PASS},
	    {"v=spf1 mx -all", "192.0.2.140", AUTHENTICATION_FAIL},
	    {"v=spf1 ip4:192.0.2.128/28 ~all", "192.0.2.65", AUTHENTICATION_SOFTFAIL},
	    {"v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", AUTHENTICATION_PASS},
	    {"v=spf1 ip6:2001:db8::/32 -all", "2001:db8:1::1", AUTHENTICATION_PASS},
	    {"v=spf1 ?all", "192.0.2.1", AUTHENTICATION_NEUTRAL},
	    {"v=spf1", "192.0.2.1", AUTHENTICATION_NEUTRAL},
	    {"v=spf1 include:pass.example -all", "192.0.2.1", AUTHENTICATION_PASS},
	    {"v=spf1 include:soft.example -all", "192.0.2.1", AUTHENTICATION_FAIL},
	    {"v=spf1 include:none.example -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 include:twice.example -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 redirect=soft.example", "192.0.2.1", AUTHENTICATION_SOFTFAIL},
	    {"v=spf1 redirect=none.example", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 redirect=pass.example ?all", "192.0.2.1", AUTHENTICATION_NEUTRAL},
	    {"v=spf1 ptr -all", "192.0.2.65", AUTHENTICATION_PASS},
	    {"v=spf1 ptr -all", "192.0.2.66", AUTHENTICATION_FAIL}, /* a name that does not point back */
	    {"v=spf1 exists:%{i}._spf.%{d} -all", "192.0.2.65", AUTHENTICATION_PASS},
	    {"v=spf1 exists:%{i}._spf.%{d} -all", "192.0.2.64", AUTHENTICATION_FAIL},
	    {"v=spf1 exists:%{l1r-}.lp._spf.%{d2} -all", "192.0.2.1", AUTHENTICATION_FAIL},
	    {"v=spf1 exists:%{l1-}.lp._spf.%{d2} -all", "192.0.2.1", AUTHENTICATION_PASS},
	    {"V=SPF1 A -ALL", "192.0.2.10", AUTHENTICATION_PASS},
	    {"v=spf10 +all", "192.0.2.1", AUTHENTICATION_NONE},
	    {"spf1 +all", "192.0.2.1", AUTHENTICATION_NONE},
	    /* grammar */
	    {"v=spf1 alll", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 all:x", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 -all\tx", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 +all ip4:300.1.1.1", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 ip4:1.2.3.4/33 -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 ip4:1.2.3.4/032 -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 a:example.com:8080 -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 a:museum -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 a:111.222.33.44 -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 include -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 exists:%(ir).x.example -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 exists:%{z}.x.example -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 exists:%{i0}.x.example -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 redirect=a.example redirect=b.example", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 foo=bar =x -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 foo=bar -all", "192.0.2.1", AUTHENTICATION_FAIL},
	    /* limits */
	    {"v=spf1 include:loop.example -all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	    {"v=spf1 a:fail.example a:fail.example a:fail.example +all", "192.0.2.1",
	     AUTHENTICATION_PERMERROR},
	    {"v=spf1 a:fail.example a:fail.example +all", "192.0.2.1", AUTHENTICATION_PASS},
	    {"v=spf1 a a a a a a a a a a +all", "192.0.2.1", AUTHENTICATION_PASS},
	    {"v=spf1 a a a a a a a a a a a +all", "192.0.2.1", AUTHENTICATION_PERMERROR},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum authentication_result r = check(rows[i].record, rows[i].address);
		if (r != rows[i].result) {
			fail_msg("%s from %s: %s", rows[i].record, rows[i].address,
				 authentication_result_name(r));
		}
	}
}

/* The table of RFC 7208 section 7.4. */
static void
macros_expand_as_in_the_rfc(void **state)
{
	(void)state;
	static const struct {
		const char *text, *v4;
	} rows[] = {
	    {"%{s}", "strong-bad@email.example.com"},
	    {"%{o}", "email.example.com"},
	    {"%{d}", "email.example.com"},
	    {"%{d4}", "email.example.com"},
	    {"%{d3}", "email.example.com"},
	    {"%{d2}", "example.com"},
	    {"%{d1}", "com"},
	    {"%{dr}", "com.example.email"},
	    {"%{d2r}", "example.email"},
	    {"%{l}", "strong-bad"},
	    {"%{l-}", "strong.bad"},
	    {"%{lr}", "strong-bad"},
	    {"%{lr-}", "bad.strong"},
	    {"%{l1r-}", "strong"},
	    {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
	    {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
	    {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
	    {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
	    {"a%%b%_c%-", "a%b c%20"},
	    {"%{S}", "strong-bad%40email.example.com"},
	};
	struct arena a;
	struct spf_input in = {.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 3}};
	arena_init(&a, 1 << 20);
	struct spf_state s = {.in = &in,
			      .arena = &a,
			      .sender_local = BYTES_LIT("strong-bad"),
			      .sender_domain = BYTES_LIT("email.example.com")};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = BUF_INIT(1000);
		assert_true(spf_macro_is_sound(bytes_str(rows[i].text)));
		assert_int_equal(
		    spf_expand(&s, bytes_str(rows[i].text), BYTES_LIT("email.example.com"), &out), ERR_OK);
		if (!bytes_is(buf_bytes(&out), rows[i].v4)) {
			fail_msg("%s: %.*s", rows[i].text, (int)out.len, (const char *)out.ptr);
		}
		buf_clear(&out);
	}
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::cb01", in.address), 1);
	struct buf out = BUF_INIT(1000);
	assert_int_equal(
	    spf_expand(&s, BYTES_LIT("%{ir}.%{v}._spf.%{d2}"), BYTES_LIT("email.example.com"), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out),
			     "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf."
			     "example.com"));
	buf_clear(&out);
	arena_clear(&a);
}

/* Nobody's servers are told who is written from, unless that is allowed. */
static void
a_sender_is_not_named_in_a_question(void **state)
{
	(void)state;
	struct play p;
	struct spf_verdict v;
	play_init(&p);
	play_add(&p, "example.com", BYTES_LIT("v=spf1 exists:%{l}.users.example.com -all"));
	struct authentication_dns dns = play_dns(&p);
	struct spf_input in = {.hello = BYTES_LIT("h.example"), .sender = BYTES_LIT("bob@example.com")};
	spf_check(&in, &dns, &v);
	assert_int_equal(v.result, AUTHENTICATION_NEUTRAL);
	assert_int_equal(p.questions, 1);
	assert_true(v.withheld);
	in.allow_local_part = true;
	spf_check(&in, &dns, &v);
	assert_int_equal(v.result, AUTHENTICATION_FAIL);
	assert_false(v.withheld);
	play_clear(&p);
}

/* What of a record asks for no name still counts; what might have ended otherwise makes nobody a forger. */
static void
the_rest_of_a_record_that_names_the_sender_counts(void **state)
{
	(void)state;
	static const struct {
		const char *record;
		enum authentication_result result;
		bool withheld;
	} rows[] = {
	    {"v=spf1 exists:%{l}.x.example ip4:192.0.2.1 -all", AUTHENTICATION_PASS, true},
	    {"v=spf1 ip4:192.0.2.1 exists:%{l}.x.example -all", AUTHENTICATION_PASS, false},
	    {"v=spf1 include:%{s}.x.example include:named.example ~all", AUTHENTICATION_PASS, true},
	    {"v=spf1 exists:%{L}.x.example -all", AUTHENTICATION_NEUTRAL, true},
	    {"v=spf1 exists:%{l}.x.example ~all", AUTHENTICATION_NEUTRAL, true},
	    {"v=spf1 exists:%{l}.x.example -ip4:192.0.2.1 +all", AUTHENTICATION_NEUTRAL, true},
	    {"v=spf1 redirect=%{l}.x.example", AUTHENTICATION_NEUTRAL, true},
	    {"v=spf1 include:inner.example -all", AUTHENTICATION_NEUTRAL, true},
	    /* It might have said no before the pass: that is no pass. */
	    {"v=spf1 -exists:%{l}.x.example +all", AUTHENTICATION_NEUTRAL, true},
	    {"v=spf1 -include:inner.example +all", AUTHENTICATION_NEUTRAL, true},
	    {"v=spf1 include:refuser.example -all", AUTHENTICATION_NEUTRAL, true},
	    {"v=spf1 exists:%{l}.x.example include:nowhere.example -all", AUTHENTICATION_PERMERROR, true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct play p;
		struct spf_verdict v;
		play_init(&p);
		play_add(&p, "example.com", bytes_str(rows[i].record));
		play_add(&p, "named.example",
			 BYTES_LIT("v=spf1 exists:%{l}.x.example ip4:192.0.2.0/24 -all"));
		play_add(&p, "inner.example", BYTES_LIT("v=spf1 exists:%{l}.x.example -all"));
		play_add(&p, "refuser.example", BYTES_LIT("v=spf1 ~exists:%{l}.x.example +all"));
		struct authentication_dns dns = play_dns(&p);
		struct spf_input in = {.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1},
				       .hello = BYTES_LIT("h.example"),
				       .sender = BYTES_LIT("bob@example.com")};
		spf_check(&in, &dns, &v);
		if (v.result != rows[i].result || v.withheld != rows[i].withheld) {
			fail_msg("%s: %s", rows[i].record, authentication_result_name(v.result));
		}
		play_clear(&p);
	}
}

/* A record full of macros and includes asks a bounded number of questions. */
static void
a_bomb_is_bounded(void **state)
{
	(void)state;
	struct play p;
	struct buf record = BUF_INIT(8192);
	play_init(&p);
	assert_int_equal(buf_append_str(&record, "v=spf1 exists:"), ERR_OK);
	for (size_t i = 0; i < 300; i++) {
		assert_int_equal(buf_append_str(&record, "%{p}."), ERR_OK);
	}
	assert_int_equal(buf_append_str(&record, "example.com mx ptr include:example.com -all"), ERR_OK);
	play_add(&p, "example.com", buf_bytes(&record));
	for (size_t i = 0; i < 30; i++) {
		play_add_rr(&p, "1.2.0.192.in-addr.arpa", AUTHENTICATION_PTR, "host.example.com");
	}
	assert_int_equal(check_from(&p, "192.0.2.1", "x@example.com"), AUTHENTICATION_PERMERROR);
	assert_true(p.questions < 150);
	buf_clear(&record);
	play_clear(&p);
}

static void
a_silent_dns_is_a_temporary_error(void **state)
{
	(void)state;
	struct play p;
	play_init(&p);
	p.failure = ERR_TIMEOUT;
	assert_int_equal(check_from(&p, "192.0.2.1", "x@example.com"), AUTHENTICATION_TEMPERROR);
	p.failure = ERR_AUTH; /* bogus */
	assert_int_equal(check_from(&p, "192.0.2.1", "x@example.com"), AUTHENTICATION_TEMPERROR);
	p.failure = ERR_OK;
	assert_int_equal(check_from(&p, "192.0.2.1", "x@localhost"), AUTHENTICATION_NONE);
	assert_int_equal(check_from(&p, "192.0.2.1", "x@[192.0.2.1]"), AUTHENTICATION_NONE);
	assert_int_equal(check_from(&p, "192.0.2.1", ""), AUTHENTICATION_NONE);
	play_clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_mean_what_rfc_7208_says),
	    cmocka_unit_test(macros_expand_as_in_the_rfc),
	    cmocka_unit_test(a_sender_is_not_named_in_a_question),
	    cmocka_unit_test(the_rest_of_a_record_that_names_the_sender_counts),
	    cmocka_unit_test(a_bomb_is_bounded),
	    cmocka_unit_test(a_silent_dns_is_a_temporary_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
