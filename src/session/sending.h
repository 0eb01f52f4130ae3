/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SENDING_H
#define COHUE_SESSION_SENDING_H

#include "sealed/journal.h"
#include "session/sending_limit.h"
#include "session/submission_internal.h"

/*
 * The limits of sending_limit.h, applied: counted by account in this worker's memory, for a day, whether she is online or not; of who is
 * near a limit it outlives the worker (sending_kept.h). A hold stands in her directory entry, which only the opener writes.
 */

/* MAIL, from a task. code 0: go on; 450: too much for now; 550: held. */
struct submission_reply sending_message_begins(struct member *m);
/* RCPT, from a task. domain empty: ours. *put_off: of this transaction, false at first. */
struct submission_reply sending_recipient_named(struct member *m, struct bytes domain, bool *put_off);
/* What became of a letter of hers, as it is filed into her journal. */
void sending_heard(struct member *m, const struct journal_line *line);
/* Forgets who has not sent for a day. */
void sending_upkeep(struct worker *w);
/* From tasks: finds what an earlier life of this worker counted, and puts down what this one did. */
void sending_load(struct worker *w);
void sending_save(struct worker *w);
/* Forgets everybody: the worker ends. */
void sending_clear(struct worker *w);

#endif
