/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What answers at the house's own addresses, and under which certificate. */
#include "base/openssl.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cli/doctor.h"

enum {
	SMTP_PORT = 25,
	PORT_MS = 6000,
	LINE_MAX_OCTETS = 2048,
	LINES_MAX = 64,
	EXPIRES_SOON = 14,
	EXPIRES_NOW = 3
};

enum talk { TALK_TLS, TALK_SMTP, TALK_PLAIN };

static const struct port {
	unsigned number;
	enum talk talk;
	const char *check;
} ports[] = {
    {SMTP_PORT, TALK_SMTP, "port-25"},
    {465, TALK_TLS, "port-465"},
    {587, TALK_SMTP, "port-587"},
    {993, TALK_TLS, "port-993"},
};

/* Reads one reply of several lines; its code, 0 where there is none. found: whether a line has that word. */
static unsigned
read_reply(struct doctor_line *l, const char *word, bool *ret_found)
{
	char line[LINE_MAX_OCTETS];
	size_t len = 0;
	for (unsigned lines = 0; lines < LINES_MAX;) {
		uint8_t c;
		if (len == sizeof(line) - 1 || doctor_line_read(l, &c, 1) != 1) {
			return 0;
		}
		line[len++] = (char)c;
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

/* Up to the point where TLS begins; NULL, or what is wrong. */
static const char *
start_tls(struct doctor_line *l)
{
	bool offered = false;
	if (read_reply(l, NULL, NULL) != 220) {
		return "gives no SMTP greeting";
	}
	if (!doctor_line_write(l, BYTES_LIT("EHLO doctor.invalid\r\n")) ||
	    read_reply(l, "STARTTLS", &offered) != 250) {
		return "does not answer EHLO";
	}
	if (!offered) {
		return "offers no STARTTLS";
	}
	return doctor_line_write(l, BYTES_LIT("STARTTLS\r\n")) && read_reply(l, NULL, NULL) == 220
		   ? NULL
		   : "refuses STARTTLS";
}

/* Members' programs ask their users. Others deliver to port 25 under any certificate, unless a policy says that they must not. */
static void
tell_unproven(struct doctor *d, const struct port *port, bool self)
{
	bool enforced = port->number == SMTP_PORT && d->config.mta_sts == CONFIG_STS_ENFORCE;
	const char *then = enforced ? "servers that go by this house's policy (mta_sts = enforce) do not "
				      "deliver"
			   : port->number == SMTP_PORT
			       ? "others deliver all the same, but cannot tell who answers"
			       : "mail programs will ask their users";
	doctor_tell(d, enforced ? DOCTOR_BAD : DOCTOR_HINT, "certificate",
		    enforced ? "a certificate of a public authority (acme = on, or tls.mx_certificate, in "
			       "cohue.conf), or mta_sts = testing until there is one"
			     : "a certificate of a public authority: acme = on, or tls.*_certificate, in "
			       "cohue.conf",
		    self ? "the certificate of port %u is signed by itself: %s"
			 : "the certificate of port %u is not of an authority that this machine knows: %s",
		    port->number, then);
}

static const char *
how_to_renew(const struct config *c, unsigned number)
{
	bool own = (number == 25 ? c->tls_mx_key : c->tls_member_key)[0] != '\0';
	return own ? "get a new one now, put it into the files that cohue.conf names, then `cohue tls reload`"
	       : c->acme == CONFIG_ON
		   ? "see that the clock is right, then `cohue tls renew`"
		   : "set acme = on in cohue.conf and start the service anew; or get one of "
		     "your own (tls. keys), then `cohue tls reload`";
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
		doctor_tell(d, days < EXPIRES_NOW ? DOCTOR_BAD : DOCTOR_HINT, "certificate",
			    how_to_renew(&d->config, port->number),
			    days < 0 || seconds < 0 ? "the certificate of port %u has expired"
						    : "the certificate of port %u expires in days",
			    port->number);
	}
	if (verified == X509_V_ERR_CERT_HAS_EXPIRED && (days < 0 || seconds < 0)) {
		return;
	}
	if (self || verified != X509_V_OK) {
		tell_unproven(d, port, self);
	} else if (named && days >= EXPIRES_SOON) {
		doctor_tell(d, DOCTOR_GOOD, "certificate", NULL,
			    "the certificate of port %u is good for %d days", port->number, days);
	}
}

/* Whether a record is of this certificate (RFC 6698 section 2.1). */
static bool
fits(const struct doctor_tlsa *t, X509 *x)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned char *der = NULL;
	unsigned digest_len = 0;
	int len = t->rdata[1] == 1 ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : i2d_X509(x, &der);
	struct bytes is = bytes_of(der, len > 0 ? (size_t)len : 0);
	bool good = len > 0;
	if (good && t->rdata[2] != 0) {
		good = EVP_Digest(der, (size_t)len, digest, &digest_len,
				  t->rdata[2] == 1 ? EVP_sha256() : EVP_sha512(), NULL) == 1;
		is = bytes_of(digest, digest_len);
	}
	good = good && bytes_equal(is, bytes_of(t->rdata + 3, t->len - 3));
	OPENSSL_free(der);
	return good;
}

