/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/regular.h"

#include <math.h>
#include <stdlib.h>

#include "crowd/attack.h"

const uint32_t regular_marks[REGULAR_MARKS] = {30, 90, 365};

enum { VIEWS_MAX = 256 * 1024 * 1024 / sizeof(float) };
#define NO_VIEW SIZE_MAX

struct letter {
	uint64_t batch;
	uint32_t member;
	uint32_t number; /* of the unit: of a trace, for its recipients */
	msec when;
	size_t view; /* exponential, if it goes to a server under test: its place in record.views */
};

/* One correspondence under test. */
struct test {
	uint32_t member;
	uint32_t recipient; /* of a trace */
};

/* Which letters go to the server under test. */
struct subject {
	const struct trace *trace; /* NULL: drawn, by a number of each letter's own */
	double share;
	uint64_t seed;
	struct test *tests;
	uint32_t count;
};

struct record {
	const struct subject *subject;
	struct letter *letters; /* in the order of leaving */
	size_t count;
	size_t cap;
	uint32_t members;
	bool exponential;
	float *views; /* of each such letter: the probability of each member */
	size_t view_count;
	size_t view_cap;
	enum err error;
};

struct trial {
	const struct record *record;
	const struct test *test;
	double certain;
	/* Per member. */
	double *fits; /* sum of the logarithms of the binomials; -inf: excluded */
	uint32_t *letters;
	uint32_t *in_batch;
	uint32_t *present; /* members of this batch */
	double *score;     /* shares in the batches with such letters */
	double *usual;     /* shares in all batches */
	/* What came out. */
	uint32_t to_server;
	uint32_t batches;
	uint32_t hits;         /* batches with such letters */
	double bayes_letters;  /* NAN: not yet */
	msec bayes_when;       /* LAW_NEVER: not yet */
	msec disclosure_since; /* LAW_NEVER: not the first now */
};

static bool
goes_there(const struct subject *s, const struct test *test, uint32_t member, uint32_t number)
{
	if (member != test->member) {
		return false;
	}
	if (s->trace == NULL) {
		struct chance own;
		chance_init(&own, s->seed + number * 0x9e3779b97f4a7c15U);
		return chance_unit(&own) < s->share;
	}
	const struct trace_unit *u = &s->trace->units[number];
	for (uint32_t i = 0; i < u->rows; i++) {
		if (s->trace->rows[u->first + i].recipient == test->recipient) {
			return true;
		}
	}
	return false;
}

static bool
is_under_test(const struct subject *s, uint32_t member, uint32_t number)
{
	for (uint32_t i = 0; i < s->count; i++) {
		if (goes_there(s, &s->tests[i], member, number)) {
			return true;
		}
	}
	return false;
}

/* Room for one more, doubled where it is full. */
static void *
room(void *array, size_t *cap, size_t wanted, size_t size)
{
	size_t more = *cap == 0 ? 65536 : *cap;
	while (more < wanted) {
		more *= 2;
	}
	void *bigger = more == *cap ? array : reallocarray(array, more, size);
	*cap = bigger != NULL ? more : *cap;
	return bigger;
}

static void
keep_view(struct record *r, const struct stream_attack *stream, struct letter *letter)
{
	if (r->view_count > VIEWS_MAX - r->members) {
		r->error = ERR_LIMIT;
		return;
	}
	float *views = room(r->views, &r->view_cap, r->view_count + r->members, sizeof(*views));
	if (views == NULL) {
		r->error = ERR_MEMORY;
		return;
	}
	r->views = views;
	for (uint32_t m = 0; m < r->members; m++) {
		views[r->view_count + m] = (float)stream_attack_of(stream, m);
	}
	letter->view = r->view_count;
	r->view_count += r->members;
}

static void
keep(void *arg, uint64_t batch, msec when, const struct law_unit *unit, const struct stream_attack *stream)
{
	struct record *r = arg;
	/* Ids count up with the source's units. */
	struct letter letter = {.batch = batch,
				.member = (uint32_t)unit->member,
				.number = (uint32_t)unit->id,
				.when = when,
				.view = NO_VIEW};
	struct letter *letters = room(r->letters, &r->cap, r->count + 1, sizeof(*letters));
	if (letters == NULL) {
		r->error = ERR_MEMORY;
		return;
	}
	r->letters = letters;
	if (stream != NULL && r->error == ERR_OK && is_under_test(r->subject, letter.member, letter.number)) {
		keep_view(r, stream, &letter);
	}
	r->letters[r->count++] = letter;
}

