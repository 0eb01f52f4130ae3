/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_FOLD_CASE_H
#define COHUE_PROTOCOL_IMAP_FOLD_CASE_H

#include "base/bytes.h"

/*
 * Appends UTF-8 text folded for comparison: without case, decomposed (NFKD), marks in canonical order, runs of blanks
 * and line ends as one blank, invisible characters dropped. Wrong octets stay as they are. Up to 11 times as long as the
 * text. ERR_LIMIT where it does not fit: what does is there then. ERR_MEMORY.
 */
COHUE_MUST_USE enum err imap_fold_case(struct bytes text, struct buf *out);
/*
 * The same of ASCII without encoded words ("=?"), into room for text.len octets at least; *ret_len of them are used. False for any other
 * text: then what stands in the room means nothing.
 */
bool imap_fold_plain(struct bytes text, uint8_t *room, size_t *ret_len);

/* Unicode's canonical combining class; 0 for what is no mark. */
uint8_t imap_combining_class(uint32_t c);

#endif
