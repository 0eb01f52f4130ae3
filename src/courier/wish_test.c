/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/wish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t seed[SIGN_SEED_LEN] = {3};

struct scene {
	uint8_t key[SEALED_KEY_LEN];
	struct buf list;
	struct courier_recipient to[2];
	struct courier_part part;
};

/* Signs what an account has sent on, and puts it into the part. */
static void
sign(struct scene *s, uint8_t account, const char *name, const char *first, const char *second)
{
	uint8_t hash[SEALED_HASH_LEN];
	struct directory_account entry = {
	    .id = {account},
	    .name = bytes_str(name),
	    .forward_count = second == NULL ? 1 : 2,
	    .forward_slot = 1,
	    .forwards = {bytes_str(first), bytes_str(second == NULL ? "" : second)}};
	buf_reset(&s->list);
	assert_int_equal(forward_list_put(&entry, &s->list), ERR_OK);
	forward_list_hash(buf_bytes(&s->list), hash);
	forward_list_sign(seed, entry.id, hash, s->part.forwards_signature);
	s->part.forwards = buf_bytes(&s->list);
}

static void
begin(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	buf_init(&s->list, FORWARD_LIST_MAX);
	sign_public(seed, s->key);
	s->to[0].address = BYTES_LIT("al@example.net");
	s->to[1].address = BYTES_LIT("al@example.net");
	s->part = (struct courier_part){.domain = BYTES_LIT("example.net"),
					.sender = BYTES_LIT("alice+forwarded@example.org"),
					.forwarder = BYTES_LIT("alice@example.org"),
					.account = {1},
					.flags = COURIER_FORWARDED,
					.recipients = s->to,
					.recipient_count = 1};
	sign(s, 1, "alice", "al@example.net", "a@example.com");
}

static bool
passes(struct scene *s)
{
	bool covered = wish_covers(&s->part, s->key, BYTES_LIT("example.org"));
	buf_clear(&s->list);
	begin(s);
	return covered;
}

static void
a_member_s_copy_goes_where_she_said_as_she_or_as_nobody(void **state)
{
	(void)state;
	struct scene s;
	begin(&s);
	assert_true(passes(&s));
	s.part.sender = BYTES_EMPTY;
	assert_true(passes(&s));
	s.to[0].address = BYTES_LIT("a@example.com");
	s.part.domain = BYTES_LIT("example.com");
	assert_true(passes(&s));
	s.part.recipient_count = 2;
	assert_true(passes(&s));
	buf_clear(&s.list);
}

static void
to_nobody_else(void **state)
{
	(void)state;
	struct scene s;
	begin(&s);
	s.to[0].address = BYTES_LIT("eve@example.net");
	assert_false(passes(&s));
	/* One that may, and one that may not. */
	s.part.recipient_count = 2;
	s.to[1].address = BYTES_LIT("eve@example.net");
	assert_false(passes(&s));
	/* Another domain's server is told of it. */
	s.part.domain = BYTES_LIT("example.com");
	assert_false(passes(&s));
	s.part.domain = BYTES_EMPTY;
	assert_false(passes(&s));
	s.to[0].address = BYTES_EMPTY;
	assert_false(passes(&s));
	buf_clear(&s.list);
}

static void
in_no_other_name(void **state)
{
	(void)state;
	static const char *const senders[] = {"alice@example.org",
					      "bob+forwarded@example.org",
					      "alice+forwarded@example.com",
					      "alice+forwarded+x@example.org",
					      "alice+forwarded@example.orgg",
					      "x",
					      "@",
					      "+forwarded@example.org"};
	struct scene s;
	begin(&s);
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		s.part.sender = bytes_str(senders[i]);
		assert_false(passes(&s));
	}
	s.part.forwarder = BYTES_LIT("bob@example.org");
	assert_false(passes(&s));
	s.part.forwarder = BYTES_EMPTY;
	assert_false(passes(&s));
	s.part.flags = 0;
	assert_false(passes(&s));
	buf_clear(&s.list);
}

static void
what_the_keeper_has_not_signed_for_this_account_is_nothing(void **state)
{
	(void)state;
	struct scene s;
	begin(&s);
	/* Another account's signature; another account. */
	sign(&s, 2, "alice", "al@example.net", "a@example.com");
	assert_false(passes(&s));
	s.part.account[0] = 2;
	assert_false(passes(&s));
	memset(s.part.forwards_signature, 0, SIGN_LEN);
	assert_false(passes(&s));
	s.part.forwards_signature[40] ^= 1;
	assert_false(passes(&s));
	s.part.forwards = BYTES_EMPTY;
	assert_false(passes(&s));
	s.key[0] ^= 1;
	assert_false(passes(&s));
	/* Each octet of the list. */
	size_t length = s.list.len;
	for (size_t i = 0; i < length; i++) {
		s.list.ptr[i] ^= 1;
		assert_false(passes(&s));
	}
	/* A signature under a member's public key is none under a list. */
	uint8_t hash[SEALED_HASH_LEN];
	forward_list_hash(s.part.forwards, hash);
	sealed_public_sign(seed, s.part.account, 1, hash, s.part.forwards_signature);
	assert_false(passes(&s));
	buf_clear(&s.list);
}

/* What was once signed stays so: see docs/threat-model.md, Forwarding. The new list has no say for the old address. */
static void
an_older_wish_covers_its_own_addresses_alone(void **state)
{
	(void)state;
	struct scene s;
	begin(&s);
	sign(&s, 1, "alice", "new@example.net", NULL);
	assert_false(passes(&s));
	sign(&s, 1, "alice", "new@example.net", NULL);
	s.to[0].address = BYTES_LIT("new@example.net");
	assert_true(passes(&s));
	s.to[0].address = BYTES_LIT("new@example.net");
	assert_false(passes(&s));
	/* The old signature under the new list. */
	uint8_t older[SIGN_LEN];
	memcpy(older, s.part.forwards_signature, sizeof(older));
	sign(&s, 1, "alice", "new@example.net", NULL);
	memcpy(s.part.forwards_signature, older, sizeof(older));
	s.to[0].address = BYTES_LIT("new@example.net");
	assert_false(passes(&s));
	buf_clear(&s.list);
}

static int
with_crypto(void **state)
{
	(void)state;
	return crypto_init() == ERR_OK ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_member_s_copy_goes_where_she_said_as_she_or_as_nobody),
	    cmocka_unit_test(to_nobody_else),
	    cmocka_unit_test(in_no_other_name),
	    cmocka_unit_test(what_the_keeper_has_not_signed_for_this_account_is_nothing),
	    cmocka_unit_test(an_older_wish_covers_its_own_addresses_alone),
	};
	return cmocka_run_group_tests(tests, with_crypto, NULL);
}
