/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

static uint32_t
lower(const struct mailbox *m, uint32_t limit, uint32_t uid)
{
	uint32_t low = 0;
	uint32_t high = limit;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (m->messages[mid].uid < uid) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

uint32_t
fold_message_lower(const struct fold_mailbox *m, uint32_t uid)
{
	uint32_t low = 0;
	uint32_t high = m->count;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (m->messages[mid].uid < uid) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

/* One past the last message of the range, from its first. */
static uint32_t
upper(const struct mailbox *m, uint32_t limit, uint32_t from, uint32_t last)
{
	if (from < limit && m->messages[limit - 1].uid <= last) {
		return limit;
	}
	return last == UINT32_MAX ? limit : lower(m, limit, last + 1);
}

enum err
message_reserve(struct mailbox *m, size_t extra)
{
	enum err e = parts_grow(&m->messages, &m->message_cap, m->seen.count + extra, sizeof(*m->messages));
	m->seen.messages = m->messages;
	return e;
}

void
message_count_in(struct fold *f, struct mailbox *m, const struct fold_message *message)
{
	m->seen.unseen += (message->flags & FOLD_SEEN) == 0 ? 1 : 0;
	m->seen.deleted += (message->flags & FOLD_DELETED) != 0 ? 1 : 0;
	m->seen.bytes += message->size;
	f->messages++;
	f->bytes += message->size;
}

void
message_count_out(struct fold *f, struct mailbox *m, const struct fold_message *message)
{
	m->seen.unseen -= (message->flags & FOLD_SEEN) == 0 ? 1 : 0;
	m->seen.deleted -= (message->flags & FOLD_DELETED) != 0 ? 1 : 0;
	m->seen.bytes -= message->size;
	f->messages--;
	f->bytes -= message->size;
}

enum err
message_add(const struct applying *a, struct mailbox *m, struct fold_message message)
{
	enum err e = message_reserve(m, 1);
	if (e != ERR_OK) {
		return e;
	}
	message.uid = m->seen.uidnext;
	message.modseq = a->n;
	m->messages[m->seen.count] = message;
	m->seen.count++;
	m->seen.uidnext++;
	m->seen.highest_modseq = a->n;
	message_count_in(a->f, m, &message);
	return change_uid(a, message.uid);
}

enum err
released_add(const struct applying *a, uint64_t record, uint16_t op)
{
	struct fold *f = a->f;
	enum err e = parts_grow(&f->released, &f->released_cap, f->released_count + 1, sizeof(*f->released));
	if (e != ERR_OK) {
		return e;
	}
	f->released[f->released_count++] = (struct fold_released){.record = record, .n = a->n, .op = op};
	return ERR_OK;
}

enum err
message_let_go(const struct applying *a, const struct fold_message *message)
{
	keywords_release(&a->f->keywords, message->keyset);
	if (cards_release(&a->f->cards, message->record, message->op) > 0) {
		return ERR_OK;
	}
	return released_add(a, message->record, message->op);
}

enum err
tombstone_push(struct mailbox *m, struct fold_tombstone t)
{
	size_t end = m->tombstone_head + m->seen.tombstone_count;
	if (end == m->tombstone_cap && m->tombstone_head > m->seen.tombstone_count / 4) {
		memmove(m->tombstones, m->tombstones + m->tombstone_head,
			m->seen.tombstone_count * sizeof(*m->tombstones));
		m->tombstone_head = 0;
		end = m->seen.tombstone_count;
	}
	enum err e = parts_grow(&m->tombstones, &m->tombstone_cap, end + 1, sizeof(*m->tombstones));
	if (e != ERR_OK) {
		return e;
	}
	m->tombstones[end] = t;
	if (m->seen.tombstone_count == FOLD_TOMBSTONES_MAX) {
		m->seen.tombstone_floor = m->tombstones[m->tombstone_head].modseq;
		m->tombstone_head++;
	} else {
		m->seen.tombstone_count++;
	}
	m->seen.tombstones = m->tombstones + m->tombstone_head;
	return ERR_OK;
}

enum err
tombstone_add(struct mailbox *m, uint32_t uid, uint64_t modseq)
{
	if (m->seen.tombstone_count > 0) {
		size_t end = m->tombstone_head + m->seen.tombstone_count;
		struct fold_tombstone *last = &m->tombstones[end - 1];
		if (last->modseq == modseq && last->last + 1 == uid) {
			last->last = uid;
			return ERR_OK;
		}
	}
	return tombstone_push(m, (struct fold_tombstone){.modseq = modseq, .first = uid, .last = uid});
}

/* Gives memory back once half of it is unused; failing to is no harm. */
static void
shrink(struct mailbox *m)
{
	if (m->seen.count == 0) {
		free(m->messages);
		m->messages = NULL;
		m->message_cap = 0;
	} else if (m->seen.count < m->message_cap / 2) {
		size_t room = m->seen.count + m->seen.count / 4 + 4;
		struct fold_message *smaller = realloc(m->messages, room * sizeof(*smaller));
		if (smaller != NULL) {
			m->messages = smaller;
			m->message_cap = room;
		}
	}
	m->seen.messages = m->messages;
}

enum err
message_expunge(const struct applying *a, struct mailbox *m, struct uid_set uids, uint32_t limit, bool moved)
{
	enum err e = change_begin(a, FOLD_CHANGE_EXPUNGED, m->seen.id);
	uint32_t kept = 0; /* all before is in place */
	uint32_t done = 0; /* all before was looked at */
	for (size_t r = 0; r < uids.count && e == ERR_OK; r++) {
		uint32_t from = lower(m, limit, uids.ranges[r].first);
		uint32_t to = upper(m, limit, from, uids.ranges[r].last);
		if (from >= to) {
			continue;
		}
		if (kept != done) {
			memmove(m->messages + kept, m->messages + done, (from - done) * sizeof(*m->messages));
			/* What was moved may be searched no more: go on from `to`, above all of it. */
		}
		kept += from - done;
		for (uint32_t i = from; i < to && e == ERR_OK; i++) {
			const struct fold_message *message = &m->messages[i];
			message_count_out(a->f, m, message);
			e = tombstone_add(m, message->uid, a->n);
			if (e == ERR_OK) {
				e = change_uid(a, message->uid);
			}
			if (e == ERR_OK && !moved) {
				e = message_let_go(a, message);
			}
		}
		done = to;
	}
	if (e != ERR_OK) {
		return e;
	}
	if (done > 0) {
		memmove(m->messages + kept, m->messages + done,
			(m->seen.count - done) * sizeof(*m->messages));
		m->seen.count -= done - kept;
		m->seen.highest_modseq = a->n;
		shrink(m);
	}
	change_end(a);
	return ERR_OK;
}

enum err
message_copy(const struct applying *a, struct mailbox *from, struct mailbox *to, uint32_t saved,
	     struct uid_set uids, bool move, bool *ret_applied)
{
	struct fold *f = a->f;
	const uint32_t limit = from->seen.count; /* what is added to the same mailbox is no source */
	uint64_t count = 0;
	for (size_t r = 0; r < uids.count; r++) {
		uint32_t first = lower(from, limit, uids.ranges[r].first);
		uint32_t end = upper(from, limit, first, uids.ranges[r].last);
		count += end > first ? end - first : 0;
	}
	if (count > UINT32_MAX - to->seen.uidnext || (!move && count > FOLD_MESSAGES_MAX - f->messages)) {
		*ret_applied = false;
		return ERR_OK;
	}
	*ret_applied = true;
	if (count == 0) {
		return ERR_OK;
	}
	enum err e = message_reserve(to, (size_t)count);
	if (e == ERR_OK) {
		e = change_begin(a, FOLD_CHANGE_ADDED, to->seen.id);
	}
	for (size_t r = 0; r < uids.count && e == ERR_OK; r++) {
		uint32_t first = lower(from, limit, uids.ranges[r].first);
		uint32_t end = upper(from, limit, first, uids.ranges[r].last);
		for (uint32_t i = first; i < end && e == ERR_OK; i++) {
			struct fold_message message = from->messages[i];
			message.saved = saved;
			if (!move) {
				keywords_retain(&f->keywords, message.keyset);
				e = cards_retain(&f->cards, message.record, message.op, 1);
			}
			if (e == ERR_OK) {
				e = message_add(a, to, message);
			}
		}
	}
	if (e != ERR_OK || !move) {
		return e;
	}
	return message_expunge(a, from, uids, limit, true);
}

enum err
message_flags(const struct applying *a, struct mailbox *m, struct uid_set uids, enum operation_mode mode,
	      uint8_t flags, struct keyword_list keywords)
{
	struct fold *f = a->f;
	enum err e = change_begin(a, FOLD_CHANGE_FLAGS, m->seen.id);
	bool remembered = false; /* that `before` becomes `after`: most messages have the same set */
	uint16_t before = 0;
	uint16_t after = 0;
	for (size_t r = 0; r < uids.count && e == ERR_OK; r++) {
		uint32_t first = lower(m, m->seen.count, uids.ranges[r].first);
		uint32_t end = upper(m, m->seen.count, first, uids.ranges[r].last);
		for (uint32_t i = first; i < end; i++) {
			struct fold_message *message = &m->messages[i];
			uint8_t new_flags = mode == OPERATION_SET   ? flags
					    : mode == OPERATION_ADD ? (uint8_t)(message->flags | flags)
								    : (uint8_t)(message->flags & ~flags);
			uint16_t old_set = message->keyset;
			uint16_t new_set = old_set;
			if (remembered && before == old_set) {
				new_set = after;
				keywords_retain(&f->keywords, new_set);
				keywords_release(&f->keywords, old_set);
			} else if (keywords.count > 0 || (mode == OPERATION_SET && old_set != 0)) {
				bool made = false;
				e = keywords_change(&f->keywords, old_set, mode, keywords, &new_set, &made);
				if (e != ERR_OK) {
					return e;
				}
				if (made) {
					keywords_release(&f->keywords, old_set);
				}
				remembered = made;
				before = old_set;
				after = new_set;
			}
			if (new_flags == message->flags && new_set == old_set) {
				continue;
			}
			message_count_out(f, m, message);
			message->flags = new_flags;
			message->keyset = new_set;
			message->modseq = a->n;
			message_count_in(f, m, message);
			m->seen.highest_modseq = a->n;
			e = change_uid(a, message->uid);
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	change_end(a);
	return e;
}
