/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_STRUCTURE_H
#define COHUE_PROTOCOL_IMAP_STRUCTURE_H

#include "mail/structure.h"
#include "protocol/imap_write.h"

/*
 * ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2) from a decoded
 * summary. Header texts go out as they are in the message (RFC 2047 encoded
 * words stay); 8-bit ones as quoted UTF-8 when the writer's utf8 is set
 * (RFC 6855), else as literals.
 */

/* "(date subject from sender reply-to to cc bcc in-reply-to message-id)", without the name before it. */
void imap_write_envelope(struct imap_writer *w, const struct mail_envelope *envelope);
/* The structure of parts[0]: BODYSTRUCTURE where extended, else BODY. ERR_LIMIT past MAIL_MAX_DEPTH levels. */
void imap_write_structure(struct imap_writer *w, const struct mail_structure *s, bool extended);

#endif
