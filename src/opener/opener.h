/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_OPENER_OPENER_H
#define COHUE_OPENER_OPENER_H

#include "process/role.h"

extern const struct role_def opener_role;

#endif
