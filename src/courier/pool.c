/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/pool.h"

#include <stdlib.h>
#include <string.h>

#include "courier/pace.h"
#include "crypto/crypto.h"

enum { SWEEP_MS = 500 };

struct host {
	struct pool *pool;
	struct host *next;
	uint8_t address[16];
	enum smtp_tls_policy policy;
	uint8_t mark[CRYPTO_HASH_LEN]; /* what it has proved, or has to */
	unsigned open;                 /* in use, idle, or being opened */
	unsigned wanted;               /* tasks within pool_get */
	struct connection *idle;
	msec failed_until;
	enum err failure;
	enum smtp_closed failed_how;
	struct smtp_result failed_why;
};

struct waiter {
	struct waiter *next;
	struct task *task; /* NULL once woken */
};

struct pool {
	const struct connection_settings *settings;
	struct host *hosts;
	size_t host_count;
	struct waiter *waiters; /* in the order in which they came */
	size_t open;
	size_t idle;
	size_t max;
	struct timer sweep;
	struct pace pace;
};

static msec
now_of(const struct pool *p)
{
	return loop_now(p->settings->loop);
}

/* All that wait look again: they are few, and each takes what fits it. */
static void
wake_all(struct pool *p)
{
	while (p->waiters != NULL) {
		struct waiter *w = p->waiters;
		struct task *t = w->task;
		p->waiters = w->next;
		w->task = NULL;
		task_wake(t, ERR_OK);
	}
}

static enum err
wait_until(struct pool *p, msec deadline)
{
	struct waiter w = {.next = NULL, .task = task_current()};
	struct waiter **end = &p->waiters;
	while (*end != NULL) {
		end = &(*end)->next;
	}
	*end = &w;
	enum err e = task_suspend_until(deadline);
	for (struct waiter **at = &p->waiters; *at != NULL && w.task != NULL; at = &(*at)->next) {
		if (*at == &w) {
			*at = w.next;
			break;
		}
	}
	return e;
}

/* ---- hosts ---- */

static void
forget_unused(struct pool *p)
{
	for (struct host **at = &p->hosts; *at != NULL;) {
		struct host *h = *at;
		if (h->open == 0 && h->wanted == 0 && h->failed_until <= now_of(p)) {
			*at = h->next;
			free(h);
			p->host_count--;
		} else {
			at = &h->next;
		}
	}
}

static struct host *
find(struct pool *p, const struct route_target *target, const struct connection_wish *wish)
{
	for (struct host *h = p->hosts; h != NULL; h = h->next) {
		if (h->policy == wish->tls && memcmp(h->mark, wish->mark, sizeof(h->mark)) == 0 &&
		    memcmp(h->address, target->address, sizeof(h->address)) == 0) {
			return h;
		}
	}
	forget_unused(p);
	struct host *h = p->host_count >= POOL_HOSTS_MAX ? NULL : calloc(1, sizeof(*h));
	if (h != NULL) {
		memcpy(h->address, target->address, sizeof(h->address));
		h->pool = p;
		h->policy = wish->tls;
		memcpy(h->mark, wish->mark, sizeof(h->mark));
		h->next = p->hosts;
		p->hosts = h;
		p->host_count++;
	}
	return h;
}

/* With all that is wished of it: to the host it is all one. */
static unsigned
open_at(const struct pool *p, const uint8_t address[16])
{
	unsigned open = 0;
	for (const struct host *h = p->hosts; h != NULL; h = h->next) {
		open += memcmp(h->address, address, sizeof(h->address)) == 0 ? h->open : 0;
	}
	return open;
}

static void
count_closed(struct host *h)
{
	h->open--;
	h->pool->open--;
	wake_all(h->pool);
}

/* ---- idle ones ---- */

static void
take_idle(struct host *h, struct connection *c)
{
	struct connection **at = &h->idle;
	while (*at != c) {
		at = &(*at)->next;
	}
	*at = c->next;
	c->next = NULL;
	c->on_end = NULL;
	h->pool->idle--;
}

static void
close_idle(struct host *h, struct connection *c)
{
	take_idle(h, c);
	connection_finish(&c);
	count_closed(h);
}

/* An idle one at that address that is of no use for h. */
static bool
close_idle_at(struct pool *p, const uint8_t address[16])
{
	for (struct host *h = p->hosts; h != NULL; h = h->next) {
		if (h->idle != NULL && memcmp(h->address, address, sizeof(h->address)) == 0) {
			close_idle(h, h->idle);
			return true;
		}
	}
	return false;
}

/* Ended by its peer. */
static void
on_idle_end(struct connection *c)
{
	close_idle(c->end_arg, c);
}

/* Closes those that have been idle since before, or all of one number. */
static void
close_idle_since(struct pool *p, msec before, size_t most)
{
	for (struct host *h = p->hosts; h != NULL; h = h->next) {
		for (struct connection *c = h->idle; c != NULL && most > 0;) {
			struct connection *next = c->next;
			if (c->idle_since <= before) {
				close_idle(h, c);
				most--;
			}
			c = next;
		}
	}
}

void
pool_quit_batch(struct pool *p, uint64_t batch)
{
	for (struct host *h = p->hosts; h != NULL; h = h->next) {
		for (struct connection *c = h->idle; c != NULL;) {
			struct connection *next = c->next;
			if (c->batch == batch) {
				close_idle(h, c);
			}
			c = next;
		}
	}
}

/* An idle connection of this batch, or NULL. */
static struct connection *
find_idle(const struct host *h, uint64_t batch)
{
	struct connection *c = h->idle;
	while (c != NULL && c->batch != batch) {
		c = c->next;
	}
	return c;
}

