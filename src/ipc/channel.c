/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/channel_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One for all channels of the process: filled and emptied within one callback. */
static uint8_t receive_area[CHANNEL_BATCH];

void
channel_end_as(struct channel *ch, bool fault)
{
	if (ch->closed) {
		return;
	}
	ch->closed = true;
	ch->fault = fault;
	watch_stop(&ch->watch);
	defer_stop(&ch->flush);
	defer_stop(&ch->kept);
	defer_start(ch->loop, &ch->ended);
}

void
channel_free_pending(struct channel *ch, struct pending *p)
{
	timer_stop(&p->timer);
	ch->slots[p->id & (CHANNEL_PENDING_MAX - 1)] = NULL;
	free(p);
}

static void
on_ended(struct defer *d)
{
	struct channel *ch = d->arg;
	bool destroyed = false;
	ch->destroyed = &destroyed;
	for (size_t i = 0; !destroyed && i < ch->slot_count; i++) {
		struct pending *p = ch->slots[i];
		if (p != NULL) {
			channel_reply_fn *fn = p->fn;
			void *arg = p->arg;
			channel_free_pending(ch, p);
			if (fn != NULL) {
				fn(arg, ERR_CLOSED, BYTES_EMPTY);
			}
		}
	}
	if (destroyed) {
		return;
	}
	ch->destroyed = NULL;
	ch->events->closed(ch->arg, ch, ch->fault);
}

static void
dispatch_reply(struct channel *ch, unsigned type, uint8_t status, uint32_t id, struct bytes payload)
{
	size_t slot = id & (CHANNEL_PENDING_MAX - 1);
	struct pending *p = slot < ch->slot_count ? ch->slots[slot] : NULL;
	if (p == NULL || p->id != id || p->type != type || status >= ERR__COUNT ||
	    (status != ERR_OK && payload.len != 0)) {
		channel_end_as(ch, true);
		return;
	}
	channel_reply_fn *fn = p->fn;
	void *arg = p->arg;
	channel_free_pending(ch, p);
	if (fn != NULL) {
		fn(arg, (enum err)status, payload);
	}
}

uint32_t
channel_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

const struct msg_rule *
channel_rule_of(const struct channel *ch, const uint8_t header[CHANNEL_HEADER])
{
	const struct msg_rule *rule = msg_rule((unsigned)header[4] << 8 | header[5]);
	uint8_t kind = header[6];
	uint8_t status = header[7];
	if (rule == NULL || channel_get32(header) > rule->max) {
		return NULL;
	}
	bool allowed = kind == CHANNEL_FRAME_REPLY
			   ? rule->kind == IPC_REQUEST && (rule->from & ROLE_BIT(ch->self)) != 0 &&
				 (rule->to & ROLE_BIT(ch->peer)) != 0
			   : kind == (uint8_t)rule->kind && status == 0 &&
				 (rule->from & ROLE_BIT(ch->peer)) != 0 &&
				 (rule->to & ROLE_BIT(ch->self)) != 0;
	return allowed ? rule : NULL;
}

/*
 * Handles one frame at the front of `data`; gives its size, 0 where it is not complete. `fd` is
 * taken by the frame that may carry one.
 */
static size_t
dispatch_frame(struct channel *ch, struct bytes data, int *fd)
{
	if (data.len < CHANNEL_HEADER) {
		return 0;
	}
	uint32_t len = channel_get32(data.ptr);
	unsigned type = (unsigned)data.ptr[4] << 8 | data.ptr[5];
	uint8_t kind = data.ptr[6];
	uint8_t status = data.ptr[7];
	uint32_t id = channel_get32(data.ptr + 8);
	const struct msg_rule *rule = channel_rule_of(ch, data.ptr);
	if (rule == NULL) {
		channel_end_as(ch, true);
		return 0;
	}
	bool is_reply = kind == CHANNEL_FRAME_REPLY;
	if (data.len - CHANNEL_HEADER < len) {
		return 0;
	}
	struct bytes payload = bytes_slice(data, CHANNEL_HEADER, len);
	if (is_reply) {
		dispatch_reply(ch, type, status, id, payload);
		return CHANNEL_HEADER + len;
	}
	struct channel_message m = {.type = (enum msg_type)type, .id = id, .payload = payload, .fd = -1};
	if (rule->descriptor) {
		if (*fd < 0) {
			channel_end_as(ch, true);
			return 0;
		}
		m.fd = *fd;
		*fd = -1;
	}
	ch->events->message(ch->arg, ch, &m);
	return CHANNEL_HEADER + len;
}

