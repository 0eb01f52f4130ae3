/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "fold/parts.h"

/* ---- Changes ---- */

enum err
change_begin(const struct applying *a, enum fold_change_kind kind, uint32_t mailbox)
{
	struct fold *f = a->f;
	if (f->watcher == NULL) {
		return ERR_OK;
	}
	enum err e = parts_grow(&f->changes, &f->change_cap, f->change_count + 1, sizeof(*f->changes));
	if (e != ERR_OK) {
		return e;
	}
	f->changes[f->change_count++] = (struct change){
	    .kind = kind, .op = a->op, .mailbox = mailbox, .first_range = f->range_count, .range_count = 0};
	return ERR_OK;
}

enum err
change_named(const struct applying *a, enum fold_change_kind kind, uint32_t mailbox, struct bytes name)
{
	struct fold *f = a->f;
	size_t at = f->change_names.len;
	if (f->watcher == NULL) {
		return ERR_OK;
	}
	enum err e = buf_append(&f->change_names, name);
	if (e == ERR_LIMIT) {
		name = BYTES_EMPTY; /* told without: watching never hinders folding */
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		e = change_begin(a, kind, mailbox);
	}
	if (e == ERR_OK) {
		f->changes[f->change_count - 1].name_at = at;
		f->changes[f->change_count - 1].name_len = name.len;
	}
	return e;
}

enum err
change_uid(const struct applying *a, uint32_t uid)
{
	struct fold *f = a->f;
	if (f->watcher == NULL || f->change_count == 0) {
		return ERR_OK;
	}
	struct change *c = &f->changes[f->change_count - 1];
	if (c->range_count > 0 && f->ranges[f->range_count - 1].last + 1 == uid) {
		f->ranges[f->range_count - 1].last = uid;
		return ERR_OK;
	}
	enum err e = parts_grow(&f->ranges, &f->range_cap, f->range_count + 1, sizeof(*f->ranges));
	if (e != ERR_OK) {
		return e;
	}
	f->ranges[f->range_count++] = (struct uid_range){.first = uid, .last = uid};
	c->range_count++;
	return ERR_OK;
}

void
change_end(const struct applying *a)
{
	struct fold *f = a->f;
	if (f->watcher != NULL && f->change_count > 0 && f->changes[f->change_count - 1].range_count == 0) {
		f->change_count--;
	}
}

/* ---- Settings ---- */

bool
setting_find(const struct fold *f, struct bytes name, size_t *ret_index)
{
	size_t i = 0;
	while (i < f->setting_count && bytes_compare(f->settings[i].name, name) < 0) {
		i++;
	}
	*ret_index = i;
	return i < f->setting_count && bytes_equal(f->settings[i].name, name);
}

static void
setting_remove(struct fold *f, size_t i)
{
	f->setting_bytes -= f->settings[i].name.len + f->settings[i].value.len;
	names_free(&f->settings[i].name);
	names_free(&f->settings[i].value);
	memmove(f->settings + i, f->settings + i + 1, (f->setting_count - i - 1) * sizeof(*f->settings));
	f->setting_count--;
}

enum err
setting_put(struct fold *f, struct bytes name, struct bytes value, bool *ret_applied)
{
	size_t i = 0;
	bool there = setting_find(f, name, &i);
	*ret_applied = true;
	if (value.len == 0) {
		if (there) {
			setting_remove(f, i);
		}
		return ERR_OK;
	}
	size_t freed = there ? name.len + f->settings[i].value.len : 0;
	if (f->setting_bytes - freed + name.len + value.len > FOLD_SETTINGS_BYTES_MAX ||
	    (!there && f->setting_count == FOLD_SETTINGS_MAX)) {
		*ret_applied = false;
		return ERR_OK;
	}
	struct setting s = {.name = BYTES_EMPTY, .value = BYTES_EMPTY};
	enum err e = parts_grow(&f->settings, &f->setting_cap, f->setting_count + 1, sizeof(*f->settings));
	if (e == ERR_OK) {
		e = names_copy(name, &s.name);
	}
	if (e == ERR_OK) {
		e = names_copy(value, &s.value);
	}
	if (e != ERR_OK) {
		names_free(&s.name);
		return e;
	}
	if (there) {
		setting_remove(f, i);
	}
	memmove(f->settings + i + 1, f->settings + i, (f->setting_count - i) * sizeof(*f->settings));
	f->settings[i] = s;
	f->setting_count++;
	f->setting_bytes += name.len + value.len;
	return ERR_OK;
}

