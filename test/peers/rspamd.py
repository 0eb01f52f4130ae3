# SPDX-License-Identifier: AGPL-3.0-or-later
"""Debian's rspamd in a cell, as docs/junk.md says how to set it up: it logs nothing of messages, keeps nothing, and asks nobody."""

import os
import socket
import subprocess

from harness.wait import free_port, wait_until
from peers.cell import USERS, Cell, layer, peers_available

# Modules that ask others, or keep what they have seen.
OFF = ("antivirus arc asn bimi clickhouse dcc dkim dkim_signing dmarc elastic external_services fuzzy_check greylist history_redis "
       "metadata_exporter metric_exporter milter_headers mx_check neural phishing ratelimit rbl replies reputation rspamd_update spf surbl url_redirector").split()


class Rspamd:
    def __init__(self) -> None:
        peers_available()
        self.port = free_port()
        self.cell = Cell(layer("rspamd", ["rspamd"]))
        for name in OFF:
            self.cell.write(f"etc/rspamd/local.d/{name}.conf", "enabled = false;\n")
        self.cell.write("etc/rspamd/override.d/logging.inc", 'level = "error"; log_format = ""; log_re_cache = false;\n')
        self.cell.write("etc/rspamd/override.d/options.inc",
                        'filters = "chartable,regexp"; history_rows = 1; history_file = "/dev/null"; disable_hyperscan = true;\n'
                        # Thousands of suffixes are compiled for seconds at each start; here a few are enough.
                        'url_tld = "/etc/rspamd/suffixes";\n'
                        'dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }\n')
        self.cell.write("etc/rspamd/suffixes", "com\norg\ntest\nexample\n")
        self.cell.write("etc/rspamd/override.d/worker-normal.inc", f'bind_socket = "127.0.0.1:{self.port}"; count = 1;\n')
        self.cell.write("etc/rspamd/override.d/worker-controller.inc", "enabled = false;\n")
        self.cell.write("etc/rspamd/override.d/worker-proxy.inc", "enabled = false;\n")
        self.cell.write("etc/rspamd/override.d/classifier-bayes.conf", "enabled = false;\n")
        for part in ("var/lib/rspamd", "var/log/rspamd", "run/rspamd"):
            path = self.cell.path(part)
            path.mkdir(parents=True)
            os.chown(path, USERS["_rspamd"], USERS["_rspamd"])
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Rspamd":
        try:
            self.process = self.cell.spawn(["/usr/bin/rspamd", "-f", "-c", "/etc/rspamd/rspamd.conf", "-u", "_rspamd", "-g", "_rspamd"])
            wait_until(self.answers, 60, "rspamd answers", pause=0.1)
        except BaseException:
            self.cell.destroy()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cell.destroy()

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"rspamd ended: {self.cell.logs()}")
        with socket.create_connection(("127.0.0.1", self.port), 2) as s:
            s.settimeout(10)
            s.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
            return b"pong" in s.recv(512)

    def stop(self) -> None:
        self.cell.end()
