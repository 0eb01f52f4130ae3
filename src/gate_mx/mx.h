/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MX_MX_H
#define COHUE_GATE_MX_MX_H

#include <sys/socket.h>

#include "authentication/client.h"
#include "delivery/delivery.h"
#include "gate/gate_tls.h"
#include "gate/smtp_connection.h"
#include "gate_mx/rate.h"
#include "gate_mx/turns.h"
#include "lookup/lookup.h"
#include "loop/listen.h"
#include "reports/report.h"
#include "reports/tally.h"

/* Inside gate-mx: the role's state, and one connection of a stranger. */

enum {
	MX_LISTENERS_MAX = 16,
	MX_TARGETS_MAX = 400, /* accounts of one message, aliases opened (a unit has room for 512 parts) */
};

struct mx {
	struct role_host *host;
	struct purpose_keys keys;
	struct gate_tls gate_tls;
	struct tls_context *tls; /* gate_tls.ctx */
	struct smtp_server_config smtp;
	struct blob_codec *codec;
	struct listener listeners[MX_LISTENERS_MAX];
	int listener_fds[MX_LISTENERS_MAX];
	size_t listener_count;
	size_t connections;
	struct mx_connection *all;
	size_t held_bytes; /* of messages being received, all connections together */
	struct rate_table *rates;
	struct turns turns;
	uint64_t seen_connections;
	uint64_t seen_messages;
	uint64_t seen_refused;
	uint64_t seen_deferred;
	uint64_t seen_encrypted;
	uint64_t seen_clear;
	uint64_t seen_genuine;    /* DMARC passed */
	uint64_t seen_forged;     /* refused, or set apart, for its author's policy */
	uint64_t seen_unwanted;   /* by their score */
	uint64_t seen_slowed;     /* connections, messages and recipients put off by a limit */
	uint64_t seen_greylisted; /* recipients put off the first time */
	uint64_t seen_unanswered; /* by rspamd */
	uint64_t seen_forwarded;  /* copies put for members who have mail sent on */
	uint64_t seen_kept;       /* that were to be, and were not: a loop, a limit, or something failed */
	struct report_sums reports;
	uint32_t reports_since; /* day since 1970 */
	bool is_kept;           /* something stands in the store */
	struct timer keep;
	struct tally tally; /* for reports of our own */
	struct timer tally_timer;
};

struct mx_target {
	struct lookup_account account;
	size_t recipient_at; /* the address as given, in mx_connection.addresses */
	size_t recipient_len;
	bool returned; /* to the address that forwarded copies are sent from: stays */
};

struct mx_connection {
	struct smtp_connection smtp;
	struct mx *mx;
	struct mx_connection *next;
	struct mx_connection **link;
	uint8_t peer[16]; /* IPv6, or mapped IPv4 */
	struct buf hello;
	uint8_t network[RATE_NETWORK_MAX];
	size_t network_len;
	bool local; /* from this machine: not limited */
	struct client_verdict client;
	bool client_known;
	bool extended;
	bool gone; /* the stream has closed; freed when no task works on it any more */
	unsigned tasks;
	/* The present transaction; all of it is given back at its end. */
	struct buf sender;
	bool utf8;
	uint64_t declared; /* its size by MAIL's SIZE=; 0: unsaid */
	struct buf addresses;
	struct mx_target *targets;
	size_t target_count;
	bool waits; /* some recipient did not ask for haste by her address */
	struct buf message;
	bool too_much; /* memory for messages in flight is used up */
	/* What was asked of a task. */
	struct mail_mailbox asked;
	struct buf asked_text;
};

/* connection.c */
void mx_connection_open(struct mx *mx, int fd, const struct sockaddr *peer);
void mx_connection_free(struct mx_connection *c);

/* limits.c: how much may come from whom. Replies with code 0: no objection. */
struct mx_reply {
	unsigned code;
	const char *enhanced;
	const char *text;
};
/* The client's address is known: its network, and whether it may connect. */
bool mx_limits_open(struct mx *mx, struct mx_connection *c);
struct mx_reply mx_limits_mail(struct mx_connection *c);
/* Before the address is looked up. */
struct mx_reply mx_limits_rcpt(struct mx_connection *c);
void mx_limits_unknown(struct mx_connection *c);
/* Of a message that is taken; proved: SPF passed for its sender's domain. */
void mx_limits_proved(struct mx_connection *c);
/* For a recipient that is known. */
struct mx_reply mx_limits_greylist(struct mx_connection *c);

/* deliver.c, from a task: the answer to the end of data is in ret_*. */
struct mx_reply mx_deliver(struct mx_connection *c);
/* reports.c: what came to a role address, once it was taken; its lines of the status. */
void mx_look_for_report(struct mx_connection *c, bool proved);
COHUE_MUST_USE enum err mx_tell_reports(const struct mx *mx, struct buf *out);
/* kept.c, from tasks: what an earlier life of this gate knew, and what this one does; and every ten minutes from then on. */
void mx_kept_load(struct mx *mx);
void mx_kept_save(struct mx *mx);
void mx_kept_start(struct mx *mx);
/* tally.c: what is judged, for reports of our own. refused: for its author's policy. */
struct mx_judgement;
void mx_tally_start(struct mx *mx);
void mx_tally(struct mx_connection *c, const struct mx_judgement *j, bool refused);
void mx_ignore_reply(void *arg, enum err status, struct bytes payload);

#endif
