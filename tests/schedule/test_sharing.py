"""How many workers share a GPU, where a sweep leaves it open: measured once, on a cluster of logical GPUs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tuning import plan
from tuning.schedule import connection, sharing
from tuning.sizing import Measured, Sizing, best_share
from tuning.spec import Resources


def sizing(gpus: float, trials_per_s: float) -> Sizing:
    measured = (Measured(size=4, trials_per_s=trials_per_s, memory_bytes=1),)
    return Sizing(size=4, why="so", device="GPU", measured=measured, gpus=gpus)


@pytest.mark.parametrize(
    ("rates", "gpus"),
    [
        ({1.0: 10, 0.5: 10, 0.25: 10}, 0.25),
        ({1.0: 40, 0.5: 10, 0.25: 2}, 1.0),
        ({1.0: 20, 0.5: 19, 0.25: 9.6}, 0.5),
        ({1.0: 19, 0.5: 10, 0.25: 5}, 1.0),
    ],
)
def test_the_fewest_workers_that_nearly_reach_the_highest_speed_share_a_gpu(
    rates: dict[float, float], gpus: float
) -> None:
    found = [(sizing(share, rate), round(1 / share)) for share, rate in rates.items()]
    assert best_share(found, otherwise=0.1).gpus == gpus


def test_shares_are_ranked_by_the_workers_that_there_would_be() -> None:
    many_gpus_few_cpus = [(sizing(1.0, 10), 8), (sizing(0.25, 4), 8)]
    assert best_share(many_gpus_few_cpus, otherwise=0.1).gpus == 1.0


def test_where_no_share_could_be_measured_the_usual_one_is_taken() -> None:
    assert best_share([(replace(sizing(1.0, 0), measured=()), 1)], otherwise=0.25).gpus == 0.25


def test_how_many_share_is_said_with_the_size() -> None:
    assert sizing(0.25, 1).describe() == "4 trials train together, 4 such workers on a GPU: so"


@pytest.mark.parametrize(
    ("changes", "is_open"),
    [
        ({}, True),
        ({"resources": Resources(gpus=0.5)}, False),
        ({"resources": Resources(gpus=0)}, False),
        ({"cohort": 8}, False),
        ({"trials": 4}, False),
    ],
)
def test_what_is_asked_for_or_makes_no_difference_is_not_measured(
    changes: dict[str, Any], is_open: bool
) -> None:
    spec = tuning.SweepSpec(**{"model": "net", "trials": 256, **changes})
    nodes = [connection.Node(host="a", cpus=8, gpus=1)]
    assert sharing.is_open(spec, nodes, None) is is_open
    assert not sharing.is_open(spec, nodes, sizing(0.5, 1))
    assert not sharing.is_open(spec, [connection.Node(host="a", cpus=8, gpus=0)], None)


def test_shares_are_measured_side_by_side_as_far_as_the_cpus_suffice(home: Path, ray_cluster: Any) -> None:
    planned = plan.prepare(tuning.SweepSpec(model="net", trials=64, epochs=2))
    said: list[str] = []
    found = sharing.measure_shares(planned.spec, planned.splits, connection.nodes(), said.append)
    assert found.gpus in (1.0, 0.5)  # four on a GPU would need four CPUs
    assert [one.size for one in found.measured][:2] == [1, 2]
    assert said == ["measuring how many workers share a GPU ..."]


def test_a_sweep_on_gpus_measures_once_and_keeps_what_it_found(
    home: Path, ray_cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = tuning.SweepSpec(model="net", trials=64, epochs=2)
    first = tuning.sweep(spec)
    assert sum(first.states.values()) == 64
    assert capfd.readouterr().err.count("measuring how many workers share a GPU") == 1
    kept = json.loads((home / "net" / "cohort.json").read_text())
    assert kept["gpus"] in (1.0, 0.5) and len(kept["measured"]) > 1
    for trials in (66, 128):  # a few more, for which nothing is measured; then many
        tuning.sweep(tuning.SweepSpec(model="net", trials=trials, epochs=2))
        assert "share a GPU ..." not in capfd.readouterr().err
        assert json.loads((home / "net" / "cohort.json").read_text())["gpus"] == kept["gpus"]


def test_a_model_that_fails_while_it_is_measured_fails_in_its_trials_and_not_before(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    file = tmp_path / "broken.py"
    file.write_text(
        "from torch import nn\n"
        "class Broken(nn.Linear):\n"
        "    def __init__(self): super().__init__(1, 1)\n"
        "    def forward(self, x):\n"
        "        if len(x) > 4: raise KeyError('nowhere')\n"
        "        return super().forward(x)\n"
    )
    spec = tuning.SweepSpec(model=f"{file}:Broken", data="parabola", name="broken", trials=64, epochs=2)
    result = tuning.sweep(spec)
    assert result.halted is not None and "KeyError: 'nowhere'" in result.halted
