/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_COURIER_REPORT_H
#define COHUE_COURIER_REPORT_H

#include "mail/write.h"
#include "protocol/smtp_reply.h"
#include "sealed/spool.h"

/* What became of each recipient, and what its sender is told (RFC 3461, RFC 3464). Pure. */

enum outcome_state {
	OUTCOME_OPEN = 0,  /* not decided in this attempt */
	OUTCOME_DONE,      /* the peer took it */
	OUTCOME_TEMPORARY, /* later, perhaps */
	OUTCOME_FAILED,    /* never */
};

/* What the server proved who it is by. */
enum link_proof { LINK_PROOF_NONE = 0, LINK_PROOF_AUTHORITY, LINK_PROOF_DANE };

/* How a message was protected on its way to one host. */
struct protection {
	uint8_t tls; /* 0: in clear, 12, 13 */
	enum link_proof proof;
	bool padded;        /* its commands and its body showed their class alone */
	bool larger;        /* it did not go into the class that it waited in, and was padded to this one */
	uint8_t size_class; /* where padded */
	uint64_t payload;   /* bytes, with its envelope */
	uint64_t padding;   /* bytes */
};

struct outcome {
	enum outcome_state state;
	bool peer_reports; /* done, by a peer that sends success reports itself (DSN) */
	struct smtp_result result;
	struct protection how; /* of the host that decided; all zero where none did */
	char remote[256];      /* the host that said so; "" where none did */
};

/* What one attempt comes to. */
struct verdict {
	bool again;     /* recipients stay open */
	size_t open;    /* how many */
	bool warn;      /* a delay warning goes out now */
	size_t failed;  /* recipients of the report of failure */
	size_t relayed; /* of the report of success */
	size_t delayed; /* of the warning */
};

/* An attempt without result for a recipient: 4.4.1 with the text. */
void outcome_temporary(struct outcome *o, const char *status, const char *text);
/* Takes a result over: 2xx done, 5xx failed, else temporary. Decided ones are left as they are. */
void outcome_take(struct outcome *o, const struct smtp_result *result, const char *remote, bool peer_reports);

/*
 * Decides. On the last attempt what is temporary becomes FAILED: with 5.4.7 (delivery time expired), or with the
 * reason's own code where the next attempt could not have helped (encryption: 5.7.10). Nobody is told of a null sender's, or of
 * the house's own mail.
 */
struct verdict report_decide(const struct courier_part *part, struct outcome *outcomes, bool last,
			     bool warn_due);

/* It could not be sent protected as it has to be: who wrote it hears so at once. */
bool report_is_unprotected(const struct outcome *o);

enum report_kind { REPORT_FAILED, REPORT_DELAYED, REPORT_RELAYED };

struct report_context {
	const char *hostname;
	const char *domain; /* of the house: postmaster's */
	const char *reference;
	const uint8_t *random; /* 16 octets: Message-ID and boundary */
	int64_t now;           /* seconds since 1970 */
	int64_t give_up;       /* when the last attempt will be */
	struct bytes original; /* the message, or empty where it cannot be read */
};

/*
 * Appends the report of this kind; recipients that it does not concern are left out. The original is returned whole where the
 * sender asked for it (RET=FULL) and it failed, else its header. ERR_NOT_FOUND: it concerns none.
 */
COHUE_MUST_USE enum err report_write(const struct courier_part *part, const struct outcome *outcomes,
				     enum report_kind kind, const struct report_context *context,
				     struct buf *out);

/* ORCPT of a part ("rfc822;" and xtext or plain text) in its two halves, decoded into scratch. False where there is none. */
bool report_orcpt(struct bytes orcpt, struct buf *scratch, struct bytes *ret_type, struct bytes *ret_plain);

#endif
