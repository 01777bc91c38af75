"""A sweep that does not run (yet) is waited for, shown once, or unknown."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.watching.drivers import Driver, Watch
from tuning import cli, ledger, watching


def test_a_sweep_whose_study_is_just_being_made_has_no_trials_yet(driver: Driver) -> None:
    driver.where.journal.write_bytes(b'{"op_code":0,')
    assert ledger.open_sweep("demo").trials == []


def test_a_sweep_that_nobody_takes_is_shown_once(
    watch: Watch, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PATIENCE_S", 0)
    driver.end()
    assert "demo: 2 interrupted of 4" in watch(steps=[])


def test_a_sweep_that_is_just_being_taken_up_is_waited_for(watch: Watch, driver: Driver) -> None:
    driver.end()
    again: list[Driver] = []
    steps = [lambda: None, lambda: again.append(Driver(trials=0)), lambda: again[0].end()]
    lines = [json.loads(line) for line in watch("--json", steps=steps).splitlines()]
    assert [one["is_running"] for one in lines] == [True, False]


def test_a_sweep_whose_command_checks_its_request_yet_is_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[Driver] = []
    steps = iter([lambda: None, lambda: begun.append(Driver()), lambda: begun[0].end()])
    clock = SimpleNamespace(sleep=lambda _: next(steps)(), monotonic=time.monotonic)
    monkeypatch.setattr(watching, "time", clock)
    assert cli.main(["status", "demo", "--watch"]) == 0
    out, err = capsys.readouterr()
    assert "demo: 2 interrupted of 4" in out
    assert err == f"no sweep demo in {home}: waiting 30 s for its command to begin it ...\n"


def test_a_sweep_that_never_begins_is_unknown(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "PATIENCE_S", 0)
    assert cli.main(["status", "demoo", "--watch"]) == 2
    assert "did you mean 'demo'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--watch"], "tuning status NAME --watch"),
        (["demo", "--interval", "2"], "tuning status NAME --watch"),
        (["demo", "--watch", "--interval", "0"], "above 0, but got 0"),
        (["demo", "--watch", "--interval", "nan"], "above 0, but got nan"),
        (["../demo", "--watch"], "must be 1 to 100 letters"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    driver: Driver, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert cli.main(["status", *arguments]) == 2
    assert words in capsys.readouterr().err
