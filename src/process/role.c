/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "process/role.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/wire.h"
#include "loop/task.h"
#include "process/log.h"
#include "process/status.h"

enum { CONTROL_FD = 3, PEER_WAIT_STEP = 20, EARLY_MAX = 64 << 20 };

/* What a peer said before start() was done. */
struct early {
	struct early *next;
	struct channel *ch;
	enum msg_type type;
	uint32_t id;
	struct buf payload;
};

struct frame {
	struct role_host host;
	bool set_up;
	bool started;
	struct early *early;
	struct early **early_end;
	size_t early_bytes;
	uint32_t lives[ROLE__COUNT][ROLE_PEERS_MAX]; /* of the present channels */
	bool gone;
	int status;
	struct status_record figures;
	struct timer hour;
};

static const struct channel_events peer_events;

struct channel *
role_channel(const struct role_host *h, enum role peer, unsigned index)
{
	return (unsigned)peer < ROLE__COUNT && index < ROLE_PEERS_MAX ? h->peers[peer][index] : NULL;
}

enum err
role_wait_channel(struct role_host *h, enum role peer, unsigned index, msec deadline, struct channel **ret)
{
	for (;;) {
		struct channel *ch = role_channel(h, peer, index);
		if (ch != NULL) {
			*ret = ch;
			return ERR_OK;
		}
		if (loop_now(h->loop) >= deadline) {
			return ERR_TIMEOUT;
		}
		enum err e = task_sleep(PEER_WAIT_STEP);
		if (e != ERR_OK) {
			return e;
		}
	}
}

enum err
role_spawn(struct role_host *h, void (*fn)(void *), void *arg)
{
	return task_spawn(h->loop, fn, arg, NULL);
}

void
role_stopped(struct role_host *h)
{
	loop_stop(h->loop);
}

static void
fail(struct frame *f)
{
	f->status = 1;
	loop_stop(f->host.loop);
}

/* ---- peers ---- */

static void
early_free(struct early *e)
{
	buf_wipe(&e->payload);
	free(e);
}

/* Peers may speak before this role has its keys or its database: they are heard afterwards, in order. */
static void
keep_early(struct frame *f, struct channel *ch, const struct channel_message *m)
{
	/* What all peers together may say meanwhile: who says more tries again with a new channel. */
	struct early *e = f->early_bytes > EARLY_MAX ? NULL : calloc(1, sizeof(*e));
	if (e == NULL) {
		channel_end(ch);
		return;
	}
	*e = (struct early){.ch = ch, .type = m->type, .id = m->id, .payload = BUF_INIT(IPC_UNIT_MAX)};
	if (buf_append(&e->payload, m->payload) != ERR_OK) {
		early_free(e);
		channel_end(ch);
		return;
	}
	*f->early_end = e;
	f->early_end = &e->next;
	f->early_bytes += sizeof(*e) + m->payload.len;
}

static void
hear_early(struct frame *f)
{
	f->started = true;
	while (f->early != NULL) {
		struct early *e = f->early;
		f->early = e->next;
		if (f->early == NULL) {
			f->early_end = &f->early;
		}
		struct channel_message m = {
		    .type = e->type, .id = e->id, .payload = buf_bytes(&e->payload), .fd = -1};
		if (e->ch != NULL) {
			f->host.def->message(&f->host, e->ch, &m);
		}
		early_free(e);
	}
}

static void
forget_early(struct frame *f, const struct channel *ch)
{
	for (struct early *e = f->early; e != NULL; e = e->next) {
		if (e->ch == ch) {
			e->ch = NULL;
		}
	}
}

static void
on_peer_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct frame *f = arg;
	if (m->fd >= 0) {
		/* Between peers no descriptors travel; the table has none. */
		(void)close(m->fd);
		channel_fault(ch);
		return;
	}
	if (!f->started) {
		keep_early(f, ch, m);
		return;
	}
	f->host.def->message(&f->host, ch, m);
}

static void
on_peer_closed(void *arg, struct channel *ch, bool fault)
{
	struct frame *f = arg;
	struct role_host *h = &f->host;
	enum role peer = channel_peer(ch);
	unsigned index = channel_peer_index(ch);
	forget_early(f, ch);
	if (fault) {
		log_event(LOG_LEVEL_ERROR, "%s %u sent what the message table does not allow; it is ended",
			  role_name(peer), index);
		struct msg_peer_fault m = {.peer = (uint8_t)peer, .index = (uint16_t)index};
		if (channel_notice(h->supervisor, PEER_FAULT, peer_fault, &m) != ERR_OK) {
			fail(f);
		}
	} else if (h->peers[peer][index] == ch && !f->gone) {
		/* If it has died, its successor comes; if it lives, the supervisor joins us anew. */
		struct msg_peer_lost m = {
		    .peer = (uint8_t)peer, .index = (uint16_t)index, .life = f->lives[peer][index]};
		if (channel_notice(h->supervisor, PEER_LOST, peer_lost, &m) != ERR_OK) {
			fail(f);
		}
	}
	if (h->peers[peer][index] == ch) {
		h->peers[peer][index] = NULL;
		if (h->def->peer_down != NULL) {
			h->def->peer_down(h, peer, index);
		}
	}
	channel_destroy(&ch);
}

