/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What answers over HTTP at the names that strangers ask, as they ask it: certificate and all. */
#include "base/openssl.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"
#include "web/web.h"

enum { ANSWER_MAX = 80 * 1024, PIECE = 4096, LIMIT_MS = 10 * 1000, HTTP = 80, HTTPS = 443 };

struct answer {
	bool connected;
	bool tls;
	bool verified; /* its certificate leads to an authority, for this name */
	struct buf text;
};

/* The whole answer of a connection that the other side closes. */
static void
read_all(struct doctor_line *l, struct buf *out)
{
	uint8_t piece[PIECE];
	for (;;) {
		size_t n = doctor_line_read(l, piece, sizeof(piece));
		if (n == 0 || buf_append(out, bytes_of(piece, n)) != ERR_OK) {
			return;
		}
	}
}

static bool
put_request(const char *name, const char *path, struct buf *out)
{
	return buf_printf(out, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, name) ==
	       ERR_OK;
}

/* ctx: NULL: in clear. */
static void
get(const struct doctor *d, const uint8_t address[16], SSL_CTX *ctx, const char *name, const char *path,
    struct answer *ret)
{
	struct buf request = BUF_INIT(1024);
	struct doctor_line l;
	*ret = (struct answer){.text = BUF_INIT(ANSWER_MAX)};
	ret->connected =
	    put_request(name, path, &request) &&
	    doctor_line_open(d, address, (ctx != NULL ? HTTPS : HTTP) + d->config.port_offset, LIMIT_MS, &l);
	ret->tls = ret->connected && ctx != NULL && doctor_line_tls(&l, ctx, name);
	if (ret->tls) {
		X509 *x = SSL_get0_peer_certificate(l.ssl);
		ret->verified = SSL_get_verify_result(l.ssl) == X509_V_OK && x != NULL &&
				X509_check_host(x, name, 0, 0, NULL) == 1;
	}
	if (ret->connected && (ctx == NULL || ret->tls) && doctor_line_write(&l, buf_bytes(&request))) {
		read_all(&l, &ret->text);
	}
	if (ret->connected) {
		doctor_line_close(&l);
	}
	buf_clear(&request);
}

static unsigned
status_of(const struct answer *a)
{
	uint64_t code = 0;
	struct bytes t = buf_bytes(&a->text);
	return bytes_starts_with(t, "HTTP/1.") && t.len > 12 &&
		       bytes_to_u64(bytes_slice(t, 9, 3), 999, &code) == ERR_OK
		   ? (unsigned)code
		   : 0;
}

static bool
contains(struct bytes whole, struct bytes part)
{
	return part.len > 0 && whole.len > 0 && memmem(whole.ptr, whole.len, part.ptr, part.len) != NULL;
}

static void
check_policy(struct doctor *d, const struct answer *a, const char *name, const char *where)
{
	struct buf policy = BUF_INIT(1024);
	bool asked_for = d->config.mta_sts == CONFIG_STS_ENFORCE;
	bool known = web_mta_sts_policy(&d->config, &policy) == ERR_OK;
	if (status_of(a) != 200) {
		doctor_tell(
		    d, asked_for ? DOCTOR_BAD : DOCTOR_HINT, "mta-sts-web",
		    "let that name lead to cohue (docs/web.md), or take the record _mta-sts away",
		    "https://%s at %s does not give the policy (HTTP %u): others act as if there were "
		    "none",
		    name, where, status_of(a));
	} else if (known && !contains(buf_bytes(&a->text), buf_bytes(&policy))) {
		doctor_tell(d, DOCTOR_BAD, "mta-sts-web",
			    "let that name lead to cohue, or let the policy there say what `cohue dns` and "
			    "mta_sts in cohue.conf say",
			    "the policy at https://%s (%s) is not this house's", name, where);
	} else if (!a->verified) {
		doctor_tell(d, asked_for ? DOCTOR_BAD : DOCTOR_HINT, "mta-sts-web",
			    "a certificate of a public authority that names it: acme = on in cohue.conf",
			    "the policy at https://%s (%s) comes under a certificate that others do not "
			    "trust: they act as if there were none",
			    name, where);
	} else {
		doctor_tell(d, DOCTOR_GOOD, "mta-sts-web", NULL,
			    "others can read the policy at https://%s (%s)", name, where);
	}
	buf_clear(&policy);
}

