/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MIXER_ROOM_H
#define COHUE_MIXER_ROOM_H

#include "base/arena.h"
#include "crowd/live.h"
#include "crypto/random.h"
#include "law/age.h"
#include "law/hold.h"
#include "law/law.h"
#include "lookup/lookup.h"
#include "loop/task.h"
#include "process/role.h"
#include "sealed/spool.h"

/*
 * The waiting room. A unit is on disk before it is here, and here only as numbers: who, since when, how
 * large, which parts. An entry is what the law sees: a whole unit that waits, or one courier part that waits for its
 * next attempt.
 *
 * Life of a leaving unit: waits (its entry is in the law `leave`) -> released: its local parts move to a new arriving
 * unit, its courier parts are handed to the courier, one work each -> each part done, or again in `leave` as LAW_DUE.
 * Life of an arriving unit: waits in `arrive` -> released: its parts are in the members' logs, the unit is gone.
 *
 * A tick of the crowd law is one decision, and is on disk before anything of it happens. A small one is carried out in
 * the transaction that stores it. A large one is stored as a list of units, which are then carried out a portion at a time: until
 * their turn comes they stand in the line of the going. After a restart those of the list that still wait go on, and nothing else.
 */

enum {
	UNIT_RELEASED = 1 << 0, /* spool_state.flags: its wait is over, courier parts are being tried */
	STATE_COUNTS = 1 << 1,  /* spool_state.flags: counts towards the gate */
	STATE_HELD = 1 << 2, /* spool_state.flags: its author set its time, by the wall clock (law/hold.h) */
	STATE_FORWARDED =
	    1 << 3, /* spool_state.flags: a copy, that a member has sent on, of what came from outside */
	PART_WARNED = 1 << 0, /* spool_part.flags: the sender has been told of the delay */

	ROOM_LIMIT_MS = 60 * 1000,
	ROOM_BATCH = 256,    /* units carried out at a time: one message to the store */
	ROOM_WORK_MAX = 128, /* parts at the courier at once */
	ROOM_PAST = 4096,    /* units that have gone and are still known by name */
	ROOM_BATCH_BYTES = IPC_PAYLOAD_MAX - 128 * 1024,
};

struct unit {
	struct unit *next; /* in its bucket */
	uint8_t id[IPC_UNIT];
	struct spool_state state; /* parts: own memory */
	struct unit *then;        /* in the line of the going */
	size_t works;             /* of its parts, in mixer.works */
	bool judged;              /* a verdict on one of its parts is being stored: others wait */
};

/* What waits in a law. */
struct entry {
	struct entry *next; /* in its bucket, by law id */
	uint64_t law_id;
	struct unit *unit;
	uint32_t part; /* of a retry */
	bool whole;
};

/* A courier part on its way. */
struct work {
	struct work *next;
	struct unit *unit;
	uint32_t part;
	uint64_t batch; /* the tick it leaves at; 0: no tick */
	bool sent;      /* to the courier as it is now */
};

/* A part that the courier has in hand while what waits is loaded anew. */
struct held {
	struct held *next;
	uint8_t id[IPC_UNIT];
	uint32_t part;
};

struct entering;

struct room_table {
	void **buckets;
	size_t size; /* a power of two */
	size_t count;
};

/* Who can count, as the opener said last; it stays known over a restart. */
struct house {
	bool known;
	uint32_t members;
	uint32_t counting;
	uint32_t first_day;
};

/* What left in each of the last hours; told as sums of whole hours only. */
enum { SUMS_HOURS = 24 };
struct sums {
	int64_t hour; /* since 1970, of the running one */
	uint64_t released[SUMS_HOURS + 1];
	uint64_t voids[SUMS_HOURS + 1];
};

