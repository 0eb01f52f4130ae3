/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LAW_LAW_H
#define COHUE_LAW_LAW_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/wire.h"

/*
 * The law of the waiting room: when does what waits leave? Pure: it reads no clock, draws no
 * randomness of its own and stores nothing; all of that is passed in. The mixer runs it in real
 * time, `cohue crowd` in virtual time.
 *
 * How the mixer uses it, one `struct law` for leaving and one for arriving mail:
 *   enter:   law_unit_init, fill in who and what; law_admit (draws what this law draws at entry);
 *            law_unit_encode into the sealed state; store; after the commit law_insert.
 *   leave:   at law_next(): law_decide; store the decision (what is released, the tick where there was
 *            one, the classes that changed); after the commit law_commit. If the store failed, just
 *            drop the decision: nothing has changed. A decision without releases and changed classes
 *            need not be stored, only committed: made anew after a restart it comes out the same.
 *   restart: law_create, law_tick_decode, law_class_decode for each stored class, and per stored unit
 *            law_unit_decode, law_admit (keeps what was drawn), law_insert. What a stored decision
 *            released and was not yet handed on when the house fell is not inserted any more: the
 *            caller finishes it.
 *
 * The crowd law decides once for each tick of the public clock (a multiple of T since 1970), as of the
 * tick itself: who came after it has no part in it, however late the decision is made. A tick that was
 * missed happens once, late, as of the last one missed.
 */

struct law;

enum {
	LAW_CLASSES = 12,        /* size classes: 64 KiB * 4^i */
	LAW_UNITS_MAX = 1000000, /* waiting at once: ERR_LIMIT beyond */
	LAW_WEIGHT_MAX = 65535,  /* of one unit */
	LAW_GONE_MAX = 3000,     /* members with something urgent sent, a class; further ones are not noted */
	LAW_UNIT_ENCODED_MAX = 64, /* bytes that law_unit_encode appends at most */
	LAW_CLASS_ENCODED_MAX = 32 + 16 * LAW_GONE_MAX,
};

#define LAW_NEVER INT64_MAX /* a time that does not come */
#define LAW_UNDRAWN ((msec)-1)
#define LAW_NO_TICK ((msec)-1)

enum law_kind {
	LAW_NONE = 0,        /* released at once: benchmarks only */
	LAW_EXPONENTIAL = 1, /* a delay of mean m, redrawn beyond 5 m (stop-and-go) */
	LAW_CROWD = 2,       /* the fair, gated batch on a public clock */
};

/*
 * How a unit wants to wait. In the first three lanes a unit with a `due` later than `entered` when it is
 * first admitted is held: it is not in the queue before `due`, and comes in then. Under the crowd law a held one of the normal lane
 * is urgent from then on: its author has chosen a time.
 */
enum law_lane {
	LAW_NORMAL = 0,
	LAW_URGENT = 1, /* next tick, unprotected where the gate is shut */
	LAW_PATIENT = 2,
	/* Leaves at the first opportunity after its `due` and counts for nothing: retries, and what the
	 * house itself writes (bounces, warnings) after law_notice_delay(). */
	LAW_DUE = 3,
};

struct law_config {
	enum law_kind kind;
	msec clock;    /* T: period of the public clock (crowd) */
	uint32_t k;    /* gate (crowd) */
	msec deadline; /* D (crowd) */
	msec mean;     /* m (exponential; crowd while fewer than k members can count) */
	msec patient;  /* period of the patient store (crowd); 0: that lane is as the normal one */
};

/* The store of the patient keeps nobody for longer than so many of its periods: then he joins the normal lane. */
enum { LAW_PATIENT_PERIODS = 3 };

/*
 * `age` only ever grows, and survives restarts (law/age.h): all ages and deadlines are measured with
 * it. `wall` (UTC) places the ticks of the public clock, and nothing else.
 */
struct law_time {
	msec age;
	msec wall;
};

/* 64 uniformly random bits a call: the CSPRNG, or a seeded generator in simulations. */
struct law_random {
	uint64_t (*next)(void *arg);
	void *arg;
};

/* A message with all its recipients. */
struct law_unit {
	uint64_t id;     /* the caller's; unique among those that wait */
	uint64_t member; /* who counts as one: a member (leaving) or a sending host (arriving) */
	msec entered;    /* age clock; LAW_UNDRAWN until admitted */
	/* Age clock, or LAW_UNDRAWN: release (exponential), earliest release (LAW_DUE), held until. */
	msec due;
	msec alone; /* age clock: release while too few members count (crowd); drawn anew at each admission */
	uint32_t weight; /* deliveries (destination hosts) that an observer will see; at least 1 */
	uint8_t size_class;
	uint8_t lane; /* enum law_lane */
	bool counts;  /* towards the gate: a person whose account is old enough */
};

struct law_release {
	struct law_unit unit;
	/* The promise of the crowd law did not hold for this one: counted, and told to its sender.
	 * The other laws promise nothing per message, and leave it false. */
	bool is_void;
	/*
	 * The crowd of its size class at this tick, the same for all of it: what left within the equal shares of an open gate, of members
	 * who count (crowd; else, and at a shut gate, 0). Nobody has more than 1/k of it.
	 */
	uint32_t crowd; /* members */
	uint32_t batch; /* deliveries */
};

/* What law_decide found. Valid until law_decision_clear. */
struct law_decision {
	struct law_release *releases; /* shuffled */
	size_t release_count;
	msec tick;        /* wall clock: which tick this was (its time by the grid); LAW_NO_TICK: none */
	uint32_t classes; /* bit i: store law_class_encode(…, i, …) anew */
	void *after;      /* the law's own: state after the decision */
};

