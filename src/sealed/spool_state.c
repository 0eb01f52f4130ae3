/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/secret.h"
#include "sealed/spool.h"
#include "sealed/value.h"

enum {
	STATE_STEP = 512,
	STATE_PLAIN_FIRST = 1, /* without author and release */
	STATE_PLAIN = 2,
};

static void
state_ad(struct sealed_ad *ad, const uint8_t unit[SEALED_ID_LEN])
{
	sealed_ad_init(ad, "cohue spool state 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, unit, SEALED_ID_LEN);
}

static void
put_part(struct wire_writer *w, const struct spool_part *p)
{
	wire_put_u32(w, p->number);
	wire_put_u8(w, (uint8_t)p->kind);
	wire_put_fixed(w, p->account, SEALED_ID_LEN);
	wire_put_fixed(w, p->blob, SEALED_ID_LEN);
	wire_put_u64(w, p->bytes);
	wire_put_u32(w, p->destinations);
	wire_put_u32(w, p->attempts);
	wire_put_u64(w, (uint64_t)p->due);
	wire_put_u32(w, p->epoch);
	wire_put_u32(w, p->flags);
}

static void
put_release(struct wire_writer *w, const struct spool_state *s)
{
	wire_put_u32(w, s->since_day);
	wire_put_u32(w, s->generation);
	wire_put_fixed(w, s->public_key, BOX_PUBLIC_LEN);
	wire_put_u64(w, (uint64_t)s->left);
	wire_put_u8(w, s->is_void ? 1 : 0);
	wire_put_u32(w, s->crowd);
	wire_put_u32(w, s->batch);
}

static void
get_release(struct wire_reader *r, struct spool_state *s)
{
	s->since_day = wire_get_u32(r);
	s->generation = wire_get_u32(r);
	wire_get_fixed(r, s->public_key, BOX_PUBLIC_LEN);
	s->left = (msec)wire_get_u64(r);
	uint8_t is_void = wire_get_u8(r);
	sealed_expect(r, is_void <= 1);
	s->is_void = is_void == 1;
	s->crowd = wire_get_u32(r);
	s->batch = wire_get_u32(r);
}

static bool
kinds_fit(const struct spool_state *s)
{
	bool fit = (s->stage == SPOOL_LEAVING || s->stage == SPOOL_ARRIVING) &&
		   (unsigned)s->sender_kind <= SPOOL_SENDER_HOST;
	for (size_t i = 0; fit && i < s->part_count; i++) {
		fit = (s->parts[i].kind == SPOOL_PART_COURIER || s->parts[i].kind == SPOOL_PART_LOCAL) &&
		      (i == 0 || s->parts[i].number > s->parts[i - 1].number);
	}
	return fit;
}

enum err
spool_state_seal(const struct spool_state *state, const uint8_t spool_state_key[SEALED_KEY_LEN],
		 const uint8_t unit[SEALED_ID_LEN], struct buf *ret)
{
	struct buf plain = BUF_INIT(SPOOL_STATE_MAX);
	struct wire_writer w;
	struct sealed_ad ad;
	size_t before = ret->len;

	if (state->part_count > SPOOL_PARTS_MAX) {
		return ERR_LIMIT;
	}
	if (!kinds_fit(state)) {
		return ERR_FORMAT;
	}
	wire_writer_init(&w, &plain);
	wire_put_u8(&w, STATE_PLAIN);
	wire_put_u8(&w, (uint8_t)state->stage);
	wire_put_u8(&w, (uint8_t)state->sender_kind);
	wire_put_fixed(&w, state->sender, SEALED_ID_LEN);
	wire_put_u64(&w, (uint64_t)state->entered);
	wire_put_u64(&w, (uint64_t)state->wall_entered);
	wire_put_u64(&w, (uint64_t)state->due);
	wire_put_u8(&w, state->size_class);
	wire_put_u8(&w, state->lane);
	wire_put_u32(&w, state->weight);
	wire_put_u32(&w, state->attempts);
	wire_put_u32(&w, state->flags);
	wire_put_u32(&w, state->epoch);
	put_release(&w, state);
	wire_put_u16(&w, (uint16_t)state->part_count);
	for (size_t i = 0; i < state->part_count; i++) {
		put_part(&w, &state->parts[i]);
	}
	enum err e = wire_done(&w);
	state_ad(&ad, unit);
	if (e == ERR_OK) {
		e = buf_append_byte(ret, SEALED_VERSION);
	}
	if (e == ERR_OK) {
		e = sealed_body_put(spool_state_key, &ad, buf_bytes(&plain),
				    sealed_step(plain.len, STATE_STEP), ret);
	}
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	buf_wipe(&plain);
	return e;
}

static void
get_part(struct wire_reader *r, struct spool_part *p)
{
	p->number = wire_get_u32(r);
	uint8_t kind = wire_get_u8(r);
	p->kind = (enum spool_part_kind)kind;
	wire_get_fixed(r, p->account, SEALED_ID_LEN);
	wire_get_fixed(r, p->blob, SEALED_ID_LEN);
	p->bytes = wire_get_u64(r);
	p->destinations = wire_get_u32(r);
	p->attempts = wire_get_u32(r);
	p->due = (msec)wire_get_u64(r);
	p->epoch = wire_get_u32(r);
	p->flags = wire_get_u32(r);
}

enum err
spool_state_decode(struct bytes plain, struct arena *arena, struct spool_state *ret)
{
	struct wire_reader r;
	struct spool_state got = {.part_count = 0};

	wire_reader_init(&r, plain);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != STATE_PLAIN_FIRST && version != STATE_PLAIN) {
		return ERR_UNSUPPORTED;
	}
	got.stage = (enum spool_stage)wire_get_u8(&r);
	got.sender_kind = (enum spool_sender_kind)wire_get_u8(&r);
	wire_get_fixed(&r, got.sender, SEALED_ID_LEN);
	got.entered = (msec)wire_get_u64(&r);
	got.wall_entered = (msec)wire_get_u64(&r);
	got.due = (msec)wire_get_u64(&r);
	got.size_class = wire_get_u8(&r);
	got.lane = wire_get_u8(&r);
	got.weight = wire_get_u32(&r);
	got.attempts = wire_get_u32(&r);
	got.flags = wire_get_u32(&r);
	got.epoch = wire_get_u32(&r);
	if (version == STATE_PLAIN) {
		get_release(&r, &got);
	}
	size_t count = wire_get_u16(&r);
	sealed_expect(&r, count <= SPOOL_PARTS_MAX);
	if (r.error == ERR_OK && count > 0) {
		got.parts = arena_array(arena, count, sizeof(*got.parts));
		if (got.parts == NULL) {
			return ERR_MEMORY;
		}
		got.part_count = count;
	}
	for (size_t i = 0; i < got.part_count && r.error == ERR_OK; i++) {
		get_part(&r, &got.parts[i]);
	}
	enum err e = wire_end(&r);
	if (e == ERR_OK && !kinds_fit(&got)) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		*ret = got;
	}
	return e;
}

enum err
spool_state_open(const uint8_t spool_state_key[SEALED_KEY_LEN], const uint8_t unit[SEALED_ID_LEN],
		 struct bytes value, struct arena *arena, struct spool_state *ret)
{
	struct buf plain = BUF_INIT(SPOOL_STATE_MAX);
	struct sealed_ad ad;

	if (value.len < 1 || value.len > SPOOL_STATE_MAX) {
		return ERR_FORMAT;
	}
	if (value.ptr[0] != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	state_ad(&ad, unit);
	enum err e = sealed_body_get(spool_state_key, &ad, bytes_from(value, 1), &plain);
	if (e == ERR_OK) {
		e = spool_state_decode(buf_bytes(&plain), arena, ret);
	}
	buf_wipe(&plain);
	return e;
}
