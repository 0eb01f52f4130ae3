/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Loads over the defaults; gives the error's text, or "". */
static struct config config;
static struct config_error error;

static const char *
load(const char *text)
{
	config_defaults(&config);
	error.text[0] = '\0';
	enum err e = config_load(&config, bytes_str(text), "cohue.conf", &error);
	assert_true(e == ERR_OK || e == ERR_FORMAT);
	assert_true((e == ERR_OK) == (error.text[0] == '\0'));
	return error.text;
}

static const char *
check(const char *text)
{
	char full[2048];
	(void)snprintf(full, sizeof(full), "domain=example.org\nhostname=mail.example.org\n%s", text);
	assert_string_equal(load(full), "");
	enum err e = config_check(&config, "cohue.conf", &error);
	assert_true(e == ERR_OK || error.text[0] != '\0');
	return error.text;
}

static void
the_defaults_are_valid_and_as_documented(void **state)
{
	(void)state;
	assert_string_equal(check(""), "");
	assert_int_equal(config.leave.kind, LAW_CROWD);
	assert_int_equal(config.arrive.kind, LAW_CROWD);
	assert_int_equal(config.leave.clock, 30 * MSEC_MINUTE);
	assert_int_equal(config.leave.k, 3);
	assert_int_equal(config.leave.deadline, MSEC_DAY);
	assert_int_equal(config.leave.patient, 2 * MSEC_DAY);
	assert_int_equal(config.arrive.clock, 2 * MSEC_MINUTE);
	assert_int_equal(config.arrive.k, 2);
	assert_int_equal(config.arrive.deadline, 4 * MSEC_MINUTE);
	assert_int_equal(config.leave.mean, 15 * MSEC_MINUTE);
	assert_int_equal(config.arrive.mean, MSEC_MINUTE);
	assert_int_equal(config.listen_count, 2);
	assert_string_equal(config.listen[0].address, "0.0.0.0");
	assert_string_equal(config.listen[1].address, "::");
	assert_true(config.listen[1].is_ipv6);
	assert_int_equal(config.message_size, 35 * 1024 * 1024);
	assert_true(config.quota == 5ULL * 1024 * 1024 * 1024);
	assert_int_equal(config.recipients, 100);
	assert_int_equal(config.tls_member_minimum, CONFIG_TLS_1_3);
	assert_int_equal(config.tls_outbound, CONFIG_OUTBOUND_REQUIRE);
	assert_int_equal(config.retry_give_up, 5 * MSEC_DAY);
	assert_string_equal(config.smarthost, "");
}

static void
a_file_sets_what_it_names(void **state)
{
	(void)state;
	assert_string_equal(load("\xef\xbb\xbf# a comment\r\n"
				 "domain = Example.ORG\r\n"
				 "  hostname=mail.example.org # trailing\n"
				 "\n"
				 "listen = 192.0.2.1 2001:db8::1\n"
				 "port_offset = 10000\n"
				 "leave.mean = 90s\n"
				 "leave.law = none\n"
				 "limits.quota = 2 GiB\n"
				 "limits.message_size = 1048576\n"
				 "pad = none\n"
				 "tls.member_minimum = 1.2\n"
				 "tls.outbound = prefer\n"
				 "smarthost = [2001:db8::25]:2525\n"
				 "resolver.stub = 127.0.0.1@5353 example.net=192.0.2.53\n"
				 "resolver.forward_tls = 192.0.2.1@8853#dns.example.net\n"
				 "smarthost.password_file = /etc/cohue/pass word"),
			    "");
	assert_string_equal(config.domain, "example.org");
	assert_string_equal(config.hostname, "mail.example.org");
	assert_string_equal(config.listen[1].address, "2001:db8::1");
	assert_int_equal(config.port_offset, 10000);
	assert_int_equal(config.leave.mean, 90000);
	assert_int_equal(config.leave.kind, LAW_NONE);
	assert_true(config.quota == 2ULL * 1024 * 1024 * 1024);
	assert_int_equal(config.message_size, 1048576);
	assert_int_equal(config.pad, CONFIG_PAD_NONE);
	assert_int_equal(config.tls_member_minimum, CONFIG_TLS_1_2);
	assert_int_equal(config.tls_outbound, CONFIG_OUTBOUND_PREFER);
	assert_string_equal(config.smarthost, "2001:db8::25");
	assert_int_equal(config.smarthost_port, 2525);
	assert_int_equal(config.resolver_stub_count, 2);
	assert_string_equal(config.resolver_stub[0].zone, ".");
	assert_int_equal(config.resolver_stub[0].port, 5353);
	assert_string_equal(config.resolver_stub[1].zone, "example.net");
	assert_int_equal(config.resolver_stub[1].port, 53);
	assert_string_equal(config.resolver_forward_tls[0].tls_name, "dns.example.net");
	assert_int_equal(config.resolver_forward_tls[0].port, 8853);
	assert_string_equal(config.smarthost_password_file, "/etc/cohue/pass word");
}

