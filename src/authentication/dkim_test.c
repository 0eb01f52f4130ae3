/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/dkim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "authentication/play.h"
#include "authentication/signature.h"

#define FIELDS                                                                                               \
	"From: Joe SixPack <joe@football.example.com>\r\n"                                                   \
	"To: Suzie Q <suzie@shopping.example.net>\r\n"                                                       \
	"Subject: Is dinner ready?\r\n"                                                                      \
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"                                                    \
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"
#define BODY "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"

struct judged {
	struct arena arena;
	struct dkim_verdicts verdicts;
};

static void
judge(struct judged *j, struct play *p, struct bytes message, int64_t now)
{
	struct authentication_dns dns = play_dns(p);
	arena_init(&j->arena, 8 << 20);
	assert_int_equal(dkim_verify(&j->arena, message, BYTES_EMPTY, now, &dns, &j->verdicts), ERR_OK);
}

static enum authentication_result
result_of(struct play *p, struct bytes message)
{
	struct judged j;
	judge(&j, p, message, 0);
	enum authentication_result r =
	    j.verdicts.count == 0 ? AUTHENTICATION_NONE : j.verdicts.list[0].result;
	arena_clear(&j.arena);
	return r;
}

/* RFC 8463 appendix A.3. */
static void
the_published_example_verifies(void **state)
{
	(void)state;
	static const char message[] = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
				      " d=football.example.com; i=@football.example.com;\r\n"
				      " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
				      " subject : date : message-id : from : subject : date;\r\n"
				      " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
				      " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
				      " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n" FIELDS BODY;
	struct play p;
	struct judged j;
	play_init(&p);
	play_add(&p, "brisbane._domainkey.football.example.com",
		 BYTES_LIT("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="));
	judge(&j, &p, BYTES_LIT(message), 1528637910);
	assert_int_equal(j.verdicts.count, 1);
	assert_int_equal(j.verdicts.list[0].result, AUTHENTICATION_PASS);
	assert_true(bytes_is(j.verdicts.list[0].domain, "football.example.com"));
	assert_true(bytes_is(j.verdicts.list[0].signature, "/gCrinpc"));
	arena_clear(&j.arena);
	play_clear(&p);
}

static void
sign_into(struct buf *out, struct bytes message, struct dkim_signer signer)
{
	assert_int_equal(dkim_sign(message, &signer, 1, out), ERR_OK);
	assert_int_equal(buf_append(out, message), ERR_OK);
}

static void
our_signatures_verify_and_break(void **state)
{
	(void)state;
	static const enum dkim_algorithm both[] = {DKIM_RSA_SHA256, DKIM_ED25519_SHA256};
	for (size_t i = 0; i < 2; i++) {
		struct play p;
		struct buf out = BUF_INIT(1 << 20);
		play_init(&p);
		play_add(&p, "s1._domainkey.example.org", play_record(both[i]));
		sign_into(&out, BYTES_LIT(FIELDS BODY), play_signer(both[i], "example.org", "s1"));
		assert_int_equal(result_of(&p, buf_bytes(&out)), AUTHENTICATION_PASS);
		assert_true(bytes_search(buf_bytes(&out), BYTES_LIT(" t=")) < 0);
		/* Any octet of the body's words. */
		size_t at = (size_t)bytes_search(buf_bytes(&out), BYTES_LIT("hungry"));
		out.ptr[at] = 'H';
		assert_int_equal(result_of(&p, buf_bytes(&out)), AUTHENTICATION_FAIL);
		out.ptr[at] = 'h';
		at = (size_t)bytes_search(buf_bytes(&out), BYTES_LIT("dinner"));
		out.ptr[at] = 'D';
		assert_int_equal(result_of(&p, buf_bytes(&out)), AUTHENTICATION_FAIL);
		out.ptr[at] = 'd';
		p.failure = ERR_TIMEOUT;
		assert_int_equal(result_of(&p, buf_bytes(&out)), AUTHENTICATION_TEMPERROR);
		buf_clear(&out);
		play_clear(&p);
	}
}

