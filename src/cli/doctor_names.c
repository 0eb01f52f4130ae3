/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The addresses that others may count on: postmaster (RFC 5321 section 4.5.1), abuse (RFC 2142), and where reports are asked for. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/wire.h"
#include "cli/doctor.h"

enum { NAMES_MAX = 3, PAGES_MAX = 1000 };

struct name {
	char local[CONTROL_NAME_MAX + 1];
	bool found;
};

static void
look_at(struct bytes local, struct name *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		names[i].found = names[i].found || bytes_is_nocase(local, names[i].local);
	}
}

static void
skip_member(struct wire_reader *r)
{
	(void)wire_get_u8(r);
	(void)wire_get_u32(r);
	(void)wire_get_u64(r);
	(void)wire_get_u64(r);
	(void)wire_get_bytes(r, CONTROL_ANSWER_MAX);
	(void)wire_get_bytes(r, CONTROL_ANSWER_MAX);
	(void)wire_get_u16(r);
	(void)wire_get_bytes(r, CONTROL_ANSWER_MAX);
}

/* All pages of a list. False: the service does not say. */
static bool
walk(const struct doctor *d, enum control_op op, struct name *names, size_t count)
{
	uint32_t from = 0;
	bool more = true;
	for (unsigned page = 0; more && page < PAGES_MAX; page++) {
		struct buf request = BUF_INIT(16);
		struct buf data = BUF_INIT(CONTROL_ANSWER_MAX);
		struct wire_writer w;
		struct wire_reader r;
		wire_writer_init(&w, &request);
		wire_put_u8(&w, (uint8_t)op);
		wire_put_u32(&w, from);
		if (wire_done(&w) != ERR_OK || !cli_ask(d->cli, &request, &data)) {
			return false;
		}
		uint32_t before = from;
		wire_reader_init(&r, buf_bytes(&data));
		more = wire_get_u8(&r) != 0;
		while (r.error == ERR_OK && r.rest.len > 0) {
			struct bytes local = wire_get_bytes(&r, CONTROL_ANSWER_MAX);
			if (op == CONTROL_MEMBER_LIST) {
				skip_member(&r);
			} else {
				(void)wire_get_bytes(&r, CONTROL_ANSWER_MAX);
			}
			if (r.error == ERR_OK) {
				look_at(local, names, count);
				from++;
			}
		}
		bool good = r.error == ERR_OK && (!more || from > before);
		buf_wipe(&data);
		if (!good) {
			return false;
		}
	}
	return true;
}

/* The local part of dmarc.rua, if it is an address of this house. */
static bool
own_local(const struct config *c, char ret[CONTROL_NAME_MAX + 1])
{
	struct bytes address = bytes_str(c->dmarc_rua);
	ptrdiff_t at = bytes_find_last(address, '@');
	if (at < 1 || at > CONTROL_NAME_MAX ||
	    !bytes_is_nocase(bytes_from(address, (size_t)at + 1), c->domain)) {
		return false;
	}
	memcpy(ret, address.ptr, (size_t)at);
	ret[at] = '\0';
	return true;
}

void
doctor_names(struct doctor *d)
{
	struct name names[NAMES_MAX] = {{.local = "postmaster"}, {.local = "abuse"}};
	size_t count = own_local(&d->config, names[2].local) ? 3 : 2;
	char path[CLI_PATH_ROOM];
	if (!cli_path(d->cli, "control.sock", path) || access(path, F_OK) != 0) {
		return; /* told already: the service does not run */
	}
	if (!walk(d, CONTROL_ALIAS_LIST, names, count) || !walk(d, CONTROL_MEMBER_LIST, names, count)) {
		doctor_tell(d, DOCTOR_UNKNOWN, "addresses", NULL,
			    "who reads postmaster's mail is not told by the service");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		doctor_tell(
		    d, names[i].found ? DOCTOR_GOOD : DOCTOR_BAD, "addresses",
		    "cohue alias set ADDRESS MEMBER: others write there about what goes wrong, and refuse "
		    "the mail of a house that does not hear them",
		    names[i].found ? "mail to %s@%s has a reader" : "mail to %s@%s is refused",
		    names[i].local, d->config.domain);
	}
}
