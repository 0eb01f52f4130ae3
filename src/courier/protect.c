/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What protects a domain's mail: TLSA records (RFC 7672), and the MTA-STS policy, which is kept over restarts (RFC 8461). */
#include "courier/protect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "process/log.h"

enum {
	RESOLVE_LIMIT_MS = 45 * 1000,
	RESOLVE_TRIES = 3,
	FETCH_MS = 60 * 1000, /* RFC 8461 section 3.3 */
	FETCH_LIMIT_MS = 120 * 1000,
	POLL_MS = 25,
	POLLS_MAX = 6000,
	HTTPS_PORT = 443,
	HTTP_OK = 200,
	REFRESH_LEAST_MS = 60 * 1000, /* between two looks whether a policy should be asked for anew */
	REFRESH_SPREAD_MS = 8 * 60 * 1000,
};

static const char kept_name[] = "courier-kept";

enum err
protect_resolve(struct courier *c, const char *name, enum route_type type, struct buf *reply,
		struct route_answer *ret)
{
	enum { NO_NAME = 3 };
	struct role_host *h = c->host;
	struct msg_resolve q = {.name = bytes_str(name), .type = (uint16_t)type};
	struct msg_resolve_reply r;
	enum err e = ERR_CLOSED;
	/* A resolver that died comes back at once: no reason to let mail wait for an hour. */
	for (unsigned i = 0; i < RESOLVE_TRIES && e == ERR_CLOSED; i++) {
		struct channel *ch = NULL;
		msec until = loop_now(h->loop) + RESOLVE_LIMIT_MS;
		buf_wipe(reply);
		if (role_wait_channel(h, ROLE_RESOLVER, 0, until, &ch) == ERR_OK) {
			e = channel_call(ch, RESOLVE, resolve, &q, until, reply);
		}
	}
	if (e == ERR_OK) {
		e = msg_resolve_reply_decode(buf_bytes(reply), &r);
	}
	if (e == ERR_OK) {
		memset(ret, 0, sizeof(*ret));
		ret->no_name = r.rcode == NO_NAME;
		ret->secure = r.secure != 0;
		ret->rdata = r.answers;
		if (r.canonical.len > 0 && r.canonical.len < sizeof(ret->canonical)) {
			memcpy(ret->canonical, r.canonical.ptr, r.canonical.len);
		}
	}
	return e;
}

/* ---- DANE ---- */

static void
read_associations(struct bytes rdata, struct protect_dane *d)
{
	struct wire_reader r;
	wire_reader_init(&r, rdata);
	d->count = 0;
	while (r.rest.len > 0 && r.error == ERR_OK && d->count < PROTECT_ASSOCIATIONS_MAX) {
		struct bytes record = wire_get_bytes(&r, UINT16_MAX);
		if (record.len > 3) {
			d->list[d->count++] = (struct tls_association){.usage = record.ptr[0],
								       .selector = record.ptr[1],
								       .matching = record.ptr[2],
								       .data = bytes_from(record, 3)};
		}
	}
}

/* RFC 7672 section 2.2: whatever is not known for sure keeps the host from being used. */
static void
ask_tlsa(struct courier *c, const char *base, struct protect_dane *d)
{
	char name[ROUTE_NAME_MAX + 16];
	struct route_answer answer;
	(void)snprintf(name, sizeof(name), "_%u._tcp.%s", (unsigned)c->settings.port, base);
	if (strlen(name) > 253) {
		d->state = POLICY_DANE_NONE;
		return;
	}
	if (protect_resolve(c, name, ROUTE_TLSA, &d->reply, &answer) != ERR_OK) {
		d->state = POLICY_DANE_BROKEN;
		return;
	}
	if (!answer.secure || answer.rdata.len == 0) {
		d->state = POLICY_DANE_NONE;
		return;
	}
	read_associations(answer.rdata, d);
	d->state = tls_associations_usable(c->settings.tls, d->list, d->count) > 0 ? POLICY_DANE_USABLE
										   : POLICY_DANE_UNUSABLE;
	(void)snprintf(d->base, sizeof(d->base), "%s", base);
}

void
protect_dane(struct work *w, const struct route_target *target, struct protect_dane *ret)
{
	*ret = (struct protect_dane){.state = POLICY_DANE_NONE, .reply = BUF_INIT(IPC_CHUNK + 1024)};
	if (!target->secure) {
		return;
	}
	/* Behind its aliases first, then by its own name (RFC 7672 section 2.2.2). */
	if (target->canonical[0] != '\0') {
		ask_tlsa(w->courier, target->canonical, ret);
	}
	if (ret->state == POLICY_DANE_NONE) {
		ask_tlsa(w->courier, target->name, ret);
	}
}

void
protect_dane_clear(struct protect_dane *d)
{
	buf_clear(&d->reply);
	d->count = 0;
}

