/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_PRIVACY_NAMES_H
#define COHUE_MAIL_PRIVACY_NAMES_H

#include "base/bytes.h"

/* Which fields and parameters may leave; private to src/mail. Whatever no list names is the author's choice, and stays. */

/* Of a message that the member wrote, and of the parts in it. */
bool privacy_field_leaves(struct bytes name);
/* Of a name that begins with "Resent-". */
bool privacy_resent_leaves(struct bytes name);
/* Of the header of a part. */
bool privacy_part_field_leaves(struct bytes name, struct bytes value);
/* Of Content-Type and Content-Disposition. */
bool privacy_param_leaves(struct bytes name);

#endif
