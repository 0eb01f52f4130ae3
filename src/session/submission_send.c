/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the end of data to 250: checked, sealed for each destination, on disk; then the author's own copy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "crypto/crypto.h"
#include "delivery/delivery.h"
#include "mail/structure.h"
#include "mail/write.h"
#include "process/log.h"
#include "session/submission_identity.h"
#include "session/submission_internal.h"
#include "session/submission_lane.h"
#include "session/submission_message.h"
#include "session/submission_policy.h"
#include "session/submission_report.h"
#include "session/submission_sent.h"
#include "session/submission_unit.h"

enum {
	HEADER_ROOM = 8192,
	LEAVING_ROOM = 1 << 20,   /* boundaries of very many parts */
	UNIT_AROUND = 128 * 1024, /* what the mixer adds to the parts on their way to the store */
	REPORT_ROOM = 256 * 1024,
	COPIES = 5, /* of a message in memory while it is being sent, besides the one that came */
	SENT_TRIES = 4,
	SENT_PAUSE_MS = 500,
};

static struct submission_reply
say(unsigned code, const char *enhanced, const char *text)
{
	return (struct submission_reply){.code = code, .enhanced = enhanced, .text = text};
}

static struct submission_lane
how_it_waits(const struct envelope *v, const struct member *m)
{
	return submission_lane(&v->wish, buf_bytes(&v->message), (enum law_lane)m->profile.lane);
}

static bool
owns(const void *arg, const struct mail_mailbox *mailbox)
{
	return member_owns_address(arg, mailbox);
}

/* ---- to members ---- */

_Static_assert((int)CONFIG_DATE_RELEASE == (int)MAIL_DATE_RELEASE, "the setting has one form");
_Static_assert((int)CONFIG_DATE_DAY == (int)MAIL_DATE_DAY, "the setting has one form");
_Static_assert((int)CONFIG_DATE_KEEP == (int)MAIL_DATE_KEEP, "the setting has one form");

static enum mail_privacy_date
date_setting(const struct submission_unit *s)
{
	return (enum mail_privacy_date)s->worker->host->config.date;
}

/*
 * A copy for a member is sealed now, before anybody knows when it will leave: it is dated with the next tick of
 * the public clock, or, under the other laws, with the minute.
 */
static int64_t
stamp_of(const struct config *config, int64_t wall_ms)
{
	enum { MINUTE_MS = 60 * 1000 };
	const struct law_config *law = &config->leave;
	int64_t ms = law->kind == LAW_CROWD && law->clock > 0 ? (wall_ms / law->clock + 1) * law->clock
							      : wall_ms - wall_ms % MINUTE_MS;
	return ms / MSEC_SECOND;
}

/* Return-Path and one Received line (RFC 5321 section 4.4): of the house, not of the author's machine. */
static enum err
write_trace(const struct submission_unit *s, struct buf *out)
{
	struct bytes sender = envelope_view(s->envelope, s->envelope->sender);
	struct buf value = BUF_INIT(HEADER_ROOM);
	enum err e = buf_append_str(out, "Return-Path: <");
	e = e == ERR_OK ? buf_append(out, sender) : e;
	e = e == ERR_OK ? buf_append_str(out, ">\r\n") : e;
	if (e == ERR_OK) {
		e = buf_printf(&value, "by %s (Cohue) with %s id %s; ", s->worker->host->config.hostname,
			       s->envelope->utf8 ? "UTF8SMTPSA" : "ESMTPSA", s->ref);
	}
	e = e == ERR_OK ? mail_write_date(&value, s->stamp) : e;
	e = e == ERR_OK ? mail_write_field(out, "Received", buf_bytes(&value)) : e;
	buf_wipe(&value);
	return e;
}

