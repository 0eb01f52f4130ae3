/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What became of a member's letters, for her password: over IMAP like her mail program, from the service on this
 * machine, whose certificate must be the one of its configuration.
 */
#include "base/openssl.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/calendar.h"
#include "base/secret.h"
#include "cli/internal.h"
#include "mail/header.h"

enum {
	IMAP_PORT = 993,
	ANSWER_MAX = 64 * 1024 * 1024,
	LITERAL_MAX = 1024 * 1024,
	TRIES = 9, /* of names: "Journal", "Journal 2", ... */
	LIMIT_SECONDS = 30,
	FIELD_MAX = 4096,
};

struct client {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	unsigned tag;
	struct buf in;
	size_t at; /* of what is unread in `in` */
};

/* ---- the connection ---- */

/* Where the service listens; an unspecified address is reached on the loopback. */
static bool
connect_to(const struct config *config, int *ret_fd)
{
	struct timeval limit = {.tv_sec = LIMIT_SECONDS};
	uint16_t port = htons((uint16_t)(IMAP_PORT + config->port_offset));
	for (size_t i = 0; i < config->listen_count; i++) {
		const struct config_address *a = &config->listen[i];
		struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
		const struct sockaddr *to =
		    a->is_ipv6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
		socklen_t len = a->is_ipv6 ? (socklen_t)sizeof(v6) : (socklen_t)sizeof(v4);
		if (inet_pton(a->is_ipv6 ? AF_INET6 : AF_INET, a->address,
			      a->is_ipv6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1) {
			continue;
		}
		if (!a->is_ipv6 && v4.sin_addr.s_addr == htonl(INADDR_ANY)) {
			v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		}
		if (a->is_ipv6 && IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) {
			v6.sin6_addr = in6addr_loopback;
		}
		int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			continue;
		}
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connect(fd, to, len) == 0) {
			*ret_fd = fd;
			return true;
		}
		(void)close(fd);
	}
	return false;
}

/* The certificate of the configuration, self-signed or not, and nothing else, is trusted. */
static bool
start_tls(struct client *c, const struct config *config, const char *chain)
{
	c->ctx = SSL_CTX_new(TLS_client_method());
	if (c->ctx == NULL || SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_load_verify_file(c->ctx, chain) != 1) {
		return false;
	}
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	(void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c->ctx), X509_V_FLAG_PARTIAL_CHAIN);
	c->ssl = SSL_new(c->ctx);
	return c->ssl != NULL && SSL_set1_host(c->ssl, config->hostname) == 1 &&
	       SSL_set_fd(c->ssl, c->fd) == 1 && SSL_connect(c->ssl) == 1;
}

static void
client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	if (c->fd >= 0) {
		(void)close(c->fd);
	}
	buf_wipe(&c->in);
}

/* ---- lines ---- */

static bool
read_more(struct client *c)
{
	uint8_t piece[16384];
	int n = SSL_read(c->ssl, piece, (int)sizeof(piece));
	bool good = n > 0 && buf_append(&c->in, bytes_of(piece, (size_t)n)) == ERR_OK;
	secret_wipe(piece, sizeof(piece));
	return good;
}

static bool
read_octets(struct client *c, size_t n, struct bytes *ret)
{
	while (c->in.len - c->at < n) {
		if (!read_more(c)) {
			return false;
		}
	}
	*ret = bytes_of(c->in.ptr + c->at, n);
	c->at += n;
	return true;
}

/* Without its CRLF. Views into what was read live until the next read. */
static bool
read_line(struct client *c, struct bytes *ret)
{
	size_t seen = c->at;
	for (;;) {
		const uint8_t *lf =
		    c->in.len == seen ? NULL : memchr(c->in.ptr + seen, '\n', c->in.len - seen);
		if (lf != NULL) {
			size_t end = (size_t)(lf - c->in.ptr);
			size_t len = end - c->at;
			*ret = bytes_of(c->in.ptr + c->at,
					len > 0 && c->in.ptr[end - 1] == '\r' ? len - 1 : len);
			c->at = end + 1;
			return true;
		}
		seen = c->in.len;
		if (!read_more(c)) {
			return false;
		}
	}
}

/* "{123}" at the end of a line. */
static bool
literal_of(struct bytes line, size_t *ret)
{
	uint64_t n = 0;
	if (line.len < 3 || line.ptr[line.len - 1] != '}') {
		return false;
	}
	size_t open = line.len - 1;
	while (open > 0 && line.ptr[open - 1] != '{') {
		open--;
	}
	if (open == 0 ||
	    bytes_to_u64(bytes_slice(line, open, line.len - 1 - open), LITERAL_MAX, &n) != ERR_OK) {
		return false;
	}
	*ret = (size_t)n;
	return true;
}

