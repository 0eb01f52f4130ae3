# SPDX-License-Identifier: AGPL-3.0-or-later
"""rspamd as a milter that judges senders and does nothing else: DKIM, SPF, DMARC, ARC, and the results in a header field."""

import os
import socket

from harness.wait import free_port, wait_until
from peers.cell import VMAIL, Cell, layer

# Debian's own settings of these are read; of all others, none: what is not configured does not run.
MODULES = ("dkim", "spf", "dmarc", "arc", "milter_headers")
NOTHING_MORE = """mime_types maillist mid chartable emails forged_recipients hfilter once_received phishing rbl surbl multimap
 whitelist greylist ratelimit fuzzy_check bayes_expiry neural reputation replies history_redis regexp trie url_redirector
 force_actions settings asn elastic clickhouse metadata_exporter antivirus external_services spamassassin dkim_signing mx_check
 http_headers known_senders bounce external_relay aws_s3 bimi p0f dcc spamtrap metric_exporter rspamd_update""".split()


class RspamdMilter:
    """`resolver`: (address, port) of the DNS it asks."""

    packages = ["rspamd"]

    def __init__(self, resolver: tuple[str, int], workers: int = 2, address: str = "127.0.0.1", directory: str | None = None) -> None:
        self.address, self.port = address, free_port()
        self.cell = Cell(layer("rspamd", self.packages), directory)
        self.process = None
        own = "".join(f'.include "/etc/rspamd/modules.d/{name}.conf"\n' for name in MODULES)
        off = "".join(f"{name} {{ enabled = false; }}\n" for name in NOTHING_MORE)
        self.cell.write("etc/rspamd/local.d/milter_headers.conf", 'use = ["authentication-results"];\nskip_local = false;\n')
        # The rules of its own (regular expressions, headers, HTML) are left out as well.
        self.cell.write("etc/rspamd/none.lua", 'require "global_functions" ()\nconfig["regexp"] = {}\nrspamd_maps = {}\n')
        # To compile the whole list of public suffixes takes it half a minute; fewer of them are in its favour.
        self.cell.write("etc/rspamd/suffixes", "test\ncom\norg\nnet\n")
        # Whoever comes from this machine is judged as everybody else.
        self.cell.write("etc/rspamd/rspamd.conf", f"""lua = "/etc/rspamd/none.lua";
{own}{off}options {{
  pidfile = "/run/rspamd/rspamd.pid";
  filters = "dkim";
  cache_file = "/var/lib/rspamd/symbols.cache";
  hs_cache_dir = "/var/lib/rspamd/";
  tempdir = "/var/tmp";
  url_tld = "/etc/rspamd/suffixes";
  dns {{ nameserver = ["{resolver[0]}:{resolver[1]}:1"]; timeout = 2s; sockets = 16; retransmits = 5; }}
  local_addrs = ["192.0.2.255/32"];
  check_local = true;
  check_authed = true;
  history_rows = 1;
}}
dkim {{ check_local = true; }}
logging {{ type = "file"; filename = "/var/log/rspamd.log"; level = "error"; }}
actions {{ reject = 10000; add_header = 9999; greylist = 9998; }}
worker "rspamd_proxy" {{
  bind_socket = "{address}:{self.port}";
  milter = yes;
  timeout = 120s;
  upstream "local" {{ default = yes; self_scan = yes; }}
  count = {workers};
  max_retries = 5;
}}
modules {{ path = "/usr/share/rspamd/plugins/"; fallback_path = "/usr/share/rspamd/lua"; }}
""")
        for part in ("run/rspamd", "var/lib/rspamd"):
            self.cell.path(part).mkdir()
            os.chown(self.cell.path(part), VMAIL, VMAIL)

    def __enter__(self) -> "RspamdMilter":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = self.cell.spawn(["/usr/bin/rspamd", "-f", "-u", "vmail", "-g", "vmail", "-c", "/etc/rspamd/rspamd.conf"])
        wait_until(self.answers, 20, "rspamd answers", pause=0.05)

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"rspamd ended: {self.cell.logs()}")
        with socket.create_connection((self.address, self.port), 2):
            return True

    def stop(self) -> None:
        self.cell.destroy()

    def log(self) -> str:
        return self.cell.logs()
