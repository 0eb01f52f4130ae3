/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/turns.h"

#include <string.h>

enum { ROOM_MIN = 8 };

void
turns_init(struct turns *t, size_t gates)
{
	memset(t, 0, sizeof(*t));
	t->room = TURNS_ROOM / (gates == 0 ? 1 : gates);
	t->room = t->room < ROOM_MIN ? ROOM_MIN : t->room;
}

bool
turns_take(struct turns *t, enum turns_kind kind, const uint8_t *network, size_t len, size_t *ret)
{
	size_t own = 0;
	size_t place = t->room;
	if (len > TURNS_NETWORK_MAX) {
		return false;
	}
	for (size_t i = 0; i < t->room; i++) {
		const struct turns_place *p = &t->places[kind][i];
		if (!p->used) {
			place = place == t->room ? i : place;
		} else if (p->len == len && memcmp(p->network, network, len) == 0) {
			own++;
		}
	}
	if (place == t->room || (own > 0 && own >= (t->room - t->used[kind]) / 2)) {
		return false;
	}
	struct turns_place *p = &t->places[kind][place];
	*p = (struct turns_place){.len = len, .used = true};
	memcpy(p->network, network, len);
	t->used[kind]++;
	*ret = place;
	return true;
}

void
turns_give(struct turns *t, enum turns_kind kind, size_t place)
{
	if (place < t->room && t->places[kind][place].used) {
		memset(&t->places[kind][place], 0, sizeof(t->places[kind][place]));
		t->used[kind]--;
	}
}

bool
turns_are_short(const struct turns *t, enum turns_kind kind)
{
	return t->used[kind] >= t->room / 2;
}