/* What servers with DANE do when they see this certificate (RFC 7672): usage 3 is of itself, usage 2 of one it leads to. */
static void
check_dane(struct doctor *d, const struct port *port, SSL *ssl)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
	bool found = false;
	for (size_t i = 0; i < d->tlsa_count; i++) {
		int last = d->tlsa[i].rdata[0] == 2 ? sk_X509_num(chain) : 1;
		for (int j = 0; j < last && j < sk_X509_num(chain) && !found; j++) {
			found = fits(&d->tlsa[i], sk_X509_value(chain, j));
		}
	}
	if (!found && !d->tlsa_wrong) {
		doctor_tell(d, DOCTOR_BAD, "tlsa",
			    d->tlsa_right ? "cohue tls reload, or a restart: the certificate on disk is "
					    "another one"
					  : "publish the TLSA line of `cohue dns`",
			    "the certificate of port %u fits no TLSA record: servers with DANE refuse to "
			    "deliver here",
			    port->number);
	} else if (found && !d->tlsa_right) {
		doctor_tell(d, DOCTOR_GOOD, "tlsa", NULL,
			    "the certificate of port %u fits a TLSA record, if not the one `cohue dns` says",
			    port->number);
	}
}

static void
check_port(struct doctor *d, const struct port *port, const uint8_t address[16], SSL_CTX *ctx)
{
	char text[INET6_ADDRSTRLEN];
	struct doctor_line l;
	doctor_address_text(address, text, sizeof(text));
	if (clock_monotonic() >= d->until) {
		return;
	}
	if (!doctor_line_open(d, address, port->number + d->config.port_offset, PORT_MS, &l)) {
		doctor_tell(d, DOCTOR_BAD, port->check,
			    "open it in the firewall and at the provider; a router that sends nothing back "
			    "to its own outer "
			    "address shows this, too: then try from elsewhere",
			    "port %u at %s does not answer", port->number + d->config.port_offset, text);
		return;
	}
	const char *wrong = port->talk == TALK_SMTP ? start_tls(&l) : NULL;
	if (wrong != NULL) {
		doctor_tell(d, DOCTOR_BAD, port->check, "see that it is this service that answers there",
			    "port %u at %s %s", port->number, text, wrong);
	} else if (!doctor_line_tls(&l, ctx, d->config.hostname)) {
		doctor_tell(d, DOCTOR_BAD, port->check,
			    "see the service's log; `cohue status` shows what runs",
			    "port %u at %s makes no TLS connection", port->number, text);
	} else {
		doctor_tell(d, DOCTOR_GOOD, port->check, NULL, "port %u at %s answers under %s", port->number,
			    text, SSL_get_version(l.ssl));
		check_certificate(d, port, l.ssl);
		if (port->number == SMTP_PORT && d->tlsa_secure && d->tlsa_count > 0) {
			check_dane(d, port, l.ssl);
		}
		(void)SSL_shutdown(l.ssl);
	}
	doctor_line_close(&l);
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
