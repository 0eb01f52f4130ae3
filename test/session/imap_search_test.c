/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Long searches: what is told meanwhile, how they end before their time, and who waits for them. The moments at which something is due
 * are the worker's to say, so that nothing here takes long.
 */
#include "session_testing.h"

#define LATE "Subject: late\r\n\r\nHello.\r\n"

enum { MANY = 120, EACH = 3 };

/* The store, whose reads of messages are counted, or fail from one on. */
static const struct storage_driver *honest;
static struct storage_driver counting;
static unsigned reads;
static unsigned fail_at; /* 0: never */

static enum err
counting_blob_get(struct storage *s, const uint8_t name[BLOB_NAME_LEN], uint32_t chunk, struct buf *ret)
{
	reads++;
	return fail_at != 0 && reads >= fail_at ? ERR_IO : honest->blob_get(s, name, chunk, ret);
}

static unsigned heads; /* how often the log was looked at */

static enum err
counting_log_head(struct storage *s, const uint8_t account[ACCOUNT_ID_LEN], struct storage_head *ret)
{
	heads++;
	return honest->log_head(s, account, ret);
}

/* INBOX, where each third message, from the first on, says marmalade; the last one has no such neighbour. */
static void
up(struct testing *t)
{
	testing_up(t);
	struct store *s = t->store->state;
	honest = s->storage->driver;
	counting = *honest;
	counting.blob_get = counting_blob_get;
	counting.log_head = counting_log_head;
	s->driver = &counting;
	reads = fail_at = 0;
	testing_open(t, 0, IPC_PROTOCOL_IMAP);
	for (unsigned i = 0; i < MANY; i++) {
		char message[200];
		(void)snprintf(message, sizeof(message),
			       "Subject: letter %u\r\nMessage-ID: <%u@x.test>\r\n\r\nOf %s, and more.\r\n", i,
			       i, i % EACH < 2 ? "marmalade" : "honey");
		testing_append(t, 0, "INBOX", message, "OK");
	}
	testing_type(t, 0, "SELECT INBOX", "OK");
	reads = 0;
}

static struct worker *
worker(const struct testing *t)
{
	return t->session->state;
}

/* "1 2 4 5 ..." or "1:2,4:5,..." */
static void
results(char *out, size_t size, bool set)
{
	size_t at = 0;
	out[0] = '\0';
	for (unsigned i = 1; i <= MANY; i += EACH) {
		int n = snprintf(out + at, size - at, set ? "%s%u:%u" : "%s%u %u",
				 i == 1 ? ""
				 : set  ? ","
					: " ",
				 i, i + 1);
		assert_true(n > 0 && (size_t)n < size - at);
		at += (size_t)n;
	}
}

/* The whole answer must be this, the tagged line aside; how many responses the gate was told of. */
static unsigned
answers(struct testing *t, const char *command, const char *expected)
{
	char text[4096];
	unsigned before = t->conns[0].flushes;
	testing_type(t, 0, command, "OK Done");
	int n = snprintf(text, sizeof(text), "%s\r\nt%u OK Done\r\n", expected, t->tag);
	assert_true(n > 0 && (size_t)n < sizeof(text));
	assert_string_equal(testing_output(t, 0), text);
	testing_turns(t, 3);
	return t->conns[0].flushes - before;
}

