/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_INTERNAL_H
#define COHUE_LOOP_INTERNAL_H

#include <stdint.h>
#include <sys/epoll.h>

#include "loop/loop.h"
#include "loop/tls.h"

/* What the files of this module share. Nobody else includes it. */

enum {
	LOOP_BATCH = 128,             /* descriptors looked at in one turn */
	LOOP_READ_BUFFER = 4 * 16384, /* the one read buffer of all streams */
};

struct task_pool;
struct stream;
struct ssl_ctx_st;
struct evp_pkey_st;
struct x509_st;

struct defer_list {
	struct defer *first, *last;
};

struct loop {
	int epoll;
	bool stopping;
	msec now;
	uint64_t turns;
	/* Events of the batch being served; data.ptr becomes NULL when its watch stops. */
	struct epoll_event batch[LOOP_BATCH];
	int batch_at, batch_count;
	/* A 4-ary heap: timers[0] is due first. */
	struct timer **timers;
	size_t timer_count, timer_cap;
	struct defer_list deferred, deferred_last;
	struct defer mark; /* behind the last of those that this turn calls */
	/* Owned by task.c and stream.c; made when first needed. */
	struct task_pool *tasks;
	uint8_t *read_buffer;
	struct stream *finishing; /* streams handed over by stream_finish */
};

void task_pool_destroy(struct loop *loop);
void stream_loop_clear(struct loop *loop);

struct stream;
/* What a server's stream speaks (stream_set_alpn), or NULL. */
const char *stream_alpn(const struct stream *s);
struct ssl_ctx_st *tls_context_ssl(const struct tls_context *ctx);
COHUE_MUST_USE enum err tls_context_trust(struct tls_context *ctx, struct bytes pem);
bool tls_context_verifies(const struct tls_context *ctx);
/* tls_remote.c: a key of OpenSSL's whose signatures the signer makes, for the leaf's public key. ERR_UNSUPPORTED (kind of key), ERR_MEMORY. */
COHUE_MUST_USE enum err tls_remote_key(struct x509_st *leaf, const struct tls_signer *signer,
				       struct evp_pkey_st **ret);
COHUE_MUST_USE enum err tls_leaf_key_id(struct x509_st *leaf, uint8_t ret[TLS_KEY_ID]);
/* tls_tickets.c: keys for tickets that change, of this context alone. ERR_MEMORY. */
COHUE_MUST_USE enum err tls_tickets_use(struct ssl_ctx_st *ssl);

/* tls_challenge.c: of a server's handshake. */
struct ssl_st;
struct tls_challenges;
#define TLS_CHALLENGE_ALPN "acme-tls/1"
/* For SSL_CTX_set_client_hello_cb. */
int tls_challenges_hello(struct ssl_st *ssl, int *alert, void *challenges);
/* Whether this handshake shows one of its certificates. challenges may be NULL. */
bool tls_challenges_shown(const struct tls_challenges *challenges, struct ssl_st *ssl);

#endif
