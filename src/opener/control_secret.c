/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Commands that need a secret of the member: her password, an application password, or the recovery code. */
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "opener/internal.h"

enum err
opener_commit_slots(struct opener *o, const struct opener_account *a)
{
	return a->entry.status == ACCOUNT_INVITED ? ERR_OK : opener_hand_over(o, a, true, NULL);
}

void
opener_close_account(struct opener_opened *s)
{
	opener_lock_give(s->o, &s->lock);
	opener_account_free(&s->account);
}

bool
opener_open_account(struct opener *o, struct bytes name, struct bytes secret, struct opener_answer *a,
		    struct opener_opened *ret)
{
	*ret = (struct opener_opened){.o = o, .account = NULL, .lock = {.held = false}};
	if (!opener_find_member(o, name, a, &ret->account)) {
		return false;
	}
	uint8_t id[SEALED_ID_LEN];
	memcpy(id, ret->account->id, sizeof(id));
	opener_account_free(&ret->account);
	enum err e = opener_lock_take(o, id, &ret->lock);
	if (e == ERR_OK) {
		e = opener_account_load(o, id, &ret->account);
	}
	if (e == ERR_OK) {
		e = opener_open(o, ret->account, secret, true);
	}
	/* Nothing is built upon an older list than her log knows. What else may be wrong with her log does not stand in the way. */
	if (e == ERR_OK && opener_commit_slots(o, ret->account) == ERR_CONFLICT) {
		e = ERR_DAMAGED;
		opener_say(a, e,
			   "nothing was changed: her list of passwords is older than her mailbox says: the "
			   "store has gone back. Remedy: stop the service, run `cohue check`, and restore a "
			   "backup");
	} else if (e == ERR_AUTH) {
		opener_say(a, e,
			   "nothing was changed: this is neither her password nor one of her "
			   "application passwords nor her recovery code. Remedy: try again, or use the "
			   "recovery code");
	} else if (e != ERR_OK) {
		opener_say_error(a, e);
	}
	if (e != ERR_OK) {
		opener_close_account(ret);
	}
	return e == ERR_OK;
}

/* Writes the slots, and the entry where it changed; ends her sessions; has her log commit to the new list. */
static enum err
write_account(struct opener_opened *s, bool new_generation, struct opener_answer *a)
{
	struct opener_changes c;
	opener_changes_init(&c, s->o);
	enum err e = new_generation ? opener_rekey(s->o, s->account) : ERR_OK;
	bool ended = opener_void_forwards(s->account);
	if (e == ERR_OK) {
		if (new_generation || s->lifted || ended) {
			opener_put_account(&c, OPENER_PUT, &s->account->entry);
		}
		opener_put_slots(&c, OPENER_PUT, s->account->slots, s->account->id);
		e = opener_commit(&c);
	}
	opener_changes_clear(&c);
	if (e == ERR_OK) {
		opener_close_member(s->o, s->account->id);
		if (ended) {
			opener_say(a, ERR_OK,
				   "it is done; her mail is not sent on any more: that was asked for with "
				   "the secret that is no more. Remedy, if she still wants it: `cohue "
				   "member forward` with one that she has now");
		}
		if (opener_account_refresh(s->o, s->account) != ERR_OK ||
		    opener_commit_slots(s->o, s->account) != ERR_OK) {
			opener_say(
			    a, ERR_OK,
			    "it is done, but her mailbox could not be told. Remedy: let her log in soon: "
			    "until then a captured store could bring the older list of passwords back");
		}
	}
	return e;
}

struct change_job {
	struct opener_opened *s;
	struct bytes password;
	enum err result;
};

static void
change_main(void *arg)
{
	struct change_job *j = arg;
	uint32_t number = 0;
	j->result =
	    sealed_slots_change_main(j->s->account->slots, &j->s->account->keys,
				     j->s->o->keys.key[PURPOSE_PEPPER], j->password, opener_today(), &number);
}

void
opener_member_passwd(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes secret = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes password = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct opener_opened s;
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	if (!opener_check_password(password, a) || !opener_open_account(o, name, secret, a, &s)) {
		return;
	}
	struct change_job j = {.s = &s, .password = password, .result = ERR_AGAIN};
	enum err e = work_run(o->work, change_main, &j);
	e = e == ERR_OK ? j.result : e;
	if (e == ERR_OK) {
		/* Who had her password has it no more. */
		s.lifted = opener_lift(&s.account->entry);
		e = write_account(&s, false, a);
	}
	if (e != ERR_OK) {
		opener_say_error(a, e);
	}
	opener_close_account(&s);
}

static void
put_code(struct opener_answer *a, struct slot_code *code)
{
	char text[SLOT_CODE_TEXT_MAX];
	slot_code_print(code, text);
	wire_put_bytes(a->data, bytes_str(text));
	secret_wipe(text, sizeof(text));
	secret_wipe(code, sizeof(*code));
}

