/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/secret.h"
#include "sealed/spool.h"
#include "sealed/value.h"

#define COURIER_BOX "cohue courier part 1"

enum { PART_STEP = 512, PART_FORWARDED = 2 };

static void
part_ad(struct sealed_ad *ad, uint32_t epoch, const uint8_t unit[SEALED_ID_LEN], uint32_t number)
{
	sealed_ad_init(ad, "");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put_u32(ad, epoch);
	sealed_ad_put(ad, unit, SEALED_ID_LEN);
	sealed_ad_put_u32(ad, number);
}

static enum err
check(const struct courier_part *p)
{
	bool long_text = p->domain.len > SPOOL_TEXT_MAX || p->sender.len > SPOOL_TEXT_MAX ||
			 p->envid.len > SPOOL_TEXT_MAX || p->message_id.len > SPOOL_TEXT_MAX;
	bool fit = p->ret <= SPOOL_RET_HEADERS && (p->flags & ~(uint32_t)COURIER_FLAGS_ALL) == 0 &&
		   (p->sender.len == 0 || (p->flags & COURIER_NULL_SENDER) == 0);
	bool forwarded = (p->flags & COURIER_FORWARDED) != 0;

	long_text = long_text || p->forwarder.len > SPOOL_TEXT_MAX || p->results.len > SPOOL_RESULTS_MAX ||
		    p->forwards.len > FORWARD_LIST_MAX;
	fit = fit && forwarded == (p->forwarder.len > 0) && forwarded == (p->forwards.len > 0) &&
	      (forwarded || (p->results.len == 0 && p->arc_result == 0 && p->arc_sets == 0));
	if (p->recipient_count > SPOOL_RECIPIENTS_MAX) {
		return ERR_LIMIT;
	}
	for (size_t i = 0; i < p->recipient_count; i++) {
		const struct courier_recipient *r = &p->recipients[i];
		long_text = long_text || r->address.len > SPOOL_TEXT_MAX || r->orcpt.len > SPOOL_TEXT_MAX ||
			    r->diagnostic.len > SPOOL_TEXT_MAX;
		fit = fit && r->notify <= SPOOL_NOTIFY_ALL && (unsigned)r->status <= SPOOL_RECIPIENT_FAILED;
	}
	return long_text ? ERR_LIMIT : !fit || p->recipient_count == 0 ? ERR_FORMAT : ERR_OK;
}

static enum err
encode(const struct courier_part *p, struct buf *ret)
{
	struct wire_writer w;
	bool forwarded = (p->flags & COURIER_FORWARDED) != 0;
	wire_writer_init(&w, ret);
	wire_put_u8(&w, forwarded ? PART_FORWARDED : SEALED_VERSION);
	wire_put_bytes(&w, p->domain);
	wire_put_bytes(&w, p->sender);
	wire_put_fixed(&w, p->account, SEALED_ID_LEN);
	wire_put_u32(&w, p->generation);
	wire_put_fixed(&w, p->public_key, BOX_PUBLIC_LEN);
	wire_put_u8(&w, p->ret);
	wire_put_bytes(&w, p->envid);
	blob_ref_put(&w, &p->blob);
	wire_put_u32(&w, p->flags);
	wire_put_bytes(&w, p->message_id);
	wire_put_u64(&w, p->first_release);
	wire_put_u64(&w, p->entered);
	wire_put_u16(&w, (uint16_t)p->recipient_count);
	for (size_t i = 0; i < p->recipient_count; i++) {
		wire_put_bytes(&w, p->recipients[i].address);
		wire_put_u8(&w, p->recipients[i].notify);
		wire_put_u8(&w, (uint8_t)p->recipients[i].status);
		wire_put_bytes(&w, p->recipients[i].orcpt);
		wire_put_bytes(&w, p->recipients[i].diagnostic);
	}
	if (forwarded) {
		wire_put_bytes(&w, p->forwarder);
		wire_put_bytes(&w, p->results);
		wire_put_u8(&w, p->arc_result);
		wire_put_u8(&w, p->arc_sets);
		wire_put_bytes(&w, p->forwards);
		wire_put_fixed(&w, p->forwards_signature, SIGN_LEN);
	}
	return wire_done(&w);
}

enum err
courier_part_seal(const struct courier_part *part, uint32_t epoch, const uint8_t public_key[BOX_PUBLIC_LEN],
		  const uint8_t unit[SEALED_ID_LEN], uint32_t number, struct buf *ret)
{
	struct buf plain = BUF_INIT(SPOOL_PART_MAX - 1024);
	struct wire_writer w;
	struct sealed_ad ad;
	size_t before = ret->len;

	enum err e = check(part);
	if (e != ERR_OK) {
		return e;
	}
	e = encode(part, &plain);
	if (e == ERR_OK) {
		plain.max = SPOOL_PART_MAX;
		e = sealed_pad(&plain, 0, sealed_step(plain.len, PART_STEP));
	}
	part_ad(&ad, epoch, unit, number);
	wire_writer_init(&w, ret);
	wire_put_u8(&w, SEALED_VERSION);
	wire_put_u32(&w, epoch);
	if (e == ERR_OK) {
		e = wire_done(&w);
	}
	if (e == ERR_OK) {
		e = box_seal(public_key, COURIER_BOX, sealed_ad_bytes(&ad), buf_bytes(&plain), ret);
	}
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	buf_wipe(&plain);
	return e;
}

