# SPDX-License-Identifier: AGPL-3.0-or-later
"""A cell: mount and PID namespaces in which a Debian package looks installed although it is not.

The packages are downloaded once with apt-get and unpacked into a layer (build-peers/), since Debian's mail
servers conflict with each other and would start as services. In the cell, /usr is the layer over the
machine's own, /etc the same with a private upper part, /var and /run private plain directories (no overlay
in the way of data, so that figures are those of the disk). When the cell's first process ends, the kernel
ends all others and the mounts go with them.
"""

import fcntl
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("COHUE_PEERS", ROOT / "build-peers"))

# Peers' own users, as their packages would create them; the numbers stand nowhere else.
USERS = {"postfix": 8801, "postdrop": 8802, "dovecot": 8803, "dovenull": 8804, "vmail": 8805,
         "opensmtpd": 8806, "opensmtpq": 8807, "Debian-exim": 8808, "_rspamd": 8809}
VMAIL = USERS["vmail"]


class Unavailable(unittest.SkipTest):
    pass


def peers_available() -> None:
    """Skips the test where cells cannot be made."""
    if os.geteuid() != 0:
        raise Unavailable("peers need root (mounts, and users of their own)")


def layer(name: str, packages: list[str]) -> pathlib.Path:
    """The unpacked packages with what they need and the machine lacks; from the cache after the first time."""
    CACHE.mkdir(exist_ok=True)
    target = CACHE / name
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        work = pathlib.Path(tempfile.mkdtemp(prefix="unpack-", dir=CACHE))
        try:
            want = ["install", "--simulate", "--yes", "--no-install-recommends", *packages]
            plan = apt(want)
            if plan.returncode != 0:
                apt(["update"])
                plan = apt(want)
            if plan.returncode != 0:
                raise Unavailable(f"apt-get knows no {' '.join(packages)}: {plan.stderr.strip()[-200:]}")
            # "Inst NAME [old version] (VERSION ...": what is missing, or too old.
            chosen = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", plan.stdout, re.M)
            (work / "root/usr").mkdir(parents=True)
            (work / "root/etc").mkdir()
            for package, version in chosen:
                got = apt(["download", f"{package}={version}"], work)
                if got.returncode != 0:
                    raise Unavailable(f"cannot download {package}: {got.stderr.strip()[-200:]}")
            for deb in work.glob("*.deb"):
                subprocess.run(["dpkg", "-x", deb, work / "root"], check=True)
            for old in ("bin", "sbin", "lib"):  # merged /usr
                if (work / "root" / old).is_dir():
                    shutil.copytree(work / "root" / old, work / "root/usr" / old, symlinks=True, dirs_exist_ok=True)
            (work / "root").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def apt(arguments: list[str], directory: pathlib.Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(["apt-get", "-q", *arguments], cwd=directory, capture_output=True, text=True, check=False,
                          env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"})


class Cell:
    """Runs programs of one layer, in the network namespace of the calling thread."""

    def __init__(self, tree: pathlib.Path, directory: str | os.PathLike | None = None,
                 resolver: str | None = None) -> None:
        peers_available()
        self.tree = tree
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cohue-peer-", dir=directory))
        self.directory.chmod(0o755)
        for part in ("etc", "etc-work", "var", "run", "var/tmp", "var/log", "var/lib", "var/spool", "var/mail",
                     "var/cache"):
            (self.directory / part).mkdir()
        for open_to_all in ("var/tmp", "var/log"):
            (self.directory / open_to_all).chmod(0o1777)
        os.chown(self.directory / "var/mail", VMAIL, VMAIL)
        (self.directory / "var/run").symlink_to("/run")
        passwd = pathlib.Path("/etc/passwd").read_text()
        group = pathlib.Path("/etc/group").read_text()
        mine = tuple(f"{name}:" for name in USERS)
        passwd = "".join(line for line in passwd.splitlines(True) if not line.startswith(mine))
        group = "".join(line for line in group.splitlines(True) if not line.startswith(mine))
        for name, number in USERS.items():
            home = "/var/mail" if name == "vmail" else "/nonexistent"
            passwd += f"{name}:x:{number}:{number}::{home}:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        self.write("etc/passwd", passwd)
        self.write("etc/group", group)
        if resolver:
            self.write("etc/resolv.conf", f"nameserver {resolver}\noptions timeout:2 attempts:2\n")
            self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
        self.processes: list[subprocess.Popen] = []
        self.first: subprocess.Popen | None = None

    def path(self, inside: str) -> pathlib.Path:
        return self.directory / inside.lstrip("/")

    def write(self, name: str, text: str, mode: int = 0o644) -> pathlib.Path:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def certificate(self, hostname: str, key_type: str = "ec") -> None:
        """/etc/peer.crt and /etc/peer.key in the cell, self-signed."""
        kind = ["rsa:2048"] if key_type == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-subj", f"/CN={hostname}", "-addext", f"subjectAltName=DNS:{hostname}", "-days", "30",
                        "-keyout", self.path("etc/peer.key"), "-out", self.path("etc/peer.crt")],
                       check=True, capture_output=True)

    def command(self, arguments: list[str]) -> list[str]:
        d = self.directory
        setup = (f"set -e; mount -t overlay overlay -o lowerdir={self.tree}/usr:/usr /usr; "
                 f"mount -t overlay overlay -o lowerdir={self.tree}/etc:/etc,upperdir={d}/etc,workdir={d}/etc-work "
                 f"/etc; mount --bind {d}/run /run; mount --bind {d}/var /var; \"$@\" & wait $!")
        # The shell stays the namespace's first process: it dies with unshare, which dies with this process, and takes
        # all others along. (A server that changes its user would have lost that death signal.)
        return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation",
                "private", "sh", "-c", setup, "sh", *arguments]

    def spawn(self, arguments: list[str], log: str = "var/log/output") -> subprocess.Popen:
        """A long-running program in the foreground, the first of its own PID namespace."""
        with open(self.path(log), "ab") as out:
            process = subprocess.Popen(self.command(arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                       env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                                       start_new_session=True)
        self.processes.append(process)
        return process

    def run(self, arguments: list[str], check: bool = True, stdin: bytes | None = None) -> str:
        """A short command in the cell: same files, but a PID namespace of its own."""
        ran = subprocess.run(self.command(arguments), capture_output=True, check=False, input=stdin, timeout=60,
                             env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
        if check and ran.returncode != 0:
            raise AssertionError(f"{arguments}: exit {ran.returncode}: {ran.stderr.decode(errors='replace')}")
        return ran.stdout.decode(errors="replace")

    def logs(self) -> str:
        return "".join(f"== {p.name}\n{p.read_text(errors='replace')}"
                       for p in sorted((self.directory / "var/log").rglob("*")) if p.is_file())

    def end(self) -> None:
        """Kills everything in the cell and waits until it is gone; files stay for inspection."""
        for process in self.processes:
            if process.poll() is None:
                # --kill-child ends the whole namespace with unshare.
                process.send_signal(signal.SIGKILL)
            process.wait(10)
        self.processes.clear()

    def destroy(self) -> None:
        self.end()
        shutil.rmtree(self.directory, ignore_errors=True)
