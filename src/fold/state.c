/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fold/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "fold/parts.h"

enum { DECODE_ARENA_MAX = 16 << 20, KEPT_CHANGES = 64, CHANGE_NAMES_MAX = 32 << 20 };

enum err
fold_create(struct fold **ret)
{
	struct fold *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		return ERR_MEMORY;
	}
	f->next_mailbox = 1;
	buf_init(&f->change_names, CHANGE_NAMES_MAX);
	*ret = f;
	return ERR_OK;
}

void
fold_destroy(struct fold **fp)
{
	struct fold *f = *fp;
	if (f == NULL) {
		return;
	}
	for (size_t i = 0; i < f->mailbox_count; i++) {
		mailbox_free(f->by_id[i]);
	}
	free(f->by_id);
	free(f->by_name);
	names_clear(&f->subscriptions);
	for (size_t i = 0; i < f->setting_count; i++) {
		names_free(&f->settings[i].name);
		names_free(&f->settings[i].value);
	}
	free(f->settings);
	annotation_clear(f);
	keywords_clear(&f->keywords);
	cards_clear(&f->cards);
	deliveries_clear(&f->deliveries);
	free(f->pending);
	free(f->sent);
	free(f->renamed);
	free(f->released);
	free(f->changes);
	free(f->ranges);
	buf_wipe(&f->change_names);
	explicit_bzero(f, sizeof(*f));
	free(f);
	*fp = NULL;
}

void
fold_watch(struct fold *f, fold_change_fn fn, void *arg)
{
	f->watcher = fn;
	f->watcher_arg = arg;
}

static void
tell(struct fold *f)
{
	if (f->watcher != NULL) {
		for (size_t i = 0; i < f->change_count; i++) {
			const struct change *c = &f->changes[i];
			struct uid_set uids = {.ranges = NULL, .count = c->range_count};
			if (c->range_count > 0) {
				uids.ranges = f->ranges + c->first_range;
			}
			const struct fold_change out = {
			    .kind = c->kind,
			    .op = c->op,
			    .mailbox = c->mailbox,
			    .n = f->n,
			    .uids = uids,
			    .name = bytes_slice(buf_bytes(&f->change_names), c->name_at, c->name_len)};
			f->watcher(f->watcher_arg, &out);
		}
	}
	f->change_count = 0;
	f->range_count = 0;
	buf_wipe(&f->change_names);
	if (f->range_cap > KEPT_CHANGES || f->change_cap > KEPT_CHANGES) {
		/* Much at once is rare: idle holds nothing. */
		free(f->ranges);
		free(f->changes);
		f->ranges = NULL;
		f->changes = NULL;
		f->range_cap = 0;
		f->change_cap = 0;
	}
}

static enum err
may_apply(const struct fold *f, uint64_t n)
{
	return f->broken || f->n == UINT64_MAX || n != f->n + 1 ? ERR_STATE : ERR_OK;
}

/* Octets of the hash of a slot list, where which one it is was lost: no hash is all of these. */
enum { UNKNOWN_HASH = 0xff };

/* Numbers go on where they did when the record was made: so they do anyway, but where a record before it was lost. */
static void
raise_bases(struct fold *f, const struct operations_carried *c)
{
	if (c->next_mailbox > f->next_mailbox) {
		f->next_mailbox = c->next_mailbox;
	}
	if (c->generation > f->generation) {
		f->generation = c->generation;
	}
	if (c->revision > f->slots_revision) {
		/* Which list it is was lost: any of that revision, and none below. */
		f->slots_revision = c->revision;
		memset(f->slots_hash, UNKNOWN_HASH, sizeof(f->slots_hash));
	}
	for (size_t i = 0; i < c->base_count; i++) {
		struct mailbox *m = mailbox_find(f, c->bases[i].mailbox);
		if (m != NULL && c->bases[i].uidnext > m->seen.uidnext) {
			m->seen.uidnext = c->bases[i].uidnext;
		}
	}
}

void
fold_carry_bases(const struct fold *f, struct operations_carried *c)
{
	c->next_mailbox = f->next_mailbox;
	c->revision = f->slots_revision;
	c->generation = f->generation;
	c->base_count = 0;
	for (size_t i = 0; i < f->mailbox_count && c->base_count < OPERATION_BASES_MAX; i++) {
		const struct fold_mailbox *m = &f->by_id[i]->seen;
		if (m->uidnext > 1 && m->highest_modseq + FOLD_BASES_RECORDS > f->n) {
			c->bases[c->base_count++] =
			    (struct operation_base){.mailbox = m->id, .uidnext = m->uidnext};
		}
	}
}

