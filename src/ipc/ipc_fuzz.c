/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Bytes of a captured peer. The first chooses a pair of roles and whether a request is open, the second how the rest is cut
 * into pieces; the rest goes into a channel, and all payloads that it brings through every decoder.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
decode_all(struct bytes payload)
{
#define TRY(name, FIELDS)                                                                                    \
	{                                                                                                    \
		struct msg_##name m;                                                                         \
		struct buf again = BUF_INIT(IPC_PAYLOAD_MAX);                                                \
		if (msg_##name##_decode(payload, &m) == ERR_OK &&                                            \
		    (msg_##name##_encode(&again, &m) != ERR_OK ||                                            \
		     !bytes_equal(buf_bytes(&again), payload))) {                                            \
			abort();                                                                             \
		}                                                                                            \
		buf_clear(&again);                                                                           \
	}
	IPC_PAYLOADS(TRY)
}

struct state {
	struct channel *ch;
	enum role self;
	enum role peer;
	unsigned answers;
};

static void
on_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct state *s = arg;
	const struct msg_rule *r = msg_rule(m->type);
	/* Nothing comes through that the table does not allow. */
	if (r == NULL || (r->from & ROLE_BIT(s->peer)) == 0 || (r->to & ROLE_BIT(s->self)) == 0 ||
	    m->payload.len > r->max || m->fd >= 0) {
		abort();
	}
	decode_all(m->payload);
	if (r->kind == IPC_REQUEST && channel_answer(ch, m->type, m->id, ERR_AGAIN) != ERR_OK) {
		abort();
	}
}

static void
on_closed(void *arg, struct channel *ch, bool fault)
{
	struct state *s = arg;
	(void)fault;
	if (ch != s->ch) {
		abort();
	}
	channel_destroy(&s->ch);
}

static void
on_reply(void *arg, enum err status, struct bytes payload)
{
	struct state *s = arg;
	(void)status;
	decode_all(payload);
	if (++s->answers > 1) {
		abort();
	}
}

static enum err
ask(struct state *s)
{
	for (unsigned t = 1; t < MSG__COUNT; t++) {
		const struct msg_rule *r = msg_rule(t);
		if (r->kind == IPC_REQUEST && (r->from & ROLE_BIT(s->self)) != 0 &&
		    (r->to & ROLE_BIT(s->peer)) != 0) {
			return channel_request_empty(s->ch, (enum msg_type)t, 0, on_reply, s);
		}
	}
	return ERR_NOT_FOUND;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct channel_events events = {.message = on_message, .closed = on_closed};
	if (size < 2) {
		return 0;
	}
	decode_all(bytes_of(data + 2, size - 2));
	struct state s = {.self = (enum role)(1 + (data[0] & 15) % (ROLE__COUNT - 1)),
			  .peer = (enum role)(1 + (data[0] >> 4) % (ROLE__COUNT - 1))};
	struct loop *loop = NULL;
	int fds[2];
	if (loop_create(&loop) != ERR_OK || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0 ||
	    channel_create(loop, fds[0], s.self, s.peer, 0, &events, &s, &s.ch) != ERR_OK) {
		abort();
	}
	bool asked = (data[1] & 1) != 0 && ask(&s) == ERR_OK;
	size_t step = 1 + (size_t)(data[1] >> 1) * 7;
	for (size_t at = 2; at < size && s.ch != NULL; at += step) {
		size_t n = size - at < step ? size - at : step;
		if (write(fds[1], data + at, n) != (ssize_t)n || loop_run_once(loop, 0) != ERR_OK) {
			break;
		}
	}
	(void)shutdown(fds[1], SHUT_WR);
	for (int i = 0; i < 4; i++) {
		if (loop_run_once(loop, 0) != ERR_OK) {
			abort();
		}
	}
	if (s.ch != NULL || (asked && s.answers != 1)) {
		abort();
	}
	(void)close(fds[1]);
	loop_destroy(&loop);
	return 0;
}
