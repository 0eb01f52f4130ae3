/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/reporting.h"

#include <stdlib.h>
#include <string.h>

#include "authentication/dmarc.h"
#include "authentication/text.h"
#include "courier/protect.h"
#include "law/law.h"
#include "process/log.h"
#include "reports/write.h"

enum {
	GRACE = 24, /* of a day: after its end, until the gates' rows are here */
	SPREAD = 2, /* of a day: letters leave within */
	RESOLVE_ROOM = IPC_CHUNK + 1024,
	KEY_ROOM = 256,
};

/* What one task works off. */
struct telling {
	struct courier *courier;
	struct tally rows;
	uint32_t day;
};

/* The rows of one letter, and when it is made. */
struct letter {
	size_t first;
	size_t count;
	msec due;
};

struct asking {
	struct courier *courier;
	struct buf reply; /* of the last answer: what it lends lives here */
};

static msec
day_ms(const struct courier *c)
{
	return c->host->config.reports_day;
}

static uint32_t
day_now(const struct courier *c)
{
	return (uint32_t)(clock_wall() / day_ms(c));
}

static enum err
ask(void *ctx, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	struct asking *a = ctx;
	char text[ROUTE_NAME_MAX];
	struct route_answer answer;
	if (name.len >= sizeof(text)) {
		return ERR_LIMIT;
	}
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	enum err e = protect_resolve(a->courier, text, (enum route_type)type, &a->reply, &answer);
	if (e == ERR_OK) {
		*ret = (struct authentication_answer){
		    .no_name = answer.no_name, .secure = answer.secure, .rdata = answer.rdata};
	}
	return e;
}

/* ---- the letter enters the waiting room ---- */

static enum err
spool_key(struct courier *c, struct msg_spool_key_current_reply *ret)
{
	struct buf reply = BUF_INIT(KEY_ROOM);
	enum err e = channel_call_empty(role_channel(c->host, ROLE_KEEPER, 0), MSG_SPOOL_KEY_CURRENT,
					loop_now(c->host->loop) + COURIER_CALL_MS, &reply);
	e = e == ERR_OK ? msg_spool_key_current_reply_decode(buf_bytes(&reply), ret) : e;
	buf_clear(&reply);
	return e;
}

/* The null sender: what nobody takes comes back to nobody. */
static enum err
put(struct courier *c, const struct report_uri *to, struct bytes letter)
{
	struct courier_recipient recipient = {.address = bytes_str(to->address),
					      .notify = SPOOL_NOTIFY_NEVER};
	struct courier_part part = {.domain = bytes_str(to->domain),
				    .flags = COURIER_NULL_SENDER | COURIER_AUTOMATIC,
				    .entered = (uint64_t)(clock_wall() / MSEC_SECOND),
				    .recipient_count = 1,
				    .recipients = &recipient};
	struct msg_mix_put m = {
	    .stage = IPC_STAGE_LEAVING, .size = delivery_wire_size(letter), .weight = 1, .lane = LAW_NORMAL};
	struct msg_spool_key_current_reply key;
	struct buf parts = BUF_INIT(IPC_PAYLOAD_MAX);
	struct delivery d;
	memset(&d, 0, sizeof(d));
	crypto_random_bytes(m.unit, sizeof(m.unit));
	enum err e = spool_key(c, &key);
	if (e == ERR_OK) {
		e = delivery_init(&d, c->codec, c->purpose.key[PURPOSE_BLOB_NAME], letter, 1);
	}
	if (e == ERR_OK) {
		e = delivery_add_courier(&d, &part, key.epoch, key.public_key, m.unit, 0, courier_send_chunk,
					 c, &parts);
	}
	if (e == ERR_OK) {
		m.parts = buf_bytes(&parts);
		e = mixer_put_unit(c->host, &m);
	}
	delivery_clear(&d);
	buf_wipe(&parts);
	return e;
}

/* ---- one report ---- */

static void
send_letter(struct telling *t, enum tally_kind kind, struct report_heading *context,
	    const struct report_uri *to, struct bytes text)
{
	struct courier *c = t->courier;
	struct buf packed = BUF_INIT(REPORT_TEXT_MAX);
	struct buf letter = BUF_INIT(REPORT_LETTER_MAX);
	context->now = clock_wall() / MSEC_SECOND;
	enum err e = report_pack(text, &packed);
	e = e == ERR_OK ? report_write_letter(context, kind, to->address, buf_bytes(&packed), &letter) : e;
	/* Larger than they want: nothing, since less of it would say something else. */
	if (e == ERR_OK && (to->most == 0 || letter.len <= to->most)) {
		e = put(c, to, buf_bytes(&letter));
		c->seen_reported += e == ERR_OK ? 1 : 0;
	}
	if (e != ERR_OK) {
		log_event(LOG_LEVEL_WARNING, "a report to others could not be sent: %s", err_text(e));
	}
	buf_clear(&packed);
	buf_clear(&letter);
}

