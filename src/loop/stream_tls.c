/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop/stream_internal.h"
#include "loop/tls_proof.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>

enum { DISCARD_MAX = 64 * 1024 /* clear-text bytes behind STARTTLS that are still thrown away */ };

msec
stream_handshake_ms(const struct stream *s)
{
	return s->settings != NULL && s->settings->handshake_ms > 0 ? s->settings->handshake_ms
								    : 30 * MSEC_SECOND;
}

void
stream_free_ssl(struct stream *s)
{
	if (s->ssl != NULL) {
		SSL_free(s->ssl);
		s->ssl = NULL;
		ERR_clear_error();
	}
}

/* What OpenSSL's last result means: ERR_OK for "not yet" (with want_write set), ERR_CLOSED for the peer's end. */
enum err
stream_ssl_result(struct stream *s, int result, bool *ret_ended)
{
	int errnum = errno;
	*ret_ended = false;
	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return ERR_OK;
	case SSL_ERROR_WANT_WRITE:
		s->want_write = true;
		return ERR_OK;
	case SSL_ERROR_ZERO_RETURN:
		*ret_ended = true;
		return ERR_OK;
	case SSL_ERROR_SYSCALL:
		return errnum == EPIPE || errnum == ECONNRESET || errnum == 0 ? ERR_CLOSED : ERR_IO;
	default:
		return s->tls == TLS_OPEN ? ERR_FORMAT : ERR_AUTH;
	}
}

void
stream_shake_hands(struct stream *s)
{
	bool ended = false;
	s->want_write = false;
	ERR_clear_error();
	errno = 0;
	int result = SSL_do_handshake(s->ssl);
	if (result != 1) {
		enum err e = stream_ssl_result(s, result, &ended);
		if (e != ERR_OK || ended) {
			s->unproved = s->verify && SSL_get_verify_result(s->ssl) != X509_V_OK;
			stream_fail(s, ended ? ERR_CLOSED : e);
		}
		return;
	}
	s->tls = TLS_OPEN;
	stream_pad_open(s);
	s->active_at = s->loop->now;
	stream_arm(s);
	if (s->closing == OPEN && s->events->secured != NULL) {
		s->events->secured(s, s->arg);
	}
	if (stream_is_alive(s) && stream_queued(s) > 0) {
		defer_start_last(s->loop, &s->flush);
	}
	if (stream_takes_data(s)) {
		stream_read_in(s);
	}
}

/* Throws clear text away: what is kept, what is being offered, what waits in the kernel. */
static enum err
discard_clear(struct stream *s, size_t *ret_discarded)
{
	size_t n = s->held.len;
	if (s->offering) {
		/* While kept bytes are offered they are the same bytes. */
		n = s->offered.len - s->offered_consumed;
	} else {
		buf_wipe(&s->held);
	}
	uint8_t scrap[2048];
	while (n <= DISCARD_MAX) {
		ssize_t got = recv(s->fd, scrap, sizeof(scrap), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			*ret_discarded = n;
			return ERR_OK;
		}
		n += (size_t)got;
	}
	return ERR_LIMIT;
}

static enum err
start_tls(struct stream *s, struct tls_context *ctx, bool server, const char *sni,
	  const struct tls_expectation *expectation, bool implicit, size_t *ret_discarded)
{
	if (s->tls != CLEAR || s->closing != OPEN) {
		return ERR_STATE;
	}
	/* OpenSSL's macro takes the name without const. */
	char name[256];
	size_t name_len = sni == NULL ? 0 : bytes_str(sni).len;
	if (name_len >= sizeof(name)) {
		return ERR_LIMIT;
	}
	memcpy(name, sni == NULL ? "" : sni, name_len);
	name[name_len] = 0;
	size_t discarded = 0;
	if (!implicit) {
		enum err e = discard_clear(s, &discarded);
		if (e != ERR_OK) {
			return e;
		}
	}
	ERR_clear_error();
	SSL *ssl = SSL_new(tls_context_ssl(ctx));
	if (ssl == NULL) {
		return ERR_MEMORY;
	}
	if (SSL_set_fd(ssl, s->fd) != 1 ||
	    (name_len > 0 && expectation == NULL &&
	     (SSL_set_tlsext_host_name(ssl, name) != 1 || SSL_set1_host(ssl, name) != 1))) {
		SSL_free(ssl);
		ERR_clear_error();
		return ERR_MEMORY;
	}
	enum err expected = expectation == NULL ? ERR_OK : tls_expect(ssl, expectation);
	if (expected != ERR_OK) {
		SSL_free(ssl);
		ERR_clear_error();
		return expected;
	}
	if (server) {
		SSL_set_accept_state(ssl);
		(void)SSL_set_app_data(ssl, s);
	} else {
		SSL_set_connect_state(ssl);
	}
	s->ssl = ssl;
	s->verify = expectation != NULL ? expectation->proof != TLS_PROOF_NONE
					: tls_context_verifies(ctx) && name_len > 0;
	s->tls = TLS_PENDING;
	s->clear_left = stream_queued(s);
	s->deadline = clock_monotonic() + stream_handshake_ms(s);
	stream_arm(s);
	if (!s->want_write) {
		defer_start_last(s->loop, &s->flush);
	}
	if (ret_discarded != NULL) {
		*ret_discarded = discarded;
	}
	return ERR_OK;
}

