/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_SOURCE_H
#define COHUE_CROWD_SOURCE_H

#include "crowd/chance.h"
#include "crowd/trace.h"

/* Where messages come from: a trace, or made-up members. One at a time, in order of time, so that a million members cost no memory. */

struct source_unit {
	msec time;
	uint32_t member;
	uint32_t weight; /* recipients' hosts */
	uint64_t bytes;  /* on the wire */
	uint32_t number; /* of a trace: the unit's index */
	bool urgent;
};

/*
 * How much is written in each hour of the day, in relative numbers: rounded from what the people of the email-Eu-core
 * trace do (SNAP; Paranjape, Benson, Leskovec 2017). No weekends: a weekend is a smaller association.
 */
enum { SOURCE_HOURS = 24 };
extern const double source_day[SOURCE_HOURS];

/*
 * The model of sizes. Four letters of five are text: lognormal, median 5 kB, deviation of the logarithm 1, within the first class. One
 * of five carries attachments: lognormal, median 250 kB, deviation 1.5, at most 16 MB (a tenth above 1.7 MB).
 * To each 4096 octets of header fields are added. Base64 is included. With `large` 0 all letters are of one class.
 */
struct size_model {
	double large; /* the share with attachments; 0.2 is our "one fifth" */
	double text_median;
	double text_spread; /* of the logarithm */
	double large_median;
	double large_spread;
	double max;
};
extern const struct size_model size_model_default;
/* Octets on the wire, as the session counts them. */
uint64_t size_draw(const struct size_model *model, struct chance *chance);

struct source;
struct source_members {
	uint32_t members;
	double rate;       /* letters a member and day */
	double days;       /* how long they write */
	uint32_t flooders; /* further members, numbered from `members` on, in the attacker's hands */
	double flood_rate; /* their letters a day each, at all hours alike */
	bool flood_urgent; /* all of them urgent */
	double large;      /* share with attachments; 0: all of one size */
	bool flat;         /* no difference between day and night */
	uint64_t seed;
};

COHUE_MUST_USE enum err source_of_members(const struct source_members *model, struct source **ret);
/* Borrows the trace. `large` as above: sizes are drawn, since traces have none. `weights`: a message to n recipients has weight n, else 1. */
COHUE_MUST_USE enum err source_of_trace(const struct trace *trace, double large, bool weights, uint64_t seed,
					struct source **ret);
void source_destroy(struct source **s);
/* False at the end. */
bool source_next(struct source *s, struct source_unit *ret);
/* Members are below this. */
uint32_t source_people(const struct source *s);

#endif
