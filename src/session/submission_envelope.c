/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* MAIL and RCPT: who may send, and to whom. Domains of others are not looked up: when that happens is the courier's affair. */
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "session/sending.h"
#include "session/submission_internal.h"

enum { ORCPT_MAX = 1000 };

static const struct submission_reply good = {.code = 0};

static struct submission_reply
say(unsigned code, const char *enhanced, const char *text)
{
	return (struct submission_reply){.code = code, .enhanced = enhanced, .text = text};
}

static struct submission_reply
no_memory(void)
{
	return say(452, "4.3.1", "Out of memory, try again later");
}

struct bytes
envelope_view(const struct envelope *v, struct span s)
{
	return bytes_slice(buf_bytes(&v->text), s.at, s.len);
}

struct envelope *
envelope_create(struct worker *w, struct member *m)
{
	struct envelope *v = calloc(1, sizeof(*v));
	if (v != NULL) {
		v->worker = w;
		v->member = m;
		buf_init(&v->text, SUBMISSION_TEXT_MAX);
		buf_init(&v->message, worker_message_max(w) + 4096);
	}
	return v;
}

void
envelope_destroy(struct envelope **ret)
{
	struct envelope *v = *ret;
	if (v == NULL) {
		return;
	}
	*ret = NULL;
	worker_give_bytes(v->worker, v->member, v->charged);
	buf_wipe(&v->text);
	buf_wipe(&v->message);
	free(v->recipients);
	if (v->targets != NULL) {
		secret_wipe(v->targets, v->target_count * sizeof(*v->targets));
	}
	free(v->targets);
	free(v->domains);
	free(v);
}

static enum err
keep(struct envelope *v, struct bytes text, struct span *ret)
{
	struct span s = {.at = (uint32_t)v->text.len, .len = (uint32_t)text.len};
	enum err e = buf_append(&v->text, text);
	if (e == ERR_OK) {
		*ret = s;
	}
	return e;
}

/* "local@domain" with the domain in the form that DNS knows. ERR_FORMAT where there is none. */
static enum err
keep_mailbox(struct envelope *v, const struct mail_mailbox *m, struct bytes domain, struct span *ret)
{
	struct buf text = BUF_INIT(MAIL_MAILBOX_MAX * 4);
	enum err e = buf_append(&text, m->local);
	e = e == ERR_OK ? buf_append_byte(&text, '@') : e;
	e = e == ERR_OK ? mail_domain_normalise(domain, &text) : e;
	e = e == ERR_OK ? keep(v, buf_bytes(&text), ret) : e;
	buf_wipe(&text);
	return e;
}

struct submission_reply
envelope_mail(struct envelope *v, const struct member *m, const struct smtp_mail *mail)
{
	if (mail->sender.local.len == 0) {
		return say(553, "5.7.1", "An empty sender address is for servers, not for members");
	}
	if (!member_owns_address(m, &mail->sender)) {
		return say(553, "5.7.1", "This sender address is not one of yours");
	}
	enum err e = keep_mailbox(v, &mail->sender, mail->sender.domain, &v->sender);
	e = e == ERR_OK ? keep(v, mail->envid, &v->envid) : e;
	v->ret = (uint8_t)mail->ret;
	v->wish = (struct smtp_mail){
	    .hold = mail->hold, .has_priority = mail->has_priority, .priority = mail->priority};
	v->declared = mail->size;
	v->utf8 = mail->utf8;
	v->require_tls = mail->require_tls;
	v->sender_utf8 = mail->sender.utf8;
	return e == ERR_OK ? good : no_memory();
}

static struct submission_reply
lookup_reply(enum err e)
{
	switch ((int)e) {
	case ERR_NOT_FOUND:
		return say(550, "5.1.1", "No such mailbox here");
	case ERR_LIMIT:
		return say(452, "4.5.3", "Too many recipients, send the rest in another message");
	case ERR_QUOTA:
		return say(452, "4.2.2", "Mailbox full");
	case ERR_MEMORY:
		return no_memory();
	default:
		return say(451, "4.3.0", "Temporary failure, try again later");
	}
}

static bool
has_target(const struct envelope *v, const uint8_t id[SEALED_ID_LEN])
{
	for (size_t i = 0; i < v->target_count; i++) {
		if (memcmp(v->targets[i].account.id, id, SEALED_ID_LEN) == 0) {
			return true;
		}
	}
	return false;
}

static enum err
add_targets(struct envelope *v, const struct lookup_account *found, size_t count, struct span address)
{
	if (count + v->target_count + v->domain_count > SUBMISSION_PARTS_MAX) {
		return ERR_LIMIT;
	}
	struct target *more = reallocarray(v->targets, v->target_count + count, sizeof(*more));
	if (more == NULL) {
		return ERR_MEMORY;
	}
	v->targets = more;
	for (size_t i = 0; i < count; i++) {
		if (!has_target(v, found[i].id)) {
			v->targets[v->target_count++] =
			    (struct target){.account = found[i], .address = address};
		}
	}
	return ERR_OK;
}

/* Accounts behind an address of ours; one person's full mailbox is told at once. */
static enum err
add_local(struct envelope *v, const struct mail_mailbox *mailbox, struct span address)
{
	struct role_host *h = v->worker->host;
	struct lookup_account *found = calloc(DIRECTORY_ACCOUNTS_MAX, sizeof(*found));
	size_t count = 0;
	enum err e = found == NULL ? ERR_MEMORY
				   : lookup_recipient(h, &v->worker->keys, mailbox, v->declared, found,
						      DIRECTORY_ACCOUNTS_MAX, &count);
	e = e == ERR_OK ? add_targets(v, found, count, address) : e;
	free(found);
	return e;
}

