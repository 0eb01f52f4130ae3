/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The grammar of an SPF record (RFC 7208 section 12). */
#include <arpa/inet.h>
#include <string.h>

#include "authentication/spf_internal.h"

bool
spf_is_record(struct bytes text, struct bytes *ret_rest)
{
	if (!bytes_starts_with_nocase(text, "v=spf1") || (text.len > 6 && text.ptr[6] != ' ')) {
		return false;
	}
	*ret_rest = bytes_from(text, 6);
	return true;
}

/* Octets of a "%..." at the front; 0 where it is none. */
static size_t
macro_length(struct bytes text)
{
	static const char letters[] = "slodiphcrtv";
	if (text.len < 2) {
		return 0;
	}
	if (text.ptr[1] == '%' || text.ptr[1] == '_' || text.ptr[1] == '-') {
		return 2;
	}
	size_t at = 2;
	if (text.ptr[1] != '{' || text.len < 4 || strchr(letters, ascii_lower(text.ptr[at])) == NULL ||
	    text.ptr[at] == '\0') {
		return 0;
	}
	at++;
	size_t digits = at;
	while (at < text.len && ascii_is_digit(text.ptr[at])) {
		at++;
	}
	if (at > digits && (at - digits > 3 || (at - digits == 1 && text.ptr[digits] == '0'))) {
		return 0;
	}
	if (at < text.len && ascii_lower(text.ptr[at]) == 'r') {
		at++;
	}
	while (at < text.len && text.ptr[at] != '\0' && strchr(".-+,/_=", text.ptr[at]) != NULL) {
		at++;
	}
	return at < text.len && text.ptr[at] == '}' ? at + 1 : 0;
}

bool
spf_macro_is_sound(struct bytes text)
{
	size_t at = 0;
	while (at < text.len) {
		if (text.ptr[at] == '%') {
			size_t n = macro_length(bytes_from(text, at));
			if (n == 0) {
				return false;
			}
			at += n;
		} else if (text.ptr[at] < 0x21 || text.ptr[at] > 0x7e) {
			return false;
		} else {
			at++;
		}
	}
	return true;
}

bool
spf_macro_names_sender(struct bytes text)
{
	for (size_t i = 0; i + 2 < text.len; i++) {
		uint8_t letter = ascii_lower(text.ptr[i + 2]);
		if (text.ptr[i] == '%' && text.ptr[i + 1] == '%') {
			i++;
		} else if (text.ptr[i] == '%' && text.ptr[i + 1] == '{' && (letter == 'l' || letter == 's')) {
			return true;
		}
	}
	return false;
}

/* A top label: letters, digits, hyphens inside, not digits alone. */
static bool
is_top_label(struct bytes label)
{
	bool letter = false;
	for (size_t i = 0; i < label.len; i++) {
		uint8_t c = label.ptr[i];
		letter = letter || ascii_is_alpha(c) || c == '-';
		if (!ascii_is_alnum(c) && (c != '-' || i == 0 || i == label.len - 1)) {
			return false;
		}
	}
	return letter;
}

/* domain-spec = macro-string domain-end */
static bool
is_domain_spec(struct bytes text)
{
	if (text.len == 0 || !spf_macro_is_sound(text)) {
		return false;
	}
	if (text.ptr[text.len - 1] == '}') {
		/* A macro, and not a brace of the text's own. */
		ptrdiff_t percent = bytes_find_last(text, '%');
		return percent >= 0 &&
		       macro_length(bytes_from(text, (size_t)percent)) == text.len - (size_t)percent;
	}
	struct bytes name = text.ptr[text.len - 1] == '.' ? bytes_slice(text, 0, text.len - 1) : text;
	ptrdiff_t dot = bytes_find_last(name, '.');
	return dot >= 0 && is_top_label(bytes_from(name, (size_t)dot + 1));
}

/* Digits without leading zeros, up to most. */
static bool
read_prefix(struct bytes text, unsigned most, uint8_t *ret)
{
	uint64_t n;
	if (text.len == 0 || text.len > 3 || (text.len > 1 && text.ptr[0] == '0') ||
	    bytes_to_u64(text, most, &n) != ERR_OK) {
		return false;
	}
	*ret = (uint8_t)n;
	return true;
}

/* Where digits at the end of text begin, if a '/' stands before them; text.len otherwise. */
static size_t
prefix_at(struct bytes text)
{
	size_t at = text.len;
	while (at > 0 && ascii_is_digit(text.ptr[at - 1])) {
		at--;
	}
	return at > 0 && text.ptr[at - 1] == '/' ? at : text.len + 1;
}

/* Takes a dual-cidr-length off the end: "/24", "//64", "/24//64". False: one that is none. */
static bool
take_prefixes(struct bytes *text, struct spf_term *t)
{
	size_t at = prefix_at(*text);
	if (at > text->len) {
		return true;
	}
	if (at >= 2 && text->ptr[at - 2] == '/') {
		if (!read_prefix(bytes_from(*text, at), 128, &t->prefix6)) {
			return false;
		}
		*text = bytes_slice(*text, 0, at - 2);
		at = prefix_at(*text);
		if (at > text->len) {
			return true;
		}
	}
	if (!read_prefix(bytes_from(*text, at), 32, &t->prefix4)) {
		return false;
	}
	*text = bytes_slice(*text, 0, at - 1);
	return true;
}

