/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/source.h"

#include <math.h>
#include <stdlib.h>

const double source_day[SOURCE_HOURS] = {1.0, 0.8, 0.6, 0.5, 0.9, 5.5, 15,  30,  37,  37,  32,  33,
					 34,  32,  25,  15,  9.5, 5.6, 4.0, 3.3, 2.8, 2.5, 1.9, 1.2};

const struct size_model size_model_default = {
    .large = 0.2,
    .text_median = 5000,
    .text_spread = 1.0,
    .large_median = 250e3,
    .large_spread = 1.5,
    .max = 16e6,
};

struct source {
	struct source_members model;
	const struct trace *trace; /* NULL: made-up members */
	bool weights;
	size_t at;                         /* the next unit of the trace */
	double now;                        /* hours */
	double member_share[SOURCE_HOURS]; /* letters an hour, of ordinary members */
	double flood_share;
	struct size_model sizes;
	struct chance when; /* one generator a purpose: sizes do not change who writes when */
	struct chance how_large;
};

uint64_t
size_draw(const struct size_model *model, struct chance *chance)
{
	enum { REDRAWS = 64 };
	bool large = chance_unit(chance) < model->large;
	double median = large ? model->large_median : model->text_median;
	double spread = large ? model->large_spread : model->text_spread;
	for (int i = 0; i < REDRAWS; i++) {
		double bytes = median * exp(spread * chance_normal(chance));
		/* A text beyond the first class would be an attachment. */
		if (bytes < (large ? model->max : (double)law_class_bytes(0) - 4096)) {
			return (uint64_t)bytes + 4096;
		}
	}
	return (uint64_t)median + 4096;
}

static struct source *
make(double large, uint64_t seed)
{
	struct source *s = calloc(1, sizeof(*s));
	if (s != NULL) {
		s->sizes = size_model_default;
		s->sizes.large = large;
		chance_init(&s->when, seed);
		chance_init(&s->how_large, seed ^ 0x5351a3d1e0f94d2bU);
	}
	return s;
}

enum err
source_of_members(const struct source_members *model, struct source **ret)
{
	struct source *s = make(model->large, model->seed);
	double sum = 0;
	if (s == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < SOURCE_HOURS; i++) {
		sum += source_day[i];
	}
	s->model = *model;
	for (size_t i = 0; i < SOURCE_HOURS; i++) {
		double share = model->flat ? 1.0 / SOURCE_HOURS : source_day[i] / sum;
		s->member_share[i] = share * model->rate * (double)model->members;
	}
	s->flood_share = model->flood_rate * (double)model->flooders / SOURCE_HOURS;
	*ret = s;
	return ERR_OK;
}

enum err
source_of_trace(const struct trace *trace, double large, bool weights, uint64_t seed, struct source **ret)
{
	struct source *s = make(large, seed);
	if (s == NULL) {
		return ERR_MEMORY;
	}
	s->trace = trace;
	s->weights = weights;
	*ret = s;
	return ERR_OK;
}

void
source_destroy(struct source **s)
{
	free(*s);
	*s = NULL;
}

uint32_t
source_people(const struct source *s)
{
	return s->trace != NULL ? s->trace->people : s->model.members + s->model.flooders;
}

static uint64_t
draw_size(struct source *s)
{
	return s->sizes.large > 0 ? size_draw(&s->sizes, &s->how_large) : (uint64_t)s->sizes.text_median;
}

static bool
next_of_trace(struct source *s, struct source_unit *ret)
{
	if (s->at >= s->trace->unit_count) {
		return false;
	}
	const struct trace_unit *u = &s->trace->units[s->at];
	*ret = (struct source_unit){.time = u->time,
				    .member = u->sender,
				    .weight = s->weights ? u->rows : 1,
				    .bytes = draw_size(s),
				    .number = (uint32_t)s->at};
	s->at++;
	return true;
}

/* A Poisson process whose rate is constant within each hour: a unit of hazard is used up hour by hour. */
bool
source_next(struct source *s, struct source_unit *ret)
{
	if (s->trace != NULL) {
		return next_of_trace(s, ret);
	}
	double hazard = chance_exponential(&s->when);
	double end = s->model.days * SOURCE_HOURS;
	for (;;) {
		double hour = floor(s->now);
		double members = s->member_share[(size_t)hour % SOURCE_HOURS];
		double rate = members + s->flood_share;
		double left = hour + 1 - s->now;
		if (s->now >= end) {
			return false;
		}
		if (hazard >= rate * left) {
			hazard -= rate * left;
			s->now = hour + 1;
			continue;
		}
		s->now += hazard / rate;
		if (s->now >= end) {
			return false;
		}
		bool flood = s->flood_share > 0 && chance_unit(&s->when) * rate >= members;
		uint32_t among = flood ? s->model.flooders : s->model.members;
		*ret = (struct source_unit){.time = (msec)(s->now * (double)MSEC_HOUR),
					    .member = (flood ? s->model.members : 0) +
						      (uint32_t)chance_below(&s->when, among),
					    .weight = 1,
					    .bytes = draw_size(s),
					    .urgent = flood && s->model.flood_urgent};
		return true;
	}
}
