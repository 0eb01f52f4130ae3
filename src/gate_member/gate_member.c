/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. gate-member speaks with whoever reaches ports 465, 587 and 993: TLS, and SMTP and IMAP up to the login; and 443 and 80,
 * where public pages are made from the configuration (src/web). It
 * holds no TLS key (the keeper signs its handshakes), but, until the opener has answered, names and passwords, or proofs that let in once. After a login
 * it carries bytes between the client and the session worker that holds the member's keys, in frames, and looks into none
 * of them: it parses no mail, reads no store, opens no file, and starts no connection. Its capture yields the passwords (of
 * who uses SCRAM none) and the traffic of those who connect through it from then on, but no stored mail of others.
 */
#include "gate_member/gate_member.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "gate/gate_tls.h"
#include "gate_member/gate.h"
#include "loop/task.h"
#include "loop/tls_challenge.h"
#include "process/log.h"

enum {
	START_LIMIT_MS = 20 * 1000,
	COMMAND_MS = 60 * 1000,
	LOGIN_MS = 3 * 60 * 1000,
	JUNK_MAX = 20,
};

static void
on_accept(struct listener *l, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
	(void)peer_len;
	member_connection_open(l->arg, fd, peer);
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	(void)profile;
	struct member_gate *g = calloc(1, sizeof(*g));
	if (g == NULL) {
		return ERR_MEMORY;
	}
	g->host = h;
	h->state = g;
	crypto_random_bytes(g->source_key, sizeof(g->source_key));
	g->web.config = &h->config;
	smtp_server_config_default(&g->smtp);
	g->smtp.hostname = bytes_str(h->config.hostname);
	g->smtp.max_message = h->config.message_size;
	g->smtp.max_recipients = h->config.recipients;
	g->smtp.max_junk = JUNK_MAX;
	/* Who has not logged in has no reason to think for five minutes. */
	g->smtp.command_timeout = h->config.smtp_idle < COMMAND_MS ? h->config.smtp_idle : COMMAND_MS;
	g->smtp.message_wait = LOGIN_MS;
	g->smtp.hold_max = CONFIG_HOLD_MAX;
	g->smtp.wall = clock_wall;
	g->smtp.starttls = true;
	enum err e = gate_tls_warm_up();
	e = e == ERR_OK ? tls_challenges_create(&g->gate_tls.challenges) : e;
	/* Once, while there are still files. */
	e = e == ERR_OK ? tls_challenges_set(g->gate_tls.challenges, BYTES_LIT("warm.invalid"),
					     BYTES_LIT("a.b"), 0, 0)
			: e;
	return e == ERR_OK
		   ? tls_challenges_set(g->gate_tls.challenges, BYTES_LIT("warm.invalid"), BYTES_EMPTY, 0, 0)
		   : e;
}

static enum err
start(struct role_host *h)
{
	struct member_gate *g = h->state;
	struct channel *ch = NULL;
	msec limit = loop_now(h->loop) + START_LIMIT_MS;
	enum err e = gate_tls_start(&g->gate_tls, h,
				    h->config.tls_member_minimum == CONFIG_TLS_1_2 ? TLS_1_2 : TLS_1_3);
	g->tls = g->gate_tls.ctx;
	return e == ERR_OK ? role_wait_channel(h, ROLE_OPENER, 0, limit, &ch) : e;
}

static bool
is_ours(uint16_t port)
{
	return port == 465 || port == 587 || port == 993 || port == 443 || port == 80;
}

static void
listen_on(struct role_host *h, uint16_t port, int fd)
{
	struct member_gate *g = h->state;
	struct gate_listener *l = &g->listeners[g->listener_count];
	if (g->listener_count == GATE_LISTENERS_MAX || !is_ours(port) ||
	    listener_start(h->loop, &l->listener, fd, on_accept, l) != ERR_OK) {
		(void)close(fd);
		log_event(LOG_LEVEL_ERROR, "cannot listen on one of the addresses of port %u",
			  (unsigned)port);
		return;
	}
	l->gate = g;
	l->port = port;
	l->fd = fd;
	g->listener_count++;
}

static void
peer_up(struct role_host *h, struct channel *ch)
{
	struct member_gate *g = h->state;
	if (channel_peer(ch) == ROLE_KEEPER) {
		gate_tls_changed(&g->gate_tls);
	}
}

