/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_search.h"

#include <string.h>

#include "protocol/imap_fold_case.h"
#include "protocol/imap_search_text.h"

enum {
	TEXT_KEEP = 256 * 1024,
	PLAIN_MAX = 1024 /* octets of a value that is compared on the stack */
};

struct search {
	const struct imap_search_message *m;
	int64_t now;
	struct imap_search_text *text;
	enum err error;
};

void
imap_search_text_init(struct imap_search_text *t)
{
	*t = (struct imap_search_text){.header = BUF_INIT(IMAP_SEARCH_HEADER_MAX),
				       .body = BUF_INIT(IMAP_SEARCH_TEXT_MAX)};
}

void
imap_search_text_clear(struct imap_search_text *t)
{
	buf_wipe(&t->header);
	buf_wipe(&t->body);
	t->header_ready = t->body_ready = false;
}

static void
forget(struct buf *b)
{
	if (b->cap > TEXT_KEEP) {
		buf_wipe(b);
	} else {
		buf_reset(b);
	}
}

void
imap_search_text_next(struct imap_search_text *t)
{
	forget(&t->header);
	forget(&t->body);
	t->header_ready = t->body_ready = false;
}

static void
fail(struct search *s, enum err e)
{
	if (s->error == ERR_OK) {
		s->error = e;
	}
}

/* --- Strings --- */

/* memmem is linear: no hostile needle makes it slow. */
static bool
contains(struct bytes folded, struct bytes needle)
{
	return needle.len == 0 ||
	       (folded.len >= needle.len && memmem(folded.ptr, folded.len, needle.ptr, needle.len) != NULL);
}

static bool
value_contains(struct search *s, struct bytes value, struct bytes needle)
{
	uint8_t plain[PLAIN_MAX];
	size_t len = 0;
	struct bytes trimmed = bytes_trim(value);
	/* Most are plain. */
	if (trimmed.len <= sizeof(plain) && imap_fold_plain(trimmed, plain, &len)) {
		return contains(bytes_of(plain, len), needle);
	}
	struct buf folded = BUF_INIT(IMAP_SEARCH_HEADER_MAX);
	enum err e = imap_search_value(&folded, value);
	bool found = contains(buf_bytes(&folded), needle);
	if (e != ERR_OK && e != ERR_LIMIT) {
		fail(s, e);
	}
	buf_wipe(&folded);
	return found;
}

static enum imap_match
yes(bool condition)
{
	return condition ? IMAP_MATCH_YES : IMAP_MATCH_NO;
}

/* --- Headers --- */

static struct bytes
header_of(const struct imap_search_message *m)
{
	if (m->header.ptr != NULL || m->message.ptr == NULL) {
		return m->header;
	}
	return bytes_slice(m->message, 0, mail_header_length(m->message));
}

/* "name <local@domain>, ..." as one value. */
static enum err
append_addresses(struct buf *out, const struct mail_addresses *list)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < list->count; i++) {
		const struct mail_address *a = &list->list[i];
		if (a->kind == MAIL_ADDRESS_GROUP_END) {
			continue;
		}
		e = i > 0 ? buf_append_str(out, ", ") : ERR_OK;
		if (e == ERR_OK && a->name.len > 0) {
			e = imap_search_value(out, a->name);
			if (e == ERR_OK) {
				e = buf_append_str(out, a->kind == MAIL_ADDRESS_GROUP ? ":" : " ");
			}
		}
		if (e == ERR_OK && a->kind == MAIL_ADDRESS_MAILBOX) {
			e = buf_append_byte(out, '<');
			e = e == ERR_OK ? imap_search_folded(out, a->local) : e;
			e = e == ERR_OK ? buf_append_byte(out, '@') : e;
			e = e == ERR_OK ? imap_search_folded(out, a->domain) : e;
			e = e == ERR_OK ? buf_append_byte(out, '>') : e;
		}
	}
	return e;
}

static enum imap_match
match_addresses(struct search *s, const struct mail_addresses *list, struct bytes needle)
{
	struct buf folded = BUF_INIT(IMAP_SEARCH_HEADER_MAX);
	enum err e = append_addresses(&folded, list);
	bool found = list->count > 0 && contains(buf_bytes(&folded), needle);
	if (e != ERR_OK && e != ERR_LIMIT) {
		fail(s, e);
	}
	buf_wipe(&folded);
	return yes(found);
}

