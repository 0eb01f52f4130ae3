/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What a gate finds again after a restart: the networks that greylisting knows, of all gates together, and its sums of others' reports. Networks that came
 * once are not kept, nor any sender or recipient; nor how much came from whom.
 */
#include <string.h>

#include "base/wire.h"
#include "gate_mx/mx.h"
#include "lookup/kept.h"
#include "loop/task.h"
#include "process/log.h"

enum {
	KEPT_VERSION = 1,
	SUMS_MOST = 8 * 1024,
	SUMS_DAYS = 90, /* then they begin anew */
	TRIES = 10,
	PAUSE_MS = 200,
	EVERY_MS = 10 * 60 * 1000,
};

static const char role[] = "gate-mx";

static const uint8_t *
key_of(const struct mx *mx)
{
	return mx->keys.key[PURPOSE_GATE_KEEP];
}

static uint32_t
today(void)
{
	return (uint32_t)(clock_wall() / MSEC_DAY);
}

static bool
any_report(const struct report_sums *s)
{
	uint64_t any = s->dmarc_reports | s->tls_reports | s->unread | s->unproved;
	for (size_t i = 0; i < REPORT_COMPLAINT__COUNT; i++) {
		any |= s->complaints[i];
	}
	return any != 0;
}

static enum err
write_all(struct mx *mx, struct buf *out)
{
	struct wire_writer w;
	struct buf sums = BUF_INIT(SUMS_MOST);
	enum err e = report_sums_write(&mx->reports, &sums);
	wire_writer_init(&w, out);
	wire_put_u8(&w, KEPT_VERSION);
	wire_put_u32(&w, mx->reports_since);
	wire_put_bytes(&w, buf_bytes(&sums));
	e = e == ERR_OK ? wire_done(&w) : e;
	if (e == ERR_OK && mx->host->config.greylist != CONFIG_NO) {
		e = rate_known_write(mx->rates, loop_now(mx->host->loop), clock_wall(),
				     SPOOL_VALUE_MAX - out->len, out);
	}
	buf_clear(&sums);
	return e;
}

/* own: of this very gate; of others, the networks alone. */
static enum err
read_one(struct mx *mx, unsigned place, bool own)
{
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	struct wire_reader r;
	enum err e = kept_get(mx->host, key_of(mx), role, place, &plain);
	if (e == ERR_OK) {
		wire_reader_init(&r, buf_bytes(&plain));
		uint8_t version = wire_get_u8(&r);
		uint32_t since = wire_get_u32(&r);
		struct bytes sums = wire_get_bytes(&r, SUMS_MOST);
		e = r.error != ERR_OK ? r.error : version == KEPT_VERSION ? ERR_OK : ERR_UNSUPPORTED;
		if (e == ERR_OK && own && today() - since < SUMS_DAYS) {
			e = report_sums_read(sums, &mx->reports);
			mx->reports_since = e == ERR_OK ? since : mx->reports_since;
		}
		if (e == ERR_OK && r.rest.len > 0 && mx->host->config.greylist != CONFIG_NO) {
			e = rate_known_read(mx->rates, r.rest, loop_now(mx->host->loop), clock_wall());
		}
	}
	buf_wipe(&plain);
	return e;
}

/* What another gate has learnt since. */
static void
read_others(struct mx *mx)
{
	for (unsigned i = 0; i < mx->host->config.gate_mx_workers; i++) {
		if (i != mx->host->index && mx->host->config.greylist != CONFIG_NO) {
			/* It may have none yet. */
			enum err e = read_one(mx, i, false);
			(void)e;
		}
	}
}

void
mx_kept_load(struct mx *mx)
{
	enum err e = ERR_CLOSED;
	mx->reports_since = today();
	for (int i = 0; i < TRIES && (e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_AGAIN); i++) {
		if (i > 0 && task_sleep(PAUSE_MS) != ERR_OK) {
			break;
		}
		e = read_one(mx, mx->host->index, true);
	}
	mx->is_kept = e == ERR_OK;
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		log_event(LOG_LEVEL_WARNING, "what the gate kept is not known (%s): it begins anew",
			  err_text(e));
	}
	read_others(mx);
}

void
mx_kept_save(struct mx *mx)
{
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	if (today() - mx->reports_since >= SUMS_DAYS) {
		memset(&mx->reports, 0, sizeof(mx->reports));
		mx->reports_since = today();
	}
	if (any_report(&mx->reports) || mx->host->config.greylist != CONFIG_NO || mx->is_kept) {
		enum err e = write_all(mx, &plain);
		e = e == ERR_OK ? kept_put(mx->host, key_of(mx), role, buf_bytes(&plain)) : e;
		mx->is_kept = mx->is_kept || e == ERR_OK;
	}
	buf_wipe(&plain);
}

static void
keep_task(void *arg)
{
	struct mx *mx = arg;
	mx_kept_save(mx);
	read_others(mx);
	mx_kept_start(mx);
}

static void
on_keep(struct timer *t)
{
	struct mx *mx = t->arg;
	if (role_spawn(mx->host, keep_task, mx) != ERR_OK) {
		mx_kept_start(mx);
	}
}

void
mx_kept_start(struct mx *mx)
{
	timer_init(&mx->keep, on_keep, mx);
	if (timer_start_after(mx->host->loop, &mx->keep, EVERY_MS) != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "what the gate knows will not be kept: no memory");
	}
}
