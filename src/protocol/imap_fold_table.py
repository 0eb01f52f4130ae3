#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes imap_fold_table.c: what each character becomes for comparison (imap_fold_case.c), from the Unicode data that
Python carries (the version stands in the file). To be run by hand, when a newer version is wanted:
    python3 src/protocol/imap_fold_table.py > src/protocol/imap_fold_table.c"""

import sys
import unicodedata

# Default_Ignorable_Code_Point that stand within words: soft hyphens, joiners, direction marks, variation selectors.
IGNORED = {0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070),
           *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
SPACES = {0x85, 0x2028, 0x2029}
HANGUL = range(0xAC00, 0xD7A4)
PAGE = 256


def fold(code: int) -> str:
    if code in IGNORED:
        return ""
    if code in SPACES:
        return " "
    text = chr(code)
    while True:
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        folded = "".join(c for c in folded if ord(c) not in IGNORED)
        if folded == text:
            return text
        text = folded


def rows(values: list[int], width: int = 16) -> str:
    return "".join("\t" + " ".join(f"{v}," for v in values[i:i + width]) + "\n" for i in range(0, len(values), width))


def two_stages(of: dict[int, int]) -> tuple[list[int], list[int]]:
    index, pages, seen = [], [], {}
    for first in range(0, max(of) + 1, PAGE):
        page = tuple(of.get(first + i, 0) for i in range(PAGE))
        if page not in seen:
            seen[page] = len(seen)
            pages.extend(page)
        index.append(seen[page])
    return index, pages


pool, places, folds, classes = bytearray(b"\0"), {}, {}, {}
for code in range(0x80, 0x110000):
    if 0xD800 <= code < 0xE000 or code in HANGUL:
        continue
    if unicodedata.combining(chr(code)):
        classes[code] = unicodedata.combining(chr(code))
    folded = fold(code)
    if folded != chr(code):
        octets = folded.encode()
        if octets not in places:
            places[octets] = len(pool)
            pool += bytes([len(octets)]) + octets
        folds[code] = places[octets]
# Variation selectors of the supplementary planes would need hundreds of empty pages: they are treated in the program.
folds = {code: place for code, place in folds.items() if code < 0xE0000}
assert len(pool) < 65536 and max(o for o in pool) < 256
print(f"""/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Written by imap_fold_table.py from Unicode {unicodedata.unidata_version}: do not edit. */
#include "protocol/imap_fold_table.h"

/* clang-format off */""")
for name, table, small, size in (("fold", folds, "uint8_t", "uint16_t"), ("class", classes, "uint8_t", "uint8_t")):
    index, pages = two_stages(table)
    assert max(index) < 256
    print(f"const {small} imap_{name}_index[] = {{\n{rows(index)}}};")
    print(f"const size_t imap_{name}_index_count = sizeof(imap_{name}_index);")
    print(f"const {size} imap_{name}_pages[] = {{\n{rows(pages)}}};")
print(f"const uint8_t imap_fold_pool[] = {{\n{rows(list(pool), 24)}}};")
print("/* clang-format on */")
print(f"{len(folds)} characters, {len(pool)} octets", file=sys.stderr)
