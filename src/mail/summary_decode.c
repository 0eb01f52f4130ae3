/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/wire.h"
#include "mail/summary.h"
#include "mail/summary_form.h"

/* Nothing here is believed: who wrote the bytes may have been captured. */

struct decoder {
	struct wire_reader r;
	struct arena *arena;
	size_t addresses;                /* that are still allowed */
	uint32_t latest[MAIL_MAX_DEPTH]; /* the last part of each depth */
	size_t filled[MAIL_MAX_DEPTH];   /* where the last child of that part ends */
};

static struct bytes
get_octets(struct decoder *d, size_t n)
{
	struct wire_reader *r = &d->r;
	if (r->error != ERR_OK || n > r->rest.len) {
		wire_fail(r, ERR_FORMAT);
		return BYTES_EMPTY;
	}
	if (n == 0) {
		return bytes_of("", 0);
	}
	struct bytes text = {.ptr = r->rest.ptr, .len = n};
	r->rest = (struct bytes){.ptr = text.ptr + n, .len = r->rest.len - n};
	unsigned bad = 0; /* without a branch in the loop, so that it takes many octets at once */
	for (size_t i = 0; i < n; i++) {
		bad |= (unsigned)(text.ptr[i] == 0) | (unsigned)(text.ptr[i] == '\r') |
		       (unsigned)(text.ptr[i] == '\n');
	}
	if (bad != 0) {
		wire_fail(r, ERR_FORMAT);
		return BYTES_EMPTY;
	}
	return text;
}

static struct bytes
get_text(struct decoder *d)
{
	uint16_t n = wire_get_u16(&d->r);
	if (n == TEXT_ABSENT) {
		return BYTES_EMPTY;
	}
	if (n > TEXT_MAX) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	return get_octets(d, n);
}

static struct bytes
get_token(struct decoder *d)
{
	struct bytes token = get_octets(d, wire_get_u8(&d->r));
	if (token.len == 0) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	return token;
}

/* Memory for count things of at least `least` octets each on the wire. */
static void *
get_array(struct decoder *d, size_t count, size_t size, size_t least)
{
	if (d->r.error != ERR_OK || count > d->r.rest.len / least) {
		wire_fail(&d->r, ERR_FORMAT);
		return NULL;
	}
	void *list = arena_array(d->arena, count, size);
	if (list == NULL) {
		wire_fail(&d->r, ERR_MEMORY);
	}
	return list;
}

static struct mail_addresses
get_addresses(struct decoder *d)
{
	struct mail_addresses result = {.count = 0};
	size_t count = wire_get_u16(&d->r);
	bool in_group = false;
	if (count > d->addresses) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	if (count == 0 || d->r.error != ERR_OK) {
		return result;
	}
	struct mail_address *list = get_array(d, count, sizeof(*list), 1);
	if (list == NULL) {
		return result;
	}
	d->addresses -= count;
	for (size_t i = 0; i < count && d->r.error == ERR_OK; i++) {
		uint8_t kind = wire_get_u8(&d->r);
		if (kind == MAIL_ADDRESS_MAILBOX) {
			list[i].kind = MAIL_ADDRESS_MAILBOX;
			list[i].name = get_text(d);
			list[i].local = get_text(d);
			list[i].domain = get_text(d);
		} else if (kind == MAIL_ADDRESS_GROUP && !in_group) {
			list[i].kind = MAIL_ADDRESS_GROUP;
			list[i].name = get_text(d);
			in_group = true;
		} else if (kind == MAIL_ADDRESS_GROUP_END && in_group) {
			list[i].kind = MAIL_ADDRESS_GROUP_END;
			in_group = false;
		} else {
			wire_fail(&d->r, ERR_FORMAT);
		}
	}
	if (in_group) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	result.list = list;
	result.count = count;
	return result;
}

static struct mail_ids
get_references(struct decoder *d)
{
	struct mail_ids ids = {.count = 0};
	size_t count = wire_get_u16(&d->r);
	if (count > MAIL_MAX_REFERENCES) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	if (count == 0 || d->r.error != ERR_OK) {
		return ids;
	}
	struct bytes *list = get_array(d, count, sizeof(*list), 2);
	for (size_t i = 0; list != NULL && i < count; i++) {
		list[i] = get_text(d);
	}
	ids.list = list;
	ids.count = list == NULL ? 0 : count;
	return ids;
}

/* What stands before the lists; returns its flags. */
static uint8_t
get_envelope_front(struct decoder *d, struct mail_envelope *env)
{
	uint8_t flags = wire_get_u8(&d->r);
	if ((flags & ~ENVELOPE_ALL) != 0) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	env->truncated = (flags & ENVELOPE_TRUNCATED) != 0;
	if ((flags & ENVELOPE_HAS_SENT) != 0) {
		/* Years 0 to 9999 with any zone. */
		const int64_t earliest = -62200000000;
		const int64_t latest = 253500000000;
		env->has_sent = true;
		env->sent.seconds = (int64_t)wire_get_u64(&d->r);
		env->sent.offset_minutes = (int16_t)wire_get_u16(&d->r);
		if (env->sent.seconds < earliest || env->sent.seconds > latest ||
		    env->sent.offset_minutes < -5999 || env->sent.offset_minutes > 5999) {
			wire_fail(&d->r, ERR_FORMAT);
		}
	}
	env->date = get_text(d);
	env->subject = get_text(d);
	env->in_reply_to = get_text(d);
	env->message_id = get_text(d);
	return flags;
}

