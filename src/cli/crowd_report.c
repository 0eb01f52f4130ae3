/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* `cohue crowd report`: docs/crowd.md and its plots, every number of which is measured by the call that writes it. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/crowd.h"
#include "crowd/active.h"
#include "crowd/plot.h"

enum { POINTS_MAX = 16, LETTERS = 60000, DAYS_LEAST = 10, DAYS_MOST = 1500 };

struct page {
	struct crowd_out out;
	const char *folder;
	uint64_t seed;
	enum err error; /* of a simulation or file */
	int problem;    /* errno of a file */
};

/* ---- files ---- */

static void
write_file(struct page *p, const char *name, struct buf *text)
{
	char path[CLI_PATH_ROOM];
	int n = snprintf(path, sizeof(path), "%s/%s", p->folder, name);
	int fd = n < 0 || (size_t)n >= sizeof(path)
		     ? -1
		     : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
	size_t done = 0;
	while (fd >= 0 && done < text->len) {
		ssize_t w = write(fd, text->ptr + done, text->len - done);
		if (w <= 0) {
			break;
		}
		done += (size_t)w;
	}
	if (fd < 0 || done < text->len) {
		p->problem = p->problem == 0 ? errno : p->problem;
		p->error = p->error == ERR_OK ? ERR_IO : p->error;
	}
	if (fd >= 0) {
		(void)close(fd);
	}
	buf_clear(text);
}

static void
draw(struct page *p, const char *name, const struct plot *plot)
{
	struct buf svg = BUF_INIT(1024 * 1024);
	char file[128];
	enum err e = p->error == ERR_OK ? plot_svg(plot, &svg) : p->error;
	if (e != ERR_OK) {
		buf_clear(&svg);
		p->error = e;
		return;
	}
	(void)snprintf(file, sizeof(file), "crowd/%s.svg", name);
	write_file(p, file, &svg);
	crowd_say(&p->out, "\n![%s](%s)\n", plot->title, file);
}

/* ---- measurements ---- */

static double
days_for(double members, double rate)
{
	double days = ceil(LETTERS / (members * rate));
	return days < DAYS_LEAST ? DAYS_LEAST : days > DAYS_MOST ? DAYS_MOST : days;
}

static struct crowd_args
args_of(const struct page *p, double members, double rate)
{
	return (struct crowd_args){.members = members,
				   .rate = rate,
				   .days = days_for(members, rate),
				   .seed = (double)p->seed,
				   .law = {.kind = LAW_CROWD,
					   .clock = 30 * MSEC_MINUTE,
					   .k = 3,
					   .deadline = MSEC_DAY,
					   .mean = 30 * MSEC_MINUTE,
					   .patient = 2 * MSEC_DAY}};
}

/* After a failure the page is lost anyway: what follows measures nothing more. */
static struct crowd_measured
measure(struct page *p, const struct crowd_args *a, const struct trace *trace, bool compare)
{
	struct crowd_measured m = {.compared = false};
	if (p->error == ERR_OK) {
		p->error = crowd_measure(a, trace, compare, &m);
	}
	return m;
}

static double
mean_min(const struct run_figures *f)
{
	return f->delays == NULL ? 0 : (double)delays_mean(f->delays) / (double)MSEC_MINUTE;
}

static double
p99_min(const struct run_figures *f)
{
	return f->delays == NULL ? 0 : (double)delays_quantile(f->delays, 0.99) / (double)MSEC_MINUTE;
}

/* ---- the sections ---- */

static void
say_opening(struct page *p, bool trace)
{
	crowd_say(&p->out,
		  "# Hidden in the crowd, measured\n\n"
		  "<!-- Written by `make crowd-report` (cohue crowd report): change the program, not this "
		  "page. -->\n\n"
		  "The server's own law of the waiting room ran in virtual time on made-up members%s, "
		  "against the observer who sees every "
		  "line, knows the law and every setting, and has no idea beforehand of who writes to whom. "
		  "His probabilities are exact: "
		  "nobody who sees no more can do better. Seed %llu; the same seed gives the same page. The "
		  "models (day and night, sizes, attention) "
		  "stand at the end.\n\n"
		  "*Guess* is the probability of the likeliest sender of a letter that leaves, on average "
		  "over letters. *Bits* are the "
		  "entropy over members: 3 bits are as good as eight equally likely ones.\n",
		  trace ? " and on a real trace" : "", (unsigned long long)p->seed);
}

