/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/dmarc.h"

#include <libpsl.h>
#include <string.h>

#include "authentication/text.h"
#include "mail/address.h"
#include "mail/header.h"

enum { FROM_MAILBOXES_MAX = 32, FROM_MEMORY_MAX = 1 << 20, DOMAIN_TEXT_MAX = 254 };

static psl_ctx_t *suffixes; /* for the life of the process */

enum err
dmarc_prepare(void)
{
	if (suffixes == NULL) {
		/* Debian's list, which is newer than the one that is built in; that one otherwise. */
		suffixes = psl_latest(NULL);
	}
	return suffixes == NULL ? ERR_IO : ERR_OK;
}

struct bytes
dmarc_organisational(struct bytes domain)
{
	char text[DOMAIN_TEXT_MAX];
	if (dmarc_prepare() != ERR_OK || domain.len == 0 || domain.len >= sizeof(text)) {
		return domain;
	}
	for (size_t i = 0; i < domain.len; i++) {
		text[i] = (char)ascii_lower(domain.ptr[i]);
	}
	text[domain.len] = '\0';
	const char *registrable = psl_registrable_domain(suffixes, text);
	return registrable == NULL ? domain : bytes_from(domain, (size_t)(registrable - text));
}

/* ---- From ---- */

static enum err
take_domain(struct bytes domain, struct dmarc_verdict *v)
{
	struct buf normal = BUF_INIT(DOMAIN_TEXT_MAX - 1);
	enum err e = mail_domain_normalise(domain, &normal);
	if (e == ERR_OK && !text_is_domain(buf_bytes(&normal), 1)) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK && v->domain[0] != '\0' && !bytes_is(buf_bytes(&normal), v->domain)) {
		e = ERR_CONFLICT;
	}
	if (e == ERR_OK) {
		memcpy(v->domain, normal.ptr, normal.len);
		v->domain[normal.len] = '\0';
	}
	buf_clear(&normal);
	return e;
}

/* The one domain of From. NULL, or why there is none. */
static const char *
read_from(struct bytes message, struct dmarc_verdict *v)
{
	struct mail_fields it;
	struct mail_field field;
	struct mail_field from;
	struct arena a;
	struct mail_addresses list = {.count = 0};
	const char *why = NULL;
	size_t fields = 0;
	mail_fields_init(&it, message);
	while (mail_fields_next(&it, &field)) {
		if (bytes_is_nocase(field.name, "From")) {
			from = field;
			fields++;
		}
	}
	if (fields != 1) {
		v->ambiguous = fields > 1;
		return fields == 0 ? "no From" : "several From fields";
	}
	arena_init(&a, FROM_MEMORY_MAX);
	size_t mailboxes = 0;
	if (mail_addresses_parse(&a, from.value, FROM_MAILBOXES_MAX, &list) != ERR_OK || list.truncated) {
		why = "From has too many mailboxes";
	}
	for (size_t i = 0; i < list.count && why == NULL; i++) {
		if (list.list[i].kind != MAIL_ADDRESS_MAILBOX) {
			continue;
		}
		mailboxes++;
		switch ((int)take_domain(list.list[i].domain, v)) {
		case ERR_OK:
			break;
		case ERR_CONFLICT:
			v->ambiguous = true;
			why = "From has mailboxes of several domains";
			break;
		default:
			why = "From has a mailbox without a domain";
			break;
		}
	}
	arena_clear(&a);
	return why == NULL && mailboxes == 0 ? "From has no mailbox" : why;
}

/* ---- the record ---- */

struct record {
	bool found;
	enum dmarc_policy policy;
	enum dmarc_policy below; /* sp= */
	bool strict_dkim;
	bool strict_spf;
	unsigned percent;
};

static bool
read_policy(const struct tags *tags, const char *name, enum dmarc_policy *ret)
{
	struct bytes value;
	if (!tags_find(tags, name, &value)) {
		return false;
	}
	if (bytes_is_nocase(value, "none")) {
		*ret = DMARC_MONITOR;
	} else if (bytes_is_nocase(value, "quarantine")) {
		*ret = DMARC_QUARANTINE;
	} else if (bytes_is_nocase(value, "reject")) {
		*ret = DMARC_REJECT;
	} else {
		return false;
	}
	return true;
}

/* RFC 7489 sections 6.3 and 6.6.3. */
static bool
read_record(struct bytes text, struct record *r)
{
	struct tags tags;
	struct bytes value;
	uint64_t n;
	if (tags_parse(text, &tags) != ERR_OK || !bytes_is(tags.list[0].name, "v") ||
	    !bytes_is(tags.list[0].value, "DMARC1")) {
		return false;
	}
	if (!read_policy(&tags, "p", &r->policy)) {
		if (!tags_find(&tags, "rua", &value)) {
			return false;
		}
		r->policy = DMARC_MONITOR;
	}
	if (!read_policy(&tags, "sp", &r->below)) {
		r->below = r->policy;
	}
	r->strict_dkim = tags_find(&tags, "adkim", &value) && bytes_is_nocase(value, "s");
	r->strict_spf = tags_find(&tags, "aspf", &value) && bytes_is_nocase(value, "s");
	r->percent =
	    tags_find(&tags, "pct", &value) && bytes_to_u64(value, 100, &n) == ERR_OK ? (unsigned)n : 100;
	return true;
}

