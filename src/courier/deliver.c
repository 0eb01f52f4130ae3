/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From a work to its outcomes: the way asked for now, one host after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "courier/internal.h"
#include "courier/message.h"
#include "courier/policy.h"
#include "courier/protect.h"
#include "courier/reporting.h"
#include "courier/wish.h"
#include "law/law.h"
#include "mail/write.h"

enum { HEADER_ROOM = 16 * 1024 + COURIER_SIGNATURES_MAX, SMTPS_PORT = 465 };

/* ---- the way ---- */

struct asking {
	struct courier *courier;
	struct buf reply; /* of the last answer: what it lends lives here */
};

static enum err
resolve(void *ctx, const char *name, enum route_type type, struct route_answer *ret)
{
	struct asking *a = ctx;
	return protect_resolve(a->courier, name, type, &a->reply, ret);
}

static uint32_t
random_below(void *ctx, uint32_t bound)
{
	struct asking *a = ctx;
	return (uint32_t)crypto_random_below(&a->courier->random, bound);
}

static enum err
find_way(struct work *w, struct route *ret, struct smtp_result *ret_why)
{
	const struct config *config = &w->courier->host->config;
	struct asking asking = {.courier = w->courier, .reply = BUF_INIT(IPC_CHUNK + 1024)};
	struct route_host host = {.resolve = resolve,
				  .random = random_below,
				  .ctx = &asking,
				  .hostname = config->hostname,
				  .allow_loopback = config->courier_port != 25};
	enum err e = config->smarthost[0] != '\0' ? route_find_host(&host, config->smarthost, ret, ret_why)
						  : route_find(&host, w->part.domain, ret, ret_why);
	buf_wipe(&asking.reply);
	return e;
}

/* How the host has to be protected, by all that is known of it. */
static enum policy_use
decide(struct work *w, const struct route_target *target, enum policy_sts sts, struct protect_dane *dane,
       struct connection_wish *wish, struct smtp_result *ret_why)
{
	const struct config *config = &w->courier->host->config;
	struct policy_facts facts = {.require = config->tls_outbound == CONFIG_OUTBOUND_REQUIRE,
				     .exception = policy_is_listed(config->tls_exceptions, w->part.domain),
				     .author_waives = (w->part.flags & COURIER_TLS_OPTIONAL) != 0,
				     .requiretls = (w->part.flags & COURIER_REQUIRETLS) != 0,
				     .relay = config->smarthost[0] != '\0',
				     .sts = sts};
	bool waived = !facts.requiretls && (facts.exception || facts.author_waives);
	if (!facts.relay && !waived) {
		protect_dane(w, target, dane);
	}
	facts.dane = dane->state;
	enum policy_use use = policy_decide(&facts, ret_why);
	connection_wish_init(wish, use == POLICY_USE_PREFER ? SMTP_TLS_PREFER : SMTP_TLS_REQUIRE);
	if (facts.relay && config->smarthost_port == SMTPS_PORT) {
		wish->tls = SMTP_TLS_IMPLICIT;
	} else if (facts.relay && config->smarthost_user[0] != '\0') {
		/* A password never goes in clear. */
		wish->tls = SMTP_TLS_REQUIRE;
	}
	if (use == POLICY_USE_DANE) {
		wish->proof = TLS_PROOF_DANE;
		memcpy(wish->host, dane->base, sizeof(wish->host));
		size_t len = w->part.domain.len < sizeof(wish->also) ? w->part.domain.len : 0;
		if (len > 0 && w->part.domain.ptr[0] != '[') {
			memcpy(wish->also, w->part.domain.ptr, len);
		}
		wish->associations = dane->list;
		wish->association_count = dane->count;
	} else if (use == POLICY_USE_AUTHORITY) {
		wish->proof = TLS_PROOF_AUTHORITY;
		memcpy(wish->host, target->name, sizeof(wish->host));
	}
	connection_wish_mark(wish);
	return use;
}

/* ---- one message over one connection ---- */

