/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

enum err
parts_grow(void *array, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap) {
		return ERR_OK;
	}
	size_t room = need + need / 4 + 4;
	if (need > SIZE_MAX / 4 || room > SIZE_MAX / size) {
		return ERR_MEMORY;
	}
	void *held = NULL;
	memcpy(&held, array, sizeof(held));
	void *bigger = realloc(held, room * size);
	if (bigger == NULL) {
		return ERR_MEMORY;
	}
	memcpy(array, &bigger, sizeof(bigger));
	*cap = room;
	return ERR_OK;
}

enum err
names_copy(struct bytes name, struct bytes *ret)
{
	uint8_t *copy = malloc(name.len == 0 ? 1 : name.len);
	if (copy == NULL) {
		return ERR_MEMORY;
	}
	if (name.len > 0) {
		memcpy(copy, name.ptr, name.len);
	}
	*ret = bytes_of(copy, name.len);
	return ERR_OK;
}

void
names_free(struct bytes *name)
{
	uint8_t *own = (uint8_t *)(uintptr_t)name->ptr;
	if (own != NULL) {
		explicit_bzero(own, name->len);
		free(own);
	}
	*name = BYTES_EMPTY;
}

bool
names_find(const struct names *l, struct bytes name, size_t *ret_index)
{
	size_t low = 0;
	size_t high = l->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = bytes_compare(l->at[mid], name);
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

enum err
names_insert(struct names *l, size_t index, struct bytes name)
{
	enum err e = parts_grow(&l->at, &l->cap, l->count + 1, sizeof(*l->at));
	struct bytes copy = BYTES_EMPTY;
	if (e == ERR_OK) {
		e = names_copy(name, &copy);
	}
	if (e != ERR_OK) {
		return e;
	}
	memmove(l->at + index + 1, l->at + index, (l->count - index) * sizeof(*l->at));
	l->at[index] = copy;
	l->count++;
	l->bytes += name.len;
	return ERR_OK;
}

void
names_remove(struct names *l, size_t index)
{
	l->bytes -= l->at[index].len;
	names_free(&l->at[index]);
	memmove(l->at + index, l->at + index + 1, (l->count - index - 1) * sizeof(*l->at));
	l->count--;
}

void
names_clear(struct names *l)
{
	for (size_t i = 0; i < l->count; i++) {
		names_free(&l->at[i]);
	}
	free(l->at);
	*l = (struct names){0};
}
