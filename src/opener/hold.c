/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* An account that sends too much: her session's worker says so, and her entry keeps it until it is lifted. */
#include <stdlib.h>
#include <string.h>

#include "opener/internal.h"
#include "process/log.h"

enum { TASKS_MAX = 64 };

struct hold {
	struct opener *o;
	uint8_t account[SEALED_ID_LEN];
	struct buf reference;
};

bool
opener_lift(struct directory_account *entry)
{
	if (entry->held.len == 0) {
		return false;
	}
	entry->held = BYTES_EMPTY;
	entry->lifts++;
	return true;
}

static void
hold_task(void *arg)
{
	struct hold *q = arg;
	struct opener *o = q->o;
	struct opener_account *account = NULL;
	struct opener_lock lock = {.held = false};
	struct opener_changes c;
	opener_changes_init(&c, o);
	enum err e = opener_lock_take(o, q->account, &lock);
	e = e == ERR_OK ? opener_account_load(o, q->account, &account) : e;
	if (e == ERR_OK && account->entry.held.len == 0) {
		account->entry.held = buf_bytes(&q->reference);
		opener_put_account(&c, OPENER_PUT, &account->entry);
		e = opener_commit(&c);
	}
	if (e == ERR_OK) {
		opener_tell_house(o);
	} else {
		/* Her worker holds her, and says it again. */
		log_event(LOG_LEVEL_WARNING, "that a member's sending is held could not be written down: %s",
			  err_text(e));
	}
	opener_lock_give(o, &lock);
	opener_changes_clear(&c);
	opener_account_free(&account);
	buf_clear(&q->reference);
	free(q);
	o->holds--;
}

void
opener_hold(struct opener *o, struct channel *ch, const struct channel_message *m)
{
	struct msg_member_hold q;
	if (msg_member_hold_decode(m->payload, &q) != ERR_OK || q.reference.len == 0 ||
	    q.reference.len > DIRECTORY_REF_MAX || opener_worker_of(o, q.account) != channel_peer_index(ch)) {
		channel_fault(ch);
		return;
	}
	struct hold *h = o->holds < TASKS_MAX ? calloc(1, sizeof(*h)) : NULL;
	if (h == NULL) {
		return; /* it is said again */
	}
	h->o = o;
	memcpy(h->account, q.account, sizeof(h->account));
	buf_init(&h->reference, DIRECTORY_REF_MAX);
	o->holds++;
	if (buf_append(&h->reference, q.reference) != ERR_OK || role_spawn(o->host, hold_task, h) != ERR_OK) {
		buf_clear(&h->reference);
		free(h);
		o->holds--;
	}
}
