/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/wire.h"
#include "fetcher/acme_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
renewal_is_at_two_thirds_and_failures_make_few_attempts_a_day(void **state)
{
	msec waited = 0;
	unsigned attempts = 1;
	(void)state;
	assert_int_equal(acme_renewal(1000 * MSEC_DAY, 1090 * MSEC_DAY), 1060 * MSEC_DAY);
	assert_int_equal(acme_renewal(5, 5), 5);
	for (unsigned f = 1; waited + acme_backoff(f) < MSEC_DAY; f++) {
		assert_true(acme_backoff(f) >= MSEC_HOUR && acme_backoff(f + 1) >= acme_backoff(f));
		waited += acme_backoff(f);
		attempts++;
	}
	assert_int_equal(attempts, 5);
	assert_int_equal(acme_backoff(1000), 12 * MSEC_HOUR);
}

static void
of_an_error_only_letters_are_told(void **state)
{
	char said[ACME_ERROR_MAX];
	(void)state;
	acme_error(BYTES_LIT("{\"type\":\"urn:ietf:params:acme:error:badNonce\"}"), said);
	assert_string_equal(said, "badNonce");
	acme_error(
	    BYTES_LIT("{\"status\":\"invalid\",\"error\":{\"type\":\"urn:ietf:params:acme:error:dns\"}}"),
	    said);
	assert_string_equal(said, "dns");
	acme_error(BYTES_LIT("{\"type\":\"urn:ietf:params:acme:error:dns for 192.0.2.1\"}"), said);
	assert_string_equal(said, "");
	acme_error(
	    BYTES_LIT("{\"type\":\"urn:ietf:params:acme:error:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"),
	    said);
	assert_string_equal(said, "");
	acme_error(BYTES_LIT("<html>"), said);
	assert_string_equal(said, "");
}

static void
headers_are_found_whatever_their_case(void **state)
{
	struct bytes h = BYTES_LIT("Server: x\r\nreplay-NONCE:  abc \r\nLocation:https://ca.test/1\r\n");
	(void)state;
	assert_true(bytes_is(acme_header(h, "Replay-Nonce"), "abc"));
	assert_true(bytes_is(acme_header(h, "location"), "https://ca.test/1"));
	assert_int_equal(acme_header(h, "Retry-After").len, 0);
}

static void
a_key_is_published_where_its_record_stands_among_others(void **state)
{
	static const uint8_t id[32] = {1, 2, 3};
	uint8_t record[35] = {3, 1, 1, 1, 2, 3};
	struct buf answers = BUF_INIT(1024);
	struct wire_writer w;
	(void)state;
	assert_int_equal(acme_tlsa_of(BYTES_EMPTY, id), ACME_TLSA_NONE);
	wire_writer_init(&w, &answers);
	/* Other usages and digests, and another key's. */
	static const uint8_t heads[][3] = {{2, 1, 1}, {3, 0, 1}, {3, 1, 2}};
	for (size_t i = 0; i < 3; i++) {
		memcpy(record, heads[i], 3);
		wire_put_bytes(&w, bytes_of(record, sizeof(record)));
	}
	memcpy(record, "\3\1\1\7", 4);
	wire_put_bytes(&w, bytes_of(record, sizeof(record)));
	assert_int_equal(wire_done(&w), ERR_OK);
	assert_int_equal(acme_tlsa_of(buf_bytes(&answers), id), ACME_TLSA_MISSING);
	record[3] = 1;
	wire_put_bytes(&w, bytes_of(record, sizeof(record) - 1));
	assert_int_equal(wire_done(&w), ERR_OK);
	assert_int_equal(acme_tlsa_of(buf_bytes(&answers), id), ACME_TLSA_MISSING);
	wire_put_bytes(&w, bytes_of(record, sizeof(record)));
	assert_int_equal(wire_done(&w), ERR_OK);
	assert_int_equal(acme_tlsa_of(buf_bytes(&answers), id), ACME_TLSA_THERE);
	/* Cut short it is never none: then a key would change that others insist on. */
	assert_int_equal(acme_tlsa_of(bytes_slice(buf_bytes(&answers), 0, 2), id), ACME_TLSA_MISSING);
	buf_clear(&answers);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(renewal_is_at_two_thirds_and_failures_make_few_attempts_a_day),
	    cmocka_unit_test(of_an_error_only_letters_are_told),
	    cmocka_unit_test(headers_are_found_whatever_their_case),
	    cmocka_unit_test(a_key_is_published_where_its_record_stands_among_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
