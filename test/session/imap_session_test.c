/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/journal.h"
#include "session/beat.h"
#include "session_testing.h"

#define HELLO                                                                                                \
	"From: Bob <bob@example.net>\r\nTo: alice@example.org\r\nSubject: Hello there\r\nMessage-ID: "       \
	"<1@example.net>\r\n"                                                                                \
	"Date: Mon, 02 Feb 2026 03:04:05 +0000\r\n\r\nA body with a word: marmalade.\r\n"

static void
a_new_member_finds_her_mailboxes(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "LIST \"\" *", "OK");
	assert_true(testing_told(&t, 0, "* LIST (\\HasNoChildren) \"/\" INBOX\r\n"));
	assert_true(testing_told(&t, 0, "\\Sent) \"/\" Sent"));
	assert_true(testing_told(&t, 0, "\\Drafts) \"/\" Drafts"));
	testing_type(&t, 0, "SELECT INBOX", "OK [READ-WRITE]");
	assert_true(testing_told(&t, 0, "* 0 EXISTS"));
	testing_type(&t, 0, "LOGOUT", "OK");
	testing_turns(&t, 5);
	assert_true(t.conns[0].closed);
	testing_down(&t);
}

static void
what_is_appended_comes_back_octet_by_octet(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_append(&t, 0, "INBOX (\\Flagged $Label) \"01-Feb-2026 03:04:05 +0130\"", HELLO,
		       "OK [APPENDUID");
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 1 EXISTS"));
	testing_type(&t, 0, "FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])",
		     "OK");
	assert_true(testing_told(&t, 0, HELLO));
	assert_true(testing_told(&t, 0, "\"01-Feb-2026 03:04:05 +0130\""));
	assert_true(testing_told(&t, 0, "FLAGS (\\Flagged $Label)"));
	assert_true(testing_told(&t, 0, "\"Hello there\""));
	testing_type(&t, 0, "FETCH 1 BODY[HEADER.FIELDS (Subject)]", "OK");
	assert_true(testing_told(&t, 0, "Subject: Hello there\r\n\r\n"));
	assert_true(testing_told(&t, 0, "\\Seen"));
	testing_type(&t, 0, "FETCH 1 BODY.PEEK[TEXT]<2.4>", "OK");
	assert_true(testing_told(&t, 0, "BODY[TEXT]<2> {4}\r\nbody)"));
	/* And after the worker has forgotten all. */
	testing_session_down(&t);
	testing_session_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	testing_type(&t, 0, "FETCH 1 BODY.PEEK[]", "OK");
	assert_true(testing_told(&t, 0, HELLO));
	testing_down(&t);
}

static void
what_arrives_is_filed_once_and_told_in_idle(void **state)
{
	struct testing t;
	uint8_t delivery[SEALED_ID_LEN] = {1};
	(void)state;
	testing_up(&t);
	/* Before she ever logged in. */
	testing_arrive(&t, HELLO, delivery);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 1 EXISTS"));
	testing_forget(&t, 0);
	t.conns[0].seen = 0;
	testing_send(&t, 0, BYTES_LIT("i IDLE\r\n"));
	testing_turns(&t, 10);
	assert_true(testing_told(&t, 0, "+ idling"));
	testing_arrive(&t, HELLO, NULL);
	assert_true(testing_told(&t, 0, "* 2 EXISTS"));
	/* The same delivery again is dropped. */
	testing_arrive(&t, HELLO, delivery);
	assert_false(testing_told(&t, 0, "* 3 EXISTS"));
	/* A damaged one costs itself alone. */
	struct store *s = t.store->state;
	assert_int_equal(s->driver->begin(s->storage), ERR_OK);
	testing_arrive_sealed(&t, BYTES_LIT("this is no sealed arrival"), NULL);
	assert_int_equal(s->driver->commit(s->storage), ERR_OK);
	testing_arrive(&t, HELLO, NULL);
	assert_true(testing_told(&t, 0, "* 3 EXISTS"));
	testing_send(&t, 0, BYTES_LIT("DONE\r\n"));
	testing_turns(&t, 10);
	assert_true(testing_told(&t, 0, "i OK"));
	testing_down(&t);
}

/* ---- the beat ---- */

