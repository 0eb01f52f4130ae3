/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/wire.h"
#include "courier/mta_sts.h"

static enum err
read_policy(const char *text, struct sts_policy *p)
{
	sts_policy_init(p);
	return sts_policy_read(bytes_str(text), p);
}

static void
a_policy_is_read_strictly(void **state)
{
	(void)state;
	struct sts_policy p;
	static const char *const wrong[] = {
	    "",
	    "version: STSv2\nmode: enforce\nmx: a.b\nmax_age: 1\n",
	    "mode: enforce\nmx: a.b\nmax_age: 1\n",
	    "version: STSv1\nmode: Enforce\nmx: a.b\nmax_age: 1\n",
	    "version: STSv1\nmx: a.b\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: a.b\n",
	    "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: -1\n",
	    "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 12345678901\n",
	    "version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: *.\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: .\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: a..\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: a..b\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx a.b\nmax_age: 1\n",
	    "<html>version: STSv1</html>",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (read_policy(wrong[i], &p) == ERR_OK) {
			fail_msg("taken: %s", wrong[i]);
		}
		assert_int_equal(p.hosts.len, 0);
		sts_policy_clear(&p);
	}
	assert_int_equal(
	    read_policy("version: STSv1\r\nmode: enforce\r\nmx: MX.Example.org\r\nmx: *.b.test\r\n"
			"max_age: 4000000000\r\nnew: thing\r\nmode: none\r\n",
			&p),
	    ERR_OK);
	/* What comes twice counts once; nothing holds for longer than a year. */
	assert_int_equal(p.mode, STS_ENFORCE);
	assert_int_equal(p.max_age, STS_AGE_MOST);
	assert_true(sts_policy_names(&p, "mx.example.ORG"));
	assert_true(sts_policy_names(&p, "x.b.test"));
	assert_false(sts_policy_names(&p, "b.test"));
	assert_false(sts_policy_names(&p, "y.x.b.test"));
	assert_false(sts_policy_names(&p, "xmx.example.org"));
	assert_false(sts_policy_names(&p, ""));
	sts_policy_clear(&p);
	assert_int_equal(read_policy("version: STSv1\nmode: none\nmax_age: 60", &p), ERR_OK);
	sts_policy_clear(&p);
}

/* RFC 5321 section 4.1.2: a domain may be one label. */
static void
an_enforced_policy_is_not_lost_over_a_trifle(void **state)
{
	static const char *const good[] = {
	    "version: STSv1\nmode: enforce\nmx: mx.b.test\nmx: *.test\nmx: intern\nmax_age: 1\n",
	    "\xef\xbb\xbfversion: STSv1\nmode: enforce\nmx: mx.b.test\nmax_age: 1\n",
	    "version: STSv1\nmode: enforce\nmx: mx.b.test.\nmax_age: 1\n",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct sts_policy p;
		assert_int_equal(read_policy(good[i], &p), ERR_OK);
		assert_int_equal(p.mode, STS_ENFORCE);
		assert_true(sts_policy_names(&p, "mx.b.test"));
		assert_false(sts_policy_names(&p, "other.b.test"));
		assert_true(sts_policy_names(&p, "b.test") == (i == 0));
		assert_true(sts_policy_names(&p, "intern") == (i == 0));
		sts_policy_clear(&p);
	}
}

static void
a_clock_that_was_ahead_and_is_put_right_neither_pins_a_policy_nor_forbids_to_ask(void **state)
{
	enum { NOW_S = 1795000000, YEARS = 4 * 365 * 86400, AGE = 86400 };
	struct sts_cache c;
	struct sts_policy p;
	(void)state;
	sts_cache_init(&c);
	struct sts_entry *e = sts_cache_get(&c, "a.test");
	assert_non_null(e);
	sts_failed(e, NOW_S + YEARS);
	assert_int_equal(sts_next(e, "1", NOW_S), STS_FETCH);
	sts_failed(e, NOW_S);
	assert_int_equal(sts_next(e, "1", NOW_S), STS_USE);
	assert_int_equal(sts_next(e, "1", NOW_S + STS_REFETCH_SECONDS), STS_FETCH);

	assert_int_equal(read_policy("version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 86400\n", &p), ERR_OK);
	sts_took(e, "1", &p, NOW_S + YEARS);
	(void)sts_used(e, NOW_S + YEARS);
	/* It holds from now on for as long as it says, and no longer. */
	assert_int_equal(sts_next(e, "1", NOW_S), STS_USE);
	assert_int_equal(e->expires, NOW_S + AGE);
	assert_int_equal(sts_next(e, "1", NOW_S + AGE), STS_FETCH);
	/* Without a letter, too. */
	sts_took(e, "1", &p, NOW_S + YEARS);
	e->policy.max_age = AGE;
	e->expires = NOW_S + YEARS;
	e->refresh = NOW_S + YEARS;
	sts_settle(e, NOW_S);
	assert_int_equal(e->expires, NOW_S + AGE);
	assert_int_equal(e->refresh, 0);
	sts_policy_clear(&p);
	sts_cache_clear(&c);
}

