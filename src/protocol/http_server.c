/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/http_server.h"

#include <string.h>

#include "base/calendar.h"
#include "protocol/http_server_private.h"

enum {
	HEAD_MSEC = 20 * 1000,
	BODY_MSEC = 20 * 1000,
	IDLE_MSEC = 10 * 1000,
	LIFE_MSEC = 2 * 60 * 1000,
	BLANK_MAX = 2,
	OVERHEAD_MAX = HTTP_UNREAD_MAX, /* of a chunked body: lines of sizes, and trailers */
};

enum state {
	STATE_IDLE = 0, /* nothing of a request has come */
	STATE_HEAD,
	STATE_LENGTH, /* a body of known length */
	STATE_CHUNK_SIZE,
	STATE_CHUNK_DATA,
	STATE_CHUNK_END,
	STATE_TRAILER,
	STATE_ASKED,
};

static const struct {
	unsigned status;
	const char *text;
} reasons[] = {
    {200, "OK"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

static const char *
reason(unsigned status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status) {
			return reasons[i].text;
		}
	}
	return "Unknown";
}

static msec
or_else(msec set, msec standard)
{
	return set > 0 ? set : standard;
}

static msec
life_end(const struct http_server *s)
{
	return s->start + or_else(s->config->life, LIFE_MSEC);
}

void
http_server_init(struct http_server *s, const struct http_server_config *config,
		 const struct http_server_host *host, void *ctx, msec now)
{
	*s = (struct http_server){.config = config, .host = host, .ctx = ctx, .start = now};
	buf_init(&s->in, HTTP_UNREAD_MAX);
	buf_init(&s->head, HTTP_HEAD_MAX);
	buf_init(&s->body, HTTP_BODY_MAX);
	buf_init(&s->out, HTTP_OUTPUT_MAX);
	s->deadline = now + or_else(config->head_timeout, HEAD_MSEC);
}

static void
forget_request(struct http_server *s)
{
	buf_wipe(&s->head);
	buf_wipe(&s->body);
	s->request = (struct http_request){.method = HTTP_GET};
	memset(s->host_name, 0, sizeof(s->host_name));
}

void
http_server_clear(struct http_server *s)
{
	forget_request(s);
	buf_wipe(&s->in);
	buf_wipe(&s->out);
	s->closing = true;
}

/* ---- answers ---- */

/* RFC 9110 section 5.6.7 */
static enum err
append_date(struct buf *out, msec wall)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct calendar c = calendar_of(wall / 1000);
	return buf_printf(out, "Date: %s, %02d %s %04lld %02d:%02d:%02d GMT\r\n", days[c.weekday], c.day,
			  months[c.month - 1], (long long)c.year, c.hour, c.minute, c.second);
}

static enum err
write_answer(struct http_server *s, const struct http_answer *a)
{
	struct buf *out = &s->out;
	enum err e = buf_printf(out, "HTTP/1.1 %u %s\r\n", a->status, reason(a->status));
	if (e == ERR_OK && s->config->wall != NULL) {
		e = append_date(out, s->config->wall());
	}
	if (e == ERR_OK && a->type != NULL) {
		e = buf_printf(out, "Content-Type: %s\r\n", a->type);
	}
	/* Without a body, and to HEAD, the same (RFC 9110 section 8.6), but for those that never have one. */
	if (e == ERR_OK && a->status != 204 && a->status != 304) {
		e = buf_printf(out, "Content-Length: %zu\r\n", a->body.len);
	}
	if (e == ERR_OK && s->config->fields != NULL) {
		e = buf_append_str(out, s->config->fields);
	}
	if (e == ERR_OK) {
		e = buf_append(out, a->fields);
	}
	if (e == ERR_OK) {
		e = buf_append_str(out, s->keep ? "\r\n" : "Connection: close\r\n\r\n");
	}
	return e == ERR_OK && !s->headless ? buf_append(out, a->body) : e;
}

static void
finish(struct http_server *s, const struct http_answer *a)
{
	size_t before = s->out.len;
	if (write_answer(s, a) != ERR_OK) {
		buf_truncate(&s->out, before);
		s->keep = false;
		/* Where not even this has room, the peer sees the end. */
		(void)!buf_append_str(
		    &s->out, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: "
			     "close\r\n\r\n");
	}
	s->closing = s->closing || !s->keep;
}

/* What cannot be understood ends the connection: where the next request would begin is not known. */
static void
refuse(struct http_server *s, unsigned status)
{
	char text[64];
	struct buf body = BUF_INIT(sizeof(text));
	s->keep = false;
	/* A short text; without memory, none. */
	if (buf_printf(&body, "%u %s\n", status, reason(status)) != ERR_OK) {
		buf_clear(&body);
	}
	struct http_answer a = {.status = status,
				.type = "text/plain; charset=utf-8",
				.fields =
				    status == 405 ? BYTES_LIT("Allow: GET, HEAD, POST\r\n") : BYTES_EMPTY,
				.body = buf_bytes(&body)};
	finish(s, &a);
	buf_clear(&body);
	buf_wipe(&s->in);
	forget_request(s);
}