static struct report_heading
context_of(const struct telling *t, const struct tally_row *rows)
{
	const struct courier *c = t->courier;
	struct report_heading context = {.house = c->host->config.domain,
					 .domain = rows->domain,
					 .begin = (msec)t->day * day_ms(c) / MSEC_SECOND,
					 .end = ((msec)t->day + 1) * day_ms(c) / MSEC_SECOND - 1};
	crypto_random_bytes(context.random, sizeof(context.random));
	return context;
}

/* To an address of ours it would be mail to a member. */
static bool
is_ours(const struct courier *c, const struct report_uri *to)
{
	return bytes_is_nocase(bytes_str(to->domain), c->host->config.domain);
}

static const char *
policy_name(enum dmarc_policy p)
{
	return p == DMARC_REJECT ? "reject" : p == DMARC_QUARANTINE ? "quarantine" : "none";
}

/* RFC 7489 section 7.1. What it wants instead takes the address's place. */
static bool
is_permitted(struct asking *a, const char *domain, struct report_uri *to)
{
	const struct authentication_dns dns = {.ask = ask, .ctx = a};
	char rua[DMARC_RUA_MAX + 1];
	struct report_uri other[REPORT_URIS_MAX];
	if (dmarc_takes_reports(bytes_str(domain), bytes_str(to->domain), &dns, rua) != ERR_OK) {
		return false;
	}
	if (rua[0] == '\0') {
		return true;
	}
	if (report_uris(bytes_str(rua), other) == 0 || strcmp(other[0].domain, to->domain) != 0) {
		return false;
	}
	size_t at = (size_t)(other[0].domain - other[0].address);
	*to = other[0];
	to->domain = to->address + at;
	return true;
}

static void
tell_dmarc(struct telling *t, struct asking *a, const struct tally_row *rows, size_t count)
{
	const struct authentication_dns dns = {.ask = ask, .ctx = a};
	struct report_heading context = context_of(t, rows);
	struct report_uri uris[REPORT_URIS_MAX];
	struct dmarc_published published;
	struct buf text = BUF_INIT(REPORT_TEXT_MAX);
	if (dmarc_published(bytes_str(rows->domain), &dns, &published) != ERR_OK) {
		return;
	}
	const struct report_policy policy = {.p = policy_name(published.policy),
					     .sp = policy_name(published.below),
					     .strict_dkim = published.strict_dkim,
					     .strict_spf = published.strict_spf,
					     .percent = published.percent};
	size_t n = report_uris(bytes_str(published.rua), uris);
	enum err e = report_write_dmarc(&context, &policy, rows, count, &text);
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		if (!is_ours(t->courier, &uris[i]) && is_permitted(a, rows->domain, &uris[i])) {
			send_letter(t, TALLY_DMARC, &context, &uris[i], buf_bytes(&text));
		}
	}
	buf_clear(&text);
}

/* RFC 8460 section 3: one record. Its rua= is copied to ret. */
static bool
find_tls_record(struct asking *a, const char *domain, struct buf *ret)
{
	struct buf name = BUF_INIT(ROUTE_NAME_MAX);
	struct authentication_answer answer = {.rdata = BYTES_EMPTY};
	struct bytes one;
	unsigned found = 0;
	enum err e = buf_printf(&name, "_smtp._tls.%s", domain);
	e = e == ERR_OK ? ask(a, buf_bytes(&name), AUTHENTICATION_TXT, &answer) : e;
	while (e == ERR_OK && text_records_next(&answer.rdata, &one)) {
		struct buf text = BUF_INIT(TXT_RECORD_MAX);
		struct bytes rua;
		if (text_of_txt(one, &text) == ERR_OK && report_tls_record(buf_bytes(&text), &rua)) {
			found++;
			buf_reset(ret);
			e = buf_append(ret, rua);
		}
		buf_clear(&text);
	}
	buf_clear(&name);
	return e == ERR_OK && found == 1;
}

static void
tell_tls(struct telling *t, struct asking *a, const struct tally_row *rows, size_t count)
{
	struct report_heading context = context_of(t, rows);
	struct report_uri uris[REPORT_URIS_MAX];
	struct buf rua = BUF_INIT(TXT_RECORD_MAX);
	struct buf text = BUF_INIT(REPORT_TEXT_MAX);
	if (find_tls_record(a, rows->domain, &rua)) {
		size_t n = report_uris(buf_bytes(&rua), uris);
		enum err e = report_write_tls(&context, rows, count, &text);
		for (size_t i = 0; i < n && e == ERR_OK; i++) {
			if (!is_ours(t->courier, &uris[i])) {
				send_letter(t, TALLY_TLS, &context, &uris[i], buf_bytes(&text));
			}
		}
	}
	buf_clear(&rua);
	buf_clear(&text);
}

/* ---- a day ---- */

