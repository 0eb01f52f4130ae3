/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_gate.h"

#include <stdio.h>

#include "base/arena.h"
#include "protocol/imap_command.h"
#include "protocol/imap_write.h"

enum {
	AT_COMMAND,  /* reads commands */
	AT_RESPONSE, /* reads AUTHENTICATE's response */
	AT_FIRST,    /* the same of SCRAM: her first message, */
	AT_FINAL,    /* her last one, */
	AT_THANKS,   /* and the empty one behind ours */
	AT_ASKING,   /* the host decides: on a password, */
	AT_ASKING_FIRST,
	AT_ASKING_FINAL,
	AT_LOGGED_IN,
	AT_CLOSED
};

enum {
	REPLY_MAX = 2 * 1024, /* room for the replies to one command */
	ARENA_MAX = 64 * 1024,
	RESPONSE_MAX = 6 * 1024, /* base64 of name and password */
	NAME_MAX_OCTETS = 1000,
	SECRET_MAX = 12 * 1024
};

static const char before_login[] =
    "CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID AUTH=SCRAM-SHA-256-PLUS "
    "AUTH=SCRAM-SHA-256 AUTH=PLAIN";

const char *
imap_capabilities(void)
{
	return "IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE IDLE NAMESPACE UIDPLUS CHILDREN UNSELECT MOVE "
	       "SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE ESEARCH SEARCHRES SORT "
	       "SORT=DISPLAY "
	       "ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES PARTIAL WITHIN "
	       "CONDSTORE QRESYNC UIDONLY INPROGRESS NOTIFY "
	       "UTF8=ACCEPT SAVEDATE OBJECTID PREVIEW APPENDLIMIT BINARY MULTIAPPEND REPLACE "
	       "QUOTA QUOTA=RES-STORAGE METADATA LIST-METADATA";
}

static struct bytes
kept_tag(const struct imap_gate *g)
{
	return bytes_slice(buf_bytes(&g->secret), 0, g->tag_len);
}

static void
close_now(struct imap_gate *g)
{
	buf_wipe(&g->unread);
	buf_wipe(&g->secret);
	sasl_scram_destroy(&g->scram);
	imap_reader_clear(&g->reader);
	g->state = AT_CLOSED;
}

/* Writes a status reply. Where there is no memory for it, the connection ends. */
static void
reply(struct imap_gate *g, struct bytes tag, const char *status, const char *code, const char *text)
{
	struct imap_writer w;
	imap_writer_init(&w, &g->output, false);
	imap_write_status(&w, tag, status, code, text);
	if (imap_write_done(&w) != ERR_OK) {
		close_now(g);
	}
}

static void
reply_text(struct imap_gate *g, const char *text)
{
	if (buf_append_str(&g->output, text) != ERR_OK) {
		close_now(g);
	}
}

static void
bye(struct imap_gate *g, const char *code, const char *text)
{
	reply(g, BYTES_EMPTY, "BYE", code, text);
	close_now(g);
}

/* A command that is not what it should be. */
static void
bad(struct imap_gate *g, struct bytes tag, const char *why)
{
	if (imap_reader_count_error(&g->reader)) {
		bye(g, NULL, "Too many errors");
		return;
	}
	reply(g, tag, "BAD", NULL, why);
}

static void
refused(struct imap_gate *g, struct bytes tag, const char *code, const char *text)
{
	reply(g, tag, "NO", code, text);
	g->failures++;
	if (g->failures >= g->config.failures_max) {
		bye(g, NULL, "Too many failed logins");
	}
}

