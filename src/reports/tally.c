/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "reports/tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

enum { FIRST_ROOM = 16, ROW_FIXED = 4 + 1 + 1 + 16 + 4 + 8 + 4 };

void
tally_init(struct tally *t)
{
	*t = (struct tally){.rows = NULL};
}

void
tally_clear(struct tally *t)
{
	if (t->rows != NULL) {
		explicit_bzero(t->rows, t->room * sizeof(*t->rows));
		free(t->rows);
	}
	tally_init(t);
}

enum tally_policy
tally_policy_of(uint8_t outcome)
{
	unsigned p = outcome >> 4;
	return p < TALLY_POLICIES ? (enum tally_policy)p : TALLY_NO_POLICY;
}

enum tally_session
tally_session_of(uint8_t outcome)
{
	unsigned s = outcome & 15U;
	return s < TALLY_SESSIONS ? (enum tally_session)s : TALLY_TLS_FAILED;
}

void
tally_net(const uint8_t address[16], uint8_t ret[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	size_t kept = memcmp(address, mapped, sizeof(mapped)) == 0 ? 15 : 6;
	memset(ret, 0, 16);
	memcpy(ret, address, kept);
}

/* It goes into XML, JSON and DNS questions as it is. */
static bool
is_domain(const char *domain)
{
	size_t len = strnlen(domain, TALLY_DOMAIN_MAX + 1);
	bool dot = false;
	if (len == 0 || len > TALLY_DOMAIN_MAX || domain[0] == '.' || domain[len - 1] == '.') {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)domain[i];
		if (!ascii_is_digit(c) && !(c >= 'a' && c <= 'z') && c != '-' && c != '_' && c != '.') {
			return false;
		}
		dot = dot || c == '.';
	}
	return dot;
}

static bool
is_like(const struct tally_row *a, const struct tally_row *b)
{
	return a->day == b->day && a->kind == b->kind && a->outcome == b->outcome &&
	       memcmp(a->net, b->net, sizeof(a->net)) == 0 && strcmp(a->domain, b->domain) == 0;
}

static bool
grow(struct tally *t)
{
	if (t->count < t->room) {
		return true;
	}
	if (t->room >= TALLY_ROWS_MAX) {
		return false;
	}
	size_t room = t->room == 0 ? FIRST_ROOM : t->room * 2;
	struct tally_row *rows = calloc(room, sizeof(*rows));
	if (rows == NULL) {
		return false;
	}
	if (t->count > 0) {
		memcpy(rows, t->rows, t->count * sizeof(*rows));
		explicit_bzero(t->rows, t->count * sizeof(*rows));
	}
	free(t->rows);
	t->rows = rows;
	t->room = room;
	return true;
}

void
tally_add(struct tally *t, const struct tally_row *row)
{
	size_t i = 0;
	if (!is_domain(row->domain)) {
		return;
	}
	while (i < t->count && !is_like(&t->rows[i], row)) {
		i++;
	}
	if (i == t->count) {
		if (!grow(t)) {
			return;
		}
		t->rows[t->count++] = *row;
		t->rows[i].count = 0;
	}
	uint64_t sum = (uint64_t)t->rows[i].count + row->count;
	t->rows[i].count = sum < TALLY_COUNT_MAX ? (uint32_t)sum : TALLY_COUNT_MAX;
	t->rows[i].members |= row->members;
}

static void
drop(struct tally *t, size_t i)
{
	t->count--;
	t->rows[i] = t->rows[t->count];
	explicit_bzero(&t->rows[t->count], sizeof(t->rows[0]));
	if (t->count == 0) {
		tally_clear(t);
	}
}

enum err
tally_take(struct tally *t, uint32_t day, size_t most, struct buf *ret)
{
	struct wire_writer w;
	wire_writer_init(&w, ret);
	for (size_t i = t->count; i > 0 && w.error == ERR_OK; i--) {
		const struct tally_row *r = &t->rows[i - 1];
		struct bytes domain = bytes_str(r->domain);
		if (r->day > day || ret->len + ROW_FIXED + domain.len > most) {
			continue;
		}
		wire_put_u32(&w, r->day);
		wire_put_u8(&w, r->outcome);
		wire_put_fixed(&w, r->net, sizeof(r->net));
		wire_put_bytes(&w, domain);
		wire_put_u64(&w, r->members);
		wire_put_u32(&w, r->count);
		if (w.error == ERR_OK) {
			drop(t, i - 1);
		}
	}
	return wire_done(&w);
}

enum err
tally_read(struct tally *t, enum tally_kind kind, struct bytes rows)
{
	struct wire_reader r;
	wire_reader_init(&r, rows);
	while (r.rest.len > 0 && r.error == ERR_OK) {
		struct tally_row row = {.kind = (uint8_t)kind};
		row.day = wire_get_u32(&r);
		row.outcome = wire_get_u8(&r);
		wire_get_fixed(&r, row.net, sizeof(row.net));
		struct bytes domain = wire_get_bytes(&r, TALLY_DOMAIN_MAX);
		row.members = wire_get_u64(&r);
		row.count = wire_get_u32(&r);
		if (r.error == ERR_OK) {
			memcpy(row.domain, domain.ptr, domain.len);
			tally_add(t, &row);
		}
	}
	return wire_end(&r);
}

static unsigned
members_in(uint64_t set)
{
	unsigned n = 0;
	for (; set != 0; set &= set - 1) {
		n++;
	}
	return n;
}

/* What `row` is weighed with: itself, or all sessions of its domain. */
static bool
may_be_told(const struct tally *t, const struct tally_row *row)
{
	uint64_t members = row->members;
	uint64_t count = row->count;
	for (size_t i = 0; i < t->count && row->kind == TALLY_TLS; i++) {
		const struct tally_row *o = &t->rows[i];
		if (o != row && o->day == row->day && o->kind == row->kind &&
		    strcmp(o->domain, row->domain) == 0) {
			members |= o->members;
			count += o->count;
		}
	}
	return members_in(members) >= TALLY_MEMBERS_LEAST && count >= TALLY_COUNT_LEAST;
}

static int
by_domain(const void *a, const void *b)
{
	const struct tally_row *x = a;
	const struct tally_row *y = b;
	int c = strcmp(x->domain, y->domain);
	c = c != 0 ? c : (int)x->kind - (int)y->kind;
	c = c != 0 ? c : (int)x->outcome - (int)y->outcome;
	return c != 0 ? c : memcmp(x->net, y->net, sizeof(x->net));
}

void
tally_close(struct tally *t, uint32_t day, struct tally *ret)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->rows[i].day == day && may_be_told(t, &t->rows[i])) {
			tally_add(ret, &t->rows[i]);
		}
	}
	for (size_t i = t->count; i > 0; i--) {
		if (t->rows[i - 1].day <= day) {
			drop(t, i - 1);
		}
	}
	if (ret->count > 0) {
		qsort(ret->rows, ret->count, sizeof(*ret->rows), by_domain);
	}
}

uint64_t
tally_coarse(uint64_t n)
{
	while ((n & (n - 1)) != 0) {
		n &= n - 1;
	}
	return n;
}
