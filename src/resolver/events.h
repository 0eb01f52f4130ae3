/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_RESOLVER_EVENTS_H
#define COHUE_RESOLVER_EVENTS_H

#include <unbound-event.h>

#include "loop/loop.h"

/*
 * Our loop as libunbound's event base (its pluggable event API): the resolver works within the
 * role's one thread, and needs neither threads nor processes of its own.
 */

/* Lives until the process ends. ERR_MEMORY. */
COHUE_MUST_USE enum err events_create(struct loop *loop, struct ub_event_base **ret);

#endif
