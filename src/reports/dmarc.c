/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Aggregate reports: the few elements of RFC 7489 appendix C that are needed, by a small reader of XML without DTD. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reports/report.h"

enum { NAME_MAX_LEN = 64 };

/* ---- XML: elements and text. A DTD (entities that grow) is refused. ---- */

struct xml {
	struct bytes rest;
	struct bytes stack[REPORT_DEPTH_MAX];
	size_t depth;
	bool seen_root;
	struct bytes text; /* between the last tag and this one */
	bool closes;       /* a tag like <a/>: its end is still to be told */
};

enum xml_event { XML_OPEN, XML_CLOSE, XML_END, XML_BAD, XML_DEEP };

static bool
skip_to(struct xml *x, const char *end)
{
	size_t n = strlen(end);
	for (size_t i = 0; i + n <= x->rest.len; i++) {
		if (memcmp(x->rest.ptr + i, end, n) == 0) {
			x->rest = bytes_from(x->rest, i + n);
			return true;
		}
	}
	return false;
}

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The name without its namespace's prefix. Empty: no name. */
static struct bytes
tag_name(struct bytes tag)
{
	size_t n = 0;
	while (n < tag.len && !is_space(tag.ptr[n]) && tag.ptr[n] != '/') {
		n++;
	}
	struct bytes name = bytes_slice(tag, 0, n);
	ptrdiff_t colon = bytes_find(name, ':');
	name = colon < 0 ? name : bytes_from(name, (size_t)colon + 1);
	return name.len > NAME_MAX_LEN ? BYTES_EMPTY : name;
}

/* Up to the '>' that ends a tag: one in a quoted value does not. -1: none. */
static ptrdiff_t
tag_end(struct bytes b)
{
	uint8_t quote = 0;
	for (size_t i = 0; i < b.len; i++) {
		if (quote != 0) {
			quote = b.ptr[i] == quote ? 0 : quote;
		} else if (b.ptr[i] == '"' || b.ptr[i] == '\'') {
			quote = b.ptr[i];
		} else if (b.ptr[i] == '<') {
			return -1;
		} else if (b.ptr[i] == '>') {
			return (ptrdiff_t)i;
		}
	}
	return -1;
}

static enum xml_event
take_tag(struct xml *x)
{
	ptrdiff_t end = tag_end(x->rest);
	if (end < 0) {
		return XML_BAD;
	}
	struct bytes tag = bytes_slice(x->rest, 0, (size_t)end);
	x->rest = bytes_from(x->rest, (size_t)end + 1);
	if (tag.len > 0 && tag.ptr[0] == '/') {
		struct bytes name = tag_name(bytes_from(tag, 1));
		return x->depth > 0 && bytes_equal(name, x->stack[x->depth - 1]) ? XML_CLOSE : XML_BAD;
	}
	struct bytes name = tag_name(tag);
	if (name.len == 0 || (x->depth == 0 && x->seen_root)) {
		return XML_BAD;
	}
	if (x->depth == REPORT_DEPTH_MAX) {
		return XML_DEEP;
	}
	x->seen_root = true;
	x->closes = tag.ptr[tag.len - 1] == '/';
	x->stack[x->depth++] = name;
	return XML_OPEN;
}

/* XML_CLOSE: stack[depth - 1] is what ends, and text its text; the caller pops it. */
static enum xml_event
xml_next(struct xml *x)
{
	if (x->closes) {
		x->closes = false;
		x->text = BYTES_EMPTY;
		return XML_CLOSE;
	}
	for (;;) {
		ptrdiff_t open = bytes_find(x->rest, '<');
		x->text = bytes_trim(open < 0 ? x->rest : bytes_slice(x->rest, 0, (size_t)open));
		if (open < 0) {
			return x->depth == 0 && x->seen_root && x->text.len == 0 ? XML_END : XML_BAD;
		}
		x->rest = bytes_from(x->rest, (size_t)open + 1);
		bool told = true;
		if (bytes_starts_with(x->rest, "?")) {
			told = skip_to(x, "?>");
		} else if (bytes_starts_with(x->rest, "!--")) {
			told = skip_to(x, "-->");
		} else if (bytes_starts_with(x->rest, "!")) {
			return XML_BAD;
		} else {
			return take_tag(x);
		}
		if (!told) {
			return XML_BAD;
		}
	}
}

/* ---- the report ---- */

struct row {
	struct bytes source;
	uint64_t count;
	bool pass;
	struct bytes disposition;
};

