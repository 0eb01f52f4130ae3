/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/mta_sts.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

void
sts_policy_init(struct sts_policy *p)
{
	*p = (struct sts_policy){.hosts = BUF_INIT(STS_POLICY_MAX)};
}

void
sts_policy_clear(struct sts_policy *p)
{
	buf_clear(&p->hosts);
	sts_policy_init(p);
}

/* ---- the record ---- */

static struct bytes
next_field(struct bytes *rest, uint8_t end)
{
	ptrdiff_t at = bytes_find(*rest, end);
	struct bytes field = at >= 0 ? bytes_slice(*rest, 0, (size_t)at) : *rest;
	*rest = at >= 0 ? bytes_from(*rest, (size_t)at + 1) : BYTES_EMPTY;
	return field;
}

static bool
is_alnum(struct bytes a)
{
	for (size_t i = 0; i < a.len; i++) {
		if (!ascii_is_alnum(a.ptr[i])) {
			return false;
		}
	}
	return a.len > 0;
}

enum err
sts_record_read(struct bytes text, struct bytes *ret_id)
{
	struct bytes rest = text;
	struct bytes id = BYTES_EMPTY;
	if (!bytes_is(bytes_trim(next_field(&rest, ';')), "v=STSv1") || !bytes_starts_with(text, "v=STSv1")) {
		return ERR_NOT_FOUND;
	}
	while (rest.len > 0) {
		struct bytes field = bytes_trim(next_field(&rest, ';'));
		ptrdiff_t equals = bytes_find(field, '=');
		if (field.len == 0 && bytes_trim(rest).len == 0) {
			break;
		}
		if (equals <= 0) {
			return ERR_FORMAT;
		}
		if (bytes_is(bytes_slice(field, 0, (size_t)equals), "id")) {
			if (id.len > 0) {
				return ERR_FORMAT;
			}
			id = bytes_from(field, (size_t)equals + 1);
			if (!is_alnum(id) || id.len > STS_ID_MAX) {
				return ERR_FORMAT;
			}
		}
	}
	if (id.len == 0) {
		return ERR_FORMAT;
	}
	*ret_id = id;
	return ERR_OK;
}

enum err
sts_answer_read(struct bytes rdata, char ret[STS_ID_MAX + 1])
{
	enum { TEXT_MAX = 4096, RECORDS_MAX = 64 };
	struct wire_reader r;
	struct buf text = BUF_INIT(TEXT_MAX);
	char found[STS_ID_MAX + 1] = "";
	size_t records = 0;
	bool wrong = false;
	wire_reader_init(&r, rdata);
	for (size_t n = 0; n < RECORDS_MAX && r.rest.len > 0 && r.error == ERR_OK; n++) {
		struct bytes record = wire_get_bytes(&r, UINT16_MAX);
		struct bytes id;
		enum err e = ERR_OK;
		buf_reset(&text);
		while (record.len > 0 && e == ERR_OK) {
			size_t len = record.ptr[0];
			e = len + 1 > record.len ? ERR_FORMAT
						 : buf_append(&text, bytes_slice(record, 1, len));
			record = bytes_from(record, len + 1);
		}
		e = e == ERR_OK ? sts_record_read(buf_bytes(&text), &id) : ERR_NOT_FOUND;
		if (e == ERR_NOT_FOUND) {
			continue;
		}
		records++;
		wrong = wrong || e != ERR_OK;
		if (e == ERR_OK) {
			memcpy(found, id.ptr, id.len);
			found[id.len] = '\0';
		}
	}
	buf_clear(&text);
	if (records != 1 || wrong) {
		return ERR_NOT_FOUND;
	}
	memcpy(ret, found, sizeof(found));
	return ERR_OK;
}

/* ---- the policy ---- */

static bool
is_pattern(struct bytes a)
{
	size_t label = 0;
	a = bytes_starts_with(a, "*.") ? bytes_from(a, 2) : a;
	for (size_t i = 0; i < a.len; i++) {
		uint8_t c = a.ptr[i];
		if (c == '.') {
			if (label == 0) {
				return false;
			}
			label = 0;
		} else if ((!ascii_is_alnum(c) && c != '-' && c != '_') || ++label > 63) {
			return false;
		}
	}
	return label > 0 && a.len <= STS_DOMAIN_MAX;
}

