/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Random logs against a model written another way: plain lists, everything recounted, nothing kept sorted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "fold/snapshot.h"
#include "fold/state.h"

enum {
	BOXES = 64,
	MESSAGES = 4000,
	RECORDS = 400,
	NAMES = 10,
	KEYWORDS = 6,
	OPS = 6,
	GRAVES = 8000,
	LOGS = 40,
	ENTRIES = 4,
	NAME_ROOM = 64
};

static const char *const entries[ENTRIES] = {"/private/comment", "/private/vendor/x/a", "/shared/comment",
					     "/shared/vendor/y"};

static const char *const pool[NAMES] = {"INBOX", "inbox",    "A", "A/b", "A/b/c",
					"Sent",  "\xc3\xbc", "B", "C",   "Trash"};
static const char *const words[KEYWORDS] = {"$Junk", "$NotJunk", "alpha", "Beta", "gamma", "z"};

static uint64_t random_state;

static uint32_t
below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % n;
}

struct m_message {
	uint32_t box, uid, words; /* words: bits */
	uint64_t modseq, record, size;
	int64_t date;
	uint32_t saved;
	uint16_t op;
	uint8_t flags;
};

struct m_box {
	bool there;
	char name[NAME_ROOM];
	uint32_t uidvalidity, uidnext, use;
	uint64_t changed;
};

struct m_grave {
	uint32_t box, uid;
	uint64_t n;
};

struct model {
	uint64_t n, ignored, swept;
	uint32_t validity, generation, revision;
	uint8_t slots;
	uint32_t epoch;
	uint32_t next_box; /* slots in boxes; ids jump where a log was put back */
	uint32_t next_id;
	uint32_t ids[BOXES];
	struct m_box boxes[BOXES];
	struct m_message messages[MESSAGES]; /* in order of filing */
	size_t message_count;
	struct m_grave graves[GRAVES];
	size_t grave_count;
	bool subscribed[NAMES];
	bool pending[RECORDS + 1];
	uint64_t dead_since[RECORDS + 1];
	bool gone[RECORDS + 1];
	bool seen[256]; /* delivery ids are one byte in the model */
	uint32_t sent_box[256], sent_uid[256];
	uint32_t settings[4];
	uint8_t renamed[256]; /* the token, 0: none */
	/* By slot of the mailbox (0: the account) and entry: 1 + the length of the value; 0: none. */
	uint32_t notes[BOXES][ENTRIES];
};

static struct model model;

static const char *
plain(const char *name)
{
	return strcasecmp(name, "INBOX") == 0 ? "INBOX" : name;
}

/* The slot of an id that was given; 0 for others. */
static uint32_t
slot_of(uint32_t id)
{
	for (uint32_t i = 1; i < model.next_box; i++) {
		if (model.ids[i] == id) {
			return i;
		}
	}
	return 0;
}

static struct m_box *
box_of(uint32_t id)
{
	uint32_t slot = slot_of(id);
	return slot > 0 && model.boxes[slot].there ? &model.boxes[slot] : NULL;
}

static struct m_box *
box_named(const char *name)
{
	for (uint32_t i = 1; i < model.next_box; i++) {
		if (model.boxes[i].there && strcmp(model.boxes[i].name, plain(name)) == 0) {
			return &model.boxes[i];
		}
	}
	return NULL;
}

static uint32_t
id_of(const struct m_box *b)
{
	return model.ids[b - model.boxes];
}

static size_t
card_users(uint64_t record, uint16_t op)
{
	size_t users = 0;
	for (size_t i = 0; i < model.message_count; i++) {
		users += model.messages[i].record == record && model.messages[i].op == op;
	}
	return users;
}

static bool
in_set(struct uid_set s, uint32_t uid)
{
	for (size_t i = 0; i < s.count; i++) {
		if (uid >= s.ranges[i].first && uid <= s.ranges[i].last) {
			return true;
		}
	}
	return false;
}

static uint32_t
word_bits(struct keyword_list l)
{
	uint32_t bits = 0;
	for (size_t i = 0; i < l.count; i++) {
		for (uint32_t k = 0; k < KEYWORDS; k++) {
			if (bytes_is_nocase(l.names[i], words[k])) {
				bits |= 1U << k;
			}
		}
	}
	return bits;
}

static void
m_add(struct m_box *b, struct m_message x)
{
	assert_true(model.message_count < MESSAGES);
	x.box = id_of(b);
	x.uid = b->uidnext++;
	x.modseq = model.n;
	b->changed = model.n;
	model.messages[model.message_count++] = x;
}

