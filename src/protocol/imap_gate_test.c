/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LOG_MAX = 64 * 1024 };

/* A host in virtual time: sends at once, and lets in "alice" with "secret". */
struct host {
	struct imap_gate gate;
	struct buf sent;
	struct buf rest; /* octets that the gate would not take yet */
	msec now;
	enum imap_gate_event last;
	unsigned questions;
	bool unavailable;
	bool damaged;
};

static void
drain(struct host *h)
{
	for (;;) {
		struct bytes out = imap_gate_output(&h->gate);
		if (out.len == 0) {
			return;
		}
		assert_int_equal(buf_append(&h->sent, out), ERR_OK);
		h->last = imap_gate_sent(&h->gate, out.len, h->now);
	}
}

/* Nonce, salt, signature: whatever the name, and the proof that is its first half opens. */
static const uint8_t canned[] = "123456789012345678901234567890123456789012345678";

static void
decide_scram(struct host *h)
{
	const struct sasl_scram *s = imap_gate_scram(&h->gate);
	bool first = h->last == IMAP_GATE_SCRAM_FIRST;
	h->questions++;
	h->now += 100 * MSEC_SECOND;
	assert_false(imap_gate_wants_input(&h->gate));
	assert_true(bytes_is(buf_bytes(&s->name), "alice"));
	if (h->damaged) {
		h->last = imap_gate_damaged(&h->gate, "0123abcd", h->now);
	} else if (h->unavailable) {
		h->last = imap_gate_answer(&h->gate, IMAP_GATE_UNAVAILABLE, h->now);
	} else if (first) {
		h->last = imap_gate_challenge(&h->gate, canned, 4096, canned, BYTES_EMPTY, h->now);
	} else {
		h->last = memcmp(s->proof, canned, sizeof(s->proof)) == 0
			      ? imap_gate_prove(&h->gate, canned, h->now)
			      : imap_gate_answer(&h->gate, IMAP_GATE_REJECT, h->now);
	}
	drain(h);
}

static void
decide(struct host *h)
{
	while (h->last == IMAP_GATE_LOGIN || h->last == IMAP_GATE_SCRAM_FIRST ||
	       h->last == IMAP_GATE_SCRAM_FINAL) {
		if (h->last != IMAP_GATE_LOGIN) {
			decide_scram(h);
			continue;
		}
		struct imap_credentials c = imap_gate_credentials(&h->gate);
		bool fits = bytes_is(c.name, "alice") && bytes_is(c.password, "secret");
		h->questions++;
		assert_false(imap_gate_wants_input(&h->gate));
		h->now += 100 * MSEC_SECOND; /* the host's time does not count */
		h->last = h->damaged ? imap_gate_damaged(&h->gate, "0123abcd", h->now)
				     : imap_gate_answer(&h->gate,
							h->unavailable ? IMAP_GATE_UNAVAILABLE
							: fits         ? IMAP_GATE_ACCEPT
								       : IMAP_GATE_REJECT,
							h->now);
		drain(h);
	}
}

static void
give(struct host *h, struct bytes octets)
{
	h->last = imap_gate_input(&h->gate, octets, h->now);
	drain(h);
	decide(h);
}

static void
start(struct host *h)
{
	*h = (struct host){.sent = BUF_INIT(LOG_MAX), .rest = BUF_INIT(LOG_MAX), .now = 1000};
	const struct imap_gate_config config = {.capabilities = "IMAP4rev1 X"};
	assert_int_equal(imap_gate_init(&h->gate, &config, h->now), ERR_OK);
	drain(h);
	buf_reset(&h->sent); /* the greeting has a test of its own */
}

static void
finish(struct host *h)
{
	buf_clear(&h->sent);
	buf_clear(&h->rest);
	imap_gate_clear(&h->gate);
}

