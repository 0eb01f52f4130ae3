/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_MEMBER_GATE_H
#define COHUE_GATE_MEMBER_GATE_H

#include <sys/socket.h>

#include "gate/gate_tls.h"
#include "gate/smtp_connection.h"
#include "gate_member/http_connection.h"
#include "gate_member/imap_connection.h"
#include "loop/listen.h"
#include "process/role.h"

/* Inside gate-member: the role's state, a connection before login, and the pipe it becomes. */

enum {
	GATE_LISTENERS_MAX = 48,
	GATE_BUCKETS = 4096,
	GATE_ADDRESS_LEN = 16, /* IPv6, or mapped IPv4 */
	GATE_LOGIN_MS = 60 * 1000,
	GATE_SHARE = 4, /* one source may have 1/4 of all connections */
	GATE_SHARE_LEAST = 16,
	GATE_WEB_SHARE =
	    8, /* of all connections the web has at most 1/8 more: strangers take no member's place */
	GATE_WEB_SOURCE = 16,                /* connections to the web from one source */
	GATE_IDLE_MARGIN_MS = 5 * 60 * 1000, /* above the session's own limit, which speaks first */
	GATE_CREDIT_STEP = CONN_WINDOW / 4,
	GATE_QUIET_MS = 500, /* a pipe without bytes for so long is between two commands */
	GATE_STOP_MS = 6 * 1000,
};

struct member_gate;

/* How many connections come from one network, under a hash whose key lives in this process alone. */
struct source {
	struct source *next;
	uint64_t name;
	uint32_t count;
};

struct gate_listener {
	struct listener listener;
	struct member_gate *gate;
	uint16_t port; /* the service, as in LISTEN */
	int fd;
};

struct member_gate {
	struct role_host *host;
	struct gate_tls gate_tls;
	struct tls_context *tls; /* gate_tls.ctx */
	struct smtp_server_config smtp;
	struct imap_gate_config imap;
	struct web web;
	unsigned challenges_asked; /* of the keeper, now */
	struct gate_listener listeners[GATE_LISTENERS_MAX];
	size_t listener_count;
	struct connection *all;
	size_t connections; /* all */
	size_t browsing;    /* of these, to the web */
	size_t piped;
	struct connection *pipes[GATE_BUCKETS]; /* by id */
	uint32_t last_id;
	struct source *sources[GATE_BUCKETS];
	uint8_t source_key[32];
	uint64_t seen_connections;
	uint64_t seen_logins;
	uint64_t seen_refused;
	uint64_t seen_deferred;
	uint64_t seen_unpadded; /* logged in over TLS 1.2: nothing can be padded */
	uint64_t sent_payload;  /* bytes, of connections that have ended after a login */
	uint64_t sent_padding;
	uint64_t seen_requests; /* on the web */
	uint64_t seen_crowded;  /* turned away: too many from one source */
};

/* All that a connection holds while it idles after login: this and its stream. */
struct connection {
	struct member_gate *gate;
	struct connection *next;
	struct connection **link;
	struct connection *next_pipe;
	struct source *source;
	struct login *login;          /* before login, else NULL */
	struct http_connection *http; /* to the web, else NULL */
	struct stream *stream;        /* after login, else NULL */
	msec active_at;
	uint32_t id;
	uint32_t to_session; /* bytes that we may send before the session gives credit */
	uint32_t to_client;  /* bytes that the session may send before we do */
	uint32_t owed;       /* credit not yet given back */
	uint16_t worker;
	uint8_t protocol; /* enum ipc_protocol */
	bool web;
	bool joined;   /* the session holds its end */
	bool line_end; /* the last byte to the client ended a line */
};

/* connection.c: counting, and the end. */
void member_connection_open(struct gate_listener *l, int fd, const struct sockaddr *peer);
void connection_free(struct connection *c);

/* challenge.c: ACME_CHALLENGE of the fetcher; answers it. */
void member_challenge(struct member_gate *g, struct channel *ch, const struct channel_message *m);

/* login.c: before login. Takes the descriptor. */
COHUE_MUST_USE enum err login_start(struct connection *c, uint16_t port, int fd,
				    const uint8_t address[GATE_ADDRESS_LEN]);
void login_shutdown(struct connection *c);
void login_free(struct connection *c);

/* pipe.c: after login. */

/* The stream becomes the pipe's. unread: what came behind the login already; it is wiped. */
void pipe_start(struct connection *c, struct stream *s, const uint8_t token[IPC_TOKEN], bool extended,
		struct buf *unread);
/* Frames from a session: ERR_FORMAT for what no honest one sends. */
COHUE_MUST_USE enum err pipe_data(struct member_gate *g, unsigned worker, const struct msg_conn_data *m);
/* Ends a response. What cannot be padded as it must be ends the connection. */
COHUE_MUST_USE enum err pipe_flush(struct member_gate *g, unsigned worker, const struct msg_conn_flush *m);
COHUE_MUST_USE enum err pipe_credit(struct member_gate *g, unsigned worker, const struct msg_conn_credit *m);
COHUE_MUST_USE enum err pipe_close(struct member_gate *g, unsigned worker, const struct msg_conn_close *m);
/* The worker has gone, and with it the other end of these. */
void pipe_worker_gone(struct member_gate *g, unsigned worker);
/* The service ends: closes the pipe if it is between two commands. */
void pipe_shutdown(struct connection *c);
/* Takes it out of the table; tells the session, if that does not know. */
void pipe_leave(struct connection *c);

#endif
