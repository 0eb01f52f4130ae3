/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Commands about addresses: lists and aliases. */
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "opener/internal.h"
#include "opener/name.h"

enum {
	ROW_NAMES_MAX = 8 * 1024,              /* names joined in one row */
	PAGE_BYTES = 30 * 1024,                /* of rows in one answer */
	ALIAS_NAMES_MAX = CONTROL_REQUEST_MAX, /* of a request */
};

const uint8_t opener_directory_lock[SEALED_ID_LEN];

/* ---- what a walk gathers ---- */

struct row {
	uint8_t id[SEALED_ID_LEN];
	enum account_status status;
	uint32_t created_day;
	uint64_t quota;
	uint16_t limit_times;
	struct buf held;
	struct buf forwards;
	struct buf name;  /* a member's, or an alias' local part */
	struct buf names; /* her aliases' local parts, or ids of an alias' accounts */
};

struct rows {
	const char *domain;
	enum directory_kind wanted;
	struct row *row;
	size_t count;
	size_t cap;
};

static void
rows_clear(struct rows *r)
{
	for (size_t i = 0; i < r->count; i++) {
		buf_wipe(&r->row[i].name);
		buf_wipe(&r->row[i].names);
		buf_wipe(&r->row[i].held);
		buf_wipe(&r->row[i].forwards);
	}
	free(r->row);
	r->row = NULL;
	r->count = 0;
	r->cap = 0;
}

static struct row *
add_row(struct rows *r)
{
	if (r->count == r->cap) {
		size_t cap = r->cap == 0 ? 64 : r->cap * 2;
		struct row *bigger = reallocarray(r->row, cap, sizeof(*bigger));
		if (bigger == NULL) {
			return NULL;
		}
		r->row = bigger;
		r->cap = cap;
	}
	struct row *row = &r->row[r->count++];
	memset(row, 0, sizeof(*row));
	buf_init(&row->name, DIRECTORY_ADDRESS_MAX);
	buf_init(&row->names, ROW_NAMES_MAX);
	buf_init(&row->held, DIRECTORY_REF_MAX);
	buf_init(&row->forwards, DIRECTORY_FORWARDS_MAX * (DIRECTORY_ADDRESS_MAX + 1));
	return row;
}

static struct bytes
local_part(struct bytes address)
{
	ptrdiff_t at = bytes_find_last(address, '@');
	return at < 0 ? address : bytes_slice(address, 0, (size_t)at);
}

static enum err
join(struct buf *names, struct bytes name)
{
	enum err e = names->len > 0 ? buf_append_byte(names, ' ') : ERR_OK;
	return e == ERR_OK ? buf_append(names, name) : e;
}

static enum err
gather_account(struct rows *rows, struct bytes plain)
{
	struct directory_account entry;
	enum err e = directory_account_decode(plain, &entry);
	if (e != ERR_OK) {
		return ERR_DAMAGED;
	}
	struct row *row = add_row(rows);
	if (row == NULL) {
		return ERR_MEMORY;
	}
	memcpy(row->id, entry.id, SEALED_ID_LEN);
	row->status = entry.status;
	row->created_day = entry.created_day;
	row->quota = entry.quota;
	row->limit_times = entry.limit_times;
	e = buf_append(&row->name, entry.name);
	e = e == ERR_OK ? buf_append(&row->held, entry.held) : e;
	for (size_t i = 0; i < entry.address_count && e == ERR_OK; i++) {
		e = join(&row->names, local_part(entry.addresses[i]));
	}
	for (size_t i = 0; i < entry.forward_count && e == ERR_OK; i++) {
		e = join(&row->forwards, entry.forwards[i]);
	}
	return e;
}

static enum err
gather_alias(struct rows *rows, struct bytes plain)
{
	struct directory_address *entry = malloc(sizeof(*entry));
	if (entry == NULL) {
		return ERR_MEMORY;
	}
	enum err e = directory_address_decode(plain, entry);
	if (e != ERR_OK) {
		e = ERR_DAMAGED;
	} else if (entry->kind == ADDRESS_ALIAS) {
		struct row *row = add_row(rows);
		e = row == NULL ? ERR_MEMORY : buf_append(&row->name, local_part(entry->address));
		for (size_t i = 0; e == ERR_OK && i < entry->count; i++) {
			e = buf_append(&row->names, bytes_of(entry->accounts[i], SEALED_ID_LEN));
		}
	}
	free(entry);
	return e;
}

