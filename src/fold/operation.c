/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fold/operation.h"

#include "base/wire.h"
#include "fold/operation_rules.h"
#include "fold/varint.h"

bool
operation_name_valid(struct bytes name)
{
	if (name.len == 0 || name.len > OPERATION_NAME_MAX || !bytes_is_utf8(name)) {
		return false;
	}
	size_t levels = 1;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.ptr[i];
		if (c < 0x20 || c == 0x7f) {
			return false;
		}
		if (c == '/') {
			/* No empty level, neither inside nor at the ends. */
			if (i == 0 || i + 1 == name.len || name.ptr[i + 1] == '/') {
				return false;
			}
			levels++;
		}
	}
	return levels <= OPERATION_NAME_LEVELS_MAX;
}

bool
operation_keyword_valid(struct bytes keyword)
{
	if (keyword.len == 0 || keyword.len > OPERATION_KEYWORD_MAX) {
		return false;
	}
	/* RFC 3501 section 9: ATOM-CHAR, that is no atom-specials. */
	for (size_t i = 0; i < keyword.len; i++) {
		uint8_t c = keyword.ptr[i];
		if (c <= 0x20 || c >= 0x7f || c == '(' || c == ')' || c == '{' || c == '%' || c == '*' ||
		    c == '"' || c == '\\' || c == ']') {
			return false;
		}
	}
	return true;
}

bool
uid_set_valid(struct uid_set set)
{
	if (set.count > OPERATION_RANGES_MAX) {
		return false;
	}
	uint32_t before = 0;
	for (size_t i = 0; i < set.count; i++) {
		if (set.ranges[i].first <= before || set.ranges[i].last < set.ranges[i].first) {
			return false;
		}
		before = set.ranges[i].last;
	}
	return true;
}

bool
uid_set_contains(struct uid_set set, uint32_t uid)
{
	size_t low = 0;
	size_t high = set.count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (set.ranges[mid].last < uid) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low < set.count && set.ranges[low].first <= uid;
}

bool
operation_setting_name_valid(struct bytes name)
{
	if (name.len == 0 || name.len > OPERATION_SETTING_NAME_MAX) {
		return false;
	}
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.ptr[i];
		if (!(c >= 'a' && c <= 'z') && !ascii_is_digit(c) && c != '.' && c != '-' && c != '_') {
			return false;
		}
	}
	return true;
}

static bool
keywords_valid(struct keyword_list list)
{
	if (list.count > OPERATION_KEYWORDS_MAX) {
		return false;
	}
	for (size_t i = 0; i < list.count; i++) {
		if (!operation_keyword_valid(list.names[i])) {
			return false;
		}
	}
	return true;
}

static bool
message_valid(const struct operation_message *m)
{
	return (m->flags & ~FOLD_FLAGS_ALL) == 0 && keywords_valid(m->keywords) &&
	       m->zone >= -OPERATION_ZONE_MAX && m->zone <= OPERATION_ZONE_MAX &&
	       m->card.len <= OPERATION_CARD_MAX && m->size <= OPERATION_SIZE_MAX &&
	       m->date >= -OPERATION_DATE_MAX && m->date <= OPERATION_DATE_MAX;
}

bool
operation_entry_valid(struct bytes entry)
{
	bool known = bytes_starts_with(entry, "/private/") || bytes_starts_with(entry, "/shared/");
	if (!known || entry.len > OPERATION_ENTRY_MAX || entry.ptr[entry.len - 1] == '/') {
		return false;
	}
	for (size_t i = 0; i < entry.len; i++) {
		uint8_t c = entry.ptr[i];
		if (c <= 0x20 || c >= 0x7f || c == '*' || c == '%' || (c >= 'A' && c <= 'Z') ||
		    (c == '/' && entry.ptr[i + 1] == '/')) {
			return false;
		}
	}
	return true;
}

uint8_t
operation_version(enum operation_kind kind)
{
	return kind >= OPERATION_LOST       ? 5
	       : kind >= OPERATION_ANNOTATE ? 4
	       : kind >= OPERATION_RENAMED  ? 3
					    : 1;
}

