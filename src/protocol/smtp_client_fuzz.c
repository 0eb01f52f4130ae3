/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A hostile server's replies. Octet 0: TLS policy, login; octet 1: how they are cut. */
struct host {
	struct smtp_client client;
	struct smtp_client_rcpt rcpts[3];
	struct smtp_client_mail mail;
	unsigned told;
	unsigned messages;
	size_t at;
	bool tls_due;
	bool closed;
};

static void
on_starttls(void *ctx)
{
	((struct host *)ctx)->tls_due = true;
}

static void
on_ready(void *ctx)
{
	struct host *h = ctx;
	h->told = 0;
	h->at = 0;
	h->mail.needs_8bit = (smtp_client_offers(&h->client) & SMTP_OFFER_8BITMIME) != 0;
	if (++h->messages > 3 || smtp_client_send(&h->client, &h->mail, 0) != ERR_OK) {
		smtp_client_quit(&h->client, 0);
	}
}

static enum err
on_body(void *ctx, struct bytes *ret_chunk)
{
	static const char body[] = "Subject: x\r\n\r\n.\r\n..a\r\nlast";
	struct host *h = ctx;
	*ret_chunk = bytes_slice(bytes_str(body), h->at, 5);
	h->at += ret_chunk->len;
	return ERR_OK;
}

static void
on_recipient(void *ctx, size_t index, const struct smtp_result *r)
{
	struct host *h = ctx;
	if (index >= 3 || (h->told & 1U << index) != 0 || r->code < 200 || r->code > 599 ||
	    r->code / 100 == 3) {
		panic("a wrong verdict");
	}
	h->told |= 1U << index;
}

static void
on_done(void *ctx)
{
	if (((struct host *)ctx)->told != 7) {
		panic("a recipient was not told of");
	}
}

static void
on_closed(void *ctx, enum smtp_closed why, const struct smtp_result *r)
{
	struct host *h = ctx;
	(void)why;
	(void)r;
	if (h->closed) {
		panic("closed twice");
	}
	h->closed = true;
}

static const struct smtp_client_host callbacks = {on_starttls,  on_ready, on_body,
						  on_recipient, on_done,  on_closed};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_client_config config;
	struct host h = {.tls_due = false};
	if (size < 2) {
		return 0;
	}
	smtp_client_config_default(&config);
	config.hello = BYTES_LIT("out.example.org");
	config.tls = (enum smtp_tls_policy)(data[0] & 3);
	if ((data[0] & 4) != 0) {
		config.user = BYTES_LIT("house");
		config.password = BYTES_LIT("secret");
	}
	for (size_t i = 0; i < 3; i++) {
		h.rcpts[i].mailbox = BYTES_LIT("b@example.net");
	}
	h.mail = (struct smtp_client_mail){
	    .sender = BYTES_LIT("a@example.org"), .rcpts = h.rcpts, .rcpt_count = 3};
	smtp_client_init(&h.client, &config, &callbacks, &h);
	smtp_client_start(&h.client, 0);
	struct bytes in = bytes_of(data + 2, size - 2);
	size_t step = data[1] == 0 ? size : data[1];
	while (in.len > 0 && !h.closed) {
		smtp_client_feed(&h.client, bytes_slice(in, 0, step), 0);
		in = bytes_from(in, step);
		smtp_client_sent(&h.client, smtp_client_output(&h.client).len, 0);
		if (h.tls_due) {
			h.tls_due = false;
			smtp_client_tls_started(&h.client, 0);
		}
	}
	smtp_client_tick(&h.client, MSEC_DAY);
	smtp_client_clear(&h.client);
	return 0;
}