/* All whole frames of `data`; gives how many bytes they took. Stops when the channel ends or is destroyed. */
static size_t
dispatch_all(struct channel *ch, struct bytes data, int *fd, bool *destroyed)
{
	size_t taken = 0;
	while (!*destroyed && !ch->closed) {
		size_t n = dispatch_frame(ch, bytes_from(data, taken), fd);
		if (n == 0) {
			break;
		}
		taken += n;
	}
	return taken;
}

/* The same with what is kept. */
static void
dispatch_kept(struct channel *ch, int *fd, bool *destroyed)
{
	struct buf in = ch->in;
	buf_init(&ch->in, in.max);
	size_t taken = dispatch_all(ch, buf_bytes(&in), fd, destroyed);
	if (*destroyed || ch->closed || taken == in.len) {
		buf_wipe(&in);
	} else {
		buf_consume(&in, taken);
		ch->in = in;
	}
}

/* What came while channel_ask() waited for something else. */
static void
on_kept(struct defer *d)
{
	struct channel *ch = d->arg;
	int fd = -1;
	bool destroyed = false;
	if (ch->closed) {
		return;
	}
	ch->destroyed = &destroyed;
	dispatch_kept(ch, &fd, &destroyed);
	if (!destroyed) {
		ch->destroyed = NULL;
	}
}

/* The descriptor that came along, -1 without; false where more than one came. */
static bool
take_fd(struct msghdr *h, int *ret_fd)
{
	bool one = true;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			continue;
		}
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (*ret_fd < 0) {
				*ret_fd = fd;
			} else {
				(void)close(fd);
				one = false;
			}
		}
	}
	return one && (h->msg_flags & MSG_CTRUNC) == 0;
}

/* Whether the incomplete frame at the front may still turn out to be one with a descriptor. */
static bool
may_carry(struct bytes in)
{
	enum { TYPE_END = 6 };
	const struct msg_rule *rule =
	    in.len < TYPE_END ? NULL : msg_rule((unsigned)in.ptr[4] << 8 | in.ptr[5]);
	return in.len > 0 && (in.len < TYPE_END || (rule != NULL && rule->descriptor));
}

static void
on_readable(struct channel *ch)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = receive_area, .iov_len = sizeof(receive_area)};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	ssize_t got = recvmsg(ch->fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR) {
			channel_end_as(ch, false);
		}
		return;
	}
	int fd = -1;
	bool fine = take_fd(&h, &fd);
	bool destroyed = false;
	if (ch->in_fd >= 0) {
		if (fd >= 0) {
			(void)close(fd);
			fine = false;
		}
		fd = ch->in_fd;
		ch->in_fd = -1;
	}
	ch->destroyed = &destroyed;
	if (got == 0 || !fine) {
		channel_end_as(ch, !fine);
	} else {
		struct bytes data = bytes_of(receive_area, (size_t)got);
		size_t taken = 0;
		if (ch->in.len > 0) {
			/* Behind the incomplete frame; what is then complete is handled from there. */
			if (buf_append(&ch->in, data) != ERR_OK) {
				channel_end_as(ch, false);
			} else {
				dispatch_kept(ch, &fd, &destroyed);
			}
		} else {
			taken = dispatch_all(ch, data, &fd, &destroyed);
			if (!destroyed && !ch->closed && taken < data.len &&
			    buf_append(&ch->in, bytes_from(data, taken)) != ERR_OK) {
				channel_end_as(ch, false);
			}
		}
		explicit_bzero(receive_area, (size_t)got);
	}
	if (fd >= 0 && !destroyed && !ch->closed && may_carry(buf_bytes(&ch->in))) {
		/* The kernel gives it with the first byte of its frame; the rest is still to come. */
		ch->in_fd = fd;
	} else if (fd >= 0) {
		/* A descriptor that no frame of this batch may carry. */
		(void)close(fd);
		if (!destroyed) {
			channel_end_as(ch, true);
		}
	}
	if (!destroyed) {
		ch->destroyed = NULL;
	}
}