static void
a_policy_has_no_limit_but_its_size(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(STS_POLICY_MAX + 100);
	struct sts_policy p;
	sts_policy_init(&p);
	assert_int_equal(buf_append_str(&text, "version: STSv1\nmode: enforce\nmax_age: 1\n"), ERR_OK);
	for (unsigned i = 0; text.len < STS_POLICY_MAX - 40; i++) {
		assert_int_equal(buf_printf(&text, "mx: m%u.test\n", i), ERR_OK);
	}
	assert_int_equal(buf_append_str(&text, "mx: last.test\n"), ERR_OK);
	assert_int_equal(sts_policy_read(buf_bytes(&text), &p), ERR_OK);
	assert_true(sts_policy_names(&p, "m65.test"));
	assert_true(sts_policy_names(&p, "last.test"));
	sts_policy_clear(&p);
	while (text.len <= STS_POLICY_MAX) {
		assert_int_equal(buf_append_byte(&text, '\n'), ERR_OK);
	}
	assert_int_equal(sts_policy_read(buf_bytes(&text), &p), ERR_LIMIT);
	buf_clear(&text);
	sts_policy_clear(&p);
}

static void
put_txt(struct buf *rdata, const char *text)
{
	struct wire_writer w;
	struct buf record = BUF_INIT(512);
	size_t half = strlen(text) / 2;
	/* In two strings, which are one text (RFC 7208 section 3.3 says it for all). */
	assert_int_equal(buf_append_byte(&record, (uint8_t)half), ERR_OK);
	assert_int_equal(buf_append(&record, bytes_of(text, half)), ERR_OK);
	assert_int_equal(buf_append_byte(&record, (uint8_t)(strlen(text) - half)), ERR_OK);
	assert_int_equal(buf_append_str(&record, text + half), ERR_OK);
	wire_writer_init(&w, rdata);
	wire_put_bytes(&w, buf_bytes(&record));
	assert_int_equal(wire_done(&w), ERR_OK);
	buf_clear(&record);
}

static void
one_record_is_one_and_two_are_none(void **state)
{
	(void)state;
	char id[STS_ID_MAX + 1] = "untouched";
	struct buf rdata = BUF_INIT(4096);
	static const char *const wrong[] = {"v=STSv1;",
					    "v=STSv1; id=;",
					    "v=STSv1; id=a-b;",
					    "v=STSv1; id=a; id=b",
					    "v=STSv1; id=012345678901234567890123456789012;",
					    " v=STSv1; id=a",
					    "v=STSv2; id=a",
					    "v=spf1 -all",
					    "v=STSv1 id=a"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		buf_clear(&rdata);
		put_txt(&rdata, wrong[i]);
		assert_int_equal(sts_answer_read(buf_bytes(&rdata), id), ERR_NOT_FOUND);
		assert_string_equal(id, "untouched");
	}
	buf_clear(&rdata);
	put_txt(&rdata, "v=spf1 -all");
	put_txt(&rdata, "v=STSv1; id=2026A; other=x;");
	assert_int_equal(sts_answer_read(buf_bytes(&rdata), id), ERR_OK);
	assert_string_equal(id, "2026A");
	put_txt(&rdata, "v=STSv1; id=2026A;");
	assert_int_equal(sts_answer_read(buf_bytes(&rdata), id), ERR_NOT_FOUND);
	assert_int_equal(sts_answer_read(BYTES_LIT("\0\0\0\5\377abcd"), id), ERR_NOT_FOUND);
	buf_clear(&rdata);
}

static void
the_content_type_is_text_plain_once(void **state)
{
	(void)state;
	assert_true(
	    sts_content_type_fits(BYTES_LIT("Server: x\r\ncontent-type: Text/Plain; charset=utf-8\r\n")));
	assert_false(sts_content_type_fits(BYTES_LIT("Content-Type: text/html\r\n")));
	assert_false(
	    sts_content_type_fits(BYTES_LIT("Content-Type: text/plain\r\nContent-Type: text/html\r\n")));
	assert_false(sts_content_type_fits(BYTES_LIT("X-Content-Type: text/plain\r\n")));
	assert_false(sts_content_type_fits(BYTES_EMPTY));
}