/* Keeps tag, name and password for the host. False where they can't be right. */
static bool
keep_credentials(struct imap_gate *g, struct bytes tag, struct bytes name, struct bytes password)
{
	if (name.len == 0 || name.len > NAME_MAX_OCTETS || password.len == 0 || !bytes_is_utf8(name) ||
	    !bytes_is_utf8(password) || bytes_find(name, 0) >= 0 || bytes_find(password, 0) >= 0) {
		return false;
	}
	struct buf secret = BUF_INIT(SECRET_MAX);
	if (buf_append(&secret, tag) != ERR_OK || buf_append(&secret, name) != ERR_OK ||
	    buf_append(&secret, password) != ERR_OK) {
		buf_wipe(&secret);
		return false;
	}
	g->tag_len = tag.len;
	g->name_len = name.len;
	buf_wipe(&g->secret); /* tag may have pointed there */
	g->secret = secret;
	return true;
}

static void
ask(struct imap_gate *g, struct bytes tag, struct bytes name, struct bytes password, msec now)
{
	if (!keep_credentials(g, tag, name, password)) {
		g->state = AT_COMMAND;
		refused(g, tag, "AUTHENTICATIONFAILED", "Wrong name or password");
		if (g->state != AT_CLOSED) {
			buf_wipe(&g->secret);
		}
		return;
	}
	/* The host's time is not the client's: while it decides, this holds what is left. */
	g->deadline -= now;
	g->state = AT_ASKING;
}

/* [authzid] NUL authcid NUL passwd (RFC 4616). */
static void
take_plain(struct imap_gate *g, struct bytes tag, struct bytes text, msec now)
{
	struct buf octets = BUF_INIT(RESPONSE_MAX);
	enum err e = buf_append_unbase64(&octets, text);
	struct bytes all = buf_bytes(&octets);
	ptrdiff_t first = bytes_find(all, 0);
	struct bytes rest = first < 0 ? BYTES_EMPTY : bytes_from(all, (size_t)first + 1);
	ptrdiff_t second = bytes_find(rest, 0);
	g->state = AT_COMMAND;
	if (e == ERR_MEMORY) {
		reply(g, tag, "NO", "UNAVAILABLE", "Try again later");
	} else if (e != ERR_OK || first < 0 || second < 0) {
		bad(g, tag, "Not a PLAIN response");
	} else {
		struct bytes authorize = bytes_slice(all, 0, (size_t)first);
		struct bytes name = bytes_slice(rest, 0, (size_t)second);
		struct bytes password = bytes_from(rest, (size_t)second + 1);
		if (authorize.len > 0 && !bytes_equal(authorize, name)) {
			refused(g, tag, "AUTHORIZATIONFAILED", "No acting for others");
		} else {
			ask(g, tag, name, password, now);
		}
	}
	buf_wipe(&octets);
}

/* Waits for a line of AUTHENTICATE; the challenge before it was written. */
static void
expect_line(struct imap_gate *g, int state)
{
	if (g->state != AT_CLOSED) {
		g->state = state;
		imap_reader_expect_line(&g->reader, RESPONSE_MAX);
	}
}

/* A dialogue of SCRAM comes to nothing. */
static void
end_scram(struct imap_gate *g, enum err e)
{
	struct bytes tag = kept_tag(g);
	g->state = AT_COMMAND;
	if (e == ERR_FORMAT) {
		bad(g, tag, "Not a SCRAM message");
	} else if (e == ERR_AUTH || e == ERR_DENIED || e == ERR_UNSUPPORTED) {
		refused(g, tag, e == ERR_DENIED ? "AUTHORIZATIONFAILED" : "AUTHENTICATIONFAILED",
			g->scram->problem);
	} else {
		reply(g, tag, "NO", "UNAVAILABLE", "Try again later");
	}
	sasl_scram_destroy(&g->scram);
	buf_wipe(&g->secret);
}

/* One message of hers, in base64. */
static void
take_scram(struct imap_gate *g, struct bytes text, msec now)
{
	struct buf octets = BUF_INIT(RESPONSE_MAX);
	int state = g->state;
	enum err e = buf_append_unbase64(&octets, text);
	if (e == ERR_OK && state == AT_FIRST) {
		e = sasl_scram_first(g->scram, buf_bytes(&octets));
	} else if (e == ERR_OK) {
		e = sasl_scram_final(g->scram, buf_bytes(&octets));
	}
	buf_wipe(&octets);
	if (e != ERR_OK) {
		end_scram(g, e);
		return;
	}
	g->deadline -= now;
	g->state = state == AT_FIRST ? AT_ASKING_FIRST : AT_ASKING_FINAL;
}

