/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* `cohue check`: everything stored is looked at, with the service stopped, and nothing is changed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/secret.h"
#include "cli/check.h"
#include "sealed/directory.h"
#include "sealed/forward_list.h"

void
check_count(struct check *k, const char *what, uint64_t n)
{
	/* Past the maximum counts are left out: the damage is what matters. */
	enum err e = buf_printf(&k->counts, "%s\t%llu\n", what, (unsigned long long)n);
	(void)e;
}

void
check_damage(struct check *k, const char *format, ...)
{
	char line[512];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	k->damaged++;
	if (k->damaged <= CHECK_SHOWN_MAX) {
		enum err e = buf_printf(&k->damage, "%s\n", line);
		(void)e;
	}
}

/* ---- what needs no key ---- */

static void
on_count(void *arg, const char *what, uint64_t n)
{
	struct check *k = arg;
	if (strncmp(what, "damaged ", 8) == 0) {
		const char *rest = what + strlen("damaged ");
		if (n == 1) {
			check_damage(k, "%s, in %s/store", rest, k->cli->home);
		} else {
			check_damage(k, "%s: %llu, in %s/store", rest, (unsigned long long)n, k->cli->home);
		}
	} else {
		check_count(k, what, n);
	}
}

/* ---- what needs the house key ---- */

void
check_hex(struct bytes a, char ret[17])
{
	for (size_t i = 0; i < 8; i++) {
		(void)snprintf(ret + i * 2, 3, "%02x", i < a.len ? a.ptr[i] : 0);
	}
}

static enum err
add_id(struct buf *ids, const uint8_t id[SEALED_ID_LEN])
{
	return buf_append(ids, bytes_of(id, SEALED_ID_LEN));
}

static enum err
check_forwards(const struct check *k, const struct directory_account *a)
{
	struct buf list = BUF_INIT(FORWARD_LIST_MAX);
	enum err e = forward_list_put(a, &list);
	e = e == ERR_OK ? forward_list_verify(k->keys[PURPOSE_PUBLIC_KEY_VERIFY], a->id, buf_bytes(&list),
					      a->forwards_signature)
			: e;
	buf_wipe(&list);
	return e;
}

static enum err
check_account(struct check *k, struct bytes key, struct bytes plain)
{
	struct directory_account a;
	uint8_t wanted[SEALED_HASH_LEN];
	char where[17];
	check_hex(key, where);
	if (directory_account_decode(plain, &a) != ERR_OK) {
		check_damage(k, "directory: account entry %s cannot be read", where);
		return ERR_OK;
	}
	directory_account_key(k->keys[PURPOSE_DIRECTORY_HASH], a.id, wanted);
	if (!bytes_equal(key, bytes_of(wanted, sizeof(wanted)))) {
		check_damage(k, "directory: account entry %s stands in another's place", where);
	}
	enum err e = a.unsigned_yet ? sealed_public_check(k->keys[PURPOSE_PUBLIC_KEY_MAC], a.id, a.generation,
							  a.public_key, a.mac)
				    : sealed_public_verify(k->keys[PURPOSE_PUBLIC_KEY_VERIFY], a.id,
							   a.generation, a.public_key, a.signature);
	if (e != ERR_OK) {
		check_damage(k, "directory: the public key of account entry %s does not verify", where);
	}
	if (a.forward_count > 0 && check_forwards(k, &a) != ERR_OK) {
		check_damage(k, "directory: where the mail of account entry %s is sent on is not signed",
			     where);
	}
	return add_id(&k->accounts, a.id);
}

static enum err
check_address(struct check *k, struct bytes key, struct bytes plain)
{
	uint8_t wanted[SEALED_HASH_LEN];
	char where[17];
	enum err e = ERR_OK;
	struct directory_address *a = malloc(sizeof(*a));
	if (a == NULL) {
		return ERR_MEMORY;
	}
	check_hex(key, where);
	if (directory_address_decode(plain, a) != ERR_OK) {
		check_damage(k, "directory: address entry %s cannot be read", where);
	} else {
		directory_address_key(k->keys[PURPOSE_DIRECTORY_HASH], a->address, wanted);
		if (!bytes_equal(key, bytes_of(wanted, sizeof(wanted)))) {
			check_damage(k, "directory: address entry %s stands in another's place", where);
		}
		for (size_t i = 0; i < a->count && e == ERR_OK; i++) {
			e = add_id(&k->named, a->accounts[i]);
		}
	}
	free(a);
	return e;
}

static enum err
check_slots(struct check *k, struct bytes key, struct bytes plain)
{
	struct sealed_slots *slots = NULL;
	uint8_t wanted[SEALED_HASH_LEN];
	char where[17];
	check_hex(key, where);
	enum err e = sealed_slots_decode(plain, &slots);
	if (e == ERR_MEMORY) {
		return e;
	}
	if (e != ERR_OK) {
		check_damage(k, "directory: slot list %s cannot be read", where);
		return ERR_OK;
	}
	sealed_slots_key(k->keys[PURPOSE_DIRECTORY_HASH], sealed_slots_account(slots), wanted);
	if (!bytes_equal(key, bytes_of(wanted, sizeof(wanted)))) {
		check_damage(k, "directory: slot list %s stands in another's place", where);
	}
	e = add_id(&k->slots, sealed_slots_account(slots));
	sealed_slots_destroy(&slots);
	return e;
}