static void
check_settings(struct doctor *d, const struct answer *a, const char *name, const char *where)
{
	bool good = status_of(a) == 200 && a->verified;
	doctor_tell(d, good ? DOCTOR_GOOD : DOCTOR_HINT, "autoconfig-web",
		    status_of(a) == 200
			? "a certificate of a public authority that names it: acme = on in cohue.conf"
			: "let that name lead to cohue (docs/web.md)",
		    good                  ? "mail programs find the settings at https://%s (%s)"
		    : status_of(a) == 200 ? "mail programs do not trust the certificate of https://%s (%s)"
					  : "mail programs find no settings at https://%s (%s)",
		    name, where);
}

static void
check_site(struct doctor *d, const struct doctor_site *site, SSL_CTX *ctx)
{
	char text[DOCTOR_ADDRESS_TEXT];
	if (site->count == 0) {
		/* That it is not in the DNS, or that this gives no answer, is said there. */
		return;
	}
	for (size_t i = 0; i < site->count && clock_monotonic() < d->until; i++) {
		struct answer a;
		bool policy = site->of == DOCTOR_SITE_POLICY;
		doctor_address_text(site->addresses[i], text, sizeof(text));
		get(d, site->addresses[i], ctx, site->name,
		    policy ? "/.well-known/mta-sts.txt" : "/mail/config-v1.1.xml", &a);
		if (!a.tls) {
			doctor_tell(
			    d, policy && d->config.mta_sts == CONFIG_STS_ENFORCE ? DOCTOR_BAD : DOCTOR_HINT,
			    "port-443", "open it in the firewall and at the provider; see docs/web.md",
			    a.connected ? "port %u of %s at %s makes no TLS connection"
					: "port %u of %s at %s does not answer",
			    HTTPS + d->config.port_offset, site->name, text);
		} else if (policy) {
			check_policy(d, &a, site->name, text);
		} else {
			check_settings(d, &a, site->name, text);
		}
		buf_clear(&a.text);
	}
}

/* An authority asks here, for any of the names; cohue answers whatever it does not know, too. */
static void
check_challenges(struct doctor *d)
{
	bool needed = d->config.acme == CONFIG_ON && d->config.acme_challenge != CONFIG_ACME_TLS;
	char text[DOCTOR_ADDRESS_TEXT];
	for (size_t i = 0; i < d->address_count && clock_monotonic() < d->until; i++) {
		struct answer a;
		doctor_address_text(d->addresses[i], text, sizeof(text));
		get(d, d->addresses[i], NULL, d->config.hostname, "/.well-known/acme-challenge/doctor", &a);
		unsigned status = status_of(&a);
		bool good = status == 404;
		doctor_tell(
		    d,
		    good     ? DOCTOR_GOOD
		    : needed ? DOCTOR_BAD
			     : DOCTOR_HINT,
		    "port-80",
		    needed ? "open it in the firewall and at the provider, and let "
			     "/.well-known/acme-challenge/ lead to cohue (docs/web.md); or acme.challenge "
			     "= tls-alpn-01"
			   : "open it, or let it be: it is needed for certificates by ACME (http-01), "
			     "and leads browsers to https",
		    good          ? "port %u at %s answers certificate authorities"
		    : a.connected ? "port %u at %s is answered by something else"
				  : "port %u at %s does not answer",
		    HTTP + d->config.port_offset, text);
		buf_clear(&a.text);
	}
}

void
doctor_web(struct doctor *d)
{
	SSL_CTX *ctx = d->config.web == CONFIG_ON ? SSL_CTX_new(TLS_client_method()) : NULL;
	if (d->config.web != CONFIG_ON) {
		return;
	}
	if (ctx == NULL || SSL_CTX_set_default_verify_paths(ctx) != 1) {
		doctor_tell(d, DOCTOR_UNKNOWN, "web", NULL, "TLS cannot be tried: out of memory");
		SSL_CTX_free(ctx);
		return;
	}
	for (size_t i = 0; i < DOCTOR_SITES; i++) {
		check_site(d, &d->sites[i], ctx);
	}
	check_challenges(d);
	SSL_CTX_free(ctx);
}
