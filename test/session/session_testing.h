/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SESSION_TESTING_H
#define COHUE_SESSION_SESSION_TESTING_H

/*
 * A house of two roles in one loop: the real store's role on a database of its own (its driver may be changed to lie), the
 * real session role, and in the place of gate-member and opener the test itself, which types IMAP.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secret.h"
#include "crypto/crypto.h"
#include "loop/task.h"
#include "sealed/arrival.h"
#include "sealed/directory.h"
#include "session/conn.h"
#include "session/member.h"
#include "session/sending.h"
#include "session/session.h"
#include "session/worker.h"
#include "store/store.h"
#include "store/store_internal.h"

enum { TESTING_CONNS = 8, TESTING_OUTPUT_MAX = 256 << 20 };

struct testing_conn {
	struct buf output;
	size_t seen; /* octets that were credited */
	bool closed;
	bool greedy; /* gives no credit back */
	unsigned flushes;
	bool unended;   /* bytes came since the last of them */
	size_t ended;   /* output's length at the last of them */
	unsigned beats; /* of them, those that must be one record of 512 */
	unsigned window;
};

struct testing {
	struct bytes extra; /* of what arrives */
	struct loop *loop;
	struct role_host *session;
	struct role_host *store;
	struct channel *store_end;
	struct channel *gate;
	struct channel *opener;
	char home[64];
	struct member_keys keys;
	uint8_t account[SEALED_ID_LEN];
	uint8_t slots_hash[SEALED_HASH_LEN];
	uint32_t slots_revision;
	uint64_t quota;
	uint8_t last_blob[SEALED_ID_LEN]; /* of what arrived last */
	struct testing_conn conns[TESTING_CONNS];
	unsigned tag;
	enum err last_status;
	bool answered;
};

static inline void
testing_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct role_host *h = arg;
	h->def->message(h, ch, m);
}

static inline void
testing_closed(void *arg, struct channel *ch, bool fault)
{
	struct role_host *h = arg;
	assert_false(fault);
	for (unsigned p = 0; p < ROLE__COUNT; p++) {
		for (unsigned i = 0; i < ROLE_PEERS_MAX; i++) {
			if (h->peers[p][i] == ch) {
				h->peers[p][i] = NULL;
				if (h->def->peer_down != NULL) {
					h->def->peer_down(h, (enum role)p, i);
				}
			}
		}
	}
	channel_destroy(&ch);
}

static const struct channel_events testing_role_events = {.message = testing_message,
							  .closed = testing_closed};

static inline void
testing_gate_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct testing *t = arg;
	(void)ch;
	if (m->type == MSG_CONN_DATA) {
		struct msg_conn_data q;
		assert_int_equal(msg_conn_data_decode(m->payload, &q), ERR_OK);
		assert_true(q.conn < TESTING_CONNS);
		struct testing_conn *c = &t->conns[q.conn];
		assert_int_equal(buf_append(&c->output, q.data), ERR_OK);
		c->unended = true;
		assert_true(c->output.len - c->seen <= CONN_WINDOW);
		if (!c->greedy) {
			struct msg_conn_credit credit = {.conn = q.conn,
							 .count = (uint32_t)(c->output.len - c->seen)};
			assert_int_equal(channel_notice(t->gate, CONN_CREDIT, conn_credit, &credit), ERR_OK);
			c->seen = c->output.len;
		}
	} else if (m->type == MSG_CONN_FLUSH) {
		struct msg_conn_flush q;
		assert_int_equal(msg_conn_flush_decode(m->payload, &q), ERR_OK);
		assert_true(t->conns[q.conn].unended);
		struct testing_conn *c = &t->conns[q.conn];
		size_t response = c->output.len - c->ended;
		assert_true(q.pad == CONN_PAD_LADDER || (response > 0 && response <= CONN_BEAT_MAX));
		c->unended = false;
		c->ended = c->output.len;
		c->flushes++;
		c->beats += q.pad == CONN_PAD_BEAT ? 1 : 0;
	} else if (m->type == MSG_CONN_CLOSE) {
		struct msg_conn_close q;
		assert_int_equal(msg_conn_close_decode(m->payload, &q), ERR_OK);
		t->conns[q.conn].closed = true;
	}
}

