/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/imap_search_stream.h"

enum { FLUSH_STEP = 256 };

void
imap_search_stream_init(struct imap_search_stream *s, struct imap *im)
{
	msec step = im->conn->worker->stream_ms;
	*s = (struct imap_search_stream){
	    .im = im, .due = loop_now(im->conn->worker->host->loop) + step, .step = step};
}

static bool
is_extended(const struct imap_search_stream *s)
{
	return s->im->command->search.esearch;
}

/* RFC 4731 leaves the order of what is returned open: ALL comes first, what only the end can tell behind it. */
static bool
can_begin(const struct imap_search_stream *s)
{
	return !is_extended(s) || (s->im->command->search.returns & IMAP_RETURN_ALL) != 0;
}

static void
write_head(struct imap_search_stream *s)
{
	struct imap_writer *w = &s->im->w;
	if (!is_extended(s)) {
		imap_write_text(w, "* SEARCH");
		return;
	}
	imap_write_text(w, "* ESEARCH (TAG ");
	imap_write_string(w, s->im->command->tag);
	imap_write_text(w, s->im->command->uid ? ") UID ALL" : ") ALL");
}

/* The range that grew until now. */
static void
write_range(struct imap_search_stream *s)
{
	struct imap_writer *w = &s->im->w;
	if (s->first == 0) {
		return;
	}
	imap_write_text(w, s->ranged ? "," : " ");
	imap_write_number(w, s->first);
	if (s->last > s->first) {
		imap_write_text(w, ":");
		imap_write_number(w, s->last);
	}
	s->ranged = true;
	s->first = s->last = 0;
}

static void
write_one(struct imap_search_stream *s, uint32_t number)
{
	if (!is_extended(s)) {
		imap_write_text(&s->im->w, " ");
		imap_write_number(&s->im->w, number);
	} else if (s->first != 0 && number == s->last + 1) {
		s->last = number;
	} else {
		write_range(s);
		s->first = s->last = number;
	}
}

static enum err
write_results(struct imap_search_stream *s, const struct message_item *items, size_t count)
{
	bool uid = s->im->command->uid;
	enum err e = ERR_OK;
	if (!s->begun) {
		s->begun = true;
		write_head(s);
	}
	for (; s->written < count && e == ERR_OK; s->written++) {
		write_one(s, uid ? items[s->written].uid : items[s->written].sequence);
		e = s->written % FLUSH_STEP == FLUSH_STEP - 1 ? imap_flush(s->im, false) : ERR_OK;
	}
	return e;
}

enum err
imap_search_stream_more(struct imap_search_stream *s, const struct message_item *items, size_t count,
			uint64_t done, uint64_t total)
{
	struct imap *im = s->im;
	msec now = loop_now(im->conn->worker->host->loop);
	if (now >= s->due) {
		s->step =
		    s->step * 2 < im->conn->worker->progress_ms ? s->step * 2 : im->conn->worker->progress_ms;
		s->due = s->due + s->step > now ? s->due + s->step : now + s->step;
		if (count > s->written && can_begin(s)) {
			enum err e = write_results(s, items, count);
			if (e == ERR_OK) {
				e = imap_flush(im, true);
			}
			if (e != ERR_OK) {
				return e;
			}
			conn_flush(im->conn, CONN_PAD_LADDER);
		}
	}
	return s->begun ? imap_breathe(im) : imap_progress(im, done, total);
}

enum err
imap_search_stream_end(struct imap_search_stream *s, const struct message_item *items, size_t count,
		       uint64_t modseq)
{
	struct imap_writer *w = &s->im->w;
	uint32_t returns = s->im->command->search.returns;
	bool uid = s->im->command->uid;
	enum err e = write_results(s, items, count);
	if (!is_extended(s)) {
		if (modseq != 0) {
			imap_write_format(w, " (MODSEQ %llu)", (unsigned long long)modseq);
		}
	} else {
		write_range(s);
		if ((returns & IMAP_RETURN_MIN) != 0) {
			imap_write_format(w, " MIN %u", uid ? items[0].uid : items[0].sequence);
		}
		if ((returns & IMAP_RETURN_MAX) != 0) {
			imap_write_format(w, " MAX %u",
					  uid ? items[count - 1].uid : items[count - 1].sequence);
		}
		if ((returns & IMAP_RETURN_COUNT) != 0) {
			imap_write_format(w, " COUNT %zu", count);
		}
		if (modseq != 0) {
			imap_write_format(w, " MODSEQ %llu", (unsigned long long)modseq);
		}
	}
	imap_write_crlf(w);
	return e;
}

void
imap_search_stream_break(struct imap_search_stream *s)
{
	if (s == NULL || !s->begun || conn_is_closed(s->im->conn)) {
		return;
	}
	write_range(s);
	imap_write_crlf(&s->im->w);
	s->begun = false;
}
