/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/privacy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define OURS "<0123456789abcdef0123456789abcdef@house.example>"

static enum err
map_old(void *arg, struct bytes id, struct buf *out)
{
	(void)arg;
	return bytes_is(id, "<old@pc.lan>") ? buf_append_str(out, "<new@house.example>") : ERR_OK;
}

static struct mail_privacy
standard(void)
{
	return (struct mail_privacy){.id = BYTES_LIT(OURS),
				     .map = map_old,
				     .now = 1700000000, /* Tue, 14 Nov 2023 22:13:20 UTC */
				     .seed = {0xab, 0xcd}};
}

static void
expect(const char *message, const struct mail_privacy *p, const char *leaving)
{
	struct buf out = BUF_INIT(1 << 20);
	assert_int_equal(mail_privacy_leave(bytes_str(message), p, &out), ERR_OK);
	assert_int_equal(buf_append_byte(&out, 0), ERR_OK);
	assert_string_equal((const char *)out.ptr, leaving);
	buf_clear(&out);
}

static void
test_programs_machines_and_hidden_recipients_do_not_leave(void **state)
{
	const struct mail_privacy p = standard();
	(void)state;
	expect(
	    "Received: from pc.lan ([192.0.2.1]) by x;\r\n Tue, 14 Nov 2023 23:00:00 +0100\r\n"
	    "From: a@house.example\r\nBcc: secret@c,\r\n more@c\r\nuser-agent: Mail 1\r\nX-Mailer: M\r\n"
	    "X-Originating-IP: [192.0.2.1]\r\nReturn-Path: <a@b>\r\nbcc : again@c\r\nX-Mozilla-Draft-Info: "
	    "x\r\n"
	    "X-Priority: 1\r\nImportance: high\r\nX-Enigmail-Version: 2\r\nX-Forwarded-Message-Id: <z@z>\r\n"
	    "DKIM-Signature: v=1; t=1700000000\r\nThread-Index: AdG\r\nContent-Language: de-AT\r\n"
	    "MIME-Version: 1.0 (Mac OS X Mail 16.0)\r\nSubject: Bcc: x\r\nX-Face: =\r\nAutocrypt: addr=a\r\n"
	    "Content-Type: text/plain; charset=utf-8; format=flowed\r\n\r\nUser-Agent: in the body\r\n",
	    &p,
	    "Message-ID: " OURS "\r\nFrom: a@house.example\r\nMIME-Version: 1.0\r\nSubject: Bcc: x\r\n"
	    "X-Face: =\r\nAutocrypt: addr=a\r\n"
	    "Content-Type: text/plain; charset=utf-8; format=flowed\r\n\r\nUser-Agent: in the body\r\n");
}

static void
test_the_identifier_is_replaced_and_what_refers_to_older_ones_is_too(void **state)
{
	const struct mail_privacy p = standard();
	(void)state;
	expect("From: a@b\r\nMessage-ID: <20231114231320.GA1@pc.lan>\r\nMESSAGE-ID: <again@pc.lan>\r\n"
	       "In-Reply-To: <old@pc.lan>\r\n"
	       "References: <their@c.example>\r\n <old\r\n @pc.lan>\t<other@d.example>\r\n\r\nx\r\n",
	       &p,
	       "From: a@b\r\nMessage-ID: " OURS "\r\nIn-Reply-To: <new@house.example>\r\n"
	       "References: <their@c.example>\r\n <new@house.example>\t<other@d.example>\r\n\r\nx\r\n");
}

static void
test_the_authors_copy_differs_in_identifiers_alone(void **state)
{
	const struct mail_privacy p = standard();
	struct buf out = BUF_INIT(4096);
	(void)state;
	assert_int_equal(
	    mail_privacy_keep(
		BYTES_LIT("Date: Tue, 14 Nov 2023 23:13:20 +0100\r\nUser-Agent: Mail 1\r\n"
			  "Message-ID: <x@pc.lan>\r\nReferences: <old@pc.lan>\r\n"
			  "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"),
		&p, &out),
	    ERR_OK);
	assert_true(bytes_is(buf_bytes(&out),
			     "Date: Tue, 14 Nov 2023 23:13:20 +0100\r\nUser-Agent: Mail 1\r\n"
			     "Message-ID: " OURS "\r\nReferences: <new@house.example>\r\n"
			     "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"));
	buf_clear(&out);
}

