/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The options of `cohue crowd`, and the small things that its commands share. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/crowd.h"

enum command { TABLE = 1, SIMULATE = 2, ADVISE = 4, LIVE = 8, REPORT = 16 };

static const struct {
	const char *name;
	unsigned commands;
} commands[] = {
    {"table", TABLE}, {"simulate", SIMULATE}, {"advise", ADVISE}, {"live", LIVE}, {"report", REPORT}};

enum kind {
	TEXT,
	NUMBER,
	FLAG,
	LAW,    /* a key of the configuration: leave.KEY */
	SIZES,  /* "one", "fifth", or a share */
	FORMAT, /* text, csv, json, svg */
};

static const struct option {
	const char *name;
	enum kind kind;
	unsigned commands;
	size_t offset;
	double least;
	double most;
	const char *key; /* of LAW */
} options[] = {
    {"--format", FORMAT, TABLE | SIMULATE | ADVISE | LIVE, offsetof(struct crowd_args, format), 0, 0, NULL},
    {"--trace", TEXT, SIMULATE | REPORT, offsetof(struct crowd_args, trace), 0, 0, NULL},
    {"--members", NUMBER, SIMULATE | ADVISE, offsetof(struct crowd_args, members), 1, 5e6, NULL},
    {"--rate", NUMBER, SIMULATE | ADVISE, offsetof(struct crowd_args, rate), 0.001, 10000, NULL},
    {"--days", NUMBER, SIMULATE, offsetof(struct crowd_args, days), 0.01, 100000, NULL},
    {"--sizes", SIZES, SIMULATE | ADVISE, offsetof(struct crowd_args, large), 0, 1, NULL},
    {"--weights", FLAG, SIMULATE, offsetof(struct crowd_args, weights), 0, 0, NULL},
    {"--single", FLAG, SIMULATE, offsetof(struct crowd_args, single), 0, 0, NULL},
    {"--flooders", NUMBER, SIMULATE, offsetof(struct crowd_args, flooders), 0, 10000, NULL},
    {"--flood-rate", NUMBER, SIMULATE, offsetof(struct crowd_args, flood_rate), 0, 1e6, NULL},
    {"--flood-urgent", FLAG, SIMULATE, offsetof(struct crowd_args, flood_urgent), 0, 0, NULL},
    {"--weekly", NUMBER, SIMULATE, offsetof(struct crowd_args, weekly), 0.01, 1000, NULL},
    {"--seed", NUMBER, SIMULATE | ADVISE | REPORT, offsetof(struct crowd_args, seed), 0, 9e15, NULL},
    {"--law", LAW, SIMULATE, 0, 0, 0, "law"},
    {"--clock", LAW, SIMULATE, 0, 0, 0, "clock"},
    {"--crowd", LAW, SIMULATE | TABLE, 0, 0, 0, "crowd"},
    {"--deadline", LAW, SIMULATE | ADVISE, 0, 0, 0, "deadline"},
    {"--mean", LAW, SIMULATE, 0, 0, 0, "mean"},
    {"--patient", LAW, SIMULATE, 0, 0, 0, "patient"},
    {"--wait", NUMBER, ADVISE, offsetof(struct crowd_args, wait), 1, 10000, NULL},
    {"--guess", NUMBER, ADVISE, offsetof(struct crowd_args, guess), 0.1, 99, NULL},
    {"--alliance", NUMBER, ADVISE, offsetof(struct crowd_args, houses), 1, 10000, NULL},
    {"--attention-floor", NUMBER, ADVISE, offsetof(struct crowd_args, attention.floor), 0, 1, NULL},
    {"--attention-half", NUMBER, ADVISE, offsetof(struct crowd_args, attention.half), 1, 1e9, NULL},
    {"--attention-steep", NUMBER, ADVISE, offsetof(struct crowd_args, attention.steep), 0.1, 10, NULL},
    {"--live", FLAG, ADVISE, offsetof(struct crowd_args, live), 0, 0, NULL},
    {"--members", TEXT, TABLE, offsetof(struct crowd_args, sizes_list), 0, 0, NULL},
    {"--rates", TEXT, TABLE, offsetof(struct crowd_args, rates_list), 0, 0, NULL},
    {"--clocks", TEXT, TABLE, offsetof(struct crowd_args, clocks_list), 0, 0, NULL},
    {"--out", TEXT, REPORT, offsetof(struct crowd_args, out), 0, 0, NULL},
};

