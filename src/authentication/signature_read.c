/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Reading a signature field, and hashing what it covers. */
#include <string.h>

#include "authentication/signature.h"

static uint32_t
hash_name(struct bytes name)
{
	uint32_t h = 2166136261U;
	for (size_t i = 0; i < name.len; i++) {
		h = (h ^ ascii_lower(name.ptr[i])) * 16777619U;
	}
	return h;
}

enum err
header_index_make(struct arena *a, struct bytes message, struct header_index *ret)
{
	struct mail_fields it;
	struct mail_field field;
	size_t count = 0;
	memset(ret, 0, sizeof(*ret));
	ret->body = bytes_from(message, mail_header_length(message));
	mail_fields_init(&it, message);
	while (mail_fields_next(&it, &field) && count <= HEADER_FIELDS_MAX) {
		count++;
	}
	ret->too_many = count > HEADER_FIELDS_MAX;
	ret->fields = arena_array(a, count + 1, sizeof(*ret->fields));
	ret->hashes = arena_array(a, count + 1, sizeof(*ret->hashes));
	if (ret->fields == NULL || ret->hashes == NULL) {
		return ERR_MEMORY;
	}
	mail_fields_init(&it, message);
	while (ret->count < count && mail_fields_next(&it, &field)) {
		ret->fields[ret->count] = field;
		ret->hashes[ret->count++] = hash_name(field.name);
	}
	return ERR_OK;
}

static struct finding
wrong(const char *why)
{
	return (struct finding){AUTHENTICATION_PERMERROR, why};
}

static bool
read_algorithm(struct signature *s, struct finding *f)
{
	struct bytes a;
	if (!tags_find(&s->tags, "a", &a)) {
		*f = wrong("no algorithm");
	} else if (bytes_is_nocase(a, "rsa-sha256")) {
		s->algorithm = DKIM_RSA_SHA256;
		return true;
	} else if (bytes_is_nocase(a, "ed25519-sha256")) {
		s->algorithm = DKIM_ED25519_SHA256;
		return true;
	} else {
		/* rsa-sha1 too: RFC 8301 section 3.1. */
		*f = wrong("algorithm not accepted");
	}
	return false;
}

static bool
read_canonicalisation(struct signature *s, struct finding *f)
{
	struct bytes c;
	if (!tags_find(&s->tags, "c", &c)) {
		return true;
	}
	struct bytes header = BYTES_EMPTY;
	struct bytes body = BYTES_LIT("simple");
	(void)tags_item(&c, '/', &header);
	if (c.ptr != NULL) {
		body = bytes_trim(c);
	}
	s->relaxed_header = bytes_is_nocase(header, "relaxed");
	s->relaxed_body = bytes_is_nocase(body, "relaxed");
	if ((!s->relaxed_header && !bytes_is_nocase(header, "simple")) ||
	    (!s->relaxed_body && !bytes_is_nocase(body, "simple"))) {
		*f = wrong("unknown canonicalisation");
		return false;
	}
	return true;
}

static enum err
read_base64(struct bytes value, struct buf *out)
{
	struct buf text = BUF_INIT(SIGNATURE_VALUE_MAX);
	enum err e = tags_compact(value, &text);
	if (e == ERR_OK) {
		e = text.len == 0 ? ERR_FORMAT : buf_append_unbase64(out, buf_bytes(&text));
	}
	buf_clear(&text);
	return e;
}

static enum err
read_body_hash(struct signature *s, struct finding *f)
{
	struct bytes bh;
	struct buf raw = BUF_INIT(SIGNATURE_OCTETS_MAX);
	enum err e = tags_find(&s->tags, "bh", &bh) ? read_base64(bh, &raw) : ERR_FORMAT;
	if (e == ERR_OK && raw.len == CANON_DIGEST_LEN) {
		memcpy(s->body_hash, raw.ptr, CANON_DIGEST_LEN);
	} else if (e != ERR_MEMORY) {
		*f = wrong("no body hash");
		e = ERR_OK;
	}
	buf_clear(&raw);
	return e;
}