static double
log_choose(uint32_t n, uint32_t k)
{
	double sum = 0;
	for (uint32_t i = 0; i < k; i++) {
		sum += log((double)(n - i) / (double)(i + 1));
	}
	return sum;
}

/* The logarithm of P(all | m), but for a constant. */
static double
likelihood(const struct trial *t, uint32_t member)
{
	double r = t->letters[member];
	double v = t->to_server;
	return t->fits[member] + lgamma(v + 1) + lgamma(r - v + 1) - lgamma(r + 2);
}

static double
posterior(const struct trial *t)
{
	double own = likelihood(t, t->test->member);
	double sum = 0;
	for (uint32_t m = 0; m < t->record->members; m++) {
		if (!isinf(t->fits[m]) && t->letters[m] >= t->to_server) {
			sum += exp(likelihood(t, m) - own);
		}
	}
	return 1 / sum;
}

static bool
is_first(const struct trial *t)
{
	uint32_t who = t->test->member;
	double own = t->score[who] / t->hits - t->usual[who] / t->batches;
	for (uint32_t m = 0; m < t->record->members; m++) {
		if (m != who && t->score[m] / t->hits - t->usual[m] / t->batches >= own) {
			return false;
		}
	}
	return true;
}

/* One batch: letters [from, to) of the record, `there` of which went to the server. */
static void
look_at_batch(struct trial *t, size_t from, size_t to, uint32_t present, uint32_t there)
{
	double size = (double)(to - from);
	/* Whoever is not in this batch is not the one. */
	for (uint32_t m = 0; there > 0 && m < t->record->members; m++) {
		if (t->in_batch[m] < there) {
			t->fits[m] = -(double)INFINITY;
		}
	}
	for (uint32_t i = 0; i < present; i++) {
		uint32_t m = t->present[i];
		uint32_t n = t->in_batch[m];
		t->usual[m] += n / size;
		if (there > 0) {
			t->score[m] += n / size;
			t->fits[m] += n >= there ? log_choose(n, there) : 0;
		}
	}
}

/* A letter to the server under the exponential law: each member may be its sender with a probability of her own. */
static void
look_at_view(struct trial *t, const float *view)
{
	for (uint32_t m = 0; m < t->record->members; m++) {
		double p = (double)view[m];
		t->fits[m] += p > 0 ? log(p) : -(double)INFINITY;
		t->score[m] += p;
	}
}

static void
judge(struct trial *t, msec when)
{
	if (t->bayes_when == LAW_NEVER && posterior(t) >= t->certain) {
		t->bayes_when = when;
		t->bayes_letters = t->to_server;
	}
	if (!is_first(t)) {
		t->disclosure_since = LAW_NEVER;
	} else if (t->disclosure_since == LAW_NEVER) {
		t->disclosure_since = when;
	}
}

static void
look(struct trial *t, size_t from, size_t to)
{
	const struct letter *l = t->record->letters;
	uint32_t present = 0;
	uint32_t there = 0;
	bool stream = t->record->exponential;
	for (size_t i = from; i < to; i++) {
		uint32_t m = l[i].member;
		bool goes = goes_there(t->record->subject, t->test, m, l[i].number);
		if (t->in_batch[m]++ == 0) {
			t->present[present++] = m;
		}
		there += goes;
		if (stream && goes) {
			look_at_view(t, t->record->views + l[i].view);
		}
	}
	t->batches++;
	t->to_server += there;
	t->hits += there > 0;
	if (!stream) {
		look_at_batch(t, from, to, present, there);
	}
	for (uint32_t i = 0; i < present; i++) {
		uint32_t m = t->present[i];
		t->letters[m] += t->in_batch[m];
		/* On average over departures the probabilities are the shares of letters. */
		t->usual[m] += stream ? (double)t->in_batch[m] / (double)(to - from) : 0;
		t->in_batch[m] = 0;
	}
	if (there > 0) {
		judge(t, l[from].when);
	}
}

