/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_OPENER_NAME_H
#define COHUE_OPENER_NAME_H

#include <stdbool.h>

#include "base/bytes.h"

/* Names of members and aliases, and what is typed at a login. Pure. */

/*
 * A local part as members and aliases have it: a dot-string (RFC 5321 section 4.1.2) of lower-case ASCII, at most 64
 * octets, without '+' (which separates a subaddress).
 */
bool name_is_local(struct bytes name);
/* True for what the house itself writes as: the author of reports to members, and of those to other providers (reports/write.h). */
bool name_is_the_house(struct bytes local);
/*
 * What a volunteer typed ("Alice", "alice@domain") as a local part, appended to ret in lower case. ERR_DENIED:
 * another domain. ERR_FORMAT: not such a name. ERR_MEMORY.
 */
COHUE_MUST_USE enum err name_of_member(struct bytes typed, const char *domain, struct buf *ret);
/*
 * What was typed at a login as the address under which the directory has it: "alice", "alice@domain", an alias;
 * a subaddress counts as its base, so that each member has one name here and not infinitely many. Appended
 * to ret (room for 320 bytes suffices). ERR_FORMAT, ERR_DENIED (another domain): there is no such member. ERR_MEMORY.
 */
COHUE_MUST_USE enum err name_of_login(struct bytes typed, const char *domain, struct buf *ret);

#endif
