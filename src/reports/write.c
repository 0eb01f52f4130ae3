/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "reports/write.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "mail/write.h"

enum { GZIP_BITS = 15 + 16, PACK_STEP = 16 * 1024, BASE64_LINE = 57, SUBJECT_MAX = 1024, NAME_ROOM = 1024 };

#define FROM_LOCAL "noreply-reports"

static const char coarse_note[] =
    "Coarse on purpose: source_ip is a network (/24, /48), each count is rounded down to a power of two, "
    "what few "
    "messages or few recipients had is left out, and identifiers are the domain of the policy";

static bool
ok(enum err *e, enum err next)
{
	*e = next;
	return next == ERR_OK;
}

/* ---- DMARC ---- */

static enum err
write_source(const uint8_t net[16], struct buf *out)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool v4 = memcmp(net, mapped, sizeof(mapped)) == 0;
	char text[INET6_ADDRSTRLEN];
	if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? net + 12 : net, text, sizeof(text)) == NULL) {
		return ERR_FORMAT;
	}
	return buf_append_str(out, text);
}

static const char *
disposition_name(uint8_t outcome)
{
	unsigned d = outcome & TALLY_DISPOSITION;
	return d == TALLY_REJECTED ? "reject" : d == TALLY_QUARANTINED ? "quarantine" : "none";
}

static const char *
passed(bool pass)
{
	return pass ? "pass" : "fail";
}

static enum err
write_row(const struct report_heading *c, const struct tally_row *r, struct buf *out)
{
	bool dkim = (r->outcome & TALLY_DKIM) != 0;
	bool spf = (r->outcome & TALLY_SPF) != 0;
	const char *reason = (r->outcome & TALLY_VOUCHED) != 0     ? "trusted_forwarder"
			     : (r->outcome & TALLY_EXCEPTION) != 0 ? "local_policy"
								   : NULL;
	enum err e = buf_append_str(out, "<record><row><source_ip>");
	(void)(e == ERR_OK && ok(&e, write_source(r->net, out)) &&
	       ok(&e, buf_printf(out,
				 "</source_ip><count>%llu</count>\n<policy_evaluated><disposition>%s"
				 "</disposition><dkim>%s</dkim><spf>%s</spf>",
				 (unsigned long long)tally_coarse(r->count), disposition_name(r->outcome),
				 passed(dkim), passed(spf))) &&
	       ok(&e,
		  reason == NULL ? ERR_OK : buf_printf(out, "<reason><type>%s</type></reason>", reason)) &&
	       ok(&e, buf_printf(out,
				 "</policy_evaluated></row>\n<identifiers><envelope_from></envelope_from>"
				 "<header_from>%s</header_from></identifiers>\n<auth_results>",
				 c->domain)) &&
	       /* Of others' domains (a list's, a forwarder's) nothing is said. */
	       ok(&e, !dkim ? ERR_OK
			    : buf_printf(out, "<dkim><domain>%s</domain><result>pass</result></dkim>",
					 c->domain)) &&
	       ok(&e, buf_printf(out,
				 "<spf><domain>%s</domain><scope>mfrom</scope><result>%s</result></spf>"
				 "</auth_results></record>\n",
				 c->domain, spf ? "pass" : "none")));
	return e;
}

static enum err
write_id(const struct report_heading *c, struct buf *out)
{
	return buf_append_hex(out, bytes_of(c->random, sizeof(c->random)));
}

enum err
report_write_dmarc(const struct report_heading *c, const struct report_policy *policy,
		   const struct tally_row *rows, size_t count, struct buf *out)
{
	enum err e =
	    buf_printf(out,
		       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback>\n<version>1.0</version>\n"
		       "<report_metadata><org_name>%s</org_name>\n<email>" FROM_LOCAL "@%s</email>\n"
		       "<report_id>",
		       c->house, c->house);
	e = e == ERR_OK ? write_id(c, out) : e;
	e = e == ERR_OK
		? buf_printf(out,
			     "</report_id>\n<date_range><begin>%lld</begin><end>%lld</end></date_range>\n"
			     "<error>%s</error></report_metadata>\n",
			     (long long)c->begin, (long long)c->end, coarse_note)
		: e;
	e = e == ERR_OK ? buf_printf(out,
				     "<policy_published><domain>%s</domain><adkim>%s</adkim><aspf>%s</aspf>"
				     "<p>%s</p><sp>%s</sp><pct>%u</pct><fo>0</fo></policy_published>\n",
				     c->domain, policy->strict_dkim ? "s" : "r",
				     policy->strict_spf ? "s" : "r", policy->p, policy->sp, policy->percent)
			: e;
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = write_row(c, &rows[i], out);
	}
	return e == ERR_OK ? buf_append_str(out, "</feedback>\n") : e;
}