static enum err
on_directory(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	struct check *k = arg;
	struct buf plain = BUF_INIT(DIRECTORY_VALUE_MAX);
	enum directory_kind kind;
	char where[17];
	(void)part;
	if (key.len != SEALED_HASH_LEN) {
		check_damage(k, "directory: a key of %zu octets", key.len);
		return ERR_OK;
	}
	check_hex(key, where);
	enum err e = directory_unseal(k->keys[PURPOSE_DIRECTORY_SEAL], key.ptr, value, &plain, &kind);
	if (e == ERR_OK) {
		e = kind == DIRECTORY_ACCOUNT   ? check_account(k, key, buf_bytes(&plain))
		    : kind == DIRECTORY_ADDRESS ? check_address(k, key, buf_bytes(&plain))
						: check_slots(k, key, buf_bytes(&plain));
	} else if (e != ERR_MEMORY) {
		check_damage(k, "directory: entry %s does not open with this house key", where);
		e = ERR_OK;
	}
	buf_wipe(&plain);
	return e;
}

static int
by_id(const void *a, const void *b)
{
	return memcmp(a, b, SEALED_ID_LEN);
}

void
check_sort_ids(struct buf *ids)
{
	if (ids->len > 0) {
		qsort(ids->ptr, ids->len / SEALED_ID_LEN, SEALED_ID_LEN, by_id);
	}
}

bool
check_has_id(const struct buf *ids, const uint8_t *id)
{
	return ids->len > 0 && bsearch(id, ids->ptr, ids->len / SEALED_ID_LEN, SEALED_ID_LEN, by_id) != NULL;
}

/* Each id of a must be in b. */
static void
check_ids(struct check *k, const struct buf *a, const struct buf *b, const char *what)
{
	for (size_t at = 0; at < a->len; at += SEALED_ID_LEN) {
		char where[17];
		if (!check_has_id(b, a->ptr + at)) {
			check_hex(bytes_of(a->ptr + at, SEALED_ID_LEN), where);
			check_damage(k, "directory: %s %s", what, where);
		}
	}
}

static enum err
check_sealed(struct check *k)
{
	const struct storage_driver *d = k->storage->driver;
	enum err e = d->directory_walk(k->storage, BYTES_EMPTY, on_directory, k);
	if (e == ERR_OK) {
		check_sort_ids(&k->accounts);
		check_sort_ids(&k->slots);
		check_ids(k, &k->accounts, &k->slots, "no slot list for account");
		check_ids(k, &k->slots, &k->accounts, "a slot list without its account:");
		check_ids(k, &k->named, &k->accounts, "an address names an account that is not there:");
		check_count(k, "members", k->accounts.len / SEALED_ID_LEN);
		e = check_spool(k);
	}
	e = e == ERR_OK ? check_values(k) : e;
	return e == ERR_OK ? check_blobs(k) : e;
}

/* ---- all of it ---- */

static bool
derive_keys(struct check *k)
{
	uint8_t house[32];
	bool good = cli_house_key(&k->config, house);
	for (unsigned p = 0; good && p < PURPOSE__COUNT; p++) {
		k->keys[p] = secret_alloc(SEALED_KEY_LEN);
		good = k->keys[p] != NULL;
		if (good) {
			sealed_purpose_key(house, (enum sealed_purpose)p, k->keys[p]);
		}
	}
	secret_wipe(house, sizeof(house));
	return good;
}

static enum err
json_report(const struct check *k, struct buf *out)
{
	struct bytes text = buf_bytes(&k->counts);
	enum err e = buf_printf(out, "{\"damaged\": %llu, \"counts\": {", (unsigned long long)k->damaged);
	for (bool first = true; e == ERR_OK && text.len > 0; first = false) {
		ptrdiff_t tab = bytes_find(text, '\t');
		ptrdiff_t end = bytes_find(text, '\n');
		if (tab < 0 || end < tab) {
			break;
		}
		e = first ? ERR_OK : buf_append_str(out, ", ");
		e = e == ERR_OK ? cli_json_text(out, bytes_slice(text, 0, (size_t)tab)) : e;
		e = e == ERR_OK ? buf_append_str(out, ": ") : e;
		e = e == ERR_OK ? buf_append(out, bytes_slice(text, (size_t)tab + 1, (size_t)(end - tab) - 1))
				: e;
		text = bytes_from(text, (size_t)end + 1);
	}
	e = e == ERR_OK ? buf_append_str(out, "}, \"damage\": [") : e;
	text = buf_bytes(&k->damage);
	for (bool first = true; e == ERR_OK && text.len > 0; first = false) {
		ptrdiff_t end = bytes_find(text, '\n');
		struct bytes line = end < 0 ? text : bytes_slice(text, 0, (size_t)end);
		e = first ? ERR_OK : buf_append_str(out, ", ");
		e = e == ERR_OK ? cli_json_text(out, line) : e;
		text = bytes_from(text, line.len + 1);
	}
	return e == ERR_OK ? buf_append_str(out, "]}\n") : e;
}

