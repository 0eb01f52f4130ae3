# SPDX-License-Identifier: AGPL-3.0-or-later
"""Postfix, Exim and OpenSMTPD as another provider: each accepts mail for its domain with STARTTLS into Maildirs, and
sends what a local client injects to the hosts named in `routes` (or by MX), with STARTTLS required."""

import os
import smtplib
import socket

from harness.wait import free_port, wait_until
from peers.cell import USERS, VMAIL, Cell, layer


class Peer:
    """`routes`: domain -> (address, port) to send to; without a route, by MX through the cell's resolver."""

    name = ""
    packages: list[str] = []
    key_type = "ec"

    def __init__(self, domain: str | None = None, hostname: str | None = None, port: int | None = None,
                 address: str = "127.0.0.1", routes: dict[str, tuple[str, int]] | None = None,
                 resolver: str | None = None, lmtp: tuple[str, int] | None = None,
                 directory: str | None = None, extra: str = "",
                 users: tuple[str, ...] = ("bob", "carol", "dave")) -> None:
        self.users = users
        self.domain = domain or f"{self.name}.test"
        self.hostname = hostname or f"mail.{self.domain}"
        self.port = port or free_port()
        self.address = address
        self.routes = routes or {}
        self.lmtp = lmtp
        self.extra = extra
        self.cell = Cell(layer(self.name, self.packages), directory, resolver)
        self.process = None
        try:
            self.cell.certificate(self.hostname, self.key_type)
            self.configure()
        except BaseException:
            self.cell.destroy()
            raise

    def configure(self) -> None:
        raise NotImplementedError

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = self.cell.spawn(self.arguments())
        wait_until(self.greets, 20, f"{self.name} greets", pause=0.05)

    def greets(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {self.cell.logs()}")
        with socket.create_connection((self.address, self.port), 2) as s:
            return s.recv(512).startswith(b"220")

    def stop(self) -> None:
        self.cell.destroy()

    def deliver(self, sender: str, recipients: list[str], message: bytes, options: tuple[str, ...] = ()) -> None:
        """Injects a message as a local client; the peer relays it to its routes, or files it."""
        with smtplib.SMTP(self.address, self.port, timeout=20, local_hostname="client.test") as client:
            client.sendmail(sender, recipients, message, options)

    def inbox(self, user: str) -> list[bytes]:
        """What arrived for user@domain, in the order of arrival."""
        box = self.cell.path(f"var/mail/{user}")
        found = [p for part in ("new", "cur") for p in box.glob(f"{part}/*")]
        return [p.read_bytes() for p in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def wait_inbox(self, user: str, count: int = 1, seconds: float = 30) -> list[bytes]:
        wait_until(lambda: len(self.inbox(user)) >= count, seconds,
                   f"{count} messages for {user} at {self.name}", pause=0.1)
        return self.inbox(user)

    def queued(self) -> str:
        return ""

    def log(self) -> str:
        return self.cell.logs()


class Postfix(Peer):
    name = "postfix"
    packages = ["postfix"]

    def configure(self) -> None:
        transports = "".join(f"{domain} smtp:[{host}]:{port}\n" for domain, (host, port) in self.routes.items())
        local = f"lmtp:inet:{self.lmtp[0]}:{self.lmtp[1]}" if self.lmtp else "virtual"
        self.cell.write("etc/postfix/transport", transports)
        # Debian's defaults, but for names, ports and places; Maildirs or LMTP instead of system users.
        self.cell.write("etc/postfix/main.cf", f"""compatibility_level = 3.6
myhostname = {self.hostname}
mydomain = {self.domain}
mydestination =
mynetworks = 127.0.0.0/8 [::1]/128 {self.address}/32
inet_interfaces = all
inet_protocols = ipv4
maillog_file = /var/log/postfix.log
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = {self.domain}
virtual_mailbox_base = /var/mail
virtual_mailbox_maps = texthash:/etc/postfix/boxes
virtual_uid_maps = static:{VMAIL}
virtual_gid_maps = static:{VMAIL}
virtual_transport = {local}
virtual_mailbox_limit = 0
message_size_limit = 60000000
smtpd_tls_cert_file = /etc/peer.crt
smtpd_tls_key_file = /etc/peer.key
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtp_tls_security_level = encrypt
smtp_tls_loglevel = 1
smtpd_tls_loglevel = 0
smtputf8_enable = yes
transport_maps = texthash:/etc/postfix/transport
minimal_backoff_time = 2s
maximal_backoff_time = 5s
queue_run_delay = 2s
data_directory = /var/lib/postfix
queue_directory = /var/spool/postfix
{self.extra}
""")
        self.cell.write("etc/postfix/boxes", "".join(f"{u}@{self.domain} {u}/\n" for u in self.users))
        services = [f"{self.address}:{self.port} inet n - n - - smtpd", "pickup unix n - n 60 1 pickup",
                    "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
                    "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
                    "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify",
                    "flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap",
                    "proxywrite unix - - n - 1 proxymap", "smtp unix - - n - - smtp", "relay unix - - n - - smtp",
                    "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
                    "discard unix - - n - - discard", "local unix - n n - - local", "virtual unix - n n - - virtual",
                    "lmtp unix - - n - - lmtp", "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache",
                    "postlog unix-dgram n - n - 1 postlogd"]
        self.cell.write("etc/postfix/master.cf", "\n".join(services) + "\n")
        for source in (self.cell.tree / "usr/share/postfix", self.cell.tree / "etc/postfix"):
            for name in ("dynamicmaps.cf", "postfix-files"):
                if (source / name).exists() and not self.cell.path(f"etc/postfix/{name}").exists():
                    self.cell.write(f"etc/postfix/{name}", (source / name).read_text())
        for part in ("var/spool/postfix", "var/lib/postfix"):
            self.cell.path(part).mkdir(parents=True)
        os.chown(self.cell.path("var/lib/postfix"), USERS["postfix"], USERS["postfix"])
        for name in ("postqueue", "postdrop"):
            os.chown(self.cell.tree / "usr/sbin" / name, 0, USERS["postdrop"])
            (self.cell.tree / "usr/sbin" / name).chmod(0o2755)

    def arguments(self) -> list[str]:
        return ["/usr/sbin/postfix", "start-fg"]

    def queued(self) -> str:
        return self.cell.run(["/usr/sbin/postqueue", "-p"], check=False)


class Exim(Peer):
    name = "exim"
    packages = ["exim4-daemon-light"]

    def configure(self) -> None:
        routes = "; ".join(f"{d} {h}::{p}" for d, (h, p) in self.routes.items()) or "nowhere.invalid 127.0.0.1"
        self.cell.write("etc/exim4/exim4.conf", f"""primary_hostname = {self.hostname}
domainlist local_domains = {self.domain}
hostlist relay_from_hosts = 127.0.0.1 : {self.address}
spool_directory = /var/spool/exim4
notifier_socket =
log_file_path = /var/log/exim-%slog
local_interfaces = <; {self.address}
daemon_smtp_ports = {self.port}
exim_user = Debian-exim
exim_group = Debian-exim
never_users = root
tls_advertise_hosts = *
tls_certificate = /etc/peer.crt
tls_privatekey = /etc/peer.key
smtputf8_advertise_hosts = *
message_size_limit = 60M
acl_smtp_rcpt = rcpt
acl_smtp_data = accept_all
dns_dnssec_ok = 1
keep_environment =
queue_run_max = 5
remote_max_parallel = 2
{self.extra}
begin acl
rcpt:
  accept domains = +local_domains
  accept hosts = +relay_from_hosts
  deny message = relay not permitted
accept_all:
  accept
begin routers
boxes:
  driver = accept
  domains = +local_domains
  local_parts = {" : ".join(self.users)}
  transport = maildir
routes:
  driver = manualroute
  domains = ! +local_domains
  route_list = {routes}
  self = send
  host_find_failed = decline
  transport = smtp_tls
by_mx:
  driver = dnslookup
  domains = ! +local_domains
  transport = smtp_tls
  no_more
begin transports
maildir:
  driver = appendfile
  directory = /var/mail/$local_part_data
  maildir_format
  create_directory
  delivery_date_add
  envelope_to_add
  return_path_add
  user = vmail
  group = vmail
smtp_tls:
  driver = smtp
  hosts_require_tls = *
  tls_verify_certificates =
  tls_try_verify_hosts =
  hosts_try_dane =
begin retry
* * F,1h,5s
begin rewrite
begin authenticators
""")
        for part in ("var/spool/exim4",):
            self.cell.path(part).mkdir()
            os.chown(self.cell.path(part), USERS["Debian-exim"], USERS["Debian-exim"])
        self.cell.path("etc/peer.key").chmod(0o644)

    def arguments(self) -> list[str]:
        return ["/usr/sbin/exim4", "-bdf", "-q5s"]

    def queued(self) -> str:
        return self.cell.run(["/usr/sbin/exim4", "-bp"], check=False)


class OpenSMTPD(Peer):
    name = "opensmtpd"
    """Debian 12's 6.8.0p2 was written for OpenSSL 1.1: with OpenSSL 3 its privilege-separated keys fail in every
    handshake as a server (upstream issue 1171), whatever the key type. So it takes mail in clear by default;
    `offer_tls` makes it announce STARTTLS and break the handshake, which real servers out there do as well. As a
    client it speaks TLS.
    """

    packages = ["opensmtpd"]
    offer_tls = False
    key_type = "rsa"

    def configure(self) -> None:
        actions, matches = "", ""
        for number, (domain, (host, port)) in enumerate(self.routes.items()):
            actions += f'action "r{number}" relay host "smtp+tls://{host}:{port}" tls no-verify\n'
            matches += f'match from any for domain "{domain}" action "r{number}"\n'
        # No source outside may relay: the rules for other domains take mail from this host alone.
        tls = f"tls pki {self.hostname} " if self.offer_tls else ""
        self.cell.write("etc/smtpd.conf", f"""pki {self.hostname} cert "/etc/peer.crt"
pki {self.hostname} key "/etc/peer.key"
smtp max-message-size 60M
queue ttl 1h
listen on {self.address} port {self.port} {tls}hostname {self.hostname}
table boxes {{ "@" = vmail }}
action "box" maildir "/var/mail/%{{dest.user}}" virtual <boxes>
{actions}action "out" relay tls no-verify
match from any for domain "{self.domain}" action "box"
{matches.replace('from any', 'from local')}match from local for any action "out"
{self.extra}
""")
        self.cell.path("etc/peer.key").chmod(0o600)
        spool = self.cell.path("var/spool/smtpd")
        spool.mkdir(mode=0o711)
        self.cell.write("etc/mailname", self.hostname + "\n")

    def arguments(self) -> list[str]:
        # -d: in the foreground; its roles chroot to /run/opensmtpd or /var/lib, made here.
        return ["sh", "-c", "mkdir -p /var/lib/opensmtpd/empty /run/opensmtpd; exec /usr/sbin/smtpd -d -f /etc/smtpd.conf"]

