/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/attack.h"

#include <math.h>
#include <stdlib.h>

struct batch_attack {
	uint32_t people;
	uint32_t honest;
	uint64_t *weight;  /* per member; 0 between batches */
	uint32_t *present; /* members of this batch */
	uint32_t count;
	uint64_t total;
};

enum err
batch_attack_create(uint32_t people, uint32_t honest, struct batch_attack **ret)
{
	struct batch_attack *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		return ERR_MEMORY;
	}
	a->people = people;
	a->honest = honest;
	a->weight = calloc((size_t)people + 1, sizeof(*a->weight));
	a->present = calloc((size_t)people + 1, sizeof(*a->present));
	if (a->weight == NULL || a->present == NULL) {
		batch_attack_destroy(&a);
		return ERR_MEMORY;
	}
	*ret = a;
	return ERR_OK;
}

void
batch_attack_destroy(struct batch_attack **a)
{
	if (*a != NULL) {
		free((*a)->weight);
		free((*a)->present);
	}
	free(*a);
	*a = NULL;
}

void
batch_attack_add(struct batch_attack *a, uint32_t member, uint32_t weight)
{
	if (member >= a->people || member >= a->honest || weight == 0) {
		return;
	}
	if (a->weight[member] == 0) {
		a->present[a->count++] = member;
	}
	a->weight[member] += weight;
	a->total += weight;
}

double
batch_attack_of(const struct batch_attack *a, uint32_t member)
{
	return a->total > 0 && member < a->people ? (double)a->weight[member] / (double)a->total : 0;
}

void
batch_attack_look(struct batch_attack *a, struct attack_view *ret)
{
	const uint64_t total = a->total;
	uint64_t most = 0;
	double logs = 0;
	for (uint32_t i = 0; i < a->count; i++) {
		uint64_t w = a->weight[a->present[i]];
		a->weight[a->present[i]] = 0;
		most = w > most ? w : most;
		logs += w > 1 ? (double)w * log2((double)w) : 0;
	}
	*ret = (struct attack_view){.members = a->count, .weight = total};
	a->count = 0;
	a->total = 0;
	if (total > 0) {
		ret->guess = (double)most / (double)total;
		ret->entropy = log2((double)total) - logs / (double)total;
	}
}

/*
 * Everything stands in units of e^-keep, the common factor of the present: an arrival adds e^-keep, a departure lowers keep. When the only one
 * that waits leaves, all before are out for certain: a new epoch, and older sums count as zero.
 */
struct stream_attack {
	uint32_t people;
	uint32_t honest;
	double *sum;
	uint32_t *epoch;
	uint32_t now;
	uint32_t members; /* with a sum */
	double keep;
	double total;
	double largest;
	double logs; /* of sum * ln(sum) */
	uint64_t waiting;
};

enum err
stream_attack_create(uint32_t people, uint32_t honest, struct stream_attack **ret)
{
	struct stream_attack *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		return ERR_MEMORY;
	}
	a->people = people;
	a->honest = honest;
	a->now = 1;
	a->sum = calloc((size_t)people + 1, sizeof(*a->sum));
	a->epoch = calloc((size_t)people + 1, sizeof(*a->epoch));
	if (a->sum == NULL || a->epoch == NULL) {
		stream_attack_destroy(&a);
		return ERR_MEMORY;
	}
	*ret = a;
	return ERR_OK;
}

void
stream_attack_destroy(struct stream_attack **a)
{
	if (*a != NULL) {
		free((*a)->sum);
		free((*a)->epoch);
	}
	free(*a);
	*a = NULL;
}

static double
sum_of(const struct stream_attack *a, uint32_t member)
{
	return member < a->people && a->epoch[member] == a->now ? a->sum[member] : 0;
}

static double
times_log(double x)
{
	return x > 0 ? x * log(x) : 0;
}

/* Before e^-keep leaves the range of a double: the present becomes 1 again, once in some hundred departures a waiting letter. */
static void
rescale(struct stream_attack *a)
{
	double factor = exp(a->keep);
	a->keep = 0;
	a->total = 0;
	a->largest = 0;
	a->logs = 0;
	for (uint32_t i = 0; i < a->people; i++) {
		if (a->epoch[i] == a->now) {
			a->sum[i] *= factor;
			a->total += a->sum[i];
			a->largest = a->sum[i] > a->largest ? a->sum[i] : a->largest;
			a->logs += times_log(a->sum[i]);
		}
	}
}

void
stream_attack_in(struct stream_attack *a, uint32_t member)
{
	const double lowest = -300;
	if (member >= a->people || member >= a->honest) {
		return;
	}
	if (a->keep < lowest) {
		rescale(a);
	}
	double one = exp(-a->keep);
	double before = sum_of(a, member);
	a->members += a->epoch[member] != a->now;
	a->epoch[member] = a->now;
	a->sum[member] = before + one;
	a->logs += times_log(before + one) - times_log(before);
	a->total += one;
	a->largest = before + one > a->largest ? before + one : a->largest;
	a->waiting++;
}

void
stream_attack_out(struct stream_attack *a, uint32_t member, struct attack_view *ret)
{
	*ret = (struct attack_view){.members = a->members};
	if (member >= a->honest || a->waiting == 0) {
		return;
	}
	ret->weight = 1;
	ret->guess = a->largest / a->total;
	ret->entropy = (log(a->total) - a->logs / a->total) / log(2);
	ret->entropy = ret->entropy > 0 ? ret->entropy : 0;
	if (a->waiting == 1) {
		a->now++;
		a->members = 0;
		a->keep = 0;
		a->total = 0;
		a->largest = 0;
		a->logs = 0;
	} else {
		a->keep += log1p(-1.0 / (double)a->waiting);
	}
	a->waiting--;
}

double
stream_attack_of(const struct stream_attack *a, uint32_t member)
{
	return a->waiting == 0 ? 0 : sum_of(a, member) / a->total;
}
