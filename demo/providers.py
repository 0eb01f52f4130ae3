# SPDX-License-Identifier: AGPL-3.0-or-later
"""Providers of all kinds for the demo: what they ask for in the DNS, and what they do when mail comes."""

import contextlib
import http.server
import pathlib
import ssl
import threading

from harness import wait_until
from harness.authority import Authority, server_context, tlsa
from harness.relay import Relay
from harness.sink import Sink
from harness.world import World
from peers import Exim, OpenSMTPD
from peers.mta import Peer

HOST = "providers"  # all of them live there, each at an address of its own
FIRST = 100
DNS = "10.53.0.1"  # the world's first host
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx.{domain}\r\nmax_age: 86400\r\n"

# domain: what it is, its TLSA record (or ""), whether its policy is MTA-STS enforce, how its server behaves, what comes of a letter to it.
KINDS: dict[str, tuple[str, str, bool, dict, str]] = {
    "exim.test": ("Debian's Exim; its certificate is in the signed DNS", "good", False, {"peer": Exim}, "delivered, protected by DANE"),
    "opensmtpd.test": ("Debian's OpenSMTPD, whose TLS is broken: an exception", "", False, {"peer": OpenSMTPD}, "delivered, clear"),
    "dane.test": ("its certificate stands in the signed DNS", "good", False, {}, "delivered, protected by DANE"),
    "sts.test": ("a policy over HTTPS asks for a proven server", "", True, {}, "delivered, protected by MTA-STS"),
    "plain-tls.test": ("encrypts, and proves nothing", "", False, {}, "delivered, encrypted, not verified"),
    "slow.test": ("answers slowly", "", False, {"pause": 0.3}, "delivered, encrypted, not verified"),
    "wrong.test": ("shows another certificate than its DNS names", "wrong", False, {},
                   "deferred: The server's certificate is none of those that the domain's DNS names (DANE)"),
    "stripped.test": ("somebody on the way removes STARTTLS", "good", False, {"strip": True}, "deferred: The server offers no encryption"),
    "clear.test": ("knows no encryption", "", False, {"starttls": False}, "deferred: The server offers no encryption"),
    "grey.test": ("wants everybody to come again", "", False, {"grey": 0.1}, "deferred: 451 4.7.1 Greylisting in action, please come back later"),
    "cuts.test": ("hangs up in the middle of the letter", "", False, {"cut": 20}, "deferred: The connection was lost"),
}
NOBODY = "null.test"  # says in the DNS that it takes no mail
DOMAINS = {**{domain: kind[0] for domain, kind in KINDS.items()}, NOBODY: "takes no mail, says its DNS"}
EXPECTED = {**{domain: kind[4] for domain, kind in KINDS.items()}, NOBODY: "failed: The domain says that it takes no mail (RFC 7505)"}
GREY, STRIPPED = "grey.test", "stripped.test"
EXCEPTIONS = "opensmtpd.test"  # tls.exceptions


class Providers:
    def __init__(self, place: pathlib.Path) -> None:
        self.authority = Authority(place)
        self.open = contextlib.ExitStack()
        self.addresses = {domain: f"10.53.0.{FIRST + n}" for n, domain in enumerate([*KINDS, "policies", "behind"])}
        self.chains = {domain: self.authority.sign(f"mx.{domain}", f"mta-sts.{domain}") for domain in KINDS}
        self.records = {NOBODY: ["@ MX 0 ."]}
        self.peers: dict[str, Peer] = {}
        self.sinks: dict[str, Sink] = {}
        self.stripping: Relay | None = None
        try:
            for domain, (_, dane, policy, behaviour, _) in KINDS.items():
                self.records[domain] = [f"@ MX 10 mx.{domain}.", f"mx A {self.addresses[domain]}"]
                if "peer" in behaviour:
                    peer = behaviour["peer"](domain, f"mx.{domain}", port=25, address=self.addresses[domain], resolver=DNS, users=("anna",))
                    self.open.callback(peer.stop)
                    self.peers[domain] = peer
                if dane:
                    chain = self.peers[domain].cell.path("etc/peer.crt") if domain in self.peers else self.chains[domain][0]
                    self.records[domain].append(f"_25._tcp.mx {tlsa(chain, wrong=dane == 'wrong')}")
                if policy:
                    self.records[domain] += ['_mta-sts TXT "v=STSv1; id=1;"', f"mta-sts A {self.addresses['policies']}"]
        except BaseException:
            self.stop()
            raise

    def start(self, world: World) -> None:
        world.network.add(HOST)
        for address in self.addresses.values():
            world.network.ip(HOST, f"addr add {address}/24 dev eth0")
        with world.inside(HOST):
            for domain, (_, _, _, behaviour, _) in KINDS.items():
                if domain in self.peers:
                    self.peers[domain].start()
                    continue
                context = server_context(*self.chains[domain])
                address = self.addresses[domain]
                behaviour = dict(behaviour)
                if behaviour.pop("strip", False):
                    # The provider offers STARTTLS at an address behind; whoever asks at its own one asks through the relay.
                    behind = self.addresses["behind"]
                    self.stripping = self.open.enter_context(Relay(25, behind, listen=address, listen_port=25, strip=True))
                    address = behind
                self.sinks[domain] = self.open.enter_context(Sink(address=address, port=25, context=context, **behaviour))
            self.serve_policies()

    def took(self, domain: str) -> int:
        """Letters that are really there."""
        if domain in self.peers:
            return len(self.peers[domain].inbox("anna"))
        return len(self.sinks[domain].messages) if domain in self.sinks else 0

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


def outcome(line: dict) -> str:
    """What a line of the journal says: "delivered, protected by DANE", "deferred: ...", "failed: ..."; "": something else."""
    if line["event"] == "delivered":
        link = line.get("link", "")
        return "delivered, " + (f"protected by {link}" if link in ("DANE", "MTA-STS") else link)
    return f"{line['event']}: {line.get('reason', '')}" if line["event"] in ("deferred", "failed") else ""


def told_of(world: World, author: str) -> dict[str, list[str]]:
    """What the author's journal says of each letter to these providers, in the order in which it happened."""
    assert world.house is not None
    told: dict[str, list[str]] = {}
    with world.inside("house"):
        lines = world.house.cli_json("journal", author, stdin=world.house.members[author].password + "\n")
    for line in lines:
        # "delivered ... to DOMAIN, ..." or "... by DOMAIN, ...".
        words = line.get("text", "").replace(",", " ").split()
        domain = next((word.rstrip(".:") for word in words if word.rstrip(".:") in DOMAINS), None)
        if domain is not None and outcome(line):
            told.setdefault(domain, []).append(outcome(line))
    return told


def outcomes(world: World, author: str, seconds: float = 60) -> dict[str, str]:
    """What it says first of each; "nothing" where there is none in that time."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: len(told_of(world, author)) == len(DOMAINS), seconds, "what became of all letters", pause=0.5)
    told = told_of(world, author)
    return {domain: told.get(domain, ["nothing"])[0] for domain in DOMAINS}


def second_time(world: World, author: str, seconds: float = 60) -> str:
    """Two hours later: what became of the letter to whoever wanted it to come again."""
    assert world.house is not None
    with world.inside("house"):
        world.house.pass_time(2)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: any(said.startswith("delivered") for said in told_of(world, author)[GREY]), seconds, "the second visit", pause=0.5)
    return told_of(world, author)[GREY][-1]
