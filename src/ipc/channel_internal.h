/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_IPC_CHANNEL_INTERNAL_H
#define COHUE_IPC_CHANNEL_INTERNAL_H

#include "ipc/channel.h"

/* What channel.c (life, receiving) and channel_send.c share. */

enum {
	CHANNEL_HEADER = 12,
	CHANNEL_FRAME_REPLY = 3,    /* beside enum ipc_kind */
	CHANNEL_BATCH = 256 * 1024, /* bytes received at once, and sent ones kept in front of the queue */
	CHANNEL_SLOT_BITS = 20,
	CHANNEL_PENDING_MAX = 1 << CHANNEL_SLOT_BITS,
};

struct pending {
	struct channel *ch;
	channel_reply_fn *fn; /* NULL: forgotten, the reply is dropped */
	void *arg;
	enum msg_type type;
	uint32_t id; /* 0: free slot */
	struct timer timer;
};

struct channel {
	struct loop *loop;
	struct watch watch;
	struct defer flush;
	struct defer ended;
	const struct channel_events *events;
	void *arg;
	enum role self;
	enum role peer;
	unsigned peer_index;
	int fd;
	bool closed; /* nothing is sent or received any more */
	bool fault;
	bool *destroyed; /* set when destroyed during a dispatch */
	struct buf in;   /* an incomplete frame; behind channel_ask() also whole ones, which `kept` handles */
	struct defer kept;
	int in_fd; /* the descriptor that came with the incomplete frame's first bytes; -1 without */
	struct buf out;
	size_t out_sent;
	uint64_t serial;

	/* What was started and not finished. */
	size_t start_at;
	struct pending *start_pending;
	enum err start_error;

	struct pending **slots;
	size_t slot_count;
	uint32_t round;
	size_t next_slot;
};

/* Nothing is sent or received from now on; closed() follows. */
void channel_end_as(struct channel *ch, bool fault);
void channel_free_pending(struct channel *ch, struct pending *p);
/* The rule of a frame that may come to this end with this header; NULL: a fault. */
const struct msg_rule *channel_rule_of(const struct channel *ch, const uint8_t header[CHANNEL_HEADER]);
uint32_t channel_get32(const uint8_t *p);
/* The deferred call at the end of the turn. */
void channel_on_flush(struct defer *d);

#endif
