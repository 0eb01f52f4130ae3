/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/connection.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "delivery/delivery.h"
#include "law/law.h"
#include "loop/pad.h"
#include "process/log.h"

enum { BODY_PIECE = 32 * 1024, COMMAND_RECORD = 1024, ENVELOPE_RECORD = DELIVERY_FLIGHT + 1 };

static const struct stream_settings stream_limits = {
    .handshake_ms = 60 * MSEC_SECOND,
    .close_ms = 5 * MSEC_SECOND,
    .write_max = 1 << 20,
    .high_water = 128 * 1024,
    .low_water = 32 * 1024,
};

static void
wake(struct connection *c)
{
	struct task *t = c->waiter;
	if (t != NULL) {
		c->waiter = NULL;
		task_wake(t, ERR_OK);
	}
}

/* Suspends until something happened. Only what registered itself is woken, so no other wait is disturbed. */
static enum err
wait(struct connection *c)
{
	c->waiter = task_current();
	enum err e = task_suspend();
	c->waiter = NULL;
	return e;
}

/* ---- the engine ---- */

static void
on_starttls(void *ctx)
{
	struct connection *c = ctx;
	c->wants_tls = true;
}

static void
on_ready(void *ctx)
{
	struct connection *c = ctx;
	c->ready = true;
	wake(c);
}

static enum err
on_body(void *ctx, struct bytes *ret_chunk)
{
	struct connection *c = ctx;
	*ret_chunk = bytes_slice(c->body, c->body_at, BODY_PIECE);
	c->body_at += ret_chunk->len;
	c->body_ended = c->body_ended || c->body_at == c->body.len;
	return ERR_OK;
}

static void
on_recipient(void *ctx, size_t index, const struct smtp_result *result)
{
	struct connection *c = ctx;
	if (c->on_recipient != NULL) {
		c->on_recipient(c->recipient_arg, index, result);
	}
}

static void
on_done(void *ctx)
{
	struct connection *c = ctx;
	c->done = true;
	wake(c);
}

static void
on_over(void *ctx, enum smtp_closed why, const struct smtp_result *result)
{
	struct connection *c = ctx;
	c->over = true;
	c->ready = false;
	c->why = why;
	c->result = *result;
	wake(c);
}

static const struct smtp_client_host engine_host = {
    .starttls = on_starttls,
    .ready = on_ready,
    .body = on_body,
    .recipient = on_recipient,
    .done = on_done,
    .closed = on_over,
};

/* ---- the stream ---- */

static enum err
write_command(struct connection *c, struct bytes out)
{
	bool flight = smtp_client_is_in_envelope(&c->client) &&
		      (smtp_client_offers(&c->client) & SMTP_OFFER_PIPELINING) != 0;
	size_t record = flight ? ENVELOPE_RECORD : COMMAND_RECORD;
	size_t each = record - 1;
	return c->padded ? stream_write_records(c->stream, out, record, (out.len + each - 1) / each)
			 : stream_write(c->stream, out);
}

static enum err
write_body(struct connection *c, struct bytes out)
{
	enum err e = ERR_OK;
	if (c->padded && c->body_left == c->body_size) {
		e = stream_plan_records(c->stream, c->body_size, PAD_RECORD_MAX,
					pad_class_records(law_class_bytes(c->size_class)));
	}
	if (e == ERR_OK && out.len > c->body_left) {
		/* More than was counted: it would leave unpadded. */
		e = ERR_STATE;
	}
	if (e == ERR_OK) {
		e = stream_write(c->stream, out);
	}
	c->body_left -= e == ERR_OK ? out.len : 0;
	return e;
}

/* What cannot be sent as it must be ends the connection. */
static void
send_output(struct connection *c)
{
	struct bytes out = smtp_client_output(&c->client);
	while (out.len > 0 && c->stream != NULL && !stream_is_congested(c->stream)) {
		bool body = smtp_client_is_in_body(&c->client);
		enum err e = body ? write_body(c, out) : write_command(c, out);
		if (e != ERR_OK) {
			if (e != ERR_CLOSED) {
				log_event(LOG_LEVEL_ERROR, "what leaves could not be padded: %s",
					  err_text(e));
			}
			smtp_client_lost(&c->client, loop_now(c->settings->loop));
			break;
		}
		smtp_client_sent(&c->client, out.len, loop_now(c->settings->loop));
		out = smtp_client_output(&c->client);
	}
}

