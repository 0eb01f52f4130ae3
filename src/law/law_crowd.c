/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The fair, gated batch on a public clock. At each tick, for each size class, c[m] = what waits of a
 * member m plus gone[m], what she sent in haste since the gate last opened; the gate opens with the largest share
 * x for which the sum of min(c, x) - min(gone, x) over those who count is at least k x: nobody has more than 1/k of what leaves, and
 * what one has sent in haste is taken off her own share alone. All of it is decided as of the tick itself (`cut`):
 * a decision that comes late, or once more after a restart, is the same decision.
 *
 * The promise is kept for what leaves within that share at an open gate, unless more of the same member leaves beside it
 * (urgent, or capped and overdue), which shows. Nothing else that leaves makes anybody's crowd.
 *
 * What is capped (stayed behind at an opening) follows from the class's last opening: who came by then
 * and still waits. So a backlog costs nothing to mark.
 */
#include <stdlib.h>

#include "law/law_internal.h"

struct pick {
	uint32_t slot;
	bool is_void;
};

/* How a unit leaves. */
enum how {
	WITHIN,  /* the share of its member */
	BESIDE,  /* it, where the gate is open */
	WITHOUT, /* a gate */
};

struct tick {
	struct law *law;
	struct law_queue *q;
	struct law_time now;
	msec tick;
	msec cut; /* its time by the age clock */
	bool patient;
	msec patient_cut;
	struct law_after *after;
	uint32_t classes;
	struct pick *picks;
	size_t pick_count;
	size_t pick_cap;
	uint32_t crowd[LAW_CLASSES];
	uint64_t batch[LAW_CLASSES];
	uint64_t share;           /* of the class at hand, line and patient together */
	struct law_claim *claims; /* of the class at hand */
	size_t claim_count;
	size_t claim_cap;
};

/* ---- entering ---- */

static void
draw(const struct law *law, struct law_time now, struct law_random random, bool first, struct law_unit *unit)
{
	enum { BEYOND = 5 };
	(void)first;
	if (unit->lane == LAW_DUE || unit->alone != LAW_UNDRAWN) {
		return;
	}
	/* Memoryless: what is drawn anew after a restart is spread as what was lost would have been. */
	msec arrival = law_arrival(unit);
	msec from = arrival > now.age ? arrival : now.age;
	msec last = arrival + BEYOND * law->config.mean;
	unit->alone = from;
	if (unit->lane != LAW_URGENT) {
		unit->alone += law_exponential_delay(law->config.mean, random);
		unit->alone = unit->alone > last ? last : unit->alone;
	}
}

static enum err
to_line(struct law *law, uint32_t slot, msec arrival)
{
	struct law_slot *s = &law->queue.slots[slot];
	struct law_class *c = &law->classes[s->unit.size_class];
	bool patient = s->unit.lane == LAW_PATIENT && law->config.patient > 0;
	s->ready = arrival;
	return patient ? law_store_add(&c->patient, &law->queue, slot, LAW_IN_PATIENT)
		       : law_store_add(&c->line, &law->queue, slot, LAW_IN_LINE);
}

static enum err
place(struct law *law, uint32_t slot)
{
	const struct law_unit *unit = &law->queue.slots[slot].unit;
	msec arrival = law_arrival(unit);
	if (law->alone) {
		msec drawn = unit->alone == LAW_UNDRAWN ? arrival : unit->alone;
		law_heap_push(&law->queue, slot, unit->lane == LAW_DUE ? arrival : drawn);
		return ERR_OK;
	}
	if (unit->lane == LAW_DUE || arrival > unit->entered) {
		law_heap_push(&law->queue, slot, arrival);
		return ERR_OK;
	}
	return to_line(law, slot, arrival);
}

/* ---- the clock ---- */

/*
 * Whether the tick of the grid at `grid` is to be decided. The last one decided never again; one after
 * it, yes. One before it only shows up when the clock was set back, from a future that was not: then the
 * next of the grid after half a period, so that a clock which trembles makes no two of one.
 */
