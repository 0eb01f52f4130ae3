/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/arc.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "authentication/play.h"

#define MESSAGE "From: joe@football.example.com\r\nTo: list@example.org\r\nSubject: x\r\n\r\nHi.\r\n"

static struct arc_verdict
judge(struct arena *a, struct play *p, struct bytes message)
{
	struct arc_verdict v;
	struct authentication_dns dns = play_dns(p);
	arena_init(a, 16 << 20);
	assert_int_equal(arc_verify(a, message, &dns, &v), ERR_OK);
	return v;
}

/* One more set in front. */
static void
pass_on(struct buf *message, struct play *p, const char *domain)
{
	struct arena a;
	struct buf out = BUF_INIT(1 << 20);
	struct arc_verdict before = judge(&a, p, buf_bytes(message));
	struct dkim_signer signer = play_signer(DKIM_RSA_SHA256, domain, "arc");
	assert_int_equal(arc_seal(buf_bytes(message), &before,
				  BYTES_LIT("mx.example; spf=pass smtp.mailfrom=football.example.com"),
				  &signer, &out),
			 ERR_OK);
	assert_int_equal(buf_append(&out, buf_bytes(message)), ERR_OK);
	arena_clear(&a);
	buf_clear(message);
	*message = out;
}

static void
begin(struct play *p, struct buf *message)
{
	play_init(p);
	play_add(p, "arc._domainkey.one.example", play_record(DKIM_RSA_SHA256));
	play_add(p, "arc._domainkey.two.example", play_record(DKIM_RSA_SHA256));
	buf_init(message, 1 << 20);
	assert_int_equal(buf_append_str(message, MESSAGE), ERR_OK);
}

static void
a_chain_of_two_is_proved(void **state)
{
	(void)state;
	struct play p;
	struct buf m;
	struct arena a;
	begin(&p, &m);
	struct arc_verdict v = judge(&a, &p, buf_bytes(&m));
	assert_int_equal(v.result, AUTHENTICATION_NONE);
	arena_clear(&a);
	pass_on(&m, &p, "one.example");
	pass_on(&m, &p, "two.example");
	v = judge(&a, &p, buf_bytes(&m));
	assert_int_equal(v.result, AUTHENTICATION_PASS);
	assert_int_equal(v.sets, 2);
	assert_true(bytes_is(v.sealers[0], "one.example"));
	assert_true(bytes_is(v.sealers[1], "two.example"));
	assert_true(bytes_is(v.results[0], "mx.example; spf=pass smtp.mailfrom=football.example.com"));
	arena_clear(&a);
	buf_clear(&m);
	play_clear(&p);
}

static void
change(struct buf *m, const char *from, const char *to)
{
	ptrdiff_t at = bytes_search(buf_bytes(m), bytes_str(from));
	assert_true(at >= 0);
	struct buf out = BUF_INIT(1 << 20);
	assert_int_equal(buf_append(&out, bytes_slice(buf_bytes(m), 0, (size_t)at)), ERR_OK);
	assert_int_equal(buf_append_str(&out, to), ERR_OK);
	assert_int_equal(buf_append(&out, bytes_from(buf_bytes(m), (size_t)at + bytes_str(from).len)),
			 ERR_OK);
	buf_clear(m);
	*m = out;
}

/* A forged result, a dropped set, a set of another number, a body that is new: none of it passes. */
static void
a_chain_that_was_touched_fails(void **state)
{
	(void)state;
	static const char *const changes[][2] = {
	    {"spf=pass", "spf=fail"},
	    {"Hi.", "Ho."},
	    {"Subject: x", "Subject: y"},
	    {"cv=none", "cv=pass"},
	    {"cv=pass", "cv=fail"},
	    {"ARC-Seal: i=1", "X-Seal: i=1"},
	    {"ARC-Seal: i=2", "ARC-Seal: i=3"},
	    {"ARC-Seal: i=2", "ARC-Seal: i=1"},
	    {"ARC-Message-Signature: i=1", "ARC-Message-Signature: i=51"},
	    {"ARC-Authentication-Results: i=1;", "ARC-Authentication-Results: "},
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct play p;
		struct buf m;
		struct arena a;
		begin(&p, &m);
		pass_on(&m, &p, "one.example");
		pass_on(&m, &p, "two.example");
		change(&m, changes[i][0], changes[i][1]);
		struct arc_verdict v = judge(&a, &p, buf_bytes(&m));
		if (v.result != AUTHENTICATION_FAIL || v.why == NULL || v.results != NULL) {
			fail_msg("case %zu: %s", i, authentication_result_name(v.result));
		}
		arena_clear(&a);
		buf_clear(&m);
		play_clear(&p);
	}
}

