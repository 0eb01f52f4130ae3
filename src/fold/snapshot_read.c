/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "fold/operation_rules.h"
#include "fold/parts.h"
#include "fold/snapshot.h"
#include "fold/varint.h"

/* Reading mirrors snapshot.c, which states the form. Each step says ERR_DAMAGED where something cannot be. */

struct in {
	struct varint_reader r;
	struct fold *f;
	uint8_t version;
	uint16_t *sets; /* keyset by number in the snapshot; 0 is 0 */
	size_t set_count;
	size_t sets_used; /* the order of first use is checked */
};

static enum err
good(const struct in *in)
{
	return in->r.bad ? ERR_DAMAGED : ERR_OK;
}

static uint64_t
get(struct in *in, uint64_t max)
{
	return varint_get(&in->r, max);
}

static void
get_fixed(struct in *in, uint8_t *ret, size_t n)
{
	if ((size_t)(in->r.end - in->r.at) < n) {
		(void)varint_fail(&in->r);
		memset(ret, 0, n);
		return;
	}
	memcpy(ret, in->r.at, n);
	in->r.at += n;
}

/* A count of things that take at least `least` bytes each: no memory for what is not there. */
static size_t
get_count(struct in *in, size_t max, size_t least)
{
	size_t count = (size_t)get(in, max);
	if (count > (size_t)(in->r.end - in->r.at) / least) {
		return (size_t)varint_fail(&in->r);
	}
	return count;
}

static enum err
get_head(struct in *in)
{
	struct fold *f = in->f;
	f->n = get(in, UINT64_MAX - 1);
	f->ignored = get(in, UINT64_MAX);
	f->damaged = get(in, f->n);
	f->generation = (uint32_t)get(in, UINT32_MAX);
	f->opened = get(in, 1) == 1;
	if (f->opened) {
		get_fixed(in, f->slots_hash, sizeof(f->slots_hash));
		f->slots_revision = in->version == 1 ? 0 : (uint32_t)get(in, UINT32_MAX);
	}
	f->uidvalidity = (uint32_t)get(in, UINT32_MAX);
	f->next_mailbox = (uint32_t)get(in, UINT32_MAX);
	f->swept = get(in, f->n == 0 ? 0 : f->n - 1);
	return f->next_mailbox == 0 ? ERR_DAMAGED : good(in);
}

static enum err
get_keywords(struct in *in)
{
	struct keywords *k = &in->f->keywords;
	size_t name_count = get_count(in, FOLD_KEYWORDS_MAX, 2);
	struct bytes names[FOLD_KEYWORDS_MAX] = {BYTES_EMPTY};
	for (size_t i = 0; i < name_count; i++) {
		names[i] = varint_get_bytes(&in->r, OPERATION_KEYWORD_MAX);
		if (!operation_keyword_valid(names[i]) ||
		    (i > 0 && keyword_compare(names[i - 1], names[i]) >= 0)) {
			return ERR_DAMAGED;
		}
	}
	in->set_count = get_count(in, FOLD_KEYSETS_MAX - 1, 2);
	in->sets = calloc(in->set_count + 1, sizeof(*in->sets));
	if (in->sets == NULL) {
		in->set_count = 0;
		return ERR_MEMORY;
	}
	for (size_t i = 1; i <= in->set_count; i++) {
		struct bytes chosen[OPERATION_KEYWORDS_MAX];
		size_t count = (size_t)get(in, OPERATION_KEYWORDS_MAX);
		uint64_t next = 0;
		for (size_t j = 0; j < count && !in->r.bad; j++) {
			uint64_t at = next + get(in, FOLD_KEYWORDS_MAX);
			if (at >= name_count) {
				return ERR_DAMAGED;
			}
			chosen[j] = names[at];
			next = at + 1;
		}
		if (count == 0 || in->r.bad) {
			return ERR_DAMAGED;
		}
		/* The reference made here is given up in the end: a set without a message is damage. */
		size_t before = k->set_count;
		bool made = false;
		const struct keyword_list list = {.names = chosen, .count = count};
		enum err e = keywords_change(k, 0, OPERATION_SET, list, &in->sets[i], &made);
		if (e != ERR_OK) {
			return e;
		}
		if (!made) {
			return ERR_DAMAGED;
		}
		if (k->set_count == before) {
			return ERR_DAMAGED; /* the same set twice */
		}
	}
	return k->order_count == name_count ? good(in) : ERR_DAMAGED;
}