static inline void
testing_gate_closed(void *arg, struct channel *ch, bool fault)
{
	(void)arg;
	(void)ch;
	(void)fault;
	fail();
}

static const struct channel_events testing_gate_events = {.message = testing_gate_message,
							  .closed = testing_gate_closed};

static inline void
testing_start(void *arg)
{
	struct testing *t = arg;
	assert_int_equal(store_role.start(t->store), ERR_OK);
	t->answered = true;
}

static inline struct channel *
testing_pair(struct testing *t, struct role_host *h, enum role self, enum role peer,
	     struct channel **ret_other, const struct channel_events *events, void *arg)
{
	int fds[2];
	struct channel *mine = NULL;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(channel_create(t->loop, fds[0], self, peer, 0, &testing_role_events, h, &mine),
			 ERR_OK);
	assert_int_equal(channel_create(t->loop, fds[1], peer, self, 0, events, arg, ret_other), ERR_OK);
	h->peers[peer][0] = mine;
	return mine;
}

/* How long a turn waits where nothing happens; 0: all that is needed comes from within. */
static msec testing_turn_ms = 2;

static inline void
testing_turns(struct testing *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(loop_run_once(t->loop, testing_turn_ms), ERR_OK);
	}
}

static inline void
testing_session_up(struct testing *t)
{
	struct sandbox_profile profile = {.allow = 0};
	t->session = calloc(1, sizeof(*t->session));
	assert_non_null(t->session);
	t->session->def = &session_role;
	t->session->loop = t->loop;
	config_defaults(&t->session->config);
	/* News at once, unless a test asks for the clock. */
	t->session->config.arrive.kind = LAW_NONE;
	assert_int_equal(session_role.prepare(t->session, &profile), ERR_OK);
	t->store_end = NULL;
	struct channel *end = testing_pair(t, t->session, ROLE_SESSION, ROLE_STORE, &t->store_end,
					   &testing_role_events, t->store);
	(void)end;
	t->store->peers[ROLE_SESSION][0] = t->store_end;
	(void)testing_pair(t, t->session, ROLE_SESSION, ROLE_GATE_MEMBER, &t->gate, &testing_gate_events, t);
	(void)testing_pair(t, t->session, ROLE_SESSION, ROLE_OPENER, &t->opener, &testing_gate_events, t);
	for (size_t i = 0; i < TESTING_CONNS; i++) {
		buf_init(&t->conns[i].output, TESTING_OUTPUT_MAX);
		t->conns[i].seen = 0;
		t->conns[i].closed = false;
		t->conns[i].greedy = false;
		t->conns[i].beats = 0;
		t->conns[i].ended = 0;
	}
}

static inline void
testing_up(struct testing *t)
{
	struct sandbox_profile profile = {.allow = 0};
	memset(t, 0, sizeof(*t));
	assert_int_equal(loop_create(&t->loop), ERR_OK);
	(void)snprintf(t->home, sizeof(t->home), "/tmp/cohue-session-XXXXXX");
	assert_non_null(mkdtemp(t->home));
	t->store = calloc(1, sizeof(*t->store));
	assert_non_null(t->store);
	t->store->def = &store_role;
	config_defaults(&t->store->config);
	t->store->config.session_workers = 1;
	t->store->loop = t->loop;
	memcpy(t->store->home, t->home, sizeof(t->home));
	assert_int_equal(store_role.prepare(t->store, &profile), ERR_OK);
	struct store *s = t->store->state;
	assert_int_equal(storage_memory_create(&s->storage), ERR_OK);
	s->driver = s->storage->driver;
	(void)rmdir(t->home);
	uint8_t pub[32];
	uint8_t sec[32];
	member_keys_init(&t->keys);
	box_pair(pub, sec);
	assert_int_equal(member_keys_add(&t->keys, 1, pub, sec), ERR_OK);
	crypto_random_bytes(t->account, sizeof(t->account));
	crypto_random_bytes(t->slots_hash, sizeof(t->slots_hash));
	assert_int_equal(s->driver->begin(s->storage), ERR_OK);
	assert_int_equal(s->driver->account_create(s->storage, t->account), ERR_OK);
	assert_int_equal(s->driver->commit(s->storage), ERR_OK);
	testing_session_up(t);
}

