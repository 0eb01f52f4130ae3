/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What came of an attempt, told to the mixer: done, later, and what the sender hears. */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "courier/internal.h"
#include "courier/message.h"
#include "process/log.h"
#include "sealed/journal.h"

enum {
	REPORT_ROOM = 256 * 1024,
	REASON_ROOM = 4096,
	JOURNAL_ROOM = 16 * 1024,
	PAUSE_MS = 1000,
};

static void
ignore_reply(void *arg, enum err status, struct bytes payload)
{
	(void)arg;
	(void)status;
	(void)payload;
}

/* A chunk that is lost makes the claim in the verdict fail, which is then said anew. */
enum err
courier_send_chunk(void *arg, const uint8_t blob[SEALED_ID_LEN], uint32_t chunk, struct bytes data)
{
	struct courier *c = arg;
	struct channel *mixer = role_channel(c->host, ROLE_MIXER, 0);
	struct msg_mix_blob m = {.chunk = chunk, .data = data};
	memcpy(m.blob, blob, sizeof(m.blob));
	if (mixer == NULL) {
		return ERR_CLOSED;
	}
	if (channel_queued(mixer) > CHANNEL_BUSY) {
		return channel_call(mixer, MIX_BLOB, mix_blob, &m, loop_now(c->host->loop) + COURIER_CALL_MS,
				    NULL);
	}
	return channel_request(mixer, MIX_BLOB, mix_blob, &m, 0, ignore_reply, NULL);
}

/* One report, sealed to the sender. */
static enum err
add_report(struct work *w, enum report_kind kind, struct buf *notices)
{
	struct courier *c = w->courier;
	const struct config *config = &c->host->config;
	uint8_t random[16];
	struct delivery d;
	memset(&d, 0, sizeof(d));
	crypto_random_bytes(random, sizeof(random));
	int64_t now = clock_wall() / MSEC_SECOND;
	struct report_context context = {
	    .hostname = config->hostname,
	    .domain = config->domain,
	    .reference = w->reference,
	    .random = random,
	    .now = now,
	    .give_up = now + (config->retry_give_up - (msec)w->age) / MSEC_SECOND,
	    /* One with line ends of its own cannot stand in mail, its report neither. */
	    .original = message_is_clean(buf_bytes(&w->message)) ? buf_bytes(&w->message) : BYTES_EMPTY};
	struct buf report = BUF_INIT(w->message.len + REPORT_ROOM + w->part.recipient_count * 8192);
	enum err e = report_write(&w->part, w->outcomes, kind, &context, &report);
	if (e == ERR_OK) {
		e = delivery_init(&d, c->codec, c->purpose.key[PURPOSE_BLOB_NAME], buf_bytes(&report), 1);
	}
	if (e == ERR_OK) {
		struct delivery_target target = {.generation = w->part.generation,
						 .recipient = w->part.sender};
		memcpy(target.account, w->part.account, sizeof(target.account));
		memcpy(target.public_key, w->part.public_key, sizeof(target.public_key));
		d.received = (uint64_t)now;
		d.flags = ARRIVAL_BOUNCE;
		/* The null sender (RFC 3464 section 2): nobody answers a report with a report. */
		d.sender = BYTES_EMPTY;
		e = delivery_add_arrival(&d, &target, courier_send_chunk, c, notices);
	}
	delivery_clear(&d);
	buf_wipe(&report);
	c->seen_reports += e == ERR_OK ? 1 : 0;
	return e;
}

static uint16_t
tls_version(unsigned tls)
{
	return tls == 13 ? 0x0304 : tls == 12 ? 0x0303 : 0;
}

/* What the server said, or why it was not reached. */
static enum err
write_reason(const struct outcome *o, struct buf *out)
{
	const struct smtp_result *r = &o->result;
	enum err e = r->local ? ERR_OK : buf_printf(out, "%u %s ", r->code, r->status);
	return e == ERR_OK ? buf_append_str(out, r->text) : e;
}

