/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_POOL_H
#define COHUE_COURIER_POOL_H

#include "courier/connection.h"

/*
 * Connections in use and idle, by address: several messages of one batch to one host share a connection, which lives
 * no longer than the batch (who sees it last cannot link two of them), no
 * host sees more than a few at once, nor the network more than the configured number. A host that could not be
 * reached is not tried again for a minute by others that wait for it; one that asks for less is left alone as pace.h says.
 */

enum {
	POOL_PER_HOST = 3,
	POOL_MESSAGES = 100,          /* over one connection */
	POOL_STEPPING = 3,            /* to a peer without pipelining: Exim hangs up after ten NOOPs */
	POOL_IDLE_MS = 1500,          /* kept for the next message of the same batch */
	POOL_REMEMBER_MS = 60 * 1000, /* a failure */
	POOL_HOSTS_MAX = 2048,
};

struct pool;

/* settings is borrowed for its life. */
COHUE_MUST_USE enum err pool_create(const struct connection_settings *settings, size_t max_connections,
				    struct pool **ret);
/* No task may wait in it, and none of its connections be in use. Accepts NULL inside. */
void pool_destroy(struct pool **pool);
/*
 * In a task: an idle connection of this batch to that address, or a new one, when its turn has come. `fresh`: no used one. Errors as
 * connection_open (at once where it failed within the last minute), or ERR_TIMEOUT after the deadline.
 */
COHUE_MUST_USE enum err pool_get(struct pool *p, const struct route_target *target,
				 const struct connection_wish *wish, uint64_t batch, bool fresh,
				 msec deadline, struct connection **ret, struct smtp_result *ret_why,
				 enum smtp_closed *ret_closed);
/* Gives it back: it is kept for others while it takes messages, else closed. */
void pool_put(struct pool *p, struct connection **c);
/*
 * Before pool_put: what the host refused a recipient with. Where it asks for less, others that wait for it get the same answer at once
 * until its pause is over, and no connection is opened: they come again with their next attempt. `fresh`: it had taken
 * nothing over this connection before.
 */
void pool_heard(struct pool *p, const struct connection *c, const struct smtp_result *said, bool fresh);
/* The host took a message. */
void pool_took(struct pool *p, const struct connection *c);
/* The last work of a batch is done: says QUIT on its idle ones. */
void pool_quit_batch(struct pool *p, uint64_t batch);
/* Says QUIT on all that are idle. */
void pool_quit_idle(struct pool *p);
size_t pool_open_count(const struct pool *p);

#endif
