/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_CAP = 65536 };

void
die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	_exit(1);
}

double
seconds_now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

SSL_CTX *
client_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (context == NULL) {
		die("no TLS context");
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	(void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
	/* Two tickets that nobody will use would only cost the server time. */
	(void)SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	return context;
}

void
client_open(struct client *c, const char *host, const char *port)
{
	*c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	if (c->fd < 0 || inet_pton(AF_INET, host, &to.sin_addr) != 1) {
		die("socket: %s", strerror(errno));
	}
	int tries = 0;
	while (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
		if (++tries > 50) {
			die("connect: %s", strerror(errno));
		}
		(void)usleep(20000);
	}
	int one = 1;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void
client_start_tls(struct client *c, SSL_CTX *context)
{
	if (c->in_pos != c->in_len) {
		die("bytes behind STARTTLS");
	}
	c->ssl = SSL_new(context);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
		die("no TLS");
	}
	int got = SSL_connect(c->ssl);
	if (got != 1) {
		die("TLS handshake: error %d, errno %d", SSL_get_error(c->ssl, got), errno);
	}
}

void
client_send(struct client *c, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = 0;
		if (c->ssl != NULL) {
			n = SSL_write(c->ssl, bytes, len > (1u << 30) ? 1 << 30 : (int)len);
		} else {
			n = send(c->fd, bytes, len, MSG_NOSIGNAL);
		}
		if (n <= 0) {
			die("send failed");
		}
		bytes += n;
		len -= (size_t)n;
	}
}

void
client_say(struct client *c, const char *format, ...)
{
	char text[2048];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text)) {
		die("line too long");
	}
	client_send(c, text, (size_t)n);
}

static void
fill(struct client *c)
{
	if (c->in == NULL) {
		c->in_cap = IN_CAP;
		c->in = malloc(c->in_cap + 1);
		if (c->in == NULL) {
			die("no memory");
		}
	}
	if (c->in_pos > 0) {
		memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
		c->in_len -= c->in_pos;
		c->in_pos = 0;
	}
	if (c->in_len == c->in_cap) {
		/* A line longer than the buffer (an ENVELOPE, a body without breaks). */
		c->in_cap *= 2;
		c->in = realloc(c->in, c->in_cap + 1);
		if (c->in == NULL) {
			die("no memory");
		}
	}
	size_t room = c->in_cap - c->in_len;
	ssize_t n = 0;
	if (c->ssl != NULL) {
		n = SSL_read(c->ssl, c->in + c->in_len, room > (1u << 30) ? 1 << 30 : (int)room);
	} else {
		n = recv(c->fd, c->in + c->in_len, room, 0);
	}
	if (n <= 0) {
		die("connection ended");
	}
	c->in_len += (size_t)n;
}

const char *
client_line(struct client *c)
{
	size_t seen = 0;
	for (;;) {
		char *start = c->in == NULL ? NULL : c->in + c->in_pos;
		size_t have = c->in_len - c->in_pos;
		char *end = have > seen ? memchr(start + seen, '\n', have - seen) : NULL;
		if (end != NULL) {
			*end = '\0';
			if (end > start && end[-1] == '\r') {
				end[-1] = '\0';
			}
			c->in_pos = (size_t)(end - c->in) + 1;
			return start;
		}
		seen = have;
		fill(c);
	}
}

int
client_reply(struct client *c, int want)
{
	const char *line = NULL;
	do {
		line = client_line(c);
	} while (strlen(line) > 3 && line[3] == '-');
	int code = (int)strtol(line, NULL, 10);
	if (want != 0 && code != want) {
		die("wanted %d: %s", want, line);
	}
	return code;
}

void
client_until(struct client *c, const char *tag, uint64_t *ret_bytes)
{
	uint64_t bytes = 0;
	size_t len = strlen(tag);
	for (;;) {
		const char *line = client_line(c);
		bytes += strlen(line) + 2;
		if (strncmp(line, tag, len) == 0 && line[len] == ' ') {
			if (strncmp(line + len + 1, "OK", 2) != 0) {
				die("refused: %s", line);
			}
			if (ret_bytes != NULL) {
				*ret_bytes = bytes;
			}
			return;
		}
	}
}

void
client_idle(struct client *c)
{
	if (c->in_pos == c->in_len) {
		free(c->in);
		c->in = NULL;
		c->in_len = c->in_pos = c->in_cap = 0;
	}
}

void
client_close(struct client *c)
{
	if (c->ssl != NULL) {
		(void)SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	(void)close(c->fd);
	free(c->in);
	*c = (struct client){.fd = -1};
}
