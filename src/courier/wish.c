/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/wish.h"

#include "lookup/forward.h"
#include "sealed/forward_list.h"

/* Whether text is name, suffix and "@domain", octet by octet. */
static bool
is_address(struct bytes text, struct bytes name, struct bytes suffix, struct bytes domain)
{
	size_t local = name.len + suffix.len;
	return text.len == local + 1 + domain.len && bytes_equal(bytes_slice(text, 0, name.len), name) &&
	       bytes_equal(bytes_slice(text, name.len, suffix.len), suffix) && text.ptr[local] == '@' &&
	       bytes_equal(bytes_from(text, local + 1), domain);
}

static bool
is_listed(const struct forward_list *list, struct bytes address)
{
	for (size_t i = 0; i < list->count; i++) {
		if (bytes_equal(list->addresses[i], address)) {
			return true;
		}
	}
	return false;
}

static bool
is_to_be_reached_by(struct bytes address, struct bytes domain)
{
	ptrdiff_t at = bytes_find_last(address, '@');
	return at > 0 && bytes_equal(bytes_from(address, (size_t)at + 1), domain);
}

bool
wish_covers(const struct courier_part *part, const uint8_t verify_key[SEALED_KEY_LEN], struct bytes domain)
{
	struct forward_list list;
	if ((part->flags & COURIER_FORWARDED) == 0 ||
	    forward_list_verify(verify_key, part->account, part->forwards, part->forwards_signature) !=
		ERR_OK ||
	    forward_list_decode(part->forwards, &list) != ERR_OK) {
		return false;
	}
	bool covered = is_address(part->forwarder, list.name, BYTES_EMPTY, domain) &&
		       (part->sender.len == 0 ||
			is_address(part->sender, list.name, BYTES_LIT("+" FORWARD_WORD), domain));
	for (size_t i = 0; covered && i < part->recipient_count; i++) {
		struct bytes address = part->recipients[i].address;
		covered = is_listed(&list, address) && is_to_be_reached_by(address, part->domain);
	}
	return covered;
}
