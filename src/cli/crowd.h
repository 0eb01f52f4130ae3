/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_CROWD_H
#define COHUE_CLI_CROWD_H

#include "cli/internal.h"
#include "crowd/advise.h"
#include "crowd/regular.h"
#include "crowd/run.h"

/* `cohue crowd`: the options of all its commands, and what its files share. */

enum crowd_format { CROWD_TEXT, CROWD_CSV, CROWD_JSON, CROWD_SVG };

/* What a command may be asked for; which options each understands says crowd_options.c. */
struct crowd_args {
	enum crowd_format format;
	const char *trace; /* NULL: made-up members */
	double members;
	double rate;
	double
	    days; /* of made-up members; 0: as many as the figures need. Of a trace: the first so many; 0: all */
	double large; /* share with attachments: --sizes */
	bool weights; /* a letter to n recipients has weight n */
	bool single;  /* only the attacker of single letters */
	double flooders;
	double flood_rate;
	bool flood_urgent;
	double weekly;
	double seed;
	struct law_config law;
	/* advise */
	double wait;   /* minutes */
	double guess;  /* hides, from so low a guess on */
	double houses; /* of an alliance */
	struct attention attention;
	bool live;
	/* table: lists */
	const char *sizes_list;
	const char *rates_list;
	const char *clocks_list;
	/* report */
	const char *out;
};

/* Reads the words of one command. CLI_OK, or CLI_USAGE or CLI_FAILED after a message. */
int crowd_options(struct cli *c, const char *command, struct crowd_args *ret);

/* Text, gathered; the first failure sticks and is reported by crowd_print. */
struct crowd_out {
	struct buf text;
	enum err error;
};
void crowd_out_init(struct crowd_out *o);
void crowd_say(struct crowd_out *o, const char *format, ...) COHUE_PRINTF(2, 3);
/* Minutes, hours, days: "37 min", "5.2 h". */
void crowd_say_wait(struct crowd_out *o, msec wait);
/* A number for JSON: null for NAN. */
void crowd_say_number(struct crowd_out *o, const char *name, double value);
int crowd_print(struct crowd_out *o);

/* Reads a trace ("-": standard input); false after a message. */
bool crowd_trace(const struct crowd_args *a, struct trace *ret);
/* One sentence for an error of the simulation. Gives CLI_FAILED. */
int crowd_failed(enum err e);

/* The asked law, and two others at the same mean wait, on the same letters. */
struct crowd_measured {
	struct run_figures here;
	struct run_figures exponential;
	struct run_figures batch;
	bool compared;
};
COHUE_MUST_USE enum err crowd_measure(const struct crowd_args *a, const struct trace *trace, bool compare,
				      struct crowd_measured *ret);
void crowd_measured_clear(struct crowd_measured *m);

/* The last of the service's sums; false after a message. */
struct live;
bool crowd_live_ask(struct cli *c, struct live *ret);

#endif
