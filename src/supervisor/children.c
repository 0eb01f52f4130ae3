/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The roles as processes: planned, started, joined by channels, reaped, restarted, stopped. */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/wire.h"
#include "process/log.h"
#include "process/role.h"
#include "supervisor/house.h"

enum {
	CONTROL_FD = 3,
	START_LIMIT_MS = 60 * 1000, /* from start to READY: loading a long queue takes time */
	BACKOFF_FIRST = 100,
	BACKOFF_MOST = 10 * 1000,
	STABLE_MS = 5 * 1000, /* who lived that long restarts at once */
	STOP_STEP_MS = 8 * 1000,
};

/* Stopping goes from the doors inwards, so that nothing is accepted that cannot be stored. */
static const unsigned stop_phases[] = {
    ROLE_BIT(ROLE_GATE_MX) | ROLE_BIT(ROLE_GATE_MEMBER),
    ROLE_BIT(ROLE_SESSION) | ROLE_BIT(ROLE_COURIER) | ROLE_BIT(ROLE_OPENER) | ROLE_BIT(ROLE_RESOLVER) |
	ROLE_BIT(ROLE_FETCHER),
    ROLE_BIT(ROLE_MIXER),
    ROLE_BIT(ROLE_STORE) | ROLE_BIT(ROLE_KEEPER),
};
enum { STOP_PHASES = sizeof(stop_phases) / sizeof(stop_phases[0]) };

static void start_child(struct child *c);

struct child *
child_find(struct house *h, enum role role, unsigned index)
{
	for (size_t i = 0; i < h->child_count; i++) {
		if (h->children[i].role == role && h->children[i].index == index) {
			return &h->children[i];
		}
	}
	return NULL;
}

/* ---- planning ---- */

static void on_restart(struct timer *t);
static void on_start_deadline(struct timer *t);

static bool
plan(struct house *h, enum role role, unsigned count)
{
	uid_t uid = 0;
	gid_t gid = 0;
	if (h->as_root) {
		char user[64];
		(void)snprintf(user, sizeof(user), "cohue-%s", role_name(role));
		struct passwd *pw = getpwnam(user);
		if (pw == NULL || pw->pw_uid == 0) {
			log_event(LOG_LEVEL_ERROR,
				  "there is no system user '%s' to run the role as. Remedy: run `cohue init` "
				  "as root, "
				  "or systemd-sysusers with cohue.sysusers",
				  user);
			return false;
		}
		uid = pw->pw_uid;
		gid = pw->pw_gid;
	}
	for (unsigned i = 0; i < count; i++) {
		if (h->child_count == CHILDREN_MAX || i == ROLE_PEERS_MAX) {
			log_event(LOG_LEVEL_ERROR, "too many workers of %s", role_name(role));
			return false;
		}
		struct child *c = &h->children[h->child_count++];
		*c = (struct child){.house = h, .role = role, .index = i, .uid = uid, .gid = gid};
		timer_init(&c->restart, on_restart, c);
		timer_init(&c->start_deadline, on_start_deadline, c);
	}
	return true;
}

bool
children_plan(struct house *h)
{
	joints_init(h);
	return plan(h, ROLE_KEEPER, 1) && plan(h, ROLE_STORE, 1) && plan(h, ROLE_RESOLVER, 1) &&
	       plan(h, ROLE_FETCHER, 1) && plan(h, ROLE_MIXER, 1) && plan(h, ROLE_COURIER, 1) &&
	       plan(h, ROLE_OPENER, 1) && plan(h, ROLE_SESSION, h->config.session_workers) &&
	       plan(h, ROLE_GATE_MEMBER, h->config.gate_member_workers) &&
	       plan(h, ROLE_GATE_MX, h->config.gate_mx_workers);
}

/* ---- what is said to a child ---- */

static enum err
send_setup(struct child *c)
{
	struct house *h = c->house;
	struct buf account = BUF_INIT(4096);
	struct wire_writer w;
	wire_writer_init(&w, &account);
	wire_put_u32(&w, c->uid);
	wire_put_u32(&w, c->gid);
	wire_put_bytes(&w, bytes_str(h->home));
	wire_put_bytes(&w, bytes_str(h->empty_dir));
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		struct msg_setup m = {.role = (uint8_t)c->role,
				      .index = (uint16_t)c->index,
				      .config = buf_bytes(&h->config_bytes),
				      .account_data = buf_bytes(&account)};
		e = channel_notice(c->channel, SETUP, setup, &m);
	}
	buf_clear(&account);
	return e;
}