enum err
fold_apply_session(struct fold *f, uint64_t n, struct bytes record)
{
	enum err e = may_apply(f, n);
	if (e != ERR_OK) {
		return e;
	}
	struct arena arena;
	arena_init(&arena, DECODE_ARENA_MAX);
	const struct operation *ops = NULL;
	size_t count = 0;
	struct operations_carried carried;
	e = operations_decode(&arena, record, &ops, &count);
	e = e == ERR_OK ? operations_carried(record, &carried) : e;
	if (e == ERR_FORMAT) {
		arena_clear(&arena);
		return fold_apply_damaged(f, n);
	}
	if (e == ERR_UNSUPPORTED) {
		arena_clear(&arena);
		return e;
	}
	if (e == ERR_OK) {
		raise_bases(f, &carried);
	}
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		const struct applying a = {.f = f, .n = n, .op = (uint16_t)i};
		e = apply_operation(&a, &ops[i]);
	}
	arena_clear(&arena);
	if (e != ERR_OK) {
		f->broken = true;
		return ERR_MEMORY;
	}
	f->n = n;
	tell(f);
	return ERR_OK;
}

enum err
fold_apply_arrival(struct fold *f, uint64_t n)
{
	enum err e = may_apply(f, n);
	if (e != ERR_OK) {
		return e;
	}
	const struct applying a = {.f = f, .n = n, .op = 0};
	e = pending_add(f, n);
	if (e == ERR_OK) {
		e = change_begin(&a, FOLD_CHANGE_ARRIVAL, 0);
	}
	if (e != ERR_OK) {
		f->broken = true;
		return e;
	}
	f->n = n;
	tell(f);
	return ERR_OK;
}

enum err
fold_apply_damaged(struct fold *f, uint64_t n)
{
	enum err e = may_apply(f, n);
	if (e != ERR_OK) {
		return e;
	}
	f->damaged++;
	f->n = n;
	return ERR_OK;
}

/* ---- Reading ---- */

uint64_t
fold_n(const struct fold *f)
{
	return f->n;
}

uint64_t
fold_ignored(const struct fold *f)
{
	return f->ignored;
}

uint64_t
fold_damaged(const struct fold *f)
{
	return f->damaged;
}

uint64_t
fold_messages(const struct fold *f)
{
	return f->messages;
}

uint64_t
fold_bytes(const struct fold *f)
{
	return f->bytes;
}

uint32_t
fold_generation(const struct fold *f)
{
	return f->generation;
}

bool
fold_slots_hash(const struct fold *f, uint8_t ret_hash[OPERATION_SLOTS_HASH_LEN])
{
	memcpy(ret_hash, f->slots_hash, OPERATION_SLOTS_HASH_LEN);
	return f->opened;
}

uint32_t
fold_slots_revision(const struct fold *f)
{
	return f->slots_revision;
}

bool
fold_slots_may_follow(const struct fold *f, const uint8_t hash[OPERATION_SLOTS_HASH_LEN], uint32_t revision,
		      uint32_t generation)
{
	if (generation < f->generation || revision < f->slots_revision) {
		return false;
	}
	uint8_t unknown[OPERATION_SLOTS_HASH_LEN];
	memset(unknown, UNKNOWN_HASH, sizeof(unknown));
	return revision == 0 || revision > f->slots_revision ||
	       memcmp(f->slots_hash, unknown, sizeof(unknown)) == 0 ||
	       memcmp(hash, f->slots_hash, OPERATION_SLOTS_HASH_LEN) == 0;
}

uint32_t
fold_uidvalidity(const struct fold *f)
{
	return f->uidvalidity;
}

uint32_t
fold_next_mailbox(const struct fold *f)
{
	return f->next_mailbox;
}

size_t
fold_memory(const struct fold *f)
{
	size_t sum =
	    sizeof(*f) + f->by_id_cap * sizeof(struct mailbox *) + f->by_name_cap * sizeof(struct mailbox *);
	for (size_t i = 0; i < f->mailbox_count; i++) {
		const struct mailbox *m = f->by_id[i];
		sum += sizeof(*m) + m->seen.name.len + m->message_cap * sizeof(*m->messages) +
		       m->tombstone_cap * sizeof(*m->tombstones);
	}
	sum += f->subscriptions.cap * sizeof(struct bytes) + f->subscriptions.bytes;
	sum += f->setting_cap * sizeof(*f->settings) + f->setting_bytes;
	sum += f->annotations.cap * sizeof(*f->annotations.at) + f->annotations.bytes;
	sum += keywords_memory(&f->keywords);
	sum += f->cards.slot_count * sizeof(*f->cards.slots);
	sum += f->deliveries.cap * OPERATION_DELIVERY_LEN + f->deliveries.order_cap * sizeof(uint16_t);
	sum += f->pending_cap * sizeof(*f->pending) + f->sent_cap * sizeof(*f->sent) +
	       f->renamed_cap * sizeof(*f->renamed);
	sum += f->released_cap * sizeof(*f->released);
	sum += f->change_cap * sizeof(*f->changes) + f->range_cap * sizeof(*f->ranges);
	return sum;
}

size_t
fold_mailbox_count(const struct fold *f)
{
	return f->mailbox_count;
}

