/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "protocol/imap_subject.h"

/* The steps are numbered as in RFC 5256 section 2.1. */

/* (1), but for the decoding. */
static struct bytes
single_blanks(struct buf *subject)
{
	size_t n = 0;
	for (size_t i = 0; i < subject->len; i++) {
		uint8_t c = subject->ptr[i];
		c = c == '\t' || c == '\r' || c == '\n' ? ' ' : c;
		if (c != ' ' || n == 0 || subject->ptr[n - 1] != ' ') {
			subject->ptr[n++] = c;
		}
	}
	buf_truncate(subject, n);
	return buf_bytes(subject);
}

/* (2) */
static struct bytes
without_trailers(struct bytes s, bool *reply)
{
	for (;;) {
		if (s.len > 0 && s.ptr[s.len - 1] == ' ') {
			s.len--;
		} else if (bytes_ends_with_nocase(s, "(fwd)")) {
			s.len -= 5;
			*reply = true;
		} else {
			return s;
		}
	}
}

/* Octets of the subj-blob at the front, its blanks included; 0: there is none. */
static size_t
blob(struct bytes s)
{
	size_t n = 1;
	if (s.len < 2 || s.ptr[0] != '[') {
		return 0;
	}
	while (n < s.len && s.ptr[n] != '[' && s.ptr[n] != ']' && s.ptr[n] != 0) {
		n++;
	}
	if (n == s.len || s.ptr[n] != ']') {
		return 0;
	}
	n++;
	while (n < s.len && s.ptr[n] == ' ') {
		n++;
	}
	return n;
}

/* Octets of the subj-refwd at the front: "Re:", "Fw [x]:", "fwd:". */
static size_t
refwd(struct bytes s)
{
	size_t n = bytes_starts_with_nocase(s, "fwd")                                       ? 3
		   : bytes_starts_with_nocase(s, "fw") || bytes_starts_with_nocase(s, "re") ? 2
											    : 0;
	if (n == 0) {
		return 0;
	}
	while (n < s.len && s.ptr[n] == ' ') {
		n++;
	}
	n += blob(bytes_from(s, n));
	return n < s.len && s.ptr[n] == ':' ? n + 1 : 0;
}

/*
 * (3) to (5). Where blobs are not followed by a subj-refwd, they are no part of a leader, however many of them are
 * taken away: so the leader is looked for once behind each run of them.
 */
static struct bytes
without_leaders(struct bytes s, bool *reply)
{
	for (;;) {
		while (s.len > 0 && s.ptr[0] == ' ') {
			s = bytes_from(s, 1);
		}
		struct bytes rest = s;
		struct bytes last = s; /* the last blob and what follows it */
		for (size_t n = blob(rest); n > 0; n = blob(rest)) {
			last = rest;
			rest = bytes_from(rest, n);
		}
		size_t n = refwd(rest);
		if (n == 0) {
			/* (4) unless nothing would be left */
			return rest.len > 0 ? rest : last;
		}
		*reply = true;
		s = bytes_from(rest, n);
	}
}

void
imap_base_subject(struct buf *subject, struct bytes *ret_base, bool *ret_reply)
{
	struct bytes s = single_blanks(subject);
	bool reply = false;
	for (;;) {
		s = without_leaders(without_trailers(s, &reply), &reply);
		if (!bytes_starts_with_nocase(s, "[fwd:") || s.ptr[s.len - 1] != ']') {
			break;
		}
		/* (6) */
		s = bytes_slice(s, 5, s.len - 6);
		reply = true;
	}
	*ret_base = s;
	*ret_reply = reply;
}
