/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_command.h"

#include "protocol/imap_lexer.h"
#include "protocol/imap_reader.h"

enum { ID_PAIRS_MAX = 30, ENABLE_MAX = 20 };

static void
parse_nothing(struct imap_lexer *l, struct imap_command *c)
{
	(void)l;
	(void)c;
}

static void
parse_id(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	if (imap_lex_word(l, "NIL")) {
		return;
	}
	imap_lex_need(l, '(');
	struct bytes *views = arena_array(l->arena, (size_t)ID_PAIRS_MAX * 2, sizeof(*views));
	if (views == NULL) {
		imap_lex_fail(l, ERR_MEMORY, "Too much memory needed");
		return;
	}
	size_t count = 0;
	bool done = imap_lex_take(l, ')');
	while (!done && l->error == ERR_OK) {
		if (count == (size_t)ID_PAIRS_MAX * 2) {
			imap_lex_fail(l, ERR_LIMIT, "Too many fields");
			return;
		}
		views[count++] = imap_lex_string(l);
		imap_lex_need(l, ' ');
		views[count++] = imap_lex_nstring(l);
		done = imap_lex_take(l, ')');
		if (!done) {
			imap_lex_need(l, ' ');
		}
	}
	c->id.pairs = views;
	c->id.count = count;
}

static void
parse_login(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	c->login.name = imap_lex_astring(l);
	imap_lex_need(l, ' ');
	c->login.password = imap_lex_astring(l);
}

static void
parse_authenticate(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	c->authenticate.mechanism = imap_lex_atom(l);
	if (imap_lex_take(l, ' ')) {
		c->authenticate.has_initial = true;
		struct bytes initial = imap_lex_astring(l);
		c->authenticate.initial = bytes_is(initial, "=") ? BYTES_EMPTY : initial;
	}
}

static void
parse_enable(struct imap_lexer *l, struct imap_command *c)
{
	struct bytes *names = arena_array(l->arena, ENABLE_MAX, sizeof(*names));
	if (names == NULL) {
		imap_lex_fail(l, ERR_MEMORY, "Too much memory needed");
		return;
	}
	size_t count = 0;
	do {
		imap_lex_need(l, ' ');
		if (count == ENABLE_MAX) {
			imap_lex_fail(l, ERR_LIMIT, "Too many names");
			return;
		}
		names[count++] = imap_lex_atom(l);
	} while (imap_lex_peek(l) == ' ');
	c->enable.names = names;
	c->enable.count = count;
}

static void
parse_mailbox(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	c->mailbox = imap_lex_astring(l);
}

static void
parse_create(struct imap_lexer *l, struct imap_command *c)
{
	parse_mailbox(l, c);
	if (!imap_lex_take(l, ' ')) {
		return;
	}
	imap_lex_need(l, '(');
	if (!imap_lex_word(l, "USE")) {
		imap_lex_fail(l, ERR_FORMAT, "Unknown parameter");
	}
	imap_lex_need(l, ' ');
	imap_lex_need(l, '(');
	bool done = imap_lex_take(l, ')');
	while (!done && l->error == ERR_OK) {
		imap_lex_need(l, '\\');
		struct bytes name = imap_lex_atom(l);
		c->create.use |= name.len > 0 ? imap_use_bit(bytes_of(name.ptr - 1, name.len + 1)) : 0;
		done = imap_lex_take(l, ')');
		if (!done) {
			imap_lex_need(l, ' ');
		}
	}
	imap_lex_need(l, ')');
}

static void
parse_rename(struct imap_lexer *l, struct imap_command *c)
{
	parse_mailbox(l, c);
	imap_lex_need(l, ' ');
	c->target = imap_lex_astring(l);
}

static void
parse_status(struct imap_lexer *l, struct imap_command *c)
{
	parse_mailbox(l, c);
	imap_lex_need(l, ' ');
	c->status.items = imap_parse_status_items(l);
}

static void
parse_quota(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	c->quota.root = imap_lex_astring(l);
}