static bool
name_good(struct bytes name)
{
	return operation_name_valid(name) && (!mailbox_is_inbox(name) || bytes_is(name, "INBOX"));
}

static enum err
get_names(struct in *in)
{
	struct names *l = &in->f->subscriptions;
	size_t count = get_count(in, FOLD_SUBSCRIPTIONS_MAX, 2);
	for (size_t i = 0; i < count; i++) {
		struct bytes name = varint_get_bytes(&in->r, OPERATION_NAME_MAX);
		if (!name_good(name) || (i > 0 && bytes_compare(l->at[i - 1], name) >= 0)) {
			return ERR_DAMAGED;
		}
		enum err e = names_insert(l, i, name);
		if (e != ERR_OK) {
			return e;
		}
	}
	count = get_count(in, FOLD_SETTINGS_MAX, 3);
	struct bytes before = BYTES_EMPTY;
	for (size_t i = 0; i < count; i++) {
		struct bytes name = varint_get_bytes(&in->r, OPERATION_SETTING_NAME_MAX);
		struct bytes value = varint_get_bytes(&in->r, OPERATION_SETTING_VALUE_MAX);
		if (!operation_setting_name_valid(name) || value.len == 0 ||
		    bytes_compare(before, name) >= 0) {
			return ERR_DAMAGED;
		}
		bool applied = false;
		enum err e = setting_put(in->f, name, value, &applied);
		if (e != ERR_OK || !applied) {
			return e != ERR_OK ? e : ERR_DAMAGED;
		}
		before = name;
	}
	return good(in);
}

static enum err
get_pending(struct in *in)
{
	struct fold *f = in->f;
	size_t count = get_count(in, SIZE_MAX, 1);
	uint64_t n = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t step = get(in, f->n - n);
		if (step == 0) {
			return ERR_DAMAGED;
		}
		n += step;
		enum err e = pending_add(f, n);
		if (e != ERR_OK) {
			return e;
		}
	}
	return good(in);
}

static enum err
get_recent(struct in *in)
{
	struct fold *f = in->f;
	size_t count = get_count(in, FOLD_DELIVERIES_MAX, OPERATION_DELIVERY_LEN);
	if (in->r.bad) {
		return ERR_DAMAGED;
	}
	/* get_count has seen that so many octets are there. */
	enum err e = deliveries_fill(&f->deliveries, in->r.at, count);
	if (e != ERR_OK) {
		return e == ERR_EXISTS ? ERR_DAMAGED : e;
	}
	in->r.at += count * OPERATION_DELIVERY_LEN;
	count = get_count(in, FOLD_SENT_MAX, OPERATION_KEY_LEN + 2);
	for (size_t i = 0; i < count; i++) {
		struct sent_copy s;
		get_fixed(in, s.key, sizeof(s.key));
		s.mailbox = (uint32_t)get(in, f->next_mailbox - 1);
		s.uid = (uint32_t)get(in, UINT32_MAX - 1);
		if (s.mailbox == 0 || s.uid == 0) {
			return ERR_DAMAGED;
		}
		e = sent_add(f, &s);
		if (e != ERR_OK) {
			return e;
		}
	}
	count = in->version < 3 ? 0 : get_count(in, FOLD_RENAMED_MAX, sizeof(struct renamed));
	for (size_t i = 0; i < count; i++) {
		struct renamed one;
		get_fixed(in, one.key, sizeof(one.key));
		get_fixed(in, one.token, sizeof(one.token));
		e = renamed_put(f, &one);
		if (e != ERR_OK) {
			return e;
		}
	}
	return good(in);
}

static enum err
get_released(struct in *in)
{
	struct fold *f = in->f;
	size_t count = get_count(in, SIZE_MAX, 3);
	uint64_t n = 0;
	for (size_t i = 0; i < count; i++) {
		n += get(in, f->n - n);
		uint64_t record = get(in, n);
		uint16_t op = (uint16_t)get(in, FOLD_RELEASED_ARRIVAL);
		if (n <= f->swept || record == 0 ||
		    (op >= OPERATION_COUNT_MAX && op != FOLD_RELEASED_ARRIVAL)) {
			return ERR_DAMAGED;
		}
		const struct applying a = {.f = f, .n = n, .op = 0};
		enum err e = released_add(&a, record, op);
		if (e != ERR_OK) {
			return e;
		}
	}
	return good(in);
}