struct sending {
	struct work *work;
	struct connection *connection;
	struct smtp_client_mail mail;
	struct smtp_client_rcpt *rcpts;
	size_t *indices; /* into the work's recipients */
	struct arena arena;
	struct buf released; /* with the house's trace */
	struct buf narrow;   /* in seven bits, where the peer needs that */
	bool used;           /* the connection has carried others before */
	bool took;           /* the message, for one recipient at least */
	bool disconnected;   /* before the message could have been taken: nothing is decided */
	bool more;           /* recipients that did not go into this flight of commands */
};

static void
fail_open(struct work *w, unsigned code, const char *status, const char *text)
{
	struct smtp_result r;
	smtp_result_local(code, status, text, &r);
	for (size_t i = 0; i < w->part.recipient_count; i++) {
		if (w->outcomes[i].state == OUTCOME_OPEN) {
			outcome_take(&w->outcomes[i], &r, "", false);
		}
	}
}

static bool
any_open(const struct work *w)
{
	for (size_t i = 0; i < w->part.recipient_count; i++) {
		if (w->outcomes[i].state == OUTCOME_OPEN) {
			return true;
		}
	}
	return false;
}

static void
note_failure(struct work *w, const struct smtp_result *why, const char *host, bool final)
{
	w->final = final && (w->final || !w->tried);
	/* That a host was not protected as it must be says more than that another one could not be reached. */
	bool keep = w->tried && why->local && strncmp(w->failure.status + 1, ".7.", 3) == 0 &&
		    w->failure.local && strncmp(why->status + 1, ".7.", 3) != 0;
	w->tried = true;
	if (keep) {
		return;
	}
	w->failure = *why;
	(void)snprintf(w->failure_host, sizeof(w->failure_host), "%s", why->local ? "" : host);
}

static void
on_recipient(void *arg, size_t index, const struct smtp_result *result)
{
	struct sending *s = arg;
	struct connection *c = s->connection;
	s->took = s->took || result->code / 100 == 2;
	pool_heard(s->work->courier->pool, c, result, !s->used);
	/*
	 * Before the end of the data nobody has taken the message: when the connection goes, or the server says
	 * that it closes, the next host may be tried at once. Afterwards nobody knows: later.
	 */
	if (!c->body_ended && (result->code == 421 || (result->local && result->code / 100 == 4))) {
		s->disconnected = true;
		note_failure(s->work, result, c->target.name, false);
		return;
	}
	bool reports = (smtp_client_offers(&c->client) & SMTP_OFFER_DSN) != 0;
	struct outcome *o = &s->work->outcomes[s->indices[index]];
	outcome_take(o, result, c->target.name, reports);
	connection_protection(c, &o->how);
	/* It left as one of a smaller class: whoever watches tells it from those by its size. */
	o->how.larger = o->how.padded && o->how.size_class > s->work->size_class;
}

static struct bytes
address_of(struct sending *s, struct bytes address, bool *ret_utf8)
{
	struct buf text = BUF_INIT(SPOOL_TEXT_MAX);
	struct bytes kept = BYTES_EMPTY;
	if (message_address(address, &text, ret_utf8) == ERR_OK) {
		kept = arena_copy(&s->arena, buf_bytes(&text));
	}
	buf_wipe(&text);
	return kept;
}

static void
take_orcpt(struct sending *s, struct bytes orcpt, struct smtp_client_rcpt *ret)
{
	struct buf scratch = BUF_INIT(SPOOL_TEXT_MAX);
	struct bytes type;
	struct bytes plain;
	if (report_orcpt(orcpt, &scratch, &type, &plain) && plain.len + type.len < SMTP_ORCPT_MAX) {
		ret->orcpt_type = type;
		ret->orcpt = arena_copy(&s->arena, plain);
	}
	buf_wipe(&scratch);
}

