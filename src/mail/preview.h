/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_PREVIEW_H
#define COHUE_MAIL_PREVIEW_H

#include "mail/structure.h"

/* The first words of a message as a reader would see them (RFC 8970). */

enum {
	MAIL_PREVIEW_CHARACTERS = 200, /* RFC 8970 section 3.2: at most 256, and 200 are advised */
	MAIL_PREVIEW_OCTETS =
	    48 * 1024, /* of the part, as they stand in the message: more are never needed */
	MAIL_PREVIEW_MAX = 4 * MAIL_PREVIEW_CHARACTERS
};

/* The part whose text says what a message is about: the first text/plain that is no attachment, else such a text/html. ERR_NOT_FOUND. */
COHUE_MUST_USE enum err mail_preview_part(const struct mail_structure *s, uint32_t *ret_part);
/*
 * Appends the preview in UTF-8, of the part's first octets (cut anywhere, transfer-encoded as they are): blanks collapsed, quoted
 * lines, tags, comments and what nobody sees left out, controls dropped. Empty where there is no text. Linear. ERR_MEMORY, ERR_LIMIT by out alone.
 */
COHUE_MUST_USE enum err mail_preview(const struct mail_part *part, struct bytes octets, struct buf *out);

#endif
