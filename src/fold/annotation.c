/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Metadata of mailboxes and of the account (RFC 5464), in one list by mailbox and name. */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

static int
compare(const struct fold_annotation *x, uint32_t mailbox, struct bytes entry)
{
	if (x->mailbox != mailbox) {
		return x->mailbox < mailbox ? -1 : 1;
	}
	return bytes_compare(x->entry, entry);
}

/* Where it is, or would be. */
static bool
find(const struct annotations *l, uint32_t mailbox, struct bytes entry, size_t *ret_index)
{
	size_t low = 0;
	size_t high = l->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = compare(&l->at[mid], mailbox, entry);
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
forget(struct annotations *l, size_t index, size_t count)
{
	for (size_t i = index; i < index + count; i++) {
		l->bytes -= l->at[i].entry.len + l->at[i].value.len;
		names_free(&l->at[i].entry);
		names_free(&l->at[i].value);
	}
	if (count > 0) {
		memmove(l->at + index, l->at + index + count, (l->count - index - count) * sizeof(*l->at));
		l->count -= count;
	}
}

size_t
fold_annotation_first(const struct fold *f, uint32_t mailbox, size_t *ret_count)
{
	size_t first = 0;
	size_t end = 0;
	(void)find(&f->annotations, mailbox, BYTES_EMPTY, &first);
	for (end = first; end < f->annotations.count && f->annotations.at[end].mailbox == mailbox; end++) {
	}
	*ret_count = end - first;
	return first;
}

struct fold_annotating
fold_annotating(const struct fold *f, uint32_t mailbox)
{
	struct fold_annotating a = {.count = f->annotations.count, .bytes = f->annotations.bytes};
	(void)fold_annotation_first(f, mailbox, &a.each);
	return a;
}

bool
fold_annotating_add(struct fold_annotating *a, const struct fold_annotation *present, struct bytes entry,
		    bool on, struct bytes value)
{
	struct fold_annotating next = *a;
	if (present != NULL) {
		next.each--;
		next.count--;
		next.bytes -= present->entry.len + present->value.len;
	}
	if (on) {
		next.each++;
		next.count++;
		next.bytes += entry.len + value.len;
	}
	/* What shrinks fits in any case. */
	if (on && (next.each > FOLD_ANNOTATIONS_EACH_MAX || next.count > FOLD_ANNOTATIONS_MAX ||
		   next.bytes > FOLD_ANNOTATIONS_BYTES_MAX)) {
		return false;
	}
	*a = next;
	return true;
}

enum err
annotation_put(struct fold *f, uint32_t mailbox, struct bytes entry, bool on, struct bytes value,
	       bool *ret_applied)
{
	struct annotations *l = &f->annotations;
	size_t index = 0;
	bool there = find(l, mailbox, entry, &index);
	struct fold_annotating room = fold_annotating(f, mailbox);
	*ret_applied = fold_annotating_add(&room, there ? &l->at[index] : NULL, entry, on, value);
	if (!*ret_applied) {
		return ERR_OK;
	}
	if (!on) {
		forget(l, index, there ? 1 : 0);
		return ERR_OK;
	}
	struct fold_annotation x = {.mailbox = mailbox, .entry = BYTES_EMPTY, .value = BYTES_EMPTY};
	enum err e = parts_grow(&l->at, &l->cap, l->count + 1, sizeof(*l->at));
	if (e == ERR_OK) {
		e = names_copy(entry, &x.entry);
	}
	if (e == ERR_OK && value.len > 0) {
		e = names_copy(value, &x.value);
	}
	if (e != ERR_OK) {
		names_free(&x.entry);
		return e;
	}
	forget(l, index, there ? 1 : 0);
	memmove(l->at + index + 1, l->at + index, (l->count - index) * sizeof(*l->at));
	l->at[index] = x;
	l->count++;
	l->bytes += entry.len + value.len;
	return ERR_OK;
}

void
annotation_drop(struct fold *f, uint32_t mailbox)
{
	size_t count = 0;
	size_t first = fold_annotation_first(f, mailbox, &count);
	forget(&f->annotations, first, count);
}

void
annotation_clear(struct fold *f)
{
	forget(&f->annotations, 0, f->annotations.count);
	free(f->annotations.at);
	f->annotations = (struct annotations){0};
}

/* ---- reading ---- */

size_t
fold_annotation_count(const struct fold *f)
{
	return f->annotations.count;
}

const struct fold_annotation *
fold_annotation_at(const struct fold *f, size_t i)
{
	return i < f->annotations.count ? &f->annotations.at[i] : NULL;
}

const struct fold_annotation *
fold_annotation(const struct fold *f, uint32_t mailbox, struct bytes entry)
{
	size_t index = 0;
	return find(&f->annotations, mailbox, entry, &index) ? &f->annotations.at[index] : NULL;
}

uint32_t
fold_epoch(const struct fold *f)
{
	return f->epoch;
}
