/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the DNS says of the house, compared with what it should say (`cohue dns`). */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unbound.h>

#include "authentication/spf.h"
#include "authentication/text.h"
#include "base/wire.h"
#include "cli/dns.h"
#include "cli/doctor.h"

enum {
	CLASS_IN = 1,
	TYPE_SRV = 33,
	TYPE_TLSA = 52,
	TYPE_CNAME = 5,
	ANSWERS_MAX = 64,
	RDATA_MAX = 64 * 1024,
	QUESTION_MS = 8000,
	STEP_MS = 100,
	TIMEOUTS_MAX = 3
};

struct asker {
	struct ub_ctx *ctx;
	struct buf rdata;  /* of the last answer, as authentication_answer lends it */
	unsigned timeouts; /* of questions */
	unsigned questions;
	unsigned unanswered;
	struct ub_result *result;
	bool answered;
};

static struct ub_ctx *
make_context(const struct config *c)
{
	struct ub_ctx *ctx = ub_ctx_create();
	char where[CONFIG_ADDRESS_TEXT + CONFIG_NAME_MAX + 16];
	if (ctx == NULL) {
		return NULL;
	}
	(void)ub_ctx_async(ctx, 1); /* a thread */
	(void)ub_ctx_debugout(ctx, NULL);
	size_t named = c->resolver_stub_count + c->resolver_forward_count + c->resolver_forward_tls_count;
	if (named > 0) {
		(void)ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
	}
	for (size_t i = 0; i < c->resolver_stub_count; i++) {
		const struct config_upstream *u = &c->resolver_stub[i];
		(void)snprintf(where, sizeof(where), "%s@%u", u->address, (unsigned)u->port);
		(void)ub_ctx_set_stub(ctx, u->zone, where, 0);
	}
	for (size_t i = 0; i < c->resolver_forward_count; i++) {
		const struct config_upstream *u = &c->resolver_forward[i];
		(void)snprintf(where, sizeof(where), "%s@%u", u->address, (unsigned)u->port);
		(void)ub_ctx_set_fwd(ctx, where);
	}
	for (size_t i = 0; i < c->resolver_forward_tls_count; i++) {
		const struct config_upstream *u = &c->resolver_forward_tls[i];
		(void)snprintf(where, sizeof(where), "%s@%u#%s", u->address, (unsigned)u->port, u->tls_name);
		(void)ub_ctx_set_tls(ctx, 1);
		(void)ub_ctx_set_fwd(ctx, where);
	}
	if (c->resolver_trust_anchor[0] == '/') {
		(void)ub_ctx_add_ta_file(ctx, c->resolver_trust_anchor);
	} else if (c->resolver_trust_anchor[0] != '\0') {
		(void)ub_ctx_add_ta(ctx, c->resolver_trust_anchor);
	} else {
		(void)ub_ctx_add_ta_file(ctx, "/usr/share/dns/root.key"); /* of Debian's dns-root-data */
	}
	if (named > 0) {
		/* Trial runs have a DNS of their own for these (RFC 6761). Settings end with it: it comes last. */
		(void)ub_ctx_zone_remove(ctx, "test.");
		(void)ub_ctx_zone_remove(ctx, "127.in-addr.arpa.");
	}
	return ctx;
}

static void
on_answer(void *arg, int failed, struct ub_result *result)
{
	struct asker *a = arg;
	a->answered = true;
	a->result = failed == 0 ? result : NULL;
}

/* One question with a limit; NULL: no answer. Who never answers is not asked for ever. */
static struct ub_result *
ask_once(struct asker *a, const char *name, int type)
{
	int id = 0;
	a->answered = false;
	a->result = NULL;
	if (a->timeouts >= TIMEOUTS_MAX ||
	    ub_resolve_async(a->ctx, (char *)(uintptr_t)name, type, CLASS_IN, a, on_answer, &id) != 0) {
		return NULL;
	}
	for (unsigned waited = 0; !a->answered && waited < QUESTION_MS; waited += STEP_MS) {
		struct pollfd p = {.fd = ub_fd(a->ctx), .events = POLLIN};
		if (ub_poll(a->ctx) != 0 || poll(&p, 1, STEP_MS) > 0) {
			if (ub_process(a->ctx) != 0) {
				break;
			}
		}
	}
	if (!a->answered) {
		a->timeouts++;
		(void)ub_cancel(a->ctx, id);
	}
	return a->result;
}

