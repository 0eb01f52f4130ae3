/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_READER_H
#define COHUE_PROTOCOL_IMAP_READER_H

#include "base/bytes.h"

/*
 * Assembles IMAP commands (RFC 3501 sections 2.2 and 4.3, RFC 7888 LITERAL+)
 * from bytes as they arrive. No I/O: bytes in, one event out at a time.
 *
 * An assembled command is its text as sent, with each literal's octets in
 * place behind "{N}" CRLF, and without the last CRLF: imap_command_parse
 * reads that form. The message literal of APPEND is never held: after login
 * it is handed out in pieces, once the host has said that it wants it.
 *
 * Line ends are CRLF or a bare LF. A bare CR or a NUL in a command's text is
 * BAD; in a literal every octet is passed on. While no command is under way,
 * the reader holds no memory.
 */

enum {
	IMAP_TAG_MAX = 64,
	IMAP_GATE_COMMAND_MAX = 8 * 1024,
	IMAP_GATE_LITERAL_MAX = 4 * 1024,
	IMAP_SESSION_COMMAND_MAX = 64 * 1024,
	IMAP_SESSION_LITERAL_MAX = 32 * 1024,
	IMAP_ERRORS_MAX = 20,
	IMAP_METADATA_VALUE_MAX = 16 * 1024 /* octets of one annotation */
};

struct imap_reader_limits {
	size_t command_max; /* octets of one command, with the literals it holds */
	size_t literal_max; /* octets of one held literal */
	uint64_t
	    message_max; /* octets of APPEND's message; 0 before login: APPEND is then like any other command */
	size_t
	    line_discard_max; /* text of a refused command that is thrown away, without its literals; above, the connection ends */
	uint64_t
	    discard_max; /* a refused LITERAL+ up to this is read and thrown away; above, the connection ends */
	uint32_t errors_max; /* BAD commands until the connection ends */
};

enum imap_event_kind {
	IMAP_EVENT_NONE,     /* all input is used up: give more */
	IMAP_EVENT_COMMAND,  /* text: a whole command */
	IMAP_EVENT_CONTINUE, /* send "+ OK" CRLF now: the client waits to send its literal */
	/*
	 * text: an APPEND, or a REPLACE, up to and with its "{N}"; size = N. Call imap_reader_accept or
	 * imap_reader_refuse (now or later) before the next imap_reader_next. After
	 * accepting, send "+ OK" CRLF if wait is true.
	 */
	IMAP_EVENT_APPEND,
	IMAP_EVENT_DATA, /* text: the next octets of an accepted message */
	/* text: what stands behind the last message, up to the line's end. The host says whether that is right (it is "" or, in UTF8's form, ")"). */
	IMAP_EVENT_APPEND_END,
	IMAP_EVENT_LINE, /* text: a line asked for with imap_reader_expect_line */
	/* answer tag (or "*" when empty) BAD with text, or NO where there is a code; the command is dropped */
	IMAP_EVENT_BAD,
	IMAP_EVENT_BYE, /* answer "* BYE" with text and close; the reader takes nothing more */
	/*
	 * RFC 3502: another message follows the one before. text: what stands between them, up to and with
	 * its "{N}"; size, wait and the host's duties are those of APPEND. A host that refuses answers for the whole command.
	 */
	IMAP_EVENT_APPEND_MORE
};

/*
 * Views live until the next call on the reader, or until the input goes, whichever is first;
 * but the tag of APPEND lives until after its APPEND_END, BAD or refusal.
 */
struct imap_event {
	enum imap_event_kind kind;
	struct bytes tag;  /* of COMMAND, APPEND, BAD; empty where it is not valid */
	struct bytes text; /* see above; for BAD and BYE a static English text */
	uint64_t size;     /* APPEND: octets of the message literal */
	bool wait;         /* APPEND: a synchronizing literal */
	bool utf8;         /* APPEND: in UTF8 (~{N}) form, RFC 6855 */
	const char *code;  /* BAD: of a NO; or NULL */
};

struct imap_reader {
	struct imap_reader_limits limits;
	struct buf text;
	int state;
	bool quoted;        /* within a quoted string */
	bool escaped;       /* behind a backslash there */
	bool cr;            /* a CR was seen, its LF not yet */
	bool silent;        /* the end of what is thrown away is not reported */
	bool lent;          /* the last event lent out the text: it goes at the next call */
	bool plain;         /* what is thrown away is an expected line, not a command */
	bool utf8;          /* of the APPEND under way */
	bool wait;          /* ... its literal is a synchronizing one */
	size_t line_max;    /* of an expected line */
	uint64_t literal;   /* octets still to come */
	size_t behind;      /* octets of the text up to the end of its last literal */
	uint64_t passed;    /* text of the command that is thrown away */
	uint64_t discarded; /* of the command that is thrown away */
	uint8_t tail[32];   /* end of a line that is not held */
	size_t tail_len;
	uint8_t tag[IMAP_TAG_MAX];
	size_t tag_len;
	const char *why;
	const char *code; /* what is thrown away is refused with NO and this, and is no error */
	uint32_t errors;
	uint32_t commands; /* whole commands handed out */
};

/* Fitting limits: before login, and after it with messages up to message_max octets. */
struct imap_reader_limits imap_reader_limits_gate(void);
struct imap_reader_limits imap_reader_limits_session(uint64_t message_max);

void imap_reader_init(struct imap_reader *r, struct imap_reader_limits limits);
/* Wipes what was held. */
void imap_reader_clear(struct imap_reader *r);

/*
 * Takes octets from the front of *input (which moves on) until there is an event.
 * IMAP_EVENT_NONE always means that *input is empty. Call again until then.
 */
struct imap_event imap_reader_next(struct imap_reader *r, struct bytes *input);

/* The host needs the last event's views no more: gives back what they held (else the next call does). */
void imap_reader_release(struct imap_reader *r);
/* After IMAP_EVENT_APPEND or IMAP_EVENT_APPEND_MORE: the message's octets come as IMAP_EVENT_DATA. */
void imap_reader_accept(struct imap_reader *r);
/*
 * After IMAP_EVENT_APPEND or IMAP_EVENT_APPEND_MORE: the host has answered NO; or, in the midst of DATA, gives up.
 * What the client sends without waiting is thrown away, and nothing more is reported of this command.
 */
void imap_reader_refuse(struct imap_reader *r);
/*
 * After IMAP_EVENT_COMMAND: what comes next is one line of at most max octets, not a
 * command (AUTHENTICATE's response, IDLE's DONE). A longer one is BAD, with an empty tag.
 */
void imap_reader_expect_line(struct imap_reader *r, size_t max);
/* Adds an error found by the host (an unknown command). True when there are too many: say BYE. */
COHUE_MUST_USE bool imap_reader_count_error(struct imap_reader *r);
/* True while a command, or an APPEND's message, has begun and is not whole. Waiting for a line (IDLE's DONE) is not. */
bool imap_reader_is_within(const struct imap_reader *r);
/* Octets held: 0 while idle. */
size_t imap_reader_held(const struct imap_reader *r);

/* True for a tag of RFC 3501's grammar (ASTRING-CHAR without "+"), 1 to IMAP_TAG_MAX octets. */
bool imap_tag_valid(struct bytes tag);

#endif
