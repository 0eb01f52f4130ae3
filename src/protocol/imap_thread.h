/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_THREAD_H
#define COHUE_PROTOCOL_IMAP_THREAD_H

#include "protocol/imap_command.h"
#include "protocol/imap_write.h"

/*
 * THREAD (RFC 5256). Time and memory are about linear in messages and references, however they are arranged: no
 * recursion, and loops are found with a link-cut tree (Sleator and Tarjan, 1983) in logarithmic time.
 */

enum { IMAP_THREAD_KEY_LEN = 16 };

/* A message identifier: a hash of its normal form under a key that no author of mail knows. */
struct imap_thread_key {
	uint8_t octets[IMAP_THREAD_KEY_LEN];
};

struct imap_thread_message {
	uint32_t number; /* as it is to be answered */
	int64_t sent;
	struct bytes subject; /* base subject, as it is compared */
	bool reply;           /* the subject says so */
	bool has_id;
	struct imap_thread_key id;
	const struct imap_thread_key *references; /* oldest first; or that of In-Reply-To */
	size_t reference_count;
};

#define IMAP_THREAD_NONE UINT32_MAX

struct imap_thread_node {
	uint32_t number; /* 0: a message that is not there */
	uint32_t first;  /* child, or IMAP_THREAD_NONE */
	uint32_t next;   /* sibling */
};

struct imap_threads {
	struct imap_thread_node *nodes;
	uint32_t *roots; /* in order */
	size_t root_count;
	size_t depth; /* brackets open at once, at most */
};

/* messages in the order of the mailbox; all memory is in the arena. ERR_MEMORY. */
COHUE_MUST_USE enum err imap_thread_references(struct arena *a, const struct imap_thread_message *messages,
					       size_t count, struct imap_threads *ret);
COHUE_MUST_USE enum err imap_thread_subjects(struct arena *a, const struct imap_thread_message *messages,
					     size_t count, struct imap_threads *ret);
/* One thread: "(3 6 (4 23)(44 7 96))". stack: room for as many as there are messages. */
void imap_thread_write(struct imap_writer *w, const struct imap_threads *t, uint32_t root, uint32_t *stack);
/* Appends the identifier with a quoted local part unquoted (section 3, REFERENCES); false: it is no valid one. ERR_... by out. */
bool imap_thread_normal_id(struct bytes id, struct buf *out);

#endif
