/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdio.h>
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

/* Any octets as a literal at a command's end and in its midst are what they are as a quoted string, and the reader stays in step. */
static void
literal_is_quoted(struct bytes value, size_t piece)
{
	struct buf text = BUF_INIT(4096);
	struct arena arena;
	struct imap_reader r;
	struct imap_event e[4];
	char head[40];
	size_t count = 0;
	value = bytes_slice(value, 0, 200);
	arena_init(&arena, ARENA_MAX);
	imap_reader_init(&r, imap_reader_limits_session(100000));
	(void)snprintf(head, sizeof(head), "{%zu+}\r\n", value.len);
	enum err bad = buf_append_str(&text, "a LOGIN ");
	for (int i = 0; i < 2; i++) {
		bad = bad == ERR_OK ? buf_append_str(&text, i == 0 ? head : " ") : bad;
		bad = bad == ERR_OK ? buf_append_str(&text, i == 0 ? "" : head) : bad;
		bad = bad == ERR_OK ? buf_append(&text, value) : bad;
	}
	bad = bad == ERR_OK ? buf_append_str(&text, "\r\nb LOGIN ") : bad;
	for (int i = 0; i < 2; i++) {
		bad = bad == ERR_OK ? buf_append_str(&text, i == 0 ? "\"" : " \"") : bad;
		for (size_t k = 0; k < value.len && bad == ERR_OK; k++) {
			bad =
			    value.ptr[k] == '"' || value.ptr[k] == '\\' ? buf_append_byte(&text, '\\') : bad;
			bad = bad == ERR_OK ? buf_append_byte(&text, value.ptr[k]) : bad;
		}
		bad = bad == ERR_OK ? buf_append_byte(&text, '"') : bad;
	}
	bad = bad == ERR_OK ? buf_append_str(&text, "\r\nc NOOP\r\n") : bad;
	struct bytes all = bad == ERR_OK ? buf_bytes(&text) : BYTES_EMPTY;
	bool plain = true; /* what a quoted string may hold */
	for (size_t k = 0; k < value.len; k++) {
		plain = plain && value.ptr[k] >= 0x20 && value.ptr[k] < 0x7f;
	}
	for (size_t at = 0; at < all.len && plain; at += piece) {
		struct bytes input = bytes_slice(all, at, piece);
		while ((e[count] = imap_reader_next(&r, &input)).kind != IMAP_EVENT_NONE) {
			struct imap_event *now = &e[count];
			if (now->kind != IMAP_EVENT_COMMAND || count == 3) {
				abort();
			}
			now->text = arena_copy(&arena, now->text);
			count++;
		}
	}
	if (count == 3) {
		struct imap_command c[3];
		enum err first = imap_command_parse(&arena, e[0].text, IMAP_MODE_ALL, &c[0], NULL);
		enum err second = imap_command_parse(&arena, e[1].text, IMAP_MODE_ALL, &c[1], NULL);
		if (first != second || imap_command_parse(&arena, e[2].text, 0, &c[2], NULL) != ERR_OK ||
		    c[2].verb != IMAP_NOOP || !bytes_is(c[2].tag, "c")) {
			abort();
		}
		if (first == ERR_OK && (!bytes_equal(c[0].login.name, c[1].login.name) ||
					!bytes_equal(c[0].login.password, c[1].login.password))) {
			abort();
		}
	} else if (plain && all.len > 0) {
		abort();
	}
	imap_reader_clear(&r);
	arena_clear(&arena);
	buf_clear(&text);
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
	literal_is_quoted(all, (mode & 2) != 0 ? 1 + (size_t)(mode >> 4) : all.len + 1000);
	return 0;
}
