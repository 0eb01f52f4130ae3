/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

bool
mailbox_is_inbox(struct bytes name)
{
	return bytes_is_nocase(name, "INBOX");
}

struct bytes
mailbox_canonical(struct bytes name)
{
	return mailbox_is_inbox(name) ? BYTES_LIT("INBOX") : name;
}

static bool
id_index(const struct fold *f, uint32_t id, size_t *ret_index)
{
	size_t low = 0;
	size_t high = f->mailbox_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (f->by_id[mid]->seen.id == id) {
			*ret_index = mid;
			return true;
		}
		if (f->by_id[mid]->seen.id < id) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return false;
}

struct mailbox *
mailbox_find(const struct fold *f, uint32_t id)
{
	size_t index = 0;
	return id_index(f, id, &index) ? f->by_id[index] : NULL;
}

bool
mailbox_name_index(const struct fold *f, struct bytes name, size_t *ret_index)
{
	size_t low = 0;
	size_t high = f->mailbox_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = bytes_compare(f->by_name[mid]->seen.name, name);
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
insert_at(struct mailbox **list, size_t count, size_t index, struct mailbox *m)
{
	memmove(list + index + 1, list + index, (count - index) * sizeof(struct mailbox *));
	list[index] = m;
}

static void
remove_at(struct mailbox **list, size_t count, size_t index)
{
	memmove(list + index, list + index + 1, (count - index - 1) * sizeof(struct mailbox *));
}

enum err
mailbox_insert(struct fold *f, uint32_t id, struct bytes name, struct mailbox **ret)
{
	size_t need = f->mailbox_count + 1;
	enum err e = parts_grow(&f->by_id, &f->by_id_cap, need, sizeof(struct mailbox *));
	if (e == ERR_OK) {
		e = parts_grow(&f->by_name, &f->by_name_cap, need, sizeof(struct mailbox *));
	}
	struct mailbox *m = e == ERR_OK ? calloc(1, sizeof(*m)) : NULL;
	if (m == NULL) {
		return ERR_MEMORY;
	}
	e = names_copy(name, &m->seen.name);
	if (e != ERR_OK) {
		free(m);
		return e;
	}
	m->seen.id = id;
	m->seen.uidnext = 1;
	size_t index = 0;
	(void)mailbox_name_index(f, name, &index);
	insert_at(f->by_name, f->mailbox_count, index, m);
	f->by_id[f->mailbox_count] = m;
	f->mailbox_count++;
	*ret = m;
	return ERR_OK;
}

void
mailbox_free(struct mailbox *m)
{
	names_free(&m->seen.name);
	free(m->messages);
	free(m->tombstones);
	free(m);
}

void
mailbox_remove(struct fold *f, struct mailbox *m)
{
	size_t by_id = 0;
	size_t by_name = 0;
	if (!id_index(f, m->seen.id, &by_id) || !mailbox_name_index(f, m->seen.name, &by_name)) {
		panic("fold: a mailbox is not in its order");
	}
	remove_at(f->by_id, f->mailbox_count, by_id);
	remove_at(f->by_name, f->mailbox_count, by_name);
	f->mailbox_count--;
	mailbox_free(m);
}

enum err
mailbox_rename(struct fold *f, struct mailbox *m, struct bytes name)
{
	struct bytes copy = BYTES_EMPTY;
	enum err e = names_copy(name, &copy);
	if (e != ERR_OK) {
		return e;
	}
	size_t index = 0;
	if (!mailbox_name_index(f, m->seen.name, &index)) {
		panic("fold: a mailbox is not in its order");
	}
	remove_at(f->by_name, f->mailbox_count, index);
	f->mailbox_count--;
	(void)mailbox_name_index(f, name, &index);
	insert_at(f->by_name, f->mailbox_count, index, m);
	f->mailbox_count++;
	names_free(&m->seen.name);
	m->seen.name = copy;
	return ERR_OK;
}
