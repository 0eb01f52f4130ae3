/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_CONTROL_CONTROL_H
#define COHUE_CONTROL_CONTROL_H

#include "base/bytes.h"

/*
 * What the CLI says over HOME/control.sock (a sequential-packet socket, mode 0600: whoever
 * may connect is the volunteer), and what is answered. One packet each way. The supervisor
 * answers STATUS, STOP and TLS_RELOAD itself, changes the DKIM keys with the keeper's help, and hands all else to the opener unread.
 *
 * A request: u8 op, then the fields of the op (bytes unless said). An answer: u8 enum err, bytes text
 * (one line for a person when it is an error), bytes data (the op's result).
 */

enum {
	CONTROL_REQUEST_MAX = 16 * 1024,
	CONTROL_ANSWER_MAX = 48 * 1024,
	CONTROL_NAME_MAX = 64, /* a member's name: the local part of her address */
	CONTROL_SECRET_MAX = 1024,
};

enum control_op {
	CONTROL_STATUS = 1, /* -> lines "role index state name value" */
	CONTROL_STOP = 2,   /* -> nothing */
	CONTROL_MEMBER_ADD =
	    3, /* name, u64 quota (0: the config's), password (may be empty) -> app password, recovery code */
	CONTROL_MEMBER_LIST =
	    4, /* u32 from -> u8 more, rows {name, u8 status, u32 created day, u64 quota, u64 used, aliases joined by ' ', held, u16 limit times, forwards joined by ' '} */
	CONTROL_MEMBER_PASSWD =
	    5, /* name, present secret (password, application password or recovery code), new password -> */
	CONTROL_MEMBER_APP_ADD = 6,  /* name, secret, label -> app password */
	CONTROL_MEMBER_APP_LIST = 7, /* name, secret -> rows {u16 slot, u8 kind, label} */
	CONTROL_MEMBER_APP_DROP = 8, /* name, secret, u16 slot -> (a new generation begins) */
	CONTROL_MEMBER_RECOVERY = 9, /* name, secret -> a new recovery code; the old one ends */
	CONTROL_MEMBER_SUSPEND = 10, /* name, u8 on -> */
	CONTROL_MEMBER_REMOVE = 11,  /* name -> */
	CONTROL_ALIAS_SET =
	    12, /* local part, names joined by ' ' (one: an address of hers; several: a list) -> */
	CONTROL_ALIAS_REMOVE = 13, /* local part -> */
	CONTROL_ALIAS_LIST = 14,   /* u32 from -> u8 more, rows {local part, names joined by ' '} */
	CONTROL_MEMBER_QUOTA = 15, /* name, u64 quota -> */
	CONTROL_MEMBER_LANE = 16,  /* name, u8 lane (enum law_lane: 0 normal, 1 urgent, 2 patient) -> */
	CONTROL_TLS_RELOAD = 17,   /* -> nothing; what the TLS files hold is in force */
	CONTROL_TLS_RENEW = 19,    /* -> nothing; new certificates of the authority are in force */
	CONTROL_DKIM =
	    18, /* u8 CONTROL_DKIM_ROTATE or CONTROL_DKIM_ACTIVATE -> ; HOME/dkim.keys says what is */
	CONTROL_MEMBER_LIMIT = 21, /* name, u16 her multiple of the sending limits (0: 1, 65535: none) -> */
	CONTROL_MEMBER_FORWARD =
	    22, /* name, secret (as MEMBER_PASSWD; empty where there are no addresses), addresses joined by ' ' -> */
};

enum { CONTROL_DKIM_ROTATE = 1, CONTROL_DKIM_ACTIVATE = 2 };

struct control_answer {
	enum err status;
	struct bytes text; /* borrowed */
	struct bytes data;
};

COHUE_MUST_USE enum err control_answer_encode(struct buf *out, enum err status, struct bytes text,
					      struct bytes data);
COHUE_MUST_USE enum err control_answer_decode(struct bytes packet, struct control_answer *ret);

#endif
