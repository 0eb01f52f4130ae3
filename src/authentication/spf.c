/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* check_host() (RFC 7208 section 4). */
#include "authentication/spf.h"

#include <string.h>

#include "authentication/spf_internal.h"

enum { CHECK_MEMORY_MAX = 4 << 20 };

bool
spf_is_ipv4(const uint8_t address[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	return memcmp(address, mapped, sizeof(mapped)) == 0;
}

enum err
spf_ask(struct spf_state *s, struct bytes name, enum authentication_rr type,
	struct authentication_answer *ret)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	if (s->exhausted || s->failed) {
		return ERR_AGAIN;
	}
	if (!text_is_domain(name, 0)) {
		/* What macros made is no name: there is nothing there, and nothing is asked (section 4.8). */
		*ret = answer;
		return ERR_OK;
	}
	if (s->dns->ask(s->dns->ctx, name, type, &answer) != ERR_OK) {
		s->failed = true;
		s->why = "the DNS gave no answer";
		return ERR_AGAIN;
	}
	if (answer.rdata.len == 0 && ++s->voids > SPF_VOID_MAX) {
		s->exhausted = true;
		s->why = "too many questions without an answer";
		return ERR_LIMIT;
	}
	*ret = answer;
	return ERR_OK;
}

/* ---- names in rdata ---- */

bool
spf_name_of(struct bytes wire, char ret[SPF_NAME_MAX])
{
	size_t at = 0;
	size_t out = 0;
	while (at < wire.len && wire.ptr[at] != 0) {
		size_t label = wire.ptr[at++];
		if (label > 63 || label > wire.len - at || out + label + 1 >= SPF_NAME_MAX) {
			return false;
		}
		if (out > 0) {
			ret[out++] = '.';
		}
		memcpy(ret + out, wire.ptr + at, label);
		out += label;
		at += label;
	}
	ret[out] = '\0';
	return out > 0 && strlen(ret) == out && text_is_domain(bytes_str(ret), 0);
}

struct names {
	char list[SPF_NAMES_MAX][SPF_NAME_MAX];
	size_t count;
	bool more;
};

static void
names_of(struct bytes rdata, size_t skip, struct names *ret)
{
	struct bytes one;
	ret->count = 0;
	ret->more = false;
	while (text_records_next(&rdata, &one)) {
		char name[SPF_NAME_MAX];
		if (one.len <= skip || !spf_name_of(bytes_from(one, skip), name)) {
			continue;
		}
		if (ret->count == SPF_NAMES_MAX) {
			ret->more = true;
			return;
		}
		memcpy(ret->list[ret->count++], name, SPF_NAME_MAX);
	}
}

/* ---- addresses ---- */

