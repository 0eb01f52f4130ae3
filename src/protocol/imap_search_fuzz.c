/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "mail/summary.h"
#include "protocol/imap_search.h"
#include "protocol/imap_section.h"
#include "protocol/imap_structure.h"

static const struct imap_set nothing_saved;

/*
 * The first line is a command, what follows is a message: SEARCH is evaluated with
 * everything loaded, FETCH resolved; ENVELOPE and BODYSTRUCTURE are written.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
search(struct arena *arena, const struct imap_command *c, struct bytes message,
       const struct mail_structure *s)
{
	struct imap_search_text text;
	enum imap_match match = IMAP_MATCH_NO;
	struct imap_search_message m = {.sequence = 1, .uid = 1, .size = message.len, .modseq = 1};
	if (imap_search_prepare(arena, c->search.key, 1, 1, &nothing_saved) != ERR_OK) {
		return;
	}
	imap_search_text_init(&text);
	for (int stage = 0; stage < 3; stage++) {
		m.envelope = stage >= 1 ? s->parts[0].envelope : NULL;
		m.message = stage >= 2 && message.ptr != NULL ? message : BYTES_EMPTY;
		m.structure = stage >= 2 ? s : NULL;
		if (imap_search_match(c->search.key, &m, 0, &text, &match) != ERR_OK) {
			break;
		}
		if (stage == 2 && message.ptr != NULL && match != IMAP_MATCH_NO && match != IMAP_MATCH_YES) {
			abort();
		}
	}
	imap_search_text_clear(&text);
}

static void
fetch(const struct imap_command *c, struct bytes message, const struct mail_structure *s)
{
	for (size_t i = 0; i < c->fetch.count; i++) {
		struct imap_plan plan;
		const struct imap_fetch_item *item = &c->fetch.items[i];
		struct buf out = BUF_INIT(1 << 20);
		if (imap_fetch_needs_message(item) && imap_section_resolve(s, item, &plan) == ERR_OK) {
			if (plan.at > message.len || plan.len > message.len - plan.at) {
				abort();
			}
			if (plan.kind == IMAP_PLAN_FILTER &&
			    imap_section_filter(&item->section, bytes_slice(message, plan.at, plan.len),
						&out) == ERR_OK &&
			    out.len > plan.len + 4) {
				abort();
			}
		}
		buf_clear(&out);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes all = bytes_of(data, size);
	ptrdiff_t end = bytes_find(all, '\n');
	struct bytes line = end < 0 ? all : bytes_slice(all, 0, (size_t)end);
	struct bytes message = end < 0 ? BYTES_EMPTY : bytes_from(all, (size_t)end + 1);
	struct arena arena;
	struct imap_command c;
	struct mail_structure s;
	arena_init(&arena, MAIL_PARSE_MEMORY);
	if (mail_parse(&arena, message, &s) == ERR_OK) {
		struct buf out = BUF_INIT((size_t)16 << 20);
		struct imap_writer w;
		imap_writer_init(&w, &out, false);
		imap_write_structure(&w, &s, true);
		if (s.parts[0].envelope != NULL) {
			imap_write_envelope(&w, s.parts[0].envelope);
		}
		buf_clear(&out);
		if (imap_command_parse(&arena, line, false, &c, NULL) == ERR_OK) {
			if (c.verb == IMAP_SEARCH) {
				search(&arena, &c, message, &s);
			} else if (c.verb == IMAP_FETCH) {
				fetch(&c, message, &s);
			}
		}
	}
	arena_clear(&arena);
	return 0;
}
