/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/calendar.h"
#include "protocol/imap_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARENA_MAX = 1 << 20 };

static struct arena arena;

static int
start(void **state)
{
	(void)state;
	arena_init(&arena, ARENA_MAX);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	arena_clear(&arena);
	return 0;
}

static struct imap_command
parse(const char *text)
{
	struct imap_command c = {.tag = BYTES_EMPTY};
	const char *why = NULL;
	if (imap_command_parse(&arena, bytes_str(text), false, &c, &why) != ERR_OK) {
		fail_msg("%s: %s", text, why);
	}
	return c;
}

static void
refuse(const char *text, enum err error)
{
	struct imap_command c;
	const char *why = NULL;
	enum err e = imap_command_parse(&arena, bytes_str(text), false, &c, &why);
	if (e != error) {
		fail_msg("%s: %s", text, err_text(e));
	}
	assert_non_null(why);
}

static void
each_verb_is_known_in_its_states(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum imap_verb verb;
		unsigned states;
	} rows[] = {
	    {"a CAPABILITY", IMAP_CAPABILITY, IMAP_ANY_STATE},
	    {"a noop ", IMAP_NOOP, IMAP_ANY_STATE},
	    {"a LOGOUT", IMAP_LOGOUT, IMAP_ANY_STATE},
	    {"a ID NIL", IMAP_ID, IMAP_ANY_STATE},
	    {"a STARTTLS", IMAP_STARTTLS, IMAP_NOT_AUTHENTICATED},
	    {"a AUTHENTICATE PLAIN", IMAP_AUTHENTICATE, IMAP_NOT_AUTHENTICATED},
	    {"a LOGIN b c", IMAP_LOGIN, IMAP_NOT_AUTHENTICATED},
	    {"a ENABLE CONDSTORE", IMAP_ENABLE, IMAP_LOGGED_IN},
	    {"a SELECT INBOX", IMAP_SELECT, IMAP_LOGGED_IN},
	    {"a EXAMINE INBOX", IMAP_EXAMINE, IMAP_LOGGED_IN},
	    {"a CREATE x/", IMAP_CREATE, IMAP_LOGGED_IN},
	    {"a DELETE x", IMAP_DELETE, IMAP_LOGGED_IN},
	    {"a RENAME x y", IMAP_RENAME, IMAP_LOGGED_IN},
	    {"a SUBSCRIBE x", IMAP_SUBSCRIBE, IMAP_LOGGED_IN},
	    {"a UNSUBSCRIBE x", IMAP_UNSUBSCRIBE, IMAP_LOGGED_IN},
	    {"a LIST \"\" *", IMAP_LIST, IMAP_LOGGED_IN},
	    {"a GETMETADATA \"\" /private/x", IMAP_GETMETADATA, IMAP_LOGGED_IN},
	    {"a SETMETADATA x (/private/y NIL)", IMAP_SETMETADATA, IMAP_LOGGED_IN},
	    {"a SETQUOTA \"\" (STORAGE 512)", IMAP_SETQUOTA, IMAP_LOGGED_IN},
	    {"a LSUB \"\" %", IMAP_LSUB, IMAP_LOGGED_IN},
	    {"a STATUS x (MESSAGES)", IMAP_STATUS, IMAP_LOGGED_IN},
	    {"a APPEND x {3}", IMAP_APPEND, IMAP_LOGGED_IN},
	    {"a REPLACE * x ~{3+}", IMAP_REPLACE, IMAP_SELECTED},
	    {"a NAMESPACE", IMAP_NAMESPACE, IMAP_LOGGED_IN},
	    {"a GETQUOTA \"\"", IMAP_GETQUOTA, IMAP_LOGGED_IN},
	    {"a GETQUOTAROOT INBOX", IMAP_GETQUOTAROOT, IMAP_LOGGED_IN},
	    {"a IDLE", IMAP_IDLE, IMAP_LOGGED_IN},
	    {"a CHECK", IMAP_CHECK, IMAP_SELECTED},
	    {"a CLOSE", IMAP_CLOSE, IMAP_SELECTED},
	    {"a UNSELECT", IMAP_UNSELECT, IMAP_SELECTED},
	    {"a EXPUNGE", IMAP_EXPUNGE, IMAP_SELECTED},
	    {"a SEARCH ALL", IMAP_SEARCH, IMAP_SELECTED},
	    {"a SORT (DATE) UTF-8 ALL", IMAP_SORT, IMAP_SELECTED},
	    {"a THREAD REFERENCES UTF-8 ALL", IMAP_THREAD, IMAP_SELECTED},
	    {"a FETCH 1 FLAGS", IMAP_FETCH, IMAP_SELECTED},
	    {"a STORE 1 FLAGS ()", IMAP_STORE, IMAP_SELECTED},
	    {"a COPY 1 x", IMAP_COPY, IMAP_SELECTED},
	    {"a MOVE 1 x", IMAP_MOVE, IMAP_SELECTED},
	    {"a NOTIFY NONE", IMAP_NOTIFY, IMAP_LOGGED_IN},
	};
	assert_int_equal(sizeof(rows) / sizeof(rows[0]), IMAP_VERB__COUNT);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_command c = parse(rows[i].text);
		assert_int_equal(c.verb, rows[i].verb);
		assert_int_equal(imap_verb_states(c.verb), rows[i].states);
		assert_true(bytes_is(c.tag, "a"));
		assert_false(c.uid);
	}
}