static const struct mail_addresses *
addresses_of(const struct mail_envelope *e, enum imap_search_field field)
{
	return field == IMAP_FIELD_FROM  ? &e->from
	       : field == IMAP_FIELD_TO  ? &e->to
	       : field == IMAP_FIELD_CC  ? &e->cc
	       : field == IMAP_FIELD_BCC ? &e->bcc
					 : NULL;
}

/* Of which the envelope says enough. */
static enum imap_search_field
field_named(struct bytes name)
{
	static const struct {
		const char *name;
		enum imap_search_field field;
	} fields[] = {
	    {"Subject", IMAP_FIELD_SUBJECT},
	    {"Message-ID", IMAP_FIELD_MESSAGE_ID},
	    {"In-Reply-To", IMAP_FIELD_IN_REPLY_TO},
	    {"From", IMAP_FIELD_FROM},
	    {"To", IMAP_FIELD_TO},
	    {"Cc", IMAP_FIELD_CC},
	    {"Bcc", IMAP_FIELD_BCC},
	};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (bytes_is_nocase(name, fields[i].name)) {
			return fields[i].field;
		}
	}
	return IMAP_FIELD_OTHER;
}

static enum imap_match
match_header(struct search *s, const struct imap_search_key *key)
{
	const struct mail_envelope *envelope = s->m->envelope;
	struct bytes header = header_of(s->m);
	if (key->field != IMAP_FIELD_OTHER && header.ptr == NULL) {
		if (envelope == NULL) {
			return IMAP_NEEDS_ENVELOPE;
		}
		if (!envelope->truncated) {
			const struct mail_addresses *list = addresses_of(envelope, key->field);
			if (list != NULL) {
				return match_addresses(s, list, key->folded);
			}
			struct bytes value = key->field == IMAP_FIELD_SUBJECT      ? envelope->subject
					     : key->field == IMAP_FIELD_MESSAGE_ID ? envelope->message_id
										   : envelope->in_reply_to;
			return yes(value.ptr != NULL && value_contains(s, value, key->folded));
		}
	}
	if (header.ptr == NULL) {
		return IMAP_NEEDS_HEADER;
	}
	struct mail_fields it;
	struct mail_field field;
	mail_fields_init(&it, header);
	while (mail_fields_next(&it, &field)) {
		if (bytes_equal_nocase(field.name, key->name) &&
		    (key->folded.len == 0 || value_contains(s, field.value, key->folded))) {
			return IMAP_MATCH_YES;
		}
	}
	return IMAP_MATCH_NO;
}

static enum imap_match
match_text(struct search *s, const struct imap_search_key *key)
{
	struct imap_search_text *t = s->text;
	struct bytes header = header_of(s->m);
	if (key->op == IMAP_SEARCH_TEXT && header.ptr != NULL) {
		if (!t->header_ready) {
			enum err e = imap_search_header(&t->header, header);
			if (e != ERR_OK && e != ERR_LIMIT) {
				fail(s, e);
				return IMAP_MATCH_NO;
			}
			t->header_ready = true;
		}
		if (contains(buf_bytes(&t->header), key->folded)) {
			return IMAP_MATCH_YES;
		}
	}
	if (s->m->message.ptr == NULL || s->m->structure == NULL) {
		return IMAP_NEEDS_MESSAGE;
	}
	if (!t->body_ready) {
		enum err e = imap_search_body(&t->body, s->m->message, s->m->structure);
		if (e != ERR_OK && e != ERR_LIMIT) {
			fail(s, e);
			return IMAP_MATCH_NO;
		}
		t->body_ready = true;
	}
	return yes(contains(buf_bytes(&t->body), key->folded));
}

/* --- Dates --- */

static int64_t
day_of(int64_t seconds, int zone_minutes)
{
	const int64_t bound = INT64_C(1) << 50;
	seconds = seconds > bound ? bound : seconds < -bound ? -bound : seconds;
	int64_t local = seconds + (int64_t)zone_minutes * 60;
	return local >= 0 ? local / 86400 : -((-local + 86399) / 86400);
}