static enum err
plain_report(const struct check *k, struct buf *out)
{
	enum err e = ERR_OK;
	struct bytes text = buf_bytes(&k->counts);
	while (e == ERR_OK && text.len > 0) {
		ptrdiff_t tab = bytes_find(text, '\t');
		ptrdiff_t end = bytes_find(text, '\n');
		if (tab < 0 || end < tab) {
			break;
		}
		e = buf_printf(out, "%-28.*s %.*s\n", (int)tab, (const char *)text.ptr, (int)(end - tab - 1),
			       (const char *)text.ptr + tab + 1);
		text = bytes_from(text, (size_t)end + 1);
	}
	text = buf_bytes(&k->damage);
	while (e == ERR_OK && text.len > 0) {
		ptrdiff_t end = bytes_find(text, '\n');
		struct bytes line = end < 0 ? text : bytes_slice(text, 0, (size_t)end);
		e = buf_printf(out, "damaged: %.*s\n", (int)line.len, (const char *)line.ptr);
		text = bytes_from(text, line.len + 1);
	}
	if (e == ERR_OK && k->damaged > CHECK_SHOWN_MAX) {
		e = buf_printf(out, "... and %llu more\n",
			       (unsigned long long)(k->damaged - CHECK_SHOWN_MAX));
	}
	if (e == ERR_OK && k->damaged == 0) {
		e = buf_append_str(out, "no damage found\n");
	}
	return e;
}

static int
report(const struct check *k)
{
	struct buf out = BUF_INIT(CLI_OUTPUT_MAX);
	enum err e = k->cli->json ? json_report(k, &out) : plain_report(k, &out);
	if (e != ERR_OK) {
		buf_wipe(&out);
		return cli_fail("the report cannot be shown: %s", err_text(e));
	}
	int status = cli_print(&out);
	if (status == CLI_OK && k->damaged > 0) {
		return cli_fail(
		    "the store is damaged. Remedy: copy %s as it is, then restore the newest backup that "
		    "`cohue check` passes; the wrong house key looks like damage everywhere",
		    k->cli->home);
	}
	return status;
}

static int
run_check(struct check *k, struct bytes secret)
{
	enum err e = k->storage->driver->check(k->storage, on_count, k);
	e = e == ERR_DAMAGED ? ERR_OK : e;
	if (e == ERR_OK) {
		e = check_sealed(k);
	}
	if (e == ERR_OK && k->cli->member != NULL) {
		e = check_member(k, k->cli->member, secret);
		if (e == ERR_AUTH || e == ERR_NOT_FOUND) {
			return CLI_FAILED;
		}
	}
	if (e != ERR_OK && e != ERR_DAMAGED) {
		return cli_fail(
		    "the check could not be ended: %s. Remedy: see to the disk and the memory, then "
		    "try again",
		    err_text(e));
	}
	return report(k);
}

int
cli_check(struct cli *c)
{
	int lock = -1;
	int status = CLI_FAILED;
	struct buf secret = BUF_INIT(0);
	struct check *k = calloc(1, sizeof(*k));
	if (k == NULL) {
		return cli_fail("out of memory");
	}
	k->cli = c;
	buf_init(&k->counts, CHECK_LINES_MAX);
	buf_init(&k->damage, CHECK_LINES_MAX);
	buf_init(&k->accounts, CHECK_IDS_MAX);
	buf_init(&k->slots, CHECK_IDS_MAX);
	buf_init(&k->named, CHECK_IDS_MAX);
	buf_init(&k->used_blobs, CHECK_IDS_MAX);
	if (secret_pool_init(SECRET_POOL_BYTES) != ERR_OK) {
		(void)cli_fail(
		    "cannot lock %d bytes of memory for keys. Remedy: raise the memlock limit (ulimit -l)",
		    (int)SECRET_POOL_BYTES);
	} else if (cli_config(c, &k->config) && cli_offline_lock(c, &lock) && derive_keys(k) &&
		   (c->member == NULL ||
		    cli_secret("Password, application password or recovery code", false, &secret)) &&
		   cli_offline_store(c, true, &k->storage)) {
		status = run_check(k, buf_bytes(&secret));
		k->storage->driver->destroy(&k->storage);
	}
	buf_wipe(&secret);
	if (lock >= 0) {
		(void)close(lock);
	}
	buf_clear(&k->counts);
	buf_clear(&k->damage);
	buf_clear(&k->accounts);
	buf_clear(&k->slots);
	buf_clear(&k->named);
	buf_clear(&k->used_blobs);
	free(k);
	secret_pool_wipe();
	return status;
}
