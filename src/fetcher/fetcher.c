/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The fetcher speaks HTTP to servers of strangers for other roles, and reads what they answer (libcurl, TLS by OpenSSL). It has
 * no keys, no files, and does not ask the DNS itself: names go to the resolver. It follows no redirects, keeps nothing, and connects to
 * port 443 alone, unless who asks may more. Its capture yields which policies were asked for (the names of domains that mail goes to),
 * and false policies from then on; mail itself never passes here. It also asks a certificate authority for the house's certificates
 * (acme.c): the keeper writes and signs what is said there, for the house's own names and keys alone, and looks at what comes back.
 */
#include "fetcher/fetcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/wire.h"
#include "fetcher/internal.h"
#include "loop/task.h"
#include "process/log.h"

#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

enum {
	FETCHES_MAX = 64, /* at once */
	RESOLVE_LIMIT_MS = 45 * 1000,
	TIMEOUT_MOST_MS = 120 * 1000,
	HELD_MAX = 64 << 20, /* octets of requests at hand */
	AUTHORITIES_MAX = 16 << 20,
	TYPE_A = 1,
	TYPE_AAAA = 28,
};

struct fetcher {
	struct role_host *host;
	struct transfer_engine *engine;
	struct acme *acme; /* NULL: off */
	size_t at_hand;
	size_t held;
	uint64_t seen_fetched;
	uint64_t seen_failures;
};

struct fetch {
	struct fetcher *f;
	enum role from;
	unsigned index;
	uint64_t serial; /* of its channel */
	uint32_t id;
	struct buf payload;
	struct msg_fetch m; /* views into payload */
};

/* ---- addresses ---- */

static enum err
ask(struct role_host *h, const char *host, uint16_t type, struct transfer_request *request,
    struct transfer_address *addresses)
{
	struct msg_resolve m = {.name = bytes_str(host), .type = type};
	struct msg_resolve_reply r;
	struct buf reply = BUF_INIT(IPC_CHUNK + 1024);
	struct channel *ch = NULL;
	msec until = loop_now(h->loop) + RESOLVE_LIMIT_MS;
	enum err e = role_wait_channel(h, ROLE_RESOLVER, 0, until, &ch);
	if (e == ERR_OK) {
		e = channel_call(ch, RESOLVE, resolve, &m, until, &reply);
	}
	if (e == ERR_OK) {
		e = msg_resolve_reply_decode(buf_bytes(&reply), &r);
	}
	if (e == ERR_OK) {
		struct wire_reader list;
		wire_reader_init(&list, r.answers);
		while (list.rest.len > 0 && list.error == ERR_OK &&
		       request->address_count < TRANSFER_ADDRESSES_MAX) {
			struct bytes record = wire_get_bytes(&list, UINT16_MAX);
			struct transfer_address *a = &addresses[request->address_count];
			memset(a, 0, sizeof(*a));
			if (type == TYPE_AAAA && record.len == 16) {
				memcpy(a->address, record.ptr, 16);
				request->address_count++;
			} else if (type == TYPE_A && record.len == 4) {
				a->address[10] = 0xff;
				a->address[11] = 0xff;
				memcpy(a->address + 12, record.ptr, 4);
				request->address_count++;
			}
		}
	}
	buf_clear(&reply);
	return e;
}

static bool
is_name(const char *host)
{
	size_t len = strlen(host);
	size_t label = 0;
	for (size_t i = 0; i < len; i++) {
		bool dot = host[i] == '.';
		bool sound = ascii_is_alnum((uint8_t)host[i]) || host[i] == '-' || host[i] == '_';
		if ((!dot && !sound) || (dot && label == 0) || (!dot && ++label > 63)) {
			return false;
		}
		label = dot ? 0 : label;
	}
	return label > 0 && len <= 253;
}

/* Half of the places are for IPv4, so that a host with very many of the other kind stays reachable by it. */
enum err
fetcher_addresses(struct role_host *h, const struct transfer_url *url, bool loopback,
		  struct transfer_request *request, struct transfer_address addresses[TRANSFER_ADDRESSES_MAX])
{
	if (url->numeric) {
		return loopback ? ERR_OK : ERR_DENIED;
	}
	if (!is_name(url->host)) {
		return ERR_FORMAT;
	}
	enum err six = ask(h, url->host, TYPE_AAAA, request, addresses);
	if (request->address_count > TRANSFER_ADDRESSES_MAX / 2) {
		request->address_count = TRANSFER_ADDRESSES_MAX / 2;
	}
	enum err four = ask(h, url->host, TYPE_A, request, addresses);
	if (request->address_count > 0) {
		return ERR_OK;
	}
	return six != ERR_OK ? six : four != ERR_OK ? four : ERR_NOT_FOUND;
}

static bool
is_port_allowed(const struct fetch *q, const struct transfer_url *url)
{
	const struct config *c = &q->f->host->config;
	bool http = (q->m.options & FETCH_HTTP) != 0;
	return (url->https || http) && ((url->https && (url->port == 443 || url->port == c->fetcher_port)) ||
					(http && url->port == 80) || (q->m.options & FETCH_LOOPBACK) != 0);
}

/* ---- one request ---- */

static void
answer(struct fetch *q, struct transfer_result *result)
{
	struct channel *ch = role_channel(q->f->host, q->from, q->index);
	if (ch == NULL || channel_serial(ch) != q->serial) {
		return; /* who asked has gone */
	}
	struct msg_fetch_reply m = {.status = result->status,
				    .headers = buf_bytes(&result->headers),
				    .body = buf_bytes(&result->body)};
	enum err e = result->error == ERR_OK ? channel_reply(ch, FETCH, fetch_reply, q->id, &m)
					     : channel_answer(ch, MSG_FETCH, q->id, result->error);
	if (e != ERR_OK) {
		channel_end(ch);
	}
}

