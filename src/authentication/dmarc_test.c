/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/dmarc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "authentication/play.h"
#include "authentication/results.h"

static struct dmarc_verdict
judge(const char *from, const char *record_at, const char *record, const char *dkim_domain,
      const char *spf_domain, enum authentication_result others, unsigned number)
{
	struct play p;
	struct dmarc_verdict v;
	struct dkim_verdicts dkim = {.count = dkim_domain == NULL ? 0 : 1};
	struct spf_verdict spf = {.result = others};
	char message[1000];
	play_init(&p);
	if (record != NULL) {
		play_add(&p, record_at, bytes_str(record));
	}
	if (dkim_domain != NULL) {
		dkim.list[0] = (struct dkim_verdict){.result = others, .domain = bytes_str(dkim_domain)};
	}
	if (spf_domain != NULL) {
		(void)snprintf(spf.domain, sizeof(spf.domain), "%s", spf_domain);
	}
	struct authentication_dns dns = play_dns(&p);
	(void)snprintf(message, sizeof(message), "%s\r\nSubject: x\r\n\r\nHi\r\n", from);
	dmarc_check(bytes_str(message), &dkim, &spf, number, &dns, &v);
	play_clear(&p);
	return v;
}

static void
alignment_decides(void **state)
{
	(void)state;
	static const struct {
		const char *record, *dkim, *spf;
		enum authentication_result result;
	} rows[] = {
	    {"v=DMARC1; p=reject", "example.co.uk", NULL, AUTHENTICATION_PASS},
	    {"v=DMARC1; p=reject", "mail.example.co.uk", NULL, AUTHENTICATION_PASS},
	    {"v=DMARC1; p=reject; adkim=s", "mail.example.co.uk", NULL, AUTHENTICATION_FAIL},
	    {"v=DMARC1; p=reject; adkim=s", "example.co.uk", NULL, AUTHENTICATION_PASS},
	    {"v=DMARC1; p=reject", NULL, "bounce.example.co.uk", AUTHENTICATION_PASS},
	    {"v=DMARC1; p=reject; aspf=s", NULL, "bounce.example.co.uk", AUTHENTICATION_FAIL},
	    {"v=DMARC1; p=reject", "other.co.uk", "co.uk",
	     AUTHENTICATION_FAIL}, /* a public suffix aligns nobody */
	    {"v=DMARC1; p=reject", NULL, NULL, AUTHENTICATION_FAIL},
	    {NULL, "example.co.uk", NULL, AUTHENTICATION_NONE},
	    {"v=DMARC1; p=odd", "example.co.uk", NULL, AUTHENTICATION_NONE},
	    {"v=DMARC1; p=odd; rua=mailto:x@example.org", "example.co.uk", NULL, AUTHENTICATION_PASS},
	    {"p=reject; v=DMARC1", "example.co.uk", NULL, AUTHENTICATION_NONE},
	    {"v=DMARC1;; foo; p=reject;; p=none; rua=mailto:x@example.org", "other.example", NULL,
	     AUTHENTICATION_FAIL},
	    {"v = DMARC1 ; p = reject", "other.example", NULL, AUTHENTICATION_FAIL},
	    {"v=DMARC1x; p=reject", "other.example", NULL, AUTHENTICATION_NONE},
	    {" v=DMARC1; p=reject", "other.example", NULL, AUTHENTICATION_NONE},
	    {"\tv=DMARC1; p=reject", "other.example", NULL, AUTHENTICATION_NONE},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dmarc_verdict v =
		    judge("From: a@example.co.uk", "_dmarc.example.co.uk", rows[i].record, rows[i].dkim,
			  rows[i].spf, AUTHENTICATION_PASS, 0);
		if (v.result != rows[i].result) {
			fail_msg("row %zu: %s", i, authentication_result_name(v.result));
		}
	}
	assert_int_equal(judge("From: a@example.org", "_dmarc.example.org", "v=DMARC1; p=reject",
			       "example.org", NULL, AUTHENTICATION_TEMPERROR, 0)
			     .result,
			 AUTHENTICATION_TEMPERROR);
}

