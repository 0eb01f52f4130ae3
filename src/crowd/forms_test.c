/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the crowd reads and writes: traces, the live sums, plots; and the counting of waits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crowd/delays.h"
#include "crowd/live.h"
#include "crowd/plot.h"
#include "crowd/trace.h"

static enum err
read_text(const char *text, struct trace *ret, struct trace_error *ret_error)
{
	return trace_read(bytes_str(text), INT64_MAX, ret, ret_error);
}

static void
a_trace_is_sorted_and_its_rows_become_letters(void **state)
{
	struct trace t;
	struct trace_error error;
	(void)state;
	assert_int_equal(
	    read_text("# head\n\nann bob 20\r\nbob\tann\t10.5\nann,eve,20\nann bob 30 further words\n"
		      "eve ann 20",
		      &t, &error),
	    ERR_OK);
	assert_int_equal(t.row_count, 5);
	assert_int_equal(t.unit_count, 4);
	assert_int_equal(t.people, 3);
	assert_int_equal(t.senders, 3);
	assert_int_equal(t.units[0].time, 10500);
	assert_int_equal(t.units[0].sender, 1);
	/* ann's two rows of second 20 are one letter to two. */
	assert_int_equal(t.units[1].rows, 2);
	assert_int_equal(t.units[1].sender, 0);
	assert_int_equal(t.rows[t.units[1].first].recipient, 1);
	assert_int_equal(t.rows[t.units[1].first + 1].recipient, 2);
	assert_int_equal(t.units[3].time, 30000);
	trace_clear(&t);
	assert_int_equal(trace_read(BYTES_LIT("a b 1\na b 2\nc a 3\n"), 2000, &t, &error), ERR_OK);
	assert_int_equal(t.row_count, 1);
	assert_int_equal(t.people, 2);
	trace_clear(&t);
}

static void
garbage_is_refused_with_its_line_and_a_remedy(void **state)
{
	static const struct {
		const char *text;
		uint64_t line;
	} bad[] = {
	    {"1 2 3\n1 2\n", 2},
	    {"1 2 x\n", 1},
	    {"1 2 -3\n", 1},
	    {"1 2 3\n\n#\n1 2 3.\n", 4},
	    {"1 2 99999999999999999\n", 1},
	    {"", 0},
	    {"# nothing\n", 0},
	    {"\x1f\x8b\x08 gzip 1\n", 0},
	    {"1 2 3.4x\n", 1},
	    {"from to date\n1 2 3\n", 1},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct trace t;
		struct trace_error error = {.line = 99};
		assert_int_equal(read_text(bad[i].text, &t, &error), ERR_FORMAT);
		assert_int_equal(error.line, bad[i].line);
		assert_non_null(strstr(error.text, "Remedy: "));
	}
}

static void
waits_are_counted_to_the_second(void **state)
{
	struct delays *d = NULL;
	(void)state;
	assert_int_equal(delays_create(&d), ERR_OK);
	assert_int_equal(delays_quantile(d, 0.5), 0);
	for (msec i = 1; i <= 1000; i++) {
		delays_add(d, i * MSEC_SECOND);
	}
	assert_int_equal(delays_count(d), 1000);
	assert_int_equal(delays_mean(d), 500500);
	assert_int_equal(delays_quantile(d, 0.5), 500 * MSEC_SECOND);
	assert_int_equal(delays_quantile(d, 0.99), 990 * MSEC_SECOND);
	delays_add(d, 30 * MSEC_HOUR + 1);
	assert_int_equal(delays_quantile(d, 1), 30 * MSEC_HOUR + 1);
	delays_add(d, 400 * MSEC_DAY);
	assert_int_equal(delays_max(d), 400 * MSEC_DAY);
	delays_destroy(&d);
}

