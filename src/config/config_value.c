/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Single values: reading, with what is wrong and the remedy, and printing. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "config/config_internal.h"

_Static_assert(sizeof(enum config_outbound) == sizeof(unsigned) && sizeof(enum law_kind) == sizeof(unsigned),
	       "enums of the config are as large as unsigned");

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, for printing; a NULL name ends each. */
static const struct unit durations[] = {
    {"d", MSEC_DAY}, {"h", MSEC_HOUR}, {"m", MSEC_MINUTE}, {"s", MSEC_SECOND}, {NULL, 0}};
static const struct unit sizes[] = {
    {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {NULL, 0}};

void
config_fault(struct config_fault *f, const char *what, const char *remedy)
{
	(void)snprintf(f->what, sizeof(f->what), "%s", what);
	(void)snprintf(f->remedy, sizeof(f->remedy), "%s", remedy);
}

static void *
field(const struct config_key *key, struct config *c)
{
	return (char *)c + key->offset;
}

static const void *
field_const(const struct config_key *key, const struct config *c)
{
	return (const char *)c + key->offset;
}

/* Copies and ends with NUL; the caller has checked that it fits. */
static void
put_text(char *to, size_t size, struct bytes text)
{
	if (text.len >= size) {
		panic("a config text that does not fit");
	}
	memset(to, 0, size);
	if (text.len > 0) {
		memcpy(to, text.ptr, text.len);
	}
}

/* Letters, digits, hyphens; labels of 1 to 63; at most 253 in all (RFC 1123, 2.1). Gives it in lower case. */
static bool
read_name(struct bytes text, char ret[CONFIG_NAME_MAX])
{
	char name[CONFIG_NAME_MAX] = {0};
	size_t label = 0;
	if (text.len == 0 || text.len >= CONFIG_NAME_MAX) {
		return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		uint8_t ch = ascii_lower(text.ptr[i]);
		bool last = i + 1 == text.len || text.ptr[i + 1] == '.';
		if (ch == '.') {
			if (label == 0 || i + 1 == text.len) {
				return false;
			}
			label = 0;
		} else if (ascii_is_alnum(ch) || (ch == '-' && label > 0 && !last)) {
			label++;
		} else {
			return false;
		}
		if (label > 63) {
			return false;
		}
		name[i] = (char)ch;
	}
	memcpy(ret, name, CONFIG_NAME_MAX);
	return true;
}

static bool
read_address(struct bytes text, char ret[CONFIG_ADDRESS_TEXT], bool *ret_is_ipv6)
{
	char name[CONFIG_ADDRESS_TEXT];
	uint8_t raw[16];
	if (text.len == 0 || text.len >= sizeof(name)) {
		return false;
	}
	put_text(name, sizeof(name), text);
	if (strlen(name) != text.len) {
		return false;
	}
	bool is_ipv6 = inet_pton(AF_INET6, name, raw) == 1;
	if (!is_ipv6 && inet_pton(AF_INET, name, raw) != 1) {
		return false;
	}
	memcpy(ret, name, CONFIG_ADDRESS_TEXT);
	*ret_is_ipv6 = is_ipv6;
	return true;
}

static bool
read_port(struct bytes text, uint16_t *ret)
{
	uint64_t port;
	if (bytes_to_u64(text, 65535, &port) != ERR_OK || port == 0) {
		return false;
	}
	*ret = (uint16_t)port;
	return true;
}

/* A number and one of the units; without a unit only where `bare` is a factor. */
static bool
read_with_unit(struct bytes text, const struct unit *units, uint64_t bare, uint64_t *ret)
{
	size_t digits = 0;
	while (digits < text.len && ascii_is_digit(text.ptr[digits])) {
		digits++;
	}
	struct bytes name = bytes_trim(bytes_from(text, digits));
	uint64_t factor = name.len == 0 ? bare : 0;
	uint64_t number;
	for (size_t i = 0; units[i].name != NULL && name.len > 0; i++) {
		if (bytes_is_nocase(name, units[i].name)) {
			factor = units[i].factor;
		}
	}
	if (bytes_to_u64(bytes_slice(text, 0, digits), UINT64_MAX, &number) != ERR_OK) {
		return false;
	}
	if (number != 0 && (factor == 0 || number > INT64_MAX / factor)) {
		return false;
	}
	*ret = number * factor;
	return factor != 0 || name.len == 0;
}

static enum err
print_with_unit(uint64_t value, const struct unit *units, struct buf *out)
{
	for (size_t i = 0; units[i].name != NULL; i++) {
		if (value != 0 && value % units[i].factor == 0) {
			return buf_printf(out, "%llu %s", (unsigned long long)(value / units[i].factor),
					  units[i].name);
		}
	}
	return buf_append_str(out, "0");
}

static void
range_remedy(const struct config_key *key, const struct unit *units, struct config_fault *fault)
{
	struct buf text = BUF_INIT(128);
	enum err e = buf_append_str(&text, "give a value from ");
	e = e == ERR_OK ? print_with_unit(key->min, units, &text) : e;
	e = e == ERR_OK ? buf_append_str(&text, " to ") : e;
	e = e == ERR_OK ? print_with_unit(key->max, units, &text) : e;
	e = e == ERR_OK ? buf_append_byte(&text, 0) : e;
	config_fault(fault, "is out of range",
		     e == ERR_OK ? (const char *)(const void *)text.ptr : "give another value");
	buf_clear(&text);
}

static enum err
read_number(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	uint64_t value = 0;
	enum err e = bytes_to_u64(text, UINT32_MAX, &value);
	if (e == ERR_OK && (value < key->min || value > key->max)) {
		e = ERR_LIMIT;
	}
	if (e != ERR_OK) {
		config_fault(fault, e == ERR_LIMIT ? "is out of range" : "is not a whole number", "");
		(void)snprintf(fault->remedy, sizeof(fault->remedy), "give a number from %llu to %llu",
			       (unsigned long long)key->min, (unsigned long long)key->max);
		return ERR_FORMAT;
	}
	uint32_t number = (uint32_t)value;
	memcpy(field(key, c), &number, sizeof(number));
	return ERR_OK;
}

static enum err
read_quantity(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	bool is_size = key->type == CONFIG_TYPE_SIZE;
	const struct unit *units = is_size ? sizes : durations;
	uint64_t value;
	if (!read_with_unit(text, units, is_size ? 1 : 0, &value)) {
		config_fault(fault, is_size ? "is not a size" : "is not a duration",
			     is_size ? "write a whole number and KiB, MiB or GiB, like 35 MiB"
				     : "write a whole number and s, m, h or d, like 15 m");
		return ERR_FORMAT;
	}
	if (value < key->min || value > key->max) {
		range_remedy(key, units, fault);
		return ERR_FORMAT;
	}
	memcpy(field(key, c), &value, sizeof(value));
	return ERR_OK;
}

static enum err
read_choice(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	size_t used = 0;
	char list[128] = "";
	for (const struct config_choice *i = key->choices; i->name != NULL; i++) {
		if (bytes_is(text, i->name)) {
			memcpy(field(key, c), &i->value, sizeof(i->value));
			return ERR_OK;
		}
		int n = snprintf(list + used, sizeof(list) - used, "%s%s", used == 0 ? "" : " or ", i->name);
		used += n > 0 && (size_t)n < sizeof(list) - used ? (size_t)n : 0;
	}
	config_fault(fault, "is not one of the choices", "");
	(void)snprintf(fault->remedy, sizeof(fault->remedy), "write %s", list);
	return ERR_FORMAT;
}

static enum err
read_law(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	enum law_kind kind;
	if (law_kind_of(text, &kind) != ERR_OK) {
		config_fault(fault, "is not a law of the waiting room",
			     "write crowd or exponential, or none for benchmarks");
		return ERR_FORMAT;
	}
	memcpy(field(key, c), &kind, sizeof(kind));
	return ERR_OK;
}

static enum err
read_text(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	size_t size = key->type == CONFIG_TYPE_PATH ? (size_t)CONFIG_PATH_MAX : (size_t)key->max;
	if (text.len >= size) {
		config_fault(fault, "is too long", "");
		(void)snprintf(fault->remedy, sizeof(fault->remedy), "use at most %zu bytes", size - 1);
		return ERR_FORMAT;
	}
	if (key->type == CONFIG_TYPE_PATH && text.len > 0 && text.ptr[0] != '/') {
		config_fault(fault, "is not an absolute path", "begin it with /");
		return ERR_FORMAT;
	}
	put_text(field(key, c), size, text);
	return ERR_OK;
}

static enum err
read_domain(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	char *to = field(key, c);
	if (text.len == 0) {
		to[0] = '\0';
		return ERR_OK;
	}
	if (!read_name(text, to)) {
		config_fault(fault, "is not a domain name",
			     bytes_is_ascii(text) ? "write it like example.org, without a final dot"
						  : "write it in its ASCII form, which begins with xn--");
		return ERR_FORMAT;
	}
	return ERR_OK;
}

/* The next word of a list; false at its end. */
static bool
next_word(struct bytes *rest, struct bytes *ret)
{
	*rest = bytes_trim(*rest);
	size_t n = 0;
	while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t') {
		n++;
	}
	*ret = bytes_slice(*rest, 0, n);
	*rest = bytes_from(*rest, n);
	return n > 0;
}