static enum err
add_local(struct submission_unit *s)
{
	struct envelope *v = s->envelope;
	struct delivery d;
	struct buf whole = BUF_INIT(s->leaving.len + HEADER_ROOM * 2);
	memset(&d, 0, sizeof(d));
	if (v->target_count == 0) {
		return ERR_OK;
	}
	enum err e = write_trace(s, &whole);
	e = e == ERR_OK ? mail_privacy_put_dates(buf_bytes(&s->leaving), date_setting(s), s->stamp, &whole)
			: e;
	e = e == ERR_OK ? buf_append(&whole, buf_bytes(&s->leaving)) : e;
	e = e == ERR_OK ? delivery_init(&d, s->worker->codec, s->worker->keys.key[PURPOSE_BLOB_NAME],
					buf_bytes(&whole), v->target_count)
			: e;
	d.received = (uint64_t)s->stamp;
	d.sender = envelope_view(v, v->sender);
	d.flags = ARRIVAL_LOCAL;
	for (size_t i = 0; i < v->target_count && e == ERR_OK; i++) {
		const struct target *t = &v->targets[i];
		struct delivery_target target = {.generation = t->account.generation,
						 .quota = lookup_ceiling(s->worker->host, &t->account),
						 .recipient = envelope_view(v, t->address)};
		memcpy(target.account, t->account.id, SEALED_ID_LEN);
		memcpy(target.public_key, t->account.public_key, BOX_PUBLIC_LEN);
		e = delivery_add_arrival(&d, &target, upload_chunk, &s->upload, &s->parts);
		s->part_count += e == ERR_OK ? 1 : 0;
	}
	delivery_clear(&d);
	buf_wipe(&whole);
	return e;
}

/* The report of success for members, to the author: a part of the same unit, so that it comes when they do. */
static enum err
add_report(struct submission_unit *s)
{
	const struct directory_account *profile = &s->member->profile;
	struct delivery d;
	struct buf text = BUF_INIT(s->leaving.len + REPORT_ROOM);
	memset(&d, 0, sizeof(d));
	if (!submission_wants_report(s->envelope)) {
		return ERR_OK;
	}
	enum err e = submission_write_report(s->envelope, s->now, buf_bytes(&s->leaving), &text);
	e = e == ERR_OK ? delivery_init(&d, s->worker->codec, s->worker->keys.key[PURPOSE_BLOB_NAME],
					buf_bytes(&text), 1)
			: e;
	if (e == ERR_OK) {
		d.received = (uint64_t)s->now;
		d.flags = ARRIVAL_BOUNCE;
		/* No quota: the house's own notices come in. */
		struct delivery_target target = {.generation = profile->generation,
						 .recipient =
						     envelope_view(s->envelope, s->envelope->sender)};
		memcpy(target.account, s->member->account, SEALED_ID_LEN);
		memcpy(target.public_key, profile->public_key, BOX_PUBLIC_LEN);
		e = delivery_add_arrival(&d, &target, upload_chunk, &s->upload, &s->parts);
		s->part_count += e == ERR_OK ? 1 : 0;
	}
	delivery_clear(&d);
	buf_wipe(&text);
	return e;
}

/* ---- the author's copy ---- */

static struct mail_privacy
privacy_of(struct submission_unit *s)
{
	struct mail_privacy p = {.id = buf_bytes(&s->identity.id),
				 .map = identity_map,
				 .map_arg = s->member,
				 .date = date_setting(s),
				 .now = s->now};
	crypto_random_bytes(p.seed, sizeof(p.seed));
	return p;
}

static enum err
write_sent_copy(struct submission_unit *s, struct buf *out)
{
	const struct envelope *v = s->envelope;
	struct submission_address *list = calloc(v->recipient_count, sizeof(*list));
	if (list == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < v->recipient_count; i++) {
		list[i].address = envelope_view(v, v->recipients[i].address);
		list[i].normal = envelope_view(v, v->recipients[i].normal);
	}
	struct buf kept = BUF_INIT(v->message.len + SUBMISSION_TEXT_MAX);
	struct buf fields = BUF_INIT(HEADER_ROOM);
	const struct mail_privacy p = privacy_of(s);
	enum err e = mail_privacy_keep(buf_bytes(&v->message), &p, &kept);
	e = e == ERR_OK ? mail_privacy_put_dates(buf_bytes(&kept), MAIL_DATE_RELEASE, s->now, &fields) : e;
	e = e == ERR_OK
		? submission_sent_copy(buf_bytes(&kept), buf_bytes(&fields), list, v->recipient_count, out)
		: e;
	buf_wipe(&kept);
	buf_wipe(&fields);
	free(list);
	return e;
}

static void
journal_first(const struct submission_unit *s, struct journal_line *ret)
{
	struct submission_lane wait = how_it_waits(s->envelope, s->member);
	*ret = (struct journal_line){
	    .event = JOURNAL_SUBMITTED,
	    .time = (uint64_t)s->now,
	    .lane = (uint8_t)wait.lane,
	    .hold = (uint64_t)(wait.hold / MSEC_SECOND),
	    .reference = bytes_str(s->ref),
	    .message_id = bytes_slice(buf_bytes(&s->identity.id), 0, JOURNAL_TEXT_MAX),
	    .size_class = (uint8_t)law_size_class(delivery_wire_size(buf_bytes(&s->leaving))),
	    .recipients = (uint32_t)s->envelope->recipient_count};
	memcpy(ret->unit, s->unit, sizeof(ret->unit));
}

