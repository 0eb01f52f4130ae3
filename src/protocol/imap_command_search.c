/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/charset.h"
#include "protocol/imap_fold_case.h"
#include "protocol/imap_lexer.h"
#include "protocol/imap_search.h"

/* SEARCH, SORT and THREAD (RFC 3501 section 6.4.4, RFC 4731, RFC 5032, RFC 5182, RFC 5256, RFC 5267, RFC 5957, RFC 7162, RFC 9394). */

enum { STRING_MAX = 16 * 1024 };

enum argument {
	TAKES_NOTHING,
	TAKES_STRING,
	TAKES_KEYWORD,
	TAKES_DATE,
	TAKES_NUMBER,
	TAKES_SECONDS,
	TAKES_SET
};

/* The keys with plain arguments. flag: for FLAG and UNFLAG; name: the header field searched. */
static const struct {
	const char *name;
	enum imap_search_op op;
	enum argument argument;
	uint32_t flag;
	const char *header;
} key_names[] = {
    {"ALL", IMAP_SEARCH_ALL, TAKES_NOTHING, 0, NULL},
    {"ANSWERED", IMAP_SEARCH_FLAG, TAKES_NOTHING, IMAP_FLAG_ANSWERED, NULL},
    {"BCC", IMAP_SEARCH_HEADER, TAKES_STRING, 0, "Bcc"},
    {"BEFORE", IMAP_SEARCH_BEFORE, TAKES_DATE, 0, NULL},
    {"BODY", IMAP_SEARCH_BODY, TAKES_STRING, 0, NULL},
    {"CC", IMAP_SEARCH_HEADER, TAKES_STRING, 0, "Cc"},
    {"DELETED", IMAP_SEARCH_FLAG, TAKES_NOTHING, IMAP_FLAG_DELETED, NULL},
    {"DRAFT", IMAP_SEARCH_FLAG, TAKES_NOTHING, IMAP_FLAG_DRAFT, NULL},
    {"EMAILID", IMAP_SEARCH_EMAILID, TAKES_KEYWORD, 0, NULL},
    {"FLAGGED", IMAP_SEARCH_FLAG, TAKES_NOTHING, IMAP_FLAG_FLAGGED, NULL},
    {"FROM", IMAP_SEARCH_HEADER, TAKES_STRING, 0, "From"},
    {"KEYWORD", IMAP_SEARCH_KEYWORD, TAKES_KEYWORD, 0, NULL},
    {"LARGER", IMAP_SEARCH_LARGER, TAKES_NUMBER, 0, NULL},
    {"OLD", IMAP_SEARCH_UNFLAG, TAKES_NOTHING, IMAP_FLAG_RECENT, NULL},
    {"OLDER", IMAP_SEARCH_OLDER, TAKES_SECONDS, 0, NULL},
    {"ON", IMAP_SEARCH_ON, TAKES_DATE, 0, NULL},
    {"RECENT", IMAP_SEARCH_FLAG, TAKES_NOTHING, IMAP_FLAG_RECENT, NULL},
    {"SAVEDATESUPPORTED", IMAP_SEARCH_ALL, TAKES_NOTHING, 0, NULL},
    {"SAVEDBEFORE", IMAP_SEARCH_SAVEDBEFORE, TAKES_DATE, 0, NULL},
    {"SAVEDON", IMAP_SEARCH_SAVEDON, TAKES_DATE, 0, NULL},
    {"SAVEDSINCE", IMAP_SEARCH_SAVEDSINCE, TAKES_DATE, 0, NULL},
    {"SEEN", IMAP_SEARCH_FLAG, TAKES_NOTHING, IMAP_FLAG_SEEN, NULL},
    {"SENTBEFORE", IMAP_SEARCH_SENTBEFORE, TAKES_DATE, 0, NULL},
    {"SENTON", IMAP_SEARCH_SENTON, TAKES_DATE, 0, NULL},
    {"SENTSINCE", IMAP_SEARCH_SENTSINCE, TAKES_DATE, 0, NULL},
    {"SINCE", IMAP_SEARCH_SINCE, TAKES_DATE, 0, NULL},
    {"SMALLER", IMAP_SEARCH_SMALLER, TAKES_NUMBER, 0, NULL},
    {"SUBJECT", IMAP_SEARCH_HEADER, TAKES_STRING, 0, "Subject"},
    {"TEXT", IMAP_SEARCH_TEXT, TAKES_STRING, 0, NULL},
    {"THREADID", IMAP_SEARCH_THREADID, TAKES_KEYWORD, 0, NULL},
    {"TO", IMAP_SEARCH_HEADER, TAKES_STRING, 0, "To"},
    {"UID", IMAP_SEARCH_UID, TAKES_SET, 0, NULL},
    {"UNANSWERED", IMAP_SEARCH_UNFLAG, TAKES_NOTHING, IMAP_FLAG_ANSWERED, NULL},
    {"UNDELETED", IMAP_SEARCH_UNFLAG, TAKES_NOTHING, IMAP_FLAG_DELETED, NULL},
    {"UNDRAFT", IMAP_SEARCH_UNFLAG, TAKES_NOTHING, IMAP_FLAG_DRAFT, NULL},
    {"UNFLAGGED", IMAP_SEARCH_UNFLAG, TAKES_NOTHING, IMAP_FLAG_FLAGGED, NULL},
    {"UNKEYWORD", IMAP_SEARCH_UNKEYWORD, TAKES_KEYWORD, 0, NULL},
    {"UNSEEN", IMAP_SEARCH_UNFLAG, TAKES_NOTHING, IMAP_FLAG_SEEN, NULL},
    {"YOUNGER", IMAP_SEARCH_YOUNGER, TAKES_SECONDS, 0, NULL},
};

