/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The small values that stand in the store under names of the program's own, with the house key. */
#include <string.h>

#include "cli/check.h"
#include "sealed/spool.h"

enum { AGE_LEN = 33, EPOCH_LEN = 4, NAME_SHOWN_MAX = 40 };

/* Each says what its loss means, and what to do. */
struct known_value {
	const char *name;
	bool is_prefix;
	bool sealed;
	enum sealed_purpose key;
	size_t len; /* of one in clear */
	const char *meaning;
};

/* The first that fits counts. */
static const struct known_value known[] = {
    {"mixer-age", false, false, PURPOSE__COUNT, AGE_LEN,
     "the waiting room's clock. What waits now waits longer, never shorter; it is written anew at the next "
     "start"},
    {"mixer-house", false, true, PURPOSE_SPOOL_STATE, 0,
     "the count of members. It is written anew at the next start"},
    {"mixer-", true, true, PURPOSE_SPOOL_STATE, 0,
     "what the waiting room remembers of its ticks. It goes on without, and writes it anew with the next "
     "one"},
    {"courier-kept", false, true, PURPOSE_COURIER_KEEP, 0,
     "the MTA-STS policies of other houses. They are asked for again"},
    {"session-kept-", true, true, PURPOSE_SESSION_KEEP, 0,
     "what a session counted of members' sending. It is counted anew"},
    {"gate-mx-kept-", true, true, PURPOSE_GATE_KEEP, 0,
     "what a gate knew of hosts that send mail here. It learns it anew"},
    {STORAGE_META_RESTORED, false, false, PURPOSE__COUNT, EPOCH_LEN,
     "how often a copy was put back. `cohue restored` writes it anew; mail programs then read all folders "
     "again"},
    {"directory-form", false, false, PURPOSE__COUNT, 1, "a mark that the opener writes once"},
    {"format", false, false, PURPOSE__COUNT, 1, "a mark that is written anew at the next start"},
};

struct values_check {
	struct check *check;
	uint64_t values;
	uint64_t strange;
};

static const struct known_value *
find_value(struct bytes name)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].is_prefix ? bytes_starts_with(name, known[i].name)
				       : bytes_is(name, known[i].name)) {
			return &known[i];
		}
	}
	return NULL;
}

static enum err
on_value(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct values_check *v = arg;
	const struct known_value *k = find_value(key);
	char name[NAME_SHOWN_MAX + 1];
	enum err e = ERR_OK;
	(void)part;
	v->values++;
	if (k == NULL || key.len > NAME_SHOWN_MAX) {
		/* A newer program's, or a name that was damaged: its sum tells. */
		v->strange++;
		return ERR_OK;
	}
	memcpy(name, key.ptr, key.len);
	name[key.len] = '\0';
	if (k->sealed) {
		struct buf plain = BUF_INIT(STORAGE_VALUE_MAX);
		e = spool_value_open(v->check->keys[k->key], name, value, &plain);
		buf_wipe(&plain);
	} else if (value.len != k->len) {
		e = ERR_FORMAT;
	}
	if (e != ERR_OK && e != ERR_MEMORY) {
		check_damage(v->check, "value %s does not open (%s): %s", name, err_text(e), k->meaning);
		e = ERR_OK;
	}
	return e;
}

enum err
check_values(struct check *k)
{
	struct values_check v = {.check = k};
	enum err e = k->storage->driver->meta_walk(k->storage, on_value, &v);
	if (e == ERR_OK) {
		check_count(k, "named values", v.values);
		if (v.strange > 0) {
			check_count(k, "named values that this program does not know", v.strange);
		}
	}
	return e;
}
