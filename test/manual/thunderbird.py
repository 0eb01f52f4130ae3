#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Drives a real Thunderbird under Xvfb against a house of its own; see thunderbird.md beside it."""

import argparse
import base64
import email
import email.message
import email.policy
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from harness import Cohue, free_port, wait_until  # noqa: E402

PREFS = {
    "mail.accountmanager.accounts": "account1",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.account.account1.identities": "id1",
    "mail.account.account1.server": "server1",
    "mail.server.server1.type": "imap",
    "mail.server.server1.hostname": "localhost",
    "mail.server.server1.socketType": 3,
    "mail.server.server1.authMethod": 3,
    "mail.server.server1.login_at_startup": True,
    "offline.autoDetect": False,
    "offline.startup_state": 3,  # until the password is in Thunderbird's store
    "mail.server.server1.check_new_mail": True,
    "mail.identity.id1.fullName": "Alice",
    "mail.identity.id1.valid": True,
    "mail.identity.id1.smtpServer": "smtp1",
    "mail.identity.id1.compose_html": False,
    "mail.smtpservers": "smtp1",
    "mail.smtp.defaultserver": "smtp1",
    "mail.smtpserver.smtp1.hostname": "localhost",
    "mail.smtpserver.smtp1.try_ssl": 3,
    "mail.smtpserver.smtp1.authMethod": 3,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "mailnews.start_page_override.mstone": "ignore",
    "app.donation.eoy.version.viewed": 999,
    "app.update.enabled": False,
    "datareporting.policy.bypassNotification": True,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.manage-offline-status": False,
    "mail.inappnotifications.enabled": False,
    "remote.active-protocols": 2,
}


class Alert(AssertionError):
    """Thunderbird showed a window with this text, which is closed by now; what was asked may have been done or not."""


class Marionette:
    """Thunderbird's own remote control: JavaScript with all its rights, one call at a time."""

    def __init__(self, port: int) -> None:
        self.socket = wait_until(lambda: socket.create_connection(("127.0.0.1", port), 5), 60, "Thunderbird's Marionette")
        self.socket.settimeout(60)
        self.number = 0
        self.receive()
        self.call("WebDriver:NewSession", {})
        self.call("Marionette:SetContext", {"value": "chrome"})
        self.call("WebDriver:SetTimeouts", {"script": 30000})

    def receive(self):
        size = b""
        while (c := self.socket.recv(1)) != b":":
            if not c:
                raise EOFError("Thunderbird has gone")
            size += c
        octets = b""
        while len(octets) < int(size):
            octets += self.socket.recv(int(size) - len(octets))
        return json.loads(octets)

    def call(self, name: str, arguments: dict):
        self.number += 1
        octets = json.dumps([0, self.number, name, arguments]).encode()
        self.socket.sendall(b"%d:%s" % (len(octets), octets))
        _, _, problem, value = self.receive()
        if problem and problem.get("error") == "unexpected alert open":
            raise Alert((problem.get("data") or {}).get("text") or problem.get("message"))
        if problem:
            raise AssertionError(f"{name}: {problem.get('message')}")
        return value

    def script(self, code: str, *arguments):
        """`return` gives its value; `await` is allowed."""
        prelude = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const main = Services.wm.getMostRecentWindow("mail:3pane");
const server = MailServices.accounts.accounts.map(a => a.incomingServer).find(s => s.type == "imap");
const root = server && server.rootFolder;
const folder = name => name == 'Inbox' ? root.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox) : root.descendants.find(f => f.name == name);
const done = start => new Promise((ok, bad) => start({ onStartCopy() {}, onProgress() {}, setMessageKey() {},
  getMessageId() {}, onStopCopy: s => s ? bad("copy " + s) : ok() }));
"""
        return self.call("WebDriver:ExecuteAsyncScript", {
            "script": prelude + "const end = arguments[arguments.length - 1];"
                      "(async (...args) => {" + code + "})(...arguments).then(v => end({ok: v === undefined ? null : v}),"
                      " e => end({bad: String(e) + ' ' + (e && e.stack || '')}));",
            "args": list(arguments), "newSandbox": True, "scriptTimeout": 30000})["value"]

    def run(self, code: str, *arguments):
        said = self.script(code, *arguments)
        if "bad" in said:
            raise AssertionError(said["bad"])
        return said["ok"]


# Subjects of what the server finds in the bodies of a folder; null if no end is seen in time. Folder, word, milliseconds.
SEARCH = """const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder(args[0]));
const term = session.createTerm(), value = term.value;
value.attrib = Ci.nsMsgSearchAttrib.Body; value.str = args[1];
term.value = value; term.attrib = Ci.nsMsgSearchAttrib.Body; term.op = Ci.nsMsgSearchOp.Contains; term.booleanAnd = true;
session.appendTerm(term);
const hits = [];
const late = await new Promise(done => { main.setTimeout(() => done(true), args[2]);
  session.registerListener({ onSearchHit(h) { hits.push(h.mime2DecodedSubject); }, onSearchDone() { done(false); }, onNewSearch() {} });
  session.search(main.msgWindow); });