static void
m_remove(size_t i, bool bury)
{
	struct m_message x = model.messages[i];
	model.message_count--;
	for (size_t k = i; k < model.message_count; k++) {
		model.messages[k] = model.messages[k + 1];
	}
	if (bury) {
		assert_true(model.grave_count < GRAVES);
		model.graves[model.grave_count++] =
		    (struct m_grave){.box = x.box, .uid = x.uid, .n = model.n};
		model.boxes[slot_of(x.box)].changed = model.n;
	}
	model.dead_since[x.record] = model.n;
}

static struct m_box *
m_create(const char *name, uint32_t validity)
{
	if (box_named(name) != NULL) {
		return NULL;
	}
	assert_true(model.next_box < BOXES);
	struct m_box *b = &model.boxes[model.next_box];
	model.ids[model.next_box++] = model.next_id++;
	model.validity = validity > model.validity ? validity : model.validity + 1;
	*b = (struct m_box){.there = true, .uidvalidity = model.validity, .uidnext = 1, .changed = model.n};
	memcpy(b->name, plain(name), strlen(plain(name)) + 1);
	return b;
}

static void
m_text(struct bytes name, char out[NAME_ROOM])
{
	assert_true(name.len < NAME_ROOM);
	memset(out, 0, NAME_ROOM);
	memcpy(out, name.ptr, name.len);
}

static void
m_subscribe(const char *name, bool on)
{
	for (size_t i = 0; i < NAMES; i++) {
		if (strcmp(pool[i], plain(name)) == 0) {
			model.subscribed[i] = on;
		}
	}
}

static void
m_copy(struct m_box *from, struct m_box *to, uint32_t saved, struct uid_set uids, bool move)
{
	const size_t end = model.message_count;
	struct m_message copies[MESSAGES / 4];
	size_t count = 0;
	for (size_t i = 0; i < end; i++) {
		if (model.messages[i].box == id_of(from) && in_set(uids, model.messages[i].uid)) {
			copies[count++] = model.messages[i];
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (move) {
			for (size_t k = 0; k < model.message_count; k++) {
				if (model.messages[k].box == copies[i].box &&
				    model.messages[k].uid == copies[i].uid) {
					m_remove(k, true);
					break;
				}
			}
		}
	}
	for (size_t i = 0; i < count; i++) {
		copies[i].saved = saved;
		m_add(to, copies[i]);
	}
}

/* How much of a mailbox's name is below `top`; -1: it is another. */
static ptrdiff_t
below_of(const char *name, const char *top)
{
	size_t n = strlen(top);
	return strncmp(name, top, n) == 0 && (name[n] == '\0' || name[n] == '/') ? (ptrdiff_t)strlen(name + n)
										 : -1;
}

/* False where one of them cannot have its new name. */
static bool
m_rename_tree(const char *from, const char *to)
{
	size_t moved = 0;
	if (strcasecmp(from, "INBOX") == 0 || below_of(to, from) >= 0) {
		return false;
	}
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 1; i < model.next_box; i++) {
			struct m_box *b = &model.boxes[i];
			ptrdiff_t rest = b->there ? below_of(b->name, from) : -1;
			if (rest < 0) {
				continue;
			}
			char name[2 * NAME_ROOM];
			int n = snprintf(name, sizeof(name), "%s%s", plain(to), b->name + strlen(from));
			assert_true(n > 0 && n < NAME_ROOM);
			moved++;
			if (pass == 0 && box_named(name) != NULL) {
				return false;
			}
			if (pass == 1) {
				memcpy(b->name, name, NAME_ROOM);
			}
		}
	}
	return moved > 0;
}

static struct m_message
m_message_of(const struct operation_message *om, uint16_t op)
{
	return (struct m_message){.record = model.n,
				  .op = op,
				  .size = om->size,
				  .date = om->date,
				  .saved = om->saved,
				  .flags = om->flags,
				  .words = word_bits(om->keywords)};
}

static void
m_renumber(uint32_t uidvalidity)
{
	model.next_id += FOLD_RESTORED_JUMP;
	model.validity = FOLD_RESTORED_JUMP + (uidvalidity > model.validity ? uidvalidity : model.validity);
	for (uint32_t i = 1; i < model.next_box; i++) {
		if (model.boxes[i].there) {
			model.boxes[i].uidvalidity = ++model.validity;
		}
	}
}

