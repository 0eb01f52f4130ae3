/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/task.h"

enum {
	HEADER = 12,
	FRAME_REPLY = 3, /* beside enum ipc_kind */
	RECEIVE_BYTES = 256 * 1024,
	SLOT_BITS = 20,
	PENDING_MAX = 1 << SLOT_BITS,
};

struct pending {
	struct channel *ch;
	channel_reply_fn *fn; /* NULL: forgotten, the reply is dropped */
	void *arg;
	enum msg_type type;
	uint32_t id; /* 0: free slot */
	struct timer timer;
};

struct channel {
	struct loop *loop;
	struct watch watch;
	struct defer flush;
	struct defer ended;
	const struct channel_events *events;
	void *arg;
	enum role self;
	enum role peer;
	unsigned peer_index;
	int fd;
	bool closed; /* nothing is sent or received any more */
	bool fault;
	bool *destroyed; /* set when destroyed during a dispatch */
	struct buf in;   /* an incomplete frame */
	int in_fd;       /* the descriptor that came with the incomplete frame's first bytes; -1 without */
	struct buf out;
	size_t out_sent;
	uint64_t serial;

	/* What was started and not finished. */
	size_t start_at;
	struct pending *start_pending;
	enum err start_error;

	struct pending **slots;
	size_t slot_count;
	uint32_t round;
	size_t next_slot;
};

/* One for all channels of the process: filled and emptied within one callback. */
static uint8_t receive_area[RECEIVE_BYTES];

static void flush_now(struct channel *ch);

static void
end(struct channel *ch, bool fault)
{
	if (ch->closed) {
		return;
	}
	ch->closed = true;
	ch->fault = fault;
	watch_stop(&ch->watch);
	defer_stop(&ch->flush);
	defer_start(ch->loop, &ch->ended);
}

