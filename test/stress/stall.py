# SPDX-License-Identifier: AGPL-3.0-or-later
"""A client that asks for much and reads little: it stops nobody (the others want an answer in time), and is answered once it reads."""

import random
import re
import socket
import ssl
import threading

from harness.dialogue import Dialogue
from stress.view import STEADY, connecting

ASKED = ("UID FETCH 1:* (FLAGS BODY.PEEK[])", "UID SEARCH TEXT word1", "UID SEARCH RETURN (ALL COUNT) BODY xx", "UID SORT (SUBJECT) UTF-8 TEXT word2",
         "UID THREAD REFERENCES UTF-8 ALL", "UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)", 'LIST "" * RETURN (STATUS (MESSAGES UNSEEN))', "NOOP")


class Staller(threading.Thread):
    """One such connection after the other, until `ending` is set. Changes nothing."""

    def __init__(self, cohue, member, number: int, seed: int, ending: threading.Event, faults: bool) -> None:
        super().__init__(daemon=True)
        self.cohue, self.member, self.ending, self.faults = cohue, member, ending, faults
        self.rng = random.Random(seed * 7000 + number)
        self.label = f"{member.name}/stall {number}"
        self.for_ever = number == 0  # to the end of the run
        self.problem = ""
        self.stalls = 0
        self.answered = 0

    def run(self) -> None:
        while not self.ending.is_set():
            try:
                with connecting:
                    line = Dialogue(self.cohue.port(993), tls=True, timeout=40)
                with line:
                    self.stall(line)
            except (ssl.SSLError, ConnectionError, EOFError):
                if self.faults:
                    self.ending.wait(0.3)
            except (OSError, AssertionError) as problem:
                if not self.faults and not self.ending.is_set():
                    self.problem = f"{self.label}: {problem!r}"
                    self.ending.set()

    def stall(self, line: Dialogue) -> None:
        rng = self.rng
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        if not line.response().startswith(b"* OK"):
            return
        line.command(f'LOGIN {self.member.address} "{self.member.password}"')
        line.command(f"SELECT {rng.choice(STEADY)}")
        if rng.random() < 0.3:
            line.command("NOTIFY SET (SELECTED (MessageNew (UID FLAGS BODY.PEEK[]) MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge))")
        many = 200 if self.for_ever else rng.choice((1, 5, 30))
        if self.for_ever:
            self.ending.wait(3)  # until there is something to be read
        line.send(b"".join(b"q%d %s\r\n" % (i, (ASKED[0] if self.for_ever else rng.choice(ASKED)).encode()) for i in range(many))
                  + rng.choice((b"", b"i IDLE\r\n", b"l LOGOUT\r\n")))
        self.stalls += 1
        self.ending.wait(None if self.for_ever else rng.choice((0.1, 1, 4)))
        if self.for_ever or rng.random() < 0.4:
            return  # in the midst of it
        last = b""
        while not self.ending.is_set() and not last.startswith(b"q%d " % (many - 1)):
            last = line.response()
            assert last, "the connection ended"
            assert not re.match(rb"q\d+ BAD", last), last
        self.answered += 1
