/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "protocol/imap_gate.h"

/* The first octet chooses pieces and verdicts; whatever comes, memory stays bounded, and no octet is lost. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) {
		return 0;
	}
	static const uint8_t octets[SASL_SCRAM_SERVER_NONCE_LEN] =
	    "123456789012345678901234567890123456789012345678";
	uint8_t mode = data[0];
	struct bytes all = bytes_of(data + 1, size - 1);
	const struct imap_gate_config config = {.greeting = NULL};
	struct imap_gate g;
	msec now = 1;
	if (imap_gate_init(&g, &config, now) != ERR_OK) {
		return 0;
	}
	size_t piece = 1 + (size_t)(mode >> 2) * 16;
	enum imap_gate_event e = IMAP_GATE_IDLE;
	size_t at = 0;
	while (at < all.len && e != IMAP_GATE_CLOSE && e != IMAP_GATE_LOGGED_IN) {
		struct bytes part = bytes_slice(all, at, piece);
		at += part.len;
		e = imap_gate_input(&g, part, now);
		for (int turns = 0; turns < 100000; turns++) {
			if (imap_gate_held(&g) > 128 * 1024) {
				abort();
			}
			if (e == IMAP_GATE_LOGIN) {
				struct imap_credentials c = imap_gate_credentials(&g);
				if (c.name.len == 0 || !bytes_is_utf8(c.name) || bytes_find(c.name, 0) >= 0) {
					abort();
				}
				e = imap_gate_answer(&g, (enum imap_gate_verdict)(mode & 3), now);
			} else if (e == IMAP_GATE_SCRAM_FIRST) {
				e = (mode & 3) == 3
					? imap_gate_answer(&g, IMAP_GATE_REJECT, now)
					: imap_gate_challenge(&g, octets, 4096, octets, BYTES_EMPTY, now);
			} else if (e == IMAP_GATE_SCRAM_FINAL) {
				e = (mode & 3) == 1 ? imap_gate_answer(&g, IMAP_GATE_REJECT, now)
						    : imap_gate_prove(&g, octets, now);
			} else if (imap_gate_output(&g).len > 0) {
				e = imap_gate_sent(&g, imap_gate_output(&g).len, now);
			} else {
				break;
			}
		}
		now += mode & 1;
	}
	if (e == IMAP_GATE_LOGGED_IN) {
		struct buf rest = BUF_INIT(IMAP_GATE_UNREAD_MAX);
		size_t count = 0;
		if (imap_gate_take_unread(&g, &rest, &count) == ERR_OK &&
		    !bytes_equal(buf_bytes(&rest), bytes_slice(all, at - count, count))) {
			abort();
		}
		buf_clear(&rest);
	}
	imap_gate_clear(&g);
	return 0;
}
