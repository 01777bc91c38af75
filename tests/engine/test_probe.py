"""Cohort sizes are measured with the real step, until larger ones do not pay, fit or stack."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.engine.trials import CPU, settings
from tuning.engine import probe
from tuning.space import Choice, Float, Int

PLENTY = 1e12


def test_sizes_are_measured_from_one_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.01)
    monkeypatch.setattr(probe, "GAIN", 0.0)
    spec, splits = settings("net", epochs=2)
    found, note = probe.measure(spec, splits, CPU, [1, 2, 4], PLENTY)
    assert [one.size for one in found] == [1, 2, 4] and not note
    assert all(one.trials_per_s > 0 and one.startup_s > 0 for one in found)
    parameters = 4 * (10 + 10 + 9 * 0 + 10 + 1)
    assert found[0].memory_bytes >= parameters and found[2].memory_bytes == 2 * found[1].memory_bytes


@pytest.mark.parametrize(
    ("rates", "ends"),
    [
        ([4, 3, 6, 12], False),
        ([4, 3, 2], False),
        ([4, 3, 2, 6], False),
        ([4, 3, 2, 2.1], True),
        ([4, 8, 8], False),
        ([4, 8, 8, 8.1], True),
        ([4, 3, 3.5, 3.6], True),
        ([4], False),
    ],
)
def test_measuring_ends_when_doubling_brings_little_twice(rates: list[float], ends: bool) -> None:
    found = [probe.Measured(size=2**n, trials_per_s=rate, memory_bytes=1) for n, rate in enumerate(rates)]
    assert probe._no_longer_pays(found) is ends


@pytest.mark.parametrize(
    ("is_waiting", "most_s", "sizes"),
    [(True, 60.0, [1, 2, 4, 8]), (False, 60.0, [1, 2]), (True, 0.05, [1, 2])],
)
def test_only_time_spent_measuring_uses_up_the_budget(
    is_waiting: bool, most_s: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(spec: object, splits: object, device: object, size: int) -> probe.Measured:
        end_s = time.thread_time() + 0.06
        time.sleep(0.06)  # what else the machine does
        while not is_waiting and time.thread_time() < end_s:
            pass
        return probe.Measured(size=size, trials_per_s=size, memory_bytes=1)

    monkeypatch.setattr(probe, "_measure_one", measured)
    monkeypatch.setattr(probe, "BUDGET_S", 0.05)
    monkeypatch.setattr(probe, "MOST_S", most_s)
    spec, splits = settings("net", epochs=2)
    found, _ = probe.measure(spec, splits, CPU, [1, 2, 4, 8], PLENTY)
    assert [one.size for one in found] == sizes


def test_a_size_that_would_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.01)
    monkeypatch.setattr(probe, "GAIN", 0.0)
    spec, splits = settings("net", epochs=2)
    (_, two), _ = probe.measure(spec, splits, CPU, [1, 2], PLENTY)
    found, note = probe.measure(spec, splits, CPU, [1, 2, 4, 8], two.memory_bytes * 2)
    assert [one.size for one in found] == [1, 2]
    assert note.startswith("4 trials would take") and "of a worker" in note


def test_a_size_that_runs_out_of_memory_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = probe._measure_one

    def scarce(spec: object, splits: object, device: object, size: int) -> probe.Measured:
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return measured(spec, splits, device, size)  # type: ignore[arg-type]

    monkeypatch.setattr(probe, "SECONDS", 0.01)
    monkeypatch.setattr(probe, "_measure_one", scarce)
    spec, splits = settings("net", epochs=2)
    found, note = probe.measure(spec, splits, CPU, [1, 2, 4], PLENTY)
    assert ([one.size for one in found], note) == ([1, 2], "a larger one does not fit")


def measure_own(file: Path, *body: str) -> tuple[list[int], str]:
    """Return the sizes that were measured of a linear layer with this body, and the note."""
    start = (
        "import torch",
        "class Own(torch.nn.Linear):",
        "    def __init__(self):",
        "        super().__init__(1, 1)",
    )
    file.write_text("\n".join([*start, *(f"    {line}" for line in body), ""]))
    spec, splits = settings("net", epochs=2)
    spec = replace(spec, model=f"{file}:Own", search={})
    found, note = probe.measure(spec, splits, CPU, [1, 2, 4], PLENTY)
    return [one.size for one in found], note


def test_a_model_that_cannot_be_stacked_is_measured_alone_and_says_why(tmp_path: Path) -> None:
    sizes, note = measure_own(
        tmp_path / "own.py",
        "def forward(self, x):",
        "    y = super().forward(x)",
        "    return y if y.sum() > 0 else -y",
    )
    assert sizes == [1]
    assert "data-dependent control flow" in note and "own.py:7" in note


def test_a_model_whose_instances_differ_is_measured_alone_and_says_in_what(tmp_path: Path) -> None:
    sizes, note = measure_own(
        tmp_path / "own.py",
        "    self.act = lambda x: x.relu()",
        "def forward(self, x):",
        "    return self.act(super().forward(x))",
    )
    assert sizes == [1]
    assert note == "trials train one by one, they cannot be stacked: their models differ in Own.act"


def test_the_typical_trial_has_the_middle_of_every_range() -> None:
    spec, _ = settings("net")
    spec = replace(
        spec,
        search={
            "lr": Float(1e-4, 1.0, log=True),
            "momentum": Float(0.0, 0.8),
            "n_hidden": Int(4, 16, log=True),
            "optimizer": Choice(("sgd", "adam")),
        },
        fixed={"weight_decay": 0.1},
    )
    found = probe.typical(spec)
    assert found == {
        "lr": pytest.approx(1e-2),
        "momentum": 0.4,
        "n_hidden": 8,
        "optimizer": "adam",
        "weight_decay": 0.1,
    }