static void
the_policy_that_applies(void **state)
{
	(void)state;
	static const struct {
		const char *from, *record;
		unsigned number;
		enum dmarc_policy policy;
	} rows[] = {
	    {"From: a@example.org", "v=DMARC1; p=reject", 99, DMARC_REJECT},
	    {"From: a@example.org", "v=DMARC1; p=reject; pct=20", 19, DMARC_REJECT},
	    {"From: a@example.org", "v=DMARC1; p=reject; pct=20", 20, DMARC_QUARANTINE},
	    {"From: a@example.org", "v=DMARC1; p=quarantine; pct=0", 0, DMARC_MONITOR},
	    {"From: a@sub.example.org", "v=DMARC1; p=reject; sp=quarantine", 0, DMARC_QUARANTINE},
	    {"From: a@sub.example.org", "v=DMARC1; p=reject", 0, DMARC_REJECT},
	    {"From: a@example.org", "v=DMARC1; p=none", 0, DMARC_MONITOR},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dmarc_verdict v = judge(rows[i].from, "_dmarc.example.org", rows[i].record, NULL, NULL,
					       AUTHENTICATION_NONE, rows[i].number);
		assert_int_equal(v.result, AUTHENTICATION_FAIL);
		if (v.policy != rows[i].policy) {
			fail_msg("row %zu: %d", i, (int)v.policy);
		}
	}
}

/* Whose own name servers are silent: his organisation's word, and no proof but of his very name. */
static void
an_author_whose_policy_cannot_be_had_is_not_waved_through(void **state)
{
	(void)state;
	static const struct {
		const char *from, *record, *silent, *dkim;
		enum dmarc_policy policy;
		bool aligned;
	} rows[] = {
	    {"From: a@news.example.org", "v=DMARC1; p=none; sp=reject", "_dmarc.news.example.org", NULL,
	     DMARC_REJECT, false},
	    {"From: a@news.example.org", "v=DMARC1; p=reject; sp=none", "_dmarc.news.example.org", NULL,
	     DMARC_MONITOR, false},
	    {"From: a@news.example.org", "v=DMARC1; p=reject; pct=0", "_dmarc.news.example.org", NULL,
	     DMARC_QUARANTINE, false},
	    {"From: a@news.example.org", NULL, "_dmarc.news.example.org", NULL, DMARC_NO_POLICY, false},
	    {"From: a@news.example.org", "v=DMARC1; p=reject", "_dmarc.news.example.org", "news.example.org",
	     DMARC_REJECT, true},
	    {"From: a@news.example.org", "v=DMARC1; p=reject", "_dmarc.news.example.org", "example.org",
	     DMARC_REJECT, false},
	    {"From: a@example.org", "v=DMARC1; p=reject", "_dmarc.example.org", NULL, DMARC_NO_POLICY, false},
	    {"From: a@news.example.org", "v=DMARC1; p=reject", "_dmarc.example.org", NULL, DMARC_NO_POLICY,
	     false},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct play p;
		struct dmarc_verdict v;
		struct dkim_verdicts dkim = {.count = rows[i].dkim == NULL ? 0 : 1};
		struct spf_verdict spf = {.result = AUTHENTICATION_NONE};
		char message[200];
		play_init(&p);
		p.failure = ERR_AGAIN;
		p.silent = rows[i].silent;
		if (rows[i].record != NULL) {
			play_add(&p, "_dmarc.example.org", bytes_str(rows[i].record));
		}
		if (rows[i].dkim != NULL) {
			dkim.list[0] = (struct dkim_verdict){.result = AUTHENTICATION_PASS,
							     .domain = bytes_str(rows[i].dkim)};
		}
		struct authentication_dns dns = play_dns(&p);
		(void)snprintf(message, sizeof(message), "%s\r\n\r\nHi\r\n", rows[i].from);
		dmarc_check(bytes_str(message), &dkim, &spf, 50, &dns, &v);
		if (v.result != AUTHENTICATION_TEMPERROR || !v.unknown || v.policy != rows[i].policy ||
		    v.aligned_dkim != rows[i].aligned) {
			fail_msg("row %zu: %s, policy %d", i, authentication_result_name(v.result),
				 (int)v.policy);
		}
		play_clear(&p);
	}
}

