/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "protocol/imap_command.h"
#include "protocol/imap_reader.h"

/* Reader and parser: the first octet chooses the limits, UTF-8, the pieces and the answers. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_MAX = 4 << 20 };

static void
parse(struct bytes text, unsigned modes)
{
	struct arena arena;
	struct imap_command c;
	arena_init(&arena, ARENA_MAX);
	if (imap_command_parse(&arena, text, modes, &c, NULL) == ERR_OK) {
		if (!imap_tag_valid(c.tag) || c.verb >= IMAP_VERB__COUNT) {
			abort();
		}
		struct imap_set set;
		if (c.set.count > 0 && imap_set_resolve(&arena, &c.set, 100, &set) == ERR_OK) {
			for (size_t i = 1; i < set.count; i++) {
				if (set.ranges[i].first <= set.ranges[i - 1].last) {
					abort();
				}
			}
		}
	}
	arena_clear(&arena);
}

static void
parse_more(struct bytes text)
{
	struct arena arena;
	struct imap_append_part part;
	const char *why = NULL;
	arena_init(&arena, ARENA_MAX);
	for (int in_utf8 = 0; in_utf8 < 2; in_utf8++) {
		if (imap_append_part_parse(&arena, text, IMAP_MODE_ALL, in_utf8 != 0, &part, &why) ==
			ERR_OK &&
		    part.utf8 && !part.literal8) {
			abort();
		}
	}
	arena_clear(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) {
		return 0;
	}
	uint8_t mode = data[0];
	struct bytes all = bytes_of(data + 1, size - 1);
	struct imap_reader r;
	imap_reader_init(&r,
			 (mode & 1) != 0 ? imap_reader_limits_session(100000) : imap_reader_limits_gate());
	size_t piece = (mode & 2) != 0 ? 1 + (size_t)(mode >> 4) : all.len + 1;
	uint64_t streaming = 0;
	for (size_t at = 0; at < all.len; at += piece) {
		struct bytes input = bytes_slice(all, at, piece);
		for (;;) {
			struct imap_event e = imap_reader_next(&r, &input);
			if (e.kind == IMAP_EVENT_NONE) {
				if (input.len != 0) {
					abort();
				}
				break;
			}
			if (e.kind == IMAP_EVENT_COMMAND) {
				parse(e.text, (mode >> 2) & IMAP_MODE_ALL);
				if (bytes_ends_with_nocase(e.text, "IDLE")) {
					imap_reader_expect_line(&r, 20);
				}
			} else if (e.kind == IMAP_EVENT_APPEND || e.kind == IMAP_EVENT_APPEND_MORE) {
				if (e.kind == IMAP_EVENT_APPEND) {
					parse(e.text, IMAP_MODE_ALL);
				} else {
					parse_more(e.text);
				}
				streaming = e.size;
				if ((mode & 8) != 0) {
					imap_reader_accept(&r);
				} else {
					imap_reader_refuse(&r);
				}
			} else if (e.kind == IMAP_EVENT_DATA) {
				if (e.text.len > streaming) {
					abort();
				}
				streaming -= e.text.len;
			} else if (e.kind == IMAP_EVENT_APPEND_END && streaming != 0) {
				abort();
			}
			if (imap_reader_held(&r) > (size_t)4 * IMAP_SESSION_COMMAND_MAX) {
				abort();
			}
		}
	}
	imap_reader_clear(&r);
	parse(all, (mode >> 2) & IMAP_MODE_ALL);
	return 0;
}
