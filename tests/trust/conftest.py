"""A sweep to confirm, and trainings that come to what a test says."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import trusted
from tests.trust.confirmations import Trained
from tuning.confirmed import Run
from tuning.records import TrialSpec
from tuning.trust import again


@pytest.fixture
def copy(swept_to_trust: Path, tmp_path: Path) -> Path:
    return trusted.copied(swept_to_trust, tmp_path / "copy")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """What trials come to by seed, to be filled in; and the numbers of all that were trained."""
    found: dict[int, Sequence[float | None]] = {}
    numbers: list[int] = []

    def train(wanted: Sequence[TrialSpec], *_: Any) -> Iterator[dict[int, Run]]:
        numbers.extend(one.number for one in wanted)
        values = {one.number: found[one.number // again.MOST_SEEDS][one.number % 1000] for one in wanted}
        yield {n: None if value is None else (value, {"test_loss": value}) for n, value in values.items()}

    monkeypatch.setattr(again, "train", train)
    monkeypatch.setattr(again, "pace", lambda *_: again.Pace(1))
    return found, numbers
