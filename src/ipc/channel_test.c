/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "ipc/channel.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/task.h"

/* One end under test (a store, spoken to by a mixer), the other a channel too, or bare bytes. */
struct end {
	struct channel *ch;
	unsigned messages;
	unsigned closed;
	bool fault;
	bool destroy_on_message;
	bool answer;
	bool hold; /* keep ids instead of answering */
	uint32_t ids[64];
	enum msg_type type;
	struct buf payload; /* of the last message */
	int fd;
	unsigned replies;
	enum err status;
	bool destroy_on_reply;
};

static struct loop *loop;

static void
on_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct end *e = arg;
	if (e->hold && e->messages < 64) {
		e->ids[e->messages] = m->id;
	}
	e->messages++;
	e->type = m->type;
	buf_reset(&e->payload);
	assert_int_equal(buf_append(&e->payload, m->payload), ERR_OK);
	if (m->fd >= 0) {
		e->fd = m->fd;
	}
	if (e->destroy_on_message) {
		channel_destroy(&e->ch);
		return;
	}
	const struct msg_rule *rule = msg_rule(m->type);
	if (rule->kind == IPC_REQUEST && e->answer && !e->hold) {
		assert_int_equal(channel_answer(ch, m->type, m->id, ERR_QUOTA), ERR_OK);
	}
}

static void
on_closed(void *arg, struct channel *ch, bool fault)
{
	struct end *e = arg;
	e->closed++;
	e->fault = fault;
	assert_ptr_equal(ch, e->ch);
	channel_destroy(&e->ch);
}

static const struct channel_events events = {.message = on_message, .closed = on_closed};

static void
on_reply(void *arg, enum err status, struct bytes payload)
{
	struct end *e = arg;
	e->replies++;
	e->status = status;
	buf_reset(&e->payload);
	assert_int_equal(buf_append(&e->payload, payload), ERR_OK);
	if (e->destroy_on_reply) {
		channel_destroy(&e->ch);
	}
}

static void
end_init(struct end *e)
{
	memset(e, 0, sizeof(*e));
	e->fd = -1;
	buf_init(&e->payload, IPC_UNIT_MAX);
}

static void
end_clear(struct end *e)
{
	channel_destroy(&e->ch);
	buf_clear(&e->payload);
	if (e->fd >= 0) {
		(void)close(e->fd);
	}
}

static void
pair(int ret[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret), 0);
}

/* `self` at the end under test, bare bytes at the other. */
static int
open_bare(struct end *e, enum role self, enum role peer)
{
	int fds[2];
	pair(fds);
	end_init(e);
	assert_int_equal(channel_create(loop, fds[0], self, peer, 0, &events, e, &e->ch), ERR_OK);
	return fds[1];
}

static void
open_both(struct end *mixer, struct end *store)
{
	int fds[2];
	pair(fds);
	end_init(mixer);
	end_init(store);
	assert_int_equal(channel_create(loop, fds[0], ROLE_MIXER, ROLE_STORE, 0, &events, mixer, &mixer->ch),
			 ERR_OK);
	assert_int_equal(channel_create(loop, fds[1], ROLE_STORE, ROLE_MIXER, 3, &events, store, &store->ch),
			 ERR_OK);
}

static void
turn(unsigned n)
{
	while (n-- > 0) {
		assert_int_equal(loop_run_once(loop, 1), ERR_OK);
	}
}

/* A frame as the header of channel.h says. */
static size_t
frame(uint8_t *out, uint32_t len, unsigned type, uint8_t kind, uint8_t status, uint32_t id, const void *body)
{
	const uint8_t head[12] = {(uint8_t)(len >> 24),
				  (uint8_t)(len >> 16),
				  (uint8_t)(len >> 8),
				  (uint8_t)len,
				  (uint8_t)(type >> 8),
				  (uint8_t)type,
				  kind,
				  status,
				  (uint8_t)(id >> 24),
				  (uint8_t)(id >> 16),
				  (uint8_t)(id >> 8),
				  (uint8_t)id};
	memcpy(out, head, sizeof(head));
	if (body != NULL) {
		memcpy(out + sizeof(head), body, len);
	}
	return sizeof(head) + len;
}

static size_t
meta_get(uint8_t *out, uint32_t id)
{
	return frame(out, 8, MSG_META_GET, IPC_REQUEST, 0, id, "\0\0\0\4name");
}

