/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_COURIER_H
#define COHUE_COURIER_COURIER_H

#include "process/role.h"

extern const struct role_def courier_role;

#endif
