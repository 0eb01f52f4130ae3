/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_LOOP_STREAM_H
#define COHUE_LOOP_STREAM_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "loop/loop.h"
#include "loop/tls.h"

/*
 * A non-blocking byte stream over a connected socket, in clear or under TLS.
 *
 * Reading: bytes arrive as a borrowed view, in a buffer that all streams of a
 * loop share. The host says with stream_consume how many it has taken; what it
 * leaves is kept and offered again, with more behind it. Writing: bytes are
 * queued and leave together at the end of the turn, in as few system calls and
 * TLS records as possible. An idle stream holds no buffer.
 *
 * Callbacks come from the loop only, never from within a stream_ call, and any
 * of them may call stream_destroy.
 */

struct stream;

struct stream_events {
	/*
	 * Bytes have come: all that is not consumed yet, old first. Called again only
	 * when more comes, when reading is resumed, or after consuming a part while
	 * more was waiting. The view dies with the next stream_ call on this stream
	 * that is not stream_consume or stream_write.
	 */
	void (*data)(struct stream *s, void *arg, struct bytes data);
	/* The handshake is done. May be NULL. */
	void (*secured)(struct stream *s, void *arg);
	/* The queue has fallen to the low-water mark after a stream_write had passed the high one. May be NULL. */
	void (*drained)(struct stream *s, void *arg);
	/*
	 * The peer will send no more (FIN or close_notify); writing still works. What was not
	 * consumed is lost when this returns. NULL: the stream closes itself, as by stream_close.
	 */
	void (*ended)(struct stream *s, void *arg);
	/*
	 * Once, the last callback: ERR_OK after stream_close, else ERR_CLOSED (reset by the peer),
	 * ERR_TIMEOUT (idle or handshake), ERR_AUTH (handshake failed), ERR_FORMAT (broken
	 * records), ERR_IO, ERR_MEMORY. The host calls stream_destroy, now or later.
	 */
	void (*closed)(struct stream *s, void *arg, enum err why);
};

struct stream_settings {
	size_t read_max;  /* most bytes kept unconsumed; the kernel holds the rest back. 0: 64 KiB */
	size_t write_max; /* most bytes queued. 0: 1 MiB */
	size_t high_water, low_water; /* of the write queue. 0: 128 KiB and 32 KiB */
	msec handshake_ms;            /* 0: 30 s */
	msec close_ms;                /* most time for flushing and closing. 0: 10 s */
};

/*
 * Takes over a connected, or connecting, stream socket and closes it at the end (on failure it stays the
 * caller's). `events` and `settings` are borrowed for its life; settings may be NULL. Sets O_NONBLOCK,
 * FD_CLOEXEC and TCP_NODELAY. ERR_MEMORY, ERR_IO.
 */
COHUE_MUST_USE enum err stream_create(struct loop *loop, int fd, const struct stream_settings *settings,
				      const struct stream_events *events, void *arg,
				      struct stream **ret_stream);
/* Another host from now on, whose callbacks get `arg`: from within a data callback too. What is unread is offered anew. */
void stream_set_events(struct stream *s, const struct stream_events *events, void *arg);
/* At once, unsent bytes and all. Accepts NULL. */
void stream_destroy(struct stream **stream);
/* Hands the stream over to the loop, which flushes, closes and frees it without any further callback. Accepts NULL. */
void stream_finish(struct stream **stream);

/*
 * Starts TLS: for implicit TLS right after stream_create, for STARTTLS in the very callback that wrote
 * the reply ("220 ready"), with the bytes of the command consumed. Clear-text bytes that are not consumed,
 * or wait in the kernel, are thrown away (RFC 3207 section 4.2; command injection), and ret_discarded (may be NULL)
 * says how many; what was queued for writing before leaves in clear first. With implicit TLS nothing is read in clear.
 * ERR_STATE if TLS is already there or the stream is closing, ERR_LIMIT for a flood of pipelined bytes, ERR_MEMORY.
 */
COHUE_MUST_USE enum err stream_start_tls_server(struct stream *s, struct tls_context *ctx, bool implicit,
						size_t *ret_discarded);
/*
 * The one protocol that is spoken here (RFC 7301), for a server, before stream_start_tls_server: who offers others alone is refused in the
 * handshake. Static. Without it, what clients offer is overlooked.
 */
void stream_set_alpn(struct stream *s, const char *protocol);
/* sni may be NULL, is copied, and is the name that a verifying context checks. */
COHUE_MUST_USE enum err stream_start_tls_client(struct stream *s, struct tls_context *ctx, const char *sni,
						bool implicit, size_t *ret_discarded);
