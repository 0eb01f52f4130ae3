/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_GATE_MX_H
#define COHUE_GATE_MX_GATE_MX_H

#include "process/role.h"

extern const struct role_def gate_mx_role;

#endif