/* RFC 9208 section 4.1.2: read in full, and refused by the session. */
static void
parse_setquota(struct imap_lexer *l, struct imap_command *c)
{
	parse_quota(l, c);
	imap_lex_need(l, ' ');
	imap_lex_need(l, '(');
	bool done = imap_lex_take(l, ')');
	while (!done && l->error == ERR_OK) {
		(void)imap_lex_atom(l);
		imap_lex_need(l, ' ');
		(void)imap_lex_number(l, INT64_MAX);
		done = imap_lex_take(l, ')');
		if (!done) {
			imap_lex_need(l, ' ');
		}
	}
}

static void
parse_expunge(struct imap_lexer *l, struct imap_command *c)
{
	if (c->uid) {
		imap_lex_need(l, ' ');
		imap_lex_set(l, &c->set);
	}
}

static void
parse_store(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	imap_lex_set(l, &c->set);
	imap_lex_need(l, ' ');
	if (imap_lex_take(l, '(')) {
		if (!imap_lex_word(l, "UNCHANGEDSINCE")) {
			imap_lex_fail(l, ERR_FORMAT, "Unknown modifier");
		}
		imap_lex_need(l, ' ');
		c->store.unchanged_since_given = true;
		c->store.unchanged_since = imap_lex_number(l, INT64_MAX);
		imap_lex_need(l, ')');
		imap_lex_need(l, ' ');
	}
	c->store.mode = imap_lex_take(l, '+')   ? IMAP_STORE_ADD
			: imap_lex_take(l, '-') ? IMAP_STORE_REMOVE
						: IMAP_STORE_REPLACE;
	if (imap_lex_word(l, "FLAGS.SILENT")) {
		c->store.silent = true;
	} else if (!imap_lex_word(l, "FLAGS")) {
		imap_lex_fail(l, ERR_FORMAT, "Unknown data item");
	}
	imap_lex_need(l, ' ');
	imap_lex_flags(l, false, &c->store.flags);
}

static void
parse_copy(struct imap_lexer *l, struct imap_command *c)
{
	imap_lex_need(l, ' ');
	imap_lex_set(l, &c->set);
	parse_mailbox(l, c);
}

enum uid_form { UID_NEVER, UID_ALLOWED };

