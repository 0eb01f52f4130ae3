/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/quota_level.h"

#include <stdio.h>

#include "mail/write.h"

/* In whole percents, at most 100 (used may be beyond the quota). */
static unsigned
percent(uint64_t used, uint64_t quota)
{
	return used >= quota ? 100 : (unsigned)(used / (quota / 100 + 1));
}

unsigned
quota_level(uint64_t used, uint64_t quota, unsigned before)
{
	if (quota < QUOTA_WARNED_MIN) {
		return 0;
	}
	unsigned now = percent(used, quota);
	unsigned level = now >= QUOTA_LEVEL_LATE    ? QUOTA_LEVEL_LATE
			 : now >= QUOTA_LEVEL_EARLY ? QUOTA_LEVEL_EARLY
						    : 0;
	return level < before && now + QUOTA_LEVEL_BACK >= before ? before : level;
}

unsigned
quota_level_read(struct bytes text)
{
	return bytes_is(text, "80") ? QUOTA_LEVEL_EARLY : bytes_is(text, "95") ? QUOTA_LEVEL_LATE : 0;
}

enum err
quota_level_message(unsigned level, uint64_t used, uint64_t quota, const char *domain, struct bytes address,
		    int64_t time, const uint8_t random[16], struct buf *out)
{
	const uint64_t mib = 1024 * 1024;
	char id[33];
	for (size_t i = 0; i < 16; i++) {
		(void)snprintf(id + 2 * i, 3, "%02x", random[i]);
	}
	enum err e = buf_printf(out, "From: Cohue <postmaster@%s>\r\nTo: <", domain);
	e = e == ERR_OK ? buf_append(out, address) : e;
	e = e == ERR_OK ? buf_printf(out, ">\r\nSubject: Your mailboxes are %u %% full\r\nDate: ", level) : e;
	e = e == ERR_OK ? mail_write_date(out, time) : e;
	e = e == ERR_OK
		? buf_printf(out,
			     "\r\nMessage-ID: <%s.quota@%s>\r\nAuto-Submitted: auto-generated\r\n"
			     "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
			     "Your mail takes %llu of the %llu MiB that this house keeps for you.\r\n\r\n"
			     "Once they are full, letters to you are refused for the time being (their "
			     "senders' servers try again\r\n"
			     "for some days, then tell the sender), and nothing can be stored in a folder. "
			     "Letters that you send leave\r\n"
			     "all the same, without a copy in Sent.\r\n\r\n"
			     "Room is made by deleting what is large, and emptying the trash. For more "
			     "room, ask who runs the house.\r\n\r\n"
			     "This note was written here, when your mail was filed; it took no way over "
			     "the network.\r\n",
			     id, domain, (unsigned long long)(used / mib), (unsigned long long)(quota / mib))
		: e;
	return e;
}
