/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

int
keyword_compare(struct bytes a, struct bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	for (size_t i = 0; i < n; i++) {
		int x = ascii_lower(a.ptr[i]);
		int y = ascii_lower(b.ptr[i]);
		if (x != y) {
			return x - y;
		}
	}
	return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* Where the name stands in the order, or would stand. */
static bool
find_name(const struct keywords *k, struct bytes name, size_t *ret_index)
{
	size_t low = 0;
	size_t high = k->order_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = keyword_compare(k->names[k->order[mid]].name, name);
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

static int
compare_ids(const uint16_t *a, size_t a_count, const uint16_t *b, size_t b_count)
{
	if (a_count != b_count) {
		return a_count < b_count ? -1 : 1;
	}
	return memcmp(a, b, a_count * sizeof(*a));
}

static bool
find_set(const struct keywords *k, const uint16_t *ids, size_t count, size_t *ret_index)
{
	size_t low = 0;
	size_t high = k->set_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct keyset *s = &k->sets[k->set_order[mid]];
		int c = compare_ids(s->ids, s->count, ids, count);
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

static void
insert_u16(uint16_t *array, size_t count, size_t index, uint16_t value)
{
	memmove(array + index + 1, array + index, (count - index) * sizeof(*array));
	array[index] = value;
}

static void
remove_u16(uint16_t *array, size_t count, size_t index)
{
	memmove(array + index, array + index + 1, (count - index - 1) * sizeof(*array));
}

/* A new name, without references yet. */
static enum err
add_name(struct keywords *k, struct bytes name, uint16_t *ret_id)
{
	size_t index = 0;
	(void)find_name(k, name, &index);
	size_t id = 0;
	while (id < k->name_slots && k->names[id].name.len > 0) {
		id++;
	}
	enum err e = parts_grow(&k->names, &k->name_cap, id + 1, sizeof(*k->names));
	if (e == ERR_OK) {
		e = parts_grow(&k->order, &k->order_cap, k->order_count + 1, sizeof(*k->order));
	}
	struct bytes copy = BYTES_EMPTY;
	if (e == ERR_OK) {
		e = names_copy(name, &copy);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (id == k->name_slots) {
		k->name_slots++;
	}
	k->names[id] = (struct keyword){.name = copy, .refs = 0};
	insert_u16(k->order, k->order_count, index, (uint16_t)id);
	k->order_count++;
	*ret_id = (uint16_t)id;
	return ERR_OK;
}

static void
drop_name(struct keywords *k, uint16_t id)
{
	size_t index = 0;
	if (!find_name(k, k->names[id].name, &index)) {
		panic("fold: a keyword is not in its order");
	}
	remove_u16(k->order, k->order_count, index);
	k->order_count--;
	names_free(&k->names[id].name);
}

/* A new set, with one reference, at its place in the order. */
static enum err
add_set(struct keywords *k, const uint16_t *ids, size_t count, size_t index, uint16_t *ret_set)
{
	if (k->set_slots == 0) {
		k->set_slots = 1; /* 0 is the empty set */
	}
	size_t number = k->free_set != 0 ? k->free_set : k->set_slots;
	enum err e = parts_grow(&k->sets, &k->set_cap, number + 1, sizeof(*k->sets));
	if (e == ERR_OK) {
		e = parts_grow(&k->set_order, &k->set_order_cap, k->set_count + 1, sizeof(*k->set_order));
	}
	uint16_t *copy = e == ERR_OK ? calloc(count, sizeof(*copy)) : NULL;
	if (copy == NULL) {
		return ERR_MEMORY;
	}
	memcpy(copy, ids, count * sizeof(*copy));
	if (k->free_set != 0) {
		k->free_set = k->sets[number].next_free;
	} else {
		k->set_slots++;
	}
	k->sets[number] = (struct keyset){.ids = copy, .count = (uint16_t)count, .refs = 1, .next_free = 0};
	insert_u16(k->set_order, k->set_count, index, (uint16_t)number);
	k->set_count++;
	for (size_t i = 0; i < count; i++) {
		k->names[ids[i]].refs++;
	}
	*ret_set = (uint16_t)number;
	return ERR_OK;
}

enum { MERGE_MAX = 2 * OPERATION_KEYWORDS_MAX };

struct merge {
	struct bytes names[MERGE_MAX]; /* by name without case */
	size_t count;
};

static bool
merge_find(const struct merge *m, struct bytes name, size_t *ret_index)
{
	for (size_t i = 0; i < m->count; i++) {
		int c = keyword_compare(m->names[i], name);
		if (c >= 0) {
			*ret_index = i;
			return c == 0;
		}
	}
	*ret_index = m->count;
	return false;
}

static void
merge_list(struct merge *m, enum operation_mode mode, struct keyword_list list)
{
	for (size_t i = 0; i < list.count && i < OPERATION_KEYWORDS_MAX; i++) {
		size_t at = 0;
		bool there = merge_find(m, list.names[i], &at);
		if (mode == OPERATION_REMOVE && there) {
			memmove(&m->names[at], &m->names[at + 1], (m->count - at - 1) * sizeof(m->names[0]));
			m->count--;
		} else if (mode != OPERATION_REMOVE && !there) {
			memmove(&m->names[at + 1], &m->names[at], (m->count - at) * sizeof(m->names[0]));
			m->names[at] = list.names[i];
			m->count++;
		}
	}
}

/* Finds or makes the set of the merged names. */
static enum err
intern(struct keywords *k, const struct merge *m, uint16_t *ret_set, bool *ret_made)
{
	uint16_t ids[OPERATION_KEYWORDS_MAX];
	bool missing[OPERATION_KEYWORDS_MAX] = {false};
	size_t missing_count = 0;
	for (size_t i = 0; i < m->count; i++) {
		size_t at = 0;
		if (find_name(k, m->names[i], &at)) {
			ids[i] = k->order[at];
		} else {
			missing[i] = true;
			missing_count++;
		}
	}
	size_t index = 0;
	if (missing_count == 0 && find_set(k, ids, m->count, &index)) {
		*ret_set = k->set_order[index];
		k->sets[*ret_set].refs++;
		*ret_made = true;
		return ERR_OK;
	}
	if (k->order_count + missing_count > FOLD_KEYWORDS_MAX || k->set_count + 2 > FOLD_KEYSETS_MAX) {
		*ret_made = false;
		return ERR_OK;
	}
	for (size_t i = 0; i < m->count; i++) {
		if (missing[i]) {
			enum err e = add_name(k, m->names[i], &ids[i]);
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	if (find_set(k, ids, m->count, &index)) {
		panic("fold: a set of unused keywords");
	}
	*ret_made = true;
	return add_set(k, ids, m->count, index, ret_set);
}

enum err
keywords_change(struct keywords *k, uint16_t old, enum operation_mode mode, struct keyword_list list,
		uint16_t *ret_set, bool *ret_made)
{
	struct merge m = {.count = 0};
	if (mode != OPERATION_SET && old != 0) {
		const struct keyset *s = &k->sets[old];
		for (size_t i = 0; i < s->count; i++) {
			m.names[m.count++] = k->names[s->ids[i]].name;
		}
	}
	merge_list(&m, mode, list);
	uint16_t set = 0;
	bool made = true;
	if (m.count > OPERATION_KEYWORDS_MAX) {
		made = false;
	} else if (m.count > 0) {
		enum err e = intern(k, &m, &set, &made);
		if (e != ERR_OK) {
			return e;
		}
	}
	*ret_set = made ? set : old;
	*ret_made = made;
	return ERR_OK;
}

void
keywords_retain(struct keywords *k, uint16_t set)
{
	if (set != 0) {
		k->sets[set].refs++;
	}
}

void
keywords_release(struct keywords *k, uint16_t set)
{
	if (set == 0) {
		return;
	}
	struct keyset *s = &k->sets[set];
	s->refs--;
	if (s->refs > 0) {
		return;
	}
	size_t index = 0;
	if (!find_set(k, s->ids, s->count, &index)) {
		panic("fold: a keyword set is not in its order");
	}
	remove_u16(k->set_order, k->set_count, index);
	k->set_count--;
	for (size_t i = 0; i < s->count; i++) {
		uint16_t id = s->ids[i];
		k->names[id].refs--;
		if (k->names[id].refs == 0) {
			drop_name(k, id);
		}
	}
	free(s->ids);
	*s = (struct keyset){.ids = NULL, .count = 0, .refs = 0, .next_free = k->free_set};
	k->free_set = set;
}

void
keywords_clear(struct keywords *k)
{
	for (size_t i = 0; i < k->name_slots; i++) {
		names_free(&k->names[i].name);
	}
	for (size_t i = 0; i < k->set_slots && k->sets != NULL; i++) {
		if (i > 0) {
			free(k->sets[i].ids);
		}
	}
	free(k->names);
	free(k->order);
	free(k->sets);
	free(k->set_order);
	*k = (struct keywords){0};
}

size_t
keywords_memory(const struct keywords *k)
{
	size_t sum = k->name_cap * sizeof(*k->names) + k->order_cap * sizeof(*k->order) +
		     k->set_cap * sizeof(*k->sets) + k->set_order_cap * sizeof(*k->set_order);
	for (size_t i = 0; i < k->order_count; i++) {
		sum += k->names[k->order[i]].name.len;
	}
	for (size_t i = 0; i < k->set_count; i++) {
		sum += k->sets[k->set_order[i]].count * sizeof(uint16_t);
	}
	return sum;
}