static void
say_few(struct page *p)
{
	const double members[] = {1, 2, 3, 5};
	crowd_say(&p->out, "\n## A domain of one's own: 0 bits. Two or three friends: nothing\n\n"
			   "Whoever runs a server for herself alone has no crowd, whatever it does to times "
			   "and sizes: all that leaves is hers. "
			   "With two or three friends a random wait (30 min on average) leaves most letters "
			   "open to a guess better than even; the crowd law "
			   "with a gate of all of them reaches its 1/N, and pays for it with hours.\n\n"
			   "| members, 5 letters a day each | random wait: guess | bits | somebody above 1/2 "
			   "| gate of all: guess | mean wait | void |\n"
			   "|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		struct crowd_args a = args_of(p, members[i], 5);
		a.law.kind = LAW_EXPONENTIAL;
		struct crowd_measured random = measure(p, &a, NULL, false);
		a.law.kind = LAW_CROWD;
		a.law.k = (uint32_t)(members[i] < 3 ? members[i] : 3);
		struct crowd_measured gate = measure(p, &a, NULL, false);
		crowd_say(&p->out, "| %.0f | %.0f %% | %.2f | %.0f %% | %.0f %% | %.0f min | %.1f %% |\n",
			  members[i], 100 * run_guess(&random.here), run_entropy(&random.here),
			  100 * run_above_half(&random.here), 100 * run_guess(&gate.here),
			  mean_min(&gate.here), 100 * run_void(&gate.here));
		crowd_measured_clear(&random);
		crowd_measured_clear(&gate);
	}
}

static const double grid[] = {10, 30, 100, 300, 1000, 3000};
enum { GRID = sizeof(grid) / sizeof(grid[0]) };

static void
say_random(struct page *p)
{
	const double means[] = {5, 15, 60, 240};
	enum { MEANS = sizeof(means) / sizeof(means[0]) };
	static double y[MEANS][GRID];
	static double half[MEANS][GRID];
	static const char *const names[MEANS] = {"5 min", "15 min", "1 h", "4 h"};
	struct plot plot = {.title = "A random wait, 5 letters a member and day",
			    .x_label = "members",
			    .y_label = "best guess",
			    .log_x = true,
			    .log_y = true,
			    .percent_y = true};
	for (size_t m = 0; m < MEANS; m++) {
		for (size_t i = 0; i < GRID; i++) {
			struct crowd_args a = args_of(p, grid[i], 5);
			a.law.kind = LAW_EXPONENTIAL;
			a.law.mean = (msec)(means[m] * (double)MSEC_MINUTE);
			struct crowd_measured r = measure(p, &a, NULL, false);
			y[m][i] = run_guess(&r.here);
			half[m][i] = run_above_half(&r.here);
			crowd_measured_clear(&r);
		}
		plot.series[plot.series_count++] =
		    (struct plot_series){.name = names[m], .x = grid, .y = y[m], .count = GRID};
	}
	crowd_say(
	    &p->out,
	    "\n## A random delay: how much for which size\n\n"
	    "Each letter waits a random time (exponential) of its own. The guess, and in brackets the share "
	    "of letters for which somebody stands "
	    "out with more than 1/2: the one written at night leaves alone, whatever the average says.\n\n"
	    "| members |");
	for (size_t m = 0; m < MEANS; m++) {
		crowd_say(&p->out, " %s |", names[m]);
	}
	crowd_say(&p->out, "\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < GRID; i++) {
		crowd_say(&p->out, "| %.0f |", grid[i]);
		for (size_t m = 0; m < MEANS; m++) {
			crowd_say(&p->out, " %.2g %% (%.2g %%) |", 100 * y[m][i], 100 * half[m][i]);
		}
		crowd_say(&p->out, "\n");
	}
	draw(p, "random-delay", &plot);
}

