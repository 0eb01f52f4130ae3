/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROCESS_ROLE_H
#define COHUE_PROCESS_ROLE_H

#include "config/config.h"
#include "ipc/channel.h"
#include "loop/loop.h"
#include "process/sandbox.h"

/*
 * The frame of every role but the supervisor: reads its setup from the supervisor, opens what it
 * needs, enters the sandbox, gets its channels, starts, and serves until told to stop or until the
 * supervisor goes. A role file defines one `struct role_def` and nothing else that is public.
 *
 * Order: SETUP -> prepare() -> sandbox -> SANDBOXED -> CHANNELs -> GO -> start() in a task -> READY -> LISTENs.
 */

enum { ROLE_PEERS_MAX = 32 }; /* processes of one role */

struct role_host;

struct role_def {
	enum role id;
	unsigned sandbox_allow; /* SANDBOX_NET_ACCEPT | ... */
	/*
	 * Before the sandbox: open files, load converters. May add paths and descriptors to the profile, sets h->state.
	 * On failure it has logged why. May be NULL.
	 */
	enum err (*prepare)(struct role_host *h, struct sandbox_profile *profile);
	/* In a task, once the first channels are there: fetch keys, load state. May be NULL. */
	enum err (*start)(struct role_host *h);
	/* A peer's channel came (also a new one after it restarted) or went. May be NULL. */
	void (*peer_up)(struct role_host *h, struct channel *ch);
	void (*peer_down)(struct role_host *h, enum role peer, unsigned index);
	/* A request or notice of a peer (held back until start() is done); each request must be answered, once, now or later. */
	void (*message)(struct role_host *h, struct channel *ch, const struct channel_message *m);
	/* A listening socket (owned from now on); port before the offset. May be NULL. */
	void (*listen)(struct role_host *h, uint16_t port, int fd);
	/* Lines "name value" for `cohue status`, marked as process/status.h says; nothing of a member. May be NULL. */
	enum err (*status)(struct role_host *h, struct buf *out);
	/* Asked to stop: finish what is at hand; call role_stopped() when done (NULL: at once). */
	void (*stop)(struct role_host *h);
};

struct role_host {
	const struct role_def *def;
	struct loop *loop;
	unsigned index;
	struct config config;
	char home[CONFIG_PATH_MAX];
	void *state; /* the role's own */
	bool stopping;
	struct channel *supervisor;
	struct channel *peers[ROLE__COUNT][ROLE_PEERS_MAX];
};

/* The role's life; returns the exit status. Descriptor 3 is the channel to the supervisor. */
int role_main(const struct role_def *def);
/* Its exit status where it could not start and has logged why. */
enum { ROLE_EXIT_TOLD = 3 };

/* The peer's channel, or NULL while it is away. */
struct channel *role_channel(const struct role_host *h, enum role peer, unsigned index);
/* From a task: waits until the peer is there. ERR_TIMEOUT. */
COHUE_MUST_USE enum err role_wait_channel(struct role_host *h, enum role peer, unsigned index, msec deadline,
					  struct channel **ret);
void role_stopped(struct role_host *h);
/* A task for a handler: as task_spawn, but a failure answers nothing and is returned. */
COHUE_MUST_USE enum err role_spawn(struct role_host *h, void (*fn)(void *), void *arg);

#endif
