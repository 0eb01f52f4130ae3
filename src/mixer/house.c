/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Who counts: what the opener says of the house, and what may be told of what left. */
#include <string.h>

#include "base/wire.h"
#include "mixer/room.h"
#include "process/log.h"

enum { HOUSE_VERSION = 1, COUNTS_AFTER_DAYS = 30 };

static const char house_name[] = "mixer-house";

static uint32_t
today(void)
{
	return (uint32_t)(clock_wall() / MSEC_DAY);
}

/* In the house's own first days all members count. */
static bool
is_fresh(const struct house *h)
{
	return h->known && today() < h->first_day + COUNTS_AFTER_DAYS;
}

/* However long it waits, there is nobody who could come to count. A new house begins with one member, so that is no fault. */
static bool
is_too_small(const struct mixer *m)
{
	return m->house.known && !is_fresh(&m->house) && m->house.members < m->host->config.leave.k;
}

bool
house_counts(const struct mixer *m, uint32_t since_day)
{
	return is_fresh(&m->house) || (uint64_t)since_day + COUNTS_AFTER_DAYS <= today();
}

/* Once, a while after it came to be so: at a start that fails the line of who knows why stands alone. */
void
house_say(struct timer *t)
{
	struct mixer *m = t->arg;
	bool alone = law_is_alone(m->leave);
	if (alone && !m->alone_said) {
		log_event(
		    LOG_LEVEL_WARNING,
		    is_too_small(m)
			? "this house has fewer members in all than leave.crowd asks for: the promise "
			  "cannot hold, each letter leaves void, by the exponential law. Remedy: more "
			  "members, or lower leave.crowd"
			: "fewer members can count than leave.crowd asks for: until there are more, the "
			  "promise does not hold, each letter leaves void, by the exponential law. Remedy: "
			  "wait for members (they count after 30 days), or lower leave.crowd");
	} else if (!alone && m->alone_said) {
		log_event(LOG_LEVEL_NOTICE, "members enough count: mail leaves in a crowd");
	}
	m->alone_said = alone;
}

static void
put_into_force(struct mixer *m)
{
	enum { SAY_AFTER_MS = 3000 };
	if (!m->house.known) {
		return;
	}
	m->live.members = m->house.members;
	m->live.counting = is_fresh(&m->house) ? m->house.members : m->house.counting;
	law_set_members(m->leave, room_now(m), is_fresh(&m->house) ? m->house.members : m->house.counting);
	if (law_is_alone(m->leave) != m->alone_said &&
	    timer_start_after(m->host->loop, &m->house_timer, SAY_AFTER_MS) != ERR_OK) {
		panic("no memory for a timer");
	}
}

static enum err
write_house(struct mixer *m)
{
	struct buf plain = BUF_INIT(64);
	struct buf sealed = BUF_INIT(4096);
	struct wire_writer w;
	wire_writer_init(&w, &plain);
	wire_put_u8(&w, HOUSE_VERSION);
	wire_put_u32(&w, m->house.members);
	wire_put_u32(&w, m->house.counting);
	wire_put_u32(&w, m->house.first_day);
	enum err e = wire_done(&w);
	if (e == ERR_OK) {
		e = spool_value_seal(buf_bytes(&plain), m->keys.key[PURPOSE_SPOOL_STATE], house_name,
				     &sealed);
	}
	if (e == ERR_OK) {
		struct msg_meta_put q = {.name = bytes_str(house_name), .value = buf_bytes(&sealed)};
		e = channel_call(role_channel(m->host, ROLE_STORE, 0), META_PUT, meta_put, &q,
				 loop_now(m->host->loop) + ROOM_LIMIT_MS, NULL);
	}
	buf_clear(&plain);
	buf_clear(&sealed);
	return e;
}