static void
say_crowd(struct page *p)
{
	const double rates[] = {0.5, 1, 5};
	enum { RATES = sizeof(rates) / sizeof(rates[0]) };
	static double y[RATES][GRID];
	static const char *const names[RATES] = {"0.5 a day", "1 a day", "5 a day"};
	struct plot plot = {.title = "The crowd: T = 30 min, k = 3, D = 24 h",
			    .x_label = "members",
			    .y_label = "best guess",
			    .log_x = true,
			    .log_y = true,
			    .percent_y = true};
	crowd_say(
	    &p->out,
	    "\n## The crowd: nobody leaves alone\n\n"
	    "The default: every half hour, when letters of at least three members wait, and nobody's share "
	    "is above a third. "
	    "What finds no crowd within a day leaves without the promise, *void*, and its sender is told.\n\n"
	    "| members | letters a day each | guess | bits | above 1/2 | mean wait | 99 of 100 | void |\n"
	    "|---|---|---|---|---|---|---|---|\n");
	for (size_t r = 0; r < RATES; r++) {
		for (size_t i = 0; i < GRID; i++) {
			struct crowd_args a = args_of(p, grid[i], rates[r]);
			struct crowd_measured m = measure(p, &a, NULL, false);
			const struct run_figures *f = &m.here;
			y[r][i] = run_guess(f);
			crowd_say(
			    &p->out,
			    "| %.0f | %.1f | %.2g %% | %.1f | %.2g %% | %.0f min | %.0f min | %.2g %% |\n",
			    grid[i], rates[r], 100 * run_guess(f), run_entropy(f), 100 * run_above_half(f),
			    mean_min(f), p99_min(f), 100 * run_void(f));
			if (f->above_kept > 0) {
				p->error = ERR_STATE;
			}
			crowd_measured_clear(&m);
		}
		plot.series[plot.series_count++] =
		    (struct plot_series){.name = names[r], .x = grid, .y = y[r], .count = GRID};
	}
	crowd_say(&p->out,
		  "\nOn no tick where the promise was kept did anybody have more than 1 chance in 3.\n");
	draw(p, "crowd", &plot);
}

/* The law's derivation gives these; what stands in brackets is its own figure. */
static const struct cell {
	double members;
	double rate;
	double mean;
	double guess[3];
	double half[3];
	double p99;
} cells[] = {
    {10, 5, 62, {28, 35, 33}, {0, 9.9, 6.2}, 681},  {30, 5, 35, {18, 21, 19}, {0, 3.7, 2.4}, 193},
    {100, 1, 38, {16, 22, 18}, {0, 4.7, 3.3}, 249}, {100, 5, 31, {7.7, 9.7, 8.2}, {0, 0.9, 0.4}, 60},
    {300, 5, 30, {3.2, 4.0, 3.3}, {0, 0.1, 0}, 60}, {1000, 5, 30, {1.2, 1.4, 1.2}, {0, 0, 0}, 59},
};
static const struct cell trace_cell = {0, 0, 37, {12, 14, 14}, {0.01, 3.9, 3.7}, 284};

static void
say_cell(struct page *p, const char *name, const struct crowd_measured *m, const struct cell *c)
{
	const struct run_figures *f[] = {&m->here, &m->exponential, &m->batch};
	crowd_say(&p->out, "| %s | %.0f (%.0f) |", name, mean_min(&m->here), c->mean);
	for (size_t i = 0; i < 3; i++) {
		crowd_say(&p->out, " %.3g (%.2g) |", 100 * run_guess(f[i]), c->guess[i]);
	}
	for (size_t i = 0; i < 3; i++) {
		crowd_say(&p->out, " %.2g (%.2g) |", 100 * run_above_half(f[i]), c->half[i]);
	}
	crowd_say(&p->out, " %.0f (%.0f) |\n", p99_min(&m->here), c->p99);
}

