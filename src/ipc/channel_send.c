/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/channel_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/task.h"

/* What was sent leaves the front of the queue once it is the larger half: a peer that never catches up
 * must not make it grow for ever. */
static void
drop_sent(struct channel *ch)
{
	size_t left = ch->out.len - ch->out_sent;
	if (ch->out_sent < CHANNEL_BATCH || ch->out_sent < left) {
		return;
	}
	memcpy(ch->out.ptr, ch->out.ptr + ch->out_sent, left);
	explicit_bzero(ch->out.ptr + left, ch->out_sent);
	buf_truncate(&ch->out, left);
	ch->out_sent = 0;
}

void
channel_flush(struct channel *ch)
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
					channel_end_as(ch, false);
				}
				buf_wipe(&ch->out);
				ch->out_sent = 0;
				return;
			}
			drop_sent(ch);
			if (watch_change(&ch->watch, LOOP_READ | LOOP_WRITE) != ERR_OK) {
				channel_end_as(ch, false);
			}
			return;
		}
		ch->out_sent += (size_t)n;
	}
	if (ch->closed) {
		return;
	}
	if (ch->out.cap > CHANNEL_BATCH) {
		buf_wipe(&ch->out);
	} else if (ch->out.ptr != NULL) {
		explicit_bzero(ch->out.ptr, ch->out.len);
		buf_reset(&ch->out);
	}
	ch->out_sent = 0;
	if ((ch->watch.events & LOOP_WRITE) != 0 && watch_change(&ch->watch, LOOP_READ) != ERR_OK) {
		channel_end_as(ch, false);
	}
}

void
channel_on_flush(struct defer *d)
{
	channel_flush(d->arg);
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
	if (kind == CHANNEL_FRAME_REPLY ? !to_here || rule->kind != IPC_REQUEST
					: !from_here || kind != (uint8_t)rule->kind) {
		panic("a message that the table does not allow");
	}
	ch->start_error = ch->closed ? ERR_CLOSED : ERR_OK;
	ch->start_at = ch->out.len;
	ch->start_pending = NULL;
	uint8_t header[CHANNEL_HEADER] = {0,
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
		ch->start_error = buf_append(&ch->out, bytes_of(header, CHANNEL_HEADER));
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
		if (rule == NULL || len - CHANNEL_HEADER > rule->max) {
			e = ERR_LIMIT;
		}
	}
	if (e != ERR_OK) {
		buf_truncate(&ch->out, ch->start_at);
		if (ch->start_pending != NULL) {
			channel_free_pending(ch, ch->start_pending);
			ch->start_pending = NULL;
		}
		return e;
	}
	uint8_t *p = ch->out.ptr + ch->start_at;
	len -= CHANNEL_HEADER;
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
	if (count > CHANNEL_PENDING_MAX) {
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
	p->id = ch->round << CHANNEL_SLOT_BITS | (uint32_t)slot;
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
	start(ch, type, CHANNEL_FRAME_REPLY, id);
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
	channel_flush(ch);
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
		channel_end_as(ch, false);
		return ERR_CLOSED;
	}
	buf_reset(&ch->out);
	return ERR_OK;
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