/* authentication_dns's question. */
static enum err
ask(void *arg, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	struct asker *a = arg;
	struct wire_writer w;
	char text[256];
	if (name.len >= sizeof(text)) {
		return ERR_LIMIT;
	}
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	struct ub_result *r = ask_once(a, text, (int)type);
	a->questions++;
	if (r == NULL) {
		a->unanswered++;
		return ERR_AGAIN;
	}
	enum err e = r->bogus != 0 ? ERR_AUTH : r->rcode != 0 && r->rcode != 3 ? ERR_AGAIN : ERR_OK;
	a->unanswered += e == ERR_AGAIN ? 1 : 0;
	buf_reset(&a->rdata);
	wire_writer_init(&w, &a->rdata);
	for (int i = 0; e == ERR_OK && i < ANSWERS_MAX && r->data != NULL && r->data[i] != NULL; i++) {
		wire_put_bytes(&w, bytes_of(r->data[i], (size_t)r->len[i]));
	}
	e = e == ERR_OK ? wire_done(&w) : e;
	if (e == ERR_OK) {
		*ret = (struct authentication_answer){
		    .no_name = r->nxdomain != 0, .secure = r->secure != 0, .rdata = buf_bytes(&a->rdata)};
	}
	ub_resolve_free(r);
	return e;
}

/* ---- one record as `cohue dns` would print its value ---- */

static enum err
put_name(struct bytes wire, struct buf *out)
{
	enum err e = ERR_OK;
	while (wire.len > 1 && wire.ptr[0] != 0 && e == ERR_OK) {
		size_t len = wire.ptr[0];
		if (len > 63 || len > wire.len - 1) {
			return ERR_FORMAT;
		}
		e = buf_append(out, bytes_slice(wire, 1, len));
		e = e == ERR_OK ? buf_append_byte(out, '.') : e;
		wire = bytes_from(wire, len + 1);
	}
	return e == ERR_OK && out->len == 0 ? buf_append_byte(out, '.') : e;
}

static unsigned
u16_at(struct bytes b, size_t at)
{
	return b.len < at + 2 ? 0 : (unsigned)(b.ptr[at] << 8 | b.ptr[at + 1]);
}

static enum err
show(unsigned type, struct bytes rdata, struct buf *out)
{
	struct buf name = BUF_INIT(512);
	enum err e = ERR_OK;
	switch (type) {
	case AUTHENTICATION_MX:
		e = put_name(bytes_from(rdata, 2), &name);
		e = e == ERR_OK
			? buf_printf(out, "%u %.*s", u16_at(rdata, 0), (int)name.len, (const char *)name.ptr)
			: e;
		break;
	case TYPE_SRV:
		e = put_name(bytes_from(rdata, 6), &name);
		e = e == ERR_OK ? buf_printf(out, "%u %u %u %.*s", u16_at(rdata, 0), u16_at(rdata, 2),
					     u16_at(rdata, 4), (int)name.len, (const char *)name.ptr)
				: e;
		break;
	case TYPE_CNAME:
	case AUTHENTICATION_PTR:
		e = put_name(rdata, out);
		break;
	case TYPE_TLSA:
		e = rdata.len < 3 ? ERR_FORMAT
				  : buf_printf(out, "%u %u %u ", rdata.ptr[0], rdata.ptr[1], rdata.ptr[2]);
		e = e == ERR_OK ? buf_append_hex(out, bytes_from(rdata, 3)) : e;
		break;
	case AUTHENTICATION_TXT:
		e = text_of_txt(rdata, out);
		break;
	default:
		e = buf_append_hex(out, rdata);
		break;
	}
	buf_clear(&name);
	return e;
}

