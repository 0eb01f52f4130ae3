/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate/gate_tls.h"

#include <string.h>

#include "base/clock.h"
#include "loop/task.h"
#include "process/log.h"

enum {
	START_LIMIT_MS = 20 * 1000,
	FETCH_AGAIN_MS = 1000,
	SIGN_LIMIT_MS = 2 * 1000,
	MUTE_MS = 5 * 1000, /* after a keeper that did not answer: members who are logged in go first */
	PEM_MAX = 64 * 1024,
};

static enum err
refuse_to_sign(void *arg, const uint8_t key_id[TLS_KEY_ID], unsigned scheme, struct bytes content,
	       struct buf *ret_signature)
{
	(void)arg;
	(void)key_id;
	(void)scheme;
	(void)content;
	(void)ret_signature;
	return ERR_DENIED;
}

enum err
gate_tls_warm_up(void)
{
	static const struct tls_signer nobody = {.sign = refuse_to_sign};
	struct buf key = BUF_INIT(PEM_MAX);
	struct buf chain = BUF_INIT(PEM_MAX);
	struct tls_context *ctx = NULL;
	enum err e = tls_make_self_signed("warm.invalid", clock_wall(), &key, &chain);
	for (int remote = 0; remote < 2 && e == ERR_OK; remote++) {
		struct tls_server_settings settings = {.key_pem = buf_bytes(&key),
						       .signer = remote ? &nobody : NULL,
						       .chain_pem = buf_bytes(&chain),
						       .minimum = TLS_1_2};
		e = tls_server_create(&settings, &ctx);
		tls_context_destroy(&ctx);
	}
	buf_wipe(&key);
	buf_clear(&chain);
	return e;
}

/* Within a handshake: blocks. */
static enum err
ask_keeper(void *arg, const uint8_t key_id[TLS_KEY_ID], unsigned scheme, struct bytes content,
	   struct buf *ret_signature)
{
	struct gate_tls *t = arg;
	struct buf reply = BUF_INIT(IPC_SMALL);
	struct msg_tls_sign q = {.scheme = (uint16_t)scheme, .content = content};
	struct msg_tls_sign_reply r;
	memcpy(q.key, key_id, sizeof(q.key));
	enum err e = clock_monotonic() < t->mute_until
			 ? ERR_TIMEOUT
			 : channel_ask(role_channel(t->host, ROLE_KEEPER, 0), TLS_SIGN, tls_sign, &q,
				       SIGN_LIMIT_MS, &reply);
	if (e == ERR_TIMEOUT && clock_monotonic() >= t->mute_until) {
		t->mute_until = clock_monotonic() + MUTE_MS;
		log_event(LOG_LEVEL_WARNING, "the keeper does not sign: TLS handshakes fail for %d s",
			  MUTE_MS / 1000);
	}
	if (e == ERR_OK) {
		e = msg_tls_sign_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		e = buf_append(ret_signature, r.signature);
	}
	t->unsigned_handshakes += e == ERR_OK ? 0 : 1;
	buf_clear(&reply);
	return e;
}

static enum err
fetch(struct gate_tls *t, struct tls_context **ret_ctx)
{
	struct role_host *h = t->host;
	struct channel *keeper = NULL;
	struct buf reply = BUF_INIT(IPC_SMALL * 8);
	struct msg_tls_chain_reply m;
	msec limit = loop_now(h->loop) + START_LIMIT_MS;
	enum err e = role_wait_channel(h, ROLE_KEEPER, 0, limit, &keeper);
	if (e == ERR_OK) {
		e = channel_call_empty(keeper, MSG_TLS_CHAIN, limit, &reply);
	}
	if (e == ERR_OK) {
		e = msg_tls_chain_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		struct tls_server_settings settings = {
		    .signer = &t->signer,
		    .chain_pem = m.chain_pem,
		    .minimum = t->minimum,
		    /* Other servers hardly ever resume; members' programs do. */
		    .tickets = h->def->id == ROLE_GATE_MEMBER,
		    .challenges = t->challenges};
		e = tls_server_create(&settings, ret_ctx);
		if (e != ERR_OK) {
			log_event(LOG_LEVEL_ERROR,
				  "the TLS certificate cannot be used: %s. Remedy: see the "
				  "tls. keys of cohue.conf",
				  err_text(e));
		}
	}
	buf_clear(&reply);
	return e;
}

enum err
gate_tls_start(struct gate_tls *t, struct role_host *h, enum tls_version minimum)
{
	*t = (struct gate_tls){.host = h,
			       .minimum = minimum,
			       .signer = {.sign = ask_keeper, .arg = t},
			       .challenges = t->challenges};
	return fetch(t, &t->ctx);
}

static void
fetch_task(void *arg)
{
	struct gate_tls *t = arg;
	while (t->again && !t->host->stopping) {
		struct tls_context *ctx = NULL;
		t->again = false;
		if (fetch(t, &ctx) == ERR_OK) {
			tls_context_replace(t->ctx, &ctx);
			t->mute_until = 0;
		} else {
			/* The keeper has checked what it gives: it is away, or memory is short. */
			t->again = true;
			if (task_sleep(FETCH_AGAIN_MS) != ERR_OK) {
				break;
			}
		}
	}
	t->fetching = false;
}

void
gate_tls_changed(struct gate_tls *t)
{
	if (t->ctx == NULL) {
		return;
	}
	t->again = true;
	if (!t->fetching) {
		t->fetching = role_spawn(t->host, fetch_task, t) == ERR_OK;
	}
}
