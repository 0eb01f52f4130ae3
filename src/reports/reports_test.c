/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "reports/report.h"
#include "reports/unpack.h"

static const char dmarc[] =
    "<?xml version=\"1.0\"?><!-- x > y --><feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">"
    "<report_metadata><org_name>a &amp; b</org_name><extra_contact_info/></report_metadata>"
    "<policy_published><domain>House.test</domain><p>reject</p></policy_published>"
    "<record><row><source_ip>192.0.2.7</source_ip><count>12</count><policy_evaluated>"
    "<disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>"
    "<auth_results><dkim><result>fail</result></dkim></auth_results></record>"
    "<record><row><source_ip>2001:db8:1:2::3</source_ip><count> 5 </count><policy_evaluated>"
    "<disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row></record>"
    "<record><row><source_ip>192.0.2.99</source_ip><count>1</count><policy_evaluated>"
    "<disposition>quarantine</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row></record>"
    "</feedback>\n";

static const char tls[] =
    "{\"organization-name\":\"A \\\"B\\\"\",\"date-range\":{\"start-datetime\":\"x\"},\"policies\":["
    "{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"version: STSv1\",\"mode: testing\"],"
    "\"policy-domain\":\"house.test\",\"mx-host\":[]},"
    "\"summary\":{\"total-successful-session-count\":5326,\"total-failure-session-count\":303},"
    "\"failure-details\":[{\"result-type\":\"certificate-expired\",\"failed-session-count\":100},"
    "{\"result-type\":\"starttls-not-supported\",\"failed-session-count\":200},"
    "{\"failed-session-count\":3,\"result-type\":\"something-new\"}]},"
    "{\"policy\":{\"policy-domain\":\"else.test\"},\"summary\":{\"total-successful-session-count\":9,"
    "\"total-failure-session-count\":9}}]}";

static struct report_sums sums;

static int
begin(void **state)
{
	(void)state;
	memset(&sums, 0, sizeof(sums));
	return 0;
}

static void
test_aggregate_reports_become_sums_by_network(void **state)
{
	(void)state;
	assert_int_equal(report_add_dmarc(&sums, "house.test", bytes_str(dmarc)), ERR_OK);
	assert_int_equal(sums.dmarc_reports, 1);
	assert_int_equal(sums.pass, 12);
	assert_int_equal(sums.fail, 6);
	assert_int_equal(sums.rejected, 5);
	assert_int_equal(sums.quarantined, 1);
	assert_int_equal(sums.source_count, 2);
	assert_string_equal(sums.sources[0].net, "192.0.2.0/24");
	assert_int_equal(sums.sources[0].pass, 12);
	assert_int_equal(sums.sources[0].fail, 1);
	assert_string_equal(sums.sources[1].net, "2001:db8:1::/48");
}

static void
refused(const char *text, enum err why)
{
	const struct report_sums before = sums;
	assert_int_equal(report_add_dmarc(&sums, "house.test", bytes_str(text)), why);
	assert_memory_equal(&before, &sums, sizeof(sums));
}

static void
test_what_is_no_report_about_us_changes_nothing(void **state)
{
	(void)state;
	const struct report_sums before = sums;
	assert_int_equal(report_add_dmarc(&sums, "other.test", bytes_str(dmarc)), ERR_FORMAT);
	assert_int_equal(report_add_tls(&sums, "other.test", bytes_str(tls)), ERR_FORMAT);
	/* Cut off anywhere. */
	for (size_t n = 0; n + 2 < sizeof(dmarc); n++) {
		assert_int_not_equal(
		    report_add_dmarc(&sums, "house.test", bytes_of((const uint8_t *)dmarc, n)), ERR_OK);
	}
	for (size_t n = 0; n + 1 < sizeof(tls); n++) {
		assert_int_not_equal(report_add_tls(&sums, "house.test", bytes_of((const uint8_t *)tls, n)),
				     ERR_OK);
	}
	assert_memory_equal(&before, &sums, sizeof(sums));
	refused("<!DOCTYPE a [<!ENTITY b \"bbbb\">]><feedback/>", ERR_FORMAT);
	refused("<feedback><record></feedback></record>", ERR_FORMAT);
	refused("<feedback></feedback><feedback></feedback>", ERR_FORMAT);
	refused("<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>", ERR_LIMIT);
	refused("<feedback><policy_published><domain>house.test</domain></"
		"policy_published><record><row><source_ip>x"
		"</source_ip><count>1</count></row></record></feedback>",
		ERR_FORMAT);
	refused("<feedback><policy_published><domain>house.test</domain></"
		"policy_published><record><row><source_ip>"
		"192.0.2.1</source_ip><count>99999999999999999999</count></row></record></feedback>",
		ERR_LIMIT);
}