/* ---- MTA-STS: what is kept ---- */

static int64_t
now_seconds(void)
{
	return clock_wall() / MSEC_SECOND;
}

static void
load(struct courier *c)
{
	struct buf reply = BUF_INIT(IPC_CHUNK + 64);
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	struct msg_kept_get_reply r;
	for (unsigned i = 0; c->sts_loading && i < POLLS_MAX; i++) {
		if (task_sleep(POLL_MS) != ERR_OK) {
			return;
		}
	}
	if (c->sts_loaded) {
		return;
	}
	c->sts_loading = true;
	struct msg_kept_get q = {.place = 0};
	enum err e = channel_call(role_channel(c->host, ROLE_MIXER, 0), KEPT_GET, kept_get, &q,
				  loop_now(c->host->loop) + COURIER_CALL_MS, &reply);
	if (e == ERR_OK) {
		e = msg_kept_get_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		e = spool_value_open(c->purpose.key[PURPOSE_COURIER_KEEP], kept_name, r.value, &plain);
	}
	if (e == ERR_OK) {
		e = sts_cache_read(buf_bytes(&plain), now_seconds(), &c->sts);
	}
	/* In doubt it is as after a first start; what cannot be asked now, is asked the next time. */
	c->sts_loaded = e != ERR_CLOSED && e != ERR_TIMEOUT && e != ERR_MEMORY;
	c->sts_loading = false;
	if (e != ERR_OK && e != ERR_NOT_FOUND && c->sts_loaded) {
		log_event(LOG_LEVEL_WARNING, "the MTA-STS policies that were kept cannot be read: %s",
			  err_text(e));
	}
	buf_clear(&reply);
	buf_wipe(&plain);
}

static enum err
save_once(struct courier *c)
{
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	struct buf sealed = BUF_INIT(IPC_CHUNK - 64);
	enum err e = sts_cache_write(&c->sts, now_seconds(), &plain);
	if (e == ERR_OK) {
		e = spool_value_seal(buf_bytes(&plain), c->purpose.key[PURPOSE_COURIER_KEEP], kept_name,
				     &sealed);
	}
	if (e == ERR_OK) {
		struct msg_kept_put m = {.value = buf_bytes(&sealed)};
		e = channel_call(role_channel(c->host, ROLE_MIXER, 0), KEPT_PUT, kept_put, &m,
				 loop_now(c->host->loop) + COURIER_CALL_MS, NULL);
	}
	buf_wipe(&plain);
	buf_clear(&sealed);
	return e;
}

static void
save_task(void *arg)
{
	struct courier *c = arg;
	while (c->sts_changed) {
		c->sts_changed = false;
		c->sts_stale = false;
		if (save_once(c) != ERR_OK) {
			/* With the next one that changes. */
			break;
		}
	}
	c->sts_saving = false;
}

static void
save(struct courier *c)
{
	c->sts_changed = true;
	if (!c->sts_saving) {
		c->sts_saving = role_spawn(c->host, save_task, c) == ERR_OK;
	}
}

/* ---- MTA-STS: asking ---- */

static enum err
fetch(struct courier *c, const char *domain, struct sts_policy *p)
{
	struct buf url = BUF_INIT(512);
	struct buf reply = BUF_INIT(STS_POLICY_MAX + FETCH_HEADERS_MAX + 1024);
	struct msg_fetch_reply r;
	struct channel *ch = NULL;
	const struct config *config = &c->host->config;
	msec until = loop_now(c->host->loop) + FETCH_LIMIT_MS;
	enum err e = buf_printf(&url, "https://mta-sts.%s", domain);
	if (e == ERR_OK && config->fetcher_port != HTTPS_PORT) {
		e = buf_printf(&url, ":%u", (unsigned)config->fetcher_port);
	}
	if (e == ERR_OK) {
		e = buf_append_str(&url, "/.well-known/mta-sts.txt");
	}
	if (e == ERR_OK) {
		e = role_wait_channel(c->host, ROLE_FETCHER, 0, until, &ch);
	}
	if (e == ERR_OK) {
		struct msg_fetch q = {.method = BYTES_LIT("GET"),
				      .url = buf_bytes(&url),
				      .body_max = STS_POLICY_MAX,
				      .timeout = FETCH_MS};
		e = channel_call(ch, FETCH, fetch, &q, until, &reply);
	}
	if (e == ERR_OK) {
		e = msg_fetch_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK && (r.status != HTTP_OK || !sts_content_type_fits(r.headers))) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		e = sts_policy_read(r.body, p);
	}
	buf_clear(&url);
	buf_clear(&reply);
	return e;
}

