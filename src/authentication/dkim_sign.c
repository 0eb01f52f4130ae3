/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "authentication/signature.h"

enum { SIGN_ARENA_MAX = 2 << 20, TEXT_MAX = 8 * 1024 };

static enum err
sign_with(const struct header_index *h, const uint8_t body[CANON_DIGEST_LEN],
	  const struct dkim_signer *signer, struct buf *out)
{
	struct canon c;
	struct buf names = BUF_INIT(TEXT_MAX);
	struct buf text = BUF_INIT(TEXT_MAX);
	enum err e = canon_begin(&c, CANON_NO_LIMIT);
	if (e == ERR_OK) {
		e = signature_choose(h, &names, &c);
	}
	if (e == ERR_OK) {
		e = buf_printf(&text, "v=1; a=%s; c=relaxed/relaxed;\r\n\td=%s; s=%s;\r\n\th=%.*s;\r\n\tbh=",
			       signer->algorithm == DKIM_RSA_SHA256 ? "rsa-sha256" : "ed25519-sha256",
			       signer->domain, signer->selector, (int)names.len, (const char *)names.ptr);
	}
	if (e == ERR_OK) {
		e = buf_append_base64(&text, bytes_of(body, CANON_DIGEST_LEN));
	}
	if (e == ERR_OK) {
		e = buf_append_str(&text, ";");
	}
	if (e == ERR_OK) {
		e = signature_write("DKIM-Signature", buf_bytes(&text), &c, signer, out);
	} else {
		uint8_t unused[CANON_DIGEST_LEN];
		(void)!canon_end(&c, unused);
	}
	buf_clear(&names);
	buf_clear(&text);
	return e;
}

enum err
dkim_sign(struct bytes message, const struct dkim_signer *signers, size_t count, struct buf *out)
{
	struct arena a;
	struct header_index h;
	struct canon body;
	uint8_t digest[CANON_DIGEST_LEN];
	arena_init(&a, SIGN_ARENA_MAX);
	enum err e = header_index_make(&a, message, &h);
	if (e == ERR_OK && h.too_many) {
		e = ERR_LIMIT;
	}
	if (e == ERR_OK) {
		e = canon_begin(&body, CANON_NO_LIMIT);
		if (e == ERR_OK) {
			canon_body(&body, h.body, true);
		}
		enum err hashed = canon_end(&body, digest);
		e = e == ERR_OK ? hashed : e;
	}
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		e = sign_with(&h, digest, &signers[i], out);
	}
	arena_clear(&a);
	return e;
}

enum err
dkim_record(enum dkim_algorithm algorithm, struct bytes public_key, struct buf *out)
{
	enum err e = buf_append_str(out, algorithm == DKIM_RSA_SHA256 ? "v=DKIM1; k=rsa; p="
								      : "v=DKIM1; k=ed25519; p=");
	return e == ERR_OK ? buf_append_base64(out, public_key) : e;
}