static bool
is_due(const struct law *law, msec grid, msec age)
{
	if (law->tick == LAW_NO_TICK || grid > law->tick) {
		return true;
	}
	/* A last tick that the age clock has not come to yet is none. */
	return grid < law->tick &&
	       (age >= law->tick_age + law->config.clock / 2 || age < law->tick_age - law->config.clock);
}

static msec
next(const struct law *law, struct law_time now)
{
	enum { LOOKS = 4 };
	if (law->alone) {
		return law_next_by_time(law, now);
	}
	if (law->queue.count == 0) {
		return LAW_NEVER;
	}
	msec grid = law_grid_at(law->config.clock, now.wall);
	msec age = now.age - (now.wall - grid);
	for (int i = 0; i < LOOKS && !is_due(law, grid, age); i++) {
		grid += law->config.clock;
		age += law->config.clock;
	}
	return grid <= now.wall ? 0 : grid - now.wall;
}

/* ---- what is there ---- */

static enum err
pick(struct tick *t, uint32_t slot, bool is_void)
{
	if (t->pick_count == t->pick_cap) {
		size_t cap = t->pick_cap == 0 ? 256 : t->pick_cap * 2;
		struct pick *picks = reallocarray(t->picks, cap, sizeof(*picks));
		if (picks == NULL) {
			return ERR_MEMORY;
		}
		t->picks = picks;
		t->pick_cap = cap;
	}
	t->picks[t->pick_count++] = (struct pick){.slot = slot, .is_void = is_void};
	return ERR_OK;
}

static enum err
pick_of(struct tick *t, struct law_share *share, uint32_t slot, enum how how)
{
	const struct law_unit *unit = &t->q->slots[slot].unit;
	uint64_t kept = how == WITHIN && unit->counts ? unit->weight : 0;
	t->batch[unit->size_class] += kept;
	share->kept += kept;
	share->taken += unit->weight;
	share->beyond = share->beyond || how == BESIDE;
	return pick(t, slot, how != WITHIN);
}

static void
forget(struct law_share *share)
{
	share->taken = 0;
	share->kept = 0;
	share->beyond = false;
}

static enum err
add_claim(struct tick *t, struct law_claim claim)
{
	if (t->claim_count == t->claim_cap) {
		size_t cap = t->claim_cap == 0 ? 64 : t->claim_cap * 2;
		struct law_claim *claims = reallocarray(t->claims, cap, sizeof(*claims));
		if (claims == NULL) {
			return ERR_MEMORY;
		}
		t->claims = claims;
		t->claim_cap = cap;
	}
	t->claims[t->claim_count++] = claim;
	return ERR_OK;
}

/* What a member has in a store that came by a time. */
static struct law_claim
claim_of(const struct law_queue *q, struct law_share *share, msec cut)
{
	struct law_claim claim = {.share = share,
				  .weight = share->weight,
				  .counted = share->counted,
				  .count = share->count,
				  .urgent = share->urgent,
				  .end = LAW_NO_SLOT};
	for (uint32_t at = share->tail; at != LAW_NO_SLOT && q->slots[at].ready > cut;
	     at = q->slots[at].prev) {
		const struct law_unit *unit = &q->slots[at].unit;
		claim.end = at;
		claim.count--;
		claim.weight -= unit->weight;
		claim.counted -= unit->counts ? unit->weight : 0;
		claim.urgent -= law_in_haste(unit) ? 1 : 0;
	}
	return claim;
}

static enum err
claim_all(struct tick *t, struct law_class *c)
{
	enum err e = ERR_OK;
	const struct law_counters *n = &c->counters;
	t->claim_count = 0;
	for (uint32_t i = 0; i < c->line.count && e == ERR_OK; i++) {
		struct law_share *share = &c->line.shares[i];
		law_share_sort(share, t->q);
		forget(share);
		struct law_claim claim = claim_of(t->q, share, t->cut);
		if (claim.count > 0) {
			claim.gone = n->gone_count == 0 ? 0 : law_counters_of(n, share->member);
			e = add_claim(t, claim);
		}
	}
	return e;
}

