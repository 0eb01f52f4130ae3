/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_RESOLVER_DNS_ANSWER_H
#define COHUE_RESOLVER_DNS_ANSWER_H

#include "base/bytes.h"

/*
 * What a DNS message (RFC 1035 section 4) answers to one question: read with limits, names
 * decompressed, so that those who use it never follow a pointer. Pure.
 */

enum {
	DNS_NAME_WIRE_MAX = 255,   /* octets, RFC 1035 section 2.3.4 */
	DNS_NAME_TEXT_MAX = 254,   /* "a.b", without the final dot, with a NUL */
	DNS_ANSWERS_MAX = 512,     /* records of the type asked for: as many as are looked at */
	DNS_RDATA_MAX = 64 * 1024, /* octets of all rdata together; likewise */
	DNS_ALIASES_MAX = 12,      /* CNAMEs in a row */
	DNS_RECORDS_MAX = 512,     /* looked at in one message */
};

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_MX = 15,
	DNS_TYPE_TXT = 16,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_TLSA = 52,
};

struct dns_answer {
	uint8_t rcode;                     /* of the header: 0, 3, ... */
	uint32_t ttl;                      /* seconds: the least of all records used; 0 without any */
	char canonical[DNS_NAME_TEXT_MAX]; /* the name behind all CNAMEs */
	size_t count;                      /* of rdata */
};

/*
 * A name as text ("mail.example.org") that can be asked for: labels of 1 to 63 letters, digits,
 * '-' and '_', at most 253 octets; "." is the root. True if so.
 */
bool dns_name_is_sound(struct bytes name);

/*
 * Reads the answer to (name, type) out of a whole message. Appends to ret_rdata, for each record, a 32-bit length and
 * the rdata in wire form without compression (RFC 3597 section 4: only types of RFC 1035 have any). Records of other names,
 * types or classes are skipped. ERR_FORMAT: no DNS message, or one that lies about its lengths; ERR_LIMIT:
 * an endless chain of aliases; ERR_MEMORY. Outputs are untouched then.
 */
COHUE_MUST_USE enum err dns_answer_read(struct bytes message, struct bytes name, uint16_t type,
					struct dns_answer *ret, struct buf *ret_rdata);

#endif
