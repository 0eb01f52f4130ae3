/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "resolver/dns_answer.h"

#include <string.h>

#include "base/wire.h"

enum { HEADER_LEN = 12, JUMPS_MAX = 64, CLASS_IN = 1 };

/* A name in wire form, without compression, lower-case. */
struct dns_name {
	uint8_t wire[DNS_NAME_WIRE_MAX];
	size_t len;
};

struct dns_record {
	struct dns_name owner;
	uint16_t type;
	uint16_t class;
	uint32_t ttl;
	size_t rdata_at;
	size_t rdata_len;
};

bool
dns_name_is_sound(struct bytes name)
{
	size_t label = 0;
	if (bytes_is(name, ".")) {
		return true;
	}
	if (name.len == 0 || name.len >= DNS_NAME_TEXT_MAX) {
		return false;
	}
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.ptr[i];
		if (c == '.') {
			if (label == 0) {
				return false;
			}
			label = 0;
		} else if ((!ascii_is_alnum(c) && c != '-' && c != '_') || ++label > 63) {
			return false;
		}
	}
	return label > 0;
}

static bool
name_from_text(struct bytes text, struct dns_name *ret)
{
	if (!dns_name_is_sound(text)) {
		return false;
	}
	memset(ret, 0, sizeof(*ret));
	size_t start = 0;
	for (size_t i = 0; i <= text.len && !bytes_is(text, "."); i++) {
		if (i == text.len || text.ptr[i] == '.') {
			ret->wire[ret->len++] = (uint8_t)(i - start);
			for (size_t k = start; k < i; k++) {
				ret->wire[ret->len++] = ascii_lower(text.ptr[k]);
			}
			start = i + 1;
		}
	}
	ret->wire[ret->len++] = 0;
	return true;
}

