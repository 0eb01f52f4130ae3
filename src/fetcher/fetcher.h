/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_FETCHER_FETCHER_H
#define COHUE_FETCHER_FETCHER_H

#include "process/role.h"

extern const struct role_def fetcher_role;

#endif
