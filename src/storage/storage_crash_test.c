/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * A history of transactions is cut at every write, truncation and sync that SQLite makes, from the
 * creation of the file on, and at random moments by SIGKILL. After reopening, all that was answered
 * must be there, and nothing half. Then the same events fail instead, and the store must tell the right
 * error and go on.
 */
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/storage.h"
#include "storage/storage_shim.h"

enum { STEPS = 10, KEPT_BLOBS = 4, KILLS = 25 };

static char folder[64];
static const uint8_t account_x[ACCOUNT_ID_LEN] = "account-x......";
static const uint8_t account_y[ACCOUNT_ID_LEN] = "account-y......";

static void
empty_folder(bool remove)
{
	DIR *d = opendir(folder);
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (e->d_name[0] != '.') {
			(void)unlinkat(dirfd(d), e->d_name, 0);
		}
	}
	(void)closedir(d);
	if (remove) {
		(void)rmdir(folder);
	}
}

static void
name_of(unsigned i, uint8_t ret[16])
{
	/* Spread over the tree, as random names are. */
	(void)crypto_generichash(ret, 16, (const uint8_t *)&i, sizeof(i), NULL, 0);
}

/*
 * Step i (from 1): a blob with a unit that claims it, the release of the unit before, a record, the
 * deletion of an old blob, and the number of the step.
 */
static enum err
step(struct storage *s, unsigned i)
{
	static uint8_t data[5000];
	uint8_t name[1][16];
	uint8_t old[16];
	struct storage_head head;
	const struct storage_driver *d = s->driver;
	struct bytes body = bytes_of(data, 700);
	enum err e = d->begin(s);
	memset(data, (int)i, sizeof(data));
	name_of(i, name[0]);
	e = e == ERR_OK ? d->blob_put(s, name[0], 0, bytes_of(data, sizeof(data))) : e;
	e = e == ERR_OK
		? d->spool_put(s, name[0], BYTES_LIT("state"), &body, 1, (void *)name, 1, NULL, NULL, NULL, 0)
		: e;
	if (e == ERR_OK && i > 1) {
		name_of(i - 1, old);
		e = d->spool_release(s, old, 0, account_y, &head);
		e = e == ERR_OK ? d->spool_delete(s, old) : e;
	}
	if (e == ERR_OK && i > KEPT_BLOBS) {
		name_of(i - KEPT_BLOBS, old);
		e = d->blob_delete(s, old);
	}
	e = e == ERR_OK ? d->log_head(s, account_x, &head) : e;
	e = e == ERR_OK ? d->log_append(s, account_x, head.head, &body, 1, 1, NULL, 0, &head) : e;
	e = e == ERR_OK ? d->meta_put(s, "step", bytes_of(&i, sizeof(i))) : e;
	return e == ERR_OK ? d->commit(s) : e;
}

static unsigned
last_step(struct storage *s)
{
	struct buf b = BUF_INIT(16);
	unsigned i = 0;
	enum err e = s->driver->meta_get(s, "step", &b);
	if (e == ERR_OK) {
		assert_int_equal(b.len, sizeof(i));
		memcpy(&i, b.ptr, sizeof(i));
	} else {
		assert_int_equal(e, ERR_NOT_FOUND);
	}
	buf_clear(&b);
	return i;
}

static void
ignore(void *arg, const char *what, uint64_t count)
{
	(void)arg;
	(void)what;
	(void)count;
}

static enum err
count_row(void *arg, struct bytes key, uint32_t part, struct bytes value)
{
	(void)key;
	(void)part;
	(void)value;
	(*(unsigned *)arg)++;
	return ERR_OK;
}

