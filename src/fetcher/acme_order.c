/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "fetcher/acme_order.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/wire.h"
#include "fetcher/acme_words.h"
#include "loop/task.h"

enum {
	BODY_MAX = 128 * 1024,
	REQUEST_MS = 20 * 1000,
	CALL_MS = 40 * 1000, /* to other roles */
	NONCE_TRIES = 12,
	POLL_FIRST_MS = 250,
	POLL_MOST_MS = 4 * 1000,
	POLL_LIMIT_MS = 75 * 1000,
	RETRY_MOST_S = 3 * 24 * 3600,
	TOKEN_MAX = 128,
};

/* A reply. Its body is checked JSON unless it is the certificate's. */
struct answer {
	uint16_t status;
	struct buf headers;
	struct buf body;
};

static void
answer_clear(struct answer *a)
{
	buf_clear(&a->headers);
	buf_clear(&a->body);
	a->status = 0;
}

/* The first failure is what is told. */
static bool COHUE_PRINTF(2, 3) fail(struct acme_session *s, const char *format, ...)
{
	va_list args;
	if (s->problem[0] == '\0') {
		va_start(args, format);
		(void)vsnprintf(s->problem, sizeof(s->problem), format, args);
		va_end(args);
	}
	return false;
}

static bool
fail_authority(struct acme_session *s, const char *step, const struct answer *a)
{
	char error[ACME_ERROR_MAX];
	acme_error(buf_bytes(&a->body), error);
	return error[0] != '\0'
		   ? fail(s, "the certificate authority refuses the %s: %s. Remedy: %s", step, error,
			  acme_remedy(error))
		   : fail(s,
			  "the certificate authority answers the %s with HTTP %u and nothing that "
			  "ACME knows. Remedy: see acme.directory",
			  step, (unsigned)a->status);
}

/* ---- HTTP ---- */

static bool
is_loopback(const struct transfer_url *url)
{
	return strncmp(url->host, "127.", 4) == 0 || strcmp(url->host, "::1") == 0 ||
	       strcmp(url->host, "localhost") == 0;
}

/* Seconds alone: dates (RFC 9110 section 10.2.3) are taken as nothing. */
static void
note_headers(struct acme_session *s, const struct answer *a)
{
	uint64_t seconds = 0;
	struct bytes nonce = acme_header(buf_bytes(&a->headers), "Replay-Nonce");
	if (nonce.len > 0 && nonce.len < sizeof(s->nonce)) {
		memcpy(s->nonce, nonce.ptr, nonce.len);
		s->nonce[nonce.len] = '\0';
	}
	if ((a->status == 429 || a->status == 503) &&
	    bytes_to_u64(acme_header(buf_bytes(&a->headers), "Retry-After"), RETRY_MOST_S, &seconds) ==
		ERR_OK) {
		s->not_before_again = loop_now(s->host->loop) + (msec)seconds * MSEC_SECOND;
	}
}

static const char *
http_trouble(enum err e)
{
	switch ((int)e) {
	case ERR_AUTH:
		return "its certificate is not to be trusted. Remedy: see acme.directory and acme.ca";
	case ERR_LIMIT:
		return "its answer is too long. Remedy: see acme.directory";
	case ERR_NOT_FOUND:
		return "its name is not in the DNS. Remedy: see acme.directory, and `cohue doctor` for the "
		       "DNS";
	case ERR_DENIED:
		return "its address is none of a public server. Remedy: see acme.directory";
	case ERR_FORMAT:
		return "what answers there is no web server. Remedy: see acme.directory";
	default:
		return "it does not answer. Remedy: none is needed, it is tried again; if that goes on, see "
		       "whether "
		       "this machine reaches port 443 of others";
	}
}