static void
say_law(struct page *p, const struct trace *trace)
{
	crowd_say(&p->out, "\n## Against the other laws, at the same mean wait\n\n"
			   "T = 60 min, k = 3, D = 24 h, one size class. In brackets what the law's "
			   "derivation found with a program of its own. "
			   "Guess and \"somebody above 1/2\" in per cent, waits in minutes.\n\n"
			   "| source | mean wait | guess: crowd | exponential | plain batch | above 1/2: "
			   "crowd | exponential | plain batch | 99 of 100 wait |\n"
			   "|---|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		struct crowd_args a = args_of(p, cells[i].members, cells[i].rate);
		char name[64];
		a.law.clock = 60 * MSEC_MINUTE;
		struct crowd_measured m = measure(p, &a, NULL, true);
		(void)snprintf(name, sizeof(name), "N %.0f, %.0f a day", cells[i].members, cells[i].rate);
		say_cell(p, name, &m, &cells[i]);
		crowd_measured_clear(&m);
	}
	if (trace != NULL) {
		struct crowd_args a = args_of(p, 0, 1);
		char name[64];
		a.law.clock = 60 * MSEC_MINUTE;
		struct crowd_measured m = measure(p, &a, trace, true);
		(void)snprintf(name, sizeof(name), "email-Eu, %u people", trace->senders);
		say_cell(p, name, &m, &trace_cell);
		crowd_measured_clear(&m);
		crowd_say(&p->out,
			  "\nThe last line is a real trace: the internal mail of a European research "
			  "institution (SNAP, email-Eu-core-temporal; Paranjape, "
			  "Benson, Leskovec 2017), %zu letters before its gap.\n",
			  trace->unit_count);
	}
}

static void
say_sizes(struct page *p)
{
	crowd_say(&p->out,
		  "\n## Sizes\n\n"
		  "An observer sees sizes. Letters are padded to 64 KiB, 256 KiB, 1 MiB and so on, "
		  "and each of these classes has a gate of its own: "
		  "a letter with a photograph needs three members with photographs. One letter in "
		  "five carries attachments (the model is below).\n\n"
		  "| 100 members | T | guess | above 1/2 | mean wait | 99 of 100 | void | bytes sent "
		  "|\n|---|---|---|---|---|---|---|---|\n");
	static const struct {
		double rate;
		bool large;
		msec minutes;
	} rows[] = {{5, false, 60}, {5, true, 60}, {5, true, 63},
		    {1, false, 60}, {1, true, 60}, {1, true, 66}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct crowd_args a = args_of(p, 100, rows[i].rate);
		char bytes[32] = "-";
		a.law.clock = rows[i].minutes * MSEC_MINUTE;
		a.large = rows[i].large ? size_model_default.large : 0;
		struct crowd_measured m = measure(p, &a, NULL, false);
		if (rows[i].large) {
			(void)snprintf(bytes, sizeof(bytes), "%.1f times", run_overhead(&m.here));
		}
		crowd_say(&p->out,
			  "| %.0f a day, %s | %lld min | %.3g %% | %.2g %% | %.0f min | %.0f min | %.2g %% | "
			  "%s |\n",
			  rows[i].rate, rows[i].large ? "a fifth large" : "all of one class",
			  (long long)rows[i].minutes, 100 * run_guess(&m.here), 100 * run_above_half(&m.here),
			  mean_min(&m.here), p99_min(&m.here), 100 * run_void(&m.here), bytes);
		crowd_measured_clear(&m);
	}
	crowd_say(&p->out,
		  "\nThe law's derivation, with its own model of sizes: guess 11 %%, void 0.2 %%, "
		  "mean 43 min, 2.4 times the bytes at 5 a day; 21 %%, 1.2 %% and "
		  "96 min at 1. At 5 a day and T = 60 min this model's guess is a little above 11 %% "
		  "with a shorter wait; at T = 63 min, still below that mean wait, it is below 11 %%.\n");
}

