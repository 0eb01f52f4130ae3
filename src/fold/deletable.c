/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "fold/parts.h"

uint32_t
fold_card_refs(const struct fold *f, const struct fold_message *message)
{
	return cards_get(&f->cards, message->record, message->op, 1);
}

size_t
fold_released_count(const struct fold *f)
{
	return f->released_count;
}

const struct fold_released *
fold_released_at(const struct fold *f, size_t i)
{
	return i < f->released_count ? &f->released[i] : NULL;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;
	return x < y ? -1 : x > y ? 1 : 0;
}

static size_t
sort_unique(uint64_t *v, size_t count)
{
	bool sorted = true;
	for (size_t i = 1; i < count && sorted; i++) {
		sorted = v[i - 1] <= v[i];
	}
	if (!sorted) {
		qsort(v, count, sizeof(*v), by_number);
	}
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || v[kept - 1] != v[i]) {
			v[kept++] = v[i];
		}
	}
	return kept;
}

struct output {
	struct buf *ranges;
	struct record_range open; /* last 0: none */
};

static enum err
flush(struct output *o)
{
	if (o->open.last == 0) {
		return ERR_OK;
	}
	return buf_append(o->ranges, bytes_of(&o->open, sizeof(o->open)));
}

/* Adds first..last, above all before. */
static enum err
emit(struct output *o, uint64_t first, uint64_t last)
{
	if (o->open.last != 0 && o->open.last + 1 == first) {
		o->open.last = last;
		return ERR_OK;
	}
	enum err e = flush(o);
	o->open = (struct record_range){.first = first, .last = last};
	return e;
}

static enum err
walk(const struct fold *f, const uint64_t *live, size_t live_count, const uint64_t *dead, size_t dead_count,
     struct output *o)
{
	enum err e = ERR_OK;
	size_t l = 0;
	/* Up to the last sweep only what was released since is there at all. */
	for (size_t i = 0; i < dead_count && dead[i] <= f->swept && e == ERR_OK; i++) {
		while (l < live_count && live[l] < dead[i]) {
			l++;
		}
		if (l == live_count || live[l] != dead[i]) {
			e = emit(o, dead[i], dead[i]);
		}
	}
	/* Since then, everything but the live ones. */
	uint64_t next = f->swept + 1;
	while (l < live_count && live[l] < next) {
		l++;
	}
	for (; l < live_count && e == ERR_OK; l++) {
		if (live[l] > next) {
			e = emit(o, next, live[l] - 1);
		}
		next = live[l] + 1;
	}
	if (e == ERR_OK && next <= f->n) {
		e = emit(o, next, f->n);
	}
	return e == ERR_OK ? flush(o) : e;
}

enum err
fold_deletable(const struct fold *f, struct buf *ret_ranges)
{
	size_t live_count = 0;
	size_t dead_count = 0;
	size_t room = (size_t)f->messages + f->pending_count;
	uint64_t *live = calloc(room + 1, sizeof(*live));
	uint64_t *dead = calloc(f->released_count + 1, sizeof(*dead));
	enum err e = ERR_MEMORY;
	if (live != NULL && dead != NULL) {
		for (size_t i = 0; i < f->mailbox_count; i++) {
			const struct mailbox *m = f->by_id[i];
			for (uint32_t k = 0; k < m->seen.count; k++) {
				live[live_count++] = m->messages[k].record;
			}
		}
		for (size_t i = 0; i < f->pending_count; i++) {
			live[live_count++] = f->pending[f->pending_head + i];
		}
		for (size_t i = 0; i < f->released_count; i++) {
			dead[dead_count++] = f->released[i].record;
		}
		live_count = sort_unique(live, live_count);
		dead_count = sort_unique(dead, dead_count);
		struct output o = {.ranges = ret_ranges, .open = {.first = 0, .last = 0}};
		size_t before = ret_ranges->len;
		e = walk(f, live, live_count, dead, dead_count, &o);
		if (e != ERR_OK) {
			buf_truncate(ret_ranges, before);
		}
	}
	free(live);
	free(dead);
	return e;
}
