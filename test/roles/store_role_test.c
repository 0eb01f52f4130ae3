/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The store as a process of its own, in its sandbox, spoken to as its peers speak to it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "roles/mail.h"

static const char *binary;

struct scene {
	struct rolehost host;
	struct fake *mixer;
	struct fake *session;
	struct fake *opener;
	bool mounted;
	char home[64];
};

static void
open_scene(struct scene *s, bool small_disk)
{
	memset(s, 0, sizeof(*s));
	(void)snprintf(s->home, sizeof(s->home), "/tmp/cohue-store-XXXXXX");
	assert_non_null(mkdtemp(s->home));
	if (small_disk) {
		/* In a mount namespace of this process's own: nothing stays mounted, however it ends. */
		s->mounted = unshare(CLONE_NEWNS) == 0 &&
			     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			     mount("tmpfs", s->home, "tmpfs", 0, "size=6m") == 0;
		if (!s->mounted) {
			(void)rmdir(s->home);
			skip();
		}
	}
	rolehost_init(&s->host, binary, s->home);
	s->mixer = rolehost_fake(&s->host, ROLE_MIXER, 0, ROLE_STORE);
	s->session = rolehost_fake(&s->host, ROLE_SESSION, 0, ROLE_STORE);
	s->opener = rolehost_fake(&s->host, ROLE_OPENER, 0, ROLE_STORE);
	assert_true(rolehost_start(&s->host, ROLE_STORE));
	know_accounts(s->opener);
}

static void
close_scene(struct scene *s)
{
	static const char *const files[] = {"store/cohue.db", "store/cohue.db-wal", "store/cohue.db-shm",
					    "store/lock", "filler"};
	char path[128];
	rolehost_clear(&s->host);
	if (s->mounted) {
		(void)umount(s->home);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", s->home, files[i]);
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/store", s->home);
	(void)rmdir(path);
	(void)rmdir(s->home);
}

static void
restart(struct scene *s)
{
	rolehost_kill(&s->host, ROLE_STORE);
	assert_true(rolehost_start(&s->host, ROLE_STORE));
}

static enum err
meta_put(struct scene *s, const char *name, const char *value)
{
	struct msg_meta_put m = {.name = bytes_str(name), .value = bytes_str(value)};
	struct answer a;
	answer_init(&a);
	enum err e = fake_ask(s->opener, META_PUT, meta_put, &m, &a);
	answer_clear(&a);
	return e;
}

static enum err
meta_get(struct scene *s, const char *name)
{
	struct msg_meta_get m = {.name = bytes_str(name)};
	struct answer a;
	answer_init(&a);
	enum err e = fake_ask(s->opener, META_GET, meta_get, &m, &a);
	answer_clear(&a);
	return e;
}

static enum err
spool_put_as(struct scene *s, unsigned unit, const char *body, struct bytes claims, struct bytes charges)
{
	struct msg_spool_put m = {.state = BYTES_LIT("state"), .claims = claims, .charges = charges};
	struct buf parts = BUF_INIT(4096);
	struct wire_writer w;
	struct answer a;
	wire_writer_init(&w, &parts);
	wire_put_bytes(&w, bytes_str(body));
	assert_int_equal(wire_done(&w), ERR_OK);
	m.parts = buf_bytes(&parts);
	name_of(m.unit, 'u', unit);
	answer_init(&a);
	enum err e = fake_ask(s->mixer, SPOOL_PUT, spool_put, &m, &a);
	answer_clear(&a);
	buf_clear(&parts);
	return e;
}

static enum err
batch(struct scene *s, const struct buf *ops)
{
	struct msg_spool_batch m = {.ops = buf_bytes(ops)};
	struct answer a;
	answer_init(&a);
	enum err e = fake_ask(s->mixer, SPOOL_BATCH, spool_batch, &m, &a);
	answer_clear(&a);
	return e;
}

static void
op_release(struct buf *ops, unsigned unit, uint32_t part, unsigned account)
{
	struct wire_writer w;
	uint8_t name[16];
	wire_writer_init(&w, ops);
	wire_put_u8(&w, SPOOL_OP_RELEASE);
	name_of(name, 'u', unit);
	wire_put_fixed(&w, name, 16);
	wire_put_u32(&w, part);
	name_of(name, 'a', account);
	wire_put_fixed(&w, name, 16);
	name_of(name, 'b', unit);
	wire_put_fixed(&w, name, 16);
	assert_int_equal(wire_done(&w), ERR_OK);
}

static void
op_state(struct buf *ops, unsigned unit)
{
	struct wire_writer w;
	uint8_t name[16];
	wire_writer_init(&w, ops);
	wire_put_u8(&w, SPOOL_OP_STATE);
	name_of(name, 'u', unit);
	wire_put_fixed(&w, name, 16);
	wire_put_bytes(&w, BYTES_LIT("new state"));
	assert_int_equal(wire_done(&w), ERR_OK);
}

static void
what_comes_together_is_committed_together(void **state)
{
	(void)state;
	enum { N = 200 };
	static struct answer answers[N];
	struct scene s;
	open_scene(&s, false);
	unsigned long long before = rolehost_figure(&s.host, ROLE_STORE, "commits");
	for (unsigned i = 0; i < N; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "value-%u", i);
		struct msg_meta_put m = {.name = bytes_str(name), .value = BYTES_LIT("x")};
		answer_init(&answers[i]);
		assert_int_equal(channel_request((i % 2 == 0 ? s.opener : s.mixer)->ch, META_PUT, meta_put,
						 &m, 0, answer_take, &answers[i]),
				 ERR_OK);
	}
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(answer_wait(&s.host, &answers[i]), ERR_OK);
		answer_clear(&answers[i]);
	}
	unsigned long long commits = rolehost_figure(&s.host, ROLE_STORE, "commits") - before;
	print_message("%d writes, %llu commits\n", N, commits);
	assert_true(commits <= N / 10);
	/* And each is a promise. */
	restart(&s);
	for (unsigned i = 0; i < N; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "value-%u", i);
		assert_int_equal(meta_get(&s, name), ERR_OK);
	}
	close_scene(&s);
}

