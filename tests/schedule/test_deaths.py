"""A worker that dies is replaced, and its cohort goes on from its last epoch."""

from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tuning.schedule import stopping

MODEL = """
import os, pathlib, signal, time
import torch

class Mortal(torch.nn.Linear):
    '''Kills its own process at its third epoch, as often as `deaths` says.'''

    def __init__(self, folder='', deaths=0):
        super().__init__(1, 1)
        self.folder, self.deaths, self.epochs = pathlib.Path(folder), deaths, 0

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) > 4 and self.deaths:
            with open(self.folder / 'steps', 'a') as file:
                file.write('x')
            steps = (self.folder / 'steps').stat().st_size
            if steps == 2:
                time.sleep(3)  # of short epochs not each one is saved; this one is
            died = len(list(self.folder.glob('death-*')))
            third = steps % 3 == 0
            if died < self.deaths and (third or (self.folder / 'always').exists()):
                (self.folder / f'death-{died}').touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""


def sweep(tmp_path: Path, deaths: int) -> tuning.SweepResult:
    (tmp_path / "mortal.py").write_text(MODEL)
    return tuning.sweep(
        tuning.SweepSpec(
            model=f"{tmp_path}/mortal.py:Mortal",
            name=f"mortal-{deaths}",
            data="noisy_square",
            trials=1,
            epochs=5,
            batch_size=80,
            search={"lr": tuning.Float(0.01, 0.1)},
            try_=[{"lr": 0.05}],
            fixed={"folder": str(tmp_path), "deaths": deaths},
            early_stopping=tuning.EarlyStopping(kind="none"),
            resources=tuning.Resources(cpus=1, gpus=0),
        )
    )


def test_a_cohort_whose_worker_was_killed_goes_on_from_its_last_epoch(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    result = sweep(tmp_path, deaths=1)
    assert (tmp_path / "death-0").exists(), "the kill must have happened"
    assert result.trials[0].state.value == "completed"
    steps = (tmp_path / "steps").stat().st_size
    assert steps == 6, "five epochs of one step, the third of them twice"
    ledgers = sweeps.read("mortal-1", home)
    sweeps.assert_they_agree(result, ledgers)
    history = ledgers.client.get_metric_history(ledgers.children[0].info.run_id, "val_loss")
    assert [point.step for point in history] == [1, 2, 3, 4, 5], "no step lost, none doubled"
    assert not list((home / "mortal-1" / "resume").iterdir())


def test_a_killed_trial_comes_to_the_same_result_as_one_that_was_left_alone(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    killed = sweep(tmp_path, deaths=1).trials[0]
    alone = sweep(tmp_path, deaths=0).trials[0]
    assert killed.values == alone.values


def test_a_cohort_that_kills_every_worker_fails_after_its_retries(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    (tmp_path / "always").touch()
    result = sweep(tmp_path, deaths=99)
    assert len(list(tmp_path.glob("death-*"))) == 4, "one attempt and three retries"
    assert result.trials[0].state.value == "failed"
    ledgers = sweeps.read("mortal-99", home)
    sweeps.assert_they_agree(result, ledgers)
    assert "died 4 times" in ledgers.children[0].data.tags["tuning.cause"]


AN_EXIT = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Own\nThe actor is dead because "
    "its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly "
    "exits with a connection error code 2. End of file."
)
KILLED_BY_RAY = "ray.exceptions.OutOfMemoryError: Task was killed\n\nMemory on the node was 22GB / 23GB.\n"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AN_EXIT, "Worker unexpectedly exits with a connection error code 2. End of file."),
        (KILLED_BY_RAY, "Memory on the node was 22GB / 23GB."),
    ],
)
def test_what_ray_knows_of_a_death_is_one_line(error: str, reason: str) -> None:
    assert stopping._reason(error) == reason
