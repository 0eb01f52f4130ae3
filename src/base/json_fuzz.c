/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What passes the check can be walked: each element is a value that passes by itself, and the walk ends at the bracket. */
static void
walk(struct bytes value, unsigned depth, enum err (*check)(struct bytes text))
{
	size_t at = 0;
	struct bytes each;
	struct buf out = BUF_INIT(1 << 20);
	if (check(value) != ERR_OK || depth > JSON_DEPTH_MAX) {
		panic(
		    "a value of a checked text does not pass, or the walk found more levels than there are");
	}
	if (json_kind(value) == JSON_STRING && json_string(value, &out) == ERR_OK &&
	    ((check == json_check && !bytes_is_utf8(buf_bytes(&out))) ||
	     bytes_find(buf_bytes(&out), 0) >= 0)) {
		panic("a string that is no text");
	}
	buf_clear(&out);
	(void)json_member(value, "a");
	(void)json_written(value);
	while ((each = json_next(value, &at)).len > 0) {
		walk(each, depth + 1, check);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Each level is checked anew. */
	struct bytes text = bytes_of(data, size);
	if (size <= 4096 && json_check_octets(text) == ERR_OK) {
		walk(text, 0, json_check(text) == ERR_OK ? json_check : json_check_octets);
	}
	return 0;
}
