/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The volunteer's commands: which there are, and those that need no secret of the member. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/wire.h"
#include "opener/internal.h"
#include "opener/name.h"

enum { TEXT_MAX = 1024, DATA_MAX = CONTROL_ANSWER_MAX - TEXT_MAX - 64 };

static const uint8_t directory_lock[SEALED_ID_LEN];

static const struct {
	enum control_op op;
	opener_command *fn;
} commands[] = {
    {CONTROL_MEMBER_ADD, opener_member_add},           {CONTROL_MEMBER_LIST, opener_member_list},
    {CONTROL_MEMBER_PASSWD, opener_member_passwd},     {CONTROL_MEMBER_APP_ADD, opener_member_app_add},
    {CONTROL_MEMBER_APP_LIST, opener_member_app_list}, {CONTROL_MEMBER_APP_DROP, opener_member_app_drop},
    {CONTROL_MEMBER_RECOVERY, opener_member_recovery}, {CONTROL_MEMBER_SUSPEND, opener_member_suspend},
    {CONTROL_MEMBER_REMOVE, opener_member_remove},     {CONTROL_ALIAS_SET, opener_alias_set},
    {CONTROL_ALIAS_REMOVE, opener_alias_remove},       {CONTROL_ALIAS_LIST, opener_alias_list},
    {CONTROL_MEMBER_QUOTA, opener_member_quota},       {CONTROL_MEMBER_LANE, opener_member_lane},
    {CONTROL_MEMBER_LIMIT, opener_member_limit},       {CONTROL_MEMBER_FORWARD, opener_member_forward},
};

void
opener_say(struct opener_answer *a, enum err status, const char *format, ...)
{
	char line[TEXT_MAX];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	a->status = status;
	buf_reset(&a->text);
	if (n < 0 || buf_append_str(&a->text, line) != ERR_OK) {
		/* The status alone must do. */
		buf_reset(&a->text);
	}
}

void
opener_say_error(struct opener_answer *a, enum err e)
{
	switch ((int)e) {
	case ERR_FORMAT:
		opener_say(a, e,
			   "the request is not understood. Remedy: use the `cohue` of the same version "
			   "as the service");
		break;
	case ERR_TIMEOUT:
	case ERR_CLOSED:
		opener_say(a, e,
			   "the store did not answer in time; the change may have been made. Remedy: "
			   "look (`cohue member list`), then try again");
		break;
	case ERR_DAMAGED:
		opener_say(a, e,
			   "an entry of the directory does not verify. Remedy: stop the service and run "
			   "`cohue check`");
		break;
	case ERR_FULL:
		opener_say(a, e, "nothing was changed: the disk is full. Remedy: make room, then try again");
		break;
	case ERR_LIMIT:
		opener_say(a, e, "nothing was changed: a limit would be passed");
		break;
	default:
		opener_say(a, e, "nothing was changed: %s. Remedy: try again in a moment", err_text(e));
		break;
	}
}

void
opener_control(struct opener *o, struct bytes request, struct buf *ret_packet)
{
	struct buf data = BUF_INIT(DATA_MAX);
	struct wire_writer w;
	struct opener_answer a = {.status = ERR_OK, .text = BUF_INIT(TEXT_MAX), .data = &w};
	struct wire_reader r;
	wire_reader_init(&r, request);
	wire_writer_init(&w, &data);
	unsigned op = wire_get_u8(&r);
	opener_command *fn = NULL;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		fn = (unsigned)commands[i].op == op ? commands[i].fn : fn;
	}
	if (fn == NULL || r.error != ERR_OK) {
		opener_say_error(&a, ERR_FORMAT);
	} else {
		fn(o, &r, &a);
	}
	if (a.status == ERR_OK && wire_done(&w) != ERR_OK) {
		opener_say_error(&a, wire_done(&w));
	}
	if (a.status != ERR_OK) {
		buf_wipe(&data);
	}
	if (control_answer_encode(ret_packet, a.status, buf_bytes(&a.text), buf_bytes(&data)) != ERR_OK) {
		buf_reset(ret_packet);
	}
	buf_wipe(&data);
	buf_wipe(&a.text);
}

/* ---- shared ---- */