/* ---- the decision of a class ---- */

/* What fits into one member's share leaves, in order of arrival, those in haste first. */
static enum err
fill(struct tick *t, const struct law_claim *claim, uint64_t x)
{
	uint64_t room = x - (claim->gone < x ? claim->gone : x);
	enum err e = ERR_OK;
	for (int haste = claim->urgent > 0 ? 1 : 0; haste >= 0; haste--) {
		for (uint32_t at = claim->share->head; at != claim->end && room > 0 && e == ERR_OK;
		     at = t->q->slots[at].next) {
			const struct law_unit *unit = &t->q->slots[at].unit;
			if (law_in_haste(unit) == (haste == 1) && unit->weight <= room) {
				room -= unit->weight;
				e = pick_of(t, claim->share, at, WITHIN);
			}
		}
	}
	return e;
}

static struct law_counters *
change(struct tick *t, unsigned size_class)
{
	t->classes |= 1U << size_class;
	return &t->after->counters[size_class];
}

/*
 * What leaves of a member beside her share: what has been in the queue since `overdue`, and what is in haste. `from`: her first pick. `at`,
 * idle in a list, marks what went before.
 */
static enum err
leave_beside(struct tick *t, const struct law_claim *claim, size_t from, msec overdue, enum how how)
{
	const size_t fitting = t->pick_count;
	enum err e = ERR_OK;
	for (size_t p = from; p < fitting; p++) {
		t->q->slots[t->picks[p].slot].at = 0;
	}
	for (uint32_t at = claim->share->head;
	     at != claim->end && (t->q->slots[at].ready <= overdue || claim->urgent > 0) && e == ERR_OK;
	     at = t->q->slots[at].next) {
		const struct law_slot *s = &t->q->slots[at];
		if ((s->ready <= overdue || law_in_haste(&s->unit)) && s->at == LAW_NO_SLOT) {
			e = pick_of(t, claim->share, at, how);
		}
	}
	for (size_t p = from; p < fitting; p++) {
		t->q->slots[t->picks[p].slot].at = LAW_NO_SLOT;
	}
	return e;
}

static enum err
open_gate(struct tick *t, unsigned size_class, uint64_t x)
{
	const msec overdue = t->cut - t->law->config.deadline;
	enum err e = ERR_OK;
	t->share += x;
	for (size_t i = 0; i < t->claim_count && e == ERR_OK; i++) {
		size_t from = t->pick_count;
		e = fill(t, &t->claims[i], x);
		/* What stays is capped; what of it is overdue goes, too, and what is in haste, which waits for no crowd. */
		if (e == ERR_OK && t->claims[i].share->taken < t->claims[i].weight) {
			e = leave_beside(t, &t->claims[i], from, overdue, BESIDE);
		}
	}
	/* After a jump of the wall clock a tick may lie before the last opening, by age: who was capped stays so. */
	const msec last = t->law->classes[size_class].counters.opened;
	const msec opened = t->cut <= last && last <= t->now.age ? last : t->cut;
	*change(t, size_class) = (struct law_counters){.opened = opened < 0 ? LAW_UNDRAWN : opened};
	return e;
}

/* Someone who was not capped is overdue? */
static bool
is_overdue(const struct tick *t, msec opened)
{
	const msec overdue = t->cut - t->law->config.deadline;
	for (size_t i = 0; i < t->claim_count; i++) {
		uint32_t at = t->claims[i].share->head;
		while (at != t->claims[i].end && t->q->slots[at].ready <= opened) {
			at = t->q->slots[at].next;
		}
		if (at != t->claims[i].end && t->q->slots[at].ready <= overdue) {
			return true;
		}
	}
	return false;
}