static void
results_are_told_while_the_search_goes_on_and_the_answer_is_the_same(void **state)
{
	struct testing t;
	char numbers[2048];
	char set[2048];
	char expected[4096];
	(void)state;
	up(&t);
	results(numbers, sizeof(numbers), false);
	results(set, sizeof(set), true);
	for (unsigned streamed = 0; streamed < 2; streamed++) {
		worker(&t)->stream_ms = streamed == 1 ? 0 : 60 * 1000;
		/* Told in pieces, or in one. */
		unsigned least = streamed == 1 ? MANY / EACH / 4 : 1;
		unsigned most = streamed == 1 ? MANY : 1;
		(void)snprintf(expected, sizeof(expected), "* SEARCH %s", numbers);
		unsigned told = answers(&t, "SEARCH BODY marmalade", expected);
		assert_in_range(told, least, most);
		(void)snprintf(expected, sizeof(expected), "* SEARCH %s (MODSEQ %llu)", numbers,
			       (unsigned long long)fold_n(member_find(worker(&t), t.account)->fold) - 1);
		told = answers(&t, "UID SEARCH MODSEQ 1 BODY marmalade", expected);
		assert_in_range(told, least, most);
		(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") UID ALL %s", t.tag + 1,
			       set);
		told = answers(&t, "UID SEARCH RETURN (SAVE ALL) BODY marmalade", expected);
		assert_in_range(told, least, most);
		(void)snprintf(expected, sizeof(expected), "* SEARCH %s", numbers);
		(void)answers(&t, "SEARCH $", expected);
		/* Across passes: subjects are known before bodies, and the order stays. */
		(void)answers(&t, "SEARCH OR SUBJECT \"letter 119\" OR SUBJECT \"letter 2\" BODY honey SEEN",
			      "* SEARCH");
		(void)answers(&t, "SEARCH OR (SUBJECT \"letter 119\") (BODY marmalade 1:4)",
			      "* SEARCH 1 2 4 120");
		/* One line that nothing finds is a line, too. */
		told = answers(&t, "SEARCH BODY pterodaustro", "* SEARCH");
		assert_int_equal(told, 1);
		(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") COUNT 0", t.tag + 1);
		(void)answers(&t, "SEARCH RETURN (MIN MAX ALL COUNT) BODY pterodaustro", expected);
		/* What only the end can tell is told at the end. */
		(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") COUNT 80", t.tag + 1);
		told = answers(&t, "SEARCH RETURN (COUNT) BODY marmalade", expected);
		assert_int_equal(told, 1);
		(void)snprintf(expected, sizeof(expected),
			       "* ESEARCH (TAG \"t%u\") PARTIAL (-1:-3 116,118:119)", t.tag + 1);
		told = answers(&t, "SEARCH RETURN (PARTIAL -1:-3) BODY marmalade", expected);
		assert_int_equal(told, 1);
		/* Sorted results have no first one before the last is known. */
		(void)snprintf(expected, sizeof(expected), "* SORT %s", numbers);
		told = answers(&t, "SORT (ARRIVAL) UTF-8 BODY marmalade", expected);
		assert_int_equal(told, 1);
	}
	/* Of one that was begun, ALL stands first: RFC 4731 says of no order. */
	(void)snprintf(expected, sizeof(expected),
		       "* ESEARCH (TAG \"t%u\") ALL %s MIN 1 MAX 119 COUNT 80 MODSEQ %llu", t.tag + 1, set,
		       (unsigned long long)fold_n(member_find(worker(&t), t.account)->fold) - 1);
	(void)answers(&t, "SEARCH RETURN (MIN MAX ALL COUNT) MODSEQ 1 BODY marmalade", expected);
	testing_type(&t, 0, "CLOSE", "OK");
	testing_type(&t, 0, "ENABLE UIDONLY", "OK");
	testing_type(&t, 0, "SELECT INBOX", "OK");
	(void)snprintf(expected, sizeof(expected), "* SEARCH %s", numbers);
	(void)answers(&t, "UID SEARCH BODY marmalade", expected);
	testing_type(&t, 0, "CLOSE", "OK");
	testing_type(&t, 0, "ENABLE IMAP4rev2", "OK");
	testing_type(&t, 0, "SELECT INBOX", "OK");
	(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") UID ALL %s", t.tag + 1, set);
	(void)answers(&t, "UID SEARCH BODY marmalade", expected);
	testing_down(&t);
}