static void
m_apply(const struct operation *op, uint16_t index)
{
	char name[NAME_ROOM];
	struct m_box *b = NULL;
	struct m_box *c = NULL;
	switch (op->kind) {
	case OPERATION_MAILBOX_CREATE:
		m_text(op->create.name, name);
		b = m_create(name, op->create.uidvalidity);
		if (b == NULL) {
			break;
		}
		b->use = op->create.special_use;
		if (op->create.subscribed) {
			m_subscribe(name, true);
		}
		return;
	case OPERATION_MAILBOX_DELETE:
		b = box_of(op->remove.mailbox);
		if (b == NULL || strcmp(b->name, "INBOX") == 0) {
			break;
		}
		for (size_t i = model.message_count; i > 0; i--) {
			if (model.messages[i - 1].box == id_of(b)) {
				m_remove(i - 1, false);
			}
		}
		b->there = false;
		memset(model.notes[slot_of(op->remove.mailbox)], 0, sizeof(model.notes[0]));
		return;
	case OPERATION_MAILBOX_RENAME:
		m_text(op->rename.name, name);
		b = box_of(op->rename.mailbox);
		if (b == NULL || strcmp(b->name, "INBOX") == 0 || box_named(name) != NULL) {
			break;
		}
		memcpy(b->name, plain(name), strlen(plain(name)) + 1);
		return;
	case OPERATION_RENAME_INBOX:
		m_text(op->rename_inbox.name, name);
		if (box_named("INBOX") == NULL ||
		    (c = m_create(name, op->rename_inbox.uidvalidity)) == NULL) {
			break;
		}
		m_copy(box_named("INBOX"), c, op->rename_inbox.saved,
		       (struct uid_set){.ranges = &(struct uid_range){1, UINT32_MAX}, .count = 1}, true);
		return;
	case OPERATION_SUBSCRIBE:
		m_text(op->subscribe.name, name);
		m_subscribe(name, op->subscribe.on);
		return;
	case OPERATION_FILED:
		b = box_of(op->filed.message.mailbox);
		if (b == NULL || op->filed.arrival > RECORDS || !model.pending[op->filed.arrival]) {
			break;
		}
		model.pending[op->filed.arrival] = false;
		model.dead_since[op->filed.arrival] = model.n;
		if (!model.seen[op->filed.delivery[0]]) {
			model.seen[op->filed.delivery[0]] = true;
			m_add(b, m_message_of(&op->filed.message, index));
		}
		return;
	case OPERATION_APPEND:
		b = box_of(op->append.message.mailbox);
		if (b == NULL) {
			break;
		}
		if (op->append.has_key) {
			model.sent_box[op->append.key[0]] = id_of(b);
			model.sent_uid[op->append.key[0]] = b->uidnext;
		}
		m_add(b, m_message_of(&op->append.message, index));
		return;
	case OPERATION_FLAGS:
		b = box_of(op->flags.mailbox);
		if (b == NULL) {
			break;
		}
		for (size_t i = 0; i < model.message_count; i++) {
			struct m_message *x = &model.messages[i];
			if (x->box != id_of(b) || !in_set(op->flags.uids, x->uid)) {
				continue;
			}
			uint32_t bits = word_bits(op->flags.keywords);
			uint32_t flags = op->flags.flags;
			if (op->flags.mode == OPERATION_ADD) {
				bits |= x->words;
				flags |= x->flags;
			} else if (op->flags.mode == OPERATION_REMOVE) {
				bits = x->words & ~bits;
				flags = x->flags & ~flags;
			}
			if (bits != x->words || flags != x->flags) {
				x->words = bits;
				x->flags = (uint8_t)flags;
				x->modseq = model.n;
				b->changed = model.n;
			}
		}
		return;
	case OPERATION_COPY:
	case OPERATION_MOVE:
		b = box_of(op->copy.from);
		c = box_of(op->copy.to);
		if (b == NULL || c == NULL) {
			break;
		}
		m_copy(b, c, op->copy.saved, op->copy.uids, op->kind == OPERATION_MOVE);
		return;
	case OPERATION_EXPUNGE:
		b = box_of(op->expunge.mailbox);
		if (b == NULL) {
			break;
		}
		for (size_t i = 0; i < model.message_count;) {
			if (model.messages[i].box == id_of(b) &&
			    in_set(op->expunge.uids, model.messages[i].uid)) {
				m_remove(i, true);
			} else {
				i++;
			}
		}
		return;
	case OPERATION_DROPPED:
		if (op->dropped.arrival > RECORDS || !model.pending[op->dropped.arrival]) {
			break;
		}
		model.pending[op->dropped.arrival] = false;
		model.dead_since[op->dropped.arrival] = model.n;
		if (op->dropped.reason == OPERATION_UNWANTED) {
			model.seen[op->dropped.delivery[0]] = true;
		}
		return;
	case OPERATION_SETTING:
		model.settings[op->setting.name.ptr[0] - 'a'] =
		    op->setting.value.len == 0 ? 0 : op->setting.value.ptr[0];
		return;
	case OPERATION_GENERATION:
		if (op->generation.number < model.generation) {
			break;
		}
		model.generation = op->generation.number;
		return;
	case OPERATION_SWEPT:
		if (op->swept.upto >= model.n || op->swept.upto <= model.swept) {
			break;
		}
		model.swept = op->swept.upto;
		return;
	case OPERATION_OPEN:
		if (op->open.generation < model.generation || op->open.revision < model.revision ||
		    (op->open.revision != 0 && op->open.revision == model.revision &&
		     op->open.slots_hash[0] != model.slots)) {
			break;
		}
		model.generation = op->open.generation;
		model.revision = op->open.revision;
		model.slots = op->open.slots_hash[0];
		return;
	case OPERATION_NOTE:
		return;
	case OPERATION_RENAMED:
		/* The first one stands. */
		if (model.renamed[op->renamed.key[0]] == 0) {
			model.renamed[op->renamed.key[0]] = op->renamed.token[0];
		}
		return;
	case OPERATION_ANNOTATE:
		if (op->annotate.mailbox != 0 && box_of(op->annotate.mailbox) == NULL) {
			break;
		}
		for (unsigned i = 0; i < ENTRIES; i++) {
			if (bytes_is(op->annotate.entry, entries[i])) {
				model.notes[slot_of(op->annotate.mailbox)][i] =
				    op->annotate.on ? 1 + (uint32_t)op->annotate.value.len : 0;
			}
		}
		return;
	case OPERATION_USE:
		b = box_of(op->use.mailbox);
		if (b == NULL) {
			break;
		}
		b->use = op->use.special_use;
		return;
	case OPERATION_RENAME_TREE: {
		char to[NAME_ROOM];
		m_text(op->rename_tree.from, name);
		m_text(op->rename_tree.to, to);
		if (!m_rename_tree(name, to)) {
			break;
		}
		return;
	}
	case OPERATION_RESTORED:
		if (op->restored.epoch <= model.epoch) {
			break;
		}
		model.epoch = op->restored.epoch;
		m_renumber(op->restored.uidvalidity);
		return;
	case OPERATION_LOST:
		if (op->lost.n >= model.n) {
			break;
		}
		m_renumber(0);
		return;
	case OPERATION__END:
	default:
		fail();
	}
	model.ignored++;
}

