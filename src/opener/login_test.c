/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * The opener with a keeper, a store and a session of this test's at the other ends of its channels, in one loop.
 * What a login costs is counted in questions and stretched passwords, never measured in time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secret.h"
#include "loop/task.h"
#include "opener/internal.h"
#include "opener/opener.h"

enum { ENTRIES_MAX = 64 };

struct entry {
	uint8_t key[SEALED_HASH_LEN];
	struct buf value;
	bool there;
};

static struct {
	struct role_host host;
	struct opener *opener;
	struct channel *other[ROLE__COUNT]; /* the far ends */
	uint8_t house[SEALED_KEY_LEN];
	struct entry entries[ENTRIES_MAX];
	/* What was asked. */
	unsigned gets;
	unsigned writes;
	unsigned opens;
	unsigned closes;
	unsigned commits;
	enum err commit_says;
	uint32_t committed; /* revision */
	enum err session_says;
	enum err store_says; /* to writes */
	uint32_t opened_generation;
	uint16_t opened_slot;
} world;

/* ---- the others ---- */

static struct entry *
find_entry(const uint8_t *key, bool make)
{
	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		if (world.entries[i].there && memcmp(world.entries[i].key, key, SEALED_HASH_LEN) == 0) {
			return &world.entries[i];
		}
	}
	for (size_t i = 0; make && i < ENTRIES_MAX; i++) {
		struct entry *e = &world.entries[i];
		if (!e->there) {
			memcpy(e->key, key, SEALED_HASH_LEN);
			buf_init(&e->value, DIRECTORY_VALUE_MAX);
			e->there = true;
			return e;
		}
	}
	return NULL;
}

static void
keeper_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	(void)arg;
	uint8_t key[SEALED_KEY_LEN];
	if (m->type == MSG_SIGN_PUBLIC) {
		struct msg_sign_public q;
		struct msg_sign_public_reply r;
		assert_int_equal(msg_sign_public_decode(m->payload, &q), ERR_OK);
		assert_int_equal(q.mac.len, 0);
		sealed_purpose_key(world.house, PURPOSE_PUBLIC_KEY_SIGN, key);
		sealed_public_sign(key, q.account, q.generation, q.public_key, r.signature);
		assert_int_equal(channel_reply(ch, SIGN_PUBLIC, sign_public_reply, m->id, &r), ERR_OK);
	}
}

static enum err
apply(struct bytes ops, bool dry)
{
	struct wire_reader r;
	wire_reader_init(&r, ops);
	while (r.rest.len > 0 && r.error == ERR_OK) {
		uint8_t key[SEALED_HASH_LEN];
		unsigned op = wire_get_u8(&r);
		wire_get_fixed(&r, key, sizeof(key));
		struct bytes value = wire_get_bytes(&r, DIRECTORY_VALUE_MAX);
		if (op == 4) {
			assert_int_equal(value.len, SEALED_ID_LEN);
			continue;
		}
		struct entry *e = find_entry(key, false);
		if (dry && op == 2 && e != NULL) {
			return ERR_EXISTS;
		}
		if (!dry && op == 3 && e != NULL) {
			buf_clear(&e->value);
			e->there = false;
		} else if (!dry && op != 3) {
			e = find_entry(key, true);
			assert_non_null(e);
			buf_reset(&e->value);
			assert_int_equal(buf_append(&e->value, value), ERR_OK);
		}
	}
	return wire_end(&r);
}

static void
store_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	(void)arg;
	if (m->type == MSG_DIRECTORY_GET) {
		struct msg_directory_get q;
		assert_int_equal(msg_directory_get_decode(m->payload, &q), ERR_OK);
		const struct entry *e = find_entry(q.key, false);
		world.gets++;
		if (e == NULL) {
			assert_int_equal(channel_answer(ch, m->type, m->id, ERR_NOT_FOUND), ERR_OK);
		} else {
			struct msg_directory_get_reply r = {.value = buf_bytes(&e->value)};
			assert_int_equal(channel_reply(ch, DIRECTORY_GET, directory_get_reply, m->id, &r),
					 ERR_OK);
		}
	} else if (m->type == MSG_DIRECTORY_WRITE) {
		struct msg_directory_write q;
		assert_int_equal(msg_directory_write_decode(m->payload, &q), ERR_OK);
		enum err e = world.store_says;
		e = e == ERR_OK ? apply(q.ops, true) : e;
		e = e == ERR_OK ? apply(q.ops, false) : e;
		world.writes++;
		assert_int_equal(channel_answer(ch, m->type, m->id, e), ERR_OK);
	} else {
		assert_int_equal(channel_answer(ch, m->type, m->id, ERR_NOT_FOUND), ERR_OK);
	}
}

