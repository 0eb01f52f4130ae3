/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/imap_sort.h"
#include "protocol/imap_subject.h"
#include "protocol/imap_thread.h"

static struct arena arena;

static int
start(void **state)
{
	(void)state;
	arena_init(&arena, (size_t)256 << 20);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	arena_clear(&arena);
	return 0;
}

static void
base_subjects_are_those_of_the_rfc(void **state)
{
	(void)state;
	static const struct {
		const char *subject;
		const char *base;
		bool reply;
	} rows[] = {
	    {"hello", "hello", false},
	    {"Re: hello", "hello", true},
	    {"rE : Fwd:FW: hello", "hello", true},
	    {"Re[2]: hello", "hello", true},
	    {"Re [x] : hello", "hello", true},
	    {"[list] Re: [list] hello", "hello", true},
	    {"[list] hello", "hello", false},
	    {"[list]", "[list]", false},
	    {"[a] [b]", "[b]", false},
	    {"[a][b]c", "c", false},
	    {"hello (fwd)", "hello", true},
	    {"hello (FWD) (fwd)  ", "hello", true},
	    {"[Fwd: hello]", "hello", true},
	    {"[fwd: [fwd: Re: hello (fwd)]]", "hello", true},
	    {"[fwd: hello] more", "more", false},
	    {"[fwd:]", "", true},
	    {"Re: ", "", true},
	    {"Re: (fwd)", "", true},
	    {"", "", false},
	    {" \t ", "", false},
	    {"a \t\r\n  b", "a b", false},
	    {"Re: [a]", "[a]", true},
	    {"Rehearsal: now", "Rehearsal: now", false},
	    {"AW: hello", "AW: hello", false},
	    {"re [a: b", "re [a: b", false},
	    {"[a] re", "re", false},
	    {"[a[b]] re: c", "[a[b]] re: c", false},
	    {"Re: Re: fwd: [x] re: a re: b", "a re: b", true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf subject = BUF_INIT(100);
		struct bytes base;
		bool reply;
		assert_int_equal(buf_append_str(&subject, rows[i].subject), ERR_OK);
		imap_base_subject(&subject, &base, &reply);
		if (!bytes_is(base, rows[i].base) || reply != rows[i].reply) {
			print_message("%s gives %.*s %d\n", rows[i].subject, (int)base.len,
				      (const char *)base.ptr, reply);
			fail();
		}
		buf_clear(&subject);
	}
}

static void
hostile_subjects_take_no_longer(void **state)
{
	(void)state;
	static const char *const pieces[] = {"[a]",   "[",    "[fwd:", "re:",  "re [",
					     "(fwd)", "[a]]", " ",     "[a] x"};
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buf subject = BUF_INIT((size_t)16 << 20);
		struct bytes base;
		bool reply;
		while (subject.len < (size_t)4 << 20) {
			assert_int_equal(buf_append_str(&subject, pieces[i]), ERR_OK);
		}
		imap_base_subject(&subject, &base, &reply);
		buf_clear(&subject);
	}
}

/* One message a row; references are numbers of others, by blanks; "id" 0: none. */
struct row {
	uint32_t number;
	int64_t sent;
	const char *subject;
	bool reply;
	unsigned id;
	unsigned references[6];
};

static struct imap_thread_key
key(unsigned id)
{
	struct imap_thread_key k = {.octets = {0}};
	memcpy(k.octets, &id, sizeof(id));
	memcpy(k.octets + 8, &id, sizeof(id));
	return k;
}

static struct imap_thread_message *
messages_of(const struct row *rows, size_t count)
{
	struct imap_thread_message *m = arena_array(&arena, count, sizeof(*m));
	for (size_t i = 0; i < count; i++) {
		struct imap_thread_key *references = arena_array(&arena, 6, sizeof(*references));
		while (m[i].reference_count < 6 && rows[i].references[m[i].reference_count] != 0) {
			references[m[i].reference_count] = key(rows[i].references[m[i].reference_count]);
			m[i].reference_count++;
		}
		m[i].references = references;
		m[i].number = rows[i].number;
		m[i].sent = rows[i].sent;
		m[i].subject = bytes_str(rows[i].subject);
		m[i].reply = rows[i].reply;
		m[i].has_id = rows[i].id != 0;
		m[i].id = key(rows[i].id);
	}
	return m;
}

