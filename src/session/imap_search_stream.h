/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_IMAP_SEARCH_STREAM_H
#define COHUE_SESSION_IMAP_SEARCH_STREAM_H

#include "session/imap.h"

/*
 * What a long SEARCH has found, sent while it goes on: "* SEARCH 2 3" or "* ESEARCH (TAG "a") ALL 2:3", whose end is still to come. Once
 * it has begun nothing else may be said until its line ends, so INPROGRESS is not.
 *
 * It is sent at moments that follow from the search's beginning alone: after one second, two, four and eight more, then every ten, where
 * there is something new. So who counts the records on the wire learns little of where in the mailbox the results lie.
 */

struct imap_search_stream {
	struct imap *im;
	msec due;       /* nothing is sent before */
	msec step;      /* from there to the next such moment */
	size_t written; /* results that went into the line */
	uint32_t first; /* ESEARCH: the range that may still grow; 0: none */
	uint32_t last;
	bool ranged; /* a range stands in the line */
	bool begun;
};

/* Of the connection's present command. */
void imap_search_stream_init(struct imap_search_stream *s, struct imap *im);
/*
 * Between two messages; items, count: all results so far, in their order. Tells what is due of them, or how far the search is
 * (imap_progress), and lets others run. An error ends the command.
 */
COHUE_MUST_USE enum err imap_search_stream_more(struct imap_search_stream *s,
						const struct message_item *items, size_t count, uint64_t done,
						uint64_t total);
/* The line's end, with all results and what RETURN wants besides. Where it had begun. modseq 0: not told. */
COHUE_MUST_USE enum err imap_search_stream_end(struct imap_search_stream *s, const struct message_item *items,
					       size_t count, uint64_t modseq);
/* The search has failed: what was begun ends where it is, so that the tagged answer can follow. s may be NULL. */
void imap_search_stream_break(struct imap_search_stream *s);

#endif
