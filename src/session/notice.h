/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_NOTICE_H
#define COHUE_SESSION_NOTICE_H

#include "base/bytes.h"

struct member;
struct member_change;

/*
 * A note of the house's to a member, written by her own session into her own mailbox: it takes no way over the network.
 */
struct notice {
	const char *subject; /* ASCII, one line */
	const char *tag;     /* within its Message-ID */
	struct bytes body;   /* UTF-8, lines that end with CRLF */
};
/* The whole message, appended. address: hers. Message-ID from random. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err notice_text(const struct notice *n, const char *domain, struct bytes address,
				    int64_t time, const uint8_t random[16], struct buf *out);
/* From a member_build_fn: puts it into her INBOX, where she has one. Suspends. */
COHUE_MUST_USE enum err notice_put(struct member *m, const struct notice *n, struct member_change *c);

#endif
