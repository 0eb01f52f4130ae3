/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The service as a whole: what runs, stopping it, its configuration. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/internal.h"

enum { STOP_MS = 40 * 1000, STOP_STEP_MS = 50 };

/* The next of the words of a line. */
static struct bytes
next_word(struct bytes *line)
{
	ptrdiff_t end = bytes_find(*line, ' ');
	struct bytes word = end < 0 ? *line : bytes_slice(*line, 0, (size_t)end);
	*line = bytes_from(*line, word.len + 1);
	return word;
}

static struct bytes
next_line(struct bytes *text)
{
	ptrdiff_t end = bytes_find(*text, '\n');
	struct bytes line = end < 0 ? *text : bytes_slice(*text, 0, (size_t)end);
	*text = bytes_from(*text, line.len + 1);
	return line;
}

static enum err
json_value(struct buf *out, struct bytes value)
{
	uint64_t n = 0;
	return bytes_to_u64(value, UINT64_MAX >> 1, &n) == ERR_OK ? buf_append_u64(out, n)
								  : cli_json_text(out, value);
}

/* Lines "role index name value", those of one process together. */
static enum err
print_status(struct bytes text, bool json, struct buf *out, bool *ret_ready)
{
	struct bytes role = BYTES_EMPTY;
	struct bytes index = BYTES_EMPTY;
	enum err e = json ? buf_append_byte(out, '[') : ERR_OK;
	bool any = false;
	*ret_ready = true;
	while (e == ERR_OK && text.len > 0) {
		struct bytes line = next_line(&text);
		struct bytes r = next_word(&line);
		struct bytes i = next_word(&line);
		struct bytes name = next_word(&line);
		bool same = any && bytes_equal(r, role) && bytes_equal(i, index);
		if (bytes_starts_with(name, "crowd.") || bytes_starts_with(name, "report.")) {
			/* `cohue crowd live` and `cohue reports` read these. */
			continue;
		}
		if (bytes_is(name, "state") && !bytes_is(line, "ready")) {
			*ret_ready = false;
		}
		if (json) {
			if (!same) {
				e = buf_append_str(out, any ? "},\n {\"role\": " : "{\"role\": ");
				e = e == ERR_OK ? cli_json_text(out, r) : e;
				e = e == ERR_OK ? buf_append_str(out, ", \"index\": ") : e;
				e = e == ERR_OK ? json_value(out, i) : e;
			}
			e = e == ERR_OK ? buf_append_str(out, ", ") : e;
			e = e == ERR_OK ? cli_json_text(out, name) : e;
			e = e == ERR_OK ? buf_append_str(out, ": ") : e;
			e = e == ERR_OK ? json_value(out, line) : e;
		} else {
			if (!same) {
				e = buf_printf(out, "%s%.*s %.*s\n", any ? "\n" : "", (int)r.len,
					       (const char *)r.ptr, (int)i.len, (const char *)i.ptr);
			}
			e = e == ERR_OK
				? buf_printf(out, "  %-24.*s %.*s\n", (int)name.len, (const char *)name.ptr,
					     (int)line.len, (const char *)line.ptr)
				: e;
		}
		role = r;
		index = i;
		any = true;
	}
	return e == ERR_OK && json ? buf_append_str(out, any ? "}]\n" : "]\n") : e;
}

int
cli_status(struct cli *c)
{
	struct buf request = BUF_INIT(16);
	struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
	struct buf out = BUF_INIT(CLI_OUTPUT_MAX);
	bool ready = false;
	if (buf_append_byte(&request, CONTROL_STATUS) != ERR_OK || !cli_ask(c, &request, &data)) {
		return CLI_FAILED;
	}
	enum err e = print_status(buf_bytes(&data), c->json, &out, &ready);
	buf_clear(&data);
	if (e != ERR_OK) {
		buf_clear(&out);
		return cli_fail("the status cannot be shown: %s", err_text(e));
	}
	int status = cli_print(&out);
	if (status == CLI_OK && !ready) {
		return cli_fail("not every role is ready. Remedy: wait a moment; the service's log says why");
	}
	return status;
}

/* Done when the socket has gone: the supervisor takes it away last. */
int
cli_stop(struct cli *c)
{
	struct buf request = BUF_INIT(16);
	struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
	char path[CLI_PATH_ROOM];
	if (!cli_path(c, "control.sock", path) || buf_append_byte(&request, CONTROL_STOP) != ERR_OK ||
	    !cli_ask(c, &request, &data)) {
		return CLI_FAILED;
	}
	buf_clear(&data);
	for (msec waited = 0; waited < STOP_MS; waited += STOP_STEP_MS) {
		if (access(path, F_OK) != 0) {
			return CLI_OK;
		}
		const struct timespec step = {.tv_nsec = STOP_STEP_MS * 1000000L};
		(void)nanosleep(&step, NULL);
	}
	return cli_fail("the service has not stopped within %d s. Remedy: its log says what it waits for",
			STOP_MS / 1000);
}

int
cli_config_show(struct cli *c)
{
	struct buf out = BUF_INIT(CLI_OUTPUT_MAX);
	enum err e = c->man ? config_describe(&out) : config_write_template(&out, "", "", "", 0);
	if (e != ERR_OK) {
		buf_clear(&out);
		return cli_fail("the configuration cannot be shown: %s", err_text(e));
	}
	return cli_print(&out);
}