/* The exponential law (period 0) with the crowd's mean wait, and the crowd's lanes. */
static struct regular_figures
regular(struct page *p, uint32_t members, double rate, bool patient, msec period)
{
	struct crowd_args a = args_of(p, members, rate);
	if (period == 0) {
		a.law.kind = LAW_EXPONENTIAL;
		a.law.mean = a.law.clock / 2;
		period = a.law.patient;
	}
	struct regular_setup setup = {.law = a.law,
				      .patient = patient,
				      .members = members,
				      .rate = rate,
				      .days = 365,
				      .weekly = 2,
				      .tests = 60,
				      .certain = 0.95,
				      .seed = p->seed};
	struct regular_figures f = {.tests = 0};
	setup.law.patient = period;
	if (p->error == ERR_OK) {
		p->error = regular_members(&setup, &f);
	}
	return f;
}

static void
say_letters(struct page *p, double letters)
{
	if (isfinite(letters)) {
		crowd_say(&p->out, " %.0f |", letters);
	} else {
		crowd_say(&p->out, " not reached |");
	}
}

enum { LANES = 4 };

static void
say_regular(struct page *p)
{
	static const uint32_t members[] = {30, 100, 300};
	static const char *const lanes[] = {"random wait, 15 min", "normal", "patient, 48 h",
					    "patient, 7 days"};
	static const msec periods[] = {0, 2 * MSEC_DAY, 2 * MSEC_DAY, 7 * MSEC_DAY};
	static struct regular_figures shown[LANES];
	static double weeks[REGULAR_CURVE];
	struct plot plot = {.title = "Two letters a week to one small server, 100 members, 5 a day each",
			    .x_label = "weeks",
			    .y_label = "found out (exact Bayes, 95 %)",
			    .percent_y = true};
	crowd_say(&p->out, "\n## Regular correspondence: when it is found out, and what cures it\n\n"
			   "She writes two letters a week to a small server that nobody else here writes to. "
			   "Each of them tells the observer who was *not* in its batch. "
			   "He is counted as successful once exact Bayes gives her 95 %%; in brackets, once "
			   "statistical disclosure puts her first for good.\n\n"
			   "| members, 5 a day | lane | letters until then: luckiest tenth | half | nine of "
			   "ten | found in 30 days | 90 days | 365 days |\n"
			   "|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		for (size_t k = 0; k < LANES; k++) {
			struct regular_figures f = regular(p, members[i], 5, k > 1, periods[k]);
			if (members[i] == 100) {
				shown[k] = f;
			}
			crowd_say(&p->out, "| %u | %s |", members[i], lanes[k]);
			say_letters(p, f.letters_tenth);
			say_letters(p, f.letters_half);
			say_letters(p, f.letters_most);
			for (int d = 0; d < REGULAR_MARKS; d++) {
				crowd_say(&p->out, " %.0f %% (%.0f %%) |", 100 * f.bayes[d],
					  100 * f.disclosure[d]);
			}
			crowd_say(&p->out, "\n");
		}
	}
	for (size_t w = 0; w < REGULAR_CURVE; w++) {
		weeks[w] = (double)w * REGULAR_CURVE_DAYS / 7;
	}
	for (size_t k = 0; k < LANES; k++) {
		plot.series[plot.series_count++] = (struct plot_series){
		    .name = lanes[k], .x = weeks, .y = shown[k].curve, .count = REGULAR_CURVE};
	}
	draw(p, "regular", &plot);
	crowd_say(&p->out, "\nNo delay of hours cures it: a handful of letters is enough, whatever the law "
			   "and nearly whatever the size. The patient lane multiplies that number, since "
			   "in two days nearly everybody has written something (lanes are secret); where "
			   "people write less than about once a day it needs seven days. It "
			   "hides nobody for ever. What would: letters that are sent always, whether or not "
			   "there is one (dummies), or a line that always looks the same.\n");
}