/* The worker ends, as by a crash; the store goes on. */
static inline void
testing_session_down(struct testing *t)
{
	struct worker *w = t->session->state;
	for (size_t i = 0; i < TESTING_CONNS; i++) {
		struct msg_conn_close m = {.conn = (uint32_t)i};
		assert_int_equal(channel_notice(t->gate, CONN_CLOSE, conn_close, &m), ERR_OK);
		buf_clear(&t->conns[i].output);
	}
	testing_turns(t, 50);
	assert_int_equal(w->conn_count, 0);
	for (unsigned i = 0; i < 200 && task_count(t->loop) > 0; i++) {
		testing_turns(t, 1);
	}
	assert_int_equal(task_count(t->loop), 0);
	for (size_t i = 0; i < WORKER_BUCKETS; i++) {
		for (struct member *m = w->members[i]; m != NULL; m = m->next) {
			/* A crash leaves no snapshot. */
			m->keep_after = INT64_MAX;
			if (m->refs == 0) {
				m->idle_since = -MSEC_HOUR;
			}
		}
		while (w->known[i] != NULL) {
			struct known_head *k = w->known[i];
			w->known[i] = k->next;
			free(k);
		}
	}
	while (w->tokens != NULL) {
		struct token *token = w->tokens;
		w->tokens = token->next;
		member_unref(&token->member);
		free(token);
	}
	sending_clear(w);
	member_upkeep(w);
	assert_int_equal(w->member_count, 0);
	timer_stop(&w->upkeep);
	timer_stop(&w->beat);
	channel_destroy(&t->session->peers[ROLE_STORE][0]);
	channel_destroy(&t->session->peers[ROLE_GATE_MEMBER][0]);
	channel_destroy(&t->session->peers[ROLE_OPENER][0]);
	t->store->peers[ROLE_SESSION][0] = NULL;
	channel_destroy(&t->store_end);
	channel_destroy(&t->gate);
	channel_destroy(&t->opener);
	blob_codec_destroy(&w->codec);
	free(w);
	free(t->session);
}

static inline void
testing_down(struct testing *t)
{
	testing_session_down(t);
	struct store *s = t->store->state;
	timer_stop(&s->lazy);
	timer_stop(&s->upkeep);
	defer_stop(&s->turn_end);
	s->storage->driver->destroy(&s->storage);
	unclaimed_clear(&s->pending);
	free(s->changed);
	free(s);
	free(t->store);
	member_keys_clear(&t->keys);
	loop_destroy(&t->loop);
}

static inline void
testing_reply(void *arg, enum err status, struct bytes payload)
{
	struct testing *t = arg;
	(void)payload;
	t->last_status = status;
	t->answered = true;
}

/* What the opener says; its answer in t->last_status. */
static inline void
testing_say_open(struct testing *t, uint8_t token[IPC_TOKEN], bool commit)
{
	struct buf keys = BUF_INIT(65536);
	struct buf sealed = BUF_INIT(65536);
	struct buf plain = BUF_INIT(65536);
	struct directory_account a;
	struct msg_member_open q;
	enum directory_kind kind;
	static const uint8_t zero[SEALED_KEY_LEN];
	memset(&a, 0, sizeof(a));
	memset(&q, 0, sizeof(q));
	memcpy(a.id, t->account, sizeof(a.id));
	a.status = ACCOUNT_ACTIVE;
	a.name = BYTES_LIT("alice");
	a.generation = (uint32_t)t->keys.count;
	a.quota = t->quota;
	memcpy(a.public_key, member_keys_newest(&t->keys)->public_key, sizeof(a.public_key));
	assert_int_equal(directory_account_seal(&a, zero, zero, &sealed), ERR_OK);
	assert_int_equal(directory_unseal(zero, zero, buf_bytes(&sealed), &plain, &kind), ERR_OK);
	assert_int_equal(member_keys_encode(&t->keys, &keys), ERR_OK);
	crypto_random_bytes(token, IPC_TOKEN);
	memcpy(q.token, token, sizeof(q.token));
	memcpy(q.account, t->account, sizeof(q.account));
	memcpy(q.slots_hash, t->slots_hash, sizeof(q.slots_hash));
	q.slots_revision = t->slots_revision;
	q.commit = commit ? 1 : 0;
	q.keys = buf_bytes(&keys);
	q.profile = buf_bytes(&plain);
	t->answered = false;
	assert_int_equal(channel_request(t->opener, MEMBER_OPEN, member_open, &q, 0, testing_reply, t),
			 ERR_OK);
	for (unsigned i = 0; i < 100 && !t->answered; i++) {
		testing_turns(t, 1);
	}
	assert_true(t->answered);
	buf_clear(&keys);
	buf_clear(&sealed);
	buf_clear(&plain);
}

