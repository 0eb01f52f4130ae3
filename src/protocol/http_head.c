/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The head of a request (RFC 9112 sections 2 to 6): one reading, or none. */
#include "protocol/http_server_private.h"

enum { METHOD_MAX = 16 };

/* RFC 9110 section 5.6.2 */
static bool
is_token(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (!ascii_is_alnum(c) && (c == 0 || bytes_find(BYTES_LIT("!#$%&'*+-.^_`|~"), c) < 0)) {
			return false;
		}
	}
	return text.len > 0;
}

/* What may stand in a target: RFC 3986's characters, without a fragment. */
static bool
is_target(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c <= ' ' || c >= 0x7f || bytes_find(BYTES_LIT("\"#<>\\^`{|}"), c) >= 0) {
			return false;
		}
	}
	return text.len > 0;
}

/* host [":" port], RFC 9110 section 7.2. The port is cut off: the connection has one. */
static bool
read_authority(struct bytes text, struct bytes *ret_host)
{
	struct bytes host = text;
	ptrdiff_t colon = bytes_find_last(text, ':');
	if (text.len > 0 && text.ptr[0] == '[') {
		ptrdiff_t end = bytes_find(text, ']');
		if (end < 0) {
			return false;
		}
		host = bytes_slice(text, 0, (size_t)end + 1);
		colon = host.len == text.len ? -1 : end + 1;
	} else if (colon >= 0) {
		host = bytes_slice(text, 0, (size_t)colon);
	}
	uint64_t port = 0;
	struct bytes digits = colon < 0 ? BYTES_EMPTY : bytes_from(text, (size_t)colon + 1);
	if (colon >= 0 && (text.ptr[colon] != ':' ||
			   (digits.len > 0 && bytes_to_u64(digits, UINT16_MAX, &port) != ERR_OK))) {
		return false;
	}
	bool literal = host.len > 0 && host.ptr[0] == '[';
	for (size_t i = 0; i < host.len; i++) {
		uint8_t c = host.ptr[i];
		if (!ascii_is_alnum(c) && c != '.' && c != '-' && c != '_' &&
		    !(literal && (c == ':' || c == '[' || c == ']'))) {
			return false;
		}
	}
	if (host.len > 0 && host.ptr[host.len - 1] == '.') {
		host.len--;
	}
	*ret_host = host;
	return host.len > 0 && host.len <= HTTP_HOST_MAX;
}

static unsigned
read_method(struct bytes text, enum http_method *ret)
{
	static const char *const known[] = {"OPTIONS", "PUT", "DELETE", "TRACE", "CONNECT", "PATCH"};
	/* Methods are case-sensitive (RFC 9110 section 9.1). */
	if (bytes_is(text, "GET") || bytes_is(text, "HEAD") || bytes_is(text, "POST")) {
		*ret = text.ptr[0] == 'G' ? HTTP_GET : text.ptr[0] == 'H' ? HTTP_HEAD : HTTP_POST;
		return 0;
	}
	if (text.len > METHOD_MAX || !is_token(text)) {
		return text.len > METHOD_MAX && is_token(text) ? 501 : 400;
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (bytes_is(text, known[i])) {
			return 405;
		}
	}
	return 501;
}

/* RFC 9112 section 3.2: origin form, or absolute form, whose authority counts more than Host. */
static unsigned
read_target(struct bytes text, struct http_request *r)
{
	if (!is_target(text)) {
		return 400;
	}
	size_t scheme = bytes_starts_with_nocase(text, "http://")    ? 7
			: bytes_starts_with_nocase(text, "https://") ? 8
								     : 0;
	struct bytes rest = text;
	if (scheme > 0) {
		struct bytes authority = bytes_from(text, scheme);
		size_t n = 0;
		while (n < authority.len && authority.ptr[n] != '/' && authority.ptr[n] != '?') {
			n++;
		}
		if (!read_authority(bytes_slice(authority, 0, n), &r->host)) {
			return 400;
		}
		rest = bytes_from(authority, n);
	}
	ptrdiff_t mark = bytes_find(rest, '?');
	r->path = mark < 0 ? rest : bytes_slice(rest, 0, (size_t)mark);
	r->query = mark < 0 ? BYTES_EMPTY : bytes_from(rest, (size_t)mark + 1);
	if (scheme > 0 && r->path.len == 0) {
		r->path = BYTES_LIT("/");
	}
	return r->path.len > 0 && r->path.ptr[0] == '/' ? 0 : 400;
}