static void
threads_are(const struct row *rows, size_t count, bool by_references, const char *expected)
{
	struct imap_threads t;
	struct buf out = BUF_INIT(10000);
	struct imap_writer w;
	uint32_t *stack = arena_array(&arena, count, sizeof(*stack));
	const struct imap_thread_message *m = messages_of(rows, count);
	assert_int_equal(by_references ? imap_thread_references(&arena, m, count, &t)
				       : imap_thread_subjects(&arena, m, count, &t),
			 ERR_OK);
	imap_writer_init(&w, &out, false);
	for (size_t i = 0; i < t.root_count; i++) {
		imap_thread_write(&w, &t, t.roots[i], stack);
	}
	if (!bytes_is(buf_bytes(&out), expected)) {
		print_message("%.*s instead of %s\n", (int)out.len, (const char *)out.ptr, expected);
		fail();
	}
	buf_clear(&out);
}

#define THREADS(rows, by_references, expected)                                                               \
	threads_are(rows, sizeof(rows) / sizeof((rows)[0]), by_references, expected)

static void
answers_hang_on_what_they_answer(void **state)
{
	(void)state;
	/* The tree of RFC 5256 section 4. */
	static const struct row rows[] = {
	    {2, 20, "a", false, 2, {0}},     {3, 30, "b", false, 3, {0}},       {4, 40, "b", true, 4, {3, 6}},
	    {6, 35, "b", true, 6, {3}},      {7, 60, "b", true, 7, {3, 6, 44}}, {23, 50, "b", true, 23, {4}},
	    {44, 45, "b", true, 44, {3, 6}}, {96, 70, "b", true, 96, {7}},
	};
	THREADS(rows, true, "(2)(3 6 (4 23)(44 7 96))");
}

static void
what_is_missing_holds_its_children_together(void **state)
{
	(void)state;
	static const struct row both[] = {{3, 3, "a", true, 3, {9}}, {5, 5, "b", true, 5, {9}}};
	static const struct row one[] = {{3, 3, "a", true, 3, {8, 9}}, {5, 5, "b", true, 5, {0}}};
	static const struct row deep[] = {
	    {1, 1, "a", false, 1, {0}}, {3, 3, "a", true, 3, {1, 8, 9}}, {5, 5, "b", true, 5, {1, 8, 9}}};
	THREADS(both, true, "((3)(5))");
	THREADS(one, true, "(3)(5)");
	THREADS(deep, true, "(1 (3)(5))");
}

static void
identifiers_twice_loops_and_claims_of_others_do_no_harm(void **state)
{
	(void)state;
	static const struct row twice[] = {
	    {1, 1, "a", false, 7, {0}}, {2, 2, "b", false, 7, {0}}, {3, 3, "c", true, 8, {7}}};
	static const struct row loop[] = {
	    {1, 1, "a", true, 1, {2}}, {2, 2, "b", true, 2, {3}}, {3, 3, "c", true, 3, {1}}};
	static const struct row own[] = {{1, 1, "a", true, 1, {1}}, {2, 2, "b", false, 0, {0}}};
	/* Another message says that 3 answers 2; 3 itself says 1. */
	static const struct row claims[] = {{1, 1, "a", false, 1, {0}},
					    {2, 2, "b", false, 2, {0}},
					    {4, 4, "c", true, 4, {2, 3}},
					    {3, 3, "d", true, 3, {1}}};
	THREADS(twice, true, "(1 3)(2)");
	THREADS(loop, true, "(3 2 1)");
	THREADS(own, true, "(1)(2)");
	THREADS(claims, true, "(1 3 4)(2)");
}

static void
threads_of_one_subject_are_gathered(void **state)
{
	(void)state;
	static const struct row answer[] = {{1, 1, "a", false, 1, {0}}, {2, 2, "a", true, 2, {0}}};
	static const struct row before[] = {{1, 1, "a", true, 1, {0}}, {2, 2, "a", false, 2, {0}}};
	static const struct row equals[] = {
	    {1, 1, "a", false, 1, {0}}, {2, 2, "a", false, 2, {0}}, {3, 3, "a", true, 3, {0}}};
	static const struct row none[] = {{1, 1, "", false, 1, {0}}, {2, 2, "", true, 2, {0}}};
	static const struct row dummies[] = {{1, 4, "a", true, 1, {91}},
					     {2, 2, "x", true, 2, {91}},
					     {3, 3, "x", true, 3, {92}},
					     {4, 5, "b", true, 4, {92}},
					     {5, 1, "x", false, 5, {0}}};
	THREADS(answer, true, "(1 2)");
	THREADS(before, true, "(2 1)");
	THREADS(equals, true, "((1)(2)(3))");
	THREADS(none, true, "(1)(2)");
	THREADS(dummies, true, "((5)(2)(3)(1)(4))");
}