bool
operation_valid(const struct operation *op)
{
	switch (op->kind) {
	case OPERATION_MAILBOX_CREATE:
		return operation_name_valid(op->create.name) && op->create.uidvalidity != 0;
	case OPERATION_MAILBOX_RENAME:
		return operation_name_valid(op->rename.name);
	case OPERATION_RENAME_INBOX:
		return operation_name_valid(op->rename_inbox.name) && op->rename_inbox.uidvalidity != 0;
	case OPERATION_SUBSCRIBE:
		return operation_name_valid(op->subscribe.name);
	case OPERATION_FILED:
		return message_valid(&op->filed.message);
	case OPERATION_APPEND:
		return message_valid(&op->append.message);
	case OPERATION_FLAGS:
		return uid_set_valid(op->flags.uids) && (op->flags.flags & ~FOLD_FLAGS_ALL) == 0 &&
		       keywords_valid(op->flags.keywords) && op->flags.mode >= OPERATION_ADD &&
		       op->flags.mode <= OPERATION_SET;
	case OPERATION_COPY:
	case OPERATION_MOVE:
		return uid_set_valid(op->copy.uids);
	case OPERATION_EXPUNGE:
		return uid_set_valid(op->expunge.uids);
	case OPERATION_DROPPED:
		return op->dropped.reason >= OPERATION_DUPLICATE && op->dropped.reason <= OPERATION_UNWANTED;
	case OPERATION_SETTING:
		return operation_setting_name_valid(op->setting.name) &&
		       op->setting.value.len <= OPERATION_SETTING_VALUE_MAX;
	case OPERATION_NOTE:
		return op->note.data.len <= OPERATION_NOTE_MAX;
	case OPERATION_RENAMED:
		return op->renamed.original.len <= OPERATION_IDENTIFIER_MAX;
	case OPERATION_ANNOTATE:
		return operation_entry_valid(op->annotate.entry) &&
		       op->annotate.value.len <= OPERATION_ANNOTATION_MAX &&
		       (op->annotate.on || op->annotate.value.len == 0);
	case OPERATION_USE:
		return (op->use.special_use & ~(uint32_t)OPERATION_USE_MASK) == 0;
	case OPERATION_RENAME_TREE:
		return operation_name_valid(op->rename_tree.from) && operation_name_valid(op->rename_tree.to);
	case OPERATION_RESTORED:
		return op->restored.epoch != 0 && op->restored.uidvalidity != 0;
	case OPERATION_LOST:
		return op->lost.n != 0;
	case OPERATION_OPEN:
	case OPERATION_MAILBOX_DELETE:
	case OPERATION_GENERATION:
	case OPERATION_SWEPT:
		return true;
	case OPERATION__END:
	default:
		return false;
	}
}

/* ---- Writing ---- */

/* Where the count of operations stands, as long as nothing is carried. */
enum { COUNT_AT = OPERATION_HEAD_LEN - 2 };

static void
put_varint(struct wire_writer *w, uint64_t v)
{
	uint8_t b[VARINT_MAX];
	wire_put_fixed(w, b, varint_put(b, v));
}

/* count, then per range: distance from the end of the one before, length less one. */
static void
put_uids(struct wire_writer *w, struct uid_set set)
{
	put_varint(w, set.count);
	uint32_t before = 0;
	for (size_t i = 0; i < set.count; i++) {
		put_varint(w, set.ranges[i].first - before);
		put_varint(w, set.ranges[i].last - set.ranges[i].first);
		before = set.ranges[i].last;
	}
}

static void
put_keywords(struct wire_writer *w, struct keyword_list list)
{
	wire_put_u8(w, (uint8_t)list.count);
	for (size_t i = 0; i < list.count; i++) {
		wire_put_bytes(w, list.names[i]);
	}
}

static void
put_message(struct wire_writer *w, const struct operation_message *m)
{
	wire_put_u32(w, m->mailbox);
	wire_put_u8(w, m->flags);
	put_keywords(w, m->keywords);
	wire_put_u64(w, (uint64_t)m->date);
	wire_put_u16(w, (uint16_t)m->zone);
	wire_put_u64(w, m->size);
	wire_put_u32(w, m->saved);
	wire_put_bytes(w, m->card);
}

