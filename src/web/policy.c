/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "crypto/crypto.h"
#include "web/web_internal.h"

size_t
web_names(const struct config *c, char ret[WEB_NAMES_MAX][CONFIG_NAME_MAX])
{
	static const char *const prefixes[] = {"", "autoconfig.", "autodiscover.", "mta-sts."};
	size_t n = 0;
	(void)snprintf(ret[n++], CONFIG_NAME_MAX, "%s", c->hostname);
	for (size_t i = 0; c->web == CONFIG_ON && i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		int len = snprintf(ret[n], CONFIG_NAME_MAX, "%s%s", prefixes[i], c->domain);
		/* Longer than a name may be: nobody can ask for it. */
		bool fits = len > 0 && len < CONFIG_NAME_MAX;
		n += fits && strcmp(ret[n], c->hostname) != 0 ? 1 : 0;
	}
	return n;
}

enum err
web_mta_sts_policy(const struct config *c, struct buf *out)
{
	static const char *const modes[] = {"testing", "enforce", "none"};
	/* RFC 8461 section 8.3: who takes it back wants it forgotten soon. Else: a week. */
	return buf_printf(out, "version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: %u\r\n", modes[c->mta_sts],
			  c->hostname, c->mta_sts == CONFIG_STS_NONE ? 86400U : 604800U);
}

enum err
web_mta_sts_id(const struct config *c, char ret[WEB_MTA_STS_ID])
{
	struct buf policy = BUF_INIT(1024);
	uint8_t digest[CRYPTO_HASH_LEN];
	enum err e = web_mta_sts_policy(c, &policy);
	if (e == ERR_OK) {
		crypto_digest(buf_bytes(&policy), digest);
		for (size_t i = 0; i < (WEB_MTA_STS_ID - 1) / 2; i++) {
			(void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
		}
	}
	buf_clear(&policy);
	return e;
}
