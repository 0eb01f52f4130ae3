/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the end of data to 250: traced, sealed to each member, on disk. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/crypto.h"
#include "gate_mx/judge.h"
#include "law/law.h"
#include "mail/header.h"
#include "mail/traits.h"
#include "mail/write.h"
#include "process/log.h"
#include "sealed/judgement.h"

enum {
	PUT_LIMIT_MS = 60 * 1000,
	RECEIVED_MAX = 50, /* hops: more is a loop (RFC 5321 section 6.3) */
	HEADER_ROOM = 4096,
	UNIT_AROUND = 128 * 1024, /* what the mixer adds to the parts on their way to the store */
};

static void
peer_text(const uint8_t peer[16], char *ret, size_t n)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char text[INET6_ADDRSTRLEN] = "";
	if (memcmp(peer, mapped, sizeof(mapped)) == 0) {
		(void)inet_ntop(AF_INET, peer + 12, text, sizeof(text));
		(void)snprintf(ret, n, "[%s]", text);
	} else {
		(void)inet_ntop(AF_INET6, peer, text, sizeof(text));
		(void)snprintf(ret, n, "[IPv6:%s]", text);
	}
}

/* Return-Path, Authentication-Results and Received (RFC 5321 section 4.4, RFC 8601), for the member alone: they are sealed with the message. */
static enum err
write_trace(const struct mx_connection *c, const struct mx_judgement *j, const char *ref, msec wall,
	    struct buf *out)
{
	char peer[INET6_ADDRSTRLEN + 16];
	struct buf value = BUF_INIT(HEADER_ROOM);
	const char *protocol = c->smtp.smtp.tls ? (c->utf8 ? "UTF8SMTPS" : "ESMTPS")
			       : !c->extended   ? "SMTP"
			       : c->utf8        ? "UTF8SMTP"
						: "ESMTP";
	peer_text(c->peer, peer, sizeof(peer));
	enum err e = buf_printf(out, "Return-Path: <%.*s>\r\n", (int)c->sender.len,
				c->sender.len == 0 ? "" : (const char *)c->sender.ptr);
	if (e == ERR_OK && j->made) {
		e = authentication_results_write(c->mx->host->config.hostname, &j->results, out);
	}
	if (e == ERR_OK) {
		e = buf_printf(&value, "from %.*s (%s) by %s with %s id %s; ", (int)c->hello.len,
			       c->hello.len == 0 ? "" : (const char *)c->hello.ptr, peer,
			       c->mx->host->config.hostname, protocol, ref);
	}
	if (e == ERR_OK) {
		e = mail_write_date(&value, wall / 1000);
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "Received", buf_bytes(&value));
	}
	buf_wipe(&value);
	return e;
}

static enum err
send_chunk(void *arg, const uint8_t blob[SEALED_ID_LEN], uint32_t chunk, struct bytes data)
{
	struct mx *mx = arg;
	struct channel *ch = role_channel(mx->host, ROLE_MIXER, 0);
	struct msg_mix_blob m = {.chunk = chunk, .data = data};
	memcpy(m.blob, blob, sizeof(m.blob));
	if (ch == NULL) {
		return ERR_CLOSED;
	}
	/*
	 * The reply is not awaited: a chunk that was lost makes the claim in MIX_PUT fail. What a large
	 * message may queue is bounded by waiting here while the mixer is behind.
	 */
	if (channel_queued(ch) > CHANNEL_BUSY) {
		return channel_call(ch, MIX_BLOB, mix_blob, &m, loop_now(mx->host->loop) + PUT_LIMIT_MS,
				    NULL);
	}
	return channel_request(ch, MIX_BLOB, mix_blob, &m, 0, mx_ignore_reply, NULL);
}

void
mx_ignore_reply(void *arg, enum err status, struct bytes payload)
{
	(void)arg;
	(void)status;
	(void)payload;
}

/* What it is like, for her who has to decide whether she wants it: the same for all recipients. */
static enum err
write_judgement(const struct mx_connection *c, const struct mx_judgement *judged, struct buf *extra)
{
	struct bytes message = buf_bytes(&c->message);
	struct mail_structure s;
	struct arena arena;
	struct judgement *j = calloc(1, sizeof(*j));
	if (j == NULL) {
		return ERR_MEMORY;
	}
	arena_init(&arena, MAIL_PARSE_MEMORY);
	j->score = judged->score;
	enum err e = mail_parse(&arena, message, &s);
	e = e == ERR_OK ? mail_traits(&s, message, j->traits, &j->trait_count) : e;
	e = e == ERR_OK ? judgement_put(j, extra) : e;
	arena_clear(&arena);
	explicit_bzero(j, sizeof(*j));
	free(j);
	return e;
}

static enum err
seal_parts(struct mx_connection *c, struct delivery *d, struct bytes extra, struct buf *parts)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < c->target_count && e == ERR_OK && !c->gone; i++) {
		const struct mx_target *t = &c->targets[i];
		struct delivery_target target = {
		    .generation = t->account.generation,
		    .quota = lookup_ceiling(c->mx->host, &t->account),
		    .extra = extra,
		    .recipient = bytes_slice(buf_bytes(&c->addresses), t->recipient_at, t->recipient_len)};
		memcpy(target.account, t->account.id, SEALED_ID_LEN);
		memcpy(target.public_key, t->account.public_key, BOX_PUBLIC_LEN);
		e = delivery_add_arrival(d, &target, send_chunk, c->mx, parts);
	}
	return e;
}