/* The dialogue is the same at every split, and octet by octet. */
static void
dialogue(const char *text, const char *expected, enum imap_gate_event last, const char *unread)
{
	struct bytes all = bytes_str(text);
	for (size_t split = 0; split <= all.len + 1; split++) {
		struct host h;
		start(&h);
		if (split == all.len + 1) {
			for (size_t i = 0; i < all.len; i++) {
				give(&h, bytes_slice(all, i, 1));
			}
		} else {
			give(&h, bytes_slice(all, 0, split));
			give(&h, bytes_from(all, split));
		}
		assert_int_equal(buf_append_byte(&h.sent, 0), ERR_OK);
		assert_string_equal((const char *)h.sent.ptr, expected);
		assert_int_equal(h.last, last);
		if (last == IMAP_GATE_LOGGED_IN) {
			size_t count = 0;
			assert_int_equal(imap_gate_take_unread(&h.gate, &h.rest, &count), ERR_OK);
			assert_int_equal(count, strlen(unread));
			assert_true(bytes_is(buf_bytes(&h.rest), unread));
		}
		assert_int_equal(imap_gate_held(&h.gate), 0);
		finish(&h);
	}
}

#define PLAIN_RIGHT "AGFsaWNlAHNlY3JldA==" /* NUL alice NUL secret */
#define PLAIN_WRONG "AGFsaWNlAHdyb25n"     /* NUL alice NUL wrong */
#define LOGGED_IN " OK [CAPABILITY IMAP4rev1 X] Logged in\r\n"

static void
the_greeting_tells_what_the_gate_can(void **state)
{
	(void)state;
	struct imap_gate g;
	const struct imap_gate_config config = {.greeting = "Hello"};
	assert_int_equal(imap_gate_init(&g, &config, 0), ERR_OK);
	assert_true(bytes_is(imap_gate_output(&g),
			     "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID "
			     "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN] Hello\r\n"));
	imap_gate_clear(&g);
}

static void
login_lets_in_and_hands_out_what_was_pipelined(void **state)
{
	(void)state;
	dialogue("a LOGIN alice secret\r\nb SELECT INBOX\r\nc FET", "a" LOGGED_IN, IMAP_GATE_LOGGED_IN,
		 "b SELECT INBOX\r\nc FET");
	dialogue("a LOGIN {5+}\r\nalice {6}\r\nsecret\r\n", "+ OK\r\na" LOGGED_IN, IMAP_GATE_LOGGED_IN, "");
	dialogue("a login \"alice\" \"secret\"\n", "a" LOGGED_IN, IMAP_GATE_LOGGED_IN, "");
}

static void
authenticate_plain_takes_an_initial_response_or_a_line(void **state)
{
	(void)state;
	dialogue("a AUTHENTICATE PLAIN " PLAIN_RIGHT "\r\nx", "a" LOGGED_IN, IMAP_GATE_LOGGED_IN, "x");
	dialogue("a AUTHENTICATE plain\r\n" PLAIN_RIGHT "\r\nb NOOP\r\n", "+ \r\na" LOGGED_IN,
		 IMAP_GATE_LOGGED_IN, "b NOOP\r\n");
	dialogue("a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n", "+ \r\na BAD Cancelled\r\nb OK Completed\r\n",
		 IMAP_GATE_IDLE, "");
	dialogue("a AUTHENTICATE PLAIN\r\n!!\r\nb NOOP\r\n",
		 "+ \r\na BAD Not a PLAIN response\r\nb OK Completed\r\n", IMAP_GATE_IDLE, "");
	dialogue(
	    "a AUTHENTICATE PLAIN =\r\nb AUTHENTICATE GSSAPI\r\n",
	    "a BAD Not a PLAIN response\r\nb NO [CANNOT] Unknown mechanism: use SCRAM-SHA-256 or PLAIN\r\n",
	    IMAP_GATE_IDLE, "");
	/* bob NUL alice NUL secret */
	dialogue("a AUTHENTICATE PLAIN Ym9iAGFsaWNlAHNlY3JldA==\r\n",
		 "a NO [AUTHORIZATIONFAILED] No acting for others\r\n", IMAP_GATE_IDLE, "");
}

#define SCRAM_FIRST "biwsbj1hbGljZSxyPWhlcnM="
#define SCRAM_CHALLENGE                                                                                      \
	"cj1oZXJzMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4LHM9TVRJ"                   \
	"ek5EVTJOemc1TURFeU16UTFOZz09LGk9NDA5Ng=="
