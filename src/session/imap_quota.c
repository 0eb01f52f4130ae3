/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208): one root, "", for all that a member has. */
#include "session/imap.h"

void
imap_do_setquota(struct imap *im)
{
	/* Neither QUOTASET nor a right to it: what a member may have is the house's to say (`cohue member quota`). */
	imap_no(im, "NOPERM", "What you may have is set by the house");
}

void
imap_do_quota(struct imap *im)
{
	if (im->command->verb == IMAP_GETQUOTAROOT) {
		const struct fold_mailbox *box = imap_mailbox(im, im->command->mailbox, "NONEXISTENT");
		if (box == NULL) {
			return;
		}
		imap_write_text(&im->w, "* QUOTAROOT ");
		imap_write_mailbox(&im->w, box->name);
		imap_write_text(&im->w, " \"\"\r\n");
	} else if (im->command->quota.root.len > 0) {
		imap_no(im, "NONEXISTENT", "There is no such quota root");
		return;
	}
	uint64_t quota = member_quota(im->member);
	if (quota == 0) {
		imap_write_text(&im->w, "* QUOTA \"\" ()\r\n");
	} else {
		imap_write_format(&im->w, "* QUOTA \"\" (STORAGE %llu %llu)\r\n",
				  (unsigned long long)((im->member->used + 1023) / 1024),
				  (unsigned long long)(quota / 1024));
	}
	imap_ok(im, NULL, "Done");
}
