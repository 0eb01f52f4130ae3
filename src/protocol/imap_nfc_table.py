#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes imap_nfc_table.c: canonical decompositions and compositions (imap_nfc.c), from the Unicode data that Python
carries (the version stands in the file). To be run by hand, together with imap_fold_table.py:
    python3 src/protocol/imap_nfc_table.py > src/protocol/imap_nfc_table.c"""

import sys
import unicodedata

HANGUL = range(0xAC00, 0xD7A4)
apart, together = [], []
for code in range(0x80, 0x110000):
    given = unicodedata.decomposition(chr(code))
    if not given or given.startswith("<") or code in HANGUL:
        continue
    parts = [int(part, 16) for part in given.split()]
    assert len(parts) <= 2
    first, second = parts[0], parts[1] if len(parts) == 2 else 0
    apart.append((code, first, second))
    if second and unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(code):
        together.append((first, second, code))
together.sort()
print(f"""/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Written by imap_nfc_table.py from Unicode {unicodedata.unidata_version}: do not edit. */
#include "protocol/imap_nfc_table.h"

/* clang-format off */""")
for name, table in (("apart", apart), ("together", together)):
    print(f"const uint32_t imap_nfc_{name}[][3] = {{")
    for i in range(0, len(table), 4):
        print("\t" + " ".join("{0x%x, 0x%x, 0x%x}," % row for row in table[i:i + 4]))
    print(f"}};\nconst size_t imap_nfc_{name}_count = sizeof(imap_nfc_{name}) / sizeof(imap_nfc_{name}[0]);")
print("/* clang-format on */")
print(f"{len(apart)} apart, {len(together)} together", file=sys.stderr)