static void
took(struct sts_entry *e, const char *id, const char *max_age, int64_t now)
{
	char text[200];
	struct sts_policy p;
	(void)snprintf(text, sizeof(text), "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: %s\n",
		       max_age);
	assert_int_equal(read_policy(text, &p), ERR_OK);
	sts_took(e, id, &p, now);
}

static void
a_policy_is_asked_for_when_it_is_new_changed_or_old(void **state)
{
	(void)state;
	struct sts_cache c;
	sts_cache_init(&c);
	struct sts_entry *e = sts_cache_get(&c, "a.test");
	assert_int_equal(sts_next(e, NULL, 100), STS_USE);
	assert_int_equal(sts_next(e, "1", 100), STS_FETCH);
	took(e, "1", "1000", 100);
	assert_int_equal(sts_next(e, "1", 1099), STS_USE);
	assert_int_equal(sts_next(e, "2", 200), STS_FETCH);
	assert_int_equal(sts_next(e, "1", 1100), STS_FETCH);
	/* The record has gone, or the DNS does not answer: what holds, holds. */
	assert_int_equal(sts_next(e, NULL, 200), STS_USE);
	assert_int_equal(e->expires, 1100);
	sts_cache_clear(&c);
}

static void
a_failure_leaves_what_holds_and_is_not_repeated_at_once(void **state)
{
	(void)state;
	struct sts_cache c;
	sts_cache_init(&c);
	struct sts_entry *e = sts_cache_get(&c, "a.test");
	took(e, "1", "1000", 100);
	sts_failed(e, 200);
	assert_int_equal(e->expires, 1100);
	assert_true(sts_policy_names(&e->policy, "mx.a.test"));
	assert_int_equal(sts_next(e, "2", 200 + STS_REFETCH_SECONDS - 1), STS_USE);
	assert_int_equal(sts_next(e, "2", 200 + STS_REFETCH_SECONDS), STS_FETCH);
	sts_failed(e, 1100);
	assert_int_equal(e->expires, 0);
	assert_false(sts_policy_names(&e->policy, "mx.a.test"));
	sts_cache_clear(&c);
}

static void
what_is_kept_comes_back_but_for_what_has_expired(void **state)
{
	(void)state;
	struct sts_cache c;
	struct sts_cache back;
	struct buf plain = BUF_INIT(STS_SAVED_MAX + 4096);
	sts_cache_init(&c);
	sts_cache_init(&back);
	took(sts_cache_get(&c, "a.test"), "1", "1000", 100);
	took(sts_cache_get(&c, "b.test"), "2", "10", 100);
	assert_int_equal(sts_cache_write(&c, 105, &plain), ERR_OK);
	assert_int_equal(sts_cache_read(buf_bytes(&plain), 150, &back), ERR_OK);
	assert_int_equal(back.count, 1);
	struct sts_entry *e = sts_cache_get(&back, "a.test");
	assert_int_equal(e->expires, 1100);
	assert_string_equal(e->id, "1");
	assert_int_equal(e->policy.mode, STS_ENFORCE);
	assert_true(sts_policy_names(&e->policy, "mx.a.test"));
	sts_cache_clear(&back);
	for (size_t n = 0; n < plain.len; n++) {
		/* Cut anywhere it is taken for what it is, or for nothing; never read beyond. */
		enum err error = sts_cache_read(bytes_slice(buf_bytes(&plain), 0, n), 150, &back);
		assert_true(error == ERR_OK || error == ERR_FORMAT);
		sts_cache_clear(&back);
	}
	sts_cache_clear(&c);
	buf_clear(&plain);
}

static void
the_cache_and_what_is_kept_of_it_are_bounded(void **state)
{
	(void)state;
	struct sts_cache c;
	struct buf plain = BUF_INIT(STS_SAVED_MAX + 4096);
	sts_cache_init(&c);
	for (unsigned i = 0; i < STS_ENTRIES_MAX + 50; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "d%u.test", i);
		struct sts_entry *e = sts_cache_get(&c, name);
		assert_non_null(e);
		took(e, "1", "1000", 100 + i);
		e->fetching = i == 0;
	}
	assert_int_equal(c.count, STS_ENTRIES_MAX);
	/* Somebody waits for it. */
	assert_true(sts_cache_get(&c, "d0.test")->fetching);
	assert_int_equal(sts_cache_write(&c, 500, &plain), ERR_OK);
	assert_true(plain.len <= STS_SAVED_MAX);
	sts_cache_clear(&c);
	buf_clear(&plain);
}

static uint64_t
middle(void *arg)
{
	(void)arg;
	return 1000;
}

