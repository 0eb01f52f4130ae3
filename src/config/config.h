/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CONFIG_CONFIG_H
#define COHUE_CONFIG_CONFIG_H

#include "base/bytes.h"
#include "base/clock.h"
#include "law/law.h"

/*
 * HOME/cohue.conf: `key = value` lines, # comments, UTF-8, at most 64 KiB. One table
 * (config_table.c) drives parsing, printing, the template and the manual page. Pure: reads no file;
 * whether a named file exists is for the supervisor to see.
 *
 * Use: config_defaults, config_load (the file), config_set (each --set), config_check (all of it
 * together); then config_encode for the roles.
 */

enum {
	CONFIG_FILE_MAX = 64 * 1024,
	CONFIG_NAME_MAX = 254, /* a domain name with its NUL */
	CONFIG_PATH_MAX = 1024,
	CONFIG_TEXT_MAX = 512,
	CONFIG_ADDRESS_MAX = 8, /* addresses in a list */
	CONFIG_ADDRESS_TEXT = 64,
	CONFIG_ENCODED_MAX = 32 * 1024,
	CONFIG_HOLD_MAX = 30 * 24 * 3600, /* seconds that a letter may be held ("send later") */
};

enum config_inbound_clear { CONFIG_CLEAR_ACCEPT = 0, CONFIG_CLEAR_REFUSE = 1 };
enum config_date { CONFIG_DATE_RELEASE = 0, CONFIG_DATE_DAY = 1, CONFIG_DATE_KEEP = 2 };
enum config_outbound { CONFIG_OUTBOUND_REQUIRE = 0, CONFIG_OUTBOUND_PREFER = 1 };
enum config_on { CONFIG_ON = 0, CONFIG_OFF = 1 };
enum config_sts { CONFIG_STS_TESTING = 0, CONFIG_STS_ENFORCE = 1, CONFIG_STS_NONE = 2 };
enum config_yes { CONFIG_NO = 0, CONFIG_YES = 1 };
enum config_authentication {
	CONFIG_AUTHENTICATION_ENFORCE = 0,
	CONFIG_AUTHENTICATION_MARK = 1,
	CONFIG_AUTHENTICATION_OFF = 2
};
enum config_pad { CONFIG_PAD_LADDER = 0, CONFIG_PAD_NONE = 1 };
enum config_acme_challenge { CONFIG_ACME_AUTO = 1, CONFIG_ACME_HTTP, CONFIG_ACME_TLS };
enum config_tls_minimum { CONFIG_TLS_1_2 = 12, CONFIG_TLS_1_3 = 13 };

/* A numeric address, checked, as text; NUL-terminated. */
struct config_address {
	char address[CONFIG_ADDRESS_TEXT];
	bool is_ipv6;
};

/* Of the resolver: whom to ask, for which zone. */
struct config_upstream {
	char zone[CONFIG_NAME_MAX]; /* "." for all */
	char address[CONFIG_ADDRESS_TEXT];
	uint16_t port;
	char tls_name[CONFIG_NAME_MAX]; /* forward_tls: name in the certificate */
};

/* All texts are NUL-terminated; an empty one means "not set". */
struct config {
	char domain[CONFIG_NAME_MAX];   /* of the members' addresses; A-label form, lower case */
	char hostname[CONFIG_NAME_MAX]; /* of this machine: EHLO, certificate, MX */
	struct config_address listen[CONFIG_ADDRESS_MAX];
	size_t listen_count;
	uint32_t port_offset;            /* added to 25, 465, 587, 993, and the web's */
	char house_key[CONFIG_PATH_MAX]; /* outside HOME */

	struct law_config leave;
	struct law_config arrive;

	enum config_on web; /* settings for mail programs, the policy, answers to certificate authorities */
	uint32_t web_https_port; /* before the offset */
	uint32_t web_http_port;
	enum config_sts mta_sts; /* mode of the policy, RFC 8461 section 3.2 */

	enum config_date date; /* that recipients see */

	char resolver_trust_anchor
	    [CONFIG_PATH_MAX]; /* a file's path (begins with '/') or a DS or DNSKEY text; "": root */
	struct config_upstream resolver_stub[CONFIG_ADDRESS_MAX]; /* authoritative servers of a zone */
	size_t resolver_stub_count;
	struct config_upstream resolver_forward[CONFIG_ADDRESS_MAX]; /* recursive servers */
	size_t resolver_forward_count;
	struct config_upstream resolver_forward_tls[CONFIG_ADDRESS_MAX]; /* the same, over TLS */
	size_t resolver_forward_tls_count;

	enum config_yes status_exact;
	enum config_authentication authentication; /* of arriving mail */
	char arc_trusted[CONFIG_TEXT_MAX];         /* domains, separated by blanks */

