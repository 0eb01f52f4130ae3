/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What was judged today, of authors whose domain asks for reports: in memory alone, until the day ends and the courier gets it. Nothing is
 * counted unless reports.dmarc is on.
 */
#include <string.h>

#include "base/clock.h"
#include "base/wire.h"
#include "gate_mx/judge.h"

enum { ROUND = 48 /* of a day: gates hand over within this part of one after its end */ };

static uint32_t
day_of(const struct mx *mx, msec wall)
{
	return (uint32_t)(wall / mx->host->config.reports_day);
}

/* Which of 64 bits stands for her on that day: the same in each gate, and nobody else can say whose it is. */
static uint64_t
bit_of(const struct mx *mx, const uint8_t account[SEALED_ID_LEN], uint32_t day)
{
	uint8_t text[4 + SEALED_ID_LEN + 6] = {'r', 'e', 'p', 'o', 'r', 't'};
	uint8_t hash[CRYPTO_HASH_LEN];
	memcpy(text + 6, &day, 4);
	memcpy(text + 10, account, SEALED_ID_LEN);
	crypto_mac(mx->keys.key[PURPOSE_DIRECTORY_HASH], bytes_of(text, sizeof(text)), hash);
	return UINT64_C(1) << (hash[0] & 63U);
}

static unsigned
outcome_of(const struct mx_judgement *j, bool refused)
{
	const struct dmarc_verdict *d = &j->results.dmarc;
	bool strict = d->policy == DMARC_REJECT || d->policy == DMARC_QUARANTINE;
	unsigned outcome = refused ? TALLY_REJECTED : j->suspected ? TALLY_QUARANTINED : TALLY_DELIVERED;
	bool milder = d->policy == DMARC_REJECT ? outcome != TALLY_REJECTED : outcome == TALLY_DELIVERED;
	if (d->result == AUTHENTICATION_FAIL && strict && milder) {
		outcome |= j->vouched ? TALLY_VOUCHED : TALLY_EXCEPTION;
	}
	return outcome | (d->aligned_dkim ? TALLY_DKIM : 0U) | (d->aligned_spf ? TALLY_SPF : 0U);
}

static void
start_timer(struct mx *mx)
{
	msec day = mx->host->config.reports_day;
	uint32_t drawn;
	crypto_random_bytes(&drawn, sizeof(drawn));
	msec wait = day - clock_wall() % day + (msec)drawn % (day / ROUND + 1);
	if (!timer_is_running(&mx->tally_timer) &&
	    timer_start_after(mx->host->loop, &mx->tally_timer, wait) != ERR_OK) {
		tally_clear(&mx->tally);
	}
}

static void
on_day_over(struct timer *t)
{
	struct mx *mx = t->arg;
	uint32_t day = day_of(mx, clock_wall()) - 1;
	for (bool more = true; more;) {
		struct buf rows = BUF_INIT(IPC_PAYLOAD_MAX - 64);
		struct channel *courier = role_channel(mx->host, ROLE_COURIER, 0);
		more = tally_take(&mx->tally, day, rows.max, &rows) == ERR_OK && rows.len > 0;
		if (more && courier != NULL) {
			struct msg_report_rows m = {.rows = buf_bytes(&rows)};
			/* A courier that is away loses a day of reports, and nobody anything else. */
			more = channel_notice(courier, REPORT_ROWS, report_rows, &m) == ERR_OK;
		}
		buf_wipe(&rows);
	}
	if (mx->tally.count > 0) {
		start_timer(mx);
	}
}

void
mx_tally_start(struct mx *mx)
{
	tally_init(&mx->tally);
	timer_init(&mx->tally_timer, on_day_over, mx);
}

void
mx_tally(struct mx_connection *c, const struct mx_judgement *j, bool refused)
{
	struct mx *mx = c->mx;
	const struct config *config = &mx->host->config;
	const struct dmarc_verdict *d = &j->results.dmarc;
	if (config->reports_dmarc != CONFIG_ON || !j->made || !d->wants_reports ||
	    (d->result != AUTHENTICATION_PASS && d->result != AUTHENTICATION_FAIL)) {
		return;
	}
	struct tally_row row = {.day = day_of(mx, clock_wall()), .kind = TALLY_DMARC, .count = 1};
	struct bytes domain = bytes_str(d->domain + d->record_at);
	if (domain.len > TALLY_DOMAIN_MAX || bytes_is_nocase(domain, config->domain)) {
		return;
	}
	for (size_t i = 0; i < domain.len; i++) {
		row.domain[i] = (char)ascii_lower(domain.ptr[i]);
	}
	row.outcome = (uint8_t)outcome_of(j, refused);
	tally_net(c->peer, row.net);
	for (size_t i = 0; i < c->target_count; i++) {
		row.members |= bit_of(mx, c->targets[i].account.id, row.day);
	}
	tally_add(&mx->tally, &row);
	start_timer(mx);
}
