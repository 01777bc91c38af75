"""A trial that hangs ends in its own state, with where it hung for a cause, and the sweep goes on."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import tuning
from tests import sweeps
from tuning.schedule import trainable

MODEL = """
import time
import torch

class Sleepy(torch.nn.Linear):
    '''Sleeps for ever in training where it is told to, but not while the request is checked.'''

    def __init__(self, sleeps=0):
        super().__init__(1, 1)
        self.sleeps = sleeps

    def forward(self, x):
        if self.sleeps and self.training and len(x) > 4:
            time.sleep(3600)
        return super().forward(x)
"""

HANG = """
import ctypes, sys, time
from tuning.schedule import watchdog
watchdog.GRACE_S = 0.5
def tell(stack):
    open(sys.argv[1], "w").write(stack)
def hang():
    {how}
with watchdog.watched(0.5, tell):
    hang()
"""


@pytest.mark.parametrize("cohort", [1, 4])
def test_a_trial_that_hangs_fails_alone_and_says_where(
    home: Path, ray_cluster: Any, tmp_path: Path, cohort: int
) -> None:
    (tmp_path / "sleepy.py").write_text(MODEL)
    result = tuning.sweep(
        tuning.SweepSpec(
            model=f"{tmp_path}/sleepy.py:Sleepy",
            name=f"sleepy-{cohort}",
            data="noisy_square",
            trials=4,
            epochs=2,
            batch_size=80,
            search={"lr": tuning.Float(0.01, 0.1)},
            fixed={"sleeps": 0},
            try_=[{"sleeps": 0}, {"sleeps": 1}],
            early_stopping=tuning.EarlyStopping(kind="none"),
            cohort=cohort,
            max_concurrent=1,
            trial_timeout=10,  # the first epoch of a worker takes seconds on a busy machine
        )
    )
    assert [trial.state.value for trial in result.trials] == ["completed", "failed", "completed", "completed"]
    ledgers = sweeps.read(f"sleepy-{cohort}", home)
    sweeps.assert_they_agree(result, ledgers)
    run = ledgers.children[1]
    assert run.data.tags["tuning.cause"] == "no report within --trial-timeout 10 s"
    text = Path(ledgers.client.download_artifacts(run.info.run_id, "cause.txt", str(tmp_path))).read_text()
    assert "time.sleep(3600)" in text
    assert not list((home / f"sleepy-{cohort}" / "resume").iterdir())


@pytest.mark.parametrize(
    ("how", "is_told"),
    [("time.sleep(60)", True), ("ctypes.PyDLL(None).sleep(60)", False)],
    ids=["in Python", "in C code that holds the interpreter's lock"],
)
def test_a_process_that_hangs_ends(tmp_path: Path, how: str, is_told: bool) -> None:
    file, start_s = tmp_path / "stack", time.monotonic()
    command = [sys.executable, "-c", HANG.replace("{how}", how), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1 and time.monotonic() - start_s < 50
    assert "hang" in (file.read_text() if is_told else done.stderr)


LIVES = """
import sys, time
from tuning.schedule import watchdog
def items():
    for _ in range(4):
        time.sleep(0.5)
        yield None
with watchdog.watched(2.0, print) as dog:
    for _ in watchdog.each(items(), dog):
        pass
    for _ in watchdog.each(iter([1]), dog):
        time.sleep(3.0)  # it waits for others: no fault of what is watched
    for _ in watchdog.fed(range(4), dog):
        time.sleep(0.5)
time.sleep(2.5)
print("alive")
"""


def test_a_process_that_gives_signs_of_life_or_waits_for_others_lives_on() -> None:
    command = [sys.executable, "-c", LIVES]
    assert subprocess.run(command, capture_output=True, text=True, timeout=50).stdout == "alive\n"


def test_a_step_that_is_compiled_on_the_way_has_time_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []
    monkeypatch.setattr(trainable, "watched", lambda limit, _: limits.append(limit))
    for timeout, compiles in ((4.0, False), (4.0, True), (None, True)):
        work = SimpleNamespace(spec=tuning.SweepSpec(model="net", trial_timeout=timeout, compile=compiles))
        trainable._watched(cast(Any, work), None)
    assert limits == [4.0, 4.0 + trainable.COMPILING_S, None]
