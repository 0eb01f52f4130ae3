/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/client.h"

#include <string.h>

#include "authentication/spf_internal.h"

enum { IPV4_TEXT_PARTS = 4, IPV4_LISTED = 127, IPV4_LIST_ERROR = 255 };

enum err
client_question(const uint8_t address[16], struct bytes zone, struct buf *out)
{
	enum err e = ERR_OK;
	bool v4 = spf_is_ipv4(address);
	for (size_t i = 0; i < 4 && e == ERR_OK && v4; i++) {
		e = buf_printf(out, "%u.", address[15 - i]);
	}
	for (size_t i = 0; i < 32 && e == ERR_OK && !v4; i++) {
		uint8_t octet = address[15 - i / 2];
		e = buf_printf(out, "%x.", (unsigned)(i % 2 == 0 ? octet & 15 : octet >> 4));
	}
	if (e != ERR_OK) {
		return e;
	}
	return zone.len > 0 ? buf_append(out, zone) : buf_append_str(out, v4 ? "in-addr.arpa" : "ip6.arpa");
}

static bool
holds_address(struct bytes rdata, const uint8_t address[16])
{
	struct bytes one;
	bool v4 = spf_is_ipv4(address);
	while (text_records_next(&rdata, &one)) {
		if (v4 ? one.len == 4 && memcmp(one.ptr, address + 12, 4) == 0
		       : one.len == 16 && memcmp(one.ptr, address, 16) == 0) {
			return true;
		}
	}
	return false;
}

static enum client_reverse
check_reverse(const struct client_input *in, const struct authentication_dns *dns, char ret_name[254])
{
	char names[CLIENT_NAMES_MAX][SPF_NAME_MAX];
	size_t count = 0;
	struct authentication_answer answer;
	struct bytes one;
	struct buf question = BUF_INIT(128);
	bool failed = client_question(in->address, BYTES_EMPTY, &question) != ERR_OK ||
		      dns->ask(dns->ctx, buf_bytes(&question), AUTHENTICATION_PTR, &answer) != ERR_OK;
	buf_clear(&question);
	if (failed) {
		return CLIENT_REVERSE_UNKNOWN;
	}
	if (answer.rdata.len == 0) {
		return CLIENT_REVERSE_NONE;
	}
	/* What the answer lends goes with the next question. */
	while (count < CLIENT_NAMES_MAX && text_records_next(&answer.rdata, &one)) {
		count += spf_name_of(one, names[count]) ? 1 : 0;
	}
	for (size_t i = 0; i < count; i++) {
		enum authentication_rr type =
		    spf_is_ipv4(in->address) ? AUTHENTICATION_A : AUTHENTICATION_AAAA;
		if (dns->ask(dns->ctx, bytes_str(names[i]), type, &answer) != ERR_OK) {
			failed = true;
		} else if (holds_address(answer.rdata, in->address)) {
			memcpy(ret_name, names[i], SPF_NAME_MAX);
			return CLIENT_REVERSE_CONFIRMED;
		}
	}
	return failed ? CLIENT_REVERSE_UNKNOWN : CLIENT_REVERSE_OTHER;
}

/* Four numbers with dots: false for anything else. */
static bool
read_ipv4(struct bytes text, uint8_t ret[4])
{
	unsigned value = 0;
	size_t part = 0;
	size_t digits = 0;
	for (size_t i = 0; i <= text.len; i++) {
		if (i < text.len && ascii_is_digit(text.ptr[i])) {
			value = value * 10 + (unsigned)(text.ptr[i] - '0');
			if (++digits > 3 || value > 255) {
				return false;
			}
		} else if (digits > 0 && part < IPV4_TEXT_PARTS && (i == text.len || text.ptr[i] == '.')) {
			ret[part++] = (uint8_t)value;
			value = 0;
			digits = 0;
		} else {
			return false;
		}
	}
	return part == IPV4_TEXT_PARTS;
}

static enum client_hello
check_literal(const struct client_input *in, struct bytes inside)
{
	uint8_t v4[4];
	if (read_ipv4(inside, v4)) {
		return spf_is_ipv4(in->address) && memcmp(v4, in->address + 12, 4) == 0
			   ? CLIENT_HELLO_LITERAL
			   : CLIENT_HELLO_NUMERIC;
	}
	/* Of IPv6 there are many spellings of one address: which one it is does not matter here. */
	return bytes_starts_with_nocase(inside, "IPv6:") && !spf_is_ipv4(in->address) ? CLIENT_HELLO_LITERAL
										      : CLIENT_HELLO_NUMERIC;
}

static enum client_hello
check_hello(const struct client_input *in, const struct authentication_dns *dns)
{
	struct authentication_answer answer;
	struct bytes hello = in->hello;
	uint8_t v4[4];
	if (hello.len > 1 && hello.ptr[hello.len - 1] == '.') {
		hello.len--;
	}
	if (hello.len > 2 && hello.ptr[0] == '[' && hello.ptr[hello.len - 1] == ']') {
		return check_literal(in, bytes_slice(hello, 1, hello.len - 2));
	}
	if (read_ipv4(hello, v4) || bytes_find(hello, ':') >= 0) {
		return CLIENT_HELLO_NUMERIC;
	}
	if (bytes_equal_nocase(hello, in->host) || bytes_equal_nocase(hello, in->domain)) {
		return CLIENT_HELLO_OURS;
	}
	if (!text_is_domain(hello, 1)) {
		return CLIENT_HELLO_SHORT;
	}
	if (dns->ask(dns->ctx, hello, AUTHENTICATION_A, &answer) != ERR_OK || answer.rdata.len > 0) {
		return CLIENT_HELLO_NAME;
	}
	/* A name that does not exist has nothing of another type either. */
	if (!answer.no_name &&
	    (dns->ask(dns->ctx, hello, AUTHENTICATION_AAAA, &answer) != ERR_OK || answer.rdata.len > 0)) {
		return CLIENT_HELLO_NAME;
	}
	return CLIENT_HELLO_LOST;
}

/* RFC 5782: 127.0.0.0/8 is a listing; 127.255.255.0/24 is how lists say that they do not want to be asked. */
static bool
is_listed(const struct client_input *in, const struct authentication_dns *dns, struct bytes zone)
{
	struct authentication_answer answer;
	struct bytes one;
	struct buf question = BUF_INIT(SPF_NAME_MAX);
	bool asked = client_question(in->address, zone, &question) == ERR_OK &&
		     dns->ask(dns->ctx, buf_bytes(&question), AUTHENTICATION_A, &answer) == ERR_OK;
	buf_clear(&question);
	while (asked && text_records_next(&answer.rdata, &one)) {
		if (one.len == 4 && one.ptr[0] == IPV4_LISTED &&
		    !(one.ptr[1] == IPV4_LIST_ERROR && one.ptr[2] == IPV4_LIST_ERROR)) {
			return true;
		}
	}
	return false;
}

void
client_check(const struct client_input *in, const struct authentication_dns *dns, struct client_verdict *ret)
{
	struct bytes lists = in->lists;
	struct bytes zone;
	memset(ret, 0, sizeof(*ret));
	ret->reverse = check_reverse(in, dns, ret->name);
	ret->hello = check_hello(in, dns);
	for (size_t i = 0; i < CLIENT_LISTS_MAX && tags_item(&lists, ' ', &zone); i++) {
		ret->lists += zone.len > 0 && is_listed(in, dns, zone) ? 1 : 0;
	}
}
