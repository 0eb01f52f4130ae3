/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_OPENER_INTERNAL_H
#define COHUE_OPENER_INTERNAL_H

#include "base/wire.h"
#include "control/control.h"
#include "lookup/lookup.h"
#include "opener/scram_nonce.h"
#include "opener/throttle.h"
#include "opener/work.h"
#include "sealed/slots.h"

/* What the files of this folder share. */

enum {
	OPENER_LOGINS_MAX = 512, /* at once, those that wait for their turn included */
	OPENER_CALL_MS = 20 * 1000,
	OPENER_PASSWORD_MIN = 8, /* octets of a main password */
	OPENER_PASSWORD_MOST = 512,
};

struct opener_lock {
	uint8_t account[SEALED_ID_LEN];
	struct opener_lock *next;
	bool held;
};

struct opener {
	struct role_host *host;
	struct purpose_keys keys;
	struct throttle *throttle;
	struct scram_nonces *nonces;
	struct work *work;
	struct opener_lock *locks;
	/* Counts changes of accounts: what was read before a change is looked at again. */
	uint64_t revision;
	/* Of each gate-member: counts its lives, so that an answer never reaches its successor. */
	unsigned gate_lives[ROLE_PEERS_MAX];
	struct timer house_timer;
	uint32_t house_day; /* when the mixer was told last */
	size_t holds;       /* tasks that write one down */
	uint32_t held;      /* members whose sending is held, as counted last */
	bool house_ready;
	bool house_due;
	bool house_running;
	size_t logins; /* being worked at */
	uint64_t seen_logins;
	uint64_t seen_refused;
	uint64_t seen_deferred;
	uint64_t seen_controls;
};

/* opener.c */
msec opener_deadline(const struct opener *o);
uint32_t opener_today(void);

/* ---- accounts.c: all from a task ---- */

/* The address under which the directory has a local part, appended: "local@domain". */
COHUE_MUST_USE enum err opener_address(const struct opener *o, struct bytes local, struct buf *ret);
/* A directory entry as it is stored, appended. ERR_NOT_FOUND, and the temporary ones. */
COHUE_MUST_USE enum err opener_fetch(struct opener *o, const uint8_t key[SEALED_HASH_LEN], struct buf *ret);
/* An address entry, its views in *plain. ERR_NOT_FOUND, ERR_DAMAGED, and the temporary ones. */
COHUE_MUST_USE enum err opener_find_address(struct opener *o, struct bytes address, struct buf *plain,
					    struct directory_address *ret);

/* An account as it stands in the directory. On the heap: it is large. */
struct opener_account {
	uint8_t id[SEALED_ID_LEN];
	struct directory_account entry; /* views into plain */
	struct buf plain;
	struct buf slots_value; /* as stored */
	struct sealed_slots *slots;
	struct member_keys keys; /* empty until opened */
	uint32_t slot;           /* by which it was opened */
};

/* Entry and slots. ERR_NOT_FOUND, ERR_DAMAGED, and the temporary ones. */
COHUE_MUST_USE enum err opener_account_load(struct opener *o, const uint8_t id[SEALED_ID_LEN],
					    struct opener_account **ret);
void opener_account_free(struct opener_account **a);
/* After a change: entry and stored bytes as they stand in the directory now, which a session gets. */
COHUE_MUST_USE enum err opener_account_refresh(struct opener *o, struct opener_account *a);
/*
 * Opens the slots with a main password (on the thread), an application password or a recovery code. a NULL: the same work for
 * nobody, always ERR_AUTH. ERR_AGAIN: the queue is full. ERR_MEMORY: temporary.
 */
COHUE_MUST_USE enum err opener_open(struct opener *o, struct opener_account *a, struct bytes secret,
				    bool recovery_allowed);
/* The same with a proof; a NULL likewise. */
COHUE_MUST_USE enum err opener_open_scram(struct opener *o, struct opener_account *a,
					  const struct slot_scram *scram, const struct scram_message *m,
					  const uint8_t proof[SCRAM_KEY_LEN],
					  uint8_t ret_signature[SCRAM_KEY_LEN]);
