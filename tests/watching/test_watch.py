"""`tuning status NAME --watch`: a sweep that runs elsewhere is shown as it changes, until it ends.

`test_stopping.py` has a real one watched; here each look is a step of a script.
"""

import io
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend

from tests.watching.drivers import Driver, Watch
from tuning import cli, ledger, standing
from tuning.records import State


def steps(driver: Driver) -> list[Callable[[], object]]:
    return [
        driver.place,
        lambda: driver.report(1),
        lambda: None,
        lambda: driver.study.tell(0, State.COMPLETED),
    ]


def test_json_has_a_line_for_each_change_and_one_for_the_end(watch: Watch, driver: Driver) -> None:
    lines = [json.loads(line) for line in watch("--json", steps=steps(driver)).splitlines()]
    assert [one["is_running"] for one in lines] == [True, True, True, True, False]
    assert [one["states"] for one in lines[-2:]] == [
        {"completed": 1, "running": 1},
        {"completed": 1, "interrupted": 1},
    ]
    assert [one["workers"] for one in lines[:3]] == [
        [],
        [{"where": "far, GPU 1", "cohort": driver.cohort, "epoch": 0, "trials": [0, 1]}],
        [{"where": "far, GPU 1", "cohort": driver.cohort, "epoch": 1, "trials": [0, 1]}],
    ]
    assert [(one["trial"], one["value"]) for one in lines[2]["top"]] == [(1, 0.5), (0, 1.0)]


def test_in_a_file_there_is_a_line_where_counts_or_the_best_have_changed(
    watch: Watch, driver: Driver
) -> None:
    lines = watch(steps=steps(driver)).splitlines()
    assert lines[:3] == [
        "demo: 0/4 trials ended, 2 running; no result yet",
        "demo: 0/4 trials ended, 2 running; best so far: 0.5 (trial 1, epoch 1)",
        "demo: 1/4 trials ended (1 completed), 1 running; best so far: 0.5 (trial 1, epoch 1)",
    ]
    assert lines[3].startswith("demo: 1 completed, 1 interrupted of 4"), "then how it stands"