static void
put(int fd, const uint8_t *data, size_t len)
{
	assert_int_equal(write(fd, data, len), (ssize_t)len);
}

static void
put_fd(int to, const uint8_t *data, size_t len, const int *fds, size_t count)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	memset(&control, 0, sizeof(control));
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	assert_int_equal(sendmsg(to, &h, 0), (ssize_t)len);
}

static int
set_up(void **state)
{
	(void)state;
	return loop_create(&loop) == ERR_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	loop_destroy(&loop);
	return 0;
}

/* Descriptors of this process, to see that none is lost. */
static unsigned
open_count(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 256; fd++) {
		n += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
	}
	return n;
}

static void
a_frame_arrives_whole_whatever_the_split(void **state)
{
	(void)state;
	uint8_t two[64];
	size_t len = meta_get(two, 7);
	len += meta_get(two + len, 8);
	for (size_t at = 1; at < len; at++) {
		struct end e;
		int fd = open_bare(&e, ROLE_STORE, ROLE_MIXER);
		put(fd, two, at);
		turn(2);
		assert_int_equal(e.messages, at >= len / 2 ? 1 : 0);
		put(fd, two + at, len - at);
		turn(2);
		assert_int_equal(e.messages, 2);
		assert_int_equal(e.closed, 0);
		struct msg_meta_get m;
		assert_int_equal(msg_meta_get_decode(buf_bytes(&e.payload), &m), ERR_OK);
		assert_true(bytes_is(m.name, "name"));
		end_clear(&e);
		(void)close(fd);
	}
}

static void
bytes_one_at_a_time_and_many_frames_at_once_are_the_same(void **state)
{
	(void)state;
	enum { FRAMES = 500, ONE = 20 };
	static uint8_t all[FRAMES * ONE];
	struct end e;
	int fd = open_bare(&e, ROLE_STORE, ROLE_MIXER);
	size_t len = 0;
	for (uint32_t i = 0; i < FRAMES; i++) {
		len += meta_get(all + len, i);
	}
	put(fd, all, len);
	turn(2);
	assert_int_equal(e.messages, FRAMES);
	for (size_t i = 0; i < ONE * 3; i++) {
		put(fd, all + i, 1);
		turn(1);
	}
	assert_int_equal(e.messages, FRAMES + 3);
	end_clear(&e);
	(void)close(fd);
}

/* Writes what is not allowed and sees the end of it. */
static void
expect_fault(enum role self, enum role peer, const uint8_t *data, size_t len)
{
	struct end e;
	int fd = open_bare(&e, self, peer);
	put(fd, data, len);
	turn(3);
	assert_int_equal(e.messages, 0);
	assert_int_equal(e.closed, 1);
	assert_true(e.fault);
	assert_null(e.ch);
	end_clear(&e);
	(void)close(fd);
}

static void
what_the_table_forbids_is_a_fault(void **state)
{
	(void)state;
	uint8_t f[64];
	/* No such type. */
	size_t n = frame(f, 0, 0, IPC_REQUEST, 0, 1, NULL);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	n = frame(f, 0, MSG__COUNT, IPC_REQUEST, 0, 1, NULL);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	n = frame(f, 0, 0xffff, IPC_REQUEST, 0, 1, NULL);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	/* Not from this role; not to this role. */
	n = meta_get(f, 1);
	expect_fault(ROLE_STORE, ROLE_SESSION, f, n);
	expect_fault(ROLE_KEEPER, ROLE_MIXER, f, n);
	/* A request as a notice, a notice as a request, no kind at all. */
	n = frame(f, 8, MSG_META_GET, IPC_NOTICE, 0, 1, "\0\0\0\4name");
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	n = frame(f, 0, MSG_READY, IPC_REQUEST, 0, 1, NULL);
	expect_fault(ROLE_SUPERVISOR, ROLE_STORE, f, n);
	n = frame(f, 0, MSG_META_GET, 0, 0, 1, NULL);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	n = frame(f, 0, MSG_META_GET, 4, 0, 1, NULL);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	/* A status where none belongs. */
	n = frame(f, 0, MSG_META_GET, IPC_REQUEST, 1, 1, NULL);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	/* Larger than its kind may be: told by the header alone. */
	n = frame(f, 17, MSG_SPOOL_KEY_DROP, IPC_REQUEST, 0, 1, NULL);
	expect_fault(ROLE_KEEPER, ROLE_MIXER, f, 12);
	n = frame(f, 0xffffffff, MSG_META_GET, IPC_REQUEST, 0, 1, NULL);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, 12);
	/* A reply that nobody asked for; one by the side that asks. */
	n = frame(f, 0, MSG_META_GET, 3, 0, 1 << 20, NULL);
	expect_fault(ROLE_MIXER, ROLE_STORE, f, n);
	expect_fault(ROLE_STORE, ROLE_MIXER, f, n);
	(void)n;
}