struct mixer {
	struct role_host *host;
	struct purpose_keys keys;
	struct law *leave;
	struct law *arrive;
	struct law_age age;
	struct law_hold_clock hold_clock;
	struct crypto_random random;
	struct room_table units;
	struct room_table entries;
	uint64_t next_law_id;
	uint8_t past[ROOM_PAST][IPC_UNIT]; /* of units that were here; each in the place that its name says */
	struct work *works;                /* in order of release */
	struct work **works_end;
	size_t works_sent;
	struct held *held;
	struct entering *unsure; /* the store went away before it answered: loading anew tells */
	size_t entering_old;     /* units on their way to disk, sealed to an old spool key */
	size_t unreadable;       /* units on disk that cannot be read */
	struct unit *going;      /* their release is decided, and on disk */
	struct unit **going_end;
	struct house house;
	bool house_news; /* to be put into force between two decisions, and on disk */
	bool house_writing;
	struct live live; /* how well leaving mail hid, in sums by the hour: for `cohue crowd live` */
	struct sums left_sums;
	struct sums arrived_sums;
	uint64_t generation; /* of what is loaded: a unit seen under another one is not the same */
	size_t batch;        /* units of the next decision */
	bool loaded;         /* memory is what is on disk */
	bool reloading;      /* a task loads, until it is */
	bool reload_again;
	bool
	    left_out; /* the store could not release a part: what waits is loaded anew at the next upkeep, which tries again */
	bool deciding; /* the ticker's task runs */
	bool handing;
	bool keying;
	struct timer tick;
	struct timer keys_timer;
	struct timer house_timer;
	bool alone_said; /* to the log */
	uint64_t seen_put;
	uint64_t seen_released;
	uint64_t seen_arrived;
	uint64_t seen_failures;
};

/* A unit of a large decision. */
struct tick_entry {
	uint8_t id[IPC_UNIT];
	uint8_t size_class;
	bool is_void;
};

struct tick_list {
	struct tick_entry *entries;
	size_t count;
	uint64_t name; /* of the decision, so that no piece of another one is taken for one of this */
	uint32_t pieces;
	msec left; /* wall clock */
	uint32_t crowd[LAW_CLASSES];
	uint32_t batch[LAW_CLASSES];
};

/* room.c: the tables. */
COHUE_MUST_USE enum err room_init(struct mixer *m);
/* Forgets all that waits (it is on disk): before loading anew. */
void room_forget(struct mixer *m);
struct unit *room_find(const struct mixer *m, const uint8_t id[IPC_UNIT]);
/* True for a unit that is here, or was until a short while ago: who puts it again, unsure of the first time, has been heard. */
bool room_knows(const struct mixer *m, const uint8_t id[IPC_UNIT]);
/* Takes the state over, parts copied. ERR_EXISTS, ERR_MEMORY. */
COHUE_MUST_USE enum err room_add(struct mixer *m, const uint8_t id[IPC_UNIT], const struct spool_state *state,
				 struct unit **ret);
void room_remove(struct mixer *m, struct unit *u);
struct spool_part *room_part(struct unit *u, uint32_t number);
/* Drops one part of the state; true when none is left. */
bool room_drop_part(struct unit *u, uint32_t number);
/*
 * The unit as the law sees it, admitted. fresh: it has never waited before; state->due, unless 0, is the time (age clock)
 * before which it does not come in. What is drawn must be kept in the state: room_keep.
 */
struct law_unit room_law_unit(struct mixer *m, const struct law *law, const struct spool_state *state,
			      bool fresh);
void room_keep(struct spool_state *state, const struct law_unit *lu);
/* Lets a unit wait in its law, or a part for its next attempt. */
COHUE_MUST_USE enum err room_wait(struct mixer *m, struct unit *u, struct law_unit lu);
COHUE_MUST_USE enum err room_wait_part(struct mixer *m, struct unit *u, const struct spool_part *p);
/* The tick at which what leaves of it now leaves: what COURIER_WORK calls its batch. 0: off the clock. */
uint64_t room_batch_of(const struct mixer *m, const struct unit *u);
/* Reckons the times of those that are held anew, where the wall clock has been set. */
void room_hold(struct mixer *m);
struct entry *room_entry(const struct mixer *m, uint64_t law_id);
void room_entry_remove(struct mixer *m, struct entry *e);
struct law_time room_now(const struct mixer *m);
struct law_random room_random(struct mixer *m);
/* Sets the ticker to the earlier law. */
void room_schedule(struct mixer *m);

/* From tasks; what reaches the store is one transaction. */
COHUE_MUST_USE enum err room_batch(struct mixer *m, struct bytes ops);
COHUE_MUST_USE enum err room_seal(const struct mixer *m, const uint8_t id[IPC_UNIT],
				  const struct spool_state *state, struct buf *ret);

/* put.c: a message enters. Answers MIX_PUT and MIX_BLOB. */
void mixer_put(struct mixer *m, struct channel *ch, const struct channel_message *msg);
void mixer_blob(struct mixer *m, struct channel *ch, const struct channel_message *msg);
/*
 * The list of parts of MIX_PUT and of a verdict's notices, checked: fills `state` (parts from the arena), and
 * appends the lists that SPOOL_PUT wants. ERR_FORMAT.
 */