/* A view's JSON is checked here. `answer` holds nothing before. */
static bool
request(struct acme_session *s, const char *method, struct bytes url, struct bytes body, bool json,
	struct answer *a)
{
	struct transfer_address addresses[TRANSFER_ADDRESSES_MAX];
	struct transfer_url where;
	struct transfer_result result = {.error = ERR_OK};
	struct buf fields = BUF_INIT(256);
	struct wire_writer w;
	wire_writer_init(&w, &fields);
	if (body.len > 0) {
		wire_put_bytes(&w, BYTES_LIT("Content-Type"));
		wire_put_bytes(&w, BYTES_LIT("application/jose+json"));
	}
	wire_put_bytes(&w, BYTES_LIT("User-Agent"));
	wire_put_bytes(&w, BYTES_LIT("cohue"));
	enum err e = wire_done(&w);
	e = e == ERR_OK && !config_acme_url(&s->host->config, url) ? ERR_DENIED : e;
	e = e == ERR_OK ? transfer_url_read(url, &where) : e;
	if (e == ERR_OK) {
		bool loopback = is_loopback(&where);
		struct transfer_request q = {.method = bytes_str(method),
					     .url = url,
					     .headers = buf_bytes(&fields),
					     .body = body,
					     .body_max = BODY_MAX,
					     .headers_max = FETCH_HEADERS_MAX,
					     .timeout = REQUEST_MS,
					     .addresses = addresses,
					     .loopback = loopback};
		e = fetcher_addresses(s->host, &where, loopback, &q, addresses);
		if (e == ERR_OK) {
			transfer_run(s->engine, &q, &result);
			e = result.error;
		}
	}
	buf_clear(&fields);
	if (e == ERR_OK) {
		*a = (struct answer){.status = result.status, .headers = result.headers, .body = result.body};
	} else {
		buf_clear(&result.headers);
		buf_clear(&result.body);
		return fail(s, "the certificate authority cannot be asked: %s", http_trouble(e));
	}
	note_headers(s, a);
	if (a->status >= 300 && a->status < 400) {
		return fail(
		    s, "the certificate authority redirects, which is not followed. Remedy: write where to "
		       "in acme.directory");
	}
	if (json && a->body.len > 0 && json_check(buf_bytes(&a->body)) != ERR_OK) {
		return fail(
		    s,
		    "what the certificate authority answers is no JSON (HTTP %u). Remedy: see acme.directory",
		    (unsigned)a->status);
	}
	return true;
}

static bool
get_nonce(struct acme_session *s)
{
	struct answer a = {.status = 0};
	bool good = request(s, "HEAD", bytes_str(s->new_nonce), BYTES_EMPTY, false, &a);
	answer_clear(&a);
	return good && (s->nonce[0] != '\0' ||
			fail(s, "the certificate authority gives no nonce. Remedy: see acme.directory"));
}

/* The keeper writes what is said, and signs it. */
static bool
write_request(struct acme_session *s, enum acme_request what, unsigned kind, unsigned without,
	      struct bytes url, struct buf *ret)
{
	struct buf reply = BUF_INIT(IPC_SMALL);
	struct msg_acme_sign m = {.what = (uint8_t)what,
				  .kind = (uint8_t)kind,
				  .without = (uint8_t)without,
				  .next = s->next && what == ACME_FINALIZE ? 1 : 0,
				  .url = url,
				  .nonce = bytes_str(s->nonce),
				  .account = what == ACME_NEW_ACCOUNT ? BYTES_EMPTY : bytes_str(s->account)};
	struct msg_acme_sign_reply r;
	enum err e = channel_call(role_channel(s->host, ROLE_KEEPER, 0), ACME_SIGN, acme_sign, &m,
				  loop_now(s->host->loop) + CALL_MS, &reply);
	/* Each is good for one request. */
	s->nonce[0] = '\0';
	e = e == ERR_OK ? msg_acme_sign_reply_decode(buf_bytes(&reply), &r) : e;
	e = e == ERR_OK ? buf_append(ret, r.body) : e;
	buf_clear(&reply);
	return e == ERR_OK ||
	       (e == ERR_LIMIT && fail(s, "a day's certificates were asked for already. Remedy: wait"
					  " for tomorrow")) ||
	       fail(s,
		    "the keeper does not sign what the certificate authority wants: %s. Remedy: see "
		    "acme.directory: all its URLs must be of one host",
		    err_text(e));
}

/* RFC 8555 sections 6.2 to 6.5. An empty answer before; any HTTP status may come. */
static bool
post(struct acme_session *s, enum acme_request what, unsigned kind, unsigned without, struct bytes url,
     bool json, struct answer *a)
{
	for (int i = 0; i < NONCE_TRIES; i++) {
		struct buf body = BUF_INIT(IPC_SMALL);
		char error[ACME_ERROR_MAX] = "";
		answer_clear(a);
		bool good = (s->nonce[0] != '\0' || get_nonce(s)) &&
			    write_request(s, what, kind, without, url, &body) &&
			    request(s, "POST", url, buf_bytes(&body), json, a);
		buf_clear(&body);
		if (!good) {
			return false;
		}
		if (a->status == 400) {
			acme_error(buf_bytes(&a->body), error);
		}
		if (strcmp(error, "badNonce") != 0) {
			return true;
		}
	}
	return fail(
	    s, "the certificate authority refuses every nonce. Remedy: see whether a proxy stands before it");
}

