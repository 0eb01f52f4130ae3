/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * SECURITY. gate-mx speaks with strangers on port 25: TLS, SMTP, and the messages themselves, which it parses once. It
 * holds no TLS key (the keeper signs its handshakes), but the directory's keys, by which it finds the members' public keys, and seals each message to them
 * before it leaves this process. It accepts no login, reads no stored mail, opens no file, and starts no connection.
 * Its capture yields strangers' mail in flight, and lets the attacker ask which addresses exist.
 */
#include "gate_mx/gate_mx.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authentication/dmarc.h"
#include "crypto/crypto.h"
#include "gate/gate_tls.h"
#include "gate_mx/mx.h"
#include "loop/task.h"
#include "mail/charset.h"
#include "process/log.h"

enum { START_LIMIT_MS = 20 * 1000 };

static void
on_accept(struct listener *l, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
	(void)peer_len;
	mx_connection_open(l->arg, fd, peer);
}

static enum err
prepare(struct role_host *h, struct sandbox_profile *profile)
{
	(void)profile;
	struct mx *mx = calloc(1, sizeof(*mx));
	if (mx == NULL) {
		return ERR_MEMORY;
	}
	mx->host = h;
	turns_init(&mx->turns, h->config.gate_mx_workers);
	h->state = mx;
	smtp_server_config_default(&mx->smtp);
	mx->smtp.hostname = bytes_str(h->config.hostname);
	mx->smtp.max_message = h->config.message_size;
	mx->smtp.max_recipients = h->config.recipients;
	mx->smtp.command_timeout = h->config.smtp_idle;
	mx->smtp.starttls = true;
	mx->smtp.require_tls = h->config.tls_inbound_clear == CONFIG_CLEAR_REFUSE;
	mx_tally_start(mx);
	mail_charset_preload(); /* for the names of authors */
	enum err e = gate_tls_warm_up();
	if (e == ERR_OK) {
		e = dmarc_prepare(); /* reads the list of public suffixes while there are files */
	}
	uint8_t key[CRYPTO_KEY_LEN];
	crypto_random_bytes(key, sizeof(key));
	e = e == ERR_OK ? rate_create(key, &mx->rates) : e;
	explicit_bzero(key, sizeof(key));
	return e == ERR_OK ? blob_codec_create(&mx->codec) : e;
}

static enum err
start(struct role_host *h)
{
	struct mx *mx = h->state;
	struct channel *ch = NULL;
	msec limit = loop_now(h->loop) + START_LIMIT_MS;
	enum err e = purpose_keys_fetch(h, &mx->keys);
	if (e == ERR_OK) {
		e = gate_tls_start(&mx->gate_tls, h, TLS_1_2);
		mx->tls = mx->gate_tls.ctx;
	}
	if (e == ERR_OK) {
		e = role_wait_channel(h, ROLE_STORE, 0, limit, &ch);
	}
	if (e == ERR_OK) {
		e = role_wait_channel(h, ROLE_MIXER, 0, limit, &ch);
	}
	if (e == ERR_OK) {
		rate_known_under(mx->rates, mx->keys.key[PURPOSE_GATE_KEEP]);
		mx_kept_load(mx);
		mx_kept_start(mx);
	}
	return e;
}

static void
listen_on(struct role_host *h, uint16_t port, int fd)
{
	struct mx *mx = h->state;
	(void)port;
	if (mx->listener_count == MX_LISTENERS_MAX ||
	    listener_start(h->loop, &mx->listeners[mx->listener_count], fd, on_accept, mx) != ERR_OK) {
		(void)close(fd);
		log_event(LOG_LEVEL_ERROR, "cannot listen on one of the addresses of port 25");
		return;
	}
	mx->listener_fds[mx->listener_count++] = fd;
}

static void
message(struct role_host *h, struct channel *ch, const struct channel_message *m)
{
	struct mx *mx = h->state;
	/* Nobody asks this gate anything; the keeper alone tells it something. */
	if (m->type == MSG_TLS_CHANGED && msg_empty_decode(m->payload) == ERR_OK) {
		gate_tls_changed(&mx->gate_tls);
		return;
	}
	channel_fault(ch);
}

static void
peer_up(struct role_host *h, struct channel *ch)
{
	struct mx *mx = h->state;
	if (channel_peer(ch) == ROLE_KEEPER) {
		gate_tls_changed(&mx->gate_tls);
	}
}

static enum err
status(struct role_host *h, struct buf *out)
{
	const struct mx *mx = h->state;
	/* Sums since the start: what goes to volunteers is coarse, and names nobody. */
	enum err e = buf_printf(
	    out,
	    "=connections_open %zu\n+connections %llu\n+messages %llu\n+refused %llu\n+deferred %llu\n"
	    "+encrypted %llu\n+in_clear %llu\n+genuine %llu\n+forged %llu\n+unwanted %llu\n+slowed "
	    "%llu\n+greylisted %llu\n+rspamd_unanswered %llu\n+forwarded %llu\n+not_forwarded %llu\n",
	    mx->connections, (unsigned long long)mx->seen_connections, (unsigned long long)mx->seen_messages,
	    (unsigned long long)mx->seen_refused, (unsigned long long)mx->seen_deferred,
	    (unsigned long long)mx->seen_encrypted, (unsigned long long)mx->seen_clear,
	    (unsigned long long)mx->seen_genuine, (unsigned long long)mx->seen_forged,
	    (unsigned long long)mx->seen_unwanted, (unsigned long long)mx->seen_slowed,
	    (unsigned long long)mx->seen_greylisted, (unsigned long long)mx->seen_unanswered,
	    (unsigned long long)mx->seen_forwarded, (unsigned long long)mx->seen_kept);
	return e == ERR_OK ? mx_tell_reports(mx, out) : e;
}

static void
stop_task(void *arg)
{
	struct mx *mx = arg;
	msec limit = loop_now(mx->host->loop) + 5 * MSEC_SECOND;
	for (struct mx_connection *c = mx->all; c != NULL; c = c->next) {
		if (!c->gone) {
			smtp_server_shutdown(&c->smtp.smtp, loop_now(mx->host->loop));
			smtp_connection_pump(&c->smtp);
		}
	}
	/* A message whose end has come gets its answer. */
	while (mx->connections > 0 && loop_now(mx->host->loop) < limit) {
		if (task_sleep(20) != ERR_OK) {
			break;
		}
	}
	mx_kept_save(mx);
	role_stopped(mx->host);
}

static void
stop(struct role_host *h)
{
	struct mx *mx = h->state;
	for (size_t i = 0; i < mx->listener_count; i++) {
		listener_stop(&mx->listeners[i]);
		(void)close(mx->listener_fds[i]);
	}
	mx->listener_count = 0;
	if (role_spawn(h, stop_task, mx) != ERR_OK) {
		role_stopped(h);
	}
}

const struct role_def gate_mx_role = {
    .id = ROLE_GATE_MX,
    .sandbox_allow = SANDBOX_NET_ACCEPT,
    .prepare = prepare,
    .start = start,
    .peer_up = peer_up,
    .message = message,
    .listen = listen_on,
    .status = status,
    .stop = stop,
};
