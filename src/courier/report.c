/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "courier/report.h"

#include <stdio.h>
#include <string.h>

#include "protocol/smtp_envelope.h"

enum { RETURN_MAX = 10 << 20, TEXT_MAX = 1 << 20, SCRATCH_MAX = 1 << 20 };

void
outcome_temporary(struct outcome *o, const char *status, const char *text)
{
	struct smtp_result r;
	smtp_result_local(451, status, text, &r);
	outcome_take(o, &r, "", false);
}

void
outcome_take(struct outcome *o, const struct smtp_result *result, const char *remote, bool peer_reports)
{
	if (o->state == OUTCOME_DONE || o->state == OUTCOME_FAILED) {
		return;
	}
	o->state = result->code / 100 == 2   ? OUTCOME_DONE
		   : result->code / 100 == 5 ? OUTCOME_FAILED
					     : OUTCOME_TEMPORARY;
	o->peer_reports = o->state == OUTCOME_DONE && peer_reports;
	o->result = *result;
	(void)snprintf(o->remote, sizeof(o->remote), "%s", remote);
}

/* ---- who is told of what ---- */

static bool
tells_anybody(const struct courier_part *part)
{
	return part->generation != 0 && part->sender.len > 0 && (part->flags & COURIER_NULL_SENDER) == 0;
}

static bool
concerns(const struct courier_recipient *r, const struct outcome *o, enum report_kind kind)
{
	unsigned notify = r->notify;
	if ((notify & SPOOL_NOTIFY_NEVER) != 0) {
		return false;
	}
	switch (kind) {
	case REPORT_FAILED:
		return o->state == OUTCOME_FAILED &&
		       (notify == SPOOL_NOTIFY_DEFAULT || (notify & SPOOL_NOTIFY_FAILURE) != 0);
	case REPORT_DELAYED:
		return o->state == OUTCOME_TEMPORARY &&
		       (notify == SPOOL_NOTIFY_DEFAULT || (notify & SPOOL_NOTIFY_DELAY) != 0);
	case REPORT_RELAYED:
	default:
		return o->state == OUTCOME_DONE && !o->peer_reports && (notify & SPOOL_NOTIFY_SUCCESS) != 0;
	}
}

bool
report_is_unprotected(const struct outcome *o)
{
	const char *status = o->result.status;
	return o->state == OUTCOME_TEMPORARY && o->result.local &&
	       (strcmp(status, "4.7.5") == 0 || strcmp(status, "4.7.10") == 0);
}

/* The attempt was the last: what would have been tried again has failed. */
static void
expire(struct outcome *o)
{
	bool unprotected = report_is_unprotected(o);
	o->state = OUTCOME_FAILED;
	if (unprotected) {
		o->result.status[0] = '5';
	} else {
		(void)snprintf(o->result.status, sizeof(o->result.status), "5.4.7");
	}
}

struct verdict
report_decide(const struct courier_part *part, struct outcome *outcomes, bool last, bool warn_due)
{
	struct verdict v = {.again = false};
	for (size_t i = 0; i < part->recipient_count; i++) {
		struct outcome *o = &outcomes[i];
		if (o->state == OUTCOME_OPEN) {
			outcome_temporary(o, "4.4.1", "No server of the domain could be reached");
		}
		if (o->state == OUTCOME_TEMPORARY && last) {
			expire(o);
		}
		v.open += o->state == OUTCOME_TEMPORARY ? 1 : 0;
		if (tells_anybody(part)) {
			v.failed += concerns(&part->recipients[i], o, REPORT_FAILED) ? 1 : 0;
			v.relayed += concerns(&part->recipients[i], o, REPORT_RELAYED) ? 1 : 0;
			v.delayed += warn_due && concerns(&part->recipients[i], o, REPORT_DELAYED) ? 1 : 0;
		}
	}
	v.again = v.open > 0;
	v.warn = warn_due && v.again;
	return v;
}

/* ---- the report ---- */

