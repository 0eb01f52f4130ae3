/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/sending_limit.h"

#include <string.h>

#include "crypto/crypto.h"

static void
turn(struct sending_window *w, msec length, msec now)
{
	if (w->begin == 0 || now < w->begin || now - w->begin >= 2 * length) {
		*w = (struct sending_window){.begin = now};
	} else if (now - w->begin >= length) {
		*w = (struct sending_window){.begin = w->begin + length, .before = w->now};
	}
}

static uint64_t
within(struct sending_window *w, msec length, msec now)
{
	turn(w, length, now);
	msec left = length - (now - w->begin);
	return w->now + (uint64_t)w->before * (uint64_t)left / (uint64_t)length;
}

static void
count(struct sending_window *w, msec length, msec now)
{
	turn(w, length, now);
	w->now += w->now < UINT32_MAX ? 1 : 0;
}

/* 0: none. */
static uint64_t
limit_of(uint32_t limit, uint32_t times)
{
	return times == SENDING_TIMES_NONE ? 0 : (uint64_t)limit * (times == 0 ? 1 : times);
}

static bool
is_spent(struct sending_window *w, msec length, uint64_t limit, msec now)
{
	return limit != 0 && within(w, length, now) >= limit;
}

enum sending_verdict
sending_message(struct sending *s, const struct sending_limits *l, msec now)
{
	if (is_spent(&s->messages, MSEC_HOUR, limit_of(l->messages, l->times), now)) {
		return SENDING_LATER;
	}
	count(&s->messages, MSEC_HOUR, now);
	return SENDING_FINE;
}

/* The bit of a domain in this hour's set. */
static size_t
domain_bit(struct sending *s, struct bytes domain, msec now)
{
	uint8_t hash[CRYPTO_HASH_LEN];
	if (s->domains_until == 0 || now >= s->domains_until || s->domains_until - now > MSEC_HOUR) {
		crypto_random_bytes(s->key, sizeof(s->key));
		memset(s->domains, 0, sizeof(s->domains));
		s->domain_count = 0;
		s->domains_until = now + MSEC_HOUR;
	}
	crypto_mac(s->key, domain, hash);
	return ((size_t)hash[0] << 8 | hash[1]) % SENDING_DOMAIN_BITS;
}

enum sending_verdict
sending_recipient(struct sending *s, const struct sending_limits *l, struct bytes domain, msec now)
{
	if (is_spent(&s->recipients_day, MSEC_DAY, limit_of(l->recipients_day, l->times), now)) {
		return SENDING_HOLD;
	}
	if (is_spent(&s->recipients, MSEC_HOUR, limit_of(l->recipients, l->times), now)) {
		return SENDING_LATER;
	}
	uint64_t most = limit_of(l->domains, l->times);
	if (domain.len > 0 && most != 0) {
		size_t bit = domain_bit(s, domain, now);
		bool known = ((unsigned)s->domains[bit / 8] >> bit % 8 & 1U) != 0;
		if (!known &&
		    s->domain_count >= (most < SENDING_DOMAINS_MOST ? most : SENDING_DOMAINS_MOST)) {
			return SENDING_LATER;
		}
		s->domains[bit / 8] = (uint8_t)((unsigned)s->domains[bit / 8] | 1U << bit % 8);
		s->domain_count += known ? 0 : 1;
	}
	count(&s->recipients, MSEC_HOUR, now);
	count(&s->recipients_day, MSEC_DAY, now);
	return SENDING_FINE;
}

enum sending_verdict
sending_refused(struct sending *s, msec now)
{
	count(&s->refused, MSEC_HOUR, now);
	return within(&s->refused, MSEC_HOUR, now) > SENDING_PATIENCE ? SENDING_HOLD : SENDING_LATER;
}

enum sending_verdict
sending_reported(struct sending *s, const struct sending_limits *l, bool failed, msec now)
{
	count(&s->reported, MSEC_DAY, now);
	if (failed) {
		count(&s->failed, MSEC_DAY, now);
	}
	uint64_t all = within(&s->reported, MSEC_DAY, now);
	bool many = failed && l->failures != 0 && l->times != SENDING_TIMES_NONE &&
		    all >= SENDING_REPORTED_MIN &&
		    within(&s->failed, MSEC_DAY, now) * 100 >= all * l->failures;
	return many ? SENDING_HOLD : SENDING_FINE;
}

struct sending_used
sending_used(struct sending *s, msec now)
{
	return (struct sending_used){.messages = within(&s->messages, MSEC_HOUR, now),
				     .recipients = within(&s->recipients, MSEC_HOUR, now),
				     .recipients_day = within(&s->recipients_day, MSEC_DAY, now),
				     .refused = within(&s->refused, MSEC_HOUR, now),
				     .reported = within(&s->reported, MSEC_DAY, now),
				     .failed = within(&s->failed, MSEC_DAY, now)};
}

void
sending_reset(struct sending *s)
{
	explicit_bzero(s, sizeof(*s));
}
