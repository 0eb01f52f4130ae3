/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/acme_requests.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/secret.h"
#include "base/wire.h"
#include "keeper/tls_next.h"
#include "process/log.h"
#include "web/web.h"

#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

enum { ACCOUNT_PEM_MAX = 4096, AUTHORITIES_MAX = 16 << 20, FAILURE_MS = 30 * 1000 };

static const char account_name[] = "acme-account";

_Static_assert((int)ACME_MX == (int)TLS_KIND_MX && (int)ACME_MEMBER == (int)TLS_KIND_MEMBER, "one numbering");
_Static_assert((int)WEB_NAMES_MAX <= (int)ACME_NAMES_MAX, "all names fit");

/* A volunteer's own files are his own to renew. */
static bool
is_managed(const struct config *c, unsigned kind)
{
	const char *key = kind == ACME_MX ? c->tls_mx_key : c->tls_member_key;
	return c->acme == CONFIG_ON && kind < ACME_KINDS && key[0] == '\0';
}

/* The account is of both kinds. */
static bool
is_any_managed(const struct config *c)
{
	return is_managed(c, ACME_MX) || is_managed(c, ACME_MEMBER);
}

struct name_list {
	char text[WEB_NAMES_MAX][CONFIG_NAME_MAX];
	struct acme_names names;
};

/* Other servers know this machine by its host name alone, which is the first. */
static void
list_names(const struct config *c, unsigned kind, unsigned without, struct name_list *ret)
{
	size_t count = web_names(c, ret->text);
	ret->names.count = 0;
	for (size_t i = 0; i < count && (i == 0 || kind == ACME_MEMBER); i++) {
		if (i == 0 || (without & 1U << i) == 0) {
			ret->names.of[ret->names.count++] = ret->text[i];
		}
	}
}

enum err
keeper_acme_prepare(struct keeper_acme *a)
{
	const struct config *c = &a->host->config;
	const char *const paths[] = {c->tls_authorities[0] != '\0' ? c->tls_authorities : SYSTEM_AUTHORITIES,
				     c->acme_ca};
	enum err e = acme_warm_up();
	for (size_t i = 0; i < 2 && e == ERR_OK && c->acme == CONFIG_ON; i++) {
		struct buf pem = BUF_INIT(AUTHORITIES_MAX);
		enum err one = paths[i][0] == '\0' ? ERR_NOT_FOUND : file_read(paths[i], 0, 0, &pem);
		one = one == ERR_OK ? acme_roots_add(buf_bytes(&pem), &a->roots) : one;
		buf_clear(&pem);
		/* What cannot be read the fetcher says, which needs both, too; no certificate is taken without. */
		e = one == ERR_MEMORY ? one : ERR_OK;
	}
	return e;
}

enum err
keeper_acme_take(struct keeper_acme *a, const uint8_t wrap[SEALED_KEY_LEN], struct bytes payload)
{
	struct msg_acme_account m;
	struct buf pem = BUF_INIT(ACCOUNT_PEM_MAX);
	if (msg_acme_account_decode(payload, &m) != ERR_OK) {
		return ERR_FORMAT;
	}
	enum err e = sealed_unwrap(wrap, bytes_str(account_name), m.key, &pem);
	e = e == ERR_OK ? acme_account_read(&a->account, buf_bytes(&pem)) : e;
	buf_wipe(&pem);
	if (e != ERR_OK) {
		log_event(
		    LOG_LEVEL_WARNING,
		    "tls/acme.key.sealed does not open (%s): a new account with the certificate authority "
		    "is made when it is needed",
		    err_text(e));
	}
	return ERR_OK;
}

/* ---- saving: the supervisor has the disk ---- */

struct saving {
	struct tls_next *next; /* a new one */
	uint8_t id_saved[TLS_NEXT_ID];
	uint64_t serial; /* of who asked */
	uint32_t id;
	enum tls_kind kind;
	struct tls_pair *pair;
	struct acme_account account;
};

static void
saving_end(struct saving **sp)
{
	struct saving *s = *sp;
	if (s != NULL) {
		tls_pair_destroy(&s->pair);
		tls_next_destroy(&s->next);
		acme_account_clear(&s->account);
		free(s);
	}
	*sp = NULL;
}