/* Of the author's own domain: another one's record, whatever it asks for, excuses nothing. */
static void
a_record_that_could_not_be_read_whole_is_told_of_the_author_alone(void **state)
{
	(void)state;
	static const struct {
		const char *spf;
		enum authentication_result result;
		bool unread;
	} rows[] = {{"example.org", AUTHENTICATION_NEUTRAL, true},
		    {"bounce.example.org", AUTHENTICATION_NEUTRAL, true},
		    {"evil.example", AUTHENTICATION_NEUTRAL, false},
		    {"example.org", AUTHENTICATION_PASS, false}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct play p;
		struct dmarc_verdict v;
		struct dkim_verdicts dkim = {.count = 0};
		struct spf_verdict spf = {.result = rows[i].result, .withheld = true};
		play_init(&p);
		play_add(&p, "_dmarc.example.org", BYTES_LIT("v=DMARC1; p=reject"));
		(void)snprintf(spf.domain, sizeof(spf.domain), "%s", rows[i].spf);
		struct authentication_dns dns = play_dns(&p);
		dmarc_check(BYTES_LIT("From: a@example.org\r\n\r\nHi\r\n"), &dkim, &spf, 0, &dns, &v);
		assert_int_equal(v.result, rows[i].result == AUTHENTICATION_PASS ? AUTHENTICATION_PASS
										 : AUTHENTICATION_FAIL);
		assert_int_equal(v.spf_unread, rows[i].unread);
		play_clear(&p);
	}
}

/* Which author would be judged? The reader sees another one than the policy is asked of. */
static void
a_from_of_several_domains_is_nobodys(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "X: y",
	    "From: a@example.org\r\nFrom: a@example.org",
	    "From: a@example.org, b@evil.example",
	    "From: a",
	    "From: ",
	    "From: group:;",
	    "From: a@localhost",
	    "From: a@example..org",
	    "From: a@example.org>",
	    "From: a@example.org/",
	    "From: a@example.org:80",
	    "From: a@[example.org]",
	    "From: a@(example.org",
	    "From: a@=?utf-8?q?example=2Eorg?=",
	    "From: \"a@example.org\" <a>",
	    "From: a@evil.example@example.org",
	    "From: a@evil.example: a@example.org;",
	    "From: a@evil.example\\@example.org",
	    "From: a@evil.example x <a@example.org>",
	    "From: a@evil.example <a@example.org>",
	    "From: a@example .org",
	    "From: a @example.org",
	    "From: <@evil.example:a@example.org>",
	    "From: a@example.org, ",
	    "From: \"a@example.org",
	    "From: a@example.org (b@evil.example)",
	    "From: (b@evil.example) a@example.org",
	    "From: a@example.org (x (b\\@evil.example) y)",
	    "From: (=?utf-8?q?b=40evil=2Eexample?=) a@example.org",
	    "From: =?utf-8?q?b=40evil=2Eexample?= <a@example.org>",
	    "From: =?utf-8?b?YkBldmlsLmV4YW1wbGU=?= <a@example.org>",
	    "From: =?utf-8?q?b=40ev?=\r\n =?utf-8?q?il=2Eexample?= <a@example.org>",
	    "From: =?utf-8?q?b=EF=BC=A0evil=2Eexample?= <a@example.org>",
	    "From: \"x\" =?utf-8?q?b=40evil=2Eexample?= <a@example.org>",
	    "From: \"\" b@evil.example <a@example.org>",
	    "From: =?utf-8?q?The_b=40evil=2Eexample=2E?= <a@example.org>",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dmarc_verdict v = judge(bad[i], "_dmarc.example.org", "v=DMARC1; p=reject",
					       "example.org", NULL, AUTHENTICATION_PASS, 0);
		if (v.result != AUTHENTICATION_PERMERROR || v.why == NULL) {
			fail_msg("accepted: %s", bad[i]);
		}
	}
	static const char *const good[] = {
	    "From: a@example.org, b@EXAMPLE.org",
	    "From: \"x@evil.example\" <a@example.org>",
	    "From : a@example.org",
	    "From: a@example.org <a@Example.org>",
	    "From: (x (y)) John Q. \"x\\\"y\" Public <a.b@example.org> (z)",
	    "From: =?utf-8?q?J=C3=B6rg?=\r\n <\"a b\"@example.org>",
	    "From: <a@example.org>,\r\n b@example.org",
	    "From: \"b@evil.example via List\" <a@example.org>",
	    "From: =?utf-8?q?a=40example=2Eorg?= <a@example.org>",
	    "From: a@example.org (b@sub.example.org)",
	    "From: a@example.org (J. Random @ work, 3.14)",
	    "From: =?utf-8?q?J=C3=B6rg_=40_B=C3=BCro?= <a@example.org>",
	    "From: a@example.org (Tom @home)",
	    "From: a@example.org (v@3.14, a@example.org!)",
	    "From: =?utf-8?q?=E2=80=98a=40example=2Eorg=E2=80=99?= <a@example.org>",
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct dmarc_verdict v = judge(good[i], "_dmarc.example.org", "v=DMARC1; p=reject",
					       "example.org", NULL, AUTHENTICATION_PASS, 0);
		assert_int_equal(v.result, AUTHENTICATION_PASS);
	}
}

