/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/rate.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"

enum {
	SETS = 16384,
	WAYS = 4, /* places that one hash may stand in */
	UNIT = 1024,
	KIND_FIRST = 100, /* came once */
	KIND_KNOWN = 101, /* networks that came again */
	KNOWN_HEAD = 4,
	KNOWN_SIZE = 10,
	FIRST_KEPT_MS = 24 * 3600 * 1000,
};
#define KNOWN_KEPT ((msec)35 * MSEC_DAY)

/* 24 octets: both tables together are 3 MiB. */
struct slot {
	uint64_t tag;   /* 0: empty */
	uint64_t level; /* in 1/UNIT; of who came: 1 for a known network */
	msec at;
};

struct rate_table {
	uint8_t key[CRYPTO_KEY_LEN];
	uint8_t known_key[CRYPTO_KEY_LEN];
	struct slot rates[SETS * WAYS];
	struct slot seen[SETS * WAYS];
};

enum err
rate_create(const uint8_t key[CRYPTO_KEY_LEN], struct rate_table **ret)
{
	struct rate_table *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return ERR_MEMORY;
	}
	memcpy(t->key, key, CRYPTO_KEY_LEN);
	memcpy(t->known_key, key, CRYPTO_KEY_LEN);
	*ret = t;
	return ERR_OK;
}

void
rate_destroy(struct rate_table **t)
{
	if (*t != NULL) {
		explicit_bzero(*t, sizeof(**t));
		free(*t);
		*t = NULL;
	}
}

size_t
rate_network(const uint8_t address[16], uint8_t ret[RATE_NETWORK_MAX])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	if (memcmp(address, mapped, sizeof(mapped)) == 0) {
		ret[0] = 4;
		memcpy(ret + 1, address + 12, 3);
		return 4;
	}
	ret[0] = 6;
	memcpy(ret + 1, address, 7);
	return 8;
}

static uint64_t
hash(const struct rate_table *t, unsigned kind, const struct bytes *parts, size_t count)
{
	struct crypto_hasher h;
	uint8_t out[CRYPTO_HASH_LEN];
	uint8_t front = (uint8_t)kind;
	uint64_t tag;
	crypto_hasher_init(&h, kind == KIND_KNOWN ? t->known_key : t->key);
	crypto_hasher_update(&h, bytes_of(&front, 1));
	for (size_t i = 0; i < count; i++) {
		uint64_t len = parts[i].len;
		crypto_hasher_update(&h, bytes_of(&len, sizeof(len)));
		crypto_hasher_update(&h, parts[i]);
	}
	crypto_hasher_final(&h, out);
	memcpy(&tag, out, sizeof(tag));
	explicit_bzero(out, sizeof(out));
	return tag == 0 ? 1 : tag;
}

/* Of WAYS places: the one that is its own, else an empty one, else the one that was quiet longest, emptied for it. */
static struct slot *
find(struct slot *table, uint64_t tag, bool make)
{
	struct slot *set = &table[(tag % SETS) * WAYS];
	struct slot *least = &set[0];
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].tag == tag) {
			return &set[i];
		}
		if (least->tag != 0 && (set[i].tag == 0 || set[i].at < least->at)) {
			least = &set[i];
		}
	}
	if (!make) {
		return NULL;
	}
	*least = (struct slot){.tag = tag};
	return least;
}

bool
rate_take(struct rate_table *t, enum rate_kind kind, struct bytes who, uint32_t limit, msec window,
	  unsigned add, msec now)
{
	if (limit == 0) {
		return true;
	}
	uint64_t tag = hash(t, kind, &who, 1);
	struct slot *s = find(t->rates, tag, add > 0);
	if (s == NULL) {
		return true;
	}
	uint64_t full = (uint64_t)limit * UNIT;
	uint64_t passed = now > s->at ? (uint64_t)(now - s->at) : 0;
	uint64_t out = passed >= (uint64_t)window ? full : full * passed / (uint64_t)window;
	uint64_t level = s->level > out ? s->level - out : 0;
	/* What is left is put down only where a time step was worth something: else many small ones would be lost. */
	if (out > 0 || s->level == 0) {
		s->level = level;
		s->at = now;
	}
	if (s->level + (uint64_t)(add > 0 ? add : 1) * UNIT > full) {
		return false;
	}
	s->level += (uint64_t)add * UNIT;
	return true;
}