static void
session_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	(void)arg;
	if (m->type == MSG_MEMBER_OPEN) {
		struct msg_member_open q;
		struct member_keys keys;
		struct directory_account profile;
		assert_int_equal(msg_member_open_decode(m->payload, &q), ERR_OK);
		member_keys_init(&keys);
		assert_int_equal(member_keys_decode(q.keys, &keys), ERR_OK);
		assert_int_equal(directory_account_decode(q.profile, &profile), ERR_OK);
		assert_memory_equal(profile.id, q.account, SEALED_ID_LEN);
		/* What is handed over is the newest, and what the gates seal to. */
		assert_int_equal(member_keys_newest(&keys)->generation, profile.generation);
		assert_memory_equal(member_keys_newest(&keys)->public_key, profile.public_key,
				    BOX_PUBLIC_LEN);
		if (q.commit == 1) {
			member_keys_clear(&keys);
			world.commits++;
			world.committed = world.commit_says == ERR_OK ? q.slots_revision : world.committed;
			assert_int_equal(channel_answer(ch, m->type, m->id, world.commit_says), ERR_OK);
			return;
		}
		assert_true(q.slots_revision > 0);
		world.opened_generation = profile.generation;
		world.opened_slot = q.slot;
		member_keys_clear(&keys);
		world.opens++;
		assert_int_equal(channel_answer(ch, m->type, m->id, world.session_says), ERR_OK);
	} else {
		world.closes++;
		assert_int_equal(channel_answer(ch, m->type, m->id, ERR_OK), ERR_OK);
	}
}

static void
no_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	(void)arg;
	(void)ch;
	(void)m;
	fail_msg("the opener got a request that this test did not make");
}

static void
closed(void *arg, struct channel *ch, bool fault)
{
	(void)arg;
	(void)ch;
	assert_false(fault);
}

static void
connect_role(enum role role, void (*fn)(void *arg, struct channel *ch, const struct channel_message *m))
{
	static struct channel_events mine = {.message = no_message, .closed = closed};
	static struct channel_events events[ROLE__COUNT];
	int pair[2];
	events[role] = (struct channel_events){.message = fn, .closed = closed};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(channel_create(world.host.loop, pair[0], ROLE_OPENER, role, 0, &mine, NULL,
					&world.host.peers[role][0]),
			 ERR_OK);
	assert_int_equal(channel_create(world.host.loop, pair[1], role, ROLE_OPENER, 0, &events[role], NULL,
					&world.other[role]),
			 ERR_OK);
}

static int
set_up(void **state)
{
	(void)state;
	static struct opener opener;
	memset(&world, 0, sizeof(world));
	memset(&opener, 0, sizeof(opener));
	assert_int_equal(loop_create(&world.host.loop), ERR_OK);
	config_defaults(&world.host.config);
	memcpy(world.host.config.domain, "example.org", sizeof("example.org"));
	world.host.config.session_workers = 1;
	world.host.state = &opener;
	world.opener = &opener;
	opener.host = &world.host;
	crypto_random_bytes(world.house, sizeof(world.house));
	static const enum sealed_purpose granted[] = {PURPOSE_DIRECTORY_HASH, PURPOSE_DIRECTORY_SEAL,
						      PURPOSE_PEPPER, PURPOSE_SCRAM_FAKE};
	for (size_t i = 0; i < sizeof(granted) / sizeof(granted[0]); i++) {
		opener.keys.key[granted[i]] = secret_alloc(SEALED_KEY_LEN);
		sealed_purpose_key(world.house, granted[i], opener.keys.key[granted[i]]);
	}
	assert_int_equal(throttle_create(clock_monotonic(), &opener.throttle), ERR_OK);
	assert_int_equal(scram_nonces_create(clock_monotonic(), &opener.nonces), ERR_OK);
	assert_int_equal(work_create(world.host.loop, &opener.work), ERR_OK);
	connect_role(ROLE_KEEPER, keeper_message);
	connect_role(ROLE_STORE, store_message);
	connect_role(ROLE_SESSION, session_message);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	for (unsigned r = 0; r < ROLE__COUNT; r++) {
		channel_destroy(&world.host.peers[r][0]);
		channel_destroy(&world.other[r]);
	}
	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		buf_clear(&world.entries[i].value);
	}
	work_destroy(&world.opener->work);
	throttle_destroy(&world.opener->throttle);
	scram_nonces_destroy(&world.opener->nonces);
	for (unsigned p = 0; p < PURPOSE__COUNT; p++) {
		secret_free(world.opener->keys.key[p]);
	}
	loop_destroy(&world.host.loop);
	return 0;
}