return late ? null : hits;"""


def letter(sender: str, to: str, subject: str, body: str, attachment: bytes | None = None) -> bytes:
    m = email.message.EmailMessage()
    m["From"], m["To"], m["Subject"] = sender, to, subject
    m.set_content(body)
    m.add_alternative(f"<p>{body} <b>in HTML</b></p>", subtype="html")
    if attachment is not None:
        m.add_attachment(attachment, maintype="application", subtype="octet-stream", filename="Größen.bin")
    return m.as_bytes(policy=email.policy.SMTP)


def make_profile(path: pathlib.Path, house: Cohue, address: str, marionette: int) -> None:
    path.mkdir(parents=True)
    prefs = {**PREFS, "mail.server.server1.port": house.port(993), "mail.server.server1.userName": address,
             "mail.server.server1.name": address, "mail.identity.id1.useremail": address,
             "mail.smtpserver.smtp1.port": house.port(465), "mail.smtpserver.smtp1.username": address,
             "marionette.port": marionette}
    (path / "user.js").write_text("".join(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in prefs.items()))
    lines = ["# PSM Certificate Override Settings file"]
    for port in (house.port(993), house.port(465)):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port), 10) as s, context.wrap_socket(s) as tls:
            digest = hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest().upper()
        colons = ":".join(digest[i:i + 2] for i in range(0, 64, 2))
        lines.append(f"localhost:{port}:\tOID.2.16.840.1.101.3.4.2.1\t{colons}\t")
    (path / "cert_override.txt").write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", default="/tmp/cohue-thunderbird", help="where the screenshots go")
    options = parser.parse_args()
    pictures = pathlib.Path(options.pictures)
    pictures.mkdir(parents=True, exist_ok=True)
    for program in ("thunderbird", "Xvfb", "import"):
        if shutil.which(program) is None:
            print(f"{program} is missing: apt-get install thunderbird xvfb imagemagick")
            return 1
    steps: list[str] = []

    def ok(what: str) -> None:
        steps.append(what)
        print(f"ok      {what}", flush=True)
        (pictures / "outcome.md").write_text("| step | outcome |\n|---|---|\n" + "".join(f"| {step} | passed |\n" for step in steps))

    with Cohue() as house:
        alice, bert = house.add_member("alice"), house.add_member("bert")
        blob = os.urandom(300_000)
        with house.smtp(bert) as smtp:
            for i in range(5):
                smtp.sendmail(bert.address, [alice.address],
                              letter(bert.address, alice.address, f"Grüße {i}", f"Hello Alice, number {i}." + " Übergrößenträger." * (i == 1),
                                     blob if i == 3 else None))
        house.wait_mail(alice, 5)
        marionette, display = free_port(), f":{200 + os.getpid() % 500}"
        profile = house.directory / "profile"
        make_profile(profile, house, alice.address, marionette)
        xvfb = subprocess.Popen(["Xvfb", display, "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
                                stderr=subprocess.DEVNULL)
        bird = None
        try:
            wait_until(lambda: pathlib.Path(f"/tmp/.X11-unix/X{display[1:]}").exists(), 10, "Xvfb")
            bird = subprocess.Popen(["thunderbird", "--profile", str(profile), "--marionette",
                                     "--remote-allow-system-access", "--no-remote"],
                                    env={**os.environ, "DISPLAY": display, "HOME": str(house.directory),
                                         "MOZ_CRASHREPORTER_DISABLE": "1", "LANG": "C.UTF-8"},
                                    stdout=open(pictures / "thunderbird.log", "wb"), stderr=subprocess.STDOUT,
                                    start_new_session=True)

            def picture(name: str) -> None:
                time.sleep(2)  # for the window to be painted
                subprocess.run(["import", "-display", display, "-window", "root", str(pictures / f"{name}.png")], check=False)

            m = Marionette(marionette)
            try:
                m.run("""
