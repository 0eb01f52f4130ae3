/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_lexer.h"

/* LIST and LSUB, plain and extended (RFC 3501, RFC 5258, RFC 5819, RFC 6154), and STATUS items. */

enum { PATTERNS_MAX = 64 };

struct named_bit {
	const char *name;
	uint32_t bit;
};

static const struct named_bit status_names[] = {
    {"MESSAGES", IMAP_STATUS_MESSAGES},
    {"RECENT", IMAP_STATUS_RECENT},
    {"UIDNEXT", IMAP_STATUS_UIDNEXT},
    {"UIDVALIDITY", IMAP_STATUS_UIDVALIDITY},
    {"UNSEEN", IMAP_STATUS_UNSEEN},
    {"HIGHESTMODSEQ", IMAP_STATUS_HIGHESTMODSEQ},
    {"SIZE", IMAP_STATUS_SIZE},
    {"DELETED", IMAP_STATUS_DELETED},
    {"APPENDLIMIT", IMAP_STATUS_APPENDLIMIT},
    {"MAILBOXID", IMAP_STATUS_MAILBOXID},
    {"DELETED-STORAGE", IMAP_STATUS_DELETED_STORAGE},
    {NULL, 0},
};

static const struct named_bit select_names[] = {
    {"SUBSCRIBED", IMAP_LIST_SUBSCRIBED},
    {"REMOTE", IMAP_LIST_REMOTE},
    {"RECURSIVEMATCH", IMAP_LIST_RECURSIVEMATCH},
    {"SPECIAL-USE", IMAP_LIST_SPECIAL_USE},
    {NULL, 0},
};

static const struct named_bit return_names[] = {
    {"SUBSCRIBED", IMAP_LIST_RETURN_SUBSCRIBED},   {"CHILDREN", IMAP_LIST_RETURN_CHILDREN},
    {"SPECIAL-USE", IMAP_LIST_RETURN_SPECIAL_USE}, {"STATUS", IMAP_LIST_RETURN_STATUS},
    {"METADATA", IMAP_LIST_RETURN_METADATA},       {NULL, 0},
};

static uint32_t
take_name(struct imap_lexer *l, const struct named_bit *names)
{
	struct bytes name = imap_lex_atom(l);
	for (; l->error == ERR_OK && names->name != NULL; names++) {
		if (bytes_is_nocase(name, names->name)) {
			return names->bit;
		}
	}
	imap_lex_fail(l, ERR_FORMAT, "Unknown option or data item");
	return 0;
}

uint32_t
imap_parse_status_items(struct imap_lexer *l)
{
	uint32_t items = 0;
	imap_lex_need(l, '(');
	do {
		items |= take_name(l, status_names);
	} while (imap_lex_take(l, ' '));
	imap_lex_need(l, ')');
	return items;
}

static void
take_select_options(struct imap_lexer *l, struct imap_command *c)
{
	c->list.extended = true;
	if (!imap_lex_take(l, ')')) {
		do {
			c->list.select |= take_name(l, select_names);
		} while (imap_lex_take(l, ' '));
		imap_lex_need(l, ')');
	}
	if (c->list.select == IMAP_LIST_RECURSIVEMATCH ||
	    c->list.select == (IMAP_LIST_RECURSIVEMATCH | IMAP_LIST_REMOTE)) {
		/* RFC 5258 section 3: it modifies another one. */
		imap_lex_fail(l, ERR_FORMAT, "RECURSIVEMATCH stands alone");
	}
}

static void
take_return_options(struct imap_lexer *l, struct imap_command *c)
{
	if (!imap_lex_word(l, "RETURN")) {
		imap_lex_fail(l, ERR_FORMAT, "Unexpected argument");
	}
	c->list.extended = true;
	imap_lex_need(l, ' ');
	imap_lex_need(l, '(');
	if (imap_lex_take(l, ')')) {
		return;
	}
	do {
		uint32_t bit = take_name(l, return_names);
		c->list.returns |= bit;
		if (bit == IMAP_LIST_RETURN_STATUS) {
			imap_lex_need(l, ' ');
			c->list.status |= imap_parse_status_items(l);
		} else if (bit == IMAP_LIST_RETURN_METADATA) {
			imap_lex_need(l, ' ');
			imap_parse_metadata_entries(l, &c->list.metadata);
		}
	} while (imap_lex_take(l, ' '));
	imap_lex_need(l, ')');
}

void
imap_parse_list(struct imap_lexer *l, struct imap_command *c)
{
	bool plain = c->verb == IMAP_LSUB;
	imap_lex_need(l, ' ');
	if (!plain && imap_lex_take(l, '(')) {
		take_select_options(l, c);
		imap_lex_need(l, ' ');
	}
	c->mailbox = imap_lex_astring(l);
	imap_lex_need(l, ' ');
	struct bytes *patterns = NULL;
	size_t cap = 0;
	size_t count = 0;
	if (!plain && imap_lex_take(l, '(')) {
		c->list.extended = true;
		do {
			if (count == PATTERNS_MAX) {
				imap_lex_fail(l, ERR_LIMIT, "Too many patterns");
				return;
			}
			patterns = imap_lex_grow(l, patterns, count, &cap, sizeof(*patterns));
			if (patterns == NULL) {
				return;
			}
			patterns[count++] = imap_lex_pattern(l);
		} while (imap_lex_take(l, ' '));
		imap_lex_need(l, ')');
	} else {
		patterns = imap_lex_grow(l, patterns, count, &cap, sizeof(*patterns));
		if (patterns == NULL) {
			return;
		}
		patterns[count++] = imap_lex_pattern(l);
	}
	c->list.patterns = patterns;
	c->list.pattern_count = count;
	if (!plain && imap_lex_take(l, ' ')) {
		take_return_options(l, c);
	}
}
