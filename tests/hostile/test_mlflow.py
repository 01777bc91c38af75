"""MLflow opens no pickles in the processes that we start."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuning import paths, ui
from tuning.tracking import process


class Started(Exception):
    """What is raised in the place of a process, with the environment that it would have had."""


@pytest.fixture
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Return the environment in which something starts a process."""
    home.mkdir()
    paths.tracking_database(home).touch()

    def started(command: list[str], *, env: dict[str, str], **_: Any) -> Any:
        raise Started(env)

    def of(start: Callable[[], Any]) -> dict[str, str]:
        with monkeypatch.context() as patch, pytest.raises(Started) as found:
            patch.setattr(subprocess, "Popen", started)
            start()
        return found.value.args[0]  # type: ignore[no-any-return]

    return of


def test_the_ui_opens_no_pickles_whatever_is_set_around_it(
    home: Path, environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    found = environment(lambda: ui.serve(home, 5000))
    assert found["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_the_process_that_writes_opens_no_pickles(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    script = (
        "from tuning.tracking.client import connect; connect('sqlite://')\n"
        "from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION as allowed\n"
        "raise SystemExit(allowed.get())"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(process.start))
    assert done.returncode == 0
