/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_SMTP_DATA_H
#define COHUE_PROTOCOL_SMTP_DATA_H

#include "base/bytes.h"

/*
 * The one state machine of message data, for DATA (dots, end at CRLF.CRLF
 * alone) and BDAT (counted octets). The content is emitted in runs, dots
 * unstuffed, every line end CRLF. A bare CR, a bare LF, a NUL, a line or
 * header too long, or a message too large is a fault: nothing more is emitted,
 * and DATA goes on to its real end, so that what a stranger put behind a false
 * one is never taken for commands. The first fault is kept.
 */

enum smtp_fault {
	SMTP_FAULT_NONE = 0,
	SMTP_FAULT_BARE_CR,
	SMTP_FAULT_BARE_LF,
	SMTP_FAULT_NUL,
	SMTP_FAULT_LINE,   /* a line past max_line */
	SMTP_FAULT_HEADER, /* a header past max_header */
	SMTP_FAULT_SIZE,   /* more than max_size octets */
};

struct smtp_data_limits {
	uint64_t max_size;   /* octets of content, after unstuffing */
	uint64_t max_header; /* octets up to the empty line */
	uint32_t max_line;   /* octets without CRLF */
};

struct smtp_data {
	struct smtp_data_limits limits;
	uint64_t size;   /* octets of content so far, whether emitted or not */
	uint64_t header; /* octets of header so far */
	uint32_t line;   /* octets of the present line, a final CR not counted */
	uint8_t state;
	bool dots;
	bool in_header;
	bool ended;
	enum smtp_fault fault;
};

/* dots: true for DATA, false for BDAT. */
void smtp_data_init(struct smtp_data *d, bool dots, const struct smtp_data_limits *limits);
/*
 * Reads on in `in`: returns the octets used (0 only for an empty `in` or after
 * the end) and one run of content, which may be empty and points into `in` or
 * to static memory. Call until `in` is used up or d->ended.
 */
size_t smtp_data_next(struct smtp_data *d, struct bytes in, struct bytes *ret_run);
/* The end of the last BDAT chunk: a CR still waiting for its LF is a fault. */
void smtp_data_finish(struct smtp_data *d);

#endif
