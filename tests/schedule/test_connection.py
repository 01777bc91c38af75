"""A cluster that several sweeps use is left after the last of them."""

import platform
import threading
import weakref
from concurrent.futures import Future
from typing import Any

import pytest
import ray
from ray._private.utils import check_version_info

from tuning.errors import RequestError, SweepError
from tuning.schedule import connection
from tuning.schedule.connection import Cluster, Node


def test_it_is_left_once_after_its_last_sweep() -> None:
    left = []
    cluster = Cluster(Future(), uses=3, leave=lambda: left.append(True))
    cluster.release()
    cluster.release()
    assert not left
    cluster.release()
    assert left == [True]


def test_it_is_up_once_its_nodes_are_known() -> None:
    on_its_way: Future[list[Node]] = Future()
    cluster = Cluster(on_its_way, uses=1)
    assert not cluster.is_up
    on_its_way.set_result([Node(host="a", cpus=2, gpus=0)])
    assert cluster.is_up and cluster.nodes() == [Node(host="a", cpus=2, gpus=0)]


def test_one_of_other_versions_is_refused_and_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:  # as Ray itself does
        check_version_info({"ray_version": "2.9.0", "python_version": "3.9.18"}, "node 10.0.0.1:6379")

    monkeypatch.setattr(connection.ray, "init", refused)
    said = (
        r"'10\.0\.0\.1:6379', but: The cluster was started with: Ray: 2\.9\.0 Python: 3\.9\.18 This process "
        r"on node 10\.0\.0\.1:6379 was started with: "
        rf"Ray: {ray.__version__} Python: {platform.python_version()}$"
    )
    with pytest.raises(RequestError, match=said):
        connection._initialise("10.0.0.1:6379", None)


def test_one_that_ctrl_c_gave_up_is_not_waited_for_but_by_who_connects_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    comes_up = threading.Event()

    def initialise(*_: object) -> list[Node]:
        assert comes_up.wait(60)
        told.append("up")
        return []

    def pressed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(connection, "_initialise", initialise)
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: "up" in told and "left" not in told)
    monkeypatch.setattr(connection.ray, "shutdown", lambda: told.append("left"))
    with pytest.raises(KeyboardInterrupt), connection.connect(None) as cluster:
        monkeypatch.setattr(cluster._nodes, "result", pressed)
        cluster.nodes()
    assert told == []
    comes_up.set()
    with connection.connect(None) as cluster:
        assert cluster.nodes() == []
    assert told == ["up", "left", "up", "left"]


def test_what_tune_has_left_is_gone_before_ray_is_left() -> None:
    """In a cycle, as Tune's controller is with the handles of its actors."""
    alive: list[bool] = []

    class Controller:
        def __init__(self) -> None:
            self.me = self

    gone = weakref.ref(Controller())
    cluster = Cluster(Future(), uses=1, leave=lambda: alive.append(gone() is not None))
    cluster.release()
    assert alive == [False]


def started(monkeypatch: pytest.MonkeyPatch, failures: int) -> list[str]:
    """What Ray is told by a local start that fails so often, as on a machine that is very busy."""
    told: list[str] = []

    def init(**options: object) -> None:
        told.append("init")
        if told.count("init") <= failures:
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(connection.ray, "init", init)
    monkeypatch.setattr(connection.ray, "shutdown", lambda: told.append("shutdown"))
    monkeypatch.setattr(connection, "nodes", lambda: [Node(host="a", cpus=2, gpus=0)])
    connection._initialise(None, None)
    return told


def test_a_local_start_that_fails_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(monkeypatch, failures=0) == ["init"]
    assert started(monkeypatch, failures=1) == ["init", "shutdown", "init"]


def test_one_that_fails_twice_ends_the_command_with_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SweepError, match=r"Ray could not start .* timed out .* Nothing is lost"):
        started(monkeypatch, failures=2)


def test_a_process_that_is_connected_is_not_taken_to_another_cluster(ray_cluster: Any) -> None:
    refused = pytest.raises(RequestError, match=r"to the Ray cluster at \S+ already, not to .* RAY_ADDRESS")
    with refused, connection.connect("198.18.0.1:6379"):
        raise AssertionError("it was")
    port = ray_cluster.address.rpartition(":")[2]
    for same in (None, "auto", ray_cluster.address, f"localhost:{port}", f"127.0.0.1:{port}"):
        with connection.connect(same) as cluster:
            assert len(cluster.nodes()) == 3
