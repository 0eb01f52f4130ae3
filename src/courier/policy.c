/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/policy.h"

static enum policy_use
refuse(unsigned code, const char *status, const char *text, struct smtp_result *ret_why)
{
	smtp_result_local(code, status, text, ret_why);
	return POLICY_USE_NOT;
}

enum policy_use
policy_decide(const struct policy_facts *f, struct smtp_result *ret_why)
{
	/* Who demands protection has the last word; REQUIRETLS makes the header void (RFC 8689 section 5). */
	if (f->relay) {
		return f->requiretls ? POLICY_USE_AUTHORITY
		       : f->require  ? POLICY_USE_ENCRYPT
				     : POLICY_USE_PREFER;
	}
	if (!f->requiretls && (f->exception || f->author_waives)) {
		return POLICY_USE_PREFER;
	}
	if (f->dane == POLICY_DANE_BROKEN) {
		return refuse(
		    451, "4.7.5",
		    "What the DNS says of the server's keys (DANE) does not verify, or cannot be had",
		    ret_why);
	}
	if (f->dane == POLICY_DANE_USABLE) {
		return POLICY_USE_DANE;
	}
	if (f->sts == POLICY_STS_NAMED) {
		return POLICY_USE_AUTHORITY;
	}
	if (f->sts == POLICY_STS_FOREIGN) {
		return refuse(
		    451, "4.7.5",
		    "The DNS names a server that is none of those which the domain's policy (MTA-STS) names",
		    ret_why);
	}
	if (f->requiretls) {
		return refuse(
		    550, "5.7.30",
		    "REQUIRETLS: nothing proves who the domain's servers are (neither DANE nor an enforced "
		    "MTA-STS policy)",
		    ret_why);
	}
	return f->require || f->dane == POLICY_DANE_UNUSABLE ? POLICY_USE_ENCRYPT : POLICY_USE_PREFER;
}

bool
policy_is_listed(const char *list, struct bytes domain)
{
	struct bytes rest = bytes_trim(bytes_str(list));
	while (rest.len > 0) {
		size_t len = 0;
		while (len < rest.len && rest.ptr[len] != ' ' && rest.ptr[len] != '\t') {
			len++;
		}
		if (bytes_equal_nocase(bytes_slice(rest, 0, len), domain)) {
			return true;
		}
		rest = bytes_trim(bytes_from(rest, len));
	}
	return false;
}
