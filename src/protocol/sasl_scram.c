/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/sasl_scram.h"

#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum { BOUND_MAX = SASL_SCRAM_MESSAGE_MAX + SASL_SCRAM_BINDING_MAX, HEAD_MAX = 4096 };

enum err
sasl_scram_create(bool plus, struct sasl_scram **ret)
{
	struct sasl_scram *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return ERR_MEMORY;
	}
	s->plus = plus;
	s->problem = "";
	buf_init(&s->name, SASL_SCRAM_NAME_MAX);
	buf_init(&s->client_nonce, SASL_SCRAM_NONCE_MAX);
	buf_init(&s->bound, BOUND_MAX);
	buf_init(&s->head, HEAD_MAX);
	buf_init(&s->tail, SASL_SCRAM_MESSAGE_MAX);
	*ret = s;
	return ERR_OK;
}

void
sasl_scram_destroy(struct sasl_scram **scram)
{
	struct sasl_scram *s = *scram;
	if (s == NULL) {
		return;
	}
	buf_wipe(&s->name);
	buf_wipe(&s->client_nonce);
	buf_wipe(&s->bound);
	buf_wipe(&s->head);
	buf_wipe(&s->tail);
	secret_wipe(s, sizeof(*s));
	free(s);
	*scram = NULL;
}

static enum err
refuse(struct sasl_scram *s, enum err e, const char *problem)
{
	s->problem = problem;
	return e;
}

/* The next piece up to a comma, which is dropped. False where there is none left; behind a last comma there is one, an empty one. */
static bool
next_piece(struct bytes *rest, struct bytes *ret)
{
	if (rest->ptr == NULL) {
		return false;
	}
	ptrdiff_t comma = bytes_find(*rest, ',');
	*ret = comma < 0 ? *rest : bytes_slice(*rest, 0, (size_t)comma);
	*rest = comma < 0 ? BYTES_EMPTY : bytes_from(*rest, (size_t)comma + 1);
	return true;
}

/* saslname: "=2C" for a comma, "=3D" for an equals sign, no other "=". */
static enum err
read_name(struct bytes text, struct buf *ret)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c == '=') {
			struct bytes code = bytes_slice(text, i + 1, 2);
			if (!bytes_is(code, "2C") && !bytes_is(code, "3D")) {
				return ERR_FORMAT;
			}
			c = bytes_is(code, "2C") ? ',' : '=';
			i += 2;
		}
		enum err e = buf_append_byte(ret, c);
		if (e != ERR_OK) {
			return e == ERR_LIMIT ? ERR_FORMAT : e;
		}
	}
	return text.len == 0 ? ERR_FORMAT : ERR_OK;
}

/* Attributes that are not ours (RFC 5802 section 5.1): optional ones are skipped, mandatory ones end it. */
static enum err
skip_extensions(struct sasl_scram *s, struct bytes rest)
{
	struct bytes piece;
	while (next_piece(&rest, &piece)) {
		if (piece.len < 3 || !ascii_is_alpha(piece.ptr[0]) || piece.ptr[1] != '=') {
			return ERR_FORMAT;
		}
		if (piece.ptr[0] == 'm') {
			return refuse(s, ERR_UNSUPPORTED, "No such extension");
		}
	}
	return ERR_OK;
}

static bool
is_printable(struct bytes nonce)
{
	for (size_t i = 0; i < nonce.len; i++) {
		if (nonce.ptr[i] < 0x21 || nonce.ptr[i] > 0x7e || nonce.ptr[i] == ',') {
			return false;
		}
	}
	return nonce.len > 0;
}