/* Answers the one open request of a mixer with a reply made by hand. */
static void
expect_reply_fault(unsigned type, uint8_t status, uint32_t id_add, uint32_t len)
{
	struct end e;
	uint8_t f[64];
	int fd = open_bare(&e, ROLE_MIXER, ROLE_STORE);
	struct msg_meta_get q = {.name = BYTES_LIT("n")};
	assert_int_equal(channel_request(e.ch, META_GET, meta_get, &q, 0, on_reply, &e), ERR_OK);
	turn(1);
	assert_int_equal(read(fd, f, sizeof(f)), 12 + 5);
	uint32_t id = (uint32_t)f[8] << 24 | (uint32_t)f[9] << 16 | (uint32_t)f[10] << 8 | f[11];
	size_t n = frame(f, len, type, 3, status, id + id_add, "xxxxxxxxxxxxxxxx");
	put(fd, f, n);
	turn(3);
	assert_int_equal(e.closed, 1);
	assert_true(e.fault);
	/* The question is answered all the same, once. */
	assert_int_equal(e.replies, 1);
	assert_int_equal(e.status, ERR_CLOSED);
	end_clear(&e);
	(void)close(fd);
}

static void
a_reply_that_does_not_fit_its_question_is_a_fault(void **state)
{
	(void)state;
	expect_reply_fault(MSG_META_PUT, 0, 0, 0);             /* of another type */
	expect_reply_fault(MSG_META_GET, 0, 1, 4);             /* of another number */
	expect_reply_fault(MSG_META_GET, 0, 1U << 20, 4);      /* of an earlier round */
	expect_reply_fault(MSG_META_GET, ERR__COUNT, 0, 0);    /* no such status */
	expect_reply_fault(MSG_META_GET, ERR_NOT_FOUND, 0, 1); /* a failure with a payload */
}

static void
requests_are_answered_once_each_and_in_any_order(void **state)
{
	(void)state;
	enum { N = 40 };
	static struct end asked[N];
	struct end mixer;
	struct end store;
	open_both(&mixer, &store);
	assert_int_equal(channel_peer(store.ch), ROLE_MIXER);
	assert_int_equal(channel_peer_index(store.ch), 3);
	assert_true(channel_serial(store.ch) != channel_serial(mixer.ch));
	store.hold = true;
	struct msg_meta_get q = {.name = BYTES_LIT("n")};
	for (unsigned i = 0; i < N; i++) {
		end_init(&asked[i]);
		assert_int_equal(channel_request(mixer.ch, META_GET, meta_get, &q, 0, on_reply, &asked[i]),
				 ERR_OK);
		assert_int_equal(asked[i].replies, 0);
	}
	turn(3);
	assert_int_equal(store.messages, N);
	for (unsigned i = N; i-- > 0;) {
		uint8_t value = (uint8_t)i;
		struct msg_meta_get_reply r = {.value = bytes_of(&value, 1)};
		if (i % 3 == 0) {
			assert_int_equal(channel_answer(store.ch, MSG_META_GET, store.ids[i], ERR_NOT_FOUND),
					 ERR_OK);
		} else {
			assert_int_equal(channel_reply(store.ch, META_GET, meta_get_reply, store.ids[i], &r),
					 ERR_OK);
		}
	}
	turn(3);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(asked[i].replies, 1);
		assert_int_equal(asked[i].status, i % 3 == 0 ? ERR_NOT_FOUND : ERR_OK);
		if (i % 3 != 0) {
			struct msg_meta_get_reply r;
			assert_int_equal(msg_meta_get_reply_decode(buf_bytes(&asked[i].payload), &r), ERR_OK);
			assert_int_equal(r.value.ptr[0], i);
		}
		end_clear(&asked[i]);
	}
	/* The same answer twice is a fault. */
	assert_int_equal(channel_answer(store.ch, MSG_META_GET, store.ids[0], ERR_OK), ERR_OK);
	turn(4);
	assert_int_equal(mixer.closed, 1);
	assert_true(mixer.fault);
	end_clear(&mixer);
	end_clear(&store);
}

