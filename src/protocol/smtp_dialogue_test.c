/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Plays the dialogues of test/dialogues/smtp against the engines in virtual
 * time: whole groups at once, octet by octet, and cut in two at every place;
 * each way must give the same. A script has lines of these kinds:
 *
 *   engine mx|gate|session|client [tls]   first
 *   set NAME VALUE   limits; `manual 1`: the host answers by H lines only
 *   C: text          the client's line (CRLF added); C> text with \r \n \0 \\ \xHH, nothing added
 *   S: text          the server's line; S> likewise
 *   T+seconds        time passes
 *   H: accept | reply CODE ENHANCED TEXT | tls | release | shutdown | wake | lost | quit
 *   E: event         what the host was told; when there is one E line, all events must be there
 *   set fill N   client: before all M lines: NOOPs before DATA
 *   M: SENDER FLAGS RCPT...   client: a message to send when ready (- for <>, flags 8, u, d, -)
 *   B: text          client: its body, with escapes
 *
 * The engine's own side is compared, the other is fed. At the end nothing may
 * be left over.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/smtp_client.h"
#include "protocol/smtp_server.h"

enum { LINES_MAX = 400, RCPTS_MAX = 8, MAILS_MAX = 4 };

static const char *folder;

struct message {
	char text[1024]; /* the M line, cut into words */
	struct smtp_client_rcpt rcpts[RCPTS_MAX];
	struct smtp_client_mail mail;
	struct buf body;
	size_t at;
};

struct player {
	struct smtp_server server;
	struct smtp_server_config server_config;
	struct smtp_client client;
	struct smtp_client_config client_config;
	struct message messages[MAILS_MAX];
	size_t message_count;
	size_t message_next;
	bool is_client;
	bool manual;
	bool hold;
	bool body_again;
	bool events_wanted;
	struct buf events;
	struct buf content; /* data chunks, put together */
	struct buf feed;    /* not yet taken */
	msec now;
	size_t cut;
	const char *name;
	unsigned line;
};

static void
ok(enum err e)
{
	assert_int_equal(e, ERR_OK);
}

/* Events */

static void
flush_content(struct player *p)
{
	if (p->content.len == 0) {
		return;
	}
	ok(buf_append_str(&p->events, "data "));
	for (size_t i = 0; i < p->content.len; i++) {
		uint8_t c = p->content.ptr[i];
		if (c == '\r') {
			ok(buf_append_str(&p->events, "\\r"));
		} else if (c == '\n') {
			ok(buf_append_str(&p->events, "\\n"));
		} else {
			ok(buf_append_byte(&p->events, c));
		}
	}
	ok(buf_append_str(&p->events, "\n"));
	buf_clear(&p->content);
}

static void event(struct player *p, const char *format, ...) COHUE_PRINTF(2, 3);

static void
event(struct player *p, const char *format, ...)
{
	char text[2048];
	va_list args;
	flush_content(p);
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ok(buf_append_str(&p->events, text));
	ok(buf_append_str(&p->events, "\n"));
}

static void
on_hello(void *ctx, enum smtp_hello kind, struct bytes name)
{
	event(ctx, "%s %.*s", kind == SMTP_HELLO_EHLO ? "ehlo" : "helo", (int)name.len,
	      (const char *)name.ptr);
}

static void
on_starttls(void *ctx)
{
	event(ctx, "starttls");
}

static void
auto_accept(struct player *p)
{
	if (!p->manual) {
		smtp_server_accept(&p->server, p->now);
	}
}

static void
on_auth(void *ctx, const struct smtp_credentials *c)
{
	event(ctx, "auth %s [%.*s] %.*s %.*s", c->mechanism == SMTP_AUTH_PLAIN ? "plain" : "login",
	      (int)c->authzid.len, (const char *)c->authzid.ptr, (int)c->user.len, (const char *)c->user.ptr,
	      (int)c->password.len, (const char *)c->password.ptr);
	auto_accept(ctx);
}

