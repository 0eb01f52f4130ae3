/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What no single value shows. */
#include <string.h>

#include "config/config_internal.h"

static bool
is_set(const char *text)
{
	return text[0] != '\0';
}

/* Mail in clear stays on this machine, whoever is asked about it. */
static bool
is_rspamd_sound(const char *url)
{
	static const char *const fronts[] = {"http://127.", "http://[::1]", "https://"};
	struct bytes all = bytes_str(url);
	for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
		if (bytes_starts_with(all, fronts[i])) {
			struct bytes host = bytes_from(all, i == 0 ? strlen("http://") : strlen(fronts[i]));
			bool numeric = true;
			for (size_t at = 0; at < host.len && i == 0; at++) {
				numeric = numeric && (ascii_is_digit(host.ptr[at]) || host.ptr[at] == '.' ||
						      host.ptr[at] == ':');
			}
			return numeric && bytes_find(host, '/') < 0 && bytes_find(host, ' ') < 0 &&
			       bytes_find(host, '@') < 0;
		}
	}
	return false;
}

/* Zones, as a question can be asked of them. */
static bool
is_dnsbl_sound(const char *zones)
{
	struct bytes all = bytes_str(zones);
	for (size_t i = 0; i < all.len; i++) {
		uint8_t c = all.ptr[i];
		if (!ascii_is_alnum(c) && c != '-' && c != '_' && c != '.' && c != ' ') {
			return false;
		}
	}
	return true;
}

/* "https://host:port" */
static struct bytes
origin_of(struct bytes url)
{
	static const char scheme[] = "https://";
	size_t start = sizeof(scheme) - 1;
	ptrdiff_t slash = bytes_starts_with(url, scheme) ? bytes_find(bytes_from(url, start), '/') : -1;
	return slash <= 0 ? BYTES_EMPTY : bytes_slice(url, 0, start + (size_t)slash);
}

bool
config_acme_url(const struct config *c, struct bytes url)
{
	struct bytes origin = origin_of(bytes_str(c->acme_directory));
	for (size_t i = 0; i < url.len; i++) {
		if (!ascii_is_alnum(url.ptr[i]) &&
		    bytes_find(BYTES_LIT("-._~:/?[]!$&()*+,;=%"), url.ptr[i]) < 0) {
			return false;
		}
	}
	return origin.len > 0 && bytes_equal(origin_of(url), origin);
}

enum err
config_check_pairs(const struct config *c, struct config_fault *fault)
{
	const struct {
		bool wrong;
		const char *what;
		const char *remedy;
	} rules[] = {
	    {!is_set(c->domain), "domain is not set", "add a line like: domain = example.org"},
	    {!is_set(c->hostname), "hostname is not set", "add a line like: hostname = mail.example.org"},
	    {is_set(c->tls_mx_certificate) != is_set(c->tls_mx_key),
	     "of tls.mx_certificate and tls.mx_key only one is set", "set both, or none"},
	    {is_set(c->tls_member_certificate) != is_set(c->tls_member_key),
	     "of tls.member_certificate and tls.member_key only one is set", "set both, or none"},
	    {is_set(c->smarthost_user) != is_set(c->smarthost_password_file),
	     "of smarthost.user and smarthost.password_file only one is set", "set both, or none"},
	    {is_set(c->smarthost_user) && !is_set(c->smarthost), "smarthost.user is set without smarthost",
	     "name the smarthost, or remove its user"},
	    {c->resolver_forward_count > 0 && c->resolver_forward_tls_count > 0,
	     "resolver.forward and resolver.forward_tls are both set",
	     "keep one of them: a question is sent either in clear or over TLS"},
	    {is_set(c->dmarc_rua) &&
		 (strchr(c->dmarc_rua, '@') == NULL || strpbrk(c->dmarc_rua, " \",;!:\\") != NULL),
	     "dmarc.rua is not an address", "one like reports@example.org, or none"},
	    {is_set(c->rspamd) && !is_rspamd_sound(c->rspamd), "rspamd is not an URL that mail may go to",
	     "one like http://127.0.0.1:11333, numeric and without a path; https on another machine"},
	    {!is_dnsbl_sound(c->dnsbl), "dnsbl is not a list of zones",
	     "names like bl.example.org, with blanks between"},
	    {is_set(c->dnsbl) &&
		 (c->junk_score == CONFIG_OFF || c->authentication == CONFIG_AUTHENTICATION_OFF),
	     "dnsbl is set, but nothing is asked without junk.score and authentication",
	     "set them on, or remove dnsbl"},
	    {c->retry_warn >= c->retry_give_up, "retry.warn is not before retry.give_up",
	     "set retry.warn lower, like 1 d, or retry.give_up higher"},
	    {c->leave.deadline < c->leave.clock, "leave.deadline is shorter than leave.clock",
	     "a message waits up to one period: set leave.deadline higher"},
	    {c->leave.patient < c->leave.clock, "leave.patient is shorter than leave.clock",
	     "the patient lane has a longer period than the others: set leave.patient higher"},
	    {c->arrive.deadline < c->arrive.clock, "arrive.deadline is shorter than arrive.clock",
	     "a message waits up to one period: set arrive.deadline higher"},
	    {c->web_https_port + c->port_offset > 65535 || c->web_http_port + c->port_offset > 65535,
	     "web.https_port or web.http_port is beyond 65535 with port_offset",
	     "set it, or port_offset, lower"},
	    {c->web_https_port == c->web_http_port, "web.https_port and web.http_port are the same",
	     "what is in clear and what is not need a port each"},
	    {!config_acme_url(c, bytes_str(c->acme_directory)), "acme.directory is no https URL",
	     "one like https://ca.example/directory"},
	    {is_set(c->acme_contact) &&
		 (strchr(c->acme_contact, '@') == NULL || strpbrk(c->acme_contact, " \",;!:\\?") != NULL),
	     "acme.contact is not an address", "one like postmaster@example.org, or none"},
	    {c->acme == CONFIG_ON && c->web == CONFIG_OFF, "acme is on, and web is off",
	     "the authority asks on ports 80 and 443: set web = on, or acme = off"},
	    {c->quota != 0 && c->quota < c->message_size, "limits.quota is below limits.message_size",
	     "a member must have room for one message: set limits.quota higher, or 0 for none"},
	};
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].wrong) {
			config_fault(fault, rules[i].what, rules[i].remedy);
			return ERR_FORMAT;
		}
	}
	return ERR_OK;
}
