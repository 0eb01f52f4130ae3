#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two Thunderbirds and one mbsync on one account, at random, for minutes; see thunderbird.md beside it.

    thunderbirds.py [--seconds N] [--seed N] [--pictures DIR]

Each letter has a name of its own. At the end both Thunderbirds, the Maildir and the server must show the same letters in the same
folders, each once, and none may be missing that nobody deleted."""

import argparse
import collections
import email
import email.policy
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from harness import Cohue, free_port, wait_until  # noqa: E402
from thunderbird import SEARCH, Alert, Marionette, letter, make_profile  # noqa: E402

FOLDERS = ("INBOX", "Archive", "Trash", "Work", "Été")
WIRE = {"Été": "&AMk-t&AOk-"}
SUBJECTS = """const wanted = args[0] == 'INBOX' ? 'Inbox' : args[0];
const f = folder(wanted); return f ? [...f.messages].map(h => h.mime2DecodedSubject) : [];"""


class Bird:
    """One Thunderbird with a profile and a screen."""

    def __init__(self, house: Cohue, member, name: str, log: pathlib.Path) -> None:
        self.name = name
        self.alerts: list[str] = []
        self.imap_log = log.with_name(log.stem + ".imap.moz_log")
        self.display = f":{300 + os.getpid() % 300 + (1 if name == 'two' else 0) * 301}"
        port = free_port()
        profile = house.directory / f"profile-{name}"
        make_profile(profile, house, member.address, port)
        self.screen = subprocess.Popen(["Xvfb", self.display, "-screen", "0", "1000x700x24", "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
        self.bird: subprocess.Popen | None = None
        try:
            wait_until(lambda: pathlib.Path(f"/tmp/.X11-unix/X{self.display[1:]}").exists(), 10, "Xvfb")
            self.bird = subprocess.Popen(["thunderbird", "--profile", str(profile), "--marionette", "--remote-allow-system-access", "--no-remote"],
                                         env={**os.environ, "DISPLAY": self.display, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1",
                                              "LANG": "C.UTF-8", "MOZ_LOG": "IMAP:4,timestamp,sync", "MOZ_LOG_FILE": str(log.with_name(log.stem + ".imap"))},
                                         stdout=open(log, "wb"), stderr=subprocess.STDOUT, start_new_session=True)
            self.m = Marionette(port)
            self.m.run("""
