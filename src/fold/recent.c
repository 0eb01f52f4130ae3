/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

static bool
find(const struct deliveries *d, const uint8_t id[OPERATION_DELIVERY_LEN], size_t *ret_index)
{
	size_t low = 0;
	size_t high = d->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = memcmp(d->ids[d->order[mid]], id, OPERATION_DELIVERY_LEN);
		if (c == 0) {
			*ret_index = mid;
			return true;
		}
		if (c < 0) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	*ret_index = low;
	return false;
}

bool
deliveries_seen(const struct deliveries *d, const uint8_t id[OPERATION_DELIVERY_LEN])
{
	size_t index = 0;
	return find(d, id, &index);
}

enum err
deliveries_add(struct deliveries *d, const uint8_t id[OPERATION_DELIVERY_LEN])
{
	size_t position = d->count;
	if (d->count == FOLD_DELIVERIES_MAX) {
		/* The new one takes the place of the oldest. */
		size_t gone = 0;
		position = d->oldest;
		if (!find(d, d->ids[position], &gone)) {
			panic("fold: a delivery id is not in its order");
		}
		d->count--;
		memmove(d->order + gone, d->order + gone + 1, (d->count - gone) * sizeof(*d->order));
		d->oldest = (d->oldest + 1) % FOLD_DELIVERIES_MAX;
	} else {
		enum err e = parts_grow(&d->ids, &d->cap, d->count + 1, sizeof(*d->ids));
		if (e == ERR_OK) {
			e = parts_grow(&d->order, &d->order_cap, d->count + 1, sizeof(*d->order));
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	size_t index = 0;
	(void)find(d, id, &index);
	memcpy(d->ids[position], id, OPERATION_DELIVERY_LEN);
	memmove(d->order + index + 1, d->order + index, (d->count - index) * sizeof(*d->order));
	d->order[index] = (uint16_t)position;
	d->count++;
	return ERR_OK;
}

/* An id and its first octets as a number, which nearly always decide. */
struct ordered {
	uint64_t start;
	const uint8_t *id;
};

static int
by_id(const void *left, const void *right)
{
	const struct ordered *a = left;
	const struct ordered *b = right;
	if (a->start != b->start) {
		return a->start < b->start ? -1 : 1;
	}
	return memcmp(a->id, b->id, OPERATION_DELIVERY_LEN);
}

enum err
deliveries_fill(struct deliveries *d, const uint8_t *ids, size_t count)
{
	if (d->count != 0 || count > FOLD_DELIVERIES_MAX) {
		return ERR_STATE;
	}
	if (count == 0) {
		return ERR_OK;
	}
	struct ordered *sorted = calloc(count, sizeof(*sorted));
	enum err e = sorted == NULL ? ERR_MEMORY : parts_grow(&d->ids, &d->cap, count, sizeof(*d->ids));
	if (e == ERR_OK) {
		e = parts_grow(&d->order, &d->order_cap, count, sizeof(*d->order));
	}
	if (e != ERR_OK) {
		free(sorted);
		return e;
	}
	memcpy(d->ids, ids, count * OPERATION_DELIVERY_LEN);
	for (size_t i = 0; i < count; i++) {
		sorted[i].id = d->ids[i];
		for (size_t j = 0; j < sizeof(uint64_t); j++) {
			sorted[i].start = sorted[i].start << 8 | d->ids[i][j];
		}
	}
	qsort(sorted, count, sizeof(*sorted), by_id);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = i > 0 && by_id(&sorted[i - 1], &sorted[i]) == 0 ? ERR_EXISTS : ERR_OK;
		d->order[i] = (uint16_t)((size_t)(sorted[i].id - d->ids[0]) / OPERATION_DELIVERY_LEN);
	}
	d->count = e == ERR_OK ? count : 0;
	free(sorted);
	return e;
}

const uint8_t *
deliveries_at(const struct deliveries *d, size_t i)
{
	return d->ids[(d->oldest + i) % FOLD_DELIVERIES_MAX];
}

void
deliveries_clear(struct deliveries *d)
{
	free(d->ids);
	free(d->order);
	*d = (struct deliveries){0};
}

bool
pending_find(const struct fold *f, uint64_t n, size_t *ret_index)
{
	const uint64_t *p = f->pending == NULL ? NULL : f->pending + f->pending_head;
	size_t low = 0;
	size_t high = f->pending_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (p[mid] == n) {
			*ret_index = mid;
			return true;
		}
		if (p[mid] < n) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return false;
}

enum err
pending_add(struct fold *f, uint64_t n)
{
	size_t end = f->pending_head + f->pending_count;
	if (end == f->pending_cap && f->pending_head > f->pending_count) {
		memmove(f->pending, f->pending + f->pending_head, f->pending_count * sizeof(*f->pending));
		f->pending_head = 0;
		end = f->pending_count;
	}
	enum err e = parts_grow(&f->pending, &f->pending_cap, end + 1, sizeof(*f->pending));
	if (e != ERR_OK) {
		return e;
	}
	f->pending[end] = n;
	f->pending_count++;
	return ERR_OK;
}

void
pending_remove(struct fold *f, size_t index)
{
	uint64_t *p = f->pending + f->pending_head;
	/* The shorter side moves: filing goes from the front. */
	if (index < f->pending_count / 2) {
		memmove(p + 1, p, index * sizeof(*p));
		f->pending_head++;
	} else {
		memmove(p + index, p + index + 1, (f->pending_count - index - 1) * sizeof(*p));
	}
	f->pending_count--;
	if (f->pending_count == 0) {
		free(f->pending);
		f->pending = NULL;
		f->pending_head = 0;
		f->pending_cap = 0;
	}
}

enum err
sent_add(struct fold *f, const struct sent_copy *copy)
{
	if (f->sent_count == FOLD_SENT_MAX) {
		memmove(f->sent, f->sent + 1, (f->sent_count - 1) * sizeof(*f->sent));
		f->sent_count--;
	}
	enum err e = parts_grow(&f->sent, &f->sent_cap, f->sent_count + 1, sizeof(*f->sent));
	if (e != ERR_OK) {
		return e;
	}
	f->sent[f->sent_count++] = *copy;
	return ERR_OK;
}

const struct renamed *
renamed_at(const struct fold *f, size_t i)
{
	return &f->renamed[(f->renamed_oldest + i) % FOLD_RENAMED_MAX];
}

const struct renamed *
renamed_find(const struct fold *f, const uint8_t key[OPERATION_KEY_LEN])
{
	for (size_t i = 0; i < f->renamed_count; i++) {
		if (memcmp(f->renamed[i].key, key, OPERATION_KEY_LEN) == 0) {
			return &f->renamed[i];
		}
	}
	return NULL;
}

enum err
renamed_put(struct fold *f, const struct renamed *one)
{
	if (f->renamed_count == FOLD_RENAMED_MAX) {
		f->renamed[f->renamed_oldest] = *one;
		f->renamed_oldest = (f->renamed_oldest + 1) % FOLD_RENAMED_MAX;
		return ERR_OK;
	}
	enum err e = parts_grow(&f->renamed, &f->renamed_cap, f->renamed_count + 1, sizeof(*f->renamed));
	if (e == ERR_OK) {
		f->renamed[f->renamed_count++] = *one;
	}
	return e;
}

enum err
renamed_add(struct fold *f, const struct renamed *one)
{
	return renamed_find(f, one->key) != NULL ? ERR_OK : renamed_put(f, one);
}
