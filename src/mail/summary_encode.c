/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/wire.h"
#include "mail/summary.h"
#include "mail/summary_form.h"

struct encoder {
	struct wire_writer w;
	size_t room; /* octets of the outermost envelope */
	bool cut;
};

/* Octets that can't stand in a line (and not in IMAP's strings) become spaces. */
static void
put_octets(struct encoder *x, struct bytes text)
{
	static const uint8_t space = ' ';
	size_t start = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c == 0 || c == '\r' || c == '\n') {
			wire_put_fixed(&x->w, text.ptr + start, i - start);
			wire_put_fixed(&x->w, &space, 1);
			start = i + 1;
		}
	}
	wire_put_fixed(&x->w, text.ptr == NULL ? &space : text.ptr + start, text.len - start);
}

static struct bytes
shorten(struct encoder *x, struct bytes text, size_t max)
{
	if (text.len > max) {
		text.len = max;
		x->cut = true;
	}
	return text;
}

static void
put_text(struct encoder *x, struct bytes text, size_t max)
{
	if (text.ptr == NULL) {
		wire_put_u16(&x->w, TEXT_ABSENT);
		return;
	}
	text = shorten(x, text, max);
	wire_put_u16(&x->w, (uint16_t)text.len);
	put_octets(x, text);
}

static void
put_token(struct encoder *x, struct bytes token)
{
	token = shorten(x, token, TOKEN_MAX);
	wire_put_u8(&x->w, (uint8_t)token.len);
	put_octets(x, token);
}

/* Writes a number over two octets that were written as zero. */
static void
patch_u16(struct encoder *x, size_t at, size_t value)
{
	if (x->w.error == ERR_OK) {
		x->w.out->ptr[at] = (uint8_t)(value >> 8);
		x->w.out->ptr[at + 1] = (uint8_t)value;
	}
}

static void
patch_flag(struct encoder *x, size_t at, uint8_t flag)
{
	if (x->w.error == ERR_OK) {
		x->w.out->ptr[at] = (uint8_t)(x->w.out->ptr[at] | flag);
	}
}

static void
put_address(struct encoder *x, const struct mail_address *a)
{
	wire_put_u8(&x->w, (uint8_t)a->kind);
	if (a->kind != MAIL_ADDRESS_GROUP_END) {
		put_text(x, a->name, SHORT_TEXT_MAX);
	}
	if (a->kind == MAIL_ADDRESS_MAILBOX) {
		put_text(x, a->local, SHORT_TEXT_MAX);
		put_text(x, a->domain, SHORT_TEXT_MAX);
	}
}

/* As many as fit before out->len reaches limit; an open group is closed. */
static void
put_addresses(struct encoder *x, const struct mail_addresses *list, size_t limit)
{
	struct buf *out = x->w.out;
	size_t at = out->len;
	size_t count = 0;
	bool in_group = false;
	wire_put_u16(&x->w, 0);
	for (size_t i = 0; i < list->count && x->w.error == ERR_OK; i++) {
		size_t mark = out->len;
		put_address(x, &list->list[i]);
		if (out->len + 1 > limit) {
			buf_truncate(out, mark);
			x->cut = true;
			break;
		}
		count++;
		if (list->list[i].kind != MAIL_ADDRESS_MAILBOX) {
			in_group = list->list[i].kind == MAIL_ADDRESS_GROUP;
		}
	}
	if (in_group) {
		wire_put_u8(&x->w, MAIL_ADDRESS_GROUP_END);
		count++;
	}
	patch_u16(x, at, count);
}

static void
put_references(struct encoder *x, const struct mail_ids *ids)
{
	size_t at = x->w.out->len;
	size_t total = 0;
	/* The newest matter most to threading: the oldest are left out. */
	size_t first = ids->count;
	while (first > 0 && ids->count - first < MAIL_MAX_REFERENCES &&
	       total + ids->list[first - 1].len + 2 <= x->room / 4) {
		first--;
		total += ids->list[first].len + 2;
	}
	x->cut = x->cut || first > 0;
	wire_put_u16(&x->w, 0);
	for (size_t i = first; i < ids->count; i++) {
		put_text(x, ids->list[i], TEXT_MAX);
	}
	patch_u16(x, at, ids->count - first);
}

