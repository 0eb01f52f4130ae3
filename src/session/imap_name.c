/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Which mailbox a client means. New names are in Unicode's form C (RFC 9051 section 5.1, RFC 5198), so that the two spellings of an accented
 * letter are one name. The fold knows nothing of this: a log may hold names from before it was so, which are found in any spelling, and
 * keep theirs until they are renamed.
 */
#include <string.h>

#include "protocol/imap_mailbox_name.h"
#include "protocol/imap_nfc.h"
#include "session/imap.h"

static bool
is_form_c(struct bytes name)
{
	struct buf form = BUF_INIT(IMAP_NAME_OUT_MAX);
	bool same = imap_nfc(name, &form) != ERR_OK || bytes_equal(buf_bytes(&form), name);
	buf_wipe(&form);
	return same;
}

/* Whether names from before are among hers. All that came since are in form C, so one look is enough for as long as she is here. */
static bool
has_old_names(struct member *m)
{
	if (m->names == MEMBER_NAMES_UNKNOWN) {
		m->names = MEMBER_NAMES_FORM_C;
		for (size_t i = 0; i < fold_mailbox_count(m->fold) && m->names == MEMBER_NAMES_FORM_C; i++) {
			m->names = is_form_c(fold_mailbox_at(m->fold, i)->name) ? m->names : MEMBER_NAMES_OLD;
		}
		for (size_t i = 0; i < fold_subscription_count(m->fold) && m->names == MEMBER_NAMES_FORM_C;
		     i++) {
			m->names = is_form_c(fold_subscription_at(m->fold, i)) ? m->names : MEMBER_NAMES_OLD;
		}
	}
	return m->names == MEMBER_NAMES_OLD;
}

/* The mailbox whose name in form C this is. */
static const struct fold_mailbox *
find_old(const struct fold *f, struct bytes form)
{
	const struct fold_mailbox *found = NULL;
	struct buf own = BUF_INIT(IMAP_NAME_OUT_MAX);
	for (size_t i = 0; i < fold_mailbox_count(f) && found == NULL; i++) {
		const struct fold_mailbox *box = fold_mailbox_at(f, i);
		buf_reset(&own);
		if (imap_nfc(box->name, &own) == ERR_OK && bytes_equal(buf_bytes(&own), form)) {
			found = box;
		}
	}
	buf_wipe(&own);
	return found;
}

/* An old name, or one below an old name, takes the spelling that stands. */
static enum err
respell(const struct fold *f, struct buf *name)
{
	const struct fold_mailbox *box = fold_mailbox_by_name(f, buf_bytes(name));
	box = box != NULL ? box : find_old(f, buf_bytes(name));
	size_t end = name->len;
	while (box == NULL && end > 0) {
		end--;
		if (name->ptr[end] == IMAP_DELIMITER) {
			box = find_old(f, bytes_slice(buf_bytes(name), 0, end));
		}
	}
	if (box == NULL) {
		return ERR_OK;
	}
	struct buf spelt = BUF_INIT(IMAP_NAME_OUT_MAX);
	enum err e = buf_append(&spelt, box->name);
	if (e == ERR_OK) {
		e = buf_append(&spelt, bytes_from(buf_bytes(name), end));
	}
	if (e == ERR_OK) {
		buf_reset(name);
		e = buf_append(name, buf_bytes(&spelt));
	}
	buf_wipe(&spelt);
	return e;
}

enum err
imap_name_of(struct imap *im, struct bytes wire, bool trailing, struct buf *ret)
{
	struct fold *f = im->member->fold;
	struct buf given = BUF_INIT(IMAP_NAME_OUT_MAX);
	enum err e = imap_mailbox_from_wire(&given, wire, im->utf8, trailing);
	struct bytes name = buf_bytes(&given);
	if (e == ERR_OK && (fold_mailbox_by_name(f, name) != NULL || fold_subscribed(f, name))) {
		e = buf_append(ret, name); /* as it stands, from whenever it is */
	} else if (e == ERR_OK) {
		e = imap_nfc(name, ret);
		if (e == ERR_OK && has_old_names(im->member)) {
			e = respell(f, ret);
		}
	}
	buf_wipe(&given);
	return e == ERR_LIMIT ? ERR_FORMAT : e;
}

enum err
imap_name_check(struct imap *im, struct bytes wire, bool trailing, struct buf *ret, const char **ret_why)
{
	const struct fold *f = im->member->fold;
	enum err e = imap_name_of(im, wire, trailing, ret);
	struct bytes name = buf_bytes(ret);
	if (e == ERR_OK && (!imap_mailbox_name_valid(name) || !operation_name_valid(name))) {
		e = ERR_FORMAT;
	}
	*ret_why = "That is not a mailbox name";
	if (e == ERR_OK && !imap_mailbox_name_fit(name) && fold_mailbox_by_name(f, name) == NULL &&
	    !fold_subscribed(f, name)) {
		e = ERR_FORMAT;
		*ret_why = "A mailbox name has no invisible characters";
	}
	return e;
}

bool
imap_name(struct imap *im, struct bytes wire, bool trailing, struct buf *ret)
{
	const char *why = NULL;
	enum err e = imap_name_check(im, wire, trailing, ret, &why);
	if (e == ERR_FORMAT) {
		imap_no(im, "CANNOT", why);
	} else if (e != ERR_OK) {
		imap_fail(im, e);
	}
	return e == ERR_OK;
}

const struct fold_mailbox *
imap_mailbox(struct imap *im, struct bytes wire, const char *code)
{
	struct buf name = BUF_INIT(IMAP_NAME_OUT_MAX);
	const struct fold_mailbox *box = NULL;
	bool fit = false;
	/* A name that cannot exist does not exist, and nobody is told to try and create it. */
	if (imap_name_of(im, wire, false, &name) == ERR_OK) {
		box = fold_mailbox_by_name(im->member->fold, buf_bytes(&name));
		fit = imap_mailbox_name_fit(buf_bytes(&name));
	}
	buf_wipe(&name);
	if (box == NULL) {
		imap_no(im, fit || strcmp(code, "TRYCREATE") != 0 ? code : "CANNOT",
			"There is no such mailbox");
	}
	return box;
}

bool
imap_name_matches(struct imap *im, struct bytes pattern, struct bytes name)
{
	bool matches = imap_pattern_match(pattern, name);
	if (matches || !has_old_names(im->member)) {
		return matches;
	}
	struct buf form = BUF_INIT(IMAP_NAME_OUT_MAX);
	matches = imap_nfc(name, &form) == ERR_OK && imap_pattern_match(pattern, buf_bytes(&form));
	buf_wipe(&form);
	return matches;
}
