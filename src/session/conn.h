/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_CONN_H
#define COHUE_SESSION_CONN_H

#include "loop/task.h"
#include "session/member.h"
#include "session/worker.h"

/*
 * One connection of a member, carried by gate-member as framed bytes. Its protocol is served by a task that
 * exists only while there is something to do: an idle connection has no stack and no buffer.
 *
 * Rules: serve() runs in a task, at most one at a time per connection. It takes what has come (conn_take), answers with
 * conn_write, and returns when it has used up its input. It is called again when more comes, when conn_wake
 * was called, or at the deadline. After each suspension look at conn_is_closed; the struct itself stays until serve returns.
 */

struct conn;

struct conn_protocol {
	/* In the loop, not in a task: makes conn->state. ERR_MEMORY. */
	enum err (*open)(struct conn *c);
	void (*serve)(struct conn *c);
	/* May be NULL. In the loop, while no task serves: the public clock has struck (session/beat.h). Writes with conn_write_beat. */
	void (*beat)(struct conn *c);
	/* Frees conn->state; no task runs any more. */
	void (*destroy)(struct conn *c);
};

struct conn {
	struct conn *next;           /* in the worker's bucket */
	struct conn *next_of_member; /* in the member's list */
	struct worker *worker;
	struct member *member; /* referenced; never NULL */
	const struct conn_protocol *protocol;
	void *state;         /* the protocol's own */
	unsigned gate;       /* index of the gate-member process */
	uint32_t id;         /* the gate's name for it */
	uint8_t kind;        /* enum ipc_protocol */
	bool extended;       /* EHLO was said */
	struct buf input;    /* not yet taken */
	size_t window;       /* bytes that we may send now */
	size_t uncredited;   /* taken bytes that the gate has not been told of */
	struct task *task;   /* serves, or NULL */
	struct task *waiter; /* the same, while it waits for input or credit */
	struct timer timer;
	bool woken;   /* something came while the task ran */
	bool struck;  /* the clock struck meanwhile */
	bool timed;   /* the deadline has passed since serve was last called */
	bool closed;  /* the gate has gone, or closed it: nothing can be sent */
	bool closing; /* conn_close was called */
	bool unended; /* bytes were written, and the gate does not know yet that a response ends with them */
};

/* ---- for the worker ---- */
/* Opens; the member's reference is taken over (also on failure). ERR_LIMIT, ERR_MEMORY, ERR_EXISTS. */
COHUE_MUST_USE enum err conn_open(struct worker *w, unsigned gate, uint32_t id, struct member *m,
				  const struct conn_protocol *protocol, uint8_t kind, bool extended);
struct conn *conn_find(const struct worker *w, unsigned gate, uint32_t id);
/* ERR_LIMIT: the gate sent more than the window allows. ERR_MEMORY. */
COHUE_MUST_USE enum err conn_data(struct conn *c, struct bytes data);
/* ERR_LIMIT: more than was sent. */
COHUE_MUST_USE enum err conn_credit(struct conn *c, uint32_t count);
/* The clock strikes: now, or as soon as its task has ended. */
void conn_beat(struct conn *c);
/* The peer has gone: nothing is sent any more; freed as soon as its task has ended. */
void conn_gone(struct conn *c);
/* All of a gate that has gone. */
void conn_gate_gone(struct worker *w, unsigned gate);

/* ---- for protocols ---- */

bool conn_is_closed(const struct conn *c);
/* Moves what has come and was not yet taken to the end of *ret (whose max must allow CONN_WINDOW more). ERR_MEMORY, ERR_LIMIT. */
COHUE_MUST_USE enum err conn_take(struct conn *c, struct buf *ret);
/* Bytes that could be taken. */
size_t conn_available(const struct conn *c);
/* n bytes that were taken have been dealt with: the gate may send as many more. */
void conn_consumed(struct conn *c, size_t n);
/* In a task: waits until there is something to take. ERR_TIMEOUT, ERR_CLOSED. deadline 0: none. */
COHUE_MUST_USE enum err conn_wait(struct conn *c, msec deadline);
/* In a task: sends, and suspends while the peer's window is used up. ERR_CLOSED, ERR_TIMEOUT, ERR_MEMORY: then closed. */
COHUE_MUST_USE enum err conn_write(struct conn *c, struct bytes data);
/*
 * What was written so far is a response: the gate pads and sends it. Waiting for input and returning from serve do that too, so that
 * protocols need it for nothing else.
 */
void conn_flush(struct conn *c, enum conn_pad pad);
/*
 * From beat(): 1 to CONN_BEAT_MAX bytes, sent as one record of 512 bytes. Who has taken nothing for so long that there is no room for
 * them gets none: they are dropped, and it is no error. ERR_CLOSED, ERR_LIMIT, ERR_MEMORY.
 */
COHUE_MUST_USE enum err conn_write_beat(struct conn *c, struct bytes data);
/* Calls serve soon: something else than input has happened. */
void conn_wake(struct conn *c);
/* serve is called at this time (CLOCK_MONOTONIC, ms) with conn->timed set; 0: never. */
void conn_deadline(struct conn *c, msec deadline);
/* What was written is still sent; then the gate is told to close. serve() should return. */
void conn_close(struct conn *c);

#endif
