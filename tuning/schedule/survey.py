"""What a running cluster's nodes have: versions, GPUs, a storage that all of them see."""

import functools
import hashlib
import platform
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuning import storage
from tuning.errors import RequestError, last_line

PACKAGES = ("torch", "ray", "optuna", "mlflow", "numpy")
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """What one node told."""

    host: str
    cpus: float
    gpus: float
    versions: Mapping[str, str] = field(default_factory=dict)
    sees_storage: bool | None = None
    """None: not asked."""
    may_write: bool | None = None
    """Into the storage, which it sees."""
    error: str | None = None
    """Why it told nothing."""


@functools.cache
def versions() -> Mapping[str, str]:
    """Return the versions that must be the same on all nodes, without importing anything large.

    Looked up once per process: each cohort asks, and five packages take 5 ms.
    """
    found = {name: version for name in PACKAGES if (version := version_here(name)) is not None}
    return {"python": platform.python_version(), **found}


def of_driver() -> dict[str, str]:
    """Return the versions that every node is held against when a sweep begins: this project's own, too."""
    return {**versions(), "tuning": source()}


def version_here(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def source() -> str:
    """Return the version of this project and a hash of its code, of which a node may have an older copy."""
    hashed, root = hashlib.sha256(), Path(__file__).parents[2]
    for package in ("models", "tuning"):
        for file in sorted((root / package).rglob("*.py")):
            hashed.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{version_here('tuning')} with code {hashed.hexdigest()[:12]}"


def survey(place: str | None = None, hosts: Collection[str] | None = None) -> list[Found]:
    """Ask living nodes of the connected cluster.

    Args:
        place: a storage, or a folder that is to be one; a file is put there from here, and every node looks
            for it.
        hosts: on which to ask; None: on all.

    Raises:
        RequestError: when this process cannot write there.
    """
    probe = None if place is None else _put(place)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        nodes = [node for node in nodes if hosts is None or node["NodeManagerHostname"] in hosts]
        tasks = [_ask(node["NodeID"], probe) for node in nodes]
        ray.wait(tasks, num_returns=len(tasks), timeout=TIMEOUT_S)
        return [_found(node, task) for node, task in zip(nodes, tasks, strict=True)]
    finally:
        if probe is not None:
            storage.remove(probe)


def _put(place: str) -> str:
    """Put an empty file into a storage, or into the folder in which it will be made; return its path."""
    if "://" not in place:
        parents = (Path(place), *Path(place).parents)
        place = str(next(folder for folder in parents if folder.is_dir()))
    probe = f"{place.rstrip('/')}/.probe-{uuid.uuid4().hex}"
    try:
        storage.write(probe, b"")
    except OSError as error:
        why = error.strerror or str(error)
        raise RequestError(f"The storage {place} cannot be written from here: {why}.") from error
    return probe


def _ask(node_id: str, probe: str | None) -> Any:
    here = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(_tell).options(num_cpus=0, scheduling_strategy=here, max_retries=0).remote(probe)


def _tell(probe: str | None) -> tuple[dict[str, str], bool | None, bool | None]:
    """Run on a node: return its versions, whether it sees the storage, and whether it may write there."""
    here = of_driver()
    if probe is None or not storage.exists(probe):
        return here, None if probe is None else False, None
    own = f"{probe}-{uuid.uuid4().hex}"
    try:
        storage.write(own, b"")
        storage.remove(own)
    except OSError:
        return here, True, False
    return here, True, True


def _found(node: Mapping[str, Any], task: Any) -> Found:
    host, resources = node["NodeManagerHostname"], node["Resources"]
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    try:
        told, sees, may_write = ray.get(task, timeout=0)
        return Found(host, cpus, gpus, told, sees, may_write)
    except RayError as error:  # among them: no answer in time
        return Found(host, cpus, gpus, error=last_line(error, type(error).__name__))


def differing(here: Mapping[str, str], there: Mapping[str, str], host: str) -> list[str]:
    """Return in words which versions on a host are not those here."""
    return [
        f"{name} must be the same on all nodes: on the driver's it is {version}, on {host} {other}."
        for name, version in here.items()
        if (other := there.get(name, "missing")) != version
    ]


def faults(found: Sequence[Found]) -> list[str]:
    """Return in words what is wrong with nodes, both versions named where they differ from this one's."""
    here = of_driver()
    told = []
    for node in found:
        if node.error is not None:
            told.append(f"{node.host} cannot be asked: {node.error}")
        else:
            told += differing(here, node.versions, node.host)
        if node.sees_storage is False:
            told.append(f"{node.host} does not see the storage, which must be shared by all nodes.")
        elif node.may_write is False:
            told.append(f"{node.host} sees the storage, but cannot write there; let every node.")
    return told
