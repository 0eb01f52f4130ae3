/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The parts of a message that leave the house: for other providers, and for where members have theirs sent on. */
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery.h"
#include "lookup/forward.h"
#include "mail/write.h"
#include "session/submission_message.h"
#include "session/submission_policy.h"
#include "session/submission_unit.h"

enum { OWN_PARTS = 2 }; /* of a unit: the author's copy and her report */

_Static_assert((int)SMTP_NOTIFY_NEVER == (int)SPOOL_NOTIFY_NEVER, "NOTIFY has one form");
_Static_assert((int)SMTP_NOTIFY_SUCCESS == (int)SPOOL_NOTIFY_SUCCESS, "NOTIFY has one form");
_Static_assert((int)SMTP_NOTIFY_FAILURE == (int)SPOOL_NOTIFY_FAILURE, "NOTIFY has one form");
_Static_assert((int)SMTP_NOTIFY_DELAY == (int)SPOOL_NOTIFY_DELAY, "NOTIFY has one form");
_Static_assert((int)SMTP_RET_FULL == (int)SPOOL_RET_FULL, "RET has one form");
_Static_assert((int)SMTP_RET_HDRS == (int)SPOOL_RET_HEADERS, "RET has one form");

static struct spool_key present_key;

static uint32_t
courier_flags(const struct submission_unit *s, struct bytes domain)
{
	const struct envelope *v = s->envelope;
	bool utf8 = v->sender_utf8;
	for (size_t i = 0; i < v->recipient_count; i++) {
		const struct recipient *r = &v->recipients[i];
		utf8 = utf8 || (r->utf8 && bytes_equal(envelope_view(v, r->domain), domain));
	}
	struct bytes message = buf_bytes(&s->leaving);
	/* Who did not say SMTPUTF8 sends raw octets in a header as has always been done; that is passed on as such. */
	utf8 = v->utf8 && (utf8 || mail_has_8bit_header(message));
	return (mail_has_8bit(message) ? (uint32_t)COURIER_8BIT : 0) |
	       (utf8 ? (uint32_t)COURIER_SMTPUTF8 : 0) |
	       (v->require_tls                   ? (uint32_t)COURIER_REQUIRETLS
		: submission_waives_tls(message) ? (uint32_t)COURIER_TLS_OPTIONAL
						 : 0) |
	       (submission_is_automatic(message) ? (uint32_t)COURIER_AUTOMATIC : 0);
}

static enum err
add_domain(struct submission_unit *s, struct delivery *d, const struct spool_key *key, struct bytes domain)
{
	const struct envelope *v = s->envelope;
	const struct directory_account *profile = &s->member->profile;
	struct courier_recipient *list = calloc(v->recipient_count, sizeof(*list));
	if (list == NULL) {
		return ERR_MEMORY;
	}
	struct courier_part part = {.domain = domain,
				    .sender = envelope_view(v, v->sender),
				    .generation = profile->generation,
				    .ret = v->ret,
				    .envid = envelope_view(v, v->envid),
				    .flags = courier_flags(s, domain),
				    .message_id = buf_bytes(&s->identity.id),
				    .entered = (uint64_t)s->now,
				    .recipients = list};
	memcpy(part.account, s->member->account, sizeof(part.account));
	memcpy(part.public_key, profile->public_key, sizeof(part.public_key));
	for (size_t i = 0; i < v->recipient_count; i++) {
		const struct recipient *r = &v->recipients[i];
		if (bytes_equal(envelope_view(v, r->domain), domain)) {
			list[part.recipient_count++] =
			    (struct courier_recipient){.address = envelope_view(v, r->address),
						       .notify = r->notify,
						       .orcpt = envelope_view(v, r->orcpt)};
		}
	}
	enum err e = ERR_OK;
	size_t all = part.recipient_count;
	for (size_t at = 0; at < all && e == ERR_OK;) {
		part.recipients = list;
		part.recipient_count = all;
		size_t n = delivery_fitting(&part, at);
		part.recipients = list + at;
		part.recipient_count = n;
		e = s->part_count + v->target_count < SPOOL_PARTS_MAX - OWN_PARTS
			? delivery_add_courier(d, &part, key->epoch, key->public_key, s->unit, s->part_count,
					       upload_chunk, &s->upload, &s->parts)
			: ERR_LIMIT;
		s->part_count += e == ERR_OK ? 1 : 0;
		s->deliveries += e == ERR_OK ? 1 : 0;
		at += n;
	}
	free(list);
	return e;
}