static bool
needed(uint64_t r)
{
	bool live = model.pending[r];
	for (size_t i = 0; i < model.message_count && !live; i++) {
		live = model.messages[i].record == r;
	}
	return live;
}

/* What SWEPT makes forgotten: checked against the state after its record. */
static void
m_sweep(void)
{
	for (uint64_t r = 1; r <= model.n; r++) {
		uint64_t since = model.dead_since[r] == 0 ? r : model.dead_since[r];
		if (since <= model.swept && !needed(r)) {
			model.gone[r] = true;
		}
	}
}

/* ---- Random operations ---- */

struct scratch {
	struct uid_range ranges[4];
	struct bytes names[4];
};

static struct uid_set
some_uids(struct scratch *s)
{
	uint32_t at = below(8);
	size_t count = below(4);
	for (size_t i = 0; i < count; i++) {
		uint32_t first = at + 1 + below(5);
		at = first + below(4);
		if (below(30) == 0) {
			at = UINT32_MAX;
		}
		s->ranges[i] = (struct uid_range){.first = first, .last = at};
		if (at == UINT32_MAX) {
			count = i + 1;
		}
	}
	return (struct uid_set){.ranges = s->ranges, .count = count};
}

static struct keyword_list
some_words(struct scratch *s)
{
	size_t count = below(3) == 0 ? below(4) : 0;
	for (size_t i = 0; i < count; i++) {
		s->names[i] = bytes_str(words[below(KEYWORDS)]);
	}
	return (struct keyword_list){.names = s->names, .count = count};
}

/* One that was given, the next one, or none. */
static uint32_t
some_box(void)
{
	uint32_t slot = below(model.next_box + 1);
	return slot == model.next_box ? model.next_id : model.ids[slot];
}

static struct operation_message
some_message(struct scratch *s)
{
	return (struct operation_message){.mailbox = some_box(),
					  .flags = (uint8_t)below(32),
					  .keywords = some_words(s),
					  .date = (int64_t)below(2000000000) - 1000000,
					  .zone = (int16_t)((int)below(2879) - 1439),
					  .size = below(100000),
					  .saved = below(4) == 0 ? 0 : below(2000000000) * 2,
					  .card = BYTES_LIT("card")};
}

