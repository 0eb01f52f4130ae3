/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/summary.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_part(const struct mail_structure *s, size_t i)
{
	const struct mail_part *part = &s->parts[i];
	size_t end = part->body_at + part->body_len;
	bool good = end <= s->size && part->body_at == part->header_at + part->header_len &&
		    part->depth < MAIL_MAX_DEPTH &&
		    (part->kind == MAIL_PART_LEAF) == (part->child_count == 0);
	if (i > 0) {
		const struct mail_part *parent = &s->parts[part->parent];
		good = good && part->parent < i && part->header_at >= parent->body_at &&
		       end <= parent->body_at + parent->body_len;
	}
	if (!good) {
		panic("mail summary: an unchecked part came through");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct mail_structure s;
	struct mail_envelope envelope;
	struct bytes wire = bytes_of(data, size);
	/* The declared size stands behind version and flags. */
	size_t message_size =
	    size < 6 ? 0
		     : (size_t)data[2] << 24 | (size_t)data[3] << 16 | (size_t)data[4] << 8 | (size_t)data[5];
	arena_init(&arena, MAIL_SUMMARY_MEMORY);
	if (mail_summary_decode(&arena, wire, message_size, &s) == ERR_OK) {
		for (size_t i = 0; i < s.count; i++) {
			check_part(&s, i);
		}
		if (s.parts[0].envelope == NULL) {
			panic("mail summary: no envelope");
		}
	}
	if (mail_summary_decode_envelope(&arena, wire, &envelope) == ERR_OK) {
		struct mail_envelope front;
		if (mail_summary_decode_front(wire, &front) != ERR_OK ||
		    !bytes_equal(front.subject, envelope.subject)) {
			abort();
		}
	}
	arena_clear(&arena);
	return 0;
}
