/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_WISH_H
#define COHUE_COURIER_WISH_H

#include "sealed/spool.h"

/*
 * Whether a part that the gate of strangers put into the leaving room is a copy that a member has sent on: the keeper has signed for her
 * account that her mail goes to each of these recipients, the server is sought by their domain, and the sender is nobody, or she
 * in the one form that copies have. verify_key: PURPOSE_PUBLIC_KEY_VERIFY; domain: the house's.
 */
COHUE_MUST_USE bool wish_covers(const struct courier_part *part, const uint8_t verify_key[SEALED_KEY_LEN],
				struct bytes domain);

#endif