static void
say_kept(struct page *p)
{
	crowd_say(&p->out,
		  "\n## How the law is kept\n\n"
		  "At a tick, in each size class, c(m) is what waits of a member m and gone(m) what she has "
		  "sent urgently since the gate last "
		  "opened. The gate opens with the largest share x for which the sum of min(c(m) + gone(m), "
		  "x) - min(gone(m), x) over the members "
		  "who count is at least k x (whole letters: what fits into the room that her share has "
		  "left, in order of arrival). Those leave. "
		  "*Protected* is a letter that leaves within such a share, and only while nothing else of "
		  "its sender's leaves beside it "
		  "(urgent, or capped and overdue). The crowd that the journal names is made of the "
		  "deliveries within the shares of members who "
		  "count: what is void, and what automatic senders send, makes nobody's crowd. At a shut "
		  "gate all that leaves is void.\n\n"
		  "");
	crowd_say(&p->out,
		  "**Why this is 1/k.** The true sender of a protected letter has at most x - min(gone, x) "
		  "of the deliveries within the shares, "
		  "of which there are at least k x. An observer who cannot know whose the urgent deliveries "
		  "were may hold some of hers for another's: "
		  "then he believes that up to min(c + gone, x) of hers are in this batch, at most x, and k "
		  "x is still the whole. To "
		  "hold another's urgent delivery for hers can only lower what he thinks is left of hers. "
		  "What leaves beside the shares "
		  "only adds to the whole. With c accounts of his own he takes away at most c x, and (k - c) "
		  "x remain.\n\n"
		  "");
	crowd_say(&p->out,
		  "**Decided, beyond the law's derivation.** There the sum of all urgent deliveries was "
		  "taken off what all release, so that one member's "
		  "twenty urgent letters kept the gate shut for everybody else until the deadline. They now "
		  "come off her own share alone, "
		  "never more than x; one account more never makes the share smaller (tested). Each of the "
		  "derivation's worked examples comes out the same.\n\n"
		  "");
	crowd_say(&p->out,
		  "**Send later.** A letter held for a time leaves at the first tick after it: its author "
		  "has chosen a time, as with an urgent one. "
		  "Within her share at an open gate it is protected; else it is void, and she is told.\n\n"
		  "");
	crowd_say(&p->out,
		  "**Tested** over random houses (quiet and busy, k from 1 to 7, up to three accounts of an "
		  "attacker's; urgent, patient, held and "
		  "automatic mail; letters to up to 40 hosts): no protected sender has more than 1/(k - c) "
		  "of what the others who count make up "
		  "for her, the attacker's own and all that is void beyond that share taken off; nobody "
		  "waits longer than D + T but the patient and the held; "
		  "others leave as soon with a flood as without. A million ticks in each run of the unit "
		  "tests; once ten million ticks and 33 million "
		  "letters (`COHUE_RUNS=10 build-release/src/law/law_runs_test`), without a breach.\n\n"
		  "");
	crowd_say(&p->out,
		  "**What a single overdue letter does.** In a house where no gate opens for a whole day, "
		  "one letter that was never capped takes all that "
		  "wait along at its deadline, void. An attacker's account can bring this about where, in "
		  "its size class, fewer than k - 1 others write within a day.\n");
}

