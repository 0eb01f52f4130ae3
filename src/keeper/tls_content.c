/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/tls_content.h"

enum { PADDING = 64, RANDOMS = 64, NAMED_CURVE = 3, UNCOMPRESSED = 4 };

static bool
is_certificate_verify(struct bytes content)
{
	/* With the zero octet behind it. */
	static const char context[] = "TLS 1.3, server CertificateVerify";
	const size_t head = PADDING + sizeof(context);
	if (content.len != head + 32 && content.len != head + 48) {
		return false;
	}
	for (size_t i = 0; i < PADDING; i++) {
		if (content.ptr[i] != ' ') {
			return false;
		}
	}
	return bytes_equal(bytes_slice(content, PADDING, sizeof(context)),
			   bytes_of(context, sizeof(context)));
}

static bool
is_server_key_exchange(struct bytes content)
{
	/* The groups of loop/tls.c: RFC 8422 section 5.1.1. */
	static const struct {
		uint8_t group;
		uint8_t len;
		bool point;
	} groups[] = {{29, 32, false}, {23, 65, true}, {24, 97, true}};
	struct bytes p = bytes_from(content, RANDOMS);
	if (p.len < 5 || p.ptr[0] != NAMED_CURVE || p.ptr[1] != 0) {
		return false;
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (p.ptr[2] == groups[i].group) {
			return p.ptr[3] == groups[i].len && p.len == 4U + groups[i].len &&
			       (!groups[i].point || p.ptr[4] == UNCOMPRESSED);
		}
	}
	return false;
}

enum tls_content
tls_content_kind(struct bytes content)
{
	return is_certificate_verify(content)    ? TLS_CONTENT_13
	       : is_server_key_exchange(content) ? TLS_CONTENT_12
						 : TLS_CONTENT_NONE;
}

enum err
tls_scheme_read(unsigned scheme, enum tls_content kind, struct tls_scheme *ret)
{
	static const struct {
		unsigned scheme;
		struct tls_scheme how;
	} schemes[] = {
	    {0x0403, {.rsa = false, .bits = 256}},
	    {0x0503, {.rsa = false, .bits = 384}},
	    {0x0603, {.rsa = false, .bits = 512}},
	    {0x0804, {.rsa = true, .pss = true, .bits = 256}},
	    {0x0805, {.rsa = true, .pss = true, .bits = 384}},
	    {0x0806, {.rsa = true, .pss = true, .bits = 512}},
	    {0x0401, {.rsa = true, .bits = 256}},
	    {0x0501, {.rsa = true, .bits = 384}},
	    {0x0601, {.rsa = true, .bits = 512}},
	};
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		const struct tls_scheme *how = &schemes[i].how;
		if (schemes[i].scheme == scheme && kind != TLS_CONTENT_NONE &&
		    (kind == TLS_CONTENT_12 || !how->rsa || how->pss)) {
			*ret = *how;
			return ERR_OK;
		}
	}
	return ERR_DENIED;
}
