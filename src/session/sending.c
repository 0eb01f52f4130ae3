/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/sending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/crypto.h"
#include "lookup/kept.h"
#include "mail/write.h"
#include "session/member_internal.h"
#include "session/sending_kept.h"

enum {
	SWEEP_MS = 10 * 60 * 1000,
	LOAD_TRIES = 10,
	LOAD_PAUSE_MS = 200,
	SAVE_MS = 10 * 60 * 1000,
	TELL_AGAIN_MS = 10 * 60 * 1000,
	NOTE_MAX = 4096,
	NOTE_TRIES = 5,
	NOTE_PAUSE_MS = 2000,
	HEARD_MOST = 1000, /* recipients of one line */
};

struct sending_account {
	struct sending_account *next;
	uint8_t account[SEALED_ID_LEN];
	struct sending sending;
	msec used;
	bool held;
	uint32_t lifts;     /* as her entry had it when this was counted */
	msec told;          /* the opener, of the hold */
	msec put_off_until; /* one line of the log an hour */
	char ref[LOG_REF_LEN + 1];
};

static msec
now_of(const struct worker *w)
{
	return loop_now(w->host->loop);
}

static struct sending_account **
bucket_of(struct worker *w, const uint8_t account[SEALED_ID_LEN])
{
	return &w->sending[((size_t)account[0] << 8 | account[1]) % WORKER_BUCKETS];
}

/* ---- over a restart ---- */

static const char kept_role[] = "session";

static void
find_again(struct worker *w, struct sending_account *a)
{
	uint8_t name[SENDING_KEPT_NAME];
	if (w->sending_kept != NULL && w->sending_kept->count > 0) {
		sending_kept_name(w->keys.key[PURPOSE_SESSION_KEEP], bytes_of(a->account, sizeof(a->account)),
				  name);
		(void)sending_kept_take(w->sending_kept, name, a->lifts, &a->sending);
	}
}

void
sending_load(struct worker *w)
{
	struct buf plain = BUF_INIT(SPOOL_VALUE_MAX);
	struct sending_kept *k = calloc(1, sizeof(*k));
	enum err e = k == NULL ? ERR_MEMORY : ERR_CLOSED;
	for (int i = 0; i < LOAD_TRIES && (e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_AGAIN); i++) {
		if (i > 0 && task_sleep(LOAD_PAUSE_MS) != ERR_OK) {
			break;
		}
		e = kept_get(w->host, w->keys.key[PURPOSE_SESSION_KEEP], kept_role, w->host->index, &plain);
	}
	if (e == ERR_OK) {
		e = sending_kept_read(buf_bytes(&plain), now_of(w), clock_wall(), k);
	}
	if (k != NULL) {
		w->sending_is_kept = e == ERR_OK;
		w->sending_kept = k;
	}
	/* Then it counts from 0. */
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		log_event(LOG_LEVEL_WARNING, "how much was sent before the start is not known: %s",
			  err_text(e));
	}
	w->sending_saved = now_of(w);
	buf_wipe(&plain);
}

void
sending_save(struct worker *w)
{
	struct sending_kept *k = calloc(1, sizeof(*k));
	struct buf plain = BUF_INIT(SENDING_KEPT_SIZE);
	const struct config *c = &w->host->config;
	const struct sending_limits l = {.messages = c->sending_messages,
					 .recipients = c->sending_recipients,
					 .recipients_day = c->sending_recipients_day,
					 .failures = c->sending_failures};
	msec now = now_of(w);
	if (k == NULL || w->sending_kept == NULL || w->sending_saving) {
		free(k);
		return;
	}
	w->sending_saving = true;
	w->sending_saved = now;
	for (size_t i = 0; i < w->sending_kept->count; i++) {
		struct sending_kept_entry *e = &w->sending_kept->entries[i];
		sending_kept_add(k, e->name, e->lifts, &e->sending, &l, now);
	}
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		for (struct sending_account *a = w->sending[i]; a != NULL; a = a->next) {
			uint8_t name[SENDING_KEPT_NAME];
			sending_kept_name(w->keys.key[PURPOSE_SESSION_KEEP],
					  bytes_of(a->account, sizeof(a->account)), name);
			sending_kept_add(k, name, a->lifts, &a->sending, &l, now);
		}
	}
	/* Where nobody is near a limit, the store learns nothing, but that it is over. */
	if (k->count > 0 || w->sending_is_kept) {
		bool any = k->count > 0;
		enum err e = sending_kept_write(k, now, clock_wall(), &plain);
		e = e == ERR_OK
			? kept_put(w->host, w->keys.key[PURPOSE_SESSION_KEEP], kept_role, buf_bytes(&plain))
			: e;
		w->sending_is_kept = e == ERR_OK ? any : w->sending_is_kept;
	}
	w->sending_saving = false;
	secret_wipe(k, sizeof(*k));
	free(k);
	buf_wipe(&plain);
}

