/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which roles are joined, by channels that the supervisor makes; and what one says of another. */
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/log.h"
#include "supervisor/house.h"

enum {
	REJOIN_FIRST_MS = 250, /* so that the end of a role is known before it is taken for a live one */
	REJOIN_DOUBLINGS = 6,
	JOINT_STABLE_MS = 60 * 1000, /* what held that long is joined anew at once */
	ACCUSATIONS_MAX = 3,
	ACCUSATIONS_MS = 10 * 60 * 1000,
};

/* Whether two roles have anything to say to each other: the message table decides. */
static bool
are_joined(enum role a, enum role b)
{
	for (unsigned t = 1; t < MSG__COUNT; t++) {
		const struct msg_rule *r = msg_rule(t);
		if (((r->from & ROLE_BIT(a)) != 0 && (r->to & ROLE_BIT(b)) != 0) ||
		    ((r->from & ROLE_BIT(b)) != 0 && (r->to & ROLE_BIT(a)) != 0)) {
			return true;
		}
	}
	return false;
}

static struct joint *
joint_of(const struct child *a, const struct child *b)
{
	struct house *h = a->house;
	size_t i = (size_t)(a - h->children);
	size_t k = (size_t)(b - h->children);
	return i < k ? &h->joints[i][k] : &h->joints[k][i];
}

static bool
can_be_joined(const struct child *c)
{
	return c->channel != NULL && c->state >= CHILD_SANDBOXED;
}

static enum err
send_channel(struct child *to, const struct child *peer, uint32_t life, int fd)
{
	struct buf payload = BUF_INIT(16);
	struct msg_channel m = {.peer = (uint8_t)peer->role, .index = (uint16_t)peer->index, .life = life};
	enum err e = msg_channel_encode(&payload, &m);
	if (e == ERR_OK) {
		e = channel_notice_fd(to->channel, MSG_CHANNEL, buf_bytes(&payload), fd);
	}
	buf_clear(&payload);
	return e;
}

static void
join(struct child *a, struct child *b)
{
	struct joint *j = joint_of(a, b);
	int pair[2];
	j->life++;
	j->lost = false;
	j->joined_at = loop_now(a->house->loop);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
		child_give_up(a);
		return;
	}
	int size = 1 << 20;
	for (int i = 0; i < 2; i++) {
		/* As much as the kernel allows; bulk goes in large frames. */
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	if (send_channel(a, b, j->life, pair[0]) != ERR_OK) {
		child_give_up(a);
	}
	if (send_channel(b, a, j->life, pair[1]) != ERR_OK) {
		child_give_up(b);
	}
	(void)close(pair[0]);
	(void)close(pair[1]);
}

void
joints_make(struct child *c)
{
	struct house *h = c->house;
	for (size_t i = 0; i < h->child_count; i++) {
		struct child *peer = &h->children[i];
		if (peer != c && can_be_joined(peer) && are_joined(c->role, peer->role)) {
			joint_of(c, peer)->again = 0;
			join(c, peer);
		}
	}
}

/* ---- a channel that ended between two who live ---- */

static void
wait_for_next(struct house *h)
{
	msec next = -1;
	for (size_t i = 0; i < h->child_count; i++) {
		for (size_t k = i + 1; k < h->child_count; k++) {
			const struct joint *j = &h->joints[i][k];
			if (j->lost && (next < 0 || j->due < next)) {
				next = j->due;
			}
		}
	}
	timer_stop(&h->rejoin);
	if (next >= 0) {
		msec now = loop_now(h->loop);
		if (timer_start_after(h->loop, &h->rejoin, next > now ? next - now : 0) != ERR_OK) {
			house_fail(h);
		}
	}
}

static void
on_rejoin(struct timer *t)
{
	struct house *h = t->arg;
	msec now = loop_now(h->loop);
	for (size_t i = 0; i < h->child_count && !h->stopping; i++) {
		for (size_t k = i + 1; k < h->child_count; k++) {
			struct joint *j = &h->joints[i][k];
			struct child *a = &h->children[i];
			struct child *b = &h->children[k];
			if (!j->lost || j->due > now) {
				continue;
			}
			j->lost = false;
			/* Who was restarted meanwhile is joined when it is ready for it. */
			if (can_be_joined(a) && can_be_joined(b)) {
				log_event(LOG_LEVEL_NOTICE, "%s %u and %s %u are joined anew",
					  role_name(a->role), a->index, role_name(b->role), b->index);
				join(a, b);
			}
		}
	}
	wait_for_next(h);
}

void
joints_init(struct house *h)
{
	timer_init(&h->rejoin, on_rejoin, h);
}

void
joints_lost(struct child *c, struct child *peer, uint32_t life)
{
	struct house *h = c->house;
	struct joint *j = joint_of(c, peer);
	msec now = loop_now(h->loop);
	/* Both ends say it; and the end of an older channel may be told late. */
	if (h->stopping || peer == c || life != j->life || j->lost) {
		return;
	}
	if (now - j->joined_at > JOINT_STABLE_MS) {
		j->again = 0;
	}
	j->lost = true;
	j->due = now + ((msec)REJOIN_FIRST_MS << j->again);
	if (j->again < REJOIN_DOUBLINGS) {
		j->again++;
	}
	wait_for_next(h);
}

/* ---- accusations ---- */

/*
 * An accusation cannot be proved. The accused is ended, since it may be right; but who accuses again and again may be
 * the captured one, who would keep others from their work: it is ended too, and begins anew, as a clean process.
 */
void
joints_accused(struct child *c, struct child *peer)
{
	msec now = loop_now(c->house->loop);
	if (!are_joined(c->role, peer->role)) {
		/* It could not have heard from that one: an accusation to have others ended. */
		log_event(LOG_LEVEL_ERROR, "%s %u accuses a stranger and is ended", role_name(c->role),
			  c->index);
		child_give_up(c);
		return;
	}
	if (peer->pid > 0) {
		log_event(LOG_LEVEL_ERROR, "%s %u broke the message table and is ended",
			  role_name(peer->role), peer->index);
		child_give_up(peer);
	}
	if (c->accusations == 0 || now - c->accusing_since > ACCUSATIONS_MS) {
		c->accusations = 0;
		c->accusing_since = now;
	}
	c->accusations++;
	if (c->accusations > ACCUSATIONS_MAX) {
		log_event(LOG_LEVEL_ERROR,
			  "%s %u accused others %u times in %d minutes: it may be the culprit, and is ended "
			  "too",
			  role_name(c->role), c->index, c->accusations, ACCUSATIONS_MS / 60000);
		c->accusations = 0;
		child_give_up(c);
	}
}
