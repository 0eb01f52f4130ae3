/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/sasl_scram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char ours[] = "3rfcNHYJY1ZVvWVs7jABCDEFGHIJKLMNOPQRSTUVWXYZabcd";
static const uint8_t salt[SASL_SCRAM_SALT_LEN] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
						  0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static enum err
first(struct sasl_scram **s, bool plus, const char *message)
{
	assert_int_equal(sasl_scram_create(plus, s), ERR_OK);
	return sasl_scram_first(*s, bytes_str(message));
}

static enum err
only_first(bool plus, const char *message)
{
	struct sasl_scram *s = NULL;
	enum err e = first(&s, plus, message);
	sasl_scram_destroy(&s);
	return e;
}

static void
her_first_message_says_who_and_how(void **state)
{
	(void)state;
	struct sasl_scram *s = NULL;
	assert_int_equal(first(&s, false, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), ERR_OK);
	assert_true(bytes_is(buf_bytes(&s->name), "user"));
	assert_true(bytes_is(buf_bytes(&s->client_nonce), "rOprNGfwEbeRWgbNEkqO"));
	assert_true(bytes_is(buf_bytes(&s->bound), "n,,"));
	assert_int_equal(s->binding, SASL_SCRAM_UNBOUND);
	sasl_scram_destroy(&s);
	/* Names with what has a meaning here, and a name of her own. */
	assert_int_equal(first(&s, true, "p=tls-exporter,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=~!x=,z=later,y=on"),
			 ERR_OK);
	assert_true(bytes_is(buf_bytes(&s->name), "a,b=c"));
	assert_true(bytes_is(buf_bytes(&s->bound), "p=tls-exporter,a=a=2Cb=3Dc,"));
	assert_true(bytes_is(buf_bytes(&s->head), "n=a=2Cb=3Dc,r=~!x=,z=later,y=on"));
	assert_int_equal(s->binding, SASL_SCRAM_EXPORTER);
	sasl_scram_destroy(&s);
	assert_int_equal(first(&s, true, "p=tls-server-end-point,,n=\xc3\xa9,r=1"), ERR_OK);
	assert_int_equal(s->binding, SASL_SCRAM_END_POINT);
	sasl_scram_destroy(&s);
	assert_int_equal(only_first(false, "n,a=bob,n=alice,r=1"), ERR_DENIED);
}

static void
what_could_bind_and_does_not_is_refused(void **state)
{
	(void)state;
	/* She believes that we cannot; we offered it. */
	assert_int_equal(only_first(false, "y,,n=user,r=1"), ERR_AUTH);
	assert_int_equal(only_first(true, "y,,n=user,r=1"), ERR_AUTH);
	assert_int_equal(only_first(true, "n,,n=user,r=1"), ERR_AUTH);
	assert_int_equal(only_first(false, "p=tls-exporter,,n=user,r=1"), ERR_AUTH);
	assert_int_equal(only_first(true, "p=tls-unique,,n=user,r=1"), ERR_UNSUPPORTED);
	assert_int_equal(only_first(true, "p=tls-exporters,,n=user,r=1"), ERR_UNSUPPORTED);
}

static void
what_is_no_first_message_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"",
					  "n",
					  "n,",
					  "n,,",
					  "n,,n=user",
					  "n,,n=,r=1",
					  "n,,n=user,r=",
					  "n,,r=1,n=user",
					  "n,,n=user,,r=1",
					  "n,n=user,r=1",
					  "x,,n=user,r=1",
					  "N,,n=user,r=1",
					  "p=,,n=user,r=1",
					  "p=a b,,n=user,r=1",
					  "n,b=x,n=user,r=1",
					  "n,a=,n=user,r=1",
					  "n,,n=us=er,r=1",
					  "n,,n=us=2cer,r=1",
					  "n,,n=user=2,r=1",
					  "n,,n=user,r=a b",
					  "n,,n=user,r=\x7f",
					  "n,,n=user,r=1,",
					  "n,,n=user,r=1,x",
					  "n,,n=user,r=1,x=",
					  "n,,n=user,r=1,1=x",
					  "n,,n=\xff,r=1",
					  "n,,n=user,r=\xc3\xa9",
					  ",,n=user,r=1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(only_first(false, bad[i]), ERR_FORMAT);
	}
	assert_int_equal(only_first(false, "n,,m=x,n=user,r=1"), ERR_UNSUPPORTED);
	assert_int_equal(only_first(false, "n,,n=user,r=1,m=x"), ERR_UNSUPPORTED);
	struct buf longest = BUF_INIT(4096);
	struct sasl_scram *s = NULL;
	assert_int_equal(buf_append_str(&longest, "n,,n=user,r="), ERR_OK);
	for (size_t i = 0; i < SASL_SCRAM_NONCE_MAX; i++) {
		assert_int_equal(buf_append_byte(&longest, 'r'), ERR_OK);
	}
	assert_int_equal(sasl_scram_create(false, &s), ERR_OK);
	assert_int_equal(sasl_scram_first(s, buf_bytes(&longest)), ERR_OK);
	sasl_scram_destroy(&s);
	assert_int_equal(buf_append_byte(&longest, 'r'), ERR_OK);
	assert_int_equal(sasl_scram_create(false, &s), ERR_OK);
	assert_int_equal(sasl_scram_first(s, buf_bytes(&longest)), ERR_FORMAT);
	sasl_scram_destroy(&s);
	buf_clear(&longest);
}