/* The clock strikes for each connection. */
static void
strike(struct testing *t)
{
	struct worker *w = t->session->state;
	for (uint32_t i = 0; i < TESTING_CONNS; i++) {
		struct conn *c = conn_find(w, 0, i);
		if (c != NULL) {
			conn_beat(c);
		}
	}
	testing_turns(t, 5);
}

static void
idle(struct testing *t, uint32_t conn)
{
	testing_type(t, conn, "SELECT INBOX", "OK");
	testing_send(t, conn, BYTES_LIT("i IDLE\r\n"));
	testing_turns(t, 10);
	assert_true(testing_told(t, conn, "+ idling\r\n"));
	testing_forget(t, conn);
}

static void
with_the_clock_news_waits_for_the_beat(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	t.session->config.arrive.kind = LAW_CROWD;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_open(&t, 2, IPC_PROTOCOL_SUBMISSION);
	testing_type(&t, 1, "SELECT INBOX", "OK");
	idle(&t, 0);
	unsigned quiet = t.conns[1].flushes + t.conns[2].flushes;
	strike(&t);
	assert_int_equal(t.conns[0].beats, 1);
	assert_string_equal(testing_output(&t, 0), "* OK Still here\r\n");
	testing_forget(&t, 0);
	testing_arrive(&t, HELLO, NULL);
	testing_turns(&t, 20);
	assert_string_equal(testing_output(&t, 0), "");
	/* It is filed, though: who asks is told. */
	testing_type(&t, 1, "STATUS INBOX (MESSAGES)", "OK");
	assert_true(testing_told(&t, 1, "MESSAGES 1)"));
	assert_string_equal(testing_output(&t, 0), "");
	unsigned flushes = t.conns[0].flushes;
	strike(&t);
	assert_string_equal(testing_output(&t, 0), "* 1 EXISTS\r\n* 0 RECENT\r\n");
	assert_int_equal(t.conns[0].beats, 2);
	assert_int_equal(t.conns[0].flushes, flushes + 1);
	testing_forget(&t, 0);
	/* Told once. Who is not in IDLE hears nothing of the clock. */
	strike(&t);
	assert_string_equal(testing_output(&t, 0), "* OK Still here\r\n");
	assert_int_equal(t.conns[1].beats + t.conns[2].beats, 0);
	assert_int_equal(t.conns[1].flushes + t.conns[2].flushes, quiet + 1);
	/* Her own command ends the wait. */
	testing_arrive(&t, HELLO, NULL);
	testing_forget(&t, 0);
	testing_send(&t, 0, BYTES_LIT("DONE\r\n"));
	testing_turns(&t, 10);
	assert_string_equal(testing_output(&t, 0), "* 2 EXISTS\r\n* 0 RECENT\r\ni OK Done\r\n");
	strike(&t);
	assert_int_equal(t.conns[0].beats, 3);
	testing_down(&t);
}

static void
what_her_own_clients_do_is_told_at_once_and_news_is_not(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	t.session->config.arrive.kind = LAW_CROWD;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_append(&t, 1, "INBOX", HELLO, "OK");
	testing_append(&t, 1, "INBOX", HELLO, "OK");
	testing_type(&t, 1, "SELECT INBOX", "OK");
	idle(&t, 0);
	testing_arrive(&t, HELLO, NULL);
	testing_type(&t, 1, "STORE 2 +FLAGS.SILENT (\\Deleted)", "OK");
	testing_turns(&t, 5);
	assert_string_equal(testing_output(&t, 0), "* 2 FETCH (UID 2 FLAGS (\\Deleted))\r\n");
	testing_forget(&t, 0);
	testing_type(&t, 1, "EXPUNGE", "OK");
	testing_turns(&t, 5);
	assert_string_equal(testing_output(&t, 0), "* 2 EXPUNGE\r\n");
	testing_forget(&t, 0);
	strike(&t);
	assert_string_equal(testing_output(&t, 0), "* 2 EXISTS\r\n* 0 RECENT\r\n");
	testing_forget(&t, 0);
	/* Behind what arrived she puts something: its number tells of both. */
	testing_arrive(&t, HELLO, NULL);
	testing_append(&t, 1, "INBOX", HELLO, "OK");
	testing_turns(&t, 5);
	assert_string_equal(testing_output(&t, 0), "* 4 EXISTS\r\n* 0 RECENT\r\n");
	testing_forget(&t, 0);
	strike(&t);
	assert_string_equal(testing_output(&t, 0), "* OK Still here\r\n");
	testing_down(&t);
}