for (const [kind, password] of [["imap", args[1]], ["smtp", args[1]]]) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(`${kind}://localhost`, null, `${kind}://localhost`, args[0], password, "", "");
  await Services.logins.addLoginAsync(login);
}
Services.io.offline = false;""", member.address, member.password)
            wait_until(lambda: self.m.run("return !!(main && server && main.document.getElementById('tabmail').currentAbout3Pane)"), 60,
                       "the window", pause=0.5)
            self.m.run("server.performBiff(main.msgWindow); server.rootFolder.updateFolder(main.msgWindow);")
            wait_until(lambda: self.m.run("return !!folder('Work') && !!folder('Été')"), 60, "the folders", pause=0.5)
            for f in FOLDERS:
                self.look(f)
        except BaseException:
            self.end()
            raise

    def run(self, code: str, *arguments):
        try:
            return self.m.run(code, *arguments)
        except Alert as alert:
            self.alerts.append(str(alert))
            print(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC: {self.name} says: {alert}", flush=True)
            return self.m.run(code, *arguments)

    def look(self, folder: str) -> None:
        self.run("const f = folder(args[0] == 'INBOX' ? 'Inbox' : args[0]); if (f) f.updateFolder(main.msgWindow);", folder)

    def subjects(self, folder: str) -> list[str]:
        return self.run(SUBJECTS, folder)

    def given_up(self, word: str, folder: str, since: float) -> str:
        """Whose fault it is that a search has no end, from Thunderbird's own log of what it said and heard; thunderbird.md knows a reason."""
        start = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(since))
        log = [line for line in self.imap_log.read_text(errors="replace").splitlines() if line >= start]
        asked = [(n, m) for n, m in ((n, re.search(r"/IMAP (\w+):.*:SendData: (\w+) uid SEARCH .*" + word, line, re.I))
                                     for n, line in enumerate(log)) if m]
        if not asked:
            verdict = "not sent by Thunderbird so far"
        else:
            n, m = asked[-1]
            answer = re.compile(f"/IMAP {m[1]}:.*:CreateNewLineFromSocket: {m[2]} (OK|NO|BAD)")
            verdict = "answered by the house" if any(answer.search(line) for line in log[n:]) else "NOT answered by the house"
        print(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC: {self.name} saw no end of a search for {word} in {folder}: {verdict}; {self.imap_log}",
              flush=True)
        return f"search without end, {verdict}"

    def act(self, rng: random.Random, deleted: set[str]) -> str:
        """One random deed; what was done."""
        source = rng.choice(FOLDERS)
        there = self.subjects(source)
        kind = rng.choice(("move", "move", "copyless", "flag", "flag", "read", "delete", "look", "search"))
        if not there or kind == "look":
            self.look(source)
            return "look"
        subject = rng.choice(there)
        pick = ("const f = folder(args[0] == 'INBOX' ? 'Inbox' : args[0]);"
                "const hdr = [...f.messages].find(h => h.mime2DecodedSubject == args[1]); if (!hdr) return 'gone';")
        if kind == "move":
            target = rng.choice([f for f in FOLDERS if f != source])
            return self.run(pick + "const to = folder(args[2] == 'INBOX' ? 'Inbox' : args[2]);"
                              "MailServices.copy.copyMessages(f, [hdr], to, true, null, main.msgWindow, false); return 'move';", source, subject, target)
        if kind == "flag":
            return self.run(pick + "f.markMessagesFlagged([hdr], args[2]); return 'flag';", source, subject, rng.random() < 0.5)
        if kind == "read":
            return self.run(pick + "f.markMessagesRead([hdr], args[2]); return 'read';", source, subject, rng.random() < 0.5)
        if kind == "delete":
            # From Trash it is for good; from elsewhere it goes to Trash.
            if source == "Trash":
                deleted.add(subject)
            return self.run(pick + "f.deleteMessages([hdr], main.msgWindow, args[2], false, null, false); return 'delete';", source, subject,
                              source == "Trash")
        if kind == "search":
            word, since = subject.split()[-1], time.time()
            found = self.run(SEARCH, "Inbox" if source == "INBOX" else source, f"unique{word}end", 15000)
            if found is None:
                return self.given_up(f'"unique{word}end"', source, since)
            assert set(found) <= {subject}, (found, subject)
            return "search, found" if found else "search, gone"
        return "nothing"

    def end(self) -> None:
        if self.bird is not None:
            os.killpg(self.bird.pid, signal.SIGTERM)
            try:
                self.bird.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.bird.pid, signal.SIGKILL)
                self.bird.wait(10)
        self.screen.terminate()
        self.screen.wait(10)


