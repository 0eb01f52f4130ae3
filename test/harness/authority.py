# SPDX-License-Identifier: AGPL-3.0-or-later
"""Certificates as others have them: an authority, what it signs, and their TLSA records."""

import hashlib
import pathlib
import ssl
import subprocess


class Authority:
    def __init__(self, directory: pathlib.Path, name: str = "authority") -> None:
        self.directory = directory
        self.name = name
        self.certificate = directory / f"{name}.crt"
        self.key = directory / f"{name}.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-addext", "basicConstraints=critical,CA:TRUE", "-days", "3", "-keyout", self.key, "-out", self.certificate)

    @staticmethod
    def openssl(*words: object) -> bytes:
        return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout

    def sign(self, *names: str, days: int = 2) -> tuple[pathlib.Path, pathlib.Path]:
        """Chain (leaf, authority) and key for these names."""
        stem = self.directory / f"{self.name}-{names[0]}"
        leaf, key, request, chain = (stem.with_name(stem.name + end) for end in (".crt", ".key", ".csr", ".chain"))
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                     "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names), "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-days", days,
                     "-copy_extensions", "copy", "-out", leaf)
        chain.write_bytes(leaf.read_bytes() + self.certificate.read_bytes())
        return chain, key


def server_context(chain: pathlib.Path, key: pathlib.Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def tlsa(certificate: pathlib.Path, usage: int = 3, wrong: bool = False) -> str:
    """Usage, selector 1 (its key), SHA-256 of the first certificate in the file."""
    public = Authority.openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True, capture_output=True).stdout
    digest = hashlib.sha256(der + b"other" * wrong).hexdigest()
    return f"TLSA {usage} 1 1 {digest}"
