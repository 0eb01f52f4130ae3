/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/structure.h"

#include <string.h>

#include "mail/decode.h"
#include "mail/envelope.h"
#include "mail/lexer.h"

/*
 * One pass over the lines. `open` is the chain of parts from the root to the
 * one that the present line belongs to. A line that is a delimiter of an open
 * multipart (the outermost that fits) closes all parts inside of it.
 */

enum state {
	IN_HEADER, /* of the innermost open part */
	IN_BODY,
	IN_EPILOGUE /* behind the close delimiter of the innermost open part */
};

struct open_part {
	uint32_t part;
	struct bytes boundary; /* empty: no multipart, or closed */
	size_t body_line;      /* number of the body's first line */
	bool is_message_root;
};

struct parser {
	struct arena *arena;
	struct bytes message;
	struct mail_part *parts;
	uint32_t count;
	uint32_t room;
	struct open_part open[MAIL_MAX_DEPTH];
	size_t depth;
	enum state state;
	size_t header_line; /* lines of the present header that were read */
	size_t line;        /* number of the present line */
	struct mail_budget budget;
	bool frozen; /* no part is opened any more */
	bool truncated;
};

static enum err
open_part(struct parser *p, size_t at, uint32_t parent, bool is_message_root)
{
	if (p->count == p->room) {
		uint32_t room = p->room == 0 ? 2 : p->room * 2;
		struct mail_part *parts = arena_array(p->arena, room, sizeof(*parts));
		if (parts == NULL) {
			return ERR_MEMORY;
		}
		if (p->count > 0) {
			memcpy(parts, p->parts, p->count * sizeof(*parts));
		}
		p->parts = parts;
		p->room = room;
	}
	uint32_t index = p->count++;
	struct mail_part *part = &p->parts[index];
	*part = (struct mail_part){
	    .parent = parent,
	    .first_child = MAIL_NO_PART,
	    .next_sibling = MAIL_NO_PART,
	    .depth = (uint32_t)p->depth,
	    .header_at = at,
	    .body_at = at,
	};
	if (parent != MAIL_NO_PART) {
		p->parts[parent].child_count++;
		if (p->parts[parent].first_child == MAIL_NO_PART) {
			p->parts[parent].first_child = index;
		}
	}
	p->open[p->depth++] = (struct open_part){.part = index, .is_message_root = is_message_root};
	p->state = IN_HEADER;
	p->header_line = 0;
	if (p->count == MAIL_MAX_PARTS) {
		p->frozen = true;
	}
	return ERR_OK;
}

static void
set_type(struct mail_part *part, struct bytes type, struct bytes subtype)
{
	part->type = type;
	part->subtype = subtype;
	part->params = (struct mail_params){.list = NULL, .count = 0};
}

static void
make_opaque(struct mail_part *part)
{
	part->kind = MAIL_PART_LEAF;
	set_type(part, BYTES_LIT("application"), BYTES_LIT("octet-stream"));
}

static bool
is_type(const struct mail_part *part, const char *type, const char *subtype)
{
	return bytes_is_nocase(part->type, type) && bytes_is_nocase(part->subtype, subtype);
}

/* What the header says makes the part a multipart, a message, or a leaf. */
static enum err
settle_kind(struct parser *p, struct open_part *open, struct bytes boundary)
{
	struct mail_part *part = &p->parts[open->part];
	bool multipart = bytes_is_nocase(part->type, "multipart");
	bool message = is_type(part, "message", "rfc822");
	bool no_room = p->frozen || p->depth == MAIL_MAX_DEPTH;
	if (multipart && boundary.len == 0) {
		set_type(part, BYTES_LIT("text"), BYTES_LIT("plain"));
	} else if ((multipart || message) && no_room) {
		make_opaque(part);
		p->truncated = true;
	} else if (multipart) {
		part->kind = MAIL_PART_MULTIPART;
		open->boundary = boundary;
	} else if (message && mail_encoding_of(part->encoding) > MAIL_ENCODING_BINARY) {
		make_opaque(part);
	} else if (message) {
		part->kind = MAIL_PART_MESSAGE;
		return open_part(p, part->body_at, open->part, true);
	}
	return ERR_OK;
}