/* TLS, with what the server has to prove. */
static enum err
start_tls(struct connection *c, bool implicit, size_t *ret_discarded)
{
	/* An address literal names no server to ask for. */
	bool named = strpbrk(c->target.name, ":") == NULL &&
		     !ascii_is_digit((uint8_t)c->target.name[strlen(c->target.name) - 1]);
	struct tls_expectation x = {.proof = c->wish.proof,
				    .host = c->wish.host[0] != '\0' ? c->wish.host
					    : named                 ? c->target.name
								    : NULL,
				    .also = c->wish.also,
				    .associations = c->wish.associations,
				    .count = c->wish.association_count};
	return stream_start_tls_client_proving(c->stream, c->settings->tls, &x, implicit, ret_discarded);
}

/* After each call into the engine: what it wants to send, TLS, its deadline. */
static void
pump(struct connection *c)
{
	if (c->pumping) {
		return;
	}
	c->pumping = true;
	msec now = loop_now(c->settings->loop);
	send_output(c);
	if (c->wants_tls && c->stream != NULL) {
		size_t discarded = 0;
		c->wants_tls = false;
		if (start_tls(c, false, &discarded) != ERR_OK || discarded > 0) {
			c->handshake_failed = true;
			smtp_client_lost(&c->client, now);
		}
	}
	c->pumping = false;
	msec deadline = smtp_client_deadline(&c->client);
	if (c->over || deadline == INT64_MAX) {
		timer_stop(&c->timer);
	} else if (timer_start(c->settings->loop, &c->timer, deadline) != ERR_OK) {
		smtp_client_lost(&c->client, now);
	}
	if (c->over && c->on_end != NULL) {
		void (*on_end)(struct connection *) = c->on_end;
		c->on_end = NULL;
		on_end(c); /* may free it */
	}
}

static void
on_data(struct stream *s, void *arg, struct bytes data)
{
	struct connection *c = arg;
	smtp_client_feed(&c->client, data, loop_now(c->settings->loop));
	stream_consume(s, data.len);
	pump(c);
}

static void
on_secured(struct stream *s, void *arg)
{
	struct connection *c = arg;
	struct tls_info info;
	c->padded = c->settings->pad && stream_can_pad(s);
	if (stream_tls_info(s, &info) == ERR_OK) {
		c->how.tls = bytes_is(bytes_str(info.version), "TLSv1.3") ? 13 : 12;
		c->how.proof = !info.verified                    ? LINK_PROOF_NONE
			       : c->wish.proof == TLS_PROOF_DANE ? LINK_PROOF_DANE
								 : LINK_PROOF_AUTHORITY;
	}
	if (c->wish.tls == SMTP_TLS_IMPLICIT) {
		smtp_client_start(&c->client, loop_now(c->settings->loop));
	} else {
		smtp_client_tls_started(&c->client, loop_now(c->settings->loop));
	}
	pump(c);
}

static void
on_drained(struct stream *s, void *arg)
{
	(void)s;
	pump(arg);
}

static void
on_closed(struct stream *s, void *arg, enum err why)
{
	struct connection *c = arg;
	bool secure = stream_is_secure(s);
	c->unproved = c->unproved || stream_is_unproved(s);
	c->handshake_failed =
	    c->handshake_failed || why == ERR_AUTH ||
	    (!secure && (c->wish.tls == SMTP_TLS_IMPLICIT || smtp_client_deadline(&c->client) == INT64_MAX) &&
	     !c->ready && !c->over);
	stream_destroy(&c->stream);
	if (!c->over) {
		smtp_client_lost(&c->client, loop_now(c->settings->loop));
	}
	pump(c);
}

static const struct stream_events stream_callbacks = {
    .data = on_data, .secured = on_secured, .drained = on_drained, .closed = on_closed};

static void
on_timer(struct timer *t)
{
	struct connection *c = t->arg;
	smtp_client_tick(&c->client, loop_now(c->settings->loop));
	pump(c);
}

/* ---- opening ---- */

struct connecting {
	struct connection *c;
	struct task *task;
	enum err result;
	int fd;
};

static void
on_connected(struct connector *k, enum err result, int fd)
{
	struct connecting *w = k->arg;
	w->result = result;
	w->fd = fd;
	if (w->task != NULL) {
		task_wake(w->task, ERR_OK);
		w->task = NULL;
	}
}