#define SCRAM_FINAL                                                                                          \
	"Yz1iaXdzLHI9aGVyczEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3"                   \
	"OCxwPU1USXpORFUyTnpnNU1ERXlNelExTmpjNE9UQXhNak0wTlRZM09Ea3dNVEk9"
#define SCRAM_OTHER_CHANNEL                                                                                  \
	"Yz1lU3dzLHI9aGVyczEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3"                   \
	"OCxwPU1USXpORFUyTnpnNU1ERXlNelExTmpjNE9UQXhNak0wTlRZM09Ea3dNVEk9"
#define SCRAM_VERDICT "dj1NVEl6TkRVMk56ZzVNREV5TXpRMU5qYzRPVEF4TWpNME5UWTNPRGt3TVRJPQ=="

static void
authenticate_scram_is_a_dialogue_at_every_cut(void **state)
{
	(void)state;
	dialogue("a AUTHENTICATE SCRAM-SHA-256 " SCRAM_FIRST "\r\n" SCRAM_FINAL "\r\n\r\nb SELECT",
		 "+ " SCRAM_CHALLENGE "\r\n+ " SCRAM_VERDICT "\r\na" LOGGED_IN, IMAP_GATE_LOGGED_IN,
		 "b SELECT");
	dialogue("a authenticate scram-sha-256\r\n" SCRAM_FIRST "\r\n" SCRAM_FINAL "\r\n\r\n",
		 "+ \r\n+ " SCRAM_CHALLENGE "\r\n+ " SCRAM_VERDICT "\r\na" LOGGED_IN, IMAP_GATE_LOGGED_IN,
		 "");
	dialogue("a AUTHENTICATE SCRAM-SHA-256 " SCRAM_FIRST
		 "\r\n*\r\nb AUTHENTICATE SCRAM-SHA-256 " SCRAM_FIRST "\r\n" SCRAM_OTHER_CHANNEL
		 "\r\nc AUTHENTICATE SCRAM-SHA-256 !\r\nd AUTHENTICATE "
		 "SCRAM-SHA-256 " SCRAM_FIRST "\r\n" SCRAM_FINAL
		 "\r\n*\r\ne AUTHENTICATE SCRAM-SHA-256-PLUS " SCRAM_FIRST "\r\nf LOGIN alice secret\r\n",
		 "+ " SCRAM_CHALLENGE "\r\na BAD Cancelled\r\n+ " SCRAM_CHALLENGE
		 "\r\nb NO [AUTHENTICATIONFAILED] This is another channel than the one that you bind\r\n"
		 "c BAD Not a SCRAM message\r\n+ " SCRAM_CHALLENGE "\r\n+ " SCRAM_VERDICT
		 "\r\nd BAD Cancelled\r\ne NO [AUTHENTICATIONFAILED] This mechanism binds the "
		 "channel\r\nf" LOGGED_IN,
		 IMAP_GATE_LOGGED_IN, "");
}

static void
a_wrong_password_is_told_and_after_some_the_gate_closes(void **state)
{
	(void)state;
	dialogue("a LOGIN alice wrong\r\nb AUTHENTICATE PLAIN " PLAIN_WRONG "\r\nc LOGIN alice secret\r\n",
		 "a NO [AUTHENTICATIONFAILED] Wrong name or password\r\n"
		 "b NO [AUTHENTICATIONFAILED] Wrong name or password\r\nc" LOGGED_IN,
		 IMAP_GATE_LOGGED_IN, "");
	dialogue("a LOGIN x y\r\na LOGIN x y\r\na LOGIN \"\" y\r\na LOGIN x y\r\na LOGIN x y\r\na LOGIN "
		 "alice secret\r\n",
		 "a NO [AUTHENTICATIONFAILED] Wrong name or password\r\n"
		 "a NO [AUTHENTICATIONFAILED] Wrong name or password\r\n"
		 "a NO [AUTHENTICATIONFAILED] Wrong name or password\r\n"
		 "a NO [AUTHENTICATIONFAILED] Wrong name or password\r\n"
		 "a NO [AUTHENTICATIONFAILED] Wrong name or password\r\n"
		 "* BYE Too many failed logins\r\n",
		 IMAP_GATE_CLOSE, "");
}

