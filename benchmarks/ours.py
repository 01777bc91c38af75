"""This project, through its public function, with every default but early stopping, and without GPUs.

Where the job is to be searched, it leaves in the job's file what it has trained, for the others to train.

The trace comes from what the workers report: seconds per epoch by their clock, and the time at which
the report has come to the driver. Start and end of the trials are thus both late by the way of a
report (the epoch's saving included), some hundredths of a second.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tuning
from benchmarks import trace
from benchmarks.job import Job
from tuning.records import EpochReport
from tuning.schedule import messages


class Witness:
    """Listens in at where the driver opens what workers send."""

    def __init__(self) -> None:
        self.epochs: dict[tuple[int, int], trace.Epoch] = {}

    def install(self) -> None:
        """Take the place of what opens messages; before the searcher, which uses it, is imported."""
        opened = messages.decode

        def witnessed(text: str) -> messages.Message:
            message = opened(text)
            self.note(time.monotonic(), message.worker["pid"], message.reports)
            return message

        messages.decode = witnessed

    def note(self, now_s: float, worker: int, reports: Sequence[EpochReport]) -> None:
        """Date the epochs of one batch back from its arrival; what comes twice counts once."""
        end_s = now_s
        for report in reversed(reports):
            epoch = trace.Epoch(
                trial=report.trial,
                worker=worker,
                epoch=report.epoch,
                start_s=end_s - report.seconds,
                end_s=end_s,
                metrics=report.metrics,
            )
            self.epochs.setdefault((report.trial, report.epoch), epoch)
            end_s = epoch.start_s


def check(result: tuning.SweepResult, job: Job) -> None:
    """Refuse a sweep whose study does not hold every configuration, under its number, trained to its end."""
    for number, (configuration, trial) in enumerate(zip(job.configurations, result.trials, strict=True)):
        hyperparameters = {key: trial.hyperparameters[key] for key in configuration}
        states = (tuning.State.COMPLETED, tuning.State.DIVERGED)
        if job.index(hyperparameters) != number or trial.state not in states:
            raise trace.BenchmarkError(f"Trial {number} is {trial.state}, with {trial.hyperparameters}.")
        if trial.state is tuning.State.COMPLETED and sorted(trial.values) != list(range(1, job.epochs + 1)):
            raise trace.BenchmarkError(f"Trial {number} has values at epochs {sorted(trial.values)}.")


def _as_suggested(job: Job, result: tuning.SweepResult) -> Job:
    """Return the job with the configurations that the sweep has trained, by number of the trial."""
    keys = job.configurations[0]
    found = ({key: trial.hyperparameters[key] for key in keys} for trial in result.trials)
    return replace(job, configurations=tuple(found))


def main(job_path: str, trace_path: str) -> None:
    job = Job.read(job_path)
    witness = Witness()
    witness.install()
    result = tuning.sweep(
        tuning.SweepSpec(
            model=job.model,
            data=job.data,
            epochs=job.epochs,
            batch_size=job.batch_size,
            seed=job.seed,
            metric=job.metric,
            trials=len(job.configurations),
            try_=() if job.is_searched else job.configurations,
            early_stopping=tuning.EarlyStopping(kind="none"),
            resources=tuning.Resources(gpus=0),
            home=str(Path(job_path).parent / "home"),  # removed by whoever measures
        )
    )
    if job.is_searched:
        job = _as_suggested(job, result)
        job.write(Path(job_path))
    check(result, job)
    trace.append(trace_path, *witness.epochs.values())


if __name__ == "__main__":
    main(*sys.argv[1:])
