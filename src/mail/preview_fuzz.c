/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/preview.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool good)
{
	if (!good) {
		abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a;
	struct mail_structure s;
	struct buf out = BUF_INIT(MAIL_PREVIEW_MAX);
	uint32_t at = 0;
	arena_init(&a, MAIL_PARSE_MEMORY);
	check(mail_parse(&a, bytes_of(data, size), &s) == ERR_OK);
	if (mail_preview_part(&s, &at) == ERR_OK) {
		const struct mail_part *p = &s.parts[at];
		check(mail_preview(p, bytes_slice(bytes_of(data, size), p->body_at, p->body_len), &out) ==
		      ERR_OK);
		check(bytes_is_utf8(buf_bytes(&out)));
		size_t characters = 0;
		for (size_t i = 0; i < out.len; i++) {
			check(out.ptr[i] >= 0x20);
			characters += (out.ptr[i] & 0xc0) != 0x80 ? 1 : 0;
		}
		check(characters <= MAIL_PREVIEW_CHARACTERS);
	}
	buf_clear(&out);
	arena_clear(&a);
	return 0;
}