/* The header of the innermost part ends before `end`. */
static enum err
end_header(struct parser *p, size_t end)
{
	struct open_part *open = &p->open[p->depth - 1];
	struct mail_part *part = &p->parts[open->part];
	struct bytes boundary = BYTES_EMPTY;
	bool in_digest =
	    part->parent != MAIL_NO_PART && is_type(&p->parts[part->parent], "multipart", "digest");
	part->header_len = end - part->header_at;
	part->body_at = end;
	open->body_line = p->line;
	p->state = IN_BODY;
	if (in_digest) {
		/* RFC 2046 §5.1.5 */
		set_type(part, BYTES_LIT("message"), BYTES_LIT("rfc822"));
	} else {
		set_type(part, BYTES_LIT("text"), BYTES_LIT("plain"));
	}
	struct bytes header = bytes_slice(p->message, part->header_at, part->header_len);
	enum err e = mail_part_read(p->arena, header, &p->budget, part, &boundary);
	if (e != ERR_OK) {
		return e;
	}
	if (open->is_message_root) {
		struct mail_envelope *envelope = arena_alloc(p->arena, sizeof(*envelope));
		if (envelope == NULL) {
			return ERR_MEMORY;
		}
		e = mail_envelope_read(p->arena, header, part->depth == 0, &p->budget, envelope);
		if (e != ERR_OK) {
			return e;
		}
		part->envelope = envelope;
	}
	return settle_kind(p, open, boundary);
}

/* Closes open parts until `keep` are left; their content ends at `end`, where line number p->line begins or began. */
static enum err
close_parts(struct parser *p, size_t keep, size_t end)
{
	while (p->state == IN_HEADER) {
		size_t at = p->parts[p->open[p->depth - 1].part].header_at;
		enum err e = end_header(p, end > at ? end : at);
		if (e != ERR_OK) {
			return e;
		}
	}
	/* At a delimiter the content's last line end was taken off, unless a header needed it. */
	bool taken = end < p->message.len;
	while (p->depth > keep) {
		struct open_part *open = &p->open[--p->depth];
		struct mail_part *part = &p->parts[open->part];
		if (end < part->body_at) {
			/* An empty part may begin behind the line end that belongs to the delimiter. */
			end = part->body_at;
			taken = false;
		}
		part->body_len = end - part->body_at;
		if (part->body_len > 0) {
			part->body_lines = p->line - open->body_line;
			/* A line end before the one taken off: the last line was empty. */
			if (taken && p->message.ptr[end - 1] == '\n' && part->body_lines > 0) {
				part->body_lines--;
			}
		}
		if (part->kind == MAIL_PART_MULTIPART && part->child_count == 0) {
			part->kind = MAIL_PART_LEAF;
			set_type(part, BYTES_LIT("text"), BYTES_LIT("plain"));
		}
	}
	return ERR_OK;
}

/* The position in `open` of the multipart that this line delimits; p->depth where it is an ordinary line. */
static size_t
find_delimiter(const struct parser *p, struct bytes line, bool *ret_close)
{
	while (line.len > 0 && mail_is_blank(line.ptr[line.len - 1])) {
		line.len--;
	}
	for (size_t i = 0; i < p->depth; i++) {
		struct bytes boundary = p->open[i].boundary;
		if (boundary.len == 0 || line.len < boundary.len + 2 ||
		    memcmp(line.ptr + 2, boundary.ptr, boundary.len) != 0) {
			continue;
		}
		struct bytes rest = bytes_from(line, boundary.len + 2);
		if (rest.len == 0 || bytes_is(rest, "--")) {
			*ret_close = rest.len > 0;
			return i;
		}
	}
	return p->depth;
}

/* Where the content before a delimiter line ends: before the line end in front of it (RFC 2046 §5.1.1). */
static size_t
content_end(struct bytes message, size_t delimiter)
{
	if (delimiter > 0 && message.ptr[delimiter - 1] == '\n') {
		delimiter--;
		if (delimiter > 0 && message.ptr[delimiter - 1] == '\r') {
			delimiter--;
		}
	}
	return delimiter;
}

static enum err
take_delimiter(struct parser *p, size_t at, size_t end, size_t which, bool closes)
{
	enum err e = close_parts(p, which + 1, content_end(p->message, at));
	if (e != ERR_OK) {
		return e;
	}
	/* The delimiter line itself is behind us. */
	p->line++;
	if (closes) {
		p->open[which].boundary = BYTES_EMPTY;
		p->state = IN_EPILOGUE;
		return ERR_OK;
	}
	p->state = IN_BODY;
	return open_part(p, end, p->open[which].part, false);
}

/* One line of a header; *ret_consumed false where it is a body's line already. */
static enum err
take_header_line(struct parser *p, size_t at, size_t end, bool *ret_consumed)
{
	struct bytes line = bytes_slice(p->message, at, end - at);
	if (mail_line_is_empty(line)) {
		p->line++;
		*ret_consumed = true;
		return end_header(p, end);
	}
	/* The first line decides, as in mail_header_length(). */
	if (p->header_line == 0 && mail_mbox_line_length(line) == 0 && mail_header_length(line) == 0) {
		*ret_consumed = false;
		return end_header(p, at);
	}
	p->header_line++;
	p->line++;
	*ret_consumed = true;
	return ERR_OK;
}

