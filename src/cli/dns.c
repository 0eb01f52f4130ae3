/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What must stand in the DNS, so that others find this house and members' programs find its ports. */
#include "base/openssl.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/dns.h"
#include "web/web.h"

/* SHA-256 of the certificate's public key, in hex: TLSA 3 1 1 (RFC 6698, RFC 7671). */
static bool
key_digest(const char *path, char ret[65])
{
	struct buf pem = BUF_INIT(256 * 1024);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (file_read(path, 0, 0, &pem) != ERR_OK) {
		return false;
	}
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	X509 *x = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
	unsigned char *der = NULL;
	int len = x == NULL ? -1 : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	bool good = len > 0 && EVP_Digest(der, (size_t)len, digest, &n, EVP_sha256(), NULL) == 1 && n == 32;
	for (unsigned i = 0; good && i < n; i++) {
		(void)snprintf(ret + (size_t)i * 2, 3, "%02x", digest[i]);
	}
	OPENSSL_free(der);
	X509_free(x);
	(void)BIO_free(bio);
	buf_clear(&pem);
	return good;
}

static void
add(struct record *rows, size_t *count, const char *prefix, const char *domain, const char *type,
    const char *note, const char *value)
{
	struct record *r = &rows[(*count)++];
	(void)snprintf(r->name, sizeof(r->name), "%s%s.", prefix, domain);
	(void)snprintf(r->value, sizeof(r->value), "%s", value);
	r->type = type;
	r->note = note;
}

static void
add_service(struct record *rows, size_t *count, const char *prefix, const struct config *c, unsigned port)
{
	char value[DNS_VALUE_MAX];
	(void)snprintf(value, sizeof(value), "0 1 %u %s.", port + c->port_offset, c->hostname);
	add(rows, count, prefix, c->domain, "SRV", "mail programs find the server (RFC 6186, RFC 8314)",
	    value);
}

/* Names that mail programs and other servers ask over HTTP. */
static void
add_web(struct record *rows, size_t *n, const struct config *c)
{
	static const struct {
		const char *prefix;
		const char *note;
	} names[] = {
	    {"autoconfig.", "Thunderbird, K-9 and others find all settings"},
	    {"autodiscover.", "Outlook does"},
	    {"mta-sts.", "other servers read which TLS to insist on (RFC 8461)"},
	};
	char value[DNS_VALUE_MAX];
	char id[WEB_MTA_STS_ID];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char own[CONFIG_NAME_MAX + 32];
		(void)snprintf(own, sizeof(own), "%s%s", names[i].prefix, c->domain);
		if (strcmp(own, c->hostname) != 0) {
			(void)snprintf(value, sizeof(value), "%s.", c->hostname);
			add(rows, n, names[i].prefix, c->domain, "CNAME", names[i].note, value);
		}
	}
	(void)snprintf(value, sizeof(value), "0 0 %u %s.", 443 + c->port_offset, c->hostname);
	add(rows, n, "_autodiscover._tcp.", c->domain, "SRV", "Outlook, another way", value);
	if (web_mta_sts_id(c, id) == ERR_OK) {
		(void)snprintf(value, sizeof(value), "\"v=STSv1; id=%s\"", id);
		add(rows, n, "_mta-sts.", c->domain, "TXT",
		    "there is a policy; the id changes with it (cohue dns tells the new one)", value);
	}
	(void)snprintf(value, sizeof(value), "\"v=TLSRPTv1; rua=mailto:postmaster@%s\"", c->domain);
	add(rows, n, "_smtp._tls.", c->domain, "TXT",
	    "if you want it: others report where TLS to this house failed (RFC 8460), to this address",
	    value);
	rows[*n - 1].optional = true;
}