/* A TXT value as `cohue dns` prints it, "\"...\" \"...\"", joined. */
static enum err
unquote(const char *value, struct buf *out)
{
	bool inside = false;
	enum err e = ERR_OK;
	for (const char *c = value; *c != '\0' && e == ERR_OK; c++) {
		if (*c == '"') {
			inside = !inside;
		} else if (inside) {
			e = buf_append_byte(out, (uint8_t)*c);
		}
	}
	return out->len == 0 && e == ERR_OK ? buf_append_str(out, value) : e;
}

static unsigned
type_of(const char *name)
{
	static const struct {
		const char *name;
		unsigned type;
	} types[] = {{"MX", AUTHENTICATION_MX},
		     {"TXT", AUTHENTICATION_TXT},
		     {"SRV", TYPE_SRV},
		     {"TLSA", TYPE_TLSA},
		     {"CNAME", TYPE_CNAME}};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(name, types[i].name) == 0) {
			return types[i].type;
		}
	}
	return 0;
}

/* What a record is for, as a word: "spf", "dkim", ...; NULL: not compared octet by octet. */
static const char *
check_of(const struct record *r, bool *ret_needed)
{
	*ret_needed = false;
	if (strcmp(r->type, "MX") == 0) {
		*ret_needed = true;
		return "mx";
	}
	if (strcmp(r->type, "SRV") == 0) {
		return "srv";
	}
	if (strcmp(r->type, "TLSA") == 0) {
		return "tlsa";
	}
	if (strcmp(r->type, "CNAME") == 0) {
		return "autoconfig";
	}
	if (strcmp(r->type, "TXT") != 0) {
		return NULL;
	}
	if (strstr(r->name, "._domainkey.") != NULL) {
		*ret_needed = true;
		return "dkim";
	}
	if (strncmp(r->name, "_dmarc.", 7) == 0) {
		*ret_needed = true;
		return "dmarc";
	}
	if (strncmp(r->name, "_mta-sts.", 9) == 0) {
		return "mta-sts";
	}
	if (strncmp(r->name, "_smtp._tls.", 11) == 0) {
		return "tls-rpt";
	}
	return NULL;
}

/* The same record, or, of a TXT record of this kind, one that begins alike: its owner may know better. */
static bool
is_alike(unsigned type, struct bytes is, struct bytes should, bool *ret_same)
{
	*ret_same = bytes_equal_nocase(is, should);
	ptrdiff_t end = bytes_find(should, ';');
	return *ret_same ||
	       (type == AUTHENTICATION_TXT && end > 0 && is.len >= (size_t)end &&
		bytes_equal_nocase(bytes_slice(is, 0, (size_t)end), bytes_slice(should, 0, (size_t)end)));
}

static void
compare(struct doctor *d, struct asker *a, const struct record *r, unsigned type, const char *check,
	bool needed)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct buf should = BUF_INIT(8192);
	struct bytes name = bytes_str(r->name);
	struct bytes one;
	bool same = false;
	bool alike = false;
	struct buf remedy = BUF_INIT(8192);
	name.len -= name.len > 0 && name.ptr[name.len - 1] == '.' ? 1 : 0;
	enum err e = unquote(r->value, &should);
	if (e == ERR_OK) {
		e = buf_printf(&remedy, "publish the line of `cohue dns`: %s IN %s %s", r->name, r->type,
			       r->value);
	}
	if (e == ERR_OK) {
		e = buf_append_byte(&remedy, 0);
	}
	if (e == ERR_OK) {
		e = ask(a, name, (enum authentication_rr)type, &answer);
	}
	if (e == ERR_AUTH) {
		doctor_tell(d, DOCTOR_BAD, check,
			    "mend the zone's signatures: others refuse what does not verify",
			    "the answer for %s does not validate (DNSSEC)", r->name);
	} else if (e != ERR_OK) {
		doctor_tell(d, DOCTOR_UNKNOWN, check, "see that the DNS can be reached from here",
			    "the DNS gave no answer for %s", r->name);
	} else {
		while (!same && text_records_next(&answer.rdata, &one)) {
			struct buf is = BUF_INIT(RDATA_MAX);
			bool this_same = false;
			if (show(type, one, &is) == ERR_OK &&
			    is_alike(type, buf_bytes(&is), buf_bytes(&should), &this_same)) {
				alike = true;
				same = this_same;
			}
			buf_clear(&is);
		}
		if (same) {
			doctor_tell(d, DOCTOR_GOOD, check, NULL, "%s is as it should be", r->name);
		} else if (alike && strcmp(check, "dkim") != 0) {
			doctor_tell(d, DOCTOR_GOOD, check, NULL, "%s is there, not as `cohue dns` says it",
				    r->name);
		} else {
			doctor_tell(d, needed ? DOCTOR_BAD : DOCTOR_HINT, check, (const char *)remedy.ptr,
				    "%s %s", r->name, alike ? "says something else" : "is not there");
		}
		if (same && type == TYPE_TLSA && !answer.secure) {
			doctor_tell(d, DOCTOR_HINT, "dnssec",
				    "sign the zone (DNSSEC): without it TLSA records protect nothing",
				    "%s is not signed", r->name);
		}
	}
	buf_clear(&should);
	buf_clear(&remedy);
}

