/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Before login: the engines' questions go to the opener. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "gate_member/gate.h"

/* What the opener is asked; it outlives a connection that goes in the meantime. */
struct request {
	struct login *login; /* NULL: nobody waits any more */
};

struct login {
	struct connection *connection;
	struct request *request; /* under way, or NULL */
	uint8_t address[GATE_ADDRESS_LEN];
	uint8_t token[IPC_TOKEN];
	union {
		struct smtp_connection smtp;
		struct imap_connection imap;
	};
};

static bool
is_imap(const struct connection *c)
{
	return c->protocol == IPC_PROTOCOL_IMAP;
}

static void
answer(struct login *l, enum err e)
{
	struct connection *c = l->connection;
	msec now = loop_now(c->gate->host->loop);
	c->gate->seen_logins += e == ERR_OK ? 1 : 0;
	c->gate->seen_refused += e == ERR_AUTH ? 1 : 0;
	c->gate->seen_deferred += e != ERR_OK && e != ERR_AUTH ? 1 : 0;
	if (is_imap(c)) {
		imap_connection_answer(&l->imap, e == ERR_OK     ? IMAP_GATE_ACCEPT
						 : e == ERR_AUTH ? IMAP_GATE_REJECT
								 : IMAP_GATE_UNAVAILABLE);
		return;
	}
	if (e == ERR_OK) {
		smtp_server_accept(&l->smtp.smtp, now);
	} else if (e == ERR_AUTH) {
		smtp_server_reply(&l->smtp.smtp, 535, "5.7.8", BYTES_LIT("Wrong name or password"), now);
	} else {
		smtp_server_reply(&l->smtp.smtp, 454, "4.7.0",
				  BYTES_LIT("Login is not possible now, try again later"), now);
	}
	smtp_connection_pump(&l->smtp);
}

/* Where the keys now are; ERR_AGAIN while that worker is away. */
static enum err
take_place(struct login *l, struct bytes payload)
{
	struct msg_login_reply m;
	struct connection *c = l->connection;
	if (msg_login_reply_decode(payload, &m) != ERR_OK ||
	    role_channel(c->gate->host, ROLE_SESSION, m.worker) == NULL) {
		return ERR_AGAIN;
	}
	c->worker = m.worker;
	memcpy(l->token, m.token, sizeof(l->token));
	return ERR_OK;
}

static void
on_reply(void *arg, enum err status, struct bytes payload)
{
	struct request *r = arg;
	struct login *l = r->login;
	free(r);
	if (l == NULL) {
		return;
	}
	l->request = NULL;
	answer(l, status == ERR_OK ? take_place(l, payload) : status);
}

/* Asks the opener. On failure nothing was asked. */
static enum err
ask(struct login *l, struct bytes name, struct bytes password)
{
	struct connection *c = l->connection;
	struct role_host *h = c->gate->host;
	struct channel *opener = role_channel(h, ROLE_OPENER, 0);
	struct msg_login m = {.protocol = c->protocol, .name = name, .password = password};
	struct request *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return ERR_MEMORY;
	}
	r->login = l;
	memcpy(m.address, l->address, sizeof(m.address));
	enum err e = opener == NULL ? ERR_CLOSED
				    : channel_request(opener, LOGIN, login, &m,
						      loop_now(h->loop) + GATE_LOGIN_MS, on_reply, r);
	if (e != ERR_OK) {
		free(r);
		return e;
	}
	l->request = r;
	return ERR_OK;
}

/* ---- SMTP ---- */

static void
on_hello(void *ctx, enum smtp_hello kind, struct bytes name)
{
	/* What a client calls itself is forgotten here: it leaves with no message. */
	(void)ctx;
	(void)kind;
	(void)name;
}

static void
on_starttls(void *ctx)
{
	smtp_connection_starttls(&((struct login *)ctx)->smtp);
}

static void
on_auth(void *ctx, const struct smtp_credentials *credentials)
{
	struct login *l = ctx;
	struct bytes name = credentials->user;
	if ((credentials->authzid.len > 0 && !bytes_equal(credentials->authzid, name)) || name.len > 1000 ||
	    credentials->password.len > 4096 || !bytes_is_utf8(name) ||
	    !bytes_is_utf8(credentials->password)) {
		/* Nobody acts for others (RFC 4616), and no name or password looks like that. */
		answer(l, ERR_AUTH);
		return;
	}
	enum err e = ask(l, name, credentials->password);
	if (e != ERR_OK) {
		answer(l, e);
	}
}

static void
on_mail(void *ctx, const struct smtp_mail *mail)
{
	/* Never asked before login; the session's engine does it. */
	struct login *l = ctx;
	(void)mail;
	smtp_server_reply(&l->smtp.smtp, 530, "5.7.0", BYTES_LIT("Authentication required"),
			  loop_now(l->connection->gate->host->loop));
}

