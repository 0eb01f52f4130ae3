/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Policies that are remembered, and when they are asked for anew (RFC 8461 sections 3.3 and 5.1). */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "courier/mta_sts.h"

enum { CACHE_VERSION = 1 };

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

enum sts_step
sts_next(const struct sts_entry *e, const char *id, int64_t now)
{
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
	return wire_done(&w);
}

static int
by_expiry(const void *a, const void *b)
{
	const struct sts_entry *const *x = a;
	const struct sts_entry *const *y = b;
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
	qsort(list, n, sizeof(const struct sts_entry *), by_expiry);
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
	if (wire_get_u8(&r) != CACHE_VERSION) {
		return r.error == ERR_OK ? ERR_UNSUPPORTED : r.error;
	}
	while (r.rest.len > 0 && r.error == ERR_OK) {
		struct bytes domain = wire_get_bytes(&r, STS_DOMAIN_MAX);
		struct bytes id = wire_get_bytes(&r, STS_ID_MAX);
		uint64_t expires = wire_get_u64(&r);
		uint8_t mode = wire_get_u8(&r);
		uint32_t max_age = wire_get_u32(&r);
		struct bytes hosts = wire_get_bytes(&r, STS_HOSTS_MAX * (STS_DOMAIN_MAX + 4));
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
	}
	return wire_end(&r);
}
