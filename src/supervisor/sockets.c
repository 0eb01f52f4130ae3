/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The listening sockets: bound here, once, and handed to the gates; connections are theirs. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/log.h"
#include "supervisor/house.h"

enum { BACKLOG = 1024 };

static const struct {
	uint16_t port;
	enum role role;
} services[] = {
    {25, ROLE_GATE_MX},      {465, ROLE_GATE_MEMBER}, {587, ROLE_GATE_MEMBER},
    {993, ROLE_GATE_MEMBER}, {443, ROLE_GATE_MEMBER}, {80, ROLE_GATE_MEMBER},
};

static bool
is_web(uint16_t port)
{
	return port == 443 || port == 80;
}

/* Where a service listens. */
static unsigned
actual_port(const struct config *c, uint16_t port)
{
	unsigned base = port == 443 ? c->web_https_port : port == 80 ? c->web_http_port : port;
	return base + c->port_offset;
}

static bool
bind_one(struct house *h, const struct config_address *address, uint16_t port, enum role role)
{
	struct sockaddr_storage sa;
	socklen_t len;
	memset(&sa, 0, sizeof(sa));
	unsigned actual = actual_port(&h->config, port);
	if (address->is_ipv6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)actual);
		len = sizeof(*in6);
		if (inet_pton(AF_INET6, address->address, &in6->sin6_addr) != 1) {
			return false;
		}
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&sa;
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)actual);
		len = sizeof(*in);
		if (inet_pton(AF_INET, address->address, &in->sin_addr) != 1) {
			return false;
		}
	}
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 && errno == EAFNOSUPPORT && address->is_ipv6) {
		/* A machine without IPv6: the other addresses serve. */
		return true;
	}
	int on = 1;
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    (!address->is_ipv6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
	    bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, BACKLOG) == 0) {
		h->sockets[h->socket_count++] = (struct listening){.port = port, .role = role, .fd = fd};
		return true;
	}
	int problem = errno;
	if (fd >= 0) {
		(void)close(fd);
	}
	if (problem == EADDRNOTAVAIL && address->is_ipv6 && strcmp(address->address, "::") == 0) {
		return true;
	}
	const char *remedy = "correct listen in cohue.conf";
	if (problem == EADDRINUSE) {
		remedy =
		    is_web(port)
			? "stop the web server that has the port (`ss -ltnp` shows it), or let it pass on to "
			  "web.https_port and web.http_port (docs/web.md), or set web = off"
			: "stop the program that has the port (`ss -ltnp` shows it), or set port_offset";
	} else if (problem == EACCES || problem == EPERM) {
		remedy = "start as root, or set port_offset = 10000";
	}
	log_event(LOG_LEVEL_ERROR, "cannot listen on %s port %u: %s. Remedy: %s", address->address, actual,
		  strerror(problem), remedy);
	return false;
}

bool
sockets_open(struct house *h)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		for (size_t a = 0;
		     a < h->config.listen_count && (h->config.web == CONFIG_ON || !is_web(services[i].port));
		     a++) {
			if (h->socket_count == SOCKETS_MAX ||
			    !bind_one(h, &h->config.listen[a], services[i].port, services[i].role)) {
				return false;
			}
		}
	}
	if (h->socket_count == 0) {
		log_event(LOG_LEVEL_ERROR,
			  "there is no address to listen on. Remedy: correct listen in cohue.conf");
		return false;
	}
	return true;
}

void
sockets_close(struct house *h)
{
	for (size_t i = 0; i < h->socket_count; i++) {
		(void)close(h->sockets[i].fd);
	}
	h->socket_count = 0;
}
