"""The command line: what it answers with, in text and as JSON."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models
from tuning import notation, plan, storage
from tuning.claim import claim
from tuning.cli import main
from tuning.records import State
from tuning.spec import SweepSpec
from tuning.study import Study

ROOT = Path(__file__).parent.parent
COMMANDS = ("models", "sweep", "resume", "status", "best", "export", "replay", "confirm", "ui")

Answer = Callable[..., str]


@pytest.fixture
def answer(home: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command that must succeed; return its standard output."""

    def run(*arguments: str) -> str:
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def json_of(text: str) -> dict[str, Any]:
    """Return the one JSON object that all of a standard output is."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


# ---- help --------------------------------------------------------------------------------------


def test_models_says_of_a_model_of_ones_own_how_to_look_at_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "words.py:Bag"]) == 2
    assert "`tuning sweep words.py:Bag --data DATA --dry-run`" in capsys.readouterr().err


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"tuning {importlib.metadata.version('tuning')}\n"


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tuning", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"argparse", "tuning"} <= imported
    assert not imported & {"torch", "ray", "mlflow", "optuna", "numpy", "yaml", "rich", "models"}
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_that_says_what_it_does(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    out, err = capsys.readouterr()
    assert leaving.value.code == 0
    assert err == ""
    assert out.startswith(f"usage: tuning {command} ")
    summary = out.split("\n\n")[1]
    with pytest.raises(SystemExit):
        main(["--help"])
    assert " ".join(summary.split()) in " ".join(capsys.readouterr().out.split())


def test_python_m_tuning_is_tuning() -> None:
    """The installed script and the module, side by side: the same output to the byte."""
    script = shutil.which("tuning", path=str(Path(sys.executable).parent))
    assert script is not None
    commands = [[script], [sys.executable, "-m", "tuning"]]
    running = [
        subprocess.Popen(
            [*command, "models", "net", "--json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for command in commands
    ]
    first, second = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert first == second
    assert json_of(first[0].decode())["model"] == "net"
    assert first[1:] == (b"", 0)


# ---- models ------------------------------------------------------------------------------------

EIGHT = ("net", "quick_net", "cnn", "lstm", "rnn", "overfitting_net", "dropout_net", "batchnorm_net")


def test_models_lists_all_eight_with_what_they_take(answer: Answer) -> None:
    cards = json_of(answer("models", "--json"))["models"]
    assert tuple(cards) == EIGHT
    for name, card in cards.items():
        assert card["task"] == models.CATALOG[name].task
        assert card["data"] == models.CATALOG[name].data
        assert card["search"] == models.CATALOG[name].search
        assert tuple(card["hyperparameters"]) == models.hyperparameters(name)


@pytest.mark.parametrize("name", EIGHT)
def test_models_tells_a_reader_the_same(answer: Answer, name: str) -> None:
    lines = answer("models").splitlines()
    (row,) = [i for i, line in enumerate(lines) if line.split()[0] == name]
    card = models.CATALOG[name]
    assert lines[row].split()[:3] == [name, card.task, card.data]
    assert lines[row].endswith(card.summary)
    assert all(argument in lines[row + 1] for argument in models.hyperparameters(name))
    assert all(key in lines[row + 2] for key in card.search)


def test_a_model_is_shown_with_its_layers_shapes_and_size(answer: Answer) -> None:
    text = answer("models", "cnn")
    assert "Conv2d(1, 16, kernel_size=(5, 5)" in text
    assert re.search(r"\(16, 1, 5, 5\)", text)
    assert "28,938 parameters" in text
    assert "mnist5k" in text


@pytest.mark.parametrize("name", EIGHT)
def test_a_models_numbers_are_those_of_the_built_model(answer: Answer, name: str) -> None:
    facts = json_of(answer("models", name, "--json"))
    state = models.build(name).state_dict()
    assert facts["shapes"] == {key: list(tensor.shape) for key, tensor in state.items()}
    assert facts["parameters"] == sum(p.numel() for p in models.build(name).parameters())


# ---- a dry run, and what options mean -------------------------------------------------------------


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
    assert notation.from_plain(facts["spec"], folder=ROOT).is_resolved
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


# ---- status ------------------------------------------------------------------------------------


def test_status_of_a_home_without_sweeps(answer: Answer, home: Path) -> None:
    assert answer("status") == f"There are no sweeps in {home}.\n"
    assert json_of(answer("status", "--json")) == {"sweeps": []}
    assert not home.exists()


@pytest.fixture
def demo(home: Path) -> Any:
    """A sweep whose driver has died: two trials completed, one pruned, one was running."""
    planned = plan.prepare(SweepSpec(model="net", name="demo", trials=9))
    storage.write(str(planned.paths.spec), notation.dump(replace(planned.spec, id="1" * 32)).encode())
    study = Study(planned.spec, planned.paths.journal, write=True)
    for number, value in enumerate([0.5, 0.25, 0.75, 0.125]):
        study.ask()
        study.report(number, 1, value)
    study.tell(0, State.COMPLETED)
    study.tell(1, State.COMPLETED)
    study.tell(2, State.PRUNED)
    study.facts.add_seconds(12.5)
    return planned


def test_status_has_all_that_a_script_relies_on(answer: Answer, demo: Any) -> None:
    facts = json_of(answer("status", "demo", "--json"))
    assert facts["sweep"] == "demo"
    assert facts["states"] == {"completed": 2, "pruned": 1, "interrupted": 1}
    assert facts["total"] == 9
    assert (facts["best"]["trial"], facts["best"]["value"], facts["best"]["metric"]) == (1, 0.25, "val_loss")
    assert facts["wall_s"] == 12.5
    assert facts["cohort"] == 1
    assert facts["unfinished"] == [3]
    assert json_of(answer("status", "--json")) == {"sweeps": [facts]}


def test_status_tells_how_to_go_on_with_what_was_interrupted(answer: Answer, demo: Any) -> None:
    text = answer("status", "demo")
    assert "2 completed, 1 interrupted, 1 pruned of 9 in 12 s" in text
    assert "val_loss=0.25" in text
    assert "interrupted (tuning resume demo): trial 3" in text


def test_status_tells_what_is_running_now(answer: Answer, demo: Any) -> None:
    with claim(demo.paths.claim, "demo"):
        facts = json_of(answer("status", "demo", "--json"))
        assert "running: trial 3" in answer("status", "demo")
    assert facts["states"] == {"completed": 2, "pruned": 1, "running": 1}
    assert facts["is_running"]


def test_status_writes_nothing(answer: Answer, demo: Any, home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    answer("status", "demo")
    answer("status")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_status_of_a_sweep_that_died_before_its_first_trial(answer: Answer, demo: Any) -> None:
    demo.paths.journal.unlink()
    facts = json_of(answer("status", "demo", "--json"))
    assert (facts["states"], facts["best"], facts["total"]) == ({}, None, 9)
    assert "no trials of 9" in answer("status", "demo")


# ---- exit codes --------------------------------------------------------------------------------


def test_a_sweep_without_a_completed_trial_has_no_best_one(
    demo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.paths.journal.unlink()
    assert main(["best", "demo"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error: The sweep 'demo' has no trial with a result (0 of 9 have ended); "
        "go on with `tuning resume demo`.\n"
    )


def test_a_lost_checkpoint_is_a_fault(demo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "demo", "--to", str(tmp_path / "model.pt")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: There is no checkpoint")
    assert "trial-00001.pt" in err
    assert not (tmp_path / "model.pt").exists()


def test_a_reader_that_goes_away_is_no_fault() -> None:
    """As `tuning models | head -1`: no traceback."""
    command = [sys.executable, "-m", "tuning", "models"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
