/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "resolver/tls_forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/secret.h"
#include "loop/stream.h"

enum {
	PENDING_MAX = 256,      /* questions on the way; a power of two */
	PENDING_MS = 15 * 1000, /* after which a place is given to another */
	DATAGRAMS_MAX = 64,     /* read in one turn */
	MESSAGE_MIN = 12,       /* a DNS header */
	QUESTION_MAX = 4096,    /* octets of a question */
	MESSAGE_MAX = 65535,
	IDLE_MS = 20 * 1000,
	PAD_BLOCK = 128, /* of questions, as RFC 8467 section 4.1 has it */
};

struct pending {
	struct sockaddr_in from;
	uint16_t id; /* libunbound's */
	uint16_t our_id;
	msec since;
	bool used;
};

struct tls_forward {
	struct loop *loop;
	const struct config_upstream *list;
	size_t count;
	size_t present; /* the server in use */
	struct tls_context *tls;
	int fd;
	struct watch watch;
	struct stream *stream;
	bool answered; /* on this connection */
	uint16_t counter;
	struct pending pending[PENDING_MAX];
};

static const struct stream_settings limits = {
    .read_max = 2 * (MESSAGE_MAX + 2), .write_max = 1 << 18, .handshake_ms = 10 * 1000, .close_ms = 2 * 1000};

/* ---- answers ---- */

static void
give_back(struct tls_forward *f, struct bytes message)
{
	if (message.len < MESSAGE_MIN) {
		return;
	}
	uint16_t id = (uint16_t)((unsigned)message.ptr[0] << 8 | message.ptr[1]);
	struct pending *p = &f->pending[id % PENDING_MAX];
	if (!p->used || p->our_id != id) {
		return;
	}
	p->used = false;
	f->answered = true;
	uint8_t octets[2] = {(uint8_t)(p->id >> 8), (uint8_t)p->id};
	struct iovec parts[2] = {{.iov_base = octets, .iov_len = 2}};
	union {
		const uint8_t *in;
		void *out; /* sendmsg does not write */
	} rest = {.in = message.ptr + 2};
	parts[1] = (struct iovec){.iov_base = rest.out, .iov_len = message.len - 2};
	struct msghdr m = {
	    .msg_name = &p->from, .msg_namelen = sizeof(p->from), .msg_iov = parts, .msg_iovlen = 2};
	/* One that is lost is asked for again. */
	ssize_t sent = sendmsg(f->fd, &m, MSG_NOSIGNAL);
	(void)sent;
}

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct tls_forward *f = arg;
	while (data.len >= 2) {
		size_t n = (size_t)data.ptr[0] << 8 | data.ptr[1];
		if (data.len < n + 2) {
			break;
		}
		give_back(f, bytes_slice(data, 2, n));
		stream_consume(s, n + 2);
		data = bytes_from(data, n + 2);
	}
}

static void
on_secured(struct stream *s, void *arg)
{
	(void)arg;
	enum err padded = stream_set_padding(s, PAD_BLOCK);
	(void)padded;
}

static void
on_closed(struct stream *s, void *arg, enum err why)
{
	struct tls_forward *f = arg;
	(void)s;
	(void)why;
	stream_destroy(&f->stream);
	if (!f->answered) {
		f->present = (f->present + 1) % f->count;
	}
	/* libunbound asks again what it was not told. */
	secret_wipe(f->pending, sizeof(f->pending));
}

static const struct stream_events callbacks = {.data = on_data, .secured = on_secured, .closed = on_closed};

/* ---- questions ---- */