static void
on_rcpt(void *ctx, const struct smtp_rcpt *rcpt)
{
	(void)rcpt;
	on_mail(ctx, NULL);
}

static void
on_data_begin(void *ctx, bool chunked)
{
	(void)chunked;
	on_mail(ctx, NULL);
}

static void
on_data(void *ctx, struct bytes chunk)
{
	(void)ctx;
	(void)chunk;
}

static void
on_data_end(void *ctx, uint64_t size)
{
	(void)size;
	on_mail(ctx, NULL);
}

static void
on_reset(void *ctx)
{
	(void)ctx;
}

static const struct smtp_server_host smtp_host = {
    .hello = on_hello,
    .starttls = on_starttls,
    .auth = on_auth,
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data_begin = on_data_begin,
    .data = on_data,
    .data_end = on_data_end,
    .reset = on_reset,
};

static void
smtp_closed(struct smtp_connection *s)
{
	connection_free(((struct login *)s->smtp.ctx)->connection);
}

/* The engine goes, the stream stays: from here on bytes are only carried. */
static void
hand_over(struct connection *c, struct stream *s, bool extended, struct buf *unread)
{
	uint8_t token[IPC_TOKEN];
	memcpy(token, c->login->token, sizeof(token));
	login_free(c);
	pipe_start(c, s, token, extended, unread);
	secret_wipe(token, sizeof(token));
}

static void
smtp_logged_in(struct smtp_connection *s)
{
	struct login *l = s->smtp.ctx;
	struct buf unread = BUF_INIT(SMTP_UNREAD_MAX);
	bool extended = smtp_server_hello(&s->smtp) == SMTP_HELLO_EHLO;
	if (smtp_server_take_unread(&s->smtp, &unread) != ERR_OK) {
		buf_wipe(&unread);
		connection_free(l->connection);
		return;
	}
	hand_over(l->connection, smtp_connection_take(s), extended, &unread);
}

static const struct smtp_connection_events smtp_events = {.closed = smtp_closed, .logged_in = smtp_logged_in};

/* ---- IMAP ---- */

static void
imap_closed(struct imap_connection *i)
{
	connection_free(((struct login *)i->arg)->connection);
}

static void
imap_login(struct imap_connection *i, const struct imap_credentials *credentials)
{
	struct login *l = i->arg;
	enum err e = ask(l, credentials->name, credentials->password);
	if (e != ERR_OK) {
		answer(l, e);
	}
}

static void
imap_logged_in(struct imap_connection *i)
{
	struct login *l = i->arg;
	struct buf unread = BUF_INIT(IMAP_GATE_UNREAD_MAX);
	size_t count = 0;
	if (imap_gate_take_unread(&i->imap, &unread, &count) != ERR_OK) {
		buf_wipe(&unread);
		connection_free(l->connection);
		return;
	}
	hand_over(l->connection, imap_connection_take(i), false, &unread);
}

static const struct imap_connection_events imap_events = {
    .closed = imap_closed, .login = imap_login, .logged_in = imap_logged_in};

/* ---- both ---- */

enum err
login_start(struct connection *c, uint16_t port, int fd, const uint8_t address[GATE_ADDRESS_LEN])
{
	struct member_gate *g = c->gate;
	struct login *l = calloc(1, sizeof(*l));
	if (l == NULL) {
		(void)close(fd);
		return ERR_MEMORY;
	}
	l->connection = c;
	memcpy(l->address, address, sizeof(l->address));
	enum err e = is_imap(c) ? imap_connection_start(&l->imap, g->host->loop, fd, g->tls,
							g->host->config.pad, &g->imap, &imap_events, l)
				: smtp_connection_start(&l->smtp, g->host->loop, fd, SMTP_MODE_GATE,
							port == 465, g->tls, g->host->config.pad, &g->smtp,
							&smtp_host, l, &smtp_events);
	if (e != ERR_OK) {
		free(l);
		return e;
	}
	c->login = l;
	return ERR_OK;
}

void
login_shutdown(struct connection *c)
{
	struct login *l = c->login;
	if (is_imap(c)) {
		imap_connection_shutdown(&l->imap);
	} else {
		smtp_server_shutdown(&l->smtp.smtp, loop_now(c->gate->host->loop));
		smtp_connection_pump(&l->smtp);
	}
}

void
login_free(struct connection *c)
{
	struct login *l = c->login;
	if (l == NULL) {
		return;
	}
	c->login = NULL;
	if (l->request != NULL) {
		l->request->login = NULL;
	}
	if (is_imap(c)) {
		imap_connection_clear(&l->imap);
	} else {
		smtp_connection_clear(&l->smtp);
	}
	secret_wipe(l, sizeof(*l));
	free(l);
}
