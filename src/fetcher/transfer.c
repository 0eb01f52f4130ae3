/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fetcher/transfer.h"

#include "base/openssl.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/wire.h"
#include "loop/task.h"

enum { HEADERS_MAX = 32, HEADER_TEXT_MAX = 4096, CONNECT_MS = 20 * 1000 };

struct transfer_engine {
	struct loop *loop;
	CURLM *multi;
	X509_STORE *authorities;
	struct timer timer;
};

/* A descriptor of libcurl's that is watched. */
struct socket_watch {
	struct transfer_engine *engine;
	struct watch watch;
};

struct running {
	struct transfer_engine *engine;
	const struct transfer_request *request;
	struct transfer_result *result;
	struct task *task;
	size_t sent; /* of the request's body */
	bool over;
	bool too_large;
	bool refused;
	CURLcode code;
};

/* ---- libcurl's sockets and its clock ---- */

static void
collect(struct transfer_engine *e)
{
	int left = 0;
	CURLMsg *m = NULL;
	while ((m = curl_multi_info_read(e->multi, &left)) != NULL) {
		struct running *r = NULL;
		if (m->msg == CURLMSG_DONE &&
		    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r) == CURLE_OK && r != NULL) {
			r->over = true;
			r->code = m->data.result;
			task_wake(r->task, ERR_OK);
		}
	}
}

static void
act(struct transfer_engine *e, curl_socket_t fd, int bits)
{
	int running = 0;
	(void)curl_multi_socket_action(e->multi, fd, bits, &running);
	collect(e);
}

static void
on_watch(struct watch *w, unsigned events)
{
	struct socket_watch *s = w->arg;
	int bits = ((events & LOOP_READ) != 0 ? CURL_CSELECT_IN : 0) |
		   ((events & LOOP_WRITE) != 0 ? CURL_CSELECT_OUT : 0) |
		   ((events & LOOP_HANGUP) != 0 ? CURL_CSELECT_ERR : 0);
	act(s->engine, w->fd, bits); /* may free s */
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
	struct transfer_engine *e = arg;
	struct socket_watch *s = of_socket;
	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s != NULL) {
			watch_stop(&s->watch);
			(void)curl_multi_assign(e->multi, fd, NULL);
			free(s);
		}
		return 0;
	}
	unsigned events =
	    ((what & CURL_POLL_IN) != 0 ? LOOP_READ : 0U) | ((what & CURL_POLL_OUT) != 0 ? LOOP_WRITE : 0U);
	if (s != NULL) {
		return watch_change(&s->watch, events) == ERR_OK ? 0 : -1;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return -1;
	}
	s->engine = e;
	watch_init(&s->watch, on_watch, s);
	if (watch_start(e->loop, &s->watch, fd, events) != ERR_OK ||
	    curl_multi_assign(e->multi, fd, s) != CURLM_OK) {
		watch_stop(&s->watch);
		free(s);
		return -1;
	}
	return 0;
}

static void
on_timer(struct timer *t)
{
	act(t->arg, CURL_SOCKET_TIMEOUT, 0);
}

static int
on_timeout_wish(CURLM *multi, long ms, void *arg)
{
	struct transfer_engine *e = arg;
	(void)multi;
	if (ms < 0) {
		timer_stop(&e->timer);
		return 0;
	}
	return timer_start_after(e->loop, &e->timer, ms) == ERR_OK ? 0 : -1;
}

/* ---- one request ---- */

bool
transfer_is_refused(const uint8_t address[16], bool loopback)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t zero[16] = {0};
	if (memcmp(address, mapped, sizeof(mapped)) == 0) {
		uint8_t first = address[12];
		return first == 0 || first >= 224 || (first == 127 && !loopback) ||
		       (first == 169 && address[13] == 254);
	}
	if (memcmp(address, zero, 15) == 0 && address[15] == 1) {
		return !loopback;
	}
	return memcmp(address, zero, 12) == 0 || address[0] == 0xff ||
	       (address[0] == 0xfe && (address[1] & 0xc0) == 0x80);
}

