/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t host[16] = {[15] = 1};
static const uint8_t other[16] = {[15] = 2};

static struct smtp_result
said(unsigned code, const char *status, const char *text)
{
	struct smtp_result r;
	smtp_result_local(code, status, text, &r);
	r.local = false;
	return r;
}

static void
what_asks_for_less_is_told_from_what_refuses_a_letter(void **state)
{
	/* As large providers, Postfix, Exim and greylisting servers say it. */
	static const struct {
		unsigned code;
		const char *status;
		const char *text;
		bool fresh;
		bool slower;
	} cases[] = {
	    {421, "4.7.28", "Our system has detected an unusual rate of unsolicited mail", true, true},
	    {450, "4.7.28", "too much mail from your network, try again later", false, true},
	    {421, "4.7.0", "[TSS04] Messages temporarily deferred due to unexpected volume", false, true},
	    {451, "4.7.650", "The mail server has been temporarily rate limited", false, true},
	    {451, "4.7.500", "Server busy. Please try again later", false, true},
	    {452, "4.3.2", "Connection rate limit exceeded", false, true},
	    {451, "4.4.5", "Congestion", false, true},
	    {421, "4.3.0", "Too many concurrent SMTP connections; please try again later.", true, true},
	    {421, "4.4.2", "Error: timeout exceeded", false, false},
	    {450, "4.7.1", "Client host rejected: Greylisted, see http://postgrey", false, false},
	    {451, "4.7.1", "Greylisting in action, please come back later", false, false},
	    {451, "4.7.1", "Try again later", false, false},
	    {421, "4.7.0", "Greylisted, come back", true, false},
	    {450, "4.2.0", "mailbox busy", false, false},
	    {452, "4.2.2", "mailbox full", false, false},
	    {451, "4.3.0", "local error in processing", false, false},
	    {550, "5.7.1", "refused for its rate", false, false},
	    {250, "2.0.0", "queued", false, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_result r = said(cases[i].code, cases[i].status, cases[i].text);
		if (pace_is_slower(&r, cases[i].fresh) != cases[i].slower) {
			fail_msg("%u %s %s", cases[i].code, cases[i].status, cases[i].text);
		}
	}
	struct smtp_result ours;
	smtp_result_local(421, "4.7.0", "made here", &ours);
	assert_false(pace_is_slower(&ours, true));
}

static void
pauses_double_within_their_bounds_and_are_jittered(void **state)
{
	static struct pace p;
	struct smtp_result why = said(421, "4.7.0", "slower");
	msec now = 1000000;
	(void)state;
	memset(&p, 0, sizeof(p));
	assert_null(pace_pauses(&p, host, now));
	assert_int_equal(pace_connections(&p, host, 3, now), 3);
	for (unsigned step = 0; step < 10; step++) {
		msec pause = MSEC_MINUTE << (step < 5 ? step : 5);
		/* Three connections hear it at once: that is one step. */
		for (int i = 0; i < 3; i++) {
			pace_slower(&p, host, &why, 0, now);
		}
		assert_non_null(pace_pauses(&p, host, now + pause - 1));
		assert_null(pace_pauses(&p, host, now + pause));
		assert_null(pace_pauses(&p, other, now));
		now += pause;
		assert_int_equal(pace_connections(&p, host, 3, now), 1);
		assert_int_equal(pace_connections(&p, other, 3, now), 3);
	}
	assert_string_equal((pace_slower(&p, host, &why, UINT32_MAX, now), pace_pauses(&p, host, now))->text,
			    "slower");
	assert_non_null(pace_pauses(&p, host, now + 32 * MSEC_MINUTE + 7 * MSEC_MINUTE));
	assert_null(pace_pauses(&p, host, now + 40 * MSEC_MINUTE));
}

static void
who_takes_mail_again_is_trusted_again_step_by_step(void **state)
{
	static struct pace p;
	struct smtp_result why = said(421, "4.7.0", "slower");
	msec now = 1000000;
	(void)state;
	memset(&p, 0, sizeof(p));
	for (int i = 0; i < 3; i++) {
		pace_slower(&p, host, &why, 0, now);
		/* Taken in a connection that was open then: the pause stays. */
		pace_took(&p, host, now);
		assert_non_null(pace_pauses(&p, host, now));
		now += MSEC_MINUTE << i;
	}
	pace_took(&p, host, now); /* 3 -> 1 */
	assert_int_equal(pace_connections(&p, host, 3, now), 1);
	pace_slower(&p, host, &why, 0, now);
	assert_null(pace_pauses(&p, host, now + 2 * MSEC_MINUTE));
	now += 2 * MSEC_MINUTE;
	pace_took(&p, host, now);
	pace_took(&p, host, now);
	assert_int_equal(pace_connections(&p, host, 3, now), 3);
	/* Or after a long silence. */
	pace_slower(&p, host, &why, 0, now);
	now += MSEC_MINUTE + PACE_FORGET_MS;
	assert_int_equal(pace_connections(&p, host, 3, now), 3);
	pace_slower(&p, host, &why, 0, now);
	assert_null(pace_pauses(&p, host, now + MSEC_MINUTE));
}

static void
many_hosts_push_out_the_one_whose_pause_ended_first(void **state)
{
	static struct pace p;
	struct smtp_result why = said(421, "4.7.0", "slower");
	msec now = 1000000;
	(void)state;
	memset(&p, 0, sizeof(p));
	for (unsigned i = 0; i <= PACE_HOSTS; i++) {
		uint8_t address[16] = {(uint8_t)(i >> 8), (uint8_t)i, [15] = 9};
		pace_slower(&p, address, &why, 0, now + i);
	}
	now += PACE_HOSTS;
	const uint8_t first[16] = {[15] = 9};
	const uint8_t second[16] = {0, 1, [15] = 9};
	assert_null(pace_pauses(&p, first, now));
	assert_non_null(pace_pauses(&p, second, now));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_asks_for_less_is_told_from_what_refuses_a_letter),
	    cmocka_unit_test(pauses_double_within_their_bounds_and_are_jittered),
	    cmocka_unit_test(who_takes_mail_again_is_trusted_again_step_by_step),
	    cmocka_unit_test(many_hosts_push_out_the_one_whose_pause_ended_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