/* Takes s where it succeeds. */
static enum err
save(struct keeper_acme *a, enum acme_file what, struct bytes data, struct saving *s)
{
	struct msg_acme_save m = {.what = (uint8_t)what, .data = data};
	enum err e = channel_notice(a->host->supervisor, ACME_SAVE, acme_save, &m);
	if (e == ERR_OK) {
		a->saving[what] = s;
	}
	return e;
}

static void
account_saved(struct keeper_acme *a, struct saving *s)
{
	acme_account_clear(&a->account);
	a->account = s->account;
	s->account = (struct acme_account){.key = NULL};
}

static void
chain_saved(struct keeper_acme *a, struct saving *s, bool good)
{
	struct channel *ch = role_channel(a->host, ROLE_FETCHER, 0);
	if (good) {
		struct tls_next **next = &a->tls->of[s->kind].next;
		if (*next != NULL && secret_equal(tls_next_id(*next), tls_pair_id(s->pair), TLS_NEXT_ID)) {
			tls_next_destroy(&a->tls->of[s->kind].owed);
			a->tls->of[s->kind].owed = *next;
			*next = NULL;
		}
		tls_keys_put(a->tls, s->kind, &s->pair);
		a->changed(a->arg);
	}
	if (ch != NULL && channel_serial(ch) == s->serial &&
	    channel_answer(ch, MSG_ACME_CHAIN, s->id, good ? ERR_OK : ERR_IO) != ERR_OK) {
		channel_end(ch);
	}
}

/* The key in use lies in its own file, too: the next one's may be another's now. */
static void
key_saved(struct keeper_acme *a, const struct saving *s)
{
	struct tls_next **owed = &a->tls->of[s->kind].owed;
	const struct tls_pair *now = a->tls->of[s->kind].now;
	if (*owed != NULL && now != NULL && secret_equal(tls_next_id(*owed), s->id_saved, TLS_NEXT_ID)) {
		tls_next_destroy(owed);
	}
}

static void
next_saved(struct keeper_acme *a, struct saving *s)
{
	tls_next_destroy(&a->tls->of[s->kind].next);
	a->tls->of[s->kind].next = s->next;
	s->next = NULL;
}

enum err
keeper_acme_saved(struct keeper_acme *a, struct bytes payload)
{
	struct msg_acme_saved m;
	if (msg_acme_saved_decode(payload, &m) != ERR_OK || m.what >= ACME_FILES ||
	    a->saving[m.what] == NULL) {
		return ERR_FORMAT;
	}
	struct saving *s = a->saving[m.what];
	a->saving[m.what] = NULL;
	a->failed[m.what] = m.good == 0 ? loop_now(a->host->loop) : 0;
	if (m.what == ACME_FILE_MX || m.what == ACME_FILE_MEMBER) {
		chain_saved(a, s, m.good != 0);
	} else if (m.good == 0) {
		/* The supervisor has said why. */
	} else if (m.what == ACME_FILE_ACCOUNT) {
		account_saved(a, s);
	} else if (m.what == ACME_FILE_MX_KEY || m.what == ACME_FILE_MEMBER_KEY) {
		key_saved(a, s);
	} else {
		next_saved(a, s);
	}
	saving_end(&s);
	return ERR_OK;
}

/* On disk before it is used: an account whose key is lost is of no use to anybody. */
static enum err
make_account(struct keeper_acme *a, const uint8_t wrap[SEALED_KEY_LEN])
{
	struct buf pem = BUF_INIT(ACCOUNT_PEM_MAX);
	struct buf sealed = BUF_INIT(IPC_SMALL);
	struct saving *s = calloc(1, sizeof(*s));
	enum err e = s == NULL ? ERR_MEMORY : acme_account_make(&s->account, &pem);
	e = e == ERR_OK ? sealed_wrap(wrap, bytes_str(account_name), buf_bytes(&pem), &sealed) : e;
	if (e == ERR_OK) {
		e = save(a, ACME_FILE_ACCOUNT, buf_bytes(&sealed), s);
	}
	if (e != ERR_OK) {
		saving_end(&s);
	}
	buf_wipe(&pem);
	buf_clear(&sealed);
	return e;
}

/* ---- the key that comes next ---- */

const char *
keeper_tls_name(unsigned kind)
{
	return kind == TLS_KIND_MX ? "tls-mx" : "tls-member";
}

