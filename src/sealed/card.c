/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/card.h"

#include "base/secret.h"
#include "sealed/value.h"

enum err
card_encode(const struct card *card, struct buf *ret)
{
	struct wire_writer w;
	size_t before = ret->len;

	if (card->sender.len > ARRIVAL_ADDRESS_MAX || card->recipient.len > ARRIVAL_ADDRESS_MAX ||
	    card->summary.len > ARRIVAL_SUMMARY_MAX) {
		return ERR_LIMIT;
	}
	if ((card->flags & ~(uint32_t)ARRIVAL_FLAGS_ALL) != 0) {
		return ERR_FORMAT;
	}
	wire_writer_init(&w, ret);
	wire_put_u8(&w, SEALED_VERSION);
	blob_ref_put(&w, &card->blob);
	wire_put_u64(&w, card->internal_date);
	wire_put_u32(&w, card->flags);
	wire_put_bytes(&w, card->sender);
	wire_put_bytes(&w, card->recipient);
	wire_put_bytes(&w, card->summary);
	enum err e = wire_done(&w);
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	return e;
}

enum err
card_decode(struct bytes data, struct card *ret)
{
	struct wire_reader r;
	struct card got;

	wire_reader_init(&r, data);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	blob_ref_get(&r, &got.blob);
	got.internal_date = wire_get_u64(&r);
	got.flags = wire_get_u32(&r);
	got.sender = wire_get_bytes(&r, ARRIVAL_ADDRESS_MAX);
	got.recipient = wire_get_bytes(&r, ARRIVAL_ADDRESS_MAX);
	got.summary = wire_get_bytes(&r, ARRIVAL_SUMMARY_MAX);
	sealed_expect(&r, (got.flags & ~(uint32_t)ARRIVAL_FLAGS_ALL) == 0);
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = got;
	}
	secret_wipe(&got, sizeof(got));
	return e;
}

void
card_of_arrival(const struct arrival *arrival, struct card *ret)
{
	ret->blob = arrival->blob;
	ret->internal_date = arrival->received;
	ret->flags = arrival->flags;
	ret->sender = arrival->sender;
	ret->recipient = arrival->recipient;
	ret->summary = arrival->summary;
}
