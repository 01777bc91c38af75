"""A study of this room's tests, and how they open it."""

from pathlib import Path

import pytest

from tests.study.studies import SPEC, Opener
from tuning.study import Study


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "study.journal"


@pytest.fixture
def opened(journal: Path) -> Opener:
    """Open the test's study as a driver does: anew, or again after the one before was dropped."""
    return lambda spec=SPEC: Study(spec, journal, write=True)
