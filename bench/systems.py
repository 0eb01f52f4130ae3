# SPDX-License-Identifier: AGPL-3.0-or-later
"""The services under load, each behind the same few functions."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))
from harness import Cohue, wait_until  # noqa: E402
from harness.dialogue import imap_login  # noqa: E402
from peers import Dovecot, Postfix  # noqa: E402
from milter import RspamdMilter  # noqa: E402

USERS = 25
DOMAIN = "house.test"
# Debian's defaults, but for limits that would stop the load: as many connections as are opened.
ROOMY = """mail_max_userip_connections = 0
default_vsz_limit = 4G
service imap {
  process_limit = 2000
}
service imap-login {
  %s
  process_limit = 2000
  client_limit = 2000
}
service anvil {
  client_limit = 10000
}
service auth {
  client_limit = 10000
}
service config {
  client_limit = 10000
}
service lmtp {
  process_limit = 100
}
%s"""
# One login process serves and proxies many connections (Dovecot's "high-performance mode").
FAST_LOGIN = "service_count = 0\n  process_min_avail = 2"
HIBERNATE = """imap_hibernate_timeout = 1s
service imap {
  unix_listener imap-master {
    user = dovecot
  }
  extra_groups = dovecot
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}
"""


MILTER = """smtpd_milters = inet:127.0.0.1:%d
milter_default_action = tempfail
milter_protocol = 6
"""


class Peers:
    """Postfix in front of Dovecot's LMTP; with a resolver (address, port) rspamd judges what comes."""

    def __init__(self, mail_crypt: bool, login: str = FAST_LOGIN, hibernate: bool = False, postfix: bool = True,
                 resolver: tuple[str, int] | None = None) -> None:
        self.name = "Postfix + Dovecot" if postfix else "Dovecot"
        self.name += " + rspamd" if resolver else ""
        self.name += " (mail_crypt)" if mail_crypt else " (clear)"
        self.dovecot = Dovecot(DOMAIN, mail_crypt, extra=ROOMY % (login, HIBERNATE if hibernate else ""))
        self.postfix = self.rspamd = None
        try:
            if resolver:
                self.rspamd = RspamdMilter(resolver)
            if postfix:
                self.postfix = Postfix(DOMAIN, lmtp=("127.0.0.1", self.dovecot.lmtp), extra=MILTER % self.rspamd.port if self.rspamd else "",
                                       users=tuple(f"user{i}" for i in range(USERS)))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Peers":
        try:
            self.dovecot.start()
            if self.rspamd:
                self.rspamd.start()
            if self.postfix:
                self.postfix.start()
        except BaseException:
            self.__exit__()
            raise
        self.smtp_port = self.postfix.port if self.postfix else 0
        self.lmtp_port = self.dovecot.lmtp
        self.imap_port = self.dovecot.imaps
        self.accounts = [(f"user{i}", Dovecot.password) for i in range(USERS)]
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self.postfix, self.rspamd, self.dovecot):
            if part:
                part.stop()

    def roots(self) -> list[int]:
        return [p.process.pid for p in (self.dovecot, self.postfix, self.rspamd) if p and p.process]

    def arrived(self) -> int:
        return sum(1 for _ in self.dovecot.cell.path("var/mail").glob("*/new/*"))

    def wait_arrived(self, count: int) -> None:
        wait_until(lambda: self.arrived() >= count, 600, f"{count} messages in Maildirs ({self.arrived()})", pause=0.02)


# One address may hold a quarter of them, and all of the load comes from one.
ROOMY_HOUSE = {"gate_member.connections": "16000"}


class House:
    """Cohue, release build, both waits off, sizes not hidden: the peers hide none."""

    name = "Cohue"

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.cohue = Cohue(DOMAIN, settings={"pad": "none", **(settings or {})})

    def __enter__(self) -> "House":
        self.cohue.__enter__()
        try:
            members = [self.cohue.add_member(f"user{i}") for i in range(USERS)]
        except BaseException:
            self.cohue.destroy()
            raise
        self.smtp_port, self.imap_port = self.cohue.port(25), self.cohue.port(993)
        self.accounts = [(m.address, m.password) for m in members]
        return self

    def __exit__(self, *_: object) -> None:
        self.cohue.destroy()

    def roots(self) -> list[int]:
        assert self.cohue.process is not None
        return [self.cohue.process.pid]

    def choose_password(self) -> tuple[str, str]:
        """An account with the main password that its member has chosen."""
        member = self.cohue.members["user0"]
        self.cohue.cli("member", "passwd", "user0", stdin=f"{member.password}\nfive-words-that-nobody-guesses\n")
        return member.address, "five-words-that-nobody-guesses"

    def restart(self) -> None:
        self.cohue.restart()

    def arrived(self) -> int:
        total = 0
        for name, password in self.accounts:
            client = imap_login(self.imap_port, name, password)
            total += int(client.select("INBOX", readonly=True)[1][0])
            client.logout()
        return total

    def wait_arrived(self, count: int) -> None:
        """250 is the promise; that all is there is verified afterwards, outside of the time measured."""
