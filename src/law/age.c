/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "base/wire.h"
#include "law/age.h"

enum { AGE_VERSION = 1 };

void
law_age_start(struct law_age *a, const uint8_t boot_id[LAW_BOOT_ID_LEN], msec boot_now)
{
	a->age = 0;
	a->boot = boot_now;
	memcpy(a->boot_id, boot_id, LAW_BOOT_ID_LEN);
}

enum err
law_age_resume(struct bytes saved, const uint8_t boot_id[LAW_BOOT_ID_LEN], msec boot_now, struct law_age *ret)
{
	struct law_age a;
	struct wire_reader r;
	wire_reader_init(&r, saved);
	uint8_t version = wire_get_u8(&r);
	if (r.error == ERR_OK && version != AGE_VERSION) {
		return ERR_UNSUPPORTED;
	}
	uint64_t age = wire_get_u64(&r);
	uint64_t boot = wire_get_u64(&r);
	wire_get_fixed(&r, a.boot_id, LAW_BOOT_ID_LEN);
	enum err e = wire_end(&r);
	/* Half the range each: law_age_now cannot overflow. */
	if (e == ERR_OK && (age > INT64_MAX / 4 || boot > INT64_MAX / 4)) {
		e = ERR_FORMAT;
	}
	if (e != ERR_OK) {
		return e;
	}
	bool same_boot = memcmp(a.boot_id, boot_id, LAW_BOOT_ID_LEN) == 0 && boot_now >= (msec)boot;
	a.age = (msec)age;
	a.boot = same_boot ? (msec)boot : boot_now;
	memcpy(a.boot_id, boot_id, LAW_BOOT_ID_LEN);
	*ret = a;
	return ERR_OK;
}

void
law_age_reach(struct law_age *a, msec boot_now, msec age)
{
	msec now = law_age_now(a, boot_now);
	if (age > now && age <= INT64_MAX / 4) {
		a->age += age - now;
	}
}

msec
law_age_now(const struct law_age *a, msec boot_now)
{
	return boot_now > a->boot ? a->age + (boot_now - a->boot) : a->age;
}

enum err
law_age_save(const struct law_age *a, msec boot_now, struct buf *out)
{
	struct wire_writer w;
	wire_writer_init(&w, out);
	wire_put_u8(&w, AGE_VERSION);
	wire_put_u64(&w, (uint64_t)law_age_now(a, boot_now));
	wire_put_u64(&w, (uint64_t)(boot_now > a->boot ? boot_now : a->boot));
	wire_put_fixed(&w, a->boot_id, LAW_BOOT_ID_LEN);
	return wire_done(&w);
}