static enum err
build_forgetting(void *arg, struct member *m, struct member_change *c)
{
	const uint32_t *last = arg;
	static struct uid_range range;
	range = (struct uid_range){.first = 1, .last = *last};
	struct operation op = {.kind = OPERATION_EXPUNGE,
			       .expunge = {.mailbox = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"))->id,
					   .uids = {.ranges = &range, .count = 1}}};
	return operations_add(c->record, &op);
}

static struct member *forgetful;

static void
forget_task(void *arg)
{
	assert_int_equal(member_append(forgetful, NULL, build_forgetting, arg, NULL), ERR_OK);
}

static void
news_beyond_one_record_goes_on_with_the_next_beat(void **state)
{
	enum { MESSAGES = 60 };
	struct testing t;
	uint32_t last = MESSAGES;
	(void)state;
	testing_up(&t);
	t.session->config.arrive.kind = LAW_CROWD;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	for (unsigned i = 0; i < MESSAGES; i++) {
		testing_append(&t, 0, "INBOX", HELLO, "OK");
	}
	idle(&t, 0);
	/* The house itself forgets, as it does with old lines of the journal; and something comes. */
	forgetful = conn_find(t.session->state, 0, 0)->member;
	assert_int_equal(role_spawn(t.session, forget_task, &last), ERR_OK);
	testing_turns(&t, 20);
	testing_arrive(&t, HELLO, NULL);
	assert_string_equal(testing_output(&t, 0), "");
	unsigned expunged = 0;
	unsigned beats = 0;
	uint32_t count = MESSAGES;
	while (expunged < MESSAGES && beats < 10) {
		char line[40];
		strike(&t);
		beats++;
		while (expunged < MESSAGES) {
			(void)snprintf(line, sizeof(line), "* %u EXPUNGE\r\n", MESSAGES - expunged);
			if (!testing_told(&t, 0, line)) {
				break;
			}
			expunged++;
			count--;
		}
		if (beats == 1) {
			/* What the client still counts, and one more. */
			(void)snprintf(line, sizeof(line), "* %u EXISTS\r\n", count + 1);
			assert_true(testing_told(&t, 0, line));
		}
		testing_forget(&t, 0);
	}
	assert_int_equal(expunged, MESSAGES);
	assert_int_equal(t.conns[0].beats, beats);
	assert_true(beats > 1 && beats < 5);
	strike(&t);
	assert_string_equal(testing_output(&t, 0), "* OK Still here\r\n");
	testing_send(&t, 0, BYTES_LIT("DONE\r\n"));
	testing_turns(&t, 10);
	testing_type(&t, 0, "FETCH 1 UID", "OK");
	assert_true(testing_told(&t, 0, "(UID 61)"));
	testing_down(&t);
}

static void
who_takes_nothing_is_not_waited_for(void **state)
{
	enum { BEATS = 20000 };
	struct testing t;
	(void)state;
	testing_up(&t);
	t.session->config.arrive.kind = LAW_CROWD;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	idle(&t, 0);
	t.conns[0].greedy = true;
	for (unsigned i = 0; i < BEATS; i += 100) {
		for (unsigned k = 0; k < 100; k++) {
			conn_beat(conn_find(t.session->state, 0, 0));
		}
		testing_turns(&t, 1);
	}
	testing_turns(&t, 20);
	assert_false(t.conns[0].closed);
	assert_true(t.conns[0].beats > CONN_WINDOW / 20 && t.conns[0].beats < BEATS);
	testing_down(&t);
}

