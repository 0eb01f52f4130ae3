/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One member's log with her secret: each record opened, all of it folded, each message's blob read to its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "cli/check.h"
#include "fold/snapshot.h"
#include "fold/state.h"
#include "mail/address.h"
#include "sealed/arrival.h"
#include "sealed/card.h"
#include "sealed/directory.h"
#include "sealed/record.h"
#include "sealed/snapshot.h"

enum { CARDS_MAX = 256 * 1024 * 1024, GAP_MAX = 64 };

struct card_place {
	uint64_t record;
	uint16_t op;
};

struct member_check {
	struct check *check;
	uint8_t id[SEALED_ID_LEN];
	struct member_keys keys;
	struct blob_codec *codec;
	struct fold *fold;
	struct storage_head head;
	struct buf body;  /* of the record at hand */
	struct buf cards; /* struct card_place */
	struct record_place place;
	uint64_t folded; /* of the snapshot; 0: none */
	uint64_t records;
	uint64_t blobs;
	/* Of her slot list. */
	uint8_t slots_hash[SEALED_HASH_LEN];
	uint32_t slots_revision;
	uint32_t generation;
};

/* ---- who ---- */

static enum err
fetch(struct check *k, const uint8_t key[SEALED_HASH_LEN], struct buf *plain, enum directory_kind *ret_kind)
{
	struct buf value = BUF_INIT(STORAGE_VALUE_MAX);
	enum err e = k->storage->driver->directory_get(k->storage, key, &value);
	if (e == ERR_OK) {
		e = directory_unseal(k->keys[PURPOSE_DIRECTORY_SEAL], key, buf_bytes(&value), plain,
				     ret_kind);
		e = e == ERR_OK || e == ERR_MEMORY ? e : ERR_DAMAGED;
	}
	buf_clear(&value);
	return e;
}

static enum err
find_account(struct check *k, const char *name, uint8_t ret_id[SEALED_ID_LEN])
{
	struct buf typed = BUF_INIT(CONFIG_NAME_MAX + 512);
	struct buf address = BUF_INIT(DIRECTORY_ADDRESS_MAX);
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct mail_mailbox mailbox;
	enum directory_kind kind;
	uint8_t key[SEALED_HASH_LEN];
	struct directory_address *entry = malloc(sizeof(*entry));
	enum err e = entry == NULL ? ERR_MEMORY : buf_append_str(&typed, name);
	if (e == ERR_OK && bytes_find(buf_bytes(&typed), '@') < 0) {
		e = buf_printf(&typed, "@%s", k->config.domain);
	}
	if (e == ERR_OK) {
		e = mail_mailbox_parse(buf_bytes(&typed), &mailbox);
	}
	if (e == ERR_OK) {
		e = mail_mailbox_normalise(&mailbox, &address);
	}
	if (e == ERR_OK) {
		directory_address_key(k->keys[PURPOSE_DIRECTORY_HASH], buf_bytes(&address), key);
		e = fetch(k, key, &plain, &kind);
	}
	if (e == ERR_OK) {
		e = kind == DIRECTORY_ADDRESS ? directory_address_decode(buf_bytes(&plain), entry)
					      : ERR_DAMAGED;
	}
	if (e == ERR_OK && entry->kind != ADDRESS_MEMBER) {
		e = ERR_NOT_FOUND;
	}
	if (e == ERR_OK) {
		memcpy(ret_id, entry->accounts[0], SEALED_ID_LEN);
	}
	free(entry);
	buf_clear(&typed);
	buf_wipe(&address);
	buf_wipe(&plain);
	return e == ERR_FORMAT || e == ERR_LIMIT ? ERR_NOT_FOUND : e;
}

