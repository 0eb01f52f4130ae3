/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SESSION_H
#define COHUE_SESSION_SESSION_H

#include "process/role.h"

/* The session role: what members do once they have logged in. */
extern const struct role_def session_role;

#endif
