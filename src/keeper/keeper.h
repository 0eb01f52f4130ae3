/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_KEEPER_H
#define COHUE_KEEPER_KEEPER_H

#include "process/role.h"

extern const struct role_def keeper_role;

#endif
