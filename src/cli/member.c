/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Members and aliases: what is asked of the opener, and how its answers read. */
#include <stdio.h>
#include <string.h>

#include "base/calendar.h"
#include "base/secret.h"
#include "cli/internal.h"

enum {
	REQUEST_MAX = CONTROL_REQUEST_MAX,
	DATA_MAX = CONTROL_ANSWER_MAX,
	JOINED_MAX = 12 * 1024,
	LIMIT_NONE = 65535,
	LIMIT_MOST = 1000
};

struct request {
	struct buf bytes;
	struct wire_writer w;
};

static void
request_init(struct request *q, enum control_op op, const char *name)
{
	buf_init(&q->bytes, REQUEST_MAX);
	wire_writer_init(&q->w, &q->bytes);
	wire_put_u8(&q->w, (uint8_t)op);
	if (name != NULL) {
		wire_put_bytes(&q->w, bytes_str(name));
	}
}

static bool
request_send(const struct cli *c, struct request *q, struct buf *ret_data)
{
	if (wire_done(&q->w) != ERR_OK) {
		buf_wipe(&q->bytes);
		(void)cli_fail("the request is too long. Remedy: fewer or shorter names");
		return false;
	}
	return cli_ask(c, &q->bytes, ret_data);
}

static int
not_understood(struct buf *data, struct buf *out)
{
	buf_wipe(data);
	buf_wipe(out);
	return cli_fail("the answer is not understood. Remedy: use the `cohue` of the same version as the "
			"service");
}

/* A command whose answer is "done". */
static int
simple(const struct cli *c, struct request *q)
{
	struct buf data = BUF_INIT(DATA_MAX);
	int status = request_send(c, q, &data) ? CLI_OK : CLI_FAILED;
	buf_wipe(&data);
	return status;
}

/* Name and present secret, as most commands about her keys begin. */
static bool
request_secret(struct request *q, enum control_op op, const char *name)
{
	struct buf secret;
	if (!cli_secret("Present password, application password or recovery code", false, &secret)) {
		return false;
	}
	request_init(q, op, name);
	wire_put_bytes(&q->w, buf_bytes(&secret));
	buf_wipe(&secret);
	return true;
}

/* One code as the answer, printed. */
static int
print_code(const struct cli *c, struct request *q, const char *key, const char *title)
{
	struct buf data = BUF_INIT(DATA_MAX);
	struct buf out = BUF_INIT(4096);
	struct wire_reader r;
	if (!request_send(c, q, &data)) {
		return CLI_FAILED;
	}
	wire_reader_init(&r, buf_bytes(&data));
	struct bytes code = wire_get_bytes(&r, CONTROL_SECRET_MAX);
	enum err e = wire_end(&r);
	if (e == ERR_OK && c->json) {
		e = buf_printf(&out, "{\"%s\": ", key);
		e = e == ERR_OK ? cli_json_text(&out, code) : e;
		e = e == ERR_OK ? buf_append_str(&out, "}\n") : e;
	} else if (e == ERR_OK) {
		e = buf_printf(&out, "%s: %.*s\n", title, (int)code.len, (const char *)code.ptr);
	}
	if (e != ERR_OK) {
		return not_understood(&data, &out);
	}
	buf_wipe(&data);
	return cli_print(&out);
}

/* ---- add ---- */

