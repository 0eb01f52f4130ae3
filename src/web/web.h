/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_WEB_WEB_H
#define COHUE_WEB_WEB_H

#include "config/config.h"
#include "protocol/http_server.h"

/*
 * What the house says over HTTP: how a mail program is set up, which servers take its mail (MTA-STS), and the answers to a
 * certificate authority. All of it is public and made from the configuration; there are no files, no cookies, no log, and
 * nothing that a member says is kept. Pure.
 */

/* ---- answers to a certificate authority (RFC 8555 section 8.3) ---- */

enum {
	WEB_CHALLENGES_MAX = 16,
	WEB_TOKEN_LEAST = 16,
	WEB_TOKEN_MAX = 128,
	WEB_THUMBPRINT = 32, /* SHA-256 */
	WEB_KEY_AUTHORISATION_MAX = 256,
};

struct web_challenges {
	struct {
		char token[WEB_TOKEN_MAX + 1]; /* "": free */
		char answer[WEB_KEY_AUTHORISATION_MAX + 1];
		msec until;
	} rows[WEB_CHALLENGES_MAX];
};

/* ERR_FORMAT: not base64url, or shorter than WEB_TOKEN_LEAST; ERR_LIMIT: longer than WEB_TOKEN_MAX. */
COHUE_MUST_USE enum err web_token_check(struct bytes token);
/* Appends the key authorisation (RFC 8555 section 8.1) of the account with this key (RFC 7638). Errors as above; ERR_MEMORY. */
COHUE_MUST_USE enum err web_key_authorisation(struct bytes token, const uint8_t thumbprint[WEB_THUMBPRINT],
					      struct buf *out);
/*
 * From now until then (CLOCK_MONOTONIC, ms) the token is answered with the key authorisation of that account; NULL takes it away. Errors of
 * web_key_authorisation(); ERR_FULL: there are WEB_CHALLENGES_MAX others.
 */
COHUE_MUST_USE enum err http_challenge_set(struct web_challenges *c, struct bytes token,
					   const uint8_t thumbprint[WEB_THUMBPRINT], msec now, msec until);

/* ---- the policy for those who send us mail (RFC 8461) ---- */

/* The text of /.well-known/mta-sts.txt. ERR_MEMORY, ERR_LIMIT. */
COHUE_MUST_USE enum err web_mta_sts_policy(const struct config *c, struct buf *out);
enum { WEB_MTA_STS_ID = 20 + 1 };
/* Changes when the policy does (RFC 8461 section 3.1: id). ERR_MEMORY. */
COHUE_MUST_USE enum err web_mta_sts_id(const struct config *c, char ret[WEB_MTA_STS_ID]);

/* ---- names ---- */

enum { WEB_NAMES_MAX = 5 };
/*
 * The host names that members' programs and other servers ask here, the machine's own first, none twice: they belong into the certificate
 * of members' ports. Without `web`, the machine's own alone. Returns how many.
 */
size_t web_names(const struct config *c, char ret[WEB_NAMES_MAX][CONFIG_NAME_MAX]);

/* ---- requests ---- */

struct web {
	const struct config *config;
	struct web_challenges challenges;
};

/* The fields buffers hold nothing before, and are the caller's to clear. */
struct web_reply {
	unsigned status;
	const char *type; /* static, or NULL */
	struct buf fields;
	struct buf body;
};

/* Field lines that every answer has: over TLS, and in clear. */
extern const char web_fields_secure[];
extern const char web_fields_clear[];

enum { WEB_BODY_MAX = 64 * 1024, WEB_FIELDS_MAX = 8 * 1024 };

/*
 * Answers a request that came over TLS, or in clear (port 80). There, whatever is not a certificate authority's question or the settings of
 * mail programs is sent on to https. ERR_MEMORY, ERR_LIMIT: then *reply is not to be sent.
 */
COHUE_MUST_USE enum err web_answer(const struct web *w, bool secure, const struct http_request *request,
				   msec now, struct web_reply *reply);

#endif
