/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_DOCTOR_H
#define COHUE_CLI_DOCTOR_H

#include "base/openssl.h"

#include <openssl/ssl.h>

#include "base/clock.h"
#include "cli/internal.h"

/* `cohue doctor`: is this house well, as others see it and on its machine? Each finding with its remedy. */

enum doctor_level { DOCTOR_GOOD, DOCTOR_HINT, DOCTOR_BAD, DOCTOR_UNKNOWN };

enum { DOCTOR_ADDRESSES_MAX = 8, DOCTOR_ADDRESS_TEXT = 48, DOCTOR_TLSA_MAX = 16, DOCTOR_TLSA_OCTETS = 1024 };

/* A TLSA record that servers with DANE can use: usage, selector, matching type, data (RFC 6698). */
struct doctor_tlsa {
	uint8_t rdata[DOCTOR_TLSA_OCTETS];
	size_t len;
};

/* A name that strangers ask over HTTPS, and where it leads by the DNS. */
enum doctor_site_kind { DOCTOR_SITE_POLICY, DOCTOR_SITE_SETTINGS, DOCTOR_SITES };
struct doctor_site {
	enum doctor_site_kind of;
	char name[CONFIG_NAME_MAX + 16];
	uint8_t addresses[DOCTOR_ADDRESSES_MAX][16];
	size_t count;
};

struct doctor {
	struct cli *cli;
	struct config config;
	struct buf out;
	size_t told;
	size_t bad;
	size_t hints;
	/* Of the host name, by the DNS: 16 bytes each, IPv4 mapped. */
	uint8_t addresses[DOCTOR_ADDRESSES_MAX][16];
	size_t address_count;
	struct doctor_site sites[DOCTOR_SITES];
	struct doctor_tlsa tlsa[DOCTOR_TLSA_MAX]; /* of port 25 */
	size_t tlsa_count;
	bool tlsa_secure; /* signed: others go by them */
	bool tlsa_right;  /* one is of the key on disk */
	bool tlsa_wrong;  /* none can be, and that has been said */
	msec until;       /* of all connections together */
	bool full;        /* no memory for what there is to say */
};

/* One finding. `check` is a word for programs; remedy: NULL where nothing is to be done. */
void doctor_tell(struct doctor *d, enum doctor_level level, const char *check, const char *remedy,
		 const char *format, ...) COHUE_PRINTF(5, 6);
/* An address as people write it. */
void doctor_address_text(const uint8_t address[16], char *ret, size_t n);

/* doctor_line.c: a connection with a time of its own, within that of all (d->until). */
struct doctor_line {
	int fd;
	SSL *ssl; /* NULL: in clear */
	msec until;
};
/* False, and nothing is to be closed: nobody answers. */
bool doctor_line_open(const struct doctor *d, const uint8_t address[16], unsigned port, msec limit,
		      struct doctor_line *ret);
/* The handshake, by any certificate; false: none. */
bool doctor_line_tls(struct doctor_line *l, SSL_CTX *ctx, const char *name);
/* What there is; 0: closed, broken, or the time is over. */
size_t doctor_line_read(struct doctor_line *l, uint8_t *ret, size_t room);
bool doctor_line_write(struct doctor_line *l, struct bytes text);
void doctor_line_close(struct doctor_line *l);

/* doctor_dns.c: MX, addresses, PTR, SPF, DKIM, DMARC, MTA-STS and TLSA records, SRV; fills in all addresses. */
void doctor_dns(struct doctor *d);
/* doctor_ports.c: what answers there, under which certificate. */
void doctor_ports(struct doctor *d);
/* doctor_web.c: the MTA-STS policy and the settings for mail programs, asked as strangers do; port 80. */
void doctor_web(struct doctor *d);
/* doctor_names.c: the addresses that a house must have. */
void doctor_names(struct doctor *d);
/* doctor_machine.c: clock, disk, swap, core dumps, encryption of the disk, where the house key lies, what waits. */
void doctor_machine(struct doctor *d);

#endif