static void
progress_is_told_until_results_are(void **state)
{
	struct testing t;
	char text[64];
	(void)state;
	up(&t);
	/* At every message, instead of every ten seconds. */
	worker(&t)->progress_ms = 0;
	worker(&t)->stream_ms = 60 * 1000;
	unsigned before = t.conns[0].flushes;
	testing_type(&t, 0, "SEARCH BODY pterodaustro", "OK");
	(void)snprintf(text, sizeof(text), "* OK [INPROGRESS (\"t%u\" 0 120)] Still at it\r\n", t.tag);
	assert_true(bytes_starts_with(buf_bytes(&t.conns[0].output), text));
	(void)snprintf(text, sizeof(text), "\r\n* OK [INPROGRESS (\"t%u\" 60 120)] Still at it\r\n", t.tag);
	assert_true(testing_told(&t, 0, text));
	(void)snprintf(text, sizeof(text), "Still at it\r\n* SEARCH\r\nt%u OK", t.tag);
	assert_true(testing_told(&t, 0, text));
	/* Each leaves at once. */
	assert_true(t.conns[0].flushes - before > MANY / 2);
	/* The number done never falls, across passes. */
	testing_type(&t, 0, "SEARCH SUBJECT letter BODY honey HEADER Message-ID 7@x.test", "OK");
	struct bytes out = buf_bytes(&t.conns[0].output);
	unsigned last = 0;
	(void)snprintf(text, sizeof(text), "(\"t%u\" ", t.tag);
	for (ptrdiff_t at = bytes_search(out, bytes_str(text)); at >= 0;
	     at = bytes_search(out, bytes_str(text))) {
		out = bytes_from(out, (size_t)at + strlen(text));
		unsigned done = (unsigned)strtoul((const char *)out.ptr, NULL, 10);
		assert_in_range(done, last, MANY - 1);
		last = done;
	}
	/* A SEARCH line that has begun is not interrupted: the first message is a result. */
	worker(&t)->stream_ms = 0;
	testing_type(&t, 0, "SEARCH OR 1 BODY pterodaustro", "OK");
	(void)snprintf(text, sizeof(text), "* SEARCH 1\r\nt%u OK Done\r\n", t.tag);
	assert_string_equal(testing_output(&t, 0), text);
	testing_down(&t);
}

static void
a_search_that_fails_midway_ends_its_line(void **state)
{
	struct testing t;
	char text[64];
	(void)state;
	up(&t);
	worker(&t)->stream_ms = 0;
	testing_type(&t, 0, "SEARCH RETURN (SAVE) 1:3", "OK");
	for (unsigned i = 0; i < 2; i++) {
		static const char *const commands[] = {"SEARCH BODY marmalade",
						       "SEARCH RETURN (ALL SAVE) BODY marmalade"};
		static const char *const begin[] = {"* SEARCH 1 2 4", "ALL 1:2,4:5"};
		reads = 0;
		fail_at = 60;
		testing_type(&t, 0, commands[i], "NO [UNAVAILABLE]");
		assert_true(testing_told(&t, 0, begin[i]));
		assert_false(testing_told(&t, 0, " 119"));
		/* One line, and the tagged one behind it. */
		const char *line = strchr(testing_output(&t, 0), '\n');
		int n = snprintf(text, sizeof(text), "t%u NO", t.tag);
		assert_non_null(line);
		assert_memory_equal(line + 1, text, (size_t)n);
		fail_at = 0;
		testing_type(&t, 0, "NOOP", "OK");
	}
	/* RFC 5182: what was to be saved is nothing now. */
	(void)answers(&t, "SEARCH $", "* SEARCH");
	testing_down(&t);
}

