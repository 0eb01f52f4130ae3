/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "fold/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken for a snapshot must be the one form of the state that it gives, and must go on folding. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fold *f = NULL;
	if (fold_snapshot_read(bytes_of(data, size), &f) != ERR_OK) {
		return 0;
	}
	struct buf b = BUF_INIT(1 << 26);
	if (fold_snapshot_write(f, &b) != ERR_OK ||
	    (data[0] == SNAPSHOT_VERSION && !bytes_equal(buf_bytes(&b), bytes_of(data, size)))) {
		abort();
	}
	buf_clear(&b);
	const struct uid_range all = {.first = 1, .last = UINT32_MAX};
	struct operation op = {.kind = OPERATION_EXPUNGE};
	op.expunge.uids = (struct uid_set){.ranges = &all, .count = 1};
	for (size_t i = 0; i < fold_mailbox_count(f) && fold_n(f) < UINT64_MAX; i++) {
		op.expunge.mailbox = fold_mailbox_at(f, i)->id;
		if (operations_begin(&b) != ERR_OK || operations_add(&b, &op) != ERR_OK ||
		    fold_apply_session(f, fold_n(f) + 1, buf_bytes(&b)) != ERR_OK) {
			abort();
		}
		buf_reset(&b);
	}
	if (fold_n(f) < UINT64_MAX &&
	    (fold_messages(f) != 0 || fold_bytes(f) != 0 || fold_keyword_count(f) != 0)) {
		abort();
	}
	buf_clear(&b);
	fold_destroy(&f);
	return 0;
}
