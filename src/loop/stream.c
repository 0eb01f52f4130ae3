/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/secret.h"

enum {
	LINGER_MAX = 256 * 1024, /* bytes read and dropped while waiting for the peer's end */
	LINGER_MS = 2000,        /* how long that waits */
};

static void on_watch(struct watch *w, unsigned events);
static void on_timer(struct timer *t);
static void on_work(struct defer *d);

/* Settings. */

size_t
stream_read_max(const struct stream *s)
{
	return s->settings != NULL && s->settings->read_max > 0 ? s->settings->read_max : 64 * 1024;
}

static msec
close_ms(const struct stream *s)
{
	return s->settings != NULL && s->settings->close_ms > 0 ? s->settings->close_ms : 10 * MSEC_SECOND;
}

/* Life and death. */

enum err
stream_create(struct loop *loop, int fd, const struct stream_settings *settings,
	      const struct stream_events *events, void *arg, struct stream **ret_stream)
{
	if (loop->read_buffer == NULL) {
		loop->read_buffer = malloc(LOOP_READ_BUFFER);
		if (loop->read_buffer == NULL) {
			return ERR_MEMORY;
		}
	}
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
		return ERR_IO;
	}
	int one = 1; /* fails on a socket pair, which has no Nagle either */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	struct stream *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ERR_MEMORY;
	}
	s->loop = loop;
	s->fd = fd;
	s->settings = settings;
	s->events = events;
	s->arg = arg;
	s->idle_ms = -1;
	s->active_at = loop->now;
	buf_init(&s->held, stream_read_max(s));
	buf_init(&s->out, stream_write_max(s));
	watch_init(&s->watch, on_watch, s);
	timer_init(&s->timer, on_timer, s);
	defer_init(&s->flush, stream_on_flush, s);
	defer_init(&s->work, on_work, s);
	enum err e = watch_start(loop, &s->watch, fd, LOOP_READ);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*ret_stream = s;
	return ERR_OK;
}

void
stream_set_events(struct stream *s, const struct stream_events *events, void *arg)
{
	s->events = events;
	s->arg = arg;
	if (s->closing == OPEN && !s->paused) {
		defer_start(s->loop, &s->work);
	}
}

/* Gives back all but the structure itself. */
static void
let_go(struct stream *s)
{
	watch_stop(&s->watch);
	timer_stop(&s->timer);
	defer_stop(&s->flush);
	stream_free_ssl(s);
	if (s->fd >= 0) {
		(void)close(s->fd);
		s->fd = -1;
	}
	buf_wipe(&s->held);
	buf_wipe(&s->out);
	s->out_at = 0;
	stream_pad_clear(s);
}

static void
unlink_finishing(struct stream *s)
{
	if (s->events != NULL) {
		return;
	}
	if (s->prev != NULL) {
		s->prev->next = s->next;
	} else {
		s->loop->finishing = s->next;
	}
	if (s->next != NULL) {
		s->next->prev = s->prev;
	}
}

void
stream_destroy(struct stream **stream)
{
	struct stream *s = *stream;
	if (s == NULL) {
		return;
	}
	*stream = NULL;
	let_go(s);
	defer_stop(&s->work);
	unlink_finishing(s);
	if (s->busy) {
		s->dead = true;
	} else {
		free(s);
	}
}

void
stream_loop_clear(struct loop *loop)
{
	while (loop->finishing != NULL) {
		struct stream *s = loop->finishing;
		stream_destroy(&s);
	}
	if (loop->read_buffer != NULL) {
		secret_wipe(loop->read_buffer, LOOP_READ_BUFFER);
		free(loop->read_buffer);
		loop->read_buffer = NULL;
	}
}

/* Each handler of the loop works between these two; `end` frees what died meanwhile. */
void
stream_begin(struct stream *s)
{
	s->busy = true;
}

void
stream_end(struct stream *s)
{
	s->busy = false;
	if (s->dead) {
		free(s);
	}
}

bool
stream_is_alive(const struct stream *s)
{
	return !s->dead && s->closing != DONE;
}

/* Over: everything is given back now, and `closed` follows from a deferred call. */
void
stream_fail(struct stream *s, enum err why)
{
	if (s->closing == DONE) {
		return;
	}
	s->closing = DONE;
	s->why = why;
	let_go(s);
	defer_start(s->loop, &s->work);
}

/* Asks the loop for what is of use now. */
void
stream_update_watch(struct stream *s)
{
	if (!stream_is_alive(s)) {
		return;
	}
	/* TLS_PENDING: what leaves in clear mostly leaves this turn; not worth two calls. */
	bool read = s->tls == TLS_HANDSHAKE || (s->tls == TLS_PENDING && !s->want_write) ||
		    (s->tls != TLS_PENDING && !s->paused && !s->ended && s->held.len < stream_read_max(s));
	switch (s->closing) {
	case OPEN:
		break;
	case FLUSHING:
		/* The same: mostly all leaves this turn, and the peer's end is what comes next. */
		read = !s->want_write;
		break;
	case LINGERING:
		read = true;
		break;
	case DONE:
		return;
	}
	unsigned want = (read ? (unsigned)LOOP_READ : 0) | (s->want_write ? (unsigned)LOOP_WRITE : 0);
	enum err e = ERR_OK;
	if (s->watch.loop != NULL) {
		e = watch_change(&s->watch, want);
	} else if (want != 0) {
		e = watch_start(s->loop, &s->watch, s->fd, want);
	}
	if (e != ERR_OK) {
		stream_fail(s, e);
	}
}

/* Deadlines: one timer, moved only when it fires or must fire earlier. */