static enum err
connect_to_server(struct tls_forward *f)
{
	const struct config_upstream *u = &f->list[f->present];
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(u->port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(u->port)};
	bool is_v6 = inet_pton(AF_INET6, u->address, &v6.sin6_addr) == 1;
	if (!is_v6 && inet_pton(AF_INET, u->address, &v4.sin_addr) != 1) {
		return ERR_FORMAT;
	}
	const struct sockaddr *to =
	    is_v6 ? (const struct sockaddr *)(const void *)&v6 : (const struct sockaddr *)(const void *)&v4;
	int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return ERR_IO;
	}
	enum err e = ERR_OK;
	if (connect(fd, to, is_v6 ? sizeof(v6) : sizeof(v4)) != 0 && errno != EINPROGRESS) {
		e = ERR_IO;
	}
	if (e == ERR_OK) {
		e = stream_create(f->loop, fd, &limits, &callbacks, f, &f->stream);
	}
	if (e != ERR_OK) {
		(void)close(fd);
		f->present = (f->present + 1) % f->count;
		return e;
	}
	f->answered = false;
	stream_set_idle(f->stream, IDLE_MS);
	e = stream_start_tls_client(f->stream, f->tls, u->tls_name, true, NULL);
	if (e != ERR_OK) {
		stream_destroy(&f->stream);
	}
	return e;
}

static void
pass_on(struct tls_forward *f, uint8_t *question, size_t n, const struct sockaddr_in *from)
{
	msec now = loop_now(f->loop);
	struct pending *p = NULL;
	for (unsigned i = 0; i < PENDING_MAX && p == NULL; i++) {
		f->counter++;
		struct pending *place = &f->pending[f->counter % PENDING_MAX];
		p = !place->used || now - place->since > PENDING_MS ? place : NULL;
	}
	if (p == NULL || (f->stream == NULL && connect_to_server(f) != ERR_OK)) {
		return;
	}
	*p = (struct pending){.from = *from,
			      .id = (uint16_t)((unsigned)question[2] << 8 | question[3]),
			      .our_id = f->counter,
			      .since = now,
			      .used = true};
	question[0] = (uint8_t)(n >> 8);
	question[1] = (uint8_t)n;
	question[2] = (uint8_t)(f->counter >> 8);
	question[3] = (uint8_t)f->counter;
	if (stream_write(f->stream, bytes_of(question, n + 2)) != ERR_OK) {
		p->used = false;
	}
}

static void
on_question(struct watch *w, unsigned events)
{
	struct tls_forward *f = w->arg;
	uint8_t octets[2 + QUESTION_MAX]; /* with room for the length */
	(void)events;
	for (unsigned i = 0; i < DATAGRAMS_MAX; i++) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		memset(&from, 0, sizeof(from));
		ssize_t n = recvfrom(f->fd, octets + 2, QUESTION_MAX, MSG_DONTWAIT,
				     (struct sockaddr *)(void *)&from, &len);
		if (n < 0) {
			break;
		}
		if (n >= MESSAGE_MIN && from.sin_family == AF_INET) {
			pass_on(f, octets, (size_t)n, &from);
		}
	}
	secret_wipe(octets, sizeof(octets));
}

static enum err
bind_port(struct tls_forward *f, uint16_t *ret_port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (f->fd < 0 || bind(f->fd, (const struct sockaddr *)(const void *)&at, len) != 0 ||
	    getsockname(f->fd, (struct sockaddr *)(void *)&at, &len) != 0) {
		return ERR_IO;
	}
	*ret_port = ntohs(at.sin_port);
	return watch_start(f->loop, &f->watch, f->fd, LOOP_READ);
}

enum err
tls_forward_create(struct loop *loop, const struct config_upstream *list, size_t count,
		   struct tls_context *tls, struct tls_forward **ret, uint16_t *ret_port)
{
	struct tls_forward *f = calloc(1, sizeof(*f));
	uint16_t port = 0;
	if (f == NULL) {
		return ERR_MEMORY;
	}
	f->loop = loop;
	f->list = list;
	f->count = count;
	f->tls = tls;
	watch_init(&f->watch, on_question, f);
	enum err e = bind_port(f, &port);
	if (e != ERR_OK) {
		if (f->fd >= 0) {
			(void)close(f->fd);
		}
		free(f);
		return e;
	}
	*ret = f;
	*ret_port = port;
	return ERR_OK;
}

int
tls_forward_descriptor(const struct tls_forward *f)
{
	return f->fd;
}