/* gs2-cbind-flag. */
static enum err
read_flag(struct sasl_scram *s, struct bytes flag)
{
	if (bytes_is(flag, "n")) {
		return s->plus ? refuse(s, ERR_AUTH, "This mechanism binds the channel") : ERR_OK;
	}
	if (bytes_is(flag, "y")) {
		return refuse(s, ERR_AUTH,
			      "This server binds channels: somebody in between said that it does not");
	}
	if (!bytes_starts_with(flag, "p=") || flag.len < 3) {
		return ERR_FORMAT;
	}
	struct bytes name = bytes_from(flag, 2);
	for (size_t i = 0; i < name.len; i++) {
		if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '.' && name.ptr[i] != '-') {
			return ERR_FORMAT;
		}
	}
	if (!s->plus) {
		return refuse(s, ERR_AUTH, "This mechanism does not bind the channel");
	}
	if (bytes_is(name, "tls-exporter")) {
		s->binding = SASL_SCRAM_EXPORTER;
	} else if (bytes_is(name, "tls-server-end-point")) {
		s->binding = SASL_SCRAM_END_POINT;
	} else {
		/* tls-unique among them: not defined for TLS 1.3 (RFC 9266). */
		return refuse(s, ERR_UNSUPPORTED, "Bind by tls-exporter or tls-server-end-point");
	}
	return ERR_OK;
}

/* [authzid]: hers, or nobody's. */
static enum err
check_authzid(struct sasl_scram *s, struct bytes authzid)
{
	struct buf name = BUF_INIT(SASL_SCRAM_NAME_MAX);
	if (authzid.len == 0) {
		return ERR_OK;
	}
	enum err e = bytes_starts_with(authzid, "a=") ? read_name(bytes_from(authzid, 2), &name) : ERR_FORMAT;
	if (e == ERR_OK && !bytes_equal(buf_bytes(&name), buf_bytes(&s->name))) {
		e = refuse(s, ERR_DENIED, "No acting for others");
	}
	buf_wipe(&name);
	return e;
}

static enum err
read_bare(struct sasl_scram *s, struct bytes bare)
{
	struct bytes rest = bare;
	struct bytes piece;
	if (!next_piece(&rest, &piece)) {
		return ERR_FORMAT;
	}
	if (bytes_starts_with(piece, "m=")) {
		return refuse(s, ERR_UNSUPPORTED, "No such extension");
	}
	if (!bytes_starts_with(piece, "n=")) {
		return ERR_FORMAT;
	}
	enum err e = read_name(bytes_from(piece, 2), &s->name);
	if (e != ERR_OK) {
		return e;
	}
	if (!next_piece(&rest, &piece) || !bytes_starts_with(piece, "r=") ||
	    !is_printable(bytes_from(piece, 2))) {
		return ERR_FORMAT;
	}
	e = buf_append(&s->client_nonce, bytes_from(piece, 2));
	if (e == ERR_OK) {
		e = skip_extensions(s, rest);
	}
	if (e == ERR_OK) {
		e = buf_append(&s->head, bare);
	}
	return e == ERR_LIMIT ? ERR_FORMAT : e;
}

enum err
sasl_scram_first(struct sasl_scram *s, struct bytes message)
{
	struct bytes rest = message;
	struct bytes flag;
	struct bytes authzid;
	if (message.len == 0 || message.len > SASL_SCRAM_MESSAGE_MAX || bytes_find(message, 0) >= 0 ||
	    !bytes_is_utf8(message) || !next_piece(&rest, &flag) || !next_piece(&rest, &authzid) ||
	    rest.len == 0) {
		return ERR_FORMAT;
	}
	enum err e = read_bare(s, rest);
	if (e == ERR_OK) {
		e = read_flag(s, flag);
	}
	if (e == ERR_OK) {
		e = check_authzid(s, authzid);
	}
	if (e == ERR_OK) {
		e = buf_append(&s->bound, bytes_slice(message, 0, message.len - rest.len));
	}
	return e;
}

enum err
sasl_scram_challenge(struct sasl_scram *s, const uint8_t salt[SASL_SCRAM_SALT_LEN], uint32_t rounds,
		     const uint8_t server_nonce[SASL_SCRAM_SERVER_NONCE_LEN], struct bytes binding,
		     struct buf *ret)
{
	struct buf *head = &s->head;
	memcpy(s->server_nonce, server_nonce, sizeof(s->server_nonce));
	enum err e = buf_append(&s->bound, binding);
	e = e == ERR_OK ? buf_append_byte(head, ',') : e;
	size_t start = head->len;
	e = e == ERR_OK ? buf_append_str(head, "r=") : e;
	e = e == ERR_OK ? buf_append(head, buf_bytes(&s->client_nonce)) : e;
	e = e == ERR_OK ? buf_append(head, bytes_of(server_nonce, SASL_SCRAM_SERVER_NONCE_LEN)) : e;
	e = e == ERR_OK ? buf_append_str(head, ",s=") : e;
	e = e == ERR_OK ? buf_append_base64(head, bytes_of(salt, SASL_SCRAM_SALT_LEN)) : e;
	e = e == ERR_OK ? buf_append_str(head, ",i=") : e;
	e = e == ERR_OK ? buf_append_u64(head, rounds) : e;
	e = e == ERR_OK ? buf_append(ret, bytes_from(buf_bytes(head), start)) : e;
	return e == ERR_OK ? buf_append_byte(head, ',') : e;
}

