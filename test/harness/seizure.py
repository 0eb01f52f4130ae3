# SPDX-License-Identifier: AGPL-3.0-or-later
"""What somebody finds who takes the disks: plain search for words, in the shapes in which they might lie there."""

import base64
import os
import pathlib
import quopri


def shapes(word: str) -> dict[str, bytes]:
    """How a word might stand on a disk: as it is, in other cases, UTF-16, hex, and base64 at each of three offsets."""
    raw = word.encode()
    found = {"plain": raw, "lower": raw.lower(), "upper": raw.upper(), "utf-16": word.encode("utf-16-le"),
             "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(), "reversed": raw[::-1],
             "quoted-printable": quopri.encodestring(raw)}
    for shift in range(3):
        # Whole base64 groups inside the word only: what comes before and after is unknown.
        coded = base64.b64encode(b"\0" * shift + raw)
        inner = coded[4 if shift else 0:len(coded) - 4 if (len(raw) + shift) % 3 else None]
        if len(inner) >= 8:
            found[f"base64+{shift}"] = inner
    return found


def find_markers(places: list[str | os.PathLike], words: list[str]) -> list[str]:
    """'file: shape of word' for each file name or content under the places where a word shows."""
    wanted = [(word, name, octets) for word in words for name, octets in shapes(word).items()]
    hits = []
    for place in places:
        place = pathlib.Path(place)
        paths = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in paths:
            name = os.fsencode(path.name)
            content = b""
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
            for word, shape, octets in wanted:
                if octets in name or octets in content:
                    hits.append(f"{path}: {shape} of {word}")
    return hits
