"""Who trained when, and who stood idle."""

from typing import Any

import pytest

from tests.report import made_up
from tests.report.made_up import seen, span, trace, trial
from tuning.records import Fleet
from tuning.report.lanes import lanes, union
from tuning.report.timeline import AT_WORK_BARS, timeline


def test_a_worker_that_waits_is_seen_to_be_idle() -> None:
    trials = [
        trial(0, [0.5], spans=(span(0, 4, "host, GPU 0", 1), span(6, 10, "host, GPU 0", 1))),
        trial(1, [0.5], spans=(span(0, 5, "host, GPU 1", 2),)),
    ]
    found = lanes(trials, Fleet())
    assert {place: found.share(place) for place in found.busy} == {
        ("host, GPU 0", 1): pytest.approx(0.8),
        ("host, GPU 1", 1): pytest.approx(0.5),
    }
    panel = timeline(seen(*trials))
    assert panel.title == "2 workers trained for 65% of the time"
    work = trace(panel, "at work")
    assert list(work.y) == [0, 0, 1] and list(work.x) == [4000.0, 4000.0, 5000.0]
    assert work.base[1] == "2023-11-14 22:13:26.000"
    assert list(panel.figure.layout.yaxis.ticktext) == [
        "host, GPU 0<br>worker 1: 80% at work",
        "host, GPU 1<br>worker 1: 50% at work",
    ]


def test_a_process_that_follows_another_takes_its_row_and_one_beside_it_has_its_own() -> None:
    trials = [
        trial(0, [0.5], spans=(span(0, 5, process=1),)),
        trial(1, [0.5], spans=(span(1, 6, process=2),)),
        trial(2, [0.5], spans=(span(7, 9, process=3),)),
    ]
    assert lanes(trials, Fleet()).of == {
        ("host", 1): ("host", 1),
        ("host", 2): ("host", 2),
        ("host", 3): ("host", 1),
    }


def test_a_gpu_that_no_trial_came_to_has_a_row_and_so_has_a_worker() -> None:
    one = trial(0, [0.5], spans=(span(0, 4, "host, GPU 2"), span(5, 9, "host, GPU 2")))
    panel = timeline(seen(one, fleet=Fleet(gpus={"host": 2, "other": 1}, workers=4)))
    assert panel.title == "4 workers trained for 22% of the time: 3 of them never did"
    assert panel.figure is not None and list(panel.figure.layout.yaxis.ticktext) == [
        "host, GPU 2<br>worker 1: 89% at work",
        "host, unused GPU<br>worker 1: never at work",
        "no trial came to<br>worker 1: never at work",
        "other, unused GPU<br>worker 1: never at work",
    ]


def test_workers_that_are_not_drawn_count_in_the_title() -> None:
    trials = [trial(i, [0.5], spans=(span(0, 10 if i < 80 else 5, f"host {i:03d}", i),)) for i in range(160)]
    panel = timeline(seen(*trials))
    assert panel.title == "160 workers trained for 75% of the time"
    assert panel.figure is not None and len(panel.figure.layout.yaxis.ticktext) == 80
    assert "80 further workers are not drawn" in panel.text


NIGHT_S = 36_000.0
TWO_DAYS = trial(0, [0.5], spans=(span(0, 100), span(100 + NIGHT_S, 200 + NIGHT_S)))


def drives(*found: tuple[float, float | None]) -> Fleet:
    start_s = made_up.START_S
    return Fleet(drives=[(start_s + begin, None if end is None else start_s + end) for begin, end in found])


@pytest.mark.parametrize(
    ("found", "pauses_s"),
    [
        ([(-5, 110), (90 + NIGHT_S, 210 + NIGHT_S)], [NIGHT_S - 20]),
        ([(-5, None), (90 + NIGHT_S, None)], [NIGHT_S - 10]),
        ([(-9000, -8000), (-5, None), (90 + NIGHT_S, None), (10**6, 10**7)], [NIGHT_S - 10]),
        ([(-5, 210 + NIGHT_S)], []),
        ([(-5, None)], []),
        ([(90 + NIGHT_S, None)], [NIGHT_S - 10]),
        ([], []),
    ],
    ids=[
        "two",
        "both died",
        "others beside",
        "one waited",
        "and lives",
        "earlier version",
        "and no later one",
    ],
)
def test_only_the_time_between_two_commands_is_cut_out(found: Any, pauses_s: list[float]) -> None:
    cut = lanes([TWO_DAYS], drives(*found))
    assert [end - begin for begin, end in cut.pauses] == pauses_s
    assert cut.share(("host", 1)) == pytest.approx(200 / (200 + NIGHT_S - sum(pauses_s)))


def test_a_sweep_that_was_driven_and_trained_nothing_has_no_worker() -> None:
    found = lanes([trial(0)], drives((0, 5), (9, None)))
    assert (found.busy, found.driven) == ({}, [])


def test_what_is_cut_out_is_said() -> None:
    panel = timeline(seen(TWO_DAYS, fleet=drives((-5, 100), (100 + NIGHT_S, 200 + NIGHT_S))))
    assert panel.figure is not None and len(panel.figure.layout.xaxis.rangebreaks) == 1
    assert "Pauses between two commands are cut out: 1." in panel.text
    assert panel.title == "1 worker trained for 100% of the time"


def test_after_a_night_a_worker_that_waits_is_seen_to_be_idle_as_before() -> None:
    waits = tuple(span(at + 80 * i, at + 80 * i + 30) for at in (0, NIGHT_S) for i in range(8))
    panel = timeline(seen(trial(0, [0.5], spans=waits), fleet=drives((0, 600), (NIGHT_S, NIGHT_S + 600))))
    assert len(trace(panel, "at work").x) == 16, "what is cut out does not make gaps short"


def test_a_page_does_not_grow_with_the_gaps_of_many_workers() -> None:
    trials = [
        trial(i, [0.5], spans=tuple(span(at, at + 6, f"host {i}", i) for at in range(0, 5000, 10)))
        for i in range(40)
    ]
    work = trace(timeline(seen(*trials)), "at work")
    assert AT_WORK_BARS >= len(work.x) >= 40


def test_trials_that_train_together_share_the_height_of_the_row() -> None:
    panel = timeline(seen(*[trial(i, [0.5], spans=(span(0, 5),)) for i in range(4)]))
    assert list(trace(panel, "completed").y) == pytest.approx([-0.3, -0.1, 0.1, 0.3])
    assert list(trace(panel, "at work").x) == [5000.0], "their times count once"


@pytest.mark.parametrize(
    ("intervals", "gap", "covered"),
    [
        ([(0, 2), (1, 3), (5, 6)], 0, [(0, 3), (5, 6)]),
        ([(0, 2), (3, 4)], 1, [(0, 4)]),
        ([(0, 9), (1, 2)], 0, [(0, 9)]),
        ([], 0, []),
    ],
)
def test_what_intervals_cover(intervals: Any, gap: float, covered: Any) -> None:
    assert union(intervals, gap) == covered
