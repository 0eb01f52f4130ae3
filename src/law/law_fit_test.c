/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "law/law_internal.h"

static uint64_t seed = 7;

static uint64_t
below(uint64_t n)
{
	uint64_t z = (seed += 0x9e3779b97f4a7c15U);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return (z ^ (z >> 31)) % n;
}

/* What waits, as the crowd law lays it before the search. */
struct scene {
	struct law_queue q;
	struct law_store store;
	struct law_claim *claims;
	size_t count;
	uint64_t last_id;
};

static void
add(struct scene *s, uint64_t member, uint32_t weight, bool counts, bool urgent)
{
	struct law_unit unit = {.id = ++s->last_id,
				.member = member,
				.weight = weight,
				.lane = urgent ? LAW_URGENT : LAW_NORMAL,
				.counts = counts};
	uint32_t slot = 0;
	assert_int_equal(law_queue_add(&s->q, &unit, &slot), ERR_OK);
	s->q.slots[slot].ready = (msec)s->last_id;
	assert_int_equal(law_store_add(&s->store, &s->q, slot, LAW_IN_LINE), ERR_OK);
}

/* All of it by the cut; gone: what each has sent urgently, at most, but for one in `rare` far more than all that waits. */
static void
claim(struct scene *s, uint64_t gone, uint64_t rare)
{
	s->claims = calloc(s->store.count + 1, sizeof(*s->claims));
	assert_non_null(s->claims);
	for (uint32_t i = 0; i < s->store.count; i++) {
		struct law_share *share = &s->store.shares[i];
		struct law_claim *c = &s->claims[s->count++];
		*c = (struct law_claim){.share = share,
					.gone = below(gone + 1),
					.weight = share->weight,
					.counted = share->counted,
					.count = share->count,
					.urgent = share->urgent,
					.end = LAW_NO_SLOT};
		c->gone += rare > 0 && below(rare) == 0 ? 1000 : 0;
	}
}

static void
clear(struct scene *s)
{
	free(s->claims);
	law_store_clear(&s->store);
	law_queue_clear(&s->q);
	memset(s, 0, sizeof(*s));
}

static uint64_t
fit(const struct scene *s, uint64_t k)
{
	uint64_t x = UINT64_MAX;
	assert_int_equal(law_fit(&s->q, s->claims, s->count, k, &x), ERR_OK);
	return x;
}

/*
 * The definition, word by word: every share from above, every unit in turn, and of each member's share no more than what is gone taken off.
 * What the share found comes to for those who release something.
 */
static uint64_t
try_all(const struct scene *s, uint64_t k)
{
	uint64_t x = 0;
	for (size_t i = 0; i < s->count; i++) {
		uint64_t c = s->claims[i].weight + s->claims[i].gone;
		x = c > x ? c : x;
	}
	for (; x > 0; x--) {
		uint64_t sum = 0;
		uint64_t most = 0;
		for (size_t i = 0; i < s->count; i++) {
			const struct law_claim *c = &s->claims[i];
			uint64_t gone = c->gone < x ? c->gone : x;
			uint64_t all = gone;
			for (int haste = 1; haste >= 0; haste--) {
				for (uint32_t at = c->share->head; at != c->end; at = s->q.slots[at].next) {
					const struct law_unit *unit = &s->q.slots[at].unit;
					if (law_in_haste(unit) == (haste == 1) && all + unit->weight <= x) {
						all += unit->weight;
						sum += unit->counts ? unit->weight : 0;
					}
				}
			}
			most = all > gone && all > most ? all : most;
		}
		if (most > 0 && sum >= k * x) {
			return most;
		}
	}
	return 0;
}

/* ---- tests ---- */

