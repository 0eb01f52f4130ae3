/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Reports of our own: what is told of a day, to whom, and that our own reader reads it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>

#include "reports/report.h"
#include "reports/unpack.h"
#include "reports/write.h"

enum { DAY = 20779 };

static struct tally tally;
static struct tally told;
static struct report_sums sums;

static int
begin(void **state)
{
	(void)state;
	tally_init(&tally);
	tally_init(&told);
	memset(&sums, 0, sizeof(sums));
	return 0;
}

static int
end(void **state)
{
	(void)state;
	tally_clear(&tally);
	tally_clear(&told);
	return 0;
}

static struct tally_row
row_of(const char *domain, unsigned outcome, const char *address, unsigned member)
{
	struct tally_row r = {.day = DAY,
			      .kind = TALLY_DMARC,
			      .outcome = (uint8_t)outcome,
			      .members = UINT64_C(1) << member,
			      .count = 1};
	uint8_t octets[16] = {[10] = 0xff, [11] = 0xff};
	unsigned part[4];
	assert_int_equal(sscanf(address, "%u.%u.%u.%u", &part[0], &part[1], &part[2], &part[3]), 4);
	for (size_t i = 0; i < 4; i++) {
		octets[12 + i] = (uint8_t)part[i];
	}
	tally_net(octets, r.net);
	(void)snprintf(r.domain, sizeof(r.domain), "%s", domain);
	return r;
}

static void
add(const char *domain, unsigned outcome, const char *address, unsigned members, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct tally_row r = row_of(domain, outcome, address, i % members);
		tally_add(&tally, &r);
	}
}

static void
add_sessions(const char *domain, enum tally_policy policy, enum tally_session session, unsigned members,
	     unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct tally_row r =
		    row_of(domain, TALLY_TLS_OUTCOME(policy, session), "0.0.0.0", i % members);
		memset(r.net, 0, sizeof(r.net));
		r.kind = TALLY_TLS;
		tally_add(&tally, &r);
	}
}

static void
test_only_what_many_members_had_many_of_is_told(void **state)
{
	(void)state;
	add("many.test", TALLY_DKIM, "192.0.2.1", 5, 16);
	add("few-members.test", TALLY_DKIM, "192.0.2.1", 4, 1000);
	add("few-messages.test", TALLY_DKIM, "192.0.2.1", 15, 15);
	/* A row stands for itself, however much there is beside it. */
	add("many.test", 0, "198.51.100.9", 1, 400);
	tally_close(&tally, DAY, &told);
	assert_int_equal(told.count, 1);
	assert_string_equal(told.rows[0].domain, "many.test");
	assert_int_equal(told.rows[0].count, 16);
	/* Nothing of the day is left, told or not. */
	assert_int_equal(tally.count, 0);
	assert_null(tally.rows);
}

static void
test_sessions_of_a_domain_stand_together(void **state)
{
	(void)state;
	add_sessions("dane.test", TALLY_DANE, TALLY_TLS_GOOD, 5, 20);
	add_sessions("dane.test", TALLY_DANE, TALLY_TLS_FAILED, 1, 1);
	add_sessions("small.test", TALLY_STS, TALLY_TLS_GOOD, 4, 400);
	tally_close(&tally, DAY, &told);
	assert_int_equal(told.count, 2);
	assert_string_equal(told.rows[1].domain, "dane.test");
}

static void
test_addresses_become_networks_and_days_stay_apart(void **state)
{
	(void)state;
	struct tally_row r = row_of("a.test", 0, "192.0.2.77", 1);
	tally_add(&tally, &r);
	r = row_of("a.test", 0, "192.0.2.9", 2);
	tally_add(&tally, &r);
	assert_int_equal(tally.count, 1);
	assert_int_equal(tally.rows[0].count, 2);
	assert_int_equal(tally.rows[0].members, 6);
	assert_int_equal(tally.rows[0].net[15], 0);
	uint8_t six[16] = {0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	uint8_t net[16];
	tally_net(six, net);
	assert_memory_equal(net, six, 6);
	for (size_t i = 6; i < 16; i++) {
		assert_int_equal(net[i], 0);
	}
	r.day++;
	tally_add(&tally, &r);
	assert_int_equal(tally.count, 2);
	tally_close(&tally, DAY, &told);
	assert_int_equal(tally.count, 1);
	assert_int_equal(tally.rows[0].day, DAY + 1);
}

static void
test_memory_is_bounded_and_odd_domains_are_not_taken(void **state)
{
	(void)state;
	const char *const odd[] = {"",         "nodot",     ".a.test",  "a.test.", "A.test",
				   "a<b.test", "a\"b.test", "a b.test", "a&b.test"};
	struct tally_row r = row_of("a.test", 0, "192.0.2.1", 1);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		(void)snprintf(r.domain, sizeof(r.domain), "%s", odd[i]);
		tally_add(&tally, &r);
	}
	assert_int_equal(tally.count, 0);
	for (unsigned i = 0; i < TALLY_ROWS_MAX + 100; i++) {
		(void)snprintf(r.domain, sizeof(r.domain), "d%u.test", i);
		tally_add(&tally, &r);
	}
	assert_int_equal(tally.count, TALLY_ROWS_MAX);
	/* What is there already still counts. */
	(void)snprintf(r.domain, sizeof(r.domain), "d7.test");
	r.count = UINT32_MAX;
	tally_add(&tally, &r);
	assert_int_equal(tally.rows[7].count, TALLY_COUNT_MAX);
}

