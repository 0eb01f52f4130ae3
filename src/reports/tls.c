/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* TLS reports: RFC 8460 section 4. */
#include "base/json.h"
#include "reports/report.h"

struct tls_sums {
	uint64_t good;
	uint64_t bad;
	uint64_t results[REPORT_TLS__COUNT];
};

static enum report_tls_result
result_of(struct bytes name)
{
	static const struct {
		const char *name;
		enum report_tls_result result;
	} names[] = {
	    {"starttls-not-supported", REPORT_TLS_STARTTLS},
	    {"certificate-host-mismatch", REPORT_TLS_HOST},
	    {"certificate-expired", REPORT_TLS_EXPIRED},
	    {"certificate-not-trusted", REPORT_TLS_UNTRUSTED},
	    {"tlsa-invalid", REPORT_TLS_DANE},
	    {"dnssec-invalid", REPORT_TLS_DANE},
	    {"dane-required", REPORT_TLS_DANE},
	    {"sts-policy-fetch-error", REPORT_TLS_STS},
	    {"sts-policy-invalid", REPORT_TLS_STS},
	    {"sts-webpki-invalid", REPORT_TLS_STS},
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (bytes_is(name, names[i].name)) {
			return names[i].result;
		}
	}
	return REPORT_TLS_OTHER;
}

/* Of a member that is missing: 0. */
static enum err
read_count(struct bytes object, const char *name, uint64_t *ret)
{
	struct bytes value = json_member(object, name);
	return value.len == 0 ? ERR_OK : bytes_to_u64(json_written(value), REPORT_COUNT_MAX, ret);
}

/* *rows: how many more may come. */
static enum err
read_policy(struct bytes policy, size_t *rows, struct tls_sums *ret)
{
	struct bytes summary = json_member(policy, "summary");
	struct bytes failures = json_member(policy, "failure-details");
	struct bytes failure;
	size_t at = 0;
	enum err e = read_count(summary, "total-successful-session-count", &ret->good);
	e = e == ERR_OK ? read_count(summary, "total-failure-session-count", &ret->bad) : e;
	while (e == ERR_OK && (failure = json_next(failures, &at)).len > 0) {
		uint64_t count = 0;
		e = (*rows)-- == 0 ? ERR_LIMIT : read_count(failure, "failed-session-count", &count);
		ret->results[result_of(json_written(json_member(failure, "result-type")))] += count;
	}
	return e;
}

/* Of the policies for this domain. ERR_FORMAT: there is none. */
static enum err
read_report(struct bytes text, const char *domain, struct tls_sums *ret)
{
	struct bytes policies = json_member(text, "policies");
	struct bytes policy;
	size_t rows = REPORT_ROWS_MAX;
	size_t at = 0;
	bool any = false;
	enum err e = ERR_OK;
	while (e == ERR_OK && (policy = json_next(policies, &at)).len > 0) {
		struct tls_sums one = {.good = 0};
		struct bytes name = json_member(json_member(policy, "policy"), "policy-domain");
		e = rows-- == 0 ? ERR_LIMIT : read_policy(policy, &rows, &one);
		if (e == ERR_OK && bytes_is_nocase(json_written(name), domain)) {
			any = true;
			ret->good += one.good;
			ret->bad += one.bad;
			for (size_t i = 0; i < REPORT_TLS__COUNT; i++) {
				ret->results[i] += one.results[i];
			}
		}
	}
	return e == ERR_OK && !any ? ERR_FORMAT : e;
}

enum err
report_add_tls(struct report_sums *sums, const char *domain, struct bytes text)
{
	struct tls_sums s = {.good = 0};
	enum err e = json_check_octets(text);
	e = e == ERR_OK ? read_report(text, domain, &s) : e;
	if (e == ERR_OK) {
		sums->tls_reports++;
		sums->tls_good += s.good;
		sums->tls_bad += s.bad;
		for (size_t i = 0; i < REPORT_TLS__COUNT; i++) {
			sums->tls_results[i] += s.results[i];
		}
	}
	return e;
}
