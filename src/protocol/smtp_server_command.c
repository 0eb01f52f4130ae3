/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The commands of the SMTP server engine (RFC 5321 section 4.1). */
#include "mail/write.h"
#include "protocol/smtp_server_private.h"

enum {
	IN_MX = 1,
	IN_GATE = 2,
	IN_SESSION = 4,
	IN_ALL = IN_MX | IN_GATE | IN_SESSION,
	IN_MAIL = IN_MX | IN_SESSION, /* before a login these get 530 */
};

/* EHLO */

static bool
is_hello_octet(uint8_t c)
{
	return ascii_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == ':' || c == '[' || c == ']';
}

/*
 * A domain or address literal. Underscores are common in the names of Windows
 * machines, and members' programs say what they like: of those only
 * printable octets are asked for, since nothing is done with the name.
 */
static bool
hello_valid(const struct smtp_server *s, struct bytes name)
{
	if (name.len == 0 || name.len > MAIL_DOMAIN_MAX) {
		return false;
	}
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.ptr[i];
		if (s->mode == SMTP_MODE_MX ? !is_hello_octet(c) : c <= ' ' || c == 127) {
			return false;
		}
	}
	return true;
}

/* The longest wait and the last date: both are wanted (RFC 4865 section 3). */
static void
put_future(struct smtp_server *s)
{
	smtp_put_raw(s, "250-FUTURERELEASE ");
	if (buf_append_u64(&s->out, s->config->hold_max) != ERR_OK ||
	    buf_append_byte(&s->out, ' ') != ERR_OK ||
	    mail_write_timestamp(&s->out, s->config->wall() / MSEC_SECOND + (int64_t)s->config->hold_max) !=
		ERR_OK) {
		s->closing = true;
	}
	smtp_put_raw(s, "\r\n");
}

/*
 * With SCRAM there are two lines. Programs that can bind read all of them and find -PLUS. mutt and NeoMutt (with GNU SASL) let the last
 * line replace those before, take the strongest mechanism of that, cannot bind, and try no other: without the second line they could not send.
 * Who takes -PLUS away gains nothing by there being two: programs that can bind then say `y`, which is refused (RFC 5802 section 6).
 */
static void
put_auth(struct smtp_server *s)
{
	if (s->host->scram != NULL) {
		smtp_put_raw(s, "250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n"
				"250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n");
	} else {
		smtp_put_raw(s, "250-AUTH PLAIN LOGIN\r\n");
	}
}

static void
put_ehlo(struct smtp_server *s)
{
	bool member = s->mode != SMTP_MODE_MX;
	smtp_put_raw(s, "250-");
	if (buf_append(&s->out, s->config->hostname) != ERR_OK ||
	    buf_append_str(&s->out, "\r\n250-PIPELINING\r\n250-SIZE ") != ERR_OK ||
	    buf_append_u64(&s->out, s->config->max_message) != ERR_OK) {
		s->closing = true;
	}
	smtp_put_raw(s, "\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n");
	if (member) {
		smtp_put_raw(s, "250-DSN\r\n250-MT-PRIORITY MIXER\r\n");
	}
	if (member && s->config->wall != NULL) {
		put_future(s);
	}
	if (s->config->starttls && !s->tls && s->mode != SMTP_MODE_SESSION) {
		smtp_put_raw(s, "250-STARTTLS\r\n");
	}
	if (s->mode == SMTP_MODE_GATE && s->tls) {
		put_auth(s);
	}
	if (s->tls) {
		smtp_put_raw(s, "250-REQUIRETLS\r\n");
	}
	smtp_put_raw(s, "250 ENHANCEDSTATUSCODES\r\n");
}

static void
say_hello(struct smtp_server *s, struct bytes name, enum smtp_hello kind)
{
	if (!hello_valid(s, name)) {
		smtp_mistake(s, 501, "5.5.4", "Syntax: EHLO domain");
		return;
	}
	/* The first after the greeting and after STARTTLS is no junk. */
	if (s->hello != SMTP_HELLO_NONE && smtp_count_junk(s)) {
		return;
	}
	smtp_reset_transaction(s);
	s->hello = kind;
	s->host->hello(s->ctx, kind, name);
	if (kind == SMTP_HELLO_EHLO) {
		put_ehlo(s);
	} else {
		smtp_put(s, 250, NULL, s->config->hostname);
	}
}

