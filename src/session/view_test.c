/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/member_internal.h"
#include "session/view.h"

enum { MAX = 40 };

/* Always the same numbers, spread enough (a linear congruence). */
static uint32_t
next_number(void)
{
	static uint32_t at = 7;
	at = at * 1664525U + 1013904223U;
	return at >> 8;
}

/* A mailbox and a client's list of UIDs, kept naively beside the view. */
struct model {
	struct fold_message messages[MAX];
	struct fold_mailbox box;
	struct member member;
	struct view view;
	uint32_t known[MAX];
	uint32_t known_count;
};

static void
expunge(struct model *m, uint32_t uid)
{
	uint32_t at = fold_message_lower(&m->box, uid);
	memmove(m->messages + at, m->messages + at + 1, (m->box.count - at - 1) * sizeof(*m->messages));
	m->box.count--;
	struct uid_range one = {.first = uid, .last = uid};
	struct fold_change change = {
	    .kind = FOLD_CHANGE_EXPUNGED, .mailbox = m->box.id, .uids = {.ranges = &one, .count = 1}};
	views_on_change(&m->member, &change);
}

static void
assert_same(struct model *m)
{
	assert_int_equal(view_count(&m->view, &m->box), m->known_count);
	assert_int_equal(view_last_uid(&m->view, &m->box),
			 m->known_count == 0 ? 0 : m->known[m->known_count - 1]);
	assert_int_equal(view_uid(&m->view, &m->box, 0), 0);
	assert_int_equal(view_uid(&m->view, &m->box, m->known_count + 1), 0);
	for (uint32_t i = 0; i < m->known_count; i++) {
		assert_int_equal(view_uid(&m->view, &m->box, i + 1), m->known[i]);
		assert_int_equal(view_sequence(&m->view, &m->box, m->known[i]), i + 1);
	}
}

/* Whatever goes, in whatever order, and whatever comes: the numbers that the client knows stay. */
static void
sequence_numbers_stand_still_until_they_are_told(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct model *m = calloc(1, sizeof(*m));
		assert_non_null(m);
		m->box.id = 3;
		m->box.messages = m->messages;
		uint32_t uid = 0;
		uint32_t count = next_number() % (MAX - 5);
		for (uint32_t i = 0; i < count; i++) {
			uid += 1 + next_number() % 3;
			m->messages[m->box.count++].uid = uid;
			m->known[m->known_count++] = uid;
		}
		m->box.uidnext = uid + 1;
		view_open(&m->view, &m->member, NULL, &m->box, false);
		assert_same(m);
		/* One that came since, which the client does not count. */
		m->messages[m->box.count++].uid = m->box.uidnext++;
		assert_same(m);
		while (m->box.count > 0) {
			expunge(m, m->messages[next_number() % m->box.count].uid);
			assert_same(m);
		}
		view_close(&m->view);
		assert_null(m->member.views);
		free(m);
	}
}

static void
a_view_that_is_up_to_date_holds_no_memory(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	(void)state;
	assert_non_null(m);
	m->box.id = 3;
	m->box.messages = m->messages;
	m->box.uidnext = 1;
	view_open(&m->view, &m->member, NULL, &m->box, false);
	assert_null(m->view.gone.ptr);
	assert_null(m->view.changed.ptr);
	view_close(&m->view);
	free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sequence_numbers_stand_still_until_they_are_told),
	    cmocka_unit_test(a_view_that_is_up_to_date_holds_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
