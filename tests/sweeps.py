"""A sweep run in this process, and its three ledgers read back with the libraries' own means."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

import models
import tuning
from tuning import data, ledger, paths
from tuning.engine import solo
from tuning.engine.batches import Batches

STATUS = {
    "completed": "FINISHED",
    "pruned": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "interrupted": "SCHEDULED",
}

OPTUNA_STATE = {
    "completed": "COMPLETE",
    "pruned": "PRUNED",
    "diverged": "FAIL",
    "failed": "FAIL",
    "interrupted": "RUNNING",
}


@dataclass(frozen=True)
class Ledgers:
    """What Optuna, MLflow and the disk say of one sweep."""

    study: optuna.Study
    client: MlflowClient
    parent: Run
    children: dict[int, Run]
    """MLflow's run per trial number."""
    checkpoints: dict[int, Path]


def read(name: str, home: Path, tracking_uri: str | None = None, experiment: str | None = None) -> Ledgers:
    folder = home / name
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    study = optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))
    client = MlflowClient(tracking_uri or f"sqlite:///{home}/mlflow.db")
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`tuning.sweep` = '{name}'", max_results=5000)
    (parent,) = [run for run in runs if run.data.tags["tuning.kind"] == "sweep"]
    children = [run for run in runs if run.data.tags["tuning.kind"] == "trial"]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in children)
    numbers = [int(run.data.tags["tuning.trial"]) for run in children]
    assert len(set(numbers)) == len(numbers), "a trial has more than one run"
    files = sorted((folder / "checkpoints").glob("trial-*.pt"))
    return Ledgers(
        study=study,
        client=client,
        parent=parent,
        children=dict(zip(numbers, children, strict=True)),
        checkpoints={int(file.stem.removeprefix("trial-")): file for file in files},
    )


def assert_they_agree(result: tuning.SweepResult | ledger.Sweep, ledgers: Ledgers) -> None:
    """Study = MLflow = checkpoints, trial by trial, and nothing of the sweep is left RUNNING."""
    trials = {trial.number: trial for trial in result.trials}
    has_accuracy = any("val_accuracy" in run.data.metrics for run in ledgers.children.values())
    metric = "val_accuracy" if has_accuracy else "val_loss"
    assert sorted(trials) == [trial.number for trial in ledgers.study.trials] == sorted(ledgers.children)
    assert ledgers.parent.info.status != "RUNNING"
    for number, trial in trials.items():
        run = ledgers.children[number]
        assert run.info.status == STATUS[trial.state.value]
        assert run.data.tags["tuning.state"] == trial.state.value
        assert ledgers.study.trials[number].state.name == OPTUNA_STATE[trial.state.value]
        assert run.data.params == {key: str(value) for key, value in trial.hyperparameters.items()}
        points = ledgers.client.get_metric_history(run.info.run_id, metric)
        history = {point.step: point.value for point in points}
        assert len(history) == len(points), "an epoch is there twice"
        values = ledgers.study.trials[number].intermediate_values
        assert {step: value for step, value in history.items() if step in values} == values == trial.values
        if trial.value is not None:
            uploaded = [item.path for item in ledgers.client.list_artifacts(run.info.run_id, "checkpoint")]
            stem = f"checkpoint/{paths.trial_name(number)}"
            assert uploaded == [f"{stem}.json", f"{stem}.pt"]
            assert number in ledgers.checkpoints


def remeasured(checkpoint: Path, split: str = "validation") -> tuple[dict[str, Any], dict[str, float]]:
    """Open a checkpoint with plain torch, build a fresh model, and measure it on a split."""
    content = torch.load(checkpoint, weights_only=True)
    model = models.build(content["model"], **content["arguments"])
    model.load_state_dict(content["state_dict"])
    splits = data.load(content["data"], seed=content["seed"])
    assert splits.fingerprint == content["fingerprint"]
    rows = getattr(splits, split)
    batches = Batches(rows, content["batch_size"], torch.device("cpu"), ordered=splits.ordered)
    return content, solo.evaluate(model, batches.in_order(), splits, {"validation": "val"}.get(split, split))
