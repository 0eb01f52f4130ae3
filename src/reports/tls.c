/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* TLS reports: RFC 8460 section 4, by a small reader of JSON that keeps no tree. */
#include <string.h>

#include "reports/report.h"

/* ---- JSON (RFC 8259): every value is told with the keys that lead to it; those of arrays are empty. ---- */

struct json {
	struct bytes rest;
	size_t depth;
	struct bytes keys[REPORT_DEPTH_MAX];
	bool is_object[REPORT_DEPTH_MAX];
};

struct json_value {
	struct bytes text; /* of a string: between the quotes, escapes as they stand */
	bool ends;         /* an object, or array, ends; it has no text */
};

static void
skip_space(struct json *j)
{
	while (j->rest.len > 0 && memchr(" \t\r\n", j->rest.ptr[0], 4) != NULL) {
		j->rest = bytes_from(j->rest, 1);
	}
}

static bool
take(struct json *j, char c)
{
	skip_space(j);
	if (j->rest.len == 0 || j->rest.ptr[0] != (uint8_t)c) {
		return false;
	}
	j->rest = bytes_from(j->rest, 1);
	return true;
}

/* Behind the opening quote. */
static bool
take_string(struct json *j, struct bytes *ret)
{
	for (size_t i = 0; i < j->rest.len; i++) {
		uint8_t c = j->rest.ptr[i];
		if (c == '"') {
			*ret = bytes_slice(j->rest, 0, i);
			j->rest = bytes_from(j->rest, i + 1);
			return true;
		}
		if (c < ' ') {
			return false;
		}
		i += c == '\\' ? 1 : 0;
	}
	return false;
}

static bool
take_word(struct json *j, struct bytes *ret)
{
	size_t n = 0;
	while (n < j->rest.len && (ascii_is_alpha(j->rest.ptr[n]) || ascii_is_digit(j->rest.ptr[n]) ||
				   memchr("+-.", j->rest.ptr[n], 3) != NULL)) {
		n++;
	}
	*ret = bytes_slice(j->rest, 0, n);
	j->rest = bytes_from(j->rest, n);
	return n > 0 && (ascii_is_digit(ret->ptr[0]) || ret->ptr[0] == '-' || bytes_is(*ret, "true") ||
			 bytes_is(*ret, "false") || bytes_is(*ret, "null"));
}

/* The key of the next member of the object that we are in. */
static bool
take_key(struct json *j)
{
	return take(j, '"') && take_string(j, &j->keys[j->depth - 1]) && take(j, ':');
}

typedef enum err json_fn(void *arg, const struct json *j, const struct json_value *v);

static enum err
json_read(struct json *j, json_fn *fn, void *arg)
{
	enum err e = ERR_OK;
	do {
		struct json_value v = {.ends = false};
		bool opened = false;
		if (take(j, '{') || take(j, '[')) {
			bool object = j->rest.ptr[-1] == '{';
			if (j->depth == REPORT_DEPTH_MAX) {
				return ERR_LIMIT;
			}
			j->is_object[j->depth] = object;
			j->keys[j->depth++] = BYTES_EMPTY;
			skip_space(j);
			opened = j->rest.len > 0 && j->rest.ptr[0] != (object ? '}' : ']');
			if (opened && object && !take_key(j)) {
				return ERR_FORMAT;
			}
		} else if (take(j, '"') ? take_string(j, &v.text) : take_word(j, &v.text)) {
			e = fn(arg, j, &v);
		} else {
			return ERR_FORMAT;
		}
		/* What ends behind the value, and what follows. */
		while (e == ERR_OK && !opened && j->depth > 0) {
			if (take(j, ',')) {
				if (j->is_object[j->depth - 1] && !take_key(j)) {
					return ERR_FORMAT;
				}
				break;
			}
			if (!take(j, j->is_object[j->depth - 1] ? '}' : ']')) {
				return ERR_FORMAT;
			}
			j->depth--;
			v = (struct json_value){.ends = true};
			e = fn(arg, j, &v);
		}
	} while (e == ERR_OK && j->depth > 0);
	skip_space(j);
	return e == ERR_OK && j->rest.len > 0 ? ERR_FORMAT : e;
}

/* ---- the report ---- */

struct failure {
	enum report_tls_result result;
	uint64_t count;
};

struct tls_sums {
	uint64_t good;
	uint64_t bad;
	uint64_t results[REPORT_TLS__COUNT];
};

struct reading {
	const char *domain;
	struct tls_sums sums; /* of the whole report */
	struct tls_sums one;  /* of the policy at hand */
	bool ours;
	bool any;
	struct failure failure;
	size_t values;
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

/* policies[] . a . b, or policies[] . a[] . b. */
static bool
is_at(const struct json *j, size_t depth, const char *a, const char *b)
{
	return j->depth == depth && bytes_is(j->keys[0], "policies") && bytes_is(j->keys[2], a) &&
	       (b == NULL || bytes_is(j->keys[depth - 1], b));
}

static void
end_policy(struct reading *r)
{
	if (r->ours) {
		r->any = true;
		r->sums.good += r->one.good;
		r->sums.bad += r->one.bad;
		for (size_t i = 0; i < REPORT_TLS__COUNT; i++) {
			r->sums.results[i] += r->one.results[i];
		}
	}
	memset(&r->one, 0, sizeof(r->one));
	r->ours = false;
}

static enum err
on_value(void *arg, const struct json *j, const struct json_value *v)
{
	struct reading *r = arg;
	if (++r->values > REPORT_ROWS_MAX) {
		return ERR_LIMIT;
	}
	if (v->ends) {
		/* The keys of what has ended stand until others come. */
		if (j->depth == 2 && bytes_is(j->keys[0], "policies")) {
			end_policy(r);
		} else if (is_at(j, 4, "failure-details", NULL)) {
			r->one.results[r->failure.result] += r->failure.count;
			r->failure = (struct failure){.result = REPORT_TLS_OTHER};
		}
	} else if (is_at(j, 4, "policy", "policy-domain")) {
		r->ours = bytes_is_nocase(v->text, r->domain);
	} else if (is_at(j, 4, "summary", "total-successful-session-count")) {
		return bytes_to_u64(v->text, REPORT_COUNT_MAX, &r->one.good);
	} else if (is_at(j, 4, "summary", "total-failure-session-count")) {
		return bytes_to_u64(v->text, REPORT_COUNT_MAX, &r->one.bad);
	} else if (is_at(j, 5, "failure-details", "result-type")) {
		r->failure.result = result_of(v->text);
	} else if (is_at(j, 5, "failure-details", "failed-session-count")) {
		return bytes_to_u64(v->text, REPORT_COUNT_MAX, &r->failure.count);
	}
	return ERR_OK;
}

enum err
report_add_tls(struct report_sums *sums, const char *domain, struct bytes text)
{
	struct json j = {.rest = text};
	struct reading r = {.domain = domain, .failure = {.result = REPORT_TLS_OTHER}};
	enum err e = json_read(&j, on_value, &r);
	if (e == ERR_OK && !r.any) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		sums->tls_reports++;
		sums->tls_good += r.sums.good;
		sums->tls_bad += r.sums.bad;
		for (size_t i = 0; i < REPORT_TLS__COUNT; i++) {
			sums->tls_results[i] += r.sums.results[i];
		}
	}
	return e;
}