static void
mistakes_are_told_with_line_and_remedy(void **state)
{
	static const struct {
		const char *file;
		const char *told;
	} cases[] = {
	    {"domain = a.org\nport_offest = 3\n",
	     "cohue.conf:2: port_offest is not a key of this file. Remedy: did you mean port_offset."},
	    {"quota = 1 GiB",
	     "cohue.conf:1: quota is not a key of this file. Remedy: did you mean limits.quota."},
	    {"something.quite.different = 1", "cohue.conf:1: something.quite.different is not a key of this "
					      "file. Remedy: remove the line; cohue.conf(5) lists all keys."},
	    {"\n\ndomain",
	     "cohue.conf:3: \"domain\" has no =. Remedy: write it as KEY = VALUE, or put # before a "
	     "comment."},
	    {"domain = a.org\n#\ndomain = b.org",
	     "cohue.conf:3: domain is set twice. Remedy: remove this line or line 1."},
	    {"domain = exa_mple.org",
	     "cohue.conf:1: domain: \"exa_mple.org\" is not a domain name. Remedy: write "
	     "it like example.org, without a final dot."},
	    {"domain = caf\xc3\xa9.org",
	     "cohue.conf:1: domain: \"caf??.org\" is not a domain name. Remedy: write "
	     "it in its ASCII form, which begins with xn--."},
	    {"port_offset = 70000",
	     "cohue.conf:1: port_offset: \"70000\" is out of range. Remedy: give a number "
	     "from 0 to 64000."},
	    {"leave.mean = 15",
	     "cohue.conf:1: leave.mean: \"15\" is not a duration. Remedy: write a whole number "
	     "and s, m, h or d, like 15 m."},
	    {"leave.mean = 0 s",
	     "cohue.conf:1: leave.mean: \"0 s\" is out of range. Remedy: give a value from 1 s to 1 d."},
	    {"limits.message_size = 5 MB",
	     "cohue.conf:1: limits.message_size: \"5 MB\" is not a size. Remedy: "
	     "write a whole number and KiB, MiB or GiB, like 35 MiB."},
	    {"limits.message_size = 1 KiB", "cohue.conf:1: limits.message_size: \"1 KiB\" is out of range. "
					    "Remedy: give a value from 64 KiB to 1 GiB."},
	    {"leave.law = mob",
	     "cohue.conf:1: leave.law: \"mob\" is not a law of the waiting room. Remedy: write "
	     "crowd or exponential, or none for benchmarks."},
	    {"tls.outbound = maybe",
	     "cohue.conf:1: tls.outbound: \"maybe\" is not one of the choices. Remedy: "
	     "write require or prefer."},
	    {"tls.mx_key = key.pem",
	     "cohue.conf:1: tls.mx_key: \"key.pem\" is not an absolute path. Remedy: begin it with /."},
	    {"listen = 192.0.2.1:25",
	     "cohue.conf:1: listen: \"192.0.2.1:25\" has an entry that is not a numeric "
	     "address. Remedy: write addresses like 192.0.2.1 or 2001:db8::1, separated "
	     "by blanks, no ports."},
	    {"smarthost = smtp.example.net:0",
	     "cohue.conf:1: smarthost: \"smtp.example.net:0\" is not a host and "
	     "port. Remedy: write it like smtp.example.net:587."},
	    {"\xff", "cohue.conf: the file is not UTF-8 text. Remedy: save it as UTF-8."},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(load(cases[i].file), cases[i].told);
		/* All or nothing. */
		struct config untouched;
		config_defaults(&untouched);
		assert_memory_equal(&untouched, &config, sizeof(config));
	}
}