/* One line of the author's journal for those recipients that fared alike. */
static enum err
add_line(const struct work *w, enum outcome_state state, enum journal_event event, struct wire_writer *lines)
{
	const struct outcome *o = NULL;
	struct journal_line line = {.event = event,
				    .time = (uint64_t)(clock_wall() / MSEC_SECOND),
				    .domain = bytes_slice(w->part.domain, 0, JOURNAL_TEXT_MAX)};
	for (size_t i = 0; i < w->part.recipient_count; i++) {
		if (w->outcomes[i].state == state) {
			o = o == NULL ? &w->outcomes[i] : o;
			line.recipients++;
		}
	}
	if (o == NULL) {
		return ERR_OK;
	}
	struct buf reason = BUF_INIT(REASON_ROOM);
	struct buf sealed = BUF_INIT(ARRIVAL_SEALED_MAX);
	uint8_t delivery[SEALED_ID_LEN];
	crypto_random_bytes(delivery, sizeof(delivery));
	memcpy(line.unit, w->unit, sizeof(line.unit));
	line.tls = tls_version(o->how.tls);
	line.proof = o->how.tls == 0                        ? JOURNAL_PROOF_NONE
		     : o->how.proof == LINK_PROOF_DANE      ? JOURNAL_PROOF_DANE
		     : o->how.proof == LINK_PROOF_AUTHORITY ? JOURNAL_PROOF_STS
							    : JOURNAL_PROOF_NONE;
	line.padded = o->how.padded && !o->how.larger;
	enum err e = write_reason(o, &reason);
	line.text = bytes_slice(buf_bytes(&reason), 0, JOURNAL_TEXT_MAX);
	e = e == ERR_OK ? journal_seal(w->part.account, w->part.generation, w->part.public_key, delivery,
				       &line, &sealed)
			: e;
	if (e == ERR_OK) {
		wire_put_bytes(lines, buf_bytes(&sealed));
		e = wire_done(lines);
	}
	buf_wipe(&reason);
	buf_clear(&sealed);
	return e;
}

/* What became of this attempt, for the author alone. A letter is not kept back for what its journal lacks. */
static void
add_journal(const struct work *w, struct buf *journal)
{
	struct wire_writer lines;
	wire_writer_init(&lines, journal);
	if (w->part.generation == 0 || w->unasked) {
		return; /* the house's own mail */
	}
	if ((w->part.flags & COURIER_FORWARDED) != 0) {
		/* A member's letter that went on from another: its journal is the author's, who is to know nothing of this. */
		if (w->strange && add_line(w, OUTCOME_FAILED, JOURNAL_FORWARD_FAILED, &lines) != ERR_OK) {
			buf_reset(journal);
		}
		return;
	}
	enum err e = add_line(w, OUTCOME_DONE, JOURNAL_DELIVERED, &lines);
	e = e == ERR_OK ? add_line(w, OUTCOME_TEMPORARY, JOURNAL_DEFERRED, &lines) : e;
	e = e == ERR_OK ? add_line(w, OUTCOME_FAILED, JOURNAL_FAILED, &lines) : e;
	if (e != ERR_OK) {
		buf_reset(journal);
	}
}

/* The part with the recipients that stay open. */
static enum err
seal_rest(struct work *w, const struct verdict *v, struct buf *body)
{
	struct courier_part rest = w->part;
	struct courier_recipient *open = calloc(v->open, sizeof(*open));
	if (open == NULL) {
		return ERR_MEMORY;
	}
	rest.recipients = open;
	rest.recipient_count = 0;
	for (size_t i = 0; i < w->part.recipient_count && rest.recipient_count < v->open; i++) {
		if (w->outcomes[i].state == OUTCOME_TEMPORARY) {
			open[rest.recipient_count] = w->part.recipients[i];
			open[rest.recipient_count++].status = SPOOL_RECIPIENT_DELAYED;
		}
	}
	enum err e = courier_part_seal(&rest, w->epoch, w->public_key, w->unit, w->part_number, body);
	free(open);
	return e;
}

static bool
is_passing(enum err e)
{
	return e == ERR_CLOSED || e == ERR_TIMEOUT || e == ERR_AGAIN || e == ERR_MEMORY;
}

static enum err
add_reports(struct work *w, const struct verdict *v, struct buf *notices)
{
	const size_t counts[] = {
	    [REPORT_FAILED] = v->failed, [REPORT_DELAYED] = v->delayed, [REPORT_RELAYED] = v->relayed};
	enum err e = ERR_OK;
	if (v->failed + v->delayed + v->relayed == 0) {
		return ERR_OK;
	}
	e = work_fetch(w);
	/* A message that is damaged is reported without its header. */
	e = is_passing(e) ? e : ERR_OK;
	for (unsigned kind = REPORT_FAILED; kind <= REPORT_RELAYED && e == ERR_OK; kind++) {
		if (counts[kind] > 0) {
			e = add_report(w, (enum report_kind)kind, notices);
		}
	}
	return e;
}

/* Sent to one host that hid its size and to one that did not, it has shown its size. */
static uint8_t
delivery_of(const struct work *w)
{
	uint8_t delivery = IPC_DELIVERY_NONE;
	for (size_t i = 0; i < w->part.recipient_count && delivery != IPC_DELIVERY_SHOWN; i++) {
		if (w->outcomes[i].state == OUTCOME_DONE) {
			const struct protection *how = &w->outcomes[i].how;
			delivery = how->padded && !how->larger ? IPC_DELIVERY_HIDDEN : IPC_DELIVERY_SHOWN;
		}
	}
	return delivery;
}

