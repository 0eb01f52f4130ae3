/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crowd/live.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	size_t offset;
} fields[] = {
    {"letters", offsetof(struct live_sums, letters)},
    {"deliveries", offsetof(struct live_sums, deliveries)},
    {"void", offsetof(struct live_sums, void_letters)},
    {"urgent", offsetof(struct live_sums, urgent)},
    {"wait", offsetof(struct live_sums, wait)},
    {"crowd", offsetof(struct live_sums, crowd)},
    {"guess", offsetof(struct live_sums, guess)},
    {"ticks", offsetof(struct live_sums, ticks)},
    {"bytes", offsetof(struct live_sums, bytes)},
    {"padded", offsetof(struct live_sums, padded)},
    {"taken", offsetof(struct live_sums, taken)},
    {"shown", offsetof(struct live_sums, shown)},
};

static const struct {
	const char *name;
	size_t offset;
} facts[] = {
    {"crowd.members", offsetof(struct live, members)},
    {"crowd.counting", offsetof(struct live, counting)},
    {"crowd.clock", offsetof(struct live, clock)},
    {"crowd.k", offsetof(struct live, k)},
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]), FACTS = sizeof(facts) / sizeof(facts[0]) };

static uint64_t
get(const void *of, size_t offset)
{
	uint64_t v = 0;
	memcpy(&v, (const char *)of + offset, sizeof(v));
	return v;
}

static void
set(void *of, size_t offset, uint64_t v)
{
	memcpy((char *)of + offset, &v, sizeof(v));
}

static void
add_sums(struct live_sums *to, const struct live_sums *what)
{
	for (size_t i = 0; i < FIELDS; i++) {
		uint64_t a = get(to, fields[i].offset);
		uint64_t b = get(what, fields[i].offset);
		set(to, fields[i].offset, a > UINT64_MAX - b ? UINT64_MAX : a + b);
	}
}

/* The period of that number at the end; older ones than `max` periods go. */
static struct live_period *
period_of(struct live_period *periods, size_t *count, size_t max, uint64_t number)
{
	if (*count > 0 && periods[*count - 1].number >= number) {
		return &periods[*count - 1];
	}
	size_t old = 0;
	while (old < *count && periods[old].number + max <= number) {
		old++;
	}
	if (*count - old == max) {
		old++;
	}
	memmove(periods, periods + old, (*count - old) * sizeof(periods[0]));
	*count -= old;
	periods[*count] = (struct live_period){.number = number};
	return &periods[(*count)++];
}

void
live_add(struct live *l, msec wall, const struct live_sums *sums)
{
	uint64_t hour = wall < 0 ? 0 : (uint64_t)(wall / MSEC_HOUR);
	add_sums(&period_of(l->hours, &l->hour_count, LIVE_HOURS, hour)->sums, sums);
	add_sums(&period_of(l->days, &l->day_count, LIVE_DAYS, hour / 24)->sums, sums);
}

/* Ascending by class, then member. */
static int
by_batch(const void *a, const void *b)
{
	const struct law_release *const *x = a;
	const struct law_release *const *y = b;
	const struct law_unit *u = &(*x)->unit;
	const struct law_unit *v = &(*y)->unit;
	if (u->size_class != v->size_class) {
		return u->size_class < v->size_class ? -1 : 1;
	}
	return (u->member > v->member) - (u->member < v->member);
}

/* One class's batch, sorted by member: its largest share, over its deliveries. */
static uint64_t
guess_of(const struct law_release *const *releases, size_t count, uint64_t *ret_deliveries)
{
	uint64_t deliveries = 0;
	uint64_t own = 0;
	uint64_t most = 0;
	for (size_t i = 0; i < count; i++) {
		bool same = i > 0 && releases[i]->unit.member == releases[i - 1]->unit.member;
		own = (same ? own : 0) + releases[i]->unit.weight;
		most = own > most ? own : most;
		deliveries += releases[i]->unit.weight;
	}
	*ret_deliveries = deliveries;
	/* most / deliveries, for each of the deliveries. */
	return releases[0]->crowd > 0 || releases[0]->is_void ? most * LIVE_MILLION : 0;
}

static void
add_letter(struct live_sums *s, const struct law_release *r, msec age)
{
	msec wait = age > r->unit.entered ? age - r->unit.entered : 0;
	s->letters++;
	s->void_letters += r->is_void;
	s->urgent += r->is_void && r->unit.lane == LAW_URGENT;
	s->wait += (uint64_t)(wait / MSEC_SECOND);
	s->crowd += r->crowd;
	s->padded += law_class_bytes(r->unit.size_class) * r->unit.weight;
}

