"""What a confirmation leaves, as a test asks for it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tuning import ledger
from tuning.cli import main
from tuning.confirmed import Confirmation
from tuning.records import State, ranked

Trained = tuple[dict[int, Sequence[float | None]], list[int]]


def facts(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def kept(home: Path) -> Confirmation:
    found = ledger.open_sweep("together", str(home)).confirmation
    assert found is not None
    return found


def best_two(home: Path) -> tuple[int, int]:
    first, second, *_ = ranked(
        (t for t in ledger.open_sweep("together", str(home)).trials if t.state is State.COMPLETED), "min"
    )
    return first.number, second.number
