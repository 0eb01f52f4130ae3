/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/junk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct junk_words *words;

static int
set_up(void **state)
{
	(void)state;
	words = calloc(1, sizeof(*words));
	return words == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	free(words);
	return 0;
}

/* Traits 1 to 9 stand in unwanted mail, 11 to 19 in wanted, 21 to 29 in both. */
static void
teach(unsigned lessons)
{
	for (unsigned i = 0; i < lessons; i++) {
		const uint32_t bad[] = {1 + i % 9, 1 + (i + 4) % 9, 21 + i % 9};
		const uint32_t good[] = {11 + i % 9, 11 + (i + 4) % 9, 21 + i % 9};
		junk_learn(words, bad, 3, true);
		junk_learn(words, good, 3, false);
	}
}

static void
it_judges_when_it_has_learnt_enough(void **state)
{
	(void)state;
	const uint32_t bad[] = {1, 2, 3, 25, 99};
	const uint32_t good[] = {11, 12, 13, 25, 99};
	const uint32_t both[] = {21, 22, 23};
	const uint32_t unknown[] = {77, 78};
	teach(JUNK_LESSONS_MIN - 1);
	assert_int_equal(junk_judge(words, bad, 5), 500);
	teach(20);
	assert_true(junk_judge(words, bad, 5) > 950);
	assert_true(junk_judge(words, good, 5) < 50);
	assert_in_range(junk_judge(words, both, 3), 400, 600);
	assert_int_equal(junk_judge(words, unknown, 2), 500);
}

/* One kind of lessons alone says nothing: who only moves to Junk would find everything there. */
static void
one_kind_of_lessons_judges_nobody(void **state)
{
	(void)state;
	const uint32_t traits[] = {1, 2, 3};
	for (unsigned i = 0; i < 100; i++) {
		junk_learn(words, traits, 3, true);
	}
	assert_int_equal(junk_judge(words, traits, 3), 500);
}

static void
it_survives_its_encoding_and_stays_within_its_room(void **state)
{
	(void)state;
	struct buf encoded = BUF_INIT(JUNK_ENCODED_MAX);
	struct junk_words *again = calloc(1, sizeof(*again));
	assert_non_null(again);
	teach(30);
	for (uint32_t i = 0; i < 3 * JUNK_TRAITS_MAX; i++) {
		uint32_t trait = i * 2654435761U | 64;
		junk_learn(words, &trait, 1, i % 2 == 0);
		assert_true(words->count <= JUNK_TRAITS_MAX);
	}
	/* What was often seen is not what is forgotten. */
	const uint32_t bad[] = {1, 2, 3};
	for (unsigned i = 0; i < 3; i++) {
		bool found = false;
		for (size_t k = 0; k < words->count; k++) {
			found = found || words->traits[k].hash == bad[i];
			assert_true(k == 0 || words->traits[k].hash > words->traits[k - 1].hash);
		}
		assert_true(found);
	}
	assert_int_equal(junk_encode(words, &encoded), ERR_OK);
	assert_int_equal(junk_decode(buf_bytes(&encoded), again), ERR_OK);
	assert_int_equal(again->count, words->count);
	assert_memory_equal(again->traits, words->traits, words->count * sizeof(words->traits[0]));
	assert_int_equal(junk_decode(bytes_slice(buf_bytes(&encoded), 0, encoded.len - 1), again),
			 ERR_FORMAT);
	encoded.ptr[0] = 9;
	assert_int_equal(junk_decode(buf_bytes(&encoded), again), ERR_FORMAT);
	assert_int_equal(junk_decode(BYTES_EMPTY, again), ERR_OK);
	assert_int_equal(again->count, 0);
	buf_clear(&encoded);
	free(again);
}

static void
lists_name_addresses_and_domains(void **state)
{
	(void)state;
	struct bytes list = BYTES_LIT("bob@example.org, @shop.example\r\nnews.example;\t");
	assert_true(junk_is_listed(list, BYTES_LIT("Bob"), BYTES_LIT("Example.ORG")));
	assert_false(junk_is_listed(list, BYTES_LIT("eve"), BYTES_LIT("example.org")));
	assert_true(junk_is_listed(list, BYTES_LIT("x"), BYTES_LIT("shop.example")));
	assert_true(junk_is_listed(list, BYTES_LIT("x"), BYTES_LIT("mail.news.example")));
	assert_false(junk_is_listed(list, BYTES_LIT("x"), BYTES_LIT("fakenews.example")));
	assert_false(junk_is_listed(list, BYTES_LIT("x"), BYTES_EMPTY));
	assert_true(junk_is_listed(BYTES_LIT("B\xc3\xa4nk.example."), BYTES_LIT("x"),
				   BYTES_LIT("xn--bnk-qla.example")));
	assert_false(junk_is_listed(BYTES_LIT(" @ , @"), BYTES_LIT("x"), BYTES_LIT("y")));
}

static void
what_goes_into_junk(void **state)
{
	(void)state;
	static const struct {
		struct junk_case c;
		bool junk;
	} rows[] = {
	    {{.learnt = 500}, false},
	    {{.learnt = 500, .set_apart = true}, true},
	    {{.learnt = 500, .set_apart = true, .allowed = true}, true}, /* anybody can claim a name */
	    {{.learnt = 500, .score = 90, .allowed = true, .genuine = true}, false},
	    {{.learnt = 0, .blocked = true, .genuine = true, .ours = true}, true},
	    {{.learnt = 999, .ours = true}, false},
	    {{.learnt = 950}, true},
	    {{.learnt = 500, .score = 49}, false},
	    {{.learnt = 500, .score = 50}, true},
	    {{.learnt = 50, .score = 60}, false},
	    {{.learnt = 50, .score = 80}, true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (junk_decide(&rows[i].c) != rows[i].junk) {
			fail_msg("row %zu", i);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(it_judges_when_it_has_learnt_enough, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_kind_of_lessons_judges_nobody, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(it_survives_its_encoding_and_stays_within_its_room, set_up,
					    tear_down),
	    cmocka_unit_test(lists_name_addresses_and_domains),
	    cmocka_unit_test(what_goes_into_junk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
