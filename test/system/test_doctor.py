# SPDX-License-Identifier: AGPL-3.0-or-later
"""`cohue doctor` in a house that is well, and in one of which much is wrong."""

import json
import random
import unittest

from harness.cohue import Cohue
from peers import Knot, peers_available

NET = [random.randrange(1, 255), random.randrange(1, 255)]
DNS, HOUSE = (f"127.{NET[0]}.{NET[1]}.{n}" for n in (10, 20))
REVERSE = ".".join(reversed(HOUSE.split("."))) + ".in-addr.arpa."


def findings(house: Cohue, *settings: str) -> tuple[int, dict[str, list[dict]]]:
    ran = house.cli("doctor", "--json", check=False, timeout=120)
    by_check: dict[str, list[dict]] = {}
    for finding in json.loads(ran.stdout):
        by_check.setdefault(finding["check"], []).append(finding)
    return ran.returncode, by_check


class Doctor(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        peers_available()

    def examine(self, change, start: bool = True, members: bool = True) -> tuple[int, dict[str, list[dict]]]:
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
                    f.write(f"\nresolver.stub = {DNS}\nresolver.trust_anchor = {knot.anchor}\n")
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
        self.assertEqual(found["tlsa"][0]["level"], "hint")
        self.assertTrue(any(f["level"] == "hint" for f in found["srv"]))

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
