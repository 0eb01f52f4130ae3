/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate/gate_tls.h"

#include "base/clock.h"
#include "process/log.h"

enum { START_LIMIT_MS = 20 * 1000, PEM_MAX = 64 * 1024 };

enum err
gate_tls_warm_up(void)
{
	struct buf key = BUF_INIT(PEM_MAX);
	struct buf chain = BUF_INIT(PEM_MAX);
	struct tls_context *ctx = NULL;
	enum err e = tls_make_self_signed("warm.invalid", clock_wall(), &key, &chain);
	if (e == ERR_OK) {
		struct tls_server_settings settings = {
		    .key_pem = buf_bytes(&key), .chain_pem = buf_bytes(&chain), .minimum = TLS_1_2};
		e = tls_server_create(&settings, &ctx);
	}
	tls_context_destroy(&ctx);
	buf_wipe(&key);
	buf_clear(&chain);
	return e;
}

static void
log_unusable(const struct role_host *h, enum err e)
{
	bool member = h->def->id == ROLE_GATE_MEMBER;
	log_event(LOG_LEVEL_ERROR,
		  "the TLS key and certificate for %s cannot be used: %s. Remedy: see tls.%s_key and "
		  "tls.%s_certificate in cohue.conf",
		  member ? "ports 465, 587 and 993" : "port 25",
		  e == ERR_AUTH ? "they do not belong together" : err_text(e), member ? "member" : "mx",
		  member ? "member" : "mx");
}

enum err
gate_tls_fetch(struct role_host *h, enum tls_version minimum, struct tls_context **ret_ctx)
{
	struct channel *keeper = NULL;
	struct buf reply = BUF_INIT(IPC_SMALL * 8);
	struct msg_tls_key_reply m;
	msec limit = loop_now(h->loop) + START_LIMIT_MS;
	enum err e = role_wait_channel(h, ROLE_KEEPER, 0, limit, &keeper);
	if (e == ERR_OK) {
		e = channel_call_empty(keeper, MSG_TLS_KEY, limit, &reply);
	}
	if (e == ERR_OK) {
		e = msg_tls_key_reply_decode(buf_bytes(&reply), &m);
	}
	if (e == ERR_OK) {
		struct tls_server_settings settings = {
		    .key_pem = m.key_pem,
		    .chain_pem = m.chain_pem,
		    .minimum = minimum,
		    /* Other servers hardly ever resume; members' programs do. */
		    .tickets = h->def->id == ROLE_GATE_MEMBER};
		e = tls_server_create(&settings, ret_ctx);
		if (e != ERR_OK) {
			log_unusable(h, e);
		}
	}
	buf_wipe(&reply);
	return e;
}