/* ---- TLS ---- */

static const char *const policy_names[TALLY_POLICIES] = {
    [TALLY_NO_POLICY] = "no-policy-found", [TALLY_STS] = "sts", [TALLY_DANE] = "tlsa"};
static const char *const result_names[TALLY_SESSIONS] = {
    [TALLY_TLS_GOOD] = "",
    [TALLY_TLS_NOT_OFFERED] = "starttls-not-supported",
    [TALLY_TLS_FAILED] = "validation-failure",
    [TALLY_TLS_DNSSEC] = "dnssec-invalid",
};

static enum err
write_policy(const struct report_heading *c, enum tally_policy policy,
	     const uint64_t sessions[TALLY_SESSIONS], bool first, struct buf *out)
{
	uint64_t failed = 0;
	for (unsigned i = TALLY_TLS_GOOD + 1; i < TALLY_SESSIONS; i++) {
		failed += tally_coarse(sessions[i]);
	}
	enum err e = buf_printf(out,
				"%s{\"policy\":{\"policy-type\":\"%s\",\"policy-domain\":\"%s\"},\n"
				"\"summary\":{\"total-successful-session-count\":%llu,"
				"\"total-failure-session-count\":%llu}",
				first ? "" : ",\n", policy_names[policy], c->domain,
				(unsigned long long)tally_coarse(sessions[TALLY_TLS_GOOD]),
				(unsigned long long)failed);
	bool any = false;
	for (unsigned i = TALLY_TLS_GOOD + 1; i < TALLY_SESSIONS && e == ERR_OK; i++) {
		if (sessions[i] > 0) {
			e = buf_printf(out, "%s{\"result-type\":\"%s\",\"failed-session-count\":%llu}",
				       any ? "," : ",\n\"failure-details\":[", result_names[i],
				       (unsigned long long)tally_coarse(sessions[i]));
			any = true;
		}
	}
	e = e == ERR_OK && any ? buf_append_byte(out, ']') : e;
	return e == ERR_OK ? buf_append_byte(out, '}') : e;
}

enum err
report_write_tls(const struct report_heading *c, const struct tally_row *rows, size_t count, struct buf *out)
{
	uint64_t sums[TALLY_POLICIES][TALLY_SESSIONS] = {{0}};
	bool some[TALLY_POLICIES] = {false};
	for (size_t i = 0; i < count; i++) {
		enum tally_policy p = tally_policy_of(rows[i].outcome);
		sums[p][tally_session_of(rows[i].outcome)] += rows[i].count;
		some[p] = true;
	}
	enum err e = buf_printf(out, "{\"organization-name\":\"%s\",\n\"date-range\":{\"start-datetime\":\"",
				c->house);
	e = e == ERR_OK ? mail_write_timestamp(out, c->begin) : e;
	e = e == ERR_OK ? buf_append_str(out, "\",\"end-datetime\":\"") : e;
	e = e == ERR_OK ? mail_write_timestamp(out, c->end) : e;
	e = e == ERR_OK
		? buf_printf(out, "\"},\n\"contact-info\":\"" FROM_LOCAL "@%s\",\n\"report-id\":\"", c->house)
		: e;
	e = e == ERR_OK ? write_id(c, out) : e;
	e = e == ERR_OK ? buf_append_str(out, "\",\n\"policies\":[") : e;
	bool first = true;
	for (unsigned p = 0; p < TALLY_POLICIES && e == ERR_OK; p++) {
		if (some[p]) {
			e = write_policy(c, (enum tally_policy)p, sums[p], first, out);
			first = false;
		}
	}
	return e == ERR_OK ? buf_append_str(out, "]}\n") : e;
}

/* ---- the letter ---- */