/* ---- what the tests do ---- */

struct act {
	void (*fn)(struct act *a);
	const char *name;
	const char *password;
	unsigned host;
	enum err result;
	struct msg_login_reply reply;
	struct msg_scram_final final;
	struct buf request;
	struct buf packet;
	bool done;
};

static void
act_task(void *arg)
{
	struct act *a = arg;
	a->fn(a);
	a->done = true;
}

static void
run_until_done(struct act *a)
{
	while (!a->done) {
		assert_int_equal(loop_run_once(world.host.loop, 10000), ERR_OK);
	}
}

static void
start_act(struct act *a)
{
	assert_int_equal(task_spawn(world.host.loop, act_task, a, NULL), ERR_OK);
}

static void
do_login(struct act *a)
{
	struct msg_login m = {
	    .protocol = IPC_PROTOCOL_IMAP, .name = bytes_str(a->name), .password = bytes_str(a->password)};
	memset(m.address, 0, sizeof(m.address));
	m.address[10] = 0xff;
	m.address[11] = 0xff;
	m.address[15] = (uint8_t)a->host;
	a->result = opener_log_in(world.opener, &m, &a->reply);
}

static enum err
log_in_from(const char *name, const char *password, unsigned host)
{
	struct act a = {.fn = do_login, .name = name, .password = password, .host = host};
	start_act(&a);
	run_until_done(&a);
	return a.result;
}

static enum err
log_in(const char *name, const char *password)
{
	static unsigned host;
	/* Each from an address of its own: the throttle has its own tests. */
	return log_in_from(name, password, ++host % 250);
}

static void
do_control(struct act *a)
{
	opener_control(world.opener, buf_bytes(&a->request), &a->packet);
}

static enum err
control(struct buf *request, struct buf *ret_data)
{
	struct act a = {.fn = do_control, .request = *request, .packet = BUF_INIT(CONTROL_ANSWER_MAX)};
	struct control_answer answer;
	start_act(&a);
	run_until_done(&a);
	assert_int_equal(control_answer_decode(buf_bytes(&a.packet), &answer), ERR_OK);
	/* Who hears of a failure hears what helps. */
	assert_true(answer.status == ERR_OK || answer.text.len > 0);
	if (ret_data != NULL) {
		assert_int_equal(buf_append(ret_data, answer.data), ERR_OK);
	}
	buf_wipe(&a.packet);
	buf_wipe(request);
	return answer.status;
}

static enum err
command(enum control_op op, const char *name, const char *first, const char *second)
{
	struct buf q = BUF_INIT(CONTROL_REQUEST_MAX);
	struct wire_writer w;
	wire_writer_init(&w, &q);
	wire_put_u8(&w, (uint8_t)op);
	wire_put_bytes(&w, bytes_str(name));
	if (first != NULL) {
		wire_put_bytes(&w, bytes_str(first));
	}
	if (second != NULL) {
		wire_put_bytes(&w, bytes_str(second));
	}
	assert_int_equal(wire_done(&w), ERR_OK);
	return control(&q, NULL);
}

static enum err
suspend(const char *name, uint8_t on)
{
	struct buf q = BUF_INIT(CONTROL_REQUEST_MAX);
	struct wire_writer w;
	wire_writer_init(&w, &q);
	wire_put_u8(&w, CONTROL_MEMBER_SUSPEND);
	wire_put_bytes(&w, bytes_str(name));
	wire_put_u8(&w, on);
	return control(&q, NULL);
}

