/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_DECODE_H
#define COHUE_MAIL_DECODE_H

#include "base/bytes.h"

/* Content-Transfer-Encodings (RFC 2045 §6): bodies decoded in pieces of any size, tolerantly. */

enum mail_encoding {
	MAIL_ENCODING_7BIT,
	MAIL_ENCODING_8BIT,
	MAIL_ENCODING_BINARY,
	MAIL_ENCODING_QUOTED_PRINTABLE,
	MAIL_ENCODING_BASE64,
	MAIL_ENCODING_UNKNOWN
};

/* Empty gives 7BIT, as RFC 2045 §6.1 says. */
enum mail_encoding mail_encoding_of(struct bytes token);

struct mail_decoder {
	enum mail_encoding encoding;
	uint8_t held[128]; /* octets that the next piece decides upon */
	size_t held_len;
	uint32_t bits;
	unsigned int bit_count;
};

void mail_decoder_init(struct mail_decoder *d, enum mail_encoding encoding);
/* Appends what is decided so far. Errors are those of the buffer only: bad input decodes to something. */
COHUE_MUST_USE enum err mail_decoder_push(struct mail_decoder *d, struct bytes piece, struct buf *out);
COHUE_MUST_USE enum err mail_decoder_end(struct mail_decoder *d, struct buf *out);
/* All at once. */
COHUE_MUST_USE enum err mail_decode(enum mail_encoding encoding, struct bytes body, struct buf *out);

/* Encoders: lines of at most 76 octets, CRLF (RFC 2045 §6.7, §6.8). */
/* Text: line ends stay line ends. No line begins with '-', '.' or "From ", so that nothing can be taken for a delimiter. */
COHUE_MUST_USE enum err mail_encode_quoted_printable(struct bytes body, struct buf *out);
COHUE_MUST_USE enum err mail_encode_base64(struct bytes body, struct buf *out);

#endif