/* ---- the beginning ---- */

static bool
keep_url(struct acme_session *s, struct bytes url, char ret[ACME_URL_MAX])
{
	if (url.len == 0 || url.len >= ACME_URL_MAX || !config_acme_url(&s->host->config, url)) {
		return fail(
		    s, "an URL that the certificate authority gives is missing, or of another host. Remedy: "
		       "see acme.directory");
	}
	memcpy(ret, url.ptr, url.len);
	ret[url.len] = '\0';
	return true;
}

static bool
keep_member(struct acme_session *s, const struct answer *a, const char *name, char ret[ACME_URL_MAX])
{
	return keep_url(s, acme_text(json_member(buf_bytes(&a->body), name), 1, ACME_URL_MAX), ret);
}

bool
acme_session_open(struct acme_session *s)
{
	struct answer a = {.status = 0};
	bool good = request(s, "GET", bytes_str(s->host->config.acme_directory), BYTES_EMPTY, true, &a);
	if (good && (a.status != 200 || json_kind(buf_bytes(&a.body)) != JSON_OBJECT)) {
		good = fail_authority(s, "directory", &a);
	}
	good = good && keep_member(s, &a, "newNonce", s->new_nonce) &&
	       keep_member(s, &a, "newAccount", s->new_account) &&
	       keep_member(s, &a, "newOrder", s->new_order);
	if (good && json_kind(json_member(json_member(buf_bytes(&a.body), "meta"),
					  "externalAccountRequired")) == JSON_TRUE) {
		good = fail(s, "this certificate authority wants an account made beforehand. Remedy: %s",
			    acme_remedy("externalAccountRequired"));
	}
	answer_clear(&a);
	/* Gives the account where there is one already (section 7.3.1). */
	good = good && post(s, ACME_NEW_ACCOUNT, 0, 0, bytes_str(s->new_account), true, &a);
	if (good && a.status != 200 && a.status != 201) {
		good = fail_authority(s, "account", &a);
	}
	good = good && keep_url(s, acme_header(buf_bytes(&a.headers), "Location"), s->account);
	answer_clear(&a);
	return good;
}

/* ---- challenges ---- */

/* To every gate: any of them may be the one that is asked. */
static bool
tell_gates(struct acme_session *s, const struct msg_acme_challenge *m)
{
	unsigned told = 0;
	enum err e = ERR_OK;
	for (unsigned n = 0; n < ROLE_PEERS_MAX; n++) {
		struct channel *gate = role_channel(s->host, ROLE_GATE_MEMBER, n);
		if (gate != NULL) {
			enum err one = channel_call(gate, ACME_CHALLENGE, acme_challenge, m,
						    loop_now(s->host->loop) + CALL_MS, NULL);
			e = e == ERR_OK ? one : e;
			told++;
		}
	}
	return (told > 0 && e == ERR_OK) ||
	       fail(s, "the gates do not take a challenge: %s. Remedy: it is tried again",
		    err_text(told == 0 ? ERR_CLOSED : e));
}

/* Asks until it is neither pending nor processing, and not `wait`. */
static bool
poll(struct acme_session *s, struct bytes url, enum acme_status wait, const char *step, struct answer *a)
{
	msec until = loop_now(s->host->loop) + POLL_LIMIT_MS;
	msec pause = POLL_FIRST_MS;
	for (;;) {
		if (!post(s, ACME_GET, 0, 0, url, true, a)) {
			return false;
		}
		enum acme_status is = acme_status_of(buf_bytes(&a->body));
		if (a->status != 200) {
			return fail_authority(s, step, a);
		}
		if (is != ACME_STATUS_PENDING && is != ACME_STATUS_PROCESSING && is != wait) {
			return true;
		}
		if (loop_now(s->host->loop) > until) {
			return fail(
			    s,
			    "the certificate authority does not come to an end with the %s. Remedy: it is "
			    "tried again",
			    step);
		}
		if (task_sleep(pause) != ERR_OK) {
			return fail(s, "the service stops");
		}
		pause = pause * 3 / 2 < POLL_MOST_MS ? pause * 3 / 2 : POLL_MOST_MS;
	}
}

