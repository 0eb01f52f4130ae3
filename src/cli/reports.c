/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* `cohue reports`: what others say of the house, from the gates' sums. */
#include <stdio.h>
#include <string.h>

#include "cli/internal.h"

enum { SUMS_MAX = 512, SUM_NAME_MAX = 96 };

struct sum {
	char kind[32];
	char name[SUM_NAME_MAX];
	uint64_t value;
};

struct sums {
	struct sum sum[SUMS_MAX];
	size_t count;
};

static struct bytes
cut(struct bytes *rest, char end)
{
	ptrdiff_t at = bytes_find(*rest, (uint8_t)end);
	struct bytes word = at < 0 ? *rest : bytes_slice(*rest, 0, (size_t)at);
	*rest = bytes_from(*rest, word.len + 1);
	return word;
}

/* "ROLE INDEX report.KIND.NAME VALUE"; the gates' are added up. */
static void
add_line(struct sums *s, struct bytes line)
{
	uint64_t value = 0;
	(void)cut(&line, ' ');
	(void)cut(&line, ' ');
	struct bytes name = cut(&line, ' ');
	if (!bytes_starts_with(name, "report.") || bytes_to_u64(line, UINT64_MAX / 2, &value) != ERR_OK) {
		return;
	}
	name = bytes_from(name, strlen("report."));
	struct bytes kind = cut(&name, '.');
	size_t i = 0;
	while (i < s->count && !(bytes_is(kind, s->sum[i].kind) && bytes_is(name, s->sum[i].name))) {
		i++;
	}
	if (i == SUMS_MAX || kind.len >= sizeof(s->sum[i].kind) || name.len >= sizeof(s->sum[i].name)) {
		return;
	}
	if (i == s->count) {
		(void)snprintf(s->sum[i].kind, sizeof(s->sum[i].kind), "%.*s", (int)kind.len,
			       (const char *)kind.ptr);
		(void)snprintf(s->sum[i].name, sizeof(s->sum[i].name), "%.*s", (int)name.len,
			       (const char *)name.ptr);
		s->count++;
	}
	s->sum[i].value += value;
}

static const char *
title_of(const char *kind)
{
	static const char *const titles[][2] = {
	    {"dmarc", "Mail in the house's name, as others judged it (DMARC)"},
	    {"pass_from", "It was the house's, from these networks"},
	    {"fail_from", "It was not, or was changed on its way, from these"},
	    {"tls", "Encryption on the way to us (TLS reports, sessions)"},
	    {"tls_failed", "It failed for these reasons"},
	    {"complaint", "Complaints"},
	    {"void", "Not counted"},
	};
	for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
		if (strcmp(kind, titles[i][0]) == 0) {
			return titles[i][1];
		}
	}
	return kind;
}

/* Kinds come in order, but for those that another gate has and the first had not: they are printed where their kind began. */
static enum err
print(const struct sums *s, bool json, struct buf *out)
{
	enum err e = json ? buf_append_byte(out, '{') : ERR_OK;
	bool first_kind = true;
	for (size_t i = 0; e == ERR_OK && i < s->count; i++) {
		const char *kind = s->sum[i].kind;
		bool known = false;
		for (size_t k = 0; k < i; k++) {
			known = known || strcmp(s->sum[k].kind, kind) == 0;
		}
		if (known) {
			continue;
		}
		e = json ? buf_printf(out, "%s\"%s\": {", first_kind ? "" : ",\n ", kind)
			 : buf_printf(out, "%s%s\n", first_kind ? "" : "\n", title_of(kind));
		first_kind = false;
		bool first = true;
		for (size_t k = i; e == ERR_OK && k < s->count; k++) {
			const struct sum *x = &s->sum[k];
			if (strcmp(x->kind, kind) == 0) {
				e = json ? buf_printf(out, "%s\"%s\": %llu", first ? "" : ", ", x->name,
						      (unsigned long long)x->value)
					 : buf_printf(out, "  %-28s at most %llu\n", x->name,
						      (unsigned long long)x->value);
				first = false;
			}
		}
		e = e == ERR_OK && json ? buf_append_byte(out, '}') : e;
	}
	if (e == ERR_OK && !json && s->count == 0) {
		return buf_append_str(out, "no reports yet\n");
	}
	return e == ERR_OK && json ? buf_append_str(out, "}\n") : e;
}

int
cli_reports(struct cli *c)
{
	static struct sums sums; /* large */
	struct buf request = BUF_INIT(16);
	struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
	struct buf out = BUF_INIT(CLI_OUTPUT_MAX);
	if (buf_append_byte(&request, CONTROL_STATUS) != ERR_OK || !cli_ask(c, &request, &data)) {
		return CLI_FAILED;
	}
	struct bytes text = buf_bytes(&data);
	while (text.len > 0) {
		add_line(&sums, cut(&text, '\n'));
	}
	enum err e = print(&sums, c->json, &out);
	buf_clear(&data);
	if (e != ERR_OK) {
		buf_clear(&out);
		return cli_fail("the reports cannot be shown: %s", err_text(e));
	}
	return cli_print(&out);
}
