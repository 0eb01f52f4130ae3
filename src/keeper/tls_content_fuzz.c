/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/tls_content.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * What is signed has one of few lengths, and one of two 65th octets; and of TLS 1.3 nothing but the hash is free: any other
 * octet changed makes it something that is not signed.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes content = bytes_of(data, size);
	enum tls_content kind = tls_content_kind(content);
	if (kind == TLS_CONTENT_NONE) {
		return 0;
	}
	if (size > TLS_CONTENT_MAX || content.ptr[64] != (kind == TLS_CONTENT_13 ? 'T' : 3)) {
		panic("a form that is not signed");
	}
	if (kind == TLS_CONTENT_13) {
		struct buf changed = BUF_INIT(TLS_CONTENT_MAX);
		for (size_t i = 0; i < 98; i++) {
			if (buf_append(&changed, content) != ERR_OK) {
				panic("memory");
			}
			changed.ptr[i] ^= 0x20;
			if (tls_content_kind(buf_bytes(&changed)) != TLS_CONTENT_NONE) {
				panic("a changed context is signed");
			}
			buf_reset(&changed);
		}
		buf_clear(&changed);
	}
	/* Nothing behind the end, and nothing missing. */
	if (tls_content_kind(bytes_slice(content, 0, size - 1)) != TLS_CONTENT_NONE) {
		panic("a cut content is signed");
	}
	return 0;
}
