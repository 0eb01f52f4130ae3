/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "law/posterior.h"

#include <math.h>
#include <stdlib.h>

/*
 * p_i is the product of (1 - 1/n) over the departures since i entered. Its logarithm is a difference of
 * two running sums, so a departure costs O(1). When the only one that waits leaves (n = 1), all before
 * it become impossible at once: `first` moves behind them.
 */

struct departure {
	double keep;    /* the running sum just before */
	size_t first;   /* messages before this one are out for certain */
	size_t entered; /* messages that had entered */
	size_t waiting; /* n */
};

struct law_posterior {
	size_t max;
	double *keep_at; /* per message: the running sum when it entered */
	size_t messages;
	size_t messages_cap;
	struct departure *departures;
	size_t departure_count;
	size_t departures_cap;
	double keep;
	size_t first;
};

enum err
law_posterior_create(size_t max, struct law_posterior **ret)
{
	struct law_posterior *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return ERR_MEMORY;
	}
	p->max = max;
	*ret = p;
	return ERR_OK;
}

void
law_posterior_destroy(struct law_posterior **p)
{
	if (*p == NULL) {
		return;
	}
	free((*p)->keep_at);
	free((*p)->departures);
	free(*p);
	*p = NULL;
}

static void *
grown(void *array, size_t *cap, size_t count, size_t size)
{
	if (count < *cap) {
		return array;
	}
	size_t more = *cap == 0 ? 64 : *cap * 2;
	void *p = reallocarray(array, more, size);
	if (p != NULL) {
		*cap = more;
	}
	return p;
}

enum err
law_posterior_in(struct law_posterior *p, size_t *ret_message)
{
	if (p->messages >= p->max) {
		return ERR_LIMIT;
	}
	double *keep_at = grown(p->keep_at, &p->messages_cap, p->messages, sizeof(*keep_at));
	if (keep_at == NULL) {
		return ERR_MEMORY;
	}
	p->keep_at = keep_at;
	p->keep_at[p->messages] = p->keep;
	*ret_message = p->messages++;
	return ERR_OK;
}

enum err
law_posterior_out(struct law_posterior *p, size_t *ret_departure)
{
	size_t waiting = p->messages - p->departure_count;
	if (waiting == 0) {
		return ERR_STATE;
	}
	struct departure *d = grown(p->departures, &p->departures_cap, p->departure_count, sizeof(*d));
	if (d == NULL) {
		return ERR_MEMORY;
	}
	p->departures = d;
	d[p->departure_count] = (struct departure){
	    .keep = p->keep, .first = p->first, .entered = p->messages, .waiting = waiting};
	if (waiting == 1) {
		p->first = p->messages;
		p->keep = 0;
	} else {
		p->keep += log1p(-1.0 / (double)waiting);
	}
	*ret_departure = p->departure_count++;
	return ERR_OK;
}

size_t
law_posterior_messages(const struct law_posterior *p)
{
	return p->messages;
}

size_t
law_posterior_departures(const struct law_posterior *p)
{
	return p->departure_count;
}

double
law_posterior_of(const struct law_posterior *p, size_t departure, size_t message)
{
	if (departure >= p->departure_count) {
		return 0;
	}
	const struct departure *d = &p->departures[departure];
	if (message < d->first || message >= d->entered) {
		return 0;
	}
	return exp(d->keep - p->keep_at[message]) / (double)d->waiting;
}

double
law_posterior_best(const struct law_posterior *p, size_t departure, size_t *ret_message)
{
	if (departure >= p->departure_count) {
		return 0;
	}
	/* p_i only falls: the latest to enter has the highest. */
	*ret_message = p->departures[departure].entered - 1;
	return law_posterior_of(p, departure, *ret_message);
}

double
law_posterior_entropy(const struct law_posterior *p, size_t departure)
{
	double bits = 0;
	if (departure >= p->departure_count) {
		return 0;
	}
	const struct departure *d = &p->departures[departure];
	for (size_t i = d->first; i < d->entered; i++) {
		double q = law_posterior_of(p, departure, i);
		if (q > 0) {
			bits -= q * log2(q);
		}
	}
	return bits;
}
