/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CROWD_TRACE_H
#define COHUE_CROWD_TRACE_H

#include "base/bytes.h"
#include "base/clock.h"

/*
 * A recorded traffic: lines `sender recipient time`, separated by spaces, tabs or commas. Names are any words of at most 64 octets; the
 * time is in seconds, whole or with a fraction, from any zero. Further columns, empty lines and lines
 * that begin with # are passed over. Lines may come in any order.
 *
 * Rows of one sender at one second are one message to several recipients: a unit.
 */

enum {
	TRACE_NAME_MAX = 64,
	TRACE_ROWS_MAX = 50 * 1000 * 1000,
	TRACE_PEOPLE_MAX = 20 * 1000 * 1000,
};

struct trace_row {
	uint32_t
	    sender; /* counted from 0 in order of appearance: senders and recipients are the same people */
	uint32_t recipient;
	msec time;
};

struct trace_unit {
	msec time;
	uint32_t sender;
	uint32_t first; /* of its rows */
	uint32_t rows;
};

struct trace {
	struct trace_row *rows; /* by time, then sender */
	size_t row_count;
	struct trace_unit *units;
	size_t unit_count;
	uint32_t people;  /* who appear at all */
	uint32_t senders; /* who send */
};

struct trace_error {
	uint64_t line;  /* from 1; 0: no line */
	char text[200]; /* what is wrong, and the remedy */
};

/*
 * Reads a whole file's content. `until`: rows at or after this time (in ms of the trace's own clock) are left out;
 * INT64_MAX for all. ERR_FORMAT, ERR_LIMIT (both with *ret_error filled), ERR_MEMORY.
 */
COHUE_MUST_USE enum err trace_read(struct bytes text, msec until, struct trace *ret,
				   struct trace_error *ret_error);
void trace_clear(struct trace *t);

#endif