static void
save_task(void *arg)
{
	sending_save(arg);
}

/* NULL without memory: she is let through, since a house that has none refuses enough by itself. */
static struct sending_account *
account_of(struct member *m)
{
	struct sending_account **bucket = bucket_of(m->worker, m->account);
	struct sending_account *a = *bucket;
	while (a != NULL && memcmp(a->account, m->account, SEALED_ID_LEN) != 0) {
		a = a->next;
	}
	if (a == NULL) {
		a = calloc(1, sizeof(*a));
		if (a == NULL) {
			return NULL;
		}
		memcpy(a->account, m->account, sizeof(a->account));
		a->lifts = m->profile.lifts;
		find_again(m->worker, a);
		a->next = *bucket;
		*bucket = a;
	}
	a->used = now_of(m->worker);
	return a;
}

/* Forgets who has sent nothing since. */
static void
forget(struct worker *w, msec since)
{
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		struct sending_account **at = &w->sending[i];
		while (*at != NULL) {
			struct sending_account *a = *at;
			if (a->used < since) {
				*at = a->next;
				secret_wipe(a, sizeof(*a));
				free(a);
			} else {
				at = &a->next;
			}
		}
	}
}

void
sending_upkeep(struct worker *w)
{
	msec now = now_of(w);
	if (now - w->sending_swept >= SWEEP_MS) {
		w->sending_swept = now;
		forget(w, now - 2 * MSEC_DAY);
	}
	if (now - w->sending_saved >= SAVE_MS) {
		w->sending_saved = now;
		/* Without memory for a task, with the next one. */
		enum err e = role_spawn(w->host, save_task, w);
		(void)e;
	}
}

void
sending_clear(struct worker *w)
{
	forget(w, INT64_MAX);
	if (w->sending_kept != NULL) {
		secret_wipe(w->sending_kept, sizeof(*w->sending_kept));
		free(w->sending_kept);
		w->sending_kept = NULL;
	}
}

static struct sending_limits
limits_of(const struct member *m)
{
	const struct config *c = &m->worker->host->config;
	return (struct sending_limits){.messages = c->sending_messages,
				       .recipients = c->sending_recipients,
				       .recipients_day = c->sending_recipients_day,
				       .domains = c->sending_domains,
				       .failures = c->sending_failures,
				       .times = m->profile.limit_times};
}

/* ---- the note to her ---- */

struct note {
	struct member *member; /* holds one reference */
	char ref[LOG_REF_LEN + 1];
};

