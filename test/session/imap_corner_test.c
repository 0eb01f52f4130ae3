/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The corners of RFC 9051's grammar and of its extensions', after login: what stands there is answered as they say, and the line stays in step. */
#include "session_testing.h"

struct corner {
	const char *given; /* whole lines */
	size_t len;
	const char *const told; /* all of it, but what ends in "~" is a beginning */
};

#define ROW(given, told)                                                                                     \
	{                                                                                                    \
		given, sizeof(given) - 1, told                                                               \
	}

/* Each is said in INBOX with three messages, \Seen the second; the whole answer up to that of a NOOP behind it. */
static const struct corner corners[] = {
    /* Sets (RFC 9051 section 9, seq-range). */
    ROW("a FETCH *:* UID\r\n", "* 3 FETCH (UID 3)\r\na OK Done\r\n"),
    ROW("a FETCH 3:2,2 UID\r\n", "* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\na OK Done\r\n"),
    ROW("a FETCH 4294967295:* UID\r\n", "a BAD There is no message of that number\r\n"),
    ROW("a UID FETCH 4294967295:* FLAGS\r\n", "* 3 FETCH (FLAGS () UID 3)\r\na OK Done\r\n"),
    ROW("a UID FETCH 4294967296 FLAGS\r\n", "a BAD ~"),
    ROW("a FETCH 0 UID\r\n", "a BAD ~"),
    ROW("a FETCH 1,,2 UID\r\n", "a BAD ~"),
    ROW("a FETCH 1: UID\r\n", "a BAD ~"),
    ROW("a UID FETCH $ UID\r\n", "a OK Done\r\n"),
    ROW("a UID FETCH $:1 UID\r\n", "a BAD ~"),
    ROW("a STORE 4 FLAGS ()\r\n", "a BAD ~"),
    ROW("a UID STORE 4 FLAGS ()\r\n", "a OK Stored\r\n"),
    ROW("a UID COPY 4 Sent\r\n", "a OK There was nothing to do\r\n"),
    /* Lists that are empty, or must not be. */
    ROW("a FETCH 1 ()\r\n", "a BAD ~"),
    ROW("a FETCH 1 (ALL)\r\n", "a BAD ~"),
    ROW("a FETCH 1 BODY[HEADER.FIELDS ()]\r\n", "a BAD ~"),
    ROW("a STORE 2 +FLAGS.SILENT ()\r\n", "a OK Stored\r\n"),
    ROW("a STORE 2 () FLAGS ()\r\n", "a BAD ~"),
    ROW("a STATUS INBOX ()\r\n", "a BAD ~"),
    ROW("a SELECT INBOX ()\r\n", "a BAD ~"),
    ROW("a SEARCH ()\r\n", "a BAD ~"),
    ROW("a SEARCH RETURN () SEEN\r\n", "* ESEARCH (TAG \"a\") ALL 2\r\na OK Done\r\n"),
    ROW("a SEARCH RETURN (SAVE) SEEN\r\nb FETCH $ UID\r\n",
	"a OK Done\r\n* 2 FETCH (UID 2)\r\nb OK Done\r\n"),
    ROW("a SORT () UTF-8 ALL\r\n", "a BAD ~"),
    ROW("a LIST \"\" ()\r\n", "a BAD ~"),
    ROW("a LIST \"\" (\"\")\r\n", "a OK Done\r\n"),
    ROW("a LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \"/\" \"\"\r\na OK Done\r\n"),
    ROW("a LIST (RECURSIVEMATCH) \"\" *\r\n", "a BAD ~"),
    ROW("a LIST \"\" INBOX RETURN ()\r\n", "* LIST (\\HasNoChildren) \"/\" INBOX\r\na OK Done\r\n"),
    ROW("a LIST \"\" INBOX RETURN (STATUS ())\r\n", "a BAD ~"),
    ROW("a GETMETADATA INBOX ()\r\n", "a BAD ~"),
    ROW("a NOTIFY SET ()\r\n", "a BAD ~"),
    ROW("a ENABLE\r\n", "a BAD ~"),
    ROW("a ENABLE X\r\n", "* ENABLED\r\na OK Done\r\n"),
    /* Search keys. */
    ROW("a SEARCH OR (OR SEEN SEEN) NOT (NOT SEEN)\r\n", "* SEARCH 2\r\na OK Done\r\n"),
    ROW("a SEARCH OR ALL\r\n", "a BAD ~"),
    ROW("a SEARCH CHARSET UTF-8\r\n", "a BAD ~"),
    ROW("a SEARCH CHARSET x-none ALL\r\n", "a NO [BADCHARSET] ~"),
    ROW("a SEARCH CHARSET UTF-16LE ALL\r\n", "a NO [BADCHARSET] ~"),
    ROW("a SEARCH CHARSET cp1251 SUBJECT {1+}\r\n\xef\r\n", "* SEARCH\r\na OK Done\r\n"),
    ROW("a SEARCH BEFORE 29-Feb-2021\r\n", "a BAD ~"),
    ROW("a SEARCH KEYWORD \\Seen\r\n", "a BAD ~"),
    ROW("a SEARCH LARGER 4294967296\r\n", "* SEARCH\r\na OK Done\r\n"),
    ROW("a SEARCH LARGER 9223372036854775808\r\n", "a BAD ~"),
    ROW("a SEARCH ((((((((((((((((((((((((((((((((((((((((ALL))))))))))))))))))))))))))))))))))))))))\r\n",
	"a BAD Search keys nested too deeply\r\n"),
    /* Parts and pieces. */
    ROW("a FETCH 1 BODY.PEEK[0]\r\n", "a BAD ~"),
    ROW("a FETCH 1 BODY.PEEK[MIME]\r\n", "a BAD ~"),
    ROW("a FETCH 1 BODY.PEEK[4294967295]\r\n", "* 1 FETCH (BODY[4294967295] NIL)\r\na OK Done\r\n"),
    ROW("a FETCH 1 BODY.PEEK[]<0.0>\r\n", "a BAD ~"),
    ROW("a FETCH 1 BODY.PEEK[]<4294967295.1>\r\n", "* 1 FETCH (BODY[]<4294967295> {0}\r\n)\r\na OK Done\r\n"),
    ROW("a UID FETCH 1:* (UID) (PARTIAL -1:-2)\r\n",
	"* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\na OK Done\r\n"),
    ROW("a UID FETCH 1:* (UID) (PARTIAL 0:1)\r\n", "a BAD ~"),
    /* Literals: NUL, literal8 where none is taken, what comes behind. */
    ROW("a SELECT {6+}\r\nINBOX\0\r\n", "a BAD NUL in a literal\r\n"),
    ROW("a SEARCH SUBJECT ~{3+}\r\nabc\r\n", "a BAD Binary literals are not supported here\r\n"),
    ROW("a SEARCH SUBJECT {3+}\r\n{5}\r\nb NOOP\r\n", "* SEARCH\r\na OK Done\r\nb OK Done\r\n"),
    ROW("a SEARCH SUBJECT {4}\r\n{5+}\r\nb NOOP\r\n", "+ OK\r\n* SEARCH\r\na OK Done\r\nb OK Done\r\n"),
    ROW("a STATUS {2+}\r\nx} {1+}\r\n}\r\n", "a BAD ~"),
    ROW("a DELETE {2+}\r\nx}\r\n", "a NO [NONEXISTENT] ~"),
    ROW("a CREATE {2+}\r\na\xe9\r\n", "a NO [CANNOT] ~"),
    ROW("a STATUS {5}\r\nINBOX (MESSAGES)\r\n", "+ OK\r\n* STATUS INBOX (MESSAGES 3)\r\na OK Done\r\n"),
    ROW("a STATUS {005+}\r\nINBOX (MESSAGES)\r\n", "* STATUS INBOX (MESSAGES 3)\r\na OK Done\r\n"),
    ROW("a LIST {40000+}\r\n", "~"), /* its octets follow: see below */
    ROW("a LIST {40000}\r\n", "a BAD Literal too large\r\n"),
    ROW("a STORE 1 FLAGS (\\Seen \\Recent)\r\n", "a BAD \\Recent is not a client's to set\r\n"),
    ROW("a APPEND Sent (\\Recent) {3+}\r\nabc\r\n", "a BAD \\Recent is not a client's to set\r\n"),
    ROW("a NOOP {1+}\r\nx\r\n", "a BAD ~"),
    ROW("a APPEND Sent {3+}\r\nabcdef\r\n", "a BAD Syntax error behind the message\r\n"),
    ROW("a APPEND Sent {3+}\r\na\0c\r\n", "a NO [CANNOT] ~"),
    ROW("a APPEND Sent {0+}\r\n\r\n", "a NO [CANNOT] ~"),
    ROW("a APPEND Sent \"32-Jan-2020 00:00:00 +0000\" {3+}\r\nabc\r\n", "a BAD Not a valid date\r\n"),
    /* Mailboxes that cannot be: no TRYCREATE, since that would be refused (section 6.3.12). */
    ROW("a COPY 1 \"\"\r\n", "a NO [CANNOT] ~"),
    ROW("a COPY 1 none\r\n", "a NO [TRYCREATE] ~"),
    ROW("a APPEND a//b {3+}\r\nabc\r\n", "a NO [CANNOT] ~"),
    ROW("a RENAME INBOX INBOX\r\n", "a NO [ALREADYEXISTS] ~"),
    ROW("a CREATE x (USE)\r\n", "a BAD ~"),
    /* CREATEs one behind the other: one record, and each its own answer, in order; what follows finds them made. */
    ROW("a CREATE p1\r\nb CREATE p1/\r\nc CREATE \"\"\r\nd CREATE inbox\r\ne CREATE x (USE (\\x))\r\nf "
	"CREATE p2/p3\r\n"
	"g STATUS p2/p3 (MESSAGES)\r\nh CREATE p4\r\ni CREATE\r\nj DELETE p4\r\nk CREATE p4\r\n",
	"a OK [MAILBOXID (F7)] Created\r\nb NO [ALREADYEXISTS] There is one of this name already\r\n"
	"c NO [CANNOT] That is not a mailbox name\r\nd NO [ALREADYEXISTS] There is one of this name "
	"already\r\n"
	"e NO [USEATTR] That use is not known\r\nf OK [MAILBOXID (F8)] Created\r\n* STATUS p2/p3 (MESSAGES "
	"0)\r\n"
	"g OK Done\r\nh OK [MAILBOXID (F9)] Created\r\ni BAD A space or further argument is missing\r\n"
	"j OK Deleted\r\nk OK [MAILBOXID (Fa)] Created\r\n"),
    /* IDLE ends in any case of letters, and in whatever else with BAD. */
    ROW("a IDLE\r\ndone\r\n", "+ idling\r\na OK Done\r\n"),
    ROW("a IDLE\r\nb NOOP\r\n", "+ idling\r\na BAD DONE was expected\r\n"),
    /* Tags, blanks, line ends. */
    ROW("a+b NOOP\r\n", "* BAD No valid tag\r\n"),
    ROW("+ NOOP\r\n", "* BAD No valid tag\r\n"),
    ROW("0123456789012345678901234567890123456789012345678901234567890123 NOOP\r\n",
	"0123456789012345678901234567890123456789012345678901234567890123 OK Done\r\n"),
    ROW("01234567890123456789012345678901234567890123456789012345678901234 NOOP\r\n",
	"* BAD No valid tag\r\n"),
    ROW(" a NOOP\r\n", "* BAD No valid tag\r\n"),
    ROW("a  NOOP\r\n", "a BAD ~"),
    ROW("a\r\n", "a BAD ~"),
    ROW("\r\n\r\n", ""),
    ROW("a NOOP\nb NOOP\n", "a OK Done\r\nb OK Done\r\n"),
    ROW("a SEARCH SUBJECT \"a\rb\"\r\n", "a BAD Bare CR or NUL in a command\r\n"),
    ROW("a SEARCH SUBJECT \"a\r\n", "a BAD Quoted string without its end\r\n"),
    /* What belongs before login, and what belongs into a mailbox. */
    ROW("a LOGIN x y\r\nb AUTHENTICATE PLAIN\r\nc STARTTLS\r\n",
	"a BAD Not after login\r\nb BAD Not after login\r\nc BAD Not after login\r\n"),
    ROW("a UNSELECT\r\nb CLOSE\r\nc SELECT none\r\nd SEARCH ALL\r\n",
	"a OK Closed\r\nb BAD Select a mailbox first\r\nc NO [NONEXISTENT] There is no such mailbox\r\n"
	"d BAD Select a mailbox first\r\n"),
};

