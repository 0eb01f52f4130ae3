/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* `cohue crowd table`: sizes, rates and clocks, from theory alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/crowd.h"
#include "crowd/plot.h"
#include "crowd/theory.h"

enum { LIST_MAX = 64 };

struct list {
	double value[LIST_MAX];
	size_t count;
};

/* "3,10,30". False (said). */
static bool
list_of(const char *name, const char *text, double least, double most, struct list *ret)
{
	struct list l = {.count = 0};
	const char *at = text;
	for (;;) {
		char *end = NULL;
		double v = strtod(at, &end);
		if (end == at || !isfinite(v) || v < least || v > most || l.count == LIST_MAX ||
		    (*end != ',' && *end != '\0')) {
			(void)cli_fail("crowd: %s: \"%s\" is no list of at most %d numbers from %.6g to "
				       "%.6g. Remedy: like "
				       "10,30,100",
				       name, text, LIST_MAX, least, most);
			return false;
		}
		l.value[l.count++] = v;
		if (*end == '\0') {
			break;
		}
		at = end + 1;
	}
	*ret = l;
	return true;
}

struct lists {
	struct list members;
	struct list rates;
	struct list clocks; /* minutes */
	uint32_t k;
};

typedef void row_fn(struct crowd_out *o, const struct theory_cell *c, bool first);

static void
each(struct crowd_out *o, const struct lists *l, row_fn *row)
{
	bool first = true;
	for (size_t t = 0; t < l->clocks.count; t++) {
		for (size_t r = 0; r < l->rates.count; r++) {
			for (size_t m = 0; m < l->members.count; m++) {
				struct theory_cell c =
				    theory_cell((uint32_t)l->members.value[m], l->rates.value[r],
						(msec)(l->clocks.value[t] * (double)MSEC_MINUTE), l->k);
				row(o, &c, first);
				first = false;
			}
		}
	}
}

/* Two digits, without powers of ten. */
static void
say_share(struct crowd_out *o, double share)
{
	double percent = 100 * share;
	if (percent > 0 && percent < 0.001) {
		crowd_say(o, " %7s %%", "<0.001");
	} else {
		crowd_say(o, percent >= 10 ? " %7.0f %%" : " %7.2g %%", percent);
	}
}

static void
text_row(struct crowd_out *o, const struct theory_cell *c, bool first)
{
	(void)first;
	const double shares[] = {c->any, c->exponential, c->batch, c->alone, c->shut};
	crowd_say(o, "%8.4g %9u %6.3g %9.3g ", (double)c->period / (double)MSEC_MINUTE, c->members, c->rate,
		  c->b);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		say_share(o, shares[i]);
	}
	crowd_say(o, " %7.3g %7.3g\n", c->bits_any, c->bits_exponential);
}

static void
csv_row(struct crowd_out *o, const struct theory_cell *c, bool first)
{
	(void)first;
	crowd_say(o, "%.6g,%u,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g\n",
		  (double)c->period / (double)MSEC_MINUTE, c->members, c->rate, c->b, c->any, c->exponential,
		  c->batch, c->alone, c->shut, c->bits_any, c->bits_exponential);
}

static void
json_row(struct crowd_out *o, const struct theory_cell *c, bool first)
{
	crowd_say(o,
		  "%s{\"clock_min\": %.6g, \"members\": %u, \"rate\": %.6g, \"letters_a_tick\": %.6g, "
		  "\"guess_any_law\": %.6g, "
		  "\"guess_exponential\": %.6g, \"guess_batch\": %.6g, \"alone\": %.6g, \"gate_shut\": %.6g, "
		  "\"bits_any_law\": %.6g, \"bits_exponential\": %.6g}",
		  first ? "[" : ",\n ", (double)c->period / (double)MSEC_MINUTE, c->members, c->rate, c->b,
		  c->any, c->exponential, c->batch, c->alone, c->shut, c->bits_any, c->bits_exponential);
}

/* The guess of the plain batch by members: a curve for each rate and clock, as many as fit. */
static void
draw(struct crowd_out *o, const struct lists *l)
{
	static double y[PLOT_SERIES_MAX][LIST_MAX];
	static char names[PLOT_SERIES_MAX][64];
	struct plot p = {.title = "Best guess at one letter's sender (plain batch, theory)",
			 .x_label = "members",
			 .y_label = "best guess",
			 .log_x = true,
			 .log_y = true,
			 .percent_y = true};
	for (size_t t = 0; t < l->clocks.count; t++) {
		for (size_t r = 0; r < l->rates.count && p.series_count < PLOT_SERIES_MAX; r++) {
			size_t s = p.series_count++;
			for (size_t m = 0; m < l->members.count; m++) {
				y[s][m] = theory_cell((uint32_t)l->members.value[m], l->rates.value[r],
						      (msec)(l->clocks.value[t] * (double)MSEC_MINUTE), l->k)
					      .batch;
			}
			(void)snprintf(names[s], sizeof(names[s]), "%.3g a day, T %.3g min",
				       l->rates.value[r], l->clocks.value[t]);
			p.series[s] = (struct plot_series){
			    .name = names[s], .x = l->members.value, .y = y[s], .count = l->members.count};
		}
	}
	enum err e = plot_svg(&p, &o->text);
	o->error = o->error == ERR_OK ? e : o->error;
}

int
cli_crowd_table(struct cli *c)
{
	struct crowd_args a;
	struct crowd_out o;
	struct lists l;
	int status = crowd_options(c, "table", &a);
	if (status != CLI_OK) {
		return status;
	}
	if (!list_of("--members", a.sizes_list, 1, 1e9, &l.members) ||
	    !list_of("--rates", a.rates_list, 0.001, 10000, &l.rates) ||
	    !list_of("--clocks", a.clocks_list, 0.01, 1e6, &l.clocks)) {
		return CLI_FAILED;
	}
	l.k = a.law.k;
	crowd_out_init(&o);
	switch (a.format) {
	case CROWD_TEXT:
		crowd_say(&o,
			  "Theory, letters evenly over the day. Clock in minutes (mean wait: half of it); "
			  "letters a member and day; "
			  "b: letters a tick.\nBest guess: under any law, the exponential, a plain batch; "
			  "then the chance to leave a plain batch "
			  "alone,\nand that the gate (k = %u) is shut at the first tick; bits: any law at "
			  "most, exponential.\n\n"
			  "   clock   members   rate         b    any law    expon.     batch     alone      "
			  "shut    bits    exp.\n",
			  l.k);
		each(&o, &l, text_row);
		break;
	case CROWD_CSV:
		crowd_say(
		    &o,
		    "clock_min,members,rate,letters_a_tick,guess_any_law,guess_exponential,guess_batch,alone,"
		    "gate_shut,bits_any_law,bits_exponential\n");
		each(&o, &l, csv_row);
		break;
	case CROWD_JSON:
		each(&o, &l, json_row);
		crowd_say(&o, "]\n");
		break;
	case CROWD_SVG:
		draw(&o, &l);
		break;
	}
	return crowd_print(&o);
}
