/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/arrival.h"

#include "base/secret.h"
#include "sealed/value.h"

#define ARRIVAL_BOX "cohue arrival 1"

/*
 * The size of the summary tells of subject and addresses: coarse steps. The first holds 992 of 1000 real messages, and
 * is as much as leaves the store's row within one page (a row of more than 1002 octets takes a page of its own: once
 * while it waits, and again in the log).
 */
enum { FIRST_STEP = 880, STEP = 1024 };

static size_t
padded_length(size_t n)
{
	if (n < FIRST_STEP) {
		return FIRST_STEP;
	}
	size_t padded = n < STEP ? (size_t)STEP * 2 : sealed_step(n, STEP);
	return padded > (size_t)16 * 1024 ? sealed_step(n, 8192) : padded;
}

static void
arrival_ad(struct sealed_ad *ad, const uint8_t account[SEALED_ID_LEN], uint32_t generation)
{
	sealed_ad_init(ad, "");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, account, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, generation);
}

/* Types are for later versions; what is here must at least be whole. */
static bool
extra_is_whole(struct bytes extra)
{
	struct wire_reader r;
	wire_reader_init(&r, extra);
	while (r.error == ERR_OK && r.rest.len > 0) {
		(void)wire_get_u16(&r);
		(void)wire_get_bytes(&r, ARRIVAL_EXTRA_MAX);
	}
	return r.error == ERR_OK;
}

static bool
flags_fit(uint32_t flags, struct bytes sender)
{
	return (flags & ~(uint32_t)ARRIVAL_FLAGS_ALL) == 0 &&
	       (sender.len == 0 || (flags & ARRIVAL_NULL_SENDER) == 0);
}

static enum err
encode(const struct arrival *a, struct buf *ret)
{
	struct wire_writer w;
	wire_writer_init(&w, ret);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_fixed(&w, a->delivery, SEALED_ID_LEN);
	blob_ref_put(&w, &a->blob);
	wire_put_u64(&w, a->received);
	wire_put_u32(&w, a->flags);
	wire_put_bytes(&w, a->sender);
	wire_put_bytes(&w, a->recipient);
	wire_put_bytes(&w, a->summary);
	wire_put_bytes(&w, a->extra);
	return wire_done(&w);
}

enum err
arrival_seal(const uint8_t account[SEALED_ID_LEN], uint32_t generation,
	     const uint8_t public_key[BOX_PUBLIC_LEN], const struct arrival *arrival, struct buf *ret)
{
	struct buf plain = BUF_INIT(ARRIVAL_SEALED_MAX);
	struct sealed_ad ad;
	struct wire_writer w;
	size_t before = ret->len;

	if (arrival->sender.len > ARRIVAL_ADDRESS_MAX || arrival->recipient.len > ARRIVAL_ADDRESS_MAX ||
	    arrival->summary.len > ARRIVAL_SUMMARY_MAX || arrival->extra.len > ARRIVAL_EXTRA_MAX) {
		return ERR_LIMIT;
	}
	if (!flags_fit(arrival->flags, arrival->sender) || !extra_is_whole(arrival->extra)) {
		return ERR_FORMAT;
	}
	enum err e = encode(arrival, &plain);
	if (e == ERR_OK) {
		e = sealed_pad(&plain, 0, padded_length(plain.len));
	}
	arrival_ad(&ad, account, generation);
	wire_writer_init(&w, ret);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u32(&w, generation);
	if (e == ERR_OK) {
		e = wire_done(&w);
	}
	if (e == ERR_OK) {
		e = box_seal(public_key, ARRIVAL_BOX, sealed_ad_bytes(&ad), buf_bytes(&plain), ret);
	}
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	buf_wipe(&plain);
	return e;
}

enum err
arrival_decode(struct bytes plain, struct arrival *ret)
{
	struct wire_reader r;
	struct arrival got;

	wire_reader_init(&r, plain);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	wire_get_fixed(&r, got.delivery, SEALED_ID_LEN);
	blob_ref_get(&r, &got.blob);
	got.received = wire_get_u64(&r);
	got.flags = wire_get_u32(&r);
	got.sender = wire_get_bytes(&r, ARRIVAL_ADDRESS_MAX);
	got.recipient = wire_get_bytes(&r, ARRIVAL_ADDRESS_MAX);
	got.summary = wire_get_bytes(&r, ARRIVAL_SUMMARY_MAX);
	got.extra = wire_get_bytes(&r, ARRIVAL_EXTRA_MAX);
	sealed_expect(&r, flags_fit(got.flags, got.sender) && extra_is_whole(got.extra));
	/* Seconds that fit a calendar: year 9999. */
	sealed_expect(&r, got.received <= UINT64_C(253402300799));
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = got;
	}
	secret_wipe(&got, sizeof(got));
	return e;
}

enum err
arrival_open(const uint8_t account[SEALED_ID_LEN], const struct member_keys *keys, struct bytes sealed,
	     struct buf *ret_plain, struct arrival *ret)
{
	struct wire_reader r;
	struct sealed_ad ad;
	size_t before = ret_plain->len;

	wire_reader_init(&r, sealed);
	uint8_t version = wire_get_u8(&r);
	uint32_t generation = wire_get_u32(&r);
	if (r.error != ERR_OK || sealed.len > ARRIVAL_SEALED_MAX) {
		return ERR_FORMAT;
	}
	if (version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	const struct member_key *k = member_keys_find(keys, generation);
	if (k == NULL) {
		return ERR_NOT_FOUND;
	}
	arrival_ad(&ad, account, generation);
	enum err e = box_open(k->secret, k->public_key, ARRIVAL_BOX, sealed_ad_bytes(&ad), wire_get_rest(&r),
			      ret_plain);
	if (e != ERR_OK) {
		return e;
	}
	e = sealed_unpad(ret_plain, before);
	if (e == ERR_OK) {
		e = arrival_decode(bytes_from(buf_bytes(ret_plain), before), ret);
	}
	if (e != ERR_OK) {
		secret_wipe(ret_plain->ptr + before, ret_plain->len - before);
		buf_truncate(ret_plain, before);
	}
	return e;
}
