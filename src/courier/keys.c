/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The spool's secret keys: fetched from the keeper when needed, and forgotten soon. */
#include <string.h>

#include "base/secret.h"
#include "courier/internal.h"

enum { KEYS_SWEEP_MS = 60 * 1000 };

static void
forget(struct spool_secret *k)
{
	secret_free(k->secret);
	*k = (struct spool_secret){.secret = NULL};
}

static void
on_sweep(struct timer *t)
{
	struct courier *c = t->arg;
	for (size_t i = 0; i < COURIER_KEYS_MAX; i++) {
		struct spool_secret *k = &c->keys[i];
		if (k->secret != NULL && loop_now(c->host->loop) - k->used > COURIER_KEY_MS) {
			forget(k);
		}
	}
	courier_keys_start(c);
}

void
courier_keys_start(struct courier *c)
{
	timer_init(&c->keys_timer, on_sweep, c);
	if (timer_start_after(c->host->loop, &c->keys_timer, KEYS_SWEEP_MS) != ERR_OK) {
		panic("no memory for a timer");
	}
}

static struct spool_secret *
find(struct courier *c, uint32_t epoch)
{
	for (size_t i = 0; i < COURIER_KEYS_MAX; i++) {
		if (c->keys[i].secret != NULL && c->keys[i].epoch == epoch) {
			return &c->keys[i];
		}
	}
	return NULL;
}

/* A free place, or that of the key used least lately. */
static struct spool_secret *
make_room(struct courier *c)
{
	struct spool_secret *oldest = &c->keys[0];
	for (size_t i = 0; i < COURIER_KEYS_MAX; i++) {
		if (c->keys[i].secret == NULL) {
			return &c->keys[i];
		}
		oldest = c->keys[i].used < oldest->used ? &c->keys[i] : oldest;
	}
	forget(oldest);
	return oldest;
}

static enum err
fetch(struct courier *c, uint32_t epoch)
{
	struct msg_spool_key_secret q = {.epoch = epoch};
	struct msg_spool_key_secret_reply r;
	struct buf reply = BUF_INIT(256);
	memset(&r, 0, sizeof(r));
	enum err e = channel_call(role_channel(c->host, ROLE_KEEPER, 0), SPOOL_KEY_SECRET, spool_key_secret,
				  &q, loop_now(c->host->loop) + COURIER_CALL_MS, &reply);
	if (e == ERR_OK) {
		e = msg_spool_key_secret_reply_decode(buf_bytes(&reply), &r);
	}
	/* Another task may have asked for the same meanwhile. */
	if (e == ERR_OK && find(c, epoch) == NULL) {
		struct spool_secret *k = make_room(c);
		k->secret = secret_alloc(BOX_SECRET_LEN);
		if (k->secret == NULL) {
			e = ERR_MEMORY;
		} else {
			k->epoch = epoch;
			memcpy(k->public_key, r.public_key, BOX_PUBLIC_LEN);
			memcpy(k->secret, r.secret_key, BOX_SECRET_LEN);
		}
	}
	secret_wipe(&r, sizeof(r));
	buf_wipe(&reply);
	return e;
}

enum err
courier_key(struct courier *c, uint32_t epoch, uint8_t ret_public[BOX_PUBLIC_LEN],
	    uint8_t ret_secret[BOX_SECRET_LEN])
{
	enum err e = find(c, epoch) != NULL ? ERR_OK : fetch(c, epoch);
	struct spool_secret *k = find(c, epoch);
	if (e != ERR_OK || k == NULL) {
		return e != ERR_OK ? e : ERR_AGAIN;
	}
	k->used = loop_now(c->host->loop);
	memcpy(ret_public, k->public_key, BOX_PUBLIC_LEN);
	memcpy(ret_secret, k->secret, BOX_SECRET_LEN);
	return ERR_OK;
}
