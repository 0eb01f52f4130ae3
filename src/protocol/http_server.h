/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_HTTP_SERVER_H
#define COHUE_PROTOCOL_HTTP_SERVER_H

#include "base/bytes.h"
#include "base/clock.h"

/*
 * The server's side of HTTP/1.1 (RFC 9110, RFC 9112), without I/O: octets in, whole requests and answers out, the clock
 * passed in. GET, HEAD and POST; small bodies, held whole. It knows no files and no directories: what there is, the host
 * says.
 *
 * What two programs could read in two ways is refused, not guessed at (RFC 9112 section 11.2, request smuggling): a
 * length and a transfer coding together, two lengths, a line that ends in LF alone, a folded field, blanks before
 * a colon, two Hosts.
 *
 * The host
 *   1. calls http_server_init;
 *   2. whenever http_server_wants() > 0, may feed up to that many octets;
 *   3. after every call that takes `now`, sends http_server_output and reports with http_server_sent;
 *   4. answers each request with http_server_answer, in the callback or later: nothing more is read until then;
 *   5. calls http_server_tick at http_server_deadline (a slow peer is bounded in each state);
 *   6. closes once http_server_closing and the output is sent; and calls http_server_clear.
 */

enum {
	HTTP_LINE_MAX = 4096,      /* octets of a request line: beyond, 414 */
	HTTP_HEAD_MAX = 16 * 1024, /* of the request line and all fields: beyond, 431 */
	HTTP_FIELDS_MAX = 100,     /* the same */
	HTTP_BODY_MAX = 64 * 1024, /* beyond, 413 */
	HTTP_CHUNK_LINE_MAX = 256,
	HTTP_UNREAD_MAX = HTTP_HEAD_MAX + 4, /* octets held that are not read yet */
	HTTP_OUTPUT_MAX = 256 * 1024,        /* of one answer */
	HTTP_HOST_MAX = 255,
	HTTP_REQUESTS_MAX = 100, /* on one connection */
};

/* Never: the deadline while the engine waits for its host. */
#define HTTP_NEVER INT64_MAX

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST };

/* Views live until the answer. */
struct http_request {
	enum http_method method;
	struct bytes path;  /* begins with '/'; as it came: visible ASCII, never decoded */
	struct bytes query; /* behind the '?', as it came */
	struct bytes host;  /* lower case, without port and final dot; empty: HTTP/1.0 without one */
	struct bytes body;
};

struct http_answer {
	unsigned status;
	const char *type;    /* of the body; NULL: none is told */
	struct bytes fields; /* more field lines, each with its CRLF; may be empty */
	struct bytes body;   /* copied; not sent to HEAD */
};

struct http_server_host {
	/* Must not call feed, tick, sent or clear. */
	void (*request)(void *ctx, const struct http_request *request);
};

/* Shared by many connections; outlives them. */
struct http_server_config {
	const char *fields; /* field lines of every answer, each with its CRLF; may be NULL */
	msec (*wall)(void); /* for Date; NULL: none */
	msec head_timeout;  /* from its first octet (or from the start) to the end of a head. 0: 20 s */
	msec body_timeout;  /* for a whole body. 0: 20 s */
	msec idle_timeout;  /* between two requests. 0: 10 s */
	msec life;          /* of a connection: then no further request. 0: 2 min */
};

struct http_server {
	const struct http_server_config *config;
	const struct http_server_host *host;
	void *ctx;
	struct buf in;   /* unread; all of these hold no memory when empty */
	struct buf head; /* of the request in hand */
	struct buf body;
	struct buf out;
	struct http_request request;
	char host_name[HTTP_HOST_MAX + 1];
	msec start;
	msec deadline;
	uint64_t left;     /* octets of the body, or of the chunk */
	uint32_t scanned;  /* octets of an unfinished head already looked at */
	uint32_t overhead; /* of a chunked body: octets that are not its own */
	uint32_t requests;
	uint8_t state;
	uint8_t blank; /* empty lines before a request line */
	bool keep;     /* the connection may go on after this request */
	bool headless; /* HEAD: no body goes out */
	bool running;
	bool closing;
};

/* config and host outlive the connection. */
void http_server_init(struct http_server *s, const struct http_server_config *config,
		      const struct http_server_host *host, void *ctx, msec now);
/* Wipes and frees the buffers; safe on a cleared one. */
void http_server_clear(struct http_server *s);

/* How many octets the engine takes now; 0: read nothing from the peer for the moment. */
size_t http_server_wants(const struct http_server *s);
/* Takes all of `in`. ERR_LIMIT when longer than http_server_wants, ERR_STATE when closing. */
COHUE_MUST_USE enum err http_server_feed(struct http_server *s, struct bytes in, msec now);
/* No effect when nothing was asked. An answer that is too large, or has no room in memory, becomes a 500 and the end. */
void http_server_answer(struct http_server *s, const struct http_answer *answer, msec now);
/* True while a request waits for its answer. */
bool http_server_asked(const struct http_server *s);

/* What is to be sent, in order; then say how much of it went out (n <= its length). */
struct bytes http_server_output(const struct http_server *s);
void http_server_sent(struct http_server *s, size_t n, msec now);

/* When to call tick; HTTP_NEVER while the host is asked, and after the end. */
msec http_server_deadline(const struct http_server *s);
/* 408 where a request had begun, else just the end. */
void http_server_tick(struct http_server *s, msec now);
/* Close when the output is sent. */
bool http_server_closing(const struct http_server *s);
/* Octets of memory held; 0 between two requests. */
size_t http_server_held(const struct http_server *s);

/*
 * The value of `name` in a query or a form (application/x-www-form-urlencoded), decoded: the first of that name. ERR_NOT_FOUND,
 * ERR_FORMAT: broken %, or a control character; ERR_LIMIT, ERR_MEMORY as of buf.
 */
COHUE_MUST_USE enum err http_query_value(struct bytes query, const char *name, struct buf *out);

#endif
