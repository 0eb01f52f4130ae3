/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What the sealed formats cost, in microseconds of CPU each. Asserts nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/secret.h"
#include "sealed/arrival.h"
#include "sealed/record.h"
#include "sealed/slots.h"

static double
cpu_seconds(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
must(enum err e)
{
	if (e != ERR_OK) {
		panic(err_text(e));
	}
}

static struct blob_codec *codec;
static struct blob_ref ref;
static struct buf message = {.max = 1 << 24};
static struct buf stored = {.max = 1 << 24};
static struct buf out = {.max = 1 << 24};
static struct member_keys keys;
static struct record_place place = {.kind = 2, .n = 1};
static uint8_t account[16];
static const uint8_t pepper[32];
static struct sealed_slots *slots;
static struct slot_code app;
static struct arrival arrival;

static enum err
keep(void *arg, uint32_t index, struct bytes chunk)
{
	if (index == 0) {
		buf_reset(arg);
	}
	return buf_append(arg, chunk);
}

static void
run_blob_seal(void)
{
	must(blob_seal(codec, &ref, buf_bytes(&message), keep, &stored));
}

static void
run_blob_open(void)
{
	buf_reset(&out);
	must(blob_open_small(codec, &ref, buf_bytes(&stored), &out));
}

static void
run_arrival_seal(void)
{
	buf_reset(&stored);
	must(arrival_seal(account, 1, keys.keys[0].public_key, &arrival, &stored));
}

static void
run_arrival_open(void)
{
	struct arrival got;
	buf_reset(&out);
	must(arrival_open(account, &keys, buf_bytes(&stored), &out, &got));
}

static void
run_record_seal(void)
{
	buf_reset(&stored);
	must(record_seal(&keys, &place, bytes_slice(buf_bytes(&message), 0, 800), &stored));
}

static void
run_record_open(void)
{
	buf_reset(&out);
	must(record_open(&keys, &place, buf_bytes(&stored), &out));
}

static void
run_app(void)
{
	struct member_keys got;
	uint32_t number = 0;
	member_keys_init(&got);
	must(sealed_slots_open_code(slots, pepper, &app, &got, &number));
	member_keys_clear(&got);
}

static void
run_app_wrong(void)
{
	if (sealed_slots_fake_open(pepper, BYTES_EMPTY, &app) != ERR_AUTH) {
		panic("a fake opened");
	}
}

static void
run_main_wrong(void)
{
	if (sealed_slots_fake_open(pepper, BYTES_LIT("guess"), NULL) != ERR_AUTH) {
		panic("a fake opened");
	}
}

static void
measure(const char *what, void (*fn)(void), unsigned times)
{
	double start = cpu_seconds();
	for (unsigned i = 0; i < times; i++) {
		fn();
	}
	double each = (cpu_seconds() - start) / times;
	(void)printf("%-34s %10.1f us %12.0f /s\n", what, each * 1e6, 1 / each);
}

int
main(void)
{
	uint8_t secret[32];
	uint8_t public_key[32];
	must(crypto_init());
	must(secret_pool_init(SECRET_POOL_BYTES));
	must(blob_codec_create(&codec));
	member_keys_init(&keys);
	must(sealed_slots_create(account, &slots, &keys));
	must(sealed_slots_add_code(slots, &keys, pepper, SLOT_APP, 1, BYTES_EMPTY, &app));
	box_pair(public_key, secret);
	blob_ref_init(&ref);
	arrival.summary = BYTES_LIT("summary");
	arrival.blob.stored = 4096 + BLOB_CHUNK_OVERHEAD;
	arrival.blob.chunks = 1;
	for (size_t i = 0; message.len < 4000; i++) {
		must(buf_printf(&message, "%zu words of a message %zx\r\n", i, i * 2654435761U));
	}
	measure("blob seal 4 kB", run_blob_seal, 5000);
	measure("blob open 4 kB", run_blob_open, 5000);
	measure("arrival seal", run_arrival_seal, 5000);
	measure("arrival open", run_arrival_open, 5000);
	measure("record seal 800 B", run_record_seal, 20000);
	measure("record open 800 B", run_record_open, 20000);
	measure("app password, right", run_app, 2000);
	measure("app password, unknown member", run_app_wrong, 5000);
	measure("main password, unknown member", run_main_wrong, 3);
	for (size_t i = 0; message.len < 1000000; i++) {
		must(buf_printf(&message, "%zu words of a message %zx\r\n", i, i * 2654435761U));
	}
	measure("blob seal 1 MB", run_blob_seal, 50);
	member_keys_clear(&keys);
	sealed_slots_destroy(&slots);
	blob_codec_destroy(&codec);
	buf_clear(&message);
	buf_clear(&stored);
	buf_clear(&out);
	return 0;
}
