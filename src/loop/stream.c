/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/stream.h"

#include "base/openssl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/secret.h"
#include "loop/internal.h"

enum {
	READ_ROUNDS = 8,             /* reads of one stream before others get their turn */
	DISCARD_MAX = 64 * 1024,     /* clear-text bytes behind STARTTLS that are still thrown away */
	LINGER_MAX = 256 * 1024,     /* bytes read and dropped while waiting for the peer's end */
	LINGER_MS = 2000,            /* how long that waits */
	BATCH_WRITE_MAX = 64 * 1024, /* bytes given to one send(2) */
};

/*
 * A life: CLEAR (→ TLS_PENDING, once the queue has left in clear → TLS_HANDSHAKE
 * → TLS_OPEN). Then `closing`: OPEN → FLUSHING → LINGERING → DONE, or straight
 * to DONE on errors; `closed` is reported from the deferred call that follows.
 */
enum tls_state { CLEAR, TLS_PENDING, TLS_HANDSHAKE, TLS_OPEN };
enum closing { OPEN, FLUSHING, LINGERING, DONE };

struct stream {
	struct loop *loop;
	const struct stream_events *events; /* NULL once the loop owns it */
	void *arg;
	const struct stream_settings *settings;
	SSL *ssl;
	struct watch watch;
	struct timer timer;
	struct defer flush; /* at the end of the turn */
	struct defer work;  /* whatever else is due outside of the host's calls */
	struct buf held;    /* received, not consumed */
	struct buf out;     /* queued; the first out_at bytes are sent */
	size_t out_at;
	struct bytes offered;    /* while the data callback runs, what it was shown */
	size_t offered_consumed; /* and how much of it was consumed */
	uint64_t bytes_in, bytes_out;
	msec idle_ms, active_at, deadline; /* deadline: of the handshake, or of the closing */
	size_t
	    clear_left; /* TLS_PENDING: bytes of the queue that still leave in clear; what is written later does not */
	size_t lingered;
	struct stream *prev, *next; /* among those the loop finishes */
	int fd;
	enum tls_state tls;
	enum closing closing;
	enum err why;
	bool paused, ended, congested, want_write, offering, verify, ended_told, reported, quick_ack;
	bool busy; /* a handler of the loop is at work on it: freeing waits for its end */
	bool dead;
};

static void on_watch(struct watch *w, unsigned events);
static void on_timer(struct timer *t);
static void on_flush(struct defer *d);
static void on_work(struct defer *d);

/* Settings. */

static size_t
read_max(const struct stream *s)
{
	return s->settings != NULL && s->settings->read_max > 0 ? s->settings->read_max : 64 * 1024;
}

static size_t
write_max(const struct stream *s)
{
	return s->settings != NULL && s->settings->write_max > 0 ? s->settings->write_max : 1024 * 1024;
}

static size_t
high_water(const struct stream *s)
{
	return s->settings != NULL && s->settings->high_water > 0 ? s->settings->high_water : 128 * 1024;
}

static size_t
low_water(const struct stream *s)
{
	return s->settings != NULL && s->settings->low_water > 0 ? s->settings->low_water : 32 * 1024;
}

