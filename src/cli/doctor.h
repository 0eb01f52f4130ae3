/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CLI_DOCTOR_H
#define COHUE_CLI_DOCTOR_H

#include "cli/internal.h"

/* `cohue doctor`: is this house well, as others see it and on its machine? Each finding with its remedy. */

enum doctor_level { DOCTOR_GOOD, DOCTOR_HINT, DOCTOR_BAD, DOCTOR_UNKNOWN };

enum { DOCTOR_ADDRESSES_MAX = 8, DOCTOR_ADDRESS_TEXT = 48 };

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
	bool full; /* no memory for what there is to say */
};

/* One finding. `check` is a word for programs; remedy: NULL where nothing is to be done. */
void doctor_tell(struct doctor *d, enum doctor_level level, const char *check, const char *remedy,
		 const char *format, ...) COHUE_PRINTF(5, 6);
/* An address as people write it. */
void doctor_address_text(const uint8_t address[16], char *ret, size_t n);

/* A connection within seconds, blocking, each call limited; -1: none. */
int doctor_connect(const uint8_t address[16], unsigned port);

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
