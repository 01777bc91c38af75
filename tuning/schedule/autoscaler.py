"""The cluster's autoscaler, if it has one: which nodes there may be at most, and what it is at."""

import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import yaml
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.experimental.internal_kv import _internal_kv_get

from tuning.schedule.connection import Node

CONFIG, GCS = "--autoscaling-config=", "--gcs-address="
MAX_REASON = 200
"""Characters of what a cloud says of a node that it does not give."""


def possible_nodes() -> list[Node]:
    """Return the nodes that there may be at most; none where no autoscaler runs beside the driver.

    Ray's autoscaler tells nobody how far it may go: its process, on the head, names its file.
    """
    address = ray.get_runtime_context().gcs_address
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            words = file.read_text(encoding="utf-8", errors="replace").split("\0")
            config = next((word.removeprefix(CONFIG) for word in words if word.startswith(CONFIG)), None)
            if config is not None and f"{GCS}{address}" in words:
                return _of_config(yaml.safe_load(Path(config).expanduser().read_text(encoding="utf-8")))
    return []


def _of_config(config: Mapping[str, Any]) -> list[Node]:
    """Return a head and as many workers as a cluster file allows, those with the most GPUs first.

    None of machines that one has, of which the file does not say what they hold.
    """
    kinds = config.get("available_node_types", {})
    head, most = config.get("head_node_type"), config.get("max_workers", 0)
    workers = [
        _node(name, kind)
        for name, kind in kinds.items()
        if name != head
        for _ in range(min(kind.get("max_workers", most), most))
    ]
    if not workers or not all(node.cpus or node.gpus for node in workers):
        return []
    workers.sort(key=lambda node: (-node.gpus, -node.cpus))
    return [*(_node(name, kind) for name, kind in kinds.items() if name == head), *workers[:most]]


def _node(name: str, kind: Mapping[str, Any]) -> Node:
    has = kind.get("resources", {})
    return Node(host=name, cpus=float(has.get("CPU", 0)), gpus=float(has.get("GPU", 0)))


def status() -> str:
    """Return in a few words what the autoscaler launches and what it cannot; empty if there is neither."""
    coming: Counter[str] = Counter()
    failed: dict[str, str] = {}
    for told in (_status_v1, _status_v2):
        with contextlib.suppress(Exception):  # a word to the user only, read from Ray's inside
            told(coming, failed)
    said = [f"{count} {kind} coming" for kind, count in coming.items()]
    said += [f"{kind} failed: {' '.join(why.split())[:MAX_REASON]}" for kind, why in failed.items()]
    return ", ".join(said)


def _status_v1(coming: Counter[str], failed: dict[str, str]) -> None:
    report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS))["autoscaler_report"]
    coming.update(report["pending_launches"])
    coming.update(kind for _, kind, _ in report["pending_nodes"])
    for record in report["node_availability_summary"]["node_availabilities"].values():
        if not record["is_available"]:
            failed[record["node_type"]] = record["unavailable_node_information"]["description"]


def _status_v2(coming: Counter[str], failed: dict[str, str]) -> None:
    from ray.autoscaler.v2.sdk import get_cluster_status

    found = get_cluster_status(ray.get_runtime_context().gcs_address)
    for launch in found.pending_launches:
        coming[launch.ray_node_type_name] += launch.count
    coming.update(node.ray_node_type_name for node in found.pending_nodes)
    for launch in found.failed_launches:
        failed[launch.ray_node_type_name] = launch.details or "the cloud gave no reason"