static void
results_are_written_and_forged_ones_go(void **state)
{
	(void)state;
	struct authentication_results r = {.sender = BYTES_LIT("\"a\rb\"@example.org")};
	struct buf out = BUF_INIT(10000);
	r.spf.result = AUTHENTICATION_PASS;
	r.dkim.count = 1;
	r.dkim.list[0] = (struct dkim_verdict){.result = AUTHENTICATION_FAIL,
					       .why = "body has changed",
					       .domain = BYTES_LIT("example.org"),
					       .selector = BYTES_LIT("s"),
					       .signature = BYTES_LIT("abc+/=")};
	r.dmarc.result = AUTHENTICATION_PASS;
	memcpy(r.dmarc.domain, "example.org", 12);
	assert_int_equal(authentication_results_write("mx.example", &r, &out), ERR_OK);
	assert_true(bytes_is(
	    buf_bytes(&out),
	    "Authentication-Results: mx.example;\r\n\tspf=pass smtp.mailfrom=\"\\\"a?b\\\"@example.org\";\r\n"
	    "\tdkim=fail reason=\"body has changed\" header.d=example.org header.s=s header.b=abc+/=;\r\n"
	    "\tdmarc=pass header.from=example.org\r\n"));
	buf_clear(&out);
	static const char message[] = "Authentication-Results: mx.example; dmarc=pass\r\n"
				      "Authentication-Results: other.example; spf=pass\r\n"
				      "AUTHENTICATION-RESULTS: (mx(y)) \"MX.Example\" 1; dmarc=pass\r\n"
				      "authentication-results :\r\n mx.example.; dmarc=pass\r\n"
				      "Authentication-Results: mx.example\r\n"
				      "Authentication-Results: \"mx.exam\\ple\"; dmarc=pass\r\n"
				      "Authentication-Results: \vmx.example; dmarc=pass\r\n"
				      "Authentication-Results: mx.example\xe2\x80\x8b; dmarc=pass\r\n"
				      "Authentication-Results: (x mx.example; dmarc=pass\r\n"
				      "Authentication-Results: smtp.mx.example; x=y\r\n"
				      "Authentication-Results: mx.example.org; x=y\r\n\r\nHi\r\n";
	assert_int_equal(
	    authentication_results_strip(BYTES_LIT(message), "mx.example", "house.example", &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "Authentication-Results: other.example; spf=pass\r\n"
					      "Authentication-Results: smtp.mx.example; x=y\r\n"
					      "Authentication-Results: mx.example.org; x=y\r\n\r\nHi\r\n"));
	buf_clear(&out);
	enum authentication_result found;
	struct bytes value =
	    BYTES_LIT("mx.example 1; spf=fail (dmarc=pass) reason=\"; dmarc=pass\" smtp.mailfrom=x;\r\n "
		      "dkim = pass header.d=y; dmarc=quux");
	assert_int_equal(authentication_results_read(value, "spf", &found), ERR_OK);
	assert_int_equal(found, AUTHENTICATION_FAIL);
	assert_int_equal(authentication_results_read(value, "dkim", &found), ERR_OK);
	assert_int_equal(found, AUTHENTICATION_PASS);
	assert_int_equal(authentication_results_read(value, "dmarc", &found), ERR_FORMAT);
	assert_int_equal(authentication_results_read(value, "arc", &found), ERR_NOT_FOUND);
}

