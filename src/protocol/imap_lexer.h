/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_LEXER_H
#define COHUE_PROTOCOL_IMAP_LEXER_H

#include "protocol/imap_command.h"

/*
 * Reads the tokens of an assembled command (RFC 3501 section 9). The error is
 * sticky: after it each read gives nothing and moves nothing. Private to the
 * command parser's files.
 */

struct imap_lexer {
	struct bytes rest;
	struct arena *arena;
	unsigned modes; /* enum imap_mode */
	enum err error;
	const char *why;
	unsigned keys;      /* search keys so far */
	unsigned body_keys; /* of them, BODY and TEXT */
};

void imap_lex_fail(struct imap_lexer *l, enum err error, const char *why);
/* The next octet; -1 at the end or after an error. */
int imap_lex_peek(const struct imap_lexer *l);
/* Takes c where it is next. */
bool imap_lex_take(struct imap_lexer *l, char c);
/* Takes c, or fails. */
void imap_lex_need(struct imap_lexer *l, char c);
/* Nothing but blanks may be left. */
void imap_lex_end(struct imap_lexer *l);
/* Takes the word without case where it is next and no atom octet follows. */
bool imap_lex_word(struct imap_lexer *l, const char *word);
struct bytes imap_lex_atom(struct imap_lexer *l);
/* Quoted or literal. */
struct bytes imap_lex_string(struct imap_lexer *l);
struct bytes imap_lex_astring(struct imap_lexer *l);
/* ptr NULL for NIL. */
struct bytes imap_lex_nstring(struct imap_lexer *l);
/* The same, or "~{N}": any octets (RFC 3516's literal8). */
struct bytes imap_lex_nstring8(struct imap_lexer *l);
/* LIST's pattern: astring with wildcards. */
struct bytes imap_lex_pattern(struct imap_lexer *l);
uint64_t imap_lex_number(struct imap_lexer *l, uint64_t max);
/* Numbers, or "$" (RFC 5182). */
void imap_lex_set(struct imap_lexer *l, struct imap_set *set);
/* "1:100" or "-1:-100" (RFC 9394). */
void imap_lex_partial(struct imap_lexer *l, struct imap_partial *partial);
/* A list of flags; parentheses may be left out in STORE. \Recent is dropped. */
void imap_lex_flags(struct imap_lexer *l, bool need_parentheses, struct imap_flags *flags);
/* date of SEARCH: days since 1970. */
int32_t imap_lex_date(struct imap_lexer *l);
/* date-time of APPEND, with its quotes. */
struct imap_time imap_lex_time(struct imap_lexer *l);

/* An array that grows in the arena: room for one more at *count. NULL (and failed) without memory. */
void *imap_lex_grow(struct imap_lexer *l, void *array, size_t count, size_t *cap, size_t size);

/* The larger grammars, in files of their own. */
void imap_parse_search(struct imap_lexer *l, struct imap_command *c);
void imap_parse_sort(struct imap_lexer *l, struct imap_command *c);
void imap_parse_thread(struct imap_lexer *l, struct imap_command *c);
void imap_parse_fetch(struct imap_lexer *l, struct imap_command *c);
void imap_parse_append(struct imap_lexer *l, struct imap_command *c);
void imap_parse_replace(struct imap_lexer *l, struct imap_command *c);
void imap_parse_list(struct imap_lexer *l, struct imap_command *c);
void imap_parse_select(struct imap_lexer *l, struct imap_command *c);
void imap_parse_notify(struct imap_lexer *l, struct imap_command *c);
/* "(" data items ")" from behind the bracket on. */
void imap_parse_fetch_items(struct imap_lexer *l, const struct imap_fetch_item **ret_items,
			    size_t *ret_count);
uint32_t imap_parse_status_items(struct imap_lexer *l);
void imap_parse_getmetadata(struct imap_lexer *l, struct imap_command *c);
void imap_parse_setmetadata(struct imap_lexer *l, struct imap_command *c);
/* One entry, or several in parentheses. */
void imap_parse_metadata_entries(struct imap_lexer *l, struct imap_metadata *m);

#endif
