"""Which cohort size is chosen from what was measured."""

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tuning.sizing import (
    Measured,
    Sizing,
    choose,
    from_workers,
    most_useful,
    together,
    wanted_sizes,
    without_measuring,
)


def rates(*trials_per_s: float) -> list[Measured]:
    """Measured at sizes 1, 2, 4, ..."""
    return [
        Measured(size=2**n, trials_per_s=rate, memory_bytes=1000 * 2**n)
        for n, rate in enumerate(trials_per_s)
    ]


@pytest.mark.parametrize(
    ("trials", "workers", "most"), [(1024, 2, 128), (32, 2, 4), (8, 2, 1), (7, 2, 1), (1, 1, 1), (100, 1, 25)]
)
def test_every_worker_has_four_cohorts_at_least(trials: int, workers: int, most: int) -> None:
    assert most_useful(trials, workers) == most
    sizes = wanted_sizes(trials, workers)
    assert sizes[0] == 1 and most / 2 < sizes[-1] <= most
    assert all(large == 2 * small for small, large in itertools.pairwise(sizes))


@pytest.mark.parametrize(
    ("found", "size"),
    [
        (rates(4, 3, 6, 11, 20, 40, 60, 80), 128),
        (rates(4, 3, 6, 11, 20, 40, 76, 80), 64),
        (rates(4, 3, 6, 11, 20, 40, 71, 80), 128),
        (rates(4, 3, 3.5), 1),
        (rates(4, 4.2, 4.3), 1),
        (rates(4), 1),
    ],
)
def test_the_smallest_size_that_is_nearly_as_fast_as_the_fastest_is_taken(
    found: list[Measured], size: int
) -> None:
    assert choose(found, trials=10_000, workers=2)[0] == size


def test_the_time_of_a_sweep_has_the_start_of_each_cohort_in_it() -> None:
    found = Measured(size=8, trials_per_s=4.0, memory_bytes=1, startup_s=0.5)
    assert found.seconds(trials=32, workers=2) == 32 / (2 * 4.0) + 2 * 0.5
    assert found.seconds(trials=33, workers=2) == 33 / (2 * 4.0) + 3 * 0.5, "the last cohort is one more"
    assert found.seconds(trials=8, workers=4) == 8 / 4.0 + 0.5, "of one cohort one worker has work"


def test_the_reason_names_the_gain_and_what_limits_it() -> None:
    assert choose(rates(4, 3, 12), 32, 2) == (
        4,
        "3.0 times as many per second as one by one; "
        "with more at once, 2 workers would have fewer than 4 cohorts each, between which the search learns",
    )
    assert choose(rates(4, 3, 12, 12), 10_000, 2) == (4, "3.0 times as many per second as one by one")
    assert choose(rates(4, 3, 12), 10_000, 2, "8 trials would take 9.0 GB of the 2.0 GB of a worker")[1] == (
        "3.0 times as many per second as one by one; 8 trials would take 9.0 GB of the 2.0 GB of a worker"
    )
    assert choose(rates(4, 3), 10_000, 2) == (1, "training 2 at once is not faster here")
    assert choose(rates(4, 3, 3), 10_000, 2) == (1, "training 2 to 4 at once is not faster here")
    assert choose(rates(4, 3), 24, 2)[1] == (
        "training 2 at once is not faster here; a sweep of more trials tries more at once"
    )
    assert choose(rates(4), 10_000, 2, "trials train one by one, ...") == (1, "trials train one by one, ...")


def test_what_is_asked_for_is_not_measured() -> None:
    asked = without_measuring(16, 1000, 2)
    assert asked is not None and (asked.size, asked.why) == (16, "as asked")
    few = without_measuring("auto", 8, 2)
    assert few is not None and few.size == 1
    more = "from 16 on, 8 for each of 2 workers, they may train together"
    why = f"of so few trials (8) each is chosen better knowing what those before it found; {more}"
    assert few.describe() == f"each trial trains alone: {why}"
    assert without_measuring("auto", 1000, 2) is None