static void
the_beat_comes_a_constant_while_after_each_tick(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	t.session->config.arrive.kind = LAW_CROWD;
	t.session->config.arrive.clock = 500;
	assert_int_equal(beat_after(500), 50);
	assert_int_equal(beat_after(2 * MSEC_MINUTE), 2 * MSEC_SECOND);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	idle(&t, 0);
	assert_int_equal(beat_start(t.session->state), ERR_OK);
	msec until = law_grid_after(500, clock_wall()) + 2100;
	unsigned beats = 0;
	while (clock_wall() < until) {
		testing_turns(&t, 1);
		if (t.conns[0].beats > beats) {
			msec late = clock_wall() - 50 - law_grid_at(500, clock_wall() - 50);
			/* Not before; how much after is up to a busy machine. */
			assert_in_range(late, 0, 400);
			assert_int_equal(t.conns[0].beats, beats + 1);
			beats++;
		}
	}
	assert_in_range(beats, 3, 6);
	testing_down(&t);
}

static void
her_copy_goes_to_sent_and_nobody_elses(void **state)
{
	struct testing t;
	uint8_t delivery[SEALED_ID_LEN] = {1};
	uint8_t key[OPERATION_KEY_LEN] = {2};
	struct buf mark = BUF_INIT(256);
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "NOOP", "OK");
	const struct member *m = conn_find(t.session->state, 0, 0)->member;
	/* Of a type that this version does not know, before it. */
	assert_int_equal(buf_append(&mark, bytes_of("\x77\x77\0\0\0\1x", 7)), ERR_OK);
	const struct operation renamed = {
	    .kind = OPERATION_RENAMED,
	    .renamed = {.key = {4}, .token = {5}, .original = BYTES_LIT("<x@pc.lan>")}};
	assert_int_equal(member_sent_mark(m, delivery, key, &renamed, &mark), ERR_OK);
	t.extra = buf_bytes(&mark);
	testing_arrive(&t, HELLO, delivery);
	testing_type(&t, 0, "STATUS Sent (MESSAGES UNSEEN)", "OK");
	assert_true(testing_told(&t, 0, "* STATUS Sent (MESSAGES 1 UNSEEN 0)"));
	uint32_t mailbox = 0;
	uint32_t uid = 0;
	assert_int_equal(fold_sent_copy(m->fold, key, &mailbox, &uid), ERR_OK);
	assert_int_equal(uid, 1);
	uint8_t token[OPERATION_TOKEN_LEN] = {0};
	assert_int_equal(fold_renamed(m->fold, renamed.renamed.key, token), ERR_OK);
	assert_memory_equal(token, renamed.renamed.token, sizeof(token));
	/* The same again is there once; with the mark of another delivery it is a stranger's. */
	testing_arrive(&t, HELLO, delivery);
	testing_arrive(&t, HELLO, NULL);
	mark.ptr[mark.len - 1] ^= 1;
	delivery[0] = 3;
	testing_arrive(&t, HELLO, delivery);
	testing_type(&t, 0, "STATUS Sent (MESSAGES UIDNEXT)", "OK");
	assert_true(testing_told(&t, 0, "* STATUS Sent (MESSAGES 1 UIDNEXT 2)"));
	testing_type(&t, 0, "STATUS INBOX (MESSAGES)", "OK");
	assert_true(testing_told(&t, 0, "* STATUS INBOX (MESSAGES 2)"));
	testing_type(&t, 0, "SELECT Sent", "OK");
	testing_type(&t, 0, "FETCH 1 BODY.PEEK[]", "OK");
	assert_true(testing_told(&t, 0, HELLO));
	buf_clear(&mark);
	testing_down(&t);
}

static void
two_clients_see_each_others_changes(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	for (int i = 0; i < 4; i++) {
		testing_append(&t, 0, "INBOX", HELLO, "OK");
	}
	testing_type(&t, 0, "SELECT INBOX", "OK");
	testing_type(&t, 1, "SELECT INBOX", "OK");
	testing_type(&t, 0, "STORE 2 +FLAGS (\\Deleted)", "OK");
	assert_true(testing_told(&t, 0, "* 2 FETCH (FLAGS (\\Deleted))"));
	testing_type(&t, 1, "NOOP", "OK");
	assert_true(testing_told(&t, 1, "* 2 FETCH (UID 2 FLAGS (\\Deleted))"));
	testing_type(&t, 0, "EXPUNGE", "OK");
	assert_true(testing_told(&t, 0, "* 2 EXPUNGE"));
	/* Numbers stand still while a FETCH is answered. */
	testing_type(&t, 1, "FETCH 1:* UID", "OK");
	assert_true(testing_told(&t, 1, "* 4 FETCH (UID 4)"));
	assert_false(testing_told(&t, 1, "EXPUNGE\r\n"));
	testing_type(&t, 1, "NOOP", "OK");
	assert_true(testing_told(&t, 1, "* 2 EXPUNGE"));
	testing_type(&t, 1, "FETCH 1:* UID", "OK");
	assert_true(testing_told(&t, 1, "* 3 FETCH (UID 4)"));
	testing_down(&t);
}