static void
list_too_long(struct config_fault *fault)
{
	config_fault(fault, "has too many entries", "");
	(void)snprintf(fault->remedy, sizeof(fault->remedy), "give at most %d", CONFIG_ADDRESS_MAX);
}

static enum err
read_listen(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	struct config_address list[CONFIG_ADDRESS_MAX];
	struct bytes word;
	size_t count = 0;
	memset(list, 0, sizeof(list));
	while (next_word(&text, &word)) {
		if (count == CONFIG_ADDRESS_MAX) {
			list_too_long(fault);
			return ERR_FORMAT;
		}
		if (!read_address(word, list[count].address, &list[count].is_ipv6)) {
			config_fault(
			    fault, "has an entry that is not a numeric address",
			    "write addresses like 192.0.2.1 or 2001:db8::1, separated by blanks, no ports");
			return ERR_FORMAT;
		}
		for (size_t i = 0; i < count; i++) {
			if (strcmp(list[i].address, list[count].address) == 0) {
				config_fault(fault, "names an address twice", "remove one of them");
				return ERR_FORMAT;
			}
		}
		count++;
	}
	if (count == 0) {
		config_fault(fault, "is empty", "name at least one address, like 0.0.0.0");
		return ERR_FORMAT;
	}
	memcpy(field(key, c), list, sizeof(list));
	memcpy((char *)c + key->count_offset, &count, sizeof(count));
	return ERR_OK;
}