class Maildirs:
    def __init__(self, house: Cohue, member) -> None:
        import ssl
        self.root = house.directory / "maildirs"
        (self.root / "mail").mkdir(parents=True)
        (self.root / "pem").write_text(ssl.get_server_certificate(("127.0.0.1", house.port(993))))
        (self.root / "rc").write_text(f"""IMAPAccount house
Host 127.0.0.1
Port {house.port(993)}
User {member.address}
Pass "{member.password}"
SSLType IMAPS
CertificateFile {self.root}/pem

IMAPStore far
Account house

MaildirStore near
Path {self.root}/mail/
Inbox {self.root}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")

    def sync(self) -> int:
        ran = subprocess.run(["mbsync", "-c", str(self.root / "rc"), "all"], env={**os.environ, "HOME": str(self.root)}, capture_output=True,
                             timeout=120, check=False)
        if ran.returncode != 0:
            print("mbsync:", ran.stderr.decode(errors="replace")[-300:])
        return ran.returncode

    def files(self, folder: str) -> list[pathlib.Path]:
        where = self.root / "mail" / WIRE.get(folder, folder)
        return sorted([*where.glob("cur/*"), *where.glob("new/*")])

    def subjects(self, folder: str) -> list[str]:
        return [str(email.message_from_bytes(f.read_bytes(), policy=email.policy.default)["Subject"]) for f in self.files(folder)]

    def act(self, rng: random.Random, deleted: set[str]) -> str:
        folder = rng.choice(FOLDERS)
        files = self.files(folder)
        if files:
            file = rng.choice(files)
            if rng.random() < 0.25 and folder == "Trash":
                deleted.add(str(email.message_from_bytes(file.read_bytes(), policy=email.policy.default)["Subject"]))
                file.unlink()
            else:
                file.rename(file.parent.parent / "cur" / (file.name.partition(":2,")[0] + ":2," + rng.choice(("S", "FS", "", "RS"))))
        return "sync" if self.sync() == 0 else "sync failed"


def on_server(house: Cohue, member) -> dict[str, list[str]]:
    client = house.imap(member)
    found = {}
    for folder in FOLDERS:
        count = int(client.select(f'"{WIRE.get(folder, folder)}"', readonly=True)[1][0])
        answer = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if count else []
        found[folder] = [str(email.message_from_bytes(p[1], policy=email.policy.default)["Subject"]) for p in answer if isinstance(p, tuple)]
    client.logout()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.2, help="the longest pause between two deeds, in seconds")
    parser.add_argument("--pictures", default="/tmp/cohue-thunderbirds")
    options = parser.parse_args()
    pictures = pathlib.Path(options.pictures)
    pictures.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)
    did: collections.Counter[str] = collections.Counter()
    deleted: set[str] = set()
    sent: list[str] = []
    birds: list[Bird] = []
    with Cohue() as house:
        alice, bert = house.add_member("alice"), house.add_member("bert")
        client = house.imap(alice)
        for folder in ("Work", "Été"):
            client.create(f'"{WIRE.get(folder, folder)}"')
            client.subscribe(f'"{WIRE.get(folder, folder)}"')
        client.logout()

        def send() -> None:
            n = len(sent)
            with house.smtp(bert) as smtp:
                smtp.sendmail(bert.address, [alice.address], letter(bert.address, alice.address, f"Grüße {n}", f"unique{n}end of the letter"))
            sent.append(f"Grüße {n}")
        try:
            for _ in range(20):
                send()
            house.wait_mail(alice, 20)
            maildirs = Maildirs(house, alice)
            for name in ("one", "two"):
                birds.append(Bird(house, alice, name, pictures / f"{name}.log"))
            print("both Thunderbirds are up", flush=True)
            end = time.monotonic() + options.seconds
            while time.monotonic() < end:
                choice = rng.random()
                if choice < 0.06 and len(sent) < 400:
                    send()
                    did["arrival"] += 1
                elif choice < 0.14:
                    did["mbsync: " + maildirs.act(rng, deleted)] += 1
                else:
                    did[rng.choice(birds).act(rng, deleted)] += 1
                time.sleep(rng.random() * options.pause)
            print(dict(did), flush=True)

            def agree() -> bool:
                maildirs.sync()
                truth = on_server(house, alice)
                for bird in birds:
                    for folder in FOLDERS:
                        bird.look(folder)
                time.sleep(3)
                again = on_server(house, alice)
                agree.seen = {"server": {f: sorted(s) for f, s in truth.items()},
                              "mbsync": {f: sorted(maildirs.subjects(f)) for f in FOLDERS},
                              **{b.name: {f: sorted(b.subjects(f)) for f in FOLDERS} for b in birds}}
                return again == truth and all(v == agree.seen["server"] for v in agree.seen.values())
            try:
                # Longer than Thunderbird waits on a connection on which nothing will come.
                wait_until(agree, 150, "all to see the same", pause=0.5)
            except AssertionError:
                for who, folders in agree.seen.items():
                    for f in FOLDERS:
                        if folders[f] != agree.seen["server"][f]:
                            extra = collections.Counter(folders[f]) - collections.Counter(agree.seen["server"][f])
                            lacks = collections.Counter(agree.seen["server"][f]) - collections.Counter(folders[f])
                            print(f"{who}, {f}: more {dict(extra)}, less {dict(lacks)}")
                raise
            truth = collections.Counter(s for subjects in agree.seen["server"].values() for s in subjects)
            lost = [s for s in sent if s not in truth and s not in deleted]
            twice = {s: n for s, n in truth.items() if n > 1}
            log = [line for line in house.log().splitlines() if re.search("error", line)]
            print(f"{sum(did.values())} deeds in {options.seconds:.0f} s, {len(sent)} letters, {len(deleted)} deleted for good, "
                  f"{sum(truth.values())} there; lost: {lost}; more than once: {twice}; errors in the house's log: {log}")
            unanswered = sum(n for what, n in did.items() if "NOT answered" in what)
            # Thunderbird tells that way, too, of a connection that it waited on in vain.
            alerts = [a for bird in birds for a in bird.alerts if "timed out" not in a]
            return 1 if lost or twice or log or unanswered or alerts else 0
        finally:
            for bird in birds:
                bird.end()


if __name__ == "__main__":
    # So that what was started is also ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
