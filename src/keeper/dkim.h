/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_KEEPER_DKIM_H
#define COHUE_KEEPER_DKIM_H

#include "dkim/ring.h"
#include "ipc/channel.h"

/* The house's DKIM keys in the keeper: taken, changed for the supervisor, signed with for the courier. */

struct keeper_dkim {
	bool loaded;
	struct dkim_ring ring;
	uint64_t signatures;
};

/* Each answers with what becomes of the message: ERR_FORMAT breaks the table. wrap: the purpose key, the caller's to wipe. */
COHUE_MUST_USE enum err keeper_dkim_take(struct keeper_dkim *d, const uint8_t wrap[CRYPTO_KEY_LEN],
					 const char *house_key_file, struct bytes payload);
COHUE_MUST_USE enum err keeper_dkim_change(const uint8_t wrap[CRYPTO_KEY_LEN], const char *house_key_file,
					   int64_t overlap, struct channel *ch,
					   const struct channel_message *m);
COHUE_MUST_USE enum err keeper_dkim_selectors(const struct keeper_dkim *d, struct channel *ch,
					      const struct channel_message *m);
COHUE_MUST_USE enum err keeper_dkim_sign(struct keeper_dkim *d, struct channel *ch,
					 const struct channel_message *m);

#endif