static socklen_t
fill_address(const struct route_target *target, uint16_t port, struct sockaddr_storage *ret)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	memset(ret, 0, sizeof(*ret));
	if (memcmp(target->address, mapped, sizeof(mapped)) == 0) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, target->address + 12, 4);
		return sizeof(*v4);
	}
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	memcpy(&v6->sin6_addr, target->address, 16);
	return sizeof(*v6);
}

static enum err
connect_to(struct connection *c, int *ret_fd)
{
	struct sockaddr_storage to;
	socklen_t len = fill_address(&c->target, c->settings->port, &to);
	struct connecting w = {.c = c, .task = task_current(), .result = ERR_IO, .fd = -1};
	enum err e =
	    connector_start(c->settings->loop, &c->connector, (const struct sockaddr *)(const void *)&to, len,
			    NULL, 0, loop_now(c->settings->loop) + c->settings->connect_ms, on_connected, &w);
	if (e != ERR_OK) {
		return e;
	}
	e = task_suspend();
	if (e != ERR_OK) {
		/* Cancelled: unless it had come already. */
		if (w.task != NULL) {
			connector_stop(&c->connector);
		} else if (w.fd >= 0) {
			(void)close(w.fd);
		}
		return e;
	}
	if (w.result == ERR_OK) {
		*ret_fd = w.fd;
	}
	return w.result;
}

static enum err
begin(struct connection *c, int fd)
{
	enum err e = stream_create(c->settings->loop, fd, &stream_limits, &stream_callbacks, c, &c->stream);
	if (e != ERR_OK) {
		(void)close(fd);
		return e;
	}
	if (c->wish.tls == SMTP_TLS_IMPLICIT) {
		return start_tls(c, true, NULL);
	}
	smtp_client_start(&c->client, loop_now(c->settings->loop));
	pump(c);
	return ERR_OK;
}

static void
explain_connect(enum err e, struct smtp_result *ret)
{
	smtp_result_local(451, "4.4.1",
			  e == ERR_TIMEOUT  ? "The server cannot be reached: no answer"
			  : e == ERR_CLOSED ? "The server cannot be reached: it refuses the connection"
			  : e == ERR_MEMORY ? "This house is short of memory"
					    : "The server cannot be reached",
			  ret);
}

void
connection_wish_init(struct connection_wish *w, enum smtp_tls_policy tls)
{
	memset(w, 0, sizeof(*w));
	w->tls = tls;
}

void
connection_wish_mark(struct connection_wish *w)
{
	static const uint8_t key[CRYPTO_KEY_LEN] = "cohue connection wish 1";
	struct crypto_hasher h;
	if (w->proof == TLS_PROOF_NONE) {
		memset(w->mark, 0, sizeof(w->mark));
		return;
	}
	const uint8_t proof = (uint8_t)w->proof;
	crypto_hasher_init(&h, key);
	crypto_hasher_update(&h, bytes_of(&proof, 1));
	crypto_hasher_update(&h, bytes_of(w->host, strlen(w->host) + 1));
	crypto_hasher_update(&h, bytes_of(w->also, strlen(w->also) + 1));
	for (size_t i = 0; i < w->association_count; i++) {
		const struct tls_association *a = &w->associations[i];
		const uint8_t head[5] = {a->usage, a->selector, a->matching, (uint8_t)(a->data.len >> 8),
					 (uint8_t)a->data.len};
		crypto_hasher_update(&h, bytes_of(head, sizeof(head)));
		crypto_hasher_update(&h, a->data);
	}
	crypto_hasher_final(&h, w->mark);
}

static void
destroy(struct connection *c)
{
	timer_stop(&c->timer);
	stream_destroy(&c->stream);
	smtp_client_clear(&c->client);
	free(c);
}

