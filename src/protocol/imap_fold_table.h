/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_FOLD_TABLE_H
#define COHUE_PROTOCOL_IMAP_FOLD_TABLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Two stages each: index[c / 256] is a page, pages[page * 256 + c % 256] the value; beyond the index it is 0.
 * fold: 0 for a character that stays, else where in the pool a length and so many octets of UTF-8 stand. class:
 * the canonical combining class.
 */
enum { IMAP_FOLD_PAGE = 256 };
extern const uint8_t imap_fold_index[];
extern const size_t imap_fold_index_count;
extern const uint16_t imap_fold_pages[];
extern const uint8_t imap_fold_pool[];
extern const uint8_t imap_class_index[];
extern const size_t imap_class_index_count;
extern const uint8_t imap_class_pages[];

#endif
