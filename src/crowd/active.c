/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/active.h"

enum { VICTIM = 0 };

static enum err
put(struct law *law, struct law_time now, struct law_random random, uint64_t id, uint64_t member)
{
	struct law_unit unit;
	law_unit_init(&unit);
	unit.id = id;
	unit.member = member;
	law_admit(law, now, random, &unit);
	return law_insert(law, &unit);
}

/* One tick; true in *ret_left when the victim's letter was among those that left. */
static enum err
tick(struct law *law, struct law_time now, struct law_random random, bool *ret_left, bool *ret_void)
{
	struct law_decision d;
	enum err e = law_decide(law, now, random, SIZE_MAX, &d);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < d.release_count; i++) {
		if (d.releases[i].unit.id == VICTIM) {
			*ret_left = true;
			*ret_void = d.releases[i].is_void;
		}
	}
	law_commit(law, &d);
	law_decision_clear(&d);
	return ERR_OK;
}

enum err
active_block(const struct law_config *law_config, uint32_t accounts, uint64_t seed, struct active_block *ret)
{
	struct law *law = NULL;
	struct chance chance;
	struct active_block block = {.accounts = accounts};
	struct law_random random = chance_law(&chance);
	msec start = (1000 * MSEC_DAY / law_config->clock) * law_config->clock;
	msec ticks = law_config->deadline / law_config->clock + 4;
	uint64_t id = VICTIM + 1;
	bool left = false;
	chance_init(&chance, seed);
	enum err e = law_create(law_config, &law);
	if (e != ERR_OK) {
		return e;
	}
	e = put(law, (struct law_time){.age = start + 1, .wall = start + 1}, random, VICTIM, VICTIM);
	for (msec i = 1; e == ERR_OK && !left && i <= ticks; i++) {
		msec when = start + i * law_config->clock;
		struct law_time before = {.age = when - 1, .wall = when - 1};
		struct law_time now = {.age = when, .wall = when};
		for (uint32_t a = 0; e == ERR_OK && a < accounts; a++) {
			e = put(law, before, random, id++, (uint64_t)a + 1);
		}
		e = e == ERR_OK ? tick(law, now, random, &left, &block.is_void) : e;
		block.wait = when - start - 1;
	}
	law_destroy(&law);
	if (e == ERR_OK && !left) {
		return ERR_STATE;
	}
	if (e == ERR_OK) {
		*ret = block;
	}
	return e;
}

enum err
active_flood(const struct law_config *law, const struct source_members *model, struct run_figures *ret)
{
	struct run_setup setup = {.law = *law, .honest = model->members, .seed = model->seed};
	struct source *source = NULL;
	enum err e = source_of_members(model, &source);
	e = e == ERR_OK ? run_law(&setup, source, NULL, ret) : e;
	source_destroy(&source);
	return e;
}
