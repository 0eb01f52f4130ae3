/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/journal_text.h"

#include <stdio.h>

#include "law/law.h"
#include "mail/write.h"

enum { TEXT_MAX = 4096, LETTER_LEN = 16 };

static const char *
event_name(enum journal_event event)
{
	switch (event) {
	case JOURNAL_SUBMITTED:
		return "submitted";
	case JOURNAL_LEFT:
		return "left";
	case JOURNAL_DELIVERED:
		return "delivered";
	case JOURNAL_DEFERRED:
		return "deferred";
	case JOURNAL_FAILED:
		return "failed";
	case JOURNAL_FORWARD_FAILED:
		return "forward-failed";
	case JOURNAL__COUNT:
		break;
	}
	return "unknown";
}

/* "64 KiB": what a letter of the class looks like on the lines. */
static enum err
put_size(struct buf *out, unsigned size_class)
{
	unsigned long long kib = law_class_bytes(size_class) / 1024;
	return kib < 1024 ? buf_printf(out, "%llu KiB", kib) : buf_printf(out, "%llu MiB", kib / 1024);
}

static const char *
proof_text(enum journal_proof proof)
{
	switch (proof) {
	case JOURNAL_PROOF_DANE:
		return "the server proved who it is (DANE)";
	case JOURNAL_PROOF_STS:
		return "the server proved who it is (MTA-STS)";
	case JOURNAL_PROOF_NAME:
		return "the server proved its name";
	case JOURNAL_PROOF_NONE:
	case JOURNAL_PROOF__COUNT:
		break;
	}
	return "encrypted, not verified";
}

/* "DANE": in one word or two, for programs. */
static const char *
link_text(const struct journal_line *l)
{
	return l->tls == 0                      ? "clear"
	       : l->proof == JOURNAL_PROOF_DANE ? "DANE"
	       : l->proof == JOURNAL_PROOF_STS  ? "MTA-STS"
	       : l->proof == JOURNAL_PROOF_NAME ? "verified"
						: "encrypted, not verified";
}

static bool
is_attempt(const struct journal_line *l)
{
	return l->event == JOURNAL_DELIVERED || l->event == JOURNAL_DEFERRED || l->event == JOURNAL_FAILED ||
	       l->event == JOURNAL_FORWARD_FAILED;
}

static const char *
tls_name(uint16_t version)
{
	return version == 0x0304 ? "TLS 1.3" : version == 0x0303 ? "TLS 1.2" : NULL;
}

/* Printable: it comes from another server, or from a captured role. */
static enum err
put_clean(struct buf *out, struct bytes text)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < text.len && e == ERR_OK; i++) {
		uint8_t c = text.ptr[i];
		e = buf_append_byte(out, c >= ' ' && c < 127 ? c : '?');
	}
	return e;
}

/* Who is alone is no crowd, whatever the house asks for. */
static bool
is_in_crowd(const struct journal_line *l)
{
	return l->wait == JOURNAL_WAIT_CROWD && l->crowd > 1;
}

static enum err
subject(const struct journal_line *l, struct buf *out)
{
	enum err e = ERR_OK;
	switch (l->event) {
	case JOURNAL_SUBMITTED:
		return buf_append_str(out, l->hold > 0 ? "Kept for later" : "Waits");
	case JOURNAL_LEFT:
		switch (l->wait) {
		case JOURNAL_WAIT_CROWD:
			return is_in_crowd(l) ? buf_printf(out, "Left in a crowd of %u: protected", l->crowd)
					      : buf_append_str(out, "Left without a crowd: not protected");
		case JOURNAL_WAIT_VOID:
			return buf_append_str(out, "Left without a crowd: not protected");
		case JOURNAL_WAIT_EXPONENTIAL:
			return buf_append_str(out, "Left after a random delay");
		case JOURNAL_WAIT_NONE:
		case JOURNAL_WAIT__COUNT:
			break;
		}
		return buf_append_str(out, "Left at once: not protected");
	case JOURNAL_DELIVERED:
		e = buf_append_str(out, "Delivered to ");
		break;
	case JOURNAL_DEFERRED:
		e = buf_append_str(out, "Not yet taken by ");
		break;
	case JOURNAL_FAILED:
		e = buf_append_str(out, "Refused by ");
		break;
	case JOURNAL_FORWARD_FAILED:
		e = buf_append_str(out, "A forwarded copy was refused by ");
		break;
	case JOURNAL__COUNT:
		return ERR_FORMAT;
	}
	e = e == ERR_OK ? put_clean(out, l->domain) : e;
	bool shows = l->event == JOURNAL_DELIVERED && !(l->tls != 0 && l->padded);
	return e == ERR_OK && shows ? buf_append_str(out, ", void for size: it showed") : e;
}

