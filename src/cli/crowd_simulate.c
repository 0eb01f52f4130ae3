/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* `cohue crowd simulate`: the server's own law on a trace or on made-up members, against every observer that we know. */
#include <math.h>
#include <stdio.h>

#include "cli/crowd.h"
#include "crowd/active.h"

enum {
	LETTERS_ALL =
	    1000000, /* beyond so many only the attacker of single letters: the rest takes minutes */
	LETTERS_DEFAULT = 100000,
	DAYS_LEAST = 10,
	DAYS_MOST = 2000,
	REGULAR_TESTS = 60,
	REGULAR_LETTERS = 400000,
	FLOODERS_SHOWN = 3,
};

/* What is simulated, in words and numbers. */
struct subject {
	const struct trace *trace;
	double letters;
	double people;
	double days;
};

struct long_term {
	struct regular_figures normal;
	struct regular_figures patient;
	struct regular_figures week; /* the patient store with seven days */
	uint32_t days;
	bool done;
};

struct flooded {
	struct run_figures figures;
	uint32_t accounts;
	bool urgent;
};

struct report {
	struct subject of;
	struct crowd_measured single;
	struct long_term regular;
	struct active_block blocks[8];
	size_t block_count;
	struct flooded floods[2 * FLOODERS_SHOWN]; /* normal letters, then urgent ones */
	size_t flood_count;
};

static enum err
make_source(const struct crowd_args *a, const struct trace *trace, struct source **ret)
{
	struct source_members model = {.members = (uint32_t)a->members,
				       .rate = a->rate,
				       .days = a->days,
				       .flooders = (uint32_t)a->flooders,
				       .flood_rate = a->flood_rate,
				       .flood_urgent = a->flood_urgent,
				       .large = a->large,
				       .seed = (uint64_t)a->seed};
	return trace != NULL ? source_of_trace(trace, a->large, a->weights, (uint64_t)a->seed, ret)
			     : source_of_members(&model, ret);
}

static enum err
run_once(const struct crowd_args *a, const struct trace *trace, const struct law_config *law,
	 struct run_figures *ret)
{
	struct run_setup setup = {.law = *law,
				  .honest = trace != NULL ? UINT32_MAX : (uint32_t)a->members,
				  .seed = (uint64_t)a->seed};
	struct source *source = NULL;
	enum err e = make_source(a, trace, &source);
	e = e == ERR_OK ? run_law(&setup, source, NULL, ret) : e;
	source_destroy(&source);
	return e;
}

enum err
crowd_measure(const struct crowd_args *a, const struct trace *trace, bool compare, struct crowd_measured *ret)
{
	struct crowd_measured m = {.compared = false};
	enum err e = run_once(a, trace, &a->law, &m.here);
	msec mean = e == ERR_OK ? delays_mean(m.here.delays) : 0;
	if (e == ERR_OK && compare && a->law.kind != LAW_NONE && mean > MSEC_SECOND) {
		/* The redraw beyond 5 m takes 3.4 % off the mean: 1 - 5 e^-5 / (1 - e^-5). */
		const double kept = 0.966;
		struct law_config exponential = {.kind = LAW_EXPONENTIAL,
						 .mean = (msec)((double)mean / kept)};
		/* The plain batch is the crowd of one. */
		struct law_config batch = {
		    .kind = LAW_CROWD, .clock = 2 * mean, .k = 1, .deadline = 2 * mean, .mean = mean};
		m.compared = true;
		e = run_once(a, trace, &exponential, &m.exponential);
		e = e == ERR_OK ? run_once(a, trace, &batch, &m.batch) : e;
	}
	if (e != ERR_OK) {
		crowd_measured_clear(&m);
		return e;
	}
	*ret = m;
	return ERR_OK;
}

void
crowd_measured_clear(struct crowd_measured *m)
{
	run_figures_clear(&m->here);
	run_figures_clear(&m->exponential);
	run_figures_clear(&m->batch);
}

