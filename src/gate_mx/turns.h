/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_TURNS_H
#define COHUE_GATE_MX_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who may ask next. Of the room that all questions of a kind have, a network may take half of what is left free: alone a third of all, and the more
 * there are the less; so there is nearly always room for who comes anew, and none is set aside for anybody. Pure.
 */
enum turns_kind {
	TURNS_POLICY,  /* what the author's domain asks for */
	TURNS_SENDERS, /* all else: names that the sender chose */
	TURNS_KINDS
};
enum { TURNS_ROOM = 64 /* questions under way, of each kind, of one gate */, TURNS_NETWORK_MAX = 8 };

struct turns {
	struct turns_place {
		uint8_t network[TURNS_NETWORK_MAX];
		size_t len;
		bool used;
	} places[TURNS_KINDS][TURNS_ROOM];
	size_t used[TURNS_KINDS];
	size_t room; /* of each kind; at most TURNS_ROOM */
};

/* gates: how many share the resolver. */
void turns_init(struct turns *t, size_t gates);
/* Takes a place, by its number; false: not now. */
bool turns_take(struct turns *t, enum turns_kind kind, const uint8_t *network, size_t len, size_t *ret);
void turns_give(struct turns *t, enum turns_kind kind, size_t place);
/* Half of the room is taken: a question without an answer says little about who did not answer. */
bool turns_are_short(const struct turns *t, enum turns_kind kind);

#endif