/* c=: base64 of gs2-header and the binding's data. */
static enum err
check_binding(struct sasl_scram *s, struct bytes text)
{
	struct buf octets = BUF_INIT(BOUND_MAX);
	enum err e = buf_append_unbase64(&octets, text);
	e = e == ERR_LIMIT ? ERR_AUTH : e;
	if (e == ERR_OK && !bytes_equal(buf_bytes(&octets), buf_bytes(&s->bound))) {
		e = ERR_AUTH;
	}
	buf_wipe(&octets);
	return e == ERR_AUTH ? refuse(s, e, "This is another channel than the one that you bind") : e;
}

static enum err
check_nonce(struct sasl_scram *s, struct bytes nonce)
{
	struct bytes client = buf_bytes(&s->client_nonce);
	bool same = nonce.len == client.len + SASL_SCRAM_SERVER_NONCE_LEN &&
		    bytes_equal(bytes_slice(nonce, 0, client.len), client) &&
		    bytes_equal(bytes_from(nonce, client.len),
				bytes_of(s->server_nonce, SASL_SCRAM_SERVER_NONCE_LEN));
	return same ? ERR_OK : refuse(s, ERR_AUTH, "Not the nonce of this dialogue");
}

/* The proof is the last attribute, and cannot hold a comma. */
static enum err
read_proof(struct bytes piece, uint8_t ret[SASL_SCRAM_KEY_LEN])
{
	struct buf octets = BUF_INIT(SASL_SCRAM_KEY_LEN + 2);
	enum err e =
	    bytes_starts_with(piece, "p=") ? buf_append_unbase64(&octets, bytes_from(piece, 2)) : ERR_FORMAT;
	if (e == ERR_OK && octets.len != SASL_SCRAM_KEY_LEN) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK) {
		memcpy(ret, octets.ptr, SASL_SCRAM_KEY_LEN);
	}
	buf_wipe(&octets);
	return e == ERR_MEMORY ? e : e == ERR_OK ? ERR_OK : ERR_FORMAT;
}

enum err
sasl_scram_final(struct sasl_scram *s, struct bytes message)
{
	struct bytes binding;
	struct bytes nonce;
	ptrdiff_t last = bytes_find_last(message, ',');
	if (message.len > SASL_SCRAM_MESSAGE_MAX || last < 0 || bytes_find(message, 0) >= 0 ||
	    !bytes_is_utf8(message)) {
		return ERR_FORMAT;
	}
	struct bytes tail = bytes_slice(message, 0, (size_t)last);
	struct bytes rest = tail;
	if (!next_piece(&rest, &binding) || !bytes_starts_with(binding, "c=") || !next_piece(&rest, &nonce) ||
	    !bytes_starts_with(nonce, "r=")) {
		return ERR_FORMAT;
	}
	enum err e = skip_extensions(s, rest);
	if (e == ERR_OK) {
		e = read_proof(bytes_from(message, (size_t)last + 1), s->proof);
	}
	if (e == ERR_OK) {
		e = check_nonce(s, bytes_from(nonce, 2));
	}
	if (e == ERR_OK) {
		e = check_binding(s, bytes_from(binding, 2));
	}
	return e == ERR_OK ? buf_append(&s->tail, tail) : e;
}

enum err
sasl_scram_verdict(const uint8_t signature[SASL_SCRAM_KEY_LEN], struct buf *ret)
{
	enum err e = buf_append_str(ret, "v=");
	return e == ERR_OK ? buf_append_base64(ret, bytes_of(signature, SASL_SCRAM_KEY_LEN)) : e;
}
