/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The largest share x with which nobody has more than 1/k of what leaves. What a member sent urgently since the last opening (gone) takes up
 * room in her own share, and in nobody else's; of it nothing leaves now, so nothing of it counts.
 *
 * Filling a share x in order of arrival, f(x) is what one member releases of it. From x to x + 1 that changes only where some
 * unit that was left out now fits, and then fills the share to the brim: f grows with x, and a value that it reaches it reaches first
 * at x = f(x). So the largest f over all members is itself the share with which the same units leave, and only such shares are looked at.
 *
 * What all release, S(x), grows with x as well (where a member's units do not all count: a bound of it does). A share x that fails, S(x) <
 * k x, therefore rules out all down to S(x) / k, and the search goes there at once: downwards to the largest share
 * that holds, and never past it. At each step only those members are filled anew who had more than the new share, found by a
 * heap; one is filled in time that goes with the number of gaps his large units leave, not with what he has waiting.
 */
#include <stdlib.h>

#include "law/law_internal.h"

/* Sums of a member's units, in the order in which they fill a share; and their least weights, as a tree over that order. */
struct shelf {
	uint32_t count;
	uint32_t size;     /* leaves of the tree: a power of two */
	uint64_t *weight;  /* of the first i */
	uint64_t *counted; /* of the same, those that count */
	uint32_t *least;   /* [1] is the root, [size + i] unit i */
};

struct row {
	uint64_t all;     /* the share that is taken up, gone included; 0 where nothing leaves */
	uint64_t counted; /* what leaves and counts */
	uint64_t ceiling; /* at least `counted`, and grows with the share */
	struct shelf shelf;
};

struct fit {
	const struct law_queue *q;
	const struct law_claim *claims;
	size_t count;
	struct row *rows;
	uint32_t *heap; /* rows; the largest `all` on top */
	uint64_t sum;
	uint64_t ceiling;
	uint64_t work;
};

/* ---- the bound ---- */

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;
	return x < y ? -1 : x > y ? 1 : 0;
}

static void
sift_down(uint64_t *heap, size_t count, size_t at)
{
	for (;;) {
		size_t child = 2 * at + 1;
		if (child + 1 < count && heap[child + 1] < heap[child]) {
			child++;
		}
		if (child >= count || heap[child] >= heap[at]) {
			return;
		}
		uint64_t swap = heap[child];
		heap[child] = heap[at];
		heap[at] = swap;
		at = child;
	}
}

/*
 * The largest x with h(x) = sum of min(c, x) - k x >= 0, or 0: the answer where all weights are 1 and nothing is gone,
 * and a bound elsewhere. h is concave, with its top at the k-th largest c; beyond it only the
 * k - 1 larger ones still grow, so k values are kept and sorted.
 */
static uint64_t
bound(const struct law_claim *claims, size_t count, uint64_t k, uint64_t *top)
{
	/* `top`: a heap of the k largest so far, the least on top. */
	size_t kept = 0;
	uint64_t rest = 0; /* sum of all that are not in it */
	for (size_t i = 0; i < count; i++) {
		uint64_t c = claims[i].counted;
		if (kept < k) {
			top[kept++] = c;
			for (size_t j = kept / 2; kept == k && j-- > 0;) {
				sift_down(top, kept, j);
			}
		} else {
			rest += c < top[0] ? c : top[0];
			if (c > top[0]) {
				top[0] = c;
				sift_down(top, kept, 0);
			}
		}
	}
	/* Fewer than k members have anything. */
	if (kept < k || top[0] == 0) {
		return 0;
	}
	qsort(top, kept, sizeof(*top), by_size);
	uint64_t sum = rest + top[0];
	for (size_t i = 1; i < kept; i++) {
		/* Up to top[i], h falls by i with each step: k claims less the k - i that grow. */
		if (sum / i < top[i]) {
			return sum / i;
		}
		sum += top[i];
	}
	/* Larger than all c, for who does not count and has more. */
	return sum / k;
}

/* ---- one member ---- */

static enum err
shelf_open(struct shelf *s, const struct law_claim *claim, const struct law_queue *q)
{
	uint32_t size = 1;
	while (size < claim->count) {
		size *= 2;
	}
	size_t sums = (size_t)claim->count + 1;
	uint64_t *memory = malloc(2 * sums * sizeof(uint64_t) + 2 * (size_t)size * sizeof(uint32_t));
	if (memory == NULL) {
		return ERR_MEMORY;
	}
	*s = (struct shelf){.size = size,
			    .weight = memory,
			    .counted = memory + sums,
			    .least = (uint32_t *)(void *)(memory + 2 * sums)};
	s->weight[0] = 0;
	s->counted[0] = 0;
	for (int haste = claim->urgent > 0 ? 1 : 0; haste >= 0; haste--) {
		for (uint32_t at = claim->share->head; at != claim->end && s->count < claim->count;
		     at = q->slots[at].next) {
			const struct law_unit *unit = &q->slots[at].unit;
			if (law_in_haste(unit) == (haste == 1)) {
				uint32_t i = s->count++;
				s->weight[i + 1] = s->weight[i] + unit->weight;
				s->counted[i + 1] = s->counted[i] + (unit->counts ? unit->weight : 0);
				s->least[size + i] = unit->weight;
			}
		}
	}
	for (uint32_t i = s->count; i < size; i++) {
		s->least[size + i] = UINT32_MAX;
	}
	for (uint32_t i = size - 1; i > 0; i--) {
		uint32_t a = s->least[2 * i];
		uint32_t b = s->least[2 * i + 1];
		s->least[i] = a < b ? a : b;
	}
	return ERR_OK;
}