static void
say(struct testing *t, struct bytes given, const char *told)
{
	bool begins = told[0] != '\0' && told[strlen(told) - 1] == '~';
	size_t len = strlen(told) - (begins ? 1 : 0);
	testing_forget(t, 0);
	testing_send(t, 0, given);
	testing_send(t, 0, BYTES_LIT("end NOOP\r\n"));
	ptrdiff_t end = -1;
	for (unsigned i = 0; i < 5000 && end < 0 && !t->conns[0].closed; i++) {
		testing_turns(t, 1);
		end = bytes_search(buf_bytes(&t->conns[0].output), BYTES_LIT("end OK Done\r\n"));
	}
	struct bytes out = bytes_slice(buf_bytes(&t->conns[0].output), 0, end < 0 ? 0 : (size_t)end);
	if (end < 0 || out.len < len || (!begins && out.len != len) || memcmp(out.ptr, told, len) != 0) {
		print_message("%.*s -> %.*s\n", (int)given.len, (const char *)given.ptr,
			      (int)t->conns[0].output.len, (const char *)t->conns[0].output.ptr);
		fail();
	}
}

static void
the_corners_of_the_grammar_are_answered_as_the_rfcs_say(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	for (size_t i = 0; i < sizeof(corners) / sizeof(corners[0]); i++) {
		struct bytes given = bytes_of((const uint8_t *)corners[i].given, corners[i].len);
		if (i % 12 == 0) { /* twenty errors end a connection */
			if (i > 0) {
				testing_type(&t, 0, "LOGOUT", "OK");
				testing_turns(&t, 5);
			}
			testing_open(&t, 0, IPC_PROTOCOL_IMAP);
		}
		for (unsigned k = 0; i == 0 && k < 3; k++) {
			testing_append(&t, 0, k == 1 ? "INBOX (\\Seen)" : "INBOX", "Subject: x\r\n\r\ny\r\n",
				       "OK");
		}
		testing_type(&t, 0, "SELECT INBOX", "OK");
		if (strcmp(corners[i].told, "~") == 0) {
			struct buf long_one = BUF_INIT(100000);
			assert_int_equal(buf_append(&long_one, given), ERR_OK);
			for (unsigned k = 0; k < 5000; k++) {
				assert_int_equal(buf_append(&long_one, BYTES_LIT("b NOOP\r\n")), ERR_OK);
			}
			assert_int_equal(buf_append(&long_one, BYTES_LIT(" *\r\n")), ERR_OK);
			say(&t, buf_bytes(&long_one), "a BAD Literal too large\r\n");
			buf_clear(&long_one);
		} else {
			say(&t, given, corners[i].told);
		}
	}
	testing_down(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_corners_of_the_grammar_are_answered_as_the_rfcs_say),
	};
	return cmocka_run_group_tests(tests, testing_setup, NULL);
}
