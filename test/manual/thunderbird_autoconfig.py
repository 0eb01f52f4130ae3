#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real Thunderbird finds its settings from an address and a password alone; see thunderbird.md beside it.

As root: it works in a network of its own, where the house has its true ports and names."""

import argparse
import base64
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from harness import Cohue, free_port, wait_until  # noqa: E402
from harness.authority import Authority  # noqa: E402
from thunderbird import PREFS, Marionette, letter  # noqa: E402

DOMAIN = "house.test"
HOST = "mail.house.test"
NAMES = (DOMAIN, HOST, f"autoconfig.{DOMAIN}", f"autodiscover.{DOMAIN}", f"mta-sts.{DOMAIN}")
ISOLATED = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
            "--propagation", "private"]
CONFIG = """const plain = s => ({type: s.type, host: s.hostname, port: s.port, socket: s.socketType, auth: s.auth, user: s.username});
return c && {source: c.source, incoming: plain(c.incoming), outgoing: plain(c.outgoing),
  others: c.incomingAlternatives.concat(c.outgoingAlternatives).map(plain), name: c.displayName};"""


def isolate() -> None:
    """Names of its own and a loopback of its own for what follows."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    hosts = pathlib.Path("/tmp") / f"cohue-hosts-{os.getpid()}"
    hosts.write_text("127.0.0.1 localhost " + " ".join(NAMES) + "\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    hosts.unlink()


def profile(path: pathlib.Path, marionette: int) -> None:
    path.mkdir(parents=True)
    prefs = {k: v for k, v in PREFS.items() if not k.startswith(("mail.account", "mail.server.", "mail.identity", "mail.smtp", "offline."))}
    prefs |= {"marionette.port": marionette, "mailnews.auto_config_url": "", "mail.provider.enabled": False}
    (path / "user.js").write_text("".join(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in prefs.items()))


def steps(m: Marionette, alice, bert, house: Cohue, authority: Authority, ok, picture) -> None:
    m.run("""Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(args[0], "CT,C,C");
Services.io.offline = false;""", base64.b64encode(ssl.PEM_cert_to_DER_cert(authority.certificate.read_text())).decode())
    wait_until(lambda: m.run("return !!(main && main.openAccountHub)"), 60, "the window", pause=0.5)

    # What its ways find, before anything is typed: the one that asks us, at each of our addresses alone, and all together.
    wanted = [{"type": "imap", "host": HOST, "port": 993, "socket": 3, "auth": 3, "user": "%EMAILADDRESS%"},
              {"type": "smtp", "host": HOST, "port": 465, "socket": 3, "auth": 3, "user": "%EMAILADDRESS%"}]
    for url in (f"https://autoconfig.{DOMAIN}/mail/config-v1.1.xml", f"https://{DOMAIN}/.well-known/autoconfig/mail/config-v1.1.xml",
                f"http://autoconfig.{DOMAIN}/mail/config-v1.1.xml"):
        found = m.run("""const { fetchHTTP } = ChromeUtils.importESModule("resource:///modules/accountcreation/FetchHTTP.sys.mjs");
const { readFromXML } = ChromeUtils.importESModule("resource:///modules/accountcreation/readFromXML.sys.mjs");
const c = readFromXML(await fetchHTTP(args[0], { urlArgs: { emailaddress: args[1] } }), "isp-https");""" + CONFIG, url, alice.address)
        assert [found["incoming"], found["outgoing"]] == wanted, (url, found)
    ok("it reads our values at each address: IMAP 993 and SMTP 465 inside TLS, normal password, the whole address as name")
    found = m.run("""const { FindConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/FindConfig.sys.mjs");
const { value: c } = await FindConfig.parallelAutoDiscovery(args[0], args[1], new AbortController().signal, args[2]).next();""" + CONFIG,
                  DOMAIN, alice.address, alice.password)
    assert [found["incoming"], found["outgoing"]] == wanted and not any(o["type"] in ("exchange", "ews") for o in found["others"]), found
    ok("all its ways together choose them, and take our Autodiscover for no Exchange")

    # As she does it: address, Continue, what was found, password, Continue.
    hub = "const hub = main.document.querySelector('account-hub-container').shadowRoot.querySelector('account-hub-email');"
    fill = """const fill = (where, text) => { const i = hub.querySelector(where); i.value = text;
  i.dispatchEvent(new main.Event('input', { bubbles: true })); };"""
    shown = """const hub = main.document.querySelector('account-hub-container')?.shadowRoot?.querySelector('account-hub-email');
return hub && [...hub.querySelectorAll('.account-hub-step')].find(s => !s.hidden)?.id;"""
    go_on = hub + "hub.querySelector('account-hub-footer #forward').click();"
    m.run("main.openAccountHub('MAIL')")
    wait_until(lambda: m.run(shown) == "emailAutoConfigSubview", 20, "the form", pause=0.3)
    m.run(hub + fill + "fill('#realName', 'Alice'); fill('#email', args[0]);", alice.address)
    picture("1-address")
    m.run(go_on)
    wait_until(lambda: m.run(shown) == "emailConfigFoundSubview", 30, "what was found", pause=0.3)
    picture("2-found")
    on_screen = m.run(hub + """const t = id => hub.querySelector('#' + id).textContent.trim();
return ['incomingHost', 'incomingPort', 'incomingUsername', 'outgoingHost', 'outgoingPort'].map(t);""")
    assert on_screen == [HOST, "993", alice.address, HOST, "465"], on_screen
    ok(f"from {alice.address} alone it shows {on_screen}")
    m.run(go_on)
    wait_until(lambda: m.run(shown) == "emailPasswordSubview", 20, "the password's form", pause=0.3)
    m.run(hub + fill + "fill('#emailPasswordSubview #password', args[0]);", alice.password)
    picture("3-password")
    m.run(go_on)
    wait_until(lambda: m.run("return !!server"), 40, "the account", pause=0.5)
    time.sleep(3)
    picture("4-account")
    made = m.run("""const s = MailServices.outgoingServer.defaultServer; s.QueryInterface(Ci.nsISmtpServer);
return [server.hostname ?? server.hostName, server.port, server.socketType, server.username, s.hostname, s.port, s.socketType, s.username];""")
    assert made == [HOST, 993, 3, alice.address, HOST, 465, 3, alice.address], made
    ok("with the password it logs in and makes the account")
    with house.smtp(bert) as smtp:
        smtp.sendmail(bert.address, [alice.address], letter(bert.address, alice.address, "Welcome", "Welcome."))
    wait_until(lambda: m.run("server.performBiff(main.msgWindow); const f = folder('Inbox'); "
                             "return !!f && [...f.messages].some(h => h.subject == 'Welcome')"), 60, "a letter", pause=1)
    ok("a letter is in its inbox")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", default="/tmp/cohue-thunderbird-autoconfig", help="where the screenshots go")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    pictures = pathlib.Path(options.pictures)
    pictures.mkdir(parents=True, exist_ok=True)
    if not options.isolated:
        if os.geteuid() != 0:
            print("namespaces, and ports below 1024, want root")
            return 1
        return subprocess.run([*ISOLATED, sys.executable, __file__, "--isolated", "--pictures", str(pictures)], check=False).returncode
    isolate()
    house = Cohue(domain=DOMAIN, hostname=HOST, offset=0)
    screen = bird = None
    try:
        house.init()
        authority = Authority(house.directory)
        chain, key = authority.sign(*NAMES)
        key.chmod(0o600)
        house.settings |= {"tls.member_certificate": str(chain), "tls.member_key": str(key)}
        house.start()
        alice, bert = house.add_member("alice"), house.add_member("bert")
        marionette, display = free_port(), f":{700 + os.getpid() % 200}"
        profile(house.directory / "profile", marionette)
        screen = subprocess.Popen(["Xvfb", display, "-screen", "0", "1280x900x24", "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
        wait_until(lambda: pathlib.Path(f"/tmp/.X11-unix/X{display[1:]}").exists(), 10, "Xvfb")
        bird = subprocess.Popen(["thunderbird", "--profile", str(house.directory / "profile"), "--marionette", "--remote-allow-system-access",
                                 "--no-remote"],
                                env={**os.environ, "DISPLAY": display, "HOME": str(house.directory), "MOZ_CRASHREPORTER_DISABLE": "1",
                                     "LANG": "C.UTF-8"},
                                stdout=open(pictures / "thunderbird.log", "wb"), stderr=subprocess.STDOUT, start_new_session=True)

        def picture(name: str) -> None:
            time.sleep(2)  # for the window to be painted
            subprocess.run(["import", "-display", display, "-window", "root", str(pictures / f"{name}.png")], check=False)
        try:
            steps(Marionette(marionette), alice, bert, house, authority, lambda what: print(f"ok      {what}", flush=True), picture)
        except BaseException:
            picture("failed")
            raise
    finally:
        for process in (bird, screen):
            if process is not None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        house.destroy()
    print(f"pictures in {pictures}")
    return 0


if __name__ == "__main__":
    # So that what was started is also ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