/* The first unit at `at` or behind it that fits; count: none. */
static uint32_t
first_fitting(const struct shelf *s, uint32_t at, uint64_t room)
{
	uint32_t i = s->size + at;
	while (s->least[i] > room) {
		while ((i & 1) != 0) {
			i >>= 1;
		}
		if (i == 0) {
			return s->count;
		}
		i++;
	}
	while (i < s->size) {
		i *= 2;
		i += s->least[i] > room ? 1 : 0;
	}
	return i - s->size;
}

/* Behind the last unit of those from `at` on that fit one after the other. */
static uint32_t
end_of_run(const struct shelf *s, uint32_t at, uint64_t room)
{
	uint64_t most = s->weight[at] + room;
	uint32_t low = at;
	uint32_t step = 1;
	while (low + step <= s->count && s->weight[low + step] <= most) {
		low += step;
		step *= 2;
	}
	for (; step > 0; step /= 2) {
		if (low + step <= s->count && s->weight[low + step] <= most) {
			low += step;
		}
	}
	return low;
}

/* ERR_MEMORY. */
static enum err
fill(struct fit *f, size_t which, uint64_t x)
{
	const struct law_claim *claim = &f->claims[which];
	struct row *row = &f->rows[which];
	uint64_t gone = claim->gone < x ? claim->gone : x;
	uint64_t room = x - gone;
	uint64_t part = claim->weight < room ? claim->weight : room;
	uint64_t counted = claim->counted < part ? claim->counted : part;
	bool alike =
	    claim->weight == claim->count && (claim->counted == 0 || claim->counted == claim->weight);
	f->sum -= row->counted;
	f->ceiling -= row->ceiling;
	f->work++;
	if (!alike && claim->weight > room) {
		const struct shelf *s = &row->shelf;
		if (s->weight == NULL) {
			enum err e = shelf_open(&row->shelf, claim, f->q);
			if (e != ERR_OK) {
				return e;
			}
		}
		part = 0;
		counted = 0;
		for (uint32_t at = 0; at < s->count && room >= s->least[1];) {
			uint32_t from = first_fitting(s, at, room);
			at = from == s->count ? from : end_of_run(s, from, room);
			part += s->weight[at] - s->weight[from];
			counted += s->counted[at] - s->counted[from];
			room -= s->weight[at] - s->weight[from];
			f->work++;
		}
	}
	row->all = part > 0 ? gone + part : 0;
	row->counted = counted;
	row->ceiling = claim->counted < part ? claim->counted : part;
	f->sum += row->counted;
	f->ceiling += row->ceiling;
	return ERR_OK;
}

/* ---- the search ---- */

static void
settle(struct fit *f, size_t at)
{
	uint32_t row = f->heap[at];
	uint64_t all = f->rows[row].all;
	for (;;) {
		size_t child = 2 * at + 1;
		if (child + 1 < f->count && f->rows[f->heap[child + 1]].all > f->rows[f->heap[child]].all) {
			child++;
		}
		if (child >= f->count || f->rows[f->heap[child]].all <= all) {
			break;
		}
		f->heap[at] = f->heap[child];
		at = child;
	}
	f->heap[at] = row;
}

static enum err
search(struct fit *f, uint64_t k, uint64_t x, uint64_t *ret_x)
{
	enum { STEP = 4 };
	enum err e = ERR_OK;
	for (size_t i = 0; i < f->count && e == ERR_OK; i++) {
		f->heap[i] = (uint32_t)i;
		e = fill(f, i, x);
	}
	for (size_t i = f->count / 2; i-- > 0 && e == ERR_OK;) {
		settle(f, i);
	}
	while (e == ERR_OK) {
		uint64_t most = f->rows[f->heap[0]].all;
		if (most == 0 || f->sum >= k * most) {
			*ret_x = most;
			break;
		}
		uint64_t open = f->ceiling / k;
		x = open < most - 1 ? open : most - 1;
		if (f->work > LAW_FIT_WORK_MAX) {
			x -= x / STEP;
		}
		while (f->rows[f->heap[0]].all > x && e == ERR_OK) {
			e = fill(f, f->heap[0], x);
			settle(f, 0);
		}
	}
	return e;
}

enum err
law_fit(const struct law_queue *q, const struct law_claim *claims, size_t count, uint64_t k, uint64_t *ret_x)
{
	uint64_t *values = count == 0 ? NULL : calloc(count, sizeof(*values));
	if (count == 0 || values == NULL) {
		*ret_x = 0;
		return count == 0 ? ERR_OK : ERR_MEMORY;
	}
	uint64_t x = bound(claims, count, k, values);
	free(values);
	if (x == 0) {
		*ret_x = 0;
		return ERR_OK;
	}
	struct fit f = {.q = q, .claims = claims, .count = count};
	f.rows = calloc(count, sizeof(*f.rows));
	f.heap = calloc(count, sizeof(*f.heap));
	enum err e = f.rows == NULL || f.heap == NULL ? ERR_MEMORY : search(&f, k, x, ret_x);
	for (size_t i = 0; i < count && f.rows != NULL; i++) {
		free(f.rows[i].shelf.weight);
	}
	free(f.rows);
	free(f.heap);
	return e;
}