static enum err
send_keeper_files(struct child *c)
{
	struct house *h = c->house;
	struct msg_house_key k = {.unused_ = 0};
	if (!preflight_read_key(h, k.key)) {
		return ERR_NOT_FOUND;
	}
	enum err e = channel_notice(c->channel, HOUSE_KEY, house_key, &k);
	explicit_bzero(&k, sizeof(k));
	struct buf problem = BUF_INIT(TLS_PROBLEM_MAX);
	if (e == ERR_OK && !tls_files_send(c, NULL, NULL, &problem)) {
		log_event(LOG_LEVEL_ERROR, "%.*s", (int)problem.len, (const char *)problem.ptr);
		e = ERR_NOT_FOUND;
	}
	buf_clear(&problem);
	return e;
}

/* A child that cannot be talked to is ended; its restart joins it anew. */
void
child_give_up(struct child *c)
{
	if (c->pid > 0) {
		(void)kill(c->pid, SIGKILL);
	}
}

static void
hand_sockets(struct child *c)
{
	struct house *h = c->house;
	for (size_t i = 0; i < h->socket_count; i++) {
		if (h->sockets[i].role != c->role) {
			continue;
		}
		struct buf payload = BUF_INIT(16);
		struct msg_listen m = {.port = h->sockets[i].port};
		if (msg_listen_encode(&payload, &m) != ERR_OK ||
		    channel_notice_fd(c->channel, MSG_LISTEN, buf_bytes(&payload), h->sockets[i].fd) !=
			ERR_OK) {
			child_give_up(c);
		}
		buf_clear(&payload);
	}
}

/* ---- what a child says ---- */

static void
on_ready(struct child *c)
{
	struct house *h = c->house;
	c->state = CHILD_READY;
	timer_stop(&c->start_deadline);
	if (c->role == ROLE_FETCHER) {
		acme_renew_again(c);
	}
	if (h->open) {
		hand_sockets(c);
		log_event(LOG_LEVEL_NOTICE, "%s %u is ready again", role_name(c->role), c->index);
		return;
	}
	for (size_t i = 0; i < h->child_count; i++) {
		if (h->children[i].state != CHILD_READY) {
			return;
		}
	}
	h->open = true;
	for (size_t i = 0; i < h->child_count; i++) {
		hand_sockets(&h->children[i]);
	}
	log_event(LOG_LEVEL_NOTICE, "ready");
	if (h->config.leave.kind == LAW_NONE || h->config.arrive.kind == LAW_NONE) {
		log_event(LOG_LEVEL_WARNING, "the waiting room is off (law none): messages can be linked. "
					     "This is for benchmarks only");
	}
	if (h->config.status_exact == CONFIG_YES) {
		log_event(LOG_LEVEL_WARNING,
			  "status tells exact figures (status.exact yes): who asks for it sees when "
			  "somebody writes. This is for tests only");
	}
	if (h->config.pad == CONFIG_PAD_NONE) {
		log_event(LOG_LEVEL_WARNING, "padding is off (pad none): the sizes of messages show. "
					     "This is for benchmarks only");
	}
}

static void
go(struct child *c)
{
	if (c->channel != NULL && channel_notice_empty(c->channel, MSG_GO) != ERR_OK) {
		child_give_up(c);
	}
}

/* Now it can be given descriptors. At the first start all begin together, so that each finds its peers. */
static void
on_sandboxed(struct child *c)
{
	struct house *h = c->house;
	c->state = CHILD_SANDBOXED;
	joints_make(c);
	if (h->begun) {
		go(c);
		return;
	}
	for (size_t i = 0; i < h->child_count; i++) {
		if (h->children[i].state < CHILD_SANDBOXED) {
			return;
		}
	}
	h->begun = true;
	for (size_t i = 0; i < h->child_count; i++) {
		go(&h->children[i]);
	}
}

