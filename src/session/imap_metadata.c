/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* GETMETADATA, SETMETADATA (RFC 5464), LIST's METADATA (RFC 9590); special uses as /private/specialuse (RFC 6154 section 4). */
#include <stdio.h>
#include <string.h>

#include "session/imap.h"

/* A literal that is longer than a value may be was refused when it was announced. */
enum { VALUE_MAX = IMAP_METADATA_VALUE_MAX, USES_ALL = IMAP_USE_OTHER - 1, MADE_COUNT = 2, MADE_MAX = 4096 };

static const char special_use[] = "/private/specialuse";
static const char admin[] = "/shared/admin";
static const char forward[] =
    "/private/vendor/cohue/forward"; /* where her mail is sent on: to be read alone */

/* ---- names ---- */

/* In lower case, in the arena. ptr NULL: not a name. `whole`: it must be one that can be kept, and not the part before others. */
static struct bytes
entry_of(struct imap *im, struct bytes given, bool whole)
{
	uint8_t *low = given.len <= OPERATION_ENTRY_MAX ? arena_alloc(im->arena, given.len) : NULL;
	if (low == NULL) {
		return BYTES_EMPTY;
	}
	for (size_t i = 0; i < given.len; i++) {
		low[i] = ascii_lower(given.ptr[i]);
		bool doubled = low[i] == '/' && (i + 1 == given.len || given.ptr[i + 1] == '/');
		if (low[i] <= 0x20 || low[i] >= 0x7f || low[i] == '*' || low[i] == '%' || doubled) {
			return BYTES_EMPTY;
		}
	}
	struct bytes name = bytes_of(low, given.len);
	return whole && !operation_entry_valid(name) ? BYTES_EMPTY : name;
}

/* What was asked for, in the form in which it is kept; false: answered BAD. */
static bool
entries_of(struct imap *im, const struct imap_metadata *m, bool whole, struct bytes **ret)
{
	struct bytes *names = arena_array(im->arena, m->count, sizeof(*names));
	for (size_t i = 0; names != NULL && i < m->count; i++) {
		names[i] = entry_of(im, m->items[i].entry, whole);
		if (names[i].ptr == NULL) {
			imap_bad(im, "That is not the name of an entry");
			return false;
		}
	}
	if (names == NULL) {
		imap_fail(im, ERR_MEMORY);
		return false;
	}
	*ret = names;
	return true;
}

static bool
is_asked(struct bytes entry, struct bytes name, enum imap_metadata_depth depth)
{
	if (bytes_equal(entry, name)) {
		return true;
	}
	if (depth == IMAP_DEPTH_0 || entry.len <= name.len || entry.ptr[name.len] != '/' ||
	    !bytes_equal(bytes_slice(entry, 0, name.len), name)) {
		return false;
	}
	return depth == IMAP_DEPTH_INFINITY || bytes_find(bytes_from(entry, name.len + 1), '/') < 0;
}

/* ---- reading ---- */

struct telling {
	struct imap *im;
	const struct imap_metadata *asked;
	const struct bytes *names; /* as many as were asked for */
	struct bytes mailbox;
	bool begun;
	uint64_t longest; /* of those left out by MAXSIZE */
};

static bool
wanted(const struct telling *t, struct bytes entry)
{
	for (size_t i = 0; i < t->asked->count; i++) {
		if (is_asked(entry, t->names[i], t->asked->depth)) {
			return true;
		}
	}
	return false;
}

/* value.ptr NULL: NIL. */
static void
tell(struct telling *t, struct bytes entry, struct bytes value)
{
	struct imap_writer *w = &t->im->w;
	if (t->asked->has_max && value.len > t->asked->max) {
		t->longest = value.len > t->longest ? value.len : t->longest;
		return;
	}
	if (!t->begun) {
		imap_write_text(w, "* METADATA ");
		imap_write_mailbox(w, t->mailbox);
		imap_write_text(w, " (");
	} else {
		imap_write_text(w, " ");
	}
	t->begun = true;
	imap_write_astring(w, entry);
	imap_write_text(w, " ");
	if (value.len > 0 && bytes_find(value, 0) >= 0) {
		imap_write_literal_head(w, value.len, true);
		imap_write_raw(w, value);
	} else {
		imap_write_nstring(w, value);
	}
}

/* The special uses of a mailbox, as text. */
static struct bytes
uses_text(const struct fold_mailbox *box, struct buf *text)
{
	struct imap_writer w;
	uint32_t uses = box->special_use & USES_ALL;
	if (uses == 0) {
		return BYTES_EMPTY;
	}
	imap_writer_init(&w, text, false);
	imap_write_uses(&w, uses);
	return buf_bytes(text);
}

