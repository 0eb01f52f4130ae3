/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/wire.h"
#include "fold/operation.h"
#include "fold/operation_rules.h"
#include "fold/varint.h"

/* One record under the reader: where it begins, and the memory for arrays. */
struct decoder {
	struct arena *arena;
	uint8_t version;
	struct bytes record;
	struct wire_reader body;
};

static bool
get_bool(struct wire_reader *r)
{
	uint8_t v = wire_get_u8(r);
	if (v > 1) {
		wire_fail(r, ERR_FORMAT);
	}
	return v == 1;
}

/* A time of saving: 0 in records of before there was one. */
static uint32_t
get_saved(struct decoder *d)
{
	return d->version < 4 ? 0 : wire_get_u32(&d->body);
}

static struct uid_set
get_uids(struct decoder *d)
{
	struct wire_reader *r = &d->body;
	const struct uid_set none = {.ranges = NULL, .count = 0};
	struct varint_reader v = varint_reader_of(r->rest);
	size_t count = (size_t)varint_get(&v, OPERATION_RANGES_MAX);
	/* Each range takes two bytes at least: memory stays in proportion to the record. */
	if (v.bad || count > (size_t)(v.end - v.at) / 2) {
		wire_fail(r, ERR_FORMAT);
		return none;
	}
	struct uid_range *ranges = arena_array(d->arena, count, sizeof(*ranges));
	if (ranges == NULL) {
		wire_fail(r, ERR_MEMORY);
		return none;
	}
	uint64_t before = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t first = before + varint_get(&v, UINT32_MAX);
		uint64_t last = first + varint_get(&v, UINT32_MAX);
		if (v.bad || first == before || last > UINT32_MAX) {
			wire_fail(r, ERR_FORMAT);
			return none;
		}
		ranges[i] = (struct uid_range){.first = (uint32_t)first, .last = (uint32_t)last};
		before = last;
	}
	r->rest = bytes_from(r->rest, r->rest.len - (size_t)(v.end - v.at));
	return (struct uid_set){.ranges = ranges, .count = count};
}

static struct keyword_list
get_keywords(struct decoder *d)
{
	struct wire_reader *r = &d->body;
	const struct keyword_list none = {.names = NULL, .count = 0};
	size_t count = wire_get_u8(r);
	if (count == 0) {
		return none;
	}
	if (count > OPERATION_KEYWORDS_MAX || count > r->rest.len) {
		wire_fail(r, ERR_FORMAT);
		return none;
	}
	struct bytes *names = arena_array(d->arena, count, sizeof(*names));
	if (names == NULL) {
		wire_fail(r, ERR_MEMORY);
		return none;
	}
	for (size_t i = 0; i < count; i++) {
		names[i] = wire_get_bytes(r, OPERATION_KEYWORD_MAX);
	}
	return (struct keyword_list){.names = names, .count = count};
}

static void
get_message(struct decoder *d, struct operation_message *m)
{
	struct wire_reader *r = &d->body;
	m->mailbox = wire_get_u32(r);
	m->flags = wire_get_u8(r);
	m->keywords = get_keywords(d);
	m->date = (int64_t)wire_get_u64(r);
	m->zone = (int16_t)wire_get_u16(r);
	m->size = wire_get_u64(r);
	m->saved = get_saved(d);
	m->card = wire_get_bytes(r, OPERATION_CARD_MAX);
	m->card_offset = m->card.len == 0 ? 0 : (uint32_t)(m->card.ptr - d->record.ptr);
}