static void
a_temporary_failure_is_not_called_a_wrong_password(void **state)
{
	(void)state;
	struct host h;
	start(&h);
	h.unavailable = true;
	give(&h, bytes_str("a LOGIN alice secret\r\n"));
	assert_true(bytes_is(buf_bytes(&h.sent), "a NO [UNAVAILABLE] Try again later\r\n"));
	assert_int_equal(h.last, IMAP_GATE_IDLE);
	/* The same of SCRAM, at its first message and at its last: who is made to wait learns nothing else by it. */
	buf_reset(&h.sent);
	give(&h, bytes_str("a AUTHENTICATE SCRAM-SHA-256 " SCRAM_FIRST "\r\n"));
	assert_true(bytes_is(buf_bytes(&h.sent), "a NO [UNAVAILABLE] Try again later\r\n"));
	h.unavailable = false;
	give(&h, bytes_str("a AUTHENTICATE SCRAM-SHA-256 " SCRAM_FIRST "\r\n"));
	h.unavailable = true;
	buf_reset(&h.sent);
	give(&h, bytes_str(SCRAM_FINAL "\r\n"));
	assert_true(bytes_is(buf_bytes(&h.sent), "a NO [UNAVAILABLE] Try again later\r\n"));
	h.unavailable = false;
	give(&h, bytes_str("a LOGIN alice secret\r\n"));
	assert_int_equal(h.last, IMAP_GATE_LOGGED_IN);
	finish(&h);
}

static void
a_damaged_account_is_called_neither_a_wrong_password_nor_a_matter_of_time(void **state)
{
	(void)state;
	struct host h;
	start(&h);
	h.damaged = true;
	give(&h, bytes_str("a LOGIN alice secret\r\n"));
	assert_true(bytes_is(buf_bytes(&h.sent),
			     "a NO [CONTACTADMIN] Your account is damaged here: tell who runs "
			     "this house (0123abcd)\r\n"));
	assert_int_equal(h.last, IMAP_GATE_IDLE);
	h.damaged = false;
	give(&h, bytes_str("a LOGIN alice secret\r\n"));
	assert_int_equal(h.last, IMAP_GATE_LOGGED_IN);
	finish(&h);
}

static void
what_is_not_for_the_gate_is_bad(void **state)
{
	(void)state;
	dialogue(
	    "a SELECT INBOX\r\nb STARTTLS\r\nc FROB\r\nd CAPABILITY\r\ne ID NIL\r\nf LOGOUT\r\ng NOOP\r\n",
	    "a BAD Log in first\r\nb BAD Not here: the connection is under TLS already\r\n"
	    "c BAD Unknown command\r\n* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID "
	    "AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN\r\nd "
	    "OK "
	    "Completed\r\n"
	    "* ID (\"name\" \"Cohue\")\r\ne OK Completed\r\n* BYE Logging out\r\nf OK Completed\r\n",
	    IMAP_GATE_CLOSE, "");
	/* Beside the grammar (RFC 9051 section 9), one after the other; the gate stays in step. */
	dialogue("a+b NOOP\r\n+ NOOP\r\na AUTHENTICATE PLAIN =\r\nb AUTHENTICATE SCRAM-SHA-256 *\r\n"
		 "c LOGIN ~{1+}\r\nx y\r\nd LOGIN {1+}\r\n\x01 {0+}\r\n\r\ne ID (\"x\")\r\n"
		 "f LOGIN \"\"  x\r\ng STARTTLS\r\nh NOOP\r\n",
		 "* BAD No valid tag\r\n* BAD No valid tag\r\na BAD Not a PLAIN response\r\n"
		 "b BAD An argument is missing\r\nc BAD Binary literals are not supported here\r\n"
		 "d NO [AUTHENTICATIONFAILED] Wrong name or password\r\n"
		 "e BAD A space or further argument is missing\r\nf BAD An argument is missing\r\n"
		 "g BAD Not here: the connection is under TLS already\r\nh OK Completed\r\n",
		 IMAP_GATE_IDLE, "");
	dialogue("a LOGIN {400000000}\r\nb LOGIN {-1}\r\nc LOGIN {}\r\nd ((((\r\ne NOOP\r\n",
		 "a BAD Literal too large\r\nb BAD Malformed literal\r\nc BAD Malformed literal\r\n"
		 "d BAD An atom is missing\r\ne OK Completed\r\n",
		 IMAP_GATE_IDLE, "");
}

