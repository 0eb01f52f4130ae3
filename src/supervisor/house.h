/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SUPERVISOR_HOUSE_H
#define COHUE_SUPERVISOR_HOUSE_H

#include <sys/types.h>

#include "config/config.h"
#include "control/control.h"
#include "ipc/channel.h"
#include "loop/loop.h"

/*
 * What the supervisor knows: its children, its sockets, and the configuration. Internal to this folder.
 */

enum { CHILDREN_MAX = 64, SOCKETS_MAX = 64, CONTROLS_MAX = 16 };

enum child_state {
	CHILD_DOWN = 0,  /* to be started at restart_at */
	CHILD_STARTING,  /* runs, is not in its sandbox yet: no descriptor is sent to it */
	CHILD_SANDBOXED, /* has its channels, has not said READY */
	CHILD_READY,
};

struct house;

struct child {
	struct house *house;
	enum role role;
	unsigned index;
	pid_t pid; /* 0: none */
	uid_t uid;
	gid_t gid;
	enum child_state state;
	struct channel *channel; /* to it; NULL while it is down */
	msec started_at;
	msec backoff;
	unsigned restarts;
	struct timer restart;
	struct timer start_deadline;
};

struct listening {
	uint16_t port; /* before the offset */
	enum role role;
	int fd;
};

struct control_connection;

struct house {
	struct loop *loop;
	struct config config;
	char home[CONFIG_PATH_MAX];
	char empty_dir[CONFIG_PATH_MAX];
	struct buf config_bytes;
	struct child children[CHILDREN_MAX];
	size_t child_count;
	struct listening sockets[SOCKETS_MAX];
	size_t socket_count;
	int lock_fd;
	int control_fd;
	struct watch control_watch;
	struct control_connection *controls;
	size_t control_count;
	struct watch signal_watch;
	int signal_fd;
	struct timer stop_deadline;
	unsigned stop_phase;
	bool as_root;
	bool begun; /* all were in their sandboxes once and were told to go */
	bool open;  /* all were ready once: the doors are open */
	bool stopping;
	int exit_status;
};

/* preflight.c: each prints one line (what, where, the remedy) and returns false. */
bool preflight(struct house *h, const char *home, char **sets, size_t set_count);
/* The house key and TLS files are read here, whenever the keeper starts. */
bool preflight_read_key(const struct house *h, uint8_t ret_key[32]);
bool preflight_read_tls(const struct house *h, enum role kind, struct buf *ret_key, struct buf *ret_chain,
			bool *ret_sealed);

/* sockets.c */
bool sockets_open(struct house *h);
void sockets_close(struct house *h);

/* children.c */
bool children_plan(struct house *h);
void children_start(struct house *h);
void children_reap(struct house *h);
void children_stop(struct house *h);
struct child *child_find(struct house *h, enum role role, unsigned index);
/* Ends the service with this status. */
void house_fail(struct house *h);

/* control_socket.c */
bool control_open(struct house *h);
void control_close(struct house *h);

#endif
