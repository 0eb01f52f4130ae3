/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/run.h"

#include <stdlib.h>

#include "crowd/attack.h"

/* Times of a trace may begin at 0, where the law's clock should have a past. */
#define RUN_START (1000 * MSEC_DAY)
#define HALF_AND_ROUNDING (0.5 + 1e-9)

struct run {
	const struct run_setup *setup;
	const struct run_hook *hook;
	struct law *law;
	struct chance chance;
	uint32_t people;
	struct batch_attack *batch;
	struct stream_attack *stream[LAW_CLASSES]; /* exponential; made when a class is first used */
	struct run_figures f;
	uint64_t next_id;
	uint64_t batches;
};

static bool
is_batch(const struct run *r)
{
	return r->setup->law.kind == LAW_CROWD;
}

static struct law_time
at(msec when)
{
	return (struct law_time){.age = when, .wall = when};
}

static void
count_view(struct run *r, const struct attack_view *view)
{
	struct run_figures *f = &r->f;
	double weight = (double)view->weight;
	f->deliveries += view->weight;
	f->guess += view->guess * weight;
	f->entropy += view->entropy * weight;
	f->above_half += view->guess > HALF_AND_ROUNDING ? view->weight : 0;
}

/* Her letter is said to be protected. */
static void
count_kept(struct run *r, const struct law_unit *u)
{
	struct run_figures *f = &r->f;
	double promise = 1.0 / (double)(r->setup->law.k > 0 ? r->setup->law.k : 1) + 1e-9;
	double own = batch_attack_of(r->batch, (uint32_t)u->member);
	f->largest_kept = own > f->largest_kept ? own : f->largest_kept;
	f->above_kept += own > promise ? u->weight : 0;
}

static void
count_letter(struct run *r, msec when, const struct law_release *release)
{
	const struct law_unit *u = &release->unit;
	if (r->hook != NULL) {
		r->hook->left(r->hook->arg, r->batches, when, u, r->stream[u->size_class]);
	}
	if (u->member >= r->setup->honest) {
		return;
	}
	struct run_class *c = &r->f.classes[u->size_class];
	msec wait = when - u->entered;
	r->f.letters++;
	c->letters++;
	c->wait += (double)wait;
	if (release->is_void) {
		r->f.void_letters++;
		c->void_letters++;
	}
	delays_add(r->f.delays, wait);
}

static void
look_at_batches(struct run *r, const struct law_decision *d)
{
	uint32_t classes = 0;
	for (size_t i = 0; i < d->release_count; i++) {
		classes |= 1U << d->releases[i].unit.size_class;
	}
	for (unsigned c = 0; c < LAW_CLASSES; c++) {
		struct attack_view view;
		if ((classes >> c & 1U) == 0) {
			continue;
		}
		for (size_t i = 0; i < d->release_count; i++) {
			const struct law_unit *u = &d->releases[i].unit;
			if (u->size_class == c) {
				batch_attack_add(r->batch, (uint32_t)u->member, u->weight);
			}
		}
		for (size_t i = 0; i < d->release_count; i++) {
			const struct law_unit *u = &d->releases[i].unit;
			if (u->size_class == c && u->member < r->setup->honest && !d->releases[i].is_void) {
				count_kept(r, u);
			}
		}
		batch_attack_look(r->batch, &view);
		count_view(r, &view);
	}
}

static void
look_at_stream(struct run *r, const struct law_decision *d)
{
	for (size_t i = 0; i < d->release_count; i++) {
		const struct law_unit *u = &d->releases[i].unit;
		struct attack_view view;
		stream_attack_out(r->stream[u->size_class], (uint32_t)u->member, &view);
		view.weight *= u->weight;
		count_view(r, &view);
	}
}

/*
 * Committed in the order of entry, letters touch the law's memory in order; the shuffled order misses the caches with each
 * of them, half of all the time with a million members. To the commit the order means nothing. ERR_MEMORY.
 */
static enum err
in_order_of_entry(struct law_decision *d)
{
	enum { WORTH = 4096 }; /* below it all is in the caches anyway */
	uint64_t first = UINT64_MAX;
	uint64_t last = 0;
	for (size_t i = 0; i < d->release_count; i++) {
		uint64_t id = d->releases[i].unit.id;
		first = id < first ? id : first;
		last = id > last ? id : last;
	}
	if (d->release_count < WORTH || (last - first) / 4 > d->release_count) {
		return ERR_OK;
	}
	size_t window = (size_t)(last - first) + 1;
	uint32_t *place = calloc(window, sizeof(*place));
	struct law_release *sorted = calloc(d->release_count, sizeof(*sorted));
	if (place == NULL || sorted == NULL) {
		free(place);
		free(sorted);
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < d->release_count; i++) {
		place[d->releases[i].unit.id - first] = (uint32_t)i + 1;
	}
	size_t count = 0;
	for (size_t k = 0; k < window; k++) {
		if (place[k] != 0) {
			sorted[count++] = d->releases[place[k] - 1];
		}
	}
	free(place);
	free(d->releases);
	d->releases = sorted;
	return ERR_OK;
}