/* ERR_STATE before the handshake is done. */
COHUE_MUST_USE enum err stream_tls_info(const struct stream *s, struct tls_info *ret_info);
bool stream_is_secure(const struct stream *s);
/* Keying material (RFC 5705, RFC 8446 section 7.5, RFC 9266 for "EXPORTER-Channel-Binding"), without context. */
COHUE_MUST_USE enum err stream_tls_exporter(struct stream *s, const char *label, uint8_t *ret_key, size_t n);
/* Octets of the longest tls-server-end-point. */
enum { STREAM_END_POINT_MAX = 64 };
/*
 * tls-server-end-point (RFC 5929 section 4) of a server's stream: its own certificate, hashed as its signature is; with SHA-256 where that
 * is MD5 or SHA-1. ERR_STATE, ERR_UNSUPPORTED: there is no such hash (Ed25519).
 */
COHUE_MUST_USE enum err stream_tls_end_point(const struct stream *s, uint8_t ret[STREAM_END_POINT_MAX],
					     size_t *ret_len);
/*
 * Pads each TLS 1.3 record to a multiple of `block` bytes (2 to 16384; 0: off), but those of the functions below.
 * ERR_STATE without TLS, ERR_UNSUPPORTED below 1.3.
 */
COHUE_MUST_USE enum err stream_set_padding(struct stream *s, size_t block);

/*
 * Exact control over TLS 1.3 records: of which size, and how many, whatever they carry (loop/pad.h). A record's size on
 * the wire is 5 + size + 16. What cannot be padded so is an error, and nothing of it is sent.
 */

/* TLS 1.3 is open, and the peer did not ask for short records (RFC 6066 section 4): all of the following work. */
bool stream_can_pad(const struct stream *s);
/*
 * The next `bytes` bytes that are written leave as exactly `count` records of `size`; what is queued already leaves before,
 * what is written behind them afterwards. They may be written little by little. ERR_UNSUPPORTED: cannot pad; ERR_LIMIT: they
 * do not go in, or are fewer than records; ERR_STATE: an earlier one is not fully written; ERR_CLOSED, ERR_MEMORY.
 */
COHUE_MUST_USE enum err stream_plan_records(struct stream *s, uint64_t bytes, size_t size, uint64_t count);
/* The same for these bytes, all or nothing. */
COHUE_MUST_USE enum err stream_write_records(struct stream *s, struct bytes data, size_t size,
					     uint64_t count);

enum stream_ladder {
	STREAM_LADDER_OFF,  /* records as they come */
	STREAM_LADDER_TURN, /* what is written in one turn is a response */
	STREAM_LADDER_RESPONSE, /* the host says where one ends: until then the last PAD_HOLD bytes and more stay here */
};
/*
 * Responses on the ladder of loop/pad.h, as soon as TLS is open and can pad; until then, or where it cannot, as without. Closing
 * ends a response. What cannot be padded closes the stream (ERR_STATE).
 */
void stream_set_ladder(struct stream *s, enum stream_ladder how);
/* Ends a response. Nothing happens where none has begun, or TLS cannot pad. ERR_LIMIT, ERR_MEMORY: the host closes. */
COHUE_MUST_USE enum err stream_end_response(struct stream *s);
/* Ends a response that must be one record of `size`. ERR_LIMIT where it is not, or there is none. */
COHUE_MUST_USE enum err stream_end_record(struct stream *s, size_t size);
/* Bytes of padding sent so far. */
uint64_t stream_bytes_padding(const struct stream *s);

/*
 * Acknowledges at once what is read: for clients that write a literal and the rest of its command in two pieces, and whose
 * kernel holds the second back until the first is acknowledged (Nagle), 40 ms when we have nothing to say.
 */
void stream_set_quick_ack(struct stream *s, bool on);

/* Drops n bytes at the front of what was offered (n <= its length). */
void stream_consume(struct stream *s, size_t n);
/* Back-pressure: no data callback while paused; resuming offers again what was kept. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
bool stream_is_paused(const struct stream *s);

/* All or nothing. ERR_LIMIT past write_max, ERR_CLOSED once it is closing or broken, ERR_MEMORY. */
COHUE_MUST_USE enum err stream_write(struct stream *s, struct bytes data);
/* Bytes queued and not yet handed to the kernel. */
size_t stream_queued(const struct stream *s);
/* True past the high-water mark: stop producing until `drained`. */
bool stream_is_congested(const struct stream *s);
/*
 * Writes what is queued as a record (or records) of its own: later bytes never share
 * one with it. For padding; ordinary writes need no flush. Errors arrive as `closed`.
 */
void stream_flush(struct stream *s);

/* Closes when ms pass in which nothing is received and nothing could be sent; negative: never (the start). */
void stream_set_idle(struct stream *s, msec ms);
/* Sends what is queued, close_notify and FIN, waits shortly for the peer's, then `closed(ERR_OK)`. Reads no more. */
void stream_close(struct stream *s);

/* Received from and sent to the host's side, in bytes, without TLS. */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);
struct loop *stream_loop(const struct stream *s);

#endif
