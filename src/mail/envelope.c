/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "mail/envelope.h"

#include "mail/lexer.h"

/* A text of at most max octets, unfolded, within the budget. */
static enum err
take_text(struct arena *arena, struct bytes value, size_t max, struct mail_budget *budget,
	  struct bytes *ret_text, bool *cut)
{
	value = bytes_trim(value);
	size_t allowed = max < budget->text ? max : budget->text;
	if (value.len > allowed) {
		value = bytes_trim(bytes_slice(value, 0, allowed));
		budget->cut = true;
		*cut = true;
	}
	struct bytes text = mail_unfold_copy(arena, value);
	if (text.ptr == NULL) {
		return ERR_MEMORY;
	}
	budget->text -= value.len;
	*ret_text = text;
	return ERR_OK;
}

static enum err
take_addresses(struct arena *arena, struct bytes value, struct mail_budget *budget, struct mail_envelope *env,
	       struct mail_addresses *ret)
{
	value = bytes_trim(value);
	if (value.len > budget->text) {
		value = bytes_slice(value, 0, budget->text);
		env->truncated = true;
	}
	enum err e = mail_addresses_parse(arena, value, budget->addresses, ret);
	if (e != ERR_OK) {
		return e;
	}
	budget->text -= value.len;
	budget->addresses -= ret->count;
	env->truncated = env->truncated || ret->truncated;
	budget->cut = budget->cut || env->truncated;
	return ERR_OK;
}

static enum err
take_references(struct arena *arena, struct bytes value, struct mail_budget *budget,
		struct mail_envelope *env)
{
	value = bytes_trim(value);
	if (value.len > budget->text) {
		value = bytes_slice(value, 0, budget->text);
	}
	budget->text -= value.len;
	return mail_ids_parse(arena, value, MAIL_MAX_REFERENCES, &env->references);
}

enum which {
	F_DATE,
	F_SUBJECT,
	F_FROM,
	F_SENDER,
	F_REPLY_TO,
	F_TO,
	F_CC,
	F_BCC,
	F_IN_REPLY_TO,
	F_MESSAGE_ID,
	F_REFERENCES,
	F_COUNT
};

static const char *const names[F_COUNT] = {
    "Date", "Subject", "From",        "Sender",     "Reply-To",   "To",
    "Cc",   "Bcc",     "In-Reply-To", "Message-ID", "References",
};

static enum err
take_field(struct arena *arena, enum which which, struct bytes value, bool outermost,
	   struct mail_budget *budget, struct mail_envelope *env)
{
	bool *cut = &env->truncated;
	switch (which) {
	case F_DATE:
		env->has_sent = mail_date_parse(value, &env->sent) == ERR_OK;
		return take_text(arena, value, MAIL_MAX_SHORT_TEXT, budget, &env->date, cut);
	case F_SUBJECT:
		return take_text(arena, value, MAIL_MAX_TEXT, budget, &env->subject, cut);
	case F_FROM:
		return take_addresses(arena, value, budget, env, &env->from);
	case F_SENDER:
		return take_addresses(arena, value, budget, env, &env->sender);
	case F_REPLY_TO:
		return take_addresses(arena, value, budget, env, &env->reply_to);
	case F_TO:
		return take_addresses(arena, value, budget, env, &env->to);
	case F_CC:
		return take_addresses(arena, value, budget, env, &env->cc);
	case F_BCC:
		return take_addresses(arena, value, budget, env, &env->bcc);
	case F_IN_REPLY_TO:
		return take_text(arena, value, MAIL_MAX_TEXT, budget, &env->in_reply_to, cut);
	case F_MESSAGE_ID:
		return take_text(arena, value, MAIL_MAX_SHORT_TEXT, budget, &env->message_id, cut);
	case F_REFERENCES:
		return outermost ? take_references(arena, value, budget, env) : ERR_OK;
	case F_COUNT:
		break;
	}
	return ERR_OK;
}

enum err
mail_envelope_read(struct arena *arena, struct bytes header, bool outermost, struct mail_budget *budget,
		   struct mail_envelope *ret_envelope)
{
	struct mail_envelope env = {.has_sent = false};
	struct mail_fields it;
	struct mail_field field;
	bool seen[F_COUNT] = {false};
	mail_fields_init(&it, header);
	while (mail_fields_next(&it, &field)) {
		for (unsigned int i = 0; i < F_COUNT; i++) {
			/* Where a field stands twice, the first counts. */
			if (seen[i] || !bytes_is_nocase(field.name, names[i])) {
				continue;
			}
			seen[i] = true;
			enum err e = take_field(arena, (enum which)i, field.value, outermost, budget, &env);
			if (e != ERR_OK) {
				return e;
			}
			break;
		}
	}
	if (env.sender.count == 0) {
		env.sender = env.from;
	}
	if (env.reply_to.count == 0) {
		env.reply_to = env.from;
	}
	*ret_envelope = env;
	return ERR_OK;
}

