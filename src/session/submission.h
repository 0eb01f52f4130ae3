/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_SESSION_SUBMISSION_H
#define COHUE_SESSION_SUBMISSION_H

#include "session/conn.h"

/* SMTP submission after login: what a connection of IPC_PROTOCOL_SUBMISSION is served by. */
extern const struct conn_protocol submission_protocol;

#endif