/* Whoever adds a second From, above or below, breaks the signature. */
static void
a_field_that_is_added_breaks_it(void **state)
{
	(void)state;
	static const char *const added[] = {"From: evil@example.net\r\n", "Subject: Pay now\r\n",
					    "To: other@example.net\r\n", "Reply-To: evil@example.net\r\n",
					    "Content-Type: text/html\r\n"};
	struct play p;
	struct buf out = BUF_INIT(1 << 20);
	play_init(&p);
	play_add(&p, "s1._domainkey.example.org", play_record(DKIM_ED25519_SHA256));
	sign_into(&out, BYTES_LIT(FIELDS BODY), play_signer(DKIM_ED25519_SHA256, "example.org", "s1"));
	for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++) {
		for (int below = 0; below < 2; below++) {
			struct buf forged = BUF_INIT(1 << 20);
			struct bytes whole = buf_bytes(&out);
			size_t at = below == 0 ? 0 : (size_t)bytes_search(whole, BYTES_LIT("\r\n\r\n")) + 2;
			assert_int_equal(buf_append(&forged, bytes_slice(whole, 0, at)), ERR_OK);
			assert_int_equal(buf_append_str(&forged, added[i]), ERR_OK);
			assert_int_equal(buf_append(&forged, bytes_from(whole, at)), ERR_OK);
			assert_int_equal(result_of(&p, buf_bytes(&forged)), AUTHENTICATION_FAIL);
			buf_clear(&forged);
		}
	}
	buf_clear(&out);
	play_clear(&p);
}

/* `names` is the h=; the message is signed as it stands in `fields`, and `added` put on top of it. */
static struct buf
signed_with(const char *names, const char *fields, const char *added)
{
	struct buf out = BUF_INIT(1 << 20);
	struct buf tags = BUF_INIT(4096);
	struct bytes list = bytes_str(names);
	struct bytes name;
	struct canon c;
	uint8_t digest[CANON_DIGEST_LEN];
	struct dkim_signer signer = play_signer(DKIM_ED25519_SHA256, "example.org", "s1");
	assert_int_equal(canon_begin(&c, CANON_NO_LIMIT), ERR_OK);
	canon_body(&c, BYTES_LIT(BODY), true);
	assert_int_equal(canon_end(&c, digest), ERR_OK);
	assert_int_equal(canon_begin(&c, CANON_NO_LIMIT), ERR_OK);
	while (tags_item(&list, ':', &name)) {
		struct mail_fields it;
		struct mail_field f;
		struct mail_field found = {.offset = 0};
		size_t skip = 0;
		struct bytes before =
		    bytes_slice(bytes_str(names), 0, (size_t)(name.ptr - (const uint8_t *)names));
		struct bytes other;
		while (tags_item(&before, ':', &other)) {
			skip += bytes_equal_nocase(other, name) ? 1 : 0;
		}
		size_t count = 0;
		for (mail_fields_init(&it, bytes_str(fields)); mail_fields_next(&it, &f);) {
			count += bytes_equal_nocase(f.name, name) ? 1 : 0;
		}
		for (mail_fields_init(&it, bytes_str(fields)); mail_fields_next(&it, &f);) {
			if (bytes_equal_nocase(f.name, name) && count-- == skip + 1) {
				found = f;
			}
		}
		if (found.whole.len > 0) {
			canon_field(&c, found.whole, true, true);
		}
	}
	assert_int_equal(
	    buf_printf(&tags,
		       "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s1; h=%s; bh=", names),
	    ERR_OK);
	assert_int_equal(buf_append_base64(&tags, bytes_of(digest, sizeof(digest))), ERR_OK);
	assert_int_equal(buf_append_str(&tags, ";"), ERR_OK);
	assert_int_equal(buf_append_str(&out, added), ERR_OK);
	assert_int_equal(signature_write("DKIM-Signature", buf_bytes(&tags), &c, &signer, &out), ERR_OK);
	assert_int_equal(buf_append_str(&out, fields), ERR_OK);
	assert_int_equal(buf_append_str(&out, "\r\n" BODY), ERR_OK);
	buf_clear(&tags);
	return out;
}

