# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stock clients as a member uses them: mbsync, offlineimap, fetchmail, curl, swaks, mutt, neomutt; each skipped where its program is missing."""

import base64
import email
import hashlib
import os
import pathlib
import random
import re
import shutil
import ssl
import subprocess
import time
import unittest

from harness import Cohue, wait_until

MESSAGES = 200


def need(program: str) -> None:
    if shutil.which(program) is None:
        raise unittest.SkipTest(f"{program} is not installed")


def run(*command: str, stdin: bytes | None = None, seconds: float = 30, env: dict[str, str] | None = None,
        check: bool = True) -> subprocess.CompletedProcess:
    ran = subprocess.run(command, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                         capture_output=True, timeout=seconds, check=False, env={**os.environ, **(env or {})})
    if check and ran.returncode != 0:
        raise AssertionError(f"{command}: exit {ran.returncode}\n{ran.stdout.decode(errors='replace')[-3000:]}\n"
                             f"{ran.stderr.decode(errors='replace')[-3000:]}")
    return ran


def odd_messages() -> dict[str, bytes]:
    """With LF as in a Maildir; each has an own Message-ID."""
    rng = random.Random(7)
    octets = bytes(b for b in range(1, 256) if b not in (10, 13))
    head = "From: Ann <ann@elsewhere.test>\nTo: alice@house.test\nMessage-ID: <{0}@odd.test>\nSubject: {0}\n"
    base = {
        "plain": b"\nHello.\n",
        "no-newline-at-end": b"\nHello",
        "only-empty-line": b"\n",
        "eight-bit": b"Content-Type: text/plain; charset=iso-8859-1\n\nGr\xfc\xdfe\xa0\xff\xfe\n",
        "utf-8-header": "X-Name: Zoë Ærøskøbing 漢字\n\nbody\n".encode(),
        "eight-bit-header": b"X-Name: Zo\xeb \xff\xfe\n\nbody\n",
        "long-lines": b"\n" + b"x" * 5000 + b"\n" + octets * 40 + b"\n" + b"y" * 70000 + b"\n",
        "raw-attachment": b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n"
                          b"Content-Type: application/octet-stream; name=x.bin\nContent-Transfer-Encoding: 8bit\n\n"
                          + octets * 300 + b"\n--b--\n",
        "base64-attachment": b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=b=\"\n\n--=b=\n\ntext\n"
                             b"--=b=\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
                             + base64.encodebytes(rng.randbytes(200_000)) + b"--=b=--\nepilogue\n",
        "open-multipart": b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\nprologue\n--b\n\ntext\n--b\n",
        "no-boundary": b"MIME-Version: 1.0\nContent-Type: multipart/alternative\n\n--b\n\ntext\n--b--\n",
        "nested": b"Content-Type: message/rfc822\n\nSubject: inner\nContent-Type: message/rfc822\n\nSubject: core\n\nx\n",
        "bad-header": b"This is no header\nX-Ok: yes\n continued\n\t\n\nbody\n",
        "dots": b"\n.\n..\n.x\n...\n",
        "from-lines": b"\nFrom nobody Thu Jan  1 00:00:00 1970\n>From x\n",
        "spaces": b"X-Empty:\nX-Blank: \t \n\n \t \n\n\n\n   trailing   \n",
        "huge-header": b"References: " + b" ".join(b"<%d@ref.test>" % i for i in range(3000)) + b"\n\nbody\n",
    }
    return {name: head.format(name).encode() + body for name, body in base.items()}


def maildir(path: pathlib.Path) -> dict[bytes, tuple[bytes, str]]:
    """Message-ID → (octets, flags) of one Maildir folder, without the X-TUID line that mbsync adds on its way."""
    found = {}
    for sub in ("cur", "new"):
        for file in (path / sub).iterdir() if (path / sub).is_dir() else ():
            octets = re.sub(rb"^X-TUID: \S{12}\n", b"", file.read_bytes(), count=1, flags=re.M)
            lines = [line for line in octets.split(b"\n") if line.lower().startswith(b"message-id:")]
            found[lines[0]] = (octets, file.name.partition(":2,")[2])
    return found


