"""A trial's run id follows from sweep and number: what a death interrupts is not begun beside it."""

from pathlib import Path

import pytest

from tests import sweeps
from tests.tracking.jobs import CLOSE, began, news, runs, runs_of_all, spooled
from tuning import faults
from tuning.records import State
from tuning.tracking.messages import Job
from tuning.tracking.pending import Run
from tuning.tracking.writer import Writer

FAILED = Run(state=State.FAILED, cause="Traceback\nKeyError: 'nowhere'")


class Died(BaseException):
    pass


def death(_: str) -> None:
    raise Died


def artifacts(job: Job) -> set[str]:
    """Return the runs that have a folder of artifacts."""
    return {path.name for path in job.home.glob("mlartifacts/*")}


def test_what_was_uploaded_before_a_death_is_of_the_run_that_is_written_after_it(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled(job, {0: began(0)}, {0: FAILED})
    with monkeypatch.context() as armed, pytest.raises(Died):
        armed.setattr(faults, "place", death)  # uploaded, not committed
        Writer(job).run(news(CLOSE))
    assert "trial-00000" not in runs(job) and len(artifacts(job)) == 2, "the parent's, and of no run"
    Writer(job).run(news(CLOSE))
    assert artifacts(job) == {run.info.run_id for run in runs(job).values()}
    folder = Path(runs(job)["trial-00000"].info.artifact_uri.removeprefix("file://"))
    assert "KeyError" in (folder / "cause.txt").read_text()


def test_a_run_that_was_deleted_keeps_its_id_and_the_trial_gets_another_run(job: Job) -> None:
    spooled(job, {0: began(0)}, {0: FAILED})
    Writer(job).run(news(CLOSE))
    deleted = runs(job)["trial-00000"].info.run_id
    sweeps.MlflowClient(job.uri).delete_run(deleted)
    spooled(job, {0: began(0)}, {0: FAILED})
    Writer(job).run(news(CLOSE))
    again = runs(job)["trial-00000"]
    assert again.info.run_id != deleted and again.info.status == "FAILED"


def test_a_run_that_another_writer_has_made_meanwhile_is_beside_its_own_until_the_next_writer(
    job: Job,
) -> None:
    first = Writer(job)
    first._open()  # it knows of no run of the trial, and falls silent
    spooled(job, {0: began(0)})
    Writer(job).run(news(CLOSE))
    spooled(job, {0: FAILED})
    first.run(news(CLOSE))
    Writer(job).run(news(CLOSE))
    assert runs(job)["trial-00000"].info.status == "FAILED" and len(runs_of_all(job)) == 2