static void
a_deadline_passes_and_the_late_reply_is_dropped(void **state)
{
	(void)state;
	struct end mixer;
	struct end store;
	open_both(&mixer, &store);
	store.hold = true;
	struct msg_meta_get q = {.name = BYTES_LIT("n")};
	assert_int_equal(
	    channel_request(mixer.ch, META_GET, meta_get, &q, loop_now(loop) + 5, on_reply, &mixer), ERR_OK);
	for (int i = 0; i < 2000 && mixer.replies == 0; i++) {
		turn(1);
	}
	assert_int_equal(mixer.replies, 1);
	assert_int_equal(mixer.status, ERR_TIMEOUT);
	assert_int_equal(channel_answer(store.ch, MSG_META_GET, store.ids[0], ERR_OK), ERR_OK);
	turn(3);
	assert_int_equal(mixer.replies, 1);
	assert_int_equal(mixer.closed, 0);
	/* A forgotten one: the same, and a third is answered. */
	assert_int_equal(channel_request(mixer.ch, META_GET, meta_get, &q, 0, on_reply, &mixer), ERR_OK);
	channel_forget(mixer.ch, &mixer);
	store.hold = false;
	store.answer = true;
	turn(3);
	assert_int_equal(mixer.replies, 1);
	assert_int_equal(channel_request(mixer.ch, META_GET, meta_get, &q, 0, on_reply, &mixer), ERR_OK);
	turn(3);
	assert_int_equal(mixer.replies, 2);
	assert_int_equal(mixer.status, ERR_QUOTA);
	end_clear(&mixer);
	end_clear(&store);
}

static void
when_the_peer_goes_each_question_is_answered_once(void **state)
{
	(void)state;
	enum { N = 100 };
	static struct end asked[N];
	struct end mixer;
	struct end store;
	open_both(&mixer, &store);
	store.hold = true;
	struct msg_meta_get q = {.name = BYTES_LIT("n")};
	for (unsigned i = 0; i < N; i++) {
		end_init(&asked[i]);
		assert_int_equal(channel_request(mixer.ch, META_GET, meta_get, &q, loop_now(loop) + 100000,
						 on_reply, &asked[i]),
				 ERR_OK);
	}
	turn(2);
	channel_destroy(&store.ch);
	turn(4);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(asked[i].replies, 1);
		assert_int_equal(asked[i].status, ERR_CLOSED);
		end_clear(&asked[i]);
	}
	assert_int_equal(mixer.closed, 1);
	assert_false(mixer.fault);
	end_clear(&mixer);
	end_clear(&store);
}

static void
what_the_peer_said_before_it_went_is_heard(void **state)
{
	(void)state;
	struct end mixer;
	struct end store;
	open_both(&mixer, &store);
	struct msg_meta_get q = {.name = BYTES_LIT("n")};
	assert_int_equal(channel_request(mixer.ch, META_GET, meta_get, &q, 0, on_reply, &mixer), ERR_OK);
	/* Sends what is queued. */
	channel_destroy(&mixer.ch);
	turn(4);
	assert_int_equal(store.messages, 1);
	assert_int_equal(store.closed, 1);
	end_clear(&mixer);
	end_clear(&store);
}

static void
an_ended_channel_takes_nothing_more(void **state)
{
	(void)state;
	struct end mixer;
	struct end store;
	struct end late;
	end_init(&late);
	open_both(&mixer, &store);
	struct msg_meta_get q = {.name = BYTES_LIT("n")};
	channel_end(mixer.ch);
	assert_int_equal(channel_request(mixer.ch, META_GET, meta_get, &q, 0, on_reply, &late), ERR_CLOSED);
	turn(3);
	assert_int_equal(late.replies, 0);
	assert_int_equal(mixer.closed, 1);
	assert_int_equal(store.closed, 1);
	end_clear(&mixer);
	end_clear(&store);
	end_clear(&late);
}

