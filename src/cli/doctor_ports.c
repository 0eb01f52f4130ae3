/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What answers at the house's own addresses, and under which certificate. */
#include "base/openssl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/doctor.h"

enum { WAIT_MS = 5000, LINE_MAX_OCTETS = 2048, LINES_MAX = 64, EXPIRES_SOON = 14, EXPIRES_NOW = 3 };

enum talk { TALK_TLS, TALK_SMTP, TALK_PLAIN };

static const struct port {
	unsigned number;
	enum talk talk;
	const char *check;
} ports[] = {
    {25, TALK_SMTP, "port-25"},
    {465, TALK_TLS, "port-465"},
    {587, TALK_SMTP, "port-587"},
    {993, TALK_TLS, "port-993"},
};

int
doctor_connect(const uint8_t address[16], unsigned port)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool v4 = memcmp(address, mapped, sizeof(mapped)) == 0;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	memcpy(&in.sin_addr, address + 12, 4);
	memcpy(&in6.sin6_addr, address, 16);
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		return -1;
	}
	int r = v4 ? connect(fd, (const struct sockaddr *)&in, sizeof(in))
		   : connect(fd, (const struct sockaddr *)&in6, sizeof(in6));
	int problem = 0;
	socklen_t n = sizeof(problem);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	bool good = r == 0 || (errno == EINPROGRESS && poll(&p, 1, WAIT_MS) == 1 &&
			       getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &n) == 0 && problem == 0);
	const struct timeval limit = {.tv_sec = WAIT_MS / 1000};
	int flags = good ? fcntl(fd, F_GETFL) : -1;
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Reads one reply of several lines; its code, 0 where there is none. found: whether a line has that word. */
static unsigned
read_reply(int fd, const char *word, bool *ret_found)
{
	char line[LINE_MAX_OCTETS];
	size_t len = 0;
	for (unsigned lines = 0; lines < LINES_MAX;) {
		char c;
		if (recv(fd, &c, 1, 0) != 1 || len == sizeof(line) - 1) {
			return 0;
		}
		line[len++] = c;
		if (c == '\n') {
			line[len] = '\0';
			if (word != NULL && strstr(line, word) != NULL) {
				*ret_found = true;
			}
			uint64_t code;
			if (bytes_to_u64(bytes_of(line, len < 3 ? len : 3), 999, &code) != ERR_OK) {
				return 0;
			}
			if (len < 4 || line[3] != '-') {
				return (unsigned)code;
			}
			len = 0;
			lines++;
		}
	}
	return 0;
}

static bool
say(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

/* Up to the point where TLS begins; NULL, or what is wrong. */
static const char *
start_tls(int fd)
{
	bool offered = false;
	if (read_reply(fd, NULL, NULL) != 220) {
		return "gives no SMTP greeting";
	}
	if (!say(fd, "EHLO doctor.invalid\r\n") || read_reply(fd, "STARTTLS", &offered) != 250) {
		return "does not answer EHLO";
	}
	if (!offered) {
		return "offers no STARTTLS";
	}
	return say(fd, "STARTTLS\r\n") && read_reply(fd, NULL, NULL) == 220 ? NULL : "refuses STARTTLS";
}

static void
check_certificate(struct doctor *d, const struct port *port, SSL *ssl)
{
	int days = 0;
	int seconds = 0;
	X509 *x = SSL_get0_peer_certificate(ssl);
	bool named = x != NULL && X509_check_host(x, d->config.hostname, 0, 0, NULL) == 1;
	long verified = SSL_get_verify_result(ssl);
	bool self = verified == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
	if (x == NULL || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)) != 1) {
		doctor_tell(d, DOCTOR_BAD, "certificate", "see tls.*_certificate in cohue.conf",
			    "port %u shows no certificate that can be read", port->number);
		return;
	}
	if (!named) {
		doctor_tell(d, DOCTOR_BAD, "certificate", "a certificate that names the host name",
			    "the certificate of port %u does not name %s", port->number, d->config.hostname);
	}
	if (days < EXPIRES_SOON || seconds < 0) {
		doctor_tell(d, days < EXPIRES_NOW ? DOCTOR_BAD : DOCTOR_HINT, "certificate", "renew it now",
			    days < 0 || seconds < 0 ? "the certificate of port %u has expired"
						    : "the certificate of port %u expires in days",
			    port->number);
	}
	if (self || verified != X509_V_OK) {
		/* Others deliver to port 25 under any certificate; members' programs ask. */
		doctor_tell(
		    d, DOCTOR_HINT, "certificate",
		    "a certificate of a public authority: acme = on, or tls.*_certificate, in cohue.conf",
		    self
			? "the certificate of port %u is signed by itself: mail programs will ask their users"
			: "the certificate of port %u is not of an authority that this machine knows",
		    port->number);
	} else if (named && days >= EXPIRES_SOON) {
		doctor_tell(d, DOCTOR_GOOD, "certificate", NULL,
			    "the certificate of port %u is good for %d days", port->number, days);
	}
}

