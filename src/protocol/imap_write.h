/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_WRITE_H
#define COHUE_PROTOCOL_IMAP_WRITE_H

#include <string.h>

#include "base/bytes.h"
#include "protocol/imap_command.h"
#include "protocol/imap_set.h"

/*
 * Writes IMAP responses onto a buffer. The error is sticky: write all, then ask
 * imap_write_done once. On failure the buffer holds a half-written response:
 * truncate it to where it began (imap_write_mark, imap_write_undo).
 */

struct imap_writer {
	struct buf *out;
	enum err error;
	bool utf8; /* UTF8=ACCEPT is enabled: quoted strings may hold UTF-8 (RFC 6855) */
};

void imap_writer_init(struct imap_writer *w, struct buf *out, bool utf8);
COHUE_MUST_USE enum err imap_write_done(const struct imap_writer *w);
/* The place where a response begins. */
size_t imap_write_mark(const struct imap_writer *w);
/* Back to a mark; forgets the error. */
void imap_write_undo(struct imap_writer *w, size_t mark);

/* Octets as they are; trusted text only. */
void imap_write_raw(struct imap_writer *w, struct bytes octets);
/* Here, so that the length of a literal is known when this is compiled. */
static inline void
imap_write_text(struct imap_writer *w, const char *text)
{
	imap_write_raw(w, (struct bytes){.ptr = (const uint8_t *)text, .len = strlen(text)});
}
void imap_write_format(struct imap_writer *w, const char *format, ...) COHUE_PRINTF(2, 3);
void imap_write_number(struct imap_writer *w, uint64_t number);
void imap_write_crlf(struct imap_writer *w);

/* A quoted string where it can be one (short, no CR LF NUL, 7-bit or UTF-8 when enabled), else a literal. */
void imap_write_string(struct imap_writer *w, struct bytes s);
/* NIL where s.ptr is NULL, else a string. */
void imap_write_nstring(struct imap_writer *w, struct bytes s);
/* An atom where it can be one (and is not NIL), else a string. */
void imap_write_astring(struct imap_writer *w, struct bytes s);
/* "{N}" CRLF (or "~{N}" CRLF for literal8 when binary): the host then supplies exactly size octets. */
void imap_write_literal_head(struct imap_writer *w, uint64_t size, bool binary);
/* A mailbox name of the house's form, as this client reads it. */
void imap_write_mailbox(struct imap_writer *w, struct bytes name);

/* "(\Seen $Forwarded)" with parentheses. Keywords that are no atoms are left out. */
void imap_write_flags(struct imap_writer *w, const struct imap_flags *flags);
/* "\Sent \Trash" without parentheses. */
void imap_write_uses(struct imap_writer *w, uint32_t use);
/* A resolved, non-empty set: "1:3,7". */
void imap_write_set(struct imap_writer *w, const struct imap_set *set);
/* "01-Feb-2026 03:04:05 +0000" with the quotes. */
void imap_write_time(struct imap_writer *w, struct imap_time time);
/* "BODY[1.HEADER.FIELDS (A B)]<0>", the name under which a section is answered. */
void imap_write_section_name(struct imap_writer *w, const struct imap_fetch_item *item);

/* "* OK [CODE] text" CRLF; tag empty for "*", code NULL for none. Status is "OK", "NO", "BAD", "BYE", "PREAUTH". */
void imap_write_status(struct imap_writer *w, struct bytes tag, const char *status, const char *code,
		       const char *text);
/* "* 12 EXISTS" CRLF. */
void imap_write_untagged_number(struct imap_writer *w, uint32_t number, const char *what);
/* "+ text" CRLF. */
void imap_write_continue(struct imap_writer *w, const char *text);
/* What an ESEARCH response says. */
struct imap_esearch {
	struct bytes tag;
	bool uid;
	uint32_t returns; /* enum imap_search_return; 0 is ALL */
	struct imap_partial partial;
	const uint32_t *numbers; /* in the order of the mailbox, or of SORT */
	size_t count;
	uint64_t modseq; /* 0: not told */
};
/* "* ESEARCH (TAG "a") UID ALL 1:3 COUNT 3" CRLF (RFC 4731, RFC 5267, RFC 9394). */
void imap_write_esearch(struct imap_writer *w, const struct imap_esearch *e);
/* Of count results, those that PARTIAL names: from *ret_first on, *ret_count of them (maybe none). */
void imap_partial_slice(const struct imap_partial *p, size_t count, size_t *ret_first, size_t *ret_count);
/* tag OK [APPENDUID validity uid] text (RFC 4315). */
void imap_write_appenduid(struct imap_writer *w, struct bytes tag, uint32_t validity, uint32_t uid,
			  const char *text);
/* "COPYUID validity from to" for use as a response code, without brackets. Ranges in order of copying. */
void imap_write_copyuid(struct imap_writer *w, uint32_t validity, const struct imap_set *from,
			const struct imap_set *to);

/* True for an atom of RFC 3501's grammar. */
bool imap_is_atom(struct bytes s);

#endif
