/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a member does not want: judged when an arrival is filed, learnt from what she moves. All of it stands in her log alone. */
#include <stdlib.h>
#include <string.h>

#include "mail/address.h"
#include "mail/summary.h"
#include "mail/traits.h"
#include "sealed/judgement.h"
#include "session/junk.h"
#include "session/member_internal.h"
#include "session/message.h"

enum { LESSONS_AT_ONCE = 20, ENVELOPE_MEMORY_MAX = 4 << 20, TRASH_USE = 64 };

static const char words_setting[] = "junk.words";

static struct bytes
list_of(const struct member *m, const char *entry)
{
	const struct fold_annotation *a = fold_annotation(m->fold, 0, bytes_str(entry));
	return a == NULL ? BYTES_EMPTY : a->value;
}

/* Whether one of From's mailboxes is on a list. */
static void
look_up(const struct member *m, const struct arrival *a, struct junk_case *c)
{
	struct bytes allow = list_of(m, MEMBER_JUNK_ALLOW);
	struct bytes block = list_of(m, MEMBER_JUNK_BLOCK);
	struct arena arena;
	struct mail_envelope envelope;
	if (allow.len == 0 && block.len == 0) {
		return;
	}
	arena_init(&arena, ENVELOPE_MEMORY_MAX);
	if (mail_summary_decode_envelope(&arena, a->summary, &envelope) == ERR_OK) {
		for (size_t i = 0; i < envelope.from.count; i++) {
			const struct mail_address *from = &envelope.from.list[i];
			/* However it is spelt: a dot at the end, another width, another script's letters. */
			struct buf normal = BUF_INIT(MAIL_DOMAIN_MAX);
			struct bytes domain = mail_domain_normalise(from->domain, &normal) == ERR_OK
						  ? buf_bytes(&normal)
						  : from->domain;
			c->allowed = c->allowed || junk_is_listed(allow, from->local, domain);
			c->blocked = c->blocked || junk_is_listed(block, from->local, domain);
			buf_clear(&normal);
		}
	}
	arena_clear(&arena);
}

bool
member_junk_judge(const struct member *m, const struct arrival *a)
{
	struct junk_case c = {.set_apart = (a->flags & ARRIVAL_SPAM) != 0,
			      .genuine = (a->flags & (ARRIVAL_AUTHENTICATED | ARRIVAL_LOCAL)) != 0,
			      .ours = (a->flags & (ARRIVAL_LOCAL | ARRIVAL_BOUNCE)) != 0,
			      .learnt = 500};
	struct bytes encoded = fold_setting(m->fold, words_setting);
	struct judgement *j = calloc(1, sizeof(*j));
	struct junk_words *words = encoded.len == 0 ? NULL : calloc(1, sizeof(*words));
	look_up(m, a, &c);
	if (j != NULL && judgement_of(a->extra, j) == ERR_OK) {
		c.score = j->score;
		if (words != NULL && junk_decode(encoded, words) == ERR_OK) {
			c.learnt = junk_judge(words, j->traits, j->trait_count);
		}
	}
	free(words);
	if (j != NULL) {
		explicit_bzero(j, sizeof(*j));
		free(j);
	}
	return junk_decide(&c);
}

/* ---- learning ---- */

struct lesson {
	bool unwanted;
	uint32_t traits[LESSONS_AT_ONCE][MAIL_TRAITS_MAX];
	size_t counts[LESSONS_AT_ONCE];
	size_t count;
};

static enum err
build_lesson(void *arg, struct member *m, struct member_change *c)
{
	const struct lesson *l = arg;
	struct buf encoded = BUF_INIT(JUNK_ENCODED_MAX);
	struct junk_words *words = calloc(1, sizeof(*words));
	if (words == NULL) {
		return ERR_MEMORY;
	}
	if (junk_decode(fold_setting(m->fold, words_setting), words) != ERR_OK) {
		memset(words, 0, sizeof(*words)); /* of another version: it learns anew */
	}
	for (size_t i = 0; i < l->count; i++) {
		junk_learn(words, l->traits[i], l->counts[i], l->unwanted);
	}
	enum err e = junk_encode(words, &encoded);
	if (e == ERR_OK) {
		struct operation op = {
		    .kind = OPERATION_SETTING,
		    .setting = {.name = bytes_str(words_setting), .value = buf_bytes(&encoded)}};
		e = operations_add(c->record, &op);
	}
	buf_wipe(&encoded);
	explicit_bzero(words, sizeof(*words));
	free(words);
	return e;
}

static bool
is_apart(const struct fold_mailbox *box, uint32_t use, const char *name)
{
	return (box->special_use & use) != 0 || bytes_is(box->name, name);
}

bool
member_junk_teaches(const struct member *m, const struct fold_mailbox *from, const struct fold_mailbox *to,
		    bool *ret_unwanted)
{
	const struct fold_mailbox *junk = member_junk_mailbox(m);
	if (junk == NULL || bytes_is(junk->name, "INBOX") || from->id == to->id) {
		return false;
	}
	*ret_unwanted = to->id == junk->id;
	/* Out of Junk, or kept: from the inbox into a folder of hers. What is thrown away says nothing. */
	return *ret_unwanted ||
	       (!is_apart(to, TRASH_USE, "Trash") && (from->id == junk->id || bytes_is(from->name, "INBOX")));
}

void
member_junk_learn(struct member *m, const struct message_item *items, size_t count, bool unwanted)
{
	struct message_reader *reader = NULL;
	struct message message;
	struct lesson *l = calloc(1, sizeof(*l));
	if (l == NULL) {
		return;
	}
	l->unwanted = unwanted;
	count = count < LESSONS_AT_ONCE ? count : LESSONS_AT_ONCE;
	if (message_reader_create(m, MESSAGE_BODY, items, count, &reader) == ERR_OK) {
		while (message_reader_next(reader, &message) && l->count < LESSONS_AT_ONCE) {
			struct arena arena;
			struct mail_structure s;
			arena_init(&arena, MAIL_PARSE_MEMORY);
			if (message.error == ERR_OK && message.octets.ptr != NULL &&
			    mail_parse(&arena, message.octets, &s) == ERR_OK &&
			    mail_traits(&s, message.octets, l->traits[l->count], &l->counts[l->count]) ==
				ERR_OK) {
				l->count++;
			}
			arena_clear(&arena);
		}
	}
	message_reader_destroy(&reader);
	if (l->count > 0) {
		/* What she moved is moved; that it was not learnt from does no harm. */
		enum err e = member_append(m, NULL, build_lesson, l, NULL);
		(void)e;
	}
	explicit_bzero(l, sizeof(*l));
	free(l);
}