static void
command_ehlo(struct smtp_server *s, struct bytes args)
{
	say_hello(s, args, SMTP_HELLO_EHLO);
}

static void
command_helo(struct smtp_server *s, struct bytes args)
{
	say_hello(s, args, SMTP_HELLO_HELO);
}

/* MAIL and RCPT */

/* The text behind "FROM:". Spaces there are not allowed, and common: old Outlook, scripts. */
static enum err
after_keyword(struct bytes args, const char *keyword, size_t keyword_len, struct bytes *ret_text)
{
	if (!bytes_starts_with_nocase(args, keyword)) {
		return ERR_FORMAT;
	}
	struct bytes text = bytes_from(args, keyword_len);
	while (text.len > 0 && text.ptr[0] == ' ') {
		text = bytes_from(text, 1);
	}
	*ret_text = text;
	return ERR_OK;
}

static enum err
read_path(struct bytes text, struct mail_mailbox *ret_mailbox, struct bytes *ret_params)
{
	struct mail_mailbox mailbox;
	size_t used = 0;
	enum err e = mail_path_parse(text, &mailbox, &used);
	struct bytes rest = e == ERR_OK ? bytes_from(text, used) : BYTES_EMPTY;
	if (e != ERR_OK || (rest.len > 0 && rest.ptr[0] != ' ')) {
		return ERR_FORMAT;
	}
	*ret_mailbox = mailbox;
	*ret_params = rest;
	return ERR_OK;
}

static void
refuse_params(struct smtp_server *s, enum err e)
{
	if (e == ERR_UNSUPPORTED) {
		smtp_mistake(s, 555, "5.5.4", "Parameter not recognised");
	} else if (e == ERR_MEMORY) {
		smtp_put_str(s, 451, "4.3.0", "Out of memory");
	} else if (e == ERR_LIMIT) {
		smtp_mistake(s, 501, "5.5.4", "Held longer than FUTURERELEASE offers");
	} else {
		smtp_mistake(s, 501, "5.5.4", "Bad parameter");
	}
}

static void
handle_mail(struct smtp_server *s, struct mail_mailbox sender, struct bytes params, struct buf *scratch)
{
	bool member = s->mode == SMTP_MODE_SESSION;
	struct smtp_offer offer = {.dsn = member, .auth = member, .priority = member, .require_tls = s->tls};
	if (member && s->config->wall != NULL) {
		offer.hold_max = s->config->hold_max;
		offer.wall = s->config->wall() / MSEC_SECOND;
	}
	struct smtp_mail mail = {.sender = sender};
	if (s->hello == SMTP_HELLO_HELO && params.len > 0) {
		refuse_params(s, ERR_UNSUPPORTED);
		return;
	}
	enum err e = smtp_mail_params(params, offer, scratch, &mail);
	if (e != ERR_OK) {
		refuse_params(s, e);
		return;
	}
	if (sender.utf8 && !mail.utf8) {
		smtp_mistake(s, 553, "5.6.7", "Address needs SMTPUTF8");
		return;
	}
	if (mail.size > s->config->max_message) {
		smtp_mistake(s, 552, "5.3.4", "Message too large");
		return;
	}
	s->utf8 = mail.utf8;
	s->question = SMTP_ASKED_MAIL;
	s->host->mail(s->ctx, &mail);
}

static void
command_mail(struct smtp_server *s, struct bytes args)
{
	struct bytes text = BYTES_EMPTY;
	struct bytes params = BYTES_EMPTY;
	struct mail_mailbox sender;
	if (s->mode == SMTP_MODE_MX && s->config->require_tls && !s->tls) {
		smtp_mistake(s, 530, "5.7.0", "Must issue a STARTTLS command first");
		return;
	}
	if (s->transaction != SMTP_TRANSACTION_NONE) {
		smtp_mistake(s, 503, "5.5.1", "Sender already given");
		return;
	}
	if (after_keyword(args, "FROM:", 5, &text) != ERR_OK) {
		smtp_mistake(s, 501, "5.5.4", "Syntax: MAIL FROM:<address>");
		return;
	}
	if (read_path(text, &sender, &params) != ERR_OK || (sender.domain.len == 0 && sender.local.len > 0)) {
		smtp_mistake(s, 501, "5.1.7", "Bad sender address syntax");
		return;
	}
	struct buf scratch = BUF_INIT(SMTP_COMMAND_MAX);
	handle_mail(s, sender, params, &scratch);
	buf_wipe(&scratch);
}

