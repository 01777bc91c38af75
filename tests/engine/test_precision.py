"""Mixed precision: products in bfloat16 while a model trains; all that is kept and measured in float32."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import models
from tests.engine.trials import CPU, run, settings
from tuning.engine import cohort, precision, solo
from tuning.records import Cohort, Member, TrialSpec

LR = {"lr": 0.001, "momentum": 0.5}


def losses(model: str, precision: Any, trials: int) -> list[dict[str, float]]:
    """Metrics of the first epoch of so many trials, stacked where there are several."""
    spec, splits = settings(model, epochs=1, precision=precision, seed=1)
    splits = replace(splits, train=first(splits.train, 256), validation=first(splits.validation, 128))
    members = tuple(Member(trial=TrialSpec(number=n, hyperparameters=LR)) for n in range(trials))
    (epoch,) = cohort.train(Cohort(id="a", members=members, until=1), spec, splits, device=CPU, resume={})
    assert not epoch.notes and all(not report.error for report in epoch.reports)
    return [dict(report.metrics) for report in sorted(epoch.reports, key=lambda report: report.trial)]


def first(dataset: Any, rows: int) -> torch.utils.data.TensorDataset:
    return torch.utils.data.TensorDataset(*(tensor[:rows] for tensor in dataset.tensors))


@pytest.mark.parametrize("model", sorted(models.CATALOG))
def test_every_documented_model_trains_about_as_in_float32_alone_and_stacked(model: str) -> None:
    exact, mixed = losses(model, "fp32", 1), losses(model, "bf16", 1)
    assert mixed != exact, "nothing was rounded"
    assert mixed[0]["val_loss"] == pytest.approx(exact[0]["val_loss"], rel=0.05)
    together = losses(model, "bf16", 3)
    assert together[0]["val_loss"] == pytest.approx(exact[0]["val_loss"], rel=0.05)


def test_a_cpu_of_which_onednn_has_no_bfloat16_trains_an_lstm_too(monkeypatch: pytest.MonkeyPatch) -> None:
    onednn, asked = torch._C._get_mkldnn_enabled, []
    monkeypatch.setattr(precision, "_has_onednn_bf16", lambda: False)
    forward = nn.LSTM.forward
    monkeypatch.setattr(nn.LSTM, "forward", lambda self, *x: (asked.append(onednn()), forward(self, *x))[1])
    exact, mixed = losses("lstm", "fp32", 1), losses("lstm", "bf16", 1)
    assert mixed != exact and mixed[0]["val_loss"] == pytest.approx(exact[0]["val_loss"], rel=0.05)
    assert {True, False} == set(asked) and onednn(), "only where it is needed"


class Noting(nn.Linear):
    """Notes in which type its products come."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.seen: dict[bool, torch.dtype] = {}

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        self.seen[self.training] = out.dtype
        return out


def test_weights_optimizer_and_measurement_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    noting = Noting()
    monkeypatch.setattr(solo, "build_model", lambda *_: noting)
    spec, splits = settings("net", data="noisy_square", epochs=1, precision="bf16")
    _, state = run(spec, splits, until=1, **LR)
    assert noting.seen == {True: torch.bfloat16, False: torch.float32}
    kept = [*state.model.values(), *(s["momentum_buffer"] for s in state.optimizer.values())]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
