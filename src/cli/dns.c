/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What must stand in the DNS, so that others find this house and members' programs find its ports. */
#include "base/openssl.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* The same of the key that comes next: its file begins with it (keeper/tls_next.h). */
static bool
next_digest(const char *path, char ret[65])
{
	enum { ID = 32, FILE_MAX = 4096 };
	struct buf file = BUF_INIT(FILE_MAX);
	bool good = file_read(path, FILE_NO_LINK, S_IWGRP | S_IWOTH, &file) == ERR_OK && file.len > ID;
	for (size_t i = 0; good && i < ID; i++) {
		(void)snprintf(ret + i * 2, 3, "%02x", file.ptr[i]);
	}
	buf_clear(&file);
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
	(void)snprintf(r->note, sizeof(r->note), "%s", note);
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

struct rows {
	struct record *rows;
	size_t *count;
};

static enum err
add_dkim(void *arg, const struct cli_dkim_record *r)
{
	struct rows *t = arg;
	if (*t->count == DNS_RECORDS_MAX) {
		return ERR_LIMIT;
	}
	/* The name ends with its dot already. */
	struct record *row = &t->rows[(*t->count)++];
	(void)snprintf(row->name, sizeof(row->name), "%s", r->name);
	(void)snprintf(row->value, sizeof(row->value), "%s", r->value);
	(void)snprintf(row->note, sizeof(row->note), "%s", r->note);
	row->type = "TXT";
	return ERR_OK;
}

/*
 * All that leaves is signed for exactly this domain and comes from exactly this machine, so others may set apart what is not. Not
 * p=reject: mailing lists that change what they pass on would lose members' letters (RFC 7960).
 */
static void
add_dmarc(const struct config *c, struct record *rows, size_t *count)
{
	char value[DNS_VALUE_MAX];
	bool reports = c->dmarc_rua[0] != '\0';
	(void)snprintf(value, sizeof(value), "\"v=DMARC1; p=quarantine; adkim=s; aspf=s%s%s\"",
		       reports ? "; rua=mailto:" : "", c->dmarc_rua);
	add(rows, count, "_dmarc.", c->domain, "TXT",
	    "what others do with mail that fails (RFC 7489). Where other machines send mail of this domain "
	    "too: "
	    "p=none until they sign it",
	    value);
}

static size_t
collect(const struct config *c, const char *certificate, const char *next, const struct dkim_ring *dkim,
	struct record rows[DNS_RECORDS_MAX])
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
	add(rows, &n, "", c->hostname, "TXT",
	    "nor does anybody else greet with this name (RFC 7208 section 10.1.3)", "\"v=spf1 a -all\"");
	struct rows into = {.rows = rows, .count = &n};
	if (dkim != NULL && cli_dkim_records(dkim, c->domain, add_dkim, &into) != ERR_OK) {
		return 0;
	}
	add_dmarc(c, rows, &n);
	if (key_digest(certificate, digest)) {
		(void)snprintf(value, sizeof(value), "3 1 1 %s", digest);
		add(rows, &n, "_25._tcp.", c->hostname, "TLSA",
		    "only in a zone signed with DNSSEC: others then insist on this key (RFC 7672)", value);
	}
	if (next != NULL && c->acme == CONFIG_ON && c->tls_mx_key[0] == '\0' && next_digest(next, digest)) {
		(void)snprintf(value, sizeof(value), "3 1 1 %s", digest);
		add(rows, &n, "_25._tcp.", c->hostname, "TLSA",
		    "likewise, beside the one above: the key that comes next. Until it has stood there for a "
		    "while, renewals keep the key",
		    value);
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
cli_dns_records(const struct config *config, const char *certificate, const char *next,
		const struct dkim_ring *dkim, bool json, struct buf *out)
{
	struct record *rows = calloc(DNS_RECORDS_MAX, sizeof(*rows));
	size_t n = rows == NULL ? 0 : collect(config, certificate, next, dkim, rows);
	enum err e = n == 0 ? ERR_MEMORY : json ? buf_append_byte(out, '[') : ERR_OK;
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		const struct record *r = &rows[i];
		e = json ? json_record(out, r, i == 0)
			 : buf_printf(out, "; %s\n%s%s IN %s %s\n", r->note, r->optional ? "; " : "", r->name,
				      r->type, r->value);
	}
	free(rows);
	if (json) {
		return e == ERR_OK ? buf_append_byte(out, ']') : e;
	}
	if (e == ERR_OK && dkim == NULL) {
		e = buf_append_str(out, "; DKIM: the keys are made at the service's next start\n");
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
	char keys[CLI_PATH_ROOM];
	char next[CLI_PATH_ROOM];
	struct dkim_ring ring;
	if (!cli_path(c, "tls/mx.crt", own) || !cli_path(c, "tls/mx.next", next) ||
	    !cli_path(c, "dkim.keys", keys)) {
		return 0;
	}
	bool known = cli_dkim_read(keys, &ring) == ERR_OK;
	size_t n = collect(config, config->tls_mx_certificate[0] == '\0' ? own : config->tls_mx_certificate,
			   next, known ? &ring : NULL, rows);
	dkim_ring_clear(&ring);
	return n;
}

int
cli_dns(struct cli *c)
{
	struct config config;
	char own[CLI_PATH_ROOM];
	char keys[CLI_PATH_ROOM];
	struct dkim_ring ring;
	char next[CLI_PATH_ROOM];
	struct buf out = BUF_INIT(256 * 1024);
	if (!cli_config(c, &config) || !cli_path(c, "tls/mx.crt", own) || !cli_path(c, "tls/mx.next", next) ||
	    !cli_path(c, "dkim.keys", keys)) {
		return CLI_FAILED;
	}
	const char *certificate = config.tls_mx_certificate[0] == '\0' ? own : config.tls_mx_certificate;
	enum err e = cli_dkim_read(keys, &ring);
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		return cli_fail("%s cannot be read: %s. Remedy: run as the user who runs cohue, or as root; "
				"where it is damaged, bring it back from a backup",
				keys, e == ERR_AUTH ? "others may read or change it" : err_text(e));
	}
	e = cli_dns_records(&config, certificate, next, e == ERR_OK ? &ring : NULL, c->json, &out);
	dkim_ring_clear(&ring);
	if (e == ERR_OK && c->json) {
		e = buf_append_byte(&out, '\n');
	}
	if (e != ERR_OK) {
		buf_clear(&out);
		return cli_fail("the records cannot be shown: %s", err_text(e));
	}
	return cli_print(&out);
}
