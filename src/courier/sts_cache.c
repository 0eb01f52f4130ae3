/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Policies that are remembered, and when they are asked for anew (RFC 8461 sections 3.3 and 5.1). */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "courier/mta_sts.h"

enum { CACHE_VERSION = 2, CACHE_VERSION_1 = 1 };

void
sts_cache_init(struct sts_cache *c)
{
	*c = (struct sts_cache){.entries = NULL};
}

static void
drop(struct sts_cache *c, struct sts_entry **at)
{
	struct sts_entry *e = *at;
	*at = e->next;
	sts_policy_clear(&e->policy);
	free(e);
	c->count--;
}

void
sts_cache_clear(struct sts_cache *c)
{
	while (c->entries != NULL) {
		drop(c, &c->entries);
	}
}

/*
 * The one that was used longest ago, and that nobody waits for; of those that say nothing, if there are any: letters to domains
 * without a policy must not make the house forget those that have one.
 */
static void
make_room(struct sts_cache *c)
{
	struct sts_entry **oldest = NULL;
	bool empty = false;
	for (struct sts_entry **at = &c->entries; *at != NULL; at = &(*at)->next) {
		bool says_nothing = (*at)->expires == 0;
		if (!(*at)->fetching && (says_nothing || !empty)) {
			oldest = at;
			empty = says_nothing;
		}
	}
	if (oldest != NULL) {
		drop(c, oldest);
	}
}

struct sts_entry *
sts_cache_get(struct sts_cache *c, const char *domain)
{
	size_t len = strlen(domain);
	struct sts_entry **at = &c->entries;
	while (*at != NULL && strcmp((*at)->domain, domain) != 0) {
		at = &(*at)->next;
	}
	struct sts_entry *e = *at;
	if (e != NULL) {
		*at = e->next;
	} else {
		if (c->count >= STS_ENTRIES_MAX) {
			make_room(c);
		}
		e = len > STS_DOMAIN_MAX ? NULL : calloc(1, sizeof(*e));
		if (e == NULL) {
			return NULL;
		}
		memcpy(e->domain, domain, len);
		sts_policy_init(&e->policy);
		c->count++;
	}
	e->next = c->entries;
	c->entries = e;
	return e;
}

struct sts_entry *
sts_cache_find(const struct sts_cache *c, const char *domain)
{
	struct sts_entry *e = c->entries;
	while (e != NULL && strcmp(e->domain, domain) != 0) {
		e = e->next;
	}
	return e;
}

void
sts_settle(struct sts_entry *e, int64_t now)
{
	int64_t most = now + (int64_t)e->policy.max_age;
	e->expires = e->expires > most ? most : e->expires;
	/* Both are decided anew. */
	e->refresh = e->refresh > most ? 0 : e->refresh;
	e->retry_after = e->retry_after > now + STS_REFETCH_SECONDS ? 0 : e->retry_after;
}

enum sts_step
sts_next(struct sts_entry *e, const char *id, int64_t now)
{
	sts_settle(e, now);
	if (id == NULL || now < e->retry_after) {
		return STS_USE;
	}
	return e->expires > now && strcmp(e->id, id) == 0 ? STS_USE : STS_FETCH;
}

void
sts_took(struct sts_entry *e, const char *id, struct sts_policy *p, int64_t now)
{
	sts_policy_clear(&e->policy);
	e->policy = *p;
	sts_policy_init(p);
	size_t len = strlen(id) < sizeof(e->id) ? strlen(id) : sizeof(e->id) - 1;
	memset(e->id, 0, sizeof(e->id));
	memcpy(e->id, id, len);
	e->expires = now + (int64_t)e->policy.max_age;
	e->retry_after = 0;
	e->refresh = 0;
}

void
sts_failed(struct sts_entry *e, int64_t now)
{
	e->retry_after = now + STS_REFETCH_SECONDS;
	if (e->expires <= now) {
		e->expires = 0;
		sts_policy_clear(&e->policy);
	}
}

/* ---- without a letter ---- */

static uint32_t
week_of(int64_t now)
{
	return now > 0 ? (uint32_t)(now / STS_WEEK) : 0;
}

bool
sts_used(struct sts_entry *e, int64_t now)
{
	uint32_t week = week_of(now);
	bool first = e->used != week;
	e->used = week;
	return first;
}

static bool
is_large(const struct sts_entry *e)
{
	return e->policy.hosts.len > STS_LARGE;
}

void
sts_cache_trim(struct sts_cache *c, const struct sts_entry *keep)
{
	size_t sum = keep != NULL && is_large(keep) ? keep->policy.hosts.len : 0;
	for (struct sts_entry **at = &c->entries; *at != NULL;) {
		const struct sts_entry *e = *at;
		if (e == keep || e->fetching || !is_large(e)) {
			at = &(*at)->next;
		} else if (sum + e->policy.hosts.len > STS_LARGE_MAX) {
			drop(c, at);
		} else {
			sum += e->policy.hosts.len;
			at = &(*at)->next;
		}
	}
}

/* In testing, or with none, nothing is at stake: who changes that is heard with the next letter. */
static bool
is_refreshed(const struct sts_entry *e, int64_t now)
{
	uint32_t week = week_of(now);
	return !e->fetching && e->expires > now && e->policy.mode == STS_ENFORCE &&
	       (week < e->used || week - e->used <= STS_UNUSED_WEEKS);
}