static void
test_a_date_goes_or_is_kept_in_utc_where_it_is_near(void **state)
{
	struct mail_privacy p = standard();
	(void)state;
	expect("Message-ID: <x@y>\r\nDate: Tue, 14 Nov 2023 23:13:20 +0100 (CET)\r\n\r\n", &p,
	       "Message-ID: " OURS "\r\n\r\n");
	p.date = MAIL_DATE_KEEP;
	expect("Message-ID: <x@y>\r\nDate: Tue, 14 Nov 2023 23:13:00 +0100 (CET)\r\n\r\n", &p,
	       "Message-ID: " OURS "\r\nDate: Tue, 14 Nov 2023 22:13:00 +0000\r\n\r\n");
	expect("Message-ID: <x@y>\r\nDate: Sat, 11 Nov 2023 22:13:20 +0000\r\n\r\n", &p,
	       "Message-ID: " OURS "\r\n\r\n");
	assert_true(mail_privacy_date_is_odd(BYTES_LIT("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\n"),
					     p.now + MAIL_PRIVACY_ODD_DATE));
	assert_false(mail_privacy_date_is_odd(BYTES_LIT("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\n"),
					      p.now + MAIL_PRIVACY_ODD_DATE - 1));
}

static void
test_missing_dates_are_those_of_the_release(void **state)
{
	struct buf out = BUF_INIT(4096);
	(void)state;
	assert_int_equal(
	    mail_privacy_put_dates(BYTES_LIT("From: a\r\n\r\n"), MAIL_DATE_RELEASE, 1700000000, &out),
	    ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
	buf_clear(&out);
	assert_int_equal(
	    mail_privacy_put_dates(BYTES_LIT("From: a\r\n\r\n"), MAIL_DATE_DAY, 1700000000, &out), ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "Date: Tue, 14 Nov 2023 00:00:00 +0000\r\n"));
	buf_clear(&out);
	assert_int_equal(mail_privacy_put_dates(BYTES_LIT("Resent-From: a\r\nDate: yesterday\r\n\r\n"),
						MAIL_DATE_RELEASE, 1700000000, &out),
			 ERR_OK);
	assert_true(bytes_is(buf_bytes(&out), "Resent-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
	buf_clear(&out);
}

/* Programs that hide a boundary's name hide nothing behind it. */
static void
test_odd_boundaries_hide_no_part(void **state)
{
	static const char *const types[] = {
	    "multipart/mixed;\r\n\tboundary*0=\"Mo\";\r\n\tboundary*1=\"n_1\"",
	    "multipart/mixed; boundary*=us-ascii''Mon_1", "multipart/mixed; boundary=Mon_1 (by pc.lan)"};
	const struct mail_privacy p = standard();
	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct buf in = BUF_INIT(4096);
		struct buf out = BUF_INIT(4096);
		assert_int_equal(
		    buf_printf(
			&in,
			"Message-ID: <x@y>\r\nContent-Type: %s\r\n\r\ngreetings from pc.lan\r\n--Mon_1\r\n"
			"Content-Type: text/plain\r\nX-Mailer: pc.lan\r\nDate: pc.lan\r\n"
			"Content-Location: file:///home/pc.lan/x\r\n\r\nhi\r\n--Mon_1--\r\nfarewell from "
			"pc.lan\r\n",
			types[i]),
		    ERR_OK);
		assert_int_equal(mail_privacy_leave(buf_bytes(&in), &p, &out), ERR_OK);
		if (bytes_search(buf_bytes(&out), BYTES_LIT("pc.lan")) >= 0 ||
		    bytes_search(buf_bytes(&out), BYTES_LIT("Mon")) >= 0 ||
		    bytes_search(buf_bytes(&out),
				 BYTES_LIT("\r\nhi\r\n--_abcd0000000000000000000000000000_0000--\r\n")) < 0) {
			fail_msg("%s: %.*s", types[i], (int)out.len, (const char *)out.ptr);
		}
		buf_clear(&in);
		buf_clear(&out);
	}
}

static void
test_words_between_identifiers_do_not_leave(void **state)
{
	const struct mail_privacy p = standard();
	(void)state;
	expect("Message-ID: <x@y>\r\nIn-Reply-To: \"Bob on pc.lan\" <a@b>\r\nReferences: <a@b>\r\n <c@d> (on "
	       "pc.lan)\r\n\r\nx\r\n",
	       &p,
	       "Message-ID: " OURS "\r\nIn-Reply-To:    <a@b>\r\nReferences: <a@b>\r\n <c@d>  \r\n\r\nx\r\n");
}

static void
test_boundaries_are_made_anew_in_all_layers_without_signature(void **state)
{
	const struct mail_privacy p = standard();
	(void)state;
	expect(
	    "Message-ID: <x@y>\r\nContent-Type: multipart/mixed;\r\n boundary=\"----=_NextPart_000_01DA17\"; "
	    "x=y\r\n\r\n"
	    "preamble\r\n------=_NextPart_000_01DA17\r\nContent-Type: multipart/alternative; "
	    "boundary=Apple-Mail=_1\r\n\r\n"
	    "--Apple-Mail=_1\r\nContent-Type: text/plain\r\n\r\n--Apple-Mail=_12\r\n--Apple-Mail=_1--\r\n"
	    "------=_NextPart_000_01DA17  \r\nContent-Disposition: attachment; filename=x;\r\n"
	    " modification-date=\"Tue, 14 Nov 2023 23:00:00 +0100\"; size=3\r\nX-Mozilla-Keys: x\r\n\r\ny\r\n"
	    "------=_NextPart_000_01DA17--\r\nepilogue\r\n",
	    &p,
	    "Message-ID: " OURS "\r\nContent-Type: multipart/mixed;\r\n "
	    "boundary=\"_abcd0000000000000000000000000000_0000\"; x=y\r\n\r\n"
	    "--_abcd0000000000000000000000000000_0000\r\nContent-Type: multipart/alternative; "
	    "boundary=_abcd0000000000000000000000000000_0001\r\n\r\n"
	    "--_abcd0000000000000000000000000000_0001\r\nContent-Type: "
	    "text/plain\r\n\r\n--Apple-Mail=_12\r\n"
	    "--_abcd0000000000000000000000000000_0001--\r\n"
	    "--_abcd0000000000000000000000000000_0000  \r\nContent-Disposition: attachment; filename=x; "
	    "size=3\r\n\r\ny\r\n"
	    "--_abcd0000000000000000000000000000_0000--\r\n");
}

#define SIGNED_PART                                                                                          \
	"Content-Type: multipart/mixed; boundary=\"inner_1700000000\"\r\nX-Mailer: protected\r\n\r\n"        \
	"--inner_1700000000\r\nContent-Type: text/plain\r\n\r\nsigned \r\n--inner_1700000000--\r\n"

static void
test_what_is_signed_keeps_every_octet(void **state)
{
	const struct mail_privacy p = standard();
	(void)state;
	expect(
	    "Message-ID: <x@y>\r\nContent-Type: multipart/signed; boundary=outer_17; micalg=pgp-sha256;\r\n"
	    " protocol=\"application/pgp-signature\"\r\n\r\n--outer_17\r\n" SIGNED_PART
	    "\r\n--outer_17\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--outer_17--\r\n",
	    &p,
	    "Message-ID: " OURS "\r\nContent-Type: multipart/signed; "
	    "boundary=_abcd0000000000000000000000000000_0000; micalg=pgp-sha256;\r\n"
	    " protocol=\"application/"
	    "pgp-signature\"\r\n\r\n--_abcd0000000000000000000000000000_0000\r\n" SIGNED_PART
	    "\r\n--_abcd0000000000000000000000000000_0000\r\nContent-Type: "
	    "application/pgp-signature\r\n\r\nsig\r\n"
	    "--_abcd0000000000000000000000000000_0000--\r\n");
}

static void
test_a_content_id_goes_where_nothing_can_refer_to_it(void **state)
{
	const struct mail_privacy p = standard();
	(void)state;
	expect("Message-ID: <x@y>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	       "--b\r\nContent-ID: <20231114.x%a@pc>\r\n\r\nx\r\n--b--\r\n",
	       &p,
	       "Message-ID: " OURS "\r\nContent-Type: multipart/mixed; "
	       "boundary=_abcd0000000000000000000000000000_0000\r\n\r\n"
	       "--_abcd0000000000000000000000000000_0000\r\n\r\nx\r\n--_abcd0000000000000000000000000000_"
	       "0000--\r\n");
	expect("Message-ID: <x@y>\r\nContent-Type: multipart/related; boundary=\"b\\c\"\r\n\r\n"
	       "--bc\r\nContent-ID: <1@pc>\r\nContent-Type: text/html\r\n\r\nx\r\n--bc--\r\n",
	       &p,
	       "Message-ID: " OURS "\r\nContent-Type: multipart/related; boundary=\"b\\c\"\r\n\r\n"
	       "--bc\r\nContent-ID: <1@pc>\r\nContent-Type: text/html\r\n\r\nx\r\n--bc--\r\n");
}

static void
test_a_message_within_keeps_every_octet(void **state)
{
	const struct mail_privacy p = standard();
	static const char text[] =
	    "Message-ID: " OURS "\r\nContent-Type: message/rfc822\r\n\r\n"
	    "Received: from x\r\nUser-Agent: y\r\nDate: Tue, 14 Nov 2023 23:00:00 +0100\r\n"
	    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n";
	(void)state;
	expect(text, &p, text);
}

static void
test_a_message_sent_again_tells_its_time_but_neither_zone_nor_way(void **state)
{
	const struct mail_privacy p = standard();
	(void)state;
	expect("Resent-From: me@house.example\r\nResent-Date: Tue, 14 Nov 2023 23:00:00 +0100\r\n"
	       "Resent-Message-ID: <1@pc.lan>\r\nResent-Bcc: x@y\r\nResent-User-Agent: Claws\r\n"
	       "Received: from a\r\nFrom: me@house.example\r\nUser-Agent: x\r\n"
	       "Date: Tue, 14 Nov 2000 20:00:00 +0100\r\nMessage-ID: <old@pc.lan>\r\n\r\n",
	       &p,
	       "Resent-From: me@house.example\r\nResent-Message-ID: " OURS "\r\nFrom: me@house.example\r\n"
	       "Date: Tue, 14 Nov 2000 19:00:00 +0000\r\nMessage-ID: <new@house.example>\r\n\r\n");
}

static void
test_signed_and_encrypted_mail_is_known(void **state)
{
	static const struct {
		const char *text;
		bool is_signed;
	} all[] = {
	    {"Message-ID: <a@b>\r\nContent-Type: multipart/signed; "
	     "boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
	     true},
	    {"Message-ID: <a@b>\r\nContent-Type: multipart/encrypted; "
	     "boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
	     true},
	    {"Message-ID: <a@b>\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nx",
	     true},
	    {"Message-ID: <a@b>\r\nContent-Type: text/plain\r\n\r\nx", false},
	    {"Message-ID: <a@b>\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: "
	     "application/pkcs7-mime\r\n\r\nx",
	     false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct arena arena;
		struct mail_privacy_look look;
		arena_init(&arena, MAIL_PRIVACY_ID_MAX * 1024);
		assert_int_equal(mail_privacy_look(&arena, bytes_str(all[i].text), &look), ERR_OK);
		assert_int_equal(look.is_signed, all[i].is_signed);
		assert_true(bytes_is(look.id, "<a@b>"));
		arena_clear(&arena);
	}
}

static void
test_only_random_identifiers_under_our_domain_are_opaque(void **state)
{
	static const struct {
		const char *id;
		bool opaque;
	} all[] = {
	    {"<f81d4fae-7dec-41d0-a765-00a0c91e6bf6@house.example>", true},
	    {"<F81D4FAE-7DEC-41D0-A765-00A0C91E6BF6@HOUSE.example>", true},
	    {"<0123456789abcdef0123456789abcdef@house.example>", true},
	    {"<f81d4fae-7dec-11d0-a765-00a0c91e6bf6@house.example>", false}, /* a time and a MAC address */
	    {"<f81d4fae7dec11d0a76500a0c91e6bf6@house.example>", false},
	    {"<0192a5b3-7dec-7000-a765-00a0c91e6bf6@house.example>", false}, /* a time */
	    {"<f81d4fae-7dec-41d0-a765-00a0c91e6bf6@pc.house.example>", false},
	    {"<f81d4fae-7dec-41d0-a765-00a0c91e6bf6@other.example>", false},
	    {"<20231114231320.GA1234@house.example>", false},
	    {"<ZUhGHcZp3qFcPKtW@house.example>", false}, /* begins with a time in base64 */
	    {"<@house.example>", false},
	    {"<house.example>", false},
	    {"", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (mail_id_is_opaque(bytes_str(all[i].id), BYTES_LIT("house.example")) != all[i].opaque) {
			fail_msg("%s", all[i].id);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_programs_machines_and_hidden_recipients_do_not_leave),
	    cmocka_unit_test(test_the_identifier_is_replaced_and_what_refers_to_older_ones_is_too),
	    cmocka_unit_test(test_the_authors_copy_differs_in_identifiers_alone),
	    cmocka_unit_test(test_a_date_goes_or_is_kept_in_utc_where_it_is_near),
	    cmocka_unit_test(test_missing_dates_are_those_of_the_release),
	    cmocka_unit_test(test_odd_boundaries_hide_no_part),
	    cmocka_unit_test(test_words_between_identifiers_do_not_leave),
	    cmocka_unit_test(test_boundaries_are_made_anew_in_all_layers_without_signature),
	    cmocka_unit_test(test_what_is_signed_keeps_every_octet),
	    cmocka_unit_test(test_a_content_id_goes_where_nothing_can_refer_to_it),
	    cmocka_unit_test(test_a_message_within_keeps_every_octet),
	    cmocka_unit_test(test_a_message_sent_again_tells_its_time_but_neither_zone_nor_way),
	    cmocka_unit_test(test_signed_and_encrypted_mail_is_known),
	    cmocka_unit_test(test_only_random_identifiers_under_our_domain_are_opaque),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