static enum err
keep_shut(struct tick *t, unsigned size_class, const struct law_counters *was)
{
	const msec overdue = t->cut - t->law->config.deadline;
	const bool all = is_overdue(t, was->opened);
	enum err e = ERR_OK;
	for (size_t i = 0; i < t->claim_count && e == ERR_OK; i++) {
		const struct law_claim *claim = &t->claims[i];
		for (uint32_t at = claim->share->head; at != claim->end && e == ERR_OK;
		     at = t->q->slots[at].next) {
			const struct law_slot *s = &t->q->slots[at];
			bool capped = s->ready <= was->opened;
			bool urgent = law_in_haste(&s->unit);
			if (!(capped ? s->ready <= overdue : all) && !urgent) {
				if (!all && claim->urgent == 0 && s->ready > overdue) {
					break;
				}
				continue;
			}
			e = pick_of(t, claim->share, at, WITHOUT);
			if (e == ERR_OK && urgent && !all && s->unit.counts) {
				if ((t->classes & (1U << size_class)) == 0) {
					e = law_counters_copy(was, change(t, size_class));
				}
				e = e == ERR_OK ? law_counters_add(&t->after->counters[size_class],
								   s->unit.member, s->unit.weight)
						: e;
			}
		}
	}
	if (all) {
		struct law_counters *n = change(t, size_class);
		*n = (struct law_counters){.opened = was->opened};
	}
	return e;
}

/* The patient: all of them, once k members have come. The promise is kept for who has no more than the largest share that would hold. */
static enum err
open_patient(struct tick *t, unsigned size_class)
{
	struct law_class *c = &t->law->classes[size_class];
	uint64_t members = 0;
	uint64_t x = 0;
	enum err e = ERR_OK;
	t->claim_count = 0;
	for (uint32_t i = 0; i < c->patient.count && e == ERR_OK; i++) {
		law_share_sort(&c->patient.shares[i], t->q);
		forget(&c->patient.shares[i]);
		struct law_claim claim = claim_of(t->q, &c->patient.shares[i], t->patient_cut);
		if (claim.count > 0) {
			members += claim.counted > 0 ? 1 : 0;
			e = add_claim(t, claim);
		}
	}
	if (e != ERR_OK || members < t->law->config.k) {
		return e;
	}
	e = law_fit(t->q, t->claims, t->claim_count, t->law->config.k, &x);
	t->share += x;
	for (size_t i = 0; i < t->claim_count && e == ERR_OK; i++) {
		size_t from = t->pick_count;
		e = fill(t, &t->claims[i], x);
		e = e == ERR_OK ? leave_beside(t, &t->claims[i], from, t->patient_cut, BESIDE) : e;
	}
	return e;
}

/* How many leave within the shares, and for whom it shows that more of hers leaves than one share. */
static void
judge(struct tick *t, unsigned size_class, size_t from)
{
	const struct law_class *c = &t->law->classes[size_class];
	for (uint32_t i = 0; i < c->line.count && t->pick_count > from; i++) {
		t->crowd[size_class] += c->line.shares[i].kept > 0 ? 1 : 0;
	}
	for (uint32_t i = 0; i < c->patient.count && t->patient && t->pick_count > from; i++) {
		const struct law_share *other = law_store_find(&c->line, c->patient.shares[i].member);
		bool twice = other != NULL && other->kept > 0;
		t->crowd[size_class] += c->patient.shares[i].kept > 0 && !twice ? 1 : 0;
	}
	for (size_t p = from; p < t->pick_count; p++) {
		const struct law_slot *s = &t->q->slots[t->picks[p].slot];
		const struct law_share *a = law_store_find(&c->line, s->unit.member);
		const struct law_share *b = t->patient ? law_store_find(&c->patient, s->unit.member) : NULL;
		uint64_t taken = (a == NULL ? 0 : a->taken) + (b == NULL ? 0 : b->taken);
		if (taken > t->share || (a != NULL && a->beyond)) {
			t->picks[p].is_void = true;
		} else if (s->where == LAW_IN_PATIENT) {
			/* Line and patient left together, and the one had room for what the other had not. */
			t->picks[p].is_void = false;
		}
	}
}