/* ---- reading ---- */

/* Looks for the empty line. 0: not yet; else octets of the head with it. *ret_status: a refusal. */
static size_t
scan_head(struct http_server *s, unsigned *ret_status)
{
	const uint8_t *p = s->in.ptr;
	size_t i = s->scanned;
	for (; i < s->in.len; i++) {
		if (p[i] == 0 || (p[i] == '\n' && (i == 0 || p[i - 1] != '\r')) ||
		    (p[i] != '\n' && i > 0 && p[i - 1] == '\r')) {
			*ret_status = 400;
			return 0;
		}
		if (p[i] == '\n' && i >= 3 && p[i - 2] == '\n') {
			return i + 1;
		}
		if (i == HTTP_LINE_MAX && bytes_find(bytes_of(p, i), '\n') < 0) {
			*ret_status = 414;
			return 0;
		}
		if (i >= HTTP_HEAD_MAX) {
			*ret_status = 431;
			return 0;
		}
	}
	s->scanned = (uint32_t)i;
	return 0;
}

static void
begin_body(struct http_server *s, const struct http_head *h, msec now)
{
	s->deadline = now + or_else(s->config->body_timeout, BODY_MSEC);
	s->left = h->length;
	s->overhead = 0;
	s->state = h->chunked ? STATE_CHUNK_SIZE : STATE_LENGTH;
	if (h->expects && (h->chunked || h->length > 0) && s->in.len == 0 &&
	    buf_append_str(&s->out, "HTTP/1.1 100 Continue\r\n\r\n") != ERR_OK) {
		s->closing = true;
	}
}

static bool
step_head(struct http_server *s, msec now)
{
	unsigned status = 0;
	if (s->out.len > 0 || s->in.len == 0) {
		return false;
	}
	if (s->state == STATE_IDLE) {
		s->state = STATE_HEAD;
		if (s->requests > 0) {
			s->deadline = now + or_else(s->config->head_timeout, HEAD_MSEC);
		}
	}
	/* RFC 9112 section 2.2: an empty line or two before a request are overlooked. */
	if (s->blank < BLANK_MAX && s->in.len >= 2 && s->in.ptr[0] == '\r' && s->in.ptr[1] == '\n') {
		buf_consume(&s->in, 2);
		s->scanned = 0;
		s->blank++;
		return s->in.len > 0;
	}
	s->keep = false;
	s->headless = false;
	size_t n = scan_head(s, &status);
	if (status != 0) {
		refuse(s, status);
		return false;
	}
	if (n == 0) {
		return false;
	}
	struct http_head h;
	if (buf_append(&s->head, bytes_slice(buf_bytes(&s->in), 0, n - 2)) != ERR_OK) {
		s->closing = true;
		return false;
	}
	buf_consume(&s->in, n);
	s->scanned = 0;
	s->blank = 0;
	status = http_head_read(buf_bytes(&s->head), &h);
	s->headless = status == 0 && h.request.method == HTTP_HEAD;
	if (status != 0) {
		refuse(s, status);
		return false;
	}
	s->request = h.request;
	for (size_t i = 0; i < h.request.host.len; i++) {
		s->host_name[i] = (char)ascii_lower(h.request.host.ptr[i]);
	}
	s->request.host = bytes_of(s->host_name, h.request.host.len);
	s->requests++;
	s->keep = h.keep && s->requests < HTTP_REQUESTS_MAX && now < life_end(s);
	begin_body(s, &h, now);
	return true;
}

static bool
ask(struct http_server *s)
{
	s->state = STATE_ASKED;
	s->request.body = buf_bytes(&s->body);
	s->host->request(s->ctx, &s->request);
	return s->state != STATE_ASKED;
}

static bool
take_body(struct http_server *s)
{
	struct bytes piece =
	    bytes_slice(buf_bytes(&s->in), 0, s->left < s->in.len ? (size_t)s->left : s->in.len);
	if (buf_append(&s->body, piece) != ERR_OK) {
		refuse(s, 413);
		return false;
	}
	s->left -= piece.len;
	buf_consume(&s->in, piece.len);
	return s->left == 0;
}

/* A line of the chunked coding. False: not whole yet, or refused. */
static bool
chunk_line(struct http_server *s, size_t most, struct bytes *ret)
{
	struct bytes all = buf_bytes(&s->in);
	ptrdiff_t lf = bytes_find(all, '\n');
	struct bytes line = lf < 1 ? BYTES_EMPTY : bytes_slice(all, 0, (size_t)lf - 1);
	if (lf < 0 ? all.len > most
		   : (size_t)lf > most || lf == 0 || all.ptr[lf - 1] != '\r' || bytes_find(line, '\r') >= 0 ||
			 bytes_find(line, 0) >= 0) {
		refuse(s, 400);
		return false;
	}
	*ret = line;
	return lf >= 0;
}

/* Uses up a line, as long as the coding is not mostly lines: thousands of chunks of an octet cost us more than the peer. */
static bool
charge(struct http_server *s, size_t n)
{
	buf_consume(&s->in, n);
	s->overhead += (uint32_t)n;
	if (s->overhead > OVERHEAD_MAX) {
		refuse(s, 400);
		return false;
	}
	return true;
}

