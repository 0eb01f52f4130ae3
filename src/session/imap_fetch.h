/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_IMAP_FETCH_H
#define COHUE_SESSION_IMAP_FETCH_H

#include "mail/structure.h"
#include "session/imap.h"

/* A FETCH under way, and the items that have files of their own. */

struct fetching {
	struct imap *im;
	const struct imap_command *command;
	struct message_item *items;
	size_t count;
	bool *seen; /* items whose \Seen this command has set; NULL: none */
	enum message_want want;
	bool needs_card;
	bool says_uid;
	bool says_flags;
	bool says_modseq;
	bool needs_structure;
	unsigned gone;
	unsigned damaged;
	unsigned undecodable; /* BINARY of an unknown transfer encoding */
	enum err failed;      /* a temporary failure: what was not answered */
	/* Of the present message: */
	struct arena arena;
	struct message *message;
	struct mail_structure structure;
	bool structure_ready;
};

/*
 * Each writes its name, a blank and its value. An error: nothing of the message is answered. ERR_UNSUPPORTED: a transfer encoding
 * that is not known (RFC 3516 section 4.3).
 */

/* imap_fetch_item.c */
void imap_fetch_write_savedate(struct fetching *f, const struct fold_message *m);
void imap_fetch_write_emailid(struct fetching *f, const struct fold_message *m);
COHUE_MUST_USE enum err imap_fetch_write_threadid(struct fetching *f);
COHUE_MUST_USE enum err imap_fetch_write_preview(struct fetching *f, const struct imap_fetch_item *item);
/* imap_fetch_binary.c */
COHUE_MUST_USE enum err imap_fetch_write_binary(struct fetching *f, const struct imap_fetch_item *item);

/* ---- identifiers (RFC 8474), each at most IMAP_OBJECT_ID_MAX octets with its NUL ---- */

enum { IMAP_OBJECT_ID_MAX = 40 };

/* Of the card: copies have the same. */
void imap_email_id(const struct fold_message *m, char ret[IMAP_OBJECT_ID_MAX]);
/*
 * Of the conversation that the message names: a hash of the first of its References, else of In-Reply-To, else of its own Message-ID.
 * False where it has none of them (NIL). It says nothing of other messages, so it never changes.
 */
bool imap_thread_id(const struct mail_envelope *envelope, char ret[IMAP_OBJECT_ID_MAX]);

#endif
