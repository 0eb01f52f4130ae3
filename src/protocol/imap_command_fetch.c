/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_lexer.h"

/* FETCH and UID FETCH (RFC 3501 section 6.4.5, RFC 7162 section 3.1.4). */

enum { ITEMS_MAX = 256, FIELDS_MAX = 256 };

struct items {
	struct imap_fetch_item *list;
	size_t count;
	size_t cap;
};

static struct imap_fetch_item *
add_item(struct imap_lexer *l, struct items *items, enum imap_fetch_kind kind)
{
	if (items->count == ITEMS_MAX) {
		imap_lex_fail(l, ERR_LIMIT, "Too many data items");
		return NULL;
	}
	struct imap_fetch_item *list =
	    imap_lex_grow(l, items->list, items->count, &items->cap, sizeof(*items->list));
	if (list == NULL) {
		return NULL;
	}
	items->list = list;
	struct imap_fetch_item *item = &items->list[items->count++];
	item->kind = kind;
	return item;
}

static void
take_fields(struct imap_lexer *l, struct imap_section *section)
{
	struct bytes *fields = NULL;
	size_t cap = 0;
	size_t count = 0;
	imap_lex_need(l, ' ');
	imap_lex_need(l, '(');
	do {
		if (count == FIELDS_MAX) {
			imap_lex_fail(l, ERR_LIMIT, "Too many header fields");
		}
		struct bytes name = imap_lex_astring(l);
		fields = imap_lex_grow(l, fields, count, &cap, sizeof(*fields));
		if (fields == NULL) {
			return;
		}
		fields[count++] = name;
	} while (imap_lex_take(l, ' '));
	imap_lex_need(l, ')');
	section->fields = fields;
	section->field_count = count;
}

/* Behind "[", up to and with "]". */
static void
take_section(struct imap_lexer *l, struct imap_section *section)
{
	uint32_t *path = NULL;
	size_t cap = 0;
	bool dot = false;
	section->kind = IMAP_SECTION_ALL;
	while (l->error == ERR_OK && ascii_is_digit((uint8_t)(imap_lex_peek(l) < 0 ? 0 : imap_lex_peek(l)))) {
		uint32_t number = (uint32_t)imap_lex_number(l, UINT32_MAX);
		if (number == 0) {
			imap_lex_fail(l, ERR_FORMAT, "Part numbers begin with 1");
		}
		if (section->path_len == IMAP_PATH_MAX) {
			imap_lex_fail(l, ERR_LIMIT, "Section too deep");
		}
		path = imap_lex_grow(l, path, section->path_len, &cap, sizeof(*path));
		if (path == NULL) {
			return;
		}
		path[section->path_len++] = number;
		dot = imap_lex_take(l, '.');
		if (!dot) {
			break;
		}
	}
	section->path = path;
	if (section->path_len == 0 || dot) {
		if (imap_lex_word(l, "HEADER.FIELDS.NOT")) {
			section->kind = IMAP_SECTION_FIELDS_NOT;
			take_fields(l, section);
		} else if (imap_lex_word(l, "HEADER.FIELDS")) {
			section->kind = IMAP_SECTION_FIELDS;
			take_fields(l, section);
		} else if (imap_lex_word(l, "HEADER")) {
			section->kind = IMAP_SECTION_HEADER;
		} else if (imap_lex_word(l, "TEXT")) {
			section->kind = IMAP_SECTION_TEXT;
		} else if (section->path_len > 0 && imap_lex_word(l, "MIME")) {
			section->kind = IMAP_SECTION_MIME;
		} else if (dot || imap_lex_peek(l) != ']') {
			imap_lex_fail(l, ERR_FORMAT, "Unknown section");
		}
	}
	if (!imap_lex_take(l, ']')) {
		imap_lex_fail(l, ERR_FORMAT, "Unknown section");
	}
}

static void
take_partial(struct imap_lexer *l, struct imap_fetch_item *item)
{
	if (!imap_lex_take(l, '<')) {
		return;
	}
	item->partial = true;
	item->start = (uint32_t)imap_lex_number(l, UINT32_MAX);
	imap_lex_need(l, '.');
	item->count = (uint32_t)imap_lex_number(l, UINT32_MAX);
	if (item->count == 0) {
		imap_lex_fail(l, ERR_FORMAT, "A partial fetch of nothing");
	}
	imap_lex_need(l, '>');
}