/* Who asks after each letter learns of it at the end of the hour, with others, and never what is its own. */
static void
what_is_told_shows_no_letter(void **state)
{
	static struct live l;
	static struct live told;
	static struct live before;
	const msec start = 20000 * MSEC_DAY;
	(void)state;
	l = (struct live){.members = 40, .counting = 31, .clock = 1800, .k = 3};
	struct live_sums one = {
	    .letters = 1, .deliveries = 1, .wait = 1234, .crowd = 1, .guess = LIVE_MILLION, .ticks = 1};
	live_add(&l, start, &one);
	live_told(&l, start + 50 * MSEC_MINUTE, &told);
	assert_int_equal(told.hour_count + told.day_count, 0);
	live_told(&l, start + MSEC_HOUR, &told);
	assert_int_equal(told.hour_count, 1);
	assert_int_equal(told.day_count, 0);
	assert_int_equal(told.hours[0].sums.letters, LIVE_FEW);
	assert_int_equal(told.hours[0].sums.wait, 0);
	assert_int_equal(told.hours[0].sums.guess, 0);
	/* One more, void or not, in the hour under way changes nothing. */
	before = told;
	one.void_letters = 1;
	live_add(&l, start + MSEC_HOUR + 5, &one);
	live_told(&l, start + MSEC_HOUR + 10, &told);
	assert_memory_equal(&told, &before, sizeof(told));
	/* Of many: one digit, waits in steps of ten minutes, shares in hundredths. */
	struct live_sums many = {.letters = 234,
				 .deliveries = 260,
				 .void_letters = 7,
				 .wait = 234 * 1300,
				 .crowd = 234 * 4,
				 .guess = 260 * 312345ULL,
				 .ticks = 40,
				 .bytes = 1000,
				 .padded = 2345,
				 .taken = 200,
				 .shown = 3};
	live_add(&l, start + MSEC_DAY, &many);
	live_told(&l, start + 2 * MSEC_DAY, &told);
	assert_int_equal(told.day_count, 2);
	const struct live_sums *s = &told.days[1].sums;
	assert_int_equal(s->letters, 200);
	assert_int_equal(s->void_letters, 6); /* 2.99 %, rounded up */
	assert_int_equal(s->wait / s->letters, 1200);
	assert_int_equal(s->crowd / s->letters, 4);
	assert_int_equal(s->guess / s->deliveries, 310000);
	assert_int_equal(s->shown, 4);
	assert_int_equal(s->padded, 23);
}

static void
live_sums_survive_their_text(void **state)
{
	static struct live l;
	static struct live back;
	struct buf text = BUF_INIT(LIVE_TEXT_MAX);
	const msec start = 20000 * MSEC_DAY;
	(void)state;
	l = (struct live){.members = 40, .counting = 31, .clock = 1800, .k = 3};
	for (msec hour = 0; hour < 45 * 24; hour++) {
		struct live_sums s = {.letters = 2, .deliveries = 3, .guess = 500000, .wait = (uint64_t)hour};
		live_add(&l, start + hour * MSEC_HOUR, &s);
		live_add(&l, start + hour * MSEC_HOUR + 5, &s);
	}
	assert_int_equal(l.hour_count, LIVE_HOURS);
	assert_int_equal(l.day_count, LIVE_DAYS);
	assert_int_equal(live_total(l.hours, l.hour_count).letters, 24 * 4);
	assert_int_equal(live_total(l.days, l.day_count).deliveries, 30 * 24 * 6);
	assert_int_equal(live_write(&l, &text), ERR_OK);
	assert_int_equal(live_read(buf_bytes(&text), &back), ERR_OK);
	assert_memory_equal(&l, &back, sizeof(l));
	/* A gap: what is older than a day is gone. A clock that went back adds to the latest. */
	struct live_sums one = {.letters = 1};
	live_add(&l, start + 47 * MSEC_DAY, &one);
	assert_int_equal(l.hour_count, 1);
	live_add(&l, start, &one);
	assert_int_equal(l.hours[0].sums.letters, 2);
	buf_clear(&text);
}