static void
handle_rcpt(struct smtp_server *s, struct mail_mailbox recipient, struct bytes params, struct buf *scratch)
{
	struct smtp_offer offer = {.dsn = s->mode == SMTP_MODE_SESSION};
	struct smtp_rcpt rcpt = {.recipient = recipient};
	enum err e = smtp_rcpt_params(params, offer, s->utf8, scratch, &rcpt);
	if (e != ERR_OK) {
		refuse_params(s, e);
		return;
	}
	s->question = SMTP_ASKED_RCPT;
	s->host->rcpt(s->ctx, &rcpt);
}

static void
command_rcpt(struct smtp_server *s, struct bytes args)
{
	struct bytes text = BYTES_EMPTY;
	struct bytes params = BYTES_EMPTY;
	struct mail_mailbox recipient;
	if (s->transaction != SMTP_TRANSACTION_MAIL && s->transaction != SMTP_TRANSACTION_RCPT) {
		smtp_mistake(s, 503, "5.5.1",
			     s->transaction == SMTP_TRANSACTION_NONE ? "MAIL first" : "BDAT has begun");
		return;
	}
	if (after_keyword(args, "TO:", 3, &text) != ERR_OK) {
		smtp_mistake(s, 501, "5.5.4", "Syntax: RCPT TO:<address>");
		return;
	}
	if (read_path(text, &recipient, &params) != ERR_OK || recipient.local.len == 0) {
		smtp_mistake(s, 501, "5.1.3", "Bad recipient address syntax");
		return;
	}
	if (recipient.utf8 && !s->utf8) {
		smtp_mistake(s, 553, "5.6.7", "Address needs SMTPUTF8");
		return;
	}
	if (s->recipients >= s->config->max_recipients) {
		smtp_put_str(s, 452, "4.5.3", "Too many recipients");
		return;
	}
	struct buf scratch = BUF_INIT(SMTP_COMMAND_MAX);
	handle_rcpt(s, recipient, params, &scratch);
	buf_wipe(&scratch);
}

/* The others */

static void
command_rset(struct smtp_server *s, struct bytes args COHUE_UNUSED)
{
	if (smtp_count_junk(s)) {
		return;
	}
	smtp_reset_transaction(s);
	smtp_put_str(s, 250, "2.0.0", "Reset");
}

static void
command_noop(struct smtp_server *s, struct bytes args COHUE_UNUSED)
{
	if (!smtp_count_junk(s)) {
		smtp_put_str(s, 250, "2.0.0", "OK");
	}
}

static void
command_quit(struct smtp_server *s, struct bytes args COHUE_UNUSED)
{
	smtp_end(s, 221, "2.0.0", "Bye");
}

/* Nothing is told of who has a mailbox here. */
static void
command_vrfy(struct smtp_server *s, struct bytes args)
{
	if (args.len == 0) {
		smtp_mistake(s, 501, "5.5.4", "Syntax: VRFY address");
	} else if (!smtp_count_junk(s)) {
		smtp_put_str(s, 252, "2.0.0", "Cannot verify; send mail and see");
	}
}

static void
command_starttls(struct smtp_server *s, struct bytes args COHUE_UNUSED)
{
	if (s->tls) {
		smtp_mistake(s, 503, "5.5.1", "TLS already active");
		return;
	}
	if (!s->config->starttls) {
		smtp_mistake(s, 502, "5.5.1", "STARTTLS not offered");
		return;
	}
	smtp_reset_transaction(s);
	s->hello = SMTP_HELLO_NONE;
	s->discard = true;
	s->question = SMTP_ASKED_TLS;
	smtp_put_str(s, 220, "2.0.0", "Ready to start TLS");
	s->host->starttls(s->ctx);
}

static void
command_refused(struct smtp_server *s, struct bytes args COHUE_UNUSED)
{
	smtp_mistake(s, 502, "5.5.1", "Command not offered");
}

/* A browser or proxy that was sent here to relay something (as Postfix's smtpd_forbidden_commands). */
static void
command_foreign(struct smtp_server *s, struct bytes args COHUE_UNUSED)
{
	smtp_end(s, 421, "4.7.0", "This is SMTP, closing");
}