static enum err
gather(void *arg, enum directory_kind kind, struct bytes plain)
{
	struct rows *rows = arg;
	if (kind != rows->wanted) {
		return ERR_OK;
	}
	return kind == DIRECTORY_ACCOUNT ? gather_account(rows, plain) : gather_alias(rows, plain);
}

static int
by_name(const void *a, const void *b)
{
	const struct row *x = a;
	const struct row *y = b;
	return bytes_compare(buf_bytes(&x->name), buf_bytes(&y->name));
}

static enum err
gather_all(struct opener *o, enum directory_kind kind, struct rows *ret)
{
	*ret = (struct rows){.domain = o->host->config.domain, .wanted = kind};
	enum err e = opener_walk(o, gather, ret);
	if (e == ERR_OK && ret->count > 1) {
		qsort(ret->row, ret->count, sizeof(*ret->row), by_name);
	}
	return e;
}

/* ---- lists ---- */

void
opener_member_list(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct rows rows;
	uint32_t from = wire_get_u32(r);
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	enum err e = gather_all(o, DIRECTORY_ACCOUNT, &rows);
	/* The first octet tells whether more follows: filled in when that is known. */
	size_t start = a->data->out->len;
	wire_put_u8(a->data, 0);
	for (size_t i = from; e == ERR_OK && i < rows.count; i++) {
		const struct row *row = &rows.row[i];
		uint64_t used = 0;
		if (a->data->out->len - start > PAGE_BYTES) {
			a->data->out->ptr[start] = 1;
			break;
		}
		e = lookup_used(o->host, row->id, &used);
		wire_put_bytes(a->data, buf_bytes(&row->name));
		wire_put_u8(a->data, (uint8_t)row->status);
		wire_put_u32(a->data, row->created_day);
		wire_put_u64(a->data, row->quota);
		wire_put_u64(a->data, used);
		wire_put_bytes(a->data, buf_bytes(&row->names));
		wire_put_bytes(a->data, buf_bytes(&row->held));
		wire_put_u16(a->data, row->limit_times);
		wire_put_bytes(a->data, buf_bytes(&row->forwards));
	}
	if (e != ERR_OK) {
		opener_say_error(a, e);
	}
	rows_clear(&rows);
}

static const struct row *
row_by_id(const struct rows *rows, const uint8_t id[SEALED_ID_LEN])
{
	for (size_t i = 0; i < rows->count; i++) {
		if (memcmp(rows->row[i].id, id, SEALED_ID_LEN) == 0) {
			return &rows->row[i];
		}
	}
	return NULL;
}

void
opener_alias_list(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct rows aliases;
	struct rows members = {.row = NULL};
	uint32_t from = wire_get_u32(r);
	if (wire_end(r) != ERR_OK) {
		opener_say_error(a, ERR_FORMAT);
		return;
	}
	enum err e = gather_all(o, DIRECTORY_ADDRESS, &aliases);
	if (e == ERR_OK) {
		e = gather_all(o, DIRECTORY_ACCOUNT, &members);
	}
	size_t start = a->data->out->len;
	wire_put_u8(a->data, 0);
	for (size_t i = from; e == ERR_OK && i < aliases.count; i++) {
		struct buf names = BUF_INIT(DIRECTORY_ACCOUNTS_MAX * (CONTROL_NAME_MAX + 1));
		if (a->data->out->len - start > PAGE_BYTES) {
			a->data->out->ptr[start] = 1;
			break;
		}
		const struct buf *ids = &aliases.row[i].names;
		for (size_t k = 0; k + SEALED_ID_LEN <= ids->len && e == ERR_OK; k += SEALED_ID_LEN) {
			const struct row *member = row_by_id(&members, ids->ptr + k);
			e = member == NULL ? ERR_OK : join(&names, buf_bytes(&member->name));
		}
		wire_put_bytes(a->data, buf_bytes(&aliases.row[i].name));
		wire_put_bytes(a->data, buf_bytes(&names));
		buf_wipe(&names);
	}
	if (e != ERR_OK) {
		opener_say_error(a, e);
	}
	rows_clear(&aliases);
	rows_clear(&members);
}

