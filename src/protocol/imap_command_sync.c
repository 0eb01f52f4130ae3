/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_lexer.h"

/* What keeps a client up to date: SELECT with QRESYNC (RFC 7162), NOTIFY (RFC 5465), PARTIAL (RFC 9394). */

enum { GROUPS_MAX = 64, NAMES_MAX = 1000 };

/* ---- PARTIAL ---- */

void
imap_lex_partial(struct imap_lexer *l, struct imap_partial *partial)
{
	struct imap_partial p = {.given = true, .from_end = imap_lex_take(l, '-')};
	p.first = (uint32_t)imap_lex_number(l, UINT32_MAX);
	imap_lex_need(l, ':');
	if (p.from_end) {
		imap_lex_need(l, '-');
	}
	p.last = (uint32_t)imap_lex_number(l, UINT32_MAX);
	if (l->error == ERR_OK && (p.first == 0 || p.last == 0)) {
		imap_lex_fail(l, ERR_FORMAT, "Results are counted from 1");
	}
	if (p.first > p.last) {
		uint32_t other = p.first;
		p.first = p.last;
		p.last = other;
	}
	*partial = p;
}

/* ---- SELECT and EXAMINE ---- */

static bool
has_star(const struct imap_set *set)
{
	if (set->saved) {
		return true;
	}
	for (size_t i = 0; i < set->count; i++) {
		if (set->ranges[i].first == IMAP_STAR || set->ranges[i].last == IMAP_STAR) {
			return true;
		}
	}
	return false;
}

/* One of the sets of known messages: "*" has no meaning there (RFC 7162 section 3.2.5). */
static void
take_known(struct imap_lexer *l, struct imap_set *set)
{
	imap_lex_set(l, set);
	if (l->error == ERR_OK && has_star(set)) {
		imap_lex_fail(l, ERR_FORMAT, "* and $ are no known messages");
	}
}

static uint64_t
size_of(const struct imap_set *set)
{
	uint64_t size = 0;
	for (size_t i = 0; i < set->count; i++) {
		uint32_t first = set->ranges[i].first;
		uint32_t last = set->ranges[i].last;
		size += (first < last ? last - first : first - last) + (uint64_t)1;
	}
	return size;
}

static void
take_qresync(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	imap_lex_need(l, '(');
	c->select.qresync = true;
	c->select.uidvalidity = (uint32_t)imap_lex_number(l, UINT32_MAX);
	imap_lex_need(l, ' ');
	c->select.modseq = imap_lex_number(l, INT64_MAX);
	bool more = imap_lex_take(l, ' ');
	if (more && imap_lex_peek(l) != '(') {
		take_known(l, &c->select.known);
		more = imap_lex_take(l, ' ');
	}
	if (more) {
		imap_lex_need(l, '(');
		take_known(l, &c->select.match);
		imap_lex_need(l, ' ');
		take_known(l, &c->select.match_uid);
		imap_lex_need(l, ')');
		if (l->error == ERR_OK && size_of(&c->select.match) != size_of(&c->select.match_uid)) {
			imap_lex_fail(l, ERR_FORMAT, "As many numbers as UIDs");
		}
	}
	imap_lex_need(l, ')');
	if (c->select.uidvalidity == 0 || c->select.modseq == 0) {
		imap_lex_fail(l, ERR_FORMAT, "Neither UIDVALIDITY nor a mod-sequence is 0");
	}
	if ((l->modes & IMAP_MODE_QRESYNC) == 0) {
		imap_lex_fail(l, ERR_FORMAT, "QRESYNC was not enabled");
	}
}

void
imap_parse_select(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	c->mailbox = imap_lex_astring(l);
	if (!imap_lex_take(l, ' ')) {
		return;
	}
	imap_lex_need(l, '(');
	do {
		if (!c->select.condstore && imap_lex_word(l, "CONDSTORE")) {
			c->select.condstore = true;
		} else if (!c->select.qresync && imap_lex_word(l, "QRESYNC")) {
			take_qresync(l, c);
		} else {
			imap_lex_fail(l, ERR_FORMAT, "Unknown parameter");
		}
	} while (imap_lex_take(l, ' '));
	imap_lex_need(l, ')');
}

/* ---- NOTIFY ---- */

static const struct {
	const char *name;
	enum imap_notify_filter filter;
	bool names;
} filters[] = {
    {"SELECTED", IMAP_NOTIFY_SELECTED, false},     {"SELECTED-DELAYED", IMAP_NOTIFY_SELECTED_DELAYED, false},
    {"INBOXES", IMAP_NOTIFY_INBOXES, false},       {"PERSONAL", IMAP_NOTIFY_PERSONAL, false},
    {"SUBSCRIBED", IMAP_NOTIFY_SUBSCRIBED, false}, {"SUBTREE", IMAP_NOTIFY_SUBTREE, true},
    {"MAILBOXES", IMAP_NOTIFY_MAILBOXES, true},
};

static const struct {
	const char *name;
	uint32_t bit;
} events[] = {
    {"MessageNew", IMAP_NOTICE_MESSAGE_NEW},
    {"MessageExpunge", IMAP_NOTICE_MESSAGE_EXPUNGE},
    {"FlagChange", IMAP_NOTICE_FLAG_CHANGE},
    {"MailboxName", IMAP_NOTICE_MAILBOX_NAME},
    {"SubscriptionChange", IMAP_NOTICE_SUBSCRIPTION_CHANGE},
    {"MailboxMetadataChange", IMAP_NOTICE_MAILBOX_METADATA},
    {"ServerMetadataChange", IMAP_NOTICE_SERVER_METADATA},
};