static enum err
put_unit(struct mx_connection *c, struct bytes parts)
{
	struct msg_mix_put m = {.stage = IPC_STAGE_ARRIVING,
				.size = delivery_wire_size(buf_bytes(&c->message)),
				.weight = 1,
				.counts = c->waits ? 1 : 0,
				.lane = c->waits ? LAW_NORMAL : LAW_DUE};
	crypto_random_bytes(m.unit, sizeof(m.unit));
	/* Sending hosts are told apart, and not named: a keyed hash. */
	crypto_mac(c->mx->keys.key[PURPOSE_DIRECTORY_HASH], bytes_of(c->peer, sizeof(c->peer)), m.source);
	m.parts = parts;
	return mixer_put_unit(c->mx->host, &m);
}

static struct mx_reply
put_reply(enum err e)
{
	switch ((int)e) {
	case ERR_OK:
		return (struct mx_reply){0, NULL, NULL};
	case ERR_QUOTA:
		return (struct mx_reply){452, "4.2.2", "a recipient's mailbox is full"};
	case ERR_FULL:
		return (struct mx_reply){452, "4.3.1", "no space left, try again later"};
	case ERR_MEMORY:
		return (struct mx_reply){452, "4.3.1", "out of memory, try again later"};
	case ERR_LIMIT:
		return (struct mx_reply){552, "5.3.4", "message too large for so many recipients"};
	default:
		return (struct mx_reply){451, "4.3.0", "temporary failure, try again later"};
	}
}

struct mx_reply
mx_deliver(struct mx_connection *c)
{
	struct mx *mx = c->mx;
	char ref[LOG_REF_LEN + 1];
	msec wall = clock_wall();
	if (mail_count_received(buf_bytes(&c->message)) > RECEIVED_MAX) {
		return (struct mx_reply){554, "5.4.6", "too many hops: a mail loop"};
	}
	struct mx_judgement j;
	struct mx_reply refusal;
	enum err e = mx_judge(c, &j, &refusal);
	if (e == ERR_OK && refusal.code != 0) {
		if (refusal.code >= 500) {
			mx_tally(c, &j, true);
		}
		mx_judgement_clear(&j);
		return refusal;
	}
	if (e == ERR_OK && j.results.spf.result == AUTHENTICATION_PASS && !j.results.spf.of_hello) {
		mx_limits_proved(c);
	}
	log_ref(ref);
	struct buf whole = BUF_INIT(c->message.len + HEADER_ROOM * 8);
	struct buf parts = BUF_INIT(IPC_UNIT_MAX - UNIT_AROUND);
	struct buf extra = BUF_INIT(ARRIVAL_EXTRA_MAX);
	struct delivery d;
	memset(&d, 0, sizeof(d));
	if (e == ERR_OK) {
		e = write_trace(c, &j, ref, wall, &whole);
	}
	if (e == ERR_OK && mail_header_length(buf_bytes(&c->message)) == 0) {
		/* What has no header gets none by standing behind ours. */
		e = buf_append_str(&whole, "\r\n");
	}
	if (e == ERR_OK) {
		/* Whoever claims to have been judged by us, was not (RFC 8601 section 5). */
		e = authentication_results_strip(buf_bytes(&c->message), mx->host->config.hostname,
						 mx->host->config.domain, &whole);
	}
	if (e == ERR_OK) {
		e = write_judgement(c, &j, &extra);
	}
	if (e == ERR_OK) {
		e = delivery_init(&d, mx->codec, mx->keys.key[PURPOSE_BLOB_NAME], buf_bytes(&whole),
				  c->target_count);
	}
	if (e == ERR_OK) {
		d.received = (uint64_t)(wall / 1000);
		d.sender = buf_bytes(&c->sender);
		d.flags = (c->smtp.smtp.tls ? (uint32_t)ARRIVAL_ENCRYPTED : 0) |
			  (j.genuine ? (uint32_t)ARRIVAL_AUTHENTICATED : 0) |
			  (j.suspected ? (uint32_t)ARRIVAL_SPAM : 0);
		e = seal_parts(c, &d, buf_bytes(&extra), &parts);
		/* Who hung up hears no 250 and comes again: nothing of it may stay, least of all a part of the recipients. */
		e = e == ERR_OK && c->gone ? ERR_CLOSED : e;
	}
	if (e == ERR_OK) {
		/* Of many copies it may be much more than the message. */
		mx->held_bytes += parts.cap;
		e = put_unit(c, buf_bytes(&parts));
		mx->held_bytes -= parts.cap;
	}
	if (e == ERR_OK) {
		mx_look_for_report(c, j.genuine);
		mx_tally(c, &j, false);
		mx_forward(c, &j, buf_bytes(&whole), d.received, send_chunk);
	}
	delivery_clear(&d);
	mx_judgement_clear(&j);
	buf_wipe(&whole);
	buf_wipe(&parts);
	buf_wipe(&extra);
	return put_reply(e);
}
