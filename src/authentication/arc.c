/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/arc.h"

#include <string.h>

#include "authentication/signature.h"

enum { RESULTS_KIND, MESSAGE_KIND, SEAL_KIND, KINDS, PAYLOAD_MAX = 8 * 1024, ARC_MEMORY_MAX = 4 << 20 };

struct arc_set {
	const struct mail_field *field[KINDS];
};
struct chain {
	struct arc_set sets[ARC_SETS_MAX];
	unsigned count;
	bool broken;
	bool unnumbered;    /* some field has no number that can be one */
	unsigned failed_at; /* the highest seal that says cv=fail */
	bool any;
};

/* "i=N;" in front of an ARC-Authentication-Results (RFC 8617 section 4.1.1); its payload stands behind. */
static bool
results_instance(struct bytes value, unsigned *ret_instance, struct bytes *ret_payload)
{
	ptrdiff_t semicolon = bytes_find(value, ';');
	ptrdiff_t equals = bytes_find(value, '=');
	uint64_t n;
	if (semicolon < 0 || equals < 0 || equals > semicolon ||
	    !bytes_is_nocase(bytes_trim(bytes_slice(value, 0, (size_t)equals)), "i") ||
	    bytes_to_u64(bytes_trim(bytes_slice(value, (size_t)equals + 1, (size_t)(semicolon - equals - 1))),
			 ARC_SETS_MAX, &n) != ERR_OK ||
	    n == 0) {
		return false;
	}
	*ret_instance = (unsigned)n;
	*ret_payload = bytes_trim(bytes_from(value, (size_t)semicolon + 1));
	return true;
}

static bool
tagged_instance(struct bytes value, unsigned *ret_instance)
{
	struct tags tags;
	struct bytes i;
	uint64_t n;
	if (value.len > SIGNATURE_VALUE_MAX || tags_parse(value, &tags) != ERR_OK ||
	    !tags_find(&tags, "i", &i) || bytes_to_u64(i, ARC_SETS_MAX, &n) != ERR_OK || n == 0) {
		return false;
	}
	*ret_instance = (unsigned)n;
	return true;
}

static int
kind_of(struct bytes name)
{
	return bytes_is_nocase(name, "ARC-Authentication-Results") ? RESULTS_KIND
	       : bytes_is_nocase(name, "ARC-Message-Signature")    ? MESSAGE_KIND
	       : bytes_is_nocase(name, "ARC-Seal")                 ? SEAL_KIND
								   : KINDS;
}

/* Which chain validation a seal states: 'n', 'p', 'f', or 0. */
static char
stated(const struct mail_field *seal)
{
	struct tags tags;
	struct bytes cv;
	if (tags_parse(seal->value, &tags) != ERR_OK || !tags_find(&tags, "cv", &cv)) {
		return 0;
	}
	return bytes_is_nocase(cv, "none")   ? 'n'
	       : bytes_is_nocase(cv, "pass") ? 'p'
	       : bytes_is_nocase(cv, "fail") ? 'f'
					     : 0;
}

/* Sets the fields beside each other; broken where one is missing, double, or beyond the limit. */
static void
collect(const struct header_index *h, struct chain *chain)
{
	struct bytes payload;
	memset(chain, 0, sizeof(*chain));
	for (size_t i = 0; i < h->count; i++) {
		int kind = kind_of(h->fields[i].name);
		unsigned n = 0;
		if (kind == KINDS) {
			continue;
		}
		chain->any = true;
		bool read = kind == RESULTS_KIND ? results_instance(h->fields[i].value, &n, &payload)
						 : tagged_instance(h->fields[i].value, &n);
		if (!read) {
			chain->broken = chain->unnumbered = true;
			continue;
		}
		/* Of a broken one, too, the number of the next set is known. */
		chain->count = n > chain->count ? n : chain->count;
		if (kind == SEAL_KIND && n > chain->failed_at && stated(&h->fields[i]) == 'f') {
			chain->failed_at = n;
		}
		if (chain->sets[n - 1].field[kind] != NULL) {
			chain->broken = true;
			continue;
		}
		chain->sets[n - 1].field[kind] = &h->fields[i];
	}
	for (unsigned n = 0; n < chain->count; n++) {
		for (int kind = 0; kind < KINDS; kind++) {
			chain->broken = chain->broken || chain->sets[n].field[kind] == NULL;
		}
	}
	chain->broken = chain->broken || h->too_many;
}

/* Sets first..last of the chain, the fields of each in their order; of the last seal not its signature. */
static void
hash_sets(struct canon *c, const struct chain *chain, unsigned count, const struct tags *last)
{
	for (unsigned n = 0; n < count; n++) {
		for (int kind = 0; kind < KINDS; kind++) {
			if (last != NULL && n == count - 1 && kind == SEAL_KIND) {
				signature_own_field(c, chain->sets[n].field[kind], last, true);
			} else {
				canon_field(c, chain->sets[n].field[kind]->whole, true, true);
			}
		}
	}
}