def test_on_a_terminal_there_are_the_best_trials_and_what_each_worker_does(
    watch: Watch, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    watch(steps=steps(driver))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert re.search(rf"far, GPU 1 +{driver.cohort} +1 of 9 +2: 0, 1 *\n", text)
    assert re.search(r"\n1 +running +0\.5 +1 +optimizer=sgd lr=", text)
    assert "1/4 trials ended (1 completed), 1 running" in text
    assert "cohorts in training: 1" in text and "Ctrl-C ends the watching, not the sweep" in text
    live, _, _ = text.partition("demo: 1 completed")
    assert all(len(line) <= 120 for line in live.splitlines())


def test_trials_at_a_rung_are_between_two_cohorts(driver: Driver) -> None:
    driver.place()
    for epoch in (1, 2, 3):
        driver.report(epoch)
    found = ledger.open_sweep("demo")
    assert standing.workers(found) == []
    driver.report(4)
    assert [one["epoch"] for one in standing.workers(ledger.open_sweep("demo"))] == [4]


def trained(driver: Driver) -> list[list[int]]:
    """Trials of each worker, as another process sees them."""
    return [one["trials"] for one in standing.workers(ledger.open_sweep("demo"))]


def test_status_tells_of_a_trial_that_runs_and_is_better_than_the_best_completed_one(
    driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.place()
    driver.report(1)
    assert cli.main(["status", "demo"]) == 0
    assert "best so far val_loss=0.5 (trial 1)" in capsys.readouterr().out
    driver.study.tell(0, State.COMPLETED)
    assert cli.main(["status", "demo"]) == 0
    said = capsys.readouterr().out
    assert "best        trial 0: val_loss=1 at epoch 1" in said
    assert "(of those that completed; trial 1, running, has 0.5)" in said
    driver.study.tell(1, State.COMPLETED)
    driver.end()
    assert cli.main(["status", "demo"]) == 0
    said = capsys.readouterr().out
    assert "of those that completed" not in said
    assert "not begun   2 of 4 trials (tuning resume demo)" in said


def test_a_trial_that_was_stopped_is_not_said_to_be_ahead_of_itself(
    driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.report(1)
    for number in (0, 1):
        driver.study.tell(number, State.PRUNED)
    assert cli.main(["status", "demo"]) == 0
    said = capsys.readouterr().out
    assert "trial 1 (pruned: no trial has completed)" in said and "of those that completed" not in said


def test_status_says_what_went_wrong_last(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    driver.study.tell(1, State.FAILED, "Traceback ...\nIndexError: index out of range in self")
    driver.study.tell(0, State.FAILED, "ValueError: another")
    assert cli.main(["status", "demo"]) == 0
    said = capsys.readouterr().out
    line = "went wrong  trial 1 failed: IndexError: index out of range in self"
    assert f"{line} (all of it: tuning inspect demo --trial 1)" in said


def test_the_time_of_a_sweep_goes_on_while_it_is_driven_and_not_between(driver: Driver) -> None:
    driver.study.facts.add_seconds(100.0)
    driver.study.facts.begin_drive(time.time() - 9e5, gpus={}, workers=1)  # of a driver that was killed
    before = standing.sweep_facts(ledger.open_sweep("demo"))["wall_s"]
    assert 100 < before < 400
    time.sleep(0.1)
    assert standing.sweep_facts(ledger.open_sweep("demo"))["wall_s"] > before
    driver.end()
    assert standing.sweep_facts(ledger.open_sweep("demo"))["wall_s"] == 100.0


def test_what_an_earlier_driver_has_left_is_nobodys_work_until_it_has_a_place_again(driver: Driver) -> None:
    driver.place()
    driver.report(1)
    assert trained(driver) == [[0, 1]]
    driver.end()
    again = Driver(trials=0)
    try:
        assert trained(again) == []
        facts = standing.sweep_facts(ledger.open_sweep("demo"))
        assert facts["states"] == {"running": 2} and facts["where"] == {"0": "far, GPU 1", "1": "far, GPU 1"}
        again.place("near", numbers=[1])
        assert trained(again) == [[1]], "the other one waits for its turn"
    finally:
        again.end()


def test_a_cohort_whose_worker_died_is_nobodys_work_until_it_has_a_place_again(driver: Driver) -> None:
    driver.place()
    driver.study.places.wait([0, 1])
    assert trained(driver) == []
    driver.place()
    assert trained(driver) == [[0, 1]]


def test_ctrl_c_ends_the_watching_and_says_how_the_sweep_stands(watch: Watch, driver: Driver) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    said = watch(steps=[press])
    assert "demo: 2 running of 4" in said.splitlines()[-5]


def test_half_a_record_is_read_when_it_is_whole_and_nothing_is_read_twice(
    watch: Watch, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.place()
    driver.report(1)
    last = driver.where.journal.read_bytes().splitlines(keepends=True)[-1]
    record = last.replace(b'"step":1', b'"step":2')
    assert record != last

    def write(part: bytes) -> None:
        with open(driver.where.journal, "ab") as file:
            file.write(part)

    first: list[int] = []
    read = JournalFileBackend.read_logs

    def noted(backend: JournalFileBackend, log_number_from: int) -> Any:
        first.append(log_number_from)
        return read(backend, log_number_from)

    monkeypatch.setattr(JournalFileBackend, "read_logs", noted)
    halves = [lambda: write(record[:9]), lambda: None, lambda: write(record[9:])]
    lines = [json.loads(line) for line in watch("--json", steps=halves).splitlines()]
    assert [[one["epoch"] for one in line["workers"]] for line in lines] == [[1], [2], []]
    assert first[0] == 0 and all(first[1:]), "the second look begins where the first has ended"


def test_plain_status_names_the_best_trials(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    driver.report(1)
    assert cli.main(["status", "demo"]) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"\ntop +trial 1 running: best 0\.5 at epoch 1, optimizer=sgd lr=.*\n +trial 0 running: best 1 at",
        said,
    )