/* [ZONE=]ADDRESS[@PORT][#NAME], what stands there by the key's type. */
static bool
read_upstream(enum config_type type, struct bytes word, struct config_upstream *ret)
{
	bool is_ipv6;
	ret->port = type == CONFIG_TYPE_FORWARD_TLS ? 853 : 53;
	put_text(ret->zone, sizeof(ret->zone), bytes_str("."));
	ptrdiff_t equals = bytes_find(word, '=');
	if (equals >= 0) {
		struct bytes zone = bytes_slice(word, 0, (size_t)equals);
		if (zone.len > 1 && zone.ptr[zone.len - 1] == '.') {
			zone.len--;
		}
		if (type != CONFIG_TYPE_STUB || (!bytes_is(zone, ".") && !read_name(zone, ret->zone))) {
			return false;
		}
		word = bytes_from(word, (size_t)equals + 1);
	}
	ptrdiff_t hash = bytes_find(word, '#');
	if ((hash >= 0) != (type == CONFIG_TYPE_FORWARD_TLS)) {
		return false;
	}
	if (hash >= 0) {
		if (!read_name(bytes_from(word, (size_t)hash + 1), ret->tls_name)) {
			return false;
		}
		word = bytes_slice(word, 0, (size_t)hash);
	}
	ptrdiff_t at = bytes_find(word, '@');
	if (at >= 0) {
		if (!read_port(bytes_from(word, (size_t)at + 1), &ret->port)) {
			return false;
		}
		word = bytes_slice(word, 0, (size_t)at);
	}
	return read_address(word, ret->address, &is_ipv6);
}

