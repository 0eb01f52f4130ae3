/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_IPC_CHANNEL_H
#define COHUE_IPC_CHANNEL_H

#include "base/bytes.h"
#include "base/clock.h"
#include "ipc/messages.h"
#include "loop/loop.h"

/*
 * One end of a socket pair between two roles, speaking the table of ipc/messages.h.
 * Each frame: u32 payload length, u16 type, u8 kind (request, notice, reply), u8 status of a
 * reply, u32 request id. A frame that the table forbids is a fault: the channel is closed, and
 * its owner told so, who tells the supervisor, who ends the peer.
 *
 * Writes are gathered and sent at the end of the loop's turn. What was sent or received is wiped
 * from the buffers, since keys and passwords pass here.
 */

struct channel;

struct channel_message {
	enum msg_type type;
	uint32_t id;          /* of a request: pass it to the reply */
	struct bytes payload; /* lent until the callback returns */
	int fd;               /* the callback's to close; -1 without one */
};

struct channel_events {
	/* A request or a notice. It may destroy the channel. */
	void (*message)(void *arg, struct channel *ch, const struct channel_message *m);
	/*
	 * The peer has gone, or broke the table (fault). Called once, outside of any other call into the
	 * channel, after each open request has been answered with ERR_CLOSED; the owner destroys it.
	 */
	void (*closed)(void *arg, struct channel *ch, bool fault);
};

/* What came of a request: status, and the reply's payload where it is ERR_OK (lent until it returns). */
typedef void channel_reply_fn(void *arg, enum err status, struct bytes payload);

/* Takes the descriptor (closed on destroy; on failure it stays the caller's). ERR_MEMORY, ERR_IO. */
COHUE_MUST_USE enum err channel_create(struct loop *loop, int fd, enum role self, enum role peer,
				       unsigned peer_index, const struct channel_events *events, void *arg,
				       struct channel **ret);
/* Open requests are dropped without a call, unlike when the peer closes. Accepts NULL. */
void channel_destroy(struct channel **ch);

enum role channel_peer(const struct channel *ch);
unsigned channel_peer_index(const struct channel *ch);
/*
 * Never the same for two channels of a process: who answers later keeps it beside the pointer, since a new channel may get the
 * memory of one that closed, and a reply that it never asked for is a fault.
 */
uint64_t channel_serial(const struct channel *ch);
/* Bytes waiting to be written: a sender that can wait does so above CHANNEL_BUSY. */
size_t channel_queued(const struct channel *ch);
enum { CHANNEL_BUSY = 1 << 20, CHANNEL_QUEUE_MAX = 256 << 20 };

/*
 * Sending, in three steps so that payloads are encoded straight into the queue; use the macros
 * below. start: ERR_CLOSED, ERR_MEMORY, and what the table says of this end (a program error: panics).
 */
struct buf *channel_out(struct channel *ch);
void channel_start_notice(struct channel *ch, enum msg_type type);
void channel_start_request(struct channel *ch, enum msg_type type, msec deadline, channel_reply_fn *fn,
			   void *arg);
void channel_start_reply(struct channel *ch, enum msg_type type, uint32_t id);
/* Ends what was started; `encoded` is the encoder's result. On failure nothing is sent and no reply will be called. */
COHUE_MUST_USE enum err channel_finish(struct channel *ch, enum err encoded);

/* enum err; m: const struct msg_<name> * */
#define channel_notice(ch, TYPE, name, m)                                                                    \
	(channel_start_notice((ch), MSG_##TYPE),                                                             \
	 channel_finish((ch), msg_##name##_encode(channel_out(ch), (m))))
/* deadline: CLOCK_MONOTONIC in ms, 0 for none. fn is called exactly once unless this fails or the channel is destroyed:
 * with the reply, ERR_TIMEOUT, ERR_CLOSED, or the peer's error; never from within this call. */
#define channel_request(ch, TYPE, name, m, deadline, fn, arg)                                                \
	(channel_start_request((ch), MSG_##TYPE, (deadline), (fn), (arg)),                                   \
	 channel_finish((ch), msg_##name##_encode(channel_out(ch), (m))))
/* A reply with status ERR_OK and a payload. */
#define channel_reply(ch, TYPE, name, id, m)                                                                 \
	(channel_start_reply((ch), MSG_##TYPE, (id)),                                                        \
	 channel_finish((ch), msg_##name##_encode(channel_out(ch), (m))))
/* Payloads without fields. */
COHUE_MUST_USE enum err channel_notice_empty(struct channel *ch, enum msg_type type);
COHUE_MUST_USE enum err channel_request_empty(struct channel *ch, enum msg_type type, msec deadline,
					      channel_reply_fn *fn, void *arg);
/* A reply with any status and no payload (ERR_OK: for replies without fields). */
COHUE_MUST_USE enum err channel_answer(struct channel *ch, enum msg_type type, uint32_t id, enum err status);
/* A notice with a descriptor (which stays the caller's: the kernel duplicates it when it is sent). Sends at once. */
COHUE_MUST_USE enum err channel_notice_fd(struct channel *ch, enum msg_type type, struct bytes payload,
					  int fd);

/* Forgets every open request with this arg: its fn is not called any more. */
void channel_forget(struct channel *ch, const void *arg);

/*
 * From a task (loop/task.h): posts the request and suspends until the reply. The reply's payload is appended to
 * *ret_reply (may be NULL where the reply has no fields). ERR_CLOSED if the task is cancelled or ch is NULL.
 */
#define channel_call(ch, TYPE, name, m, deadline, ret_reply)                                                 \
	((ch) == NULL ? ERR_CLOSED                                                                           \
		      : (channel_call_start((ch), MSG_##TYPE, (deadline)),                                   \
			 channel_call_finish((ch), msg_##name##_encode(channel_out(ch), (m)), (ret_reply))))
void channel_call_start(struct channel *ch, enum msg_type type, msec deadline);
COHUE_MUST_USE enum err channel_call_finish(struct channel *ch, enum err encoded, struct buf *ret_reply);
COHUE_MUST_USE enum err channel_call_empty(struct channel *ch, enum msg_type type, msec deadline,
					   struct buf *ret_reply);

/*
 * Asks and waits with the whole process, for what a library's callback must have at once: `limit` ms at most, of a peer that
 * answers from memory. Other frames that come meanwhile are kept, in order, and handled in the loop's next turn. The
 * reply's payload is appended to *ret_reply. ERR_STATE from within a message or reply of this very channel; ERR_TIMEOUT, ERR_CLOSED,
 * ERR_LIMIT (reply too long for ret_reply), and the peer's errors.
 */
#define channel_ask(ch, TYPE, name, m, limit, ret_reply)                                                     \
	((ch) == NULL                                                                                        \
	     ? ERR_CLOSED                                                                                    \
	     : (channel_ask_start((ch), MSG_##TYPE),                                                         \
		channel_ask_finish((ch), msg_##name##_encode(channel_out(ch), (m)), (limit), (ret_reply))))
void channel_ask_start(struct channel *ch, enum msg_type type);
COHUE_MUST_USE enum err channel_ask_finish(struct channel *ch, enum err encoded, msec limit,
					   struct buf *ret_reply);

/* As if the peer had closed: open requests get ERR_CLOSED, then closed() is called, soon. */
void channel_end(struct channel *ch);
/* Writes what the kernel takes now: for last words before the process ends. */
void channel_flush(struct channel *ch);

/* The peer sent something senseless inside a well-formed frame: closes the channel as a fault. */
void channel_fault(struct channel *ch);

#endif