enum { OPTIONS = sizeof(options) / sizeof(options[0]), COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int
usage(const char *what, const char *which)
{
	(void)fprintf(stderr, "cohue: crowd: %s: %s. Remedy: cohue-crowd(1) lists the options\n", what,
		      which);
	return CLI_USAGE;
}

static bool
number_of(const char *text, double *ret)
{
	char *end = NULL;
	errno = 0;
	double v = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' || !isfinite(v)) {
		return false;
	}
	*ret = v;
	return true;
}

static int
set_number(const struct option *o, const char *value, void *at)
{
	double v = 0;
	if (!number_of(value, &v) || v < o->least || v > o->most) {
		return cli_fail("crowd: %s: \"%s\" is no number from %.6g to %.6g. Remedy: give one", o->name,
				value, o->least, o->most);
	}
	memcpy(at, &v, sizeof(v));
	return CLI_OK;
}

static int
set_sizes(const struct option *o, const char *value, void *at)
{
	double large = 0;
	if (strcmp(value, "fifth") == 0) {
		large = size_model_default.large;
	} else if (strcmp(value, "one") != 0) {
		return set_number(o, value, at);
	}
	memcpy(at, &large, sizeof(large));
	return CLI_OK;
}

static int
set_format(const char *value, struct crowd_args *a)
{
	static const char *const names[] = {"text", "csv", "json", "svg"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			a->format = (enum crowd_format)i;
			return CLI_OK;
		}
	}
	return cli_fail("crowd: --format: \"%s\" is none. Remedy: text, csv, json or svg", value);
}

/* As the configuration would read it, so that durations and limits are the same. */
static int
set_law(const struct option *o, const char *value, struct config *config)
{
	struct config_error error;
	struct buf line = BUF_INIT(4096);
	enum err e = buf_printf(&line, "leave.%s=%s", o->key, value);
	if (e == ERR_OK) {
		e = config_set(config, buf_bytes(&line), &error);
	}
	buf_clear(&line);
	if (e == ERR_FORMAT) {
		/* What is wrong with it, and not where: it came from this option. */
		const char *fault = strstr(error.text, ": ");
		return cli_fail("crowd: %s: %s", o->name, fault == NULL ? error.text : fault + 2);
	}
	return e == ERR_OK ? CLI_OK : cli_fail("crowd: %s: %s", o->name, err_text(e));
}

static int
set(const struct option *o, const char *value, struct crowd_args *a, struct config *config)
{
	void *at = (char *)a + o->offset;
	const bool yes = true;
	switch (o->kind) {
	case TEXT:
		memcpy(at, &value, sizeof(value));
		return CLI_OK;
	case NUMBER:
		return set_number(o, value, at);
	case FLAG:
		memcpy(at, &yes, sizeof(yes));
		return CLI_OK;
	case LAW:
		return set_law(o, value, config);
	case SIZES:
		return set_sizes(o, value, at);
	case FORMAT:
		return set_format(value, a);
	}
	return CLI_USAGE;
}

static const struct option *
option_of(const char *word, unsigned command, const char **ret_value)
{
	for (size_t i = 0; i < OPTIONS; i++) {
		size_t n = strlen(options[i].name);
		if ((options[i].commands & command) != 0 && strncmp(word, options[i].name, n) == 0 &&
		    (word[n] == '\0' || word[n] == '=')) {
			*ret_value = word[n] == '=' ? word + n + 1 : NULL;
			return &options[i];
		}
	}
	return NULL;
}

static int
read_words(struct cli *c, unsigned command, struct crowd_args *a, struct config *config)
{
	for (size_t i = 0; i < c->word_count; i++) {
		const char *value = NULL;
		const struct option *o = option_of(c->words[i], command, &value);
		if (o == NULL) {
			return usage("not understood", c->words[i]);
		}
		if (o->kind == FLAG ? value != NULL : value == NULL && ++i == c->word_count) {
			return usage(o->kind == FLAG ? "takes no value" : "needs a value", o->name);
		}
		value = value == NULL && o->kind != FLAG ? c->words[i] : value;
		int status = set(o, value, a, config);
		if (status != CLI_OK) {
			return status;
		}
	}
	return CLI_OK;
}