static void
strings_come_in_three_forms(void **state)
{
	(void)state;
	struct imap_command c = parse("a LOGIN \"al\\\"i\\\\ce\" {6+}\r\nse\r\nct");
	assert_true(bytes_is(c.login.name, "al\"i\\ce"));
	assert_true(bytes_is(c.login.password, "se\r\nct"));
	c = parse("a LOGIN a]b \"\"");
	assert_true(bytes_is(c.login.name, "a]b"));
	assert_int_equal(c.login.password.len, 0);
	c = parse("a ID (\"name\" \"x\" \"version\" NIL)");
	assert_int_equal(c.id.count, 4);
	assert_null(c.id.pairs[3].ptr);
	c = parse("a AUTHENTICATE PLAIN =");
	assert_true(c.authenticate.has_initial);
	assert_int_equal(c.authenticate.initial.len, 0);
	c = parse("a AUTHENTICATE PLAIN AGE=");
	assert_true(bytes_is(c.authenticate.initial, "AGE="));
}

static void
what_breaks_the_grammar_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"a LOGIN b",
					    "a LOGIN b c d",
					    "a  NOOP",
					    "a",
					    "",
					    "+ NOOP",
					    "a LOGIN \"b c",
					    "a LOGIN \"\\b\" c",
					    "a LOGIN {3}\r\nab",
					    "a LOGIN {3} c",
					    "a LOGIN (b) c",
					    "a SELECT x (QRESYNC)",
					    "a STATUS x ()",
					    "a STATUS x (FOO)",
					    "a STATUS x (MESSAGES",
					    "a FETCH 0 FLAGS",
					    "a FETCH 1 FOO",
					    "a FETCH 1 ()",
					    "a FETCH 1 (FLAGS",
					    "a FETCH 1 BODY[0]",
					    "a FETCH 1 BODY[MIME]",
					    "a FETCH 1 BODY[1.]",
					    "a FETCH 1 BODY[HEADER.FIELDS]",
					    "a FETCH 1 BODY[HEADER.FIELDS ()]",
					    "a FETCH 1 BODY[]<0.0>",
					    "a FETCH 1 BODY[]<0>",
					    "a FETCH 1 BODY[TEXT",
					    "a FETCH 1 (ALL)",
					    "a FETCH 1 BODY.PEEK",
					    "a STORE 1 FLAGS \\Foo",
					    "a STORE 1 FLAGS",
					    "a STORE 1 FLAG (\\Seen)",
					    "a SEARCH",
					    "a SEARCH FOO",
					    "a SEARCH OR SEEN",
					    "a SEARCH (SEEN",
					    "a SEARCH ()",
					    "a SEARCH ON 30-Feb-2024",
					    "a SEARCH ON 1-Foo-2024",
					    "a SEARCH LARGER x",
					    "a SEARCH NOT",
					    "a SEARCH RETURN (ALL PARTIAL 1:2) ALL",
					    "a SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL",
					    "a SEARCH RETURN (PARTIAL 0:2) ALL",
					    "a SEARCH RETURN (PARTIAL -1:2) ALL",
					    "a SEARCH 1,$",
					    "a SEARCH $,1",
					    "a SORT () UTF-8 ALL",
					    "a SORT (REVERSE) UTF-8 ALL",
					    "a SORT (DATE REVERSE REVERSE DATE) UTF-8 ALL",
					    "a SORT DATE UTF-8 ALL",
					    "a SORT (DATE) ALL",
					    "a SORT (COLOUR) UTF-8 ALL",
					    "a THREAD UTF-8 ALL",
					    "a THREAD REFS UTF-8 ALL",
					    "a THREAD REFERENCES ALL",
					    "a SEARCH YOUNGER 0",
					    "a APPEND x {3}\r\nabc",
					    "a APPEND x",
					    "a REPLACE 0 x {3}",
					    "a REPLACE 1:2 x {3}",
					    "a REPLACE x {3}",
					    "a APPEND x (\\Seen {3}",
					    "a APPEND x \"1-Feb-2024 00:00:00 +0000\" {3}",
					    "a LIST (RECURSIVEMATCH) \"\" *",
					    "a LIST \"\"",
					    "a LSUB (SUBSCRIBED) \"\" *",
					    "a EXPUNGE 1",
					    "a UID EXPUNGE",
					    "a COPY 1",
					    "a ENABLE",
					    "a LOGIN {1}\r\n\n",
					    "a UID FETCH 1 (FLAGS FOO) (CHANGEDSINCE 1)"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		refuse(wrong[i], ERR_FORMAT);
	}
	refuse("a FROB", ERR_NOT_FOUND);
	refuse("a UID NOOP", ERR_NOT_FOUND);
	refuse("a SEARCH CHARSET X-NO SEEN", ERR_UNSUPPORTED);
}

