"""The peers' loop and this project train the same: without dropout, to the same numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tuning
from benchmarks.job import draw
from benchmarks.peers import loop
from tuning import plan
from tuning.engine import solo
from tuning.records import TrialSpec


@pytest.mark.parametrize("model", ["batchnorm_net", "net", "rnn", "dropout_net"])
def test_peers_train_what_this_project_trains(model: str, tmp_path: Path) -> None:
    job = draw(model, trials=2, epochs=2)
    configuration = {**job.configurations[1], "dropout": 0.0}
    job = replace(job, configurations=(job.configurations[0], configuration))
    spec = plan.prepare(tuning.SweepSpec(model=job.model, epochs=job.epochs, home=str(tmp_path))).spec
    trial = TrialSpec(number=1, hyperparameters=configuration)
    splits = loop.data(job.data, job.seed)

    theirs = list(loop.train(job, configuration, f"{tmp_path}/trace.jsonl"))
    ours = solo.train(trial, spec, splits, until=job.epochs, device=torch.device("cpu"))

    for report, metrics in zip((report for report, _ in ours), theirs, strict=True):
        assert report.metrics == pytest.approx(metrics, rel=1e-5)