enum err
report_pack(struct bytes plain, struct buf *out)
{
	uint8_t piece[PACK_STEP];
	z_stream z = {.next_in = NULL};
	if (plain.len > REPORT_TEXT_MAX) {
		return ERR_LIMIT;
	}
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		return ERR_MEMORY;
	}
	/* zlib's interface has no const, and does not write there. */
	z.next_in = (z_const Bytef *)(uintptr_t)plain.ptr;
	z.avail_in = (uInt)plain.len;
	int r = Z_OK;
	enum err e = ERR_OK;
	while (e == ERR_OK && r == Z_OK) {
		z.next_out = piece;
		z.avail_out = PACK_STEP;
		r = deflate(&z, Z_FINISH);
		e = r == Z_OK || r == Z_STREAM_END ? buf_append(out, bytes_of(piece, PACK_STEP - z.avail_out))
						   : ERR_STATE;
	}
	(void)deflateEnd(&z);
	return e;
}

static enum err
write_lines(struct bytes data, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t at = 0; at < data.len && e == ERR_OK; at += BASE64_LINE) {
		e = buf_append_base64(out, bytes_slice(data, at, BASE64_LINE));
		e = e == ERR_OK ? buf_append_str(out, "\r\n") : e;
	}
	return e;
}

/* "Report Domain: … Submitter: … Report-ID: <…>": the one form of both RFCs. */
static enum err
write_subject(const struct report_heading *c, struct buf *out)
{
	struct buf value = BUF_INIT(SUBJECT_MAX);
	enum err e = buf_printf(&value, "Report Domain: %s Submitter: %s Report-ID: <", c->domain, c->house);
	e = e == ERR_OK ? write_id(c, &value) : e;
	e = e == ERR_OK ? buf_printf(&value, "@%s>", c->house) : e;
	e = e == ERR_OK ? mail_write_field(out, "Subject", buf_bytes(&value)) : e;
	buf_clear(&value);
	return e;
}

static enum err
write_header(const struct report_heading *c, enum tally_kind kind, const char *to, const char *boundary,
	     struct buf *out)
{
	enum err e = buf_printf(out, "From: <" FROM_LOCAL "@%s>\r\nTo: <%s>\r\nDate: ", c->house, to);
	e = e == ERR_OK ? mail_write_date(out, c->now) : e;
	e = e == ERR_OK ? buf_append_str(out, "\r\n") : e;
	e = e == ERR_OK ? write_subject(c, out) : e;
	e = e == ERR_OK ? buf_append_str(out, "Message-ID: <") : e;
	e = e == ERR_OK ? write_id(c, out) : e;
	e = e == ERR_OK ? buf_printf(out, "@%s>\r\nAuto-Submitted: auto-generated\r\n", c->house) : e;
	if (e == ERR_OK && kind == TALLY_TLS) {
		e = buf_printf(out, "TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\n", c->domain,
			       c->house);
	}
	return e == ERR_OK
		   ? buf_printf(out, "MIME-Version: 1.0\r\nContent-Type: %s;\r\n boundary=\"%s\"\r\n\r\n",
				kind == TALLY_TLS ? "multipart/report; report-type=\"tlsrpt\""
						  : "multipart/mixed",
				boundary)
		   : e;
}

enum err
report_write_letter(const struct report_heading *c, enum tally_kind kind, const char *to, struct bytes packed,
		    struct buf *out)
{
	bool tls = kind == TALLY_TLS;
	char boundary[48] = "report-";
	for (size_t i = 0; i < sizeof(c->random); i++) {
		(void)snprintf(boundary + strlen(boundary), 3, "%02x", c->random[i]);
	}
	enum err e = write_header(c, kind, to, boundary, out);
	if (e == ERR_OK) {
		e = buf_printf(out,
			       "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
			       "%s of one day for %s, whose DNS asks for it.\r\n"
			       "Counts are rounded down to powers of two; small ones are left out.\r\n"
			       "Nobody reads answers to this address; postmaster@%s does.\r\n\r\n",
			       boundary,
			       tls ? "A TLS report (RFC 8460)" : "A DMARC aggregate report (RFC 7489)",
			       c->domain, c->house);
	}
	if (e == ERR_OK) {
		e = buf_printf(
		    out,
		    "--%s\r\nContent-Type: application/%s\r\nContent-Transfer-Encoding: base64\r\n"
		    "Content-Disposition: attachment;\r\n filename=\"%s!%s!%lld!%lld.%s.gz\"\r\n\r\n",
		    boundary, tls ? "tlsrpt+gzip" : "gzip", c->house, c->domain, (long long)c->begin,
		    (long long)c->end, tls ? "json" : "xml");
	}
	e = e == ERR_OK ? write_lines(packed, out) : e;
	return e == ERR_OK ? buf_printf(out, "--%s--\r\n", boundary) : e;
}
