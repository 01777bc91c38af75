"""One trial on several ranks comes to what it comes to on one with the same batch. Gloo, on the CPU."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

import tuning
from tests.engine import rank_processes
from tests.engine.trials import CPU, settings
from tuning.data import Splits
from tuning.engine import ranks, solo
from tuning.engine.failures import DeviceLost, RankDied, is_device_lost, may_pass
from tuning.engine.layers import HashDropout
from tuning.engine.ranks import Shard
from tuning.records import TrialSpec
from tuning.references import load_data
from tuning.spec import Resources, SweepSpec

TWO = Resources(cpus=2, gpus=2)


def case(model: str, rows: int, **changes: Any) -> tuple[SweepSpec, Splits]:
    """A request for two GPUs, and so many rows of data."""
    spec, splits = settings(model, resources=TWO, epochs=2, seed=1, batch_size=64, **changes)
    parts = {
        name: TensorDataset(*(tensor[:rows] for tensor in getattr(splits, name).tensors))
        for name in ("train", "validation", "test")
    }
    return spec, replace(splits, **parts)


def compared(
    model: str, rows: int, hyperparameters: dict[str, Any], **changes: Any
) -> tuple[list[Any], list[Any]]:
    """Reports and last states of the same trial on one rank and on two."""
    spec, splits = case(model, rows, **changes)
    trial = TrialSpec(number=3, hyperparameters=hyperparameters)
    keys: dict[str, Any] = {"until": 2, "device": CPU}
    return list(solo.train(trial, spec, splits, **keys)), list(ranks.train(trial, spec, splits, **keys))


@pytest.mark.parametrize(
    ("model", "rows", "hyperparameters"),
    [
        # the last batch has 2 rows, one for each rank
        ("cnn", 130, {"lr": 0.01, "momentum": 0.5, "dropout": 0.4, "bn_momentum": 0.2}),
        ("batchnorm_net", 101, {"lr": 1e-4, "momentum": 0.5, "dropout": 0.3, "weight_decay": 0.1}),
        ("rnn", 60, {"lr": 1e-3, "optimizer": "rmsprop", "batch_size": 4}),
    ],
)
def test_two_ranks_come_to_the_result_of_one(model: str, rows: int, hyperparameters: dict[str, Any]) -> None:
    alone, together = compared(model, rows, hyperparameters)
    assert [report.epoch for report, _ in together] == [1, 2]
    for (one, _), (two, _) in zip(alone, together, strict=True):
        assert two.metrics == pytest.approx(one.metrics, rel=1e-3)
    (_, one), (_, two) = alone[-1], together[-1]
    assert one.model.keys() == two.model.keys(), "what is kept is no other than of one rank"
    for name, tensor in one.model.items():
        torch.testing.assert_close(two.model[name], tensor, rtol=1e-3, atol=1e-4)
    assert [s.keys() for s in one.optimizer.values()] == [s.keys() for s in two.optimizer.values()]


def test_two_ranks_round_to_bfloat16_as_one_does_and_keep_float32() -> None:
    hyperparameters = {"lr": 0.01, "momentum": 0.5, "bn_momentum": 0.2}
    alone, together = compared("cnn", 130, hyperparameters, precision="bf16")
    exact, _ = compared("cnn", 130, hyperparameters)
    for (one, _), (two, _), (other, _) in zip(alone, together, exact, strict=True):
        assert two.metrics == pytest.approx(one.metrics, rel=0.02)
        assert two.metrics["train_loss"] != other.metrics["train_loss"], "nothing was rounded"
    model = together[-1][1].model
    assert {tensor.dtype for tensor in model.values() if tensor.is_floating_point()} == {torch.float32}


def test_a_trial_is_resumed_on_two_ranks_as_on_one() -> None:
    spec, splits = case("net", 100, data="noisy_square")
    trial = TrialSpec(number=3, hyperparameters={"lr": 0.01, "momentum": 0.9})
    whole = list(ranks.train(trial, spec, splits, until=2, device=CPU))
    state = whole[0][1].to_plain()
    ((report, _),) = ranks.train(trial, spec, splits, until=2, device=CPU, resume=state)
    assert report.epoch == 2 and report.metrics == whole[1][0].metrics


def test_data_that_is_read_example_by_example_is_opened_by_each_rank(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Lines(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 40\n"
        "    def __getitem__(self, row): return torch.tensor([row / 40]), torch.tensor([row / 20])\n"
        "def data(): return Lines(), Lines(), Lines()\n"
    )
    name = f"{tmp_path}/own.py:data"
    spec, _ = settings("net", data="noisy_square", resources=TWO, epochs=1)
    spec, splits = replace(spec, data=name), load_data(name, seed=0)
    trial = TrialSpec(number=0, hyperparameters={"lr": 0.01})
    ((alone, _),) = solo.train(trial, spec, splits, until=1, device=CPU)
    ((together, _),) = ranks.train(trial, spec, splits, until=1, device=CPU)
    assert together.metrics == pytest.approx(alone.metrics, rel=1e-4)


@pytest.mark.parametrize("fold", [1, 5])
def test_masks_of_a_rank_are_rows_of_the_whole_batchs(fold: int) -> None:
    """Also where a layer has several rows of each example's, as of a series of steps."""
    whole = torch.ones(64 * fold, 10)
    alone = HashDropout(0.5, 1, 2, "layer")
    alone.begin(7)
    expected = alone(whole)
    for part in ((0, 32, 64), (32, 64, 64)):
        rank = HashDropout(0.5, 1, 2, "layer")
        rank.begin(7, part=part)
        mine = slice(part[0] * fold, part[1] * fold)
        assert torch.equal(rank(whole[mine]), expected[mine])