static void
only_a_whole_blob_can_be_claimed_and_only_once(void **state)
{
	(void)state;
	struct scene s;
	uint8_t blob[16];
	uint8_t other[16];
	struct answer a;
	open_scene(&s, false);
	name_of(blob, 'b', 1);
	name_of(other, 'b', 2);
	answer_init(&a);
	assert_int_equal(spool_put_as(&s, 1, "body", bytes_of(blob, 16), BYTES_EMPTY), ERR_CONFLICT);
	assert_int_equal(put_blob(s.mixer, blob, BYTES_LIT("data")), ERR_OK);
	/* A chunk out of turn is refused. */
	struct msg_blob_put m = {.chunk = 2, .data = BYTES_LIT("x")};
	memcpy(m.blob, blob, 16);
	assert_int_equal(fake_ask(s.mixer, BLOB_PUT, blob_put, &m, &a), ERR_CONFLICT);
	memcpy(m.blob, other, 16);
	assert_int_equal(fake_ask(s.mixer, BLOB_PUT, blob_put, &m, &a), ERR_CONFLICT);
	assert_int_equal(spool_put_as(&s, 1, "body", bytes_of(blob, 16), BYTES_EMPTY), ERR_OK);
	assert_int_equal(spool_put_as(&s, 2, "body", bytes_of(blob, 16), BYTES_EMPTY), ERR_CONFLICT);
	assert_int_equal(put_blob(s.mixer, blob, BYTES_LIT("over")), ERR_EXISTS);
	assert_int_equal(blob_is(s.session, blob, BYTES_LIT("data")), ERR_OK);
	/* Begun before a restart: what comes behind it does not fit any more, and the beginning is gone. */
	assert_int_equal(put_blob(s.mixer, other, BYTES_LIT("begin")), ERR_OK);
	rolehost_run(&s.host, 120); /* past the lazy commit */
	restart(&s);
	m.chunk = 1;
	assert_int_equal(fake_ask(s.mixer, BLOB_PUT, blob_put, &m, &a), ERR_CONFLICT);
	assert_int_equal(spool_put_as(&s, 3, "body", bytes_of(other, 16), BYTES_EMPTY), ERR_CONFLICT);
	assert_int_equal(blob_is(s.session, other, BYTES_LIT("begin")), ERR_NOT_FOUND);
	assert_int_equal(blob_is(s.session, blob, BYTES_LIT("data")), ERR_OK);
	answer_clear(&a);
	close_scene(&s);
}

