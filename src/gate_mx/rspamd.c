/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate_mx/rspamd.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/crypto.h"

enum {
	SHOWN_MAX = 1 << 20, /* octets of a message: what is unwanted is small */
	ANSWER_MAX = 256 * 1024,
	ANSWER_MS = 10 * 1000,
	HEADERS_MAX = 64 * 1024,
	PSEUDONYM_LEN = 10,
	STATUS_OK = 200,
};

static void
put_header(struct wire_writer *w, const char *name, struct bytes value)
{
	/* What strangers said may hold anything: a header of it holds printable ASCII, or is left out. */
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < 0x21 || value.ptr[i] > 0x7e) {
			return;
		}
	}
	if (value.len > 0) {
		wire_put_bytes(w, bytes_str(name));
		wire_put_bytes(w, value);
	}
}

/* The same member has the same name there as long as the house has its key; nobody without it knows whose it is. */
static void
put_recipient(struct mx_connection *c, const struct mx_target *t, struct wire_writer *w)
{
	static const char domain[] = "rspamd-recipient:";
	struct buf text = BUF_INIT(CONFIG_NAME_MAX + 64);
	uint8_t whole[sizeof(domain) - 1 + SEALED_ID_LEN];
	uint8_t hash[CRYPTO_HASH_LEN];
	memcpy(whole, domain, sizeof(domain) - 1);
	memcpy(whole + sizeof(domain) - 1, t->account.id, SEALED_ID_LEN);
	crypto_mac(c->mx->keys.key[PURPOSE_DIRECTORY_HASH], bytes_of(whole, sizeof(whole)), hash);
	if (buf_append_hex(&text, bytes_of(hash, PSEUDONYM_LEN)) == ERR_OK &&
	    buf_printf(&text, "@%s", c->mx->host->config.domain) == ERR_OK) {
		put_header(w, "Rcpt", buf_bytes(&text));
	}
	buf_clear(&text);
}

static enum err
write_headers(struct mx_connection *c, const struct mx_judgement *j, struct buf *out)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	char ip[INET6_ADDRSTRLEN] = "";
	struct wire_writer w;
	bool v4 = memcmp(c->peer, mapped, sizeof(mapped)) == 0;
	(void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? c->peer + 12 : c->peer, ip, sizeof(ip));
	wire_writer_init(&w, out);
	put_header(&w, "IP", bytes_str(ip));
	put_header(&w, "Helo", buf_bytes(&c->hello));
	put_header(&w, "From", buf_bytes(&c->sender));
	put_header(&w, "Hostname", bytes_str(j->client.name));
	put_header(&w, "MTA-Name", bytes_str(c->mx->host->config.hostname));
	put_header(&w, "Flags", BYTES_LIT("no_log"));
	put_header(&w, "Content-Type", BYTES_LIT("application/octet-stream"));
	for (size_t i = 0; i < c->target_count; i++) {
		put_recipient(c, &c->targets[i], &w);
	}
	return wire_done(&w);
}

static uint32_t
read_reply(struct buf *reply)
{
	struct msg_fetch_reply r;
	uint32_t tenths = 0;
	return msg_fetch_reply_decode(buf_bytes(reply), &r) == ERR_OK && r.status == STATUS_OK &&
		       rspamd_read(r.body, &tenths) == ERR_OK
		   ? tenths
		   : 0;
}

uint32_t
mx_ask_rspamd(struct mx_connection *c, const struct mx_judgement *j)
{
	struct role_host *h = c->mx->host;
	struct channel *ch = role_channel(h, ROLE_FETCHER, 0);
	struct buf url = BUF_INIT(CONFIG_TEXT_MAX + 16);
	struct buf headers = BUF_INIT(HEADERS_MAX);
	struct buf reply = BUF_INIT(ANSWER_MAX + FETCH_HEADERS_MAX + 4096);
	uint32_t tenths = 0;
	enum err e = ch == NULL ? ERR_AGAIN : write_headers(c, j, &headers);
	if (e == ERR_OK) {
		e = buf_printf(&url, "%s/checkv2", h->config.rspamd);
	}
	if (e == ERR_OK) {
		struct msg_fetch m = {.method = BYTES_LIT("POST"),
				      .url = buf_bytes(&url),
				      .headers = buf_bytes(&headers),
				      .body = bytes_slice(buf_bytes(&c->message), 0, SHOWN_MAX),
				      .options = FETCH_HTTP | FETCH_LOOPBACK,
				      .body_max = ANSWER_MAX,
				      .timeout = ANSWER_MS};
		e = channel_call(ch, FETCH, fetch, &m, loop_now(h->loop) + ANSWER_MS + MSEC_SECOND, &reply);
	}
	if (e == ERR_OK) {
		tenths = read_reply(&reply);
	} else {
		c->mx->seen_unanswered++;
	}
	buf_clear(&url);
	buf_wipe(&headers);
	buf_wipe(&reply);
	return tenths;
}
