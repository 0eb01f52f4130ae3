/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "lookup/lookup.h"
#include "loop/task.h"

enum { PUT_LIMIT_MS = 60 * 1000, PUT_PAUSE_MS = 50 };

enum err
mixer_put_unit(struct role_host *h, const struct msg_mix_put *m)
{
	msec limit = loop_now(h->loop) + PUT_LIMIT_MS;
	enum err e = channel_call(role_channel(h, ROLE_MIXER, 0), MIX_PUT, mix_put, m, limit, NULL);
	bool asks_again = e == ERR_CLOSED;
	/* ERR_AGAIN: it is back, and does not know yet what is on disk. */
	while (asks_again && !h->stopping && loop_now(h->loop) < limit) {
		enum err slept = task_sleep(PUT_PAUSE_MS);
		if (slept != ERR_OK) {
			return slept;
		}
		e = channel_call(role_channel(h, ROLE_MIXER, 0), MIX_PUT, mix_put, m, limit, NULL);
		asks_again = e == ERR_CLOSED || e == ERR_AGAIN;
	}
	return e;
}
