/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_DMARC_H
#define COHUE_AUTHENTICATION_DMARC_H

#include "authentication/dkim.h"
#include "authentication/spf.h"

/* DMARC (RFC 7489) with organisational domains from the public suffix list (libpsl). */

enum dmarc_policy { DMARC_NO_POLICY, DMARC_MONITOR /* p=none */, DMARC_QUARANTINE, DMARC_REJECT };
struct dmarc_verdict {
	enum authentication_result result; /* none: no record; permerror: From can't be judged */
	enum dmarc_policy
	    policy;       /* that applies to this message, sp= and pct= (with the number given) weighed */
	char domain[254]; /* of From, A-labels */
	bool ambiguous;   /* with permerror: several From fields, or mailboxes of several domains */
	bool aligned_dkim,
	    aligned_spf; /* and passed; of an author whose policy is unknown: of his very domain */
	bool
	    unknown; /* with temperror: there was no answer to what his policy is; `policy` is what the organisation has for him */
	bool
	    spf_unread; /* the aligned domain's SPF record asks for what no question carries: it may permit the sender */
	bool wants_reports; /* the record has rua= */
	size_t record_at;   /* where in `domain` the name begins that has the record */
	const char *why;
};
/*
 * One From field with mailboxes of one domain is needed: several fields, none, or several domains are permerror, which the
 * gate refuses (section 6.6.1). number: 0..99, drawn by the caller, for pct=.
 */
void dmarc_check(struct bytes message, const struct dkim_verdicts *dkim, const struct spf_verdict *spf,
		 unsigned number, const struct authentication_dns *dns, struct dmarc_verdict *ret);

/* From's domain as dmarc_check reads it; "": it can't be judged. */
void dmarc_author(struct bytes message, char ret_domain[254]);
/* Whether a text that readers see (UTF-8, decoded) holds an address of another organisation than `domain`'s. */
bool dmarc_names_another(struct bytes text, struct bytes domain);

/* A record as it was published, for a report about it. */
enum { DMARC_RUA_MAX = 1023 };
struct dmarc_published {
	enum dmarc_policy policy;
	enum dmarc_policy below; /* sp= */
	bool strict_dkim, strict_spf;
	unsigned percent;
	char rua[DMARC_RUA_MAX + 1]; /* "": none, or too long */
};
/* The record at this very domain. ERR_NOT_FOUND: none; ERR_AGAIN: no answer. */
COHUE_MUST_USE enum err dmarc_published(struct bytes domain, const struct authentication_dns *dns,
					struct dmarc_published *ret);
/*
 * Whether `destination` (the domain of an address in rua=) takes reports about `domain` (section 7.1): within one organisational domain always, else
 * where it says so in the DNS. *ret_rua is empty, or what it asks for instead, whose domain must be the same. ERR_NOT_FOUND: it does not;
 * ERR_AGAIN: no answer.
 */
COHUE_MUST_USE enum err dmarc_takes_reports(struct bytes domain, struct bytes destination,
					    const struct authentication_dns *dns,
					    char ret_rua[DMARC_RUA_MAX + 1]);
/* The organisational domain (section 3.2) of A-labels: "mail.example.co.uk" -> "example.co.uk"; itself where there is none above. */
struct bytes dmarc_organisational(struct bytes domain);
/* Loads the list: before the sandbox. ERR_IO. */
COHUE_MUST_USE enum err dmarc_prepare(void);

#endif
