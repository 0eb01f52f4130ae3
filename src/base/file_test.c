/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char path[96];
static char other[96];

static void
write_file(const char *where, mode_t mode, size_t size)
{
	(void)unlink(where);
	FILE *f = fopen(where, "w");
	assert_non_null(f);
	for (size_t i = 0; i < size; i++) {
		assert_true(fputc('a' + (int)(i % 26), f) != EOF);
	}
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(where, mode), 0);
}

static enum err
read_it(unsigned flags, mode_t refused, size_t most, size_t wanted)
{
	struct buf b = BUF_INIT(most + 1);
	assert_int_equal(buf_append_byte(&b, '!'), ERR_OK);
	enum err e = file_read(path, flags, refused, &b);
	assert_int_equal(b.len, e == ERR_OK ? 1 + wanted : 1);
	buf_wipe(&b);
	return e;
}

static void
a_file_is_read_whole_or_not_at_all(void **state)
{
	(void)state;
	write_file(path, 0600, 10000);
	assert_int_equal(read_it(0, 0, 10000, 10000), ERR_OK);
	assert_int_equal(read_it(0, 0, 9999, 0), ERR_LIMIT);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(read_it(0, 0, 10000, 0), ERR_NOT_FOUND);
}

static void
what_others_may_touch_is_refused(void **state)
{
	(void)state;
	static const mode_t modes[] = {0640, 0604, 0620, 0602, 0601, 0610};
	write_file(path, 0600, 10);
	assert_int_equal(read_it(FILE_OURS, S_IRWXG | S_IRWXO, 10, 10), ERR_OK);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		write_file(path, modes[i], 10);
		assert_int_equal(read_it(0, S_IRWXG | S_IRWXO, 10, 0), ERR_AUTH);
		assert_int_equal(read_it(0, 0, 10, 10), ERR_OK);
	}
	if (geteuid() == 0) {
		/* Another user's: root may read it, others may not, though its mode would let them. */
		write_file(path, 0644, 10);
		assert_int_equal(chmod(folder, 0711), 0);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(read_it(FILE_OURS, 0, 10, 10), ERR_OK);
		assert_int_equal(seteuid(54321), 0);
		enum err ours = read_it(FILE_OURS, 0, 10, 0);
		enum err any = read_it(0, 0, 10, 10);
		assert_int_equal(seteuid(0), 0);
		assert_int_equal(ours, ERR_AUTH);
		assert_int_equal(any, ERR_OK);
	}
}

static void
links_pipes_and_folders_are_no_files(void **state)
{
	(void)state;
	(void)unlink(path);
	write_file(other, 0604, 10);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(read_it(0, 0, 10, 10), ERR_OK);
	/* The mode is the file's, not the link's. */
	assert_int_equal(read_it(0, S_IROTH, 10, 0), ERR_AUTH);
	assert_true(read_it(FILE_NO_LINK, 0, 10, 0) != ERR_OK);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(read_it(0, 0, 10, 0), ERR_FORMAT); /* and does not wait for a writer */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(read_it(0, 0, 10, 0), ERR_FORMAT);
	assert_int_equal(rmdir(path), 0);
}

static void
a_file_is_replaced_whole_or_stays(void **state)
{
	(void)state;
	struct buf got = BUF_INIT(100);
	(void)unlink(path);
	(void)unlink(other);
	assert_int_equal(file_replace(folder, "file", BYTES_LIT("one"), 0600), ERR_OK);
	/* What an interrupted call left is no obstacle, and a link there is not followed. */
	char left[200];
	(void)snprintf(left, sizeof(left), "%s.new", path);
	assert_int_equal(symlink(other, left), 0);
	assert_int_equal(file_replace(folder, "file", BYTES_LIT("second"), 0600), ERR_OK);
	assert_int_not_equal(access(other, F_OK), 0);
	assert_int_not_equal(access(left, F_OK), 0);
	assert_int_equal(file_read(path, FILE_NO_LINK | FILE_OURS, S_IRWXG | S_IRWXO, &got), ERR_OK);
	assert_true(bytes_is(buf_bytes(&got), "second"));
	buf_clear(&got);
	/* A folder stands there: nothing of the new file remains. */
	assert_int_equal(mkdir(other, 0700), 0);
	assert_int_not_equal(file_replace(folder, "other", BYTES_LIT("x"), 0600), ERR_OK);
	(void)snprintf(left, sizeof(left), "%s.new", other);
	assert_int_not_equal(access(left, F_OK), 0);
	assert_int_equal(rmdir(other), 0);
	assert_int_equal(file_replace("/nonexistent", "x", BYTES_LIT("x"), 0600), ERR_NOT_FOUND);
}

static int
set_up(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/cohue-file-XXXXXX");
	if (mkdtemp(folder) == NULL) {
		return -1;
	}
	(void)snprintf(path, sizeof(path), "%s/file", folder);
	(void)snprintf(other, sizeof(other), "%s/other", folder);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(other);
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
	    cmocka_unit_test(what_others_may_touch_is_refused),
	    cmocka_unit_test(links_pipes_and_folders_are_no_files),
	    cmocka_unit_test(a_file_is_replaced_whole_or_stays),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
