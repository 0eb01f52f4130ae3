/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/decode.h"
#include "mail/summary.h"
#include "mail/write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is parsed must pass the summary's own checks, whatever the message was. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes message = bytes_of(data, size);
	struct arena arena;
	struct mail_structure parsed;
	struct mail_structure read;
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	struct buf out = BUF_INIT(16 << 20);
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
	if (mail_parse(&arena, message, &parsed) != ERR_OK || mail_summary_encode(&parsed, &wire) != ERR_OK ||
	    mail_summary_decode(&arena, buf_bytes(&wire), size, &read) != ERR_OK) {
		panic("mail structure: a message has no summary");
	}
	if (read.count != parsed.count && !read.truncated) {
		panic("mail structure: parts got lost");
	}
	for (size_t i = 0; i < read.count; i++) {
		const struct mail_part *part = &parsed.parts[i];
		buf_reset(&out);
		(void)!mail_decode(mail_encoding_of(part->encoding),
				   bytes_slice(message, part->body_at, part->body_len), &out);
	}
	buf_reset(&out);
	if (mail_downgrade_8bit(message, &out) == ERR_OK && !mail_has_8bit_header(message) &&
	    !bytes_is_ascii(buf_bytes(&out))) {
		/* Between the parts (preambles) nothing is rewritten. */
		bool between = false;
		for (size_t i = 0; i < parsed.count; i++) {
			between = between || parsed.parts[i].kind != MAIL_PART_LEAF;
		}
		if (!between) {
			panic("mail structure: 8-bit octets after the downgrade");
		}
	}
	buf_clear(&out);
	buf_clear(&wire);
	arena_clear(&arena);
	return 0;
}
