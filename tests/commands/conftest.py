"""Commands that must succeed, and a sweep to ask about."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.commands.answers import Answer
from tuning import notation, plan, storage
from tuning.cli import main
from tuning.records import State
from tuning.spec import SweepSpec
from tuning.study import Study


@pytest.fixture
def answer(home: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command that must succeed; return its standard output."""

    def run(*arguments: str) -> str:
        assert main(arguments) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def demo(home: Path) -> Any:
    """A sweep whose driver has died: two trials completed, one pruned, one was running."""
    planned = plan.prepare(SweepSpec(model="net", name="demo", trials=9))
    storage.write(str(planned.paths.spec), notation.dump(replace(planned.spec, id="1" * 32)).encode())
    study = Study(planned.spec, planned.paths.journal, write=True)
    for number, value in enumerate([0.5, 0.25, 0.75, 0.125]):
        study.ask()
        study.report(number, 1, value)
    study.tell(0, State.COMPLETED)
    study.tell(1, State.COMPLETED)
    study.tell(2, State.PRUNED)
    study.facts.add_seconds(12.5)
    return planned