static void
what_does_not_fit_together_is_told(void **state)
{
	static const char *const cases[][2] = {
	    {"tls.mx_key = /k",
	     "cohue.conf: of tls.mx_certificate and tls.mx_key only one is set. Remedy: set both, "
	     "or none."},
	    {"smarthost.user = u\nsmarthost.password_file = /p",
	     "cohue.conf: smarthost.user is set without smarthost. Remedy: name the smarthost, or remove its "
	     "user."},
	    {"retry.warn = 6 d", "cohue.conf: retry.warn is not before retry.give_up. Remedy: set retry.warn "
				 "lower, like 1 d, or retry.give_up higher."},
	    {"limits.quota = 1 MiB",
	     "cohue.conf: limits.quota is below limits.message_size. Remedy: a member must "
	     "have room for one message: set limits.quota higher, or 0 for none."},
	    {"leave.deadline = 1 m",
	     "cohue.conf: leave.deadline is shorter than leave.clock. Remedy: a message "
	     "waits up to one period: set leave.deadline higher."},
	    {"leave.patient = 1 m",
	     "cohue.conf: leave.patient is shorter than leave.clock. Remedy: the patient lane has a "
	     "longer period than the others: set leave.patient higher."},
	    {"resolver.forward = 192.0.2.1\nresolver.forward_tls = 192.0.2.1#a.b",
	     "cohue.conf: resolver.forward and resolver.forward_tls are both set. Remedy: keep one of them: "
	     "a "
	     "question is sent either in clear or over TLS."},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_string_equal(check(cases[i][0]), cases[i][1]);
	}
	assert_string_equal(check("limits.quota = 0"), "");
	assert_string_equal(load(""), "");
	assert_int_equal(config_check(&config, "cohue.conf", &error), ERR_FORMAT);
	assert_string_equal(error.text, "cohue.conf: domain is not set. Remedy: add a line like: domain = "
					"example.org.");
}

static void
set_overrides_the_file(void **state)
{
	(void)state;
	assert_string_equal(load("leave.law = exponential"), "");
	assert_int_equal(config_set(&config, BYTES_LIT("leave.law=none"), &error), ERR_OK);
	assert_int_equal(config.leave.kind, LAW_NONE);
	assert_int_equal(config_set(&config, BYTES_LIT("leave.lav=none"), &error), ERR_FORMAT);
	assert_string_equal(error.text, "--set: leave.lav is not a key of this file. Remedy: did you mean "
					"leave.law.");
	assert_int_equal(config_set(&config, BYTES_LIT("leave.law"), &error), ERR_FORMAT);
	struct buf b = BUF_INIT(100);
	assert_int_equal(config_get(&config, "limits.quota", &b), ERR_OK);
	assert_true(bytes_is(buf_bytes(&b), "5 GiB"));
	assert_int_equal(config_get(&config, "quota", &b), ERR_NOT_FOUND);
	buf_clear(&b);
}