/* What it means and what to do, by the status (RFC 3463, RFC 5248); in plain words. */
static const char *
explain(const struct outcome *o)
{
	static const struct {
		const char *status; /* without its class */
		const char *text;
	} table[] = {
	    {".1.1", "There is no such address there. Check how it is spelled."},
	    {".1.10", "This domain takes no mail at all. Ask for another address."},
	    {".1.2", "The part behind the @ does not exist. Check how it is spelled."},
	    {".2.1", "The mailbox is closed at the moment. Reach the person in another way."},
	    {".2.2", "The mailbox is full. The person has to make room first."},
	    {".3.4", "The message is too large for that provider. Send less, or a link."},
	    {".2.3", "The message is too large for that mailbox. Send less, or a link."},
	    {".4.4", "That provider has no working mail server. Its operators have to repair this."},
	    {".4.6", "The mail would go in circles. The domain's operators have to repair this."},
	    {".4.7",
	     "It could not be delivered in all the time that we tried. Reach the person in another way, "
	     "or try again later."},
	    {".6.0", "The message is not of a form that mail can carry. Send it again from another program."},
	    {".6.3",
	     "That provider cannot take the message as it is, and it is signed, so that we may not change "
	     "it. Send it unsigned, or without special characters."},
	    {".6.7",
	     "That provider cannot take addresses or subjects with special characters (SMTPUTF8). Use "
	     "plain ones."},
	    {".7.10",
	     "That provider's server offers no encryption, and we send nothing that anybody on the way "
	     "can read. Reach the person in another way; their provider has to switch encryption on."},
	    {".7.5", "What protects that domain's mail does not verify: its DNS answers, or its server's "
		     "certificate. Its "
		     "operators have made a mistake, or somebody on the way pretends to be that server; we "
		     "send nothing there "
		     "unprotected. Reach the person in another way."},
	    {".7.30", "You asked that this letter travel on verified, encrypted links only (REQUIRETLS). "
		      "That provider cannot "
		      "promise it, so it was not sent. Send it without, or reach the person in another way."},
	    {".7.1", "That provider refuses the message. What its server says may tell why."},
	};
	const char *status = o->result.status;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (status[0] != '\0' && strcmp(status + 1, table[i].status) == 0) {
			return table[i].text;
		}
	}
	return o->result.local ? "" : "That provider's server refuses it. What it says may tell why.";
}

static enum err
put_line(struct buf *out, const char *front, const char *text)
{
	return text[0] == '\0' ? ERR_OK : buf_printf(out, "%s%s\r\n", front, text);
}

static enum err
write_text(const struct courier_part *part, const struct outcome *outcomes, enum report_kind kind,
	   const struct report_context *context, struct buf *out)
{
	static const char *const openings[] = {
	    [REPORT_FAILED] = "Your message could not be delivered to:\r\n",
	    [REPORT_DELAYED] = "Your message could not be delivered yet. We keep trying until",
	    [REPORT_RELAYED] = "Your message was handed on to a server that sends no receipts, for:\r\n",
	};
	bool forwarded = (part->flags & COURIER_FORWARDED) != 0 && kind == REPORT_FAILED;
	enum err e = buf_append_str(
	    out, forwarded ? "A letter that came to you could not be sent on, as you asked. Your "
			     "own copy is in your mailbox.\r\nIt was not taken for:\r\n"
			   : openings[kind]);
	if (e == ERR_OK && kind == REPORT_DELAYED) {
		e = buf_append_str(out, "\r\n");
		if (e == ERR_OK) {
			e = mail_write_date(out, context->give_up);
		}
		if (e == ERR_OK) {
			e = buf_append_str(out, "; you need not send it again.\r\nStill waiting for:\r\n");
		}
	}
	for (size_t i = 0; i < part->recipient_count && e == ERR_OK; i++) {
		const struct courier_recipient *r = &part->recipients[i];
		const struct outcome *o = &outcomes[i];
		if (!concerns(r, o, kind)) {
			continue;
		}
		e = buf_append_str(out, "\r\n  <");
		if (e == ERR_OK) {
			e = buf_append(out, r->address);
		}
		if (e == ERR_OK) {
			e = buf_append_str(out, ">\r\n");
		}
		if (e == ERR_OK && kind != REPORT_RELAYED) {
			e = put_line(out, "    ",
				     kind == REPORT_FAILED || report_is_unprotected(o) ? explain(o) : "");
			if (e == ERR_OK) {
				e = put_line(
				    out, o->result.local ? "    What happened: " : "    Its server says: ",
				    o->result.text);
			}
		}
	}
	return e == ERR_OK && context->reference[0] != '\0'
		   ? put_line(out, "\r\nReference: ", context->reference)
		   : e;
}

