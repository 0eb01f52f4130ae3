/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The mixer holds what waits, as sealed boxes that it cannot open, and knows who waits since when: that is what its
 * capture yields. It reads the messages of gates, sessions, courier and store; it has no network, no disk, and no key
 * but the one its own state is sealed with. What it decides is law/law.h; what it promises ("250") is on disk first.
 */
#include "mixer/mixer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mixer/room.h"
#include "process/log.h"
#include "process/status.h"

enum { START_LIMIT_MS = 30 * 1000, UPKEEP_MS = 60 * 1000, RETRY_MS = 500 };

static void
read_boot_id(uint8_t ret[LAW_BOOT_ID_LEN])
{
	char text[64];
	struct buf id = BUF_INIT(LAW_BOOT_ID_LEN);
	struct buf hex = BUF_INIT(64);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	enum err e = ERR_OK;
	for (ssize_t i = 0; i < n && e == ERR_OK; i++) {
		if (text[i] != '-' && text[i] != '\n') {
			e = buf_append_byte(&hex, (uint8_t)text[i]);
		}
	}
	if (e == ERR_OK) {
		e = buf_append_unhex(&id, buf_bytes(&hex));
	}
	/* Without one, each start counts as a new boot: ages do not grow over it. */
	memset(ret, 0, LAW_BOOT_ID_LEN);
	if (e == ERR_OK && id.len == LAW_BOOT_ID_LEN) {
		memcpy(ret, id.ptr, LAW_BOOT_ID_LEN);
	}
	if (fd >= 0) {
		(void)close(fd);
	}
	buf_clear(&id);
	buf_clear(&hex);
}

static void upkeep_task(void *arg);

static void
on_upkeep(struct timer *t)
{
	struct mixer *m = t->arg;
	if (role_spawn(m->host, upkeep_task, m) != ERR_OK &&
	    timer_start_after(m->host->loop, &m->keys_timer, UPKEEP_MS) != ERR_OK) {
		panic("no memory for a timer");
	}
}

static void
upkeep_task(void *arg)
{
	struct mixer *m = arg;
	if (m->loaded && (mixer_save_age(m) != ERR_OK || mixer_keys(m) != ERR_OK)) {
		m->seen_failures++;
	}
	if (m->loaded && m->left_out) {
		m->left_out = false;
		mixer_reload(m);
	}
	if (timer_start_after(m->host->loop, &m->keys_timer, UPKEEP_MS) != ERR_OK) {
		panic("no memory for a timer");
	}
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	(void)profile;
	struct mixer *m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return ERR_MEMORY;
	}
	m->host = h;
	h->state = m;
	m->works_end = &m->works;
	m->going_end = &m->going;
	m->batch = ROOM_BATCH;
	m->reloading = true; /* by start() */
	timer_init(&m->tick, mixer_tick, m);
	timer_init(&m->keys_timer, on_upkeep, m);
	m->live.clock = (uint64_t)(h->config.leave.clock / MSEC_SECOND);
	m->live.clock = m->live.clock == 0 ? 1 : m->live.clock;
	m->live.k = h->config.leave.k;
	timer_init(&m->house_timer, house_say, m);
	read_boot_id(m->age.boot_id);
	enum err e = room_init(m);
	if (e == ERR_OK) {
		e = law_create(&h->config.leave, &m->leave);
	}
	if (e == ERR_OK) {
		e = law_create(&h->config.arrive, &m->arrive);
	}
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "the waiting room cannot be set up: %s", err_text(e));
	}
	return e;
}

/* At the start, and whenever the store came back. Again, where it went away meanwhile. */
static enum err
load_all(struct mixer *m)
{
	enum { POLL_MS = 10 };
	m->reload_again = false;
	/* A decision that is on its way to the store holds units of this life. */
	while (m->deciding) {
		enum err e = task_sleep(POLL_MS);
		if (e != ERR_OK) {
			return e;
		}
	}
	enum err e = mixer_load(m);
	if (e == ERR_OK) {
		house_settle(m);
		e = mixer_keys(m);
	}
	return e == ERR_OK && m->reload_again ? ERR_AGAIN : e;
}

static void
reload_task(void *arg)
{
	struct mixer *m = arg;
	while (load_all(m) != ERR_OK) {
		m->seen_failures++;
		if (task_sleep(RETRY_MS) != ERR_OK) {
			break;
		}
	}
	m->reloading = false;
}

void
mixer_reload(struct mixer *m)
{
	m->loaded = false;
	m->reload_again = true;
	if (!m->reloading) {
		m->reloading = true;
		if (role_spawn(m->host, reload_task, m) != ERR_OK) {
			panic("no memory for loading anew");
		}
	}
}

/* A keeper that restarted has forgotten the spool's keys; what waits is not touched. */
static void
keys_task(void *arg)
{
	struct mixer *m = arg;
	while (mixer_keys(m) != ERR_OK) {
		m->seen_failures++;
		if (task_sleep(RETRY_MS) != ERR_OK) {
			break;
		}
	}
}

static enum err
start(struct role_host *h)
{
	struct mixer *m = h->state;
	struct channel *ch = NULL;
	msec until = loop_now(h->loop) + START_LIMIT_MS;
	crypto_random_init(&m->random);
	enum err e = purpose_keys_fetch(h, &m->keys);
	if (e == ERR_OK) {
		e = role_wait_channel(h, ROLE_STORE, 0, until, &ch);
	}
	while (e == ERR_OK && (e = load_all(m)) != ERR_OK && loop_now(h->loop) < until) {
		e = task_sleep(RETRY_MS);
	}
	m->reloading = false;
	if (e == ERR_OK) {
		e = timer_start_after(h->loop, &m->keys_timer, UPKEEP_MS);
	}
	return e;
}