/* Sets generation, public key and signature of the entry from the slots. */
COHUE_MUST_USE enum err opener_rekey(struct opener *o, struct opener_account *a);

/* What stands for all addresses as an account does for what is hers. */
extern const uint8_t opener_directory_lock[SEALED_ID_LEN];
/* One at a time for each account, and for the addresses. Waits; ERR_AGAIN after 60 s. */
COHUE_MUST_USE enum err opener_lock_take(struct opener *o, const uint8_t account[SEALED_ID_LEN],
					 struct opener_lock *ret);
/* Also one that was not taken. */
void opener_lock_give(struct opener *o, struct opener_lock *l);

/* A transaction on the directory: collected, then written all or not at all. The first error sticks. */
struct opener_changes {
	struct opener *o;
	struct buf ops;
	enum err error;
};
enum opener_op { OPENER_PUT = 1, OPENER_CREATE = 2 };

void opener_changes_init(struct opener_changes *c, struct opener *o);
void opener_changes_clear(struct opener_changes *c);
void opener_put_address(struct opener_changes *c, enum opener_op op, const struct directory_address *entry);
void opener_delete_address(struct opener_changes *c, struct bytes address);
void opener_put_account(struct opener_changes *c, enum opener_op op, const struct directory_account *entry);
void opener_put_slots(struct opener_changes *c, enum opener_op op, const struct sealed_slots *slots,
		      const uint8_t account[SEALED_ID_LEN]);
/* The store is told that there is this account; nothing where it knows. */
void opener_know_account(struct opener_changes *c, const uint8_t account[SEALED_ID_LEN]);
void opener_delete_account(struct opener_changes *c, const uint8_t account[SEALED_ID_LEN]);
/* ERR_EXISTS: something to be created is there. ERR_TIMEOUT, ERR_CLOSED: it may have been done. */
COHUE_MUST_USE enum err opener_commit(struct opener_changes *c);

/* Called for each entry of the directory; anything but ERR_OK stops it. */
typedef enum err opener_walk_fn(void *arg, enum directory_kind kind, struct bytes plain);
COHUE_MUST_USE enum err opener_walk(struct opener *o, opener_walk_fn *fn, void *arg);

/*
 * At the first start of a program with a new form of the directory: entries made before there were signatures get them,
 * where the MAC in their place fits; the store is told which accounts there are. Otherwise nothing.
 */
COHUE_MUST_USE enum err opener_renew(struct opener *o);

/* ---- session workers ---- */

unsigned opener_worker_of(const struct opener *o, const uint8_t account[SEALED_ID_LEN]);
/* Ends her sessions; a worker that is away has none. */
void opener_close_member(struct opener *o, const uint8_t account[SEALED_ID_LEN]);

/* ---- house.c ---- */

/* From now on the mixer hears who can count: now, at each new day, and whenever opener_tell_house is called. */
COHUE_MUST_USE enum err opener_start_house(struct opener *o);
void opener_tell_house(struct opener *o);

/* ---- scram.c ---- */

/* Salt and rounds that whoever says this name is told: an address of ours, normalised, whether anybody has it or not. */
void opener_scram_of(const struct opener *o, struct bytes address, struct slot_scram *ret);
/* Makes the verifier of an application password of the member who has this local part. */
COHUE_MUST_USE enum err opener_add_scram(const struct opener *o, struct bytes local,
					 struct sealed_slots *slots, const struct slot_code *code);
/* The name as throttle and directory have it, appended; what cannot be one is kept apart by its octets. ERR_MEMORY. */
COHUE_MUST_USE enum err opener_login_name(const struct opener *o, struct bytes typed, struct buf *ret);
/* A SCRAM_FIRST request: answered at once, and without asking anybody. */
void opener_scram_first(struct opener *o, struct channel *ch, const struct channel_message *m);