static enum err
release(struct run *r, msec when, size_t *ret_released)
{
	struct law_decision d;
	enum err e = law_decide(r->law, at(when), chance_law(&r->chance), SIZE_MAX, &d);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < d.release_count; i++) {
		count_letter(r, when, &d.releases[i]);
	}
	if (d.release_count > 0) {
		r->f.ticks++;
		r->batches++;
		if (is_batch(r)) {
			look_at_batches(r, &d);
		} else {
			look_at_stream(r, &d);
		}
	}
	e = in_order_of_entry(&d);
	if (e != ERR_OK) {
		law_decision_clear(&d);
		return e;
	}
	law_commit(r->law, &d);
	*ret_released = d.release_count;
	law_decision_clear(&d);
	return ERR_OK;
}

/* All that leaves up to and at `until`. Batches leave on the grid; else the law is asked when. */
static enum err
advance(struct run *r, msec *now, msec until)
{
	msec period = r->setup->law.clock;
	while (law_waiting(r->law) > 0) {
		msec next = 0;
		size_t released = 0;
		if (is_batch(r)) {
			next = (*now / period + 1) * period;
		} else {
			msec wait = law_next(r->law, at(*now));
			next = wait == LAW_NEVER ? LAW_NEVER : *now + wait;
		}
		if (next > until) {
			break;
		}
		enum err e = release(r, next, &released);
		if (e != ERR_OK) {
			return e;
		}
		*now = next;
	}
	*now = until > *now && until != LAW_NEVER ? until : *now;
	return ERR_OK;
}

static enum err
enter(struct run *r, msec now, const struct source_unit *from)
{
	struct law_unit unit;
	law_unit_init(&unit);
	unit.id = r->next_id++;
	unit.member = from->member;
	unit.weight = from->weight;
	unit.size_class = (uint8_t)law_size_class(from->bytes);
	unit.lane = from->urgent ? LAW_URGENT : r->setup->lane;
	law_admit(r->law, at(now), chance_law(&r->chance), &unit);
	if (!is_batch(r)) {
		struct stream_attack **s = &r->stream[unit.size_class];
		if (*s == NULL) {
			enum err e = stream_attack_create(r->people, r->setup->honest, s);
			if (e != ERR_OK) {
				return e;
			}
		}
		stream_attack_in(*s, from->member);
	}
	if (from->member < r->setup->honest) {
		r->f.bytes += (double)from->bytes * from->weight;
		r->f.padded += (double)law_class_bytes(unit.size_class) * from->weight;
	}
	return law_insert(r->law, &unit);
}

static enum err
play(struct run *r, struct source *source)
{
	struct source_unit u;
	msec now = RUN_START;
	while (source_next(source, &u)) {
		enum err e = advance(r, &now, RUN_START + u.time);
		e = e == ERR_OK ? enter(r, now, &u) : e;
		if (e != ERR_OK) {
			return e;
		}
	}
	/* What still waits leaves by its deadline at the latest; the patient by their store's. */
	msec last = 2 * r->setup->law.deadline + 20 * r->setup->law.patient + 10 * r->setup->law.mean +
		    4 * r->setup->law.clock;
	enum err e = advance(r, &now, is_batch(r) ? now + last : LAW_NEVER);
	r->f.left_waiting = law_waiting(r->law);
	return e;
}

enum err
run_law(const struct run_setup *setup, struct source *source, const struct run_hook *hook,
	struct run_figures *ret)
{
	struct run r = {.setup = setup, .hook = hook, .people = source_people(source)};
	chance_init(&r.chance, setup->seed ^ 0x2545f4914f6cdd1dU);
	enum err e = law_create(&setup->law, &r.law);
	e = e == ERR_OK ? delays_create(&r.f.delays) : e;
	e = e == ERR_OK ? batch_attack_create(r.people, setup->honest, &r.batch) : e;
	e = e == ERR_OK ? play(&r, source) : e;
	law_destroy(&r.law);
	batch_attack_destroy(&r.batch);
	for (size_t i = 0; i < LAW_CLASSES; i++) {
		stream_attack_destroy(&r.stream[i]);
	}
	if (e == ERR_OK) {
		*ret = r.f;
	} else {
		run_figures_clear(&r.f);
	}
	return e;
}

void
run_figures_clear(struct run_figures *f)
{
	delays_destroy(&f->delays);
	*f = (struct run_figures){.delays = NULL};
}

static double
share(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

double
run_guess(const struct run_figures *f)
{
	return share(f->guess, (double)f->deliveries);
}

double
run_entropy(const struct run_figures *f)
{
	return share(f->entropy, (double)f->deliveries);
}

double
run_above_half(const struct run_figures *f)
{
	return share((double)f->above_half, (double)f->deliveries);
}

double
run_void(const struct run_figures *f)
{
	return share((double)f->void_letters, (double)f->letters);
}

double
run_overhead(const struct run_figures *f)
{
	return share(f->padded, f->bytes);
}
