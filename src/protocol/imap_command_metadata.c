/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_lexer.h"

/* GETMETADATA and SETMETADATA (RFC 5464 section 5), and the return option of LIST (RFC 9590). */

static bool
is_below(struct bytes entry, const char *root)
{
	size_t len = bytes_str(root).len;
	return bytes_starts_with_nocase(entry, root) && (entry.len == len || entry.ptr[len] == '/');
}

static struct bytes
take_entry(struct imap_lexer *l)
{
	struct bytes entry = imap_lex_astring(l);
	if (l->error == ERR_OK && !is_below(entry, "/private") && !is_below(entry, "/shared")) {
		imap_lex_fail(l, ERR_FORMAT, "The name of an entry begins with /private or /shared");
	}
	return entry;
}

static struct imap_metadata_item *
grow(struct imap_lexer *l, struct imap_metadata_item *items, size_t count, size_t *cap)
{
	if (count == IMAP_METADATA_ITEMS_MAX) {
		imap_lex_fail(l, ERR_LIMIT, "Too many entries");
		return NULL;
	}
	return imap_lex_grow(l, items, count, cap, sizeof(*items));
}

/* Behind the opening parenthesis. */
static void
take_list(struct imap_lexer *l, bool values, struct imap_metadata *m)
{
	struct imap_metadata_item *items = NULL;
	size_t count = 0;
	size_t cap = 0;
	bool done = false;
	while (!done && l->error == ERR_OK) {
		items = grow(l, items, count, &cap);
		if (items == NULL) {
			return;
		}
		struct imap_metadata_item *x = &items[count++];
		*x = (struct imap_metadata_item){.entry = take_entry(l)};
		if (values) {
			imap_lex_need(l, ' ');
			x->value = imap_lex_nstring8(l);
		}
		done = imap_lex_take(l, ')');
		if (!done) {
			imap_lex_need(l, ' ');
		}
	}
	m->items = items;
	m->count = count;
}

void
imap_parse_metadata_entries(struct imap_lexer *l, struct imap_metadata *m)
{
	if (imap_lex_take(l, '(')) {
		take_list(l, false, m);
		return;
	}
	size_t cap = 0;
	struct imap_metadata_item *one = grow(l, NULL, 0, &cap);
	if (one != NULL) {
		*one = (struct imap_metadata_item){.entry = take_entry(l)};
		m->items = one;
		m->count = 1;
	}
}

/* Behind the opening parenthesis: MAXSIZE and DEPTH, each at most once. */
static void
take_options(struct imap_lexer *l, struct imap_metadata *m)
{
	bool depth = false;
	bool done = false;
	while (!done && l->error == ERR_OK) {
		if (!m->has_max && imap_lex_word(l, "MAXSIZE")) {
			imap_lex_need(l, ' ');
			m->max = imap_lex_number(l, UINT32_MAX);
			m->has_max = true;
		} else if (!depth && imap_lex_word(l, "DEPTH")) {
			imap_lex_need(l, ' ');
			m->depth = imap_lex_word(l, "0")   ? IMAP_DEPTH_0
				   : imap_lex_word(l, "1") ? IMAP_DEPTH_1
							   : IMAP_DEPTH_INFINITY;
			if (m->depth == IMAP_DEPTH_INFINITY && !imap_lex_word(l, "infinity")) {
				imap_lex_fail(l, ERR_FORMAT, "DEPTH is 0, 1 or infinity");
			}
			depth = true;
		} else {
			imap_lex_fail(l, ERR_FORMAT, "Unknown option");
		}
		done = imap_lex_take(l, ')');
		if (!done) {
			imap_lex_need(l, ' ');
		}
	}
}

/* The options stand before the mailbox in the grammar, and behind it in the examples: both are taken. */
void
imap_parse_getmetadata(struct imap_lexer *l, struct imap_command *c)
{
	struct imap_metadata *m = &c->metadata;
	bool options = false;
	imap_lex_need(l, ' ');
	if (imap_lex_take(l, '(')) {
		take_options(l, m);
		imap_lex_need(l, ' ');
		options = true;
	}
	c->mailbox = imap_lex_astring(l);
	imap_lex_need(l, ' ');
	int next = l->error == ERR_OK && l->rest.len > 1 ? ascii_lower(l->rest.ptr[1]) : -1;
	if (!options && imap_lex_peek(l) == '(' && (next == 'm' || next == 'd')) {
		(void)imap_lex_take(l, '(');
		take_options(l, m);
		imap_lex_need(l, ' ');
	}
	imap_parse_metadata_entries(l, m);
}

void
imap_parse_setmetadata(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	c->mailbox = imap_lex_astring(l);
	imap_lex_need(l, ' ');
	imap_lex_need(l, '(');
	take_list(l, true, &c->metadata);
}
