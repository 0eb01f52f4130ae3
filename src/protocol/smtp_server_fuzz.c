/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/sasl_scram.h"
#include "protocol/smtp_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Octet 0: mode, TLS, whether the host answers at once; octet 1: how the input is cut. */
struct host {
	struct smtp_server server;
	unsigned behaviour;
	bool tls_due;
	bool in_message;
};

enum { ANSWER_LATER = 8, HOLD = 16, REFUSE_SOME = 32 };

static void
answer(struct host *h)
{
	static unsigned turn;
	if ((h->behaviour & REFUSE_SOME) != 0 && turn++ % 5 == 0) {
		smtp_server_reply(&h->server, 450, "4.2.0", BYTES_LIT("Later"), 1);
	} else {
		smtp_server_accept(&h->server, 1);
	}
}

static void
asked(struct host *h)
{
	if (!smtp_server_asked(&h->server)) {
		panic("nothing was asked");
	}
	if ((h->behaviour & ANSWER_LATER) == 0) {
		answer(h);
	}
}

static void
on_hello(void *ctx, enum smtp_hello kind, struct bytes name)
{
	(void)ctx;
	if (kind == SMTP_HELLO_NONE || name.len == 0) {
		panic("hello without a name");
	}
}

static void
on_starttls(void *ctx)
{
	((struct host *)ctx)->tls_due = true;
}

static void
on_auth(void *ctx, const struct smtp_credentials *c)
{
	if (c->user.len == 0) {
		panic("login without a user");
	}
	asked(ctx);
}

static void
on_scram(void *ctx, const struct sasl_scram *scram, bool final)
{
	struct host *h = ctx;
	static const uint8_t octets[SASL_SCRAM_SERVER_NONCE_LEN] =
	    "123456789012345678901234567890123456789012345678";
	if (scram->name.len == 0 || scram->client_nonce.len == 0) {
		panic("a proof of nobody");
	}
	if (final) {
		smtp_server_prove(&h->server, octets, 1);
	} else {
		smtp_server_challenge(&h->server, octets, 4096, octets, BYTES_EMPTY, 1);
	}
}

static void
on_mail(void *ctx, const struct smtp_mail *m)
{
	if (m->sender.utf8 && !m->utf8) {
		panic("UTF-8 not asked for");
	}
	asked(ctx);
}

static void
on_rcpt(void *ctx, const struct smtp_rcpt *r)
{
	if (r->recipient.local.len == 0) {
		panic("empty recipient");
	}
	asked(ctx);
}

static void
on_begin(void *ctx, bool chunked)
{
	(void)chunked;
	((struct host *)ctx)->in_message = true;
	asked(ctx);
}

static void
on_data(void *ctx, struct bytes chunk)
{
	struct host *h = ctx;
	if (!h->in_message || chunk.len == 0 || bytes_find(chunk, 0) >= 0) {
		panic("data out of place");
	}
	if ((h->behaviour & HOLD) != 0) {
		smtp_server_hold(&h->server);
	}
}

static void
on_end(void *ctx, uint64_t size)
{
	struct host *h = ctx;
	if (!h->in_message || size > h->server.config->max_message) {
		panic("end out of place");
	}
	h->in_message = false;
	asked(h);
}

static void
on_reset(void *ctx)
{
	((struct host *)ctx)->in_message = false;
}

static const struct smtp_server_host callbacks = {on_hello, on_starttls, on_auth, on_scram, on_mail,
						  on_rcpt,  on_begin,    on_data, on_end,   on_reset};

static void
settle(struct host *h)
{
	for (unsigned i = 0; i < 4; i++) {
		if (smtp_server_asked(&h->server)) {
			answer(h);
		}
		if (h->tls_due) {
			h->tls_due = false;
			smtp_server_tls_started(&h->server, 1);
		}
		smtp_server_release(&h->server, 1);
		smtp_server_sent(&h->server, smtp_server_output(&h->server).len, 1);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_server_config config;
	struct host h = {.behaviour = size > 0 ? data[0] : 0U};
	if (size < 2) {
		return 0;
	}
	smtp_server_config_default(&config);
	config.hostname = BYTES_LIT("mx.example.org");
	config.max_message = 5000;
	smtp_server_init(&h.server, (enum smtp_mode)((data[0] & 3) % 3), (data[0] & 4) != 0, &config,
			 &callbacks, &h);
	smtp_server_start(&h.server, SMTP_HELLO_EHLO, 0);
	size_t step = data[1] == 0 ? size : data[1];
	struct bytes in = bytes_of(data + 2, size - 2);
	for (unsigned stuck = 0; in.len > 0 && stuck < 3;) {
		size_t n = smtp_server_wants(&h.server);
		n = n < step ? n : step;
		n = n < in.len ? n : in.len;
		if (n > 0 && smtp_server_feed(&h.server, bytes_slice(in, 0, n), 1) != ERR_OK) {
			break;
		}
		stuck = n > 0 ? 0 : stuck + 1;
		in = bytes_from(in, n);
		settle(&h);
	}
	smtp_server_tick(&h.server, MSEC_DAY);
	smtp_server_clear(&h.server);
	return 0;
}