static enum err
add_host(struct sts_policy *p, struct bytes pattern)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < pattern.len && e == ERR_OK; i++) {
		e = buf_append_byte(&p->hosts, ascii_lower(pattern.ptr[i]));
	}
	return e == ERR_OK ? buf_append_byte(&p->hosts, 0) : e;
}

struct reading {
	struct sts_policy *p;
	size_t hosts;
	bool version, mode, age;
};

static enum err
take_field(struct reading *r, struct bytes key, struct bytes value)
{
	if (bytes_is(key, "version") && !r->version) {
		r->version = true;
		return bytes_is(value, "STSv1") ? ERR_OK : ERR_FORMAT;
	}
	if (bytes_is(key, "mode") && !r->mode) {
		static const char *const modes[] = {
		    [STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce"};
		for (unsigned m = STS_NONE; m <= STS_ENFORCE && !r->mode; m++) {
			r->mode = bytes_is(value, modes[m]);
			r->p->mode = (enum sts_mode)m;
		}
		return r->mode ? ERR_OK : ERR_FORMAT;
	}
	if (bytes_is(key, "max_age") && !r->age) {
		uint64_t age = 0;
		r->age = true;
		if (value.len > 10 || bytes_to_u64(value, UINT64_MAX, &age) != ERR_OK) {
			return ERR_FORMAT;
		}
		r->p->max_age = (uint32_t)(age < STS_AGE_MOST ? age : STS_AGE_MOST);
		return ERR_OK;
	}
	if (bytes_is(key, "mx")) {
		if (value.len > 1 && value.ptr[value.len - 1] == '.') {
			value.len--;
		}
		if (!is_pattern(value)) {
			return ERR_FORMAT;
		}
		r->hosts++;
		return add_host(r->p, value);
	}
	/* What is not known is for others; what comes again does not count (section 3.2). */
	return is_alnum(bytes_slice(key, 0, 1)) ? ERR_OK : ERR_FORMAT;
}

enum err
sts_policy_read(struct bytes text, struct sts_policy *p)
{
	struct reading r = {.p = p};
	static const char mark[] = "\xef\xbb\xbf";
	struct bytes rest = bytes_starts_with(text, mark) ? bytes_from(text, sizeof(mark) - 1) : text;
	enum err e = text.len > STS_POLICY_MAX ? ERR_LIMIT : ERR_OK;
	while (rest.len > 0 && e == ERR_OK) {
		struct bytes line = next_field(&rest, '\n');
		if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
			line.len--;
		}
		if (bytes_trim(line).len == 0) {
			continue;
		}
		ptrdiff_t colon = bytes_find(line, ':');
		e = colon > 0 ? take_field(&r, bytes_slice(line, 0, (size_t)colon),
					   bytes_trim(bytes_from(line, (size_t)colon + 1)))
			      : ERR_FORMAT;
	}
	if (e == ERR_OK && (!r.version || !r.mode || !r.age || (r.hosts == 0 && p->mode != STS_NONE))) {
		e = ERR_FORMAT;
	}
	if (e != ERR_OK) {
		sts_policy_clear(p);
	}
	return e;
}

bool
sts_content_type_fits(struct bytes headers)
{
	size_t seen = 0;
	bool fits = false;
	while (headers.len > 0) {
		struct bytes line = next_field(&headers, '\n');
		ptrdiff_t colon = bytes_find(line, ':');
		if (colon > 0 && bytes_is_nocase(bytes_slice(line, 0, (size_t)colon), "Content-Type")) {
			struct bytes value = bytes_from(line, (size_t)colon + 1);
			fits = bytes_is_nocase(bytes_trim(next_field(&value, ';')), "text/plain");
			seen++;
		}
	}
	return fits && seen == 1;
}

static bool
matches(struct bytes pattern, struct bytes host)
{
	if (!bytes_starts_with(pattern, "*.")) {
		return bytes_equal_nocase(pattern, host);
	}
	ptrdiff_t dot = bytes_find(host, '.');
	return dot > 0 && bytes_equal_nocase(bytes_from(pattern, 2), bytes_from(host, (size_t)dot + 1));
}

bool
sts_policy_names(const struct sts_policy *p, const char *host)
{
	struct bytes rest = buf_bytes(&p->hosts);
	while (rest.len > 0) {
		if (matches(next_field(&rest, 0), bytes_str(host))) {
			return true;
		}
	}
	return false;
}