static struct mail_envelope
get_envelope(struct decoder *d, bool outermost)
{
	struct mail_envelope env = {.has_sent = false};
	uint8_t flags = get_envelope_front(d, &env);
	if (outermost) {
		env.references = get_references(d);
	}
	env.from = get_addresses(d);
	env.sender = (flags & ENVELOPE_SENDER_IS_FROM) != 0 ? env.from : get_addresses(d);
	env.reply_to = (flags & ENVELOPE_REPLY_TO_IS_FROM) != 0 ? env.from : get_addresses(d);
	env.to = get_addresses(d);
	env.cc = get_addresses(d);
	env.bcc = get_addresses(d);
	return env;
}

static struct mail_params
get_params(struct decoder *d)
{
	struct mail_params params = {.count = 0};
	size_t count = wire_get_u8(&d->r);
	if (count > MAIL_MAX_PARAMS) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	if (count == 0 || d->r.error != ERR_OK) {
		return params;
	}
	struct mail_param *list = get_array(d, count, sizeof(*list), 4);
	for (size_t i = 0; list != NULL && i < count; i++) {
		list[i].name = get_token(d);
		list[i].value = get_text(d);
		if (list[i].value.ptr == NULL) {
			wire_fail(&d->r, ERR_FORMAT);
		}
	}
	params.list = list;
	params.count = list == NULL ? 0 : count;
	return params;
}

/* An optional text that its flag promises. */
static struct bytes
get_promised(struct decoder *d, uint8_t flags, uint8_t flag)
{
	if ((flags & flag) == 0) {
		return BYTES_EMPTY;
	}
	struct bytes text = get_text(d);
	if (text.ptr == NULL) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	return text;
}

static void
get_fields(struct decoder *d, uint8_t flags, struct mail_part *part)
{
	part->type = get_token(d);
	part->subtype = get_token(d);
	part->params = get_params(d);
	part->encoding = get_promised(d, flags, PART_ENCODING);
	part->id = get_promised(d, flags, PART_ID);
	part->description = get_promised(d, flags, PART_DESCRIPTION);
	part->md5 = get_promised(d, flags, PART_MD5);
	part->location = get_promised(d, flags, PART_LOCATION);
	if ((flags & PART_DISPOSITION) != 0) {
		part->disposition = get_token(d);
		part->disposition_params = get_params(d);
	}
	if ((flags & PART_LANGUAGES) != 0) {
		size_t count = wire_get_u8(&d->r);
		struct bytes *list = count == 0 ? NULL : get_array(d, count, sizeof(*list), 2);
		if (count == 0 || count > 32) {
			wire_fail(&d->r, ERR_FORMAT);
			return;
		}
		for (size_t i = 0; list != NULL && i < count; i++) {
			list[i] = get_token(d);
		}
		part->languages = list;
		part->language_count = list == NULL ? 0 : count;
	}
}

/* Kind and type say the same. */
static bool
kind_fits(const struct mail_part *part)
{
	bool multipart = bytes_is_nocase(part->type, "multipart");
	bool message = bytes_is_nocase(part->type, "message") && bytes_is_nocase(part->subtype, "rfc822");
	return multipart == (part->kind == MAIL_PART_MULTIPART) &&
	       message == (part->kind == MAIL_PART_MESSAGE);
}

/* The part's place in the tree and in the octets; all sums are of 32-bit numbers in size_t. */
static bool
place(struct decoder *d, struct mail_part *parts, uint32_t index, size_t message_size)
{
	struct mail_part *part = &parts[index];
	size_t end = part->body_at + part->body_len;
	if (part->body_lines > part->body_len) {
		return false;
	}
	if (index == 0) {
		d->latest[0] = 0;
		d->filled[0] = part->body_at;
		return part->depth == 0 && part->header_at == 0 && end == message_size;
	}
	if (part->depth == 0 || part->depth > parts[index - 1].depth + 1 || part->depth >= MAIL_MAX_DEPTH) {
		return false;
	}
	uint32_t parent_at = d->latest[part->depth - 1];
	struct mail_part *parent = &parts[parent_at];
	if (part->header_at < d->filled[part->depth - 1] || end > parent->body_at + parent->body_len ||
	    parent->kind == MAIL_PART_LEAF ||
	    (parent->kind == MAIL_PART_MESSAGE && parent->child_count > 0)) {
		return false;
	}
	if (parent->child_count == 0) {
		parent->first_child = index;
	} else {
		parts[d->latest[part->depth]].next_sibling = index;
	}
	parent->child_count++;
	part->parent = parent_at;
	d->filled[part->depth - 1] = end;
	d->latest[part->depth] = index;
	d->filled[part->depth] = part->body_at;
	return true;
}

