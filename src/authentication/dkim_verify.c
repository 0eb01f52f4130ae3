/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "authentication/dmarc.h"
#include "authentication/signature.h"

/* The domain of i=, which must be d= or below it. False: it is not. */
static bool
read_identity(struct arena *a, const struct signature *s, struct dkim_verdict *v, struct bytes *ret_domain)
{
	struct bytes identity;
	*ret_domain = s->domain;
	if (!tags_find(&s->tags, "i", &identity)) {
		return true;
	}
	ptrdiff_t at = bytes_find_last(identity, '@');
	if (at < 0) {
		return false;
	}
	*ret_domain = bytes_from(identity, (size_t)at + 1);
	v->identity = arena_copy(a, identity);
	return text_is_domain(*ret_domain, 1) && text_is_within(*ret_domain, s->domain);
}

/* What the tags say before anything is hashed. */
static struct finding
check_tags(const struct signature *s, int64_t now)
{
	struct bytes value;
	struct finding f = {AUTHENTICATION_PASS, NULL};
	uint64_t made = 0;
	uint64_t until;
	if (!tags_find(&s->tags, "v", &value) || !bytes_is(value, "1")) {
		return (struct finding){AUTHENTICATION_PERMERROR, "signature of another version"};
	}
	if (tags_find(&s->tags, "q", &value)) {
		struct bytes item;
		bool known = false;
		while (tags_item(&value, ':', &item)) {
			known = known || bytes_is_nocase(item, "dns/txt");
		}
		if (!known) {
			return (struct finding){AUTHENTICATION_PERMERROR, "unknown way to ask for the key"};
		}
	}
	if (tags_find(&s->tags, "t", &value) && bytes_to_u64(value, INT64_MAX, &made) != ERR_OK) {
		return (struct finding){AUTHENTICATION_PERMERROR, "bad time of signature"};
	}
	if (tags_find(&s->tags, "x", &value)) {
		if (bytes_to_u64(value, INT64_MAX, &until) != ERR_OK || until < made) {
			return (struct finding){AUTHENTICATION_PERMERROR, "bad time of expiry"};
		}
		if (now > 0 && until < (uint64_t)now) {
			return (struct finding){AUTHENTICATION_FAIL, "signature has expired"};
		}
	}
	return f;
}

static enum err
verify_one(struct arena *a, const struct mail_field *field, const struct header_index *h,
	   struct body_hashes *hashes, int64_t now, const struct authentication_dns *dns, unsigned *questions,
	   struct dkim_verdict *v)
{
	struct signature s;
	struct finding f;
	struct finding body = {AUTHENTICATION_PASS, NULL};
	struct bytes identity_domain;
	uint8_t digest[CANON_DIGEST_LEN];
	struct bytes b = BYTES_EMPTY;
	enum err e = signature_read(field, true, &s, &f);
	if (e == ERR_OK) {
		v->domain = text_lower(a, s.domain);
		v->selector = text_lower(a, s.selector);
		v->algorithm = s.algorithm;
		if (tags_find(&s.tags, "b", &b)) {
			v->signature = arena_copy(a, bytes_slice(b, 0, 8));
		}
		if (f.why == NULL) {
			f = check_tags(&s, now);
		}
		if (f.why == NULL && !read_identity(a, &s, v, &identity_domain)) {
			f = (struct finding){AUTHENTICATION_PERMERROR,
					     "identity is not of the signing domain"};
		}
		if (f.why == NULL) {
			/* Before the question: a body that has changed needs none. */
			e = signature_body(&s, h, hashes, &body);
			f = body;
		}
		if (e == ERR_OK && (f.why == NULL || f.result == AUTHENTICATION_POLICY)) {
			e = signature_digest(a, &s, h, digest, &f);
		}
		if (e == ERR_OK && f.why == NULL) {
			(*questions)++;
			signature_check(&s, digest, identity_domain, dns, &v->testing, &f);
			if (f.why == NULL) {
				f = body; /* l= */
			}
		}
	}
	v->result = f.result;
	v->why = f.why;
	buf_clear(&s.made);
	return e;
}

/* Whether d= is of the author's organisation: what DMARC asks for. */
static bool
is_authors(const struct mail_field *field, struct bytes author)
{
	struct tags tags;
	struct bytes d;
	return author.len > 0 && field->value.len <= SIGNATURE_VALUE_MAX &&
	       tags_parse(field->value, &tags) == ERR_OK && tags_find(&tags, "d", &d) &&
	       bytes_equal_nocase(dmarc_organisational(d), dmarc_organisational(author));
}

/* The signatures' places in the header, the author's first, then from the top down. */
static size_t
choose(const struct header_index *h, struct bytes author, size_t ret[DKIM_FIELDS_MAX])
{
	size_t found[DKIM_FIELDS_MAX];
	bool first[DKIM_FIELDS_MAX];
	size_t count = 0;
	size_t chosen = 0;
	for (size_t i = 0; i < h->count && count < DKIM_FIELDS_MAX; i++) {
		if (bytes_is_nocase(h->fields[i].name, "DKIM-Signature")) {
			found[count] = i;
			first[count++] = is_authors(&h->fields[i], author);
		}
	}
	for (int turn = 1; turn >= 0; turn--) {
		for (size_t i = 0; i < count; i++) {
			if (first[i] == (turn == 1)) {
				ret[chosen++] = found[i];
			}
		}
	}
	return chosen;
}

/* Where the list is full, one that passes takes the place of the last one that does not. */
static void
keep(struct dkim_verdicts *all, const struct dkim_verdict *v)
{
	if (all->count < DKIM_SIGNATURES_MAX) {
		all->list[all->count++] = *v;
		return;
	}
	for (size_t i = DKIM_SIGNATURES_MAX; v->result == AUTHENTICATION_PASS && i-- > 0;) {
		if (all->list[i].result != AUTHENTICATION_PASS) {
			all->list[i] = *v;
			return;
		}
	}
}

enum err
dkim_verify(struct arena *a, struct bytes message, struct bytes author, int64_t now,
	    const struct authentication_dns *dns, struct dkim_verdicts *ret)
{
	struct header_index h;
	struct body_hashes hashes;
	size_t order[DKIM_FIELDS_MAX];
	unsigned questions = 0;
	memset(&hashes, 0, sizeof(hashes));
	memset(ret, 0, sizeof(*ret));
	enum err e = header_index_make(a, message, &h);
	size_t count = e == ERR_OK ? choose(&h, author, order) : 0;
	for (size_t i = 0; e == ERR_OK && i < count && questions < DKIM_QUESTIONS_MAX; i++) {
		struct dkim_verdict v;
		memset(&v, 0, sizeof(v));
		e = verify_one(a, &h.fields[order[i]], &h, &hashes, now, dns, &questions, &v);
		if (e == ERR_OK) {
			keep(ret, &v);
		}
	}
	return e;
}