/* "550 no such user": what the peer said. What we saw ourselves is no SMTP reply, and stands in the text. */
static enum err
write_diagnostic(const struct outcome *o, struct buf *out)
{
	return o->result.local ? ERR_OK : buf_printf(out, "%u %s", o->result.code, o->result.text);
}

bool
report_orcpt(struct bytes orcpt, struct buf *scratch, struct bytes *ret_type, struct bytes *ret_plain)
{
	ptrdiff_t semicolon = bytes_find(orcpt, ';');
	if (semicolon <= 0 || (size_t)semicolon + 1 >= orcpt.len) {
		return false;
	}
	struct bytes type = bytes_slice(orcpt, 0, (size_t)semicolon);
	struct bytes text = bytes_from(orcpt, (size_t)semicolon + 1);
	size_t before = scratch->len;
	/* Who submitted it wrote xtext; a '+' that is no part of any stands for itself. */
	if (!bytes_is_nocase(type, "utf-8") && smtp_xtext_decode(text, scratch) == ERR_OK) {
		text = bytes_from(buf_bytes(scratch), before);
	}
	*ret_type = type;
	*ret_plain = text;
	return true;
}

/* For Original-Recipient: type, and xtext. */
static enum err
write_original_recipient(struct bytes orcpt, struct buf *out)
{
	struct buf plain = BUF_INIT(SPOOL_TEXT_MAX * 2);
	struct bytes type;
	struct bytes text;
	enum err e = ERR_OK;
	if (report_orcpt(orcpt, &plain, &type, &text)) {
		e = buf_append(out, type);
		if (e == ERR_OK) {
			e = buf_append_byte(out, ';');
		}
		if (e == ERR_OK) {
			e = bytes_is_nocase(type, "utf-8") ? buf_append(out, text)
							   : smtp_xtext_encode(text, out);
		}
	}
	buf_wipe(&plain);
	return e;
}

/* Pieces of text kept together; views are made when all are there, since the buffer moves. */
struct piece {
	size_t at, len;
};

static struct piece
piece_since(const struct buf *b, size_t before)
{
	return (struct piece){.at = before, .len = b->len - before};
}

static struct bytes
piece_view(const struct buf *b, struct piece p)
{
	return bytes_slice(buf_bytes(b), p.at, p.len);
}

struct gathered {
	struct buf text;
	struct arena arena;
	struct mail_dsn_recipient *recipients;
	size_t count;
};

static enum err
gather(const struct courier_part *part, const struct outcome *outcomes, enum report_kind kind,
       const struct report_context *context, struct gathered *g)
{
	static const enum mail_dsn_action actions[] = {[REPORT_FAILED] = MAIL_DSN_FAILED,
						       [REPORT_DELAYED] = MAIL_DSN_DELAYED,
						       [REPORT_RELAYED] = MAIL_DSN_RELAYED};
	struct piece(*pieces)[2] = arena_array(&g->arena, part->recipient_count, sizeof(*pieces));
	g->recipients = arena_array(&g->arena, part->recipient_count, sizeof(*g->recipients));
	if (g->recipients == NULL || pieces == NULL) {
		return ERR_MEMORY;
	}
	enum err e = ERR_OK;
	for (size_t i = 0; i < part->recipient_count && e == ERR_OK; i++) {
		const struct outcome *o = &outcomes[i];
		if (!concerns(&part->recipients[i], o, kind)) {
			continue;
		}
		size_t before = g->text.len;
		e = write_original_recipient(part->recipients[i].orcpt, &g->text);
		pieces[g->count][0] = piece_since(&g->text, before);
		before = g->text.len;
		if (e == ERR_OK && (kind != REPORT_RELAYED)) {
			e = write_diagnostic(o, &g->text);
		}
		pieces[g->count][1] = piece_since(&g->text, before);
		g->recipients[g->count++] = (struct mail_dsn_recipient){
		    .final = part->recipients[i].address,
		    .action = actions[kind],
		    .status = bytes_str(o->result.status),
		    .remote_mta = bytes_str(o->remote),
		    .last_attempt = context->now,
		    .will_retry_until = kind == REPORT_DELAYED ? context->give_up : 0,
		};
	}
	for (size_t i = 0; i < g->count; i++) {
		g->recipients[i].original = piece_view(&g->text, pieces[i][0]);
		g->recipients[i].diagnostic = piece_view(&g->text, pieces[i][1]);
	}
	return e == ERR_OK && g->count == 0 ? ERR_NOT_FOUND : e;
}