enum err
house_load(struct mixer *m)
{
	struct buf reply = BUF_INIT(IPC_CHUNK);
	struct buf plain = BUF_INIT(4096);
	struct msg_meta_get q = {.name = bytes_str(house_name)};
	struct msg_meta_get_reply r;
	struct wire_reader p;
	enum err e = channel_call(role_channel(m->host, ROLE_STORE, 0), META_GET, meta_get, &q,
				  loop_now(m->host->loop) + ROOM_LIMIT_MS, &reply);
	if (e == ERR_OK) {
		e = msg_meta_get_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		e = spool_value_open(m->keys.key[PURPOSE_SPOOL_STATE], house_name, r.value, &plain);
	}
	if (e == ERR_OK) {
		wire_reader_init(&p, buf_bytes(&plain));
		uint8_t version = wire_get_u8(&p);
		struct house h = {.known = true};
		h.members = wire_get_u32(&p);
		h.counting = wire_get_u32(&p);
		h.first_day = wire_get_u32(&p);
		e = wire_end(&p);
		e = e == ERR_OK && version != HOUSE_VERSION ? ERR_UNSUPPORTED : e;
		if (e == ERR_OK && !m->house_news) {
			m->house = h;
		} else if (e == ERR_OK && h.first_day < m->house.first_day) {
			m->house.first_day = h.first_day;
		}
	}
	buf_clear(&reply);
	buf_clear(&plain);
	/* What cannot be read the opener says anew. */
	e = e == ERR_NOT_FOUND || e == ERR_FORMAT || e == ERR_AUTH || e == ERR_UNSUPPORTED ? ERR_OK : e;
	if (e == ERR_OK) {
		put_into_force(m);
	}
	return e;
}

void
house_settle(struct mixer *m)
{
	if (!m->house_news || !m->loaded) {
		return;
	}
	m->house_news = false;
	put_into_force(m);
	if (write_house(m) != ERR_OK) {
		/* The next thing that the opener says is stored; until then the law goes by this one all the same. */
		m->seen_failures++;
	}
}

static void
settle_task(void *arg)
{
	struct mixer *m = arg;
	house_settle(m);
	m->house_writing = false;
	room_schedule(m);
}

void
mixer_house(struct mixer *m, struct channel *ch, const struct channel_message *msg)
{
	struct msg_house q;
	if (msg_house_decode(msg->payload, &q) != ERR_OK) {
		channel_fault(ch);
		return;
	}
	/* The founders may have left: the house does not grow young again. */
	uint32_t first =
	    m->house.known && m->house.first_day < q.first_day ? m->house.first_day : q.first_day;
	m->house =
	    (struct house){.known = true, .members = q.members, .counting = q.counting, .first_day = first};
	m->house_news = true;
	/* While a decision is made the ticker does it, before the next one. */
	if (!m->deciding && m->loaded && !m->house_writing) {
		m->house_writing = role_spawn(m->host, settle_task, m) == ERR_OK;
	}
}

/* ---- sums ---- */

static void
turn_hour(struct sums *s)
{
	int64_t hour = clock_wall() / MSEC_HOUR;
	int64_t passed = hour - s->hour;
	for (int64_t i = 0; i < passed && i <= SUMS_HOURS; i++) {
		memmove(s->released + 1, s->released, SUMS_HOURS * sizeof(s->released[0]));
		memmove(s->voids + 1, s->voids, SUMS_HOURS * sizeof(s->voids[0]));
		s->released[0] = 0;
		s->voids[0] = 0;
	}
	/* Also where the clock was set back: what is told then covers a little more than a day. */
	s->hour = hour;
}

void
sums_add(struct sums *s, uint64_t released, uint64_t voids)
{
	turn_hour(s);
	s->released[0] += released;
	s->voids[0] += voids;
}

void
sums_day(const struct sums *s, uint64_t *ret_released, uint64_t *ret_voids)
{
	struct sums now = *s;
	turn_hour(&now);
	*ret_released = 0;
	*ret_voids = 0;
	for (size_t i = 1; i <= SUMS_HOURS; i++) {
		*ret_released += now.released[i];
		*ret_voids += now.voids[i];
	}
}