static void
copies_moves_and_searches(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	for (int i = 0; i < 3; i++) {
		testing_append(&t, 0, "INBOX", HELLO, "OK");
	}
	testing_type(&t, 0, "SELECT INBOX", "OK");
	testing_type(&t, 0, "COPY 1:2 Nowhere", "NO [TRYCREATE]");
	testing_type(&t, 0, "CREATE Work/2026", "OK");
	testing_type(&t, 0, "CREATE Work/2026", "NO [ALREADYEXISTS]");
	testing_type(&t, 0, "COPY 1:2 Work/2026", "OK [COPYUID");
	testing_type(&t, 0, "UID MOVE 3 Work/2026", "OK");
	assert_true(testing_told(&t, 0, "* OK [COPYUID"));
	assert_true(testing_told(&t, 0, "* 3 EXPUNGE"));
	testing_type(&t, 0, "STATUS Work/2026 (MESSAGES UIDNEXT)", "OK");
	assert_true(testing_told(&t, 0, "(MESSAGES 3 UIDNEXT 4)"));
	testing_type(&t, 0, "SEARCH BODY marmalade", "OK");
	assert_true(testing_told(&t, 0, "* SEARCH 1 2\r\n"));
	testing_type(&t, 0, "SEARCH SUBJECT \"hello\" UNSEEN", "OK");
	assert_true(testing_told(&t, 0, "* SEARCH 1 2\r\n"));
	testing_type(&t, 0, "SEARCH HEADER Message-ID nowhere", "OK");
	assert_true(testing_told(&t, 0, "* SEARCH\r\n"));
	testing_type(&t, 0, "RENAME Work Job", "OK");
	testing_type(&t, 0, "RENAME Job/2026 Work/2026", "OK");
	testing_type(&t, 0, "RENAME Work/2026 Job", "OK");
	testing_type(&t, 0, "RENAME INBOX Old", "OK");
	testing_type(&t, 0, "STATUS Old (MESSAGES)", "OK");
	assert_true(testing_told(&t, 0, "(MESSAGES 2)"));
	testing_type(&t, 0, "DELETE Job", "OK");
	testing_type(&t, 0, "DELETE INBOX", "NO");
	testing_type(&t, 0, "FETCH 1 FLAGS", "BAD");
	testing_down(&t);
}

static void
blobs_and_quota_go_with_the_last_reference(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	t.quota = 100000;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_append(&t, 0, "INBOX", HELLO, "OK");
	struct store *s = t.store->state;
	struct storage_head head;
	assert_int_equal(s->driver->log_head(s->storage, t.account, &head), ERR_OK);
	assert_true(head.used > 0);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	testing_type(&t, 0, "COPY 1 Archive", "OK");
	testing_type(&t, 0, "STORE 1 +FLAGS.SILENT \\Deleted", "OK");
	testing_type(&t, 0, "EXPUNGE", "OK");
	assert_int_equal(s->driver->log_head(s->storage, t.account, &head), ERR_OK);
	assert_true(head.used > 0);
	testing_type(&t, 0, "SELECT Archive", "OK");
	testing_type(&t, 0, "FETCH 1 BODY.PEEK[]", "OK");
	assert_true(testing_told(&t, 0, "marmalade"));
	testing_type(&t, 0, "STORE 1 +FLAGS.SILENT \\Deleted", "OK");
	testing_type(&t, 0, "CLOSE", "OK");
	assert_int_equal(s->driver->log_head(s->storage, t.account, &head), ERR_OK);
	assert_int_equal(head.used, 0);
	t.quota = 10;
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_append(&t, 1, "INBOX", HELLO, "NO [OVERQUOTA]");
	testing_down(&t);
}