static enum err
make_next(struct keeper_acme *a, const uint8_t wrap[SEALED_KEY_LEN], enum tls_kind kind, enum acme_file file)
{
	struct buf pem = BUF_INIT(TLS_NEXT_MAX);
	struct buf sealed = BUF_INIT(TLS_NEXT_MAX);
	struct saving *s = calloc(1, sizeof(*s));
	enum err e = s == NULL ? ERR_MEMORY : tls_next_make(&pem, &s->next);
	e = e == ERR_OK ? buf_append(&sealed, bytes_of(tls_next_id(s->next), TLS_NEXT_ID)) : e;
	e = e == ERR_OK
		? sealed_wrap(wrap, bytes_str(keeper_tls_name((unsigned)kind)), buf_bytes(&pem), &sealed)
		: e;
	e = e == ERR_OK ? tls_next_keep(s->next, bytes_from(buf_bytes(&sealed), TLS_NEXT_ID)) : e;
	if (e == ERR_OK) {
		s->kind = kind;
		e = save(a, file, buf_bytes(&sealed), s);
	}
	if (e != ERR_OK) {
		saving_end(&s);
	}
	buf_wipe(&pem);
	buf_clear(&sealed);
	return e;
}

static enum err
save_owed(struct keeper_acme *a, enum tls_kind kind, enum acme_file file)
{
	const struct tls_next *owed = a->tls->of[kind].owed;
	struct saving *s = calloc(1, sizeof(*s));
	enum err e = s == NULL ? ERR_MEMORY : ERR_OK;
	if (e == ERR_OK) {
		s->kind = kind;
		memcpy(s->id_saved, tls_next_id(owed), TLS_NEXT_ID);
		e = save(a, file, tls_next_wrapped(owed), s);
	}
	if (e != ERR_OK) {
		saving_end(&s);
	}
	return e;
}

static const struct {
	enum acme_file chain, key, next;
} files_of[ACME_KINDS] = {[ACME_MX] = {ACME_FILE_MX, ACME_FILE_MX_KEY, ACME_FILE_MX_NEXT},
			  [ACME_MEMBER] = {ACME_FILE_MEMBER, ACME_FILE_MEMBER_KEY, ACME_FILE_MEMBER_NEXT}};

/* In this order: while a key in use is owed its file, the next one's holds it, and is not written. ACME_FILES: nothing is to be written. */
static enum acme_file
file_wanted(const struct keeper_acme *a, unsigned kind)
{
	if (a->saving[files_of[kind].chain] != NULL) {
		return ACME_FILES;
	}
	return a->tls->of[kind].owed != NULL   ? files_of[kind].key
	       : a->tls->of[kind].next == NULL ? files_of[kind].next
					       : ACME_FILES;
}

/* What failed a moment ago, and nobody has heard of yet. */
static bool
has_failed(const struct keeper_acme *a, enum acme_file file)
{
	return a->failed[file] != 0 && loop_now(a->host->loop) - a->failed[file] < FAILURE_MS;
}

/*
 * What certificates need on the disk first. ERR_OK: it is there; ERR_AGAIN: on its way; ERR_IO: it could not be written, which is said once: who asks
 * again has it tried again.
 */
static enum err
see_to_files(struct keeper_acme *a, const uint8_t wrap[SEALED_KEY_LEN])
{
	bool busy = a->saving[ACME_FILE_ACCOUNT] != NULL;
	bool failed = false;
	if (a->account.key == NULL && !busy) {
		failed = has_failed(a, ACME_FILE_ACCOUNT) || make_account(a, wrap) != ERR_OK;
		busy = !failed;
	}
	for (unsigned kind = 0; kind < ACME_KINDS && !busy && !failed; kind++) {
		busy = a->saving[files_of[kind].key] != NULL || a->saving[files_of[kind].next] != NULL;
	}
	for (unsigned kind = 0; kind < ACME_KINDS && a->account.key != NULL; kind++) {
		enum acme_file file = is_managed(&a->host->config, kind) ? file_wanted(a, kind) : ACME_FILES;
		if (file == ACME_FILES || a->saving[files_of[kind].key] != NULL ||
		    a->saving[files_of[kind].next] != NULL) {
			continue;
		}
		enum err e = has_failed(a, file)          ? ERR_IO
			     : file == files_of[kind].key ? save_owed(a, (enum tls_kind)kind, file)
							  : make_next(a, wrap, (enum tls_kind)kind, file);
		failed = failed || e != ERR_OK;
		busy = busy || e == ERR_OK;
	}
	if (busy) {
		return ERR_AGAIN;
	}
	if (failed) {
		memset(a->failed, 0, sizeof(a->failed));
	}
	return failed ? ERR_IO : ERR_OK;
}

