/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is published at the names of `cohue dns`, against what it prints; and what stands beside it, which may undo it. */
#include <stdio.h>
#include <string.h>

#include "cli/doctor_dns.h"

/* One name and type: what should stand there, and what does. */
struct published {
	struct doctor *d;
	const struct record *row;
	const char *check;
	const char *remedy; /* to publish the row */
	unsigned type;
	bool needed;
	bool secure;
	struct bytes should;
	struct bytes rdata; /* as authentication_answer lends it */
};

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

enum err
doctor_show(unsigned type, struct bytes rdata, struct buf *out)
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

/* The next record as text, its end marked by a NUL that is not counted; false at the end. One that cannot be shown is empty. */
static bool
next_text(struct bytes *rdata, unsigned type, struct buf *out)
{
	struct bytes one;
	if (!text_records_next(rdata, &one)) {
		return false;
	}
	buf_reset(out);
	if (doctor_show(type, one, out) != ERR_OK) {
		buf_reset(out);
	}
	if (buf_append_byte(out, 0) != ERR_OK) {
		return false;
	}
	out->len--;
	return true;
}

static bool
is_there(const struct published *p)
{
	struct bytes rest = p->rdata;
	struct buf is = BUF_INIT(DOCTOR_RDATA_MAX);
	bool found = false;
	while (!found && next_text(&rest, p->type, &is)) {
		found = bytes_equal_nocase(buf_bytes(&is), p->should);
	}
	buf_clear(&is);
	return found;
}

static void
tell_missing(const struct published *p, bool other)
{
	doctor_tell(p->d, p->needed ? DOCTOR_BAD : DOCTOR_HINT, p->check, p->remedy, "%s %s", p->row->name,
		    other ? "says something else" : "is not there");
}

/* Mail goes to whoever is named with the smallest number; where that one does not answer, to the next. */
static void
judge_mx(const struct published *p)
{
	struct bytes rest = p->rdata;
	struct bytes one;
	unsigned own = UINT16_MAX + 1;
	for (; text_records_next(&rest, &one);) {
		struct buf host = BUF_INIT(512);
		if (put_name(bytes_from(one, 2), &host) == ERR_OK && host.len > 1 &&
		    bytes_is_nocase(bytes_slice(buf_bytes(&host), 0, host.len - 1), p->d->config.hostname) &&
		    u16_at(one, 0) < own) {
			own = u16_at(one, 0);
		}
		buf_clear(&host);
	}
	bool alone = true;
	rest = p->rdata;
	while (text_records_next(&rest, &one)) {
		struct buf host = BUF_INIT(512);
		bool read = put_name(bytes_from(one, 2), &host) == ERR_OK && host.len > 0;
		bool foreign = read && !bytes_is_nocase(bytes_slice(buf_bytes(&host), 0, host.len - 1),
							p->d->config.hostname);
		if (foreign && own > UINT16_MAX) {
			alone = false;
			doctor_tell(p->d, DOCTOR_BAD, p->check, p->remedy,
				    host.len == 1 ? "%s says that it takes no mail (MX %.*s)"
						  : "mail to %s goes to %.*s, and not to this house",
				    p->row->name, (int)host.len, (const char *)host.ptr);
		} else if (foreign && u16_at(one, 0) <= own) {
			alone = false;
			doctor_tell(p->d, DOCTOR_BAD, p->check,
				    "take that MX record away, or give it a greater number than this house's",
				    u16_at(one, 0) < own
					? "mail to %s goes to %.*s (MX %u) before this house (MX %u)"
					: "mail to %s goes to %.*s (MX %u) as often as to this house (MX %u)",
				    p->row->name, (int)host.len, (const char *)host.ptr, u16_at(one, 0), own);
		} else if (foreign) {
			alone = false;
			doctor_tell(p->d, DOCTOR_HINT, p->check,
				    "take that MX record away, unless it is wanted: that server reads what "
				    "it takes",
				    "mail to %s goes to %.*s where this house does not answer", p->row->name,
				    (int)host.len, (const char *)host.ptr);
		}
		buf_clear(&host);
	}
	if (own <= UINT16_MAX && alone) {
		doctor_tell(p->d, DOCTOR_GOOD, p->check, NULL, "%s is as it should be", p->row->name);
	} else if (own > UINT16_MAX && alone) {
		tell_missing(p, false);
	}
}

/* A policy as its readers read it: what is wrong, or NULL. */
static const char *
fault_of(const struct published *p, struct bytes text)
{
	struct tags tags;
	struct bytes value;
	if (tags_parse(text, &tags) != ERR_OK) {
		return "cannot be read";
	}
	if (strcmp(p->check, "dmarc") == 0) {
		return tags_find(&tags, "p", &value) &&
			       (bytes_is_nocase(value, "none") || bytes_is_nocase(value, "quarantine") ||
				bytes_is_nocase(value, "reject"))
			   ? NULL
			   : "has no policy (p=) that others know";
	}
	if (strcmp(p->check, "mta-sts") == 0) {
		return tags_find(&tags, "id", &value) && value.len > 0 ? NULL : "has no id";
	}
	return NULL;
}