static void
put_body(struct wire_writer *w, const struct operation *op)
{
	switch (op->kind) {
	case OPERATION_OPEN:
		wire_put_fixed(w, op->open.slots_hash, OPERATION_SLOTS_HASH_LEN);
		wire_put_u32(w, op->open.generation);
		wire_put_u32(w, op->open.revision);
		break;
	case OPERATION_MAILBOX_CREATE:
		wire_put_bytes(w, op->create.name);
		wire_put_u32(w, op->create.uidvalidity);
		wire_put_u32(w, op->create.special_use);
		wire_put_u8(w, op->create.subscribed ? 1 : 0);
		break;
	case OPERATION_MAILBOX_DELETE:
		wire_put_u32(w, op->remove.mailbox);
		break;
	case OPERATION_MAILBOX_RENAME:
		wire_put_u32(w, op->rename.mailbox);
		wire_put_bytes(w, op->rename.name);
		break;
	case OPERATION_RENAME_INBOX:
		wire_put_bytes(w, op->rename_inbox.name);
		wire_put_u32(w, op->rename_inbox.uidvalidity);
		wire_put_u32(w, op->rename_inbox.saved);
		break;
	case OPERATION_SUBSCRIBE:
		wire_put_bytes(w, op->subscribe.name);
		wire_put_u8(w, op->subscribe.on ? 1 : 0);
		break;
	case OPERATION_FILED:
		wire_put_u64(w, op->filed.arrival);
		wire_put_fixed(w, op->filed.delivery, OPERATION_DELIVERY_LEN);
		put_message(w, &op->filed.message);
		break;
	case OPERATION_APPEND:
		wire_put_u8(w, op->append.has_key ? 1 : 0);
		if (op->append.has_key) {
			wire_put_fixed(w, op->append.key, OPERATION_KEY_LEN);
		}
		put_message(w, &op->append.message);
		break;
	case OPERATION_FLAGS:
		wire_put_u32(w, op->flags.mailbox);
		put_uids(w, op->flags.uids);
		wire_put_u8(w, (uint8_t)op->flags.mode);
		wire_put_u8(w, op->flags.flags);
		put_keywords(w, op->flags.keywords);
		break;
	case OPERATION_COPY:
	case OPERATION_MOVE:
		wire_put_u32(w, op->copy.from);
		wire_put_u32(w, op->copy.to);
		wire_put_u32(w, op->copy.saved);
		put_uids(w, op->copy.uids);
		break;
	case OPERATION_EXPUNGE:
		wire_put_u32(w, op->expunge.mailbox);
		put_uids(w, op->expunge.uids);
		break;
	case OPERATION_DROPPED:
		wire_put_u64(w, op->dropped.arrival);
		wire_put_fixed(w, op->dropped.delivery, OPERATION_DELIVERY_LEN);
		wire_put_u8(w, (uint8_t)op->dropped.reason);
		break;
	case OPERATION_SETTING:
		wire_put_bytes(w, op->setting.name);
		wire_put_bytes(w, op->setting.value);
		break;
	case OPERATION_GENERATION:
		wire_put_u32(w, op->generation.number);
		break;
	case OPERATION_NOTE:
		wire_put_bytes(w, op->note.data);
		break;
	case OPERATION_SWEPT:
		wire_put_u64(w, op->swept.upto);
		break;
	case OPERATION_RENAMED:
		wire_put_fixed(w, op->renamed.key, OPERATION_KEY_LEN);
		wire_put_fixed(w, op->renamed.token, OPERATION_TOKEN_LEN);
		wire_put_bytes(w, op->renamed.original);
		break;
	case OPERATION_ANNOTATE:
		wire_put_u32(w, op->annotate.mailbox);
		wire_put_bytes(w, op->annotate.entry);
		wire_put_u8(w, op->annotate.on ? 1 : 0);
		wire_put_bytes(w, op->annotate.value);
		break;
	case OPERATION_USE:
		wire_put_u32(w, op->use.mailbox);
		wire_put_u32(w, op->use.special_use);
		break;
	case OPERATION_RENAME_TREE:
		wire_put_bytes(w, op->rename_tree.from);
		wire_put_bytes(w, op->rename_tree.to);
		break;
	case OPERATION_RESTORED:
		wire_put_u32(w, op->restored.epoch);
		wire_put_u32(w, op->restored.uidvalidity);
		break;
	case OPERATION_LOST:
		wire_put_u64(w, op->lost.n);
		break;
	case OPERATION__END:
	default:
		panic("fold: unknown operation");
	}
}

enum err
operations_begin(struct buf *record)
{
	if (record->len != 0) {
		return ERR_STATE;
	}
	const uint8_t head[OPERATION_HEAD_LEN] = {OPERATION_VERSION};
	return buf_append(record, bytes_of(head, sizeof(head)));
}

enum err
operations_add(struct buf *record, const struct operation *op)
{
	if (record->len < OPERATION_HEAD_LEN) {
		return ERR_STATE;
	}
	if (!operation_valid(op)) {
		return ERR_FORMAT;
	}
	unsigned count = (unsigned)record->ptr[COUNT_AT] << 8 | record->ptr[COUNT_AT + 1];
	if (count >= OPERATION_COUNT_MAX) {
		return ERR_LIMIT;
	}
	size_t start = record->len;
	struct wire_writer w;
	wire_writer_init(&w, record);
	wire_put_u8(&w, (uint8_t)op->kind);
	wire_put_u32(&w, 0);
	size_t body = record->len;
	put_body(&w, op);
	enum err e = wire_done(&w);
	if (e == ERR_OK && record->len > OPERATION_RECORD_MAX) {
		e = ERR_LIMIT;
	}
	if (e != ERR_OK) {
		buf_truncate(record, start);
		return e;
	}
	size_t len = record->len - body;
	for (size_t i = 0; i < 4; i++) {
		record->ptr[body - 1 - i] = (uint8_t)(len >> (8 * i));
	}
	record->ptr[COUNT_AT] = (uint8_t)((count + 1) >> 8);
	record->ptr[COUNT_AT + 1] = (uint8_t)(count + 1);
	return ERR_OK;
}