for (const [kind, password] of [["imap", args[1]], ["smtp", args[1]]]) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(`${kind}://localhost`, null, `${kind}://localhost`, args[0], password, "", "");
  await Services.logins.addLoginAsync(login);
}
Services.io.offline = false;""", alice.address, alice.password)
                wait_until(lambda: m.run("return !!(main && server && main.document.getElementById('tabmail').currentAbout3Pane)"), 60, "the window", pause=0.5)
                m.run("server.performBiff(main.msgWindow); server.rootFolder.updateFolder(main.msgWindow);")
                wait_until(lambda: m.run("return !!folder('Sent')"), 30, "the folders", pause=0.5)
                ok("folders: " + ", ".join(m.run("return root.descendants.map(f => f.name)")))
                m.run("main.document.getElementById('tabmail').currentAbout3Pane.displayFolder(folder('Inbox').URI)")
                wait_until(lambda: m.run("return folder('Inbox').getTotalMessages(false)") == 5, 30, "five messages", pause=0.5)
                ok("the inbox shows five messages")
                m.run("""const pane = main.document.getElementById('tabmail').currentAbout3Pane;
const hdr = [...folder('Inbox').messages].find(h => h.mime2DecodedSubject == 'Grüße 3'); pane.selectMessage ? pane.selectMessage(hdr) : main.gFolderDisplay.selectMessage(hdr);""")
                wait_until(lambda: "number 3" in (m.run("""
const message = main.document.getElementById('tabmail').currentAboutMessage;
return message?.getMessagePaneBrowser()?.contentDocument?.body?.textContent || '';""")), 30, "the message", pause=0.5)
                picture("1-message")
                ok("a message with an attachment is shown")
                # The server is asked, not the messages that Thunderbird has.
                for word, wanted in (("number 2", ["Grüße 2"]), ("größenträger", ["Grüße 1"]), ("Hello Alice", [f"Grüße {i}" for i in range(5)]),
                                     ("nobody wrote this", [])):
                    hits = m.run(SEARCH, "Inbox", word, 20000)
                    assert hits is not None and sorted(hits) == wanted, (word, hits)
                ok("a search of bodies on the server finds words, also with umlauts, and nothing else")
                # What Thunderbird sees while it idles: a new message within moments, without a question.
                start = time.monotonic()
                with house.smtp(bert) as smtp:
                    smtp.sendmail(bert.address, [alice.address], letter(bert.address, alice.address, "News", "News."))
                wait_until(lambda: m.run("return [...folder('Inbox').messages].some(h => h.subject == 'News')"), 15, "the news", pause=0.2)
                ok(f"news shown after {time.monotonic() - start:.1f} s")
                # Flag, move, create a folder, delete.
                m.run("folder('Inbox').markMessagesFlagged([...folder('Inbox').messages].slice(0, 1), true);"
                      "root.createSubfolder('Été', null);")
                wait_until(lambda: m.run("return !!folder('Été')"), 15, "the new folder", pause=0.3)
                m.run("""const from = folder('Inbox'), to = folder('Été');
const hdr = [...from.messages].find(h => h.subject == 'News');
await done(l => MailServices.copy.copyMessages(from, [hdr], to, true, l, main.msgWindow, false));""")
                imap = house.imap(alice)

                def count(name: str) -> int:
                    kind, answer = imap.select(name, readonly=True)
                    return int(answer[0]) if kind == "OK" else -1
                wait_until(lambda: count('"&AMk-t&AOk-"') == 1 and count("INBOX") == 5, 15, "the move", pause=0.2)
                imap.select("INBOX", readonly=True)
                assert imap.search(None, "FLAGGED")[1] == [b"1"], imap.search(None, "FLAGGED")
                ok("a new folder, a move and a flag reach the server")
                m.run("const f = folder('Inbox'); f.deleteMessages([[...f.messages][1]], main.msgWindow, false, false, null, true);")
                wait_until(lambda: count("INBOX") == 4 and count("Trash") == 1, 15, "the deletion", pause=0.2)
                ok("a deleted message lies in Trash")
                # Writing, through the composition window.
                m.run("""const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.to = args[0]; fields.subject = "From Thunderbird: ü"; fields.body = "Written in Thunderbird.\\n.\\nÜbrigens.\\n";