/* A record that must be the only one of its version: where there are several, others act as if there were none. */
static void
judge_only(const struct published *p)
{
	ptrdiff_t end = bytes_find(p->should, ';');
	struct bytes version = end < 0 ? p->should : bytes_slice(p->should, 0, (size_t)end);
	struct bytes rest = p->rdata;
	struct buf is = BUF_INIT(DOCTOR_RDATA_MAX);
	struct buf kept = BUF_INIT(DOCTOR_RDATA_MAX);
	size_t count = 0;
	while (next_text(&rest, p->type, &is)) {
		struct bytes text = bytes_trim(buf_bytes(&is));
		if (bytes_equal_nocase(bytes_slice(text, 0, version.len), version)) {
			count++;
			buf_reset(&kept);
			p->d->full = buf_append(&kept, text) != ERR_OK || p->d->full;
		}
	}
	struct bytes text = buf_bytes(&kept);
	const char *fault = count == 1 ? fault_of(p, text) : NULL;
	if (count > 1) {
		doctor_tell(p->d, DOCTOR_BAD, p->check, "take away all but the one that `cohue dns` prints",
			    "%s has %zu records with %.*s: others act as if there were none", p->row->name,
			    count, (int)version.len, (const char *)version.ptr);
	} else if (count == 0) {
		tell_missing(p, p->rdata.len > 0);
	} else if (fault != NULL) {
		doctor_tell(p->d, DOCTOR_BAD, p->check, p->remedy,
			    "the record of %s %s: others act as if there were none", p->row->name, fault);
	} else if (bytes_equal_nocase(text, p->should)) {
		doctor_tell(p->d, DOCTOR_GOOD, p->check, NULL, "%s is as it should be", p->row->name);
	} else if (strcmp(p->check, "mta-sts") == 0) {
		doctor_tell(
		    p->d, DOCTOR_BAD, p->check, p->remedy,
		    "the id of %s is not the present policy's: who has a former one goes by that, and "
		    "may refuse to deliver",
		    p->row->name);
	} else {
		/* Its owner may know better. */
		doctor_tell(p->d, DOCTOR_GOOD, p->check, NULL, "%s is there, not as `cohue dns` says it",
			    p->row->name);
	}
	buf_clear(&is);
	buf_clear(&kept);
}

static void
judge_dkim(const struct published *p)
{
	struct bytes rest = p->rdata;
	struct bytes one;
	size_t count = 0;
	while (text_records_next(&rest, &one)) {
		count++;
	}
	if (count > 1 && is_there(p)) {
		doctor_tell(p->d, DOCTOR_BAD, p->check, "take away all but the one that `cohue dns` prints",
			    "%s has %zu records: which of them others take is their affair (RFC 6376)",
			    p->row->name, count);
	} else if (is_there(p)) {
		doctor_tell(p->d, DOCTOR_GOOD, p->check, NULL, "%s is as it should be", p->row->name);
	} else {
		tell_missing(p, count > 0);
	}
}

/* Keeps what servers with DANE go by, for the look at port 25. Whether all of it is of the kind that `cohue dns` prints. */
static bool
keep_tlsa(const struct published *p)
{
	struct bytes rest = p->rdata;
	struct bytes one;
	bool plain = true;
	while (text_records_next(&rest, &one)) {
		struct doctor_tlsa *to = &p->d->tlsa[p->d->tlsa_count];
		bool usable =
		    one.len > 3 && (one.ptr[0] == 2 || one.ptr[0] == 3) && one.ptr[1] <= 1 && one.ptr[2] <= 2;
		if (usable && one.len <= sizeof(to->rdata) && p->d->tlsa_count < DOCTOR_TLSA_MAX) {
			memcpy(to->rdata, one.ptr, one.len);
			to->len = one.len;
			p->d->tlsa_count++;
		}
		plain = plain && (!usable || (one.ptr[0] == 3 && one.ptr[1] == 1 && one.ptr[2] == 1));
	}
	return plain;
}

static void
judge_tlsa(const struct published *p)
{
	bool same = is_there(p);
	bool plain = keep_tlsa(p);
	p->d->tlsa_secure = p->secure;
	if (p->d->tlsa_count == 0) {
		doctor_tell(p->d, DOCTOR_HINT, p->check, p->remedy,
			    p->rdata.len == 0 ? "%s is not there: only with it, in a signed zone, others "
						"can insist on this house's key"
					      : "%s has no record that servers use (usage 3 or 2)",
			    p->row->name);
		return;
	}
	if (same) {
		p->d->tlsa_right = true;
		doctor_tell(p->d, DOCTOR_GOOD, p->check, NULL, "%s is as it should be", p->row->name);
	} else if (!p->secure) {
		doctor_tell(p->d, DOCTOR_HINT, p->check, p->remedy,
			    "%s is of another key; once the zone is signed, others would refuse to deliver",
			    p->row->name);
	} else if (plain) {
		p->d->tlsa_wrong = true;
		doctor_tell(p->d, DOCTOR_BAD, p->check, p->remedy,
			    "%s is of another key: servers with DANE refuse to deliver here", p->row->name);
	}
	if (!p->secure) {
		doctor_tell(p->d, DOCTOR_HINT, "dnssec",
			    "sign the zone (DNSSEC): without it TLSA records protect nothing",
			    "%s is not signed", p->row->name);
	}
}