/* The last word on where a connection goes, whatever the URL said. */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct running *r = arg;
	uint8_t address[16] = {0};
	if (purpose != CURLSOCKTYPE_IPCXN || (a->family != AF_INET && a->family != AF_INET6)) {
		return CURL_SOCKET_BAD;
	}
	if (a->family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, &a->addr, sizeof(v4));
		address[10] = 0xff;
		address[11] = 0xff;
		memcpy(address + 12, &v4.sin_addr, 4);
	} else {
		/* libcurl leaves room for the largest address behind its sockaddr. */
		const struct sockaddr_in6 *v6 =
		    (const struct sockaddr_in6 *)(const void *)((const char *)a +
								offsetof(struct curl_sockaddr, addr));
		memcpy(address, &v6->sin6_addr, sizeof(address));
	}
	if (transfer_is_refused(address, r->request->loopback)) {
		r->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	struct running *r = arg;
	enum err e = buf_append(&r->result->body, bytes_of(data, size * count));
	r->too_large = r->too_large || e == ERR_LIMIT;
	return e == ERR_OK ? size * count : 0;
}

static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
	struct running *r = arg;
	struct bytes line = bytes_of(data, size * count);
	if (bytes_starts_with(line, "HTTP/")) {
		/* Those of an interim answer (1xx) are none of the answer's. */
		buf_reset(&r->result->headers);
		return line.len;
	}
	enum err e = bytes_trim(line).len == 0 ? ERR_OK : buf_append(&r->result->headers, line);
	r->too_large = r->too_large || e == ERR_LIMIT;
	return e == ERR_OK ? line.len : 0;
}

static size_t
on_send(char *to, size_t size, size_t count, void *arg)
{
	struct running *r = arg;
	struct bytes piece = bytes_slice(r->request->body, r->sent, size * count);
	if (piece.len > 0) {
		memcpy(to, piece.ptr, piece.len);
	}
	r->sent += piece.len;
	return piece.len;
}

/* The authorities are read once and shared; nothing newer or older than what the rest of the house speaks. */
static CURLcode
on_tls(CURL *easy, void *context, void *arg)
{
	const struct transfer_engine *e = arg;
	SSL_CTX *tls = context;
	(void)easy;
	SSL_CTX_set1_cert_store(tls, e->authorities);
	return CURLE_OK;
}

static bool
is_token(struct bytes a)
{
	for (size_t i = 0; i < a.len; i++) {
		if (!ascii_is_alnum(a.ptr[i]) && strchr("-_.!#$%&'*+^`|~", a.ptr[i]) == NULL) {
			return false;
		}
	}
	return a.len > 0 && memchr(a.ptr, 0, a.len) == NULL;
}

static bool
is_field_value(struct bytes a)
{
	for (size_t i = 0; i < a.len; i++) {
		if ((a.ptr[i] < ' ' && a.ptr[i] != '\t') || a.ptr[i] == 127) {
			return false;
		}
	}
	return true;
}

static struct curl_slist *
append(struct curl_slist *list, const char *text, enum err *e)
{
	struct curl_slist *longer = *e == ERR_OK ? curl_slist_append(list, text) : NULL;
	*e = *e == ERR_OK && longer == NULL ? ERR_MEMORY : *e;
	return longer == NULL ? list : longer;
}

static enum err
make_headers(struct bytes headers, struct curl_slist **ret)
{
	struct wire_reader r;
	enum err e = ERR_OK;
	char text[HEADER_TEXT_MAX];
	wire_reader_init(&r, headers);
	/* Nothing that libcurl would add by itself. */
	*ret = append(append(append(*ret, "Accept:", &e), "User-Agent:", &e), "Expect:", &e);
	for (size_t i = 0; r.rest.len > 0 && r.error == ERR_OK && e == ERR_OK; i++) {
		struct bytes name = wire_get_bytes(&r, HEADER_TEXT_MAX);
		struct bytes value = wire_get_bytes(&r, HEADER_TEXT_MAX);
		if (r.error != ERR_OK || i == HEADERS_MAX || !is_token(name) || !is_field_value(value) ||
		    name.len + value.len + 3 > sizeof(text)) {
			return ERR_FORMAT;
		}
		(void)snprintf(text, sizeof(text), value.len == 0 ? "%.*s;%.*s" : "%.*s: %.*s", (int)name.len,
			       (const char *)name.ptr, (int)value.len,
			       value.len == 0 ? "" : (const char *)value.ptr);
		*ret = append(*ret, text, &e);
	}
	return e == ERR_OK ? r.error : e;
}

