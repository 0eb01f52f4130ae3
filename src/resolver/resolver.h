/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_RESOLVER_RESOLVER_H
#define COHUE_RESOLVER_RESOLVER_H

#include "process/role.h"

extern const struct role_def resolver_role;

#endif
