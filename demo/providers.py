# SPDX-License-Identifier: AGPL-3.0-or-later
"""Providers of all kinds for the demo: what they ask for in the DNS, and what they do when mail comes."""

import contextlib
import http.server
import pathlib
import ssl
import threading

from harness import wait_until
from harness.authority import Authority, server_context, tlsa
from harness.sink import Sink
from harness.world import World

HOST = "providers"  # all of them live there, each at an address of its own
FIRST = 100
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx.{domain}\r\nmax_age: 86400\r\n"

# domain: what it is, its TLSA record (or ""), whether its policy is MTA-STS enforce, how its server behaves.
KINDS: dict[str, tuple[str, str, bool, dict]] = {
    "dane.test": ("its certificate stands in the signed DNS", "good", False, {}),
    "sts.test": ("a policy over HTTPS asks for a proven server", "", True, {}),
    "plain-tls.test": ("encrypts, and proves nothing", "", False, {}),
    "slow.test": ("answers slowly", "", False, {"pause": 0.3}),
    "wrong.test": ("shows another certificate than its DNS names", "wrong", False, {}),
    "stripped.test": ("somebody on the way removes STARTTLS", "good", False, {"starttls": False}),
    "clear.test": ("knows no encryption", "", False, {"starttls": False}),
    "grey.test": ("wants everybody to come again", "", False, {"refuse": "450 4.7.1 greylisted, come again later"}),
    "cuts.test": ("hangs up in the middle of the letter", "", False, {"cut": 20}),
}
NOBODY = "null.test"  # says in the DNS that it takes no mail
DOMAINS = {**{domain: kind[0] for domain, kind in KINDS.items()}, NOBODY: "takes no mail, says its DNS"}


class Providers:
    def __init__(self, place: pathlib.Path) -> None:
        self.authority = Authority(place)
        self.open = contextlib.ExitStack()
        self.addresses = {domain: f"10.53.0.{FIRST + n}" for n, domain in enumerate([*KINDS, "policies"])}
        self.chains = {domain: self.authority.sign(f"mx.{domain}", f"mta-sts.{domain}") for domain in KINDS}
        self.records = {NOBODY: ["@ MX 0 ."]}
        for domain, (_, dane, policy, _) in KINDS.items():
            self.records[domain] = [f"@ MX 10 mx.{domain}.", f"mx A {self.addresses[domain]}"]
            if dane:
                self.records[domain].append(f"_25._tcp.mx {tlsa(self.chains[domain][0], wrong=dane == 'wrong')}")
            if policy:
                self.records[domain] += ['_mta-sts TXT "v=STSv1; id=1;"', f"mta-sts A {self.addresses['policies']}"]

    def start(self, world: World) -> None:
        world.network.add(HOST)
        for address in self.addresses.values():
            world.network.ip(HOST, f"addr add {address}/24 dev eth0")
        with world.inside(HOST):
            for domain, (_, _, _, behaviour) in KINDS.items():
                context = server_context(*self.chains[domain])
                self.open.enter_context(Sink(address=self.addresses[domain], port=25, context=context, **behaviour))
            self.serve_policies()

    def serve_policies(self) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(POLICY.format(domain=self.headers["Host"].removeprefix("mta-sts.")).encode())

            def log_message(self, *_: object) -> None:
                pass
        server = http.server.ThreadingHTTPServer((self.addresses["policies"], 443), Handler)
        server.daemon_threads = True
        context: ssl.SSLContext = server_context(*self.chains["sts.test"])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.open.callback(server.server_close)
        self.open.callback(server.shutdown)

    def stop(self) -> None:
        self.open.close()


def outcomes(world: World, author: str, seconds: float = 60) -> dict[str, str]:
    """What the author's journal says first of each letter: "delivered, protected by DANE", "deferred: ...", "failed: ..."."""
    assert world.house is not None
    member = world.house.members[author]
    told: dict[str, str] = {}

    def all_told() -> bool:
        with world.inside("house"):
            lines = world.house.cli_json("journal", author, stdin=member.password + "\n")
        for line in lines:
            # "delivered ... to DOMAIN, ..." or "... by DOMAIN, ...".
            words = line.get("text", "").replace(",", " ").split()
            domain = next((word.rstrip(".:") for word in words if word.rstrip(".:") in DOMAINS), None)
            if domain is None or domain in told:
                continue
            if line["event"] == "delivered":
                link = line.get("link", "")
                told[domain] = "delivered, " + (f"protected by {link}" if link in ("DANE", "MTA-STS") else link)
            elif line["event"] in ("deferred", "failed"):
                told[domain] = f"{line['event']}: {line.get('reason', '')}"
        return len(told) == len(DOMAINS)
    wait_until(all_told, seconds, "what became of all letters", pause=0.5)
    return told
