/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_WEB_WEB_INTERNAL_H
#define COHUE_WEB_WEB_INTERNAL_H

#include "web/web.h"

/* The texts. Each appends to out. */

/* Names in braces are replaced: {domain} {host} {imaps} {submissions} {submission} {web} and, escaped for XML, {address}. */
COHUE_MUST_USE enum err web_fill(const struct config *c, const char *text, struct bytes address,
				 struct buf *out);

/* Whether this may be a member's address: in the house's domain, of few enough and harmless characters. */
bool web_is_address(const struct config *c, struct bytes text);

/* mail_settings.c. `address` is empty where the program shall ask for it. */
COHUE_MUST_USE enum err web_autoconfig(const struct config *c, struct buf *out);
COHUE_MUST_USE enum err web_autodiscover(const struct config *c, struct bytes body, struct buf *out);
COHUE_MUST_USE enum err web_autodiscover_json(const struct config *c, struct bytes query,
					      unsigned *ret_status, struct buf *out);
COHUE_MUST_USE enum err web_apple_profile(const struct config *c, struct bytes address, struct buf *out);

/* page.c */
COHUE_MUST_USE enum err web_page(const struct config *c, struct buf *out);
extern const char web_style[];

/* NULL: there is none, or its time is over. */
const char *web_challenge_find(const struct web_challenges *c, struct bytes token, msec now);

#endif
