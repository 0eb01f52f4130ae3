/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The answers of SEARCH and SORT: plain, or as RETURN asks for them (RFC 4731, RFC 5182, RFC 5267, RFC 9394). */
#include "session/imap_search.h"

static uint32_t
number_of(const struct imap *im, const struct message_item *item)
{
	return im->command->uid ? item->uid : item->sequence;
}

static uint64_t
greater_modseq(struct imap *im, const struct message_item *item, uint64_t than)
{
	const struct fold_mailbox *box = imap_selected(im);
	const struct fold_message *m = box == NULL ? NULL : fold_message_by_uid(box, item->uid);
	return m != NULL && m->modseq > than ? m->modseq : than;
}

/* Of the messages that RETURN names: for a plain response, ALL and COUNT all of them (RFC 4731 section 3.2). */
static void
mark_returned(const struct imap *im, const struct imap_found *found, bool *ret)
{
	uint32_t returns = im->command->search.returns;
	size_t first = 0;
	size_t count = found->count;
	bool some = im->command->search.esearch &&
		    (returns & (IMAP_RETURN_MIN | IMAP_RETURN_MAX | IMAP_RETURN_PARTIAL)) != 0 &&
		    (returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT)) == 0;
	if (some) {
		count = 0;
		if ((returns & IMAP_RETURN_PARTIAL) != 0) {
			imap_partial_slice(&im->command->search.partial, found->count, &first, &count);
		}
	}
	for (size_t i = 0; i < count; i++) {
		ret[first + i] = true;
	}
	if (some && found->count > 0) {
		ret[0] = ret[0] || (returns & IMAP_RETURN_MIN) != 0;
		ret[found->count - 1] = ret[found->count - 1] || (returns & IMAP_RETURN_MAX) != 0;
	}
}

static enum err
save(struct imap *im, const struct imap_found *found, const bool *returned)
{
	size_t kept = 0;
	struct imap_range *ranges = arena_array(im->arena, found->count + 1, sizeof(*ranges));
	if (ranges == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < found->count; i++) {
		uint32_t uid = found->items[i].uid;
		if (!returned[i]) {
			continue;
		}
		if (kept > 0 && ranges[kept - 1].last + 1 == uid) {
			ranges[kept - 1].last = uid;
		} else {
			ranges[kept++] = (struct imap_range){.first = uid, .last = uid};
		}
	}
	kept = imap_ranges_merge(ranges, kept); /* SORT found them in another order */
	buf_clear(&im->saved);
	return buf_append(&im->saved, bytes_of(ranges, kept * sizeof(*ranges)));
}

/* "* SEARCH 2 3 5 (MODSEQ 7)": it may be long. */
static enum err
write_plain(struct imap *im, const struct imap_found *found, const char *name, uint64_t modseq)
{
	enum err e = ERR_OK;
	imap_write_format(&im->w, "* %s", name);
	for (size_t i = 0; i < found->count && e == ERR_OK; i++) {
		imap_write_text(&im->w, " ");
		imap_write_number(&im->w, number_of(im, &found->items[i]));
		e = i % 256 == 255 ? imap_flush(im, false) : ERR_OK;
	}
	if (modseq != 0) {
		imap_write_format(&im->w, " (MODSEQ %llu)", (unsigned long long)modseq);
	}
	imap_write_crlf(&im->w);
	return e;
}

static enum err
write_extended(struct imap *im, const struct imap_found *found, uint64_t modseq)
{
	uint32_t *numbers = arena_array(im->arena, found->count + 1, sizeof(*numbers));
	if (numbers == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < found->count; i++) {
		numbers[i] = number_of(im, &found->items[i]);
	}
	struct imap_esearch answer = {.tag = im->command->tag,
				      .uid = im->command->uid,
				      .returns = im->command->search.returns,
				      .partial = im->command->search.partial,
				      .numbers = numbers,
				      .count = found->count,
				      .modseq = modseq};
	imap_write_esearch(&im->w, &answer);
	return ERR_OK;
}

void
imap_search_end(struct imap *im, const struct imap_found *found)
{
	imap_report(im, im->command->uid);
	if (found->damaged > 0) {
		imap_ok(im, NULL, "Done, but damaged messages could not be looked into");
	} else {
		imap_ok(im, NULL, "Done");
	}
}

void
imap_search_answer(struct imap *im, struct imap_search_stream *stream, const struct imap_found *found,
		   const char *name)
{
	uint32_t returns = im->command->search.returns;
	bool *returned = arena_array(im->arena, found->count + 1, sizeof(*returned));
	enum err e = returned == NULL ? ERR_MEMORY : ERR_OK;
	uint64_t modseq = 0;
	if (e == ERR_OK) {
		mark_returned(im, found, returned);
	}
	for (size_t i = 0; i < found->count && e == ERR_OK && im->command->search.modseq; i++) {
		modseq = returned[i] ? greater_modseq(im, &found->items[i], modseq) : modseq;
	}
	if (e == ERR_OK && (returns & IMAP_RETURN_SAVE) != 0) {
		e = save(im, found, returned);
		if (e == ERR_LIMIT) {
			imap_search_failed(im);
			imap_search_stream_break(stream);
			imap_no(im, "NOTSAVED", "Too many to be kept"); /* RFC 5182 section 2.5 */
			return;
		}
	}
	if (e == ERR_OK && stream != NULL && stream->begun) {
		e = imap_search_stream_end(stream, found->items, found->count, modseq);
	} else if (e == ERR_OK && !im->command->search.esearch) {
		e = write_plain(im, found, name, modseq);
	} else if (e == ERR_OK && returns != IMAP_RETURN_SAVE) {
		e = write_extended(im, found, modseq);
	}
	if (e == ERR_OK) {
		imap_search_end(im, found);
		return;
	}
	imap_search_failed(im);
	imap_search_stream_break(stream);
	if (!conn_is_closed(im->conn)) {
		imap_fail(im, e);
	}
}