/* The whole state is that after step i, and nothing else. */
static void
verify(struct storage *s, unsigned i)
{
	const struct storage_driver *d = s->driver;
	struct storage_head head;
	unsigned blobs = 0;
	unsigned units = 0;
	unsigned parts = 0;
	assert_int_equal(d->check(s, ignore, NULL), ERR_OK);
	assert_int_equal(d->log_head(s, account_x, &head), ERR_OK);
	assert_int_equal(head.n, i);
	assert_int_equal(head.used, i);
	assert_int_equal(d->log_head(s, account_y, &head), ERR_OK);
	assert_int_equal(head.n, i > 0 ? i - 1 : 0);
	assert_int_equal(d->blob_walk(s, BYTES_EMPTY, count_row, &blobs), ERR_OK);
	assert_int_equal(blobs, i < KEPT_BLOBS ? i : KEPT_BLOBS);
	assert_int_equal(d->spool_walk(s, BYTES_EMPTY, count_row, &units), ERR_OK);
	assert_int_equal(d->spool_part_walk(s, count_row, &parts), ERR_OK);
	assert_int_equal(units, i > 0 ? 1 : 0);
	assert_int_equal(parts, units);
	if (i > 0) {
		struct buf b = BUF_INIT(8192);
		uint8_t name[16];
		name_of(i, name);
		assert_int_equal(d->blob_get(s, name, 0, &b), ERR_OK);
		assert_int_equal(b.len, 5000);
		assert_int_equal(b.ptr[4999], i & 0xff);
		buf_clear(&b);
	}
}

/* The child's life: opens, goes on where it stands, tells each answered step. */
static void
live(unsigned steps, int to_parent)
{
	struct storage *s = NULL;
	if (storage_sqlite_open(folder, true, false, &s) != ERR_OK) {
		_exit(3);
	}
	for (unsigned i = last_step(s) + 1; i <= steps; i++) {
		if (step(s, i) != ERR_OK) {
			_exit(4);
		}
		if (write(to_parent, &i, sizeof(i)) != sizeof(i)) {
			_exit(5);
		}
		if (i % 3 == 0 && s->driver->upkeep(s) != ERR_OK) {
			_exit(6);
		}
	}
	s->driver->destroy(&s);
	_exit(0);
}

/* Gives the last answered step; true where the child was cut short. */
static bool
run_child(enum shim_fault fault, unsigned long k, long kill_after_us, unsigned steps, unsigned *ret_answered)
{
	int fds[2];
	int status = 0;
	unsigned i = 0;
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(fds[0]);
		shim_arm(fault, k, (unsigned)k + 17);
		live(steps, fds[1]);
	}
	(void)close(fds[1]);
	if (kill_after_us >= 0) {
		struct timespec wait = {.tv_sec = 0, .tv_nsec = kill_after_us * 1000};
		(void)nanosleep(&wait, NULL);
		(void)kill(pid, SIGKILL);
	}
	while (read(fds[0], &i, sizeof(i)) == sizeof(i)) {
		*ret_answered = i;
	}
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return true;
	}
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7);
	return WEXITSTATUS(status) == 7;
}

static unsigned
reopen_and_verify(unsigned answered)
{
	struct storage *s = NULL;
	assert_int_equal(storage_sqlite_open(folder, true, false, &s), ERR_OK);
	unsigned there = last_step(s);
	/* The step under way may be there whole; its answer was lost. */
	assert_true(there == answered || there == answered + 1);
	verify(s, there);
	s->driver->destroy(&s);
	return there;
}

static void
cut_everywhere(enum shim_fault fault, enum err unused)
{
	(void)unused;
	unsigned long k = 1;
	for (bool cut = true; cut; k++) {
		unsigned answered = 0;
		empty_folder(false);
		cut = run_child(fault, k, -1, STEPS, &answered);
		assert_true(cut || answered == STEPS);
		(void)reopen_and_verify(answered);
	}
	/* The history really has that many places to be cut at. */
	assert_true(k > 100);
}

/* Where SQLite knows that torn writes harm no neighbour, its log is held back between syncs; elsewhere it is not. */
static void
on_each_disk(void (*test)(enum shim_fault fault, enum err expected), enum shim_fault fault, enum err expected)
{
	shim_claim_safe_overwrites(false);
	test(fault, expected);
	shim_claim_safe_overwrites(true);
	test(fault, expected);
}

