/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_policy.h"

#include "mail/header.h"

enum {
	AUTHORS_MAX = 64,      /* mailboxes of one field: more is no letter */
	FIELD_MAX = 32 * 1024, /* octets of one field */
	RESENT_MAX = 64,       /* Resent- fields of one name */
	ARENA_MAX = 256 * 1024,
};

enum field_state {
	FIELD_FINE,
	FIELD_UNCLEAR,
	FIELD_FOREIGN,
	FIELD_MEMORY,
};

/*
 * How many '@' stand outside of quoted strings and comments. -1: a quote or comment is not closed, or an octet
 * stands there that no address field may have.
 */
static int
count_at_signs(struct bytes value)
{
	bool quoted = false;
	unsigned depth = 0;
	int count = 0;
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.ptr[i];
		if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 127) {
			return -1;
		}
		if (c == '\\' && (quoted || depth > 0)) {
			i++;
		} else if (c == '"' && depth == 0) {
			quoted = !quoted;
		} else if (c == '(' && !quoted) {
			depth++;
		} else if (c == ')' && !quoted && depth > 0) {
			depth--;
		} else if (c == '@' && !quoted && depth == 0) {
			count++;
		}
	}
	return quoted || depth > 0 ? -1 : count;
}

/* The address in SMTP's form, as `owns` expects it. */
static enum field_state
check_address(const struct mail_address *a, const struct submission_owner *owner)
{
	struct buf text = BUF_INIT(MAIL_MAILBOX_MAX * 2);
	struct mail_mailbox mailbox;
	enum field_state state = FIELD_UNCLEAR;
	if (a->local.len > 0 && a->domain.len > 0) {
		enum err e = mail_local_quote(a->local, &text);
		e = e == ERR_OK ? buf_append_byte(&text, '@') : e;
		e = e == ERR_OK ? buf_append(&text, a->domain) : e;
		e = e == ERR_OK ? mail_mailbox_parse(buf_bytes(&text), &mailbox) : e;
		if (e == ERR_OK) {
			state = owner->owns(owner->arg, &mailbox) ? FIELD_FINE : FIELD_FOREIGN;
		} else if (e == ERR_MEMORY) {
			state = FIELD_MEMORY;
		}
	}
	buf_wipe(&text);
	return state;
}

/* Each mailbox of a field's value is hers, and there is at least one, and no more than `most`. */
static enum field_state
check_field(struct bytes value, size_t most, const struct submission_owner *owner)
{
	struct arena arena;
	struct mail_addresses list;
	size_t mailboxes = 0;
	int at_signs = count_at_signs(value);
	if (value.len > FIELD_MAX || at_signs < 0) {
		return FIELD_UNCLEAR;
	}
	arena_init(&arena, ARENA_MAX);
	enum err e = mail_addresses_parse(&arena, value, AUTHORS_MAX * 2, &list);
	enum field_state state = e == ERR_OK ? FIELD_FINE : FIELD_MEMORY;
	for (size_t i = 0; state == FIELD_FINE && i < list.count; i++) {
		if (list.list[i].kind == MAIL_ADDRESS_MAILBOX) {
			mailboxes++;
			state = check_address(&list.list[i], owner);
		}
	}
	/* A second '@' in a mailbox (in an unquoted name, or a route) is what spoofs are made of. */
	if (state == FIELD_FINE &&
	    (list.truncated || mailboxes == 0 || mailboxes > most || mailboxes != (size_t)at_signs)) {
		state = FIELD_UNCLEAR;
	}
	arena_clear(&arena);
	return state;
}

static enum submission_verdict
verdict(enum field_state state, enum submission_verdict unclear, enum submission_verdict foreign)
{
	switch (state) {
	case FIELD_FINE:
		return SUBMISSION_OK;
	case FIELD_UNCLEAR:
		return unclear;
	case FIELD_FOREIGN:
		return foreign;
	case FIELD_MEMORY:
		break;
	}
	return SUBMISSION_MEMORY;
}

struct found {
	size_t from;
	size_t sender;
	size_t resent;
	size_t resent_from;
	size_t resent_sender;
};

static enum submission_verdict
check_one(const struct mail_field *f, struct found *found, const struct submission_owner *owner)
{
	if (bytes_is_nocase(f->name, "From")) {
		/* Counted before it is judged: two are two, whoever they name. */
		return found->from++ > 0 ? SUBMISSION_MANY_FROM
					 : verdict(check_field(f->value, AUTHORS_MAX, owner),
						   SUBMISSION_UNCLEAR_FROM, SUBMISSION_FOREIGN_FROM);
	}
	if (bytes_is_nocase(f->name, "Sender")) {
		return found->sender++ > 0 ? SUBMISSION_BAD_SENDER
					   : verdict(check_field(f->value, 1, owner), SUBMISSION_BAD_SENDER,
						     SUBMISSION_FOREIGN_SENDER);
	}
	if (!bytes_starts_with_nocase(f->name, "Resent-")) {
		return SUBMISSION_OK;
	}
	found->resent++;
	bool from = bytes_is_nocase(f->name, "Resent-From");
	bool sender = bytes_is_nocase(f->name, "Resent-Sender");
	found->resent_from += from ? 1 : 0;
	found->resent_sender += sender ? 1 : 0;
	if ((from && found->resent_from > RESENT_MAX) || (sender && found->resent_sender > RESENT_MAX)) {
		return SUBMISSION_BAD_RESENT;
	}
	return from || sender ? verdict(check_field(f->value, sender ? 1 : AUTHORS_MAX, owner),
					SUBMISSION_BAD_RESENT, SUBMISSION_FOREIGN_RESENT)
			      : SUBMISSION_OK;
}

enum submission_verdict
submission_check(struct bytes message, const struct submission_owner *owner)
{
	struct mail_fields it;
	struct mail_field f;
	struct found found = {0, 0, 0, 0, 0};
	enum submission_verdict v = SUBMISSION_OK;
	mail_fields_init(&it, message);
	while (v == SUBMISSION_OK && mail_fields_next(&it, &f)) {
		v = check_one(&f, &found, owner);
	}
	if (v == SUBMISSION_OK && found.from == 0) {
		v = SUBMISSION_NO_FROM;
	}
	if (v == SUBMISSION_OK && found.resent > 0 && found.resent_from == 0) {
		v = SUBMISSION_BAD_RESENT;
	}
	return v;
}

const char *
submission_verdict_text(enum submission_verdict v)
{
	static const char *const texts[SUBMISSION__COUNT] = {
	    [SUBMISSION_OK] = "Ok",
	    [SUBMISSION_NO_FROM] = "The message has no From field",
	    [SUBMISSION_MANY_FROM] = "The message has more than one From field",
	    [SUBMISSION_UNCLEAR_FROM] = "The From field cannot be read without doubt",
	    [SUBMISSION_FOREIGN_FROM] = "An address in From is not one of yours",
	    [SUBMISSION_BAD_SENDER] = "There must be at most one Sender field, with one clear address",
	    [SUBMISSION_FOREIGN_SENDER] = "The address in Sender is not one of yours",
	    [SUBMISSION_BAD_RESENT] = "Resent- fields need a clear Resent-From",
	    [SUBMISSION_FOREIGN_RESENT] = "An address in Resent-From or Resent-Sender is not one of yours",
	    [SUBMISSION_MEMORY] = "Temporary failure, try again later",
	};
	return v < SUBMISSION__COUNT ? texts[v] : texts[SUBMISSION_MEMORY];
}
