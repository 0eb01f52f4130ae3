/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MIXER_MIXER_H
#define COHUE_MIXER_MIXER_H

#include "process/role.h"

extern const struct role_def mixer_role;

#endif