	enum config_on junk_score;    /* rules that are the same for everybody */
	enum config_yes greylist;     /* strangers have to come twice */
	msec greylist_delay;          /* the second time no sooner than this */
	char dnsbl[CONFIG_TEXT_MAX];  /* zones, separated by blanks */
	char rspamd[CONFIG_TEXT_MAX]; /* its URL; "": not asked */
	/* Of one network of strangers (or one domain), for each gate-mx worker; 0: no limit. */
	uint32_t rate_connections; /* a minute */
	uint32_t rate_messages;    /* a minute */
	uint32_t rate_domain;      /* proved messages of one domain a minute */
	uint32_t rate_unknown;     /* recipients that do not exist an hour */

	enum config_pad pad;
	enum config_tls_minimum tls_member_minimum;
	enum config_outbound tls_outbound;
	char tls_exceptions[CONFIG_TEXT_MAX * 2]; /* domains, separated by blanks */
	char tls_authorities[CONFIG_PATH_MAX];    /* PEM; "": the system's */
	enum config_inbound_clear tls_inbound_clear;
	/* "": HOME's own, made by `cohue init` */
	char tls_mx_certificate[CONFIG_PATH_MAX];
	char tls_mx_key[CONFIG_PATH_MAX];
	char tls_member_certificate[CONFIG_PATH_MAX];
	char tls_member_key[CONFIG_PATH_MAX];

	enum config_acme_challenge acme_challenge;
	enum config_on acme; /* certificates of an authority, RFC 8555 */
	char acme_directory[CONFIG_TEXT_MAX];
	char acme_contact[CONFIG_TEXT_MAX]; /* "": none */
	char acme_ca[CONFIG_PATH_MAX];      /* PEM; "": none but the system's */

	char smarthost[CONFIG_NAME_MAX]; /* name or numeric address; "": deliver directly */
	uint16_t smarthost_port;
	char smarthost_user[CONFIG_TEXT_MAX];
	char smarthost_password_file[CONFIG_PATH_MAX];

	uint32_t courier_port; /* of other providers */
	uint32_t fetcher_port; /* of their policies */

	msec dkim_overlap;               /* after `dkim rotate`, until the new keys sign */
	char dmarc_rua[CONFIG_TEXT_MAX]; /* that cohue dns asks reports for; "": none */

	enum config_on reports_dmarc; /* to others */
	enum config_on reports_tls;
	msec reports_day; /* what they cover */

	uint64_t message_size; /* bytes, as transferred */
	uint64_t quota;        /* bytes a member, unless set otherwise for her; 0: none */
	uint32_t recipients;   /* of one message */
	/* What a member may send before her account is taken for a stolen one; 0: no limit. */
	uint32_t sending_messages; /* an hour */
	uint32_t sending_recipients;
	uint32_t sending_recipients_day;
	uint32_t sending_domains;     /* an hour */
	uint32_t sending_failures;    /* percent */
	uint32_t gate_mx_connections; /* at once, per worker */
	uint32_t gate_member_connections;
	uint32_t gate_mx_workers;
	uint32_t gate_member_workers;
	uint32_t session_workers;
	uint32_t courier_connections; /* to other servers at once */
	msec smtp_idle;               /* silence after which a connection is ended */
	msec imap_idle;
	msec retry_warn;    /* the sender hears that her message still waits */
	msec retry_give_up; /* and that it is given up */
};

struct config_error {
	unsigned line; /* 0: no line (from --set, or the whole) */
	/* "cohue.conf:7: port_offest is not a key of this file. Remedy: did you mean port_offset." */
	char text[1024];
};

void config_defaults(struct config *c);
/*
 * Reads a whole file's content into *c (over what is there: start from config_defaults). `name` is the
 * file's name for messages. All or nothing: on ERR_FORMAT *c is unchanged and *ret says what to do.
 */
COHUE_MUST_USE enum err config_load(struct config *c, struct bytes text, const char *name,
				    struct config_error *ret);
/* One "KEY=VALUE" of --set, over the file's. ERR_FORMAT as above. */
COHUE_MUST_USE enum err config_set(struct config *c, struct bytes assignment, struct config_error *ret);
/* What no single line shows: missing domain, a key without a certificate, impossible pairs. ERR_FORMAT. */
COHUE_MUST_USE enum err config_check(const struct config *c, const char *name, struct config_error *ret);

/* One key's value as the file would have it ("15 m"). ERR_NOT_FOUND. */
COHUE_MUST_USE enum err config_get(const struct config *c, const char *key, struct buf *out);
/* A new file for `cohue init`: each key with a comment, defaults commented out. */
COHUE_MUST_USE enum err config_write_template(struct buf *out, const char *domain, const char *hostname,
					      const char *house_key, uint32_t port_offset);
/* The keys as man-page entries (roff .TP). */
COHUE_MUST_USE enum err config_describe(struct buf *out);

/* To the roles and back. decode: ERR_FORMAT, ERR_UNSUPPORTED. */
COHUE_MUST_USE enum err config_encode(const struct config *c, struct buf *out);
COHUE_MUST_USE enum err config_decode(struct bytes data, struct config *ret);

/*
 * Whether this URL belongs to the certificate authority of acme.directory: https, the same host and port, and no octet in it that would
 * have to be escaped in JSON or a header.
 */
bool config_acme_url(const struct config *c, struct bytes url);

#endif