static enum err
add_domain(struct envelope *v, struct span domain)
{
	for (size_t i = 0; i < v->domain_count; i++) {
		if (bytes_equal(envelope_view(v, v->domains[i]), envelope_view(v, domain))) {
			return ERR_OK;
		}
	}
	if (v->target_count + v->domain_count >= SUBMISSION_PARTS_MAX) {
		return ERR_LIMIT;
	}
	struct span *more = reallocarray(v->domains, v->domain_count + 1, sizeof(*more));
	if (more == NULL) {
		return ERR_MEMORY;
	}
	v->domains = more;
	v->domains[v->domain_count++] = domain;
	return ERR_OK;
}

/* As it came, for the reports (RFC 3461 section 4.2): type, semicolon, xtext. */
static enum err
keep_orcpt(struct envelope *v, const struct smtp_rcpt *rcpt, struct span *ret)
{
	struct buf text = BUF_INIT(ORCPT_MAX);
	if (rcpt->orcpt_type.len == 0) {
		return ERR_OK;
	}
	enum err e = buf_append(&text, rcpt->orcpt_type);
	e = e == ERR_OK ? buf_append_byte(&text, ';') : e;
	if (e == ERR_OK) {
		e = bytes_is_nocase(rcpt->orcpt_type, "utf-8") ? buf_append(&text, rcpt->orcpt)
							       : smtp_xtext_encode(rcpt->orcpt, &text);
	}
	if (e == ERR_OK) {
		e = keep(v, buf_bytes(&text), ret);
	} else if (e == ERR_LIMIT) {
		e = ERR_OK;
	}
	buf_wipe(&text);
	return e;
}

static bool
is_known(const struct envelope *v, struct span normal)
{
	for (size_t i = 0; i < v->recipient_count; i++) {
		if (bytes_equal(envelope_view(v, v->recipients[i].normal), envelope_view(v, normal))) {
			return true;
		}
	}
	return false;
}

static enum err
add_recipient(struct envelope *v, const struct mail_mailbox *mailbox, struct recipient *r)
{
	struct bytes address = envelope_view(v, r->address);
	size_t at = (size_t)bytes_find_last(address, '@') + 1;
	struct span domain = {.at = r->address.at + (uint32_t)at, .len = r->address.len - (uint32_t)at};
	enum err e = ERR_OK;
	if (bytes_is(envelope_view(v, domain), v->worker->host->config.domain)) {
		e = add_local(v, mailbox, r->address);
	} else {
		r->domain = domain;
		e = add_domain(v, domain);
	}
	if (e != ERR_OK) {
		return e;
	}
	struct recipient *more = reallocarray(v->recipients, v->recipient_count + 1, sizeof(*more));
	if (more == NULL) {
		return ERR_MEMORY;
	}
	v->recipients = more;
	v->recipients[v->recipient_count++] = *r;
	return ERR_OK;
}

static struct bytes
mailbox_domain(struct bytes address)
{
	return bytes_from(address, (size_t)(bytes_find_last(address, '@') + 1));
}

struct submission_reply
envelope_rcpt(struct envelope *v, struct member *m, const struct smtp_rcpt *rcpt)
{
	struct mail_mailbox mailbox = rcpt->recipient;
	struct recipient r = {.notify = (uint8_t)rcpt->notify, .utf8 = mailbox.utf8};
	struct buf normal = BUF_INIT(MAIL_MAILBOX_MAX * 4);
	if (mailbox.literal) {
		return say(550, "5.1.2", "Address literals are not delivered to");
	}
	if (mailbox.domain.len == 0) {
		mailbox.domain = bytes_str(v->worker->host->config.domain);
	}
	enum err e = mail_mailbox_normalise(&mailbox, &normal);
	e = e == ERR_OK ? keep_mailbox(v, &mailbox, mailbox.domain, &r.address) : e;
	e = e == ERR_OK ? keep(v, buf_bytes(&normal), &r.normal) : e;
	e = e == ERR_OK ? keep_orcpt(v, rcpt, &r.orcpt) : e;
	buf_wipe(&normal);
	if (e == ERR_FORMAT) {
		return say(550, "5.1.2", "This is no domain name");
	}
	if (e == ERR_OK && !is_known(v, r.normal)) {
		struct bytes domain = mailbox_domain(envelope_view(v, r.address));
		struct submission_reply limit = sending_recipient_named(
		    m, bytes_is(domain, v->worker->host->config.domain) ? BYTES_EMPTY : domain, &v->put_off);
		if (limit.code != 0) {
			return limit;
		}
		e = add_recipient(v, &mailbox, &r);
	}
	return e == ERR_OK ? good : lookup_reply(e);
}

void
envelope_data(struct envelope *v, struct bytes chunk)
{
	size_t before = v->message.cap;
	if (v->too_much) {
		return;
	}
	enum err e = buf_append(&v->message, chunk);
	if (e == ERR_OK) {
		e = worker_take_bytes(v->worker, v->member, v->message.cap - before);
		v->charged += e == ERR_OK ? v->message.cap - before : 0;
	}
	if (e != ERR_OK) {
		v->too_much = true;
		buf_wipe(&v->message);
		worker_give_bytes(v->worker, v->member, v->charged);
		v->charged = 0;
	}
}
