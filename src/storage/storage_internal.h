/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORAGE_STORAGE_INTERNAL_H
#define COHUE_STORAGE_STORAGE_INTERNAL_H

#include "storage/storage.h"

/* What all drivers share. */

/* used + delta, clipped to [0, INT64_MAX]. */
uint64_t storage_used_after(uint64_t used, int64_t delta);

#endif