static void
the_template_is_a_valid_file_that_sets_only_what_was_given(void **state)
{
	struct buf b = BUF_INIT(CONFIG_FILE_MAX);
	(void)state;
	assert_int_equal(
	    config_write_template(&b, "example.org", "mail.example.org", "/etc/cohue/house.key", 10000),
	    ERR_OK);
	config_defaults(&config);
	assert_int_equal(config_load(&config, buf_bytes(&b), "template", &error), ERR_OK);
	assert_int_equal(config_check(&config, "template", &error), ERR_OK);
	struct config expected;
	config_defaults(&expected);
	(void)snprintf(expected.domain, sizeof(expected.domain), "example.org");
	(void)snprintf(expected.hostname, sizeof(expected.hostname), "mail.example.org");
	(void)snprintf(expected.house_key, sizeof(expected.house_key), "/etc/cohue/house.key");
	expected.port_offset = 10000;
	assert_memory_equal(&expected, &config, sizeof(config));
	/* Each default, taken out of its comment, is valid as well. */
	struct bytes rest = buf_bytes(&b);
	size_t keys = 0;
	while (rest.len > 0) {
		size_t n = (size_t)bytes_find(rest, '\n');
		struct bytes line = bytes_slice(rest, 0, n);
		assert_true(line.len <= 110);
		if (line.len > 1 && line.ptr[0] == '#' && line.ptr[1] != ' ') {
			assert_int_equal(config_set(&config, bytes_from(line, 1), &error), ERR_OK);
			keys++;
		}
		rest = bytes_from(rest, n + 1);
	}
	assert_true(keys > 30);
	assert_memory_equal(&expected, &config, sizeof(config));
	buf_clear(&b);
}

static void
the_roles_get_what_was_read(void **state)
{
	struct buf b = BUF_INIT(CONFIG_ENCODED_MAX);
	struct config back;
	(void)state;
	assert_string_equal(
	    check("smarthost=[2001:db8::1]:26\nresolver.stub=a.b=192.0.2.1@5353 ::1\n"
		  "resolver.forward_tls=192.0.2.1#d.e\nleave.mean = 61 s\nlisten=::1\n"
		  "resolver.trust_anchor=example. IN DS 1 13 2 00ff # root\ntls.outbound=prefer\n"
		  "limits.quota=36700161"),
	    "");
	assert_string_equal(config.resolver_trust_anchor, "example. IN DS 1 13 2 00ff");
	memset(&back, 1, sizeof(back));
	assert_int_equal(config_encode(&config, &b), ERR_OK);
	assert_int_equal(config_decode(buf_bytes(&b), &back), ERR_OK);
	assert_memory_equal(&config, &back, sizeof(back));
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(config_decode(bytes_slice(buf_bytes(&b), 0, n), &back), ERR_FORMAT);
	}
	b.ptr[0] = 2;
	assert_int_equal(config_decode(buf_bytes(&b), &back), ERR_UNSUPPORTED);
	buf_clear(&b);
}

static void
the_manual_page_names_each_key(void **state)
{
	struct buf b = BUF_INIT(CONFIG_FILE_MAX);
	(void)state;
	assert_int_equal(config_describe(&b), ERR_OK);
	assert_true(bytes_search(buf_bytes(&b), BYTES_LIT(".TP\n.B leave.mean\nMean wait of the exponential "
							  "law.\nDefault: 15 m.\n")) >= 0);
	assert_true(bytes_search(buf_bytes(&b), BYTES_LIT(".SS DNS\n.TP\n.B resolver.trust_anchor\n")) >= 0);
	buf_clear(&b);
}

static void
a_file_that_is_too_large_is_refused(void **state)
{
	static char text[CONFIG_FILE_MAX + 2];
	(void)state;
	memset(text, '\n', sizeof(text) - 1);
	assert_string_equal(load(text),
			    "cohue.conf: the file is larger than 64 KiB. Remedy: is this the right file? "
			    "A config is small.");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_defaults_are_valid_and_as_documented),
	    cmocka_unit_test(a_file_sets_what_it_names),
	    cmocka_unit_test(mistakes_are_told_with_line_and_remedy),
	    cmocka_unit_test(what_does_not_fit_together_is_told),
	    cmocka_unit_test(set_overrides_the_file),
	    cmocka_unit_test(the_template_is_a_valid_file_that_sets_only_what_was_given),
	    cmocka_unit_test(the_roles_get_what_was_read),
	    cmocka_unit_test(the_manual_page_names_each_key),
	    cmocka_unit_test(a_file_that_is_too_large_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