static bool
bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8;
	unsigned rest = bits % 8;
	return memcmp(a, b, whole) == 0 &&
	       (rest == 0 || ((unsigned)(a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

/* Whether the client is among a name's addresses. */
static bool
has_address(struct spf_state *s, struct bytes name, unsigned prefix4, unsigned prefix6)
{
	bool v4 = spf_is_ipv4(s->in->address);
	struct authentication_answer answer;
	struct bytes one;
	if (spf_ask(s, name, v4 ? AUTHENTICATION_A : AUTHENTICATION_AAAA, &answer) != ERR_OK) {
		return false;
	}
	while (text_records_next(&answer.rdata, &one)) {
		if (v4 ? one.len == 4 && bits_equal(one.ptr, s->in->address + 12, prefix4)
		       : one.len == 16 && bits_equal(one.ptr, s->in->address, prefix6)) {
			return true;
		}
	}
	return false;
}

struct bytes
spf_validated_name(struct spf_state *s, struct bytes under)
{
	struct authentication_answer answer;
	struct bytes found = BYTES_EMPTY;
	struct buf question = BUF_INIT(128);
	struct names *names = arena_alloc(s->arena, sizeof(*names));
	enum err e = names == NULL ? ERR_MEMORY : ERR_OK;
	if (++s->reversed > SPF_QUESTIONS_MAX) { /* each %{p} of a record asks */
		s->exhausted = true;
		s->why = "too many questions for the client's name";
		return BYTES_EMPTY;
	}
	for (size_t i = 0; i < 4 && e == ERR_OK && spf_is_ipv4(s->in->address); i++) {
		e = buf_printf(&question, "%u.", s->in->address[15 - i]);
	}
	for (size_t i = 0; i < 32 && e == ERR_OK && !spf_is_ipv4(s->in->address); i++) {
		uint8_t octet = s->in->address[15 - i / 2];
		e = buf_printf(&question, "%x.", (unsigned)(i % 2 == 0 ? octet & 15 : octet >> 4));
	}
	if (e == ERR_OK) {
		e = buf_append_str(&question, spf_is_ipv4(s->in->address) ? "in-addr.arpa" : "ip6.arpa");
	}
	/* An error here is no match (section 5.5); but nothing counts as a void answer, like any other. */
	if (e == ERR_OK &&
	    s->dns->ask(s->dns->ctx, buf_bytes(&question), AUTHENTICATION_PTR, &answer) == ERR_OK) {
		if (answer.rdata.len == 0 && ++s->voids > SPF_VOID_MAX) {
			s->exhausted = true;
			s->why = "too many questions without an answer";
		}
		names_of(answer.rdata, 0, names);
		for (size_t i = 0; i < names->count && found.len == 0; i++) {
			struct bytes name = bytes_str(names->list[i]);
			struct spf_state quiet = *s;
			quiet.voids = 0;
			if (under.len > 0 && !text_is_within(name, under)) {
				continue;
			}
			if (has_address(&quiet, name, 32, 128)) {
				found = arena_copy(s->arena, name);
			}
		}
	}
	buf_clear(&question);
	return found;
}

/* ---- mechanisms ---- */

static enum authentication_result check_host(struct spf_state *s, struct bytes domain, unsigned depth);

static bool
exhausted(struct spf_state *s)
{
	if (++s->questions > SPF_QUESTIONS_MAX) {
		s->exhausted = true;
		s->why = "too many terms that ask";
	}
	return s->exhausted;
}

/* The domain that a term names, in the arena; ptr NULL on failure. */
static struct bytes
target_of(struct spf_state *s, const struct spf_term *t, bool has_spec, struct bytes domain)
{
	struct buf name = BUF_INIT(SPF_NAME_MAX);
	struct bytes ret = BYTES_EMPTY;
	if (!has_spec) {
		return domain;
	}
	if (!s->in->allow_local_part && spf_macro_names_sender(t->spec)) {
		s->withheld = true; /* not followed, and what comes behind it counts */
		return BYTES_EMPTY;
	}
	enum err e = spf_expand(s, t->spec, domain, &name);
	if (e == ERR_OK) {
		ret = arena_copy(s->arena, buf_bytes(&name));
	} else if (e != ERR_MEMORY) {
		ret = arena_copy(s->arena, BYTES_LIT("")); /* no name: no data */
	} else {
		s->failed = true;
	}
	buf_clear(&name);
	return ret;
}

static bool
matches_mx(struct spf_state *s, const struct spf_term *t, struct bytes name)
{
	struct authentication_answer answer;
	struct names *names = arena_alloc(s->arena, sizeof(*names));
	if (names == NULL) {
		s->failed = true;
		return false;
	}
	if (spf_ask(s, name, AUTHENTICATION_MX, &answer) != ERR_OK) {
		return false;
	}
	names_of(answer.rdata, 2, names);
	if (names->more) {
		s->exhausted = true;
		s->why = "too many MX hosts";
		return false;
	}
	for (size_t i = 0; i < names->count; i++) {
		if (has_address(s, bytes_str(names->list[i]), t->prefix4, t->prefix6)) {
			return true;
		}
	}
	return false;
}

static bool
matches(struct spf_state *s, const struct spf_term *t, struct bytes domain, unsigned depth)
{
	struct authentication_answer answer;
	struct bytes one;
	bool v4 = spf_is_ipv4(s->in->address);
	if (t->kind == SPF_ALL) {
		return true;
	}
	if (t->kind == SPF_IP4 || t->kind == SPF_IP6) {
		return v4 == (t->kind == SPF_IP4) &&
		       (v4 ? bits_equal(t->address + 12, s->in->address + 12, t->prefix4)
			   : bits_equal(t->address, s->in->address, t->prefix6));
	}
	if (exhausted(s)) {
		return false;
	}
	struct bytes name = target_of(s, t, t->has_spec, domain);
	if (name.ptr == NULL) {
		return false;
	}
	switch (t->kind) {
	case SPF_INCLUDE:
		switch (check_host(s, name, depth + 1)) {
		case AUTHENTICATION_PASS:
			return true;
		case AUTHENTICATION_NONE:
			s->exhausted = true; /* permerror (section 5.2) */
			s->why = "an included domain has no record";
			return false;
		case AUTHENTICATION_FAIL:
		case AUTHENTICATION_SOFTFAIL:
		case AUTHENTICATION_NEUTRAL:
		case AUTHENTICATION_POLICY:
		case AUTHENTICATION_TEMPERROR:
		case AUTHENTICATION_PERMERROR:
			return false; /* of errors the state knows */
		}
		return false;
	case SPF_A:
		return has_address(s, name, t->prefix4, t->prefix6);
	case SPF_MX:
		return matches_mx(s, t, name);
	case SPF_PTR:
		return spf_validated_name(s, name).len > 0;
	case SPF_EXISTS:
		return spf_ask(s, name, AUTHENTICATION_A, &answer) == ERR_OK &&
		       text_records_next(&answer.rdata, &one);
	case SPF_ALL:
	case SPF_IP4:
	case SPF_IP6:
	case SPF_REDIRECT:
	case SPF_OTHER:
		break;
	}
	return false;
}

/* The one record of a domain. none: there is none. */
static enum authentication_result
find_record(struct spf_state *s, struct bytes domain, struct bytes *ret)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct bytes one;
	unsigned found = 0;
	if (s->dns->ask(s->dns->ctx, domain, AUTHENTICATION_TXT, &answer) != ERR_OK) {
		s->failed = true;
		s->why = "the DNS gave no answer";
		return AUTHENTICATION_TEMPERROR;
	}
	while (text_records_next(&answer.rdata, &one)) {
		struct buf text = BUF_INIT(TXT_RECORD_MAX);
		struct bytes rest;
		if (text_of_txt(one, &text) == ERR_OK && spf_is_record(buf_bytes(&text), &rest)) {
			found++;
			*ret = arena_copy(s->arena, rest);
		}
		buf_clear(&text);
	}
	if (found > 1 || (found == 1 && ret->ptr == NULL)) {
		s->exhausted = found > 1;
		s->failed = found == 1;
		s->why = found > 1 ? "several records" : "out of memory";
		return found > 1 ? AUTHENTICATION_PERMERROR : AUTHENTICATION_TEMPERROR;
	}
	return found == 0 ? AUTHENTICATION_NONE : AUTHENTICATION_PASS;
}

/* What ends an evaluation, wherever in it. */
static bool
has_ended(const struct spf_state *s, enum authentication_result *ret)
{
	*ret = s->failed      ? AUTHENTICATION_TEMPERROR
	       : s->exhausted ? AUTHENTICATION_PERMERROR
			      : AUTHENTICATION_NEUTRAL;
	return s->failed || s->exhausted;
}

/* A term that was passed over, here or in a record that it includes, could have ended it all without a pass. */
static bool
matches_or_is_withheld(struct spf_state *s, const struct spf_term *t, struct bytes domain, unsigned depth)
{
	bool before = s->withheld;
	s->withheld = false;
	bool match = matches(s, t, domain, depth);
	s->withheld_against = s->withheld_against || (s->withheld && t->result != AUTHENTICATION_PASS);
	s->withheld = s->withheld || before;
	return match;
}

/* Depth is bounded by the questions: each include and redirect is one. */
static enum authentication_result
check_host(struct spf_state *s, struct bytes domain, unsigned depth)
{
	const struct spf_term *terms;
	size_t count;
	struct bytes text = BYTES_EMPTY;
	enum authentication_result ended;
	if (depth > SPF_QUESTIONS_MAX || !text_is_domain(domain, 1)) {
		return AUTHENTICATION_NONE;
	}
	enum authentication_result found = find_record(s, domain, &text);
	if (found != AUTHENTICATION_PASS) {
		return found;
	}
	enum err e = spf_parse(s->arena, text, &terms, &count);
	if (e != ERR_OK) {
		s->failed = e == ERR_MEMORY;
		s->exhausted = e != ERR_MEMORY;
		s->why = "the record is malformed";
		(void)has_ended(s, &ended);
		return ended;
	}
	const struct spf_term *redirect = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct spf_term *t = &terms[i];
		if (t->kind == SPF_REDIRECT) {
			redirect = t;
		} else if (t->kind != SPF_OTHER) {
			bool match = matches_or_is_withheld(s, t, domain, depth);
			if (has_ended(s, &ended)) {
				return ended;
			}
			if (match) {
				return t->result;
			}
		}
	}
	if (redirect == NULL) {
		return AUTHENTICATION_NEUTRAL;
	}
	struct bytes target = exhausted(s) ? BYTES_EMPTY : target_of(s, redirect, true, domain);
	if (has_ended(s, &ended) || target.ptr == NULL) {
		return ended;
	}
	enum authentication_result r = check_host(s, target, depth + 1);
	if (r == AUTHENTICATION_NONE) { /* section 6.1 */
		s->exhausted = true;
		s->why = "the record points to a domain without one";
		r = AUTHENTICATION_PERMERROR;
	}
	return r;
}

void
spf_check(const struct spf_input *in, const struct authentication_dns *dns, struct spf_verdict *ret)
{
	struct arena arena;
	struct spf_state s = {.in = in, .dns = dns, .arena = &arena};
	ptrdiff_t at = bytes_find_last(in->sender, '@');
	memset(ret, 0, sizeof(*ret));
	ret->of_hello = in->sender.len == 0;
	s.sender_local = at > 0 ? bytes_slice(in->sender, 0, (size_t)at) : BYTES_LIT("postmaster");
	s.sender_domain = ret->of_hello ? in->hello : bytes_from(in->sender, (size_t)(at + 1));
	if (s.sender_domain.len > 0 && s.sender_domain.ptr[s.sender_domain.len - 1] == '.') {
		s.sender_domain.len--;
	}
	if (!text_is_domain(s.sender_domain, 1)) {
		ret->why = "no domain to ask";
		return;
	}
	for (size_t i = 0; i < s.sender_domain.len; i++) {
		ret->domain[i] = (char)ascii_lower(s.sender_domain.ptr[i]);
	}
	arena_init(&arena, CHECK_MEMORY_MAX);
	ret->result = check_host(&s, s.sender_domain, 0);
	ret->withheld = s.withheld;
	if (s.withheld && (ret->result == AUTHENTICATION_FAIL || ret->result == AUTHENTICATION_SOFTFAIL ||
			   ret->result == AUTHENTICATION_NEUTRAL ||
			   (ret->result == AUTHENTICATION_PASS && s.withheld_against))) {
		ret->result = AUTHENTICATION_NEUTRAL;
		s.why = "the record asks for the sender's name";
	}
	ret->why = ret->result == AUTHENTICATION_PASS ? NULL : s.why;
	arena_clear(&arena);
}
