/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/journal.h"

#include <string.h>

#include "base/secret.h"
#include "sealed/value.h"

static bool
fits(const struct journal_line *l)
{
	return l->event >= JOURNAL_SUBMITTED && l->event < JOURNAL__COUNT &&
	       (unsigned)l->wait < JOURNAL_WAIT__COUNT && (unsigned)l->proof < JOURNAL_PROOF__COUNT &&
	       l->time <= UINT64_C(253402300799);
}

enum err
journal_encode(const struct journal_line *line, struct buf *out)
{
	struct wire_writer w;
	if (line->reference.len > JOURNAL_TEXT_MAX || line->message_id.len > JOURNAL_TEXT_MAX ||
	    line->domain.len > JOURNAL_TEXT_MAX || line->text.len > JOURNAL_TEXT_MAX) {
		return ERR_LIMIT;
	}
	if (!fits(line)) {
		return ERR_FORMAT;
	}
	wire_writer_init(&w, out);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u8(&w, (uint8_t)line->event);
	wire_put_fixed(&w, line->unit, SEALED_ID_LEN);
	wire_put_u64(&w, line->time);
	wire_put_u8(&w, line->lane);
	wire_put_u64(&w, line->hold);
	wire_put_bytes(&w, line->reference);
	wire_put_bytes(&w, line->message_id);
	wire_put_u8(&w, line->size_class);
	wire_put_u32(&w, line->recipients);
	wire_put_u8(&w, (uint8_t)line->wait);
	wire_put_u32(&w, line->crowd);
	wire_put_u32(&w, line->batch);
	wire_put_bytes(&w, line->domain);
	wire_put_u16(&w, line->tls);
	wire_put_u8(&w, (uint8_t)line->proof);
	wire_put_u8(&w, line->padded ? 1 : 0);
	wire_put_bytes(&w, line->text);
	return wire_done(&w);
}

enum err
journal_decode(struct bytes plain, struct journal_line *ret)
{
	struct wire_reader r;
	struct journal_line got;
	wire_reader_init(&r, plain);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	uint8_t event = wire_get_u8(&r);
	got.event = (enum journal_event)event;
	wire_get_fixed(&r, got.unit, SEALED_ID_LEN);
	got.time = wire_get_u64(&r);
	got.lane = wire_get_u8(&r);
	got.hold = wire_get_u64(&r);
	got.reference = wire_get_bytes(&r, JOURNAL_TEXT_MAX);
	got.message_id = wire_get_bytes(&r, JOURNAL_TEXT_MAX);
	got.size_class = wire_get_u8(&r);
	got.recipients = wire_get_u32(&r);
	uint8_t wait = wire_get_u8(&r);
	got.wait = (enum journal_wait)wait;
	got.crowd = wire_get_u32(&r);
	got.batch = wire_get_u32(&r);
	got.domain = wire_get_bytes(&r, JOURNAL_TEXT_MAX);
	got.tls = wire_get_u16(&r);
	uint8_t proof = wire_get_u8(&r);
	uint8_t padded = wire_get_u8(&r);
	got.proof = (enum journal_proof)proof;
	got.padded = padded == 1;
	got.text = wire_get_bytes(&r, JOURNAL_TEXT_MAX);
	sealed_expect(&r, padded <= 1 && fits(&got));
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = got;
	}
	return e;
}

enum err
journal_put_extra(const struct journal_line *line, struct buf *extra)
{
	struct buf plain = BUF_INIT(JOURNAL_LINE_MAX);
	struct wire_writer w;
	enum err e = journal_encode(line, &plain);
	if (e == ERR_OK) {
		wire_writer_init(&w, extra);
		wire_put_u16(&w, ARRIVAL_EXTRA_JOURNAL);
		wire_put_bytes(&w, buf_bytes(&plain));
		e = wire_done(&w);
	}
	buf_wipe(&plain);
	return e;
}

enum err
journal_seal(const uint8_t account[SEALED_ID_LEN], uint32_t generation,
	     const uint8_t public_key[BOX_PUBLIC_LEN], const uint8_t delivery[SEALED_ID_LEN],
	     const struct journal_line *line, struct buf *ret)
{
	struct buf extra = BUF_INIT(ARRIVAL_EXTRA_MAX);
	enum err e = journal_put_extra(line, &extra);
	if (e == ERR_OK) {
		/* There is no blob; a reference must be sound. */
		struct arrival a = {.blob = {.stored = blob_ladder(1) + BLOB_CHUNK_OVERHEAD, .chunks = 1},
				    .received = line->time,
				    .flags = ARRIVAL_JOURNAL | ARRIVAL_NULL_SENDER,
				    .extra = buf_bytes(&extra)};
		memcpy(a.delivery, delivery, SEALED_ID_LEN);
		e = arrival_seal(account, generation, public_key, &a, ret);
	}
	buf_wipe(&extra);
	return e;
}

enum err
journal_of_arrival(const struct arrival *arrival, struct journal_line *ret)
{
	struct wire_reader r;
	wire_reader_init(&r, arrival->extra);
	while (r.error == ERR_OK && r.rest.len > 0) {
		uint16_t type = wire_get_u16(&r);
		struct bytes value = wire_get_bytes(&r, ARRIVAL_EXTRA_MAX);
		if (r.error == ERR_OK && type == ARRIVAL_EXTRA_JOURNAL) {
			return journal_decode(value, ret);
		}
	}
	return r.error == ERR_OK ? ERR_NOT_FOUND : ERR_FORMAT;
}
