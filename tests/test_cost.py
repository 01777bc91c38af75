"""What a sweep has cost and saved: by arithmetic, and in the three places where it is shown."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tuning.cli import main
from tuning.cost import Cost, cost
from tuning.records import State, TrialRecord
from tuning.sizing import NOT_MEASURED, Measured, Sizing

SPEC = tuning.SweepSpec(model="net", epochs=9)


def trial(number: int, state: State, epochs: int) -> TrialRecord:
    values = {epoch: 0.5 for epoch in range(1, epochs + 1)}
    return TrialRecord(number=number, state=state, hyperparameters={}, values=values)


TRIALS = [
    trial(0, State.COMPLETED, 9),
    trial(1, State.PRUNED, 1),
    trial(2, State.PRUNED, 3),
    trial(3, State.DIVERGED, 4),
    trial(4, State.RUNNING, 0),
]
"""17 epochs were trained; those that were stopped early had 14 more to go."""


def test_epochs_are_counted_in_gpu_hours_where_there_is_a_gpu_and_in_cpu_hours_elsewhere() -> None:
    assert cost(SPEC, TRIALS, NOT_MEASURED, (3600.0, 900.0)) == Cost("gpu", 17 / 4, 14 / 4, 0.0)
    assert cost(SPEC, TRIALS, NOT_MEASURED, (3600.0, 0.0)) == Cost("cpu", 17.0, 14.0, 0.0)
    assert cost(SPEC, [], NOT_MEASURED, None) is None


def test_cohorts_have_saved_what_training_alone_was_measured_to_take() -> None:
    measured = tuple(Measured(size=k, trials_per_s=rate, memory_bytes=0) for k, rate in ((1, 2.0), (4, 6.0)))
    together = Sizing(size=4, why="", device="", measured=measured)
    five = [replace(trial, width=5) for trial in TRIALS]
    found = cost(SPEC, five, together, (3600.0, 0.0))
    assert found is not None and found.saved_by_cohorts == pytest.approx(2 * 17)


def test_what_trained_alone_after_a_resume_counts_as_no_saving_of_cohorts() -> None:
    measured = tuple(Measured(size=k, trials_per_s=rate, memory_bytes=0) for k, rate in ((1, 2.0), (2, 3.0)))
    together = Sizing(size=2, why="", device="", measured=measured)
    widths = (2, 2, 1, 1, 1)
    found = cost(
        SPEC,
        [replace(trial, width=width) for trial, width in zip(TRIALS, widths, strict=True)],
        together,
        (3600.0, 0.0),
    )
    assert found is not None and found.saved_by_cohorts == pytest.approx(0.5 * (9 + 1))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Cost("gpu", 0.34, 0.12, 0.0), "0.34 GPU-hours of training; early stopping saved 0.12 GPU-hours"),
        (
            Cost("gpu", 0.01, 0.12, 0.001),
            "36 GPU-seconds of training; early stopping saved 432 GPU-seconds; cohorts saved 3.6 GPU-seconds",
        ),
        (Cost("cpu", 1234.5, 0.0, 99.0), "1,234 CPU-hours of training; cohorts saved 99 CPU-hours"),
        (Cost("cpu", 2.0, 0.0, 0.0), "2 CPU-hours of training"),
    ],
)
def test_it_is_said_in_one_line(found: Cost, text: str) -> None:
    assert found.describe() == text


def test_status_json_and_mlflow_tell_the_same(
    home: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = tuning.Resources(cpus=0, gpus=0.5)
    spec = tuning.SweepSpec(model="net", trials=6, epochs=9, cohort=1, max_concurrent=1, resources=shares)
    result = tuning.sweep(spec)
    assert result.states["pruned"] > 0
    capsys.readouterr()
    assert main(["status", "net", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["cost"]
    assert told["gpu_hours"] > 0 and told["gpu_hours_saved_by_early_stopping"] > 0
    metrics = sweeps.read("net", home).parent.data.metrics
    assert {key: metrics[key] for key in told} == pytest.approx(told)
    assert main(["status", "net"]) == 0
    assert "GPU-seconds of training; early stopping saved" in capsys.readouterr().out
