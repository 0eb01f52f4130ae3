/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/notice.h"

#include <stdio.h>
#include <string.h>

#include "crypto/crypto.h"
#include "mail/write.h"
#include "session/member_internal.h"

enum { NOTICE_MAX = 8 * 1024 };

enum err
notice_text(const struct notice *n, const char *domain, struct bytes address, int64_t time,
	    const uint8_t random[16], struct buf *out)
{
	char id[33];
	for (size_t i = 0; i < 16; i++) {
		(void)snprintf(id + 2 * i, 3, "%02x", random[i]);
	}
	enum err e = buf_printf(out, "From: Cohue <postmaster@%s>\r\nTo: <", domain);
	e = e == ERR_OK ? buf_append(out, address) : e;
	e = e == ERR_OK ? buf_printf(out, ">\r\nSubject: %s\r\nDate: ", n->subject) : e;
	e = e == ERR_OK ? mail_write_date(out, time) : e;
	e = e == ERR_OK ? buf_printf(out,
				     "\r\nMessage-ID: <%s.%s@%s>\r\nAuto-Submitted: auto-generated\r\n"
				     "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
				     "Content-Transfer-Encoding: 8bit\r\n\r\n",
				     id, n->tag, domain)
			: e;
	e = e == ERR_OK ? buf_append(out, n->body) : e;
	return e == ERR_OK
		   ? buf_append(out, BYTES_LIT("\r\nThis note was written here, when your mail was filed; "
					       "it took no way over the network.\r\n"))
		   : e;
}

enum err
notice_put(struct member *m, const struct notice *n, struct member_change *c)
{
	const struct fold_mailbox *inbox = fold_mailbox_by_name(m->fold, BYTES_LIT("INBOX"));
	if (inbox == NULL) {
		return ERR_OK;
	}
	uint32_t mailbox = inbox->id;
	struct buf text = BUF_INIT(NOTICE_MAX);
	struct buf address = BUF_INIT(CONFIG_NAME_MAX + DIRECTORY_ADDRESS_MAX);
	const char *domain = m->worker->host->config.domain;
	uint32_t now = member_save_time();
	uint8_t random[16];
	crypto_random_bytes(random, sizeof(random));
	enum err e = buf_append(&address, m->profile.name);
	e = e == ERR_OK ? buf_printf(&address, "@%s", domain) : e;
	e = e == ERR_OK ? notice_text(n, domain, buf_bytes(&address), now, random, &text) : e;
	e = e == ERR_OK ? member_put_own(m, buf_bytes(&text), mailbox, now, c) : e;
	buf_wipe(&text);
	buf_wipe(&address);
	return e;
}
