/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "opener/name.h"

#include "mail/address.h"

static bool
is_atext(uint8_t c)
{
	return ascii_is_digit(c) || (c >= 'a' && c <= 'z') ||
	       bytes_find(BYTES_LIT("!#$%&'*-/=?^_`{|}~"), c) >= 0;
}

bool
name_is_local(struct bytes name)
{
	if (name.len == 0 || name.len > MAIL_LOCAL_MAX) {
		return false;
	}
	for (size_t i = 0; i < name.len; i++) {
		bool dot = name.ptr[i] == '.';
		bool edge = i == 0 || i + 1 == name.len || name.ptr[i - 1] == '.';
		if (dot ? edge : !is_atext(name.ptr[i])) {
			return false;
		}
	}
	return true;
}

/* The address whole, with our domain where none is given; ret_local is what stands before it. */
static enum err
normalise(struct bytes typed, const char *domain, struct buf *ret, size_t *ret_local)
{
	struct mail_mailbox m;
	struct buf whole = BUF_INIT(MAIL_MAILBOX_MAX + 1);
	typed = bytes_trim(typed);
	enum err e = buf_append(&whole, typed);
	if (e == ERR_OK && bytes_find_last(typed, '@') < 0) {
		e = buf_printf(&whole, "@%s", domain);
	}
	if (e == ERR_OK) {
		e = mail_mailbox_parse(buf_bytes(&whole), &m);
	}
	struct bytes detail;
	if (e == ERR_OK && !m.quoted) {
		(void)mail_subaddress_split(m.local, '+', &m.local, &detail);
	}
	if (e == ERR_OK) {
		e = mail_mailbox_normalise(&m, ret);
	}
	buf_wipe(&whole);
	if (e != ERR_OK) {
		return e == ERR_MEMORY ? e : ERR_FORMAT;
	}
	ptrdiff_t at = bytes_find_last(buf_bytes(ret), '@');
	if (at < 0 || !bytes_is(bytes_from(buf_bytes(ret), (size_t)at + 1), domain)) {
		return ERR_DENIED;
	}
	*ret_local = (size_t)at;
	return ERR_OK;
}

enum err
name_of_login(struct bytes typed, const char *domain, struct buf *ret)
{
	size_t local = 0;
	return normalise(typed, domain, ret, &local);
}

bool
name_is_the_house(struct bytes local)
{
	return bytes_is(local, "mailer-daemon") || bytes_is(local, "noreply-reports");
}

enum err
name_of_member(struct bytes typed, const char *domain, struct buf *ret)
{
	struct buf address = BUF_INIT(MAIL_MAILBOX_MAX + 1);
	size_t local = 0;
	enum err e = bytes_find(typed, '+') >= 0 ? ERR_FORMAT : normalise(typed, domain, &address, &local);
	if (e == ERR_OK) {
		struct bytes name = bytes_slice(buf_bytes(&address), 0, local);
		e = name_is_local(name) ? buf_append(ret, name) : ERR_FORMAT;
	}
	buf_wipe(&address);
	return e;
}
