/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Units and classes: their durable forms, and the ladder of sizes. */
#include <stdlib.h>

#include "law/law_internal.h"

enum { UNIT_VERSION = 1, CLASS_VERSION = 2, TICK_VERSION = 1, FLAG_COUNTS = 1 };

/* Of stored numbers: sums and products of a decision stay within 64 bits. */
static const uint64_t GONE_MAX = (uint64_t)1 << 40;
static const uint64_t TIME_MAX = INT64_MAX / 4;

void
law_unit_init(struct law_unit *unit)
{
	*unit = (struct law_unit){.entered = LAW_UNDRAWN,
				  .due = LAW_UNDRAWN,
				  .alone = LAW_UNDRAWN,
				  .weight = 1,
				  .lane = LAW_NORMAL,
				  .counts = true};
}

enum err
law_unit_encode(const struct law_unit *unit, struct buf *out)
{
	struct wire_writer w;
	uint8_t flags = unit->counts ? FLAG_COUNTS : 0;
	wire_writer_init(&w, out);
	wire_put_u8(&w, UNIT_VERSION);
	wire_put_u64(&w, unit->member);
	wire_put_u64(&w, (uint64_t)unit->entered);
	wire_put_u64(&w, (uint64_t)unit->due);
	wire_put_u32(&w, unit->weight);
	wire_put_u8(&w, unit->size_class);
	wire_put_u8(&w, unit->lane);
	wire_put_u8(&w, flags);
	return wire_done(&w);
}

void
law_unit_read(struct wire_reader *r, uint64_t id, struct law_unit *ret)
{
	struct law_unit unit = {.id = id, .alone = LAW_UNDRAWN};
	uint8_t version = wire_get_u8(r);
	if (r->error == ERR_OK && version != UNIT_VERSION) {
		wire_fail(r, ERR_UNSUPPORTED);
	}
	unit.member = wire_get_u64(r);
	uint64_t entered = wire_get_u64(r);
	uint64_t due = wire_get_u64(r);
	unit.weight = wire_get_u32(r);
	unit.size_class = wire_get_u8(r);
	unit.lane = wire_get_u8(r);
	uint8_t flags = wire_get_u8(r);
	bool due_fits = due <= TIME_MAX || due == (uint64_t)LAW_UNDRAWN;
	if (r->error == ERR_OK &&
	    (entered > TIME_MAX || !due_fits || unit.weight == 0 || unit.weight > LAW_WEIGHT_MAX ||
	     unit.size_class >= LAW_CLASSES || unit.lane > LAW_DUE || (flags & ~FLAG_COUNTS) != 0)) {
		wire_fail(r, ERR_FORMAT);
	}
	if (r->error != ERR_OK) {
		return;
	}
	unit.entered = (msec)entered;
	unit.due = due > TIME_MAX ? LAW_UNDRAWN : (msec)due;
	unit.counts = (flags & FLAG_COUNTS) != 0;
	*ret = unit;
}

enum err
law_unit_decode(struct bytes data, uint64_t id, struct law_unit *ret)
{
	struct wire_reader r;
	struct law_unit unit;
	wire_reader_init(&r, data);
	law_unit_read(&r, id, &unit);
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = unit;
	}
	return e;
}

enum err
law_class_encode(const struct law *law, const struct law_decision *decision, unsigned size_class,
		 struct buf *out)
{
	struct wire_writer w;
	if (size_class >= LAW_CLASSES) {
		return ERR_FORMAT;
	}
	const struct law_counters *c = &law->classes[size_class].counters;
	if (decision != NULL && (decision->classes & (1U << size_class)) != 0) {
		c = &((const struct law_after *)decision->after)->counters[size_class];
	}
	wire_writer_init(&w, out);
	wire_put_u8(&w, CLASS_VERSION);
	wire_put_u64(&w, (uint64_t)c->opened);
	wire_put_u64(&w, c->urgent);
	wire_put_u32(&w, (uint32_t)c->gone_count);
	for (size_t i = 0; i < c->gone_count; i++) {
		wire_put_u64(&w, c->gone[i].member);
		wire_put_u64(&w, c->gone[i].weight);
	}
	return wire_done(&w);
}

