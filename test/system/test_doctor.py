# SPDX-License-Identifier: AGPL-3.0-or-later
"""`cohue doctor` in a house that is well, and in one of which much is wrong."""

import contextlib
import hashlib
import json
import random
import socket
import subprocess
import threading
import time
import unittest

from harness.cohue import Cohue
from peers import Knot, peers_available

NET = [random.randrange(1, 255), random.randrange(1, 255)]
DNS, HOUSE, DRIP = (f"127.{NET[0]}.{NET[1]}.{n}" for n in (10, 20, 30))
REVERSE = ".".join(reversed(HOUSE.split("."))) + ".in-addr.arpa."


def findings(house: Cohue, *settings: str) -> tuple[int, dict[str, list[dict]]]:
    ran = house.cli("doctor", "--json", check=False, timeout=120)
    by_check: dict[str, list[dict]] = {}
    for finding in json.loads(ran.stdout):
        by_check.setdefault(finding["check"], []).append(finding)
    return ran.returncode, by_check


class Doctor(unittest.TestCase):
    seconds = 35

    @classmethod
    def setUpClass(cls) -> None:
        peers_available()

    def examine(self, change, start: bool = True, members: bool = True, more: str = "") -> tuple[int, dict[str, list[dict]]]:
        """The findings where the DNS says what `cohue dns` printed, after `change` (of the list of records)."""
        house = Cohue()
        try:
            house.init()
            records = [(r["name"], r["type"], r["value"]) for r in house.cli_json("dns")]
            records = [(name, kind, HOUSE if kind == "A" else value) for name, kind, value in records if kind != "AAAA"]
            records.append((REVERSE, "PTR", "mail.house.test."))
            zones = {"house.test": [], "127.in-addr.arpa": []}
            for name, kind, value in change(records):
                zones["127.in-addr.arpa" if kind == "PTR" else "house.test"].append(f"{name} {kind} {value}")
            with Knot(zones, address=DNS, port=53) as knot:
                with open(house.home / "cohue.conf", "a") as f:
                    f.write(f"\nresolver.stub = {DNS}\nresolver.trust_anchor = {knot.anchor}\n{more}\n")
                if start:
                    house.start()
                    if members:
                        house.add_member("anna")
                return findings(house)
        finally:
            house.destroy()

    def test_a_house_that_is_well(self) -> None:
        code, found = self.examine(lambda records: records)
        bad = [f for name, list_ in found.items() if name != "swap" for f in list_ if f["level"] == "bad"]
        self.assertEqual(bad, [])
        self.assertEqual(code, 1 if any(f["level"] == "bad" for f in found["swap"]) else 0)
        for check in ("address", "mx", "ptr", "spf", "dmarc", "tlsa", "srv", "port-25", "port-465", "port-587",
                      "port-993", "disk", "service", "addresses"):
            self.assertTrue(all(f["level"] == "good" for f in found[check]), found[check])
        self.assertEqual([f["level"] for f in found["dns"]], ["good"])
        # The address is of this machine: nothing left it, and that is said.
        self.assertEqual([f["level"] for f in found["outside"]], ["unknown"])
        self.assertIn("another machine", found["outside"][0]["remedy"])
        self.assertEqual([f["level"] for f in found["port-80"]], ["good"])
        # What the house says is found, but under its own certificate no stranger takes it.
        for check in ("mta-sts-web", "autoconfig-web"):
            self.assertEqual([f["level"] for f in found[check]], ["hint"], found[check])
            self.assertIn("trust", found[check][0]["what"])
        self.assertNotIn("dnssec", found)  # the zone is signed
        self.assertTrue(any("signed by itself" in f["what"] and f["remedy"] for f in found["certificate"]))

    def test_what_is_wrong_is_named_with_its_remedy(self) -> None:
        def spoil(records):
            for name, kind, value in records:
                if kind == "MX":
                    yield name, kind, "10 elsewhere.test."
                elif kind == "TXT" and "v=spf1" in value:
                    yield name, kind, '"v=spf1 ip4:192.0.2.1 -all"'
                elif kind == "TLSA":
                    yield name, kind, "3 1 1 " + "00" * 32
                elif kind == "PTR":
                    yield name, kind, "dialup.elsewhere.test."
                elif kind == "SRV" and name.startswith("_imaps."):
                    yield name, kind, "0 1 1993 mail.house.test."
                elif not name.startswith("_dmarc"):
                    yield name, kind, value
        code, found = self.examine(spoil, start=False)
        self.assertEqual(code, 1)
        for check, word in (("mx", "cohue dns"), ("spf", "TXT"), ("ptr", "PTR"), ("dmarc", "_dmarc.house.test."),
                            ("port-25", "firewall"), ("port-993", "firewall"), ("service", "run")):
            with self.subTest(check):
                worst = [f for f in found[check] if f["level"] == "bad"]
                self.assertTrue(worst, found[check])
                self.assertIn(word, worst[0]["remedy"])
        # The zone is signed: who asks for DANE does not deliver.
        self.assertEqual([f["level"] for f in found["tlsa"]], ["bad"])
        self.assertIn("another key", found["tlsa"][0]["what"])
        self.assertIn("3 1 1 ", found["tlsa"][0]["remedy"])
        self.assertTrue(any(f["level"] == "hint" for f in found["srv"]))

    def bad(self, found: dict[str, list[dict]], check: str, *words: str) -> None:
        worst = [f for f in found[check] if f["level"] == "bad"]
        self.assertTrue(worst, found[check])
        told = " ".join(f["what"] for f in worst)
        for word in words:
            self.assertIn(word, told)
        self.assertTrue(all(f.get("remedy") for f in worst), worst)

    def test_what_stands_beside_a_right_record_and_undoes_it(self) -> None:
        code, found = self.examine(lambda records: [*records, ("house.test.", "MX", "5 first.test."), ("house.test.", "MX", "20 last.test."),
                                                    ("house.test.", "TXT", '"v=spf1 +all"'), ("mail.house.test.", "TXT", '"v=spf1 +all"'),
                                                    ("_dmarc.house.test.", "TXT", '"v=DMARC1; p=none"'),
                                                    ("_mta-sts.house.test.", "TXT", '"v=STSv1; id=7"')], start=False)
        self.assertEqual(code, 1)
        self.bad(found, "mx", "first.test. (MX 5) before this house (MX 10)")
        self.assertEqual([f["level"] for f in found["mx"] if "last.test." in f["what"]], ["hint"])
        self.bad(found, "spf", "house.test. has 2 SPF records", "mail.house.test. has 2 SPF records")
        self.bad(found, "dmarc", "2 records", "as if there were none")
        self.bad(found, "mta-sts", "2 records", "as if there were none")
        self.assertEqual([f["level"] for f in found["tlsa"]], ["good"])
        self.assertFalse([f for list_ in found.values() for f in list_ if f["level"] == "good" and "remedy" in f], "nothing is to be done")

    def test_records_that_are_there_and_wrong(self) -> None:
        def spoil(records):
            for name, kind, value in records:
                if name == "mail.house.test." and kind in ("A", "TXT"):
                    if kind == "A":
                        yield from ((name, "CNAME", "real.house.test."), ("real.house.test.", "A", value))
                elif kind == "MX":
                    yield name, kind, "0 ."
                elif "v=STSv1" in value:
                    yield name, kind, '"v=STSv1; id=former"'
                elif "v=DMARC1" in value:
                    yield name, kind, '"v=DMARC1; p=perhaps"'
                elif "k=ed25519" in value:
                    yield name, kind, value
                    yield name, kind, '"v=DKIM1; k=ed25519; p="'
                elif kind == "TLSA":
                    yield name, kind, "3 0 1 " + "00" * 32
                else:
                    yield name, kind, value
        code, found = self.examine(spoil, more="mta_sts = enforce")
        self.assertEqual(code, 1)
        self.bad(found, "mx", "takes no mail", "alias (CNAME)")
        self.bad(found, "mta-sts", "not the present policy's")
        self.bad(found, "dmarc", "no policy (p=)")
        self.bad(found, "dkim", "2 records")
        # Not what is compared octet by octet: what port 25 shows decides.
        self.bad(found, "tlsa", "certificate of port 25 fits no TLSA record")
        # The house has others refuse what is not proven, and proves nothing.
        self.bad(found, "certificate", "port 25 is signed by itself", "mta_sts = enforce")

    def test_a_tlsa_record_of_another_form_or_none(self) -> None:
        with Cohue() as house:
            der = subprocess.run(["openssl", "x509", "-in", house.home / "tls/mx.crt", "-outform", "DER"], capture_output=True, check=True).stdout
            records = [(r["name"], r["type"], r["value"]) for r in house.cli_json("dns")]
            for tlsa, level, word in ((["3 0 2 " + hashlib.sha512(der).hexdigest()], "good", "port 25 fits"),
                                      (["3 1 1 " + "22" * 32, "3 0 1 " + hashlib.sha256(der).hexdigest()], "good", "port 25 fits"),
                                      (["1 1 1 " + "22" * 32], "hint", "usage 3 or 2"), ([], "hint", "is not there")):
                zone = [f"{name} {kind} {HOUSE if kind == 'A' else value}" for name, kind, value in records if kind not in ("AAAA", "TLSA")]
                zone += [f"_25._tcp.mail.house.test. TLSA {value}" for value in tlsa]
                with self.subTest(tlsa=tlsa), Knot({"house.test": zone}, address=DNS, port=53) as knot:
                    conf = house.home / "cohue.conf"
                    lines = [line for line in conf.read_text().splitlines() if not line.startswith("resolver.")]
                    conf.write_text("\n".join([*lines, f"resolver.stub = {DNS}", f"resolver.trust_anchor = {knot.anchor}", ""]))
                    _, found = findings(house)
                    self.assertEqual([f["level"] for f in found["tlsa"]], [level])
                    self.assertIn(word, found["tlsa"][0]["what"])

    def test_who_drips_octets_holds_it_for_seconds(self) -> None:
        def drip(listener: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=drop_by_drop, args=(listener.accept()[0],), daemon=True).start()

        def drop_by_drop(line: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    line.sendall(b"2")
                    time.sleep(1)
        with contextlib.ExitStack() as ends:
            house = Cohue()  # never started: its ports are others'
            ends.callback(house.destroy)
            house.init()
            records = [(r["name"], r["type"], r["value"]) for r in house.cli_json("dns")]
            for port in (25, 465):
                listener = ends.enter_context(socket.create_server((DRIP, house.port(port))))
                threading.Thread(target=drip, args=(listener,), daemon=True).start()
            zone = [f"{name} {kind} {DRIP if kind == 'A' else value}" for name, kind, value in records if kind != "AAAA"]
            with Knot({"house.test": zone}, address=DNS, port=53) as knot:
                with open(house.home / "cohue.conf", "a") as f:
                    f.write(f"\nresolver.stub = {DNS}\nresolver.trust_anchor = {knot.anchor}\n")
                _, found = findings(house)  # which waits for two minutes at most
            self.bad(found, "port-25", "no SMTP greeting")
            self.bad(found, "port-465", "no TLS connection")

    def test_without_a_dns_nothing_is_called_wrong_that_is_not_known(self) -> None:
        with Cohue() as house:
            with open(house.home / "cohue.conf", "a") as f:
                f.write("\nresolver.stub = 127.0.0.1@9\n")
            code, found = findings(house)
            self.assertEqual(code, 1)
            self.assertEqual([f["level"] for f in found["dns"]], ["bad"])
            self.assertIn("could not be checked", found["dns"][0]["what"])
            self.assertIn("127.0.0.1", found["outside"][0]["what"])
            for check in ("address", "mx", "dmarc"):
                self.assertEqual([f["level"] for f in found[check]], ["unknown"])
            self.assertEqual(found["port-25"][0]["level"], "good")