static const struct {
	const char *name;
	enum imap_fetch_kind kind;
} item_names[] = {
    {"ENVELOPE", IMAP_FETCH_ENVELOPE},
    {"FLAGS", IMAP_FETCH_FLAGS},
    {"INTERNALDATE", IMAP_FETCH_INTERNALDATE},
    {"RFC822", IMAP_FETCH_RFC822},
    {"RFC822.HEADER", IMAP_FETCH_RFC822_HEADER},
    {"RFC822.SIZE", IMAP_FETCH_RFC822_SIZE},
    {"RFC822.TEXT", IMAP_FETCH_RFC822_TEXT},
    {"BODYSTRUCTURE", IMAP_FETCH_BODYSTRUCTURE},
    {"UID", IMAP_FETCH_UID},
    {"MODSEQ", IMAP_FETCH_MODSEQ},
    {"SAVEDATE", IMAP_FETCH_SAVEDATE},
    {"EMAILID", IMAP_FETCH_EMAILID},
    {"THREADID", IMAP_FETCH_THREADID},
};

/* RFC 3516: part numbers alone, and no partial for the size. */
static bool
take_binary(struct imap_lexer *l, struct items *items)
{
	static const struct {
		const char *name;
		enum imap_fetch_kind kind;
		bool peek;
	} forms[] = {{"BINARY[", IMAP_FETCH_BINARY, false},
		     {"BINARY.PEEK[", IMAP_FETCH_BINARY, true},
		     {"BINARY.SIZE[", IMAP_FETCH_BINARY_SIZE, true}};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct bytes name = bytes_str(forms[i].name);
		if (!bytes_starts_with_nocase(l->rest, forms[i].name)) {
			continue;
		}
		l->rest = bytes_from(l->rest, name.len);
		struct imap_fetch_item *item = add_item(l, items, forms[i].kind);
		if (item != NULL) {
			item->peek = forms[i].peek;
			take_section(l, &item->section);
			if (item->section.kind != IMAP_SECTION_ALL) {
				imap_lex_fail(l, ERR_FORMAT, "Part numbers alone go with BINARY");
			}
			if (item->kind == IMAP_FETCH_BINARY) {
				take_partial(l, item);
			}
		}
		return true;
	}
	return false;
}

/* RFC 8970 section 3.1: LAZY is the one modifier there is. */
static void
take_preview(struct imap_lexer *l, struct items *items)
{
	struct imap_fetch_item *item = add_item(l, items, IMAP_FETCH_PREVIEW);
	if (item != NULL && bytes_starts_with_nocase(l->rest, " (LAZY)")) {
		l->rest = bytes_from(l->rest, 7);
		item->lazy = true;
	}
}

static void
take_item(struct imap_lexer *l, struct items *items)
{
	if (take_binary(l, items)) {
		return;
	}
	if (imap_lex_word(l, "PREVIEW")) {
		take_preview(l, items);
		return;
	}
	bool peek = bytes_starts_with_nocase(l->rest, "BODY.PEEK[");
	if (peek || bytes_starts_with_nocase(l->rest, "BODY[")) {
		l->rest = bytes_from(l->rest, peek ? 10 : 5);
		struct imap_fetch_item *item = add_item(l, items, IMAP_FETCH_SECTION);
		if (item != NULL) {
			item->peek = peek;
			take_section(l, &item->section);
			take_partial(l, item);
		}
		return;
	}
	if (imap_lex_word(l, "BODY")) {
		(void)add_item(l, items, IMAP_FETCH_BODY);
		return;
	}
	for (size_t i = 0; i < sizeof(item_names) / sizeof(item_names[0]); i++) {
		if (imap_lex_word(l, item_names[i].name)) {
			(void)add_item(l, items, item_names[i].kind);
			return;
		}
	}
	imap_lex_fail(l, ERR_FORMAT, "Unknown data item");
}

