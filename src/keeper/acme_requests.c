/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "keeper/acme_requests.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/wire.h"
#include "process/log.h"
#include "web/web.h"

#define SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

enum { ACCOUNT_PEM_MAX = 4096, AUTHORITIES_MAX = 16 << 20 };

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
		tls_keys_put(a->tls, s->kind, &s->pair);
		a->changed(a->arg);
	}
	if (ch != NULL && channel_serial(ch) == s->serial &&
	    channel_answer(ch, MSG_ACME_CHAIN, s->id, good ? ERR_OK : ERR_IO) != ERR_OK) {
		channel_end(ch);
	}
}

enum err
keeper_acme_saved(struct keeper_acme *a, struct bytes payload)
{
	struct msg_acme_saved m;
	if (msg_acme_saved_decode(payload, &m) != ERR_OK || m.what > ACME_FILE_MEMBER ||
	    a->saving[m.what] == NULL) {
		return ERR_FORMAT;
	}
	struct saving *s = a->saving[m.what];
	a->saving[m.what] = NULL;
	if (m.what != ACME_FILE_ACCOUNT) {
		chain_saved(a, s, m.good != 0);
	} else if (m.good != 0) {
		account_saved(a, s);
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
	if (a->account.key == NULL) {
		enum err made = a->saving[ACME_FILE_ACCOUNT] != NULL ? ERR_OK : make_account(a, wrap);
		return made == ERR_OK ? ERR_AGAIN : ERR_IO;
	}
	wire_writer_init(&w, &out);
	enum err e = ERR_OK;
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
	if (!is_managed(c, q.kind) || !config_acme_url(c, q.url) ||
	    (q.account.len > 0 && !config_acme_url(c, q.account))) {
		return ERR_DENIED;
	}
	if (q.what == ACME_NEW_ORDER && is_too_often(a)) {
		return ERR_LIMIT;
	}
	list_names(c, q.kind, q.without, &list);
	struct acme_order o = {.what = (enum acme_request)q.what,
			       .url = q.url,
			       .nonce = q.nonce,
			       .account = q.account,
			       .contact = c->acme_contact,
			       .names = &list.names,
			       .key = tls_keys_private(a->tls, (enum tls_kind)q.kind)};
	enum err e = acme_write(&a->account, &o, &body);
	if (e == ERR_OK) {
		struct msg_acme_sign_reply r = {.body = buf_bytes(&body)};
		memcpy(r.thumbprint, a->account.thumbprint, sizeof(r.thumbprint));
		e = channel_reply(ch, ACME_SIGN, acme_sign_reply, m->id, &r);
	}
	buf_clear(&body);
	/* The authority's words are no fault of who brings them. */
	return e == ERR_FORMAT ? ERR_DENIED : e;
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
	if (!is_managed(&a->host->config, q.kind) || a->saving[file] != NULL) {
		return a->saving[file] != NULL ? ERR_AGAIN : ERR_DENIED;
	}
	list_names(&a->host->config, q.kind, q.without, &list);
	struct saving *s = calloc(1, sizeof(*s));
	enum err e = s == NULL ? ERR_MEMORY
			       : acme_chain_check(q.chain_pem, tls_keys_private(a->tls, kind), a->roots,
						  &list.names, clock_wall(), &chain);
	e = e == ERR_OK ? tls_keys_again(a->tls, kind, buf_bytes(&chain), &s->pair) : e;
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
