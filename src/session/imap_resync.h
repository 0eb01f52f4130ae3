/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_IMAP_RESYNC_H
#define COHUE_SESSION_IMAP_RESYNC_H

#include "base/arena.h"
#include "fold/state.h"
#include "protocol/imap_set.h"

/* What a client that comes back has missed (QRESYNC, RFC 7162 section 3.2). Pure; results stand in the arena. */

/*
 * The greatest UID of which the client's sequence match shows that up to it nothing has gone: its message still has the number that it
 * had. Both sets resolved; pairs beyond the shorter one are not looked at. 0: none. At most as many steps as there are messages.
 */
uint32_t resync_matched(const struct fold_mailbox *box, const struct imap_set *numbers,
			const struct imap_set *uids);

/*
 * Of these UIDs (resolved), those that have gone since the mod-sequence, as a resolved set. Where the mailbox no longer knows what went when
 * (fold_tombstones_since): all of them below UIDNEXT that are not there and above `above`. ERR_MEMORY.
 */
COHUE_MUST_USE enum err resync_vanished(struct arena *a, const struct fold_mailbox *box, uint64_t since,
					const struct imap_set *uids, uint32_t above,
					struct imap_set *ret_vanished);

/* Of these UIDs (resolved), those of messages that were changed since. Ascending. ERR_MEMORY. */
COHUE_MUST_USE enum err resync_changed(struct arena *a, const struct fold_mailbox *box, uint64_t since,
				       const struct imap_set *uids, uint32_t **ret_uids, size_t *ret_count);

#endif