static void
reports_go_where_the_record_says_and_nowhere_unasked(void **state)
{
	(void)state;
	struct play p;
	struct dmarc_published d;
	char rua[DMARC_RUA_MAX + 1] = "x";
	play_init(&p);
	play_add(
	    &p, "_dmarc.example.org",
	    BYTES_LIT("v=DMARC1; p=reject; sp=none; aspf=s; pct=30; rua=mailto:a@x.test!1m,mailto:b@y.test"));
	play_add(&p, "_dmarc.example.net", BYTES_LIT("v=DMARC1; p=none"));
	play_add(&p, "example.org._report._dmarc.yes.example", BYTES_LIT("v=DMARC1"));
	play_add(&p, "example.org._report._dmarc.other.example",
		 BYTES_LIT("v=DMARC1; rua=mailto:c@other.example"));
	play_add(&p, "example.org._report._dmarc.odd.example", BYTES_LIT("v=spf1 -all"));
	struct authentication_dns dns = play_dns(&p);
	struct bytes about = BYTES_LIT("example.org");
	assert_int_equal(dmarc_published(about, &dns, &d), ERR_OK);
	assert_int_equal(d.policy, DMARC_REJECT);
	assert_int_equal(d.below, DMARC_MONITOR);
	assert_int_equal(d.percent, 30);
	assert_true(d.strict_spf && !d.strict_dkim);
	assert_string_equal(d.rua, "mailto:a@x.test!1m,mailto:b@y.test");
	/* Of the very name alone. */
	assert_int_equal(dmarc_published(BYTES_LIT("below.example.org"), &dns, &d), ERR_NOT_FOUND);
	assert_int_equal(dmarc_published(BYTES_LIT("example.net"), &dns, &d), ERR_OK);
	assert_string_equal(d.rua, "");

	unsigned before = p.questions;
	assert_int_equal(dmarc_takes_reports(about, BYTES_LIT("reports.example.org"), &dns, rua), ERR_OK);
	assert_string_equal(rua, "");
	assert_int_equal(p.questions, before);
	assert_int_equal(dmarc_takes_reports(about, BYTES_LIT("yes.example"), &dns, rua), ERR_OK);
	assert_string_equal(rua, "");
	assert_int_equal(dmarc_takes_reports(about, BYTES_LIT("other.example"), &dns, rua), ERR_OK);
	assert_string_equal(rua, "mailto:c@other.example");
	assert_int_equal(dmarc_takes_reports(about, BYTES_LIT("odd.example"), &dns, rua), ERR_NOT_FOUND);
	assert_int_equal(dmarc_takes_reports(about, BYTES_LIT("no.example"), &dns, rua), ERR_NOT_FOUND);
	p.failure = ERR_TIMEOUT;
	assert_int_equal(dmarc_takes_reports(about, BYTES_LIT("yes.example"), &dns, rua), ERR_AGAIN);
	assert_int_equal(dmarc_published(about, &dns, &d), ERR_AGAIN);
	play_clear(&p);

	struct dmarc_verdict v =
	    judge("From: a@mail.example.org", "_dmarc.example.org",
		  "v=DMARC1; p=none; rua=mailto:x@example.org", NULL, NULL, AUTHENTICATION_PASS, 0);
	assert_true(v.wants_reports);
	assert_string_equal(v.domain + v.record_at, "example.org");
	v = judge("From: a@example.org", "_dmarc.example.org", "v=DMARC1; p=none", NULL, NULL,
		  AUTHENTICATION_PASS, 0);
	assert_false(v.wants_reports);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reports_go_where_the_record_says_and_nowhere_unasked),
	    cmocka_unit_test(alignment_decides),
	    cmocka_unit_test(an_author_whose_policy_cannot_be_had_is_not_waved_through),
	    cmocka_unit_test(a_record_that_could_not_be_read_whole_is_told_of_the_author_alone),
	    cmocka_unit_test(the_policy_that_applies),
	    cmocka_unit_test(a_from_of_several_domains_is_nobodys),
	    cmocka_unit_test(results_are_written_and_forged_ones_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