static void
judge_next_tlsa(const struct published *p)
{
	bool there = is_there(p);
	doctor_tell(p->d, there ? DOCTOR_GOOD : DOCTOR_HINT, p->check, p->remedy,
		    there ? "%s names the key that comes next, too"
			  : "%s does not name the key that comes next: until it does, renewals keep the key",
		    p->row->name);
}

static void
judge(const struct published *p, bool first)
{
	if (strcmp(p->check, "mx") == 0) {
		judge_mx(p);
	} else if (strcmp(p->check, "tlsa") == 0 && first) {
		judge_tlsa(p);
	} else if (strcmp(p->check, "tlsa") == 0) {
		judge_next_tlsa(p);
	} else if (strcmp(p->check, "dkim") == 0) {
		judge_dkim(p);
	} else if (p->type == AUTHENTICATION_TXT) {
		judge_only(p);
	} else if (is_there(p)) {
		doctor_tell(p->d, DOCTOR_GOOD, p->check, NULL, "%s is as it should be", p->row->name);
	} else {
		tell_missing(p, p->rdata.len > 0);
	}
}

static void
compare(struct doctor *d, struct doctor_asker *a, const struct record *r, const char *check, bool needed,
	bool first)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct buf should = BUF_INIT(8192);
	struct buf remedy = BUF_INIT(8192);
	struct bytes name = bytes_str(r->name);
	struct published p = {.d = d, .row = r, .check = check, .type = type_of(r->type), .needed = needed};
	name.len -= name.len > 0 && name.ptr[name.len - 1] == '.' ? 1 : 0;
	enum err made = unquote(r->value, &should);
	if (made == ERR_OK) {
		made = buf_printf(&remedy, "publish the line of `cohue dns`: %s IN %s %s", r->name, r->type,
				  r->value);
	}
	if (made == ERR_OK) {
		made = buf_append_byte(&remedy, 0);
	}
	enum err e = made == ERR_OK ? doctor_ask(a, name, (enum authentication_rr)p.type, &answer) : made;
	if (made != ERR_OK) {
		d->full = true;
	} else if (e == ERR_AUTH) {
		doctor_tell(d, DOCTOR_BAD, check,
			    "mend the zone's signatures: others refuse what does not verify",
			    "the answer for %s does not validate (DNSSEC)", r->name);
	} else if (e != ERR_OK) {
		doctor_tell(d, DOCTOR_UNKNOWN, check, "see that the DNS can be reached from here",
			    "the DNS gave no answer for %s", r->name);
	} else {
		p.secure = answer.secure;
		p.rdata = answer.rdata;
		p.should = buf_bytes(&should);
		p.remedy = (const char *)remedy.ptr;
		judge(&p, first);
	}
	buf_clear(&should);
	buf_clear(&remedy);
}

/* Two SPF records are none: others then refuse, or believe everybody (RFC 7208 section 4.5). */
static void
check_spf_count(struct doctor *d, struct doctor_asker *a, const struct record *r)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct buf is = BUF_INIT(DOCTOR_RDATA_MAX);
	struct bytes name = bytes_str(r->name);
	size_t count = 0;
	name.len -= name.len > 0 && name.ptr[name.len - 1] == '.' ? 1 : 0;
	if (doctor_ask(a, name, AUTHENTICATION_TXT, &answer) == ERR_OK) {
		while (next_text(&answer.rdata, AUTHENTICATION_TXT, &is)) {
			struct bytes text = buf_bytes(&is);
			count +=
			    bytes_starts_with_nocase(text, "v=spf1") && (text.len == 6 || text.ptr[6] == ' ')
				? 1
				: 0;
		}
	}
	if (count > 1) {
		doctor_tell(d, DOCTOR_BAD, "spf", "take away all but the one that `cohue dns` prints",
			    "%s has %zu SPF records: others then take that for a lasting error, and may "
			    "refuse this house's mail",
			    r->name, count);
	}
	buf_clear(&is);
}

void
doctor_records(struct doctor *d, struct doctor_asker *a)
{
	struct record rows[DNS_RECORDS_MAX];
	size_t count = cli_dns_collect(d->cli, &d->config, rows);
	bool first_tlsa = true;
	for (size_t i = 0; i < count; i++) {
		bool needed;
		const char *check = check_of(&rows[i], &needed);
		if (strcmp(rows[i].type, "TXT") == 0 && strncmp(rows[i].value, "\"v=spf1", 7) == 0) {
			check_spf_count(d, a, &rows[i]);
		}
		if (check == NULL || type_of(rows[i].type) == 0 || rows[i].optional) {
			continue;
		}
		bool tlsa = strcmp(check, "tlsa") == 0;
		needed = needed || (strcmp(check, "mta-sts") == 0 && d->config.mta_sts == CONFIG_STS_ENFORCE);
		compare(d, a, &rows[i], check, needed, !tlsa || first_tlsa);
		first_tlsa = first_tlsa && !tlsa;
	}
}