static void
on_mail(void *ctx, const struct smtp_mail *m)
{
	event(ctx, "mail [%.*s][%.*s] size=%llu body=%d utf8=%d ret=%d envid=%.*s", (int)m->sender.local.len,
	      (const char *)m->sender.local.ptr, (int)m->sender.domain.len,
	      (const char *)m->sender.domain.ptr, (unsigned long long)m->size, (int)m->body, (int)m->utf8,
	      (int)m->ret, (int)m->envid.len, (const char *)m->envid.ptr);
	if (m->hold > 0 || m->has_priority) {
		event(ctx, "wish hold=%llu priority=%d,%d", (unsigned long long)m->hold, (int)m->has_priority,
		      (int)m->priority);
	}
	auto_accept(ctx);
}

static void
on_rcpt(void *ctx, const struct smtp_rcpt *r)
{
	struct player *p = ctx;
	event(ctx, "rcpt [%.*s][%.*s] notify=%u orcpt=%.*s;%.*s", (int)r->recipient.local.len,
	      (const char *)r->recipient.local.ptr, (int)r->recipient.domain.len,
	      (const char *)r->recipient.domain.ptr, r->notify, (int)r->orcpt_type.len,
	      (const char *)r->orcpt_type.ptr, (int)r->orcpt.len, (const char *)r->orcpt.ptr);
	if (!p->manual && bytes_is(r->recipient.local, "nobody")) {
		smtp_server_reply(&p->server, 550, "5.1.1", BYTES_LIT("No such member"), p->now);
	} else {
		auto_accept(p);
	}
}

static void
on_data_begin(void *ctx, bool chunked)
{
	event(ctx, "begin%s", chunked ? " chunked" : "");
	auto_accept(ctx);
}

static void
on_data(void *ctx, struct bytes chunk)
{
	struct player *p = ctx;
	ok(buf_append(&p->content, chunk));
	if (p->hold) {
		smtp_server_hold(&p->server);
	}
}

static void
on_data_end(void *ctx, uint64_t size)
{
	event(ctx, "end %llu", (unsigned long long)size);
	auto_accept(ctx);
}

static void
on_reset(void *ctx)
{
	struct player *p = ctx;
	buf_clear(&p->content); /* how much of it came before a fault depends on the cut */
	event(ctx, "reset");
}

static const struct smtp_server_host server_host = {on_hello, on_starttls,   on_auth, NULL,        on_mail,
						    on_rcpt,  on_data_begin, on_data, on_data_end, on_reset};

static void
client_next(struct player *p)
{
	while (smtp_client_is_ready(&p->client) && p->message_next < p->message_count) {
		struct message *m = &p->messages[p->message_next];
		m->at = 0;
		enum err e = smtp_client_send(&p->client, &m->mail, p->now);
		if (e == ERR_OK) {
			return;
		}
		p->message_next++;
		event(p, "unsent %s", err_text(e));
	}
	if (smtp_client_is_ready(&p->client) && !p->manual) {
		smtp_client_quit(&p->client, p->now);
	}
}

static void
on_ready(void *ctx)
{
	event(ctx, "ready");
	client_next(ctx);
}

static enum err
on_body(void *ctx, struct bytes *ret_chunk)
{
	struct player *p = ctx;
	struct message *m = &p->messages[p->message_next];
	if (p->body_again) {
		p->body_again = false;
		return ERR_AGAIN;
	}
	/* Small pieces, so that line ends are cut. */
	size_t n = p->cut % 7 + 1;
	struct bytes rest = bytes_from(buf_bytes(&m->body), m->at);
	*ret_chunk = bytes_slice(rest, 0, n);
	m->at += ret_chunk->len;
	return ERR_OK;
}

static void
on_recipient(void *ctx, size_t index, const struct smtp_result *r)
{
	event(ctx, "verdict %zu %u %s %s%s", index, r->code, r->status, r->local ? "local " : "", r->text);
}