static void
an_idle_connection_holds_no_stack_and_no_buffer(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_append(&t, 0, "INBOX", HELLO, "OK");
	testing_type(&t, 0, "SELECT INBOX", "OK");
	testing_send(&t, 0, BYTES_LIT("i IDLE\r\n"));
	testing_turns(&t, 10);
	assert_int_equal(task_count(t.loop), 0);
	struct worker *w = t.session->state;
	struct conn *c = conn_find(w, 0, 0);
	assert_non_null(c);
	assert_null(c->input.ptr);
	assert_null(c->task);
	testing_down(&t);
}

/* Feeds this again and again, well within the time for silence, for longer than that time. True: the connection was ended. */
static bool
trickles(struct testing *t, uint32_t conn, const char *what)
{
	msec until = loop_now(t->loop) + 3 * t->session->config.imap_idle;
	while (loop_now(t->loop) < until && !t->conns[conn].closed) {
		msec next = loop_now(t->loop) + t->session->config.imap_idle / 4;
		testing_send(t, conn, bytes_str(what));
		while (loop_now(t->loop) < next) {
			testing_turns(t, 1);
		}
	}
	return t->conns[conn].closed;
}

static void
a_command_that_trickles_is_cut_off_and_one_that_is_whole_is_not(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	t.session->config.imap_idle = 400;
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	assert_false(trickles(&t, 0, "n NOOP\r\n"));
	testing_send(&t, 0, BYTES_LIT("i IDLE\r\nDONE\r\nt "));
	assert_true(trickles(&t, 0, "x"));
	assert_true(testing_told(&t, 0, "* BYE Too slow"));
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_send(&t, 1, BYTES_LIT("a APPEND INBOX {100000+}\r\n"));
	assert_true(trickles(&t, 1, "msg"));
	assert_true(testing_told(&t, 1, "* BYE Too slow"));
	/* At its pace a message may take long. */
	static const char line[] = "0123456789012345678901234567890123456789012345678901234567890";
	testing_open(&t, 2, IPC_PROTOCOL_IMAP);
	testing_send(&t, 2, BYTES_LIT("a APPEND INBOX {100000+}\r\n"));
	assert_false(trickles(&t, 2, line));
	testing_down(&t);
}

static void
pipelined_commands_are_answered_in_order_under_a_slow_client(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_append(&t, 0, "INBOX", HELLO, "OK");
	testing_forget(&t, 0);
	t.conns[0].seen = 0;
	t.conns[0].greedy = true;
	struct buf many = BUF_INIT(1 << 20);
	assert_int_equal(buf_append_str(&many, "a SELECT INBOX\r\n"), ERR_OK);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(buf_printf(&many, "b%d FETCH 1 BODY.PEEK[]\r\n", i), ERR_OK);
	}
	testing_send(&t, 0, buf_bytes(&many));
	for (int i = 0; i < 20000 && t.conns[0].output.len < CONN_WINDOW; i++) {
		testing_turns(&t, 1);
	}
	testing_turns(&t, 100);
	/* It got one window, and waits; another connection of hers is served meanwhile. */
	assert_int_equal(t.conns[0].output.len, CONN_WINDOW);
	testing_open(&t, 1, IPC_PROTOCOL_IMAP);
	testing_type(&t, 1, "NOOP", "OK");
	t.conns[0].greedy = false;
	struct msg_conn_credit credit = {.conn = 0, .count = CONN_WINDOW};
	t.conns[0].seen = t.conns[0].output.len;
	assert_int_equal(channel_notice(t.gate, CONN_CREDIT, conn_credit, &credit), ERR_OK);
	for (int i = 0; i < 40000 && !testing_told(&t, 0, "\r\nb2999 OK"); i++) {
		testing_turns(&t, 1);
	}
	struct bytes out = buf_bytes(&t.conns[0].output);
	size_t at = 0;
	for (int i = 0; i < 3000; i++) {
		char tag[32];
		(void)snprintf(tag, sizeof(tag), "\r\nb%d OK", i);
		ptrdiff_t found = bytes_search(bytes_from(out, at), bytes_str(tag));
		assert_true(found >= 0);
		at += (size_t)found;
	}
	buf_clear(&many);
	testing_down(&t);
}

