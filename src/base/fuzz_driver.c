/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Runs a fuzz target over files and folders named on the command line, then over mutations of each. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MUTATIONS = 64, INPUT_MAX = 1 << 20 };

static unsigned long runs;

static void
run_bytes(const uint8_t *data, size_t size)
{
	(void)LLVMFuzzerTestOneInput(data, size);
	runs++;
}

static void
run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		exit(1);
	}
	uint8_t *data = malloc(INPUT_MAX);
	if (data == NULL) {
		exit(1);
	}
	size_t size = fread(data, 1, INPUT_MAX, f);
	(void)fclose(f);
	run_bytes(data, size);
	/* A fixed generator, so that a failure can be repeated. */
	uint32_t x = 2463534242U;
	for (int i = 0; i < MUTATIONS && size > 0; i++) {
		uint8_t *copy = malloc(size);
		if (copy == NULL) {
			exit(1);
		}
		memcpy(copy, data, size);
		size_t len = size;
		for (int k = 0; k < 1 + i % 4; k++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			copy[x % size] = (uint8_t)(x >> 24);
		}
		if (i % 8 == 7) {
			len = x % size;
		}
		run_bytes(copy, len);
		free(copy);
	}
	free(data);
}

static void
run_path(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0) {
		perror(path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	DIR *d = opendir(path);
	if (d == NULL) {
		perror(path);
		exit(1);
	}
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		char full[4096];
		if (e->d_name[0] == '.') {
			continue;
		}
		(void)snprintf(full, sizeof(full), "%s/%s", path, e->d_name);
		run_path(full);
	}
	(void)closedir(d);
}

int
main(int argc, char **argv)
{
	run_bytes((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		run_path(argv[i]);
	}
	(void)printf("%lu inputs\n", runs);
	return runs > 1 ? 0 : 1;
}
