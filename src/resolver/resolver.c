/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. The resolver asks the DNS, validates, and caches; it reads answers that strangers write, by
 * libunbound, and reads the answer once more with limits of its own before it is passed on. It sees the
 * names of destinations and of authors' domains, and nothing of who writes to whom. It connects to anywhere; it has no files, no
 * keys, and answers the courier and gate-mx alone. Its capture yields those names, and false answers for names that are not signed.
 */
#include "resolver/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unistd.h>

#include "base/secret.h"
#include "process/log.h"
#include "resolver/dns_answer.h"
#include "resolver/events.h"
#include "resolver/tls_forward.h"

enum {
	QUESTION_LIMIT_MS = 40 * 1000,
	CLASS_IN = 1,
	RCODE_OK = 0,
	RCODE_NO_NAME = 3,
};

#define DEBIAN_ANCHOR "/usr/share/dns/root.key" /* of the package dns-root-data */
#define CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

/* The root's key signing keys, as IANA publishes them (root-anchors.xml). */
static const char *const root_anchors[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

/*
 * Each has a room of its own for questions under way: however long strangers' servers take, the courier's and the policies' are asked. What
 * nobody waits for any more counts until libunbound has done with it.
 */
enum share { SHARE_COURIER, SHARE_FETCHER, SHARE_POLICY, SHARE_STRANGERS, SHARE_COUNT };
static const size_t room[SHARE_COUNT] = {
    [SHARE_COURIER] = 96, [SHARE_FETCHER] = 32, [SHARE_POLICY] = 128, [SHARE_STRANGERS] = 128};

struct question;

struct resolver {
	struct role_host *host;
	struct ub_ctx *ctx;
	struct tls_forward *forward; /* NULL: libunbound asks by itself */
	int forward_fd;
	size_t outstanding[SHARE_COUNT]; /* asked of libunbound */
	uint64_t seen_questions;
	uint64_t seen_failures;
	uint64_t seen_bogus;
};

struct question {
	struct resolver *r;
	struct timer timer;
	enum role from;
	unsigned index;
	uint64_t serial; /* of its channel */
	uint32_t id;
	uint16_t type;
	enum share share;
	bool answered; /* it took too long: nobody waits for it any more */
	char name[DNS_NAME_TEXT_MAX];
};

/* ---- answers ---- */

static void
answer(struct question *q, enum err status, const struct msg_resolve_reply *reply)
{
	struct resolver *r = q->r;
	struct channel *ch = role_channel(r->host, q->from, q->index);
	timer_stop(&q->timer);
	if (q->answered) {
		return;
	}
	q->answered = true;
	r->seen_failures += status == ERR_OK || status == ERR_AUTH ? 0 : 1;
	r->seen_bogus += status == ERR_AUTH ? 1 : 0;
	if (ch == NULL ||
	    channel_serial(ch) != q->serial) { /* who asked has gone, even if another is there */
		return;
	}
	enum err e = status == ERR_OK ? channel_reply(ch, RESOLVE, resolve_reply, q->id, reply)
				      : channel_answer(ch, MSG_RESOLVE, q->id, status);
	if (e != ERR_OK) {
		channel_end(ch);
	}
}

static void
on_timeout(struct timer *t)
{
	/* libunbound goes on, for the cache; its callback frees the question. */
	answer(t->arg, ERR_TIMEOUT, NULL);
}

static void
pass_on(struct question *q, struct bytes packet, bool secure)
{
	struct dns_answer a;
	struct buf rdata = BUF_INIT(IPC_CHUNK - 1024);
	enum err e = dns_answer_read(packet, bytes_str(q->name), q->type, &a, &rdata);
	if (e == ERR_OK && a.rcode != RCODE_OK && a.rcode != RCODE_NO_NAME) {
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		struct msg_resolve_reply m = {.rcode = a.rcode,
					      .secure = secure,
					      .ttl = a.ttl,
					      .canonical = bytes_str(a.canonical),
					      .answers = buf_bytes(&rdata)};
		answer(q, ERR_OK, &m);
	} else {
		answer(q, e == ERR_MEMORY ? e : ERR_AGAIN, NULL);
	}
	buf_wipe(&rdata);
}

/* libunbound's last word on a question; also from within ub_resolve_event, for names that it knows itself. */
static void
on_answer(void *arg, int rcode, void *packet, int packet_len, int sec, char *why_bogus, int was_ratelimited)
{
	enum { INSECURE = 0, BOGUS = 1, SECURE = 2 };
	struct question *q = arg;
	(void)why_bogus;
	(void)was_ratelimited;
	if (q == NULL) {
		return;
	}
	if (sec == BOGUS) {
		answer(q, ERR_AUTH, NULL);
	} else if (rcode != RCODE_OK || packet == NULL || packet_len < 0) {
		answer(q, ERR_AGAIN, NULL);
	} else {
		pass_on(q, bytes_of(packet, (size_t)packet_len), sec == SECURE);
	}
	q->r->outstanding[q->share]--;
	secret_wipe(q->name, sizeof(q->name));
	free(q);
}

static enum share
share_of(const struct channel *ch, const struct msg_resolve *m)
{
	if (channel_peer(ch) == ROLE_GATE_MX) {
		return m->strangers != 0 ? SHARE_STRANGERS : SHARE_POLICY;
	}
	return channel_peer(ch) == ROLE_FETCHER ? SHARE_FETCHER : SHARE_COURIER;
}

static enum err
ask(struct resolver *r, const struct channel *ch, uint32_t id, const struct msg_resolve *m)
{
	enum share share = share_of(ch, m);
	if (r->outstanding[share] >= room[share]) {
		return ERR_FULL;
	}
	struct question *q = calloc(1, sizeof(*q));
	if (q == NULL) {
		return ERR_MEMORY;
	}
	*q = (struct question){.r = r,
			       .from = channel_peer(ch),
			       .index = channel_peer_index(ch),
			       .serial = channel_serial(ch),
			       .id = id,
			       .type = m->type,
			       .share = share};
	memcpy(q->name, m->name.ptr, m->name.len);
	timer_init(&q->timer, on_timeout, q);
	enum err e = timer_start_after(r->host->loop, &q->timer, QUESTION_LIMIT_MS);
	if (e == ERR_OK) {
		r->outstanding[share]++;
		r->seen_questions++;
		int async_id = 0;
		if (ub_resolve_event(r->ctx, q->name, m->type, CLASS_IN, q, on_answer, &async_id) == 0) {
			/* It may be freed by now. */
			return ERR_OK;
		}
		r->outstanding[share]--;
		e = ERR_AGAIN;
	}
	timer_stop(&q->timer);
	free(q);
	return e;
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	struct msg_resolve q;
	if (m->type != MSG_RESOLVE || msg_resolve_decode(m->payload, &q) != ERR_OK ||
	    !dns_name_is_sound(q.name)) {
		channel_fault(ch);
		return;
	}
	enum err e = ask(h->state, ch, m->id, &q);
	if (e != ERR_OK && channel_answer(ch, m->type, m->id, e) != ERR_OK) {
		channel_end(ch);
	}
}

/* ---- the start ---- */

static int
set_options(struct ub_ctx *ctx)
{
	static const char *const options[][2] = {
	    {"msg-cache-size:", "4m"},
	    {"rrset-cache-size:", "8m"},
	    {"key-cache-size:", "2m"},
	    {"neg-cache-size:", "1m"},
	    {"infra-cache-numhosts:", "4000"},
	    /* Twice and more what may be under way: a question often takes several of its own. */
	    {"num-queries-per-thread:", "1024"},
	    {"outgoing-range:", "1024"},
	    {"incoming-num-tcp:", "0"},
	    {"outgoing-num-tcp:", "32"},
	    /* Nobody on the way learns more of a name than he must (RFC 9156). */
	    {"qname-minimisation:", "yes"},
	    /* A question is asked when a message leaves, and never else. */
	    {"prefetch:", "no"},
	    {"prefetch-key:", "no"},
	    {"serve-expired:", "no"},
	    {"cache-max-ttl:", "86400"},
	    {"cache-max-negative-ttl:", "900"},
	    {"harden-dnssec-stripped:", "yes"},
	    {"harden-glue:", "yes"},
	};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int r = ub_ctx_set_option(ctx, options[i][0], options[i][1]);
		if (r != 0) {
			return r;
		}
	}
	return 0;
}