static enum err
write_names(const struct courier_part *part, const struct report_context *context, struct buf *from,
	    struct buf *id, struct buf *boundary, struct buf *envid)
{
	enum err e = buf_printf(from, "postmaster@%s", context->domain);
	if (e == ERR_OK) {
		e = buf_append_byte(id, '<');
	}
	if (e == ERR_OK) {
		e = buf_append_hex(id, bytes_of(context->random, 16));
	}
	if (e == ERR_OK) {
		e = buf_printf(id, "@%s>", context->domain);
	}
	if (e == ERR_OK) {
		e = buf_append_str(boundary, "=_");
	}
	if (e == ERR_OK) {
		e = buf_append_hex(boundary, bytes_of(context->random, 16));
	}
	return e == ERR_OK && part->envid.len > 0 ? smtp_xtext_encode(part->envid, envid) : e;
}

/* RFC 5321 section 4.4: the null sender it comes from, and the house that made it. */
static enum err
write_trace(const struct report_context *context, struct buf *out)
{
	struct buf value = BUF_INIT(1024);
	enum err e = buf_append_str(out, "Return-Path: <>\r\n");
	if (e == ERR_OK) {
		e = buf_printf(&value, "by %s (Cohue) id %s; ", context->hostname, context->reference);
	}
	if (e == ERR_OK) {
		e = mail_write_date(&value, context->now);
	}
	if (e == ERR_OK) {
		e = mail_write_field(out, "Received", buf_bytes(&value));
	}
	buf_clear(&value);
	return e;
}

enum err
report_write(const struct courier_part *part, const struct outcome *outcomes, enum report_kind kind,
	     const struct report_context *context, struct buf *out)
{
	struct gathered g = {.text = BUF_INIT(SCRATCH_MAX)};
	struct buf text = BUF_INIT(TEXT_MAX);
	struct buf from = BUF_INIT(512);
	struct buf id = BUF_INIT(512);
	struct buf boundary = BUF_INIT(70);
	struct buf envid = BUF_INIT(SPOOL_TEXT_MAX * 3);
	arena_init(&g.arena, SCRATCH_MAX);
	enum err e = gather(part, outcomes, kind, context, &g);
	if (e == ERR_OK) {
		e = write_text(part, outcomes, kind, context, &text);
	}
	if (e == ERR_OK) {
		e = write_names(part, context, &from, &id, &boundary, &envid);
	}
	if (e == ERR_OK) {
		struct mail_dsn dsn = {
		    .reporting_mta = bytes_str(context->hostname),
		    .from = buf_bytes(&from),
		    .to = part->sender,
		    .message_id = buf_bytes(&id),
		    .boundary = buf_bytes(&boundary),
		    .date = context->now,
		    .arrival_date = (int64_t)part->entered,
		    .envelope_id = buf_bytes(&envid),
		    .text = buf_bytes(&text),
		    .recipients = g.recipients,
		    .recipient_count = g.count,
		    .original = context->original,
		    .return_full = kind == REPORT_FAILED && part->ret == SPOOL_RET_FULL &&
				   context->original.len <= RETURN_MAX,
		};
		size_t mark = out->len;
		e = write_trace(context, out);
		if (e == ERR_OK) {
			e = mail_dsn_write(out, &dsn);
		}
		if (e != ERR_OK) {
			buf_truncate(out, mark);
		}
	}
	buf_wipe(&g.text);
	arena_clear(&g.arena);
	buf_wipe(&text);
	buf_clear(&from);
	buf_clear(&id);
	buf_clear(&boundary);
	buf_clear(&envid);
	return e;
}