/* What is not kept as an annotation. */
struct made {
	struct bytes name;
	struct bytes value; /* ptr NULL: there is none */
	struct buf text;
};

static void
make(struct telling *t, const struct fold_mailbox *box, struct made made[MADE_COUNT])
{
	const char *domain = t->im->conn->worker->host->config.domain;
	made[0] =
	    (struct made){.name = bytes_str(box == NULL ? admin : special_use), .text = BUF_INIT(MADE_MAX)};
	made[1] = (struct made){.name = bytes_str(forward), .text = BUF_INIT(MADE_MAX)};
	if (box != NULL) {
		made[0].value = uses_text(box, &made[0].text);
		return;
	}
	if (buf_printf(&made[0].text, "mailto:postmaster@%s", domain) == ERR_OK) {
		made[0].value = buf_bytes(&made[0].text);
	}
	if (member_forward_list(t->im->member, &made[1].text) == ERR_OK && made[1].text.len > 0) {
		made[1].value = buf_bytes(&made[1].text);
	}
}

/* All that was asked for of a mailbox (NULL: of the account). Reads the fold and does not suspend. */
static void
tell_all(struct telling *t, const struct fold_mailbox *box)
{
	const struct fold *f = t->im->member->fold;
	struct made made[MADE_COUNT];
	make(t, box, made);
	for (size_t i = 0; i < MADE_COUNT; i++) {
		if (made[i].value.ptr != NULL && wanted(t, made[i].name)) {
			tell(t, made[i].name, made[i].value);
		}
	}
	size_t count = 0;
	size_t first = fold_annotation_first(f, box == NULL ? 0 : box->id, &count);
	for (size_t i = first; i < first + count; i++) {
		const struct fold_annotation *x = fold_annotation_at(f, i);
		if (wanted(t, x->entry) && !(box == NULL && bytes_is(x->entry, forward))) {
			tell(t, x->entry, x->value.ptr == NULL ? BYTES_LIT("") : x->value);
		}
	}
	/* What was named, and is not there. */
	for (size_t i = 0; t->asked->depth == IMAP_DEPTH_0 && i < t->asked->count; i++) {
		bool there = !(box == NULL && bytes_is(t->names[i], forward)) &&
			     fold_annotation(f, box == NULL ? 0 : box->id, t->names[i]) != NULL;
		for (size_t k = 0; k < MADE_COUNT; k++) {
			there =
			    there || (made[k].value.ptr != NULL && bytes_equal(t->names[i], made[k].name));
		}
		for (size_t k = 0; k < i && !there; k++) {
			there = bytes_equal(t->names[i], t->names[k]);
		}
		if (!there) {
			tell(t, t->names[i], BYTES_EMPTY);
		}
	}
	if (t->begun) {
		imap_write_text(&t->im->w, ")\r\n");
	}
	for (size_t i = 0; i < MADE_COUNT; i++) {
		buf_wipe(&made[i].text);
	}
}

void
imap_do_getmetadata(struct imap *im)
{
	const struct fold_mailbox *box = NULL;
	struct telling t = {.im = im, .asked = &im->command->metadata, .mailbox = BYTES_LIT("")};
	struct bytes *names = NULL;
	if (!entries_of(im, t.asked, false, &names)) {
		return;
	}
	if (im->command->mailbox.len > 0) {
		box = imap_mailbox(im, im->command->mailbox, "NONEXISTENT");
		if (box == NULL) {
			return;
		}
		t.mailbox = box->name;
	}
	t.names = names;
	tell_all(&t, box);
	imap_report(im, true);
	char code[64];
	(void)snprintf(code, sizeof(code), "METADATA LONGENTRIES %llu", (unsigned long long)t.longest);
	imap_ok(im, t.longest > 0 ? code : NULL, "Done");
}

bool
imap_metadata_names(struct imap *im, const struct imap_metadata *asked, struct bytes **ret)
{
	return entries_of(im, asked, false, ret);
}

void
imap_write_metadata_of(struct imap *im, const struct fold_mailbox *box, const struct imap_metadata *asked,
		       const struct bytes *names)
{
	struct telling t = {.im = im, .asked = asked, .names = names, .mailbox = box->name};
	tell_all(&t, box);
}

/* ---- writing ---- */

struct setting_metadata {
	uint32_t mailbox;
	const struct imap_metadata *given;
	const struct bytes *names;
	uint32_t uses; /* IMAP_USE_OTHER: not told */
	bool full;     /* of octets, and not of entries */
};

static enum err
add_uses(const struct setting_metadata *s, const struct member *m, struct member_change *c)
{
	const struct fold_mailbox *box = fold_mailbox_by_id(m->fold, s->mailbox);
	uint32_t uses = (box->special_use & ~(uint32_t)USES_ALL & OPERATION_USE_MASK) | s->uses;
	if (s->uses == IMAP_USE_OTHER || uses == (box->special_use & OPERATION_USE_MASK)) {
		return ERR_OK;
	}
	struct operation op = {.kind = OPERATION_USE, .use = {.mailbox = s->mailbox, .special_use = uses}};
	return operations_add(c->record, &op);
}