static msec
handshake_ms(const struct stream *s)
{
	return s->settings != NULL && s->settings->handshake_ms > 0 ? s->settings->handshake_ms
								    : 30 * MSEC_SECOND;
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
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
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
	buf_init(&s->held, read_max(s));
	buf_init(&s->out, write_max(s));
	watch_init(&s->watch, on_watch, s);
	timer_init(&s->timer, on_timer, s);
	defer_init(&s->flush, on_flush, s);
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

static void
free_ssl(struct stream *s)
{
	if (s->ssl != NULL) {
		SSL_free(s->ssl);
		s->ssl = NULL;
		ERR_clear_error();
	}
}

/* Gives back all but the structure itself. */
static void
let_go(struct stream *s)
{
	watch_stop(&s->watch);
	timer_stop(&s->timer);
	defer_stop(&s->flush);
	free_ssl(s);
	if (s->fd >= 0) {
		(void)close(s->fd);
		s->fd = -1;
	}
	buf_wipe(&s->held);
	buf_wipe(&s->out);
	s->out_at = 0;
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
static void
begin(struct stream *s)
{
	s->busy = true;
}

static void
end(struct stream *s)
{
	s->busy = false;
	if (s->dead) {
		free(s);
	}
}

static bool
is_alive(const struct stream *s)
{
	return !s->dead && s->closing != DONE;
}

/* Over: everything is given back now, and `closed` follows from a deferred call. */
static void
fail(struct stream *s, enum err why)
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
static void
update_watch(struct stream *s)
{
	if (!is_alive(s)) {
		return;
	}
	bool read = s->tls == TLS_HANDSHAKE ||
		    (s->tls != TLS_PENDING && !s->paused && !s->ended && s->held.len < read_max(s));
	switch (s->closing) {
	case OPEN:
		break;
	case FLUSHING:
		read = false;
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
		fail(s, e);
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

static void
arm(struct stream *s)
{
	msec due = next_deadline(s);
	if (!is_alive(s)) {
		return;
	}
	if (due < 0) {
		timer_stop(&s->timer);
	} else if (timer_start(s->loop, &s->timer, due) != ERR_OK) {
		fail(s, ERR_MEMORY);
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
		arm(s);
	} else {
		fail(s, s->closing == LINGERING ? ERR_OK : ERR_TIMEOUT);
	}
}

void
stream_set_idle(struct stream *s, msec ms)
{
	s->idle_ms = ms;
	s->active_at = clock_monotonic();
	arm(s);
}

/* Closing. */

static void
start_lingering(struct stream *s)
{
	if (s->ssl != NULL) {
		ERR_clear_error();
		if (s->tls == TLS_OPEN) {
			(void)SSL_shutdown(s->ssl);
		}
		free_ssl(s);
	}
	if (shutdown(s->fd, SHUT_WR) != 0 || s->ended) {
		fail(s, ERR_OK);
		return;
	}
	s->closing = LINGERING;
	s->want_write = false;
	msec deadline = clock_monotonic() + LINGER_MS;
	s->deadline = deadline < s->deadline ? deadline : s->deadline;
	arm(s);
	update_watch(s);
}

/* Closing a socket with unread bytes resets it, and our last words may be lost with that: so read to the end. */
static void
linger(struct stream *s)
{
	for (int i = 0; i < READ_ROUNDS; i++) {
		ssize_t n = recv(s->fd, s->loop->read_buffer, LOOP_READ_BUFFER, 0);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			return;
		}
		s->lingered += n > 0 ? (size_t)n : 0;
		if (n <= 0 || s->lingered > LINGER_MAX) {
			fail(s, ERR_OK);
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
	arm(s);
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

/* What OpenSSL's last result means: ERR_OK for "not yet" (with want_write set), ERR_CLOSED for the peer's end. */
static enum err
ssl_result(struct stream *s, int result, bool *ret_ended)
{
	int errnum = errno;
	*ret_ended = false;
	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return ERR_OK;
	case SSL_ERROR_WANT_WRITE:
		s->want_write = true;
		return ERR_OK;
	case SSL_ERROR_ZERO_RETURN:
		*ret_ended = true;
		return ERR_OK;
	case SSL_ERROR_SYSCALL:
		return errnum == EPIPE || errnum == ECONNRESET || errnum == 0 ? ERR_CLOSED : ERR_IO;
	default:
		return s->tls == TLS_OPEN ? ERR_FORMAT : ERR_AUTH;
	}
}

/* Writing. */

/* The number of bytes that could leave now; 0 with want_write set, or after a failure. */
static size_t
send_some(struct stream *s, const uint8_t *data, size_t len)
{
	if (s->tls == CLEAR || s->tls == TLS_PENDING) {
		for (;;) {
			ssize_t n =
			    send(s->fd, data, len < BATCH_WRITE_MAX ? len : BATCH_WRITE_MAX, MSG_NOSIGNAL);
			if (n >= 0) {
				return (size_t)n;
			}
			if (errno == EAGAIN || errno == ENOBUFS) {
				s->want_write = true;
				return 0;
			}
			if (errno != EINTR) {
				fail(s, errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_IO);
				return 0;
			}
		}
	}
	size_t n = 0;
	ERR_clear_error();
	errno = 0;
	int result = SSL_write_ex(s->ssl, data, len, &n);
	if (result == 1) {
		return n;
	}
	bool ended = false;
	enum err e = ssl_result(s, result, &ended);
	if (e != ERR_OK || ended) {
		fail(s, ended ? ERR_CLOSED : e);
	}
	return 0;
}

static void
write_queue(struct stream *s)
{
	if (s->tls == TLS_HANDSHAKE) {
		return;
	}
	s->want_write = false;
	while (s->closing != DONE) {
		size_t most = s->tls == TLS_PENDING ? s->clear_left : stream_queued(s);
		size_t n = most == 0 ? 0 : send_some(s, s->out.ptr + s->out_at, most);
		if (n == 0) {
			break;
		}
		s->out_at += n;
		s->clear_left -= s->tls == TLS_PENDING ? n : 0;
		s->active_at = s->loop->now;
	}
	if (s->closing != DONE && s->out_at == s->out.len) {
		buf_wipe(&s->out);
		s->out_at = 0;
	}
}

static void
on_flush(struct defer *d)
{
	struct stream *s = d->arg;
	begin(s);
	if (s->closing != DONE) {
		write_queue(s);
	}
	if (s->closing == OPEN && s->congested && stream_queued(s) <= low_water(s)) {
		s->congested = false;
		if (s->events != NULL && s->events->drained != NULL) {
			s->events->drained(s, s->arg);
		}
	}
	if (is_alive(s) && s->closing == FLUSHING &&
	    (stream_queued(s) == 0 || s->tls == TLS_HANDSHAKE ||
	     (s->tls == TLS_PENDING && s->clear_left == 0))) {
		start_lingering(s);
	}
	if (is_alive(s) && s->tls == TLS_PENDING && s->clear_left == 0) {
		defer_start(s->loop, &s->work);
	}
	update_watch(s);
	end(s);
}

enum err
stream_write(struct stream *s, struct bytes data)
{
	if (s->closing != OPEN) {
		return ERR_CLOSED;
	}
	/* Sent bytes at the front are dropped when they outweigh what moves. */
	if (s->out_at > 0 && s->out_at >= s->out.len - s->out_at) {
		buf_consume(&s->out, s->out_at);
		s->out_at = 0;
	}
	if (data.len > write_max(s) - stream_queued(s)) {
		return ERR_LIMIT;
	}
	if (data.len > s->out.max - s->out.len) {
		buf_consume(&s->out, s->out_at);
		s->out_at = 0;
	}
	enum err e = buf_append(&s->out, data);
	if (e != ERR_OK) {
		return e;
	}
	s->bytes_out += data.len;
	s->congested = s->congested || stream_queued(s) > high_water(s);
	if (!s->want_write) {
		defer_start_last(s->loop, &s->flush);
	}
	return ERR_OK;
}

void
stream_flush(struct stream *s)
{
	if (s->closing == OPEN && !s->want_write && stream_queued(s) > 0) {
		write_queue(s);
		/* Its other consequences wait for the end of the turn. */
		if (s->closing == OPEN) {
			defer_start_last(s->loop, &s->flush);
		}
	}
}

size_t
stream_queued(const struct stream *s)
{
	return s->out.len - s->out_at;
}

bool
stream_is_congested(const struct stream *s)
{
	return s->congested;
}

/* Reading. */

void
stream_consume(struct stream *s, size_t n)
{
	if (s->offering) {
		if (n > s->offered.len - s->offered_consumed) {
			panic("stream: consumed more than was offered");
		}
		s->offered_consumed += n;
		return;
	}
	if (n > s->held.len) {
		panic("stream: consumed more than was kept");
	}
	if (n == 0) {
		return;
	}
	buf_consume(&s->held, n);
	if (s->held.len == 0) {
		buf_wipe(&s->held);
	}
	if (s->closing == OPEN && !s->paused) {
		defer_start(s->loop, &s->work);
	}
}

void
stream_pause(struct stream *s)
{
	s->paused = true;
	if (!s->busy && s->closing != DONE) {
		update_watch(s);
	}
}

void
stream_resume(struct stream *s)
{
	if (!s->paused) {
		return;
	}
	s->paused = false;
	s->active_at = s->loop->now;
	if (s->closing == OPEN) {
		defer_start(s->loop, &s->work);
	}
}

bool
stream_is_paused(const struct stream *s)
{
	return s->paused;
}

static bool
takes_data(const struct stream *s)
{
	return is_alive(s) && s->closing == OPEN && !s->paused && (s->tls == CLEAR || s->tls == TLS_OPEN);
}

/*
 * Shows `data` to the host, again and again while it takes a part and wants
 * more. Returns what is left, which is nothing once the stream has died,
 * closed or begun TLS.
 */
static struct bytes
offer(struct stream *s, struct bytes data)
{
	enum tls_state before = s->tls;
	while (data.len > 0 && takes_data(s)) {
		s->offering = true;
		s->offered = data;
		s->offered_consumed = 0;
		s->events->data(s, s->arg, data);
		s->offering = false;
		size_t taken = s->offered_consumed;
		s->offered = BYTES_EMPTY;
		s->offered_consumed = 0;
		data = bytes_from(data, taken);
		if (taken == 0) {
			break;
		}
	}
	return s->dead || s->closing != OPEN || s->tls != before ? BYTES_EMPTY : data;
}

static void
offer_held(struct stream *s)
{
	if (s->held.len == 0) {
		return;
	}
	struct bytes left = offer(s, buf_bytes(&s->held));
	if (s->dead) {
		return;
	}
	if (left.len == 0) {
		buf_wipe(&s->held);
	} else {
		buf_consume(&s->held, s->held.len - left.len);
	}
}

/* Reads into the loop's buffer: the bytes' number, or 0 for "nothing now", for the end, or after a failure. */
static size_t
receive_some(struct stream *s, size_t most)
{
	most = most < LOOP_READ_BUFFER ? most : LOOP_READ_BUFFER;
	if (s->ssl != NULL) {
		size_t n = 0;
		bool ended = false;
		ERR_clear_error();
		errno = 0;
		int result = SSL_read_ex(s->ssl, s->loop->read_buffer, most, &n);
		if (result == 1) {
			return n;
		}
		enum err e = ssl_result(s, result, &ended);
		s->ended = s->ended || ended;
		if (e != ERR_OK) {
			fail(s, e);
		}
		return 0;
	}
	for (;;) {
		ssize_t n = recv(s->fd, s->loop->read_buffer, most, 0);
		if (n > 0) {
			return (size_t)n;
		}
		if (n == 0) {
			s->ended = true;
			return 0;
		}
		if (errno == EAGAIN) {
			return 0;
		}
		if (errno != EINTR) {
			fail(s, errno == ECONNRESET || errno == EPIPE ? ERR_CLOSED : ERR_IO);
			return 0;
		}
	}
}

static void
take_in(struct stream *s, size_t n)
{
	struct bytes fresh = bytes_of(s->loop->read_buffer, n);
	s->bytes_in += n;
	s->active_at = s->loop->now;
	enum err e = ERR_OK;
	if (s->held.len > 0) {
		e = buf_append(&s->held, fresh);
		if (e == ERR_OK) {
			offer_held(s);
		}
	} else {
		struct bytes left = offer(s, fresh);
		if (!s->dead && left.len > 0) {
			e = buf_append(&s->held, left);
		}
	}
	if (e != ERR_OK) {
		fail(s, e);
	}
}

void
stream_set_quick_ack(struct stream *s, bool on)
{
	s->quick_ack = on;
}

static void
read_in(struct stream *s)
{
	bool any = false;
	bool more = true;
	uint8_t *shared = s->loop->read_buffer;
	for (int i = 0; i < READ_ROUNDS && more && takes_data(s) && !s->ended; i++) {
		size_t room = read_max(s) - s->held.len;
		if (room == 0) {
			return;
		}
		size_t n = receive_some(s, room);
		more = n > 0;
		if (n > 0) {
			any = true;
			take_in(s, n);
			secret_wipe(shared, n);
		}
	}
	if (any && s->quick_ack && is_alive(s)) {
		int one = 1;
		/* The kernel forgets it by itself; where it knows it not, the peer waits as it always did. */
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	}
	if (s->ended && !s->ended_told && takes_data(s)) {
		s->ended_told = true;
		buf_wipe(&s->held);
		if (s->events->ended != NULL) {
			s->events->ended(s, s->arg);
		} else {
			stream_close(s);
		}
	} else if (more && takes_data(s) && s->ssl != NULL && SSL_has_pending(s->ssl) == 1) {
		/* OpenSSL holds bytes that the kernel will not tell us about again. */
		defer_start(s->loop, &s->work);
	}
}

/* TLS. */

static void
shake_hands(struct stream *s)
{
	bool ended = false;
	s->want_write = false;
	ERR_clear_error();
	errno = 0;
	int result = SSL_do_handshake(s->ssl);
	if (result != 1) {
		enum err e = ssl_result(s, result, &ended);
		if (e != ERR_OK || ended) {
			fail(s, ended ? ERR_CLOSED : e);
		}
		return;
	}
	s->tls = TLS_OPEN;
	s->active_at = s->loop->now;
	arm(s);
	if (s->closing == OPEN && s->events->secured != NULL) {
		s->events->secured(s, s->arg);
	}
	if (is_alive(s) && stream_queued(s) > 0) {
		defer_start_last(s->loop, &s->flush);
	}
	if (takes_data(s)) {
		read_in(s);
	}
}

/* Throws clear text away: what is kept, what is being offered, what waits in the kernel. */
static enum err
discard_clear(struct stream *s, size_t *ret_discarded)
{
	size_t n = s->held.len;
	if (s->offering) {
		/* While kept bytes are offered they are the same bytes. */
		n = s->offered.len - s->offered_consumed;
	} else {
		buf_wipe(&s->held);
	}
	uint8_t scrap[2048];
	while (n <= DISCARD_MAX) {
		ssize_t got = recv(s->fd, scrap, sizeof(scrap), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			*ret_discarded = n;
			return ERR_OK;
		}
		n += (size_t)got;
	}
	return ERR_LIMIT;
}

static enum err
start_tls(struct stream *s, struct tls_context *ctx, bool server, const char *sni, bool implicit,
	  size_t *ret_discarded)
{
	if (s->tls != CLEAR || s->closing != OPEN) {
		return ERR_STATE;
	}
	/* OpenSSL's macro takes the name without const. */
	char name[256];
	size_t name_len = sni == NULL ? 0 : bytes_str(sni).len;
	if (name_len >= sizeof(name)) {
		return ERR_LIMIT;
	}
	memcpy(name, sni == NULL ? "" : sni, name_len);
	name[name_len] = 0;
	size_t discarded = 0;
	if (!implicit) {
		enum err e = discard_clear(s, &discarded);
		if (e != ERR_OK) {
			return e;
		}
	}
	ERR_clear_error();
	SSL *ssl = SSL_new(tls_context_ssl(ctx));
	if (ssl == NULL) {
		return ERR_MEMORY;
	}
	if (SSL_set_fd(ssl, s->fd) != 1 ||
	    (name_len > 0 && (SSL_set_tlsext_host_name(ssl, name) != 1 || SSL_set1_host(ssl, name) != 1))) {
		SSL_free(ssl);
		ERR_clear_error();
		return ERR_MEMORY;
	}
	if (server) {
		SSL_set_accept_state(ssl);
	} else {
		SSL_set_connect_state(ssl);
	}
	s->ssl = ssl;
	s->verify = tls_context_verifies(ctx) && name_len > 0;
	s->tls = TLS_PENDING;
	s->clear_left = stream_queued(s);
	s->deadline = clock_monotonic() + handshake_ms(s);
	arm(s);
	if (!s->want_write) {
		defer_start_last(s->loop, &s->flush);
	}
	if (ret_discarded != NULL) {
		*ret_discarded = discarded;
	}
	return ERR_OK;
}

enum err
stream_start_tls_server(struct stream *s, struct tls_context *ctx, bool implicit, size_t *ret_discarded)
{
	return start_tls(s, ctx, true, NULL, implicit, ret_discarded);
}

enum err
stream_start_tls_client(struct stream *s, struct tls_context *ctx, const char *sni, bool implicit,
			size_t *ret_discarded)
{
	return start_tls(s, ctx, false, sni, implicit, ret_discarded);
}

bool
stream_is_secure(const struct stream *s)
{
	return s->tls == TLS_OPEN;
}

enum err
stream_tls_info(const struct stream *s, struct tls_info *ret_info)
{
	if (s->tls != TLS_OPEN || s->ssl == NULL) {
		return ERR_STATE;
	}
	const SSL_CIPHER *cipher = SSL_get_current_cipher(s->ssl);
	int bits = SSL_CIPHER_get_bits(cipher, NULL);
	const char *name = SSL_CIPHER_standard_name(cipher);
	*ret_info = (struct tls_info){
	    .version = SSL_get_version(s->ssl),
	    .cipher = name != NULL ? name : "unknown",
	    .bits = bits > 0 ? (unsigned)bits : 0,
	    .verified = s->verify && SSL_get_verify_result(s->ssl) == X509_V_OK,
	    .resumed = SSL_session_reused(s->ssl) == 1,
	};
	return ERR_OK;
}

enum err
stream_tls_exporter(struct stream *s, const char *label, uint8_t *ret_key, size_t n)
{
	if (s->tls != TLS_OPEN || s->ssl == NULL) {
		return ERR_STATE;
	}
	ERR_clear_error();
	int ok = SSL_export_keying_material(s->ssl, ret_key, n, label, bytes_str(label).len, NULL, 0, 0);
	ERR_clear_error();
	return ok == 1 ? ERR_OK : ERR_UNSUPPORTED;
}

enum err
stream_set_padding(struct stream *s, size_t block)
{
	if (s->tls != TLS_OPEN || s->ssl == NULL) {
		return ERR_STATE;
	}
	if (SSL_version(s->ssl) != TLS1_3_VERSION || block > SSL3_RT_MAX_PLAIN_LENGTH) {
		return ERR_UNSUPPORTED;
	}
	/* OpenSSL's 1 means "no padding", as 0 does here. */
	return SSL_set_block_padding(s->ssl, block == 0 ? 1 : block) == 1 ? ERR_OK : ERR_UNSUPPORTED;
}

/* The loop's handlers. */

static void
on_watch(struct watch *w, unsigned events)
{
	struct stream *s = w->arg;
	begin(s);
	if ((events & LOOP_HANGUP) != 0 && w->events == 0) {
		/* Level-triggered, and nothing to be done about it until reading or writing goes on. */
		watch_stop(w);
		end(s);
		return;
	}
	bool hangup = (events & LOOP_HANGUP) != 0;
	bool readable = (events & LOOP_READ) != 0 || (hangup && (w->events & LOOP_READ) != 0);
	bool writable = (events & LOOP_WRITE) != 0 || (hangup && (w->events & LOOP_WRITE) != 0);
	if (s->closing == LINGERING) {
		linger(s);
	} else if (s->tls == TLS_HANDSHAKE) {
		shake_hands(s);
	} else {
		if (writable) {
			s->want_write = false;
			defer_start_last(s->loop, &s->flush);
		}
		/* A TLS read may have wanted to write. */
		if (readable || (writable && s->ssl != NULL)) {
			read_in(s);
		}
		/* A TLS write may have wanted to read. */
		if (is_alive(s) && stream_queued(s) > 0 && !s->want_write) {
			defer_start_last(s->loop, &s->flush);
		}
	}
	update_watch(s);
	end(s);
}

static void
on_work(struct defer *d)
{
	struct stream *s = d->arg;
	begin(s);
	if (s->closing == DONE) {
		if (s->events == NULL) {
			struct stream *finished = s;
			stream_destroy(&finished);
		} else if (!s->reported) {
			s->reported = true;
			s->events->closed(s, s->arg, s->why);
		}
	} else if (s->tls == TLS_PENDING) {
		if (s->clear_left == 0 && s->closing == OPEN) {
			s->tls = TLS_HANDSHAKE;
			shake_hands(s);
		}
	} else if (takes_data(s)) {
		offer_held(s);
		if (takes_data(s)) {
			read_in(s);
		}
	}
	update_watch(s);
	end(s);
}

uint64_t
stream_bytes_in(const struct stream *s)
{
	return s->bytes_in;
}

uint64_t
stream_bytes_out(const struct stream *s)
{
	return s->bytes_out;
}

struct loop *
stream_loop(const struct stream *s)
{
	return s->loop;
}
