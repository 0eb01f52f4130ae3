/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_message.h"

#include <string.h>

#include "mail/address.h"
#include "mail/write.h"

enum {
	SHOWN_MAX = 4096, /* addresses of To and Cc that are compared; more only means a Bcc too many */
	ARENA_MAX = 4 << 20,
	BCC_MAX = 512 * 1024,
};

static const char *const not_kept[] = {"Bcc", NULL};

static enum err
without(struct bytes message, const char *const *names, struct bytes fields, struct buf *out)
{
	struct buf stripped = BUF_INIT(message.len);
	enum err e = mail_strip_fields(message, names, &stripped);
	if (e == ERR_OK) {
		e = mail_insert_top(buf_bytes(&stripped), fields, out);
	}
	buf_wipe(&stripped);
	return e;
}

/* Marks the recipient that this address of the header is. */
static enum err
show(const struct mail_address *a, struct submission_address *recipients, size_t count)
{
	struct buf text = BUF_INIT(MAIL_MAILBOX_MAX * 2);
	struct buf normal = BUF_INIT(MAIL_MAILBOX_MAX * 4);
	struct mail_mailbox mailbox;
	if (a->kind != MAIL_ADDRESS_MAILBOX || a->local.len == 0 || a->domain.len == 0) {
		return ERR_OK;
	}
	enum err e = mail_local_quote(a->local, &text);
	e = e == ERR_OK ? buf_append_byte(&text, '@') : e;
	e = e == ERR_OK ? buf_append(&text, a->domain) : e;
	e = e == ERR_OK ? mail_mailbox_parse(buf_bytes(&text), &mailbox) : e;
	e = e == ERR_OK ? mail_mailbox_normalise(&mailbox, &normal) : e;
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		recipients[i].shown =
		    recipients[i].shown || bytes_equal(recipients[i].normal, buf_bytes(&normal));
	}
	buf_wipe(&text);
	buf_wipe(&normal);
	/* What is no address shows nobody. */
	return e == ERR_MEMORY ? e : ERR_OK;
}

static enum err
mark_shown(struct bytes message, struct submission_address *recipients, size_t count)
{
	struct mail_fields it;
	struct mail_field f;
	size_t budget = SHOWN_MAX;
	enum err e = ERR_OK;
	mail_fields_init(&it, message);
	while (e == ERR_OK && budget > 0 && mail_fields_next(&it, &f)) {
		if (!bytes_is_nocase(f.name, "To") && !bytes_is_nocase(f.name, "Cc") &&
		    !bytes_is_nocase(f.name, "Resent-To") && !bytes_is_nocase(f.name, "Resent-Cc")) {
			continue;
		}
		struct arena arena;
		struct mail_addresses list;
		arena_init(&arena, ARENA_MAX);
		e = mail_addresses_parse(&arena, f.value, budget, &list);
		for (size_t i = 0; e == ERR_OK && i < list.count; i++) {
			e = show(&list.list[i], recipients, count);
		}
		budget -= e == ERR_OK ? list.count : 0;
		arena_clear(&arena);
	}
	return e;
}

enum err
submission_sent_copy(struct bytes message, struct bytes fields, struct submission_address *recipients,
		     size_t count, struct buf *out)
{
	struct buf list = BUF_INIT(BCC_MAX);
	struct buf top = BUF_INIT(BCC_MAX * 2);
	enum err e = mark_shown(message, recipients, count);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (!recipients[i].shown) {
			e = list.len > 0 ? buf_append_str(&list, ", ") : ERR_OK;
			e = e == ERR_OK ? buf_append(&list, recipients[i].address) : e;
		}
	}
	if (e == ERR_OK) {
		e = buf_append(&top, fields);
	}
	if (e == ERR_OK && list.len > 0) {
		e = mail_write_field(&top, "Bcc", buf_bytes(&list));
	}
	if (e == ERR_OK) {
		e = without(message, not_kept, buf_bytes(&top), out);
	}
	buf_wipe(&list);
	buf_wipe(&top);
	return e;
}

bool
submission_is_automatic(struct bytes message)
{
	struct mail_field f;
	return mail_field_find(message, "Auto-Submitted", &f) && !bytes_is_nocase(bytes_trim(f.value), "no");
}

bool
submission_waives_tls(struct bytes message)
{
	struct mail_fields it;
	struct mail_field f;
	size_t seen = 0;
	bool no = false;
	mail_fields_init(&it, message);
	while (mail_fields_next(&it, &f)) {
		if (bytes_is_nocase(f.name, "TLS-Required")) {
			no = bytes_is_nocase(bytes_trim(f.value), "no");
			seen++;
		}
	}
	return seen == 1 && no;
}