/* ---- Operations ---- */

static enum err
ignored(const struct applying *a)
{
	a->f->ignored++;
	return ERR_OK;
}

static enum err
subscribe(const struct applying *a, struct bytes given, bool on, bool *ret_applied)
{
	struct bytes name = mailbox_canonical(given);
	struct names *l = &a->f->subscriptions;
	size_t index = 0;
	bool there = names_find(l, name, &index);
	*ret_applied = true;
	if (there == on) {
		return ERR_OK;
	}
	if (!on) {
		names_remove(l, index);
		return change_named(a, FOLD_CHANGE_SUBSCRIPTION, 0, name);
	}
	if (l->count == FOLD_SUBSCRIPTIONS_MAX) {
		*ret_applied = false;
		return ERR_OK;
	}
	enum err e = names_insert(l, index, name);
	return e == ERR_OK ? change_named(a, FOLD_CHANGE_SUBSCRIPTION, 0, name) : e;
}

/* *ret is NULL where the mailbox cannot be made. */
static enum err
create(const struct applying *a, struct bytes given, uint32_t uidvalidity, struct mailbox **ret)
{
	struct fold *f = a->f;
	struct bytes name = mailbox_canonical(given);
	size_t index = 0;
	*ret = NULL;
	if (mailbox_name_index(f, name, &index) || f->mailbox_count == FOLD_MAILBOXES_MAX ||
	    f->next_mailbox == UINT32_MAX) {
		return ERR_OK;
	}
	if (uidvalidity <= f->uidvalidity) {
		/* Never twice in one account, whatever a clock says: names may be swapped by renaming. */
		if (f->uidvalidity == UINT32_MAX) {
			return ERR_OK;
		}
		uidvalidity = f->uidvalidity + 1;
	}
	struct mailbox *m = NULL;
	enum err e = mailbox_insert(f, f->next_mailbox, name, &m);
	if (e != ERR_OK) {
		return e;
	}
	f->next_mailbox++;
	f->uidvalidity = uidvalidity;
	m->seen.uidvalidity = uidvalidity;
	m->seen.highest_modseq = a->n;
	*ret = m;
	return change_begin(a, FOLD_CHANGE_MAILBOX_CREATED, m->seen.id);
}

static enum err
apply_create(const struct applying *a, const struct operation *op)
{
	struct mailbox *m = NULL;
	enum err e = create(a, op->create.name, op->create.uidvalidity, &m);
	if (e != ERR_OK) {
		return e;
	}
	if (m == NULL) {
		return ignored(a);
	}
	m->seen.special_use = op->create.special_use;
	bool applied = true;
	return op->create.subscribed ? subscribe(a, op->create.name, true, &applied) : ERR_OK;
}

static enum err
apply_delete(const struct applying *a, const struct operation *op)
{
	struct mailbox *m = mailbox_find(a->f, op->remove.mailbox);
	if (m == NULL || mailbox_is_inbox(m->seen.name)) {
		return ignored(a);
	}
	size_t released = a->f->released_count;
	for (uint32_t i = 0; i < m->seen.count; i++) {
		message_count_out(a->f, m, &m->messages[i]);
		enum err e = message_let_go(a, &m->messages[i]);
		if (e != ERR_OK) {
			return e;
		}
	}
	enum err e = change_named(a, FOLD_CHANGE_MAILBOX_DELETED, m->seen.id, m->seen.name);
	annotation_drop(a->f, m->seen.id);
	mailbox_remove(a->f, m);
	if (e == ERR_OK && a->f->released_count > released) {
		e = change_begin(a, FOLD_CHANGE_RELEASED, 0);
	}
	return e;
}

