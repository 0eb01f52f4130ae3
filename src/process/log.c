/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "process/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

static const char *the_role;
static enum log_level most_level = LOG_LEVEL_NOTICE;
static unsigned long errors;

void
log_set_role(const char *role)
{
	the_role = role;
}

void
log_set_level(enum log_level most)
{
	most_level = most;
}

static const char *
level_word(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_NOTICE:
		return "notice";
	case LOG_LEVEL_DEBUG:
		return "debug";
	}
	return "error";
}

/* What vsnprintf says it wrote, cut to what was there. */
static size_t
written(int n, size_t room)
{
	return n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

void
log_event(enum log_level level, const char *format, ...)
{
	errors += level == LOG_LEVEL_ERROR ? 1 : 0;
	if (level > most_level) {
		return;
	}
	int keep = errno;
	char line[LOG_LINE_MAX + 1];
	size_t room = sizeof(line) - 1; /* the line's end needs one */
	const char *role = the_role;
	size_t at = written(snprintf(line, room, "cohue%s%s: %s: ", role == NULL ? "" : " ",
				     role == NULL ? "" : role, level_word(level)),
			    room);
	va_list args;
	va_start(args, format);
	at += written(vsnprintf(line + at, room - at, format, args), room - at);
	va_end(args);
	for (size_t i = 0; i < at; i++) {
		if (line[i] < 0x20 || line[i] > 0x7e) {
			line[i] = '?';
		}
	}
	line[at++] = '\n';
	/* One write: lines of several processes do not mix. There is nobody to tell if it fails. */
	ssize_t n = write(STDERR_FILENO, line, at);
	(void)n;
	errno = keep;
}

bool
log_said_error(void)
{
	return errors > 0;
}

void
log_ref(char ret_ref[LOG_REF_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t random[LOG_REF_LEN / 2];
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		panic("getrandom failed");
	}
	for (size_t i = 0; i < sizeof(random); i++) {
		ret_ref[2 * i] = digits[random[i] >> 4];
		ret_ref[2 * i + 1] = digits[random[i] & 15];
	}
	ret_ref[LOG_REF_LEN] = 0;
}
