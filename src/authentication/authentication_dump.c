/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * For comparisons with other implementations (test/oracle_authentication.py).
 * authentication_dump verify RECORDS: reads messages from standard input, each after a line with its length; writes one line for each:
 * the results of its signatures, and of its chain. RECORDS: lines "name TAB text" that the DNS says.
 * authentication_dump sign ALGORITHM DOMAIN SELECTOR: the same input; writes the length of the signed message, a line end, and the
 * message, for each; before the first the key's record as a line. authentication_dump seal ...: likewise, an ARC set.
 * authentication_dump spf ZONE: reads lines "address TAB hello TAB sender TAB record", the record being that of record.test; writes a
 * result for each. ZONE: lines "name TAB type TAB text".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include "authentication/arc.h"
#include "authentication/play.h"
#include "authentication/spf.h"

enum { MESSAGE_MAX = 64 << 20, LINE_MAX_OCTETS = 16 * 1024 };

static bool
next_message(struct buf *message)
{
	char line[32];
	char *end = NULL;
	if (fgets(line, sizeof(line), stdin) == NULL) {
		return false;
	}
	unsigned long long len = strtoull(line, &end, 10);
	buf_reset(message);
	if (end == line || len > MESSAGE_MAX || buf_reserve(message, (size_t)len + 1) != ERR_OK) {
		return false;
	}
	message->len = fread(message->ptr, 1, (size_t)len, stdin);
	return message->len == len;
}

static void
read_records(struct play *p, const char *path)
{
	static char lines[PLAY_RECORDS_MAX][LINE_MAX_OCTETS];
	FILE *f = fopen(path, "re");
	for (size_t i = 0; f != NULL && i < PLAY_RECORDS_MAX && fgets(lines[i], LINE_MAX_OCTETS, f) != NULL;
	     i++) {
		char *tab = strchr(lines[i], '\t');
		lines[i][strcspn(lines[i], "\n")] = '\0';
		if (tab != NULL) {
			*tab = '\0';
			play_add(p, lines[i], bytes_str(tab + 1));
		}
	}
	if (f != NULL) {
		(void)fclose(f);
	}
}

static int
verify(const char *path)
{
	struct play p;
	struct buf message = BUF_INIT(MESSAGE_MAX + 1);
	play_init(&p);
	read_records(&p, path);
	struct authentication_dns dns = play_dns(&p);
	while (next_message(&message)) {
		struct arena a;
		struct dkim_verdicts v;
		struct arc_verdict chain;
		arena_init(&a, 16 << 20);
		if (dkim_verify(&a, buf_bytes(&message), BYTES_EMPTY, 0, &dns, &v) != ERR_OK ||
		    arc_verify(&a, buf_bytes(&message), &dns, &chain) != ERR_OK) {
			return 1;
		}
		printf("arc=%s", authentication_result_name(chain.result));
		for (size_t i = 0; i < v.count; i++) {
			printf(" dkim=%s", authentication_result_name(v.list[i].result));
		}
		printf("\n");
		arena_clear(&a);
	}
	buf_clear(&message);
	play_clear(&p);
	return 0;
}

static int
sign(bool seal, const char *algorithm, const char *domain, const char *selector)
{
	enum dkim_algorithm which = strcmp(algorithm, "rsa") == 0 ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256;
	struct dkim_signer signer = play_signer(which, domain, selector);
	struct buf message = BUF_INIT(MESSAGE_MAX + 1);
	struct bytes record = play_record(which);
	struct play p;
	play_init(&p);
	play_add(&p, "arc._domainkey.example.org", record);
	struct authentication_dns dns = play_dns(&p);
	printf("%.*s\n", (int)record.len, (const char *)record.ptr);
	while (next_message(&message)) {
		struct arena a;
		struct arc_verdict chain;
		struct buf out = BUF_INIT(MESSAGE_MAX);
		arena_init(&a, 16 << 20);
		enum err e = !seal ? dkim_sign(buf_bytes(&message), &signer, 1, &out)
				   : arc_verify(&a, buf_bytes(&message), &dns, &chain);
		if (e == ERR_OK && seal) {
			e = arc_seal(buf_bytes(&message), &chain, BYTES_LIT("mx.example.org; none"), &signer,
				     &out);
		}
		if (e != ERR_OK || buf_append(&out, buf_bytes(&message)) != ERR_OK) {
			return 1;
		}
		printf("%zu\n", out.len);
		(void)fwrite(out.ptr, 1, out.len, stdout);
		buf_clear(&out);
		arena_clear(&a);
	}
	buf_clear(&message);
	play_clear(&p);
	return 0;
}

static enum authentication_rr
type_of(const char *name)
{
	return strcmp(name, "A") == 0      ? AUTHENTICATION_A
	       : strcmp(name, "AAAA") == 0 ? AUTHENTICATION_AAAA
	       : strcmp(name, "MX") == 0   ? AUTHENTICATION_MX
	       : strcmp(name, "PTR") == 0  ? AUTHENTICATION_PTR
					   : AUTHENTICATION_TXT;
}

/* Cuts a line at its tabs, in place; the fields that are missing are empty. */
static void
cut(char *line, char **fields, size_t count)
{
	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < count; i++) {
		char *tab = strchr(line, '\t');
		fields[i] = line;
		line = tab == NULL || i == count - 1 ? line + strlen(line) : tab + 1;
		if (tab != NULL && i < count - 1) {
			*tab = '\0';
		}
	}
}

static int
spf(const char *path)
{
	static char lines[PLAY_RECORDS_MAX][LINE_MAX_OCTETS];
	static char line[LINE_MAX_OCTETS];
	char *f[4];
	struct play p;
	play_init(&p);
	FILE *zone = fopen(path, "re");
	for (size_t i = 0;
	     zone != NULL && i < PLAY_RECORDS_MAX - 1 && fgets(lines[i], LINE_MAX_OCTETS, zone) != NULL;
	     i++) {
		cut(lines[i], f, 3);
		play_add_rr(&p, f[0], type_of(f[1]), f[2]);
	}
	if (zone != NULL) {
		(void)fclose(zone);
	}
	size_t known = p.count;
	struct authentication_dns dns = play_dns(&p);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		struct spf_verdict v;
		cut(line, f, 4);
		struct spf_input in = {
		    .hello = bytes_str(f[1]), .sender = bytes_str(f[2]), .allow_local_part = true};
		in.address[10] = in.address[11] = 0xff;
		if (inet_pton(AF_INET, f[0], in.address + 12) != 1 &&
		    inet_pton(AF_INET6, f[0], in.address) != 1) {
			return 1;
		}
		p.count = known;
		play_add(&p, "record.test", bytes_str(f[3]));
		spf_check(&in, &dns, &v);
		printf("%s\n", authentication_result_name(v.result));
	}
	play_clear(&p);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "verify") == 0) {
		return verify(argv[2]);
	}
	if (argc == 3 && strcmp(argv[1], "spf") == 0) {
		return spf(argv[2]);
	}
	if (argc == 5 && (strcmp(argv[1], "sign") == 0 || strcmp(argv[1], "seal") == 0)) {
		return sign(argv[1][1] == 'e', argv[2], argv[3], argv[4]);
	}
	(void)fprintf(
	    stderr,
	    "usage: authentication_dump verify RECORDS | spf ZONE | sign|seal rsa|ed25519 DOMAIN SELECTOR\n");
	return 2;
}
