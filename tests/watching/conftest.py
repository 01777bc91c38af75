"""A sweep that is driven, and who watches it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.watching.drivers import Driver, Watch
from tuning import cli, watching


@pytest.fixture
def driver(home: Path) -> Iterator[Driver]:
    found = Driver()
    yield found
    found.end()


@pytest.fixture
def watch(driver: Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Watch:
    """Watch from the command line, a step between two looks and the driver's end after the last."""

    def run(*options: str, steps: list[Callable[[], object]]) -> str:
        left = iter([*steps, driver.end])
        clock = SimpleNamespace(sleep=lambda _: next(left)(), monotonic=time.monotonic)
        monkeypatch.setattr(watching, "time", clock)
        assert cli.main(["status", "demo", "--watch", *options]) == 0
        return capsys.readouterr().out

    return run
