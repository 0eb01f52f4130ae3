/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_WIPING_H
#define COHUE_KEEPER_WIPING_H

#include "base/error.h"

/*
 * From now on whatever OpenSSL frees or moves is wiped first. While it reads a key it has the whole of it in ordinary memory
 * several times (base64, DER, the inner octets), which it gives back as they are. Before OpenSSL has allocated anything. ERR_STATE: it has.
 */
COHUE_MUST_USE enum err wiping_start(void);

#endif
