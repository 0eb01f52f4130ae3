/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * All that a certificate authority answers, as it is read here: header lines, problem documents, the directory, orders, authorisations and challenges,
 * with the URLs in them. Input: header lines, an empty line, the body.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "config/config.h"
#include "fetcher/acme_words.h"
#include "fetcher/transfer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_view(struct bytes view, struct bytes whole, size_t most)
{
	if (view.len > most ||
	    (view.len > 0 && (view.ptr < whole.ptr || view.ptr + view.len > whole.ptr + whole.len))) {
		panic("a view beyond what was read");
	}
}

static void
check_url(struct bytes url)
{
	static struct config c;
	struct transfer_url where;
	if (c.acme_directory[0] == '\0') {
		(void)snprintf(c.acme_directory, sizeof(c.acme_directory), "https://ca.test/directory");
	}
	if (url.len == 0 || !config_acme_url(&c, url)) {
		return;
	}
	for (size_t i = 0; i < url.len; i++) {
		if (url.ptr[i] <= ' ' || url.ptr[i] == '"' || url.ptr[i] == '\\' || url.ptr[i] > '~') {
			panic("an URL that breaks out of a header");
		}
	}
	if (transfer_url_read(url, &where) == ERR_OK && strcmp(where.host, "ca.test") != 0) {
		panic("an URL of another host");
	}
}

static void
read_document(struct bytes body)
{
	static const char *const urls[] = {"newNonce", "newAccount",  "newOrder",
					   "finalize", "certificate", "url"};
	static const char *const types[] = {"http-01", "tls-alpn-01"};
	size_t at = 0;
	size_t n = 0;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct bytes url = acme_text(json_member(body, urls[i]), 1, 512);
		check_view(url, body, 512);
		check_url(url);
	}
	struct bytes list = json_member(body, "authorizations");
	for (struct bytes each; n <= body.len && (each = json_next(list, &at)).len > 0; n++) {
		check_view(acme_text(each, 1, 512), body, 512);
	}
	if (n > body.len) {
		panic("a list without an end");
	}
	for (size_t i = 0; i < 2; i++) {
		struct bytes challenge = acme_challenge_find(body, types[i]);
		check_view(challenge, body, body.len);
		check_view(acme_text(json_member(challenge, "token"), 16, 128), body, 128);
		check_url(acme_text(json_member(challenge, "url"), 1, 512));
		(void)acme_status_of(challenge);
	}
	check_view(acme_text(json_member(json_member(body, "identifier"), "value"), 1, 253), body, 253);
	(void)json_kind(json_member(json_member(body, "meta"), "externalAccountRequired"));
	(void)acme_status_of(body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const fields[] = {"Replay-Nonce", "Location", "Retry-After", "Link",
					     "Content-Type"};
	struct bytes in = bytes_of(data, size);
	struct bytes headers = in;
	struct bytes body = BYTES_EMPTY;
	char error[ACME_ERROR_MAX];
	uint64_t seconds = 0;
	for (size_t i = 0; i + 3 < size; i++) {
		if (memcmp(data + i, "\r\n\r\n", 4) == 0) {
			headers = bytes_slice(in, 0, i + 2);
			body = bytes_from(in, i + 4);
			break;
		}
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct bytes value = acme_header(headers, fields[i]);
		check_view(value, headers, headers.len);
		if (bytes_find(value, '\n') >= 0 || bytes_find(value, '\r') == 0) {
			panic("a field of two lines");
		}
		check_url(value);
	}
	enum err e = bytes_to_u64(acme_header(headers, "Retry-After"), 1000, &seconds);
	if (e == ERR_OK && seconds > 1000) {
		panic("a number above its bound");
	}
	acme_error(body, error);
	for (const char *c = error; *c != '\0'; c++) {
		if (!ascii_is_alpha((uint8_t)*c)) {
			panic("a word that cannot be printed");
		}
	}
	(void)acme_remedy(error);
	if (json_check(body) == ERR_OK) {
		read_document(body);
	}
	return 0;
}
