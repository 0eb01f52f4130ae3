/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_SEARCH_HTML_H
#define COHUE_PROTOCOL_IMAP_SEARCH_HTML_H

#include "base/bytes.h"

/*
 * Appends the text that a reader of this HTML (UTF-8) sees: tags and comments dropped (those that begin a block or a
 * cell leave a line end, the others nothing, so that words with an emphasised part stay whole), scripts and styles left
 * out, character references resolved. Behind it, a line each, where links go and what stands in place of
 * pictures (href, alt, title). One pass, linear, never longer than the input and a line end. ERR_LIMIT, with what fitted; ERR_MEMORY.
 */
COHUE_MUST_USE enum err imap_search_html(struct bytes html, struct buf *out);

#endif
