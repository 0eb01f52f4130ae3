/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What others report comes as mail of strangers, packed and in two languages: it is read here, where there is neither disk nor key of a
 * member, and leaves as sums. The mail itself goes to whoever has the address, as any other.
 */
#include "gate_mx/mx.h"
#include "process/status.h"

/* The addresses that reports are asked for at: postmaster and abuse (RFC 2142), and dmarc.rua if it is here. */
static bool
is_role(const struct mx *mx, struct bytes address)
{
	const struct config *c = &mx->host->config;
	ptrdiff_t at = bytes_find_last(address, '@');
	struct bytes local = at < 0 ? address : bytes_slice(address, 0, (size_t)at);
	return bytes_is_nocase(local, "postmaster") || bytes_is_nocase(local, "abuse") ||
	       (c->dmarc_rua[0] != '\0' && bytes_is_nocase(address, c->dmarc_rua));
}

void
mx_look_for_report(struct mx_connection *c, bool proved)
{
	struct mx *mx = c->mx;
	bool wanted = false;
	for (size_t i = 0; i < c->target_count && !wanted; i++) {
		wanted = is_role(mx, bytes_slice(buf_bytes(&c->addresses), c->targets[i].recipient_at,
						 c->targets[i].recipient_len));
	}
	if (wanted) {
		/* Where the house judges nobody, nobody can prove anything. */
		proved = proved || mx->host->config.authentication == CONFIG_AUTHENTICATION_OFF;
		(void)report_add_message(&mx->reports, mx->host->config.domain, buf_bytes(&c->message),
					 proved);
	}
}

static enum err
tell(struct buf *out, const char *kind, const char *name, uint64_t value)
{
	return value == 0 ? ERR_OK
			  : buf_printf(out, "report.%s.%s %llu\n", kind, name,
				       (unsigned long long)status_coarse(value));
}

enum err
mx_tell_reports(const struct mx *mx, struct buf *out)
{
	const struct report_sums *s = &mx->reports;
	enum err e = tell(out, "dmarc", "reports", s->dmarc_reports);
	e = e == ERR_OK ? tell(out, "dmarc", "pass", s->pass) : e;
	e = e == ERR_OK ? tell(out, "dmarc", "fail", s->fail) : e;
	e = e == ERR_OK ? tell(out, "dmarc", "quarantined", s->quarantined) : e;
	e = e == ERR_OK ? tell(out, "dmarc", "rejected", s->rejected) : e;
	for (size_t i = 0; e == ERR_OK && i < s->source_count; i++) {
		e = tell(out, "pass_from", s->sources[i].net, s->sources[i].pass);
		e = e == ERR_OK ? tell(out, "fail_from", s->sources[i].net, s->sources[i].fail) : e;
	}
	e = e == ERR_OK ? tell(out, "tls", "reports", s->tls_reports) : e;
	e = e == ERR_OK ? tell(out, "tls", "good", s->tls_good) : e;
	e = e == ERR_OK ? tell(out, "tls", "bad", s->tls_bad) : e;
	for (unsigned i = 0; e == ERR_OK && i < REPORT_TLS__COUNT; i++) {
		e = tell(out, "tls_failed", report_tls_result_name((enum report_tls_result)i),
			 s->tls_results[i]);
	}
	for (unsigned i = 0; e == ERR_OK && i < REPORT_COMPLAINT__COUNT; i++) {
		e = tell(out, "complaint", report_complaint_name((enum report_complaint)i), s->complaints[i]);
	}
	e = e == ERR_OK ? tell(out, "void", "unread", s->unread) : e;
	return e == ERR_OK ? tell(out, "void", "unproved", s->unproved) : e;
}
