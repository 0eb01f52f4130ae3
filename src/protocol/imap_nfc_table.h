/* SPDX-License-Identifier: AGPL-3.0-or-later */
#ifndef COHUE_PROTOCOL_IMAP_NFC_TABLE_H
#define COHUE_PROTOCOL_IMAP_NFC_TABLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * apart: a character, and the one or two that it is made of (the second 0: one), ascending. together: two characters, and
 * the one that they make, ascending; without those that Unicode excludes from composition, and without Hangul.
 */
extern const uint32_t imap_nfc_apart[][3];
extern const size_t imap_nfc_apart_count;
extern const uint32_t imap_nfc_together[][3];
extern const size_t imap_nfc_together_count;

#endif