static void
play(struct trial *t)
{
	const struct record *r = t->record;
	for (uint32_t m = 0; m < r->members; m++) {
		t->fits[m] = 0;
		t->letters[m] = 0;
		t->score[m] = 0;
		t->usual[m] = 0;
	}
	t->to_server = t->batches = t->hits = 0;
	t->bayes_letters = (double)NAN;
	t->bayes_when = LAW_NEVER;
	t->disclosure_since = LAW_NEVER;
	for (size_t i = 0; i < r->count;) {
		size_t end = i + 1;
		while (end < r->count && r->letters[end].batch == r->letters[i].batch) {
			end++;
		}
		look(t, i, end);
		i = end;
	}
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;
	/* NAN (never) after all numbers. */
	if (isnan(x) || isnan(y)) {
		return isnan(x) - isnan(y);
	}
	return (x > y) - (x < y);
}

static double
at_share(const double *sorted, uint32_t count, double share)
{
	uint32_t i = (uint32_t)ceil(share * count);
	return count == 0 ? (double)NAN : sorted[i > 0 ? i - 1 : 0];
}

static enum err
play_all(struct trial *t, const struct test *tests, uint32_t count, uint32_t days,
	 struct regular_figures *ret)
{
	size_t members = (size_t)t->record->members + 1;
	double *letters = calloc((size_t)count + 1, sizeof(*letters));
	enum err e = ERR_OK;
	struct regular_figures f = {.tests = count};
	t->fits = calloc(members, sizeof(*t->fits));
	t->letters = calloc(members, sizeof(*t->letters));
	t->in_batch = calloc(members, sizeof(*t->in_batch));
	t->present = calloc(members, sizeof(*t->present));
	t->score = calloc(members, sizeof(*t->score));
	t->usual = calloc(members, sizeof(*t->usual));
	if (letters == NULL || t->fits == NULL || t->letters == NULL || t->in_batch == NULL ||
	    t->present == NULL || t->score == NULL || t->usual == NULL) {
		e = ERR_MEMORY;
	}
	for (uint32_t i = 0; e == ERR_OK && i < count; i++) {
		t->test = &tests[i];
		play(t);
		letters[i] = t->bayes_letters;
		f.letters += (double)t->to_server / count;
		msec start = t->record->count == 0 ? 0 : t->record->letters[0].when;
		for (int k = 0; k < REGULAR_CURVE; k++) {
			f.curve[k] += (t->bayes_when <= start + (msec)k * REGULAR_CURVE_DAYS * MSEC_DAY) /
				      (double)count;
		}
		for (int k = 0; k < REGULAR_MARKS; k++) {
			msec end = start + (msec)regular_marks[k] * MSEC_DAY;
			f.bayes[k] += (t->bayes_when <= end) / (double)count;
			f.disclosure[k] += (t->disclosure_since <= end) / (double)count;
		}
	}
	if (e == ERR_OK) {
		qsort(letters, count, sizeof(*letters), by_value);
		f.letters_tenth = at_share(letters, count, 0.1);
		f.letters_half = at_share(letters, count, 0.5);
		f.letters_most = at_share(letters, count, 0.9);
		for (int k = 0; k < REGULAR_MARKS; k++) {
			if (regular_marks[k] > days || count == 0) {
				f.bayes[k] = (double)NAN;
				f.disclosure[k] = (double)NAN;
			}
		}
		for (uint32_t k = 0; k < REGULAR_CURVE; k++) {
			if (k * REGULAR_CURVE_DAYS > days) {
				f.curve[k] = (double)NAN;
			}
		}
		*ret = f;
	}
	free(letters);
	free(t->fits);
	free(t->letters);
	free(t->in_batch);
	free(t->present);
	free(t->score);
	free(t->usual);
	return e;
}

static enum err
record(const struct regular_setup *setup, struct source *source, struct record *ret)
{
	struct run_figures f = {.delays = NULL};
	struct run_setup run = {.law = setup->law,
				.lane = setup->patient ? LAW_PATIENT : LAW_NORMAL,
				.honest = UINT32_MAX,
				.seed = setup->seed};
	struct run_hook hook = {.left = keep, .arg = ret};
	ret->members = source_people(source);
	ret->exponential = setup->law.kind == LAW_EXPONENTIAL;
	enum err e = run_law(&run, source, &hook, &f);
	run_figures_clear(&f);
	return e == ERR_OK ? ret->error : e;
}