enum err
stream_start_tls_server(struct stream *s, struct tls_context *ctx, bool implicit, size_t *ret_discarded)
{
	return start_tls(s, ctx, true, NULL, NULL, implicit, ret_discarded);
}

enum err
stream_start_tls_client(struct stream *s, struct tls_context *ctx, const char *sni, bool implicit,
			size_t *ret_discarded)
{
	return start_tls(s, ctx, false, sni, NULL, implicit, ret_discarded);
}

enum err
stream_start_tls_client_proving(struct stream *s, struct tls_context *ctx,
				const struct tls_expectation *expectation, bool implicit,
				size_t *ret_discarded)
{
	return start_tls(s, ctx, false, NULL, expectation, implicit, ret_discarded);
}

bool
stream_is_unproved(const struct stream *s)
{
	return s->unproved;
}

void
stream_set_alpn(struct stream *s, const char *protocol)
{
	s->alpn = protocol;
}

const char *
stream_alpn(const struct stream *s)
{
	return s->alpn;
}

bool
stream_is_secure(const struct stream *s)
{
	return s->tls == TLS_OPEN;
}

enum err
stream_tls_info(const struct stream *s, struct tls_info *ret_info)
{
	if (s->tls != TLS_OPEN || s->ssl == NULL) {
		return ERR_STATE;
	}
	const SSL_CIPHER *cipher = SSL_get_current_cipher(s->ssl);
	int bits = SSL_CIPHER_get_bits(cipher, NULL);
	const char *name = SSL_CIPHER_standard_name(cipher);
	*ret_info = (struct tls_info){
	    .version = SSL_get_version(s->ssl),
	    .cipher = name != NULL ? name : "unknown",
	    .bits = bits > 0 ? (unsigned)bits : 0,
	    .verified = s->verify && SSL_get_verify_result(s->ssl) == X509_V_OK,
	    .resumed = SSL_session_reused(s->ssl) == 1,
	};
	return ERR_OK;
}

enum err
stream_tls_exporter(struct stream *s, const char *label, uint8_t *ret_key, size_t n)
{
	if (s->tls != TLS_OPEN || s->ssl == NULL) {
		return ERR_STATE;
	}
	ERR_clear_error();
	int ok = SSL_export_keying_material(s->ssl, ret_key, n, label, bytes_str(label).len, NULL, 0, 0);
	ERR_clear_error();
	return ok == 1 ? ERR_OK : ERR_UNSUPPORTED;
}

enum err
stream_tls_end_point(const struct stream *s, uint8_t ret[STREAM_END_POINT_MAX], size_t *ret_len)
{
	int digest = NID_undef;
	unsigned len = 0;
	_Static_assert(STREAM_END_POINT_MAX >= EVP_MAX_MD_SIZE, "digest");
	if (s->tls != TLS_OPEN || s->ssl == NULL) {
		return ERR_STATE;
	}
	ERR_clear_error();
	X509 *mine = SSL_get_certificate(s->ssl);
	bool known = mine != NULL && X509_get_signature_info(mine, &digest, NULL, NULL, NULL) == 1 &&
		     digest != NID_undef;
	if (digest == NID_md5 || digest == NID_sha1) {
		digest = NID_sha256;
	}
	const EVP_MD *md = known ? EVP_get_digestbynid(digest) : NULL;
	bool ok = md != NULL && X509_digest(mine, md, ret, &len) == 1;
	ERR_clear_error();
	*ret_len = len;
	return ok ? ERR_OK : ERR_UNSUPPORTED;
}

enum err
stream_set_padding(struct stream *s, size_t block)
{
	if (s->tls != TLS_OPEN || s->ssl == NULL) {
		return ERR_STATE;
	}
	if (SSL_version(s->ssl) != TLS1_3_VERSION || block > SSL3_RT_MAX_PLAIN_LENGTH) {
		return ERR_UNSUPPORTED;
	}
	s->block = block;
	return ERR_OK;
}