static enum err
print_setup(const struct config *config, const char *name, struct bytes app, struct bytes recovery,
	    struct buf *out)
{
	unsigned offset = config->port_offset;
	enum err e = buf_printf(
	    out,
	    "%s@%s is a member now.\n\n"
	    "  application password  %.*s\n"
	    "  recovery code         %.*s\n\n"
	    "They are shown this once. The recovery code is to be printed and kept by the member: it is the "
	    "way\n"
	    "in when every password is lost. Whoever saw the two can read her mail until she replaces them\n"
	    "(cohue member recovery, app-password, app-drop).\n\n",
	    name, config->domain, (int)app.len, (const char *)app.ptr, (int)recovery.len,
	    (const char *)recovery.ptr);
	return e != ERR_OK
		   ? e
		   : buf_printf(
			 out,
			 "In a mail program (Thunderbird: \"configure manually\"):\n\n"
			 "  name        %s@%s\n"
			 "  password    the application password\n"
			 "  reading     IMAP, server %s, port %u, SSL/TLS, normal password\n"
			 "  sending     SMTP, server %s, port %u, SSL/TLS, normal password\n"
			 "              (or port %u with STARTTLS)\n\n"
			 "A password of her own choice, which no volunteer knows: cohue member passwd %s\n",
			 name, config->domain, config->hostname, 993 + offset, config->hostname, 465 + offset,
			 587 + offset, name);
}

static enum err
json_member(const struct config *config, const char *name, struct bytes app, struct bytes recovery,
	    struct buf *out)
{
	struct buf address = BUF_INIT(1024);
	enum err e = buf_printf(&address, "%s@%s", name, config->domain);
	const struct {
		const char *key;
		struct bytes value;
	} rows[] = {{"name", bytes_str(name)},
		    {"address", buf_bytes(&address)},
		    {"app_password", app},
		    {"recovery_code", recovery},
		    {"server", bytes_str(config->hostname)}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && e == ERR_OK; i++) {
		e = buf_printf(out, "%s\"%s\": ", i == 0 ? "{" : ", ", rows[i].key);
		e = e == ERR_OK ? cli_json_text(out, rows[i].value) : e;
	}
	buf_clear(&address);
	unsigned offset = config->port_offset;
	return e == ERR_OK
		   ? buf_printf(out, ", \"imap_port\": %u, \"smtp_port\": %u, \"smtp_starttls_port\": %u}\n",
				993 + offset, 465 + offset, 587 + offset)
		   : e;
}

/* As the opener will take it: lower case, without the domain. */
static void
plain_name(const char *typed, char ret[CONTROL_NAME_MAX + 1])
{
	size_t n = 0;
	while (n < CONTROL_NAME_MAX && typed[n] != '\0' && typed[n] != '@') {
		ret[n] = (char)ascii_lower((uint8_t)typed[n]);
		n++;
	}
	ret[n] = '\0';
}

static bool
read_quota(const char *text, uint64_t *ret)
{
	if (cli_read_size(text, ret) == ERR_OK) {
		return true;
	}
	(void)cli_fail("'%s' is not a size. Remedy: like 500MiB or 5GiB, or none", text);
	return false;
}

int
cli_member_add(struct cli *c)
{
	struct config config;
	struct request q;
	struct buf data = BUF_INIT(DATA_MAX);
	struct buf out = BUF_INIT(16 * 1024);
	struct buf password = BUF_INIT(0);
	struct wire_reader r;
	char name[CONTROL_NAME_MAX + 1];
	uint64_t quota = 0;
	if (!cli_config(c, &config) || (c->quota != NULL && !read_quota(c->quota, &quota)) ||
	    (c->password && !cli_secret("Main password", true, &password))) {
		return CLI_FAILED;
	}
	if (c->quota != NULL && quota == 0) {
		quota = UINT64_MAX >> 1; /* 0 would ask for the configured one */
	}
	request_init(&q, CONTROL_MEMBER_ADD, c->words[0]);
	wire_put_u64(&q.w, quota);
	wire_put_bytes(&q.w, buf_bytes(&password));
	buf_wipe(&password);
	if (!request_send(c, &q, &data)) {
		return CLI_FAILED;
	}
	plain_name(c->words[0], name);
	wire_reader_init(&r, buf_bytes(&data));
	struct bytes app = wire_get_bytes(&r, CONTROL_SECRET_MAX);
	struct bytes recovery = wire_get_bytes(&r, CONTROL_SECRET_MAX);
	enum err e = wire_end(&r);
	if (e == ERR_OK) {
		e = c->json ? json_member(&config, name, app, recovery, &out)
			    : print_setup(&config, name, app, recovery, &out);
	}
	if (e != ERR_OK) {
		return not_understood(&data, &out);
	}
	buf_wipe(&data);
	return cli_print(&out);
}

