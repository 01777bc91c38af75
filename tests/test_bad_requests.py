"""A wrong request: exit code 2, one message with the rule, the value and the way out, nothing written.

`--dry-run` checks all that a sweep checks, without Ray; what the whole command does is shown at the end.
"""

import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuning import notation, paths, plan, storage
from tuning.cli import main
from tuning.errors import RequestError
from tuning.spec import SweepSpec
from tuning.tracking import client

OWN = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Net(nn.Module):
    def __init__(self, width=4, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1))
    def forward(self, x):
        return self.layers(x)

class Three(Net):
    def forward(self, x):
        return x.expand(-1, 3)

class Listed(Net):
    def forward(self, x):
        return [x]

def needs(height):
    return Net(height)

def number():
    return 3

def raises():
    raise RuntimeError("no such layer")

not_callable = Net()
three = 3

def sets(*shape, classes=0):
    y = torch.arange(8) % classes if classes else torch.rand(8)
    return [TensorDataset(torch.rand(8, *shape), y) for _ in range(3)]

def pictures():
    return sets(1, 8, 8)

def colours():
    return sets(3, 8, 8, classes=2)

def two_sets():
    return sets(1)[:2]
"""


@pytest.fixture
def folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a user's own models and data, and a home that is not there yet."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("def net(:\n")
    (tmp_path / "raising.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert not home.exists()
    return tmp_path


Refused = Callable[..., None]


@pytest.fixture
def refused(folder: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command and check that it is refused as it should be, with these words in the message."""

    def check(arguments: list[str], *words: str) -> None:
        before = everything_in(home)
        try:
            code = main(arguments)
        except SystemExit as leaving:  # argparse leaves like this
            code = leaving.code  # type: ignore[assignment]
        out, err = capsys.readouterr()
        assert code == 2, err or out
        assert out == ""
        assert err.startswith("error: ")
        assert err.endswith("\n") and err.count("\n") == 1, "the message must be one line"
        assert [word for word in words if word not in err] == [], err
        assert everything_in(home) == before
        assert not (folder / "runs").exists()

    return check


