/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/dkim.h"

#include <string.h>

#include "base/clock.h"
#include "process/log.h"

enum { SIGNATURE_MAX = 512, OP_TIDY = 0, OP_NEXT = 1, OP_ACTIVATE = 2 };

static int64_t
now_seconds(void)
{
	return clock_wall() / MSEC_SECOND;
}

static enum err
open_file(struct bytes file, const uint8_t wrap[CRYPTO_KEY_LEN], const char *house_key_file,
	  struct dkim_ring *ret)
{
	enum err e = dkim_ring_open(file, wrap, ret);
	if (e == ERR_AUTH) {
		log_event(LOG_LEVEL_ERROR,
			  "dkim.keys does not open with the house key in %s: it is of another home, or was "
			  "changed; leaving mail waits. Remedy: bring the right one back from a backup, or "
			  "remove it: new keys are then made at the start, and must be published",
			  house_key_file);
	} else if (e == ERR_FORMAT || e == ERR_UNSUPPORTED) {
		log_event(LOG_LEVEL_ERROR, "dkim.keys is %s; leaving mail waits. Remedy: %s",
			  e == ERR_FORMAT ? "damaged" : "of a newer program",
			  e == ERR_FORMAT
			      ? "bring it back from a backup, or remove it: new keys are then made "
				"at the start, and must be published"
			      : "use that one");
	}
	return e;
}

enum err
keeper_dkim_take(struct keeper_dkim *d, const uint8_t wrap[CRYPTO_KEY_LEN], const char *house_key_file,
		 struct bytes payload)
{
	struct msg_dkim_file m;
	struct dkim_ring ring;
	if (msg_dkim_file_decode(payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	dkim_ring_init(&ring);
	if (open_file(m.file, wrap, house_key_file, &ring) == ERR_OK) {
		dkim_ring_clear(&d->ring);
		d->ring = ring;
		d->loaded = true;
	}
	/* What does not open is told above; all else goes on, and leaving mail waits. */
	return ERR_OK;
}

/* Nothing here remembers anything: the file is what there is. */
static enum err
change(struct dkim_ring *r, unsigned op, int64_t now, int64_t overlap, bool *ret_changed)
{
	bool tidied = dkim_ring_tidy(r, now);
	enum err e = ERR_OK;
	if (r->count == 0) {
		/* The first signs at once: who has no record yet takes its mail as unsigned, which it would be without. */
		e = dkim_ring_make(r, now, now);
	} else if (op == OP_NEXT) {
		e = dkim_ring_make(r, now, now + overlap);
	} else if (op == OP_ACTIVATE) {
		e = dkim_ring_activate(r, now);
	} else {
		*ret_changed = tidied;
		return ERR_OK;
	}
	*ret_changed = true;
	return e;
}

enum err
keeper_dkim_change(const uint8_t wrap[CRYPTO_KEY_LEN], const char *house_key_file, int64_t overlap,
		   struct channel *ch, const struct channel_message *m)
{
	struct msg_dkim_change q;
	struct dkim_ring ring;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	bool changed = false;
	if (msg_dkim_change_decode(m->payload, &q) != ERR_OK || q.op > OP_ACTIVATE) {
		return ERR_FORMAT;
	}
	dkim_ring_init(&ring);
	enum err e = q.file.len == 0 ? ERR_OK : open_file(q.file, wrap, house_key_file, &ring);
	/* ERR_FORMAT would mean that the supervisor broke the table. */
	e = e == ERR_FORMAT ? ERR_DAMAGED : e;
	e = e == ERR_OK ? change(&ring, q.op, now_seconds(), overlap, &changed) : e;
	if (e == ERR_OK) {
		e = changed ? dkim_ring_write(&ring, wrap, &file) : buf_append(&file, q.file);
	}
	dkim_ring_clear(&ring);
	if (e == ERR_OK) {
		struct msg_dkim_change_reply r = {.file = buf_bytes(&file)};
		e = channel_reply(ch, DKIM_CHANGE, dkim_change_reply, m->id, &r);
	}
	buf_clear(&file);
	return e;
}

enum err
keeper_dkim_selectors(const struct keeper_dkim *d, struct channel *ch, const struct channel_message *m)
{
	char rsa[DKIM_NAME_MAX + 1];
	char ed25519[DKIM_NAME_MAX + 1];
	const struct dkim_pair *p = d->loaded ? dkim_ring_signer(&d->ring, now_seconds()) : NULL;
	if (msg_empty_decode(m->payload) != ERR_OK) {
		return ERR_FORMAT;
	}
	if (p == NULL) {
		return ERR_AGAIN;
	}
	dkim_selector(p, DKIM_RSA_SHA256, rsa);
	dkim_selector(p, DKIM_ED25519_SHA256, ed25519);
	struct msg_dkim_selectors_reply r = {.rsa = bytes_str(rsa), .ed25519 = bytes_str(ed25519)};
	return channel_reply(ch, DKIM_SELECTORS, dkim_selectors_reply, m->id, &r);
}

enum err
keeper_dkim_sign(struct keeper_dkim *d, struct channel *ch, const struct channel_message *m)
{
	static const enum dkim_algorithm algorithms[] = {DKIM_RSA_SHA256, DKIM_ED25519_SHA256};
	struct msg_dkim_sign q;
	struct buf signature = BUF_INIT(SIGNATURE_MAX);
	char name[DKIM_NAME_MAX + 1];
	enum err e = ERR_NOT_FOUND;
	if (msg_dkim_sign_decode(m->payload, &q) != ERR_OK) {
		return ERR_FORMAT;
	}
	if (!d->loaded) {
		return ERR_AGAIN;
	}
	const struct dkim_pair *p = dkim_ring_signer(&d->ring, now_seconds());
	for (size_t i = 0; p != NULL && i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
		dkim_selector(p, algorithms[i], name);
		if (bytes_is(q.selector, name)) {
			e = dkim_pair_sign(p, algorithms[i], q.digest, &signature);
			break;
		}
	}
	if (e == ERR_OK) {
		struct msg_dkim_sign_reply r = {.signature = buf_bytes(&signature)};
		d->signatures++;
		e = channel_reply(ch, DKIM_SIGN, dkim_sign_reply, m->id, &r);
	}
	buf_clear(&signature);
	return e;
}
