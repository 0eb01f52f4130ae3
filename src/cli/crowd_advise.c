/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* `cohue crowd advise`: which clock, crowd and patient period for whom; what size hides; when a crowd becomes a target. */
#include <math.h>

#include "cli/crowd.h"
#include "crowd/live.h"

struct advice {
	struct advise_setup setup;
	struct advise_choice choices[ADVISE_CHOICES];
	size_t best;
	struct advise_size sizes[ADVISE_SIZES];
	size_t hides;
	size_t turn;
};

/* Of an alliance: one crowd of all houses. Watched as each of them would be, or as the whole. */
static double
risk_of(const struct crowd_args *a, const struct advice *v, double houses, bool as_whole)
{
	double all = houses * a->members;
	return advise_guess_at(v->sizes, all) * attention_watched(&a->attention, as_whole ? all : a->members);
}

static void
say_choice(struct crowd_out *o, const struct advise_choice *c, bool best)
{
	crowd_say(o, "%c %6.0f min %5u ", best ? '*' : ' ', (double)c->law.clock / (double)MSEC_MINUTE,
		  c->law.k);
	crowd_say(o, "%9.0f min %9.0f min %8.3g %% %8.3g %%%s\n", (double)c->mean / (double)MSEC_MINUTE,
		  (double)c->p99 / (double)MSEC_MINUTE, 100 * c->guess, 100 * c->void_share,
		  c->fits ? "" : "   beyond the limits");
}

static void
say_sizes(struct crowd_out *o, const struct crowd_args *a, const struct advice *v)
{
	crowd_say(o,
		  "\nWhat size hides, with this clock and crowd; and when it draws attention (a model, not a "
		  "measurement:\n"
		  "a service of N is watched with the chance %.2g + %.2g N^%.2g / (N^%.2g + %.0f^%.2g); "
		  "--attention-floor, -half, -steep):\n\n"
		  "   members      guess    watched       risk = both\n",
		  a->attention.floor, 1 - a->attention.floor, a->attention.steep, a->attention.steep,
		  a->attention.half, a->attention.steep);
	for (size_t i = 0; i < ADVISE_SIZES; i++) {
		const struct advise_size *s = &v->sizes[i];
		crowd_say(o, "%10.0f %8.3g %% %8.3g %% %8.3g %%%s%s\n", s->members, 100 * s->guess,
			  100 * s->watched, 100 * s->risk,
			  i == v->hides ? "   a guess as low as asked for" : "",
			  i == v->turn ? "   from here on more members raise the risk" : "");
	}
	if (v->hides == ADVISE_SIZES) {
		crowd_say(o, "No size reaches a guess of %.3g %%.\n", a->guess);
	}
	if (v->turn == ADVISE_SIZES) {
		crowd_say(o, "In this model more members always help.\n");
	}
}

static void
say_alliance(struct crowd_out *o, const struct crowd_args *a, const struct advice *v)
{
	crowd_say(o,
		  "\nAn alliance: houses of %.0f members each that mix their letters in one room (a guess "
		  "has to search them all;\n"
		  "whoever watches only one line sees less; each house must trust the room not to talk):\n\n"
		  "    houses    members      guess   risk, watched as one house   as the whole\n",
		  a->members);
	double steps[] = {1, 2, 5, 10, 30, a->houses};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		bool asked = i == sizeof(steps) / sizeof(steps[0]) - 1;
		if (asked && a->houses <= 1) {
			break;
		}
		double all = steps[i] * a->members;
		crowd_say(o, "%10.0f %10.0f %8.3g %% %26.3g %% %12.3g %%%s\n", steps[i], all,
			  100 * advise_guess_at(v->sizes, all), 100 * risk_of(a, v, steps[i], false),
			  100 * risk_of(a, v, steps[i], true), asked ? "   as asked" : "");
	}
}

static void
say_text(struct crowd_out *o, const struct crowd_args *a, const struct advice *v)
{
	const struct advise_choice *b = &v->choices[v->best];
	crowd_say(o,
		  "%.0f members, %.3g letters each a day, %.0f of 100 with attachments; a mean wait of %.0f "
		  "min is bearable.\n\n"
		  "     clock crowd    mean wait   99 of 100    guess       void\n",
		  a->members, a->rate, 100 * a->large, a->wait);
	for (size_t i = 0; i < ADVISE_CHOICES; i++) {
		say_choice(o, &v->choices[i], i == v->best);
	}
	crowd_say(o,
		  "\nIn cohue.conf:\n  leave.law = crowd\n  leave.clock = %.0f m\n  leave.crowd = %u\n  "
		  "leave.patient = %.0f h\n",
		  (double)b->law.clock / (double)MSEC_MINUTE, b->law.k,
		  (double)b->law.patient / (double)MSEC_HOUR);
	if (!b->fits) {
		crowd_say(o,
			  "None keeps within the limits (at most %.2g %% void): so few letters make no "
			  "crowd. More members, more patience "
			  "(--wait), or an alliance help.\n",
			  100 * v->setup.void_most);
	}
	if (b->law.k <= 3) {
		crowd_say(o, "Two accounts in one attacker's hands undo a crowd of 3, where he can block the "
			     "others.\n");
	}
	say_sizes(o, a, v);
	say_alliance(o, a, v);
}

