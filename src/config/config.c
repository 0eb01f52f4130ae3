/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "config/config_internal.h"

enum { ENCODED_VERSION = 1, KEY_NAME_MAX = 48, KEYS_MAX = 128, SHOWN_MAX = 60 };

static void
tell(struct config_error *ret, const char *name, unsigned line, const char *subject, const char *what,
     const char *remedy)
{
	char place[32] = "";
	struct config_error error = {.line = line};
	if (line > 0) {
		(void)snprintf(place, sizeof(place), ":%u", line);
	}
	(void)snprintf(error.text, sizeof(error.text), "%.300s%s: %s%s%s. Remedy: %s.", name, place, subject,
		       subject[0] == '\0' ? "" : " ", what, remedy);
	*ret = error;
}

/* What stood in the file, short and printable. */
static void
show(struct bytes text, char ret[SHOWN_MAX + 4])
{
	size_t n = 0;
	for (size_t i = 0; i < text.len && n < SHOWN_MAX; i++) {
		bool plain = text.ptr[i] >= 0x20 && text.ptr[i] < 0x7f;
		ret[n++] = plain ? (char)text.ptr[i] : '?';
	}
	ret[n] = '\0';
	if (text.len > SHOWN_MAX) {
		memcpy(ret + n, "...", 4);
	}
}

static const struct config_key *
find_key(struct bytes name)
{
	for (size_t i = 0; i < config_key_count; i++) {
		if (bytes_is(name, config_keys[i].name)) {
			return &config_keys[i];
		}
	}
	return NULL;
}

/* Edits (insert, delete, replace) from a to b; both at most KEY_NAME_MAX. */
static size_t
edit_distance(struct bytes a, struct bytes b)
{
	size_t row[KEY_NAME_MAX + 1];
	for (size_t k = 0; k <= b.len; k++) {
		row[k] = k;
	}
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t k = 1; k <= b.len; k++) {
			size_t above = row[k];
			size_t best = diagonal + (ascii_lower(a.ptr[i - 1]) != b.ptr[k - 1]);
			best = above + 1 < best ? above + 1 : best;
			best = row[k - 1] + 1 < best ? row[k - 1] + 1 : best;
			row[k] = best;
			diagonal = above;
		}
	}
	return row[b.len];
}

/* The key nearest to a name: few edits, or the same last part ("quota" for "limits.quota"). NULL. */
static const char *
nearest_key(struct bytes name)
{
	const char *best = NULL;
	size_t least = SIZE_MAX;
	if (name.len == 0 || name.len > KEY_NAME_MAX) {
		return NULL;
	}
	for (size_t i = 0; i < config_key_count; i++) {
		struct bytes key = bytes_str(config_keys[i].name);
		ptrdiff_t dot = bytes_find(key, '.');
		size_t distance = edit_distance(name, key);
		if (dot >= 0 && bytes_equal_nocase(bytes_from(key, (size_t)dot + 1), name)) {
			distance = 1;
		}
		if (distance < least && distance <= 1 + key.len / 4) {
			least = distance;
			best = config_keys[i].name;
		}
	}
	return best;
}

/* One "key = value". `seen`: per key the line that set it (NULL: not asked). */
static enum err
read_assignment(struct config *c, struct bytes text, const char *name, unsigned line, unsigned *seen,
		struct config_error *ret)
{
	char shown[SHOWN_MAX + 4];
	char subject[2 * SHOWN_MAX];
	char remedy[320];
	ptrdiff_t equals = bytes_find(text, '=');
	if (equals < 0) {
		show(text, shown);
		(void)snprintf(subject, sizeof(subject), "\"%s\"", shown);
		tell(ret, name, line, subject,
		     "has no =", "write it as KEY = VALUE, or put # before a comment");
		return ERR_FORMAT;
	}
	struct bytes key_name = bytes_trim(bytes_slice(text, 0, (size_t)equals));
	struct bytes value = bytes_trim(bytes_from(text, (size_t)equals + 1));
	const struct config_key *key = find_key(key_name);
	if (key == NULL) {
		const char *nearest = nearest_key(key_name);
		show(key_name, shown);
		(void)snprintf(remedy, sizeof(remedy), "%s%s",
			       nearest == NULL ? "remove the line; cohue.conf(5) lists all keys"
					       : "did you mean ",
			       nearest == NULL ? "" : nearest);
		tell(ret, name, line, shown, "is not a key of this file", remedy);
		return ERR_FORMAT;
	}
	if (seen != NULL) {
		unsigned *before = &seen[key - config_keys];
		if (*before != 0) {
			(void)snprintf(remedy, sizeof(remedy), "remove this line or line %u", *before);
			tell(ret, name, line, key->name, "is set twice", remedy);
			return ERR_FORMAT;
		}
		*before = line;
	}
	struct config_fault fault;
	enum err e = config_value_read(key, value, c, &fault);
	if (e == ERR_FORMAT) {
		show(value, shown);
		(void)snprintf(subject, sizeof(subject), "%s: \"%s\"", key->name, shown);
		tell(ret, name, line, subject, fault.what, fault.remedy);
	}
	return e;
}