/* ---- addresses ---- */

/* Of a name, 16 octets each; false: the DNS gave no answer to one of the questions. */
static bool
addresses_of(struct asker *a, const char *name, uint8_t ret[DOCTOR_ADDRESSES_MAX][16], size_t *ret_count)
{
	static const enum authentication_rr types[] = {AUTHENTICATION_A, AUTHENTICATION_AAAA};
	struct authentication_answer answer;
	struct bytes one;
	bool answered = true;
	for (size_t i = 0; i < 2; i++) {
		if (ask(a, bytes_str(name), types[i], &answer) != ERR_OK) {
			answered = false;
			continue;
		}
		while (text_records_next(&answer.rdata, &one) && *ret_count < DOCTOR_ADDRESSES_MAX) {
			uint8_t *to = ret[*ret_count];
			if (one.len == 4) {
				memset(to, 0, 16);
				to[10] = to[11] = 0xff;
				memcpy(to + 12, one.ptr, 4);
				++*ret_count;
			} else if (one.len == 16) {
				memcpy(to, one.ptr, 16);
				++*ret_count;
			}
		}
	}
	return answered;
}

static void
find_addresses(struct doctor *d, struct asker *a)
{
	bool answered = addresses_of(a, d->config.hostname, d->addresses, &d->address_count);
	doctor_tell(d,
		    d->address_count > 0 ? DOCTOR_GOOD
		    : answered           ? DOCTOR_BAD
					 : DOCTOR_UNKNOWN,
		    "address", "publish an A record (and AAAA) for the host name",
		    d->address_count > 0 ? "%s has an address" : "%s has no address that is found",
		    d->config.hostname);
	for (size_t i = 0; i < DOCTOR_SITES && d->config.web == CONFIG_ON; i++) {
		struct doctor_site *site = &d->sites[i];
		site->of = (enum doctor_site_kind)i;
		(void)snprintf(site->name, sizeof(site->name), "%s.%s",
			       site->of == DOCTOR_SITE_POLICY ? "mta-sts" : "autoconfig", d->config.domain);
		(void)addresses_of(a, site->name, site->addresses, &site->count);
	}
}

/* What is not known is not well: who looks at the exit status alone must hear of it. */
static void
tell_unanswered(struct doctor *d, const struct asker *a)
{
	if (a->unanswered > 0) {
		doctor_tell(d, DOCTOR_BAD, "dns",
			    "see that this machine reaches the DNS (port 53 outward, or what resolver.* in "
			    "cohue.conf names), and ask again",
			    "%u of %u questions to the DNS got no answer: what others see of this house "
			    "could not be checked",
			    a->unanswered, a->questions);
	} else {
		doctor_tell(d, DOCTOR_GOOD, "dns", NULL, "the DNS answers");
	}
}