static void
mailbox_commands_carry_their_options(void **state)
{
	(void)state;
	struct imap_command c = parse("a SELECT INBOX (CONDSTORE)");
	assert_true(c.select.condstore);
	c = parse("a CREATE Sent (USE (\\Sent \\Foo))");
	assert_int_equal(c.create.use, IMAP_USE_SENT | IMAP_USE_OTHER);
	c = parse("a STATUS x (UIDNEXT HIGHESTMODSEQ SIZE)");
	assert_int_equal(c.status.items, IMAP_STATUS_UIDNEXT | IMAP_STATUS_HIGHESTMODSEQ | IMAP_STATUS_SIZE);
	c = parse("a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"a*\" b/%) RETURN (CHILDREN STATUS (MESSAGES "
		  "UNSEEN))");
	assert_true(c.list.extended);
	assert_int_equal(c.list.pattern_count, 2);
	assert_true(bytes_is(c.list.patterns[1], "b/%"));
	assert_int_equal(c.list.select, IMAP_LIST_SUBSCRIBED | IMAP_LIST_RECURSIVEMATCH);
	assert_int_equal(c.list.returns, IMAP_LIST_RETURN_CHILDREN | IMAP_LIST_RETURN_STATUS);
	assert_int_equal(c.list.status, IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN);
	c = parse("a LIST ref \"\"");
	assert_true(bytes_is(c.mailbox, "ref"));
	assert_int_equal(c.list.pattern_count, 1);
	assert_int_equal(c.list.patterns[0].len, 0);
	assert_false(c.list.extended);
	c = parse("a APPEND saved (\\Seen $X) \" 7-Feb-1994 21:52:25 -0800\" {310}");
	assert_int_equal(c.append.flags.system, IMAP_FLAG_SEEN);
	assert_int_equal(c.append.flags.keyword_count, 1);
	assert_int_equal(c.append.size, 310);
	assert_int_equal(c.append.time.zone, -480);
	assert_int_equal(c.append.time.seconds, 760686745);
	c = parse("a APPEND x UTF8 (~{12+}");
	assert_true(c.append.utf8);
	assert_int_equal(c.append.size, 12);
}