/* What comes to the address that copies are sent from stays. */
static bool
is_sent_on(const struct submission_unit *s, const struct target *t)
{
	struct bytes address = envelope_view(s->envelope, t->address);
	ptrdiff_t at = bytes_find_last(address, '@');
	struct bytes local = bytes_slice(address, 0, at < 0 ? 0 : (size_t)at);
	return t->account.forwards && !mail_subaddress_ends(local, '+', BYTES_LIT(FORWARD_WORD));
}

static bool
any_forwards(const struct submission_unit *s)
{
	for (size_t i = 0; i < s->envelope->target_count; i++) {
		if (is_sent_on(s, &s->envelope->targets[i])) {
			return true;
		}
	}
	return false;
}

/*
 * Copies for where a recipient of this house has her mail sent on: they are deliveries of this letter, and wait with it, so that none leaves
 * before the crowd does. Nobody but that recipient hears of them.
 */
static enum err
add_forwarded(struct submission_unit *s, struct delivery *d, const struct spool_key *key,
	      const uint8_t account[SEALED_ID_LEN])
{
	struct forward_plan plan;
	enum err e =
	    forward_plan_make(s->worker->host, &s->worker->keys, account, buf_bytes(&s->leaving), &plan);
	for (size_t i = 0; e == ERR_OK && i < plan.entry.forward_count; i++) {
		struct courier_recipient to;
		struct courier_part part = {.flags = courier_flags(s, BYTES_EMPTY),
					    .message_id = buf_bytes(&s->identity.id),
					    .entered = (uint64_t)s->now};
		if (s->part_count + s->envelope->target_count >= SPOOL_PARTS_MAX - OWN_PARTS) {
			break; /* she has her own copy */
		}
		forward_plan_part(&plan, i, s->envelope->sender.len == 0, &part, &to);
		e = delivery_add_courier(d, &part, key->epoch, key->public_key, s->unit, s->part_count,
					 upload_chunk, &s->upload, &s->parts);
		s->part_count += e == ERR_OK ? 1 : 0;
		s->deliveries += e == ERR_OK ? 1 : 0;
	}
	forward_plan_clear(&plan);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err
submission_add_remote(struct submission_unit *s)
{
	struct delivery d;
	memset(&d, 0, sizeof(d));
	if (s->envelope->domain_count == 0 && !any_forwards(s)) {
		return ERR_OK;
	}
	enum err e = spool_key_fetch(s->worker->host, &present_key);
	/* Others of this process may ask meanwhile. */
	const struct spool_key key = present_key;
	if (e == ERR_OK) {
		e = delivery_init(&d, s->worker->codec, s->worker->keys.key[PURPOSE_BLOB_NAME],
				  buf_bytes(&s->leaving), 1);
	}
	for (size_t i = 0; i < s->envelope->domain_count && e == ERR_OK; i++) {
		e = add_domain(s, &d, &key, envelope_view(s->envelope, s->envelope->domains[i]));
	}
	for (size_t i = 0; i < s->envelope->target_count && e == ERR_OK; i++) {
		const struct target *t = &s->envelope->targets[i];
		e = is_sent_on(s, t) ? add_forwarded(s, &d, &key, t->account.id) : ERR_OK;
	}
	delivery_clear(&d);
	return e;
}