struct sts_entry *
sts_refresh_next(struct sts_cache *c, int64_t now, uint64_t (*draw)(void *), void *ctx)
{
	for (struct sts_entry *e = c->entries; e != NULL; e = e->next) {
		sts_settle(e, now);
		if (!is_refreshed(e, now)) {
			continue;
		}
		if (e->refresh == 0) {
			int64_t left = e->expires - now;
			int64_t quarter = (left < STS_REFRESH_MOST ? left : STS_REFRESH_MOST) / 4;
			e->refresh = left < STS_REFRESH_LEAST
					 ? e->expires
					 : now + quarter + (int64_t)(draw(ctx) % (uint64_t)quarter);
		} else if (e->refresh <= now && now >= e->retry_after) {
			e->refresh = 0;
			return e;
		}
	}
	return NULL;
}

/* ---- over a restart ---- */

static enum err
write_entry(const struct sts_entry *e, struct buf *out)
{
	struct wire_writer w;
	wire_writer_init(&w, out);
	wire_put_bytes(&w, bytes_str(e->domain));
	wire_put_bytes(&w, bytes_str(e->id));
	wire_put_u64(&w, (uint64_t)e->expires);
	wire_put_u8(&w, (uint8_t)e->policy.mode);
	wire_put_u32(&w, e->policy.max_age);
	wire_put_bytes(&w, buf_bytes(&e->policy.hosts));
	wire_put_u32(&w, e->used);
	return wire_done(&w);
}

/* Large ones last: one that is all of the room, and holds for a year, must not push out all the others. */
static int
by_worth(const void *a, const void *b)
{
	const struct sts_entry *const *x = a;
	const struct sts_entry *const *y = b;
	if (is_large(*x) != is_large(*y)) {
		return is_large(*x) ? 1 : -1;
	}
	return (*x)->expires < (*y)->expires ? 1 : (*x)->expires > (*y)->expires ? -1 : 0;
}

enum err
sts_cache_write(const struct sts_cache *c, int64_t now, struct buf *out)
{
	const struct sts_entry **list = calloc(c->count + 1, sizeof(*list));
	size_t n = 0;
	if (list == NULL) {
		return ERR_MEMORY;
	}
	for (const struct sts_entry *e = c->entries; e != NULL; e = e->next) {
		if (e->expires > now) {
			list[n++] = e;
		}
	}
	qsort(list, n, sizeof(const struct sts_entry *), by_worth);
	size_t before = out->len;
	enum err e = buf_append_byte(out, CACHE_VERSION);
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		size_t mark = out->len;
		e = write_entry(list[i], out);
		if (e == ERR_LIMIT || (e == ERR_OK && out->len - before > STS_SAVED_MAX)) {
			/* A smaller one may still go in. */
			buf_truncate(out, mark);
			e = ERR_OK;
		}
	}
	free(list);
	return e;
}

enum err
sts_cache_read(struct bytes plain, int64_t now, struct sts_cache *c)
{
	struct wire_reader r;
	wire_reader_init(&r, plain);
	uint8_t version = wire_get_u8(&r);
	if (version != CACHE_VERSION && version != CACHE_VERSION_1) {
		return r.error == ERR_OK ? ERR_UNSUPPORTED : r.error;
	}
	while (r.rest.len > 0 && r.error == ERR_OK) {
		struct bytes domain = wire_get_bytes(&r, STS_DOMAIN_MAX);
		struct bytes id = wire_get_bytes(&r, STS_ID_MAX);
		uint64_t expires = wire_get_u64(&r);
		uint8_t mode = wire_get_u8(&r);
		uint32_t max_age = wire_get_u32(&r);
		struct bytes hosts = wire_get_bytes(&r, STS_POLICY_MAX);
		uint32_t used = version == CACHE_VERSION_1 ? week_of(now) : wire_get_u32(&r);
		if (r.error != ERR_OK) {
			break;
		}
		if (mode > STS_ENFORCE || domain.len == 0 || memchr(domain.ptr, 0, domain.len) != NULL ||
		    (id.len > 0 && memchr(id.ptr, 0, id.len) != NULL) || expires > INT64_MAX / 2 ||
		    (hosts.len > 0 && hosts.ptr[hosts.len - 1] != 0)) {
			return ERR_FORMAT;
		}
		char name[STS_DOMAIN_MAX + 1] = "";
		memcpy(name, domain.ptr, domain.len);
		/* A clock that was wrong, then or now: no policy holds for longer than it may. */
		if ((int64_t)expires <= now || (int64_t)expires > now + STS_AGE_MOST ||
		    c->count >= STS_ENTRIES_MAX) {
			continue;
		}
		struct sts_entry *e = sts_cache_get(c, name);
		if (e == NULL || buf_append(&e->policy.hosts, hosts) != ERR_OK) {
			return ERR_MEMORY;
		}
		if (id.len > 0) {
			memcpy(e->id, id.ptr, id.len);
		}
		e->expires = (int64_t)expires;
		e->policy.mode = (enum sts_mode)mode;
		e->policy.max_age = max_age;
		sts_settle(e, now);
		/* A clock that was ahead must not make a question go on for years. */
		e->used = used < week_of(now) ? used : week_of(now);
	}
	return wire_end(&r);
}
