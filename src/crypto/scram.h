/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CRYPTO_SCRAM_H
#define COHUE_CRYPTO_SCRAM_H

#include "base/bytes.h"

/*
 * The arithmetic of SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677): SaltedPassword = PBKDF2-HMAC-SHA-256(password, salt, count),
 * ClientKey = HMAC(SaltedPassword, "Client Key"), StoredKey = SHA-256(ClientKey), ServerKey = HMAC(SaltedPassword,
 * "Server Key"). The password is ASCII already, where SASLprep changes nothing.
 */

enum {
	SCRAM_KEY_LEN = 32,
	SCRAM_SALT_LEN = 16,
};

struct scram_keys {
	uint8_t client[SCRAM_KEY_LEN];
	uint8_t stored[SCRAM_KEY_LEN];
	uint8_t server[SCRAM_KEY_LEN];
};

/* What both sides sign, in pieces: concatenated they are the AuthMessage. */
struct scram_message {
	struct bytes head; /* client-first-message-bare "," server-first-message "," */
	struct bytes tail; /* client-final-message-without-proof */
};

/* About a millisecond per thousand rounds. Wipe what it gives. */
void scram_derive(struct bytes password, const uint8_t salt[SCRAM_SALT_LEN], uint32_t count,
		  struct scram_keys *ret);
/* ClientProof as a client makes it (for tests). */
void scram_prove(const struct scram_keys *keys, const struct scram_message *m, uint8_t ret[SCRAM_KEY_LEN]);
/*
 * Whether the proof fits; ret_client_key is what it would make of the ClientKey, and is that only where it fits. The same
 * time in either case.
 */
bool scram_check(const uint8_t stored[SCRAM_KEY_LEN], const struct scram_message *m,
		 const uint8_t proof[SCRAM_KEY_LEN], uint8_t ret_client_key[SCRAM_KEY_LEN]);
/* HMAC-SHA-256(ServerKey, AuthMessage). */
void scram_sign(const uint8_t server[SCRAM_KEY_LEN], const struct scram_message *m,
		uint8_t ret[SCRAM_KEY_LEN]);

#endif