/* ---- what there is ---- */

static enum err
put_state(const struct keeper_acme *a, unsigned kind, struct wire_writer *w)
{
	struct acme_certificate c;
	struct name_list list;
	enum err e = acme_certificate_read(tls_keys_chain(a->tls, (enum tls_kind)kind), &c);
	if (e != ERR_OK) {
		return e;
	}
	list_names(&a->host->config, kind, 0, &list);
	wire_put_u8(w, (uint8_t)kind);
	wire_put_u8(w, c.authority ? 1 : 0);
	wire_put_u64(w, c.not_before > 0 ? (uint64_t)c.not_before : 0);
	wire_put_u64(w, c.not_after > 0 ? (uint64_t)c.not_after : 0);
	size_t opened = wire_open_bytes(w);
	for (size_t i = 0; i < list.names.count && e == ERR_OK; i++) {
		e = buf_printf(w->out, "%s%s", i == 0 ? "" : " ", list.names.of[i]);
	}
	wire_close_bytes(w, opened);
	const struct tls_next *next = a->tls->of[kind].next;
	static const uint8_t none[TLS_NEXT_ID];
	wire_put_fixed(w, next != NULL ? tls_next_id(next) : none, TLS_NEXT_ID);
	return e;
}

enum err
keeper_acme_state(struct keeper_acme *a, const uint8_t wrap[SEALED_KEY_LEN], struct channel *ch,
		  const struct channel_message *m)
{
	struct buf out = BUF_INIT(IPC_SMALL - 64);
	struct wire_writer w;
	if (msg_empty_decode(m->payload) != ERR_OK) {
		return ERR_FORMAT;
	}
	if (a->host->config.acme != CONFIG_ON) {
		return ERR_DENIED;
	}
	enum err e = see_to_files(a, wrap);
	if (e != ERR_OK) {
		return e;
	}
	wire_writer_init(&w, &out);
	for (unsigned kind = 0; kind < ACME_KINDS && e == ERR_OK; kind++) {
		e = is_managed(&a->host->config, kind) ? put_state(a, kind, &w) : ERR_OK;
	}
	e = e == ERR_OK ? wire_done(&w) : e;
	if (e == ERR_OK) {
		struct msg_acme_state_reply r = {.certificates = buf_bytes(&out)};
		e = channel_reply(ch, ACME_STATE, acme_state_reply, m->id, &r);
	}
	buf_clear(&out);
	return e == ERR_FORMAT ? ERR_DAMAGED : e;
}

/* ---- requests ---- */

static struct evp_pkey_st *
key_of(const struct keeper_acme *a, enum tls_kind kind, bool next)
{
	const struct tls_next *n = a->tls->of[kind].next;
	return !next ? tls_keys_private(a->tls, kind) : n == NULL ? NULL : tls_next_key(n);
}

static bool
is_key_moving(const struct keeper_acme *a, enum tls_kind kind)
{
	return kind == TLS_KIND_MX
		   ? a->saving[ACME_FILE_MX_KEY] != NULL || a->saving[ACME_FILE_MX_NEXT] != NULL
		   : a->saving[ACME_FILE_MEMBER_KEY] != NULL || a->saving[ACME_FILE_MEMBER_NEXT] != NULL;
}

/* Whoever asks: an authority's patience, and its limits, are the house's good name. */
static bool
is_too_often(struct keeper_acme *a)
{
	msec now = loop_now(a->host->loop);
	if (a->orders == 0 || now - a->orders_since > MSEC_DAY) {
		a->orders = 0;
		a->orders_since = now;
	}
	return a->orders++ >= ACME_ORDERS_A_DAY;
}