static struct operation
some_operation(struct scratch *s)
{
	static const enum operation_kind often[] = {
	    OPERATION_FILED, OPERATION_FILED, OPERATION_APPEND, OPERATION_APPEND, OPERATION_APPEND,
	    OPERATION_FLAGS, OPERATION_FLAGS, OPERATION_COPY,   OPERATION_MOVE,   OPERATION_EXPUNGE};
	struct operation op = {.kind = below(4) == 0 ? (enum operation_kind)(1 + below(OPERATION__END - 1))
						     : often[below(10)]};
	const struct bytes name = bytes_str(pool[below(NAMES)]);
	switch (op.kind) {
	case OPERATION_MAILBOX_CREATE:
		op.create.name = name;
		op.create.uidvalidity = 1 + below(20);
		op.create.special_use = below(4);
		op.create.subscribed = below(2) == 0;
		if (model.next_box > BOXES - 10) {
			op.kind = OPERATION_NOTE;
			op.note.data = BYTES_EMPTY;
		}
		break;
	case OPERATION_MAILBOX_DELETE:
		op.remove.mailbox = below(3) == 0 ? some_box() : 0;
		break;
	case OPERATION_MAILBOX_RENAME:
		op.rename.mailbox = some_box();
		op.rename.name = name;
		break;
	case OPERATION_RENAME_INBOX:
		op.rename_inbox.name = name;
		op.rename_inbox.uidvalidity = 1 + below(20);
		op.rename_inbox.saved = below(2000000000);
		if (model.next_box > BOXES - 10) {
			op.rename_inbox.name = BYTES_LIT("INBOX");
		}
		break;
	case OPERATION_SUBSCRIBE:
		op.subscribe.name = name;
		op.subscribe.on = below(2) == 0;
		break;
	case OPERATION_FILED:
		op.filed.arrival = 1 + below((uint32_t)model.n + 1);
		for (uint32_t i = 1; i <= model.n && below(8) != 0; i++) {
			if (model.pending[i]) {
				op.filed.arrival = i;
				break;
			}
		}
		op.filed.delivery[0] = (uint8_t)below(256);
		op.filed.message = some_message(s);
		break;
	case OPERATION_APPEND:
		op.append.has_key = below(4) == 0;
		op.append.key[0] = (uint8_t)below(256);
		op.append.message = some_message(s);
		break;
	case OPERATION_FLAGS:
		op.flags.mailbox = some_box();
		op.flags.uids = some_uids(s);
		op.flags.mode = (enum operation_mode)(1 + below(3));
		op.flags.flags = (uint8_t)below(32);
		op.flags.keywords = some_words(s);
		break;
	case OPERATION_COPY:
	case OPERATION_MOVE:
		op.copy.from = some_box();
		op.copy.to = some_box();
		op.copy.saved = below(2000000000);
		op.copy.uids = some_uids(s);
		if (model.message_count > MESSAGES / 8) {
			op.kind = OPERATION_MOVE;
		}
		break;
	case OPERATION_EXPUNGE:
		op.expunge.mailbox = some_box();
		op.expunge.uids = some_uids(s);
		break;
	case OPERATION_DROPPED:
		op.dropped.arrival = 1 + below((uint32_t)model.n + 1);
		op.dropped.delivery[0] = (uint8_t)below(256);
		op.dropped.reason = (enum operation_reason)(1 + below(3));
		break;
	case OPERATION_SETTING: {
		static const char *const settings[] = {"a", "b", "c", "d"};
		op.setting.name = bytes_str(settings[below(4)]);
		op.setting.value = below(3) == 0 ? BYTES_EMPTY : name;
		break;
	}
	case OPERATION_GENERATION:
		op.generation.number = model.generation - (model.generation > 0 ? below(2) : 0) + below(3);
		break;
	case OPERATION_SWEPT:
		op.swept.upto = below((uint32_t)model.n + 2);
		break;
	case OPERATION_OPEN:
		op.open.generation = model.generation - (model.generation > 0 ? below(2) : 0) + below(3);
		op.open.revision = model.revision - (model.revision > 0 ? below(2) : 0) + below(3);
		op.open.slots_hash[0] = (uint8_t)below(3);
		break;
	case OPERATION_RENAMED:
		op.renamed.key[0] = (uint8_t)below(256);
		op.renamed.token[0] = (uint8_t)(1 + below(255));
		op.renamed.original = name;
		break;
	case OPERATION_ANNOTATE:
		op.annotate.mailbox = below(4) == 0 ? 0 : some_box();
		op.annotate.entry = bytes_str(entries[below(ENTRIES)]);
		op.annotate.on = below(4) != 0;
		op.annotate.value = op.annotate.on && below(4) != 0 ? name : BYTES_EMPTY;
		break;
	case OPERATION_USE:
		op.use.mailbox = some_box();
		op.use.special_use = below(8);
		break;
	case OPERATION_RENAME_TREE:
		op.rename_tree.from = name;
		op.rename_tree.to = bytes_str(pool[below(NAMES)]);
		for (uint32_t i = 1; i < model.next_box; i++) {
			if (strlen(model.boxes[i].name) > NAME_ROOM / 2) {
				op.rename_tree.from = BYTES_LIT("nothing");
			}
		}
		break;
	case OPERATION_RESTORED:
		op.restored.epoch = 1 + model.epoch - (model.epoch > 0 ? below(2) : 0);
		op.restored.uidvalidity = 1 + below(20);
		break;
	case OPERATION_LOST:
		op.lost.n = 1 + below((uint32_t)model.n + 1);
		break;
	case OPERATION_NOTE:
	case OPERATION__END:
	default:
		break;
	}
	return op;
}

