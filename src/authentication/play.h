/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_PLAY_H
#define COHUE_AUTHENTICATION_PLAY_H

#include "authentication/dkim.h"

/* For tests: a DNS of a few records, and a house that signs. */

enum { PLAY_RECORDS_MAX = 64 };
struct play {
	struct {
		const char *name;
		enum authentication_rr type;
		struct bytes text; /* TXT: the text; A, AAAA: an address; MX, PTR: a name */
	} records[PLAY_RECORDS_MAX];
	size_t count;
	unsigned questions;
	enum err failure;   /* what each question gives, if not ERR_OK */
	const char *silent; /* a name that alone fails so; NULL: all do */
	struct buf rdata;
};
void play_init(struct play *p);
void play_clear(struct play *p);
void play_add(struct play *p, const char *name, struct bytes text); /* TXT */
void play_add_rr(struct play *p, const char *name, enum authentication_rr type, const char *text);
struct authentication_dns play_dns(struct play *p);

/* Signs with the pair that the first call makes; `record` is its TXT record, static. */
struct dkim_signer play_signer(enum dkim_algorithm algorithm, const char *domain, const char *selector);
struct bytes play_record(enum dkim_algorithm algorithm);

#endif
