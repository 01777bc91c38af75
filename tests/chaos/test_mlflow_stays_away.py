"""An MLflow server that is not back when the sweep ends: nothing is lost, and the doctor writes it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import driver, ledger, server
from tests.chaos.conftest import Undisturbed
from tests.chaos.matrix import MODES


def doctor(home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tuning", "doctor", "chaos", "--home", str(home), *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.chaos
def test_what_a_server_that_stays_away_has_missed_the_doctor_writes(
    tmp_path: Path, undisturbed: Undisturbed
) -> None:
    with server.server(tmp_path / "mlflow") as mlflow:
        options = ("--tracking-uri", mlflow.uri)
        with driver.started(tmp_path, *options, place="mid-epoch", count=12, **MODES["cohort"]) as first:
            first.wait_until("mid-epoch")
            mlflow.kill()
            first.go()
            assert first.end() == 1, first.output()
        said = first.output()
        (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert mlflow.uri in error and "`tuning resume chaos`, or `tuning doctor chaos --fix`" in error
        assert "Traceback" not in said
        assert ledger.trained(first.home) == undisturbed("cohort"), "no trial has suffered"
        away = doctor(first.home)
        fix = f"`tuning doctor chaos --home {first.home} --fix`"
        assert away.returncode == 1 and f"once it answers, {fix}" in away.stdout
        mlflow.start()
        mended = doctor(first.home, "--fix")
        assert mended.returncode == 0, mended.stdout + mended.stderr
        ledger.assert_nothing_is_lost(first.home, "cohort", mlflow.uri)