static void
ordered_subject_has_two_levels(void **state)
{
	(void)state;
	static const struct row rows[] = {
	    {1, 5, "b", false, 0, {0}}, {2, 3, "a", true, 0, {0}},  {3, 3, "a", false, 0, {0}},
	    {4, 9, "b", true, 0, {0}},  {5, 1, "c", false, 0, {0}}, {6, 4, "a", false, 0, {0}},
	};
	THREADS(rows, false, "(5)(2 (3)(6))(1 4)");
}

static void
long_chains_and_stars_take_no_longer(void **state)
{
	(void)state;
	enum { COUNT = 100000 };
	for (int shape = 0; shape < 4; shape++) {
		struct imap_thread_message *m = arena_array(&arena, COUNT, sizeof(*m));
		struct imap_thread_key *references =
		    arena_array(&arena, (size_t)COUNT * 2, sizeof(*references));
		uint32_t *stack = arena_array(&arena, COUNT, sizeof(*stack));
		for (unsigned i = 0; i < COUNT; i++) {
			/* Down, up, all on one, and each claiming another's place. */
			unsigned to = shape == 0   ? i
				      : shape == 1 ? i + 2
				      : shape == 2 ? 1
						   : (i * 7919) % COUNT + 1;
			references[2 * i] = key(to == 0 ? 1 : to);
			references[2 * i + 1] = key((i * 31) % COUNT + 1);
			m[i] = (struct imap_thread_message){.number = i + 1,
							    .sent = i,
							    .subject = BYTES_LIT("same"),
							    .reply = i % 2 == 0,
							    .has_id = true,
							    .id = key(i + 1),
							    .references = &references[2 * i],
							    .reference_count = shape == 3 ? 2 : 1};
		}
		struct imap_threads t;
		struct buf out = BUF_INIT((size_t)64 << 20);
		struct imap_writer w;
		assert_int_equal(imap_thread_references(&arena, m, COUNT, &t), ERR_OK);
		imap_writer_init(&w, &out, false);
		for (size_t i = 0; i < t.root_count; i++) {
			imap_thread_write(&w, &t, t.roots[i], stack);
		}
		assert_int_equal(imap_write_done(&w), ERR_OK);
		/* Each number once: as many as there are brackets balanced and numbers. */
		size_t numbers = 0;
		long depth = 0;
		for (size_t i = 0; i < out.len; i++) {
			depth += out.ptr[i] == '(' ? 1 : out.ptr[i] == ')' ? -1 : 0;
			bool digit = ascii_is_digit(out.ptr[i]);
			numbers += digit && (i + 1 == out.len || !ascii_is_digit(out.ptr[i + 1])) ? 1 : 0;
		}
		assert_int_equal(depth, 0);
		assert_int_equal(numbers, COUNT);
		buf_clear(&out);
		arena_clear(&arena);
		arena_init(&arena, (size_t)256 << 20);
	}
}

static void
identifiers_have_one_form(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {
	    {"<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", "<01KF8JCEOCBS0045PS@xxx.yyy.com>"},
	    {"<a@b>", "<a@b>"},
	    {"<\"a\\\"b\"@c>", "<a\"b@c>"},
	    {"<a@b@c>", "<a@b@c>"},
	    {"<ab>", NULL},
	    {"<@b>", NULL},
	    {"<a@>", NULL},
	    {"a@b", NULL},
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct buf out = BUF_INIT(100);
		bool valid = imap_thread_normal_id(bytes_str(pairs[i][0]), &out);
		assert_int_equal(valid, pairs[i][1] != NULL);
		assert_true(!valid || bytes_is(buf_bytes(&out), pairs[i][1]));
		buf_clear(&out);
	}
}