/* The recipients still open, as far as this peer can take them. */
static void
gather_recipients(struct sending *s, bool can_utf8)
{
	struct work *w = s->work;
	size_t n = w->part.recipient_count;
	s->rcpts = arena_array(&s->arena, n, sizeof(*s->rcpts));
	s->indices = arena_array(&s->arena, n, sizeof(*s->indices));
	for (size_t i = 0; i < n && s->rcpts != NULL && s->indices != NULL; i++) {
		struct outcome *o = &w->outcomes[i];
		struct smtp_client_rcpt *r = &s->rcpts[s->mail.rcpt_count];
		struct smtp_result why;
		bool utf8 = false;
		if (o->state != OUTCOME_OPEN) {
			continue;
		}
		r->mailbox = address_of(s, w->part.recipients[i].address, &utf8);
		r->notify = w->part.recipients[i].notify;
		if (r->mailbox.len == 0) {
			smtp_result_local(550, "5.1.3", "The address cannot be one", &why);
			outcome_take(o, &why, "", false);
		} else if (utf8 && !can_utf8) {
			smtp_result_local(550, "5.6.7", "The server takes no such address (SMTPUTF8)", &why);
			outcome_take(o, &why, s->connection->target.name, false);
		} else {
			take_orcpt(s, w->part.recipients[i].orcpt, r);
			s->mail.needs_utf8 = s->mail.needs_utf8 || utf8;
			s->indices[s->mail.rcpt_count++] = i;
		}
	}
	s->mail.rcpts = s->rcpts;
}

/* Last of all: over exactly what leaves. */
static enum err
sign_body(struct work *w, struct buf *body)
{
	struct bytes fields;
	size_t before = body->len;
	enum err e = work_sign(w, buf_bytes(body), &fields);
	if (e == ERR_LIMIT) {
		fail_open(w, 550, "5.6.0", "The message has more header fields than can be signed");
	} else if (e != ERR_OK) {
		fail_open(w, 451, "4.7.5", "This house could not sign the message at the moment");
	}
	e = e == ERR_OK ? buf_append(body, fields) : e;
	if (e == ERR_OK) {
		memmove(body->ptr + fields.len, body->ptr, before);
		memcpy(body->ptr, fields.ptr, fields.len);
	}
	return e;
}

/*
 * As it came: nothing of a stranger's is changed, or his signature would break. On top whose mailbox it went through, by which a loop is
 * known.
 */
static enum err
release_forwarded(const struct work *w, struct bytes message, struct buf *out)
{
	struct buf fields = BUF_INIT(HEADER_ROOM);
	if (!message_is_clean(message)) {
		return ERR_FORMAT;
	}
	enum err e = mail_write_field(&fields, "Delivered-To", w->part.forwarder);
	e = e == ERR_OK ? mail_insert_top(message, buf_bytes(&fields), out) : e;
	buf_clear(&fields);
	return e;
}

static enum err
release_own(const struct work *w, const struct message_trace *trace, struct buf *out)
{
	struct buf own = BUF_INIT(w->message.len + HEADER_ROOM);
	if ((w->part.flags & COURIER_FORWARDED) == 0) {
		return message_release(buf_bytes(&w->message), trace, out);
	}
	enum err e = message_release(buf_bytes(&w->message), trace, &own);
	e = e == ERR_OK ? release_forwarded(w, buf_bytes(&own), out) : e;
	buf_wipe(&own);
	return e;
}

