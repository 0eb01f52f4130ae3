/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Where her mail is sent on stands in the house's directory; where she was last told that it is, stands in her log, which the house cannot write.
 * Where the two differ her own session tells her, in her INBOX: whoever changed it, and however.
 */
#include <string.h>

#include "crypto/crypto.h"
#include "mail/write.h"
#include "session/member_internal.h"

enum { NOTE_MAX = 8 * 1024, LIST_MAX = DIRECTORY_FORWARDS_MAX * (DIRECTORY_ADDRESS_MAX + 1) };

static const char told[] = "forward.told";

/* Separated by blanks, which no address has. */
static enum err
list(const struct directory_account *profile, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < profile->forward_count; i++) {
		e = i > 0 ? buf_append_byte(out, ' ') : ERR_OK;
		e = e == ERR_OK ? buf_append(out, profile->forwards[i]) : e;
	}
	return e;
}

static enum err
put_addresses(const struct directory_account *profile, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < profile->forward_count; i++) {
		e = buf_append_str(out, "  ");
		for (size_t k = 0; e == ERR_OK && k < profile->forwards[i].len; k++) {
			uint8_t c = profile->forwards[i].ptr[k];
			e = buf_append_byte(out, c > ' ' && c != 127 ? c : '?');
		}
		e = e == ERR_OK ? buf_append_str(out, "\r\n") : e;
	}
	return e;
}

static enum err
write_note(const struct member *m, int64_t time, struct buf *out)
{
	const char *domain = m->worker->host->config.domain;
	bool on = m->profile.forward_count > 0;
	uint8_t random[16];
	crypto_random_bytes(random, sizeof(random));
	enum err e = buf_printf(out, "From: Cohue <postmaster@%s>\r\nTo: <", domain);
	e = e == ERR_OK ? buf_append(out, m->profile.name) : e;
	e = e == ERR_OK ? buf_printf(out, "@%s>\r\nSubject: %s\r\nDate: ", domain,
				     on ? "Your mail is sent on to another address"
					: "Your mail is not sent on any more")
			: e;
	e = e == ERR_OK ? mail_write_date(out, time) : e;
	e = e == ERR_OK ? buf_append_str(out, "\r\nMessage-ID: <") : e;
	e = e == ERR_OK ? buf_append_hex(out, bytes_of(random, sizeof(random))) : e;
	e = e == ERR_OK ? buf_printf(out,
				     ".forward@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
				     "Content-Type: text/plain; charset=utf-8\r\n"
				     "Content-Transfer-Encoding: 8bit\r\n\r\n",
				     domain)
			: e;
	if (e == ERR_OK && on) {
		e = buf_append_str(out,
				   "A copy of each letter that comes to you is sent on, readable, to:\r\n");
		e = e == ERR_OK ? put_addresses(&m->profile, out) : e;
		e = e == ERR_OK
			? buf_append_str(
			      out,
			      "\r\nIf you did not ask for this, have it ended at once, and change your "
			      "passwords:\r\nto turn it on takes one of them (cohue member forward).\r\n")
			: e;
	} else if (e == ERR_OK) {
		e = buf_append_str(out, "Letters to you stay here from now on: no copy is sent on.\r\n");
	}
	return e;
}

static enum err
put_note(struct member *m, uint32_t mailbox, struct member_change *c)
{
	struct buf text = BUF_INIT(NOTE_MAX);
	uint32_t now = member_save_time();
	enum err e = write_note(m, now, &text);
	e = e == ERR_OK ? member_put_own(m, buf_bytes(&text), mailbox, now, c) : e;
	buf_wipe(&text);
	return e;
}

static enum err
build_note(void *arg, struct member *m, struct member_change *c)
{
	struct bytes now = *(const struct bytes *)arg;
	const struct fold_mailbox *inbox = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"));
	if (inbox == NULL || bytes_equal(fold_setting(m->fold, told), now)) {
		return ERR_OK;
	}
	uint32_t mailbox = inbox->id;
	struct operation op = {.kind = OPERATION_SETTING, .setting = {.name = bytes_str(told), .value = now}};
	enum err e = operations_add(c->record, &op);
	return e == ERR_OK ? put_note(m, mailbox, c) : e;
}

void
member_forward_consider(struct member *m)
{
	struct buf now = BUF_INIT(LIST_MAX);
	if (!m->loaded || m->broken != ERR_OK || list(&m->profile, &now) != ERR_OK) {
		buf_clear(&now);
		return;
	}
	struct bytes addresses = buf_bytes(&now);
	if (!bytes_equal(fold_setting(m->fold, told), addresses)) {
		/* What goes wrong here is tried again when she is next loaded. */
		enum err e = member_append_locked(m, NULL, build_note, &addresses, NULL);
		(void)e;
	}
	buf_wipe(&now);
}