static enum err
write_note(const struct member *m, const char *ref, int64_t time, struct buf *out)
{
	const char *domain = m->worker->host->config.domain;
	uint8_t random[16];
	crypto_random_bytes(random, sizeof(random));
	enum err e = buf_printf(out, "From: Cohue <postmaster@%s>\r\nTo: <", domain);
	e = e == ERR_OK ? buf_append(out, m->profile.name) : e;
	e = e == ERR_OK
		? buf_printf(out, "@%s>\r\nSubject: Your account cannot send mail for now\r\nDate: ", domain)
		: e;
	e = e == ERR_OK ? mail_write_date(out, time) : e;
	e = e == ERR_OK ? buf_append_str(out, "\r\nMessage-ID: <") : e;
	e = e == ERR_OK ? buf_append_hex(out, bytes_of(random, sizeof(random))) : e;
	e = e == ERR_OK
		? buf_printf(
		      out,
		      ".sending@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
		      "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
		      "Much more mail was sent from your account than people write, or much of it was "
		      "refused "
		      "by others'\r\nservers. So it looks as if somebody else sends in your name, and "
		      "nothing "
		      "more is taken for now.\r\nYou can read your mail, and mail to you comes in.\r\n\r\n"
		      "If it was not you: somebody knows a password of yours. Ask who runs the house for a "
		      "new "
		      "one, and have\r\nthe old ones dropped; then you can send again.\r\n"
		      "If it was you: ask who runs the house to lift it. They need this reference: %s\r\n\r\n"
		      "What was counted are numbers, not whom you wrote to.\r\n",
		      domain, ref)
		: e;
	return e;
}

static enum err
build_note(void *arg, struct member *m, struct member_change *c)
{
	const struct note *note = arg;
	struct buf text = BUF_INIT(NOTE_MAX);
	uint32_t now = member_save_time();
	const struct fold_mailbox *inbox = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"));
	uint32_t mailbox = inbox == NULL ? 0 : inbox->id;
	enum err e = inbox == NULL ? ERR_NOT_FOUND : write_note(m, note->ref, now, &text);
	e = e == ERR_OK ? member_put_own(m, buf_bytes(&text), mailbox, now, c) : e;
	buf_wipe(&text);
	return e;
}

static void
note_task(void *arg)
{
	struct note *note = arg;
	enum err e = ERR_AGAIN;
	for (int i = 0; i < NOTE_TRIES && e != ERR_OK && e != ERR_DENIED; i++) {
		if (i > 0 && task_sleep(NOTE_PAUSE_MS) != ERR_OK) {
			break;
		}
		e = member_append(note->member, NULL, build_note, note, NULL);
	}
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "a member could not be told that her sending is held (%s)",
			  note->ref);
	}
	member_unref(&note->member);
	free(note);
}

static void
tell_her(struct member *m, const char *ref)
{
	struct note *note = calloc(1, sizeof(*note));
	if (note == NULL) {
		return;
	}
	member_ref(m);
	note->member = m;
	memcpy(note->ref, ref, sizeof(note->ref));
	if (role_spawn(m->worker->host, note_task, note) != ERR_OK) {
		member_unref(&note->member);
		free(note);
	}
}

/* ---- holding ---- */

static void
tell_opener(struct member *m, struct sending_account *a)
{
	struct channel *ch = role_channel(m->worker->host, ROLE_OPENER, 0);
	struct msg_member_hold q = {.reference = bytes_str(a->ref)};
	memcpy(q.account, m->account, sizeof(q.account));
	a->told = now_of(m->worker);
	if (ch != NULL && channel_notice(ch, MEMBER_HOLD, member_hold, &q) != ERR_OK) {
		channel_end(ch);
	}
}

static void
hold(struct member *m, struct sending_account *a, const char *why)
{
	if (a->held) {
		return;
	}
	a->held = true;
	m->worker->seen_held++;
	log_ref(a->ref);
	log_event(
	    LOG_LEVEL_WARNING,
	    "a member's sending is held (%s): %s. Remedy: `cohue member list` shows who; ask her, change her "
	    "passwords, or `cohue member resume`",
	    a->ref, why);
	tell_opener(m, a);
	tell_her(m, a->ref);
}

/* A hold that was lifted since is none. */
static bool
is_held(struct member *m, struct sending_account *a)
{
	if (m->profile.lifts != a->lifts) {
		a->held = false;
		a->lifts = m->profile.lifts;
		sending_reset(&a->sending);
	}
	if (a->held && m->profile.held.len == 0 && now_of(m->worker) - a->told > TELL_AGAIN_MS) {
		tell_opener(m, a); /* it may have been away */
	}
	return a->held || m->profile.held.len > 0;
}

