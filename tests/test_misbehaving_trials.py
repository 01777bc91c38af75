"""Trials that misbehave, of every kind in one sweep: each ends in its own state and says why."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import sweeps
from tuning import ledger

MODEL = """
import os, signal, time
from dataclasses import replace

import torch
from tuning.schedule.messages import Message

class Misbehaving(torch.nn.Linear):
    def __init__(self, kind="good"):
        super().__init__(1, 1)
        self.kind = kind

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) > 4:  # not while the request is checked
            if self.kind == "raises":
                raise ArithmeticError("of my own")
            if self.kind == "no memory":
                torch.empty(2**47, dtype=torch.uint8)  # all addresses that a process has
            if self.kind == "hangs":
                time.sleep(3600)
            if self.kind == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x) * (float("nan") if self.kind == "no number" else 1)

plain = Message.encode

def encode(message, *arguments):  # as a worker's of another version, which measures something else
    reports = [one if one.trial else replace(one, metrics={"train_loss": 1.0}) for one in message.reports]
    return plain(replace(message, reports=reports), *arguments)

Message.encode = encode
"""

KINDS = {
    "without metric": (
        "failed",
        r"epoch 1 has no metric 'val_loss', only: train_loss",
    ),  # trial 0, see `encode`
    "no number": ("diverged", r"train_loss is nan and val_loss is nan after epoch 1"),
    "raises": ("failed", r"ArithmeticError: of my own \(at misbehaving\.py:\d+"),
    "no memory": ("failed", r"can't allocate memory"),
    "hangs": ("failed", r"no report within --trial-timeout 15 s"),
    "good": ("completed", ""),  # before the next: where nothing has trained, one death is enough
    "killed": ("failed", r"its worker process or node died 4 times in a row; the last time: it was killed"),
}
RAISED_IN = {
    "raises": 'raise ArithmeticError("of my own")',
    "no memory": "torch.empty(",
    "hangs": "time.sleep(3600)",
}
"""Kinds with a traceback, and a line of it."""


@pytest.mark.parametrize(
    ("cohort", "kinds"), [(1, [*KINDS]), (4, ["without metric", "no number", "raises", "good"])]
)
def test_each_kind_ends_in_its_state_with_its_cause_in_mlflow_and_once_on_the_screen(
    cohort: int, kinds: list[str], home: Path, command: Any, tmp_path: Path
) -> None:
    (tmp_path / "misbehaving.py").write_text(MODEL)
    spec = {
        "model": "misbehaving.py:Misbehaving",
        "data": "noisy_square",
        "trials": len(kinds),
        "epochs": 2,
        "search": {"lr": {"low": 0.01, "high": 0.1}},
        "try": [{"kind": kind} for kind in kinds],
        "early_stopping": {"kind": "none"},
        "cohort": cohort,
        "max_concurrent": 1,
        "max_failures": 10,
        "trial_timeout": 15,
        "name": "odd",
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    done = command("sweep", "spec.yaml", cwd=tmp_path, timeout=400)
    assert done.returncode == 0, done.stderr
    found, ledgers = ledger.open_sweep("odd", str(home)), sweeps.read("odd", home)
    sweeps.assert_they_agree(found, ledgers)
    said = done.stderr.splitlines()
    for trial, kind in zip(found.trials, kinds, strict=True):
        state, cause = KINDS[kind]
        run = ledgers.children[trial.number]
        assert trial.state.value == state, kind
        assert re.search(cause, run.data.tags.get("tuning.cause", "")), run.data.tags
        lines = [line for line in said if re.match(rf"trial {trial.number} (failed|diverged)", line)]
        assert len(lines) == (kind != "good") and all(re.search(cause, line) for line in lines), lines
        if kind in RAISED_IN:
            text = ledgers.client.download_artifacts(run.info.run_id, "cause.txt", str(tmp_path))
            assert RAISED_IN[kind] in Path(text).read_text()
    assert max(map(len, said)) < 320 and "Traceback" not in done.stderr + done.stdout, "no wall of text"