static void
fetch_items_are_told_apart(void **state)
{
	(void)state;
	struct imap_command c = parse("a FETCH 2:4 (FLAGS BODY BODYSTRUCTURE RFC822.SIZE "
				      "BODY.PEEK[HEADER.FIELDS (Date \"From\")]<5.10> "
				      "BODY[1.2.MIME] BODY[] body[4.text] RFC822)");
	static const enum imap_fetch_kind kinds[] = {
	    IMAP_FETCH_FLAGS,       IMAP_FETCH_BODY,    IMAP_FETCH_BODYSTRUCTURE,
	    IMAP_FETCH_RFC822_SIZE, IMAP_FETCH_SECTION, IMAP_FETCH_SECTION,
	    IMAP_FETCH_SECTION,     IMAP_FETCH_SECTION, IMAP_FETCH_RFC822};
	assert_int_equal(c.fetch.count, 9);
	for (size_t i = 0; i < 9; i++) {
		assert_int_equal(c.fetch.items[i].kind, kinds[i]);
	}
	const struct imap_fetch_item *item = &c.fetch.items[4];
	assert_true(item->peek && item->partial && item->start == 5 && item->count == 10);
	assert_int_equal(item->section.kind, IMAP_SECTION_FIELDS);
	assert_int_equal(item->section.field_count, 2);
	assert_true(bytes_is(item->section.fields[1], "From"));
	item = &c.fetch.items[5];
	assert_int_equal(item->section.kind, IMAP_SECTION_MIME);
	assert_int_equal(item->section.path_len, 2);
	assert_int_equal(item->section.path[1], 2);
	assert_int_equal(c.fetch.items[7].section.kind, IMAP_SECTION_TEXT);
	assert_false(c.fetch.items[7].peek);

	c = parse("a UID FETCH 1:* FULL");
	assert_true(c.uid);
	assert_int_equal(c.fetch.count, 6); /* five, and UID */
	c = parse("a UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 12345)");
	assert_true(c.fetch.changed_since_given);
	assert_int_equal(c.fetch.changed_since, 12345);
	assert_int_equal(c.fetch.count, 3); /* with MODSEQ */
	c = parse("a FETCH 1 FAST (CHANGEDSINCE 0)");
	assert_int_equal(c.fetch.count, 4);
}

static void
store_carries_mode_and_condition(void **state)
{
	(void)state;
	struct imap_command c = parse("a UID STORE 1,3 (UNCHANGEDSINCE 99) +FLAGS.SILENT (\\Deleted Junk)");
	assert_int_equal(c.store.mode, IMAP_STORE_ADD);
	assert_true(c.store.silent && c.store.unchanged_since_given && c.uid);
	assert_int_equal(c.store.unchanged_since, 99);
	assert_int_equal(c.store.flags.system, IMAP_FLAG_DELETED);
	assert_true(bytes_is(c.store.flags.keywords[0], "Junk"));
	c = parse("a STORE 1 -FLAGS \\Seen \\Flagged a b c d e");
	assert_int_equal(c.store.mode, IMAP_STORE_REMOVE);
	assert_int_equal(c.store.flags.keyword_count, 5);
	assert_int_equal(c.store.flags.system, IMAP_FLAG_SEEN | IMAP_FLAG_FLAGGED);
}

static void
a_search_tells_whether_it_asks_for_identifiers(void **state)
{
	(void)state;
	struct imap_command c = parse("a SEARCH SUBJECT emailid SEEN");
	assert_false(c.search.object_ids);
	c = parse("a SEARCH SEEN EMAILID M1-0");
	assert_true(c.search.object_ids);
	c = parse("a UID SEARCH SEEN (OR SUBJECT x NOT (THREADID T1))");
	assert_true(c.search.object_ids);
}

static void
search_keys_become_a_tree(void **state)
{
	(void)state;
	struct imap_command c = parse(
	    "a UID SEARCH RETURN (MIN COUNT) CHARSET UTF-8 FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\" "
	    "OR (SEEN 1:3) UID *:4 MODSEQ \"/flags/\\\\draft\" all 620162338 HEADER X-Y {2+}\r\n\xc3\x89");
	assert_int_equal(c.search.returns, IMAP_RETURN_MIN | IMAP_RETURN_COUNT);
	assert_true(c.search.esearch && c.search.modseq && c.search.charset_given);
	const struct imap_search_key *key = c.search.key;
	assert_int_equal(key->op, IMAP_SEARCH_AND);
	key = key->first;
	assert_int_equal(key->op, IMAP_SEARCH_FLAG);
	assert_int_equal(key->flag, IMAP_FLAG_FLAGGED);
	key = key->next;
	assert_int_equal(key->op, IMAP_SEARCH_SINCE);
	assert_int_equal(key->day, calendar_days(1994, 2, 1));
	assert_int_equal(key->day, 8797);
	key = key->next;
	assert_int_equal(key->op, IMAP_SEARCH_NOT);
	assert_true(bytes_is(key->first->name, "From"));
	assert_true(bytes_is(key->first->folded, "smith"));
	assert_true(bytes_is(key->first->text, "Smith"));
	key = key->next;
	assert_int_equal(key->op, IMAP_SEARCH_OR);
	assert_int_equal(key->first->op, IMAP_SEARCH_AND);
	assert_int_equal(key->first->first->next->op, IMAP_SEARCH_SET);
	assert_int_equal(key->first->next->op, IMAP_SEARCH_UID);
	key = key->next;
	assert_int_equal(key->op, IMAP_SEARCH_MODSEQ);
	assert_int_equal(key->number, 620162338);
	key = key->next;
	assert_true(bytes_is(key->name, "X-Y"));
	assert_true(bytes_is(key->folded, "e\xcc\x81"));
	assert_null(key->next);
	/* Other charsets are converted. */
	c = parse("a SEARCH CHARSET ISO-8859-1 SUBJECT {1+}\r\n\xe9");
	assert_true(bytes_is(c.search.key->first->text, "\xc3\xa9"));
}