static enum imap_match
match_day(const struct imap_search_key *key, int64_t day)
{
	bool before = key->op == IMAP_SEARCH_BEFORE || key->op == IMAP_SEARCH_SENTBEFORE ||
		      key->op == IMAP_SEARCH_SAVEDBEFORE;
	bool on =
	    key->op == IMAP_SEARCH_ON || key->op == IMAP_SEARCH_SENTON || key->op == IMAP_SEARCH_SAVEDON;
	return yes(before ? day < key->day : on ? day == key->day : day >= key->day);
}

/* RFC 3501: the date as the author wrote it, whatever the time and zone. */
static enum imap_match
match_sent(const struct search *s, const struct imap_search_key *key)
{
	const struct mail_envelope *envelope = s->m->envelope;
	if (envelope != NULL) {
		return envelope->has_sent
			   ? match_day(key, day_of(envelope->sent.seconds, envelope->sent.offset_minutes))
			   : IMAP_MATCH_NO;
	}
	struct bytes header = header_of(s->m);
	struct mail_field field;
	struct mail_date date;
	if (header.ptr == NULL) {
		return IMAP_NEEDS_ENVELOPE;
	}
	if (!mail_field_find(header, "Date", &field) || mail_date_parse(field.value, &date) != ERR_OK) {
		return IMAP_MATCH_NO;
	}
	return match_day(key, day_of(date.seconds, date.offset_minutes));
}

/* --- The tree --- */

static bool
has_keyword(const struct imap_search_message *m, struct bytes keyword)
{
	for (size_t i = 0; i < m->keyword_count; i++) {
		if (bytes_equal_nocase(m->keywords[i], keyword)) {
			return true;
		}
	}
	return false;
}

/* True where a younger than b seconds: internal + b >= now. */
static bool
is_within(const struct search *s, uint64_t seconds)
{
	return seconds > INT64_MAX / 2 || s->m->internal.seconds >= s->now - (int64_t)seconds;
}

static enum imap_match match_key(struct search *s, const struct imap_search_key *key, unsigned depth);

/* decides: NO for AND, YES for OR. Of what is missing, the cheapest is asked for. */
static enum imap_match
match_list(struct search *s, const struct imap_search_key *first, enum imap_match decides, unsigned depth)
{
	enum imap_match result = decides == IMAP_MATCH_NO ? IMAP_MATCH_YES : IMAP_MATCH_NO;
	for (const struct imap_search_key *key = first; key != NULL && s->error == ERR_OK; key = key->next) {
		enum imap_match one = match_key(s, key, depth);
		if (one == decides) {
			return one;
		}
		bool known = one == IMAP_MATCH_NO || one == IMAP_MATCH_YES;
		bool was_known = result == IMAP_MATCH_NO || result == IMAP_MATCH_YES;
		if (!known && (was_known || one < result)) {
			result = one;
		}
	}
	return result;
}

static enum imap_match
match_key(struct search *s, const struct imap_search_key *key, unsigned depth)
{
	const struct imap_search_message *m = s->m;
	if (depth > IMAP_SEARCH_DEPTH_MAX + 1) {
		fail(s, ERR_LIMIT);
		return IMAP_MATCH_NO;
	}
	switch (key->op) {
	case IMAP_SEARCH_ALL:
		return IMAP_MATCH_YES;
	case IMAP_SEARCH_AND:
		return match_list(s, key->first, IMAP_MATCH_NO, depth + 1);
	case IMAP_SEARCH_OR:
		return match_list(s, key->first, IMAP_MATCH_YES, depth + 1);
	case IMAP_SEARCH_NOT: {
		enum imap_match inner =
		    key->first == NULL ? IMAP_MATCH_NO : match_key(s, key->first, depth + 1);
		return inner == IMAP_MATCH_NO    ? IMAP_MATCH_YES
		       : inner == IMAP_MATCH_YES ? IMAP_MATCH_NO
						 : inner;
	}
	case IMAP_SEARCH_FLAG:
		return yes((m->flags & key->flag) != 0);
	case IMAP_SEARCH_UNFLAG:
		return yes((m->flags & key->flag) == 0);
	case IMAP_SEARCH_KEYWORD:
		return yes(has_keyword(m, key->text));
	case IMAP_SEARCH_UNKEYWORD:
		return yes(!has_keyword(m, key->text));
	case IMAP_SEARCH_HEADER:
		return match_header(s, key);
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
		return match_text(s, key);
	case IMAP_SEARCH_BEFORE:
	case IMAP_SEARCH_ON:
	case IMAP_SEARCH_SINCE:
		return match_day(key, day_of(m->internal.seconds, m->internal.zone));
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
		return match_sent(s, key);
	case IMAP_SEARCH_LARGER:
		return yes(m->size > key->number);
	case IMAP_SEARCH_SMALLER:
		return yes(m->size < key->number);
	case IMAP_SEARCH_UID:
		return yes(imap_set_contains(&key->set, m->uid));
	case IMAP_SEARCH_SET:
		return yes(imap_set_contains(&key->set, m->sequence));
	case IMAP_SEARCH_MODSEQ:
		return yes(m->modseq >= key->number);
	case IMAP_SEARCH_OLDER:
		/* RFC 5032: at most now - n. */
		return yes(key->number <= INT64_MAX / 2 &&
			   m->internal.seconds <= s->now - (int64_t)key->number);
	case IMAP_SEARCH_YOUNGER:
		return yes(is_within(s, key->number));
	case IMAP_SEARCH_SAVEDBEFORE:
	case IMAP_SEARCH_SAVEDON:
	case IMAP_SEARCH_SAVEDSINCE:
		return match_day(key, m->saved != 0 ? day_of(m->saved, 0)
						    : day_of(m->internal.seconds, m->internal.zone));
	case IMAP_SEARCH_EMAILID:
		return yes(bytes_equal(m->email_id, key->text));
	case IMAP_SEARCH_THREADID:
		return m->thread_id.ptr == NULL ? IMAP_NEEDS_ENVELOPE
						: yes(bytes_equal(m->thread_id, key->text));
	}
	fail(s, ERR_FORMAT);
	return IMAP_MATCH_NO;
}