/* x plus an encoded difference, around 2^64 as the writer has it. */
static uint64_t
get_step(struct in *in, uint64_t x)
{
	return x + (uint64_t)unzigzag(get(in, UINT64_MAX));
}

static enum err
get_message(struct in *in, const struct mailbox *m, const struct fold_message *last, struct fold_message *ret)
{
	struct fold_message x = {0};
	uint64_t uid = (uint64_t)last->uid + 1 + get(in, UINT32_MAX);
	x.modseq = get_step(in, last->modseq);
	x.record = get_step(in, last->record);
	x.op = (uint16_t)get(in, OPERATION_COUNT_MAX - 1);
	uint64_t both = get(in, 32U * in->set_count + FOLD_FLAGS_ALL);
	x.size = get(in, OPERATION_SIZE_MAX);
	x.date = (int64_t)get_step(in, (uint64_t)last->date);
	int64_t zone = unzigzag(get(in, 4 * OPERATION_ZONE_MAX + 1)) + last->zone;
	uint64_t saved = in->version < 4 ? 0 : get_step(in, last->saved);
	if (in->r.bad || saved > UINT32_MAX || uid >= m->seen.uidnext || x.record == 0 ||
	    x.modseq < x.record || x.modseq > m->seen.highest_modseq || x.date < -OPERATION_DATE_MAX ||
	    x.date > OPERATION_DATE_MAX || zone < -OPERATION_ZONE_MAX || zone > OPERATION_ZONE_MAX) {
		return ERR_DAMAGED;
	}
	x.uid = (uint32_t)uid;
	x.saved = (uint32_t)saved;
	x.flags = (uint8_t)(both & FOLD_FLAGS_ALL);
	x.zone = (int16_t)zone;
	size_t set = (size_t)(both >> 5);
	if (set > in->sets_used + 1) {
		return ERR_DAMAGED; /* not in the order of first use */
	}
	in->sets_used = set > in->sets_used ? set : in->sets_used;
	x.keyset = in->sets[set];
	keywords_retain(&in->f->keywords, x.keyset);
	*ret = x;
	return ERR_OK;
}

static enum err
get_messages(struct in *in, struct mailbox *m)
{
	struct fold *f = in->f;
	size_t count = get_count(in, (size_t)(FOLD_MESSAGES_MAX - f->messages), 8);
	enum err e = count == 0 ? good(in) : message_reserve(m, count);
	if (e == ERR_OK) {
		e = cards_reserve(&f->cards, count);
	}
	struct fold_message last = {0};
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		struct fold_message x;
		e = get_message(in, m, &last, &x);
		if (e == ERR_OK) {
			/* All cards are counted at first; those with one reference are forgotten in the end. */
			e = cards_retain(&f->cards, x.record, x.op, 0);
		}
		if (e == ERR_OK) {
			m->messages[i] = x;
			m->seen.count++;
			message_count_in(f, m, &x);
			last = x;
		}
	}
	return e;
}

static enum err
get_tombstones(struct in *in, struct mailbox *m)
{
	size_t count = get_count(in, FOLD_TOMBSTONES_MAX, 3);
	struct fold_tombstone last = {.modseq = 0, .first = 0, .last = 0};
	if (m->seen.tombstone_floor > 0 && count != FOLD_TOMBSTONES_MAX) {
		return ERR_DAMAGED;
	}
	for (size_t i = 0; i < count; i++) {
		struct fold_tombstone t;
		t.modseq = last.modseq + get(in, m->seen.highest_modseq - last.modseq);
		t.first = (uint32_t)get(in, UINT32_MAX);
		uint64_t end = t.first + get(in, UINT32_MAX);
		if (in->r.bad || t.modseq == 0 || t.modseq < m->seen.tombstone_floor || t.first == 0 ||
		    end >= m->seen.uidnext ||
		    (t.modseq == last.modseq && (uint64_t)last.last + 1 == t.first)) {
			return ERR_DAMAGED;
		}
		t.last = (uint32_t)end;
		enum err e = tombstone_push(m, t);
		if (e != ERR_OK) {
			return e;
		}
		last = t;
	}
	return good(in);
}

/* No UID may be there and gone. */
static bool
tombstones_fit(const struct fold_mailbox *m)
{
	for (size_t i = 0; i < m->tombstone_count; i++) {
		uint32_t at = fold_message_lower(m, m->tombstones[i].first);
		if (at < m->count && m->messages[at].uid <= m->tombstones[i].last) {
			return false;
		}
	}
	return true;
}

