"""Two users on one cluster, one MLflow server and one storage, even with sweeps of the same name."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from tests.conftest import REPOSITORY
from tuning import ledger
from tuning.records import TrialRecord

# A worker trains once both users have one that does: that they share the cluster is no matter of luck.
MODEL = """
import pathlib, time, ray, torch

class Slow(torch.nn.Linear):
    def __init__(self): super().__init__(1, 1)
    def forward(self, x):
        if self.training and ray.is_initialized() and ray.get_runtime_context().get_actor_id():
            meeting = pathlib.Path("{meeting}")
            (meeting / "{me}").touch()
            deadline = time.monotonic() + 120
            while len(list(meeting.iterdir())) < 2 and time.monotonic() < deadline: time.sleep(0.05)
            while (meeting.parent / "hold-{me}").exists(): time.sleep(0.05)
            time.sleep(0.1)
        return super().forward(x)
"""


def start(
    user: Path, trials: int, address: str, mlflow: str, storage: Path, epochs: int = 3
) -> "subprocess.Popen[str]":
    (user / "project").mkdir(parents=True)
    meeting = user.parent / "meeting"
    meeting.mkdir(exist_ok=True)
    (user / "project/slow.py").write_text(MODEL.format(meeting=meeting, me=user.name))
    options = f"--data noisy_line --trials {trials} --epochs {epochs} --early-stopping none --cohort 1 --json"
    where = f"--address {address} --tracking-uri {mlflow} --storage {storage} --home {user}/home"
    command = f"slow.py:Slow --name alike --gpus-per-trial 1 --cpus-per-trial 0 --max-concurrent 2 {options}"
    return subprocess.Popen(
        [sys.executable, "-m", "tuning", "sweep", *command.split(), *where.split()],
        cwd=user / "project",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_they_share_its_gpus_and_neither_touches_what_is_the_others(
    ray_cluster: Any, mlflow_server: str, tmp_path: Path
) -> None:
    storage, address = tmp_path / "storage", ray_cluster.address
    users = {tmp_path / "anna": 8, tmp_path / "ben": 4}
    running = {user: start(user, n, address, mlflow_server, storage) for user, n in users.items()}
    client = MlflowClient(mlflow_server)
    seen: dict[Path, list[tuple[int, int]]] = {}
    for user, process in running.items():
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert json.loads(out)["states"] == {"completed": users[user]}
        sweep = ledger.open_sweep("alike", str(user / "home"))
        experiments = [one.experiment_id for one in client.search_experiments() if one.name == "Slow"]
        wanted = f"tags.`tuning.sweep_id` = '{sweep.spec.id}' and tags.`tuning.kind` = 'trial'"
        runs = client.search_runs(experiments, wanted)
        assert sorted(int(run.data.tags["tuning.trial"]) for run in runs) == list(range(users[user]))
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert Path(sweep.folder).parent == storage
        assert len(list(Path(sweep.folder, "checkpoints").glob("trial-*.pt"))) == users[user]
        seen[user] = [(run.info.start_time, run.info.end_time) for run in runs]
        assert most_at_once(sweep.trials) <= 2, "as --max-concurrent says"
    assert len(list(storage.iterdir())) == 2, "each sweep has a folder of its own, whatever its name"
    (anna, ben) = (
        (min(start for start, _ in spans), max(end for _, end in spans)) for spans in seen.values()
    )
    assert max(anna[0], ben[0]) < min(anna[1], ben[1]), "they trained at the same time"


def test_one_is_cancelled_and_the_others_sweep_goes_on(
    ray_cluster: Any, mlflow_server: str, tmp_path: Path
) -> None:
    anna, ben = tmp_path / "anna", tmp_path / "ben"
    where = ray_cluster.address, mlflow_server, tmp_path / "storage"
    (tmp_path / "hold-anna").touch()
    running = {anna: start(anna, 4, *where), ben: start(ben, 9, *where, epochs=100_000)}
    try:
        while len(list((tmp_path / "meeting").iterdir())) < 2:
            assert all(process.poll() is None for process in running.values())
            time.sleep(0.05)
        cancel = [sys.executable, "-m", "tuning", "cancel", "alike", "--home", str(ben / "home")]
        subprocess.run(cancel, cwd=REPOSITORY, check=True, capture_output=True)
        assert running[ben].wait(timeout=120) == 130
        assert running[anna].poll() is None
        (tmp_path / "hold-anna").unlink()
        out, errors = running[anna].communicate(timeout=120)
        assert running[anna].returncode == 0, errors
    finally:
        for process in running.values():
            process.kill()
    assert json.loads(out)["states"] == {"completed": 4}
    assert statuses(mlflow_server, anna) == {"FINISHED"}
    assert statuses(mlflow_server, ben) == {"KILLED", "SCHEDULED"}, (
        "of the sweep, and of trials that can go on"
    )


def statuses(mlflow: str, user: Path) -> set[str]:
    client, sweep = MlflowClient(mlflow), ledger.open_sweep("alike", str(user / "home"))
    experiments = [one.experiment_id for one in client.search_experiments() if one.name == "Slow"]
    runs = client.search_runs(experiments, f"tags.`tuning.sweep_id` = '{sweep.spec.id}'")
    return {run.info.status for run in runs}


def most_at_once(trials: Sequence[TrialRecord]) -> int:
    """Return how many processes trained trials at the same time, at most."""
    whole: dict[tuple[str, int], tuple[float, float]] = {}
    for span in (span for trial in trials for span in trial.spans):
        begin, end = whole.get((span.where, span.process), (span.begin_s, span.end_s))
        whole[span.where, span.process] = min(begin, span.begin_s), max(end, span.end_s)
    return max(sum(begin <= at < end for begin, end in whole.values()) for at, _ in whole.values())
