/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fold/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"
#include "fold/varint.h"

/*
 * The form. All numbers are varints (fold/varint.h) but where bytes are named;
 * [x] is a length and so many bytes; z(x) is the zigzag of a difference.
 *
 *   version (1 byte) n ignored damaged generation opened [slots hash: 32 bytes, revision, if opened is 1;
 *     version 1 has no revision]
 *   uidvalidity next-mailbox swept
 *   keywords: count, then [name] each, ascending without case
 *   sets: count, then each: count, index of the first keyword, distance of each next one less 1;
 *         in the order in which the messages below first use them
 *   subscriptions: count, [name] each, ascending
 *   settings: count, [name] [value] each, ascending
 *   pending: count, distances (the first from 0)
 *   deliveries: count, 16 bytes each, oldest first
 *   sent: count, then key (16 bytes) mailbox uid, oldest first
 *   renamed (from version 3 on): count, then key (16 bytes) token (16 bytes), oldest first
 *   released: count, then distance of n, record, op
 *   mailboxes: count, then by id: distance of id, [name] uidvalidity uidnext special-use
 *     highest-modseq tombstone-floor
 *     tombstones: count, then distance of modseq, first, last - first
 *     messages: count, then distance of uid less 1, z(modseq) z(record) op flags + 32 * set
 *       size z(date) z(zone) z(saved), the last one from version 4 on
 *       (differences from the message before in this mailbox, from 0 at first; set 0 is the empty
 *       one, k the k-th above)
 *   epoch (from version 4 on)
 *   annotations (from version 4 on): count, then distance of mailbox (0: the account), [entry] [value],
 *     by mailbox, then by entry
 */

struct out {
	struct buf *buf;
	enum err error;
};

static void
put(struct out *o, uint64_t v)
{
	uint8_t b[VARINT_MAX];
	if (o->error == ERR_OK) {
		o->error = buf_append(o->buf, bytes_of(b, varint_put(b, v)));
	}
}

static void
put_fixed(struct out *o, const uint8_t *p, size_t n)
{
	if (o->error == ERR_OK) {
		o->error = buf_append(o->buf, bytes_of(p, n));
	}
}

static void
put_bytes(struct out *o, struct bytes b)
{
	put(o, b.len);
	put_fixed(o, b.ptr, b.len);
}

static void
put_head(struct out *o, const struct fold *f)
{
	const uint8_t version = SNAPSHOT_VERSION;
	put_fixed(o, &version, 1);
	put(o, f->n);
	put(o, f->ignored);
	put(o, f->damaged);
	put(o, f->generation);
	put(o, f->opened ? 1 : 0);
	if (f->opened) {
		put_fixed(o, f->slots_hash, sizeof(f->slots_hash));
		put(o, f->slots_revision);
	}
	put(o, f->uidvalidity);
	put(o, f->next_mailbox);
	put(o, f->swept);
}

/* Numbers of their first use for all sets: `numbers` by set, `uses` the other way round. */
static size_t
number_sets(const struct fold *f, uint16_t *numbers, uint16_t *uses)
{
	size_t count = 0;
	for (size_t i = 0; i < f->mailbox_count; i++) {
		const struct mailbox *m = f->by_id[i];
		for (uint32_t k = 0; k < m->seen.count; k++) {
			uint16_t set = m->messages[k].keyset;
			if (set != 0 && numbers[set] == 0) {
				uses[count++] = set;
				numbers[set] = (uint16_t)count;
			}
		}
	}
	return count;
}

static void
put_keywords(struct out *o, const struct keywords *k, const uint16_t *uses, size_t use_count)
{
	uint16_t index[FOLD_KEYWORDS_MAX] = {0}; /* of a keyword's id in the order */
	put(o, k->order_count);
	for (size_t i = 0; i < k->order_count; i++) {
		index[k->order[i]] = (uint16_t)i;
		put_bytes(o, k->names[k->order[i]].name);
	}
	put(o, use_count);
	for (size_t i = 0; i < use_count; i++) {
		const struct keyset *s = &k->sets[uses[i]];
		put(o, s->count);
		uint64_t next = 0;
		for (size_t j = 0; j < s->count; j++) {
			put(o, index[s->ids[j]] - next);
			next = (uint64_t)index[s->ids[j]] + 1;
		}
	}
}