static enum err
apply_rename(const struct applying *a, const struct operation *op)
{
	struct mailbox *m = mailbox_find(a->f, op->rename.mailbox);
	struct bytes name = mailbox_canonical(op->rename.name);
	size_t index = 0;
	if (m == NULL || mailbox_is_inbox(m->seen.name) || mailbox_name_index(a->f, name, &index)) {
		return ignored(a);
	}
	enum err e = change_named(a, FOLD_CHANGE_MAILBOX_RENAMED, m->seen.id, m->seen.name);
	return e == ERR_OK ? mailbox_rename(a->f, m, name) : e;
}

static enum err
apply_rename_inbox(const struct applying *a, const struct operation *op)
{
	size_t index = 0;
	if (!mailbox_name_index(a->f, BYTES_LIT("INBOX"), &index)) {
		return ignored(a);
	}
	struct mailbox *inbox = a->f->by_name[index];
	struct mailbox *m = NULL;
	enum err e = create(a, op->rename_inbox.name, op->rename_inbox.uidvalidity, &m);
	if (e != ERR_OK) {
		return e;
	}
	if (m == NULL) {
		return ignored(a);
	}
	const struct uid_range all = {.first = 1, .last = UINT32_MAX};
	bool applied = false;
	return message_copy(a, inbox, m, op->rename_inbox.saved, (struct uid_set){.ranges = &all, .count = 1},
			    true, &applied);
}

/* Puts the message that the operation carries into its mailbox. */
static enum err
put(const struct applying *a, struct mailbox *m, const struct operation_message *om, uint32_t *ret_uid)
{
	uint16_t keyset = 0;
	if (om->keywords.count > 0) {
		bool made = false;
		enum err e = keywords_change(&a->f->keywords, 0, OPERATION_SET, om->keywords, &keyset, &made);
		if (e != ERR_OK) {
			return e;
		}
	}
	*ret_uid = m->seen.uidnext;
	enum err e = change_begin(a, FOLD_CHANGE_ADDED, m->seen.id);
	if (e != ERR_OK) {
		return e;
	}
	return message_add(a, m,
			   (struct fold_message){.record = a->n,
						 .op = a->op,
						 .size = om->size,
						 .date = om->date,
						 .zone = om->zone,
						 .saved = om->saved,
						 .flags = om->flags,
						 .keyset = keyset});
}

static struct mailbox *
with_room(const struct applying *a, uint32_t id)
{
	struct mailbox *m = mailbox_find(a->f, id);
	if (m == NULL || m->seen.uidnext == UINT32_MAX || a->f->messages >= FOLD_MESSAGES_MAX) {
		return NULL;
	}
	return m;
}

/* The arrival at this place of the list waits no longer. */
static enum err
settle(const struct applying *a, size_t index, uint64_t arrival)
{
	pending_remove(a->f, index);
	enum err e = released_add(a, arrival, FOLD_RELEASED_ARRIVAL);
	return e == ERR_OK ? change_begin(a, FOLD_CHANGE_SETTLED, 0) : e;
}

static enum err
apply_filed(const struct applying *a, const struct operation *op)
{
	struct fold *f = a->f;
	size_t index = 0;
	struct mailbox *m = with_room(a, op->filed.message.mailbox);
	if (m == NULL || !pending_find(f, op->filed.arrival, &index)) {
		return ignored(a);
	}
	enum err e = settle(a, index, op->filed.arrival);
	if (e != ERR_OK || deliveries_seen(&f->deliveries, op->filed.delivery)) {
		return e; /* a duplicate enters no mailbox */
	}
	uint32_t uid = 0;
	e = deliveries_add(&f->deliveries, op->filed.delivery);
	return e == ERR_OK ? put(a, m, &op->filed.message, &uid) : e;
}

static enum err
apply_append(const struct applying *a, const struct operation *op)
{
	struct mailbox *m = with_room(a, op->append.message.mailbox);
	if (m == NULL) {
		return ignored(a);
	}
	struct sent_copy sent = {.mailbox = m->seen.id, .uid = 0};
	enum err e = put(a, m, &op->append.message, &sent.uid);
	if (e == ERR_OK && op->append.has_key) {
		memcpy(sent.key, op->append.key, OPERATION_KEY_LEN);
		e = sent_add(a->f, &sent);
	}
	return e;
}