/* RFC 6376 section 8.15: the signature over the first Subject holds, and the reader is shown the second one. */
static void
what_may_stand_once_does_not_stand_beside_a_signed_one(void **state)
{
	(void)state;
	static const char one[] = "From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\nDate: now\r\n"
				  "Content-Type: text/plain\r\nReceived: x\r\nComments: x\r\n";
	static const char two[] = "From: a@example.org\r\nTo: b@example.net\r\nTo: c@example.net\r\n";
	static const struct {
		const char *names, *fields, *added;
		enum authentication_result result;
	} rows[] = {
	    {"from:to:subject:date:content-type", one, "", AUTHENTICATION_PASS},
	    {"from:to:subject:date:content-type", one, "Subject: EVIL\r\n", AUTHENTICATION_PERMERROR},
	    {"from:to:subject:date:content-type", one, "sUBJECT : EVIL\r\n", AUTHENTICATION_PERMERROR},
	    {"from:to:subject:date:content-type", one, "Content-Type: text/html\r\n",
	     AUTHENTICATION_PERMERROR},
	    {"from:to:subject:date:content-type", one, "To: c@example.net\r\n", AUTHENTICATION_PERMERROR},
	    {"from:to:subject:date:content-type", one, "Date: then\r\n", AUTHENTICATION_PERMERROR},
	    {"from:to:subject:date:content-type", one, "From: c@example.net\r\n", AUTHENTICATION_PERMERROR},
	    /* Two that are both new, and one that is. */
	    {"from:to:subject:date:content-type", one, "Sender: a@a\r\nSender: b@b\r\n",
	     AUTHENTICATION_PERMERROR},
	    {"from:to:subject:date:content-type", one, "Cc: c@example.net\r\n", AUTHENTICATION_PASS},
	    {"from:to:subject:date:content-type", one,
	     "Content-Disposition: inline\r\nContent-Disposition: attachment\r\n", AUTHENTICATION_PERMERROR},
	    /* What may stand often. */
	    {"from:to:subject:date:content-type:received:comments", one,
	     "Received: y\r\nComments: y\r\nX-A: b\r\nX-A: c\r\n", AUTHENTICATION_PASS},
	    /* Not signed at all: its signer's choice, once. */
	    {"from:to", one, "", AUTHENTICATION_PASS},
	    {"from:to", one, "Subject: EVIL\r\n", AUTHENTICATION_PERMERROR},
	    /* Named more often than it is there: it breaks in any case. */
	    {"from:from:to:subject:subject:date", one, "", AUTHENTICATION_PASS},
	    {"from:from:to:subject:subject:date", one, "Subject: EVIL\r\n", AUTHENTICATION_FAIL},
	    /* Whoever signed knew both. */
	    {"from:to:to", two, "", AUTHENTICATION_PASS},
	    {"from:to", two, "", AUTHENTICATION_PERMERROR},
	};
	struct play p;
	play_init(&p);
	play_add(&p, "s1._domainkey.example.org", play_record(DKIM_ED25519_SHA256));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf m = signed_with(rows[i].names, rows[i].fields, rows[i].added);
		enum authentication_result r = result_of(&p, buf_bytes(&m));
		if (r != rows[i].result) {
			fail_msg("row %zu: %s", i, authentication_result_name(r));
		}
		buf_clear(&m);
	}
	play_clear(&p);
}

struct bad {
	const char *tags;
	enum authentication_result result;
};