static enum err
tell(struct work *w, const struct verdict *v)
{
	struct courier *c = w->courier;
	struct buf body = BUF_INIT(SPOOL_PART_MAX);
	struct buf notices = BUF_INIT(IPC_PAYLOAD_MAX);
	struct buf journal = BUF_INIT(JOURNAL_ROOM);
	enum err e = add_reports(w, v, &notices);
	add_journal(w, &journal);
	if (e == ERR_OK && v->again) {
		e = seal_rest(w, v, &body);
	}
	if (e == ERR_OK) {
		struct msg_courier_verdict m = {.part = w->part_number,
						.again = v->again,
						.warned = w->warned || v->warn,
						.delivery = delivery_of(w),
						.body = buf_bytes(&body),
						.notices = buf_bytes(&notices),
						.journal = buf_bytes(&journal)};
		memcpy(m.unit, w->unit, sizeof(m.unit));
		/* From now on, being handed over again means that this was not heard. */
		w->handed_again = false;
		e = channel_call(role_channel(c->host, ROLE_MIXER, 0), COURIER_VERDICT, courier_verdict, &m,
				 loop_now(c->host->loop) + COURIER_CALL_MS, NULL);
	}
	buf_wipe(&body);
	buf_wipe(&notices);
	buf_clear(&journal);
	return e;
}

static void
count(struct work *w)
{
	struct courier *c = w->courier;
	for (size_t i = 0; i < w->part.recipient_count; i++) {
		enum outcome_state state = w->outcomes[i].state;
		c->seen_delivered += state == OUTCOME_DONE ? 1 : 0;
		c->seen_deferred += state == OUTCOME_TEMPORARY ? 1 : 0;
		c->seen_failed += state == OUTCOME_FAILED ? 1 : 0;
		const struct protection *how = &w->outcomes[i].how;
		c->seen_unpadded += state == OUTCOME_DONE && !how->padded ? 1 : 0;
		c->seen_dane += state == OUTCOME_DONE && how->proof == LINK_PROOF_DANE ? 1 : 0;
		c->seen_sts += state == OUTCOME_DONE && how->proof == LINK_PROOF_AUTHORITY ? 1 : 0;
		c->seen_unprotected += report_is_unprotected(&w->outcomes[i]) ? 1 : 0;
		c->seen_clear += state == OUTCOME_DONE && how->tls == 0 ? 1 : 0;
	}
}

/*
 * While the same mixer lives, it is told again and again; when it has restarted, it hands over anew what it
 * still has, and only then there is somebody to tell. False: nobody asks any more.
 */
static bool
wait_for_mixer(struct work *w, uint64_t generation)
{
	struct courier *c = w->courier;
	msec until = loop_now(c->host->loop) + COURIER_PARKED_MS;
	do {
		if (c->host->stopping || task_sleep(PAUSE_MS) != ERR_OK || loop_now(c->host->loop) > until) {
			return false;
		}
	} while (!w->handed_again && generation != c->mixer_generation);
	return role_channel(c->host, ROLE_MIXER, 0) != NULL || wait_for_mixer(w, c->mixer_generation);
}

/* What protects a domain's mail is not as it should be: told at the first failure, since only people can mend it. */
static bool
any_unprotected(const struct work *w)
{
	for (size_t i = 0; i < w->part.recipient_count; i++) {
		if (report_is_unprotected(&w->outcomes[i])) {
			return true;
		}
	}
	return false;
}

void
work_conclude(struct work *w)
{
	struct courier *c = w->courier;
	bool warn = !w->warned && (w->age > (uint64_t)c->host->config.retry_warn || any_unprotected(w));
	struct verdict v = {.again = false};
	if (w->unasked) {
		/* Nobody is told by mail: who it names has asked for nothing. */
		c->seen_unasked++;
		if (c->seen_unasked == 1) {
			log_event(LOG_LEVEL_ERROR,
				  "gate-mx asked to send on what no member has sent on; it is dropped. "
				  "Remedy: restart the service; where it comes again, have gate-mx examined");
		}
	} else {
		v = report_decide(&w->part, w->outcomes, w->last, warn);
		count(w);
	}
	if (v.failed + v.delayed + v.relayed == 0) {
		work_drop_message(w);
	}
	for (;;) {
		uint64_t generation = c->mixer_generation;
		enum err e = tell(w, &v);
		if (e == ERR_OK) {
			return;
		}
		if (e == ERR_FORMAT || e == ERR_LIMIT || e == ERR_UNSUPPORTED) {
			log_event(LOG_LEVEL_ERROR, "a report to a sender cannot be made: %s", err_text(e));
		}
		if (!wait_for_mixer(w, generation)) {
			return;
		}
	}
}
