"""What an autoscaler may add, and what is said while it does. tests/cluster lets a real one add nodes."""

from typing import Any

import pytest
import yaml

import tuning
from tests.conftest import REPOSITORY
from tuning.schedule import autoscaler, resources
from tuning.schedule.awaiting import INTERVAL_S, PATIENCE_S, Awaiting
from tuning.schedule.connection import Node


def aws(**changes: Any) -> dict[str, Any]:
    """The AWS file as it lies on the head, where Ray has filled in what machines of that type hold."""
    config = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    config["available_node_types"]["gpu-worker"]["resources"] = {"CPU": 4, "GPU": 1}
    return {**config, **changes}


def test_all_workers_that_a_cluster_file_allows_count_as_there() -> None:
    nodes = autoscaler._of_config(aws())
    assert nodes == [Node("head", 0, 0), *[Node("gpu-worker", 4, 1)] * 8]
    assert resources.num_workers(tuning.Resources(cpus=1, gpus=0.25), nodes) == 32


def test_the_files_own_total_bounds_them() -> None:
    assert len(autoscaler._of_config(aws(max_workers=3))) == 1 + 3


def test_machines_that_one_has_count_once_they_are_there() -> None:
    onprem = yaml.safe_load((REPOSITORY / "examples/cluster-onprem.yaml").read_text())
    kinds = {"local.cluster.node": {"resources": {}, "min_workers": 2, "max_workers": 2}}
    prepared = {**onprem, "available_node_types": kinds, "head_node_type": "local.cluster.node"}
    assert autoscaler._of_config(prepared) == []


def test_without_an_autoscaler_nothing_is_expected_and_nothing_is_said(ray_cluster: Any) -> None:
    assert autoscaler.possible_nodes() == []
    assert autoscaler.status() == ""
    assert {node.gpus for node in resources.expected_nodes()} == {0.0, 2.0}


def test_room_grows_with_a_node_that_comes_and_keeps_to_max_concurrent(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "ROOM_INTERVAL_S", 0.0)
    size = tuning.Resources(cpus=0, gpus=1)
    room = resources.room(tuning.SweepSpec(model="net", resources=size))
    bounded = resources.room(tuning.SweepSpec(model="net", resources=size, max_concurrent=5))
    assert room() == 4
    node = ray_cluster.add_node(num_cpus=0, num_gpus=3)
    try:
        ray_cluster.wait_for_nodes()
        assert room() == 7 and bounded() == 5
    finally:
        ray_cluster.remove_node(node)


class Trial:
    def __init__(self, status: str) -> None:
        self.status = status


def said(states: list[str], seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said within so many seconds in which Tune's trials have these states."""
    heard: list[str] = []
    awaiting = Awaiting(tuning.Resources(cpus=1, gpus=0.25), heard.append, heard.append)
    trials = [Trial(state) for state in states]
    for step in range(int(seconds / INTERVAL_S) + 1):
        monkeypatch.setattr("time.monotonic", lambda now=1000 + step * INTERVAL_S: now)
        awaiting.on_step_end(step, trials)
    return heard


def test_who_waits_for_nodes_is_told_once_what_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.schedule.awaiting._has_no_place", lambda: True)
    monkeypatch.setattr(autoscaler, "status", lambda: "2 gpu-worker coming")
    told = ["waiting for nodes: 2 workers of cpus=1, gpus=0.25 are asked for; 2 gpu-worker coming"]
    assert said(["PENDING"] * 2, 60, monkeypatch) == told
    assert said(["PENDING"] * 2, PATIENCE_S, monkeypatch) == [], "the start of a process is not worth a word"
    assert said(["PENDING", "RUNNING"], 60, monkeypatch) == []


def test_nodes_that_do_not_come_are_told_of_once_also_while_others_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuning.schedule.awaiting._has_no_place", lambda: True)
    monkeypatch.setattr(autoscaler, "status", lambda: "gpu-worker failed: no spot capacity")
    (told,) = said(["PENDING", "RUNNING", "PENDING"], 60, monkeypatch)
    waiting = "2 more of cpus=1, gpus=0.25 wait for nodes"
    assert told == f"workers that train: 1; {waiting}: gpu-worker failed: no spot capacity"


def test_who_waits_for_processes_that_start_is_told_of_no_nodes(
    monkeypatch: pytest.MonkeyPatch, ray_cluster: Any
) -> None:
    assert said(["PENDING"], 60, monkeypatch) == []
