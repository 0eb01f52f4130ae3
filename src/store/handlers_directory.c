/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The directory, small named values, and the table of all handlers. */
#include <string.h>

#include "base/wire.h"
#include "store/store_internal.h"

enum {
	WALK_BYTES = IPC_PAYLOAD_MAX - 128 * 1024,
	OP_PUT = 1,
	OP_CREATE = 2,
	OP_DELETE = 3,
	OP_ACCOUNT = 4,
};

enum err
store_directory_get(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_directory_get m;
	if (msg_directory_get_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct buf value = BUF_INIT(STORAGE_VALUE_MAX);
	enum err e = s->driver->directory_get(s->storage, m.key, &value);
	if (e == ERR_OK) {
		struct msg_directory_get_reply r = {.value = buf_bytes(&value)};
		e = msg_directory_get_reply_encode(ret_reply, &r);
	}
	buf_clear(&value);
	return e;
}

/* All of the list or none: what could fail is looked at before the first write. */
static enum err
write_ops(struct store *s, struct bytes ops, bool dry)
{
	struct wire_reader r;
	wire_reader_init(&r, ops);
	enum err e = ERR_OK;
	while (e == ERR_OK && r.rest.len > 0 && r.error == ERR_OK) {
		uint8_t key[ADDRESS_KEY_LEN];
		uint8_t op = wire_get_u8(&r);
		wire_get_fixed(&r, key, sizeof(key));
		struct bytes value = wire_get_bytes(&r, STORAGE_VALUE_MAX);
		if (r.error != ERR_OK || op < OP_PUT || op > OP_ACCOUNT ||
		    (op == OP_ACCOUNT && value.len != ACCOUNT_ID_LEN)) {
			return ERR_FORMAT;
		}
		if (op == OP_ACCOUNT) {
			e = dry ? ERR_OK : s->driver->account_create(s->storage, value.ptr);
		} else if (dry) {
			struct buf old = BUF_INIT(STORAGE_VALUE_MAX);
			enum err there = s->driver->directory_get(s->storage, key, &old);
			buf_clear(&old);
			if (there != ERR_OK && there != ERR_NOT_FOUND) {
				return there;
			}
			e = op == OP_CREATE && there == ERR_OK ? ERR_EXISTS : ERR_OK;
		} else if (op == OP_PUT) {
			e = s->driver->directory_put(s->storage, key, value);
		} else if (op == OP_CREATE) {
			e = s->driver->directory_create(s->storage, key, value);
		} else {
			e = s->driver->directory_delete(s->storage, key);
			e = e == ERR_NOT_FOUND ? ERR_OK : e;
		}
	}
	return e != ERR_OK ? e : wire_end(&r);
}

enum err
store_directory_write(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_directory_write m;
	(void)ret_reply;
	if (msg_directory_write_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	enum err e = write_ops(s, m.ops, true);
	if (e != ERR_OK) {
		return e;
	}
	e = write_ops(s, m.ops, false);
	/* Half a list must not stay: an error that should have been seen rolls the turn back. */
	s->must_roll_back = e != ERR_OK && e != ERR_FORMAT;
	return e;
}

struct walk {
	struct buf rows;
	bool more;
};

static enum err
add_entry(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct walk *w = arg;
	(void)part;
	if (w->rows.len > 0 && w->rows.len + key.len + value.len + 8 > WALK_BYTES) {
		w->more = true;
		return ERR_AGAIN;
	}
	struct wire_writer out;
	wire_writer_init(&out, &w->rows);
	wire_put_fixed(&out, key.ptr, key.len);
	wire_put_bytes(&out, value);
	return wire_done(&out);
}

enum err
store_directory_walk(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_directory_walk m;
	if (msg_directory_walk_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct walk w = {.rows = BUF_INIT(IPC_PAYLOAD_MAX - 64), .more = false};
	/* Keys are hashes: none is all zero, so zeros are before the first. */
	enum err e = s->driver->directory_walk(s->storage, bytes_of(m.after, sizeof(m.after)), add_entry, &w);
	if (e == ERR_AGAIN && w.more) {
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		struct msg_directory_walk_reply r = {.more = w.more, .rows = buf_bytes(&w.rows)};
		e = msg_directory_walk_reply_encode(ret_reply, &r);
	}
	buf_clear(&w.rows);
	return e;
}

enum err
store_account_delete(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_account_delete m;
	(void)ret_reply;
	if (msg_account_delete_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	return s->driver->account_delete(s->storage, m.account);
}

static bool
meta_name(struct bytes name, char ret[META_NAME_MAX])
{
	if (name.len == 0 || name.len >= META_NAME_MAX || bytes_find(name, 0) >= 0) {
		return false;
	}
	memcpy(ret, name.ptr, name.len);
	ret[name.len] = '\0';
	return true;
}

enum err
store_meta_get(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_meta_get m;
	char name[META_NAME_MAX];
	if (msg_meta_get_decode(q->payload, &m) != ERR_OK || !meta_name(m.name, name)) {
		return ERR_FORMAT;
	}
	struct buf value = BUF_INIT(STORAGE_VALUE_MAX);
	enum err e = s->driver->meta_get(s->storage, name, &value);
	if (e == ERR_OK) {
		struct msg_meta_get_reply r = {.value = buf_bytes(&value)};
		e = msg_meta_get_reply_encode(ret_reply, &r);
	}
	buf_clear(&value);
	return e;
}

enum err
store_write_meta(struct store *s, struct bytes text, struct bytes value)
{
	char name[META_NAME_MAX];
	return meta_name(text, name) ? s->driver->meta_put(s->storage, name, value) : ERR_FORMAT;
}

enum err
store_meta_put(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_meta_put m;
	(void)ret_reply;
	return msg_meta_put_decode(q->payload, &m) == ERR_OK ? store_write_meta(s, m.name, m.value)
							     : ERR_FORMAT;
}

static const struct store_handler handlers[MSG__COUNT] = {
    [MSG_DIRECTORY_GET] = {store_directory_get, false, false},
    [MSG_DIRECTORY_WRITE] = {store_directory_write, true, false},
    [MSG_DIRECTORY_WALK] = {store_directory_walk, false, false},
    [MSG_ACCOUNT_DELETE] = {store_account_delete, true, false},
    [MSG_BLOB_NAMES] = {store_blob_names, false, false},
    [MSG_BLOBS_DELETE] = {store_blobs_delete, true, false},
    [MSG_LOG_HEAD] = {store_log_head, false, true},
    [MSG_LOG_READ] = {store_log_read, false, true},
    [MSG_LOG_READ_MANY] = {store_log_read_many, false, true},
    [MSG_LOG_APPEND] = {store_log_append, true, false},
    [MSG_LOG_DELETE] = {store_log_delete, true, false},
    [MSG_SNAPSHOT_PUT] = {store_snapshot_put, true, false},
    [MSG_SNAPSHOT_GET] = {store_snapshot_get, false, false},
    [MSG_BLOB_PUT] = {store_blob_put, true, false},
    [MSG_BLOB_GET] = {store_blob_get, false, false},
    [MSG_BLOB_GET_MANY] = {store_blob_get_many, false, false},
    [MSG_SPOOL_PUT] = {store_spool_put, true, false},
    [MSG_SPOOL_BATCH] = {store_spool_batch, true, false},
    [MSG_SPOOL_PART_GET] = {store_spool_part_get, false, false},
    [MSG_SPOOL_WALK] = {store_spool_walk, false, false},
    [MSG_SPOOL_KEYS] = {store_spool_keys, true, false},
    [MSG_META_GET] = {store_meta_get, false, false},
    [MSG_META_PUT] = {store_meta_put, true, false},
};

const struct store_handler *
store_handler(enum msg_type type)
{
	return (unsigned)type < MSG__COUNT && handlers[type].fn != NULL ? &handlers[type] : NULL;
}