/* The table is the policy: what is served in which mode, before or after EHLO, with or without arguments. */
static const struct command {
	const char *verb;
	unsigned modes;
	bool after_hello;
	bool no_args;
	void (*run)(struct smtp_server *s, struct bytes args);
} commands[] = {
    {"EHLO", IN_ALL, false, false, command_ehlo},
    {"HELO", IN_ALL, false, false, command_helo},
    {"MAIL", IN_MAIL, true, false, command_mail},
    {"RCPT", IN_MAIL, true, false, command_rcpt},
    {"DATA", IN_MAIL, true, true, smtp_command_data},
    {"BDAT", IN_MAIL, false, false, smtp_command_bdat}, /* its chunk comes in any case */
    {"RSET", IN_ALL, false, true, command_rset},
    {"NOOP", IN_ALL, false, false, command_noop},
    {"QUIT", IN_ALL, false, true, command_quit},
    {"VRFY", IN_MAIL, false, false, command_vrfy},
    {"STARTTLS", IN_ALL, false, true, command_starttls},
    {"AUTH", IN_GATE | IN_SESSION, false, false, smtp_command_auth},
    {"EXPN", IN_ALL, false, false, command_refused},
    {"HELP", IN_ALL, false, false, command_refused},
    {"SEND", IN_ALL, false, false, command_refused},
    {"SOML", IN_ALL, false, false, command_refused},
    {"SAML", IN_ALL, false, false, command_refused},
    {"TURN", IN_ALL, false, false, command_refused},
    {"ETRN", IN_ALL, false, false, command_refused},
    {"ATRN", IN_ALL, false, false, command_refused},
    {"XCLIENT", IN_ALL, false, false, command_refused},
    {"XFORWARD", IN_ALL, false, false, command_refused},
    {"GET", IN_ALL, false, false, command_foreign},
    {"POST", IN_ALL, false, false, command_foreign},
    {"PUT", IN_ALL, false, false, command_foreign},
    {"HEAD", IN_ALL, false, false, command_foreign},
    {"OPTIONS", IN_ALL, false, false, command_foreign},
    {"CONNECT", IN_ALL, false, false, command_foreign},
};

static unsigned
mode_bit(enum smtp_mode mode)
{
	switch (mode) {
	case SMTP_MODE_MX:
		return IN_MX;
	case SMTP_MODE_GATE:
		return IN_GATE;
	case SMTP_MODE_SESSION:
		return IN_SESSION;
	}
	return 0;
}

static void
unknown_command(struct smtp_server *s)
{
	if (++s->unknown >= s->config->max_unknown) {
		smtp_end(s, 421, "4.7.0", "Too many unknown commands, closing");
	} else {
		smtp_mistake(s, 500, "5.5.1", "Command not recognised");
	}
}

/* What is not served in this mode: mail before a login, or a login where there is none. */
static void
refuse_in_mode(struct smtp_server *s, const struct command *c, struct bytes args)
{
	if (s->mode != SMTP_MODE_GATE) {
		command_refused(s, args);
		return;
	}
	const char *text = s->tls ? "Authentication required" : "Must issue a STARTTLS command first";
	if (c->run == smtp_command_bdat) {
		smtp_refuse_chunk(s, args, 530, "5.7.0", text);
	} else {
		smtp_mistake(s, 530, "5.7.0", text);
	}
}

void
smtp_command(struct smtp_server *s, struct bytes line)
{
	ptrdiff_t space = bytes_find(line, ' ');
	struct bytes verb = space >= 0 ? bytes_slice(line, 0, (size_t)space) : line;
	struct bytes args = space >= 0 ? bytes_trim(bytes_from(line, (size_t)space)) : BYTES_EMPTY;
	const struct command *c = NULL;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && c == NULL; i++) {
		c = bytes_is_nocase(verb, commands[i].verb) ? &commands[i] : NULL;
	}
	if (c == NULL) {
		unknown_command(s);
	} else if ((c->modes & mode_bit(s->mode)) == 0) {
		refuse_in_mode(s, c, args);
	} else if (c->no_args && args.len > 0) {
		smtp_mistake(s, 501, "5.5.4", "No arguments allowed");
	} else if (c->after_hello && s->hello == SMTP_HELLO_NONE) {
		smtp_mistake(s, 503, "5.5.1", "EHLO first");
	} else {
		c->run(s, args);
	}
}