static void
test_tls_reports_become_sums_by_reason(void **state)
{
	(void)state;
	assert_int_equal(report_add_tls(&sums, "house.test", bytes_str(tls)), ERR_OK);
	assert_int_equal(sums.tls_good, 5326);
	assert_int_equal(sums.tls_bad, 303);
	assert_int_equal(sums.tls_results[REPORT_TLS_EXPIRED], 100);
	assert_int_equal(sums.tls_results[REPORT_TLS_STARTTLS], 200);
	assert_int_equal(sums.tls_results[REPORT_TLS_OTHER], 3);
	/* Some write numbers as strings. */
	assert_int_equal(
	    report_add_tls(&sums, "house.test",
			   BYTES_LIT("{\"policies\":[{\"policy\":{\"policy-domain\":\"HOUSE.test\"},"
				     "\"summary\":{\"total-successful-session-count\":\"7\"}}]}")),
	    ERR_OK);
	assert_int_equal(sums.tls_good, 5333);
	assert_int_equal(
	    report_add_tls(&sums, "house.test",
			   BYTES_LIT("{\"policies\":[{\"policy\":{\"policy-domain\":\"house.test\"},"
				     "\"summary\":{\"total-successful-session-count\":-7}}]}")),
	    ERR_FORMAT);
	char deep[64];
	memset(deep, '[', sizeof(deep));
	assert_int_equal(report_add_tls(&sums, "house.test", bytes_of((uint8_t *)deep, sizeof(deep))),
			 ERR_LIMIT);
	assert_int_equal(report_add_tls(&sums, "house.test", BYTES_LIT("{\"a\":1,}")), ERR_FORMAT);
	assert_int_equal(report_add_tls(&sums, "house.test", BYTES_LIT("{\"a\":1}}")), ERR_FORMAT);
	assert_int_equal(sums.tls_reports, 2);
}

/* bits: as for inflateInit2. */
static struct bytes
pack(struct bytes in, int bits)
{
	static uint8_t out[1 << 20];
	z_stream z = {.next_in = NULL};
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (z_const Bytef *)(uintptr_t)in.ptr;
	z.avail_in = (uInt)in.len;
	z.next_out = out;
	z.avail_out = sizeof(out);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	size_t n = z.total_out;
	deflateEnd(&z);
	return bytes_of(out, n);
}

static void
test_packed_reports_are_unpacked_and_bombs_are_not(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(UNPACK_MAX);
	struct bytes packed = pack(bytes_str(dmarc), 31);
	assert_int_equal(report_unpack(packed, &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), dmarc));
	for (size_t n = 3; n < packed.len; n += 7) {
		buf_reset(&out);
		assert_int_equal(report_unpack(bytes_slice(packed, 0, n), &out), ERR_FORMAT);
		assert_int_equal(out.len, 0);
	}
	/* A ZIP file of one entry, its sizes unsaid. */
	struct buf zip = BUF_INIT(1 << 20);
	static const uint8_t head[] = {'P', 'K', 3, 4, 20, 0, 8, 0, 8, 0, 0, 0, 0, 0, 0,  0,
				       0,   0,   0, 0, 0,  0, 0, 0, 0, 0, 1, 0, 0, 0, 'x'};
	assert_int_equal(buf_append(&zip, bytes_of(head, sizeof(head))), ERR_OK);
	assert_int_equal(buf_append(&zip, pack(bytes_str(dmarc), -15)), ERR_OK);
	buf_reset(&out);
	assert_int_equal(report_unpack(buf_bytes(&zip), &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), dmarc));
	zip.ptr[6] = 9; /* encrypted */
	buf_reset(&out);
	assert_int_equal(report_unpack(buf_bytes(&zip), &out), ERR_FORMAT);

	size_t much = 64 << 20;
	uint8_t *zeros = calloc(1, much);
	assert_non_null(zeros);
	struct bytes bomb = pack(bytes_of(zeros, much), 31);
	free(zeros);
	assert_true(bomb.len < 100 * 1024);
	assert_int_equal(report_unpack(bomb, &out), ERR_LIMIT);
	assert_int_equal(out.len, 0);
	assert_true(out.cap <= UNPACK_MAX);
	buf_clear(&zip);
	buf_clear(&out);
}

