/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_CHECK_H
#define COHUE_CLI_CHECK_H

#include "cli/internal.h"
#include "sealed/slots.h"
#include "storage/storage.h"

/* Inside `cohue check`: what has been looked at, and what was found. */

enum { CHECK_LINES_MAX = 4 * 1024 * 1024, CHECK_SHOWN_MAX = 100 };

struct check {
	const struct cli *cli;
	struct config config;
	struct storage *storage;
	uint8_t *keys[PURPOSE__COUNT]; /* in the pool */
	struct buf counts;             /* lines "what count" */
	struct buf damage;             /* lines */
	uint64_t damaged;
	/* What the directory says: ids of accounts, of slot lists, and those that addresses name. */
	struct buf accounts;
	struct buf slots;
	struct buf named;
};

void check_count(struct check *k, const char *what, uint64_t n);
/* What is damaged, and where. */
void check_damage(struct check *k, const char *format, ...) COHUE_PRINTF(2, 3);

/* check_member.c: a member's log, with her secret. ERR_NOT_FOUND, ERR_AUTH: said. */
COHUE_MUST_USE enum err check_member(struct check *k, const char *name, struct bytes secret);

#endif
