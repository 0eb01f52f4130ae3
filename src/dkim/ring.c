/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/openssl.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/calendar.h"
#include "base/secret.h"
#include "base/wire.h"
#include "dkim/ring.h"
#include "sealed/keys.h"

enum { FILE_VERSION = 1, SECRETS_MAX = 28 * 1024, RSA_DER_MAX = 2048 };

void
dkim_ring_init(struct dkim_ring *r)
{
	memset(r, 0, sizeof(*r));
}

static void
destroy_secret(struct dkim_pair *p)
{
	secret_free(p->seed);
	EVP_PKEY_free(p->rsa);
	p->seed = NULL;
	p->rsa = NULL;
	p->secret = false;
}

void
dkim_ring_clear(struct dkim_ring *r)
{
	for (size_t i = 0; i < r->count; i++) {
		destroy_secret(&r->pairs[i]);
	}
	memset(r, 0, sizeof(*r));
}

/* ---- states ---- */

static size_t
signer_of(const struct dkim_ring *r, int64_t now)
{
	size_t best = r->count;
	/* One without a secret signs no more, whatever a clock that was set back says. */
	for (size_t i = 0; i < r->count; i++) {
		if (r->pairs[i].secret && (best == r->count || r->pairs[i].active <= now)) {
			best = i;
		}
	}
	return best;
}

/* When the pair behind it began to sign. */
static int64_t
superseded_at(const struct dkim_ring *r, size_t pair)
{
	return r->pairs[pair + 1].active;
}

enum dkim_state
dkim_ring_state(const struct dkim_ring *r, size_t pair, int64_t now)
{
	size_t signer = signer_of(r, now);
	if (pair == signer) {
		return DKIM_SIGNING;
	}
	if (pair > signer || pair + 1 >= r->count) {
		return DKIM_WAITING;
	}
	int64_t age = now - superseded_at(r, pair);
	return age < DKIM_RING_KEEP                      ? DKIM_KEPT
	       : age < DKIM_RING_KEEP + DKIM_RING_REVOKE ? DKIM_REVOKED
							 : DKIM_GONE;
}

int64_t
dkim_ring_until(const struct dkim_ring *r, size_t pair, int64_t now)
{
	switch (dkim_ring_state(r, pair, now)) {
	case DKIM_WAITING:
		return r->pairs[pair].active;
	case DKIM_SIGNING:
		return pair + 1 < r->count ? superseded_at(r, pair) : INT64_MAX;
	case DKIM_KEPT:
		return superseded_at(r, pair) + DKIM_RING_KEEP;
	case DKIM_REVOKED:
		return superseded_at(r, pair) + DKIM_RING_KEEP + DKIM_RING_REVOKE;
	case DKIM_GONE:
		break;
	}
	return INT64_MAX;
}

const struct dkim_pair *
dkim_ring_signer(const struct dkim_ring *r, int64_t now)
{
	size_t i = signer_of(r, now);
	return i < r->count ? &r->pairs[i] : NULL;
}

/* ---- changes ---- */

bool
dkim_ring_tidy(struct dkim_ring *r, int64_t now)
{
	size_t signer = signer_of(r, now);
	size_t kept = 0;
	bool changed = false;
	for (size_t i = 0; i < r->count; i++) {
		if (dkim_ring_state(r, i, now) != DKIM_GONE) {
			break;
		}
		kept = i + 1;
	}
	for (size_t i = 0; i < r->count && i < signer; i++) {
		changed = changed || r->pairs[i].secret;
		destroy_secret(&r->pairs[i]);
	}
	if (kept > 0) {
		changed = true;
		r->count -= kept;
		memmove(r->pairs, r->pairs + kept, r->count * sizeof(r->pairs[0]));
		memset(r->pairs + r->count, 0, kept * sizeof(r->pairs[0]));
	}
	return changed;
}

/* By the month of its making: "c202611", then "c202611b" and so on. */
static enum err
choose_name(const struct dkim_ring *r, int64_t now, char ret[DKIM_NAME_MAX])
{
	struct calendar c = calendar_of(now);
	unsigned year = (unsigned)(c.year < 0 || c.year > 9999 ? 0 : c.year);
	for (unsigned n = 0; n < DKIM_RING_MADE_MAX; n++) {
		char name[DKIM_NAME_MAX];
		char more[2] = {n == 0 ? '\0' : (char)('a' + (int)n), '\0'};
		bool taken = false;
		(void)snprintf(name, sizeof(name), "c%04u%02u%s", year, (unsigned)c.month % 100, more);
		for (size_t i = 0; i < r->count; i++) {
			taken = taken || strcmp(r->pairs[i].name, name) == 0;
		}
		if (!taken) {
			memcpy(ret, name, sizeof(name));
			return ERR_OK;
		}
	}
	return ERR_LIMIT;
}

