/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/delays.h"

#include <math.h>
#include <stdlib.h>

enum { SECONDS = 4 * 3600, MINUTES = 60 * 24 * 60, BINS = SECONDS + MINUTES };

struct delays {
	uint64_t count;
	double sum;
	msec max;
	uint64_t bin[BINS];
};

enum err
delays_create(struct delays **ret)
{
	struct delays *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		return ERR_MEMORY;
	}
	*ret = d;
	return ERR_OK;
}

void
delays_destroy(struct delays **d)
{
	free(*d);
	*d = NULL;
}

static size_t
bin_of(msec wait)
{
	size_t seconds = wait <= 0 ? 0 : (size_t)((wait + MSEC_SECOND - 1) / MSEC_SECOND);
	if (seconds < SECONDS) {
		return seconds;
	}
	size_t minute = (seconds - SECONDS) / 60;
	return SECONDS + (minute < MINUTES ? minute : MINUTES - 1);
}

void
delays_add(struct delays *d, msec wait)
{
	d->count++;
	d->sum += (double)wait;
	d->bin[bin_of(wait)]++;
	if (wait > d->max) {
		d->max = wait;
	}
}

uint64_t
delays_count(const struct delays *d)
{
	return d->count;
}

msec
delays_mean(const struct delays *d)
{
	return d->count == 0 ? 0 : (msec)(d->sum / (double)d->count);
}

msec
delays_quantile(const struct delays *d, double share)
{
	uint64_t wanted = (uint64_t)ceil(share * (double)d->count);
	uint64_t seen = 0;
	for (size_t i = 0; i < BINS && wanted > 0; i++) {
		seen += d->bin[i];
		if (seen >= wanted) {
			size_t seconds = i < SECONDS ? i : SECONDS + (i - SECONDS + 1) * 60;
			msec wait = (msec)seconds * MSEC_SECOND;
			return wait < d->max ? wait : d->max;
		}
	}
	return d->count == 0 ? 0 : d->max;
}

msec
delays_max(const struct delays *d)
{
	return d->max;
}
