"""The end of a sweep has its report written beside what else it does; nothing depends on it."""

import logging
from pathlib import Path

import pytest

from tests.report import made_up
from tuning.ledger import Sweep
from tuning.report.process import written_beside


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    found = made_up.sweep([], home=tmp_path)
    found.paths.folder.mkdir()
    return found


def test_the_report_is_written_while_the_driver_goes_on(sweep: Sweep) -> None:
    with written_beside(sweep) as written:
        assert written() == sweep.paths.report
    assert sweep.paths.report.read_text().startswith("<!DOCTYPE html>")


def test_a_report_that_fails_costs_nothing_but_itself(
    sweep: Sweep, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep.paths.report.mkdir()
    with caplog.at_level(logging.ERROR), written_beside(sweep) as written:
        assert written() is None
    assert f"`{sweep.paths.command('report')}` makes it" in caplog.text
    assert str(sweep.paths.report) in capfd.readouterr().err  # which goes to the sweep's log


def test_who_does_not_wait_leaves_nothing_half_written(sweep: Sweep) -> None:
    with pytest.raises(KeyboardInterrupt), written_beside(sweep):
        raise KeyboardInterrupt
    assert not sweep.paths.report.exists()