static void
it_may_be_destroyed_within_any_callback(void **state)
{
	(void)state;
	uint8_t f[128];
	size_t n = meta_get(f, 1);
	n += meta_get(f + n, 2);
	/* With a second frame behind, whole or cut. */
	for (size_t cut = 0; cut < 3; cut++) {
		struct end e;
		int fd = open_bare(&e, ROLE_STORE, ROLE_MIXER);
		e.destroy_on_message = true;
		put(fd, f, cut == 0 ? 5 : n - cut);
		turn(1);
		if (cut == 0) {
			put(fd, f + 5, n - 5);
			turn(1);
		}
		turn(2);
		assert_int_equal(e.messages, 1);
		assert_int_equal(e.closed, 0);
		end_clear(&e);
		(void)close(fd);
	}
	/* In a reply, in a timeout, and in the answer to the peer's end. */
	for (int how = 0; how < 3; how++) {
		struct end mixer;
		struct end store;
		open_both(&mixer, &store);
		mixer.destroy_on_reply = true;
		store.answer = how == 0;
		store.hold = how == 1;
		struct msg_meta_get q = {.name = BYTES_LIT("n")};
		for (int i = 0; i < 3; i++) {
			assert_int_equal(channel_request(mixer.ch, META_GET, meta_get, &q,
							 how == 1 ? loop_now(loop) + 2 : 0, on_reply, &mixer),
					 ERR_OK);
		}
		if (how == 2) {
			channel_end(mixer.ch);
		}
		for (int i = 0; i < 2000 && mixer.replies == 0; i++) {
			turn(1);
		}
		turn(3);
		assert_int_equal(mixer.replies, 1);
		assert_int_equal(mixer.closed, 0);
		end_clear(&mixer);
		end_clear(&store);
	}
}

static void
large_payloads_pass_though_the_peer_is_slow(void **state)
{
	(void)state;
	enum { N = 12 };
	struct end mixer;
	struct end store;
	open_both(&mixer, &store);
	store.hold = true;
	uint8_t *big = malloc(IPC_UNIT_MAX);
	assert_non_null(big);
	memset(big, 'x', IPC_UNIT_MAX);
	struct msg_spool_batch q = {.ops = bytes_of(big, IPC_UNIT_MAX - 4)};
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(channel_request(mixer.ch, SPOOL_BATCH, spool_batch, &q, 0, on_reply, &mixer),
				 ERR_OK);
	}
	assert_true(channel_queued(mixer.ch) > N * (size_t)(IPC_UNIT_MAX - 64));
	/* One octet more does not fit, and leaves no trace. */
	size_t queued = channel_queued(mixer.ch);
	q.ops.len++;
	assert_int_equal(channel_request(mixer.ch, SPOOL_BATCH, spool_batch, &q, 0, on_reply, &mixer),
			 ERR_LIMIT);
	assert_int_equal(channel_queued(mixer.ch), queued);
	for (int i = 0; i < 5000 && store.messages < N; i++) {
		turn(1);
	}
	assert_int_equal(store.messages, N);
	assert_int_equal(store.payload.len, IPC_UNIT_MAX);
	assert_int_equal(channel_queued(mixer.ch), 0);
	assert_null(channel_out(mixer.ch)->ptr);
	free(big);
	end_clear(&mixer);
	end_clear(&store);
}

static void
a_queue_that_never_empties_does_not_grow(void **state)
{
	(void)state;
	enum { ROUNDS = 3000, BODY = 8000 };
	static uint8_t drain[BODY + 64];
	struct end e;
	int fd = open_bare(&e, ROLE_MIXER, ROLE_STORE);
	static const uint8_t body[BODY];
	struct msg_meta_put q = {.name = BYTES_LIT("n"), .value = bytes_of(body, BODY)};
	/* Always a little more is said than is read. */
	for (int i = 0; i < 200; i++) {
		assert_int_equal(channel_request(e.ch, META_PUT, meta_put, &q, 0, on_reply, &e), ERR_OK);
	}
	size_t most = 0;
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(channel_request(e.ch, META_PUT, meta_put, &q, 0, on_reply, &e), ERR_OK);
		assert_int_equal(loop_run_once(loop, 0), ERR_OK);
		assert_true(read(fd, drain, BODY + 21) > 0);
		most = channel_out(e.ch)->len > most ? channel_out(e.ch)->len : most;
	}
	assert_true(channel_queued(e.ch) > 0);
	assert_true(most < 4 << 20);
	end_clear(&e);
	(void)close(fd);
}

