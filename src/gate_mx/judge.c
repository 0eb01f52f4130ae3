/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/judge.h"

#include <string.h>

#include "base/clock.h"
#include "crypto/crypto.h"
#include "gate_mx/questions.h"
#include "gate_mx/rspamd.h"
#include "gate_mx/score.h"

enum {
	UNWANTED = 50, /* as the session has it */
	JUDGE_MEMORY_MAX = 8 << 20,
	SENDERS_MS = 12 * 1000, /* for all questions of the sender's choice together */
	POLICY_MS = 20 * 1000,  /* for the author's policy, */
	POLICY_EACH_MS =
	    8 * 1000, /* which is asked for twice at most: whoever is silent leaves time for the other */
	CLIENT_MS = 5 * 1000, /* for the client's names */
};

static bool
is_trusted(const struct mx *mx, struct bytes sealer)
{
	struct bytes trusted = bytes_str(mx->host->config.arc_trusted);
	while (trusted.len > 0) {
		ptrdiff_t blank = bytes_find(trusted, ' ');
		struct bytes one = blank < 0 ? trusted : bytes_slice(trusted, 0, (size_t)blank);
		if (one.len > 0 && bytes_equal_nocase(one, sealer)) {
			return true;
		}
		trusted = blank < 0 ? BYTES_EMPTY : bytes_from(trusted, (size_t)blank + 1);
	}
	return false;
}

/*
 * A chain by which a mailing list that we trust says that DMARC passed when the message came to it (RFC 8617 section 7.2.1). Believed is
 * only what a trusted one wrote, all after whom are trusted, too; and only of the author that the message now has.
 */
