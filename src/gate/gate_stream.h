/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_GATE_GATE_STREAM_H
#define COHUE_GATE_GATE_STREAM_H

#include "config/config.h"
#include "loop/stream.h"

/* What a gate's connections have in common, whatever they speak. */

/* Takes fd, also where it fails. Sizes are padded as the configuration says. Errors as of stream_create(). */
COHUE_MUST_USE enum err gate_stream_open(struct loop *loop, int fd, const struct stream_settings *settings,
					 const struct stream_events *events, void *arg, enum config_pad pad,
					 struct stream **ret);
/*
 * Reads on while the engine wants more and the peer reads what it is told; else the peer waits. The timer is set to the engine's deadline, or
 * stopped (INT64_MAX: never).
 */
void gate_stream_await(struct stream *s, bool wants, struct loop *loop, struct timer *timer, msec deadline);

#endif