static void
peer_up(struct role_host *h, struct channel *ch)
{
	struct mixer *m = h->state;
	enum role peer = channel_peer(ch);
	if (peer == ROLE_COURIER) {
		outgoing_kick(m);
	} else if (peer == ROLE_STORE) {
		/* What was under way with the old one is not known: the disk is. */
		mixer_reload(m);
	} else if (peer == ROLE_KEEPER && m->loaded && role_spawn(h, keys_task, m) != ERR_OK) {
		panic("no memory for loading keys anew");
	}
}

static void
peer_down(struct role_host *h, enum role peer, unsigned index)
{
	struct mixer *m = h->state;
	(void)index;
	if (peer == ROLE_COURIER) {
		outgoing_courier_gone(m);
	} else if (peer == ROLE_STORE) {
		m->loaded = false;
	}
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *msg)
{
	struct mixer *m = h->state;
	switch ((int)msg->type) {
	case MSG_MIX_BLOB:
		mixer_blob(m, ch, msg);
		break;
	case MSG_MIX_PUT:
		mixer_put(m, ch, msg);
		break;
	case MSG_HOUSE:
		mixer_house(m, ch, msg);
		break;
	case MSG_COURIER_BLOB:
		outgoing_blob(m, ch, msg);
		break;
	case MSG_KEPT_GET:
	case MSG_KEPT_PUT:
		mixer_kept(m, ch, msg);
		break;
	case MSG_COURIER_VERDICT:
		outgoing_verdict(m, ch, msg);
		break;
	default:
		channel_fault(ch);
		break;
	}
}

/* Of the last day as the next power of ten, what waits as it was when an hour ended (process/status.h). */
static enum err
status_of_law(struct buf *out, const char *side, enum law_kind kind, const struct law *law,
	      const struct sums *sums)
{
	uint64_t released = 0;
	uint64_t voids = 0;
	sums_day(sums, &released, &voids);
	enum err e = buf_printf(
	    out, "%s_law %s\n%s_alone %d\n%s_last_day_at_most %llu\n%s_void_last_day_at_most %llu\n", side,
	    law_kind_name(kind), side, law_is_alone(law) ? 1 : 0, side,
	    (unsigned long long)status_coarse(released), side, (unsigned long long)status_coarse(voids));
	for (unsigned i = 0; i < LAW_CLASSES && e == ERR_OK; i++) {
		e = buf_printf(out, "~%s_class_%u %zu\n", side, i, law_waiting_in(law, i));
	}
	return e;
}

/* Whether letters are promised a crowd now: what the start's line and the journal say, too. */
static const char *
promise(const struct mixer *m)
{
	return m->host->config.leave.kind != LAW_CROWD ? "none" : law_is_alone(m->leave) ? "void" : "holds";
}

/* Hours that the oldest letter has waited, begun ones too; 0: none waits. What stays for days has a server that does not answer. */
static uint64_t
oldest_hours(const struct mixer *m, enum spool_stage stage)
{
	msec now = room_now(m).age;
	msec oldest = now;
	bool any = false;
	for (size_t i = 0; i < m->units.size; i++) {
		for (const struct unit *u = m->units.buckets[i]; u != NULL; u = u->next) {
			if (u->state.stage == stage) {
				oldest = u->state.entered < oldest ? u->state.entered : oldest;
				any = true;
			}
		}
	}
	return any ? (uint64_t)((now - oldest) / MSEC_HOUR) + 1 : 0;
}

/* As it is for tests alone: what is told else shows no letter. */
static enum err
write_live(const struct mixer *m, struct buf *out)
{
	static struct live told;
	if (m->host->config.status_exact == CONFIG_YES) {
		return live_write(&m->live, out);
	}
	live_told(&m->live, room_now(m).wall, &told);
	return live_write(&told, out);
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct mixer *m = h->state;
	size_t works = 0;
	for (const struct work *w = m->works; w != NULL; w = w->next) {
		works++;
	}
	enum err e = buf_printf(out, "loaded %d\n", m->loaded ? 1 : 0);
	e = e == ERR_OK ? status_of_law(out, "leave", h->config.leave.kind, m->leave, &m->left_sums) : e;
	e = e == ERR_OK ? status_of_law(out, "arrive", h->config.arrive.kind, m->arrive, &m->arrived_sums)
			: e;
	e = e == ERR_OK ? buf_printf(out, "leave_promise %s\n", promise(m)) : e;
	e = e == ERR_OK ? write_live(m, out) : e;
	return e != ERR_OK
		   ? e
		   : buf_printf(out,
				"=waiting_to_leave %zu\n=oldest_to_leave_hours %llu\n"
				"=waiting_to_arrive %zu\n=oldest_to_arrive_hours %llu\n=being_delivered %zu\n"
				"+taken %llu\n+released %llu\n+arrived %llu\n!failures %llu\n",
				law_waiting(m->leave), (unsigned long long)oldest_hours(m, SPOOL_LEAVING),
				law_waiting(m->arrive), (unsigned long long)oldest_hours(m, SPOOL_ARRIVING),
				works, (unsigned long long)m->seen_put, (unsigned long long)m->seen_released,
				(unsigned long long)m->seen_arrived, (unsigned long long)m->seen_failures);
}

const struct role_def mixer_role = {
    .id = ROLE_MIXER,
    .prepare = prepare,
    .start = start,
    .peer_up = peer_up,
    .peer_down = peer_down,
    .message = message,
    .status = status,
};
