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
	unsigned accusations; /* of others, since: */
	msec accusing_since;
	struct timer restart;
	struct timer start_deadline;
};

/* Between two children: at most one channel at a time. */
struct joint {
	uint32_t life;  /* counts its channels */
	bool lost;      /* it ended, and is made anew at `due` */
	unsigned again; /* how often it ended soon */
	msec joined_at;
	msec due;
};

struct listening {
	uint16_t port; /* before the offset */
	enum role role;
	int fd;
};

struct control_connection;

/* One change of the DKIM keys at a time; see dkim.c. */
struct dkim_change {
	bool busy;
	bool first;      /* of a keeper that has just started */
	struct buf file; /* what was sent: as on disk */
	void (*done)(void *arg, enum err status, const char *text);
	void *arg;
};

struct house {
	struct loop *loop;
	struct config config;
	char home[CONFIG_PATH_MAX];
	char empty_dir[CONFIG_PATH_MAX];
	struct buf config_bytes;
	struct child children[CHILDREN_MAX];
	size_t child_count;
	struct joint joints[CHILDREN_MAX][CHILDREN_MAX]; /* by the lower and the higher number */
	struct timer rejoin;
	struct dkim_change dkim;
	unsigned renewal_owed; /* `cohue tls renew`: the fetcher died over it; so many others are asked */
	unsigned renewal_left; /* so many, should this one die, too */
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
enum { TLS_KEY_FILE_MAX = IPC_SMALL, TLS_CHAIN_FILE_MAX = IPC_SMALL * 4, TLS_PROBLEM_MAX = 2048 };
/* Appends the line to `problem` instead. */
bool preflight_read_tls(const struct house *h, enum role kind, struct buf *ret_key, struct buf *ret_chain,
			bool *ret_sealed, struct buf *problem);

/* tls_files.c */
/* Reads them and hands them to the keeper; false: a line is appended to `problem`. fn, which may be NULL, gets its reply. */
bool tls_files_send(struct child *keeper, channel_reply_fn *fn, void *arg, struct buf *problem);
/* The same while the service runs; logs what comes of it. */
void tls_files_reload(struct house *h);

/* dkim.c: HOME/dkim.keys, which the keeper alone can open. */
/* The keeper has started: what there is, tidied, or the first pair. */
void dkim_begin(struct child *keeper);
/*
 * CONTROL_DKIM: asks the keeper, writes what it says, hands it over. `done` is called once, unless dkim_forget comes first (or
 * this fails: ERR_AGAIN). text: for people.
 */
typedef void dkim_done_fn(void *arg, enum err status, const char *text);
COHUE_MUST_USE enum err dkim_ask(struct house *h, unsigned op, dkim_done_fn *done, void *arg);
void dkim_forget(struct house *h, const void *arg);

/* acme.c */
enum { ACME_RENEW_LIMIT_MS = 110 * 1000, ACME_RENEW_TRIES = 3 };
/* Hands the key of the house's account with a certificate authority to the keeper, where there is one. */
COHUE_MUST_USE enum err acme_begin(struct child *keeper);
/* The keeper has something to save. */
void acme_save(struct child *keeper, const struct channel_message *m);
/* The fetcher is ready: it is asked for a renewal that another one was asked for, and did not live to answer. */
void acme_renew_again(struct child *fetcher);

/* sockets.c */
bool sockets_open(struct house *h);
void sockets_close(struct house *h);

/* children.c */
bool children_plan(struct house *h);
void children_start(struct house *h);
void children_reap(struct house *h);
void children_stop(struct house *h);
struct child *child_find(struct house *h, enum role role, unsigned index);
/* A child that cannot be talked to, or must not go on, is ended; its restart joins it anew. */
void child_give_up(struct child *c);
/* Ends the service with this status. */
void house_fail(struct house *h);

/* joints.c */
void joints_init(struct house *h);
/* Joins one that is in its sandbox to all who are, and to whom it has something to say. */
void joints_make(struct child *c);
/* c says that its channel to the peer has ended: where both live, they get another. */
void joints_lost(struct child *c, struct child *peer, uint32_t life);
/* c says that the peer broke the message table. */
void joints_accused(struct child *c, struct child *peer);

/* control_socket.c */
bool control_open(struct house *h);
void control_close(struct house *h);

#endif