def test_where_the_first_axis_is_not_the_batchs_each_rank_draws_masks_of_its_own() -> None:
    drawn = []
    for part in ((0, 32, 64), (32, 64, 64)):
        rank = HashDropout(0.5, 1, 2, "layer")
        rank.begin(7, part=part)
        drawn.append(rank(torch.ones(9, 32, 10)))
    assert not torch.equal(*drawn) and all(0.4 < (mask > 0).float().mean() < 0.6 for mask in drawn)


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("rows", [8, 9, 15, 64])
def test_each_row_of_a_batch_is_one_ranks(count: int, rows: int) -> None:
    shards = [list(range(rows))[Shard(number, count, CPU).rows(rows)] for number in range(count)]
    assert [row for shard in shards for row in shard] == list(range(rows))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.fixture
def begun() -> Iterator[Iterator[Any]]:
    """A trial on two ranks, after its first epoch."""
    spec, splits = case("net", 100, data="noisy_square")
    trial = TrialSpec(number=0, hyperparameters={"lr": 0.01})
    run = ranks.train(trial, spec, splits, until=1000, device=CPU)
    next(run)
    yield run
    run.close()


def test_a_trial_that_is_stopped_leaves_no_rank(begun: Any) -> None:
    assert len(rank_processes.own()) == 2
    begun.close()
    assert not rank_processes.own()


def test_a_rank_that_dies_ends_the_trial(begun: Any) -> None:
    os.kill(max(rank_processes.own()), 9)
    with pytest.raises((RankDied, RuntimeError), match=r"rank \d of 2"):
        for _ in range(1000):
            next(begun)
    assert not rank_processes.own()


def test_what_a_rank_raises_is_told_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import torch\n"
        "class Broken(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(1, 1)\n"
        "    def forward(self, x): raise KeyError('nowhere')\n"
    )
    spec, splits = settings("net", data="noisy_square", resources=TWO, epochs=1)
    spec = replace(spec, model=f"{tmp_path}/broken.py:Broken")
    with pytest.raises(
        RuntimeError, match=r"^KeyError: 'nowhere' \(at broken.py:4\) \(rank \d of 2\)\n(.|\n)*broken.py"
    ):
        next(ranks.train(TrialSpec(number=0, hyperparameters={}), spec, splits, until=1, device=CPU))
    assert not rank_processes.own()


def test_a_rank_whose_gpu_is_lost_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "lost.py").write_text(
        "import torch\n"
        "class Lost(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(1, 1)\n"
        "    def forward(self, x): raise torch.AcceleratorError('an illegal memory access', 700)\n"
    )
    spec, splits = settings("net", data="noisy_square", resources=TWO, epochs=1)
    spec = replace(spec, model=f"{tmp_path}/lost.py:Lost")
    with pytest.raises(DeviceLost, match=r"illegal memory access.* \(rank \d of 2\)") as lost:
        next(ranks.train(TrialSpec(number=0, hyperparameters={}), spec, splits, until=1, device=CPU))
    assert is_device_lost(lost.value) and may_pass(lost.value)


def test_ranks_take_denormal_numbers_for_zero_as_other_workers_do(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(
        "import torch\n"
        "class Tiny(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(1, 1)\n"
        "    def forward(self, x): return super().forward(x) * 0 + torch.full((1,), 1e-40) * 1e38 * 1e9\n"
    )
    spec, splits = case("net", 100, data="noisy_square")
    spec = replace(spec, model=f"{tmp_path}/tiny.py:Tiny")
    trial = TrialSpec(number=0, hyperparameters={})
    (report, _), *_ = ranks.train(trial, spec, splits, until=1, device=CPU)
    assert isinstance(splits.validation, TensorDataset)
    _, targets = splits.validation.tensors
    assert report.metrics["val_loss"] == pytest.approx(float(targets.square().mean()), rel=1e-4)


def test_a_sweep_of_two_gpus_per_trial_trains_each_on_both(home: Path, ray_cluster: Any) -> None:
    """Logical GPUs: the ranks find none, and train on the CPU."""
    asked = {"resources": Resources(cpus=1, gpus=2), "trials": 2, "epochs": 3, "max_concurrent": 1}
    before = rank_processes.running()
    result = tuning.sweep(
        tuning.SweepSpec(model="net", **asked, early_stopping=tuning.EarlyStopping(kind="none"))
    )
    assert result.states == {"completed": 2}
    best = tuning.load_best("net")
    assert best.trial == result.best
    assert rank_processes.running().keys() <= before.keys(), "no rank outlives its trial"


def test_trials_on_several_gpus_form_no_cohorts() -> None:
    with pytest.raises(tuning.RequestError, match="several GPUs trains alone, but `cohort` is 4"):
        tuning.SweepSpec(model="net", cohort=4, resources=TWO)