static void
read_message_tags(struct signature *s, struct finding *f)
{
	struct bytes value;
	struct bytes name;
	bool has_from = false;
	if (!read_canonicalisation(s, f)) {
		return;
	}
	if (!tags_find(&s->tags, "h", &s->names)) {
		*f = wrong("no list of signed fields");
		return;
	}
	for (struct bytes list = s->names; tags_item(&list, ':', &name);) {
		has_from = has_from || bytes_is_nocase(name, "from");
	}
	if (!has_from) {
		*f = wrong("From is not signed"); /* RFC 6376 section 5.4 */
	} else if (tags_find(&s->tags, "l", &value) &&
		   bytes_to_u64(value, UINT64_MAX - 1, &s->length) != ERR_OK) {
		*f = wrong("bad length");
	}
}

enum err
signature_read(const struct mail_field *field, bool of_message, struct signature *ret,
	       struct finding *ret_finding)
{
	struct finding f = {AUTHENTICATION_PASS, NULL};
	struct bytes value;
	memset(ret, 0, sizeof(*ret));
	buf_init(&ret->made, SIGNATURE_OCTETS_MAX);
	ret->field = field;
	ret->length = CANON_NO_LIMIT;
	enum err e = ERR_OK;
	if (field->value.len > SIGNATURE_VALUE_MAX || tags_parse(field->value, &ret->tags) != ERR_OK) {
		ret->tags.count = 0;
		f = wrong("not a signature");
	} else {
		(void)tags_find(&ret->tags, "d", &ret->domain);
		(void)tags_find(&ret->tags, "s", &ret->selector);
		if (!text_is_domain(ret->domain, 1)) {
			f = wrong("no domain");
		} else if (!text_is_domain(ret->selector, 0)) {
			f = wrong("no selector");
		} else if (read_algorithm(ret, &f)) {
			e = tags_find(&ret->tags, "b", &value) ? read_base64(value, &ret->made) : ERR_FORMAT;
			if (e != ERR_OK && e != ERR_MEMORY) {
				f = wrong("no signature data");
				e = ERR_OK;
			} else if (e == ERR_OK && of_message) {
				e = read_body_hash(ret, &f);
				if (e == ERR_OK && f.why == NULL) {
					read_message_tags(ret, &f);
				}
			}
		}
	}
	*ret_finding = f;
	return e;
}

static enum err
hash_body(struct bytes body, bool relaxed, uint64_t limit, uint8_t digest[CANON_DIGEST_LEN],
	  uint64_t *ret_length)
{
	struct canon c;
	enum err e = canon_begin(&c, limit);
	if (e == ERR_OK) {
		canon_body(&c, body, relaxed);
	}
	*ret_length = c.seen;
	return canon_end(&c, digest);
}

enum err
signature_body(const struct signature *s, const struct header_index *h, struct body_hashes *hashes,
	       struct finding *ret)
{
	unsigned form = s->relaxed_body ? 1 : 0;
	enum err e = ERR_OK;
	const uint8_t *digest = hashes->digest[form];
	if (!hashes->known[form]) {
		e = hash_body(h->body, s->relaxed_body, CANON_NO_LIMIT, hashes->digest[form],
			      &hashes->length[form]);
		hashes->known[form] = e == ERR_OK;
	}
	if (e == ERR_OK && s->length < hashes->length[form]) {
		/* Whoever passes it on can append what he likes (RFC 6376 section 8.2): not even worth hashing. */
		*ret = (struct finding){AUTHENTICATION_POLICY, "only a part of the body is signed"};
		return ERR_OK;
	}
	if (e != ERR_OK) {
		return e;
	}
	if (s->length != CANON_NO_LIMIT && s->length > hashes->length[form]) {
		*ret = wrong("signed length is above the body's"); /* RFC 6376 section 3.5, l= */
	} else if (memcmp(digest, s->body_hash, CANON_DIGEST_LEN) != 0) {
		*ret = (struct finding){AUTHENTICATION_FAIL, "body has changed"};
	} else {
		*ret = (struct finding){AUTHENTICATION_PASS, NULL};
	}
	return ERR_OK;
}