def everything_in(home: Path) -> dict[str, bytes] | None:
    if not home.exists():
        return None
    return {str(path): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


# ---- the command line of a sweep ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        # model and data
        ("nett", ["Unknown model: 'nett'", "did you mean 'net'?", "quick_net"]),
        ("CNN", ["Unknown model: 'CNN'", "cnn"]),
        ("transformer", ["Unknown model: 'transformer'", "Known: batchnorm_net, cnn"]),
        ("net --data parabol", ["Unknown data: 'parabol'", "did you mean 'parabola'?"]),
        ("own.py:Net --data parabol", ["Unknown data: 'parabol'", "did you mean 'parabola'?"]),
        ("cnn --data parabola", ["'cnn' is for classification", "'parabola' is for regression", "mnist5k"]),
        ("net --data mnist5k", ["'net' is for regression", "'mnist5k' is for classification", "parabola"]),
        ("own.py:Net", ["'Net' needs `data`", "--data"]),
        ("missing.py:Net --data parabola", ["There is no file", "missing.py"]),
        ("own.py:Nett --data parabola", ["Unknown callable", "'Nett'", "did you mean 'Net'?"]),
        ("own.py:three --data parabola", ["must name a callable", "int"]),
        ("broken.py:net --data parabola", ["broken.py", "SyntaxError"]),
        ("raising.py:net --data parabola", ["raising.py", "ZeroDivisionError: division by zero"]),
        ("no_such_module:net --data parabola", ["'no_such_module'", "ModuleNotFoundError"]),
        ("builtins:dict --data parabola", ["builtins:dict"]),
        ("own.py:number --data parabola", ["must return a torch.nn.Module", "int"]),
        ("own.py:raises --data parabola", ["RuntimeError: no such layer"]),
        ("own.py:needs --data parabola", ["own.py:needs", "height"]),
        ("own.py:Listed --data parabola", ["must return a tensor", "list"]),
        ("own.py:Three --data parabola", ["must return (1,) per example", "(3,)"]),
        ("own.py:Net --data own.py:pictures", ["cannot take data", "of shape (1, 8, 8)"]),
        ("net --data own.py:pictures", ["cannot take data", "(1, 8, 8)", "must be a vector"]),
        ("lstm --data own.py:colours", ["cannot take data", "(3, 8, 8)", "turn the images to grey"]),
        ("net --data own.py:missing", ["Unknown callable", "'missing'"]),
        ("net --data own.py:two_sets", ["must return three data sets", "2 values"]),
        # numbers
        ("net --trials 0", ["`trials` must be a whole number >= 1, but got 0"]),
        ("net --trials -3", ["`trials`", "-3"]),
        ("net --trials many", ["--trials", "'many'"]),
        ("net --trials 1.5", ["--trials", "'1.5'"]),
        ("net --epochs 0", ["`epochs` must be a whole number >= 1, but got 0"]),
        ("net --batch-size 0", ["`batch_size`", "0"]),
        ("net --seed -1", ["`seed` must be a whole number >= 0, but got -1"]),
        ("net --cohort 0", ["`cohort` must be a whole number >= 1, but got 0"]),
        ("net --cohort many", ["`cohort`", "'many'"]),
        ("net --grace-epochs 0", ["`early_stopping.grace_epochs` must be a whole number >= 1"]),
        ("net --reduction 1", ["`early_stopping.reduction` must be a whole number >= 2"]),
        ("net --max-concurrent 0", ["`max_concurrent`"]),
        ("net --max-failures 0", ["`max_failures`"]),
        # what is searched
        ("net --metric val_accuracy", ["Unknown metric of a regression sweep: 'val_accuracy'", "val_loss"]),
        ("net --metric val_los", ["'val_los'", "did you mean 'val_loss'?"]),
        ("net --mode best", ["--mode", "'best'", "min", "max"]),
        ("net --set learning_rate=0.1", ["Unknown hyperparameter of model 'net'", "'learning_rate'", "lr"]),
        ("net --set momentun=0.9", ["did you mean 'momentum'?"]),
        ("net --search depth=1:3", ["Unknown hyperparameter of model 'net'", "'depth'"]),
        ("own.py:Net --data parabola --set depth=3", ["hyperparameter of model 'Net': 'depth'", "width"]),
        ("net --set lr", ["--set must be KEY=VALUE, but got 'lr'"]),
        ("net --set lr=", ["--set must be KEY=VALUE"]),
        ("net --set =1", ["--set must be KEY=VALUE"]),
        ("net --set lr=fast", ["fixed.lr must be a finite number, but got 'fast'"]),
        ("net --set lr=0", ["`0 < lr` must hold, but got fixed.lr=0"]),
        ("net --set lr=nan", ["fixed.lr must be a finite number"]),
        ("net --set dropout=1.5", ["`0 <= dropout < 1` must hold, but got fixed.dropout=1.5"]),
        ("net --set bn_momentum=0", ["`0 < bn_momentum <= 1` must hold"]),
        ("net --set optimizer=sdg", ["'sdg'", "did you mean 'sgd'?", "adagrad, adam, rmsprop, sgd"]),
        ("net --set activation=reluu", ["activation=reluu"]),
        ("net --set lr=0.1 --search lr=0.1:0.2", ["'lr'", "searched or fixed, not both"]),
        ("net --search lr", ["--search must be KEY=LOW:HIGH[:log] or KEY=A,B,C, but got 'lr'"]),
        ("net --search lr=1:2:3", ["--search lr", "LOW:HIGH:log", "'1:2:3'"]),
        ("net --search lr=a:b", ["search.lr", "`low` must be a number, but got 'a'"]),
        ("net --search lr=0.3:0.1", ["`low < high` must hold", "low=0.3, high=0.1", "--set KEY=VALUE"]),
        ("net --search lr=0.1:0.1", ["`low < high` must hold", "--set KEY=VALUE"]),
        ("net --search lr=0:1:log", ["`low > 0` must hold on a log scale, but got low=0"]),
        ("net --search lr=-1:1", ["`0 < lr` must hold, but got search.lr=-1"]),
        ("net --search dropout=0:1.5", ["`0 <= dropout < 1` must hold, but got search.dropout=1.5"]),
        ("net --search optimizer=sgd,lion", ["search.optimizer", "'lion'"]),
        ("net --search optimizer=sgd,sgd", ["must differ"]),
        ("net --search lr=abc", ["finite number", "'abc'", "LOW:HIGH:log"]),
        ("net.py", ["'net.py'", "write net.py:Net"]),
        ("net --no-search lrr", ["'lrr'", "did you mean 'lr'?"]),
        (
            "net --no-search lr --no-search momentum --no-search dropout --no-search bn_momentum",
            ["leaves nothing to search", "`trials` is 32", "--trials 1"],
        ),
        (
            "net --set optimizer=adagrad --search momentum=0:0.9",
            ["`momentum` belongs to sgd or rmsprop or adam, but the optimizer is adagrad"],
        ),
        ("net --set optimizer=adagrad --set momentum=0.9", ["`momentum` belongs to", "adagrad"]),
        ("net --set alpha=0.9", ["`alpha` belongs to rmsprop, but the optimizer is sgd"]),
        ("net --set optimizer=sgd --search beta2=0.9:0.99", ["`beta2` belongs to adam"]),
        ("net --early-stopping hyperband", ["--early-stopping", "'hyperband'", "asha"]),
        # where it is run
        ("net --gpus-per-trial 64", ["cpus=1, gpus=64", "no node has that", "--gpus-per-trial"]),
        ("net --cpus-per-trial 100000", ["cpus=100000", "no node has that", "--cpus-per-trial"]),
        ("net --cpus-per-trial -1", ["`resources.cpus` must be a number >= 0"]),
        ("net --gpus-per-trial nan", ["`resources.gpus` must be a number >= 0"]),
        ("net --gpus-per-trial 1.5", ["`resources.gpus`", "a share below 1 or a whole number"]),
        ("net --gpus-per-trial all", ["--gpus-per-trial", "'all'"]),
        ("net --cpus-per-trial 0 --gpus-per-trial 0", ["needs a CPU or a GPU share"]),
        ("net --address ray://head:10001", ["'ray://head:10001'", "ray job submit"]),
        ("net --cpus-per-trial 0.00001", ["`resources.cpus` must be 0 or at least 0.0001"]),
        ("net --storage nosuchprotocol://bucket", ["nosuchprotocol://bucket"]),
        ("net --storage reference://x", ["'reference://x' cannot be opened", "TypeError"]),
        ("net --storage ~nobody-of-that-name/x", ["'~nobody-of-that-name/x' cannot be opened"]),
        ("net --data ~nobody-of-that-name/x.py:y", ["'~nobody-of-that-name/x.py'"]),
        # names
        ("net --name a/b", ["1 to 100 letters, digits, '.', '_' or '-'", "'a/b'"]),
        ("net --name ../net", ["1 to 100 letters", "'../net'"]),
        ("net --name mlflow.db", ["'mlflow.db' is taken by a file of the home"]),
        ("all --data mnist", ["each model's default data", "leave --data out"]),
        # options
        ("net --trails 3", ["--trails"]),
        ("net --no-search=--", ["argument --no-search", "must have a value"]),
        ("net --trial 3", ["--trial"]),  # no abbreviations: what one means today may be two tomorrow
        ("net lstm", ["lstm"]),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(refused: Refused, line: str, words: list[str]) -> None:
    refused(["sweep", *line.split(), "--dry-run"], *words)


@pytest.mark.parametrize("option", ["--name", "--data", "--metric", "--storage", "--tracking-uri", "--home"])
def test_an_option_that_is_given_empty_is_refused(refused: Refused, option: str) -> None:
    """As by a script whose variable is not set: `--name "$NAME"`."""
    refused(["sweep", "net", option, "", "--dry-run"], option.removeprefix("--").replace("-", "_"))


def test_a_relative_home_is_refused_inside_a_ray_job(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_ID", "01000000")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    refused(["sweep", "net", "--home", "runs", "--dry-run"], "Inside a Ray job", "'runs'", "TUNING_HOME")


# ---- spec files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("model: [", "", ["must be YAML", "spec.yaml"]),
        ("model: net\n  trials: 3", "", ["must be YAML", "line 2"]),
        ("", "", ["must be a mapping", "None"]),
        ("- net\n- cnn", "", ["must be a mapping", "['net', 'cnn']"]),
        ("net", "", ["must be a mapping"]),
        ("{trials: 3}", "", ["needs `model`"]),
        ("{trials: 3}", "--search lr=0.1:0.2", ["needs `model`"]),
        ("{trials: 3}", "--no-search lr", ["needs `model`"]),
        ("{model: 3}", "", ["`model` must be text, but got 3"]),
        ("{model: 3}", "--search lr=0.1:0.2", ["`model` must be text, but got 3"]),
        ("{model: nett}", "", ["Unknown model: 'nett'", "did you mean 'net'?"]),
        ("{model: net, trails: 3}", "", ["Unknown key in the spec: 'trails'", "did you mean 'trials'?"]),
        ("{model: net, trials: many}", "", ["`trials` must be a whole number >= 1, but got 'many'"]),
        ("{model: net, trials: 0}", "", ["`trials`", "0"]),
        ("{model: net, early_stopping: {grace: 1}}", "", ["'grace'", "grace_epochs"]),
        ("{model: net, early_stopping: asha}", "", ["`early_stopping` must be a mapping, but got 'asha'"]),
        ("{model: net, early_stopping: asha}", "--reduction 2", ["`early_stopping` must be a mapping"]),
        ("{model: net, resources: {gpu: 1}}", "", ["did you mean 'gpus'?"]),
        ("{model: net, resources: 2}", "--cpus-per-trial 1", ["`resources` must be a mapping, but got 2"]),
        ("{model: net, search: [lr]}", "", ["`search` must map hyperparameters to ranges"]),
        ("{model: net, search: [lr]}", "--set lr=0.1", ["`search` must map hyperparameters to ranges"]),
        ("{model: net, search: lr}", "--search lr=0.1:0.2", ["`search` must map hyperparameters to ranges"]),
        ("{model: net, search: lr}", "--no-search lr", ["`search` must map hyperparameters to ranges"]),
        ("{model: net, search: {lr: 0.1}}", "", ["search.lr must be {low: L, high: H", "0.1"]),
        ("{model: net, search: {lr: {low: 1, high: 0.1}}}", "", ["`low < high` must hold"]),
        ("{model: net, search: {lr: {low: 0, high: 1, log: true}}}", "", ["`low > 0` must hold"]),
        ("{model: net, search: {lr: {choices: []}}}", "", ["at least one value"]),
        ("{model: net, fixed: 5}", "", ["`fixed` must map hyperparameters to values, but got 5"]),
        ("{model: net, fixed: [lr]}", "", ["`fixed` must map hyperparameters to values"]),
        ("{model: net, fixed: {lr: [0.1, 0.2]}}", "", ["fixed.lr must be one value", "`search`"]),
        ("{model: net, try: {lr: 0.1}}", "", ["`try` must be a list"]),
        ("{model: net, try: [{lr: 5}]}", "", ["try[0].lr must lie in the search range", "but got 5"]),
        ("{model: net, try: [{depth: 5}]}", "", ["Unknown hyperparameter of model 'net'", "'depth'"]),
        ("{model: net, try: [{dropout: 1.5}]}", "", ["`0 <= dropout < 1` must hold", "try[0].dropout=1.5"]),
        ("{model: net, address: 'ray://head:10001'}", "", ["ray job submit"]),
        ("{model: 'missing.py:Net', data: parabola}", "", ["There is no file", "missing.py"]),
        ("{model: net, name: a b}", "", ["1 to 100 letters", "'a b'"]),
    ],
)
def test_a_spec_file_that_cannot_be_is_refused(
    refused: Refused, folder: Path, content: str, options: str, words: list[str]
) -> None:
    (folder / "spec.yaml").write_text(content)
    refused(["sweep", "spec.yaml", *options.split(), "--dry-run"], *words)


