/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_PRIVACY_EDITS_H
#define COHUE_MAIL_PRIVACY_EDITS_H

#include "mail/lexer.h"
#include "mail/privacy.h"
#include "mail/structure.h"

/*
 * The list of changes that a message leaves with; private to src/mail. Whatever no change names stays as it is, and so
 * does what a signature covers, since no change is ever made there.
 */

struct privacy_edit {
	size_t at;
	size_t len;
	size_t text_at; /* in edits.text */
	size_t text_len;
};

struct privacy_edits {
	struct buf list; /* of struct privacy_edit */
	struct buf text;
	enum err error; /* sticky */
};

void privacy_edits_init(struct privacy_edits *x);
/* Wipes. */
void privacy_edits_clear(struct privacy_edits *x);
/* Octets of the message become others. */
void privacy_replace(struct privacy_edits *x, size_t at, size_t len, struct bytes text);
void privacy_cut(struct privacy_edits *x, size_t at, size_t len);
/* Appends the message as it is with all changes; what lies within another change is passed over. x->error, ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err privacy_apply(struct privacy_edits *x, struct bytes message, struct buf *out);
/* The next field of a header that begins at `base`; what lies between it and the one before, or behind the last one, is cut. */
bool privacy_next_field(struct privacy_edits *x, struct mail_fields *it, size_t base, struct mail_field *f);

bool privacy_is_type(const struct mail_part *p, const char *type, const char *subtype);
/* As much of the message as says what its parts are: a text has none. */
struct bytes privacy_parts_of(struct bytes message);

/* privacy_parts.c: the fields, parameters and boundaries of all parts that no signature covers. */
void privacy_take_parts(struct privacy_edits *x, struct bytes message, const struct mail_privacy *p);

#endif