static void
add_copy(struct submission_unit *s)
{
	struct buf copy = BUF_INIT(s->envelope->message.len + SUBMISSION_TEXT_MAX + HEADER_ROOM);
	s->sent = SUBMISSION_SENT_AFTER;
	if (write_sent_copy(s, &copy) == ERR_OK) {
		struct operation renamed;
		bool renames = identity_operation(&s->identity, &renamed);
		struct journal_line line;
		journal_first(s, &line);
		s->sent = submission_add_sent(s->member, buf_bytes(&copy), buf_bytes(&s->envelope->message),
					      &line, renames ? &renamed : NULL, &s->upload, &s->parts);
	}
	buf_wipe(&copy);
}

/* ---- the unit ---- */

static enum err
put_unit(struct submission_unit *s)
{
	const struct directory_account *profile = &s->member->profile;
	struct submission_lane wait = how_it_waits(s->envelope, s->member);
	struct msg_mix_put m = {.stage = IPC_STAGE_LEAVING,
				.size = delivery_wire_size(buf_bytes(&s->leaving)),
				/* What an observer sees: copies for members never come over a line. */
				.weight = (uint16_t)(s->deliveries > 0 ? s->deliveries : 1),
				.lane = (uint8_t)wait.lane,
				.hold = (uint64_t)wait.hold,
				/* What a program sends by itself is nobody in the crowd. */
				.counts = submission_is_automatic(buf_bytes(&s->leaving)) ? 0 : 1,
				.since_day = profile->created_day,
				.generation = profile->generation,
				.parts = buf_bytes(&s->parts)};
	memcpy(m.public_key, profile->public_key, sizeof(m.public_key));
	memcpy(m.unit, s->unit, sizeof(m.unit));
	memcpy(m.sender, s->member->account, sizeof(m.sender));
	return mixer_put_unit(s->worker->host, &m);
}

static enum err
make_texts(struct submission_unit *s)
{
	struct bytes message = buf_bytes(&s->envelope->message);
	struct mail_privacy_look look;
	struct arena arena;
	/* Her log knows which identifiers she may refer to. */
	enum err e = member_ready(s->member);
	arena_init(&arena, MAIL_PARSE_MEMORY + (1 << 20));
	e = e == ERR_OK ? mail_privacy_look(&arena, message, &look) : e;
	e = e == ERR_OK ? identity_make(&s->identity, s->member, &look) : e;
	arena_clear(&arena);
	if (e == ERR_OK) {
		const struct mail_privacy p = privacy_of(s);
		e = mail_privacy_leave(message, &p, &s->leaving);
	}
	return e;
}

static enum err
send_unit(struct submission_unit *s)
{
	enum err e = make_texts(s);
	if (e == ERR_OK) {
		upload_init(&s->upload, s->member);
		e = submission_add_remote(s);
		e = e == ERR_OK ? add_local(s) : e;
		e = e == ERR_OK ? add_report(s) : e;
		if (e == ERR_OK) {
			add_copy(s);
		}
		/* In any case: what is on its way knows the struct. */
		enum err uploaded = upload_finish(&s->upload);
		e = e == ERR_OK ? uploaded : e;
	}
	return e == ERR_OK ? put_unit(s) : e;
}

static struct submission_reply
failure(enum err e)
{
	switch ((int)e) {
	case ERR_QUOTA:
		return say(452, "4.2.2", "A recipient's mailbox is full");
	case ERR_FULL:
		return say(452, "4.3.1", "No space left, try again later");
	case ERR_MEMORY:
		return say(452, "4.3.1", "Out of memory, try again later");
	case ERR_LIMIT:
		return say(552, "5.3.4", "Message too large for so many recipients");
	default:
		return say(451, "4.3.0", "Temporary failure, try again later");
	}
}

/*
 * The message is on its way: whatever happens here, 250 is the truth, and a retry of the client's would send it
 * twice. What may pass is tried again.
 */