static void
start_scram(struct imap_gate *g, const struct imap_command *c, bool plus, msec now)
{
	if (buf_append(&g->secret, c->tag) != ERR_OK || sasl_scram_create(plus, &g->scram) != ERR_OK) {
		buf_wipe(&g->secret);
		reply(g, c->tag, "NO", "UNAVAILABLE", "Try again later");
		return;
	}
	g->tag_len = c->tag.len;
	if (c->authenticate.has_initial) {
		g->state = AT_FIRST;
		take_scram(g, c->authenticate.initial, now);
		return;
	}
	reply_text(g, "+ \r\n");
	expect_line(g, AT_FIRST);
}

/* A message of ours, in base64, and then hers. */
static void
challenge(struct imap_gate *g, struct bytes message, int state)
{
	enum err e = buf_append_str(&g->output, "+ ");
	e = e == ERR_OK ? buf_append_base64(&g->output, message) : e;
	e = e == ERR_OK ? buf_append_str(&g->output, "\r\n") : e;
	if (e != ERR_OK) {
		close_now(g);
	}
	expect_line(g, state);
}

static void
authenticate(struct imap_gate *g, const struct imap_command *c, msec now)
{
	struct bytes mechanism = c->authenticate.mechanism;
	bool plus = bytes_is_nocase(mechanism, "SCRAM-SHA-256-PLUS");
	if (plus || bytes_is_nocase(mechanism, "SCRAM-SHA-256")) {
		start_scram(g, c, plus, now);
		return;
	}
	if (!bytes_is_nocase(mechanism, "PLAIN")) {
		reply(g, c->tag, "NO", "CANNOT", "Unknown mechanism: use SCRAM-SHA-256 or PLAIN");
		return;
	}
	if (c->authenticate.has_initial) {
		take_plain(g, c->tag, c->authenticate.initial, now);
		return;
	}
	if (buf_append(&g->secret, c->tag) != ERR_OK) {
		reply(g, c->tag, "NO", "UNAVAILABLE", "Try again later");
		return;
	}
	g->tag_len = c->tag.len;
	reply_text(g, "+ \r\n");
	expect_line(g, AT_RESPONSE);
}

static void
log_in(struct imap_gate *g)
{
	g->state = AT_LOGGED_IN;
	if (buf_append(&g->output, kept_tag(g)) != ERR_OK) {
		close_now(g);
		return;
	}
	reply_text(g, " OK [CAPABILITY ");
	reply_text(g, g->config.capabilities != NULL ? g->config.capabilities : imap_capabilities());
	reply_text(g, "] Logged in\r\n");
}

static void
response(struct imap_gate *g, struct bytes line, msec now)
{
	if (bytes_is(line, "*")) {
		g->state = AT_COMMAND;
		reply(g, kept_tag(g), "BAD", NULL, "Cancelled");
	} else if (g->state == AT_RESPONSE) {
		take_plain(g, kept_tag(g), line, now);
	} else if (g->state != AT_THANKS) {
		take_scram(g, line, now);
	} else if (line.len == 0) {
		log_in(g);
	} else {
		end_scram(g, ERR_FORMAT);
	}
	if (g->state == AT_COMMAND || g->state == AT_LOGGED_IN) {
		buf_wipe(&g->secret);
		sasl_scram_destroy(&g->scram);
	}
}