static void
a_policy_in_use_is_asked_for_before_it_expires(void **state)
{
	(void)state;
	enum { NOW = 100 * STS_WEEK, LIFE = 100000 };
	struct sts_cache c;
	sts_cache_init(&c);
	struct sts_entry *e = sts_cache_get(&c, "a.test");
	took(e, "1", "100000", NOW);
	assert_true(sts_used(e, NOW));
	assert_false(sts_used(e, NOW + 10));
	assert_null(sts_refresh_next(&c, NOW, middle, NULL));
	assert_null(sts_refresh_next(&c, NOW + LIFE / 4 + 999, middle, NULL));
	assert_ptr_equal(sts_refresh_next(&c, NOW + LIFE / 4 + 1000, middle, NULL), e);
	/* It failed: once more well before the end, and never at once. */
	sts_failed(e, NOW + LIFE / 4 + 1000);
	assert_null(sts_refresh_next(&c, NOW + LIFE / 4 + 1000, middle, NULL));
	int64_t again = e->refresh;
	assert_in_range(again, NOW + LIFE / 4 + 1000 + LIFE / 8, NOW + LIFE - STS_REFRESH_LEAST);
	assert_ptr_equal(sts_refresh_next(&c, again, middle, NULL), e);
	/* It came: its life begins anew. */
	took(e, "1", "100000", again);
	assert_null(sts_refresh_next(&c, again, middle, NULL));
	assert_int_equal(e->refresh, again + LIFE / 4 + 1000);
	/* One that holds for a year is asked for within a week all the same. */
	took(e, "1", "31557600", NOW);
	assert_null(sts_refresh_next(&c, NOW, middle, NULL));
	assert_in_range(e->refresh, NOW + STS_WEEK / 2, NOW + STS_WEEK);
	sts_cache_clear(&c);
}

static void
a_policy_is_not_asked_for_without_need(void **state)
{
	(void)state;
	enum { NOW = 100 * STS_WEEK };
	struct sts_cache c;
	struct sts_policy p;
	sts_cache_init(&c);
	/* Its domain was not written to for weeks: the question would tell of what is long past. */
	struct sts_entry *e = sts_cache_get(&c, "a.test");
	took(e, "1", "31557600", NOW);
	assert_true(sts_used(e, NOW));
	for (int64_t at = NOW; at < NOW + (STS_UNUSED_WEEKS + 1) * (int64_t)STS_WEEK; at += STS_WEEK / 8) {
		(void)sts_refresh_next(&c, at, middle, NULL);
	}
	int64_t later = NOW + (STS_UNUSED_WEEKS + 1) * (int64_t)STS_WEEK;
	for (int64_t at = later; at < later + 20 * (int64_t)STS_WEEK; at += STS_WEEK / 8) {
		assert_null(sts_refresh_next(&c, at, middle, NULL));
	}
	/* Until mail goes there again; it holds still. */
	assert_true(sts_used(e, later));
	if (sts_refresh_next(&c, later, middle, NULL) == NULL) {
		assert_ptr_equal(sts_refresh_next(&c, later + STS_WEEK, middle, NULL), e);
	}
	/* What protects nothing, and what holds for minutes. */
	e = sts_cache_get(&c, "b.test");
	assert_int_equal(read_policy("version: STSv1\nmode: testing\nmx: mx.b.test\nmax_age: 100000\n", &p),
			 ERR_OK);
	sts_took(e, "1", &p, later);
	assert_true(sts_used(e, later));
	struct sts_entry *short_one = sts_cache_get(&c, "c.test");
	took(short_one, "1", "3000", later);
	assert_true(sts_used(short_one, later));
	for (int64_t at = later; at < later + 100000; at += 100) {
		struct sts_entry *due = sts_refresh_next(&c, at, middle, NULL);
		assert_ptr_not_equal(due, e);
		assert_ptr_not_equal(due, short_one);
	}
	sts_cache_clear(&c);
}

static void
took_large(struct sts_cache *c, const char *domain)
{
	struct buf text = BUF_INIT(STS_POLICY_MAX);
	struct sts_policy p;
	assert_int_equal(buf_append_str(&text, "version: STSv1\nmode: enforce\nmax_age: 2000\n"), ERR_OK);
	while (text.len < STS_POLICY_MAX - 100) {
		assert_int_equal(buf_append_str(&text, "mx: long-name-of-a-host.somewhere.test\n"), ERR_OK);
	}
	sts_policy_init(&p);
	assert_int_equal(sts_policy_read(buf_bytes(&text), &p), ERR_OK);
	struct sts_entry *e = sts_cache_get(c, domain);
	sts_took(e, "1", &p, 100);
	sts_cache_trim(c, e);
	buf_clear(&text);
}

