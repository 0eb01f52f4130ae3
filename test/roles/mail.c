/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "roles/mail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void
name_of(uint8_t ret[16], char letter, unsigned number)
{
	char text[17];
	(void)snprintf(text, sizeof(text), "%c%015u", letter, number);
	memcpy(ret, text, 16);
	/* Spread, as random names are. */
	ret[0] = (uint8_t)(number * 2654435761U >> 24);
	ret[1] = (uint8_t)letter;
	/* The store's number of a row comes from the first eight octets. */
	for (unsigned i = 2; i < 8; i++) {
		ret[i] = (uint8_t)(number * UINT64_C(0x9E3779B97F4A7C15) >> (8 * i));
	}
}

static enum err
know(struct fake *opener, struct bytes ids)
{
	static const uint8_t no_key[32];
	struct buf ops = BUF_INIT(1 << 16);
	struct wire_writer w;
	struct answer a;
	wire_writer_init(&w, &ops);
	for (size_t at = 0; at < ids.len; at += 16) {
		wire_put_u8(&w, 4);
		wire_put_fixed(&w, no_key, sizeof(no_key));
		wire_put_bytes(&w, bytes_slice(ids, at, 16));
	}
	assert_int_equal(wire_done(&w), ERR_OK);
	struct msg_directory_write m = {.ops = buf_bytes(&ops)};
	answer_init(&a);
	enum err e = fake_ask(opener, DIRECTORY_WRITE, directory_write, &m, &a);
	answer_clear(&a);
	buf_clear(&ops);
	return e;
}

enum err
know_account(struct fake *opener, const uint8_t id[16])
{
	return know(opener, bytes_of(id, 16));
}

void
know_accounts(struct fake *opener)
{
	static uint8_t ids[256][16];
	for (unsigned i = 0; i < 256; i++) {
		name_of(ids[i], 'a', i);
	}
	assert_int_equal(know(opener, bytes_of(ids[0], sizeof(ids))), ERR_OK);
}

void
add_part(struct buf *parts, enum ipc_part_kind kind, unsigned account, const uint8_t blob[16],
	 uint64_t stored, uint64_t quota, uint32_t epoch, struct bytes body)
{
	struct wire_writer w;
	uint8_t id[16] = {0};
	if (kind != IPC_PART_COURIER) {
		name_of(id, 'a', account);
	}
	wire_writer_init(&w, parts);
	wire_put_u8(&w, (uint8_t)kind);
	wire_put_fixed(&w, id, 16);
	wire_put_fixed(&w, blob, 16);
	wire_put_u64(&w, stored);
	wire_put_u64(&w, quota);
	wire_put_u32(&w, epoch);
	wire_put_bytes(&w, body);
	assert_int_equal(wire_done(&w), ERR_OK);
}

enum err
put_blob(struct fake *f, const uint8_t blob[16], struct bytes data)
{
	struct answer a;
	enum err e;
	answer_init(&a);
	if (f->peer == ROLE_MIXER) {
		struct msg_mix_blob m = {.data = data};
		memcpy(m.blob, blob, 16);
		e = fake_ask(f, MIX_BLOB, mix_blob, &m, &a);
	} else {
		struct msg_blob_put m = {.data = data};
		memcpy(m.blob, blob, 16);
		e = fake_ask(f, BLOB_PUT, blob_put, &m, &a);
	}
	answer_clear(&a);
	return e;
}

enum err
post_unit(struct fake *f, enum ipc_stage stage, unsigned unit, struct bytes parts, struct answer *a)
{
	struct msg_mix_put m = {
	    .stage = (uint8_t)stage, .size = 1000, .weight = 1, .counts = 1, .parts = parts};
	name_of(m.unit, 'u', unit);
	if (stage == IPC_STAGE_LEAVING) {
		name_of(m.sender, 's', 1);
	}
	return f->ch == NULL ? ERR_CLOSED : channel_request(f->ch, MIX_PUT, mix_put, &m, 0, answer_take, a);
}

enum err
put_unit(struct fake *f, enum ipc_stage stage, unsigned unit, struct bytes parts)
{
	struct answer a;
	answer_init(&a);
	enum err e = post_unit(f, stage, unit, parts, &a);
	e = e == ERR_OK ? answer_wait(f->host, &a) : e;
	answer_clear(&a);
	return e;
}

unsigned
log_count(struct fake *session, unsigned account, struct bytes body)
{
	unsigned count = 0;
	struct msg_log_read q = {.from = 1, .max_bytes = 512 * 1024};
	struct answer a;
	bool more = true;
	name_of(q.account, 'a', account);
	answer_init(&a);
	while (more) {
		struct msg_log_read_reply r;
		assert_int_equal(fake_ask(session, LOG_READ, log_read, &q, &a), ERR_OK);
		assert_int_equal(msg_log_read_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		struct wire_reader rows;
		wire_reader_init(&rows, r.rows);
		while (rows.rest.len > 0 && rows.error == ERR_OK) {
			uint8_t before[32];
			uint64_t n = wire_get_u64(&rows);
			wire_get_fixed(&rows, before, 32);
			(void)wire_get_u8(&rows);
			struct bytes b = wire_get_bytes(&rows, IPC_PAYLOAD_MAX);
			/* Without a gap. */
			assert_true(n == q.from);
			q.from = n + 1;
			count += bytes_equal(b, body) ? 1 : 0;
		}
		assert_int_equal(wire_end(&rows), ERR_OK);
		more = r.more != 0;
	}
	answer_clear(&a);
	return count;
}

static struct msg_log_head_reply
head_of(struct fake *session, unsigned account)
{
	struct msg_log_head q;
	struct msg_log_head_reply r;
	struct answer a;
	name_of(q.account, 'a', account);
	answer_init(&a);
	assert_int_equal(fake_ask(session, LOG_HEAD, log_head, &q, &a), ERR_OK);
	assert_int_equal(msg_log_head_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	answer_clear(&a);
	return r;
}

uint64_t
log_length(struct fake *session, unsigned account)
{
	return head_of(session, account).n;
}

uint64_t
log_used(struct fake *session, unsigned account)
{
	return head_of(session, account).used;
}

unsigned
spool_count(struct fake *mixer)
{
	unsigned count = 0;
	struct msg_spool_walk q = {.unused_ = 0};
	struct answer a;
	bool more = true;
	answer_init(&a);
	while (more) {
		struct msg_spool_walk_reply r;
		assert_int_equal(fake_ask(mixer, SPOOL_WALK, spool_walk, &q, &a), ERR_OK);
		assert_int_equal(msg_spool_walk_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		struct wire_reader rows;
		wire_reader_init(&rows, r.rows);
		while (rows.rest.len > 0 && rows.error == ERR_OK) {
			wire_get_fixed(&rows, q.after, 16);
			(void)wire_get_bytes(&rows, IPC_PAYLOAD_MAX);
			count++;
		}
		assert_int_equal(wire_end(&rows), ERR_OK);
		more = r.more != 0;
	}
	answer_clear(&a);
	return count;
}

enum err
blob_is(struct fake *session, const uint8_t blob[16], struct bytes data)
{
	struct msg_blob_get q = {.first = 0, .count = 1};
	struct msg_blob_get_reply r;
	struct answer a;
	memcpy(q.blob, blob, 16);
	answer_init(&a);
	enum err e = fake_ask(session, BLOB_GET, blob_get, &q, &a);
	if (e == ERR_OK) {
		assert_int_equal(msg_blob_get_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		e = bytes_equal(bytes_from(r.chunks, 4), data) ? ERR_OK : ERR_DAMAGED;
	}
	answer_clear(&a);
	return e;
}