/* A new member with a main password; gives her codes. */
static enum err
add_member(const char *name, const char *password, char app[SLOT_CODE_TEXT_MAX],
	   char recovery[SLOT_CODE_TEXT_MAX])
{
	struct buf q = BUF_INIT(CONTROL_REQUEST_MAX);
	struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
	struct wire_writer w;
	struct wire_reader r;
	wire_writer_init(&w, &q);
	wire_put_u8(&w, CONTROL_MEMBER_ADD);
	wire_put_bytes(&w, bytes_str(name));
	wire_put_u64(&w, 0);
	wire_put_bytes(&w, bytes_str(password));
	enum err e = control(&q, &data);
	if (e == ERR_OK) {
		wire_reader_init(&r, buf_bytes(&data));
		struct bytes one = wire_get_bytes(&r, SLOT_CODE_TEXT_MAX - 1);
		struct bytes two = wire_get_bytes(&r, SLOT_CODE_TEXT_MAX - 1);
		assert_int_equal(wire_end(&r), ERR_OK);
		memcpy(app, one.ptr, one.len);
		app[one.len] = '\0';
		memcpy(recovery, two.ptr, two.len);
		recovery[two.len] = '\0';
	}
	buf_wipe(&data);
	return e;
}

struct cost {
	unsigned gets;
	uint64_t stretched;
};

static struct cost
cost_of(const char *name, const char *password, enum err wanted)
{
	unsigned gets = world.gets;
	uint64_t stretched = work_total(world.opener->work);
	assert_int_equal(log_in(name, password), wanted);
	return (struct cost){world.gets - gets, work_total(world.opener->work) - stretched};
}

/* ---- tests ---- */

static void
test_each_refusal_costs_the_same(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	char other[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "a good password", app, recovery), ERR_OK);
	/* A recovery code opens nothing here. */
	assert_int_equal(log_in("alice", recovery), ERR_AUTH);
	assert_int_equal(add_member("plain", "", other, recovery), ERR_OK);
	assert_int_equal(add_member("susan", "her own password", other, recovery), ERR_OK);
	assert_int_equal(command(CONTROL_ALIAS_SET, "both", "alice plain", NULL), ERR_OK);
	assert_int_equal(suspend("susan", 1), ERR_OK);
	assert_int_equal(world.closes, 1);
	struct cost wrong = cost_of("alice", "not her password", ERR_AUTH);
	assert_int_equal(wrong.stretched, 1);
	static const char *const others[] = {
	    "nobody", "susan",    "plain", "both", "nobody@elsewhere.org", "", "\"quoted\"@example.org",
	    "a b",    "alice+sub"};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct cost c = cost_of(others[i], "not her password", ERR_AUTH);
		assert_int_equal(c.gets, wrong.gets);
		assert_int_equal(c.stretched, 1);
		/* A code's shape: nothing is stretched, for nobody. */
		c = cost_of(others[i], app, strcmp(others[i], "alice+sub") == 0 ? ERR_OK : ERR_AUTH);
		assert_int_equal(c.stretched, 0);
		assert_true(c.gets == wrong.gets || strcmp(others[i], "alice+sub") == 0);
	}
	/* The right password of a suspended member is one more wrong one. */
	struct cost right = cost_of("susan", "her own password", ERR_AUTH);
	assert_int_equal(right.gets, wrong.gets);
	assert_int_equal(right.stretched, 1);
}

static void
test_the_first_login_begins_a_generation(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "a good password", app, recovery), ERR_OK);
	world.writes = 0;
	assert_int_equal(log_in("Alice@Example.org", app), ERR_OK);
	assert_int_equal(world.writes, 1);
	assert_int_equal(world.opened_generation, 2);
	assert_int_equal(world.opened_slot, 1);
	assert_int_equal(log_in("postmaster", "a good password"), ERR_OK);
	assert_int_equal(world.writes, 1);
	assert_int_equal(world.opened_generation, 2);
	assert_int_equal(world.opens, 2);
}

