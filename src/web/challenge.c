/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "web/web_internal.h"

/* RFC 4648 section 5, without padding. */
static bool
is_base64url(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!ascii_is_alnum(text.ptr[i]) && text.ptr[i] != '-' && text.ptr[i] != '_') {
			return false;
		}
	}
	return text.len > 0;
}

enum err
http_challenge_set(struct web_challenges *c, struct bytes token, struct bytes answer, msec now, msec until)
{
	size_t place = WEB_CHALLENGES_MAX;
	bool thumbprint = answer.len > token.len + 1 &&
			  bytes_equal(bytes_slice(answer, 0, token.len), token) &&
			  answer.ptr[token.len] == '.' && is_base64url(bytes_from(answer, token.len + 1));
	if (!is_base64url(token) || (answer.len > 0 && !thumbprint)) {
		return ERR_FORMAT;
	}
	if (token.len > WEB_TOKEN_MAX || answer.len > WEB_KEY_AUTHORISATION_MAX) {
		return ERR_LIMIT;
	}
	for (size_t i = 0; i < WEB_CHALLENGES_MAX; i++) {
		if (c->rows[i].until <= now) {
			c->rows[i].token[0] = '\0';
		}
		bool same = bytes_equal(bytes_str(c->rows[i].token), token);
		if (same || (c->rows[i].token[0] == '\0' && place == WEB_CHALLENGES_MAX)) {
			place = i;
		}
		if (same) {
			break;
		}
	}
	if (place == WEB_CHALLENGES_MAX) {
		return answer.len == 0 ? ERR_OK : ERR_FULL;
	}
	memset(&c->rows[place], 0, sizeof(c->rows[place]));
	if (answer.len > 0) {
		memcpy(c->rows[place].token, token.ptr, token.len);
		memcpy(c->rows[place].answer, answer.ptr, answer.len);
		c->rows[place].until = until;
	}
	return ERR_OK;
}

const char *
web_challenge_find(const struct web_challenges *c, struct bytes token, msec now)
{
	for (size_t i = 0; i < WEB_CHALLENGES_MAX && token.len > 0; i++) {
		if (bytes_is(token, c->rows[i].token) && c->rows[i].until > now) {
			return c->rows[i].answer;
		}
	}
	return NULL;
}
