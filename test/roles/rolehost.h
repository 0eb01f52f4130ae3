/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_TEST_ROLEHOST_H
#define COHUE_TEST_ROLEHOST_H

#include <sys/types.h>

#include "config/config.h"
#include "crypto/sign.h"
#include "ipc/channel.h"

/*
 * A test that plays the supervisor: starts real role processes in their sandboxes, joins them with each other and with fake
 * peers that the test plays itself, kills and restarts them. All waiting is bounded; what should not happen fails the test.
 */

enum { HOST_FAKES_MAX = 16, HOST_INBOX_MAX = 512, HOST_LIMIT_MS = 60000 };

/* The test as a peer of a role. Joined anew whenever the role is started. */
struct fake {
	struct rolehost *host;
	enum role self;
	enum role peer;
	unsigned index;
	struct channel *ch; /* NULL while the peer is away */
	bool faulted;       /* the peer broke the table */
	size_t inbox_count; /* requests and notices that came */
	struct {
		enum msg_type type;
		uint32_t id;
		struct buf payload;
	} inbox[HOST_INBOX_MAX];
};

struct rolehost_child {
	struct rolehost *host;
	pid_t pid;
	struct channel *ch;
	bool sandboxed;
	bool ready;
	bool faulted;         /* a role said so (PEER_FAULT), or it broke the table itself */
	int status;           /* of waitpid, once it has ended */
	unsigned peer_faults; /* that it told of */
};

struct rolehost {
	struct loop *loop;
	const char *binary;
	char home[256];
	char clock_file[300]; /* of rolehost_set_clock */
	struct config config;
	struct rolehost_child children[ROLE__COUNT];
	struct fake *fakes[HOST_FAKES_MAX];
	size_t fake_count;
	bool disk_full[ACME_FILES]; /* for what ACME_SAVE brings, by enum acme_file */
	unsigned saves[ACME_FILES];
	/* Of the traced one: killed before its system call number `kill_at`. */
	pid_t traced;
	unsigned long calls;
	unsigned long kill_at;
	bool killing; /* the moment has come; its death follows */
};

/* Of the fake keeper: what its verification key verifies. */
extern const uint8_t rolehost_sign_seed[SIGN_SEED_LEN];

/* home: an existing empty directory; its "store" is made here. */
void rolehost_init(struct rolehost *h, const char *binary, const char *home);
/* Kills what runs. */
void rolehost_clear(struct rolehost *h);
/* Starts and waits until it says READY. false: it ended instead. */
bool rolehost_start(struct rolehost *h, enum role role);
/* The wall clock of roles started from the first call on: so many whole seconds ahead of the machine's. */
void rolehost_set_clock(struct rolehost *h, int64_t ahead_ms);
/* SIGKILL, and its body buried. */
void rolehost_kill(struct rolehost *h, enum role role);
/* STOP, and waits for its end. */
void rolehost_stop(struct rolehost *h, enum role role);
bool rolehost_runs(const struct rolehost *h, enum role role);
struct fake *rolehost_fake(struct rolehost *h, enum role self, unsigned index, enum role peer);
void fake_forget_inbox(struct fake *f);

/* One short turn: channels, deaths, the traced one's stops. */
void rolehost_turn(struct rolehost *h);
/* Turns until done(arg), or for ms. */
bool rolehost_until(struct rolehost *h, bool (*done)(void *arg), void *arg, msec ms);
void rolehost_run(struct rolehost *h, msec ms);

/* An answer in the making. */
struct answer {
	bool done;
	enum err status;
	struct buf payload;
};
void answer_init(struct answer *a);
void answer_clear(struct answer *a);
/* As a channel_reply_fn. */
void answer_take(void *arg, enum err status, struct bytes payload);
enum err answer_wait(struct rolehost *h, struct answer *a);

/* Asks and waits: the status. The answer must have been given to answer_init. */
#define fake_ask(f, TYPE, name, m, a)                                                                        \
	((f)->ch == NULL || channel_request((f)->ch, TYPE, name, (m), 0, answer_take, (a)) != ERR_OK         \
	     ? ERR_CLOSED                                                                                    \
	     : answer_wait((f)->host, (a)))

/* A figure of the role's status. */
unsigned long long rolehost_figure(struct rolehost *h, enum role role, const char *name);

/* From now on counts the role's system calls, and kills it before call number `at` (0: never). false: not permitted here. */
bool rolehost_trace(struct rolehost *h, enum role role, unsigned long at);

#endif