static struct imap_search_key *
new_key(struct imap_lexer *l, enum imap_search_op op)
{
	if (l->error != ERR_OK) {
		return NULL;
	}
	if (l->keys == IMAP_SEARCH_KEYS_MAX) {
		imap_lex_fail(l, ERR_LIMIT, "Too many search keys");
		return NULL;
	}
	l->keys++;
	struct imap_search_key *key = arena_alloc(l->arena, sizeof(*key));
	if (key == NULL) {
		imap_lex_fail(l, ERR_MEMORY, "Too much memory needed");
		return NULL;
	}
	key->op = op;
	return key;
}

/* A string in the command's charset into UTF-8, and folded. */
static void
take_string(struct imap_lexer *l, struct bytes charset, struct imap_search_key *key)
{
	struct bytes text = imap_lex_astring(l);
	struct buf utf8 = BUF_INIT((size_t)STRING_MAX * 4);
	struct buf folded = BUF_INIT((size_t)STRING_MAX * 4 * 11);
	enum err e = text.len > STRING_MAX ? ERR_LIMIT : ERR_OK;
	/* Without a charset, UTF-8 is taken as it is: clients send it, whatever the RFC says. */
	bool plain =
	    charset.len == 0 || bytes_is_nocase(charset, "US-ASCII") || bytes_is_nocase(charset, "UTF-8");
	if (l->error == ERR_OK && e == ERR_OK) {
		e = plain ? (bytes_is_utf8(text) ? buf_append(&utf8, text) : ERR_FORMAT)
			  : mail_charset_to_utf8(charset, text, &utf8);
		if (e == ERR_OK) {
			e = imap_fold_case(buf_bytes(&utf8), &folded);
		}
	}
	if (l->error == ERR_OK && e == ERR_OK) {
		key->text = arena_copy(l->arena, buf_bytes(&utf8));
		key->folded = arena_copy(l->arena, buf_bytes(&folded));
		if (key->text.ptr == NULL || key->folded.ptr == NULL) {
			e = ERR_MEMORY;
		}
	}
	if (e != ERR_OK) {
		imap_lex_fail(
		    l, e, e == ERR_FORMAT ? "The string is not in its charset" : "Search string too long");
	}
	buf_wipe(&utf8);
	buf_wipe(&folded);
}

static bool
starts_set(int c)
{
	return (c >= '0' && c <= '9') || c == '*' || c == '$';
}

