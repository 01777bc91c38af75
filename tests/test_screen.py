"""What a user sees while a sweep runs."""

import contextlib
import io
import re
import sys
import time
from dataclasses import replace

import pytest

from tuning import screen as screens
from tuning.records import Cohort, EpochReport, Member, State, TrialRecord, TrialSpec
from tuning.screen import Progress
from tuning.spec import SweepSpec

SPEC = SweepSpec(model="net", name="mine", trials=4, metric="val_loss", mode="min")


class Terminal(io.StringIO):
    """A screen of 100 columns; a real one cannot be had where tests run."""

    def isatty(self) -> bool:
        return True


def play(progress: Progress) -> None:
    """Two trials: one completes, one fails, half a minute after workers were up."""
    progress.trains_since(time.time() - 30)
    for number in (0, 1):
        trial = TrialSpec(number=number, hyperparameters={"lr": 0.0123456, "optimizer": "sgd"})
        progress.begin(trial, Cohort(id="a", members=(Member(trial=trial),), until=2))
        progress.epoch(EpochReport(trial=number, epoch=1, metrics={"val_loss": 0.5 - number / 10}))
    progress.end(0, State.COMPLETED, None)
    progress.end(1, State.FAILED, "Traceback ...\nKeyError: 'nowhere'")


def test_in_a_file_there_are_plain_lines_without_control_characters() -> None:
    screen = io.StringIO()
    with Progress(SPEC, screen, []) as progress:
        progress.phase("starting workers")
        play(progress)
    lines = screen.getvalue().splitlines()
    assert lines[0] == "starting workers ..."
    assert lines[1] == "trial 1 failed: KeyError: 'nowhere'"
    assert lines[-1].startswith("mine: 2/4 trials ended (1 completed, 1 failed) - ")
    assert "\x1b" not in screen.getvalue()


def test_in_a_file_the_best_hyperparameters_are_told_where_they_are_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(screens, "PLAIN_INTERVAL_S", -1)
    screen = io.StringIO()
    with Progress(SPEC, screen, []) as progress:
        play(progress)
    bests = [line.partition("best so far: ")[2] for line in screen.getvalue().splitlines()]
    assert [best for best in bests if best] == [
        "val_loss=0.5 (trial 0, epoch 1) lr=0.01235 optimizer=sgd",
        "val_loss=0.4 (trial 1, epoch 1) lr=0.01235 optimizer=sgd",
        "val_loss=0.4 (trial 1, epoch 1)",
        "val_loss=0.4 (trial 1, epoch 1, failed)",
    ]


def test_on_a_terminal_the_counts_and_the_best_so_far_are_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    with Progress(SPEC, screen, []) as progress:
        play(progress)
        assert progress._live is not None
        progress._live.refresh()
    shown = screen.getvalue()
    assert "2/4 trials ended (1 completed, 1 failed)" in shown
    assert "best so far: val_loss=0.4 (trial 1, epoch 1, failed) lr=0.01235 optimizer=sgd" in shown
    assert "trials/min" in shown and "left" in shown
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in shown.splitlines()]
    assert all(len(line) <= 140 for line in lines)
    assert any(line.startswith("mine: 2/4") for line in lines), "not behind the bar"
    assert "trial 1 failed: KeyError: 'nowhere'" in shown


def test_the_rest_is_estimated_from_when_workers_were_up_once_an_eighth_has_ended() -> None:
    """Those that are stopped early end first, and nothing says how long the others take."""
    screen = io.StringIO()
    with Progress(replace(SPEC, trials=80), screen, []) as progress:
        play(progress)
        assert re.fullmatch(r"- \d s so far", progress._pace())
        for number in range(2, 10):
            progress.end(number, State.PRUNED, None)
        assert progress._pace() == "- 20 trials/min, about 3:30 left"


def test_while_no_trial_ends_the_estimate_counts_down_and_goes_when_it_has_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Progress(SPEC, io.StringIO(), []) as progress:
        play(progress)  # two of four in 30 s
        shown = []
        for later_s in (0, 10, 29, 31):
            monkeypatch.setattr(time, "monotonic", lambda s=progress._last_end_s + later_s: s)
            shown.append(progress._pace().partition(", ")[2])
        monkeypatch.undo()
    assert shown == ["about 0:30 left", "about 0:20 left", "about 0:01 left", ""]


def test_the_best_so_far_that_was_stopped_early_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the sweep's best unless no trial completes."""
    with Progress(SPEC, io.StringIO(), []) as progress:
        play(progress)
        progress.end(1, State.PRUNED, None)
        assert "best so far: val_loss=0.4 (trial 1, epoch 1, stopped early)" in progress._best_line()


def test_while_no_trial_has_ended_the_furthest_epoch_is_told() -> None:
    with Progress(SPEC, io.StringIO(), []) as progress:
        trial = TrialSpec(number=0, hyperparameters={"lr": 0.1})
        progress.begin(trial, Cohort(id="a", members=(Member(trial=trial),), until=1))
        progress.epoch(EpochReport(trial=0, epoch=1, metrics={"val_loss": 0.5}))
        assert f"1 starting (the furthest at epoch 1 of {SPEC.epochs}) - " in progress._line()
        progress.end(0, State.COMPLETED, None)
        assert "furthest" not in progress._line()


def test_interrupted_trials_have_not_ended() -> None:
    screen = io.StringIO()
    with Progress(SPEC, screen, []) as progress:
        play(progress)
        progress.end(2, State.INTERRUPTED, None)
    assert "mine: 2/4 trials ended (1 completed, 1 failed), 1 interrupted" in screen.getvalue()


def test_earlier_trials_are_counted_when_a_sweep_goes_on() -> None:
    screen = io.StringIO()
    states = [State.PRUNED, State.PRUNED, State.RUNNING]
    earlier = [
        TrialRecord(number=number, state=state, hyperparameters={}) for number, state in enumerate(states)
    ]
    with Progress(SPEC, screen, earlier) as progress:
        play(progress)
    assert "mine: 4/4 trials ended (1 completed, 2 pruned, 1 failed)" in screen.getvalue()


def test_the_best_of_an_earlier_driver_is_still_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    earlier = TrialRecord(
        number=7, state=State.COMPLETED, hyperparameters={"lr": 0.5}, values={1: 0.1}, value=0.1, epoch=1
    )
    with Progress(SPEC, screen, [earlier]) as progress:
        play(progress)
        assert "best so far: val_loss=0.1 (trial 7, epoch 1) lr=0.5" in progress._best_line()


def test_a_live_display_leaves_the_streams_where_they_were_turned_to() -> None:
    log, screen = io.StringIO(), Terminal()
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log), Progress(SPEC, screen, []):
        print("a library speaks")
        print("and warns", file=sys.stderr)
    assert log.getvalue().splitlines() == ["a library speaks", "and warns"]
    assert "library" not in screen.getvalue() and "warns" not in screen.getvalue()


def test_a_screen_that_went_away_ends_no_sweep() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with Progress(SPEC, Gone(), []) as progress:
        play(progress)
