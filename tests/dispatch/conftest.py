"""The sweep of each test."""

from pathlib import Path

import pytest

from tests.dispatch.simulated import SPEC, Make, Sweep, by_number


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Open the test's sweep; opening it again is what a new driver does after a death."""
    return lambda loss=by_number, spec=SPEC, size=1: Sweep(tmp_path, loss, spec, size)
