/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/sending_kept.h"

#include <string.h>

#include "base/wire.h"

enum { KEPT_VERSION = 1, WINDOWS = 6, AGE_MOST = 2 * 24 * 60 /* minutes */ };

static struct sending_window *
window(struct sending *s, size_t i)
{
	struct sending_window *const all[WINDOWS] = {&s->messages, &s->recipients, &s->recipients_day,
						     &s->refused,  &s->reported,   &s->failed};
	return all[i];
}

void
sending_kept_name(const uint8_t key[CRYPTO_KEY_LEN], struct bytes account, uint8_t ret[SENDING_KEPT_NAME])
{
	uint8_t hash[CRYPTO_HASH_LEN];
	crypto_mac(key, account, hash);
	memcpy(ret, hash, SENDING_KEPT_NAME);
}

static bool
is_near(uint64_t count, uint64_t limit)
{
	return limit != 0 && count * SENDING_KEPT_PART >= limit;
}

void
sending_kept_add(struct sending_kept *k, const uint8_t name[SENDING_KEPT_NAME], uint32_t lifts,
		 struct sending *s, const struct sending_limits *l, msec now)
{
	struct sending_used u = sending_used(s, now);
	bool near = is_near(u.messages, l->messages) || is_near(u.recipients, l->recipients) ||
		    is_near(u.recipients_day, l->recipients_day) || is_near(u.refused, SENDING_PATIENCE) ||
		    is_near(u.failed, SENDING_REPORTED_MIN);
	if (!near || k->count == SENDING_KEPT_MOST) {
		return;
	}
	struct sending_kept_entry *e = &k->entries[k->count++];
	memset(e, 0, sizeof(*e));
	memcpy(e->name, name, sizeof(e->name));
	e->lifts = lifts;
	for (size_t i = 0; i < WINDOWS; i++) {
		*window(&e->sending, i) = *window(s, i);
	}
}

bool
sending_kept_take(struct sending_kept *k, const uint8_t name[SENDING_KEPT_NAME], uint32_t lifts,
		  struct sending *ret)
{
	for (size_t i = 0; i < k->count; i++) {
		if (memcmp(k->entries[i].name, name, SENDING_KEPT_NAME) == 0) {
			bool counts = k->entries[i].lifts == lifts;
			if (counts) {
				*ret = k->entries[i].sending;
			}
			k->entries[i] = k->entries[--k->count];
			explicit_bzero(&k->entries[k->count], sizeof(k->entries[k->count]));
			return counts;
		}
	}
	return false;
}

/* Three binary digits of it: at most an eighth off. Refusals are rounded in her favour. */
static uint32_t
rounded(uint32_t n, bool up)
{
	unsigned drop = 0;
	while (n >> drop > 7) {
		drop++;
	}
	uint32_t low = n >> drop << drop;
	uint64_t next = (uint64_t)low + ((uint64_t)1 << drop);
	return !up || low == n ? low : next > UINT32_MAX ? UINT32_MAX : (uint32_t)next;
}

static void
put(struct wire_writer *w, struct sending_kept_entry *e, msec now)
{
	wire_put_fixed(w, e->name, sizeof(e->name));
	wire_put_u32(w, e->lifts);
	for (size_t i = 0; i < WINDOWS; i++) {
		const struct sending_window *x = window(&e->sending, i);
		msec age = now < x->begin ? 0 : (now - x->begin) / MSEC_MINUTE;
		bool empty = x->begin == 0 || age > AGE_MOST;
		bool up = x != &e->sending.failed;
		wire_put_u16(w, empty ? 0 : (uint16_t)age);
		wire_put_u32(w, empty ? 0 : rounded(x->now, up));
		wire_put_u32(w, empty ? 0 : rounded(x->before, up));
	}
}

enum err
sending_kept_write(struct sending_kept *k, msec now, msec wall, struct buf *out)
{
	struct wire_writer w;
	size_t before = out->len;
	wire_writer_init(&w, out);
	wire_put_u8(&w, KEPT_VERSION);
	wire_put_u64(&w, (uint64_t)(wall / MSEC_MINUTE));
	wire_put_u16(&w, (uint16_t)k->count);
	for (size_t i = 0; i < k->count; i++) {
		put(&w, &k->entries[i], now);
	}
	while (w.error == ERR_OK && out->len - before < SENDING_KEPT_SIZE) {
		wire_put_u8(&w, 0);
	}
	return wire_done(&w);
}

static void
get(struct wire_reader *r, struct sending_kept_entry *e, msec passed, msec now)
{
	memset(e, 0, sizeof(*e));
	wire_get_fixed(r, e->name, sizeof(e->name));
	e->lifts = wire_get_u32(r);
	for (size_t i = 0; i < WINDOWS; i++) {
		struct sending_window *x = window(&e->sending, i);
		msec age = wire_get_u16(r) * MSEC_MINUTE;
		x->now = wire_get_u32(r);
		x->before = wire_get_u32(r);
		x->begin = now - age - passed;
		if (x->now == 0 && x->before == 0) {
			*x = (struct sending_window){.begin = 0};
		} else if (x->begin == 0) {
			x->begin = -1; /* 0 is none */
		}
	}
}

enum err
sending_kept_read(struct bytes plain, msec now, msec wall, struct sending_kept *k)
{
	struct wire_reader r;
	memset(k, 0, sizeof(*k));
	wire_reader_init(&r, plain);
	if (wire_get_u8(&r) != KEPT_VERSION) {
		return r.error == ERR_OK ? ERR_UNSUPPORTED : ERR_FORMAT;
	}
	uint64_t then = wire_get_u64(&r);
	size_t count = wire_get_u16(&r);
	uint64_t minute = (uint64_t)(wall / MSEC_MINUTE);
	if (r.error != ERR_OK || count > SENDING_KEPT_MOST || plain.len != SENDING_KEPT_SIZE) {
		return ERR_FORMAT;
	}
	if (then > minute || minute - then >= AGE_MOST) {
		return ERR_OK;
	}
	for (size_t i = 0; i < count && r.error == ERR_OK; i++) {
		get(&r, &k->entries[i], (msec)(minute - then) * MSEC_MINUTE, now);
	}
	if (r.error != ERR_OK) {
		memset(k, 0, sizeof(*k));
		return ERR_FORMAT;
	}
	k->count = count;
	return ERR_OK;
}