static enum err
read_upstreams(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	struct config_upstream list[CONFIG_ADDRESS_MAX];
	struct bytes word;
	size_t count = 0;
	memset(list, 0, sizeof(list));
	while (next_word(&text, &word)) {
		if (count == CONFIG_ADDRESS_MAX) {
			list_too_long(fault);
			return ERR_FORMAT;
		}
		if (!read_upstream(key->type, word, &list[count])) {
			config_fault(fault, "has an entry that names no server",
				     key->type == CONFIG_TYPE_STUB ? "write it like example.org=192.0.2.1@53"
				     : key->type == CONFIG_TYPE_FORWARD
					 ? "write it like 192.0.2.1@53"
					 : "write it like 192.0.2.1@853#dns.example.org");
			return ERR_FORMAT;
		}
		count++;
	}
	memcpy(field(key, c), list, sizeof(list));
	memcpy((char *)c + key->count_offset, &count, sizeof(count));
	return ERR_OK;
}

/* HOST, HOST:PORT, [IPV6]:PORT; 587 (submission) where no port is given. */
static enum err
read_host_port(const struct config_key *key, struct bytes text, struct config *c, struct config_fault *fault)
{
	char host[CONFIG_NAME_MAX] = {0};
	char address[CONFIG_ADDRESS_TEXT] = {0};
	uint16_t port = text.len == 0 ? 0 : 587;
	bool is_ipv6;
	bool good = true;
	struct bytes name = text;
	struct bytes rest = BYTES_EMPTY;
	if (text.len > 0 && text.ptr[0] == '[') {
		ptrdiff_t end = bytes_find(text, ']');
		good = end > 0;
		name = good ? bytes_slice(text, 1, (size_t)end - 1) : name;
		rest = good ? bytes_from(text, (size_t)end + 1) : rest;
	} else if (bytes_find(text, ':') >= 0 && bytes_find(text, ':') == bytes_find_last(text, ':')) {
		name = bytes_slice(text, 0, (size_t)bytes_find(text, ':'));
		rest = bytes_from(text, name.len);
	}
	if (good && rest.len > 0) {
		good = rest.ptr[0] == ':' && read_port(bytes_from(rest, 1), &port);
	}
	if (good && text.len > 0) {
		if (read_address(name, address, &is_ipv6)) {
			put_text(host, sizeof(host), name);
		} else {
			good = read_name(name, host);
		}
	}
	if (!good) {
		config_fault(fault, "is not a host and port", "write it like smtp.example.net:587");
		return ERR_FORMAT;
	}
	memcpy(field(key, c), host, sizeof(host));
	memcpy((char *)c + key->count_offset, &port, sizeof(port));
	return ERR_OK;
}

enum err
config_value_read(const struct config_key *key, struct bytes text, struct config *c,
		  struct config_fault *fault)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f) {
			/* Tabs part words; nothing else below a blank has business here. */
			if (text.ptr[i] != '\t') {
				config_fault(fault, "contains a control character", "remove it");
				return ERR_FORMAT;
			}
		}
	}
	switch (key->type) {
	case CONFIG_TYPE_NAME:
		return read_domain(key, text, c, fault);
	case CONFIG_TYPE_TEXT:
	case CONFIG_TYPE_PATH:
		return read_text(key, text, c, fault);
	case CONFIG_TYPE_NUMBER:
		return read_number(key, text, c, fault);
	case CONFIG_TYPE_SIZE:
	case CONFIG_TYPE_DURATION:
		return read_quantity(key, text, c, fault);
	case CONFIG_TYPE_CHOICE:
		return read_choice(key, text, c, fault);
	case CONFIG_TYPE_LAW:
		return read_law(key, text, c, fault);
	case CONFIG_TYPE_LISTEN:
		return read_listen(key, text, c, fault);
	case CONFIG_TYPE_STUB:
	case CONFIG_TYPE_FORWARD:
	case CONFIG_TYPE_FORWARD_TLS:
		return read_upstreams(key, text, c, fault);
	case CONFIG_TYPE_HOST_PORT:
		return read_host_port(key, text, c, fault);
	}
	panic("a config key of no type");
}

