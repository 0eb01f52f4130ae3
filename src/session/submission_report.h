/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_REPORT_H
#define COHUE_SESSION_SUBMISSION_REPORT_H

#include "session/submission_internal.h"

/* True where a member among the recipients was given with NOTIFY=SUCCESS (RFC 3461 section 4.1). */
bool submission_wants_report(const struct envelope *v);
/*
 * Appends the report that the copies for members were delivered (RFC 3464), for the author. It is put beside those copies and
 * released with them, so that it is true when it can be read. now: seconds since 1970; leaving: the message, whose header
 * is returned. ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err submission_write_report(const struct envelope *v, int64_t now, struct bytes leaving,
						struct buf *out);

#endif
