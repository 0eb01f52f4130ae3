/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <string.h>

#include "mail/privacy.h"
#include "mail/structure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err
map_all(void *arg, struct bytes id, struct buf *out)
{
	(void)arg;
	return id.len % 2 == 0 ? buf_append_str(out, "<mapped@house.example>") : ERR_OK;
}

static void
panic_if(bool wrong, const char *what)
{
	if (wrong) {
		panic(what);
	}
}

/* The same parts, with the same octets in them. */
static void
compare(struct bytes before, struct bytes after)
{
	struct arena arena;
	struct mail_structure a;
	struct mail_structure b;
	arena_init(&arena, 2 * (size_t)MAIL_PARSE_MEMORY);
	panic_if(mail_parse(&arena, before, &a) != ERR_OK || mail_parse(&arena, after, &b) != ERR_OK,
		 "does not parse");
	panic_if(!a.truncated && a.count != b.count, "parts got lost");
	for (size_t i = 0; !a.truncated && i < a.count; i++) {
		const struct mail_part *p = &a.parts[i];
		const struct mail_part *q = &b.parts[i];
		panic_if(p->kind != q->kind || p->parent != q->parent, "another structure");
		panic_if(p->kind == MAIL_PART_LEAF &&
			     !bytes_equal(bytes_slice(before, p->body_at, p->body_len),
					  bytes_slice(after, q->body_at, q->body_len)),
			 "a part has other octets");
	}
	arena_clear(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes message = bytes_of(data, size);
	struct arena arena;
	struct mail_privacy_look look;
	struct buf once = BUF_INIT(size * 16 + MAIL_PRIVACY_FIELDS_MAX);
	struct buf twice = BUF_INIT(size * 32 + MAIL_PRIVACY_FIELDS_MAX);
	struct mail_field f;
	if (!mail_field_find(message, "From", &f)) {
		return 0; /* refused at submission */
	}
	arena_init(&arena, MAIL_PARSE_MEMORY);
	panic_if(mail_privacy_look(&arena, message, &look) != ERR_OK, "cannot look");
	struct mail_privacy p = {.id = BYTES_LIT("<0123456789abcdef0123456789abcdef@house.example>"),
				 .map = map_all,
				 .date = (enum mail_privacy_date)(size % 3),
				 .now = 1700000000,
				 .seed = {0xfe, 0xed}};
	panic_if(mail_privacy_leave(message, &p, &once) != ERR_OK, "cannot rewrite");
	compare(message, buf_bytes(&once));
	static const char *const gone[] = {"Bcc", "Received", "User-Agent", "X-Mailer"};
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		panic_if(mail_field_find(buf_bytes(&once), gone[i], &f), gone[i]);
	}
	panic_if(mail_privacy_leave(buf_bytes(&once), &p, &twice) != ERR_OK, "cannot do it again");
	compare(buf_bytes(&once), buf_bytes(&twice));
	buf_reset(&twice);
	panic_if(mail_privacy_keep(message, &p, &twice) != ERR_OK, "cannot keep it");
	compare(message, buf_bytes(&twice));
	buf_clear(&once);
	buf_clear(&twice);
	arena_clear(&arena);
	return 0;
}