static void
get_body(struct decoder *d, struct operation *op)
{
	struct wire_reader *r = &d->body;
	switch (op->kind) {
	case OPERATION_OPEN:
		wire_get_fixed(r, op->open.slots_hash, OPERATION_SLOTS_HASH_LEN);
		op->open.generation = wire_get_u32(r);
		op->open.revision = d->version == 1 ? 0 : wire_get_u32(r);
		break;
	case OPERATION_MAILBOX_CREATE:
		op->create.name = wire_get_bytes(r, OPERATION_NAME_MAX);
		op->create.uidvalidity = wire_get_u32(r);
		op->create.special_use = wire_get_u32(r);
		op->create.subscribed = get_bool(r);
		break;
	case OPERATION_MAILBOX_DELETE:
		op->remove.mailbox = wire_get_u32(r);
		break;
	case OPERATION_MAILBOX_RENAME:
		op->rename.mailbox = wire_get_u32(r);
		op->rename.name = wire_get_bytes(r, OPERATION_NAME_MAX);
		break;
	case OPERATION_RENAME_INBOX:
		op->rename_inbox.name = wire_get_bytes(r, OPERATION_NAME_MAX);
		op->rename_inbox.uidvalidity = wire_get_u32(r);
		op->rename_inbox.saved = get_saved(d);
		break;
	case OPERATION_SUBSCRIBE:
		op->subscribe.name = wire_get_bytes(r, OPERATION_NAME_MAX);
		op->subscribe.on = get_bool(r);
		break;
	case OPERATION_FILED:
		op->filed.arrival = wire_get_u64(r);
		wire_get_fixed(r, op->filed.delivery, OPERATION_DELIVERY_LEN);
		get_message(d, &op->filed.message);
		break;
	case OPERATION_APPEND:
		op->append.has_key = get_bool(r);
		if (op->append.has_key) {
			wire_get_fixed(r, op->append.key, OPERATION_KEY_LEN);
		}
		get_message(d, &op->append.message);
		break;
	case OPERATION_FLAGS:
		op->flags.mailbox = wire_get_u32(r);
		op->flags.uids = get_uids(d);
		op->flags.mode = wire_get_u8(r);
		op->flags.flags = wire_get_u8(r);
		op->flags.keywords = get_keywords(d);
		break;
	case OPERATION_COPY:
	case OPERATION_MOVE:
		op->copy.from = wire_get_u32(r);
		op->copy.to = wire_get_u32(r);
		op->copy.saved = get_saved(d);
		op->copy.uids = get_uids(d);
		break;
	case OPERATION_EXPUNGE:
		op->expunge.mailbox = wire_get_u32(r);
		op->expunge.uids = get_uids(d);
		break;
	case OPERATION_DROPPED:
		op->dropped.arrival = wire_get_u64(r);
		wire_get_fixed(r, op->dropped.delivery, OPERATION_DELIVERY_LEN);
		op->dropped.reason = wire_get_u8(r);
		break;
	case OPERATION_SETTING:
		op->setting.name = wire_get_bytes(r, OPERATION_SETTING_NAME_MAX);
		op->setting.value = wire_get_bytes(r, OPERATION_SETTING_VALUE_MAX);
		break;
	case OPERATION_GENERATION:
		op->generation.number = wire_get_u32(r);
		break;
	case OPERATION_NOTE:
		op->note.data = wire_get_bytes(r, OPERATION_NOTE_MAX);
		break;
	case OPERATION_SWEPT:
		op->swept.upto = wire_get_u64(r);
		break;
	case OPERATION_RENAMED:
		wire_get_fixed(r, op->renamed.key, OPERATION_KEY_LEN);
		wire_get_fixed(r, op->renamed.token, OPERATION_TOKEN_LEN);
		op->renamed.original = wire_get_bytes(r, OPERATION_IDENTIFIER_MAX);
		break;
	case OPERATION_ANNOTATE:
		op->annotate.mailbox = wire_get_u32(r);
		op->annotate.entry = wire_get_bytes(r, OPERATION_ENTRY_MAX);
		op->annotate.on = get_bool(r);
		op->annotate.value = wire_get_bytes(r, OPERATION_ANNOTATION_MAX);
		break;
	case OPERATION_USE:
		op->use.mailbox = wire_get_u32(r);
		op->use.special_use = wire_get_u32(r);
		break;
	case OPERATION_RENAME_TREE:
		op->rename_tree.from = wire_get_bytes(r, OPERATION_NAME_MAX);
		op->rename_tree.to = wire_get_bytes(r, OPERATION_NAME_MAX);
		break;
	case OPERATION_RESTORED:
		op->restored.epoch = wire_get_u32(r);
		op->restored.uidvalidity = wire_get_u32(r);
		break;
	case OPERATION_LOST:
		op->lost.n = wire_get_u64(r);
		break;
	case OPERATION__END:
	default:
		wire_fail(r, ERR_FORMAT);
		break;
	}
}

static void
get_carried(struct wire_reader *r, struct operations_carried *c)
{
	uint32_t before = 0;
	c->previous = wire_get_u64(r);
	c->skeleton = wire_get_bytes(r, OPERATION_CARRIED_MAX);
	c->next_mailbox = wire_get_u32(r);
	c->revision = wire_get_u32(r);
	c->generation = wire_get_u32(r);
	size_t count = wire_get_u8(r);
	if (count > OPERATION_BASES_MAX) {
		wire_fail(r, ERR_FORMAT);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		struct operation_base *b = &c->bases[i];
		b->mailbox = wire_get_u32(r);
		b->uidnext = wire_get_u32(r);
		if (b->mailbox <= before || b->uidnext == 0) {
			wire_fail(r, ERR_FORMAT);
		}
		before = b->mailbox;
	}
	c->base_count = count;
}

/* The version and what is carried; the reader stands behind them. */
static enum err
open_head(struct bytes record, struct wire_reader *r, struct operations_carried *ret)
{
	if (record.len > OPERATION_PLAIN_MAX) {
		return ERR_FORMAT;
	}
	wire_reader_init(r, record);
	uint8_t version = wire_get_u8(r);
	if (r->error != ERR_OK || version == 0) {
		return ERR_FORMAT;
	}
	if (version > OPERATION_VERSION) {
		return ERR_UNSUPPORTED;
	}
	*ret = (struct operations_carried){.previous = 0};
	if (version >= 5) {
		get_carried(r, ret);
	}
	return r->error == ERR_OK ? ERR_OK : ERR_FORMAT;
}

/* The reader at the first operation, and how many there are. */
static enum err
open_record(struct bytes record, struct wire_reader *r, size_t *ret_count)
{
	struct operations_carried carried;
	enum err e = open_head(record, r, &carried);
	if (e != ERR_OK) {
		return e;
	}
	size_t count = wire_get_u16(r);
	if (r->error != ERR_OK || count == 0 || count > OPERATION_COUNT_MAX) {
		return ERR_FORMAT;
	}
	*ret_count = count;
	return ERR_OK;
}

