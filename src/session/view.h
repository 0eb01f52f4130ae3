/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_VIEW_H
#define COHUE_SESSION_VIEW_H

#include "session/member.h"

/*
 * What one connection knows of its selected mailbox: sequence numbers stand still until it has been told of
 * expunges. It is kept as the difference from the folded state, so that a view that is up to date holds no memory: the client
 * knows all messages with UIDs below `uidnext`, and besides those in `gone`.
 */

struct view {
	struct view *next;
	struct member *member; /* NULL: not attached */
	struct conn *conn;
	uint32_t mailbox;
	uint32_t uidnext;   /* the client knows of what is below */
	struct buf gone;    /* uint32_t, ascending: UIDs that it still counts */
	struct buf changed; /* struct uid_range: flags to be told */
	bool read_only;
	bool mute;  /* flag changes of our own are not noted */
	bool idle;  /* wake the connection when something changes */
	bool paced; /* but not for what the house brings: that waits for the beat (session/beat.h) */
	bool lost;  /* the mailbox, or the state, has gone: the connection must end */
	bool stale; /* something is to be told */
	/* Of that, while it is paced: */
	bool news;  /* what the house brought: arrivals, above all */
	bool own;   /* what her own clients did */
	bool added; /* among it, messages */
};

enum { VIEW_GONE_MAX = 8 << 20, VIEW_CHANGED_MAX = 1 << 20 };

/* Attaches it to a mailbox as it is now. */
void view_open(struct view *v, struct member *m, struct conn *c, const struct fold_mailbox *box,
	       bool read_only);
/* Detaches; safe on one that is not attached. */
void view_close(struct view *v);

/* Messages as the client counts them. */
uint32_t view_count(const struct view *v, const struct fold_mailbox *box);
/* The greatest UID that the client knows; 0: none. */
uint32_t view_last_uid(const struct view *v, const struct fold_mailbox *box);
/* The UID at a sequence number (1 .. count); 0 outside. O(log n). */
uint32_t view_uid(const struct view *v, const struct fold_mailbox *box, uint32_t sequence);
/* The sequence number that a UID has, or would have (the first at or above it). O(log n). */
uint32_t view_sequence(const struct view *v, const struct fold_mailbox *box, uint32_t uid);
/* True where the UID is counted but the message has gone. */
bool view_is_gone(const struct view *v, uint32_t uid);

size_t view_gone_count(const struct view *v);
uint32_t view_gone_at(const struct view *v, size_t i);

#endif
