/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
 * Prints what the mail library reads in a message, as JSON, for
 * test/oracle_mail.py. The structure printed went through the summary's wire form.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mail/charset.h"
#include "mail/decode.h"
#include "mail/summary.h"

static void
json_bytes(struct bytes text)
{
	/* As Latin-1: each octet is one code point, which the reader turns back. */
	(void)putchar('"');
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c < 32 || c > 126 || c == '"' || c == '\\') {
			(void)printf("\\u%04x", c);
		} else {
			(void)putchar(c);
		}
	}
	(void)putchar('"');
}

static void
json_member(const char *name, struct bytes text)
{
	(void)printf(",\"%s\":", name);
	if (text.ptr == NULL) {
		(void)printf("null");
	} else {
		json_bytes(text);
	}
}

static void
json_decoded(const char *name, struct bytes text)
{
	struct buf out = BUF_INIT(64 << 20);
	if (text.ptr != NULL && mail_words_decode(text, &out) != ERR_OK) {
		exit(1);
	}
	json_member(name, text.ptr == NULL ? text : out.len == 0 ? bytes_of("", 0) : buf_bytes(&out));
	buf_clear(&out);
}

static void
json_addresses(const char *name, const struct mail_addresses *list)
{
	(void)printf(",\"%s\":[", name);
	for (size_t i = 0; i < list->count; i++) {
		(void)printf("%s{\"kind\":%d", i > 0 ? "," : "", (int)list->list[i].kind);
		json_decoded("name", list->list[i].name);
		json_member("local", list->list[i].local);
		json_member("domain", list->list[i].domain);
		(void)printf("}");
	}
	(void)printf("]");
}

static void
json_part(const struct mail_part *part, struct bytes message)
{
	struct buf body = BUF_INIT(64 << 20);
	struct buf name = BUF_INIT(1 << 20);
	struct mail_fields it;
	struct mail_field field;
	if (mail_decode(mail_encoding_of(part->encoding), bytes_slice(message, part->body_at, part->body_len),
			&body) != ERR_OK) {
		exit(1);
	}
	(void)printf("{\"kind\":%d,\"parent\":%d,\"header_at\":%zu,\"header_len\":%zu,\"body_at\":%zu,\"body_"
		     "len\":%zu,"
		     "\"body_lines\":%zu",
		     (int)part->kind, part->parent == MAIL_NO_PART ? -1 : (int)part->parent, part->header_at,
		     part->header_len, part->body_at, part->body_len, part->body_lines);
	json_member("type", part->type);
	json_member("subtype", part->subtype);
	json_member("encoding", part->encoding);
	json_member("disposition", part->disposition);
	if (part->kind == MAIL_PART_LEAF) {
		json_member("decoded", body.len == 0 ? bytes_of("", 0) : buf_bytes(&body));
	}
	if (mail_param_decode(&part->disposition_params, "filename", &name) == ERR_OK ||
	    mail_param_decode(&part->params, "name", &name) == ERR_OK) {
		json_member("filename", buf_bytes(&name));
	}
	(void)printf(",\"fields\":[");
	mail_fields_init(&it, bytes_slice(message, part->header_at, part->header_len));
	for (const char *comma = ""; mail_fields_next(&it, &field); comma = ",") {
		(void)printf("%s[", comma);
		json_bytes(field.name);
		(void)putchar(',');
		json_bytes(field.value);
		(void)putchar(']');
	}
	(void)printf("]");
	if (part->envelope != NULL) {
		const struct mail_envelope *env = part->envelope;
		(void)printf(",\"envelope\":{\"sent\":%lld,\"has_sent\":%s,\"truncated\":%s",
			     (long long)env->sent.seconds, env->has_sent ? "true" : "false",
			     env->truncated ? "true" : "false");
		json_decoded("subject", env->subject);
		json_member("message_id", env->message_id);
		json_addresses("from", &env->from);
		json_addresses("to", &env->to);
		json_addresses("cc", &env->cc);
		json_addresses("reply_to", &env->reply_to);
		(void)printf("}");
	}
	(void)printf("}");
	buf_clear(&body);
	buf_clear(&name);
}

static void
dump(const char *path, struct bytes message)
{
	struct arena arena;
	struct mail_structure parsed;
	struct mail_structure s;
	struct buf wire = BUF_INIT(MAIL_SUMMARY_MAX);
	arena_init(&arena, MAIL_PARSE_MEMORY + MAIL_SUMMARY_MEMORY);
	if (mail_parse(&arena, message, &parsed) != ERR_OK || mail_summary_encode(&parsed, &wire) != ERR_OK ||
	    mail_summary_decode(&arena, buf_bytes(&wire), message.len, &s) != ERR_OK) {
		(void)fprintf(stderr, "%s: not parsed\n", path);
		exit(1);
	}
	(void)printf("{\"path\":");
	json_bytes(bytes_str(path));
	(void)printf(",\"size\":%zu,\"summary\":%zu,\"parts\":[", message.len, wire.len);
	for (size_t i = 0; i < s.count; i++) {
		(void)printf("%s", i > 0 ? "," : "");
		json_part(&s.parts[i], message);
	}
	(void)printf("]}\n");
	buf_clear(&wire);
	arena_clear(&arena);
}

int
main(int argc, char **argv)
{
	enum { MOST = 64 << 20 };
	uint8_t *data = malloc(MOST);
	if (data == NULL) {
		return 1;
	}
	mail_charset_preload();
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		if (f == NULL) {
			perror(argv[i]);
			free(data);
			return 1;
		}
		size_t n = fread(data, 1, MOST, f);
		(void)fclose(f);
		dump(argv[i], bytes_of(data, n));
	}
	mail_charset_unload();
	free(data);
	return 0;
}