void
signature_own_field(struct canon *c, const struct mail_field *field, const struct tags *tags, bool relaxed)
{
	struct bytes whole = field->whole;
	size_t value_at = (size_t)(field->value.ptr - whole.ptr);
	for (size_t i = 0; i < tags->count; i++) {
		if (bytes_is(tags->list[i].name, "b")) {
			size_t at = value_at + tags->list[i].raw_at;
			/* Bounded by the field: SIGNATURE_VALUE_MAX and a name. */
			struct buf without = BUF_INIT(whole.len + 1);
			enum err e = buf_append(&without, bytes_slice(whole, 0, at));
			if (e == ERR_OK) {
				e = buf_append(&without, bytes_from(whole, at + tags->list[i].raw_len));
			}
			if (e == ERR_OK) {
				canon_field(c, buf_bytes(&without), relaxed, false);
			} else {
				c->error = e;
			}
			buf_clear(&without);
			return;
		}
	}
	canon_field(c, whole, relaxed, false);
}

/* From the bottom up: the lowest field of that name that was not taken yet. */
static const struct mail_field *
take_field(const struct header_index *h, uint8_t *taken, struct bytes name)
{
	uint32_t hash = hash_name(name);
	for (size_t i = h->count; i-- > 0;) {
		if (h->hashes[i] == hash && taken[i] == 0 && bytes_equal_nocase(h->fields[i].name, name)) {
			taken[i] = 1;
			return &h->fields[i];
		}
	}
	return NULL;
}

/* Fields of which a message has one at most (RFC 5322 section 3.6, RFC 2045 section 3, RFC 2183, 3282, 2557, 1864). */
static bool
stands_once(struct bytes name)
{
	static const char *const once[] = {"From",
					   "Sender",
					   "Reply-To",
					   "To",
					   "Cc",
					   "Bcc",
					   "Message-ID",
					   "In-Reply-To",
					   "References",
					   "Subject",
					   "Date",
					   "MIME-Version",
					   "Content-Type",
					   "Content-Transfer-Encoding",
					   "Content-Disposition",
					   "Content-ID",
					   "Content-Description",
					   "Content-Language",
					   "Content-Location",
					   "Content-MD5"};
	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
		if (bytes_is_nocase(name, once[i])) {
			return true;
		}
	}
	return false;
}

/*
 * A second Subject on top leaves the signature over the first one whole, and is what readers show (RFC 6376 section 8.15). One such field
 * that is not signed at all is the signer's own choice, and no sign of a change.
 */
static bool
has_unsigned_double(const struct header_index *h, const uint8_t *taken)
{
	for (size_t i = 0; i < h->count; i++) {
		if (taken[i] != 0 || !stands_once(h->fields[i].name)) {
			continue;
		}
		/* Comes here once for each name at most, unless there is another one. */
		for (size_t k = 0; k < h->count; k++) {
			if (k != i && h->hashes[k] == h->hashes[i] &&
			    bytes_equal_nocase(h->fields[k].name, h->fields[i].name)) {
				return true;
			}
		}
	}
	return false;
}

enum err
signature_digest(struct arena *a, const struct signature *s, const struct header_index *h,
		 uint8_t ret_digest[CANON_DIGEST_LEN], struct finding *ret)
{
	struct canon c;
	struct bytes name;
	size_t names = 0;
	uint8_t *taken = arena_alloc(a, h->count + 1);
	if (taken == NULL) {
		return ERR_MEMORY;
	}
	*ret = (struct finding){AUTHENTICATION_PASS, NULL};
	if (canon_begin(&c, CANON_NO_LIMIT) == ERR_OK) {
		for (struct bytes list = s->names; tags_item(&list, ':', &name);) {
			if (++names > SIGNED_NAMES_MAX || h->too_many) {
				*ret = wrong("too many fields");
				break;
			}
			const struct mail_field *field = take_field(h, taken, name);
			if (field != NULL) {
				canon_field(&c, field->whole, s->relaxed_header, true);
			}
		}
		signature_own_field(&c, s->field, &s->tags, s->relaxed_header);
		if (ret->why == NULL && has_unsigned_double(h, taken)) {
			*ret = wrong("a field that may stand once stands again, not signed");
		}
	}
	return canon_end(&c, ret_digest);
}
