/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_GATE_H
#define COHUE_PROTOCOL_IMAP_GATE_H

#include "base/bytes.h"
#include "base/clock.h"
#include "protocol/imap_reader.h"
#include "protocol/sasl_scram.h"

/*
 * IMAP before login, for gate-member: greeting, CAPABILITY, NOOP, ID, LOGOUT,
 * LOGIN and AUTHENTICATE (PLAIN, SCRAM-SHA-256 and -PLUS); all else is BAD. The connection is under TLS
 * from its first octet (port 993), so STARTTLS is not offered. No I/O: octets
 * in, octets to send and events out, the clock passed in.
 *
 * Credentials go to the host as an event, and its answer may come at any later
 * time; nothing of what was pipelined behind them is read until then. After a
 * login those octets are handed out, counted, for the session.
 */

enum {
	IMAP_GATE_UNREAD_MAX = 32 * 1024, /* octets taken in but not yet read */
	IMAP_GATE_OUTPUT_MAX = 16 * 1024, /* octets waiting to be sent; past it input is left alone */
	IMAP_GATE_LOGIN_MSEC = 60 * 1000,
	IMAP_GATE_FAILURES_MAX = 5
};

struct imap_gate_config {
	const char *greeting;     /* text behind the greeting's capabilities; NULL: "Ready" */
	const char *capabilities; /* after login, "IMAP4rev1 IDLE ..."; static; NULL: imap_capabilities() */
	msec login_time;          /* from the start until BYE; 0: IMAP_GATE_LOGIN_MSEC */
	uint32_t errors_max;      /* 0: IMAP_ERRORS_MAX */
	uint32_t failures_max;    /* wrong passwords until BYE; 0: IMAP_GATE_FAILURES_MAX */
};

enum imap_gate_event {
	IMAP_GATE_IDLE,  /* nothing to do but send the output and read more */
	IMAP_GATE_LOGIN, /* take imap_gate_credentials, then call imap_gate_answer */
	/* SCRAM: take imap_gate_scram, then call imap_gate_challenge, or imap_gate_answer to refuse. */
	IMAP_GATE_SCRAM_FIRST,
	/* The same, then imap_gate_prove, or imap_gate_answer to refuse. */
	IMAP_GATE_SCRAM_FINAL,
	IMAP_GATE_LOGGED_IN, /* send the output, then take the unread octets to the session */
	IMAP_GATE_CLOSE      /* send the output and close */
};

enum imap_gate_verdict {
	IMAP_GATE_ACCEPT,
	IMAP_GATE_REJECT,      /* NO [AUTHENTICATIONFAILED]: wrong, unknown, suspended: all alike */
	IMAP_GATE_UNAVAILABLE, /* NO [UNAVAILABLE]: try again later */
	IMAP_GATE_SHUTDOWN     /* BYE [UNAVAILABLE] */
};

struct imap_credentials {
	struct bytes name;     /* as typed; UTF-8 without NUL; 1 to 1000 octets */
	struct bytes password; /* UTF-8 without NUL */
};

struct imap_gate {
	struct imap_gate_config config;
	struct imap_reader reader;
	struct buf unread;
	struct buf output;
	struct sasl_scram *scram; /* during AUTHENTICATE SCRAM-…, else NULL */
	struct buf secret;        /* tag, name and password while the host decides */
	size_t tag_len;
	size_t name_len;
	int state;
	msec deadline;
	uint32_t failures;
};

/* Puts the greeting into the output. Views in config must outlive the gate. ERR_MEMORY. */
COHUE_MUST_USE enum err imap_gate_init(struct imap_gate *g, const struct imap_gate_config *config, msec now);
/* Wipes and frees all. */
void imap_gate_clear(struct imap_gate *g);

/* True where the host should read: not while it decides, not while the output is full. */
bool imap_gate_wants_input(const struct imap_gate *g);
/*
 * Takes octets from the peer (copies what it can't use yet) and goes on as far as possible.
 * More than IMAP_GATE_UNREAD_MAX while imap_gate_wants_input is false ends in IMAP_GATE_CLOSE.
 */
enum imap_gate_event imap_gate_input(struct imap_gate *g, struct bytes data, msec now);
/* Call at imap_gate_deadline: BYE where the time is over. */
enum imap_gate_event imap_gate_tick(struct imap_gate *g, msec now);
/* The time of the next tick, INT64_MAX for none (while the host decides, and after the end). */
msec imap_gate_deadline(const struct imap_gate *g);

/* After IMAP_GATE_LOGIN, until the answer. */
struct imap_credentials imap_gate_credentials(const struct imap_gate *g);
/* The host's verdict; wipes the credentials and goes on with what was pipelined (again an event). */
enum imap_gate_event imap_gate_answer(struct imap_gate *g, enum imap_gate_verdict verdict, msec now);
/*
 * The same, with NO [CONTACTADMIN] (RFC 5530): what stands of her is damaged, so that neither another password nor another time
 * helps. reference: under which the house's log has it.
 */
enum imap_gate_event imap_gate_damaged(struct imap_gate *g, const char *reference, msec now);

/* After IMAP_GATE_SCRAM_FIRST and IMAP_GATE_SCRAM_FINAL, until the answer. */
const struct sasl_scram *imap_gate_scram(const struct imap_gate *g);
/* Salt, rounds, our part of the nonce, and the data of the channel binding that the client chose (empty where unbound). */
enum imap_gate_event imap_gate_challenge(struct imap_gate *g, const uint8_t salt[SASL_SCRAM_SALT_LEN],
					 uint32_t rounds,
					 const uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN],
					 struct bytes binding, msec now);
/* The proof was right: IMAP_GATE_LOGGED_IN follows once the client has taken the ServerSignature. */
enum imap_gate_event imap_gate_prove(struct imap_gate *g, const uint8_t signature[SASL_SCRAM_KEY_LEN],
				     msec now);

/* What is to be sent, and that its first n octets were. After sending, goes on with waiting input. */
struct bytes imap_gate_output(const struct imap_gate *g);
enum imap_gate_event imap_gate_sent(struct imap_gate *g, size_t n, msec now);

/* After IMAP_GATE_LOGGED_IN: moves all octets that were taken in and not read to unread; returns how many. */
COHUE_MUST_USE enum err imap_gate_take_unread(struct imap_gate *g, struct buf *unread, size_t *ret_count);
/* Octets of memory held; 0 while idle. */
size_t imap_gate_held(const struct imap_gate *g);

/* What the session offers, static: "IMAP4rev1 IDLE NAMESPACE ...". */
const char *imap_capabilities(void);

#endif