void
opener_member_app_add(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes secret = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes label = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct slot_code code;
	struct opener_opened s;
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	if (label.len > SLOT_LABEL_MAX || !bytes_is_utf8(label)) {
		opener_say(a, ERR_LIMIT, "the label is too long, or not UTF-8. Remedy: at most %d octets",
			   SLOT_LABEL_MAX);
		return;
	}
	if (!opener_open_account(o, name, secret, a, &s)) {
		return;
	}
	enum err e = sealed_slots_add_code(s.account->slots, &s.account->keys, o->keys.key[PURPOSE_PEPPER],
					   SLOT_APP, opener_today(), label, &code);
	if (e == ERR_LIMIT) {
		opener_say(
		    a, e,
		    "she has %d passwords and codes already. Remedy: `cohue member app-drop` one of them",
		    SLOTS_MAX);
		opener_close_account(&s);
		return;
	}
	if (e == ERR_OK) {
		e = opener_add_scram(o, s.account->entry.name, s.account->slots, &code);
	}
	if (e == ERR_OK) {
		e = write_account(&s, false, a);
	}
	if (e == ERR_OK) {
		put_code(a, &code);
	} else {
		opener_say_error(a, e);
	}
	opener_close_account(&s);
}

void
opener_member_app_list(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes secret = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct opener_opened s;
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	if (!opener_open_account(o, name, secret, a, &s)) {
		return;
	}
	enum err e = ERR_OK;
	for (size_t i = 0; i < sealed_slots_count(s.account->slots) && e == ERR_OK; i++) {
		struct slot_info info = sealed_slots_info(s.account->slots, i);
		struct buf label = BUF_INIT(SLOT_LABEL_MAX + 64);
		e = sealed_slots_label(s.account->slots, &s.account->keys, info.number, &label);
		if (e == ERR_OK) {
			wire_put_u16(a->data, info.number > UINT16_MAX ? UINT16_MAX : (uint16_t)info.number);
			wire_put_u8(a->data, (uint8_t)info.kind);
			wire_put_bytes(a->data, buf_bytes(&label));
		}
		buf_wipe(&label);
	}
	if (e != ERR_OK) {
		opener_say_error(a, e == ERR_AUTH || e == ERR_NOT_FOUND ? ERR_DAMAGED : e);
	}
	opener_close_account(&s);
}

static bool
slot_kind_of(const struct sealed_slots *slots, uint32_t number, enum slot_kind *ret)
{
	for (size_t i = 0; i < sealed_slots_count(slots); i++) {
		struct slot_info info = sealed_slots_info(slots, i);
		if (info.number == number) {
			*ret = info.kind;
			return true;
		}
	}
	return false;
}

void
opener_member_app_drop(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes secret = wire_get_bytes(r, CONTROL_SECRET_MAX);
	uint16_t number = wire_get_u16(r);
	struct opener_opened s;
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	if (!opener_open_account(o, name, secret, a, &s)) {
		return;
	}
	enum slot_kind kind = SLOT_MAIN;
	if (!slot_kind_of(s.account->slots, number, &kind) || kind == SLOT_RECOVERY) {
		opener_say(a, ERR_NOT_FOUND,
			   "there is no password of this number. Remedy: `cohue member app-list` shows them; "
			   "the recovery code is replaced by `cohue member recovery`");
		opener_close_account(&s);
		return;
	}
	enum err e = sealed_slots_revoke(s.account->slots, &s.account->keys, number);
	if (e == ERR_OK) {
		s.lifted = opener_lift(&s.account->entry);
		e = write_account(&s, true, a);
	}
	if (e == ERR_STATE) {
		opener_say(a, e,
			   "this is her last way in. Remedy: make another one first (`cohue member "
			   "app-password`)");
	} else if (e != ERR_OK) {
		opener_say_error(a, e);
	}
	opener_close_account(&s);
}

/* The number of a recovery slot other than `kept`; 0 without. */
static uint32_t
older_recovery(const struct sealed_slots *slots, size_t kept_from)
{
	for (size_t i = 0; i < kept_from; i++) {
		struct slot_info info = sealed_slots_info(slots, i);
		if (info.kind == SLOT_RECOVERY) {
			return info.number;
		}
	}
	return 0;
}

void
opener_member_recovery(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes secret = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct slot_code code;
	struct opener_opened s;
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	if (!opener_open_account(o, name, secret, a, &s)) {
		return;
	}
	bool revoked = false;
	enum err e = sealed_slots_add_code(s.account->slots, &s.account->keys, o->keys.key[PURPOSE_PEPPER],
					   SLOT_RECOVERY, opener_today(), BYTES_EMPTY, &code);
	/* The new one stands last: slots ascend by number, and numbers are never given twice. */
	while (e == ERR_OK) {
		uint32_t old = older_recovery(s.account->slots, sealed_slots_count(s.account->slots) - 1);
		if (old == 0) {
			break;
		}
		e = sealed_slots_revoke(s.account->slots, &s.account->keys, old);
		revoked = true;
	}
	if (e == ERR_OK) {
		s.lifted = opener_lift(&s.account->entry);
		e = write_account(&s, revoked, a);
	}
	if (e == ERR_OK) {
		put_code(a, &code);
	} else {
		opener_say_error(a, e);
	}
	opener_close_account(&s);
}