/* "+host:443:[2001:db8::1],192.0.2.1": what libcurl would else ask the DNS for; forgotten a minute later. */
static enum err
make_addresses(const struct transfer_request *q, const struct transfer_url *url, struct curl_slist **ret)
{
	char text[TRANSFER_HOST_MAX + 16 + TRANSFER_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3)];
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	enum err e = ERR_OK;
	size_t at = (size_t)snprintf(text, sizeof(text), "+%s:%u:", url->host, (unsigned)url->port);
	size_t used = 0;
	for (size_t i = 0; i < q->address_count && used < TRANSFER_ADDRESSES_MAX; i++) {
		char one[INET6_ADDRSTRLEN];
		const uint8_t *a = q->addresses[i].address;
		bool v4 = memcmp(a, mapped, sizeof(mapped)) == 0;
		if (transfer_is_refused(a, q->loopback) ||
		    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a + 12 : a, one, sizeof(one)) == NULL) {
			continue;
		}
		at += (size_t)snprintf(text + at, sizeof(text) - at, v4 ? "%s%s" : "%s[%s]",
				       used == 0 ? "" : ",", one);
		used++;
	}
	if (used == 0) {
		return q->address_count == 0 ? ERR_NOT_FOUND : ERR_DENIED;
	}
	*ret = append(*ret, text, &e);
	return e;
}

enum err
transfer_url_read(struct bytes url, struct transfer_url *ret)
{
	enum { URL_MAX = 2048 };
	char text[URL_MAX];
	uint8_t scratch[16];
	struct transfer_url got = {.port = 0};
	if (url.len == 0 || url.len >= sizeof(text)) {
		return ERR_FORMAT;
	}
	for (size_t i = 0; i < url.len; i++) {
		if (url.ptr[i] <= ' ' || url.ptr[i] >= 127) {
			return ERR_FORMAT;
		}
	}
	memcpy(text, url.ptr, url.len);
	text[url.len] = '\0';
	CURLU *u = curl_url();
	char *scheme = NULL;
	char *host = NULL;
	char *port = NULL;
	char *fragment = NULL;
	bool ok = u != NULL && curl_url_set(u, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_OK;
	if (ok) {
		struct bytes name = bytes_str(host);
		uint64_t number = 0;
		got.https = strcmp(scheme, "https") == 0;
		ok = (got.https || strcmp(scheme, "http") == 0) &&
		     bytes_to_u64(bytes_str(port), 65535, &number) == ERR_OK && number > 0;
		got.port = (uint16_t)number;
		if (name.len > 2 && name.ptr[0] == '[') {
			name = bytes_slice(name, 1, name.len - 2);
		}
		ok = ok && name.len > 0 && name.len < sizeof(got.host);
		if (ok) {
			memcpy(got.host, name.ptr, name.len);
			got.host[name.len] = '\0';
			got.numeric = inet_pton(AF_INET, got.host, scratch) == 1 ||
				      inet_pton(AF_INET6, got.host, scratch) == 1;
		}
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(fragment);
	curl_url_cleanup(u);
	if (!ok) {
		return ERR_FORMAT;
	}
	*ret = got;
	return ERR_OK;
}

/* libcurl's setter takes anything; this says once what fails. */
#define SET(option, value)                                                                                   \
	do {                                                                                                 \
		if (curl_easy_setopt(easy, (option), (value)) != CURLE_OK) {                                 \
			return ERR_UNSUPPORTED;                                                              \
		}                                                                                            \
	} while (0)

static enum err
set_options(CURL *easy, struct running *r, const char *url, const char *method, struct curl_slist *headers,
	    struct curl_slist *addresses)
{
	const struct transfer_request *q = r->request;
	bool body = q->body.len > 0 || strcmp(method, "POST") == 0;
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_TIMEOUT_MS, (long)q->timeout);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	SET(CURLOPT_HTTPHEADER, headers);
	SET(CURLOPT_PRIVATE, r);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
	SET(CURLOPT_OPENSOCKETDATA, r);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, r);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, r);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	/* No file is read: they were, before the sandbox. */
	SET(CURLOPT_CAINFO, NULL);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
	SET(CURLOPT_SSL_CTX_DATA, r->engine);
	if (addresses != NULL) {
		SET(CURLOPT_RESOLVE, addresses);
	}
	if (body) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
		SET(CURLOPT_READFUNCTION, on_send);
		SET(CURLOPT_READDATA, r);
	} else if (strcmp(method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
	}
	SET(CURLOPT_CUSTOMREQUEST, method);
	return ERR_OK;
}

