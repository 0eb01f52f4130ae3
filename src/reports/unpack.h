/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_REPORTS_UNPACK_H
#define COHUE_REPORTS_UNPACK_H

#include "base/bytes.h"

/* Compressed reports of strangers. Pure; never more memory than said, whatever the input claims. */

enum { UNPACK_MAX = 4 << 20, UNPACK_RATIO_MAX = 200 };

/*
 * Appends the plain octets of gzip (RFC 1952), of the first file of a ZIP archive, or of what is neither, as it is. ret: an empty buffer, whose own
 * maximum holds too. ERR_LIMIT: it would be larger than UNPACK_MAX, or, beyond 64 KiB, more than UNPACK_RATIO_MAX times its packed size: a bomb.
 * ERR_FORMAT: damaged, cut off, encrypted. ERR_MEMORY. On failure ret is left empty.
 */
COHUE_MUST_USE enum err report_unpack(struct bytes packed, struct buf *ret);

#endif