static void
a_search_ends_with_its_connection(void **state)
{
	struct testing t;
	(void)state;
	up(&t);
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_type(&t, 1, "SELECT INBOX", "OK");
	for (unsigned streamed = 0; streamed < 2; streamed++) {
		worker(&t)->stream_ms = streamed == 1 ? 0 : 60 * 1000;
		testing_open(&t, 2, IPC_PROTOCOL_IMAP);
		testing_type(&t, 2, "SELECT INBOX", "OK");
		reads = 0;
		testing_forget(&t, 2);
		/* What is pipelined behind it waits: IMAP has no word that cancels a command. */
		testing_send(&t, 2, BYTES_LIT("s SEARCH BODY marmalade\r\nl LOGOUT\r\n"));
		while (reads < MANY / 8) {
			testing_turns(&t, 1);
		}
		assert_false(testing_told(&t, 2, "BYE"));
		struct msg_conn_close m = {.conn = 2};
		assert_int_equal(channel_notice(t.gate, CONN_CLOSE, conn_close, &m), ERR_OK);
		testing_turns(&t, 30);
		/* What was asked for ahead, and no more. */
		assert_true(reads < MANY);
		assert_int_equal(task_count(t.loop), 0);
		assert_null(conn_find(worker(&t), 0, 2));
		unsigned then = reads;
		testing_turns(&t, 20);
		assert_int_equal(reads, then);
		testing_type(&t, 1, "NOOP", "OK");
	}
	/* To its end, with LOGOUT behind it. */
	testing_open(&t, 2, IPC_PROTOCOL_IMAP);
	testing_type(&t, 2, "SELECT INBOX", "OK");
	testing_forget(&t, 2);
	testing_send(&t, 2, BYTES_LIT("s SEARCH BODY marmalade\r\nl LOGOUT\r\n"));
	for (unsigned i = 0; i < 1000 && !t.conns[2].closed; i++) {
		testing_turns(&t, 1);
	}
	assert_true(testing_told(&t, 2, " 118 119\r\ns OK Done\r\n* BYE"));
	testing_down(&t);
}

static void
what_is_expunged_meanwhile_is_passed_over(void **state)
{
	struct testing t;
	(void)state;
	up(&t);
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_type(&t, 1, "SELECT INBOX", "OK");
	/* Many, so that the search does not end before they have gone. */
	for (unsigned i = 0; i < 4; i++) {
		testing_type(&t, 1, "COPY 1:* INBOX", "OK");
	}
	testing_type(&t, 1, "STORE 1:* +FLAGS.SILENT (\\Deleted)", "OK");
	testing_type(&t, 0, "NOOP", "OK");
	reads = heads = 0;
	testing_forget(&t, 0);
	testing_send(&t, 0, BYTES_LIT("s SEARCH BODY marmalade\r\n"));
	while (reads == 0) {
		testing_turns(&t, 1);
	}
	testing_type(&t, 1, "EXPUNGE", "OK");
	for (unsigned i = 0; i < 1000 && !testing_told(&t, 0, "s OK"); i++) {
		testing_turns(&t, 1);
	}
	/* Not damaged, numbers as they were, and the log was not read for each of them. */
	assert_true(bytes_starts_with(buf_bytes(&t.conns[0].output), "* SEARCH"));
	assert_true(testing_told(&t, 0, "\r\ns OK Done\r\n"));
	assert_false(testing_told(&t, 0, "EXPUNGE"));
	assert_false(testing_told(&t, 0, " 1919"));
	assert_true(heads < 10);
	testing_type(&t, 0, "NOOP", "OK");
	assert_true(testing_told(&t, 0, "* 1920 EXPUNGE\r\n"));
	testing_down(&t);
}

static void
the_first_ones_alone_are_sought_where_no_more_are_wanted(void **state)
{
	struct testing t;
	char expected[100];
	(void)state;
	up(&t);
	(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") MIN 1", t.tag + 1);
	(void)answers(&t, "SEARCH RETURN (MIN) BODY marmalade", expected);
	assert_true(reads < MANY * 2 / 3);
	reads = 0;
	(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") MIN 1 PARTIAL (2:4 2,4:5)",
		       t.tag + 1);
	(void)answers(&t, "SEARCH RETURN (SAVE MIN PARTIAL 2:4) BODY marmalade", expected);
	assert_true(reads < MANY * 2 / 3);
	(void)answers(&t, "SEARCH $", "* SEARCH 1 2 4 5");
	(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") MIN 1 MAX 119", t.tag + 1);
	(void)answers(&t, "SEARCH RETURN (MIN MAX) BODY marmalade", expected);
	(void)snprintf(expected, sizeof(expected), "* ESEARCH (TAG \"t%u\") PARTIAL (500:600 NIL)",
		       t.tag + 1);
	(void)answers(&t, "SEARCH RETURN (PARTIAL 600:500) BODY marmalade", expected);
	testing_down(&t);
}

