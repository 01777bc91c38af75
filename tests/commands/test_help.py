"""What every command says of itself, and how commands end."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.answers import json_of
from tests.conftest import REPOSITORY
from tuning.cli import main
from tuning.records import State
from tuning.study import Study

COMMANDS = ("models", "sweep", "resume", "status", "best", "export", "replay", "confirm", "ui")


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
        cwd=REPOSITORY,
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
            [*command, "models", "net", "--json"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for command in commands
    ]
    first, second = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert first == second
    assert json_of(first[0].decode())["model"] == "net"
    assert first[1:] == (b"", 0)


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
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_a_sweep_of_which_all_trials_failed_says_why_instead_of_going_on(
    demo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    demo.paths.journal.unlink()
    study = Study(demo.spec, demo.paths.journal, write=True)
    study.ask_many(2)
    for number in (0, 1):
        study.tell(number, State.FAILED, f"Traceback ...\nValueError: {number}")
    assert main(["best", "demo"]) == 1
    said = capsys.readouterr().err
    assert "all 2 that have ended have failed, the last with ValueError: 1. Once that is mended" in said
    assert said.endswith("go on with `tuning resume demo`.\n"), "there are seven left"
