/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORAGE_STORAGE_SHIM_H
#define COHUE_STORAGE_STORAGE_SHIM_H

#include <stdbool.h>

/*
 * For tests only: an SQLite VFS over the real one that counts writes, truncations and syncs, and at
 * the k-th of them ends the process, cuts the power, or fails. A power cut loses a random part of
 * what was written and not yet synced.
 */

enum shim_fault {
	SHIM_NONE,
	SHIM_KILL,       /* _exit before the event */
	SHIM_POWER_CUT,  /* the same, and unsynced writes are undone at random */
	SHIM_FULL_ONCE,  /* SQLITE_FULL, this once */
	SHIM_FULL_STAYS, /* from then on, until disarmed */
	SHIM_IO_ONCE,    /* SQLITE_IOERR_… */
	SHIM_IO_STAYS,
};

/* Becomes the default VFS. */
void shim_install(void);
/* The fault happens at the k-th event from now on (1: the next). */
void shim_arm(enum shim_fault fault, unsigned long k, unsigned seed);
/* For files opened from now on: whether they say, as the real VFS does, that a torn write harms no neighbour (at first: yes). */
void shim_claim_safe_overwrites(bool on);
/* Events since shim_arm; no more faults. */
unsigned long shim_disarm(void);

#endif
