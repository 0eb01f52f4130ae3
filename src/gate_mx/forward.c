/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Copies for those who have their mail sent on. Her own is on disk by now, and that is what 250 promises: whatever goes wrong here costs the
 * copy elsewhere alone, is counted, and never brings the sender back with a second message.
 */
#include <string.h>

#include "crypto/crypto.h"
#include "gate_mx/judge.h"
#include "law/law.h"
#include "lookup/forward.h"
#include "mail/write.h"
#include "sealed/judgement.h"

enum {
	UNWANTED = 50, /* as the session has it: goes into Junk */
	SETS_MAX = 20, /* of an ARC chain: more hops than mail takes */
	PARTS_ROOM = 1 << 20,
};

static struct spool_key present_key;

/* One message that goes on. */
struct onward {
	struct mx_connection *c;
	struct delivery d;
	struct spool_key key;
	struct bytes message; /* with our trace, without Return-Path */
	struct bytes results; /* payload of Authentication-Results; empty: nothing is sealed */
	const struct mx_judgement *judged;
	delivery_chunk_fn send;
};

static size_t
count_wishes(const struct mx_connection *c)
{
	size_t count = 0;
	for (size_t i = 0; i < c->target_count; i++) {
		count += c->targets[i].account.forwards && !c->targets[i].returned ? 1 : 0;
	}
	return count;
}

/* What nobody has looked at may be forged, and would go on in the house's name. */
static bool
is_wanted(const struct mx_judgement *j)
{
	return j->made && !j->suspected && j->score < UNWANTED && j->results.arc.sets < SETS_MAX;
}

/* 0 stays none. */
static uint32_t
times(uint32_t limit, uint16_t multiple)
{
	uint64_t most = (uint64_t)limit * (multiple == 0 ? 1 : multiple);
	return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

/* The limits of what she may send hold for what she has sent on, too: numbers alone, in memory, of this process. */
static bool
is_within_limits(struct mx *mx, const struct directory_account *entry)
{
	const struct config *config = &mx->host->config;
	struct bytes who = bytes_of(entry->id, sizeof(entry->id));
	msec now = loop_now(mx->host->loop);
	uint32_t day = times(config->sending_recipients_day, entry->limit_times);
	uint32_t hour = times(config->sending_messages, entry->limit_times);
	return entry->limit_times == DIRECTORY_LIMIT_NONE ||
	       (rate_take(mx->rates, RATE_FORWARD_DAY, who, day, MSEC_DAY, (unsigned)entry->forward_count,
			  now) &&
		rate_take(mx->rates, RATE_FORWARD, who, hour, MSEC_HOUR, 1, now));
}

/* One unit for each who forwards: nobody learns from it who else does. */
static enum err
put(struct onward *o, const struct forward_plan *plan)
{
	struct mx_connection *c = o->c;
	bool null_sender = c->sender.len == 0;
	struct buf parts = BUF_INIT(PARTS_ROOM);
	struct msg_mix_put m = {.stage = IPC_STAGE_FORWARDING,
				.size = delivery_wire_size(o->message),
				.weight = (uint16_t)plan->entry.forward_count};
	memcpy(m.sender, plan->entry.id, sizeof(m.sender));
	crypto_random_bytes(m.unit, sizeof(m.unit));
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < plan->entry.forward_count; i++) {
		struct courier_recipient to;
		struct courier_part part = {
		    .flags = (mail_has_8bit(o->message) ? (uint32_t)COURIER_8BIT : 0) |
			     (c->utf8 && mail_has_8bit_header(o->message) ? (uint32_t)COURIER_SMTPUTF8 : 0),
		    .entered = o->d.received,
		    .results = o->results,
		    .arc_result = o->results.len > 0 ? (uint8_t)o->judged->results.arc.result : 0,
		    .arc_sets = o->results.len > 0 ? (uint8_t)o->judged->results.arc.sets : 0};
		forward_plan_part(plan, i, null_sender, &part, &to);
		e = delivery_add_courier(&o->d, &part, o->key.epoch, o->key.public_key, m.unit, (uint32_t)i,
					 o->send, c->mx, &parts);
	}
	if (e == ERR_OK) {
		m.parts = buf_bytes(&parts);
		e = mixer_put_unit(c->mx->host, &m);
	}
	buf_wipe(&parts);
	return e;
}

static void
send_on(struct onward *o, const uint8_t account[SEALED_ID_LEN])
{
	struct mx *mx = o->c->mx;
	struct forward_plan plan;
	enum err e = forward_plan_make(mx->host, &mx->keys, account, o->message, &plan);
	if (e == ERR_OK && !is_within_limits(mx, &plan.entry)) {
		e = ERR_LIMIT;
	}
	e = e == ERR_OK ? put(o, &plan) : e;
	mx->seen_forwarded += e == ERR_OK ? 1 : 0;
	mx->seen_kept += e == ERR_OK ? 0 : 1;
	forward_plan_clear(&plan);
}

/* The payload, without the field's name. A chain that could not be looked at now is not called broken for ever: no seal, then; nor where one
 * before us has called it so (RFC 8617 section 5.1). */
static enum err
write_results(const struct mx_connection *c, const struct mx_judgement *j, struct buf *text,
	      struct bytes *ret)
{
	bool seal = j->made && j->results.arc.result != AUTHENTICATION_TEMPERROR && !j->results.arc.ended;
	enum err e =
	    seal ? authentication_results_write(c->mx->host->config.hostname, &j->results, text) : ERR_OK;
	ptrdiff_t colon = bytes_find(buf_bytes(text), ':');
	struct bytes payload =
	    colon < 0 ? BYTES_EMPTY : bytes_trim(bytes_from(buf_bytes(text), (size_t)colon + 1));
	*ret = payload.len <= SPOOL_RESULTS_MAX ? payload : BYTES_EMPTY;
	return e;
}

void
mx_forward(struct mx_connection *c, const struct mx_judgement *j, struct bytes whole, uint64_t received,
	   delivery_chunk_fn send)
{
	struct mx *mx = c->mx;
	struct onward o = {.c = c, .judged = j, .send = send};
	struct buf text = BUF_INIT(64 * 1024);
	size_t wishes = count_wishes(c);
	if (wishes == 0) {
		return;
	}
	if (!is_wanted(j)) {
		mx->seen_kept += wishes;
		return;
	}
	/* Return-Path is of the last one who delivers (RFC 5321 section 4.4): the first line of our trace. */
	o.message = bytes_from(whole, (size_t)(bytes_find(whole, '\n') + 1));
	enum err e = spool_key_fetch(mx->host, &present_key);
	o.key = present_key;
	e = e == ERR_OK ? write_results(c, j, &text, &o.results) : e;
	e = e == ERR_OK ? delivery_init(&o.d, mx->codec, mx->keys.key[PURPOSE_BLOB_NAME], o.message, 1) : e;
	o.d.received = received;
	for (size_t i = 0; i < c->target_count; i++) {
		const struct mx_target *t = &c->targets[i];
		if (!t->account.forwards || t->returned) {
			continue;
		}
		if (e == ERR_OK) {
			send_on(&o, t->account.id);
		} else {
			mx->seen_kept++;
		}
	}
	delivery_clear(&o.d);
	buf_wipe(&text);
}
