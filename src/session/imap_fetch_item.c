/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* SAVEDATE (RFC 8514), EMAILID and THREADID (RFC 8474), PREVIEW (RFC 8970). */
#include <stdio.h>
#include <string.h>

#include "crypto/crypto.h"
#include "mail/preview.h"
#include "mail/summary.h"
#include "session/imap_fetch.h"

void
imap_fetch_write_savedate(struct fetching *f, const struct fold_message *m)
{
	struct imap_writer *w = &f->im->w;
	imap_write_text(w, "SAVEDATE ");
	if (m->saved == 0) {
		imap_write_text(w, "NIL");
	} else {
		imap_write_time(w, (struct imap_time){.seconds = m->saved, .zone = 0});
	}
}

/* ---- identifiers ---- */

void
imap_email_id(const struct fold_message *m, char ret[IMAP_OBJECT_ID_MAX])
{
	(void)snprintf(ret, IMAP_OBJECT_ID_MAX, "M%llx-%x", (unsigned long long)m->record, (unsigned)m->op);
}

bool
imap_thread_id(const struct mail_envelope *envelope, char ret[IMAP_OBJECT_ID_MAX])
{
	enum { LEN = 12 };
	struct bytes root = envelope->references.count > 0  ? envelope->references.list[0]
			    : envelope->in_reply_to.len > 0 ? envelope->in_reply_to
							    : envelope->message_id;
	/* In-Reply-To may name several, and hold words: its first identifier is meant. */
	ptrdiff_t open = bytes_find(root, '<');
	ptrdiff_t end = open < 0 ? -1 : bytes_find(bytes_from(root, (size_t)open), '>');
	if (end >= 0) {
		root = bytes_slice(root, (size_t)open, (size_t)end + 1);
	}
	root = bytes_trim(root);
	if (root.len == 0) {
		return false;
	}
	struct crypto_hasher h;
	uint8_t hash[CRYPTO_HASH_LEN];
	crypto_hasher_init(&h, NULL);
	crypto_hasher_update(&h, BYTES_LIT("cohue thread 1"));
	crypto_hasher_update(&h, root);
	crypto_hasher_final(&h, hash);
	static const char digits[] = "0123456789abcdef";
	ret[0] = 'T';
	for (size_t i = 0; i < LEN; i++) {
		ret[1 + 2 * i] = digits[hash[i] >> 4];
		ret[2 + 2 * i] = digits[hash[i] & 15];
	}
	ret[1 + 2 * LEN] = '\0';
	return true;
}

void
imap_fetch_write_emailid(struct fetching *f, const struct fold_message *m)
{
	char id[IMAP_OBJECT_ID_MAX];
	imap_email_id(m, id);
	imap_write_format(&f->im->w, "EMAILID (%s)", id);
}

enum err
imap_fetch_write_threadid(struct fetching *f)
{
	char id[IMAP_OBJECT_ID_MAX];
	struct mail_envelope envelope;
	enum err e = mail_summary_decode_envelope(&f->arena, f->message->card.summary, &envelope);
	if (e != ERR_OK) {
		return e == ERR_MEMORY ? e : ERR_DAMAGED;
	}
	if (imap_thread_id(&envelope, id)) {
		imap_write_format(&f->im->w, "THREADID (%s)", id);
	} else {
		imap_write_text(&f->im->w, "THREADID NIL");
	}
	return ERR_OK;
}

/* ---- preview ---- */

static enum err
keep_piece(void *arg, struct bytes piece)
{
	return buf_append(arg, piece);
}

enum err
imap_fetch_write_preview(struct fetching *f, const struct imap_fetch_item *item)
{
	struct message *m = f->message;
	struct buf preview = BUF_INIT(MAIL_PREVIEW_MAX);
	struct buf held = BUF_INIT(MAIL_PREVIEW_OCTETS);
	uint32_t at = 0;
	imap_write_text(&f->im->w, "PREVIEW ");
	if (mail_preview_part(&f->structure, &at) != ERR_OK) {
		imap_write_text(&f->im->w,
				"\"\""); /* RFC 8970 section 3.2: there is none, nor will there be */
		return ERR_OK;
	}
	const struct mail_part *part = &f->structure.parts[at];
	size_t len = part->body_len < MAIL_PREVIEW_OCTETS ? part->body_len : MAIL_PREVIEW_OCTETS;
	struct bytes octets = bytes_slice(m->octets, part->body_at, len);
	enum err e = ERR_OK;
	if (octets.len < len && item->lazy) {
		imap_write_text(&f->im->w, "NIL"); /* it lies beyond what is read in any case */
		return ERR_OK;
	}
	if (octets.len < len) {
		e = message_stream(f->im->member, &m->card.blob, part->body_at, len, keep_piece, &held);
		octets = buf_bytes(&held);
	}
	if (e == ERR_OK) {
		e = mail_preview(part, octets, &preview);
	}
	if (e == ERR_OK) {
		imap_write_string(&f->im->w, buf_bytes(&preview));
	}
	buf_wipe(&held);
	buf_wipe(&preview);
	return e;
}