/* True: proved. `refused`: the authority says no, which may be this name's fault alone. */
static bool
prove(struct acme_session *s, struct bytes url, bool *refused, struct answer *a)
{
	static const struct {
		const char *type;
		enum acme_challenge kind;
	} types[] = {{"http-01", ACME_HTTP_01}, {"tls-alpn-01", ACME_TLS_ALPN_01}};
	char error[ACME_ERROR_MAX];
	char target[ACME_URL_MAX];
	struct bytes found = BYTES_EMPTY;
	struct bytes authorisation = buf_bytes(&a->body);
	enum config_acme_challenge wish = s->host->config.acme_challenge;
	size_t which = wish == CONFIG_ACME_TLS || (wish == CONFIG_ACME_AUTO && s->other_challenge) ? 1 : 0;
	found = acme_challenge_find(authorisation, types[which].type);
	if (found.len == 0 && wish == CONFIG_ACME_AUTO) {
		which = 1 - which;
		found = acme_challenge_find(authorisation, types[which].type);
	}
	if (found.len == 0) {
		return fail(
		    s, "the certificate authority asks for a proof that cohue cannot give (for a name by "
		       "http-01 or tls-alpn-01). Remedy: choose another in acme.directory");
	}
	struct bytes token = acme_text(json_member(found, "token"), 16, TOKEN_MAX);
	struct bytes name = acme_text(json_member(json_member(authorisation, "identifier"), "value"), 1, 253);
	if (token.len == 0 || name.len == 0 ||
	    !keep_url(s, acme_text(json_member(found, "url"), 1, ACME_URL_MAX), target)) {
		return fail(
		    s, "a challenge of the certificate authority is malformed. Remedy: see acme.directory");
	}
	char name_text[256];
	char token_text[TOKEN_MAX + 1];
	memcpy(name_text, name.ptr, name.len);
	memcpy(token_text, token.ptr, token.len);
	struct msg_acme_challenge m = {.kind = (uint8_t)types[which].kind,
				       .on = 1,
				       .name = bytes_of(name_text, name.len),
				       .token = bytes_of(token_text, token.len)};
	bool good = tell_gates(s, &m) && post(s, ACME_TRY, 0, 0, bytes_str(target), true, a);
	if (good && a->status != 200) {
		good = fail_authority(s, "challenge", a);
	}
	good = good && poll(s, url, ACME_STATUS_PENDING, "proof", a);
	if (good && acme_status_of(buf_bytes(&a->body)) != ACME_STATUS_VALID) {
		acme_error(acme_challenge_find(buf_bytes(&a->body), types[which].type), error);
		*refused = true;
		good = fail(s, "the certificate authority does not find the proof for %.*s: %s. Remedy: %s",
			    (int)name.len, name_text, error[0] != '\0' ? error : "it does not say why",
			    acme_remedy(error));
	}
	/* Whatever came of it, no longer. */
	m.on = 0;
	(void)tell_gates(s, &m);
	return good;
}

/* ---- the order ---- */

/* The name's place among those that are blank-separated; -1: it is none of them. */
static int
place_of(struct bytes names, struct bytes name)
{
	for (int i = 0; names.len > 0; i++) {
		ptrdiff_t end = bytes_find(names, ' ');
		struct bytes each = end < 0 ? names : bytes_slice(names, 0, (size_t)end);
		if (bytes_equal_nocase(each, name)) {
			return i;
		}
		names = bytes_from(names, each.len + 1);
	}
	return -1;
}

struct authorisations {
	char urls[ACME_AUTHORISATIONS_MAX][ACME_URL_MAX];
	size_t count;
};

static bool
take_authorisations(struct acme_session *s, struct bytes order, struct authorisations *ret)
{
	struct bytes list = json_member(order, "authorizations");
	size_t at = 0;
	ret->count = 0;
	for (struct bytes each; (each = json_next(list, &at)).len > 0; ret->count++) {
		if (ret->count == ACME_AUTHORISATIONS_MAX ||
		    !keep_url(s, acme_text(each, 1, ACME_URL_MAX), ret->urls[ret->count])) {
			return fail(
			    s,
			    "an order at the certificate authority is malformed. Remedy: see acme.directory");
		}
	}
	return ret->count > 0 ||
	       fail(s, "an order at the certificate authority has nothing in it. Remedy: see "
		       "acme.directory");
}

