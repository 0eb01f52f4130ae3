/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_STORAGE_STORAGE_SQLITE_VFS_H
#define COHUE_STORAGE_STORAGE_SQLITE_VFS_H

#include "base/error.h"

/*
 * SQLite writes its write-ahead log page by page, each in two system calls (24 octets about the page, then
 * the page): for small mail a tenth of what an arriving message costs. This VFS, over the default one,
 * holds what is appended to the log and writes it in one call, at the latest when SQLite syncs the log.
 *
 * What is on disk when SQLite's commit returns is the same: with synchronous=FULL each commit ends with
 * a sync of the log, which first writes what is held. Nothing else may rely on it: below FULL, a commit
 * would return with its pages still here. SQLite reads its own writes (from here, where they are held). A
 * held write that fails makes the write or sync fail in which it happens, and is then forgotten, as SQLite
 * forgets it: an error in writing or syncing ends its transaction.
 *
 * Where a power cut may damage what stands beside a write (no SQLITE_IOCAP_POWERSAFE_OVERWRITE; the real VFS claims it),
 * SQLite fills the log up to a whole sector behind its sync, with pages that it will read though their
 * commit is over. Then nothing is held.
 */

/* The name for sqlite3_open_v2, which stays valid; NULL where SQLite refused it (no memory). Registers on first use. */
const char *sq_vfs_name(void);

#endif
