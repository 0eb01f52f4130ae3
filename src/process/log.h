/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROCESS_LOG_H
#define COHUE_PROCESS_LOG_H

#include <stdbool.h>

#include "base/error.h"

/*
 * One line per event on standard error: "cohue ROLE: SEVERITY: text". The text
 * never holds an address, subject, folder, IP or message time: where something
 * must be traced, it carries an opaque reference that the member finds in her
 * journal. No time of day either; whoever collects the lines adds his own.
 * Libraries do not log: roles do, once.
 */

enum log_level {
	LOG_LEVEL_ERROR,   /* something was lost or refused that should not be; somebody must look */
	LOG_LEVEL_WARNING, /* goes on, but somebody should know */
	LOG_LEVEL_NOTICE,  /* starts, stops, what an operator did */
	LOG_LEVEL_DEBUG,   /* off unless asked for */
};

enum { LOG_LINE_MAX = 480, LOG_REF_LEN = 8 };

/* The role's name (static text) for the lines of this process. Default: no role. */
void log_set_role(const char *role);
/* Default: LOG_LEVEL_NOTICE. */
void log_set_level(enum log_level most);
/*
 * One write(2) of one line; octets outside printable ASCII become '?', what
 * passes LOG_LINE_MAX is cut. Keeps errno.
 */
void log_event(enum log_level level, const char *format, ...) COHUE_PRINTF(2, 3);
/* True once this process has logged an error: what it then ends of has been told. */
bool log_said_error(void);
/* A new opaque reference: 8 random lower-case hex digits and a NUL. */
void log_ref(char ret_ref[LOG_REF_LEN + 1]);

#endif