static void
a_descriptor_comes_with_its_frame_at_every_split(void **state)
{
	(void)state;
	uint8_t f[64];
	size_t n = frame(f, 3, MSG_CHANNEL, IPC_NOTICE, 0, 0, "\4\0\1");
	unsigned before = open_count();
	for (size_t at = 1; at <= n; at++) {
		struct end e;
		int pipes[2];
		assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
		int fd = open_bare(&e, ROLE_STORE, ROLE_SUPERVISOR);
		put_fd(fd, f, at, &pipes[0], 1);
		turn(2);
		if (at < n) {
			assert_int_equal(e.messages, 0);
			put(fd, f + at, n - at);
			turn(2);
		}
		assert_int_equal(e.closed, 0);
		assert_int_equal(e.messages, 1);
		assert_true(e.fd >= 0);
		assert_true((fcntl(e.fd, F_GETFD) & FD_CLOEXEC) != 0);
		assert_int_equal(write(pipes[1], "y", 1), 1);
		char got = 0;
		assert_int_equal(read(e.fd, &got, 1), 1);
		assert_int_equal(got, 'y');
		end_clear(&e);
		(void)close(fd);
		(void)close(pipes[0]);
		(void)close(pipes[1]);
	}
	assert_int_equal(open_count(), before);
}

static void
our_own_descriptors_arrive_in_order(void **state)
{
	(void)state;
	int fds[2];
	struct end supervisor;
	struct end store;
	pair(fds);
	end_init(&supervisor);
	end_init(&store);
	assert_int_equal(channel_create(loop, fds[0], ROLE_SUPERVISOR, ROLE_STORE, 0, &events, &supervisor,
					&supervisor.ch),
			 ERR_OK);
	assert_int_equal(
	    channel_create(loop, fds[1], ROLE_STORE, ROLE_SUPERVISOR, 0, &events, &store, &store.ch), ERR_OK);
	for (uint8_t i = 0; i < 20; i++) {
		uint8_t payload[3] = {ROLE_MIXER, 0, i};
		assert_int_equal(channel_notice_empty(supervisor.ch, MSG_GO), ERR_OK);
		assert_int_equal(channel_notice_fd(supervisor.ch, MSG_CHANNEL, bytes_of(payload, 3), 0),
				 ERR_OK);
	}
	for (unsigned i = 0; i < 30; i++) {
		turn(1);
		if (store.fd >= 0) {
			(void)close(store.fd);
			store.fd = -1;
		}
	}
	assert_int_equal(store.messages, 40);
	assert_int_equal(store.closed, 0);
	assert_int_equal(store.payload.ptr[2], 19);
	end_clear(&supervisor);
	end_clear(&store);
}

static void
an_unexpected_descriptor_is_a_fault_and_closed(void **state)
{
	(void)state;
	uint8_t f[64];
	unsigned before = open_count();
	int zero[4] = {0, 0, 0, 0};
	for (int how = 0; how < 5; how++) {
		struct end e;
		int fd = open_bare(&e, ROLE_STORE, how == 0 || how == 3 ? ROLE_MIXER : ROLE_SUPERVISOR);
		if (how == 0) {
			/* With a message that carries none. */
			put_fd(fd, f, meta_get(f, 1), zero, 1);
		} else if (how == 1) {
			/* More than one. */
			put_fd(fd, f, frame(f, 3, MSG_CHANNEL, IPC_NOTICE, 0, 0, "\4\0\1"), zero, 2);
		} else if (how == 2) {
			put_fd(fd, f, frame(f, 3, MSG_CHANNEL, IPC_NOTICE, 0, 0, "\4\0\1"), zero, 4);
		} else if (how == 3) {
			/* With half a message that carries none. */
			put_fd(fd, f, meta_get(f, 1) - 2, zero, 1);
		} else {
			/* The one that belongs here does not come. */
			put(fd, f, frame(f, 3, MSG_CHANNEL, IPC_NOTICE, 0, 0, "\4\0\1"));
		}
		turn(4);
		assert_int_equal(e.closed, 1);
		assert_true(e.fault);
		assert_int_equal(e.fd, -1);
		end_clear(&e);
		(void)close(fd);
	}
	assert_int_equal(open_count(), before);
}

/* ---- calls from tasks ---- */

struct caller {
	struct end *end;
	struct task *task;
	msec deadline;
	enum err result;
	bool done;
	struct buf reply;
};

