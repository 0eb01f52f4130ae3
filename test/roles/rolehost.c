/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "roles/rolehost.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/wire.h"
#include "loop/tls.h"
#include "sealed/keys.h"

enum { CONTROL_FD = 3 };

void
rolehost_init(struct rolehost *h, const char *binary, const char *home)
{
	char store[300];
	memset(h, 0, sizeof(*h));
	h->binary = binary;
	assert_true(snprintf(h->home, sizeof(h->home), "%s", home) < (int)sizeof(h->home));
	(void)snprintf(store, sizeof(store), "%s/store", home);
	bool fresh = mkdir(store, 0700) == 0;
	assert_true(fresh || errno == EEXIST);
	if (fresh) {
		/* As `cohue init` leaves it. */
		char word[320];
		(void)snprintf(word, sizeof(word), "%s/new", store);
		int fd = open(word, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		assert_true(fd >= 0);
		(void)close(fd);
	}
	config_defaults(&h->config);
	(void)snprintf(h->config.domain, sizeof(h->config.domain), "house.example");
	(void)snprintf(h->config.hostname, sizeof(h->config.hostname), "mx.house.example");
	h->config.session_workers = 1; /* a test's session is every member's */
	h->config.status_exact = CONFIG_YES;
	h->config.leave.kind = LAW_NONE;
	h->config.arrive.kind = LAW_NONE;
	assert_int_equal(loop_create(&h->loop), ERR_OK);
}

void
rolehost_set_clock(struct rolehost *h, int64_t ahead_ms)
{
	(void)snprintf(h->clock_file, sizeof(h->clock_file), "%s/clock", h->home);
	int fd = open(h->clock_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_true(pwrite(fd, &ahead_ms, sizeof(ahead_ms), 0) == (ssize_t)sizeof(ahead_ms));
	(void)close(fd);
}

/* ---- fakes ---- */

const uint8_t rolehost_sign_seed[SIGN_SEED_LEN] = {9};

/* The purpose keys that a courier beside a fake keeper asks for at its start. */
static void
give_purpose_keys(struct channel *ch, uint32_t id)
{
	uint8_t key[3 * (1 + SEALED_KEY_LEN)] = {PURPOSE_BLOB_NAME, 1, 2, 3};
	key[1 + SEALED_KEY_LEN] = PURPOSE_COURIER_KEEP;
	key[2 * (1 + SEALED_KEY_LEN)] = PURPOSE_PUBLIC_KEY_VERIFY;
	sign_public(rolehost_sign_seed, key + 2 * (1 + SEALED_KEY_LEN) + 1);
	struct msg_purpose_keys_reply r = {.keys = bytes_of(key, sizeof(key))};
	assert_int_equal(channel_reply(ch, PURPOSE_KEYS, purpose_keys_reply, id, &r), ERR_OK);
}

static void
fake_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct fake *f = arg;
	if (m->type == MSG_PURPOSE_KEYS) {
		give_purpose_keys(ch, m->id);
		return;
	}
	if (f->inbox_count == HOST_INBOX_MAX && m->type == MSG_LOG_CHANGED) {
		return;
	}
	assert_true(f->inbox_count < HOST_INBOX_MAX);
	size_t i = f->inbox_count++;
	f->inbox[i].type = m->type;
	f->inbox[i].id = m->id;
	buf_init(&f->inbox[i].payload, IPC_PAYLOAD_MAX);
	assert_int_equal(buf_append(&f->inbox[i].payload, m->payload), ERR_OK);
}

static void
fake_closed(void *arg, struct channel *ch, bool fault)
{
	struct fake *f = arg;
	f->faulted = f->faulted || fault;
	if (f->ch == ch) {
		f->ch = NULL;
	}
	channel_destroy(&ch);
}

static const struct channel_events fake_events = {.message = fake_message, .closed = fake_closed};

void
fake_forget_inbox(struct fake *f)
{
	for (size_t i = 0; i < f->inbox_count; i++) {
		buf_clear(&f->inbox[i].payload);
	}
	f->inbox_count = 0;
}

static void
send_channel(struct rolehost_child *c, enum role peer, unsigned index, int fd)
{
	struct buf payload = BUF_INIT(16);
	struct msg_channel m = {.peer = (uint8_t)peer, .index = (uint16_t)index};
	assert_int_equal(msg_channel_encode(&payload, &m), ERR_OK);
	/* A child that has just died does not take it. */
	enum err e = channel_notice_fd(c->ch, MSG_CHANNEL, buf_bytes(&payload), fd);
	(void)e;
	buf_clear(&payload);
}

static void
make_pair(int pair[2])
{
	int size = 1 << 20;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void
join_fake(struct fake *f)
{
	struct rolehost *h = f->host;
	int pair[2];
	if (f->ch != NULL) {
		channel_end(f->ch);
		f->ch = NULL;
	}
	make_pair(pair);
	assert_int_equal(channel_create(h->loop, pair[0], f->self, f->peer, 0, &fake_events, f, &f->ch),
			 ERR_OK);
	send_channel(&h->children[f->peer], f->self, f->index, pair[1]);
	(void)close(pair[1]);
}

struct fake *
rolehost_fake(struct rolehost *h, enum role self, unsigned index, enum role peer)
{
	assert_true(h->fake_count < HOST_FAKES_MAX);
	struct fake *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	h->fakes[h->fake_count++] = f;
	f->host = h;
	f->self = self;
	f->peer = peer;
	f->index = index;
	if (h->children[peer].sandboxed) {
		join_fake(f);
	}
	return f;
}

/* ---- children ---- */

static void
child_message(void *arg, struct channel *ch, const struct channel_message *m)
{
	struct rolehost_child *c = arg;
	if (m->type == MSG_SANDBOXED) {
		c->sandboxed = true;
	} else if (m->type == MSG_READY) {
		c->ready = true;
	} else if (m->type == MSG_PEER_FAULT) {
		c->peer_faults++;
	} else if (m->type == MSG_ACME_SAVE) {
		/* The disk: of each kind of file, whether it was written, and how often that was tried. */
		struct msg_acme_save q;
		assert_int_equal(msg_acme_save_decode(m->payload, &q), ERR_OK);
		assert_in_range(q.what, ACME_FILE_ACCOUNT, ACME_FILES - 1);
		c->host->saves[q.what]++;
		struct msg_acme_saved r = {.what = q.what, .good = c->host->disk_full[q.what] ? 0 : 1};
		assert_int_equal(channel_notice(ch, ACME_SAVED, acme_saved, &r), ERR_OK);
	}
}

static void
child_closed(void *arg, struct channel *ch, bool fault)
{
	struct rolehost_child *c = arg;
	c->faulted = c->faulted || fault;
	if (c->ch == ch) {
		c->ch = NULL;
	}
	channel_destroy(&ch);
}

static const struct channel_events child_events = {.message = child_message, .closed = child_closed};

static void
bury(struct rolehost *h, struct rolehost_child *c)
{
	if (c->ch != NULL) {
		channel_end(c->ch);
		c->ch = NULL;
	}
	if (h->traced == c->pid) {
		h->traced = 0;
	}
	c->pid = 0;
	c->sandboxed = false;
	c->ready = false;
}

/* Deaths, and the stops of the traced one. */
static void
look_at_children(struct rolehost *h)
{
	for (unsigned r = 0; r < ROLE__COUNT; r++) {
		struct rolehost_child *c = &h->children[r];
		int status = 0;
		while (c->pid > 0 && waitpid(c->pid, &status, WNOHANG | __WALL) == c->pid) {
			if (!WIFSTOPPED(status)) {
				c->status = status;
				bury(h, c);
				break;
			}
			int sig = WSTOPSIG(status);
			if (sig == (SIGTRAP | 0x80)) {
				/* Each call stops at its entry and at its exit. */
				h->calls++;
				if (h->kill_at != 0 && (h->calls + 1) / 2 == h->kill_at) {
					h->killing = true;
					(void)kill(c->pid, SIGKILL);
					continue;
				}
				sig = 0;
			} else if (sig == SIGTRAP || status >> 16 != 0) {
				sig = 0;
			}
			(void)ptrace(PTRACE_SYSCALL, c->pid, NULL, (void *)(uintptr_t)(unsigned)sig);
		}
	}
}

void
rolehost_turn(struct rolehost *h)
{
	look_at_children(h);
	assert_int_equal(loop_run_once(h->loop, h->traced != 0 ? 0 : 1), ERR_OK);
}

bool
rolehost_until(struct rolehost *h, bool (*done)(void *arg), void *arg, msec ms)
{
	msec limit = clock_monotonic() + ms;
	while (!done(arg)) {
		if (clock_monotonic() > limit) {
			return false;
		}
		rolehost_turn(h);
	}
	return true;
}

void
rolehost_run(struct rolehost *h, msec ms)
{
	msec limit = clock_monotonic() + ms;
	while (clock_monotonic() < limit) {
		rolehost_turn(h);
	}
}

static bool
is_sandboxed(void *arg)
{
	const struct rolehost_child *c = arg;
	return c->pid == 0 || c->sandboxed;
}

static bool
is_ready(void *arg)
{
	const struct rolehost_child *c = arg;
	return c->pid == 0 || c->ready;
}

static bool
is_dead(void *arg)
{
	const struct rolehost_child *c = arg;
	return c->pid == 0;
}

static bool
are_joined(enum role a, enum role b)
{
	for (unsigned t = 1; t < MSG__COUNT; t++) {
		const struct msg_rule *r = msg_rule(t);
		if (((r->from & ROLE_BIT(a)) != 0 && (r->to & ROLE_BIT(b)) != 0) ||
		    ((r->from & ROLE_BIT(b)) != 0 && (r->to & ROLE_BIT(a)) != 0)) {
			return true;
		}
	}
	return false;
}

static void
send_setup(struct rolehost *h, struct rolehost_child *c, enum role role)
{
	struct buf account = BUF_INIT(4096);
	struct buf config = BUF_INIT(CONFIG_ENCODED_MAX);
	struct wire_writer w;
	wire_writer_init(&w, &account);
	wire_put_u32(&w, 0);
	wire_put_u32(&w, 0);
	wire_put_bytes(&w, bytes_str(h->home));
	wire_put_bytes(&w, BYTES_EMPTY);
	assert_int_equal(wire_done(&w), ERR_OK);
	assert_int_equal(config_encode(&h->config, &config), ERR_OK);
	struct msg_setup m = {
	    .role = (uint8_t)role, .config = buf_bytes(&config), .account_data = buf_bytes(&account)};
	assert_int_equal(channel_notice(c->ch, SETUP, setup, &m), ERR_OK);
	buf_clear(&account);
	buf_clear(&config);
	if (role == ROLE_KEEPER) {
		struct msg_house_key k = {.unused_ = 0};
		memset(k.key, 'k', sizeof(k.key));
		assert_int_equal(channel_notice(c->ch, HOUSE_KEY, house_key, &k), ERR_OK);
		struct buf key = BUF_INIT(65536);
		struct buf chain = BUF_INIT(65536);
		assert_int_equal(tls_make_self_signed("mail.example", clock_wall(), &key, &chain), ERR_OK);
		struct msg_tls_files t = {.mx_key = buf_bytes(&key),
					  .mx_chain = buf_bytes(&chain),
					  .member_key = buf_bytes(&key),
					  .member_chain = buf_bytes(&chain)};
		assert_int_equal(channel_request(c->ch, TLS_FILES, tls_files, &t, 0, NULL, NULL), ERR_OK);
		buf_wipe(&key);
		buf_clear(&chain);
	}
}

static void
become(const struct rolehost *h, enum role role, int fd)
{
	char flag[64];
	(void)snprintf(flag, sizeof(flag), "--role=%s", role_name(role));
	char *const argv[] = {flag, flag, NULL};
	char leaks[] = "ASAN_OPTIONS=detect_leaks=0";
	char clock[340];
	(void)snprintf(clock, sizeof(clock), "COHUE_TEST_CLOCK=%s", h->clock_file);
	char *const env[] = {leaks, h->clock_file[0] == '\0' ? NULL : clock, NULL};
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd == CONTROL_FD) {
		fd = dup(fd);
	}
	if (fd < 0 || dup2(fd, CONTROL_FD) < 0) {
		_exit(127);
	}
	(void)execve(h->binary, argv, env);
	_exit(127);
}

bool
rolehost_start(struct rolehost *h, enum role role)
{
	struct rolehost_child *c = &h->children[role];
	int pair[2];
	assert_int_equal(c->pid, 0);
	*c = (struct rolehost_child){.host = h};
	make_pair(pair);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		become(h, role, pair[1]);
	}
	(void)close(pair[1]);
	assert_int_equal(channel_create(h->loop, pair[0], ROLE_SUPERVISOR, role, 0, &child_events, c, &c->ch),
			 ERR_OK);
	send_setup(h, c, role);
	assert_true(rolehost_until(h, is_sandboxed, c, HOST_LIMIT_MS));
	if (c->pid == 0) {
		return false;
	}
	for (unsigned r = 0; r < ROLE__COUNT; r++) {
		struct rolehost_child *peer = &h->children[r];
		if (r != (unsigned)role && peer->sandboxed && peer->ch != NULL &&
		    are_joined(role, (enum role)r)) {
			make_pair(pair);
			send_channel(c, (enum role)r, 0, pair[0]);
			send_channel(peer, role, 0, pair[1]);
			(void)close(pair[0]);
			(void)close(pair[1]);
		}
	}
	for (size_t i = 0; i < h->fake_count; i++) {
		if (h->fakes[i]->peer == role) {
			join_fake(h->fakes[i]);
		}
	}
	if (c->ch == NULL || channel_notice_empty(c->ch, MSG_GO) != ERR_OK) {
		return false;
	}
	assert_true(rolehost_until(h, is_ready, c, HOST_LIMIT_MS));
	return c->ready;
}

