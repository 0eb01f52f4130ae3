/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * IMAP after login, with the real session and the real store (on memory) behind it: whatever is sent gets an answer or a closed connection,
 * within a bounded number of turns, and nothing stays behind. The first octet chooses what is enabled, whether a mailbox is
 * selected, and the pieces in which the rest comes.
 */
#include "session/imap.h"
#include "session_testing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TURNS_MAX = 200000, INPUT_MAX = 128 * 1024, ANSWER_MAX = 64 << 20 };

#define PLAIN                                                                                                \
	"From: Bob <bob@example.net>\r\nTo: alice@example.org\r\nSubject: Hello there\r\nMessage-ID: "       \
	"<1@x>\r\n"                                                                                          \
	"Date: Mon, 02 Feb 2026 03:04:05 +0000\r\n\r\nA body with a word: marmalade.\r\n"
#define PARTS                                                                                                \
	"From: Ann <ann@example.net>\r\nReferences: <1@x>\r\nSubject: "                                      \
	"=?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; "                                     \
	"boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: "                    \
	"quoted-printable\r\n\r\n<p>na=C3=AFve</p>\r\n"                                                      \
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nin\r\n--b\r\nContent-Type: "       \
	"image/png\r\n"                                                                                      \
	"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"

static void
check(bool good, const char *what)
{
	if (!good) {
		print_message("imap session: %s\n", what);
		abort();
	}
}

static struct conn *
connection(struct testing *t)
{
	return t->conns[0].closed ? NULL : conn_find(t->session->state, 0, 0);
}

/* Until nothing runs any more. */
static void
settle(struct testing *t)
{
	unsigned turns = 0;
	unsigned quiet = 0;
	struct worker *w = t->session->state;
	do {
		testing_turns(t, 2);
		turns += 2;
		struct conn *c = conn_find(w, 0, 0);
		bool still = task_count(t->loop) == 0 && (c == NULL || conn_available(c) == 0);
		quiet = still ? quiet + 1 : 0;
		if (quiet == 8) {
			return;
		}
	} while (turns < TURNS_MAX);
	check(false, "an input that is never done with");
}

static bool
is_answered(struct testing *t, const char *tagged)
{
	return testing_told(t, 0, tagged);
}

/* What waits for more input may wait; else the next command must be answered. */
static void
ask_once_more(struct testing *t)
{
	struct conn *c = connection(t);
	if (c == NULL) {
		return;
	}
	struct imap *im = c->state;
	if (im->idling) {
		testing_send(t, 0, BYTES_LIT("\r\nDONE\r\n"));
		settle(t);
		c = connection(t);
		im = c == NULL ? NULL : c->state;
	}
	if (c == NULL || im->idling || imap_reader_is_within(&im->reader)) {
		return;
	}
	testing_send(t, 0, BYTES_LIT("zz9z NOOP\r\n"));
	settle(t);
	if (!is_answered(t, "zz9z ") && connection(t) != NULL) {
		print_message("%.*s\n", (int)t->conns[0].output.len, (const char *)t->conns[0].output.ptr);
		check(false, "no answer");
	}
}

static void
prepare(struct testing *t, uint8_t mode)
{
	testing_open(t, 0, IPC_PROTOCOL_IMAP);
	testing_append(t, 0, "INBOX (\\Flagged $Label)", PLAIN, "OK");
	testing_append(t, 0, "INBOX", PARTS, "OK");
	testing_append(t, 0, "Drafts", PLAIN, "OK");
	if ((mode & 1) != 0) {
		testing_type(t, 0, "ENABLE IMAP4rev2 UTF8=ACCEPT", "OK");
	}
	if ((mode & 2) != 0) {
		testing_type(t, 0, "ENABLE QRESYNC", "OK");
	}
	if ((mode & 4) != 0) {
		testing_type(t, 0, "ENABLE UIDONLY", "OK");
	}
	if ((mode & 8) == 0) {
		testing_type(t, 0, "SELECT INBOX", "OK");
	}
	testing_forget(t, 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct testing t;
	if (size == 0 || size > INPUT_MAX) {
		return 0;
	}
	if (!ready) {
		testing_turn_ms = 0;
		check(testing_setup(NULL) == 0, "no setup");
		ready = true;
	}
	uint8_t mode = data[0];
	testing_up(&t);
	prepare(&t, mode);
	struct bytes rest = bytes_of(data + 1, size - 1);
	size_t piece = (mode & 16) != 0 ? 1 + (size_t)(mode >> 5) * 7 : rest.len + 1;
	/* Few turns per piece: a long input in single octets would take its time in the loop, not in the session. */
	while (rest.len > 0 && connection(&t) != NULL) {
		struct bytes now = bytes_slice(rest, 0, piece);
		testing_send(&t, 0, now);
		rest = bytes_from(rest, now.len);
		if (t.conns[0].output.len > ANSWER_MAX) {
			check(false, "an answer out of all proportion");
		}
	}
	settle(&t);
	ask_once_more(&t);
	testing_session_down(&t);
	testing_session_up(&t);
	/* What it did to her log can be folded anew. */
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "STATUS INBOX (MESSAGES)", "OK");
	testing_down(&t);
	return 0;
}
