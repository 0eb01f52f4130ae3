/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "mail/header.h"
#include "mail/lexer.h"

/*
 * Address lists in two steps, each linear: find the end of one item and its
 * landmarks ('<', '>', ':' of a group), then take its text apart.
 */

struct item {
	struct bytes before;  /* display name, group name or bare address */
	struct bytes address; /* between the angle brackets */
	struct bytes after;
	bool angle;
	bool group;
	uint8_t stop; /* ',', ';', or 0 at the end or before a second '<' */
};

struct list {
	struct arena *arena;
	struct mail_address *items;
	size_t count;
	size_t room;
	size_t max;
	bool truncated;
};

static bool
is_char(struct mail_token t, uint8_t c)
{
	return t.kind == MAIL_TOKEN_SPECIAL && t.text.ptr[0] == c;
}

/* Reads one item; x stands behind its separator then. */
static struct item
next_item(struct mail_lexer *x, bool in_group)
{
	struct item item = {.stop = 0};
	size_t start = x->at;
	size_t open = 0;
	size_t close = 0;
	bool inside = false; /* of the angle brackets */
	bool fresh = false;  /* nothing but blanks since '<' */
	bool route = false;  /* "<@a,@b:c@d>", RFC 5322 §4.4 */
	bool at_sign = false;
	bool colon = false;
	struct mail_token t;
	for (;;) {
		t = mail_lexer_next(x);
		if (t.kind == MAIL_TOKEN_END) {
			break;
		}
		if (t.kind != MAIL_TOKEN_SPECIAL) {
			fresh = fresh && t.kind == MAIL_TOKEN_SPACE;
			continue;
		}
		if (inside) {
			if (is_char(t, '>')) {
				close = t.at;
				inside = false;
			} else if (is_char(t, '@') && fresh) {
				route = true;
			} else if (is_char(t, ':')) {
				route = false;
			} else if ((is_char(t, ',') && !route) || is_char(t, ';')) {
				break;
			}
			fresh = false;
		} else if (is_char(t, '<')) {
			if (item.angle) {
				x->at = t.at;
				break;
			}
			item.angle = true;
			inside = true;
			fresh = true;
			open = t.at;
		} else if (is_char(t, '@')) {
			at_sign = true;
		} else if (is_char(t, ':') && !item.angle && !at_sign && !in_group) {
			colon = true;
			break;
		} else if (is_char(t, ',') || is_char(t, ';')) {
			break;
		}
	}
	if (is_char(t, ',') || is_char(t, ';')) {
		item.stop = t.text.ptr[0];
	}
	item.group = colon;
	if (item.angle) {
		size_t end = inside ? t.at : close;
		item.before = bytes_slice(x->in, start, open - start);
		item.address = bytes_slice(x->in, open + 1, end - open - 1);
		item.after = inside ? BYTES_EMPTY : bytes_slice(x->in, close + 1, t.at - close - 1);
	} else {
		item.before = bytes_slice(x->in, start, t.at - start);
	}
	return item;
}

/*
 * The words of a raw text as one: blanks and comments become a single space
 * where spaced, nothing otherwise. ret_comment gets the last comment. A single word is
 * borrowed. ERR_MEMORY.
 */
static enum err
join_words(struct arena *arena, struct bytes raw, bool spaced, struct bytes *ret_text,
	   struct bytes *ret_comment)
{
	struct mail_lexer x;
	struct mail_token t;
	struct bytes only = BYTES_EMPTY;
	uint8_t *to = NULL;
	size_t len = 0;
	size_t words = 0;
	bool gap = false;
	mail_lexer_init(&x, raw, MAIL_SPECIALS_ADDRESS, true);
	while ((t = mail_lexer_next(&x)).kind != MAIL_TOKEN_END) {
		struct bytes word = t.text;
		if (t.kind == MAIL_TOKEN_SPACE || t.kind == MAIL_TOKEN_COMMENT) {
			gap = true;
			if (t.kind == MAIL_TOKEN_COMMENT && ret_comment != NULL) {
				*ret_comment = t.text;
			}
			continue;
		}
		if (t.kind == MAIL_TOKEN_QUOTED) {
			word = mail_unquote(arena, t.text, false);
			if (word.ptr == NULL) {
				return ERR_MEMORY;
			}
		}
		words++;
		if (words == 1) {
			only = word;
			gap = false;
			continue;
		}
		if (words == 2) {
			/* Never longer than the raw text: each gap was at least one octet. */
			to = arena_alloc(arena, raw.len + 1);
			if (to == NULL) {
				return ERR_MEMORY;
			}
			if (only.len > 0) {
				memcpy(to, only.ptr, only.len);
			}
			len = only.len;
		}
		if (gap && spaced) {
			to[len++] = ' ';
		}
		gap = false;
		if (word.len > 0) {
			memcpy(to + len, word.ptr, word.len);
			len += word.len;
		}
	}
	*ret_text = words < 2 ? only : bytes_of(to, len);
	return ERR_OK;
}

