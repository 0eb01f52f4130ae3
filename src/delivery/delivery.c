/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "delivery/delivery.h"

#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"
#include "mail/summary.h"

/* As in ipc/messages.h, which a pure library does not see; the mixer checks each part's form. */
enum { PART_COURIER = 1, PART_ARRIVAL = 2, PART_SENT = 3 };

struct sink {
	delivery_chunk_fn fn;
	void *arg;
	const uint8_t *name;
};

uint64_t
delivery_wire_size(struct bytes message)
{
	uint64_t size = message.len + DELIVERY_WIRE_ROOM;
	const uint8_t *p = message.ptr;
	const uint8_t *end = p + message.len;
	if (message.len > 0 && *p == '.') {
		size++;
	}
	while (p < end) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		if (lf == NULL || lf + 1 == end) {
			break;
		}
		size += lf[1] == '.' ? 1 : 0;
		p = lf + 1;
	}
	return size;
}

/* Of a unit of 8 MiB (ipc/messages.h), a quarter is for the parts to other providers and what stands around. */
enum {
	ARRIVALS_ROOM = 6 << 20,
	ARRIVAL_AROUND = 4 * 1024 /* addresses, a step of padding, the part's head */
};

static size_t
summary_room(size_t copies)
{
	size_t each = copies == 0 ? ARRIVALS_ROOM : ARRIVALS_ROOM / copies;
	return each > ARRIVAL_AROUND ? each - ARRIVAL_AROUND : 0;
}

enum err
delivery_init(struct delivery *d, struct blob_codec *codec, const uint8_t *name_key, struct bytes message,
	      size_t copies)
{
	memset(d, 0, sizeof(*d));
	d->codec = codec;
	d->name_key = name_key;
	d->message = message;
	buf_init(&d->frame, message.len + message.len / 64 + 4096);
	buf_init(&d->summary, MAIL_SUMMARY_MAX);
	struct arena arena;
	struct mail_structure structure;
	arena_init(&arena, MAIL_PARSE_MEMORY);
	enum err e = mail_parse(&arena, message, &structure);
	if (e == ERR_OK) {
		e = mail_summary_encode_within(&structure, summary_room(copies), &d->summary);
	}
	arena_clear(&arena);
	return e == ERR_OK ? blob_compress(codec, message, &d->frame) : e;
}

void
delivery_clear(struct delivery *d)
{
	buf_wipe(&d->frame);
	buf_wipe(&d->summary);
}

static enum err
pass_chunk(void *arg, uint32_t index, struct bytes chunk)
{
	struct sink *s = arg;
	return s->fn(s->arg, s->name, index, chunk);
}

enum err
delivery_seal_blob(struct delivery *d, const uint8_t account[SEALED_ID_LEN], struct blob_ref *ret_ref,
		   delivery_chunk_fn fn, void *arg)
{
	struct blob_ref ref;
	blob_ref_init(&ref);
	if (d->name_key != NULL) {
		blob_name(d->name_key, account, ref.name);
	}
	struct sink sink = {.fn = fn, .arg = arg, .name = ref.name};
	enum err e = blob_seal_frame(&ref, buf_bytes(&d->frame), d->message.len, pass_chunk, &sink);
	if (e == ERR_OK) {
		*ret_ref = ref;
	}
	explicit_bzero(&ref, sizeof(ref));
	return e;
}

size_t
delivery_fitting(const struct courier_part *part, size_t first)
{
	/* The longest forms; of ENVID each octet may become three (RFC 3461 section 4). */
	static const char mail[] =
	    "RSET\r\nMAIL FROM:<> SIZE=18446744073709551615 BODY=8BITMIME SMTPUTF8 REQUIRETLS "
	    "RET=FULL ENVID=\r\nDATA\r\n";
	static const char rcpt[] = "RCPT TO:<>\r\n";
	static const char notify[] = " NOTIFY=SUCCESS,FAILURE,DELAY";
	static const char orcpt[] = " ORCPT=";
	size_t octets = sizeof(mail) - 1 + part->sender.len + 3 * part->envid.len;
	size_t count = 0;
	for (size_t i = first; i < part->recipient_count && count < DELIVERY_RECIPIENTS; i++, count++) {
		const struct courier_recipient *r = &part->recipients[i];
		octets += sizeof(rcpt) - 1 + r->address.len;
		octets += r->notify != 0 ? sizeof(notify) - 1 : 0;
		octets += r->orcpt.len > 0 ? sizeof(orcpt) - 1 + r->orcpt.len : 0;
		if (octets > DELIVERY_FLIGHT && count > 0) {
			break;
		}
	}
	return count;
}

static enum err
put_part(struct buf *parts, uint8_t kind, const uint8_t account[SEALED_ID_LEN], const struct blob_ref *ref,
	 uint64_t quota, uint32_t epoch, struct bytes body)
{
	struct wire_writer w;
	size_t before = parts->len;
	wire_writer_init(&w, parts);
	wire_put_u8(&w, kind);
	wire_put_fixed(&w, account, SEALED_ID_LEN);
	wire_put_fixed(&w, ref->name, SEALED_ID_LEN);
	wire_put_u64(&w, ref->stored);
	wire_put_u64(&w, quota);
	wire_put_u32(&w, epoch);
	wire_put_bytes(&w, body);
	if (wire_done(&w) != ERR_OK) {
		buf_truncate(parts, before);
	}
	return wire_done(&w);
}

enum err
delivery_add_arrival(struct delivery *d, const struct delivery_target *target, delivery_chunk_fn fn,
		     void *arg, struct buf *parts)
{
	struct arrival a;
	struct buf body = BUF_INIT(ARRIVAL_SEALED_MAX);
	memset(&a, 0, sizeof(a));
	if (target->sent != NULL) {
		memcpy(a.delivery, target->sent, sizeof(a.delivery));
	} else {
		crypto_random_bytes(a.delivery, sizeof(a.delivery));
	}
	a.extra = target->extra;
	a.received = d->received;
	a.flags = d->flags | (d->sender.len == 0 ? ARRIVAL_NULL_SENDER : 0);
	a.sender = d->sender;
	a.recipient = target->recipient;
	a.summary = buf_bytes(&d->summary);
	enum err e = delivery_seal_blob(d, target->account, &a.blob, fn, arg);
	if (e == ERR_OK) {
		e = arrival_seal(target->account, target->generation, target->public_key, &a, &body);
	}
	if (e == ERR_OK) {
		e = put_part(parts, target->sent != NULL ? PART_SENT : PART_ARRIVAL, target->account, &a.blob,
			     target->quota, 0, buf_bytes(&body));
	}
	buf_clear(&body);
	explicit_bzero(&a, sizeof(a));
	return e;
}

enum err
delivery_add_courier(struct delivery *d, struct courier_part *part, uint32_t epoch,
		     const uint8_t spool_public[BOX_PUBLIC_LEN], const uint8_t unit[SEALED_ID_LEN],
		     uint32_t number, delivery_chunk_fn fn, void *arg, struct buf *parts)
{
	static const uint8_t nobody[SEALED_ID_LEN];
	struct buf body = BUF_INIT(SPOOL_PART_MAX);
	enum err e = delivery_seal_blob(d, nobody, &part->blob, fn, arg);
	if (e == ERR_OK) {
		e = courier_part_seal(part, epoch, spool_public, unit, number, &body);
	}
	if (e == ERR_OK) {
		e = put_part(parts, PART_COURIER, nobody, &part->blob, 0, epoch, buf_bytes(&body));
	}
	buf_clear(&body);
	explicit_bzero(part->blob.key, sizeof(part->blob.key));
	return e;
}
