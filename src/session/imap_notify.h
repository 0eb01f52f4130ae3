/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_IMAP_NOTIFY_H
#define COHUE_SESSION_IMAP_NOTIFY_H

#include "session/imap.h"

/*
 * NOTIFY (RFC 5465): what a client is told unasked, of the selected mailbox and of others, whether a command runs or not. Where there
 * are beats (session/beat.h) a connection that asked for anything gets one record of the same length at each, and what the house brought is
 * told by it, or with the answer to a command: by nothing in between. The data items of new messages that must be read for it come with the
 * next command then, since a beat says no more than fits into its record.
 */

enum imap_notify_when {
	IMAP_NOTIFY_ALL,  /* everything */
	IMAP_NOTIFY_OWN,  /* what her own clients did */
	IMAP_NOTIFY_BEAT, /* what the house brought, as far as it goes into the room */
};

/* True where the client is to be told things outside of commands. */
bool imap_notify_is_on(const struct imap *im);
/* Of the selected mailbox: enum imap_notify_event bits. All three of messages where NOTIFY was never used. */
uint32_t imap_notify_of_selected(const struct imap *im);
/* True where expunges wait for a command that may tell of them (SELECTED-DELAYED, or no NOTIFY). */
bool imap_notify_delays_expunges(const struct imap *im);
/* Whether the view wakes the connection: to be called when IDLE begins or ends, and after SELECT and NOTIFY. */
void imap_notify_set_view(struct imap *im);
/* Of other mailboxes. room: octets of output, counted from an empty one; only for a beat. */
void imap_notify_tell(struct imap *im, enum imap_notify_when when, size_t room);
/* The data items that were asked for, of messages that EXISTS has told of. From a task, unless room says how much goes (a beat). */
void imap_notify_fetch_new(struct imap *im, size_t room);
/* The messages that were to be told of are of no mailbox any more. */
void imap_notify_deselected(struct imap *im);
void imap_notify_clear(struct imap *im);

/* imap_fetch.c: FETCH responses of those UIDs, without setting \Seen. True where all of it is done; false: the rest needs more room, or a task. */
bool imap_fetch_unasked(struct imap *im, const struct imap_fetch_item *items, size_t item_count,
			const uint32_t *uids, size_t count, size_t room, size_t *ret_done);

#endif