static enum err
measure_regular(const struct crowd_args *a, const struct subject *s, struct long_term *ret)
{
	struct regular_setup setup = {.law = a->law,
				      .members = (uint32_t)a->members,
				      .rate = a->rate,
				      .weekly = a->weekly,
				      .tests = REGULAR_TESTS,
				      .certain = 0.95,
				      .seed = (uint64_t)a->seed};
	struct {
		bool patient;
		msec period;
		struct regular_figures *figures;
	} lanes[] = {{false, a->law.patient, &ret->normal},
		     {true, a->law.patient > 0 ? a->law.patient : 2 * MSEC_DAY, &ret->patient},
		     {true, 7 * MSEC_DAY, &ret->week}};
	double daily = s->letters / s->days;
	enum err e = ERR_OK;
	setup.days = daily * regular_marks[2] <= REGULAR_LETTERS ? regular_marks[2] : regular_marks[1];
	if (s->trace != NULL) {
		setup.days = s->days >= regular_marks[1] ? regular_marks[1] : (uint32_t)s->days;
	}
	if (a->law.kind == LAW_NONE || setup.days < regular_marks[0] || daily * setup.days > LETTERS_ALL ||
	    a->weekly > 7 * a->rate) {
		return ERR_OK;
	}
	size_t count = a->law.kind == LAW_CROWD ? sizeof(lanes) / sizeof(lanes[0]) : 1;
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		setup.patient = lanes[i].patient;
		setup.law.patient = lanes[i].period;
		e = s->trace != NULL ? regular_trace(&setup, s->trace, lanes[i].figures)
				     : regular_members(&setup, lanes[i].figures);
	}
	ret->days = setup.days;
	ret->done = e == ERR_OK;
	return e;
}

static enum err
measure_active(const struct crowd_args *a, struct report *r)
{
	enum err e = ERR_OK;
	for (uint32_t c = 0; e == ERR_OK && c <= a->law.k && r->block_count < 8; c++) {
		/* All about k: below it the letter leaves void, at k - 1 it is linked without a word. */
		if (c + 3 >= a->law.k || c == 0) {
			e = active_block(&a->law, c, (uint64_t)a->seed, &r->blocks[r->block_count]);
			r->block_count += e == ERR_OK;
		}
	}
	for (uint32_t i = 0; e == ERR_OK && r->of.trace == NULL && i < 2 * FLOODERS_SHOWN; i++) {
		const uint32_t c = 1 + i % FLOODERS_SHOWN;
		const bool urgent = i >= FLOODERS_SHOWN;
		if (c >= a->law.k) {
			continue;
		}
		struct source_members model = {.members = (uint32_t)a->members,
					       .rate = a->rate,
					       .days = a->days > 60 ? 60 : a->days,
					       .flooders = c,
					       .flood_rate = a->flood_rate,
					       .flood_urgent = urgent,
					       .large = a->large,
					       .seed = (uint64_t)a->seed};
		if (((double)model.members * model.rate + c * model.flood_rate) * model.days > LETTERS_ALL) {
			continue;
		}
		struct flooded *f = &r->floods[r->flood_count];
		f->accounts = c;
		f->urgent = urgent;
		e = active_flood(&a->law, &model, &f->figures);
		r->flood_count += e == ERR_OK;
	}
	return e;
}

/* ---- text ---- */

struct column {
	const char *name;
	const struct run_figures *figures;
};

static size_t
columns_of(const struct crowd_args *a, const struct crowd_measured *m, struct column ret[3])
{
	ret[0] = (struct column){law_kind_name(a->law.kind), &m->here};
	ret[1] = (struct column){"exponential", &m->exponential};
	ret[2] = (struct column){"plain batch", &m->batch};
	return m->compared ? 3 : 1;
}

static void
say_row(struct crowd_out *o, const char *name, const struct column *columns, size_t count,
	double (*value)(const struct run_figures *), const char *format)
{
	crowd_say(o, "  %-34s", name);
	for (size_t i = 0; i < count; i++) {
		char text[64];
		double v = value(columns[i].figures);
		(void)snprintf(text, sizeof(text), format[0] == '%' ? "%.3g %%" : "%.4g",
			       format[0] == '%' ? 100 * v : v);
		crowd_say(o, "%14s", isfinite(v) ? text : "-");
	}
	crowd_say(o, "\n");
}

static double
minutes(msec wait)
{
	return (double)wait / (double)MSEC_MINUTE;
}

