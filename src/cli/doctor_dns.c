/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the DNS says of the house: its addresses and their names, who may send for it, and all its records. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "authentication/spf.h"
#include "cli/doctor_dns.h"

/* ---- addresses ---- */

/* Of a name, 16 octets each; false: the DNS gave no answer to one of the questions. */
static bool
addresses_of(struct doctor_asker *a, const char *name, uint8_t ret[DOCTOR_ADDRESSES_MAX][16],
	     size_t *ret_count)
{
	static const enum authentication_rr types[] = {AUTHENTICATION_A, AUTHENTICATION_AAAA};
	struct authentication_answer answer;
	struct bytes one;
	bool answered = true;
	for (size_t i = 0; i < 2; i++) {
		if (doctor_ask(a, bytes_str(name), types[i], &answer) != ERR_OK) {
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

/* An MX must name a host that has addresses itself (RFC 5321 section 5.1, RFC 2181 section 10.3). */
static void
check_alias(struct doctor *d, struct doctor_asker *a)
{
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	if (doctor_ask(a, bytes_str(d->config.hostname), (enum authentication_rr)TYPE_CNAME, &answer) ==
		ERR_OK &&
	    answer.rdata.len > 0) {
		doctor_tell(d, DOCTOR_BAD, "mx",
			    "in place of its CNAME record, publish A (and AAAA) records of that name",
			    "%s, which the MX record names, is only an alias (CNAME): others may refuse to "
			    "deliver",
			    d->config.hostname);
	}
}

static void
find_addresses(struct doctor *d, struct doctor_asker *a)
{
	bool answered = addresses_of(a, d->config.hostname, d->addresses, &d->address_count);
	doctor_tell(d,
		    d->address_count > 0 ? DOCTOR_GOOD
		    : answered           ? DOCTOR_BAD
					 : DOCTOR_UNKNOWN,
		    "address", "publish an A record (and AAAA) for the host name",
		    d->address_count > 0 ? "%s has an address" : "%s has no address that is found",
		    d->config.hostname);
	check_alias(d, a);
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
tell_unanswered(struct doctor *d, const struct doctor_asker *a)
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
check_ptr(struct doctor *d, struct doctor_asker *a, const uint8_t address[16])
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
	e = e == ERR_OK ? doctor_ask(a, buf_bytes(&name), AUTHENTICATION_PTR, &answer) : e;
	while (e == ERR_OK && !found && text_records_next(&answer.rdata, &one)) {
		struct buf is = BUF_INIT(512);
		found = doctor_show(AUTHENTICATION_PTR, one, &is) == ERR_OK && is.len > 1 &&
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
	struct doctor_asker a = {.ctx = doctor_context(&d->config), .rdata = BUF_INIT(DOCTOR_RDATA_MAX * 2)};
	struct authentication_dns dns = {.ask = doctor_ask, .ctx = &a};
	if (a.ctx == NULL) {
		doctor_tell(d, DOCTOR_UNKNOWN, "dns", NULL, "the DNS cannot be asked: out of memory");
		return;
	}
	find_addresses(d, &a);
	doctor_records(d, &a);
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