/* False with *again: one name more is left out. */
static bool
prove_all(struct acme_session *s, const struct authorisations *all, struct bytes names, unsigned *without,
	  bool *again)
{
	struct answer a = {.status = 0};
	bool good = true;
	for (size_t i = 0; i < all->count && good; i++) {
		struct bytes url = bytes_str(all->urls[i]);
		bool refused = false;
		int place = -1;
		good = post(s, ACME_GET, 0, 0, url, true, &a);
		if (good && a.status != 200) {
			good = fail_authority(s, "authorisation", &a);
		}
		if (good && acme_status_of(buf_bytes(&a.body)) != ACME_STATUS_VALID) {
			struct bytes id = json_member(json_member(buf_bytes(&a.body), "identifier"), "value");
			place = place_of(names, acme_text(id, 1, 253));
			good = place >= 0
				   ? prove(s, url, &refused, &a)
				   : fail(s, "the certificate authority asks about a name that is none of "
					     "ours. Remedy: see acme.directory");
		}
		if (!good && refused && place > 0 && (*without & 1U << place) == 0) {
			/* A name that somebody else serves, or nobody yet: the others get theirs. */
			*without |= 1U << place;
			*again = true;
			s->problem[0] = '\0';
		}
	}
	answer_clear(&a);
	return good;
}

static bool
hand_over(struct acme_session *s, unsigned kind, unsigned without, struct bytes chain)
{
	struct msg_acme_chain m = {
	    .kind = (uint8_t)kind, .without = (uint8_t)without, .next = s->next ? 1 : 0, .chain_pem = chain};
	enum err e = chain.len > ACME_CHAIN_MAX
			 ? ERR_LIMIT
			 : channel_call(role_channel(s->host, ROLE_KEEPER, 0), ACME_CHAIN, acme_chain, &m,
					loop_now(s->host->loop) + CALL_MS, NULL);
	return e == ERR_OK ||
	       (e == ERR_IO &&
		fail(s, "a new certificate cannot be saved. Remedy: the log says why above")) ||
	       (e == ERR_NOT_FOUND &&
		fail(s,
		     "the certificate that came leads to no authority that this machine trusts, and is not "
		     "taken. Remedy: bring ca-certificates up to date; of an authority of your own, add "
		     "its root to acme.ca")) ||
	       (e == ERR_STATE && fail(s, "the certificate that came is expired, or not yet valid, by this "
					  "machine's clock. Remedy: "
					  "see that the clock is right (`cohue doctor`)")) ||
	       fail(s,
		    "the certificate that came is not the one that was asked for: %s. Remedy: see "
		    "acme.directory",
		    err_text(e));
}

static bool
finish(struct acme_session *s, const char *order, const char *finalize, unsigned kind, unsigned without)
{
	struct answer a = {.status = 0};
	char certificate[ACME_URL_MAX];
	bool good = poll(s, bytes_str(order), ACME_STATUS_PENDING, "order", &a);
	if (good && acme_status_of(buf_bytes(&a.body)) == ACME_STATUS_INVALID) {
		good = fail_authority(s, "order", &a);
	}
	if (good && acme_status_of(buf_bytes(&a.body)) == ACME_STATUS_READY) {
		good = post(s, ACME_FINALIZE, kind, without, bytes_str(finalize), true, &a);
		good = good && (a.status == 200 || fail_authority(s, "request", &a));
		good = good && poll(s, bytes_str(order), ACME_STATUS_READY, "certificate", &a);
	}
	if (good && acme_status_of(buf_bytes(&a.body)) != ACME_STATUS_VALID) {
		good = fail_authority(s, "certificate", &a);
	}
	good = good && keep_member(s, &a, "certificate", certificate) &&
	       post(s, ACME_GET, kind, 0, bytes_str(certificate), false, &a);
	if (good && a.status != 200) {
		good = fail_authority(s, "certificate", &a);
	}
	good = good && hand_over(s, kind, without, buf_bytes(&a.body));
	answer_clear(&a);
	return good;
}

bool
acme_certificate_get(struct acme_session *s, unsigned kind, struct bytes names, unsigned *ret_without)
{
	unsigned without = 0;
	for (int tries = 0; tries < ACME_NAMES_MAX; tries++) {
		struct answer a = {.status = 0};
		struct authorisations all;
		char order[ACME_URL_MAX];
		char finalize[ACME_URL_MAX];
		bool again = false;
		bool good = post(s, ACME_NEW_ORDER, kind, without, bytes_str(s->new_order), true, &a);
		if (good && a.status != 201) {
			good = fail_authority(s, "order", &a);
		}
		good = good && keep_url(s, acme_header(buf_bytes(&a.headers), "Location"), order) &&
		       keep_member(s, &a, "finalize", finalize) &&
		       take_authorisations(s, buf_bytes(&a.body), &all);
		answer_clear(&a);
		good = good && prove_all(s, &all, names, &without, &again) &&
		       finish(s, order, finalize, kind, without);
		if (good) {
			*ret_without = without;
			return true;
		}
		if (!again) {
			return false;
		}
	}
	return fail(s, "no name is left to ask a certificate for");
}