def put(path: pathlib.Path, octets: bytes, flags: str = "S") -> None:
    for sub in ("cur", "new", "tmp"):
        (path / sub).mkdir(parents=True, exist_ok=True)
    put.count += 1  # type: ignore[attr-defined]
    (path / "cur" / f"{int(time.time())}.M{put.count}.test:2,{flags}").write_bytes(octets)  # type: ignore[attr-defined]


put.count = 0  # type: ignore[attr-defined]


def numbered(i: int) -> bytes:
    return (f"From: Ann <ann@elsewhere.test>\nTo: alice@house.test\nMessage-ID: <n{i}@many.test>\nSubject: Number {i}\n"
            f"Date: Tue, 04 Mar 2025 10:{i % 60:02}:00 +0100\n\n" + "line\n" * (i % 97)).encode()


class Clients(unittest.TestCase):
    seconds = 10

    @classmethod
    def setUpClass(cls) -> None:
        cls.cohue = Cohue()
        try:
            cls.cohue.init()
            cls.cohue.start()
            cls.alice, cls.bert, cls.clara, cls.dora = (cls.cohue.add_member(n)
                                                        for n in ("alice", "bert", "clara", "dora"))
        except BaseException:
            cls.cohue.destroy()
            raise
        cls.certificate = cls.cohue.directory / "server.pem"

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cohue.destroy()

    def save_certificate(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        import socket
        with socket.create_connection(("127.0.0.1", self.cohue.port(993)), 10) as s:
            with context.wrap_socket(s, server_hostname="mail.house.test") as tls:
                der = tls.getpeercert(binary_form=True)
        self.certificate.write_text(ssl.DER_cert_to_PEM_cert(der))

    # mbsync

    def mbsync(self, member, name: str, options: tuple[str, ...] = ()) -> pathlib.Path:
        """One sync of all folders into the Maildir tree of that name, which it returns."""
        self.save_certificate()
        root = self.cohue.directory / f"sync-{name}"
        (root / "mail").mkdir(parents=True, exist_ok=True)
        config = root / "mbsyncrc"
        config.write_text(f"""IMAPAccount house
Host 127.0.0.1
Port {self.cohue.port(993)}
User {member.address}
Pass "{member.password}"
SSLType IMAPS
CertificateFile {self.certificate}

IMAPStore far
Account house

MaildirStore near
Path {root}/mail/
Inbox {root}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
""")
        run("mbsync", "-V", "-c", str(config), *options, "all", env={"HOME": str(root)}, seconds=60)
        return root / "mail"

    @staticmethod
    def tree(path: pathlib.Path) -> dict[str, str]:
        """Relative path → content's hash (names carry flags), without mbsync's own state."""
        return {str(f.relative_to(path)): str(hash(f.read_bytes())) for f in sorted(path.rglob("*"))
                if f.is_file() and f.parent.name in ("cur", "new")}

    def folder_state(self, member, folder: str) -> tuple[list[bytes], list[bytes]]:
        client = self.cohue.imap(member)
        try:
            _, status = client.status(folder, "(MESSAGES UIDNEXT HIGHESTMODSEQ)")
            client.select(folder, readonly=True)
            _, flags = client.fetch("1:*", "(UID FLAGS)")
            return status, flags
        finally:
            client.logout()

    def test_mbsync_syncs_both_ways_and_comes_to_rest(self) -> None:
        need("mbsync")
        near = self.cohue.directory / "sync-one" / "mail"
        folders = ("INBOX", "Archive", "Work/2025", "Work/Gr&APYA3w-e")  # mbsync passes names on as they are
        for i in range(MESSAGES):
            put(near / folders[i % 4], numbered(i), ("S", "", "FS", "RS")[i % 3])
        self.mbsync(self.alice, "one")
        # A second machine gets all of it.
        other = self.mbsync(self.alice, "two")
        for folder in folders:
            self.assertEqual(maildir(other / folder), maildir(near / folder), folder)
        self.assertEqual(sum(len(maildir(other / folder)) for folder in folders), MESSAGES)
        # Nothing changes when nothing changed, on neither side.
        before, far = self.tree(near), [self.folder_state(self.alice, f) for f in ("INBOX", "Archive")]
        self.mbsync(self.alice, "one")
        self.assertEqual(self.tree(near), before)
        self.assertEqual([self.folder_state(self.alice, f) for f in ("INBOX", "Archive")], far)
        # Flags, deletions and new messages, from both machines at once.
        one = sorted((near / "INBOX/cur").iterdir())
        one[0].rename(one[0].with_name(one[0].name.partition(":2,")[0] + ":2,FRS"))
        one[1].unlink()
        two = sorted((other / "Archive/cur").iterdir())
        two[0].unlink()
        put(other / "INBOX", numbered(5000))
        put(other / "New folder", numbered(5001))
        self.mbsync(self.alice, "one")
        self.mbsync(self.alice, "two")
        self.mbsync(self.alice, "one")
        for folder in (*folders, "New folder"):
            self.assertEqual(maildir(other / folder), maildir(near / folder), folder)
        self.assertEqual(sum(len(maildir(near / folder)) for folder in (*folders, "New folder")), MESSAGES)
        before = self.tree(near), self.tree(other)
        self.mbsync(self.alice, "one")
        self.mbsync(self.alice, "two")
        self.assertEqual((self.tree(near), self.tree(other)), before)

    def test_mbsync_carries_odd_messages_byte_for_byte(self) -> None:
        need("mbsync")
        near = self.cohue.directory / "sync-odd" / "mail"
        messages = odd_messages()
        for octets in messages.values():
            put(near / "INBOX", octets)
        self.mbsync(self.bert, "odd")
        other = self.mbsync(self.bert, "odd-too")
        back = {key: octets for key, (octets, _) in maildir(other / "INBOX").items()}
        self.assertEqual(sorted(back), sorted(f"Message-ID: <{name}@odd.test>".encode() for name in messages))
        for name, octets in messages.items():
            self.assertEqual(back[f"Message-ID: <{name}@odd.test>".encode()], octets, name)

    # offlineimap

    def offlineimap(self, member, name: str) -> pathlib.Path:
        """One sync of all folders, as mbsync()."""
        self.save_certificate()
        root = self.cohue.directory / f"offline-{name}"
        (root / "mail").mkdir(parents=True, exist_ok=True)
        config = root / "rc"
        config.write_text(f"""[general]
accounts = house
metadata = {root}/state
ui = quiet
fsync = False

[Account house]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {root}/mail
sep = /
sync_deletes = yes

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {self.cohue.port(993)}
remoteuser = {member.address}
remotepass = {member.password}
ssl = yes
cert_fingerprint = {hashlib.sha1(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()}
""")
        run("offlineimap", "-c", str(config), "-o", env={"HOME": str(root)}, seconds=60)
        return root / "mail"

    def test_offlineimap_syncs_both_ways_and_comes_to_rest(self) -> None:
        need("offlineimap")
        gerda = self.cohue.add_member("gerda")
        client = self.cohue.imap(gerda)
        folders = ("INBOX", "Work/2025", "Gr&APwA3w-e", "&ZeVnLIqe-/&BB8EOARBBEwEPAQw-")
        for folder in folders[1:]:
            client.create(f'"{folder}"')
        for i in range(20):
            client.append(f'"{folders[i % 4]}"', ("", r"\Seen", r"\Flagged")[i % 3], None, numbered(i).replace(b"\n", b"\r\n"))
        near = self.offlineimap(gerda, "one")
        self.assertEqual({folder: len(maildir(near / folder)) for folder in folders}, dict.fromkeys(folders, 5))
        # Here a flag, a deletion, a new message and a new folder; there a flag, a deletion and a new message.
        mine = sorted((near / "Work/2025").glob("*/*"))
        flagged = maildir(near / "Work/2025")
        mine[0].rename(mine[0].parent.parent / "cur" / (mine[0].name.partition(":2,")[0] + ":2,RS"))
        mine[1].unlink()
        put(near / "Gr&APwA3w-e", numbered(50))
        put(near / "New", numbered(51))
        client.select("INBOX")
        client.store("1", "+FLAGS", r"(\Answered)")
        client.store("2", "+FLAGS", r"(\Deleted)")
        client.expunge()
        client.append("INBOX", "", None, numbered(52).replace(b"\n", b"\r\n"))
        self.offlineimap(gerda, "one")
        other = self.offlineimap(gerda, "two")
        for folder in (*folders, "New"):
            a, b = maildir(near / folder), maildir(other / folder)
            self.assertEqual({key: flags for key, (_, flags) in a.items()}, {key: flags for key, (_, flags) in b.items()}, folder)
        self.assertEqual([len(maildir(near / folder)) for folder in (*folders, "New")], [5, 4, 6, 5, 1])
        self.assertNotEqual(maildir(near / "Work/2025"), flagged)
        inbox = maildir(near / "INBOX")
        self.assertIn("R", inbox[b"Message-ID: <n0@many.test>"][1])
        self.assertNotIn(b"Message-ID: <n4@many.test>", inbox)
        client.select('"Work/2025"', readonly=True)
        self.assertEqual(len(client.search(None, "ANSWERED")[1][0].split()), 1)
        before = self.tree(near)
        self.offlineimap(gerda, "one")
        self.assertEqual(self.tree(near), before)
        client.logout()

    # fetchmail

    def test_fetchmail_takes_new_mail_and_leaves_or_deletes_it(self) -> None:
        need("fetchmail")
        self.save_certificate()
        heide = self.cohue.add_member("heide")
        client = self.cohue.imap(heide)
        for i in (1, 2, 3):
            client.append("INBOX", r"\Seen" if i == 3 else "", None, numbered(i).replace(b"\n", b"\r\n"))
        home = self.cohue.directory / "fetchmail"
        home.mkdir()
        rc = home / "rc"
        rc.write_text(f"""poll localhost protocol IMAP service {self.cohue.port(993)}
  user "{heide.address}" password "{heide.password}" ssl sslcertfile "{self.certificate}" sslcommonname "mail.house.test"
  mda "cat >> {home}/got"
""")
        rc.chmod(0o600)

        def fetch(*options: str) -> bytes:
            (home / "got").write_bytes(b"")
            run("fetchmail", "--nosyslog", "-f", str(rc), "-i", str(home / "ids"), "--pidfile", str(home / "pid"), *options,
                env={"HOME": str(home), "FETCHMAILHOME": str(home)})
            return (home / "got").read_bytes()
        got = fetch("--keep")
        self.assertEqual([f"<n{i}@many.test>".encode() in got for i in (1, 2, 3)], [True, True, False])
        self.assertIn(b"line\n" * 2, got)
        client.select("INBOX", readonly=True)
        self.assertEqual(client.search(None, "SEEN")[1], [b"1 2 3"])
        client.append("INBOX", "", None, numbered(4).replace(b"\n", b"\r\n"))
        got = fetch()  # takes what is new, and deletes it
        self.assertEqual([f"<n{i}@many.test>".encode() in got for i in (1, 2, 3, 4)], [False, False, False, True])
        self.assertEqual(client.select("INBOX", readonly=True)[1], [b"3"])
        client.logout()

    def test_fetchmail_idles_and_takes_what_comes(self) -> None:
        need("fetchmail")
        self.save_certificate()
        karla = self.cohue.add_member("karla")
        home = self.cohue.directory / "fetchmail-idle"
        home.mkdir()
        rc, got, said = home / "rc", home / "got", home / "said"
        rc.write_text(f"""poll localhost protocol IMAP service {self.cohue.port(993)}
  user "{karla.address}" password "{karla.password}" ssl sslcertfile "{self.certificate}" sslcommonname "mail.house.test" idle keep
  mda "cat >> {got}"
""")
        rc.chmod(0o600)
        with open(said, "wb") as out:
            fetchmail = subprocess.Popen(["fetchmail", "-v", "--nosyslog", "-f", str(rc), "-i", str(home / "ids"), "--pidfile", str(home / "pid")],
                                         stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                         env={**os.environ, "HOME": str(home), "FETCHMAILHOME": str(home)})
        try:
            for n in (1, 2):
                wait_until(lambda n=n: said.read_bytes().count(b"idling") >= n, 20, "IDLE")
                with self.cohue.smtp(karla) as smtp:
                    smtp.sendmail(karla.address, [karla.address], f"From: {karla.address}\r\nTo: {karla.address}\r\nSubject: s{n}\r\n\r\nnews{n}\r\n")
                wait_until(lambda n=n: got.exists() and f"news{n}".encode() in got.read_bytes(), 20, "the news")
            self.assertIsNone(fetchmail.poll())
        finally:
            fetchmail.terminate()
            fetchmail.wait(10)
        self.assertEqual(got.read_bytes().count(b"\nnews"), 2)

    # curl

    def curl(self, member, path: str, *options: str, stdin: bytes | None = None, scheme: str = "imaps",
             port: int = 993) -> bytes:
        return run("curl", "-sS", "-k", "--max-time", "20", "-u", f"{member.address}:{member.password}",
                   f"{scheme}://127.0.0.1:{self.cohue.port(port)}/{path}", *options, stdin=stdin).stdout

    def test_curl_appends_lists_searches_and_fetches(self) -> None:
        need("curl")
        message = numbered(96).replace(b"\n", b"\r\n")
        self.assertIn(b'"INBOX"', self.curl(self.clara, "").replace(b" INBOX", b' "INBOX"'))
        file = self.cohue.directory / "letter"  # curl must know the size first
        file.write_bytes(message)
        self.curl(self.clara, "INBOX", "-T", str(file))
        self.assertEqual(self.curl(self.clara, "INBOX;UID=1"), message)
        self.assertEqual(self.curl(self.clara, "INBOX;UID=1;SECTION=TEXT"), message.partition(b"\r\n\r\n")[2])
        self.assertEqual(self.curl(self.clara, "INBOX?SUBJECT%20Number").strip(), b"* SEARCH 1")
        self.assertEqual(self.curl(self.clara, "INBOX?SUBJECT%20nothing").strip(), b"* SEARCH")
        self.assertIn(b"EXISTS", self.curl(self.clara, "", "-X", "EXAMINE INBOX"))

    def test_curl_sends(self) -> None:
        need("curl")
        message = b"From: clara@house.test\r\nTo: dora@house.test\r\nSubject: by curl\r\n\r\n.dot\r\n..\r\nend\r\n"
        for port, scheme, more in ((465, "smtps", ()), (587, "smtp", ("--ssl-reqd",))):
            self.curl(self.clara, "client.test", "--mail-from", self.clara.address, "--mail-rcpt", self.dora.address,
                      "-T", "-", *more, stdin=message, scheme=scheme, port=port)
        arrived = [m for m in self.cohue.wait_mail(self.dora, 2) if b"by curl" in m]
        self.assertEqual(len(arrived), 2)
        for octets in arrived:
            self.assertEqual(octets.partition(b"\r\n\r\n")[2], b".dot\r\n..\r\nend\r\n")

    # swaks

    def test_swaks_logs_in_by_both_mechanisms_on_both_ports(self) -> None:
        need("swaks")
        erna = self.cohue.add_member("erna")
        for port, tls in ((587, "--tls"), (465, "--tlsc")):
            for mechanism in ("PLAIN", "LOGIN"):
                run("swaks", "--server", "127.0.0.1", "--port", str(self.cohue.port(port)), tls, "--auth", mechanism,
                    "--auth-user", erna.address, "--auth-password", erna.password, "--from", erna.address,
                    "--to", erna.address, "--header", f"Subject: {mechanism} on {port}", "--hide-all")
            refused = run("swaks", "--server", "127.0.0.1", "--port", str(self.cohue.port(port)), tls, "--auth", "PLAIN",
                          "--auth-user", erna.address, "--auth-password", "wrong", "--from", erna.address,
                          "--to", erna.address, check=False)
            self.assertEqual(refused.returncode, 28, refused.stdout)
        subjects = sorted(email.message_from_bytes(m)["Subject"] for m in self.cohue.wait_mail(erna, 4))
        self.assertEqual(subjects, ["LOGIN on 465", "LOGIN on 587", "PLAIN on 465", "PLAIN on 587"])

    def test_delivery_status_options_are_taken_and_checked(self) -> None:
        # No stock command line client sends all of them; smtplib passes options through.
        with self.cohue.smtp(self.clara) as client:
            self.assertTrue(client.has_extn("dsn"))
            letter = "From: clara@house.test\r\nTo: clara@house.test\r\nSubject: with options\r\n\r\nx\r\n"
            client.sendmail(self.clara.address, [self.clara.address], letter, mail_options=["RET=HDRS", "ENVID=abc+20d"],
                            rcpt_options=["NOTIFY=SUCCESS,FAILURE,DELAY", "ORCPT=rfc822;clara@house.test"])
            client.ehlo()
            self.assertEqual(client.docmd("MAIL FROM:<clara@house.test> RET=ALL")[0] // 100, 5)
            client.rset()
            client.mail(self.clara.address)
            self.assertEqual(client.docmd("RCPT TO:<clara@house.test> NOTIFY=NEVER,FAILURE")[0] // 100, 5)

    # msmtp

    def test_msmtp_chooses_scram_and_sends(self) -> None:
        need("msmtp")
        message = b"From: clara@house.test\nTo: dora@house.test\nSubject: by msmtp\n\n.dot\nend\n"
        for port, starttls in ((465, "off"), (587, "on")):
            ran = run("msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={self.cohue.port(port)}", "--tls=on", f"--tls-starttls={starttls}",
                      "--tls-certcheck=off", "--auth=on", f"--user={self.clara.address}",
                      f"--passwordeval=printf %s {self.clara.password}", f"--from={self.clara.address}", "--debug", self.dora.address,
                      stdin=message, env={"HOME": str(self.cohue.directory)})
            self.assertIn(b"AUTH SCRAM-SHA-256", ran.stdout)
        self.assertEqual(len([m for m in self.cohue.wait_mail(self.dora, 2) if b"by msmtp" in m]), 2)

    # neomutt, mutt: with their own choice of mechanisms

    def mutt(self, member, *, push: str, mailbox: str = "INBOX", seconds: float = 20, program: str = "neomutt", more: str = "") -> None:
        """Types into neomutt, or mutt, in a terminal of its own, until it ends."""
        need(program)
        need("script")
        self.save_certificate()
        home = self.cohue.directory / f"mutt-{member.name}"
        home.mkdir(exist_ok=True)
        rc = home / "rc"
        rc.write_text(f"""set folder="imaps://127.0.0.1:{self.cohue.port(993)}/"
set spoolfile="+{mailbox}"
set imap_user="{member.address}"
set imap_pass="{member.password}"
set smtp_url="smtps://{member.address}@127.0.0.1:{self.cohue.port(465)}/"
set smtp_pass="{member.password}"
set certificate_file="{self.certificate}"
set ssl_verify_host=no
set ssl_verify_dates=no
set ssl_usesystemcerts=no
set from="{member.address}"
set hostname="client.test"
set record=""
set postponed=""
set header_cache="{home if more else ''}"
set editor="true"
set autoedit=yes
set fast_reply=yes
set include=yes
set delete=yes
set move=no
set confirmappend=no
set abort_unmodified=no
set confirmcreate=no
set quit=yes
set wait_key=no
set sleep_time=0
{more}push "{push}"
""")
        ran = run("timeout", str(seconds), "script", "-qec", f"{program} -n -F {rc}", "/dev/null", stdin=b"",
                  seconds=seconds + 5, env={"HOME": str(home), "TERM": "xterm", "LINES": "24", "COLUMNS": "80"},
                  check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout[-2000:].decode(errors="replace"))

    def test_neomutt_reads_replies_moves_and_deletes(self) -> None:
        self.read_reply_move_delete("neomutt", "frieda")

    def test_mutt_reads_replies_moves_and_deletes(self) -> None:
        self.read_reply_move_delete("mutt", "ilse")

    def test_neomutt_comes_back_to_its_cache_by_qresync(self) -> None:
        need("neomutt")
        jutta = self.cohue.add_member("jutta")
        client = self.cohue.imap(jutta)
        client.create("Kept")
        for i in range(12):
            client.append("INBOX", "", None, numbered(i).replace(b"\n", b"\r\n"))
        options = "set imap_qresync=yes\nset imap_condstore=yes\nset imap_idle=yes\n"
        logs = self.cohue.directory / "mutt-jutta"
        self.mutt(jutta, push="<first-entry><quit>", more=options)

        def numbers(folder: str) -> list[int]:
            count = int(client.select(folder, readonly=True)[1][0])
            answer = client.fetch(f"1:{count}", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
            return [int(p[1].split()[-1]) for p in answer if isinstance(p, tuple)]
        kept: list[int] = []
        # Meanwhile another client marks one, and a message comes; the second time two have gone. Then this NeoMutt hears VANISHED, counts what
        # follows as if they were still there, finds out, and reads the list again: with the same result.
        for gone, new in ((None, 98), ("2,7", 99)):
            client.select("INBOX")
            if gone:
                client.store(gone, "+FLAGS", r"(\Deleted)")
                client.expunge()
            client.store("4", "+FLAGS", r"(\Flagged)")
            client.append("INBOX", "", None, numbered(new).replace(b"\n", b"\r\n"))
            there = numbers("INBOX")
            # What is flagged, and what came, it saves by its own knowledge.
            self.mutt(jutta, push=f"<tag-pattern>~F|~s{new}<enter><tag-prefix><save-message>=Kept<enter><sync-mailbox><quit>",
                      more=options + f'set debug_level=2\nset debug_file="{logs}/wire{new}"\n')
            wire = b"".join(f.read_bytes() for f in logs.glob(f"wire{new}*"))
            self.assertRegex(wire, rb"\(CHANGEDSINCE \d+ VANISHED\)")
            if gone:
                self.assertIn(b"Handling VANISHED", wire)
            else:
                self.assertNotIn(b"QRESYNC failed", wire)
            kept += [there[3], new]
            self.assertEqual(sorted(numbers("Kept")), sorted(kept))
            self.assertEqual(numbers("INBOX"), [n for n in there if n not in kept])
        client.logout()

    def read_reply_move_delete(self, program: str, name: str) -> None:
        need(program)
        frieda, friend = self.cohue.add_member(name), self.cohue.add_member(f"{name}-friend")
        client = self.cohue.imap(frieda)
        client.create("Kept")
        for i in (1, 2, 3):
            client.append("INBOX", "", None, numbered(i).replace(b"ann@elsewhere.test", friend.address.encode()))
        self.mutt(frieda, program=program, push="<first-entry><display-message><exit><reply><send-message>"
                               "<next-entry><save-message>=Kept<enter>"
                               "<last-entry><delete-message><sync-mailbox><quit>")
        client.select("INBOX", readonly=True)
        _, answer = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        self.assertEqual(len([p for p in answer if isinstance(p, tuple)]), 1, answer)
        self.assertIn(b"\\Answered", b"".join(answer[0]) + answer[1])
        self.assertIn(b"Number 1", answer[0][1])
        self.assertEqual(client.select("Kept", readonly=True)[1], [b"1"])
        client.logout()
        self.assertIn(b"Re: Number 1", self.cohue.wait_mail(friend, 1)[0])


if __name__ == "__main__":
    unittest.main()
