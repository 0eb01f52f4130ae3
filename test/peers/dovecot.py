# SPDX-License-Identifier: AGPL-3.0-or-later
"""Dovecot: IMAP over TLS and LMTP, optionally with mail_crypt (a key pair of the house, or one per user)."""

import socket
import subprocess

from harness.dialogue import imap_login
from harness.wait import free_port, wait_until
from peers.cell import VMAIL, Cell, layer


class Dovecot:
    """Any user of the domain logs in with `password`. `mail_crypt`: all bodies encrypted to one key pair."""

    packages = ["dovecot-core", "dovecot-imapd", "dovecot-lmtpd"]
    password = "dovecot-password"

    def __init__(self, domain: str = "dovecot.test", mail_crypt: bool = False, imaps: int | None = None,
                 lmtp: int | None = None, address: str = "127.0.0.1",
                 directory: str | None = None, extra: str = "", cell: Cell | None = None) -> None:
        self.domain = domain
        self.address = address
        self.imaps = imaps or free_port()
        self.lmtp = lmtp or free_port()
        self.cell = cell or Cell(layer("dovecot", self.packages), directory)
        self.process = None
        self.cell.certificate(f"imap.{domain}")
        plugins, settings = "", ""
        if mail_crypt:
            key = subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
                                 check=True, capture_output=True).stdout
            public = subprocess.run(["openssl", "pkey", "-pubout"], input=key, check=True, capture_output=True).stdout
            self.cell.write("etc/crypt.key", key.decode())
            self.cell.write("etc/crypt.pub", public.decode())
            plugins = "mail_crypt"
            settings = ("mail_crypt_global_private_key = </etc/crypt.key\n  mail_crypt_global_public_key = "
                        "</etc/crypt.pub\n  mail_crypt_save_version = 2\n")
        self.cell.path("run/dovecot").mkdir()
        self.cell.path("var/lib/dovecot").mkdir()
        self.cell.write("etc/dovecot/dovecot.conf", f"""protocols = imap lmtp
listen = {address}
base_dir = /run/dovecot
state_dir = /var/lib/dovecot
log_path = /var/log/dovecot.log
default_internal_user = dovecot
default_login_user = dovenull
ssl = required
ssl_cert = </etc/peer.crt
ssl_key = </etc/peer.key
ssl_min_protocol = TLSv1.2
auth_mechanisms = plain login
mail_location = maildir:/var/mail/%n
mail_uid = {VMAIL}
mail_gid = {VMAIL}
first_valid_uid = {VMAIL}
mail_plugins = {plugins}
plugin {{
  {settings}
}}
passdb {{
  driver = static
  args = password={self.password}
}}
userdb {{
  driver = static
  args = uid={VMAIL} gid={VMAIL} home=/var/mail/%n allow_all_users=yes
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {self.imaps}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = {address}
    port = {self.lmtp}
  }}
}}
{extra}
""")

    def __enter__(self) -> "Dovecot":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = self.cell.spawn(["/usr/sbin/dovecot", "-F"], log="var/log/dovecot.out")
        wait_until(self.greets, 20, "dovecot greets", pause=0.05)

    def greets(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"dovecot ended: {self.cell.logs()}")
        with socket.create_connection((self.address, self.lmtp), 2) as s:
            return s.recv(512).startswith(b"220")

    def stop(self) -> None:
        self.cell.destroy()

    def deliver(self, recipient: str, message: bytes, sender: str = "sender@client.test") -> None:
        import smtplib
        with smtplib.LMTP(self.address, self.lmtp) as client:
            client.sendmail(sender, [recipient], message)

    def imap(self, user: str):
        return imap_login(self.imaps, user, self.password, self.address)

    def inbox(self, user: str) -> list[bytes]:
        client = self.imap(user)
        try:
            _, count = client.select("INBOX", readonly=True)
            if int(count[0]) == 0:
                return []
            _, answer = client.fetch("1:*", "(BODY.PEEK[])")
            return [part[1] for part in answer if isinstance(part, tuple)]
        finally:
            client.logout()

    def log(self) -> str:
        return self.cell.logs()
