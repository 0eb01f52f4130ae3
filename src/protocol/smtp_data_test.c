/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/smtp_data.h"

struct outcome {
	uint8_t content[256];
	size_t len;
	size_t used;
	bool ended;
	bool fault;
	enum smtp_fault kind;
	uint64_t size;
};

static const struct smtp_data_limits wide = {.max_size = 1 << 20, .max_header = 1 << 20, .max_line = 1000};

/* cut 0: octet by octet; else in two pieces, the first of `cut` octets. */
static void
run(struct bytes in, size_t cut, bool dots, const struct smtp_data_limits *limits, struct outcome *ret)
{
	struct smtp_data d;
	struct outcome o = {.len = 0};
	smtp_data_init(&d, dots, limits);
	while (o.used < in.len && !d.ended) {
		size_t n = cut == 0 ? 1 : o.used < cut ? cut - o.used : in.len - o.used;
		struct bytes run = BYTES_EMPTY;
		o.used += smtp_data_next(&d, bytes_slice(in, o.used, n), &run);
		assert_true(o.len + run.len <= sizeof(o.content));
		if (run.len > 0) {
			memcpy(o.content + o.len, run.ptr, run.len);
		}
		o.len += run.len;
	}
	o.ended = d.ended;
	if (!dots) {
		smtp_data_finish(&d);
	}
	o.kind = d.fault;
	o.fault = d.fault != SMTP_FAULT_NONE;
	o.size = d.size;
	*ret = o;
}

/* What RFC 5321 says, written as plainly as can be. */
static void
reference(struct bytes in, struct outcome *ret)
{
	uint8_t text[64] = {'\r', '\n'};
	struct outcome o = {.len = 0};
	memcpy(text + 2, in.ptr, in.len);
	struct bytes all = bytes_of(text, in.len + 2);
	ptrdiff_t end = bytes_search(all, BYTES_LIT("\r\n.\r\n"));
	size_t stop = end >= 0 ? (size_t)end + 2 : all.len;
	o.ended = end >= 0;
	o.used = o.ended ? stop + 3 - 2 : in.len;
	for (size_t i = 2; i < stop; i++) {
		bool lf_next = i + 1 < all.len && text[i + 1] == '\n';
		bool at_end = i + 1 == all.len;
		if (text[i] == '\0' || (text[i] == '\n' && text[i - 1] != '\r') ||
		    (text[i] == '\r' && !lf_next && !at_end)) {
			o.fault = true;
		}
		if (text[i] == '.' && text[i - 2] == '\r' && text[i - 1] == '\n') {
			continue;
		}
		if (!(text[i] == '\r' && at_end)) {
			o.content[o.len++] = text[i];
		}
	}
	*ret = o;
}

static void
compare(struct bytes in, size_t cut, const struct outcome *want)
{
	struct outcome have;
	run(in, cut, true, &wide, &have);
	bool same =
	    have.ended == want->ended && have.used == want->used && have.fault == want->fault &&
	    (have.fault || (have.len == want->len && memcmp(have.content, want->content, have.len) == 0));
	if (!same) {
		char hex[64] = "";
		for (size_t i = 0; i < in.len; i++) {
			(void)snprintf(hex + 2 * i, sizeof(hex) - 2 * i, "%02x", in.ptr[i]);
		}
		fail_msg("%s cut %zu: ended %d/%d used %zu/%zu fault %d/%d len %zu/%zu", hex, cut, have.ended,
			 want->ended, have.used, want->used, have.fault, want->fault, have.len, want->len);
	}
}

static void
every_short_text_of_the_dangerous_octets_ends_only_where_the_rfc_says(void **state)
{
	(void)state;
	static const uint8_t octets[] = {'\r', '\n', '.', 'x', '\0'};
	for (size_t len = 1; len <= 8; len++) {
		size_t count = 1;
		for (size_t i = 0; i < len; i++) {
			count *= sizeof(octets);
		}
		for (size_t n = 0; n < count; n++) {
			uint8_t text[8];
			size_t rest = n;
			for (size_t i = 0; i < len; i++) {
				text[i] = octets[rest % sizeof(octets)];
				rest /= sizeof(octets);
			}
			struct outcome want;
			reference(bytes_of(text, len), &want);
			for (size_t cut = 0; cut <= len; cut++) {
				compare(bytes_of(text, len), cut, &want);
			}
		}
	}
}

static void
limits_give_the_same_fault_at_every_split(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum smtp_fault fault;
	} cases[] = {
	    {"0123456789\r\n\r\n.\r\n", SMTP_FAULT_NONE},
	    {"01234567890\r\n.\r\n", SMTP_FAULT_LINE},
	    {"A: 1\r\nB: 1\r\nC: 1\r\n.\r\n", SMTP_FAULT_HEADER},
	    {"\r\n012345678\r\n012345678\r\n012345678\r\n.\r\n", SMTP_FAULT_SIZE},
	    {"\r\n012345678\r\n0123456789012345678901234567890\r\n.\r\n", SMTP_FAULT_LINE},
	};
	struct smtp_data_limits limits = {.max_size = 30, .max_header = 14, .max_line = 10};
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct bytes in = bytes_str(cases[c].text);
		for (size_t cut = 0; cut <= in.len; cut++) {
			struct outcome o;
			run(in, cut, true, &limits, &o);
			assert_int_equal(o.kind, cases[c].fault);
			assert_true(o.ended);
			assert_int_equal(o.used, in.len);
		}
	}
}

static void
chunks_keep_dots_and_need_their_last_lf(void **state)
{
	(void)state;
	struct outcome o;
	for (size_t cut = 0; cut < 9; cut++) {
		run(BYTES_LIT("a\r\n.\r\n..x"), cut, false, &wide, &o);
		assert_int_equal(o.kind, SMTP_FAULT_NONE);
		assert_int_equal(o.size, 9);
		assert_memory_equal(o.content, "a\r\n.\r\n..x", 9);
		run(BYTES_LIT("a\r\nbcdef\r"), cut, false, &wide, &o);
		assert_int_equal(o.kind, SMTP_FAULT_BARE_CR);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_short_text_of_the_dangerous_octets_ends_only_where_the_rfc_says),
	    cmocka_unit_test(limits_give_the_same_fault_at_every_split),
	    cmocka_unit_test(chunks_keep_dots_and_need_their_last_lf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
