/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What lies in the store and belongs to nobody: logs without an account, blobs whose names tell of none. */
#include <stdlib.h>
#include <string.h>

#include "cli/check.h"
#include "sealed/blob.h"

struct blobs_check {
	struct check *check;
	struct buf owners; /* BLOB_OWNER_LEN octets each, sorted */
	uint64_t unowned_logs;
	uint64_t unowned_blobs;
};

static int
by_owner(const void *a, const void *b)
{
	return memcmp(a, b, BLOB_OWNER_LEN);
}

static enum err
on_log(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct blobs_check *b = arg;
	struct storage *s = b->check->storage;
	uint8_t name[BLOB_NAME_LEN];
	uint64_t n = 0;
	(void)part;
	(void)value;
	if (key.len != SEALED_ID_LEN) {
		return ERR_OK;
	}
	b->unowned_logs += check_has_id(&b->check->accounts, key.ptr) ? 0 : 1;
	enum err e = s->driver->snapshot_get(s, key.ptr, 0, &n, name);
	while (e == ERR_OK) {
		e = buf_append(&b->check->used_blobs, bytes_of(name, sizeof(name)));
		e = e == ERR_OK && n > 0 ? s->driver->snapshot_get(s, key.ptr, n, &n, name) : e;
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err
on_blob(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct blobs_check *b = arg;
	uint8_t owner[BLOB_OWNER_LEN];
	(void)value;
	if (part != 0 || key.len != SEALED_ID_LEN || check_has_id(&b->check->used_blobs, key.ptr)) {
		return ERR_OK;
	}
	blob_name_owner(b->check->keys[PURPOSE_BLOB_NAME], key.ptr, owner);
	bool owned = b->owners.len > 0 && bsearch(owner, b->owners.ptr, b->owners.len / BLOB_OWNER_LEN,
						  BLOB_OWNER_LEN, by_owner) != NULL;
	b->unowned_blobs += owned ? 0 : 1;
	return ERR_OK;
}

enum err
check_blobs(struct check *k)
{
	const struct storage_driver *d = k->storage->driver;
	struct blobs_check b = {.check = k, .owners = BUF_INIT(CHECK_IDS_MAX)};
	enum err e = d->account_walk(k->storage, on_log, &b);
	for (size_t at = 0; at < k->accounts.len && e == ERR_OK; at += SEALED_ID_LEN) {
		e = buf_append(&b.owners, bytes_of(k->accounts.ptr + at, BLOB_OWNER_LEN));
	}
	if (e == ERR_OK) {
		/* The ids are sorted, and so are their beginnings. */
		check_sort_ids(&k->used_blobs);
		e = d->blob_walk(k->storage, BYTES_EMPTY, on_blob, &b);
	}
	if (e == ERR_OK) {
		check_count(k, "logs of nobody", b.unowned_logs);
		check_count(k, "blobs of nobody", b.unowned_blobs);
	}
	buf_clear(&b.owners);
	return e;
}
