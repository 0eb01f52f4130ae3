/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_TEST_MAIL_H
#define COHUE_TEST_MAIL_H

#include "base/wire.h"
#include "roles/rolehost.h"

/* Messages as the tests of the roles send them, and what of them can be found afterwards. */

/* A name of 16 bytes made of a letter and a number. */
void name_of(uint8_t ret[16], char letter, unsigned number);

/* The store knows this account, or those of the numbers 0 to 255, from then on. */
enum err know_account(struct fake *opener, const uint8_t id[16]);
void know_accounts(struct fake *opener);

/* One element of MIX_PUT's list. */
void add_part(struct buf *parts, enum ipc_part_kind kind, unsigned account, const uint8_t blob[16],
	      uint64_t stored, uint64_t quota, uint32_t epoch, struct bytes body);
/* A whole blob of one chunk, through the mixer or straight to the store. */
enum err put_blob(struct fake *f, const uint8_t blob[16], struct bytes data);
/* Posts MIX_PUT; the answer comes into *a. */
enum err post_unit(struct fake *f, enum ipc_stage stage, unsigned unit, struct bytes parts, struct answer *a);
enum err put_unit(struct fake *f, enum ipc_stage stage, unsigned unit, struct bytes parts);

/* Records of an account's log whose body is this one. */
unsigned log_count(struct fake *session, unsigned account, struct bytes body);
uint64_t log_length(struct fake *session, unsigned account);
/* Bytes in use. */
uint64_t log_used(struct fake *session, unsigned account);
/* Units on disk. */
unsigned spool_count(struct fake *mixer);
/* ERR_OK where the first chunk is this. */
enum err blob_is(struct fake *session, const uint8_t blob[16], struct bytes data);

#endif