static bool
read_ip(struct bytes text, bool v6, struct spf_term *t)
{
	char buffer[INET6_ADDRSTRLEN];
	ptrdiff_t slash = bytes_find(text, '/');
	struct bytes address = slash < 0 ? text : bytes_slice(text, 0, (size_t)slash);
	if (slash >= 0 && !read_prefix(bytes_from(text, (size_t)slash + 1), v6 ? 128 : 32,
				       v6 ? &t->prefix6 : &t->prefix4)) {
		return false;
	}
	if (address.len == 0 || address.len >= sizeof(buffer)) {
		return false;
	}
	memcpy(buffer, address.ptr, address.len);
	buffer[address.len] = '\0';
	if (strlen(buffer) != address.len) {
		return false;
	}
	if (v6) {
		return inet_pton(AF_INET6, buffer, t->address) == 1;
	}
	t->address[10] = 0xff;
	t->address[11] = 0xff;
	return inet_pton(AF_INET, buffer, t->address + 12) == 1;
}

struct mechanism {
	const char *name;
	enum spf_kind kind;
	char spec; /* 'n'one, 'o'ptional, 'r'equired */
	bool prefixes;
};
static const struct mechanism mechanisms[] = {
    {"all", SPF_ALL, 'n', false}, {"include", SPF_INCLUDE, 'r', false}, {"a", SPF_A, 'o', true},
    {"mx", SPF_MX, 'o', true},    {"ptr", SPF_PTR, 'o', false},         {"exists", SPF_EXISTS, 'r', false},
    {"ip4", SPF_IP4, 'r', false}, {"ip6", SPF_IP6, 'r', false},
};

static bool
read_mechanism(struct bytes text, struct spf_term *t)
{
	size_t end = 0;
	while (end < text.len && text.ptr[end] != ':' && text.ptr[end] != '/') {
		end++;
	}
	struct bytes name = bytes_slice(text, 0, end);
	struct bytes rest = bytes_from(text, end);
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		const struct mechanism *m = &mechanisms[i];
		if (!bytes_is_nocase(name, m->name)) {
			continue;
		}
		t->kind = m->kind;
		if (m->prefixes && !take_prefixes(&rest, t)) {
			return false;
		}
		t->has_spec = rest.len > 0;
		if (rest.len == 0) {
			return m->spec != 'r';
		}
		if (rest.ptr[0] != ':' || m->spec == 'n') {
			return false;
		}
		t->spec = bytes_from(rest, 1);
		return m->kind == SPF_IP4   ? read_ip(t->spec, false, t)
		       : m->kind == SPF_IP6 ? read_ip(t->spec, true, t)
					    : is_domain_spec(t->spec);
	}
	return false;
}

static bool
is_modifier_name(struct bytes name)
{
	if (name.len == 0 || !ascii_is_alpha(name.ptr[0])) {
		return false;
	}
	for (size_t i = 1; i < name.len; i++) {
		uint8_t c = name.ptr[i];
		if (!ascii_is_alnum(c) && c != '-' && c != '_' && c != '.') {
			return false;
		}
	}
	return true;
}

static bool
read_term(struct bytes text, struct spf_term *t)
{
	memset(t, 0, sizeof(*t));
	t->prefix4 = 32;
	t->prefix6 = 128;
	t->result = AUTHENTICATION_PASS;
	size_t end = 0;
	while (end < text.len && text.ptr[end] != '=' && text.ptr[end] != ':' && text.ptr[end] != '/') {
		end++;
	}
	if (end < text.len && text.ptr[end] == '=') {
		struct bytes name = bytes_slice(text, 0, end);
		t->spec = bytes_from(text, end + 1);
		t->kind = bytes_is_nocase(name, "redirect") ? SPF_REDIRECT : SPF_OTHER;
		bool named = t->kind == SPF_REDIRECT || bytes_is_nocase(name, "exp");
		return is_modifier_name(name) &&
		       (named ? is_domain_spec(t->spec) : spf_macro_is_sound(t->spec));
	}
	switch (text.ptr[0]) {
	case '-':
		t->result = AUTHENTICATION_FAIL;
		break;
	case '~':
		t->result = AUTHENTICATION_SOFTFAIL;
		break;
	case '?':
		t->result = AUTHENTICATION_NEUTRAL;
		break;
	case '+':
		break;
	default:
		return read_mechanism(text, t);
	}
	return read_mechanism(bytes_from(text, 1), t);
}

enum err
spf_parse(struct arena *a, struct bytes text, const struct spf_term **ret, size_t *ret_count)
{
	size_t count = 0;
	unsigned redirects = 0;
	unsigned explanations = 0;
	struct spf_term *terms = arena_array(a, SPF_TERMS_MAX, sizeof(*terms));
	if (terms == NULL) {
		return ERR_MEMORY;
	}
	size_t at = 0;
	while (at < text.len) {
		if (text.ptr[at] == ' ') {
			at++;
			continue;
		}
		ptrdiff_t space = bytes_find(bytes_from(text, at), ' ');
		size_t len = space < 0 ? text.len - at : (size_t)space;
		struct bytes term = bytes_slice(text, at, len);
		if (count == SPF_TERMS_MAX) {
			return ERR_LIMIT;
		}
		if (!read_term(term, &terms[count])) {
			return ERR_FORMAT;
		}
		redirects += terms[count].kind == SPF_REDIRECT ? 1 : 0;
		explanations += bytes_starts_with_nocase(term, "exp=") ? 1 : 0;
		count++;
		at += len;
	}
	if (redirects > 1 || explanations > 1) {
		return ERR_FORMAT; /* section 6 */
	}
	*ret = terms;
	*ret_count = count;
	return ERR_OK;
}