static void
on_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct child *c = arg;
	(void)ch;
	if (m->type == MSG_SANDBOXED && c->state == CHILD_STARTING) {
		on_sandboxed(c);
	} else if (m->type == MSG_READY && c->state == CHILD_SANDBOXED) {
		on_ready(c);
	} else if (m->type == MSG_ACME_SAVE) {
		acme_save(c, m);
	} else if (m->type == MSG_PEER_FAULT) {
		struct msg_peer_fault f;
		struct child *peer = msg_peer_fault_decode(m->payload, &f) == ERR_OK
					 ? child_find(c->house, (enum role)f.peer, f.index)
					 : NULL;
		if (peer != NULL) {
			joints_accused(c, peer);
		}
	} else if (m->type == MSG_PEER_LOST) {
		struct msg_peer_lost f;
		struct child *peer = msg_peer_lost_decode(m->payload, &f) == ERR_OK
					 ? child_find(c->house, (enum role)f.peer, f.index)
					 : NULL;
		if (peer != NULL) {
			joints_lost(c, peer, f.life);
		}
	}
}

static void
on_closed(void *arg, struct channel *ch, bool fault)
{
	struct child *c = arg;
	if (fault) {
		log_event(LOG_LEVEL_ERROR, "%s %u broke the message table and is ended", role_name(c->role),
			  c->index);
	}
	if (c->channel == ch) {
		c->channel = NULL;
		child_give_up(c);
	}
	/* Otherwise it was reaped, and its successor may run. */
	channel_destroy(&ch);
}

static const struct channel_events child_events = {.message = on_message, .closed = on_closed};

/* ---- processes ---- */

COHUE_NORETURN static void
become(const struct child *c, int fd)
{
	char flag[64];
	char title[64];
	sigset_t none;
	(void)snprintf(flag, sizeof(flag), "--role=%s", role_name(c->role));
	(void)snprintf(title, sizeof(title), "cohue: %s", role_name(c->role));
	char *const argv[] = {title, flag, NULL};
	(void)sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
		_exit(127);
	}
	if (fd != CONTROL_FD && dup2(fd, CONTROL_FD) < 0) {
		_exit(127);
	}
	/* dup2 onto itself would keep close-on-exec. */
	if (fd == CONTROL_FD) {
		int copy = dup(fd);
		if (copy < 0 || dup2(copy, CONTROL_FD) < 0) {
			_exit(127);
		}
	}
	(void)close_range(CONTROL_FD + 1, ~0U, 0);
	char *const env_all[] = {
#ifdef COHUE_SANITIZED
	    /* The leak checker stops the process with ptrace at its end, which the sandbox forbids. */
	    (char *)(uintptr_t) "ASAN_OPTIONS=detect_leaks=0",
#endif
	    NULL};
	(void)execve("/proc/self/exe", argv, env_all);
	_exit(127);
}

static void
schedule_restart(struct child *c)
{
	msec lived = loop_now(c->house->loop) - c->started_at;
	c->backoff = lived > STABLE_MS ? 0 : c->backoff == 0 ? BACKOFF_FIRST : c->backoff * 2;
	if (c->backoff > BACKOFF_MOST) {
		c->backoff = BACKOFF_MOST;
	}
	c->restarts++;
	if (timer_start_after(c->house->loop, &c->restart, c->backoff) != ERR_OK) {
		house_fail(c->house);
	}
}

static void
start_child(struct child *c)
{
	struct house *h = c->house;
	int pair[2];
	c->started_at = loop_now(h->loop);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
		schedule_restart(c);
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		become(c, pair[1]);
	}
	(void)close(pair[1]);
	if (pid < 0) {
		(void)close(pair[0]);
		schedule_restart(c);
		return;
	}
	c->pid = pid;
	c->state = CHILD_STARTING;
	if (channel_create(h->loop, pair[0], ROLE_SUPERVISOR, c->role, c->index, &child_events, c,
			   &c->channel) != ERR_OK) {
		(void)close(pair[0]);
		child_give_up(c);
		return;
	}
	enum err e = send_setup(c);
	if (e == ERR_OK && c->role == ROLE_KEEPER) {
		e = send_keeper_files(c);
		if (e == ERR_OK) {
			dkim_begin(c);
			e = acme_begin(c);
		}
	}
	if (e == ERR_OK) {
		e = timer_start_after(h->loop, &c->start_deadline, START_LIMIT_MS);
	}
	if (e != ERR_OK) {
		child_give_up(c);
	}
}

