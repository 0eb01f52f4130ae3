/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROCESS_SANDBOX_INTERNAL_H
#define COHUE_PROCESS_SANDBOX_INTERNAL_H

#include "process/sandbox.h"

/* The steps of sandbox_enter that stand in files of their own. */

/* ERR_UNSUPPORTED where the kernel has no Landlock. */
COHUE_MUST_USE enum err sandbox_landlock(const struct sandbox_profile *profile,
					 const int path_fds[SANDBOX_PATHS_MAX]);
COHUE_MUST_USE enum err sandbox_seccomp(unsigned allow);

#endif
