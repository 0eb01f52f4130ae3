/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* How much may come from whom: gate-mx's use of its table. */
#include <string.h>

#include "gate_mx/mx.h"

static const struct mx_reply none = {0, NULL, NULL};

static msec
now(const struct mx *mx)
{
	return loop_now(mx->host->loop);
}

static struct bytes
network(const struct mx_connection *c)
{
	return bytes_of(c->network, c->network_len);
}

/* 127.0.0.1 and ::1: the machine's own. */
static bool
is_local(const uint8_t address[16])
{
	static const uint8_t four[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
	static const uint8_t six[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
	return memcmp(address, four, sizeof(four)) == 0 || memcmp(address, six, sizeof(six)) == 0;
}

static bool
take(struct mx_connection *c, enum rate_kind kind, struct bytes who, uint32_t limit, msec window,
     unsigned add)
{
	return c->local || rate_take(c->mx->rates, kind, who, limit, window, add, now(c->mx));
}

static struct mx_reply
slow(struct mx_connection *c, const char *text)
{
	c->mx->seen_slowed++;
	/* A flood, by IANA's list of enhanced status codes: who knows it slows down, as our own courier does. */
	return (struct mx_reply){450, "4.7.28", text};
}

/* In lower case; empty for none. */
static struct bytes
sender_domain(const struct mx_connection *c, uint8_t space[CONFIG_NAME_MAX])
{
	struct bytes sender = buf_bytes(&c->sender);
	ptrdiff_t at = bytes_find_last(sender, '@');
	struct bytes domain = at < 0 ? BYTES_EMPTY : bytes_from(sender, (size_t)at + 1);
	size_t len = domain.len < CONFIG_NAME_MAX ? domain.len : CONFIG_NAME_MAX;
	for (size_t i = 0; i < len; i++) {
		uint8_t o = domain.ptr[i];
		space[i] = o >= 'A' && o <= 'Z' ? (uint8_t)(o + ('a' - 'A')) : o;
	}
	return bytes_of(space, len);
}

bool
mx_limits_open(struct mx *mx, struct mx_connection *c)
{
	c->network_len = rate_network(c->peer, c->network);
	c->local = is_local(c->peer);
	bool may = take(c, RATE_CONNECTIONS, network(c), mx->host->config.rate_connections, MSEC_MINUTE, 1);
	mx->seen_slowed += may ? 0 : 1;
	return may;
}

struct mx_reply
mx_limits_mail(struct mx_connection *c)
{
	const struct config *config = &c->mx->host->config;
	uint8_t space[CONFIG_NAME_MAX];
	struct bytes domain = sender_domain(c, space);
	if (!take(c, RATE_MESSAGES, network(c), config->rate_messages, MSEC_MINUTE, 1)) {
		return slow(c, "too much mail from your network, try again later");
	}
	if (domain.len > 0 && !take(c, RATE_DOMAIN, domain, config->rate_domain, MSEC_MINUTE, 0)) {
		return slow(c, "too much mail of this sender's domain, try again later");
	}
	return none;
}

void
mx_limits_proved(struct mx_connection *c)
{
	uint8_t space[CONFIG_NAME_MAX];
	struct bytes domain = sender_domain(c, space);
	if (domain.len > 0) {
		(void)take(c, RATE_DOMAIN, domain, c->mx->host->config.rate_domain, MSEC_MINUTE, 1);
	}
}

struct mx_reply
mx_limits_rcpt(struct mx_connection *c)
{
	return take(c, RATE_UNKNOWN, network(c), c->mx->host->config.rate_unknown, MSEC_HOUR, 0)
		   ? none
		   : slow(c, "too many unknown recipients from your network, try again later");
}

void
mx_limits_unknown(struct mx_connection *c)
{
	(void)take(c, RATE_UNKNOWN, network(c), c->mx->host->config.rate_unknown, MSEC_HOUR, 1);
}

struct mx_reply
mx_limits_greylist(struct mx_connection *c)
{
	const struct config *config = &c->mx->host->config;
	if (config->greylist == CONFIG_NO || c->local ||
	    mail_subaddress_ends(c->asked.local, '+', BYTES_LIT("now")) ||
	    rate_has_come_again(c->mx->rates, network(c), buf_bytes(&c->sender), buf_bytes(&c->asked_text),
				config->greylist_delay, now(c->mx))) {
		return none;
	}
	c->mx->seen_greylisted++;
	return (struct mx_reply){450, "4.7.1", "greylisted: a first delivery, try again in some minutes"};
}