bool
opener_find_member(struct opener *o, struct bytes typed, struct opener_answer *a, struct opener_account **ret)
{
	struct buf name = BUF_INIT(CONTROL_NAME_MAX + 1);
	struct buf address = BUF_INIT(DIRECTORY_ADDRESS_MAX);
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct directory_address *entry = calloc(1, sizeof(*entry));
	int shown = typed.len > CONTROL_NAME_MAX ? CONTROL_NAME_MAX : (int)typed.len;
	enum err e = entry == NULL ? ERR_MEMORY : name_of_member(typed, o->host->config.domain, &name);
	if (e == ERR_OK) {
		e = opener_address(o, buf_bytes(&name), &address);
	}
	if (e == ERR_OK) {
		e = opener_find_address(o, buf_bytes(&address), &plain, entry);
	}
	if (e == ERR_OK && entry->kind != ADDRESS_MEMBER) {
		e = ERR_NOT_FOUND;
	}
	if (e == ERR_OK) {
		e = opener_account_load(o, entry->accounts[0], ret);
		e = e == ERR_NOT_FOUND ? ERR_DAMAGED : e;
	}
	if (e == ERR_NOT_FOUND || e == ERR_DENIED || e == ERR_FORMAT) {
		opener_say(a, ERR_NOT_FOUND,
			   "there is no member '%.*s'. Remedy: `cohue member list` shows them", shown,
			   shown == 0 ? "" : (const char *)typed.ptr);
	} else if (e != ERR_OK) {
		opener_say_error(a, e);
	}
	buf_wipe(&name);
	buf_wipe(&address);
	buf_wipe(&plain);
	free(entry);
	return e == ERR_OK;
}

/* ---- member add ---- */

struct password_job {
	const struct opener *o;
	struct sealed_slots *slots;
	const struct member_keys *keys;
	struct bytes password;
	enum err result;
};

static void
add_main(void *arg)
{
	struct password_job *j = arg;
	uint32_t number = 0;
	j->result = sealed_slots_add_main(j->slots, j->keys, j->o->keys.key[PURPOSE_PEPPER], j->password,
					  opener_today(), BYTES_EMPTY, &number);
}

static enum err
make_slots(struct opener *o, struct bytes name, struct bytes password, struct sealed_slots *slots,
	   const struct member_keys *keys, struct slot_code *ret_app, struct slot_code *ret_recovery)
{
	const uint8_t *pepper = o->keys.key[PURPOSE_PEPPER];
	enum err e =
	    sealed_slots_add_code(slots, keys, pepper, SLOT_APP, opener_today(), BYTES_LIT("first"), ret_app);
	if (e == ERR_OK) {
		e = opener_add_scram(o, name, slots, ret_app);
	}
	if (e == ERR_OK) {
		e = sealed_slots_add_code(slots, keys, pepper, SLOT_RECOVERY, opener_today(), BYTES_EMPTY,
					  ret_recovery);
	}
	if (e == ERR_OK && password.len > 0) {
		struct password_job j = {
		    .o = o, .slots = slots, .keys = keys, .password = password, .result = ERR_AGAIN};
		e = work_run(o->work, add_main, &j);
		e = e == ERR_OK ? j.result : e;
	}
	return e;
}

/* The first member answers for the house (RFC 5321 section 4.5.1, RFC 2142). */
static enum err
add_duties(struct opener *o, struct opener_changes *c, struct directory_account *entry, struct buf text[2])
{
	static const char *const duties[2] = {"postmaster", "abuse"};
	enum err e = ERR_OK;
	for (size_t i = 0; i < 2 && e == ERR_OK; i++) {
		struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
		struct directory_address *d = calloc(1, sizeof(*d));
		buf_init(&text[i], DIRECTORY_ADDRESS_MAX);
		e = d == NULL ? ERR_MEMORY : opener_address(o, bytes_str(duties[i]), &text[i]);
		if (e == ERR_OK && !bytes_is(entry->name, duties[i])) {
			e = opener_find_address(o, buf_bytes(&text[i]), &plain, d);
			if (e == ERR_NOT_FOUND) {
				d->kind = ADDRESS_ALIAS;
				d->address = buf_bytes(&text[i]);
				d->count = 1;
				memcpy(d->accounts[0], entry->id, SEALED_ID_LEN);
				opener_put_address(c, OPENER_CREATE, d);
				entry->addresses[entry->address_count++] = buf_bytes(&text[i]);
				e = ERR_OK;
			}
		}
		buf_wipe(&plain);
		free(d);
	}
	return e;
}