/* Siblings are linked at the end, from the last to the first. */
static enum err
link_siblings(struct parser *p)
{
	uint32_t *latest = arena_array(p->arena, p->count, sizeof(*latest));
	if (latest == NULL) {
		return ERR_MEMORY;
	}
	for (uint32_t i = p->count; i > 1; i--) {
		struct mail_part *part = &p->parts[i - 1];
		/* 0 stands for none: part 0 is nobody's sibling. */
		part->next_sibling = latest[part->parent] == 0 ? MAIL_NO_PART : latest[part->parent];
		latest[part->parent] = i - 1;
	}
	return ERR_OK;
}

static enum err
parse_lines(struct parser *p)
{
	struct bytes m = p->message;
	size_t at = 0;
	enum err e = open_part(p, 0, MAIL_NO_PART, true);
	while (e == ERR_OK && at < m.len) {
		size_t end = mail_line_end(m, at);
		bool closes = false;
		bool consumed = true;
		if (end - at > 2 && m.ptr[at] == '-' && m.ptr[at + 1] == '-' && !p->frozen) {
			size_t which = find_delimiter(p, bytes_slice(m, at, end - at), &closes);
			if (which < p->depth) {
				e = take_delimiter(p, at, end, which, closes);
				at = end;
				continue;
			}
		}
		if (p->state == IN_HEADER) {
			e = take_header_line(p, at, end, &consumed);
		} else {
			p->line++;
		}
		at = consumed ? end : at;
	}
	return e == ERR_OK ? close_parts(p, 0, m.len) : e;
}

enum err
mail_parse(struct arena *arena, struct bytes message, struct mail_structure *ret)
{
	if (message.len >= UINT32_MAX) {
		return ERR_LIMIT;
	}
	struct parser p = {
	    .arena = arena,
	    .message = message.ptr == NULL ? bytes_of("", 0) : message,
	    .budget = {.text = MAIL_BUDGET_TEXT,
		       .params = MAIL_BUDGET_PARAMS,
		       .addresses = MAIL_MAX_ADDRESSES},
	};
	enum err e = parse_lines(&p);
	if (e == ERR_OK) {
		e = link_siblings(&p);
	}
	if (e != ERR_OK) {
		return e;
	}
	*ret = (struct mail_structure){
	    .parts = p.parts,
	    .count = p.count,
	    .size = message.len,
	    .truncated = p.truncated || p.frozen || p.budget.cut,
	};
	return ERR_OK;
}

static enum err
nth_child(const struct mail_structure *s, uint32_t parent, uint32_t n, uint32_t *ret)
{
	uint32_t at = s->parts[parent].first_child;
	if (n == 0 || n > s->parts[parent].child_count) {
		return ERR_NOT_FOUND;
	}
	for (uint32_t i = 1; i < n; i++) {
		at = s->parts[at].next_sibling;
	}
	*ret = at;
	return ERR_OK;
}

enum err
mail_part_find(const struct mail_structure *s, const uint32_t *numbers, size_t count, uint32_t *ret_part)
{
	uint32_t at = 0;
	for (size_t i = 0; i < count; i++) {
		enum err e;
		/* A number below a MESSAGE counts in the message that it holds. */
		if (i > 0 && s->parts[at].kind == MAIL_PART_MESSAGE) {
			at = s->parts[at].first_child;
		} else if (i > 0 && s->parts[at].kind == MAIL_PART_LEAF) {
			return ERR_NOT_FOUND;
		}
		if (s->parts[at].kind == MAIL_PART_MULTIPART) {
			e = nth_child(s, at, numbers[i], &at);
			if (e != ERR_OK) {
				return e;
			}
		} else if (numbers[i] != 1) {
			return ERR_NOT_FOUND;
		}
	}
	*ret_part = at;
	return ERR_OK;
}

enum err
mail_part_message(const struct mail_structure *s, const uint32_t *numbers, size_t count, uint32_t *ret_part)
{
	uint32_t at;
	if (count == 0) {
		*ret_part = 0;
		return ERR_OK;
	}
	enum err e = mail_part_find(s, numbers, count, &at);
	if (e != ERR_OK) {
		return e;
	}
	if (s->parts[at].kind != MAIL_PART_MESSAGE) {
		return ERR_NOT_FOUND;
	}
	*ret_part = s->parts[at].first_child;
	return ERR_OK;
}