static const char complaint[] =
    "From: <abuse@big.test>\r\nTo: abuse@house.test\r\nMIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\nabuse\r\n"
    "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n"
    "User-Agent: x\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: it\r\n\r\nx\r\n--b--\r\n";

static void
test_complaints_are_counted_by_kind_and_only_proved_ones(void **state)
{
	(void)state;
	assert_true(report_add_message(&sums, "house.test", bytes_str(complaint), false));
	assert_int_equal(sums.unproved, 1);
	assert_int_equal(sums.complaints[REPORT_COMPLAINT_ABUSE], 0);
	assert_true(report_add_message(&sums, "house.test", bytes_str(complaint), true));
	assert_int_equal(sums.complaints[REPORT_COMPLAINT_ABUSE], 1);
	assert_int_equal(report_add_complaint(&sums, BYTES_LIT("Feedback-Type: odd\r\n\r\n")), ERR_OK);
	assert_int_equal(sums.complaints[REPORT_COMPLAINT_OTHER], 1);
	assert_int_equal(report_add_complaint(&sums, BYTES_LIT("Version: 1\r\n\r\n")), ERR_FORMAT);
	assert_false(
	    report_add_message(&sums, "house.test", BYTES_LIT("Subject: hello\r\n\r\nwords\r\n"), true));
}

static void
test_a_report_in_a_message_is_found_and_damaged_ones_are_counted(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(1 << 16);
	assert_int_equal(buf_append_str(&m, "From: x@big.test\r\nContent-Type: text/xml\r\n\r\n"), ERR_OK);
	assert_int_equal(buf_append_str(&m, dmarc), ERR_OK);
	assert_true(report_add_message(&sums, "house.test", buf_bytes(&m), true));
	assert_int_equal(sums.pass, 12);
	buf_truncate(&m, m.len - 20);
	assert_true(report_add_message(&sums, "house.test", buf_bytes(&m), true));
	assert_int_equal(sums.pass, 12);
	assert_int_equal(sums.unread, 1);
	buf_clear(&m);
}

static void
test_sums_outlive_the_process(void **state)
{
	struct report_sums back;
	struct buf out = BUF_INIT(8 * 1024);
	(void)state;
	assert_int_equal(report_add_dmarc(&sums, "house.test", bytes_str(dmarc)), ERR_OK);
	sums.tls_good = 7;
	sums.tls_results[REPORT_TLS_OTHER] = 8;
	sums.complaints[REPORT_COMPLAINT_FRAUD] = 9;
	sums.unproved = UINT64_MAX;
	assert_true(sums.source_count > 0);
	assert_int_equal(report_sums_write(&sums, &out), ERR_OK);
	memset(&back, 0xff, sizeof(back));
	assert_int_equal(report_sums_read(buf_bytes(&out), &back), ERR_OK);
	assert_memory_equal(&back, &sums, sizeof(sums));
	for (size_t n = 0; n < out.len; n++) {
		assert_int_not_equal(report_sums_read(bytes_slice(buf_bytes(&out), 0, n), &back), ERR_OK);
	}
	/* Full, it is not more than its room. */
	buf_reset(&out);
	sums.source_count = REPORT_SOURCES_MAX;
	for (size_t i = 0; i < REPORT_SOURCES_MAX; i++) {
		memset(sums.sources[i].net, 'n', REPORT_NET_MAX - 1);
	}
	assert_int_equal(report_sums_write(&sums, &out), ERR_OK);
	assert_int_equal(report_sums_read(buf_bytes(&out), &back), ERR_OK);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_aggregate_reports_become_sums_by_network, begin),
	    cmocka_unit_test_setup(test_what_is_no_report_about_us_changes_nothing, begin),
	    cmocka_unit_test_setup(test_tls_reports_become_sums_by_reason, begin),
	    cmocka_unit_test_setup(test_packed_reports_are_unpacked_and_bombs_are_not, begin),
	    cmocka_unit_test_setup(test_complaints_are_counted_by_kind_and_only_proved_ones, begin),
	    cmocka_unit_test_setup(test_a_report_in_a_message_is_found_and_damaged_ones_are_counted, begin),
	    cmocka_unit_test_setup(test_sums_outlive_the_process, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
