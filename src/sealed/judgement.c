/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/judgement.h"

#include "base/wire.h"

enum { EXTRA_JUDGEMENT = 3, HEAD_LEN = 2 };

enum err
judgement_put(const struct judgement *j, struct buf *extra)
{
	struct wire_writer w;
	if (j->trait_count > JUDGEMENT_TRAITS_MAX || j->score > JUDGEMENT_SCORE_MAX) {
		return ERR_LIMIT;
	}
	size_t before = extra->len;
	wire_writer_init(&w, extra);
	wire_put_u16(&w, EXTRA_JUDGEMENT);
	wire_put_u32(&w, (uint32_t)(HEAD_LEN + 4 * j->trait_count));
	wire_put_u16(&w, (uint16_t)j->score);
	for (size_t i = 0; i < j->trait_count; i++) {
		wire_put_u32(&w, j->traits[i]);
	}
	if (wire_done(&w) != ERR_OK) {
		buf_truncate(extra, before);
	}
	return wire_done(&w);
}

static enum err
read_value(struct bytes value, struct judgement *ret)
{
	struct wire_reader r;
	size_t count = value.len < HEAD_LEN ? 0 : (value.len - HEAD_LEN) / 4;
	wire_reader_init(&r, value);
	uint32_t score = wire_get_u16(&r);
	if (count > JUDGEMENT_TRAITS_MAX || score > JUDGEMENT_SCORE_MAX) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < count; i++) {
		ret->traits[i] = wire_get_u32(&r);
	}
	ret->score = score;
	ret->trait_count = count;
	return wire_end(&r);
}

enum err
judgement_of(struct bytes extra, struct judgement *ret)
{
	struct wire_reader r;
	wire_reader_init(&r, extra);
	while (r.rest.len > 0 && r.error == ERR_OK) {
		uint16_t type = wire_get_u16(&r);
		struct bytes value = wire_get_bytes(&r, ARRIVAL_EXTRA_MAX);
		if (r.error == ERR_OK && type == EXTRA_JUDGEMENT) {
			return read_value(value, ret);
		}
	}
	return r.error == ERR_OK ? ERR_NOT_FOUND : ERR_FORMAT;
}
