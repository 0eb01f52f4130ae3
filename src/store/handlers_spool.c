/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The spool: units and parts that wait, their keys, and the transactions that release them. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "process/log.h"
#include "store/store_internal.h"

enum { PARTS_MAX = 512, CHARGES_MAX = 512, WALK_BYTES = IPC_PAYLOAD_MAX - 128 * 1024 };

/* What is decoded of a SPOOL_PUT; too large for a small stack. */
struct put {
	struct bytes parts[PARTS_MAX];
	uint8_t accounts[CHARGES_MAX][ACCOUNT_ID_LEN];
	uint64_t sizes[CHARGES_MAX];
	uint64_t quotas[CHARGES_MAX];
	size_t part_count;
	size_t charge_count;
};

static enum err
decode_put(struct put *p, struct bytes parts, struct bytes charges)
{
	struct wire_reader r;
	wire_reader_init(&r, parts);
	while (r.rest.len > 0 && r.error == ERR_OK && p->part_count < PARTS_MAX) {
		p->parts[p->part_count++] = wire_get_bytes(&r, IPC_PAYLOAD_MAX);
	}
	if (wire_end(&r) != ERR_OK) {
		return ERR_FORMAT;
	}
	wire_reader_init(&r, charges);
	while (r.rest.len > 0 && r.error == ERR_OK && p->charge_count < CHARGES_MAX) {
		size_t i = p->charge_count++;
		wire_get_fixed(&r, p->accounts[i], ACCOUNT_ID_LEN);
		p->sizes[i] = wire_get_u64(&r);
		p->quotas[i] = wire_get_u64(&r);
	}
	return wire_end(&r);
}

static enum err
put_unit(struct store *s, const struct msg_spool_put *m)
{
	if (m->claims.len % BLOB_NAME_LEN != 0) {
		return ERR_FORMAT;
	}
	struct put *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return ERR_AGAIN; /* nothing was written: no reason to roll others back */
	}
	enum err e = decode_put(p, m->parts, m->charges);
	for (size_t i = 0; i < p->charge_count && e == ERR_OK; i++) {
		e = store_check_account(s, p->accounts[i]);
	}
	if (e == ERR_OK) {
		e = store_check_claims(s, m->claims);
	}
	if (e == ERR_OK) {
		e = s->driver->spool_put(
		    s->storage, m->unit, m->state, p->parts, p->part_count,
		    (const uint8_t(*)[BLOB_NAME_LEN])(uintptr_t)m->claims.ptr, m->claims.len / BLOB_NAME_LEN,
		    (const uint8_t(*)[ACCOUNT_ID_LEN])p->accounts, p->sizes, p->quotas, p->charge_count);
	}
	if (e == ERR_OK) {
		store_claimed(s, m->claims);
	}
	free(p);
	return e;
}

