/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * DKIM signatures over the octets that leave (RFC 6376), by the keeper's keys: RSA for those who know nothing newer, and Ed25519
 * (RFC 8463). Nothing of ours leaves unsigned: where the keeper is away, the message waits.
 */
#include <string.h>

#include "authentication/arc.h"
#include "authentication/dkim.h"
#include "courier/internal.h"

enum { TRIES = 10, PAUSE_MS = 2000, SELECTOR_MAX = 64, REPLY_MAX = 1024 };

static enum err
ask_selectors(struct courier *c, char ret_rsa[SELECTOR_MAX], char ret_ed25519[SELECTOR_MAX])
{
	struct buf reply = BUF_INIT(REPLY_MAX);
	struct msg_dkim_selectors_reply r;
	struct channel *ch = role_channel(c->host, ROLE_KEEPER, 0);
	enum err e = ch == NULL ? ERR_CLOSED
				: channel_call_empty(ch, MSG_DKIM_SELECTORS,
						     loop_now(c->host->loop) + COURIER_CALL_MS, &reply);
	if (e == ERR_OK) {
		e = msg_dkim_selectors_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		bool good = r.rsa.len > 0 && r.rsa.len < SELECTOR_MAX && r.ed25519.len > 0 &&
			    r.ed25519.len < SELECTOR_MAX;
		e = good ? ERR_OK : ERR_FORMAT;
	}
	if (e == ERR_OK) {
		memcpy(ret_rsa, r.rsa.ptr, r.rsa.len);
		ret_rsa[r.rsa.len] = '\0';
		memcpy(ret_ed25519, r.ed25519.ptr, r.ed25519.len);
		ret_ed25519[r.ed25519.len] = '\0';
	}
	buf_clear(&reply);
	return e;
}

/* Suspends: dkim_sign holds nothing meanwhile that others touch. */
static enum err
ask_signature(void *ctx, const struct dkim_signer *signer, const uint8_t digest[32],
	      struct buf *ret_signature)
{
	struct courier *c = ctx;
	struct msg_dkim_sign q = {.selector = bytes_str(signer->selector)};
	struct msg_dkim_sign_reply r;
	struct buf reply = BUF_INIT(REPLY_MAX);
	memcpy(q.digest, digest, sizeof(q.digest));
	enum err e = channel_call(role_channel(c->host, ROLE_KEEPER, 0), DKIM_SIGN, dkim_sign, &q,
				  loop_now(c->host->loop) + COURIER_CALL_MS, &reply);
	if (e == ERR_OK) {
		e = msg_dkim_sign_reply_decode(buf_bytes(&reply), &r);
	}
	e = e == ERR_OK ? buf_append(ret_signature, r.signature) : e;
	buf_clear(&reply);
	/* Between the two questions its turn to sign ended. */
	return e == ERR_NOT_FOUND ? ERR_AGAIN : e;
}

/* What a member has sent on is not ours: we say what we found when it came (RFC 8617), with RSA, which all verifiers know. */
static enum err
seal_once(struct courier *c, const struct courier_part *part, const char *selector, struct bytes message,
	  struct buf *out)
{
	const struct arc_verdict before = {.result = (enum authentication_result)part->arc_result,
					   .sets = part->arc_sets};
	const struct dkim_signer signer = {.domain = c->host->config.domain,
					   .selector = selector,
					   .algorithm = DKIM_RSA_SHA256,
					   .sign = ask_signature,
					   .ctx = c};
	return part->results.len > 0 ? arc_seal(message, &before, part->results, &signer, out) : ERR_OK;
}

static enum err
sign_once(const struct work *w, struct bytes message, struct buf *out)
{
	struct courier *c = w->courier;
	char rsa[SELECTOR_MAX];
	char ed25519[SELECTOR_MAX];
	enum err e = ask_selectors(c, rsa, ed25519);
	if (e != ERR_OK) {
		return e;
	}
	if (w->strange) {
		return seal_once(c, &w->part, rsa, message, out);
	}
	const struct dkim_signer signers[] = {{.domain = c->host->config.domain,
					       .selector = rsa,
					       .algorithm = DKIM_RSA_SHA256,
					       .sign = ask_signature,
					       .ctx = c},
					      {.domain = c->host->config.domain,
					       .selector = ed25519,
					       .algorithm = DKIM_ED25519_SHA256,
					       .sign = ask_signature,
					       .ctx = c}};
	return dkim_sign(message, signers, sizeof(signers) / sizeof(signers[0]), out);
}

static bool
is_passing(enum err e)
{
	return e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_AGAIN;
}

enum err
work_sign(struct work *w, struct bytes message, struct bytes *ret_fields)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	crypto_digest(message, hash);
	if (w->signatures.len > 0 && memcmp(hash, w->signed_hash, sizeof(hash)) == 0) {
		*ret_fields = buf_bytes(&w->signatures);
		return ERR_OK;
	}
	buf_clear(&w->signatures);
	buf_init(&w->signatures, COURIER_SIGNATURES_MAX);
	enum err e = sign_once(w, message, &w->signatures);
	for (unsigned i = 1; i < TRIES && is_passing(e) && !w->courier->host->stopping; i++) {
		buf_reset(&w->signatures);
		e = task_sleep(PAUSE_MS) == ERR_OK ? sign_once(w, message, &w->signatures) : ERR_CLOSED;
	}
	if (e != ERR_OK) {
		buf_clear(&w->signatures);
		return e;
	}
	memcpy(w->signed_hash, hash, sizeof(hash));
	*ret_fields = buf_bytes(&w->signatures);
	w->courier->seen_signed += w->signatures.len > 0 ? 1 : 0;
	return ERR_OK;
}
