/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_SUBJECT_H
#define COHUE_PROTOCOL_IMAP_SUBJECT_H

#include "base/bytes.h"

/*
 * The base subject (RFC 5256 section 2.1) of a subject whose encoded words are decoded. Blanks are made single within
 * *subject (its buffer), of which *ret_base is a part. *ret_reply: it is of a reply or a forwarded message (section 3, REFERENCES).
 * Linear in the length.
 */
void imap_base_subject(struct buf *subject, struct bytes *ret_base, bool *ret_reply);

#endif
