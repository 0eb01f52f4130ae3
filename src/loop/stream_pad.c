/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Records of planned sizes: OpenSSL asks for each record how much padding it gets, and each goes into a call of its own. */
#include "loop/stream_internal.h"

#include <stdlib.h>

#include "loop/pad.h"

/* `len` counts the type's byte. Not called for a record that is full without padding. */
static size_t
on_padding(SSL *ssl, int type, size_t len, void *arg)
{
	struct stream *s = arg;
	size_t padding = 0;
	(void)ssl;
	if (type == SSL3_RT_APPLICATION_DATA && s->record_size > 0) {
		if (len > s->record_size) {
			return 0; /* record_made stays false, which ends the stream */
		}
		s->record_made = true;
		padding = s->record_size - len;
	} else if (s->block > 1) {
		padding = (s->block - len % s->block) % s->block;
		/* OpenSSL cuts what would pass the largest record. */
		padding = padding < SSL3_RT_MAX_PLAIN_LENGTH - len ? padding : SSL3_RT_MAX_PLAIN_LENGTH - len;
	}
	s->bytes_padding += padding;
	return padding;
}

void
stream_pad_open(struct stream *s)
{
	if (SSL_version(s->ssl) != TLS1_3_VERSION) {
		return;
	}
	const SSL_SESSION *session = SSL_get0_session(s->ssl);
	uint8_t fragment = session == NULL ? 0 : SSL_SESSION_get_max_fragment_length(session);
	s->can_pad = fragment == TLSEXT_max_fragment_length_DISABLED;
	SSL_set_record_padding_callback_arg(s->ssl, s);
	s->can_pad = SSL_set_record_padding_callback(s->ssl, on_padding) == 1 && s->can_pad;
}

bool
stream_can_pad(const struct stream *s)
{
	return s->tls == TLS_OPEN && s->can_pad && s->ssl != NULL;
}

void
stream_pad_clear(struct stream *s)
{
	while (s->plans != NULL) {
		struct record_plan *p = s->plans;
		s->plans = p->next;
		free(p);
	}
	s->planned = 0;
	s->response_sent = 0;
	s->can_pad = false;
}

/* Bytes behind the last plan. */
static size_t
unplanned(const struct stream *s)
{
	size_t queued = stream_queued(s);
	return s->planned < queued ? queued - (size_t)s->planned : 0;
}

static struct record_plan *
last_plan(const struct stream *s)
{
	struct record_plan *p = s->plans;
	while (p != NULL && p->next != NULL) {
		p = p->next;
	}
	return p;
}

static enum err
add_plan(struct stream *s, uint64_t bytes, size_t size, uint64_t count)
{
	struct record_plan *last = last_plan(s);
	/* Full records behind full ones are more of the same. */
	if (count > 0 && last != NULL && size == PAD_RECORD_MAX && last->size == size &&
	    last->bytes == last->records * PAD_FULL && bytes == count * PAD_FULL) {
		last->bytes += bytes;
		last->records += count;
		s->planned += bytes;
		return ERR_OK;
	}
	struct record_plan *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return ERR_MEMORY;
	}
	*p = (struct record_plan){
	    .bytes = bytes, .records = count, .size = size, .long_one = count > 1 || s->response_sent > 0};
	if (last != NULL) {
		last->next = p;
	} else {
		s->plans = p;
	}
	s->planned += bytes;
	return ERR_OK;
}

/* What is queued without a plan leaves as it comes. */
static enum err
settle_rest(struct stream *s)
{
	size_t rest = unplanned(s);
	return rest == 0 ? ERR_OK : add_plan(s, rest, 0, 0);
}

enum err
stream_plan_records(struct stream *s, uint64_t bytes, size_t size, uint64_t count)
{
	if (s->closing != OPEN) {
		return ERR_CLOSED;
	}
	if (!stream_can_pad(s)) {
		return ERR_UNSUPPORTED;
	}
	if (!pad_fits(bytes, size, count) || bytes > UINT64_MAX - s->planned) {
		return ERR_LIMIT;
	}
	if (s->planned > stream_queued(s)) {
		return ERR_STATE;
	}
	enum err e = settle_rest(s);
	return e == ERR_OK ? add_plan(s, bytes, size, count) : e;
}

enum err
stream_write_records(struct stream *s, struct bytes data, size_t size, uint64_t count)
{
	if (data.len > stream_write_max(s) - stream_queued(s)) {
		return ERR_LIMIT;
	}
	enum err e = stream_plan_records(s, data.len, size, count);
	if (e == ERR_OK) {
		e = stream_write(s, data);
		if (e != ERR_OK) {
			/* The plan stands, its bytes are missing: nothing may leave under it. */
			stream_fail(s, e);
		}
	}
	return e;
}