static size_t
collect(const struct config *c, const char *certificate, struct record rows[DNS_RECORDS_MAX])
{
	size_t n = 0;
	char value[DNS_VALUE_MAX];
	char digest[65];
	(void)snprintf(value, sizeof(value), "10 %s.", c->hostname);
	add(rows, &n, "", c->domain, "MX", "mail for the members comes here", value);
	add(rows, &n, "", c->hostname, "A", "the IPv4 address of this machine", "<IPv4 address>");
	add(rows, &n, "", c->hostname, "AAAA", "its IPv6 address; leave it out where there is none",
	    "<IPv6 address>");
	add(rows, &n, "", c->domain, "TXT", "only this machine sends mail of the domain (RFC 7208)",
	    c->smarthost[0] == '\0' ? "\"v=spf1 mx -all\""
				    : "\"v=spf1 mx include:<your smarthost's domain> -all\"");
	add(rows, &n, "_dmarc.", c->domain, "TXT",
	    "what others do with mail that fails (RFC 7489); no reports, which tell who writes",
	    "\"v=DMARC1; p=none\"");
	if (key_digest(certificate, digest)) {
		(void)snprintf(value, sizeof(value), "3 1 1 %s", digest);
		add(rows, &n, "_25._tcp.", c->hostname, "TLSA",
		    "only in a zone signed with DNSSEC: others then insist on this key (RFC 7672)", value);
	}
	add_service(rows, &n, "_imaps._tcp.", c, 993);
	add_service(rows, &n, "_submissions._tcp.", c, 465);
	add_service(rows, &n, "_submission._tcp.", c, 587);
	add(rows, &n, "_imap._tcp.", c->domain, "SRV", "there is no IMAP without TLS", "0 0 0 .");
	add(rows, &n, "_pop3._tcp.", c->domain, "SRV", "there is no POP3", "0 0 0 .");
	add(rows, &n, "_pop3s._tcp.", c->domain, "SRV", "nor over TLS", "0 0 0 .");
	if (c->web == CONFIG_ON) {
		add_web(rows, &n, c);
	}
	return n;
}

static enum err
json_record(struct buf *out, const struct record *r, bool first)
{
	const struct {
		const char *key;
		const char *value;
	} rows[] = {{"name", r->name}, {"type", r->type}, {"value", r->value}, {"note", r->note}};
	enum err e = buf_append_str(out, first ? "{" : ",\n {");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && e == ERR_OK; i++) {
		e = buf_printf(out, "%s\"%s\": ", i == 0 ? "" : ", ", rows[i].key);
		e = e == ERR_OK ? cli_json_text(out, bytes_str(rows[i].value)) : e;
	}
	if (e == ERR_OK && r->optional) {
		e = buf_append_str(out, ", \"optional\": true");
	}
	return e == ERR_OK ? buf_append_byte(out, '}') : e;
}

enum err
cli_dns_records(const struct config *config, const char *certificate, bool json, struct buf *out)
{
	struct record rows[DNS_RECORDS_MAX];
	memset(rows, 0, sizeof(rows));
	size_t n = collect(config, certificate, rows);
	enum err e = json ? buf_append_byte(out, '[') : ERR_OK;
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		const struct record *r = &rows[i];
		e = json ? json_record(out, r, i == 0)
			 : buf_printf(out, "; %s\n%s%s IN %s %s\n", r->note, r->optional ? "; " : "", r->name,
				      r->type, r->value);
	}
	if (json) {
		return e == ERR_OK ? buf_append_byte(out, ']') : e;
	}
	return e == ERR_OK
		   ? buf_printf(
			 out, "; and at the provider of the address, reverse (PTR): <IPv4 address> -> %s.\n",
			 config->hostname)
		   : e;
}

size_t
cli_dns_collect(const struct cli *c, const struct config *config, struct record rows[DNS_RECORDS_MAX])
{
	char own[CLI_PATH_ROOM];
	if (!cli_path(c, "tls/mx.crt", own)) {
		return 0;
	}
	return collect(config, config->tls_mx_certificate[0] == '\0' ? own : config->tls_mx_certificate,
		       rows);
}

int
cli_dns(struct cli *c)
{
	struct config config;
	char own[CLI_PATH_ROOM];
	struct buf out = BUF_INIT(64 * 1024);
	if (!cli_config(c, &config) || !cli_path(c, "tls/mx.crt", own)) {
		return CLI_FAILED;
	}
	const char *certificate = config.tls_mx_certificate[0] == '\0' ? own : config.tls_mx_certificate;
	enum err e = cli_dns_records(&config, certificate, c->json, &out);
	if (e == ERR_OK && c->json) {
		e = buf_append_byte(&out, '\n');
	}
	if (e != ERR_OK) {
		buf_clear(&out);
		return cli_fail("the records cannot be shown: %s", err_text(e));
	}
	return cli_print(&out);
}