static unsigned
read_request_line(struct bytes line, struct http_head *h, bool *ret_old)
{
	ptrdiff_t first = bytes_find(line, ' ');
	ptrdiff_t last = bytes_find_last(line, ' ');
	if (first < 0 || last == first) {
		return 400;
	}
	struct bytes version = bytes_from(line, (size_t)last + 1);
	if (version.len != 8 || !bytes_starts_with(version, "HTTP/") || !ascii_is_digit(version.ptr[5]) ||
	    version.ptr[6] != '.' || !ascii_is_digit(version.ptr[7])) {
		return 400;
	}
	if (version.ptr[5] != '1') {
		return 505;
	}
	*ret_old = version.ptr[7] == '0';
	h->keep = !*ret_old;
	unsigned status = read_method(bytes_slice(line, 0, (size_t)first), &h->request.method);
	return status != 0 ? status
			   : read_target(bytes_slice(line, (size_t)first + 1, (size_t)(last - first) - 1),
					 &h->request);
}

/* A list's next member, RFC 9110 section 5.6.1. False at the end. */
static bool
next_member(struct bytes *rest, struct bytes *ret)
{
	if (rest->len == 0) {
		return false;
	}
	ptrdiff_t comma = bytes_find(*rest, ',');
	*ret = bytes_trim(comma < 0 ? *rest : bytes_slice(*rest, 0, (size_t)comma));
	*rest = comma < 0 ? BYTES_EMPTY : bytes_from(*rest, (size_t)comma + 1);
	return true;
}

struct seen {
	unsigned hosts;
	unsigned lengths;
	unsigned codings;
};

static unsigned
take_field(struct bytes name, struct bytes value, struct http_head *h, struct seen *seen)
{
	struct bytes member;
	if (bytes_is_nocase(name, "host")) {
		struct bytes host;
		if (seen->hosts++ > 0 || !read_authority(value, &host)) {
			return 400;
		}
		h->request.host = h->request.host.len > 0 ? h->request.host : host;
	} else if (bytes_is_nocase(name, "content-length")) {
		if (seen->lengths++ > 0 || value.len == 0) {
			return 400;
		}
		for (size_t i = 0; i < value.len; i++) {
			if (!ascii_is_digit(value.ptr[i])) {
				return 400;
			}
		}
		return bytes_to_u64(value, HTTP_BODY_MAX, &h->length) == ERR_OK ? 0 : 413;
	} else if (bytes_is_nocase(name, "transfer-encoding")) {
		if (seen->codings++ > 0) {
			return 400;
		}
		h->chunked = bytes_is_nocase(value, "chunked");
		return h->chunked ? 0 : 501;
	} else if (bytes_is_nocase(name, "connection")) {
		while (next_member(&value, &member)) {
			h->keep = h->keep && !bytes_is_nocase(member, "close");
		}
	} else if (bytes_is_nocase(name, "expect")) {
		h->expects = bytes_is_nocase(value, "100-continue");
		return h->expects ? 0 : 417;
	}
	return 0;
}

static unsigned
read_field(struct bytes line, struct http_head *h, struct seen *seen)
{
	ptrdiff_t colon = bytes_find(line, ':');
	/* A fold begins with a blank, and a blank is in no name (RFC 9112 sections 5.1 and 5.2). */
	if (colon <= 0 || !is_token(bytes_slice(line, 0, (size_t)colon))) {
		return 400;
	}
	struct bytes value = bytes_trim(bytes_from(line, (size_t)colon + 1));
	for (size_t i = 0; i < value.len; i++) {
		if ((value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] == 0x7f) {
			return 400;
		}
	}
	return take_field(bytes_slice(line, 0, (size_t)colon), value, h, seen);
}

static struct bytes
take_line(struct bytes *rest)
{
	ptrdiff_t at = bytes_search(*rest, BYTES_LIT("\r\n"));
	struct bytes line = at < 0 ? *rest : bytes_slice(*rest, 0, (size_t)at);
	*rest = at < 0 ? BYTES_EMPTY : bytes_from(*rest, (size_t)at + 2);
	return line;
}

unsigned
http_head_read(struct bytes head, struct http_head *ret)
{
	struct http_head h = {.keep = false};
	struct seen seen = {.hosts = 0};
	struct bytes rest = head;
	bool old = false;
	unsigned status = read_request_line(take_line(&rest), &h, &old);
	unsigned worst = status;
	for (unsigned n = 0; rest.len > 0 && worst != 400; n++) {
		if (n == HTTP_FIELDS_MAX) {
			return 431;
		}
		status = read_field(take_line(&rest), &h, &seen);
		/* What is broken is told before what is not offered. */
		worst = worst == 0 || status == 400 ? status : worst;
	}
	if (worst == 400 || (seen.lengths > 0 && seen.codings > 0) || (old && seen.codings > 0)) {
		return 400;
	}
	if (worst != 505 && !old && seen.hosts == 0) {
		return 400; /* RFC 9112 section 3.2 */
	}
	h.expects = h.expects && !old;
	*ret = h;
	return worst;
}