/* RFC 9112 section 7.1: digits in base 16, then extensions, which are overlooked. */
static bool
step_chunk_size(struct http_server *s)
{
	struct bytes line;
	uint64_t size = 0;
	size_t n = 0;
	if (!chunk_line(s, HTTP_CHUNK_LINE_MAX, &line)) {
		return false;
	}
	for (; n < line.len; n++) {
		uint8_t c = ascii_lower(line.ptr[n]);
		if (!ascii_is_digit(c) && (c < 'a' || c > 'f')) {
			break;
		}
		size = size * 16 + (uint64_t)(ascii_is_digit(c) ? c - '0' : c - 'a' + 10);
		if (size > HTTP_BODY_MAX) {
			refuse(s, 413);
			return false;
		}
	}
	struct bytes rest = bytes_trim(bytes_from(line, n));
	if (n == 0 || (rest.len > 0 && rest.ptr[0] != ';')) {
		refuse(s, 400);
		return false;
	}
	if (!charge(s, line.len + 2)) {
		return false;
	}
	s->left = size;
	s->state = size == 0 ? STATE_TRAILER : STATE_CHUNK_DATA;
	return true;
}

static bool
step_chunk_end(struct http_server *s)
{
	if (s->in.len < 2) {
		return false;
	}
	if (s->in.ptr[0] != '\r' || s->in.ptr[1] != '\n') {
		refuse(s, 400);
		return false;
	}
	buf_consume(&s->in, 2);
	s->state = STATE_CHUNK_SIZE;
	return true;
}

/* Field lines behind the body are thrown away (RFC 9110 section 6.5.1). */
static bool
step_trailer(struct http_server *s)
{
	struct bytes line;
	if (!chunk_line(s, HTTP_LINE_MAX, &line)) {
		return false;
	}
	bool last = line.len == 0;
	return charge(s, line.len + 2) && (!last || ask(s));
}

/* True: go on. */
static bool
step(struct http_server *s, msec now)
{
	switch ((enum state)s->state) {
	case STATE_IDLE:
	case STATE_HEAD:
		return step_head(s, now);
	case STATE_LENGTH:
		return take_body(s) && ask(s);
	case STATE_CHUNK_SIZE:
		return step_chunk_size(s);
	case STATE_CHUNK_DATA:
		if (take_body(s)) {
			s->state = STATE_CHUNK_END;
			return true;
		}
		return false;
	case STATE_CHUNK_END:
		return step_chunk_end(s);
	case STATE_TRAILER:
		return step_trailer(s);
	case STATE_ASKED:
		break;
	}
	return false;
}

static void
run(struct http_server *s, msec now)
{
	if (s->running) {
		return;
	}
	s->running = true;
	while (!s->closing && step(s, now)) {
	}
	s->running = false;
	if (s->in.len == 0) {
		buf_wipe(&s->in);
	}
}

size_t
http_server_wants(const struct http_server *s)
{
	return s->closing || s->state == STATE_ASKED || s->out.len > 0 ? 0 : s->in.max - s->in.len;
}

enum err
http_server_feed(struct http_server *s, struct bytes in, msec now)
{
	if (s->closing) {
		return ERR_STATE;
	}
	if (in.len > http_server_wants(s)) {
		return ERR_LIMIT;
	}
	if (buf_append(&s->in, in) != ERR_OK) {
		s->closing = true;
		return ERR_OK;
	}
	run(s, now);
	return ERR_OK;
}

void
http_server_answer(struct http_server *s, const struct http_answer *answer, msec now)
{
	if (s->state != STATE_ASKED || s->closing) {
		return;
	}
	finish(s, answer);
	forget_request(s);
	s->state = STATE_IDLE;
	msec idle = now + or_else(s->config->idle_timeout, IDLE_MSEC);
	s->deadline = idle < life_end(s) ? idle : life_end(s);
	run(s, now);
}

bool
http_server_asked(const struct http_server *s)
{
	return s->state == STATE_ASKED && !s->closing;
}

struct bytes
http_server_output(const struct http_server *s)
{
	return buf_bytes(&s->out);
}

void
http_server_sent(struct http_server *s, size_t n, msec now)
{
	buf_consume(&s->out, n);
	if (s->out.len == 0) {
		buf_wipe(&s->out);
		run(s, now);
	}
}

msec
http_server_deadline(const struct http_server *s)
{
	return s->closing || s->state == STATE_ASKED ? HTTP_NEVER : s->deadline;
}

void
http_server_tick(struct http_server *s, msec now)
{
	if (now < http_server_deadline(s)) {
		return;
	}
	if (s->state == STATE_IDLE || s->out.len > 0) {
		s->closing = true;
		return;
	}
	s->headless = false;
	refuse(s, 408);
}

bool
http_server_closing(const struct http_server *s)
{
	return s->closing;
}

size_t
http_server_held(const struct http_server *s)
{
	return s->in.cap + s->head.cap + s->body.cap + s->out.cap;
}
