/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Where others want their reports: rua= of DMARC (RFC 7489 section 6.2) and of TLS reports (RFC 8460 section 3). */
#include <string.h>

#include "mail/address.h"
#include "reports/write.h"

enum { ITEMS_LOOKED_AT = 16, SIZE_MOST = 1 << 30 };

/* The next item of a list; false at its end. */
static bool
next_item(struct bytes *list, uint8_t separator, struct bytes *ret)
{
	if (list->len == 0) {
		return false;
	}
	ptrdiff_t at = bytes_find(*list, separator);
	*ret = bytes_trim(at < 0 ? *list : bytes_slice(*list, 0, (size_t)at));
	*list = at < 0 ? BYTES_EMPTY : bytes_from(*list, (size_t)at + 1);
	return true;
}

/* RFC 3986: %HH. False: it is none, or gives what stands in no address of ours. */
static bool
unescape(struct bytes text, char ret[REPORT_ADDRESS_MAX + 1])
{
	size_t n = 0;
	for (size_t i = 0; i < text.len; i++) {
		struct buf one = BUF_INIT(1);
		uint8_t c = text.ptr[i];
		if (c == '%') {
			bool good =
			    i + 2 < text.len && buf_append_unhex(&one, bytes_slice(text, i + 1, 2)) == ERR_OK;
			c = good ? one.ptr[0] : 0;
			i += 2;
			buf_clear(&one);
		}
		/* Plain addresses alone: no quoting, no comment, nothing that could end a field. */
		if (n == REPORT_ADDRESS_MAX || c <= ' ' || c >= 127 || strchr("\"(),:;<>[\\]", c) != NULL) {
			return false;
		}
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
	return n > 0;
}

/* "10m": a number and k, m, g or t, for powers of 1024. */
static bool
read_size(struct bytes text, uint64_t *ret)
{
	static const char units[] = "kmgt";
	unsigned shift = 0;
	uint64_t n;
	const char *unit = text.len == 0 ? NULL : strchr(units, ascii_lower(text.ptr[text.len - 1]));
	if (unit != NULL && *unit != '\0') {
		shift = 10 * (unsigned)(unit - units + 1);
		text.len--;
	}
	if (bytes_to_u64(text, SIZE_MOST, &n) != ERR_OK || n == 0) {
		return false;
	}
	*ret = n > (uint64_t)SIZE_MOST >> shift ? SIZE_MOST : n << shift;
	return true;
}

static bool
read_uri(struct bytes item, struct report_uri *ret)
{
	*ret = (struct report_uri){.most = 0};
	if (!bytes_starts_with_nocase(item, "mailto:")) {
		return false;
	}
	item = bytes_from(item, sizeof("mailto:") - 1);
	ptrdiff_t mark = bytes_find_last(item, '!');
	if (mark >= 0) {
		if (!read_size(bytes_from(item, (size_t)mark + 1), &ret->most)) {
			return false;
		}
		item = bytes_slice(item, 0, (size_t)mark);
	}
	ptrdiff_t query = bytes_find(item, '?');
	item = query < 0 ? item : bytes_slice(item, 0, (size_t)query);
	if (!unescape(item, ret->address)) {
		return false;
	}
	char *at = strrchr(ret->address, '@');
	if (at == NULL || at == ret->address || strchr(ret->address, '@') != at) {
		return false;
	}
	struct buf normal = BUF_INIT(TALLY_DOMAIN_MAX);
	bool good = mail_domain_normalise(bytes_str(at + 1), &normal) == ERR_OK &&
		    normal.len == strlen(at + 1) && bytes_find(buf_bytes(&normal), '.') > 0;
	if (good) {
		memcpy(at + 1, normal.ptr, normal.len);
	}
	buf_clear(&normal);
	ret->domain = at + 1;
	return good;
}

size_t
report_uris(struct bytes rua, struct report_uri ret[REPORT_URIS_MAX])
{
	size_t count = 0;
	struct bytes item;
	for (size_t i = 0; i < ITEMS_LOOKED_AT && count < REPORT_URIS_MAX && next_item(&rua, ',', &item);
	     i++) {
		/* In place: `domain` points into its own struct. */
		count += read_uri(item, &ret[count]) ? 1 : 0;
	}
	return count;
}

bool
report_tls_record(struct bytes text, struct bytes *ret_rua)
{
	struct bytes item;
	if (!next_item(&text, ';', &item) || !bytes_is(item, "v=TLSRPTv1")) {
		return false;
	}
	for (size_t i = 0; i < ITEMS_LOOKED_AT && next_item(&text, ';', &item); i++) {
		ptrdiff_t equals = bytes_find(item, '=');
		if (equals > 0 && bytes_is(bytes_trim(bytes_slice(item, 0, (size_t)equals)), "rua")) {
			*ret_rua = bytes_trim(bytes_from(item, (size_t)equals + 1));
			return true;
		}
	}
	return false;
}
