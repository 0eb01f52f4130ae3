/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_REPORTS_REPORT_H
#define COHUE_REPORTS_REPORT_H

#include "base/bytes.h"

/*
 * What others report about a house: DMARC aggregate reports (RFC 7489 appendix C), TLS reports (RFC 8460), complaints (ARF, RFC 5965), each
 * reduced to sums. Pure. Strict where strictness costs nothing: what is not well formed counts as unread, and nothing is guessed.
 */

enum {
	REPORT_DEPTH_MAX = 16,
	REPORT_ROWS_MAX = 100000,
	REPORT_COUNT_MAX = 1000000000, /* of one row */
	REPORT_SOURCES_MAX = 64,
	REPORT_NET_MAX = 64,
};

enum report_tls_result {
	REPORT_TLS_STARTTLS, /* not offered */
	REPORT_TLS_HOST,     /* the certificate is for another name */
	REPORT_TLS_EXPIRED,
	REPORT_TLS_UNTRUSTED,
	REPORT_TLS_DANE, /* tlsa-invalid, dnssec-invalid, dane-required */
	REPORT_TLS_STS,  /* sts-policy-fetch-error, -invalid, sts-webpki-invalid */
	REPORT_TLS_OTHER,
	REPORT_TLS__COUNT
};

enum report_complaint {
	REPORT_COMPLAINT_ABUSE,
	REPORT_COMPLAINT_FRAUD,
	REPORT_COMPLAINT_VIRUS,
	REPORT_COMPLAINT_NOT_SPAM,
	REPORT_COMPLAINT_AUTHENTICATION,
	REPORT_COMPLAINT_OTHER,
	REPORT_COMPLAINT__COUNT
};

/* A network that mail in the house's name came from: /24 or /48, never a single address. */
struct report_source {
	char net[REPORT_NET_MAX];
	uint64_t pass;
	uint64_t fail;
};

struct report_sums {
	uint64_t dmarc_reports;
	uint64_t pass; /* messages that DMARC took for the house's own */
	uint64_t fail;
	uint64_t quarantined;
	uint64_t rejected;
	struct report_source sources[REPORT_SOURCES_MAX]; /* the rest is in pass and fail alone */
	size_t source_count;
	uint64_t tls_reports;
	uint64_t tls_good; /* sessions */
	uint64_t tls_bad;
	uint64_t tls_results[REPORT_TLS__COUNT];
	uint64_t complaints[REPORT_COMPLAINT__COUNT];
	uint64_t unread;   /* not well formed, too large, about another domain */
	uint64_t unproved; /* nobody can say who sent them: not counted */
};

/*
 * Adds a report about `domain` (A-labels, lower case). All of it or nothing. ERR_FORMAT: not well formed, or about another domain; ERR_LIMIT: too deep, too many.
 */
COHUE_MUST_USE enum err report_add_dmarc(struct report_sums *sums, const char *domain, struct bytes xml);
COHUE_MUST_USE enum err report_add_tls(struct report_sums *sums, const char *domain, struct bytes json);
/* The message/feedback-report part. */
COHUE_MUST_USE enum err report_add_complaint(struct report_sums *sums, struct bytes part);

/*
 * A whole message to a role address: finds the report in it, if it is one, and counts it, or as unread. False: it is none. proved: its
 * author's domain is who it says.
 */
bool report_add_message(struct report_sums *sums, const char *domain, struct bytes message, bool proved);

/* The sums as octets, at most 8 KiB, and back. ERR_FORMAT, ERR_UNSUPPORTED, and the errors of wire_end. */
COHUE_MUST_USE enum err report_sums_write(const struct report_sums *sums, struct buf *out);
COHUE_MUST_USE enum err report_sums_read(struct bytes octets, struct report_sums *ret);

const char *report_tls_result_name(enum report_tls_result r);
const char *report_complaint_name(enum report_complaint c);

#endif