/* ---- list ---- */

static const char *
status_text(unsigned status)
{
	static const char *const texts[] = {"?", "invited", "active", "suspended", "being removed"};
	return status < sizeof(texts) / sizeof(texts[0]) ? texts[status] : "?";
}

static enum err
date_of_day(struct buf *out, uint32_t day)
{
	struct calendar c = calendar_of((int64_t)day * 86400);
	return buf_printf(out, "%04d-%02d-%02d", (int)c.year, c.month, c.day);
}

static enum err
json_words(struct buf *out, struct bytes words)
{
	enum err e = buf_append_byte(out, '[');
	bool first = true;
	while (e == ERR_OK && words.len > 0) {
		ptrdiff_t end = bytes_find(words, ' ');
		struct bytes word = end < 0 ? words : bytes_slice(words, 0, (size_t)end);
		words = bytes_from(words, word.len + 1);
		e = first ? ERR_OK : buf_append_str(out, ", ");
		e = e == ERR_OK ? cli_json_text(out, word) : e;
		first = false;
	}
	return e == ERR_OK ? buf_append_byte(out, ']') : e;
}

static enum err
member_row(bool json, bool first, struct wire_reader *r, struct buf *out)
{
	struct bytes name = wire_get_bytes(r, DATA_MAX);
	unsigned status = wire_get_u8(r);
	uint32_t day = wire_get_u32(r);
	uint64_t quota = wire_get_u64(r);
	uint64_t used = wire_get_u64(r);
	struct bytes aliases = wire_get_bytes(r, DATA_MAX);
	struct bytes held = wire_get_bytes(r, DATA_MAX);
	unsigned times = wire_get_u16(r);
	struct bytes forwards = wire_get_bytes(r, DATA_MAX);
	enum err e = r->error;
	/* The largest quota that can be asked for means none, too. */
	bool limited = quota != 0 && quota < UINT64_MAX >> 1;
	if (e == ERR_OK && json) {
		e = buf_append_str(out, first ? "{\"name\": " : ",\n {\"name\": ");
		e = e == ERR_OK ? cli_json_text(out, name) : e;
		e = e == ERR_OK
			? buf_printf(out, ", \"status\": \"%s\", \"created\": \"", status_text(status))
			: e;
		e = e == ERR_OK ? date_of_day(out, day) : e;
		e = e == ERR_OK
			? buf_printf(out, "\", \"used\": %llu, \"quota\": %llu, \"aliases\": ",
				     (unsigned long long)used, (unsigned long long)(limited ? quota : 0))
			: e;
		e = e == ERR_OK ? json_words(out, aliases) : e;
		e = e == ERR_OK ? buf_append_str(out, ", \"sending_held\": ") : e;
		e = e == ERR_OK ? cli_json_text(out, held) : e;
		e = e == ERR_OK ? buf_printf(out, ", \"limit\": %u, \"forwards\": ", times == 0 ? 1 : times)
				: e;
		e = e == ERR_OK ? json_words(out, forwards) : e;
		return e == ERR_OK ? buf_append_byte(out, '}') : e;
	}
	e = e == ERR_OK ? buf_printf(out, "%-24.*s %-13s ", (int)name.len,
				     name.len == 0 ? "" : (const char *)name.ptr, status_text(status))
			: e;
	e = e == ERR_OK ? date_of_day(out, day) : e;
	e = e == ERR_OK ? buf_append_str(out, "  ") : e;
	e = e == ERR_OK ? cli_size(out, used) : e;
	e = e == ERR_OK ? buf_append_str(out, " of ") : e;
	e = e == ERR_OK ? (limited ? cli_size(out, quota) : buf_append_str(out, "no limit")) : e;
	if (e == ERR_OK && aliases.len > 0) {
		e = buf_append_str(out, "  also ");
		e = e == ERR_OK ? buf_append(out, aliases) : e;
	}
	if (e == ERR_OK && held.len > 0) {
		e = buf_printf(out, "  sending held (%.*s)", (int)held.len, (const char *)held.ptr);
	}
	if (e == ERR_OK && times == LIMIT_NONE) {
		e = buf_append_str(out, "  sends without limit");
	} else if (e == ERR_OK && times > 1) {
		e = buf_printf(out, "  limits x %u", times);
	}
	if (e == ERR_OK && forwards.len > 0) {
		e = buf_append_str(out, "  forwards to ");
		e = e == ERR_OK ? buf_append(out, forwards) : e;
	}
	return e == ERR_OK ? buf_append_byte(out, '\n') : e;
}

