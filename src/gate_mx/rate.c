/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/rate.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"

enum {
	SETS = 16384,
	WAYS = 4, /* places that one hash may stand in */
	UNIT = 1024,
	KIND_FIRST = 100, /* came once */
	KIND_KNOWN = 101, /* networks that came again */
	FIRST_KEPT_MS = 24 * 3600 * 1000,
};
#define KNOWN_KEPT ((msec)35 * MSEC_DAY)

/* 24 octets: both tables together are 3 MiB. */
struct slot {
	uint64_t tag;   /* 0: empty */
	uint64_t level; /* in 1/UNIT; of who came: 0 */
	msec at;
};

struct rate_table {
	uint8_t key[CRYPTO_KEY_LEN];
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
	crypto_hasher_init(&h, t->key);
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
	find(t->seen, known, true)->at = now;
	return true;
}