static void
test_two_first_logins_at_once_both_succeed(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "a good password", app, recovery), ERR_OK);
	struct act a[3] = {
	    {.fn = do_login, .name = "alice", .password = app, .host = 1},
	    {.fn = do_login, .name = "alice", .password = "a good password", .host = 2},
	    {.fn = do_login, .name = "alice", .password = app, .host = 3},
	};
	for (size_t i = 0; i < 3; i++) {
		start_act(&a[i]);
	}
	for (size_t i = 0; i < 3; i++) {
		run_until_done(&a[i]);
		assert_int_equal(a[i].result, ERR_OK);
	}
	assert_int_equal(world.opened_generation, 2);
}

static void
test_what_fails_elsewhere_is_never_a_wrong_password(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "", app, recovery), ERR_OK);
	world.store_says = ERR_FULL; /* the first login must write */
	assert_int_equal(log_in("alice", app), ERR_FULL);
	world.store_says = ERR_OK;
	world.session_says = ERR_MEMORY;
	assert_int_equal(log_in("alice", app), ERR_MEMORY);
	world.session_says = ERR_OK;
	assert_int_equal(log_in("alice", app), ERR_OK);
	channel_destroy(&world.host.peers[ROLE_STORE][0]);
	assert_int_equal(log_in("alice", app), ERR_CLOSED);
}

static void
test_an_application_password_passes_those_that_are_stretched(void **state)
{
	(void)state;
	enum { SLOW = 8 };
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "", app, recovery), ERR_OK);
	assert_int_equal(log_in("alice", app), ERR_OK);
	struct act slow[SLOW];
	for (unsigned i = 0; i < SLOW; i++) {
		slow[i] = (struct act){
		    .fn = do_login, .name = "nobody", .password = "some password", .host = 100 + i};
		start_act(&slow[i]);
	}
	struct act fast = {.fn = do_login, .name = "alice", .password = app, .host = 1};
	start_act(&fast);
	run_until_done(&fast);
	assert_int_equal(fast.result, ERR_OK);
	unsigned still = 0;
	for (unsigned i = 0; i < SLOW; i++) {
		still += slow[i].done ? 0 : 1;
	}
	assert_true(still >= SLOW - 1);
	for (unsigned i = 0; i < SLOW; i++) {
		run_until_done(&slow[i]);
		assert_true(slow[i].result == ERR_AUTH || slow[i].result == ERR_AGAIN);
	}
}

static void
test_the_queue_of_passwords_is_bounded(void **state)
{
	(void)state;
	enum { MANY = WORK_QUEUE_MAX + 5 };
	static struct act acts[MANY];
	static char names[MANY][16];
	memset(acts, 0, sizeof(acts));
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "member%u", i);
		acts[i] =
		    (struct act){.fn = do_login, .name = names[i], .password = "some password", .host = i};
		start_act(&acts[i]);
	}
	unsigned later = 0;
	for (unsigned i = 0; i < MANY; i++) {
		run_until_done(&acts[i]);
		later += acts[i].result == ERR_AGAIN;
		assert_true(acts[i].result == ERR_AUTH || acts[i].result == ERR_AGAIN);
	}
	assert_int_equal(later, 5);
}

static void
test_a_password_is_changed_with_the_old_one_or_a_code_and_touches_no_generation(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "", app, recovery), ERR_OK);
	assert_int_equal(log_in("alice", app), ERR_OK);
	assert_int_equal(command(CONTROL_MEMBER_PASSWD, "alice", "wrong password", "a new password"),
			 ERR_AUTH);
	assert_int_equal(command(CONTROL_MEMBER_PASSWD, "alice", recovery, "short"), ERR_LIMIT);
	assert_int_equal(command(CONTROL_MEMBER_PASSWD, "alice", recovery, app), ERR_FORMAT);
	assert_int_equal(command(CONTROL_MEMBER_PASSWD, "alice", recovery, "a new password"), ERR_OK);
	assert_int_equal(log_in("alice", "a new password"), ERR_OK);
	assert_int_equal(command(CONTROL_MEMBER_PASSWD, "alice", "a new password", "another password"),
			 ERR_OK);
	assert_int_equal(log_in("alice", "a new password"), ERR_AUTH);
	assert_int_equal(log_in("alice", "another password"), ERR_OK);
	assert_int_equal(world.opened_generation, 2);
	assert_int_equal(world.closes, 2);
}