static void
say_broken(struct page *p)
{
	struct crowd_args a = args_of(p, 100, 5);
	crowd_say(&p->out, "\n## What stays broken\n\n"
			   "**Accomplices, with power over the lines.** Who can keep all other members from "
			   "sending, and holds accounts himself, is alone with his victim:\n\n"
			   "| his accounts (k = 3) | the victim's letter |\n|---|---|\n");
	for (uint32_t c = 0; c <= 3; c++) {
		struct active_block b = {.accounts = c};
		if (p->error == ERR_OK) {
			p->error = active_block(&a.law, c, p->seed, &b);
		}
		crowd_say(&p->out, "| %u | leaves after %.1f h, %s |\n", c,
			  (double)b.wait / (double)MSEC_HOUR,
			  b.is_void ? "void; she is told" : "linked for certain; nobody is told");
	}
	crowd_say(&p->out, "\n**Accomplices alone** (100 members, 240 letters a day from each account) only "
			   "cap themselves: they turn k into k minus their number, and "
			   "delay nobody.\n\n"
			   "| accounts, k | others' mean wait | 99 of 100 | guess | largest guess where the "
			   "promise was kept |\n|---|---|---|---|---|\n");
	for (uint32_t i = 0; i <= 4; i++) {
		const uint32_t c = i <= 2 ? i : i - 2;
		struct source_members model = {.members = 100,
					       .rate = 5,
					       .days = 60,
					       .flooders = c,
					       .flood_rate = 240,
					       .flood_urgent = i > 2,
					       .seed = p->seed};
		struct run_figures f = {.delays = NULL};
		struct law_config law = a.law;
		law.k = 5;
		if (p->error == ERR_OK) {
			p->error = active_flood(&law, &model, &f);
		}
		crowd_say(&p->out, "| %u%s, k = 5 | %.0f min | %.0f min | %.3g %% | %.1f %% (1/%u) |\n", c,
			  i > 2 ? ", all urgent" : "", mean_min(&f), p99_min(&f), 100 * run_guess(&f),
			  100 * f.largest_kept, 5 - c);
		run_figures_clear(&f);
	}
	crowd_say(
	    &p->out,
	    "\n**Few and quiet.** Thirty members who write little have no crowd at times:\n\n"
	    "| thirty members, T = 60 min, a fifth large | void | mean wait | guess |\n|---|---|---|---|\n");
	const double rates[] = {0.3, 0.5, 1};
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct crowd_args q = args_of(p, 30, rates[i]);
		q.law.clock = 60 * MSEC_MINUTE;
		q.large = size_model_default.large;
		struct crowd_measured m = measure(p, &q, NULL, false);
		crowd_say(&p->out, "| %.1f letters a day | %.1f %% | %.1f h | %.0f %% |\n", rates[i],
			  100 * run_void(&m.here), mean_min(&m.here) / 60, 100 * run_guess(&m.here));
		crowd_measured_clear(&m);
	}
	crowd_say(&p->out,
		  "\n**Beyond these models.** That she sent, when, how large, and to how many hosts, is "
		  "seen. 1/k holds for an observer who has no idea beforehand: who knows whom "
		  "she likes to write to multiplies that in. Deliveries to servers with TLS 1.2 only cannot "
		  "be padded. Fetching shows that she fetches. Choosing "
		  "a lane by habit tells. Real people write in bursts and to the same people; where there is "
		  "a trace, simulate it (`--trace`).\n");
}

static void
say_attention(struct page *p)
{
	static struct advise_size rows[ADVISE_SIZES];
	static double x[ADVISE_SIZES];
	static double y[3][ADVISE_SIZES];
	struct crowd_args a = args_of(p, 100, 5);
	struct advise_setup setup = {
	    .members = 100, .rate = 5, .large = 0, .deadline = MSEC_DAY, .seed = p->seed};
	if (p->error == ERR_OK) {
		p->error = advise_sizes(&setup, &a.law, &attention_default, rows);
	}
	if (p->error != ERR_OK) {
		return;
	}
	for (size_t i = 0; i < ADVISE_SIZES; i++) {
		x[i] = rows[i].members;
		y[0][i] = rows[i].guess;
		y[1][i] = rows[i].watched;
		y[2][i] = rows[i].risk;
	}
	struct plot plot = {.title = "When a crowd becomes a target (a model, not a measurement)",
			    .x_label = "members, 5 letters a day each",
			    .y_label = "probability",
			    .log_x = true,
			    .log_y = true,
			    .percent_y = true,
			    .series = {{"guess", x, y[0], ADVISE_SIZES},
				       {"watched at all", x, y[1], ADVISE_SIZES},
				       {"risk: both", x, y[2], ADVISE_SIZES}},
			    .series_count = 3};
	crowd_say(&p->out,
		  "\n## What size draws attention\n\n"
		  "Nobody can measure this. A model to play with (`cohue crowd advise --attention-half …`): "
		  "a service of N members is watched with the chance "
		  "%.2f + %.2f · N^%.1f / (N^%.1f + %.0f^%.1f); a small one may be watched for one of its "
		  "members, a big one for itself.",
		  attention_default.floor, 1 - attention_default.floor, attention_default.steep,
		  attention_default.steep, attention_default.half, attention_default.steep);
	size_t turn = advise_turn(rows);
	if (turn < ADVISE_SIZES) {
		crowd_say(&p->out,
			  " In it, more members stop helping at about %.0f, until the service is so large "
			  "that it is watched anyway. "
			  "Several associations of that size in an alliance share one crowd, and each stays "
			  "small.\n",
			  rows[turn].members);
	} else {
		crowd_say(&p->out, " In it, more members always help.\n");
	}
	draw(p, "attention", &plot);
}

