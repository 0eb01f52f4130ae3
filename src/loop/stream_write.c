/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/stream_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

enum { BATCH_WRITE_MAX = 64 * 1024 /* bytes given to one send(2) */ };

size_t
stream_write_max(const struct stream *s)
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
				stream_fail(s, errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED : ERR_IO);
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
	enum err e = stream_ssl_result(s, result, &ended);
	if (e != ERR_OK || ended) {
		stream_fail(s, ended ? ERR_CLOSED : e);
	}
	return 0;
}

/* Several TLS records leave in segments as full as the kernel can make them, not in one each. */
static void
cork(struct stream *s, bool on)
{
	int value = on ? 1 : 0;
	s->corked = on;
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

static void
write_queue(struct stream *s)
{
	if (s->tls == TLS_HANDSHAKE) {
		return;
	}
	if (stream_pad_turn(s) != ERR_OK) {
		stream_fail(s, ERR_STATE);
		return;
	}
	s->want_write = false;
	bool as_it_comes = s->plans == NULL && s->ladder == STREAM_LADDER_OFF;
	if (s->tls == TLS_OPEN && !s->corked &&
	    (stream_pad_goes_on(s) || (as_it_comes && stream_queued(s) > SSL3_RT_MAX_PLAIN_LENGTH))) {
		cork(s, true);
	}
	while (s->closing != DONE) {
		size_t most = s->tls == TLS_PENDING ? s->clear_left : stream_pad_next(s);
		size_t n = most == 0 ? 0 : send_some(s, s->out.ptr + s->out_at, most);
		if (n == 0) {
			break;
		}
		enum err e = s->tls == TLS_OPEN ? stream_pad_sent(s, n, most) : ERR_OK;
		if (e != ERR_OK) {
			stream_fail(s, e);
			return;
		}
		s->out_at += n;
		s->clear_left -= s->tls == TLS_PENDING ? n : 0;
		s->active_at = s->loop->now;
	}
	if (s->corked && s->closing == OPEN && !stream_pad_goes_on(s)) {
		cork(s, false);
	}
	if (s->closing != DONE && s->out_at == s->out.len) {
		buf_wipe(&s->out);
		s->out_at = 0;
	}
}

void
stream_on_flush(struct defer *d)
{
	struct stream *s = d->arg;
	stream_begin(s);
	if (s->closing == FLUSHING && stream_queued(s) > 0 && !s->corked) {
		/* The last words, TLS's own farewell and the end leave in one packet: shutdown(2) sends what is held back. */
		cork(s, true);
	}
	if (s->closing != DONE) {
		write_queue(s);
	}
	if (s->closing == OPEN && s->congested && stream_queued(s) <= low_water(s)) {
		s->congested = false;
		if (s->events != NULL && s->events->drained != NULL) {
			s->events->drained(s, s->arg);
		}
	}
	if (stream_is_alive(s) && s->closing == FLUSHING && !s->want_write && s->tls == TLS_OPEN &&
	    stream_queued(s) > 0 && stream_pad_next(s) == 0) {
		/* Records were promised whose bytes will not come: they cannot leave otherwise. */
		stream_fail(s, ERR_STATE);
	}
	if (stream_is_alive(s) && s->closing == FLUSHING &&
	    (stream_queued(s) == 0 || s->tls == TLS_HANDSHAKE ||
	     (s->tls == TLS_PENDING && s->clear_left == 0))) {
		stream_start_lingering(s);
	}
	if (stream_is_alive(s) && s->closing == OPEN && s->tls == TLS_PENDING && s->clear_left == 0) {
		s->tls = TLS_HANDSHAKE;
		if (SSL_is_server(s->ssl) == 0) {
			defer_start(s->loop, &s->work);
		}
	}
	stream_update_watch(s);
	stream_end(s);
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
	if (data.len > stream_write_max(s) - stream_queued(s)) {
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
	e = stream_pad_written(s);
	if (e != ERR_OK) {
		stream_fail(s, e);
		return e;
	}
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

uint64_t
stream_bytes_out(const struct stream *s)
{
	return s->bytes_out;
}
