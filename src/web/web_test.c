/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "web/web.h"

struct house {
	struct config config;
	struct web web;
	struct web_reply reply;
};

static void
open_house(struct house *h)
{
	struct config_error problem;
	memset(h, 0, sizeof(*h));
	assert_int_equal(crypto_init(), ERR_OK);
	config_defaults(&h->config);
	assert_int_equal(config_load(&h->config,
				     BYTES_LIT("domain = example.org\nhostname = mail.example.org\n"
					       "house_key = /k\n"),
				     "cohue.conf", &problem),
			 ERR_OK);
	h->web.config = &h->config;
}

static void
forget(struct house *h)
{
	buf_clear(&h->reply.fields);
	buf_clear(&h->reply.body);
}

/* url: "host/path?query". */
static unsigned
ask(struct house *h, bool secure, enum http_method method, const char *url, const char *body)
{
	struct bytes all = bytes_str(url);
	ptrdiff_t slash = bytes_find(all, '/');
	ptrdiff_t mark = bytes_find(all, '?');
	size_t end = mark < 0 ? all.len : (size_t)mark;
	assert_true(slash >= 0);
	struct http_request q = {.method = method,
				 .host = bytes_slice(all, 0, (size_t)slash),
				 .path = bytes_slice(all, (size_t)slash, end - (size_t)slash),
				 .query = mark < 0 ? BYTES_EMPTY : bytes_from(all, end + 1),
				 .body = bytes_str(body)};
	forget(h);
	assert_int_equal(web_answer(&h->web, secure, &q, 1000, &h->reply), ERR_OK);
	return h->reply.status;
}

static bool
says(const struct house *h, const char *text)
{
	return bytes_search(buf_bytes(&h->reply.body), bytes_str(text)) >= 0;
}

static bool
tells(const struct house *h, const char *field)
{
	return bytes_search(buf_bytes(&h->reply.fields), bytes_str(field)) >= 0;
}

static void
test_mail_programs_find_the_same_settings_at_each_place_over_tls_and_in_clear(void **state)
{
	(void)state;
	static const char *const places[] = {
	    "example.org/.well-known/autoconfig/mail/config-v1.1.xml",
	    "mail.example.org/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=a@example.org",
	    "autoconfig.example.org/mail/config-v1.1.xml?emailaddress=%3Cx%3E",
	};
	struct house h;
	open_house(&h);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(ask(&h, i % 2 == 0, HTTP_GET, places[i / 2], ""), 200);
		assert_string_equal(h.reply.type, "text/xml; charset=utf-8");
		assert_true(says(&h, "<hostname>mail.example.org</hostname>\n      <port>993</port>\n      "
				     "<socketType>SSL</socketType>"));
		assert_true(says(&h, "<port>465</port>\n      <socketType>SSL</socketType>"));
		assert_true(says(&h, "<port>587</port>\n      <socketType>STARTTLS</socketType>"));
		/* What the program said of its user comes back nowhere. */
		assert_false(says(&h, "a@example.org") || says(&h, "%3C") || says(&h, "<x>"));
	}
	assert_int_equal(ask(&h, true, HTTP_GET, "mail.example.org/mail/config-v1.1.xml", ""), 404);
	assert_int_equal(ask(&h, true, HTTP_POST, places[0], ""), 405);
	assert_true(tells(&h, "Allow: GET, HEAD\r\n"));
	forget(&h);
}