static void
what_is_wrong_with_a_signature_is_said(void **state)
{
	(void)state;
	static const char bh[] = "bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA";
	static const struct bad bad[] = {
	    {"v=2; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; ", AUTHENTICATION_PERMERROR},
	    {"a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; ", AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha1; d=example.org; s=s1; h=from; c=relaxed/relaxed; ", AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=org; s=s1; h=from; c=relaxed/relaxed; ", AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; h=from; c=relaxed/relaxed; ", AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=to:date; c=relaxed/relaxed; ",
	     AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/odd; ", AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/simple; ", AUTHENTICATION_FAIL},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; i=@example.net; ",
	     AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; i=x@notexample.org; ",
	     AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; x=5; ", AUTHENTICATION_FAIL},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; t=9; x=5; ",
	     AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; q=finger; ",
	     AUTHENTICATION_PERMERROR},
	    {"v=1; v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; ",
	     AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; l=100000; ",
	     AUTHENTICATION_PERMERROR},
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; l=x; ",
	     AUTHENTICATION_PERMERROR},
	    /* All is well but the signature itself. */
	    {"v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; ", AUTHENTICATION_FAIL},
	    {"v=1; a=rsa-sha256; d=example.org; s=gone; h=from; c=relaxed/relaxed; ",
	     AUTHENTICATION_PERMERROR},
	};
	struct play p;
	play_init(&p);
	play_add(&p, "s1._domainkey.example.org", play_record(DKIM_RSA_SHA256));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct judged j;
		struct buf m = BUF_INIT(1 << 16);
		assert_int_equal(buf_printf(&m, "DKIM-Signature: %s%s\r\n%s", bad[i].tags, bh, FIELDS BODY),
				 ERR_OK);
		judge(&j, &p, buf_bytes(&m), 1000);
		assert_int_equal(j.verdicts.count, 1);
		if (j.verdicts.list[0].result != bad[i].result || j.verdicts.list[0].why == NULL) {
			fail_msg("case %zu: %s", i, authentication_result_name(j.verdicts.list[0].result));
		}
		arena_clear(&j.arena);
		buf_clear(&m);
	}
	play_clear(&p);
}

/* Verifying under a key costs as its square: an owner's key of any length would be work for whoever gets his mail. */
static void
an_oversized_key_is_not_used(void **state)
{
	static const struct {
		size_t octets;
		const char *why; /* NULL: it is used, and the signature is wrong */
	} cases[] = {{256, NULL}, {512, NULL}, {513, "too long"}, {1024, "too long"}, {2048, "too long"}};
	static const char tags[] = "v=1; a=rsa-sha256; d=example.org; s=s1; h=from; c=relaxed/relaxed; "
				   "bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA";
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct play p;
		struct judged j;
		struct buf der = BUF_INIT(4096);
		struct buf record = BUF_INIT(8192);
		struct buf m = BUF_INIT(1 << 16);
		size_t n = cases[i].octets + 1;
		size_t all = 4 + n + 5;
		const uint8_t head[] = {0x30, 0x82, (uint8_t)(all >> 8), (uint8_t)all,
					0x02, 0x82, (uint8_t)(n >> 8),   (uint8_t)n,
					0x00};
		assert_int_equal(buf_append(&der, bytes_of(head, sizeof(head))), ERR_OK);
		for (size_t k = 0; k < cases[i].octets; k++) {
			assert_int_equal(buf_append_byte(&der, 0xc5), ERR_OK);
		}
		assert_int_equal(buf_append(&der, bytes_of("\x02\x03\x01\x00\x01", 5)), ERR_OK);
		assert_int_equal(buf_append_str(&record, "v=DKIM1; k=rsa; p="), ERR_OK);
		assert_int_equal(buf_append_base64(&record, buf_bytes(&der)), ERR_OK);
		play_init(&p);
		play_add(&p, "s1._domainkey.example.org", buf_bytes(&record));
		assert_int_equal(buf_printf(&m, "DKIM-Signature: %s\r\n%s", tags, FIELDS BODY), ERR_OK);
		judge(&j, &p, buf_bytes(&m), 1000);
		assert_int_equal(j.verdicts.count, 1);
		const struct dkim_verdict *v = &j.verdicts.list[0];
		assert_int_equal(v->result,
				 cases[i].why == NULL ? AUTHENTICATION_FAIL : AUTHENTICATION_PERMERROR);
		assert_true(cases[i].why == NULL ||
			    bytes_search(bytes_str(v->why), bytes_str(cases[i].why)) >= 0);
		arena_clear(&j.arena);
		play_clear(&p);
		buf_clear(&der);
		buf_clear(&record);
		buf_clear(&m);
	}
}

