/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_sort.h"

#include <stdlib.h>
#include <string.h>

#include "mail/charset.h"
#include "protocol/imap_fold_case.h"
#include "protocol/imap_subject.h"

enum { SUBJECT_MAX = 16 * 1024 }; /* octets that a base subject is looked for in */

/* The text as it is compared, in the arena. */
static enum err
key_of(struct arena *a, struct bytes text, struct bytes *ret)
{
	uint8_t room[IMAP_SORT_TEXT_MAX];
	struct buf folded = BUF_INIT(IMAP_SORT_TEXT_MAX);
	enum err e = imap_fold_case(text, &folded);
	if (e != ERR_OK && e != ERR_LIMIT) {
		buf_wipe(&folded);
		return e;
	}
	size_t n = folded.len;
	for (size_t i = 0; i < n; i++) {
		room[i] = ascii_upper(folded.ptr[i]);
	}
	*ret = arena_copy(a, bytes_of(room, n));
	explicit_bzero(room, sizeof(room));
	buf_wipe(&folded);
	return ret->ptr == NULL && n > 0 ? ERR_MEMORY : ERR_OK;
}

static enum err
decode(struct bytes text, struct buf *out)
{
	enum err e = mail_words_decode(bytes_slice(text, 0, SUBJECT_MAX), out);
	return e == ERR_LIMIT ? ERR_OK : e;
}

enum err
imap_sort_subject(struct arena *a, const struct mail_envelope *envelope, struct bytes *ret, bool *ret_reply)
{
	struct buf decoded = BUF_INIT((size_t)SUBJECT_MAX * 4);
	struct bytes base = BYTES_EMPTY;
	*ret = BYTES_EMPTY;
	*ret_reply = false;
	if (envelope == NULL) {
		return ERR_OK;
	}
	enum err e = decode(envelope->subject, &decoded);
	if (e == ERR_OK) {
		imap_base_subject(&decoded, &base, ret_reply);
		e = key_of(a, base, ret);
	}
	buf_wipe(&decoded);
	return e;
}

int64_t
imap_sent_date(const struct imap_sort_source *source)
{
	return source->envelope != NULL && source->envelope->has_sent ? source->envelope->sent.seconds
								      : source->internal;
}

/* addr-mailbox of the first address; of a group, its name. */
static struct bytes
mailbox_of(const struct mail_addresses *list)
{
	if (list->count == 0) {
		return BYTES_EMPTY;
	}
	return list->list[0].kind == MAIL_ADDRESS_GROUP ? list->list[0].name : list->list[0].local;
}

/* RFC 5957 section 3. */
static enum err
display_of(struct arena *a, const struct mail_addresses *list, struct bytes *ret)
{
	struct buf text = BUF_INIT((size_t)SUBJECT_MAX * 4);
	enum err e = ERR_OK;
	if (list->count > 0) {
		const struct mail_address *first = &list->list[0];
		e = decode(first->name, &text);
		if (e == ERR_OK && text.len == 0) {
			e = buf_append(&text, bytes_slice(first->local, 0, SUBJECT_MAX));
			if (e == ERR_OK && first->domain.len > 0) {
				e = buf_append_byte(&text, '@');
				e = e == ERR_OK
					? buf_append(&text, bytes_slice(first->domain, 0, SUBJECT_MAX))
					: e;
			}
		}
	}
	e = e == ERR_OK ? key_of(a, buf_bytes(&text), ret) : e;
	buf_wipe(&text);
	return e;
}

enum err
imap_sort_value_of(struct arena *a, enum imap_sort_by by, const struct imap_sort_source *source,
		   struct imap_sort_value *ret)
{
	const struct mail_envelope *envelope = source->envelope;
	bool reply;
	*ret = (struct imap_sort_value){.text = BYTES_EMPTY};
	switch (by) {
	case IMAP_SORT_ARRIVAL:
		ret->number = source->internal;
		return ERR_OK;
	case IMAP_SORT_DATE:
		ret->number = imap_sent_date(source);
		return ERR_OK;
	case IMAP_SORT_SIZE:
		ret->number = source->size > INT64_MAX ? INT64_MAX : (int64_t)source->size;
		return ERR_OK;
	case IMAP_SORT_SUBJECT:
		return imap_sort_subject(a, envelope, &ret->text, &reply);
	case IMAP_SORT_CC:
		return envelope == NULL ? ERR_OK : key_of(a, mailbox_of(&envelope->cc), &ret->text);
	case IMAP_SORT_FROM:
		return envelope == NULL ? ERR_OK : key_of(a, mailbox_of(&envelope->from), &ret->text);
	case IMAP_SORT_TO:
		return envelope == NULL ? ERR_OK : key_of(a, mailbox_of(&envelope->to), &ret->text);
	case IMAP_SORT_DISPLAYFROM:
		return envelope == NULL ? ERR_OK : display_of(a, &envelope->from, &ret->text);
	case IMAP_SORT_DISPLAYTO:
		return envelope == NULL ? ERR_OK : display_of(a, &envelope->to, &ret->text);
	}
	return ERR_STATE;
}

struct sorting {
	const struct imap_sort_criterion *order;
	size_t order_count;
	const struct imap_sort_value *values;
};

static int
compare(const void *left, const void *right, void *arg)
{
	const struct sorting *s = arg;
	uint32_t l = *(const uint32_t *)left;
	uint32_t r = *(const uint32_t *)right;
	for (size_t i = 0; i < s->order_count; i++) {
		const struct imap_sort_value *a = &s->values[(size_t)l * s->order_count + i];
		const struct imap_sort_value *b = &s->values[(size_t)r * s->order_count + i];
		int order = a->number != b->number ? (a->number < b->number ? -1 : 1)
						   : bytes_compare(a->text, b->text);
		if (order != 0) {
			return s->order[i].reverse ? -order : order;
		}
	}
	return l < r ? -1 : l > r;
}

void
imap_sort(const struct imap_sort_criterion *order, size_t order_count, const struct imap_sort_value *values,
	  uint32_t *ret, size_t count)
{
	struct sorting s = {.order = order, .order_count = order_count, .values = values};
	for (size_t i = 0; i < count; i++) {
		ret[i] = (uint32_t)i;
	}
	qsort_r(ret, count, sizeof(*ret), compare, &s);
}
