/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Where her mail is sent on stands in the house's directory; where she was last told that it is, and when, stands in her log, which the house
 * cannot write. Where the two differ her own session tells her, in her INBOX: whoever changed it, and however. While it is on she is told
 * again with each change of her secrets, and every month: who took one letter away before she saw it does not keep it from her.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "session/member_internal.h"
#include "session/notice.h"

enum {
	NOTE_MAX = 8 * 1024,
	LIST_MAX = DIRECTORY_FORWARDS_MAX * (DIRECTORY_ADDRESS_MAX + 1),
	AGAIN_DAYS = 30,
	MARK_LEN = 32,
};

static const char told[] = "forward.told"; /* the addresses */
static const char when[] = "forward.when"; /* "DAY REVISION": since 1970; of her slot list */

enum occasion { NOTHING, TURNED_ON, TURNED_OFF, STILL_ON };

struct standing {
	struct buf addresses;
	uint32_t day;
	char mark[MARK_LEN];
	enum occasion occasion;
};

enum err
member_forward_list(const struct member *m, struct buf *out)
{
	const struct directory_account *profile = &m->profile;
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

static void
look(const struct member *m, struct standing *s)
{
	struct bytes before = fold_setting(m->fold, told);
	struct bytes mark = fold_setting(m->fold, when);
	ptrdiff_t blank = bytes_find(mark, ' ');
	uint64_t day = 0;
	bool on = s->addresses.len > 0;
	s->occasion = NOTHING;
	if (!bytes_equal(before, buf_bytes(&s->addresses))) {
		s->occasion = on ? TURNED_ON : TURNED_OFF;
	} else if (on) {
		/* A clock that was set back tells her once more. */
		bool recent = blank > 0 &&
			      bytes_to_u64(bytes_slice(mark, 0, (size_t)blank), UINT32_MAX, &day) == ERR_OK &&
			      day <= s->day && s->day - day < AGAIN_DAYS;
		bool same =
		    blank > 0 && bytes_is(bytes_from(mark, (size_t)blank), s->mark + strcspn(s->mark, " "));
		s->occasion = recent && same ? NOTHING : STILL_ON;
	}
}

static enum err
standing_init(struct standing *s, const struct member *m)
{
	buf_init(&s->addresses, LIST_MAX);
	s->day = (uint32_t)(clock_wall() / MSEC_DAY);
	(void)snprintf(s->mark, sizeof(s->mark), "%u %u", s->day, m->slots_revision);
	enum err e = member_forward_list(m, &s->addresses);
	if (e == ERR_OK) {
		look(m, s);
	}
	return e;
}

static enum err
put_note(struct member *m, enum occasion occasion, struct member_change *c)
{
	struct buf body = BUF_INIT(NOTE_MAX);
	struct notice n = {.tag = "forward", .subject = "Your mail is sent on to another address"};
	enum err e = ERR_OK;
	if (occasion == TURNED_OFF) {
		n.subject = "Your mail is not sent on any more";
		e = buf_append_str(
		    &body,
		    "Letters to you stay here from now on: no copy is sent on. It was ended, or the secret "
		    "with which\r\nit was asked for is no more.\r\n\r\nTo have it sent on again takes a "
		    "password of yours: cohue member forward.\r\n");
	} else {
		if (occasion == STILL_ON) {
			n.subject = "Your mail is still sent on to another address";
		}
		e = buf_append_str(&body,
				   "A copy of each letter that comes to you is sent on, readable, to:\r\n");
		e = e == ERR_OK ? put_addresses(&m->profile, &body) : e;
		e = e == ERR_OK
			? buf_printf(
			      &body,
			      "\r\nIt was asked for with a secret of yours, number %u (cohue member app-list "
			      "names them), and ends\r\nwith that secret. If you did not ask for this, have "
			      "it "
			      "ended at once (cohue member forward NAME\r\nnone) and change your passwords "
			      "and "
			      "your recovery code.\r\n\r\nYou are told again with each change of your "
			      "passwords, and every "
			      "%d days.\r\n",
			      m->profile.forward_slot, AGAIN_DAYS)
			: e;
	}
	n.body = buf_bytes(&body);
	e = e == ERR_OK ? notice_put(m, &n, c) : e;
	buf_wipe(&body);
	return e;
}

static enum err
build_note(void *arg, struct member *m, struct member_change *c)
{
	struct standing *s = arg;
	look(m, s);
	if (s->occasion == NOTHING || fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX")) == NULL) {
		return ERR_OK;
	}
	struct operation mark = {.kind = OPERATION_SETTING,
				 .setting = {.name = bytes_str(when), .value = bytes_str(s->mark)}};
	struct operation op = {.kind = OPERATION_SETTING,
			       .setting = {.name = bytes_str(told), .value = buf_bytes(&s->addresses)}};
	enum occasion occasion = s->occasion;
	enum err e = operations_add(c->record, &mark);
	e = e == ERR_OK && occasion != STILL_ON ? operations_add(c->record, &op) : e;
	return e == ERR_OK ? put_note(m, occasion, c) : e;
}

void
member_forward_consider(struct member *m)
{
	struct standing s;
	if (!m->loaded || m->broken != ERR_OK) {
		return;
	}
	if (standing_init(&s, m) == ERR_OK && s.occasion != NOTHING) {
		/* What goes wrong here is tried again when there is next something new of hers. */
		enum err e = member_append_locked(m, NULL, build_note, &s, NULL);
		(void)e;
	}
	buf_wipe(&s.addresses);
}
