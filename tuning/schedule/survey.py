"""What a running cluster's nodes have: versions, GPUs, a storage that all of them see."""

import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuning import storage
from tuning.errors import last_line

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


def versions() -> dict[str, str]:
    """Return the versions that must be the same on all nodes, without importing anything large."""
    found = {name: version for name in PACKAGES if (version := version_here(name)) is not None}
    return {"python": platform.python_version(), **found}


def version_here(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def survey(place: str | None = None) -> list[Found]:
    """Ask every living node of the connected cluster.

    Args:
        place: a storage; a file is put there from here, and every node looks for it.
    """
    probe = None if place is None else f"{place.rstrip('/')}/.probe-{uuid.uuid4().hex}"
    if probe is not None:
        storage.write(probe, b"")
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        tasks = [_ask(node["NodeID"], probe) for node in nodes]
        ray.wait(tasks, num_returns=len(tasks), timeout=TIMEOUT_S)
        return [_found(node, task) for node, task in zip(nodes, tasks, strict=True)]
    finally:
        if probe is not None:
            storage.remove(probe)


def _ask(node_id: str, probe: str | None) -> Any:
    here = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(_tell).options(num_cpus=0, scheduling_strategy=here, max_retries=0).remote(probe)


def _tell(probe: str | None) -> tuple[dict[str, str], bool | None, bool | None]:
    """Run on a node: return its versions, whether it sees the storage, and whether it may write there."""
    if probe is None or not storage.exists(probe):
        return versions(), None if probe is None else False, None
    own = f"{probe}-{uuid.uuid4().hex}"
    try:
        storage.write(own, b"")
        storage.remove(own)
    except OSError:
        return versions(), True, False
    return versions(), True, True


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
    here = versions()
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