/* login.c: a LOGIN or SCRAM_FINAL request */
void opener_login(struct opener *o, struct channel *ch, const struct channel_message *m);
/*
 * What a login does, from a task. ERR_AUTH: no, whatever the reason; ERR_AGAIN or ERR_MEMORY: try later. Also for tests.
 */
COHUE_MUST_USE enum err opener_log_in(struct opener *o, const struct msg_login *m,
				      struct msg_login_reply *ret);

/* The same with a proof: ret_signature too. */
COHUE_MUST_USE enum err opener_scram_log_in(struct opener *o, const struct msg_scram_final *m,
					    struct msg_scram_final_reply *ret);

/*
 * Gives the opened account to her session's worker. Not commit: a connection follows, for which *ret says worker and token.
 * commit (ret may be NULL): answered when her log commits to this slot list. ERR_CONFLICT: a newer one is known there. Others say
 * nothing of the list: temporary, or her log is damaged.
 */
COHUE_MUST_USE enum err opener_hand_over(struct opener *o, const struct opener_account *a, bool commit,
					 struct msg_login_reply *ret);

/* ---- hold.c ---- */

/* A MEMBER_HOLD notice. */
void opener_hold(struct opener *o, struct channel *ch, const struct channel_message *m);
/* She may send again, and what was found before is void. False: nothing was held. */
bool opener_lift(struct directory_account *entry);

/* ---- control*.c ---- */

struct opener_answer {
	enum err status;
	struct buf text;
	struct wire_writer *data;
};
/* Sets the answer: what is wrong, where, and what helps. */
void opener_say(struct opener_answer *a, enum err status, const char *format, ...) COHUE_PRINTF(3, 4);
/* The text for errors that every command can meet. */
void opener_say_error(struct opener_answer *a, enum err e);

/* Whether this may be a main password; says what is wrong otherwise. */
bool opener_check_password(struct bytes password, struct opener_answer *a);

/* One request of the CLI, from a task; appends the answer's packet. */
void opener_control(struct opener *o, struct bytes request, struct buf *ret_packet);

typedef void opener_command(struct opener *o, struct wire_reader *r, struct opener_answer *a);
opener_command opener_member_add, opener_member_list, opener_member_suspend, opener_member_remove,
    opener_member_quota, opener_member_lane, opener_member_limit, opener_member_forward;
opener_command opener_member_passwd, opener_member_app_add, opener_member_app_list, opener_member_app_drop,
    opener_member_recovery;
opener_command opener_alias_set, opener_alias_remove, opener_alias_list;

/* ---- control_secret.c ---- */

/* An account under its lock, opened. */
struct opener_opened {
	struct opener *o;
	struct opener_account *account;
	struct opener_lock lock;
	bool lifted; /* what she may not send */
};
/* With her secret. False: why not was said. Close what was opened. */
bool opener_open_account(struct opener *o, struct bytes name, struct bytes secret, struct opener_answer *a,
			 struct opener_opened *ret);
void opener_close_account(struct opener_opened *s);
/*
 * Her log commits to the slot list now, and not only at her next login: from then on the store can bring no older one back. Who was
 * only invited has no log yet, and gets a new generation with her first login anyway.
 */
COHUE_MUST_USE enum err opener_commit_slots(struct opener *o, const struct opener_account *a);

/* ---- control_forward.c ---- */

/*
 * After a change of her slots: where her mail is sent on is forgotten with the secret by which she said it. True: the entry has
 * changed.
 */
bool opener_void_forwards(struct opener_account *a);
/* With her secret: where her mail is sent on from now on; addresses separated by blanks. */
void opener_set_forwards(struct opener *o, struct bytes name, struct bytes secret, struct bytes addresses,
			 struct opener_answer *a);

/* The account of a member by the name that was typed. Says what is wrong otherwise, and returns false. */
bool opener_find_member(struct opener *o, struct bytes typed, struct opener_answer *a,
			struct opener_account **ret);

#endif
