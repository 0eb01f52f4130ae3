/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "protocol/imap_mailbox_name.h"

/* What decodes encodes back to the same; what encodes decodes; a name matches itself. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_of(data, size < 2000 ? size : 2000);
	struct buf one = BUF_INIT(20000);
	struct buf two = BUF_INIT(20000);
	if (imap_utf7_decode(&one, text) == ERR_OK &&
	    (imap_utf7_encode(&two, buf_bytes(&one)) != ERR_OK || !bytes_equal(buf_bytes(&two), text))) {
		abort();
	}
	buf_reset(&one);
	buf_reset(&two);
	if (imap_utf7_encode(&one, text) == ERR_OK &&
	    (imap_utf7_decode(&two, buf_bytes(&one)) != ERR_OK || !bytes_equal(buf_bytes(&two), text))) {
		abort();
	}
	buf_reset(&one);
	for (int utf8 = 0; utf8 < 2; utf8++) {
		buf_reset(&one);
		if (imap_mailbox_from_wire(&one, text, utf8 == 1, true) == ERR_OK &&
		    (!imap_mailbox_name_valid(buf_bytes(&one)) ||
		     !imap_pattern_match(buf_bytes(&one), buf_bytes(&one)))) {
			abort();
		}
	}
	struct bytes half = bytes_slice(text, 0, text.len / 2);
	(void)imap_pattern_match(half, bytes_from(text, text.len / 2));
	(void)imap_pattern_match_children(half, bytes_from(text, text.len / 2));
	buf_clear(&one);
	buf_clear(&two);
	return 0;
}