enum err
keeper_acme_sign(struct keeper_acme *a, struct channel *ch, const struct channel_message *m)
{
	const struct config *c = &a->host->config;
	struct msg_acme_sign q;
	struct name_list list;
	struct buf body = BUF_INIT(ACME_BODY_MAX);
	if (msg_acme_sign_decode(m->payload, &q) != ERR_OK || q.what < ACME_NEW_ACCOUNT ||
	    q.what > ACME_FINALIZE || q.kind >= ACME_KINDS) {
		return ERR_FORMAT;
	}
	bool of_a_kind = q.what == ACME_NEW_ORDER || q.what == ACME_FINALIZE;
	if (!(of_a_kind ? is_managed(c, q.kind) : is_any_managed(c)) || !config_acme_url(c, q.url) ||
	    (q.account.len > 0 && !config_acme_url(c, q.account))) {
		return ERR_DENIED;
	}
	if (q.what == ACME_NEW_ORDER && is_too_often(a)) {
		return ERR_LIMIT;
	}
	struct evp_pkey_st *key = key_of(a, (enum tls_kind)q.kind, q.next != 0);
	if (key == NULL && of_a_kind) {
		return ERR_DENIED;
	}
	list_names(c, q.kind, q.without, &list);
	struct acme_order o = {.what = (enum acme_request)q.what,
			       .url = q.url,
			       .nonce = q.nonce,
			       .account = q.account,
			       .contact = c->acme_contact,
			       .names = &list.names,
			       .key = key};
	enum err e = acme_write(&a->account, &o, &body);
	if (e == ERR_OK) {
		struct msg_acme_sign_reply r = {.body = buf_bytes(&body)};
		a->ordered = q.what == ACME_NEW_ORDER ? loop_now(a->host->loop) : a->ordered;
		e = channel_reply(ch, ACME_SIGN, acme_sign_reply, m->id, &r);
	}
	buf_clear(&body);
	/* The authority's words are no fault of who brings them. */
	return e == ERR_FORMAT ? ERR_DENIED : e;
}

enum err
keeper_acme_vouch(const struct keeper_acme *a, struct channel *ch, const struct channel_message *m)
{
	struct msg_acme_vouch_reply r;
	if (msg_empty_decode(m->payload) != ERR_OK) {
		return ERR_FORMAT;
	}
	if (!is_any_managed(&a->host->config) || a->account.key == NULL || a->ordered == 0 ||
	    loop_now(a->host->loop) - a->ordered > ACME_VOUCH_MS) {
		return ERR_DENIED;
	}
	memcpy(r.thumbprint, a->account.thumbprint, sizeof(r.thumbprint));
	return channel_reply(ch, ACME_VOUCH, acme_vouch_reply, m->id, &r);
}

/* ---- a new chain ---- */

enum err
keeper_acme_chain(struct keeper_acme *a, struct channel *ch, const struct channel_message *m)
{
	struct msg_acme_chain q;
	struct name_list list;
	struct buf chain = BUF_INIT(ACME_CHAIN_MAX);
	if (msg_acme_chain_decode(m->payload, &q) != ERR_OK || q.kind >= ACME_KINDS) {
		return ERR_FORMAT;
	}
	enum tls_kind kind = (enum tls_kind)q.kind;
	enum acme_file file = kind == TLS_KIND_MX ? ACME_FILE_MX : ACME_FILE_MEMBER;
	if (!is_managed(&a->host->config, q.kind) || key_of(a, kind, q.next != 0) == NULL) {
		return ERR_DENIED;
	}
	/* Nor while a key is on its way to the disk: what then stands there must fit one chain or the other. */
	if (a->saving[file] != NULL || a->tls->of[kind].owed != NULL || is_key_moving(a, kind)) {
		return ERR_AGAIN;
	}
	list_names(&a->host->config, q.kind, q.without, &list);
	struct saving *s = calloc(1, sizeof(*s));
	enum err e = s == NULL ? ERR_MEMORY
			       : acme_chain_check(q.chain_pem, key_of(a, kind, q.next != 0), a->roots,
						  &list.names, clock_wall(), &chain);
	if (e == ERR_OK) {
		e = q.next != 0 ? tls_next_pair(a->tls->of[kind].next, buf_bytes(&chain), &s->pair)
				: tls_keys_again(a->tls, kind, buf_bytes(&chain), &s->pair);
	}
	if (e == ERR_OK) {
		s->serial = channel_serial(ch);
		s->id = m->id;
		s->kind = kind;
		e = save(a, file, buf_bytes(&chain), s);
	}
	if (e != ERR_OK) {
		saving_end(&s);
	}
	buf_clear(&chain);
	return e == ERR_FORMAT ? ERR_DAMAGED : e;
}