/* Which commands there are, in which states, and who reads their arguments. In the order of enum imap_verb. */
static const struct {
	const char *name;
	unsigned states;
	enum uid_form uid;
	void (*parse)(struct imap_lexer *l, struct imap_command *c);
} commands[IMAP_VERB__COUNT] = {
    [IMAP_CAPABILITY] = {"CAPABILITY", IMAP_ANY_STATE, UID_NEVER, parse_nothing},
    [IMAP_NOOP] = {"NOOP", IMAP_ANY_STATE, UID_NEVER, parse_nothing},
    [IMAP_LOGOUT] = {"LOGOUT", IMAP_ANY_STATE, UID_NEVER, parse_nothing},
    [IMAP_ID] = {"ID", IMAP_ANY_STATE, UID_NEVER, parse_id},
    [IMAP_STARTTLS] = {"STARTTLS", IMAP_NOT_AUTHENTICATED, UID_NEVER, parse_nothing},
    [IMAP_AUTHENTICATE] = {"AUTHENTICATE", IMAP_NOT_AUTHENTICATED, UID_NEVER, parse_authenticate},
    [IMAP_LOGIN] = {"LOGIN", IMAP_NOT_AUTHENTICATED, UID_NEVER, parse_login},
    [IMAP_ENABLE] = {"ENABLE", IMAP_LOGGED_IN, UID_NEVER, parse_enable},
    [IMAP_SELECT] = {"SELECT", IMAP_LOGGED_IN, UID_NEVER, imap_parse_select},
    [IMAP_EXAMINE] = {"EXAMINE", IMAP_LOGGED_IN, UID_NEVER, imap_parse_select},
    [IMAP_CREATE] = {"CREATE", IMAP_LOGGED_IN, UID_NEVER, parse_create},
    [IMAP_DELETE] = {"DELETE", IMAP_LOGGED_IN, UID_NEVER, parse_mailbox},
    [IMAP_RENAME] = {"RENAME", IMAP_LOGGED_IN, UID_NEVER, parse_rename},
    [IMAP_SUBSCRIBE] = {"SUBSCRIBE", IMAP_LOGGED_IN, UID_NEVER, parse_mailbox},
    [IMAP_UNSUBSCRIBE] = {"UNSUBSCRIBE", IMAP_LOGGED_IN, UID_NEVER, parse_mailbox},
    [IMAP_LIST] = {"LIST", IMAP_LOGGED_IN, UID_NEVER, imap_parse_list},
    [IMAP_LSUB] = {"LSUB", IMAP_LOGGED_IN, UID_NEVER, imap_parse_list},
    [IMAP_STATUS] = {"STATUS", IMAP_LOGGED_IN, UID_NEVER, parse_status},
    [IMAP_APPEND] = {"APPEND", IMAP_LOGGED_IN, UID_NEVER, imap_parse_append},
    [IMAP_NAMESPACE] = {"NAMESPACE", IMAP_LOGGED_IN, UID_NEVER, parse_nothing},
    [IMAP_GETQUOTA] = {"GETQUOTA", IMAP_LOGGED_IN, UID_NEVER, parse_quota},
    [IMAP_GETQUOTAROOT] = {"GETQUOTAROOT", IMAP_LOGGED_IN, UID_NEVER, parse_mailbox},
    [IMAP_IDLE] = {"IDLE", IMAP_LOGGED_IN, UID_NEVER, parse_nothing},
    [IMAP_CHECK] = {"CHECK", IMAP_SELECTED, UID_NEVER, parse_nothing},
    [IMAP_CLOSE] = {"CLOSE", IMAP_SELECTED, UID_NEVER, parse_nothing},
    [IMAP_UNSELECT] = {"UNSELECT", IMAP_SELECTED, UID_NEVER, parse_nothing},
    [IMAP_EXPUNGE] = {"EXPUNGE", IMAP_SELECTED, UID_ALLOWED, parse_expunge},
    [IMAP_SEARCH] = {"SEARCH", IMAP_SELECTED, UID_ALLOWED, imap_parse_search},
    [IMAP_SORT] = {"SORT", IMAP_SELECTED, UID_ALLOWED, imap_parse_sort},
    [IMAP_THREAD] = {"THREAD", IMAP_SELECTED, UID_ALLOWED, imap_parse_thread},
    [IMAP_FETCH] = {"FETCH", IMAP_SELECTED, UID_ALLOWED, imap_parse_fetch},
    [IMAP_STORE] = {"STORE", IMAP_SELECTED, UID_ALLOWED, parse_store},
    [IMAP_COPY] = {"COPY", IMAP_SELECTED, UID_ALLOWED, parse_copy},
    [IMAP_MOVE] = {"MOVE", IMAP_SELECTED, UID_ALLOWED, parse_copy},
    [IMAP_REPLACE] = {"REPLACE", IMAP_SELECTED, UID_ALLOWED, imap_parse_replace},
    [IMAP_NOTIFY] = {"NOTIFY", IMAP_LOGGED_IN, UID_NEVER, imap_parse_notify},
    [IMAP_GETMETADATA] = {"GETMETADATA", IMAP_LOGGED_IN, UID_NEVER, imap_parse_getmetadata},
    [IMAP_SETMETADATA] = {"SETMETADATA", IMAP_LOGGED_IN, UID_NEVER, imap_parse_setmetadata},
    [IMAP_SETQUOTA] = {"SETQUOTA", IMAP_LOGGED_IN, UID_NEVER, parse_setquota},
};

const char *
imap_verb_name(enum imap_verb verb)
{
	return commands[verb].name;
}

unsigned
imap_verb_states(enum imap_verb verb)
{
	return commands[verb].states;
}

bool
imap_command_allowed(const struct imap_command *command, enum imap_state state)
{
	return (commands[command->verb].states & (unsigned)state) != 0;
}

