"""The files of the line and its data."""

from pathlib import Path

import pytest

from tests.faults.lines import DATA, MODEL


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own_data.py").write_text(DATA)
    (tmp_path / "own_line.py").write_text(MODEL)
    return tmp_path