static void
put_lists(struct out *o, const struct fold *f)
{
	put(o, f->subscriptions.count);
	for (size_t i = 0; i < f->subscriptions.count; i++) {
		put_bytes(o, f->subscriptions.at[i]);
	}
	put(o, f->setting_count);
	for (size_t i = 0; i < f->setting_count; i++) {
		put_bytes(o, f->settings[i].name);
		put_bytes(o, f->settings[i].value);
	}
	put(o, f->pending_count);
	uint64_t before = 0;
	for (size_t i = 0; i < f->pending_count; i++) {
		uint64_t n = f->pending[f->pending_head + i];
		put(o, n - before);
		before = n;
	}
	put(o, f->deliveries.count);
	for (size_t i = 0; i < f->deliveries.count; i++) {
		put_fixed(o, deliveries_at(&f->deliveries, i), OPERATION_DELIVERY_LEN);
	}
	put(o, f->sent_count);
	for (size_t i = 0; i < f->sent_count; i++) {
		put_fixed(o, f->sent[i].key, OPERATION_KEY_LEN);
		put(o, f->sent[i].mailbox);
		put(o, f->sent[i].uid);
	}
	put(o, f->renamed_count);
	for (size_t i = 0; i < f->renamed_count; i++) {
		put_fixed(o, renamed_at(f, i)->key, OPERATION_KEY_LEN);
		put_fixed(o, renamed_at(f, i)->token, OPERATION_TOKEN_LEN);
	}
	put(o, f->released_count);
	before = 0;
	for (size_t i = 0; i < f->released_count; i++) {
		put(o, f->released[i].n - before);
		put(o, f->released[i].record);
		put(o, f->released[i].op);
		before = f->released[i].n;
	}
}

static void
put_messages(struct out *o, const struct mailbox *m, const uint16_t *numbers)
{
	put(o, m->seen.count);
	struct fold_message last = {0};
	for (uint32_t i = 0; i < m->seen.count && o->error == ERR_OK; i++) {
		const struct fold_message *x = &m->messages[i];
		uint8_t b[9 * VARINT_MAX];
		size_t n = varint_put(b, x->uid - last.uid - 1);
		n += varint_put(b + n, zigzag((int64_t)(x->modseq - last.modseq)));
		n += varint_put(b + n, zigzag((int64_t)(x->record - last.record)));
		n += varint_put(b + n, x->op);
		n += varint_put(b + n, x->flags + 32U * numbers[x->keyset]);
		n += varint_put(b + n, x->size);
		n += varint_put(b + n, zigzag(x->date - last.date));
		n += varint_put(b + n, zigzag(x->zone - last.zone));
		n += varint_put(b + n, zigzag((int64_t)x->saved - (int64_t)last.saved));
		put_fixed(o, b, n);
		last = *x;
	}
}

static void
put_mailboxes(struct out *o, const struct fold *f, const uint16_t *numbers)
{
	put(o, f->mailbox_count);
	uint32_t id = 0;
	for (size_t i = 0; i < f->mailbox_count && o->error == ERR_OK; i++) {
		const struct mailbox *m = f->by_id[i];
		put(o, m->seen.id - id);
		id = m->seen.id;
		put_bytes(o, m->seen.name);
		put(o, m->seen.uidvalidity);
		put(o, m->seen.uidnext);
		put(o, m->seen.special_use);
		put(o, m->seen.highest_modseq);
		put(o, m->seen.tombstone_floor);
		put(o, m->seen.tombstone_count);
		uint64_t before = 0;
		for (size_t k = 0; k < m->seen.tombstone_count; k++) {
			const struct fold_tombstone *t = &m->seen.tombstones[k];
			put(o, t->modseq - before);
			put(o, t->first);
			put(o, t->last - t->first);
			before = t->modseq;
		}
		put_messages(o, m, numbers);
	}
}

static void
put_annotations(struct out *o, const struct fold *f)
{
	put(o, f->epoch);
	put(o, f->annotations.count);
	uint32_t before = 0;
	for (size_t i = 0; i < f->annotations.count && o->error == ERR_OK; i++) {
		const struct fold_annotation *x = &f->annotations.at[i];
		put(o, x->mailbox - before);
		put_bytes(o, x->entry);
		put_bytes(o, x->value);
		before = x->mailbox;
	}
}

enum err
fold_snapshot_write(const struct fold *f, struct buf *out)
{
	if (f->broken || out->len != 0) {
		return ERR_STATE;
	}
	uint16_t *numbers = calloc(f->keywords.set_slots + 1, sizeof(*numbers));
	uint16_t *uses = calloc(f->keywords.set_slots + 1, sizeof(*uses));
	struct out o = {.buf = out, .error = ERR_MEMORY};
	if (numbers != NULL && uses != NULL) {
		o.error = ERR_OK;
		size_t use_count = number_sets(f, numbers, uses);
		put_head(&o, f);
		put_keywords(&o, &f->keywords, uses, use_count);
		put_lists(&o, f);
		put_mailboxes(&o, f, numbers);
		put_annotations(&o, f);
	}
	free(numbers);
	free(uses);
	if (o.error != ERR_OK) {
		buf_reset(out);
	}
	return o.error;
}