static const struct channel_events peer_events = {.message = on_peer_message, .closed = on_peer_closed};

static void
add_peer(struct frame *f, enum role peer, unsigned index, uint32_t life, int fd)
{
	struct role_host *h = &f->host;
	if ((unsigned)peer >= ROLE__COUNT || index >= ROLE_PEERS_MAX) {
		(void)close(fd);
		fail(f);
		return;
	}
	struct channel *old = h->peers[peer][index];
	if (old != NULL) {
		/* The peer restarted before its end was noticed here: whoever waits for it must hear so. */
		h->peers[peer][index] = NULL;
		if (h->def->peer_down != NULL) {
			h->def->peer_down(h, peer, index);
		}
		channel_end(old);
	}
	struct channel *ch = NULL;
	if (channel_create(h->loop, fd, h->def->id, peer, index, &peer_events, f, &ch) != ERR_OK) {
		(void)close(fd);
		fail(f);
		return;
	}
	h->peers[peer][index] = ch;
	f->lives[peer][index] = life;
	if (h->def->peer_up != NULL) {
		h->def->peer_up(h, ch);
	}
}

/* ---- the supervisor's words ---- */

static enum err
set_up(struct frame *f, struct bytes payload)
{
	struct role_host *h = &f->host;
	struct msg_setup m;
	enum err e = msg_setup_decode(payload, &m);
	if (e != ERR_OK || m.role != (uint8_t)h->def->id) {
		return ERR_FORMAT;
	}
	h->index = m.index;
	e = config_decode(m.config, &h->config);
	if (e != ERR_OK) {
		return e;
	}
	struct wire_reader r;
	wire_reader_init(&r, m.account_data);
	struct sandbox_profile profile = {.allow = h->def->sandbox_allow};
	profile.uid = wire_get_u32(&r);
	profile.gid = wire_get_u32(&r);
	struct bytes home = wire_get_bytes(&r, sizeof(h->home) - 1);
	struct bytes empty = wire_get_bytes(&r, CONFIG_PATH_MAX - 1);
	e = wire_end(&r);
	if (e != ERR_OK) {
		return e;
	}
	char empty_dir[CONFIG_PATH_MAX] = "";
	if (home.len > 0) {
		memcpy(h->home, home.ptr, home.len);
	}
	if (empty.len > 0) {
		memcpy(empty_dir, empty.ptr, empty.len);
		profile.empty_dir = empty_dir;
	}
	e = secret_pool_init(SECRET_POOL_BYTES);
	if (e != ERR_OK) {
		log_event(
		    LOG_LEVEL_ERROR,
		    "cannot lock %d bytes of memory for keys. Remedy: raise the memlock limit (ulimit -l)",
		    (int)SECRET_POOL_BYTES);
		return e;
	}
	if (h->def->prepare != NULL) {
		e = h->def->prepare(h, &profile);
		if (e != ERR_OK) {
			return e;
		}
	}
	int fds[SANDBOX_FDS_MAX];
	if (profile.fd_count + 2 > SANDBOX_FDS_MAX) {
		return ERR_LIMIT;
	}
	for (size_t i = 0; i < profile.fd_count; i++) {
		fds[i] = profile.fds[i];
	}
	fds[profile.fd_count++] = CONTROL_FD;
	fds[profile.fd_count++] = loop_descriptor(h->loop);
	profile.fds = fds;
	const char *step = "";
	unsigned in_force = 0;
	e = sandbox_enter(&profile, &step, &in_force);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "cannot enter the sandbox at %s: %s", step, err_text(e));
		return e;
	}
	f->set_up = true;
	return channel_notice_empty(h->supervisor, MSG_SANDBOXED);
}

/* Figures of this moment, with their marks. */
static enum err
read_figures(struct frame *f, struct buf *out)
{
	struct role_host *h = &f->host;
	enum err e = buf_printf(out, "=keys_locked_bytes %zu\n", secret_pool_used());
	return e == ERR_OK && h->def->status != NULL ? h->def->status(h, out) : e;
}

/* By the clock on the wall, as every other role does: the figures of one moment belong together. */
static void
on_hour(struct timer *t)
{
	struct frame *f = t->arg;
	struct buf lines = BUF_INIT(IPC_SMALL - 64);
	if (read_figures(f, &lines) == ERR_OK) {
		status_hour_ends(&f->figures, buf_bytes(&lines));
	}
	buf_clear(&lines);
	if (timer_start_after(f->host.loop, t, MSEC_HOUR - clock_wall() % MSEC_HOUR) != ERR_OK) {
		fail(f);
	}
}