static enum err
file_sent(struct submission_unit *s, const struct operation *renamed)
{
	struct buf copy = BUF_INIT(s->envelope->message.len + SUBMISSION_TEXT_MAX + HEADER_ROOM);
	enum err e = write_sent_copy(s, &copy);
	for (int i = 0; e == ERR_OK && i < SENT_TRIES; i++) {
		e = member_file_sent(s->member, buf_bytes(&copy), buf_bytes(&s->envelope->message), s->now,
				     renamed);
		bool passing = e == ERR_AGAIN || e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_MEMORY ||
			       e == ERR_CONFLICT;
		if (!passing || i + 1 == SENT_TRIES || task_sleep(SENT_PAUSE_MS) != ERR_OK) {
			break;
		}
		e = ERR_OK;
	}
	buf_wipe(&copy);
	return e;
}

static enum err
see_to_copy(struct submission_unit *s)
{
	struct operation op;
	const struct operation *renamed = identity_operation(&s->identity, &op) ? &op : NULL;
	enum err e = ERR_OK;
	switch (s->sent) {
	case SUBMISSION_SENT_WITH_UNIT:
		/* It is in her log. Filed at once, so that she sees it; if that fails now, it is filed later. */
		(void)!member_look(s->member);
		return ERR_OK;
	case SUBMISSION_SENT_BEFORE:
		break;
	case SUBMISSION_SENT_FULL:
		e = ERR_QUOTA;
		break;
	case SUBMISSION_SENT_AFTER:
		e = file_sent(s, renamed);
		renamed = e == ERR_OK ? NULL : renamed;
		break;
	}
	if (renamed != NULL) {
		/* Without a copy, too, she may refer to it later. If not even this goes, nothing else can be done. */
		(void)!member_append_operation(s->member, renamed);
	}
	return e;
}

static struct submission_reply
success(const struct submission_unit *s, enum err filed)
{
	struct submission_reply r = {.code = 250, .enhanced = "2.0.0", .text = NULL};
	const char *note = filed == ERR_OK      ? ""
			   : filed == ERR_QUOTA ? " (no Sent copy: full)"
						: " (no Sent copy)";
	(void)snprintf(r.ref, sizeof(r.ref), "Ok: queued as %s%s", s->ref, note);
	return r;
}

static struct submission_reply
run(struct submission_unit *s)
{
	enum err e = send_unit(s);
	if (e != ERR_OK) {
		return failure(e);
	}
	buf_wipe(&s->parts);
	buf_wipe(&s->leaving);
	return success(s, see_to_copy(s));
}

/* What can be said of the message before any work is done for it; code 0: nothing. */
static struct submission_reply
check(const struct envelope *v, const struct member *m)
{
	const struct submission_owner owner = {.owns = owns, .arg = m};
	if (v->too_much) {
		return say(452, "4.3.1", "Too much mail at once, try again later");
	}
	if (mail_count_received(buf_bytes(&v->message)) > SUBMISSION_RECEIVED_MAX) {
		return say(554, "5.4.6", "Too many hops: a mail loop");
	}
	enum submission_verdict verdict = submission_check(buf_bytes(&v->message), &owner);
	if (verdict == SUBMISSION_MEMORY) {
		return say(451, "4.3.0", submission_verdict_text(verdict));
	}
	if (verdict != SUBMISSION_OK) {
		return say(550, "5.7.1", submission_verdict_text(verdict));
	}
	return say(0, NULL, NULL);
}

struct submission_reply
submission_send(struct envelope *v, struct member *m)
{
	struct submission_reply r = check(v, m);
	if (r.code != 0) {
		return r;
	}
	size_t room = v->message.len * COPIES;
	if (worker_take_work(v->worker, m, room) != ERR_OK) {
		return say(452, "4.3.1", "Too much mail at once, try again later");
	}
	int64_t wall = clock_wall();
	struct submission_unit s = {.envelope = v,
				    .member = m,
				    .worker = v->worker,
				    .now = wall / MSEC_SECOND,
				    .stamp =
					stamp_of(&v->worker->host->config, wall + how_it_waits(v, m).hold),
				    .leaving = BUF_INIT(v->message.len + LEAVING_ROOM),
				    .parts = BUF_INIT(IPC_UNIT_MAX - UNIT_AROUND)};
	identity_init(&s.identity);
	log_ref(s.ref);
	crypto_random_bytes(s.unit, sizeof(s.unit));
	r = run(&s);
	identity_clear(&s.identity);
	buf_wipe(&s.leaving);
	buf_wipe(&s.parts);
	worker_give_work(v->worker, m, room);
	return r;
}
