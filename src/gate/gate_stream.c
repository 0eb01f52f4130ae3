/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gate/gate_stream.h"

#include <unistd.h>

enum err
gate_stream_open(struct loop *loop, int fd, const struct stream_settings *settings,
		 const struct stream_events *events, void *arg, enum config_pad pad, struct stream **ret)
{
	enum err e = stream_create(loop, fd, settings, events, arg, ret);
	if (e != ERR_OK) {
		(void)close(fd);
		return e;
	}
	stream_set_ladder(*ret, pad == CONFIG_PAD_NONE ? STREAM_LADDER_OFF : STREAM_LADDER_TURN);
	return ERR_OK;
}

void
gate_stream_await(struct stream *s, bool wants, struct loop *loop, struct timer *timer, msec deadline)
{
	bool paused = stream_is_paused(s);
	bool reads = wants && !stream_is_congested(s);
	if (reads && paused) {
		stream_resume(s);
	} else if (!reads && !paused) {
		stream_pause(s);
	}
	if (deadline == INT64_MAX) {
		timer_stop(timer);
	} else if (timer_start(loop, timer, deadline) != ERR_OK) {
		stream_close(s);
	}
}
