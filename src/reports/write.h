/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_REPORTS_WRITE_H
#define COHUE_REPORTS_WRITE_H

#include "reports/tally.h"

/*
 * Reports of our own: DMARC aggregate reports (RFC 7489 appendix C) and TLS reports (RFC 8460 section 4), and the letters around them. Pure. What
 * stands in them is what docs/reports.md says: networks and not addresses, powers of two and not counts, the domain that the report is
 * for and no other.
 */

enum {
	REPORT_URIS_MAX = 2, /* of a record, the first ones */
	REPORT_ADDRESS_MAX = 254,
	REPORT_TEXT_MAX = 1 << 20,
	REPORT_LETTER_MAX = 2 << 20,
};

/* Where reports go: a mailto of rua=. */
struct report_uri {
	char address[REPORT_ADDRESS_MAX + 1];
	const char *domain; /* in it, lower case */
	uint64_t most;      /* octets of the letter; 0: any */
};

/*
 * The value of rua= (RFC 7489 section 6.2, RFC 8460 section 3): the first REPORT_URIS_MAX mailto that can be written to. Others (https) and what
 * is no address are passed over. Returns how many.
 */
size_t report_uris(struct bytes rua, struct report_uri ret[REPORT_URIS_MAX]);
/* A TXT record's text: rua= of "v=TLSRPTv1". False: it is none. */
bool report_tls_record(struct bytes text, struct bytes *ret_rua);

/* policy_published: as the record has it. */
struct report_policy {
	const char *p; /* none, quarantine, reject */
	const char *sp;
	bool strict_dkim;
	bool strict_spf;
	unsigned percent;
};

struct report_heading {
	const char *house;  /* our domain */
	const char *domain; /* that it is about */
	int64_t begin;      /* seconds since 1970 */
	int64_t end;        /* the last one */
	int64_t now;
	uint8_t random[16]; /* names the report */
};

/* rows: of one domain and one kind, at least one. */
COHUE_MUST_USE enum err report_write_dmarc(const struct report_heading *c, const struct report_policy *policy,
					   const struct tally_row *rows, size_t count, struct buf *out);
COHUE_MUST_USE enum err report_write_tls(const struct report_heading *c, const struct tally_row *rows,
					 size_t count, struct buf *out);
/* Appends gzip (RFC 1952), without name and time. ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err report_pack(struct bytes plain, struct buf *out);
/*
 * The letter with the packed report, seven bits, CRLF. From is an address that nobody reads: `noreply-reports` here. RFC 7489 section 7.2.1.1, RFC
 * 8460 section 5.3.
 */
COHUE_MUST_USE enum err report_write_letter(const struct report_heading *c, enum tally_kind kind,
					    const char *to, struct bytes packed, struct buf *out);

#endif
