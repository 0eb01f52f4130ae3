# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a service costs, read from /proc over its whole process tree."""

import contextlib
import os
import pathlib
import time

TICK = os.sysconf("SC_CLK_TCK")


def tree(roots: list[int]) -> list[int]:
    """The processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(roots: list[int]) -> float:
    """User and system time, with that of children that ended and were waited for."""
    total = 0
    for pid in tree(roots):
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[i]) for i in (11, 12, 13, 14))
    return total / TICK


def cpu_nanoseconds(roots: list[int]) -> int:
    """The same, finer than the clock's ticks for those that run."""
    total = 0
    for pid in tree(roots):
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(task.read_text().split()[0])
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[13]) + int(fields[14])) * 1_000_000_000 // TICK
    return total


def pss_bytes(roots: list[int]) -> int:
    """Proportional set size: shared pages count once over all processes."""
    total = 0
    for pid in tree(roots):
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def settle_cpu(roots: list[int], quiet: float = 0.5, limit: float = 60) -> float:
    """CPU seconds once the service has done nothing more for a while."""
    end = time.monotonic() + limit
    last, since = cpu_seconds(roots), time.monotonic()
    while time.monotonic() < end:
        time.sleep(0.05)
        now = cpu_seconds(roots)
        if now - last > 1.5 / TICK:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= quiet:
            return now
    return cpu_seconds(roots)


@contextlib.contextmanager
def watches(count: int):
    """Dovecot watches each idle mailbox with inotify; the kernel's default is 128 a user. Put back afterwards."""
    limit = pathlib.Path("/proc/sys/fs/inotify/max_user_instances")
    before = limit.read_text()
    try:
        if int(before) < count:
            limit.write_text(f"{count}\n")
    except OSError:
        print("bench: cannot raise fs.inotify.max_user_instances; Dovecot will poll")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            limit.write_text(before)