static bool
of_selected(const struct imap_notify_group *g)
{
	return g->filter == IMAP_NOTIFY_SELECTED || g->filter == IMAP_NOTIFY_SELECTED_DELAYED;
}

static void
take_names(struct imap_lexer *l, struct imap_notify_group *g)
{
	struct bytes *names = NULL;
	size_t cap = 0;
	bool many = imap_lex_take(l, '(');
	do {
		if (g->name_count == NAMES_MAX) {
			imap_lex_fail(l, ERR_LIMIT, "Too many mailboxes");
			return;
		}
		names = imap_lex_grow(l, names, g->name_count, &cap, sizeof(*names));
		if (names == NULL) {
			return;
		}
		names[g->name_count++] = imap_lex_astring(l);
	} while (many && imap_lex_take(l, ' '));
	if (many) {
		imap_lex_need(l, ')');
	}
	g->names = names;
}

/* One event's name, and what is asked of new messages. */
static void
take_event(struct imap_lexer *l, struct imap_notify_group *g)
{
	struct bytes name = imap_lex_atom(l);
	uint32_t bit = IMAP_NOTICE_UNKNOWN;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		if (bytes_is_nocase(name, events[i].name)) {
			bit = events[i].bit;
		}
	}
	g->events |= bit;
	if (bit == IMAP_NOTICE_MESSAGE_NEW && l->rest.len > 1 && l->rest.ptr[0] == ' ' &&
	    l->rest.ptr[1] == '(') {
		l->rest = bytes_from(l->rest, 1);
		imap_parse_fetch_items(l, &g->items, &g->item_count);
	}
}

static void
check_events(struct imap_lexer *l, const struct imap_notify_group *g)
{
	uint32_t both = IMAP_NOTICE_MESSAGE_NEW | IMAP_NOTICE_MESSAGE_EXPUNGE;
	uint32_t message = both | IMAP_NOTICE_FLAG_CHANGE;
	if ((g->events & message) != 0 && (g->events & both) != both) {
		/* RFC 5465 section 5. */
		imap_lex_fail(l, ERR_FORMAT, "MessageNew and MessageExpunge go together");
	}
	if (of_selected(g) && (g->events & ~(message | IMAP_NOTICE_UNKNOWN)) != 0) {
		imap_lex_fail(l, ERR_FORMAT, "Of the selected mailbox, events of messages only");
	}
	if (!of_selected(g) && g->item_count > 0) {
		imap_lex_fail(l, ERR_FORMAT, "Data items are told of the selected mailbox only");
	}
}

static void
take_group(struct imap_lexer *l, struct imap_notify_group *g)
{
	imap_lex_need(l, '(');
	struct bytes filter = imap_lex_atom(l);
	size_t i = 0;
	while (i < sizeof(filters) / sizeof(filters[0]) && !bytes_is_nocase(filter, filters[i].name)) {
		i++;
	}
	if (l->error != ERR_OK || i == sizeof(filters) / sizeof(filters[0])) {
		imap_lex_fail(l, ERR_FORMAT, "Unknown mailboxes");
		return;
	}
	g->filter = filters[i].filter;
	imap_lex_need(l, ' ');
	if (filters[i].names) {
		take_names(l, g);
		imap_lex_need(l, ' ');
	}
	if (!imap_lex_word(l, "NONE")) {
		/* The brackets are missing in the RFC's own examples. */
		bool open = imap_lex_take(l, '(');
		do {
			take_event(l, g);
		} while (imap_lex_take(l, ' '));
		if (open) {
			imap_lex_need(l, ')');
		}
	}
	imap_lex_need(l, ')');
	check_events(l, g);
}

void
imap_parse_notify(struct imap_lexer *l, struct imap_command *c)
{
	struct imap_notify_group *groups = NULL;
	size_t cap = 0;
	size_t count = 0;
	unsigned selected = 0;
	imap_lex_need(l, ' ');
	if (imap_lex_word(l, "NONE")) {
		c->notify.none = true;
		return;
	}
	if (!imap_lex_word(l, "SET")) {
		imap_lex_fail(l, ERR_FORMAT, "SET or NONE");
	}
	imap_lex_need(l, ' ');
	c->notify.status = imap_lex_word(l, "STATUS");
	if (c->notify.status) {
		imap_lex_need(l, ' ');
	}
	do {
		if (count == GROUPS_MAX) {
			imap_lex_fail(l, ERR_LIMIT, "Too many groups of events");
			return;
		}
		groups = imap_lex_grow(l, groups, count, &cap, sizeof(*groups));
		if (groups == NULL) {
			return;
		}
		groups[count] = (struct imap_notify_group){.events = 0};
		take_group(l, &groups[count]);
		selected += of_selected(&groups[count]) ? 1 : 0;
		count++;
	} while (imap_lex_take(l, ' '));
	if (selected > 1) {
		/* RFC 5465 section 6.1. */
		imap_lex_fail(l, ERR_FORMAT, "The selected mailbox once");
	}
	c->notify.groups = groups;
	c->notify.count = count;
}
