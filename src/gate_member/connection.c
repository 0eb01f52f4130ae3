/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "gate_member/gate.h"

/* ---- how many come from where ---- */

static void
address_of(const struct sockaddr *peer, uint8_t ret[GATE_ADDRESS_LEN])
{
	memset(ret, 0, GATE_ADDRESS_LEN);
	if (peer->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)peer;
		memcpy(ret, &in6->sin6_addr, 16);
	} else if (peer->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
		ret[10] = 0xff;
		ret[11] = 0xff;
		memcpy(ret + 12, &in->sin_addr, 4);
	}
}

/* One customer's network counts as one: an IPv4 address, or the first 64 bits of an IPv6 one. */
static uint64_t
source_name(const struct member_gate *g, const uint8_t address[GATE_ADDRESS_LEN], bool web)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	size_t len = memcmp(address, mapped, sizeof(mapped)) == 0 ? GATE_ADDRESS_LEN : 8;
	uint8_t hash[CRYPTO_HASH_LEN];
	uint64_t name = 0;
	uint8_t text[GATE_ADDRESS_LEN + 1];
	memcpy(text, address, len);
	/* Counted apart: who browses keeps nobody of the same household from her mail. */
	text[len] = web ? 1 : 0;
	crypto_mac(g->source_key, bytes_of(text, len + 1), hash);
	memcpy(&name, hash, sizeof(name));
	return name;
}

/* NULL where there are too many from there, or no memory. */
static struct source *
source_take(struct member_gate *g, const uint8_t address[GATE_ADDRESS_LEN], bool web)
{
	uint64_t name = source_name(g, address, web);
	uint32_t share = g->host->config.gate_member_connections / GATE_SHARE;
	uint32_t most = web ? GATE_WEB_SOURCE : share > GATE_SHARE_LEAST ? share : GATE_SHARE_LEAST;
	struct source **bucket = &g->sources[name % GATE_BUCKETS];
	struct source *s = *bucket;
	while (s != NULL && s->name != name) {
		s = s->next;
	}
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL) {
			return NULL;
		}
		s->name = name;
		s->next = *bucket;
		*bucket = s;
	}
	if (s->count >= most) {
		return NULL;
	}
	s->count++;
	return s;
}

static void
source_give(struct member_gate *g, struct source *s)
{
	if (s == NULL || --s->count > 0) {
		return;
	}
	struct source **at = &g->sources[s->name % GATE_BUCKETS];
	while (*at != s) {
		at = &(*at)->next;
	}
	*at = s->next;
	free(s);
}

/* ---- the connection ---- */

static bool
is_web(const struct gate_listener *l)
{
	return l->port == 443 || l->port == 80;
}

/* Members and the web have a number each. */
static bool
is_full(const struct member_gate *g, bool web)
{
	uint32_t most = g->host->config.gate_member_connections;
	return web ? g->browsing >= most / GATE_WEB_SHARE + 1 : g->connections - g->browsing >= most;
}

/* Where it is full, the next ones wait in the kernel's queue until one of these ends. */
static void
hold_or_release(struct member_gate *g)
{
	for (size_t i = 0; i < g->listener_count; i++) {
		struct gate_listener *l = &g->listeners[i];
		if (is_full(g, is_web(l))) {
			listener_hold(&l->listener);
		} else {
			listener_release(&l->listener);
		}
	}
}

static void
http_closed(struct http_connection *h)
{
	connection_free(h->arg);
}

static enum err
http_start(struct connection *c, bool secure, int fd)
{
	static const struct http_connection_events events = {.closed = http_closed};
	struct member_gate *g = c->gate;
	struct http_connection *h = calloc(1, sizeof(*h));
	if (h == NULL) {
		(void)close(fd);
		return ERR_MEMORY;
	}
	enum err e = http_connection_start(h, g->host->loop, fd, secure ? g->tls : NULL, g->host->config.pad,
					   &g->web, &events, c);
	if (e != ERR_OK) {
		free(h);
		return e;
	}
	c->http = h;
	return ERR_OK;
}

static void
http_free(struct connection *c)
{
	if (c->http != NULL) {
		c->gate->seen_requests += c->http->answered;
		http_connection_clear(c->http);
		free(c->http);
		c->http = NULL;
	}
}

void
connection_free(struct connection *c)
{
	struct member_gate *g = c->gate;
	pipe_leave(c);
	login_free(c);
	http_free(c);
	if (c->stream != NULL) {
		g->sent_payload += stream_bytes_out(c->stream);
		g->sent_padding += stream_bytes_padding(c->stream);
	}
	stream_destroy(&c->stream);
	*c->link = c->next;
	if (c->next != NULL) {
		c->next->link = c->link;
	}
	source_give(g, c->source);
	g->connections--;
	g->browsing -= c->web ? 1 : 0;
	free(c);
	hold_or_release(g);
}

/* A client that fell off the network is found out, even while its session waits for nothing. */
static void
keep_alive(int fd)
{
	int on = 1;
	int idle = 10 * 60;
	int interval = 60;
	int count = 5;
	/* Without it the idle limit does the same, later. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

void
member_connection_open(struct gate_listener *l, int fd, const struct sockaddr *peer)
{
	struct member_gate *g = l->gate;
	uint8_t address[GATE_ADDRESS_LEN];
	address_of(peer, address);
	struct source *source = source_take(g, address, is_web(l));
	struct connection *c = source == NULL ? NULL : calloc(1, sizeof(*c));
	if (c == NULL) {
		g->seen_crowded += source == NULL ? 1 : 0;
		source_give(g, source);
		(void)close(fd);
		return;
	}
	c->gate = g;
	c->source = source;
	c->web = is_web(l);
	c->protocol = l->port == 993 ? IPC_PROTOCOL_IMAP : IPC_PROTOCOL_SUBMISSION;
	c->next = g->all;
	c->link = &g->all;
	if (c->next != NULL) {
		c->next->link = &c->next;
	}
	g->all = c;
	g->connections++;
	g->browsing += c->web ? 1 : 0;
	g->seen_connections++;
	keep_alive(fd);
	enum err e = c->web ? http_start(c, l->port == 443, fd) : login_start(c, l->port, fd, address);
	if (e != ERR_OK) {
		connection_free(c);
		return;
	}
	hold_or_release(g);
}