static enum err
alias_row(bool json, bool first, struct wire_reader *r, struct buf *out)
{
	struct bytes name = wire_get_bytes(r, DATA_MAX);
	struct bytes members = wire_get_bytes(r, DATA_MAX);
	enum err e = r->error;
	if (e == ERR_OK && json) {
		e = buf_append_str(out, first ? "{\"alias\": " : ",\n {\"alias\": ");
		e = e == ERR_OK ? cli_json_text(out, name) : e;
		e = e == ERR_OK ? buf_append_str(out, ", \"members\": ") : e;
		e = e == ERR_OK ? json_words(out, members) : e;
		return e == ERR_OK ? buf_append_byte(out, '}') : e;
	}
	return e == ERR_OK ? buf_printf(out, "%-24.*s %.*s\n", (int)name.len,
					name.len == 0 ? "" : (const char *)name.ptr, (int)members.len,
					members.len == 0 ? "" : (const char *)members.ptr)
			   : e;
}

/* All pages of a list. */
static int
list(const struct cli *c, enum control_op op,
     enum err (*row)(bool json, bool first, struct wire_reader *r, struct buf *out))
{
	struct buf out = BUF_INIT(CLI_OUTPUT_MAX);
	struct buf data = BUF_INIT(DATA_MAX);
	uint32_t from = 0;
	uint8_t more = 1;
	enum err e = c->json ? buf_append_byte(&out, '[') : ERR_OK;
	while (e == ERR_OK && more != 0) {
		struct request q;
		struct wire_reader r;
		uint32_t before = from;
		request_init(&q, op, NULL);
		wire_put_u32(&q.w, from);
		buf_wipe(&data);
		if (!request_send(c, &q, &data)) {
			buf_wipe(&out);
			return CLI_FAILED;
		}
		wire_reader_init(&r, buf_bytes(&data));
		more = wire_get_u8(&r);
		while (e == ERR_OK && r.error == ERR_OK && r.rest.len > 0) {
			e = row(c->json, from == 0, &r, &out);
			from++;
		}
		e = e == ERR_OK ? wire_end(&r) : e;
		e = e == ERR_OK && more != 0 && from == before ? ERR_FORMAT : e;
	}
	if (e == ERR_OK && c->json) {
		e = buf_append_str(&out, "]\n");
	}
	if (e != ERR_OK) {
		return not_understood(&data, &out);
	}
	buf_wipe(&data);
	return cli_print(&out);
}

int
cli_member_list(struct cli *c)
{
	return list(c, CONTROL_MEMBER_LIST, member_row);
}

int
cli_alias_list(struct cli *c)
{
	return list(c, CONTROL_ALIAS_LIST, alias_row);
}

/* ---- her keys ---- */

int
cli_member_passwd(struct cli *c)
{
	struct request q;
	struct buf password;
	if (!request_secret(&q, CONTROL_MEMBER_PASSWD, c->words[0])) {
		return CLI_FAILED;
	}
	if (!cli_secret("New password", true, &password)) {
		buf_wipe(&q.bytes);
		return CLI_FAILED;
	}
	wire_put_bytes(&q.w, buf_bytes(&password));
	buf_wipe(&password);
	return simple(c, &q);
}