static void
on_done(void *ctx)
{
	struct player *p = ctx;
	p->message_next++;
	event(ctx, "done");
}

static void
on_closed(void *ctx, enum smtp_closed why, const struct smtp_result *r)
{
	static const char *const names[] = {"quit",    "refused", "no-tls", "auth",  "protocol",
					    "timeout", "lost",    "body",   "memory"};
	event(ctx, "closed %s %u %s", names[why], r->code, r->status);
}

static const struct smtp_client_host client_host = {on_starttls,  on_ready, on_body,
						    on_recipient, on_done,  on_closed};

/* The engine's sides */

static struct bytes
output(struct player *p)
{
	return p->is_client ? smtp_client_output(&p->client) : smtp_server_output(&p->server);
}

static void
give(struct player *p)
{
	while (p->feed.len > 0) {
		size_t n = p->cut == 0 || p->cut > p->feed.len ? p->feed.len : p->cut;
		if (p->is_client) {
			smtp_client_feed(&p->client, bytes_slice(buf_bytes(&p->feed), 0, n), p->now);
		} else {
			size_t wants = smtp_server_wants(&p->server);
			if (wants == 0 && smtp_server_closing(&p->server)) {
				buf_clear(&p->feed);
				return;
			}
			if (wants == 0) {
				return;
			}
			n = n < wants ? n : wants;
			ok(smtp_server_feed(&p->server, bytes_slice(buf_bytes(&p->feed), 0, n), p->now));
		}
		buf_consume(&p->feed, n);
		if (p->cut > 1) {
			p->cut = p->cut > p->feed.len ? p->cut : 0; /* cut in two, not in many */
		}
	}
}

static void
unescape(const char *text, struct buf *out)
{
	for (size_t i = 0; text[i] != '\0'; i++) {
		if (text[i] != '\\') {
			ok(buf_append_byte(out, (uint8_t)text[i]));
			continue;
		}
		i++;
		if (text[i] == 'x') {
			char hex[3] = {text[i + 1], text[i + 2], '\0'};
			ok(buf_append_byte(out, (uint8_t)strtoul(hex, NULL, 16)));
			i += 2;
		} else {
			ok(buf_append_byte(out, text[i] == 'r'   ? '\r'
						: text[i] == 'n' ? '\n'
						: text[i] == '0' ? '\0'
								 : (uint8_t)text[i]));
		}
	}
}

static void
complain(const struct player *p, const char *what, struct bytes have, struct bytes want)
{
	const void *have_text = have.len > 0 ? (const void *)have.ptr : "";
	const void *want_text = want.len > 0 ? (const void *)want.ptr : "";
	fail_msg("%s:%u (cut %zu): %s\n have: %.*s\n want: %.*s", p->name, p->line, p->cut, what,
		 (int)have.len, (const char *)have_text, (int)want.len, (const char *)want_text);
}

static void
expect_output(struct player *p, struct bytes want)
{
	struct bytes have = bytes_slice(output(p), 0, want.len);
	/* A body is written piece by piece. */
	while (p->is_client && have.len < want.len && have.len > 0 &&
	       bytes_equal(have, bytes_slice(want, 0, have.len))) {
		want = bytes_from(want, have.len);
		smtp_client_sent(&p->client, have.len, p->now);
		have = bytes_slice(output(p), 0, want.len);
	}
	if (!bytes_equal(have, want)) {
		complain(p, "output", output(p), want);
	}
	if (p->is_client) {
		smtp_client_sent(&p->client, want.len, p->now);
	} else {
		smtp_server_sent(&p->server, want.len, p->now);
	}
}

