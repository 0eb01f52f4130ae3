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
web_token_check(struct bytes token)
{
	return !is_base64url(token) || token.len < WEB_TOKEN_LEAST ? ERR_FORMAT
	       : token.len > WEB_TOKEN_MAX                         ? ERR_LIMIT
								   : ERR_OK;
}

enum err
web_key_authorisation(struct bytes token, const uint8_t thumbprint[WEB_THUMBPRINT], struct buf *out)
{
	size_t before = out->len;
	enum err e = web_token_check(token);
	e = e == ERR_OK ? buf_append(out, token) : e;
	e = e == ERR_OK ? buf_append_byte(out, '.') : e;
	size_t from = out->len;
	e = e == ERR_OK ? buf_append_base64(out, bytes_of(thumbprint, WEB_THUMBPRINT)) : e;
	for (size_t i = from; e == ERR_OK && i < out->len; i++) {
		uint8_t *c = &out->ptr[i];
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
	}
	while (e == ERR_OK && out->ptr[out->len - 1] == '=') {
		buf_truncate(out, out->len - 1);
	}
	if (e != ERR_OK) {
		buf_truncate(out, before);
	}
	return e;
}

enum err
http_challenge_set(struct web_challenges *c, struct bytes token, const uint8_t thumbprint[WEB_THUMBPRINT],
		   msec now, msec until)
{
	struct buf answer = BUF_INIT(WEB_KEY_AUTHORISATION_MAX);
	size_t place = WEB_CHALLENGES_MAX;
	enum err e =
	    thumbprint == NULL ? web_token_check(token) : web_key_authorisation(token, thumbprint, &answer);
	for (size_t i = 0; i < WEB_CHALLENGES_MAX && e == ERR_OK; i++) {
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
	if (e == ERR_OK && place == WEB_CHALLENGES_MAX) {
		e = thumbprint == NULL ? ERR_OK : ERR_FULL;
	} else if (e == ERR_OK) {
		memset(&c->rows[place], 0, sizeof(c->rows[place]));
		if (thumbprint != NULL) {
			memcpy(c->rows[place].token, token.ptr, token.len);
			memcpy(c->rows[place].answer, answer.ptr, answer.len);
			c->rows[place].until = until;
		}
	}
	buf_clear(&answer);
	return e;
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