int
cli_member_app_password(struct cli *c)
{
	struct request q;
	if (!request_secret(&q, CONTROL_MEMBER_APP_ADD, c->words[0])) {
		return CLI_FAILED;
	}
	wire_put_bytes(&q.w, bytes_str(c->label == NULL ? "" : c->label));
	return print_code(c, &q, "app_password", "application password");
}

int
cli_member_recovery(struct cli *c)
{
	struct request q;
	if (!request_secret(&q, CONTROL_MEMBER_RECOVERY, c->words[0])) {
		return CLI_FAILED;
	}
	return print_code(c, &q, "recovery_code", "recovery code");
}

static enum err
slot_row(bool json, bool first, struct wire_reader *r, struct buf *out)
{
	static const char *const kinds[] = {"?", "main password", "application password", "recovery code"};
	unsigned number = wire_get_u16(r);
	unsigned kind = wire_get_u8(r);
	struct bytes label = wire_get_bytes(r, DATA_MAX);
	const char *text = kinds[kind < sizeof(kinds) / sizeof(kinds[0]) ? kind : 0];
	enum err e = r->error;
	if (e == ERR_OK && json) {
		e = buf_printf(out, "%s{\"number\": %u, \"kind\": \"%s\", \"label\": ", first ? "" : ",\n ",
			       number, text);
		e = e == ERR_OK ? cli_json_text(out, label) : e;
		return e == ERR_OK ? buf_append_byte(out, '}') : e;
	}
	return e == ERR_OK ? buf_printf(out, "%5u  %-22s %.*s\n", number, text, (int)label.len,
					label.len == 0 ? "" : (const char *)label.ptr)
			   : e;
}

int
cli_member_app_list(struct cli *c)
{
	struct request q;
	struct buf data = BUF_INIT(DATA_MAX);
	struct buf out = BUF_INIT(CLI_OUTPUT_MAX);
	struct wire_reader r;
	bool first = true;
	if (!request_secret(&q, CONTROL_MEMBER_APP_LIST, c->words[0]) || !request_send(c, &q, &data)) {
		return CLI_FAILED;
	}
	wire_reader_init(&r, buf_bytes(&data));
	enum err e = c->json ? buf_append_byte(&out, '[') : ERR_OK;
	while (e == ERR_OK && r.error == ERR_OK && r.rest.len > 0) {
		e = slot_row(c->json, first, &r, &out);
		first = false;
	}
	e = e == ERR_OK && c->json ? buf_append_str(&out, "]\n") : e;
	if (e != ERR_OK || wire_end(&r) != ERR_OK) {
		return not_understood(&data, &out);
	}
	buf_wipe(&data);
	return cli_print(&out);
}

int
cli_member_app_drop(struct cli *c)
{
	struct request q;
	uint64_t number = 0;
	if (bytes_to_u64(bytes_str(c->words[1]), UINT16_MAX, &number) != ERR_OK) {
		return cli_fail("'%s' is not a number. Remedy: `cohue member app-list` shows them",
				c->words[1]);
	}
	if (!request_secret(&q, CONTROL_MEMBER_APP_DROP, c->words[0])) {
		return CLI_FAILED;
	}
	wire_put_u16(&q.w, (uint16_t)number);
	return simple(c, &q);
}

/* ---- without her secret ---- */

static int
suspend(const struct cli *c, uint8_t on)
{
	struct request q;
	request_init(&q, CONTROL_MEMBER_SUSPEND, c->words[0]);
	wire_put_u8(&q.w, on);
	return simple(c, &q);
}

int
cli_member_suspend(struct cli *c)
{
	return suspend(c, 1);
}

int
cli_member_resume(struct cli *c)
{
	return suspend(c, 0);
}

int
cli_member_remove(struct cli *c)
{
	struct request q;
	if (!c->yes && !cli_confirm("Her mail will be deleted and cannot be brought back.", c->words[0])) {
		return CLI_FAILED;
	}
	request_init(&q, CONTROL_MEMBER_REMOVE, c->words[0]);
	return simple(c, &q);
}