static enum err
prepare_body(struct sending *s, unsigned offers, struct bytes *ret_body)
{
	struct work *w = s->work;
	if (w->released_at == 0) {
		w->released_at = clock_wall() / MSEC_SECOND;
	}
	struct message_trace trace = {.hostname = w->courier->host->config.hostname,
				      .reference = w->reference,
				      .now = w->released_at,
				      .first_release = (int64_t)w->part.first_release,
				      .date = (enum mail_privacy_date)w->courier->host->config.date};
	buf_init(&s->released, w->message.len + HEADER_ROOM * 2);
	enum err e = w->strange ? release_forwarded(w, buf_bytes(&w->message), &s->released)
				: release_own(w, &trace, &s->released);
	if (e != ERR_OK) {
		if (e == ERR_FORMAT) {
			fail_open(w, 550, "5.6.0", "The message has line ends that mail cannot carry");
		}
		return e;
	}
	struct buf *body = &s->released;
	struct message_needs needs = message_needs(buf_bytes(body));
	s->mail.needs_utf8 = needs.utf8;
	s->mail.needs_8bit = needs.eight_bit;
	if (needs.utf8 && (offers & SMTP_OFFER_SMTPUTF8) == 0) {
		fail_open(w, 550, "5.6.7", "The server takes no such header (SMTPUTF8)");
		return ERR_FORMAT;
	}
	if (needs.eight_bit && (offers & SMTP_OFFER_8BITMIME) == 0) {
		buf_init(&s->narrow, s->released.len * 4 + HEADER_ROOM);
		e = mail_downgrade_8bit(buf_bytes(body), &s->narrow);
		if (e == ERR_UNSUPPORTED) {
			fail_open(
			    w, 550, "5.6.3",
			    "The server takes seven bits only, and a signed part would have to be changed");
		}
		body = &s->narrow;
		s->mail.needs_8bit = false;
	}
	if (e == ERR_OK) {
		e = sign_body(w, body);
	}
	if (e == ERR_OK) {
		*ret_body = buf_bytes(body);
	}
	return e;
}

static void
take_refusal(struct sending *s, enum err e)
{
	struct work *w = s->work;
	switch ((int)e) {
	case ERR_LIMIT:
		fail_open(w, 552, "5.3.4", "The message is larger than the server takes");
		break;
	case ERR_UNSUPPORTED:
		fail_open(w, 550, "5.6.7", "The server takes no such address (SMTPUTF8)");
		break;
	case ERR_FORMAT:
		fail_open(w, 550, "5.1.7", "An address of the envelope cannot be sent");
		break;
	default:
		fail_open(w, 451, "4.3.0", "This house could not send at the moment");
		break;
	}
}

/* In sums, for `cohue status`. */
static void
count_sent(struct work *w, const struct connection *c)
{
	struct courier *courier = w->courier;
	struct protection how;
	connection_protection(c, &how);
	courier->sent_payload += how.payload;
	courier->sent_padding += how.padding;
	courier->seen_larger += how.larger ? 1 : 0;
}

/*
 * No more recipients than an envelope of the common shape takes. The session made the part so that all go in at a peer that
 * pipelines, as nearly all do; at the others it takes several deliveries.
 */
static enum err
fit_flight(struct sending *s, unsigned offers)
{
	size_t count = s->mail.rcpt_count;
	if (!s->connection->padded || count == 0) {
		return ERR_OK;
	}
	enum err e = ERR_OK;
	if ((offers & SMTP_OFFER_PIPELINING) != 0) {
		e = smtp_client_flight(offers, &s->mail, DELIVERY_FLIGHT, &count);
		/* A single one is sent in any case. */
		count = count == 0 ? 1 : count < DELIVERY_RECIPIENTS ? count : DELIVERY_RECIPIENTS;
	} else {
		count = count < CONNECTION_STEPS ? count : CONNECTION_STEPS;
		s->mail.fill = CONNECTION_STEPS - count;
	}
	if (e == ERR_OK) {
		s->more = count < s->mail.rcpt_count;
		s->mail.rcpt_count = count;
	}
	return e;
}

/*
 * All that can be decided with this connection. True if it was lost before anything was. *ret_more: it went well, and
 * others of the recipients are next.
 */