def test_a_spec_file_that_is_not_there_is_named(refused: Refused) -> None:
    refused(["sweep", "missing.yaml", "--dry-run"], "There is no spec file missing.yaml")


def test_a_folder_is_no_spec_file(refused: Refused, folder: Path) -> None:
    (folder / "folder.yaml").mkdir()
    refused(["sweep", "folder.yaml", "--dry-run"], "folder.yaml cannot be read")


# ---- sweeps that exist -------------------------------------------------------------------------


@pytest.fixture
def demo(folder: Path) -> SweepSpec:
    """A sweep `net-demo` in the home, of no trial yet, as its first invocation leaves it."""
    planned = plan.prepare(SweepSpec(model="net", name="net-demo"))
    spec = replace(planned.spec, id=str(uuid.uuid4()))
    storage.write(str(planned.paths.spec), notation.dump(spec).encode())
    return spec


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ("--epochs 7", "epochs: 60 -> 7"),
        ("--seed 1", "seed: 0 -> 1"),
        ("--data parabola", "data: noisy_square -> parabola"),
        ("--set momentum=0.9", "fixed.momentum: None -> 0.9"),
        ("--reduction 4", "early_stopping.reduction: 3 -> 4"),
        ("--batch-size 32 --epochs 7", "epochs: 60 -> 7; batch_size: 64 -> 32"),
    ],
)
def test_a_name_that_is_taken_by_another_spec_is_refused_with_what_differs(
    refused: Refused, demo: SweepSpec, options: str, difference: str
) -> None:
    assert demo.epochs == 60
    refused(
        ["sweep", "net", "--name", "net-demo", *options.split(), "--dry-run"],
        "'net-demo' exists with a different spec",
        difference,
        "--name",
    )


