/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The house's certificates: what is in use, taking changed files, asking the authority now. */
#include "base/openssl.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/internal.h"
#include "web/web.h"

enum { CHAIN_MAX = 128 * 1024, TEXT_MAX = 256 };

static int
simple(struct cli *c, enum control_op op)
{
	struct buf request = BUF_INIT(16);
	struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
	if (buf_append_byte(&request, (uint8_t)op) != ERR_OK || !cli_ask(c, &request, &data)) {
		return CLI_FAILED;
	}
	buf_clear(&data);
	return CLI_OK;
}

int
cli_tls_reload(struct cli *c)
{
	return simple(c, CONTROL_TLS_RELOAD);
}

int
cli_tls_renew(struct cli *c)
{
	return simple(c, CONTROL_TLS_RENEW);
}

/* ---- what is in use ---- */

struct shown {
	const char *ports;
	const char *path;
	const char *way; /* who renews it */
	struct buf names;
	struct buf lacking;
	char issuer[TEXT_MAX];
	int days;
};

/* Names that the authority or a volunteer wrote: printable ASCII alone comes out. */
static enum err
put_name(struct buf *out, struct bytes name)
{
	enum err e = out->len > 0 ? buf_append_byte(out, ' ') : ERR_OK;
	for (size_t i = 0; i < name.len && e == ERR_OK; i++) {
		e = buf_append_byte(out, name.ptr[i] > ' ' && name.ptr[i] <= '~' ? name.ptr[i] : '?');
	}
	return e;
}

static enum err
list_names(const X509 *x, struct buf *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	enum err e = ERR_OK;
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && e == ERR_OK; i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		if (n->type == GEN_DNS && ASN1_STRING_length(n->d.dNSName) >= 0) {
			e = put_name(out, bytes_of(ASN1_STRING_get0_data(n->d.dNSName),
						   (size_t)ASN1_STRING_length(n->d.dNSName)));
		}
	}
	GENERAL_NAMES_free(names);
	return e;
}

static enum err
list_lacking(const struct config *config, bool member, X509 *x, struct buf *out)
{
	char names[WEB_NAMES_MAX][CONFIG_NAME_MAX];
	size_t count = web_names(config, names);
	enum err e = ERR_OK;
	for (size_t i = 0; i < count && (i == 0 || member) && e == ERR_OK; i++) {
		if (X509_check_host(x, names[i], 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) != 1) {
			e = put_name(out, bytes_str(names[i]));
		}
	}
	return e;
}

static void
name_issuer(const X509 *x, char ret[TEXT_MAX])
{
	const X509_NAME *issuer = X509_get_issuer_name(x);
	int n = X509_NAME_get_text_by_NID(issuer, NID_commonName, ret, TEXT_MAX);
	if (n <= 0) {
		n = X509_NAME_get_text_by_NID(issuer, NID_organizationName, ret, TEXT_MAX);
	}
	if (n <= 0) {
		(void)snprintf(ret, TEXT_MAX, "unnamed");
	}
	for (char *p = ret; *p != '\0'; p++) {
		*p = *p < ' ' || *p > '~' ? '?' : *p;
	}
}

static bool
look(const struct config *config, bool member, struct shown *s)
{
	struct buf pem = BUF_INIT(CHAIN_MAX);
	int seconds = 0;
	enum err e = file_read(s->path, 0, 0, &pem);
	BIO *in = e == ERR_OK ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
	X509 *x = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
	bool good = x != NULL && ASN1_TIME_diff(&s->days, &seconds, NULL, X509_get0_notAfter(x)) == 1 &&
		    list_names(x, &s->names) == ERR_OK &&
		    list_lacking(config, member, x, &s->lacking) == ERR_OK;
	if (good) {
		bool itself = X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(x)) == 0;
		name_issuer(x, s->issuer);
		s->days -= seconds < 0 ? 1 : 0;
		if (itself) {
			(void)snprintf(s->issuer, TEXT_MAX, "itself");
		}
	} else {
		(void)cli_fail(
		    "the certificate %s cannot be read: %s. Remedy: run as the user who runs cohue, or see "
		    "the tls. keys of cohue.conf",
		    s->path, e == ERR_OK ? err_text(ERR_FORMAT) : err_text(e));
	}
	(void)BIO_free(in);
	X509_free(x);
	buf_clear(&pem);
	ERR_clear_error();
	return good;
}

static enum err
put_json(struct buf *out, const struct shown *s)
{
	const struct {
		const char *key;
		struct bytes value;
	} rows[] = {{"ports", bytes_str(s->ports)},      {"names", buf_bytes(&s->names)},
		    {"lacking", buf_bytes(&s->lacking)}, {"issuer", bytes_str(s->issuer)},
		    {"file", bytes_str(s->path)},        {"renewed_by", bytes_str(s->way)}};
	enum err e = buf_append_str(out, out->len == 0 ? "[{" : ",\n {");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && e == ERR_OK; i++) {
		e = buf_printf(out, "\"%s\": ", rows[i].key);
		e = e == ERR_OK ? cli_json_text(out, rows[i].value) : e;
		e = e == ERR_OK ? buf_append_str(out, ", ") : e;
	}
	return e == ERR_OK ? buf_printf(out, "\"days\": %d}", s->days) : e;
}

static enum err
put_text(struct buf *out, const struct shown *s)
{
	enum err e = buf_printf(
	    out, "%s%s\n  names    %.*s\n  issuer   %s\n  days     %d%s\n  renewed  %s\n  file     %s\n",
	    out->len == 0 ? "" : "\n", s->ports, (int)s->names.len, (const char *)s->names.ptr, s->issuer,
	    s->days, s->days < 0 ? " (it has expired)" : "", s->way, s->path);
	return e == ERR_OK && s->lacking.len > 0
		   ? buf_printf(out, "  lacking  %.*s\n", (int)s->lacking.len, (const char *)s->lacking.ptr)
		   : e;
}

int
cli_tls(struct cli *c)
{
	struct config config;
	char own[CLI_PATH_ROOM];
	struct buf out = BUF_INIT(64 * 1024);
	enum err e = ERR_OK;
	if (!cli_config(c, &config)) {
		return CLI_FAILED;
	}
	for (int member = 0; member < 2 && e == ERR_OK; member++) {
		const char *file = member ? config.tls_member_certificate : config.tls_mx_certificate;
		struct shown s = {.ports = member ? "ports 465, 587, 993 and 443" : "port 25",
				  .path = file[0] != '\0' ? file : own,
				  .way = file[0] != '\0'            ? "by you"
					 : config.acme == CONFIG_ON ? "by itself (acme)"
								    : "not (acme is off)"};
		buf_init(&s.names, 16 * 1024);
		buf_init(&s.lacking, 16 * 1024);
		if (!cli_path(c, member ? "tls/member.crt" : "tls/mx.crt", own) ||
		    !look(&config, member != 0, &s)) {
			buf_clear(&s.names);
			buf_clear(&s.lacking);
			buf_clear(&out);
			return CLI_FAILED;
		}
		e = c->json ? put_json(&out, &s) : put_text(&out, &s);
		buf_clear(&s.names);
		buf_clear(&s.lacking);
	}
	e = e == ERR_OK && c->json ? buf_append_str(&out, "]\n") : e;
	if (e != ERR_OK) {
		buf_clear(&out);
		return cli_fail("the certificates cannot be shown: %s", err_text(e));
	}
	return cli_print(&out);
}