static void
test_outlook_finds_the_settings_in_any_case_and_hears_only_an_address_of_the_house(void **state)
{
	(void)state;
	struct house h;
	open_house(&h);
	assert_int_equal(ask(&h, true, HTTP_POST, "autodiscover.example.org/Autodiscover/Autodiscover.xml",
			     "<Request><EMailAddress> anna.b+x@Example.org </EMailAddress></Request>"),
			 200);
	assert_true(says(&h, "<LoginName>anna.b+x@Example.org</LoginName>"));
	assert_true(says(&h, "<Type>IMAP</Type>\n        <Server>mail.example.org</Server>\n        "
			     "<Port>993</Port>"));
	/* clang-format off */
	static const char *const foreign[] = {
	    "",
	    "<EMailAddress>",
	    "<EMailAddress></EMailAddress>",
	    "<EMailAddress>anna@elsewhere.org</EMailAddress>",
	    "<EMailAddress>a</LoginName><Server>evil</Server>@example.org</EMailAddress>",
	    "<EMailAddress>a&amp;b@example.org</EMailAddress>",
	    "<EMailAddress>\377@example.org</EMailAddress>",
	    "<EMailAddress>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.org</EMailAddress>",
	};
	/* clang-format on */
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		assert_int_equal(
		    ask(&h, true, HTTP_POST, "example.org/autodiscover/autodiscover.xml", foreign[i]), 200);
		assert_false(says(&h, "LoginName"));
		assert_false(says(&h, "evil"));
	}
	assert_int_equal(
	    ask(&h, true, HTTP_GET,
		"example.org/autodiscover/autodiscover.json/v1.0/a@example.org?Protocol=AutodiscoverV1", ""),
	    200);
	assert_true(says(&h, "\"Url\":\"https://mail.example.org/autodiscover/autodiscover.xml\""));
	assert_int_equal(
	    ask(&h, true, HTTP_GET, "example.org/autodiscover/autodiscover.json?Protocol=ActiveSync", ""),
	    400);
	/* In clear it is sent on with 302, which alone it follows. */
	assert_int_equal(
	    ask(&h, false, HTTP_GET, "autodiscover.example.org/Autodiscover/Autodiscover.xml", ""), 302);
	assert_true(
	    tells(&h, "Location: https://autodiscover.example.org/Autodiscover/Autodiscover.xml\r\n"));
	forget(&h);
}

static void
test_the_profile_names_the_address_or_leaves_it_to_the_device(void **state)
{
	(void)state;
	struct house h;
	char first[4096];
	open_house(&h);
	assert_int_equal(ask(&h, true, HTTP_GET, "mail.example.org/apple.mobileconfig", ""), 200);
	assert_string_equal(h.reply.type, "application/x-apple-aspen-config");
	assert_false(says(&h, "<key>EmailAddress</key>"));
	assert_true(says(&h, "<key>IncomingMailServerPortNumber</key><integer>993</integer>"));
	assert_true(h.reply.body.len < sizeof(first));
	memcpy(first, h.reply.body.ptr, h.reply.body.len);
	size_t len = h.reply.body.len;
	/* Installed again, it takes its own place: the same identifiers. */
	assert_int_equal(ask(&h, true, HTTP_GET, "mail.example.org/apple.mobileconfig", ""), 200);
	assert_int_equal(h.reply.body.len, len);
	assert_memory_equal(h.reply.body.ptr, first, len);
	assert_int_equal(
	    ask(&h, true, HTTP_GET, "mail.example.org/apple.mobileconfig?address=anna%40example.org", ""),
	    200);
	assert_true(says(&h, "<key>EmailAddress</key><string>anna@example.org</string>"));
	static const char *const bad[] = {"anna", "anna%40evil.org",    "%3C%2Fstring%3E%40example.org",
					  "%",    "a%00%40example.org", ""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char url[256];
		(void)snprintf(url, sizeof(url), "mail.example.org/apple.mobileconfig?address=%s", bad[i]);
		assert_int_equal(ask(&h, true, HTTP_GET, url, ""), 400);
		assert_false(says(&h, "evil"));
	}
	forget(&h);
}