static void
test_a_dropped_password_opens_nothing_and_a_generation_begins(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	struct buf q = BUF_INIT(CONTROL_REQUEST_MAX);
	struct wire_writer w;
	assert_int_equal(add_member("alice", "a good password", app, recovery), ERR_OK);
	assert_int_equal(log_in("alice", app), ERR_OK);
	wire_writer_init(&w, &q);
	wire_put_u8(&w, CONTROL_MEMBER_APP_DROP);
	wire_put_bytes(&w, BYTES_LIT("alice"));
	wire_put_bytes(&w, BYTES_LIT("a good password"));
	wire_put_u16(&w, 1);
	assert_int_equal(control(&q, NULL), ERR_OK);
	assert_int_equal(log_in("alice", app), ERR_AUTH);
	assert_int_equal(log_in("alice", "a good password"), ERR_OK);
	assert_int_equal(world.opened_generation, 3);
	/* Her log was asked before the change, and told after it. */
	assert_int_equal(world.commits, 2);
	uint32_t told = world.committed;
	/* A new recovery code ends the old one. */
	assert_int_equal(command(CONTROL_MEMBER_RECOVERY, "alice", recovery, NULL), ERR_OK);
	assert_true(world.committed > told);
	assert_int_equal(command(CONTROL_MEMBER_RECOVERY, "alice", recovery, NULL), ERR_AUTH);
}

static void
test_nothing_is_built_upon_an_older_list(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "", app, recovery), ERR_OK);
	/* Only invited: there is no log yet to ask. */
	assert_int_equal(command(CONTROL_MEMBER_RECOVERY, "alice", app, NULL), ERR_OK);
	assert_int_equal(world.commits, 0);
	assert_int_equal(log_in("alice", app), ERR_OK);
	unsigned writes = world.writes;
	world.commit_says = ERR_CONFLICT;
	assert_int_equal(command(CONTROL_MEMBER_RECOVERY, "alice", app, NULL), ERR_DAMAGED);
	assert_int_equal(world.writes, writes);
	/* A login's worker that knows a newer list is not asked again and again; nothing is said of the password. */
	world.session_says = ERR_CONFLICT;
	unsigned opens = world.opens;
	assert_int_equal(log_in("alice", app), ERR_DAMAGED);
	assert_int_equal(world.opens, opens + 1);
	/* A log that cannot be read, or a worker that is away, stops no change. */
	world.session_says = ERR_OK;
	world.commit_says = ERR_DAMAGED;
	assert_int_equal(command(CONTROL_MEMBER_RECOVERY, "alice", app, NULL), ERR_OK);
	assert_int_equal(world.writes, writes + 1);
	assert_int_equal(log_in("alice", app), ERR_OK);
}

static void
test_names_cannot_be_given_twice(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "", app, recovery), ERR_OK);
	assert_int_equal(add_member("ALICE@example.org", "", app, recovery), ERR_EXISTS);
	assert_int_equal(add_member("abuse", "", app, recovery), ERR_EXISTS);
	assert_int_equal(add_member("a+b", "", app, recovery), ERR_FORMAT);
	assert_int_equal(add_member("mailer-daemon", "", app, recovery), ERR_FORMAT);
	assert_int_equal(add_member("noreply-reports", "", app, recovery), ERR_FORMAT);
	assert_int_equal(command(CONTROL_ALIAS_SET, "noreply-reports", "alice", NULL), ERR_FORMAT);
	assert_int_equal(add_member("bob", "", app, recovery), ERR_OK);
	assert_int_equal(command(CONTROL_ALIAS_SET, "alice", "bob", NULL), ERR_EXISTS);
	assert_int_equal(command(CONTROL_ALIAS_SET, "sales", "carol", NULL), ERR_NOT_FOUND);
	assert_int_equal(command(CONTROL_ALIAS_SET, "sales", "bob", NULL), ERR_OK);
	assert_int_equal(log_in("sales", app), ERR_OK);
	assert_int_equal(command(CONTROL_ALIAS_SET, "sales", "bob alice", NULL), ERR_OK);
	assert_int_equal(log_in("sales", app), ERR_AUTH);
	assert_int_equal(command(CONTROL_ALIAS_REMOVE, "sales", NULL, NULL), ERR_OK);
	assert_int_equal(command(CONTROL_ALIAS_REMOVE, "sales", NULL, NULL), ERR_NOT_FOUND);
	assert_int_equal(command(CONTROL_ALIAS_REMOVE, "postmaster", NULL, NULL), ERR_DENIED);
}