/* The law's name as in the config ("crowd"), and back. ERR_FORMAT for an unknown name. */
const char *law_kind_name(enum law_kind kind);
COHUE_MUST_USE enum err law_kind_of(struct bytes name, enum law_kind *ret);

/* ERR_UNSUPPORTED for a law that there is not, ERR_FORMAT for impossible values (mean <= 0 …). */
COHUE_MUST_USE enum err law_create(const struct law_config *config, struct law **ret);
/* Forgets all; accepts NULL inside. */
void law_destroy(struct law **law);

/*
 * How many members can count (crowd; taken for enough until said). While they are fewer than k, the
 * law is the exponential one, off the clock, and all it releases is void.
 */
void law_set_members(struct law *law, struct law_time now, uint32_t counting);
/* True while it is so. */
bool law_is_alone(const struct law *law);

void law_unit_init(struct law_unit *unit);
/*
 * Sets `entered` to now and draws `due` where this law draws one; what is already set is kept, so that
 * a restart, or a change of the configured law, never draws twice.
 */
void law_admit(const struct law *law, struct law_time now, struct law_random random, struct law_unit *unit);
/* O(log n). ERR_EXISTS for an id that waits already, ERR_LIMIT, ERR_FORMAT (not admitted, bad lane), ERR_MEMORY. */
COHUE_MUST_USE enum err law_insert(struct law *law, const struct law_unit *unit);
/* Takes a unit out without releasing it. O(log n). ERR_NOT_FOUND. */
COHUE_MUST_USE enum err law_remove(struct law *law, uint64_t id);
/* ERR_NOT_FOUND. */
COHUE_MUST_USE enum err law_get(const struct law *law, uint64_t id, struct law_unit *ret);
size_t law_waiting(const struct law *law);
/* Units that wait in one size class. */
size_t law_waiting_in(const struct law *law, unsigned size_class);

/*
 * Milliseconds from `now` until law_decide may release something: 0 at once, LAW_NEVER while nothing
 * waits. An insert may bring it forward.
 */
msec law_next(const struct law *law, struct law_time now);
/*
 * What leaves now, in random order: at most `max` units (the rest at once afterwards: law_next gives 0);
 * but a tick of the crowd law is one decision, and comes whole. Nothing between two ticks.
 * The queue stays as it is until law_commit. ERR_MEMORY.
 */
COHUE_MUST_USE enum err law_decide(struct law *law, struct law_time now, struct law_random random, size_t max,
				   struct law_decision *ret);
/* Carries the decision out. Between law_decide and law_commit units may be inserted and removed. */
void law_commit(struct law *law, const struct law_decision *decision);
void law_decision_clear(struct law_decision *decision);

/* Durable forms. decode: ERR_FORMAT, ERR_UNSUPPORTED (a newer version). `id` is the caller's and not part of it. */
COHUE_MUST_USE enum err law_unit_encode(const struct law_unit *unit, struct buf *out);
/* Reads from a stream, so that a unit can stand within a larger record: check the reader's end. */
void law_unit_read(struct wire_reader *r, uint64_t id, struct law_unit *ret);
COHUE_MUST_USE enum err law_unit_decode(struct bytes data, uint64_t id, struct law_unit *ret);
/* A class's counters, as they are (decision NULL) or as they will be after the decision. */
COHUE_MUST_USE enum err law_class_encode(const struct law *law, const struct law_decision *decision,
					 unsigned size_class, struct buf *out);
COHUE_MUST_USE enum err law_class_decode(struct law *law, unsigned size_class, struct bytes data);

/* The last tick that was decided, as it is (decision NULL) or as it will be after the decision. */
COHUE_MUST_USE enum err law_tick_encode(const struct law *law, const struct law_decision *decision,
					struct buf *out);
COHUE_MUST_USE enum err law_tick_decode(struct law *law, struct bytes data);
/* That tick, by the grid; LAW_NO_TICK: there was none. And its time by the age clock: what was due by then has had its turn. */
msec law_last_tick(const struct law *law);
msec law_tick_age(const struct law *law);

/* The public grid, for all who keep to it: the last tick at or before a time (ms since 1970), and the first after it. */
msec law_grid_at(msec clock, msec wall);
msec law_grid_after(msec clock, msec wall);

/* The class of a size in bytes: 0 up to 64 KiB, 1 up to 256 KiB, …; the last class takes the rest. */
unsigned law_size_class(uint64_t bytes);
/* The largest size of a class in bytes: what it is padded to. */
uint64_t law_class_bytes(unsigned size_class);

/*
 * The next attempt after `failures` failed ones (at least 1), the first at `first_failure` (age clock):
 * hourly in the first four hours (greylisting forgets), then 6, 10, 18 hours after the first failure
 * and every twelve hours, the last one when `give_up` has passed. LAW_NEVER: bounce now.
 */
msec law_retry_at(unsigned failures, msec first_failure, msec give_up);
#define LAW_RETRY_GIVE_UP (5 * MSEC_DAY)
#define LAW_RETRY_WARN MSEC_DAY
/* True when the sender is to be warned now that her message still waits. */
bool law_retry_warns(msec first_failure, msec now, msec warn_after, bool warned);

/* A random wait of 1 to 8 hours before a bounce or warning enters, so that a refused mail does not show
 * its sender's line. */
msec law_notice_delay(struct law_random random);

/* Uniform in [0, n), without bias; n >= 1. */
uint64_t law_random_below(struct law_random random, uint64_t n);

#endif