static enum err
error_of(const struct running *r)
{
	if (r->too_large) {
		return ERR_LIMIT;
	}
	if (r->refused) {
		return ERR_DENIED;
	}
	switch ((int)r->code) {
	case CURLE_OK:
		return ERR_OK;
	case CURLE_OUT_OF_MEMORY:
		return ERR_MEMORY;
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
		return ERR_AUTH;
	case CURLE_COULDNT_CONNECT:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
		return ERR_CLOSED;
	case CURLE_COULDNT_RESOLVE_HOST:
		return ERR_NOT_FOUND;
	case CURLE_FILESIZE_EXCEEDED:
	case CURLE_WRITE_ERROR:
		return ERR_LIMIT;
	default:
		return ERR_FORMAT;
	}
}

static enum err
perform(CURL *easy, struct running *r)
{
	long status = 0;
	if (curl_multi_add_handle(r->engine->multi, easy) != CURLM_OK) {
		return ERR_MEMORY;
	}
	enum err e = ERR_OK;
	while (!r->over && e == ERR_OK) {
		e = task_suspend();
	}
	(void)curl_multi_remove_handle(r->engine->multi, easy);
	if (e == ERR_OK) {
		e = error_of(r);
	}
	if (e == ERR_OK && curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK) {
		r->result->status = status > 0 && status < 1000 ? (uint16_t)status : 0;
	}
	return e;
}

void
transfer_run(struct transfer_engine *engine, const struct transfer_request *q, struct transfer_result *ret)
{
	enum { METHOD_MAX = 16, URL_MAX = 2048 };
	char method[METHOD_MAX];
	char text[URL_MAX];
	struct transfer_url url;
	struct curl_slist *headers = NULL;
	struct curl_slist *addresses = NULL;
	*ret = (struct transfer_result){.error = ERR_FORMAT};
	buf_init(&ret->headers, q->headers_max);
	buf_init(&ret->body, q->body_max);
	if (q->method.len >= sizeof(method) || !is_token(q->method) ||
	    transfer_url_read(q->url, &url) != ERR_OK) {
		return;
	}
	memcpy(method, q->method.ptr, q->method.len);
	method[q->method.len] = '\0';
	memcpy(text, q->url.ptr, q->url.len);
	text[q->url.len] = '\0';
	struct running r = {.engine = engine, .request = q, .result = ret, .task = task_current()};
	CURL *easy = curl_easy_init();
	enum err e = easy == NULL ? ERR_MEMORY : make_headers(q->headers, &headers);
	if (e == ERR_OK && !url.numeric) {
		e = make_addresses(q, &url, &addresses);
	}
	if (e == ERR_OK) {
		e = set_options(easy, &r, text, method, headers, addresses);
	}
	if (e == ERR_OK) {
		e = perform(easy, &r);
	}
	ret->error = e;
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	curl_slist_free_all(addresses);
	ERR_clear_error();
}

/* ---- the engine ---- */

static enum err
read_authorities(struct bytes pem, X509_STORE *store)
{
	BIO *in = pem.len == 0 || pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
	size_t n = 0;
	if (in == NULL) {
		return pem.len == 0 ? ERR_OK : ERR_MEMORY;
	}
	for (X509 *cert = NULL; (cert = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL; n++) {
		(void)X509_STORE_add_cert(store, cert);
		X509_free(cert);
	}
	(void)BIO_free(in);
	ERR_clear_error();
	return n == 0 ? ERR_FORMAT : ERR_OK;
}

enum err
transfer_create(struct loop *loop, struct bytes authorities, struct transfer_engine **ret)
{
	struct transfer_engine *e = calloc(1, sizeof(*e));
	enum err error = e == NULL || curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK ? ERR_MEMORY : ERR_OK;
	if (error == ERR_OK) {
		e->loop = loop;
		timer_init(&e->timer, on_timer, e);
		e->authorities = X509_STORE_new();
		e->multi = curl_multi_init();
		if (e->authorities == NULL || e->multi == NULL ||
		    curl_multi_setopt(e->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
		    curl_multi_setopt(e->multi, CURLMOPT_SOCKETDATA, e) != CURLM_OK ||
		    curl_multi_setopt(e->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wish) != CURLM_OK ||
		    curl_multi_setopt(e->multi, CURLMOPT_TIMERDATA, e) != CURLM_OK ||
		    curl_multi_setopt(e->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) != CURLM_OK) {
			error = ERR_MEMORY;
		}
	}
	if (error == ERR_OK) {
		error = read_authorities(authorities, e->authorities);
	}
	if (error != ERR_OK) {
		/* The process does not start. */
		free(e);
		return error;
	}
	*ret = e;
	return ERR_OK;
}