enum err
live_of_decision(const struct law_decision *d, msec age, struct live_sums *ret)
{
	struct live_sums s = {.letters = 0};
	const struct law_release **sorted = calloc(d->release_count + 1, sizeof(const struct law_release *));
	size_t count = 0;
	if (sorted == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < d->release_count; i++) {
		if (d->releases[i].unit.lane != LAW_DUE) {
			sorted[count++] = &d->releases[i];
			add_letter(&s, &d->releases[i], age);
		}
	}
	qsort(sorted, count, sizeof(const struct law_release *), by_batch);
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;
		uint64_t deliveries = 0;
		while (end < count && sorted[end]->unit.size_class == sorted[i]->unit.size_class) {
			end++;
		}
		s.guess += guess_of(sorted + i, end - i, &deliveries);
		s.deliveries += deliveries;
		i = end;
	}
	s.ticks = count > 0;
	free(sorted);
	*ret = s;
	return ERR_OK;
}

/* ---- what may be told ---- */

/* One digit, rounded: 3, 40, 200. */
static uint64_t
one_digit(uint64_t n)
{
	uint64_t step = 1;
	while (n / step >= 10) {
		step *= 10;
	}
	return (n / step + (n % step >= (step + 1) / 2 && step > 1 ? 1 : 0)) * step;
}

/* a of b as a part of `told`, in steps of one `steps`-th, rounded up: what is there at all is seen. */
static uint64_t
part_of(uint64_t a, uint64_t b, uint64_t told, uint64_t steps)
{
	uint64_t share = b == 0 ? 0 : (uint64_t)(((double)a / (double)b) * (double)steps + 0.999999);
	return (share < steps ? share : steps) * told / steps;
}

/* The mean of `sum` over `count`, in whole `step`s, times `told`. */
static uint64_t
mean_of(uint64_t sum, uint64_t count, uint64_t told, uint64_t step)
{
	uint64_t mean = count == 0 ? 0 : sum / count;
	return (mean + step / 2) / step * step * told;
}

static struct live_sums
coarse(const struct live_sums *s)
{
	struct live_sums c = {.letters = 0};
	bool few = s->letters < LIVE_FEW;
	uint64_t shares = few ? 4 : 100;
	if (s->letters == 0) {
		return c;
	}
	c.letters = few ? LIVE_FEW : one_digit(s->letters);
	c.deliveries = s->deliveries < LIVE_FEW ? LIVE_FEW : one_digit(s->deliveries);
	c.ticks = s->ticks < LIVE_FEW ? LIVE_FEW : one_digit(s->ticks);
	c.void_letters = part_of(s->void_letters, s->letters, c.letters * 100, shares) / 100;
	c.urgent = few ? 0 : part_of(s->urgent, s->letters, c.letters, shares);
	c.taken = s->taken == 0 ? 0 : s->taken < LIVE_FEW ? LIVE_FEW : one_digit(s->taken);
	c.shown = part_of(s->shown, s->taken, c.taken * 100, s->taken < LIVE_FEW ? 4 : 100) / 100;
	if (!few) {
		c.wait = mean_of(s->wait, s->letters, c.letters, (uint64_t)(10 * MSEC_MINUTE / MSEC_SECOND));
		c.crowd = mean_of(s->crowd, s->letters, c.letters, 1);
		c.guess = mean_of(s->guess, s->deliveries, c.deliveries, LIVE_MILLION / 100);
		c.bytes = s->bytes == 0 ? 0 : 10;
		c.padded = s->bytes == 0 ? 0 : (uint64_t)((double)s->padded / (double)s->bytes * 10 + 0.5);
	}
	return c;
}

static void
take_away(struct live_sums *from, const struct live_sums *what)
{
	for (size_t i = 0; i < FIELDS; i++) {
		uint64_t a = get(from, fields[i].offset);
		uint64_t b = get(what, fields[i].offset);
		set(from, fields[i].offset, a > b ? a - b : 0);
	}
}

