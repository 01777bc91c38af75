"""Wrong spec files, sweeps that exist and other commands: one message each, and nothing written."""

import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.requests.refusals import Refused
from tuning import notation, paths, plan, storage
from tuning.cli import main
from tuning.errors import RequestError
from tuning.spec import SweepSpec
from tuning.tracking import client

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
        ("--set momentum=0.9", "fixed.momentum: none -> 0.9"),
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