enum err
imap_search_match(const struct imap_search_key *key, const struct imap_search_message *message, int64_t now,
		  struct imap_search_text *text, enum imap_match *ret_match)
{
	struct search s = {.m = message, .now = now, .text = text, .error = ERR_OK};
	enum imap_match match = match_key(&s, key, 0);
	if (s.error == ERR_OK) {
		*ret_match = match;
	}
	return s.error;
}

static bool
needs_lists(const struct imap_search_key *key, unsigned depth)
{
	bool needs = depth > IMAP_SEARCH_DEPTH_MAX + 1;
	for (; key != NULL && !needs; key = key->next) {
		needs = key->op == IMAP_SEARCH_THREADID ||
			(key->op == IMAP_SEARCH_HEADER && field_named(key->name) >= IMAP_FIELD_FROM);
		needs = needs || (key->first != NULL && needs_lists(key->first, depth + 1));
	}
	return needs;
}

bool
imap_search_needs_lists(const struct imap_search_key *key)
{
	return needs_lists(key, 0);
}

struct preparing {
	struct arena *arena;
	uint32_t largest_sequence;
	uint32_t largest_uid;
	const struct imap_set *saved;
};

static enum err
prepare(const struct preparing *p, struct imap_search_key *key, unsigned depth)
{
	enum err e = depth > IMAP_SEARCH_DEPTH_MAX + 1 ? ERR_LIMIT : ERR_OK;
	for (; e == ERR_OK && key != NULL; key = key->next) {
		struct imap_set resolved;
		key->field = key->op == IMAP_SEARCH_HEADER ? field_named(key->name) : IMAP_FIELD_OTHER;
		if ((key->op == IMAP_SEARCH_UID || key->op == IMAP_SEARCH_SET) && key->set.saved) {
			key->op = IMAP_SEARCH_UID;
			key->set = *p->saved;
		} else if (key->op == IMAP_SEARCH_UID || key->op == IMAP_SEARCH_SET) {
			e = imap_set_resolve(
			    p->arena, &key->set,
			    key->op == IMAP_SEARCH_UID ? p->largest_uid : p->largest_sequence, &resolved);
			if (e == ERR_OK) {
				key->set = resolved;
			}
		}
		if (e == ERR_OK && key->first != NULL) {
			e = prepare(p, key->first, depth + 1);
		}
	}
	return e;
}

enum err
imap_search_prepare(struct arena *a, struct imap_search_key *key, uint32_t largest_sequence,
		    uint32_t largest_uid, const struct imap_set *saved)
{
	struct preparing p = {
	    .arena = a, .largest_sequence = largest_sequence, .largest_uid = largest_uid, .saved = saved};
	return prepare(&p, key, 0);
}