/* ---- responses ---- */

static enum err
plan_response(struct stream *s)
{
	struct pad_shape shape;
	size_t left = unplanned(s);
	if (!stream_can_pad(s) || (left == 0 && s->response_sent == 0)) {
		return ERR_OK;
	}
	enum err e = pad_ladder(s->response_sent, left, &shape);
	if (e == ERR_OK) {
		e = add_plan(s, left, shape.size, shape.count);
	}
	if (e == ERR_OK) {
		s->response_sent = 0;
	}
	return e;
}

void
stream_set_ladder(struct stream *s, enum stream_ladder how)
{
	/* What is there already is a response of its own, or leaves as it comes. */
	enum err e = s->ladder != STREAM_LADDER_OFF ? stream_end_response(s)
		     : stream_can_pad(s)            ? settle_rest(s)
						    : ERR_OK;
	if (e != ERR_OK) {
		stream_fail(s, e);
		return;
	}
	s->ladder = how;
}

enum err
stream_end_response(struct stream *s)
{
	enum err e = plan_response(s);
	if (e == ERR_OK && s->plans != NULL && !s->want_write && s->closing != DONE) {
		defer_start_last(s->loop, &s->flush);
	}
	return e;
}

enum err
stream_end_record(struct stream *s, size_t size)
{
	size_t left = unplanned(s);
	if (!stream_can_pad(s)) {
		return ERR_OK;
	}
	if (s->response_sent > 0 || !pad_fits(left, size, 1)) {
		return ERR_LIMIT;
	}
	enum err e = add_plan(s, left, size, 1);
	if (e == ERR_OK && !s->want_write && s->closing != DONE) {
		defer_start_last(s->loop, &s->flush);
	}
	return e;
}

enum err
stream_pad_written(struct stream *s)
{
	size_t left = unplanned(s);
	if (s->ladder != STREAM_LADDER_RESPONSE || !stream_can_pad(s) || left <= PAD_FULL + PAD_HOLD) {
		return ERR_OK;
	}
	size_t records = (left - PAD_HOLD - 1) / PAD_FULL;
	enum err e = add_plan(s, (uint64_t)records * PAD_FULL, PAD_RECORD_MAX, records);
	s->response_sent += e == ERR_OK ? records : 0;
	return e;
}

enum err
stream_pad_turn(struct stream *s)
{
	bool ends = s->ladder == STREAM_LADDER_TURN ||
		    (s->ladder == STREAM_LADDER_RESPONSE && s->closing == FLUSHING);
	/* Here the queue is being sent: nothing to ask for. */
	return ends ? plan_response(s) : ERR_OK;
}

/* ---- sending ---- */

bool
stream_pad_goes_on(const struct stream *s)
{
	const struct record_plan *p = s->plans;
	while (p != NULL && !p->long_one) {
		p = p->next;
	}
	return p != NULL || s->response_sent > 0;
}

size_t
stream_pad_next(struct stream *s)
{
	size_t queued = stream_queued(s);
	struct record_plan *p = s->plans;
	if (p == NULL) {
		s->record_size = 0;
		return s->ladder != STREAM_LADDER_OFF && stream_can_pad(s) ? 0 : queued;
	}
	if (p->records == 0) {
		s->record_size = 0;
		return p->bytes < queued ? (size_t)p->bytes : queued;
	}
	size_t n = pad_payload(p->bytes, p->records, p->size);
	if (n > queued) {
		return 0;
	}
	/* A full record has no padding, and OpenSSL does not ask for it. */
	s->record_made = s->record_made || n + 1 == PAD_RECORD_MAX;
	s->record_size = p->size;
	return n;
}

enum err
stream_pad_sent(struct stream *s, size_t n, size_t asked)
{
	struct record_plan *p = s->plans;
	if (p == NULL) {
		return ERR_OK;
	}
	if (p->records > 0 && (n != asked || !s->record_made)) {
		return ERR_STATE;
	}
	s->record_made = false;
	p->bytes -= n;
	s->planned -= n;
	p->records -= p->records > 0 ? 1 : 0;
	if (p->bytes == 0) {
		s->plans = p->next;
		free(p);
	}
	return ERR_OK;
}

uint64_t
stream_bytes_padding(const struct stream *s)
{
	return s->bytes_padding;
}