static struct submission_reply
say_held(const struct member *m, const struct sending_account *a)
{
	struct submission_reply r = {.code = 550, .enhanced = "5.7.1", .text = NULL};
	struct bytes ref = a->held ? bytes_str(a->ref) : m->profile.held;
	(void)snprintf(r.ref, sizeof(r.ref), "Sending is held, see your INBOX (%.*s)", (int)ref.len,
		       ref.len == 0 ? "" : (const char *)ref.ptr);
	return r;
}

static struct submission_reply
put_off(struct member *m, struct sending_account *a, bool first)
{
	struct submission_reply r = {.code = 450, .enhanced = "4.7.1", .text = NULL};
	msec now = now_of(m->worker);
	if (first) {
		m->worker->seen_put_off++;
		if (sending_refused(&a->sending, now) == SENDING_HOLD) {
			hold(m, a, "it went on beyond its limits");
			return say_held(m, a);
		}
	}
	if (now >= a->put_off_until) {
		log_ref(a->ref);
		log_event(LOG_LEVEL_NOTICE,
			  "a member's letters are put off (%s): more than the limits of an hour", a->ref);
		a->put_off_until = now + MSEC_HOUR;
	}
	(void)snprintf(r.ref, sizeof(r.ref), "Too much mail in a short time (%s)", a->ref);
	return r;
}

static struct submission_reply
answer(struct member *m, struct sending_account *a, enum sending_verdict v, bool first)
{
	switch (v) {
	case SENDING_FINE:
		break;
	case SENDING_LATER:
		return put_off(m, a, first);
	case SENDING_HOLD:
		hold(m, a, "more recipients than the limit of a day");
		return say_held(m, a);
	}
	return (struct submission_reply){.code = 0};
}

struct submission_reply
sending_message_begins(struct member *m)
{
	struct sending_account *a = account_of(m);
	if (a == NULL) {
		return (struct submission_reply){.code = 0};
	}
	if (is_held(m, a)) {
		return say_held(m, a);
	}
	const struct sending_limits l = limits_of(m);
	return answer(m, a, sending_message(&a->sending, &l, now_of(m->worker)), true);
}

struct submission_reply
sending_recipient_named(struct member *m, struct bytes domain, bool *refused)
{
	struct sending_account *a = account_of(m);
	if (a == NULL) {
		return (struct submission_reply){.code = 0};
	}
	if (is_held(m, a)) {
		return say_held(m, a);
	}
	const struct sending_limits l = limits_of(m);
	enum sending_verdict v = sending_recipient(&a->sending, &l, domain, now_of(m->worker));
	bool first = !*refused;
	*refused = *refused || v == SENDING_LATER;
	return answer(m, a, v, first);
}

void
sending_heard(struct member *m, const struct journal_line *line)
{
	bool failed = line->event == JOURNAL_FAILED && line->text.len > 0 && line->text.ptr[0] == '5';
	if (!failed && line->event != JOURNAL_DELIVERED) {
		return;
	}
	struct sending_account *a = account_of(m);
	uint64_t wall = (uint64_t)(clock_wall() / MSEC_SECOND);
	if (a == NULL || line->time + (uint64_t)(MSEC_DAY / MSEC_SECOND) < wall || is_held(m, a)) {
		return;
	}
	const struct sending_limits l = limits_of(m);
	uint32_t count = line->recipients == 0           ? 1
			 : line->recipients < HEARD_MOST ? line->recipients
							 : HEARD_MOST;
	enum sending_verdict v = SENDING_FINE;
	for (uint32_t i = 0; i < count && v == SENDING_FINE; i++) {
		v = sending_reported(&a->sending, &l, failed, now_of(m->worker));
	}
	if (v == SENDING_HOLD) {
		hold(m, a, "too many of the recipients were refused by others for good");
	}
}