static void
test_malformed_requests_get_an_answer_and_change_nothing(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 256; op++) {
		static const uint8_t rests[][6] = {{0}, {0, 0, 0, 9, 'a'}, {255, 255, 255, 255, 1}};
		for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
			struct buf q = BUF_INIT(64);
			assert_int_equal(buf_append_byte(&q, (uint8_t)op), ERR_OK);
			assert_int_equal(buf_append(&q, bytes_of(rests[i], i * 3)), ERR_OK);
			assert_int_not_equal(control(&q, NULL), ERR_OK);
		}
	}
	assert_int_equal(world.writes, 0);
}

/* ---- SCRAM ---- */

struct proof {
	char tail[128];
	uint8_t wanted[SCRAM_KEY_LEN]; /* ServerSignature */
	struct msg_scram_final m;
};

static const char client_nonce[] = "fyko+d2lbbFgONRv9qkxdawL";
static const char head[] = "n=alice,r=fyko,r=fyko,s=AA==,i=4096,";

/* What her program sends at the end of a dialogue. */
static void
prove(const char *name, const char *password, struct proof *ret)
{
	struct buf address = BUF_INIT(512);
	struct slot_scram scram;
	struct scram_keys keys;
	*ret = (struct proof){.m = {.protocol = IPC_PROTOCOL_IMAP,
				    .name = bytes_str(name),
				    .client_nonce = bytes_str(client_nonce),
				    .head = bytes_str(head)}};
	assert_int_equal(opener_login_name(world.opener, bytes_str(name), &address), ERR_OK);
	opener_scram_of(world.opener, buf_bytes(&address), &scram);
	scram_nonce_make(world.opener->nonces, loop_now(world.host.loop), buf_bytes(&address),
			 bytes_str(client_nonce), ret->m.nonce);
	(void)snprintf(ret->tail, sizeof(ret->tail), "c=biws,r=%s%.*s", client_nonce, IPC_SCRAM_NONCE,
		       (const char *)ret->m.nonce);
	ret->m.tail = bytes_str(ret->tail);
	const struct scram_message message = {.head = ret->m.head, .tail = ret->m.tail};
	scram_derive(bytes_str(password), scram.salt, scram.count, &keys);
	scram_prove(&keys, &message, ret->m.proof);
	scram_sign(keys.server, &message, ret->wanted);
	buf_clear(&address);
}

static void
do_scram(struct act *a)
{
	struct msg_scram_final_reply r;
	a->result = opener_scram_log_in(world.opener, &a->final, &r);
	if (a->result == ERR_OK) {
		memcpy(a->reply.token, r.token, sizeof(a->reply.token));
		assert_memory_equal(r.signature, a->password, SCRAM_KEY_LEN);
	}
}

static enum err
show(const struct proof *p)
{
	struct act a = {.fn = do_scram, .final = p->m, .password = (const char *)p->wanted};
	static unsigned host;
	a.final.address[10] = 0xff;
	a.final.address[11] = 0xff;
	a.final.address[15] = (uint8_t)(++host % 250);
	start_act(&a);
	run_until_done(&a);
	return a.result;
}

static enum err
scram_in(const char *name, const char *password)
{
	struct proof p;
	prove(name, password, &p);
	return show(&p);
}

static void
test_a_proof_opens_and_each_refusal_costs_the_same(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	char other[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "a good password", app, recovery), ERR_OK);
	assert_int_equal(add_member("susan", "", other, recovery), ERR_OK);
	assert_int_equal(command(CONTROL_ALIAS_SET, "both", "alice susan", NULL), ERR_OK);
	assert_int_equal(suspend("susan", 1), ERR_OK);
	/* The first login, too. */
	assert_int_equal(scram_in("alice", app), ERR_OK);
	assert_int_equal(world.opened_generation, 2);
	assert_int_equal(world.opened_slot, 1);
	assert_int_equal(scram_in("Alice+shop@example.org", app), ERR_OK);
	uint64_t stretched = work_total(world.opener->work);
	unsigned gets = world.gets;
	assert_int_equal(scram_in("alice", other), ERR_AUTH);
	unsigned wrong = world.gets - gets;
	static const char *const names[] = {"nobody", "susan", "both", "postmaster", "nobody@elsewhere.org",
					    "a b",    "",      "alice"};
	static const char *const passwords[] = {"a good password", "x"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t k = 0; k < 2; k++) {
			gets = world.gets;
			assert_int_equal(scram_in(names[i], passwords[k]), ERR_AUTH);
			assert_int_equal(world.gets - gets, wrong);
		}
	}
	assert_int_equal(scram_in("susan", other), ERR_AUTH);
	assert_int_equal(scram_in("alice", recovery), ERR_AUTH);
	assert_int_equal(work_total(world.opener->work), stretched);
}

