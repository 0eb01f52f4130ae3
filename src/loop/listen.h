/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_LISTEN_H
#define COHUE_LOOP_LISTEN_H

#include <sys/socket.h>

#include "base/clock.h"
#include "loop/loop.h"

/* Accepting connections, and making them. Both structures are embedded in the caller's. */

struct listener;
struct connector;

/* The descriptor (close-on-exec, non-blocking) is the callee's. The address lives for the call. */
typedef void listener_fn(struct listener *l, int fd, const struct sockaddr *peer, socklen_t peer_len);

struct listener {
	struct watch watch;
	struct timer pause; /* running while descriptors or memory are short */
	listener_fn *fn;
	void *arg; /* the callback's own */
	bool held; /* by listener_hold */
};

enum {
	LISTENER_BATCH = 16,     /* connections accepted before others get their turn */
	LISTENER_PAUSE_MS = 100, /* after EMFILE, ENFILE, ENOBUFS, ENOMEM */
};

/* fd is a bound, listening, non-blocking socket that stays the caller's. The structure needs no init before. */
COHUE_MUST_USE enum err listener_start(struct loop *loop, struct listener *l, int fd, listener_fn *fn,
				       void *arg);
/* From within its callback, too. */
void listener_stop(struct listener *l);
/* For the caller's own limit on connections: leaves them in the kernel's queue. */
void listener_hold(struct listener *l);
void listener_release(struct listener *l);

/*
 * ERR_OK with a connected descriptor that is the callee's, or ERR_TIMEOUT, ERR_CLOSED (refused),
 * ERR_IO and -1. The connector is stopped: it may be freed or started anew here.
 */
typedef void connector_fn(struct connector *c, enum err result, int fd);

struct connector {
	struct watch watch;
	struct timer timer;
	struct defer defer;
	connector_fn *fn;
	void *arg; /* the callback's own */
	int fd;
	enum err result;
};

/*
 * Connects a new TCP socket, bound to `from` unless it is NULL, by the deadline
 * (CLOCK_MONOTONIC, ms). On ERR_OK the callback follows, once, never within this call.
 */
COHUE_MUST_USE enum err connector_start(struct loop *loop, struct connector *c, const struct sockaddr *to,
					socklen_t to_len, const struct sockaddr *from, socklen_t from_len,
					msec deadline, connector_fn *fn, void *arg);
/* No callback follows. Safe on a stopped one, but not on memory that was never started. */
void connector_stop(struct connector *c);

#endif
