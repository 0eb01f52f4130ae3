/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Questions to the DNS, each with a limit. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unbound.h>

#include "base/wire.h"
#include "cli/doctor_dns.h"

enum { CLASS_IN = 1, ANSWERS_MAX = 64, QUESTION_MS = 8000, STEP_MS = 100, TIMEOUTS_MAX = 3 };

struct ub_ctx *
doctor_context(const struct config *c)
{
	struct ub_ctx *ctx = ub_ctx_create();
	char where[CONFIG_ADDRESS_TEXT + CONFIG_NAME_MAX + 16];
	if (ctx == NULL) {
		return NULL;
	}
	(void)ub_ctx_async(ctx, 1); /* a thread */
	(void)ub_ctx_debugout(ctx, NULL);
	size_t named = c->resolver_stub_count + c->resolver_forward_count + c->resolver_forward_tls_count;
	if (named > 0) {
		(void)ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
	}
	for (size_t i = 0; i < c->resolver_stub_count; i++) {
		const struct config_upstream *u = &c->resolver_stub[i];
		(void)snprintf(where, sizeof(where), "%s@%u", u->address, (unsigned)u->port);
		(void)ub_ctx_set_stub(ctx, u->zone, where, 0);
	}
	for (size_t i = 0; i < c->resolver_forward_count; i++) {
		const struct config_upstream *u = &c->resolver_forward[i];
		(void)snprintf(where, sizeof(where), "%s@%u", u->address, (unsigned)u->port);
		(void)ub_ctx_set_fwd(ctx, where);
	}
	for (size_t i = 0; i < c->resolver_forward_tls_count; i++) {
		const struct config_upstream *u = &c->resolver_forward_tls[i];
		(void)snprintf(where, sizeof(where), "%s@%u#%s", u->address, (unsigned)u->port, u->tls_name);
		(void)ub_ctx_set_tls(ctx, 1);
		(void)ub_ctx_set_fwd(ctx, where);
	}
	if (c->resolver_trust_anchor[0] == '/') {
		(void)ub_ctx_add_ta_file(ctx, c->resolver_trust_anchor);
	} else if (c->resolver_trust_anchor[0] != '\0') {
		(void)ub_ctx_add_ta(ctx, c->resolver_trust_anchor);
	} else {
		(void)ub_ctx_add_ta_file(ctx, "/usr/share/dns/root.key"); /* of Debian's dns-root-data */
	}
	if (named > 0) {
		/* Trial runs have a DNS of their own for these (RFC 6761). Settings end with it: it comes last. */
		(void)ub_ctx_zone_remove(ctx, "test.");
		(void)ub_ctx_zone_remove(ctx, "127.in-addr.arpa.");
	}
	return ctx;
}

static void
on_answer(void *arg, int failed, struct ub_result *result)
{
	struct doctor_asker *a = arg;
	a->answered = true;
	a->result = failed == 0 ? result : NULL;
}

/* One question with a limit; NULL: no answer. Who never answers is not asked for ever. */
static struct ub_result *
ask_once(struct doctor_asker *a, const char *name, int type)
{
	int id = 0;
	a->answered = false;
	a->result = NULL;
	if (a->timeouts >= TIMEOUTS_MAX ||
	    ub_resolve_async(a->ctx, (char *)(uintptr_t)name, type, CLASS_IN, a, on_answer, &id) != 0) {
		return NULL;
	}
	for (unsigned waited = 0; !a->answered && waited < QUESTION_MS; waited += STEP_MS) {
		struct pollfd p = {.fd = ub_fd(a->ctx), .events = POLLIN};
		if (ub_poll(a->ctx) != 0 || poll(&p, 1, STEP_MS) > 0) {
			if (ub_process(a->ctx) != 0) {
				break;
			}
		}
	}
	if (!a->answered) {
		a->timeouts++;
		(void)ub_cancel(a->ctx, id);
	}
	return a->result;
}

/* authentication_dns's question. */
enum err
doctor_ask(void *arg, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	struct doctor_asker *a = arg;
	struct wire_writer w;
	char text[256];
	if (name.len >= sizeof(text)) {
		return ERR_LIMIT;
	}
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	struct ub_result *r = ask_once(a, text, (int)type);
	a->questions++;
	if (r == NULL) {
		a->unanswered++;
		return ERR_AGAIN;
	}
	enum err e = r->bogus != 0 ? ERR_AUTH : r->rcode != 0 && r->rcode != 3 ? ERR_AGAIN : ERR_OK;
	a->unanswered += e == ERR_AGAIN ? 1 : 0;
	buf_reset(&a->rdata);
	wire_writer_init(&w, &a->rdata);
	for (int i = 0; e == ERR_OK && i < ANSWERS_MAX && r->data != NULL && r->data[i] != NULL; i++) {
		wire_put_bytes(&w, bytes_of(r->data[i], (size_t)r->len[i]));
	}
	e = e == ERR_OK ? wire_done(&w) : e;
	if (e == ERR_OK) {
		*ret = (struct authentication_answer){
		    .no_name = r->nxdomain != 0, .secure = r->secure != 0, .rdata = buf_bytes(&a->rdata)};
	}
	ub_resolve_free(r);
	return e;
}