static void
nesting_and_numbers_of_keys_are_bounded(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(200000);
	struct imap_command c;
	assert_int_equal(buf_append_str(&text, "a SEARCH "), ERR_OK);
	for (int i = 0; i < 60000; i++) {
		assert_int_equal(buf_append_byte(&text, '('), ERR_OK);
	}
	assert_int_equal(imap_command_parse(&arena, buf_bytes(&text), false, &c, NULL), ERR_LIMIT);
	buf_reset(&text);
	assert_int_equal(buf_append_str(&text, "a SEARCH"), ERR_OK);
	for (int i = 0; i < 15000; i++) {
		assert_int_equal(buf_append_str(&text, " NOT"), ERR_OK);
	}
	assert_int_equal(imap_command_parse(&arena, buf_bytes(&text), false, &c, NULL), ERR_LIMIT);
	buf_reset(&text);
	assert_int_equal(buf_append_str(&text, "a SEARCH"), ERR_OK);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(buf_append_str(&text, " SEEN"), ERR_OK);
	}
	struct arena large;
	arena_init(&large, (size_t)16 << 20);
	assert_int_equal(imap_command_parse(&large, buf_bytes(&text), false, &c, NULL), ERR_LIMIT);
	arena_clear(&large);
	/* A small arena is a failure for want of memory, never a wrong parse. */
	struct arena small;
	arena_init(&small, 200);
	assert_int_equal(imap_command_parse(&small,
					    bytes_str("a FETCH 1,2,3,4,5,6,7,8,9,10,11,12,13,14 (FLAGS UID)"),
					    false, &c, NULL),
			 ERR_MEMORY);
	arena_clear(&small);
	buf_clear(&text);
}

static void
sort_thread_and_saved_results_are_read(void **state)
{
	(void)state;
	struct imap_command c =
	    parse("a UID SORT RETURN (COUNT PARTIAL -9:-3 SAVE) (REVERSE date DISPLAYFROM) "
		  "ISO-8859-1 SUBJECT \"x\" $");
	assert_int_equal(c.verb, IMAP_SORT);
	assert_true(c.uid && c.search.esearch && c.search.partial.from_end);
	assert_int_equal(c.search.partial.first, 3);
	assert_int_equal(c.search.partial.last, 9);
	assert_int_equal(c.search.returns, IMAP_RETURN_COUNT | IMAP_RETURN_PARTIAL | IMAP_RETURN_SAVE);
	assert_int_equal(c.search.order_count, 2);
	assert_true(c.search.order[0].reverse && !c.search.order[1].reverse);
	assert_int_equal(c.search.order[0].by, IMAP_SORT_DATE);
	assert_int_equal(c.search.order[1].by, IMAP_SORT_DISPLAYFROM);
	assert_true(c.search.key->first->next->set.saved);
	assert_false(imap_command_uses_numbers(&c));
	c = parse("a UID SORT (SIZE) UTF-8 1:3");
	assert_true(imap_command_uses_numbers(&c));
	c = parse("a THREAD ORDEREDSUBJECT US-ASCII SEEN");
	assert_int_equal(c.search.algorithm, IMAP_THREAD_ORDEREDSUBJECT);
	c = parse("a FETCH $ FLAGS");
	assert_true(c.set.saved);
	refuse("a SORT (DATE) X-NO ALL", ERR_UNSUPPORTED);
	refuse("a SELECT x (QRESYNC (1 1 $))", ERR_FORMAT);
}

