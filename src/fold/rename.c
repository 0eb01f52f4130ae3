/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A name with all below it gets another one: in time n log n, however many there are. */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

static bool
is_within(struct bytes name, struct bytes top)
{
	return name.len >= top.len && bytes_equal(bytes_slice(name, 0, top.len), top) &&
	       (name.len == top.len || name.ptr[top.len] == '/');
}

/* The new name of a mailbox within `from`, on the heap. ERR_EXISTS: it cannot have it. */
static enum err
new_name(const struct fold *f, struct bytes name, struct bytes from, struct bytes to, struct bytes *ret)
{
	uint8_t text[OPERATION_NAME_MAX];
	size_t index = 0;
	size_t rest = name.len - from.len;
	if (to.len + rest > sizeof(text)) {
		return ERR_EXISTS;
	}
	memcpy(text, to.ptr, to.len);
	memcpy(text + to.len, name.ptr + from.len, rest);
	struct bytes made = bytes_of(text, to.len + rest);
	if (!operation_name_valid(made) || mailbox_name_index(f, made, &index)) {
		return ERR_EXISTS;
	}
	return names_copy(made, ret);
}

static int
by_name(const void *left, const void *right)
{
	const struct mailbox *a = *(struct mailbox *const *)left;
	const struct mailbox *b = *(struct mailbox *const *)right;
	return bytes_compare(a->seen.name, b->seen.name);
}

enum err
mailbox_rename_tree(const struct applying *a, struct bytes from, struct bytes to)
{
	struct fold *f = a->f;
	enum err e = mailbox_is_inbox(from) || is_within(to, from) ? ERR_EXISTS : ERR_OK;
	struct bytes *names = calloc(f->mailbox_count + 1, sizeof(*names));
	size_t count = 0;
	if (names == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < f->mailbox_count && e == ERR_OK; i++) {
		if (is_within(f->by_id[i]->seen.name, from)) {
			e = new_name(f, f->by_id[i]->seen.name, from, to, &names[i]);
			count++;
		}
	}
	if (e == ERR_OK && count == 0) {
		e = ERR_EXISTS;
	}
	/* In the order of their names: each after the one above it. */
	for (size_t i = 0; i < f->mailbox_count && e == ERR_OK; i++) {
		struct bytes old = f->by_name[i]->seen.name;
		if (is_within(old, from)) {
			e = change_named(a, FOLD_CHANGE_MAILBOX_RENAMED, f->by_name[i]->seen.id, old);
		}
	}
	for (size_t i = 0; i < f->mailbox_count; i++) {
		if (e == ERR_OK && names[i].ptr != NULL) {
			names_free(&f->by_id[i]->seen.name);
			f->by_id[i]->seen.name = names[i];
		} else {
			names_free(&names[i]);
		}
	}
	free(names);
	if (e == ERR_EXISTS) {
		f->ignored++;
		return ERR_OK;
	}
	qsort(f->by_name, f->mailbox_count, sizeof(struct mailbox *), by_name);
	return e;
}