static enum err
decide_class(struct tick *t, unsigned size_class)
{
	struct law_class *c = &t->law->classes[size_class];
	const struct law_counters *was = &c->counters;
	size_t from = t->pick_count;
	enum err e = ERR_OK;
	t->share = 0;
	if (c->line.count > 0) {
		e = claim_all(t, c);
		uint64_t x = 0;
		e = e == ERR_OK ? law_fit(t->q, t->claims, t->claim_count, t->law->config.k, &x) : e;
		if (e == ERR_OK) {
			e = x > 0 ? open_gate(t, size_class, x) : keep_shut(t, size_class, was);
		}
	}
	if (e == ERR_OK && t->patient && c->patient.count > 0) {
		e = open_patient(t, size_class);
	}
	if (e == ERR_OK) {
		judge(t, size_class, from);
	}
	return e;
}

/* ---- the tick ---- */

/* Those who waited for their time come into the queue; retries and notices whose time has come are picked. */
static enum err
call_up(struct tick *t)
{
	if (t->q->heap_count == 0) {
		return ERR_OK;
	}
	uint32_t *ready = calloc(t->q->heap_count, sizeof(*ready));
	if (ready == NULL) {
		return ERR_MEMORY;
	}
	enum err e = ERR_OK;
	size_t count = law_heap_ready(t->q, t->cut, t->q->heap_count, ready);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		struct law_slot *s = &t->q->slots[ready[i]];
		if (s->unit.lane == LAW_DUE) {
			e = pick(t, ready[i], false);
			continue;
		}
		msec arrival = s->ready;
		law_heap_remove(t->q, ready[i]);
		e = to_line(t->law, ready[i], arrival);
		if (e != ERR_OK) {
			law_heap_push(t->q, ready[i], arrival);
		}
	}
	free(ready);
	return e;
}

/* Who has been patient long enough goes on in the queue, and comes in there when his time was up. */
static enum err
end_patience(struct tick *t, struct law_class *c)
{
	const msec most = LAW_PATIENT_PERIODS * t->law->config.patient;
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < c->patient.count && e == ERR_OK;) {
		law_share_sort(&c->patient.shares[i], t->q);
		uint32_t slot = c->patient.shares[i].head;
		msec arrival = t->q->slots[slot].ready;
		if (arrival > t->cut - most) {
			i++;
			continue;
		}
		law_store_remove(&c->patient, t->q, slot);
		t->q->slots[slot].ready = arrival + most;
		e = law_store_add(&c->line, t->q, slot, LAW_IN_LINE);
		if (e != ERR_OK) {
			/* As it was: its member's share may have gone, and comes back without memory to spare. */
			law_heap_push(t->q, slot, arrival);
		}
	}
	return e;
}

static void
tick_clear(struct tick *t)
{
	for (size_t i = 0; t->after != NULL && i < LAW_CLASSES; i++) {
		free(t->after->counters[i].gone);
	}
	free(t->after);
	free(t->picks);
	free(t->claims);
}

static enum err
decide_tick(struct tick *t)
{
	enum err e = call_up(t);
	for (unsigned i = 0; i < LAW_CLASSES && e == ERR_OK; i++) {
		if (t->law->classes[i].patient.count > 0) {
			e = end_patience(t, &t->law->classes[i]);
		}
		if (e == ERR_OK) {
			e = decide_class(t, i);
		}
	}
	return e;
}

