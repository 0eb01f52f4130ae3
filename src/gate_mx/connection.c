/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One stranger's connection: the SMTP engine's questions, answered. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gate_mx/mx.h"
#include "lookup/forward.h"
#include "loop/task.h"

enum {
	HELD_MAX = 256 << 20, /* bytes of unfinished messages in this process */
	HELLO_MAX = 256,
	PATH_MAX_BYTES = 512,
	ADDRESSES_MAX = 64 * 1024,
};

static struct mx_connection *
of_engine(void *ctx)
{
	return ctx;
}

static msec
now(const struct mx_connection *c)
{
	return loop_now(c->mx->host->loop);
}

static void
end_transaction(struct mx_connection *c)
{
	c->mx->held_bytes -= c->message.cap;
	buf_wipe(&c->message);
	buf_wipe(&c->sender);
	buf_wipe(&c->addresses);
	free(c->targets);
	c->targets = NULL;
	c->target_count = 0;
	c->waits = false;
	c->too_much = false;
	c->utf8 = false;
}

void
mx_connection_free(struct mx_connection *c)
{
	struct mx *mx = c->mx;
	*c->link = c->next;
	if (c->next != NULL) {
		c->next->link = c->link;
	}
	end_transaction(c);
	buf_wipe(&c->hello);
	buf_wipe(&c->asked_text);
	smtp_connection_clear(&c->smtp);
	free(c);
	mx->connections--;
	if (mx->connections < mx->host->config.gate_mx_connections) {
		for (size_t i = 0; i < mx->listener_count; i++) {
			listener_release(&mx->listeners[i]);
		}
	}
}

static void
on_closed(struct smtp_connection *s)
{
	struct mx_connection *c = s->smtp.ctx;
	c->gone = true;
	if (c->tasks == 0) {
		mx_connection_free(c);
	}
}

static const struct smtp_connection_events connection_events = {.closed = on_closed};

/* ---- answers from tasks ---- */

static void
answer(struct mx_connection *c, struct mx_reply r)
{
	c->mx->seen_refused += r.code >= 500 ? 1 : 0;
	c->mx->seen_deferred += r.code >= 400 && r.code < 500 ? 1 : 0;
	if (r.code == 0) {
		smtp_server_accept(&c->smtp.smtp, now(c));
	} else {
		smtp_server_reply(&c->smtp.smtp, r.code, r.enhanced, bytes_str(r.text), now(c));
	}
}

/* The end of a task's work on the connection: which may have gone meanwhile. */
static void
leave_task(struct mx_connection *c, struct mx_reply r)
{
	c->tasks--;
	if (!c->gone) {
		answer(c, r);
		smtp_connection_pump(&c->smtp);
	} else if (c->tasks == 0) {
		mx_connection_free(c);
	}
}

static void
run_task(struct mx_connection *c, task_fn *fn)
{
	c->tasks++;
	if (role_spawn(c->mx->host, fn, c) != ERR_OK) {
		c->tasks--;
		answer(c, (struct mx_reply){451, "4.3.2", "too busy, try again later"});
	}
}

/* ---- the engine's questions ---- */

static void
on_hello(void *ctx, enum smtp_hello kind, struct bytes name)
{
	struct mx_connection *c = of_engine(ctx);
	buf_reset(&c->hello);
	c->client_known = false;
	c->extended = kind == SMTP_HELLO_EHLO;
	/* For the Received line and the score; without memory it is left out. */
	if (buf_append(&c->hello, bytes_slice(name, 0, HELLO_MAX)) != ERR_OK) {
		buf_reset(&c->hello);
	}
}

static void
on_starttls(void *ctx)
{
	smtp_connection_starttls(&of_engine(ctx)->smtp);
}

static void
on_auth(void *ctx, const struct smtp_credentials *credentials)
{
	/* The engine never asks this in its MX mode. */
	(void)credentials;
	smtp_server_reply(&of_engine(ctx)->smtp.smtp, 503, "5.5.1", BYTES_LIT("no login here"),
			  now(of_engine(ctx)));
}