/* The newest signature over the message is under the same rule as DKIM's. */
static void
a_field_doubled_on_top_of_a_seal_is_seen(void **state)
{
	(void)state;
	static const char *const added[] = {"Subject: EVIL\r\n", "To: evil@example.org\r\n",
					    "Content-MD5: a\r\nContent-MD5: b\r\n"};
	for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
		struct play p;
		struct buf m;
		struct arena a;
		begin(&p, &m);
		/* Ours names the first two once more than they are there; the last one it does not name. */
		pass_on(&m, &p, "one.example");
		struct buf out = BUF_INIT(1 << 20);
		assert_int_equal(buf_append_str(&out, added[i]), ERR_OK);
		assert_int_equal(buf_append(&out, buf_bytes(&m)), ERR_OK);
		struct arc_verdict v = judge(&a, &p, buf_bytes(&out));
		assert_int_equal(v.result, AUTHENTICATION_FAIL);
		arena_clear(&a);
		buf_clear(&out);
		buf_clear(&m);
		play_clear(&p);
	}
}

static void
a_failed_chain_stays_failed(void **state)
{
	(void)state;
	struct play p;
	struct buf m;
	struct arena a;
	begin(&p, &m);
	pass_on(&m, &p, "one.example");
	change(&m, "Hi.", "Ho.");
	pass_on(&m, &p, "two.example");
	assert_true(bytes_search(buf_bytes(&m), BYTES_LIT("cv=fail")) >= 0);
	struct arc_verdict v = judge(&a, &p, buf_bytes(&m));
	assert_int_equal(v.result, AUTHENTICATION_FAIL);
	assert_true(v.ended);
	assert_int_equal(v.sets, 2);
	arena_clear(&a);
	/* A broken one that nobody has called so yet: said once, with the number behind its highest, whatever it holds twice. */
	static const struct {
		const char *fields;
		unsigned sets;
		bool ended;
	} broken[] = {
	    {"ARC-Seal: i=1; cv=none\r\nARC-Seal: i=1; cv=none\r\nARC-Seal: i=4; cv=pass\r\n", 4, false},
	    {"ARC-Seal: i=1; cv=fail\r\nARC-Seal: i=2; cv=pass\r\n", 2, false},
	    {"ARC-Seal: i=2; cv=pass\r\nARC-Seal: i=2; cv=fail\r\n", 2, true},
	    {"ARC-Seal: i=1; cv=fail\r\n", 1, true},
	    {"ARC-Authentication-Results: i=3; x\r\n", 3, false},
	    {"ARC-Seal: i=99; cv=pass\r\n", 0, true},
	    {"ARC-Seal: cv=pass\r\nARC-Seal: i=1; cv=none\r\n", 1, true},
	};
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct buf raw = BUF_INIT(4096);
		assert_int_equal(buf_printf(&raw, "%s" MESSAGE, broken[i].fields), ERR_OK);
		v = judge(&a, &p, buf_bytes(&raw));
		if (v.result != AUTHENTICATION_FAIL || v.sets != broken[i].sets ||
		    v.ended != broken[i].ended) {
			fail_msg("row %zu: %u", i, v.sets);
		}
		arena_clear(&a);
		buf_clear(&raw);
	}
	buf_clear(&m);
	play_clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_chain_of_two_is_proved),
	    cmocka_unit_test(a_chain_that_was_touched_fails),
	    cmocka_unit_test(a_field_doubled_on_top_of_a_seal_is_seen),
	    cmocka_unit_test(a_failed_chain_stays_failed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