static bool
send_all(struct client *c, struct bytes data)
{
	return SSL_write(c->ssl, data.ptr, (int)data.len) == (int)data.len;
}

/* Sends a command, and hands each literal of its answer to fn; true for OK. ret_lost: the connection is. */
static bool
command(struct client *c, struct bytes text, bool (*fn)(void *arg, struct bytes literal), void *arg,
	bool *ret_lost)
{
	char tag[16];
	struct buf out = BUF_INIT(FIELD_MAX);
	struct bytes line;
	(void)snprintf(tag, sizeof(tag), "j%u ", ++c->tag);
	*ret_lost = true;
	c->at = 0;
	buf_wipe(&c->in);
	bool sent = buf_append_str(&out, tag) == ERR_OK && buf_append(&out, text) == ERR_OK &&
		    buf_append_str(&out, "\r\n") == ERR_OK && send_all(c, buf_bytes(&out));
	buf_wipe(&out);
	while (sent && read_line(c, &line)) {
		size_t n = 0;
		struct bytes literal;
		if (bytes_starts_with_nocase(line, tag)) {
			*ret_lost = false;
			return bytes_starts_with_nocase(bytes_from(line, strlen(tag)), "OK");
		}
		if (literal_of(line, &n) &&
		    (!read_octets(c, n, &literal) || (fn != NULL && !fn(arg, literal)))) {
			return false;
		}
	}
	return false;
}

static bool
login(struct client *c, const char *name, struct bytes secret, bool *ret_lost)
{
	struct buf text = BUF_INIT(FIELD_MAX);
	struct bytes words[2] = {bytes_str(name), secret};
	enum err e = buf_append_str(&text, "LOGIN");
	for (size_t w = 0; w < 2; w++) {
		e = e == ERR_OK ? buf_append_str(&text, " \"") : e;
		for (size_t i = 0; i < words[w].len && e == ERR_OK; i++) {
			uint8_t o = words[w].ptr[i];
			if (o == '\r' || o == '\n' || o == 0) {
				e = ERR_FORMAT;
			} else if (o == '"' || o == '\\') {
				e = buf_append_byte(&text, '\\');
			}
			e = e == ERR_OK ? buf_append_byte(&text, o) : e;
		}
		e = e == ERR_OK ? buf_append_byte(&text, '"') : e;
	}
	*ret_lost = false;
	bool good = e == ERR_OK && command(c, buf_bytes(&text), NULL, NULL, ret_lost);
	buf_wipe(&text);
	return good;
}

/* ---- the lines of the journal ---- */

struct report {
	bool json;
	bool first;
	struct buf out;
};

static struct bytes
field(struct bytes head, const char *name, struct buf *room)
{
	struct mail_field f;
	buf_reset(room);
	if (!mail_field_find(head, name, &f) || mail_unfold(f.value, room) != ERR_OK) {
		return BYTES_EMPTY;
	}
	return buf_bytes(room);
}

static bool
json_line(struct report *r, struct bytes head, struct buf *room)
{
	static const struct {
		const char *name;
		const char *key;
	} rows[] = {{"Date", "time"},         {"Cohue-Letter", "letter"},
		    {"Cohue-Event", "event"}, {"Cohue-Protected", "protected"},
		    {"Cohue-Crowd", "crowd"}, {"Cohue-Size-Hidden", "size_hidden"},
		    {"Cohue-Link", "link"},   {"Cohue-Reason", "reason"},
		    {"Subject", "text"}};
	enum err e = buf_append_str(&r->out, r->first ? "\n  {" : ",\n  {");
	bool first = true;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && e == ERR_OK; i++) {
		struct bytes value = field(head, rows[i].name, room);
		if (value.len > 0) {
			e = buf_printf(&r->out, "%s\"%s\": ", first ? "" : ", ", rows[i].key);
			e = e == ERR_OK ? cli_json_text(&r->out, value) : e;
			first = false;
		}
	}
	return e == ERR_OK && buf_append_byte(&r->out, '}') == ERR_OK;
}