/* The address's name points back here: large providers refuse mail from addresses without one. */
static void
check_ptr(struct doctor *d, struct asker *a, const uint8_t address[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct buf name = BUF_INIT(128);
	struct bytes one;
	char text[INET6_ADDRSTRLEN];
	bool found = false;
	bool v4 = memcmp(address, mapped, sizeof(mapped)) == 0;
	enum err e = ERR_OK;
	for (size_t i = 0; i < (v4 ? 4 : 32) && e == ERR_OK; i++) {
		uint8_t octet = v4 ? address[15 - i] : address[15 - i / 2];
		e = v4 ? buf_printf(&name, "%u.", octet)
		       : buf_printf(&name, "%x.", (unsigned)(i % 2 == 0 ? octet & 15 : octet >> 4));
	}
	e = e == ERR_OK ? buf_append_str(&name, v4 ? "in-addr.arpa" : "ip6.arpa") : e;
	e = e == ERR_OK ? ask(a, buf_bytes(&name), AUTHENTICATION_PTR, &answer) : e;
	while (e == ERR_OK && !found && text_records_next(&answer.rdata, &one)) {
		struct buf is = BUF_INIT(512);
		found = show(AUTHENTICATION_PTR, one, &is) == ERR_OK && is.len > 1 &&
			bytes_is_nocase(bytes_slice(buf_bytes(&is), 0, is.len - 1), d->config.hostname);
		buf_clear(&is);
	}
	buf_clear(&name);
	doctor_address_text(address, text, sizeof(text));
	doctor_tell(d,
		    e != ERR_OK ? DOCTOR_UNKNOWN
		    : found     ? DOCTOR_GOOD
				: DOCTOR_BAD,
		    "ptr", "at the provider of the address, set its reverse name (PTR) to the host name",
		    e != ERR_OK ? "the DNS gave no answer for the name of %s"
		    : found     ? "%s points back to the host name"
				: "%s does not point back to the host name",
		    text);
}

static void
check_spf(struct doctor *d, const struct authentication_dns *dns, const uint8_t address[16])
{
	struct spf_verdict v;
	char text[INET6_ADDRSTRLEN];
	char sender[CONFIG_NAME_MAX + 16];
	(void)snprintf(sender, sizeof(sender), "postmaster@%s", d->config.domain);
	struct spf_input in = {.hello = bytes_str(d->config.hostname),
			       .sender = bytes_str(sender),
			       .receiver = bytes_str(d->config.hostname)};
	memcpy(in.address, address, sizeof(in.address));
	spf_check(&in, dns, &v);
	doctor_address_text(address, text, sizeof(text));
	doctor_tell(d,
		    v.result == AUTHENTICATION_PASS        ? DOCTOR_GOOD
		    : v.result == AUTHENTICATION_TEMPERROR ? DOCTOR_UNKNOWN
							   : DOCTOR_BAD,
		    "spf", "publish the domain's TXT record as `cohue dns` prints it",
		    "SPF of %s for mail from %s: %s%s%s", d->config.domain, text,
		    authentication_result_name(v.result), v.why == NULL ? "" : ", ",
		    v.why == NULL ? "" : v.why);
}

void
doctor_dns(struct doctor *d)
{
	struct asker a = {.ctx = make_context(&d->config), .rdata = BUF_INIT(RDATA_MAX * 2)};
	struct authentication_dns dns = {.ask = ask, .ctx = &a};
	struct record rows[DNS_RECORDS_MAX];
	if (a.ctx == NULL) {
		doctor_tell(d, DOCTOR_UNKNOWN, "dns", NULL, "the DNS cannot be asked: out of memory");
		return;
	}
	find_addresses(d, &a);
	size_t count = cli_dns_collect(d->cli, &d->config, rows);
	for (size_t i = 0; i < count; i++) {
		bool needed;
		const char *check = check_of(&rows[i], &needed);
		unsigned type = type_of(rows[i].type);
		if (check != NULL && type != 0 && !rows[i].optional) {
			compare(d, &a, &rows[i], type, check, needed);
		}
	}
	for (size_t i = 0; i < d->address_count; i++) {
		check_ptr(d, &a, d->addresses[i]);
		if (d->config.smarthost[0] == '\0') {
			check_spf(d, &dns, d->addresses[i]);
		}
	}
	tell_unanswered(d, &a);
	ub_ctx_delete(a.ctx);
	buf_clear(&a.rdata);
}
