/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The report in a message, and complaints (RFC 5965). */
#include <string.h>

#include "mail/decode.h"
#include "mail/structure.h"
#include "reports/report.h"
#include "reports/unpack.h"

enum { PARTS_LOOKED_AT = 20 };

static const char *const tls_names[REPORT_TLS__COUNT] = {
    [REPORT_TLS_STARTTLS] = "starttls",   [REPORT_TLS_HOST] = "other_name", [REPORT_TLS_EXPIRED] = "expired",
    [REPORT_TLS_UNTRUSTED] = "untrusted", [REPORT_TLS_DANE] = "dane",       [REPORT_TLS_STS] = "mta_sts",
    [REPORT_TLS_OTHER] = "other",
};

static const char *const complaint_names[REPORT_COMPLAINT__COUNT] = {
    [REPORT_COMPLAINT_ABUSE] = "abuse",
    [REPORT_COMPLAINT_FRAUD] = "fraud",
    [REPORT_COMPLAINT_VIRUS] = "virus",
    [REPORT_COMPLAINT_NOT_SPAM] = "not-spam",
    [REPORT_COMPLAINT_AUTHENTICATION] = "auth-failure",
    [REPORT_COMPLAINT_OTHER] = "other",
};

const char *
report_tls_result_name(enum report_tls_result r)
{
	return r < REPORT_TLS__COUNT ? tls_names[r] : "?";
}

const char *
report_complaint_name(enum report_complaint c)
{
	return c < REPORT_COMPLAINT__COUNT ? complaint_names[c] : "?";
}

enum err
report_add_complaint(struct report_sums *sums, struct bytes part)
{
	struct mail_field f;
	if (!mail_field_find(part, "Feedback-Type", &f)) {
		return ERR_FORMAT;
	}
	struct bytes type = bytes_trim(f.value);
	size_t i = 0;
	while (i < REPORT_COMPLAINT_OTHER && !bytes_is_nocase(type, complaint_names[i])) {
		i++;
	}
	sums->complaints[i]++;
	return ERR_OK;
}

enum part_kind { PART_NONE, PART_DMARC, PART_TLS, PART_COMPLAINT };

/* RFC 7489 section 7.2.1.1, RFC 8460 section 3, RFC 5965 section 2. */
static enum part_kind
kind_of(const struct mail_part *p)
{
	if (p->kind == MAIL_PART_MULTIPART) {
		return PART_NONE;
	}
	if (bytes_is_nocase(p->type, "message") && bytes_is_nocase(p->subtype, "feedback-report")) {
		return PART_COMPLAINT;
	}
	if (bytes_is_nocase(p->type, "application") &&
	    (bytes_is_nocase(p->subtype, "tlsrpt+gzip") || bytes_is_nocase(p->subtype, "tlsrpt+json"))) {
		return PART_TLS;
	}
	bool packed = bytes_is_nocase(p->type, "application") &&
		      (bytes_is_nocase(p->subtype, "gzip") || bytes_is_nocase(p->subtype, "x-gzip") ||
		       bytes_is_nocase(p->subtype, "zip") ||
		       bytes_is_nocase(p->subtype, "x-zip-compressed") || bytes_is_nocase(p->subtype, "xml"));
	return packed || (bytes_is_nocase(p->type, "text") && bytes_is_nocase(p->subtype, "xml")) ? PART_DMARC
												  : PART_NONE;
}

static enum err
add_part(struct report_sums *sums, const char *domain, struct bytes message, const struct mail_part *p,
	 enum part_kind kind)
{
	struct bytes body = bytes_slice(message, p->body_at, p->body_len);
	struct buf decoded = BUF_INIT(UNPACK_MAX);
	struct buf plain = BUF_INIT(UNPACK_MAX);
	enum err e = mail_decode(mail_encoding_of(p->encoding), body, &decoded);
	if (e == ERR_OK && kind == PART_COMPLAINT) {
		e = report_add_complaint(sums, buf_bytes(&decoded));
	} else if (e == ERR_OK) {
		e = report_unpack(buf_bytes(&decoded), &plain);
		e = e != ERR_OK        ? e
		    : kind == PART_TLS ? report_add_tls(sums, domain, buf_bytes(&plain))
				       : report_add_dmarc(sums, domain, buf_bytes(&plain));
	}
	buf_wipe(&decoded);
	buf_wipe(&plain);
	return e;
}

bool
report_add_message(struct report_sums *sums, const char *domain, struct bytes message, bool proved)
{
	struct arena arena;
	struct mail_structure s;
	bool found = false;
	arena_init(&arena, MAIL_PARSE_MEMORY);
	enum err e = mail_parse(&arena, message, &s);
	for (size_t i = 0; e == ERR_OK && !found && i < s.count && i < PARTS_LOOKED_AT; i++) {
		enum part_kind kind = kind_of(&s.parts[i]);
		found = kind != PART_NONE;
		if (found && !proved) {
			sums->unproved++;
		} else if (found && add_part(sums, domain, message, &s.parts[i], kind) != ERR_OK) {
			sums->unread++;
		}
	}
	arena_clear(&arena);
	return found;
}
