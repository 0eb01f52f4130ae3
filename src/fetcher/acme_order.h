/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FETCHER_ACME_ORDER_H
#define COHUE_FETCHER_ACME_ORDER_H

#include "fetcher/internal.h"

/* One certificate from an authority: account, order, authorisations, challenges, certificate (RFC 8555 section 7). In a task. */

enum { ACME_PROBLEM_MAX = 320 };

struct acme_session {
	struct role_host *host;
	struct transfer_engine *engine;
	/* Filled in as it goes. */
	char new_nonce[ACME_URL_MAX];
	char new_account[ACME_URL_MAX];
	char new_order[ACME_URL_MAX];
	char account[ACME_URL_MAX];
	char nonce[260];
	bool next;                      /* for the key that comes next, not the one in use */
	bool other_challenge;           /* the first choice failed the last time */
	msec not_before_again;          /* the authority said Retry-After: until then (CLOCK_MONOTONIC) */
	char problem[ACME_PROBLEM_MAX]; /* what failed and its remedy; "" */
};

/* The directory and the account. False: problem says why. */
bool acme_session_open(struct acme_session *s);
/*
 * A certificate of this kind for these names (separated by blanks), handed to the keeper. Of names that the authority refuses all but the first are
 * left out, which *ret_without then says (bits). False: problem says why.
 */
bool acme_certificate_get(struct acme_session *s, unsigned kind, struct bytes names, unsigned *ret_without);

#endif