enum err
operations_carried(struct bytes record, struct operations_carried *ret)
{
	struct wire_reader r;
	return open_head(record, &r, ret);
}

size_t
operations_lost(struct bytes record, uint64_t *ret, size_t max)
{
	struct wire_reader r;
	size_t count = 0;
	size_t found = 0;
	if (open_record(record, &r, &count) != ERR_OK) {
		return 0;
	}
	for (size_t i = 0; i < count && found < max; i++) {
		uint8_t kind = wire_get_u8(&r);
		struct wire_reader body;
		wire_reader_init(&body, wire_get_bytes(&r, OPERATION_RECORD_MAX));
		uint64_t n = kind == OPERATION_LOST ? wire_get_u64(&body) : 0;
		if (n != 0) {
			ret[found++] = n;
		}
	}
	return r.error == ERR_OK ? found : 0;
}

enum err
operations_decode(struct arena *a, struct bytes record, const struct operation **ret_ops, size_t *ret_count)
{
	struct wire_reader r;
	size_t count = 0;
	enum err e = open_record(record, &r, &count);
	if (e != ERR_OK) {
		return e;
	}
	/* All must be there before memory is spent on them. */
	const struct wire_reader start = r;
	for (size_t i = 0; i < count; i++) {
		(void)wire_get_u8(&r);
		(void)wire_get_bytes(&r, OPERATION_RECORD_MAX);
	}
	if (wire_end(&r) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct operation *ops = arena_array(a, count, sizeof(*ops));
	if (ops == NULL) {
		return ERR_MEMORY;
	}
	r = start;
	for (size_t i = 0; i < count; i++) {
		ops[i].kind = wire_get_u8(&r);
		struct decoder d = {.arena = a, .version = record.ptr[0], .record = record};
		wire_reader_init(&d.body, wire_get_bytes(&r, OPERATION_RECORD_MAX));
		get_body(&d, &ops[i]);
		e = wire_end(&d.body);
		if (e != ERR_OK) {
			return e;
		}
		if (!operation_valid(&ops[i]) || operation_version(ops[i].kind) > record.ptr[0]) {
			return ERR_FORMAT;
		}
	}
	*ret_ops = ops;
	*ret_count = count;
	return ERR_OK;
}

/* The card of one operation's body. */
static enum err
card_of_body(uint8_t version, uint8_t kind, struct bytes body, struct bytes *ret_card)
{
	struct wire_reader r;
	wire_reader_init(&r, body);
	uint8_t skipped[16];
	if (kind == OPERATION_FILED) {
		(void)wire_get_u64(&r);
		wire_get_fixed(&r, skipped, OPERATION_DELIVERY_LEN);
	} else if (kind == OPERATION_APPEND) {
		if (get_bool(&r)) {
			wire_get_fixed(&r, skipped, OPERATION_KEY_LEN);
		}
	} else {
		return ERR_NOT_FOUND;
	}
	(void)wire_get_u32(&r); /* mailbox */
	(void)wire_get_u8(&r);  /* flags */
	size_t keywords = wire_get_u8(&r);
	for (size_t i = 0; i < keywords; i++) {
		(void)wire_get_bytes(&r, OPERATION_KEYWORD_MAX);
	}
	(void)wire_get_u64(&r); /* date */
	(void)wire_get_u16(&r); /* zone */
	(void)wire_get_u64(&r); /* size */
	if (version >= 4) {
		(void)wire_get_u32(&r); /* saved */
	}
	struct bytes card = wire_get_bytes(&r, OPERATION_CARD_MAX);
	if (wire_end(&r) != ERR_OK) {
		return ERR_FORMAT;
	}
	*ret_card = card;
	return ERR_OK;
}

enum err
operations_card_from(struct bytes record, struct operations_place *place, uint16_t index,
		     struct bytes *ret_card)
{
	struct wire_reader r;
	size_t count = 0;
	enum err e = open_record(record, &r, &count);
	if (e != ERR_OK) {
		return e;
	}
	if (index >= count) {
		return ERR_NOT_FOUND;
	}
	size_t i = 0;
	if (place->offset != 0 && place->index <= index) {
		i = place->index;
		r.rest = bytes_from(record, place->offset);
	}
	uint8_t kind = 0;
	struct bytes body = BYTES_EMPTY;
	for (; i <= index; i++) {
		kind = wire_get_u8(&r);
		body = wire_get_bytes(&r, OPERATION_RECORD_MAX);
	}
	if (r.error != ERR_OK) {
		return ERR_FORMAT;
	}
	place->index = (uint16_t)(index + 1);
	place->offset = record.len - r.rest.len;
	return card_of_body(record.ptr[0], kind, body, ret_card);
}

enum err
operations_card(struct bytes record, uint16_t index, struct bytes *ret_card)
{
	struct operations_place place = {.index = 0, .offset = 0};
	return operations_card_from(record, &place, index, ret_card);
}
