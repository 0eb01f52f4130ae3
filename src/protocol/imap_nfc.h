/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_NFC_H
#define COHUE_PROTOCOL_IMAP_NFC_H

#include "base/bytes.h"

/*
 * Appends UTF-8 text in Unicode's Normalization Form C (UAX 15), as Net-Unicode wants it (RFC 5198 section 2). At most 3 times
 * as long as the text. ERR_FORMAT: it is not UTF-8. ERR_LIMIT, ERR_MEMORY; out is as it was then. Time grows with the square of the
 * longest run of combining marks: for text of bounded length.
 */
COHUE_MUST_USE enum err imap_nfc(struct bytes text, struct buf *out);

#endif