static bool
same_list(const struct mail_addresses *a, const struct mail_addresses *b)
{
	return a->list == b->list && a->count == b->count;
}

static void
put_envelope(struct encoder *x, const struct mail_envelope *env, bool outermost)
{
	bool cut_before = x->cut;
	size_t start = x->w.out->len;
	size_t room = outermost ? x->room : NESTED_ROOM;
	size_t longest = outermost ? room / 8 : SHORT_TEXT_MAX;
	bool same_sender = same_list(&env->sender, &env->from);
	bool same_reply_to = same_list(&env->reply_to, &env->from);
	uint8_t flags =
	    (uint8_t)((env->has_sent ? ENVELOPE_HAS_SENT : 0) | (same_sender ? ENVELOPE_SENDER_IS_FROM : 0) |
		      (same_reply_to ? ENVELOPE_REPLY_TO_IS_FROM : 0));
	x->cut = env->truncated;
	wire_put_u8(&x->w, flags);
	if (env->has_sent) {
		wire_put_u64(&x->w, (uint64_t)env->sent.seconds);
		wire_put_u16(&x->w, (uint16_t)env->sent.offset_minutes);
	}
	put_text(x, env->date, SHORT_TEXT_MAX);
	put_text(x, env->subject, longest);
	put_text(x, env->in_reply_to, longest);
	put_text(x, env->message_id, SHORT_TEXT_MAX);
	if (outermost) {
		put_references(x, &env->references);
	}
	/* Each list may fill what the lists before it have left, up to its own mark. */
	put_addresses(x, &env->from, start + room / 8 * 5);
	if (!same_sender) {
		put_addresses(x, &env->sender, start + room / 16 * 11);
	}
	if (!same_reply_to) {
		put_addresses(x, &env->reply_to, start + room / 4 * 3);
	}
	put_addresses(x, &env->to, start + room / 16 * 14);
	put_addresses(x, &env->cc, start + room / 16 * 15);
	put_addresses(x, &env->bcc, start + room);
	if (x->cut) {
		patch_flag(x, start, ENVELOPE_TRUNCATED);
	}
	x->cut = x->cut || cut_before;
}

static void
put_params(struct encoder *x, const struct mail_params *params)
{
	size_t at = x->w.out->len;
	size_t count = 0;
	wire_put_u8(&x->w, 0);
	for (size_t i = 0; i < params->count && count < MAIL_MAX_PARAMS && x->w.error == ERR_OK; i++) {
		size_t mark = x->w.out->len;
		put_token(x, params->list[i].name);
		put_text(x, params->list[i].value, SHORT_TEXT_MAX);
		if (x->w.out->len - at > PARAMS_ROOM) {
			buf_truncate(x->w.out, mark);
			x->cut = true;
			break;
		}
		count++;
	}
	if (x->w.error == ERR_OK) {
		x->w.out->ptr[at] = (uint8_t)count;
	}
}