static void
errors_end_the_connection(void **state)
{
	(void)state;
	struct host h;
	start(&h);
	for (int i = 0; i < IMAP_ERRORS_MAX; i++) {
		give(&h, bytes_str("a X\r\n"));
	}
	assert_int_equal(h.last, IMAP_GATE_CLOSE);
	assert_true(bytes_ends_with_nocase(buf_bytes(&h.sent), "* BYE Too many errors\r\n"));
	finish(&h);
}

static void
who_does_not_log_in_in_time_is_sent_away(void **state)
{
	(void)state;
	struct host h;
	start(&h);
	assert_true(imap_gate_deadline(&h.gate) == h.now + IMAP_GATE_LOGIN_MSEC);
	give(&h, bytes_str("a NO"));
	h.now += IMAP_GATE_LOGIN_MSEC - 1;
	assert_int_equal(imap_gate_tick(&h.gate, h.now), IMAP_GATE_IDLE);
	/* The host takes 100 s over it; that is not held against the client. */
	give(&h, bytes_str("OP\r\nb LOGIN x y\r\n"));
	assert_int_equal(h.last, IMAP_GATE_IDLE);
	assert_true(imap_gate_deadline(&h.gate) == h.now + 1);
	h.now += 1;
	assert_int_equal(imap_gate_tick(&h.gate, h.now), IMAP_GATE_CLOSE);
	drain(&h);
	assert_true(bytes_ends_with_nocase(buf_bytes(&h.sent), "* BYE Too slow\r\n"));
	finish(&h);
}

static void
a_client_that_does_not_read_is_not_read_either(void **state)
{
	(void)state;
	struct host h;
	start(&h);
	for (int i = 0; i < 2000 && imap_gate_wants_input(&h.gate); i++) {
		assert_int_equal(imap_gate_input(&h.gate, bytes_str("a CAPABILITY\r\n"), h.now),
				 IMAP_GATE_IDLE);
	}
	assert_false(imap_gate_wants_input(&h.gate));
	assert_true(imap_gate_output(&h.gate).len <= IMAP_GATE_OUTPUT_MAX);
	/* Pushed on regardless, it ends. */
	enum imap_gate_event e = IMAP_GATE_IDLE;
	for (int i = 0; i < 4000 && e == IMAP_GATE_IDLE; i++) {
		e = imap_gate_input(&h.gate, bytes_str("a CAPABILITY\r\n"), h.now);
	}
	assert_int_equal(e, IMAP_GATE_CLOSE);
	finish(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_greeting_tells_what_the_gate_can),
	    cmocka_unit_test(login_lets_in_and_hands_out_what_was_pipelined),
	    cmocka_unit_test(authenticate_plain_takes_an_initial_response_or_a_line),
	    cmocka_unit_test(authenticate_scram_is_a_dialogue_at_every_cut),
	    cmocka_unit_test(a_wrong_password_is_told_and_after_some_the_gate_closes),
	    cmocka_unit_test(a_temporary_failure_is_not_called_a_wrong_password),
	    cmocka_unit_test(a_damaged_account_is_called_neither_a_wrong_password_nor_a_matter_of_time),
	    cmocka_unit_test(what_is_not_for_the_gate_is_bad),
	    cmocka_unit_test(errors_end_the_connection),
	    cmocka_unit_test(who_does_not_log_in_in_time_is_sent_away),
	    cmocka_unit_test(a_client_that_does_not_read_is_not_read_either),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
