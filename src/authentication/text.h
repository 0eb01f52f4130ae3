/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_TEXT_H
#define COHUE_AUTHENTICATION_TEXT_H

#include "base/arena.h"

/* Texts that DKIM, ARC, SPF and DMARC share: TXT records and tag lists. */

enum {
	TAGS_MAX = 64,            /* tags of one list */
	TXT_RECORD_MAX = 8 * 1024 /* octets of one record's text */
};

/* Takes the next rdata off the front of a list of {u32 length, rdata}; false at its end, or where it is broken. */
bool text_records_next(struct bytes *rdata, struct bytes *ret_one);
/* Appends a TXT record's strings, joined without anything between (RFC 7208 section 3.3). ERR_FORMAT, ERR_LIMIT, ERR_MEMORY. */
COHUE_MUST_USE enum err text_of_txt(struct bytes rdata, struct buf *out);

/* A tag list: "a=b; c=d" (RFC 6376 section 3.2), over a borrowed value. */
struct tag {
	struct bytes name;
	struct bytes value; /* without blanks and folding at its ends */
	size_t raw_at;      /* what stands between '=' and ';', as offsets into the text */
	size_t raw_len;
};
struct tags {
	struct tag list[TAGS_MAX];
	size_t count;
};
/* ERR_FORMAT: a name that is none, no '=', a name twice; ERR_LIMIT: too many. */
COHUE_MUST_USE enum err tags_parse(struct bytes text, struct tags *ret);
/* The value of a tag (names compare with case); false where it is not there. */
bool tags_find(const struct tags *tags, const char *name, struct bytes *ret_value);
/* Appends the value without any blank in it: base64 and the like. */
COHUE_MUST_USE enum err tags_compact(struct bytes value, struct buf *out);
/* The next item of a list "a : b", without the blanks around it; false at its end. */
bool tags_item(struct bytes *list, uint8_t separator, struct bytes *ret_item);

/* A domain of DKIM's or DMARC's: labels of letters, digits, '-' and '_', at least `dots` dots, at most 253 octets, no final dot. */
bool text_is_domain(struct bytes domain, unsigned dots);
/* True for the domain itself and what is below it; ASCII without case. */
bool text_is_within(struct bytes domain, struct bytes parent);
/* A copy in lower case; ptr NULL without memory. */
struct bytes text_lower(struct arena *a, struct bytes text);

#endif
