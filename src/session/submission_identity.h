/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_IDENTITY_H
#define COHUE_SESSION_SUBMISSION_IDENTITY_H

#include "crypto/crypto.h"
#include "mail/privacy.h"
#include "session/member.h"

/*
 * The Message-ID under which a message leaves. One that her program made of a time or of her machine's name is replaced by
 * a keyed function of it, the same each time; the pair stands in her log (OPERATION_RENAMED), so that what she writes later
 * can refer to either. Her Sent copy carries the one that left, as the answers to it do. docs/leaks.md says why.
 */

struct identity {
	struct buf id;       /* that leaves, brackets included */
	struct buf original; /* her program's, where it was replaced and is to be remembered; else empty */
	uint8_t key[OPERATION_KEY_LEN];
	uint8_t token[OPERATION_TOKEN_LEN];
};

void identity_init(struct identity *i);
void identity_clear(struct identity *i);
/* For a member who is ready (member_ready). ERR_MEMORY, ERR_STATE (a key is missing). */
COHUE_MUST_USE enum err identity_make(struct identity *i, const struct member *m,
				      const struct mail_privacy_look *look);
/* A mail_privacy_map_fn; arg: the member, who is ready. */
enum err identity_map(void *arg, struct bytes id, struct buf *out);
/* What the log shall remember; false: nothing. The operation borrows from the identity. */
bool identity_operation(const struct identity *i, struct operation *ret);

/* For many identifiers in a row (THREAD): wiped by who has it. */
struct identity_keys {
	uint8_t secret[CRYPTO_KEY_LEN];
};
/* ERR_STATE: the member has no first key. */
COHUE_MUST_USE enum err identity_keys_init(struct identity_keys *k, const struct member *m);
/*
 * By which an identifier is known to nobody else: the same for one that a message of hers was given by its program and for that
 * under which it left. ERR_MEMORY.
 */
COHUE_MUST_USE enum err identity_key(const struct identity_keys *k, const struct member *m, struct bytes id,
				     uint8_t ret[OPERATION_KEY_LEN]);

#endif
