#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Machine checks of the house rules. `lint.py [--root DIR] [CHECK...]`; without names, all of them.

banned   calls that banned.txt names          layers   include direction, by layers.txt
format   clang-format finds nothing to change spdx     each source file opens with the licence
machine  no path of somebody's machine        security each role file opens with a SECURITY paragraph
"""

import argparse
import pathlib
import re
import subprocess
import sys
from typing import Iterator

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
C_FOLDERS = ("src", "test", "bench", "demo")
SKIPPED = {".git", "__pycache__", "corpus", "home"}


def files(root: pathlib.Path, folders: tuple[str, ...], suffixes: tuple[str, ...]) -> Iterator[pathlib.Path]:
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            if path.suffix in suffixes and path.is_file() and not SKIPPED.intersection(parts) \
                    and not parts[0].startswith("build"):
                yield path


def strip(text: str, keep_strings: bool = False) -> str:
    """C text with comments (and strings and characters) blanked; lines keep their numbers."""
    out = []
    i, n = 0, len(text)
    while i < n:
        c = text[i]
        if text.startswith("//", i):
            end = text.find("\n", i)
            i = n if end < 0 else end
        elif text.startswith("/*", i):
            end = text.find("*/", i + 2)
            end = n if end < 0 else end + 2
            out.append("\n" * text.count("\n", i, end) or " ")
            i = end
        elif c in "\"'":
            j = i + 1
            while j < n and text[j] != c and text[j] != "\n":
                j += 2 if text[j] == "\\" else 1
            out.append(text[i:j + 1] if keep_strings else c + c)
            if j < n and text[j] == "\n":
                out.append("\n")
            i = j + 1
        else:
            out.append(c)
            i += 1
    return "".join(out)


def is_test(path: pathlib.Path) -> bool:
    """Tests, fuzz targets, and the small programs that print for them (X_dump.c, X_sample.c): never part of what ships."""
    return path.stem.endswith(("_test", "_fuzz", "_bench", "_dump", "_sample")) or path.stem.startswith("fuzz_") \
        or "test" in path.stem.split("_")


def read_layers(root: pathlib.Path) -> dict[str, set[str]]:
    table = {}
    source = root / "test" / "lint" / "layers.txt"
    for line in (source if source.exists() else HERE / "layers.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            name, _, rest = line.partition(":")
            table[name.strip()] = set(rest.split())
    return table


def module_of(root: pathlib.Path, path: pathlib.Path) -> str:
    parts = path.relative_to(root / "src").parts
    return parts[0] if len(parts) > 1 else "main"


def check_banned(root: pathlib.Path) -> Iterator[str]:
    where, instead = {}, {}
    for line in (HERE / "banned.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, scope, remedy = line.split(None, 2)
            where[name], instead[name] = scope, remedy
    layers = read_layers(root)
    pure, libraries = layers["pure"], layers["pure"] | {"loop", "ipc", "storage"}
    call = re.compile(r"(?<![\w.>])(" + "|".join(map(re.escape, where)) + r")\s*\(")
    for path in files(root, C_FOLDERS, (".c", ".h")):
        in_src = path.is_relative_to(root / "src")
        module = module_of(root, path) if in_src else ""
        for number, line in enumerate(strip(path.read_text(errors="replace")).splitlines(), 1):
            for hit in call.finditer(line):
                name = hit.group(1)
                scope = where[name]
                if scope == "shipped" and (is_test(path) or not in_src):
                    continue
                if scope == "library" and (module not in libraries or is_test(path)):
                    continue
                if scope == "pure" and (module not in pure or is_test(path) or path.stem == "clock"):
                    continue
                yield f"{path.relative_to(root)}:{number}: {name}() is banned; instead: {instead[name]}"


def check_layers(root: pathlib.Path) -> Iterator[str]:
    layers = read_layers(root)
    include = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
    for path in files(root, ("src",), (".c", ".h")):
        module = module_of(root, path)
        name = path.relative_to(root)
        if module not in layers:
            yield f"{name}:1: module {module} has no line in test/lint/layers.txt"
            continue
        text = strip(path.read_text(errors="replace"), keep_strings=True)
        for hit in include.finditer(text):
            number = text.count("\n", 0, hit.start(2)) + 1
            target = hit.group(2)
            if hit.group(1) == "<":
                if module in layers["pure"] and target in layers["pure-forbids"] and not is_test(path):
                    yield f"{name}:{number}: {module} is pure and never sees <{target}>"
                continue
            other, slash, _ = target.partition("/")
            if not slash or ".." in target:
                yield f'{name}:{number}: "{target}": write "module/file.h", with src/ as the root'
            elif other != module and other not in layers[module]:
                yield f"{name}:{number}: {module} may not include {other} (test/lint/layers.txt)"


def check_format(root: pathlib.Path) -> Iterator[str]:
    sources = [str(p) for p in files(root, C_FOLDERS, (".c", ".h"))]
    if sources:
        ran = subprocess.run(["clang-format", "--dry-run", "-Werror", "--ferror-limit=1", "--style=file", *sources],
                             cwd=root, capture_output=True, text=True, check=False)
        if ran.returncode:
            for line in ran.stderr.splitlines():
                if "error:" in line:
                    yield line.replace(str(root) + "/", "")


def check_spdx(root: pathlib.Path) -> Iterator[str]:
    suffixes = (".c", ".h", ".py", ".sh", ".sql")
    named = [root / n for n in ("run", "check", "Makefile", "meson.build") if (root / n).exists()]
    for path in [*files(root, (*C_FOLDERS, "dist"), suffixes), *named]:
        head = path.read_text(errors="replace").splitlines()[:3]
        if not any("SPDX-License-Identifier: AGPL-3.0-or-later" in line for line in head):
            yield f"{path.relative_to(root)}:1: no SPDX-License-Identifier: AGPL-3.0-or-later at the head"


def check_machine(root: pathlib.Path) -> Iterator[str]:
    # Assembled, so that this file does not find itself.
    bad = re.compile("|".join(("/work" + "/", "/root" + r"/\w", "/Users" + "/", r"\.py" + "env")))
    suffixes = (".c", ".h", ".py", ".sh", ".build", ".md", ".txt", ".service", ".1", ".5", ".conf")
    named = [root / n for n in ("run", "check", "Makefile", "README.md", "CONTRIBUTING.md", "meson.build")]
    for path in [*files(root, (*C_FOLDERS, "dist", "docs", "man"), suffixes), *named]:
        if path.exists():
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if bad.search(line):
                    yield f"{path.relative_to(root)}:{number}: names a path of one machine"


def check_security(root: pathlib.Path) -> Iterator[str]:
    layers = read_layers(root)
    roles = layers["main"] - layers["session"] - {"cli"}
    for role in sorted(roles | {"session"}):
        path = root / "src" / role / f"{role}.c"
        if (root / "src" / role / "meson.build").exists() and path.exists() \
                and "SECURITY" not in "\n".join(path.read_text(errors="replace").splitlines()[:40]):
            yield f"{path.relative_to(root)}:1: no SECURITY paragraph at the head of a role file"


CHECKS = {"banned": check_banned, "layers": check_layers, "format": check_format, "spdx": check_spdx,
          "machine": check_machine, "security": check_security}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="one of: " + ", ".join(CHECKS))
    chosen = parser.parse_args()
    failed = 0
    names = chosen.checks or list(CHECKS)
    for name in names:
        found = list(CHECKS[name](chosen.root.resolve()))
        for line in found:
            print(line)
        print(f"{'FAILED' if found else 'ok'}  {name}" + (f": {len(found)} found" if found else ""))
        failed += bool(found)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