enum err
dkim_ring_make(struct dkim_ring *r, int64_t now, int64_t active)
{
	struct dkim_pair p = {.made = now, .active = active};
	if (r->count > 0 && dkim_ring_state(r, r->count - 1, now) == DKIM_WAITING) {
		return ERR_EXISTS;
	}
	if (r->count == DKIM_RING_PAIRS) {
		return ERR_LIMIT;
	}
	enum err e = choose_name(r, now, p.name);
	e = e == ERR_OK ? dkim_pair_make(&p) : e;
	if (e == ERR_OK) {
		r->pairs[r->count++] = p;
	}
	return e;
}

enum err
dkim_ring_activate(struct dkim_ring *r, int64_t now)
{
	if (r->count == 0 || dkim_ring_state(r, r->count - 1, now) != DKIM_WAITING) {
		return ERR_NOT_FOUND;
	}
	r->pairs[r->count - 1].active = now;
	return ERR_OK;
}

/* ---- the file ---- */

static enum err
write_public(const struct dkim_ring *r, struct buf *out)
{
	struct wire_writer w;
	wire_writer_init(&w, out);
	wire_put_u8(&w, (uint8_t)r->count);
	for (size_t i = 0; i < r->count; i++) {
		const struct dkim_pair *p = &r->pairs[i];
		wire_put_bytes(&w, bytes_str(p->name));
		wire_put_u64(&w, (uint64_t)p->made);
		wire_put_u64(&w, (uint64_t)p->active);
		wire_put_u8(&w, p->secret ? 1 : 0);
		wire_put_bytes(&w, bytes_of(p->spki, p->spki_len));
		wire_put_fixed(&w, p->ed25519, sizeof(p->ed25519));
	}
	return wire_done(&w);
}

static bool
name_is_good(struct bytes name)
{
	bool good = name.len >= 2 && name.len < DKIM_NAME_MAX;
	for (size_t i = 0; good && i < name.len; i++) {
		good = (name.ptr[i] >= 'a' && name.ptr[i] <= 'z') || ascii_is_digit(name.ptr[i]);
	}
	return good;
}

static enum err
read_public(struct bytes data, struct dkim_ring *ret)
{
	struct wire_reader w;
	struct dkim_ring r;
	dkim_ring_init(&r);
	wire_reader_init(&w, data);
	size_t count = wire_get_u8(&w);
	for (size_t i = 0; i < count && count <= DKIM_RING_PAIRS && w.error == ERR_OK; i++) {
		struct dkim_pair *p = &r.pairs[i];
		struct bytes name = wire_get_bytes(&w, DKIM_NAME_MAX - 1);
		uint64_t made = wire_get_u64(&w);
		uint64_t active = wire_get_u64(&w);
		uint8_t secret = wire_get_u8(&w);
		struct bytes spki = wire_get_bytes(&w, DKIM_SPKI_MAX);
		wire_get_fixed(&w, p->ed25519, sizeof(p->ed25519));
		if (!name_is_good(name) || made > INT64_MAX / 2 || active > INT64_MAX / 2 || secret > 1 ||
		    spki.len == 0) {
			wire_fail(&w, ERR_FORMAT);
			break;
		}
		memcpy(p->name, name.ptr, name.len);
		p->made = (int64_t)made;
		p->active = (int64_t)active;
		p->secret = secret != 0;
		memcpy(p->spki, spki.ptr, spki.len);
		p->spki_len = spki.len;
		r.count++;
	}
	enum err e = wire_end(&w);
	if (e == ERR_OK && r.count == count) {
		*ret = r;
		return ERR_OK;
	}
	return ERR_FORMAT;
}

/* Version, the public part, the sealed one. */
static enum err
split(struct bytes file, struct bytes *ret_public, struct bytes *ret_sealed)
{
	struct wire_reader w;
	wire_reader_init(&w, file);
	uint8_t version = wire_get_u8(&w);
	struct bytes public = wire_get_bytes(&w, DKIM_RING_FILE_MAX);
	struct bytes sealed = wire_get_bytes(&w, DKIM_RING_FILE_MAX);
	if (w.error == ERR_OK && version != FILE_VERSION) {
		return ERR_UNSUPPORTED;
	}
	if (wire_end(&w) != ERR_OK) {
		return ERR_FORMAT;
	}
	*ret_public = public;
	*ret_sealed = sealed;
	return ERR_OK;
}

enum err
dkim_ring_read(struct bytes file, struct dkim_ring *ret)
{
	struct bytes public;
	struct bytes sealed;
	enum err e = split(file, &public, &sealed);
	return e == ERR_OK ? read_public(public, ret) : e;
}

/* What the secrets are bound to: the whole public part. */
static enum err
binding(struct bytes public, struct buf *out)
{
	enum err e = buf_append_str(out, "dkim keys ");
	return e == ERR_OK ? buf_append(out, public) : e;
}

