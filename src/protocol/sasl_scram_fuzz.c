/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "protocol/sasl_scram.h"

/*
 * Input: an octet of mode (1: -PLUS), her first message, a line feed, her last one. What is accepted must be what the host then
 * computes with: the parts that are signed are those that came, octet by octet.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
play(struct sasl_scram *s, struct bytes first, struct bytes last)
{
	static const uint8_t octets[] = "123456789012345678901234567890123456789012345678";
	struct buf ours = BUF_INIT(SASL_SCRAM_MESSAGE_MAX);
	if (sasl_scram_first(s, first) != ERR_OK) {
		return;
	}
	ptrdiff_t at = bytes_search(first, buf_bytes(&s->head));
	if (s->name.len == 0 || !bytes_is_utf8(buf_bytes(&s->name)) || s->client_nonce.len == 0 || at < 0 ||
	    s->plus != (s->binding != SASL_SCRAM_UNBOUND)) {
		abort();
	}
	if (sasl_scram_challenge(s, octets, 4096, octets, s->plus ? BYTES_LIT("data") : BYTES_EMPTY, &ours) !=
		ERR_OK ||
	    ours.len == 0) {
		abort();
	}
	if (sasl_scram_final(s, last) == ERR_OK &&
	    (!bytes_equal(buf_bytes(&s->tail), bytes_slice(last, 0, s->tail.len)) ||
	     bytes_search(buf_bytes(&s->tail), BYTES_LIT(",r=")) < 0)) {
		abort();
	}
	buf_clear(&ours);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sasl_scram *s = NULL;
	if (size == 0 || sasl_scram_create((data[0] & 1) != 0, &s) != ERR_OK) {
		return 0;
	}
	struct bytes all = bytes_of(data + 1, size - 1);
	ptrdiff_t end = bytes_find(all, '\n');
	struct bytes first = end < 0 ? all : bytes_slice(all, 0, (size_t)end);
	play(s, first, end < 0 ? BYTES_EMPTY : bytes_from(all, (size_t)end + 1));
	sasl_scram_destroy(&s);
	return 0;
}
