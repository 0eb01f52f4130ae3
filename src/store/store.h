/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORE_STORE_H
#define COHUE_STORE_STORE_H

#include "process/role.h"

extern const struct role_def store_role;

#endif
