"""A cluster of hosts, brought up by the on-premises file as its users fill that in."""

import contextlib
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import hosts
from tests.conftest import REPOSITORY

FILE = REPOSITORY / "examples/cluster-onprem.yaml"
BIN = REPOSITORY / ".venv/bin"
PROJECT = Path(__file__).parent / "project"
"""A user's own model and data."""

BEGIN = ("head", "worker-1", "worker-2")

SHARED = "/mnt"
"""Where all hosts of the cluster see one folder; the user's machine does not."""

GPUS = {"head": 1, "worker-1": 1, "worker-2": 2, "worker-3": 1}
"""Logical ones: what each host declares, with two CPUs for each."""

DECLARES = "--num-cpus=$((2 * $(cat ~/gpus))) --num-gpus=$(cat ~/gpus) --object-store-memory=200000000"
KEEPS_NO_JOB_FOLDERS = "RAY_RUNTIME_ENV_WORKING_DIR_CACHE_SIZE_GB=0"


@dataclass(frozen=True)
class Site:
    """A user's machine, and a cluster of hosts that it reaches by ssh."""

    network: hosts.Network
    user: hosts.Host
    file: Path
    """The cluster file."""

    @property
    def head(self) -> hosts.Host:
        return self.network.hosts["head"]

    def write_file(self) -> None:
        """Fill in the on-premises file as its comments say, for logical GPUs on small hosts."""
        text = FILE.read_text()
        head, *others = (self.network.hosts[name].address for name in BEGIN)
        for pattern, new in {
            r"head_ip: \S+": f"head_ip: {head}",
            r"worker_ips: \[.*\]": f"worker_ips: [{', '.join(others)}]",
            r"ssh_user: \S+": "ssh_user: root",
            r"ssh_private_key: \S+": f"ssh_private_key: {self.network.key}",
            r"TUNING_STORAGE=\S+": f"TUNING_STORAGE={SHARED}/tuning",
            r"ray start ": f"{KEEPS_NO_JOB_FOLDERS} ray start {DECLARES} ",
        }.items():
            text, count = re.subn(pattern, new, text)
            assert count, f"{pattern} is no longer in {FILE}"
        self.file.write_text(text)

    def ray(self, arguments: str, *, code: int | None = 0) -> str:
        """Run Ray's command on the user's machine, in the repository as one who has cloned it."""
        return self.user.run(f"cd {REPOSITORY} && {BIN}/ray {arguments}", code=code)

    def on_head(self, command: str, *, code: int | None = 0) -> str:
        """Run a command on the head as one who is logged in there."""
        return self.head.run(f"bash --login -i -c '{command}' 2>&1", code=code)

    def facts(self, command: str) -> dict[str, Any]:
        """Run a command of ours on the head, and return the facts that it prints."""
        output = self.on_head(f"{command} --json")
        return json.loads(next(line for line in output.splitlines() if line.startswith("{")))

    def workers(self, sweep: str) -> dict[str, list[int]]:
        """Return the processes that trained on each GPU, by its host and number, as the sweep has them."""
        output = self.on_head(
            "cd ~/tuning && .venv/bin/python - <<END\n"
            "import json\n"
            "from tuning import ledger\n"
            "found = {}\n"
            f'for trial in ledger.open_sweep("{sweep}", None).trials:\n'
            "    for span in trial.spans:\n"
            "        found.setdefault(span.where, set()).add(span.process)\n"
            'print("found", json.dumps({where: sorted(ids) for where, ids in found.items()}))\n'
            "END"
        )
        found: dict[str, list[int]] = json.loads(output.rpartition("found ")[2])
        return found

    def outside(self, script: str) -> Any:
        """Run Python on the user's machine; return what the script leaves as `found`."""
        code = f"import json\n{textwrap.dedent(script)}\nprint('found', json.dumps(found))"
        output = self.user.run(f"cd {PROJECT} && {BIN}/python - <<'END' 2>&1\n{code}\nEND")
        return json.loads(output.rpartition("found ")[2])


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A head and two workers-to-be, and a user who has filled in the file; take all down at the end."""
    (folder / "shared").mkdir()
    with hosts.network(folder) as network:
        found = Site(network, network.add("user", has_sshd=False), folder / "cluster.yaml")
        for name in BEGIN:
            add(network, name)
        found.write_file()
        yield found


def add(network: hosts.Network, name: str) -> hosts.Host:
    """Bring up a host of the cluster, which sees the shared folder.

    Of the project it has what is copied to it: in the place of this checkout lies the host's own ~/tuning.
    """
    home, shared = Path.home(), network.folder / "shared"
    commands = (
        f"mount --bind {shared} {SHARED}",
        f"echo {GPUS[name]} > {home}/gpus",
        f"mount --rbind {home}/tuning {REPOSITORY}",
    )
    return network.add(name, more="; ".join(commands))
