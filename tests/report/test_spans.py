"""When trials trained where, as the study keeps it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuning.records import Fleet, Place, Span, State
from tuning.space import Float
from tuning.spec import SweepSpec
from tuning.study import Study

SPEC = SweepSpec(
    model="net",
    data="noisy_square",
    name="demo",
    epochs=9,
    batch_size=64,
    metric="val_loss",
    mode="min",
    search={"lr": Float(1e-4, 1.0, log=True)},
)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "study.journal"


def place(span: Span, cohort: str = "a", epoch: int = 1, trial: int = 0) -> Place:
    return Place(trial=trial, where=span.where, cohort=cohort, epoch=epoch, slot=0, width=1, span=span)


def begun(journal: Path) -> Study:
    study = Study(SPEC, journal, write=True)
    study.ask()
    return study


def kept(journal: Path) -> list[Span]:
    """What a reader of the file finds of trial 0."""
    return list(Study(SPEC, journal, write=False).trials()[0].spans)


def records(journal: Path) -> int:
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return sum("spans" in found.get("user_attr", {}) for found in lines)


def test_a_trial_in_one_cohort_has_one_record_however_often_it_reports(journal: Path) -> None:
    study = begun(journal)
    for end in range(1, 20):
        study.places.keep([place(Span("host, GPU 0", 7, 100.0, 100.0 + end))])
    assert records(journal) == 0, "nothing is written while it is short"
    study.report(0, 1, 0.5)
    study.tell(0, State.PRUNED)
    assert kept(journal) == [Span("host, GPU 0", 7, 100.0, 119.0)] and records(journal) == 1


def test_a_trial_has_a_record_per_cohort(journal: Path) -> None:
    study = begun(journal)
    spans = [Span("host", 7, 10.0, 11.0), Span("host", 8, 20.0, 22.0), Span("other", 7, 30.0, 33.0)]
    for cohort, found in zip("abc", spans, strict=True):
        for end_s in (found.end_s - 0.5, found.end_s):
            study.places.keep([place(replace(found, end_s=end_s), cohort)])
    study.tell(0, State.PRUNED)
    assert kept(journal) == spans and records(journal) == 3


def test_of_a_long_cohort_a_death_of_the_driver_takes_no_more_than_half(journal: Path) -> None:
    study = begun(journal)
    for end in range(10, 4000, 10):
        study.places.keep([place(Span("host", 7, 0.0, float(end)))])
        known_s = sum(found.end_s - found.begin_s for found in kept(journal))
        assert end - known_s < max(30.0, end / 2)
    assert records(journal) < 10


def test_after_a_death_the_time_in_which_nobody_trained_belongs_to_no_span(journal: Path) -> None:
    study = begun(journal)
    study.places.keep([place(Span("host", 7, 0.0, 40.0))])
    study.places.keep([place(Span("host", 7, 0.0, 50.0))])  # the driver dies before this is written
    again = Study(SPEC, journal, write=True)
    again.places.keep([place(Span("host", 9, 1000.0, 1001.0), "b", epoch=4)])
    again.tell(0, State.PRUNED)
    assert kept(journal) == [Span("host", 7, 0.0, 40.0), Span("host", 9, 1000.0, 1001.0)]


def test_an_interrupted_trial_keeps_until_when_it_trained(journal: Path) -> None:
    study = begun(journal)
    study.places.keep([place(Span("host", 7, 0.0, 5.0))])
    study.places.leave_all()
    assert kept(journal) == [Span("host", 7, 0.0, 5.0)]
    study.places.leave_all()
    assert records(journal) == 1


def test_a_worker_that_begins_again_with_the_same_cohort_begins_a_span(journal: Path) -> None:
    study = begun(journal)
    study.places.keep([place(Span("host", 7, 0.0, 5.0))])
    new = study.places.keep([place(Span("host", 8, 9.0, 12.0))])
    study.places.leave_all()
    assert kept(journal) == [Span("host", 7, 0.0, 5.0), Span("host", 8, 9.0, 12.0)]
    assert new == [], "host and cohort are as they were: nobody else need be told"


def test_what_is_told_of_a_trial_that_has_ended_changes_nothing(journal: Path) -> None:
    study = begun(journal)
    last = place(Span("host", 7, 0.0, 5.0))
    study.places.keep([last])
    study.tell(0, State.DIVERGED)
    before = journal.read_bytes()
    assert study.places.keep([last]) == []
    assert journal.read_bytes() == before


def test_where_and_stacks_are_kept_as_ever(journal: Path) -> None:
    study = begun(journal)
    study.places.keep([place(Span("host", 7, 0.0, 1.0))])
    study.places.keep([place(Span("host", 7, 2.0, 3.0), "b", epoch=2)])
    attributes: dict[str, Any] = study._entries.frozen(0).user_attrs
    assert attributes["where"] == "host" and attributes["cohort"] == "b"
    assert attributes["stacks"] == [[1, 0, 1], [2, 0, 1]]


def test_a_study_knows_when_its_drivers_were_at_work_and_the_most_that_there_was(journal: Path) -> None:
    facts = begun(journal).facts
    facts.begin_drive(100.0, {"host": 2}, 8)
    assert Study(SPEC, journal, write=False).facts.fleet().drives == ((100.0, None),)
    facts.end_drive(160.0)
    facts.begin_drive(1000.0, {"host": 1, "other": 1}, 2)
    fleet = Study(SPEC, journal, write=False).facts.fleet()
    assert fleet == Fleet(gpus={"host": 2, "other": 1}, workers=8, drives=((100.0, 160.0), (1000.0, None)))


def test_a_study_of_an_earlier_version_has_no_spans(journal: Path) -> None:
    begun(journal)._entries.set(0, where="host", cohort="a", stacks=[[1, 0, 1]])
    (trial,) = Study(SPEC, journal, write=False).trials()
    assert trial.spans == () and trial.where == "host"
    assert Study(SPEC, journal, write=False).facts.fleet() == Fleet()