/* Without a comment: # at the start, or behind a blank. */
static struct bytes
without_comment(struct bytes line)
{
	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] == '#' && (i == 0 || line.ptr[i - 1] == ' ' || line.ptr[i - 1] == '\t')) {
			return bytes_slice(line, 0, i);
		}
	}
	return line;
}

static enum err
read_lines(struct config *c, struct bytes text, const char *name, struct config_error *ret)
{
	unsigned seen[KEYS_MAX] = {0};
	unsigned line = 0;
	while (text.len > 0) {
		ptrdiff_t end = bytes_find(text, '\n');
		size_t n = end < 0 ? text.len : (size_t)end;
		struct bytes content = bytes_trim(without_comment(bytes_slice(text, 0, n)));
		text = bytes_from(text, end < 0 ? n : n + 1);
		line++;
		if (content.len == 0) {
			continue;
		}
		enum err e = read_assignment(c, content, name, line, seen, ret);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

void
config_defaults(struct config *c)
{
	memset(c, 0, sizeof(*c));
	if (config_key_count > KEYS_MAX) {
		panic("too many config keys");
	}
	for (size_t i = 0; i < config_key_count; i++) {
		struct config_fault fault;
		if (config_value_read(&config_keys[i], bytes_str(config_keys[i].standard), c, &fault) !=
		    ERR_OK) {
			panic("a config default that is not valid");
		}
	}
}

enum err
config_load(struct config *c, struct bytes text, const char *name, struct config_error *ret)
{
	if (text.len > CONFIG_FILE_MAX) {
		tell(ret, name, 0, "", "the file is larger than 64 KiB",
		     "is this the right file? A config is small");
		return ERR_FORMAT;
	}
	if (!bytes_is_utf8(text)) {
		tell(ret, name, 0, "", "the file is not UTF-8 text", "save it as UTF-8");
		return ERR_FORMAT;
	}
	if (bytes_starts_with(text, "\xef\xbb\xbf")) {
		text = bytes_from(text, 3);
	}
	struct config *next = malloc(sizeof(*next));
	if (next == NULL) {
		return ERR_MEMORY;
	}
	*next = *c;
	enum err e = read_lines(next, text, name, ret);
	if (e == ERR_OK) {
		*c = *next;
	}
	free(next);
	return e;
}

enum err
config_set(struct config *c, struct bytes assignment, struct config_error *ret)
{
	if (!bytes_is_utf8(assignment)) {
		tell(ret, "--set", 0, "", "the value is not UTF-8 text", "write it as UTF-8");
		return ERR_FORMAT;
	}
	return read_assignment(c, bytes_trim(assignment), "--set", 0, NULL, ret);
}

enum err
config_check(const struct config *c, const char *name, struct config_error *ret)
{
	struct config_fault fault;
	enum err e = config_check_pairs(c, &fault);
	if (e != ERR_OK) {
		tell(ret, name, 0, "", fault.what, fault.remedy);
	}
	return e;
}

enum err
config_get(const struct config *c, const char *key, struct buf *out)
{
	const struct config_key *k = find_key(bytes_str(key));
	return k == NULL ? ERR_NOT_FOUND : config_value_print(k, c, out);
}

/* Words of the help as comment lines of at most 100 columns. */
static enum err
write_comment(struct buf *out, const char *help)
{
	struct bytes rest = bytes_str(help);
	size_t column = 0;
	enum err e = ERR_OK;
	while (rest.len > 0 && e == ERR_OK) {
		ptrdiff_t blank = bytes_find(rest, ' ');
		struct bytes word = bytes_slice(rest, 0, blank < 0 ? rest.len : (size_t)blank);
		rest = bytes_from(rest, word.len + 1);
		if (column == 0 || column + 1 + word.len > 100) {
			e = buf_append_str(out, column == 0 ? "#" : "\n#");
			column = 1;
		}
		e = e == ERR_OK ? buf_append_byte(out, ' ') : e;
		e = e == ERR_OK ? buf_append(out, word) : e;
		column += 1 + word.len;
	}
	return e == ERR_OK ? buf_append_byte(out, '\n') : e;
}

enum err
config_write_template(struct buf *out, const char *domain, const char *hostname, const char *house_key,
		      uint32_t port_offset)
{
	char offset[16];
	(void)snprintf(offset, sizeof(offset), "%u", (unsigned)port_offset);
	const struct {
		const char *key;
		const char *value;
	} given[] = {
	    {"domain", domain}, {"hostname", hostname}, {"house_key", house_key}, {"port_offset", offset}};
	enum err e = buf_append_str(out, "# Cohue's configuration: KEY = VALUE lines; see cohue.conf(5).\n"
					 "# What is commented out shows the default.\n");
	for (size_t i = 0; i < config_key_count && e == ERR_OK; i++) {
		const struct config_key *key = &config_keys[i];
		const char *value = key->standard;
		for (size_t k = 0; k < sizeof(given) / sizeof(given[0]); k++) {
			value = strcmp(key->name, given[k].key) == 0 ? given[k].value : value;
		}
		if (key->group != NULL) {
			e = buf_printf(out, "\n# --- %s ---\n", key->group);
		}
		e = e == ERR_OK ? buf_append_byte(out, '\n') : e;
		e = e == ERR_OK ? write_comment(out, key->help) : e;
		e = e == ERR_OK
			? buf_printf(out, "%s%s =%s%s\n", strcmp(value, key->standard) == 0 ? "#" : "",
				     key->name, value[0] == '\0' ? "" : " ", value)
			: e;
	}
	return e;
}

/* roff: a backslash or a leading dot would be a request; hyphens stay plain for searching. */
static enum err
write_roff(struct buf *out, const char *text)
{
	enum err e = ERR_OK;
	for (size_t i = 0; text[i] != '\0' && e == ERR_OK; i++) {
		bool line_start = out->len == 0 || out->ptr[out->len - 1] == '\n';
		if (line_start && (text[i] == '.' || text[i] == '\'')) {
			e = buf_append_str(out, "\\&");
		}
		if (e == ERR_OK && (text[i] == '\\' || text[i] == '-')) {
			e = buf_append_byte(out, '\\');
		}
		e = e == ERR_OK ? buf_append_byte(out, (uint8_t)text[i]) : e;
	}
	return e;
}

enum err
config_describe(struct buf *out)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < config_key_count && e == ERR_OK; i++) {
		const struct config_key *key = &config_keys[i];
		if (key->group != NULL) {
			e = buf_printf(out, ".SS %s\n", key->group);
		}
		e = e == ERR_OK ? buf_printf(out, ".TP\n.B %s\n", key->name) : e;
		e = e == ERR_OK ? write_roff(out, key->help) : e;
		if (e == ERR_OK && key->standard[0] != '\0') {
			e = buf_append_str(out, "\nDefault: ");
			e = e == ERR_OK ? write_roff(out, key->standard) : e;
			e = e == ERR_OK ? buf_append_byte(out, '.') : e;
		}
		e = e == ERR_OK ? buf_append_byte(out, '\n') : e;
	}
	return e;
}