bool
rate_has_come_again(struct rate_table *t, struct bytes network, struct bytes sender, struct bytes recipient,
		    msec delay, msec now)
{
	const struct bytes whole[] = {network, sender, recipient};
	uint64_t known = hash(t, KIND_KNOWN, &network, 1);
	struct slot *s = find(t->seen, known, false);
	if (s != NULL && now - s->at < KNOWN_KEPT) {
		s->at = now;
		return true;
	}
	uint64_t tag = hash(t, KIND_FIRST, whole, 3);
	s = find(t->seen, tag, false);
	if (s == NULL || now - s->at > FIRST_KEPT_MS) {
		find(t->seen, tag, true)->at = now;
		return false;
	}
	if (now - s->at < delay) {
		return false;
	}
	s->tag = 0;
	s = find(t->seen, known, true);
	s->at = now;
	s->level = 1;
	return true;
}

/* ---- over a restart ---- */

void
rate_known_under(struct rate_table *t, const uint8_t key[CRYPTO_KEY_LEN])
{
	memcpy(t->known_key, key, CRYPTO_KEY_LEN);
}

static int
later(const void *a, const void *b)
{
	const struct slot *const *x = a;
	const struct slot *const *y = b;
	return (*x)->at < (*y)->at ? 1 : (*x)->at > (*y)->at ? -1 : 0;
}

enum err
rate_known_write(const struct rate_table *t, msec now, msec wall, size_t room, struct buf *out)
{
	struct wire_writer w;
	const struct slot **list = calloc(sizeof(t->seen) / sizeof(t->seen[0]), sizeof(*list));
	size_t n = 0;
	if (list == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < sizeof(t->seen) / sizeof(t->seen[0]); i++) {
		if (t->seen[i].tag != 0 && t->seen[i].level == 1 && now - t->seen[i].at < KNOWN_KEPT) {
			list[n++] = &t->seen[i];
		}
	}
	qsort(list, n, sizeof(const struct slot *), later);
	size_t most = room < KNOWN_HEAD ? 0 : (room - KNOWN_HEAD) / KNOWN_SIZE;
	n = n < most ? n : most;
	wire_writer_init(&w, out);
	wire_put_u32(&w, (uint32_t)(wall / MSEC_HOUR));
	for (size_t i = 0; i < n; i++) {
		wire_put_u64(&w, list[i]->tag);
		wire_put_u16(&w, (uint16_t)((now - list[i]->at) / MSEC_HOUR));
	}
	free(list);
	return wire_done(&w);
}

enum err
rate_known_read(struct rate_table *t, struct bytes octets, msec now, msec wall)
{
	struct wire_reader r;
	wire_reader_init(&r, octets);
	msec passed = wall - wire_get_u32(&r) * MSEC_HOUR;
	if (r.error != ERR_OK || r.rest.len % KNOWN_SIZE != 0) {
		return ERR_FORMAT;
	}
	passed = passed < 0 ? 0 : passed;
	while (r.rest.len > 0 && r.error == ERR_OK) {
		uint64_t tag = wire_get_u64(&r);
		msec age = wire_get_u16(&r) * MSEC_HOUR + passed;
		struct slot *s = tag == 0 || age >= KNOWN_KEPT ? NULL : find(t->seen, tag, true);
		if (s != NULL && (s->level == 0 || s->at < now - age)) {
			s->at = now - age;
			s->level = 1;
		}
	}
	return wire_end(&r);
}