static enum err
build_metadata(void *arg, struct member *m, struct member_change *c)
{
	struct setting_metadata *s = arg;
	if (s->mailbox != 0 && fold_mailbox_by_id(m->fold, s->mailbox) == NULL) {
		return ERR_NOT_FOUND;
	}
	enum err e = s->mailbox != 0 ? add_uses(s, m, c) : ERR_OK;
	struct fold_annotating room = fold_annotating(m->fold, s->mailbox);
	for (size_t i = 0; i < s->given->count && e == ERR_OK; i++) {
		struct bytes value = s->given->items[i].value;
		bool on = value.ptr != NULL;
		const struct fold_annotation *there = fold_annotation(m->fold, s->mailbox, s->names[i]);
		if ((s->mailbox != 0 && bytes_is(s->names[i], special_use)) || (!on && there == NULL) ||
		    (on && there != NULL && bytes_equal(there->value, value))) {
			continue;
		}
		if (!fold_annotating_add(&room, there, s->names[i], on, value)) {
			s->full = room.bytes + value.len + s->names[i].len > FOLD_ANNOTATIONS_BYTES_MAX;
			return ERR_FULL;
		}
		struct operation op = {.kind = OPERATION_ANNOTATE,
				       .annotate = {.mailbox = s->mailbox,
						    .entry = s->names[i],
						    .on = on,
						    .value = on ? value : BYTES_EMPTY}};
		e = operations_add(c->record, &op);
	}
	return e;
}

/* "\Sent \Drafts" as bits; IMAP_USE_OTHER among them: one is not known. */
static uint32_t
uses_of(struct bytes text)
{
	uint32_t uses = 0;
	while (text.len > 0) {
		ptrdiff_t space = bytes_find(text, ' ');
		size_t n = space < 0 ? text.len : (size_t)space;
		if (n > 0) {
			uses |= imap_use_bit(bytes_slice(text, 0, n));
		}
		text = bytes_from(text, space < 0 ? n : n + 1);
	}
	return uses;
}

/* What can be said without the state. False: answered. */
static bool
check(struct imap *im, struct setting_metadata *s)
{
	char code[64];
	for (size_t i = 0; i < s->given->count; i++) {
		struct bytes value = s->given->items[i].value;
		for (size_t k = 0; k < i; k++) {
			if (bytes_equal(s->names[i], s->names[k])) {
				imap_bad(im, "The same entry stands there twice");
				return false;
			}
		}
		if (value.len > VALUE_MAX) {
			(void)snprintf(code, sizeof(code), "METADATA MAXSIZE %u", VALUE_MAX);
			imap_no(im, code, "Too long a value");
			return false;
		}
		if (s->mailbox == 0 && bytes_starts_with(s->names[i], "/shared/")) {
			/* They would be those of all members, whose mail nobody can write but themselves. */
			imap_no(im, "NOPERM", "What the server says to all is not a member's to set");
			return false;
		}
		if (s->mailbox == 0 && bytes_is(s->names[i], forward)) {
			imap_no(im, "NOPERM",
				"That is to be read; it is changed with a secret of yours, by cohue member "
				"forward");
			return false;
		}
		if (s->mailbox != 0 && bytes_is(s->names[i], special_use)) {
			s->uses = uses_of(value);
			if ((s->uses & IMAP_USE_OTHER) != 0) {
				imap_no(im, "USEATTR", "That use is not known");
				return false;
			}
		}
	}
	return true;
}

void
imap_do_setmetadata(struct imap *im)
{
	struct setting_metadata s = {.given = &im->command->metadata, .uses = IMAP_USE_OTHER};
	struct bytes *names = NULL;
	if (!entries_of(im, s.given, true, &names)) {
		return;
	}
	s.names = names;
	if (im->command->mailbox.len > 0) {
		const struct fold_mailbox *box = imap_mailbox(im, im->command->mailbox, "NONEXISTENT");
		if (box == NULL) {
			return;
		}
		s.mailbox = box->id;
	}
	if (!check(im, &s)) {
		return;
	}
	enum err e = member_append(im->member, im->conn, build_metadata, &s, NULL);
	if (e == ERR_OK) {
		imap_report(im, true);
		imap_ok(im, NULL, "Done");
	} else if (e == ERR_FULL) {
		imap_no(im, s.full ? "OVERQUOTA" : "METADATA TOOMANY", "No more room for that");
	} else {
		imap_fail(im, e);
	}
}