int
cli_member_quota(struct cli *c)
{
	struct request q;
	char text[64];
	uint64_t quota = 0;
	/* "5 GiB" as two words, too. */
	(void)snprintf(text, sizeof(text), "%s%s", c->words[1], c->word_count > 2 ? c->words[2] : "");
	if (!read_quota(text, &quota)) {
		return CLI_FAILED;
	}
	request_init(&q, CONTROL_MEMBER_QUOTA, c->words[0]);
	wire_put_u64(&q.w, quota);
	return simple(c, &q);
}

int
cli_member_limit(struct cli *c)
{
	struct request q;
	struct bytes word = bytes_str(c->words[1]);
	uint64_t times = LIMIT_NONE;
	if (bytes_is(word, "usual")) {
		times = 0;
	} else if (!bytes_is(word, "none") &&
		   (bytes_to_u64(word, LIMIT_MOST, &times) != ERR_OK || times == 0)) {
		return cli_fail("'%s' is no limit. Remedy: a number from 1 to %d, usual, or none",
				c->words[1], LIMIT_MOST);
	}
	request_init(&q, CONTROL_MEMBER_LIMIT, c->words[0]);
	wire_put_u16(&q.w, (uint16_t)times);
	return simple(c, &q);
}

/* To turn it on takes her secret: no volunteer sends anybody's mail elsewhere. */
int
cli_member_forward(struct cli *c)
{
	struct request q;
	struct buf addresses = BUF_INIT(JOINED_MAX);
	bool none = c->word_count == 2 && strcmp(c->words[1], "none") == 0;
	enum err e = ERR_OK;
	for (size_t i = 1; i < c->word_count && e == ERR_OK && !none; i++) {
		e = i > 1 ? buf_append_byte(&addresses, ' ') : ERR_OK;
		e = e == ERR_OK ? buf_append_str(&addresses, c->words[i]) : e;
	}
	if (e != ERR_OK) {
		buf_clear(&addresses);
		return cli_fail("the addresses are too long. Remedy: at most five addresses");
	}
	if (none) {
		request_init(&q, CONTROL_MEMBER_FORWARD, c->words[0]);
		wire_put_bytes(&q.w, BYTES_EMPTY);
	} else if (!request_secret(&q, CONTROL_MEMBER_FORWARD, c->words[0])) {
		buf_wipe(&addresses);
		return CLI_FAILED;
	}
	wire_put_bytes(&q.w, buf_bytes(&addresses));
	buf_wipe(&addresses);
	return simple(c, &q);
}

int
cli_member_lane(struct cli *c)
{
	static const char *const names[] = {"normal", "urgent", "patient"};
	struct request q;
	for (uint8_t lane = 0; lane < sizeof(names) / sizeof(names[0]); lane++) {
		if (strcmp(c->words[1], names[lane]) == 0) {
			request_init(&q, CONTROL_MEMBER_LANE, c->words[0]);
			wire_put_u8(&q.w, lane);
			return simple(c, &q);
		}
	}
	return cli_fail("'%s' is no lane. Remedy: normal, urgent or patient", c->words[1]);
}

int
cli_alias_set(struct cli *c)
{
	struct request q;
	struct buf names = BUF_INIT(JOINED_MAX);
	enum err e = ERR_OK;
	for (size_t i = 1; i < c->word_count && e == ERR_OK; i++) {
		e = i > 1 ? buf_append_byte(&names, ' ') : ERR_OK;
		e = e == ERR_OK ? buf_append_str(&names, c->words[i]) : e;
	}
	if (e != ERR_OK) {
		buf_clear(&names);
		return cli_fail("too many names for one alias. Remedy: at most 200 members");
	}
	request_init(&q, CONTROL_ALIAS_SET, c->words[0]);
	wire_put_bytes(&q.w, buf_bytes(&names));
	buf_clear(&names);
	return simple(c, &q);
}

int
cli_alias_remove(struct cli *c)
{
	struct request q;
	request_init(&q, CONTROL_ALIAS_REMOVE, c->words[0]);
	return simple(c, &q);
}