static int
by_due(const void *a, const void *b)
{
	const struct letter *x = a;
	const struct letter *y = b;
	return (x->due > y->due) - (x->due < y->due);
}

/* Rows of one domain and kind stand side by side. */
static size_t
group(struct telling *t, struct letter *letters)
{
	const struct tally_row *rows = t->rows.rows;
	msec now = loop_now(t->courier->host->loop);
	size_t count = 0;
	for (size_t i = 0; i < t->rows.count; i++) {
		if (i == 0 || rows[i].kind != rows[i - 1].kind ||
		    strcmp(rows[i].domain, rows[i - 1].domain) != 0) {
			uint64_t spread = (uint64_t)(day_ms(t->courier) / SPREAD) + 1;
			msec wait = (msec)crypto_random_below(&t->courier->random, spread);
			letters[count++] = (struct letter){.first = i, .due = now + wait};
		}
		letters[count - 1].count++;
	}
	qsort(letters, count, sizeof(*letters), by_due);
	return count;
}

static void
tell_task(void *arg)
{
	struct telling *t = arg;
	struct courier *c = t->courier;
	struct asking a = {.courier = c, .reply = BUF_INIT(RESOLVE_ROOM)};
	struct letter *letters = calloc(t->rows.count, sizeof(*letters));
	size_t count = letters == NULL ? 0 : group(t, letters);
	for (size_t i = 0; i < count && !c->host->stopping; i++) {
		msec left = letters[i].due - loop_now(c->host->loop);
		if (left > 0 && task_sleep(left) != ERR_OK) {
			break;
		}
		const struct tally_row *rows = &t->rows.rows[letters[i].first];
		if (rows->kind == TALLY_TLS) {
			tell_tls(t, &a, rows, letters[i].count);
		} else {
			tell_dmarc(t, &a, rows, letters[i].count);
		}
	}
	free(letters);
	buf_wipe(&a.reply);
	tally_clear(&t->rows);
	free(t);
}

static void
start_timer(struct courier *c)
{
	msec day = day_ms(c);
	msec grace = day / GRACE;
	msec past = clock_wall() % day;
	msec wait = past < grace ? grace - past : day - past + grace;
	if (!timer_is_running(&c->tally_timer) &&
	    timer_start_after(c->host->loop, &c->tally_timer, wait) != ERR_OK) {
		tally_clear(&c->tally);
	}
}

static void
on_day_over(struct timer *timer)
{
	struct courier *c = timer->arg;
	struct telling *t = calloc(1, sizeof(*t));
	struct telling unused = {.courier = c};
	struct telling *to = t == NULL ? &unused : t;
	to->courier = c;
	to->day = day_now(c) - 1;
	tally_init(&to->rows);
	/* Whatever becomes of it: the day is over, and what may not be told is gone. */
	tally_close(&c->tally, to->day, &to->rows);
	if (t == NULL || t->rows.count == 0 || c->host->stopping ||
	    role_spawn(c->host, tell_task, t) != ERR_OK) {
		tally_clear(&to->rows);
		free(t);
	}
	if (c->tally.count > 0) {
		start_timer(c);
	}
}

void
reporting_init(struct courier *c)
{
	tally_init(&c->tally);
	timer_init(&c->tally_timer, on_day_over, c);
	crypto_random_bytes(c->tally_key, sizeof(c->tally_key));
}

enum err
reporting_take(struct courier *c, struct bytes rows)
{
	if (c->host->config.reports_dmarc != CONFIG_ON) {
		return ERR_OK;
	}
	enum err e = tally_read(&c->tally, TALLY_DMARC, rows);
	if (c->tally.count > 0) {
		start_timer(c);
	}
	return e;
}

void
reporting_session(const struct work *w, enum tally_policy policy, enum tally_session session, bool new)
{
	struct courier *c = w->courier;
	const struct config *config = &c->host->config;
	struct bytes domain = w->part.domain;
	/* The relay's TLS is no matter of the domain's, and the house's own letters are nobody's. */
	if (config->reports_tls != CONFIG_ON || config->smarthost[0] != '\0' || w->part.generation == 0 ||
	    domain.len > TALLY_DOMAIN_MAX) {
		return;
	}
	struct tally_row row = {.day = day_now(c),
				.kind = TALLY_TLS,
				.outcome = TALLY_TLS_OUTCOME(policy, session),
				.count = new ? 1 : 0};
	uint8_t hash[CRYPTO_HASH_LEN];
	crypto_mac(c->tally_key, bytes_of(w->part.account, sizeof(w->part.account)), hash);
	row.members = UINT64_C(1) << (hash[0] & 63U);
	for (size_t i = 0; i < domain.len; i++) {
		row.domain[i] = (char)ascii_lower(domain.ptr[i]);
	}
	tally_add(&c->tally, &row);
	if (c->tally.count > 0) {
		start_timer(c);
	}
}
