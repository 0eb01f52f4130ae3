/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "session/posted.h"

#include "loop/task.h"

void
posted_init(struct posted *p, struct worker *w)
{
	*p = (struct posted){.worker = w, .reply = BUF_INIT(IPC_PAYLOAD_MAX), .status = ERR_STATE};
}

void
posted_begin(struct posted *p)
{
	buf_wipe(&p->reply);
	p->open = true;
	p->done = false;
}

void
posted_sent(struct posted *p, enum err e)
{
	if (e != ERR_OK) {
		p->done = true;
		p->status = e;
		return;
	}
	channel_flush(worker_store(p->worker));
}

void
posted_answer(void *arg, enum err status, struct bytes payload)
{
	struct posted *p = arg;
	p->done = true;
	p->status = status == ERR_OK ? buf_append(&p->reply, payload) : status;
	if (p->waiter != NULL) {
		struct task *t = p->waiter;
		p->waiter = NULL;
		task_wake(t, ERR_OK);
	}
}

static void
forget(struct posted *p)
{
	if (p->open && !p->done && worker_store(p->worker) != NULL) {
		channel_forget(worker_store(p->worker), p);
	}
	p->open = false;
}

enum err
posted_wait(struct posted *p)
{
	if (!p->open) {
		return ERR_STATE;
	}
	while (!p->done) {
		p->waiter = task_current();
		enum err e = task_suspend();
		p->waiter = NULL;
		if (e == ERR_CLOSED && !p->done) {
			forget(p);
			return ERR_CLOSED;
		}
	}
	p->open = false;
	return p->status;
}

void
posted_clear(struct posted *p)
{
	forget(p);
	buf_wipe(&p->reply);
}
