/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/stream_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/secret.h"

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
		stream_update_watch(s);
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

bool
stream_takes_data(const struct stream *s)
{
	return stream_is_alive(s) && s->closing == OPEN && !s->paused &&
	       (s->tls == CLEAR || s->tls == TLS_OPEN);
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
	while (data.len > 0 && stream_takes_data(s)) {
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

void
stream_offer_held(struct stream *s)
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
		enum err e = stream_ssl_result(s, result, &ended);
		s->ended = s->ended || ended;
		if (e != ERR_OK) {
			stream_fail(s, e);
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
			stream_fail(s, errno == ECONNRESET || errno == EPIPE ? ERR_CLOSED : ERR_IO);
			return 0;
		}
	}
}

/* Whether reading on at once is worth a call; where it is not, and there is more, the kernel tells us again. */
static bool
may_have_more(const struct stream *s, size_t room, size_t n)
{
	if (s->ssl != NULL) {
		return n >= SSL3_RT_MAX_PLAIN_LENGTH || SSL_has_pending(s->ssl) == 1;
	}
	return n == (room < LOOP_READ_BUFFER ? room : LOOP_READ_BUFFER);
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
			stream_offer_held(s);
		}
	} else {
		struct bytes left = offer(s, fresh);
		if (!s->dead && left.len > 0) {
			e = buf_append(&s->held, left);
		}
	}
	if (e != ERR_OK) {
		stream_fail(s, e);
	}
}

void
stream_set_quick_ack(struct stream *s, bool on)
{
	s->quick_ack = on;
}

void
stream_read_in(struct stream *s)
{
	bool any = false;
	bool more = true;
	uint8_t *shared = s->loop->read_buffer;
	for (int i = 0; i < STREAM_READ_ROUNDS && more && stream_takes_data(s) && !s->ended; i++) {
		size_t room = stream_read_max(s) - s->held.len;
		if (room == 0) {
			return;
		}
		size_t n = receive_some(s, room);
		more = n > 0 && may_have_more(s, room, n);
		if (n > 0) {
			any = true;
			take_in(s, n);
			secret_wipe(shared, n);
		}
	}
	if (any && s->quick_ack && stream_is_alive(s)) {
		int one = 1;
		/* The kernel forgets it by itself; where it knows it not, the peer waits as it always did. */
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	}
	if (s->ended && !s->ended_told && stream_takes_data(s)) {
		s->ended_told = true;
		buf_wipe(&s->held);
		if (s->events->ended != NULL) {
			s->events->ended(s, s->arg);
		} else {
			stream_close(s);
		}
	} else if (more && stream_takes_data(s) && s->ssl != NULL && SSL_has_pending(s->ssl) == 1) {
		/* OpenSSL holds bytes that the kernel will not tell us about again. */
		defer_start(s->loop, &s->work);
	}
}

uint64_t
stream_bytes_in(const struct stream *s)
{
	return s->bytes_in;
}
