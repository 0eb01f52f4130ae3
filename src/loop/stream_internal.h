/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_STREAM_INTERNAL_H
#define COHUE_LOOP_STREAM_INTERNAL_H

#include "base/openssl.h"

#include <openssl/ssl.h>

#include "loop/internal.h"
#include "loop/stream.h"

/* What the stream's own files share: stream.c (life and deadlines), stream_read.c, stream_write.c, stream_tls.c. */

enum { STREAM_READ_ROUNDS = 8 /* reads of one stream before others get their turn */ };

/*
 * A life: CLEAR (→ TLS_PENDING, once the queue has left in clear → TLS_HANDSHAKE
 * → TLS_OPEN). Then `closing`: OPEN → FLUSHING → LINGERING → DONE, or straight
 * to DONE on errors; `closed` is reported from the deferred call that follows.
 */
enum tls_state { CLEAR, TLS_PENDING, TLS_HANDSHAKE, TLS_OPEN };
enum closing { OPEN, FLUSHING, LINGERING, DONE };

/* A part of the queue that leaves as so many records of one size; 0 records: as it comes. */
struct record_plan {
	struct record_plan *next;
	uint64_t bytes; /* not yet sent; perhaps not yet written */
	uint64_t records;
	size_t size;
	bool long_one; /* one of several records that belong together */
};

struct stream {
	struct loop *loop;
	const struct stream_events *events; /* NULL once the loop owns it */
	void *arg;
	const struct stream_settings *settings;
	const char *alpn; /* NULL: none */
	SSL *ssl;
	struct watch watch;
	struct timer timer;
	struct defer flush; /* at the end of the turn */
	struct defer work;  /* whatever else is due outside of the host's calls */
	struct buf held;    /* received, not consumed */
	struct buf out;     /* queued; the first out_at bytes are sent */
	size_t out_at;
	struct bytes offered;    /* while the data callback runs, what it was shown */
	size_t offered_consumed; /* and how much of it was consumed */
	uint64_t bytes_in, bytes_out, bytes_padding;
	/* From the queue's front on; what is behind them has no plan yet. */
	struct record_plan *plans;
	uint64_t planned;       /* bytes of all plans */
	uint64_t response_sent; /* full records planned of the response under way */
	size_t block;           /* 0: none */
	size_t record_size;     /* of the record that is being made; 0: as it comes */
	bool can_pad, record_made, corked;
	enum stream_ladder ladder;
	msec idle_ms, active_at, deadline; /* deadline: of the handshake, or of the closing */
	size_t
	    clear_left; /* TLS_PENDING: bytes of the queue that still leave in clear; what is written later does not */
	size_t lingered;
	struct stream *prev, *next; /* among those the loop finishes */
	int fd;
	enum tls_state tls;
	enum closing closing;
	enum err why;
	bool unproved; /* the handshake failed: the peer did not prove what it should */
	bool paused, ended, congested, want_write, offering, verify, ended_told, reported, quick_ack;
	bool busy; /* a handler of the loop is at work on it: freeing waits for its end */
	bool dead;
};

/* Settings, with their defaults. */
size_t stream_read_max(const struct stream *s);
size_t stream_write_max(const struct stream *s);
msec stream_handshake_ms(const struct stream *s);

/* Life. Each handler of the loop works between begin and end, which frees what died meanwhile. */
void stream_begin(struct stream *s);
void stream_end(struct stream *s);
bool stream_is_alive(const struct stream *s);
/* Over: everything is given back now, and `closed` follows from a deferred call. */
void stream_fail(struct stream *s, enum err why);
/* Asks the loop for what is of use now. */
void stream_update_watch(struct stream *s);
/* Sets the one timer to the next deadline. */
void stream_arm(struct stream *s);
void stream_start_lingering(struct stream *s);

/* stream_read.c */
bool stream_takes_data(const struct stream *s);
void stream_offer_held(struct stream *s);
void stream_read_in(struct stream *s);

/* stream_pad.c */
/* TLS is open: from now on records can be padded, perhaps. */
void stream_pad_open(struct stream *s);
void stream_pad_clear(struct stream *s);
/* After a write: full records of a long response leave before its end. */
enum err stream_pad_written(struct stream *s);
/* Before the queue is sent. */
enum err stream_pad_turn(struct stream *s);
/*
 * More records of the same transfer will follow: the kernel keeps the last segment open until then, so that the segments' sizes tell
 * no more than the records' (where padding begins, say).
 */
bool stream_pad_goes_on(const struct stream *s);
/* How many bytes at the queue's front go into one call of OpenSSL; 0: none now. */
size_t stream_pad_next(struct stream *s);
/* So many of them have been sent. ERR_STATE: not in a record of the size that was planned. */
enum err stream_pad_sent(struct stream *s, size_t n, size_t asked);

/* stream_write.c: the deferred call at the end of the turn. */
void stream_on_flush(struct defer *d);

/* tls_proof.c */
struct tls_expectation;
enum err tls_expect(SSL *ssl, const struct tls_expectation *expectation);

/* stream_tls.c */
void stream_free_ssl(struct stream *s);
void stream_shake_hands(struct stream *s);
/* What OpenSSL's last result means: ERR_OK for "not yet" (with want_write set), or for the peer's end. */
enum err stream_ssl_result(struct stream *s, int result, bool *ret_ended);

#endif
