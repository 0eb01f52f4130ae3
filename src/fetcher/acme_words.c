/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fetcher/acme_words.h"

#include <string.h>

#include "base/json.h"
#include "base/wire.h"

struct bytes
acme_header(struct bytes headers, const char *name)
{
	while (headers.len > 0) {
		ptrdiff_t end = bytes_find(headers, '\n');
		struct bytes line = end < 0 ? headers : bytes_slice(headers, 0, (size_t)end);
		headers = bytes_from(headers, line.len + 1);
		ptrdiff_t colon = bytes_find(line, ':');
		if (colon > 0 && bytes_is_nocase(bytes_slice(line, 0, (size_t)colon), name)) {
			return bytes_trim(bytes_from(line, (size_t)colon + 1));
		}
	}
	return BYTES_EMPTY;
}

struct bytes
acme_text(struct bytes value, size_t least, size_t most)
{
	struct bytes t = bytes_trim(value);
	if (json_kind(t) != JSON_STRING || t.len < 2 + least || t.len > 2 + most) {
		return BYTES_EMPTY;
	}
	t = bytes_slice(t, 1, t.len - 2);
	return bytes_find(t, '\\') >= 0 ? BYTES_EMPTY : t;
}

void
acme_error(struct bytes document, char ret[ACME_ERROR_MAX])
{
	static const char prefix[] = "urn:ietf:params:acme:error:";
	ret[0] = '\0';
	if (json_check(document) != ERR_OK) {
		return;
	}
	struct bytes inner = json_member(document, "error");
	struct bytes type = acme_text(json_member(inner.len > 0 ? inner : document, "type"), 1, 256);
	if (!bytes_starts_with(type, prefix)) {
		return;
	}
	type = bytes_from(type, sizeof(prefix) - 1);
	for (size_t i = 0; i < type.len; i++) {
		if (!ascii_is_alpha(type.ptr[i])) {
			return;
		}
	}
	if (type.len > 0 && type.len < ACME_ERROR_MAX) {
		memcpy(ret, type.ptr, type.len);
		ret[type.len] = '\0';
	}
}

const char *
acme_remedy(const char *error)
{
	static const struct {
		const char *error;
		const char *remedy;
	} rows[] = {
	    {"dns", "publish the records that `cohue dns` prints"},
	    {"connection", "see that ports 80 and 443 of this machine are reached from outside"},
	    {"incorrectResponse",
	     "see that ports 80 and 443 lead to cohue, and that the names' records name this machine"},
	    {"unauthorized",
	     "see that ports 80 and 443 lead to cohue, and that the names' records name this machine"},
	    {"tls", "see that port 443 leads to cohue itself"},
	    {"caa", "let the CAA records of the domain name this authority"},
	    {"rateLimited", "wait: it is tried again by itself"},
	    {"externalAccountRequired", "choose an authority that asks for no account beforehand"},
	    {"invalidContact", "correct acme.contact"},
	    {"unsupportedContact", "correct acme.contact"},
	    {"rejectedIdentifier", "choose another authority: this one gives none for these names"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(rows[i].error, error) == 0) {
			return rows[i].remedy;
		}
	}
	return "it is tried again by itself; if that goes on, see acme.directory";
}

enum acme_status
acme_status_of(struct bytes object)
{
	static const struct {
		const char *text;
		enum acme_status status;
	} rows[] = {{"pending", ACME_STATUS_PENDING},
		    {"ready", ACME_STATUS_READY},
		    {"processing", ACME_STATUS_PROCESSING},
		    {"valid", ACME_STATUS_VALID},
		    {"invalid", ACME_STATUS_INVALID}};
	struct bytes value = json_member(object, "status");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (json_is(value, rows[i].text)) {
			return rows[i].status;
		}
	}
	return ACME_STATUS_OTHER;
}

struct bytes
acme_challenge_find(struct bytes authorisation, const char *type)
{
	struct bytes list = json_member(authorisation, "challenges");
	size_t at = 0;
	for (struct bytes each; (each = json_next(list, &at)).len > 0;) {
		if (json_is(json_member(each, "type"), type)) {
			return each;
		}
	}
	return BYTES_EMPTY;
}

enum acme_tlsa
acme_tlsa_of(struct bytes answers, const uint8_t id[32])
{
	struct wire_reader r;
	bool some = answers.len > 0;
	wire_reader_init(&r, answers);
	while (r.rest.len > 0 && r.error == ERR_OK) {
		struct bytes record = wire_get_bytes(&r, UINT16_MAX);
		if (r.error == ERR_OK && record.len == 3 + 32 && record.ptr[0] == 3 && record.ptr[1] == 1 &&
		    record.ptr[2] == 1 && bytes_equal(bytes_from(record, 3), bytes_of(id, 32))) {
			return ACME_TLSA_THERE;
		}
	}
	return some ? ACME_TLSA_MISSING : ACME_TLSA_NONE;
}

msec
acme_renewal(msec not_before, msec not_after)
{
	return not_after <= not_before ? not_before : not_before + (not_after - not_before) / 3 * 2;
}

msec
acme_backoff(unsigned failures)
{
	return failures > 4 ? 12 * MSEC_HOUR : MSEC_HOUR << (failures > 0 ? failures - 1 : 0);
}