static enum err
open_keys(struct member_check *m, struct bytes secret)
{
	struct check *k = m->check;
	struct buf value = BUF_INIT(STORAGE_VALUE_MAX);
	struct sealed_slots *slots = NULL;
	struct slot_code code;
	uint8_t key[SEALED_HASH_LEN];
	uint32_t number = 0;
	sealed_slots_key(k->keys[PURPOSE_DIRECTORY_HASH], m->id, key);
	enum err e = k->storage->driver->directory_get(k->storage, key, &value);
	if (e == ERR_OK) {
		e = sealed_slots_unseal(k->keys[PURPOSE_DIRECTORY_SEAL], key, m->id, buf_bytes(&value),
					&slots);
	}
	if (e != ERR_OK && e != ERR_MEMORY) {
		check_damage(k, "the slot list of this member cannot be opened");
		e = ERR_DAMAGED;
	}
	if (e == ERR_OK) {
		const uint8_t *pepper = k->keys[PURPOSE_PEPPER];
		e = slot_code_parse(secret, &code) == ERR_OK
			? sealed_slots_open_code(slots, pepper, &code, &m->keys, &number)
			: sealed_slots_open_main(slots, pepper, secret, &m->keys, &number);
		secret_wipe(&code, sizeof(code));
		if (e == ERR_DAMAGED) {
			check_damage(k, "the key generations of this member do not open");
		}
	}
	if (e == ERR_OK) {
		uint8_t newest[BOX_PUBLIC_LEN];
		m->slots_revision = sealed_slots_revision(slots);
		m->generation = sealed_slots_generation(slots, newest);
		e = sealed_slots_hash(slots, m->slots_hash);
	}
	sealed_slots_destroy(&slots);
	buf_clear(&value);
	return e;
}

/* ---- blobs ---- */

enum err
check_ignore_piece(void *arg, uint32_t index, struct bytes piece)
{
	(void)arg;
	(void)index;
	(void)piece;
	return ERR_OK;
}

static enum err
append_piece(void *arg, uint32_t index, struct bytes piece)
{
	(void)index;
	return buf_append(arg, piece);
}

enum err
check_read_blob(const struct check *k, struct blob_codec *codec, const struct blob_ref *ref, uint32_t first,
		blob_chunk_fn fn, void *arg)
{
	struct storage *s = k->storage;
	struct buf chunk = BUF_INIT(STORAGE_BLOB_CHUNK_MAX);
	struct blob_reader *r = NULL;
	enum err e = blob_reader_create(codec, ref, fn, arg, &r);
	for (uint32_t i = 0; i < ref->chunks && e == ERR_OK; i++) {
		buf_reset(&chunk);
		e = s->driver->blob_get(s, ref->name, first + i, &chunk);
		if (e == ERR_OK) {
			e = blob_reader_feed(r, buf_bytes(&chunk));
		}
	}
	if (e == ERR_OK) {
		e = blob_reader_finish(r);
	}
	blob_reader_destroy(&r);
	buf_wipe(&chunk);
	return e;
}

static enum err
check_blob(struct member_check *m, const struct blob_ref *ref, uint64_t n)
{
	enum err e = check_read_blob(m->check, m->codec, ref, 0, check_ignore_piece, NULL);
	m->blobs++;
	if (e == ERR_NOT_FOUND) {
		check_damage(m->check, "the message of record %llu is not there", (unsigned long long)n);
	} else if (e != ERR_OK && e != ERR_MEMORY && e != ERR_IO) {
		check_damage(m->check, "the message of record %llu does not verify: %s",
			     (unsigned long long)n, err_text(e));
	}
	return e == ERR_MEMORY || e == ERR_IO ? e : ERR_OK;
}

/* ---- records ---- */

static enum err
keep_record(void *arg, const struct storage_record *record)
{
	struct member_check *m = arg;
	buf_reset(&m->body);
	m->place.kind = record->kind;
	m->place.n = record->n;
	memcpy(m->place.before, record->before, SEALED_HASH_LEN);
	return buf_append(&m->body, record->body);
}

/* Into m->body and m->place. */
static enum err
read_record(struct member_check *m, uint64_t n)
{
	struct storage *s = m->check->storage;
	return s->driver->log_read_one(s, m->id, n, keep_record, m);
}

static bool
is_passing(enum err e)
{
	return e == ERR_MEMORY || e == ERR_IO;
}

/* What a record behind n carries of it (fold/operation.h), as a session looks for it; m->body and m->place are lost. */
static bool
carried_behind(struct member_check *m, uint64_t n, uint64_t *ret_by, struct buf *ret_skeleton)
{
	bool opened = false;
	bool found = false;
	for (uint64_t by = n + 1; by <= m->head.n && !opened; by++) {
		struct buf plain = BUF_INIT(SEALED_RECORD_MAX);
		struct operations_carried c;
		opened = read_record(m, by) == ERR_OK && m->place.kind == RECORD_SESSION &&
			 record_open(&m->keys, &m->place, buf_bytes(&m->body), &plain) == ERR_OK;
		if (opened && operations_carried(buf_bytes(&plain), &c) == ERR_OK && c.previous == n &&
		    c.skeleton.len > 0 && buf_append(ret_skeleton, c.skeleton) == ERR_OK) {
			*ret_by = by;
			found = true;
		}
		buf_wipe(&plain);
	}
	return found;
}