/* [entry-name SP entry-type SP] number: the entry is for annotations, which we have not. */
static void
take_modseq(struct imap_lexer *l, struct imap_command *c, struct imap_search_key *key)
{
	imap_lex_need(l, ' ');
	if (imap_lex_peek(l) == '"') {
		(void)imap_lex_string(l);
		imap_lex_need(l, ' ');
		(void)imap_lex_atom(l);
		imap_lex_need(l, ' ');
	}
	key->number = imap_lex_number(l, INT64_MAX);
	c->search.modseq = true;
}

static struct imap_search_key *take_key(struct imap_lexer *l, struct imap_command *c, struct bytes charset,
					unsigned depth);

/* One or more keys with spaces between, as children of parent. */
static void
take_keys(struct imap_lexer *l, struct imap_command *c, struct bytes charset, unsigned depth,
	  struct imap_search_key *parent)
{
	struct imap_search_key **last = &parent->first;
	do {
		struct imap_search_key *key = take_key(l, c, charset, depth);
		if (key == NULL) {
			return;
		}
		*last = key;
		last = &key->next;
	} while (imap_lex_take(l, ' '));
}

static struct imap_search_key *
take_named_key(struct imap_lexer *l, struct bytes name, struct bytes charset)
{
	const size_t count = sizeof(key_names) / sizeof(key_names[0]);
	size_t i = 0;
	while (i < count && !bytes_is_nocase(name, key_names[i].name)) {
		i++;
	}
	if (i == count) {
		imap_lex_fail(l, ERR_FORMAT, "Unknown search key");
		return NULL;
	}
	struct imap_search_key *key = new_key(l, key_names[i].op);
	if (key == NULL) {
		return NULL;
	}
	key->flag = key_names[i].flag;
	key->name = key_names[i].header != NULL ? bytes_str(key_names[i].header) : BYTES_EMPTY;
	if (key_names[i].argument != TAKES_NOTHING) {
		imap_lex_need(l, ' ');
	}
	switch (key_names[i].argument) {
	case TAKES_NOTHING:
		break;
	case TAKES_STRING:
		take_string(l, charset, key);
		if (key->op == IMAP_SEARCH_BODY || key->op == IMAP_SEARCH_TEXT) {
			if (++l->body_keys > IMAP_SEARCH_BODY_KEYS_MAX) {
				imap_lex_fail(l, ERR_LIMIT, "Too many BODY and TEXT keys");
			}
		}
		break;
	case TAKES_KEYWORD:
		key->text = imap_lex_atom(l);
		break;
	case TAKES_DATE:
		key->day = imap_lex_date(l);
		break;
	case TAKES_NUMBER:
		key->number = imap_lex_number(l, INT64_MAX);
		break;
	case TAKES_SECONDS:
		key->number = imap_lex_number(l, UINT32_MAX);
		if (key->number == 0) {
			imap_lex_fail(l, ERR_FORMAT, "An interval of nothing");
		}
		break;
	case TAKES_SET:
		imap_lex_set(l, &key->set);
		break;
	}
	return key;
}