/* ---- aliases ---- */

/* Takes an address from an account's entry, or gives it one; under the locks. */
static enum err
account_address(struct opener *o, struct opener_changes *c, const uint8_t id[SEALED_ID_LEN],
		struct bytes address, bool give, struct opener_lock *lock)
{
	struct opener_account *a = NULL;
	enum err e = opener_lock_take(o, id, lock);
	if (e == ERR_OK) {
		e = opener_account_load(o, id, &a);
	}
	if (e != ERR_OK) {
		/* An account that is gone has nothing to lose. */
		return e == ERR_NOT_FOUND && !give ? ERR_OK : e;
	}
	struct directory_account *d = &a->entry;
	size_t kept = 0;
	for (size_t i = 0; i < d->address_count; i++) {
		if (!bytes_equal(d->addresses[i], address)) {
			d->addresses[kept++] = d->addresses[i];
		}
	}
	d->address_count = kept;
	if (give && kept == DIRECTORY_ADDRESSES_MAX) {
		e = ERR_LIMIT;
	} else if (give) {
		d->addresses[d->address_count++] = address;
	}
	if (e == ERR_OK) {
		opener_put_account(c, OPENER_PUT, d);
	}
	opener_account_free(&a);
	return e;
}

static bool
read_names(struct opener *o, struct bytes typed, struct opener_answer *a, struct directory_address *ret)
{
	while ((typed = bytes_trim(typed)).len > 0) {
		struct opener_account *member = NULL;
		ptrdiff_t end = bytes_find(typed, ' ');
		struct bytes name = end < 0 ? typed : bytes_slice(typed, 0, (size_t)end);
		typed = bytes_from(typed, name.len);
		if (ret->count == DIRECTORY_ACCOUNTS_MAX) {
			opener_say(a, ERR_LIMIT, "an alias has at most %d members", DIRECTORY_ACCOUNTS_MAX);
			return false;
		}
		if (!opener_find_member(o, name, a, &member)) {
			return false;
		}
		bool twice = false;
		for (size_t i = 0; i < ret->count; i++) {
			twice = twice || memcmp(ret->accounts[i], member->id, SEALED_ID_LEN) == 0;
		}
		if (!twice) {
			memcpy(ret->accounts[ret->count++], member->id, SEALED_ID_LEN);
		}
		opener_account_free(&member);
	}
	if (ret->count == 0) {
		opener_say(a, ERR_FORMAT, "an alias needs a member. Remedy: cohue alias set NAME MEMBER...");
	}
	return ret->count > 0;
}

/* Both entries and the accounts in one transaction. `wanted` NULL: the alias goes. */
static enum err
replace_alias(struct opener *o, struct bytes address, const struct directory_address *wanted)
{
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	struct opener_lock locks[2] = {{.held = false}, {.held = false}};
	struct opener_changes c;
	struct directory_address *old = calloc(1, sizeof(*old));
	opener_changes_init(&c, o);
	enum err e = old == NULL ? ERR_MEMORY : opener_find_address(o, address, &plain, old);
	bool there = e == ERR_OK;
	if (e == ERR_OK && old->kind != ADDRESS_ALIAS) {
		e = ERR_EXISTS;
	} else if (e == ERR_NOT_FOUND && wanted != NULL) {
		e = ERR_OK;
	}
	bool same = there && wanted != NULL && old->count == 1 && wanted->count == 1 &&
		    memcmp(old->accounts[0], wanted->accounts[0], SEALED_ID_LEN) == 0;
	if (e == ERR_OK && there && old->count == 1 && !same) {
		e = account_address(o, &c, old->accounts[0], address, false, &locks[0]);
	}
	if (e == ERR_OK && wanted != NULL && wanted->count == 1 && !same) {
		e = account_address(o, &c, wanted->accounts[0], address, true, &locks[1]);
	}
	if (e == ERR_OK && wanted != NULL) {
		opener_put_address(&c, there ? OPENER_PUT : OPENER_CREATE, wanted);
	} else if (e == ERR_OK) {
		opener_delete_address(&c, address);
	}
	if (e == ERR_OK) {
		e = opener_commit(&c);
	}
	if (e == ERR_OK && there && old->count == 1 && !same) {
		/* What she may send from is read at login. */
		opener_close_member(o, old->accounts[0]);
	}
	if (e == ERR_OK && wanted != NULL && wanted->count == 1 && !same) {
		opener_close_member(o, wanted->accounts[0]);
	}
	opener_lock_give(o, &locks[0]);
	opener_lock_give(o, &locks[1]);
	opener_changes_clear(&c);
	free(old);
	buf_wipe(&plain);
	return e;
}