static bool
is_loopback(const char *address)
{
	struct in_addr v4;
	struct in6_addr v6;
	if (inet_pton(AF_INET, address, &v4) == 1) {
		return (ntohl(v4.s_addr) >> 24) == 127;
	}
	return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static int
set_upstreams(struct ub_ctx *ctx, const struct config_upstream *list, size_t count, bool stub)
{
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct config_upstream *u = &list[i];
		char where[CONFIG_ADDRESS_TEXT + 16];
		(void)snprintf(where, sizeof(where), "%s@%u", u->address, (unsigned)u->port);
		if (is_loopback(u->address)) {
			r = ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
		}
		if (r == 0) {
			r = stub ? ub_ctx_set_stub(ctx, u->zone, where, 0) : ub_ctx_set_fwd(ctx, where);
		}
	}
	return r;
}

static int
set_anchor(struct ub_ctx *ctx, const struct config *c)
{
	if (c->resolver_trust_anchor[0] == '/') {
		return ub_ctx_add_ta_file(ctx, c->resolver_trust_anchor);
	}
	if (c->resolver_trust_anchor[0] != '\0') {
		return ub_ctx_add_ta(ctx, c->resolver_trust_anchor);
	}
	if (access(DEBIAN_ANCHOR, R_OK) == 0) {
		return ub_ctx_add_ta_file(ctx, DEBIAN_ANCHOR);
	}
	int r = 0;
	for (size_t i = 0; i < sizeof(root_anchors) / sizeof(root_anchors[0]) && r == 0; i++) {
		r = ub_ctx_add_ta(ctx, root_anchors[i]);
	}
	return r;
}

