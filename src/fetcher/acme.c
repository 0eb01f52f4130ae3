/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* When certificates are asked for: at two thirds of their lives, after failures with growing pauses, and when a volunteer says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/wire.h"
#include "fetcher/acme_order.h"
#include "fetcher/acme_words.h"
#include "loop/task.h"
#include "process/log.h"

enum {
	CA_MAX = 1 << 20,
	BOTH_MAX = 20 << 20,
	FIRST_MS = 2 * 1000,   /* after the start, so that the gates have their sockets */
	LOOK_MS = 3600 * 1000, /* how often it is looked whether something is due */
	STATE_MS = 20 * 1000,
	STATE_AGAIN_MS = 200,
	WAITING_MAX = 8,
	RESOLVE_MS = 20 * 1000,
	TYPE_TLSA = 52,
};

struct acme {
	struct role_host *host;
	struct transfer_engine *engine;
	struct task *task;
	bool sleeping;
	bool forced;
	uint32_t waiting[WAITING_MAX]; /* requests of the supervisor */
	size_t waiting_count;
	unsigned failures;
	msec next_try;            /* CLOCK_MONOTONIC */
	msec expires[ACME_KINDS]; /* wall clock; 0: not ours */
	bool authority[ACME_KINDS];
	char problem[ACME_PROBLEM_MAX];
	uint64_t renewed;
	struct {
		uint8_t id[32];
		msec since; /* its record stands in the DNS; CLOCK_MONOTONIC; 0: it does not */
		uint32_t ttl;
	} seen;
};

struct kept {
	uint8_t kind;
	uint8_t next[32]; /* the key's id; zeros: there is none */
	bool authority;
	msec not_before;
	msec not_after;
	struct bytes names;
};

/* Its account is made by the first question. */
static enum err
ask_state(struct acme *a, struct buf *reply, struct bytes *ret)
{
	msec until = loop_now(a->host->loop) + STATE_MS;
	for (;;) {
		struct msg_acme_state_reply r;
		buf_reset(reply);
		enum err e =
		    channel_call_empty(role_channel(a->host, ROLE_KEEPER, 0), MSG_ACME_STATE, until, reply);
		if (e == ERR_OK) {
			e = msg_acme_state_reply_decode(buf_bytes(reply), &r);
			*ret = e == ERR_OK ? r.certificates : BYTES_EMPTY;
			return e;
		}
		if ((e != ERR_AGAIN && e != ERR_CLOSED) || loop_now(a->host->loop) >= until ||
		    task_sleep(STATE_AGAIN_MS) != ERR_OK) {
			return e;
		}
	}
}

static size_t
read_state(struct acme *a, struct bytes list, struct kept ret[ACME_KINDS])
{
	struct wire_reader r;
	size_t n = 0;
	wire_reader_init(&r, list);
	while (n < ACME_KINDS && r.rest.len > 0 && r.error == ERR_OK) {
		struct kept *k = &ret[n];
		k->kind = wire_get_u8(&r);
		k->authority = wire_get_u8(&r) != 0;
		k->not_before = (msec)wire_get_u64(&r);
		k->not_after = (msec)wire_get_u64(&r);
		k->names = wire_get_bytes(&r, IPC_SMALL);
		wire_get_fixed(&r, k->next, sizeof(k->next));
		if (r.error != ERR_OK || k->kind >= ACME_KINDS) {
			break;
		}
		a->expires[k->kind] = k->not_after;
		a->authority[k->kind] = k->authority;
		n++;
	}
	return n;
}

static bool
is_due(const struct kept *k)
{
	return !k->authority || clock_wall() >= acme_renewal(k->not_before, k->not_after);
}

static const char *
ports_of(unsigned kind)
{
	return kind == ACME_MX ? "port 25" : "members' ports";
}

/* ---- which key ---- */

/* RFC 7671 section 8.1: others go on asking for the record before for as long as they keep it. */
static bool
is_published(struct acme *a, const uint8_t id[32])
{
	char name[CONFIG_NAME_MAX + 16];
	struct buf reply = BUF_INIT(IPC_CHUNK + 1024);
	struct msg_resolve_reply r;
	(void)snprintf(name, sizeof(name), "_25._tcp.%s", a->host->config.hostname);
	struct msg_resolve m = {.name = bytes_str(name), .type = TYPE_TLSA};
	enum err e = channel_call(role_channel(a->host, ROLE_RESOLVER, 0), RESOLVE, resolve, &m,
				  loop_now(a->host->loop) + RESOLVE_MS, &reply);
	e = e == ERR_OK ? msg_resolve_reply_decode(buf_bytes(&reply), &r) : e;
	if (e != ERR_OK) {
		/* Not known now: the key stays, and what was seen before was seen. */
		buf_clear(&reply);
		return false;
	}
	enum acme_tlsa is = acme_tlsa_of(r.answers, id);
	msec now = loop_now(a->host->loop);
	if (is != ACME_TLSA_THERE || memcmp(a->seen.id, id, sizeof(a->seen.id)) != 0) {
		memcpy(a->seen.id, id, sizeof(a->seen.id));
		a->seen.since = is == ACME_TLSA_THERE ? now : 0;
		a->seen.ttl = 0;
	}
	if (is == ACME_TLSA_THERE && r.ttl > a->seen.ttl) {
		a->seen.ttl = r.ttl;
	}
	buf_clear(&reply);
	msec wait = (msec)a->seen.ttl * 2 * MSEC_SECOND;
	return is == ACME_TLSA_NONE ||
	       (a->seen.since > 0 && now - a->seen.since >= (wait > MSEC_DAY ? wait : MSEC_DAY));
}