/* Record n cannot be had: as a session does, what the next one carries of it is folded in its place. what: how it is damaged. */
static enum err
stand_in(struct member_check *m, uint64_t n, const char *what)
{
	struct buf skeleton = BUF_INIT(OPERATION_CARRIED_MAX);
	uint64_t by = 0;
	enum err e = ERR_OK;
	if (n <= m->folded) {
		check_damage(
		    m->check,
		    "record %llu %s. The snapshot of record %llu stands for it; only messages that came "
		    "with it are lost",
		    (unsigned long long)n, what, (unsigned long long)m->folded);
	} else if (carried_behind(m, n, &by, &skeleton)) {
		check_damage(
		    m->check,
		    "record %llu %s. Record %llu carries what it did; only messages that came with it are "
		    "lost",
		    (unsigned long long)n, what, (unsigned long long)by);
		e = fold_apply_session(m->fold, n, buf_bytes(&skeleton));
	} else {
		check_damage(
		    m->check,
		    "record %llu %s, and nothing says what it did: a change of hers is lost. Her session "
		    "goes on without it, and tells her",
		    (unsigned long long)n, what);
		e = fold_apply_damaged(m->fold, n);
	}
	buf_wipe(&skeleton);
	return e;
}

/* The record at hand does not open. */
static enum err
tell_record(struct member_check *m, enum err e)
{
	char what[128];
	uint64_t n = m->place.n;
	if (e == ERR_NOT_FOUND) {
		check_damage(
		    m->check,
		    "record %llu is of a key generation that her slot list does not have: the list is older "
		    "than her log (rolled back), or the record is damaged",
		    (unsigned long long)n);
		return n > m->folded ? fold_apply_damaged(m->fold, n) : ERR_OK;
	}
	(void)snprintf(what, sizeof(what), "does not open: %s", err_text(e));
	return stand_in(m, n, what);
}

/* A record opened, and folded where `fold` says so. */
static enum err
check_record(struct member_check *m, bool fold)
{
	struct check *k = m->check;
	unsigned long long n = m->place.n;
	struct buf plain = BUF_INIT(SEALED_RECORD_MAX);
	enum err e = ERR_OK;
	m->records++;
	if (m->place.kind == RECORD_ARRIVAL) {
		struct arrival a;
		e = arrival_open(m->id, &m->keys, buf_bytes(&m->body), &plain, &a);
		if (e != ERR_OK && !is_passing(e)) {
			check_damage(k, "record %llu: an arrival that does not open: %s", n, err_text(e));
			e = ERR_OK;
		}
		if (e == ERR_OK && fold) {
			e = fold_apply_arrival(m->fold, m->place.n);
		}
	} else {
		e = record_open(&m->keys, &m->place, buf_bytes(&m->body), &plain);
		if (e != ERR_OK && !is_passing(e)) {
			e = tell_record(m, e);
		} else if (e == ERR_OK && fold) {
			e = fold_apply_session(m->fold, m->place.n, buf_bytes(&plain));
			if (e == ERR_UNSUPPORTED) {
				check_damage(
				    k, "record %llu was written by a newer program. Remedy: use that one", n);
				e = ERR_DAMAGED;
			}
		}
	}
	buf_wipe(&plain);
	return e;
}

/* One snapshot, into m->fold. */
static enum err
open_snapshot(struct member_check *m, uint64_t n, const uint8_t blob[BLOB_NAME_LEN])
{
	struct storage *s = m->check->storage;
	struct buf chunk = BUF_INIT(STORAGE_BLOB_CHUNK_MAX);
	struct buf body = BUF_INIT(SNAPSHOT_BODY_MAX);
	struct snapshot_header header;
	enum err e = s->driver->blob_get(s, blob, 0, &chunk);
	if (e == ERR_OK) {
		e = snapshot_open_header(m->id, &m->keys, n, blob, buf_bytes(&chunk), &header);
	}
	if (e == ERR_OK) {
		e = check_read_blob(m->check, m->codec, &header.body, 1, append_piece, &body);
	}
	if (e == ERR_OK) {
		e = fold_snapshot_read(buf_bytes(&body), &m->fold);
	}
	if (e == ERR_OK && fold_n(m->fold) != n) {
		fold_destroy(&m->fold);
		e = ERR_DAMAGED;
	}
	buf_wipe(&chunk);
	buf_wipe(&body);
	return e;
}

