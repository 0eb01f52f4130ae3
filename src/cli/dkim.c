/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The house's DKIM keys: what HOME/dkim.keys says of them in clear. Their secrets never come here. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/calendar.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli/internal.h"

enum { TXT_STRING = 255, RECORD_MAX = 1024 };

static const enum dkim_algorithm algorithms[] = {DKIM_RSA_SHA256, DKIM_ED25519_SHA256};
enum { ALGORITHMS = sizeof(algorithms) / sizeof(algorithms[0]) };

enum err
cli_dkim_read(const char *path, struct dkim_ring *ret)
{
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	dkim_ring_init(ret);
	enum err e = file_read(path, FILE_NO_LINK | FILE_OURS, S_IRWXG | S_IRWXO, &file);
	e = e == ERR_OK ? dkim_ring_read(buf_bytes(&file), ret) : e;
	buf_clear(&file);
	return e;
}

enum err
cli_dkim_quote(struct bytes text, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t at = 0; at < text.len && e == ERR_OK; at += TXT_STRING) {
		e = buf_append_str(out, at == 0 ? "\"" : " \"");
		e = e == ERR_OK ? buf_append(out, bytes_slice(text, at, TXT_STRING)) : e;
		e = e == ERR_OK ? buf_append_byte(out, '"') : e;
	}
	return e;
}

static const char *
state_name(enum dkim_state state)
{
	static const char *const names[] = {[DKIM_WAITING] = "waits",
					    [DKIM_SIGNING] = "signs",
					    [DKIM_KEPT] = "kept",
					    [DKIM_REVOKED] = "revoked",
					    [DKIM_GONE] = "gone"};
	return names[state];
}

static const char *
state_means(enum dkim_state state)
{
	static const char *const means[] = {
	    [DKIM_WAITING] = "publish it now; it signs from ",
	    [DKIM_SIGNING] = "signs leaving mail",
	    [DKIM_KEPT] = "signs no more; others may still verify with it: publish it until ",
	    [DKIM_REVOKED] = "signs no more: publish it empty until ",
	    [DKIM_GONE] = "remove it"};
	return means[state];
}

static void
write_day(int64_t seconds, char ret[16])
{
	struct calendar c = calendar_of(seconds);
	(void)snprintf(ret, 16, "%04u-%02u-%02u", (unsigned)c.year % 10000, (unsigned)c.month % 100,
		       (unsigned)c.day % 100);
}

/* "signs no more ...: publish it until 2026-12-01" */
static void
explain(const struct dkim_ring *r, size_t pair, int64_t now, char *ret, size_t room)
{
	char day[16] = "";
	enum dkim_state state = dkim_ring_state(r, pair, now);
	if (state != DKIM_SIGNING && state != DKIM_GONE) {
		write_day(dkim_ring_until(r, pair, now), day);
	}
	(void)snprintf(ret, room, "%s%s", state_means(state), day);
}

enum err
cli_dkim_records(const struct dkim_ring *r, const char *domain, cli_dkim_record_fn *fn, void *arg)
{
	int64_t now = clock_wall() / MSEC_SECOND;
	enum err e = ERR_OK;
	for (size_t i = 0; i < r->count && e == ERR_OK; i++) {
		enum dkim_state state = dkim_ring_state(r, i, now);
		for (size_t k = 0; k < ALGORITHMS && state != DKIM_GONE && e == ERR_OK; k++) {
			struct buf text = BUF_INIT(RECORD_MAX);
			struct buf value = BUF_INIT(RECORD_MAX);
			char selector[DKIM_NAME_MAX + 1];
			char name[CONFIG_NAME_MAX + 64];
			char note[160];
			char means[128];
			dkim_selector(&r->pairs[i], algorithms[k], selector);
			explain(r, i, now, means, sizeof(means));
			(void)snprintf(name, sizeof(name), "%s._domainkey.%s.", selector, domain);
			(void)snprintf(note, sizeof(note), "DKIM (RFC %s): %s",
				       algorithms[k] == DKIM_RSA_SHA256 ? "6376" : "8463", means);
			e = dkim_pair_record(&r->pairs[i], algorithms[k], state, &text);
			e = e == ERR_OK ? cli_dkim_quote(buf_bytes(&text), &value) : e;
			e = e == ERR_OK ? buf_append_byte(&value, '\0') : e;
			if (e == ERR_OK) {
				struct cli_dkim_record record = {.name = name,
								 .value = (const char *)value.ptr,
								 .note = note,
								 .selector = selector,
								 .state = state_name(state),
								 .made = r->pairs[i].made,
								 .until = dkim_ring_until(r, i, now)};
				e = fn(arg, &record);
			}
			buf_clear(&text);
			buf_clear(&value);
		}
	}
	return e;
}

