/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the mixer must know of the house: how many can stand in the crowd. A number, and nobody's name. */
#include "base/wire.h"
#include "loop/task.h"
#include "opener/internal.h"
#include "process/log.h"

enum { COUNTS_AFTER_DAYS = 30, RETRY_MS = 500, HOUR_MS = 3600 * 1000 };

struct counting {
	uint32_t today;
	uint32_t held;
	struct msg_house house;
};

static enum err
count_account(void *arg, enum directory_kind kind, struct bytes plain)
{
	struct counting *c = arg;
	struct directory_account entry;
	if (kind != DIRECTORY_ACCOUNT) {
		return ERR_OK;
	}
	enum err e = directory_account_decode(plain, &entry);
	if (e != ERR_OK) {
		return e == ERR_MEMORY ? e : ERR_OK; /* `cohue check` tells of it */
	}
	c->held += entry.held.len > 0 ? 1 : 0;
	c->house.first_day = entry.created_day < c->house.first_day ? entry.created_day : c->house.first_day;
	if (entry.status == ACCOUNT_INVITED || entry.status == ACCOUNT_ACTIVE) {
		c->house.members++;
		c->house.counting += (uint64_t)entry.created_day + COUNTS_AFTER_DAYS <= c->today ? 1 : 0;
	}
	return ERR_OK;
}

static enum err
tell(struct opener *o)
{
	struct counting c = {.today = opener_today()};
	c.house.first_day = c.today;
	enum err e = opener_walk(o, count_account, &c);
	struct channel *mixer = role_channel(o->host, ROLE_MIXER, 0);
	if (e == ERR_OK && mixer != NULL) {
		e = channel_notice(mixer, HOUSE, house, &c.house);
	}
	if (e == ERR_OK) {
		o->held = c.held;
		o->house_day = c.today;
	}
	return e;
}

static void
house_task(void *arg)
{
	struct opener *o = arg;
	while (o->house_due && !o->host->stopping) {
		o->house_due = false;
		if (tell(o) != ERR_OK) {
			o->house_due = true;
			if (task_sleep(RETRY_MS) != ERR_OK) {
				break;
			}
		}
	}
	o->house_running = false;
}

void
opener_tell_house(struct opener *o)
{
	o->house_due = true;
	/* Before the start has its keys there is nothing to count; start() says so itself. */
	if (o->house_running || !o->house_ready || o->host->stopping) {
		return;
	}
	o->house_running = role_spawn(o->host, house_task, o) == ERR_OK;
}

static void
on_hour(struct timer *t)
{
	struct opener *o = t->arg;
	if (o->house_day != opener_today()) {
		opener_tell_house(o);
	}
	if (timer_start_after(o->host->loop, &o->house_timer, HOUR_MS) != ERR_OK) {
		panic("no memory for a timer");
	}
}

enum err
opener_start_house(struct opener *o)
{
	timer_init(&o->house_timer, on_hour, o);
	o->house_ready = true;
	opener_tell_house(o);
	return timer_start_after(o->host->loop, &o->house_timer, HOUR_MS);
}
