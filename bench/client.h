/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A blocking connection of a load generator: plain or TLS, lines in, bytes out. A failure ends the program. */
struct client {
	int fd;
	SSL *ssl; /* NULL while in clear */
	char *in;
	size_t in_len, in_pos, in_cap;
};

/* TLS 1.3 or 1.2, verifies nobody, never resumes: each connection pays a whole handshake. */
SSL_CTX *client_context(void);
/* Reading needs a buffer of in_cap bytes; an idle client gives it back with client_idle. */
void client_open(struct client *c, const char *host, const char *port);
void client_start_tls(struct client *c, SSL_CTX *context);
void client_send(struct client *c, const char *bytes, size_t len);
void client_say(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line without CRLF, NUL-terminated, valid until the next read. */
const char *client_line(struct client *c);
/* A whole SMTP reply, whose code must be `want` (0: any); returns the code. */
int client_reply(struct client *c, int want);
/* Reads on to the line that opens with the tag, whose status must be OK; counts bytes. */
void client_until(struct client *c, const char *tag, uint64_t *ret_bytes);
void client_idle(struct client *c);
void client_close(struct client *c);

double seconds_now(void);
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
