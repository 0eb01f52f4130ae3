/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_TLS_FILES_H
#define COHUE_KEEPER_TLS_FILES_H

#include "ipc/messages.h"
#include "keeper/tls_keys.h"
#include "sealed/keys.h"

/*
 * The files of both kinds as the supervisor read them: all are put into k, or nothing. Where they cannot be used, one line for the
 * volunteer is appended to *ret_problem. wrap: the purpose key `tls-wrap`, the caller's to wipe. Errors as of tls_pair_create(), and
 * ERR_DAMAGED, ERR_DENIED: a sealed file is damaged, or of another house.
 */
COHUE_MUST_USE enum err keeper_tls_take(struct tls_keys *k, const uint8_t wrap[SEALED_KEY_LEN],
					const char *house_key_file, const struct msg_tls_files *m,
					struct buf *ret_problem);

#endif
