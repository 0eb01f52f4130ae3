/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "sealed/spool.h"
#include "sealed/value.h"

enum { VALUE_STEP = 512 };

static enum err
value_ad(struct sealed_ad *ad, const char *name)
{
	size_t len = strlen(name);
	if (len > SPOOL_NAME_MAX) {
		return ERR_LIMIT;
	}
	sealed_ad_init(ad, "cohue spool value 1");
	sealed_ad_put_u8(ad, SEALED_VERSION);
	sealed_ad_put(ad, name, len);
	return ERR_OK;
}

enum err
spool_value_seal(struct bytes plain, const uint8_t spool_state_key[SEALED_KEY_LEN], const char *name,
		 struct buf *ret)
{
	struct sealed_ad ad;
	size_t before = ret->len;
	enum err e = plain.len > SPOOL_VALUE_MAX ? ERR_LIMIT : value_ad(&ad, name);
	if (e == ERR_OK) {
		e = buf_append_byte(ret, SEALED_VERSION);
	}
	if (e == ERR_OK) {
		e = sealed_body_put(spool_state_key, &ad, plain, sealed_step(plain.len, VALUE_STEP), ret);
	}
	if (e != ERR_OK) {
		buf_truncate(ret, before);
	}
	return e;
}

enum err
spool_value_open(const uint8_t spool_state_key[SEALED_KEY_LEN], const char *name, struct bytes value,
		 struct buf *ret_plain)
{
	struct sealed_ad ad;
	enum err e = value_ad(&ad, name);
	if (e == ERR_OK && value.len == 0) {
		e = ERR_FORMAT;
	}
	if (e == ERR_OK && value.ptr[0] != SEALED_VERSION) {
		e = ERR_UNSUPPORTED;
	}
	return e == ERR_OK ? sealed_body_get(spool_state_key, &ad, bytes_from(value, 1), ret_plain) : e;
}