static void
on_restart(struct timer *t)
{
	start_child(t->arg);
}

static void
on_start_deadline(struct timer *t)
{
	struct child *c = t->arg;
	log_event(LOG_LEVEL_ERROR, "%s %u did not become ready in time", role_name(c->role), c->index);
	child_give_up(c);
}

void
children_start(struct house *h)
{
	for (size_t i = 0; i < h->child_count; i++) {
		start_child(&h->children[i]);
	}
}

static void
next_stop_phase(struct house *h)
{
	while (h->stop_phase <= STOP_PHASES) {
		bool left = false;
		for (size_t i = 0; i < h->child_count; i++) {
			struct child *c = &h->children[i];
			bool due =
			    h->stop_phase == 0 || (stop_phases[h->stop_phase - 1] & ROLE_BIT(c->role)) != 0;
			left = left || (h->stop_phase > 0 && due && c->pid > 0);
		}
		if (left) {
			return;
		}
		if (h->stop_phase == STOP_PHASES) {
			loop_stop(h->loop);
			return;
		}
		h->stop_phase++;
		for (size_t i = 0; i < h->child_count; i++) {
			struct child *c = &h->children[i];
			if ((stop_phases[h->stop_phase - 1] & ROLE_BIT(c->role)) != 0 && c->pid > 0 &&
			    (c->channel == NULL || channel_notice_empty(c->channel, MSG_STOP) != ERR_OK)) {
				child_give_up(c);
			}
		}
		if (timer_start_after(h->loop, &h->stop_deadline, STOP_STEP_MS) != ERR_OK) {
			loop_stop(h->loop);
			return;
		}
	}
}

static void
on_stop_deadline(struct timer *t)
{
	struct house *h = t->arg;
	for (size_t i = 0; i < h->child_count; i++) {
		struct child *c = &h->children[i];
		if (c->pid > 0 && (stop_phases[h->stop_phase - 1] & ROLE_BIT(c->role)) != 0) {
			log_event(LOG_LEVEL_WARNING, "%s %u did not stop in time and is ended",
				  role_name(c->role), c->index);
			child_give_up(c);
		}
	}
}

void
children_stop(struct house *h)
{
	if (h->stopping) {
		return;
	}
	h->stopping = true;
	timer_stop(&h->rejoin);
	timer_init(&h->stop_deadline, on_stop_deadline, h);
	for (size_t i = 0; i < h->child_count; i++) {
		timer_stop(&h->children[i].restart);
	}
	next_stop_phase(h);
}

static void
reaped(struct child *c, int status)
{
	struct house *h = c->house;
	enum child_state state = c->state;
	c->pid = 0;
	c->state = CHILD_DOWN;
	timer_stop(&c->start_deadline);
	if (c->channel != NULL) {
		/* Not destroyed: who waits for an answer on it must hear that none comes. */
		channel_end(c->channel);
		c->channel = NULL;
	}
	if (h->stopping) {
		return;
	}
	if (!h->open && state != CHILD_READY) {
		/* Before the doors are open there is nothing to save by trying again. */
		if (!WIFEXITED(status) || WEXITSTATUS(status) != ROLE_EXIT_TOLD) {
			log_event(LOG_LEVEL_ERROR,
				  "%s could not start (%s %d); the service ends. Remedy: enough memory and "
				  "processes, and a kernel with seccomp",
				  role_name(c->role), WIFSIGNALED(status) ? "signal" : "status",
				  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		}
		house_fail(h);
		return;
	}
	if (WIFSIGNALED(status)) {
		log_event(LOG_LEVEL_ERROR, "%s %u was ended by signal %d and is restarted",
			  role_name(c->role), c->index, WTERMSIG(status));
	} else {
		log_event(LOG_LEVEL_ERROR, "%s %u ended with status %d and is restarted", role_name(c->role),
			  c->index, WEXITSTATUS(status));
	}
	schedule_restart(c);
}

void
children_reap(struct house *h)
{
	for (;;) {
		int status = 0;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid <= 0) {
			break;
		}
		for (size_t i = 0; i < h->child_count; i++) {
			if (h->children[i].pid == pid) {
				reaped(&h->children[i], status);
			}
		}
	}
	if (h->stopping) {
		next_stop_phase(h);
	}
}
