"""The tutorial is followed, block by block, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(sh|python)(?: (\S+))?\n(.*?)```", flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tutorial")


def run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a line of shell as a user does whose environment is activated."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TUNING_", "PYTHONPATH"))}
    environment = {**kept, "PATH": path}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )


@pytest.mark.timeout(1800)  # some five minutes on two idle cores
def test_it_leads_from_nothing_to_a_champion(folder: Path) -> None:
    said: dict[str, str] = {}
    for language, file, text in BLOCK.findall(TEXT):
        if language == "python":
            (folder / file).write_text(text, encoding="utf-8")
            continue
        for command in text.splitlines():
            done = run(command, folder)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr and "Warning" not in done.stderr, (command, done.stderr)
            said[command] = done.stdout + done.stderr
    (first,) = [text for command, text in said.items() if "--name first" in command]
    assert " trials train together: " in first, first
    assert "of 96 in" in said["tuning resume first --trials 96"]
    assert (folder / "runs/first/report.html").stat().st_size > 1_000_000
    assert "confirmed" in said["tuning best mine"]
    assert "tensor([[" in said["python champion.py"]
    (wider,) = [text for command, text in said.items() if "--name wider" in command]
    assert "--from mine: " in wider and "trials fit" in wider
