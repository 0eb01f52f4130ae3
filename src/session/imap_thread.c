/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* THREAD: what SEARCH finds, as conversations (RFC 5256). */
#include "protocol/imap_thread.h"

#include "base/secret.h"
#include "protocol/imap_sort.h"
#include "session/imap_search.h"
#include "session/submission_identity.h"

enum {
	/* References of all messages together; once there are so many, a further message has its last one only. */
	REFERENCES_MAX = 200000,
	ID_MAX = 1000,
};

struct threading {
	struct imap *im;
	const struct imap_found *found;
	struct imap_thread_message *messages;
	size_t references;
	struct identity_keys keys;
};

/*
 * The key of an identifier. One of the member's own that left under another name counts as that, so that answers to what
 * she sent stand beside her program's own copy of it.
 */
static enum err
key_of(struct threading *t, struct bytes id, struct imap_thread_key *ret, bool *ret_valid)
{
	struct buf normal = BUF_INIT(ID_MAX);
	enum err e = ERR_OK;
	*ret_valid = imap_thread_normal_id(id, &normal);
	if (*ret_valid) {
		e = identity_key(&t->keys, t->im->member, buf_bytes(&normal), ret->octets);
	}
	buf_wipe(&normal);
	return e;
}

static enum err
take_references(struct threading *t, struct arena *arena, const struct mail_envelope *envelope,
		struct imap_thread_message *m)
{
	struct mail_ids ids = envelope->references;
	size_t first = t->references + ids.count > REFERENCES_MAX && ids.count > 0 ? ids.count - 1 : 0;
	struct imap_thread_key *keys = NULL;
	enum err e = ERR_OK;
	bool valid;
	if (ids.count > first) {
		keys = arena_array(t->im->arena, ids.count - first, sizeof(*keys));
		e = keys == NULL ? ERR_MEMORY : ERR_OK;
	}
	for (size_t i = first; i < ids.count && e == ERR_OK; i++) {
		e = key_of(t, ids.list[i], &keys[m->reference_count], &valid);
		m->reference_count += e == ERR_OK && valid ? 1 : 0;
	}
	if (e == ERR_OK && m->reference_count == 0 && envelope->in_reply_to.len > 0) {
		/* The first valid one of In-Reply-To alone. */
		e = mail_ids_parse(arena, envelope->in_reply_to, MAIL_MAX_REFERENCES, &ids);
		if (e == ERR_OK && ids.count > 0 && keys == NULL) {
			keys = arena_array(t->im->arena, 1, sizeof(*keys));
			e = keys == NULL ? ERR_MEMORY : ERR_OK;
		}
		for (size_t i = 0; i < ids.count && e == ERR_OK && m->reference_count == 0; i++) {
			e = key_of(t, ids.list[i], &keys[0], &valid);
			m->reference_count = e == ERR_OK && valid ? 1 : 0;
		}
	}
	m->references = keys;
	t->references += m->reference_count;
	return e;
}

static enum err
take_message(void *arg, struct arena *arena, size_t i, const struct mail_envelope *envelope)
{
	struct threading *t = arg;
	const struct message_item *item = &t->found->items[i];
	const struct fold_mailbox *box = imap_selected(t->im);
	const struct fold_message *folded = box == NULL ? NULL : fold_message_by_uid(box, item->uid);
	struct imap_thread_message *m = &t->messages[i];
	struct imap_sort_source source = {.envelope = envelope,
					  .internal = folded == NULL ? 0 : folded->date};
	*m = (struct imap_thread_message){.number = t->im->command->uid ? item->uid : item->sequence,
					  .sent = imap_sent_date(&source)};
	if (envelope == NULL) {
		return ERR_OK;
	}
	enum err e = imap_sort_subject(t->im->arena, envelope, &m->subject, &m->reply);
	if (e == ERR_OK && t->im->command->search.algorithm == IMAP_THREAD_REFERENCES) {
		struct mail_ids ids = {.count = 0};
		e = mail_ids_parse(arena, envelope->message_id, 2, &ids);
		if (e == ERR_OK && ids.count > 0) {
			e = key_of(t, ids.list[0], &m->id, &m->has_id);
		}
		e = e == ERR_OK ? take_references(t, arena, envelope, m) : e;
	}
	return e;
}

static enum err
write_threads(struct imap *im, const struct imap_threads *threads, uint32_t *stack)
{
	enum err e = ERR_OK;
	imap_write_text(&im->w, "* THREAD");
	for (size_t i = 0; i < threads->root_count && e == ERR_OK; i++) {
		imap_write_text(&im->w, i == 0 ? " " : "");
		imap_thread_write(&im->w, threads, threads->roots[i], stack);
		e = imap_flush(im, false);
	}
	imap_write_crlf(&im->w);
	return e;
}

void
imap_do_thread(struct imap *im)
{
	struct imap_found found;
	struct imap_threads threads;
	struct threading t = {.im = im, .found = &found};
	uint32_t *stack = NULL;
	if (!imap_search_run(im, NULL, &found)) {
		return;
	}
	t.messages = arena_array(im->arena, found.count + 1, sizeof(*t.messages));
	stack = arena_array(im->arena, found.count + 1, sizeof(*stack));
	enum err e =
	    t.messages == NULL || stack == NULL ? ERR_MEMORY : identity_keys_init(&t.keys, im->member);
	if (e == ERR_OK) {
		e = imap_each_envelope(im, &found, take_message, &t);
	}
	secret_wipe(&t.keys, sizeof(t.keys));
	if (e == ERR_OK) {
		e = im->command->search.algorithm == IMAP_THREAD_REFERENCES
			? imap_thread_references(im->arena, t.messages, found.count, &threads)
			: imap_thread_subjects(im->arena, t.messages, found.count, &threads);
	}
	if (e == ERR_OK) {
		e = write_threads(im, &threads, stack);
	}
	if (e == ERR_OK) {
		imap_search_end(im, &found);
	} else if (!conn_is_closed(im->conn)) {
		imap_fail(im, e == ERR_MEMORY ? ERR_LIMIT : e);
	}
}