static void
a_decision_gives_its_sums(void **state)
{
	/* Class 0: member 1 with 2 + 1 of 4 deliveries; class 2: alone and void; a retry, which counts for nothing. */
	struct law_release releases[] = {
	    {.unit = {.member = 1, .entered = 1000, .weight = 2}, .crowd = 2, .batch = 4},
	    {.unit = {.member = 9, .entered = 5000, .weight = 1, .size_class = 2, .lane = LAW_URGENT},
	     .is_void = true,
	     .crowd = 1,
	     .batch = 1},
	    {.unit = {.member = 2, .entered = 2000, .weight = 1}, .crowd = 2, .batch = 4},
	    {.unit = {.member = 3, .entered = 0, .weight = 50, .lane = LAW_DUE}},
	    {.unit = {.member = 1, .entered = 3000, .weight = 1}, .crowd = 2, .batch = 4},
	};
	struct law_decision d = {.releases = releases, .release_count = 5};
	struct live_sums s;
	(void)state;
	assert_int_equal(live_of_decision(&d, 11000, &s), ERR_OK);
	assert_int_equal(s.letters, 4);
	assert_int_equal(s.deliveries, 5);
	assert_int_equal(s.void_letters, 1);
	assert_int_equal(s.urgent, 1);
	assert_int_equal(s.wait, 10 + 6 + 9 + 8);
	assert_int_equal(s.crowd, 2 + 1 + 2 + 2);
	assert_int_equal(s.guess, 3 * LIVE_MILLION + 1 * LIVE_MILLION);
	assert_int_equal(s.ticks, 1);
	assert_int_equal(s.padded, 4 * law_class_bytes(0) + law_class_bytes(2));
	d.release_count = 0;
	assert_int_equal(live_of_decision(&d, 11000, &s), ERR_OK);
	assert_int_equal(s.ticks, 0);
}

static void
foreign_lines_are_passed_over_and_broken_ones_refused(void **state)
{
	struct live l;
	(void)state;
	assert_int_equal(live_read(BYTES_LIT("waiting 3\ncrowd.k 5\ncrowd.hour.7 letters=4 later=9\n"), &l),
			 ERR_OK);
	assert_int_equal(l.k, 5);
	assert_int_equal(l.hours[0].number, 7);
	assert_int_equal(l.hours[0].sums.letters, 4);
	assert_int_equal(live_read(BYTES_LIT("crowd.hour.x letters=4\n"), &l), ERR_FORMAT);
	assert_int_equal(live_read(BYTES_LIT("crowd.hour.7 letters=-4\n"), &l), ERR_FORMAT);
	assert_int_equal(live_read(BYTES_LIT("crowd.day.7 a=1\ncrowd.day.7 a=1\n"), &l), ERR_FORMAT);
}

static void
a_plot_shows_its_points_and_escapes_its_texts(void **state)
{
	const double x[] = {1, 10, 100};
	const double y[] = {0.5, (double)NAN, 0.01};
	struct plot p = {.title = "a < b & c",
			 .x_label = "members",
			 .y_label = "guess",
			 .log_x = true,
			 .log_y = true,
			 .percent_y = true,
			 .series = {{"one", x, y, 3}},
			 .series_count = 1};
	struct buf svg = BUF_INIT(1 << 16);
	(void)state;
	assert_int_equal(plot_svg(&p, &svg), ERR_OK);
	assert_true(bytes_search(buf_bytes(&svg), BYTES_LIT("a &lt; b &amp; c")) >= 0);
	assert_true(bytes_search(buf_bytes(&svg), BYTES_LIT(">10 %</text>")) >= 0);
	assert_true(bytes_search(buf_bytes(&svg), BYTES_LIT("</svg>")) > 0);
	size_t circles = 0;
	for (struct bytes rest = buf_bytes(&svg);;) {
		ptrdiff_t at = bytes_search(rest, BYTES_LIT("<circle"));
		if (at < 0) {
			break;
		}
		circles++;
		rest = bytes_from(rest, (size_t)at + 1);
	}
	assert_int_equal(circles, 2);
	/* Nothing that a logarithm could show. */
	const double zero[] = {0, 0, 0};
	p.series[0].y = zero;
	assert_int_equal(plot_svg(&p, &svg), ERR_FORMAT);
	p.log_y = false;
	assert_int_equal(plot_svg(&p, &svg), ERR_OK);
	buf_clear(&svg);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_trace_is_sorted_and_its_rows_become_letters),
	    cmocka_unit_test(garbage_is_refused_with_its_line_and_a_remedy),
	    cmocka_unit_test(waits_are_counted_to_the_second),
	    cmocka_unit_test(what_is_told_shows_no_letter),
	    cmocka_unit_test(live_sums_survive_their_text),
	    cmocka_unit_test(a_decision_gives_its_sums),
	    cmocka_unit_test(foreign_lines_are_passed_over_and_broken_ones_refused),
	    cmocka_unit_test(a_plot_shows_its_points_and_escapes_its_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
