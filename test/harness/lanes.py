# SPDX-License-Identifier: AGPL-3.0-or-later
"""Test classes side by side: most wait more than they compute.

A class declares by attributes what it needs:

    alone = "why"       a quiet machine: it runs after all others, with nothing beside it (it measures times, or shares)
    exclusive = "name"  a thing that exists once: never beside another class that names it
    seconds = 40        about how long it takes, where that is long: the longest begin first

As root each class runs in PID and mount namespaces of its own: whatever ends its first process, or this one, ends
every process that it started, and its mounts go with it. Its files lie in a directory of the run, which is removed
at the end, or by the next run where this one was killed.
"""

import dataclasses
import fcntl
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness.runner import SEPARATOR

PREFIX = "cohue-run-"
SILENCE = 240  # seconds without a finished test: it hangs
GRACE = 15  # seconds to clean up in, when told to end


@dataclasses.dataclass
class Job:
    """The tests of one class, in one process."""
    name: str
    tests: list[str]
    alone: str = ""
    exclusive: str = ""
    seconds: float = 0.0


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def jobs_of(suite: unittest.TestSuite, wanted: list[str]) -> list[Job]:
    """One for each class, the longest first. A module that cannot be loaded raises what went wrong."""
    jobs: dict[type, Job] = {}
    for test in each(suite):
        if test.id().startswith("unittest.loader._FailedTest"):
            test.debug()
        if wanted and not any(word in test.id() for word in wanted):
            continue
        kind = type(test)
        job = jobs.setdefault(kind, Job(f"{kind.__module__}.{kind.__qualname__}", [], getattr(kind, "alone", ""),
                                        getattr(kind, "exclusive", ""), getattr(kind, "seconds", 0.0)))
        job.tests.append(test.id())
    return sorted(jobs.values(), key=lambda job: (-job.seconds, -len(job.tests), job.name))


def can_isolate() -> bool:
    """Whether the kernel gives namespaces here."""
    try:
        return os.geteuid() == 0 and subprocess.run([*ISOLATED, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


ISOLATED = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
            "--propagation", "private"]


class RunDirectory:
    """Where all of a run's files lie. A lock in it tells the next run whether this one still lives."""

    def __enter__(self) -> "RunDirectory":
        base = pathlib.Path(tempfile.gettempdir())
        for old in base.glob(PREFIX + "*"):
            try:
                with open(old / "lock", "rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(old, ignore_errors=True)
            except OSError:
                continue  # it lives, begins just now, or is somebody else's
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        # Unprivileged roles must reach what they are given by path.
        self.path.chmod(0o711)
        self.lock = open(self.path / "new", "wb")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        (self.path / "new").rename(self.path / "lock")
        return self

    def __exit__(self, *_problem: object) -> None:
        for _ in range(50):  # what was killed may still be on its way out
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                break
            time.sleep(0.1)
        self.lock.close()

    def part(self, number: int) -> pathlib.Path:
        made = self.path / str(number)
        made.mkdir()
        made.chmod(0o711)
        return made


class Lane:
    """One class that runs. Its output is passed on test by test, each in one piece."""

    def __init__(self, job: Job, place: pathlib.Path, isolated: bool, events: queue.Queue) -> None:
        self.job = job
        self.place = place
        self.sums: list[int] = []
        self.hangs = False
        self.heard = self.begun = time.monotonic()
        command = [sys.executable, os.path.abspath(sys.argv[0]), "--class", *job.tests]
        self.process = subprocess.Popen([*ISOLATED, *command] if isolated else command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                        env={**os.environ, "TMPDIR": str(place)})
        threading.Thread(target=self.listen, args=(events,), daemon=True).start()

    def listen(self, events: queue.Queue) -> None:
        assert self.process.stdout is not None
        block: list[str] = []
        for octets in self.process.stdout:
            line = octets.decode(errors="replace")
            if not line.startswith(SEPARATOR):
                block.append(line)
                continue
            self.heard = time.monotonic()
            numbers = line[len(SEPARATOR):].split()
            if len(numbers) == 3 and all(word.isdecimal() for word in numbers):
                self.sums = [int(word) for word in numbers]
            if block and block[-1] == "\n":
                block.pop()  # the separator's own
            events.put((self, "".join(block)))
            block = []
        events.put((self, "".join(block)))
        self.process.wait()
        events.put((self, None))

    def tell(self, sig: int) -> None:
        try:
            os.killpg(self.process.pid, sig)
        except ProcessLookupError:
            pass


class Lanes:
    def __init__(self, width: int, out=sys.stdout) -> None:
        self.width = width
        self.out = out
        self.isolated = can_isolate()
        self.events: queue.Queue = queue.Queue()
        self.running: list[Lane] = []
        self.sums = [0, 0, 0]
        self.count = 0

    def run(self, jobs: list[Job]) -> None:
        """Those that need a quiet machine last, one after the other."""
        with RunDirectory() as directory:
            try:
                self.phase([job for job in jobs if not job.alone], self.width, directory)
                self.phase([job for job in jobs if job.alone], 1, directory)
            finally:
                self.end()

    def phase(self, waiting: list[Job], width: int, directory: RunDirectory) -> None:
        while waiting or self.running:
            held = {lane.job.exclusive for lane in self.running if lane.job.exclusive}
            ready = next((job for job in waiting if job.exclusive not in held), None)
            if ready is not None and len(self.running) < width:
                waiting.remove(ready)
                self.count += 1
                self.running.append(Lane(ready, directory.part(self.count), self.isolated, self.events))
                continue
            try:
                lane, text = self.events.get(timeout=5)
            except queue.Empty:
                for lane in self.running:
                    if time.monotonic() - lane.heard > SILENCE and not lane.hangs:
                        lane.hangs = True
                        self.fail(lane, f"hangs: nothing finished for {SILENCE} s")
                        lane.tell(signal.SIGTERM)
                        threading.Timer(GRACE, lane.tell, [signal.SIGKILL]).start()
                continue
            if text is None:
                self.ended(lane)
            else:
                self.say(text)

    def ended(self, lane: Lane) -> None:
        self.running.remove(lane)
        if len(lane.sums) == 3:
            self.sums = [a + b for a, b in zip(self.sums, lane.sums)]
        elif not lane.hangs:
            self.fail(lane, f"its process ended with {lane.process.returncode} before its tests did")
        left = sorted(str(path.relative_to(lane.place)) for path in lane.place.iterdir())
        if left:
            self.fail(lane, f"left files behind: {left}")
        shutil.rmtree(lane.place, ignore_errors=True)

    def fail(self, lane: Lane, why: str) -> None:
        self.sums[1] += 1
        self.say(f"FAILED  {lane.job.name}: {why}\n")

    def say(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def end(self) -> None:
        """Of what still runs: by force, where the kernel clears up; else first as a finished one would."""
        for lane in self.running:
            lane.tell(signal.SIGKILL if self.isolated else signal.SIGTERM)
        until = time.monotonic() + GRACE
        for lane in self.running:
            try:
                lane.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                lane.tell(signal.SIGKILL)
                lane.process.wait()
        self.running.clear()