static bool
is_path(const struct xml *x, const char *parent, const char *name)
{
	return x->depth >= 2 && bytes_is(x->stack[x->depth - 1], name) &&
	       bytes_is(x->stack[x->depth - 2], parent);
}

/* The network: /24, /48. False: no address. */
static bool
net_of(struct bytes text, char ret[REPORT_NET_MAX])
{
	char copy[INET6_ADDRSTRLEN];
	uint8_t a[16] = {0};
	if (text.len == 0 || text.len >= sizeof(copy)) {
		return false;
	}
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	bool v4 = inet_pton(AF_INET, copy, a) == 1;
	if (!v4 && inet_pton(AF_INET6, copy, a) != 1) {
		return false;
	}
	memset(a + (v4 ? 3 : 6), 0, v4 ? 1 : 10);
	if (inet_ntop(v4 ? AF_INET : AF_INET6, a, copy, sizeof(copy)) == NULL) {
		return false;
	}
	(void)snprintf(ret, REPORT_NET_MAX, "%s%s", copy, v4 ? "/24" : "/48");
	return true;
}

static void
add_source(struct report_sums *s, const char *net, const struct row *r)
{
	size_t i = 0;
	while (i < s->source_count && strcmp(s->sources[i].net, net) != 0) {
		i++;
	}
	if (i == REPORT_SOURCES_MAX) {
		return;
	}
	if (i == s->source_count) {
		s->sources[i] = (struct report_source){.pass = 0};
		(void)snprintf(s->sources[i].net, sizeof(s->sources[i].net), "%s", net);
		s->source_count++;
	}
	s->sources[i].pass += r->pass ? r->count : 0;
	s->sources[i].fail += r->pass ? 0 : r->count;
}

static enum err
add_row(struct report_sums *s, const struct row *r)
{
	char net[REPORT_NET_MAX];
	if (!net_of(r->source, net)) {
		return ERR_FORMAT;
	}
	s->pass += r->pass ? r->count : 0;
	s->fail += r->pass ? 0 : r->count;
	s->quarantined += bytes_is(r->disposition, "quarantine") ? r->count : 0;
	s->rejected += bytes_is(r->disposition, "reject") ? r->count : 0;
	add_source(s, net, r);
	return ERR_OK;
}

static enum err
on_close(const struct xml *x, const char *domain, struct row *row, bool *ours, struct report_sums *s)
{
	if (is_path(x, "row", "source_ip")) {
		row->source = x->text;
	} else if (is_path(x, "row", "count")) {
		return bytes_to_u64(x->text, REPORT_COUNT_MAX, &row->count);
	} else if (is_path(x, "policy_evaluated", "disposition")) {
		row->disposition = x->text;
	} else if (is_path(x, "policy_evaluated", "dkim") || is_path(x, "policy_evaluated", "spf")) {
		row->pass = row->pass || bytes_is(x->text, "pass");
	} else if (is_path(x, "policy_published", "domain")) {
		*ours = bytes_is_nocase(x->text, domain);
	} else if (is_path(x, "feedback", "record")) {
		enum err e = add_row(s, row);
		*row = (struct row){.count = 0};
		return e;
	}
	return ERR_OK;
}

enum err
report_add_dmarc(struct report_sums *sums, const char *domain, struct bytes text)
{
	struct xml x = {.rest = text};
	struct row row = {.count = 0};
	bool ours = false;
	size_t rows = 0;
	struct report_sums *s = malloc(sizeof(*s));
	if (s == NULL) {
		return ERR_MEMORY;
	}
	*s = *sums;
	enum err e = ERR_OK;
	enum xml_event ev = XML_OPEN;
	while (e == ERR_OK && ev != XML_END) {
		ev = xml_next(&x);
		e = ev == XML_BAD ? ERR_FORMAT : ev == XML_DEEP ? ERR_LIMIT : ERR_OK;
		if (e == ERR_OK && ev == XML_CLOSE) {
			e = on_close(&x, domain, &row, &ours, s);
			rows += is_path(&x, "feedback", "record") ? 1 : 0;
			e = rows > REPORT_ROWS_MAX ? ERR_LIMIT : e;
			x.depth--;
		}
	}
	if (e == ERR_OK && ours && rows > 0) {
		s->dmarc_reports++;
		*sums = *s;
	} else if (e == ERR_OK) {
		e = ERR_FORMAT;
	}
	free(s);
	return e;
}