static void
peer_down(struct role_host *h, enum role peer, unsigned index)
{
	if (peer == ROLE_SESSION) {
		pipe_worker_gone(h->state, index);
	}
}

static enum err
take_frame(struct member_gate *g, unsigned worker, const struct channel_message *m)
{
	struct msg_conn_data data;
	struct msg_conn_flush flush;
	struct msg_conn_credit credit;
	struct msg_conn_close close_conn;
	enum err e = ERR_FORMAT;
	if (m->type == MSG_CONN_DATA) {
		e = msg_conn_data_decode(m->payload, &data);
		return e == ERR_OK ? pipe_data(g, worker, &data) : e;
	}
	if (m->type == MSG_CONN_FLUSH) {
		e = msg_conn_flush_decode(m->payload, &flush);
		return e == ERR_OK ? pipe_flush(g, worker, &flush) : e;
	}
	if (m->type == MSG_CONN_CREDIT) {
		e = msg_conn_credit_decode(m->payload, &credit);
		return e == ERR_OK ? pipe_credit(g, worker, &credit) : e;
	}
	if (m->type == MSG_CONN_CLOSE) {
		e = msg_conn_close_decode(m->payload, &close_conn);
		return e == ERR_OK ? pipe_close(g, worker, &close_conn) : e;
	}
	return e;
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	struct member_gate *g = h->state;
	if (m->type == MSG_TLS_CHANGED && msg_empty_decode(m->payload) == ERR_OK) {
		gate_tls_changed(&g->gate_tls);
		return;
	}
	if (m->type == MSG_ACME_CHALLENGE) {
		member_challenge(g, ch, m);
		return;
	}
	/* The table lets sessions alone through to here. */
	if (take_frame(g, channel_peer_index(ch), m) != ERR_OK) {
		channel_fault(ch);
	}
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct member_gate *g = h->state;
	return buf_printf(
	    out,
	    "=connections_open %zu\n=logged_in %zu\n+connections %llu\n+logins %llu\n"
	    "+logins_refused %llu\n+logins_deferred %llu\n+logins_unpadded %llu\n+crowded_out %llu\n"
	    "+sent_mib %llu\n+padding_mib %llu\n=web_open %zu\n+web_requests %llu\n",
	    g->connections - g->browsing, g->piped, (unsigned long long)g->seen_connections,
	    (unsigned long long)g->seen_logins, (unsigned long long)g->seen_refused,
	    (unsigned long long)g->seen_deferred, (unsigned long long)g->seen_unpadded,
	    (unsigned long long)g->seen_crowded, (unsigned long long)(g->sent_payload >> 20),
	    (unsigned long long)(g->sent_padding >> 20), g->browsing, (unsigned long long)g->seen_requests);
}

static void
stop_task(void *arg)
{
	struct member_gate *g = arg;
	msec limit = loop_now(g->host->loop) + GATE_STOP_MS;
	for (struct connection *c = g->all; c != NULL; c = c->next) {
		if (c->login != NULL) {
			login_shutdown(c);
		} else if (c->http != NULL) {
			http_connection_shutdown(c->http);
		}
	}
	/* A command under way gets its answer; who is between two hears the end at once. */
	while (g->connections > 0 && loop_now(g->host->loop) < limit) {
		for (struct connection *c = g->all; c != NULL; c = c->next) {
			if (c->login == NULL && !c->web) {
				pipe_shutdown(c);
			}
		}
		if (task_sleep(20) != ERR_OK) {
			break;
		}
	}
	role_stopped(g->host);
}

static void
stop(struct role_host *h)
{
	struct member_gate *g = h->state;
	for (size_t i = 0; i < g->listener_count; i++) {
		listener_stop(&g->listeners[i].listener);
		(void)close(g->listeners[i].fd);
	}
	g->listener_count = 0;
	if (role_spawn(h, stop_task, g) != ERR_OK) {
		role_stopped(h);
	}
}

const struct role_def gate_member_role = {
    .id = ROLE_GATE_MEMBER,
    .sandbox_allow = SANDBOX_NET_ACCEPT,
    .prepare = prepare,
    .start = start,
    .peer_up = peer_up,
    .peer_down = peer_down,
    .message = message,
    .listen = listen_on,
    .status = status,
    .stop = stop,
};
