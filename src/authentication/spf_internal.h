/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_AUTHENTICATION_SPF_INTERNAL_H
#define COHUE_AUTHENTICATION_SPF_INTERNAL_H

#include "authentication/spf.h"
#include "authentication/text.h"

enum {
	SPF_QUESTIONS_MAX = 10, /* terms that ask (RFC 7208 section 4.6.4) */
	SPF_VOID_MAX = 2,       /* of them without an answer */
	SPF_NAMES_MAX = 10,     /* MX or PTR names of one term */
	SPF_NAME_MAX = 254,     /* octets of a name with its NUL */
	SPF_EXPANDED_MAX = 4096,
	SPF_TERMS_MAX = 512,
};

enum spf_kind {
	SPF_ALL,
	SPF_INCLUDE,
	SPF_A,
	SPF_MX,
	SPF_PTR,
	SPF_IP4,
	SPF_IP6,
	SPF_EXISTS,
	SPF_REDIRECT,
	SPF_OTHER
};

struct spf_term {
	enum spf_kind kind;
	enum authentication_result result; /* of a mechanism that matches */
	bool has_spec;
	struct bytes spec; /* with macros */
	uint8_t prefix4;   /* bits that must be equal */
	uint8_t prefix6;
	uint8_t address[16];
};

/* A record's text without "v=spf1". ERR_FORMAT: it breaks the grammar (permerror), ERR_LIMIT. Lists all terms in their order. */
COHUE_MUST_USE enum err spf_parse(struct arena *a, struct bytes text, const struct spf_term **ret,
				  size_t *ret_count);
/* True for text that begins as version 1 does; *ret_rest: behind it. */
bool spf_is_record(struct bytes text, struct bytes *ret_rest);
/* A domain-spec or other macro string, by its grammar alone. */
bool spf_macro_is_sound(struct bytes text);
/* True if it asks for the sender's local part: %{l}, %{s}. */
bool spf_macro_names_sender(struct bytes text);

/* What one check has used up so far. */
struct spf_state {
	const struct spf_input *in;
	const struct authentication_dns *dns;
	struct arena *arena;
	struct bytes sender_local; /* of the sender in question, "postmaster" where it is missing */
	struct bytes sender_domain;
	unsigned questions;
	unsigned voids;
	unsigned reversed;     /* times that the client's names were asked for */
	bool exhausted;        /* a limit was passed: permerror */
	bool failed;           /* the DNS gave no answer: temperror */
	bool withheld;         /* a question would have named the sender: its term counts as not matched */
	bool withheld_against; /* and had it matched, the end would not have been a pass */
	const char *why;
};
/* Appends the expansion for the present domain; at most 253 octets of it, labels dropped in front. ERR_MEMORY, ERR_FORMAT, ERR_LIMIT. */
COHUE_MUST_USE enum err spf_expand(struct spf_state *s, struct bytes text, struct bytes domain,
				   struct buf *out);
/* The client's name by its PTR records, confirmed by A or AAAA (section 5.5), within `under` if that is not empty. Empty: none. */
struct bytes spf_validated_name(struct spf_state *s, struct bytes under);
/* One question, with the void limit: ERR_OK with ret->rdata empty for no data. ERR_AGAIN: failed; ERR_LIMIT: exhausted. */
COHUE_MUST_USE enum err spf_ask(struct spf_state *s, struct bytes name, enum authentication_rr type,
				struct authentication_answer *ret);
/* A name in wire form without compression; false where it is none that can be asked for. */
bool spf_name_of(struct bytes wire, char ret[SPF_NAME_MAX]);
bool spf_is_ipv4(const uint8_t address[16]);

#endif
