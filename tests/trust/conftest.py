"""A sweep to confirm, one that is not finished, and trainings that come to what a test says."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import trusted
from tests.trust.confirmations import Trained
from tuning import notation, plan, storage
from tuning.confirmed import Run
from tuning.records import State, TrialSpec
from tuning.spec import SweepSpec
from tuning.study import Study
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


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A home with a sweep whose driver has died: a trial failed, another was running."""
    planned = plan.prepare(SweepSpec(model="net", name="demo", trials=9, home=str(tmp_path)))
    storage.write(str(planned.paths.spec), notation.dump(replace(planned.spec, id="1" * 32)).encode())
    opened = Study(planned.spec, planned.paths.journal, write=True)
    opened.ask_many(2)
    opened.tell(0, State.FAILED, "Traceback ...\nValueError: no")
    return tmp_path
