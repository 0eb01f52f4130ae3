/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What must hold in every run of the crowd law: houses of all kinds, quiet and busy, with urgent, patient, held and automatic mail, letters of
 * up to forty deliveries, and with accounts of an attacker's who floods. COHUE_RUNS=N does N times as many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "law/law.h"

#define T MSEC_HOUR

enum {
	HONEST = 12,
	BAD = 3,
	PEOPLE = HONEST + BAD,
	CLASSES = 2,
	ROOM = 4096, /* units at once; a power of two */
	AT_ONCE = 1024,
	SHORT_RUNS = 9000,
	LONG_RUNS = 40,
};

static uint64_t
splitmix(void *arg)
{
	uint64_t *state = arg;
	uint64_t z = (*state += 0x9e3779b97f4a7c15U);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

static uint64_t
below(uint64_t *dice, uint64_t n)
{
	return splitmix(dice) % n;
}

/* One in so many; 0: never. */
static bool
one_in(uint64_t *dice, uint64_t n)
{
	return n > 0 && below(dice, n) == 0;
}

static uint64_t
times(void)
{
	const char *asked = getenv("COHUE_RUNS");
	long n = asked == NULL ? 1 : strtol(asked, NULL, 10);
	return n < 1 ? 1 : (uint64_t)n;
}

static struct law_time
at(msec age)
{
	return (struct law_time){.age = age, .wall = age};
}

/* What kind of house this run is. */
struct house {
	uint32_t k;
	uint64_t people; /* honest ones */
	uint64_t rate;   /* letters a tick, at most */
	uint64_t most;   /* weight of a letter */
	uint64_t classes;
	uint64_t urgent; /* one in so many */
	uint64_t patient;
	uint64_t automatic;
	uint64_t held;
	uint64_t bad;   /* accounts of the attacker's */
	uint64_t flood; /* letters of his a tick, at most */
	uint64_t flood_urgent;
	uint64_t flood_patient;
	msec deadline;
	msec patience; /* period of that lane */
	msec ticks;
};

static struct house
any_house(uint64_t *dice, msec ticks)
{
	static const uint64_t weights[] = {1, 1, 5, 40};
	static const uint64_t shares[] = {0, 0, 16, 8, 2};
	struct house h = {.ticks = ticks};
	h.bad = below(dice, BAD + 1);
	h.k = (uint32_t)(h.bad + 1 + below(dice, 4));
	h.people = 2 + below(dice, HONEST - 1);
	h.rate = 1 + below(dice, 8);
	h.most = weights[below(dice, 4)];
	h.classes = 1 + below(dice, CLASSES);
	h.urgent = shares[below(dice, 5)];
	h.patient = shares[below(dice, 5)];
	h.automatic = shares[below(dice, 5)];
	h.held = shares[below(dice, 5)];
	h.flood = 1 + below(dice, 8);
	h.flood_urgent = below(dice, 4);
	h.flood_patient = shares[below(dice, 5)];
	h.deadline = T * (msec)(4 + below(dice, 21));
	h.patience = T * (msec)(2 + below(dice, 12));
	return h;
}

struct run {
	struct house house;
	struct law *law;
	struct law_unit units[ROOM]; /* by id; weight 0: none */
	uint64_t last_id;
	size_t waiting;
	uint64_t dice;
	uint64_t law_dice;
};

struct totals {
	uint64_t ticks;
	uint64_t releases;
	uint64_t kept;   /* letters told protected */
	uint64_t voids;  /* honest letters told void */
	uint64_t opened; /* class-ticks with an open gate */
	uint64_t beside; /* of them, those where others' letters left beside it */
	uint64_t urgent_floods;
	double waited; /* by honest letters of the normal lane, in ticks */
};

/* ---- what comes ---- */

static void
enter(struct run *r, msec age, struct law_unit unit)
{
	const struct law_random chance = {.next = splitmix, .arg = &r->law_dice};
	unit.id = ++r->last_id;
	struct law_unit *place = &r->units[unit.id % ROOM];
	if (r->waiting >= AT_ONCE || place->weight != 0) {
		return;
	}
	law_admit(r->law, at(age), chance, &unit);
	assert_int_equal(law_insert(r->law, &unit), ERR_OK);
	*place = unit;
	r->waiting++;
}

static void
honest_letters(struct run *r, msec tick)
{
	const struct house *h = &r->house;
	for (uint64_t n = below(&r->dice, h->rate + 1); n > 0; n--) {
		struct law_unit unit;
		msec age = (tick - 1) * T + (msec)below(&r->dice, (uint64_t)T);
		law_unit_init(&unit);
		unit.member = below(&r->dice, h->people);
		unit.size_class = (uint8_t)below(&r->dice, h->classes);
		unit.weight = 1 + (uint32_t)(one_in(&r->dice, 3) ? below(&r->dice, h->most) : 0);
		unit.counts = !one_in(&r->dice, h->automatic);
		unit.lane = one_in(&r->dice, h->urgent)    ? LAW_URGENT
			    : one_in(&r->dice, h->patient) ? LAW_PATIENT
							   : LAW_NORMAL;
		unit.due = one_in(&r->dice, h->held) ? age + 1 + (msec)below(&r->dice, (uint64_t)(5 * T))
						     : LAW_UNDRAWN;
		enter(r, age, unit);
	}
}

/* Of dice of its own, so that the others write the same with and without him. */
static void
flood(struct run *r, msec tick, uint64_t *dice)
{
	const struct house *h = &r->house;
	for (uint64_t n = h->bad == 0 ? 0 : below(dice, h->flood + 1); n > 0; n--) {
		struct law_unit unit;
		law_unit_init(&unit);
		unit.member = HONEST + below(dice, h->bad);
		unit.size_class = (uint8_t)below(dice, h->classes);
		unit.weight = 1 + (uint32_t)(one_in(dice, 2) ? below(dice, h->most) : 0);
		unit.lane = one_in(dice, h->flood_urgent)    ? LAW_URGENT
			    : one_in(dice, h->flood_patient) ? LAW_PATIENT
							     : LAW_NORMAL;
		enter(r, (tick - 1) * T + 2, unit);
	}
}

/* ---- what leaves ---- */

struct seen {
	uint64_t all[PEOPLE];     /* deliveries */
	uint64_t counted[PEOPLE]; /* of them, those that count */
	bool kept[PEOPLE];        /* somebody is told that the promise held */
	uint32_t crowd;
	uint32_t batch;
	bool any;
	bool beside;
};

/* How long each may wait: D + T; the patient their store's time before; what is held not at all once its time has come. */
static void
check_wait(const struct house *h, const struct law_unit *u, msec age)
{
	bool held = u->due != LAW_UNDRAWN;
	msec arrival = held ? u->due : u->entered;
	assert_true(age >= arrival);
	if (u->lane == LAW_URGENT || (u->lane == LAW_NORMAL && held)) {
		assert_true(age < arrival + T);
	} else if (u->lane == LAW_NORMAL) {
		assert_true(age < arrival + h->deadline + T);
	} else {
		assert_true(age < arrival + LAW_PATIENT_PERIODS * h->patience + h->deadline + T);
	}
}

/*
 * Nobody of whom something is told protected has, with all that left of hers, more than 1/(k - c) of what the others make up for her:
 * the attacker's own taken off, what does not count taken off, and nobody a better cover than by as much as her own.
 */
static void
check_promise(const struct house *h, const struct seen *s)
{
	uint64_t most = 0;
	for (size_t p = 0; p < HONEST; p++) {
		if (s->kept[p]) {
			most = s->all[p] > most ? s->all[p] : most;
		}
	}
	uint64_t cover = 0;
	uint64_t members = 0;
	for (size_t p = 0; p < PEOPLE; p++) {
		if (p < HONEST) {
			cover += s->counted[p] < most ? s->counted[p] : most;
		}
		members += s->counted[p] > 0 ? 1 : 0;
	}
	assert_true(cover >= most * (h->k - h->bad));
	assert_true(most * h->k <= s->batch);
	/* Who counts for nothing is in no crowd. */
	assert_true(s->crowd <= members);
	assert_true(most == 0 || s->crowd >= h->k);
}

static void
leave(struct run *r, msec tick, struct totals *t)
{
	const struct law_random chance = {.next = splitmix, .arg = &r->law_dice};
	struct law_decision d;
	struct seen seen[CLASSES];
	memset(seen, 0, sizeof(seen));
	assert_int_equal(law_decide(r->law, at(tick * T), chance, SIZE_MAX, &d), ERR_OK);
	for (size_t i = 0; i < d.release_count; i++) {
		const struct law_release *x = &d.releases[i];
		const struct law_unit *u = &x->unit;
		struct law_unit *own = &r->units[u->id % ROOM];
		struct seen *s = &seen[u->size_class];
		assert_true(own->weight > 0 && own->id == u->id);
		check_wait(&r->house, own, tick * T);
		s->all[u->member] += u->weight;
		s->counted[u->member] += u->counts ? u->weight : 0;
		s->kept[u->member] = s->kept[u->member] || !x->is_void;
		assert_true(!s->any || (s->crowd == x->crowd && s->batch == x->batch));
		s->any = true;
		s->crowd = x->crowd;
		s->batch = x->batch;
		s->beside = s->beside || x->is_void;
		/* A shut gate protects nobody. */
		assert_true(x->crowd > 0 || x->is_void);
		if (u->member < HONEST) {
			t->voids += x->is_void;
			t->kept += !x->is_void;
			t->waited += u->lane == LAW_NORMAL ? (double)(tick * T - u->entered) / (double)T : 0;
		} else {
			t->urgent_floods += x->is_void && u->lane == LAW_URGENT;
		}
		own->weight = 0;
		r->waiting--;
		t->releases++;
	}
	law_commit(r->law, &d);
	law_decision_clear(&d);
	for (size_t c = 0; c < CLASSES; c++) {
		check_promise(&r->house, &seen[c]);
		t->opened += seen[c].crowd > 0;
		t->beside += seen[c].crowd > 0 && seen[c].beside;
	}
	t->ticks++;
}

static void
live(struct run *r, const struct house *house, uint64_t seed, struct totals *t)
{
	const struct law_config config = {.kind = LAW_CROWD,
					  .clock = T,
					  .k = house->k,
					  .deadline = house->deadline,
					  .mean = T,
					  .patient = house->patience};
	const msec rest = (LAW_PATIENT_PERIODS * house->patience + house->deadline) / T + 8;
	uint64_t bad_dice = ~seed;
	memset(r, 0, sizeof(*r));
	r->house = *house;
	r->dice = seed;
	r->law_dice = seed + 1;
	assert_int_equal(law_create(&config, &r->law), ERR_OK);
	for (msec tick = 1; tick <= house->ticks + rest; tick++) {
		if (tick <= house->ticks) {
			honest_letters(r, tick);
			flood(r, tick, &bad_dice);
		} else if (r->waiting == 0) {
			break;
		}
		leave(r, tick, t);
	}
	/* All have left. */
	assert_int_equal(r->waiting, 0);
	assert_int_equal(law_waiting(r->law), 0);
	law_destroy(&r->law);
}

/* ---- the tests ---- */

static void
no_run_breaks_the_promise_or_the_deadline(void **state)
{
	static struct run r;
	struct totals t = {.ticks = 0};
	(void)state;
	for (uint64_t i = 0; i < (SHORT_RUNS + LONG_RUNS) * times(); i++) {
		uint64_t dice = 1000 + 2 * i;
		bool is_long = i % (SHORT_RUNS / LONG_RUNS) == 0;
		struct house h = any_house(&dice, is_long ? 3000 : 40 + (msec)below(&dice, 80));
		live(&r, &h, dice, &t);
	}
	print_message("%.1f million ticks, %.1f million letters left (%.0f %% of the honest ones protected), "
		      "%.1f million open gates, letters void beside %.0f %% of them\n",
		      (double)t.ticks / 1e6, (double)t.releases / 1e6,
		      100 * (double)t.kept / (double)(t.kept + t.voids), (double)t.opened / 1e6,
		      100 * (double)t.beside / (double)t.opened);
	/* It has seen what it is to see. */
	assert_true(t.ticks > 900000 && t.releases > 3000000);
	assert_true(t.kept > t.releases / 10 && t.voids > t.releases / 100);
	assert_true(t.opened > t.ticks / 10 && t.beside > t.opened / 20);
	assert_true(t.urgent_floods > t.releases / 50);
}

/* Urgent or normal or patient, of one delivery or of forty: whoever floods delays nobody else. */
static void
others_leave_as_soon_with_a_flooder_as_without(void **state)
{
	enum { RUNS = 400 };
	static struct run r;
	(void)state;
	for (uint64_t lane = 0; lane < 3; lane++) {
		struct totals with = {.ticks = 0};
		struct totals without = {.ticks = 0};
		for (uint64_t i = 0; i < RUNS * times(); i++) {
			uint64_t dice = 70000 + 2 * i;
			struct house h = any_house(&dice, 200);
			h.bad = 1 + i % BAD;
			h.k = (uint32_t)(h.bad + 2);
			h.flood = 20;
			h.flood_urgent = lane == LAW_URGENT ? 1 : 0;
			h.flood_patient = lane == LAW_PATIENT ? 1 : 0;
			live(&r, &h, dice, &with);
			h.bad = 0;
			live(&r, &h, dice, &without);
		}
		print_message("%s flood: others wait %.0f ticks in all, without him %.0f; protected %.0f %%, "
			      "without him %.0f %%\n",
			      lane == LAW_URGENT    ? "urgent"
			      : lane == LAW_PATIENT ? "patient"
						    : "normal",
			      with.waited, without.waited,
			      100 * (double)with.kept / (double)(with.kept + with.voids),
			      100 * (double)without.kept / (double)(without.kept + without.voids));
		assert_int_equal(with.kept + with.voids, without.kept + without.voids);
		assert_true(with.waited <= without.waited);
		assert_true(with.voids <= without.voids + without.voids / 50);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_run_breaks_the_promise_or_the_deadline),
	    cmocka_unit_test(others_leave_as_soon_with_a_flooder_as_without),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
