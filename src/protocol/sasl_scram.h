/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SASL_SCRAM_H
#define COHUE_PROTOCOL_SASL_SCRAM_H

#include "base/bytes.h"

/*
 * The server's messages of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), without keys: IMAP and SMTP carry them, and who
 * knows the keys computes. Both mechanisms are offered together, so whoever says that she could bind the channel and the server
 * could not (`y`) has met somebody who took -PLUS from the list.
 *
 *   sasl_scram_first      client-first-message: who, her nonce, how she binds
 *   sasl_scram_challenge  our part of the nonce, salt and rounds: gives server-first-message
 *   sasl_scram_final      client-final-message: the binding is compared, the proof taken out
 *   sasl_scram_verdict    ServerSignature: gives server-final-message
 */

enum {
	SASL_SCRAM_MESSAGE_MAX = 2048, /* octets of a client's message */
	SASL_SCRAM_NAME_MAX = 1000,
	SASL_SCRAM_NONCE_MAX = 256, /* of the client's part */
	SASL_SCRAM_SALT_LEN = 16,
	SASL_SCRAM_SERVER_NONCE_LEN = 48,
	SASL_SCRAM_KEY_LEN = 32,
	SASL_SCRAM_BINDING_MAX = 64,
};

enum sasl_scram_binding {
	SASL_SCRAM_UNBOUND,
	SASL_SCRAM_EXPORTER,  /* tls-exporter, RFC 9266 */
	SASL_SCRAM_END_POINT, /* tls-server-end-point, RFC 5929 */
};

struct sasl_scram {
	bool plus; /* the mechanism that the client chose */
	enum sasl_scram_binding binding;
	struct buf name;         /* UTF-8, as typed */
	struct buf client_nonce; /* printable ASCII */
	struct buf bound;        /* what c= must be: gs2-header, then the binding's data */
	struct buf head;         /* client-first-message-bare "," server-first-message "," */
	struct buf tail;         /* client-final-message-without-proof */
	uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN];
	uint8_t proof[SASL_SCRAM_KEY_LEN];
	const char *problem; /* after ERR_AUTH, ERR_DENIED, ERR_UNSUPPORTED: static, for the client */
};

/* ERR_MEMORY. */
COHUE_MUST_USE enum err sasl_scram_create(bool plus, struct sasl_scram **ret);
/* Wipes it. Accepts NULL inside. */
void sasl_scram_destroy(struct sasl_scram **s);

/*
 * Once. ERR_FORMAT: not such a message. ERR_DENIED: acting for another. ERR_UNSUPPORTED: a mandatory extension, or a binding
 * that is not offered. ERR_AUTH: the flag does not go with the mechanism, or shows that the list of mechanisms was tampered with. ERR_MEMORY.
 */
COHUE_MUST_USE enum err sasl_scram_first(struct sasl_scram *s, struct bytes message);
/* binding: its data, empty where unbound. Appends server-first-message. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err sasl_scram_challenge(struct sasl_scram *s, const uint8_t salt[SASL_SCRAM_SALT_LEN],
					     uint32_t rounds,
					     const uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN],
					     struct bytes binding, struct buf *ret);
/* ERR_FORMAT. ERR_AUTH: another nonce or another channel. ERR_UNSUPPORTED: a mandatory extension. ERR_MEMORY. */
COHUE_MUST_USE enum err sasl_scram_final(struct sasl_scram *s, struct bytes message);
/* Appends server-final-message. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err sasl_scram_verdict(const uint8_t signature[SASL_SCRAM_KEY_LEN], struct buf *ret);

#endif