/* As a session does: the newest that opens, or from the first record on; each is looked at. */
static enum err
load_snapshot(struct member_check *m, uint64_t *ret_n)
{
	struct storage *s = m->check->storage;
	struct fold *newest = NULL;
	uint8_t blob[BLOB_NAME_LEN];
	uint64_t n = 0;
	uint64_t good = 0;
	uint64_t found = 0;
	enum err e = s->driver->snapshot_get(s, m->id, 0, &n, blob);
	while (e == ERR_OK) {
		found++;
		e = open_snapshot(m, n, blob);
		if (e == ERR_OK && newest == NULL) {
			newest = m->fold;
			m->fold = NULL;
			good = n;
		} else if (e == ERR_OK) {
			fold_destroy(&m->fold);
		} else if (!is_passing(e)) {
			check_damage(
			    m->check,
			    "the snapshot of record %llu does not open: %s. %s; a new one is made when "
			    "she has changed something and left",
			    (unsigned long long)n, err_text(e),
			    newest != NULL ? "The newer one is sound"
					   : "An older one stands for it, or all of her log");
			e = ERR_OK;
		}
		e = e == ERR_OK && n > 0 ? s->driver->snapshot_get(s, m->id, n, &n, blob) : e;
	}
	e = e == ERR_NOT_FOUND ? ERR_OK : e;
	if (e == ERR_OK) {
		check_count(m->check, "snapshots of this member", found);
	}
	if (e == ERR_OK && newest == NULL) {
		e = fold_create(&newest);
	}
	m->fold = newest;
	*ret_n = good;
	return e;
}

static enum err
first_found(void *arg, const struct storage_record *record)
{
	*(uint64_t *)arg = record->n;
	return ERR_EXISTS;
}

/*
 * What the head says is believed as far as records stand, and a few more; and a record that stands far from the others is
 * of another number. So a wrong number ends the walk.
 */
static enum err
find_end(struct member_check *m)
{
	struct storage *s = m->check->storage;
	uint64_t last = m->folded;
	enum err e = ERR_EXISTS;
	while (e == ERR_EXISTS) {
		uint64_t next = 0;
		e = s->driver->log_read(s, m->id, last + 1, first_found, &next);
		if (e == ERR_EXISTS && next - last > GAP_MAX) {
			check_damage(m->check, "behind record %llu comes record %llu: that number is wrong",
				     (unsigned long long)last, (unsigned long long)next);
			e = ERR_OK;
		} else if (e == ERR_EXISTS) {
			last = next;
		}
	}
	if (e == ERR_OK && m->head.n > last && m->head.n - last > GAP_MAX) {
		check_damage(m->check,
			     "the head of her log says %llu records, and record %llu is the last that stands",
			     (unsigned long long)m->head.n, (unsigned long long)last);
		m->head.n = last;
	}
	return e;
}

static enum err
check_log(struct member_check *m)
{
	struct storage *s = m->check->storage;
	uint64_t folded = 0;
	enum err e = s->driver->log_head(s, m->id, &m->head);
	if (e == ERR_OK && m->head.derived) {
		check_damage(m->check,
			     "the head of her log is wrong, or gone: it is made anew of her records when "
			     "the next one comes");
	}
	if (e == ERR_OK) {
		e = load_snapshot(m, &folded);
		m->folded = folded;
	}
	e = e == ERR_OK ? find_end(m) : e;
	for (uint64_t n = 1; n <= m->head.n && e == ERR_OK; n++) {
		e = read_record(m, n);
		if (e == ERR_OK) {
			e = check_record(m, n > folded);
		} else if (e == ERR_NOT_FOUND && n <= folded) {
			e = ERR_OK; /* swept: the snapshot stands for it */
		} else if (e == ERR_NOT_FOUND) {
			e = stand_in(m, n, "is not there");
		}
	}
	return e;
}

/* ---- messages ---- */

static int
by_place(const void *a, const void *b)
{
	const struct card_place *x = a;
	const struct card_place *y = b;
	return x->record != y->record ? (x->record < y->record ? -1 : 1) : (int)x->op - (int)y->op;
}

static enum err
collect_cards(struct member_check *m)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < fold_mailbox_count(m->fold); i++) {
		const struct fold_mailbox *box = fold_mailbox_at(m->fold, i);
		for (uint32_t j = 0; j < box->count && e == ERR_OK; j++) {
			struct card_place p;
			memset(&p, 0, sizeof(p));
			p.record = box->messages[j].record;
			p.op = box->messages[j].op;
			e = buf_append(&m->cards, bytes_of(&p, sizeof(p)));
		}
	}
	if (e == ERR_OK && m->cards.len > 0) {
		qsort(m->cards.ptr, m->cards.len / sizeof(struct card_place), sizeof(struct card_place),
		      by_place);
	}
	return e;
}