static void
check_tls(struct doctor *d, const struct port *port, const char *address, int fd, SSL_CTX *ctx)
{
	SSL *ssl = SSL_new(ctx);
	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
	    SSL_set_tlsext_host_name(ssl, d->config.hostname) != 1) {
		doctor_tell(d, DOCTOR_UNKNOWN, port->check, NULL, "TLS cannot be tried: out of memory");
	} else if (SSL_connect(ssl) != 1) {
		doctor_tell(d, DOCTOR_BAD, port->check,
			    "see the service's log; `cohue status` shows what runs",
			    "port %u at %s makes no TLS connection", port->number, address);
	} else {
		doctor_tell(d, DOCTOR_GOOD, port->check, NULL, "port %u at %s answers under %s", port->number,
			    address, SSL_get_version(ssl));
		check_certificate(d, port, ssl);
		(void)SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	ERR_clear_error();
}

static void
check_port(struct doctor *d, const struct port *port, const uint8_t address[16], SSL_CTX *ctx)
{
	char text[INET6_ADDRSTRLEN];
	doctor_address_text(address, text, sizeof(text));
	int fd = doctor_connect(address, port->number + d->config.port_offset);
	if (fd < 0) {
		doctor_tell(d, DOCTOR_BAD, port->check,
			    "open it in the firewall and at the provider; a router that sends nothing back "
			    "to its own outer "
			    "address shows this, too: then try from elsewhere",
			    "port %u at %s does not answer", port->number + d->config.port_offset, text);
		return;
	}
	const char *wrong = port->talk == TALK_SMTP ? start_tls(fd) : NULL;
	if (wrong != NULL) {
		doctor_tell(d, DOCTOR_BAD, port->check, "see that it is this service that answers there",
			    "port %u at %s %s", port->number, text, wrong);
	} else {
		check_tls(d, port, text, fd, ctx);
	}
	(void)close(fd);
}

static const uint8_t here[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};

static void
check_address(struct doctor *d, const uint8_t address[16], SSL_CTX *ctx)
{
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		check_port(d, &ports[i], address, ctx);
	}
}

/* Whether an address is of this machine itself, so that no packet to it leaves it. */
static bool
is_own(const uint8_t address[16])
{
	struct ifaddrs *list = NULL;
	bool v4 = memcmp(address, here, 12) == 0;
	bool own = v4 && address[12] == 127;
	if (own || getifaddrs(&list) != 0) {
		return own;
	}
	for (const struct ifaddrs *i = list; i != NULL && !own; i = i->ifa_next) {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		if (i->ifa_addr == NULL) {
			continue;
		}
		if (v4 && i->ifa_addr->sa_family == AF_INET) {
			memcpy(&in, i->ifa_addr, sizeof(in));
			own = memcmp(&in.sin_addr, address + 12, 4) == 0;
		} else if (!v4 && i->ifa_addr->sa_family == AF_INET6) {
			memcpy(&in6, i->ifa_addr, sizeof(in6));
			own = memcmp(&in6.sin6_addr, address, 16) == 0;
		}
	}
	freeifaddrs(list);
	return own;
}

/* What cannot be seen from this machine. address: NULL: the DNS gave none. */
static void
tell_outside(struct doctor *d, const uint8_t *address)
{
	char text[INET6_ADDRSTRLEN] = "";
	char remedy[CONFIG_NAME_MAX + 160];
	(void)snprintf(remedy, sizeof(remedy),
		       "from another machine: openssl s_client -starttls smtp -connect %s:25, and likewise "
		       "465, 587, 993, 443 (without -starttls on all but 587)",
		       d->config.hostname);
	if (address == NULL) {
		doctor_tell(d, DOCTOR_UNKNOWN, "outside", "see what is said of the DNS above",
			    "the DNS gives no address: the ports are asked at this machine itself "
			    "(127.0.0.1), which says nothing of how others reach them");
		return;
	}
	doctor_address_text(address, text, sizeof(text));
	doctor_tell(d, DOCTOR_UNKNOWN, "outside", remedy,
		    "%s is this machine's own: its ports are asked without leaving it, so a firewall before "
		    "it is not seen",
		    text);
}

void
doctor_ports(struct doctor *d)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL || SSL_CTX_set_default_verify_paths(ctx) != 1) {
		doctor_tell(d, DOCTOR_UNKNOWN, "ports", NULL, "TLS cannot be tried: out of memory");
		SSL_CTX_free(ctx);
		return;
	}
	if (d->address_count == 0) {
		tell_outside(d, NULL);
		check_address(d, here, ctx);
	}
	for (size_t a = 0; a < d->address_count; a++) {
		if (is_own(d->addresses[a])) {
			tell_outside(d, d->addresses[a]);
		}
		check_address(d, d->addresses[a], ctx);
	}
	SSL_CTX_free(ctx);
}