@pytest.mark.parametrize(
    "options",
    ["", "--trials 64", "--compile", "--max-concurrent 1", "--max-failures 1", "--cpus-per-trial 0.5"],
)
def test_the_same_sweep_or_one_that_is_run_otherwise_is_not(
    demo: SweepSpec, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "net", "--name", "net-demo", *options.split(), "--cohort", "8", "--dry-run"]) == 0
    assert str(demo.id) in capsys.readouterr().out


def test_a_folder_that_is_no_sweeps_is_not_taken(refused: Refused, home: Path) -> None:
    (home / "net").mkdir(parents=True)
    (home / "net" / "thesis.tex").write_text("years of work")
    refused(["sweep", "net", "--dry-run"], "exists and is no sweep's", "--name")


def test_a_file_in_the_place_of_the_folder_is_not_taken(refused: Refused, home: Path) -> None:
    home.mkdir()
    (home / "net").write_text("years of work")
    refused(["sweep", "net", "--dry-run"], "is a file", "--name")


COMMANDS = pytest.mark.parametrize(
    "command",
    [["status"], ["best"], ["resume"], ["export", "--to", "model.pt"]],
    ids=["status", "best", "resume", "export"],
)


@COMMANDS
def test_an_unknown_sweep_is_answered_with_the_nearest(
    refused: Refused, demo: SweepSpec, command: list[str]
) -> None:
    assert demo.name == "net-demo"
    refused([*command, "net-dmo"], "Unknown sweep", "'net-dmo'", "did you mean 'net-demo'?")