const struct fold_mailbox *
fold_mailbox_at(const struct fold *f, size_t i)
{
	return i < f->mailbox_count ? &f->by_name[i]->seen : NULL;
}

const struct fold_mailbox *
fold_mailbox_by_id(const struct fold *f, uint32_t id)
{
	const struct mailbox *m = mailbox_find(f, id);
	return m == NULL ? NULL : &m->seen;
}

const struct fold_mailbox *
fold_mailbox_by_name(const struct fold *f, struct bytes name)
{
	size_t index = 0;
	return mailbox_name_index(f, mailbox_canonical(name), &index) ? &f->by_name[index]->seen : NULL;
}

const struct fold_message *
fold_message_by_uid(const struct fold_mailbox *m, uint32_t uid)
{
	uint32_t i = fold_message_lower(m, uid);
	return i < m->count && m->messages[i].uid == uid ? &m->messages[i] : NULL;
}

bool
fold_tombstones_since(const struct fold_mailbox *m, uint64_t since, size_t *ret_index)
{
	if (since < m->tombstone_floor) {
		return false;
	}
	size_t low = 0;
	size_t high = m->tombstone_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (m->tombstones[mid].modseq <= since) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	*ret_index = low;
	return true;
}

size_t
fold_subscription_count(const struct fold *f)
{
	return f->subscriptions.count;
}

struct bytes
fold_subscription_at(const struct fold *f, size_t i)
{
	return i < f->subscriptions.count ? f->subscriptions.at[i] : BYTES_EMPTY;
}

bool
fold_subscribed(const struct fold *f, struct bytes name)
{
	size_t index = 0;
	return names_find(&f->subscriptions, mailbox_canonical(name), &index);
}

size_t
fold_keyword_count(const struct fold *f)
{
	return f->keywords.order_count;
}

struct bytes
fold_keyword_at(const struct fold *f, size_t i)
{
	return i < f->keywords.order_count ? f->keywords.names[f->keywords.order[i]].name : BYTES_EMPTY;
}

size_t
fold_keyset_count(const struct fold *f, uint16_t keyset)
{
	return keyset == 0 || keyset >= f->keywords.set_slots ? 0 : f->keywords.sets[keyset].count;
}

struct bytes
fold_keyset_at(const struct fold *f, uint16_t keyset, size_t i)
{
	if (i >= fold_keyset_count(f, keyset)) {
		return BYTES_EMPTY;
	}
	return f->keywords.names[f->keywords.sets[keyset].ids[i]].name;
}

bool
fold_keyset_has(const struct fold *f, uint16_t keyset, struct bytes keyword)
{
	for (size_t i = 0; i < fold_keyset_count(f, keyset); i++) {
		if (keyword_compare(fold_keyset_at(f, keyset, i), keyword) == 0) {
			return true;
		}
	}
	return false;
}

size_t
fold_pending_count(const struct fold *f)
{
	return f->pending_count;
}

uint64_t
fold_pending_at(const struct fold *f, size_t i)
{
	return i < f->pending_count ? f->pending[f->pending_head + i] : 0;
}

bool
fold_delivery_seen(const struct fold *f, const uint8_t delivery[OPERATION_DELIVERY_LEN])
{
	return deliveries_seen(&f->deliveries, delivery);
}

enum err
fold_sent_copy(const struct fold *f, const uint8_t key[OPERATION_KEY_LEN], uint32_t *ret_mailbox,
	       uint32_t *ret_uid)
{
	for (size_t i = f->sent_count; i > 0; i--) {
		const struct sent_copy *s = &f->sent[i - 1];
		if (memcmp(s->key, key, OPERATION_KEY_LEN) != 0) {
			continue;
		}
		const struct mailbox *m = mailbox_find(f, s->mailbox);
		if (m != NULL && fold_message_by_uid(&m->seen, s->uid) != NULL) {
			*ret_mailbox = s->mailbox;
			*ret_uid = s->uid;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}

enum err
fold_renamed(const struct fold *f, const uint8_t key[OPERATION_KEY_LEN],
	     uint8_t ret_token[OPERATION_TOKEN_LEN])
{
	const struct renamed *one = renamed_find(f, key);
	if (one == NULL) {
		return ERR_NOT_FOUND;
	}
	memcpy(ret_token, one->token, OPERATION_TOKEN_LEN);
	return ERR_OK;
}

size_t
fold_setting_count(const struct fold *f)
{
	return f->setting_count;
}

struct bytes
fold_setting_name(const struct fold *f, size_t i)
{
	return i < f->setting_count ? f->settings[i].name : BYTES_EMPTY;
}

struct bytes
fold_setting_value(const struct fold *f, size_t i)
{
	return i < f->setting_count ? f->settings[i].value : BYTES_EMPTY;
}

struct bytes
fold_setting(const struct fold *f, const char *name)
{
	size_t i = 0;
	return setting_find(f, bytes_str(name), &i) ? f->settings[i].value : BYTES_EMPTY;
}