static const char *
plural(uint32_t n)
{
	return n == 1 ? "" : "s";
}

static enum err
body_submitted(const struct journal_line *l, struct buf *out)
{
	unsigned long long held = (unsigned long long)(l->hold + 59) / 60;
	enum err e = buf_printf(out, "Your letter to %u recipient%s is on disk, and ", l->recipients,
				plural(l->recipients));
	if (e == ERR_OK && l->hold > 0 && l->lane != LAW_PATIENT) {
		e = buf_printf(out, "leaves at the first tick after %llu minute%s, with a crowd or without",
			       held, held == 1 ? "" : "s");
	} else if (e == ERR_OK) {
		e = buf_append_str(out, "waits for a crowd to leave with");
		if (e == ERR_OK && l->hold > 0) {
			e = buf_printf(out, ", after %llu minute%s", held, held == 1 ? "" : "s");
		}
	}
	e = e == ERR_OK ? buf_append_str(out, ".\r\nIts lane: ") : e;
	if (e == ERR_OK) {
		e = buf_append_str(out, l->lane == LAW_URGENT    ? "urgent (it does not wait for a crowd)"
					: l->lane == LAW_PATIENT ? "patient"
								 : "normal");
	}
	e = e == ERR_OK ? buf_append_str(out, ".\r\nOn the lines it looks like ") : e;
	e = e == ERR_OK ? put_size(out, l->size_class) : e;
	e = e == ERR_OK ? buf_append_str(out, ".\r\nReference: ") : e;
	e = e == ERR_OK ? put_clean(out, l->reference) : e;
	e = e == ERR_OK ? buf_append_str(out, "\r\nMessage-ID: ") : e;
	e = e == ERR_OK ? put_clean(out, l->message_id) : e;
	return e == ERR_OK ? buf_append_str(out, "\r\n") : e;
}

static enum err
body_left(const struct journal_line *l, struct buf *out)
{
	switch (l->wait) {
	case JOURNAL_WAIT_CROWD:
		return buf_printf(
		    out,
		    "It left in a crowd of %u member%s and %u deliver%s of its size, letters between members "
		    "included. Who only\r\n"
		    "watches the lines can do no better than guess among them.\r\n",
		    l->crowd, plural(l->crowd), l->batch, l->batch == 1 ? "y" : "ies");
	case JOURNAL_WAIT_VOID:
		if (l->crowd > 0) {
			return buf_printf(out,
					  "The promise did not hold for it: more of yours left than your "
					  "share of the crowd (%u "
					  "member%s, %u\r\n"
					  "deliver%s of its size), or it went to very many servers.\r\n"
					  "Who watched the lines may know that it is yours.\r\n",
					  l->crowd, plural(l->crowd), l->batch, l->batch == 1 ? "y" : "ies");
		}
		return buf_append_str(
		    out,
		    "The promise did not hold for it: too few members wrote letters of this size in time, "
		    "or it\r\n"
		    "was urgent, or sent for a time that you chose, or it went to very many servers.\r\n"
		    "Who watched the lines may know that it is yours.\r\n");
	case JOURNAL_WAIT_EXPONENTIAL:
		return buf_append_str(
		    out, "It left after a random delay. Nothing is promised of a single letter.\r\n");
	case JOURNAL_WAIT_NONE:
	case JOURNAL_WAIT__COUNT:
		break;
	}
	return buf_append_str(
	    out, "This house lets letters leave at once: who watches the lines knows that it is yours.\r\n");
}

static enum err
body_attempt(const struct journal_line *l, struct buf *out)
{
	enum err e = l->event == JOURNAL_FORWARD_FAILED
			 ? buf_append_str(out, "A letter to you was to be sent on, as you asked, and was not "
					       "taken there. Your own copy lies\r\nin your mailbox.\r\n")
			 : ERR_OK;
	e = e == ERR_OK ? buf_append_str(out, "The server said: ") : e;
	e = e == ERR_OK ? put_clean(out, l->text) : e;
	e = e == ERR_OK ? buf_append_str(out, "\r\n") : e;
	if (e != ERR_OK || l->event != JOURNAL_DELIVERED) {
		return e;
	}
	const char *tls = tls_name(l->tls);
	if (tls == NULL) {
		return buf_append_str(out, "It went in clear: whoever has the lines could read it.\r\n");
	}
	e = buf_printf(out, "On the way: %s, %s, %s.\r\n", tls, proof_text(l->proof),
		       l->padded ? "its size hidden" : "its size not hidden (void for size)");
	return e;
}