@COMMANDS
def test_without_sweeps_a_name_is_answered_with_how_to_start_one(
    refused: Refused, home: Path, command: list[str]
) -> None:
    refused([*command, "net"], f"There are no sweeps in {home}", "tuning sweep")


@COMMANDS
def test_a_name_that_no_sweep_can_have_is_refused(refused: Refused, command: list[str]) -> None:
    refused([*command, "../net"], "1 to 100 letters", "'../net'")


def test_a_trial_that_is_not_there_cannot_be_exported(refused: Refused, demo: SweepSpec) -> None:
    refused(["export", str(demo.name), "--trial", "7", "--to", "model.pt"], "no trial 7", "none yet")


def test_a_negative_total_is_refused_by_resume(refused: Refused, demo: SweepSpec) -> None:
    refused(["resume", str(demo.name), "--trials", "-3"], "`trials` must be a whole number >= 1, but got -3")


def test_a_damaged_spec_is_named(refused: Refused, demo: SweepSpec, home: Path) -> None:
    assert demo.name == "net-demo"
    (home / "net-demo" / "spec.yaml").write_text("model: [")
    refused(["status", "net-demo"], "must be YAML", "spec.yaml")


# ---- other commands ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["COMMAND", "tuning --help"]),
        ("swep net", ["'swep'", "sweep"]),
        ("sweep", ["MODEL_OR_SPEC", "tuning sweep --help"]),
        ("resume", ["NAME"]),
        ("best", ["NAME"]),
        ("export net", ["--to"]),
        ("export net --to x --format pickle", ["'pickle'", "state_dict"]),
        ("models nett", ["Unknown model: 'nett'", "did you mean 'net'?"]),
        ("status --verbose", ["--verbose"]),
        ("ui", ["There is nothing to show in", "tuning sweep"]),
    ],
)
def test_a_command_that_cannot_be_is_refused(refused: Refused, line: str, words: list[str]) -> None:
    refused(line.split(), *words)