static void
on_mail(void *ctx, const struct smtp_mail *mail)
{
	struct mx_connection *c = of_engine(ctx);
	end_transaction(c);
	buf_init(&c->sender, PATH_MAX_BYTES);
	buf_init(&c->addresses, ADDRESSES_MAX);
	c->utf8 = mail->utf8;
	c->declared = mail->size;
	enum err e = ERR_OK;
	if (mail->sender.local.len > 0) {
		e = buf_append(&c->sender, mail->sender.local);
		if (e == ERR_OK && mail->sender.domain.len > 0) {
			e = buf_append_byte(&c->sender, '@');
			e = e == ERR_OK ? buf_append(&c->sender, mail->sender.domain) : e;
		}
	}
	if (e == ERR_OK) {
		answer(c, mx_limits_mail(c));
	} else {
		answer(c, (struct mx_reply){452, "4.3.1", "out of memory, try again later"});
	}
}

static struct mx_reply
lookup_reply(enum err e)
{
	switch ((int)e) {
	case ERR_NOT_FOUND:
		return (struct mx_reply){550, "5.1.1", "no such mailbox here"};
	case ERR_DENIED:
		return (struct mx_reply){550, "5.7.1",
					 "relaying denied: this is not a domain of this server"};
	case ERR_LIMIT:
		return (struct mx_reply){452, "4.5.3",
					 "too many recipients, send the rest in another transaction"};
	case ERR_QUOTA:
		return (struct mx_reply){452, "4.2.2", "mailbox full"};
	default:
		return (struct mx_reply){451, "4.3.0", "temporary failure, try again later"};
	}
}

static bool
has_target(const struct mx_connection *c, const uint8_t id[SEALED_ID_LEN])
{
	for (size_t i = 0; i < c->target_count; i++) {
		if (memcmp(c->targets[i].account.id, id, SEALED_ID_LEN) == 0) {
			return true;
		}
	}
	return false;
}

static enum err
add_targets(struct mx_connection *c, const struct lookup_account *found, size_t count)
{
	size_t at = c->addresses.len;
	enum err e = buf_append(&c->addresses, buf_bytes(&c->asked_text));
	if (e != ERR_OK) {
		return ERR_LIMIT;
	}
	if (count > MX_TARGETS_MAX - c->target_count) {
		return ERR_LIMIT;
	}
	struct mx_target *more = reallocarray(c->targets, c->target_count + count, sizeof(*more));
	if (more == NULL) {
		return ERR_MEMORY;
	}
	c->targets = more;
	/* Haste is one member's to ask for: behind an address of several, the others have not. */
	c->waits = c->waits || count != 1 || !mail_subaddress_ends(c->asked.local, '+', BYTES_LIT("now"));
	bool returned = mail_subaddress_ends(c->asked.local, '+', BYTES_LIT(FORWARD_WORD));
	for (size_t i = 0; i < count; i++) {
		if (has_target(c, found[i].id)) {
			/* By another alias already: one copy is enough. */
			continue;
		}
		c->targets[c->target_count++] = (struct mx_target){.account = found[i],
								   .recipient_at = at,
								   .recipient_len = c->addresses.len - at,
								   .returned = returned};
	}
	return ERR_OK;
}

static void
rcpt_task(void *arg)
{
	struct mx_connection *c = arg;
	struct lookup_account *found = calloc(DIRECTORY_ACCOUNTS_MAX, sizeof(*found));
	size_t count = 0;
	enum err e = found == NULL ? ERR_MEMORY
				   : lookup_recipient(c->mx->host, &c->mx->keys, &c->asked, c->declared,
						      found, DIRECTORY_ACCOUNTS_MAX, &count);
	struct mx_reply r = {0, NULL, NULL};
	if (e == ERR_OK && !c->gone) {
		r = mx_limits_greylist(c);
		e = r.code == 0 ? add_targets(c, found, count) : ERR_OK;
	}
	free(found);
	if (e == ERR_NOT_FOUND) {
		mx_limits_unknown(c);
	}
	leave_task(c, e == ERR_OK ? r : lookup_reply(e));
}

static void
on_rcpt(void *ctx, const struct smtp_rcpt *rcpt)
{
	struct mx_connection *c = of_engine(ctx);
	struct mx_reply slowed = mx_limits_rcpt(c);
	if (slowed.code != 0) {
		answer(c, slowed);
		return;
	}
	/* The views die with this call; the task needs the address later. */
	buf_wipe(&c->asked_text);
	buf_init(&c->asked_text, PATH_MAX_BYTES * 2);
	size_t local_len = rcpt->recipient.local.len;
	enum err e = buf_append(&c->asked_text, rcpt->recipient.local);
	if (e == ERR_OK && rcpt->recipient.domain.len > 0) {
		e = buf_append_byte(&c->asked_text, '@');
		e = e == ERR_OK ? buf_append(&c->asked_text, rcpt->recipient.domain) : e;
	}
	if (e != ERR_OK) {
		answer(c, lookup_reply(e));
		return;
	}
	c->asked = rcpt->recipient;
	c->asked.local = bytes_slice(buf_bytes(&c->asked_text), 0, local_len);
	c->asked.domain = rcpt->recipient.domain.len == 0
			      ? BYTES_EMPTY
			      : bytes_from(buf_bytes(&c->asked_text), local_len + 1);
	run_task(c, rcpt_task);
}