static void
the_gate_hears_where_each_response_ends_and_what_is_pipelined_is_one(void **state)
{
	struct testing t;
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	testing_turns(&t, 3);
	assert_false(t.conns[0].unended);
	unsigned before = t.conns[0].flushes;
	testing_send(&t, 0, BYTES_LIT("x1 NOOP\r\nx2 NOOP\r\nx3 NOOP\r\n"));
	testing_turns(&t, 10);
	assert_true(testing_told(&t, 0, "x3 OK"));
	assert_int_equal(t.conns[0].flushes, before + 1);
	/* A continuation that the client waits for ends one, too. */
	testing_send(&t, 0, BYTES_LIT("x4 APPEND INBOX {300}\r\n"));
	testing_turns(&t, 10);
	assert_true(testing_told(&t, 0, "+ "));
	assert_int_equal(t.conns[0].flushes, before + 2);
	assert_false(t.conns[0].unended);
	testing_down(&t);
}

/* Text of this many octets that hardly compresses, with a head that says which one it is. */
static char *
letter_of(unsigned number, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc(size + 200);
	assert_non_null(text);
	int n = snprintf(text, 200, "Subject: number %u\r\n\r\n", number);
	assert_true(n > 0);
	size_t at = (size_t)n;
	uint8_t random[64];
	for (size_t i = 0; i < size; i++) {
		if (i % 64 == 0) {
			crypto_random_bytes(random, sizeof(random));
		}
		text[at++] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : digits[random[i % 64] & 63];
	}
	text[at] = '\0';
	return text;
}

/* Those of one chunk are asked for together, up to what an answer holds; larger ones alone. */
static void
bodies_of_all_sizes_come_in_order_and_a_lost_one_alone_is_missing(void **state)
{
	enum { COUNT = 70, LOST = 30 };
	static char *letters[COUNT];
	struct testing t;
	uint8_t lost[SEALED_ID_LEN];
	(void)state;
	testing_up(&t);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	for (unsigned i = 0; i < COUNT; i++) {
		/* The first answer cannot hold sixteen of these. */
		letters[i] = letter_of(i, i < 20 ? 40000 : i % 9 == 0 ? 200000 : i % 10 == 0 ? 0 : 2000);
		testing_arrive(&t, letters[i], NULL);
		if (i == LOST) {
			memcpy(lost, t.last_blob, sizeof(lost));
		}
	}
	struct store *store = t.store->state;
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 70 EXISTS"));
	for (unsigned round = 0; round < 2; round++) {
		testing_type(&t, 0, "FETCH 1:* BODY.PEEK[]", round == 0 ? "OK" : "NO [CORRUPTION]");
		struct bytes out = buf_bytes(&t.conns[0].output);
		for (unsigned i = 0; i < COUNT; i++) {
			char head[64];
			if (round == 1 && i == LOST) {
				continue;
			}
			int n = snprintf(head, sizeof(head), "* %u FETCH (BODY[] {%zu}\r\n", i + 1,
					 strlen(letters[i]));
			assert_true(n > 0);
			assert_true(bytes_starts_with(out, head));
			out = bytes_from(out, (size_t)n);
			assert_true(bytes_starts_with(out, letters[i]));
			out = bytes_from(out, strlen(letters[i]));
			assert_true(bytes_starts_with(out, ")\r\n"));
			out = bytes_from(out, 3);
		}
		assert_true(bytes_starts_with(out, round == 0 ? "t2 OK" : "t3 NO"));
		if (round == 0) {
			assert_int_equal(store->driver->begin(store->storage), ERR_OK);
			assert_int_equal(store->driver->blob_delete(store->storage, lost), ERR_OK);
			assert_int_equal(store->driver->commit(store->storage), ERR_OK);
		}
	}
	for (unsigned i = 0; i < COUNT; i++) {
		free(letters[i]);
	}
	testing_down(&t);
}

