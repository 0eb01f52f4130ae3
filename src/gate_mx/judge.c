/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/judge.h"

#include <string.h>

#include "base/clock.h"
#include "crypto/crypto.h"

enum {
	JUDGE_MEMORY_MAX = 8 << 20,
	QUESTIONS_MAX = 200,      /* of one message; SPF and DKIM have limits of their own below it */
	QUESTIONS_MS = 30 * 1000, /* for all of them together */
};

struct asking {
	struct mx_connection *c;
	struct buf reply; /* of the last answer: what it lends lives here */
	unsigned questions;
	msec until;
};

static enum err
ask(void *ctx, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	enum { NO_NAME = 3 };
	struct asking *a = ctx;
	struct role_host *h = a->c->mx->host;
	struct msg_resolve q = {.name = name, .type = (uint16_t)type};
	struct msg_resolve_reply r;
	struct channel *ch = role_channel(h, ROLE_RESOLVER, 0);
	if (a->c->gone) {
		return ERR_CLOSED;
	}
	if (++a->questions > QUESTIONS_MAX) {
		return ERR_LIMIT;
	}
	if (ch == NULL) {
		return ERR_AGAIN;
	}
	buf_wipe(&a->reply);
	enum err e = channel_call(ch, RESOLVE, resolve, &q, a->until, &a->reply);
	if (e == ERR_OK) {
		e = msg_resolve_reply_decode(buf_bytes(&a->reply), &r);
	}
	if (e == ERR_OK) {
		*ret = (struct authentication_answer){
		    .no_name = r.rcode == NO_NAME, .secure = r.secure != 0, .rdata = r.answers};
	}
	return e;
}

/* A chain by which a mailing list that we trust says that DMARC passed when the message came to it (RFC 8617 section 7.2.1). */
static bool
is_vouched_for(const struct mx *mx, const struct arc_verdict *arc)
{
	enum authentication_result then;
	struct bytes trusted = bytes_str(mx->host->config.arc_trusted);
	if (arc->result != AUTHENTICATION_PASS ||
	    authentication_results_read(arc->results, "dmarc", &then) != ERR_OK ||
	    then != AUTHENTICATION_PASS) {
		return false;
	}
	while (trusted.len > 0) {
		ptrdiff_t blank = bytes_find(trusted, ' ');
		struct bytes one = blank < 0 ? trusted : bytes_slice(trusted, 0, (size_t)blank);
		if (one.len > 0 && bytes_equal_nocase(one, arc->sealer)) {
			return true;
		}
		trusted = blank < 0 ? BYTES_EMPTY : bytes_from(trusted, (size_t)blank + 1);
	}
	return false;
}

static void
check_senders(struct mx_connection *c, const struct authentication_dns *dns, int64_t now,
	      struct authentication_results *r)
{
	struct spf_input in = {.hello = buf_bytes(&c->hello),
			       .sender = buf_bytes(&c->sender),
			       .receiver = bytes_str(c->mx->host->config.hostname),
			       .now = now};
	memcpy(in.address, c->peer, sizeof(in.address));
	spf_check(&in, dns, &r->spf);
	r->sender = in.sender;
}

/* 0 to 99, for pct= (RFC 7489 section 6.6.4); the bias of 2^32 modulo 100 harms nobody. */
static unsigned
draw(void)
{
	uint32_t n;
	crypto_random_bytes(&n, sizeof(n));
	return n % 100;
}

static struct mx_reply
sentence(struct mx_connection *c, struct mx_judgement *j)
{
	struct mx_reply accept = {0, NULL, NULL};
	const struct dmarc_verdict *d = &j->results.dmarc;
	bool enforce = c->mx->host->config.authentication == CONFIG_AUTHENTICATION_ENFORCE;
	j->genuine = d->result == AUTHENTICATION_PASS;
	if (d->ambiguous) {
		/* The reader would see an author whom nobody has checked (RFC 7489 section 6.6.1). */
		return enforce ? (struct mx_reply){550, "5.7.1", "From must name one domain, in one field"}
			       : accept;
	}
	if (d->result != AUTHENTICATION_FAIL || is_vouched_for(c->mx, &j->results.arc)) {
		return accept;
	}
	j->suspected = d->policy == DMARC_QUARANTINE || d->policy == DMARC_REJECT;
	if (d->policy == DMARC_REJECT && enforce) {
		return (struct mx_reply){
		    550, "5.7.1",
		    "not authenticated: the policy of the author's domain is to refuse it (DMARC)"};
	}
	return accept;
}

enum err
mx_judge(struct mx_connection *c, struct mx_judgement *ret, struct mx_reply *ret_answer)
{
	struct mx *mx = c->mx;
	struct asking asking = {
	    .c = c, .reply = BUF_INIT(IPC_CHUNK + 1024), .until = loop_now(mx->host->loop) + QUESTIONS_MS};
	struct authentication_dns dns = {.ask = ask, .ctx = &asking};
	int64_t now = clock_wall() / MSEC_SECOND;
	struct bytes message = buf_bytes(&c->message);
	memset(ret, 0, sizeof(*ret));
	arena_init(&ret->arena, JUDGE_MEMORY_MAX);
	*ret_answer = (struct mx_reply){0, NULL, NULL};
	if (mx->host->config.authentication == CONFIG_AUTHENTICATION_OFF) {
		return ERR_OK;
	}
	check_senders(c, &dns, now, &ret->results);
	enum err e = dkim_verify(&ret->arena, message, now, &dns, &ret->results.dkim);
	if (e == ERR_OK) {
		e = arc_verify(&ret->arena, message, &dns, &ret->results.arc);
	}
	if (e == ERR_OK) {
		dmarc_check(message, &ret->results.dkim, &ret->results.spf, draw(), &dns,
			    &ret->results.dmarc);
		ret->made = true;
		*ret_answer = sentence(c, ret);
		mx->seen_genuine += ret->genuine ? 1 : 0;
		mx->seen_forged += ret_answer->code != 0 || ret->suspected ? 1 : 0;
	}
	buf_wipe(&asking.reply);
	return e;
}

void
mx_judgement_clear(struct mx_judgement *j)
{
	arena_clear(&j->arena);
}