static enum err
print_lists(const struct config_key *key, const struct config *c, struct buf *out)
{
	size_t count;
	enum err e = ERR_OK;
	memcpy(&count, (const char *)c + key->count_offset, sizeof(count));
	for (size_t i = 0; i < count && i < CONFIG_ADDRESS_MAX && e == ERR_OK; i++) {
		e = i > 0 ? buf_append_byte(out, ' ') : ERR_OK;
		if (e == ERR_OK && key->type == CONFIG_TYPE_LISTEN) {
			const struct config_address *list = field_const(key, c);
			e = buf_append_str(out, list[i].address);
		} else if (e == ERR_OK) {
			const struct config_upstream *u =
			    (const struct config_upstream *)field_const(key, c) + i;
			bool zone = key->type == CONFIG_TYPE_STUB;
			bool tls = key->type == CONFIG_TYPE_FORWARD_TLS;
			e = buf_printf(out, "%s%s%s@%u%s%s", zone ? u->zone : "", zone ? "=" : "", u->address,
				       (unsigned)u->port, tls ? "#" : "", tls ? u->tls_name : "");
		}
	}
	return e;
}

static enum err
print_choice(const struct config_key *key, const struct config *c, struct buf *out)
{
	unsigned value;
	memcpy(&value, field_const(key, c), sizeof(value));
	if (key->type == CONFIG_TYPE_LAW) {
		return buf_append_str(out, law_kind_name((enum law_kind)value));
	}
	for (const struct config_choice *i = key->choices; i->name != NULL; i++) {
		if (i->value == value) {
			return buf_append_str(out, i->name);
		}
	}
	return ERR_FORMAT;
}

static enum err
print_host_port(const struct config_key *key, const struct config *c, struct buf *out)
{
	const char *host = field_const(key, c);
	uint16_t port;
	memcpy(&port, (const char *)c + key->count_offset, sizeof(port));
	if (host[0] == '\0') {
		return ERR_OK;
	}
	bool brackets = strchr(host, ':') != NULL;
	return buf_printf(out, "%s%s%s:%u", brackets ? "[" : "", host, brackets ? "]" : "", (unsigned)port);
}

enum err
config_value_print(const struct config_key *key, const struct config *c, struct buf *out)
{
	uint32_t number;
	uint64_t quantity;
	switch (key->type) {
	case CONFIG_TYPE_NAME:
	case CONFIG_TYPE_TEXT:
	case CONFIG_TYPE_PATH:
		return buf_append_str(out, field_const(key, c));
	case CONFIG_TYPE_NUMBER:
		memcpy(&number, field_const(key, c), sizeof(number));
		return buf_append_u64(out, number);
	case CONFIG_TYPE_SIZE:
		memcpy(&quantity, field_const(key, c), sizeof(quantity));
		return print_with_unit(quantity, sizes, out);
	case CONFIG_TYPE_DURATION:
		memcpy(&quantity, field_const(key, c), sizeof(quantity));
		return print_with_unit(quantity, durations, out);
	case CONFIG_TYPE_CHOICE:
	case CONFIG_TYPE_LAW:
		return print_choice(key, c, out);
	case CONFIG_TYPE_LISTEN:
	case CONFIG_TYPE_STUB:
	case CONFIG_TYPE_FORWARD:
	case CONFIG_TYPE_FORWARD_TLS:
		return print_lists(key, c, out);
	case CONFIG_TYPE_HOST_PORT:
		return print_host_port(key, c, out);
	}
	panic("a config key of no type");
}