static void
expect_event(struct player *p, const char *text)
{
	flush_content(p);
	struct bytes all = buf_bytes(&p->events);
	ptrdiff_t lf = bytes_find(all, '\n');
	struct bytes have = bytes_slice(all, 0, lf >= 0 ? (size_t)lf : 0);
	if (!bytes_is(have, text)) {
		complain(p, "event", have, bytes_str(text));
	}
	buf_consume(&p->events, have.len + 1);
}

static void
host_action(struct player *p, const char *text)
{
	if (strcmp(text, "accept") == 0) {
		smtp_server_accept(&p->server, p->now);
	} else if (strncmp(text, "reply ", 6) == 0) {
		char enhanced[16] = "";
		unsigned code = 0;
		int used = 0;
		assert_true(sscanf(text + 6, "%u %15s %n", &code, enhanced, &used) >= 2);
		smtp_server_reply(&p->server, code, enhanced, bytes_str(text + 6 + used), p->now);
	} else if (strcmp(text, "tls") == 0) {
		buf_clear(&p->feed); /* a handshake would choke on it */
		if (p->is_client) {
			smtp_client_tls_started(&p->client, p->now);
		} else {
			smtp_server_tls_started(&p->server, p->now);
		}
	} else if (strcmp(text, "release") == 0) {
		p->hold = false;
		smtp_server_release(&p->server, p->now);
	} else if (strcmp(text, "shutdown") == 0) {
		smtp_server_shutdown(&p->server, p->now);
	} else if (strcmp(text, "wake") == 0) {
		smtp_client_wake(&p->client, p->now);
	} else if (strcmp(text, "lost") == 0) {
		smtp_client_lost(&p->client, p->now);
	} else if (strcmp(text, "quit") == 0) {
		smtp_client_quit(&p->client, p->now);
	} else {
		fail_msg("%s:%u: unknown H line", p->name, p->line);
	}
	give(p);
}

/* Scripts */

static void
set_option(struct player *p, const char *text)
{
	char name[32];
	unsigned value;
	assert_int_equal(sscanf(text, "%31s %u", name, &value), 2);
	struct smtp_server_config *c = &p->server_config;
	if (strcmp(name, "fill") == 0) {
		for (size_t i = 0; i < MAILS_MAX; i++) {
			p->messages[i].mail.fill = value;
		}
	} else if (strcmp(name, "manual") == 0) {
		p->manual = value != 0;
	} else if (strcmp(name, "hold") == 0) {
		p->hold = value != 0;
	} else if (strcmp(name, "body_again") == 0) {
		p->body_again = value != 0;
	} else if (strcmp(name, "max_errors") == 0) {
		c->max_errors = value;
	} else if (strcmp(name, "max_unknown") == 0) {
		c->max_unknown = value;
	} else if (strcmp(name, "max_junk") == 0) {
		c->max_junk = value;
	} else if (strcmp(name, "max_message") == 0) {
		c->max_message = value;
	} else if (strcmp(name, "max_header") == 0) {
		c->max_header = value;
	} else if (strcmp(name, "max_line") == 0) {
		c->max_line = value;
	} else if (strcmp(name, "max_recipients") == 0) {
		c->max_recipients = value;
	} else if (strcmp(name, "require_tls") == 0) {
		c->require_tls = value != 0;
	} else if (strcmp(name, "tls") == 0) {
		p->client_config.tls = (enum smtp_tls_policy)value;
	} else if (strcmp(name, "login") == 0) {
		p->client_config.user = BYTES_LIT("house");
		p->client_config.password = BYTES_LIT("secret");
	} else {
		fail_msg("%s:%u: unknown option", p->name, p->line);
	}
}

/* 2026-11-22 12:00:00 UTC */
static msec
wall(void)
{
	return 1795348800 * MSEC_SECOND;
}