void
live_told(const struct live *l, msec wall, struct live *ret)
{
	uint64_t hour = wall < 0 ? 0 : (uint64_t)(wall / MSEC_HOUR);
	struct live told = {.members = l->members, .counting = l->counting, .clock = l->clock, .k = l->k};
	struct live_sums day = live_total(l->hours, l->hour_count);
	/* The hour under way grows letter by letter: it is told when it has ended. So is the day. */
	for (size_t i = 0; i < l->hour_count; i++) {
		if (l->hours[i].number >= hour) {
			take_away(&day, &l->hours[i].sums);
		}
	}
	if (day.letters > 0) {
		told.hours[told.hour_count++] =
		    (struct live_period){.number = hour == 0 ? 0 : hour - 1, .sums = coarse(&day)};
	}
	for (size_t i = 0; i < l->day_count; i++) {
		if (l->days[i].number < hour / 24) {
			told.days[told.day_count++] = (struct live_period){.number = l->days[i].number,
									   .sums = coarse(&l->days[i].sums)};
		}
	}
	*ret = told;
}

/* ---- the lines ---- */

static enum err
write_periods(const char *kind, const struct live_period *periods, size_t count, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		e = buf_printf(out, "crowd.%s.%llu", kind, (unsigned long long)periods[i].number);
		for (size_t k = 0; e == ERR_OK && k < FIELDS; k++) {
			e = buf_printf(out, " %s=%llu", fields[k].name,
				       (unsigned long long)get(&periods[i].sums, fields[k].offset));
		}
		e = e == ERR_OK ? buf_append_byte(out, '\n') : e;
	}
	return e;
}

enum err
live_write(const struct live *l, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < FACTS; i++) {
		e = buf_printf(out, "%s %llu\n", facts[i].name, (unsigned long long)get(l, facts[i].offset));
	}
	e = e == ERR_OK ? write_periods("hour", l->hours, l->hour_count, out) : e;
	return e == ERR_OK ? write_periods("day", l->days, l->day_count, out) : e;
}

static struct bytes
cut(struct bytes *rest, uint8_t at)
{
	ptrdiff_t end = bytes_find(*rest, at);
	struct bytes part = end < 0 ? *rest : bytes_slice(*rest, 0, (size_t)end);
	*rest = bytes_from(*rest, end < 0 ? rest->len : (size_t)end + 1);
	return part;
}

static enum err
read_sums(struct bytes text, struct live_sums *ret)
{
	while (text.len > 0) {
		struct bytes value = cut(&text, ' ');
		struct bytes name = cut(&value, '=');
		uint64_t n = 0;
		if (bytes_to_u64(value, UINT64_MAX, &n) != ERR_OK) {
			return ERR_FORMAT;
		}
		for (size_t i = 0; i < FIELDS; i++) {
			if (bytes_is(name, fields[i].name)) {
				set(ret, fields[i].offset, n);
			}
		}
	}
	return ERR_OK;
}

static enum err
read_period(struct bytes number, struct bytes sums, struct live_period *periods, size_t *count, size_t max)
{
	struct live_period p = {.number = 0};
	if (*count == max || bytes_to_u64(number, UINT64_MAX >> 8, &p.number) != ERR_OK ||
	    (*count > 0 && periods[*count - 1].number >= p.number)) {
		return ERR_FORMAT;
	}
	enum err e = read_sums(sums, &p.sums);
	if (e == ERR_OK) {
		periods[(*count)++] = p;
	}
	return e;
}

static enum err
read_line(struct bytes line, struct live *l)
{
	static const char hour[] = "crowd.hour.";
	static const char day[] = "crowd.day.";
	struct bytes name = cut(&line, ' ');
	if (bytes_starts_with(name, hour)) {
		return read_period(bytes_from(name, sizeof(hour) - 1), line, l->hours, &l->hour_count,
				   LIVE_HOURS);
	}
	if (bytes_starts_with(name, day)) {
		return read_period(bytes_from(name, sizeof(day) - 1), line, l->days, &l->day_count,
				   LIVE_DAYS);
	}
	for (size_t i = 0; i < FACTS; i++) {
		uint64_t n = 0;
		if (bytes_is(name, facts[i].name)) {
			if (bytes_to_u64(line, UINT64_MAX, &n) != ERR_OK) {
				return ERR_FORMAT;
			}
			set(l, facts[i].offset, n);
		}
	}
	return ERR_OK;
}

enum err
live_read(struct bytes text, struct live *ret)
{
	struct live l = {.hour_count = 0};
	while (text.len > 0) {
		enum err e = read_line(cut(&text, '\n'), &l);
		if (e != ERR_OK) {
			return e;
		}
	}
	*ret = l;
	return ERR_OK;
}

struct live_sums
live_total(const struct live_period *periods, size_t count)
{
	struct live_sums sums = {.letters = 0};
	for (size_t i = 0; i < count; i++) {
		add_sums(&sums, &periods[i].sums);
	}
	return sums;
}