static bool
send_over(struct work *w, struct connection *c, bool *ret_more)
{
	struct sending s = {.work = w, .connection = c, .used = c->messages > 0};
	struct bytes body = BYTES_EMPTY;
	unsigned offers = smtp_client_offers(&c->client);
	enum err e = work_fetch(w);
	arena_init(&s.arena, 4 << 20);
	if (e != ERR_OK) {
		fail_open(w, 451, "4.3.0", "This house could not read the message");
	} else {
		e = connection_is_ready(c) ? prepare_body(&s, offers, &body) : ERR_CLOSED;
		if (!connection_is_ready(c) && any_open(w)) {
			/* It went while the message was fetched, or signed. */
			smtp_result_local(421, "4.4.2", "The connection was lost", &w->failure);
			note_failure(w, &w->failure, c->target.name, false);
			s.disconnected = true;
		} else if (e == ERR_OK) {
			bool utf8 = false;
			bool can_utf8 = (offers & SMTP_OFFER_SMTPUTF8) != 0;
			s.mail.sender = address_of(&s, w->part.sender, &utf8);
			s.mail.needs_utf8 = s.mail.needs_utf8 || utf8;
			s.mail.size = body.len;
			s.mail.ret = (enum smtp_ret)w->part.ret;
			s.mail.require_tls = (w->part.flags & COURIER_REQUIRETLS) != 0;
			s.mail.envid = bytes_slice(w->part.envid, 0, SMTP_ENVID_MAX);
			gather_recipients(&s, can_utf8);
			e = fit_flight(&s, offers);
		}
		if (s.disconnected) {
			/* The next host, or a new connection. */
		} else if (e == ERR_OK && s.mail.rcpt_count > 0) {
			unsigned class = law_size_class(delivery_wire_size(buf_bytes(&w->message)));
			class = class > w->size_class ? class : w->size_class;
			e = connection_send(c, &s.mail, body, class, on_recipient, &s);
			count_sent(w, c);
			if (s.took) {
				pool_took(w->courier->pool, c);
			}
			if (e != ERR_OK) {
				take_refusal(&s, e);
			}
		} else if (e != ERR_OK) {
			/* What it was has been said; short of memory else. */
			fail_open(w, 451, "4.3.0", "This house could not send at the moment");
		}
	}
	arena_clear(&s.arena);
	buf_wipe(&s.released);
	buf_wipe(&s.narrow);
	*ret_more = s.more && !s.disconnected && any_open(w);
	return s.disconnected;
}

/* ---- one host after the other ---- */

/* Why a connection never took a message, as the recipients will hear it. */
static void
take_closed(struct work *w, const struct route_target *target, enum smtp_closed how, struct smtp_result *why)
{
	bool relay = w->courier->host->config.smarthost[0] != '\0';
	if (how == SMTP_CLOSED_AUTH) {
		smtp_result_local(451, "4.7.0", "The relay that this house sends through refuses our login",
				  why);
	}
	if (how == SMTP_CLOSED_NO_TLS) {
		w->courier->seen_no_encryption++;
	}
	/* A server that greets with 5xx takes no mail at all (RFC 7504); our own relay is a matter of configuration. */
	bool final = how == SMTP_CLOSED_REFUSED && !why->local && why->code >= 500 && !relay;
	note_failure(w, why, target->name, final);
}

/* RFC 8689 section 4.2.1: what was promised goes on only to who promises it, too. */
static bool
is_promised(struct work *w, const struct route_target *target, const struct connection *c)
{
	struct smtp_result why;
	if ((w->part.flags & COURIER_REQUIRETLS) == 0 ||
	    (smtp_client_offers(&c->client) & SMTP_OFFER_REQUIRETLS) != 0) {
		return true;
	}
	smtp_result_local(550, "5.7.30", "REQUIRETLS: the server does not promise it", &why);
	note_failure(w, &why, target->name, true);
	return false;
}

/* For a report to the domain: what pool_get came to. */
static void
note_session(struct work *w, enum tally_policy policy, const struct connection_wish *wish, enum err e,
	     enum smtp_closed how, const struct connection *connection)
{
	if (e == ERR_AUTH) {
		reporting_session(w, policy, TALLY_TLS_FAILED, true);
	} else if (e != ERR_OK && how == SMTP_CLOSED_NO_TLS) {
		reporting_session(w, policy, TALLY_TLS_NOT_OFFERED, true);
	} else if (e == ERR_OK && wish->tls != SMTP_TLS_NONE) {
		reporting_session(w, policy,
				  connection->how.tls != 0 ? TALLY_TLS_GOOD : TALLY_TLS_NOT_OFFERED,
				  connection->messages == 0);
	}
}