struct put_lists {
	struct buf parts, claims, charges;
	bool sent; /* the last part is the author's copy: it is no part of the state */
	uint32_t sent_part;
	uint8_t sent_account[IPC_ACCOUNT];
	uint8_t sent_blob[IPC_BLOB];
};
COHUE_MUST_USE enum err mixer_read_parts(struct bytes list, bool couriers, struct arena *arena,
					 struct spool_state *state, struct put_lists *ret);
void put_lists_clear(struct put_lists *l);
/* A new arriving unit for the house's own notices, as an operation of a batch; after the commit, room_enter. */
COHUE_MUST_USE enum err mixer_notice_op(struct mixer *m, struct bytes notices, struct arena *arena,
					uint8_t ret_id[IPC_UNIT], struct spool_state *ret_state,
					struct wire_writer *ops);
/*
 * A line of a member's journal, sealed to her: enters her log at once, as operations of a batch. ERR_LIMIT, ERR_MEMORY: a batch goes on
 * without it.
 */
COHUE_MUST_USE enum err mixer_journal_op(const uint8_t account[IPC_ACCOUNT], struct bytes sealed,
					 struct wire_writer *ops);
COHUE_MUST_USE enum err room_enter(struct mixer *m, const uint8_t id[IPC_UNIT],
				   const struct spool_state *state);

/* After a load: answers those whose store went away before it had. */
void mixer_settle_unsure(struct mixer *m);

/* mixer.c: what is in memory may not be what is on disk any more. Loads anew, in a task. */
void mixer_reload(struct mixer *m);

/* release.c: the ticker. */
void mixer_tick(struct timer *t);

/* tick.c: what is on disk of a law besides its units. */
/* Appends to a batch what a decision changes of its law; of the units in `list`, which are carried out later, too. */
COHUE_MUST_USE enum err tick_write(struct mixer *m, bool leaving, const struct law_decision *d,
				   const struct tick_list *list, struct wire_writer *w);
/* A large decision: stores the names of its units. They hold once tick_write with the same list is on disk. */
COHUE_MUST_USE enum err tick_write_list(struct mixer *m, bool leaving, struct tick_list *list);
/* The law's counters and its last tick; and the list of a decision that may not be carried out yet, in order of names. */
COHUE_MUST_USE enum err tick_load(struct mixer *m, bool leaving, struct tick_list *ret);
/* Of the unit, if it is in the list; NULL otherwise. */
const struct tick_entry *tick_find(const struct tick_list *list, const uint8_t id[IPC_UNIT]);
void tick_list_clear(struct tick_list *list);
/* The end of the line of the going. */
void going_add(struct mixer *m, struct unit *u);

/* house.c: who counts. */
void mixer_house(struct mixer *m, struct channel *ch, const struct channel_message *msg);
void house_say(struct timer *t);
/* From tasks: what the opener said comes into force, and to disk. */
void house_settle(struct mixer *m);
COHUE_MUST_USE enum err house_load(struct mixer *m);
/* Whether a member whose account was made on that day counts today. */
bool house_counts(const struct mixer *m, uint32_t since_day);
void sums_add(struct sums *s, uint64_t released, uint64_t voids);
/* The last `SUMS_HOURS` whole hours. */
void sums_day(const struct sums *s, uint64_t *ret_released, uint64_t *ret_voids);

/* outgoing.c: the courier's side. */
void outgoing_add(struct mixer *m, struct unit *u, uint32_t part, uint64_t batch);
void outgoing_forget_unit(struct mixer *m, const struct unit *u);
/* All works, before loading anew; what the courier has in hand is remembered, so that it is not handed over twice. */
void outgoing_forget(struct mixer *m);
void outgoing_forget_held(struct mixer *m);
/* Hands works on while the courier takes them. */
void outgoing_kick(struct mixer *m);
void outgoing_courier_gone(struct mixer *m);
void outgoing_blob(struct mixer *m, struct channel *ch, const struct channel_message *msg);
/* kept.c: what other roles keep, passed between them and the store. */
void mixer_kept(struct mixer *m, struct channel *ch, const struct channel_message *msg);
void outgoing_verdict(struct mixer *m, struct channel *ch, const struct channel_message *msg);

/* load.c: from disk; in a task. */
COHUE_MUST_USE enum err mixer_load(struct mixer *m);
COHUE_MUST_USE enum err mixer_save_age(struct mixer *m);
/* Spool keys: loads them into the keeper, makes today's, destroys those that nothing waits for. */
COHUE_MUST_USE enum err mixer_keys(struct mixer *m);

#endif