static double
mean_of(const struct run_figures *f)
{
	return minutes(delays_mean(f->delays));
}

static double
p50_of(const struct run_figures *f)
{
	return minutes(delays_quantile(f->delays, 0.5));
}

static double
p95_of(const struct run_figures *f)
{
	return minutes(delays_quantile(f->delays, 0.95));
}

static double
p99_of(const struct run_figures *f)
{
	return minutes(delays_quantile(f->delays, 0.99));
}

static double
largest_of(const struct run_figures *f)
{
	return f->largest_kept;
}

static const struct {
	const char *text;
	const char *json;
	double (*value)(const struct run_figures *);
	const char *format;
	bool crowd_only;
} rows[] = {
    {"wait, mean (min)", "wait_mean_min", mean_of, "g", false},
    {"wait, half of them (min)", "wait_p50_min", p50_of, "g", false},
    {"wait, 95 of 100 (min)", "wait_p95_min", p95_of, "g", false},
    {"wait, 99 of 100 (min)", "wait_p99_min", p99_of, "g", false},
    {"best guess at a letter's sender", "guess", run_guess, "%", false},
    {"entropy over members (bits)", "entropy_bits", run_entropy, "g", false},
    {"somebody above 1/2", "above_half", run_above_half, "%", false},
    {"left without the promise (void)", "void", run_void, "%", true},
    {"largest guess where it was kept", "largest_kept", largest_of, "%", true},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static void
say_law(struct crowd_out *o, const struct law_config *law)
{
	crowd_say(o, "law %s", law_kind_name(law->kind));
	if (law->kind == LAW_CROWD) {
		crowd_say(o, ": clock ");
		crowd_say_wait(o, law->clock);
		crowd_say(o, ", crowd %u, deadline ", law->k);
		crowd_say_wait(o, law->deadline);
	} else if (law->kind == LAW_EXPONENTIAL) {
		crowd_say(o, ": mean ");
		crowd_say_wait(o, law->mean);
	}
	crowd_say(o, "\n");
}

static void
say_regular(struct crowd_out *o, const char *lane, const struct regular_figures *f)
{
	crowd_say(o, "  %-22s", lane);
	for (int i = 0; i < REGULAR_MARKS; i++) {
		if (isfinite(f->bayes[i])) {
			crowd_say(o, "%6.0f %% (%3.0f %%)", 100 * f->bayes[i], 100 * f->disclosure[i]);
		} else {
			crowd_say(o, "%16s", "-");
		}
	}
	if (isfinite(f->letters_half)) {
		crowd_say(o, "   %.0f", f->letters_half);
	} else {
		crowd_say(o, "   more than %.0f", f->letters);
	}
	crowd_say(o, "\n");
}

static void
say_classes(struct crowd_out *o, const struct run_figures *f)
{
	crowd_say(o,
		  "\nSizes: %.2f times the bytes. Each class has a gate of its own:\n"
		  "  up to            letters  mean wait      void\n",
		  run_overhead(f));
	for (unsigned i = 0; i < LAW_CLASSES; i++) {
		const struct run_class *c = &f->classes[i];
		if (c->letters > 0) {
			crowd_say(o, "  %6llu KiB %12llu %6.0f min %8.2f %%\n",
				  (unsigned long long)(law_class_bytes(i) / 1024),
				  (unsigned long long)c->letters, c->wait / (double)c->letters / 60000,
				  100.0 * (double)c->void_letters / (double)c->letters);
		}
	}
}

static void
say_active(struct crowd_out *o, const struct crowd_args *a, const struct report *r)
{
	if (r->block_count > 0) {
		crowd_say(o,
			  "\nSomebody who can block all others at their lines, with accounts of his own:\n");
	}
	for (size_t i = 0; i < r->block_count; i++) {
		const struct active_block *b = &r->blocks[i];
		crowd_say(o, "  %2u accounts: the letter leaves after ", b->accounts);
		crowd_say_wait(o, b->wait);
		crowd_say(o, b->is_void ? ", void, and its sender is told\n"
					: ": linked for certain, and nobody is told\n");
	}
	if (r->flood_count > 0) {
		crowd_say(o,
			  "\nA flood of %.0f letters a day from each of his accounts (figures of the others' "
			  "letters):\n",
			  a->flood_rate);
	}
	for (size_t i = 0; i < r->flood_count; i++) {
		const struct run_figures *f = &r->floods[i].figures;
		crowd_say(o,
			  "  %2u accounts%s: mean wait %.0f min, p99 %.0f min, best guess %.3g %%, largest "
			  "guess where the promise was kept "
			  "%.3g %% (1/(k-c) = %.3g %%), void %.2g %%\n",
			  r->floods[i].accounts, r->floods[i].urgent ? ", all urgent" : "", mean_of(f),
			  p99_of(f), 100 * run_guess(f), 100 * f->largest_kept,
			  100.0 / (a->law.k - r->floods[i].accounts), 100 * run_void(f));
	}
}

static void
say_text(struct crowd_out *o, const struct crowd_args *a, const struct report *r)
{
	struct column columns[3];
	size_t count = columns_of(a, &r->single, columns);
	crowd_say(o, "%.0f letters of %.0f %s in %.4g days: %.3g a person and day\n", r->of.letters,
		  r->of.people, r->of.trace != NULL ? "senders" : "members", r->of.days,
		  r->of.letters / r->of.people / r->of.days);
	say_law(o, &a->law);
	crowd_say(o, "\nOne letter, an observer who sees all lines and knows the law%s:\n  %-34s",
		  count > 1 ? " (others at the same mean wait)" : "", "");
	for (size_t i = 0; i < count; i++) {
		crowd_say(o, "%14s", columns[i].name);
	}
	crowd_say(o, "\n");
	for (size_t i = 0; i < ROWS; i++) {
		if (!rows[i].crowd_only || a->law.kind == LAW_CROWD) {
			say_row(o, rows[i].text, columns, rows[i].crowd_only ? 1 : count, rows[i].value,
				rows[i].format);
		}
	}
	if (a->law.kind == LAW_CROWD) {
		crowd_say(o, "  letters above 1/%u where it was kept: %llu\n", a->law.k,
			  (unsigned long long)r->single.here.above_kept);
	}
	if (a->large > 0) {
		say_classes(o, &r->single.here);
	}
	if (r->regular.done) {
		const struct regular_figures *n = &r->regular.normal;
		crowd_say(o,
			  "\nA regular correspondent (%u tested, %.0f letters each in %u days) of a small "
			  "server: found out\n"
			  "by exact Bayes at 95 %% (by statistical disclosure), and the letters that half of "
			  "them last:\n"
			  "  %-22s%16s%16s%16s\n",
			  n->tests, n->letters, r->regular.days, "", "30 days", "90 days", "365 days");
		say_regular(o, "normal lane", n);
	}
	if (r->regular.done && a->law.kind == LAW_CROWD) {
		say_regular(o, "patient lane", &r->regular.patient);
		say_regular(o, "patient lane, 7 days", &r->regular.week);
	}
	say_active(o, a, r);
}

/* ---- JSON, CSV ---- */

static void
json_figures(struct crowd_out *o, const char *name, const struct run_figures *f, bool crowd)
{
	crowd_say(o, "\"%s\": {", name);
	for (size_t i = 0; i < ROWS; i++) {
		if (!rows[i].crowd_only || crowd) {
			crowd_say_number(o, rows[i].json, rows[i].value(f));
			crowd_say(o, ", ");
		}
	}
	crowd_say(o, "\"letters\": %llu, \"above_promise\": %llu, \"padding\": %.4g}",
		  (unsigned long long)f->letters, (unsigned long long)(crowd ? f->above_kept : 0),
		  run_overhead(f));
}

static void
json_regular(struct crowd_out *o, const char *name, const struct regular_figures *f)
{
	crowd_say(o, ", \"%s\": {\"tests\": %u, ", name, f->tests);
	crowd_say_number(o, "letters", f->letters);
	for (int i = 0; i < REGULAR_MARKS; i++) {
		char key[40];
		(void)snprintf(key, sizeof(key), "bayes_%u_days", regular_marks[i]);
		crowd_say(o, ", ");
		crowd_say_number(o, key, f->bayes[i]);
		(void)snprintf(key, sizeof(key), "disclosure_%u_days", regular_marks[i]);
		crowd_say(o, ", ");
		crowd_say_number(o, key, f->disclosure[i]);
	}
	crowd_say(o, ", ");
	crowd_say_number(o, "letters_tenth", f->letters_tenth);
	crowd_say(o, ", ");
	crowd_say_number(o, "letters_half", f->letters_half);
	crowd_say(o, ", ");
	crowd_say_number(o, "letters_most", f->letters_most);
	crowd_say(o, "}");
}

static void
say_json(struct crowd_out *o, const struct crowd_args *a, const struct report *r)
{
	crowd_say(o,
		  "{\"source\": {\"letters\": %.0f, \"people\": %.0f, \"days\": %.6g, \"trace\": %s},\n "
		  "\"law\": {\"name\": \"%s\", \"clock_s\": %lld, \"crowd\": %u, \"deadline_s\": %lld, "
		  "\"mean_s\": %lld, \"patient_s\": %lld},\n \"single\": {",
		  r->of.letters, r->of.people, r->of.days, r->of.trace != NULL ? "true" : "false",
		  law_kind_name(a->law.kind), (long long)(a->law.clock / 1000), a->law.k,
		  (long long)(a->law.deadline / 1000), (long long)(a->law.mean / 1000),
		  (long long)(a->law.patient / 1000));
	json_figures(o, "here", &r->single.here, a->law.kind == LAW_CROWD);
	if (r->single.compared) {
		crowd_say(o, ",\n  ");
		json_figures(o, "exponential", &r->single.exponential, false);
		crowd_say(o, ",\n  ");
		json_figures(o, "batch", &r->single.batch, false);
	}
	crowd_say(o, "}");
	if (r->regular.done) {
		crowd_say(o, ",\n \"regular\": {\"days\": %u", r->regular.days);
		json_regular(o, "normal", &r->regular.normal);
		if (a->law.kind == LAW_CROWD) {
			json_regular(o, "patient", &r->regular.patient);
			json_regular(o, "patient_week", &r->regular.week);
		}
		crowd_say(o, "}");
	}
	crowd_say(o, ",\n \"blocked\": [");
	for (size_t i = 0; i < r->block_count; i++) {
		const struct active_block *b = &r->blocks[i];
		crowd_say(o, "%s{\"accounts\": %u, \"wait_min\": %.6g, \"void\": %s}", i > 0 ? ", " : "",
			  b->accounts, minutes(b->wait), b->is_void ? "true" : "false");
	}
	crowd_say(o, "],\n \"flooded\": [");
	for (size_t i = 0; i < r->flood_count; i++) {
		crowd_say(o, "%s{\"accounts\": %u, \"urgent\": %s, ", i > 0 ? ",\n  " : "",
			  r->floods[i].accounts, r->floods[i].urgent ? "true" : "false");
		json_figures(o, "figures", &r->floods[i].figures, true);
		crowd_say(o, "}");
	}
	crowd_say(o, "]}\n");
}

static void
say_csv(struct crowd_out *o, const struct crowd_args *a, const struct report *r)
{
	struct column columns[3];
	size_t count = columns_of(a, &r->single, columns);
	crowd_say(o, "law");
	for (size_t i = 0; i < ROWS; i++) {
		crowd_say(o, ",%s", rows[i].json);
	}
	crowd_say(o, "\n");
	for (size_t k = 0; k < count; k++) {
		crowd_say(o, "%s", columns[k].name);
		for (size_t i = 0; i < ROWS; i++) {
			if (rows[i].crowd_only && (k > 0 || a->law.kind != LAW_CROWD)) {
				crowd_say(o, ",");
			} else {
				crowd_say(o, ",%.6g", rows[i].value(columns[k].figures));
			}
		}
		crowd_say(o, "\n");
	}
}

/* ---- the command ---- */

static int
check(struct crowd_args *a, const struct trace *trace, struct subject *ret)
{
	double people = trace != NULL ? trace->senders : floor(a->members);
	if (a->law.kind == LAW_CROWD && people < 2) {
		return cli_fail(
		    "crowd: one person is no crowd, and all that leaves is hers. Remedy: %s, or --law "
		    "exponential",
		    trace != NULL ? "a trace with more senders" : "more --members");
	}
	if (a->law.kind == LAW_CROWD && a->law.k > people) {
		return cli_fail("crowd: %u different members are wanted for a crowd, but only %.0f could "
				"ever count. Remedy: "
				"--crowd %.0f or less; from 3 people on one can speak of a crowd",
				a->law.k, people, people);
	}
	if (a->law.kind == LAW_CROWD && a->law.deadline < a->law.clock) {
		return cli_fail(
		    "crowd: the deadline is shorter than the clock. Remedy: --deadline of at least the "
		    "clock's period");
	}
	if (a->law.kind == LAW_CROWD && a->law.patient > 0 && a->law.patient < a->law.clock) {
		return cli_fail("crowd: the period of the patient lane is shorter than the clock. Remedy: "
				"--patient of at least the clock's period");
	}
	if (trace != NULL) {
		msec span = trace->units[trace->unit_count - 1].time - trace->units[0].time;
		*ret = (struct subject){.trace = trace,
					.letters = (double)trace->unit_count,
					.people = people,
					.days = (double)(span > 0 ? span : 1) / (double)MSEC_DAY};
		return CLI_OK;
	}
	double daily = people * a->rate;
	if (a->days <= 0) {
		a->days = ceil(LETTERS_DEFAULT / daily);
		a->days = a->days < DAYS_LEAST ? DAYS_LEAST : a->days > DAYS_MOST ? DAYS_MOST : a->days;
	}
	*ret = (struct subject){.letters = daily * a->days, .people = people, .days = a->days};
	return CLI_OK;
}

static void
clear(struct report *r)
{
	crowd_measured_clear(&r->single);
	for (size_t i = 0; i < 2 * FLOODERS_SHOWN; i++) {
		run_figures_clear(&r->floods[i].figures);
	}
}

static int
simulate(struct crowd_args *a, const struct trace *trace)
{
	struct report r = {.block_count = 0};
	int status = check(a, trace, &r.of);
	if (status != CLI_OK) {
		return status;
	}
	bool all = !a->single && r.of.letters <= LETTERS_ALL;
	enum err e = crowd_measure(a, trace, all, &r.single);
	if (e == ERR_OK && trace == NULL) {
		r.of.letters = (double)r.single.here.letters;
	}
	e = e == ERR_OK && all ? measure_regular(a, &r.of, &r.regular) : e;
	e = e == ERR_OK && all && a->law.kind == LAW_CROWD ? measure_active(a, &r) : e;
	if (e == ERR_OK && r.single.here.left_waiting > 0) {
		e = ERR_STATE;
	}
	if (e != ERR_OK) {
		clear(&r);
		return crowd_failed(e);
	}
	struct crowd_out o;
	crowd_out_init(&o);
	if (a->format == CROWD_JSON) {
		say_json(&o, a, &r);
	} else if (a->format == CROWD_CSV) {
		say_csv(&o, a, &r);
	} else {
		say_text(&o, a, &r);
	}
	clear(&r);
	return crowd_print(&o);
}

int
cli_crowd_simulate(struct cli *c)
{
	struct crowd_args a;
	struct trace trace = {.rows = NULL};
	int status = crowd_options(c, "simulate", &a);
	if (status != CLI_OK) {
		return status;
	}
	if ((a.trace == NULL) == (a.members <= 0)) {
		return cli_fail(
		    "crowd: whose letters? Remedy: either --trace FILE or --members N (with --rate R)");
	}
	if (a.format == CROWD_SVG) {
		return cli_fail(
		    "crowd: simulate draws nothing. Remedy: --format text, csv or json; `cohue crowd report` "
		    "draws");
	}
	if (a.trace != NULL && !crowd_trace(&a, &trace)) {
		return CLI_FAILED;
	}
	if (a.trace != NULL && a.days > 0) {
		msec end = trace.units[0].time + (msec)(a.days * (double)MSEC_DAY);
		while (trace.unit_count > 1 && trace.units[trace.unit_count - 1].time >= end) {
			trace.unit_count--;
		}
	}
	status = simulate(&a, a.trace != NULL ? &trace : NULL);
	trace_clear(&trace);
	return status;
}