enum err
store_spool_put(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_spool_put m;
	(void)ret_reply;
	if (msg_spool_put_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	return put_unit(s, &m);
}

/* ERR_NOT_FOUND of a step that was done before is what was wanted. */
static enum err
done_before(enum err e)
{
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* What waited for a member who is removed goes with her. */
static enum err
drop_part(struct store *s, const uint8_t unit[UNIT_ID_LEN], uint32_t part, const uint8_t blob[BLOB_NAME_LEN])
{
	enum err e = done_before(s->driver->spool_part_delete(s->storage, unit, part));
	return e == ERR_OK ? done_before(s->driver->blob_delete(s->storage, blob)) : e;
}

/* Of one batch. */
struct batch {
	struct buf put;  /* units that it puts */
	struct buf left; /* units with a part that it could not release, because of that one log's damage */
	uint32_t left_count;
};

static bool
has_unit(const struct buf *units, const uint8_t unit[UNIT_ID_LEN])
{
	for (size_t at = 0; at < units->len; at += UNIT_ID_LEN) {
		if (memcmp(units->ptr + at, unit, UNIT_ID_LEN) == 0) {
			return true;
		}
	}
	return false;
}

/*
 * A part whose log is damaged in a way that the driver cannot go around stays where it is: others wait in the same batch, and
 * it costs them nothing. It is tried again when what waits is loaded anew.
 */
static enum err
leave_part(struct store *s, struct batch *b, const uint8_t unit[UNIT_ID_LEN])
{
	if (!s->told_left) {
		/* Once: the figures tell the rest. */
		log_event(LOG_LEVEL_ERROR,
			  "a letter cannot be put into its log, which is damaged; it stays in the "
			  "waiting room and is tried again. Remedy: `cohue check`");
	}
	s->told_left = true;
	s->left_out++;
	b->left_count++;
	return buf_append(&b->left, bytes_of(unit, UNIT_ID_LEN));
}

static enum err
run_op(struct store *s, struct batch *b, struct wire_reader *r)
{
	uint8_t op = wire_get_u8(r);
	if (op == SPOOL_OP_BLOB_DELETE) {
		uint8_t blob[BLOB_NAME_LEN];
		wire_get_fixed(r, blob, sizeof(blob));
		return r->error != ERR_OK ? ERR_FORMAT
					  : done_before(s->driver->blob_delete(s->storage, blob));
	}
	if (op == SPOOL_OP_META) {
		struct bytes name = wire_get_bytes(r, META_NAME_MAX);
		struct bytes value = wire_get_bytes(r, STORAGE_VALUE_MAX);
		return r->error != ERR_OK ? ERR_FORMAT : store_write_meta(s, name, value);
	}
	uint8_t unit[UNIT_ID_LEN];
	wire_get_fixed(r, unit, sizeof(unit));
	if (op == SPOOL_OP_PUT) {
		struct msg_spool_put m = {.unused_ = 0};
		memcpy(m.unit, unit, sizeof(m.unit));
		m.state = wire_get_bytes(r, STORAGE_VALUE_MAX);
		m.parts = wire_get_bytes(r, IPC_UNIT_MAX);
		m.claims = wire_get_bytes(r, IPC_UNIT_MAX);
		m.charges = wire_get_bytes(r, IPC_UNIT_MAX);
		if (r->error != ERR_OK) {
			return ERR_FORMAT;
		}
		enum err e = put_unit(s, &m);
		return e == ERR_OK ? buf_append(&b->put, bytes_of(unit, UNIT_ID_LEN)) : e;
	}
	if (op == SPOOL_OP_STATE) {
		struct bytes state = wire_get_bytes(r, STORAGE_VALUE_MAX);
		return r->error != ERR_OK ? ERR_FORMAT : s->driver->spool_state(s->storage, unit, state);
	}
	if (op == SPOOL_OP_DELETE) {
		if (r->error == ERR_OK && has_unit(&b->left, unit) && !has_unit(&b->put, unit)) {
			return ERR_OK; /* it still holds that part */
		}
		return r->error != ERR_OK ? ERR_FORMAT
					  : done_before(s->driver->spool_delete(s->storage, unit));
	}
	uint32_t part = wire_get_u32(r);
	if (op == SPOOL_OP_PART_PUT) {
		struct bytes body = wire_get_bytes(r, IPC_PAYLOAD_MAX);
		return r->error != ERR_OK ? ERR_FORMAT
					  : s->driver->spool_part_put(s->storage, unit, part, body);
	}
	if (op == SPOOL_OP_PART_DELETE) {
		return r->error != ERR_OK ? ERR_FORMAT
					  : done_before(s->driver->spool_part_delete(s->storage, unit, part));
	}
	if (op == SPOOL_OP_RELEASE) {
		uint8_t account[ACCOUNT_ID_LEN];
		uint8_t blob[BLOB_NAME_LEN];
		struct storage_head head;
		wire_get_fixed(r, account, sizeof(account));
		wire_get_fixed(r, blob, sizeof(blob));
		if (r->error != ERR_OK) {
			return ERR_FORMAT;
		}
		enum err e = store_check_account(s, account);
		if (e == ERR_NOT_FOUND) {
			return drop_part(s, unit, part, blob);
		}
		e = e == ERR_OK ? s->driver->spool_release(s->storage, unit, part, account, &head) : e;
		if (e == ERR_DAMAGED) {
			return leave_part(s, b, unit);
		}
		return e == ERR_OK ? store_note_change(s, account, head.n) : done_before(e);
	}
	if (op == SPOOL_OP_MOVE) {
		uint8_t to[UNIT_ID_LEN];
		wire_get_fixed(r, to, sizeof(to));
		struct bytes state = wire_get_bytes(r, STORAGE_VALUE_MAX);
		return r->error != ERR_OK
			   ? ERR_FORMAT
			   : done_before(s->driver->spool_move(s->storage, unit, part, to, state));
	}
	return ERR_FORMAT;
}

static enum err
run_ops(struct store *s, struct batch *b, struct bytes ops)
{
	struct wire_reader r;
	wire_reader_init(&r, ops);
	size_t done = 0;
	while (r.rest.len > 0 && r.error == ERR_OK) {
		enum err e = run_op(s, b, &r);
		if (e != ERR_OK) {
			/*
			 * One transaction for the whole batch: a step that fails behind others rolls
			 * the turn back. The first step alone leaves nothing behind.
			 */
			s->must_roll_back = done > 0 && e != ERR_FORMAT;
			return e;
		}
		done++;
	}
	return wire_end(&r);
}

enum err
store_spool_batch(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_spool_batch m;
	if (msg_spool_batch_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct batch b = {.put = BUF_INIT(IPC_UNIT_MAX), .left = BUF_INIT(IPC_UNIT_MAX)};
	enum err e = run_ops(s, &b, m.ops);
	if (e == ERR_OK) {
		struct msg_spool_batch_reply reply = {.left = b.left_count};
		e = msg_spool_batch_reply_encode(ret_reply, &reply);
	}
	buf_clear(&b.put);
	buf_clear(&b.left);
	return e;
}

enum err
store_spool_part_get(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_spool_part_get m;
	if (msg_spool_part_get_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct buf body = BUF_INIT(IPC_PAYLOAD_MAX - 64);
	enum err e = s->driver->spool_part_get(s->storage, m.unit, m.part, &body);
	if (e == ERR_OK) {
		struct msg_spool_part_get_reply r = {.body = buf_bytes(&body)};
		e = msg_spool_part_get_reply_encode(ret_reply, &r);
	}
	buf_clear(&body);
	return e;
}

struct walk {
	struct buf rows;
	bool more;
	bool keys; /* of spool_keys: the number instead of the name */
};

static enum err
add_row(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct walk *w = arg;
	if (w->rows.len > 0 && w->rows.len + key.len + value.len + 8 > WALK_BYTES) {
		w->more = true;
		return ERR_AGAIN;
	}
	struct wire_writer out;
	wire_writer_init(&out, &w->rows);
	if (w->keys) {
		wire_put_u32(&out, part);
	} else {
		wire_put_fixed(&out, key.ptr, key.len);
	}
	wire_put_bytes(&out, value);
	return wire_done(&out);
}

enum err
store_spool_walk(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_spool_walk m;
	if (msg_spool_walk_decode(q->payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct walk w = {.rows = BUF_INIT(IPC_PAYLOAD_MAX - 64), .more = false, .keys = false};
	enum err e = s->driver->spool_walk(s->storage, bytes_of(m.after, sizeof(m.after)), add_row, &w);
	if (e == ERR_AGAIN && w.more) {
		e = ERR_OK;
	}
	if (e == ERR_OK) {
		struct msg_spool_walk_reply r = {.more = w.more, .rows = buf_bytes(&w.rows)};
		e = msg_spool_walk_reply_encode(ret_reply, &r);
	}
	buf_clear(&w.rows);
	return e;
}

enum err
store_spool_keys(struct store *s, const struct request *q, struct buf *ret_reply)
{
	struct msg_spool_keys m;
	if (msg_spool_keys_decode(q->payload, &m) != ERR_OK || m.op > 2) {
		return ERR_FORMAT;
	}
	struct walk w = {.rows = BUF_INIT(IPC_PAYLOAD_MAX - 64), .more = false, .keys = true};
	enum err e;
	if (m.op == 1) {
		e = s->driver->spool_key_put(s->storage, m.epoch, m.value);
	} else if (m.op == 2) {
		e = done_before(s->driver->spool_key_delete(s->storage, m.epoch));
	} else {
		e = s->driver->spool_key_walk(s->storage, add_row, &w);
	}
	if (e == ERR_OK) {
		struct msg_spool_keys_reply r = {.rows = buf_bytes(&w.rows)};
		e = msg_spool_keys_reply_encode(ret_reply, &r);
	}
	buf_clear(&w.rows);
	return e;
}