static enum err
apply_flags(const struct applying *a, const struct operation *op)
{
	struct mailbox *m = mailbox_find(a->f, op->flags.mailbox);
	if (m == NULL) {
		return ignored(a);
	}
	return message_flags(a, m, op->flags.uids, op->flags.mode, op->flags.flags, op->flags.keywords);
}

static enum err
apply_copy(const struct applying *a, const struct operation *op)
{
	struct mailbox *from = mailbox_find(a->f, op->copy.from);
	struct mailbox *to = mailbox_find(a->f, op->copy.to);
	bool applied = false;
	if (from != NULL && to != NULL) {
		enum err e = message_copy(a, from, to, op->copy.saved, op->copy.uids,
					  op->kind == OPERATION_MOVE, &applied);
		if (e != ERR_OK) {
			return e;
		}
	}
	return applied ? ERR_OK : ignored(a);
}

static enum err
apply_expunge(const struct applying *a, const struct operation *op)
{
	struct mailbox *m = mailbox_find(a->f, op->expunge.mailbox);
	if (m == NULL) {
		return ignored(a);
	}
	size_t released = a->f->released_count;
	enum err e = message_expunge(a, m, op->expunge.uids, m->seen.count, false);
	if (e == ERR_OK && a->f->released_count > released) {
		e = change_begin(a, FOLD_CHANGE_RELEASED, 0);
	}
	return e;
}

static enum err
apply_dropped(const struct applying *a, const struct operation *op)
{
	struct fold *f = a->f;
	size_t index = 0;
	if (!pending_find(f, op->dropped.arrival, &index)) {
		return ignored(a);
	}
	enum err e = settle(a, index, op->dropped.arrival);
	if (e == ERR_OK && op->dropped.reason == OPERATION_UNWANTED &&
	    !deliveries_seen(&f->deliveries, op->dropped.delivery)) {
		e = deliveries_add(&f->deliveries, op->dropped.delivery);
	}
	return e;
}

static enum err
apply_swept(const struct applying *a, uint64_t upto)
{
	struct fold *f = a->f;
	if (upto >= a->n || upto <= f->swept) {
		return ignored(a);
	}
	f->swept = upto;
	size_t gone = 0; /* they stand in the order of n */
	while (gone < f->released_count && f->released[gone].n <= upto) {
		gone++;
	}
	f->released_count -= gone;
	if (gone > 0) {
		memmove(f->released, f->released + gone, f->released_count * sizeof(*f->released));
	}
	if (f->released_count == 0) {
		free(f->released);
		f->released = NULL;
		f->released_cap = 0;
	}
	return ERR_OK;
}

static enum err
apply_annotate(const struct applying *a, const struct operation *op)
{
	uint32_t mailbox = op->annotate.mailbox;
	bool applied = mailbox == 0 || mailbox_find(a->f, mailbox) != NULL;
	enum err e = ERR_OK;
	if (applied) {
		e = annotation_put(a->f, mailbox, op->annotate.entry, op->annotate.on, op->annotate.value,
				   &applied);
	}
	if (e != ERR_OK || !applied) {
		return e == ERR_OK ? ignored(a) : e;
	}
	return change_named(a, FOLD_CHANGE_ANNOTATION, mailbox, op->annotate.entry);
}

static enum err
apply_use(const struct applying *a, const struct operation *op)
{
	struct mailbox *m = mailbox_find(a->f, op->use.mailbox);
	if (m == NULL) {
		return ignored(a);
	}
	m->seen.special_use = (m->seen.special_use & ~(uint32_t)OPERATION_USE_MASK) | op->use.special_use;
	return change_begin(a, FOLD_CHANGE_USE, m->seen.id);
}

/*
 * Each mailbox gets a UIDVALIDITY above both `last` and what any was ever given, and the next mailbox an id that none can have had.
 * False, and nothing done, where there is no room for that.
 */