static void
on_data_begin(void *ctx, bool chunked)
{
	struct mx_connection *c = of_engine(ctx);
	(void)chunked;
	if (c->mx->held_bytes > HELD_MAX) {
		answer(c, (struct mx_reply){452, "4.3.1", "too much mail at once, try again later"});
		return;
	}
	buf_init(&c->message, c->mx->smtp.max_message + 4096);
	smtp_server_accept(&c->smtp.smtp, now(c));
}

static void
on_data(void *ctx, struct bytes chunk)
{
	struct mx_connection *c = of_engine(ctx);
	if (c->too_much) {
		return;
	}
	size_t before = c->message.cap;
	if (c->mx->held_bytes > HELD_MAX || buf_append(&c->message, chunk) != ERR_OK) {
		c->too_much = true;
		c->mx->held_bytes -= before;
		buf_wipe(&c->message);
		return;
	}
	c->mx->held_bytes += c->message.cap - before;
}

static void
deliver_task(void *arg)
{
	struct mx_connection *c = arg;
	struct mx_reply r = mx_deliver(c);
	if (r.code == 0) {
		c->mx->seen_messages++;
		if (c->smtp.smtp.tls) {
			c->mx->seen_encrypted++;
		} else {
			c->mx->seen_clear++;
		}
	}
	/* Given back before the answer: the next command may come with it. */
	end_transaction(c);
	leave_task(c, r);
}

static void
on_data_end(void *ctx, uint64_t size)
{
	struct mx_connection *c = of_engine(ctx);
	(void)size;
	if (c->too_much) {
		answer(c, (struct mx_reply){452, "4.3.1", "too much mail at once, try again later"});
		return;
	}
	run_task(c, deliver_task);
}

static void
on_reset(void *ctx)
{
	struct mx_connection *c = of_engine(ctx);
	if (c->tasks == 0) {
		end_transaction(c);
	}
}

static const struct smtp_server_host host = {
    .hello = on_hello,
    .starttls = on_starttls,
    .auth = on_auth,
    .mail = on_mail,
    .rcpt = on_rcpt,
    .data_begin = on_data_begin,
    .data = on_data,
    .data_end = on_data_end,
    .reset = on_reset,
};

static void
set_peer(struct mx_connection *c, const struct sockaddr *peer)
{
	if (peer->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)peer;
		memcpy(c->peer, &in6->sin6_addr, 16);
	} else if (peer->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
		c->peer[10] = 0xff;
		c->peer[11] = 0xff;
		memcpy(c->peer + 12, &in->sin_addr, 4);
	}
}

void
mx_connection_open(struct mx *mx, int fd, const struct sockaddr *peer)
{
	struct mx_connection *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		(void)close(fd);
		return;
	}
	c->mx = mx;
	set_peer(c, peer);
	buf_init(&c->hello, HELLO_MAX);
	c->next = mx->all;
	c->link = &mx->all;
	if (c->next != NULL) {
		c->next->link = &c->next;
	}
	mx->all = c;
	mx->connections++;
	mx->seen_connections++;
	if (!mx_limits_open(mx, c)) {
		/* Without an engine: what it costs is this one write, which may fail. */
		static const char later[] =
		    "421 4.7.0 too many connections from your network, try again later\r\n";
		ssize_t written = write(fd, later, sizeof(later) - 1);
		(void)written;
		(void)close(fd);
		mx_connection_free(c);
		return;
	}
	if (smtp_connection_start(&c->smtp, mx->host->loop, fd, SMTP_MODE_MX, false, mx->tls,
				  mx->host->config.pad, &mx->smtp, &host, c, &connection_events) != ERR_OK) {
		mx_connection_free(c);
		return;
	}
	if (mx->connections >= mx->host->config.gate_mx_connections) {
		/* The next ones wait in the kernel's queue until one of these ends. */
		for (size_t i = 0; i < mx->listener_count; i++) {
			listener_hold(&mx->listeners[i]);
		}
	}
}