static void
key_records_are_judged(void **state)
{
	(void)state;
	static const struct bad bad[] = {
	    {"v=DKIM1; k=ed25519; p=%s", AUTHENTICATION_PASS},
	    {"k=ed25519; p=%s; x=unknown", AUTHENTICATION_PASS},
	    {"v=DKIM1; k=ed25519; s=email; h=sha1:sha256; t=y; p=%s", AUTHENTICATION_PASS},
	    {"v=DKIM1; k=ed25519; p=", AUTHENTICATION_PERMERROR},
	    {"v=DKIM1; k=rsa; p=%s", AUTHENTICATION_PERMERROR},
	    {"v=DKIM1; p=%s", AUTHENTICATION_PERMERROR},
	    {"v=DKIM2; k=ed25519; p=%s", AUTHENTICATION_PERMERROR},
	    {"k=ed25519; v=DKIM1; p=%s", AUTHENTICATION_PERMERROR},
	    {"v=DKIM1; k=ed25519; h=sha1; p=%s", AUTHENTICATION_PERMERROR},
	    {"v=DKIM1; k=ed25519; s=tlsrpt; p=%s", AUTHENTICATION_PERMERROR},
	    {"v=DKIM1; k=ed25519; p=AAAA%s", AUTHENTICATION_PERMERROR},
	    {"v=spf1 -all", AUTHENTICATION_PERMERROR},
	    {"v=DKIM1; k=ed25519", AUTHENTICATION_PERMERROR},
	};
	struct buf out = BUF_INIT(1 << 20);
	sign_into(&out, BYTES_LIT(FIELDS BODY), play_signer(DKIM_ED25519_SHA256, "example.org", "s1"));
	struct bytes record = play_record(DKIM_ED25519_SHA256);
	size_t key_at = (size_t)bytes_search(record, BYTES_LIT("p=")) + 2;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct play p;
		struct buf text = BUF_INIT(4096);
		struct bytes form = bytes_str(bad[i].tags);
		ptrdiff_t hole = bytes_search(form, BYTES_LIT("%s"));
		play_init(&p);
		assert_int_equal(buf_append(&text, hole < 0 ? form : bytes_slice(form, 0, (size_t)hole)),
				 ERR_OK);
		if (hole >= 0) {
			assert_int_equal(buf_append(&text, bytes_from(record, key_at)), ERR_OK);
			assert_int_equal(buf_append(&text, bytes_from(form, (size_t)hole + 2)), ERR_OK);
		}
		play_add(&p, "s1._domainkey.example.org", buf_bytes(&text));
		if (result_of(&p, buf_bytes(&out)) != bad[i].result) {
			fail_msg("record %zu", i);
		}
		buf_clear(&text);
		play_clear(&p);
	}
	buf_clear(&out);
}

/* What stands behind the signed length is anybody's: never "pass". */
static void
a_part_of_the_body_is_not_trusted(void **state)
{
	(void)state;
	struct play p;
	struct buf whole = BUF_INIT(1 << 20);
	struct buf field = BUF_INIT(1 << 16);
	struct dkim_signer signer = play_signer(DKIM_ED25519_SHA256, "example.org", "s1");
	play_init(&p);
	play_add(&p, "s1._domainkey.example.org", play_record(DKIM_ED25519_SHA256));
	/* Without l= nothing may be appended. */
	sign_into(&whole, BYTES_LIT(FIELDS BODY), signer);
	assert_int_equal(buf_append_str(&whole, "Buy!\r\n"), ERR_OK);
	assert_int_equal(result_of(&p, buf_bytes(&whole)), AUTHENTICATION_FAIL);
	assert_int_equal(p.questions, 0); /* nothing was asked: the body says it */
	buf_clear(&whole);
	buf_clear(&field);
	play_clear(&p);
}