static void
on_watch(struct watch *w, unsigned events)
{
	struct channel *ch = w->arg;
	if ((events & LOOP_WRITE) != 0) {
		channel_flush(ch);
	}
	if (!ch->closed && (events & (LOOP_READ | LOOP_HANGUP)) != 0) {
		on_readable(ch);
	}
}

enum err
channel_create(struct loop *loop, int fd, enum role self, enum role peer, unsigned peer_index,
	       const struct channel_events *events, void *arg, struct channel **ret)
{
	static uint64_t serials;
	struct channel *ch = calloc(1, sizeof(*ch));
	if (ch == NULL) {
		return ERR_MEMORY;
	}
	ch->serial = ++serials;
	ch->in_fd = -1;
	ch->loop = loop;
	ch->fd = fd;
	ch->self = self;
	ch->peer = peer;
	ch->peer_index = peer_index;
	ch->events = events;
	ch->arg = arg;
	buf_init(&ch->in, CHANNEL_HEADER + IPC_UNIT_MAX + CHANNEL_BATCH);
	buf_init(&ch->out, CHANNEL_QUEUE_MAX);
	watch_init(&ch->watch, on_watch, ch);
	defer_init(&ch->flush, channel_on_flush, ch);
	defer_init(&ch->ended, on_ended, ch);
	defer_init(&ch->kept, on_kept, ch);
	enum err e = watch_start(loop, &ch->watch, fd, LOOP_READ);
	if (e != ERR_OK) {
		free(ch);
		return e;
	}
	*ret = ch;
	return ERR_OK;
}

void
channel_destroy(struct channel **chp)
{
	struct channel *ch = *chp;
	if (ch == NULL) {
		return;
	}
	*chp = NULL;
	if (ch->destroyed != NULL) {
		*ch->destroyed = true;
	}
	if (!ch->closed) {
		/* What was queued is tried once: a last reply or notice. */
		channel_flush(ch);
	}
	watch_stop(&ch->watch);
	defer_stop(&ch->flush);
	defer_stop(&ch->kept);
	defer_stop(&ch->ended);
	for (size_t i = 0; i < ch->slot_count; i++) {
		if (ch->slots[i] != NULL) {
			channel_free_pending(ch, ch->slots[i]);
		}
	}
	free(ch->slots);
	if (ch->in_fd >= 0) {
		(void)close(ch->in_fd);
	}
	buf_wipe(&ch->in);
	buf_wipe(&ch->out);
	(void)close(ch->fd);
	free(ch);
}

enum role
channel_peer(const struct channel *ch)
{
	return ch->peer;
}

unsigned
channel_peer_index(const struct channel *ch)
{
	return ch->peer_index;
}

uint64_t
channel_serial(const struct channel *ch)
{
	return ch->serial;
}

void
channel_forget(struct channel *ch, const void *arg)
{
	for (size_t i = 0; ch != NULL && i < ch->slot_count; i++) {
		if (ch->slots[i] != NULL && ch->slots[i]->arg == arg) {
			ch->slots[i]->fn = NULL;
		}
	}
}

void
channel_fault(struct channel *ch)
{
	channel_end_as(ch, true);
}

void
channel_end(struct channel *ch)
{
	channel_end_as(ch, false);
}
