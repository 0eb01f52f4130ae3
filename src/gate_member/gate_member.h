/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MEMBER_GATE_MEMBER_H
#define COHUE_GATE_MEMBER_GATE_MEMBER_H

#include "process/role.h"

/* The door of the members: TLS, login, then framed bytes to the session. */
extern const struct role_def gate_member_role;

#endif
