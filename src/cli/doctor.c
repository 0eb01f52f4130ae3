/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "cli/doctor.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_MAX = 1024, CONNECTIONS_MS = 60 * 1000 };

static const char *
level_name(enum doctor_level level)
{
	switch (level) {
	case DOCTOR_GOOD:
		return "good";
	case DOCTOR_HINT:
		return "hint";
	case DOCTOR_BAD:
		return "bad";
	case DOCTOR_UNKNOWN:
		return "unknown";
	}
	return "unknown";
}

static enum err
tell_json(struct doctor *d, enum doctor_level level, const char *check, const char *remedy, const char *what)
{
	const struct {
		const char *key;
		const char *value;
	} rows[] = {{"check", check}, {"level", level_name(level)}, {"what", what}, {"remedy", remedy}};
	enum err e = buf_append_str(&d->out, d->told == 0 ? "[{" : ",\n {");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && e == ERR_OK; i++) {
		if (rows[i].value == NULL) {
			continue;
		}
		e = buf_printf(&d->out, "%s\"%s\": ", i == 0 ? "" : ", ", rows[i].key);
		e = e == ERR_OK ? cli_json_text(&d->out, bytes_str(rows[i].value)) : e;
	}
	return e == ERR_OK ? buf_append_byte(&d->out, '}') : e;
}

void
doctor_tell(struct doctor *d, enum doctor_level level, const char *check, const char *remedy,
	    const char *format, ...)
{
	char what[SENTENCE_MAX];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	/* What the DNS says may hold anything: a terminal gets printable text. */
	for (char *c = what; *c != '\0'; c++) {
		*c = (unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c;
	}
	enum err e = ERR_OK;
	remedy = level == DOCTOR_GOOD ? NULL : remedy;
	if (d->cli->json) {
		e = tell_json(d, level, check, remedy, what);
	} else {
		e = buf_printf(&d->out, "%-8s%-14s%s\n", level_name(level), check, what);
		if (e == ERR_OK && remedy != NULL) {
			e = buf_printf(&d->out, "%22sRemedy: %s\n", "", remedy);
		}
	}
	d->full = d->full || e != ERR_OK;
	d->told++;
	d->bad += level == DOCTOR_BAD ? 1 : 0;
	d->hints += level == DOCTOR_HINT ? 1 : 0;
}

void
doctor_address_text(const uint8_t address[16], char *ret, size_t n)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	bool v4 = memcmp(address, mapped, sizeof(mapped)) == 0;
	if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + 12 : address, ret, (socklen_t)n) == NULL) {
		(void)snprintf(ret, n, "?");
	}
}

int
cli_doctor(struct cli *c)
{
	struct doctor *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		return cli_fail("out of memory");
	}
	d->cli = c;
	(void)signal(SIGPIPE, SIG_IGN); /* of whoever hangs up under TLS */
	buf_init(&d->out, CLI_OUTPUT_MAX);
	if (!cli_config(c, &d->config)) {
		free(d);
		return CLI_FAILED;
	}
	doctor_dns(d);
	d->until = clock_monotonic() + CONNECTIONS_MS;
	doctor_ports(d);
	doctor_web(d);
	if (clock_monotonic() >= d->until) {
		doctor_tell(d, DOCTOR_BAD, "time", "see what is said of the ports above",
			    "the ports took all of their %d s: those that came last could not be looked at",
			    CONNECTIONS_MS / 1000);
	}
	doctor_machine(d);
	doctor_names(d);
	enum err e =
	    d->full   ? ERR_MEMORY
	    : c->json ? buf_append_str(&d->out, "]\n")
		      : buf_printf(&d->out, "%zu checked, %zu bad, %zu hints\n", d->told, d->bad, d->hints);
	int status =
	    e == ERR_OK ? cli_print(&d->out) : cli_fail("the findings cannot be shown: %s", err_text(e));
	if (status == CLI_OK && d->bad > 0) {
		status = CLI_FAILED;
	}
	buf_clear(&d->out);
	free(d);
	return status;
}