static void
fetch_task(void *arg)
{
	struct fetch *q = arg;
	struct fetcher *f = q->f;
	struct transfer_address addresses[TRANSFER_ADDRESSES_MAX];
	struct transfer_url url;
	struct transfer_result result = {.error = ERR_OK};
	struct transfer_request request = {
	    .method = q->m.method,
	    .url = q->m.url,
	    .headers = q->m.headers,
	    .body = q->m.body,
	    .body_max = q->m.body_max < FETCH_BODY_MAX - FETCH_HEADERS_MAX
			    ? q->m.body_max
			    : FETCH_BODY_MAX - FETCH_HEADERS_MAX,
	    .headers_max = FETCH_HEADERS_MAX,
	    .timeout = q->m.timeout > 0 && q->m.timeout < TIMEOUT_MOST_MS ? q->m.timeout : TIMEOUT_MOST_MS,
	    .addresses = addresses,
	    /* Trial runs keep all of the world on one machine. */
	    .loopback = (q->m.options & FETCH_LOOPBACK) != 0 || f->host->config.fetcher_port != 443};
	enum err e = transfer_url_read(q->m.url, &url);
	if (e == ERR_OK && !is_port_allowed(q, &url)) {
		e = ERR_DENIED;
	}
	if (e == ERR_OK) {
		e = fetcher_addresses(f->host, &url, (q->m.options & FETCH_LOOPBACK) != 0, &request,
				      addresses);
	}
	if (e == ERR_OK) {
		transfer_run(f->engine, &request, &result);
	} else {
		result.error = e;
	}
	f->seen_fetched++;
	f->seen_failures += result.error == ERR_OK ? 0 : 1;
	answer(q, &result);
	buf_clear(&result.headers);
	buf_wipe(&result.body);
	f->at_hand--;
	f->held -= q->payload.len;
	buf_wipe(&q->payload);
	free(q);
}

static enum err
take(struct fetcher *f, const struct channel *ch, const struct channel_message *m)
{
	if (f->at_hand >= FETCHES_MAX || f->held + m->payload.len > HELD_MAX) {
		return ERR_AGAIN;
	}
	struct fetch *q = calloc(1, sizeof(*q));
	if (q == NULL) {
		return ERR_MEMORY;
	}
	*q = (struct fetch){.f = f,
			    .from = channel_peer(ch),
			    .index = channel_peer_index(ch),
			    .serial = channel_serial(ch),
			    .id = m->id,
			    .payload = BUF_INIT(IPC_UNIT_MAX)};
	enum err e = buf_append(&q->payload, m->payload);
	if (e == ERR_OK) {
		e = msg_fetch_decode(buf_bytes(&q->payload), &q->m);
	}
	f->held += q->payload.len;
	f->at_hand++;
	if (e == ERR_OK) {
		e = role_spawn(f->host, fetch_task, q);
	}
	if (e != ERR_OK) {
		f->at_hand--;
		f->held -= q->payload.len;
		buf_wipe(&q->payload);
		free(q);
	}
	return e;
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	struct fetcher *f = h->state;
	enum err e = ERR_AGAIN;
	if (m->type == MSG_ACME_RENEW && !h->stopping) {
		e = acme_renew(f->acme, m);
	} else if (!h->stopping) {
		e = m->type == MSG_FETCH ? take(f, ch, m) : ERR_FORMAT;
	}
	if (e == ERR_FORMAT) {
		channel_fault(ch);
	} else if (e != ERR_OK && channel_answer(ch, m->type, m->id, e) != ERR_OK) {
		channel_end(ch);
	}
}

/* ---- the start ---- */

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	const char *named = h->config.tls_authorities;
	const char *path = named[0] != '\0' ? named : SYSTEM_AUTHORITIES;
	struct buf pem = BUF_INIT(AUTHORITIES_MAX);
	struct fetcher *f = calloc(1, sizeof(*f));
	(void)profile;
	if (f == NULL) {
		return ERR_MEMORY;
	}
	f->host = h;
	h->state = f;
	enum err e = file_read(path, 0, 0, &pem);
	if (e != ERR_OK) {
		log_event(
		    named[0] != '\0' ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
		    "the certificates of authorities in %s cannot be read: %s; no MTA-STS policy can be "
		    "had. Remedy: %s",
		    path, err_text(e), named[0] != '\0' ? "see tls.authorities" : "install ca-certificates");
		e = named[0] != '\0' ? e : ERR_OK;
	}
	if (e == ERR_OK) {
		e = transfer_create(h->loop, buf_bytes(&pem), &f->engine);
		if (e != ERR_OK) {
			log_event(LOG_LEVEL_ERROR,
				  "the fetcher cannot be set up: %s. Remedy: see "
				  "tls.authorities in cohue.conf",
				  err_text(e));
		}
	}
	e = e == ERR_OK ? acme_create(h, buf_bytes(&pem), &f->acme) : e;
	buf_clear(&pem);
	return e;
}

static enum err
start(struct role_host *h)
{
	struct fetcher *f = h->state;
	return f->acme == NULL ? ERR_OK : acme_start(f->acme);
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct fetcher *f = h->state;
	enum err e = buf_printf(out, "=at_hand %zu\n+fetched %llu\n+failures %llu\n", f->at_hand,
				(unsigned long long)f->seen_fetched, (unsigned long long)f->seen_failures);
	return e == ERR_OK && f->acme != NULL ? acme_status(f->acme, out) : e;
}

const struct role_def fetcher_role = {
    .id = ROLE_FETCHER,
    .sandbox_allow = SANDBOX_NET_CONNECT,
    .prepare = prepare,
    .start = start,
    .message = message,
    .status = status,
};
