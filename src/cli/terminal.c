/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Secrets in, figures out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/secret.h"
#include "cli/internal.h"

/* Octet by octet, so that the next line is still there for the next question. */
static bool
read_line(int fd, struct buf *ret)
{
	for (;;) {
		uint8_t c = 0;
		ssize_t n = read(fd, &c, 1);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return ret->len > 0;
		}
		if (c == '\n') {
			if (ret->len > 0 && ret->ptr[ret->len - 1] == '\r') {
				buf_truncate(ret, ret->len - 1);
			}
			return true;
		}
		if (buf_append_byte(ret, c) != ERR_OK) {
			return false;
		}
	}
}

static bool
ask_terminal(const char *prompt, struct buf *ret)
{
	struct termios before;
	(void)fprintf(stderr, "%s: ", prompt);
	(void)fflush(stderr);
	bool quiet = tcgetattr(STDIN_FILENO, &before) == 0;
	if (quiet) {
		struct termios now = before;
		now.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
		quiet = tcsetattr(STDIN_FILENO, TCSAFLUSH, &now) == 0;
	}
	if (!quiet) {
		(void)cli_fail("the terminal cannot hide what is typed. Remedy: give it on standard input");
		return false;
	}
	bool good = read_line(STDIN_FILENO, ret);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	(void)fputc('\n', stderr);
	return good;
}

bool
cli_secret(const char *prompt, bool again, struct buf *ret)
{
	bool terminal = isatty(STDIN_FILENO) == 1;
	buf_init(ret, CONTROL_SECRET_MAX);
	bool good = terminal ? ask_terminal(prompt, ret) : read_line(STDIN_FILENO, ret);
	if (!good || ret->len == 0) {
		buf_wipe(ret);
		(void)cli_fail(
		    "%s is missing, or longer than %d octets. Remedy: type it, or give it as a line "
		    "of standard input",
		    prompt, CONTROL_SECRET_MAX);
		return false;
	}
	if (terminal && again) {
		struct buf second = BUF_INIT(CONTROL_SECRET_MAX);
		good = ask_terminal("Again", &second) && bytes_equal(buf_bytes(ret), buf_bytes(&second));
		buf_wipe(&second);
		if (!good) {
			buf_wipe(ret);
			(void)cli_fail("the two are not the same; nothing was changed");
		}
	}
	return good;
}

bool
cli_confirm(const char *question, const char *name)
{
	struct buf line = BUF_INIT(CONTROL_SECRET_MAX);
	if (isatty(STDIN_FILENO) != 1) {
		return true;
	}
	(void)fprintf(stderr, "%s Type the name to go on: ", question);
	(void)fflush(stderr);
	bool good = read_line(STDIN_FILENO, &line) && bytes_is(bytes_trim(buf_bytes(&line)), name);
	buf_clear(&line);
	if (!good) {
		(void)cli_fail("nothing was changed");
	}
	return good;
}

/* Length of the UTF-8 character at the start; 0 where there is none. */
static size_t
utf8_length(struct bytes a)
{
	for (size_t n = 1; n <= 4 && n <= a.len; n++) {
		if (bytes_is_utf8(bytes_slice(a, 0, n))) {
			return n;
		}
	}
	return 0;
}

enum err
cli_json_text(struct buf *out, struct bytes text)
{
	enum err e = buf_append_byte(out, '"');
	while (e == ERR_OK && text.len > 0) {
		size_t n = utf8_length(text);
		uint8_t c = text.ptr[0];
		if (n == 0) {
			e = buf_append_str(out, "\\ufffd");
			n = 1;
		} else if (c == '"' || c == '\\') {
			e = buf_printf(out, "\\%c", c);
		} else if (c < 0x20 || c == 0x7f) {
			e = buf_printf(out, "\\u%04x", (unsigned)c);
		} else {
			e = buf_append(out, bytes_slice(text, 0, n));
		}
		text = bytes_from(text, n);
	}
	return e == ERR_OK ? buf_append_byte(out, '"') : e;
}

enum err
cli_size(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t u = 0;
	uint64_t tenths = bytes > UINT64_MAX / 10 ? UINT64_MAX : bytes * 10;
	while (tenths >= 10240 && u + 1 < sizeof(units) / sizeof(units[0])) {
		tenths /= 1024;
		u++;
	}
	return tenths % 10 == 0 || u == 0
		   ? buf_printf(out, "%llu %s", (unsigned long long)(tenths / 10), units[u])
		   : buf_printf(out, "%llu.%llu %s", (unsigned long long)(tenths / 10),
				(unsigned long long)(tenths % 10), units[u]);
}

enum err
cli_read_size(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		unsigned shift;
	} units[] = {{"", 0},     {"b", 0},  {"k", 10},   {"kib", 10}, {"m", 20},
		     {"mib", 20}, {"g", 30}, {"gib", 30}, {"t", 40},   {"tib", 40}};
	struct bytes t = bytes_trim(bytes_str(text));
	size_t digits = 0;
	uint64_t n = 0;
	if (bytes_is_nocase(t, "none")) {
		*ret = 0;
		return ERR_OK;
	}
	while (digits < t.len && ascii_is_digit(t.ptr[digits])) {
		digits++;
	}
	if (bytes_to_u64(bytes_slice(t, 0, digits), UINT64_MAX, &n) != ERR_OK) {
		return ERR_FORMAT;
	}
	struct bytes unit = bytes_trim(bytes_from(t, digits));
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (bytes_is_nocase(unit, units[i].name)) {
			if (n > (UINT64_MAX >> 1) >> units[i].shift) {
				return ERR_FORMAT;
			}
			*ret = n << units[i].shift;
			return ERR_OK;
		}
	}
	return ERR_FORMAT;
}