static void
many_signatures_cost_a_bounded_number_of_questions(void **state)
{
	(void)state;
	struct play p;
	struct buf m = BUF_INIT(8 << 20);
	struct judged j;
	play_init(&p);
	for (size_t i = 0; i < 500; i++) {
		assert_int_equal(
		    buf_printf(&m,
			       "DKIM-Signature: v=1; a=rsa-sha256; d=d%zu.example; s=s; h=from; "
			       "c=relaxed/relaxed; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; "
			       "b=AAAA\r\n",
			       i),
		    ERR_OK);
	}
	assert_int_equal(buf_append_str(&m, FIELDS BODY), ERR_OK);
	judge(&j, &p, buf_bytes(&m), 0);
	assert_int_equal(j.verdicts.count, DKIM_SIGNATURES_MAX);
	assert_int_equal(p.questions, DKIM_QUESTIONS_MAX);
	arena_clear(&j.arena);
	/* Below all of them the author's own is found, and costs a question more at most. */
	struct buf signed_one = BUF_INIT(1 << 20);
	struct buf all = BUF_INIT(8 << 20);
	play_add(&p, "s1._domainkey.example.org", play_record(DKIM_ED25519_SHA256));
	sign_into(&signed_one, BYTES_LIT(FIELDS BODY), play_signer(DKIM_ED25519_SHA256, "example.org", "s1"));
	size_t above = (size_t)bytes_search(buf_bytes(&m),
					    BYTES_LIT("DKIM-Signature: v=1; a=rsa-sha256; d=d20.example"));
	assert_int_equal(buf_append(&all, bytes_slice(buf_bytes(&m), 0, above)), ERR_OK);
	assert_int_equal(buf_append(&all, buf_bytes(&signed_one)), ERR_OK);
	for (int known = 0; known < 2; known++) {
		struct authentication_dns dns = play_dns(&p);
		p.questions = 0;
		arena_init(&j.arena, 8 << 20);
		assert_int_equal(dkim_verify(&j.arena, buf_bytes(&all),
					     known == 1 ? BYTES_LIT("mail.example.org") : BYTES_EMPTY, 0,
					     &dns, &j.verdicts),
				 ERR_OK);
		assert_int_equal(j.verdicts.count, DKIM_SIGNATURES_MAX);
		assert_int_equal(p.questions, DKIM_QUESTIONS_MAX);
		assert_true((j.verdicts.list[0].result == AUTHENTICATION_PASS) == (known == 1));
		arena_clear(&j.arena);
	}
	buf_clear(&signed_one);
	buf_init(&signed_one, 1 << 20);
	/* What is wrong before a key is asked for costs nothing, and leaves room for what is right. */
	buf_reset(&all);
	for (size_t i = 0; i < 50; i++) {
		assert_int_equal(
		    buf_append_str(
			&all,
			"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=from; bh=AAAA; b=AAAA\r\n"),
		    ERR_OK);
	}
	sign_into(&signed_one, BYTES_LIT(FIELDS BODY), play_signer(DKIM_ED25519_SHA256, "example.org", "s1"));
	assert_int_equal(buf_append(&all, buf_bytes(&signed_one)), ERR_OK);
	p.questions = 0;
	judge(&j, &p, buf_bytes(&all), 0);
	assert_int_equal(p.questions, 1);
	assert_int_equal(j.verdicts.list[DKIM_SIGNATURES_MAX - 1].result, AUTHENTICATION_PASS);
	arena_clear(&j.arena);
	buf_clear(&signed_one);
	buf_clear(&all);
	buf_clear(&m);
	play_clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_published_example_verifies),
	    cmocka_unit_test(our_signatures_verify_and_break),
	    cmocka_unit_test(a_field_that_is_added_breaks_it),
	    cmocka_unit_test(what_may_stand_once_does_not_stand_beside_a_signed_one),
	    cmocka_unit_test(what_is_wrong_with_a_signature_is_said),
	    cmocka_unit_test(an_oversized_key_is_not_used),
	    cmocka_unit_test(key_records_are_judged),
	    cmocka_unit_test(a_part_of_the_body_is_not_trusted),
	    cmocka_unit_test(many_signatures_cost_a_bounded_number_of_questions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
