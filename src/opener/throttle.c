/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "opener/throttle.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/crypto.h"

enum {
	WAYS = 4, /* places that a hash may take */
	TAG_LEN = 16,
	FAILURES_MOST = 40, /* more change nothing */
	FIRST_MS = 250,
	KEPT_FAILURES = 8, /* of a trusted pair, before the trust ends; attempts under way count */
};

enum kind { KIND_ADDRESS = 1, KIND_NAME, KIND_PAIR };

struct place {
	uint8_t tag[TAG_LEN];
	msec since; /* from here on failures are forgiven */
	msec next;  /* the next turn */
	uint16_t failures;
	bool used;
	bool trusted;
};

struct throttle {
	uint8_t key[CRYPTO_KEY_LEN];
	msec key_since;
	struct place *places;
};

static void
renew(struct throttle *t, msec now)
{
	crypto_random_bytes(t->key, sizeof(t->key));
	secret_wipe(t->places, sizeof(*t->places) * THROTTLE_PLACES);
	t->key_since = now;
}

enum err
throttle_create(msec now, struct throttle **ret)
{
	struct throttle *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return ERR_MEMORY;
	}
	t->places = calloc(THROTTLE_PLACES, sizeof(*t->places));
	if (t->places == NULL) {
		free(t);
		return ERR_MEMORY;
	}
	renew(t, now);
	*ret = t;
	return ERR_OK;
}

void
throttle_destroy(struct throttle **t)
{
	if (*t == NULL) {
		return;
	}
	secret_wipe((*t)->places, sizeof(*(*t)->places) * THROTTLE_PLACES);
	free((*t)->places);
	secret_wipe(*t, sizeof(**t));
	free(*t);
	*t = NULL;
}

/* Who has one IPv6 address has its whole /64. */
static struct bytes
network_of(const uint8_t address[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	return bytes_of(address, memcmp(address, mapped, sizeof(mapped)) == 0 ? 16 : 8);
}

static void
hash(const struct throttle *t, enum kind kind, const struct throttle_attempt *a, uint8_t ret[CRYPTO_HASH_LEN])
{
	struct crypto_hasher h;
	uint8_t octet = (uint8_t)kind;
	struct bytes network = network_of(a->address);
	uint8_t len = (uint8_t)network.len;
	crypto_hasher_init(&h, t->key);
	crypto_hasher_update(&h, bytes_of(&octet, 1));
	if (kind != KIND_NAME) {
		crypto_hasher_update(&h, bytes_of(&len, 1));
		crypto_hasher_update(&h, network);
	}
	if (kind != KIND_ADDRESS) {
		crypto_hasher_update(&h, a->name);
	}
	crypto_hasher_final(&h, ret);
}

static void
forgive(struct place *p, msec now)
{
	if (now <= p->since) {
		return;
	}
	msec times = (now - p->since) / THROTTLE_FORGIVE_MS;
	p->failures = times >= p->failures ? 0 : (uint16_t)(p->failures - times);
	p->since += times * THROTTLE_FORGIVE_MS;
}

/* Whether a is of less use than b, and so makes way. */
static bool
is_lesser(const struct place *a, const struct place *b)
{
	if (a->used != b->used) {
		return !a->used;
	}
	if (a->failures != b->failures) {
		return a->failures < b->failures;
	}
	if (a->trusted != b->trusted) {
		return !a->trusted;
	}
	return a->since < b->since;
}

/* The place of this hash; `make`: taken from the least of its neighbours where it has none. NULL without. */
static struct place *
find(struct throttle *t, msec now, enum kind kind, const struct throttle_attempt *a, bool make)
{
	uint8_t h[CRYPTO_HASH_LEN];
	hash(t, kind, a, h);
	size_t set = ((size_t)h[TAG_LEN] << 8 | h[TAG_LEN + 1]) % (THROTTLE_PLACES / WAYS);
	struct place *first = &t->places[set * WAYS];
	struct place *least = first;
	for (size_t i = 0; i < WAYS; i++) {
		struct place *p = &first[i];
		if (p->used) {
			forgive(p, now);
		}
		if (p->used && memcmp(p->tag, h, TAG_LEN) == 0) {
			return p;
		}
		if (is_lesser(p, least)) {
			least = p;
		}
	}
	if (!make) {
		return NULL;
	}
	memset(least, 0, sizeof(*least));
	memcpy(least->tag, h, TAG_LEN);
	least->used = true;
	least->since = now;
	return least;
}

static msec
distance(const struct place *p, unsigned free_failures)
{
	if (p->failures <= free_failures) {
		return 0;
	}
	unsigned doublings = p->failures - free_failures - 1;
	msec ms = doublings > 7 ? THROTTLE_MOST_MS : (msec)FIRST_MS << doublings;
	return ms > THROTTLE_MOST_MS ? THROTTLE_MOST_MS : ms;
}

static void
count(struct place *p, msec now, msec at, unsigned free_failures)
{
	if (p->failures == 0) {
		p->since = now;
	}
	if (p->failures < FAILURES_MOST) {
		p->failures++;
	}
	p->next = at + distance(p, free_failures);
}

static void
take_back(struct place *p)
{
	if (p != NULL && p->failures > 0) {
		p->failures--;
	}
}

static bool
is_trusted(struct throttle *t, msec now, const struct throttle_attempt *a, struct place **ret_pair)
{
	*ret_pair = find(t, now, KIND_PAIR, a, false);
	return *ret_pair != NULL && (*ret_pair)->trusted;
}

msec
throttle_enter(struct throttle *t, msec now, struct throttle_attempt *a)
{
	a->trusted = false;
	if (now - t->key_since >= THROTTLE_KEY_MS) {
		renew(t, now);
	}
	struct place *pair = NULL;
	if (is_trusted(t, now, a, &pair)) {
		if (pair->failures < KEPT_FAILURES) {
			count(pair, now, now, FAILURES_MOST);
			a->trusted = true;
			return 0;
		}
		pair->trusted = false;
	}
	struct place *address = find(t, now, KIND_ADDRESS, a, true);
	msec at = address->next > now ? address->next : now;
	/* Looked for second, so it could have taken the first one's place: then there is just one to count. */
	struct place *name = a->guessable ? find(t, now, KIND_NAME, a, true) : NULL;
	if (name != NULL && name != address && name->next > at) {
		at = name->next;
	}
	if (at - now > THROTTLE_MOST_MS) {
		return THROTTLE_REFUSED;
	}
	if (name != NULL) {
		count(name, now, at, THROTTLE_FREE_NAME);
	}
	if (address != name) {
		count(address, now, at, THROTTLE_FREE_ADDRESS);
	}
	return at - now;
}

void
throttle_undo(struct throttle *t, msec now, const struct throttle_attempt *a)
{
	/* Where it was counted: another one of hers may have succeeded meanwhile. */
	if (a->trusted) {
		take_back(find(t, now, KIND_PAIR, a, false));
		return;
	}
	take_back(find(t, now, KIND_ADDRESS, a, false));
	if (a->guessable) {
		take_back(find(t, now, KIND_NAME, a, false));
	}
}

void
throttle_succeeded(struct throttle *t, msec now, const struct throttle_attempt *a)
{
	throttle_undo(t, now, a);
	struct place *pair = find(t, now, KIND_PAIR, a, true);
	pair->trusted = true;
	pair->failures = 0;
	pair->since = now;
}