static void
call(void *arg)
{
	struct caller *c = arg;
	struct msg_meta_get q = {.name = BYTES_LIT("n")};
	c->result = channel_call(c->end->ch, META_GET, meta_get, &q, c->deadline, &c->reply);
	c->done = true;
	c->task = NULL;
}

static void
start_call(struct caller *c, struct end *e, msec deadline)
{
	*c = (struct caller){.end = e, .deadline = deadline, .reply = BUF_INIT(1024)};
	assert_int_equal(task_spawn(loop, call, c, &c->task), ERR_OK);
}

static void
a_task_waits_for_its_reply(void **state)
{
	(void)state;
	struct end mixer;
	struct end store;
	struct caller a;
	struct caller b;
	open_both(&mixer, &store);
	store.hold = true;
	start_call(&a, &mixer, 0);
	start_call(&b, &mixer, 0);
	turn(4);
	assert_int_equal(store.messages, 2);
	assert_false(a.done || b.done);
	struct msg_meta_get_reply r = {.value = BYTES_LIT("value")};
	assert_int_equal(channel_reply(store.ch, META_GET, meta_get_reply, store.ids[1], &r), ERR_OK);
	turn(4);
	assert_true(b.done && !a.done);
	assert_int_equal(b.result, ERR_OK);
	assert_int_equal(b.reply.len, 9);
	assert_int_equal(channel_answer(store.ch, MSG_META_GET, store.ids[0], ERR_DENIED), ERR_OK);
	turn(4);
	assert_int_equal(a.result, ERR_DENIED);
	buf_clear(&b.reply);
	/* No channel at all, a deadline, the peer's end. */
	struct end none;
	end_init(&none);
	start_call(&a, &none, 0);
	start_call(&b, &mixer, loop_now(loop) + 3);
	for (int i = 0; i < 2000 && !b.done; i++) {
		turn(1);
	}
	assert_int_equal(a.result, ERR_CLOSED);
	assert_int_equal(b.result, ERR_TIMEOUT);
	start_call(&a, &mixer, 0);
	turn(3);
	assert_false(a.done);
	channel_destroy(&store.ch);
	turn(4);
	assert_int_equal(a.result, ERR_CLOSED);
	assert_int_equal(mixer.closed, 1);
	end_clear(&mixer);
	end_clear(&store);
}

static void
a_cancelled_task_leaves_and_the_reply_finds_nobody(void **state)
{
	(void)state;
	struct end mixer;
	struct end store;
	struct caller a;
	open_both(&mixer, &store);
	store.hold = true;
	start_call(&a, &mixer, 0);
	turn(3);
	task_cancel(a.task);
	turn(2);
	assert_true(a.done);
	assert_int_equal(a.result, ERR_CLOSED);
	assert_int_equal(channel_answer(store.ch, MSG_META_GET, store.ids[0], ERR_OK), ERR_OK);
	turn(3);
	assert_int_equal(mixer.closed, 0);
	/* Cancelled in the very turn in which the reply came: nothing is left behind either. */
	start_call(&a, &mixer, 0);
	turn(3);
	assert_int_equal(channel_answer(store.ch, MSG_META_GET, store.ids[1], ERR_OK), ERR_OK);
	channel_flush(store.ch);
	task_cancel(a.task);
	turn(3);
	assert_true(a.done);
	assert_int_equal(mixer.closed, 0);
	end_clear(&mixer);
	end_clear(&store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_frame_arrives_whole_whatever_the_split, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bytes_one_at_a_time_and_many_frames_at_once_are_the_same, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(what_the_table_forbids_is_a_fault, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_reply_that_does_not_fit_its_question_is_a_fault, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(requests_are_answered_once_each_and_in_any_order, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_deadline_passes_and_the_late_reply_is_dropped, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(when_the_peer_goes_each_question_is_answered_once, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(what_the_peer_said_before_it_went_is_heard, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_ended_channel_takes_nothing_more, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(it_may_be_destroyed_within_any_callback, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(large_payloads_pass_though_the_peer_is_slow, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_queue_that_never_empties_does_not_grow, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_descriptor_comes_with_its_frame_at_every_split, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(our_own_descriptors_arrive_in_order, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_unexpected_descriptor_is_a_fault_and_closed, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_task_waits_for_its_reply, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_cancelled_task_leaves_and_the_reply_finds_nobody, set_up,
					    tear_down),
	};
	return cmocka_run_group_tests_name("ipc channel", tests, NULL, NULL);
}
