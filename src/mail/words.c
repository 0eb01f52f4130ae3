/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/charset.h"
#include "mail/decode.h"
#include "mail/lexer.h"

/* Encoded words (RFC 2047). */

struct word {
	struct bytes charset;
	uint8_t encoding; /* 'b' or 'q' */
	struct bytes text;
	size_t len; /* of the whole word */
};

enum { MAX_WORD = 4000 }; /* RFC 2047 §2 says 75; real mail has longer ones */

/* Reads an encoded word at the front of text. */
static bool
read_word(struct bytes text, struct word *ret)
{
	if (!bytes_starts_with(text, "=?")) {
		return false;
	}
	text = bytes_slice(text, 0, MAX_WORD);
	struct bytes rest = bytes_from(text, 2);
	/* A charset name is short: this bounds the work at each "=?". */
	ptrdiff_t mark = bytes_find(bytes_slice(rest, 0, 64), '?');
	if (mark <= 0 || rest.len < (size_t)mark + 3) {
		return false;
	}
	struct bytes charset = bytes_slice(rest, 0, (size_t)mark);
	uint8_t encoding = ascii_lower(rest.ptr[mark + 1]);
	if ((encoding != 'b' && encoding != 'q') || rest.ptr[mark + 2] != '?') {
		return false;
	}
	rest = bytes_from(rest, (size_t)mark + 3);
	size_t end = 0;
	while (end < rest.len && rest.ptr[end] != '?' && rest.ptr[end] != '\n') {
		end++;
	}
	if (rest.len - end < 2 || rest.ptr[end] != '?' || rest.ptr[end + 1] != '=') {
		return false;
	}
	/* RFC 2231 §5: a language behind an asterisk */
	ptrdiff_t star = bytes_find(charset, '*');
	ret->charset = star < 0 ? charset : bytes_slice(charset, 0, (size_t)star);
	ret->encoding = encoding;
	ret->text = bytes_slice(rest, 0, end);
	ret->len = (size_t)(rest.ptr - text.ptr) + end + 2;
	return true;
}

static enum err
decode_q(struct bytes text, struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		uint8_t c = text.ptr[i];
		if (c == '_') {
			c = ' ';
		} else if (c == '=' && text.len - i > 2) {
			size_t mark = out->len;
			e = buf_append_unhex(out, bytes_slice(text, i + 1, 2));
			if (e == ERR_OK) {
				i += 2;
				continue;
			}
			buf_truncate(out, mark);
		}
		e = buf_append_byte(out, c);
	}
	return e;
}

static enum err
decode_octets(const struct word *word, struct buf *out)
{
	return word->encoding == 'q' ? decode_q(word->text, out)
				     : mail_decode(MAIL_ENCODING_BASE64, word->text, out);
}

/* A run of octets outside of encoded words, line ends dropped. */
static enum err
append_plain(struct bytes run, struct buf *out)
{
	struct buf flat = BUF_INIT(run.len + 64);
	enum err e = ERR_OK;
	while (run.len > 0 && e == ERR_OK) {
		size_t end = mail_line_end(run, 0);
		struct bytes line = bytes_slice(run, 0, end);
		if (line.len > 0 && line.ptr[line.len - 1] == '\n') {
			line.len -= line.len > 1 && line.ptr[line.len - 2] == '\r' ? 2 : 1;
		}
		e = buf_append(&flat, line);
		run = bytes_from(run, end);
	}
	if (e == ERR_OK) {
		struct bytes text = buf_bytes(&flat);
		e = bytes_is_utf8(text) ? buf_append(out, text)
					: mail_charset_to_utf8(BYTES_LIT("windows-1252"), text, out);
	}
	buf_clear(&flat);
	return e;
}

static bool
all_blank(struct bytes run)
{
	return bytes_trim(run).len == 0;
}

/*
 * Words of one charset that follow each other are joined before they are
 * converted: writers split multi-octet characters between words.
 */
struct pending {
	struct buf octets;
	struct bytes charset;
	struct bytes source; /* the words as written, for an unknown charset */
};

static enum err
flush(struct pending *p, struct buf *out)
{
	enum err e = ERR_OK;
	if (p->source.len > 0) {
		e = mail_charset_to_utf8(p->charset, buf_bytes(&p->octets), out);
		if (e == ERR_UNSUPPORTED) {
			e = append_plain(p->source, out);
		}
	}
	buf_reset(&p->octets);
	p->source = BYTES_EMPTY;
	return e;
}

enum err
mail_words_decode(struct bytes text, struct buf *out)
{
	text = bytes_trim(text);
	struct pending p = {.octets = BUF_INIT(text.len + 64)};
	size_t mark = out->len;
	size_t plain = 0; /* start of the run that is not written yet */
	enum err e = ERR_OK;
	size_t i = 0;
	while (i < text.len && e == ERR_OK) {
		struct word word;
		if (text.ptr[i] != '=' || !read_word(bytes_from(text, i), &word)) {
			i++;
			continue;
		}
		struct bytes between = bytes_slice(text, plain, i - plain);
		bool joins = p.source.len > 0 && all_blank(between);
		if (!joins || !bytes_equal_nocase(p.charset, word.charset)) {
			e = flush(&p, out);
			if (e == ERR_OK && !joins) {
				e = append_plain(between, out);
			}
			p.charset = word.charset;
			p.source = bytes_slice(text, i, word.len);
		} else {
			p.source.len = i + word.len - (size_t)(p.source.ptr - text.ptr);
		}
		if (e == ERR_OK) {
			e = decode_octets(&word, &p.octets);
		}
		i += word.len;
		plain = i;
	}
	if (e == ERR_OK) {
		e = flush(&p, out);
	}
	if (e == ERR_OK) {
		e = append_plain(bytes_from(text, plain), out);
	}
	buf_clear(&p.octets);
	if (e != ERR_OK) {
		buf_truncate(out, mark);
	}
	return e;
}
