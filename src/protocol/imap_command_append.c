/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_lexer.h"

/* APPEND with one message or several (RFC 3502), and REPLACE (RFC 8508); each message's octets are not in the text. */

/* What stands before a message's octets, up to and with "{N}". */
static void
take_part(struct imap_lexer *l, struct imap_append_part *part)
{
	imap_lex_need(l, ' ');
	if (imap_lex_peek(l) == '(') {
		imap_lex_flags(l, true, &part->flags);
		imap_lex_need(l, ' ');
	}
	if (imap_lex_peek(l) == '"') {
		part->has_time = true;
		part->time = imap_lex_time(l);
		imap_lex_need(l, ' ');
	}
	if (imap_lex_word(l, "UTF8")) {
		part->utf8 = true;
		imap_lex_need(l, ' ');
		imap_lex_need(l, '(');
		imap_lex_need(l, '~');
		part->literal8 = true;
	} else {
		part->literal8 = imap_lex_take(l, '~'); /* RFC 3516 section 4.4 */
	}
	imap_lex_need(l, '{');
	part->size = imap_lex_number(l, INT64_MAX);
	(void)imap_lex_take(l, '+');
	imap_lex_need(l, '}');
}

void
imap_parse_append(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	c->mailbox = imap_lex_astring(l);
	take_part(l, &c->append);
}

void
imap_parse_replace(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	struct imap_range *one = arena_array(l->arena, 1, sizeof(*one));
	if (one == NULL) {
		imap_lex_fail(l, ERR_MEMORY, "Too much memory needed");
		return;
	}
	if (imap_lex_take(l, '*')) {
		one->first = one->last = IMAP_STAR;
	} else {
		one->first = one->last = (uint32_t)imap_lex_number(l, UINT32_MAX);
		if (one->first == 0) {
			imap_lex_fail(l, ERR_FORMAT, "Messages are numbered from 1");
		}
	}
	c->set = (struct imap_set){.ranges = one, .count = 1};
	imap_parse_append(l, c);
}

enum err
imap_append_part_parse(struct arena *a, struct bytes text, unsigned modes, bool in_utf8,
		       struct imap_append_part *ret, const char **ret_why)
{
	struct imap_lexer l = {.rest = text, .arena = a, .modes = modes, .error = ERR_OK, .why = NULL};
	struct imap_append_part part = {.size = 0};
	if (in_utf8) {
		imap_lex_need(&l, ')');
	}
	take_part(&l, &part);
	imap_lex_end(&l);
	if (l.error != ERR_OK) {
		*ret_why = l.why;
		return l.error;
	}
	*ret = part;
	return ERR_OK;
}
