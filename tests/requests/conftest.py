"""A folder of a user's own, and what a refusal looks like."""

import sys
from pathlib import Path

import pytest

from tests.requests.refusals import OWN, Refused, everything_in
from tuning.cli import main


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