# ---- the whole command -------------------------------------------------------------------------


def check_refused(done: Any, home: Path, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    assert not home.exists()


def test_more_gpus_than_any_node_has_are_refused_with_the_arithmetic(command: Any, home: Path) -> None:
    done = command("sweep", "net", "--gpus-per-trial", "64")
    check_refused(done, home, "needs cpus=1, gpus=64", f"{os.uname().nodename}: cpus=", "at most")


def test_a_home_that_cannot_be_written_is_refused(command: Any, home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = command("sweep", "net", "--home", str(tmp_path / "file" / "home"))
    check_refused(done, home, f"The home {tmp_path}/file/home cannot be written", "TUNING_HOME")


def test_a_total_of_zero_is_refused_by_resume(command: Any, demo: SweepSpec, home: Path) -> None:
    """A process of its own, and a sweep that can run nothing: it must not come to that."""
    file = home / str(demo.name) / "spec.yaml"
    file.write_text(file.read_text().replace("data: noisy_square", "data: none_such"))
    done = command("resume", str(demo.name), "--trials", "0")
    assert done.returncode == 2
    assert "`trials` must be a whole number >= 1, but got 0" in done.stderr


def test_a_spec_that_a_death_left_half_written_is_no_other_folder(tmp_path: Path) -> None:
    where = paths.SweepPaths(tmp_path, "net")
    where.folder.mkdir()
    (where.folder / ".spec.yaml.0123abcd").write_text("model: n")
    assert plan.as_it_was(SweepSpec(model="net", name="net"), where).id is None


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://nobody@127.0.0.1:9/none",
        "mysql://none",
        "nonsense://x",
        "sqlite:////no/such/folder/x.db",
    ],
)
def test_a_tracking_uri_that_leads_nowhere_is_refused_with_one_message(uri: str) -> None:
    with pytest.raises(RequestError, match="--tracking-uri"):
        client.check(uri)


def test_a_tracking_database_is_not_made_before_the_sweep_is(tmp_path: Path) -> None:
    client.check(f"sqlite:///{tmp_path}/mlflow.db")
    assert not list(tmp_path.iterdir())


def test_a_model_that_hangs_while_it_is_checked_is_refused(tmp_path: Path, refused: Refused) -> None:
    """As it would be in training, and with the configuration that does it."""
    hangs = "import time, torch\n\nclass Net(torch.nn.Linear):\n    def __init__(self, hidden=1):\n"
    hangs += "        time.sleep(60 if hidden > 2 else 0)\n        super().__init__(1, 1)\n"
    (tmp_path / "hangs.py").write_text(hangs)
    line = f"{tmp_path}/hangs.py:Net --data noisy_line --search hidden=1,2,3 --trial-timeout 2"
    refused(["sweep", *line.split(), "--dry-run"], "with hidden=3", "--trial-timeout 2 s", "does it hang?")