static void
test_rows_go_from_one_process_to_another(void **state)
{
	(void)state;
	struct buf wire = BUF_INIT(1 << 16);
	add("a.test", TALLY_DKIM | TALLY_REJECTED, "192.0.2.1", 3, 9);
	add("b.test", TALLY_SPF, "192.0.2.1", 2, 2);
	struct tally_row later = row_of("c.test", 0, "192.0.2.1", 1);
	later.day++;
	tally_add(&tally, &later);
	assert_int_equal(tally_take(&tally, DAY, 1 << 16, &wire), ERR_OK);
	assert_int_equal(tally.count, 1);
	/* Two gates' rows are one. */
	assert_int_equal(tally_read(&told, TALLY_DMARC, buf_bytes(&wire)), ERR_OK);
	assert_int_equal(tally_read(&told, TALLY_DMARC, buf_bytes(&wire)), ERR_OK);
	assert_int_equal(told.count, 2);
	for (size_t i = 0; i < 2; i++) {
		bool a = strcmp(told.rows[i].domain, "a.test") == 0;
		assert_int_equal(told.rows[i].count, a ? 18 : 4);
		assert_int_equal(told.rows[i].members, a ? 7 : 3);
		assert_int_equal(told.rows[i].kind, TALLY_DMARC);
	}
	for (size_t n = 1; n < wire.len; n++) {
		struct tally part;
		tally_init(&part);
		enum err e = tally_read(&part, TALLY_DMARC, bytes_slice(buf_bytes(&wire), 0, n));
		assert_true(e == ERR_FORMAT || part.count == 1);
		tally_clear(&part);
	}
	/* What does not go into one message stays for the next. */
	buf_reset(&wire);
	add("d.test", TALLY_SPF, "192.0.2.1", 2, 2);
	assert_int_equal(tally_take(&tally, DAY, 20, &wire), ERR_OK);
	assert_int_equal(wire.len, 0);
	assert_int_equal(tally.count, 2);
	buf_clear(&wire);
}

static void
test_counts_are_rounded_down_to_powers_of_two(void **state)
{
	(void)state;
	assert_int_equal(tally_coarse(0), 0);
	assert_int_equal(tally_coarse(1), 1);
	assert_int_equal(tally_coarse(16), 16);
	assert_int_equal(tally_coarse(31), 16);
	assert_int_equal(tally_coarse(1000000), 524288);
}

static struct report_heading
context_of(const char *domain)
{
	struct report_heading c = {.house = "house.test",
				   .domain = domain,
				   .begin = (int64_t)DAY * 86400,
				   .end = (int64_t)(DAY + 1) * 86400 - 1,
				   .now = (int64_t)(DAY + 1) * 86400 + 7777};
	memset(c.random, 0xab, sizeof(c.random));
	return c;
}

static void
letter(enum tally_kind kind, struct bytes text, struct buf *out)
{
	struct report_heading c = context_of("peer.test");
	struct buf packed = BUF_INIT(REPORT_TEXT_MAX);
	assert_int_equal(report_pack(text, &packed), ERR_OK);
	assert_int_equal(report_write_letter(&c, kind, "dmarc@peer.test", buf_bytes(&packed), out), ERR_OK);
	buf_clear(&packed);
}

static const struct report_policy policy = {.p = "reject", .sp = "none", .strict_dkim = true, .percent = 50};