/* Without budget the parameters are left out. */
static struct bytes
within_budget(struct bytes value, struct mail_budget *budget)
{
	if (value.len <= budget->params) {
		budget->params -= value.len;
		return value;
	}
	budget->cut = true;
	value = bytes_slice(value, 0, 512);
	ptrdiff_t semicolon = bytes_find(value, ';');
	return semicolon < 0 ? value : bytes_slice(value, 0, (size_t)semicolon);
}

static enum err
take_type(struct arena *arena, struct bytes value, struct mail_budget *budget, struct mail_part *part,
	  struct bytes *boundary)
{
	struct mail_content content;
	enum err e = mail_content_type_parse(arena, within_budget(value, budget), &content);
	if (e == ERR_FORMAT) {
		part->type = BYTES_LIT("text");
		part->subtype = BYTES_LIT("plain");
		return ERR_OK;
	}
	if (e != ERR_OK) {
		return e;
	}
	part->type = content.type;
	part->subtype = content.subtype;
	part->params = content.params;
	budget->cut = budget->cut || content.truncated;
	bool found = mail_param_find(&part->params, "boundary", boundary);
	if (!found && bytes_is_nocase(part->type, "multipart")) {
		/* In pieces, or encoded (RFC 2231), as no program does: but some readers join them. */
		struct buf joined = BUF_INIT(MAIL_MAX_SHORT_TEXT);
		if (mail_param_decode(&part->params, "boundary", &joined) == ERR_OK) {
			*boundary = arena_copy(arena, buf_bytes(&joined));
			found = boundary->ptr != NULL;
		}
		buf_clear(&joined);
	}
	if (found) {
		while (boundary->len > 0 && mail_is_blank(boundary->ptr[boundary->len - 1])) {
			boundary->len--;
		}
	}
	return ERR_OK;
}

static enum err
take_disposition(struct arena *arena, struct bytes value, struct mail_budget *budget, struct mail_part *part)
{
	struct mail_content content;
	enum err e = mail_disposition_parse(arena, within_budget(value, budget), &content);
	if (e == ERR_OK) {
		part->disposition = content.type;
		part->disposition_params = content.params;
		budget->cut = budget->cut || content.truncated;
	}
	return e == ERR_FORMAT ? ERR_OK : e;
}

enum err
mail_part_read(struct arena *arena, struct bytes header, struct mail_budget *budget, struct mail_part *part,
	       struct bytes *ret_boundary)
{
	struct mail_fields it;
	struct mail_field field;
	struct {
		const char *name;
		struct bytes *to;
	} const texts[] = {
	    {"Content-ID", &part->id},
	    {"Content-Description", &part->description},
	    {"Content-MD5", &part->md5},
	    {"Content-Location", &part->location},
	};
	bool typed = false;
	bool cut = false;
	mail_fields_init(&it, header);
	while (mail_fields_next(&it, &field)) {
		enum err e = ERR_OK;
		if (!bytes_starts_with_nocase(field.name, "Content-")) {
			continue;
		}
		if (bytes_is_nocase(field.name, "Content-Type")) {
			if (!typed) {
				e = take_type(arena, field.value, budget, part, ret_boundary);
			}
			typed = true;
		} else if (bytes_is_nocase(field.name, "Content-Disposition")) {
			if (part->disposition.ptr == NULL) {
				e = take_disposition(arena, field.value, budget, part);
			}
		} else if (bytes_is_nocase(field.name, "Content-Transfer-Encoding")) {
			if (part->encoding.ptr == NULL) {
				e = mail_token_parse(arena, bytes_slice(field.value, 0, 256),
						     &part->encoding);
			}
		} else if (bytes_is_nocase(field.name, "Content-Language")) {
			if (part->languages == NULL) {
				e = mail_languages_parse(arena, within_budget(field.value, budget),
							 &part->languages, &part->language_count);
			}
		} else {
			for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
				if (bytes_is_nocase(field.name, texts[i].name) && texts[i].to->ptr == NULL) {
					e = take_text(arena, field.value, MAIL_MAX_SHORT_TEXT, budget,
						      texts[i].to, &cut);
				}
			}
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}