static void
command(struct imap_gate *g, struct bytes tag, struct bytes text, msec now)
{
	struct arena arena;
	struct imap_command c;
	const char *why = "Syntax error";
	arena_init(&arena, ARENA_MAX);
	enum err e = imap_command_parse(&arena, text, true, &c, &why);
	if (e == ERR_MEMORY) {
		reply(g, tag, "NO", "UNAVAILABLE", "Try again later");
	} else if (e != ERR_OK) {
		bad(g, tag, why);
	} else if (!imap_command_allowed(&c, IMAP_NOT_AUTHENTICATED)) {
		bad(g, tag, "Log in first");
	} else if (c.verb == IMAP_CAPABILITY) {
		reply_text(g, "* ");
		reply_text(g, before_login);
		reply_text(g, "\r\n");
		reply(g, tag, "OK", NULL, "Completed");
	} else if (c.verb == IMAP_NOOP) {
		reply(g, tag, "OK", NULL, "Completed");
	} else if (c.verb == IMAP_ID) {
		reply_text(g, "* ID (\"name\" \"Cohue\")\r\n");
		reply(g, tag, "OK", NULL, "Completed");
	} else if (c.verb == IMAP_LOGOUT) {
		reply(g, BYTES_EMPTY, "BYE", NULL, "Logging out");
		reply(g, tag, "OK", NULL, "Completed");
		close_now(g);
	} else if (c.verb == IMAP_LOGIN) {
		ask(g, tag, c.login.name, c.login.password, now);
	} else if (c.verb == IMAP_AUTHENTICATE) {
		authenticate(g, &c, now);
	} else {
		bad(g, tag, "Not here: the connection is under TLS already");
	}
	arena_clear(&arena);
}

static enum imap_gate_event
present_event(const struct imap_gate *g)
{
	return g->state == AT_ASKING         ? IMAP_GATE_LOGIN
	       : g->state == AT_ASKING_FIRST ? IMAP_GATE_SCRAM_FIRST
	       : g->state == AT_ASKING_FINAL ? IMAP_GATE_SCRAM_FINAL
	       : g->state == AT_LOGGED_IN    ? IMAP_GATE_LOGGED_IN
	       : g->state == AT_CLOSED       ? IMAP_GATE_CLOSE
					     : IMAP_GATE_IDLE;
}

static bool
is_reading(const struct imap_gate *g)
{
	return g->state == AT_COMMAND || g->state == AT_RESPONSE || g->state == AT_FIRST ||
	       g->state == AT_FINAL || g->state == AT_THANKS;
}

static bool
is_asking(const struct imap_gate *g)
{
	return g->state == AT_ASKING || g->state == AT_ASKING_FIRST || g->state == AT_ASKING_FINAL;
}

static bool
has_room(const struct imap_gate *g)
{
	return g->output.len + REPLY_MAX <= IMAP_GATE_OUTPUT_MAX;
}

static enum imap_gate_event
go_on(struct imap_gate *g, msec now)
{
	if (is_reading(g) && now >= g->deadline) {
		bye(g, NULL, "Too slow");
	}
	while (is_reading(g) && has_room(g)) {
		struct bytes input = buf_bytes(&g->unread);
		size_t before = input.len;
		struct imap_event e = imap_reader_next(&g->reader, &input);
		/* The events met here point into the reader, not into the input. */
		if (input.len == 0) {
			buf_wipe(&g->unread);
		} else {
			buf_consume(&g->unread, before - input.len);
		}
		if (e.kind == IMAP_EVENT_NONE) {
			break;
		}
		switch (e.kind) {
		case IMAP_EVENT_COMMAND:
			command(g, e.tag, e.text, now);
			break;
		case IMAP_EVENT_LINE:
			response(g, e.text, now);
			break;
		case IMAP_EVENT_CONTINUE:
			reply_text(g, "+ OK\r\n");
			break;
		case IMAP_EVENT_BAD:
			if (g->state != AT_COMMAND) {
				/* A line that is too long. */
				reply(g, kept_tag(g), "BAD", NULL,
				      g->scram == NULL ? "Not a PLAIN response" : "Not a SCRAM message");
				sasl_scram_destroy(&g->scram);
				g->state = g->state == AT_CLOSED ? AT_CLOSED : AT_COMMAND;
				buf_wipe(&g->secret);
			} else {
				reply(g, e.tag, "BAD", NULL, (const char *)e.text.ptr);
			}
			break;
		case IMAP_EVENT_BYE:
			bye(g, NULL, (const char *)e.text.ptr);
			break;
		case IMAP_EVENT_NONE:
		case IMAP_EVENT_APPEND:
		case IMAP_EVENT_APPEND_MORE:
		case IMAP_EVENT_DATA:
		case IMAP_EVENT_APPEND_END:
			panic("imap_gate: no such event before login");
		}
		imap_reader_release(&g->reader);
	}
	return present_event(g);
}