static void
test_the_policy_stands_at_its_host_over_tls_alone_and_its_id_follows_it(void **state)
{
	(void)state;
	struct house h;
	char testing[WEB_MTA_STS_ID];
	char enforce[WEB_MTA_STS_ID];
	open_house(&h);
	assert_int_equal(ask(&h, true, HTTP_GET, "mta-sts.example.org/.well-known/mta-sts.txt", ""), 200);
	assert_true(
	    bytes_is(buf_bytes(&h.reply.body),
		     "version: STSv1\r\nmode: testing\r\nmx: mail.example.org\r\nmax_age: 604800\r\n"));
	assert_int_equal(ask(&h, true, HTTP_GET, "mail.example.org/.well-known/mta-sts.txt", ""), 404);
	assert_int_equal(ask(&h, true, HTTP_GET, "mta-sts.example.org/", ""), 404);
	assert_int_equal(ask(&h, false, HTTP_GET, "mta-sts.example.org/.well-known/mta-sts.txt", ""), 301);
	assert_int_equal(web_mta_sts_id(&h.config, testing), ERR_OK);
	h.config.mta_sts = CONFIG_STS_ENFORCE;
	assert_int_equal(web_mta_sts_id(&h.config, enforce), ERR_OK);
	assert_int_equal(strlen(enforce), WEB_MTA_STS_ID - 1);
	assert_string_not_equal(testing, enforce);
	assert_int_equal(ask(&h, true, HTTP_GET, "mta-sts.example.org/.well-known/mta-sts.txt", ""), 200);
	assert_true(says(&h, "mode: enforce\r\n"));
	h.config.mta_sts = CONFIG_STS_NONE;
	assert_int_equal(ask(&h, true, HTTP_GET, "mta-sts.example.org/.well-known/mta-sts.txt", ""), 200);
	assert_true(says(&h, "mode: none\r\n") && says(&h, "max_age: 86400\r\n"));
	forget(&h);
}

static void
test_in_clear_everything_else_is_sent_on_and_only_to_this_house(void **state)
{
	(void)state;
	struct house h;
	open_house(&h);
	assert_int_equal(ask(&h, false, HTTP_GET, "mail.example.org/a?b=c", ""), 301);
	assert_true(tells(&h, "Location: https://mail.example.org/a?b=c\r\n"));
	assert_int_equal(ask(&h, false, HTTP_HEAD, "example.org//evil.org", ""), 301);
	assert_true(tells(&h, "Location: https://example.org//evil.org\r\n"));
	assert_int_equal(ask(&h, false, HTTP_POST, "mail.example.org/", "secret"), 403);
	assert_int_equal(ask(&h, false, HTTP_GET, "evil.org/", ""), 421);
	assert_int_equal(ask(&h, true, HTTP_GET, "evil.org/", ""), 421);
	assert_false(says(&h, "evil"));
	assert_int_equal(ask(&h, true, HTTP_GET, "autoconfig.evil.org/mail/config-v1.1.xml", ""), 421);
	assert_int_equal(ask(&h, true, HTTP_GET, "/", ""), 421);
	h.config.port_offset = 10000;
	assert_int_equal(ask(&h, false, HTTP_GET, "mail.example.org/", ""), 301);
	assert_true(tells(&h, "Location: https://mail.example.org:10443/\r\n"));
	forget(&h);
}

static void
test_the_page_for_people_is_whole_and_loads_nothing_from_elsewhere(void **state)
{
	(void)state;
	struct house h;
	open_house(&h);
	assert_int_equal(ask(&h, true, HTTP_GET, "mail.example.org/", ""), 200);
	assert_true(says(&h, "port 993") && says(&h, "application password") && says(&h, "</html>"));
	assert_false(says(&h, "{") || says(&h, "<script") || says(&h, "http://"));
	assert_int_equal(ask(&h, true, HTTP_GET, "mail.example.org/style.css", ""), 200);
	assert_int_equal(ask(&h, true, HTTP_GET, "mail.example.org/../etc/passwd", ""), 404);
	assert_int_equal(ask(&h, true, HTTP_POST, "mail.example.org/", ""), 405);
	forget(&h);
}

