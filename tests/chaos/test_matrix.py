"""Whatever is killed, at whatever moment: the same command again ends with exactly the trials asked for."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import cluster, driver, ledger, matrix, processes, server
from tests.chaos.driver import Driver
from tests.chaos.matrix import MODES, ON_A_CLUSTER, PAIRS, SAMPLE, SLOW_S

ENDS_WITH_ITS_RAY_S = 120.0
"""How soon a driver ends whose Ray cluster has lost its head."""

CASES = [
    pytest.param(victim, place, mode, marks=[] if (victim, place, mode) in SAMPLE else [pytest.mark.chaos])
    for mode in MODES
    for victim, place in PAIRS
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """Values of the same sweep when nothing is killed, by mode."""
    found: dict[str, list[object]] = {}
    for mode, size in MODES.items():
        folder = tmp_path_factory.mktemp(mode)
        with driver.started(folder, cohort=size) as one:
            assert one.end() == 0, one.output()
        ledger.assert_nothing_is_lost(one.home)
        found[mode] = list(ledger.values(one.home))
    return found


class Scene:
    """Where a sweep runs, and whom there is to kill."""

    def __init__(self, folder: Path, victim: str, place: str, mode: str, stack: contextlib.ExitStack) -> None:
        self.folder, self.victim = folder, victim
        batches = driver.TRIALS // MODES[mode] * driver.EPOCHS * driver.BATCHES
        self.batch_s = SLOW_S.get(place, 0.0) / batches * (2 if victim == "worker" else 1)
        self.keys: dict[str, Any] = {"cohort": MODES[mode]}
        self.options: list[str] = []
        self.server: server.Server | None = None
        self.nodes: cluster.Nodes | None = None
        if victim == "worker":
            self.keys["max_concurrent"] = 2
        if victim == "mlflow server":
            self.server = stack.enter_context(server.server(folder / "mlflow"))
            self.options = ["--tracking-uri", self.server.uri]
        if victim == "node" or victim in ON_A_CLUSTER:
            stops = folder / f"stops-{place}"
            environment = driver.armed(place, matrix.count(victim, place), stops, self.batch_s)
            self.nodes = stack.enter_context(cluster.nodes(environment))
            self.options = ["--address", self.nodes.address]

    def leave_what_died(self) -> None:
        """Go on elsewhere where the cluster itself has died."""
        if self.victim == "gcs of a cluster":
            self.options = []

    @contextlib.contextmanager
    def started(self, place: str | None = None) -> Iterator[Driver]:
        where: dict[str, Any] = (
            {"place": place, "count": matrix.count(self.victim, place), "batch_s": self.batch_s}
            if place
            else {}
        )
        with driver.started(self.folder, *self.options, **where, **self.keys) as found:
            yield found

    def kill(self, sweep: Driver, stopped: int) -> None:
        """Kill the victim, and see that it is gone."""
        if self.server is not None:
            self.server.kill()
        elif self.victim == "gcs of a cluster":
            assert self.nodes is not None
            processes.kill({self.nodes.gcs})
        elif self.victim == "node":
            assert self.nodes is not None
            processes.kill(self.nodes.training())
        elif self.victim in ("worker", "only worker"):
            workers = sweep.find("worker")
            assert len(workers) == (2 if self.victim == "worker" else 1), "as many workers as wanted"
            processes.kill({stopped if stopped in workers else workers[0]})
        else:
            victims = sweep.find(self.victim.removesuffix(" on a cluster"))
            assert victims, f"there is no {self.victim} to kill"
            processes.kill(victims)

    @property
    def may_end_the_driver(self) -> bool:
        return self.victim in ("driver", "raylet", "gcs", *ON_A_CLUSTER)


@pytest.mark.parametrize(("victim", "place", "mode"), CASES)
def test_nothing_is_lost_and_nothing_counted_twice(
    tmp_path: Path, victim: str, place: str, mode: str, undisturbed: dict[str, list[object]]
) -> None:
    with contextlib.ExitStack() as stack:
        scene = Scene(tmp_path, victim, place, mode, stack)
        with scene.started(place) as first:
            scene.kill(first, first.wait_until(place))
            killed_s = time.monotonic()
            first.go()
            if scene.server is not None:
                scene.server.start()
            code = first.end()
        if scene.may_end_the_driver and code != 0:  # without its Ray it may just reach the end
            assert time.monotonic() - killed_s < ENDS_WITH_ITS_RAY_S
            scene.leave_what_died()
            with scene.started() as second:
                assert second.end() == 0, second.output()
        else:
            assert code == 0, first.output()
        ledger.assert_nothing_is_lost(first.home, scene.server.uri if scene.server else None)
        if victim != "worker":  # of two workers the quicker one is asked for first
            assert ledger.values(first.home) == undisturbed[mode]