/* ---- Comparing ---- */

static void
compare_box(const struct fold *f, const struct m_box *b)
{
	const struct fold_mailbox *m = fold_mailbox_by_id(f, id_of(b));
	assert_non_null(m);
	assert_ptr_equal(m, fold_mailbox_by_name(f, bytes_str(b->name)));
	assert_true(bytes_is(m->name, b->name));
	assert_int_equal(m->uidvalidity, b->uidvalidity);
	assert_int_equal(m->uidnext, b->uidnext);
	assert_int_equal(m->special_use, b->use);
	assert_int_equal(m->highest_modseq, b->changed);
	uint32_t count = 0, unseen = 0, deleted = 0;
	uint64_t size = 0;
	for (size_t i = 0; i < model.message_count; i++) {
		const struct m_message *x = &model.messages[i];
		if (x->box != id_of(b)) {
			continue;
		}
		assert_true(count < m->count);
		const struct fold_message *y = &m->messages[count];
		assert_ptr_equal(y, fold_message_by_uid(m, x->uid));
		assert_int_equal(y->uid, x->uid);
		assert_int_equal(y->modseq, x->modseq);
		assert_int_equal(y->record, x->record);
		assert_int_equal(y->op, x->op);
		assert_int_equal(y->flags, x->flags);
		assert_int_equal(y->size, x->size);
		assert_int_equal(y->date, x->date);
		assert_int_equal(y->saved, x->saved);
		assert_int_equal(fold_card_refs(f, y), card_users(x->record, x->op));
		size_t word_count = 0;
		for (uint32_t k = 0; k < KEYWORDS; k++) {
			bool has = (x->words & 1U << k) != 0;
			assert_int_equal(fold_keyset_has(f, y->keyset, bytes_str(words[k])), has);
			word_count += has;
		}
		assert_int_equal(fold_keyset_count(f, y->keyset), word_count);
		count++;
		unseen += (x->flags & FOLD_SEEN) == 0;
		deleted += (x->flags & FOLD_DELETED) != 0;
		size += x->size;
	}
	assert_int_equal(m->count, count);
	assert_int_equal(m->unseen, unseen);
	assert_int_equal(m->deleted, deleted);
	assert_int_equal(m->bytes, size);

	uint64_t since = below((uint32_t)model.n + 1);
	size_t at = 0;
	assert_true(fold_tombstones_since(m, since, &at));
	size_t graves = 0, expected = 0;
	for (size_t i = at; i < m->tombstone_count; i++) {
		graves += m->tombstones[i].last - m->tombstones[i].first + 1;
	}
	for (size_t i = 0; i < model.grave_count; i++) {
		const struct m_grave *g = &model.graves[i];
		if (g->box != id_of(b) || g->n <= since) {
			continue;
		}
		expected++;
		bool found = false;
		for (size_t k = at; k < m->tombstone_count; k++) {
			found =
			    found || (m->tombstones[k].modseq == g->n && m->tombstones[k].first <= g->uid &&
				      g->uid <= m->tombstones[k].last);
		}
		assert_true(found);
	}
	assert_int_equal(graves, expected);
}

static void
compare_deletable(const struct fold *f)
{
	struct buf b = BUF_INIT(1 << 20);
	assert_int_equal(fold_deletable(f, &b), ERR_OK);
	bool given[RECORDS + 2] = {false};
	uint64_t last = 0;
	for (size_t i = 0; i < b.len / sizeof(struct record_range); i++) {
		struct record_range r;
		memcpy(&r, b.ptr + i * sizeof(r), sizeof(r));
		assert_true(r.first > last && r.first <= r.last && r.last <= model.n);
		last = r.last;
		for (uint64_t n = r.first; n <= r.last; n++) {
			given[n] = true;
		}
	}
	buf_clear(&b);
	for (uint64_t n = 1; n <= model.n; n++) {
		assert_int_equal(given[n], !needed(n) && !model.gone[n]);
	}
}