enum err
imap_command_parse(struct arena *a, struct bytes text, unsigned modes, struct imap_command *ret_command,
		   const char **ret_why)
{
	struct imap_lexer l = {.rest = text, .arena = a, .modes = modes, .error = ERR_OK, .why = NULL};
	struct imap_command c = {.tag = BYTES_EMPTY};
	ptrdiff_t space = bytes_find(text, ' ');
	c.tag = space < 0 ? text : bytes_slice(text, 0, (size_t)space);
	l.rest = space < 0 ? BYTES_EMPTY : bytes_from(text, (size_t)space + 1);
	if (!imap_tag_valid(c.tag)) {
		imap_lex_fail(&l, ERR_FORMAT, "No valid tag");
	}
	struct bytes name = imap_lex_atom(&l);
	if (l.error == ERR_OK && bytes_is_nocase(name, "UID")) {
		c.uid = true;
		imap_lex_need(&l, ' ');
		name = imap_lex_atom(&l);
	}
	size_t verb = 0;
	while (verb < IMAP_VERB__COUNT && !bytes_is_nocase(name, commands[verb].name)) {
		verb++;
	}
	if (verb == IMAP_VERB__COUNT || (c.uid && commands[verb].uid == UID_NEVER)) {
		imap_lex_fail(&l, ERR_NOT_FOUND, "Unknown command");
	}
	if (l.error == ERR_OK) {
		c.verb = (enum imap_verb)verb;
		commands[verb].parse(&l, &c);
		imap_lex_end(&l);
	}
	if (l.error != ERR_OK) {
		if (ret_why != NULL) {
			*ret_why = l.why;
		}
		if (l.error == ERR_UNSUPPORTED) {
			ret_command->search.returns = c.search.returns;
		}
		return l.error;
	}
	*ret_command = c;
	return ERR_OK;
}

static bool
key_uses_numbers(const struct imap_search_key *key, unsigned depth)
{
	for (; key != NULL; key = key->next) {
		/* The parser lets nothing deeper through. */
		if ((key->op == IMAP_SEARCH_SET && !key->set.saved) ||
		    (depth < IMAP_SEARCH_DEPTH_MAX && key_uses_numbers(key->first, depth + 1))) {
			return true;
		}
	}
	return false;
}

bool
imap_command_uses_numbers(const struct imap_command *command)
{
	if (commands[command->verb].uid == UID_ALLOWED && !command->uid && command->verb != IMAP_EXPUNGE) {
		return true;
	}
	if (command->verb == IMAP_SELECT || command->verb == IMAP_EXAMINE) {
		return command->select.match.count > 0;
	}
	bool searches =
	    command->verb == IMAP_SEARCH || command->verb == IMAP_SORT || command->verb == IMAP_THREAD;
	return searches && key_uses_numbers(command->search.key, 0);
}

static const struct {
	const char *name;
	uint32_t bit;
} flag_names[] =
    {
	{"\\Seen", IMAP_FLAG_SEEN},       {"\\Answered", IMAP_FLAG_ANSWERED},
	{"\\Flagged", IMAP_FLAG_FLAGGED}, {"\\Deleted", IMAP_FLAG_DELETED},
	{"\\Draft", IMAP_FLAG_DRAFT},     {"\\Recent", IMAP_FLAG_RECENT},
},
  use_names[] = {
      {"\\All", IMAP_USE_ALL},         {"\\Archive", IMAP_USE_ARCHIVE}, {"\\Drafts", IMAP_USE_DRAFTS},
      {"\\Flagged", IMAP_USE_FLAGGED}, {"\\Junk", IMAP_USE_JUNK},       {"\\Sent", IMAP_USE_SENT},
      {"\\Trash", IMAP_USE_TRASH},
};

uint32_t
imap_flag_bit(struct bytes name)
{
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (bytes_is_nocase(name, flag_names[i].name)) {
			return flag_names[i].bit;
		}
	}
	return 0;
}

const char *
imap_flag_name(uint32_t bit)
{
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (flag_names[i].bit == bit) {
			return flag_names[i].name;
		}
	}
	return NULL;
}

uint32_t
imap_use_bit(struct bytes name)
{
	for (size_t i = 0; i < sizeof(use_names) / sizeof(use_names[0]); i++) {
		if (bytes_is_nocase(name, use_names[i].name)) {
			return use_names[i].bit;
		}
	}
	return IMAP_USE_OTHER;
}

const char *
imap_use_name(uint32_t bit)
{
	for (size_t i = 0; i < sizeof(use_names) / sizeof(use_names[0]); i++) {
		if (use_names[i].bit == bit) {
			return use_names[i].name;
		}
	}
	return NULL;
}