bool
rolehost_runs(const struct rolehost *h, enum role role)
{
	return h->children[role].pid > 0;
}

void
rolehost_kill(struct rolehost *h, enum role role)
{
	struct rolehost_child *c = &h->children[role];
	if (c->pid > 0) {
		(void)kill(c->pid, SIGKILL);
		assert_true(rolehost_until(h, is_dead, c, HOST_LIMIT_MS));
	}
}

void
rolehost_stop(struct rolehost *h, enum role role)
{
	struct rolehost_child *c = &h->children[role];
	if (c->pid > 0) {
		assert_int_equal(channel_notice_empty(c->ch, MSG_STOP), ERR_OK);
		assert_true(rolehost_until(h, is_dead, c, HOST_LIMIT_MS));
		assert_true(WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0);
	}
}

void
rolehost_clear(struct rolehost *h)
{
	for (unsigned r = 0; r < ROLE__COUNT; r++) {
		rolehost_kill(h, (enum role)r);
	}
	for (int i = 0; i < 4; i++) {
		rolehost_turn(h);
	}
	for (size_t i = 0; i < h->fake_count; i++) {
		channel_destroy(&h->fakes[i]->ch);
		fake_forget_inbox(h->fakes[i]);
		free(h->fakes[i]);
	}
	loop_destroy(&h->loop);
}