static void
killed_at_each_write_everything_answered_is_there_and_nothing_half(void **state)
{
	(void)state;
	on_each_disk(cut_everywhere, SHIM_KILL, ERR_OK);
}

static void
a_power_cut_at_each_write_loses_nothing_answered(void **state)
{
	(void)state;
	on_each_disk(cut_everywhere, SHIM_POWER_CUT, ERR_OK);
}

/* Counts, and never comes to its fault. */
static void
count_events(void)
{
	shim_arm(SHIM_KILL, ULONG_MAX, 1);
}

static void
a_commit_writes_its_log_in_one_piece(void **state)
{
	struct storage *s = NULL;
	(void)state;
	empty_folder(false);
	assert_int_equal(storage_sqlite_open(folder, true, false, &s), ERR_OK);
	assert_int_equal(step(s, 1), ERR_OK);
	count_events();
	assert_int_equal(step(s, 2), ERR_OK);
	/* One write and one sync. */
	assert_int_equal(shim_disarm(), 2);
	s->driver->destroy(&s);
}

/* A transaction of more than SQLite's cache holds (16 MiB), not yet committed, and whether all of it can be read. */
static enum err
begin_large(struct storage *s, const uint8_t name[16], bool *ret_whole)
{
	enum { CHUNKS = 320 };
	static uint8_t data[STORAGE_BLOB_CHUNK_MAX];
	struct buf b = BUF_INIT(STORAGE_BLOB_CHUNK_MAX);
	bool whole = true;
	enum err e = s->driver->begin(s);
	for (uint32_t chunk = 0; chunk < CHUNKS && e == ERR_OK; chunk++) {
		memset(data, (int)chunk, sizeof(data));
		e = s->driver->blob_put(s, name, chunk, bytes_of(data, sizeof(data)));
	}
	for (uint32_t chunk = 0; chunk < CHUNKS && e == ERR_OK; chunk++) {
		buf_reset(&b);
		e = s->driver->blob_get(s, name, chunk, &b);
		whole = whole && e == ERR_OK && b.len == sizeof(data) && b.ptr[0] == (chunk & 0xff) &&
			memcmp(b.ptr, b.ptr + 1, b.len - 1) == 0;
	}
	buf_clear(&b);
	*ret_whole = whole;
	return e;
}

static void
what_left_the_cache_before_its_commit_is_read_from_the_log(void **state)
{
	struct storage *s = NULL;
	uint8_t name[16];
	bool whole = false;
	(void)state;
	empty_folder(false);
	name_of(1000, name);
	assert_int_equal(storage_sqlite_open(folder, true, false, &s), ERR_OK);
	assert_int_equal(step(s, 1), ERR_OK);
	count_events();
	assert_int_equal(begin_large(s, name, &whole), ERR_OK);
	assert_true(whole);
	s->driver->rollback(s);
	unsigned long most = shim_disarm();
	assert_true(most > 20 && most < 500);
	for (unsigned long k = 1; k <= most; k += 1 + most / 9) {
		shim_arm(SHIM_IO_ONCE, k, 1);
		assert_int_equal(begin_large(s, name, &whole), ERR_IO);
		s->driver->rollback(s);
		(void)shim_disarm();
		verify(s, 1);
	}
	/* Behind what was rolled back, the next ones stand as if it had never been. */
	for (unsigned i = 2; i <= STEPS; i++) {
		assert_int_equal(step(s, i), ERR_OK);
		assert_int_equal(begin_large(s, name, &whole), ERR_OK);
		assert_true(whole);
		s->driver->rollback(s);
	}
	s->driver->destroy(&s);
	assert_int_equal(reopen_and_verify(STEPS), STEPS);
}

