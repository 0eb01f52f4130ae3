/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Answers to a certificate authority. Which token is asked for comes by the fetcher, from strangers; whose account is proved comes from the keeper,
 * which says so only while an order that it signed may be under way. Who captures the fetcher cannot have this house vouch for another account.
 */
#include <stdlib.h>
#include <string.h>

#include "gate_member/gate.h"
#include "ipc/messages.h"
#include "loop/task.h"
#include "loop/tls_challenge.h"
#include "process/log.h"

enum { CHALLENGE_MS = 10 * 60 * 1000, VOUCH_MS = 10 * 1000, ASKING_MAX = 8, NAME_ROOM = 256 };

struct asking {
	struct member_gate *gate;
	uint64_t serial; /* of the fetcher's channel */
	uint32_t id;
	uint8_t kind;
	char name[NAME_ROOM];
	char token[WEB_TOKEN_MAX + 1];
};

static bool
is_our_name(const struct config *c, struct bytes name)
{
	char names[WEB_NAMES_MAX][CONFIG_NAME_MAX];
	size_t count = web_names(c, names);
	for (size_t i = 0; i < count; i++) {
		if (bytes_is(name, names[i])) {
			return true;
		}
	}
	return false;
}

static enum err
ask_keeper(struct member_gate *g, uint8_t ret[WEB_THUMBPRINT])
{
	struct buf reply = BUF_INIT(1024);
	struct msg_acme_vouch_reply r;
	enum err e = channel_call_empty(role_channel(g->host, ROLE_KEEPER, 0), MSG_ACME_VOUCH,
					loop_now(g->host->loop) + VOUCH_MS, &reply);
	e = e == ERR_OK ? msg_acme_vouch_reply_decode(buf_bytes(&reply), &r) : e;
	if (e == ERR_OK) {
		memcpy(ret, r.thumbprint, WEB_THUMBPRINT);
	}
	buf_clear(&reply);
	return e;
}

/* thumbprint: NULL: no longer. */
static enum err
set(struct member_gate *g, unsigned kind, struct bytes name, struct bytes token, const uint8_t *thumbprint)
{
	struct buf answer = BUF_INIT(WEB_KEY_AUTHORISATION_MAX);
	msec now = loop_now(g->host->loop);
	enum err e = ERR_OK;
	if (kind == ACME_HTTP_01) {
		return http_challenge_set(&g->web.challenges, token, thumbprint, now, now + CHALLENGE_MS);
	}
	e = thumbprint == NULL ? ERR_OK : web_key_authorisation(token, thumbprint, &answer);
	e = e == ERR_OK ? tls_challenges_set(g->gate_tls.challenges, name, buf_bytes(&answer), now,
					     now + CHALLENGE_MS)
			: e;
	buf_clear(&answer);
	return e;
}

static void
ask_task(void *arg)
{
	struct asking *a = arg;
	struct member_gate *g = a->gate;
	uint8_t thumbprint[WEB_THUMBPRINT];
	enum err e = ask_keeper(g, thumbprint);
	e = e == ERR_OK ? set(g, a->kind, bytes_str(a->name), bytes_str(a->token), thumbprint) : e;
	struct channel *ch = role_channel(g->host, ROLE_FETCHER, 0);
	if (ch != NULL && channel_serial(ch) == a->serial &&
	    channel_answer(ch, MSG_ACME_CHALLENGE, a->id, e == ERR_FORMAT ? ERR_DENIED : e) != ERR_OK) {
		channel_end(ch);
	}
	g->challenges_asked--;
	free(a);
}

static enum err
begin(struct member_gate *g, struct channel *ch, uint32_t id, const struct msg_acme_challenge *q)
{
	if (g->challenges_asked >= ASKING_MAX) {
		return ERR_AGAIN;
	}
	struct asking *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		return ERR_MEMORY;
	}
	*a = (struct asking){.gate = g, .serial = channel_serial(ch), .id = id, .kind = q->kind};
	memcpy(a->name, q->name.ptr, q->name.len);
	memcpy(a->token, q->token.ptr, q->token.len);
	g->challenges_asked++;
	enum err e = role_spawn(g->host, ask_task, a);
	if (e != ERR_OK) {
		g->challenges_asked--;
		free(a);
	}
	return e;
}

void
member_challenge(struct member_gate *g, struct channel *ch, const struct channel_message *m)
{
	struct msg_acme_challenge q;
	if (msg_acme_challenge_decode(m->payload, &q) != ERR_OK ||
	    (q.kind != ACME_HTTP_01 && q.kind != ACME_TLS_ALPN_01)) {
		channel_fault(ch);
		return;
	}
	/* What is in it the authority has chosen. */
	bool fits = q.name.len < NAME_ROOM && web_token_check(q.token) == ERR_OK &&
		    is_our_name(&g->host->config, q.name) && g->host->config.acme == CONFIG_ON;
	enum err e = !fits ? ERR_DENIED : q.on != 0 ? begin(g, ch, m->id, &q) : ERR_OK;
	if (fits && q.on != 0 && e == ERR_OK) {
		return;
	}
	e = e == ERR_OK ? set(g, q.kind, q.name, q.token, NULL) : e;
	if (channel_answer(ch, m->type, m->id, e == ERR_FORMAT ? ERR_DENIED : e) != ERR_OK) {
		channel_end(ch);
	}
}