const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
params.composeFields = fields; params.type = Ci.nsIMsgCompType.New; params.format = Ci.nsIMsgCompFormat.PlainText;
params.identity = MailServices.accounts.defaultAccount.defaultIdentity;
MailServices.compose.OpenComposeWindowWithParams(null, params);""", bert.address)
                wait_until(lambda: m.run("const w = Services.wm.getMostRecentWindow('msgcompose');"
                                         "return !!(w && w.gMsgCompose && w.document.readyState == 'complete' && w.gMsgCompose.compFields.to)"), 20, "the composition window", pause=0.5)
                picture("2-compose")
                m.run("const w = Services.wm.getMostRecentWindow('msgcompose'); w.goDoCommand('cmd_sendNow');")
                got = house.wait_mail(bert, 1, seconds=20)
                assert b"Written in Thunderbird" in got[0], got
                picture("3-sent")
                try:
                    wait_until(lambda: count("Sent") >= 1 and not m.run("return !!Services.wm.getMostRecentWindow('msgcompose')"), 15, "the end of sending", pause=0.3)
                except AssertionError as problem:
                    picture("3-sent-stuck")
                    raise problem
                assert count("Sent") == 1, f"{count('Sent')} copies in Sent"
                ok("a message written in Thunderbird arrived, with one copy in Sent")
                # One thread on both sides: the answer refers to what lies in Sent, Thunderbird's next answer to both.
                mine = email.message_from_bytes(got[0])["Message-ID"]
                with house.smtp(bert) as smtp:
                    smtp.sendmail(bert.address, [alice.address], letter(bert.address, alice.address, "Re: From Thunderbird", "Yes.").replace(
                        b"Subject:", f"Message-ID: <answer@house.test>\r\nIn-Reply-To: {mine}\r\nReferences: {mine}\r\nSubject:".encode(), 1))
                wait_until(lambda: m.run("return [...folder('Inbox').messages].some(h => h.subject == 'From Thunderbird' && h.numReferences == 1)"), 15, "the answer", pause=0.3)
                m.run("folder('Sent').updateFolder(main.msgWindow)")
                wait_until(lambda: m.run("return [...folder('Sent').messages].map(h => '<' + h.messageId + '>')") == [mine], 15, "the Sent copy under the identifier that left", pause=0.3)
                m.run("""const hdr = [...folder('Inbox').messages].find(h => h.numReferences == 1);
const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
params.composeFields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
params.identity = MailServices.accounts.defaultAccount.defaultIdentity; params.origMsgHdr = hdr;
params.originalMsgURI = folder('Inbox').getUriForMsg(hdr); params.type = Ci.nsIMsgCompType.ReplyToSender;
params.format = Ci.nsIMsgCompFormat.PlainText; MailServices.compose.OpenComposeWindowWithParams(null, params);""")
                wait_until(lambda: m.run("const w = Services.wm.getMostRecentWindow('msgcompose');"
                                         "return !!(w && w.gMsgCompose && w.document.readyState == 'complete' && w.gMsgCompose.compFields.to)"), 20, "the composition window", pause=0.5)
                time.sleep(2)  # for the quotation
                m.run("Services.wm.getMostRecentWindow('msgcompose').goDoCommand('cmd_sendNow');")
                third = email.message_from_bytes(house.wait_mail(bert, 2, seconds=20)[1])
                answered = email.message_from_bytes(next(o for o in house.wait_mail(alice, 5) if mine.encode() in o))["Message-ID"]
                assert third["References"].split() == [mine, answered], third["References"]
                wait_until(lambda: not m.run("return !!Services.wm.getMostRecentWindow('msgcompose')"), 15, "the end of sending", pause=0.3)
                assert count("Sent") == 2, f"{count('Sent')} copies in Sent"
                ok("an answer to it and Thunderbird's answer to that are one thread on both sides")
                imap.logout()
                # The service ends and comes back: Thunderbird finds its way back by itself.
                house.restart()
                with house.smtp(bert) as smtp:
                    smtp.sendmail(bert.address, [alice.address], letter(bert.address, alice.address, "After", "After."))
                house.wait_mail(alice, 5)
                m.run("folder('Inbox').getNewMessages(main.msgWindow, null)")
                wait_until(lambda: m.run("return [...folder('Inbox').messages].some(h => h.subject == 'After')"), 30, "mail after a restart", pause=0.5)
                ok("after a restart of the service Thunderbird goes on")
                picture("4-after-restart")
            except BaseException:
                picture("failed")
                raise
        finally:
            if bird is not None:
                bird.terminate()
                try:
                    bird.wait(10)
                except subprocess.TimeoutExpired:
                    bird.kill()
            xvfb.terminate()
            xvfb.wait(10)
    print(f"{len(steps)} steps passed; pictures and outcome.md in {pictures}")
    return 0


if __name__ == "__main__":
    # So that what was started is also ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
