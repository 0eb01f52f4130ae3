/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/channel_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { ASK_STEP = 16 * 1024 };

void
channel_ask_start(struct channel *ch, enum msg_type type)
{
	channel_start_request(ch, type, 0, NULL, NULL);
}

/* Cuts a frame out of what is kept. */
static void
cut(struct buf *in, size_t at, size_t len)
{
	size_t behind = in->len - at - len;
	memmove(in->ptr + at, in->ptr + at + len, behind);
	explicit_bzero(in->ptr + at + behind, len);
	buf_truncate(in, at + behind);
}

/*
 * Looks through the whole frames of what is kept, from *at on, for the reply; true: it was there and is taken. What else
 * stands there is left to the loop, a forbidden frame as well.
 */
static bool
find_reply(struct channel *ch, struct pending *p, size_t *at, struct buf *ret_reply, enum err *ret_status)
{
	for (;;) {
		struct bytes rest = bytes_from(buf_bytes(&ch->in), *at);
		if (rest.len < CHANNEL_HEADER) {
			return false;
		}
		if (channel_rule_of(ch, rest.ptr) == NULL) {
			channel_end_as(ch, true);
			return false;
		}
		size_t len = channel_get32(rest.ptr);
		if (rest.len - CHANNEL_HEADER < len) {
			return false;
		}
		uint8_t status = rest.ptr[7];
		if (rest.ptr[6] == CHANNEL_FRAME_REPLY && channel_get32(rest.ptr + 8) == p->id) {
			if (((unsigned)rest.ptr[4] << 8 | rest.ptr[5]) != (unsigned)p->type ||
			    status >= ERR__COUNT || (status != ERR_OK && len != 0)) {
				channel_end_as(ch, true);
				return false;
			}
			*ret_status = (enum err)status;
			if (status == ERR_OK) {
				*ret_status = buf_append(ret_reply, bytes_slice(rest, CHANNEL_HEADER, len));
			}
			cut(&ch->in, *at, CHANNEL_HEADER + len);
			channel_free_pending(ch, p);
			return true;
		}
		*at += CHANNEL_HEADER + len;
	}
}

/* Waits for bytes and keeps them. */
static enum err
receive(struct channel *ch, msec left)
{
	struct pollfd pfd = {.fd = ch->fd,
			     .events = (short)(POLLIN | (channel_queued(ch) > 0 ? POLLOUT : 0))};
	int n = poll(&pfd, 1, (int)left);
	if (n < 0 && errno != EINTR) {
		return ERR_IO;
	}
	if (n <= 0 || (pfd.revents & ~POLLOUT) == 0) {
		return ERR_OK;
	}
	uint8_t area[ASK_STEP];
	ssize_t got = recv(ch->fd, area, sizeof(area), MSG_DONTWAIT);
	if (got < 0) {
		return errno == EAGAIN || errno == EINTR ? ERR_OK : ERR_CLOSED;
	}
	enum err e = got == 0 ? ERR_CLOSED : buf_append(&ch->in, bytes_of(area, (size_t)got));
	explicit_bzero(area, (size_t)got);
	return e;
}

enum err
channel_ask_finish(struct channel *ch, enum err encoded, msec limit, struct buf *ret_reply)
{
	struct pending *p = ch->start_pending;
	/* Within its own dispatch the frames lie elsewhere, and would get out of order. */
	enum err e = channel_finish(
	    ch, encoded == ERR_OK && (ch->destroyed != NULL || ch->in_fd >= 0) ? ERR_STATE : encoded);
	if (e != ERR_OK) {
		return e;
	}
	msec deadline = clock_monotonic() + limit;
	enum err status = ERR_OK;
	size_t at = 0;
	bool found = false;
	while (!found && e == ERR_OK) {
		msec left = deadline - clock_monotonic();
		channel_flush(ch);
		e = ch->closed ? ERR_CLOSED : left <= 0 ? ERR_TIMEOUT : receive(ch, left);
		found = e == ERR_OK && find_reply(ch, p, &at, ret_reply, &status);
		e = e == ERR_OK && ch->closed ? ERR_CLOSED : e;
	}
	if (e != ERR_OK && e != ERR_TIMEOUT) {
		channel_end_as(ch, false);
	}
	/* A late reply finds its place, and is dropped. */
	if (ch->in.len == 0) {
		buf_wipe(&ch->in);
	} else if (!ch->closed && !defer_is_queued(&ch->kept)) {
		defer_start(ch->loop, &ch->kept);
	}
	return found ? status : e;
}