static void
test_a_challenge_is_answered_in_its_time_and_there_are_few(void **state)
{
	(void)state;
	struct house h;
	open_house(&h);
	struct web_challenges *c = &h.web.challenges;
	static const uint8_t ours[WEB_THUMBPRINT] = {0xfb, 0xff};
	static const char token[] = "tok_en-1tok_en-1";
	static const char url[] = "example.org/.well-known/acme-challenge/tok_en-1tok_en-1";
	/* Base64url of 32 octets. */
	static const char answer[] = "tok_en-1tok_en-1.-_8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	assert_int_equal(http_challenge_set(c, bytes_str(token), ours, 0, 2000), ERR_OK);
	for (int secure = 0; secure < 2; secure++) {
		assert_int_equal(ask(&h, secure == 1, HTTP_GET, url, ""), 200);
		assert_true(bytes_is(buf_bytes(&h.reply.body), answer));
		assert_int_equal(
		    ask(&h, secure == 1, HTTP_GET, "example.org/.well-known/acme-challenge/other", ""), 404);
		assert_int_equal(
		    ask(&h, secure == 1, HTTP_GET, "example.org/.well-known/acme-challenge/", ""), 404);
	}
	/* What is no token never gets in; an account cannot be brought with it. */
	char row[WEB_TOKEN_MAX + 2];
	memset(row, 'a', sizeof(row));
	static const char *const bad[] = {"", "tok_en-1/tok_en-1", "tok_en-1.tok_en-1", "tok_en-1<tok_en-1",
					  "tok_en-1tok_en-"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(http_challenge_set(c, bytes_str(bad[i]), ours, 0, 2000), ERR_FORMAT);
	}
	assert_int_equal(http_challenge_set(c, bytes_of(row, WEB_TOKEN_MAX + 1), ours, 0, 2000), ERR_LIMIT);
	/* Taken away; over; too many; the same one again; room for new ones when old ones are over. */
	assert_int_equal(http_challenge_set(c, bytes_str(token), NULL, 0, 2000), ERR_OK);
	assert_int_equal(ask(&h, false, HTTP_GET, url, ""), 404);
	assert_int_equal(http_challenge_set(c, bytes_str(token), ours, 0, 1000), ERR_OK);
	assert_int_equal(ask(&h, false, HTTP_GET, url, ""), 404);
	for (unsigned i = 0; i < WEB_CHALLENGES_MAX + 1; i++) {
		row[0] = (char)('a' + i);
		assert_int_equal(http_challenge_set(c, bytes_of(row, WEB_TOKEN_MAX), ours, 1500, 2000),
				 i == WEB_CHALLENGES_MAX ? ERR_FULL : ERR_OK);
	}
	row[0] = 'a';
	assert_int_equal(http_challenge_set(c, bytes_of(row, WEB_TOKEN_MAX), ours, 1500, 2000), ERR_OK);
	row[0] = '0';
	assert_int_equal(http_challenge_set(c, bytes_of(row, WEB_TOKEN_MAX), ours, 2000, 3000), ERR_OK);
	forget(&h);
}

static void
test_the_names_are_the_hosts_of_all_this_and_none_twice(void **state)
{
	(void)state;
	struct house h;
	char names[WEB_NAMES_MAX][CONFIG_NAME_MAX];
	open_house(&h);
	assert_int_equal(web_names(&h.config, names), 5);
	assert_string_equal(names[0], "mail.example.org");
	assert_string_equal(names[1], "example.org");
	assert_string_equal(names[2], "autoconfig.example.org");
	assert_string_equal(names[3], "autodiscover.example.org");
	assert_string_equal(names[4], "mta-sts.example.org");
	(void)snprintf(h.config.hostname, sizeof(h.config.hostname), "example.org");
	assert_int_equal(web_names(&h.config, names), 4);
	assert_string_equal(names[1], "autoconfig.example.org");
	h.config.web = CONFIG_OFF;
	assert_int_equal(web_names(&h.config, names), 1);
	/* A name that is longer than names can be is left out. */
	h.config.web = CONFIG_ON;
	memset(h.config.domain, 'a', 245);
	h.config.domain[245] = '\0';
	assert_int_equal(web_names(&h.config, names), 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mail_programs_find_the_same_settings_at_each_place_over_tls_and_in_clear),
	    cmocka_unit_test(
		test_outlook_finds_the_settings_in_any_case_and_hears_only_an_address_of_the_house),
	    cmocka_unit_test(test_the_profile_names_the_address_or_leaves_it_to_the_device),
	    cmocka_unit_test(test_the_policy_stands_at_its_host_over_tls_alone_and_its_id_follows_it),
	    cmocka_unit_test(test_in_clear_everything_else_is_sent_on_and_only_to_this_house),
	    cmocka_unit_test(test_the_page_for_people_is_whole_and_loads_nothing_from_elsewhere),
	    cmocka_unit_test(test_a_challenge_is_answered_in_its_time_and_there_are_few),
	    cmocka_unit_test(test_the_names_are_the_hosts_of_all_this_and_none_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