def by_size(*of_workers: tuple[list[Measured], str]) -> tuple[dict[int, float], str]:
    measured, note = together(of_workers)
    return {one.size: one.trials_per_s for one in measured}, note


def test_what_several_workers_measured_of_a_size_is_averaged() -> None:
    assert by_size((rates(4, 10, 20), ""), (rates(2, 6, 10), "")) == ({1: 3, 2: 8, 4: 15}, "")


def test_a_worker_that_stopped_early_hides_nothing_that_another_found() -> None:
    """Of two workers on busy cores one gave up at 4: 1,024 trials trained one by one, a tenth as fast."""
    found, note = by_size((rates(3.7, 3.0, 2.7), ""), (rates(3.7, 3.0, 5.4, 10, 20, 40, 70), ""))
    assert (found[64], found[4], note) == (70, (2.7 + 5.4) / 2, "")


def test_a_worker_whose_memory_does_not_suffice_limits_all() -> None:
    note = "4 trials would take 9.0 GB of the 2.0 GB of a worker"
    assert by_size((rates(4, 10, 20, 40), ""), (rates(2, 6), note)) == ({1: 3, 2: 8}, note)


def sent_by(measured: list[Measured], memory_bytes: float = 1e9, note: str = "") -> str:
    plain = [asdict(one) for one in measured]
    return json.dumps(
        {"device": "CPU of here", "measured": plain, "note": note, "memory_bytes": memory_bytes}
    )


@pytest.mark.parametrize(
    ("trials_per_s", "first_share", "trials", "memory_bytes", "in_turn"),
    [
        (1.0, 1.0, 1000, 1e9, 3),  # three seconds
        (0.4, 1 / 3, 1000, 1e9, 4),  # of the epochs to the first rung
        (0.2, 1.0, 1000, 1e9, 1),  # a trial takes longer anyway
        (100.0, 1.0, 1000, 1e9, 4),
        (100.0, 1.0, 20, 1e9, 2),  # each of two workers gets four cohorts, and learns between them
        (1.0, 1.0, 1000, 2500, 2),  # of 1,000 bytes each
    ],
)
def test_trials_that_train_alone_come_to_a_worker_a_few_seconds_worth_at_a_time(
    trials_per_s: float, first_share: float, trials: int, memory_bytes: float, in_turn: int
) -> None:
    sent = sent_by(rates(trials_per_s, trials_per_s / 2), memory_bytes)
    found = from_workers([sent], trials, 2, first_share)
    assert (found.size, found.in_turn) == (1, in_turn)
    at_a_time = f", a worker gets {in_turn} at a time: training" if in_turn > 1 else ": training"
    assert found.describe().startswith(f"each trial trains alone{at_a_time} 2 at once is not faster here")


def test_what_workers_send_becomes_a_size_that_is_kept(tmp_path: Path) -> None:
    sent = sent_by(rates(1, 2, 8))
    found = from_workers([sent, sent], 1000, 2, first_share=1.0)
    assert (found.size, found.device, found.asked[-1]) == (4, "CPU of here", 64)
    assert found.describe() == "4 trials train together: 8.0 times as many per second as one by one"
    found.keep(tmp_path / "cohort.json")
    assert Sizing.load(tmp_path / "cohort.json") == found


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ([], "larger cohorts could not be measured (the workers died over it)"),
        ([json.dumps({"error": "ValueError: no"})], "larger cohorts could not be measured (ValueError: no)"),
    ],
)
def test_where_nothing_was_measured_trials_train_alone(sent: list[str], why: str) -> None:
    found = from_workers(sent, 1000, 2, first_share=1.0)
    assert (found.size, found.why) == (1, why)


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"size": 4}'])
def test_a_file_that_says_nothing_is_as_if_there_were_none(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "cohort.json"
    if content is not None:
        file.write_text(content)
    assert Sizing.load(file) is None