static msec
next_deadline(const struct stream *s)
{
	if (s->closing == FLUSHING || s->closing == LINGERING || s->tls == TLS_PENDING ||
	    s->tls == TLS_HANDSHAKE) {
		return s->deadline;
	}
	return s->idle_ms < 0 ? -1 : s->active_at + s->idle_ms;
}

void
stream_arm(struct stream *s)
{
	msec due = next_deadline(s);
	if (!stream_is_alive(s)) {
		return;
	}
	if (due < 0) {
		timer_stop(&s->timer);
	} else if (timer_start(s->loop, &s->timer, due) != ERR_OK) {
		stream_fail(s, ERR_MEMORY);
	}
}

static void
on_timer(struct timer *t)
{
	struct stream *s = t->arg;
	msec due = next_deadline(s);
	bool idle = s->closing == OPEN && (s->tls == CLEAR || s->tls == TLS_OPEN);
	if (idle && s->paused && stream_queued(s) == 0) {
		/* The host is at work: it is not the peer who keeps us waiting. */
		s->active_at = s->loop->now;
		due = next_deadline(s);
	}
	if (due < 0 || due > s->loop->now) {
		stream_arm(s);
	} else {
		stream_fail(s, s->closing == LINGERING ? ERR_OK : ERR_TIMEOUT);
	}
}

void
stream_set_idle(struct stream *s, msec ms)
{
	s->idle_ms = ms;
	s->active_at = clock_monotonic();
	stream_arm(s);
}

/* Closing. */

void
stream_start_lingering(struct stream *s)
{
	if (s->ssl != NULL) {
		ERR_clear_error();
		if (s->tls == TLS_OPEN) {
			(void)SSL_shutdown(s->ssl);
		}
		stream_free_ssl(s);
	}
	if (shutdown(s->fd, SHUT_WR) != 0 || s->ended) {
		stream_fail(s, ERR_OK);
		return;
	}
	s->closing = LINGERING;
	s->want_write = false;
	msec deadline = clock_monotonic() + LINGER_MS;
	s->deadline = deadline < s->deadline ? deadline : s->deadline;
	stream_arm(s);
	stream_update_watch(s);
}

/* Closing a socket with unread bytes resets it, and our last words may be lost with that: so read to the end. */
static void
linger(struct stream *s)
{
	for (int i = 0; i < STREAM_READ_ROUNDS; i++) {
		ssize_t n = recv(s->fd, s->loop->read_buffer, LOOP_READ_BUFFER, 0);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			return;
		}
		s->lingered += n > 0 ? (size_t)n : 0;
		if (n <= 0 || s->lingered > LINGER_MAX) {
			stream_fail(s, ERR_OK);
			return;
		}
	}
}

void
stream_close(struct stream *s)
{
	if (s->closing != OPEN) {
		return;
	}
	s->closing = FLUSHING;
	s->deadline = clock_monotonic() + close_ms(s);
	buf_wipe(&s->held);
	stream_arm(s);
	defer_start_last(s->loop, &s->flush);
}

void
stream_finish(struct stream **stream)
{
	struct stream *s = *stream;
	if (s == NULL) {
		return;
	}
	*stream = NULL;
	s->events = NULL;
	s->settings = NULL;
	s->arg = NULL;
	s->prev = NULL;
	s->next = s->loop->finishing;
	if (s->next != NULL) {
		s->next->prev = s;
	}
	s->loop->finishing = s;
	stream_close(s);
	if (s->closing == DONE) {
		defer_start(s->loop, &s->work);
	}
}

/* The loop's handlers. */

static void
on_watch(struct watch *w, unsigned events)
{
	struct stream *s = w->arg;
	stream_begin(s);
	if ((events & LOOP_HANGUP) != 0 && w->events == 0) {
		/* Level-triggered, and nothing to be done about it until reading or writing goes on. */
		watch_stop(w);
		stream_end(s);
		return;
	}
	bool hangup = (events & LOOP_HANGUP) != 0;
	bool readable = (events & LOOP_READ) != 0 || (hangup && (w->events & LOOP_READ) != 0);
	bool writable = (events & LOOP_WRITE) != 0 || (hangup && (w->events & LOOP_WRITE) != 0);
	if (s->closing == LINGERING) {
		linger(s);
	} else if (s->tls == TLS_HANDSHAKE) {
		stream_shake_hands(s);
	} else {
		if (writable) {
			s->want_write = false;
			defer_start_last(s->loop, &s->flush);
		}
		/* A TLS read may have wanted to write. */
		if (readable || (writable && s->ssl != NULL)) {
			stream_read_in(s);
		}
		/* A TLS write may have wanted to read. */
		if (stream_is_alive(s) && stream_queued(s) > 0 && !s->want_write) {
			defer_start_last(s->loop, &s->flush);
		}
	}
	stream_update_watch(s);
	stream_end(s);
}

static void
on_work(struct defer *d)
{
	struct stream *s = d->arg;
	stream_begin(s);
	if (s->closing == DONE) {
		if (s->events == NULL) {
			struct stream *finished = s;
			stream_destroy(&finished);
		} else if (!s->reported) {
			s->reported = true;
			s->events->closed(s, s->arg, s->why);
		}
	} else if (s->tls == TLS_HANDSHAKE && s->closing == OPEN) {
		/* A client speaks first. */
		stream_shake_hands(s);
	} else if (stream_takes_data(s)) {
		stream_offer_held(s);
		if (stream_takes_data(s)) {
			stream_read_in(s);
		}
	}
	stream_update_watch(s);
	stream_end(s);
}

struct loop *
stream_loop(const struct stream *s)
{
	return s->loop;
}
