#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""fuzz.py TREE SECONDS [NAME...]: runs each fuzz target of a libFuzzer build from its seed corpus."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main() -> int:
    tree = pathlib.Path(sys.argv[1]).resolve()
    seconds = sys.argv[2]
    wanted = set(sys.argv[3:])
    targets = sorted(p for p in tree.rglob("*_fuzz") if p.is_file() and os.access(p, os.X_OK))
    findings = tree / "findings"
    findings.mkdir(exist_ok=True)
    failed = ran = 0
    # Undefined behaviour is a finding, too: by itself the run would go on after it.
    environment = dict(os.environ, UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
    for target in targets:
        name = target.name.removesuffix("_fuzz")
        if wanted and name not in wanted:
            continue
        grown = tree / "corpus" / name
        grown.mkdir(parents=True, exist_ok=True)
        command = [str(target), f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=2048",
                   f"-artifact_prefix={findings}/{name}-", str(grown)]
        seeds = ROOT / "test" / "corpus" / name
        if seeds.is_dir():
            command.append(str(seeds))
        print(f"== {name}", flush=True)
        ran += 1
        if subprocess.run(command, check=False, env=environment).returncode != 0:
            failed += 1
    print(f"{ran - failed} passed, {failed} failed")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
