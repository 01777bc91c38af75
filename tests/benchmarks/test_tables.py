import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks import command, tables
from benchmarks.fairness import check_same_training
from benchmarks.job import Job, draw
from benchmarks.race import RACES, Round
from benchmarks.trace import BenchmarkError, Measured, append, measure, read
from benchmarks.trace import Epoch as Traced


@pytest.fixture
def job() -> Job:
    return draw("batchnorm_net", trials=2, epochs=2)


def epochs(*skipped: tuple[int, int], loss: float = 4.0) -> list[Traced]:
    """Two trials of two epochs of a second each, side by side in the workers 100 and 101."""
    return [
        Traced(
            trial=trial,
            worker=100 + trial,
            epoch=epoch,
            start_s=10.0 + epoch,
            end_s=11.0 + epoch,
            metrics={"train_loss": loss, "val_loss": loss},
        )
        for trial in (0, 1)
        for epoch in (1, 2)
        if (trial, epoch) not in skipped
    ]


def measured(job: Job, *, loss: float = 4.0, cores: int = 2) -> Measured:
    return measure(epochs(loss=loss), job, launched_s=8.0, exited_s=16.0, cores=cores)


def round_of(job: Job, entered: Iterable[str]) -> Round:
    return {name: measured(job) for name in entered}


def test_startup_trials_and_tail_add_up_to_the_whole(job: Job) -> None:
    found = measured(job)
    assert (found.startup_s, found.trials_s, found.tail_s, found.whole_s) == (3.0, 2.0, 3.0, 8.0)
    assert (found.trials_per_s, found.all_in_per_s) == (1.0, 0.4)
    assert (found.busy, found.balance, found.workers) == (1.0, 1.0, 2)


@pytest.mark.parametrize(("cores", "balance"), [(1, None), (2, 1.0), (4, 0.0)])
def test_balance_needs_one_worker_per_core(job: Job, cores: int, balance: float | None) -> None:
    assert measured(job, cores=cores).balance == balance


@pytest.mark.parametrize(
    "trained",
    [epochs((1, 2)), epochs() + epochs()[:1], [], epochs(loss=float("nan"))],
    ids=["an epoch is missing", "one is there twice", "nothing was trained", "diverged"],
)
def test_a_run_that_did_not_do_its_job_has_no_time(job: Job, trained: list[Traced]) -> None:
    with pytest.raises(BenchmarkError):
        measure(trained, job, launched_s=8.0, exited_s=16.0, cores=2)


def test_a_run_that_ended_elsewhere_is_refused(job: Job) -> None:
    check_same_training({"ours": measured(job, loss=4.1), "bare": measured(job)}, "bare")
    with pytest.raises(BenchmarkError, match="ours and bare"):
        check_same_training({"ours": measured(job, loss=6.0), "bare": measured(job)}, "bare")


def test_a_trace_reads_back_as_it_was_written(tmp_path: Path) -> None:
    for epoch in epochs():
        append(tmp_path / "trace.jsonl", epoch)
    assert read(tmp_path / "trace.jsonl") == epochs()


def test_a_job_reads_back_and_knows_its_configurations(job: Job, tmp_path: Path) -> None:
    job.write(tmp_path / "job.json")
    again = Job.read(tmp_path / "job.json")
    assert again == job
    assert [again.index({**one, "optimizer": 0.0}) for one in job.configurations] == [0, 1]


@pytest.mark.parametrize("name", RACES)
def test_a_race_has_a_row_per_competitor_and_per_target(job: Job, name: str) -> None:
    rounds = [round_of(job, RACES[name].entered), round_of(job, RACES[name].entered)]
    text = tables.race_markdown(RACES[name], job, rounds)
    for competitor in RACES[name].entered:
        assert text.count(f"| {competitor} |") == 1
    for target in RACES[name].targets:
        assert target.what in text
    json.dumps(tables.race_plain(RACES[name], job, rounds))


def test_milestones_stand_in_order_of_time() -> None:
    run = {command.CLOCK_STARTS: 0.5, "Ray up": 4.0, "torch imported": 2.0, command.FIRST_REPORT: 8.0}
    text = tables.command_markdown(command.COMMANDS["startup"], [{**run, command.PROCESS_ENDS: 11.0}])
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows == [command.CLOCK_STARTS, "torch imported", "Ray up", "first report", "command ended"]
    assert "First report after 8.0 s (target: under 12 s, met)" in text


def test_spread_names_median_least_and_most() -> None:
    assert tables.spread([3.0, 1.0, 2.0]) == "2.0 (1.0 - 3.0)"
    assert tables.spread([3.0]) == "3.0"