static void
the_share_is_the_largest_of_all_that_hold(void **state)
{
	static const uint32_t weights[] = {1, 2, 4, 9, 40, 300};
	size_t open = 0;
	size_t below_bound = 0;
	(void)state;
	for (int round = 0; round < 60000; round++) {
		struct scene s;
		memset(&s, 0, sizeof(s));
		s.q.free_slot = LAW_NO_SLOT;
		uint64_t members = 1 + below(8);
		uint32_t most = weights[below(sizeof(weights) / sizeof(weights[0]))];
		uint64_t mixed = below(4);
		uint64_t haste = below(3);
		for (uint64_t m = 0; m < members; m++) {
			uint64_t units = below(3) == 0 ? below(14) : below(5);
			uint32_t own = below(3) == 0 ? most : (uint32_t)(1 + below(most));
			for (uint64_t i = 0; i < units; i++) {
				bool counts = mixed > 0 || below(3) > 0;
				add(&s, m, (uint32_t)(1 + below(own)), counts, haste == 0 && below(4) == 0);
			}
		}
		claim(&s, below(3) == 0 ? below(2 * (uint64_t)most) : 0, below(3) == 0 ? 3 : 0);
		uint64_t k = 1 + below(5);
		uint64_t expected = try_all(&s, k);
		assert_int_equal(fit(&s, k), expected);
		/* One more, whatever he has waiting or has sent, makes no share smaller: he shuts no gate for others. */
		if (s.count > 1) {
			s.count--;
			assert_true(fit(&s, k) <= expected);
			s.count++;
		}
		open += expected > 0 ? 1 : 0;
		uint64_t full = 0;
		for (size_t i = 0; i < s.count; i++) {
			full = s.claims[i].weight > full ? s.claims[i].weight : full;
		}
		below_bound += expected > 0 && expected < full ? 1 : 0;
		clear(&s);
	}
	/* Gates of all kinds: open and shut, with and without somebody capped. */
	assert_true(open > 12000 && open < 54000 && below_bound > 4000);
}

/* One of the three always lacks one delivery, so each single share has to fail, down to none. */
static void
build_staircase(struct scene *s, uint32_t units)
{
	for (uint32_t i = 0; i < units; i++) {
		add(s, i % 3, i % 3 == 0 || (i % 3 == 1 && i < 3) ? 1 : 2, true, false);
	}
	for (uint32_t i = 0; i < units / 3; i++) {
		add(s, 0, 1, true, false);
	}
}

static double
seconds(void)
{
	struct timespec now;
	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double
cost(const struct scene *s, uint64_t k)
{
	double best = 1e9;
	for (int round = 0; round < 5; round++) {
		double start = seconds();
		(void)fit(s, k);
		double took = seconds() - start;
		best = took < best ? took : best;
	}
	return best;
}

static void
a_search_costs_about_as_much_as_a_look_at_each_unit(void **state)
{
	enum { SMALL = 10000, LARGE = 100000, KINDS = 5 };
	static const char *const kinds[KINDS] = {"weights 1", "weights 1-4", "one large flooder",
						 "three flooders", "a staircase"};
	(void)state;
	for (int kind = 0; kind < KINDS; kind++) {
		double took[2] = {0, 0};
		for (int large = 0; large < 2; large++) {
			struct scene s;
			memset(&s, 0, sizeof(s));
			s.q.free_slot = LAW_NO_SLOT;
			uint32_t units = large == 1 ? LARGE : SMALL;
			for (uint32_t i = 0; i < units && kind < 4; i++) {
				uint64_t m = kind == 2 && i % 2 == 0 ? 0
					     : kind == 3             ? i % 3
								     : below(units / 10);
				uint32_t w = kind == 0   ? 1
					     : kind == 1 ? (uint32_t)(1 + below(4))
							 : (uint32_t)(1 + below(400));
				add(&s, m, w, true, false);
			}
			if (kind == 4) {
				build_staircase(&s, units);
			}
			claim(&s, 0, 0);
			uint64_t x = fit(&s, 3);
			assert_true(kind == 4 ? x == 1 || x == 0 : x > 0);
			took[large] = cost(&s, 3);
			clear(&s);
		}
		print_message("%s: %.0f us of 10,000, %.2f ms of 100,000\n", kinds[kind], took[0] * 1e6,
			      took[1] * 1e3);
		/* Ten times as many: a search that grows with the square would take a hundred times as long. */
		assert_true(took[1] < 50 * (took[0] + 20e-6));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_share_is_the_largest_of_all_that_hold),
	    cmocka_unit_test(a_search_costs_about_as_much_as_a_look_at_each_unit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
