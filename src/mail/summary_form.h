/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_MAIL_SUMMARY_FORM_H
#define COHUE_MAIL_SUMMARY_FORM_H

/* What both sides of the summary's wire form know, private to src/mail. See docs/mail-summary.md. */

enum {
	SUMMARY_TRUNCATED = 1,

	ENVELOPE_TRUNCATED = 1,
	ENVELOPE_HAS_SENT = 2,
	ENVELOPE_SENDER_IS_FROM = 4,
	ENVELOPE_REPLY_TO_IS_FROM = 8,
	ENVELOPE_ALL = 15,

	PART_ENCODING = 1,
	PART_ID = 2,
	PART_DESCRIPTION = 4,
	PART_MD5 = 8,
	PART_LOCATION = 16,
	PART_DISPOSITION = 32,
	PART_LANGUAGES = 64,
	PART_ENVELOPE = 128,

	TEXT_ABSENT = 0xffff,
	TEXT_MAX = 8192,       /* octets of any text */
	SHORT_TEXT_MAX = 1024, /* of a part's fields, names, parameters */
	TOKEN_MAX = 255,       /* of type, subtype, names of parameters */
	NESTED_ROOM = 8192,    /* of an envelope that is not the outermost */
	PARAMS_ROOM = 8192,    /* of one list of parameters */
};

#endif