/* The domain's id in the DNS; false: there is none, or it is not known now. */
static bool
ask_id(struct courier *c, const char *domain, char ret[STS_ID_MAX + 1])
{
	char name[ROUTE_NAME_MAX + 16];
	struct route_answer answer;
	struct buf reply = BUF_INIT(IPC_CHUNK + 1024);
	(void)snprintf(name, sizeof(name), "_mta-sts.%s", domain);
	bool known = strlen(name) <= 253 && protect_resolve(c, name, ROUTE_TXT, &reply, &answer) == ERR_OK &&
		     !answer.no_name && sts_answer_read(answer.rdata, ret) == ERR_OK;
	buf_clear(&reply);
	return known;
}

/* It is not dropped while it is fetched. */
static void
fetch_into(struct courier *c, struct sts_entry *e, const char *id)
{
	struct sts_policy p;
	sts_policy_init(&p);
	e->fetching = true;
	enum err error = fetch(c, e->domain, &p);
	e->fetching = false;
	c->seen_policies++;
	if (error == ERR_OK) {
		sts_took(e, id, &p, now_seconds());
		sts_cache_trim(&c->sts, e);
		save(c);
	} else {
		c->seen_policies_failed++;
		sts_failed(e, now_seconds());
	}
	sts_policy_clear(&p);
}

/* One asks, the others of the same domain wait for it. */
static void
renew(struct courier *c, const char *domain, const char *id)
{
	struct sts_entry *e = sts_cache_get(&c->sts, domain);
	for (unsigned i = 0; e != NULL && e->fetching && i < POLLS_MAX; i++) {
		if (task_sleep(POLL_MS) != ERR_OK) {
			return;
		}
		e = sts_cache_get(&c->sts, domain);
	}
	if (e == NULL || e->fetching || sts_next(e, id, now_seconds()) != STS_FETCH) {
		return;
	}
	fetch_into(c, e, id);
}

/* ---- MTA-STS: before a policy expires ---- */

/*
 * RFC 8461 section 10.2: what is asked for only when there is a letter may have expired when the next one goes, and then
 * who strips the record has it in clear. At random times, one policy at a time, so that a question says nothing of letters.
 */
static void
refresh_task(void *arg)
{
	struct courier *c = arg;
	while (task_sleep(REFRESH_LEAST_MS + (msec)crypto_random_below(&c->random, REFRESH_SPREAD_MS)) ==
		   ERR_OK &&
	       !c->host->stopping) {
		char domain[STS_DOMAIN_MAX + 1];
		char id[STS_ID_MAX + 1] = "";
		if (!c->sts_loaded) {
			load(c);
		}
		struct sts_entry *e = sts_refresh_next(&c->sts, now_seconds(), crypto_random_u64, &c->random);
		if (e != NULL) {
			memcpy(domain, e->domain, sizeof(domain));
			/* Without a record there is no policy to be had: what is known holds until it expires (section 5.1). */
			bool known = ask_id(c, domain, id);
			e = known ? sts_cache_find(&c->sts, domain) : NULL;
			if (e != NULL && !e->fetching) {
				fetch_into(c, e, id);
			}
		}
		if (c->sts_stale) {
			save(c);
		}
	}
}

enum err
protect_start(struct courier *c)
{
	return c->host->config.smarthost[0] != '\0' ? ERR_OK : role_spawn(c->host, refresh_task, c);
}

void
protect_sts(struct work *w, const struct route *route, enum policy_sts ret[ROUTE_TARGETS_MAX])
{
	struct courier *c = w->courier;
	char domain[STS_DOMAIN_MAX + 1];
	char id[STS_ID_MAX + 1] = "";
	for (size_t i = 0; i < ROUTE_TARGETS_MAX; i++) {
		ret[i] = POLICY_STS_NONE;
	}
	/* An address literal has no policy. */
	if (w->part.domain.len == 0 || w->part.domain.len > STS_DOMAIN_MAX || w->part.domain.ptr[0] == '[') {
		return;
	}
	for (size_t i = 0; i < w->part.domain.len; i++) {
		domain[i] = (char)ascii_lower(w->part.domain.ptr[i]);
	}
	domain[w->part.domain.len] = '\0';
	if (!c->sts_loaded) {
		load(c);
	}
	bool known = ask_id(c, domain, id);
	if (known) {
		renew(c, domain, id);
	}
	int64_t now = now_seconds();
	struct sts_entry *e = sts_cache_get(&c->sts, domain);
	if (e == NULL) {
		return;
	}
	sts_settle(e, now);
	/* Kept with the next that is asked for, at a time that no letter chose. */
	c->sts_stale = (sts_used(e, now) && e->expires > now) || c->sts_stale;
	for (size_t i = 0; i < route->count && e->expires > now && e->policy.mode != STS_NONE; i++) {
		ret[i] = e->policy.mode == STS_TESTING                          ? POLICY_STS_TESTING
			 : sts_policy_names(&e->policy, route->targets[i].name) ? POLICY_STS_NAMED
										: POLICY_STS_FOREIGN;
	}
}