static void
say_json(struct crowd_out *o, const struct crowd_args *a, const struct advice *v)
{
	crowd_say(o, "{\"members\": %.0f, \"rate\": %.6g, \"large\": %.6g, \"best\": %zu,\n \"choices\": [",
		  a->members, a->rate, a->large, v->best);
	for (size_t i = 0; i < ADVISE_CHOICES; i++) {
		const struct advise_choice *c = &v->choices[i];
		crowd_say(o,
			  "%s{\"clock_s\": %lld, \"crowd\": %u, \"patient_s\": %lld, \"wait_mean_s\": %lld, "
			  "\"wait_p99_s\": %lld, "
			  "\"guess\": %.6g, \"void\": %.6g, \"fits\": %s}",
			  i > 0 ? ",\n  " : "", (long long)(c->law.clock / 1000), c->law.k,
			  (long long)(c->law.patient / 1000), (long long)(c->mean / 1000),
			  (long long)(c->p99 / 1000), c->guess, c->void_share, c->fits ? "true" : "false");
	}
	crowd_say(o, "],\n \"attention\": {\"floor\": %.6g, \"half\": %.6g, \"steep\": %.6g},\n \"sizes\": [",
		  a->attention.floor, a->attention.half, a->attention.steep);
	for (size_t i = 0; i < ADVISE_SIZES; i++) {
		const struct advise_size *s = &v->sizes[i];
		crowd_say(o, "%s{\"members\": %.0f, \"guess\": %.6g, \"watched\": %.6g, \"risk\": %.6g}",
			  i > 0 ? ",\n  " : "", s->members, s->guess, s->watched, s->risk);
	}
	crowd_say(o, "],\n ");
	crowd_say_number(o, "hides_from", v->hides < ADVISE_SIZES ? v->sizes[v->hides].members : (double)NAN);
	crowd_say(o, ", ");
	crowd_say_number(o, "turns_at", v->turn < ADVISE_SIZES ? v->sizes[v->turn].members : (double)NAN);
	crowd_say(o,
		  ",\n \"alliance\": {\"houses\": %.0f, \"guess\": %.6g, \"risk_as_house\": %.6g, "
		  "\"risk_as_whole\": %.6g}}\n",
		  a->houses, advise_guess_at(v->sizes, a->houses * a->members),
		  risk_of(a, v, a->houses, false), risk_of(a, v, a->houses, true));
}

/* Members and rate of the running service: the last days' letters over the members who count. */
static bool
from_live(struct cli *c, struct crowd_args *a)
{
	static struct live live;
	if (!crowd_live_ask(c, &live)) {
		return false;
	}
	struct live_sums sums = live_total(live.days, live.day_count);
	if (live.members == 0 || sums.letters == 0) {
		(void)cli_fail(
		    "crowd: the service has no days to judge by yet. Remedy: give --members N --rate R");
		return false;
	}
	a->members = (double)(live.counting > 0 ? live.counting : live.members);
	a->rate = (double)sums.letters / (double)live.day_count / a->members;
	return true;
}

int
cli_crowd_advise(struct cli *c)
{
	struct crowd_args a;
	struct crowd_out o;
	static struct advice v;
	int status = crowd_options(c, "advise", &a);
	if (status != CLI_OK) {
		return status;
	}
	if (a.format == CROWD_CSV || a.format == CROWD_SVG) {
		return cli_fail("crowd: advise speaks text or JSON. Remedy: --format text or json");
	}
	if (a.live && !from_live(c, &a)) {
		return CLI_FAILED;
	}
	if (a.members < 3) {
		return cli_fail(a.members <= 0 ? "crowd: for how many? Remedy: --members N --rate R, or "
						 "--live for the running service"
					       : "crowd: one or two people are no crowd: whoever watches "
						 "knows them. Remedy: three at the "
						 "least, better thirty; or join others");
	}
	v.setup = (struct advise_setup){.members = (uint32_t)a.members,
					.rate = a.rate,
					.large = a.large,
					.wait = (msec)(a.wait * (double)MSEC_MINUTE),
					.void_most = 0.012,
					.deadline = a.law.deadline,
					.seed = (uint64_t)a.seed};
	enum err e = advise_choose(&v.setup, v.choices, &v.best);
	e = e == ERR_OK ? advise_sizes(&v.setup, &v.choices[v.best].law, &a.attention, v.sizes) : e;
	if (e != ERR_OK) {
		return crowd_failed(e);
	}
	v.hides = advise_hides(v.sizes, a.guess / 100);
	v.turn = advise_turn(v.sizes);
	crowd_out_init(&o);
	if (a.format == CROWD_JSON) {
		say_json(&o, &a, &v);
	} else {
		say_text(&o, &a, &v);
	}
	return crowd_print(&o);
}
