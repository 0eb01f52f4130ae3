/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/dmarc.h"

#include <libpsl.h>
#include <string.h>

#include "authentication/text.h"
#include "mail/address.h"
#include "mail/charset.h"
#include "mail/header.h"

enum { FROM_MAILBOXES_MAX = 32, DOMAIN_TEXT_MAX = 254, FROM_OCTETS_MAX = 64 * 1024 };

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

/*
 * From is read more strictly here than anywhere else: mail programs guess differently at what is no address, and one that is
 * judged must be the one that every reader is shown. Blanks and comments may stand only around addresses; no groups, no routes.
 */
struct reading {
	struct bytes text;
	size_t at;
};

/* Behind blanks, line ends and comments. False: a comment that does not end. */
static bool
skip_blanks(struct reading *r)
{
	size_t depth = 0;
	while (r->at < r->text.len) {
		uint8_t c = r->text.ptr[r->at];
		if (c == '(') {
			depth++;
		} else if (c == ')' && depth > 0) {
			depth--;
		} else if (c == '\\' && depth > 0) {
			r->at++;
		} else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
			return true;
		}
		r->at++;
	}
	return depth == 0;
}

static bool
is_atext(uint8_t c)
{
	return ascii_is_alnum(c) || c >= 0x80 || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* A word: an atom with dots in it, or a quoted string. */
static struct bytes
take_word(struct reading *r)
{
	size_t from = r->at;
	if (r->at < r->text.len && r->text.ptr[r->at] == '"') {
		for (r->at++; r->at < r->text.len && r->text.ptr[r->at] != '"'; r->at++) {
			r->at += r->text.ptr[r->at] == '\\' ? 1 : 0;
		}
		bool closed = r->at < r->text.len;
		r->at = closed ? r->at + 1 : r->text.len;
		return closed ? bytes_slice(r->text, from, r->at - from) : BYTES_EMPTY;
	}
	while (r->at < r->text.len && (is_atext(r->text.ptr[r->at]) || r->text.ptr[r->at] == '.')) {
		r->at++;
	}
	return bytes_slice(r->text, from, r->at - from);
}

static bool
is_at(const struct reading *r, uint8_t c)
{
	return r->at < r->text.len && r->text.ptr[r->at] == c;
}

/* "local@domain" in one piece. */
static const char *
take_address(struct reading *r, struct dmarc_verdict *v)
{
	struct bytes local = take_word(r);
	if (local.len == 0 || !is_at(r, '@')) {
		return "From has no address that can be read";
	}
	r->at++;
	struct bytes domain = take_word(r);
	if (domain.len == 0 || domain.ptr[0] == '"' || domain.ptr[domain.len - 1] == '.') {
		return "From has a mailbox without a domain";
	}
	switch ((int)take_domain(domain, v)) {
	case ERR_OK:
		return NULL;
	case ERR_CONFLICT:
		v->ambiguous = true;
		return "From has mailboxes of several domains";
	default:
		return "From has a mailbox without a domain";
	}
}

/* One mailbox: an address, or a name and an address in angle brackets. */
static const char *
take_mailbox(struct reading *r, struct dmarc_verdict *v)
{
	size_t from = r->at;
	bool bracket = false;
	/* What comes first, a bracket or the end of this mailbox? */
	struct reading look = *r;
	while (look.at < look.text.len && !is_at(&look, ',') && !bracket) {
		size_t before = look.at;
		if (!skip_blanks(&look)) {
			return "From has a comment without an end";
		}
		(void)take_word(&look);
		bracket = is_at(&look, '<');
		if (look.at == before && !bracket) {
			if (!is_at(&look, '@')) {
				return "From has no address that can be read";
			}
			look.at++;
		}
	}
	if (bracket) {
		struct bytes name = bytes_trim(bytes_slice(r->text, from, look.at - from));
		r->at = look.at + 1;
		size_t address_at = r->at;
		const char *why = take_address(r, v);
		if (why != NULL) {
			return why;
		}
		struct bytes address = bytes_slice(r->text, address_at, r->at - address_at);
		if (!is_at(r, '>')) {
			return "From has no address that can be read";
		}
		r->at++;
		/* A bare address as the name is what some programs write; another one is what some readers show. */
		if (bytes_find(name, '@') >= 0 && name.ptr[0] != '"' && !bytes_equal_nocase(name, address)) {
			return "From names another address before its own";
		}
		return NULL;
	}
	return take_address(r, v);
}

static const char *
read_mailboxes(struct bytes value, struct dmarc_verdict *v)
{
	struct reading r = {.text = value};
	for (size_t i = 0; i < FROM_MAILBOXES_MAX; i++) {
		if (!skip_blanks(&r)) {
			return "From has a comment without an end";
		}
		if (r.at == value.len) {
			return "From has no mailbox";
		}
		const char *why = take_mailbox(&r, v);
		if (why != NULL) {
			return why;
		}
		if (!skip_blanks(&r)) {
			return "From has a comment without an end";
		}
		if (r.at == value.len) {
			return NULL;
		}
		if (!is_at(&r, ',')) {
			return "From has no address that can be read";
		}
		r.at++;
	}
	return "From has too many mailboxes";
}

/* Octets of the at sign that stands here, plain, of full width or small; 0. */
static size_t
at_sign(struct bytes text, size_t at)
{
	struct bytes rest = bytes_from(text, at);
	if (rest.len > 0 && rest.ptr[0] == '@') {
		return 1;
	}
	return bytes_starts_with(rest, "\xef\xbc\xa0") || bytes_starts_with(rest, "\xef\xb9\xab") ? 3 : 0;
}

static bool
is_of_another(struct bytes found, struct bytes domain)
{
	struct buf normal = BUF_INIT(DOMAIN_TEXT_MAX - 1);
	enum err e = mail_domain_normalise(found, &normal);
	if (e != ERR_OK) {
		/* A sign of some script behind it, a closing quote perhaps. */
		size_t plain = 0;
		while (plain < found.len && found.ptr[plain] < 0x80) {
			plain++;
		}
		buf_reset(&normal);
		e = buf_append(&normal, bytes_slice(found, 0, plain));
	}
	found = buf_bytes(&normal);
	while (found.len > 0 && found.ptr[found.len - 1] == '.') {
		found.len--;
	}
	ptrdiff_t dot = bytes_find_last(found, '.');
	bool other = e == ERR_OK && dot > 0 && ascii_is_alpha(found.ptr[dot + 1]) &&
		     !bytes_equal_nocase(dmarc_organisational(found), dmarc_organisational(domain));
	buf_clear(&normal);
	return other;
}

bool
dmarc_names_another(struct bytes text, struct bytes domain)
{
	for (size_t i = 1; i < text.len; i++) {
		size_t sign = at_sign(text, i);
		size_t end = i + sign;
		uint8_t before = text.ptr[i - 1];
		if (sign == 0 || (!is_atext(before) && before != '.')) {
			continue;
		}
		while (end < text.len && at_sign(text, end) == 0 &&
		       (ascii_is_alnum(text.ptr[end]) || text.ptr[end] >= 0x80 || text.ptr[end] == '.' ||
			text.ptr[end] == '-' || text.ptr[end] == '_')) {
			end++;
		}
		if (is_of_another(bytes_slice(text, i + sign, end - i - sign), domain)) {
			return true;
		}
	}
	return false;
}

/*
 * A comment, or an encoded word, that shows an address of another domain says no less than the same in clear, which is refused. In quotes it may
 * stand ("x@there.example via List" <list@here.example>), and weighs in the score.
 */
static const char *
check_shown(struct bytes value, const struct dmarc_verdict *v)
{
	struct buf shown = BUF_INIT(FROM_OCTETS_MAX);
	struct buf decoded = BUF_INIT(FROM_OCTETS_MAX * 4);
	size_t depth = 0;
	bool quoted = false;
	enum err e = value.len > FROM_OCTETS_MAX ? ERR_LIMIT : ERR_OK;
	for (size_t i = 0; i < value.len && e == ERR_OK; i++) {
		uint8_t c = value.ptr[i];
		if (c == '\\' && (quoted || depth > 0) && i + 1 < value.len) {
			c = value.ptr[++i];
		} else if (c == '"' && depth == 0) {
			quoted = !quoted;
			c = ' ';
		} else if (c == '(' && !quoted) {
			depth++;
			c = ' ';
		} else if (c == ')' && depth > 0) {
			depth--;
			c = ' ';
		}
		e = quoted ? ERR_OK : buf_append_byte(&shown, c);
	}
	e = e == ERR_OK ? mail_words_decode(buf_bytes(&shown), &decoded) : e;
	const char *why = e != ERR_OK ? "From cannot be read as a whole"
			  : dmarc_names_another(buf_bytes(&decoded), bytes_str(v->domain))
			      ? "From names another address beside its own"
			      : NULL;
	buf_clear(&shown);
	buf_clear(&decoded);
	return why;
}

/* The one domain of From. NULL, or why there is none. */
static const char *
read_from(struct bytes message, struct dmarc_verdict *v)
{
	struct mail_fields it;
	struct mail_field field;
	struct mail_field from = {.offset = 0};
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
	const char *why = read_mailboxes(from.value, v);
	return why == NULL ? check_shown(from.value, v) : why;
}

void
dmarc_author(struct bytes message, char ret_domain[254])
{
	struct dmarc_verdict v;
	memset(&v, 0, sizeof(v));
	if (read_from(message, &v) != NULL) {
		v.domain[0] = '\0';
	}
	memcpy(ret_domain, v.domain, sizeof(v.domain));
}

/* ---- the record ---- */

struct record {
	bool found;
	enum dmarc_policy policy;
	enum dmarc_policy below; /* sp= */
	bool strict_dkim;
	bool strict_spf;
	unsigned percent;
	bool reports;                /* rua= */
	char rua[DMARC_RUA_MAX + 1]; /* its value where it goes in */
};

/* The value of a tag, the first one of that name; what is no tag is passed over (RFC 7489 section 6.3). */
static bool
find_tag(struct bytes text, const char *name, struct bytes *ret_value)
{
	struct bytes item;
	while (tags_item(&text, ';', &item)) {
		ptrdiff_t equals = bytes_find(item, '=');
		if (equals > 0 && bytes_is_nocase(bytes_trim(bytes_slice(item, 0, (size_t)equals)), name)) {
			*ret_value = bytes_trim(bytes_from(item, (size_t)equals + 1));
			return true;
		}
	}
	return false;
}

static bool
is_record(struct bytes text)
{
	struct bytes first;
	struct bytes value;
	/* Not behind a blank: it begins with the version (RFC 7489 section 6.6.3). */
	return text.len > 0 && ascii_lower(text.ptr[0]) == 'v' && tags_item(&text, ';', &first) &&
	       find_tag(first, "v", &value) && bytes_is(value, "DMARC1");
}

static bool
read_policy(struct bytes text, const char *name, enum dmarc_policy *ret)
{
	struct bytes value;
	if (!find_tag(text, name, &value)) {
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

/* False: there is none; true with an empty text: too long. */
static bool
take_rua(struct bytes text, char ret[DMARC_RUA_MAX + 1])
{
	struct bytes value;
	ret[0] = '\0';
	if (!find_tag(text, "rua", &value) || value.len == 0) {
		return false;
	}
	if (value.len <= DMARC_RUA_MAX) {
		memcpy(ret, value.ptr, value.len);
		ret[value.len] = '\0';
	}
	return true;
}

/* RFC 7489 sections 6.3 and 6.6.3. */
static bool
read_record(struct bytes text, struct record *r)
{
	struct bytes value;
	uint64_t n;
	if (!read_policy(text, "p", &r->policy)) {
		if (!find_tag(text, "rua", &value)) {
			return false;
		}
		r->policy = DMARC_MONITOR;
	}
	if (!read_policy(text, "sp", &r->below)) {
		r->below = r->policy;
	}
	r->strict_dkim = find_tag(text, "adkim", &value) && bytes_is_nocase(value, "s");
	r->strict_spf = find_tag(text, "aspf", &value) && bytes_is_nocase(value, "s");
	r->percent =
	    find_tag(text, "pct", &value) && bytes_to_u64(value, 100, &n) == ERR_OK ? (unsigned)n : 100;
	r->reports = take_rua(text, r->rua);
	return true;
}

static enum err
ask_txt(struct bytes front, struct bytes domain, const struct authentication_dns *dns,
	struct authentication_answer *ret)
{
	struct buf name = BUF_INIT(600);
	*ret = (struct authentication_answer){.rdata = BYTES_EMPTY};
	enum err e = buf_append(&name, front);
	e = e == ERR_OK ? buf_append(&name, domain) : e;
	if (e == ERR_OK && name.len <= 253 &&
	    dns->ask(dns->ctx, buf_bytes(&name), AUTHENTICATION_TXT, ret) != ERR_OK) {
		e = ERR_AGAIN;
	}
	buf_clear(&name);
	return e;
}

/* ERR_OK with found false: there is none, or several. ERR_AGAIN. */
static enum err
fetch(struct bytes domain, const struct authentication_dns *dns, struct record *ret)
{
	struct authentication_answer answer;
	struct bytes one;
	unsigned found = 0;
	bool sound = false;
	enum err e = ask_txt(BYTES_LIT("_dmarc."), domain, dns, &answer);
	while (e == ERR_OK && text_records_next(&answer.rdata, &one)) {
		struct buf text = BUF_INIT(TXT_RECORD_MAX);
		struct record r;
		memset(&r, 0, sizeof(r));
		if (text_of_txt(one, &text) == ERR_OK && is_record(buf_bytes(&text))) {
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
			/* A key that is being tried out proves nothing yet (RFC 6376 section 3.6.1, t=y). */
			v->aligned_dkim = v->aligned_dkim || (dkim->list[i].result == AUTHENTICATION_PASS &&
							      !dkim->list[i].testing);
			waits = waits || dkim->list[i].result == AUTHENTICATION_TEMPERROR;
		}
	}
	if (spf->domain[0] != '\0' && is_aligned(bytes_str(spf->domain), from, r->strict_spf)) {
		v->aligned_spf = spf->result == AUTHENTICATION_PASS;
		v->spf_unread = spf->withheld && !v->aligned_spf;
		waits = waits || spf->result == AUTHENTICATION_TEMPERROR;
	}
	return waits;
}

static enum dmarc_policy
milder(enum dmarc_policy p)
{
	return p == DMARC_REJECT ? DMARC_QUARANTINE : DMARC_MONITOR;
}

/* His own name servers are silent: what his organisation's say of those below it is the nearest that can be known. */
static void
judge_unknown(struct bytes from, struct bytes organisation, unsigned number, const struct dkim_verdicts *dkim,
	      const struct spf_verdict *spf, const struct authentication_dns *dns, struct dmarc_verdict *ret)
{
	struct record above;
	struct record strict = {.strict_dkim = true, .strict_spf = true};
	memset(&above, 0, sizeof(above));
	ret->result = AUTHENTICATION_TEMPERROR;
	ret->why = "the DNS gave no answer";
	ret->unknown = true;
	if (organisation.len < from.len && fetch(organisation, dns, &above) == ERR_OK && above.found) {
		ret->policy = number >= above.percent ? milder(above.below) : above.below;
	}
	(void)align(&strict, dkim, spf, ret);
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
	if (fetch(from, dns, &r) != ERR_OK) {
		judge_unknown(from, organisation, number, dkim, spf, dns, ret);
		return;
	}
	if (!r.found && organisation.len < from.len) {
		below = true;
		if (fetch(organisation, dns, &r) != ERR_OK) {
			judge_unknown(from, from, number, dkim, spf, dns, ret);
			return;
		}
	}
	bool waits = align(&r, dkim, spf, ret);
	if (!r.found) {
		ret->result = AUTHENTICATION_NONE;
		return;
	}
	ret->policy = below ? r.below : r.policy;
	ret->wants_reports = r.reports;
	ret->record_at = below ? from.len - organisation.len : 0;
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

/* ---- reports about others ---- */

enum err
dmarc_published(struct bytes domain, const struct authentication_dns *dns, struct dmarc_published *ret)
{
	struct record r;
	memset(&r, 0, sizeof(r));
	enum err e = fetch(domain, dns, &r);
	if (e != ERR_OK || !r.found) {
		return e != ERR_OK ? e : ERR_NOT_FOUND;
	}
	*ret = (struct dmarc_published){.policy = r.policy,
					.below = r.below,
					.strict_dkim = r.strict_dkim,
					.strict_spf = r.strict_spf,
					.percent = r.percent};
	memcpy(ret->rua, r.rua, sizeof(ret->rua));
	return ERR_OK;
}

enum err
dmarc_takes_reports(struct bytes domain, struct bytes destination, const struct authentication_dns *dns,
		    char ret_rua[DMARC_RUA_MAX + 1])
{
	struct authentication_answer answer;
	struct buf front = BUF_INIT(300);
	struct bytes one;
	char rua[DMARC_RUA_MAX + 1] = "";
	bool found = false;
	if (bytes_equal_nocase(dmarc_organisational(domain), dmarc_organisational(destination))) {
		ret_rua[0] = '\0';
		return ERR_OK;
	}
	enum err e = buf_append(&front, domain);
	e = e == ERR_OK ? buf_append_str(&front, "._report._dmarc.") : e;
	e = e == ERR_OK ? ask_txt(buf_bytes(&front), destination, dns, &answer) : e;
	buf_clear(&front);
	while (e == ERR_OK && text_records_next(&answer.rdata, &one)) {
		struct buf text = BUF_INIT(TXT_RECORD_MAX);
		if (text_of_txt(one, &text) == ERR_OK && is_record(buf_bytes(&text))) {
			found = true;
			(void)take_rua(buf_bytes(&text), rua);
		}
		buf_clear(&text);
	}
	if (e == ERR_OK && found) {
		memcpy(ret_rua, rua, sizeof(rua));
	}
	return e == ERR_OK && !found ? ERR_NOT_FOUND : e;
}