enum err
imap_gate_init(struct imap_gate *g, const struct imap_gate_config *config, msec now)
{
	struct imap_gate gate = {.config = *config,
				 .unread = BUF_INIT(IMAP_GATE_UNREAD_MAX),
				 .output = BUF_INIT(IMAP_GATE_OUTPUT_MAX),
				 .secret = BUF_INIT(SECRET_MAX),
				 .state = AT_COMMAND};
	struct imap_reader_limits limits = imap_reader_limits_gate();
	if (config->errors_max > 0) {
		limits.errors_max = config->errors_max;
	}
	gate.config.failures_max = config->failures_max > 0 ? config->failures_max : IMAP_GATE_FAILURES_MAX;
	gate.deadline = now + (config->login_time > 0 ? config->login_time : IMAP_GATE_LOGIN_MSEC);
	imap_reader_init(&gate.reader, limits);
	struct imap_writer w;
	imap_writer_init(&w, &gate.output, false);
	imap_write_status(&w, BYTES_EMPTY, "OK", before_login,
			  config->greeting != NULL ? config->greeting : "Ready");
	enum err e = imap_write_done(&w);
	if (e != ERR_OK) {
		buf_clear(&gate.output);
		return e;
	}
	*g = gate;
	return ERR_OK;
}

void
imap_gate_clear(struct imap_gate *g)
{
	close_now(g);
	buf_wipe(&g->output);
}

bool
imap_gate_wants_input(const struct imap_gate *g)
{
	return is_reading(g) && has_room(g);
}

enum imap_gate_event
imap_gate_input(struct imap_gate *g, struct bytes data, msec now)
{
	while (data.len > 0 && g->state != AT_CLOSED) {
		struct bytes part = bytes_slice(data, 0, g->unread.max - g->unread.len);
		if (part.len == 0 || buf_append(&g->unread, part) != ERR_OK) {
			bye(g, NULL, "Too much at once");
			break;
		}
		data = bytes_from(data, part.len);
		(void)go_on(g, now);
	}
	return present_event(g);
}

enum imap_gate_event
imap_gate_tick(struct imap_gate *g, msec now)
{
	return go_on(g, now);
}

msec
imap_gate_deadline(const struct imap_gate *g)
{
	return is_reading(g) ? g->deadline : INT64_MAX;
}

struct imap_credentials
imap_gate_credentials(const struct imap_gate *g)
{
	struct bytes all = buf_bytes(&g->secret);
	if (g->state != AT_ASKING) {
		return (struct imap_credentials){.name = BYTES_EMPTY, .password = BYTES_EMPTY};
	}
	return (struct imap_credentials){.name = bytes_slice(all, g->tag_len, g->name_len),
					 .password = bytes_from(all, g->tag_len + g->name_len)};
}

enum imap_gate_event
imap_gate_damaged(struct imap_gate *g, const char *reference, msec now)
{
	char text[128];
	if (!is_asking(g)) {
		return present_event(g);
	}
	g->deadline += now;
	g->state = AT_COMMAND;
	(void)snprintf(text, sizeof(text), "Your account is damaged here: tell who runs this house (%s)",
		       reference);
	reply(g, kept_tag(g), "NO", "CONTACTADMIN", text);
	buf_wipe(&g->secret);
	sasl_scram_destroy(&g->scram);
	return go_on(g, now);
}

