/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/route.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/wire.h"

struct mx {
	uint16_t preference;
	char name[ROUTE_NAME_MAX];
};

struct mx_list {
	struct mx hosts[ROUTE_RECORDS_MAX];
	size_t count;
	bool null; /* "." was among them */
	bool odd;  /* names were left out that are none */
};

/* What became of the search so far. */
struct search {
	const struct route_host *host;
	struct route *route;
	bool failed; /* an answer is missing */
	bool bogus;
	bool refused; /* addresses were left out that are nobody's */
};

static enum err
say(struct smtp_result *ret, unsigned code, const char *status, const char *text)
{
	smtp_result_local(code, status, text, ret);
	return code >= 500 ? ERR_NOT_FOUND : ERR_AGAIN;
}

/* What may be asked for at all; the rest does not exist. */
static bool
can_be_asked(const char *name)
{
	size_t label = 0;
	size_t len = strlen(name);
	for (size_t i = 0; i < len; i++) {
		bool dot = name[i] == '.';
		if ((dot && label == 0) || (!dot && ++label > 63)) {
			return false;
		}
		label = dot ? 0 : label;
	}
	return label > 0 && len <= 253;
}

static enum err
ask(const struct route_host *host, const char *name, enum route_type type, struct route_answer *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->no_name = true;
	return can_be_asked(name) ? host->resolve(host->ctx, name, type, ret) : ERR_OK;
}

static enum err
say_no_answer(const struct search *s, struct smtp_result *ret)
{
	return s->bogus ? say(ret, 451, "4.7.5",
			      "The DNS answer for the domain does not verify (DNSSEC): it is forged, or "
			      "the domain's DNS is broken")
			: say(ret, 451, "4.4.3", "The DNS gives no answer for the domain at the moment");
}

/* A wire name without compression to text; false where an octet is none of a host name. */
static bool
wire_to_text(struct bytes wire, char ret[ROUTE_NAME_MAX])
{
	size_t out = 0;
	size_t at = 0;
	while (at < wire.len && wire.ptr[at] != 0) {
		size_t label = wire.ptr[at++];
		if (label > 63 || at + label > wire.len || out + label + 2 > ROUTE_NAME_MAX - 1) {
			return false;
		}
		if (out > 0) {
			ret[out++] = '.';
		}
		for (size_t i = 0; i < label; i++) {
			uint8_t c = ascii_lower(wire.ptr[at++]);
			if (!ascii_is_alnum(c) && c != '-' && c != '_') {
				return false;
			}
			ret[out++] = (char)c;
		}
	}
	ret[out] = '\0';
	return at + 1 == wire.len;
}

static void
read_mx(struct bytes rdata, struct mx_list *list)
{
	struct wire_reader r;
	wire_reader_init(&r, rdata);
	list->count = 0;
	while (r.rest.len > 0 && r.error == ERR_OK && list->count < ROUTE_RECORDS_MAX) {
		struct bytes record = wire_get_bytes(&r, UINT16_MAX);
		struct mx *mx = &list->hosts[list->count];
		if (record.len < 3 || !wire_to_text(bytes_from(record, 2), mx->name)) {
			list->odd = true;
			continue;
		}
		mx->preference = (uint16_t)((unsigned)record.ptr[0] << 8 | record.ptr[1]);
		if (mx->name[0] == '\0') {
			list->null = true;
			continue;
		}
		list->count++;
	}
}

/* By preference; among equals in random order (RFC 5321 section 5.1). */
static void
sort_mx(const struct route_host *host, struct mx_list *list)
{
	for (size_t i = list->count; i > 1; i--) {
		size_t j = host->random(host->ctx, (uint32_t)i);
		struct mx swap = list->hosts[i - 1];
		list->hosts[i - 1] = list->hosts[j];
		list->hosts[j] = swap;
	}
	/* Insertion: stable, and the list is short. */
	for (size_t i = 1; i < list->count; i++) {
		struct mx mx = list->hosts[i];
		size_t at = i;
		while (at > 0 && list->hosts[at - 1].preference > mx.preference) {
			list->hosts[at] = list->hosts[at - 1];
			at--;
		}
		list->hosts[at] = mx;
	}
}

/*
 * Where we stand in the list ourselves, nothing as preferred as us or less may be tried: it would come
 * back (RFC 5321 section 5.1).
 */