static void
compare_notes(const struct fold *f)
{
	size_t count = 0;
	for (uint32_t slot = 0; slot < model.next_box; slot++) {
		size_t each = 0;
		size_t told = 0;
		for (unsigned i = 0; i < ENTRIES; i++) {
			const struct fold_annotation *x =
			    fold_annotation(f, model.ids[slot], bytes_str(entries[i]));
			assert_int_equal(x == NULL ? 0 : 1 + x->value.len, model.notes[slot][i]);
			each += x != NULL;
		}
		size_t first = fold_annotation_first(f, model.ids[slot], &told);
		assert_int_equal(told, each);
		assert_true(each == 0 || fold_annotation_at(f, first)->mailbox == model.ids[slot]);
		count += each;
	}
	assert_int_equal(fold_annotation_count(f), count);
}

static void
compare(const struct fold *f)
{
	assert_int_equal(fold_n(f), model.n);
	assert_int_equal(fold_ignored(f), model.ignored);
	assert_int_equal(fold_damaged(f), 0);
	assert_int_equal(fold_messages(f), model.message_count);
	assert_int_equal(fold_generation(f), model.generation);
	assert_int_equal(fold_slots_revision(f), model.revision);
	assert_int_equal(fold_next_mailbox(f), model.next_id);
	assert_int_equal(fold_epoch(f), model.epoch);
	compare_notes(f);
	size_t boxes = 0;
	for (uint32_t i = 1; i < model.next_box; i++) {
		if (model.boxes[i].there) {
			boxes++;
			compare_box(f, &model.boxes[i]);
		} else {
			assert_null(fold_mailbox_by_id(f, model.ids[i]));
		}
	}
	assert_int_equal(fold_mailbox_count(f), boxes);
	for (size_t i = 1; i < boxes; i++) {
		assert_true(bytes_compare(fold_mailbox_at(f, i - 1)->name, fold_mailbox_at(f, i)->name) < 0);
	}
	for (size_t i = 0; i < NAMES; i++) {
		if (i != 1) {
			assert_int_equal(fold_subscribed(f, bytes_str(pool[i])), model.subscribed[i]);
		}
	}
	size_t waiting = 0;
	for (uint64_t n = 1; n <= model.n; n++) {
		if (model.pending[n]) {
			assert_int_equal(fold_pending_at(f, waiting), n);
			waiting++;
		}
	}
	assert_int_equal(fold_pending_count(f), waiting);
	uint32_t used = 0;
	for (size_t i = 0; i < model.message_count; i++) {
		used |= model.messages[i].words;
	}
	assert_int_equal(fold_keyword_count(f), __builtin_popcount(used));
	for (unsigned i = 0; i < 256; i++) {
		uint8_t id[16] = {(uint8_t)i};
		uint32_t box = 0, uid = 0;
		assert_int_equal(fold_delivery_seen(f, id), model.seen[i]);
		bool there = false;
		for (size_t k = 0; k < model.message_count; k++) {
			there = there || (model.messages[k].box == model.sent_box[i] &&
					  model.messages[k].uid == model.sent_uid[i]);
		}
		if (there) {
			assert_int_equal(fold_sent_copy(f, id, &box, &uid), ERR_OK);
			assert_int_equal(box, model.sent_box[i]);
			assert_int_equal(uid, model.sent_uid[i]);
		}
	}
	for (unsigned i = 0; i < 256; i++) {
		uint8_t id[16] = {(uint8_t)i};
		uint8_t token[OPERATION_TOKEN_LEN] = {0};
		assert_int_equal(fold_renamed(f, id, token), model.renamed[i] == 0 ? ERR_NOT_FOUND : ERR_OK);
		assert_int_equal(token[0], model.renamed[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		char name[2] = {(char)('a' + i), '\0'};
		struct bytes v = fold_setting(f, name);
		assert_int_equal(v.len == 0 ? 0 : v.ptr[0], model.settings[i]);
	}
	compare_deletable(f);
}

/* ---- A client's view, kept by what the watcher is told alone ---- */

struct view {
	uint32_t uids[BOXES][MESSAGES];
	uint32_t count[BOXES];
	bool there[BOXES];
};

static struct view view;

static void
watch(void *arg, const struct fold_change *c)
{
	(void)arg;
	const uint32_t box = slot_of(c->mailbox);
	if (c->kind == FOLD_CHANGE_MAILBOX_CREATED) {
		view.there[box] = true;
	} else if (c->kind == FOLD_CHANGE_MAILBOX_DELETED) {
		view.there[box] = false;
	} else if (c->kind == FOLD_CHANGE_ADDED) {
		assert_int_equal(c->uids.count, 1);
		for (uint32_t u = c->uids.ranges[0].first; u <= c->uids.ranges[0].last; u++) {
			view.uids[box][view.count[box]++] = u;
		}
	} else if (c->kind == FOLD_CHANGE_EXPUNGED) {
		uint32_t kept = 0;
		for (uint32_t i = 0; i < view.count[box]; i++) {
			uint32_t u = view.uids[box][i];
			if (!uid_set_contains(c->uids, u)) {
				view.uids[box][kept++] = u;
			}
		}
		assert_true(kept < view.count[box]);
		view.count[box] = kept;
	}
}

static void
compare_view(const struct fold *f)
{
	for (uint32_t i = 1; i < model.next_box; i++) {
		const struct fold_mailbox *m = fold_mailbox_by_id(f, model.ids[i]);
		assert_int_equal(m != NULL, view.there[i]);
		if (m != NULL) {
			assert_int_equal(m->count, view.count[i]);
			for (uint32_t k = 0; k < m->count; k++) {
				assert_int_equal(m->messages[k].uid, view.uids[i][k]);
			}
		}
	}
}

/* A fold that is written and read back before every record. */
static struct fold *
through_snapshot(struct fold *f, struct buf *bytes)
{
	struct fold *again = NULL;
	buf_reset(bytes);
	assert_int_equal(fold_snapshot_write(f, bytes), ERR_OK);
	assert_int_equal(fold_snapshot_read(buf_bytes(bytes), &again), ERR_OK);
	fold_destroy(&f);
	return again;
}

static void
run_log(uint64_t seed)
{
	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	memset(&model, 0, sizeof(model));
	memset(&view, 0, sizeof(view));
	model.next_box = 1;
	model.next_id = 1;
	struct fold *f = NULL;
	struct fold *rolling = NULL;
	struct fold *bones = NULL; /* of each session's record what the next one would carry of it */
	struct buf record = BUF_INIT(OPERATION_RECORD_MAX);
	struct buf a = BUF_INIT(1 << 24);
	struct buf b = BUF_INIT(1 << 24);
	assert_int_equal(fold_create(&f), ERR_OK);
	assert_int_equal(fold_create(&rolling), ERR_OK);
	assert_int_equal(fold_create(&bones), ERR_OK);
	fold_watch(f, watch, NULL);
	for (uint64_t n = 1; n <= RECORDS; n++) {
		model.n = n;
		rolling = through_snapshot(rolling, &b);
		if (below(3) == 0) {
			model.pending[n] = true;
			assert_int_equal(fold_apply_arrival(f, n), ERR_OK);
			assert_int_equal(fold_apply_arrival(rolling, n), ERR_OK);
			assert_int_equal(fold_apply_arrival(bones, n), ERR_OK);
		} else {
			buf_reset(&record);
			assert_int_equal(operations_begin(&record), ERR_OK);
			uint16_t count = (uint16_t)(1 + below(OPS));
			for (uint16_t i = 0; i < count; i++) {
				struct scratch s;
				struct operation op = some_operation(&s);
				if (n < 3 && i == 0) {
					op = (struct operation){.kind = OPERATION_MAILBOX_CREATE};
					op.create.name = BYTES_LIT("Inbox");
					op.create.uidvalidity = 7;
				}
				assert_int_equal(operations_add(&record, &op), ERR_OK);
				m_apply(&op, i);
			}
			m_sweep();
			assert_int_equal(fold_apply_session(f, n, buf_bytes(&record)), ERR_OK);
			assert_int_equal(fold_apply_session(rolling, n, buf_bytes(&record)), ERR_OK);
			buf_reset(&b);
			assert_int_equal(operations_skeleton(buf_bytes(&record), &b), ERR_OK);
			assert_int_equal(fold_apply_session(bones, n, buf_bytes(&b)), ERR_OK);
		}
		if (n % 8 == 0 || n > RECORDS - 3) {
			compare(f);
			compare(rolling); /* equal bytes alone would not show what both forget to write */
			compare_view(f);
		}
		buf_reset(&a);
		buf_reset(&b);
		assert_int_equal(fold_snapshot_write(f, &a), ERR_OK);
		assert_int_equal(fold_snapshot_write(rolling, &b), ERR_OK);
		assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
		buf_reset(&b);
		assert_int_equal(fold_snapshot_write(bones, &b), ERR_OK);
		assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
	}
	assert_true(model.message_count > 0 && model.ignored > 0);
	fold_destroy(&f);
	fold_destroy(&rolling);
	fold_destroy(&bones);
	buf_clear(&record);
	buf_clear(&a);
	buf_clear(&b);
}

static void
random_logs_fold_to_what_the_model_says_from_empty_and_from_every_snapshot(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= LOGS; seed++) {
		run_log(seed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_logs_fold_to_what_the_model_says_from_empty_and_from_every_snapshot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
