/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A log as bytes: per record a kind (0 arrival, else session), a 16-bit length and so many bytes. */
#include <stdlib.h>

#include "fold/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool that)
{
	if (!that) {
		abort();
	}
}

/* The same operations stand at the same places, or notes. */
static void
skeleton(struct bytes record, const struct operation *ops, size_t count)
{
	struct arena a;
	struct buf b = BUF_INIT(OPERATION_CARRIED_MAX);
	const struct operation *bones = NULL;
	size_t left = 0;
	arena_init(&a, 16 << 20);
	enum err e = operations_skeleton(record, &b);
	check(e == ERR_OK || e == ERR_LIMIT);
	if (e == ERR_OK) {
		check(operations_decode(&a, buf_bytes(&b), &bones, &left) == ERR_OK && left == count);
		for (size_t i = 0; i < count; i++) {
			check(bones[i].kind == ops[i].kind || bones[i].kind == OPERATION_NOTE);
		}
	}
	buf_clear(&b);
	arena_clear(&a);
}

static void
cards(struct bytes record)
{
	struct arena a;
	arena_init(&a, 16 << 20);
	const struct operation *ops = NULL;
	size_t count = 0;
	if (operations_decode(&a, record, &ops, &count) == ERR_OK) {
		for (size_t i = 0; i < count; i++) {
			struct bytes card = BYTES_EMPTY;
			enum err e = operations_card(record, (uint16_t)i, &card);
			bool has = ops[i].kind == OPERATION_FILED || ops[i].kind == OPERATION_APPEND;
			check((e == ERR_OK) == has);
			check(!has ||
			      bytes_equal(card, ops[i].kind == OPERATION_FILED ? ops[i].filed.message.card
									       : ops[i].append.message.card));
		}
		/* Written again it is the same: there is one form only, but for the version of what is old. */
		struct buf again = BUF_INIT(OPERATION_RECORD_MAX);
		check(operations_begin(&again) == ERR_OK);
		for (size_t i = 0; i < count; i++) {
			check(operations_add(&again, &ops[i]) == ERR_OK);
		}
		struct buf whole = BUF_INIT(OPERATION_PLAIN_MAX);
		struct operations_carried carried;
		check(operations_carried(record, &carried) == ERR_OK);
		enum err e = operations_carry(buf_bytes(&again), &carried, &whole);
		check(e == ERR_OK &&
		      (record.ptr[0] != whole.ptr[0] || bytes_equal(buf_bytes(&whole), record)));
		skeleton(buf_bytes(&whole), ops, count);
		buf_clear(&whole);
		buf_clear(&again);
	}
	arena_clear(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes rest = bytes_of(data, size);
	struct fold *f = NULL;
	struct fold *g = NULL;
	check(fold_create(&f) == ERR_OK);
	for (uint64_t n = 1; rest.len >= 3; n++) {
		size_t len = (size_t)rest.ptr[1] << 8 | rest.ptr[2];
		uint8_t kind = rest.ptr[0];
		struct bytes record = bytes_slice(rest, 3, len);
		rest = bytes_from(rest, 3 + record.len);
		if (kind == 0) {
			check(fold_apply_arrival(f, n) == ERR_OK);
			continue;
		}
		cards(record);
		enum err e = fold_apply_session(f, n, record);
		check(e == ERR_OK || e == ERR_UNSUPPORTED);
		if (e != ERR_OK) {
			break;
		}
	}
	struct buf a = BUF_INIT(1 << 26);
	struct buf b = BUF_INIT(1 << 26);
	check(fold_snapshot_write(f, &a) == ERR_OK);
	check(fold_snapshot_read(buf_bytes(&a), &g) == ERR_OK);
	check(fold_snapshot_write(g, &b) == ERR_OK);
	check(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
	struct buf ranges = BUF_INIT(1 << 26);
	check(fold_deletable(g, &ranges) == ERR_OK);
	buf_clear(&ranges);
	buf_clear(&a);
	buf_clear(&b);
	fold_destroy(&f);
	fold_destroy(&g);
	return 0;
}