static void
utf8_clients_may_not_name_a_charset(void **state)
{
	(void)state;
	struct imap_command c;
	assert_int_equal(imap_command_parse(&arena, bytes_str("a SEARCH CHARSET UTF-8 SEEN"),
					    IMAP_MODE_UTF8 | IMAP_MODE_ACCEPT, &c, NULL),
			 ERR_FORMAT);
	assert_int_equal(imap_command_parse(&arena, bytes_str("a SEARCH SUBJECT \"\xc3\x89\""),
					    IMAP_MODE_UTF8 | IMAP_MODE_ACCEPT, &c, NULL),
			 ERR_OK);
	assert_true(bytes_is(c.search.key->first->folded, "e\xcc\x81"));
}

static struct imap_command
parse_all_modes(const char *text)
{
	struct imap_command c = {.tag = BYTES_EMPTY};
	const char *why = NULL;
	if (imap_command_parse(&arena, bytes_str(text), IMAP_MODE_ALL, &c, &why) != ERR_OK) {
		fail_msg("%s: %s", text, why);
	}
	return c;
}

static void
refuse_all_modes(const char *text)
{
	struct imap_command c;
	if (imap_command_parse(&arena, bytes_str(text), IMAP_MODE_ALL, &c, NULL) != ERR_FORMAT) {
		fail_msg("%s", text);
	}
}

static void
select_carries_what_the_client_knows(void **state)
{
	(void)state;
	struct imap_command c =
	    parse_all_modes("a SELECT x (QRESYNC (7 9000 1:50,60 (1,5:6 2,9:10)) CONDSTORE)");
	assert_true(c.select.qresync && c.select.condstore);
	assert_int_equal(c.select.uidvalidity, 7);
	assert_int_equal(c.select.modseq, 9000);
	assert_int_equal(c.select.known.count, 2);
	assert_int_equal(c.select.match.count, 2);
	assert_int_equal(c.select.match_uid.ranges[1].last, 10);
	assert_true(imap_command_uses_numbers(&c));
	c = parse_all_modes("a EXAMINE x (QRESYNC (7 9000))");
	assert_true(c.select.qresync && c.select.known.count == 0 && !imap_command_uses_numbers(&c));
	c = parse_all_modes("a EXAMINE x (QRESYNC (7 9000 (1 2)))");
	assert_true(c.select.known.count == 0 && c.select.match.count == 1);
	refuse("a SELECT x (QRESYNC (7 9000))", ERR_FORMAT);
	refuse_all_modes("a SELECT x (QRESYNC (0 9000))");
	refuse_all_modes("a SELECT x (QRESYNC (7 0))");
	refuse_all_modes("a SELECT x (QRESYNC (7 1 1:*))");
	refuse_all_modes("a SELECT x (QRESYNC (7 1 1:3 (1:2 1:3)))");
	refuse_all_modes("a SELECT x (QRESYNC (7 1) QRESYNC (7 1))");
}

static void
fetch_modifiers_come_in_any_order(void **state)
{
	(void)state;
	struct imap_command c =
	    parse_all_modes("a UID FETCH 1:* FLAGS (PARTIAL -30:-1 CHANGEDSINCE 5 VANISHED)");
	assert_true(c.fetch.changed_since_given && c.fetch.vanished && c.fetch.partial.given);
	assert_true(c.fetch.partial.from_end && c.fetch.partial.first == 1 && c.fetch.partial.last == 30);
	c = parse_all_modes("a UID FETCH 1:* FLAGS (PARTIAL 3:9)");
	assert_true(!c.fetch.partial.from_end && c.fetch.partial.first == 3 && c.fetch.partial.last == 9);
	refuse_all_modes("a FETCH 1:* FLAGS (PARTIAL 3:9)");
	refuse_all_modes("a UID FETCH 1:* FLAGS (PARTIAL 0:9)");
	refuse_all_modes("a UID FETCH 1:* FLAGS (PARTIAL -1:9)");
	refuse_all_modes("a UID FETCH 1:* FLAGS (PARTIAL 1:*)");
	refuse_all_modes("a UID FETCH 1:* FLAGS (VANISHED)");
	refuse_all_modes("a FETCH 1:* FLAGS (CHANGEDSINCE 5 VANISHED)");
	refuse("a UID FETCH 1:* FLAGS (CHANGEDSINCE 5 VANISHED)", ERR_FORMAT);
	refuse_all_modes("a UID FETCH 1:* FLAGS (CHANGEDSINCE 5 CHANGEDSINCE 6)");
}