/* Logs in: what opener and gate say. */
static inline void
testing_open(struct testing *t, uint32_t conn, uint8_t protocol)
{
	struct msg_conn_open o = {.conn = conn, .protocol = protocol, .extended = 1};
	testing_say_open(t, o.token, false);
	assert_int_equal(t->last_status, ERR_OK);
	buf_reset(&t->conns[conn].output);
	t->conns[conn].seen = 0;
	t->conns[conn].closed = false;
	assert_int_equal(channel_notice(t->gate, CONN_OPEN, conn_open, &o), ERR_OK);
	testing_turns(t, 3);
}

static inline void
testing_send(struct testing *t, uint32_t conn, struct bytes data)
{
	while (data.len > 0) {
		struct msg_conn_data m = {.conn = conn, .data = bytes_slice(data, 0, 32768)};
		assert_int_equal(channel_notice(t->gate, CONN_DATA, conn_data, &m), ERR_OK);
		data = bytes_from(data, m.data.len);
		testing_turns(t, data.len > 0 ? 2 : 0);
	}
}

/* Whether `text` stands in what the connection was told since the last command. */
static inline bool
testing_told(const struct testing *t, uint32_t conn, const char *text)
{
	return bytes_search(buf_bytes(&t->conns[conn].output), bytes_str(text)) >= 0;
}

static inline void
testing_forget(struct testing *t, uint32_t conn)
{
	struct testing_conn *c = &t->conns[conn];
	buf_reset(&c->output);
	c->seen = 0;
	c->ended = 0;
}

/* All that was told since then, as text; until the next call. */
static inline const char *
testing_output(const struct testing *t, uint32_t conn)
{
	static char text[4096];
	struct bytes told = buf_bytes(&t->conns[conn].output);
	assert_true(told.len < sizeof(text));
	if (told.len > 0) {
		memcpy(text, told.ptr, told.len);
	}
	text[told.len] = '\0';
	return text;
}

/* Sends a command (without tag and line end) and waits for its tagged answer, which begins with `status`. */
static inline void
testing_type(struct testing *t, uint32_t conn, const char *command, const char *status)
{
	char line[16384];
	char tag[32];
	t->tag++;
	testing_forget(t, conn);
	int n = snprintf(line, sizeof(line), "t%u %s\r\n", t->tag, command);
	assert_true(n > 0 && (size_t)n < sizeof(line));
	(void)snprintf(tag, sizeof(tag), "t%u ", t->tag);
	testing_send(t, conn, bytes_of(line, (size_t)n));
	(void)snprintf(line, sizeof(line), "t%u %s", t->tag, status);
	for (unsigned i = 0; i < 20000; i++) {
		struct bytes out = buf_bytes(&t->conns[conn].output);
		ptrdiff_t at = bytes_starts_with(out, tag) ? 0 : -1;
		if (at < 0) {
			char inner[40];
			(void)snprintf(inner, sizeof(inner), "\r\n%s", tag);
			struct bytes tail = out.len > 4096 ? bytes_from(out, out.len - 4096) : out;
			at = bytes_search(tail, bytes_str(inner));
			at = at < 0 ? at : at + 2 + (ptrdiff_t)(out.len - tail.len);
		}
		if (at >= 0 && out.ptr[out.len - 1] == '\n') {
			if (!bytes_starts_with(bytes_from(out, (size_t)at), line)) {
				print_message("%s -> %.*s\n", command, (int)(out.len - (size_t)at),
					      (const char *)out.ptr + at);
				fail();
			}
			return;
		}
		if (t->conns[conn].closed) {
			break;
		}
		testing_turns(t, 1);
	}
	print_message("%s: no answer: %.*s\n", command, (int)t->conns[conn].output.len,
		      (const char *)t->conns[conn].output.ptr);
	fail();
}

