/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The first half of a SCRAM login. What the server says in it follows from the name as it was said and from a key, for
 * members and for nobodies alike: no entry is looked up, so there is nothing to tell them apart by.
 */
#include <string.h>

#include "opener/internal.h"
#include "opener/name.h"
#include "sealed/value.h"

/*
 * RFC 7677 section 4: at least 4096. More would stretch a password that nobody can guess: each has 128 random bits. What it costs
 * falls on the members' telephones, at each login.
 */
enum { ROUNDS = 4096, NAME_ROOM = 512 };

_Static_assert((int)IPC_SCRAM_NONCE == (int)SCRAM_NONCE_LEN, "nonce");

void
opener_scram_of(const struct opener *o, struct bytes address, struct slot_scram *ret)
{
	struct crypto_hasher h;
	uint8_t hash[CRYPTO_HASH_LEN];
	crypto_hasher_init(&h, o->keys.key[PURPOSE_SCRAM_FAKE]);
	crypto_hasher_update(&h, BYTES_LIT("cohue scram salt 1"));
	crypto_hasher_update(&h, address);
	crypto_hasher_final(&h, hash);
	memcpy(ret->salt, hash, sizeof(ret->salt));
	ret->count = ROUNDS;
}

enum err
opener_add_scram(const struct opener *o, struct bytes local, struct sealed_slots *slots,
		 const struct slot_code *code)
{
	struct buf address = BUF_INIT(NAME_ROOM);
	struct slot_scram scram;
	enum err e = opener_address(o, local, &address);
	if (e == ERR_OK) {
		opener_scram_of(o, buf_bytes(&address), &scram);
		e = sealed_slots_add_scram(slots, o->keys.key[PURPOSE_PEPPER], code, &scram);
	}
	buf_wipe(&address);
	return e;
}

void
opener_scram_first(struct opener *o, struct channel *ch, const struct channel_message *m)
{
	struct msg_scram_first q;
	struct msg_scram_first_reply r;
	struct slot_scram scram;
	struct buf address = BUF_INIT(NAME_ROOM);
	if (msg_scram_first_decode(m->payload, &q) != ERR_OK) {
		channel_fault(ch);
		return;
	}
	enum err e = opener_login_name(o, q.name, &address);
	if (e == ERR_OK) {
		opener_scram_of(o, buf_bytes(&address), &scram);
		memcpy(r.salt, scram.salt, sizeof(r.salt));
		r.rounds = scram.count;
		scram_nonce_make(o->nonces, loop_now(o->host->loop), buf_bytes(&address), q.client_nonce,
				 r.nonce);
	}
	e = e == ERR_OK ? channel_reply(ch, SCRAM_FIRST, scram_first_reply, m->id, &r)
			: channel_answer(ch, m->type, m->id, ERR_AGAIN);
	if (e != ERR_OK) {
		channel_end(ch);
	}
	buf_wipe(&address);
}