static bool
drop_from_ourselves(const struct route_host *host, struct mx_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcasecmp(list->hosts[i].name, host->hostname) != 0) {
			continue;
		}
		size_t keep = i;
		while (keep > 0 && list->hosts[keep - 1].preference == list->hosts[i].preference) {
			keep--;
		}
		list->count = keep;
		return true;
	}
	return false;
}

static bool
is_usable(const struct search *s, const uint8_t address[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t zero[16] = {0};
	if (memcmp(address, mapped, sizeof(mapped)) == 0) {
		uint8_t first = address[12];
		return first != 0 && first < 224 && (first != 127 || s->host->allow_loopback);
	}
	if (memcmp(address, zero, 15) == 0) {
		return address[15] == 1 && s->host->allow_loopback;
	}
	/* IPv4-compatible, multicast, link-local without a scope */
	return memcmp(address, zero, 12) != 0 && address[0] != 0xff &&
	       !(address[0] == 0xfe && (address[1] & 0xc0) == 0x80);
}

static void
add_target(struct search *s, const char *name, const uint8_t address[16], const struct route_answer *answer)
{
	struct route *route = s->route;
	if (!is_usable(s, address)) {
		s->refused = true;
		return;
	}
	for (size_t i = 0; i < route->count; i++) {
		if (memcmp(route->targets[i].address, address, 16) == 0) {
			return;
		}
	}
	if (route->count < ROUTE_TARGETS_MAX) {
		struct route_target *t = &route->targets[route->count++];
		(void)snprintf(t->name, sizeof(t->name), "%s", name);
		memcpy(t->address, address, sizeof(t->address));
		t->secure = route->secure && answer != NULL && answer->secure;
		t->canonical[0] = '\0';
		if (t->secure && answer->canonical[0] != '\0' && strcasecmp(answer->canonical, name) != 0) {
			memcpy(t->canonical, answer->canonical, sizeof(t->canonical));
		}
	}
}

static void
note_failure(struct search *s, enum err e)
{
	s->failed = true;
	s->bogus = s->bogus || e == ERR_AUTH;
}

/* The addresses of one host: IPv6 before IPv4. True if the name exists. */
static bool
add_host(struct search *s, const char *name)
{
	static const enum route_type types[] = {ROUTE_AAAA, ROUTE_A};
	bool exists = false;
	for (size_t i = 0; i < 2 && s->route->count < ROUTE_TARGETS_MAX; i++) {
		struct route_answer answer;
		enum err e = ask(s->host, name, types[i], &answer);
		if (e != ERR_OK) {
			note_failure(s, e);
			exists = true;
			continue;
		}
		struct wire_reader r;
		wire_reader_init(&r, answer.rdata);
		exists = exists || !answer.no_name;
		for (size_t n = 0; n < ROUTE_RECORDS_MAX && r.rest.len > 0 && r.error == ERR_OK; n++) {
			struct bytes record = wire_get_bytes(&r, UINT16_MAX);
			uint8_t address[16] = {0};
			if (types[i] == ROUTE_AAAA && record.len == 16) {
				memcpy(address, record.ptr, 16);
				add_target(s, name, address, &answer);
			} else if (types[i] == ROUTE_A && record.len == 4) {
				address[10] = 0xff;
				address[11] = 0xff;
				memcpy(address + 12, record.ptr, 4);
				add_target(s, name, address, &answer);
			}
		}
	}
	return exists;
}

static bool
numeric(const char *text, uint8_t ret[16])
{
	memset(ret, 0, 16);
	if (inet_pton(AF_INET6, text, ret) == 1) {
		return true;
	}
	ret[10] = 0xff;
	ret[11] = 0xff;
	return inet_pton(AF_INET, text, ret + 12) == 1;
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3) */
static enum err
find_literal(struct search *s, struct bytes domain, struct smtp_result *ret_why)
{
	char text[64];
	uint8_t address[16];
	struct bytes inner = bytes_slice(domain, 1, domain.len - 2);
	bool v6 = bytes_starts_with_nocase(inner, "IPv6:");
	inner = v6 ? bytes_from(inner, 5) : inner;
	if (inner.len > 0 && inner.len < sizeof(text) && domain.ptr[domain.len - 1] == ']') {
		memcpy(text, inner.ptr, inner.len);
		text[inner.len] = '\0';
		if (v6 == (strchr(text, ':') != NULL) && strlen(text) == inner.len &&
		    numeric(text, address)) {
			add_target(s, text, address, NULL);
		}
	}
	if (s->route->count == 0) {
		return say(ret_why, 550, "5.1.2", "The address literal is none that mail can be sent to");
	}
	return ERR_OK;
}

/* No target was found: why? */
static enum err
say_none(const struct search *s, bool exists, struct smtp_result *ret_why)
{
	if (s->failed) {
		return say_no_answer(s, ret_why);
	}
	if (s->refused) {
		return say(ret_why, 550, "5.4.4",
			   "The domain's mail server has an address that is no server's");
	}
	return exists ? say(ret_why, 550, "5.4.4", "The domain has no mail server that can be reached")
		      : say(ret_why, 550, "5.1.2", "The domain does not exist");
}

static enum err
find_by_mx(struct search *s, struct mx_list *list, struct smtp_result *ret_why)
{
	sort_mx(s->host, list);
	bool ours = drop_from_ourselves(s->host, list);
	if (ours && list->count == 0) {
		return say(ret_why, 554, "5.4.6",
			   "The domain's mail server is this one, which does not know the domain: a loop");
	}
	for (size_t i = 0; i < list->count && i < ROUTE_HOSTS_MAX; i++) {
		(void)add_host(s, list->hosts[i].name);
	}
	return s->route->count > 0 ? ERR_OK : say_none(s, true, ret_why);
}

static bool
to_text(struct bytes domain, char ret[ROUTE_NAME_MAX])
{
	if (domain.len == 0 || domain.len > 253 || memchr(domain.ptr, 0, domain.len) != NULL) {
		return false;
	}
	for (size_t i = 0; i < domain.len; i++) {
		uint8_t c = ascii_lower(domain.ptr[i]);
		if (!ascii_is_alnum(c) && c != '-' && c != '_' && c != '.') {
			return false;
		}
		ret[i] = (char)c;
	}
	ret[domain.len] = '\0';
	return true;
}

enum err
route_find(const struct route_host *host, struct bytes domain, struct route *ret, struct smtp_result *ret_why)
{
	struct search s = {.host = host, .route = ret};
	struct route_answer answer;
	struct mx_list list;
	char name[ROUTE_NAME_MAX];
	ret->count = 0;
	ret->secure = false;
	if (domain.len > 2 && domain.ptr[0] == '[') {
		return find_literal(&s, domain, ret_why);
	}
	if (!to_text(domain, name)) {
		return say(ret_why, 550, "5.1.2", "The domain is not a name that the DNS can have");
	}
	enum err e = ask(host, name, ROUTE_MX, &answer);
	if (e != ERR_OK) {
		note_failure(&s, e);
		return say_no_answer(&s, ret_why);
	}
	if (answer.no_name) {
		return say(ret_why, 550, "5.1.2", "The domain does not exist");
	}
	ret->secure = answer.secure;
	memset(&list, 0, sizeof(list));
	read_mx(answer.rdata, &list);
	if (list.null && list.count == 0) {
		return say(ret_why, 556, "5.1.10", "The domain says that it takes no mail (RFC 7505)");
	}
	if (list.count > 0) {
		return find_by_mx(&s, &list, ret_why);
	}
	if (list.odd) {
		return say(ret_why, 550, "5.4.4", "The domain names mail servers that cannot exist");
	}
	/* No MX: the domain is its own mail server (RFC 5321 section 5.1). */
	if (strcasecmp(name, host->hostname) == 0) {
		return say(ret_why, 554, "5.4.6",
			   "The domain's mail server is this one, which does not know the domain: a loop");
	}
	bool exists = add_host(&s, name);
	return ret->count > 0 ? ERR_OK : say_none(&s, exists, ret_why);
}

enum err
route_find_host(const struct route_host *host, const char *name, struct route *ret,
		struct smtp_result *ret_why)
{
	struct route_host named = *host;
	/* Named by the operator: also on this machine. */
	named.allow_loopback = true;
	struct search s = {.host = &named, .route = ret};
	uint8_t address[16];
	ret->count = 0;
	ret->secure = false;
	if (numeric(name, address)) {
		add_target(&s, name, address, NULL);
	} else {
		(void)add_host(&s, name);
	}
	if (ret->count > 0) {
		return ERR_OK;
	}
	/* A mistake in the configuration, which will be mended: never final. */
	return s.failed
		   ? say_no_answer(&s, ret_why)
		   : say(ret_why, 451, "4.4.4", "The relay that this house sends through cannot be found");
}
