/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_RSPAMD_H
#define COHUE_GATE_MX_RSPAMD_H

#include "gate_mx/judge.h"

/*
 * What an rspamd says of the message, in tenths as of sealed/judgement.h; 0 where it has nothing against it, or gives no answer. From a task, within
 * ten seconds. Recipients go to it under keyed names.
 */
uint32_t mx_ask_rspamd(struct mx_connection *c, const struct mx_judgement *j);

/*
 * Its answer to /checkv2 in JSON, as tenths: what it would mark is 50 at least, what it would refuse 80, and in between as score and required_score
 * have it. Pure. ERR_FORMAT.
 */
COHUE_MUST_USE enum err rspamd_read(struct bytes json, uint32_t *ret_tenths);

#endif
