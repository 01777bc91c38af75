"""A worker that dies is replaced, and its cohort goes on from its last epoch."""

from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tuning.schedule import deaths

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
    cause = ledgers.children[0].data.tags["tuning.cause"]
    assert "died 4 times in a row; the last time: it was killed, as the kernel does" in cause


A_KILL = """Failure # 1 (occurred at 2026-11-30_11-07-02)
The actor died unexpectedly before finishing this task.
\tclass_name: Own
\tpid: 11435
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: \
Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the \
process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called.
"""
KILLED_BY_RAY = """Failure # 1 (occurred at 2026-11-30_11-07-02)
1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.2, ID: 9cbe) \
was 3.38GB used / 23.54GB limit (0.143724)
OOM kill reason: Memory usage 3632771072B exceeded threshold of 3626280448B (14.3% of 25276063744B limit)
Refer to the documentation on how to address the out of memory issue: ...
"""
A_NODE = """Failure # 1 (occurred at 2026-11-30_11-07-02)
The actor died unexpectedly before finishing this task.
The actor died because its node has died. Node Id: 9cbe
\tthe actor's node was terminated unexpectedly: health check failed
"""
AN_END = """Failure # 1 (occurred at 2026-11-30_11-07-02)
The actor is dead because its worker process has died. Worker exit type: INTENDED_SYSTEM_EXIT \
Worker exit detail: Owner's node has died.
"""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            A_KILL,
            "it was killed, as the kernel does where memory is short, or crashed "
            "(Ray: Worker unexpectedly exits with a connection error code 2. End of file)",
        ),
        (
            KILLED_BY_RAY,
            "Ray killed it, as the node had little memory left: 3.38GB used / 23.54GB limit",
        ),
        (A_NODE, "The actor died because its node has died. Node Id: 9cbe"),
        (AN_END, "Owner's node has died"),
        ("", ""),
    ],
    ids=["a kill", "Ray's own kill", "a node", "an end", "nothing"],
)
def test_what_ray_knows_of_a_death_is_one_line(error: str, reason: str) -> None:
    """Texts as Ray 2.60 gives them, shortened."""
    assert deaths.reason(error) == reason
