/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "authentication/play.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/openssl.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/wire.h"

void
play_init(struct play *p)
{
	memset(p, 0, sizeof(*p));
	buf_init(&p->rdata, 1 << 20);
}

void
play_clear(struct play *p)
{
	buf_clear(&p->rdata);
}

static void
add(struct play *p, const char *name, enum authentication_rr type, struct bytes text)
{
	if (p->count == PLAY_RECORDS_MAX) {
		panic("too many records to play");
	}
	p->records[p->count].name = name;
	p->records[p->count].type = type;
	p->records[p->count++].text = text;
}

void
play_add(struct play *p, const char *name, struct bytes text)
{
	add(p, name, AUTHENTICATION_TXT, text);
}

void
play_add_rr(struct play *p, const char *name, enum authentication_rr type, const char *text)
{
	add(p, name, type, bytes_str(text));
}

static void
put_strings(struct wire_writer *w, struct bytes text)
{
	for (size_t at = 0; at < text.len; at += 200) {
		struct bytes piece = bytes_slice(text, at, 200);
		wire_put_u8(w, (uint8_t)piece.len);
		wire_put_fixed(w, piece.ptr, piece.len);
	}
}

static void
put_name(struct wire_writer *w, struct bytes name)
{
	while (name.len > 0) {
		ptrdiff_t dot = bytes_find(name, '.');
		struct bytes label = dot < 0 ? name : bytes_slice(name, 0, (size_t)dot);
		wire_put_u8(w, (uint8_t)label.len);
		wire_put_fixed(w, label.ptr, label.len);
		name = dot < 0 ? BYTES_EMPTY : bytes_from(name, (size_t)dot + 1);
	}
	wire_put_u8(w, 0);
}

static void
put_address(struct wire_writer *w, int family, struct bytes text)
{
	char buffer[INET6_ADDRSTRLEN] = "";
	uint8_t address[16] = {0};
	if (text.len < sizeof(buffer)) {
		memcpy(buffer, text.ptr, text.len);
	}
	if (inet_pton(family, buffer, address) != 1) {
		panic("no address to play with");
	}
	wire_put_fixed(w, address, family == AF_INET ? 4 : 16);
}

static enum err
ask(void *ctx, struct bytes name, enum authentication_rr type, struct authentication_answer *ret)
{
	struct play *p = ctx;
	struct wire_writer w;
	p->questions++;
	if (p->failure != ERR_OK && (p->silent == NULL || bytes_is_nocase(name, p->silent))) {
		return p->failure;
	}
	buf_reset(&p->rdata);
	wire_writer_init(&w, &p->rdata);
	*ret = (struct authentication_answer){.no_name = true, .rdata = BYTES_EMPTY};
	for (size_t i = 0; i < p->count; i++) {
		if (!bytes_is_nocase(name, p->records[i].name)) {
			continue;
		}
		ret->no_name = false; /* it may have none of this type */
		if (type != p->records[i].type) {
			continue;
		}
		size_t opened = wire_open_bytes(&w);
		struct bytes text = p->records[i].text;
		switch (type) {
		case AUTHENTICATION_TXT:
			put_strings(&w, text);
			break;
		case AUTHENTICATION_A:
			put_address(&w, AF_INET, text);
			break;
		case AUTHENTICATION_AAAA:
			put_address(&w, AF_INET6, text);
			break;
		case AUTHENTICATION_MX:
			wire_put_u16(&w, 10);
			put_name(&w, text);
			break;
		case AUTHENTICATION_PTR:
			put_name(&w, text);
			break;
		}
		wire_close_bytes(&w, opened);
	}
	if (wire_done(&w) != ERR_OK) {
		return ERR_MEMORY;
	}
	ret->rdata = buf_bytes(&p->rdata);
	return ERR_OK;
}

struct authentication_dns
play_dns(struct play *p)
{
	return (struct authentication_dns){.ask = ask, .ctx = p};
}

/* ---- a house that signs ---- */

static EVP_PKEY *
pair(enum dkim_algorithm algorithm)
{
	static EVP_PKEY *pairs[2];
	size_t i = algorithm == DKIM_RSA_SHA256 ? 0 : 1;
	if (pairs[i] == NULL) {
		pairs[i] = i == 0 ? EVP_RSA_gen(2048) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	}
	if (pairs[i] == NULL) {
		panic("no key pair to play with");
	}
	return pairs[i];
}

static enum err
sign(void *ctx, const struct dkim_signer *signer, const uint8_t digest[32], struct buf *ret_signature)
{
	EVP_PKEY *key = pair(signer->algorithm);
	uint8_t made[512];
	size_t len = sizeof(made);
	bool good;
	(void)ctx;
	if (signer->algorithm == DKIM_RSA_SHA256) {
		EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
		good = c != NULL && EVP_PKEY_sign_init(c) == 1 &&
		       EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) == 1 &&
		       EVP_PKEY_sign(c, made, &len, digest, 32) == 1;
		EVP_PKEY_CTX_free(c);
	} else {
		EVP_MD_CTX *c = EVP_MD_CTX_new();
		good = c != NULL && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1 &&
		       EVP_DigestSign(c, made, &len, digest, 32) == 1;
		EVP_MD_CTX_free(c);
	}
	return good ? buf_append(ret_signature, bytes_of(made, len)) : ERR_MEMORY;
}

struct dkim_signer
play_signer(enum dkim_algorithm algorithm, const char *domain, const char *selector)
{
	return (struct dkim_signer){
	    .domain = domain, .selector = selector, .algorithm = algorithm, .sign = sign};
}

struct bytes
play_record(enum dkim_algorithm algorithm)
{
	static struct buf records[2] = {{.max = 4096}, {.max = 4096}};
	size_t i = algorithm == DKIM_RSA_SHA256 ? 0 : 1;
	if (records[i].len == 0) {
		uint8_t raw[32];
		size_t len = sizeof(raw);
		unsigned char *der = NULL;
		enum err e;
		if (i == 0) {
			int n = i2d_PUBKEY(pair(algorithm), &der);
			e = n <= 0 ? ERR_MEMORY
				   : dkim_record(algorithm, bytes_of(der, (size_t)n), &records[i]);
			OPENSSL_free(der);
		} else {
			e = EVP_PKEY_get_raw_public_key(pair(algorithm), raw, &len) != 1
				? ERR_MEMORY
				: dkim_record(algorithm, bytes_of(raw, len), &records[i]);
		}
		if (e != ERR_OK) {
			panic("no key record to play with");
		}
	}
	return buf_bytes(&records[i]);
}