static void
say_models(struct page *p)
{
	crowd_say(&p->out, "\n## The models\n\n"
			   "**Day and night.** Letters come at random (Poisson), members alike, with these "
			   "hourly weights from midnight on, rounded from the email-Eu-core trace:");
	for (size_t i = 0; i < SOURCE_HOURS; i++) {
		crowd_say(&p->out, " %g", source_day[i]);
	}
	crowd_say(&p->out,
		  ". A weekend is a smaller association. The last letter of a run has nobody after it, and "
		  "may be its only void one.\n\n"
		  "**Sizes.** Where stated, one letter in five carries attachments: lognormal, median %.0f "
		  "kB, deviation of the logarithm %.1f, at most %.0f MB. The "
		  "others: lognormal, median %.0f kB, deviation %.1f, within the first class. Header fields "
		  "(4 KiB) are added.\n\n"
		  "**Exponential.** Redrawn beyond 5 m, as the server does; the observer neglects these 0.7 "
		  "%%. The plain batch is the crowd of one.\n\n"
		  "**Regular correspondence.** Each of her letters goes to the small server with the same "
		  "unknown probability; every member is as likely "
		  "as she, before.\n",
		  size_model_default.large_median / 1000, size_model_default.large_spread,
		  size_model_default.max / 1e6, size_model_default.text_median / 1000,
		  size_model_default.text_spread);
}

/* email-Eu-core-temporal has an empty gap of 270 days after this; only what lies before is one trace. */
#define TRACE_GAP (30 * MSEC_DAY)

static void
cut_at_gap(struct trace *t)
{
	for (size_t i = 1; i < t->unit_count; i++) {
		if (t->units[i].time - t->units[i - 1].time > TRACE_GAP) {
			t->unit_count = i;
		}
	}
}

int
cli_crowd_report(struct cli *c)
{
	struct crowd_args a;
	static struct page p;
	struct trace trace = {.rows = NULL};
	char plots[CLI_PATH_ROOM];
	int status = crowd_options(c, "report", &a);
	if (status != CLI_OK) {
		return status;
	}
	p = (struct page){.folder = a.out != NULL ? a.out : "docs", .seed = (uint64_t)a.seed};
	int n = snprintf(plots, sizeof(plots), "%s/crowd", p.folder);
	if (n < 0 || (size_t)n >= sizeof(plots) || (mkdir(plots, 0755) != 0 && errno != EEXIST)) {
		return cli_fail(
		    "crowd: %s/crowd cannot be made: %s. Remedy: --out DIR, a folder that is there", p.folder,
		    strerror(errno));
	}
	if (a.trace != NULL && !crowd_trace(&a, &trace)) {
		return CLI_FAILED;
	}
	cut_at_gap(&trace);
	crowd_out_init(&p.out);
	say_opening(&p, a.trace != NULL);
	say_few(&p);
	say_random(&p);
	say_crowd(&p);
	say_law(&p, a.trace != NULL ? &trace : NULL);
	say_sizes(&p);
	say_regular(&p);
	say_kept(&p);
	say_broken(&p);
	say_attention(&p);
	say_models(&p);
	trace_clear(&trace);
	p.error = p.error == ERR_OK ? p.out.error : p.error;
	if (p.error == ERR_OK) {
		write_file(&p, "crowd.md", &p.out.text);
	}
	buf_clear(&p.out.text);
	if (p.problem != 0) {
		return cli_fail("crowd: a file in %s cannot be written: %s. Remedy: free space, or --out DIR",
				p.folder, strerror(p.problem));
	}
	return p.error == ERR_OK ? CLI_OK : crowd_failed(p.error);
}