enum err
law_class_decode(struct law *law, unsigned size_class, struct bytes data)
{
	struct wire_reader r;
	struct law_counters c = {.gone = NULL};
	uint64_t sum = 0;
	if (size_class >= LAW_CLASSES) {
		return ERR_FORMAT;
	}
	wire_reader_init(&r, data);
	if (wire_get_u8(&r) != CLASS_VERSION) {
		return r.error == ERR_OK ? ERR_UNSUPPORTED : r.error;
	}
	uint64_t opened = wire_get_u64(&r);
	c.urgent = wire_get_u64(&r);
	c.gone_count = wire_get_u32(&r);
	/* 16 bytes each: a hostile count reserves nothing that is not there. */
	if (r.error != ERR_OK || c.gone_count > LAW_GONE_MAX || r.rest.len != c.gone_count * 16 ||
	    (opened > INT64_MAX && opened != (uint64_t)LAW_UNDRAWN)) {
		return ERR_FORMAT;
	}
	c.opened = opened > INT64_MAX ? LAW_UNDRAWN : (msec)opened;
	if (c.gone_count > 0 && (c.gone = calloc(c.gone_count, sizeof(*c.gone))) == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < c.gone_count; i++) {
		c.gone[i].member = wire_get_u64(&r);
		c.gone[i].weight = wire_get_u64(&r);
		if (c.gone[i].weight == 0 || c.gone[i].weight > GONE_MAX ||
		    (i > 0 && c.gone[i].member <= c.gone[i - 1].member)) {
			wire_fail(&r, ERR_FORMAT);
		}
		sum += c.gone[i].weight;
	}
	/* The sum of all gone[m]; and far from where the sums of a decision would run over. */
	if (r.error == ERR_OK && (sum != c.urgent || sum > GONE_MAX)) {
		wire_fail(&r, ERR_FORMAT);
	}
	enum err e = wire_end(&r);
	if (e != ERR_OK) {
		free(c.gone);
		return e;
	}
	free(law->classes[size_class].counters.gone);
	law->classes[size_class].counters = c;
	return ERR_OK;
}

enum err
law_tick_encode(const struct law *law, const struct law_decision *decision, struct buf *out)
{
	struct wire_writer w;
	const struct law_after *after = decision == NULL ? NULL : decision->after;
	wire_writer_init(&w, out);
	wire_put_u8(&w, TICK_VERSION);
	wire_put_u64(&w, (uint64_t)(after == NULL ? law->tick : after->tick));
	wire_put_u64(&w, (uint64_t)(after == NULL ? law->tick_age : after->tick_age));
	return wire_done(&w);
}

enum err
law_tick_decode(struct law *law, struct bytes data)
{
	struct wire_reader r;
	wire_reader_init(&r, data);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != TICK_VERSION) {
		return ERR_UNSUPPORTED;
	}
	uint64_t tick = wire_get_u64(&r);
	uint64_t age = wire_get_u64(&r);
	bool none = tick == (uint64_t)LAW_NO_TICK;
	if (r.error == ERR_OK && (tick > TIME_MAX || age > TIME_MAX) &&
	    (!none || age != (uint64_t)LAW_UNDRAWN)) {
		wire_fail(&r, ERR_FORMAT);
	}
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		law->tick = none ? LAW_NO_TICK : (msec)tick;
		law->tick_age = none ? LAW_UNDRAWN : (msec)age;
	}
	return e;
}

msec
law_last_tick(const struct law *law)
{
	return law->tick;
}

msec
law_tick_age(const struct law *law)
{
	return law->tick_age;
}

msec
law_grid_at(msec clock, msec wall)
{
	msec into = wall % clock;
	return wall - (into < 0 ? into + clock : into);
}

msec
law_grid_after(msec clock, msec wall)
{
	return law_grid_at(clock, wall) + clock;
}

unsigned
law_size_class(uint64_t bytes)
{
	unsigned c = 0;
	while (c + 1 < LAW_CLASSES && bytes > law_class_bytes(c)) {
		c++;
	}
	return c;
}

uint64_t
law_class_bytes(unsigned size_class)
{
	return (uint64_t)65536 << (2 * (size_class < LAW_CLASSES ? size_class : LAW_CLASSES - 1));
}