enum err
connection_open(const struct connection_settings *settings, const struct route_target *target,
		const struct connection_wish *wish, struct connection **ret, struct smtp_result *ret_why,
		enum smtp_closed *ret_closed)
{
	struct connection *c = calloc(1, sizeof(*c));
	*ret_closed = SMTP_CLOSED_LOST;
	if (c == NULL) {
		explain_connect(ERR_MEMORY, ret_why);
		return ERR_MEMORY;
	}
	c->settings = settings;
	c->target = *target;
	c->wish = *wish;
	smtp_client_init(&c->client, &settings->smtp[wish->tls], &engine_host, c);
	timer_init(&c->timer, on_timer, c);
	int fd = -1;
	enum err e = connect_to(c, &fd);
	if (e == ERR_OK) {
		e = begin(c, fd);
	}
	if (e != ERR_OK) {
		explain_connect(e, ret_why);
		destroy(c);
		return e == ERR_MEMORY ? e : ERR_CLOSED;
	}
	while (e == ERR_OK && !c->ready && !c->over) {
		e = wait(c);
	}
	c->wish.associations = NULL;
	c->wish.association_count = 0;
	if (e == ERR_OK && c->ready) {
		*ret = c;
		return ERR_OK;
	}
	*ret_closed = c->why;
	*ret_why = c->result;
	bool handshake = c->handshake_failed;
	if (e != ERR_OK) {
		explain_connect(ERR_CLOSED, ret_why);
	} else if (c->unproved) {
		smtp_result_local(
		    451, "4.7.5",
		    c->wish.proof == TLS_PROOF_DANE
			? "The server's certificate is none of those that the domain's DNS names (DANE)"
			: "The server's certificate does not prove that it is the domain's (MTA-STS)",
		    ret_why);
	} else if (handshake) {
		smtp_result_local(451, "4.7.10", "The server offers encryption, and then fails to do it",
				  ret_why);
	}
	connection_finish(&c);
	return handshake ? ERR_AUTH : ERR_CLOSED;
}

bool
connection_is_ready(const struct connection *c)
{
	return c->ready && !c->over && smtp_client_is_ready(&c->client);
}

/* The class that the body goes into, its own or a larger one. */
static enum err
find_class(struct connection *c, struct bytes body, unsigned size_class)
{
	c->body_size = smtp_client_body_size(body);
	c->body_left = c->body_size;
	c->size_class = size_class;
	while (c->padded && c->size_class < LAW_CLASSES &&
	       !pad_fits(c->body_size, PAD_RECORD_MAX, pad_class_records(law_class_bytes(c->size_class)))) {
		c->size_class++;
	}
	return c->size_class < LAW_CLASSES ? ERR_OK : ERR_LIMIT;
}

void
connection_protection(const struct connection *c, struct protection *ret)
{
	*ret = c->how;
	ret->padded = c->padded;
	ret->larger = c->padded && c->size_class > c->asked_class;
	ret->size_class = (uint8_t)c->size_class;
	if (c->stream != NULL) {
		ret->payload = stream_bytes_out(c->stream) - c->payload_before;
		ret->padding = stream_bytes_padding(c->stream) - c->padding_before;
	}
}

enum err
connection_send(struct connection *c, const struct smtp_client_mail *mail, struct bytes body,
		unsigned size_class,
		void (*recipient)(void *arg, size_t index, const struct smtp_result *result), void *arg)
{
	c->body = body;
	c->body_at = 0;
	c->body_ended = false;
	c->done = false;
	c->on_recipient = recipient;
	c->recipient_arg = arg;
	c->asked_class = size_class;
	c->payload_before = c->stream == NULL ? 0 : stream_bytes_out(c->stream);
	c->padding_before = c->stream == NULL ? 0 : stream_bytes_padding(c->stream);
	enum err e = find_class(c, body, size_class);
	if (e != ERR_OK) {
		return e;
	}
	e = smtp_client_send(&c->client, mail, loop_now(c->settings->loop));
	if (e == ERR_OK) {
		c->ready = false;
		c->messages++;
		pump(c);
		while (!c->done && e == ERR_OK) {
			e = wait(c);
		}
		if (!c->done) {
			/* Cancelled: the recipients are told now, before what they point to goes. */
			smtp_client_lost(&c->client, loop_now(c->settings->loop));
		}
		e = ERR_OK;
	}
	c->on_recipient = NULL;
	c->body = BYTES_EMPTY;
	return e;
}

static void
on_quit_end(struct connection *c)
{
	if (c->stream != NULL) {
		stream_finish(&c->stream);
	}
	destroy(c);
}

void
connection_finish(struct connection **conn)
{
	struct connection *c = *conn;
	*conn = NULL;
	if (c == NULL) {
		return;
	}
	c->waiter = NULL;
	if (c->over) {
		on_quit_end(c);
		return;
	}
	/* From here on it is its own: it ends with the answer to QUIT, or its timeout. */
	c->on_end = on_quit_end;
	smtp_client_quit(&c->client, loop_now(c->settings->loop));
	pump(c);
}
