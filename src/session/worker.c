/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/worker.h"

#include <stdlib.h>
#include <string.h>

#include "loop/task.h"
#include "session/member.h"

enum { WAIT_STORE_MS = 20 * 1000, MESSAGE_ROOM = 4096 };

struct channel *
worker_store(const struct worker *w)
{
	return role_channel(w->host, ROLE_STORE, 0);
}

enum err
worker_wait_store(const struct worker *w)
{
	struct channel *ch = NULL;
	return role_wait_channel(w->host, ROLE_STORE, 0, loop_now(w->host->loop) + WAIT_STORE_MS, &ch);
}

msec
worker_deadline(const struct worker *w)
{
	return loop_now(w->host->loop) + WORKER_CALL_MS;
}

uint64_t
worker_message_max(const struct worker *w)
{
	return w->host->config.message_size;
}

static size_t
share_of_member(const struct worker *w)
{
	uint64_t one = worker_message_max(w) + MESSAGE_ROOM;
	return one < WORKER_MEMBER_BYTES         ? (size_t)WORKER_MEMBER_BYTES
	       : one < WORKER_MESSAGES_BYTES_MAX ? (size_t)one
						 : (size_t)WORKER_MESSAGES_BYTES_MAX;
}

static bool
is_left(size_t n, size_t max, size_t used)
{
	return used <= max && n <= max - used;
}

static void
give(struct worker *w, size_t *mine, size_t n)
{
	*mine = n > *mine ? 0 : *mine - n;
	w->message_bytes = n > w->message_bytes ? 0 : w->message_bytes - n;
}

bool
worker_has_bytes(const struct worker *w, const struct member *m, size_t n)
{
	return is_left(n, WORKER_MESSAGES_BYTES_MAX, w->message_bytes) &&
	       is_left(n, share_of_member(w), m->message_bytes);
}

enum err
worker_take_bytes(struct worker *w, struct member *m, size_t n)
{
	if (!worker_has_bytes(w, m, n)) {
		return ERR_AGAIN;
	}
	w->message_bytes += n;
	m->message_bytes += n;
	return ERR_OK;
}

void
worker_give_bytes(struct worker *w, struct member *m, size_t n)
{
	give(w, &m->message_bytes, n);
}

enum err
worker_take_work(struct worker *w, struct member *m, size_t n)
{
	if (!is_left(n, WORKER_MESSAGES_BYTES_MAX, w->message_bytes) ||
	    (m->work_bytes > 0 && !is_left(n, WORKER_MEMBER_BYTES, m->work_bytes))) {
		return ERR_AGAIN;
	}
	w->message_bytes += n;
	m->work_bytes += n;
	return ERR_OK;
}

void
worker_give_work(struct worker *w, struct member *m, size_t n)
{
	give(w, &m->work_bytes, n);
}

/* Account ids are random, so their first bytes spread them. */
static size_t
bucket_of(const uint8_t account[SEALED_ID_LEN])
{
	return ((size_t)account[0] << 8 | account[1]) % WORKER_BUCKETS;
}

const struct known_head *
worker_known_head(const struct worker *w, const uint8_t account[SEALED_ID_LEN])
{
	for (const struct known_head *k = w->known[bucket_of(account)]; k != NULL; k = k->next) {
		if (memcmp(k->account, account, SEALED_ID_LEN) == 0) {
			return k;
		}
	}
	return NULL;
}

/* Made where there is none yet: of record 0, which every log has. NULL: no memory. */
static struct known_head *
known_of(struct worker *w, const uint8_t account[SEALED_ID_LEN])
{
	struct known_head *k = w->known[bucket_of(account)];
	while (k != NULL && memcmp(k->account, account, SEALED_ID_LEN) != 0) {
		k = k->next;
	}
	if (k == NULL) {
		k = calloc(1, sizeof(*k));
		if (k != NULL) {
			memcpy(k->account, account, SEALED_ID_LEN);
			k->next = w->known[bucket_of(account)];
			w->known[bucket_of(account)] = k;
		}
	}
	return k;
}

bool
worker_doubted(struct worker *w, const uint8_t account[SEALED_ID_LEN])
{
	struct known_head *k = known_of(w, account);
	msec now = loop_now(w->host->loop);
	if (k != NULL && (!k->doubted || now - k->doubted_at >= WORKER_DOUBT_KEPT_MS)) {
		k->doubted = true;
		k->doubted_at = now;
	}
	return k != NULL && now - k->doubted_at >= WORKER_DOUBT_MS;
}

void
worker_is_sound(struct worker *w, const uint8_t account[SEALED_ID_LEN], uint32_t revision)
{
	struct known_head *k = known_of(w, account);
	if (k != NULL) {
		k->doubted = false;
		k->revision = revision > k->revision ? revision : k->revision;
	}
}

enum err
worker_know_head(struct worker *w, const uint8_t account[SEALED_ID_LEN], uint64_t n,
		 const uint8_t head[SEALED_HASH_LEN])
{
	struct known_head *k = known_of(w, account);
	if (k == NULL) {
		return ERR_MEMORY;
	}
	if (n < k->n || (n == k->n && memcmp(head, k->head, SEALED_HASH_LEN) != 0)) {
		return ERR_DAMAGED;
	}
	k->n = n;
	memcpy(k->head, head, SEALED_HASH_LEN);
	return ERR_OK;
}
