/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_IMAP_SEARCH_H
#define COHUE_SESSION_IMAP_SEARCH_H

#include "mail/envelope.h"
#include "session/imap_search_stream.h"

/* What SEARCH, SORT and THREAD share. All memory is the command's. */

struct imap_found {
	struct message_item *items; /* in the order of the mailbox */
	size_t count;
	unsigned damaged; /* messages that could not be looked into */
};

/*
 * Evaluates the command's criteria. stream (may be NULL): its results may be told meanwhile, and where RETURN wants the first ones alone,
 * no more are sought. False: answered, or the connection has ended.
 */
bool imap_search_run(struct imap *im, struct imap_search_stream *stream, struct imap_found *ret);
/*
 * Writes the untagged SEARCH, SORT or ESEARCH response of the command for these results, in the order of items, or the end of what the
 * stream (may be NULL) has begun, and saves them where RETURN (SAVE) says so; then the tagged answer.
 */
void imap_search_answer(struct imap *im, struct imap_search_stream *stream, const struct imap_found *found,
			const char *name);
/*
 * Tells the envelope of each message found, in order; NULL: it cannot be read, and has its place all the same. arena: for the call. Says "still
 * here" meanwhile. Ends at the first error of fn's.
 */
typedef enum err imap_envelope_fn(void *arg, struct arena *arena, size_t i,
				  const struct mail_envelope *envelope);
COHUE_MUST_USE enum err imap_each_envelope(struct imap *im, const struct imap_found *found,
					   imap_envelope_fn *fn, void *arg);
/* The tagged answer alone, and what else there is to tell. */
void imap_search_end(struct imap *im, const struct imap_found *found);
/* "$" is empty from now on, where this command was to save something (RFC 5182 section 2.1). */
void imap_search_failed(struct imap *im);

#endif