static void
killed_at_random_moments_the_history_goes_on(void **state)
{
	unsigned answered = 0;
	uint32_t x = 12345;
	(void)state;
	empty_folder(false);
	for (int i = 0; i < KILLS; i++) {
		x = x * 1664525 + 1013904223;
		bool cut = run_child(SHIM_NONE, 0, (long)(x >> 16) % 40000, 1000000, &answered);
		assert_true(cut);
		answered = reopen_and_verify(answered);
	}
}

static enum err
try_history(struct storage *s, enum err *ret_first_error)
{
	unsigned steps_failed = 0;
	for (unsigned i = last_step(s) + 1; i <= STEPS; i++) {
		enum err e = step(s, i);
		if (e != ERR_OK) {
			*ret_first_error = e;
			s->driver->rollback(s);
			/* While the disk refuses, what was answered can be read. */
			assert_int_equal(last_step(s), i - 1);
			(void)shim_disarm();
			if (++steps_failed > 1) {
				return e;
			}
			i--;
			continue;
		}
		if (i % 3 == 0) {
			e = s->driver->upkeep(s);
			if (e != ERR_OK) {
				*ret_first_error = e;
				(void)shim_disarm();
				e = s->driver->upkeep(s);
			}
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	return ERR_OK;
}

static void
fail_everywhere(enum shim_fault fault, enum err expected)
{
	unsigned long last_event = 0;
	unsigned told = 0;
	for (unsigned long k = 1; last_event == 0 || k <= last_event; k += 1 + k / 60) {
		struct storage *s = NULL;
		enum err first = ERR_OK;
		empty_folder(false);
		shim_arm(fault, k, 1);
		enum err e = storage_sqlite_open(folder, true, false, &s);
		if (e != ERR_OK) {
			assert_int_equal(e, expected);
			assert_null(s);
			(void)shim_disarm();
			assert_int_equal(storage_sqlite_open(folder, true, false, &s), ERR_OK);
			told++;
		}
		assert_int_equal(try_history(s, &first), ERR_OK);
		if (first != ERR_OK) {
			assert_int_equal(first, expected);
			told++;
		}
		unsigned long seen = shim_disarm();
		if (seen > 0 && seen < k) {
			last_event = k; /* the history was over before */
		}
		verify(s, STEPS);
		s->driver->destroy(&s);
		assert_int_equal(reopen_and_verify(STEPS), STEPS);
	}
	assert_true(told > 30);
}

static void
a_full_disk_gives_err_full_and_then_the_store_goes_on(void **state)
{
	(void)state;
	on_each_disk(fail_everywhere, SHIM_FULL_ONCE, ERR_FULL);
	on_each_disk(fail_everywhere, SHIM_FULL_STAYS, ERR_FULL);
}

static void
a_write_error_gives_err_io_and_then_the_store_goes_on(void **state)
{
	(void)state;
	on_each_disk(fail_everywhere, SHIM_IO_ONCE, ERR_IO);
	on_each_disk(fail_everywhere, SHIM_IO_STAYS, ERR_IO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(killed_at_each_write_everything_answered_is_there_and_nothing_half),
	    cmocka_unit_test(a_power_cut_at_each_write_loses_nothing_answered),
	    cmocka_unit_test(a_commit_writes_its_log_in_one_piece),
	    cmocka_unit_test(what_left_the_cache_before_its_commit_is_read_from_the_log),
	    cmocka_unit_test(killed_at_random_moments_the_history_goes_on),
	    cmocka_unit_test(a_full_disk_gives_err_full_and_then_the_store_goes_on),
	    cmocka_unit_test(a_write_error_gives_err_io_and_then_the_store_goes_on),
	};
	if (sodium_init() < 0) {
		return 1;
	}
	/* In memory where there is one: the syncs are counted, and need not be waited for. */
	const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	(void)snprintf(folder, sizeof(folder), "%s/cohue-crash-XXXXXX", where);
	if (mkdtemp(folder) == NULL) {
		return 1;
	}
	shim_install();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	empty_folder(true);
	return failed;
}