static void
test_a_proof_opens_once_and_for_its_own_dialogue(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	struct proof p;
	struct proof other;
	assert_int_equal(add_member("alice", "", app, recovery), ERR_OK);
	prove("alice", app, &p);
	prove("alice", app, &other);
	struct proof mixed = p;
	memcpy(mixed.m.nonce, other.m.nonce, sizeof(mixed.m.nonce));
	/* A captured gate that has a proof, and a fresh nonce. */
	assert_int_equal(show(&mixed), ERR_AGAIN);
	mixed = p;
	mixed.m.nonce[3] ^= 1;
	assert_int_equal(show(&mixed), ERR_AGAIN);
	unsigned opens = world.opens;
	assert_int_equal(show(&p), ERR_OK);
	assert_int_equal(world.opens, opens + 1);
	assert_int_equal(show(&p), ERR_AUTH);
	assert_int_equal(world.opens, opens + 1);
	assert_int_equal(show(&other), ERR_OK);
}

/* As a program without SCRAM would have left it. */
static void
forget_verifiers(void)
{
	static const uint8_t other_key[SEALED_KEY_LEN] = {1};
	memcpy(world.opener->keys.key[PURPOSE_SCRAM_FAKE], other_key, SEALED_KEY_LEN);
}

static void
test_an_older_password_gets_its_verifier_at_the_next_login(void **state)
{
	(void)state;
	char app[SLOT_CODE_TEXT_MAX];
	char recovery[SLOT_CODE_TEXT_MAX];
	assert_int_equal(add_member("alice", "a good password", app, recovery), ERR_OK);
	assert_int_equal(log_in("alice", app), ERR_OK);
	forget_verifiers();
	unsigned writes = world.writes;
	assert_int_equal(scram_in("alice", app), ERR_AUTH);
	assert_int_equal(log_in("alice", "a good password"), ERR_OK);
	assert_int_equal(world.writes, writes);
	/* A store that is full keeps nobody out. */
	world.store_says = ERR_FULL;
	assert_int_equal(log_in("alice", app), ERR_OK);
	assert_int_equal(scram_in("alice", app), ERR_AUTH);
	world.store_says = ERR_OK;
	writes = world.writes;
	/* Also under another of her names: the verifier is for her own. */
	assert_int_equal(log_in("postmaster", app), ERR_OK);
	assert_int_equal(world.writes, writes + 1);
	assert_int_equal(scram_in("alice", app), ERR_OK);
	assert_int_equal(log_in("alice", app), ERR_OK);
	assert_int_equal(world.writes, writes + 1);
	assert_int_equal(world.opened_generation, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_each_refusal_costs_the_same, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_the_first_login_begins_a_generation, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_two_first_logins_at_once_both_succeed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_what_fails_elsewhere_is_never_a_wrong_password, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(test_an_application_password_passes_those_that_are_stretched,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_the_queue_of_passwords_is_bounded, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_a_password_is_changed_with_the_old_one_or_a_code_and_touches_no_generation, set_up,
		tear_down),
	    cmocka_unit_test_setup_teardown(test_a_dropped_password_opens_nothing_and_a_generation_begins,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_nothing_is_built_upon_an_older_list, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_proof_opens_and_each_refusal_costs_the_same, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(test_a_proof_opens_once_and_for_its_own_dialogue, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(test_an_older_password_gets_its_verifier_at_the_next_login,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_names_cannot_be_given_twice, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_malformed_requests_get_an_answer_and_change_nothing, set_up,
					    tear_down),
	};
	if (crypto_init() != ERR_OK || secret_pool_init(SECRET_POOL_BYTES) != ERR_OK) {
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