static void
start_task(void *arg)
{
	struct frame *f = arg;
	struct role_host *h = &f->host;
	enum err e = h->def->start == NULL ? ERR_OK : h->def->start(h);
	if (e == ERR_OK) {
		hear_early(f);
		on_hour(&f->hour);
		e = channel_notice_empty(h->supervisor, MSG_READY);
	}
	if (e != ERR_OK && !f->gone) {
		/* One fault, one line: who knows the cause has told it with its remedy. */
		if (!log_said_error()) {
			log_event(LOG_LEVEL_ERROR, "cannot start: %s", err_text(e));
		}
		fail(f);
	}
}

static void
answer_status(struct frame *f, uint32_t id)
{
	struct role_host *h = &f->host;
	struct buf lines = BUF_INIT(IPC_SMALL - 64);
	struct buf text = BUF_INIT(IPC_SMALL - 64);
	enum err e = read_figures(f, &lines);
	bool exact = h->config.status_exact == CONFIG_YES;
	e = e == ERR_OK ? status_tell(&f->figures, buf_bytes(&lines), exact, &text) : e;
	struct msg_status_reply m = {.text = buf_bytes(&text)};
	e = e == ERR_OK ? channel_reply(h->supervisor, STATUS, status_reply, id, &m)
			: channel_answer(h->supervisor, MSG_STATUS, id, e);
	buf_clear(&lines);
	buf_clear(&text);
	if (e != ERR_OK) {
		fail(f);
	}
}

static void
begin_stop(struct frame *f)
{
	f->host.stopping = true;
	if (f->host.def->stop != NULL) {
		f->host.def->stop(&f->host);
	} else {
		role_stopped(&f->host);
	}
}

static void
on_supervisor_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct frame *f = arg;
	struct role_host *h = &f->host;
	enum err e = ERR_OK;
	if (m->type == MSG_SETUP) {
		e = f->set_up ? ERR_STATE : set_up(f, m->payload);
	} else if (!f->set_up) {
		e = ERR_STATE;
	} else if (m->type == MSG_CHANNEL) {
		struct msg_channel c;
		e = msg_channel_decode(m->payload, &c);
		if (e == ERR_OK) {
			add_peer(f, (enum role)c.peer, c.index, c.life, m->fd);
		}
	} else if (m->type == MSG_GO) {
		e = task_spawn(h->loop, start_task, f, NULL);
	} else if (m->type == MSG_LISTEN && h->def->listen != NULL) {
		struct msg_listen l;
		e = msg_listen_decode(m->payload, &l);
		if (e == ERR_OK) {
			h->def->listen(h, l.port, m->fd);
		}
	} else if (m->type == MSG_STATUS) {
		answer_status(f, m->id);
	} else if (m->type == MSG_STOP) {
		begin_stop(f);
	} else {
		h->def->message(h, ch, m);
	}
	if (e != ERR_OK) {
		/* A set-up that failed has said why. */
		if ((e == ERR_FORMAT || e == ERR_STATE) && m->type != MSG_SETUP) {
			log_event(LOG_LEVEL_ERROR, "the supervisor's message %d is malformed or out of order",
				  (int)m->type);
		}
		fail(f);
	}
}

static void
on_supervisor_closed(void *arg, struct channel *ch, bool fault)
{
	struct frame *f = arg;
	(void)ch;
	(void)fault;
	f->gone = true;
	loop_stop(f->host.loop);
}

int
role_main(const struct role_def *def)
{
	static const struct channel_events events = {.message = on_supervisor_message,
						     .closed = on_supervisor_closed};
	const char *step = "";
	log_set_role(role_name(def->id));
	(void)signal(SIGPIPE, SIG_IGN);
	/* Ctrl-C in the terminal, or a kill of the group, reaches all: the supervisor alone decides. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)prctl(PR_SET_NAME, role_name(def->id), 0, 0, 0);
	if (sandbox_early(&step) != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "cannot turn off core dumps (%s)", step);
		return 1;
	}
	/* Large: not on the stack, since the frame lives as long as the process. */
	struct frame *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		return 1;
	}
	f->host.def = def;
	f->early_end = &f->early;
	timer_init(&f->hour, on_hour, f);
	if (loop_create(&f->host.loop) != ERR_OK ||
	    channel_create(f->host.loop, CONTROL_FD, def->id, ROLE_SUPERVISOR, 0, &events, f,
			   &f->host.supervisor) != ERR_OK) {
		log_event(LOG_LEVEL_ERROR,
			  "has no channel to the supervisor: roles are started by `cohue run` only");
		free(f);
		return 1;
	}
	enum err e = loop_run(f->host.loop);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "the event loop failed: %s", err_text(e));
		f->status = 1;
	}
	/* Last words (a reply, a notice) leave with the channels; memory goes with the process. */
	for (unsigned p = 0; p < ROLE__COUNT; p++) {
		for (unsigned i = 0; i < ROLE_PEERS_MAX; i++) {
			if (f->host.peers[p][i] != NULL) {
				channel_flush(f->host.peers[p][i]);
			}
		}
	}
	secret_pool_wipe();
	_exit(!f->started && log_said_error() ? ROLE_EXIT_TOLD : f->status);
}