static bool
name_equal(const struct dns_name *a, const struct dns_name *b)
{
	return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

/* Text of a name; what is not a host name's octet makes it unusable: "" then. */
static void
name_to_text(const struct dns_name *n, char ret[DNS_NAME_TEXT_MAX])
{
	size_t out = 0;
	size_t at = 0;
	ret[0] = '\0';
	while (at < n->len && n->wire[at] != 0) {
		size_t label = n->wire[at++];
		if (out + label + 1 >= DNS_NAME_TEXT_MAX || memchr(n->wire + at, '.', label) != NULL) {
			ret[0] = '\0';
			return;
		}
		if (out > 0) {
			ret[out++] = '.';
		}
		memcpy(ret + out, n->wire + at, label);
		out += label;
		at += label;
	}
	ret[out] = '\0';
	if (!dns_name_is_sound(bytes_str(ret))) {
		ret[0] = '\0';
	}
}

/*
 * A name at *at, which is moved behind it. Pointers go backwards only (RFC 1035 section 4.1.4), so
 * that each name ends; their number is bounded, too.
 */
static enum err
read_name(struct bytes message, size_t *at, struct dns_name *ret)
{
	size_t pos = *at;
	size_t after = 0;
	size_t lowest = pos;
	unsigned jumps = 0;
	struct dns_name n;
	memset(&n, 0, sizeof(n));
	for (;;) {
		if (pos >= message.len) {
			return ERR_FORMAT;
		}
		size_t label = message.ptr[pos];
		if ((label & 0xc0) == 0xc0) {
			if (pos + 1 >= message.len || ++jumps > JUMPS_MAX) {
				return ERR_FORMAT;
			}
			size_t target = (label & 0x3f) << 8 | message.ptr[pos + 1];
			after = after == 0 ? pos + 2 : after;
			if (target >= lowest) {
				return ERR_FORMAT;
			}
			lowest = target;
			pos = target;
			continue;
		}
		if (label > 63 || pos + 1 + label > message.len || n.len + 1 + label > sizeof(n.wire)) {
			return ERR_FORMAT;
		}
		n.wire[n.len++] = (uint8_t)label;
		for (size_t i = 0; i < label; i++) {
			n.wire[n.len++] = ascii_lower(message.ptr[pos + 1 + i]);
		}
		pos += 1 + label;
		if (label == 0) {
			break;
		}
	}
	*at = after == 0 ? pos : after;
	*ret = n;
	return ERR_OK;
}

static uint16_t
u16_at(struct bytes m, size_t at)
{
	return (uint16_t)((unsigned)m.ptr[at] << 8 | m.ptr[at + 1]);
}

static enum err
read_record(struct bytes m, size_t *at, struct dns_record *ret)
{
	size_t pos = *at;
	enum err e = read_name(m, &pos, &ret->owner);
	if (e != ERR_OK) {
		return e;
	}
	if (m.len - pos < 10) {
		return ERR_FORMAT;
	}
	ret->type = u16_at(m, pos);
	ret->class = u16_at(m, pos + 2);
	ret->ttl = (uint32_t)u16_at(m, pos + 4) << 16 | u16_at(m, pos + 6);
	ret->rdata_len = u16_at(m, pos + 8);
	ret->rdata_at = pos + 10;
	if (ret->rdata_len > m.len - ret->rdata_at) {
		return ERR_FORMAT;
	}
	*at = ret->rdata_at + ret->rdata_len;
	return ERR_OK;
}

/* The rdata without compression. `fixed` octets stand before the name that may be compressed. */
static enum err
put_rdata(struct bytes m, const struct dns_record *r, struct buf *out)
{
	struct wire_writer w;
	struct bytes rdata = bytes_slice(m, r->rdata_at, r->rdata_len);
	bool named = r->type == DNS_TYPE_MX || r->type == DNS_TYPE_CNAME || r->type == DNS_TYPE_NS ||
		     r->type == DNS_TYPE_PTR;
	size_t fixed = r->type == DNS_TYPE_MX ? 2 : 0;
	if ((r->type == DNS_TYPE_A && rdata.len != 4) || (r->type == DNS_TYPE_AAAA && rdata.len != 16)) {
		return ERR_FORMAT;
	}
	wire_writer_init(&w, out);
	if (!named) {
		wire_put_bytes(&w, rdata);
		return wire_done(&w);
	}
	struct dns_name name;
	size_t at = r->rdata_at + fixed;
	if (rdata.len <= fixed || read_name(m, &at, &name) != ERR_OK || at != r->rdata_at + r->rdata_len) {
		return ERR_FORMAT;
	}
	wire_put_u32(&w, (uint32_t)(fixed + name.len));
	wire_put_fixed(&w, rdata.ptr, fixed);
	wire_put_fixed(&w, name.wire, name.len);
	return wire_done(&w);
}

/* One walk over the answer section for records of `name`: an alias, or the type itself. */
struct walk {
	struct bytes message;
	size_t answers_at;
	unsigned answers;
	uint16_t type;
	uint32_t ttl;
	bool any;
	size_t count;
};

static void
note_ttl(struct walk *w, uint32_t ttl)
{
	/* A ttl with its top bit set is zero (RFC 2181 section 8). */
	ttl = ttl > INT32_MAX ? 0 : ttl;
	w->ttl = !w->any || ttl < w->ttl ? ttl : w->ttl;
	w->any = true;
}

static enum err
walk_name(struct walk *w, const struct dns_name *name, struct dns_name *ret_alias, bool *ret_has_alias,
	  struct buf *rdata)
{
	size_t at = w->answers_at;
	bool has_alias = false;
	for (unsigned i = 0; i < w->answers; i++) {
		struct dns_record r;
		enum err e = read_record(w->message, &at, &r);
		if (e != ERR_OK) {
			return e;
		}
		if (r.class != CLASS_IN || !name_equal(&r.owner, name)) {
			continue;
		}
		if (r.type == w->type) {
			if (w->count == DNS_ANSWERS_MAX || rdata->len + r.rdata_len + 512 > rdata->max) {
				continue;
			}
			e = put_rdata(w->message, &r, rdata);
			if (e != ERR_OK) {
				return e;
			}
			w->count++;
			note_ttl(w, r.ttl);
		} else if (r.type == DNS_TYPE_CNAME && !has_alias) {
			size_t alias_at = r.rdata_at;
			if (read_name(w->message, &alias_at, ret_alias) != ERR_OK) {
				return ERR_FORMAT;
			}
			has_alias = true;
			note_ttl(w, r.ttl);
		}
	}
	*ret_has_alias = has_alias;
	return ERR_OK;
}

enum err
dns_answer_read(struct bytes message, struct bytes name, uint16_t type, struct dns_answer *ret,
		struct buf *ret_rdata)
{
	struct dns_name current;
	struct dns_name asked;
	if (message.len < HEADER_LEN || !name_from_text(name, &current)) {
		return ERR_FORMAT;
	}
	unsigned questions = u16_at(message, 4);
	struct walk w = {.message = message, .type = type, .answers = u16_at(message, 6)};
	/* A response, no truncation, one question. */
	if ((message.ptr[2] & 0x80) == 0 || (message.ptr[2] & 0x02) != 0 || questions > 1) {
		return ERR_FORMAT;
	}
	size_t at = HEADER_LEN;
	for (unsigned i = 0; i < questions; i++) {
		enum err e = read_name(message, &at, &asked);
		if (e != ERR_OK || message.len - at < 4) {
			return ERR_FORMAT;
		}
		if (!name_equal(&asked, &current) || u16_at(message, at) != type) {
			return ERR_FORMAT;
		}
		at += 4;
	}
	w.answers_at = at;
	w.answers = w.answers > DNS_RECORDS_MAX ? DNS_RECORDS_MAX : w.answers;
	struct buf rdata = BUF_INIT(DNS_RDATA_MAX + 1024);
	enum err e = ERR_OK;
	for (unsigned i = 0; e == ERR_OK; i++) {
		struct dns_name alias;
		bool has_alias = false;
		e = i > DNS_ALIASES_MAX ? ERR_LIMIT : walk_name(&w, &current, &alias, &has_alias, &rdata);
		/* Where the type itself stands at a name, its alias does not count. */
		if (e == ERR_OK && (!has_alias || w.count > 0)) {
			break;
		}
		if (e == ERR_OK) {
			current = alias;
		}
	}
	if (e == ERR_OK) {
		e = buf_append(ret_rdata, buf_bytes(&rdata));
	}
	if (e == ERR_OK) {
		*ret = (struct dns_answer){.rcode = message.ptr[3] & 0x0f, .ttl = w.ttl, .count = w.count};
		name_to_text(&current, ret->canonical);
	}
	buf_clear(&rdata);
	return e;
}
