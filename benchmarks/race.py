"""Races: all competitors on one job, one after the other, round after round."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import fairness, process, trace
from benchmarks.job import Job, draw
from benchmarks.trace import Measured

COMPETITORS = {
    "ours": "benchmarks.ours",
    "textbook": "benchmarks.peers.textbook",
    "optuna_pool": "benchmarks.peers.optuna_pool",
    "bare": "benchmarks.peers.bare",
}
"""Module by name, in the order of a round."""

SEARCHED_DIFFERENT = 0.4
"""As `fairness.MOST_DIFFERENT`, where ours has searched: a search goes to high learning rates, at which the
units that were dropped, which differ, move the losses further."""

Round = dict[str, Measured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure of one round and what it shall be."""

    what: str
    figure: Callable[[Round], float]
    bound: float
    is_least: bool
    """Whether the figure shall be at least, or at most, `bound`."""

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.is_least else value <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.is_least else 'most'} {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    title: str
    model: str
    trials: int
    epochs: int
    targets: tuple[Target, ...]
    most_different: float = fairness.MOST_DIFFERENT
    """By which share final losses may differ from bare's, in the median over the trials."""
    is_searched: bool = False
    """Whether ours suggests the configurations, by Optuna, and the others train those."""
    entered: Mapping[str, int | None] = field(default_factory=lambda: dict.fromkeys(COMPETITORS))
    """Competitors, each with the number of trials that it runs, the first ones; None: all."""


def _time_over_bare(measured: Round) -> float:
    return measured["ours"].trials_s / measured["bare"].trials_s


def _rate_over_textbook(measured: Round) -> float:
    return measured["ours"].trials_per_s / measured["textbook"].trials_per_s


def _all_in(peer: str) -> Callable[[Round], float]:
    """Return by how much ours is faster than a peer, trials per second of all but the start-up."""
    return lambda measured: measured["ours"].all_in_per_s / measured[peer].all_in_per_s


def _against_bare(model: str, *, trials: int, epochs: int, least: float, title: str) -> Race:
    what = "ours over bare, trials/s of all but start-up"
    return Race(
        title=title,
        model=model,
        trials=trials,
        epochs=epochs,
        targets=(Target(what=what, figure=_all_in("bare"), bound=least, is_least=True),),
        is_searched=True,
        most_different=SEARCHED_DIFFERENT,
        entered=dict.fromkeys(("ours", "bare")),
    )


def _balance(measured: Round) -> float:
    return measured["ours"].balance or 0.0


RACES = {
    "batchnorm": Race(
        title="Batch-norm net on the parabola, no early stopping",
        model="batchnorm_net",
        trials=64,
        epochs=5,
        targets=(
            Target(what="ours over textbook, trials/s", figure=_rate_over_textbook, bound=10, is_least=True),
            Target(what="ours over bare, trials' time", figure=_time_over_bare, bound=2.2, is_least=False),
            Target(what="ours, least over most busy worker", figure=_balance, bound=0.75, is_least=True),
        ),
    ),
    "cohorts": Race(
        title="1,024 trials of the batch-norm net, no early stopping",
        model="batchnorm_net",
        trials=1024,
        epochs=5,
        targets=(
            Target(
                what="ours over bare, trials/s of all but start-up",
                figure=_all_in("bare"),
                bound=4,
                is_least=True,
            ),
            Target(
                what="ours over textbook, trials/s of all but start-up",
                figure=_all_in("textbook"),
                bound=100,
                is_least=True,
            ),
        ),
        is_searched=True,
        most_different=SEARCHED_DIFFERENT,
        # An hour for all; it grows slower with more, so this flatters it.
        entered={"ours": None, "textbook": 48, "bare": None},
    ),
    "net": _against_bare("net", trials=2048, epochs=60, least=3, title="2,048 trials of the regression net"),
    "rnn": _against_bare("rnn", trials=512, epochs=5, least=3, title="512 trials of the RNN regressor"),
    "dropout_net": _against_bare(
        "dropout_net", trials=512, epochs=100, least=2, title="512 trials of the dropout net"
    ),
    "cnn_all_in": _against_bare(
        "cnn", trials=32, epochs=3, least=0.95, title="32 trials of the CNN on mnist5k"
    ),
    "lstm_all_in": _against_bare(
        "lstm", trials=128, epochs=3, least=0.95, title="128 trials of the LSTM on mnist5k"
    ),
    "cnn": Race(
        title="CNN on mnist5k, no early stopping",
        model="cnn",
        trials=16,
        epochs=3,
        targets=(
            Target(what="ours over bare, trials' time", figure=_time_over_bare, bound=1.15, is_least=False),
            Target(what="ours, least over most busy worker", figure=_balance, bound=0.75, is_least=True),
        ),
    ),
}


def prepare(race: Race, *, trials: int | None, epochs: int | None) -> Job:
    """Draw the race's job, and have its data parsed and cached before anybody is timed."""
    from tuning.data import load

    job = draw(
        race.model,
        trials=trials or race.trials,
        epochs=epochs or race.epochs,
        is_searched=race.is_searched,
    )
    load(job.data, seed=job.seed)
    return job


def run_round(race: Race, job: Job, say: Callable[[str], None]) -> Round:
    """Run every competitor once.

    Raises:
        BenchmarkError: when one fails, or did not train what the others trained.
    """
    measured = {}
    for name, trials in race.entered.items():
        say(f"  {name} ...")
        measured[name], trained = _run(name, replace(job, configurations=job.configurations[:trials]))
        job = trained if trials is None else job
    fairness.check_same_training(measured, "bare", race.most_different)
    return measured


def _run(name: str, job: Job) -> tuple[Measured, Job]:
    """Return what a competitor took, and the job as it has done it."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        scratch = Path(folder)
        job.write(scratch / "job.json")
        trace_path = scratch / "trace.jsonl"
        timed = process.run(
            COMPETITORS[name], [str(scratch / "job.json"), str(trace_path)], scratch / "errors.log"
        )
        job = Job.read(scratch / "job.json")
        measured = trace.measure(
            trace.read(trace_path),
            job,
            launched_s=timed.launched_s,
            exited_s=timed.exited_s,
            cores=len(os.sched_getaffinity(0)),
        )
        return measured, job