/* APPEND with a non-synchronizing literal. */
static inline void
testing_append(struct testing *t, uint32_t conn, const char *mailbox, const char *message, const char *status)
{
	static char command[16000];
	int n =
	    snprintf(command, sizeof(command), "APPEND %s {%zu+}\r\n%s", mailbox, strlen(message), message);
	assert_true(n > 0 && (size_t)n < sizeof(command));
	testing_type(t, conn, command, status);
}

/* A message arrives: sealed by a gate, put into the log by the store, and told to the worker. */
struct testing_chunks {
	struct store *store;
	const uint8_t *name;
};

static inline enum err
testing_chunk(void *arg, uint32_t index, struct bytes chunk)
{
	struct testing_chunks *c = arg;
	return c->store->driver->blob_put(c->store->storage, c->name, index, chunk);
}

static inline void
testing_arrive_sealed(struct testing *t, struct bytes body, const uint8_t *blob)
{
	struct store *s = t->store->state;
	struct storage_head head;
	uint8_t unit[UNIT_ID_LEN];
	struct bytes parts[1] = {body};
	crypto_random_bytes(unit, sizeof(unit));
	assert_int_equal(s->driver->spool_put(s->storage, unit, BYTES_LIT("state"), parts, 1,
					      (const uint8_t(*)[BLOB_NAME_LEN])(uintptr_t)blob,
					      blob == NULL ? 0 : 1, NULL, NULL, NULL, 0),
			 ERR_OK);
	assert_int_equal(s->driver->spool_release(s->storage, unit, 0, t->account, &head), ERR_OK);
	assert_int_equal(store_note_change(s, t->account, head.n), ERR_OK);
}

#include "mail/summary.h"

/* Nobody has been told yet. */
static inline void
testing_arrive_silently(struct testing *t, const char *message, const uint8_t delivery[SEALED_ID_LEN])
{
	struct store *s = t->store->state;
	struct worker *w = t->session->state;
	struct arena arena;
	struct mail_structure structure;
	struct arrival a;
	struct buf summary = BUF_INIT(MAIL_SUMMARY_MAX);
	struct buf body = BUF_INIT(ARRIVAL_SEALED_MAX);
	memset(&a, 0, sizeof(a));
	arena_init(&arena, MAIL_PARSE_MEMORY);
	assert_int_equal(mail_parse(&arena, bytes_str(message), &structure), ERR_OK);
	assert_int_equal(mail_summary_encode(&structure, &summary), ERR_OK);
	arena_clear(&arena);
	if (delivery != NULL) {
		memcpy(a.delivery, delivery, sizeof(a.delivery));
	} else {
		crypto_random_bytes(a.delivery, sizeof(a.delivery));
	}
	a.received = 1700000000;
	a.sender = BYTES_LIT("bob@example.net");
	a.recipient = BYTES_LIT("alice@example.org");
	a.summary = buf_bytes(&summary);
	a.extra = t->extra;
	blob_ref_init(&a.blob);
	struct testing_chunks chunks = {.store = s, .name = a.blob.name};
	assert_int_equal(s->driver->begin(s->storage), ERR_OK);
	assert_int_equal(blob_seal(w->codec, &a.blob, bytes_str(message), testing_chunk, &chunks), ERR_OK);
	const struct member_key *key = member_keys_newest(&t->keys);
	assert_int_equal(arrival_seal(t->account, key->generation, key->public_key, &a, &body), ERR_OK);
	memcpy(t->last_blob, a.blob.name, sizeof(t->last_blob));
	testing_arrive_sealed(t, buf_bytes(&body), a.blob.name);
	assert_int_equal(s->driver->commit(s->storage), ERR_OK);
	defer_start(t->loop, &s->turn_end);
	buf_clear(&summary);
	buf_clear(&body);
}

static inline void
testing_arrive(struct testing *t, const char *message, const uint8_t delivery[SEALED_ID_LEN])
{
	testing_arrive_silently(t, message, delivery);
	testing_turns(t, 20);
}

static inline int
testing_setup(void **state)
{
	(void)state;
	return crypto_init() == ERR_OK && secret_pool_init(SECRET_POOL_BYTES) == ERR_OK ? 0 : -1;
}

#endif
