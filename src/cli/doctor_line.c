/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A connection of the doctor's. It never waits longer than its time: whoever drips octets, or says nothing, holds nobody. */
#include "base/openssl.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/doctor.h"

/* Until the socket is ready; false: the time is over. */
static bool
wait_for(const struct doctor_line *l, short events)
{
	msec left = l->until - clock_monotonic();
	struct pollfd p = {.fd = l->fd, .events = events};
	return left > 0 && poll(&p, 1, (int)left) == 1;
}

bool
doctor_line_open(const struct doctor *d, const uint8_t address[16], unsigned port, msec limit,
		 struct doctor_line *ret)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool v4 = memcmp(address, mapped, sizeof(mapped)) == 0;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	msec until = clock_monotonic() + limit;
	memcpy(&in.sin_addr, address + 12, 4);
	memcpy(&in6.sin6_addr, address, 16);
	*ret = (struct doctor_line){.until = until < d->until ? until : d->until};
	ret->fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ret->fd < 0) {
		return false;
	}
	int r = v4 ? connect(ret->fd, (const struct sockaddr *)&in, sizeof(in))
		   : connect(ret->fd, (const struct sockaddr *)&in6, sizeof(in6));
	int problem = 0;
	socklen_t n = sizeof(problem);
	if (r == 0 || (errno == EINPROGRESS && wait_for(ret, POLLOUT) &&
		       getsockopt(ret->fd, SOL_SOCKET, SO_ERROR, &problem, &n) == 0 && problem == 0)) {
		return true;
	}
	doctor_line_close(ret);
	return false;
}

/* After a call of OpenSSL's that did not do it: true: again. */
static bool
wait_tls(const struct doctor_line *l, int r)
{
	int e = SSL_get_error(l->ssl, r);
	return (e == SSL_ERROR_WANT_READ && wait_for(l, POLLIN)) ||
	       (e == SSL_ERROR_WANT_WRITE && wait_for(l, POLLOUT));
}

bool
doctor_line_tls(struct doctor_line *l, SSL_CTX *ctx, const char *name)
{
	int r = 0;
	l->ssl = SSL_new(ctx);
	if (l->ssl == NULL || SSL_set_fd(l->ssl, l->fd) != 1 ||
	    SSL_ctrl(l->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
		     (void *)(uintptr_t)name) != 1) {
		return false;
	}
	do {
		ERR_clear_error();
		r = SSL_connect(l->ssl);
	} while (r != 1 && wait_tls(l, r));
	return r == 1;
}

size_t
doctor_line_read(struct doctor_line *l, uint8_t *ret, size_t room)
{
	for (;;) {
		ERR_clear_error();
		ssize_t n = l->ssl != NULL ? SSL_read(l->ssl, ret, (int)room) : recv(l->fd, ret, room, 0);
		if (n > 0) {
			return clock_monotonic() < l->until ? (size_t)n : 0;
		}
		bool again = l->ssl != NULL
				 ? wait_tls(l, (int)n)
				 : n < 0 && (errno == EAGAIN || errno == EINTR) && wait_for(l, POLLIN);
		if (!again) {
			return 0;
		}
	}
}

bool
doctor_line_write(struct doctor_line *l, struct bytes text)
{
	while (text.len > 0) {
		ERR_clear_error();
		ssize_t n = l->ssl != NULL ? SSL_write(l->ssl, text.ptr, (int)text.len)
					   : send(l->fd, text.ptr, text.len, MSG_NOSIGNAL);
		if (n > 0) {
			text = bytes_from(text, (size_t)n);
			continue;
		}
		bool again = l->ssl != NULL
				 ? wait_tls(l, (int)n)
				 : n < 0 && (errno == EAGAIN || errno == EINTR) && wait_for(l, POLLOUT);
		if (!again) {
			return false;
		}
	}
	return true;
}

void
doctor_line_close(struct doctor_line *l)
{
	SSL_free(l->ssl);
	l->ssl = NULL;
	ERR_clear_error();
	if (l->fd >= 0) {
		(void)close(l->fd);
	}
	l->fd = -1;
}
