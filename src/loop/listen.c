/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/listen.h"

#include <errno.h>
#include <unistd.h>

static void
listener_watch(struct listener *l)
{
	bool on = !l->held && !timer_is_running(&l->pause);
	enum err e = watch_change(&l->watch, on ? LOOP_READ : 0);
	if (e != ERR_OK && e != ERR_STATE) {
		panic("the kernel refuses to change what a listener waits for");
	}
}

static void
listener_pause_over(struct timer *t)
{
	listener_watch(t->arg);
}

static void
on_connection(struct watch *w, unsigned events)
{
	struct listener *l = w->arg;
	(void)events;
	struct loop *loop = w->loop;
	for (int i = 0; i < LISTENER_BATCH && l->watch.loop == loop && !l->held; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof(peer);
		int fd = accept4(w->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			l->fn(l, fd, (struct sockaddr *)&peer, len);
			continue;
		}
		switch (errno) {
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			if (timer_start_after(loop, &l->pause, LISTENER_PAUSE_MS) == ERR_OK) {
				listener_watch(l);
			}
			return;
		case EINTR:
		case ECONNABORTED: /* the peer gave up while it waited (accept(2)) */
			continue;
		default:
			return;
		}
	}
}

enum err
listener_start(struct loop *loop, struct listener *l, int fd, listener_fn *fn, void *arg)
{
	*l = (struct listener){.fn = fn, .arg = arg, .held = false};
	watch_init(&l->watch, on_connection, l);
	timer_init(&l->pause, listener_pause_over, l);
	return watch_start(loop, &l->watch, fd, LOOP_READ);
}

void
listener_stop(struct listener *l)
{
	watch_stop(&l->watch);
	timer_stop(&l->pause);
}

void
listener_hold(struct listener *l)
{
	l->held = true;
	listener_watch(l);
}

void
listener_release(struct listener *l)
{
	l->held = false;
	listener_watch(l);
}

/* Connecting. */

static void
connector_done(struct connector *c, enum err result)
{
	int fd = c->fd;
	c->fd = -1;
	watch_stop(&c->watch);
	timer_stop(&c->timer);
	defer_stop(&c->defer);
	if (result != ERR_OK && fd >= 0) {
		(void)close(fd);
		fd = -1;
	}
	c->fn(c, result, fd);
}

static enum err
connect_error(int errnum)
{
	switch (errnum) {
	case 0:
		return ERR_OK;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ECONNREFUSED:
	case ECONNRESET:
		return ERR_CLOSED;
	default:
		return ERR_IO;
	}
}

static void
connector_on_watch(struct watch *w, unsigned events)
{
	struct connector *c = w->arg;
	(void)events;
	int errnum = 0;
	socklen_t len = sizeof(errnum);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0) {
		errnum = errno;
	}
	connector_done(c, connect_error(errnum));
}

static void
connector_on_timer(struct timer *t)
{
	connector_done(t->arg, ERR_TIMEOUT);
}

static void
connector_on_defer(struct defer *d)
{
	struct connector *c = d->arg;
	connector_done(c, c->result);
}

enum err
connector_start(struct loop *loop, struct connector *c, const struct sockaddr *to, socklen_t to_len,
		const struct sockaddr *from, socklen_t from_len, msec deadline, connector_fn *fn, void *arg)
{
	*c = (struct connector){.fn = fn, .arg = arg, .fd = -1, .result = ERR_OK};
	watch_init(&c->watch, connector_on_watch, c);
	timer_init(&c->timer, connector_on_timer, c);
	defer_init(&c->defer, connector_on_defer, c);
	c->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		return errno == ENOMEM || errno == ENOBUFS ? ERR_MEMORY : ERR_IO;
	}
	enum err e = timer_start(loop, &c->timer, deadline);
	if (e != ERR_OK) {
		connector_stop(c);
		return e;
	}
	bool pending = false;
	if (from != NULL && bind(c->fd, from, from_len) != 0) {
		c->result = ERR_IO;
	} else if (connect(c->fd, to, to_len) != 0) {
		pending = errno == EINPROGRESS || errno == EINTR;
		c->result = pending ? ERR_OK : connect_error(errno);
	}
	if (!pending) {
		defer_start(loop, &c->defer);
		return ERR_OK;
	}
	e = watch_start(loop, &c->watch, c->fd, LOOP_WRITE);
	if (e != ERR_OK) {
		connector_stop(c);
	}
	return e;
}

void
connector_stop(struct connector *c)
{
	watch_stop(&c->watch);
	timer_stop(&c->timer);
	defer_stop(&c->defer);
	if (c->fd >= 0) {
		(void)close(c->fd);
		c->fd = -1;
	}
}