static enum err
final(bool plus, const char *flag, const char *binding, const char *message)
{
	struct sasl_scram *s = NULL;
	struct buf text = BUF_INIT(1024);
	assert_int_equal(buf_printf(&text, "%s,,n=user,r=hers", flag), ERR_OK);
	assert_int_equal(sasl_scram_create(plus, &s), ERR_OK);
	assert_int_equal(sasl_scram_first(s, buf_bytes(&text)), ERR_OK);
	buf_reset(&text);
	assert_int_equal(
	    sasl_scram_challenge(s, salt, 4096, (const uint8_t *)ours, bytes_str(binding), &text), ERR_OK);
	assert_true(bytes_is(buf_bytes(&text), "r=hers3rfcNHYJY1ZVvWVs7jABCDEFGHIJKLMNOPQRSTUVWXYZabcd,"
					       "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
	enum err e = sasl_scram_final(s, bytes_str(message));
	if (e == ERR_OK) {
		assert_true(bytes_is(buf_bytes(&s->head),
				     "n=user,r=hers,r=hers3rfcNHYJY1ZVvWVs7jABCDEFGHIJKLMNOPQRSTUVWXYZabcd,"
				     "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"));
		assert_int_equal(s->tail.len, strlen(message) - strlen(",p=" PROOF));
		assert_memory_equal(s->tail.ptr, message, s->tail.len);
		assert_int_equal(s->proof[0], 0x74);
		assert_int_equal(s->proof[31], 0x54);
	}
	sasl_scram_destroy(&s);
	buf_clear(&text);
	return e;
}

#define NONCE "r=hers3rfcNHYJY1ZVvWVs7jABCDEFGHIJKLMNOPQRSTUVWXYZabcd"

static void
her_last_message_is_of_this_dialogue_and_this_channel(void **state)
{
	(void)state;
	assert_int_equal(final(false, "n", "", "c=biws," NONCE ",p=" PROOF), ERR_OK);
	assert_int_equal(final(false, "n", "", "c=biws," NONCE ",x=y,p=" PROOF), ERR_OK);
	/* base64 of "p=tls-exporter,,0123456789" */
	assert_int_equal(final(true, "p=tls-exporter", "0123456789",
			       "c=cD10bHMtZXhwb3J0ZXIsLDAxMjM0NTY3ODk=," NONCE ",p=" PROOF),
			 ERR_OK);
	assert_int_equal(final(true, "p=tls-exporter", "0123456780",
			       "c=cD10bHMtZXhwb3J0ZXIsLDAxMjM0NTY3ODk=," NONCE ",p=" PROOF),
			 ERR_AUTH);
	/* The header alone, and another header. */
	assert_int_equal(
	    final(true, "p=tls-exporter", "0123456789", "c=cD10bHMtZXhwb3J0ZXIsLA==," NONCE ",p=" PROOF),
	    ERR_AUTH);
	assert_int_equal(final(false, "n", "", "c=eSws," NONCE ",p=" PROOF), ERR_AUTH);
	assert_int_equal(final(false, "n", "", "c=," NONCE ",p=" PROOF), ERR_AUTH);
	assert_int_equal(
	    final(false, "n", "", "c=biws,r=hers4rfcNHYJY1ZVvWVs7jABCDEFGHIJKLMNOPQRSTUVWXYZabcd,p=" PROOF),
	    ERR_AUTH);
	assert_int_equal(final(false, "n", "", "c=biws," NONCE "e,p=" PROOF), ERR_AUTH);
	assert_int_equal(final(false, "n", "", "c=biws,r=hers,p=" PROOF), ERR_AUTH);
	assert_int_equal(final(false, "n", "", "c=biws," NONCE ",m=x,p=" PROOF), ERR_UNSUPPORTED);
	static const char *const bad[] = {"",
					  "c=biws",
					  "c=biws," NONCE,
					  "c=biws,p=" PROOF,
					  NONCE ",c=biws,p=" PROOF,
					  "c=!," NONCE ",p=" PROOF,
					  "c=biws," NONCE ",p=" PROOF ",x=y",
					  "c=biws," NONCE ",p=",
					  "c=biws," NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7Andc==",
					  "c=biws," NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ",
					  "c=biws," NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVRV",
					  "c=biws," NONCE ",,p=" PROOF,
					  "c=biws," NONCE ",x=,p=" PROOF};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(final(false, "n", "", bad[i]), ERR_FORMAT);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(her_first_message_says_who_and_how),
	    cmocka_unit_test(what_could_bind_and_does_not_is_refused),
	    cmocka_unit_test(what_is_no_first_message_is_refused),
	    cmocka_unit_test(her_last_message_is_of_this_dialogue_and_this_channel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
