/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_DNS_H
#define COHUE_CLI_DNS_H

#include "cli/internal.h"

/* The records to publish, one by one: for `cohue dns`, and for `cohue doctor`, which compares. */

enum { DNS_RECORDS_MAX = 64, DNS_VALUE_MAX = 1024, DNS_NOTE_MAX = 192 };

struct record {
	char name[CONFIG_NAME_MAX + 80]; /* with its final dot */
	const char *type;
	char value[DNS_VALUE_MAX]; /* as a zone file has it */
	char note[DNS_NOTE_MAX];
	bool optional; /* printed as a comment; what the house does without */
};

/* How many: `certificate` and the like are found in the home. */
size_t cli_dns_collect(const struct cli *c, const struct config *config, struct record rows[DNS_RECORDS_MAX]);

#endif