static struct mail_addresses
one_address(const char *name, const char *local, const char *domain)
{
	struct mail_address *a = arena_alloc(&arena, sizeof(*a));
	*a = (struct mail_address){.kind = MAIL_ADDRESS_MAILBOX,
				   .name = bytes_str(name),
				   .local = bytes_str(local),
				   .domain = bytes_str(domain)};
	return (struct mail_addresses){.list = a, .count = 1};
}

static void
sorts_by_each_criterion_and_then_by_place(void **state)
{
	(void)state;
	struct mail_envelope e[4] = {
	    {.subject = BYTES_LIT("Re: =?utf-8?q?=C3=89t=C3=A9?="),
	     .has_sent = true,
	     .sent = {.seconds = 100},
	     .from = one_address("=?utf-8?b?WsO8cmljaA==?=", "anna", "x")},
	    {.subject = BYTES_LIT("zoo"), .from = one_address("", "Bert", "x")},
	    {.subject = BYTES_LIT("ete\xcc\x81"), .has_sent = true, .sent = {.seconds = 300}},
	    {.subject = BYTES_LIT("[x] Zoo (fwd)"),
	     .has_sent = true,
	     .sent = {.seconds = 100},
	     .from = one_address("Adam", "carl", "x")},
	};
	static const int64_t internal[] = {9, 200, 7, 8};
	static const uint64_t sizes[] = {5, 5, 4, 6};
	static const struct {
		struct imap_sort_criterion order[2];
		size_t count;
		const char *expected;
	} rows[] = {
	    {{{IMAP_SORT_DATE, false}}, 1, "0312"},
	    {{{IMAP_SORT_DATE, true}}, 1, "2103"},
	    {{{IMAP_SORT_ARRIVAL, false}}, 1, "2301"},
	    {{{IMAP_SORT_SIZE, false}}, 1, "2013"},
	    {{{IMAP_SORT_SIZE, true}, {IMAP_SORT_ARRIVAL, true}}, 2, "3102"},
	    {{{IMAP_SORT_SUBJECT, false}}, 1, "2013"}, /* ete' before e't'e */
	    {{{IMAP_SORT_SUBJECT, true}}, 1, "1302"},
	    {{{IMAP_SORT_FROM, false}}, 1, "2013"},
	    {{{IMAP_SORT_DISPLAYFROM, false}}, 1, "2310"},
	    {{{IMAP_SORT_TO, true}}, 1, "0123"},
	    {{{IMAP_SORT_CC, false}, {IMAP_SORT_DISPLAYTO, false}}, 2, "0123"},
	};
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		struct imap_sort_value values[8];
		uint32_t sorted[4];
		for (size_t i = 0; i < 4; i++) {
			struct imap_sort_source source = {
			    .envelope = &e[i], .internal = internal[i], .size = sizes[i]};
			for (size_t k = 0; k < rows[r].count; k++) {
				assert_int_equal(imap_sort_value_of(&arena, rows[r].order[k].by, &source,
								    &values[i * rows[r].count + k]),
						 ERR_OK);
			}
		}
		imap_sort(rows[r].order, rows[r].count, values, sorted, 4);
		for (size_t i = 0; i < 4; i++) {
			if (sorted[i] != (uint32_t)(rows[r].expected[i] - '0')) {
				print_message("row %zu: %u%u%u%u\n", r, sorted[0], sorted[1], sorted[2],
					      sorted[3]);
				fail();
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(base_subjects_are_those_of_the_rfc),
	    cmocka_unit_test(hostile_subjects_take_no_longer),
	    cmocka_unit_test_setup_teardown(answers_hang_on_what_they_answer, start, stop),
	    cmocka_unit_test_setup_teardown(what_is_missing_holds_its_children_together, start, stop),
	    cmocka_unit_test_setup_teardown(identifiers_twice_loops_and_claims_of_others_do_no_harm, start,
					    stop),
	    cmocka_unit_test_setup_teardown(threads_of_one_subject_are_gathered, start, stop),
	    cmocka_unit_test_setup_teardown(ordered_subject_has_two_levels, start, stop),
	    cmocka_unit_test_setup_teardown(long_chains_and_stars_take_no_longer, start, stop),
	    cmocka_unit_test(identifiers_have_one_form),
	    cmocka_unit_test_setup_teardown(sorts_by_each_criterion_and_then_by_place, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