static void
who_reads_nothing_stops_nobody(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_open(&t, 2, IPC_PROTOCOL_IMAP);
	testing_open(&t, 3, IPC_PROTOCOL_IMAP);
	char *message = malloc(12001);
	assert_non_null(message);
	memset(message, 'x', 12000);
	message[12000] = '\0';
	memcpy(message, "Subject: long\r\n\r\nmarmalade ", 27);
	for (unsigned i = 0; i < MANY; i++) {
		testing_append(&t, 0, "INBOX", message, "OK");
	}
	free(message);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	testing_type(&t, 1, "SELECT INBOX", "OK");
	testing_type(&t, 2, "SELECT INBOX", "OK");
	testing_type(&t, 3, "SELECT INBOX", "OK");
	testing_type(&t, 3, "NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))", "OK");
	/* Three that take nothing: in bodies that they marked as read, in a search's results, and in what they are notified of. */
	t.conns[0].greedy = t.conns[3].greedy = true;
	testing_forget(&t, 0);
	testing_send(&t, 0, BYTES_LIT("f FETCH 1:* BODY[]\r\ns SEARCH BODY marmalade\r\ne EXPUNGE\r\n"));
	for (unsigned i = 0; i < 300; i++) {
		testing_turns(&t, 1);
	}
	assert_int_equal(t.conns[0].output.len - t.conns[0].seen, CONN_WINDOW);
	for (unsigned round = 0; round < 3; round++) {
		testing_type(&t, 1, "SEARCH BODY marmalade", "OK");
		testing_type(&t, 1, round % 2 == 0 ? "STORE 1:* +FLAGS ($X)" : "STORE 1:* -FLAGS ($X)", "OK");
		testing_type(&t, 1, "STORE 1 +FLAGS.SILENT (\\Deleted)", "OK");
		testing_type(&t, 1, "EXPUNGE", "OK");
		testing_type(&t, 1, "COPY 1:5 Trash", "OK");
		testing_type(&t, 1, "FETCH 2 BODY[]", "OK");
		testing_append(&t, 1, "INBOX", LATE, "OK");
		testing_type(&t, 2, "UID SEARCH BODY marmalade", "OK");
		testing_type(&t, 2, "SORT (SUBJECT) UTF-8 BODY marmalade", "OK");
	}
	/* It goes on where it was, with what is still there. */
	t.conns[0].greedy = t.conns[3].greedy = false;
	struct msg_conn_credit credit = {.conn = 0,
					 .count = (uint32_t)(t.conns[0].output.len - t.conns[0].seen)};
	assert_int_equal(channel_notice(t.gate, CONN_CREDIT, conn_credit, &credit), ERR_OK);
	t.conns[0].seen = t.conns[0].output.len;
	for (unsigned i = 0; i < 2000 && !testing_told(&t, 0, "\r\ne OK"); i++) {
		testing_turns(&t, 1);
	}
	assert_true(testing_told(&t, 0, "\r\ns OK"));
	assert_true(testing_told(&t, 0, "\r\ne OK"));
	testing_down(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(results_are_told_while_the_search_goes_on_and_the_answer_is_the_same),
	    cmocka_unit_test(progress_is_told_until_results_are),
	    cmocka_unit_test(a_search_that_fails_midway_ends_its_line),
	    cmocka_unit_test(a_search_ends_with_its_connection),
	    cmocka_unit_test(what_is_expunged_meanwhile_is_passed_over),
	    cmocka_unit_test(the_first_ones_alone_are_sought_where_no_more_are_wanted),
	    cmocka_unit_test(who_reads_nothing_stops_nobody),
	};
	return cmocka_run_group_tests(tests, testing_setup, NULL);
}