static void
notify_groups_events(void **state)
{
	(void)state;
	struct imap_command c = parse(
	    "a NOTIFY SET STATUS (selected (MessageNew (uid body.peek[header.fields (from to)]) "
	    "MessageExpunge "
	    "FlagChange)) (subtree (Lists \"a b\") (MailboxName)) (mailboxes misc MessageNew MessageExpunge) "
	    "(personal NONE) (inboxes (Rumour))");
	assert_true(c.notify.status && !c.notify.none);
	assert_int_equal(c.notify.count, 5);
	const struct imap_notify_group *g = c.notify.groups;
	assert_int_equal(g[0].filter, IMAP_NOTIFY_SELECTED);
	assert_int_equal(g[0].events, 7);
	assert_int_equal(g[0].item_count, 2);
	assert_int_equal(g[0].items[1].kind, IMAP_FETCH_SECTION);
	assert_int_equal(g[1].name_count, 2);
	assert_true(bytes_is(g[1].names[1], "a b") && g[1].events == IMAP_NOTICE_MAILBOX_NAME);
	assert_int_equal(g[2].filter, IMAP_NOTIFY_MAILBOXES);
	assert_int_equal(g[2].events, 3);
	assert_int_equal(g[3].events, 0);
	assert_int_equal(g[4].events, IMAP_NOTICE_UNKNOWN);
	assert_true(parse("a NOTIFY NONE").notify.none);
	refuse("a NOTIFY SET", ERR_FORMAT);
	refuse("a NOTIFY SET (selected (MessageNew))", ERR_FORMAT);
	refuse("a NOTIFY SET (personal (FlagChange))", ERR_FORMAT);
	refuse("a NOTIFY SET (selected (MailboxName))", ERR_FORMAT);
	refuse("a NOTIFY SET (personal (MessageNew (FLAGS) MessageExpunge))", ERR_FORMAT);
	refuse("a NOTIFY SET (selected NONE) (selected-delayed NONE)", ERR_FORMAT);
	refuse("a NOTIFY SET (everything (MailboxName))", ERR_FORMAT);
}

static void
numbers_are_told_from_uids(void **state)
{
	(void)state;
	static const char *const numbers[] = {"a FETCH 1 FLAGS", "a STORE 1 FLAGS ()",
					      "a COPY 1 x",      "a MOVE 1 x",
					      "a SEARCH SEEN",   "a UID SEARCH NOT (OR SEEN (DELETED 3))"};
	static const char *const uids[] = {"a UID FETCH 1 FLAGS",
					   "a EXPUNGE",
					   "a UID EXPUNGE 1",
					   "a UID SEARCH UID 1:3 NOT (OR SEEN UID 3)",
					   "a NOOP",
					   "a SELECT x"};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct imap_command c = parse(numbers[i]);
		assert_true(imap_command_uses_numbers(&c));
	}
	for (size_t i = 0; i < sizeof(uids) / sizeof(uids[0]); i++) {
		struct imap_command c = parse(uids[i]);
		assert_false(imap_command_uses_numbers(&c));
	}
}

static void
rev2_always_answers_with_esearch(void **state)
{
	(void)state;
	struct imap_command c;
	assert_int_equal(imap_command_parse(&arena, bytes_str("a SEARCH CHARSET UTF-8 SEEN"),
					    IMAP_MODE_UTF8 | IMAP_MODE_REV2, &c, NULL),
			 ERR_OK);
	assert_true(c.search.esearch && c.search.returns == IMAP_RETURN_ALL);
	assert_false(parse("a SEARCH SEEN").search.esearch);
}