static bool
renumber(struct fold *f, uint64_t last)
{
	last = (last > f->uidvalidity ? last : f->uidvalidity) + FOLD_RESTORED_JUMP;
	if (last + f->mailbox_count > UINT32_MAX || f->next_mailbox > UINT32_MAX - FOLD_RESTORED_JUMP) {
		return false;
	}
	for (size_t i = 0; i < f->mailbox_count; i++) {
		last++;
		f->by_id[i]->seen.uidvalidity = (uint32_t)last;
	}
	f->uidvalidity = (uint32_t)last;
	f->next_mailbox += FOLD_RESTORED_JUMP;
	return true;
}

/* Nothing may mean what it meant in the lost end of the log. */
static enum err
apply_restored(const struct applying *a, const struct operation *op)
{
	if (op->restored.epoch <= a->f->epoch || !renumber(a->f, op->restored.uidvalidity)) {
		return ignored(a);
	}
	a->f->epoch = op->restored.epoch;
	return change_begin(a, FOLD_CHANGE_RESTORED, 0);
}

/* Nor what it meant in a record that was left out. */
static enum err
apply_lost(const struct applying *a, const struct operation *op)
{
	if (op->lost.n >= a->n || !renumber(a->f, 0)) {
		return ignored(a);
	}
	return change_begin(a, FOLD_CHANGE_RESTORED, 0);
}

enum err
apply_operation(const struct applying *a, const struct operation *op)
{
	struct fold *f = a->f;
	bool applied = true;
	enum err e = ERR_OK;
	switch (op->kind) {
	case OPERATION_OPEN:
		if (!fold_slots_may_follow(f, op->open.slots_hash, op->open.revision, op->open.generation)) {
			return ignored(a);
		}
		memcpy(f->slots_hash, op->open.slots_hash, sizeof(f->slots_hash));
		f->generation = op->open.generation;
		f->slots_revision = op->open.revision;
		f->opened = true;
		return change_begin(a, FOLD_CHANGE_KEYS, 0);
	case OPERATION_GENERATION:
		if (op->generation.number < f->generation) {
			return ignored(a);
		}
		f->generation = op->generation.number;
		return change_begin(a, FOLD_CHANGE_KEYS, 0);
	case OPERATION_MAILBOX_CREATE:
		return apply_create(a, op);
	case OPERATION_MAILBOX_DELETE:
		return apply_delete(a, op);
	case OPERATION_MAILBOX_RENAME:
		return apply_rename(a, op);
	case OPERATION_RENAME_INBOX:
		return apply_rename_inbox(a, op);
	case OPERATION_SUBSCRIBE:
		e = subscribe(a, op->subscribe.name, op->subscribe.on, &applied);
		break;
	case OPERATION_FILED:
		return apply_filed(a, op);
	case OPERATION_APPEND:
		return apply_append(a, op);
	case OPERATION_FLAGS:
		return apply_flags(a, op);
	case OPERATION_COPY:
	case OPERATION_MOVE:
		return apply_copy(a, op);
	case OPERATION_EXPUNGE:
		return apply_expunge(a, op);
	case OPERATION_DROPPED:
		return apply_dropped(a, op);
	case OPERATION_SETTING:
		e = setting_put(f, op->setting.name, op->setting.value, &applied);
		if (e == ERR_OK && applied) {
			e = change_begin(a, FOLD_CHANGE_SETTING, 0);
		}
		break;
	case OPERATION_NOTE:
		return ERR_OK;
	case OPERATION_SWEPT:
		return apply_swept(a, op->swept.upto);
	case OPERATION_RENAMED: {
		struct renamed one;
		memcpy(one.key, op->renamed.key, sizeof(one.key));
		memcpy(one.token, op->renamed.token, sizeof(one.token));
		return renamed_add(f, &one);
	}
	case OPERATION_ANNOTATE:
		return apply_annotate(a, op);
	case OPERATION_USE:
		return apply_use(a, op);
	case OPERATION_RENAME_TREE:
		return mailbox_rename_tree(a, op->rename_tree.from, mailbox_canonical(op->rename_tree.to));
	case OPERATION_RESTORED:
		return apply_restored(a, op);
	case OPERATION_LOST:
		return apply_lost(a, op);
	case OPERATION__END:
	default:
		panic("fold: an operation that was not checked");
	}
	if (e == ERR_OK && !applied) {
		return ignored(a);
	}
	return e;
}
