/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/address.h"
#include "mail/charset.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool good)
{
	if (!good) {
		panic("mail header: a promise is broken");
	}
}

static void
values(struct arena *arena, struct bytes value)
{
	struct mail_addresses addresses;
	struct mail_content content;
	struct mail_ids ids;
	struct mail_date date;
	struct mail_mailbox mailbox;
	struct bytes token;
	const struct bytes *languages;
	size_t count;
	struct buf out = BUF_INIT(1 << 20);
	if (mail_addresses_parse(arena, value, 100, &addresses) == ERR_OK) {
		bool in_group = false;
		check(addresses.count <= 100);
		for (size_t i = 0; i < addresses.count; i++) {
			bool end = addresses.list[i].kind == MAIL_ADDRESS_GROUP_END;
			check(!end || in_group);
			in_group = addresses.list[i].kind == MAIL_ADDRESS_GROUP || (in_group && !end);
		}
		check(!in_group);
	}
	if (mail_content_type_parse(arena, value, &content) == ERR_OK) {
		check(content.type.len > 0 && content.subtype.len > 0);
		(void)!mail_param_decode(&content.params, "name", &out);
	}
	if (mail_disposition_parse(arena, value, &content) == ERR_OK) {
		(void)!mail_param_decode(&content.params, "filename", &out);
	}
	(void)!mail_ids_parse(arena, value, 10, &ids);
	(void)!mail_date_parse(value, &date);
	(void)!mail_languages_parse(arena, value, &languages, &count);
	(void)!mail_token_parse(arena, value, &token);
	buf_reset(&out);
	if (mail_words_decode(value, &out) == ERR_OK) {
		check(bytes_is_utf8(buf_bytes(&out)));
	}
	buf_reset(&out);
	if (mail_mailbox_parse(value, &mailbox) == ERR_OK) {
		(void)!mail_mailbox_normalise(&mailbox, &out);
	}
	(void)!mail_path_parse(value, &mailbox, &count);
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = bytes_of(data, size);
	struct mail_fields it;
	struct mail_field field;
	struct arena arena;
	arena_init(&arena, 16 << 20);
	size_t length = mail_header_length(input);
	check(length <= size);
	mail_fields_init(&it, input);
	size_t at = 0;
	while (mail_fields_next(&it, &field)) {
		check(field.offset >= at && field.offset + field.whole.len <= length && field.name.len > 0);
		at = field.offset + field.whole.len;
		values(&arena, field.value);
	}
	values(&arena, input);
	arena_clear(&arena);
	return 0;
}