/* Recursion ends at IMAP_SEARCH_DEPTH_MAX. */
static struct imap_search_key *
take_key(struct imap_lexer *l, struct imap_command *c, struct bytes charset, unsigned depth)
{
	struct imap_search_key *key = NULL;
	if (depth >= IMAP_SEARCH_DEPTH_MAX) {
		imap_lex_fail(l, ERR_LIMIT, "Search keys nested too deeply");
		return NULL;
	}
	if (imap_lex_take(l, '(')) {
		key = new_key(l, IMAP_SEARCH_AND);
		if (key != NULL) {
			take_keys(l, c, charset, depth + 1, key);
			imap_lex_need(l, ')');
		}
		return key;
	}
	if (starts_set(imap_lex_peek(l))) {
		key = new_key(l, IMAP_SEARCH_SET);
		if (key != NULL) {
			imap_lex_set(l, &key->set);
		}
		return key;
	}
	struct bytes name = imap_lex_atom(l);
	if (l->error != ERR_OK) {
		return NULL;
	}
	if (bytes_is_nocase(name, "NOT") || bytes_is_nocase(name, "OR")) {
		bool or = bytes_is_nocase(name, "OR");
		key = new_key(l, or ? IMAP_SEARCH_OR : IMAP_SEARCH_NOT);
		if (key == NULL) {
			return NULL;
		}
		imap_lex_need(l, ' ');
		key->first = take_key(l, c, charset, depth + 1);
		if (or &&key->first != NULL) {
			imap_lex_need(l, ' ');
			key->first->next = take_key(l, c, charset, depth + 1);
		}
		return key;
	}
	if (bytes_is_nocase(name, "NEW")) {
		key = new_key(l, IMAP_SEARCH_AND);
		struct imap_search_key *recent = new_key(l, IMAP_SEARCH_FLAG);
		struct imap_search_key *unseen = new_key(l, IMAP_SEARCH_UNFLAG);
		if (key != NULL && recent != NULL && unseen != NULL) {
			recent->flag = IMAP_FLAG_RECENT;
			unseen->flag = IMAP_FLAG_SEEN;
			key->first = recent;
			recent->next = unseen;
		}
		return key;
	}
	if (bytes_is_nocase(name, "HEADER")) {
		key = new_key(l, IMAP_SEARCH_HEADER);
		if (key != NULL) {
			imap_lex_need(l, ' ');
			key->name = imap_lex_astring(l);
			imap_lex_need(l, ' ');
			take_string(l, charset, key);
		}
		return key;
	}
	if (bytes_is_nocase(name, "MODSEQ")) {
		key = new_key(l, IMAP_SEARCH_MODSEQ);
		if (key != NULL) {
			take_modseq(l, c, key);
		}
		return key;
	}
	key = take_named_key(l, name, charset);
	if (key != NULL && (key->op == IMAP_SEARCH_EMAILID || key->op == IMAP_SEARCH_THREADID)) {
		c->search.object_ids = true;
	}
	return key;
}

static uint32_t
return_named(struct bytes name)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} options[] = {
	    {"MIN", IMAP_RETURN_MIN},     {"MAX", IMAP_RETURN_MAX},   {"ALL", IMAP_RETURN_ALL},
	    {"COUNT", IMAP_RETURN_COUNT}, {"SAVE", IMAP_RETURN_SAVE}, {"PARTIAL", IMAP_RETURN_PARTIAL},
	};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (bytes_is_nocase(name, options[i].name)) {
			return options[i].bit;
		}
	}
	return 0;
}

/* Behind the word RETURN. */
static void
take_returns(struct imap_lexer *l, struct imap_command *c)
{
	c->search.esearch = true;
	imap_lex_need(l, ' ');
	imap_lex_need(l, '(');
	if (!imap_lex_take(l, ')')) {
		do {
			uint32_t bit = return_named(imap_lex_atom(l));
			if (bit == 0) {
				imap_lex_fail(l, ERR_FORMAT, "Unknown return option");
			}
			if (bit == IMAP_RETURN_PARTIAL) {
				if ((c->search.returns & IMAP_RETURN_PARTIAL) != 0) {
					imap_lex_fail(l, ERR_FORMAT, "PARTIAL twice");
				}
				imap_lex_need(l, ' ');
				imap_lex_partial(l, &c->search.partial);
			}
			c->search.returns |= bit;
		} while (imap_lex_take(l, ' '));
		imap_lex_need(l, ')');
	}
	if ((c->search.returns & IMAP_RETURN_ALL) != 0 && (c->search.returns & IMAP_RETURN_PARTIAL) != 0) {
		imap_lex_fail(l, ERR_FORMAT, "Either ALL or PARTIAL"); /* RFC 9394 section 3.1 */
	}
	if (c->search.returns == 0) {
		c->search.returns = IMAP_RETURN_ALL; /* RFC 4731 section 3.1 */
	}
}

static struct bytes
take_charset(struct imap_lexer *l, bool of_search)
{
	struct bytes charset = imap_lex_astring(l);
	imap_lex_need(l, ' ');
	bool plain = bytes_is_nocase(charset, "UTF-8") || bytes_is_nocase(charset, "US-ASCII");
	if ((l->modes & IMAP_MODE_ACCEPT) != 0 && (of_search || !plain)) {
		/* RFC 6855 section 3; SORT and THREAD cannot do without one, and UTF-8 is what they then mean. */
		imap_lex_fail(l, ERR_FORMAT, "CHARSET after ENABLE UTF8=ACCEPT");
	} else if (l->error == ERR_OK && (!mail_charset_known(charset) || mail_charset_is_wide(charset))) {
		/* NUL cannot come in a literal: a string in UTF-16 could never be said. */
		imap_lex_fail(l, ERR_UNSUPPORTED, "Unknown charset");
	}
	return charset;
}

