/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CONFIG_CONFIG_INTERNAL_H
#define COHUE_CONFIG_CONFIG_INTERNAL_H

#include "config/config.h"

enum config_type {
	CONFIG_TYPE_NAME,        /* a domain name; char[CONFIG_NAME_MAX] */
	CONFIG_TYPE_TEXT,        /* printable; char[max] */
	CONFIG_TYPE_PATH,        /* absolute; char[CONFIG_PATH_MAX] */
	CONFIG_TYPE_NUMBER,      /* uint32_t */
	CONFIG_TYPE_SIZE,        /* uint64_t, bytes */
	CONFIG_TYPE_DURATION,    /* msec */
	CONFIG_TYPE_CHOICE,      /* an enum */
	CONFIG_TYPE_LAW,         /* enum law_kind */
	CONFIG_TYPE_LISTEN,      /* struct config_address[] */
	CONFIG_TYPE_STUB,        /* struct config_upstream[] */
	CONFIG_TYPE_FORWARD,     /* the same */
	CONFIG_TYPE_FORWARD_TLS, /* the same */
	CONFIG_TYPE_HOST_PORT,   /* char[CONFIG_NAME_MAX]; the port (uint16_t) at count_offset */
};

struct config_choice {
	const char *name; /* NULL ends the list */
	unsigned value;
};

struct config_key {
	const char *name;
	enum config_type type;
	size_t offset;       /* in struct config */
	size_t count_offset; /* lists: size_t; CONFIG_TYPE_HOST_PORT: uint16_t */
	uint64_t min;        /* in the unit of the field; for texts: unused */
	uint64_t max;        /* texts: bytes with their NUL */
	const struct config_choice *choices;
	const char *standard; /* the default, as a file would have it; "": not set */
	const char *group;    /* heading in the template; NULL: as before */
	const char *help;     /* sentences for the template and the manual page; plain ASCII */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* Why a value cannot be: "is not …", and what to do. */
struct config_fault {
	char what[256];
	char remedy[256];
};

void config_fault(struct config_fault *f, const char *what, const char *remedy);

/* Reads a value (trimmed) into the key's field. ERR_FORMAT with the fault filled in; then c is unchanged. */
COHUE_MUST_USE enum err config_value_read(const struct config_key *key, struct bytes text, struct config *c,
					  struct config_fault *fault);
/* The value as config_value_read takes it. */
COHUE_MUST_USE enum err config_value_print(const struct config_key *key, const struct config *c,
					   struct buf *out);
/* What config_check says beyond single values. NULL-free. */
COHUE_MUST_USE enum err config_check_pairs(const struct config *c, struct config_fault *fault);

#endif