static enum err
body(const struct journal_line *l, struct buf *out)
{
	switch (l->event) {
	case JOURNAL_SUBMITTED:
		return body_submitted(l, out);
	case JOURNAL_LEFT:
		return body_left(l, out);
	case JOURNAL_DELIVERED:
	case JOURNAL_DEFERRED:
	case JOURNAL_FAILED:
	case JOURNAL_FORWARD_FAILED:
		return body_attempt(l, out);
	case JOURNAL__COUNT:
		break;
	}
	return ERR_FORMAT;
}

/* "yes", "no", or NULL where the line says nothing of it. */
static const char *
protected_word(const struct journal_line *l)
{
	if (l->event == JOURNAL_LEFT) {
		return is_in_crowd(l) ? "yes" : "no";
	}
	return NULL;
}

static enum err
head(const struct journal_line *l, const struct journal_names *n, struct bytes title, struct buf *out)
{
	char letter[LETTER_LEN * 2 + 1];
	char id[LETTER_LEN * 2 + 1];
	for (size_t i = 0; i < LETTER_LEN; i++) {
		(void)snprintf(letter + 2 * i, 3, "%02x", l->unit[i]);
		(void)snprintf(id + 2 * i, 3, "%02x", n->random[i]);
	}
	enum err e = buf_printf(out, "From: Cohue <postmaster@%s>\r\nTo: <", n->domain);
	e = e == ERR_OK ? put_clean(out, n->address) : e;
	e = e == ERR_OK ? buf_append_str(out, ">\r\n") : e;
	e = e == ERR_OK ? mail_write_field(out, "Subject", title) : e;
	e = e == ERR_OK ? buf_append_str(out, "Date: ") : e;
	e = e == ERR_OK ? mail_write_date(out, (int64_t)l->time) : e;
	e = e == ERR_OK ? buf_append_str(out, "\r\n") : e;
	if (e == ERR_OK && l->event == JOURNAL_SUBMITTED) {
		e = buf_printf(out, "Message-ID: <%s.journal@%s>\r\n", letter, n->domain);
	} else if (e == ERR_OK) {
		e = buf_printf(out, "Message-ID: <%s.journal@%s>\r\nReferences: <%s.journal@%s>\r\n", id,
			       n->domain, letter, n->domain);
	}
	if (e == ERR_OK) {
		e = buf_printf(out, "Cohue-Letter: %s\r\nCohue-Event: %s\r\n", letter, event_name(l->event));
	}
	if (e == ERR_OK && protected_word(l) != NULL) {
		e = buf_printf(out, "Cohue-Protected: %s\r\n", protected_word(l));
	}
	if (e == ERR_OK && l->event == JOURNAL_DELIVERED) {
		e = buf_printf(out, "Cohue-Size-Hidden: %s\r\n", l->tls != 0 && l->padded ? "yes" : "no");
	}
	if (e == ERR_OK && l->event == JOURNAL_DELIVERED) {
		e = buf_printf(out, "Cohue-Link: %s\r\n", link_text(l));
	}
	if (e == ERR_OK && is_attempt(l) && l->text.len > 0) {
		e = buf_append_str(out, "Cohue-Reason: ");
		e = e == ERR_OK ? put_clean(out, l->text) : e;
		e = e == ERR_OK ? buf_append_str(out, "\r\n") : e;
	}
	if (e == ERR_OK && l->event == JOURNAL_LEFT) {
		e = buf_printf(out, "Cohue-Crowd: %u\r\n", l->crowd);
	}
	return e == ERR_OK ? buf_append_str(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
						 "Content-Type: text/plain; charset=us-ascii\r\n\r\n")
			   : e;
}

enum err
journal_write(const struct journal_line *line, const struct journal_names *names, struct buf *out)
{
	struct buf title = BUF_INIT(TEXT_MAX);
	enum err e = subject(line, &title);
	e = e == ERR_OK ? head(line, names, buf_bytes(&title), out) : e;
	e = e == ERR_OK ? body(line, out) : e;
	buf_wipe(&title);
	return e;
}
