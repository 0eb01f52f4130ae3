/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/tls_files.h"

#include "base/secret.h"
#include "keeper/acme_requests.h"
#include "keeper/tls_next.h"
#include "process/log.h"

enum { TLS_KEY_MAX = 16 * 1024 };

/* One kind's files, read. */
struct place {
	struct tls_pair *pair;
	struct tls_next *next;
	struct tls_next *owed;
};

static const char *
tls_name(enum tls_kind kind)
{
	return kind == TLS_KIND_MX ? "mx" : "member";
}

/* One line for the volunteer. */
static void
problem_of(const char *house_key_file, enum tls_kind kind, bool sealed, enum err e, struct buf *ret)
{
	const char *name = tls_name(kind);
	const char *ports = kind == TLS_KIND_MX ? "port 25" : "ports 465, 587 and 993";
	enum err said = ERR_OK;
	if (sealed && e == ERR_DAMAGED) {
		said = buf_printf(ret,
				  "tls/%s.key.sealed is damaged. Remedy: bring it back from a backup, or "
				  "name a key of your own with tls.%s_key",
				  name, name);
	} else if (sealed && e == ERR_DENIED) {
		said = buf_printf(
		    ret,
		    "the house key in %s is of another home: tls/%s.key.sealed of this one does not open "
		    "with it. Remedy: set house_key to the file that was made with this home",
		    house_key_file, name);
	} else {
		said = buf_printf(
		    ret,
		    "the TLS key and certificate for %s cannot be used: %s. Remedy: see "
		    "tls.%s_key and tls.%s_certificate in cohue.conf",
		    ports,
		    e == ERR_AUTH     ? "they do not belong together"
		    : e == ERR_FORMAT ? "one of them is not unencrypted PEM"
		    : e == ERR_UNSUPPORTED
			? "the key is neither of P-256, P-384 or P-521 nor RSA of 2048 to 8192 bits"
			: err_text(e),
		    name, name);
	}
	/* Too long for a line: what failed is known all the same. */
	(void)said;
}

static enum err
pair_read(const uint8_t wrap[SEALED_KEY_LEN], enum tls_kind kind, bool sealed, struct bytes key_file,
	  struct bytes chain, struct tls_pair **ret)
{
	struct buf plain = BUF_INIT(TLS_KEY_MAX);
	enum err e = ERR_OK;
	if (sealed) {
		e = sealed_unwrap(wrap, bytes_str(keeper_tls_name((unsigned)kind)), key_file, &plain);
		e = e == ERR_AUTH ? ERR_DENIED : e == ERR_FORMAT || e == ERR_UNSUPPORTED ? ERR_DAMAGED : e;
	} else {
		e = buf_append(&plain, key_file);
	}
	e = e == ERR_OK ? tls_pair_create(buf_bytes(&plain), chain, ret) : e;
	buf_wipe(&plain);
	return e;
}

/* The key that comes next; NULL: none, or it is of no use, which costs nothing but time: another one is made. */
static struct tls_next *
next_open(const uint8_t wrap[SEALED_KEY_LEN], enum tls_kind kind, struct bytes file)
{
	struct buf plain = BUF_INIT(TLS_KEY_MAX);
	struct tls_next *n = NULL;
	if (file.len <= TLS_NEXT_ID) {
		return NULL;
	}
	struct bytes wrapped = bytes_from(file, TLS_NEXT_ID);
	enum err e = sealed_unwrap(wrap, bytes_str(keeper_tls_name((unsigned)kind)), wrapped, &plain);
	e = e == ERR_OK ? tls_next_read(buf_bytes(&plain), file.ptr, &n) : e;
	e = e == ERR_OK ? tls_next_keep(n, wrapped) : e;
	buf_wipe(&plain);
	if (e != ERR_OK) {
		tls_next_destroy(&n);
		log_event(LOG_LEVEL_WARNING, "tls/%s.next cannot be used (%s): another key is made",
			  tls_name(kind), err_text(e));
	}
	return n;
}

/* One pair and what belongs to it. A chain for the next key is one whose key was not put in its place any more. */
static enum err
place_read(const uint8_t wrap[SEALED_KEY_LEN], enum tls_kind kind, bool sealed, struct bytes key,
	   struct bytes chain, struct bytes next_file, struct place *ret)
{
	struct tls_next *next = sealed ? next_open(wrap, kind, next_file) : NULL;
	enum err e = pair_read(wrap, kind, sealed, key, chain, &ret->pair);
	if (e == ERR_AUTH && next != NULL && tls_next_pair(next, chain, &ret->pair) == ERR_OK) {
		ret->owed = next;
		return ERR_OK;
	}
	if (e != ERR_OK ||
	    (next != NULL && secret_equal(tls_next_id(next), tls_pair_id(ret->pair), TLS_NEXT_ID))) {
		tls_next_destroy(&next);
	}
	ret->next = next;
	return e;
}

static void
place_clear(struct place *p)
{
	tls_pair_destroy(&p->pair);
	tls_next_destroy(&p->next);
	tls_next_destroy(&p->owed);
}

static void
place_put(struct tls_keys *k, enum tls_kind kind, struct place *p)
{
	tls_keys_put(k, kind, &p->pair);
	tls_next_destroy(&k->of[kind].next);
	tls_next_destroy(&k->of[kind].owed);
	k->of[kind].next = p->next;
	k->of[kind].owed = p->owed;
	*p = (struct place){.pair = NULL};
}

enum err
keeper_tls_take(struct tls_keys *k, const uint8_t wrap[SEALED_KEY_LEN], const char *house_key_file,
		const struct msg_tls_files *m, struct buf *ret_problem)
{
	struct place places[TLS_KINDS] = {{.pair = NULL}, {.pair = NULL}};
	const struct {
		bool sealed;
		struct bytes key;
		struct bytes chain;
		struct bytes next;
	} files[TLS_KINDS] = {{m->mx_sealed != 0, m->mx_key, m->mx_chain, m->mx_next},
			      {m->member_sealed != 0, m->member_key, m->member_chain, m->member_next}};
	enum err e = ERR_OK;
	for (unsigned i = 0; i < TLS_KINDS && e == ERR_OK; i++) {
		enum tls_kind kind = (enum tls_kind)i;
		e = place_read(wrap, kind, files[i].sealed, files[i].key, files[i].chain, files[i].next,
			       &places[i]);
		if (e != ERR_OK) {
			problem_of(house_key_file, kind, files[i].sealed, e, ret_problem);
		}
	}
	for (unsigned i = 0; i < TLS_KINDS; i++) {
		if (e == ERR_OK) {
			place_put(k, (enum tls_kind)i, &places[i]);
		}
		place_clear(&places[i]);
	}
	return e;
}