/* ALL, FAST, FULL. */
static bool
take_macro(struct imap_lexer *l, struct items *items)
{
	int level = imap_lex_word(l, "FAST")   ? 1
		    : imap_lex_word(l, "ALL")  ? 2
		    : imap_lex_word(l, "FULL") ? 3
					       : 0;
	if (level >= 1) {
		(void)add_item(l, items, IMAP_FETCH_FLAGS);
		(void)add_item(l, items, IMAP_FETCH_INTERNALDATE);
		(void)add_item(l, items, IMAP_FETCH_RFC822_SIZE);
	}
	if (level >= 2) {
		(void)add_item(l, items, IMAP_FETCH_ENVELOPE);
	}
	if (level >= 3) {
		(void)add_item(l, items, IMAP_FETCH_BODY);
	}
	return level > 0;
}

static void
add_missing(struct imap_lexer *l, struct items *items, enum imap_fetch_kind kind)
{
	for (size_t i = 0; i < items->count; i++) {
		if (items->list[i].kind == kind) {
			return;
		}
	}
	(void)add_item(l, items, kind);
}

void
imap_parse_fetch_items(struct imap_lexer *l, const struct imap_fetch_item **ret_items, size_t *ret_count)
{
	struct items items = {.list = NULL, .count = 0, .cap = 0};
	imap_lex_need(l, '(');
	do {
		take_item(l, &items);
	} while (imap_lex_take(l, ' '));
	imap_lex_need(l, ')');
	add_missing(l, &items, IMAP_FETCH_UID);
	*ret_items = items.list;
	*ret_count = items.count;
}

/* The modifiers (RFC 4466): each once, in any order. */
static void
take_modifiers(struct imap_lexer *l, struct imap_command *c, struct items *items)
{
	do {
		if (!c->fetch.changed_since_given && imap_lex_word(l, "CHANGEDSINCE")) {
			imap_lex_need(l, ' ');
			c->fetch.changed_since_given = true;
			c->fetch.changed_since = imap_lex_number(l, INT64_MAX);
			/* RFC 7162 section 3.1.4.1: the answer always has it. */
			add_missing(l, items, IMAP_FETCH_MODSEQ);
		} else if (c->uid && !c->fetch.vanished && imap_lex_word(l, "VANISHED")) {
			c->fetch.vanished = true;
		} else if (c->uid && !c->fetch.partial.given && imap_lex_word(l, "PARTIAL")) {
			imap_lex_need(l, ' ');
			imap_lex_partial(l, &c->fetch.partial);
		} else {
			imap_lex_fail(l, ERR_FORMAT, "Unknown modifier");
		}
	} while (imap_lex_take(l, ' '));
	imap_lex_need(l, ')');
	if (c->fetch.vanished && (!c->fetch.changed_since_given || (l->modes & IMAP_MODE_QRESYNC) == 0)) {
		/* RFC 7162 section 3.2.6. */
		imap_lex_fail(l, ERR_FORMAT, "VANISHED goes with CHANGEDSINCE, after ENABLE QRESYNC");
	}
}

void
imap_parse_fetch(struct imap_lexer *l, struct imap_command *c)
{
	struct items items = {.list = NULL, .count = 0, .cap = 0};
	imap_lex_need(l, ' ');
	imap_lex_set(l, &c->set);
	imap_lex_need(l, ' ');
	if (imap_lex_take(l, '(')) {
		do {
			take_item(l, &items);
		} while (imap_lex_take(l, ' '));
		imap_lex_need(l, ')');
	} else if (l->error == ERR_OK && !take_macro(l, &items)) {
		take_item(l, &items);
	}
	if (l->rest.len > 1 && l->rest.ptr[0] == ' ' && l->rest.ptr[1] == '(') {
		l->rest = bytes_from(l->rest, 2);
		take_modifiers(l, c, &items);
	}
	if (c->uid) {
		/* RFC 3501 section 6.4.8: the answer always has it. */
		add_missing(l, &items, IMAP_FETCH_UID);
	}
	c->fetch.items = items.list;
	c->fetch.count = items.count;
}
