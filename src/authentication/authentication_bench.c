/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * What signing and judging a message cost, the DNS answered from memory. `authentication_bench [BYTES] [TIMES]`: one line of JSON, CPU in
 * milliseconds a message. Keys are RSA-2048 and Ed25519; the SPF record includes another, the DMARC record is the organisation's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authentication/arc.h"
#include "authentication/dmarc.h"
#include "authentication/play.h"
#include "authentication/spf.h"

enum { MESSAGE_MAX = 64 << 20, ARENA_MAX = 8 << 20 };

struct bench {
	struct play zone;
	struct authentication_dns dns;
	struct dkim_signer signers[2];
	struct buf plain, by_rsa, by_both;
	struct spf_verdict spf;
	struct arena arena; /* of dkim: what DMARC starts from */
	struct dkim_verdicts dkim;
	unsigned times;
	bool first; /* of the parts printed */
};

static void
must(bool good, const char *what)
{
	if (!good) {
		(void)fprintf(stderr, "authentication_bench: %s\n", what);
		exit(1);
	}
}

/* Text of 70 columns with double blanks now and then, as people write: the canonical form is not the form it has. */
static void
make_message(struct buf *out, size_t size)
{
	static const char head[] =
	    "Received: from client.lists.sender.test (client.lists.sender.test [192.0.2.7])\r\n"
	    "\tby mx.sender.test with ESMTPSA id 0011223344556677\r\n"
	    "\tfor <alice@house.test>; Sun, 22 Nov 2026 10:00:00 +0000\r\n"
	    "From: The Choir <choir@lists.sender.test>\r\nTo: Alice <alice@house.test>\r\n"
	    "Cc: Somebody Else <else@third.test>\r\nReply-To: <choir@lists.sender.test>\r\n"
	    "Subject: Minutes, and what is left to do before autumn\r\n"
	    "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <0123456789abcdef@sender.test>\r\n"
	    "In-Reply-To: <fedcba9876543210@sender.test>\r\nReferences: <fedcba9876543210@sender.test>\r\n"
	    "List-Id: <choir.lists.sender.test>\r\nList-Unsubscribe: <https://lists.sender.test/leave>\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: 7bit\r\n\r\n";
	static const char line[] =
	    "minutes of the meeting were read and agreed.  the treasurer reports on\r\n";
	must(buf_append(out, bytes_str(head)) == ERR_OK, "no memory");
	while (out->len < size) {
		must(buf_append(out, bytes_str(line)) == ERR_OK, "no memory");
	}
}

static void
make_zone(struct play *zone)
{
	static const char networks[] = "v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ip6:2001:db8:1::/48 "
				       "ip4:192.0.2.128/26 ip4:192.0.2.0/28 ~all";
	play_init(zone);
	play_add(zone, "lists.sender.test",
		 BYTES_LIT("v=spf1 a mx include:_spf.sender.test include:networks.sender.test -all"));
	play_add(zone, "lists.sender.test", BYTES_LIT("site-verification=0123456789abcdef"));
	play_add_rr(zone, "lists.sender.test", AUTHENTICATION_A, "198.51.100.80");
	play_add_rr(zone, "lists.sender.test", AUTHENTICATION_MX, "mx.sender.test");
	play_add_rr(zone, "mx.sender.test", AUTHENTICATION_A, "198.51.100.25");
	play_add(zone, "_spf.sender.test", BYTES_LIT("v=spf1 ip4:198.51.100.0/24 ~all"));
	play_add(zone, "networks.sender.test", bytes_str(networks));
	play_add(zone, "_dmarc.sender.test",
		 BYTES_LIT("v=DMARC1; p=reject; sp=reject; adkim=r; aspf=r; "
			   "rua=mailto:reports@sender.test"));
	play_add(zone, "r1._domainkey.sender.test", play_record(DKIM_RSA_SHA256));
	play_add(zone, "e1._domainkey.sender.test", play_record(DKIM_ED25519_SHA256));
}

/* A part is one function of a message; the median of five rounds, since others use the processor as well. */
static void
part(struct bench *b, const char *name, void (*one)(struct bench *))
{
	enum { ROUNDS = 5 };
	double ms[ROUNDS];
	one(b);
	for (size_t r = 0; r < ROUNDS; r++) {
		struct timespec from;
		struct timespec to;
		must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from) == 0, "no clock");
		for (unsigned i = 0; i < b->times; i++) {
			one(b);
		}
		must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to) == 0, "no clock");
		ms[r] =
		    ((double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6) /
		    b->times;
		for (size_t at = r; at > 0 && ms[at] < ms[at - 1]; at--) {
			double higher = ms[at - 1];
			ms[at - 1] = ms[at];
			ms[at] = higher;
		}
	}
	(void)printf("%s\"%s\": %.4f", b->first ? "{" : ", ", name, ms[ROUNDS / 2]);
	b->first = false;
}

