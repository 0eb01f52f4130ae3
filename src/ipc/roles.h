/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_IPC_ROLES_H
#define COHUE_IPC_ROLES_H

/* The processes of the house. The order is that of starting: who is asked comes before who asks. */
enum role {
	ROLE_NONE = 0,
	ROLE_SUPERVISOR,
	ROLE_KEEPER,
	ROLE_STORE,
	ROLE_RESOLVER,
	ROLE_FETCHER,
	ROLE_MIXER,
	ROLE_COURIER,
	ROLE_OPENER,
	ROLE_SESSION,
	ROLE_GATE_MEMBER,
	ROLE_GATE_MX,
	ROLE__COUNT
};

#define ROLE_BIT(r) (1U << (r))

/* "gate-mx"; never NULL. */
const char *role_name(enum role r);

#endif
