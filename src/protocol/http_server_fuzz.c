/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdlib.h>

#include "protocol/http_server.h"

/*
 * The same octets whole and in pieces: the same requests, with the same bodies, in the same order; memory stays bounded; what
 * the host is given keeps its promises.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct http_server server;
	struct buf seen;
};

static void
on_request(void *ctx, const struct http_request *r)
{
	struct run *run = ctx;
	if (r->path.len == 0 || r->path.ptr[0] != '/' || r->body.len > HTTP_BODY_MAX) {
		abort();
	}
	for (size_t i = 0; i < r->path.len; i++) {
		if (r->path.ptr[i] <= ' ' || r->path.ptr[i] >= 0x7f) {
			abort();
		}
	}
	for (size_t i = 0; i < r->host.len; i++) {
		uint8_t c = r->host.ptr[i];
		if (c <= ' ' || c >= 0x7f || c == '/' || c == '@' || (c >= 'A' && c <= 'Z')) {
			abort();
		}
	}
	struct buf value = BUF_INIT(64);
	enum err e = http_query_value(r->query, "a", &value);
	buf_clear(&value);
	if (buf_append(&run->seen, r->host) != ERR_OK || buf_append_byte(&run->seen, ' ') != ERR_OK ||
	    buf_append(&run->seen, r->path) != ERR_OK || buf_append_byte(&run->seen, '?') != ERR_OK ||
	    buf_append(&run->seen, r->query) != ERR_OK || buf_append_byte(&run->seen, '\n') != ERR_OK ||
	    buf_append(&run->seen, r->body) != ERR_OK || buf_append_byte(&run->seen, (uint8_t)e) != ERR_OK) {
		abort();
	}
	struct http_answer a = {.status = 200, .type = "text/plain", .body = r->path};
	http_server_answer(&run->server, &a, 1);
}

static const struct http_server_host host = {.request = on_request};
static const struct http_server_config config = {.fields = NULL};

static void
play(struct run *run, struct bytes all, size_t piece)
{
	buf_init(&run->seen, 1 << 24);
	http_server_init(&run->server, &config, &host, run, 1);
	while (all.len > 0 && !http_server_closing(&run->server)) {
		size_t room = http_server_wants(&run->server);
		if (room == 0) {
			abort(); /* all is answered and sent: it must read on */
		}
		struct bytes part = bytes_slice(all, 0, piece < room ? piece : room);
		if (http_server_feed(&run->server, part, 1) != ERR_OK) {
			abort();
		}
		all = bytes_from(all, part.len);
		if (http_server_held(&run->server) > (size_t)3 * HTTP_BODY_MAX) {
			abort();
		}
		for (struct bytes o; (o = http_server_output(&run->server)).len > 0;) {
			http_server_sent(&run->server, o.len, 1);
		}
	}
	http_server_tick(&run->server, HTTP_NEVER - 1);
	if (!http_server_closing(&run->server)) {
		abort();
	}
	http_server_clear(&run->server);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run whole;
	struct run pieces;
	if (size == 0) {
		return 0;
	}
	struct bytes all = bytes_of(data + 1, size - 1);
	play(&whole, all, SIZE_MAX);
	play(&pieces, all, 1 + (size_t)data[0] % 64);
	if (!bytes_equal(buf_bytes(&whole.seen), buf_bytes(&pieces.seen))) {
		abort();
	}
	buf_clear(&whole.seen);
	buf_clear(&pieces.seen);
	return 0;
}