/* ERR_OK with found false: there is none, or several. ERR_AGAIN. */
static enum err
fetch(struct bytes domain, const struct authentication_dns *dns, struct record *ret)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct buf name = BUF_INIT(300);
	struct bytes one;
	unsigned found = 0;
	bool sound = false;
	enum err e = buf_printf(&name, "_dmarc.%.*s", (int)domain.len, (const char *)domain.ptr);
	if (e == ERR_OK && name.len <= 253 &&
	    dns->ask(dns->ctx, buf_bytes(&name), AUTHENTICATION_TXT, &answer) != ERR_OK) {
		e = ERR_AGAIN;
	}
	buf_clear(&name);
	while (e == ERR_OK && text_records_next(&answer.rdata, &one)) {
		struct buf text = BUF_INIT(TXT_RECORD_MAX);
		struct record r;
		memset(&r, 0, sizeof(r));
		if (text_of_txt(one, &text) == ERR_OK && bytes_starts_with(buf_bytes(&text), "v=DMARC1")) {
			found++;
			sound = read_record(buf_bytes(&text), &r);
			*ret = r;
		}
		buf_clear(&text);
	}
	ret->found = found == 1 && sound;
	return e;
}

/* ---- alignment ---- */

static bool
is_aligned(struct bytes domain, struct bytes from, bool strict)
{
	return bytes_equal_nocase(domain, from) ||
	       (!strict && bytes_equal_nocase(dmarc_organisational(domain), dmarc_organisational(from)));
}

/* True if some identifier that could have been aligned has no result yet. */
static bool
align(const struct record *r, const struct dkim_verdicts *dkim, const struct spf_verdict *spf,
      struct dmarc_verdict *v)
{
	struct bytes from = bytes_str(v->domain);
	bool waits = false;
	for (size_t i = 0; i < dkim->count; i++) {
		if (dkim->list[i].domain.len > 0 && is_aligned(dkim->list[i].domain, from, r->strict_dkim)) {
			v->aligned_dkim = v->aligned_dkim || dkim->list[i].result == AUTHENTICATION_PASS;
			waits = waits || dkim->list[i].result == AUTHENTICATION_TEMPERROR;
		}
	}
	if (spf->domain[0] != '\0' && is_aligned(bytes_str(spf->domain), from, r->strict_spf)) {
		v->aligned_spf = spf->result == AUTHENTICATION_PASS;
		waits = waits || spf->result == AUTHENTICATION_TEMPERROR;
	}
	return waits;
}

static enum dmarc_policy
milder(enum dmarc_policy p)
{
	return p == DMARC_REJECT ? DMARC_QUARANTINE : DMARC_MONITOR;
}

void
dmarc_check(struct bytes message, const struct dkim_verdicts *dkim, const struct spf_verdict *spf,
	    unsigned number, const struct authentication_dns *dns, struct dmarc_verdict *ret)
{
	struct record r;
	memset(&r, 0, sizeof(r));
	memset(ret, 0, sizeof(*ret));
	ret->why = read_from(message, ret);
	if (ret->why != NULL) {
		ret->result = AUTHENTICATION_PERMERROR;
		return;
	}
	struct bytes from = bytes_str(ret->domain);
	struct bytes organisation = dmarc_organisational(from);
	bool below = false;
	enum err e = fetch(from, dns, &r);
	if (e == ERR_OK && !r.found && organisation.len < from.len) {
		below = true;
		e = fetch(organisation, dns, &r);
	}
	if (e != ERR_OK) {
		ret->result = AUTHENTICATION_TEMPERROR;
		ret->why = "the DNS gave no answer";
		return;
	}
	bool waits = align(&r, dkim, spf, ret);
	if (!r.found) {
		ret->result = AUTHENTICATION_NONE;
		return;
	}
	ret->policy = below ? r.below : r.policy;
	if (number >= r.percent) {
		ret->policy = milder(ret->policy);
	}
	if (ret->aligned_dkim || ret->aligned_spf) {
		ret->result = AUTHENTICATION_PASS;
	} else if (waits) {
		ret->result = AUTHENTICATION_TEMPERROR;
		ret->why = "an aligned check has no result yet";
	} else {
		ret->result = AUTHENTICATION_FAIL;
		ret->why = "nothing that is aligned with From passed";
	}
}
