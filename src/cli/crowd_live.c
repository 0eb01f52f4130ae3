/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* `cohue crowd live`: how well the running service hid, from the coarse sums in the mixer's status. */
#include <string.h>

#include "cli/crowd.h"
#include "crowd/live.h"

/* The mixer's lines "mixer 0 name value", without the first two words. */
static enum err
strip(struct bytes text, struct buf *out)
{
	static const char mine[] = "mixer 0 crowd.";
	enum err e = ERR_OK;
	while (e == ERR_OK && text.len > 0) {
		ptrdiff_t end = bytes_find(text, '\n');
		struct bytes line = end < 0 ? text : bytes_slice(text, 0, (size_t)end);
		text = bytes_from(text, line.len + 1);
		if (bytes_starts_with(line, mine)) {
			e = buf_append(out, bytes_from(line, strlen("mixer 0 ")));
			e = e == ERR_OK ? buf_append_byte(out, '\n') : e;
		}
	}
	return e;
}

bool
crowd_live_ask(struct cli *c, struct live *ret)
{
	struct buf request = BUF_INIT(16);
	struct buf answer = BUF_INIT(CONTROL_ANSWER_MAX);
	struct buf lines = BUF_INIT(CONTROL_ANSWER_MAX);
	if (buf_append_byte(&request, CONTROL_STATUS) != ERR_OK || !cli_ask(c, &request, &answer)) {
		buf_clear(&request);
		return false;
	}
	enum err e = strip(buf_bytes(&answer), &lines);
	e = e == ERR_OK ? live_read(buf_bytes(&lines), ret) : e;
	buf_clear(&answer);
	buf_clear(&lines);
	if (e != ERR_OK) {
		(void)cli_fail(
		    "crowd: the service's sums are not understood. Remedy: use the `cohue` of the same "
		    "version as the service");
	}
	if (e == ERR_OK && ret->clock == 0) {
		(void)cli_fail(
		    "crowd: the service keeps no sums of its crowd. Remedy: wait until its mixer is ready "
		    "(`cohue status`), and use the same version");
		return false;
	}
	return e == ERR_OK;
}

static double
part(uint64_t a, uint64_t b)
{
	return b == 0 ? 0 : (double)a / (double)b;
}

static void
text_row(struct crowd_out *o, const char *name, const struct live_sums *s)
{
	if (s->letters == 0) {
		crowd_say(o, "  %-16s %9s\n", name, "none");
		return;
	}
	crowd_say(o, "  %-16s %9llu %9.0f min %8.1f %8.1f %% %8.2f %% %8.2f %% %8.2f\n", name,
		  (unsigned long long)s->letters, part(s->wait, s->letters) / 60, part(s->crowd, s->letters),
		  100 * part(s->guess, s->deliveries) / LIVE_MILLION, 100 * part(s->void_letters, s->letters),
		  100 * part(s->shown, s->taken), part(s->padded, s->bytes));
}

static void
json_row(struct crowd_out *o, const char *name, const struct live_sums *s)
{
	crowd_say(o,
		  "{\"%s\": {\"letters\": %llu, \"deliveries\": %llu, \"void\": %llu, \"urgent\": %llu, "
		  "\"ticks\": %llu, "
		  "\"wait_mean_min\": %.6g, \"crowd_mean\": %.6g, \"guess\": %.6g, \"padding\": %.6g, "
		  "\"taken\": %llu, \"void_for_size\": %llu}}",
		  name, (unsigned long long)s->letters, (unsigned long long)s->deliveries,
		  (unsigned long long)s->void_letters, (unsigned long long)s->urgent,
		  (unsigned long long)s->ticks, part(s->wait, s->letters) / 60, part(s->crowd, s->letters),
		  part(s->guess, s->deliveries) / LIVE_MILLION, part(s->padded, s->bytes),
		  (unsigned long long)s->taken, (unsigned long long)s->shown);
}

static void
csv_rows(struct crowd_out *o, const char *kind, const struct live_period *p, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct live_sums *s = &p[i].sums;
		crowd_say(o, "%s,%llu,%llu,%llu,%llu,%.6g,%.6g,%.6g,%llu,%llu\n", kind,
			  (unsigned long long)p[i].number, (unsigned long long)s->letters,
			  (unsigned long long)s->deliveries, (unsigned long long)s->void_letters,
			  part(s->wait, s->letters) / 60, part(s->crowd, s->letters),
			  part(s->guess, s->deliveries) / LIVE_MILLION, (unsigned long long)s->taken,
			  (unsigned long long)s->shown);
	}
}

int
cli_crowd_live(struct cli *c)
{
	struct crowd_args a;
	struct crowd_out o;
	static struct live live;
	int status = crowd_options(c, "live", &a);
	if (status != CLI_OK) {
		return status;
	}
	if (a.format == CROWD_SVG) {
		return cli_fail("crowd: live draws nothing. Remedy: --format text, csv or json");
	}
	if (!crowd_live_ask(c, &live)) {
		return CLI_FAILED;
	}
	struct live_sums day = live_total(live.hours, live.hour_count);
	struct live_sums month = live_total(live.days, live.day_count);
	crowd_out_init(&o);
	if (a.format == CROWD_JSON) {
		crowd_say(
		    &o,
		    "{\"members\": %llu, \"counting\": %llu, \"crowd\": %llu, \"clock_s\": %llu, \"sums\": [",
		    (unsigned long long)live.members, (unsigned long long)live.counting,
		    (unsigned long long)live.k, (unsigned long long)live.clock);
		json_row(&o, "day", &day);
		crowd_say(&o, ", ");
		json_row(&o, "month", &month);
		crowd_say(&o, "]}\n");
	} else if (a.format == CROWD_CSV) {
		crowd_say(&o, "period,number,letters,deliveries,void,wait_mean_min,crowd_mean,guess,taken,"
			      "void_for_size\n");
		csv_rows(&o, "hour", live.hours, live.hour_count);
		csv_rows(&o, "day", live.days, live.day_count);
	} else {
		crowd_say(&o, "%llu members, of whom %llu count; clock ", (unsigned long long)live.members,
			  (unsigned long long)live.counting);
		crowd_say_wait(&o, (msec)(live.clock < UINT32_MAX ? live.clock : 0) * MSEC_SECOND);
		crowd_say(&o, ", crowd %llu\n\n  %-16s %9s %13s %8s %10s %10s %10s %8s\n",
			  (unsigned long long)live.k, "", "letters", "mean wait", "crowd", "guess", "void",
			  "size void", "padding");
		text_row(&o, "last 24 hours", &day);
		text_row(&o, "last 30 days", &month);
		crowd_say(
		    &o, "\nOf whole hours and days since the mixer's start, rounded: fewer than ten letters "
			"count as ten, and have no means. crowd: members in the batch of a letter, "
			"on average; guess: the best "
			"guess at a letter's sender; size void: deliveries that could not be padded "
			"(TLS 1.2), of all that were taken.\n");
	}
	return crowd_print(&o);
}
