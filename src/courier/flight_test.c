/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the session promises of an envelope when it makes parts is what the courier's commands keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "delivery/delivery.h"
#include "protocol/smtp_client.h"

enum { MANY = 512, TEXT = 512 };

struct made {
	char addresses[MANY][TEXT];
	struct courier_recipient recipients[MANY];
	struct smtp_client_rcpt rcpts[MANY];
	struct courier_part part;
	struct smtp_client_mail mail;
};

static uint32_t dice = 1;

static uint32_t
below(uint32_t n)
{
	dice = dice * 1664525 + 1013904223;
	return (dice >> 8) % n;
}

static const unsigned all_offers = SMTP_OFFER_PIPELINING | SMTP_OFFER_SIZE | SMTP_OFFER_8BITMIME |
				   SMTP_OFFER_SMTPUTF8 | SMTP_OFFER_DSN | SMTP_OFFER_ENHANCED;

static void
make(struct made *m, size_t count, size_t local, bool dsn)
{
	memset(&m->part, 0, sizeof(m->part));
	memset(&m->mail, 0, sizeof(m->mail));
	/* The worst of each: ENVID that triples, a size of twenty digits. */
	static char envid[SMTP_ENVID_MAX];
	memset(envid, '+', sizeof(envid));
	m->part.sender = m->mail.sender = BYTES_LIT("somebody.with.a.name@association.example");
	m->part.envid = m->mail.envid = dsn ? bytes_of(envid, sizeof(envid)) : BYTES_EMPTY;
	m->mail.ret = dsn ? SMTP_RET_FULL : SMTP_RET_UNSAID;
	m->mail.size = UINT64_MAX;
	m->mail.needs_8bit = m->mail.needs_utf8 = true;
	for (size_t i = 0; i < count; i++) {
		memset(m->addresses[i], 'x', local);
		memcpy(m->addresses[i] + local, "@example.net", sizeof("@example.net"));
		struct bytes address = bytes_str(m->addresses[i]);
		m->recipients[i] = (struct courier_recipient){.address = address};
		m->rcpts[i] = (struct smtp_client_rcpt){.mailbox = address};
		if (dsn) {
			static char spoken[TEXT];
			(void)memset(spoken, 'y', sizeof(spoken));
			memcpy(spoken, "rfc822;", 7);
			m->recipients[i].notify = SPOOL_NOTIFY_ALL - SPOOL_NOTIFY_NEVER;
			m->recipients[i].orcpt = bytes_of(spoken, 300);
			m->rcpts[i].notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
			m->rcpts[i].orcpt_type = BYTES_LIT("rfc822");
			m->rcpts[i].orcpt = bytes_of(spoken + 7, 293);
		}
	}
	m->part.recipients = m->recipients;
	m->part.recipient_count = count;
	m->mail.rcpts = m->rcpts;
	m->mail.rcpt_count = count;
}

static size_t
flight(const struct made *m)
{
	size_t n = SIZE_MAX;
	assert_int_equal(smtp_client_flight(all_offers, &m->mail, DELIVERY_FLIGHT, &n), ERR_OK);
	return n;
}

static void
what_a_part_takes_goes_into_one_flight(void **state)
{
	static struct made m;
	(void)state;
	for (unsigned i = 0; i < 400; i++) {
		bool dsn = below(2) == 1;
		make(&m, 1 + below(MANY), 1 + below(64), dsn);
		size_t fits = delivery_fitting(&m.part, 0);
		size_t goes = flight(&m);
		assert_true(fits >= 1 && fits <= DELIVERY_RECIPIENTS && fits <= m.part.recipient_count);
		assert_true(fits <= goes);
		/* Nor is it far too careful. */
		size_t most = goes < DELIVERY_RECIPIENTS ? goes : DELIVERY_RECIPIENTS;
		assert_true(fits + 1 + most / 8 >= most);
	}
}

static void
sixty_usual_addresses_are_one_delivery_and_each_is_in_one(void **state)
{
	static struct made m;
	(void)state;
	make(&m, 60, 20, false);
	assert_int_equal(delivery_fitting(&m.part, 0), 60);
	assert_int_equal(delivery_fitting(&m.part, 60), 0);
	make(&m, 300, 64, true);
	size_t at = 0;
	unsigned deliveries = 0;
	while (at < 300) {
		at += delivery_fitting(&m.part, at);
		deliveries++;
	}
	assert_int_equal(at, 300);
	assert_true(deliveries > 30 && deliveries < 60);
}

static void
one_recipient_always_goes_in(void **state)
{
	static struct made m;
	(void)state;
	make(&m, 1, 320, true);
	assert_int_equal(delivery_fitting(&m.part, 0), 1);
	assert_int_equal(flight(&m), 1);
}

static void
a_flight_counts_what_the_peer_offers(void **state)
{
	static struct made m;
	size_t n = 0;
	(void)state;
	make(&m, 40, 30, true);
	assert_int_equal(smtp_client_flight(SMTP_OFFER_PIPELINING, &m.mail, DELIVERY_FLIGHT, &n), ERR_OK);
	assert_int_equal(n, 40);
	assert_true(flight(&m) < 40);
	/* "MAIL FROM:<…> BODY=8BITMIME SMTPUTF8\r\n", RSET and DATA, and one "RCPT TO:<…>\r\n" of 54. */
	size_t around =
	    sizeof("MAIL FROM:<somebody.with.a.name@association.example> BODY=8BITMIME SMTPUTF8\r\n"
		   "RSET\r\nDATA\r\n") -
	    1;
	assert_int_equal(smtp_client_flight(SMTP_OFFER_PIPELINING, &m.mail, around + 54, &n), ERR_OK);
	assert_int_equal(n, 1);
	assert_int_equal(smtp_client_flight(SMTP_OFFER_PIPELINING, &m.mail, around + 53, &n), ERR_OK);
	assert_int_equal(n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_part_takes_goes_into_one_flight),
	    cmocka_unit_test(sixty_usual_addresses_are_one_delivery_and_each_is_in_one),
	    cmocka_unit_test(one_recipient_always_goes_in),
	    cmocka_unit_test(a_flight_counts_what_the_peer_offers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