/* Version, number of keys, then each key's value as text, in the order of the table. */
enum err
config_encode(const struct config *c, struct buf *out)
{
	struct wire_writer w;
	struct buf value = BUF_INIT(CONFIG_ENCODED_MAX);
	wire_writer_init(&w, out);
	wire_put_u8(&w, ENCODED_VERSION);
	wire_put_u16(&w, (uint16_t)config_key_count);
	enum err e = wire_done(&w);
	for (size_t i = 0; i < config_key_count && e == ERR_OK; i++) {
		buf_reset(&value);
		e = config_value_print(&config_keys[i], c, &value);
		wire_put_bytes(&w, buf_bytes(&value));
		e = e == ERR_OK ? wire_done(&w) : e;
	}
	buf_clear(&value);
	return e;
}

enum err
config_decode(struct bytes data, struct config *ret)
{
	struct wire_reader r;
	wire_reader_init(&r, data);
	uint8_t version = wire_get_u8(&r);
	uint16_t count = wire_get_u16(&r);
	if (r.error == ERR_OK && (version != ENCODED_VERSION || count != config_key_count)) {
		return ERR_UNSUPPORTED;
	}
	struct config *next = calloc(1, sizeof(*next));
	if (next == NULL) {
		return ERR_MEMORY;
	}
	for (size_t i = 0; i < config_key_count && r.error == ERR_OK; i++) {
		struct config_fault fault;
		struct bytes value = wire_get_bytes(&r, CONFIG_ENCODED_MAX);
		if (r.error == ERR_OK && config_value_read(&config_keys[i], value, next, &fault) != ERR_OK) {
			wire_fail(&r, ERR_FORMAT);
		}
	}
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		*ret = *next;
	}
	free(next);
	return e;
}