static bool
alias_address(struct opener *o, struct bytes typed, struct opener_answer *a, struct buf *ret)
{
	struct buf local = BUF_INIT(CONTROL_NAME_MAX);
	enum err e = name_of_member(typed, o->host->config.domain, &local);
	if (e == ERR_OK && name_is_the_house(buf_bytes(&local))) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		e = opener_address(o, buf_bytes(&local), ret);
	}
	if (e == ERR_MEMORY) {
		opener_say_error(a, e);
	} else if (e != ERR_OK) {
		opener_say(a, ERR_FORMAT,
			   "this cannot be an address here. Remedy: the part before the @ alone, at most 64 "
			   "of a-z, 0-9 and inner dots and hyphens, no '+', and not one that the house "
			   "writes as");
	}
	buf_wipe(&local);
	return e == ERR_OK;
}

void
opener_alias_set(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes typed = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct bytes names = wire_get_bytes(r, ALIAS_NAMES_MAX);
	struct buf address = BUF_INIT(DIRECTORY_ADDRESS_MAX);
	struct opener_lock lock = {.held = false};
	struct directory_address *wanted = calloc(1, sizeof(*wanted));
	enum err e = wire_end(r);
	if (e == ERR_OK && wanted == NULL) {
		e = ERR_MEMORY;
	}
	if (e == ERR_OK) {
		e = opener_lock_take(o, opener_directory_lock, &lock);
	}
	if (e != ERR_OK) {
		opener_say_error(a, e);
	} else if (alias_address(o, typed, a, &address) && read_names(o, names, a, wanted)) {
		wanted->kind = ADDRESS_ALIAS;
		wanted->address = buf_bytes(&address);
		e = replace_alias(o, buf_bytes(&address), wanted);
		if (e == ERR_EXISTS) {
			opener_say(a, e, "this is the address of a member. Remedy: another address");
		} else if (e == ERR_LIMIT) {
			opener_say(a, e,
				   "she has %d further addresses already. Remedy: `cohue alias remove` one",
				   DIRECTORY_ADDRESSES_MAX);
		} else if (e != ERR_OK) {
			opener_say_error(a, e);
		}
	}
	opener_lock_give(o, &lock);
	free(wanted);
	buf_wipe(&address);
}

void
opener_alias_remove(struct opener *o, struct wire_reader *r, struct opener_answer *a)
{
	struct bytes typed = wire_get_bytes(r, CONTROL_SECRET_MAX);
	struct buf address = BUF_INIT(DIRECTORY_ADDRESS_MAX);
	struct opener_lock lock = {.held = false};
	enum err e = wire_end(r);
	if (e == ERR_OK) {
		e = opener_lock_take(o, opener_directory_lock, &lock);
	}
	if (e != ERR_OK) {
		opener_say_error(a, e);
	} else if (alias_address(o, typed, a, &address)) {
		if (bytes_starts_with(buf_bytes(&address), "postmaster@")) {
			opener_say(a, ERR_DENIED,
				   "every domain must have a postmaster (RFC 5321). Remedy: give "
				   "it to another member: cohue alias set postmaster NAME");
		} else if ((e = replace_alias(o, buf_bytes(&address), NULL)) == ERR_NOT_FOUND) {
			opener_say(a, e, "there is no such alias. Remedy: `cohue alias list` shows them");
		} else if (e == ERR_EXISTS) {
			opener_say(a, ERR_DENIED,
				   "this is the address of a member. Remedy: `cohue member remove`");
		} else if (e != ERR_OK) {
			opener_say_error(a, e);
		}
	}
	opener_lock_give(o, &lock);
	buf_wipe(&address);
}