/* ---- answers ---- */

void
answer_init(struct answer *a)
{
	*a = (struct answer){.payload = BUF_INIT(IPC_PAYLOAD_MAX)};
}

void
answer_clear(struct answer *a)
{
	buf_clear(&a->payload);
}

void
answer_take(void *arg, enum err status, struct bytes payload)
{
	struct answer *a = arg;
	assert_false(a->done);
	a->done = true;
	a->status = status;
	buf_reset(&a->payload);
	assert_int_equal(buf_append(&a->payload, payload), ERR_OK);
}

static bool
is_answered(void *arg)
{
	const struct answer *a = arg;
	return a->done;
}

enum err
answer_wait(struct rolehost *h, struct answer *a)
{
	assert_true(rolehost_until(h, is_answered, a, HOST_LIMIT_MS));
	a->done = false;
	return a->status;
}

unsigned long long
rolehost_figure(struct rolehost *h, enum role role, const char *name)
{
	struct answer a;
	struct msg_status_reply r;
	unsigned long long value = 0;
	bool found = false;
	answer_init(&a);
	assert_int_equal(channel_request_empty(h->children[role].ch, MSG_STATUS, 0, answer_take, &a), ERR_OK);
	assert_int_equal(answer_wait(h, &a), ERR_OK);
	assert_int_equal(msg_status_reply_decode(buf_bytes(&a.payload), &r), ERR_OK);
	while (r.text.len > 0) {
		ptrdiff_t end = bytes_find(r.text, '\n');
		struct bytes line = end < 0 ? r.text : bytes_slice(r.text, 0, (size_t)end);
		r.text = bytes_from(r.text, line.len + 1);
		size_t n = strlen(name);
		if (line.len > n && bytes_starts_with(line, name) && line.ptr[n] == ' ') {
			uint64_t v = 0;
			assert_int_equal(bytes_to_u64(bytes_from(line, n + 1), UINT64_MAX, &v), ERR_OK);
			value = v;
			found = true;
		}
	}
	assert_true(found);
	answer_clear(&a);
	return value;
}

bool
rolehost_trace(struct rolehost *h, enum role role, unsigned long at)
{
	struct rolehost_child *c = &h->children[role];
	int status = 0;
	assert_true(c->pid > 0 && h->traced == 0);
	if (ptrace(PTRACE_SEIZE, c->pid, NULL,
		   (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0) {
		return false;
	}
	assert_int_equal(ptrace(PTRACE_INTERRUPT, c->pid, NULL, NULL), 0);
	assert_int_equal(waitpid(c->pid, &status, __WALL), c->pid);
	assert_true(WIFSTOPPED(status));
	h->traced = c->pid;
	h->calls = 0;
	h->kill_at = at;
	h->killing = false;
	assert_int_equal(ptrace(PTRACE_SYSCALL, c->pid, NULL, NULL), 0);
	return true;
}