static enum err
create_member(struct opener *o, struct bytes name, uint64_t quota, struct bytes password,
	      struct wire_writer *data)
{
	struct slot_code app;
	struct slot_code recovery;
	char text[SLOT_CODE_TEXT_MAX];
	struct buf address = BUF_INIT(DIRECTORY_ADDRESS_MAX);
	struct buf duties[2] = {BUF_INIT(1), BUF_INIT(1)};
	struct opener_changes c;
	struct opener_account *a = calloc(1, sizeof(*a));
	struct directory_address *d = calloc(1, sizeof(*d));
	opener_changes_init(&c, o);
	enum err e = a == NULL || d == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		crypto_random_bytes(a->id, sizeof(a->id));
		member_keys_init(&a->keys);
		e = sealed_slots_create(a->id, &a->slots, &a->keys);
	}
	if (e == ERR_OK) {
		e = make_slots(o, name, password, a->slots, &a->keys, &app, &recovery);
	}
	if (e == ERR_OK) {
		memcpy(a->entry.id, a->id, SEALED_ID_LEN);
		a->entry.status = ACCOUNT_INVITED;
		a->entry.name = name;
		a->entry.quota = quota == 0 ? o->host->config.quota : quota;
		a->entry.created_day = opener_today();
		e = opener_rekey(o, a);
	}
	if (e == ERR_OK) {
		e = opener_address(o, name, &address);
	}
	if (e == ERR_OK) {
		d->kind = ADDRESS_MEMBER;
		d->address = buf_bytes(&address);
		d->count = 1;
		memcpy(d->accounts[0], a->id, SEALED_ID_LEN);
		opener_put_address(&c, OPENER_CREATE, d);
		e = add_duties(o, &c, &a->entry, duties);
	}
	if (e == ERR_OK) {
		opener_know_account(&c, a->id);
		opener_put_account(&c, OPENER_CREATE, &a->entry);
		opener_put_slots(&c, OPENER_CREATE, a->slots, a->id);
		e = opener_commit(&c);
	}
	if (e == ERR_OK) {
		slot_code_print(&app, text);
		wire_put_bytes(data, bytes_str(text));
		slot_code_print(&recovery, text);
		wire_put_bytes(data, bytes_str(text));
	}
	secret_wipe(&app, sizeof(app));
	secret_wipe(&recovery, sizeof(recovery));
	secret_wipe(text, sizeof(text));
	opener_changes_clear(&c);
	opener_account_free(&a);
	free(d);
	buf_wipe(&duties[0]);
	buf_wipe(&duties[1]);
	buf_wipe(&address);
	return e;
}

bool
opener_check_password(struct bytes password, struct opener_answer *a)
{
	struct slot_code code;
	if (password.len < OPENER_PASSWORD_MIN || password.len > OPENER_PASSWORD_MOST) {
		opener_say(a, ERR_LIMIT,
			   "the password must have %d to %d octets. Remedy: several words make a good one",
			   OPENER_PASSWORD_MIN, OPENER_PASSWORD_MOST);
		return false;
	}
	bool controls = false;
	for (size_t i = 0; i < password.len; i++) {
		controls = controls || password.ptr[i] < 0x20 || password.ptr[i] == 0x7f;
	}
	if (controls || !bytes_is_utf8(password)) {
		opener_say(a, ERR_FORMAT,
			   "the password has control characters, or is not UTF-8: mail programs could not "
			   "send it. Remedy: another password");
		return false;
	}
	if (slot_code_parse(password, &code) == ERR_OK) {
		secret_wipe(&code, sizeof(code));
		opener_say(
		    a, ERR_FORMAT,
		    "this is an application password or a recovery code. Remedy: a password of her own");
		return false;
	}
	return true;
}

void
opener_member_add(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes typed = wire_get_bytes(r, CONTROL_SECRET_MAX);
	uint64_t quota = wire_get_u64(r);
	struct bytes password = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct buf name = BUF_INIT(CONTROL_NAME_MAX);
	struct opener_lock lock = {.held = false};
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	enum err e = name_of_member(typed, o->host->config.domain, &name);
	if (e == ERR_DENIED) {
		opener_say(a, e, "the domain is not %s. Remedy: give the part before the @ alone",
			   o->host->config.domain);
	} else if (e == ERR_MEMORY) {
		opener_say_error(a, e);
	} else if (e != ERR_OK || name_is_the_house(buf_bytes(&name))) {
		e = ERR_FORMAT;
		opener_say(a, e,
			   "this cannot be a member's name. Remedy: at most 64 of a-z, 0-9 and inner "
			   "dots and hyphens, no '+', and not one that the house writes as");
	} else if (password.len == 0 || opener_check_password(password, a)) {
		e = opener_lock_take(o, directory_lock, &lock);
		if (e == ERR_OK) {
			e = create_member(o, buf_bytes(&name), quota, password, a->data);
		}
		if (e == ERR_EXISTS) {
			opener_say(a, e,
				   "the address %.*s@%s is taken, by a member or an alias. Remedy: another "
				   "name, or `cohue alias remove` first",
				   (int)name.len, (const char *)name.ptr, o->host->config.domain);
		} else if (e != ERR_OK) {
			opener_say_error(a, e);
		}
	}
	opener_lock_give(o, &lock);
	buf_wipe(&name);
}