static void
set_engine(struct player *p, const char *text)
{
	bool tls = strstr(text, " tls") != NULL;
	enum smtp_mode mode = strncmp(text, "mx", 2) == 0     ? SMTP_MODE_MX
			      : strncmp(text, "gate", 4) == 0 ? SMTP_MODE_GATE
							      : SMTP_MODE_SESSION;
	p->is_client = strncmp(text, "client", 6) == 0;
	smtp_server_config_default(&p->server_config);
	p->server_config.hostname = BYTES_LIT("mx.example.org");
	if (strstr(text, " future") != NULL) {
		p->server_config.hold_max = 1000;
		p->server_config.wall = wall;
	}
	smtp_client_config_default(&p->client_config);
	p->client_config.hello = BYTES_LIT("out.example.org");
	p->client_config.tls = tls ? SMTP_TLS_IMPLICIT : SMTP_TLS_NONE;
	if (p->is_client) {
		smtp_client_init(&p->client, &p->client_config, &client_host, p);
		smtp_client_start(&p->client, p->now);
		p->client.tls = tls;
	} else {
		smtp_server_init(&p->server, mode, tls, &p->server_config, &server_host, p);
		smtp_server_start(&p->server, SMTP_HELLO_EHLO, p->now);
	}
}

static void
add_message(struct player *p, const char *text)
{
	assert_true(p->message_count < MAILS_MAX && strlen(text) < sizeof(p->messages[0].text));
	struct message *m = &p->messages[p->message_count++];
	memcpy(m->text, text, strlen(text) + 1);
	m->body = BUF_INIT(1 << 16);
	m->mail.rcpts = m->rcpts;
	struct bytes rest = bytes_str(m->text);
	for (size_t word = 0; rest.len > 0; word++) {
		ptrdiff_t space = bytes_find(rest, ' ');
		struct bytes w = space >= 0 ? bytes_slice(rest, 0, (size_t)space) : rest;
		rest = space >= 0 ? bytes_from(rest, (size_t)space + 1) : BYTES_EMPTY;
		if (word == 0) {
			m->mail.sender = bytes_is(w, "-") ? BYTES_EMPTY : w;
		} else if (word == 1) {
			m->mail.needs_8bit = bytes_find(w, '8') >= 0;
			m->mail.needs_utf8 = bytes_find(w, 'u') >= 0;
			m->mail.ret = bytes_find(w, 'd') >= 0 ? SMTP_RET_HDRS : SMTP_RET_UNSAID;
			m->mail.envid = bytes_find(w, 'd') >= 0 ? BYTES_LIT("id+1") : BYTES_EMPTY;
		} else {
			assert_true(m->mail.rcpt_count < RCPTS_MAX);
			struct smtp_client_rcpt *r = &m->rcpts[m->mail.rcpt_count++];
			r->mailbox = w;
			if (m->mail.ret != SMTP_RET_UNSAID) {
				r->notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
				r->orcpt_type = BYTES_LIT("rfc822");
				r->orcpt = w;
			}
		}
	}
}

static void
play_line(struct player *p, char *line)
{
	char mine = p->is_client ? 'C' : 'S';
	char theirs = p->is_client ? 'S' : 'C';
	if ((line[0] == 'C' || line[0] == 'S') && (line[1] == ':' || line[1] == '>')) {
		struct buf text = BUF_INIT(1 << 17);
		const char *from = line[2] == ' ' ? line + 3 : line + 2;
		if (line[1] == '>') {
			unescape(from, &text);
		} else {
			ok(buf_append_str(&text, from));
			ok(buf_append_str(&text, "\r\n"));
		}
		if (line[0] == theirs) {
			ok(buf_append(&p->feed, buf_bytes(&text)));
		} else if (line[0] == mine) {
			expect_output(p, buf_bytes(&text));
		}
		buf_clear(&text);
	} else if (strncmp(line, "T+", 2) == 0) {
		p->now += (msec)strtol(line + 2, NULL, 10) * MSEC_SECOND;
		if (p->is_client) {
			smtp_client_tick(&p->client, p->now);
		} else {
			smtp_server_tick(&p->server, p->now);
		}
	} else if (strncmp(line, "H: ", 3) == 0) {
		host_action(p, line + 3);
	} else if (strncmp(line, "E: ", 3) == 0) {
		p->events_wanted = true;
		expect_event(p, line + 3);
	} else if (strncmp(line, "M: ", 3) == 0) {
		add_message(p, line + 3);
	} else if (strncmp(line, "B: ", 3) == 0) {
		struct message *m = &p->messages[p->message_count - 1];
		unescape(line + 3, &m->body);
	} else if (strncmp(line, "engine ", 7) == 0) {
		set_engine(p, line + 7);
	} else if (strncmp(line, "set ", 4) == 0) {
		set_option(p, line + 4);
	} else if (line[0] != '#' && line[0] != '\0') {
		fail_msg("%s:%u: what is this?", p->name, p->line);
	}
}

