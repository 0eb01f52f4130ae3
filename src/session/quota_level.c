/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/quota_level.h"

#include <stdio.h>

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
quota_level_say(unsigned level, uint64_t used, uint64_t quota, char ret_subject[QUOTA_SUBJECT_LEN],
		struct buf *ret_body)
{
	const uint64_t mib = 1024 * 1024;
	(void)snprintf(ret_subject, QUOTA_SUBJECT_LEN, "Your mailboxes are %u %% full", level);
	return buf_printf(ret_body,
			  "Your mail takes %llu of the %llu MiB that this house keeps for you.\r\n\r\n"
			  "Once they are full, letters to you are refused for the time being (their "
			  "senders' servers try again\r\n"
			  "for some days, then tell the sender), and nothing can be stored in a folder. "
			  "Letters that you send leave\r\n"
			  "all the same, without a copy in Sent.\r\n\r\n"
			  "Room is made by deleting what is large, and emptying the trash. For more "
			  "room, ask who runs the house.\r\n",
			  (unsigned long long)(used / mib), (unsigned long long)(quota / mib));
}
