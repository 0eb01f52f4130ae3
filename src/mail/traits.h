/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_TRAITS_H
#define COHUE_MAIL_TRAITS_H

#include "mail/structure.h"

/*
 * What a message is like, for a classifier: hashes of its words (of the subject and of its text parts), of the hosts that
 * it links to, and of its author's domain. Linear, bounded, and the same wherever it is computed. Pure.
 */

enum {
	MAIL_TRAITS_MAX = 200,          /* of one message, the first ones */
	MAIL_TRAITS_OCTETS = 48 * 1024, /* of each text part, as it stands in the message */
	MAIL_TRAITS_PARTS = 4,          /* text parts looked at */
	MAIL_TRAITS_WORD_MIN = 3,
	MAIL_TRAITS_WORD_MAX = 24,
};

/*
 * The traits of a message, or of its first octets (at least its header): different hashes, in no order that means anything. `s` is its structure.
 * ERR_MEMORY.
 */
COHUE_MUST_USE enum err mail_traits(const struct mail_structure *s, struct bytes message,
				    uint32_t ret[MAIL_TRAITS_MAX], size_t *ret_count);

#endif