static void
on_sweep(struct timer *t)
{
	struct pool *p = t->arg;
	close_idle_since(p, now_of(p) - POOL_IDLE_MS, SIZE_MAX);
	if (p->idle > 0 && timer_start_after(p->settings->loop, &p->sweep, SWEEP_MS) != ERR_OK) {
		pool_quit_idle(p);
	}
}

enum err
pool_create(const struct connection_settings *settings, size_t max_connections, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return ERR_MEMORY;
	}
	p->settings = settings;
	p->max = max_connections;
	timer_init(&p->sweep, on_sweep, p);
	*ret = p;
	return ERR_OK;
}

/* ---- getting and giving back ---- */

static void
slower(struct pool *p, const struct route_target *target, const struct smtp_result *said)
{
	uint32_t random;
	crypto_random_bytes(&random, sizeof(random));
	pace_slower(&p->pace, target->address, said, random, now_of(p));
	/* Those that wait for it have their answer. */
	wake_all(p);
}

static enum err
open_new(struct pool *p, struct host *h, const struct route_target *target,
	 const struct connection_wish *wish, struct connection **ret, struct smtp_result *ret_why,
	 enum smtp_closed *ret_closed)
{
	h->open++;
	p->open++;
	enum err e = connection_open(p->settings, target, wish, ret, ret_why, ret_closed);
	if (e != ERR_OK) {
		if (e != ERR_MEMORY) {
			h->failed_until = now_of(p) + POOL_REMEMBER_MS;
			h->failure = e;
			h->failed_how = *ret_closed;
			h->failed_why = *ret_why;
		}
		if (*ret_closed == SMTP_CLOSED_REFUSED && pace_is_slower(ret_why, true)) {
			slower(p, target, ret_why);
		}
		count_closed(h);
	}
	return e;
}

enum err
pool_get(struct pool *p, const struct route_target *target, const struct connection_wish *wish,
	 uint64_t batch, bool fresh, msec deadline, struct connection **ret, struct smtp_result *ret_why,
	 enum smtp_closed *ret_closed)
{
	struct host *h = find(p, target, wish);
	enum err e = h == NULL ? ERR_LIMIT : ERR_OK;
	bool got = false;
	if (h != NULL) {
		h->wanted++;
	}
	while (e == ERR_OK && !got) {
		struct connection *idle = find_idle(h, batch);
		const struct smtp_result *pauses = pace_pauses(&p->pace, h->address, now_of(p));
		unsigned most = pace_connections(&p->pace, h->address, POOL_PER_HOST, now_of(p));
		unsigned open = open_at(p, h->address);
		if (pauses != NULL) {
			*ret_why = *pauses;
			*ret_closed = SMTP_CLOSED_REFUSED;
			e = ERR_CLOSED;
		} else if (idle != NULL && !fresh) {
			*ret = idle;
			take_idle(h, idle);
			got = true;
		} else if (h->failed_until > now_of(p)) {
			*ret_why = h->failed_why;
			*ret_closed = h->failed_how;
			e = h->failure;
		} else if (open < most && p->open < p->max) {
			e = open_new(p, h, target, wish, ret, ret_why, ret_closed);
			if (e == ERR_OK) {
				(*ret)->batch = batch;
			}
			got = true;
		} else if (open < most && p->idle > 0) {
			/* Somebody else's idle connection stands in the way. */
			close_idle_since(p, INT64_MAX, 1);
		} else if (!close_idle_at(p, h->address)) {
			/* Where one was used already, or is another batch's, it made room. */
			e = wait_until(p, deadline);
			if (e != ERR_OK) {
				*ret_closed = SMTP_CLOSED_LOST;
				smtp_result_local(451, "4.3.2", "Too many deliveries at once in this house",
						  ret_why);
			}
		}
	}
	if (h == NULL) {
		*ret_closed = SMTP_CLOSED_LOST;
		smtp_result_local(451, "4.3.2", "Too many deliveries at once in this house", ret_why);
	} else {
		h->wanted--;
	}
	return e;
}

void
pool_put(struct pool *p, struct connection **conn)
{
	struct connection *c = *conn;
	*conn = NULL;
	if (c == NULL) {
		return;
	}
	struct host *h = find(p, &c->target, &c->wish);
	if (h == NULL || h->open == 0) {
		panic("a connection that is not the pool's");
	}
	bool pipelines = (smtp_client_offers(&c->client) & SMTP_OFFER_PIPELINING) != 0;
	if (!connection_is_ready(c) || c->messages >= (pipelines ? POOL_MESSAGES : POOL_STEPPING) ||
	    (!timer_is_running(&p->sweep) &&
	     timer_start_after(p->settings->loop, &p->sweep, SWEEP_MS) != ERR_OK)) {
		connection_finish(&c);
		count_closed(h);
		return;
	}
	c->idle_since = now_of(p);
	c->on_end = on_idle_end;
	c->end_arg = h;
	c->next = h->idle;
	h->idle = c;
	p->idle++;
	wake_all(p);
}

void
pool_heard(struct pool *p, const struct connection *c, const struct smtp_result *said, bool fresh)
{
	if (pace_is_slower(said, fresh)) {
		slower(p, &c->target, said);
	}
}

void
pool_took(struct pool *p, const struct connection *c)
{
	pace_took(&p->pace, c->target.address, now_of(p));
}

void
pool_quit_idle(struct pool *p)
{
	close_idle_since(p, INT64_MAX, SIZE_MAX);
}

size_t
pool_open_count(const struct pool *p)
{
	return p->open;
}

void
pool_destroy(struct pool **pool)
{
	struct pool *p = *pool;
	*pool = NULL;
	if (p == NULL) {
		return;
	}
	pool_quit_idle(p);
	timer_stop(&p->sweep);
	while (p->hosts != NULL) {
		struct host *h = p->hosts;
		p->hosts = h->next;
		free(h);
	}
	free(p);
}
