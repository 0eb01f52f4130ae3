/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_SEARCH_TEXT_H
#define COHUE_PROTOCOL_IMAP_SEARCH_TEXT_H

#include "mail/structure.h"

/*
 * What is searched of a message, as folded text (imap_fold_case.h). Each appends as much as there is room for and then gives
 * ERR_LIMIT; ERR_MEMORY.
 */

enum { IMAP_SEARCH_HEADER_MAX = 1024 * 1024 };

/* As it is; no more octets of the text than there is room for. */
COHUE_MUST_USE enum err imap_search_folded(struct buf *out, struct bytes text);
/* A header value: encoded words decoded. */
COHUE_MUST_USE enum err imap_search_value(struct buf *out, struct bytes value);
/* All fields, "name: value" on a line each. */
COHUE_MUST_USE enum err imap_search_header(struct buf *out, struct bytes header);
/*
 * All text parts, transfer encoding and charset undone, HTML as its reader sees it; the names of attached files; the headers of messages within
 * the message. The message's octets may end early: what lies behind is not searched.
 */
COHUE_MUST_USE enum err imap_search_body(struct buf *out, struct bytes message,
					 const struct mail_structure *s);
/* How many octets of the message imap_search_body looks at. */
size_t imap_search_body_end(const struct mail_structure *s);

#endif