static bool
is_vouched_for(const struct mx *mx, const struct arc_verdict *arc, const struct dmarc_verdict *dmarc)
{
	unsigned n = arc->result == AUTHENTICATION_PASS && arc->sealers != NULL ? arc->sets : 0;
	for (; n > 0 && is_trusted(mx, arc->sealers[n - 1]); n--) {
		enum authentication_result then;
		struct bytes from;
		if (authentication_results_read(arc->results[n - 1], "dmarc", &then) == ERR_OK &&
		    then == AUTHENTICATION_PASS &&
		    authentication_results_property(arc->results[n - 1], "dmarc", "header.from", &from) ==
			ERR_OK &&
		    bytes_is_nocase(from, dmarc->domain)) {
			return true;
		}
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

/* What could not be judged now, and must not pass for that. */
static bool
is_to_wait(const struct mx_judgement *j)
{
	const struct dmarc_verdict *d = &j->results.dmarc;
	if (d->unknown && (d->aligned_dkim || d->aligned_spf)) {
		return false; /* good whatever the policy is */
	}
	/* That we could not ask says nothing of the author. */
	return (d->unknown && j->troubled) || d->policy == DMARC_REJECT || d->policy == DMARC_QUARANTINE;
}

static struct mx_reply
later(bool enforce)
{
	return enforce
		   ? (struct mx_reply){451, "4.7.24", "the author could not be verified now, try again later"}
		   : (struct mx_reply){0, NULL, NULL};
}

static struct mx_reply
sentence(struct mx_connection *c, struct mx_judgement *j)
{
	struct mx_reply accept = {0, NULL, NULL};
	const struct dmarc_verdict *d = &j->results.dmarc;
	bool enforce = c->mx->host->config.authentication == CONFIG_AUTHENTICATION_ENFORCE;
	j->genuine = d->result == AUTHENTICATION_PASS;
	if (d->result == AUTHENTICATION_PERMERROR) {
		/*
		 * The reader would see an author whom nobody has checked (RFC 7489 section 6.6.1). Reports of old mail
		 * servers have a From without a domain: into Junk with them.
		 */
		bool report = c->sender.len == 0 && !d->ambiguous;
		j->suspected = true;
		return enforce && !report
			   ? (struct mx_reply){550, "5.7.1",
					       "From must be one field with an address of one domain"}
			   : accept;
	}
	if (d->result == AUTHENTICATION_TEMPERROR && is_to_wait(j)) {
		j->suspected = true; /* where nothing is refused */
		return later(enforce);
	}
	if (d->result == AUTHENTICATION_FAIL && j->results.arc.result == AUTHENTICATION_TEMPERROR &&
	    c->mx->host->config.arc_trusted[0] != '\0' && is_to_wait(j)) {
		j->suspected = true; /* a list that is trusted may have sealed it */
		return later(enforce);
	}
	j->vouched = d->result == AUTHENTICATION_FAIL && is_vouched_for(c->mx, &j->results.arc, d);
	/* What claims to be of this house, and came from outside without proof: whatever its record says, or does not. */
	j->suspected =
	    !j->genuine && !j->vouched && bytes_is_nocase(bytes_str(d->domain), c->mx->host->config.domain);
	/* Nobody knows what the author's domain wants, and nothing shows that it is his. */
	j->suspected = j->suspected || (d->unknown && !d->aligned_dkim && !d->aligned_spf);
	if (d->result != AUTHENTICATION_FAIL || j->vouched) {
		return accept;
	}
	j->suspected = j->suspected || d->policy == DMARC_QUARANTINE || d->policy == DMARC_REJECT;
	if (d->policy == DMARC_REJECT && enforce && !d->spf_unread) {
		return (struct mx_reply){
		    550, "5.7.1",
		    "not authenticated: the policy of the author's domain is to refuse it (DMARC)"};
	}
	return accept;
}

/* The same for all messages of a connection: asked for once. */
static void
check_client(struct mx_connection *c, const struct authentication_dns *dns)
{
	const struct config *config = &c->mx->host->config;
	struct client_input in = {.hello = buf_bytes(&c->hello),
				  .host = bytes_str(config->hostname),
				  .domain = bytes_str(config->domain),
				  .lists = bytes_str(config->dnsbl)};
	if (!c->client_known) {
		memcpy(in.address, c->peer, sizeof(in.address));
		client_check(&in, dns, &c->client);
		c->client_known = true;
	}
}

static void
score(struct mx_connection *c, const struct authentication_dns *dns, struct mx_judgement *j)
{
	check_client(c, dns);
	j->client = c->client;
	struct score_input in = {.message = buf_bytes(&c->message),
				 .client = &j->client,
				 .results = &j->results,
				 .vouched = j->vouched,
				 .recipients = c->target_count,
				 .sender = buf_bytes(&c->sender)};
	j->score = score_message(&in);
}

/*
 * Each line up to the empty one is a field, or goes on with one: where something else stands there, some readers end the header and
 * others do not, and what was judged is not what is shown.
 */
static bool
is_sound_header(struct bytes message)
{
	bool any = false;
	size_t at = 0;
	while (at < message.len) {
		ptrdiff_t end = bytes_find(bytes_from(message, at), '\n');
		struct bytes line =
		    end < 0 ? bytes_from(message, at) : bytes_slice(message, at, (size_t)end + 1);
		struct bytes text = bytes_trim(line);
		at += line.len;
		if (line.ptr[0] == '\r' || line.ptr[0] == '\n') {
			return any;
		}
		if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
			if (!any) {
				return false;
			}
			continue;
		}
		ptrdiff_t colon = bytes_find(text, ':');
		struct bytes name = bytes_trim(bytes_slice(text, 0, colon < 0 ? 0 : (size_t)colon));
		for (size_t i = 0; i < name.len; i++) {
			if (name.ptr[i] <= ' ' || name.ptr[i] >= 127) {
				return false;
			}
		}
		if (name.len == 0) {
			return false;
		}
		any = true;
	}
	return any;
}

static enum err
authenticate(struct mx_connection *c, struct mx_judgement *ret, struct mx_reply *ret_answer)
{
	struct mx *mx = c->mx;
	struct mx_questions questions;
	struct authentication_dns dns = mx_questions_start(&questions, c);
	int64_t now = clock_wall() / MSEC_SECOND;
	struct bytes message = buf_bytes(&c->message);
	mx_questions_turn_to(&questions, TURNS_SENDERS, SENDERS_MS, 0);
	check_senders(c, &dns, now, &ret->results);
	char author[DKIM_DOMAIN_MAX];
	dmarc_author(message, author);
	enum err e = dkim_verify(&ret->arena, message, bytes_str(author), now, &dns, &ret->results.dkim);
	if (e == ERR_OK) {
		e = arc_verify(&ret->arena, message, &dns, &ret->results.arc);
	}
	if (e == ERR_OK) {
		/* Whatever time the sender's own name servers took: the author's policy is asked for in any case. */
		bool troubled = questions.troubled;
		mx_questions_turn_to(&questions, TURNS_POLICY, POLICY_MS, POLICY_EACH_MS);
		dmarc_check(message, &ret->results.dkim, &ret->results.spf, draw(), &dns,
			    &ret->results.dmarc);
		ret->troubled = troubled || questions.troubled;
		ret->made = true;
		*ret_answer = sentence(c, ret);
		mx->seen_genuine += ret->genuine ? 1 : 0;
		mx->seen_forged += ret_answer->code != 0 || ret->suspected ? 1 : 0;
		if (ret_answer->code == 0 && mx->host->config.junk_score == CONFIG_ON) {
			mx_questions_turn_to(&questions, TURNS_SENDERS, CLIENT_MS, 0);
			score(c, &dns, ret);
		}
	}
	mx_questions_clear(&questions);
	return e;
}

enum err
mx_judge(struct mx_connection *c, struct mx_judgement *ret, struct mx_reply *ret_answer)
{
	const struct config *config = &c->mx->host->config;
	enum err e = ERR_OK;
	memset(ret, 0, sizeof(*ret));
	arena_init(&ret->arena, JUDGE_MEMORY_MAX);
	*ret_answer = (struct mx_reply){0, NULL, NULL};
	if (config->authentication == CONFIG_AUTHENTICATION_ENFORCE &&
	    !is_sound_header(buf_bytes(&c->message))) {
		*ret_answer = (struct mx_reply){550, "5.6.0", "the header has a line that is no field"};
		return ERR_OK;
	}
	if (config->authentication != CONFIG_AUTHENTICATION_OFF) {
		e = authenticate(c, ret, ret_answer);
	}
	if (e == ERR_OK && ret_answer->code == 0 && config->rspamd[0] != '\0' && !c->gone) {
		/* Both look at the same things: the sterner one counts, not their sum. */
		uint32_t other = mx_ask_rspamd(c, ret);
		ret->score = other > ret->score ? other : ret->score;
	}
	c->mx->seen_unwanted += ret->score >= UNWANTED ? 1 : 0;
	return e;
}

void
mx_judgement_clear(struct mx_judgement *j)
{
	arena_clear(&j->arena);
}