static void
free_pending(struct channel *ch, struct pending *p)
{
	timer_stop(&p->timer);
	ch->slots[p->id & (PENDING_MAX - 1)] = NULL;
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
			free_pending(ch, p);
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
on_deadline(struct timer *t)
{
	struct pending *p = t->arg;
	channel_reply_fn *fn = p->fn;
	/* The slot stays until the late reply comes, so that it is known and dropped. */
	p->fn = NULL;
	if (fn != NULL) {
		fn(p->arg, ERR_TIMEOUT, BYTES_EMPTY);
	}
}

static void
dispatch_reply(struct channel *ch, unsigned type, uint8_t status, uint32_t id, struct bytes payload)
{
	size_t slot = id & (PENDING_MAX - 1);
	struct pending *p = slot < ch->slot_count ? ch->slots[slot] : NULL;
	if (p == NULL || p->id != id || p->type != type || status >= ERR__COUNT ||
	    (status != ERR_OK && payload.len != 0)) {
		end(ch, true);
		return;
	}
	channel_reply_fn *fn = p->fn;
	void *arg = p->arg;
	free_pending(ch, p);
	if (fn != NULL) {
		fn(arg, (enum err)status, payload);
	}
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/*
 * Handles one frame at the front of `data`; gives its size, 0 where it is not complete. `fd` is
 * taken by the frame that may carry one.
 */
static size_t
dispatch_frame(struct channel *ch, struct bytes data, int *fd)
{
	if (data.len < HEADER) {
		return 0;
	}
	uint32_t len = get32(data.ptr);
	unsigned type = (unsigned)data.ptr[4] << 8 | data.ptr[5];
	uint8_t kind = data.ptr[6];
	uint8_t status = data.ptr[7];
	uint32_t id = get32(data.ptr + 8);
	const struct msg_rule *rule = msg_rule(type);
	if (rule == NULL || len > rule->max) {
		end(ch, true);
		return 0;
	}
	bool is_reply = kind == FRAME_REPLY;
	bool allowed = is_reply ? rule->kind == IPC_REQUEST && (rule->from & ROLE_BIT(ch->self)) != 0 &&
				      (rule->to & ROLE_BIT(ch->peer)) != 0
				: kind == (uint8_t)rule->kind && status == 0 &&
				      (rule->from & ROLE_BIT(ch->peer)) != 0 &&
				      (rule->to & ROLE_BIT(ch->self)) != 0;
	if (!allowed) {
		end(ch, true);
		return 0;
	}
	if (data.len - HEADER < len) {
		return 0;
	}
	struct bytes payload = bytes_slice(data, HEADER, len);
	if (is_reply) {
		dispatch_reply(ch, type, status, id, payload);
		return HEADER + len;
	}
	struct channel_message m = {.type = (enum msg_type)type, .id = id, .payload = payload, .fd = -1};
	if (rule->descriptor) {
		if (*fd < 0) {
			end(ch, true);
			return 0;
		}
		m.fd = *fd;
		*fd = -1;
	}
	ch->events->message(ch->arg, ch, &m);
	return HEADER + len;
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
			end(ch, false);
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
		end(ch, !fine);
	} else {
		struct bytes data = bytes_of(receive_area, (size_t)got);
		size_t taken = 0;
		if (ch->in.len > 0) {
			/* Behind the incomplete frame; what is then complete is handled from there. */
			enum err e = buf_append(&ch->in, data);
			if (e != ERR_OK) {
				end(ch, false);
			} else {
				struct buf in = ch->in;
				buf_init(&ch->in, in.max);
				taken = dispatch_all(ch, buf_bytes(&in), &fd, &destroyed);
				if (destroyed || ch->closed || taken == in.len) {
					buf_wipe(&in);
				} else {
					buf_consume(&in, taken);
					ch->in = in;
				}
			}
		} else {
			taken = dispatch_all(ch, data, &fd, &destroyed);
			if (!destroyed && !ch->closed && taken < data.len &&
			    buf_append(&ch->in, bytes_from(data, taken)) != ERR_OK) {
				end(ch, false);
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
			end(ch, true);
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
		flush_now(ch);
	}
	if (!ch->closed && (events & (LOOP_READ | LOOP_HANGUP)) != 0) {
		on_readable(ch);
	}
}

/* What was sent leaves the front of the queue once it is the larger half: a peer that never catches up
 * must not make it grow for ever. */
static void
drop_sent(struct channel *ch)
{
	size_t left = ch->out.len - ch->out_sent;
	if (ch->out_sent < RECEIVE_BYTES || ch->out_sent < left) {
		return;
	}
	memcpy(ch->out.ptr, ch->out.ptr + ch->out_sent, left);
	explicit_bzero(ch->out.ptr + left, ch->out_sent);
	buf_truncate(&ch->out, left);
	ch->out_sent = 0;
}

static void
flush_now(struct channel *ch)
{
	while (!ch->closed && ch->out_sent < ch->out.len) {
		ssize_t n = send(ch->fd, ch->out.ptr + ch->out_sent, ch->out.len - ch->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			if (errno == EINTR) {
				continue;
			}
			if (errno != EAGAIN) {
				/* What the peer said before it went is still read. */
				if (errno != EPIPE && errno != ECONNRESET) {
					end(ch, false);
				}
				buf_wipe(&ch->out);
				ch->out_sent = 0;
				return;
			}
			drop_sent(ch);
			if (watch_change(&ch->watch, LOOP_READ | LOOP_WRITE) != ERR_OK) {
				end(ch, false);
			}
			return;
		}
		ch->out_sent += (size_t)n;
	}
	if (ch->closed) {
		return;
	}
	if (ch->out.cap > RECEIVE_BYTES) {
		buf_wipe(&ch->out);
	} else if (ch->out.ptr != NULL) {
		explicit_bzero(ch->out.ptr, ch->out.len);
		buf_reset(&ch->out);
	}
	ch->out_sent = 0;
	if ((ch->watch.events & LOOP_WRITE) != 0 && watch_change(&ch->watch, LOOP_READ) != ERR_OK) {
		end(ch, false);
	}
}

static void
on_flush(struct defer *d)
{
	flush_now(d->arg);
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
	buf_init(&ch->in, HEADER + IPC_PAYLOAD_MAX + RECEIVE_BYTES);
	buf_init(&ch->out, CHANNEL_QUEUE_MAX);
	watch_init(&ch->watch, on_watch, ch);
	defer_init(&ch->flush, on_flush, ch);
	defer_init(&ch->ended, on_ended, ch);
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
		flush_now(ch);
	}
	watch_stop(&ch->watch);
	defer_stop(&ch->flush);
	defer_stop(&ch->ended);
	for (size_t i = 0; i < ch->slot_count; i++) {
		if (ch->slots[i] != NULL) {
			free_pending(ch, ch->slots[i]);
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

size_t
channel_queued(const struct channel *ch)
{
	return ch->out.len - ch->out_sent;
}

struct buf *
channel_out(struct channel *ch)
{
	return &ch->out;
}

static void
start(struct channel *ch, enum msg_type type, uint8_t kind, uint32_t id)
{
	const struct msg_rule *rule = msg_rule(type);
	bool from_here =
	    rule != NULL && (rule->from & ROLE_BIT(ch->self)) != 0 && (rule->to & ROLE_BIT(ch->peer)) != 0;
	bool to_here =
	    rule != NULL && (rule->from & ROLE_BIT(ch->peer)) != 0 && (rule->to & ROLE_BIT(ch->self)) != 0;
	if (kind == FRAME_REPLY ? !to_here || rule->kind != IPC_REQUEST
				: !from_here || kind != (uint8_t)rule->kind) {
		panic("a message that the table does not allow");
	}
	ch->start_error = ch->closed ? ERR_CLOSED : ERR_OK;
	ch->start_at = ch->out.len;
	ch->start_pending = NULL;
	uint8_t header[HEADER] = {0,
				  0,
				  0,
				  0,
				  (uint8_t)((unsigned)type >> 8),
				  (uint8_t)type,
				  kind,
				  0,
				  (uint8_t)(id >> 24),
				  (uint8_t)(id >> 16),
				  (uint8_t)(id >> 8),
				  (uint8_t)id};
	if (ch->start_error == ERR_OK) {
		ch->start_error = buf_append(&ch->out, bytes_of(header, HEADER));
	}
}

enum err
channel_finish(struct channel *ch, enum err encoded)
{
	enum err e = ch->start_error != ERR_OK ? ch->start_error : encoded;
	size_t len = ch->out.len - ch->start_at;
	if (e == ERR_OK) {
		const uint8_t *head = ch->out.ptr + ch->start_at;
		const struct msg_rule *rule = msg_rule((unsigned)head[4] << 8 | head[5]);
		if (rule == NULL || len - HEADER > rule->max) {
			e = ERR_LIMIT;
		}
	}
	if (e != ERR_OK) {
		buf_truncate(&ch->out, ch->start_at);
		if (ch->start_pending != NULL) {
			free_pending(ch, ch->start_pending);
			ch->start_pending = NULL;
		}
		return e;
	}
	uint8_t *p = ch->out.ptr + ch->start_at;
	len -= HEADER;
	p[0] = (uint8_t)(len >> 24);
	p[1] = (uint8_t)(len >> 16);
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	ch->start_pending = NULL;
	if (!defer_is_queued(&ch->flush)) {
		defer_start_last(ch->loop, &ch->flush);
	}
	return ERR_OK;
}

void
channel_start_notice(struct channel *ch, enum msg_type type)
{
	start(ch, type, IPC_NOTICE, 0);
}

static enum err
grow_slots(struct channel *ch)
{
	size_t count = ch->slot_count == 0 ? 16 : ch->slot_count * 2;
	if (count > PENDING_MAX) {
		return ERR_LIMIT;
	}
	struct pending **slots = calloc(count, sizeof(struct pending *));
	if (slots == NULL) {
		return ERR_MEMORY;
	}
	if (ch->slot_count > 0) {
		memcpy(slots, ch->slots, ch->slot_count * sizeof(struct pending *));
	}
	ch->next_slot = ch->slot_count;
	free(ch->slots);
	ch->slots = slots;
	ch->slot_count = count;
	return ERR_OK;
}

static enum err
add_pending(struct channel *ch, enum msg_type type, msec deadline, channel_reply_fn *fn, void *arg,
	    struct pending **ret)
{
	size_t tried = 0;
	while (tried < ch->slot_count && ch->slots[ch->next_slot % ch->slot_count] != NULL) {
		ch->next_slot++;
		tried++;
		/* A nearly full table is doubled rather than searched through. */
		if (tried > 64) {
			tried = ch->slot_count;
		}
	}
	if (tried >= ch->slot_count) {
		enum err e = grow_slots(ch);
		if (e != ERR_OK) {
			return e;
		}
	}
	size_t slot = ch->next_slot % ch->slot_count;
	ch->next_slot = slot + 1;
	struct pending *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return ERR_MEMORY;
	}
	ch->round = (ch->round + 1) & 0xfff;
	if (ch->round == 0) {
		ch->round = 1;
	}
	p->ch = ch;
	p->fn = fn;
	p->arg = arg;
	p->type = type;
	p->id = ch->round << SLOT_BITS | (uint32_t)slot;
	timer_init(&p->timer, on_deadline, p);
	if (deadline > 0) {
		enum err e = timer_start(ch->loop, &p->timer, deadline);
		if (e != ERR_OK) {
			free(p);
			return e;
		}
	}
	ch->slots[slot] = p;
	*ret = p;
	return ERR_OK;
}

void
channel_start_request(struct channel *ch, enum msg_type type, msec deadline, channel_reply_fn *fn, void *arg)
{
	struct pending *p = NULL;
	enum err e = ch->closed ? ERR_CLOSED : add_pending(ch, type, deadline, fn, arg, &p);
	start(ch, type, IPC_REQUEST, p == NULL ? 0 : p->id);
	if (e != ERR_OK) {
		ch->start_error = e;
	}
	ch->start_pending = p;
}

void
channel_start_reply(struct channel *ch, enum msg_type type, uint32_t id)
{
	start(ch, type, FRAME_REPLY, id);
}

enum err
channel_notice_empty(struct channel *ch, enum msg_type type)
{
	channel_start_notice(ch, type);
	return channel_finish(ch, ERR_OK);
}

enum err
channel_request_empty(struct channel *ch, enum msg_type type, msec deadline, channel_reply_fn *fn, void *arg)
{
	channel_start_request(ch, type, deadline, fn, arg);
	return channel_finish(ch, ERR_OK);
}

enum err
channel_answer(struct channel *ch, enum msg_type type, uint32_t id, enum err status)
{
	channel_start_reply(ch, type, id);
	if (ch->start_error == ERR_OK) {
		ch->out.ptr[ch->start_at + 7] = (uint8_t)status;
	}
	return channel_finish(ch, ERR_OK);
}

enum err
channel_notice_fd(struct channel *ch, enum msg_type type, struct bytes payload, int fd)
{
	const struct msg_rule *rule = msg_rule(type);
	if (rule == NULL || !rule->descriptor || payload.len > rule->max) {
		panic("a descriptor that the table does not allow");
	}
	/* All that is before it must be out, so that it travels with its own frame's first byte. */
	flush_now(ch);
	if (ch->closed || ch->out.len > 0) {
		return ch->closed ? ERR_CLOSED : ERR_AGAIN;
	}
	start(ch, type, IPC_NOTICE, 0);
	enum err e = channel_finish(ch, buf_append(&ch->out, payload));
	if (e != ERR_OK) {
		return e;
	}
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	memset(&control, 0, sizeof(control));
	struct iovec iov = {.iov_base = ch->out.ptr, .iov_len = ch->out.len};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	ssize_t n = sendmsg(ch->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n != (ssize_t)ch->out.len) {
		end(ch, false);
		return ERR_CLOSED;
	}
	buf_reset(&ch->out);
	return ERR_OK;
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
	end(ch, true);
}

void
channel_end(struct channel *ch)
{
	end(ch, false);
}

void
channel_flush(struct channel *ch)
{
	flush_now(ch);
}

/* A task that waits for a reply. */
struct call {
	struct task *task;
	struct buf *reply;
	bool done;
	enum err status;
};

static void
on_call_reply(void *arg, enum err status, struct bytes payload)
{
	struct call *c = arg;
	c->done = true;
	c->status = status;
	if (status == ERR_OK && c->reply != NULL) {
		c->status = buf_append(c->reply, payload);
	}
	task_wake(c->task, ERR_OK);
}

void
channel_call_start(struct channel *ch, enum msg_type type, msec deadline)
{
	/* fn and arg are set by finish, which knows where the call's state lies. */
	channel_start_request(ch, type, deadline, on_call_reply, NULL);
}

enum err
channel_call_finish(struct channel *ch, enum err encoded, struct buf *ret_reply)
{
	struct call c = {.task = task_current(), .reply = ret_reply, .done = false, .status = ERR_CLOSED};
	if (c.task == NULL) {
		panic("channel_call outside of a task");
	}
	if (ch->start_pending != NULL) {
		ch->start_pending->arg = &c;
	}
	enum err e = channel_finish(ch, encoded);
	if (e != ERR_OK) {
		return e;
	}
	while (!c.done) {
		e = task_suspend();
		if (e == ERR_CLOSED && !c.done) {
			channel_forget(ch, &c);
			return ERR_CLOSED;
		}
	}
	return c.status;
}

enum err
channel_call_empty(struct channel *ch, enum msg_type type, msec deadline, struct buf *ret_reply)
{
	if (ch == NULL) {
		return ERR_CLOSED;
	}
	channel_call_start(ch, type, deadline);
	return channel_call_finish(ch, ERR_OK, ret_reply);
}