static void
first_chunks_come_together_in_order_as_far_as_they_fit(void **state)
{
	(void)state;
	enum { LARGE = 60000, COUNT = 24, FIT = 17 };
	static uint8_t data[LARGE];
	static uint8_t names[(BLOB_GET_MANY_MAX + 1) * 16];
	struct scene s;
	struct answer a;
	struct msg_blob_get_many_reply r;
	struct wire_reader chunks;
	open_scene(&s, false);
	for (unsigned i = 0; i < COUNT; i++) {
		name_of(names + (size_t)i * 16, 'b', i);
		memset(data, (int)i, sizeof(data));
		/* The second is not there. */
		if (i != 1) {
			assert_int_equal(
			    put_blob(s.mixer, names + (size_t)i * 16, bytes_of(data, i < 3 ? 3 : LARGE)),
			    ERR_OK);
		}
	}
	answer_init(&a);
	struct msg_blob_get_many q = {.names = bytes_of(names, (size_t)COUNT * 16)};
	assert_int_equal(fake_ask(s.session, BLOB_GET_MANY, blob_get_many, &q, &a), ERR_OK);
	assert_int_equal(msg_blob_get_many_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	wire_reader_init(&chunks, r.chunks);
	unsigned count = 0;
	for (; chunks.rest.len > 0; count++) {
		assert_int_equal(wire_get_u8(&chunks), count != 1);
		struct bytes chunk = wire_get_bytes(&chunks, LARGE);
		assert_int_equal(chunk.len, count == 1 ? 0 : count < 3 ? 3 : LARGE);
		assert_true(chunk.len == 0 || (chunk.ptr[0] == count && chunk.ptr[chunk.len - 1] == count));
	}
	assert_int_equal(wire_end(&chunks), ERR_OK);
	assert_int_equal(count, 3 + FIT);
	answer_clear(&a);
	answer_init(&a);
	q.names = bytes_of(names, sizeof(names));
	assert_int_equal(fake_ask(s.session, BLOB_GET_MANY, blob_get_many, &q, &a), ERR_CLOSED);
	answer_clear(&a);
	close_scene(&s);
}

static void
a_batch_is_carried_out_whole_or_not_at_all(void **state)
{
	(void)state;
	struct scene s;
	struct buf ops = BUF_INIT(4096);
	open_scene(&s, false);
	assert_int_equal(spool_put_as(&s, 1, "first", BYTES_EMPTY, BYTES_EMPTY), ERR_OK);
	/* The second step has nothing to change: the first is undone, and the reason told. */
	op_release(&ops, 1, 0, 7);
	op_state(&ops, 99);
	assert_int_equal(batch(&s, &ops), ERR_NOT_FOUND);
	assert_true(log_length(s.session, 7) == 0);
	assert_int_equal(spool_count(s.mixer), 1);
	/* Alone it is done, once. */
	buf_reset(&ops);
	op_release(&ops, 1, 0, 7);
	op_release(&ops, 1, 0, 7);
	assert_int_equal(batch(&s, &ops), ERR_OK);
	assert_int_equal(batch(&s, &ops), ERR_OK);
	assert_int_equal(log_count(s.session, 7, BYTES_LIT("first")), 1);
	/* The worker was told once. */
	rolehost_run(&s.host, 50);
	assert_int_equal(s.session->inbox_count, 1);
	assert_int_equal(s.session->inbox[0].type, MSG_LOG_CHANGED);
	buf_clear(&ops);
	close_scene(&s);
}

static void
a_malformed_batch_is_undone_and_its_sender_ended(void **state)
{
	(void)state;
	struct scene s;
	struct buf ops = BUF_INIT(4096);
	struct answer other;
	open_scene(&s, false);
	assert_int_equal(spool_put_as(&s, 1, "first", BYTES_EMPTY, BYTES_EMPTY), ERR_OK);
	op_release(&ops, 1, 0, 7);
	assert_int_equal(buf_append_byte(&ops, 77), ERR_OK);
	/* What another peer writes in the same turn is done, or told to come again: never lost in silence. */
	struct msg_meta_put m = {.name = BYTES_LIT("beside"), .value = BYTES_LIT("x")};
	answer_init(&other);
	assert_int_equal(channel_request(s.opener->ch, META_PUT, meta_put, &m, 0, answer_take, &other),
			 ERR_OK);
	assert_int_equal(batch(&s, &ops), ERR_CLOSED);
	enum err e = answer_wait(&s.host, &other);
	assert_true(e == ERR_OK || e == ERR_AGAIN);
	assert_int_equal(meta_get(&s, "beside"), e == ERR_OK ? ERR_OK : ERR_NOT_FOUND);
	assert_null(s.mixer->ch);
	rolehost_run(&s.host, 50);
	/* The accusation leaves after the channel has closed. */
	for (int i = 0; i < 200 && s.host.children[ROLE_STORE].peer_faults == 0; i++) {
		rolehost_run(&s.host, 10);
	}
	assert_int_equal(s.host.children[ROLE_STORE].peer_faults, 1);
	assert_true(log_length(s.session, 7) == 0);
	restart(&s);
	assert_int_equal(spool_count(s.mixer), 1);
	answer_clear(&other);
	buf_clear(&ops);
	close_scene(&s);
}

static void
a_long_walk_comes_in_pages_without_gap_or_repetition(void **state)
{
	(void)state;
	enum { N = 60 };
	static char big[60000];
	struct scene s;
	open_scene(&s, false);
	memset(big, 's', sizeof(big));
	for (unsigned i = 0; i < N; i++) {
		struct msg_spool_put m = {.state = bytes_of(big, sizeof(big))};
		struct answer a;
		name_of(m.unit, 'u', i);
		answer_init(&a);
		assert_int_equal(fake_ask(s.mixer, SPOOL_PUT, spool_put, &m, &a), ERR_OK);
		answer_clear(&a);
	}
	assert_int_equal(spool_count(s.mixer), N);
	close_scene(&s);
}

static void
the_quota_is_charged_at_entry_and_kept(void **state)
{
	(void)state;
	struct scene s;
	struct buf charges = BUF_INIT(256);
	struct wire_writer w;
	uint8_t account[16];
	open_scene(&s, false);
	name_of(account, 'a', 5);
	wire_writer_init(&w, &charges);
	wire_put_fixed(&w, account, 16);
	wire_put_u64(&w, 60);
	wire_put_u64(&w, 100);
	assert_int_equal(wire_done(&w), ERR_OK);
	assert_int_equal(spool_put_as(&s, 1, "x", BYTES_EMPTY, buf_bytes(&charges)), ERR_OK);
	assert_int_equal(spool_put_as(&s, 2, "x", BYTES_EMPTY, buf_bytes(&charges)), ERR_QUOTA);
	assert_true(log_used(s.session, 5) == 60);
	assert_int_equal(spool_count(s.mixer), 1);
	restart(&s);
	assert_int_equal(spool_put_as(&s, 2, "x", BYTES_EMPTY, buf_bytes(&charges)), ERR_QUOTA);
	buf_clear(&charges);
	close_scene(&s);
}

/* The status of a LOG_APPEND of one record to a new log. */
static enum err
append(struct fake *session, const uint8_t account[16])
{
	struct msg_log_append m = {.used_delta = 0};
	struct buf bodies = BUF_INIT(64);
	struct wire_writer w;
	struct answer a;
	memcpy(m.account, account, 16);
	wire_writer_init(&w, &bodies);
	wire_put_bytes(&w, BYTES_LIT("garbage"));
	assert_int_equal(wire_done(&w), ERR_OK);
	m.bodies = buf_bytes(&bodies);
	answer_init(&a);
	enum err e = fake_ask(session, LOG_APPEND, log_append, &m, &a);
	answer_clear(&a);
	buf_clear(&bodies);
	return e;
}

static enum err
delete_record(struct fake *session, const uint8_t account[16])
{
	static const uint8_t first[8] = {0, 0, 0, 0, 0, 0, 0, 1};
	struct msg_log_delete m = {.ns = bytes_of(first, sizeof(first))};
	struct answer a;
	memcpy(m.account, account, 16);
	answer_init(&a);
	enum err e = fake_ask(session, LOG_DELETE, log_delete, &m, &a);
	answer_clear(&a);
	return e;
}

static enum err
snapshot_get(struct fake *session, const uint8_t account[16])
{
	struct msg_snapshot_get m = {.below = 0};
	struct answer a;
	memcpy(m.account, account, 16);
	answer_init(&a);
	enum err e = fake_ask(session, SNAPSHOT_GET, snapshot_get, &m, &a);
	answer_clear(&a);
	return e;
}

static void
a_session_reaches_the_logs_of_its_own_members_only(void **state)
{
	(void)state;
	struct scene s;
	uint8_t mine[16] = {4};
	uint8_t others[16] = {5};
	open_scene(&s, false);
	s.host.config.session_workers = 2;
	restart(&s);
	assert_int_equal(know_account(s.opener, mine), ERR_OK);
	assert_int_equal(know_account(s.opener, others), ERR_OK);
	assert_int_equal(append(s.session, mine), ERR_OK);
	assert_int_equal(snapshot_get(s.session, mine), ERR_NOT_FOUND);
	assert_int_equal(append(s.session, others), ERR_CLOSED);
	restart(&s);
	assert_int_equal(snapshot_get(s.session, others), ERR_CLOSED);
	restart(&s);
	assert_int_equal(delete_record(s.session, others), ERR_CLOSED);
	restart(&s);
	assert_int_equal(delete_record(s.session, mine), ERR_OK);
	close_scene(&s);
}

static enum err
delete_account(struct scene *s, unsigned account)
{
	struct msg_account_delete m;
	struct answer a;
	name_of(m.account, 'a', account);
	answer_init(&a);
	enum err e = fake_ask(s->opener, ACCOUNT_DELETE, account_delete, &m, &a);
	answer_clear(&a);
	return e;
}

static enum err
delete_blobs(struct scene *s, struct bytes names)
{
	struct msg_blobs_delete m = {.names = names};
	struct answer a;
	answer_init(&a);
	enum err e = fake_ask(s->opener, BLOBS_DELETE, blobs_delete, &m, &a);
	answer_clear(&a);
	return e;
}

static void
what_comes_late_for_a_removed_member_brings_nothing_back(void **state)
{
	(void)state;
	struct scene s;
	struct buf charges = BUF_INIT(256);
	struct buf ops = BUF_INIT(4096);
	struct wire_writer w;
	uint8_t account[16];
	uint8_t blob[16];
	open_scene(&s, false);
	name_of(account, 'a', 7);
	wire_writer_init(&w, &charges);
	wire_put_fixed(&w, account, 16);
	wire_put_u64(&w, 60);
	wire_put_u64(&w, 0);
	assert_int_equal(wire_done(&w), ERR_OK);
	/* Waits already, with its blob, when she is removed. */
	name_of(blob, 'b', 1);
	assert_int_equal(put_blob(s.mixer, blob, BYTES_LIT("a body")), ERR_OK);
	assert_int_equal(spool_put_as(&s, 1, "x", bytes_of(blob, 16), buf_bytes(&charges)), ERR_OK);
	assert_int_equal(append(s.session, account), ERR_OK);
	assert_int_equal(delete_account(&s, 7), ERR_OK);
	for (int round = 0; round < 2; round++) {
		/* A session that ends, a gate that had looked her up. */
		assert_int_equal(append(s.session, account), ERR_NOT_FOUND);
		assert_int_equal(spool_put_as(&s, 2, "x", BYTES_EMPTY, buf_bytes(&charges)), ERR_NOT_FOUND);
		restart(&s);
	}
	assert_int_equal(spool_count(s.mixer), 1);
	assert_int_equal(blob_is(s.session, blob, BYTES_LIT("a body")), ERR_OK);
	op_release(&ops, 1, 0, 7);
	assert_int_equal(batch(&s, &ops), ERR_OK);
	assert_true(log_length(s.session, 7) == 0);
	assert_int_equal(blob_is(s.session, blob, BYTES_LIT("a body")), ERR_NOT_FOUND);
	buf_reset(&ops);
	op_release(&ops, 1, 0, 7);
	assert_int_equal(batch(&s, &ops), ERR_OK);
	assert_int_equal(append(s.session, account), ERR_NOT_FOUND);
	/* The others are as they were. */
	name_of(account, 'a', 8);
	assert_int_equal(append(s.session, account), ERR_OK);
	buf_clear(&ops);
	buf_clear(&charges);
	close_scene(&s);
}

static void
blobs_are_listed_in_pages_and_deleted_by_name(void **state)
{
	(void)state;
	enum { COUNT = 40 };
	struct scene s;
	struct buf names = BUF_INIT(COUNT * 16);
	struct msg_blob_names q = {.unused_ = 0};
	struct msg_blob_names_reply r;
	struct answer a;
	uint8_t blob[16];
	static uint8_t data[65536];
	open_scene(&s, false);
	for (unsigned i = 0; i < COUNT; i++) {
		struct msg_blob_put m = {.data = bytes_of(data, i % 2 == 0 ? 100 : sizeof(data))};
		name_of(m.blob, 'b', i);
		for (m.chunk = 0; m.chunk < 1 + i % 3; m.chunk++) {
			answer_init(&a);
			assert_int_equal(fake_ask(s.mixer, BLOB_PUT, blob_put, &m, &a), ERR_OK);
			answer_clear(&a);
		}
		assert_int_equal(spool_put_as(&s, i, "x", bytes_of(m.blob, 16), BYTES_EMPTY), ERR_OK);
	}
	answer_init(&a);
	assert_int_equal(fake_ask(s.opener, BLOB_NAMES, blob_names, &q, &a), ERR_OK);
	assert_int_equal(msg_blob_names_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	assert_int_equal(r.more, 0);
	assert_int_equal(r.names.len, COUNT * 16);
	assert_int_equal(buf_append(&names, r.names), ERR_OK);
	answer_clear(&a);
	/* From each one on, all that stand behind it. */
	for (size_t i = 0; i < COUNT; i++) {
		memcpy(q.after, names.ptr + i * 16, 16);
		answer_init(&a);
		assert_int_equal(fake_ask(s.opener, BLOB_NAMES, blob_names, &q, &a), ERR_OK);
		assert_int_equal(msg_blob_names_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
		assert_true(bytes_equal(r.names, bytes_from(buf_bytes(&names), (i + 1) * 16)));
		answer_clear(&a);
	}
	/* Some of them, one twice, one that is not there. */
	struct buf some = BUF_INIT(1024);
	assert_int_equal(buf_append(&some, bytes_slice(buf_bytes(&names), 0, 64)), ERR_OK);
	assert_int_equal(buf_append(&some, bytes_slice(buf_bytes(&names), 0, 16)), ERR_OK);
	name_of(blob, 'z', 1);
	assert_int_equal(buf_append(&some, bytes_of(blob, 16)), ERR_OK);
	assert_int_equal(delete_blobs(&s, buf_bytes(&some)), ERR_OK);
	memset(q.after, 0, sizeof(q.after));
	answer_init(&a);
	assert_int_equal(fake_ask(s.opener, BLOB_NAMES, blob_names, &q, &a), ERR_OK);
	assert_int_equal(msg_blob_names_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	assert_true(bytes_equal(r.names, bytes_from(buf_bytes(&names), 64)));
	answer_clear(&a);
	buf_clear(&some);
	buf_clear(&names);
	close_scene(&s);
}

static void
a_full_disk_refuses_keeps_what_it_has_and_recovers(void **state)
{
	(void)state;
	static uint8_t chunk[65536];
	struct scene s;
	uint8_t blob[16];
	char path[128];
	open_scene(&s, true);
	assert_int_equal(meta_put(&s, "kept", "x"), ERR_OK);
	(void)snprintf(path, sizeof(path), "%s/filler", s.home);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (write(fd, chunk, sizeof(chunk)) > 0) {
	}
	enum err e = ERR_OK;
	unsigned stored = 0;
	for (unsigned i = 0; i < 400 && e == ERR_OK; i++) {
		name_of(blob, 'b', i);
		e = put_blob(s.mixer, blob, bytes_of(chunk, sizeof(chunk)));
		if (e == ERR_OK) {
			e = spool_put_as(&s, i, "body", bytes_of(blob, 16), BYTES_EMPTY);
			stored += e == ERR_OK ? 1 : 0;
		}
	}
	assert_int_equal(e, ERR_FULL);
	/* Reading goes on; writing is refused again and again, and nothing is half there. */
	assert_int_equal(meta_get(&s, "kept"), ERR_OK);
	for (int i = 0; i < 5; i++) {
		name_of(blob, 'c', (unsigned)i);
		e = put_blob(s.mixer, blob, bytes_of(chunk, sizeof(chunk)));
		if (e == ERR_OK) {
			e = spool_put_as(&s, 1000, "body", bytes_of(blob, 16), BYTES_EMPTY);
		}
		assert_int_equal(e, ERR_FULL);
	}
	assert_int_equal(spool_count(s.mixer), stored);
	/* Room again: it goes on without hands. */
	(void)close(fd);
	assert_int_equal(truncate(path, 0), 0);
	name_of(blob, 'd', 1);
	assert_int_equal(put_blob(s.mixer, blob, bytes_of(chunk, sizeof(chunk))), ERR_OK);
	assert_int_equal(spool_put_as(&s, 2000, "body", bytes_of(blob, 16), BYTES_EMPTY), ERR_OK);
	restart(&s);
	assert_int_equal(spool_count(s.mixer), stored + 1);
	assert_int_equal(blob_is(s.session, blob, bytes_of(chunk, sizeof(chunk))), ERR_OK);
	close_scene(&s);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_comes_together_is_committed_together),
	    cmocka_unit_test(only_a_whole_blob_can_be_claimed_and_only_once),
	    cmocka_unit_test(first_chunks_come_together_in_order_as_far_as_they_fit),
	    cmocka_unit_test(a_batch_is_carried_out_whole_or_not_at_all),
	    cmocka_unit_test(a_malformed_batch_is_undone_and_its_sender_ended),
	    cmocka_unit_test(a_long_walk_comes_in_pages_without_gap_or_repetition),
	    cmocka_unit_test(the_quota_is_charged_at_entry_and_kept),
	    cmocka_unit_test(what_comes_late_for_a_removed_member_brings_nothing_back),
	    cmocka_unit_test(blobs_are_listed_in_pages_and_deleted_by_name),
	    cmocka_unit_test(a_session_reaches_the_logs_of_its_own_members_only),
	    cmocka_unit_test(a_full_disk_refuses_keeps_what_it_has_and_recovers),
	};
	if (argc != 2) {
		return 2;
	}
	binary = argv[1];
	return cmocka_run_group_tests_name("store role", tests, NULL, NULL);
}