static int
configure(struct ub_ctx *ctx, const struct config *c)
{
	int r = ub_ctx_debugout(ctx, NULL); /* names of destinations are written nowhere */
	if (r == 0) {
		r = ub_ctx_debuglevel(ctx, 0);
	}
	if (r == 0) {
		r = set_options(ctx);
	}
	if (r == 0) {
		r = set_upstreams(ctx, c->resolver_stub, c->resolver_stub_count, true);
	}
	if (r == 0) {
		r = set_upstreams(ctx, c->resolver_forward, c->resolver_forward_count, false);
	}
	return r == 0 ? set_anchor(ctx, c) : r;
}

static enum err
read_certificates(struct buf *out)
{
	uint8_t piece[4096];
	int fd = open(CA_BUNDLE, O_RDONLY | O_CLOEXEC);
	enum err e = fd < 0 ? err_from_errno(errno) : ERR_OK;
	ssize_t n = 1;
	while (e == ERR_OK && n > 0) {
		n = read(fd, piece, sizeof(piece));
		e = n < 0 ? err_from_errno(errno) : buf_append(out, bytes_of(piece, (size_t)n));
	}
	if (fd >= 0) {
		(void)close(fd);
	}
	return e;
}

/* Where resolver.forward_tls is set: libunbound asks our own port, and that asks the servers named, under TLS. */
static enum err
forward_over_tls(struct resolver *r, struct sandbox_profile *profile)
{
	const struct config *c = &r->host->config;
	struct buf certificates = BUF_INIT(16 << 20);
	struct tls_context *tls = NULL;
	struct config_upstream here = {.address = "127.0.0.1"};
	if (c->resolver_forward_tls_count == 0) {
		return ERR_OK;
	}
	enum err e = read_certificates(&certificates);
	if (e == ERR_OK) {
		e = tls_client_create(TLS_1_2, buf_bytes(&certificates), &tls);
	}
	buf_clear(&certificates);
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR,
			  "resolver.forward_tls needs the certificates in " CA_BUNDLE
			  ", which cannot be read: %s. Remedy: install ca-certificates",
			  err_text(e));
		return e;
	}
	e = tls_forward_create(r->host->loop, c->resolver_forward_tls, c->resolver_forward_tls_count, tls,
			       &r->forward, &here.port);
	if (e == ERR_OK) {
		r->forward_fd = tls_forward_descriptor(r->forward);
		profile->fds = &r->forward_fd;
		profile->fd_count = 1;
		e = set_upstreams(r->ctx, &here, 1, false) == 0 ? ERR_OK : ERR_MEMORY;
	}
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_ERROR, "the resolver cannot forward under TLS: %s", err_text(e));
	}
	return e;
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	struct ub_event_base *base = NULL;
	struct resolver *r = calloc(1, sizeof(*r));
	if (r == NULL || events_create(h->loop, &base) != ERR_OK) {
		free(r);
		return ERR_MEMORY;
	}
	r->host = h;
	r->ctx = ub_ctx_create_ub_event(base);
	if (r->ctx == NULL) {
		log_event(LOG_LEVEL_ERROR, "the resolver cannot be set up: out of memory");
		free(r);
		return ERR_MEMORY;
	}
	h->state = r;
	enum err e = forward_over_tls(r, profile);
	if (e != ERR_OK) {
		return e;
	}
	int result = configure(r->ctx, &h->config);
	if (result == 0 && h->config.resolver_stub_count + h->config.resolver_forward_count +
				   h->config.resolver_forward_tls_count >
			       0) {
		/* Reserved for tests (RFC 6761): to be asked of a server that was named on purpose. */
		result = ub_ctx_zone_remove(r->ctx, "test.");
	}
	if (result == 0) {
		/* A name that it knows itself: makes it read its files now, while there are any. */
		result = ub_resolve_event(r->ctx, "localhost", DNS_TYPE_A, CLASS_IN, NULL, on_answer, NULL);
	}
	if (result != 0) {
		log_event(
		    LOG_LEVEL_ERROR,
		    "the resolver cannot be set up: %s. Remedy: see resolver.trust_anchor, resolver.stub "
		    "and resolver.forward_tls in cohue.conf",
		    ub_strerror(result));
		return ERR_FORMAT;
	}
	return ERR_OK;
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct resolver *r = h->state;
	size_t outstanding = 0;
	for (size_t i = 0; i < SHARE_COUNT; i++) {
		outstanding += r->outstanding[i];
	}
	return buf_printf(out, "=outstanding %zu\n+questions %llu\n+failures %llu\n+bogus %llu\n",
			  outstanding, (unsigned long long)r->seen_questions,
			  (unsigned long long)r->seen_failures, (unsigned long long)r->seen_bogus);
}

const struct role_def resolver_role = {
    .id = ROLE_RESOLVER,
    .sandbox_allow = SANDBOX_NET_CONNECT,
    .prepare = prepare,
    .message = message,
    .status = status,
};