static void
send_to(struct work *w, const struct route_target *target, struct connection_wish *wish,
	enum tally_policy policy)
{
	struct courier *c = w->courier;
	bool fresh = false;
	for (unsigned i = 0; i < 3;) {
		bool more = false;
		struct connection *connection = NULL;
		struct smtp_result why;
		enum smtp_closed how = SMTP_CLOSED_LOST;
		msec until = loop_now(c->host->loop) + COURIER_TURN_MS;
		enum err e = pool_get(c->pool, target, wish, w->batch, fresh, until, &connection, &why, &how);
		note_session(w, policy, wish, e, how, connection);
		if (e == ERR_AUTH && wish->tls == SMTP_TLS_PREFER) {
			/* It offers encryption and cannot do it: in clear, as if it had not. */
			wish->tls = SMTP_TLS_NONE;
			i++;
			continue;
		}
		if (e != ERR_OK) {
			take_closed(w, target, how, &why);
			return;
		}
		if (!is_promised(w, target, connection)) {
			pool_put(c->pool, &connection);
			return;
		}
		bool used = connection->messages > 0;
		bool lost = send_over(w, connection, &more);
		pool_put(c->pool, &connection);
		if (more) {
			/* Each round decides one recipient at least. */
			continue;
		}
		if (!lost || !used) {
			return;
		}
		i++;
		/* A used connection may have been closed by its idle peer: that says nothing of a new one. */
		fresh = true;
	}
}

static void
try_target(struct work *w, const struct route_target *target, enum policy_sts sts)
{
	struct protect_dane *dane = calloc(1, sizeof(*dane));
	struct connection_wish wish;
	struct smtp_result why;
	if (dane == NULL) {
		smtp_result_local(451, "4.3.0", "This house is short of memory", &why);
		note_failure(w, &why, target->name, false);
	} else if (decide(w, target, sts, dane, &wish, &why) == POLICY_USE_NOT) {
		if (dane->state == POLICY_DANE_BROKEN) {
			reporting_session(w, TALLY_DANE, TALLY_TLS_DNSSEC, true);
		} else if (sts == POLICY_STS_FOREIGN) {
			reporting_session(w, TALLY_STS, TALLY_TLS_FAILED, true);
		}
		note_failure(w, &why, target->name, why.code >= 500);
	} else {
		send_to(w, target, &wish,
			dane->state == POLICY_DANE_USABLE ? TALLY_DANE
			: sts != POLICY_STS_NONE          ? TALLY_STS
							  : TALLY_NO_POLICY);
	}
	if (dane != NULL) {
		protect_dane_clear(dane);
		free(dane);
	}
}

void
work_deliver(struct work *w)
{
	const struct courier *c = w->courier;
	/* A gate of strangers that is captured sends nothing to whom no member has her mail sent on. */
	w->unasked = w->strange && !wish_covers(&w->part, c->purpose.key[PURPOSE_PUBLIC_KEY_VERIFY],
						bytes_str(c->host->config.domain));
	if (w->unasked) {
		return;
	}
	struct smtp_result why;
	struct route *route = calloc(1, sizeof(*route));
	enum err e = route == NULL ? ERR_MEMORY : find_way(w, route, &why);
	if (route == NULL) {
		smtp_result_local(451, "4.3.0", "This house is short of memory", &why);
	}
	enum policy_sts sts[ROUTE_TARGETS_MAX] = {POLICY_STS_NONE};
	if (e == ERR_OK && w->courier->host->config.smarthost[0] == '\0') {
		protect_sts(w, route, sts);
	}
	for (size_t i = 0; e == ERR_OK && i < route->count && any_open(w) && !w->courier->host->stopping;
	     i++) {
		try_target(w, &route->targets[i], sts[i]);
	}
	free(route);
	if (e != ERR_OK) {
		w->failure = why;
	} else if (w->tried && !w->final && w->failure.code >= 500) {
		w->failure.code = 451;
		w->failure.status[0] = '4';
	}
	for (size_t i = 0; i < w->part.recipient_count && (e != ERR_OK || w->tried); i++) {
		if (w->outcomes[i].state == OUTCOME_OPEN) {
			outcome_take(&w->outcomes[i], &w->failure, w->failure_host, false);
		}
	}
}