static void
put_part(struct encoder *x, const struct mail_part *part)
{
	const struct {
		uint8_t flag;
		struct bytes text;
	} texts[] = {
	    {PART_ENCODING, part->encoding},       {PART_ID, part->id},
	    {PART_DESCRIPTION, part->description}, {PART_MD5, part->md5},
	    {PART_LOCATION, part->location},
	};
	bool nested = part->envelope != NULL && part->depth > 0;
	uint8_t flags =
	    (uint8_t)((part->disposition.ptr != NULL ? PART_DISPOSITION : 0) |
		      (part->language_count > 0 ? PART_LANGUAGES : 0) | (nested ? PART_ENVELOPE : 0));
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		flags = (uint8_t)(flags | (texts[i].text.ptr != NULL ? texts[i].flag : 0));
	}
	wire_put_u8(&x->w, (uint8_t)part->kind);
	wire_put_u8(&x->w, (uint8_t)part->depth);
	wire_put_u8(&x->w, flags);
	wire_put_u32(&x->w, (uint32_t)part->header_at);
	wire_put_u32(&x->w, (uint32_t)part->header_len);
	wire_put_u32(&x->w, (uint32_t)part->body_len);
	wire_put_u32(&x->w, (uint32_t)part->body_lines);
	put_token(x, part->type);
	put_token(x, part->subtype);
	put_params(x, &part->params);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i].text.ptr != NULL) {
			put_text(x, texts[i].text, SHORT_TEXT_MAX);
		}
	}
	if (part->disposition.ptr != NULL) {
		put_token(x, part->disposition);
		put_params(x, &part->disposition_params);
	}
	if (part->language_count > 0) {
		size_t count = part->language_count > 32 ? 32 : part->language_count;
		wire_put_u8(&x->w, (uint8_t)count);
		for (size_t i = 0; i < count; i++) {
			put_token(x, part->languages[i]);
		}
	}
	if (nested) {
		put_envelope(x, part->envelope, false);
	}
}

/*
 * Parts up to the room that there is. What remains must end with a leaf, so
 * that no multipart and no message is left without its child.
 */
static void
put_parts(struct encoder *x, const struct mail_structure *s, size_t max)
{
	size_t at = x->w.out->len;
	size_t kept = 0;
	size_t kept_len = at + 2;
	wire_put_u16(&x->w, 0);
	for (size_t i = 0; i < s->count && x->w.error == ERR_OK; i++) {
		put_part(x, &s->parts[i]);
		if (x->w.out->len > max) {
			x->cut = true;
			break;
		}
		if (s->parts[i].kind == MAIL_PART_LEAF) {
			kept = i + 1;
			kept_len = x->w.out->len;
		}
	}
	if (x->w.error != ERR_OK) {
		return;
	}
	buf_truncate(x->w.out, kept_len);
	if (kept == 0) {
		/* Not even the first chain of parts has room: the message as one piece. */
		struct mail_part whole = {
		    .kind = MAIL_PART_LEAF,
		    .header_len = s->parts[0].header_len,
		    .body_len = s->parts[0].body_len,
		    .body_lines = s->parts[0].body_lines,
		    .type = BYTES_LIT("application"),
		    .subtype = BYTES_LIT("octet-stream"),
		};
		put_part(x, &whole);
		kept = 1;
	}
	patch_u16(x, at, kept);
}

enum err
mail_summary_encode(const struct mail_structure *s, struct buf *out)
{
	return mail_summary_encode_within(s, MAIL_SUMMARY_MAX, out);
}

enum err
mail_summary_encode_within(const struct mail_structure *s, size_t max, struct buf *out)
{
	size_t start = out->len;
	/* One part too many may be written before it is taken back. */
	struct buf work = BUF_INIT((size_t)2 * MAIL_SUMMARY_MAX);
	/* Two thirds for the envelope: the whole of its room where there is no tighter limit. */
	max = max < MAIL_SUMMARY_LEAST ? MAIL_SUMMARY_LEAST : max > MAIL_SUMMARY_MAX ? MAIL_SUMMARY_MAX : max;
	struct encoder x = {.cut = false, .room = max / 3 * 2};
	wire_writer_init(&x.w, &work);
	wire_put_u8(&x.w, MAIL_SUMMARY_VERSION);
	wire_put_u8(&x.w, s->truncated ? SUMMARY_TRUNCATED : 0);
	wire_put_u32(&x.w, (uint32_t)s->size);
	put_envelope(&x, s->parts[0].envelope, true);
	put_parts(&x, s, max);
	if (x.cut) {
		patch_flag(&x, 1, SUMMARY_TRUNCATED);
	}
	enum err e = wire_done(&x.w);
	if (e == ERR_OK) {
		e = buf_append(out, buf_bytes(&work));
	}
	if (e != ERR_OK) {
		buf_truncate(out, start);
	}
	buf_wipe(&work);
	return e;
}
