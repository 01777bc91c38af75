"""Whatever is killed, at whatever moment: the same command again ends with exactly the trials asked for."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import cluster, driver, ledger, matrix, processes, server
from tests.chaos.conftest import Undisturbed
from tests.chaos.driver import Driver
from tests.chaos.matrix import CASES, FIRST_RECORDS, MODES, ON_A_CLUSTER, SAMPLE, SLOW_S

ENDS_WITH_ITS_RAY_S = 120.0
"""How soon a driver ends whose Ray cluster has lost its head."""

SOME_TABLES = 200_000
"""Bytes of MLflow's database when a part of its tables is there; all are a megabyte."""


class Scene:
    """Where a sweep runs, and whom there is to kill."""

    def __init__(self, folder: Path, victim: str, place: str, mode: str, stack: contextlib.ExitStack) -> None:
        self.folder, self.victim = folder, victim
        self.keys = dict(MODES[mode])
        batches = driver.TRIALS // self.keys["cohort"] * driver.EPOCHS * driver.BATCHES
        self.where: dict[str, Any] = {
            "place": place,
            "count": matrix.count(victim, place, mode),
            "batch_s": SLOW_S.get(place, 0.0) / batches * (2 if victim == "worker" else 1),
        }
        self.module = driver.COMMAND if place == "before-end" else driver.BARE
        self.options: list[str] = []
        self.server: server.Server | None = None
        self.nodes: cluster.Nodes | None = None
        if victim == "worker":
            self.keys["max_concurrent"] = 2
        if victim == "mlflow server":
            self.server = stack.enter_context(server.server(folder / "mlflow"))
            self.options = ["--tracking-uri", self.server.uri]
        if victim == "node" or victim in ON_A_CLUSTER:
            environment = driver.armed(stops=folder / f"stops-{place}", **self.where)
            self.nodes = stack.enter_context(cluster.nodes(environment))
            self.options = ["--address", self.nodes.address]

    def leave_what_died(self) -> None:
        """Go on elsewhere where the cluster itself has died."""
        if self.victim == "gcs of a cluster":
            self.options = []

    @contextlib.contextmanager
    def started(self, **where: Any) -> Iterator[Driver]:
        with driver.started(self.folder, *self.options, module=self.module, **where, **self.keys) as found:
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
            victims = sweep.wait_for(self.victim)
            processes.kill(victims)

    @property
    def may_end_the_driver(self) -> bool:
        return self.victim in ("driver", "raylet", "gcs", *ON_A_CLUSTER)

    @property
    def must_end_the_driver(self) -> bool:
        is_needed = self.where["place"] != "before-end"
        return self.victim == "driver" or (is_needed and self.victim in ("gcs", *ON_A_CLUSTER))


@pytest.mark.parametrize(
    ("victim", "place", "mode"),
    [pytest.param(*case, marks=[] if case in SAMPLE else [pytest.mark.chaos]) for case in CASES],
)
def test_nothing_is_lost_and_nothing_counted_twice(
    tmp_path: Path, victim: str, place: str, mode: str, undisturbed: Undisturbed
) -> None:
    with contextlib.ExitStack() as stack:
        scene = Scene(tmp_path, victim, place, mode, stack)
        with scene.started(**scene.where) as first:
            scene.kill(first, first.wait_until(place))
            killed_s = time.monotonic()
            first.go()
            if scene.server is not None:
                scene.server.start()
            code = first.end()
        if scene.may_end_the_driver:
            assert time.monotonic() - killed_s < ENDS_WITH_ITS_RAY_S
        if scene.must_end_the_driver:
            assert code != 0, first.output()
        if scene.may_end_the_driver and code != 0:  # without its raylet it may just reach the end
            scene.leave_what_died()
            with scene.started() as second:
                assert second.end() == 0, second.output()
        else:
            assert code == 0, first.output()
        uri = scene.server.uri if scene.server else None
        ledger.assert_nothing_is_lost(first.home, mode, uri)
        if scene.module == driver.COMMAND:
            ledger.assert_it_is_shown(first.home, uri)
        if victim != "worker":  # of two workers the quicker one is asked for first
            assert ledger.trained(first.home) == undisturbed(mode)


@pytest.mark.chaos
@pytest.mark.parametrize(("place", "count"), FIRST_RECORDS)
def test_a_driver_that_dies_before_its_first_trial_has_begun_nothing_twice(
    tmp_path: Path, place: str, count: int, undisturbed: Undisturbed
) -> None:
    with driver.started(tmp_path, place=place, count=count, **MODES["cohort"]) as first:
        assert first.wait_until(place) == first.process.pid
        processes.kill({first.process.pid})
    with driver.started(tmp_path, **MODES["cohort"]) as second:
        assert second.end() == 0, second.output()
    ledger.assert_nothing_is_lost(second.home, "cohort")
    assert ledger.trained(second.home) == undisturbed("cohort")


@pytest.mark.chaos
def test_an_mlflow_database_of_which_a_death_left_a_half_is_made_whole(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    """MLflow makes its tables one after the other, in seconds, at the first sweep of a home."""
    with driver.started(tmp_path, place="before-end", **MODES["cohort"]) as first:
        end_s = time.monotonic() + driver.PATIENCE_S
        while not any(file.stat().st_size > SOME_TABLES for file in first.home.glob("*mlflow.db*")):
            assert time.monotonic() < end_s, "nobody makes it"
            time.sleep(0.005)
        processes.kill({first.process.pid, *first.find("writer")})
    with driver.started(tmp_path, **MODES["cohort"]) as second:
        assert second.end() == 0, second.output()
    ledger.assert_nothing_is_lost(second.home, "cohort")
    assert ledger.trained(second.home) == undisturbed("cohort")