enum err
courier_part_epoch(struct bytes sealed, uint32_t *ret_epoch)
{
	struct wire_reader r;
	wire_reader_init(&r, sealed);
	uint8_t version = wire_get_u8(&r);
	uint32_t epoch = wire_get_u32(&r);
	if (r.error != ERR_OK || sealed.len > SPOOL_PART_MAX) {
		return ERR_FORMAT;
	}
	if (version != SEALED_VERSION) {
		return ERR_UNSUPPORTED;
	}
	*ret_epoch = epoch;
	return ERR_OK;
}

enum err
courier_part_decode(struct bytes plain, struct arena *arena, struct courier_part *ret)
{
	struct wire_reader r;
	struct courier_part got = {.recipient_count = 0};

	wire_reader_init(&r, plain);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != SEALED_VERSION && version != PART_FORWARDED) {
		return ERR_UNSUPPORTED;
	}
	got.domain = wire_get_bytes(&r, SPOOL_TEXT_MAX);
	got.sender = wire_get_bytes(&r, SPOOL_TEXT_MAX);
	wire_get_fixed(&r, got.account, SEALED_ID_LEN);
	got.generation = wire_get_u32(&r);
	wire_get_fixed(&r, got.public_key, BOX_PUBLIC_LEN);
	got.ret = wire_get_u8(&r);
	got.envid = wire_get_bytes(&r, SPOOL_TEXT_MAX);
	blob_ref_get(&r, &got.blob);
	got.flags = wire_get_u32(&r);
	got.message_id = wire_get_bytes(&r, SPOOL_TEXT_MAX);
	got.first_release = wire_get_u64(&r);
	got.entered = wire_get_u64(&r);
	size_t count = wire_get_u16(&r);
	sealed_expect(&r, count >= 1 && count <= SPOOL_RECIPIENTS_MAX);
	if (r.error == ERR_OK) {
		got.recipients = arena_array(arena, count, sizeof(*got.recipients));
		if (got.recipients == NULL) {
			return ERR_MEMORY;
		}
		got.recipient_count = count;
	}
	for (size_t i = 0; i < got.recipient_count && r.error == ERR_OK; i++) {
		got.recipients[i].address = wire_get_bytes(&r, SPOOL_TEXT_MAX);
		got.recipients[i].notify = wire_get_u8(&r);
		got.recipients[i].status = (enum spool_recipient_status)wire_get_u8(&r);
		got.recipients[i].orcpt = wire_get_bytes(&r, SPOOL_TEXT_MAX);
		got.recipients[i].diagnostic = wire_get_bytes(&r, SPOOL_TEXT_MAX);
	}
	if (version == PART_FORWARDED) {
		got.forwarder = wire_get_bytes(&r, SPOOL_TEXT_MAX);
		got.results = wire_get_bytes(&r, SPOOL_RESULTS_MAX);
		got.arc_result = wire_get_u8(&r);
		got.arc_sets = wire_get_u8(&r);
		got.forwards = wire_get_bytes(&r, FORWARD_LIST_MAX);
		wire_get_fixed(&r, got.forwards_signature, SIGN_LEN);
	}
	sealed_expect(&r, (version == PART_FORWARDED) == ((got.flags & COURIER_FORWARDED) != 0));
	enum err e = wire_end(&r);
	if (e == ERR_OK && check(&got) != ERR_OK) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		*ret = got;
	}
	return e;
}

enum err
courier_part_open(const uint8_t secret[BOX_SECRET_LEN], const uint8_t public_key[BOX_PUBLIC_LEN],
		  const uint8_t unit[SEALED_ID_LEN], uint32_t number, struct bytes sealed,
		  struct buf *ret_plain, struct arena *arena, struct courier_part *ret)
{
	struct sealed_ad ad;
	uint32_t epoch = 0;
	size_t before = ret_plain->len;

	enum err e = courier_part_epoch(sealed, &epoch);
	if (e != ERR_OK) {
		return e;
	}
	part_ad(&ad, epoch, unit, number);
	e = box_open(secret, public_key, COURIER_BOX, sealed_ad_bytes(&ad), bytes_from(sealed, 5), ret_plain);
	if (e != ERR_OK) {
		return e;
	}
	e = sealed_unpad(ret_plain, before);
	if (e == ERR_OK) {
		e = courier_part_decode(bytes_from(buf_bytes(ret_plain), before), arena, ret);
	}
	if (e != ERR_OK) {
		secret_wipe(ret_plain->ptr + before, ret_plain->len - before);
		buf_truncate(ret_plain, before);
	}
	return e;
}