enum imap_gate_event
imap_gate_answer(struct imap_gate *g, enum imap_gate_verdict verdict, msec now)
{
	if (!is_asking(g)) {
		return present_event(g); /* the gate closed in the meantime */
	}
	g->deadline += now;
	g->state = AT_COMMAND;
	switch (verdict) {
	case IMAP_GATE_ACCEPT:
		if (g->scram != NULL) {
			panic("imap_gate: a proof is answered with imap_gate_prove");
		}
		log_in(g);
		break;
	case IMAP_GATE_REJECT:
		refused(g, kept_tag(g), "AUTHENTICATIONFAILED", "Wrong name or password");
		break;
	case IMAP_GATE_UNAVAILABLE:
		reply(g, kept_tag(g), "NO", "UNAVAILABLE", "Try again later");
		break;
	case IMAP_GATE_SHUTDOWN:
		bye(g, "UNAVAILABLE", "Shutting down");
		break;
	}
	buf_wipe(&g->secret);
	sasl_scram_destroy(&g->scram);
	return go_on(g, now);
}

const struct sasl_scram *
imap_gate_scram(const struct imap_gate *g)
{
	return g->scram;
}

enum imap_gate_event
imap_gate_challenge(struct imap_gate *g, const uint8_t salt[SASL_SCRAM_SALT_LEN], uint32_t rounds,
		    const uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN], struct bytes binding, msec now)
{
	struct buf message = BUF_INIT(SASL_SCRAM_MESSAGE_MAX);
	if (g->state != AT_ASKING_FIRST) {
		return present_event(g);
	}
	g->deadline += now;
	enum err e = sasl_scram_challenge(g->scram, salt, rounds, server_nonce, binding, &message);
	if (e == ERR_OK) {
		challenge(g, buf_bytes(&message), AT_FINAL);
	} else {
		end_scram(g, e);
	}
	buf_wipe(&message);
	return go_on(g, now);
}

enum imap_gate_event
imap_gate_prove(struct imap_gate *g, const uint8_t signature[SASL_SCRAM_KEY_LEN], msec now)
{
	struct buf message = BUF_INIT(SASL_SCRAM_MESSAGE_MAX);
	if (g->state != AT_ASKING_FINAL) {
		return present_event(g);
	}
	g->deadline += now;
	enum err e = sasl_scram_verdict(signature, &message);
	if (e == ERR_OK) {
		challenge(g, buf_bytes(&message), AT_THANKS);
	} else {
		end_scram(g, e);
	}
	buf_wipe(&message);
	return go_on(g, now);
}

struct bytes
imap_gate_output(const struct imap_gate *g)
{
	return buf_bytes(&g->output);
}

enum imap_gate_event
imap_gate_sent(struct imap_gate *g, size_t n, msec now)
{
	buf_consume(&g->output, n);
	if (g->output.len == 0) {
		buf_clear(&g->output);
	}
	return go_on(g, now);
}

enum err
imap_gate_take_unread(struct imap_gate *g, struct buf *unread, size_t *ret_count)
{
	if (g->state != AT_LOGGED_IN) {
		return ERR_STATE;
	}
	size_t count = g->unread.len;
	enum err e = buf_append(unread, buf_bytes(&g->unread));
	if (e != ERR_OK) {
		return e;
	}
	buf_wipe(&g->unread);
	*ret_count = count;
	return ERR_OK;
}

size_t
imap_gate_held(const struct imap_gate *g)
{
	const struct sasl_scram *s = g->scram;
	size_t scram = s == NULL ? 0
				 : sizeof(*s) + s->name.cap + s->client_nonce.cap + s->bound.cap +
				       s->head.cap + s->tail.cap;
	return g->unread.cap + g->output.cap + g->secret.cap + scram + imap_reader_held(&g->reader);
}