static bool
plain_line(struct report *r, struct bytes head, struct buf *room)
{
	struct mail_date date = {.seconds = 0};
	char when[32];
	if (mail_date_parse(field(head, "Date", room), &date) != ERR_OK) {
		return true; /* none of ours */
	}
	struct calendar t = calendar_of(date.seconds);
	(void)snprintf(when, sizeof(when), "%04d-%02d-%02d %02d:%02d", (int)t.year, t.month, t.day, t.hour,
		       t.minute);
	struct bytes letter = bytes_slice(field(head, "Cohue-Letter", room), 0, 8);
	enum err e = buf_printf(&r->out, "%s  %.*s  ", when, (int)letter.len, (const char *)letter.ptr);
	e = e == ERR_OK ? buf_append(&r->out, field(head, "Subject", room)) : e;
	return e == ERR_OK && buf_append_byte(&r->out, '\n') == ERR_OK;
}

static bool
take_line(void *arg, struct bytes head)
{
	struct report *r = arg;
	struct buf room = BUF_INIT(FIELD_MAX);
	/* Another mailbox of that name is not the journal. */
	bool good = field(head, "Cohue-Event", &room).len == 0 ||
		    (r->json ? json_line(r, head, &room) : plain_line(r, head, &room));
	r->first = false;
	buf_clear(&room);
	return good;
}

static bool
read_journal(struct client *c, struct report *r, bool *ret_lost)
{
	for (unsigned i = 1; i <= TRIES; i++) {
		char text[64];
		(void)snprintf(text, sizeof(text), i == 1 ? "EXAMINE Journal" : "EXAMINE \"Journal %u\"", i);
		if (!command(c, bytes_str(text), NULL, NULL, ret_lost)) {
			return !*ret_lost; /* the names go on without a gap */
		}
		if (!command(c,
			     BYTES_LIT("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (DATE SUBJECT COHUE-LETTER "
				       "COHUE-EVENT COHUE-LINK COHUE-REASON "
				       "COHUE-PROTECTED COHUE-CROWD COHUE-SIZE-HIDDEN)])"),
			     take_line, r, ret_lost) &&
		    *ret_lost) {
			return false;
		}
	}
	return true;
}

/* HOME's own certificate, or the one that the configuration names. */
static bool
chain_path(const struct cli *c, const struct config *config, char ret[CLI_PATH_ROOM])
{
	if (config->tls_member_certificate[0] != '\0') {
		(void)snprintf(ret, CLI_PATH_ROOM, "%s", config->tls_member_certificate);
		return true;
	}
	return cli_path(c, "tls/member.crt", ret);
}

static int
ask(const struct cli *c, const struct config *config, struct bytes secret, struct report *r)
{
	char chain[CLI_PATH_ROOM];
	struct client k = {.fd = -1, .in = BUF_INIT(ANSWER_MAX)};
	struct bytes greeting;
	bool lost = true;
	int status = CLI_FAILED;
	if (!chain_path(c, config, chain)) {
		return CLI_FAILED;
	}
	if (!connect_to(config, &k.fd)) {
		(void)cli_fail("nothing listens on port %u of this machine. Remedy: `cohue run`",
			       IMAP_PORT + (unsigned)config->port_offset);
	} else if (!start_tls(&k, config, chain) || !read_line(&k, &greeting)) {
		(void)cli_fail("what listens on port %u does not have the certificate %s. Remedy: restart "
			       "the service, if the "
			       "certificate is new",
			       IMAP_PORT + (unsigned)config->port_offset, chain);
	} else if (!login(&k, c->words[0], secret, &lost)) {
		(void)cli_fail(
		    lost ? "the service ended the connection. Remedy: try again"
			 : "wrong name or password. Remedy: try again; a volunteer can give her a new one");
	} else if (!read_journal(&k, r, &lost)) {
		(void)cli_fail("the journal could not be read to its end. Remedy: try again");
	} else {
		status = CLI_OK;
	}
	client_close(&k);
	return status;
}

int
cli_journal(struct cli *c)
{
	struct config config;
	struct buf secret = BUF_INIT(0);
	struct report r = {.json = c->json, .first = true, .out = BUF_INIT(CLI_OUTPUT_MAX)};
	int status = CLI_FAILED;
	if (cli_config(c, &config) && cli_secret("Password, or application password", false, &secret)) {
		if (!c->json || buf_append_str(&r.out, "[") == ERR_OK) {
			status = ask(c, &config, buf_bytes(&secret), &r);
		}
		if (status == CLI_OK && c->json && buf_append_str(&r.out, "\n]\n") != ERR_OK) {
			status = cli_fail("out of memory");
		}
		if (status == CLI_OK && !c->json && r.out.len == 0) {
			(void)fputs("cohue: nothing stands in the journal yet\n", stderr);
		}
	}
	buf_wipe(&secret);
	if (status == CLI_OK) {
		return cli_print(&r.out);
	}
	buf_wipe(&r.out);
	return status;
}