static enum err
read_secrets(struct bytes plain, struct dkim_ring *r)
{
	struct wire_reader w;
	wire_reader_init(&w, plain);
	enum err e = ERR_OK;
	for (size_t i = 0; i < r->count && e == ERR_OK; i++) {
		struct dkim_pair *p = &r->pairs[i];
		if (!p->secret) {
			continue;
		}
		struct bytes der = wire_get_bytes(&w, RSA_DER_MAX);
		p->seed = secret_alloc(SIGN_SEED_LEN);
		if (p->seed == NULL) {
			return ERR_MEMORY;
		}
		wire_get_fixed(&w, p->seed, SIGN_SEED_LEN);
		e = w.error == ERR_OK ? dkim_pair_read_rsa(p, der) : ERR_FORMAT;
	}
	return e == ERR_OK ? wire_end(&w) : e;
}

enum err
dkim_ring_open(struct bytes file, const uint8_t wrap[CRYPTO_KEY_LEN], struct dkim_ring *ret)
{
	struct bytes public;
	struct bytes sealed;
	struct dkim_ring r;
	struct buf name = BUF_INIT(DKIM_RING_FILE_MAX + 32);
	struct buf plain = BUF_INIT(SECRETS_MAX);
	dkim_ring_init(&r);
	enum err e = split(file, &public, &sealed);
	e = e == ERR_OK ? read_public(public, &r) : e;
	e = e == ERR_OK ? binding(public, &name) : e;
	e = e == ERR_OK ? sealed_unwrap(wrap, buf_bytes(&name), sealed, &plain) : e;
	e = e == ERR_OK ? read_secrets(buf_bytes(&plain), &r) : e;
	if (e == ERR_OK) {
		*ret = r;
	} else {
		dkim_ring_clear(&r);
	}
	buf_clear(&name);
	buf_wipe(&plain);
	return e;
}

static enum err
write_secrets(const struct dkim_ring *r, struct buf *out)
{
	struct wire_writer w;
	struct buf der = BUF_INIT(RSA_DER_MAX);
	enum err e = ERR_OK;
	wire_writer_init(&w, out);
	for (size_t i = 0; i < r->count && e == ERR_OK; i++) {
		const struct dkim_pair *p = &r->pairs[i];
		if (!p->secret) {
			continue;
		}
		if (p->seed == NULL) {
			e = ERR_STATE; /* read without its secrets */
			break;
		}
		e = dkim_pair_write_rsa(p, &der);
		wire_put_bytes(&w, buf_bytes(&der));
		wire_put_fixed(&w, p->seed, SIGN_SEED_LEN);
		buf_wipe(&der);
	}
	buf_wipe(&der);
	return e == ERR_OK ? wire_done(&w) : e;
}

enum err
dkim_ring_write(const struct dkim_ring *r, const uint8_t wrap[CRYPTO_KEY_LEN], struct buf *out)
{
	struct buf public = BUF_INIT(DKIM_RING_FILE_MAX);
	struct buf name = BUF_INIT(DKIM_RING_FILE_MAX + 32);
	struct buf plain = BUF_INIT(SECRETS_MAX);
	struct buf sealed = BUF_INIT(DKIM_RING_FILE_MAX);
	enum err e = write_public(r, &public);
	e = e == ERR_OK ? write_secrets(r, &plain) : e;
	e = e == ERR_OK ? binding(buf_bytes(&public), &name) : e;
	e = e == ERR_OK ? sealed_wrap(wrap, buf_bytes(&name), buf_bytes(&plain), &sealed) : e;
	if (e == ERR_OK) {
		struct wire_writer w;
		wire_writer_init(&w, out);
		wire_put_u8(&w, FILE_VERSION);
		wire_put_bytes(&w, buf_bytes(&public));
		wire_put_bytes(&w, buf_bytes(&sealed));
		e = wire_done(&w);
	}
	buf_clear(&public);
	buf_clear(&name);
	buf_wipe(&plain);
	buf_clear(&sealed);
	return e;
}

/* ---- what is said of a pair ---- */

void
dkim_selector(const struct dkim_pair *p, enum dkim_algorithm algorithm, char ret[DKIM_NAME_MAX + 1])
{
	(void)snprintf(ret, DKIM_NAME_MAX + 1, "%s%c", p->name, algorithm == DKIM_RSA_SHA256 ? 'r' : 'e');
}

enum err
dkim_pair_record(const struct dkim_pair *p, enum dkim_algorithm algorithm, enum dkim_state state,
		 struct buf *out)
{
	bool rsa = algorithm == DKIM_RSA_SHA256;
	if (state == DKIM_REVOKED || state == DKIM_GONE) {
		return dkim_record(algorithm, BYTES_EMPTY, out);
	}
	return dkim_record(
	    algorithm, rsa ? bytes_of(p->spki, p->spki_len) : bytes_of(p->ed25519, sizeof(p->ed25519)), out);
}