/* On members' ports no program asks for TLSA records. */
static bool
is_next_ready(struct acme *a, const struct kept *k)
{
	static const uint8_t none[32];
	return memcmp(k->next, none, sizeof(none)) != 0 && (k->kind != ACME_MX || is_published(a, k->next));
}

static bool
get_all(struct acme *a, struct acme_session *s, const struct kept *kept, size_t count, bool forced)
{
	bool open = false;
	for (size_t i = 0; i < count; i++) {
		unsigned without = 0;
		if (!forced && !is_due(&kept[i])) {
			continue;
		}
		open = open || acme_session_open(s);
		s->next = is_next_ready(a, &kept[i]);
		if (!open || !acme_certificate_get(s, kept[i].kind, kept[i].names, &without)) {
			return false;
		}
		a->renewed++;
		log_event(LOG_LEVEL_NOTICE, "a new certificate for %s is in force%s", ports_of(kept[i].kind),
			  !s->next ? ""
			  : kept[i].kind == ACME_MX
			      ? ", for a new key. With DANE: publish the TLSA records that "
				"`cohue dns` prints now"
			      : ", for a new key");
		if (without != 0) {
			log_event(
			    LOG_LEVEL_WARNING,
			    "the certificate authority did not find this house behind all of its names: the "
			    "certificate for %s lacks them (`cohue tls` says which). Remedy: publish their "
			    "records "
			    "(`cohue dns`), then `cohue tls renew`",
			    ports_of(kept[i].kind));
		}
	}
	return true;
}

static void
remember(struct acme *a, const struct acme_session *s, bool good)
{
	if (good) {
		if (a->failures > 0) {
			log_event(LOG_LEVEL_NOTICE, "certificates are renewed again");
		}
		a->failures = 0;
		a->problem[0] = '\0';
		a->next_try = 0;
		return;
	}
	/* Once, and not each time. */
	if (strcmp(a->problem, s->problem) != 0) {
		log_event(LOG_LEVEL_WARNING, "%s (the certificates in use stay)", s->problem);
	}
	(void)snprintf(a->problem, sizeof(a->problem), "%s", s->problem);
	a->failures++;
	a->next_try = loop_now(a->host->loop) + acme_backoff(a->failures);
	a->next_try = a->next_try > s->not_before_again ? a->next_try : s->not_before_again;
}

static void
answer_waiting(struct acme *a, size_t count)
{
	struct msg_acme_renew_reply r = {.problem = bytes_str(a->problem)};
	for (size_t i = 0; i < count; i++) {
		if (channel_reply(a->host->supervisor, ACME_RENEW, acme_renew_reply, a->waiting[i], &r) !=
		    ERR_OK) {
			channel_end(a->host->supervisor);
			break;
		}
	}
	a->waiting_count -= count;
	memmove(a->waiting, a->waiting + count, a->waiting_count * sizeof(a->waiting[0]));
}

static void
say_why(struct acme_session *s, enum err e)
{
	if (e == ERR_IO) {
		(void)snprintf(s->problem, sizeof(s->problem),
			       "a key cannot be saved in the folder tls of the home, and no certificate is "
			       "asked for before it is. Remedy: see to the space and the rights there (the "
			       "log names the file above); it is tried again");
		return;
	}
	(void)snprintf(s->problem, sizeof(s->problem),
		       "the keeper cannot begin with certificates: %s. Remedy: the log says why above",
		       err_text(e));
}

/* Keys go to the disk after a certificate, too: the one that is in use now, and another next one. */
static void
see_what_came(struct acme *a, struct acme_session *s, struct buf *reply, bool good)
{
	struct kept kept[ACME_KINDS];
	struct bytes list = BYTES_EMPTY;
	enum err e = ask_state(a, reply, &list);
	if (e == ERR_OK) {
		(void)read_state(a, list, kept);
	} else if (good) {
		say_why(s, e);
		remember(a, s, false);
		return;
	}
	remember(a, s, good);
}

