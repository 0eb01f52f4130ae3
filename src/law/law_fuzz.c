/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "law/age.h"
#include "law/law.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t
counted(void *arg)
{
	uint64_t *n = arg;
	return ++*n * 0x9e3779b97f4a7c15U;
}

static void
expect(bool holds)
{
	if (!holds) {
		abort();
	}
}

static void
decide(struct law *law, struct law_random random)
{
	struct law_decision d;
	const msec age = (msec)1 << 41;
	struct law_time now = {.age = age, .wall = age};
	expect(law_decide(law, now, random, SIZE_MAX, &d) == ERR_OK);
	for (size_t i = 0; i < d.release_count; i++) {
		expect(d.releases[i].batch > 0 || d.releases[i].is_void || !d.releases[i].unit.counts ||
		       d.releases[i].unit.lane == LAW_DUE);
	}
	law_commit(law, &d);
	law_decision_clear(&d);
	/* Either there is nothing left to do, or the next tick is near, whatever the last one is said to have been. */
	msec next = law_next(law, now);
	expect(next == LAW_NEVER || (next > 0 && next <= 2 * MSEC_HOUR));
}

/*
 * What comes from disk: a class's counters, the last tick, the age clock, a unit. The first byte chooses;
 * with 4, records of all kinds by their lengths, and then a tick. What is accepted must come back as it was.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct law_config config = {.kind = LAW_CROWD,
						 .clock = MSEC_HOUR,
						 .k = 3,
						 .deadline = MSEC_DAY,
						 .mean = MSEC_MINUTE,
						 .patient = 2 * MSEC_DAY};
	static const uint8_t boot[LAW_BOOT_ID_LEN] = {1};
	uint64_t n = 0;
	struct law_random random = {.next = counted, .arg = &n};
	struct law *law = NULL;
	struct buf out = BUF_INIT(1 << 22);
	if (size == 0 || law_create(&config, &law) != ERR_OK) {
		return 0;
	}
	struct bytes rest = bytes_of(data + 1, size - 1);
	uint64_t id = 0;
	do {
		struct bytes one = rest;
		uint8_t kind = data[0];
		struct law_unit unit;
		struct law_age age;
		if (data[0] == 4) {
			if (rest.len < 2) {
				break;
			}
			size_t len = rest.ptr[1] < rest.len - 2 ? rest.ptr[1] : rest.len - 2;
			kind = rest.ptr[0] % 4;
			one = bytes_slice(rest, 2, len);
			rest = bytes_from(rest, 2 + len);
		} else {
			rest = BYTES_EMPTY;
		}
		buf_reset(&out);
		if (kind == 0 && law_class_decode(law, 0, one) == ERR_OK) {
			expect(law_class_encode(law, NULL, 0, &out) == ERR_OK);
			expect(bytes_equal(buf_bytes(&out), one));
		} else if (kind == 1 && law_tick_decode(law, one) == ERR_OK) {
			expect(law_tick_encode(law, NULL, &out) == ERR_OK);
			expect(bytes_equal(buf_bytes(&out), one));
		} else if (kind == 2 && law_age_resume(one, boot, 5, &age) == ERR_OK) {
			expect(law_age_now(&age, 5) >= 0);
		} else if (kind == 3 && law_unit_decode(one, ++id, &unit) == ERR_OK) {
			expect(law_unit_encode(&unit, &out) == ERR_OK);
			expect(bytes_equal(buf_bytes(&out), one));
			law_admit(law, (struct law_time){.age = 7, .wall = 7}, random, &unit);
			enum err e = law_insert(law, &unit);
			expect(e == ERR_OK || e == ERR_FORMAT);
		}
	} while (rest.len > 0);
	decide(law, random);
	law_destroy(&law);
	buf_clear(&out);
	return 0;
}