static enum err
check_message(struct arena *a, const struct chain *chain, const struct header_index *h,
	      const struct authentication_dns *dns, struct finding *ret)
{
	struct signature s;
	struct body_hashes hashes;
	uint8_t digest[CANON_DIGEST_LEN];
	struct finding body = {AUTHENTICATION_PASS, NULL};
	memset(&hashes, 0, sizeof(hashes));
	enum err e = signature_read(chain->sets[chain->count - 1].field[MESSAGE_KIND], true, &s, ret);
	if (e == ERR_OK && ret->why == NULL) {
		e = signature_body(&s, h, &hashes, &body);
		*ret = body;
	}
	if (e == ERR_OK && ret->why == NULL) {
		e = signature_digest(a, &s, h, digest, ret);
	}
	if (e == ERR_OK && ret->why == NULL) {
		signature_check(&s, digest, BYTES_EMPTY, dns, NULL, ret);
	}
	buf_clear(&s.made);
	return e;
}

static enum err
check_seal(const struct chain *chain, unsigned count, const struct authentication_dns *dns,
	   struct finding *ret)
{
	struct signature s;
	struct canon c;
	struct bytes h;
	uint8_t digest[CANON_DIGEST_LEN];
	enum err e = signature_read(chain->sets[count - 1].field[SEAL_KIND], false, &s, ret);
	if (e == ERR_OK && ret->why == NULL && tags_find(&s.tags, "h", &h)) {
		*ret =
		    (struct finding){AUTHENTICATION_FAIL, "a seal names fields"}; /* RFC 8617 section 4.1.3 */
	}
	if (e == ERR_OK && ret->why == NULL) {
		if (canon_begin(&c, CANON_NO_LIMIT) == ERR_OK) {
			hash_sets(&c, chain, count, &s.tags);
		}
		e = canon_end(&c, digest);
		if (e == ERR_OK) {
			signature_check(&s, digest, BYTES_EMPTY, dns, NULL, ret);
		}
	}
	buf_clear(&s.made);
	return e;
}

/* RFC 8617 section 5.2. */
static enum err
validate(struct arena *a, const struct chain *chain, const struct header_index *h,
	 const struct authentication_dns *dns, struct finding *ret)
{
	*ret = (struct finding){AUTHENTICATION_FAIL, "the chain is broken"};
	if (chain->broken || chain->count == 0) {
		return ERR_OK;
	}
	for (unsigned n = 0; n < chain->count; n++) {
		if (stated(chain->sets[n].field[SEAL_KIND]) != (n == 0 ? 'n' : 'p')) {
			ret->why = "a seal does not vouch for the chain before it";
			return ERR_OK;
		}
	}
	enum err e = check_message(a, chain, h, dns, ret);
	for (unsigned n = chain->count; e == ERR_OK && ret->why == NULL && n > 0; n--) {
		e = check_seal(chain, n, dns, ret);
	}
	return e;
}

enum err
arc_verify(struct arena *a, struct bytes message, const struct authentication_dns *dns,
	   struct arc_verdict *ret)
{
	struct header_index h;
	struct finding f = {AUTHENTICATION_NONE, NULL};
	struct bytes payload;
	unsigned instance;
	memset(ret, 0, sizeof(*ret));
	struct chain *chain = arena_alloc(a, sizeof(*chain));
	enum err e = chain == NULL ? ERR_MEMORY : header_index_make(a, message, &h);
	if (e != ERR_OK) {
		return e;
	}
	collect(&h, chain);
	if (chain->any) {
		e = validate(a, chain, &h, dns, &f);
		ret->sets = chain->count;
		ret->ended = chain->unnumbered || h.too_many || chain->failed_at == chain->count;
		if (f.result != AUTHENTICATION_PASS && f.result != AUTHENTICATION_TEMPERROR) {
			f.result = AUTHENTICATION_FAIL;
		}
	}
	ret->result = f.result;
	ret->why = f.why;
	if (e == ERR_OK && f.result == AUTHENTICATION_PASS && chain->any) {
		ret->sealers = arena_array(a, chain->count, sizeof(*ret->sealers));
		ret->results = arena_array(a, chain->count, sizeof(*ret->results));
		e = ret->sealers == NULL || ret->results == NULL ? ERR_MEMORY : ERR_OK;
	}
	for (unsigned n = 0; e == ERR_OK && ret->results != NULL && n < chain->count; n++) {
		struct tags tags;
		struct bytes d = BYTES_EMPTY;
		if (tags_parse(chain->sets[n].field[SEAL_KIND]->value, &tags) == ERR_OK) {
			(void)tags_find(&tags, "d", &d);
		}
		ret->sealers[n] = text_lower(a, d);
		if (results_instance(chain->sets[n].field[RESULTS_KIND]->value, &instance, &payload)) {
			ret->results[n] = arena_copy(a, payload);
		}
	}
	return e;
}