static void
sign_by(const struct bench *b, size_t first, size_t count)
{
	struct buf out = BUF_INIT(MESSAGE_MAX);
	must(dkim_sign(buf_bytes(&b->plain), b->signers + first, count, &out) == ERR_OK, "not signed");
	buf_clear(&out);
}

static void
sign_rsa(struct bench *b)
{
	sign_by(b, 0, 1);
}

static void
sign_both(struct bench *b)
{
	sign_by(b, 0, 2);
}

static void
verify(struct bench *b, const struct buf *message, size_t signatures)
{
	struct arena a;
	struct dkim_verdicts v;
	arena_init(&a, ARENA_MAX);
	must(dkim_verify(&a, buf_bytes(message), BYTES_EMPTY, 1, &b->dns, &v) == ERR_OK &&
		 v.count == signatures,
	     "no signature");
	for (size_t i = 0; i < v.count; i++) {
		must(v.list[i].result == AUTHENTICATION_PASS, "a signature does not fit");
	}
	arena_clear(&a);
}

static void
verify_rsa(struct bench *b)
{
	verify(b, &b->by_rsa, 1);
}

static void
verify_both(struct bench *b)
{
	verify(b, &b->by_both, 2);
}

static void
check_spf(struct bench *b)
{
	struct spf_input in = {
	    .hello = BYTES_LIT("client.lists.sender.test"),
	    .sender = BYTES_LIT("bounce@lists.sender.test"),
	    .receiver = BYTES_LIT("mail.house.test"),
	    .now = 1,
	    .address = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 7}};
	spf_check(&in, &b->dns, &b->spf);
	must(b->spf.result == AUTHENTICATION_PASS, "SPF does not pass");
}

static void
check_dmarc(struct bench *b)
{
	struct dmarc_verdict v;
	dmarc_check(buf_bytes(&b->by_rsa), &b->dkim, &b->spf, 0, &b->dns, &v);
	must(v.result == AUTHENTICATION_PASS && v.aligned_dkim && v.aligned_spf, "DMARC does not pass");
}

/* All of it, as the gate does it. */
static void
judge(struct bench *b)
{
	struct arena a;
	struct arc_verdict chain;
	struct dkim_verdicts dkim;
	struct dmarc_verdict v;
	arena_init(&a, ARENA_MAX);
	check_spf(b);
	must(dkim_verify(&a, buf_bytes(&b->by_rsa), BYTES_EMPTY, 1, &b->dns, &dkim) == ERR_OK &&
		 arc_verify(&a, buf_bytes(&b->by_rsa), &b->dns, &chain) == ERR_OK,
	     "not judged");
	dmarc_check(buf_bytes(&b->by_rsa), &dkim, &b->spf, 0, &b->dns, &v);
	must(v.result == AUTHENTICATION_PASS && v.aligned_dkim && v.aligned_spf, "not genuine");
	arena_clear(&a);
}

static void
make_signed(const struct bench *b, size_t count, struct buf *out)
{
	must(dkim_sign(buf_bytes(&b->plain), b->signers, count, out) == ERR_OK &&
		 buf_append(out, buf_bytes(&b->plain)) == ERR_OK,
	     "not signed");
}

int
main(int argc, char **argv)
{
	size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 30000;
	struct bench b = {.plain = BUF_INIT(MESSAGE_MAX),
			  .by_rsa = BUF_INIT(MESSAGE_MAX),
			  .by_both = BUF_INIT(MESSAGE_MAX),
			  .times = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 400,
			  .first = true};
	must(size > 0 && size < MESSAGE_MAX / 2 && b.times > 0, "[BYTES] [TIMES]");
	must(dmarc_prepare() == ERR_OK, "no public suffix list");
	make_message(&b.plain, size);
	make_zone(&b.zone);
	b.dns = play_dns(&b.zone);
	b.signers[0] = play_signer(DKIM_RSA_SHA256, "sender.test", "r1");
	b.signers[1] = play_signer(DKIM_ED25519_SHA256, "sender.test", "e1");
	make_signed(&b, 1, &b.by_rsa);
	make_signed(&b, 2, &b.by_both);
	part(&b, "sign_rsa", sign_rsa);
	part(&b, "sign_both", sign_both);
	part(&b, "verify_rsa", verify_rsa);
	part(&b, "verify_both", verify_both);
	part(&b, "spf", check_spf);
	arena_init(&b.arena, ARENA_MAX);
	must(dkim_verify(&b.arena, buf_bytes(&b.by_rsa), BYTES_EMPTY, 1, &b.dns, &b.dkim) == ERR_OK,
	     "no memory");
	part(&b, "dmarc", check_dmarc);
	part(&b, "judge", judge);
	(void)printf(", \"bytes\": %zu}\n", b.by_rsa.len);
	buf_clear(&b.plain);
	buf_clear(&b.by_rsa);
	buf_clear(&b.by_both);
	arena_clear(&b.arena);
	play_clear(&b.zone);
	return 0;
}
