/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted must pass to the roles unchanged, and what is refused must say why. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c;
	static struct config back;
	struct config_error error = {.line = 0};
	struct buf one = BUF_INIT(CONFIG_ENCODED_MAX);
	struct buf two = BUF_INIT(CONFIG_ENCODED_MAX);
	config_defaults(&c);
	if (config_load(&c, bytes_of(data, size), "fuzz", &error) == ERR_OK) {
		if (config_encode(&c, &one) != ERR_OK || config_decode(buf_bytes(&one), &back) != ERR_OK ||
		    config_encode(&back, &two) != ERR_OK || !bytes_equal(buf_bytes(&one), buf_bytes(&two))) {
			abort();
		}
		enum err e = config_check(&c, "fuzz", &error);
		if (e != ERR_OK && error.text[0] == '\0') {
			abort();
		}
	} else if (error.text[0] == '\0') {
		abort();
	}
	/* The same bytes as a message from another process, and as --set. */
	if (config_decode(bytes_of(data, size), &back) == ERR_OK) {
		back.domain[0] = 'x';
	}
	if (config_set(&c, bytes_of(data, size), &error) != ERR_OK && error.text[0] == '\0') {
		abort();
	}
	buf_clear(&one);
	buf_clear(&two);
	return 0;
}
