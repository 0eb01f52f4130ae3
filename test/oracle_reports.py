#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares the reports that src/reports writes with what others say that they are.

oracle_reports.py REPORTS_OWN_TEST

The aggregate report is held against the schema of RFC 7489 appendix C by xmllint (libxml2-utils), the TLS report against the fields of RFC 8460
section 4.4 as Python reads them. Exits with 77 (skipped) without xmllint.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime

SKIPPED = 77


def words(name: str, *values: str) -> str:
    return (f'<xs:simpleType name="{name}"><xs:restriction base="xs:string">'
            + "".join(f'<xs:enumeration value="{v}"/>' for v in values) + "</xs:restriction></xs:simpleType>")


def fields(name: str, form: str, *lines: str) -> str:
    """Each line: name, type, and how often (least, most) where that is not once."""
    rows = ""
    for line in lines:
        element, kind, *often = line.split()
        rows += f'<xs:element name="{element}" type="{kind}"'
        rows += f' minOccurs="{often[0]}" maxOccurs="{often[1]}"' if often else ""
        rows += "/>"
    return f'<xs:complexType name="{name}"><xs:{form}>{rows}</xs:{form}></xs:complexType>'


# Appendix C. Its target namespace is left out, as all who send such reports do.
SCHEMA = '<?xml version="1.0"?><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">' + "".join((
    fields("DateRangeType", "all", "begin xs:integer", "end xs:integer"),
    fields("ReportMetadataType", "sequence", "org_name xs:string", "email xs:string", "extra_contact_info xs:string 0 1",
           "report_id xs:string", "date_range DateRangeType", "error xs:string 0 unbounded"),
    words("AlignmentType", "r", "s"), words("DispositionType", "none", "quarantine", "reject"),
    fields("PolicyPublishedType", "all", "domain xs:string", "adkim AlignmentType 0 1", "aspf AlignmentType 0 1",
           "p DispositionType", "sp DispositionType", "pct xs:integer", "fo xs:string"),
    words("DMARCResultType", "pass", "fail"),
    words("PolicyOverrideType", "forwarded", "sampled_out", "trusted_forwarder", "mailing_list", "local_policy", "other"),
    fields("PolicyOverrideReason", "all", "type PolicyOverrideType", "comment xs:string 0 1"),
    fields("PolicyEvaluatedType", "sequence", "disposition DispositionType", "dkim DMARCResultType", "spf DMARCResultType",
           "reason PolicyOverrideReason 0 unbounded"),
    r'<xs:simpleType name="IPAddress"><xs:restriction base="xs:string"><xs:pattern value="'
    r'((1?[0-9]?[0-9]|2[0-4][0-9]|25[0-5])\.){3}(1?[0-9]?[0-9]|2[0-4][0-9]|25[0-5])|([A-Fa-f0-9]{0,4}:){2,7}[A-Fa-f0-9]{0,4}"/>'
    "</xs:restriction></xs:simpleType>",
    fields("RowType", "all", "source_ip IPAddress", "count xs:integer", "policy_evaluated PolicyEvaluatedType"),
    fields("IdentifierType", "all", "envelope_to xs:string 0 1", "envelope_from xs:string 1 1", "header_from xs:string 1 1"),
    words("DKIMResultType", "none", "pass", "fail", "policy", "neutral", "temperror", "permerror"),
    fields("DKIMAuthResultType", "all", "domain xs:string", "selector xs:string 0 1", "result DKIMResultType",
           "human_result xs:string 0 1"),
    words("SPFDomainScope", "helo", "mfrom"),
    words("SPFResultType", "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"),
    fields("SPFAuthResultType", "all", "domain xs:string", "scope SPFDomainScope", "result SPFResultType"),
    fields("AuthResultType", "sequence", "dkim DKIMAuthResultType 0 unbounded", "spf SPFAuthResultType 1 unbounded"),
    fields("RecordType", "sequence", "row RowType", "identifiers IdentifierType", "auth_results AuthResultType"),
    fields("Feedback", "sequence", "version xs:decimal", "report_metadata ReportMetadataType",
           "policy_published PolicyPublishedType", "record RecordType 1 unbounded"),
    '<xs:element name="feedback" type="Feedback"/></xs:schema>'))

RESULTS = {"starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
           "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error",
           "sts-policy-invalid", "sts-webpki-invalid"}


def is_coarse(n: int) -> bool:
    return n & (n - 1) == 0


def check_aggregate(place: pathlib.Path, report: pathlib.Path) -> None:
    schema = place / "schema.xsd"
    schema.write_text(SCHEMA)
    said = subprocess.run(["xmllint", "--noout", "--nonet", "--schema", schema, report], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    # The schema says something: without a row's address, or with another word, it is none.
    text = report.read_text()
    for changed in (re.sub("<source_ip>.*?</source_ip>", "", text, count=1), text.replace("<spf>pass</spf>", "<spf>good</spf>")):
        assert changed != text
        report.write_text(changed)
        assert subprocess.run(["xmllint", "--noout", "--schema", schema, report], capture_output=True).returncode != 0
    assert all(is_coarse(int(n)) for n in re.findall("<count>(.*?)</count>", text)), text
    assert all(a.endswith(".0") for a in re.findall("<source_ip>(.*?)</source_ip>", text)), text


def check_tls(report: pathlib.Path) -> None:
    said = json.loads(report.read_text())
    assert set(said) == {"organization-name", "date-range", "contact-info", "report-id", "policies"}
    begin, end = (datetime.fromisoformat(said["date-range"][f"{w}-datetime"].replace("Z", "+00:00")) for w in ("start", "end"))
    assert (begin.hour, begin.minute, (end - begin).total_seconds()) == (0, 0, 86399), said["date-range"]
    kinds = []
    for policy in said["policies"]:
        kinds.append(policy["policy"]["policy-type"])
        assert policy["policy"]["policy-domain"] == "peer.test"
        details = policy.get("failure-details", [])
        assert {d["result-type"] for d in details} <= RESULTS
        summary = policy["summary"]
        assert summary["total-failure-session-count"] == sum(d["failed-session-count"] for d in details)
        assert all(set(d) == {"result-type", "failed-session-count"} and is_coarse(d["failed-session-count"]) for d in details)
        assert is_coarse(summary["total-successful-session-count"])
    assert kinds == ["sts", "tlsa"], kinds


def main() -> int:
    if shutil.which("xmllint") is None:
        print("skipped: xmllint is not here")
        return SKIPPED
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        aggregate, tls = place / "report.xml", place / "report.json"
        subprocess.run([sys.argv[1], aggregate, tls], check=True)
        check_tls(tls)
        check_aggregate(place, aggregate)
    return 0


sys.exit(main())