int
crowd_options(struct cli *c, const char *command, struct crowd_args *ret)
{
	static struct config config;
	struct crowd_args a = {
	    .format = c->json ? CROWD_JSON : CROWD_TEXT,
	    .rate = 5,
	    .flood_rate = 240,
	    .weekly = 2,
	    .seed = 1,
	    .wait = 45,
	    .guess = 10,
	    .houses = 1,
	    .attention = attention_default,
	    .sizes_list = "3,10,30,100,300,1000,10000",
	    .rates_list = "0.5,1,5",
	    .clocks_list = "15,30,60",
	};
	unsigned which = 0;
	for (size_t i = 0; i < COMMANDS; i++) {
		which |= strcmp(commands[i].name, command) == 0 ? commands[i].commands : 0;
	}
	config_defaults(&config);
	config.leave.kind = LAW_CROWD;
	a.large = which == ADVISE ? size_model_default.large : 0;
	int status = read_words(c, which, &a, &config);
	if (status != CLI_OK) {
		return status;
	}
	a.law = config.leave;
	*ret = a;
	return CLI_OK;
}

void
crowd_out_init(struct crowd_out *o)
{
	*o = (struct crowd_out){.text = BUF_INIT(CLI_OUTPUT_MAX)};
}

void
crowd_say(struct crowd_out *o, const char *format, ...)
{
	char line[2048];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line)) {
		o->error = ERR_LIMIT;
	}
	o->error = o->error == ERR_OK ? buf_append(&o->text, bytes_of(line, (size_t)n)) : o->error;
}

void
crowd_say_wait(struct crowd_out *o, msec wait)
{
	if (wait < 2 * MSEC_MINUTE) {
		crowd_say(o, "%.0f s", (double)wait / MSEC_SECOND);
	} else if (wait < 10 * MSEC_HOUR) {
		crowd_say(o, "%.0f min", (double)wait / MSEC_MINUTE);
	} else {
		crowd_say(o, wait < 3 * MSEC_DAY ? "%.1f h" : "%.0f h", (double)wait / MSEC_HOUR);
	}
}

void
crowd_say_number(struct crowd_out *o, const char *name, double value)
{
	if (isfinite(value)) {
		crowd_say(o, "\"%s\": %.6g", name, value);
	} else {
		crowd_say(o, "\"%s\": null", name);
	}
}

int
crowd_print(struct crowd_out *o)
{
	if (o->error != ERR_OK) {
		buf_clear(&o->text);
		return cli_fail("crowd: the result cannot be shown: %s", err_text(o->error));
	}
	return cli_print(&o->text);
}

int
crowd_failed(enum err e)
{
	switch ((int)e) {
	case ERR_LIMIT:
		return cli_fail(
		    "crowd: more than %d letters wait at once. Remedy: a shorter clock or mean, fewer "
		    "members or days",
		    LAW_UNITS_MAX);
	case ERR_FORMAT:
		return cli_fail(
		    "crowd: the law's settings are impossible. Remedy: a clock, crowd and deadline (or mean) "
		    "above zero, the deadline not below the clock");
	case ERR_STATE:
		return cli_fail("crowd: a letter never left. Remedy: report this: the law forgets one");
	default:
		return cli_fail("crowd: the simulation failed: %s", err_text(e));
	}
}

/* A file or a pipe, whole. */
static enum err
read_all(const char *path, struct buf *ret)
{
	static uint8_t block[256 * 1024];
	bool given = strcmp(path, "-") == 0;
	int fd = given ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	enum err e = fd < 0 ? err_from_errno(errno) : ERR_OK;
	ssize_t n = 0;
	while (e == ERR_OK && (n = read(fd, block, sizeof(block))) > 0) {
		e = buf_append(ret, bytes_of(block, (size_t)n));
	}
	e = e == ERR_OK && n < 0 ? err_from_errno(errno) : e;
	if (fd >= 0 && !given) {
		(void)close(fd);
	}
	return e;
}

bool
crowd_trace(const struct crowd_args *a, struct trace *ret)
{
	struct buf text = BUF_INIT((size_t)4 * 1024 * 1024 * 1024 - 1);
	struct trace_error error = {.line = 0};
	enum err e = read_all(a->trace, &text);
	if (e != ERR_OK) {
		buf_clear(&text);
		(void)cli_fail("crowd: %s cannot be read: %s. Remedy: name a readable file of lines `sender "
			       "recipient time`, or - for standard input",
			       a->trace, err_text(e));
		return false;
	}
	e = trace_read(buf_bytes(&text), INT64_MAX, ret, &error);
	buf_clear(&text);
	if (e == ERR_MEMORY) {
		(void)cli_fail("crowd: out of memory");
	} else if (e != ERR_OK && error.line > 0) {
		(void)cli_fail("crowd: %s:%llu: %s", a->trace, (unsigned long long)error.line, error.text);
	} else if (e != ERR_OK) {
		(void)cli_fail("crowd: %s: %s", a->trace, error.text);
	}
	return e == ERR_OK;
}