/* ---- cohue dkim ---- */

struct listing {
	struct buf *out;
	bool json;
	bool any;
};

static enum err
json_text(struct buf *out, const char *key, const char *value)
{
	enum err e = buf_printf(out, "\"%s\": ", key);
	return e == ERR_OK ? cli_json_text(out, bytes_str(value)) : e;
}

static enum err
list_record(void *arg, const struct cli_dkim_record *r)
{
	struct listing *l = arg;
	struct buf *out = l->out;
	char made[16];
	char until[16] = "";
	bool ends = r->until != INT64_MAX;
	write_day(r->made, made);
	if (ends) {
		write_day(r->until, until);
	}
	if (!l->json) {
		l->any = true;
		return buf_printf(out, "%s %s, made %s%s%s\n; %s\n%s IN TXT %s\n", r->selector, r->state,
				  made, ends ? ", until " : "", until, r->note, r->name, r->value);
	}
	enum err e = buf_append_str(out, l->any ? ",\n {" : "{");
	l->any = true;
	e = e == ERR_OK ? json_text(out, "selector", r->selector) : e;
	e = e == ERR_OK ? buf_append_str(out, ", ") : e;
	e = e == ERR_OK ? json_text(out, "state", r->state) : e;
	e = e == ERR_OK ? buf_printf(out, ", \"made\": %lld, ", (long long)r->made) : e;
	e = e == ERR_OK && ends ? buf_printf(out, "\"until\": %lld, ", (long long)r->until) : e;
	e = e == ERR_OK ? json_text(out, "name", r->name) : e;
	e = e == ERR_OK ? buf_append_str(out, ", \"type\": \"TXT\", ") : e;
	e = e == ERR_OK ? json_text(out, "value", r->value) : e;
	return e == ERR_OK ? buf_append_byte(out, '}') : e;
}

int
cli_dkim(struct cli *c)
{
	struct config config;
	struct dkim_ring ring;
	char path[CLI_PATH_ROOM];
	struct buf out = BUF_INIT(256 * 1024);
	if (!cli_config(c, &config) || !cli_path(c, "dkim.keys", path)) {
		return CLI_FAILED;
	}
	enum err e = cli_dkim_read(path, &ring);
	if (e != ERR_OK) {
		return cli_fail("%s cannot be read: %s. Remedy: %s", path,
				e == ERR_AUTH ? "others may read or change it" : err_text(e),
				e == ERR_NOT_FOUND
				    ? "start the service: it makes the keys of a home that has none"
				    : "run as the user who runs cohue; where it is damaged, bring it "
				      "back from a backup");
	}
	struct listing l = {.out = &out, .json = c->json};
	e = c->json ? buf_append_byte(&out, '[') : ERR_OK;
	e = e == ERR_OK ? cli_dkim_records(&ring, config.domain, list_record, &l) : e;
	e = e == ERR_OK && c->json ? buf_append_str(&out, "]\n") : e;
	dkim_ring_clear(&ring);
	if (e != ERR_OK) {
		buf_clear(&out);
		return cli_fail("the keys cannot be shown: %s", err_text(e));
	}
	return cli_print(&out);
}

static int
change(struct cli *c, uint8_t op)
{
	struct buf request = BUF_INIT(16);
	struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
	if (buf_append_byte(&request, CONTROL_DKIM) != ERR_OK || buf_append_byte(&request, op) != ERR_OK ||
	    !cli_ask(c, &request, &data)) {
		return CLI_FAILED;
	}
	buf_clear(&data);
	return cli_dkim(c);
}

int
cli_dkim_rotate(struct cli *c)
{
	return change(c, CONTROL_DKIM_ROTATE);
}

int
cli_dkim_activate(struct cli *c)
{
	return change(c, CONTROL_DKIM_ACTIVATE);
}
