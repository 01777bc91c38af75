"""What a request comes to: a dry run, and what options mean."""

from pathlib import Path
from typing import Any

import pytest

import models
from tests.commands.answers import Answer, json_of
from tests.conftest import REPOSITORY
from tuning import notation


def dry_run(answer: Answer, *arguments: str) -> dict[str, Any]:
    """Run one in which there is nothing to measure."""
    few = () if "--trials" in arguments or "--cohort" in arguments else ("--trials", "7")
    return json_of(answer("sweep", *arguments, *few, "--dry-run", "--json"))


def test_a_dry_run_says_what_would_run_and_writes_nothing(answer: Answer, home: Path) -> None:
    facts = dry_run(answer, "net")
    assert facts["folder"] == str(home / "net")
    searched = models.build("net", bn_momentum=0.1)  # which puts a layer in
    assert facts["parameters"] == sum(p.numel() for p in searched.parameters())
    assert facts["training_rows"] == 80
    assert facts["workers"] >= 1 and facts["cohort"] == 1
    assert [node["gpus"] for node in facts["nodes"]] == [0] and facts["train_s"] is None
    assert facts["disk_bytes"] == 7 * 2 * 4 * facts["parameters"]
    assert notation.from_plain(facts["spec"], folder=REPOSITORY).is_resolved
    assert not home.exists()


def test_a_dry_run_says_the_size_of_the_largest_model(answer: Answer) -> None:
    searched = ("--search", "n_hidden=20,50,30", "--search", "bn_momentum=0.1,0.2")
    asked = (("--set", "n_hidden=50"), searched, ("--set", "n_hidden=20"))
    sizes = [dry_run(answer, "net", *words)["parameters"] for words in asked]
    assert sizes[0] == sizes[1] > sizes[2]


def test_a_dry_run_prints_a_spec_that_can_be_run(answer: Answer, tmp_path: Path) -> None:
    text = answer("sweep", "net", "--set", "momentum=0.9", "--trials", "7", "--dry-run")
    (tmp_path / "spec.yaml").write_text(text.partition("\n\n")[0])
    facts = dry_run(answer, "net", "--set", "momentum=0.9")
    assert dry_run(answer, str(tmp_path / "spec.yaml"))["spec"] == facts["spec"]


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ("--name demo", "name", "demo"),
        ("--data parabola", "data", "parabola"),
        ("--trials 3", "trials", 3),
        ("--epochs 3", "epochs", 3),
        ("--batch-size 3", "batch_size", 3),
        ("--seed 3", "seed", 3),
        ("--metric val_loss", "metric", "val_loss"),
        ("--mode max", "mode", "max"),
        ("--set momentum=0.9 --set optimizer=adam", "fixed", {"momentum": 0.9, "optimizer": "adam"}),
        (
            "--set bn_momentum=0.5 --set lr=1e-3",
            "fixed",
            {"bn_momentum": 0.5, "lr": 1e-3, "optimizer": "sgd"},
        ),
        ("--cohort 3", "cohort", 3),
        ("--cohort auto --trials 7", "cohort", "auto"),
        (
            "--early-stopping median --grace-epochs 2 --reduction 4",
            "early_stopping",
            {"kind": "median", "grace_epochs": 2, "reduction": 4},
        ),
        ("--reduction 4", "early_stopping", {"kind": "asha", "grace_epochs": 1, "reduction": 4}),
        ("--cpus-per-trial 0.5 --gpus-per-trial 0", "resources", {"cpus": 0.5, "gpus": 0.0}),
        ("--max-concurrent 3", "max_concurrent", 3),
        ("--max-failures 3", "max_failures", 3),
        ("--tracking-uri http://host:5000", "tracking_uri", "http://host:5000"),
        ("--storage memory://bucket", "storage", "memory://bucket"),
    ],
)
def test_every_option_has_a_key_in_the_spec(answer: Answer, options: str, key: str, value: object) -> None:
    assert dry_run(answer, "net", *options.split())["spec"][key] == value


def test_home_is_an_option_too(answer: Answer, tmp_path: Path) -> None:
    assert dry_run(answer, "net", "--home", str(tmp_path / "h"))["folder"] == str(tmp_path / "h" / "net")


DEFAULT = {"lr", "momentum", "dropout", "bn_momentum"}


@pytest.mark.parametrize(
    ("options", "searched"),
    [
        ("", DEFAULT),
        ("--set momentum=0.9", DEFAULT - {"momentum"}),
        ("--no-search dropout", DEFAULT - {"dropout"}),
        ("--set dropout=0.1 --no-search dropout", DEFAULT - {"dropout"}),
        ("--search n_hidden=4:8", DEFAULT | {"n_hidden"}),
        ("--search lr=0.1:0.2", DEFAULT),
        ("--search optimizer=sgd,adagrad", DEFAULT | {"optimizer"}),
        ("--set optimizer=adagrad", DEFAULT - {"momentum"}),
    ],
)
def test_search_options_change_the_models_default_search(
    answer: Answer, options: str, searched: set[str]
) -> None:
    assert set(dry_run(answer, "net", *options.split())["spec"]["search"]) == searched


def test_a_searched_range_replaces_the_default_one(answer: Answer) -> None:
    search = dry_run(answer, "net", "--search", "lr=0.1:0.2", "--search", "batch_size=8,16")["spec"]["search"]
    assert search["lr"] == {"low": 0.1, "high": 0.2}
    assert search["batch_size"] == {"choices": [8, 16]}


def test_the_command_line_goes_before_the_file(answer: Answer, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        "{model: net, name: in-file, trials: 3, epochs: 7, fixed: {weight_decay: 0.1},"
        " search: {lr: {low: 0.1, high: 0.2}, momentum: {low: 0.1, high: 0.2}}}"
    )
    options = ["--name", "demo", "--trials", "5", "--set", "lr=0.1", "--set", "optimizer=rmsprop"]
    spec = dry_run(answer, str(file), *options)["spec"]
    assert (spec["name"], spec["trials"], spec["epochs"]) == ("demo", 5, 7)
    assert spec["fixed"] == {"weight_decay": 0.1, "lr": 0.1, "optimizer": "rmsprop"}
    assert spec["search"] == {"momentum": {"low": 0.1, "high": 0.2}}


def test_a_callable_on_the_command_line_is_of_the_current_folder(
    answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("from torch import nn\ndef line(): return nn.Linear(1, 1)\n")
    monkeypatch.chdir(tmp_path)
    spec = dry_run(answer, "own.py:line", "--data", "parabola")["spec"]
    assert spec["model"] == f"{tmp_path}/own.py:line"
    assert spec["name"] == "line"


NAN = """
import torch
from torch.utils.data import TensorDataset

def data():
    x = torch.rand(9, 1)
    x[5] = float("nan")
    return [TensorDataset(x, torch.zeros(9)), *[TensorDataset(torch.rand(9, 1), torch.zeros(9))] * 2]
"""


def test_data_with_nan_is_told_of(answer: Answer, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(NAN.replace("torch.rand(9, 1)", "torch.arange(9.0).unsqueeze(1)"))
    words = ("sweep", "net", "--data", f"{file}:data", "--trials", "7", "--dry-run")
    told = "1 of 9 train examples have NaN or infinity in their input, the first is number 5"
    assert f"warning     Data '{file}:data': {told}\n" in answer(*words)
    assert json_of(answer(*words, "--json"))["doubt"] == f"Data '{file}:data': {told}"
