/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "protocol/imap_fold_case.h"
#include "protocol/imap_search_html.h"
#include "protocol/imap_subject.h"
#include "protocol/imap_thread.h"

/*
 * The octets as text: folded (twice gives the same as once), read as HTML, as a subject. And as messages of four octets, an
 * identifier, two references and what else there is: each number must be answered once, between brackets that balance.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 4 << 20, STEP = 4 };

static void
fold(struct bytes text)
{
	struct buf once = BUF_INIT(TEXT_MAX);
	struct buf twice = BUF_INIT(TEXT_MAX);
	/* Wrong octets may meet, when what stood between them is dropped, and be a character then. */
	bool whole = bytes_is_utf8(text);
	if (imap_fold_case(text, &once) == ERR_OK && whole) {
		/* More marks in a row than are sorted go on in the order in which they came. */
		if (!bytes_is_utf8(buf_bytes(&once)) || imap_fold_case(buf_bytes(&once), &twice) != ERR_OK ||
		    twice.len != once.len) {
			abort();
		}
	}
	buf_clear(&once);
	buf_clear(&twice);
}

static void
html(struct bytes text)
{
	struct buf out = BUF_INIT(TEXT_MAX);
	if (imap_search_html(text, &out) == ERR_OK && out.len > text.len + 2) {
		abort();
	}
	buf_clear(&out);
}

static void
subject(struct bytes text)
{
	struct buf copy = BUF_INIT(TEXT_MAX);
	struct bytes base;
	bool reply;
	if (buf_append(&copy, text) == ERR_OK) {
		imap_base_subject(&copy, &base, &reply);
		if (base.len > text.len ||
		    (base.len > 0 && (base.ptr[0] == ' ' || base.ptr[base.len - 1] == ' '))) {
			abort();
		}
	}
	buf_clear(&copy);
}

static void
check(const struct imap_threads *t, size_t count)
{
	struct buf out = BUF_INIT(TEXT_MAX);
	struct imap_writer w;
	uint32_t *stack = calloc(count + 1, sizeof(*stack));
	bool *seen = calloc(count + 1, sizeof(*seen));
	size_t found = 0;
	long depth = 0;
	if (stack == NULL || seen == NULL) {
		abort();
	}
	imap_writer_init(&w, &out, false);
	for (size_t i = 0; i < t->root_count; i++) {
		imap_thread_write(&w, t, t->roots[i], stack);
	}
	for (size_t i = 0; i < out.len; i++) {
		depth += out.ptr[i] == '(' ? 1 : out.ptr[i] == ')' ? -1 : 0;
		if (ascii_is_digit(out.ptr[i])) {
			size_t number = 0;
			while (i < out.len && ascii_is_digit(out.ptr[i])) {
				number = number * 10 + (size_t)(out.ptr[i++] - '0');
			}
			i--;
			if (number == 0 || number > count || seen[number]) {
				abort();
			}
			seen[number] = true;
			found++;
		}
		if (depth < 0) {
			abort();
		}
	}
	if (w.error != ERR_OK || depth != 0 || found != count) {
		abort();
	}
	buf_clear(&out);
	free(stack);
	free(seen);
}

static void
thread(struct bytes data)
{
	size_t count = data.len / STEP;
	struct arena arena;
	struct imap_threads t;
	arena_init(&arena, (size_t)64 << 20);
	struct imap_thread_message *m = arena_array(&arena, count + 1, sizeof(*m));
	struct imap_thread_key *references = arena_array(&arena, count * 2 + 1, sizeof(*references));
	if (m == NULL || references == NULL) {
		arena_clear(&arena);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const uint8_t *p = data.ptr + i * STEP;
		references[2 * i].octets[0] = p[1];
		references[2 * i + 1].octets[0] = p[2];
		m[i] = (struct imap_thread_message){.number = (uint32_t)i + 1,
						    .sent = p[3] & 7,
						    .reply = (p[3] & 8) != 0,
						    .has_id = p[0] != 0,
						    .id = {.octets = {p[0]}},
						    .subject = bytes_of(p + 3, (p[3] & 16) != 0 ? 1 : 0),
						    .references = &references[2 * i],
						    .reference_count = p[3] >> 6 > 2 ? 2 : p[3] >> 6};
	}
	if (imap_thread_references(&arena, m, count, &t) == ERR_OK) {
		check(&t, count);
	}
	if (imap_thread_subjects(&arena, m, count, &t) == ERR_OK) {
		check(&t, count);
	}
	arena_clear(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes all = bytes_of(data, size < 65536 ? size : 65536);
	struct buf id = BUF_INIT(1000);
	fold(all);
	html(all);
	subject(all);
	thread(all);
	(void)imap_thread_normal_id(all, &id);
	buf_clear(&id);
	return 0;
}