static void
metadata_is_read_with_its_options_and_values(void **state)
{
	(void)state;
	struct imap_command c =
	    parse("a GETMETADATA (MAXSIZE 1024 DEPTH infinity) \"a b\" (/private/x /Shared/y)");
	assert_true(bytes_is(c.mailbox, "a b"));
	assert_true(c.metadata.has_max && c.metadata.max == 1024);
	assert_int_equal(c.metadata.depth, IMAP_DEPTH_INFINITY);
	assert_int_equal(c.metadata.count, 2);
	assert_true(bytes_is(c.metadata.items[1].entry, "/Shared/y"));
	/* As in the examples of RFC 5464, where the options stand behind the mailbox. */
	c = parse("a GETMETADATA INBOX (depth 1) (/private/x)");
	assert_int_equal(c.metadata.depth, IMAP_DEPTH_1);
	assert_int_equal(c.metadata.count, 1);
	c = parse("a GETMETADATA INBOX (\"/private/x\")");
	assert_int_equal(c.metadata.depth, IMAP_DEPTH_0);
	assert_int_equal(c.metadata.count, 1);
	c = parse("a SETMETADATA \"\" (/private/x NIL /private/y \"\" /private/z {3}\r\nabc)");
	assert_int_equal(c.metadata.count, 3);
	assert_null(c.metadata.items[0].value.ptr);
	assert_non_null(c.metadata.items[1].value.ptr);
	assert_int_equal(c.metadata.items[1].value.len, 0);
	assert_true(bytes_is(c.metadata.items[2].value, "abc"));
	static const char binary[] = "a SETMETADATA x (/private/x ~{3}\r\na\0c)";
	const char *why = NULL;
	assert_int_equal(imap_command_parse(&arena, bytes_of(binary, sizeof(binary) - 1), 0, &c, &why),
			 ERR_OK);
	assert_int_equal(c.metadata.items[0].value.len, 3);
	static const char plain[] = "a SETMETADATA x (/private/x {3}\r\na\0c)";
	assert_int_equal(imap_command_parse(&arena, bytes_of(plain, sizeof(plain) - 1), 0, &c, &why),
			 ERR_FORMAT);
	c = parse("a LIST \"\" % RETURN (METADATA (/private/x \"/shared/y\") CHILDREN)");
	assert_int_equal(c.list.metadata.count, 2);
	assert_true((c.list.returns & IMAP_LIST_RETURN_METADATA) != 0);
	static const char *const bad[] = {"a GETMETADATA x",
					  "a GETMETADATA x ()",
					  "a GETMETADATA x comment",
					  "a GETMETADATA (DEPTH 2) x /y",
					  "a GETMETADATA (MAXSIZE) x /y",
					  "a GETMETADATA (DEPTH 0 DEPTH 0) x /y",
					  "a SETMETADATA x ()",
					  "a SETMETADATA x /y NIL",
					  "a SETMETADATA x (/y)",
					  "a SETMETADATA x (/y z)",
					  "a LIST \"\" % RETURN (METADATA)",
					  "a SETQUOTA \"\" (STORAGE x)"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		refuse(bad[i], ERR_FORMAT);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(metadata_is_read_with_its_options_and_values, start, stop),
	    cmocka_unit_test_setup_teardown(each_verb_is_known_in_its_states, start, stop),
	    cmocka_unit_test_setup_teardown(strings_come_in_three_forms, start, stop),
	    cmocka_unit_test_setup_teardown(what_breaks_the_grammar_is_refused, start, stop),
	    cmocka_unit_test_setup_teardown(mailbox_commands_carry_their_options, start, stop),
	    cmocka_unit_test_setup_teardown(fetch_items_are_told_apart, start, stop),
	    cmocka_unit_test_setup_teardown(store_carries_mode_and_condition, start, stop),
	    cmocka_unit_test_setup_teardown(a_search_tells_whether_it_asks_for_identifiers, start, stop),
	    cmocka_unit_test_setup_teardown(search_keys_become_a_tree, start, stop),
	    cmocka_unit_test_setup_teardown(nesting_and_numbers_of_keys_are_bounded, start, stop),
	    cmocka_unit_test_setup_teardown(sort_thread_and_saved_results_are_read, start, stop),
	    cmocka_unit_test_setup_teardown(utf8_clients_may_not_name_a_charset, start, stop),
	    cmocka_unit_test_setup_teardown(select_carries_what_the_client_knows, start, stop),
	    cmocka_unit_test_setup_teardown(fetch_modifiers_come_in_any_order, start, stop),
	    cmocka_unit_test_setup_teardown(notify_groups_events, start, stop),
	    cmocka_unit_test_setup_teardown(numbers_are_told_from_uids, start, stop),
	    cmocka_unit_test_setup_teardown(rev2_always_answers_with_esearch, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