static void
arrive_line(struct testing *t, enum journal_event event, uint64_t time, const uint8_t delivery[SEALED_ID_LEN])
{
	struct store *s = t->store->state;
	struct buf body = BUF_INIT(ARRIVAL_SEALED_MAX);
	const struct member_key *key = member_keys_newest(&t->keys);
	const struct journal_line line = {.event = event,
					  .unit = {7},
					  .time = time,
					  .wait = JOURNAL_WAIT_CROWD,
					  .crowd = 4,
					  .domain = BYTES_LIT("example.net")};
	assert_int_equal(journal_seal(t->account, key->generation, key->public_key, delivery, &line, &body),
			 ERR_OK);
	assert_int_equal(s->driver->begin(s->storage), ERR_OK);
	testing_arrive_sealed(t, buf_bytes(&body), NULL);
	assert_int_equal(s->driver->commit(s->storage), ERR_OK);
	defer_start(t->loop, &s->turn_end);
	testing_turns(t, 20);
	buf_clear(&body);
}

static void
lines_of_the_journal_are_filed_once_apart_from_mail_and_forgotten_after_thirty_days(void **state)
{
	struct testing t;
	const uint64_t now = (uint64_t)(clock_wall() / MSEC_SECOND);
	const uint64_t day = 24 * 3600;
	const uint8_t first[SEALED_ID_LEN] = {1};
	const uint8_t second[SEALED_ID_LEN] = {2};
	const uint8_t third[SEALED_ID_LEN] = {3};
	(void)state;
	testing_up(&t);
	arrive_line(&t, JOURNAL_LEFT, now - 31 * day, first);
	arrive_line(&t, JOURNAL_DELIVERED, now - 29 * day, second);
	arrive_line(&t, JOURNAL_FAILED, now, third);
	arrive_line(&t, JOURNAL_FAILED, now, third);
	testing_open(&t, 0, IPC_PROTOCOL_IMAP);
	testing_type(&t, 0, "SELECT INBOX", "OK");
	assert_true(testing_told(&t, 0, "* 0 EXISTS"));
	testing_type(&t, 0, "LIST \"\" *", "OK");
	assert_false(testing_told(&t, 0, "Journal"));
	testing_type(&t, 0, "SELECT Journal", "OK");
	/* The old one has gone as soon as it was there. */
	assert_true(testing_told(&t, 0, "* 2 EXISTS"));
	testing_type(&t, 0, "FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "OK");
	assert_true(testing_told(&t, 0, "Subject: Delivered to example.net"));
	assert_true(testing_told(&t, 0, "Subject: Refused by example.net"));
	assert_false(testing_told(&t, 0, "Left in a crowd"));
	testing_down(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_new_member_finds_her_mailboxes),
	    cmocka_unit_test(what_is_appended_comes_back_octet_by_octet),
	    cmocka_unit_test(
		lines_of_the_journal_are_filed_once_apart_from_mail_and_forgotten_after_thirty_days),
	    cmocka_unit_test(what_arrives_is_filed_once_and_told_in_idle),
	    cmocka_unit_test(with_the_clock_news_waits_for_the_beat),
	    cmocka_unit_test(what_her_own_clients_do_is_told_at_once_and_news_is_not),
	    cmocka_unit_test(news_beyond_one_record_goes_on_with_the_next_beat),
	    cmocka_unit_test(who_takes_nothing_is_not_waited_for),
	    cmocka_unit_test(the_beat_comes_a_constant_while_after_each_tick),
	    cmocka_unit_test(her_copy_goes_to_sent_and_nobody_elses),
	    cmocka_unit_test(two_clients_see_each_others_changes),
	    cmocka_unit_test(copies_moves_and_searches),
	    cmocka_unit_test(blobs_and_quota_go_with_the_last_reference),
	    cmocka_unit_test(an_idle_connection_holds_no_stack_and_no_buffer),
	    cmocka_unit_test(the_gate_hears_where_each_response_ends_and_what_is_pipelined_is_one),
	    cmocka_unit_test(a_command_that_trickles_is_cut_off_and_one_that_is_whole_is_not),
	    cmocka_unit_test(pipelined_commands_are_answered_in_order_under_a_slow_client),
	    cmocka_unit_test(bodies_of_all_sizes_come_in_order_and_a_lost_one_alone_is_missing),
	};
	return cmocka_run_group_tests(tests, testing_setup, NULL);
}