static enum err
check_card(struct member_check *m, const struct card_place *p)
{
	struct buf plain = BUF_INIT(SEALED_RECORD_MAX);
	struct bytes bytes = BYTES_EMPTY;
	struct card card;
	enum err e = read_record(m, p->record);
	if (e == ERR_OK) {
		e = record_open(&m->keys, &m->place, buf_bytes(&m->body), &plain);
	}
	if (e == ERR_OK) {
		e = operations_card(buf_bytes(&plain), p->op, &bytes);
	}
	if (e == ERR_OK) {
		e = card_decode(bytes, &card);
	}
	if (e == ERR_OK) {
		e = check_blob(m, &card.blob, p->record);
	} else if (!is_passing(e)) {
		check_damage(m->check, "the card of a message in record %llu cannot be read: %s",
			     (unsigned long long)p->record, err_text(e));
		e = ERR_OK;
	}
	buf_wipe(&plain);
	return e;
}

static enum err
check_messages(struct member_check *m)
{
	struct card_place last = {.record = 0};
	enum err e = collect_cards(m);
	for (size_t at = 0; at < m->cards.len && e == ERR_OK; at += sizeof(last)) {
		struct card_place p;
		memcpy(&p, m->cards.ptr + at, sizeof(p));
		if (p.record != last.record || p.op != last.op) {
			e = check_card(m, &p);
		}
		last = p;
	}
	for (size_t i = 0; i < fold_pending_count(m->fold) && e == ERR_OK; i++) {
		struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX * 2);
		struct arrival a;
		e = read_record(m, fold_pending_at(m->fold, i));
		if (e == ERR_OK) {
			e = arrival_open(m->id, &m->keys, buf_bytes(&m->body), &plain, &a);
		}
		if (e == ERR_OK) {
			e = check_blob(m, &a.blob, m->place.n);
		} else if (!is_passing(e)) {
			/* Said when the log was read. */
			e = ERR_OK;
		}
		buf_wipe(&plain);
	}
	return e;
}

enum err
check_member(struct check *k, const char *name, struct bytes secret)
{
	struct member_check m = {
	    .check = k, .body = BUF_INIT(STORAGE_RECORD_MAX), .cards = BUF_INIT(CARDS_MAX)};
	member_keys_init(&m.keys);
	enum err e = find_account(k, name, m.id);
	if (e == ERR_NOT_FOUND) {
		(void)cli_fail("there is no member '%s'. Remedy: `cohue member list`, while the service runs",
			       name);
		return e;
	}
	memcpy(m.place.account, m.id, SEALED_ID_LEN);
	e = e == ERR_OK ? open_keys(&m, secret) : e;
	if (e == ERR_AUTH) {
		(void)cli_fail("this is neither her password nor an application password nor her recovery "
			       "code. Remedy: try "
			       "again");
	}
	if (e == ERR_OK) {
		e = blob_codec_create(&m.codec);
	}
	if (e == ERR_OK) {
		e = check_log(&m);
	}
	if (e == ERR_OK && !fold_slots_may_follow(m.fold, m.slots_hash, m.slots_revision, m.generation)) {
		check_damage(
		    k,
		    "her slot list (revision %u, generation %u) is older than her log knows (revision %u, "
		    "generation %u), or another one: rolled back",
		    (unsigned)m.slots_revision, (unsigned)m.generation, (unsigned)fold_slots_revision(m.fold),
		    (unsigned)fold_generation(m.fold));
	}
	if (e == ERR_OK) {
		e = check_messages(&m);
	}
	if (e == ERR_OK) {
		check_count(k, "records of this member", m.records);
		check_count(k, "messages of this member", fold_messages(m.fold));
		check_count(k, "arrivals not yet filed", fold_pending_count(m.fold));
		check_count(k, "blobs read to their end", m.blobs);
		if (fold_damaged(m.fold) > 0) {
			check_count(k, "records ever found damaged", fold_damaged(m.fold));
		}
	}
	fold_destroy(&m.fold);
	blob_codec_destroy(&m.codec);
	member_keys_clear(&m.keys);
	buf_wipe(&m.body);
	buf_wipe(&m.cards);
	return e;
}