static enum err
record_and_play(const struct regular_setup *setup, const struct subject *subject, struct source *source,
		struct regular_figures *ret)
{
	struct record r = {.subject = subject};
	struct trial t = {.record = &r, .certain = setup->certain};
	enum err e = setup->law.kind == LAW_NONE ? ERR_UNSUPPORTED : record(setup, source, &r);
	e = e == ERR_OK ? play_all(&t, subject->tests, subject->count, setup->days, ret) : e;
	free(r.letters);
	free(r.views);
	return e;
}

enum err
regular_members(const struct regular_setup *setup, struct regular_figures *ret)
{
	struct source_members model = {
	    .members = setup->members, .rate = setup->rate, .days = setup->days, .seed = setup->seed};
	struct source *source = NULL;
	uint32_t count = setup->tests < setup->members ? setup->tests : setup->members;
	struct test *tests = calloc((size_t)count + 1, sizeof(*tests));
	struct subject subject = {.share = setup->weekly / 7 / setup->rate,
				  .seed = setup->seed + 1,
				  .tests = tests,
				  .count = count};
	enum err e = tests == NULL ? ERR_MEMORY : source_of_members(&model, &source);
	/* Members are alike: the first ones do. */
	for (uint32_t i = 0; e == ERR_OK && i < count; i++) {
		tests[i].member = i;
	}
	e = e == ERR_OK ? record_and_play(setup, &subject, source, ret) : e;
	free(tests);
	source_destroy(&source);
	return e;
}

static int
by_pair(const void *a, const void *b)
{
	const struct test *x = a;
	const struct test *y = b;
	if (x->member != y->member) {
		return x->member < y->member ? -1 : 1;
	}
	return (x->recipient > y->recipient) - (x->recipient < y->recipient);
}

/* The pairs with at least `least` rows, in random order, in the front of `pairs`. */
static uint32_t
frequent(struct test *pairs, size_t count, size_t least, uint64_t seed)
{
	struct chance chance;
	size_t found = 0;
	qsort(pairs, count, sizeof(*pairs), by_pair);
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;
		while (end < count && by_pair(&pairs[i], &pairs[end]) == 0) {
			end++;
		}
		if (end - i >= least && pairs[i].member != pairs[i].recipient) {
			pairs[found++] = pairs[i];
		}
		i = end;
	}
	chance_init(&chance, seed + 2);
	for (size_t i = found; i > 1; i--) {
		size_t k = (size_t)chance_below(&chance, i);
		struct test swap = pairs[i - 1];
		pairs[i - 1] = pairs[k];
		pairs[k] = swap;
	}
	return (uint32_t)found;
}

enum err
regular_trace(const struct regular_setup *setup, const struct trace *trace, struct regular_figures *ret)
{
	struct source *source = NULL;
	struct trace part = *trace;
	msec end = trace->units[0].time + (msec)setup->days * MSEC_DAY;
	while (part.unit_count > 0 && part.units[part.unit_count - 1].time >= end) {
		part.unit_count--;
	}
	while (part.row_count > 0 && part.rows[part.row_count - 1].time >= end) {
		part.row_count--;
	}
	struct test *pairs = calloc(part.row_count + 1, sizeof(*pairs));
	enum err e = pairs == NULL ? ERR_MEMORY : source_of_trace(&part, 0, false, setup->seed, &source);
	if (e == ERR_OK) {
		for (size_t i = 0; i < part.row_count; i++) {
			pairs[i] =
			    (struct test){.member = part.rows[i].sender, .recipient = part.rows[i].recipient};
		}
		uint32_t found = frequent(pairs, part.row_count, setup->days / 7, setup->seed);
		struct subject subject = {
		    .trace = &part, .tests = pairs, .count = found < setup->tests ? found : setup->tests};
		e = record_and_play(setup, &subject, source, ret);
	}
	free(pairs);
	source_destroy(&source);
	return e;
}