/* Returns the longest group that was fed: beyond it no cut makes a difference. */
static size_t
play(const char *name, char *lines[], size_t count, size_t cut)
{
	struct player *p = calloc(1, sizeof(*p));
	size_t longest = 0;
	assert_non_null(p);
	p->name = name;
	p->events = BUF_INIT(1 << 20);
	p->content = BUF_INIT(1 << 20);
	p->feed = BUF_INIT(1 << 20);
	p->now = 1000000;
	for (size_t i = 0; i < count; i++) {
		char theirs = p->is_client ? 'S' : 'C';
		p->line = (unsigned)i + 1;
		p->cut = cut;
		if (lines[i][0] != theirs && lines[i][0] != '#' && lines[i][0] != '\0') {
			longest = p->feed.len > longest ? p->feed.len : longest;
			give(p);
			p->cut = cut;
		}
		play_line(p, lines[i]);
	}
	give(p);
	flush_content(p);
	if (output(p).len > 0) {
		complain(p, "output left over", output(p), BYTES_EMPTY);
	}
	if (p->events_wanted && p->events.len > 0) {
		complain(p, "events left over", buf_bytes(&p->events), BYTES_EMPTY);
	}
	/* Idle holds nothing. */
	if (!p->is_client && p->server.question == 0 && p->feed.len == 0 &&
	    !smtp_server_closing(&p->server)) {
		assert_null(p->server.out.ptr);
	}
	for (size_t i = 0; i < p->message_count; i++) {
		buf_clear(&p->messages[i].body);
	}
	if (p->is_client) {
		smtp_client_clear(&p->client);
	} else {
		smtp_server_clear(&p->server);
	}
	buf_clear(&p->events);
	buf_clear(&p->content);
	buf_clear(&p->feed);
	free(p);
	return longest;
}

static void
play_file(const char *name)
{
	char path[512];
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	char *lines[LINES_MAX];
	size_t count = 0;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n = 0;
	while ((n = getline(&line, &cap, f)) >= 0) {
		assert_true(count < LINES_MAX);
		if (n > 0 && line[n - 1] == '\n') {
			line[n - 1] = '\0';
		}
		lines[count++] = line;
		line = NULL;
		cap = 0;
	}
	free(line);
	(void)fclose(f);
	size_t longest = play(name, lines, count, 0);
	for (size_t cut = 1; cut < longest && cut < 1500; cut++) {
		(void)play(name, lines, count, cut);
	}
	for (size_t i = 0; i < count; i++) {
		free(lines[i]);
	}
}

static void
every_dialogue_goes_as_written_at_every_split(void **state)
{
	(void)state;
	DIR *d = opendir(folder);
	assert_non_null(d);
	size_t played = 0;
	struct dirent *entry;
	while ((entry = readdir(d)) != NULL) {
		size_t len = strlen(entry->d_name);
		if (len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0) {
			play_file(entry->d_name);
			played++;
		}
	}
	(void)closedir(d);
	assert_true(played > 10);
}

int
main(int argc, char **argv)
{
	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	folder = argv[1];
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_dialogue_goes_as_written_at_every_split),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
