/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LAW_POSTERIOR_H
#define COHUE_LAW_POSTERIOR_H

#include "base/bytes.h"

/*
 * The attacker of the exponential law: he sees every entry and every departure, and knows the law.
 * His exact posterior (memorylessness): p = 1 for a message on arrival; at a departure with n waiting,
 * P(it is message i) = p_i / n, then p_i becomes p_i (1 - 1/n). The future adds nothing (Danezis 2004).
 * Steps cost O(1), questions O(1), entropy O(messages still possible).
 */

struct law_posterior;

/* At most `max` messages. */
COHUE_MUST_USE enum err law_posterior_create(size_t max, struct law_posterior **ret);
void law_posterior_destroy(struct law_posterior **p);
/* A message enters; gives its index, counted from 0. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err law_posterior_in(struct law_posterior *p, size_t *ret_message);
/* One departs; gives the departure's index. ERR_STATE where nothing waits. */
COHUE_MUST_USE enum err law_posterior_out(struct law_posterior *p, size_t *ret_departure);
size_t law_posterior_messages(const struct law_posterior *p);
size_t law_posterior_departures(const struct law_posterior *p);
/* P(this departure is that message), given all that is seen. 0 for indices that do not exist. */
double law_posterior_of(const struct law_posterior *p, size_t departure, size_t message);
/* The best single guess at a departure: its probability, and the message (the latest to enter). */
double law_posterior_best(const struct law_posterior *p, size_t departure, size_t *ret_message);
/* Entropy over messages, in bits. */
double law_posterior_entropy(const struct law_posterior *p, size_t departure);

#endif
