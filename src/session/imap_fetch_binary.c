/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* BINARY[...], BINARY.PEEK[...] and BINARY.SIZE[...] (RFC 3516): parts without their transfer encoding. */
#include <string.h>

#include "mail/decode.h"
#include "session/imap_fetch.h"

enum { PIECE = 64 * 1024 };

/* Decoded octets on their way: counted at first, then written. */
struct decoding {
	struct fetching *f;
	struct mail_decoder decoder;
	struct buf piece;
	uint64_t total;
	bool has_nul;
	bool writing;
	uint64_t skip;
	uint64_t left;
};

static enum err
use_piece(struct decoding *d)
{
	struct bytes piece = buf_bytes(&d->piece);
	if (!d->writing) {
		d->total += piece.len;
		d->has_nul = d->has_nul || (piece.len > 0 && memchr(piece.ptr, 0, piece.len) != NULL);
		return imap_breathe(d->f->im);
	}
	size_t skip = d->skip < piece.len ? (size_t)d->skip : piece.len;
	d->skip -= skip;
	piece = bytes_from(piece, skip);
	piece = bytes_slice(piece, 0, d->left < piece.len ? (size_t)d->left : piece.len);
	d->left -= piece.len;
	imap_write_raw(&d->f->im->w, piece);
	return imap_flush(d->f->im, false);
}

static enum err
take_piece(void *arg, struct bytes octets)
{
	struct decoding *d = arg;
	enum err e = ERR_OK;
	for (size_t at = 0; at < octets.len && e == ERR_OK; at += PIECE) {
		buf_reset(&d->piece);
		e = mail_decoder_push(&d->decoder, bytes_slice(octets, at, PIECE), &d->piece);
		e = e == ERR_OK ? use_piece(d) : e;
	}
	return e;
}

/* Once through the octets at .. at + len of the message. */
static enum err
pass(struct decoding *d, enum mail_encoding encoding, uint64_t at, uint64_t len)
{
	struct message *m = d->f->message;
	mail_decoder_init(&d->decoder, encoding);
	enum err e = at + len <= m->octets.len
			 ? take_piece(d, bytes_slice(m->octets, (size_t)at, (size_t)len))
			 : message_stream(d->f->im->member, &m->card.blob, at, len, take_piece, d);
	if (e == ERR_OK) {
		buf_reset(&d->piece);
		e = mail_decoder_end(&d->decoder, &d->piece);
	}
	return e == ERR_OK ? use_piece(d) : e;
}

enum err
imap_fetch_write_binary(struct fetching *f, const struct imap_fetch_item *item)
{
	struct imap_writer *w = &f->im->w;
	enum mail_encoding encoding = MAIL_ENCODING_BINARY;
	uint64_t at = 0;
	uint64_t len = f->structure.size;
	imap_write_section_name(w, item);
	imap_write_text(w, " ");
	if (item->section.path_len > 0) {
		uint32_t number = 0;
		if (mail_part_find(&f->structure, item->section.path, item->section.path_len, &number) !=
		    ERR_OK) {
			imap_write_text(w, item->kind == IMAP_FETCH_BINARY ? "NIL" : "0");
			return ERR_OK;
		}
		const struct mail_part *part = &f->structure.parts[number];
		at = part->body_at;
		len = part->body_len;
		/* Composite parts have none (RFC 2045 section 6.4). */
		encoding =
		    part->kind == MAIL_PART_LEAF ? mail_encoding_of(part->encoding) : MAIL_ENCODING_BINARY;
	}
	if (encoding == MAIL_ENCODING_UNKNOWN) {
		return ERR_UNSUPPORTED;
	}
	struct decoding d = {.f = f};
	buf_init(&d.piece, 2 * PIECE);
	enum err e = pass(&d, encoding, at, len);
	if (e == ERR_OK && item->kind == IMAP_FETCH_BINARY_SIZE) {
		imap_write_number(w, d.total);
	} else if (e == ERR_OK) {
		d.skip = item->partial ? item->start : 0;
		d.skip = d.skip < d.total ? d.skip : d.total;
		d.left = d.total - d.skip;
		d.left = item->partial && d.left > item->count ? item->count : d.left;
		d.writing = true;
		imap_write_literal_head(w, d.left, d.has_nul);
		e = d.left == 0 ? ERR_OK : pass(&d, encoding, at, len);
		if (e != ERR_OK) {
			/* The length has been said: what follows cannot be taken back. */
			conn_close(f->im->conn);
		}
	}
	buf_wipe(&d.piece);
	return e;
}