static enum err
decide_alone(struct law *law, struct law_time now, struct law_random random, size_t max,
	     struct law_decision *ret)
{
	enum err e = law_decide_by_time(law, now, random, max, ret);
	for (size_t i = 0; e == ERR_OK && i < ret->release_count; i++) {
		struct law_release *r = &ret->releases[i];
		if (r->unit.lane != LAW_DUE) {
			r->is_void = true;
		}
	}
	return e;
}

static enum err
decide(struct law *law, struct law_time now, struct law_random random, size_t max, struct law_decision *ret)
{
	struct law_decision decision = {.tick = LAW_NO_TICK};
	msec grid = law_grid_at(law->config.clock, now.wall);
	struct tick t = {
	    .law = law, .q = &law->queue, .now = now, .tick = grid, .cut = now.age - (now.wall - grid)};
	if (law->alone) {
		return decide_alone(law, now, random, max, ret);
	}
	if (!is_due(law, grid, t.cut)) {
		*ret = decision;
		return ERR_OK;
	}
	if (law->config.patient > 0) {
		msec period = law_grid_at(law->config.patient, grid);
		t.patient = law->tick == LAW_NO_TICK || law_grid_at(law->config.patient, law->tick) != period;
		t.patient_cut = t.cut - (grid - period);
	}
	t.after = calloc(1, sizeof(*t.after));
	enum err e = t.after == NULL ? ERR_MEMORY : decide_tick(&t);
	if (e == ERR_OK && t.pick_count > 0) {
		decision.releases = calloc(t.pick_count, sizeof(*decision.releases));
		e = decision.releases == NULL ? ERR_MEMORY : ERR_OK;
	}
	if (e != ERR_OK) {
		tick_clear(&t);
		return e;
	}
	for (size_t i = 0; i < t.pick_count; i++) {
		const struct law_unit *unit = &law->queue.slots[t.picks[i].slot].unit;
		uint64_t batch = t.batch[unit->size_class];
		decision.releases[i] =
		    (struct law_release){.unit = *unit,
					 .is_void = t.picks[i].is_void,
					 .crowd = t.crowd[unit->size_class],
					 .batch = batch < UINT32_MAX ? (uint32_t)batch : UINT32_MAX};
	}
	law_shuffle(decision.releases, t.pick_count, random);
	decision.release_count = t.pick_count;
	decision.tick = grid;
	decision.classes = t.classes;
	t.after->tick = grid;
	/* A late tick as of before the last one's age does not set it back. */
	t.after->tick_age = t.cut > law->tick_age || law->tick_age > now.age ? t.cut : law->tick_age;
	/* In a house whose age clock is younger than a period, as of its beginning. */
	t.after->tick_age = t.after->tick_age < 0 ? 0 : t.after->tick_age;
	decision.after = t.after;
	t.after = NULL;
	tick_clear(&t);
	*ret = decision;
	return ERR_OK;
}

const struct law_rules law_rules_crowd = {
    .draw = draw,
    .place = place,
    .next = next,
    .decide = decide,
};

/* ---- too few ---- */

void
law_set_members(struct law *law, struct law_time now, uint32_t counting)
{
	bool alone = law->config.kind == LAW_CROWD && counting < law->config.k;
	if (alone == law->alone) {
		return;
	}
	law->alone = alone;
	/* Back on the clock: the tick before now had no crowd, the next one does. */
	law->tick = law_grid_at(law->config.clock, now.wall);
	law->tick_age = now.age > law->tick_age ? now.age : law->tick_age;
	for (uint32_t slot = 0; slot < law->queue.cap; slot++) {
		if (law->queue.slots[slot].where != LAW_NOWHERE) {
			law_displace(law, slot);
			if (place(law, slot) != ERR_OK) {
				/* The heap has room for all: it waits for its time there and is called up at the next tick. */
				law_heap_push(&law->queue, slot, law_arrival(&law->queue.slots[slot].unit));
			}
		}
	}
}

bool
law_is_alone(const struct law *law)
{
	return law->alone;
}
