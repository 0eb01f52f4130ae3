/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_ENVELOPE_H
#define COHUE_MAIL_ENVELOPE_H

#include "mail/structure.h"

/*
 * Fields of one header into the structs, private to src/mail. The budget is
 * what a whole message may still take, so that memory has a bound whatever the message holds.
 */

enum {
	MAIL_BUDGET_TEXT = 2 << 20,   /* octets of copied texts and of address fields */
	MAIL_BUDGET_PARAMS = 1 << 20, /* octets of fields with parameters */
	MAIL_MAX_TEXT = 16384,        /* octets of one text */
	MAIL_MAX_SHORT_TEXT = 2048    /* of a part's fields */
};

struct mail_budget {
	size_t text;
	size_t params;
	size_t addresses;
	bool cut; /* something was left out */
};

COHUE_MUST_USE enum err mail_envelope_read(struct arena *arena, struct bytes header, bool outermost,
					   struct mail_budget *budget, struct mail_envelope *ret_envelope);
/* Sets type to description, and disposition; `type` has the default already. ret_boundary: empty where there is none. */
COHUE_MUST_USE enum err mail_part_read(struct arena *arena, struct bytes header, struct mail_budget *budget,
				       struct mail_part *part, struct bytes *ret_boundary);

#endif