static void
test_our_reader_reads_our_aggregate_reports(void **state)
{
	(void)state;
	struct buf xml = BUF_INIT(REPORT_TEXT_MAX);
	struct buf mail = BUF_INIT(REPORT_LETTER_MAX);
	struct report_heading c = context_of("peer.test");
	add("peer.test", TALLY_DKIM | TALLY_SPF, "192.0.2.1", 6, 100);
	add("peer.test", TALLY_REJECTED, "198.51.100.9", 6, 33);
	add("peer.test", TALLY_VOUCHED, "203.0.113.9", 6, 16);
	add("peer.test", TALLY_QUARANTINED | TALLY_EXCEPTION, "203.0.113.9", 6, 17);
	tally_close(&tally, DAY, &told);
	assert_int_equal(told.count, 4);
	assert_int_equal(report_write_dmarc(&c, &policy, told.rows, told.count, &xml), ERR_OK);
	letter(TALLY_DMARC, buf_bytes(&xml), &mail);
	assert_true(report_add_message(&sums, "peer.test", buf_bytes(&mail), true));
	assert_int_equal(sums.unread, 0);
	assert_int_equal(sums.dmarc_reports, 1);
	assert_int_equal(sums.pass, 64);
	assert_int_equal(sums.fail, 32 + 16 + 16);
	assert_int_equal(sums.rejected, 32);
	assert_int_equal(sums.quarantined, 16);
	assert_int_equal(sums.source_count, 3);
	assert_true(bytes_search(buf_bytes(&xml), BYTES_LIT("<source_ip>192.0.2.0</source_ip>")) > 0);
	assert_true(bytes_search(buf_bytes(&xml), BYTES_LIT("<type>trusted_forwarder</type>")) > 0);
	assert_true(bytes_search(buf_bytes(&xml), BYTES_LIT("<p>reject</p><sp>none</sp><pct>50</pct>")) > 0);
	assert_true(bytes_search(buf_bytes(&mail),
				 BYTES_LIT("Subject: Report Domain: peer.test Submitter: house.test")) > 0);
	assert_true(
	    bytes_search(buf_bytes(&mail),
			 BYTES_LIT("filename=\"house.test!peer.test!1795305600!1795391999.xml.gz\"")) > 0);
	for (size_t i = 0; i < mail.len; i++) {
		assert_true(mail.ptr[i] < 128 && mail.ptr[i] != 0);
		assert_true(mail.ptr[i] != '\n' || mail.ptr[i - 1] == '\r');
	}
	buf_clear(&xml);
	buf_clear(&mail);
}

static void
test_our_reader_reads_our_tls_reports(void **state)
{
	(void)state;
	struct buf json = BUF_INIT(REPORT_TEXT_MAX);
	struct buf mail = BUF_INIT(REPORT_LETTER_MAX);
	struct report_heading c = context_of("peer.test");
	add_sessions("peer.test", TALLY_DANE, TALLY_TLS_GOOD, 6, 40);
	add_sessions("peer.test", TALLY_DANE, TALLY_TLS_DNSSEC, 2, 3);
	add_sessions("peer.test", TALLY_NO_POLICY, TALLY_TLS_NOT_OFFERED, 2, 5);
	tally_close(&tally, DAY, &told);
	assert_int_equal(report_write_tls(&c, told.rows, told.count, &json), ERR_OK);
	letter(TALLY_TLS, buf_bytes(&json), &mail);
	assert_true(report_add_message(&sums, "peer.test", buf_bytes(&mail), true));
	assert_int_equal(sums.unread, 0);
	assert_int_equal(sums.tls_reports, 1);
	assert_int_equal(sums.tls_good, 32);
	assert_int_equal(sums.tls_bad, 2 + 4);
	assert_int_equal(sums.tls_results[REPORT_TLS_DANE], 2);
	assert_int_equal(sums.tls_results[REPORT_TLS_STARTTLS], 4);
	assert_true(bytes_search(buf_bytes(&mail), BYTES_LIT("TLS-Report-Domain: peer.test\r\n")) > 0);
	assert_true(bytes_search(buf_bytes(&mail), BYTES_LIT("report-type=\"tlsrpt\"")) > 0);
	buf_clear(&json);
	buf_clear(&mail);
}

static size_t
uris(const char *rua, struct report_uri ret[REPORT_URIS_MAX])
{
	return report_uris(bytes_str(rua), ret);
}

