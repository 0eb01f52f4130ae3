/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_LANE_H
#define COHUE_SESSION_SUBMISSION_LANE_H

#include "law/law.h"
#include "protocol/smtp_envelope.h"

/*
 * How a letter wants to wait, by what every mail program has: parameters of MAIL (FUTURERELEASE, RFC 4865, where HOLDFOR=1
 * means urgent; MT-PRIORITY, RFC 6710), else the priority fields of its header, else what the member has set. Pure.
 */

struct submission_lane {
	enum law_lane lane;
	msec hold; /* before its wait begins; 0: none */
};

struct submission_lane submission_lane(const struct smtp_mail *mail, struct bytes message,
				       enum law_lane usual);
/* Fields that choose the lane: they do not leave the house. NULL-terminated. */
extern const char *const submission_lane_fields[];

#endif
