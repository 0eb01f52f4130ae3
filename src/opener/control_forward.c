/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Where her mail is sent on: said with a secret of hers, and forgotten with that secret. */
#include <string.h>

#include "mail/address.h"
#include "opener/internal.h"
#include "sealed/forward_list.h"

bool
opener_void_forwards(struct opener_account *a)
{
	bool stands = a->entry.forward_count == 0;
	for (size_t i = 0; i < sealed_slots_count(a->slots) && !stands; i++) {
		stands = sealed_slots_info(a->slots, i).number == a->entry.forward_slot;
	}
	if (!stands) {
		a->entry.forward_count = 0;
	}
	return !stands;
}

/* One address, its domain as the DNS knows it, appended to text; *ret is a view made later. False: what is wrong was said. */
static bool
take_forward(const struct opener *o, struct bytes typed, struct buf *text, struct opener_answer *a)
{
	struct mail_mailbox m;
	struct buf domain = BUF_INIT(DIRECTORY_ADDRESS_MAX);
	int shown = typed.len > MAIL_MAILBOX_MAX ? MAIL_MAILBOX_MAX : (int)typed.len;
	const char *ptr = typed.len == 0 ? "" : (const char *)typed.ptr;
	enum err e = mail_mailbox_parse(typed, &m);
	e = e == ERR_OK && (m.domain.len == 0 || m.literal) ? ERR_FORMAT : e;
	e = e == ERR_OK ? mail_domain_normalise(m.domain, &domain) : e;
	bool ours = e == ERR_OK && bytes_is_nocase(buf_bytes(&domain), o->host->config.domain);
	e = e == ERR_OK ? buf_append(text, m.local) : e;
	e = e == ERR_OK ? buf_append_byte(text, '@') : e;
	e = e == ERR_OK ? buf_append(text, buf_bytes(&domain)) : e;
	buf_clear(&domain);
	if (ours) {
		opener_say(
		    a, ERR_DENIED,
		    "nothing was changed: '%.*s' is an address of this house. Remedy: an alias of several "
		    "members (`cohue alias set`)",
		    shown, ptr);
	} else if (e != ERR_OK) {
		opener_say(a, ERR_FORMAT,
			   "nothing was changed: '%.*s' is no address. Remedy: like name@example.org", shown,
			   ptr);
	}
	return e == ERR_OK && !ours;
}

/* Fills the entry's list; its views borrow from text. */
static bool
take_forwards(const struct opener *o, struct bytes addresses, struct buf *text,
	      struct directory_account *entry, struct opener_answer *a)
{
	size_t ends[DIRECTORY_FORWARDS_MAX];
	size_t count = 0;
	while (addresses.len > 0) {
		ptrdiff_t blank = bytes_find(addresses, ' ');
		struct bytes one = blank < 0 ? addresses : bytes_slice(addresses, 0, (size_t)blank);
		addresses = blank < 0 ? BYTES_EMPTY : bytes_from(addresses, (size_t)blank + 1);
		if (one.len == 0) {
			continue;
		}
		if (count == DIRECTORY_FORWARDS_MAX) {
			opener_say(a, ERR_LIMIT, "nothing was changed: mail can be sent on to %d addresses",
				   DIRECTORY_FORWARDS_MAX);
			return false;
		}
		if (!take_forward(o, one, text, a)) {
			return false;
		}
		ends[count++] = text->len;
	}
	for (size_t i = 0; i < count; i++) {
		size_t from = i == 0 ? 0 : ends[i - 1];
		entry->forwards[i] = bytes_slice(buf_bytes(text), from, ends[i] - from);
	}
	entry->forward_count = count;
	return count > 0;
}

/* The keeper's word that it is her wish: without it nothing goes anywhere. */
static enum err
sign_forwards(struct opener *o, struct directory_account *entry)
{
	struct buf list = BUF_INIT(FORWARD_LIST_MAX);
	struct buf reply = BUF_INIT(256);
	struct msg_sign_forwards q;
	struct msg_sign_forwards_reply m;
	enum err e = forward_list_put(entry, &list);
	if (e == ERR_OK) {
		memcpy(q.account, entry->id, sizeof(q.account));
		forward_list_hash(buf_bytes(&list), q.list);
		e = channel_call(role_channel(o->host, ROLE_KEEPER, 0), SIGN_FORWARDS, sign_forwards, &q,
				 opener_deadline(o), &reply);
	}
	e = e == ERR_OK ? msg_sign_forwards_reply_decode(buf_bytes(&reply), &m) : e;
	if (e == ERR_OK) {
		memcpy(entry->forwards_signature, m.signature, sizeof(entry->forwards_signature));
	}
	buf_wipe(&list);
	buf_clear(&reply);
	return e;
}

void
opener_set_forwards(struct opener *o, struct bytes name, struct bytes secret, struct bytes addresses,
		    struct opener_answer *a)
{
	struct opener_opened s;
	struct opener_changes c;
	struct buf text = BUF_INIT(DIRECTORY_FORWARDS_MAX * DIRECTORY_ADDRESS_MAX * 2);
	if (o->host->config.authentication == CONFIG_AUTHENTICATION_OFF) {
		opener_say(
		    a, ERR_DENIED,
		    "nothing was changed: with `authentication = off` nobody has looked whether mail is from "
		    "whom it says, and it would go on in the house's name. Remedy: `authentication = "
		    "enforce` (or `mark`) in cohue.conf");
		return;
	}
	if (!opener_open_account(o, name, secret, a, &s)) {
		return;
	}
	opener_changes_init(&c, o);
	if (take_forwards(o, addresses, &text, &s.account->entry, a)) {
		s.account->entry.forward_slot = s.account->slot;
		enum err e = sign_forwards(o, &s.account->entry);
		if (e == ERR_OK) {
			opener_put_account(&c, OPENER_PUT, &s.account->entry);
			e = opener_commit(&c);
		}
		if (e != ERR_OK) {
			opener_say_error(a, e);
		} else {
			opener_close_member(o, s.account->id);
			/* Her own session tells her now; if it cannot, at her next login. */
			if (opener_account_refresh(o, s.account) != ERR_OK ||
			    opener_commit_slots(o, s.account) != ERR_OK) {
				opener_say(a, ERR_OK, "it is done; she is told of it at her next login");
			}
		}
	}
	opener_changes_clear(&c);
	buf_wipe(&text);
	opener_close_account(&s);
}