static void
look(struct acme *a, struct acme_session *s)
{
	struct kept kept[ACME_KINDS];
	struct buf reply = BUF_INIT(IPC_SMALL);
	struct bytes list = BYTES_EMPTY;
	*s = (struct acme_session){
	    .host = a->host, .engine = a->engine, .other_challenge = a->failures % 2 == 1};
	/* Who asks from now on has the next look. */
	bool forced = a->forced;
	size_t asked = a->waiting_count;
	a->forced = false;
	enum err e = ask_state(a, &reply, &list);
	size_t count = e == ERR_OK ? read_state(a, list, kept) : 0;
	bool due = forced;
	for (size_t i = 0; i < count; i++) {
		due = due || is_due(&kept[i]);
		/* From when on it stands in the DNS is known only by looking. */
		if (kept[i].kind == ACME_MX) {
			(void)is_next_ready(a, &kept[i]);
		}
	}
	if (e != ERR_OK) {
		say_why(s, e);
		remember(a, s, false);
	} else if (count == 0) {
		(void)snprintf(a->problem, sizeof(a->problem),
			       "acme is on, and all certificates are of the tls. keys of cohue.conf");
	} else if (due && (forced || loop_now(a->host->loop) >= a->next_try)) {
		see_what_came(a, s, &reply, get_all(a, s, kept, count, forced));
	}
	buf_clear(&reply);
	answer_waiting(a, asked);
}

static void
acme_task(void *arg)
{
	struct acme *a = arg;
	struct acme_session *s = calloc(1, sizeof(*s));
	msec until = loop_now(a->host->loop) + FIRST_MS;
	a->task = task_current();
	while (s != NULL) {
		a->sleeping = !a->forced;
		enum err e = a->forced ? ERR_OK : task_suspend_until(until);
		a->sleeping = false;
		if (e == ERR_CLOSED || a->host->stopping) {
			break;
		}
		look(a, s);
		until = loop_now(a->host->loop) + LOOK_MS;
		until = a->next_try > 0 && a->next_try < until ? a->next_try : until;
	}
	a->task = NULL;
	free(s);
}

enum err
acme_renew(struct acme *a, const struct channel_message *m)
{
	if (msg_empty_decode(m->payload) != ERR_OK) {
		return ERR_FORMAT;
	}
	if (a == NULL) {
		return ERR_DENIED;
	}
	if (a->waiting_count == WAITING_MAX) {
		return ERR_AGAIN;
	}
	a->waiting[a->waiting_count++] = m->id;
	a->forced = true;
	if (a->sleeping) {
		a->sleeping = false;
		task_wake(a->task, ERR_OK);
	}
	return ERR_OK;
}

enum err
acme_start(struct acme *a)
{
	return role_spawn(a->host, acme_task, a);
}

enum err
acme_status(const struct acme *a, struct buf *out)
{
	msec now = clock_wall();
	enum err e = buf_printf(out, "acme_certificates %llu\n", (unsigned long long)a->renewed);
	for (unsigned kind = 0; kind < ACME_KINDS && e == ERR_OK; kind++) {
		if (a->expires[kind] != 0) {
			e = buf_printf(
			    out, "acme_%s_days %lld\nacme_%s_issuer %s\n", kind == ACME_MX ? "mx" : "member",
			    (long long)((a->expires[kind] - now) / MSEC_DAY),
			    kind == ACME_MX ? "mx" : "member", a->authority[kind] ? "authority" : "itself");
		}
	}
	if (e == ERR_OK && a->problem[0] != '\0') {
		e = buf_printf(out, "acme_failures %u\nacme_problem %s\n", a->failures, a->problem);
	}
	return e;
}

enum err
acme_create(struct role_host *h, struct bytes authorities, struct acme **ret)
{
	const struct config *c = &h->config;
	struct buf pem = BUF_INIT(BOTH_MAX);
	struct buf extra = BUF_INIT(CA_MAX);
	if (c->acme != CONFIG_ON) {
		return ERR_OK;
	}
	struct acme *a = calloc(1, sizeof(*a));
	enum err e = a == NULL ? ERR_MEMORY : buf_append(&pem, authorities);
	if (e == ERR_OK && c->acme_ca[0] != '\0') {
		e = file_read(c->acme_ca, 0, 0, &extra);
		if (e != ERR_OK) {
			log_event(LOG_LEVEL_ERROR, "%s cannot be read: %s. Remedy: see acme.ca in cohue.conf",
				  c->acme_ca, err_text(e));
		}
		e = e == ERR_OK ? buf_append_byte(&pem, '\n') : e;
		e = e == ERR_OK ? buf_append(&pem, buf_bytes(&extra)) : e;
	}
	if (e == ERR_OK) {
		a->host = h;
		e = transfer_create(h->loop, buf_bytes(&pem), &a->engine);
		if (e != ERR_OK) {
			log_event(LOG_LEVEL_ERROR,
				  "acme cannot be set up: %s. Remedy: see acme.ca in cohue.conf",
				  err_text(e));
		}
	}
	buf_clear(&pem);
	buf_clear(&extra);
	if (e != ERR_OK) {
		free(a);
		return e;
	}
	*ret = a;
	return ERR_OK;
}
