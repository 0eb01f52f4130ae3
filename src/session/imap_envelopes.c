/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The envelopes of what a search has found, from its cards: for SORT and THREAD. */
#include "mail/summary.h"
#include "session/imap_search.h"

enum err
imap_each_envelope(struct imap *im, const struct imap_found *found, imap_envelope_fn *fn, void *arg)
{
	struct message_reader *reader = NULL;
	struct message m;
	struct arena arena;
	arena_init(&arena, IMAP_ARENA_MAX);
	enum err e = message_reader_create(im->member, MESSAGE_CARD, found->items, found->count, &reader);
	for (size_t i = 0; e == ERR_OK && message_reader_next(reader, &m); i++) {
		struct mail_envelope envelope;
		bool readable = m.error == ERR_OK;
		e = m.error == ERR_DAMAGED ? ERR_OK : m.error;
		if (readable) {
			enum err decoded = mail_summary_decode_envelope(&arena, m.card.summary, &envelope);
			readable = decoded == ERR_OK;
			e = decoded == ERR_MEMORY ? decoded : ERR_OK;
		}
		e = e == ERR_OK ? fn(arg, &arena, i, readable ? &envelope : NULL) : e;
		arena_clear(&arena);
		arena_init(&arena, IMAP_ARENA_MAX);
		e = e == ERR_OK ? imap_progress(im, i, found->count) : e;
	}
	message_reader_destroy(&reader);
	arena_clear(&arena);
	return e;
}