/* ---- sealing ---- */

static const char *
algorithm_name(const struct dkim_signer *signer)
{
	return signer->algorithm == DKIM_RSA_SHA256 ? "rsa-sha256" : "ed25519-sha256";
}

static enum err
write_results(unsigned instance, struct bytes results, struct buf *out)
{
	enum err e = buf_printf(out, "ARC-Authentication-Results: i=%u; ", instance);
	if (e == ERR_OK) {
		e = buf_append(out, bytes_trim(results));
	}
	return e == ERR_OK ? buf_append_str(out, "\r\n") : e;
}

static enum err
write_message_signature(unsigned instance, const struct header_index *h, const struct dkim_signer *signer,
			struct buf *out)
{
	struct canon body;
	struct canon c = {.md = NULL};
	struct buf names = BUF_INIT(PAYLOAD_MAX);
	struct buf text = BUF_INIT(PAYLOAD_MAX);
	uint8_t digest[CANON_DIGEST_LEN];
	enum err e = canon_begin(&body, CANON_NO_LIMIT);
	if (e == ERR_OK) {
		canon_body(&body, h->body, true);
	}
	enum err hashed = canon_end(&body, digest);
	e = e == ERR_OK ? hashed : e;
	if (e == ERR_OK) {
		e = canon_begin(&c, CANON_NO_LIMIT);
	}
	if (e == ERR_OK) {
		e = signature_choose(h, &names, &c);
	}
	if (e == ERR_OK) {
		e = buf_printf(&text, "i=%u; a=%s; c=relaxed/relaxed;\r\n\td=%s; s=%s;\r\n\th=%.*s;\r\n\tbh=",
			       instance, algorithm_name(signer), signer->domain, signer->selector,
			       (int)names.len, (const char *)names.ptr);
	}
	if (e == ERR_OK) {
		e = buf_append_base64(&text, bytes_of(digest, sizeof(digest)));
	}
	if (e == ERR_OK) {
		e = buf_append_str(&text, ";");
	}
	if (e == ERR_OK) {
		e = signature_write("ARC-Message-Signature", buf_bytes(&text), &c, signer, out);
	} else if (c.md != NULL) {
		(void)!canon_end(&c, digest);
	}
	buf_clear(&names);
	buf_clear(&text);
	return e;
}

enum err
arc_seal(struct bytes message, const struct arc_verdict *before, struct bytes results,
	 const struct dkim_signer *signer, struct buf *out)
{
	struct arena a;
	struct header_index h;
	struct canon c = {.md = NULL};
	struct buf text = BUF_INIT(PAYLOAD_MAX);
	struct buf first = BUF_INIT(PAYLOAD_MAX * 4);
	struct buf second = BUF_INIT(PAYLOAD_MAX * 4);
	struct buf seal = BUF_INIT(PAYLOAD_MAX * 4);
	unsigned instance = before->sets + 1;
	bool failed = before->result != AUTHENTICATION_PASS && before->result != AUTHENTICATION_NONE;
	if (before->sets >= ARC_SETS_MAX) {
		return ERR_LIMIT;
	}
	arena_init(&a, ARC_MEMORY_MAX);
	struct chain *chain = arena_alloc(&a, sizeof(*chain));
	enum err e = chain == NULL ? ERR_MEMORY : header_index_make(&a, message, &h);
	if (e == ERR_OK) {
		e = write_results(instance, results, &first);
	}
	if (e == ERR_OK) {
		e = write_message_signature(instance, &h, signer, &second);
	}
	if (e == ERR_OK) {
		e = canon_begin(&c, CANON_NO_LIMIT);
	}
	if (e == ERR_OK) {
		collect(&h, chain);
		/* Over a broken chain the seal vouches for its own set alone (RFC 8617 section 5.1.2). */
		if (!failed) {
			hash_sets(&c, chain, before->sets, NULL);
		}
		canon_field(&c, buf_bytes(&first), true, true);
		canon_field(&c, buf_bytes(&second), true, true);
		e = buf_printf(&text, "i=%u; a=%s; cv=%s;\r\n\td=%s; s=%s;", instance, algorithm_name(signer),
			       failed          ? "fail"
			       : instance == 1 ? "none"
					       : "pass",
			       signer->domain, signer->selector);
	}
	if (e == ERR_OK) {
		e = signature_write("ARC-Seal", buf_bytes(&text), &c, signer, &seal);
	} else if (c.md != NULL) {
		uint8_t unused[CANON_DIGEST_LEN];
		(void)!canon_end(&c, unused);
	}
	const struct buf *const all[] = {&seal, &second, &first};
	for (size_t i = 0; i < 3 && e == ERR_OK; i++) {
		e = buf_append(out, buf_bytes(all[i]));
	}
	buf_clear(&text);
	buf_clear(&first);
	buf_clear(&second);
	buf_clear(&seal);
	arena_clear(&a);
	return e;
}
