/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_SUMMARY_H
#define COHUE_MAIL_SUMMARY_H

#include "mail/structure.h"

/*
 * The compact, versioned wire form of a message's envelope and structure, from
 * which ENVELOPE and BODYSTRUCTURE are answered and parts are found without
 * reading the message. It is written by a gate that may be captured: decoding
 * believes nothing. The form stands in docs/mail-summary.md.
 */

enum {
	MAIL_SUMMARY_VERSION = 1,
	MAIL_SUMMARY_MAX = 96 * 1024, /* octets; encoding shortens to fit, also into a sealed arrival */
	MAIL_SUMMARY_LEAST = 6 * 1024,
	MAIL_SUMMARY_MEMORY = 16 * 1024 * 1024 /* an arena of this size suffices for any decoding */
};

/*
 * Appends at most MAIL_SUMMARY_MAX octets; out must have room for so many.
 * Where the message has more, long texts and lists are cut, then parts from the
 * end are left out, and `truncated` is set in what was cut. ERR_MEMORY, ERR_LIMIT by out alone.
 */
COHUE_MUST_USE enum err mail_summary_encode(const struct mail_structure *s, struct buf *out);
/* The same within fewer octets, but never fewer than MAIL_SUMMARY_LEAST: cut likewise. */
COHUE_MUST_USE enum err mail_summary_encode_within(const struct mail_structure *s, size_t max,
						   struct buf *out);

/*
 * Checks everything: version, limits, that each part lies within its parent
 * behind the part before it, and all within message_size (the size that the
 * reader knows: it must be the declared one). Views point into data. ERR_FORMAT, ERR_UNSUPPORTED (version),
 * ERR_MEMORY.
 */
COHUE_MUST_USE enum err mail_summary_decode(struct arena *arena, struct bytes data, size_t message_size,
					    struct mail_structure *ret);
/* The outermost envelope alone: for ENVELOPE of a whole mailbox. The parts are not looked at. */
COHUE_MUST_USE enum err mail_summary_decode_envelope(struct arena *arena, struct bytes data,
						     struct mail_envelope *ret);
/*
 * The same without its lists, which are left empty: date, subject and identifiers. What stands behind them is not looked at. Needs no
 * memory. ERR_FORMAT, ERR_UNSUPPORTED.
 */
COHUE_MUST_USE enum err mail_summary_decode_front(struct bytes data, struct mail_envelope *ret);

#endif