static void
test_addresses_for_reports_are_read_and_odd_ones_are_not(void **state)
{
	(void)state;
	struct report_uri u[REPORT_URIS_MAX];
	assert_int_equal(uris("mailto:a@Peer.test!10m, mailto:b%2Bc@other.test", u), 2);
	assert_string_equal(u[0].address, "a@peer.test");
	assert_string_equal(u[0].domain, "peer.test");
	assert_int_equal(u[0].most, 10 << 20);
	assert_string_equal(u[1].address, "b+c@other.test");
	assert_int_equal(u[1].most, 0);
	assert_int_equal(uris("https://x.test/report, mailto:a@peer.test", u), 1);
	assert_string_equal(u[0].address, "a@peer.test");
	assert_int_equal(uris("mailto:a@1.test,mailto:a@2.test,mailto:a@3.test", u), REPORT_URIS_MAX);
	assert_int_equal(uris("mailto:a@peer.test!99999999g", u), 1);
	assert_int_equal(u[0].most, 1 << 30);
	const char *const odd[] = {"",
				   "mailto:",
				   "mailto:a",
				   "mailto:@b.test",
				   "mailto:a@b",
				   "mailto:a@b@c.test",
				   "mailto:a%0d%0aBcc:x@b.test",
				   "mailto:a%4",
				   "mailto:\"a\"@b.test",
				   "mailto:a@b.test!x",
				   "mailto:a@b.test!0",
				   "mailto:a@[192.0.2.1]",
				   "a@b.test",
				   "mailto:<a@b.test>"};
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		assert_int_equal(uris(odd[i], u), 0);
	}
	struct bytes rua;
	assert_true(report_tls_record(BYTES_LIT("v=TLSRPTv1; rua=mailto:a@b.test"), &rua));
	assert_true(bytes_is(rua, "mailto:a@b.test"));
	assert_true(report_tls_record(BYTES_LIT("v=TLSRPTv1;x=y; rua = mailto:a@b.test;"), &rua));
	assert_false(report_tls_record(BYTES_LIT("v=TLSRPTv2; rua=mailto:a@b.test"), &rua));
	assert_false(report_tls_record(BYTES_LIT("v=TLSRPTv1;"), &rua));
}

/* For the check against the schema: writes both reports to the files named. */
static int
dump(const char *const *files)
{
	struct buf text = BUF_INIT(REPORT_TEXT_MAX);
	struct report_heading c = context_of("peer.test");
	(void)begin(NULL);
	add("peer.test", TALLY_DKIM | TALLY_SPF, "192.0.2.1", 6, 100);
	add("peer.test", TALLY_REJECTED, "198.51.100.9", 6, 33);
	add("peer.test", TALLY_VOUCHED, "203.0.113.9", 6, 16);
	add_sessions("peer.test", TALLY_DANE, TALLY_TLS_GOOD, 6, 40);
	add_sessions("peer.test", TALLY_STS, TALLY_TLS_FAILED, 2, 3);
	tally_close(&tally, DAY, &told);
	size_t dmarc = 0;
	while (dmarc < told.count && told.rows[dmarc].kind == TALLY_DMARC) {
		dmarc++;
	}
	int status = 1;
	for (size_t i = 0; i < 2; i++) {
		buf_reset(&text);
		enum err e = i == 0 ? report_write_dmarc(&c, &policy, told.rows, dmarc, &text)
				    : report_write_tls(&c, told.rows + dmarc, told.count - dmarc, &text);
		FILE *f = e == ERR_OK ? fopen(files[i], "wb") : NULL;
		bool good = f != NULL && fwrite(text.ptr, 1, text.len, f) == text.len;
		good = f != NULL && fclose(f) == 0 && good;
		status = good && i == 1 ? 0 : status;
		if (!good) {
			break;
		}
	}
	buf_clear(&text);
	(void)end(NULL);
	return status;
}

int
main(int argc, const char *const *argv)
{
	if (argc == 3) {
		return dump(argv + 1);
	}
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
	    TEST(test_only_what_many_members_had_many_of_is_told),
	    TEST(test_sessions_of_a_domain_stand_together),
	    TEST(test_addresses_become_networks_and_days_stay_apart),
	    TEST(test_memory_is_bounded_and_odd_domains_are_not_taken),
	    TEST(test_rows_go_from_one_process_to_another),
	    TEST(test_counts_are_rounded_down_to_powers_of_two),
	    TEST(test_our_reader_reads_our_aggregate_reports),
	    TEST(test_our_reader_reads_our_tls_reports),
	    TEST(test_addresses_for_reports_are_read_and_odd_ones_are_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
