"""Hosts on one machine: each has an address on a bridge, an sshd, and processes, home and disks of its own.

Namespaces of the kernel without a name: the processes in them hold them, and with those they are gone.
Needs root, and Debian's iproute2, openssh-server and rsync.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import REPOSITORY

NETWORK = "198.18.77"
PROGRAMS = ("ip", "sshd", "ssh-keygen", "rsync", "unshare", "nsenter", "setpriv", "mount")
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
UNSHARED = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
READY = "ready\n"

INSIDE = """
set -e
hostname {name}
mount -t tmpfs tmpfs {disk}
mkdir {disk}/upper {disk}/work {disk}/ray
mount -t overlay overlay -o lowerdir={home},upperdir={disk}/upper,workdir={disk}/work {home}
rm -rf {home}/.ray {home}/.ssh {home}/tuning {home}/sweeps {home}/tuning.env
mkdir -p /tmp/ray /run/sshd {home}/tuning/.venv
mount --bind {disk}/ray /tmp/ray
mount --bind {venv} {home}/tuning/.venv
mount -o remount,ro,bind {home}/tuning/.venv
mount -t tmpfs -o size=1g tmpfs /dev/shm
read line
{more}
echo ready
exec {command}
"""
"""What makes a host of a process: nothing is installed on it but the project's environment."""


PROBE = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir={home},upperdir=/mnt/upper,workdir=/mnt/work {home}
ip link add bridge type bridge
ip link add one type veth peer name other
"""
"""All that a host is made of."""


@functools.cache
def missing() -> str | None:
    """Return why this machine cannot hold hosts; None if it can."""
    if os.geteuid() != 0:
        return "hosts in namespaces need root"
    if REPOSITORY.is_relative_to(Path.home() / "tuning"):
        return "hosts have the project in ~/tuning, where this checkout lies"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    if lacking:
        return f"hosts in namespaces need {', '.join(lacking)} (iproute2, openssh-server, rsync)"
    script = PROBE.format(home=Path.home())
    tried = subprocess.run(
        ["unshare", *UNSHARED, "--propagation", "private", "sh", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": SEARCH},
    )
    return None if tried.returncode == 0 else f"namespaces are not allowed here: {tried.stderr.strip()}"


@dataclass(frozen=True)
class Host:
    """One of the hosts."""

    name: str
    address: str
    process: "subprocess.Popen[str]"
    pid: int
    """Of its first process."""

    def popen(self, command: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start a shell command on this host as if at its console, in the home."""
        return subprocess.Popen(
            self.entered("bash", "-c", f"cd; {command}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment() | dict(environment or {}),
        )

    def run(self, command: str, environment: Mapping[str, str] | None = None, *, code: int | None = 0) -> str:
        """Run a shell command to its end; return what it wrote, and fail where it ends with another code."""
        process = self.popen(command, environment)
        output, _ = process.communicate()
        assert code is None or process.returncode == code, f"{self.name}: {command}\n{output}"
        return output

    def entered(self, *command: str) -> list[str]:
        kinds = ("--mount", "--uts", "--ipc", "--pid", "--net")
        return [*DIES_WITH_US, "nsenter", "-t", str(self.pid), *kinds, *command]


@dataclass
class Network:
    """Hosts on one bridge."""

    folder: Path
    pid: int
    """Of the process that holds the bridge."""
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def add(self, name: str, *, has_sshd: bool = True, more: str = "") -> Host:
        """Bring up another host.

        Args:
            more: shell commands, run on it before its sshd starts.
        """
        address = f"{NETWORK}.{10 + len(self.hosts)}"
        disk = self.folder / name
        disk.mkdir()
        sshd = f"{shutil.which('sshd', path=SEARCH)} -D -e -f {self._sshd_config(name, address)}"
        script = INSIDE.format(
            name=name,
            disk=disk,
            home=Path.home(),
            venv=REPOSITORY / ".venv",
            more=more,
            command=sshd if has_sshd else "sleep infinity",
        )
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen(
                [*DIES_WITH_US, "unshare", *UNSHARED, "--propagation", "private", "sh", "-c", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_environment(),
            )
        pid = _child(process.pid)
        host = self.hosts[name] = Host(name, address, process, pid)
        self._ip(f"link add {name} type veth peer name eth0 netns {pid}")
        self._ip(f"link set {name} master bridge up")
        for command in (
            "link set lo up",
            f"addr add {address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {NETWORK}.1",  # leads nowhere; by it programs know their own address
        ):
            _run(*host.entered("ip", *command.split()))
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        told = process.stdout.readline()
        assert told == READY, (self.folder / f"{name}.log").read_text()
        if has_sshd:
            host.run(f"until (: < /dev/tcp/{address}/22) 2>/dev/null; do sleep 0.1; done")
        return host

    def cut(self, name: str) -> None:
        """Take a host off the network; it runs on."""
        self._ip(f"link set {name} down")

    def _sshd_config(self, name: str, address: str) -> Path:
        file = self.folder / f"{name}.sshd"
        file.write_text(
            f"Port 22\nListenAddress {address}\nHostKey {self.folder}/host-key\n"
            f"AuthorizedKeysFile {self.key}.pub\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n"
            "PidFile none\nSubsystem sftp internal-sftp\n"
        )
        return file

    def _ip(self, arguments: str) -> None:
        _run("nsenter", "-t", str(self.pid), "--net", "ip", *arguments.split())


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Make a network without hosts; at the end, take it and its hosts down with all that runs on them."""
    for name in ("key", "host-key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    holder = subprocess.Popen([*DIES_WITH_US, "unshare", "--net", "sleep", "infinity"])
    found = Network(folder, holder.pid)
    try:
        _until_unshared(holder.pid)
        found._ip("link add bridge type bridge")
        found._ip("link set bridge up")
        yield found
    finally:
        for host in found.hosts.values():
            host.process.kill()
            host.process.wait()
        holder.kill()
        holder.wait()


def _environment() -> dict[str, str]:
    """What one finds on a host at login: nothing of the tests' own."""
    return {"HOME": str(Path.home()), "PATH": SEARCH, "LANG": "C.UTF-8", "RAY_USAGE_STATS_ENABLED": "0"}


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": SEARCH})
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _child(pid: int) -> int:
    """Return the one child of a process, once it is there."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    while not (found := file.read_text().split()):
        time.sleep(0.01)
    return int(found[0])


def _until_unshared(pid: int) -> None:
    while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        time.sleep(0.01)