static enum err
get_mailboxes(struct in *in)
{
	struct fold *f = in->f;
	size_t count = get_count(in, FOLD_MAILBOXES_MAX, 9);
	uint64_t id = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t step = get(in, UINT32_MAX);
		struct bytes name = varint_get_bytes(&in->r, OPERATION_NAME_MAX);
		size_t index = 0;
		id += step;
		if (in->r.bad || step == 0 || id >= f->next_mailbox || !name_good(name) ||
		    mailbox_name_index(f, name, &index)) {
			return ERR_DAMAGED;
		}
		struct mailbox *m = NULL;
		enum err e = mailbox_insert(f, (uint32_t)id, name, &m);
		if (e != ERR_OK) {
			return e;
		}
		m->seen.uidvalidity = (uint32_t)get(in, f->uidvalidity);
		m->seen.uidnext = (uint32_t)get(in, UINT32_MAX);
		m->seen.special_use = (uint32_t)get(in, UINT32_MAX);
		m->seen.highest_modseq = get(in, f->n);
		m->seen.tombstone_floor = get(in, m->seen.highest_modseq);
		if (m->seen.uidvalidity == 0 || m->seen.uidnext == 0 || m->seen.highest_modseq == 0) {
			return ERR_DAMAGED;
		}
		e = get_tombstones(in, m);
		if (e == ERR_OK) {
			e = get_messages(in, m);
		}
		if (e == ERR_OK && !tombstones_fit(&m->seen)) {
			e = ERR_DAMAGED;
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return good(in);
}

static enum err
get_annotations(struct in *in)
{
	struct fold *f = in->f;
	if (in->version < 4) {
		return good(in);
	}
	f->epoch = (uint32_t)get(in, UINT32_MAX);
	size_t count = get_count(in, FOLD_ANNOTATIONS_MAX, 4);
	uint64_t mailbox = 0;
	for (size_t i = 0; i < count; i++) {
		const struct fold_annotation *last = i == 0 ? NULL : &f->annotations.at[i - 1];
		mailbox += get(in, UINT32_MAX);
		struct bytes entry = varint_get_bytes(&in->r, OPERATION_ENTRY_MAX);
		struct bytes value = varint_get_bytes(&in->r, OPERATION_ANNOTATION_MAX);
		if (in->r.bad || mailbox > UINT32_MAX || !operation_entry_valid(entry) ||
		    (mailbox != 0 && mailbox_find(f, (uint32_t)mailbox) == NULL) ||
		    (last != NULL && last->mailbox == mailbox && bytes_compare(last->entry, entry) >= 0)) {
			return ERR_DAMAGED;
		}
		bool applied = false;
		enum err e = annotation_put(f, (uint32_t)mailbox, entry, true, value, &applied);
		if (e != ERR_OK || !applied) {
			return e != ERR_OK ? e : ERR_DAMAGED;
		}
	}
	return good(in);
}

static enum err
get_all(struct in *in)
{
	static enum err (*const parts[])(struct in *) = {get_head,      get_keywords,   get_names,
							 get_pending,   get_recent,     get_released,
							 get_mailboxes, get_annotations};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		enum err e = parts[i](in);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (in->r.at != in->r.end || in->sets_used != in->set_count) {
		return ERR_DAMAGED;
	}
	for (size_t i = 1; i <= in->set_count; i++) {
		keywords_release(&in->f->keywords, in->sets[i]);
	}
	return cards_keep_shared(&in->f->cards);
}

enum err
fold_snapshot_read(struct bytes snapshot, struct fold **ret)
{
	if (snapshot.len == 0 || snapshot.ptr[0] == 0) {
		return ERR_DAMAGED;
	}
	if (snapshot.ptr[0] > SNAPSHOT_VERSION) {
		return ERR_UNSUPPORTED;
	}
	struct in in = {.r = varint_reader_of(bytes_from(snapshot, 1)), .version = snapshot.ptr[0]};
	enum err e = fold_create(&in.f);
	if (e != ERR_OK) {
		return e;
	}
	e = get_all(&in);
	free(in.sets);
	if (e != ERR_OK) {
		fold_destroy(&in.f);
		return e;
	}
	*ret = in.f;
	return ERR_OK;
}
