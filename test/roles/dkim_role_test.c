/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The keeper's DKIM keys as its peers see them: what signs when, what never does, and what it says of a file that is not its own. */
#include "base/openssl.h"
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "authentication/rsa_key.h"
#include "base/secret.h"
#include "dkim/ring.h"
#include "roles/rolehost.h"

enum { OP_TIDY = 0, OP_NEXT = 1, OP_ACTIVATE = 2 };

static const int64_t hour_ms = 3600 * 1000;
static const int64_t day_ms = 24 * 3600 * 1000;
static const char *binary;

struct scene {
	struct rolehost host;
	struct fake *courier;
	int64_t ahead;
	char home[64];
	char log[80];
};

static void
open_scene(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-dkim-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	(void)snprintf(s->log, sizeof(s->log), "%s/log", s->home);
	rolehost_init(&s->host, binary, s->home);
	rolehost_set_clock(&s->host, 0);
	s->courier = rolehost_fake(&s->host, ROLE_COURIER, 0, ROLE_KEEPER);
	/* What it logs goes into a file. */
	int mine = dup(STDERR_FILENO);
	int file = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(mine >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
	bool started = rolehost_start(&s->host, ROLE_KEEPER);
	assert_true(dup2(mine, STDERR_FILENO) >= 0);
	(void)close(mine);
	(void)close(file);
	assert_true(started);
}

static void
close_scene(struct scene *s)
{
	char path[128];
	rolehost_clear(&s->host);
	(void)unlink(s->host.clock_file);
	(void)unlink(s->log);
	(void)snprintf(path, sizeof(path), "%s/store/new", s->home);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/store", s->home);
	(void)rmdir(path);
	assert_int_equal(rmdir(s->home), 0);
}

static void
pass(struct scene *s, int64_t ms)
{
	s->ahead += ms;
	rolehost_set_clock(&s->host, s->ahead);
}

static int64_t
now_of(const struct scene *s)
{
	return (clock_wall() + s->ahead) / 1000;
}

static bool
was_logged(const struct scene *s, const char *words)
{
	char text[8192];
	int fd = open(s->log, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	assert_true(n >= 0);
	(void)close(fd);
	return bytes_search(bytes_of(text, (size_t)n), bytes_str(words)) >= 0;
}

/* As the supervisor asks: the file becomes what it says. On failure it stays. */
static enum err
change(struct scene *s, unsigned op, struct buf *file)
{
	struct answer a;
	struct msg_dkim_change_reply r;
	struct msg_dkim_change q = {.op = (uint8_t)op, .file = buf_bytes(file)};
	answer_init(&a);
	assert_int_equal(channel_request(s->host.children[ROLE_KEEPER].ch, DKIM_CHANGE, dkim_change, &q, 0,
					 answer_take, &a),
			 ERR_OK);
	enum err e = answer_wait(&s->host, &a);
	if (e == ERR_OK) {
		assert_int_equal(msg_dkim_change_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		buf_reset(file);
		assert_int_equal(buf_append(file, r.file), ERR_OK);
	}
	answer_clear(&a);
	return e;
}

static void
hand_over(struct scene *s, const struct buf *file)
{
	struct msg_dkim_file m = {.file = buf_bytes(file)};
	assert_int_equal(channel_notice(s->host.children[ROLE_KEEPER].ch, DKIM_FILE, dkim_file, &m), ERR_OK);
	/* Another channel's question could overtake it. */
	(void)rolehost_figure(&s->host, ROLE_KEEPER, "dkim_signatures");
}

static enum err
sign(struct scene *s, const char *selector, const uint8_t digest[32], struct buf *ret)
{
	struct answer a;
	struct msg_dkim_sign_reply r;
	struct msg_dkim_sign q = {.selector = bytes_str(selector)};
	memcpy(q.digest, digest, 32);
	answer_init(&a);
	enum err e = fake_ask(s->courier, DKIM_SIGN, dkim_sign, &q, &a);
	if (e == ERR_OK) {
		assert_int_equal(msg_dkim_sign_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		assert_int_equal(buf_append(ret, r.signature), ERR_OK);
	}
	answer_clear(&a);
	return e;
}

static bool
rsa_verifies(const struct dkim_pair *p, const uint8_t digest[32], struct bytes signature)
{
	EVP_PKEY *key = rsa_key_read(bytes_of(p->spki, p->spki_len));
	assert_non_null(key);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
	assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
	bool good = EVP_PKEY_verify(ctx, signature.ptr, signature.len, digest, 32) == 1;
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(key);
	return good;
}

/* With both of its keys, as who reads the published half finds. */
static void
assert_signs(struct scene *s, const struct dkim_pair *p)
{
	char selector[DKIM_NAME_MAX + 1];
	uint8_t digest[32];
	struct buf signature = BUF_INIT(512);
	memset(digest, 'd', sizeof(digest));
	dkim_selector(p, DKIM_RSA_SHA256, selector);
	assert_int_equal(sign(s, selector, digest, &signature), ERR_OK);
	assert_true(rsa_verifies(p, digest, buf_bytes(&signature)));
	buf_reset(&signature);
	dkim_selector(p, DKIM_ED25519_SHA256, selector);
	assert_int_equal(sign(s, selector, digest, &signature), ERR_OK);
	assert_int_equal(signature.len, SIGN_LEN);
	assert_int_equal(sign_check(p->ed25519, bytes_of(digest, sizeof(digest)), signature.ptr), ERR_OK);
	buf_clear(&signature);
}

static void
assert_refuses(struct scene *s, const struct dkim_pair *p, enum err why)
{
	static const uint8_t digest[32] = {1};
	struct buf signature = BUF_INIT(512);
	for (int i = 0; i < 2; i++) {
		char selector[DKIM_NAME_MAX + 1];
		dkim_selector(p, i == 0 ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256, selector);
		assert_int_equal(sign(s, selector, digest, &signature), why);
	}
	assert_int_equal(signature.len, 0);
	buf_clear(&signature);
}

/* "": it has none yet. */
static void
assert_names(struct scene *s, const char *rsa, const char *ed25519)
{
	struct answer a;
	struct msg_dkim_selectors_reply r;
	answer_init(&a);
	assert_int_equal(channel_request_empty(s->courier->ch, MSG_DKIM_SELECTORS, 0, answer_take, &a),
			 ERR_OK);
	enum err e = answer_wait(&s->host, &a);
	assert_int_equal(e, rsa[0] == '\0' ? ERR_AGAIN : ERR_OK);
	if (e == ERR_OK) {
		assert_int_equal(msg_dkim_selectors_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		assert_true(bytes_is(r.rsa, rsa) && bytes_is(r.ed25519, ed25519));
	}
	answer_clear(&a);
}

static void
assert_signer(struct scene *s, const struct dkim_pair *p)
{
	char rsa[DKIM_NAME_MAX + 1];
	char ed25519[DKIM_NAME_MAX + 1];
	dkim_selector(p, DKIM_RSA_SHA256, rsa);
	dkim_selector(p, DKIM_ED25519_SHA256, ed25519);
	assert_names(s, rsa, ed25519);
	assert_signs(s, p);
}

static void
read_ring(const struct buf *file, size_t count, struct dkim_ring *ret)
{
	assert_int_equal(dkim_ring_read(buf_bytes(file), ret), ERR_OK);
	assert_int_equal(ret->count, count);
}

static void
keys_wait_sign_when_they_are_told_and_retire(void **state)
{
	struct scene s;
	struct dkim_ring r;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	(void)state;
	open_scene(&s);
	assert_int_equal(change(&s, OP_TIDY, &file), ERR_OK);
	read_ring(&file, 1, &r);
	struct dkim_pair first = r.pairs[0];
	/* Not before it stands on the disk. */
	assert_names(&s, "", "");
	assert_refuses(&s, &first, ERR_AGAIN);
	hand_over(&s, &file);
	assert_signer(&s, &first);
	assert_int_equal(change(&s, OP_ACTIVATE, &file), ERR_NOT_FOUND);

	assert_int_equal(change(&s, OP_NEXT, &file), ERR_OK);
	read_ring(&file, 2, &r);
	struct dkim_pair second = r.pairs[1];
	assert_int_equal(dkim_ring_state(&r, 1, now_of(&s)), DKIM_WAITING);
	hand_over(&s, &file);
	assert_int_equal(change(&s, OP_NEXT, &file), ERR_EXISTS);
	assert_signer(&s, &first);
	assert_refuses(&s, &second, ERR_NOT_FOUND);

	assert_int_equal(change(&s, OP_ACTIVATE, &file), ERR_OK);
	/* Until the disk has it, all is as before. */
	assert_signer(&s, &first);
	hand_over(&s, &file);
	assert_signer(&s, &second);
	assert_refuses(&s, &first, ERR_NOT_FOUND);

	/* Its secret goes; its record stays for a week, is empty for thirty days, and is gone. */
	assert_int_equal(change(&s, OP_TIDY, &file), ERR_OK);
	read_ring(&file, 2, &r);
	assert_false(r.pairs[0].secret);
	assert_true(r.pairs[1].secret);
	assert_int_equal(dkim_ring_state(&r, 0, now_of(&s)), DKIM_KEPT);
	pass(&s, 8 * day_ms);
	assert_int_equal(change(&s, OP_TIDY, &file), ERR_OK);
	read_ring(&file, 2, &r);
	assert_int_equal(dkim_ring_state(&r, 0, now_of(&s)), DKIM_REVOKED);
	pass(&s, 30 * day_ms);
	assert_int_equal(change(&s, OP_TIDY, &file), ERR_OK);
	read_ring(&file, 1, &r);
	assert_string_equal(r.pairs[0].name, second.name);
	hand_over(&s, &file);
	assert_signer(&s, &second);
	buf_clear(&file);
	close_scene(&s);
}

static void
the_next_keys_sign_by_themselves_after_the_overlap(void **state)
{
	struct scene s;
	struct dkim_ring r;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	(void)state;
	open_scene(&s);
	assert_int_equal(change(&s, OP_TIDY, &file), ERR_OK);
	assert_int_equal(change(&s, OP_NEXT, &file), ERR_OK);
	hand_over(&s, &file);
	read_ring(&file, 2, &r);
	assert_int_equal(r.pairs[1].active - r.pairs[1].made, s.host.config.dkim_overlap / 1000);
	pass(&s, s.host.config.dkim_overlap - hour_ms);
	assert_signer(&s, &r.pairs[0]);
	assert_refuses(&s, &r.pairs[1], ERR_NOT_FOUND);
	/* Nobody tells it. */
	pass(&s, 2 * hour_ms);
	assert_signer(&s, &r.pairs[1]);
	assert_refuses(&s, &r.pairs[0], ERR_NOT_FOUND);
	buf_clear(&file);
	close_scene(&s);
}

static void
a_file_that_is_not_its_own_is_told_of_and_changes_nothing(void **state)
{
	static const uint8_t other_house[CRYPTO_KEY_LEN] = {9};
	struct scene s;
	struct dkim_ring r;
	struct dkim_ring strange;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	struct buf other = BUF_INIT(DKIM_RING_FILE_MAX);
	(void)state;
	open_scene(&s);
	dkim_ring_init(&strange);
	assert_int_equal(dkim_ring_make(&strange, now_of(&s), now_of(&s)), ERR_OK);
	assert_int_equal(dkim_ring_write(&strange, other_house, &other), ERR_OK);

	/* At the start: there is nothing to sign with, and all else goes on. */
	assert_int_equal(change(&s, OP_TIDY, &other), ERR_AUTH);
	assert_true(was_logged(&s, "it is of another home, or was changed; leaving mail waits. Remedy: "));
	hand_over(&s, &other);
	assert_names(&s, "", "");
	assert_refuses(&s, &strange.pairs[0], ERR_AGAIN);

	/* With keys of its own: they go on. */
	assert_int_equal(change(&s, OP_TIDY, &file), ERR_OK);
	hand_over(&s, &file);
	read_ring(&file, 1, &r);
	hand_over(&s, &other);
	assert_signer(&s, &r.pairs[0]);
	/* A selector is public: who puts her own key under ours is found out. */
	struct buf forged = BUF_INIT(DKIM_RING_FILE_MAX);
	assert_int_equal(buf_append(&forged, buf_bytes(&file)), ERR_OK);
	ptrdiff_t at =
	    bytes_search(buf_bytes(&file), bytes_of(r.pairs[0].ed25519, sizeof(r.pairs[0].ed25519)));
	assert_true(at >= 0);
	memcpy(forged.ptr + at, strange.pairs[0].ed25519, SIGN_PUBLIC_LEN);
	assert_int_equal(change(&s, OP_NEXT, &forged), ERR_AUTH);
	hand_over(&s, &forged);
	assert_signer(&s, &r.pairs[0]);

	assert_false(was_logged(&s, "dkim.keys is damaged"));
	forged.len /= 2;
	assert_int_equal(change(&s, OP_NEXT, &forged), ERR_DAMAGED);
	assert_true(was_logged(&s, "dkim.keys is damaged; leaving mail waits. Remedy: bring it back"));
	other.ptr[0]++;
	assert_int_equal(change(&s, OP_NEXT, &other), ERR_UNSUPPORTED);
	assert_true(was_logged(&s, "dkim.keys is of a newer program; leaving mail waits. Remedy: use that"));
	hand_over(&s, &other);
	assert_signer(&s, &r.pairs[0]);
	assert_true(rolehost_runs(&s.host, ROLE_KEEPER));
	dkim_ring_clear(&strange);
	buf_clear(&file);
	buf_clear(&other);
	buf_clear(&forged);
	close_scene(&s);
}

static void
it_signs_a_digest_for_a_selector_of_now_and_nothing_else(void **state)
{
	struct scene s;
	struct dkim_ring r;
	struct buf file = BUF_INIT(DKIM_RING_FILE_MAX);
	struct buf signature = BUF_INIT(512);
	uint8_t digest[32] = {3};
	char name[DKIM_NAME_MAX + 1];
	(void)state;
	open_scene(&s);
	assert_int_equal(change(&s, OP_TIDY, &file), ERR_OK);
	hand_over(&s, &file);
	read_ring(&file, 1, &r);
	dkim_selector(&r.pairs[0], DKIM_RSA_SHA256, name);
	const size_t last = strlen(name) - 1;
	assert_int_equal(sign(&s, name, digest, &signature), ERR_OK);
	buf_reset(&signature);
	name[last] = 'x';
	assert_int_equal(sign(&s, name, digest, &signature), ERR_NOT_FOUND);
	name[last] = 'R';
	assert_int_equal(sign(&s, name, digest, &signature), ERR_NOT_FOUND);
	name[last] = '\0';
	assert_int_equal(sign(&s, name, digest, &signature), ERR_NOT_FOUND);
	assert_int_equal(sign(&s, "", digest, &signature), ERR_NOT_FOUND);
	assert_int_equal(rolehost_figure(&s.host, ROLE_KEEPER, "dkim_signatures"), 1);

	/* Text in the place of a digest is no request at all. */
	channel_start_request(s.courier->ch, MSG_DKIM_SIGN, 0, NULL, NULL);
	assert_int_equal(channel_finish(s.courier->ch, buf_append(channel_out(s.courier->ch),
								  BYTES_LIT("from:alice@house.test\r\n"))),
			 ERR_OK);
	for (int i = 0; i < 200 && s.host.children[ROLE_KEEPER].peer_faults == 0; i++) {
		rolehost_run(&s.host, 20);
	}
	assert_int_equal(s.host.children[ROLE_KEEPER].peer_faults, 1);
	assert_int_equal(rolehost_figure(&s.host, ROLE_KEEPER, "dkim_signatures"), 1);
	buf_clear(&file);
	buf_clear(&signature);
	close_scene(&s);
}

static int
set_up(void **state)
{
	(void)state;
	return crypto_init() == ERR_OK && secret_pool_init(64 * 1024) == ERR_OK ? 0 : -1;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_wait_sign_when_they_are_told_and_retire),
	    cmocka_unit_test(the_next_keys_sign_by_themselves_after_the_overlap),
	    cmocka_unit_test(a_file_that_is_not_its_own_is_told_of_and_changes_nothing),
	    cmocka_unit_test(it_signs_a_digest_for_a_selector_of_now_and_nothing_else),
	};
	if (argc < 2) {
		return 2;
	}
	binary = argv[1];
	return cmocka_run_group_tests_name("dkim role", tests, set_up, NULL);
}
