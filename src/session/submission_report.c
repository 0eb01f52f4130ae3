/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/submission_report.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "mail/write.h"

enum { RANDOM_BYTES = 16, NAME_ROOM = 600 };

static bool
is_reported(const struct recipient *r)
{
	return r->domain.len == 0 && (r->notify & SMTP_NOTIFY_SUCCESS) != 0;
}

bool
submission_wants_report(const struct envelope *v)
{
	for (size_t i = 0; i < v->recipient_count; i++) {
		if (is_reported(&v->recipients[i])) {
			return true;
		}
	}
	return false;
}

static enum err
write_names(const struct config *c, struct bytes envid, struct buf *from, struct buf *id,
	    struct buf *boundary, struct buf *envid_out)
{
	uint8_t random[RANDOM_BYTES * 2];
	crypto_random_bytes(random, sizeof(random));
	enum err e = buf_printf(from, "postmaster@%s", c->domain);
	e = e == ERR_OK ? buf_append_byte(id, '<') : e;
	e = e == ERR_OK ? buf_append_hex(id, bytes_of(random, RANDOM_BYTES)) : e;
	e = e == ERR_OK ? buf_printf(id, "@%s>", c->domain) : e;
	e = e == ERR_OK ? buf_append_hex(boundary, bytes_of(random + RANDOM_BYTES, RANDOM_BYTES)) : e;
	return e == ERR_OK && envid.len > 0 ? smtp_xtext_encode(envid, envid_out) : e;
}

enum err
submission_write_report(const struct envelope *v, int64_t now, struct bytes leaving, struct buf *out)
{
	const struct config *c = &v->worker->host->config;
	struct buf from = BUF_INIT(NAME_ROOM);
	struct buf id = BUF_INIT(NAME_ROOM);
	struct buf boundary = BUF_INIT(70);
	struct buf envid = BUF_INIT(NAME_ROOM);
	size_t count = 0;
	struct mail_dsn_recipient *list = calloc(v->recipient_count + 1, sizeof(*list));
	if (list == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < v->recipient_count; i++) {
		const struct recipient *r = &v->recipients[i];
		if (is_reported(r)) {
			list[count++] = (struct mail_dsn_recipient){.final = envelope_view(v, r->address),
								    .original = envelope_view(v, r->orcpt),
								    .action = MAIL_DSN_DELIVERED,
								    .status = BYTES_LIT("2.0.0")};
		}
	}
	enum err e = write_names(c, envelope_view(v, v->envid), &from, &id, &boundary, &envid);
	if (e == ERR_OK) {
		struct mail_dsn dsn = {.reporting_mta = bytes_str(c->hostname),
				       .from = buf_bytes(&from),
				       .to = envelope_view(v, v->sender),
				       .message_id = buf_bytes(&id),
				       .boundary = buf_bytes(&boundary),
				       .date = now,
				       .arrival_date = now,
				       .envelope_id = buf_bytes(&envid),
				       .recipients = list,
				       .recipient_count = count,
				       .original = leaving,
				       .return_full = false};
		e = mail_dsn_write(out, &dsn);
	}
	free(list);
	buf_wipe(&from);
	buf_clear(&id);
	buf_clear(&boundary);
	buf_wipe(&envid);
	return e;
}