/* ---- suspend, quota ---- */

/* Changes one account's entry under its lock. */
static void
change_entry(struct opener *o, struct bytes name, struct opener_answer *a,
	     bool (*change)(struct directory_account *entry, uint64_t value, struct opener_answer *a),
	     uint64_t value)
{
	struct opener_account *account = NULL;
	struct opener_lock lock = {.held = false};
	struct opener_changes c;
	if (!opener_find_member(o, name, a, &account)) {
		return;
	}
	uint8_t id[SEALED_ID_LEN];
	memcpy(id, account->id, sizeof(id));
	opener_account_free(&account);
	opener_changes_init(&c, o);
	enum err e = opener_lock_take(o, id, &lock);
	if (e == ERR_OK) {
		e = opener_account_load(o, id, &account);
	}
	bool wanted = e == ERR_OK && change(&account->entry, value, a);
	if (wanted) {
		opener_put_account(&c, OPENER_PUT, &account->entry);
		e = opener_commit(&c);
	}
	if (e != ERR_OK) {
		opener_say_error(a, e);
	} else if (wanted) {
		/* Her sessions read the entry anew at the next login. */
		opener_close_member(o, id);
	}
	opener_lock_give(o, &lock);
	opener_changes_clear(&c);
	opener_account_free(&account);
}

static bool
set_suspended(struct directory_account *entry, uint64_t on, struct opener_answer *a)
{
	if (entry->status == ACCOUNT_REMOVED) {
		opener_say(a, ERR_STATE,
			   "this member is being removed. Remedy: `cohue member remove` ends it");
		return false;
	}
	bool lifted = on == 0 && opener_lift(entry);
	if ((entry->status == ACCOUNT_SUSPENDED) == (on != 0)) {
		return lifted; /* as wanted */
	}
	/*
	 * Generation 1 is that of the invitation: who was suspended before her first login still is invited.
	 */
	entry->status = on != 0                  ? ACCOUNT_SUSPENDED
			: entry->generation == 1 ? ACCOUNT_INVITED
						 : ACCOUNT_ACTIVE;
	return true;
}

void
opener_member_suspend(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	uint8_t on = wire_get_u8(r);
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	change_entry(o, name, a, set_suspended, on);
}

static bool
set_quota(struct directory_account *entry, uint64_t quota, struct opener_answer *a)
{
	(void)a;
	entry->quota = quota;
	return true;
}

void
opener_member_quota(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	uint64_t quota = wire_get_u64(r);
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	change_entry(o, name, a, set_quota, quota);
}

static bool
set_lane(struct directory_account *entry, uint64_t lane, struct opener_answer *a)
{
	(void)a;
	entry->lane = (uint8_t)lane;
	return true;
}

void
opener_member_lane(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	uint8_t lane = wire_get_u8(r);
	if (wire_end(r) != ERR_OK || lane > DIRECTORY_LANE_MAX) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	change_entry(o, name, a, set_lane, lane);
}

static bool
set_limit(struct directory_account *entry, uint64_t times, struct opener_answer *a)
{
	(void)a;
	entry->limit_times = (uint16_t)times;
	return true;
}

void
opener_member_limit(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	uint16_t times = wire_get_u16(r);
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	change_entry(o, name, a, set_limit, times);
}

static bool
clear_forwards(struct directory_account *entry, uint64_t unused, struct opener_answer *a)
{
	(void)unused;
	(void)a;
	bool wanted = entry->forward_count > 0;
	entry->forward_count = 0;
	return wanted;
}

/* To end it takes no secret; to begin it, hers. */
void
opener_member_forward(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes name = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes secret = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes addresses = wire_get_bytes(r, CONTROL_REQUEST_MAX);
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
	} else if (addresses.len == 0) {
		change_entry(o, name, a, clear_forwards, 0);
	} else {
		opener_set_forwards(o, name, secret, addresses, a);
	}
}