static void
get_part(struct decoder *d, struct mail_part *parts, uint32_t index, size_t message_size)
{
	struct mail_part *part = &parts[index];
	uint8_t kind = wire_get_u8(&d->r);
	part->depth = wire_get_u8(&d->r);
	uint8_t flags = wire_get_u8(&d->r);
	part->header_at = wire_get_u32(&d->r);
	part->header_len = wire_get_u32(&d->r);
	part->body_at = part->header_at + part->header_len;
	part->body_len = wire_get_u32(&d->r);
	part->body_lines = wire_get_u32(&d->r);
	part->parent = part->first_child = part->next_sibling = MAIL_NO_PART;
	if (kind > MAIL_PART_MESSAGE) {
		wire_fail(&d->r, ERR_FORMAT);
		return;
	}
	part->kind = (enum mail_part_kind)kind;
	get_fields(d, flags, part);
	if (d->r.error != ERR_OK) {
		return;
	}
	if (!kind_fits(part) || !place(d, parts, index, message_size)) {
		wire_fail(&d->r, ERR_FORMAT);
		return;
	}
	/* Exactly the roots of messages have envelopes; the outermost has had its own. */
	bool nested_root = index > 0 && parts[part->parent].kind == MAIL_PART_MESSAGE;
	if (nested_root != ((flags & PART_ENVELOPE) != 0)) {
		wire_fail(&d->r, ERR_FORMAT);
		return;
	}
	if (nested_root) {
		struct mail_envelope *env = get_array(d, 1, sizeof(*env), 1);
		if (env != NULL) {
			*env = get_envelope(d, false);
			part->envelope = env;
		}
	}
}

/* Version, flags, size; returns the flags. */
static uint8_t
get_front(struct decoder *d, struct arena *arena, struct bytes data, size_t *ret_size)
{
	*d = (struct decoder){.arena = arena, .addresses = MAIL_MAX_ADDRESSES};
	wire_reader_init(&d->r, data);
	uint8_t version = wire_get_u8(&d->r);
	if (data.len > MAIL_SUMMARY_MAX) {
		wire_fail(&d->r, ERR_FORMAT);
	} else if (data.len > 0 && version != MAIL_SUMMARY_VERSION) {
		wire_fail(&d->r, ERR_UNSUPPORTED);
	}
	uint8_t flags = wire_get_u8(&d->r);
	*ret_size = wire_get_u32(&d->r);
	if ((flags & ~SUMMARY_TRUNCATED) != 0) {
		wire_fail(&d->r, ERR_FORMAT);
	}
	return flags;
}

enum err
mail_summary_decode(struct arena *arena, struct bytes data, size_t message_size, struct mail_structure *ret)
{
	struct decoder d;
	size_t size;
	uint8_t flags = get_front(&d, arena, data, &size);
	if (size != message_size) {
		wire_fail(&d.r, ERR_FORMAT);
	}
	struct mail_envelope envelope = get_envelope(&d, true);
	size_t count = wire_get_u16(&d.r);
	if (count == 0 || count > MAIL_MAX_PARTS) {
		wire_fail(&d.r, ERR_FORMAT);
	}
	struct mail_part *parts = get_array(&d, count, sizeof(*parts), 24);
	struct mail_envelope *root = get_array(&d, 1, sizeof(*root), 1);
	if (parts == NULL || root == NULL) {
		return d.r.error;
	}
	*root = envelope;
	for (size_t i = 0; i < count && d.r.error == ERR_OK; i++) {
		get_part(&d, parts, (uint32_t)i, message_size);
	}
	enum err e = wire_end(&d.r);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		if (parts[i].kind != MAIL_PART_LEAF && parts[i].child_count == 0) {
			e = ERR_FORMAT;
		}
	}
	if (e != ERR_OK) {
		return e;
	}
	parts[0].envelope = root;
	*ret = (struct mail_structure){
	    .parts = parts,
	    .count = count,
	    .size = size,
	    .truncated = (flags & SUMMARY_TRUNCATED) != 0,
	};
	return ERR_OK;
}

enum err
mail_summary_decode_envelope(struct arena *arena, struct bytes data, struct mail_envelope *ret)
{
	struct decoder d;
	size_t size;
	(void)get_front(&d, arena, data, &size);
	struct mail_envelope envelope = get_envelope(&d, true);
	if (d.r.error != ERR_OK) {
		return d.r.error;
	}
	*ret = envelope;
	return ERR_OK;
}

enum err
mail_summary_decode_front(struct bytes data, struct mail_envelope *ret)
{
	struct decoder d;
	struct mail_envelope envelope = {.has_sent = false};
	size_t size;
	(void)get_front(&d, NULL, data, &size);
	(void)get_envelope_front(&d, &envelope);
	if (d.r.error != ERR_OK) {
		return d.r.error;
	}
	*ret = envelope;
	return ERR_OK;
}
