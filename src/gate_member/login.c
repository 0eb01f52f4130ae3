/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Before login: the engines' questions go to the opener. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "gate_member/gate.h"
#include "process/log.h"
#include "protocol/sasl_scram.h"

/* What the opener is asked; it outlives a connection that goes in the meantime. */
struct request {
	struct login *login; /* NULL: nobody waits any more */
	enum msg_type type;
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
count_answer(struct login *l, enum err e)
{
	struct member_gate *g = l->connection->gate;
	g->seen_logins += e == ERR_OK ? 1 : 0;
	g->seen_refused += e == ERR_AUTH ? 1 : 0;
	g->seen_deferred += e != ERR_OK && e != ERR_AUTH ? 1 : 0;
}

/* Neither her password nor another time helps; who looks at the log can find the entry. */
static void
answer_damaged(struct login *l)
{
	struct connection *c = l->connection;
	char ref[LOG_REF_LEN + 1];
	log_ref(ref);
	log_event(LOG_LEVEL_ERROR,
		  "%s: a login met an account's entry that does not verify: it is damaged. Remedy: stop the "
		  "service "
		  "and run `cohue check`",
		  ref);
	if (is_imap(c)) {
		imap_connection_damaged(&l->imap, ref);
		return;
	}
	char text[96];
	(void)snprintf(text, sizeof(text), "Your account is damaged here: tell who runs this house (%s)",
		       ref);
	/* No 535: the password was not even looked at (RFC 4954 section 6, RFC 3463). */
	smtp_server_reply(&l->smtp.smtp, 554, "5.3.0", bytes_str(text), loop_now(c->gate->host->loop));
	smtp_connection_pump(&l->smtp);
}

/* On a password; and the refusal of anything else. */
static void
answer(struct login *l, enum err e)
{
	struct connection *c = l->connection;
	msec now = loop_now(c->gate->host->loop);
	count_answer(l, e);
	if (e == ERR_DAMAGED) {
		answer_damaged(l);
		return;
	}
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
take_place(struct login *l, uint16_t worker, const uint8_t token[IPC_TOKEN])
{
	struct connection *c = l->connection;
	if (role_channel(c->gate->host, ROLE_SESSION, worker) == NULL) {
		return ERR_AGAIN;
	}
	c->worker = worker;
	memcpy(l->token, token, sizeof(l->token));
	return ERR_OK;
}

static void
on_password(struct login *l, enum err status, struct bytes payload)
{
	struct msg_login_reply m;
	memset(&m, 0, sizeof(m));
	enum err e = status == ERR_OK && msg_login_reply_decode(payload, &m) != ERR_OK ? ERR_AGAIN : status;
	answer(l, e == ERR_OK ? take_place(l, m.worker, m.token) : e);
	secret_wipe(&m, sizeof(m));
}

static struct stream *
stream_of(const struct login *l)
{
	return is_imap(l->connection) ? l->imap.stream : l->smtp.stream;
}

/* What the client binds its proof to, as this end sees it. */
static enum err
binding_of(const struct login *l, enum sasl_scram_binding kind, uint8_t ret[SASL_SCRAM_BINDING_MAX],
	   size_t *ret_len)
{
	enum { EXPORTED = 32 };
	struct tls_info info;
	_Static_assert((int)SASL_SCRAM_BINDING_MAX >= (int)STREAM_END_POINT_MAX, "room");
	*ret_len = 0;
	if (kind == SASL_SCRAM_END_POINT) {
		return stream_tls_end_point(stream_of(l), ret, ret_len);
	}
	if (kind == SASL_SCRAM_EXPORTER) {
		/* Below 1.3 it would need more care (RFC 9266 section 4.2), and nobody asks for it. */
		enum err e = stream_tls_info(stream_of(l), &info);
		if (e == ERR_OK && !bytes_is(bytes_str(info.version), "TLSv1.3")) {
			e = ERR_UNSUPPORTED;
		}
		*ret_len = EXPORTED;
		return e == ERR_OK
			   ? stream_tls_exporter(stream_of(l), "EXPORTER-Channel-Binding", ret, EXPORTED)
			   : e;
	}
	return ERR_OK;
}

static const struct sasl_scram *
scram_of(const struct login *l)
{
	return is_imap(l->connection) ? l->imap.imap.scram : l->smtp.smtp.scram;
}

static void
on_scram_first(struct login *l, enum err status, struct bytes payload)
{
	struct msg_scram_first_reply m;
	uint8_t data[SASL_SCRAM_BINDING_MAX];
	size_t len = 0;
	struct connection *c = l->connection;
	const struct sasl_scram *scram = scram_of(l);
	if (scram == NULL) {
		return; /* the engine has ended it meanwhile */
	}
	enum err e =
	    status == ERR_OK && msg_scram_first_reply_decode(payload, &m) != ERR_OK ? ERR_AGAIN : status;
	if (e == ERR_OK && binding_of(l, scram->binding, data, &len) != ERR_OK) {
		e = ERR_AUTH;
	}
	if (e != ERR_OK) {
		answer(l, e);
	} else if (is_imap(c)) {
		imap_connection_challenge(&l->imap, m.salt, m.rounds, m.nonce, bytes_of(data, len));
	} else {
		smtp_server_challenge(&l->smtp.smtp, m.salt, m.rounds, m.nonce, bytes_of(data, len),
				      loop_now(c->gate->host->loop));
		smtp_connection_pump(&l->smtp);
	}
	secret_wipe(data, sizeof(data));
}

static void
on_scram_final(struct login *l, enum err status, struct bytes payload)
{
	struct msg_scram_final_reply m;
	struct connection *c = l->connection;
	memset(&m, 0, sizeof(m));
	enum err e =
	    status == ERR_OK && msg_scram_final_reply_decode(payload, &m) != ERR_OK ? ERR_AGAIN : status;
	if (e == ERR_OK) {
		e = take_place(l, m.worker, m.token);
	}
	if (e != ERR_OK) {
		answer(l, e);
	} else {
		count_answer(l, e);
		if (is_imap(c)) {
			imap_connection_prove(&l->imap, m.signature);
		} else {
			smtp_server_prove(&l->smtp.smtp, m.signature, loop_now(c->gate->host->loop));
			smtp_connection_pump(&l->smtp);
		}
	}
	secret_wipe(&m, sizeof(m));
}

static void
on_reply(void *arg, enum err status, struct bytes payload)
{
	struct request *r = arg;
	struct login *l = r->login;
	enum msg_type type = r->type;
	free(r);
	if (l == NULL) {
		return;
	}
	l->request = NULL;
	if (type == MSG_SCRAM_FIRST) {
		on_scram_first(l, status, payload);
	} else if (type == MSG_SCRAM_FINAL) {
		on_scram_final(l, status, payload);
	} else {
		on_password(l, status, payload);
	}
}

static struct request *
request_create(struct login *l, enum msg_type type)
{
	struct request *r = calloc(1, sizeof(*r));
	if (r != NULL) {
		*r = (struct request){.login = l, .type = type};
	}
	return r;
}

/* The opener was asked, or (e) was not. */
static enum err
asked(struct login *l, struct request *r, enum err e)
{
	if (e != ERR_OK) {
		free(r);
		return e;
	}
	l->request = r;
	return ERR_OK;
}

/* Asks the opener. On failure nothing was asked. */
static enum err
ask(struct login *l, struct bytes name, struct bytes password)
{
	struct connection *c = l->connection;
	struct role_host *h = c->gate->host;
	struct channel *opener = role_channel(h, ROLE_OPENER, 0);
	struct msg_login m = {.protocol = c->protocol, .name = name, .password = password};
	struct request *r = opener == NULL ? NULL : request_create(l, MSG_LOGIN);
	if (r == NULL) {
		return ERR_AGAIN;
	}
	memcpy(m.address, l->address, sizeof(m.address));
	return asked(
	    l, r, channel_request(opener, LOGIN, login, &m, loop_now(h->loop) + GATE_LOGIN_MS, on_reply, r));
}

static enum err
ask_scram(struct login *l, const struct sasl_scram *scram, bool final)
{
	struct connection *c = l->connection;
	struct role_host *h = c->gate->host;
	msec limit = loop_now(h->loop) + GATE_LOGIN_MS;
	struct channel *opener = role_channel(h, ROLE_OPENER, 0);
	struct request *r =
	    opener == NULL ? NULL : request_create(l, final ? MSG_SCRAM_FINAL : MSG_SCRAM_FIRST);
	if (r == NULL) {
		return ERR_AGAIN;
	}
	if (!final) {
		struct msg_scram_first m = {.name = buf_bytes(&scram->name),
					    .client_nonce = buf_bytes(&scram->client_nonce)};
		return asked(l, r, channel_request(opener, SCRAM_FIRST, scram_first, &m, limit, on_reply, r));
	}
	struct msg_scram_final m = {.protocol = c->protocol,
				    .name = buf_bytes(&scram->name),
				    .client_nonce = buf_bytes(&scram->client_nonce),
				    .head = buf_bytes(&scram->head),
				    .tail = buf_bytes(&scram->tail)};
	_Static_assert(sizeof(m.nonce) == sizeof(scram->server_nonce), "nonce");
	_Static_assert(sizeof(m.proof) == sizeof(scram->proof), "proof");
	memcpy(m.address, l->address, sizeof(m.address));
	memcpy(m.nonce, scram->server_nonce, sizeof(m.nonce));
	memcpy(m.proof, scram->proof, sizeof(m.proof));
	return asked(l, r, channel_request(opener, SCRAM_FINAL, scram_final, &m, limit, on_reply, r));
}

static void
take_scram(struct login *l, const struct sasl_scram *scram, bool final)
{
	enum err e = ask_scram(l, scram, final);
	if (e != ERR_OK) {
		answer(l, e);
	}
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
on_scram(void *ctx, const struct sasl_scram *scram, bool final)
{
	take_scram(ctx, scram, final);
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
    .scram = on_scram,
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
imap_scram(struct imap_connection *i, const struct sasl_scram *scram, bool final)
{
	take_scram(i->arg, scram, final);
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
    .closed = imap_closed, .login = imap_login, .scram = imap_scram, .logged_in = imap_logged_in};

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
