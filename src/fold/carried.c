/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What a record carries of the one before it, so that one damaged record costs the messages whose cards it held, and no other
 * message, number or flag: with the skeleton in its place the fold comes out the same. Cards are left out, so that a message that was
 * deleted does not live on in its neighbour.
 */
#include <string.h>

#include "base/wire.h"
#include "fold/operation.h"
#include "fold/operation_rules.h"

enum { VALUE_MAX = 1024, SKELETON_ARENA_MAX = 16 * 1024 * 1024 };

static struct operation
bone(const struct operation *op)
{
	struct operation b = *op;
	bool out = op->kind == OPERATION_NOTE ||
		   (op->kind == OPERATION_SETTING && op->setting.value.len > VALUE_MAX) ||
		   (op->kind == OPERATION_ANNOTATE && op->annotate.value.len > VALUE_MAX);
	if (out) {
		return (struct operation){.kind = OPERATION_NOTE, .note = {.data = BYTES_EMPTY}};
	}
	if (op->kind == OPERATION_FILED) {
		b.filed.message.card = BYTES_EMPTY;
	} else if (op->kind == OPERATION_APPEND) {
		b.append.message.card = BYTES_EMPTY;
	} else if (op->kind == OPERATION_RENAMED) {
		b.renamed.original = BYTES_EMPTY;
	}
	return b;
}

enum err
operations_skeleton(struct bytes record, struct buf *ret)
{
	struct arena arena;
	const struct operation *ops = NULL;
	size_t count = 0;
	struct buf skeleton = BUF_INIT(OPERATION_CARRIED_MAX);
	arena_init(&arena, SKELETON_ARENA_MAX);
	enum err e = operations_decode(&arena, record, &ops, &count);
	if (e == ERR_OK) {
		e = operations_begin(&skeleton);
	}
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		struct operation b = bone(&ops[i]);
		e = operations_add(&skeleton, &b);
	}
	struct operations_carried own;
	e = e == ERR_OK ? operations_carried(record, &own) : e;
	if (e == ERR_OK) {
		/* What it stood behind goes with it: so a neighbour that is gone, too, is missed. */
		const struct operations_carried link = {.previous = own.previous};
		e = operations_carry(buf_bytes(&skeleton), &link, ret);
	}
	buf_wipe(&skeleton);
	arena_clear(&arena);
	return e;
}

enum err
operations_carry(struct bytes record, const struct operations_carried *c, struct buf *ret)
{
	static const uint8_t none[OPERATION_CARRIED_LEN];
	struct wire_writer w;
	size_t before = ret->len;
	if (record.len < OPERATION_HEAD_LEN || record.ptr[0] != OPERATION_VERSION ||
	    memcmp(record.ptr + 1, none, sizeof(none)) != 0 || c->skeleton.len > OPERATION_CARRIED_MAX ||
	    c->base_count > OPERATION_BASES_MAX) {
		return ERR_FORMAT;
	}
	wire_writer_init(&w, ret);
	wire_put_u8(&w, record.ptr[0]);
	wire_put_u64(&w, c->previous);
	wire_put_bytes(&w, c->skeleton);
	wire_put_u32(&w, c->next_mailbox);
	wire_put_u32(&w, c->revision);
	wire_put_u32(&w, c->generation);
	wire_put_u8(&w, (uint8_t)c->base_count);
	for (size_t i = 0; i < c->base_count; i++) {
		wire_put_u32(&w, c->bases[i].mailbox);
		wire_put_u32(&w, c->bases[i].uidnext);
	}
	wire_put_fixed(&w, record.ptr + 1 + sizeof(none), record.len - 1 - sizeof(none));
	enum err e = wire_done(&w);
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	return e;
}

bool
operations_any(const struct buf *record)
{
	return record->len > OPERATION_HEAD_LEN;
}