static void
take_criteria(struct imap_lexer *l, struct imap_command *c, struct bytes charset)
{
	c->search.key = new_key(l, IMAP_SEARCH_AND);
	if (c->search.key != NULL) {
		take_keys(l, c, charset, 1, c->search.key);
	}
}

void
imap_parse_search(struct imap_lexer *l, struct imap_command *c)
{
	struct bytes charset = BYTES_EMPTY;
	imap_lex_need(l, ' ');
	if (imap_lex_word(l, "RETURN")) {
		take_returns(l, c);
		imap_lex_need(l, ' ');
	}
	if (imap_lex_word(l, "CHARSET")) {
		imap_lex_need(l, ' ');
		c->search.charset_given = true;
		charset = take_charset(l, true);
	}
	if ((l->modes & IMAP_MODE_REV2) != 0 && !c->search.esearch) {
		/* RFC 9051 section 6.4.4: there is no SEARCH response any more. */
		c->search.esearch = true;
		c->search.returns = IMAP_RETURN_ALL;
	}
	take_criteria(l, c, charset);
}

static void
take_order(struct imap_lexer *l, struct imap_command *c)
{
	static const char *const names[] = {
	    [IMAP_SORT_ARRIVAL] = "ARRIVAL",
	    [IMAP_SORT_CC] = "CC",
	    [IMAP_SORT_DATE] = "DATE",
	    [IMAP_SORT_FROM] = "FROM",
	    [IMAP_SORT_SIZE] = "SIZE",
	    [IMAP_SORT_SUBJECT] = "SUBJECT",
	    [IMAP_SORT_TO] = "TO",
	    [IMAP_SORT_DISPLAYFROM] = "DISPLAYFROM",
	    [IMAP_SORT_DISPLAYTO] = "DISPLAYTO",
	};
	const size_t count = sizeof(names) / sizeof(names[0]);
	struct imap_sort_criterion *order = arena_array(l->arena, IMAP_SORT_MAX, sizeof(*order));
	if (order == NULL) {
		imap_lex_fail(l, ERR_MEMORY, "Too much memory needed");
		return;
	}
	imap_lex_need(l, '(');
	do {
		if (c->search.order_count == IMAP_SORT_MAX) {
			imap_lex_fail(l, ERR_LIMIT, "Too many sort criteria");
			return;
		}
		struct imap_sort_criterion *one = &order[c->search.order_count++];
		struct bytes name = imap_lex_atom(l);
		if (bytes_is_nocase(name, "REVERSE")) {
			one->reverse = true;
			imap_lex_need(l, ' ');
			name = imap_lex_atom(l);
		}
		size_t by = 0;
		while (by < count && !bytes_is_nocase(name, names[by])) {
			by++;
		}
		if (by == count) {
			imap_lex_fail(l, ERR_FORMAT, "Unknown sort criterion");
			return;
		}
		one->by = (enum imap_sort_by)by;
	} while (imap_lex_take(l, ' '));
	imap_lex_need(l, ')');
	c->search.order = order;
}

void
imap_parse_sort(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	if (imap_lex_word(l, "RETURN")) {
		take_returns(l, c); /* RFC 5267 section 3 */
		imap_lex_need(l, ' ');
	}
	take_order(l, c);
	imap_lex_need(l, ' ');
	take_criteria(l, c, take_charset(l, false));
}

void
imap_parse_thread(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	struct bytes name = imap_lex_atom(l);
	if (bytes_is_nocase(name, "REFERENCES")) {
		c->search.algorithm = IMAP_THREAD_REFERENCES;
	} else if (bytes_is_nocase(name, "ORDEREDSUBJECT")) {
		c->search.algorithm = IMAP_THREAD_ORDEREDSUBJECT;
	} else {
		imap_lex_fail(l, ERR_FORMAT, "Unknown threading algorithm");
	}
	imap_lex_need(l, ' ');
	take_criteria(l, c, take_charset(l, false));
}