/* Splits "local@domain", behind an obsolete route. */
static enum err
take_address(struct arena *arena, struct bytes raw, bool spaced, struct mail_address *address,
	     struct bytes *comment)
{
	struct mail_lexer x;
	struct mail_token t;
	size_t start = 0;
	size_t at_sign = SIZE_MAX;
	bool first = true;
	bool route = false;
	mail_lexer_init(&x, raw, MAIL_SPECIALS_ADDRESS, true);
	while ((t = mail_lexer_next_word(&x)).kind != MAIL_TOKEN_END) {
		if (is_char(t, '<') && first) {
			start = t.end;
			continue;
		}
		if (is_char(t, '@')) {
			route = route || first;
			at_sign = t.at;
		} else if (is_char(t, ':') && route) {
			start = t.end;
			at_sign = SIZE_MAX;
			route = false;
		}
		first = false;
	}
	if (at_sign == SIZE_MAX) {
		return join_words(arena, bytes_from(raw, start), spaced, &address->local, comment);
	}
	enum err e =
	    join_words(arena, bytes_slice(raw, start, at_sign - start), false, &address->local, comment);
	if (e == ERR_OK) {
		e = join_words(arena, bytes_from(raw, at_sign + 1), false, &address->domain, comment);
	}
	return e;
}

static enum err
push(struct list *list, struct mail_address address)
{
	if (list->count >= list->max) {
		list->truncated = true;
		return ERR_OK;
	}
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 2 : list->room * 2;
		struct mail_address *items = arena_array(list->arena, room, sizeof(*items));
		if (items == NULL) {
			return ERR_MEMORY;
		}
		if (list->count > 0) {
			memcpy(items, list->items, list->count * sizeof(*items));
		}
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = address;
	return ERR_OK;
}

static enum err
push_item(struct list *list, const struct item *item)
{
	struct mail_address address = {.kind = MAIL_ADDRESS_MAILBOX};
	struct bytes comment = BYTES_EMPTY;
	enum err e;
	if (item->group) {
		address.kind = MAIL_ADDRESS_GROUP;
		e = join_words(list->arena, item->before, true, &address.name, NULL);
		return e == ERR_OK ? push(list, address) : e;
	}
	if (item->angle) {
		e = join_words(list->arena, item->before, true, &address.name, &comment);
		if (e == ERR_OK && address.name.len == 0) {
			struct bytes ignored;
			e = join_words(list->arena, item->after, true, &ignored, &comment);
		}
		if (e == ERR_OK) {
			e = take_address(list->arena, item->address, false, &address, NULL);
		}
	} else {
		e = take_address(list->arena, item->before, true, &address, &comment);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (address.name.len == 0 && comment.len > 0) {
		comment = bytes_trim(comment);
		address.name = mail_unquote(list->arena, comment, false);
		if (address.name.ptr == NULL) {
			return ERR_MEMORY;
		}
	}
	if (address.local.len == 0 && address.domain.len == 0 && (address.name.len == 0 || !item->angle)) {
		return ERR_OK;
	}
	return push(list, address);
}

enum err
mail_addresses_parse(struct arena *arena, struct bytes value, size_t max,
		     struct mail_addresses *ret_addresses)
{
	struct list list = {.arena = arena, .max = max};
	struct mail_lexer x;
	bool in_group = false;
	mail_lexer_init(&x, value, MAIL_SPECIALS_ADDRESS, true);
	while (x.at < value.len && !list.truncated) {
		struct item item = next_item(&x, in_group);
		enum err e = push_item(&list, &item);
		if (e == ERR_OK && item.group) {
			in_group = !list.truncated;
		}
		if (e == ERR_OK && in_group && item.stop == ';') {
			in_group = false;
			e = push(&list, (struct mail_address){.kind = MAIL_ADDRESS_GROUP_END});
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	if (in_group && list.count > 0) {
		/* A group is always closed: at the limit its end takes the last place. */
		if (list.count == list.max) {
			list.count--;
			if (list.items[list.count].kind == MAIL_ADDRESS_GROUP) {
				goto done;
			}
		}
		enum err e = push(&list, (struct mail_address){.kind = MAIL_ADDRESS_GROUP_END});
		if (e != ERR_OK) {
			return e;
		}
	}
done:
	ret_addresses->list = list.items;
	ret_addresses->count = list.count;
	ret_addresses->truncated = list.truncated;
	return ERR_OK;
}