static void
large_policies_push_out_each_other_alone(void **state)
{
	(void)state;
	struct sts_cache c;
	struct sts_cache back;
	struct buf plain = BUF_INIT(60 * 1024);
	sts_cache_init(&c);
	sts_cache_init(&back);
	took(sts_cache_get(&c, "small.test"), "1", "1000", 100);
	for (unsigned i = 0; i < 100; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "large%u.test", i);
		took_large(&c, name);
	}
	size_t sum = 0;
	for (const struct sts_entry *e = c.entries; e != NULL; e = e->next) {
		sum += e->policy.hosts.len;
	}
	assert_in_range(sum, STS_LARGE_MAX / 2, STS_LARGE_MAX + STS_LARGE);
	assert_non_null(sts_cache_find(&c, "small.test"));
	assert_non_null(sts_cache_find(&c, "large99.test"));
	assert_null(sts_cache_find(&c, "large0.test"));
	/* Nor is the small one, which holds for less, missing after a restart. */
	assert_int_equal(sts_cache_write(&c, 200, &plain), ERR_OK);
	assert_int_equal(sts_cache_read(buf_bytes(&plain), 200, &back), ERR_OK);
	assert_non_null(sts_cache_find(&back, "small.test"));
	sts_cache_clear(&back);
	sts_cache_clear(&c);
	buf_clear(&plain);
}

static void
what_an_earlier_version_kept_is_read(void **state)
{
	(void)state;
	enum { NOW = 100 * STS_WEEK };
	struct sts_cache c;
	struct buf plain = BUF_INIT(1024);
	struct wire_writer w;
	sts_cache_init(&c);
	wire_writer_init(&w, &plain);
	wire_put_u8(&w, 1);
	wire_put_bytes(&w, BYTES_LIT("a.test"));
	wire_put_bytes(&w, BYTES_LIT("7"));
	wire_put_u64(&w, NOW + 100000);
	wire_put_u8(&w, STS_ENFORCE);
	wire_put_u32(&w, 100000);
	wire_put_bytes(&w, BYTES_LIT("mx.a.test\0"));
	assert_int_equal(wire_done(&w), ERR_OK);
	assert_int_equal(sts_cache_read(buf_bytes(&plain), NOW, &c), ERR_OK);
	const struct sts_entry *e = sts_cache_find(&c, "a.test");
	assert_non_null(e);
	assert_true(sts_policy_names(&e->policy, "mx.a.test"));
	assert_int_equal(e->used, 100);
	sts_cache_clear(&c);
	/* In which week it was used comes back, too; a week to come is none. */
	took(sts_cache_get(&c, "b.test"), "1", "100000", NOW);
	c.entries->used = 98;
	took(sts_cache_get(&c, "c.test"), "1", "100000", NOW);
	c.entries->used = 4000;
	buf_clear(&plain);
	assert_int_equal(sts_cache_write(&c, NOW, &plain), ERR_OK);
	sts_cache_clear(&c);
	assert_int_equal(sts_cache_read(buf_bytes(&plain), NOW, &c), ERR_OK);
	assert_int_equal(sts_cache_find(&c, "b.test")->used, 98);
	assert_int_equal(sts_cache_find(&c, "c.test")->used, 100);
	sts_cache_clear(&c);
	buf_clear(&plain);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_policy_is_read_strictly),
	    cmocka_unit_test(an_enforced_policy_is_not_lost_over_a_trifle),
	    cmocka_unit_test(
		a_clock_that_was_ahead_and_is_put_right_neither_pins_a_policy_nor_forbids_to_ask),
	    cmocka_unit_test(a_policy_has_no_limit_but_its_size),
	    cmocka_unit_test(one_record_is_one_and_two_are_none),
	    cmocka_unit_test(the_content_type_is_text_plain_once),
	    cmocka_unit_test(a_policy_is_asked_for_when_it_is_new_changed_or_old),
	    cmocka_unit_test(a_failure_leaves_what_holds_and_is_not_repeated_at_once),
	    cmocka_unit_test(what_is_kept_comes_back_but_for_what_has_expired),
	    cmocka_unit_test(the_cache_and_what_is_kept_of_it_are_bounded),
	    cmocka_unit_test(a_policy_in_use_is_asked_for_before_it_expires),
	    cmocka_unit_test(a_policy_is_not_asked_for_without_need),
	    cmocka_unit_test(large_policies_push_out_each_other_alone),
	    cmocka_unit_test(what_an_earlier_version_kept_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
