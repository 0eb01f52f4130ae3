/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_MESSAGE_H
#define COHUE_SESSION_MESSAGE_H

#include "session/member.h"

/*
 * Messages of a member, one after the other, with cards and bodies fetched ahead: several requests are on their way
 * while the present one is rendered. All from one task.
 */

enum {
	MESSAGE_AHEAD = 48,            /* bodies on their way: the store reads some while others are opened */
	MESSAGE_AHEAD_BYTES = 4 << 20, /* of their blobs, at most */
	MESSAGE_WHOLE_CHUNKS = 8,      /* blobs up to this are opened at once */
	MESSAGE_WHOLE_MAX = 16 << 20,  /* ... where the message has no more than this */
};

enum message_want {
	MESSAGE_CARD,   /* the card alone */
	MESSAGE_HEADER, /* and at least the header of the message */
	MESSAGE_BODY,   /* and all of it */
};

/* One that is wanted; filled by the caller. */
struct message_item {
	uint64_t record;
	uint16_t op;
	uint32_t uid;
	uint32_t sequence;
};

struct message_reader;

/* items are borrowed until destroy. ERR_MEMORY. */
COHUE_MUST_USE enum err message_reader_create(struct member *m, enum message_want want,
					      const struct message_item *items, size_t count,
					      struct message_reader **ret);
/* Waits for what is on its way. Accepts NULL. */
void message_reader_destroy(struct message_reader **r);

struct message {
	const struct message_item *item;
	/* ERR_OK, or why this one cannot be read: ERR_DAMAGED (it alone), else temporary. */
	enum err error;
	struct card card; /* views live until the next call */
	/* What was asked for: octets of the message from its beginning; ptr NULL where it is not held. */
	struct bytes octets;
	bool whole; /* octets are all of it; else, with MESSAGE_BODY: large, use message_stream */
};

/* The next one; false after the last. Suspends. */
bool message_reader_next(struct message_reader *r, struct message *ret);

/*
 * Streams octets at .. at + len of a large message to fn, with bounded memory; fn may suspend. The first piece comes only after
 * its chunk was authenticated. ERR_DAMAGED, or what fn returned.
 */
COHUE_MUST_USE enum err message_stream(struct member *m, const struct blob_ref *ref, uint64_t at,
				       uint64_t len, enum err (*fn)(void *arg, struct bytes piece),
				       void *arg);

#endif
